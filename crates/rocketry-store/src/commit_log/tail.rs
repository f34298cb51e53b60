//! The end of the log: records are encoded into one buffer and written with one call.

use std::{io, path::PathBuf, sync::Arc};

use rocketry_protocol::record::MAGIC_BLANK;

use super::{BLANK_BYTES, CommitLog};
use crate::number::size;

/// Buffered bytes that make the tail write before it is asked to: bounds the memory of a large batch.
const WRITE_AT_BYTES: usize = 1 << 20;
/// Capacity that is given back after a large record.
const KEEP_BYTES: usize = 4 << 20;
/// Zeros that are written behind the end at a time; see [`Tail::prepare`].
const AHEAD_BYTES: usize = 128 * 1024;
static ZEROS: [u8; AHEAD_BYTES] = [0; AHEAD_BYTES];
/// A larger commit is not helped: writing as many zeros as well takes longer than they save.
const SMALL_COMMIT_BYTES: u64 = 48 * 1024;

/// The writer's end of the log.
#[derive(Debug)]
pub(crate) struct Tail {
    log: Arc<CommitLog>,
    /// Encoded and not written yet; lies in one file.
    buf: Vec<u8>,
    /// Log offset of the buffer's first byte.
    buf_at: u64,
    /// Writes may have touched the log up to here since the last commit.
    dirty_to: u64,
    /// What goes in before this position is written with one call.
    together_to: u64,
    /// The disk has a place for everything before it.
    prepared_to: u64,
}

impl Tail {
    pub(crate) fn new(log: Arc<CommitLog>) -> Self {
        let end = log.end();
        Self {
            log,
            buf: Vec::new(),
            buf_at: end,
            dirty_to: end,
            together_to: end,
            prepared_to: end,
        }
    }

    /// Where the next record goes.
    pub(crate) fn position(&self) -> u64 {
        self.buf_at + self.buf.len() as u64
    }

    /// The buffer to encode the next record into, after [`Tail::make_room`].
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buf
    }

    /// Makes the next `bytes` lie in one file: where they do not fit, the file is closed with a filler and the next one begun.
    ///
    /// # Errors
    /// The full file could not be written; nothing was begun.
    pub(crate) fn make_room(&mut self, bytes: usize) -> Result<(), (PathBuf, io::Error)> {
        let position = self.position();
        let file_end = self.log.file_start(position) + self.log.file_bytes();
        let left = file_end - position;
        if bytes as u64 + BLANK_BYTES > left {
            // fits: a file is at most 2^31 - 1 bytes
            let filler = i32::try_from(left).unwrap_or(i32::MAX);
            self.buf.extend_from_slice(&filler.to_be_bytes());
            self.buf.extend_from_slice(&MAGIC_BLANK.to_be_bytes());
            self.write()?;
            self.buf_at = file_end;
        } else if self.buf.len() >= WRITE_AT_BYTES && position >= self.together_to {
            self.write()?;
        }
        Ok(())
    }

    /// [`Tail::make_room`] for several records, which are then written with one call.
    pub(crate) fn make_room_together(&mut self, bytes: usize) -> Result<(), (PathBuf, io::Error)> {
        self.make_room(bytes)?;
        self.together_to = self.position() + bytes as u64;
        Ok(())
    }

    /// Writes the buffer with one call.
    pub(crate) fn write(&mut self) -> Result<(), (PathBuf, io::Error)> {
        if self.buf.is_empty() {
            return Ok(());
        }
        let start = self.log.file_start(self.buf_at);
        let fault = |error| (self.log.path(start), error);
        let file = self.log.open_or_create(start).map_err(fault)?;
        self.dirty_to = self.dirty_to.max(self.position());
        file.write_all_at(&self.buf, self.buf_at - start)
            .map_err(fault)?;
        self.buf_at += self.buf.len() as u64;
        self.buf.clear();
        self.buf.shrink_to(KEEP_BYTES);
        Ok(())
    }

    /// Writes zeros behind the end, for commits that are small and synced. A sync of bytes that the disk has no place for yet, as
    /// those of a sparse file, also brings that place into the file system's journal, which takes longer than the bytes themselves;
    /// this way only one of many does. To everybody else the zeros are what was there before.
    pub(crate) fn prepare(&mut self) {
        let position = self.position();
        let in_file = position - self.log.file_start(position);
        if position <= self.prepared_to
            || position - self.log.end() > SMALL_COMMIT_BYTES
            || in_file == 0
        {
            return;
        }
        let left = size(self.log.file_bytes() - in_file);
        let zeros = ZEROS.get(..left).unwrap_or(&ZEROS);
        // whatever fails here fails for the next message as well, if it matters
        self.prepared_to = position + zeros.len() as u64;
        let written = self
            .log
            .file(position - in_file)
            .and_then(|file| file.write_all_at(zeros, in_file));
        if let Err(error) = written {
            tracing::debug!(%error, position, "no zeros written behind the end of the log");
        }
    }

    /// Makes everything written part of the log.
    pub(crate) fn commit(&mut self) {
        self.log.set_end(self.position());
        self.dirty_to = self.position();
    }

    /// Forgets everything since the last commit. What was written of it is wiped, so that a later start cannot take it for the
    /// continuation of the log; where the wiping fails as well, the next write covers at least its beginning.
    pub(crate) fn roll_back(&mut self) {
        let end = self.log.end();
        let mut at = end;
        while at < self.dirty_to {
            let start = self.log.file_start(at);
            let stop = self.dirty_to.min(start + self.log.file_bytes());
            let wiped = self
                .log
                .file(start)
                .and_then(|file| file.zero_range(at - start, stop - at));
            if let Err(error) = wiped {
                tracing::warn!(path = %self.log.path(start).display(), %error, "could not wipe a failed write");
            }
            at = stop;
        }
        self.buf.clear();
        self.buf.shrink_to(KEEP_BYTES);
        self.buf_at = end;
        self.dirty_to = end;
        self.together_to = end;
        self.prepared_to = end;
    }

    /// Bytes a record may have at most to fit a file.
    pub(crate) fn largest_record(&self) -> usize {
        size(self.log.file_bytes() - BLANK_BYTES)
    }
}
