//! Repository chores: `cargo xtask --help`.

mod bench;
mod ci;
mod clock;
mod compat;
mod count;
mod disk_full;
mod failover;
mod fuzz;
mod hostile;
mod interop;
mod many;
mod measured;
mod output;
mod process;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A chore's result; its errors are read by a person, never matched on.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Repository chores; they need nothing but cargo unless they say so.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// All checks: format, lints, documentation, tests, quickstart, fuzz-smoke, count (needs valgrind), interop
    Ci(ci::Options),
    /// Compare client, server and store with Apache's, with other clients, and with floors (needs Java, Maven and Go; what is missing is
    /// left out and named)
    Bench(bench::Options),
    /// Kill, and stop, one of two brokers under 64 concurrent senders: failed sends and latencies, ours and Apache's (needs Java and Maven)
    Failover(failover::Options),
    /// Instructions per message, compared with xtask/budgets.json (needs valgrind)
    Count(count::Options),
    #[command(hide = true)]
    CountRun(count::CountRun),
    #[command(hide = true)]
    EchoServe(bench::EchoServe),
    #[command(hide = true)]
    EchoDrive(bench::EchoDrive),
    #[command(hide = true)]
    StoreBench(bench::StoreBench),
    /// Run our server on a small disk of its own until it is full, and give it space again (needs the right to mount, else it skips)
    DiskFull(disk_full::Options),
    /// Write the acceptance lists of docs/compatibility.md from the tests that name their numbers
    Compat(compat::Options),
    /// Feed every decoder with mutations of the golden vectors; any panic is a failure
    FuzzSmoke(fuzz::Options),
    /// Send, read and connect as nobody should, and measure what a client that behaves notices of it
    Hostile(hostile::Options),
    /// Measure memory and CPU with 10,000 topics, 1,000 groups and 5,000 connections against ten of each
    Many(many::Options),
    /// Run the real Apache RocketMQ 5.5.0 and its Java and Go clients against ours (needs Java, Maven and Go)
    Interop(interop::Options),
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args.chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Leaving this block drops the chore, and with it every process it started.
        tokio::select! {
            result = start(chore) => result,
            signal = interrupted() => Err(format!("stopped by {}", signal?).into()),
        }
    })
}

async fn start(chore: Chore) -> Result {
    match chore {
        Chore::Ci(options) => ci::run(options).await,
        Chore::Bench(options) => bench::run(options).await,
        Chore::Failover(options) => failover::run(options).await,
        Chore::Count(options) => count::run(options).await,
        Chore::CountRun(options) => {
            tokio::task::spawn_blocking(move || count::run_work(&options)).await?
        }
        Chore::EchoServe(options) => {
            tokio::task::spawn_blocking(move || bench::echo_serve(&options)).await?
        }
        Chore::EchoDrive(options) => {
            tokio::task::spawn_blocking(move || bench::echo_drive(&options)).await?
        }
        Chore::StoreBench(options) => {
            tokio::task::spawn_blocking(move || bench::store_bench(&options)).await?
        }
        Chore::DiskFull(options) => disk_full::run(options).await,
        Chore::Compat(options) => compat::run(&options),
        Chore::FuzzSmoke(options) => {
            tokio::task::spawn_blocking(move || fuzz::run(&options)).await?
        }
        Chore::Hostile(options) => hostile::run(options).await,
        Chore::Many(options) => many::run(options).await,
        Chore::Interop(options) => interop::run(options).await,
    }
}

async fn interrupted() -> Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::select! {
        _ = interrupt.recv() => Ok("an interrupt"),
        _ = terminate.recv() => Ok("a request to terminate"),
    }
}

/// This crate, optimised: this process if it is, else a build.
async fn optimised() -> Result<PathBuf> {
    const BUILD: std::time::Duration = std::time::Duration::from_hours(1);
    if !cfg!(debug_assertions) {
        return Ok(std::env::current_exe()?);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = tokio::process::Command::new(cargo);
    command
        .current_dir(root())
        .args(["build", "--quiet", "--release", "--package", "xtask"]);
    process::run_ok(&mut command, BUILD).await?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("release/xtask"))
}

/// The repository's root.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}
