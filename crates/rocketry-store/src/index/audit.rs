//! Reading the index files that a start found once, in steps of bounded size, whether they hold what was written to them.
//!
//! A file that the last stop knew is compared with its check sums. One that it did not know, Java's for example, has to be such as a file
//! can be: units in log order within the header's offsets, chains that lead to older units, slots that name units. Its check sums are
//! known from then on.

use std::{collections::VecDeque, io};

use super::{Digest, Index, file::IndexFile};
use crate::{
    fs::OpenMode,
    metadata::IndexSum,
    number::{i32_at, i64_at},
};

/// Bytes read together.
const PIECE_BYTES: u32 = 256 * 1024;

/// The files that are still to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Names, the oldest first. One that the index has no more is passed over.
    waiting: VecDeque<String>,
    /// How far the first of them was read.
    walk: Walk,
}

#[derive(Debug)]
struct Walk {
    /// The next unit.
    unit: u32,
    digest: Digest,
    /// Log offset of the unit before.
    log_offset: i64,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            unit: 1,
            digest: Digest::default(),
            log_offset: 0,
        }
    }
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Audited {
    /// Nothing is left to look at, or the step has read what it may.
    Paused,
    /// A file whose check sums were not known is such as one can be.
    Summed(String, IndexSum),
    /// A file is not what was written: its name, and what is wrong.
    Damaged(String, &'static str),
}

impl Audit {
    /// Of the files `names`, in order.
    pub(super) fn new(names: &[String]) -> Self {
        Self {
            waiting: names.iter().cloned().collect(),
            walk: Walk::default(),
        }
    }

    /// Whether every file was looked at.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Reads on until there is something to tell, or `budget` bytes were read, or a few more: it is told then how many are left. Nothing
    /// may be written to the index meanwhile.
    ///
    /// # Errors
    /// The disk refused a read: the file is passed over.
    pub(crate) fn step(&mut self, index: &Index, budget: &mut u64) -> io::Result<Audited> {
        while *budget > 0
            && let Some(name) = self.waiting.front()
        {
            if !index.names.contains(name) {
                self.next();
                continue;
            }
            let read = self.walk.read(index, name, budget);
            if matches!(read, Ok(None)) {
                continue;
            }
            let name = self.next();
            return match read? {
                Some(Ok(Some(sum))) => Ok(Audited::Summed(name, sum)),
                Some(Err(why)) => Ok(Audited::Damaged(name, why)),
                _ => continue,
            };
        }
        Ok(Audited::Paused)
    }

    fn next(&mut self) -> String {
        self.walk = Walk::default();
        self.waiting.pop_front().unwrap_or_default()
    }
}

/// The end of a file: its check sums if they were not known, or what is wrong with it.
type Verdict = Result<Option<IndexSum>, &'static str>;

impl Walk {
    /// Reads one piece of units, or behind the last the slots; `None` before the end.
    fn read(&mut self, index: &Index, name: &str, budget: &mut u64) -> io::Result<Option<Verdict>> {
        let path = index.dir.join(name);
        let file = IndexFile::open(&*index.fs, &path, index.sizes, OpenMode::Read)?;
        let header = file.header;
        let known = index.sums.get(name);
        if self.unit < header.count {
            let affordable = u32::try_from(*budget / 20).unwrap_or(u32::MAX).max(1);
            let mut units = (header.count - self.unit)
                .min(affordable)
                .min(PIECE_BYTES / 20);
            if let Some(known) = known.filter(|known| known.count > self.unit) {
                units = units.min(known.count - self.unit);
            }
            let bytes = file.read_units(self.unit, units)?;
            *budget = budget.saturating_sub(bytes.len() as u64);
            for unit in bytes.chunks_exact(20) {
                let log_offset = i64_at(unit, 4).unwrap_or(-1);
                let is_in_order = log_offset >= self.log_offset.max(header.begin_offset)
                    && log_offset <= header.end_offset;
                let older = i32_at(unit, 16).unwrap_or(-1);
                let is_chained = (0..self.unit.cast_signed()).contains(&older);
                let has_sign = |at| i32_at(unit, at).is_none_or(|number| number < 0);
                if !is_in_order || !is_chained || has_sign(0) || has_sign(12) {
                    return Ok(Some(Err("has a unit that cannot be there")));
                }
                self.log_offset = log_offset;
                self.unit += 1;
            }
            self.digest.add_units(&bytes);
            let is_other = known
                .is_some_and(|known| known.count == self.unit && known.units != self.digest.units);
            return Ok(is_other.then_some(Err("has other units than were written to it")));
        }
        let mut first = 0;
        let empty = vec![0; PIECE_BYTES as usize];
        while first < index.sizes.slots {
            let bytes = file.read_slots(first, (index.sizes.slots - first).min(PIECE_BYTES / 4))?;
            *budget = budget.saturating_sub(bytes.len() as u64);
            // most pieces of a file that was just begun are
            let slots = if empty.starts_with(&bytes) {
                &[]
            } else {
                bytes.as_chunks::<4>().0
            };
            for (slot, head) in (first..).zip(slots) {
                let head = u32::from_be_bytes(*head);
                if head >= header.count {
                    return Ok(Some(Err("has a slot of a unit that is not in use")));
                }
                self.digest.set_slot(slot, 0, head);
            }
            first = first.saturating_add(PIECE_BYTES / 4);
        }
        Ok(Some(match index.digest_of(name, header.count) {
            Some(digest) if digest == self.digest => Ok(None),
            Some(_) => Err("has other content than was written to it"),
            None => Ok(Some(header.sum(self.digest))),
        }))
    }
}
