//! The only reader of time in this crate.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

/// Monotonic time, which tests may pause.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the wall clock"
)]
pub(crate) fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            let whole = i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 1000);
            (whole * 1000).saturating_add(i64::from(since.subsec_millis()))
        })
}

/// Nanoseconds since 1970; for seeds and names, not for order.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the wall clock"
)]
pub(crate) fn wall_nanos() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        })
}

/// Local midnight of the first of the month, kept so that it is worked out once a month and not once a message.
///
/// Message ids count milliseconds from it. Java: `MessageClientIDSetter.setStartTime`.
#[derive(Debug)]
pub(crate) struct MonthClock {
    start_ms: AtomicI64,
    end_ms: AtomicI64,
}

impl MonthClock {
    pub(crate) fn new() -> Self {
        Self {
            start_ms: AtomicI64::new(0),
            end_ms: AtomicI64::new(0),
        }
    }

    /// Milliseconds from the month's start to `wall_ms`; 0 for a moment before the start, as Java writes it.
    pub(crate) fn ms_since_month_start(&self, wall_ms: i64) -> u32 {
        if wall_ms >= self.end_ms.load(Ordering::Acquire) {
            let (start, end) = month_of(wall_ms);
            self.start_ms.store(start, Ordering::Relaxed);
            self.end_ms.store(end, Ordering::Release);
        }
        u32::try_from(wall_ms - self.start_ms.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

fn month_of(wall_ms: i64) -> (i64, i64) {
    let bounds = || -> Result<(i64, i64), jiff::Error> {
        let zoned =
            jiff::Timestamp::from_millisecond(wall_ms)?.to_zoned(jiff::tz::TimeZone::system());
        let first = zoned.first_of_month()?.start_of_day()?;
        let next = first.checked_add(jiff::Span::new().months(1))?;
        Ok((
            first.timestamp().as_millisecond(),
            next.timestamp().as_millisecond(),
        ))
    };
    // A clock outside the calendar's range only costs the date inside message ids, not their uniqueness.
    bounds().unwrap_or_else(|_| (wall_ms, wall_ms.saturating_add(3_600_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn month_start_moves_with_the_month() {
        let clock = MonthClock::new();
        let now = wall_ms();
        let (start, end) = month_of(now);
        assert!(start <= now && now < end);
        assert_eq!(i64::from(clock.ms_since_month_start(now)), now - start);
        assert_eq!(clock.ms_since_month_start(start), 0);
        // stepped back before the start: 0, never an underflow
        assert_eq!(clock.ms_since_month_start(start - 5), 0);
        assert_eq!(clock.ms_since_month_start(end), 0);
        assert_eq!(clock.ms_since_month_start(end + 7), 7);
    }
}
