//! Requests that wait for a message: pulls now, other long polls the same way.
//!
//! The table is plain data: it neither reads the store nor answers anybody. Whoever commits messages asks it which requests to wake,
//! one timer asks it which have waited long enough, and a closed connection takes its requests out.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use tokio::time::Instant;

/// Which queue a request waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueueKey {
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: i32,
}

/// A request that may be woken by a message with this tag hash.
pub(crate) trait Waiter {
    /// Whether a message at `queue_offset` with `tags_code` ends the wait.
    fn wants(&self, queue_offset: i64, tags_code: i64) -> bool;

    /// Memory that it holds beyond its own size.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Names one waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HoldId(u64);

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HoldLimits {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
}

/// The waiting requests of all queues, at most what the limits allow.
#[derive(Debug)]
pub(crate) struct Holds<W> {
    limits: HoldLimits,
    bytes: usize,
    next: u64,
    held: HashMap<HoldId, Held<W>>,
    /// Ordered: whoever waited first is woken first, and one of thousands is taken out at no more cost than one of two.
    by_queue: HashMap<QueueKey, BTreeSet<HoldId>>,
    by_deadline: BTreeSet<(Instant, HoldId)>,
    by_connection: BTreeSet<(u64, HoldId)>,
}

#[derive(Debug)]
struct Held<W> {
    queue: QueueKey,
    connection: u64,
    deadline: Instant,
    waiter: W,
}

impl<W: Waiter> Holds<W> {
    pub(crate) fn new(limits: HoldLimits) -> Self {
        Self {
            limits,
            bytes: 0,
            next: 0,
            held: HashMap::new(),
            by_queue: HashMap::new(),
            by_deadline: BTreeSet::new(),
            by_connection: BTreeSet::new(),
        }
    }

    /// Holds a request until `deadline`; gives it back when the table is full.
    pub(crate) fn hold(
        &mut self,
        queue: QueueKey,
        connection: u64,
        deadline: Instant,
        waiter: W,
    ) -> Result<HoldId, W> {
        let bytes = bytes_of(&waiter);
        if self.held.len() >= self.limits.requests || self.bytes + bytes > self.limits.bytes {
            return Err(waiter);
        }
        self.bytes += bytes;
        let id = HoldId(self.next);
        self.next += 1;
        self.by_queue.entry(queue.clone()).or_default().insert(id);
        self.by_deadline.insert((deadline, id));
        self.by_connection.insert((connection, id));
        self.held.insert(
            id,
            Held {
                queue,
                connection,
                deadline,
                waiter,
            },
        );
        Ok(id)
    }

    /// Takes one request out, if it still waits.
    pub(crate) fn take(&mut self, id: HoldId) -> Option<W> {
        let held = self.held.remove(&id)?;
        self.bytes -= bytes_of(&held.waiter);
        self.by_deadline.remove(&(held.deadline, id));
        self.by_connection.remove(&(held.connection, id));
        if let Some(ids) = self.by_queue.get_mut(&held.queue) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_queue.remove(&held.queue);
            }
        }
        Some(held.waiter)
    }

    /// Takes out the first `most` requests that a message satisfies.
    pub(crate) fn arrived(
        &mut self,
        queue: &QueueKey,
        queue_offset: i64,
        tags_code: i64,
        most: usize,
    ) -> Vec<W> {
        let Some(ids) = self.by_queue.get(queue) else {
            return Vec::new();
        };
        let woken: Vec<HoldId> = ids
            .iter()
            .copied()
            .filter(|id| {
                self.held
                    .get(id)
                    .is_some_and(|held| held.waiter.wants(queue_offset, tags_code))
            })
            .take(most)
            .collect();
        woken.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// Takes out the first request that waits for a queue and satisfies `is_wanted`, of each kind that `kind_of` tells apart.
    pub(crate) fn first_of_each<K: Eq + Hash>(
        &mut self,
        queue: &QueueKey,
        is_wanted: impl Fn(&W) -> bool,
        kind_of: impl Fn(&W) -> K,
    ) -> Vec<W> {
        let Some(ids) = self.by_queue.get(queue) else {
            return Vec::new();
        };
        let mut kinds = HashSet::new();
        let mut chosen = Vec::new();
        for id in ids {
            if let Some(held) = self.held.get(id)
                && is_wanted(&held.waiter)
                && kinds.insert(kind_of(&held.waiter))
            {
                chosen.push(*id);
            }
        }
        chosen.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// How many requests wait for a queue and satisfy `is_wanted`.
    pub(crate) fn count_of(&self, queue: &QueueKey, is_wanted: impl Fn(&W) -> bool) -> usize {
        let ids = self.by_queue.get(queue).into_iter().flatten();
        ids.filter_map(|id| self.held.get(id))
            .filter(|held| is_wanted(&held.waiter))
            .count()
    }

    /// Takes out the requests whose time is up.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<W> {
        let mut out = Vec::new();
        while let Some(&(deadline, id)) = self.by_deadline.first() {
            if deadline > now {
                break;
            }
            out.extend(self.take(id));
        }
        out
    }

    /// When the next request's time is up.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out the requests of a connection that ended.
    pub(crate) fn closed(&mut self, connection: u64) -> Vec<W> {
        let ids: Vec<HoldId> = self
            .by_connection
            .range((connection, HoldId(0))..=(connection, HoldId(u64::MAX)))
            .map(|(_, id)| *id)
            .collect();
        ids.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// Takes out everything, for a server that stops.
    pub(crate) fn drain(&mut self) -> Vec<W> {
        self.bytes = 0;
        self.by_queue.clear();
        self.by_deadline.clear();
        self.by_connection.clear();
        self.held.drain().map(|(_, held)| held.waiter).collect()
    }

    /// How many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }
}

/// What a request and its entries in the tables take, about.
fn bytes_of<W: Waiter>(waiter: &W) -> usize {
    const ENTRIES: usize = 256;
    ENTRIES + size_of::<W>() + waiter.heap_bytes()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Pull {
        name: &'static str,
        offset: i64,
        tag: Option<i64>,
    }
    impl Waiter for Pull {
        fn wants(&self, queue_offset: i64, tags_code: i64) -> bool {
            queue_offset >= self.offset && self.tag.is_none_or(|t| t == tags_code)
        }
    }
    fn pull(name: &'static str, offset: i64, tag: Option<i64>) -> Pull {
        Pull { name, offset, tag }
    }
    fn queue(topic: &str, queue_id: i32) -> QueueKey {
        QueueKey {
            topic: topic.into(),
            queue_id,
        }
    }
    fn names(woken: &[Pull]) -> Vec<&'static str> {
        woken.iter().map(|p| p.name).collect()
    }

    /// S-053 for the table: another tag, an earlier offset or another queue does not wake.
    #[test]
    fn only_matching_messages_wake() {
        let at = Instant::now() + Duration::from_secs(9);
        let mut holds = Holds::new(HoldLimits {
            requests: 9,
            bytes: 1 << 20,
        });
        holds
            .hold(queue("T", 0), 1, at, pull("any", 5, None))
            .unwrap();
        holds
            .hold(queue("T", 0), 1, at, pull("tag", 5, Some(7)))
            .unwrap();
        holds
            .hold(queue("T", 1), 1, at, pull("other", 0, None))
            .unwrap();
        assert!(holds.arrived(&queue("T", 0), 4, 7, 9).is_empty());
        assert_eq!(names(&holds.arrived(&queue("T", 0), 5, 1, 9)), ["any"]);
        assert_eq!(names(&holds.arrived(&queue("T", 0), 6, 7, 9)), ["tag"]);
        assert_eq!(holds.len(), 1);
    }

    /// S-019 for the memory of the table.
    #[test]
    fn s019_bytes_are_bounded_and_given_back() {
        let one = bytes_of(&pull("a", 0, None));
        let mut holds = Holds::new(HoldLimits {
            requests: 9,
            bytes: 2 * one,
        });
        let at = Instant::now();
        for round in 0..3 {
            for name in ["a", "b"] {
                let waiter = pull(name, 0, None);
                holds.hold(queue("T", 0), 1, at, waiter).unwrap();
            }
            let more = holds.hold(queue("T", 0), 1, at, pull("c", 0, None));
            assert_eq!(more.unwrap_err().name, "c", "{round}");
            assert_eq!(holds.drain().len(), 2);
        }
    }

    #[test]
    fn one_of_each_kind_is_woken() {
        let at = Instant::now() + Duration::from_secs(9);
        let mut holds = Holds::new(HoldLimits {
            requests: 9,
            bytes: 1 << 20,
        });
        for name in ["a1", "a2", "b1", "c1"] {
            let waiter = pull(name, 0, None);
            holds.hold(queue("T", 0), 1, at, waiter).unwrap();
        }
        let kind = |waiter: &Pull| waiter.name.chars().next();
        let not_c = |waiter: &Pull| !waiter.name.starts_with('c');
        assert_eq!(holds.count_of(&queue("T", 0), not_c), 3);
        let mut woken = |queue| names(&holds.first_of_each(&queue, not_c, kind));
        assert!(woken(queue("T", 1)).is_empty());
        assert_eq!(woken(queue("T", 0)), ["a1", "b1"]);
        assert_eq!(woken(queue("T", 0)), ["a2"]);
        assert_eq!(holds.len(), 1);
    }

    #[test]
    fn expiry_is_in_order_and_exact() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut holds = Holds::new(HoldLimits {
            requests: 9,
            bytes: 1 << 20,
        });
        holds
            .hold(queue("T", 0), 1, now + ms(20), pull("late", 0, None))
            .unwrap();
        holds
            .hold(queue("T", 0), 1, now + ms(10), pull("soon", 0, None))
            .unwrap();
        assert_eq!(holds.next_deadline(), Some(now + ms(10)));
        assert!(holds.expired(now + ms(9)).is_empty());
        assert_eq!(names(&holds.expired(now + ms(10))), ["soon"]);
        assert_eq!(names(&holds.expired(now + ms(99))), ["late"]);
        assert_eq!(holds.next_deadline(), None);
    }

    /// S-019 for the table: it is bounded, and a closed connection makes room.
    #[test]
    fn bounded_and_freed_by_a_closed_connection() {
        let at = Instant::now();
        let mut holds = Holds::new(HoldLimits {
            requests: 2,
            bytes: 1 << 20,
        });
        let first = holds
            .hold(queue("T", 0), 1, at, pull("a", 0, None))
            .unwrap();
        holds
            .hold(queue("U", 0), 2, at, pull("b", 0, None))
            .unwrap();
        assert_eq!(
            holds
                .hold(queue("T", 0), 3, at, pull("c", 0, None))
                .unwrap_err()
                .name,
            "c"
        );
        assert_eq!(names(&holds.closed(2)), ["b"]);
        holds
            .hold(queue("T", 0), 3, at, pull("c", 0, None))
            .unwrap();
        assert_eq!(holds.take(first).unwrap().name, "a");
        assert_eq!(names(&holds.drain()), ["c"]);
        assert_eq!(holds.len(), 0);
    }
}
