//! Queue locks of orderly consumers: one client of a group holds a queue for 60 s at a time. In memory only.
//!
//! Java: `RebalanceLockManager`.

use std::{collections::HashMap, hash::Hash};

/// Time after its last renewal at which a lock is free again. Java: `rocketmq.broker.rebalance.lockMaxLiveTime`.
const LOCK_LIVE_MS: i64 = 60_000;

/// Locks of all groups; `Q` names a queue.
#[derive(Debug)]
pub(crate) struct QueueLocks<Q> {
    groups: HashMap<String, HashMap<Q, Lock>>,
    /// When all groups were looked at last.
    pruned_ms: i64,
}

#[derive(Debug)]
struct Lock {
    client_id: String,
    renewed_ms: i64,
}

impl Lock {
    fn is_free(&self, now_ms: i64) -> bool {
        now_ms - self.renewed_ms > LOCK_LIVE_MS
    }
}

impl<Q> Default for QueueLocks<Q> {
    fn default() -> Self {
        Self {
            groups: HashMap::new(),
            pruned_ms: 0,
        }
    }
}

impl<Q: Hash + Eq + Clone> QueueLocks<Q> {
    /// Locks or renews each of `queues` that is free, expired or already this client's; returns those it now holds.
    pub(crate) fn lock(
        &mut self,
        group: &str,
        client_id: &str,
        queues: &[Q],
        now_ms: i64,
    ) -> Vec<Q> {
        self.prune(now_ms);
        let locks = self.groups.entry(group.to_owned()).or_default();
        locks.retain(|_, lock| !lock.is_free(now_ms));
        let mut granted = Vec::with_capacity(queues.len());
        for queue in queues {
            let held_by_other = locks
                .get(queue)
                .is_some_and(|lock| lock.client_id != client_id);
            if !held_by_other {
                locks.insert(
                    queue.clone(),
                    Lock {
                        client_id: client_id.to_owned(),
                        renewed_ms: now_ms,
                    },
                );
                granted.push(queue.clone());
            }
        }
        granted
    }

    /// Drops the groups without a lock that counts, now and then: clients that are killed unlock nothing.
    fn prune(&mut self, now_ms: i64) {
        if now_ms - self.pruned_ms > LOCK_LIVE_MS {
            self.pruned_ms = now_ms;
            self.groups
                .retain(|_, locks| locks.values().any(|lock| !lock.is_free(now_ms)));
        }
    }

    /// Gives up those of `queues` that this client holds.
    pub(crate) fn unlock(&mut self, group: &str, client_id: &str, queues: &[Q]) {
        let Some(locks) = self.groups.get_mut(group) else {
            return;
        };
        for queue in queues {
            if locks
                .get(queue)
                .is_some_and(|lock| lock.client_id == client_id)
            {
                locks.remove(queue);
            }
        }
        if locks.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Whether the group holds any lock that has not expired: it consumes in order.
    pub(crate) fn holds_any(&self, group: &str, now_ms: i64) -> bool {
        self.groups
            .get(group)
            .is_some_and(|locks| locks.values().any(|lock| !lock.is_free(now_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-063: granted once, refused to another client, granted again 60 s after the last renewal or after unlock.
    #[test]
    fn s063_one_holder_until_unlock_or_expiry() {
        let mut locks = QueueLocks::default();
        assert_eq!(locks.lock("G", "a", &[0, 1], 0), [0, 1]);
        assert_eq!(locks.lock("G", "b", &[0, 1, 2], 10), [2]);
        assert_eq!(
            locks.lock("H", "b", &[0], 10),
            [0],
            "groups are independent"
        );
        assert_eq!(locks.lock("G", "a", &[0], 30_000), [0], "renewed");
        assert_eq!(locks.lock("G", "b", &[0, 1], 60_001), [1], "only 1 expired");
        assert_eq!(locks.lock("G", "b", &[0], 90_000), [0; 0]);
        locks.unlock("G", "b", &[0]);
        assert_eq!(
            locks.lock("G", "b", &[0], 90_000),
            [0; 0],
            "not b's to unlock"
        );
        locks.unlock("G", "a", &[0]);
        assert_eq!(locks.lock("G", "b", &[0], 90_000), [0]);
        assert!(locks.holds_any("G", 150_000));
        assert!(!locks.holds_any("G", 150_001));
    }

    #[test]
    fn groups_that_do_not_come_back_are_forgotten() {
        let mut locks = QueueLocks::default();
        for n in 0..100 {
            locks.lock(&format!("G{n}"), "a", &[0], n);
        }
        locks.lock("later", "a", &[0], 2 * LOCK_LIVE_MS);
        assert_eq!(locks.groups.len(), 1);
    }
}
