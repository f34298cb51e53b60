//! The median of the rounds, and ratios between systems, as a Markdown table.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// The figures of one system at one point in one round.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) round: usize,
    pub(super) system: &'static str,
    pub(super) in_flight: usize,
    pub(super) size: usize,
    pub(super) figures: Value,
}

impl Run {
    pub(super) fn json(&self) -> Value {
        json!({
            "round": self.round,
            "system": self.system,
            "in_flight": self.in_flight,
            "size_bytes": self.size,
            "figures": self.figures,
        })
    }
}

/// One row per point, in the order of the runs.
pub(super) fn markdown(runs: &[Run]) -> String {
    let mut text = String::from(
        "| in flight | body | echo msgs/s | rocketry msgs/s | of echo | Apache msgs/s | rocketry : Apache | p99 µs echo / rocketry / Apache | client CPU µs/msg echo / rocketry | server CPU µs/msg echo / rocketry / Apache |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut points: Vec<(usize, usize)> = Vec::new();
    for run in runs {
        if !points.contains(&(run.size, run.in_flight)) {
            points.push((run.size, run.in_flight));
        }
    }
    for (size, in_flight) in points {
        let of = |system: &str, figure: &str| {
            let values = runs
                .iter()
                .filter(|run| (run.size, run.in_flight, run.system) == (size, in_flight, system));
            median(
                values
                    .filter_map(|run| run.figures.get(figure)?.as_f64())
                    .collect(),
            )
        };
        let rate = |system| of(system, "msgs_per_second");
        let (p99, client, server) = ("p99_us", "cpu_us_per_msg", "server_cpu_us_per_msg");
        let _ = writeln!(
            text,
            "| {in_flight} | {size} B | {} | {} | {} | {} | {} | {} / {} / {} | {} / {} | {} / {} / {} |",
            whole(rate("floor")),
            whole(rate("rocketry")),
            ratio(rate("rocketry"), rate("floor")),
            whole(rate("apache")),
            ratio(rate("rocketry"), rate("apache")),
            whole(of("floor", p99)),
            whole(of("rocketry", p99)),
            whole(of("apache", p99)),
            tenth(of("floor", client)),
            tenth(of("rocketry", client)),
            tenth(of("floor", server)),
            tenth(of("rocketry", server)),
            tenth(of("apache", server)),
        );
    }
    text
}

/// The medians of `rocketry bench startup`.
pub(super) fn startup(figures: &Value) -> String {
    let median = |name: &str| figures.get(name)?.get("median")?.as_f64();
    let mib = |name| tenth(median(name).map(|bytes| bytes / f64::from(1024 * 1024)));
    format!(
        "| `rocketry serve` | |\n|---|--:|\n\
         | process start to ready line, ms | {} |\n\
         | process start to first acknowledged send, ms | {} |\n\
         | resident memory idle, MiB | {} |\n\
         | resident memory after the first send, MiB | {} |\n",
        tenth(median("ready_ms")),
        tenth(median("first_ack_ms")),
        mib("idle_rss_bytes"),
        mib("after_first_ack_rss_bytes"),
    )
}

/// The middle value; of an even number the lower one.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

fn whole(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}

fn tenth(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}

fn ratio(value: Option<f64>, of: Option<f64>) -> String {
    match (value, of) {
        (Some(value), Some(of)) if of > 0.0 => format!("{:.2}", value / of),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn startup_shows_medians_in_readable_units() {
        let figures = json!({ "ready_ms": { "median": 5.04 }, "idle_rss_bytes": { "median": 10.0 * 1024.0 * 1024.0 } });
        let table = startup(&figures);
        assert!(table.contains("ready line, ms | 5.0 |"), "{table}");
        assert!(table.contains("memory idle, MiB | 10.0 |"), "{table}");
        assert!(
            table.contains("first acknowledged send, ms | - |"),
            "{table}"
        );
    }

    #[test]
    fn a_row_holds_medians_and_their_ratios() {
        let run = |round, system, rate: f64| Run {
            round,
            system,
            in_flight: 16,
            size: 128,
            figures: json!({ "msgs_per_second": rate, "p99_us": 7 }),
        };
        let runs = [
            run(0, "floor", 400.0),
            run(0, "rocketry", 90.0),
            run(1, "floor", 100.0),
            run(1, "rocketry", 100.0),
            run(2, "floor", 200.0),
            run(2, "rocketry", 500.0),
        ];
        let table = markdown(&runs);
        assert!(
            table.contains("| 16 | 128 B | 200 | 100 | 0.50 | - | - | 7 / 7 / - |"),
            "{table}"
        );
    }
}
