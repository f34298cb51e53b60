//! Opening a directory: finds the end of the log and makes everything derived agree with it.
//!
//! The commit log is the truth, everything else is derived from it. A start reads the log from the newest record whose unit is known
//! to be on disk and dispatches every record from there on with the step that live messages take; units behind that point are
//! forgotten first, so that a unit on disk is kept only if the log says the same. Queues that are damaged or missing are derived from
//! the beginning of the log in the same reading, and so are the keys of the index. After a stop that was not clean the end of the log
//! is where the first invalid record is, and what lies behind it is wiped.
//!
//! | file | subject |
//! |---|---|
//! | `files.rs`, `queues.rs` | what is found on disk, and what of it can be kept |
//! | `start.rs` | where reading begins, and what the end of the log must not fall below |
//! | `pass.rs` | one reading of the log |
//! | `derive.rs` | from the records that were read to consume queues |
//! | `keys.rs`, `index_builder.rs` | from the records that were read to the index |
//! | `gaps.rs` | whether index files are missing |
//! | `settle.rs` | the log and the files of the queues as they are left on disk |

mod derive;
pub(crate) mod files;
mod gaps;
mod index_builder;
mod keys;
mod pass;
pub(crate) mod queues;
mod settle;
mod start;

use std::{io, sync::Arc, time::Duration};

use self::{
    derive::Deriver,
    files::LogFiles,
    keys::Keys,
    pass::Writes,
    queues::{LoadedQueue, QueueFiles},
};
use crate::{
    FileSystem, Layout, Metadata, StoreError, StoreOptions,
    checkpoint::Checkpoint,
    commit_log::{CommitLog, Scanner, Step},
    consume_queue::{ConsumeQueue, QueueKind},
    dispatch::Dispatcher,
    file_cache::FileCache,
    index::{Index, IndexKey},
    number::signed,
    queue_table::QueueTable,
    shared::Newest,
};

/// What opening a directory found and did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether the directory had no messages.
    pub fresh: bool,
    /// Whether the last user closed the directory. A fresh one counts as closed.
    pub clean: bool,
    /// Start of the oldest commit-log file.
    pub log_min: i64,
    /// End of the commit log.
    pub log_end: i64,
    /// Where reading of the log began: what lies before was proven by the checkpoint or a clean stop.
    pub scanned_from: i64,
    /// Bytes of the log that were read.
    pub bytes_read: u64,
    /// Records that were read.
    pub records: u64,
    /// Consume queues found or derived.
    pub queues: usize,
    /// Length of a commit-log file in this directory, bytes.
    pub log_file_bytes: u64,
    /// Length of a consume-queue file in this directory, bytes.
    pub queue_file_bytes: u64,
    /// What was repaired or left alone, each for a person to read.
    pub notes: Vec<String>,
}

/// How far a recovery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryProgress {
    /// What is being done, e.g. `reading the commit log`.
    pub stage: &'static str,
    /// Log offset that was reached.
    pub log_offset: i64,
    /// End of the last commit-log file; the log may end before.
    pub files_end: i64,
}

/// The parts of a store that recovery sets up.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) log: Arc<CommitLog>,
    pub(crate) queues: Arc<QueueTable>,
    /// Queues whose files may not be on disk.
    pub(crate) unsynced: Vec<Arc<ConsumeQueue>>,
    /// `None` when messages are not indexed.
    pub(crate) index: Option<Index>,
    /// Keys that the index lacks.
    pub(crate) index_keys: Vec<IndexKey>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) newest: Newest,
    pub(crate) report: Recovery,
    /// The options with the sizes of this directory.
    pub(crate) options: StoreOptions,
}

/// Recovers the locked directory. Everything is read and checked before the log or the marker are touched, and before anything at
/// all is written, unless there is more to derive than memory is meant to hold.
pub(crate) fn recover(
    fs: &Arc<dyn FileSystem>,
    layout: &Layout,
    mut options: StoreOptions,
    metadata: &Arc<Metadata>,
    now_ms: i64,
    progress: &mut dyn FnMut(RecoveryProgress),
) -> Result<Recovered, StoreError> {
    let clean = !layout.was_aborted(&**fs)?;
    let log_files = LogFiles::find(&**fs, layout, options.log_file_bytes)?;
    let plain = QueueFiles::find(
        &**fs,
        &layout.consume_queues(),
        QueueKind::Plain,
        options.queue_file_bytes,
    )?;
    let batch = QueueFiles::find(
        &**fs,
        &layout.batch_consume_queues(),
        QueueKind::Batch,
        options.batch_queue_file_bytes,
    )?;
    options.log_file_bytes = log_files.file_bytes;
    options.queue_file_bytes = plain.file_bytes;
    options.batch_queue_file_bytes = batch.file_bytes;
    if log_files.starts.is_empty() && (plain.has_files() || batch.has_files()) {
        return Err(StoreError::LostLog {
            dir: layout.commit_log(),
        });
    }
    let (checkpoint, checkpoint_ok) = Checkpoint::read(&**fs, &layout.checkpoint())?;

    let cache = Arc::new(FileCache::new(Arc::clone(fs)));
    let log = Arc::new(CommitLog::new(
        Arc::clone(fs),
        Arc::clone(&cache),
        layout,
        log_files.file_bytes,
        log_files.min(),
    ));
    let table = Arc::new(QueueTable::new(
        layout,
        (fs, &cache),
        (plain.file_bytes, batch.file_bytes),
        Arc::clone(metadata),
        batch.topics(),
    ));

    let mut work = Work {
        fs,
        layout,
        log: &log,
        log_files: &log_files,
        metadata,
        options: &options,
        now_ms,
        report: Recovery {
            fresh: log_files.starts.is_empty(),
            clean,
            log_min: signed(log_files.min()),
            log_file_bytes: log_files.file_bytes,
            queue_file_bytes: plain.file_bytes,
            ..Recovery::default()
        },
        newest: Newest {
            log_offset: checkpoint.queues_log_offset.cast_unsigned(),
            store_ms: checkpoint.log_ms,
        },
        last_record: 0,
        progress,
        told: 0,
    };
    if !checkpoint_ok && !work.report.fresh {
        work.note("checkpoint: absent or unreadable; more of the log was read instead".to_owned());
    }
    // a kind of queues that is missing as a whole proves nothing about where dispatching stopped
    let proven = plain.has_files() && (batch.has_files() || !table.expects_batch_queues());
    let mut loaded = Vec::new();
    for files in [plain, batch] {
        files
            .load(&table, &mut loaded, &mut work.report.notes)
            .map_err(StoreError::io("read consume queues of", layout.root()))?;
    }
    let start = work.scan_start(&loaded, checkpoint, proven)?;
    for queue in &mut loaded {
        queue
            .check_begin(&metadata.queue_ends, log_files.min())
            .and_then(|()| queue.keep_before(start.offset, &log))
            .map_err(StoreError::io("read", queue.queue.units.dir()))?;
    }

    let was_rebuilding = checkpoint_ok && !checkpoint.knows_queues() && !work.report.fresh;
    let was_closed = clean && !was_rebuilding;
    let mut deriver = Deriver::new(&table, metadata, start.offset, was_closed, log_files.min());
    work.choose_whole(&mut deriver, &loaded);
    // where the log is only searched the index has most keys, and those of the whole log would be much to hold
    let keys_from = if deriver.has_whole() {
        deriver.read_from()
    } else {
        start.offset
    };
    let mut keys = Keys::new(&options, checkpoint.index_ms, was_closed, keys_from);
    let mut writes = Writes::new(checkpoint, clean.then_some(start.promised_end).flatten());
    work.read_log(&mut deriver, &mut keys, &mut writes, &loaded)?;
    deriver
        .drop_earlier_lives()
        .map_err(StoreError::io("remove consume queues of", layout.root()))?;
    // a store that was killed before it wrote any is none that lacks them
    if !proven && deriver.has_whole() && (clean || checkpoint.knows_queues()) {
        work.note(
            "consume queues: a kind of them had no files; derived from the commit log".to_owned(),
        );
    }
    if proven {
        work.note_missing(&deriver);
    }
    let wrong = deriver.wrong();
    let end = work.report.log_end.cast_unsigned();
    if clean {
        work.check_clean_end(end, start.promised_end.unwrap_or(0))?;
    }

    // from here on the log may be changed
    layout.mark_open(&**fs)?;
    work.repair_log(end)?;
    log.set_end(end);
    log.set_synced(if clean { end } else { start.offset.min(end) }, clean);
    if deriver.has_whole() || !wrong.is_empty() {
        work.begin_writing(&mut writes, &deriver, &loaded)?;
    }
    work.rebuild(&wrong, &mut deriver, &loaded, end)?;
    work.note_misplaced(&deriver);
    let (mut dispatcher, written) = deriver.finish();
    let unsynced = work.settle(&mut dispatcher, &table, &loaded, &written)?;
    work.report.queues = dispatcher.queues().len();

    let (index, index_keys) = keys.finish(&mut work, end)?;
    let mut on_disk = writes.checkpoint();
    if let Some(index) = &index
        && writes.have_begun()
    {
        on_disk.index_ms = index.confirmed_ms();
    }
    if !checkpoint_ok || on_disk != writes.checkpoint() {
        let path = layout.checkpoint();
        on_disk
            .write(&**fs, &path)
            .map_err(StoreError::io("write", path))?;
    }
    Ok(Recovered {
        checkpoint: Checkpoint {
            confirm_offset: signed(work.last_record),
            ..on_disk
        },
        newest: work.newest,
        report: work.report,
        log,
        queues: table,
        unsynced,
        index,
        index_keys,
        dispatcher,
        options,
    })
}

/// What all steps of a recovery share.
struct Work<'a> {
    fs: &'a Arc<dyn FileSystem>,
    layout: &'a Layout,
    log: &'a Arc<CommitLog>,
    log_files: &'a LogFiles,
    metadata: &'a Metadata,
    options: &'a StoreOptions,
    now_ms: i64,
    report: Recovery,
    newest: Newest,
    last_record: u64,
    progress: &'a mut dyn FnMut(RecoveryProgress),
    /// Log offset that was told last.
    told: u64,
}

type QueueName = (Arc<str>, i32);

fn name_of(queue: &ConsumeQueue) -> QueueName {
    (Arc::clone(queue.topic()), queue.queue_id())
}

impl Work<'_> {
    fn note(&mut self, note: String) {
        tracing::info!("{note}");
        self.report.notes.push(note);
    }

    /// Tells how far the log was read, every few MiB.
    fn tell(&mut self, stage: &'static str, log_offset: u64) {
        if log_offset.abs_diff(self.told) >= TELL_BYTES {
            self.told = log_offset;
            (self.progress)(RecoveryProgress {
                stage,
                log_offset: signed(log_offset),
                files_end: signed(self.log_files.end()),
            });
        }
    }

    fn read_error(&self, offset: u64, error: io::Error) -> StoreError {
        StoreError::io("read", self.log.path(self.log.file_start(offset)))(error)
    }

    /// The end and store time of the record at `offset`, if there is a valid one.
    fn record_at(&self, offset: u64) -> Result<Option<(u64, i64)>, StoreError> {
        if offset < self.log_files.min() || offset >= self.log_files.end() {
            return Ok(None);
        }
        let mut scanner = Scanner::new(self.log, self.log_files.end(), offset);
        match scanner
            .step()
            .map_err(|error| self.read_error(offset, error))?
        {
            Step::Record { record, len, .. } if record.physical_offset == signed(offset) => {
                Ok(Some((offset + u64::from(len), record.store_ms)))
            }
            _ => Ok(None),
        }
    }

    fn delay_levels(&self) -> &[Duration] {
        &self.options.delay_levels
    }
}

/// Bytes of the log between two reports of progress.
const TELL_BYTES: u64 = 4 << 20;
