//! The text that Prometheus reads, version 0.0.4 of its format.

use std::fmt::{Display, Write as _};

use super::histogram::Histogram;

/// A page under construction.
pub(super) struct Page {
    text: String,
    /// Labels of every series.
    common: String,
    max_series: usize,
    omitted: Vec<(&'static str, usize)>,
}

/// Series of one name.
pub(super) struct Family<'p> {
    page: &'p mut Page,
    name: &'static str,
    series: usize,
}

impl Page {
    pub(super) fn new(common: &[(&str, &str)], max_series: usize) -> Self {
        let mut page = Self {
            text: String::with_capacity(16 * 1024),
            common: String::new(),
            max_series,
            omitted: Vec::new(),
        };
        let mut text = String::new();
        labels(&mut text, common);
        page.common = text;
        page
    }

    /// A new name. `kind` is `counter`, `gauge` or `histogram`.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
    ) -> Family<'_> {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            page: self,
            name,
            series: 0,
        }
    }

    /// A name with one series.
    pub(super) fn single(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        value: impl Display,
    ) {
        self.family(name, kind, help).add(&[], value);
    }

    /// A histogram of seconds.
    pub(super) fn histogram(&mut self, name: &'static str, help: &'static str, of: &Histogram) {
        let (totals, sum) = of.totals();
        let count = totals.last().map_or(0, |(_, count)| *count);
        drop(self.family(name, "histogram", help));
        for (bound, count) in totals {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            self.line(&format!("{name}_bucket"), &[("le", &bound)], count);
        }
        self.line(&format!("{name}_sum"), &[], sum);
        self.line(&format!("{name}_count"), &[], count);
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        let omitted = std::mem::take(&mut self.omitted);
        let mut family = self.family(
            "rocketry_metrics_series_omitted",
            "gauge",
            "Series beyond the cap (--metrics-max-series), by metric",
        );
        for (name, count) in omitted {
            family.add(&[("metric", name)], count);
        }
        drop(family);
        self.text
    }

    fn line(&mut self, name: &str, own: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        self.text.push('{');
        self.text.push_str(&self.common);
        labels(&mut self.text, own);
        // the comma of the last label is allowed
        let _ = writeln!(self.text, "}} {value}");
    }
}

impl Family<'_> {
    /// One series.
    pub(super) fn add(&mut self, own: &[(&str, &str)], value: impl Display) {
        if self.series < self.page.max_series {
            self.page.line(self.name, own, value);
        }
        self.series += 1;
    }
}

impl Drop for Family<'_> {
    fn drop(&mut self) {
        let omitted = self.series.saturating_sub(self.page.max_series);
        if omitted > 0 {
            self.page.omitted.push((self.name, omitted));
        }
    }
}

/// Each with a comma behind it.
fn labels(text: &mut String, labels: &[(&str, &str)]) {
    for (name, value) in labels {
        let _ = write!(text, "{name}=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push_str("\",");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_labels_and_values() {
        let mut page = Page::new(&[("cluster", "C")], 10);
        page.single("a_total", "counter", "What.", 7);
        let mut family = page.family("b", "gauge", "Why.");
        family.add(&[("topic", "%RETRY%\"g\\\n")], 1.5);
        drop(family);
        let text = page.finish();
        assert!(text.starts_with(
            "# HELP a_total What.\n# TYPE a_total counter\na_total{cluster=\"C\",} 7\n"
        ));
        assert!(
            text.contains("b{cluster=\"C\",topic=\"%RETRY%\\\"g\\\\\\n\",} 1.5\n"),
            "{text}"
        );
    }

    #[test]
    fn histograms_are_cumulative() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(2), 3);
        let mut page = Page::new(&[], 1);
        page.histogram("h_seconds", "How long.", &histogram);
        let text = page.finish();
        for line in [
            "h_seconds_bucket{le=\"0.001\",} 0\n",
            "h_seconds_bucket{le=\"0.0025\",} 3\n",
            "h_seconds_bucket{le=\"+Inf\",} 3\n",
            "h_seconds_sum{} 0.006\n",
            "h_seconds_count{} 3\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn series_beyond_the_cap_are_left_out_and_counted() {
        let mut page = Page::new(&[], 2);
        let mut family = page.family("g", "gauge", "Many.");
        for topic in ["a", "b", "c", "d", "e"] {
            family.add(&[("topic", topic)], 0);
        }
        drop(family);
        let text = page.finish();
        assert_eq!(text.matches("g{topic=").count(), 2);
        assert!(
            text.contains("rocketry_metrics_series_omitted{metric=\"g\",} 3\n"),
            "{text}"
        );
    }
}
