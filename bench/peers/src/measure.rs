//! A warm-up, then the measured phase, whose start and end read the clocks of time and of the CPU.

use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::{Options, Result};

#[derive(Debug, Default)]
pub(crate) struct Measure {
    measuring: AtomicBool,
    over: AtomicBool,
    messages: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<String>,
    /// Microseconds.
    latencies: Mutex<Vec<u32>>,
}

impl Measure {
    /// False when a worker should not begin anything any more.
    pub(crate) fn goes_on(&self) -> bool {
        !self.over.load(Relaxed)
    }

    /// A call that began at `started` has ended; it carried `count` messages.
    pub(crate) fn done<T>(
        &self,
        latencies: &mut Vec<u32>,
        started: Instant,
        count: usize,
        result: std::result::Result<T, impl Display>,
    ) {
        match result {
            Ok(_) if self.measuring.load(Relaxed) => {
                self.messages.fetch_add(count as u64, Relaxed);
                latencies.push(us(started));
            }
            Ok(_) => {}
            Err(error) => self.failed(&error.to_string()),
        }
    }

    /// The same, from a callback.
    pub(crate) fn callback(&self, started: Instant, result: std::result::Result<(), String>) {
        if let Ok(mut latencies) = self.latencies.lock() {
            self.done(&mut latencies, started, 1, result);
        }
    }

    /// Takes over the latencies of a worker.
    pub(crate) fn keep(&self, of: Vec<u32>) {
        if let Ok(mut latencies) = self.latencies.lock() {
            latencies.extend(of);
        }
    }

    pub(crate) fn failed(&self, error: &str) {
        if self.failed.fetch_add(1, Relaxed) == 0
            && let Ok(mut first) = self.first_failure.lock()
        {
            *first = error.to_owned();
        }
    }

    /// Lets the workers run through both phases, then tells them to end and gives them time to hand over; the line of JSON.
    pub(crate) async fn phases(&self, options: &Options) -> Result<String> {
        tokio::time::sleep(options.warm).await;
        std::fs::write("/proc/self/clear_refs", "5")?;
        let watched = options.watch.map(watched_cpu_us).transpose()?;
        let (cpu, began) = (cpu_us(), Instant::now());
        self.measuring.store(true, Relaxed);
        tokio::time::sleep(options.measured).await;
        self.measuring.store(false, Relaxed);
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_us() - cpu);
        let watched = match (options.watch, watched) {
            (Some(pid), Some(before)) => Some(watched_cpu_us(pid)? - before),
            _ => None,
        };
        let max_rss = peak_memory()?;
        self.over.store(true, Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut us = std::mem::take(&mut *self.latencies.lock().map_err(|_| "a worker panicked")?);
        us.sort_unstable();
        let at = |per_mille: usize| {
            us.get(us.len() * per_mille / 1000)
                .copied()
                .unwrap_or_default()
        };
        let first_failure = self
            .first_failure
            .lock()
            .map_err(|_| "a worker panicked")?
            .clone();
        Ok(json!({
            "messages": self.messages.load(Relaxed),
            "failed": self.failed.load(Relaxed),
            "first_failure": first_failure,
            "seconds": seconds,
            "p50_us": at(500),
            "p99_us": at(990),
            "p999_us": at(999),
            "cpu_us": cpu,
            "watched_cpu_us": watched,
            "max_rss_bytes": max_rss,
        })
        .to_string())
    }
}

fn us(started: Instant) -> u32 {
    u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX)
}

fn cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

/// User and system time of another process, which the kernel tells in hundredths of a second.
fn watched_cpu_us(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let behind_name = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    let mut ticks = 0.0;
    for field in behind_name.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<f64>()?;
    }
    Ok(ticks * 1e4)
}

fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("no VmHWM")?
        .parse()?;
    Ok(kib * 1024)
}
