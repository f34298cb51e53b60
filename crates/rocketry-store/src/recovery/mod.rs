//! Opening a directory: finds the end of the log and makes the consume queues agree with it.
//!
//! The commit log is the truth, everything else is derived from it. A start reads the log from the newest record whose unit is known
//! to be on disk and dispatches every record from there on with the step that live messages take; units behind that point are
//! forgotten first, so that a unit on disk is kept only if the log says the same. After a stop that was not clean the end of the log
//! is where the first invalid record is, and what lies behind it is wiped.

pub(crate) mod files;
pub(crate) mod queues;

use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rocketry_protocol::topic::{SYSTEM_PREFIX, is_send_forbidden};

use self::{
    files::LogFiles,
    queues::{LoadedQueue, QueueFiles},
};
use crate::{
    FileSystem, Layout, Metadata, StoreError, StoreOptions,
    checkpoint::Checkpoint,
    commit_log::{CommitLog, Scanner, Step},
    consume_queue::{ConsumeQueue, QueueKind},
    dispatch::{Dispatch, Dispatcher, Marks},
    file_cache::FileCache,
    index::{Index, IndexKey, Sizes, keys_of},
    number::signed,
    queue_table::QueueTable,
    shared::Newest,
    unit_files::Files,
    writer::is_directory_name,
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

/// Recovers the locked directory. Everything is read and checked before the first write.
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
    let files = Arc::new(Files {
        fs: Arc::clone(fs),
        cache: Arc::clone(&cache),
    });
    let log = Arc::new(CommitLog::new(
        Arc::clone(fs),
        cache,
        layout,
        log_files.file_bytes,
        log_files.min(),
    ));
    let table = Arc::new(QueueTable::new(
        layout.clone(),
        files,
        (plain.file_bytes, batch.file_bytes),
        Arc::clone(metadata),
        batch.topics(),
    ));

    let mut work = Work {
        fs: &**fs,
        layout,
        log: &log,
        log_files: &log_files,
        metadata,
        delay_levels: &options.delay_levels,
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
    let from = if proven {
        work.scan_start(&loaded, checkpoint, clean)?
    } else {
        ScanStart {
            offset: log_files.min(),
            proven_end: None,
        }
    };
    for queue in &mut loaded {
        queue.check_begin(&metadata.queue_ends, log_files.min());
        queue
            .keep_before(from.offset, &log)
            .map_err(StoreError::io("read", queue.queue.units.dir()))?;
    }
    let mut dispatcher = Dispatcher::new(Arc::clone(&table));
    let mut wrong = work.dispatch_from(from.offset, &mut dispatcher, &loaded)?;
    wrong.extend(work.missing_queues(&table));
    let end = work.report.log_end.cast_unsigned();
    if clean {
        let promised = from.proven_end.unwrap_or(0);
        work.check_clean_end(end, promised, checkpoint.queues_log_offset)?;
    }

    // from here on the directory is changed
    layout.mark_open(&**fs)?;
    work.repair_log(end)?;
    log.set_end(end);
    log.set_synced(if clean { end } else { from.offset.min(end) }, clean);
    wrong.extend(
        loaded
            .iter()
            .filter(|queue| queue.is_damaged())
            .map(|queue| (Arc::clone(&queue.queue.topic), queue.queue.queue_id)),
    );
    work.rebuild(&wrong, &mut dispatcher, &loaded, end)?;
    let unsynced = work.settle(&mut dispatcher, &table, &loaded, &wrong)?;
    work.report.queues = dispatcher.slots().len();

    let (index, index_keys) = work.recover_index(fs, &options, checkpoint.index_ms, end)?;
    if !checkpoint_ok {
        let path = layout.checkpoint();
        checkpoint
            .write(&**fs, &path)
            .map_err(StoreError::io("write", path))?;
    }
    Ok(Recovered {
        checkpoint: Checkpoint {
            confirm_offset: signed(work.last_record),
            ..checkpoint
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

/// Where to begin reading the log.
struct ScanStart {
    offset: u64,
    /// End of the newest record that a consume queue points to, when that is a valid record: the log reaches at least so far.
    proven_end: Option<u64>,
}

struct Work<'a> {
    fs: &'a dyn FileSystem,
    layout: &'a Layout,
    log: &'a CommitLog,
    log_files: &'a LogFiles,
    metadata: &'a Metadata,
    delay_levels: &'a [Duration],
    now_ms: i64,
    report: Recovery,
    newest: Newest,
    last_record: u64,
    progress: &'a mut dyn FnMut(RecoveryProgress),
    /// Log offset that was told last.
    told: u64,
}

type QueueName = (Arc<str>, i32);

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

    fn read_error(&self, offset: u64) -> impl FnOnce(io::Error) -> StoreError + use<> {
        StoreError::io("read", self.log.path(self.log.file_start(offset)))
    }

    /// The end and store time of the record at `offset`, if there is a valid one.
    fn record_at(&self, offset: u64) -> Result<Option<(u64, i64)>, StoreError> {
        if offset < self.log_files.min() || offset >= self.log_files.end() {
            return Ok(None);
        }
        let mut scanner = Scanner::new(self.log, self.log_files.end(), offset);
        match scanner.step().map_err(self.read_error(offset))? {
            Step::Record { record, len, .. } if record.physical_offset == signed(offset) => {
                Ok(Some((offset + u64::from(len), record.store_ms)))
            }
            _ => Ok(None),
        }
    }

    /// The checkpoint's record, or after a clean stop the newest record that a queue knows, whichever is earlier; without either the
    /// newest file that begins before the checkpoint's time; without that the whole log.
    fn scan_start(
        &self,
        queues: &[LoadedQueue],
        checkpoint: Checkpoint,
        clean: bool,
    ) -> Result<ScanStart, StoreError> {
        let newest = queues
            .iter()
            .filter_map(|queue| queue.last)
            .max_by_key(|unit| unit.log_offset);
        let newest = match newest {
            Some(unit) => self
                .record_at(unit.log_offset)?
                .filter(|(end, _)| *end == unit.log_end())
                .map(|(end, _)| (unit.log_offset, end)),
            None => None,
        };
        let from_queues = newest.map(|(start, _)| start);
        let known = u64::try_from(checkpoint.queues_log_offset)
            .ok()
            .filter(|offset| *offset > 0);
        let from_checkpoint = match known {
            Some(offset) if self.record_at(offset)?.is_some() => Some(offset),
            _ => None,
        };
        let offset = match (clean, from_checkpoint, from_queues) {
            (true, Some(checkpoint), Some(queues)) => checkpoint.min(queues),
            (true, None, Some(queues)) => queues,
            (_, Some(checkpoint), _) => checkpoint,
            _ => self.file_before(checkpoint.queues_ms)?,
        };
        Ok(ScanStart {
            offset,
            proven_end: newest.map(|(_, end)| end),
        })
    }

    /// Start of the newest file whose first record was stored before `ms`. For checkpoints of versions that had times only.
    fn file_before(&self, ms: i64) -> Result<u64, StoreError> {
        for start in self.log_files.starts.iter().rev() {
            if let Some((_, store_ms)) = self.record_at(*start)?
                && store_ms > 0
                && store_ms < ms
            {
                return Ok(*start);
            }
        }
        Ok(self.log_files.min())
    }

    /// Reads the log from `from` to its end, dispatching every record. Returns the queues whose numbering does not fit the log.
    fn dispatch_from(
        &mut self,
        from: u64,
        dispatcher: &mut Dispatcher,
        queues: &[LoadedQueue],
    ) -> Result<BTreeSet<QueueName>, StoreError> {
        let damaged: HashSet<QueueName> = queues
            .iter()
            .filter(|queue| queue.is_damaged())
            .map(|queue| (Arc::clone(&queue.queue.topic), queue.queue.queue_id))
            .collect();
        let known: HashSet<String> = self.known_topics();
        let mut wrong = BTreeSet::new();
        let mut scanner = Scanner::new(self.log, self.log_files.end(), from);
        let reason = loop {
            let at = scanner.position();
            let (record, len) = match scanner.step().map_err(self.read_error(at))? {
                Step::Record { record, len, .. } => (record, len),
                Step::End(reason) => break reason,
            };
            // the step skips fillers
            let at = record.physical_offset.cast_unsigned();
            let dispatch = Dispatch::of(
                &record,
                &Marks::of(record.properties),
                at,
                len,
                self.delay_levels,
            );
            self.report.records += 1;
            self.last_record = at;
            self.newest = Newest {
                log_offset: at,
                store_ms: dispatch.store_ms,
            };
            if dispatch.in_queue && is_directory_name(record.topic) {
                let slot = dispatcher.slot_of(record.topic, record.queue_id);
                if was_removed(record.topic, &known) && dispatcher.next(slot) == 0 {
                    // its messages stay in the log, its queues do not come back
                } else if dispatcher.next(slot) == dispatch.unit.queue_offset {
                    dispatcher.publish(slot, std::iter::once(&dispatch));
                    dispatcher.set_next(slot, dispatcher.after(slot, &dispatch));
                } else if let Some(slot) = dispatcher.slot(slot) {
                    let name = (Arc::clone(&slot.queue.topic), slot.queue.queue_id);
                    if !damaged.contains(&name) {
                        wrong.insert(name);
                    }
                }
            }
            scanner.advance(len);
            let reached = scanner.position();
            self.tell("reading the commit log", reached);
        };
        self.report.scanned_from = signed(from);
        self.report.bytes_read += scanner.bytes_read();
        self.report.log_end = signed(scanner.position());
        if let Some(reason) = reason {
            self.note(format!(
                "commit log: no valid record at offset {} ({reason}); the log ends there",
                scanner.position()
            ));
        }
        Ok(wrong)
    }

    /// Queues that the last stop left and that are missing now, or end earlier although the log was dispatched. Topics that were
    /// removed are left out.
    fn missing_queues(&self, table: &QueueTable) -> Vec<QueueName> {
        let known = self.known_topics();
        let mut missing = Vec::new();
        for (topic, ends) in self.metadata.queue_ends.found() {
            for (queue_id, range) in ends {
                let queue = table.get(topic, *queue_id);
                let lost = queue.map_or(0, |queue| queue.max()) < range.end
                    && is_directory_name(topic)
                    && !was_removed(topic, &known);
                if lost {
                    missing.push((Arc::from(topic.as_str()), *queue_id));
                }
            }
        }
        missing
    }

    fn known_topics(&self) -> HashSet<String> {
        let topics = self.metadata.topics.all();
        topics
            .iter()
            .map(|topic| topic.topic_name.clone())
            .collect()
    }

    /// After a clean stop the log must reach as far as queues and checkpoint say, and nothing valid may lie behind its end: else a
    /// record in the middle is damaged, and cutting there would drop acknowledged messages.
    fn check_clean_end(&self, end: u64, proven: u64, checkpoint: i64) -> Result<(), StoreError> {
        let mut damaged = end < proven || (checkpoint > 0 && signed(end) <= checkpoint);
        if !damaged && end < self.log_files.end() {
            let mut size = [0; 4];
            self.log
                .read(&mut size, end)
                .map_err(self.read_error(end))?;
            let size = u64::try_from(i32::from_be_bytes(size)).unwrap_or(0);
            let next_file = self.log.file_start(end) + self.log.file_bytes();
            damaged = (size > 0 && self.record_at(end + size)?.is_some())
                || self.record_at(next_file)?.is_some();
        }
        if !damaged {
            return Ok(());
        }
        Err(StoreError::DamagedLog {
            path: self.log.path(self.log.file_start(end)),
            offset: end,
        })
    }

    /// Wipes what lies behind the end of the log. After a clean stop with zeros there nothing is touched.
    fn repair_log(&mut self, end: u64) -> Result<(), StoreError> {
        let fault = |(path, source): (PathBuf, io::Error)| StoreError::Io {
            what: "cut the commit log at",
            path,
            source,
        };
        for start in &self.log_files.empty {
            self.log.remove(*start).map_err(fault)?;
        }
        let starts = &self.log_files.starts;
        let has_later_files = starts.iter().any(|start| *start > end);
        let ended_in_garbage = !self.report.notes.is_empty();
        if !self.report.clean || has_later_files || ended_in_garbage {
            self.log.cut(end, starts).map_err(fault)?;
        }
        Ok(())
    }

    /// Derives whole queues from the log.
    fn rebuild(
        &mut self,
        names: &BTreeSet<QueueName>,
        dispatcher: &mut Dispatcher,
        loaded: &[LoadedQueue],
        end: u64,
    ) -> Result<(), StoreError> {
        if names.is_empty() {
            return Ok(());
        }
        let mut untouched: HashSet<usize> = HashSet::new();
        for (topic, queue_id) in names {
            let slot = dispatcher.slot_of(topic, *queue_id);
            untouched.insert(slot);
            let found = loaded
                .iter()
                .find(|loaded| loaded.queue.topic == *topic && loaded.queue.queue_id == *queue_id);
            let short = |found: &LoadedQueue| {
                let end = self.metadata.queue_ends.end(topic, *queue_id);
                end.is_some_and(|end| found.queue.max() < end)
            };
            let reason = match found {
                None => "its files are missing".to_owned(),
                Some(LoadedQueue {
                    damage: Some(damage),
                    ..
                }) => damage.clone(),
                Some(found) if short(found) => "units of the last stop are missing".to_owned(),
                Some(_) => "its numbering does not fit the commit log".to_owned(),
            };
            if let Some(found) = found {
                found
                    .reset()
                    .map_err(StoreError::io("remove files of", found.queue.units.dir()))?;
            }
            dispatcher.begin_at(slot, 0);
            self.note(format!(
                "consume queue {topic}/{queue_id}: {reason}; derived from the commit log again"
            ));
        }
        let rebuilt = untouched.clone();
        let mut scanner = Scanner::new(self.log, end, self.log_files.min());
        loop {
            let at = scanner.position();
            let (record, len) = match scanner.step().map_err(self.read_error(at))? {
                Step::Record { record, len, .. } => (record, len),
                Step::End(_) => break,
            };
            let at = record.physical_offset.cast_unsigned();
            let mut dispatch = Dispatch::of(
                &record,
                &Marks::of(record.properties),
                at,
                len,
                self.delay_levels,
            );
            if dispatch.in_queue && is_directory_name(record.topic) {
                let slot = dispatcher.slot_of(record.topic, record.queue_id);
                if rebuilt.contains(&slot) {
                    let starts_over = dispatch.unit.queue_offset == 0 && dispatcher.next(slot) > 0;
                    if untouched.remove(&slot) || starts_over {
                        dispatcher.begin_at(slot, dispatch.unit.queue_offset);
                    }
                    // a queue that starts over is one of a topic that was removed and made again;
                    // where messages are missing in the log their places stay empty; where the log repeats a place, the message
                    // is kept at the next one rather than lost
                    dispatcher.fill_to(slot, dispatch.unit.queue_offset);
                    let place = dispatch.unit.queue_offset.max(dispatcher.next(slot));
                    dispatch.unit.queue_offset = place;
                    dispatcher.publish(slot, std::iter::once(&dispatch));
                    dispatcher.set_next(slot, dispatcher.after(slot, &dispatch));
                }
            }
            scanner.advance(len);
            let reached = scanner.position();
            self.tell("deriving consume queues", reached);
        }
        self.report.bytes_read += scanner.bytes_read();
        // a queue whose messages were all removed from the log keeps its numbering
        for (topic, queue_id) in names {
            let slot = dispatcher.slot_of(topic, *queue_id);
            if untouched.contains(&slot)
                && let Some(end) = self.metadata.queue_ends.end(topic, *queue_id)
            {
                dispatcher.begin_at(slot, end);
            }
        }
        Ok(())
    }

    /// Makes the files of every queue agree with what was derived, touching only what differs. Returns the queues whose files may not be
    /// on disk.
    fn settle(
        &mut self,
        dispatcher: &mut Dispatcher,
        table: &QueueTable,
        loaded: &[LoadedQueue],
        rebuilt: &BTreeSet<QueueName>,
    ) -> Result<Vec<Arc<ConsumeQueue>>, StoreError> {
        // queues without files have only units that wait
        let found: HashSet<*const ConsumeQueue> = loaded
            .iter()
            .map(|found| Arc::as_ptr(&found.queue))
            .collect();
        let mut dirty = table.take_dirty();
        dirty.retain(|queue| !found.contains(&Arc::as_ptr(queue)));
        let mut unsynced = Vec::new();
        let mut dropped_bytes = 0;
        for found in loaded {
            let name = (Arc::clone(&found.queue.topic), found.queue.queue_id);
            let files_end = if rebuilt.contains(&name) {
                0
            } else {
                found.files_end()
            };
            let settled = found
                .remove_empty(self.fs)
                .and_then(|()| found.queue.units.settle(files_end, self.report.clean))
                .map_err(StoreError::io("repair", found.queue.units.dir()))?;
            dropped_bytes += settled.dropped_bytes;
            if settled.waiting {
                dirty.push(Arc::clone(&found.queue));
            }
            // a clean stop synced everything
            if settled.unsynced && !self.report.clean {
                unsynced.push(Arc::clone(&found.queue));
            }
        }
        table.set_dirty(dirty, dropped_bytes);
        let log_min = self.log_files.min();
        for slot in dispatcher.slots() {
            slot.queue
                .correct_min(log_min)
                .map_err(StoreError::io("read", slot.queue.units.dir()))?;
        }
        dispatcher.reload_next();
        tracing::info!(
            root = %self.layout.root().display(),
            clean = self.report.clean,
            log_end = self.report.log_end,
            scanned_from = self.report.scanned_from,
            records = self.report.records,
            queues = dispatcher.slots().len(),
            "store opened"
        );
        Ok(unsynced)
    }

    /// Opens the index and reads the keys that it lacks from the log. Long gaps are written at once, so that memory stays bounded.
    fn recover_index(
        &mut self,
        fs: &Arc<dyn FileSystem>,
        options: &StoreOptions,
        confirmed_ms: i64,
        end: u64,
    ) -> Result<(Option<Index>, Vec<IndexKey>), StoreError> {
        if !options.index {
            return Ok((None, Vec::new()));
        }
        let sizes = Sizes {
            slots: options.index_slots,
            units: options.index_units,
        };
        let clean = self.report.clean;
        let mut notes = Vec::new();
        let opened = Index::open(fs, self.layout, sizes, confirmed_ms, clean, &mut notes)?;
        self.report.notes.append(&mut notes);
        let Some(mut index) = opened else {
            return Ok((None, Vec::new()));
        };
        let fault = |error| StoreError::io("repair index in", self.layout.index())(error);
        if index.cut(end).map_err(fault)? {
            self.note(
                "index: files with keys behind the end of the log were built again".to_owned(),
            );
        }
        let (from, again) = index.end().unwrap_or((0, true));
        let from = from.max(self.log_files.min());
        let mut keys = Vec::new();
        let mut scanner = Scanner::new(self.log, end, from);
        loop {
            let at = scanner.position();
            let (record, len) = match scanner.step().map_err(self.read_error(at))? {
                Step::Record { record, len, .. } => (record, len),
                Step::End(_) => break,
            };
            let at = record.physical_offset.cast_unsigned();
            if again || at > from {
                keys_of(&record, at, &Marks::of(record.properties), &mut keys);
            }
            scanner.advance(len);
            let reached = scanner.position();
            self.tell("building the index", reached);
            if keys.len() >= INDEX_BATCH {
                index
                    .write(&keys, self.now_ms)
                    .map_err(|found| fault(found.error))?;
                keys.clear();
            }
        }
        self.report.bytes_read += scanner.bytes_read();
        Ok((Some(index), keys))
    }
}

/// Whether a topic that has no queues was removed. Without any known topic the configuration is lost rather, and Java writes topics of
/// the system only when another changes.
fn was_removed(topic: &str, known: &HashSet<String>) -> bool {
    !known.is_empty()
        && !known.contains(topic)
        && !topic.starts_with(SYSTEM_PREFIX)
        && !is_send_forbidden(topic)
}

/// Bytes of the log between two reports of progress.
const TELL_BYTES: u64 = 4 << 20;

/// Keys that are written together while an index is built.
const INDEX_BATCH: usize = 256 * 1024;
