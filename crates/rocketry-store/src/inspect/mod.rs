//! Looking at a data directory without changing it: ours or Apache's, closed, crashed or in use.
//!
//! Nothing here writes or takes the lock, but for [`Inspection::repair`], which does both. Of a directory in use the picture is that of
//! one moment: what its server holds in memory is not seen, and the end of the log may be in the middle of a write.

mod behind;
mod check;
mod export;
mod names;
mod repair;
mod segments;

use std::{ops::ControlFlow, path::Path, sync::Arc};

pub use self::{
    check::{Check, Finding, Severity},
    export::Stored,
    names::ServedAs,
    repair::Repair,
    segments::{Segment, SegmentKind},
};
use crate::{
    FileSystem, Layout, Metadata, StoreError, StoreOptions,
    checkpoint::Checkpoint,
    commit_log::{CommitLog, Scanner, Step},
    consume_queue::QueueKind,
    file_cache::FileCache,
    fs::{LockFailure, RealFileSystem},
    index::{Index, IndexView, Sizes},
    number::signed,
    queue_table::QueueTable,
    recovery::{
        files::LogFiles,
        queues::{LoadedQueue, QueueFiles},
    },
};

/// Who uses a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Usage {
    /// A server has the lock; its process, where the system tells.
    Live(Option<u32>),
    /// Nobody, and the last user closed it.
    Closed,
    /// Nobody, and the last user did not close it: the next start recovers it.
    Crashed,
}

/// A data directory, opened for reading.
#[derive(Debug)]
pub struct Inspection {
    fs: Arc<dyn FileSystem>,
    layout: Layout,
    usage: Usage,
    log_files: LogFiles,
    log: Arc<CommitLog>,
    queue_file_bytes: u64,
    batch_queue_file_bytes: u64,
    queues: Vec<LoadedQueue>,
    metadata: Arc<Metadata>,
    /// `None` when the sizes of the index files cannot be told.
    index: Option<Vec<IndexView>>,
    checkpoint: Option<Checkpoint>,
    /// What loading found, for a person to read.
    notes: Vec<String>,
}

/// Where a walk along the log ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// Behind the last valid record.
    pub log_offset: i64,
    /// Why what follows is no record; `None` when nothing follows.
    pub reason: Option<String>,
}

impl Inspection {
    /// Opens the directory `dir`.
    ///
    /// # Errors
    /// It is not a data directory, or its commit log is not whole; the error names the file and what to do.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(RealFileSystem), dir)
    }

    /// [`Inspection::open`] on another disk.
    ///
    /// # Errors
    /// As [`Inspection::open`].
    pub fn open_on(fs: Arc<dyn FileSystem>, dir: &Path) -> Result<Self, StoreError> {
        let layout = Layout::new(dir);
        layout.recognise(&*fs)?;
        let usage = match fs.probe_lock(&layout.lock()) {
            Err(LockFailure::Held(holder)) => Usage::Live(holder),
            Err(LockFailure::Io(error)) => {
                return Err(StoreError::io("look at", layout.lock())(error));
            }
            Ok(()) if layout.was_aborted(&*fs)? => Usage::Crashed,
            Ok(()) => Usage::Closed,
        };
        let options = StoreOptions::default();
        let metadata = Arc::new(Metadata::open(&fs, &layout)?);
        let mut notes = metadata.take_notes();
        let log_files = LogFiles::find(&*fs, &layout, options.log_file_bytes)?;
        let plain = QueueFiles::find(
            &*fs,
            &layout.consume_queues(),
            QueueKind::Plain,
            options.queue_file_bytes,
        )?;
        let batch = QueueFiles::find(
            &*fs,
            &layout.batch_consume_queues(),
            QueueKind::Batch,
            options.batch_queue_file_bytes,
        )?;
        let (queue_file_bytes, batch_queue_file_bytes) = (plain.file_bytes, batch.file_bytes);
        let cache = Arc::new(FileCache::read_only(Arc::clone(&fs)));
        let log = Arc::new(CommitLog::new(
            Arc::clone(&fs),
            Arc::clone(&cache),
            &layout,
            log_files.file_bytes,
            log_files.min(),
        ));
        log.set_end(log_files.end());
        let table = QueueTable::new(
            &layout,
            (&fs, &cache),
            (queue_file_bytes, batch_queue_file_bytes),
            Arc::clone(&metadata),
            batch.topics(),
        );
        let mut queues = Vec::new();
        for files in [plain, batch] {
            files
                .load(&table, &mut queues, &mut notes)
                .map_err(StoreError::io("read consume queues of", layout.root()))?;
        }
        for queue in &queues {
            queue
                .queue
                .correct_min(log_files.min())
                .map_err(StoreError::io("read", queue.queue.units.dir()))?;
        }
        queues.sort_unstable_by(|a, b| {
            (a.queue.topic(), a.queue.queue_id()).cmp(&(b.queue.topic(), b.queue.queue_id()))
        });
        let sizes = Sizes {
            slots: options.index_slots,
            units: options.index_units,
        };
        let index = Index::inspect(&fs, &layout.index(), sizes)
            .map_err(StoreError::io("read", layout.index()))?;
        let (checkpoint, readable) = Checkpoint::read(&*fs, &layout.checkpoint())?;
        Ok(Self {
            fs,
            layout,
            usage,
            log_files,
            log,
            queue_file_bytes,
            batch_queue_file_bytes,
            queues,
            metadata,
            index,
            checkpoint: readable.then_some(checkpoint),
            notes,
        })
    }

    /// Who uses the directory.
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// The lines of a `broker.conf` that opens this directory: the sizes that its files have, and the names under which it was served,
    /// where they never changed.
    pub fn broker_conf(&self) -> Vec<String> {
        let served = self.served_as();
        let mut lines = Vec::new();
        if let [cluster] = served.clusters.as_slice() {
            lines.push(format!("brokerClusterName={cluster}"));
        }
        if let [broker] = served.brokers.as_slice() {
            lines.push(format!("brokerName={broker}"));
        }
        lines.extend([
            format!("mappedFileSizeCommitLog={}", self.log_files.file_bytes),
            format!("mappedFileSizeConsumeQueue={}", self.queue_file_bytes),
            format!(
                "mapperFileSizeBatchConsumeQueue={}",
                self.batch_queue_file_bytes
            ),
        ]);
        if let Some(view) = self.index.iter().flatten().next() {
            lines.push(format!("maxHashSlotNum={}", view.sizes.slots));
            lines.push(format!("maxIndexNum={}", view.sizes.units));
        }
        let timer = crate::layout::numbered_files(&*self.fs, &self.layout.timer_log());
        if let Some((_, len)) = timer.ok().and_then(|files| files.first().copied()) {
            lines.push(format!("mappedFileSizeTimerLog={len}"));
        }
        lines
    }

    /// Start of the oldest commit-log file.
    pub fn log_min(&self) -> i64 {
        signed(self.log_files.min())
    }

    /// Visits the records from log offset `from` on, in log order, until `visit` breaks off or the log ends.
    ///
    /// # Errors
    /// The disk refused a read, or what `visit` returns.
    pub fn walk<E: From<StoreError>>(
        &self,
        from: i64,
        mut visit: impl FnMut(&Stored<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<LogEnd, E> {
        let from = u64::try_from(from).unwrap_or(0).max(self.log_files.min());
        let mut scanner = Scanner::new(&self.log, self.log_files.end(), from);
        loop {
            let at = scanner.position();
            let fault = StoreError::io("read", self.log.path(self.log.file_start(at)));
            let len = match scanner.step().map_err(fault)? {
                Step::Record {
                    record,
                    len,
                    version,
                } => {
                    let stored = Stored {
                        record,
                        bytes: len,
                        version,
                    };
                    if visit(&stored)?.is_break() {
                        return Ok(LogEnd {
                            log_offset: stored.log_offset(),
                            reason: None,
                        });
                    }
                    len
                }
                Step::End(reason) => {
                    return Ok(LogEnd {
                        log_offset: signed(scanner.position()),
                        reason,
                    });
                }
            };
            scanner.advance(len);
        }
    }

    /// The end and store time, ms, of the record at log offset `at`; `None` where no valid one begins.
    fn record_end(&self, at: u64) -> Result<Option<(u64, i64)>, StoreError> {
        let mut scanner = Scanner::new(&self.log, self.log_files.end(), at);
        let fault = StoreError::io("read", self.log.path(self.log.file_start(at)));
        Ok(match scanner.step().map_err(fault)? {
            Step::Record { record, len, .. } if record.physical_offset == signed(at) => {
                Some((at + u64::from(len), record.store_ms))
            }
            _ => None,
        })
    }

    /// Whether reading along the log would end at log offset `at`.
    fn is_end(&self, at: u64) -> Result<bool, StoreError> {
        let mut scanner = Scanner::new(&self.log, self.log_files.end(), at);
        let fault = StoreError::io("read", self.log.path(self.log.file_start(at)));
        Ok(matches!(scanner.step().map_err(fault)?, Step::End(_)))
    }

    /// Store time of the first record of the log file that starts at `start`, ms.
    fn first_ms(&self, start: u64) -> Option<i64> {
        let mut scanner = Scanner::new(&self.log, self.log_files.end(), start);
        match scanner.step() {
            Ok(Step::Record { record, .. }) => Some(record.store_ms),
            _ => None,
        }
    }
}
