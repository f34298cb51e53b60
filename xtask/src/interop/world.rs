//! What the cases share: one Java driver, one Apache system, one server of ours, the text; each started when first needed.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rocketry::Client;

use crate::Result;
use crate::interop::apache::registered;
use crate::interop::cases::kept_users;
use crate::interop::driver::{Driver, Reader};
use crate::interop::text::Queues;
use crate::interop::{
    Broker, BrokerConfig, NameServer, Rocketry, Serve, ServeOptions, Tools, text,
};

/// Small enough to roll during a run, so that messages cross a file boundary.
const COMMIT_LOG_FILE_BYTES: u64 = 1024 * 1024;
/// Times that a group is given again what it has not committed.
const COMMITS: u32 = 4;
/// What our client may take to say goodbye.
const CLOSE: Duration = Duration::from_secs(3);

/// One of the two systems that messages are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// `rocketry serve`.
    Ours,
    /// Apache's name server and broker, 5.5.0.
    Apache,
    /// The same of 4.9.7.
    Apache4,
}

/// Apache's name server with one broker.
#[derive(Debug)]
struct Apache {
    broker: Broker,
    name_server: NameServer,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) tools: Tools,
    pub(crate) rocketry: Rocketry,
    /// The text to send, one message a line.
    pub(crate) text: PathBuf,
    /// Its non-empty lines.
    pub(crate) lines: Vec<Vec<u8>>,
    dir: PathBuf,
    driver: Option<Driver>,
    driver_4: Option<Driver>,
    apache: Option<Apache>,
    apache_4: Option<Apache>,
    serve: Option<Serve>,
    clients: HashMap<Target, Client>,
    /// Topics that already hold the text.
    sent: HashSet<(Target, String)>,
    /// Whether Apache's broker has the sizes and times that it has in the field.
    usual_settings: bool,
}

impl World {
    pub(crate) fn new(tools: Tools, rocketry: Rocketry, dir: PathBuf) -> Result<Self> {
        let text = dir.join("text");
        let lines = text::write_real_text(&text)?;
        Ok(Self {
            tools,
            rocketry,
            text,
            lines,
            dir,
            driver: None,
            driver_4: None,
            apache: None,
            apache_4: None,
            serve: None,
            clients: HashMap::new(),
            sent: HashSet::new(),
            usual_settings: false,
        })
    }

    /// Lets the group of Java's push consumer commit all that it has read of a topic, up to `ends`. Each of the client's pulls tells the
    /// broker an offset as well, and one that is worked off after its last commit takes the group back: what it is given again then is
    /// read again.
    pub(crate) async fn all_committed(&mut self, ns: &str, topic: &str, ends: &Queues) -> Result {
        let group = Reader::Push.group(topic);
        for _ in 0..COMMITS {
            let committed = self.rocketry.committed(ns, &group, topic).await?;
            let lag = ends.iter().map(|(queue, end)| {
                let committed = committed.get(queue).copied().unwrap_or_default();
                (end - committed).max(0)
            });
            let lag = usize::try_from(lag.sum::<i64>())?;
            if lag == 0 {
                return Ok(());
            }
            self.driver()?.consume(Reader::Push, ns, topic, lag).await?;
        }
        Err(format!("{group} does not commit what it has read of {topic}").into())
    }

    /// Another world, whose systems have no past. To be stopped.
    pub(crate) fn anew(&self, name: &str) -> Result<Self> {
        Self::new(self.tools.clone(), self.rocketry.clone(), self.dir(name)?)
    }

    /// Sizes of files and times of transactions as they are in the field, not those that make a run short.
    pub(crate) fn with_usual_settings(self) -> Self {
        Self {
            usual_settings: true,
            ..self
        }
    }

    /// An empty directory below the run's.
    pub(crate) fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// The Java driver.
    pub(crate) fn driver(&mut self) -> Result<&mut Driver> {
        if self.driver.is_none() {
            self.driver = Some(Driver::start(&self.tools.class_path, &self.dir("driver")?)?);
        }
        Ok(self.driver.as_mut().ok_or("no driver")?)
    }

    /// The same with 4.9.7's client, which has fewer verbs.
    pub(crate) fn driver_4(&mut self) -> Result<&mut Driver> {
        if self.driver_4.is_none() {
            let dir = self.dir("driver-4")?;
            self.driver_4 = Some(Driver::start(&self.tools.class_path_4, &dir)?);
        }
        Ok(self.driver_4.as_mut().ok_or("no driver")?)
    }

    /// Our client, connected to a target.
    pub(crate) async fn client(&mut self, target: Target) -> Result<Client> {
        if let Some(client) = self.clients.get(&target) {
            return Ok(client.clone());
        }
        let client = Client::connect(self.namesrv(target).await?).await?;
        self.clients.insert(target, client.clone());
        Ok(client)
    }

    /// The address of a target's name server; starts the target if needed.
    pub(crate) async fn namesrv(&mut self, target: Target) -> Result<String> {
        match target {
            Target::Ours => {
                if self.serve.is_none() {
                    let dir = self.dir("ours")?;
                    let (data, log) = (dir.join("data"), dir.join("serve.log"));
                    self.serve = Some(
                        Serve::start(&self.rocketry, &data, &log, &ServeOptions::default()).await?,
                    );
                }
                Ok(self.serve.as_ref().ok_or("no server")?.namesrv.clone())
            }
            Target::Apache => {
                if self.apache.is_none() {
                    let class_path = self.tools.class_path.clone();
                    self.apache = Some(self.start_apache("apache", &class_path).await?);
                }
                address(self.apache.as_ref())
            }
            Target::Apache4 => {
                if self.apache_4.is_none() {
                    let class_path = self.tools.class_path_4.clone();
                    self.apache_4 = Some(self.start_apache("apache-4", &class_path).await?);
                }
                address(self.apache_4.as_ref())
            }
        }
    }

    /// The address of our broker, once it runs.
    pub(crate) fn broker_of_ours(&self) -> Result<String> {
        Ok(self
            .serve
            .as_ref()
            .ok_or("our server is not started")?
            .broker
            .clone())
    }

    /// The address of a target's broker, once it runs.
    pub(crate) fn broker(&self, target: Target) -> Result<String> {
        let of = |apache: &Option<Apache>| {
            apache
                .as_ref()
                .map(|apache| apache.broker.addr().to_owned())
        };
        match target {
            Target::Ours => return self.broker_of_ours(),
            Target::Apache => of(&self.apache),
            Target::Apache4 => of(&self.apache_4),
        }
        .ok_or_else(|| "Apache's broker is not started".into())
    }

    async fn start_apache(&mut self, name: &str, class_path: &str) -> Result<Apache> {
        let dir = self.dir(name)?;
        let name_server = NameServer::start(class_path, &dir.join("namesrv")).await?;
        let usual = BrokerConfig {
            store: dir.join("store"),
            more: kept_users(),
            ..BrokerConfig::new(name_server.addr(), "broker-a", "DefaultCluster")
        };
        let short = BrokerConfig {
            commit_log_file_bytes: COMMIT_LOG_FILE_BYTES,
            heap_mib: 384,
            // Checks come after 6 s, and every 30 s, by default. Decisions are written every 3 s: a check in between would ask, and
            // deliver, a second time.
            more: vec![
                "transactionOpBatchInterval=200".to_owned(),
                "transactionTimeOut=2000".to_owned(),
                "transactionCheckInterval=2000".to_owned(),
            ],
            ..usual.clone()
        };
        let config = if self.usual_settings { usual } else { short };
        let broker = Broker::start(class_path, &dir.join("broker"), &config).await?;
        registered(self.driver()?, &config.namesrv, &config.name).await?;
        Ok(Apache {
            broker,
            name_server,
        })
    }

    /// A broker of Apache's that is registered with the name server of `config`.
    pub(crate) async fn start_broker(
        &mut self,
        dir: &Path,
        config: &BrokerConfig,
    ) -> Result<Broker> {
        let broker = Broker::start(&self.tools.class_path, dir, config).await?;
        registered(self.driver()?, &config.namesrv, &config.name).await?;
        Ok(broker)
    }

    /// Makes sure that `topic` of `target` holds the text, sent by `rocketry send` in `mode`.
    pub(crate) async fn sent(&mut self, target: Target, topic: &str, mode: &str) -> Result<String> {
        let ns = self.namesrv(target).await?;
        if !self.sent.contains(&(target, topic.to_owned())) {
            self.rocketry
                .send_file(&ns, topic, &self.text, mode)
                .await?;
            self.sent.insert((target, topic.to_owned()));
        }
        Ok(ns)
    }

    /// Stops everything; an unclean stop of ours is an error.
    pub(crate) async fn stop(mut self) -> Result {
        for client in self.clients.values() {
            client.shutdown(CLOSE).await;
        }
        self.driver = None;
        self.driver_4 = None;
        for apache in self.apache.into_iter().chain(self.apache_4) {
            apache.broker.kill().await?;
            apache.name_server.kill().await?;
        }
        if let Some(serve) = self.serve.take() {
            serve.stop().await?;
        }
        Ok(())
    }
}

fn address(apache: Option<&Apache>) -> Result<String> {
    let apache = apache.ok_or("no Apache system")?;
    Ok(apache.name_server.addr().to_owned())
}
