//! Apache RocketMQ's name server and broker, 5.5.0 or 4.9.7 by their class path, on free ports, with small heaps.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::Result;
use crate::interop::driver::Driver;
use crate::process::Running;

/// A JVM that shares two cores with a build.
const BOOT: Duration = Duration::from_mins(2);
/// The broker's first registration is seen within about 12 s of its start.
const REGISTER: Duration = Duration::from_mins(1);
/// Java's reflection into its own direct buffers.
const OPENS: [&str; 5] = [
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
];

/// Apache's name server.
#[derive(Debug)]
pub(crate) struct NameServer {
    running: Running,
    addr: String,
}

impl NameServer {
    /// Starts it with its files below `dir`, and waits until it serves.
    pub(crate) async fn start(class_path: &str, dir: &Path) -> Result<Self> {
        Self::start_with(class_path, dir, &[]).await
    }

    /// As [`NameServer::start`], with further options of the JVM.
    pub(crate) async fn start_with(class_path: &str, dir: &Path, jvm: &[String]) -> Result<Self> {
        home(dir, "logback_namesrv.xml")?;
        let port = free_port()?;
        let conf = dir.join("namesrv.conf");
        let shown = dir.display();
        std::fs::write(
            &conf,
            format!(
                "listenPort={port}\nkvConfigPath={shown}/kvConfig.json\nconfigStorePath={shown}/namesrv.properties\n"
            ),
        )?;
        let mut options = vec!["-Xms64m", "-Xmx128m"];
        options.extend(jvm.iter().map(String::as_str));
        let mut command = java(class_path, dir, &options);
        command
            .arg("org.apache.rocketmq.namesrv.NamesrvStartup")
            .arg("-c")
            .arg(conf);
        let mut running =
            Running::start("Apache name server", &mut command, dir.join("namesrv.log"))?;
        running.line_with("boot success", BOOT).await?;
        running.drain();
        Ok(Self {
            running,
            addr: format!("127.0.0.1:{port}"),
        })
    }

    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    /// Its registrations live in memory: there is nothing to stop cleanly.
    pub(crate) async fn kill(self) -> Result {
        self.running.kill().await
    }
}

/// What a broker runs with.
#[derive(Debug, Clone)]
pub(crate) struct BrokerConfig {
    /// Address of the name server it registers with.
    pub(crate) namesrv: String,
    /// `brokerName`.
    pub(crate) name: String,
    /// `brokerClusterName`.
    pub(crate) cluster: String,
    /// `storePathRootDir`.
    pub(crate) store: PathBuf,
    /// `mappedFileSizeCommitLog`, bytes; a store can only be opened with the size it was written with.
    pub(crate) commit_log_file_bytes: u64,
    /// Heap and direct memory, MiB.
    pub(crate) heap_mib: u32,
    /// `listenPort`; `None` is any that is free.
    pub(crate) port: Option<u16>,
    /// Further lines of the configuration.
    pub(crate) more: Vec<String>,
    /// Further options of the JVM.
    pub(crate) jvm: Vec<String>,
}

impl BrokerConfig {
    /// A small broker whose store begins below its directory; it takes what the two sides of a comparison have in common.
    pub(crate) fn new(namesrv: &str, name: &str, cluster: &str) -> Self {
        Self {
            namesrv: namesrv.to_owned(),
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            store: PathBuf::from("store"),
            commit_log_file_bytes: 64 * 1024 * 1024,
            heap_mib: 384,
            port: None,
            more: Vec::new(),
            jvm: Vec::new(),
        }
    }

    /// The `broker.conf`.
    pub(crate) fn text(&self, port: u16, ha_port: u16) -> String {
        let store = self.store.display();
        let mut lines = vec![
            format!("brokerClusterName={}", self.cluster),
            format!("brokerName={}", self.name),
            "brokerId=0".to_owned(),
            format!("namesrvAddr={}", self.namesrv),
            "brokerIP1=127.0.0.1".to_owned(),
            "brokerIP2=127.0.0.1".to_owned(),
            format!("listenPort={port}"),
            format!("haListenPort={ha_port}"),
            format!("storePathRootDir={store}"),
            format!("storePathCommitLog={store}/commitlog"),
            format!("mappedFileSizeCommitLog={}", self.commit_log_file_bytes),
            "autoCreateTopicEnable=true".to_owned(),
            "autoCreateSubscriptionGroup=true".to_owned(),
            "enablePropertyFilter=true".to_owned(),
            "recallMessageEnable=true".to_owned(),
            // A loaded machine must answer late rather than refuse (TIMEOUT_CLEAN_QUEUE after 200 ms by default).
            "waitTimeMillsInSendQueue=20000".to_owned(),
            "waitTimeMillsInPullQueue=20000".to_owned(),
            "diskMaxUsedSpaceRatio=99".to_owned(),
        ];
        lines.extend_from_slice(&self.more);
        lines.push(String::new());
        lines.join("\n")
    }
}

/// Apache's broker.
#[derive(Debug)]
pub(crate) struct Broker {
    running: Running,
    addr: String,
}

impl Broker {
    /// Starts it and waits until it says that it booted; its registration comes later ([`registered`]).
    pub(crate) async fn start(class_path: &str, dir: &Path, config: &BrokerConfig) -> Result<Self> {
        home(dir, "logback_broker.xml")?;
        let port = config.port.map_or_else(free_broker_port, Ok)?;
        let conf = dir.join("broker.conf");
        std::fs::write(&conf, config.text(port, free_port()?))?;
        let heap = config.heap_mib;
        let memory = [
            format!("-Xms{heap}m"),
            format!("-Xmx{heap}m"),
            format!("-XX:MaxDirectMemorySize={}m", heap.max(256)),
        ];
        let options: Vec<_> = memory
            .iter()
            .chain(&config.jvm)
            .map(String::as_str)
            .collect();
        let mut command = java(class_path, dir, &options);
        command
            .arg("org.apache.rocketmq.broker.BrokerStartup")
            .arg("-c")
            .arg(conf);
        let mut running = Running::start("Apache broker", &mut command, dir.join("broker.log"))?;
        running.line_with("boot success", BOOT).await?;
        running.drain();
        Ok(Self {
            running,
            addr: format!("127.0.0.1:{port}"),
        })
    }

    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.pid()
    }

    /// SIGSTOP: it answers nothing, and its connections stay.
    pub(crate) fn pause(&self) -> Result {
        self.running.pause()
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> Result {
        self.running.resume()
    }

    /// SIGTERM: a clean stop, which removes the abort marker.
    pub(crate) async fn stop(self) -> Result {
        self.running.stop().await?;
        Ok(())
    }

    /// SIGKILL: leaves the abort marker and whatever was not flushed.
    pub(crate) async fn kill(self) -> Result {
        self.running.kill().await
    }
}

/// Waits until the name server at `ns` lists `broker` in its cluster; asked with Apache's own tool, so that it holds for any server.
pub(crate) async fn registered(driver: &mut Driver, ns: &str, broker: &str) -> Result {
    let end = Instant::now() + REGISTER;
    loop {
        let listed = driver.admin(&format!("clusterList -n {ns}")).await?;
        if listed.contains(broker) {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(format!(
                "{broker} is not registered with {ns} after {REGISTER:?}; mqadmin prints:\n{listed}"
            )
            .into());
        }
        sleep(Duration::from_millis(300)).await;
    }
}

/// Makes `dir` what `ROCKETMQ_HOME` has to be: 4.9.7 does not start without a configuration of its logger.
fn home(dir: &Path, logger: &str) -> Result {
    std::fs::create_dir_all(dir.join("conf"))?;
    std::fs::write(dir.join("conf").join(logger), "<configuration/>\n")?;
    Ok(())
}

fn java(class_path: &str, home: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("java");
    command
        .env("ROCKETMQ_HOME", home)
        .args(options)
        .args(OPENS)
        .arg("-XX:-UsePerfData");
    if !options
        .iter()
        .any(|option| option.starts_with("-XX:+Use") && option.ends_with("GC"))
    {
        command.arg("-XX:+UseSerialGC");
    }
    command
        .arg(format!("-Duser.home={}", home.display()))
        .args(["-cp", class_path]);
    command
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Like [`free_port`], with the port two below free as well: Java's broker takes it for its second listener.
pub(crate) fn free_broker_port() -> Result<u16> {
    const TRIES: usize = 50;
    for _ in 0..TRIES {
        let port = free_port()?;
        if TcpListener::bind(("127.0.0.1", port.saturating_sub(2))).is_ok() {
            return Ok(port);
        }
    }
    Err("no two free ports at a distance of two".into())
}
