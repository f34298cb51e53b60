//! The process as the operating system sees it, under the names that all Prometheus clients use. Linux only.

use super::page::Page;

/// Ticks per second in `/proc`: fixed by the kernel's interface on the platforms that Rust's standard library supports.
const TICKS: f64 = 100.0;

pub(super) fn collect(page: &mut Page) {
    if let Some(kib) = status_kib("VmRSS:") {
        page.single(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory of the process, pages of mapped files included",
            kib * 1024,
        );
    }
    if let Some(kib) = status_kib("RssAnon:") {
        page.single(
            "rocketry_resident_anonymous_bytes",
            "gauge",
            "Resident memory of the process without mapped files",
            kib * 1024,
        );
    }
    if let Some(seconds) = cpu_seconds() {
        page.single(
            "process_cpu_seconds_total",
            "counter",
            "CPU time of the process, user and system",
            seconds,
        );
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        page.single(
            "process_open_fds",
            "gauge",
            "Open files and sockets",
            files.count(),
        );
    }
}

fn status_kib(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the process, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}
