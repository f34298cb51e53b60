//! A long run at a steady rate: memory that must not grow, a cost that must not rise with the log, and a client and a server that must
//! rest when nothing is asked of them.

use std::path::Path;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::clients::{At, Phases, produce};
use super::figures::{Figures, Spread};
use super::process_usage::memory;
use super::producers::at;
use super::servers::{Kind, Server, Setup, Starter, TOPIC};
use super::workload::{Mode, Workload};
use super::{Bench, float};
use crate::process::{Running, run_ok};
use crate::{Result, clock, output};

/// Messages per second: ten minutes of them make a log of more than 20 GB.
const RATE: u32 = 30_000;
/// Sends that may be under way, should the server fall behind for a moment.
const IN_FLIGHT: u32 = 1024;
/// What F8 asks for.
pub(super) const LOG_BYTES: u64 = 20_000_000_000;
/// Measurements of the cost at either end.
const COSTS: usize = 3;
const SAMPLE: Duration = Duration::from_secs(1);
/// Beyond the phases: start, end, and a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);
const COST: Workload = Workload::new(Mode::Sync, 64, 1024);

/// What a soak gave.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Soak {
    /// Length of the steady load.
    pub(super) seconds: f64,
    pub(super) messages: u64,
    pub(super) failed: u64,
    pub(super) p99_us: Option<f64>,
    pub(super) p999_us: Option<f64>,
    /// Bytes of the log at the end, to the file.
    pub(super) log_bytes: u64,
    /// Server CPU per send at 64 in flight, microseconds: with an empty log, and with the full one.
    pub(super) cost_before: Vec<f64>,
    pub(super) cost_after: Vec<f64>,
    pub(super) memory: Vec<Sample>,
    pub(super) idle: Option<Idle>,
}

/// Memory that belongs to no file, bytes, so many seconds into the steady load.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Sample {
    pub(super) at: f64,
    pub(super) client: u64,
    pub(super) server: u64,
}

/// A time without messages at the end, the client still connected, after a transaction: per cent of a core.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Idle {
    pub(super) seconds: f64,
    pub(super) client_percent: f64,
    pub(super) server_percent: f64,
}

impl Soak {
    /// Bytes by which memory grew between the second and the last fifth of the run, the medians of both; `None` of a run too short.
    pub(super) fn growth(&self, of: fn(&Sample) -> u64) -> Option<f64> {
        let fifth = |number: f64| {
            let (from, to) = (
                self.seconds * number / 5.0,
                self.seconds * (number + 1.0) / 5.0,
            );
            let within = self.memory.iter();
            let within = within.filter(|sample| sample.at >= from && sample.at < to);
            Some(Spread::of(within.map(|sample| float(of(sample))))?.median)
        };
        Some(fifth(4.0)? - fifth(1.0)?)
    }

    /// The most that was in use.
    pub(super) fn peak(&self, of: fn(&Sample) -> u64) -> Option<u64> {
        self.memory.iter().map(of).max()
    }

    /// How much dearer a message is at the end, if the log is as long as it has to be.
    pub(super) fn cost_ratio(&self) -> Option<f64> {
        let median = |costs: &[f64]| Some(Spread::of(costs.iter().copied())?.median);
        let ratio = median(&self.cost_after)? / median(&self.cost_before)?;
        (self.log_bytes >= LOG_BYTES).then_some(ratio)
    }
}

/// Runs it against our server.
pub(super) async fn run(bench: &Bench, starter: &Starter<'_>) -> Result<Soak> {
    let seconds = bench.options.soak_seconds();
    let setup = Setup {
        sync_flush: false,
        topics: 0,
    };
    let server = starter.start(Kind::Rocketry, setup).await?;
    let cost_before = costs(bench, &server).await?;
    output::line(format_args!(
        "soak: {RATE} messages per second for {seconds:.0} s"
    ));
    let (figures, samples, idle) = load(bench, &server, seconds).await?;
    let cost_after = costs(bench, &server).await?;
    let log_bytes = log_bytes(&server.data().join("commitlog"))?;
    server.end().await?;
    Ok(Soak {
        seconds,
        messages: figures.messages,
        failed: figures.failed,
        p99_us: figures.p99_us,
        p999_us: figures.p999_us,
        log_bytes,
        cost_before,
        cost_after,
        memory: samples,
        idle,
    })
}

async fn costs(bench: &Bench, server: &Server) -> Result<Vec<f64>> {
    let phases = Phases {
        warm: bench.options.scaled(1.0),
        seconds: bench.options.scaled(4.0),
    };
    let mut costs = Vec::new();
    for _ in 0..COSTS {
        let figures = produce(&bench.rocketry, at(server), COST, phases, &[]).await?;
        costs.extend(figures.server_cpu());
    }
    Ok(costs)
}

async fn load(
    bench: &Bench,
    server: &Server,
    seconds: f64,
) -> Result<(Figures, Vec<Sample>, Option<Idle>)> {
    let idle = bench.options.scaled(10.0);
    let At { namesrv, pid, .. } = at(server);
    let mut command = bench.rocketry.command();
    command
        .args(["bench", "produce", TOPIC, "--namesrv", namesrv])
        .args(["--mode", "async", "--output", "json", "--timeout", "10s"])
        .args(["--concurrency", &IN_FLIGHT.to_string(), "--warmup", "0"])
        .args(["--size", "1024", "--rate", &RATE.to_string()])
        .args(["--duration", &format!("{:.0}ms", seconds * 1000.0)])
        .args(["--idle", &format!("{:.0}ms", idle * 1000.0)])
        .args(["--watch", &pid.to_string()]);
    let log = bench.dir.join("soak.log");
    let mut client = Running::start("rocketry bench produce", &mut command, log)?;
    let client_pid = client.pid().ok_or("the client has ended")?;
    let limit = PATIENCE + Duration::from_secs_f64(seconds + idle);
    let mut samples = Vec::new();
    let mut ticks = interval(SAMPLE.min(Duration::from_secs_f64(seconds / 20.0)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began = clock::now();
    let mut transacted = false;
    let line = {
        let report = client.line_with("{\"", limit);
        tokio::pin!(report);
        loop {
            tokio::select! {
                biased;
                line = &mut report => break line?,
                _ = ticks.tick() => {}
            }
            let at = began.elapsed().as_secs_f64();
            if at < seconds {
                samples.push(Sample {
                    at,
                    client: memory(client_pid)?.anonymous,
                    server: memory(pid)?.anonymous,
                });
            }
            if !transacted && at > seconds / 2.0 {
                transacted = true;
                transaction(bench, namesrv).await?;
            }
        }
    };
    client.finish().await?;
    let figures = Figures::of_rocketry(line.as_bytes())?;
    Ok((figures, samples, idle_of(&line)?))
}

/// What follows a transaction belongs to a server's rest.
async fn transaction(bench: &Bench, namesrv: &str) -> Result {
    let mut command = bench.rocketry.command();
    command
        .args(["send", TOPIC, "half", "--transaction", "commit"])
        .args(["--namesrv", namesrv]);
    run_ok(&mut command, PATIENCE).await?;
    Ok(())
}

fn idle_of(report: &str) -> Result<Option<Idle>> {
    let report: serde_json::Value = serde_json::from_str(report)?;
    let number = |name: &str| report.get("idle")?.get(name)?.as_f64();
    let idle = (|| {
        let seconds = number("seconds").filter(|seconds| *seconds > 0.0)?;
        Some(Idle {
            seconds,
            client_percent: number("cpu_seconds")? / seconds * 100.0,
            server_percent: number("watched_cpu_seconds")? / seconds * 100.0,
        })
    })();
    Ok(idle)
}

/// Where the last file of the log begins: the files before it are full.
fn log_bytes(dir: &Path) -> Result<u64> {
    let mut last = 0;
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let begin = name.to_str().and_then(|name| name.parse().ok());
        last = last.max(begin.unwrap_or_default());
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soak(log_bytes: u64) -> Soak {
        let at = [0.0, 2.0, 3.0, 5.0, 8.0, 9.0];
        let grown = [0, 100, 110, 400, 500, 130];
        Soak {
            seconds: 10.0,
            messages: 1,
            failed: 0,
            p99_us: None,
            p999_us: None,
            log_bytes,
            cost_before: vec![9.0, 10.0, 30.0],
            cost_after: vec![11.0],
            memory: at
                .into_iter()
                .zip(grown)
                .map(|(at, bytes)| Sample {
                    at,
                    client: bytes,
                    server: 7,
                })
                .collect(),
            idle: None,
        }
    }

    #[test]
    fn growth_is_what_the_last_fifth_has_more_than_the_second() {
        let soak = soak(0);
        // Of two, the lower: 130 at the end, 100 in the second fifth.
        assert_eq!(soak.growth(|sample| sample.client), Some(30.0));
        assert_eq!(soak.growth(|sample| sample.server), Some(0.0));
        assert_eq!(soak.peak(|sample| sample.client), Some(500));
        let short = Soak {
            memory: Vec::new(),
            ..soak
        };
        assert_eq!(short.growth(|sample| sample.client), None);
    }

    #[test]
    fn a_short_log_says_nothing_of_a_long_one() {
        assert_eq!(soak(LOG_BYTES - 1).cost_ratio(), None);
        let ratio = soak(LOG_BYTES).cost_ratio().unwrap();
        assert!((ratio - 1.1).abs() < 1e-9);
    }

    #[test]
    fn idleness_is_read_from_the_report() {
        let report =
            r#"{"sent":1,"idle":{"seconds":2.0,"cpu_seconds":0.01,"watched_cpu_seconds":0.02}}"#;
        let idle = idle_of(report).unwrap().unwrap();
        assert!((idle.client_percent - 0.5).abs() < 1e-9);
        assert!((idle.server_percent - 1.0).abs() < 1e-9);
        assert_eq!(idle_of(r#"{"sent":1}"#).unwrap(), None);
    }
}
