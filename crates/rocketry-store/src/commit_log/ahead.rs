//! Pieces of the log that a thread of their own reads ahead, so that the disk works while records are checked.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
};

use super::CommitLog;
use crate::number::size;

/// Bytes read at once.
pub(super) const PIECE_BYTES: usize = 1 << 20;
/// Bytes that the system is asked to fetch ahead of the thread.
const ADVISED_BYTES: u64 = 8 << 20;
/// Bytes left free before what is read, for the beginning of a record whose end is there.
const HEAD_BYTES: usize = 64 << 10;
/// Pieces that wait at most.
const WAITING: usize = 4;

/// Bytes of the log in memory.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// Those before `from` say nothing.
    bytes: Vec<u8>,
    from: usize,
    /// Log offset of the byte at `from`.
    at: u64,
}

impl Piece {
    /// The `need` bytes at log offset `at`, if all of them are here.
    pub(super) fn get(&self, at: u64, need: usize) -> Option<&[u8]> {
        let from = self.from + size(at.checked_sub(self.at)?);
        self.bytes.get(from..from.checked_add(need)?)
    }

    /// Log offset behind the last byte.
    pub(super) fn end(&self) -> u64 {
        self.at + (self.bytes.len() - self.from) as u64
    }

    /// Reads `len` bytes at log offset `at`, which must not cross the end of a file, in place of what is here.
    pub(super) fn read(&mut self, log: &CommitLog, at: u64, len: usize) -> std::io::Result<()> {
        self.from = 0;
        self.at = at;
        self.bytes.resize(len, 0);
        log.read(&mut self.bytes, at)
            .inspect_err(|_| self.bytes.clear())
    }

    /// Puts what `before` has from log offset `at` on before what is here, so that nothing from there on is missing. Returns whether that was
    /// possible.
    fn follow(&mut self, before: &Self, at: u64) -> bool {
        let Some(missing) = self.at.checked_sub(at).map(size).filter(|len| *len > 0) else {
            return true;
        };
        if before.end() != self.at {
            return false;
        }
        let Some(start) = self.from.checked_sub(missing) else {
            return false;
        };
        let (Some(tail), Some(head)) = (
            before.get(at, missing),
            self.bytes.get_mut(start..self.from),
        ) else {
            return false;
        };
        head.copy_from_slice(tail);
        self.from = start;
        self.at = at;
        true
    }
}

/// The thread, and the pieces between it and the reader of records.
#[derive(Debug)]
pub(super) struct ReadAhead {
    /// `None` only while the thread is told to end.
    pieces: Option<Receiver<Piece>>,
    /// Memory that is read into again.
    spent: Sender<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
}

impl ReadAhead {
    /// Reads from log offset `at` to `files_end`. `None` when the system has no thread to give.
    pub(super) fn start(log: &Arc<CommitLog>, at: u64, files_end: u64) -> Option<Self> {
        let (to_reader, pieces) = sync_channel(WAITING);
        let (spent, free) = channel();
        let log = Arc::clone(log);
        let thread = thread::Builder::new()
            .name("rocketry-ahead".to_owned())
            .spawn(move || read(&log, at, files_end, &to_reader, &free))
            .ok()?;
        Some(Self {
            pieces: Some(pieces),
            spent,
            thread: Some(thread),
        })
    }

    /// Replaces `piece` by the next one, with the bytes from log offset `at` on. False when there is none that follows without a gap: then
    /// the log ends, the disk refused a read, or a record begins further before the piece than there is room for.
    pub(super) fn replace(&self, piece: &mut Piece, at: u64) -> bool {
        let Some(next) = self.pieces.as_ref().and_then(|pieces| pieces.recv().ok()) else {
            return false;
        };
        let before = std::mem::replace(piece, next);
        let follows = piece.follow(&before, at);
        // a thread that is at its end needs none
        let _ = self.spent.send(before.bytes);
        follows
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        // the thread ends at the next piece that it cannot hand over
        self.pieces = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread does. A read that fails ends it: who reads records asks the disk again, and meets the error at its place.
fn read(
    log: &CommitLog,
    mut at: u64,
    files_end: u64,
    pieces: &SyncSender<Piece>,
    free: &Receiver<Vec<u8>>,
) {
    while at < files_end {
        let file_end = log.file_start(at) + log.file_bytes();
        let len = PIECE_BYTES.min(size(file_end - at));
        if at + ADVISED_BYTES < files_end {
            log.will_need(at + ADVISED_BYTES, len as u64);
        }
        let mut bytes = free.try_recv().unwrap_or_default();
        bytes.resize(HEAD_BYTES + len, 0);
        let (_, place) = bytes.split_at_mut(HEAD_BYTES);
        if log.read(place, at).is_err() {
            return;
        }
        let piece = Piece {
            bytes,
            from: HEAD_BYTES,
            at,
        };
        if pieces.send(piece).is_err() {
            return;
        }
        at += len as u64;
    }
}
