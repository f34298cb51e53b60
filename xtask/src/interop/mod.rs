//! `cargo xtask interop`: the real Apache RocketMQ 5.5.0 against ours, both ways.

mod apache;
mod cases;
mod driver;
mod ours;
mod text;
mod tools;
mod world;

use std::path::PathBuf;

pub(crate) use apache::{Broker, BrokerConfig, NameServer, free_port};
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
}

/// Runs the cases; fails if one failed, or if Java, Maven or Go is missing.
pub(crate) async fn run(options: Options) -> Result {
    let mut cases = cases::all();
    cases.retain(|case| {
        options.only.is_empty()
            || options
                .only
                .iter()
                .any(|only| case.name.contains(only.as_str()))
    });
    if options.list {
        for case in &cases {
            output::line(format_args!("{}", case.name));
        }
        return Ok(());
    }
    if cases.is_empty() {
        return Err(format!("no case matches {:?}; --list prints them all", options.only).into());
    }
    let started = clock::now();
    let tools = prepare().await?;
    let rocketry = Rocketry::find(options.bin, options.release).await?;
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

    let mut world = World::new(tools, rocketry, dir.clone())?;
    let (mut passed, mut failed) = (0, 0);
    for case in cases {
        let started = clock::now();
        let result = (case.run)(&mut world).await;
        let seconds = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                passed += 1;
                output::line(format_args!("ok {} ({seconds:.1} s)", case.name));
            }
            Err(error) => {
                failed += 1;
                output::line(format_args!(
                    "FAILED {} ({seconds:.1} s)\n{}",
                    case.name,
                    indent(&error.to_string())
                ));
            }
        }
    }
    let stopped = world.stop().await;
    if let Err(error) = &stopped {
        failed += 1;
        output::line(format_args!(
            "FAILED stopping the servers\n{}",
            indent(&error.to_string())
        ));
    }
    if failed == 0 && !options.keep {
        std::fs::remove_dir_all(&dir)?;
    }
    output::line(format_args!("{passed} passed, {failed} failed"));
    if failed > 0 {
        Err(format!("{failed} interop cases failed; logs in {}", dir.display()).into())
    } else {
        Ok(())
    }
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
