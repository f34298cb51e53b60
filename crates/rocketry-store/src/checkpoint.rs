//! The checkpoint file: what is known to be on disk. Java: `StoreCheckpoint`.
//!
//! | offset | field |
//! |---|---|
//! | 0 | store time of the newest synced message |
//! | 8 | store time of the newest message whose consume-queue unit is synced |
//! | 16 | store time of the newest message in a synced index file |
//! | 24 | master flushed offset (replication; kept) |
//! | 32 | confirm offset: start of the last valid record at the last recovery; while derived files are built, the promised end of the log |
//! | 40 | log offset of the newest message whose consume-queue unit is synced |
//! | 48 | zeros up to 4096 |

use std::{io, path::Path};

use crate::{
    StoreError,
    fs::{FileSystem, OpenMode},
    number::{i64_at, signed},
};

const FILE_BYTES: usize = 4096;
const FIELD_BYTES: usize = 48;

/// The fields of the file. Zero means unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Store time of the newest synced message, ms. Java: `physicMsgTimestamp`.
    pub(crate) log_ms: i64,
    /// Store time of the newest message whose consume-queue unit is synced, ms. Java: `logicsMsgTimestamp`.
    pub(crate) queues_ms: i64,
    /// Store time of the newest message in a synced index file, ms. Java: `indexMsgTimestamp`.
    pub(crate) index_ms: i64,
    /// Replication's business; kept as found. Java: `masterFlushedOffset`.
    pub(crate) master_flushed_offset: i64,
    /// Start of the last valid record at the last recovery. Java: `confirmPhyOffset`.
    pub(crate) confirm_offset: i64,
    /// Log offset of the newest message such that the consume-queue units of it and of all before it are synced.
    /// Java: `logicsPhysicalOffset`.
    pub(crate) queues_log_offset: i64,
}

impl Checkpoint {
    /// Whether it says anything about the consume queues.
    pub(crate) const fn knows_queues(&self) -> bool {
        self.queues_ms > 0 || self.queues_log_offset > 0
    }

    /// What holds while derived files are built anew: nothing is known of them, so that a start after a crash meanwhile reads the whole
    /// log again. `promised_end` is the end that the log had when it was closed, if that is known; it takes the place of the confirm offset.
    pub(crate) fn rebuilding(self, promised_end: Option<u64>) -> Self {
        Self {
            queues_ms: 0,
            index_ms: 0,
            queues_log_offset: 0,
            confirm_offset: promised_end.map_or(self.confirm_offset, signed),
            ..self
        }
    }

    /// Reads the file. An absent, short or nonsensical one proves nothing: all zeros, and `false`.
    pub(crate) fn read(fs: &dyn FileSystem, path: &Path) -> Result<(Self, bool), StoreError> {
        let file = match fs.open(path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self::default(), false));
            }
            Err(error) => return Err(StoreError::io("open", path)(error)),
        };
        let mut bytes = [0; FIELD_BYTES];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok((Self::default(), false));
            }
            Err(error) => return Err(StoreError::io("read", path)(error)),
        }
        let field = |at| i64_at(&bytes, at).unwrap_or(0);
        let found = Self {
            log_ms: field(0),
            queues_ms: field(8),
            index_ms: field(16),
            master_flushed_offset: field(24),
            confirm_offset: field(32),
            queues_log_offset: field(40),
        };
        let sane = [
            found.log_ms,
            found.queues_ms,
            found.index_ms,
            found.queues_log_offset,
        ]
        .iter()
        .all(|value| *value >= 0);
        Ok(if sane {
            (found, true)
        } else {
            (Self::default(), false)
        })
    }

    /// Writes the file in place: the fields lie within one sector, which disks write whole.
    pub(crate) fn write(&self, fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
        let file = fs.open(path, OpenMode::Create)?;
        let is_new = file.length()? != FILE_BYTES as u64;
        if is_new {
            file.set_len(FILE_BYTES as u64)?;
        }
        let mut bytes = [0; FIELD_BYTES];
        let fields = [
            self.log_ms,
            self.queues_ms,
            self.index_ms,
            self.master_flushed_offset,
            self.confirm_offset,
            self.queues_log_offset,
        ];
        for (place, field) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(fields) {
            *place = field.to_be_bytes();
        }
        file.write_all_at(&bytes, 0)?;
        file.sync()?;
        match path.parent() {
            Some(dir) if is_new => fs.sync_dir(dir),
            _ => Ok(()),
        }
    }
}
