//! Keeps one fault that repeats from filling the log.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Lets one message through per [`LogLimit::PAUSE`] and counts the others: one static per kind of message.
///
/// ```
/// use rocketry_remoting::LogLimit;
///
/// static LIMIT: LogLimit = LogLimit::new();
/// assert_eq!(LIMIT.pass(), Some(0)); // log it
/// assert_eq!(LIMIT.pass(), None); // too soon
/// ```
#[derive(Debug)]
pub struct LogLimit(Mutex<State>);

#[derive(Debug)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl LogLimit {
    /// Least time between two messages.
    pub const PAUSE: Duration = Duration::from_secs(10);

    /// Lets the first message through.
    pub const fn new() -> Self {
        Self(Mutex::new(State {
            last: None,
            held_back: 0,
        }))
    }

    /// Whether to log now; if so, how many messages were held back since the last one.
    pub fn pass(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.0.lock();
        let due = state
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= Self::PAUSE);
        if due {
            state.last = Some(now);
            return Some(std::mem::take(&mut state.held_back));
        }
        state.held_back += 1;
        None
    }
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_passes_per_pause_and_says_how_many_did_not() {
        let limit = LogLimit::new();
        assert_eq!(limit.pass(), Some(0));
        for _ in 0..1000 {
            assert_eq!(limit.pass(), None);
        }
        tokio::time::advance(LogLimit::PAUSE).await;
        assert_eq!(limit.pass(), Some(1000));
        assert_eq!(limit.pass(), None);
    }
}
