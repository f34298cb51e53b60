//! How long a caller is willing to wait, as a point in time.

use std::time::Duration;

use tokio::time::Instant;

/// The instant at which a caller stops waiting. Handed down unchanged, so that every stage of an operation shares one budget.
///
/// It follows Tokio's clock and therefore stands still while a test pauses time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// `duration` from now; a duration too long for the clock means about thirty years.
    pub fn after(duration: Duration) -> Self {
        Self::counted_from(Instant::now(), duration)
    }

    /// As [`Deadline::after`], from a `start` that the caller has read already: the clock is asked several times per request, and
    /// each time counts.
    pub fn counted_from(start: Instant, duration: Duration) -> Self {
        Self(start.checked_add(duration).unwrap_or_else(|| start + FAR))
    }

    /// At `instant`.
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The time left; zero once it is past.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether no time is left.
    pub fn is_past(self) -> bool {
        Instant::now() >= self.0
    }

    /// The earlier of the two.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }

    /// The point in time itself.
    pub const fn instant(self) -> Instant {
        self.0
    }
}

const FAR: Duration = Duration::from_hours(24 * 365 * 30);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn remaining_time_shrinks_to_zero_and_no_further() {
        let deadline = Deadline::after(Duration::from_secs(3));
        assert_eq!(deadline.remaining(), Duration::from_secs(3));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(deadline.remaining(), Duration::from_secs(1));
        assert!(!deadline.is_past());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(deadline.remaining(), Duration::ZERO);
        assert!(deadline.is_past());
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_two_wins_in_either_order() {
        let near = Deadline::after(Duration::from_secs(1));
        let far = Deadline::after(Duration::MAX);
        assert_eq!(near.earlier(far), near);
        assert_eq!(far.earlier(near), near);
        assert!(far.remaining() > Duration::from_secs(1_000_000));
    }
}
