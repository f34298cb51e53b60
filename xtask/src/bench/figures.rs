//! What a measurement gave, and what several of them come to.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Result;

/// The measured phase of one driver. Every driver prints these names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) messages: u64,
    #[serde(default)]
    pub(super) failed: u64,
    #[serde(default)]
    pub(super) first_failure: String,
    pub(super) seconds: f64,
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    pub(super) p999_us: Option<f64>,
    /// User and system time of the driver's process.
    pub(super) cpu_us: f64,
    /// The same of the server's process.
    pub(super) watched_cpu_us: Option<f64>,
    /// Peak of the driver's process.
    pub(super) max_rss_bytes: Option<u64>,
}

impl Figures {
    /// What a driver printed.
    pub(super) fn parse(line: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(line)?;
        if let Some(error) = value.get("error").and_then(Value::as_str) {
            return Err(error.into());
        }
        let figures: Self = serde_json::from_value(value)?;
        figures.checked()
    }

    /// What `rocketry bench produce|consume --output json` printed.
    pub(super) fn of_rocketry(line: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(line)?;
        let number = |name: &str| value.get(name).and_then(Value::as_f64);
        let whole = |name: &str| value.get(name).and_then(Value::as_u64);
        let messages = whole("sent")
            .or_else(|| whole("read"))
            .ok_or_else(|| format!("neither `sent` nor `read` in {value}"))?;
        let figures = Self {
            messages,
            failed: whole("failed").unwrap_or_default(),
            first_failure: String::new(),
            seconds: number("seconds").ok_or("no `seconds`")?,
            p50_us: number("p50_us"),
            p99_us: number("p99_us"),
            p999_us: number("p999_us"),
            cpu_us: number("cpu_us_per_msg").ok_or("no `cpu_us_per_msg`")? * float(messages),
            watched_cpu_us: number("watched_cpu_seconds").map(|seconds| seconds * 1e6),
            max_rss_bytes: whole("max_rss_bytes"),
        };
        figures.checked()
    }

    /// A figure of a run that lost messages, or sent none, would be read as if it were one.
    fn checked(self) -> Result<Self> {
        if self.failed > 0 {
            return Err(format!(
                "{} of {} sends failed, the first: {}",
                self.failed,
                self.failed + self.messages,
                self.first_failure
            )
            .into());
        }
        if self.messages == 0 {
            return Err("no message in the measured phase".into());
        }
        Ok(self)
    }

    /// Messages per second.
    pub(super) fn rate(&self) -> f64 {
        float(self.messages) / self.seconds
    }

    /// Microseconds of client CPU per message.
    pub(super) fn client_cpu(&self) -> f64 {
        self.cpu_us / float(self.messages)
    }

    /// Microseconds of server CPU per message.
    pub(super) fn server_cpu(&self) -> Option<f64> {
        self.watched_cpu_us
            .filter(|cpu| *cpu > 0.0)
            .map(|cpu| cpu / float(self.messages))
    }
}

/// A measurement and what was measured.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) round: usize,
    /// `apache`, `rocketry`, `rocketmq-broker`, with what they were set to behind a blank; empty for the floors.
    pub(super) server: String,
    pub(super) client: &'static str,
    pub(super) workload: String,
    pub(super) outcome: std::result::Result<Figures, String>,
}

impl Sample {
    pub(super) fn json(&self) -> Value {
        let mut value = json!({
            "round": self.round,
            "server": self.server,
            "client": self.client,
            "workload": self.workload,
        });
        let (name, outcome) = match &self.outcome {
            Ok(figures) => ("figures", json!(figures)),
            Err(error) => ("error", json!(error)),
        };
        if let Some(object) = value.as_object_mut() {
            object.insert(name.to_owned(), outcome);
        }
        value
    }
}

/// The samples of one part of the bench.
#[derive(Debug, Default)]
pub(super) struct Samples(pub(super) Vec<Sample>);

impl Samples {
    /// A figure over all rounds; `None` if no round gave it.
    pub(super) fn spread(
        &self,
        server: &str,
        client: &str,
        workload: &str,
        of: impl Fn(&Figures) -> Option<f64>,
    ) -> Option<Spread> {
        let values = self.0.iter().filter(|sample| {
            (
                sample.server.as_str(),
                sample.client,
                sample.workload.as_str(),
            ) == (server, client, workload)
        });
        Spread::of(values.filter_map(|sample| of(sample.outcome.as_ref().ok()?)))
    }

    /// The median alone.
    pub(super) fn median(
        &self,
        server: &str,
        client: &str,
        workload: &str,
        of: impl Fn(&Figures) -> Option<f64>,
    ) -> Option<f64> {
        Some(self.spread(server, client, workload, of)?.median)
    }

    /// The values of a column, in the order of their first appearance.
    pub(super) fn distinct<'a>(&'a self, of: impl Fn(&'a Sample) -> &'a str) -> Vec<&'a str> {
        let mut seen = Vec::new();
        for sample in &self.0 {
            let value = of(sample);
            if !seen.contains(&value) {
                seen.push(value);
            }
        }
        seen
    }

    /// What failed, each once.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for sample in &self.0 {
            if let Err(error) = &sample.outcome {
                let error = error.lines().next().unwrap_or_default();
                let line = format!(
                    "{} {}, {}: {error}",
                    sample.client, sample.workload, sample.server
                );
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines
    }
}

/// The middle value, of an even number the lower one, and the ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Some(Self {
            median: *values.get(values.len().checked_sub(1)? / 2)?,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_failed_gives_no_figures() {
        let line = br#"{"messages":10,"failed":0,"first_failure":"","seconds":2.0,"p50_us":5,"p99_us":6,"p999_us":7,"cpu_us":40,"watched_cpu_us":0,"max_rss_bytes":1}"#;
        let figures = Figures::parse(line).unwrap();
        assert!((figures.rate() - 5.0).abs() < 1e-9 && (figures.client_cpu() - 4.0).abs() < 1e-9);
        assert_eq!(figures.server_cpu(), None);
        assert!(Figures::parse(br#"{"error":"no route"}"#).is_err());
        let failed = String::from_utf8_lossy(line).replace("\"failed\":0", "\"failed\":3");
        let error = Figures::parse(failed.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("3 of 13"), "{error}");
        let none = String::from_utf8_lossy(line).replace("\"messages\":10", "\"messages\":0");
        assert!(Figures::parse(none.as_bytes()).is_err());
    }

    #[test]
    fn the_command_lines_report_is_understood() {
        let line = br#"{"sent":100,"failed":0,"seconds":0.5,"p50_us":1.5,"p99_us":2,"p999_us":3,"cpu_us_per_msg":4,"max_rss_bytes":9,"watched_cpu_seconds":0.001}"#;
        let figures = Figures::of_rocketry(line).unwrap();
        assert!((figures.client_cpu() - 4.0).abs() < 1e-9);
        assert!((figures.server_cpu().unwrap() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn the_median_of_rounds_and_what_failed() {
        let sample = |round, outcome| Sample {
            round,
            server: "apache".to_owned(),
            client: "go",
            workload: "sync-64-1024".to_owned(),
            outcome,
        };
        let ok = |messages| {
            Ok(Figures {
                messages,
                seconds: 1.0,
                ..Figures::default()
            })
        };
        let samples = Samples(vec![
            sample(0, ok(5)),
            sample(1, Err("gone\nmore".to_owned())),
            sample(2, ok(1)),
            sample(3, ok(9)),
        ]);
        let spread = samples.spread("apache", "go", "sync-64-1024", |f| Some(f.rate()));
        assert_eq!(
            spread,
            Some(Spread {
                median: 5.0,
                min: 1.0,
                max: 9.0
            })
        );
        assert_eq!(
            samples.spread("apache", "java", "x", |f| Some(f.rate())),
            None
        );
        assert_eq!(samples.failures(), ["go sync-64-1024, apache: gone"]);
        assert_eq!(samples.distinct(|sample| &sample.server), ["apache"]);
    }
}
