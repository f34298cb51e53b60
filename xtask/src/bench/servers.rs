//! The servers under load, started alike: ours, Apache's, and `rocketmq-broker` 1.0.0 with its name server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::sleep;

use super::cache::Cache;
use super::process_usage::{Memory, memory};
use crate::interop::{Broker, BrokerConfig, NameServer, Rocketry, Serve, ServeOptions, free_port};
use crate::process::{Running, run};
use crate::{Result, clock};

/// A JVM on a busy machine, and its first registration.
const FIRST_SEND: Duration = Duration::from_secs(45);
const SEND: Duration = Duration::from_secs(10);
/// From the first acknowledged send to reading the idle memory.
const IDLE: Duration = Duration::from_secs(1);
/// Queues of a seeded topic.
const QUEUES: u32 = 4;
/// The topic of all loads; [`Setup::topics`] are numbered behind a dash.
pub(super) const TOPIC: &str = "bench";

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// `rocketry serve`
    Rocketry,
    /// Apache RocketMQ 5.5.0
    Apache,
    /// `rocketmq-namesrv` and `rocketmq-broker` 1.0.0
    Rust,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Rocketry, Self::Apache, Self::Rust];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rocketry => "rocketry",
            Self::Apache => "Apache",
            Self::Rust => "rocketmq-broker",
        }
    }
}

/// How a server is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setup {
    /// Whether an answer waits for the disk.
    pub(super) sync_flush: bool,
    /// Topics that are there at the start, beside [`TOPIC`].
    pub(super) topics: u32,
}

/// A server that has acknowledged a send. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) namesrv: String,
    pub(super) pid: u32,
    /// Where its metrics are, of ours.
    pub(super) metrics: Option<String>,
    /// From the start of its first process to the first acknowledged send.
    pub(super) first_send_ms: f64,
    /// A second later.
    pub(super) idle: Memory,
    processes: Processes,
    dir: PathBuf,
}

#[derive(Debug)]
enum Processes {
    Rocketry(Serve),
    Apache(NameServer, Broker),
    Rust(Running, Running),
}

/// What servers are started from.
#[derive(Debug)]
pub(super) struct Starter<'a> {
    pub(super) rocketry: &'a Rocketry,
    pub(super) cache: &'a Cache,
    /// Below it each server has a directory, which goes with it.
    pub(super) dir: &'a Path,
}

impl Starter<'_> {
    /// Starts it on an empty directory and sends until something is acknowledged.
    pub(super) async fn start(&self, kind: Kind, setup: Setup) -> Result<Server> {
        let dir = self.dir.join(format!(
            "{}-{}-{}",
            kind.name(),
            if setup.sync_flush { "sync" } else { "async" },
            setup.topics
        ));
        std::fs::create_dir_all(dir.join("store/config"))?;
        // rocketmq-broker makes no topic of its own accord, whatever its configuration says.
        if setup.topics > 0 || kind == Kind::Rust {
            let file = dir.join("store/config/topics.json");
            std::fs::write(file, serde_json::to_vec(&topics(setup.topics))?)?;
        }
        // What is built or fetched first does not belong to the start.
        let (class_path, binaries) = match kind {
            Kind::Rocketry => (String::new(), None),
            Kind::Apache => (self.cache.apache().await?, None),
            Kind::Rust => (String::new(), Some(self.cache.rust_servers().await?)),
        };
        let began = clock::now();
        let (processes, namesrv, pid) = match kind {
            Kind::Rocketry => self.rocketry(&dir, setup).await?,
            Kind::Apache => apache(&class_path, &dir, setup).await?,
            Kind::Rust => rust(&binaries.ok_or("no binaries")?, &dir, setup).await?,
        };
        self.first_send(&namesrv).await?;
        let first_send_ms = began.elapsed().as_secs_f64() * 1000.0;
        sleep(IDLE).await;
        let pid = pid.ok_or_else(|| format!("{} has ended", kind.name()))?;
        let metrics = match &processes {
            Processes::Rocketry(serve) => serve.metrics.clone(),
            Processes::Apache(..) | Processes::Rust(..) => None,
        };
        Ok(Server {
            kind,
            namesrv,
            pid,
            metrics,
            first_send_ms,
            idle: memory(pid)?,
            processes,
            dir,
        })
    }

    async fn rocketry(&self, dir: &Path, setup: Setup) -> Result<(Processes, String, Option<u32>)> {
        let options = ServeOptions {
            flush: Some(if setup.sync_flush { "sync" } else { "async" }),
            more: vec!["--metrics-port".to_owned(), "0".to_owned()],
            ..ServeOptions::default()
        };
        let (data, log) = (dir.join("store"), dir.join("serve.log"));
        let serve = Serve::start(self.rocketry, &data, &log, &options).await?;
        let (namesrv, pid) = (serve.namesrv.clone(), serve.pid());
        Ok((Processes::Rocketry(serve), namesrv, pid))
    }

    /// Before a broker has registered a send finds no route.
    async fn first_send(&self, namesrv: &str) -> Result {
        let began = clock::now();
        loop {
            let mut command = self.rocketry.command();
            command.args(["send", TOPIC, "first", "--namesrv", namesrv]);
            let sent = run(&mut command, SEND).await?;
            if sent.status.success() {
                return Ok(());
            }
            if began.elapsed() > FIRST_SEND {
                return Err(format!(
                    "no send to {namesrv} was acknowledged within {FIRST_SEND:?}: {}",
                    sent.stderr
                )
                .into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Server {
    /// Where its files are.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Stops it without waiting for what it has not written, and removes its files.
    pub(super) async fn end(self) -> Result {
        match self.processes {
            Processes::Rocketry(serve) => serve.kill().await?,
            Processes::Apache(name_server, broker) => {
                broker.kill().await?;
                name_server.kill().await?;
            }
            Processes::Rust(name_server, broker) => {
                broker.kill().await?;
                name_server.kill().await?;
            }
        }
        std::fs::remove_dir_all(&self.dir)?;
        Ok(())
    }
}

/// Small heap and the serial collector; not compared with other settings. See docs/performance.md.
fn apache_config(namesrv: &str, dir: &Path, setup: Setup) -> BrokerConfig {
    let flush = if setup.sync_flush {
        "SYNC_FLUSH"
    } else {
        "ASYNC_FLUSH"
    };
    BrokerConfig {
        store: dir.join("store"),
        commit_log_file_bytes: 1 << 30,
        heap_mib: 1024,
        more: vec![format!("flushDiskType={flush}")],
        ..BrokerConfig::new(namesrv, "broker-a", "DefaultCluster")
    }
}

async fn apache(
    class_path: &str,
    dir: &Path,
    setup: Setup,
) -> Result<(Processes, String, Option<u32>)> {
    let name_server = NameServer::start(class_path, &dir.join("namesrv")).await?;
    let namesrv = name_server.addr().to_owned();
    let config = apache_config(&namesrv, dir, setup);
    let broker = Broker::start(class_path, &dir.join("broker"), &config).await?;
    let pid = broker.pid();
    Ok((Processes::Apache(name_server, broker), namesrv, pid))
}

async fn rust(
    (name_server, broker): &(PathBuf, PathBuf),
    dir: &Path,
    setup: Setup,
) -> Result<(Processes, String, Option<u32>)> {
    let (port, namesrv_port, ha_port) = (free_port()?, free_port()?, free_port()?);
    let namesrv = format!("127.0.0.1:{namesrv_port}");
    let mut command = Command::new(name_server);
    rust_environment(&mut command, dir);
    command
        .args(["--listenPort", &namesrv_port.to_string()])
        .args(["--bindAddress", "127.0.0.1", "--log-filter", "error"]);
    let mut name_server =
        Running::start("rocketmq-namesrv", &mut command, dir.join("namesrv.log"))?;
    name_server.drain();
    listening(&namesrv).await?;
    let config = dir.join("broker.toml");
    std::fs::write(&config, rust_config(&namesrv, dir, port, ha_port, setup))?;
    let mut command = Command::new(broker);
    rust_environment(&mut command, dir);
    command
        .arg("-c")
        .arg(&config)
        .args(["-n", &namesrv, "--log-filter", "error"]);
    let mut broker = Running::start("rocketmq-broker", &mut command, dir.join("broker.log"))?;
    broker.drain();
    let pid = broker.pid();
    Ok((Processes::Rust(name_server, broker), namesrv, pid))
}

fn rust_environment(command: &mut Command, dir: &Path) {
    command
        .current_dir(dir)
        .env("ROCKETMQ_HOME", dir)
        .env("ROCKETMQ_SECURITY_PROFILE", "development-insecure-loopback");
}

fn rust_config(namesrv: &str, dir: &Path, port: u16, ha_port: u16, setup: Setup) -> String {
    let store = dir.join("store");
    let store = store.display();
    let flush = if setup.sync_flush {
        "SYNC_FLUSH"
    } else {
        "ASYNC_FLUSH"
    };
    format!(
        r#"[broker]
namesrvAddr = "{namesrv}"
brokerIp1 = "127.0.0.1"
listenPort = {port}
storePathRootDir = "{store}"
autoCreateTopicEnable = true

[broker.brokerServerConfig]
bindAddress = "127.0.0.1"

[broker.brokerIdentity]
brokerName = "broker-a"
brokerClusterName = "DefaultCluster"
brokerId = 0

[store]
storeType = "LocalFile"
brokerRole = "ASYNC_MASTER"
storePathRootDir = "{store}"
haListenAddress = "127.0.0.1"
haListenPort = {ha_port}
flushDiskType = "{flush}"
"#
    )
}

async fn listening(addr: &str) -> Result {
    let began = clock::now();
    while let Err(error) = tokio::net::TcpStream::connect(addr).await {
        if began.elapsed() > SEND {
            return Err(format!("nothing listens on {addr} after {SEND:?}: {error}").into());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// `config/topics.json` as all three read it.
fn topics(count: u32) -> Value {
    let numbered = (0..count).map(|number| format!("{TOPIC}-{number}"));
    let table: serde_json::Map<_, _> = std::iter::once(TOPIC.to_owned())
        .chain(numbered)
        .map(|name| {
            let topic = json!({
                "attributes": {},
                "order": false,
                "perm": 6,
                "readQueueNums": QUEUES,
                "topicFilterType": "SINGLE_TAG",
                "topicName": name,
                "topicSysFlag": 0,
                "writeQueueNums": QUEUES,
            });
            (name, topic)
        })
        .collect();
    json!({
        "dataVersion": { "counter": 1, "stateVersion": 0, "timestamp": 1_700_000_000_000_i64 },
        "topicConfigTable": table,
    })
}
