//! `cargo xtask count`: what a message costs in instructions and system calls. Counts, unlike times, come out the same on a busy machine.
//!
//! A workload is a function of this crate that repeats one operation. Valgrind runs it twice, with different numbers of repetitions;
//! the difference is free of start and warm-up. Budgets lie in `xtask/budgets.json` and are for release builds on x86-64.

mod peer;
mod system_calls;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use crate::process::run_ok;
use crate::{Result, output, root};
use work::Work;

/// A build, or a run under valgrind, on a busy machine.
const PATIENCE: Duration = Duration::from_hours(1);
/// Repetitions of the shorter run; the longer one has twice as many.
const REPETITIONS: u64 = 1000;
/// What a figure may lie above its budget: compilers and libraries move a little.
const TOLERANCE: f64 = 0.10;

/// `cargo xtask count`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these operations
    #[arg(value_enum)]
    works: Vec<Work>,
    /// Write what was counted as the new budgets
    #[arg(long)]
    update: bool,
    /// Also count system calls of real sends between two processes (needs strace); printed, without a budget
    #[arg(long)]
    system_calls: bool,
}

/// `cargo xtask count-run`: a workload, for valgrind.
#[derive(Debug, clap::Args)]
pub(crate) struct CountRun {
    #[arg(value_enum)]
    work: Work,
    #[arg(long)]
    repetitions: u64,
}

pub(crate) fn run_work(options: &CountRun) -> Result {
    options.work.run(options.repetitions)
}

/// Counts and compares with the budgets.
pub(crate) async fn run(options: Options) -> Result {
    let works = if options.works.is_empty() {
        Work::ALL.to_vec()
    } else {
        options.works.clone()
    };
    let binary = crate::optimised().await?;
    let file = root().join("xtask/budgets.json");
    let mut budgets = budgets(&file)?;
    let mut exceeded = Vec::new();
    output::line("| operation | instructions | budget | |\n|---|--:|--:|---|");
    for work in works {
        let counted = instructions(&binary, work).await?;
        let budget = budgets.get(work.name()).copied();
        let verdict = judge(counted, budget);
        output::line(format_args!(
            "| {} | {counted:.0} | {} | {} |",
            work.name(),
            budget.map_or_else(|| "-".to_owned(), |budget| format!("{budget:.0}")),
            verdict.text(),
        ));
        if verdict == Verdict::Above && !options.update {
            exceeded.push(work.name());
        }
        budgets.insert(work.name().to_owned(), counted.round());
    }
    if options.update {
        std::fs::write(&file, serde_json::to_string_pretty(&budgets)? + "\n")?;
    }
    if options.system_calls {
        system_calls::run().await?;
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more instructions than {} allows (10 % above it): {}; where the cost is worth it, `cargo xtask count --update`",
        file.display(),
        exceeded.join(", ")
    )
    .into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Within,
    /// The budget can be lowered.
    Below,
    Above,
    New,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Self::Within => "ok",
            Self::Below => "ok, more than 10 % below the budget: lower it with --update",
            Self::Above => "MORE THAN THE BUDGET",
            Self::New => "no budget yet: --update",
        }
    }
}

fn judge(counted: f64, budget: Option<f64>) -> Verdict {
    match budget {
        None => Verdict::New,
        Some(budget) if counted > budget * (1.0 + TOLERANCE) => Verdict::Above,
        Some(budget) if counted < budget * (1.0 - TOLERANCE) => Verdict::Below,
        Some(_) => Verdict::Within,
    }
}

fn budgets(file: &Path) -> Result<BTreeMap<String, f64>> {
    if !file.exists() {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(file)?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Instructions of one repetition.
async fn instructions(binary: &Path, work: Work) -> Result<f64> {
    let few = instructions_of(binary, work, REPETITIONS).await?;
    let many = instructions_of(binary, work, REPETITIONS * 2).await?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let each = many.saturating_sub(few) as f64 / REPETITIONS as f64;
    Ok(each)
}

async fn instructions_of(binary: &Path, work: Work, repetitions: u64) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(binary)
        .args(["count-run", work.name(), "--repetitions"])
        .arg(repetitions.to_string());
    let done = run_ok(&mut command, PATIENCE).await.map_err(|error| {
        format!("{error}\ncounting needs valgrind: apt-get install -y valgrind")
    })?;
    collected(&done.stderr)
        .ok_or_else(|| format!("valgrind printed no `Collected` line:\n{}", done.stderr).into())
}

/// The number of `==7== Collected : 123456`.
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valgrinds_count_is_found() {
        let text = "==7== Callgrind, a call-graph\n==7== Collected : 123456\n==7==\n";
        assert_eq!(collected(text), Some(123_456));
        assert_eq!(collected("==7== Command: x"), None);
    }

    #[test]
    fn a_budget_holds_within_a_tenth() {
        assert_eq!(judge(109.0, Some(100.0)), Verdict::Within);
        assert_eq!(judge(111.0, Some(100.0)), Verdict::Above);
        assert_eq!(judge(89.0, Some(100.0)), Verdict::Below);
        assert_eq!(judge(1.0, None), Verdict::New);
    }

    /// Otherwise a new workload would be counted and never compared.
    #[test]
    fn every_workload_has_a_budget_and_the_reverse() {
        let budgets = budgets(&root().join("xtask/budgets.json")).unwrap();
        let mut names: Vec<_> = Work::ALL.iter().map(|work| work.name()).collect();
        names.sort_unstable();
        assert_eq!(
            budgets.keys().map(String::as_str).collect::<Vec<_>>(),
            names
        );
    }

    #[test]
    fn every_workload_runs() {
        for work in Work::ALL {
            work.run(3).unwrap();
        }
    }
}
