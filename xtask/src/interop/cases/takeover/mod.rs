//! One `broker.conf`, one directory, one name server, and a broker that is ours and Apache's in turn: whatever a broker keeps for
//! later waits in the directory each time it changes hands, and nothing of it is lost, early or there twice.

mod files;
mod history;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use self::files::Files;
use self::history::History;
use super::Case;
use crate::interop::apache::{free_broker_port, free_port, registered};
use crate::interop::driver::Reader;
use crate::interop::text::{bodies, same_lines, unbroken_queues};
use crate::interop::world::World;
use crate::interop::{Broker, BrokerConfig, NameServer, Serve, ServeOptions};
use crate::process::run_ok;
use crate::{Result, clock, output};

/// Files small enough that a round fills several of each kind; checks of transactions often, and never given up. Java writes offsets
/// every 5 s by default, and the decisions of transactions every 3 s, of which a kill loses the last.
const MORE: [&str; 9] = [
    "mappedFileSizeConsumeQueue=1000",
    "maxHashSlotNum=200",
    "maxIndexNum=400",
    "transactionTimeOut=2000",
    "transactionCheckInterval=2000",
    "transactionCheckMax=1000",
    "transactionOpBatchInterval=200",
    "flushConsumerOffsetInterval=500",
    "flushDelayOffsetInterval=500",
];
const LOG_FILE_BYTES: u64 = 128 * 1024;
/// How long what waits is to wait: longer than a broker needs to stop and the other one to start.
const WAITS_MS: i64 = 30_000;
/// Offsets are on disk: ours writes them every 5 s, Apache's as configured above.
const OFFSETS_WRITTEN: Duration = Duration::from_secs(6);
const GROUP_TOPIC: &str = "tk_group";
/// What only grows by what is sent: the same before and after a handover.
const SETTLED: &str =
    "tk_plain tk_batch tk_zip tk_prio tk_group tk_tx tk_pop tk_retry %DLQ%tk-retry";
const GROUPS: &str =
    "tk-at-end@tk_plain tk-in-the-middle@tk_plain interop-push-tk_group@tk_group tk-pop@tk_pop";
const BROKER: &str = "broker-t";
const CLUSTER: &str = "TakeoverCluster";

/// How an owner leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("store/takeover-stopped", |world| Box::pin(stopped(world))),
        Case::new("store/takeover-killed", |world| Box::pin(killed(world))),
    ]
}

/// S-115, S-117, S-118: ours, Apache's, ours and Apache's again, each stopped in order.
async fn stopped(world: &mut World) -> Result {
    let owners = [Owner::Ours, Owner::Apache, Owner::Ours, Owner::Apache];
    Takeover::new(world, "takeover-stopped", End::Stop)
        .await?
        .run(world, &owners)
        .await
}

/// S-116, S-117, S-118: Apache's, ours, Apache's and ours again, each killed.
async fn killed(world: &mut World) -> Result {
    let owners = [Owner::Apache, Owner::Ours, Owner::Apache, Owner::Ours];
    Takeover::new(world, "takeover-killed", End::Kill)
        .await?
        .run(world, &owners)
        .await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Ours,
    Apache,
}

/// Whoever has the directory now.
#[derive(Debug)]
enum Running {
    Ours(Serve),
    Apache(Broker),
}

impl Running {
    async fn end(self, end: End) -> Result {
        match (self, end) {
            (Self::Ours(serve), End::Stop) => serve.stop().await,
            (Self::Ours(serve), End::Kill) => serve.kill().await,
            (Self::Apache(broker), End::Stop) => broker.stop().await,
            (Self::Apache(broker), End::Kill) => broker.kill().await,
        }
    }
}

/// What is the same for all owners.
#[derive(Debug)]
struct Takeover {
    name_server: NameServer,
    dir: PathBuf,
    store: PathBuf,
    config: BrokerConfig,
    conf: PathBuf,
    port: u16,
    end: End,
    history: History,
}

impl Takeover {
    async fn new(world: &World, name: &str, end: End) -> Result<Self> {
        let dir = world.dir(name)?;
        let name_server = NameServer::start(&world.tools.class_path, &dir.join("namesrv")).await?;
        let (store, port) = (dir.join("data"), free_broker_port()?);
        let config = BrokerConfig {
            store: store.clone(),
            commit_log_file_bytes: LOG_FILE_BYTES,
            port: Some(port),
            more: MORE.map(str::to_owned).to_vec(),
            ..BrokerConfig::new(name_server.addr(), BROKER, CLUSTER)
        };
        let conf = dir.join("broker.conf");
        std::fs::write(&conf, config.text(port, free_port()?))?;
        Ok(Self {
            name_server,
            dir,
            store,
            config,
            conf,
            port,
            end,
            history: History::default(),
        })
    }

    async fn run(mut self, world: &mut World, owners: &[Owner]) -> Result {
        let mut before: Option<(Value, Files)> = None;
        for (index, owner) in owners.iter().enumerate() {
            let round = format!("r{index}");
            let after_it = owners.len() - index - 1;
            let doing = |error| format!("{owner:?}, round {index}: {error}");
            let broker = self.start(world, *owner).await.map_err(doing)?;
            let round = self.one_round(world, &round, before.take(), after_it);
            let (state, files) = round.await.map_err(doing)?;
            broker.end(self.end).await?;
            if self.end == End::Kill {
                let lags = *owner == Owner::Apache;
                self.history.killed(clock::wall_ms(), lags);
            }
            let log_end = self.check(world).await.map_err(|error| {
                format!(
                    "after {owner:?} of round {index} ended ({:?}): {error}",
                    self.end
                )
            })?;
            let now = Files::read(&self.store, log_end)?;
            if let Some(files) = files {
                files
                    .same_in(&now, self.end == End::Kill)
                    .map_err(|error| format!("files after {owner:?} of round {index}: {error}"))?;
            }
            before = Some((state, now));
        }
        let (_, files) = before.ok_or("no owner")?;
        files.are_many()?;
        self.name_server.kill().await
    }

    async fn start(&self, world: &mut World, owner: Owner) -> Result<Running> {
        let running = match owner {
            Owner::Ours => {
                let options = ServeOptions {
                    config: Some(self.conf.clone()),
                    broker_port: Some(self.port),
                    ..ServeOptions::default()
                };
                let log = self.dir.join("serve.log");
                Running::Ours(Serve::start(&world.rocketry, &self.store, &log, &options).await?)
            }
            Owner::Apache => {
                let class_path = world.tools.class_path.clone();
                let dir = self.dir.join("broker");
                Running::Apache(Broker::start(&class_path, &dir, &self.config).await?)
            }
        };
        registered(world.driver()?, &self.config.namesrv, BROKER).await?;
        Ok(running)
    }

    /// Looks at what the owner before left, then writes more for those `after_it`; the last of them only finds what is there already.
    /// Returns what Java's tools count at the end, and what the files were before.
    async fn one_round(
        &mut self,
        world: &mut World,
        round: &str,
        before: Option<(Value, Files)>,
        after_it: usize,
    ) -> Result<(Value, Option<Files>)> {
        let ready_ms = clock::wall_ms();
        let files = match before {
            Some((state, files)) => {
                let now = self.state(world).await?;
                if state != now {
                    return Err(format!(
                        "before the handover Java's tools count\n{state}\nafter it\n{now}"
                    )
                    .into());
                }
                self.took_over(world, ready_ms).await?;
                Some(files)
            }
            None => None,
        };
        if after_it > 0 {
            self.write(world, round, after_it > 1).await?;
            if self.end == End::Kill {
                sleep(OFFSETS_WRITTEN).await;
            }
        }
        Ok((self.state(world).await?, files))
    }

    /// What waited comes when it is due, what was sent is there, each once.
    async fn took_over(&mut self, world: &mut World, ready_ms: i64) -> Result {
        let ns = self.config.namesrv.clone();
        let driver = world.driver()?;
        if let Some(handle) = self.history.take_recall(clock::wall_ms())? {
            let options = [("ns", ns.as_str()), ("handle", &handle)];
            driver.ask("takeover-recall", &options).await?;
        }
        let undecided = self.history.undecided();
        if !undecided.is_empty() {
            let count = undecided.len().to_string();
            let options = [("ns", ns.as_str()), ("count", &count), ("wait_ms", "30000")];
            let asked = driver.ask("takeover-decide", &options).await?;
            let asked: Vec<String> = serde_json::from_str(&asked)?;
            if asked != undecided {
                return Err(format!("undecided are {undecided:?}, checked {asked:?}").into());
            }
        }
        for topic in self.history.topics() {
            let (count, wait) = self.history.awaited(&topic, clock::wall_ms());
            let read = driver.dump(&ns, &topic, count, wait).await?;
            self.history
                .compare(&topic, &read, ready_ms)
                .map_err(|error| format!("{topic}: {error}"))?;
        }
        self.history.all_came();
        let revived = self.history.take_revived();
        if !revived.is_empty() {
            self.pop(world, &revived).await?;
        }
        let driver = world.driver()?;
        // the oldest index file, and the newest
        for (topic, key) in self.history.keys_to_find() {
            let found = driver
                .admin(&format!("queryMsgByKey -n {ns} -t {topic} -k {key}"))
                .await?;
            let rows = found
                .lines()
                .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
            if rows.count() != 1 {
                return Err(
                    format!("by its key {key} mqadmin finds not one message:\n{found}").into(),
                );
            }
        }
        Ok(())
    }

    /// The messages that nobody acknowledged come again, to whoever pops.
    async fn pop(&self, world: &mut World, revived: &[String]) -> Result {
        let (broker, count) = (
            format!("127.0.0.1:{}", self.port),
            revived.len().to_string(),
        );
        let options = [
            ("ns", self.config.namesrv.as_str()),
            ("broker", &broker),
            ("name", BROKER),
            ("count", &count),
            ("wait_ms", "20000"),
        ];
        let popped = world.driver()?.ask("takeover-pop", &options).await?;
        let popped: Vec<String> = serde_json::from_str(&popped)?;
        if popped != revived {
            return Err(format!("popped {popped:?}, expected {revived:?}").into());
        }
        Ok(())
    }

    async fn write(&mut self, world: &mut World, round: &str, waiting: bool) -> Result {
        let (ns, broker, wait) = (
            self.config.namesrv.clone(),
            format!("127.0.0.1:{}", self.port),
            WAITS_MS.to_string(),
        );
        let options = [
            ("ns", ns.as_str()),
            ("broker", &broker),
            ("name", BROKER),
            ("round", round),
            ("wait_ms", &wait),
        ];
        let driver = world.driver()?;
        let settled = driver.ask("takeover-settled", &options).await?;
        self.history.add_settled(&settled)?;
        let unread = self.history.take_unread();
        let read = driver
            .consume(Reader::Push, &ns, GROUP_TOPIC, unread.len())
            .await?;
        let ends = unbroken_queues(&read)?;
        same_lines(&unread, &bodies(&read))
            .map_err(|error| format!("the group went on: {error}"))?;
        world.all_committed(&ns, GROUP_TOPIC, &ends).await?;
        if waiting {
            let pending = world.driver()?.ask("takeover-pending", &options).await?;
            self.history.add_pending(&pending)?;
        }
        Ok(())
    }

    async fn state(&self, world: &mut World) -> Result<Value> {
        let options = [
            ("ns", self.config.namesrv.as_str()),
            ("topics", SETTLED),
            ("groups", GROUPS),
        ];
        let state = world.driver()?.ask("takeover-state", &options).await?;
        Ok(serde_json::from_str(&state)?)
    }

    /// S-120: `rocketry store check` has nothing to say of what was stopped, and nothing bad of what was killed. Returns where the log
    /// ends.
    async fn check(&self, world: &World) -> Result<i64> {
        let mut command = world.rocketry.command();
        command.args(["store", "check", "--output", "json"]);
        command.args(["--broker-name", BROKER, "--cluster", CLUSTER]);
        let found = run_ok(command.arg(&self.store), Duration::from_mins(1)).await?;
        let check: StoreCheck = serde_json::from_slice(&found.stdout)?;
        match self.end {
            End::Stop if !check.findings.is_empty() => {
                Err(format!("store check finds {:?}", check.findings).into())
            }
            End::Stop => Ok(check.log_end),
            End::Kill => {
                for finding in &check.findings {
                    output::line(format_args!("    after a kill: {finding}"));
                }
                Ok(check.log_end)
            }
        }
    }
}

/// Of what `rocketry store check --output json` prints.
#[derive(Debug, Deserialize)]
struct StoreCheck {
    findings: Vec<Value>,
    log_end: i64,
}
