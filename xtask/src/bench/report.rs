//! Tables of medians, in Markdown.

use std::fmt::Write as _;

use serde_json::Value;

use super::figures::{Figures, Sample, Samples, Spread, float};
use super::producers::NO_SERVER;
use super::server_load::State;
use super::soak::{self, Soak};
use super::store::Measure;
use super::syncs::Syncs;
use super::{Results, targets};

/// One measurement, while the run goes on.
pub(super) fn line(sample: &Sample) -> String {
    let Sample {
        round,
        server,
        client,
        workload,
        outcome,
    } = sample;
    let outcome = match outcome {
        Ok(figures) => format!(
            "{:.0} msgs/s, client {:.2} us/msg, server {} us/msg, p50 {} p99 {} us",
            figures.rate(),
            figures.client_cpu(),
            tenth(figures.server_cpu()),
            tenth(figures.p50_us),
            tenth(figures.p99_us),
        ),
        Err(error) => format!("FAILED: {}", error.lines().next().unwrap_or_default()),
    };
    format!("round {round}: {workload}, {client} -> {server}: {outcome}")
}

/// The same of the store.
pub(super) fn store_line(round: usize, measure: &Measure) -> String {
    format!(
        "round {round}: store, {}: {:.0} {}/s at {:.2} us, floor {:.0}/s at {:.2} us",
        measure.name,
        measure.rocketry.per_second,
        measure.unit,
        measure.rocketry.cpu_us,
        measure.floor.per_second,
        measure.floor.cpu_us,
    )
}

/// Where and with what the figures were measured.
pub(super) fn conditions(results: &Results) -> String {
    let of = |name: &str| {
        let value = results.machine.get(name);
        match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => "-".to_owned(),
            Some(other) => other.to_string(),
        }
    };
    format!(
        "{} cores of {}, {}, Linux {}; {}; {}; {}; commit {}; {:.0} s. All samples: `docs/performance/figures.json`. Load average at the end: {}.",
        of("cores"),
        of("processor"),
        of("memory"),
        of("kernel"),
        of("rustc"),
        of("java"),
        of("go"),
        of("commit"),
        results.seconds,
        of("load_average_at_the_end"),
    )
}

/// All tables.
pub(super) fn markdown(results: &Results) -> String {
    let mut text = String::new();
    let against = targets::markdown(results);
    if !against.is_empty() {
        text += "### Targets\n\n";
        text += &against;
        text.push('\n');
    }
    if !results.producers.0.is_empty() {
        text += "### Clients\n\n";
        text += &producers(&results.producers);
    }
    if !results.served.samples.0.is_empty() {
        text += "### Servers\n\n";
        text += &servers(&results.served.samples);
        text += &syncs(&results.served.syncs);
        text += &states(&results.served.states);
    }
    if let Some(of) = &results.soak {
        text += "### For minutes\n\n";
        text += &soak(of);
    }
    if !results.store.is_empty() {
        text += "### The store alone\n\n";
        text += &store(results);
    }
    let mut left_out = results.missing.clone();
    left_out.extend(results.producers.failures());
    left_out.extend(results.served.samples.failures());
    if !left_out.is_empty() {
        text += "\nNot measured:\n\n";
        for line in left_out {
            let _ = writeln!(text, "- {}", line.lines().next().unwrap_or_default());
        }
    }
    text
}

/// CPU, throughput and latency of the clients.
fn producers(samples: &Samples) -> String {
    type Figure = fn(&Figures) -> Option<f64>;
    let tables: [(&str, Figure); 5] = [
        ("Client CPU, µs per message", |f| Some(f.client_cpu())),
        ("Messages per second", |f| Some(f.rate())),
        ("Server CPU, µs per message", Figures::server_cpu),
        ("p50, µs", |f| f.p50_us),
        ("p99, µs", |f| f.p99_us),
    ];
    let clients = samples.distinct(|sample| sample.client);
    let mut text = String::new();
    for (title, figure) in tables {
        let _ = writeln!(text, "#### {title}\n");
        let _ = writeln!(text, "| sends | server | {} |", clients.join(" | "));
        let _ = writeln!(text, "|---|---|{}", "--:|".repeat(clients.len()));
        for workload in samples.distinct(|sample| &sample.workload) {
            for server in samples.distinct(|sample| &sample.server) {
                if server == NO_SERVER {
                    continue;
                }
                let cells: Vec<_> = clients
                    .iter()
                    .map(|client| {
                        let floor = samples.spread(NO_SERVER, client, workload, figure);
                        let spread = samples.spread(server, client, workload, figure);
                        cell(spread.or(floor))
                    })
                    .collect();
                let _ = writeln!(text, "| {workload} | {server} | {} |", cells.join(" | "));
            }
        }
        text.push('\n');
    }
    text
}

/// What a message costs each server.
fn servers(samples: &Samples) -> String {
    let mut text = String::from(
        "| server | load | msgs/s | server CPU, µs/msg | p50, µs | p99, µs | p99.9, µs |\n|---|---|--:|--:|--:|--:|--:|\n",
    );
    for workload in samples.distinct(|sample| &sample.workload) {
        for server in samples.distinct(|sample| &sample.server) {
            let of = |figure: fn(&Figures) -> Option<f64>| {
                samples.spread(server, "rocketry", workload, figure)
            };
            if of(|f| Some(f.rate())).is_none() {
                continue;
            }
            let _ = writeln!(
                text,
                "| {server} | {workload} | {} | {} | {} | {} | {} |",
                cell(of(|f| Some(f.rate()))),
                cell(of(Figures::server_cpu)),
                cell(of(|f| f.p50_us)),
                cell(of(|f| f.p99_us)),
                cell(of(|f| f.p999_us)),
            );
        }
    }
    text.push('\n');
    text
}

/// What our server syncs for its senders, and what the disk does by itself.
fn syncs(syncs: &[Syncs]) -> String {
    let of = |figure: fn(&Syncs) -> f64| cell(Spread::of(syncs.iter().map(figure)));
    if syncs.is_empty() {
        return String::new();
    }
    format!(
        "| rocketry sync flush | messages a sync | bytes a sync | syncs/s | syncs/s of `pwrite` and `fdatasync` alone, as many bytes each |\n|---|--:|--:|--:|--:|\n| sync-64-1024 | {} | {} | {} | {} |\n\n",
        of(|syncs| syncs.messages_each),
        of(|syncs| syncs.bytes_each),
        of(|syncs| syncs.per_second),
        of(|syncs| syncs.floor_per_second),
    )
}

/// Starts and memory of the servers.
fn states(states: &[State]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "memory of a process")]
    let mib = |bytes: u64| short(bytes as f64 / f64::from(1 << 20));
    let mut text = String::from(
        "| server | start to first acknowledged send, ms | resident idle, MiB | of it no file's | resident after the load, MiB | of it no file's | the same at 50,000 in flight, MiB | CPU without requests, % of a core |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for state in states {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            state.server,
            short(state.first_send_ms),
            mib(state.idle.resident),
            mib(state.idle.anonymous),
            mib(state.loaded.resident),
            mib(state.loaded.anonymous),
            state.busiest.map_or_else(|| "-".to_owned(), mib),
            short(state.idle_percent),
        );
    }
    text.push('\n');
    text
}

/// A steady load and what it left.
fn soak(soak: &Soak) -> String {
    let mib = |bytes: Option<f64>| bytes.map(|bytes| bytes / f64::from(1 << 20));
    let peak = |of: fn(&soak::Sample) -> u64| mib(soak.peak(of).map(float));
    let costs = |costs: &[f64]| cell(Spread::of(costs.iter().copied()));
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
    let rows = [
        ("seconds", short(soak.seconds)),
        ("messages of 1 KiB", soak.messages.to_string()),
        ("failed", soak.failed.to_string()),
        (
            "p99 / p99.9 of a send, µs",
            format!("{} / {}", number(soak.p99_us), number(soak.p999_us)),
        ),
        ("log at the end, GB", short(float(soak.log_bytes) / 1e9)),
        (
            "server CPU per send at 64 in flight, µs: before / after",
            format!("{} / {}", costs(&soak.cost_before), costs(&soak.cost_after)),
        ),
        (
            "most memory of no file, MiB: client / server",
            format!(
                "{} / {}",
                number(peak(|at| at.client)),
                number(peak(|at| at.server))
            ),
        ),
        (
            "growth from the second to the last fifth, MiB: client / server",
            format!(
                "{} / {}",
                number(mib(soak.growth(|at| at.client))),
                number(mib(soak.growth(|at| at.server)))
            ),
        ),
        (
            "CPU without messages, % of a core: client / server",
            soak.idle.map_or_else(
                || "-".to_owned(),
                |idle| format!("{:.2} / {:.2}", idle.client_percent, idle.server_percent),
            ),
        ),
    ];
    let mut text = String::from("| our client and server | |\n|---|--:|\n");
    for (name, value) in rows {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text.push('\n');
    text
}

/// The store beside loops over the same bytes.
fn store(results: &Results) -> String {
    let mut text = String::from(
        "| what | unit | rocketry, per s | floor, per s | rocketry : floor | rocketry, CPU µs | floor, CPU µs |\n|---|---|--:|--:|--:|--:|--:|\n",
    );
    for measure in results.store.first().into_iter().flatten() {
        let of = |figure: fn(&Measure) -> f64| {
            let all = results.store.iter().flatten();
            Spread::of(all.filter(|other| other.name == measure.name).map(figure))
        };
        let (ours, floor) = (
            of(|measure| measure.rocketry.per_second),
            of(|measure| measure.floor.per_second),
        );
        let ratio = ours
            .zip(floor)
            .map(|(ours, floor)| ours.median / floor.median);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            measure.name,
            measure.unit,
            cell(ours),
            cell(floor),
            ratio.map_or_else(|| "-".to_owned(), short),
            cell(of(|measure| measure.rocketry.cpu_us)),
            cell(of(|measure| measure.floor.cpu_us)),
        );
    }
    text.push('\n');
    text
}

/// Median, and the range where rounds differ.
fn cell(spread: Option<Spread>) -> String {
    let Some(Spread { median, min, max }) = spread else {
        return "-".to_owned();
    };
    if min < max {
        format!("{} ({}–{})", short(median), short(min), short(max))
    } else {
        short(median)
    }
}

/// Three figures, or all before the point.
pub(super) fn short(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn tenth(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(server: &str, client: &'static str, round: usize, cpu_us: f64) -> Sample {
        Sample {
            round,
            server: server.to_owned(),
            client,
            workload: "sync-64-1024".to_owned(),
            outcome: Ok(Figures {
                messages: 100,
                seconds: 1.0,
                cpu_us,
                ..Figures::default()
            }),
        }
    }

    #[test]
    fn a_row_holds_medians_ranges_and_floors() {
        let mut samples = Samples(vec![
            sample("Apache", "rocketry", 0, 400.0),
            sample("Apache", "rocketry", 1, 300.0),
            sample("Apache", "rocketry", 2, 900.0),
            sample(NO_SERVER, "echo", 0, 150.0),
        ]);
        samples.0.push(Sample {
            outcome: Err("no route\nto it".to_owned()),
            ..sample("Apache", "Go", 0, 0.0)
        });
        let results = Results {
            producers: samples,
            ..Results::default()
        };
        let text = markdown(&results);
        assert!(
            text.contains("| sync-64-1024 | Apache | 4.00 (3.00–9.00) | 1.50 | - |"),
            "{text}"
        );
        assert!(
            text.contains("- Go sync-64-1024, Apache: no route\n"),
            "{text}"
        );
    }

    #[test]
    fn a_failed_run_says_so_at_once() {
        let failed = Sample {
            outcome: Err("gone".to_owned()),
            ..sample("Apache", "Go", 2, 0.0)
        };
        assert_eq!(
            line(&failed),
            "round 2: sync-64-1024, Go -> Apache: FAILED: gone"
        );
    }
}
