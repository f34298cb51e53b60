//! `config/timercheck`: how far the timer is. Java: `TimerCheckpoint`
//!
//! | offset | field |
//! |---|---|
//! | 0 | every slot before this time is delivered 8, ms |
//! | 8 | the wheel has every unit before this position of the timer log 8 |
//! | 16, 24 | position in the timer topic's queue before which every message is in the timer log 8, twice |
//! | 32 | data version: state version 8, time 8, counter 8 |
//! | 56 | zeros up to 4096 |

use std::{io, path::Path};

use rocketry_protocol::body::DataVersion;

use crate::{FileSystem, fs::OpenMode, number::i64_at};

const FILE_BYTES: usize = 4096;
const FIELD_BYTES: usize = 56;

/// The fields of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TimerCheckpoint {
    /// Java: `lastReadTimeMs`.
    pub(super) read_ms: i64,
    /// Java: `lastTimerLogFlushPos`.
    pub(super) log_position: i64,
    /// Java: `lastTimerQueueOffset`.
    pub(super) queue_offset: i64,
    /// Java: `masterTimerQueueOffset`, which on one node is the same.
    pub(super) master_queue_offset: i64,
    pub(super) version: DataVersion,
}

impl TimerCheckpoint {
    /// Reads the file; `None` when it is absent, short or nonsensical.
    pub(super) fn read(fs: &dyn FileSystem, path: &Path) -> io::Result<Option<Self>> {
        let mut bytes = [0; FIELD_BYTES];
        let file = match fs.open(path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let field = |at| i64_at(&bytes, at).unwrap_or(-1);
        let found = Self {
            read_ms: field(0),
            log_position: field(8),
            queue_offset: field(16),
            master_queue_offset: field(24),
            version: DataVersion {
                state_version: field(32),
                timestamp: field(40),
                counter: field(48),
            },
        };
        let sane = found.read_ms > 0 && found.log_position >= 0 && found.queue_offset >= 0;
        Ok(sane.then_some(found))
    }

    /// Writes the file in place: the fields lie within one sector, which disks write whole.
    pub(super) fn write(&self, fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
        let dir = path.parent();
        if let Some(dir) = dir {
            fs.create_dir(dir)?;
        }
        let file = fs.open(path, OpenMode::Create)?;
        let is_new = file.length()? != FILE_BYTES as u64;
        if is_new {
            file.set_len(FILE_BYTES as u64)?;
        }
        let mut bytes = Vec::with_capacity(FIELD_BYTES);
        for field in [
            self.read_ms,
            self.log_position,
            self.queue_offset,
            self.master_queue_offset,
            self.version.state_version,
            self.version.timestamp,
            self.version.counter,
        ] {
            bytes.extend_from_slice(&field.to_be_bytes());
        }
        file.write_all_at(&bytes, 0)?;
        file.sync()?;
        match dir {
            Some(dir) if is_new => fs.sync_dir(dir),
            _ => Ok(()),
        }
    }
}
