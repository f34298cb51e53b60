//! One reading of the log, which everything derived is fed from, and the bound on what waits in memory meanwhile.

use std::collections::{BTreeSet, HashMap};

use rocketry_protocol::record::Record;

use super::{Deriver, Keys, LoadedQueue, QueueName, Work, name_of};
use crate::{
    StoreError,
    checkpoint::Checkpoint,
    commit_log::{Scanner, Step},
    dispatch::{Dispatch, Marks},
    number::signed,
    shared::Newest,
};

/// What has to be on disk before the first derived byte is written.
#[derive(Debug)]
pub(super) struct Writes {
    /// The checkpoint as it is on disk.
    checkpoint: Checkpoint,
    /// End of the log that a clean stop promised.
    promised_end: Option<u64>,
    have_begun: bool,
}

impl Writes {
    pub(super) const fn new(checkpoint: Checkpoint, promised_end: Option<u64>) -> Self {
        Self {
            checkpoint,
            promised_end,
            have_begun: false,
        }
    }

    pub(super) const fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    pub(super) const fn have_begun(&self) -> bool {
        self.have_begun
    }
}

impl Work<'_> {
    /// Makes the checkpoint say that derived files are being built, so that a start after a crash meanwhile trusts none of them, and
    /// removes the files of queues that are derived as a whole. The abort marker is not written yet when memory is full before the end
    /// of the log was seen: a log that turns out damaged after a clean stop must still be known as one that was closed.
    pub(super) fn begin_writing(
        &mut self,
        writes: &mut Writes,
        deriver: &Deriver<'_>,
        loaded: &[LoadedQueue],
    ) -> Result<(), StoreError> {
        if writes.have_begun {
            return Ok(());
        }
        writes.have_begun = true;
        let path = self.layout.checkpoint();
        writes.checkpoint = writes.checkpoint.rebuilding(writes.promised_end);
        writes
            .checkpoint
            .write(&**self.fs, &path)
            .map_err(StoreError::io("write", path))?;
        for found in loaded {
            if deriver.is_whole(&found.queue) {
                let removed = found.queue.units.remove_files();
                removed.map_err(StoreError::io("remove files of", found.queue.units.dir()))?;
            }
        }
        Ok(())
    }

    /// Reads the log to its end, dispatching every record to consume queues and index.
    pub(super) fn read_log(
        &mut self,
        deriver: &mut Deriver<'_>,
        keys: &mut Keys,
        writes: &mut Writes,
        loaded: &[LoadedQueue],
    ) -> Result<(), StoreError> {
        let from = deriver.read_from();
        let mut scanner = Scanner::new(self.log, self.log_files.end(), from);
        let mut checked_at = from;
        let reason = loop {
            let at = scanner.position();
            let (record, len) = match scanner.step().map_err(|error| self.read_error(at, error))? {
                Step::Record { record, len, .. } => (record, len),
                Step::End(reason) => {
                    let at = scanner.position();
                    let proven_to = deriver.kept_before();
                    if at >= proven_to {
                        break reason;
                    }
                    let next = self.resume_after(at, proven_to)?;
                    self.note_gap(at, next, reason.as_deref().unwrap_or("zeros"));
                    scanner.go_to(next);
                    continue;
                }
            };
            // the step skips fillers
            let at = record.physical_offset.cast_unsigned();
            let marks = Marks::of(record.properties);
            let dispatch = Dispatch::of(&record, &marks, at, len, self.delay_levels());
            self.report.records += 1;
            self.last_record = at;
            self.newest = Newest {
                log_offset: at,
                store_ms: dispatch.store_ms,
            };
            keys.add(&record, at, &marks);
            self.derive(deriver, &record, dispatch)?;
            scanner.advance(len);
            let reached = scanner.position();
            if reached - checked_at >= CHECK_BYTES {
                checked_at = reached;
                self.tell("reading the commit log", reached);
                if deriver.is_large() || keys.is_large() {
                    // a crashed store is known as such, and its checkpoint holds for what lies before
                    if self.report.clean || deriver.has_whole() {
                        self.begin_writing(writes, deriver, loaded)?;
                    }
                    self.write_queues(deriver)?;
                    keys.write(self)?;
                }
            }
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
        Ok(())
    }

    /// Reads the log once more, for queues of which only the first reading showed that they do not fit.
    pub(super) fn rebuild(
        &mut self,
        names: &BTreeSet<QueueName>,
        deriver: &mut Deriver<'_>,
        loaded: &[LoadedQueue],
        end: u64,
    ) -> Result<(), StoreError> {
        if names.is_empty() {
            return Ok(());
        }
        let found: HashMap<QueueName, &LoadedQueue> = loaded
            .iter()
            .map(|found| (name_of(&found.queue), found))
            .collect();
        for name in names {
            self.note_whole(name, found.get(name).copied());
        }
        deriver.start_over(names).map_err(StoreError::io(
            "remove consume queues of",
            self.layout.root(),
        ))?;
        let mut scanner = Scanner::new(self.log, end, self.log_files.min());
        let mut checked_at = scanner.position();
        loop {
            let at = scanner.position();
            let (record, len) = match scanner.step().map_err(|error| self.read_error(at, error))? {
                Step::Record { record, len, .. } => (record, len),
                Step::End(_) => {
                    let at = scanner.position();
                    if at >= deriver.kept_before() {
                        break;
                    }
                    scanner.go_to(self.resume_after(at, deriver.kept_before())?);
                    continue;
                }
            };
            let at = record.physical_offset.cast_unsigned();
            let marks = Marks::of(record.properties);
            let dispatch = Dispatch::of(&record, &marks, at, len, self.delay_levels());
            self.derive(deriver, &record, dispatch)?;
            scanner.advance(len);
            let reached = scanner.position();
            if reached - checked_at >= CHECK_BYTES {
                checked_at = reached;
                self.tell("deriving consume queues", reached);
                if deriver.is_large() {
                    self.write_queues(deriver)?;
                }
            }
        }
        self.report.bytes_read += scanner.bytes_read();
        Ok(())
    }

    fn derive(
        &self,
        deriver: &mut Deriver<'_>,
        record: &Record<'_>,
        dispatch: Dispatch,
    ) -> Result<(), StoreError> {
        // the path of the error is made when there is one, not once per record
        deriver
            .add(record, dispatch)
            .map_err(|error| StoreError::io("derive consume queues of", self.layout.root())(error))
    }

    fn write_queues(&self, deriver: &mut Deriver<'_>) -> Result<(), StoreError> {
        deriver.write().map_err(StoreError::io(
            "write consume queues of",
            self.layout.root(),
        ))
    }
}

/// Bytes of the log after which it is looked at how much waits in memory.
const CHECK_BYTES: u64 = 1 << 20;
