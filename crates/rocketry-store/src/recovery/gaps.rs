//! Whether index files are missing: those that are there have to follow each other in the log without leaving out a message with keys.

use super::Work;
use crate::{
    StoreError,
    commit_log::{Scanner, Step},
    dispatch::Marks,
    index::{Index, keys_of},
};

/// Bytes of the log that are looked at for a message with keys between two files.
const LOOK_BYTES: u64 = 1 << 20;

impl Work<'_> {
    /// Removes the index files behind the first place where one is missing, so that they are built again. `lost` has the first and last
    /// log offsets of files that should be there.
    pub(super) fn remove_behind_gap(
        &mut self,
        index: &mut Index,
        lost: &[(i64, i64)],
    ) -> Result<(), StoreError> {
        let dir = self.layout.index();
        let mut before = None;
        let ranges = index.ranges().map_err(StoreError::io("read", &dir))?;
        for (place, (begin, end)) in (0..)
            .zip(ranges)
            .filter_map(|(at, range)| Some((at, range?)))
        {
            let is_lost = |(first, last): &(i64, i64)| {
                before.is_none_or(|before| *last > before) && *first < begin && *last < end
            };
            if lost.iter().any(is_lost) || self.has_keys_between(before, begin)? {
                let removed = index
                    .remove_from(place)
                    .map_err(StoreError::io("repair", &dir))?;
                self.note(format!(
                    "index/{} does not begin where the file before it ends; built again from there on",
                    removed.unwrap_or_default()
                ));
                return Ok(());
            }
            before = Some(end);
        }
        Ok(())
    }

    /// Whether the log has a message with keys behind the one at `after`, or from its start on, and before `until`. Only the first of
    /// them are looked at. Tags do not count: Java's versions before 5.5 did not index them.
    fn has_keys_between(&mut self, after: Option<i64>, until: i64) -> Result<bool, StoreError> {
        let log_min = self.log_files.min();
        let after = after.and_then(|after| u64::try_from(after).ok());
        let from = after.filter(|after| *after >= log_min).unwrap_or(log_min);
        let until = u64::try_from(until).unwrap_or(0).min(self.log_files.end());
        let limit = until.min(from + LOOK_BYTES);
        let mut scanner = Scanner::new(self.log, self.log_files.end(), from);
        let mut keys = Vec::new();
        while keys.is_empty() && scanner.position() < limit {
            let at = scanner.position();
            let Step::Record { record, len, .. } =
                scanner.step().map_err(|error| self.read_error(at, error))?
            else {
                break;
            };
            // the step skips fillers
            let at = record.physical_offset.cast_unsigned();
            if at < until && after != Some(at) {
                let mut marks = Marks::of(record.properties);
                marks.tags = None;
                keys_of(&record, at, &marks, &mut keys);
            }
            scanner.advance(len);
        }
        self.report.bytes_read += scanner.bytes_read();
        Ok(!keys.is_empty())
    }
}
