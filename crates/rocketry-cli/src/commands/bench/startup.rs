//! `rocketry bench startup`: how soon `rocketry serve` works, and what it needs while idle, seen from outside.

use std::{
    env,
    process::Stdio,
    time::{Duration, Instant},
};

use rocketry::{Client, Message};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::usage::resident_memory;
use crate::{
    args::{BenchStartup, PRODUCER_GROUP, ReportFormat},
    clock,
    commands::CLOSE_WITHIN,
    failure::Failure,
    output::{Column, Output},
    progress::{Progress, Unit},
};

/// A server that is not ready by then is not going to be.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Starts servers one after the other and reports.
///
/// # Errors
/// A server that did not start, or a message that was not acknowledged.
pub(crate) async fn run(args: BenchStartup) -> Result<(), Failure> {
    let mut rounds = Vec::new();
    let mut progress = Progress::new(Unit::Messages, Some(u64::from(args.rounds)));
    for number in 0..args.rounds {
        rounds.push(round(args.idle).await?);
        progress.update(u64::from(number) + 1, || "servers started".to_owned());
    }
    progress.clear();
    let report = Report::new(rounds);
    let mut output = Output::stdout();
    match args.output {
        ReportFormat::Json => output.json(&report)?,
        ReportFormat::Text => output.table(&COLUMNS, report.rows())?,
    }
    output.flush()
}

/// One server's figures.
#[derive(Debug, Clone, Copy, Serialize)]
struct Round {
    /// From the start of the process to its ready line, as it arrived here.
    ready_ms: f64,
    /// The same, as the server says.
    ready_as_printed_ms: f64,
    /// From the start of the process to the acknowledgement of a first message, connecting included.
    first_ack_ms: f64,
    /// Resident memory after the ready line and a silence.
    idle_rss_bytes: Option<u64>,
    /// Resident memory after the first message and a silence.
    after_first_ack_rss_bytes: Option<u64>,
}

async fn round(idle: Duration) -> Result<Round, Failure> {
    // Two servers: a silence between the ready line and the send would count as part of the time to the first acknowledgement.
    let (server, ready, _) = Served::start().await?;
    tokio::time::sleep(idle).await;
    let idle_rss_bytes = server.memory();
    let printed = server.printed_ms;
    server.stop().await?;

    let (server, _, started) = Served::start().await?;
    let client = Client::connect(server.name_server.as_str()).await?;
    let producer = client.producer(PRODUCER_GROUP).await?;
    let _ = producer.send(Message::new("Startup", "first")).await?;
    let first_ack = started.elapsed();
    tokio::time::sleep(idle).await;
    let after_first_ack_rss_bytes = server.memory();
    client.shutdown(CLOSE_WITHIN).await;
    server.stop().await?;
    Ok(Round {
        ready_ms: ms(ready),
        ready_as_printed_ms: printed,
        first_ack_ms: ms(first_ack),
        idle_rss_bytes,
        after_first_ack_rss_bytes,
    })
}

/// A server in a process of its own; killed when dropped.
struct Served {
    child: Child,
    name_server: String,
    printed_ms: f64,
}

impl Served {
    async fn start() -> Result<(Self, Duration, Instant), Failure> {
        let program = env::current_exe()
            .map_err(|error| Failure::new(format!("cannot find this program: {error}")))?;
        let started = clock::now();
        let mut child = Command::new(program)
            .args([
                "serve",
                "--temp",
                "--namesrv-port",
                "0",
                "--broker-port",
                "0",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::new(format!("cannot start `rocketry serve`: {error}")))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = BufReader::new(stdout);
            tokio::time::timeout(READY_WITHIN, stdout.read_line(&mut line))
                .await
                .map_err(|_| {
                    Failure::new(format!(
                        "`rocketry serve` was not ready within {READY_WITHIN:?}"
                    ))
                })?
                .map_err(|error| {
                    Failure::new(format!("cannot read from `rocketry serve`: {error}"))
                })?;
        }
        let ready = started.elapsed();
        let (name_server, printed_ms) = parse_ready(&line).ok_or_else(|| {
            Failure::new(format!(
                "`rocketry serve` printed {line:?} instead of its ready line"
            ))
        })?;
        Ok((
            Self {
                child,
                name_server,
                printed_ms,
            },
            ready,
            started,
        ))
    }

    fn memory(&self) -> Option<u64> {
        resident_memory(self.child.id()?)
    }

    async fn stop(mut self) -> Result<(), Failure> {
        // A temporary server has nothing to lose except its directory, which only a graceful stop removes.
        #[cfg(unix)]
        if let Some(pid) = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|error| Failure::new(format!("cannot stop `rocketry serve`: {error}")))?;
        }
        #[cfg(not(unix))]
        self.child
            .start_kill()
            .map_err(|error| Failure::new(format!("cannot stop `rocketry serve`: {error}")))?;
        self.child
            .wait()
            .await
            .map(|_| ())
            .map_err(|error| Failure::new(format!("cannot stop `rocketry serve`: {error}")))
    }
}

/// Name server and milliseconds of a ready line.
fn parse_ready(line: &str) -> Option<(String, f64)> {
    let rest = line.strip_prefix("ready namesrv=")?;
    let (name_server, rest) = rest.split_once(' ')?;
    let (_, printed) = rest.trim_end().strip_suffix(" ms")?.rsplit_once("in=")?;
    Some((name_server.to_owned(), printed.parse().ok()?))
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}

const COLUMNS: [Column; 4] = [
    Column::Text("MEASURE"),
    Column::Number("MEDIAN"),
    Column::Number("MIN"),
    Column::Number("MAX"),
];

/// All rounds, and what they come to.
#[derive(Debug, Serialize)]
struct Report {
    rounds: Vec<Round>,
    ready_ms: Spread,
    ready_as_printed_ms: Spread,
    first_ack_ms: Spread,
    idle_rss_bytes: Spread,
    after_first_ack_rss_bytes: Spread,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        Self {
            median: at(values.len() / 2),
            min: at(0),
            max: at(values.len().saturating_sub(1)),
        }
    }
}

impl Report {
    fn new(rounds: Vec<Round>) -> Self {
        #[allow(
            clippy::cast_precision_loss,
            reason = "memory sizes are far below 2^53"
        )]
        let bytes = |of: fn(&Round) -> Option<u64>| {
            Spread::of(rounds.iter().filter_map(of).map(|bytes| bytes as f64))
        };
        Self {
            ready_ms: Spread::of(rounds.iter().map(|round| round.ready_ms)),
            ready_as_printed_ms: Spread::of(rounds.iter().map(|round| round.ready_as_printed_ms)),
            first_ack_ms: Spread::of(rounds.iter().map(|round| round.first_ack_ms)),
            idle_rss_bytes: bytes(|round| round.idle_rss_bytes),
            after_first_ack_rss_bytes: bytes(|round| round.after_first_ack_rss_bytes),
            rounds,
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let row = |name: &str, spread: Spread, show: fn(f64) -> String| {
            vec![
                name.to_owned(),
                show(spread.median),
                show(spread.min),
                show(spread.max),
            ]
        };
        let time = |ms: f64| format!("{ms:.1} ms");
        let memory = |bytes: f64| format!("{:.1} MiB", bytes / f64::from(1 << 20));
        vec![
            row("start to ready line", self.ready_ms, time),
            row("the same, as printed", self.ready_as_printed_ms, time),
            row("start to first acknowledged send", self.first_ack_ms, time),
            row("resident memory, idle", self.idle_rss_bytes, memory),
            row(
                "resident memory, idle after a send",
                self.after_first_ack_rss_bytes,
                memory,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_understood() {
        let line =
            "ready namesrv=127.0.0.1:9876 broker=127.0.0.1:10911 data=/tmp/a in=b in=12 ms\n";
        assert_eq!(parse_ready(line), Some(("127.0.0.1:9876".to_owned(), 12.0)));
        assert_eq!(parse_ready("ready"), None);
        assert_eq!(parse_ready(""), None);
    }

    #[test]
    fn spreads() {
        let spread = Spread::of([3.0, 1.0, 2.0].into_iter());
        assert_eq!(
            spread,
            Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            }
        );
        assert_eq!(Spread::of(std::iter::empty()), Spread::default());
    }
}
