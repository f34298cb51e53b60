//! How far each consumer group has come: the store's table of committed offsets, and beside it, in memory only, what was pulled and
//! which resets wait for a client.
//!
//! Java: `ConsumerOffsetManager`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::RwLock;
use rocketry_store::{Metadata, metadata::ConsumerOffsets};

/// group -> topic -> queue -> offset
type ByGroup = HashMap<String, HashMap<String, BTreeMap<i32, i64>>>;

/// All consumer offsets.
#[derive(Debug)]
pub(crate) struct Offsets {
    metadata: Arc<Metadata>,
    volatile: RwLock<Volatile>,
}

#[derive(Debug, Default)]
struct Volatile {
    pulled: ByGroup,
    resets: ByGroup,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    Done,
    /// A reset that the client has not seen yet is in the way.
    Reset,
}

impl Offsets {
    pub(crate) fn new(metadata: Arc<Metadata>) -> Self {
        Self {
            metadata,
            volatile: RwLock::default(),
        }
    }

    /// The committed offsets.
    pub(crate) fn committed(&self) -> &ConsumerOffsets {
        &self.metadata.consumer_offsets
    }

    /// The offset to go on from: a pending reset, else what was committed.
    pub(crate) fn query(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        find(&self.volatile.read().resets, group, topic, queue_id)
            .or_else(|| self.committed().get(group, topic, queue_id))
    }

    /// How far the group has pulled.
    pub(crate) fn pulled(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        find(&self.volatile.read().pulled, group, topic, queue_id)
    }

    /// Commits an offset, also a smaller one than before, as Java does.
    pub(crate) fn commit(
        &self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
        now_ms: i64,
    ) -> Commit {
        // Held while the offset is set, so that a reset cannot come in between and be lost.
        let volatile = self.volatile.read();
        if find(&volatile.resets, group, topic, queue_id).is_some() {
            return Commit::Reset;
        }
        self.committed().set(group, topic, queue_id, offset, now_ms);
        Commit::Done
    }

    /// Commits where a pop goes on, unless something else became of the group's place in the queue since the pop found it at `from`: the
    /// topic or the group may have been deleted while what was taken was noted.
    pub(crate) fn commit_from(
        &self,
        from: Option<i64>,
        (group, topic, queue_id): (&str, &str, i32),
        offset: i64,
        now_ms: i64,
    ) {
        // As in `commit`; and a topic leaves the table of topics before this one.
        let volatile = self.volatile.read();
        let is_as_found = self.committed().get(group, topic, queue_id) == from
            && find(&volatile.resets, group, topic, queue_id).is_none();
        if is_as_found && self.metadata.topics.get(topic).is_some() {
            self.committed().set(group, topic, queue_id, offset, now_ms);
        }
    }

    pub(crate) fn note_pulled(&self, group: &str, topic: &str, queue_id: i32, next_offset: i64) {
        let mut volatile = self.volatile.write();
        set(&mut volatile.pulled, group, topic, queue_id, next_offset);
    }

    /// Makes the group go on from `offset`; commits are ignored until a client has been told.
    pub(crate) fn reset(&self, group: &str, topic: &str, queue_id: i32, offset: i64, now_ms: i64) {
        let mut volatile = self.volatile.write();
        set(&mut volatile.resets, group, topic, queue_id, offset);
        self.committed().set(group, topic, queue_id, offset, now_ms);
    }

    /// Takes a pending reset, which the answer to a pull tells the client.
    pub(crate) fn take_reset(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        find(&self.volatile.read().resets, group, topic, queue_id)?;
        let mut volatile = self.volatile.write();
        let topics = volatile.resets.get_mut(group)?;
        let queues = topics.get_mut(topic)?;
        let offset = queues.remove(&queue_id);
        if queues.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            volatile.resets.remove(group);
        }
        offset
    }

    /// Forgets a deleted topic.
    pub(crate) fn remove_topic(&self, topic: &str) {
        let mut volatile = self.volatile.write();
        let Volatile { pulled, resets } = &mut *volatile;
        for by_group in [pulled, resets] {
            by_group.retain(|_, topics| {
                topics.remove(topic);
                !topics.is_empty()
            });
        }
        self.committed().remove_topic(topic);
        let pops = &self.metadata.ordered_pops;
        pops.retain(|of_topic, _, _, _| of_topic != topic);
    }

    /// Forgets a deleted group.
    pub(crate) fn remove_group(&self, group: &str) {
        let mut volatile = self.volatile.write();
        volatile.pulled.remove(group);
        volatile.resets.remove(group);
        self.committed().remove_group(group);
        let pops = &self.metadata.ordered_pops;
        pops.retain(|_, of_group, _, _| of_group != group);
    }
}

fn find(by_group: &ByGroup, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
    by_group.get(group)?.get(topic)?.get(&queue_id).copied()
}

fn set(by_group: &mut ByGroup, group: &str, topic: &str, queue_id: i32, offset: i64) {
    if let Some(queues) = by_group
        .get_mut(group)
        .and_then(|topics| topics.get_mut(topic))
    {
        queues.insert(queue_id, offset);
        return;
    }
    by_group
        .entry(group.to_owned())
        .or_default()
        .entry(topic.to_owned())
        .or_default()
        .insert(queue_id, offset);
}

#[cfg(test)]
mod tests {
    use rocketry_protocol::body::topics::TopicConfig;
    use rocketry_store::{Store, StoreOptions};

    use super::*;

    fn with_offsets(test: impl FnOnce(&Offsets)) {
        let dir = tempfile::tempdir().unwrap();
        let (_writer, reader, _) = Store::open(dir.path(), StoreOptions::default(), 0).unwrap();
        test(&Offsets::new(Arc::clone(reader.metadata())));
    }

    /// S-064 for the table: a reset wins over commits until a pull has taken it.
    #[test]
    fn s064_a_reset_wins_until_it_is_taken() {
        with_offsets(|offsets| {
            offsets.commit("G", "T", 0, 10, 1);
            offsets.commit("G", "T", 0, 5, 1);
            assert_eq!(offsets.query("G", "T", 0), Some(5));
            offsets.reset("G", "T", 0, 3, 1);
            assert_eq!(offsets.commit("G", "T", 0, 11, 1), Commit::Reset);
            assert_eq!(offsets.query("G", "T", 0), Some(3));
            assert_eq!(offsets.take_reset("G", "T", 0), Some(3));
            assert_eq!(offsets.take_reset("G", "T", 0), None);
            assert_eq!(offsets.query("G", "T", 0), Some(3));
            assert_eq!(offsets.commit("G", "T", 0, 4, 1), Commit::Done);
        });
    }

    /// A pop that was under way brings back no offset of what was deleted meanwhile, also when it is there again.
    #[test]
    fn a_pop_commits_only_from_where_it_found_the_group() {
        with_offsets(|offsets| {
            let place = ("G", "T", 0);
            let committed = || offsets.query("G", "T", 0);
            let topics = &offsets.metadata.topics;
            offsets.commit_from(None, place, 5, 1);
            assert_eq!(committed(), None, "there is no such topic");
            topics.put(TopicConfig::new("T", 1), 1);
            offsets.commit_from(None, place, 5, 1);
            offsets.commit_from(Some(5), place, 9, 1);
            assert_eq!(committed(), Some(9));

            topics.remove("T", 1);
            offsets.remove_topic("T");
            offsets.commit_from(Some(9), place, 12, 1);
            topics.put(TopicConfig::new("T", 1), 1);
            offsets.commit_from(Some(9), place, 12, 1);
            assert_eq!(committed(), None, "this T had no pop");

            offsets.commit_from(None, place, 5, 1);
            offsets.remove_group("G");
            offsets.commit_from(Some(5), place, 9, 1);
            assert_eq!(committed(), None);

            offsets.reset("G", "T", 0, 3, 1);
            offsets.commit_from(Some(3), place, 9, 1);
            assert_eq!(committed(), Some(3), "not before a pop has seen it");
        });
    }

    #[test]
    fn deleted_topics_and_groups_are_forgotten() {
        with_offsets(|offsets| {
            offsets.commit("G", "T", 0, 1, 1);
            offsets.commit("H", "U", 0, 3, 1);
            offsets.note_pulled("H", "U", 0, 9);
            offsets.note_pulled("G", "T", 0, 9);
            offsets.remove_topic("T");
            assert_eq!(
                (offsets.query("G", "T", 0), offsets.pulled("G", "T", 0)),
                (None, None)
            );
            assert_eq!(offsets.pulled("H", "U", 0), Some(9));
            offsets.remove_group("H");
            assert_eq!(
                (offsets.query("H", "U", 0), offsets.pulled("H", "U", 0)),
                (None, None)
            );
        });
    }
}
