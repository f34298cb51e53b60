//! `cargo xtask bench`: ours, Apache's broker and a bare echo of the same frames, in interleaved rounds of one run.

mod echo;
mod process_cpu;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::interop::{Broker, BrokerConfig, NameServer, Rocketry, Serve, ServeOptions, prepare};
use crate::process::{Running, run_ok};
use crate::{Result, output, root};
use process_cpu::{cpu_seconds, resident_bytes};

const BUILD: Duration = Duration::from_mins(20);
const READY: Duration = Duration::from_secs(10);
/// Sends before the first measurement of a JVM; later ones need only fill the caches again.
const WARM_JVM: u64 = 50_000;
const WARM: u64 = 2_000;
const TOPIC: &str = "bench";

/// `cargo xtask bench`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; each runs every system once at every point, and the median round is reported
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: usize,
    /// Measured seconds of each run
    #[arg(long, default_value_t = 3, value_name = "N")]
    seconds: u64,
    /// Messages in flight
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64], value_name = "N,N")]
    in_flight: Vec<usize>,
    /// Body sizes, bytes
    #[arg(long, value_delimiter = ',', default_values_t = [128, 1024], value_name = "N,N")]
    size: Vec<usize>,
    /// Without Apache's broker (then neither Java nor Maven is needed)
    #[arg(long)]
    without_apache: bool,
    /// Measure this binary instead of building `rocketry` with optimisation
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Where all figures of all rounds go, as JSON
    #[arg(long, default_value = "target/bench.json", value_name = "FILE")]
    json: PathBuf,
}

/// `cargo xtask echo-serve`: the server half of the floor, a process of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct EchoServe {
    #[arg(long)]
    size: usize,
}

/// `cargo xtask echo-drive`: the client half.
#[derive(Debug, clap::Args)]
pub(crate) struct EchoDrive {
    #[arg(long)]
    addr: std::net::SocketAddr,
    #[arg(long)]
    size: usize,
    #[arg(long)]
    in_flight: usize,
    #[arg(long)]
    seconds: u64,
}

pub(crate) fn echo_serve(options: &EchoServe) -> Result {
    echo::serve(options.size)
}

pub(crate) fn echo_drive(options: &EchoDrive) -> Result {
    let EchoDrive {
        addr,
        size,
        in_flight,
        seconds,
    } = *options;
    let duration = Duration::from_secs(seconds);
    output::line(echo::drive(echo::Drive {
        addr,
        size,
        in_flight,
        warmup: WARM,
        duration,
    })?);
    Ok(())
}

/// One system under load at one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Floor,
    Ours,
    Apache,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "rocketry",
            Self::Apache => "apache",
        }
    }
}

/// How much, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    in_flight: usize,
    size: usize,
}

/// The servers that run for the whole bench.
struct Servers {
    rocketry: Rocketry,
    xtask: PathBuf,
    serve: Serve,
    apache: Option<(NameServer, Broker)>,
}

/// Measures, prints the table, writes the JSON file.
pub(crate) async fn run(options: Options) -> Result {
    let dir = root().join("target/bench-run");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    let rocketry = build(&options).await?;
    // On a machine that is still idle.
    let startup = startup(&rocketry).await?;
    let servers = start(&options, rocketry, &dir).await?;
    let mut systems = vec![System::Floor, System::Ours];
    if servers.apache.is_some() {
        systems.push(System::Apache);
    }
    let mut runs = Vec::new();
    for round in 0..options.rounds {
        for &size in &options.size {
            for &in_flight in &options.in_flight {
                let point = Point { in_flight, size };
                for &system in &systems {
                    let warm = if round == 0 && system == System::Apache {
                        WARM_JVM
                    } else {
                        WARM
                    };
                    let figures = measure(&servers, system, point, warm, options.seconds)
                        .await
                        .map_err(|error| format!("{}, {point:?}: {error}", system.name()))?;
                    output::line(format_args!(
                        "round {round}: {} in flight x {} B, {}: {:.0} msgs/s",
                        point.in_flight,
                        point.size,
                        system.name(),
                        figures
                            .get("msgs_per_second")
                            .and_then(Value::as_f64)
                            .unwrap_or_default()
                    ));
                    runs.push(table::Run {
                        round,
                        system: system.name(),
                        in_flight,
                        size,
                        figures,
                    });
                }
            }
        }
    }
    let machine = machine().await;
    let resident = servers.serve.pid().map(resident_bytes).transpose()?;
    servers.stop().await?;
    let file = root().join(&options.json);
    let all: Vec<_> = runs.iter().map(table::Run::json).collect();
    let all = json!({ "machine": machine, "startup": startup, "serve_resident_bytes_after_load": resident, "runs": all });
    std::fs::write(&file, serde_json::to_string_pretty(&all)? + "\n")?;
    std::fs::remove_dir_all(&dir)?;
    let (startup, table) = (table::startup(&startup), table::markdown(&runs));
    output::line(format_args!(
        "\n{machine}\n\n{startup}\n{table}\nall figures: {}",
        file.display()
    ));
    Ok(())
}

/// The optimised binaries: `rocketry` and, for the echo, this crate.
async fn build(options: &Options) -> Result<Rocketry> {
    let rocketry = Rocketry::find(options.bin.clone(), true).await?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root())
        .args(["build", "--quiet", "--release", "--package", "xtask"]);
    run_ok(&mut command, BUILD).await?;
    Ok(rocketry)
}

/// What `rocketry bench startup` says of a server's first moments.
async fn startup(rocketry: &Rocketry) -> Result<Value> {
    let mut command = rocketry.command();
    command.args(["bench", "startup", "--output", "json"]);
    Ok(serde_json::from_slice(
        &run_ok(&mut command, BUILD).await?.stdout,
    )?)
}

async fn start(options: &Options, rocketry: Rocketry, dir: &Path) -> Result<Servers> {
    let serve = Serve::start(
        &rocketry,
        &dir.join("data"),
        &dir.join("serve.log"),
        &ServeOptions::default(),
    )
    .await?;
    let apache = if options.without_apache {
        None
    } else {
        let tools = prepare().await?;
        let name_server = NameServer::start(&tools.class_path, &dir.join("namesrv")).await?;
        let config = BrokerConfig {
            store: dir.join("store"),
            commit_log_file_bytes: 1 << 30,
            heap_mib: 1024,
            ..BrokerConfig::new(name_server.addr(), "broker-a", "DefaultCluster")
        };
        let broker = Broker::start(&tools.class_path, &dir.join("broker"), &config).await?;
        broker_is_known(&rocketry, name_server.addr()).await?;
        Some((name_server, broker))
    };
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(Servers {
        rocketry,
        xtask: target.join("release/xtask"),
        serve,
        apache,
    })
}

/// Waits for the first registration by creating the topic: a send before it finds no route.
async fn broker_is_known(rocketry: &Rocketry, ns: &str) -> Result {
    const TRIES: usize = 60;
    let mut last = None;
    for _ in 0..TRIES {
        let mut command = rocketry.command();
        command.args(["send", TOPIC, "warm", "--namesrv", ns]);
        match run_ok(&mut command, READY).await {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(last.unwrap_or_else(|| "no try".into()))
}

impl Servers {
    async fn stop(self) -> Result {
        if let Some((name_server, broker)) = self.apache {
            broker.kill().await?;
            name_server.kill().await?;
        }
        self.serve.stop().await
    }
}

async fn measure(
    servers: &Servers,
    system: System,
    point: Point,
    warm: u64,
    seconds: u64,
) -> Result<Value> {
    match system {
        System::Floor => floor(&servers.xtask, point, seconds).await,
        System::Ours => {
            produce(
                servers,
                &servers.serve.namesrv,
                servers.serve.pid(),
                point,
                warm,
                seconds,
            )
            .await
        }
        System::Apache => {
            let (name_server, broker) = servers.apache.as_ref().ok_or("no Apache broker")?;
            produce(
                servers,
                name_server.addr(),
                broker.pid(),
                point,
                warm,
                seconds,
            )
            .await
        }
    }
}

async fn floor(xtask: &Path, point: Point, seconds: u64) -> Result<Value> {
    let size = point.size.to_string();
    let mut command = Command::new(xtask);
    command.args(["echo-serve", "--size", &size]);
    let log = root().join("target/bench-run/echo.log");
    let mut server = Running::start("echo server", &mut command, log)?;
    let ready = server.line_with("ready ", READY).await?;
    let addr = ready.trim_start_matches("ready ").to_owned();
    let before = server.pid().map(cpu_seconds).transpose()?;
    let mut command = Command::new(xtask);
    command.args([
        "echo-drive",
        "--addr",
        &addr,
        "--size",
        &size,
        "--in-flight",
        &point.in_flight.to_string(),
    ]);
    command.args(["--seconds", &seconds.to_string()]);
    let done = run_ok(&mut command, READY + Duration::from_secs(seconds)).await?;
    let figures = serde_json::from_slice(&done.stdout)?;
    let figures = with_server_cpu(figures, before, server.pid(), WARM)?;
    server.kill().await?;
    Ok(figures)
}

async fn produce(
    servers: &Servers,
    ns: &str,
    pid: Option<u32>,
    point: Point,
    warm: u64,
    seconds: u64,
) -> Result<Value> {
    let before = pid.map(cpu_seconds).transpose()?;
    let mut command = servers.rocketry.command();
    command.args([
        "bench",
        "produce",
        TOPIC,
        "--namesrv",
        ns,
        "--mode",
        "sync",
        "--output",
        "json",
    ]);
    command.args([
        "--concurrency",
        &point.in_flight.to_string(),
        "--size",
        &point.size.to_string(),
    ]);
    command.args([
        "--duration",
        &format!("{seconds}s"),
        "--warmup",
        &warm.to_string(),
    ]);
    let done = run_ok(&mut command, BUILD).await?;
    let figures: Value = serde_json::from_slice(&done.stdout)?;
    if figures.get("failed").and_then(Value::as_u64) != Some(0) {
        return Err(format!("sends failed: {figures}").into());
    }
    with_server_cpu(figures, before, pid, warm)
}

/// Adds the server's processor time per message, warm-up included: its process does not know the phases of the client.
fn with_server_cpu(
    mut figures: Value,
    before: Option<f64>,
    pid: Option<u32>,
    warm: u64,
) -> Result<Value> {
    let after = pid.map(cpu_seconds).transpose()?;
    if let (Some(before), Some(after), Some(sent)) =
        (before, after, figures.get("sent").and_then(Value::as_u64))
    {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let per_message = (after - before) * 1e6 / (sent + warm) as f64;
        if let Some(object) = figures.as_object_mut() {
            object.insert("server_cpu_us_per_msg".to_owned(), json!(per_message));
        }
    }
    Ok(figures)
}

/// Processor, cores and versions, in one line.
async fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut versions = Vec::new();
    for (program, argument) in [("rustc", "--version"), ("java", "--version")] {
        if let Ok(done) = run_ok(Command::new(program).arg(argument), READY).await {
            versions.extend(
                String::from_utf8_lossy(&done.stdout)
                    .lines()
                    .next()
                    .map(str::to_owned),
            );
        }
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = model.trim_start_matches([':', ' ', '\t']);
    format!(
        "{cores} cores, {model}, Linux {}, {}",
        kernel.trim(),
        versions.join(", ")
    )
}
