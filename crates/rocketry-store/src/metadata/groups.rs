//! `subscriptionGroup.json`. Java: `SubscriptionGroupManager`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::RwLock;
use rocketry_protocol::body::{
    DataVersion,
    groups::{SubscriptionGroupConfig, SubscriptionGroupWrapper},
};

use super::file::ConfigFile;
use crate::{FileSystem, Layout, StoreError};

/// The consumer groups of a broker, and what they are forbidden.
#[derive(Debug)]
pub struct Groups {
    file: ConfigFile,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    version: DataVersion,
    groups: HashMap<String, Arc<SubscriptionGroupConfig>>,
    forbidden: BTreeMap<String, BTreeMap<String, i32>>,
    changes: u64,
}

impl Table {
    fn changed(&mut self, now_ms: i64) {
        self.version = self.version.next(now_ms);
        self.changes += 1;
    }
}

impl Groups {
    pub(super) fn open(
        fs: &Arc<dyn FileSystem>,
        layout: &Layout,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let (file, found) = ConfigFile::open::<SubscriptionGroupWrapper>(
            fs,
            &layout.config(),
            "subscriptionGroup.json",
            notes,
        )?;
        let found = found.unwrap_or_default();
        let groups = found
            .subscription_group_table
            .into_iter()
            .map(|(name, mut config)| {
                config.group_name.clone_from(&name);
                (name, Arc::new(config))
            })
            .collect();
        Ok(Self {
            file,
            table: RwLock::new(Table {
                version: found.data_version,
                groups,
                forbidden: found.forbidden_table,
                changes: 0,
            }),
        })
    }

    /// The settings of a group.
    pub fn get(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        self.table.read().groups.get(group).cloned()
    }

    /// All groups, in no particular order.
    pub fn all(&self) -> Vec<Arc<SubscriptionGroupConfig>> {
        self.table.read().groups.values().cloned().collect()
    }

    /// Version of the table, which steps at every change.
    pub fn data_version(&self) -> DataVersion {
        self.table.read().version
    }

    /// Adds a group or replaces its settings. Call [`Groups::persist`] to write it.
    pub fn put(&self, config: SubscriptionGroupConfig, now_ms: i64) {
        let mut table = self.table.write();
        table
            .groups
            .insert(config.group_name.clone(), Arc::new(config));
        table.changed(now_ms);
    }

    /// Adds a group unless there is one of its name; returns the settings that count, and whether they are new.
    pub fn put_if_absent(
        &self,
        config: SubscriptionGroupConfig,
        now_ms: i64,
    ) -> (Arc<SubscriptionGroupConfig>, bool) {
        let mut table = self.table.write();
        if let Some(found) = table.groups.get(&config.group_name) {
            return (Arc::clone(found), false);
        }
        let config = Arc::new(config);
        table
            .groups
            .insert(config.group_name.clone(), Arc::clone(&config));
        table.changed(now_ms);
        (config, true)
    }

    /// Removes a group and what it is forbidden; returns its settings.
    pub fn remove(&self, group: &str, now_ms: i64) -> Option<Arc<SubscriptionGroupConfig>> {
        let mut table = self.table.write();
        let removed = table.groups.remove(group)?;
        table.forbidden.remove(group);
        table.changed(now_ms);
        Some(removed)
    }

    /// The operations that a group may not do on a topic, as bits; bit 2 is reading.
    pub fn forbidden(&self, group: &str, topic: &str) -> i32 {
        let table = self.table.read();
        let topics = table.forbidden.get(group);
        topics
            .and_then(|topics| topics.get(topic))
            .copied()
            .unwrap_or(0)
    }

    /// Sets the operations that a group may not do on a topic; none removes the entry.
    pub fn set_forbidden(&self, group: &str, topic: &str, bits: i32, now_ms: i64) {
        let mut table = self.table.write();
        if bits == 0 {
            if let Some(topics) = table.forbidden.get_mut(group) {
                topics.remove(topic);
                if topics.is_empty() {
                    table.forbidden.remove(group);
                }
            }
        } else {
            table
                .forbidden
                .entry(group.to_owned())
                .or_default()
                .insert(topic.to_owned(), bits);
        }
        table.changed(now_ms);
    }

    /// The whole table, as the file and replies have it.
    pub fn snapshot(&self) -> SubscriptionGroupWrapper {
        let table = self.table.read();
        SubscriptionGroupWrapper {
            data_version: table.version,
            forbidden_table: table.forbidden.clone(),
            subscription_group_table: table
                .groups
                .iter()
                .map(|(name, config)| (name.clone(), SubscriptionGroupConfig::clone(config)))
                .collect(),
        }
    }

    /// Writes the file if the table changed.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn persist(&self) -> Result<(), StoreError> {
        let changes = self.table.read().changes;
        self.file.save(changes, || self.snapshot())
    }
}
