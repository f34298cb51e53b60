//! Bar charts as SVG, written by hand: no fonts to load, nothing to install, readable on light and dark pages.

use std::fmt::Write as _;

/// Bars in groups: one group below the other, a bar for each name in it.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// Behind each value.
    pub(super) unit: &'static str,
    pub(super) groups: Vec<Group>,
}

/// A heading and its bars.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

/// A bar with the range of the rounds.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

const WIDTH: f64 = 760.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 190.0;
const LONGEST: f64 = 420.0;
const BAR: f64 = 20.0;
const GAP: f64 = 6.0;
const HEADING: f64 = 34.0;
const TITLE: f64 = 44.0;

impl Chart {
    /// The whole file. Each group has a scale of its own: what is compared stands together.
    pub(super) fn svg(&self) -> String {
        let rows: usize = self.groups.iter().map(|group| group.bars.len()).sum();
        #[expect(clippy::cast_precision_loss, reason = "a few dozen rows")]
        let height =
            TITLE + HEADING * self.groups.len() as f64 + (BAR + GAP) * rows as f64 + 2.0 * GAP;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" \
             font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n<title>{}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"16\" y=\"28\" font-size=\"17\" font-weight=\"bold\" fill=\"#1f2430\">{}</text>\n",
            escaped(self.title),
            escaped(self.title)
        );
        let mut y = TITLE;
        for group in &self.groups {
            let _ = writeln!(
                svg,
                "<text x=\"16\" y=\"{:.0}\" font-weight=\"bold\" fill=\"#454d5e\">{}</text>",
                y + 22.0,
                escaped(&group.title)
            );
            y += HEADING;
            let most = group.bars.iter().map(|bar| bar.max).fold(0.0, f64::max);
            for bar in &group.bars {
                self.bar(&mut svg, bar, y, most);
                y += BAR + GAP;
            }
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn bar(&self, svg: &mut String, bar: &Bar, y: f64, most: f64) {
        let length = |value: f64| {
            if most > 0.0 {
                (value / most * LONGEST).max(1.0)
            } else {
                1.0
            }
        };
        let (text, middle) = (y + BAR - 5.0, y + BAR / 2.0);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{text:.0}\" text-anchor=\"end\" fill=\"#1f2430\">{}</text>",
            LEFT - 8.0,
            escaped(&bar.name)
        );
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT:.0}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"{BAR:.0}\" fill=\"{}\"/>",
            length(bar.value),
            colour(&bar.name)
        );
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {middle:.0}H{:.1}\" stroke=\"#1f2430\" stroke-width=\"1.5\"/>",
            LEFT + length(bar.min),
            LEFT + length(bar.max)
        );
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{text:.0}\" fill=\"#1f2430\">{} {}</text>",
            LEFT + length(bar.max) + 8.0,
            super::report::short(bar.value),
            escaped(self.unit)
        );
    }
}

/// Ours, floors, others.
fn colour(name: &str) -> &'static str {
    if name.starts_with("rocketry") {
        "#d9480f"
    } else if matches!(name, "echo" | "loop" | "floor") {
        "#adb5bd"
    } else {
        "#4c6ef5"
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bar = |name: &str, value| Bar {
            name: name.to_owned(),
            value,
            min: value,
            max: value,
        };
        let chart = Chart {
            title: "CPU & time",
            unit: "µs",
            groups: vec![Group {
                title: "sync-64-1024".to_owned(),
                bars: vec![bar("rocketry", 5.0), bar("Java", 20.0)],
            }],
        };
        let svg = chart.svg();
        assert!(svg.contains("CPU &amp; time") && !svg.contains("CPU & time"));
        assert!(
            svg.contains("width=\"105.0\"") && svg.contains("width=\"420.0\""),
            "{svg}"
        );
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(svg.ends_with("</svg>\n"));
    }
}
