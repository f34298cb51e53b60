//! `cargo xtask interop`: the real Apache RocketMQ 5.5.0 against ours, both ways.

mod apache;
mod cases;
mod driver;
mod ours;
mod text;
mod tools;
mod world;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub(crate) use apache::{Broker, BrokerConfig, NameServer, free_port};
use cases::Case;
pub(crate) use cases::differential::ACCEPTED;
pub(crate) use ours::{Rocketry, Serve, ServeOptions};
pub(crate) use tools::apache_jars;
use tools::{Tools, prepare};

use crate::{Result, clock, output, root};
use world::World;

/// `cargo xtask interop`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only the cases whose name contains CASE (may be repeated)
    #[arg(long, value_name = "CASE")]
    only: Vec<String>,
    /// Print the names of the cases and end
    #[arg(long)]
    list: bool,
    /// Keep the run's directory (logs, stores, what was read) even if everything passed
    #[arg(long)]
    keep: bool,
    /// Test this binary instead of building the workspace's `rocketry`
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Build `rocketry` with optimisation
    #[arg(long)]
    release: bool,
    /// Run this many cases at the same time, each lane with servers of its own; cases that share them keep their order
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    lanes: u8,
}

impl Options {
    fn wants(&self, case: &Case) -> bool {
        let is_named = |only: &String| case.name.contains(only.as_str());
        self.only.is_empty() || self.only.iter().any(is_named)
    }
}

/// Runs the cases; fails if one failed, or if Java, Maven or Go is missing.
pub(crate) async fn run(options: Options) -> Result {
    let wanted: Vec<String> = cases::groups()
        .into_iter()
        .flatten()
        .filter(|case| options.wants(case))
        .map(|case| case.name)
        .collect();
    if options.list {
        wanted.iter().for_each(output::line);
        return Ok(());
    }
    if wanted.is_empty() {
        return Err(format!("no case matches {:?}; --list prints them all", options.only).into());
    }
    let started = clock::now();
    let tools = prepare().await?;
    let rocketry = Rocketry::find(options.bin.clone(), options.release).await?;
    let dir = root().join("target/interop/run");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    output::line(format_args!(
        "prepared in {:.1} s; logs in {}",
        started.elapsed().as_secs_f64(),
        dir.display()
    ));

    let report = Report::default();
    let next_group = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for lane in 1..=options.lanes {
            let dir = dir.join(format!("lane-{lane}"));
            let (tools, rocketry) = (tools.clone(), rocketry.clone());
            let (options, report, next_group) = (&options, &report, &next_group);
            scope.spawn(move || {
                let started = clock::now();
                if let Err(error) = run_lane(options, &dir, tools, rocketry, next_group, report) {
                    report.failed(&format!("the servers of lane {lane}"), started, &*error);
                }
            });
        }
    });
    let (passed, failed) = report.counts();
    if failed == 0 && !options.keep {
        std::fs::remove_dir_all(&dir)?;
    }
    output::line(format_args!(
        "{passed} passed, {failed} failed in {:.0} s",
        started.elapsed().as_secs_f64()
    ));
    if failed > 0 {
        Err(format!("{failed} interop cases failed; logs in {}", dir.display()).into())
    } else if passed < wanted.len() {
        Err(format!("only {passed} of {} cases ran", wanted.len()).into())
    } else {
        Ok(())
    }
}

/// Takes one group of cases after the other and runs it on a world of its own, on this thread: the cases may block it.
fn run_lane(
    options: &Options,
    dir: &Path,
    tools: Tools,
    rocketry: Rocketry,
    next_group: &AtomicUsize,
    report: &Report,
) -> Result {
    std::fs::create_dir_all(dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut world = World::new(tools, rocketry, dir.to_owned())?;
        let mut groups = cases::groups();
        while let Some(group) = groups.get_mut(next_group.fetch_add(1, Ordering::Relaxed)) {
            for case in std::mem::take(group) {
                if !options.wants(&case) {
                    continue;
                }
                let started = clock::now();
                match (case.run)(&mut world).await {
                    Ok(()) => report.passed(&case.name, started),
                    Err(error) => report.failed(&case.name, started, &*error),
                }
            }
        }
        world.stop().await
    })
}

/// What the lanes found.
#[derive(Debug, Default)]
struct Report {
    passed: AtomicUsize,
    failed: AtomicUsize,
}

impl Report {
    fn passed(&self, what: &str, started: Instant) {
        self.passed.fetch_add(1, Ordering::Relaxed);
        let seconds = started.elapsed().as_secs_f64();
        output::line(format_args!("ok {what} ({seconds:.1} s)"));
    }

    fn failed(&self, what: &str, started: Instant, error: &dyn std::error::Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let seconds = started.elapsed().as_secs_f64();
        let text = indent(&error.to_string());
        output::line(format_args!("FAILED {what} ({seconds:.1} s)\n{text}"));
    }

    fn counts(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (count(&self.passed), count(&self.failed))
    }
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
