//! System calls of real sends: `rocketry bench produce` and `rocketry serve` over loopback, each under strace in its turn.

use std::time::Duration;

use tokio::process::Command;

use crate::interop::{Rocketry, Serve, ServeOptions};
use crate::process::run_ok;
use crate::{Result, output, root};

const PATIENCE: Duration = Duration::from_mins(10);
const MESSAGES: u64 = 20_000;

/// Prints calls per 1,000 messages at 64 in flight, those that occur at least once per 1,000.
pub(super) async fn run() -> Result {
    let rocketry = Rocketry::find(None, true).await?;
    let dir = root().join("target/count");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    let (data, log) = (dir.join("data"), dir.join("serve.log"));
    let serve = Serve::start(&rocketry, &data, &log, &ServeOptions::default()).await?;
    let table = dir.join("client");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-c", "-U", "calls,name", "-o"])
        .arg(&table)
        .arg(rocketry.path())
        .args(["bench", "produce", "bench", "--namesrv", &serve.namesrv])
        .args(["--count", &MESSAGES.to_string(), "--warmup", "0"]);
    run_ok(&mut command, PATIENCE).await?;
    serve.kill().await?;
    output::line("\nclient, system calls per 1,000 messages, 1 KiB, 64 in flight, under strace:\n");
    for (name, calls) in calls(&std::fs::read_to_string(&table)?) {
        let per_thousand = calls * 1000 / MESSAGES;
        if per_thousand > 0 {
            output::line(format_args!("- {name}: {per_thousand}"));
        }
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Name and number of calls of the rows of `strace -c -U calls,name`.
fn calls(table: &str) -> Vec<(String, u64)> {
    table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let calls = words.next()?.parse().ok()?;
            let name = words.next()?;
            (name != "total").then(|| (name.to_owned(), calls))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_read() {
        let table = "    calls syscall\n--------- ----------------\n     1234 sendto\n        7 futex\n--------- ----------------\n     1241 total\n";
        assert_eq!(
            calls(table),
            [("sendto".to_owned(), 1234), ("futex".to_owned(), 7)]
        );
    }
}
