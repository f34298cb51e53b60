//! What was promised, and what a run says of it.

use std::fmt::Write as _;

use super::Results;
use super::counts::Counts;
use super::figures::{Figures, Samples, Spread};
use super::producers::NO_SERVER;
use super::soak::Soak;
use super::syncs::Syncs;

const SYNC_1: &str = "sync-1-1024";
const SYNC_64: &str = "sync-64-1024";
const ASYNC: &str = "async-4096-1024";
const ASYNC_NARROW: &str = "async-128-1024";
const OURS: &str = "rocketry";

/// One line of the table; a figure that is missing leaves it open.
struct Target {
    name: &'static str,
    what: String,
    /// What was measured.
    value: Option<f64>,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn row(&self) -> String {
        let (sign, bound, met) = match self.bound {
            Bound::AtMost(bound) => ("≤", bound, self.value.map(|value| value <= bound)),
            Bound::AtLeast(bound) => ("≥", bound, self.value.map(|value| value >= bound)),
        };
        let value = self
            .value
            .map_or_else(|| "not measured".to_owned(), |value| format!("{value:.3}"));
        let met = match met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "open",
        };
        format!(
            "| {} | {} | {sign} {bound:.3} | {value} | {met} |",
            self.name, self.what
        )
    }
}

/// All targets as a table.
pub(super) fn markdown(results: &Results) -> String {
    let mut targets = Vec::new();
    if !results.producers.0.is_empty() {
        clients(&results.producers, &mut targets);
    }
    if !results.served.samples.0.is_empty() {
        servers(results, &mut targets);
    }
    store(results, &mut targets);
    if let Some(of) = &results.soak {
        soak(of, &mut targets);
    }
    if results.counts != Counts::default() {
        counts(results.counts, &mut targets);
    }
    targets.sort_by_key(|target| target.name);
    if targets.is_empty() {
        return String::new();
    }
    let mut text = "| target | what | bound | measured | |\n|---|---|--:|--:|---|\n".to_owned();
    for target in targets {
        let _ = writeln!(text, "{}", target.row());
    }
    text
}

fn ratio(value: Option<f64>, to: Option<f64>) -> Option<f64> {
    let (value, to) = (value?, to?);
    (to > 0.0).then(|| value / to)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a figure like those that may be missing"
)]
fn cpu(figures: &Figures) -> Option<f64> {
    Some(figures.client_cpu())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a figure like those that may be missing"
)]
fn rate(figures: &Figures) -> Option<f64> {
    Some(figures.rate())
}

fn clients(samples: &Samples, targets: &mut Vec<Target>) {
    for (load, shown) in [
        (SYNC_64, "sync, 64 in flight"),
        (ASYNC, "async, window 4096"),
    ] {
        let ours = samples.median("Apache", OURS, load, cpu);
        for (peer, bound) in [
            ("Java", 0.25),
            ("Go", 1.0 / 3.0),
            ("rocketmq-client-rust", 1.0 / 3.0),
        ] {
            // The window of 4096 is beyond what it takes: the narrower one is what can be compared.
            let (load, shown, ours) = if peer == "rocketmq-client-rust" && load == ASYNC {
                let narrow = samples.median("Apache", OURS, ASYNC_NARROW, cpu);
                (ASYNC_NARROW, "async, window 128", narrow)
            } else {
                (load, shown, ours)
            };
            targets.push(Target {
                name: "F1",
                what: format!("client CPU, {shown}, Apache's broker: rocketry : {peer}"),
                value: ratio(ours, samples.median("Apache", peer, load, cpu)),
                bound: Bound::AtMost(bound),
            });
        }
        for (server, whose) in [("Apache", "Apache's broker"), (OURS, "our server")] {
            let ours = samples.median(server, OURS, load, cpu);
            targets.push(Target {
                name: "F1",
                what: format!("client CPU, {shown}, {whose}: rocketry : echo"),
                value: ratio(ours, samples.median(NO_SERVER, "echo", load, cpu)),
                bound: Bound::AtMost(2.0),
            });
        }
    }
    for (figure, what, bound) in [
        ((|f| f.p50_us) as fn(&Figures) -> Option<f64>, "p50", 1.3),
        (|f| f.p99_us, "p99", 2.0),
    ] {
        targets.push(Target {
            name: "F2",
            what: format!(
                "{what} of a send, 1 in flight, a core for each side, our server: rocketry : echo"
            ),
            value: ratio(
                samples.median(OURS, OURS, SYNC_1, figure),
                samples.median(NO_SERVER, "echo", SYNC_1, figure),
            ),
            bound: Bound::AtMost(bound),
        });
    }
    let p50 = |client: &str| samples.median("Apache", client, SYNC_1, |f| f.p50_us);
    let best = ["Java", "Go", "rocketmq-client-rust"]
        .into_iter()
        .filter_map(p50)
        .reduce(f64::min);
    targets.push(Target {
        name: "F2",
        what: "p50 of a send, 1 in flight, a core for each side, Apache's broker: rocketry : best peer".to_owned(),
        value: ratio(p50(OURS), best),
        bound: Bound::AtMost(1.0),
    });
    targets.push(Target {
        name: "F3",
        what: "messages per second of the Java client at 64 in flight: our server : Apache's"
            .to_owned(),
        value: ratio(
            samples.median(OURS, "Java", SYNC_64, rate),
            samples.median("Apache", "Java", SYNC_64, rate),
        ),
        bound: Bound::AtLeast(1.0),
    });
}

fn servers(results: &Results, targets: &mut Vec<Target>) {
    let samples = &results.served.samples;
    let of = |server: &str, load: &str, figure: fn(&Figures) -> Option<f64>| {
        samples.median(server, OURS, load, figure)
    };
    let mut push = |name, what: &str, value, bound| {
        targets.push(Target {
            name,
            what: what.to_owned(),
            value,
            bound,
        });
    };
    let cpu_of = |server: &str, load: &str| of(server, load, Figures::server_cpu);
    push(
        "F3",
        "server CPU per send, 64 in flight: rocketry : Apache",
        ratio(cpu_of(OURS, SYNC_64), cpu_of("Apache", SYNC_64)),
        Bound::AtMost(0.25),
    );
    push(
        "F3",
        "server CPU per send, 64 in flight: rocketry : rocketmq-broker",
        ratio(cpu_of(OURS, SYNC_64), cpu_of("rocketmq-broker", SYNC_64)),
        Bound::AtMost(0.05),
    );
    push(
        "F3",
        "sends per second, 64 in flight: rocketry : Apache",
        ratio(of(OURS, SYNC_64, rate), of("Apache", SYNC_64, rate)),
        Bound::AtLeast(3.0),
    );
    push(
        "F3",
        "p99.9 of a send, 64 in flight: rocketry : Apache",
        ratio(
            of(OURS, SYNC_64, |f| f.p999_us),
            of("Apache", SYNC_64, |f| f.p999_us),
        ),
        Bound::AtMost(1.0),
    );
    push(
        "F4",
        "sends per second under sync flush, 64 in flight: rocketry : Apache",
        ratio(
            of("rocketry sync flush", SYNC_64, rate),
            of("Apache sync flush", SYNC_64, rate),
        ),
        Bound::AtLeast(2.0),
    );
    let syncs = Spread::of((results.served.syncs.iter()).map(Syncs::of_floor));
    push(
        "F4",
        "syncs per second meanwhile: rocketry : `pwrite` and `fdatasync` of as many bytes each time",
        syncs.map(|spread| spread.median),
        Bound::AtLeast(0.7),
    );
    push(
        "F4",
        "sends per second under sync flush, 64 in flight: rocketry : `pwrite` and `fdatasync` of all 64 each time",
        ratio(
            of("rocketry sync flush", SYNC_64, rate),
            results.store_floor("append, sync flush"),
        ),
        Bound::AtLeast(0.7),
    );
    push(
        "F5",
        "messages pulled per second of server CPU: rocketry : Apache",
        ratio(cpu_of("Apache", "pull"), cpu_of(OURS, "pull")),
        Bound::AtLeast(3.0),
    );
    #[expect(clippy::cast_precision_loss, reason = "memory of a process")]
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let client = samples.median(OURS, OURS, "async-50000-1024", |f| f.max_rss_bytes.map(mib));
    push(
        "F7",
        "client memory with 50,000 messages in flight, MiB",
        client,
        Bound::AtMost(100.0),
    );
    let state = results
        .served
        .states
        .iter()
        .find(|state| state.server == OURS);
    push(
        "F7",
        "server memory meanwhile, without mapped files, MiB",
        state.and_then(|state| state.busiest).map(mib),
        Bound::AtMost(150.0),
    );
    for (whose, figure) in [
        ("server", Figures::server_cpu as fn(&Figures) -> Option<f64>),
        ("client", cpu),
    ] {
        push(
            "F8",
            &format!("{whose} CPU per send at 10,000 topics : at 10"),
            ratio(
                of("rocketry 10000 topics", "topics-10000", figure),
                of(OURS, "topics-10", figure),
            ),
            Bound::AtMost(1.3),
        );
    }
    push(
        "F8",
        "server CPU per send, 64 in flight over 1,000 connections : over 10",
        ratio(
            cpu_of(OURS, "connections-1000"),
            cpu_of(OURS, "connections-10"),
        ),
        Bound::AtMost(1.5),
    );
}

/// What a process may have more at the end of a run: the allocator's, not the program's.
const GROWTH_MIB: f64 = 2.0;
/// A soak that says anything about growth.
const MIN_SOAK_SECONDS: f64 = 300.0;

fn soak(soak: &Soak, targets: &mut Vec<Target>) {
    let mut push = |name, what: String, value, bound| {
        targets.push(Target {
            name,
            what,
            value,
            bound: Bound::AtMost(bound),
        });
    };
    let minutes = soak.seconds / 60.0;
    // A short run still finds its size.
    let growth = |of| {
        let grown = soak
            .growth(of)
            .filter(|_| soak.seconds >= MIN_SOAK_SECONDS)?;
        Some(grown / f64::from(1 << 20))
    };
    for (whose, grown, idle) in [
        (
            "client",
            growth(|sample| sample.client),
            soak.idle.map(|idle| idle.client_percent),
        ),
        (
            "server",
            growth(|sample| sample.server),
            soak.idle.map(|idle| idle.server_percent),
        ),
    ] {
        push(
            "F7",
            format!("growth of the {whose}'s memory over {minutes:.1} minutes of load, MiB"),
            grown,
            GROWTH_MIB,
        );
        push(
            "F7",
            format!("idle {whose}, after load and a transaction, % of a core"),
            idle,
            0.5,
        );
    }
    push(
        "F8",
        "server CPU per send at the end of a log of 20 GB : at its start".to_owned(),
        soak.cost_ratio(),
        1.1,
    );
}

fn counts(counts: Counts, targets: &mut Vec<Target>) {
    for (what, value, bound) in [
        (
            "allocations per synchronous send, message and result included",
            counts.allocations_per_send,
            8.0,
        ),
        (
            "allocations per stored message in the server, request and answer included",
            counts.allocations_per_append,
            4.0,
        ),
        (
            "writes to the connection per message, 64 in flight",
            counts.writes_together.map(|writes| writes / 1000.0),
            0.125,
        ),
    ] {
        targets.push(Target {
            name: "F6",
            what: what.to_owned(),
            value,
            bound: Bound::AtMost(bound),
        });
    }
}

fn store(results: &Results, targets: &mut Vec<Target>) {
    let ratio_of = |name: &str| ratio(results.store_rate(name), results.store_floor(name));
    if !results.store.is_empty() {
        targets.push(Target {
            name: "F4",
            what:
                "store alone, sync flush, 64 messages a commit: rocketry : `pwrite` and `fdatasync`"
                    .to_owned(),
            value: ratio_of("append, sync flush"),
            bound: Bound::AtLeast(0.7),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::Sample;

    #[test]
    fn a_target_is_met_missed_or_open() {
        let sample = |server: &str, client, cpu_us| Sample {
            round: 0,
            server: server.to_owned(),
            client,
            workload: SYNC_64.to_owned(),
            outcome: Ok(Figures {
                messages: 10,
                seconds: 1.0,
                cpu_us,
                ..Figures::default()
            }),
        };
        let results = Results {
            producers: Samples(vec![
                sample("Apache", OURS, 40.0),
                sample("Apache", "Java", 400.0),
                sample("Apache", "Go", 100.0),
            ]),
            ..Results::default()
        };
        let text = markdown(&results);
        let row = |what: &str| text.lines().find(|line| line.contains(what)).unwrap();
        assert!(
            row("64 in flight, Apache's broker: rocketry : Java")
                .ends_with("| ≤ 0.250 | 0.100 | met |")
        );
        assert!(
            row("64 in flight, Apache's broker: rocketry : Go").ends_with("| 0.400 | **missed** |")
        );
        assert!(
            row("64 in flight, Apache's broker: rocketry : rocketmq-client-rust")
                .ends_with("| not measured | open |")
        );
        assert!(!text.contains("F5"));
    }
}
