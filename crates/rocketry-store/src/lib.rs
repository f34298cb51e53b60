//! Apache RocketMQ data directories: commit log, consume queues, configuration, recovery.
//!
//! A directory written by this crate opens in Apache RocketMQ 5.5.0, and one written by it opens here. [`Store::open`] gives one
//! [`Writer`], which appends, and a [`Reader`], which any number of threads may clone.
//!
//! No network, no async runtime, no clock: the time of day enters as an argument.

mod checkpoint;
mod commit_log;
mod consume_queue;
mod dispatch;
mod error;
mod file_cache;
mod flush;
pub mod fs;
mod index;
pub mod inspect;
mod layout;
mod mapping;
pub mod metadata;
mod number;
mod options;
mod query;
mod queue_table;
mod reader;
mod recovery;
mod reindex;
mod remove;
mod retention;
mod seal;
mod shared;
mod timer;
mod unit_files;
mod writer;

use std::{path::Path, sync::Arc};

pub use crate::{
    error::{AppendError, ReadError, StoreError, WriteError, WriteErrorKind},
    flush::Flusher,
    fs::FileSystem,
    layout::Layout,
    metadata::Metadata,
    options::{FlushMode, StoreOptions},
    query::{KeyKind, KeyQuery, QueryOutcome},
    reader::{Boundary, Filter, QueueRange, ReadLimits, ReadOutcome, ReadStatus, Reader},
    recovery::{Recovery, RecoveryProgress},
    retention::{Removed, Retention},
    timer::{DueMessage, TimerOptions, Timers},
    writer::{Appended, Arrival, NewMessage, Writer},
};
use parking_lot::{Mutex, RwLock};

use crate::{
    fs::{FileLock, RealFileSystem},
    index::WaitingKeys,
    shared::{Gate, Shared},
};

/// Opens data directories.
#[derive(Debug)]
pub struct Store;

impl Store {
    /// Opens the data directory `dir`, created if it does not exist, and recovers it. `now_ms` is the time of day.
    ///
    /// The directory is locked until the writer is closed or dropped: against a Java broker, another process, and another open in
    /// this one.
    ///
    /// # Errors
    /// A directory that is in use, is not a store, has files of wrong sizes or lengths, or cannot be read or written. Everything is
    /// checked before anything but the lock file is written.
    pub fn open(
        dir: &Path,
        options: StoreOptions,
        now_ms: i64,
    ) -> Result<(Writer, Reader, Recovery), StoreError> {
        Self::open_on(Arc::new(RealFileSystem), dir, options, now_ms)
    }

    /// [`Store::open`], telling `progress` every few MiB how far it is.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_watched(
        dir: &Path,
        options: StoreOptions,
        now_ms: i64,
        progress: &mut dyn FnMut(RecoveryProgress),
    ) -> Result<(Writer, Reader, Recovery), StoreError> {
        Self::open_watched_on(Arc::new(RealFileSystem), dir, options, now_ms, progress)
    }

    /// [`Store::open`] on another disk.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(
        fs: Arc<dyn FileSystem>,
        dir: &Path,
        options: StoreOptions,
        now_ms: i64,
    ) -> Result<(Writer, Reader, Recovery), StoreError> {
        Self::open_watched_on(fs, dir, options, now_ms, &mut |_| {})
    }

    /// [`Store::open_watched`] on another disk.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_watched_on(
        fs: Arc<dyn FileSystem>,
        dir: &Path,
        options: StoreOptions,
        now_ms: i64,
        progress: &mut dyn FnMut(RecoveryProgress),
    ) -> Result<(Writer, Reader, Recovery), StoreError> {
        options.check()?;
        let layout = Layout::new(dir);
        layout.claim(&*fs)?;
        let lock = layout.take_lock(&*fs)?;
        Self::open_locked(fs, layout, lock, options, now_ms, progress)
    }

    /// Opens a directory whose lock the caller has.
    pub(crate) fn open_locked(
        fs: Arc<dyn FileSystem>,
        layout: Layout,
        lock: FileLock,
        options: StoreOptions,
        now_ms: i64,
        progress: &mut dyn FnMut(RecoveryProgress),
    ) -> Result<(Writer, Reader, Recovery), StoreError> {
        let metadata = Arc::new(Metadata::open(&fs, &layout)?);
        let recovered = recovery::recover(&fs, &layout, options, &metadata, now_ms, progress)?;
        let mut report = recovered.report;
        report.notes.extend(metadata.take_notes());
        let shared = Arc::new(Shared {
            fs,
            layout,
            options: recovered.options,
            log: recovered.log,
            queues: recovered.queues,
            metadata,
            newest: Mutex::new(recovered.newest),
            index_keys: Mutex::new(WaitingKeys::new(recovered.index_keys)),
            index: RwLock::new(recovered.index),
            gate: Gate::default(),
            lock: Mutex::new(Some(lock)),
        });
        let flusher = Flusher::new(
            Arc::clone(&shared),
            recovered.checkpoint,
            recovered.unsynced,
            now_ms,
        );
        let writer = Writer::new(Arc::clone(&shared), flusher, recovered.dispatcher);
        Ok((writer, Reader::new(shared), report))
    }
}
