//! The programs that put load on a broker, all with the same workloads and the same figures.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, Command};

use super::cache::Cache;
use super::figures::Figures;
use super::placement::Placement;
use super::workload::{Mode, Workload};
use crate::Result;
use crate::interop::Rocketry;
use crate::process::{Running, run_ok};

/// Beyond the phases of a run: a JVM's start, the window's end, a broker that answers late.
const PATIENCE: Duration = Duration::from_mins(2);
/// More warm-up for a mode that this JVM has not run yet.
const WARM_JVM_SECONDS: f64 = 4.0;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Client {
    /// `rocketry bench produce`
    Rocketry,
    /// `DefaultMQProducer` 5.5.0
    Java,
    /// `rocketmq-client-go/v2`
    Go,
    /// `rocketmq-client-rust` 1.0.0
    Rust,
    /// The floor of a client with independent callers: frames echoed over one connection, a task and a wake-up per caller
    Echo,
    /// The floor of the frames: one thread that writes and reads them in bursts, without callers
    Loop,
}

impl Client {
    pub(super) const ALL: [Self; 6] = [
        Self::Rocketry,
        Self::Java,
        Self::Go,
        Self::Rust,
        Self::Echo,
        Self::Loop,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rocketry => "rocketry",
            Self::Java => "Java",
            Self::Go => "Go",
            Self::Rust => "rocketmq-client-rust",
            Self::Echo => "echo",
            Self::Loop => "loop",
        }
    }

    /// Whether it needs no broker.
    pub(super) fn is_floor(self) -> bool {
        matches!(self, Self::Echo | Self::Loop)
    }

    /// Whether it can do that at all.
    pub(super) fn can(self, load: Workload) -> bool {
        match self {
            Self::Rocketry | Self::Java | Self::Go | Self::Rust => self.lacks(load).is_none(),
            Self::Echo | Self::Loop => {
                matches!(load.mode, Mode::Sync | Mode::Async) && load.codec == "none"
            }
        }
    }

    /// Why it cannot.
    pub(super) fn lacks(self, load: Workload) -> Option<&'static str> {
        match self {
            Self::Go if load.mode == Mode::AutoBatch => Some("it has no auto-batching"),
            Self::Go if !matches!(load.codec, "none" | "zlib") => {
                Some("it compresses with zlib only")
            }
            Self::Rust if load.mode == Mode::Async && load.in_flight > RUST_QUEUE => Some(
                "its queue of outgoing requests takes 1,024 and refuses what comes beyond (QUEUE_CAPACITY in rocketmq-transport)",
            ),
            _ => None,
        }
    }
}

/// What `rocketmq-client-rust` 1.0.0 lets wait for one connection.
const RUST_QUEUE: u32 = 1024;

/// Where to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) namesrv: &'a str,
    pub(super) topic: &'a str,
    /// The server's process.
    pub(super) pid: u32,
}

/// How long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phases {
    pub(super) warm: f64,
    pub(super) seconds: f64,
}

/// What runs the clients.
#[derive(Debug)]
pub(super) struct Drivers {
    rocketry: Rocketry,
    xtask: PathBuf,
    /// Where the Java driver's classes are, once they are compiled.
    java_classes: Option<String>,
    java: Option<Java>,
    go: Option<PathBuf>,
    rust: Option<PathBuf>,
    /// `None` with a single core.
    placement: Option<Placement>,
    dir: PathBuf,
}

#[derive(Debug)]
struct Java {
    running: Running,
    input: ChildStdin,
    warm: HashSet<Mode>,
}

impl Drivers {
    /// Builds what `clients` need and leaves out of them what cannot be built, with the reason.
    pub(super) async fn start(
        clients: &mut Vec<Client>,
        cache: &Cache,
        rocketry: &Rocketry,
        xtask: &Path,
        dir: &Path,
    ) -> (Self, Vec<String>) {
        let mut drivers = Self {
            rocketry: rocketry.clone(),
            xtask: xtask.to_owned(),
            java_classes: None,
            java: None,
            go: None,
            rust: None,
            placement: Placement::new(),
            dir: dir.to_owned(),
        };
        let mut missing = Vec::new();
        let mut there = Vec::new();
        for &client in clients.iter() {
            match drivers.prepare(client, cache).await {
                Ok(()) => there.push(client),
                Err(error) => missing.push(format!("{} was not measured: {error}", client.name())),
            }
        }
        *clients = there;
        (drivers, missing)
    }

    async fn prepare(&mut self, client: Client, cache: &Cache) -> Result {
        match client {
            Client::Rocketry | Client::Echo | Client::Loop => {}
            Client::Java => self.java_classes = Some(cache.java().await?),
            Client::Go => self.go = Some(cache.go().await?),
            Client::Rust => self.rust = Some(cache.rust_client().await?),
        }
        Ok(())
    }

    /// One run, on a core for each side where one send at a time is under way.
    pub(super) async fn measure(
        &mut self,
        client: Client,
        at: At<'_>,
        load: Workload,
        phases: Phases,
    ) -> Result<Figures> {
        if !load.is_one_at_a_time() {
            return self.run(client, at, load, phases).await;
        }
        if let Some(placement) = &self.placement {
            placement.server(at.pid);
            for pid in self.client_pids() {
                placement.client(pid);
            }
        }
        let figures = self.run(client, at, load, phases).await;
        if let Some(placement) = &self.placement {
            placement.anywhere(at.pid);
            for pid in self.client_pids() {
                placement.anywhere(pid);
            }
        }
        figures
    }

    /// This process, whose children begin on its core, and the JVM.
    fn client_pids(&self) -> impl Iterator<Item = u32> {
        let java = self.java.as_ref().and_then(|java| java.running.pid());
        std::iter::once(std::process::id()).chain(java)
    }

    async fn run(
        &mut self,
        client: Client,
        at: At<'_>,
        load: Workload,
        phases: Phases,
    ) -> Result<Figures> {
        match client {
            Client::Rocketry => produce(&self.rocketry, at, load, phases, &[]).await,
            Client::Java => self.java(at, load, phases).await,
            Client::Go => driver(self.go.as_deref(), at, load, phases).await,
            Client::Rust => driver(self.rust.as_deref(), at, load, phases).await,
            Client::Echo => self.floor("echo", load, phases).await,
            Client::Loop => self.floor("loop", load, phases).await,
        }
    }

    /// One JVM for all runs, until one fails: what it still does, or answers late, would be taken for the next.
    async fn java(&mut self, at: At<'_>, load: Workload, phases: Phases) -> Result<Figures> {
        let classes = self.java_classes.as_ref();
        let mut java = match self.java.take() {
            Some(java) => java,
            None => Java::start(classes.ok_or("the Java driver is not there")?, &self.dir)?,
        };
        let figures = java.measure(at, load, phases).await?;
        self.java = Some(java);
        Ok(figures)
    }

    async fn floor(&self, kind: &str, load: Workload, phases: Phases) -> Result<Figures> {
        let size = load.size.to_string();
        let mut command = Command::new(&self.xtask);
        command.args(["echo-serve", "--size", &size]);
        let mut server = Running::start("echo server", &mut command, self.dir.join("echo.log"))?;
        let ready = server.line_with("ready ", PATIENCE).await?;
        let addr = ready.trim_start_matches("ready ").to_owned();
        if let (Some(placement), Some(pid), true) =
            (&self.placement, server.pid(), load.is_one_at_a_time())
        {
            placement.server(pid);
        }
        let mut command = Command::new(&self.xtask);
        command
            .args(["echo-drive", "--kind", kind, "--addr", &addr])
            .args(["--size", &size, "--in-flight", &load.in_flight.to_string()])
            .args(["--warm", &phases.warm.to_string()])
            .args(["--seconds", &phases.seconds.to_string()]);
        if let Some(pid) = server.pid() {
            command.args(["--watch", &pid.to_string()]);
        }
        let done = run_ok(&mut command, limit(phases)).await?;
        server.kill().await?;
        Figures::parse(&done.stdout)
    }
}

/// Our client; `more` are further options.
pub(super) async fn produce(
    rocketry: &Rocketry,
    at: At<'_>,
    load: Workload,
    phases: Phases,
    more: &[&str],
) -> Result<Figures> {
    let mode = match load.mode {
        Mode::Sync | Mode::Batch | Mode::AutoBatch => "sync",
        Mode::Async => "async",
        Mode::Oneway => "oneway",
    };
    let mut command = rocketry.command();
    command
        .args(["bench", "produce", at.topic, "--namesrv", at.namesrv])
        .args(["--mode", mode, "--output", "json", "--timeout", "10s"])
        .args(["--concurrency", &load.in_flight.to_string()])
        .args(["--size", &load.size.to_string(), "--compress", load.codec])
        .args(["--duration", &ms(phases.seconds), "--watch"])
        .arg(at.pid.to_string())
        .args(more);
    match load.mode {
        Mode::Batch => {
            command.args(["--batch", &Workload::BATCH.to_string()]);
        }
        Mode::AutoBatch => {
            command.arg("--auto-batch");
        }
        Mode::Sync | Mode::Async | Mode::Oneway => {}
    }
    if !more.contains(&"--warmup") {
        command.args(["--warmup", &ms(phases.warm)]);
    }
    let done = run_ok(&mut command, limit(phases)).await?;
    Figures::of_rocketry(&done.stdout)
}

/// Our reader.
pub(super) async fn consume(rocketry: &Rocketry, at: At<'_>, phases: Phases) -> Result<Figures> {
    let mut command = rocketry.command();
    command
        .args(["bench", "consume", at.topic, "--namesrv", at.namesrv])
        .args(["--duration", &ms(phases.seconds)])
        .args(["--warmup", &ms(phases.warm), "--output", "json", "--watch"])
        .arg(at.pid.to_string());
    let done = run_ok(&mut command, limit(phases)).await?;
    Figures::of_rocketry(&done.stdout)
}

async fn driver(
    program: Option<&Path>,
    at: At<'_>,
    load: Workload,
    phases: Phases,
) -> Result<Figures> {
    let mut command = Command::new(program.ok_or("the driver is not there")?);
    command.arg("produce").args(words(at, load, phases));
    let done = run_ok(&mut command, limit(phases)).await?;
    // Libraries may print to standard output as well.
    let line = done.stdout.split(|byte| *byte == b'\n');
    let line = line
        .rev()
        .find(|line| line.starts_with(b"{\""))
        .ok_or("the driver printed no figures")?;
    Figures::parse(line)
}

impl Java {
    fn start(class_path: &str, dir: &Path) -> Result<Self> {
        let mut command = Command::new("java");
        command
            .args(["-Xmx512m", "-XX:-UsePerfData"])
            .arg(format!("-Duser.home={}", dir.display()))
            .args(["-cp", class_path, "Bench"]);
        let mut running = Running::start("Java driver", &mut command, dir.join("java.log"))?;
        let input = running.stdin().ok_or("no standard input")?;
        Ok(Self {
            running,
            input,
            warm: HashSet::new(),
        })
    }

    async fn measure(&mut self, at: At<'_>, load: Workload, phases: Phases) -> Result<Figures> {
        let more = if self.warm.insert(load.mode) {
            WARM_JVM_SECONDS
        } else {
            0.0
        };
        let phases = Phases {
            warm: phases.warm + more,
            ..phases
        };
        let line = format!("produce {}\n", words(at, load, phases).join(" "));
        self.input.write_all(line.as_bytes()).await?;
        let answer = self.running.line_with("{\"", limit(phases)).await?;
        Figures::parse(answer.as_bytes())
    }
}

fn words(at: At<'_>, load: Workload, phases: Phases) -> Vec<String> {
    let mut words = load.options();
    for (name, value) in [
        ("--namesrv", at.namesrv.to_owned()),
        ("--topic", at.topic.to_owned()),
        ("--watch", at.pid.to_string()),
        ("--warm", phases.warm.to_string()),
        ("--seconds", phases.seconds.to_string()),
    ] {
        words.extend([name.to_owned(), value]);
    }
    words
}

fn ms(seconds: f64) -> String {
    format!("{:.0}ms", seconds * 1000.0)
}

fn limit(phases: Phases) -> Duration {
    PATIENCE + Duration::from_secs_f64(phases.warm + phases.seconds)
}
