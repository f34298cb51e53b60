//! The commit log: all messages of all topics, in the order they were stored, in files of one size.
//!
//! [`CommitLog`] is what readers, the flusher and recovery share; [`Tail`] is the end of the log and belongs to the writer alone;
//! [`Scanner`] reads record after record, for recovery.

mod ahead;
mod scan;
mod tail;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

pub(crate) use self::{
    scan::{Scanner, Step, check as check_record},
    tail::Tail,
};
use crate::{
    Layout,
    file_cache::FileCache,
    fs::{File, FileSystem},
};

/// Bytes of the filler's head at the end of a file; a record always leaves them free.
pub(crate) const BLANK_BYTES: u64 = 8;

/// The files of the log. They follow each other without a gap, so that the first start and the size tell all names.
#[derive(Debug)]
pub(crate) struct CommitLog {
    fs: Arc<dyn FileSystem>,
    files: Arc<FileCache>,
    dir: PathBuf,
    file_bytes: u64,
    first: AtomicU64,
    end: AtomicU64,
    synced: Mutex<Synced>,
}

#[derive(Debug)]
struct Synced {
    /// Everything before it is on disk.
    to: u64,
    /// Whether a file was created since the directory was synced.
    names_pending: bool,
}

impl CommitLog {
    pub(crate) fn new(
        fs: Arc<dyn FileSystem>,
        files: Arc<FileCache>,
        layout: &Layout,
        file_bytes: u64,
        first: u64,
    ) -> Self {
        Self {
            fs,
            files,
            dir: layout.commit_log(),
            file_bytes,
            first: AtomicU64::new(first),
            end: AtomicU64::new(first),
            synced: Mutex::new(Synced {
                to: first,
                names_pending: false,
            }),
        }
    }

    pub(crate) const fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Start of the oldest file.
    pub(crate) fn min(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// End of the last committed record.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// Everything before this offset is on disk.
    pub(crate) fn synced(&self) -> u64 {
        self.synced.lock().to
    }

    /// Sets what recovery knows to be on disk, and whether that includes the names of the files.
    pub(crate) fn set_synced(&self, to: u64, names: bool) {
        *self.synced.lock() = Synced {
            to,
            names_pending: !names,
        };
    }

    /// Start of the file that holds `offset`.
    pub(crate) fn file_start(&self, offset: u64) -> u64 {
        // starts are multiples of the size, of files that were removed as well
        offset / self.file_bytes * self.file_bytes
    }

    pub(crate) fn path(&self, file_start: u64) -> PathBuf {
        self.dir.join(Layout::numbered(file_start))
    }

    fn file(&self, start: u64) -> io::Result<Arc<dyn File>> {
        self.files.get(FileCache::LOG, start, || self.path(start))
    }

    /// Reads `buf.len()` bytes at `offset`, which must not cross the end of a file.
    pub(crate) fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = self.file_start(offset);
        self.file(start)?.read_exact_at(buf, offset - start)
    }

    /// Says that `len` bytes from `offset` will be read soon, as far as they lie in one file.
    fn will_need(&self, offset: u64, len: u64) {
        let start = self.file_start(offset);
        if let Ok(file) = self.file(start) {
            file.will_need(offset - start, len);
        }
    }

    /// The bytes from `from` to `to`, which must not cross the end of a file, without a copy; `None` where that cannot be done, or not
    /// all of them are committed.
    #[allow(unsafe_code, reason = "see `File::map`")]
    pub(crate) fn map(&self, from: u64, to: u64) -> Option<Bytes> {
        if to > self.end() {
            return None;
        }
        let start = self.file_start(from);
        let file = self.file(start).ok()?;
        // SAFETY: what lies before the end is never written again, since the writer only appends there, and a file of the log
        // keeps its full length until its name is removed, after which the mapping still holds it. Recovery, which does cut and clear,
        // is over before the end is set; and the directory's lock keeps other processes that would write out.
        unsafe { file.map(from - start..to - start) }
    }

    /// The file that starts at `start`, created in full (sparse) length if it is not there yet.
    fn open_or_create(&self, start: u64) -> io::Result<Arc<dyn File>> {
        let path = || self.path(start);
        // the length must be on disk before the content: a crash then leaves a file of its full length, or an empty last one
        let created = |file: &dyn File| {
            self.synced.lock().names_pending = true;
            file.sync()
        };
        self.files
            .get_or_create(FileCache::LOG, start, path, self.file_bytes, created)
    }

    /// Makes everything committed so far durable and returns the offset up to which that is. One sync serves all who wait for it.
    pub(crate) fn sync(&self) -> Result<u64, (PathBuf, io::Error)> {
        let mut synced = self.synced.lock();
        let end = self.end();
        if end <= synced.to && !synced.names_pending {
            return Ok(synced.to);
        }
        let mut start = self.file_start(synced.to);
        while start < end {
            self.file(start)
                .and_then(|file| file.sync())
                .map_err(|error| (self.path(start), error))?;
            start += self.file_bytes;
        }
        if synced.names_pending && end > self.min() {
            self.fs
                .sync_dir(&self.dir)
                .map_err(|error| (self.dir.clone(), error))?;
            if let Some(parent) = self.dir.parent() {
                self.fs
                    .sync_dir(parent)
                    .map_err(|error| (parent.to_path_buf(), error))?;
            }
            synced.names_pending = false;
        }
        synced.to = end;
        Ok(end)
    }

    /// Removes what lies behind `end`: later files go, the rest of the file that holds `end` reads as zeros.
    pub(crate) fn cut(&self, end: u64, file_starts: &[u64]) -> Result<(), (PathBuf, io::Error)> {
        if file_starts.is_empty() {
            return Ok(());
        }
        for start in file_starts.iter().rev().filter(|start| **start > end) {
            self.remove(*start)?;
        }
        let start = self.file_start(end);
        if file_starts.contains(&start) {
            let zero = || {
                let file = self.file(start)?;
                file.zero_range(end - start, self.file_bytes - (end - start))?;
                file.sync()
            };
            zero().map_err(|error| (self.path(start), error))?;
        }
        self.fs
            .sync_dir(&self.dir)
            .map_err(|error| (self.dir.clone(), error))
    }

    /// Removes the oldest file, durably: the log begins with the next one.
    pub(crate) fn retire(&self, start: u64) -> Result<(), (PathBuf, io::Error)> {
        // readers are told first, so that who meets a missing file knows why
        self.first.store(start + self.file_bytes, Ordering::Release);
        self.remove(start).inspect_err(|_| {
            self.first.store(start, Ordering::Release);
        })?;
        self.fs
            .sync_dir(&self.dir)
            .map_err(|error| (self.dir.clone(), error))
    }

    /// Removes one file.
    pub(crate) fn remove(&self, start: u64) -> Result<(), (PathBuf, io::Error)> {
        self.files.forget(FileCache::LOG, start);
        self.fs
            .remove(&self.path(start))
            .map_err(|error| (self.path(start), error))
    }
}
