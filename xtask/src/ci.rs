//! `cargo xtask ci`: everything that has to hold before a change lands, and how long each part took.

use std::process::Stdio;

use tokio::process::Command;

use crate::{Result, clock, output, root};

/// `cargo xtask ci`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Without the cases that need Java, Maven and Go
    #[arg(long)]
    without_interop: bool,
    /// Seconds for each fuzz target; as many run at once as there are processors
    #[arg(long, default_value_t = 60, value_name = "N")]
    fuzz_seconds: u64,
}

struct Step {
    name: &'static str,
    arguments: Vec<String>,
    env: Option<(&'static str, &'static str)>,
}

fn steps(options: &Options) -> Vec<Step> {
    let step = |name, line: &str| Step {
        name,
        arguments: line.split(' ').map(str::to_owned).collect(),
        env: None,
    };
    let mut steps = vec![
        step("fmt", "fmt --all --check"),
        step(
            "clippy",
            "clippy --workspace --all-targets --quiet -- -D warnings",
        ),
        Step {
            env: Some(("RUSTDOCFLAGS", "-D warnings")),
            ..step("doc", "doc --workspace --no-deps --quiet")
        },
        step("test", "test --workspace"),
        step(
            "features",
            "test --package rocketry --features trace-context --lib --test fake trace_context",
        ),
        Step {
            env: Some(("ROCKETRY_SIM_SEEDS", "10000")),
            ..step(
                "simulation",
                "test --package rocketry --test sim every_seed",
            )
        },
        Step {
            env: Some(("ROCKETRY_CRASHES", "100")),
            ..step(
                "crashes",
                "test --profile checked --package rocketry-store --test crash -- --nocapture",
            )
        },
        step(
            "quickstart",
            "run --quiet --package rocketry-cli --bin rocketry -- quickstart",
        ),
        step(
            "fuzz-smoke",
            &format!(
                "run --quiet --package xtask -- fuzz-smoke --seconds {}",
                options.fuzz_seconds
            ),
        ),
        step("count", "run --quiet --package xtask -- count"),
        step("disk-full", "run --quiet --package xtask -- disk-full"),
    ];
    if !options.without_interop {
        steps.push(step("interop", "run --quiet --package xtask -- interop"));
    }
    steps
}

/// Runs every step, even after one failed, and fails if any did.
pub(crate) async fn run(options: Options) -> Result {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut summary = Vec::new();
    let mut failed = Vec::new();
    for step in steps(&options) {
        output::line(format_args!(
            "== {}: cargo {}",
            step.name,
            step.arguments.join(" ")
        ));
        let started = clock::now();
        let mut command = Command::new(&cargo);
        command
            .current_dir(root())
            .args(&step.arguments)
            .envs(step.env)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let status = command.status().await?;
        let result = if status.success() { "ok" } else { "FAILED" };
        summary.push(format!(
            "{result:6} {:10} {:6.1} s",
            step.name,
            started.elapsed().as_secs_f64()
        ));
        if !status.success() {
            failed.push(step.name);
        }
    }
    output::line(format_args!("== summary\n{}", summary.join("\n")));
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")).into())
    }
}
