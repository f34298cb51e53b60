//! From the records of one reading of the log to the key index.

use std::io;

use rocketry_protocol::record::Record;

use super::{Work, index_builder::IndexBuilder};
use crate::{
    StoreError, StoreOptions,
    commit_log::{Scanner, Step},
    dispatch::Marks,
    index::{Audited, Index, IndexKey, OpenIndex, Sizes, keys_of},
    number::signed,
};

/// Collects the keys that the index lacks. Many are written at once, so that memory stays bounded.
#[derive(Debug)]
pub(super) struct Keys {
    /// Whether messages are indexed.
    wanted: bool,
    /// End time that the checkpoint confirms, ms.
    confirmed_ms: i64,
    /// Whether files are believed without the checkpoint's word.
    trusted: bool,
    sizes: Sizes,
    /// Log offset from which on all keys that the index lacks are here or were written.
    from: u64,
    /// Keys of earlier messages are in the index, and those of a message there unless they may be split.
    have: Option<(u64, bool)>,
    waiting: Vec<IndexKey>,
    index: Option<IndexBuilder>,
    is_open: bool,
}

impl Keys {
    /// Collects from the log offset `from` on.
    pub(super) fn new(options: &StoreOptions, confirmed_ms: i64, trusted: bool, from: u64) -> Self {
        Self {
            wanted: options.index,
            confirmed_ms,
            trusted,
            sizes: Sizes {
                slots: options.index_slots,
                units: options.index_units,
            },
            from,
            have: None,
            waiting: Vec::new(),
            index: None,
            is_open: false,
        }
    }

    /// Takes the keys of the next record.
    pub(super) fn add(&mut self, record: &Record<'_>, at: u64, marks: &Marks<'_>) {
        if self.wanted && at >= self.from && is_lacking(self.have, at) {
            keys_of(record, at, marks, &mut self.waiting);
        }
    }

    /// Whether so many keys wait that they should be written.
    pub(super) const fn is_large(&self) -> bool {
        self.waiting.len() >= BATCH
    }

    /// Opens the index, if that was not done yet, and brings it up to where the keys were collected from.
    fn open(&mut self, work: &mut Work<'_>) -> Result<(), StoreError> {
        if !self.is_open && self.wanted {
            self.is_open = true;
            let mut notes = Vec::new();
            let options = OpenIndex {
                sizes: self.sizes,
                confirmed_ms: self.confirmed_ms,
                clean: self.trusted,
                known: work.metadata.index_table.found(),
                log_min: signed(work.log_files.min()),
            };
            let opened = Index::open(work.fs, work.layout, &options, &mut notes)?;
            for note in notes {
                work.note(note);
            }
            if let Some((mut index, lost)) = opened {
                work.remove_behind_gap(&mut index, &lost)?;
                audit(&mut index, work)?;
                let table = &work.metadata.index_table;
                if index.lacks_some(table.found()) {
                    // files of these names that are made from now on are others
                    table.save(index.state())?;
                }
                self.index = Some(IndexBuilder::new(index, work.now_ms));
            }
            self.wanted = self.index.is_some();
            self.catch_up(work, self.from)?;
        }
        Ok(())
    }

    /// Reads what the index lacks before `until`, and drops what it does not lack.
    fn catch_up(&mut self, work: &mut Work<'_>, until: u64) -> Result<(), StoreError> {
        let Some(index) = &mut self.index else {
            self.waiting = Vec::new();
            return Ok(());
        };
        let have = index.index().map_err(fault(work))?.end();
        self.have = have;
        self.waiting
            .retain(|key| is_lacking(have, key.log_offset.cast_unsigned()));
        let from = have.map_or(0, |(end, _)| end).max(work.log_files.min());
        self.from = from.max(until);
        let mut early = Vec::new();
        let mut scanner = Scanner::new(work.log, work.log_files.end(), from);
        while scanner.position() < until {
            let at = scanner.position();
            let (record, len) = match scanner.step().map_err(|error| work.read_error(at, error))? {
                Step::Record { record, len, .. } => (record, len),
                Step::End(reason) => {
                    let at = scanner.position();
                    if at >= until {
                        break;
                    }
                    let next = work.resume_after(at, until)?;
                    work.note_gap(at, next, reason.as_deref().unwrap_or("zeros"));
                    scanner.go_to(next);
                    continue;
                }
            };
            let at = record.physical_offset.cast_unsigned();
            if at >= until {
                break;
            }
            if is_lacking(have, at) {
                keys_of(&record, at, &Marks::of(record.properties), &mut early);
            }
            scanner.advance(len);
            let reached = scanner.position();
            work.tell("building the index", reached);
            if early.len() >= BATCH {
                index
                    .write(std::mem::take(&mut early))
                    .map_err(fault(work))?;
            }
        }
        work.report.bytes_read += scanner.bytes_read();
        early.append(&mut self.waiting);
        self.waiting = early;
        Ok(())
    }

    /// Writes the keys that wait.
    pub(super) fn write(&mut self, work: &mut Work<'_>) -> Result<(), StoreError> {
        if !self.is_large() {
            return Ok(());
        }
        self.open(work)?;
        if self.is_large()
            && let Some(index) = &mut self.index
        {
            index
                .write(std::mem::take(&mut self.waiting))
                .map_err(fault(work))?;
        }
        Ok(())
    }

    /// Removes keys behind the end of the log, which is at `end`. Returns the index, if messages are indexed, and the keys it lacks.
    pub(super) fn finish(
        mut self,
        work: &mut Work<'_>,
        end: u64,
    ) -> Result<(Option<Index>, Vec<IndexKey>), StoreError> {
        self.open(work)?;
        if let Some(index) = &mut self.index
            && index
                .index()
                .and_then(|index| index.cut(end))
                .map_err(fault(work))?
        {
            work.note(
                "index: files with keys behind the end of the log were built again".to_owned(),
            );
            let until = self.from.min(end);
            self.catch_up(work, until)?;
        }
        let index = match self.index {
            Some(index) => index.finish().map_err(fault(work))?,
            None => None,
        };
        Ok((index, self.waiting))
    }
}

/// Compares what the files hold, as far as a start has time for that. A file with other content is built again, and those behind it.
fn audit(index: &mut Index, work: &mut Work<'_>) -> Result<(), StoreError> {
    let fault = || StoreError::io("check index in", work.layout.index());
    let mut audit = std::mem::take(index.audit_mut());
    let mut budget = work.options.index_check_bytes;
    loop {
        match audit.step(index, &mut budget).map_err(fault())? {
            Audited::Paused => break,
            Audited::Summed(name, sum) => index.set_sum(name, sum),
            Audited::Damaged(name, why) => {
                if let Some(place) = index.place_of(&name) {
                    index.remove_from(place).map_err(fault())?;
                }
                work.note(format!("index/{name} {why}; built again from there on"));
            }
        }
    }
    *index.audit_mut() = audit;
    Ok(())
}

/// Whether an index that has keys up to `have` lacks those of a message at `at`.
fn is_lacking(have: Option<(u64, bool)>, at: u64) -> bool {
    have.is_none_or(|(end, again)| at > end || (again && at == end))
}

fn fault(work: &Work<'_>) -> impl FnOnce(io::Error) -> StoreError {
    StoreError::io("repair index in", work.layout.index())
}

/// Keys that are written together while an index is built.
const BATCH: usize = 256 * 1024;
