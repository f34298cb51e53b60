//! Writing behind and syncing: consume queues and checkpoint. May run on a thread of its own beside the writer.

use std::{collections::BTreeSet, fmt, io, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{
    WriteError,
    checkpoint::Checkpoint,
    consume_queue::{ConsumeQueue, QueueKind},
    index::{Audit, Audited},
    reindex,
    shared::Shared,
};

/// Writes and syncs in the background what the writer leaves in memory and in the page cache. Clones share their state, so that it
/// does not matter which one is called.
#[derive(Clone)]
pub struct Flusher {
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    checkpoint: Checkpoint,
    /// Written since the last sync.
    unsynced: Vec<Arc<ConsumeQueue>>,
    /// What of the index files is still to be compared with their check sums.
    audit: Audit,
    scratch: Vec<u8>,
    last_write_ms: i64,
    last_sync_ms: i64,
    /// When queues were last synced, which may be before the last sync, and where the log ended then.
    queues_synced_ms: i64,
    queues_synced_log_end: u64,
}

impl fmt::Debug for Flusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flusher")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl Flusher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        checkpoint: Checkpoint,
        unsynced: Vec<Arc<ConsumeQueue>>,
        now_ms: i64,
    ) -> Self {
        let queues_synced_log_end = shared.log.end();
        let audit = match &mut *shared.index.write() {
            Some(index) => std::mem::take(index.audit_mut()),
            None => Audit::default(),
        };
        Self {
            shared,
            state: Arc::new(Mutex::new(State {
                checkpoint,
                unsynced,
                audit,
                scratch: Vec::new(),
                last_write_ms: now_ms,
                last_sync_ms: now_ms,
                queues_synced_ms: now_ms,
                queues_synced_log_end,
            })),
        }
    }

    /// Does what is due at `now_ms`: writes waiting consume-queue units, and less often syncs them and moves the checkpoint on. Where
    /// more than a thousand queues have some, a file each, they are written with the sync only, every sixth time, or when they take much
    /// memory, or when the log has grown by 512 MiB, which a start after a kill would have to read.
    /// Meant to be called every few hundred milliseconds; does not wait for the writer, and the writer not for it.
    ///
    /// # Errors
    /// A failed write is tried again at the next call; after a failed sync the store takes no more messages.
    ///
    /// Java: `FlushConsumeQueueService`
    pub fn tick(&self, now_ms: i64) -> Result<(), WriteError> {
        let mut state = self.state.lock();
        let options = &self.shared.options;
        if is_due(now_ms, state.last_sync_ms, options.queue_sync_interval) {
            state.last_sync_ms = now_ms;
            state.last_write_ms = now_ms;
            self.audit_index(&mut state);
            if self.queues_may_wait(&state, now_ms) {
                self.shared.sync_log()?;
                return self.write_index(&mut state);
            }
            let log_end = self.shared.log.end();
            self.sync_queues(&mut state)?;
            self.mark_queues()?;
            state.queues_synced_ms = now_ms;
            state.queues_synced_log_end = log_end;
            Ok(())
        } else if is_due(now_ms, state.last_write_ms, options.queue_write_interval) {
            state.last_write_ms = now_ms;
            self.audit_index(&mut state);
            if !self.shared.queues.is_spread_thin() {
                self.write_queues(&mut state)?;
            }
            if self.shared.index_is_pressing() {
                self.write_index(&mut state)?;
            }
            Ok(())
        } else {
            Ok(())
        }
    }

    /// Whether writing and syncing so many queues now is better left for a later sync. Java syncs queues with few new units once a minute
    /// (`flushConsumeQueueThoroughInterval`).
    fn queues_may_wait(&self, state: &State, now_ms: i64) -> bool {
        let longest = self.shared.options.queue_sync_interval * THIN_SYNC_INTERVALS;
        let grown = self
            .shared
            .log
            .end()
            .saturating_sub(state.queues_synced_log_end);
        self.shared.queues.is_spread_thin()
            && !is_due(now_ms, state.queues_synced_ms, longest)
            && grown < THIN_SYNC_LOG_BYTES
    }

    /// Syncs the commit log and returns the offset up to which it is on disk; everything committed before the call is included.
    ///
    /// # Errors
    /// The sync failed, now or earlier: the store takes no more messages.
    ///
    /// Java: `CommitLog.FlushRealTimeService`
    pub fn sync_log(&self) -> Result<i64, WriteError> {
        self.shared.sync_log().map(crate::number::signed)
    }

    /// Makes sure that everything committed so far is on disk; also once the store is closed, if it was closed well.
    ///
    /// # Errors
    /// As [`Flusher::sync_log`].
    pub fn sync_all_so_far(&self) -> Result<(), WriteError> {
        let end = self.shared.log.end();
        match self.shared.sync_log() {
            Err(error) if self.shared.log.synced() < end => Err(error),
            _ => Ok(()),
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Keeps everything else that writes behind out for the life of the returned value.
    pub(crate) fn hold(&self) -> impl Drop + use<'_> {
        self.state.lock()
    }

    /// Writes all that waits in memory, whatever the time.
    pub(crate) fn write_now(&self) -> Result<(), WriteError> {
        let mut state = self.state.lock();
        self.write_queues(&mut state)?;
        self.write_index(&mut state)
    }

    /// Syncs log and consume queues and writes the checkpoint, whatever the time.
    pub(crate) fn sync_now(&self) -> Result<(), WriteError> {
        self.sync_queues(&mut self.state.lock())
    }

    /// Forgets queues that are about to be removed.
    pub(crate) fn forget(&self, queues: &[Arc<ConsumeQueue>]) {
        let mut state = self.state.lock();
        state
            .unsynced
            .retain(|queue| !queues.iter().any(|removed| Arc::ptr_eq(queue, removed)));
    }

    fn write_queues(&self, state: &mut State) -> Result<(), WriteError> {
        let mut failed = Ok(());
        for queue in self.shared.queues.take_dirty() {
            if failed.is_err() {
                self.shared.queues.mark_dirty(&queue);
                continue;
            }
            match queue.units.write_pending(&mut state.scratch) {
                Ok((written, more)) => {
                    self.shared.queues.note_written(written);
                    if more {
                        self.shared.queues.mark_dirty(&queue);
                    }
                    state.unsynced.push(queue);
                }
                Err(error) => {
                    failed = Err(self.shared.write_error(
                        "write consume queue",
                        &queue.units.dir(),
                        error,
                    ));
                    self.shared.queues.mark_dirty(&queue);
                }
            }
        }
        failed
    }

    /// The order matters: the checkpoint must not promise a unit whose record, or which itself, is not on disk.
    fn sync_queues(&self, state: &mut State) -> Result<(), WriteError> {
        let newest = *self.shared.newest.lock();
        self.shared.sync_log()?;
        self.write_queues(state)?;
        let mut queues = std::mem::take(&mut state.unsynced);
        queues.sort_unstable_by_key(Arc::as_ptr);
        queues.dedup_by(|a, b| Arc::ptr_eq(a, b));
        self.sync_files(&queues)?;
        self.write_index(state)?;
        let checkpoint = Checkpoint {
            log_ms: newest.store_ms,
            queues_ms: newest.store_ms,
            queues_log_offset: crate::number::signed(newest.log_offset),
            ..state.checkpoint
        };
        self.write_checkpoint(state, checkpoint)
    }

    /// Tells later starts that what they find of queues is all there was.
    fn mark_queues(&self) -> Result<(), WriteError> {
        let shared = &self.shared;
        shared.metadata.queue_ends.mark().map_err(|error| {
            let config = shared.layout.config();
            shared.write_error("write to", &config, io::Error::other(error))
        })
    }

    /// Syncs the files of queues: one by one, or many at once.
    fn sync_files(&self, queues: &[Arc<ConsumeQueue>]) -> Result<(), WriteError> {
        let (fs, layout) = (&self.shared.fs, &self.shared.layout);
        if queues.len() > SYNC_ALL_FROM {
            let kinds = [
                (QueueKind::Plain, layout.consume_queues()),
                (QueueKind::Batch, layout.batch_consume_queues()),
            ];
            let has = |kind| queues.iter().any(|queue| queue.kind == kind);
            // either may lie on a disk of its own
            let dirs = kinds.iter().filter(|(kind, _)| has(*kind));
            let mut is_synced = true;
            for (_, dir) in dirs {
                // no other thread writes units, so that nothing is written in between that would not be synced
                match fs.sync_all(dir) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => is_synced = false,
                    Err(error) => return Err(self.shared.stop_writing(dir, &error)),
                }
            }
            if is_synced {
                for queue in queues {
                    queue.units.set_synced();
                }
                return Ok(());
            }
        }
        let mut directories = BTreeSet::new();
        for queue in queues {
            queue
                .units
                .sync(&mut directories)
                .map_err(|error| self.shared.stop_writing(&queue.units.dir(), &error))?;
        }
        for directory in directories {
            fs.sync_dir(&directory)
                .map_err(|error| self.shared.stop_writing(&directory, &error))?;
        }
        Ok(())
    }

    /// Writes the waiting keys, or brings an index that is behind up to the log. The log is synced before, so that the index has no key of
    /// a message that a crash takes away. An index that cannot be written is behind from then on, and is tried again.
    fn write_index(&self, state: &mut State) -> Result<(), WriteError> {
        let shared = &self.shared;
        let mut guard = shared.index.write();
        let (keys, is_behind) = {
            let mut waiting = shared.index_keys.lock();
            (waiting.take(), waiting.behind().is_some())
        };
        let Some(index) = guard.as_mut() else {
            return Ok(());
        };
        if keys.is_empty() && !is_behind {
            return Ok(());
        }
        shared.sync_log()?;
        let written = if is_behind {
            reindex::catch_up(shared, index, state.last_sync_ms)
        } else {
            index.write(&keys, state.last_sync_ms)
        };
        match written {
            Ok(confirmed_ms) => {
                drop(guard);
                let checkpoint = Checkpoint {
                    index_ms: confirmed_ms,
                    ..state.checkpoint
                };
                self.write_checkpoint(state, checkpoint)
            }
            Err(fault) => {
                let path = shared.layout.index();
                let indexed = index.end().map_or(0, |(end, _)| end);
                let is_new = shared.index_keys.lock().fall_behind(indexed);
                let error = shared.write_error("write index", &path, fault.error);
                if is_new {
                    tracing::error!(%error, "newer messages are not found by key until the index can be written");
                } else {
                    tracing::debug!(%error, "the index is still behind");
                }
                if fault.left_damaged {
                    let error = io::Error::other("a damaged file could not be removed");
                    return Err(shared.stop_writing(&path, &error));
                }
                Ok(())
            }
        }
    }

    /// Compares some more of the index files that the start found. Where one has other content, it and those behind it are removed, and the
    /// index is behind until it has caught up.
    fn audit_index(&self, state: &mut State) {
        let shared = &self.shared;
        let mut budget = shared.options.index_check_bytes / 4;
        while budget > 0 && !state.audit.is_done() {
            // nobody else writes to the index while the state is locked
            let audited = match &*shared.index.read() {
                Some(index) => state.audit.step(index, &mut budget),
                None => return,
            };
            match audited {
                Ok(Audited::Paused) => return,
                Ok(Audited::Summed(name, sum)) => {
                    if let Some(index) = &mut *shared.index.write() {
                        index.set_sum(name, sum);
                    }
                }
                Ok(Audited::Damaged(name, why)) => {
                    tracing::warn!("index/{name} {why}; built again from there on");
                    if let Some(index) = &mut *shared.index.write() {
                        let place = index.place_of(&name);
                        let removed = place.map_or(Ok(None), |place| index.remove_from(place));
                        if let Err(error) = removed {
                            tracing::error!(%error, "index files were not removed");
                        }
                        let indexed = index.end().map_or(0, |(end, _)| end);
                        shared.index_keys.lock().fall_behind(indexed);
                    }
                }
                Err(error) => tracing::error!(%error, "an index file was not checked"),
            }
        }
    }

    fn write_checkpoint(
        &self,
        state: &mut State,
        checkpoint: Checkpoint,
    ) -> Result<(), WriteError> {
        if checkpoint != state.checkpoint {
            let path = self.shared.layout.checkpoint();
            checkpoint
                .write(&*self.shared.fs, &path)
                .map_err(|error| self.shared.write_error("write", &path, error))?;
            state.checkpoint = checkpoint;
        }
        Ok(())
    }
}

/// Sync intervals that queues may wait for their sync while very many of them have little to write each, and bytes by which the log may grow
/// meanwhile.
const THIN_SYNC_INTERVALS: u32 = 6;
const THIN_SYNC_LOG_BYTES: u64 = 512 << 20;

/// Queues from which on one sync of the whole disk is cheaper than one per file.
const SYNC_ALL_FROM: usize = 64;

/// Whether `interval` has passed since `last_ms`; a clock that went back counts as passed.
fn is_due(now_ms: i64, last_ms: i64, interval: Duration) -> bool {
    let passed = now_ms.saturating_sub(last_ms);
    passed < 0 || u128::from(passed.cast_unsigned()) >= interval.as_millis()
}

#[cfg(test)]
mod tests {
    use crate::{NewMessage, Store, StoreOptions, Writer};

    const NOW_MS: i64 = 1_700_000_000_000;

    /// A message to each of so many queues that they are written seldom.
    fn send_thinly(writer: &mut Writer) {
        let host = std::net::SocketAddr::from(([127, 0, 0, 1], 10911));
        for queue_id in 0..1100 {
            let message = NewMessage {
                topic: "T",
                queue_id,
                flag: 0,
                sys_flag: 0,
                born_ms: NOW_MS,
                born_host: host,
                store_host: host,
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                properties: b"",
                body: b"hello",
            };
            writer.append(&message, NOW_MS).unwrap();
        }
        writer.commit().unwrap();
    }

    /// Senders would wait for the writer to write all queues: the flusher is to come before it.
    #[test]
    fn many_units_are_written_behind_before_the_writer_has_to() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            log_file_bytes: 4 << 20,
            queue_file_bytes: 2000,
            ..StoreOptions::default()
        };
        let (mut writer, _reader, _) = Store::open(dir.path(), options, NOW_MS).unwrap();
        let flusher = writer.flusher();
        let file = dir.path().join("consumequeue/T/7/00000000000000000000");
        send_thinly(&mut writer);
        flusher.tick(NOW_MS + 1000).unwrap();
        assert!(!file.exists());

        let shared = flusher.shared();
        shared.queues.note_waiting(17 << 20);
        assert!(!shared.much_is_waiting());
        flusher.tick(NOW_MS + 2000).unwrap();
        assert!(file.exists());
        shared.queues.note_waiting(16 << 20);
        assert!(shared.much_is_waiting());
        shared.queues.note_written(33 << 20);
    }
}
