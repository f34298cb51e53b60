//! `rocketry-index.json`: what each index file held when the store was last closed.
//!
//! An index file that is gone, or whose content is another, looks like one whose messages have no such keys. With this table a start
//! notices, and builds it again. Java does not know the file and leaves it alone; a table that is older than the index is still true,
//! as files only grow.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::file::ConfigFile;
use crate::{FileSystem, Layout, StoreError};

/// What index files held, by name.
pub(crate) type IndexSums = BTreeMap<String, IndexSum>;

/// Header and check sums of one file that has keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct IndexSum {
    pub(crate) begin_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) begin_offset: i64,
    pub(crate) end_offset: i64,
    /// The next free unit, as in the header.
    pub(crate) count: u32,
    /// See [`Digest`](crate::index::Digest).
    pub(crate) units: u32,
    /// See [`Digest`](crate::index::Digest).
    pub(crate) slots: u64,
}

/// The table of the last stop.
#[derive(Debug)]
pub(crate) struct IndexTable {
    file: ConfigFile,
    found: IndexState,
    saved: Mutex<Saved>,
}

/// What the file has by now, if it was written.
#[derive(Debug, Default)]
struct Saved {
    change: u64,
    content: Option<IndexState>,
}

/// The index as a clean stop left it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct IndexState {
    /// Hash slots of each file.
    pub(crate) slots: u32,
    /// Units of each file, the first, unused one included.
    pub(crate) units: u32,
    pub(crate) files: IndexSums,
}

impl IndexTable {
    pub(super) fn open(
        fs: &Arc<dyn FileSystem>,
        layout: &Layout,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let (file, found) =
            ConfigFile::open::<IndexState>(fs, &layout.config(), "rocketry-index.json", notes)?;
        Ok(Self {
            file,
            found: found.unwrap_or_default(),
            saved: Mutex::default(),
        })
    }

    /// The table as found.
    pub(crate) const fn found(&self) -> &IndexState {
        &self.found
    }

    /// Writes the table, if it is another: when the store is closed, and when a start removed files that it knows.
    pub(crate) fn save(&self, now: IndexState) -> Result<(), StoreError> {
        let mut saved = self.saved.lock();
        if *saved.content.as_ref().unwrap_or(&self.found) == now {
            return Ok(());
        }
        saved.change += 1;
        self.file.save(saved.change, || &now)?;
        saved.content = Some(now);
        Ok(())
    }
}
