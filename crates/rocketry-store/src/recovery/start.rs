//! Where reading of the log begins, and what its end must not fall below.

use std::collections::HashSet;

use super::{LoadedQueue, Work};
use crate::{
    StoreError,
    checkpoint::Checkpoint,
    commit_log::{Scanner, Step},
    metadata::QueueEnds,
    number::signed,
};

/// Where to begin reading the log.
pub(super) struct Start {
    /// The units of all records before it are known to be on disk.
    pub(super) offset: u64,
    /// The log reaches at least so far, if that is known.
    pub(super) promised_end: Option<u64>,
}

impl Work<'_> {
    /// The checkpoint's record, or after a clean stop the newest record that a queue knows, whichever is earlier; without either the
    /// newest file that begins before the checkpoint's time; without that, or where nothing is `proven`, the whole log.
    pub(super) fn scan_start(
        &mut self,
        queues: &[LoadedQueue],
        checkpoint: Checkpoint,
        proven: bool,
    ) -> Result<Start, StoreError> {
        let log_min = self.log_files.min();
        if !checkpoint.knows_queues() {
            // absent, or of a start that was building them and was stopped: then it says how far the log reached
            return Ok(Start {
                offset: log_min,
                promised_end: u64::try_from(checkpoint.confirm_offset).ok(),
            });
        }
        let newest = queues
            .iter()
            .filter_map(|queue| queue.last)
            .max_by_key(|unit| unit.log_offset);
        let newest = match newest {
            Some(unit) => self
                .record_at(unit.log_offset)?
                .filter(|(end, _)| *end == unit.log_end())
                .map(|(end, store_ms)| (unit.log_offset, end, store_ms)),
            None => None,
        };
        let from_queues = newest.map(|(start, _, _)| start);
        let known = u64::try_from(checkpoint.queues_log_offset)
            .ok()
            .filter(|offset| *offset > 0);
        let from_checkpoint = match known {
            Some(offset) if self.record_at(offset)?.is_some() => Some(offset),
            _ => None,
        };
        let offset = match (self.report.clean, from_checkpoint, from_queues) {
            _ if !proven => log_min,
            (true, Some(checkpoint), Some(queues)) => checkpoint.min(queues),
            (true, None, Some(queues)) => queues,
            (_, Some(checkpoint), _) => checkpoint,
            _ => self.file_before(checkpoint.queues_ms)?,
        };
        let mut promised = known;
        if self.report.clean
            && let Some(named) = known
            && from_checkpoint.is_none()
            && let Some((_, end, store_ms)) = newest
            && named >= end
            && store_ms == checkpoint.queues_ms
            && self.metadata.queue_ends.are_met(queues)
            && self.is_empty_from(end)?
        {
            self.note(format!(
                "checkpoint: names log offset {named} as that of the newest message, but log and queues end at {end}, as they did at the last stop; not believed"
            ));
            promised = None;
        }
        // the checkpoint names a record, the newest unit the end of one
        let from_checkpoint = promised.map(|offset| offset + 1);
        let from_units = newest.map(|(_, end, _)| end);
        Ok(Start {
            offset,
            promised_end: from_checkpoint.max(from_units),
        })
    }

    /// Whether zeros are at `end`, and no later file begins with a record.
    fn is_empty_from(&self, end: u64) -> Result<bool, StoreError> {
        let mut scanner = Scanner::new(self.log, self.log_files.end(), end);
        let step = scanner
            .step()
            .map_err(|error| self.read_error(end, error))?;
        let is_end = matches!(step, Step::End(None));
        Ok(is_end && self.resume_after(end, u64::MAX)? == u64::MAX)
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

    /// After a clean stop the log must reach as far as queues and checkpoint say, and nothing valid may lie behind its end: else a
    /// record in the middle is damaged, and cutting there would drop acknowledged messages.
    pub(super) fn check_clean_end(&self, end: u64, promised: u64) -> Result<(), StoreError> {
        let mut damaged = end < promised;
        if !damaged && end < self.log_files.end() {
            let mut size = [0; 4];
            self.log
                .read(&mut size, end)
                .map_err(|error| self.read_error(end, error))?;
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

    /// Where reading can go on behind an invalid record at `at`, before `until`, where a valid one is: at the next file that begins
    /// with one.
    pub(super) fn resume_after(&self, at: u64, until: u64) -> Result<u64, StoreError> {
        for start in &self.log_files.starts {
            if *start > at && *start < until && self.record_at(*start)?.is_some() {
                return Ok(*start);
            }
        }
        Ok(until)
    }

    /// Notes that a part of the log cannot be read, which is known to be followed by more.
    pub(super) fn note_gap(&mut self, at: u64, until: u64, reason: &str) {
        self.note(format!(
            "commit log: no valid record at offset {} ({reason}), reading goes on at {}; restore {} from a copy",
            signed(at),
            signed(until),
            self.log.path(self.log.file_start(at)).display()
        ));
    }
}

impl QueueEnds {
    /// Whether the queues end where they did at the last stop, all of them, and there are no others.
    pub(crate) fn are_met(&self, queues: &[LoadedQueue]) -> bool {
        let ends_as_then = |found: &LoadedQueue| {
            let queue = &found.queue;
            self.end(queue.topic(), queue.queue_id()) == Some(queue.max())
        };
        let names: HashSet<(&str, i32)> = queues
            .iter()
            .map(|found| (&**found.queue.topic(), found.queue.queue_id()))
            .collect();
        self.is_there()
            && queues.iter().all(ends_as_then)
            && self.found().iter().all(|(topic, ids)| {
                ids.iter().all(|(id, range)| {
                    range.begin == range.end || names.contains(&(topic.as_str(), *id))
                })
            })
    }
}
