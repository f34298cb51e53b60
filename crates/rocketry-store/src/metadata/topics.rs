//! `topics.json`. Java: `TopicConfigManager`.

use std::{
    borrow::Borrow,
    collections::HashSet,
    hash::{Hash, Hasher},
    sync::Arc,
};

use parking_lot::RwLock;
use rocketry_protocol::body::{
    DataVersion,
    topics::{TopicConfig, TopicConfigSerializeWrapper},
};

use super::file::ConfigFile;
use crate::{FileSystem, Layout, StoreError};

/// The topics of a broker.
#[derive(Debug)]
pub struct Topics {
    file: ConfigFile,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    version: DataVersion,
    topics: HashSet<Named>,
    changes: u64,
}

/// Settings that are found by the name in them: a message's topic is looked up with each message, and another copy of its name would be
/// another place in memory to go to.
#[derive(Debug)]
struct Named(Arc<TopicConfig>);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        &self.0.topic_name
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.topic_name.hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.topic_name == other.0.topic_name
    }
}

impl Eq for Named {}

impl Topics {
    pub(super) fn open(
        fs: &Arc<dyn FileSystem>,
        layout: &Layout,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let (file, found) = ConfigFile::open::<TopicConfigSerializeWrapper>(
            fs,
            &layout.config(),
            "topics.json",
            notes,
        )?;
        let found = found.unwrap_or_default();
        let topics = found
            .topic_config_table
            .into_iter()
            .map(|(name, mut config)| {
                config.topic_name = name;
                Named(Arc::new(config))
            })
            .collect();
        Ok(Self {
            file,
            table: RwLock::new(Table {
                version: found.data_version,
                topics,
                changes: 0,
            }),
        })
    }

    /// The settings of a topic.
    pub fn get(&self, topic: &str) -> Option<Arc<TopicConfig>> {
        let table = self.table.read();
        table.topics.get(topic).map(|found| Arc::clone(&found.0))
    }

    /// All topics, in no particular order.
    pub fn all(&self) -> Vec<Arc<TopicConfig>> {
        let table = self.table.read();
        table
            .topics
            .iter()
            .map(|found| Arc::clone(&found.0))
            .collect()
    }

    /// Number of topics.
    pub fn count(&self) -> usize {
        self.table.read().topics.len()
    }

    /// Version of the table, which steps at every change.
    pub fn data_version(&self) -> DataVersion {
        self.table.read().version
    }

    /// Steps the version although no topic changed: what name servers know of them has to change all the same.
    pub fn step_version(&self, now_ms: i64) {
        let mut table = self.table.write();
        table.version = table.version.next(now_ms);
        table.changes += 1;
    }

    /// Adds a topic or replaces its settings. Call [`Topics::persist`] to write it.
    pub fn put(&self, config: TopicConfig, now_ms: i64) {
        let mut table = self.table.write();
        table.topics.replace(Named(Arc::new(config)));
        table.version = table.version.next(now_ms);
        table.changes += 1;
    }

    /// Adds a topic unless there is one of its name; returns the settings that count, and whether they are new.
    pub fn put_if_absent(&self, config: TopicConfig, now_ms: i64) -> (Arc<TopicConfig>, bool) {
        let mut table = self.table.write();
        if let Some(found) = table.topics.get(config.topic_name.as_str()) {
            return (Arc::clone(&found.0), false);
        }
        let config = Arc::new(config);
        table.topics.insert(Named(Arc::clone(&config)));
        table.version = table.version.next(now_ms);
        table.changes += 1;
        (config, true)
    }

    /// Removes a topic; returns its settings.
    pub fn remove(&self, topic: &str, now_ms: i64) -> Option<Arc<TopicConfig>> {
        let mut table = self.table.write();
        let Named(removed) = table.topics.take(topic)?;
        table.version = table.version.next(now_ms);
        table.changes += 1;
        Some(removed)
    }

    /// The whole table, as the file and replies have it.
    pub fn snapshot(&self) -> TopicConfigSerializeWrapper {
        let table = self.table.read();
        TopicConfigSerializeWrapper {
            data_version: table.version,
            topic_config_table: table
                .topics
                .iter()
                .map(|Named(config)| (config.topic_name.clone(), TopicConfig::clone(config)))
                .collect(),
        }
    }

    /// Writes the file if the table changed. Syncs: a file system call or two.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn persist(&self) -> Result<(), StoreError> {
        let changes = self.table.read().changes;
        self.file.save(changes, || self.snapshot())
    }
}
