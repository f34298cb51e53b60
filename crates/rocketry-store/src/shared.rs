//! What writer, readers and flusher of an open store share.

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};

use crate::{
    Layout, StoreOptions, WriteError,
    commit_log::CommitLog,
    fs::{FileLock, FileSystem},
    index::{Index, WaitingKeys},
    metadata::Metadata,
    queue_table::QueueTable,
};

/// Index keys that may wait in memory before the writer writes them itself; 24 bytes each.
const MAX_WAITING_KEYS: usize = 1024 * 1024;

/// The newest dispatched record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) log_offset: u64,
    pub(crate) store_ms: i64,
}

pub(crate) struct Shared {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) layout: Layout,
    pub(crate) options: StoreOptions,
    pub(crate) log: Arc<CommitLog>,
    pub(crate) queues: Arc<QueueTable>,
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) newest: Mutex<Newest>,
    /// Locked around every change of `newest`: the keys of messages up to that one are waiting, in the index, or known to be missing.
    pub(crate) index_keys: Mutex<WaitingKeys>,
    /// `None` when messages are not indexed. Locked before `index_keys`: the flusher holds it from taking the keys until they are
    /// written, so that a query finds each key either waiting or in a file.
    pub(crate) index: RwLock<Option<Index>>,
    pub(crate) gate: Gate,
    pub(crate) lock: Mutex<Option<FileLock>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("root", &self.layout.root())
            .field("log_end", &self.log.end())
            .finish_non_exhaustive()
    }
}

/// Whether the store takes messages, and why not.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_shut: AtomicBool,
    reason: Mutex<Option<WriteError>>,
    is_low: AtomicBool,
    low: Mutex<Option<WriteError>>,
    /// Free bytes below which messages are refused, as far as it is known.
    required_bytes: AtomicU64,
}

impl Shared {
    /// Refuses when the store takes no more messages.
    pub(crate) fn check_writable(&self) -> Result<(), WriteError> {
        if !self.gate.is_shut.load(Ordering::Acquire) {
            return Ok(());
        }
        match &*self.gate.reason.lock() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Refuses when the store takes no messages, be it only until there is more space.
    pub(crate) fn check_takes(&self) -> Result<(), WriteError> {
        self.check_writable()?;
        if self.gate.is_low.load(Ordering::Acquire)
            && let Some(error) = &*self.gate.low.lock()
        {
            return Err(error.clone());
        }
        Ok(())
    }

    /// Refuses messages with `error` from now on, or takes them again.
    pub(crate) fn set_space(&self, error: Option<WriteError>) {
        let mut low = self.gate.low.lock();
        match (&*low, &error) {
            (None, Some(error)) => tracing::error!(%error, "the store takes no messages"),
            (Some(_), None) => tracing::info!("there is space again; the store takes messages"),
            _ => {}
        }
        self.gate.is_low.store(error.is_some(), Ordering::Release);
        *low = error;
    }

    /// Notes below how many free bytes messages are refused.
    pub(crate) fn set_required_bytes(&self, bytes: u64) {
        self.gate.required_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Ends writing for good: after a failed sync the system may have dropped the data and would report success next time.
    pub(crate) fn stop_writing(&self, path: &Path, error: &io::Error) -> WriteError {
        let error = WriteError::read_only(&format!("sync of {} failed: {error}", path.display()));
        tracing::error!(%error, "the store takes no more messages");
        self.refuse_writes(error)
    }

    /// Makes every later write fail with `error`, or with an earlier reason.
    pub(crate) fn refuse_writes(&self, error: WriteError) -> WriteError {
        let mut reason = self.gate.reason.lock();
        let error = reason.get_or_insert(error).clone();
        self.gate.is_shut.store(true, Ordering::Release);
        error
    }

    /// Whether the flusher should write the index before its time: many keys wait, or it has to catch up.
    pub(crate) fn index_is_pressing(&self) -> bool {
        let keys = self.index_keys.lock();
        keys.len() > MAX_WAITING_KEYS / 4 || keys.behind().is_some()
    }

    /// Whether so much waits in memory that the writer should write it itself.
    pub(crate) fn much_is_waiting(&self) -> bool {
        self.queues.too_many_wait() || self.index_keys.lock().len() > MAX_WAITING_KEYS
    }

    /// A failed write of `path`.
    pub(crate) fn write_error(&self, what: &str, path: &Path, error: io::Error) -> WriteError {
        let free = self.fs.free_bytes(self.layout.root());
        let required = self.gate.required_bytes.load(Ordering::Relaxed);
        WriteError::new(what, path, free, required, error)
    }

    /// Syncs the log; returns the offset up to which it is on disk.
    pub(crate) fn sync_log(&self) -> Result<u64, WriteError> {
        self.check_writable()?;
        self.log
            .sync()
            .map_err(|(path, error)| self.stop_writing(&path, &error))
    }

    /// Gives the directory back.
    pub(crate) fn unlock(&self) {
        self.lock.lock().take();
    }
}
