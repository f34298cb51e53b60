//! Syncs wait for those who come back at once.
//!
//! Of many senders that each wait for their answer, some are answered while others wait for the next sync. Were that begun right
//! away, the two parts would take turns for ever: each sync would carry half of the messages, and on a slow disk half of them a
//! second. So a sync waits until as many puts are there as were known of at the end of the last one, for a part of the time that a
//! sync takes, as long as that is seen to help.

use std::time::Duration;

use tokio::time::Instant;

use super::{Inbox, ROUND, log::Synced};

/// The part of a sync's time that the next one may wait.
const WAIT: f64 = 0.5;
/// A faster sync is not worth waiting for: it is over before the answers have come back.
const SLOW_SYNC: Duration = Duration::from_millis(1);
/// Most that a sync waits.
const LONGEST_WAIT: Duration = Duration::from_millis(10);
/// Rounds that do not wait after one that waited for nothing.
const ROUNDS_WITHOUT: u32 = 31;

/// What the last sync says of the next one.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// Puts that are likely to be there soon: those that were answered and those that waited then.
    expected: usize,
    /// How long they may take.
    wait: Duration,
    /// Rounds before waiting is tried again.
    rounds_without: u32,
}

impl Gather {
    pub(super) fn synced(&mut self, synced: &Synced) {
        self.expected = (synced.puts + synced.waiting).min(ROUND);
        self.wait = if synced.took < SLOW_SYNC {
            Duration::ZERO
        } else {
            synced.took.mul_f64(WAIT).min(LONGEST_WAIT)
        };
    }

    /// What to wait for before the next sync, if that is worth it.
    fn next(&mut self) -> Option<(usize, Duration)> {
        if self.rounds_without > 0 {
            self.rounds_without -= 1;
            return None;
        }
        (self.expected > 1 && !self.wait.is_zero()).then_some((self.expected, self.wait))
    }

    /// Waits without end, so that a test can tell.
    #[cfg(test)]
    pub(super) const fn longest(&mut self, wait: Duration) {
        self.wait = wait;
    }

    fn waited(&mut self, have_come: bool) {
        self.rounds_without = if have_come { 0 } else { ROUNDS_WITHOUT };
    }
}

impl Inbox {
    /// Waits for what `gather` expects.
    pub(super) fn gather(&self, gather: &mut Gather) {
        let Some((expected, wait)) = gather.next() else {
            return;
        };
        let end = (Instant::now() + wait).into_std();
        let mut queue = self.queue.lock();
        let have_come = loop {
            if queue.puts >= expected {
                break true;
            }
            let is_urgent = queue.stopping || queue.jobs.len() > queue.puts;
            if is_urgent || self.work.wait_until(&mut queue, end).timed_out() {
                break queue.puts >= expected;
            }
        };
        drop(queue);
        gather.waited(have_come);
    }
}
