//! Requests that wait for a message, shared by connections, the log's thread and the timer of their deadlines.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering, fence},
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use crate::hold::{HoldId, HoldLimits, Holds, QueueKey, Waiter};

/// Most requests that a message wakes at once: all sends wait while the log's thread takes them out.
const WOKEN_AT_ONCE: usize = 64;

/// The waiting requests of one kind.
#[derive(Debug)]
pub(crate) struct LongPolls<W> {
    holds: Mutex<Holds<W>>,
    /// Number of holds: lets the log's thread pass by without the lock while nobody waits.
    count: AtomicUsize,
    woken: mpsc::UnboundedSender<W>,
    /// Messages for which more requests may wait than were woken. No more than a part of those that were and are not answered yet.
    unfinished: Mutex<VecDeque<Message>>,
    /// Rung when the earliest deadline may have changed.
    timer: Notify,
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) queue: QueueKey,
    pub(crate) queue_offset: i64,
    pub(crate) tags_code: i64,
}

impl<W: Waiter> LongPolls<W> {
    /// At most as many requests wait as `limits` allow. Those that a message wakes come out of the receiver, which is bounded by the same limits.
    pub(crate) fn new(limits: HoldLimits) -> (Self, mpsc::UnboundedReceiver<W>) {
        let (woken, receiver) = mpsc::unbounded_channel();
        let polls = Self {
            holds: Mutex::new(Holds::new(limits)),
            count: AtomicUsize::new(0),
            woken,
            unfinished: Mutex::default(),
            timer: Notify::new(),
        };
        (polls, receiver)
    }

    /// Lets a request wait; gives it back when there is no room.
    pub(crate) fn hold(
        &self,
        queue: QueueKey,
        connection: u64,
        deadline: Instant,
        waiter: W,
    ) -> Result<HoldId, Box<W>> {
        let mut holds = self.holds.lock();
        let earliest = holds.next_deadline();
        let id = holds
            .hold(queue, connection, deadline, waiter)
            .map_err(Box::new)?;
        self.count.store(holds.len(), Ordering::SeqCst);
        drop(holds);
        // With the one in `is_empty_for_log`: either the log's thread sees this hold, or the caller sees the message.
        fence(Ordering::SeqCst);
        if earliest.is_none_or(|earliest| deadline < earliest) {
            self.timer.notify_one();
        }
        Ok(id)
    }

    /// Takes one request out, if it still waits.
    pub(crate) fn take(&self, id: HoldId) -> Option<W> {
        self.change(|holds| holds.take(id))
    }

    /// Whether nobody waits, for the log's thread after it made a message visible.
    pub(crate) fn is_empty_for_log(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Wakes the first of the requests that a message satisfies. Whoever answers them calls [`LongPolls::wake_more`] after each.
    pub(crate) fn wake_for(&self, message: Message) {
        let woken = self.change(|holds| {
            let (offset, tags_code) = (message.queue_offset, message.tags_code);
            holds.arrived(&message.queue, offset, tags_code, WOKEN_AT_ONCE)
        });
        if woken.len() == WOKEN_AT_ONCE {
            self.unfinished.lock().push_back(message);
        }
        for held in woken {
            // as in `wake`
            let _ = self.woken.send(held);
        }
    }

    /// Goes on with a message that satisfies more requests than were woken at once.
    pub(crate) fn wake_more(&self) {
        let unfinished = self.unfinished.lock().pop_front();
        if let Some(message) = unfinished {
            self.wake_for(message);
        }
    }

    /// Takes requests out and hands them to who answers them.
    pub(crate) fn wake(&self, choose: impl FnOnce(&mut Holds<W>) -> Vec<W>) {
        for held in self.change(choose) {
            // Without a receiver the server has stopped, and connections are closed.
            let _ = self.woken.send(held);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Holds<W>) -> T) -> T {
        let mut holds = self.holds.lock();
        let out = change(&mut holds);
        self.count.store(holds.len(), Ordering::SeqCst);
        out
    }

    /// Drops the requests of a connection that ended.
    pub(crate) fn closed(&self, connection: u64) {
        if self.count.load(Ordering::SeqCst) > 0 {
            let gone = self.change(|holds| holds.closed(connection));
            drop(gone);
        }
    }

    /// Waits until some requests have waited long enough.
    pub(crate) async fn expired(&self) -> Vec<W> {
        loop {
            let next = self.holds.lock().next_deadline();
            let rung = self.timer.notified();
            match next {
                None => rung.await,
                Some(deadline) => {
                    tokio::select! {
                        () = rung => continue,
                        () = tokio::time::sleep_until(deadline) => {}
                    }
                    let expired = self.change(|holds| holds.expired(Instant::now()));
                    if !expired.is_empty() {
                        return expired;
                    }
                }
            }
        }
    }

    /// How many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Takes everything that waits, for a server that stops.
    pub(crate) fn drain(&self) -> Vec<W> {
        self.change(Holds::drain)
    }

    /// How many requests wait for a queue and satisfy `is_wanted`.
    pub(crate) fn count_of(&self, queue: &QueueKey, is_wanted: impl Fn(&W) -> bool) -> usize {
        self.holds.lock().count_of(queue, is_wanted)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Pull(usize);

    impl Waiter for Pull {
        fn wants(&self, _: i64, _: i64) -> bool {
            true
        }
    }

    fn message(queue_id: i32) -> Message {
        Message {
            queue: QueueKey {
                topic: "T".into(),
                queue_id,
            },
            queue_offset: 0,
            tags_code: 0,
        }
    }

    /// The log's thread takes out a few; the others follow as those are answered, first come first served.
    #[test]
    fn a_message_wakes_a_few_at_a_time_and_all_in_the_end() {
        const ALL: usize = 1000;
        let limits = HoldLimits {
            requests: ALL,
            bytes: 1 << 20,
        };
        let (polls, mut woken) = LongPolls::new(limits);
        let deadline = Instant::now() + Duration::from_secs(9);
        for n in 0..ALL {
            let held = polls.hold(message(0).queue, 1, deadline, Pull(n));
            assert!(held.is_ok(), "{n}");
        }
        polls.wake_for(message(1));
        assert_eq!(polls.len(), ALL);
        polls.wake_for(message(0));
        assert_eq!(polls.len(), ALL - WOKEN_AT_ONCE);
        for n in 0..ALL {
            assert_eq!(woken.try_recv().map(|pull| pull.0), Ok(n));
            polls.wake_more();
        }
        assert!(woken.try_recv().is_err());
        assert_eq!(polls.len(), 0);
        assert!(polls.unfinished.lock().is_empty());
    }
}
