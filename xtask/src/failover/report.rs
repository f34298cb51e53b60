//! What the senders noticed, before, during and after the failure.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::Fault;
use super::load::Sample;

/// One scenario's figures.
#[derive(Debug)]
pub(super) struct Outcome {
    system: &'static str,
    fault: Fault,
    before: Phase,
    /// Every send of which a part lies between the failure and the return.
    during: Phase,
    after: Phase,
    used_again: Duration,
    /// Acknowledged, but not there when everything was read back.
    lost: usize,
    /// Stored more than once.
    twice: usize,
    first_error: Option<String>,
}

#[derive(Debug, Default)]
struct Phase {
    sends: usize,
    failed: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl Outcome {
    /// `away`: when the broker failed and when it was brought back, since the start of the load. `stored`: how often each message is stored.
    pub(super) fn new(
        system: &'static str,
        fault: Fault,
        samples: Vec<Sample>,
        away: (Duration, Duration),
        used_again: Duration,
        stored: Vec<u8>,
    ) -> Self {
        let (left, returned) = away;
        let phase = |within: &dyn Fn(&Sample) -> bool| {
            Phase::of(samples.iter().filter(|sample| within(sample)))
        };
        let ended = |sample: &Sample| sample.began + sample.took;
        let times = |sample: &Sample| stored.get(sample.number).copied().unwrap_or_default();
        Self {
            system,
            fault,
            before: phase(&|sample| ended(sample) <= left),
            during: phase(&|sample| ended(sample) > left && sample.began < returned),
            after: phase(&|sample| sample.began >= returned),
            used_again,
            lost: samples
                .iter()
                .filter(|sample| sample.error.is_none() && times(sample) == 0)
                .count(),
            twice: samples.iter().filter(|sample| times(sample) > 1).count(),
            first_error: samples.into_iter().find_map(|sample| sample.error),
        }
    }

    fn phases(&self) -> [(&'static str, &Phase); 3] {
        [
            ("before", &self.before),
            ("during", &self.during),
            ("after", &self.after),
        ]
    }

    fn failed(&self) -> usize {
        self.phases().iter().map(|(_, phase)| phase.failed).sum()
    }

    /// What must not be, if it is.
    pub(super) fn fault(&self, p99: Duration) -> Option<String> {
        let name = format!("{}, {}", self.system, self.fault.signal());
        if let Some(error) = &self.first_error {
            return Some(format!(
                "{name}: {} sends failed, the first: {error}",
                self.failed()
            ));
        }
        if self.lost > 0 {
            return Some(format!(
                "{name}: {} acknowledged messages are lost",
                self.lost
            ));
        }
        (self.during.p99 >= p99).then(|| {
            format!(
                "{name}: the 99th percentile while the broker was away is {:?}",
                self.during.p99
            )
        })
    }

    /// One line, while the scenarios run.
    pub(super) fn line(&self) -> String {
        let sends: usize = self.phases().iter().map(|(_, phase)| phase.sends).sum();
        format!(
            "{}, {}: {sends} sends, {} failed, {} lost, {} stored twice; p99 {} before, {} during, {} after; used again after {}",
            self.system,
            self.fault.signal(),
            self.failed(),
            self.lost,
            self.twice,
            ms(self.before.p99),
            ms(self.during.p99),
            ms(self.after.p99),
            ms(self.used_again),
        )
    }

    pub(super) fn json(&self) -> Value {
        let phases: serde_json::Map<_, _> = self
            .phases()
            .into_iter()
            .map(|(name, phase)| (name.to_owned(), phase.json()))
            .collect();
        json!({
            "system": self.system,
            "fault": self.fault.signal(),
            "phases": phases,
            "used_again_ms": millis(self.used_again),
            "acknowledged_but_lost": self.lost,
            "stored_twice": self.twice,
            "first_error": self.first_error,
        })
    }
}

impl Phase {
    fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        let (mut times, mut failed) = (Vec::new(), 0);
        for sample in samples {
            times.push(sample.took);
            failed += usize::from(sample.error.is_some());
        }
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(rank).copied().unwrap_or_default()
        };
        Self {
            sends: times.len(),
            failed,
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }

    fn json(&self) -> Value {
        json!({
            "sends": self.sends,
            "failed": self.failed,
            "p50_ms": millis(self.p50),
            "p99_ms": millis(self.p99),
            "max_ms": millis(self.max),
        })
    }
}

/// One row per scenario.
pub(super) fn markdown(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| brokers | fault | sends | failed | acknowledged but lost | stored twice | before p50 / p99 / max | during p50 / p99 / max | after p50 / p99 / max | used again after |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for outcome in outcomes {
        let sends: usize = outcome.phases().iter().map(|(_, phase)| phase.sends).sum();
        let _ = write!(
            text,
            "| {} | {} | {sends} | {} | {} | {} |",
            outcome.system,
            outcome.fault.signal(),
            outcome.failed(),
            outcome.lost,
            outcome.twice
        );
        for (_, phase) in outcome.phases() {
            let _ = write!(
                text,
                " {} / {} / {} |",
                ms(phase.p50),
                ms(phase.p99),
                ms(phase.max)
            );
        }
        let _ = writeln!(text, " {} |", ms(outcome.used_again));
    }
    text
}

/// Tenths of a millisecond below 100 ms, whole ones above: more than that is noise.
fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 100.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn sample(number: usize, began: u64, took: u64, error: Option<&str>) -> Sample {
        Sample {
            number,
            began: MS(began),
            took: MS(took),
            error: error.map(str::to_owned),
        }
    }

    fn outcome(samples: Vec<Sample>, stored: &[u8]) -> Outcome {
        let away = (MS(100), MS(200));
        Outcome::new("s", Fault::Kill, samples, away, MS(5), stored.to_vec())
    }

    #[test]
    fn a_send_that_was_under_way_counts_as_during() {
        let samples = vec![
            sample(0, 0, 100, None),
            sample(1, 50, 900, None),
            sample(2, 199, 1, None),
            sample(3, 200, 7, None),
        ];
        let outcome = outcome(samples, &[1, 2, 1, 1]);
        let sends = outcome.phases().map(|(_, phase)| phase.sends);
        assert_eq!(sends, [1, 2, 1]);
        assert_eq!(outcome.during.max, MS(900));
        assert_eq!((outcome.lost, outcome.twice), (0, 1));
        assert_eq!(outcome.fault(Duration::from_secs(1)), None);
    }

    #[test]
    fn lost_failed_and_slow_are_faults() {
        let limit = Duration::from_secs(1);
        let lost = outcome(vec![sample(0, 0, 1, None)], &[0]);
        assert!(lost.fault(limit).unwrap().contains("1 acknowledged"));
        let failed = outcome(vec![sample(0, 0, 1, Some("refused"))], &[0]);
        assert!(failed.fault(limit).unwrap().contains("refused"));
        assert_eq!(failed.lost, 0);
        let slow = outcome(vec![sample(0, 150, 1000, None)], &[1]);
        assert!(slow.fault(limit).unwrap().contains("99th"));
    }
}
