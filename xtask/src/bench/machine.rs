//! What the figures were measured on, and what.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::process::run_ok;
use crate::root;

const PATIENCE: Duration = Duration::from_secs(20);

/// Processor, kernel, versions, commit, and how busy the machine was.
pub(super) async fn describe() -> Value {
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("", |rest| rest.trim_start_matches([':', ' ', '\t']));
    let memory = read("/proc/meminfo");
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .map_or("", str::trim);
    json!({
        "processor": model,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": memory,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_average_at_the_end": read("/proc/loadavg").trim(),
        "rustc": first_line("rustc", &["--version"]).await,
        "java": first_line("java", &["--version"]).await,
        "go": first_line("go", &["version"]).await,
        "commit": first_line("git", &["describe", "--always", "--dirty", "--abbrev=12"]).await,
        "apache_rocketmq": "5.5.0",
        "rocketmq_client_go": "2.1.2",
        "rocketmq_client_rust": "1.0.0",
        "rocketmq_broker": "1.0.0",
    })
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Nothing where the program is not there.
async fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.current_dir(root()).args(arguments);
    let done = run_ok(&mut command, PATIENCE).await.ok()?;
    let text = String::from_utf8_lossy(&done.stdout);
    Some(text.lines().next()?.to_owned())
}
