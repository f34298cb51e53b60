//! The Java driver: Apache's clients in one JVM, asked line by line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};

use crate::Result;
use crate::interop::text::{Dumped, Received};
use crate::process::Running;

/// The slowest single verb: a sync producer with thousands of lines on a loaded machine.
const ANSWER: Duration = Duration::from_mins(3);
/// A reader gives up this long after the last message.
const IDLE_MS: u64 = 15_000;

/// A consumer of Apache's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// `DefaultMQPullConsumer`: asks each queue for its offsets and pulls between them.
    Pull,
    /// `DefaultLitePullConsumer` with assigned queues.
    LitePull,
    /// `DefaultMQPushConsumer`, clustering, from the first offset.
    Push,
}

impl Reader {
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::LitePull => "litepull",
            Self::Push => "push",
        }
    }

    /// The group that [`Driver::consume`] reads `topic` in.
    pub(crate) fn group(self, topic: &str) -> String {
        format!("interop-{}-{topic}", self.verb())
    }
}

/// One acknowledgement as a foreign producer reported it.
#[derive(Debug)]
pub(crate) struct Ack {
    pub(crate) broker: String,
    pub(crate) queue_id: i32,
    pub(crate) queue_offset: i64,
}

/// The running JVM.
#[derive(Debug)]
pub(crate) struct Driver {
    running: Running,
    requests: ChildStdin,
    dir: PathBuf,
    files: u32,
}

impl Driver {
    /// Everything that Java's client knows of the messages of `topic`: all that are there or come within `wait`, up to `count`.
    pub(crate) async fn dump(
        &mut self,
        ns: &str,
        topic: &str,
        count: usize,
        wait: Duration,
    ) -> Result<Vec<Dumped>> {
        self.dump_with(ns, topic, count, wait, &[]).await
    }

    /// As [`Driver::dump`], with further options of the verb.
    pub(crate) async fn dump_with(
        &mut self,
        ns: &str,
        topic: &str,
        count: usize,
        wait: Duration,
        more: &[(&str, &str)],
    ) -> Result<Vec<Dumped>> {
        let out = self.file("dump");
        let (count, wait) = (count.to_string(), wait.as_millis().to_string());
        let file = out.display().to_string();
        let mut options = vec![
            ("ns", ns),
            ("topic", topic),
            ("count", &count),
            ("wait_ms", &wait),
            ("out", &file),
        ];
        options.extend_from_slice(more);
        self.ask("dump", &options).await?;
        std::fs::read_to_string(&out)?
            .lines()
            .map(Dumped::parse)
            .collect()
    }

    /// Starts the JVM; files that carry messages go to `dir`.
    pub(crate) fn start(class_path: &str, dir: &Path) -> Result<Self> {
        let mut command = Command::new("java");
        command.args([
            "-Xms64m",
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
        ]);
        // `consumerStatus` writes files where it is.
        command.current_dir(dir);
        command.arg(format!("-Duser.home={}", dir.display()));
        // The client would otherwise start a logging thread pool and a file per instance.
        command.args([
            "-Drocketmq.client.logLevel=WARN",
            "-cp",
            class_path,
            "Driver",
        ]);
        let mut running = Running::start("java driver", &mut command, dir.join("java-driver.log"))?;
        let requests = running.stdin().ok_or("java driver: no standard input")?;
        Ok(Self {
            running,
            requests,
            dir: dir.to_owned(),
            files: 0,
        })
    }

    /// Sends every line of `file`; returns the acknowledgements (none for one-way).
    pub(crate) async fn produce(
        &mut self,
        ns: &str,
        topic: &str,
        mode: &str,
        file: &Path,
    ) -> Result<Vec<Ack>> {
        self.produce_first(usize::MAX, ns, topic, mode, file).await
    }

    /// Sends the first `count` lines of `file`.
    pub(crate) async fn produce_first(
        &mut self,
        count: usize,
        ns: &str,
        topic: &str,
        mode: &str,
        file: &Path,
    ) -> Result<Vec<Ack>> {
        let acks = self.file("acks");
        let (file, out) = (file.display().to_string(), acks.display().to_string());
        let count = i32::try_from(count).unwrap_or(i32::MAX).to_string();
        let options: [(&str, &str); 6] = [
            ("ns", ns),
            ("topic", topic),
            ("mode", mode),
            ("file", &file),
            ("count", &count),
            ("acks", &out),
        ];
        self.ask("produce", &options).await?;
        read_acks(&acks)
    }

    /// Reads `topic` in the group [`Reader::group`]: all of it (pull), or up to `count` messages. A push consumer goes on
    /// where its group stopped, the others begin at the first message.
    pub(crate) async fn consume(
        &mut self,
        reader: Reader,
        ns: &str,
        topic: &str,
        count: usize,
    ) -> Result<Vec<Received>> {
        let out = self.file("received");
        let (count, idle) = (count.to_string(), IDLE_MS.to_string());
        let (group, file) = (reader.group(topic), out.display().to_string());
        let options: [(&str, &str); 6] = [
            ("ns", ns),
            ("topic", topic),
            ("group", &group),
            ("count", &count),
            ("idle_ms", &idle),
            ("out", &file),
        ];
        self.ask(reader.verb(), &options).await?;
        Received::read_file(&out)
    }

    /// Runs one `mqadmin` command and returns what it printed.
    pub(crate) async fn admin(&mut self, args: &str) -> Result<String> {
        let out = self.file("admin");
        self.ask(
            "admin",
            &[("args", args), ("out", &out.display().to_string())],
        )
        .await?;
        Ok(String::from_utf8_lossy(&std::fs::read(out)?).into_owned())
    }

    /// Any verb; what it answers.
    pub(crate) async fn ask(&mut self, verb: &str, options: &[(&str, &str)]) -> Result<String> {
        let mut line = verb.to_owned();
        for (name, value) in options {
            line.push('\t');
            line.push_str(name);
            line.push('=');
            line.push_str(value);
        }
        let shown = line.replace('\t', " ");
        line.push('\n');
        self.requests.write_all(line.as_bytes()).await?;
        self.requests.flush().await?;
        let answer = self
            .running
            .line_with("\t", ANSWER)
            .await
            .map_err(|error| format!("java driver, `{shown}`: {error}"))?;
        match answer.split_once('\t') {
            Some(("ok", text)) => Ok(text.to_owned()),
            _ => Err(format!("java driver, `{shown}`: {}", answer.replace('\t', " ")).into()),
        }
    }

    /// Kills the JVM with all its clients (SIGKILL).
    pub(crate) async fn kill(self) -> Result {
        self.running.kill().await
    }

    fn file(&mut self, kind: &str) -> PathBuf {
        self.files += 1;
        self.dir.join(format!("{kind}-{}.tsv", self.files))
    }
}

/// Reads the acknowledgements that a foreign producer wrote.
pub(crate) fn read_acks(file: &Path) -> Result<Vec<Ack>> {
    let mut acks = Vec::new();
    for line in std::fs::read_to_string(file)?.lines() {
        let mut fields = line.split('\t');
        let mut next = || {
            fields
                .next()
                .ok_or_else(|| format!("{}: short line `{line}`", file.display()))
        };
        acks.push(Ack {
            broker: next()?.to_owned(),
            queue_id: next()?.parse()?,
            queue_offset: next()?.parse()?,
        });
    }
    Ok(acks)
}
