//! Records that the disk refuses: one bad place must not hold up all that comes later, nor repeat what has gone out.

use std::io::ErrorKind;

use bytes::Bytes;
use rustix::io::Errno;

use super::{Timers, log::Unit};
use crate::ReadError;

/// Failed reads of one record after which it is left out.
const MAX_FAILED_READS: u32 = 3;

impl Timers {
    /// The next messages could not be read: they are taken one by one, and the one that it is about is left out if that goes on.
    pub(super) fn cannot_take(
        &mut self,
        error: ReadError,
        max_messages: usize,
    ) -> Result<usize, ReadError> {
        if self.queue_offset >= self.alone_until {
            let together = i64::try_from(max_messages).unwrap_or(i64::MAX);
            self.alone_until = self.queue_offset.saturating_add(together);
            return Err(error);
        }
        // a queue file is derived: a start repairs it
        if is_shortage(&error) || error.what != "commit log" {
            return Err(error);
        }
        self.failed_takes += 1;
        if self.failed_takes < MAX_FAILED_READS {
            return Err(error);
        }
        tracing::error!(
            queue_offset = self.queue_offset,
            %error,
            "a timed message is not delivered; it stays in the log"
        );
        self.failed_takes = 0;
        self.go_on_at(self.queue_offset + 1);
        self.end_rebuild();
        Ok(1)
    }

    /// What reading the record of a unit gave. An error that keeps coming becomes `None`, so that one bad place of the disk does not
    /// hold up all that comes later.
    pub(super) fn unless_lost(
        &mut self,
        unit: &Unit,
        read: Result<Option<Bytes>, ReadError>,
    ) -> Result<Option<Bytes>, ReadError> {
        let (log_offset, slot_ms) = (unit.log_offset, unit.slot_ms());
        let is_recall = unit.deletes;
        match read {
            Ok(None) if log_offset >= self.reader.min_log_offset() => {
                tracing::warn!(
                    log_offset,
                    slot_ms,
                    is_recall,
                    "the timer log names a message that the commit log does not have; it is left out"
                );
                Ok(None)
            }
            Err(error) if !is_shortage(&error) => {
                let failed = self.failed_reads.entry(log_offset).or_default();
                *failed = failed.saturating_add(1);
                if *failed < MAX_FAILED_READS {
                    return Err(error);
                }
                if *failed == MAX_FAILED_READS {
                    let lost = if is_recall {
                        "a recall is without effect: the message it names is delivered"
                    } else {
                        "a timed message is not delivered; it stays in the log"
                    };
                    tracing::error!(log_offset, slot_ms, %error, "{lost}");
                }
                Ok(None)
            }
            read => read,
        }
    }
}

/// Whether a read failed for want of something that comes back, and not because of what was read.
fn is_shortage(error: &ReadError) -> bool {
    matches!(
        error.source.kind(),
        ErrorKind::OutOfMemory | ErrorKind::PermissionDenied
    ) || matches!(
        Errno::from_io_error(&error.source),
        Some(Errno::MFILE | Errno::NFILE)
    )
}
