//! `rocketry-queues.json`: where each consume queue began and ended when the store was last closed.
//!
//! A queue whose directory is gone, or that lost its first or last files, looks like one that never had them. With this table a start notices,
//! and derives the queue from the log again. Java does not know the file and leaves it alone; a table that is older than the queues is still
//! true, as queues only grow. A topic that is removed leaves it first; of one that Java removed, the log tells. A directory without the table
//! is one that Java left: its first start searches the log for queues without files, and the table, empty at first, is written when that has
//! been brought to disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::file::ConfigFile;
use crate::{FileSystem, Layout, StoreError};

/// Begin and end of queues, by topic and id.
pub(crate) type Ends = BTreeMap<String, BTreeMap<i32, Range>>;

/// Queue offsets of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Range {
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

/// The table of the last stop.
#[derive(Debug)]
pub(crate) struct QueueEnds {
    file: ConfigFile,
    found: Content,
    /// Whether the directory has the table.
    is_there: AtomicBool,
    /// Topics that were removed since.
    forgotten: Mutex<BTreeSet<String>>,
    writes: AtomicU64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Content {
    /// Start of the log, with which the queues begin.
    log_min: u64,
    queues: Ends,
}

impl QueueEnds {
    pub(super) fn open(
        fs: &Arc<dyn FileSystem>,
        layout: &Layout,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let (file, found) =
            ConfigFile::open::<Content>(fs, &layout.config(), "rocketry-queues.json", notes)?;
        Ok(Self {
            file,
            is_there: AtomicBool::new(found.is_some()),
            found: found.unwrap_or_default(),
            forgotten: Mutex::default(),
            writes: AtomicU64::new(0),
        })
    }

    /// Whether the directory has the table.
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Relaxed)
    }

    /// Writes the table where there is none yet. All consume queues of the log's messages must be on disk.
    pub(crate) fn mark(&self) -> Result<(), StoreError> {
        if self.is_there() {
            return Ok(());
        }
        self.write(Content::default)?;
        self.is_there.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes a topic out of the table, on disk as well: its queues are about to be removed, and none of the same names that it has later
    /// is to be taken for one of them.
    pub(crate) fn forget(&self, topic: &str) -> Result<(), StoreError> {
        let mut forgotten = self.forgotten.lock();
        if !self.found.queues.contains_key(topic) || !forgotten.insert(topic.to_owned()) {
            return Ok(());
        }
        let left = || {
            let queues = self.found.queues.iter();
            let left = queues.filter(|(topic, _)| !forgotten.contains(*topic));
            Content {
                log_min: self.found.log_min,
                queues: left
                    .map(|(name, ends)| (name.clone(), ends.clone()))
                    .collect(),
            }
        };
        let written = self.write(left);
        if written.is_err() {
            forgotten.remove(topic);
        }
        written
    }

    fn write(&self, content: impl FnOnce() -> Content) -> Result<(), StoreError> {
        let change = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        self.file.save(change, content)
    }

    /// The table as found.
    pub(crate) const fn found(&self) -> &Ends {
        &self.found.queues
    }

    /// Where a queue ended.
    pub(crate) fn end(&self, topic: &str, queue_id: i32) -> Option<u64> {
        Some(self.found.queues.get(topic)?.get(&queue_id)?.end)
    }

    /// Where a queue began, if the log began at `log_min` then.
    pub(crate) fn begin(&self, topic: &str, queue_id: i32, log_min: u64) -> Option<u64> {
        let range = self.found.queues.get(topic)?.get(&queue_id)?;
        (self.found.log_min == log_min).then_some(range.begin)
    }

    /// Writes the table of a store that is being closed, if it is another.
    pub(crate) fn save(&self, log_min: u64, queues: Ends) -> Result<(), StoreError> {
        let now = Content { log_min, queues };
        if now == self.found && self.is_there() && self.forgotten.lock().is_empty() {
            return Ok(());
        }
        self.write(|| now)
    }
}
