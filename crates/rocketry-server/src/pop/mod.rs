//! Taking messages of any queue for a time: what was taken is noted in the log, and comes again when it is not acknowledged.
//!
//! - `take`: the queues a pop looks into, and what it takes of them;
//! - `order`: pops in order, which need no notes;
//! - `checkpoint`: the notes (check points) and acknowledgements, as they lie in the revive topic;
//! - `revive`: pairs them when their time has come and puts what nobody acknowledged into the group's retry topic;
//! - `request_modes`: which groups read which topics this way.
//!
//! Notes and acknowledgements are messages with a time of delivery, so that they survive whatever the server survives, and Apache's
//! broker goes on from them. Java: `PopMessageProcessor`, `PopReviveService`.

pub(crate) mod checkpoint;
pub(crate) mod order;
pub(crate) mod request_modes;
pub(crate) mod revive;
pub(crate) mod take;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use parking_lot::Mutex;
use rocketry_protocol::topic::RETRY_PREFIX;
use rocketry_store::Arrival;
use tokio::sync::mpsc;

use crate::{
    hold::HoldLimits,
    hold::{Holds, QueueKey},
    long_polls::LongPolls,
    processor::pop::HeldPop,
    writer::ArrivalSink,
};

/// Queues of the revive topic. Java: `reviveQueueNum`.
pub(crate) const REVIVE_QUEUES: i32 = 8;

/// The group whose offsets tell how far the revive topic is worked off.
pub(crate) const REVIVE_GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";

/// Stands for all queues of a topic.
pub(crate) const ANY_QUEUE: i32 = -1;

/// What pops share.
#[derive(Debug)]
pub(crate) struct Pops {
    pub(crate) polls: LongPolls<HeldPop>,
    /// Queues that a pop takes messages from now.
    taken: Mutex<HashSet<GroupQueue>>,
    /// Whose the retry topics of those are who wait.
    retry_topics: Mutex<HashMap<Arc<str>, Whose>>,
    next_revive_queue: AtomicI32,
}

/// Topic and group of a retry topic.
type Whose = (Arc<str>, Arc<str>);

/// A queue as one group sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupQueue {
    topic: String,
    group: String,
    queue_id: i32,
}

/// Keeps other pops of a group from a queue.
#[derive(Debug)]
pub(crate) struct QueueGuard<'a> {
    pops: &'a Pops,
    queue: GroupQueue,
}

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        self.pops.taken.lock().remove(&self.queue);
    }
}

impl Pops {
    /// At most as many pops wait for a message as `limits` allow.
    pub(crate) fn new(limits: HoldLimits) -> (Self, mpsc::UnboundedReceiver<HeldPop>) {
        let (polls, woken) = LongPolls::new(limits);
        let pops = Self {
            polls,
            taken: Mutex::default(),
            retry_topics: Mutex::default(),
            next_revive_queue: AtomicI32::new(0),
        };
        (pops, woken)
    }

    /// Keeps other pops of the group from the queue; `None` when one has it.
    pub(crate) fn try_lock(
        &self,
        topic: &str,
        group: &str,
        queue_id: i32,
    ) -> Option<QueueGuard<'_>> {
        let queue = GroupQueue {
            topic: topic.to_owned(),
            group: group.to_owned(),
            queue_id,
        };
        if !self.taken.lock().insert(queue.clone()) {
            // Without a guard: it would give the queue of the other free.
            return None;
        }
        Some(QueueGuard { pops: self, queue })
    }

    /// Spreads check points over the queues of the revive topic.
    pub(crate) fn next_revive_queue(&self) -> i32 {
        let next = self.next_revive_queue.fetch_add(1, Ordering::Relaxed);
        next.rem_euclid(REVIVE_QUEUES)
    }

    /// Notes whom messages of a retry topic are for.
    pub(crate) fn note_retry_topic(&self, retry: &str, topic: &Arc<str>, group: &Arc<str>) {
        let mut known = self.retry_topics.lock();
        if !known.contains_key(retry) {
            known.insert(Arc::from(retry), (Arc::clone(topic), Arc::clone(group)));
        }
    }

    /// Forgets whose the retry topics of a removed topic, or of a removed group, were.
    pub(crate) fn forget_retry_topics(&self, removed: &str) {
        let mut known = self.retry_topics.lock();
        known.retain(|_, (topic, group)| **topic != *removed && **group != *removed);
    }

    /// Wakes one pop of the group that waits for the queue or for any, and one that only wants to know.
    pub(crate) fn wake_one(&self, topic: &Arc<str>, group: &str, queue_id: i32) {
        for queue_id in [queue_id, ANY_QUEUE] {
            let queue = QueueKey {
                topic: Arc::clone(topic),
                queue_id,
            };
            self.polls
                .wake(|holds| holds.first_of_each(&queue, |held| held.is_of(group), HeldPop::kind));
            if queue_id == ANY_QUEUE {
                return;
            }
        }
    }
}

impl ArrivalSink for Pops {
    /// Wakes one pop of each group that waits for the queue, and one that waits for any, and as many that only want to know. What a message's properties are is not known
    /// here: a pop whose filter refuses it waits on.
    fn arrived(&self, arrival: &Arrival<'_>) {
        if self.polls.is_empty_for_log() {
            return;
        }
        if arrival.topic.starts_with(RETRY_PREFIX) {
            let whose = self.retry_topics.lock().get(arrival.topic).cloned();
            if let Some((topic, group)) = whose {
                self.wake_one(&topic, &group, arrival.queue_id);
            }
            return;
        }
        let first = |holds: &mut Holds<HeldPop>, queue_id| {
            let queue = QueueKey {
                topic: Arc::clone(arrival.topic),
                queue_id,
            };
            let wants = |held: &HeldPop| held.wants_tags(arrival.tags_code);
            holds.first_of_each(&queue, wants, HeldPop::kind)
        };
        self.polls.wake(|holds| {
            let mut woken = first(holds, arrival.queue_id);
            woken.append(&mut first(holds, ANY_QUEUE));
            woken
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who looks in vain leaves the queue to who has it.
    #[test]
    fn a_queue_is_kept_from_all_others_until_it_is_let_go() {
        let limits = HoldLimits {
            requests: 1,
            bytes: 1,
        };
        let (pops, _woken) = Pops::new(limits);
        let guard = pops.try_lock("T", "G", 0);
        assert!(guard.is_some());
        for _ in 0..2 {
            assert!(pops.try_lock("T", "G", 0).is_none());
        }
        assert!(pops.try_lock("T", "H", 0).is_some() && pops.try_lock("T", "G", 1).is_some());
        drop(guard);
        assert!(pops.try_lock("T", "G", 0).is_some());
    }
}
