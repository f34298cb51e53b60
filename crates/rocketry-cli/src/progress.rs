//! A progress bar on stderr, for people only: shown on a terminal, and only when the work takes a while.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock;

/// Work that ends sooner than this shows no bar.
const PATIENCE: Duration = Duration::from_millis(400);

/// What the bar counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Bytes of an input.
    Bytes,
    /// Messages.
    Messages,
    /// Milliseconds of a fixed duration.
    Time,
}

/// A bar that draws itself when it is time to.
#[derive(Debug)]
pub(crate) struct Progress {
    unit: Unit,
    total: Option<u64>,
    started: Instant,
    shown: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Work of `total` units; `None` where the end is not known.
    pub(crate) fn new(unit: Unit, total: Option<u64>) -> Self {
        Self {
            unit,
            total,
            started: clock::now(),
            shown: true,
            bar: None,
        }
    }

    /// Shows no bar unless `shown`.
    pub(crate) fn shown(mut self, shown: bool) -> Self {
        self.shown = shown;
        self
    }

    /// Work is at `position`; `note` is shown behind the bar.
    pub(crate) fn update(&mut self, position: u64, note: impl FnOnce() -> String) {
        if !self.shown || self.bar.is_none() && self.started.elapsed() < PATIENCE {
            return;
        }
        let (unit, total) = (self.unit, self.total);
        let bar = self.bar.get_or_insert_with(|| draw(unit, total));
        if !bar.is_hidden() {
            bar.set_position(position);
            bar.set_message(note());
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn draw(unit: Unit, total: Option<u64>) -> ProgressBar {
    // At most ten times a second; hidden when stderr is not a terminal.
    let target = ProgressDrawTarget::stderr_with_hz(10);
    let template = match (unit, total) {
        (Unit::Bytes, Some(_)) => "{wide_bar} {bytes}/{total_bytes} {msg} eta {eta}",
        (Unit::Bytes, None) => "{spinner} {bytes} {msg}",
        (Unit::Messages, Some(_)) => "{wide_bar} {human_pos}/{human_len} {msg} eta {eta}",
        (Unit::Messages, None) => "{spinner} {human_pos} {msg}",
        (Unit::Time, _) => "{wide_bar} {elapsed} {msg}",
    };
    let bar = ProgressBar::with_draw_target(total, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
