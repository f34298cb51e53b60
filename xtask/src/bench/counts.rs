//! Counts that come out the same on every machine, from the tests that hold their budgets: allocations and writes.

use std::time::Duration;

use tokio::process::Command;

use crate::process::run_ok;
use crate::{Result, output, root};

/// A build of the tests on a machine that is busy.
const PATIENCE: Duration = Duration::from_hours(1);

/// What the tests printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub(super) struct Counts {
    /// Of a synchronous send in the client, message and result included.
    pub(super) allocations_per_send: Option<f64>,
    /// Of a stored message in the server, request and answer included.
    pub(super) allocations_per_append: Option<f64>,
    /// To one connection, of 1,000 synchronous sends, one at a time.
    pub(super) writes_alone: Option<f64>,
    /// The same at 64 in flight.
    pub(super) writes_together: Option<f64>,
}

/// Runs the tests.
pub(super) async fn run() -> Result<Counts> {
    let client = tests("rocketry", &["allocations", "writes"], false).await?;
    let server = tests("rocketry-server", &["allocations"], false).await?;
    let counts = Counts::read(&format!("{client}\n{server}"));
    output::line(format_args!("counts: {}", serde_json::to_string(&counts)?));
    Ok(counts)
}

/// Builds them.
pub(super) async fn prepare() -> Result {
    tests("rocketry", &["allocations", "writes"], true).await?;
    tests("rocketry-server", &["allocations"], true).await?;
    Ok(())
}

async fn tests(package: &str, tests: &[&str], build_only: bool) -> Result<String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root())
        .args(["test", "--quiet", "--package", package]);
    for test in tests {
        command.args(["--test", test]);
    }
    if build_only {
        command.arg("--no-run");
    } else {
        command.args(["--", "--nocapture"]);
    }
    let done = run_ok(&mut command, PATIENCE).await?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

impl Counts {
    /// The tests' lines; one that is not there leaves its count open.
    fn read(text: &str) -> Self {
        let before = |what: &str| {
            let line = text.lines().find_map(|line| line.split_once(what))?;
            let number = line.0.split_whitespace().next_back()?;
            // right behind the dots of other tests, if they ended first
            number.trim_start_matches('.').parse().ok()
        };
        Self {
            allocations_per_send: before(" allocations per synchronous send"),
            allocations_per_append: before(" allocations per stored message"),
            writes_alone: before(" at 1 in flight, "),
            writes_together: text
                .lines()
                .find_map(|line| line.split_once(" at 1 in flight, "))
                .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_tests_are_understood() {
        let text = "running 2 tests\n.7.01 allocations per synchronous send, message and result included\n.\nwrites per 1,000 messages: 1000 at 1 in flight, 15 at 64\n4.10 allocations per stored message, request and answer included\n";
        let counts = Counts {
            allocations_per_send: Some(7.01),
            allocations_per_append: Some(4.10),
            writes_alone: Some(1000.0),
            writes_together: Some(15.0),
        };
        assert_eq!(Counts::read(text), counts);
        assert_eq!(Counts::read("ok"), Counts::default());
    }

    /// Otherwise a changed wording would leave a target open and nobody would know.
    #[test]
    fn the_tests_print_these_words() {
        for (file, words) in [
            (
                "rocketry/tests/allocations.rs",
                " allocations per synchronous send",
            ),
            ("rocketry/tests/writes.rs", " at 1 in flight, "),
            (
                "rocketry-server/tests/allocations.rs",
                " allocations per stored message",
            ),
        ] {
            let text = std::fs::read_to_string(root().join("crates").join(file)).unwrap();
            assert!(text.contains(words), "{file}: {words}");
        }
    }
}
