//! The `rocketry` binary: the server it runs and the commands that send and read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::sleep;

use crate::interop::text::Queues;
use crate::process::{Finished, Running, run_ok};
use crate::{Result, root};

const BUILD: Duration = Duration::from_mins(15);
const READY: Duration = Duration::from_secs(20);
const COMMAND: Duration = Duration::from_mins(3);
/// Between two looks at offsets that may still change.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
const LOOKS: u32 = 20;

/// The binary under test.
#[derive(Debug, Clone)]
pub(crate) struct Rocketry {
    path: PathBuf,
}

impl Rocketry {
    /// The binary at `path`, or a fresh build of the workspace's.
    pub(crate) async fn find(path: Option<PathBuf>, release: bool) -> Result<Self> {
        if let Some(path) = path {
            return if path.is_file() {
                Ok(Self {
                    path: path.canonicalize()?,
                })
            } else {
                Err(format!("{}: no such file", path.display()).into())
            };
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(root()).args([
            "build",
            "--quiet",
            "--package",
            "rocketry-cli",
            "--bin",
            "rocketry",
        ]);
        if release {
            command.arg("--release");
        }
        run_ok(&mut command, BUILD).await?;
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root().join("target"), PathBuf::from);
        Ok(Self {
            path: target
                .join(if release { "release" } else { "debug" })
                .join("rocketry"),
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The binary with a clean environment as to name servers.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env_remove("NAMESRV_ADDR");
        command
    }

    /// `rocketry send TOPIC --file FILE --mode MODE`.
    pub(crate) async fn send_file(
        &self,
        ns: &str,
        topic: &str,
        file: &Path,
        mode: &str,
    ) -> Result<Finished> {
        let mut command = self.command();
        command
            .args([
                "send",
                topic,
                "--namesrv",
                ns,
                "--mode",
                mode,
                "--timeout",
                "15s",
                "--file",
            ])
            .arg(file);
        run_ok(&mut command, COMMAND).await
    }

    /// `rocketry consume TOPIC --from first --output OUTPUT`, up to `count` messages.
    pub(crate) async fn consume(
        &self,
        ns: &str,
        topic: &str,
        count: usize,
        output: &str,
    ) -> Result<Vec<u8>> {
        let count = count.to_string();
        let mut command = self.command();
        command.args([
            "consume",
            topic,
            "--namesrv",
            ns,
            "--from",
            "first",
            "--wait",
            "10s",
        ]);
        command.args(["--count", &count, "--output", output]);
        Ok(run_ok(&mut command, COMMAND).await?.stdout)
    }

    /// What the broker says `group` has committed of `topic`, by `rocketry group progress`, once it says the same twice: requests
    /// of a client that is gone may still be waiting in it.
    pub(crate) async fn committed(&self, ns: &str, group: &str, topic: &str) -> Result<Queues> {
        let mut last = None;
        for _ in 0..LOOKS {
            let mut command = self.command();
            command.args(["group", "progress", group, "--topic", topic]);
            command.args(["--namesrv", ns, "--output", "json"]);
            let progress: Progress =
                serde_json::from_slice(&run_ok(&mut command, COMMAND).await?.stdout)?;
            let offsets = progress.queues.into_iter();
            let offsets: Queues = offsets
                .map(|queue| ((queue.broker, queue.queue_id), queue.consumer_offset))
                .collect();
            if last.as_ref() == Some(&offsets) {
                return Ok(offsets);
            }
            last = Some(offsets);
            sleep(BETWEEN_LOOKS).await;
        }
        Err(format!("the offsets of {group} do not come to rest: {last:?}").into())
    }
}

/// The part of `rocketry group progress --output json` that counts here.
#[derive(Deserialize)]
struct Progress {
    queues: Vec<QueueProgress>,
}

#[derive(Deserialize)]
struct QueueProgress {
    broker: String,
    queue_id: i32,
    consumer_offset: i64,
}

/// A running `rocketry serve`.
#[derive(Debug)]
pub(crate) struct Serve {
    running: Running,
    /// What the ready line says.
    pub(crate) namesrv: String,
    /// Empty for a name server alone.
    pub(crate) broker: String,
    /// With `--metrics-port` among the options.
    pub(crate) metrics: Option<String>,
}

/// How to start [`Serve`]; `Default` is a server of its own with the default names.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServeOptions {
    /// `--role`.
    pub(crate) role: Option<&'static str>,
    /// `--flush`.
    pub(crate) flush: Option<&'static str>,
    /// `--namesrv`: register there instead of with its own name server.
    pub(crate) namesrv: Option<String>,
    /// `--broker-name`.
    pub(crate) broker_name: Option<String>,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--broker-port`; `None` is any that is free.
    pub(crate) broker_port: Option<u16>,
    /// Further options.
    pub(crate) more: Vec<String>,
}

impl Serve {
    /// Starts it on free ports over `data` and waits for the ready line.
    pub(crate) async fn start(
        rocketry: &Rocketry,
        data: &Path,
        log: &Path,
        options: &ServeOptions,
    ) -> Result<Self> {
        let mut command = rocketry.command();
        let port = options.broker_port.unwrap_or_default().to_string();
        command
            .args(["serve", "--namesrv-port", "0", "--broker-port", &port])
            .arg("--data")
            .arg(data);
        if let Some(role) = options.role {
            command.args(["--role", role]);
        }
        if let Some(config) = &options.config {
            command.arg("--config").arg(config);
        }
        if let Some(flush) = options.flush {
            command.args(["--flush", flush]);
        }
        if let Some(namesrv) = &options.namesrv {
            command.args(["--namesrv", namesrv]);
        }
        if let Some(name) = &options.broker_name {
            command.args(["--broker-name", name]);
        }
        command.args(&options.more);
        let mut running = Running::start("rocketry serve", &mut command, log.to_owned())?;
        let line = running.line_with("ready ", READY).await?;
        running.drain();
        let field = |name: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(name))
                .map(str::to_owned)
                .ok_or_else(|| format!("no `{name}` in the ready line `{line}`"))
        };
        Ok(Self {
            running,
            namesrv: field("namesrv=")?,
            broker: match options.role {
                Some("namesrv") => String::new(),
                _ => field("broker=")?,
            },
            metrics: field("metrics=").ok(),
        })
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

    /// SIGTERM; an exit other than 0 is an error.
    pub(crate) async fn stop(self) -> Result {
        let status = self.running.stop().await?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("rocketry serve: {status} after SIGTERM").into())
        }
    }

    /// SIGKILL.
    pub(crate) async fn kill(self) -> Result {
        self.running.kill().await
    }
}
