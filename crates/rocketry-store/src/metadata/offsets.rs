//! `consumerOffset.json`: how far each group has come. Java: `ConsumerOffsetManager`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::RwLock;
use rocketry_protocol::body::{DataVersion, offsets::ConsumerOffsetSerializeWrapper};

use super::{SyncLog, file::ConfigFile};
use crate::{FileSystem, Layout, StoreError};

/// Commits between two steps of the version. Java: `consumerOffsetUpdateVersionStep`
const VERSION_STEP: u64 = 500;

/// Offsets by topic and queue of one group.
type GroupOffsets = HashMap<Box<str>, BTreeMap<i32, i64>>;

/// The offsets of all groups: the next message each will consume.
#[derive(Debug)]
pub struct ConsumerOffsets {
    file: ConfigFile,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    version: DataVersion,
    groups: HashMap<Box<str>, GroupOffsets>,
    changes: u64,
}

impl ConsumerOffsets {
    pub(super) fn open(
        fs: &Arc<dyn FileSystem>,
        layout: &Layout,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let (file, found) = ConfigFile::open::<ConsumerOffsetSerializeWrapper>(
            fs,
            &layout.config(),
            "consumerOffset.json",
            notes,
        )?;
        let found = found.unwrap_or_default();
        let mut groups: HashMap<Box<str>, GroupOffsets> = HashMap::new();
        for (key, queues) in found.offset_table {
            if let Some((topic, group)) = key.split_once('@') {
                groups
                    .entry(group.into())
                    .or_default()
                    .insert(topic.into(), queues);
            } else {
                notes.push(format!(
                    "config/consumerOffset.json: {key:?} is no topic@group and was left out"
                ));
            }
        }
        Ok(Self {
            file,
            table: RwLock::new(Table {
                version: found.data_version.unwrap_or_default(),
                groups,
                changes: 0,
            }),
        })
    }

    /// The offset of a group in a queue.
    pub fn get(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        let table = self.table.read();
        table.groups.get(group)?.get(topic)?.get(&queue_id).copied()
    }

    /// The offsets of a group in all queues of a topic, by queue id.
    pub fn of_topic(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let table = self.table.read();
        let topics = table.groups.get(group);
        topics
            .and_then(|topics| topics.get(topic))
            .cloned()
            .unwrap_or_default()
    }

    /// Sets the offset of a group in a queue; going back is allowed. `now_ms` goes into the version every 500 commits.
    pub fn set(&self, group: &str, topic: &str, queue_id: i32, offset: i64, now_ms: i64) {
        let mut table = self.table.write();
        let known = table
            .groups
            .get_mut(group)
            .and_then(|topics| topics.get_mut(topic));
        let before = match known {
            Some(queues) => queues.insert(queue_id, offset),
            None => table
                .groups
                .entry(group.into())
                .or_default()
                .entry(topic.into())
                .or_default()
                .insert(queue_id, offset),
        };
        if before == Some(offset) {
            return;
        }
        table.changes += 1;
        if table.changes.is_multiple_of(VERSION_STEP) {
            table.version = table.version.next(now_ms);
        }
    }

    /// The topics that a group has offsets of.
    pub fn topics_of(&self, group: &str) -> Vec<String> {
        let table = self.table.read();
        let topics = table.groups.get(group);
        topics.map_or_else(Vec::new, |topics| {
            topics.keys().map(|topic| String::from(&**topic)).collect()
        })
    }

    /// The groups that have offsets of a topic.
    pub fn groups_of(&self, topic: &str) -> Vec<String> {
        let table = self.table.read();
        let groups = table.groups.iter();
        groups
            .filter(|(_, topics)| topics.contains_key(topic))
            .map(|(group, _)| String::from(&**group))
            .collect()
    }

    /// Forgets all offsets of a group.
    pub fn remove_group(&self, group: &str) {
        let mut table = self.table.write();
        if table.groups.remove(group).is_some() {
            table.changes += 1;
        }
    }

    /// Forgets all offsets of a topic.
    pub fn remove_topic(&self, topic: &str) {
        let mut table = self.table.write();
        let mut removed = false;
        for topics in table.groups.values_mut() {
            removed |= topics.remove(topic).is_some();
        }
        table.groups.retain(|_, topics| !topics.is_empty());
        table.changes += u64::from(removed);
    }

    /// The whole table, as the file and replies have it.
    pub fn snapshot(&self) -> ConsumerOffsetSerializeWrapper {
        let table = self.table.read();
        let offset_table = table
            .groups
            .iter()
            .flat_map(|(group, topics)| {
                topics
                    .iter()
                    .map(move |(topic, queues)| (format!("{topic}@{group}"), queues.clone()))
            })
            .collect();
        ConsumerOffsetSerializeWrapper {
            data_version: Some(table.version),
            offset_table,
        }
    }

    /// Writes the file if the table changed. Java does so every 5 s and at the stop.
    ///
    /// # Errors
    /// The file could not be written.
    pub(crate) fn persist_after(&self, sync_log: &SyncLog<'_>) -> Result<(), StoreError> {
        let changes = self.table.read().changes;
        self.file.save_after(changes, || self.snapshot(), sync_log)
    }
}
