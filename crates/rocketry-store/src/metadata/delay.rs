//! `delayOffset.json`: how far each delay level has been delivered. Java: `ScheduleMessageService`.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use rocketry_protocol::body::{DataVersion, offsets::DelayOffsetSerializeWrapper};

use super::{SyncLog, file::ConfigFile};
use crate::{FileSystem, Layout, StoreError};

/// Updates between two steps of the version. Java: `delayOffsetUpdateVersionStep`
const VERSION_STEP: u64 = 200;

/// The next offset to deliver of each delay level.
#[derive(Debug)]
pub struct DelayOffsets {
    file: ConfigFile,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    version: DataVersion,
    levels: BTreeMap<i32, i64>,
    changes: u64,
}

impl DelayOffsets {
    pub(super) fn open(
        fs: &Arc<dyn FileSystem>,
        layout: &Layout,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let (file, found) = ConfigFile::open::<DelayOffsetSerializeWrapper>(
            fs,
            &layout.config(),
            "delayOffset.json",
            notes,
        )?;
        let found = found.unwrap_or_default();
        Ok(Self {
            file,
            table: RwLock::new(Table {
                version: found.data_version.unwrap_or_default(),
                levels: found.offset_table,
                changes: 0,
            }),
        })
    }

    /// The next offset of a level, counted from 1; its queue id is the level less 1.
    pub fn get(&self, level: i32) -> Option<i64> {
        self.table.read().levels.get(&level).copied()
    }

    /// Sets the next offset of a level.
    pub fn set(&self, level: i32, offset: i64, now_ms: i64) {
        let mut table = self.table.write();
        if table.levels.insert(level, offset) == Some(offset) {
            return;
        }
        table.changes += 1;
        if table.changes.is_multiple_of(VERSION_STEP) {
            table.version = table.version.next(now_ms);
        }
    }

    /// The whole table, as the file and replies have it.
    pub fn snapshot(&self) -> DelayOffsetSerializeWrapper {
        let table = self.table.read();
        DelayOffsetSerializeWrapper {
            data_version: Some(table.version),
            offset_table: table.levels.clone(),
        }
    }

    /// Writes the file if the table changed.
    ///
    /// # Errors
    /// The file could not be written.
    pub(crate) fn persist_after(&self, sync_log: &SyncLog<'_>) -> Result<(), StoreError> {
        let changes = self.table.read().changes;
        self.file.save_after(changes, || self.snapshot(), sync_log)
    }
}
