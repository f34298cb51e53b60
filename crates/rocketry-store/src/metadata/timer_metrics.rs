//! `timermetrics`: how many messages of each topic wait for their time. Java: `TimerMetrics`

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use rocketry_protocol::body::DataVersion;
use serde::{Deserialize, Serialize};

use super::file::ConfigFile;
use crate::{FileSystem, Layout, StoreError};

/// Counts of waiting messages by the topic they are for.
#[derive(Debug)]
pub struct TimerMetrics {
    file: ConfigFile,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    counts: TimerCounts,
    changes: u64,
}

/// The content of the file, and of the reply to `GET_TIMER_METRICS`. Java: `TimerMetrics.TimerMetricsSerializeWrapper`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimerCounts {
    /// Changes with every count.
    pub data_version: DataVersion,
    /// By topic.
    pub timing_count: BTreeMap<String, TimerCount>,
}

/// One topic's count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimerCount {
    /// Messages that wait.
    pub count: i64,
    /// When it changed, ms since 1970.
    pub time_stamp: i64,
}

impl TimerMetrics {
    pub(super) fn open(
        fs: &Arc<dyn FileSystem>,
        layout: &Layout,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let (file, found) = ConfigFile::open(fs, &layout.config(), "timermetrics", notes)?;
        Ok(Self {
            file,
            table: RwLock::new(Table {
                counts: found.unwrap_or_default(),
                changes: 0,
            }),
        })
    }

    /// Adds to the count of a topic.
    pub(crate) fn add(&self, topic: &str, messages: i64, now_ms: i64) {
        let mut table = self.table.write();
        table.changes += 1;
        table.counts.data_version = table.counts.data_version.next(now_ms);
        if !table.counts.timing_count.contains_key(topic) {
            let none = TimerCount::default();
            table.counts.timing_count.insert(topic.to_owned(), none);
        }
        if let Some(count) = table.counts.timing_count.get_mut(topic) {
            count.count += messages;
            count.time_stamp = now_ms;
        }
    }

    /// Forgets all counts: they are counted anew.
    pub(crate) fn clear(&self) {
        let mut table = self.table.write();
        table.changes += 1;
        table.counts.timing_count.clear();
    }

    /// Messages that wait for a topic.
    pub fn count(&self, topic: &str) -> i64 {
        let table = self.table.read();
        table
            .counts
            .timing_count
            .get(topic)
            .map_or(0, |count| count.count)
    }

    /// All counts, as the file and replies have them.
    pub fn snapshot(&self) -> TimerCounts {
        self.table.read().counts.clone()
    }

    /// Forgets a topic, which was deleted.
    pub fn remove(&self, topic: &str) {
        let mut table = self.table.write();
        if table.counts.timing_count.remove(topic).is_some() {
            table.changes += 1;
        }
    }

    /// Writes the file if a count changed.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn persist(&self) -> Result<(), StoreError> {
        let changes = self.table.read().changes;
        self.file.save(changes, || self.snapshot())
    }
}
