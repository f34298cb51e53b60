//! `cargo xtask fuzz-smoke`: the fuzz targets on the stable toolchain, fed by a seeded mutation driver.

mod mutate;
mod seeds;
#[expect(
    unreachable_pub,
    clippy::expect_used,
    reason = "public in the fuzz crate; a broken expectation is a finding"
)]
#[path = "../../../fuzz/src/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::{Result, clock, output, root};
use mutate::Mutator;
use targets::{TARGETS, Target};

/// Executions between two looks at the clock.
const BURST: u64 = 64;

/// `cargo xtask fuzz-smoke`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 5, value_name = "N")]
    seconds: u64,
    /// Only the targets whose name contains TARGET
    #[arg(long, value_name = "TARGET")]
    only: Option<String>,
    /// Seed of the mutations; a failure names the seed it happened with
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run one target on this file instead (an input that a failure left)
    #[arg(long, value_name = "FILE", requires = "only")]
    input: Option<PathBuf>,
}

/// What the mutations of one target came to.
struct Outcome {
    executions: u64,
    /// The first input that made the target panic, and what it said.
    failure: Option<(Vec<u8>, String)>,
}

/// Runs the targets, as many at once as there are processors; any panic is a failure.
pub(crate) fn run(options: &Options) -> Result {
    let chosen: Vec<_> = TARGETS
        .iter()
        .filter(|target| {
            options
                .only
                .as_ref()
                .is_none_or(|only| target.name.contains(only))
        })
        .collect();
    if chosen.is_empty() {
        return Err(format!("no target's name contains {:?}", options.only).into());
    }
    if let Some(input) = &options.input {
        let data = std::fs::read(input)?;
        for target in chosen {
            (target.run)(&data);
        }
        return Ok(());
    }
    let mut work = Vec::new();
    for target in chosen {
        work.push((target, seeds::load(target)?));
    }
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let limit = Duration::from_secs(options.seconds);
    // A panic that is caught and reported must not print as well: mutated inputs could cause thousands.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((target, seeds)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = smoke(target, seeds, options.seed, limit);
                    let result = report(target, seeds.len(), options, outcome);
                    if let (Err(error), Ok(mut failures)) = (result, failures.lock()) {
                        failures.push(format!("{}: {error}", target.name));
                    }
                }
            });
        }
    });
    std::panic::set_hook(hook);
    let failures = failures.into_inner().unwrap_or_default();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n").into())
    }
}

/// The seeds as they are, then mutations of them until `limit` is over or the target panics.
fn smoke(target: &Target, seeds: &[Vec<u8>], seed: u64, limit: Duration) -> Outcome {
    let started = clock::now();
    let mut mutator = Mutator::new(seed);
    let mut outcome = Outcome {
        executions: 0,
        failure: None,
    };
    for input in seeds {
        execute(target, input, &mut outcome);
    }
    while outcome.failure.is_none() && started.elapsed() < limit {
        for _ in 0..BURST {
            let input = mutator.mutate(seeds);
            execute(target, &input, &mut outcome);
        }
    }
    outcome
}

fn execute(target: &Target, input: &[u8], outcome: &mut Outcome) {
    outcome.executions += 1;
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    if let Err(panic) = result
        && outcome.failure.is_none()
    {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        outcome.failure = Some((input.to_vec(), text.unwrap_or_default()));
    }
}

fn report(target: &Target, seeds: usize, options: &Options, outcome: Outcome) -> Result {
    let Outcome {
        executions,
        failure,
    } = outcome;
    let name = target.name;
    let Some((input, text)) = failure else {
        output::line(format_args!(
            "ok {name}: {executions} executions from {seeds} seeds"
        ));
        return Ok(());
    };
    let file = keep(&root(), name, &input)?;
    Err(format!(
        "panicked after {executions} executions (seed {}): {text}\n  run again: cargo xtask fuzz-smoke --only {name} --input {}",
        options.seed,
        file.display()
    )
    .into())
}

fn keep(root: &Path, target: &str, input: &[u8]) -> Result<PathBuf> {
    let dir = root.join("target/fuzz-smoke");
    std::fs::create_dir_all(&dir)?;
    let file = dir.join(format!("{target}.input"));
    std::fs::write(&file, input)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragile(data: &[u8]) {
        assert!(data.first() != Some(&0xFF) || data.len() < 3, "found it");
    }

    #[test]
    fn a_panicking_target_is_found_and_its_input_reported() {
        let target = Target {
            name: "fragile",
            run: fragile,
            seeds: &[],
        };
        let outcome = smoke(&target, &[vec![1, 2, 3, 4]], 1, Duration::from_mins(1));
        let (input, text) = outcome.failure.unwrap();
        assert_eq!(input.first(), Some(&0xFF));
        assert_eq!(text, "found it");
    }

    #[test]
    fn every_target_has_seeds_and_survives_them() {
        for target in TARGETS {
            let seeds = seeds::load(target).unwrap();
            assert!(!seeds.is_empty(), "{} has no seeds", target.name);
            let outcome = smoke(target, &seeds, 1, Duration::ZERO);
            assert!(
                outcome.failure.is_none(),
                "{}: {:?}",
                target.name,
                outcome.failure
            );
        }
    }
}
