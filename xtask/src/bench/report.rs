//! Tables of medians, in Markdown.

use std::fmt::Write as _;

use serde_json::Value;

use super::figures::{Figures, Sample, Samples, Spread};
use super::producers::NO_SERVER;
use super::server_load::State;
use super::store::Measure;
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
    if !results.servers.0.is_empty() {
        text += "### Servers\n\n";
        text += &servers(&results.servers);
        text += &states(&results.states);
    }
    if !results.store.is_empty() {
        text += "### The store alone\n\n";
        text += &store(results);
    }
    let mut left_out = results.missing.clone();
    left_out.extend(results.producers.failures());
    left_out.extend(results.servers.failures());
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

/// Starts and memory of the servers.
fn states(states: &[State]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "memory of a process")]
    let mib = |bytes: u64| short(bytes as f64 / f64::from(1 << 20));
    let mut text = String::from(
        "| server | start to first acknowledged send, ms | resident idle, MiB | of it no file's | resident after the load, MiB | of it no file's |\n|---|--:|--:|--:|--:|--:|\n",
    );
    for state in states {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            state.server,
            short(state.first_send_ms),
            mib(state.idle.resident),
            mib(state.idle.anonymous),
            mib(state.loaded.resident),
            mib(state.loaded.anonymous),
        );
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
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
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
