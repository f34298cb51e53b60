//! The servers side by side, under our load generator: what a message costs them, by how they flush and how many topics they have.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Bench;
use super::clients::{Phases, consume, produce};
use super::figures::{Figures, Sample, Samples};
use super::process_usage::{Memory, cpu_us, memory};
use super::producers::{at, warm};
use super::report;
use super::servers::{Kind, Server, Setup, Starter};
use super::syncs::{Before, Syncs};
use super::workload::{Mode, Workload};
use crate::{Result, clock, output};

/// What the servers are told apart by in samples; the first is where everything begins.
const SETUPS: [(&str, Setup); 3] = [
    (
        "",
        Setup {
            sync_flush: false,
            topics: 100,
        },
    ),
    (
        " sync flush",
        Setup {
            sync_flush: true,
            topics: 0,
        },
    ),
    (
        " 10000 topics",
        Setup {
            sync_flush: false,
            topics: 10_000,
        },
    ),
];
/// 1 KiB, 64 in flight.
const SEND: Workload = Workload::new(Mode::Sync, 64, 1024);
/// As many messages under way as F7 asks for.
const MANY: Workload = Workload::new(Mode::Async, 50_000, 1024);

/// One kind of load on a server.
#[derive(Debug, Clone, Copy)]
enum Load {
    Send(Workload),
    /// [`SEND`] over so many topics.
    Topics(u32),
    /// [`SEND`] over so many connections, one after the other.
    Connections(u32),
    Pull,
}

impl Load {
    fn name(self) -> String {
        match self {
            Self::Send(load) => load.to_string(),
            Self::Topics(count) => format!("topics-{count}"),
            Self::Connections(count) => format!("connections-{count}"),
            Self::Pull => "pull".to_owned(),
        }
    }
}

fn loads(setup: Setup) -> Vec<Load> {
    match setup {
        Setup {
            sync_flush: true, ..
        } => vec![Load::Send(SEND)],
        Setup { topics: 10_000, .. } => vec![Load::Topics(10_000)],
        Setup { .. } => vec![
            Load::Send(Workload::new(Mode::Sync, 1, 1024)),
            Load::Send(SEND),
            Load::Pull,
            Load::Topics(10),
            Load::Topics(100),
            Load::Connections(10),
            Load::Connections(1000),
            Load::Send(MANY),
        ],
    }
}

/// A server's start and memory.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct State {
    /// As in samples.
    pub(super) server: String,
    pub(super) first_send_ms: f64,
    pub(super) idle: Memory,
    /// After all its load.
    pub(super) loaded: Memory,
    /// The most that belonged to no file while 50,000 messages were under way, bytes.
    pub(super) busiest: Option<u64>,
    /// CPU without any request after all its load, per cent of a core.
    pub(super) idle_percent: f64,
}

/// From the last load to what counts as idle, and how long that is watched.
const SETTLE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(5);

/// What the servers did.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) samples: Samples,
    pub(super) states: Vec<State>,
    /// Of each round of ours under sync flush.
    pub(super) syncs: Vec<Syncs>,
    /// What could not be measured, and why.
    pub(super) missing: Vec<String>,
}

/// Measures; what is missing is named at the end.
pub(super) async fn run(bench: &Bench, starter: &Starter<'_>) -> Result<Served> {
    let mut served = Served::default();
    let mut kinds = bench.options.servers();
    for (label, setup) in SETUPS {
        let wanted =
            |load: &Load| bench.options.wants(&load.name()) || bench.options.wants(label.trim());
        let loads: Vec<_> = loads(setup).into_iter().filter(wanted).collect();
        if loads.is_empty() {
            continue;
        }
        let mut servers = Vec::new();
        for kind in kinds.clone() {
            if kind == Kind::Rust && setup.topics > 1000 && bench.options.record {
                served.missing.push(format!(
                    "{}{label} is left out of the run of record: five sends to each topic take it more than half a minute a round",
                    kind.name()
                ));
                continue;
            }
            match starter.start(kind, setup).await {
                Ok(server) => servers.push(server),
                Err(error) => {
                    // It would not start with other settings either, and take as long to find out.
                    kinds.retain(|other| *other != kind);
                    let name = kind.name();
                    let missing = format!("{name}{label} was not measured: {error}");
                    served.missing.push(missing);
                }
            }
        }
        for server in &servers {
            warm(bench, server).await?;
        }
        let mut busiest: HashMap<u32, u64> = HashMap::new();
        for round in 0..bench.options.rounds() {
            for &load in &loads {
                for server in &servers {
                    // The points that no target is judged by, and the slow ones.
                    let of_record = !matches!(load, Load::Topics(100) | Load::Send(MANY))
                        && (server.kind == Kind::Rocketry || !matches!(load, Load::Connections(_)));
                    if !of_record && round >= bench.options.rounds_of_more() {
                        continue;
                    }
                    let measured = measure(bench, server, load);
                    let outcome = if load.name() == Load::Send(MANY).name() {
                        let (outcome, most) = watching(server.pid, measured).await;
                        busiest.insert(server.pid, most);
                        outcome
                    } else if setup.sync_flush {
                        let before = Before::of(server).await?;
                        let outcome = measured.await;
                        if let (Some(before), Ok(figures)) = (before, &outcome) {
                            served.syncs.push(before.end(figures, &bench.dir).await?);
                        }
                        outcome
                    } else {
                        measured.await
                    };
                    let sample = Sample {
                        round,
                        server: format!("{}{label}", server.kind.name()),
                        client: "rocketry",
                        workload: load.name(),
                        outcome: outcome.map_err(|error| error.to_string()),
                    };
                    output::line(report::line(&sample));
                    served.samples.0.push(sample);
                }
            }
        }
        sleep(SETTLE).await;
        let before: Vec<_> = servers.iter().map(|server| cpu_us(server.pid)).collect();
        let (began, idle) = (clock::now(), bench.options.scaled(IDLE.as_secs_f64()));
        sleep(Duration::from_secs_f64(idle)).await;
        for (server, before) in servers.into_iter().zip(before) {
            let used = cpu_us(server.pid)? - before?;
            served.states.push(State {
                server: format!("{}{label}", server.kind.name()),
                first_send_ms: server.first_send_ms,
                idle: server.idle,
                loaded: memory(server.pid)?,
                busiest: busiest.get(&server.pid).copied(),
                idle_percent: used / 1e6 / began.elapsed().as_secs_f64() * 100.0,
            });
            server.end().await?;
        }
    }
    Ok(served)
}

/// Does `work` and looks at the memory of `pid` meanwhile; the most that belonged to no file.
async fn watching<T>(pid: u32, work: impl Future<Output = T>) -> (T, u64) {
    let mut ticks = interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut most = 0;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return (done, most),
            _ = ticks.tick() => {
                // One that has ended shows in what its load came to.
                most = most.max(memory(pid).map_or(0, |memory| memory.anonymous));
            }
        }
    }
}

async fn measure(bench: &Bench, server: &Server, load: Load) -> Result<Figures> {
    let phases = bench.options.phases();
    match load {
        Load::Send(load) => produce(&bench.rocketry, at(server), load, phases, &[]).await,
        Load::Topics(count) => {
            // Every queue is there, and every route known, before it is measured.
            let (topics, warmup) = (count.to_string(), (count * 5).to_string());
            let more = ["--topics", &topics, "--warmup", &warmup];
            produce(&bench.rocketry, at(server), SEND, phases, &more).await
        }
        Load::Connections(count) => {
            let count = count.to_string();
            let more = ["--connections", &count];
            produce(&bench.rocketry, at(server), SEND, phases, &more).await
        }
        Load::Pull => {
            // There has to be something to read, whichever points were chosen and however slow the server's own sends were.
            let full = Phases {
                warm: 0.1,
                seconds: bench.options.scaled(1.0),
            };
            produce(&bench.rocketry, at(server), SEND, full, &[]).await?;
            consume(&bench.rocketry, at(server), phases).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setup_has_its_loads() {
        let names: Vec<Vec<_>> = SETUPS
            .iter()
            .map(|(_, setup)| loads(*setup).into_iter().map(Load::name).collect())
            .collect();
        assert_eq!(names[1], ["sync-64-1024"]);
        assert_eq!(names[2], ["topics-10000"]);
        assert!(names[0].contains(&"topics-10".to_owned()));
        assert!(names[0].contains(&"async-50000-1024".to_owned()));
    }
}
