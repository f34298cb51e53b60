//! The files of a run of record: plots, and the generated part of docs/performance.md.

use std::fmt::Write as _;
use std::path::Path;

use super::figures::{Figures, Samples, Spread};
use super::plot::{Bar, Chart, Group};
use super::producers::NO_SERVER;
use super::workload::MAIN;
use super::{Results, report};
use crate::Result;

const BEGIN: &str = "<!-- written by `cargo xtask bench --record`: begin -->";
const END: &str = "<!-- written by `cargo xtask bench --record`: end -->";

/// Writes the SVG files of `results` into `dir`; their names.
pub(super) fn plots(results: &Results, dir: &Path) -> Result<Vec<&'static str>> {
    let mut written = Vec::new();
    for (name, chart) in charts(results) {
        if chart.groups.iter().any(|group| !group.bars.is_empty()) {
            std::fs::write(dir.join(name), chart.svg())?;
            written.push(name);
        }
    }
    Ok(written)
}

/// Replaces what lies between the marks of `document`.
pub(super) fn generated(document: &str, results: &Results, plots: &[&str]) -> Result<String> {
    let (before, rest) = document
        .split_once(BEGIN)
        .ok_or_else(|| format!("docs/performance.md has no line `{BEGIN}`"))?;
    let (_, after) = rest
        .split_once(END)
        .ok_or_else(|| format!("docs/performance.md has no line `{END}`"))?;
    let mut images = String::new();
    for plot in plots {
        let _ = write!(images, "![{plot}](performance/{plot})\n\n");
    }
    let text = report::markdown(results);
    Ok(format!(
        "{before}{BEGIN}\n\n{}\n\n{images}{text}\n{END}{after}",
        report::conditions(results)
    ))
}

fn charts(results: &Results) -> Vec<(&'static str, Chart)> {
    let clients = |title, unit, server: &str, figure: fn(&Figures) -> Option<f64>| Chart {
        title,
        unit,
        groups: MAIN
            .iter()
            .map(|load| client_group(&results.producers, &load.to_string(), server, figure))
            .collect(),
    };
    let servers = |title, unit, figure: fn(&Figures) -> Option<f64>| Chart {
        title,
        unit,
        groups: [
            ("sync-64-1024", ""),
            ("sync-64-1024", " sync flush"),
            ("pull", ""),
            ("topics-10000", " 10000 topics"),
        ]
        .iter()
        .map(|(load, setup)| server_group(&results.served.samples, load, setup, figure))
        .collect(),
    };
    vec![
        (
            "client-cpu.svg",
            clients(
                "Client CPU per message, 1 KiB, Apache's broker",
                "µs",
                "Apache",
                |f| Some(f.client_cpu()),
            ),
        ),
        (
            "client-latency.svg",
            clients(
                "p99 of a send, 1 KiB, Apache's broker",
                "µs",
                "Apache",
                |f| f.p99_us,
            ),
        ),
        (
            "client-throughput.svg",
            clients(
                "Sends per second, 1 KiB, our server",
                "msgs/s",
                "rocketry",
                |f| Some(f.rate()),
            ),
        ),
        (
            "server-cpu.svg",
            servers("Server CPU per message, 1 KiB", "µs", Figures::server_cpu),
        ),
        (
            "server-throughput.svg",
            servers(
                "Messages per second, 1 KiB, our load generator",
                "msgs/s",
                |f| Some(f.rate()),
            ),
        ),
    ]
}

fn client_group(
    samples: &Samples,
    load: &str,
    server: &str,
    figure: fn(&Figures) -> Option<f64>,
) -> Group {
    let bars = samples.distinct(|sample| sample.client).into_iter();
    let bars = bars.filter_map(|client| {
        let of = |server| samples.spread(server, client, load, figure);
        Some(bar(client, of(server).or_else(|| of(NO_SERVER))?))
    });
    Group {
        title: load.to_owned(),
        bars: bars.collect(),
    }
}

fn server_group(
    samples: &Samples,
    load: &str,
    setup: &str,
    figure: fn(&Figures) -> Option<f64>,
) -> Group {
    let bars = ["rocketry", "Apache", "rocketmq-broker"].iter();
    let bars = bars.filter_map(|server| {
        let spread = samples.spread(&format!("{server}{setup}"), "rocketry", load, figure)?;
        Some(bar(server, spread))
    });
    Group {
        title: format!("{load}{}{setup}", if setup.is_empty() { "" } else { "," }),
        bars: bars.collect(),
    }
}

fn bar(name: &str, spread: Spread) -> Bar {
    Bar {
        name: name.to_owned(),
        value: spread.median,
        min: spread.min,
        max: spread.max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_between_the_marks_is_replaced_and_nothing_else() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let text = generated(&document, &Results::default(), &["a.svg"]).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with(&format!("{END}\nafter\n")));
        assert!(text.contains("![a.svg](performance/a.svg)") && !text.contains("old"));
        let again = generated(&text, &Results::default(), &["a.svg"]).unwrap();
        assert_eq!(again, text);
        assert!(generated("no marks", &Results::default(), &[]).is_err());
    }
}
