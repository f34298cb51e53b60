//! The timer log: one unit per waiting message, chained backwards by slot. Java: `TimerLog`
//!
//! | offset | field of a unit, 52 bytes |
//! |---|---|
//! | 0 | size 4 (52) |
//! | 4 | position of the unit before it in its slot 8, -1 for none |
//! | 12 | magic 4: 1, with 2 for a message that goes round again and 4 for one that takes another back |
//! | 16 | write time 8, ms |
//! | 24 | delay 4: time of the slot less write time, ms |
//! | 28 | commit-log offset 8 |
//! | 36 | record size 4 |
//! | 40 | hash of the real topic 4 |
//! | 44 | zeros 8 |
//!
//! A unit leaves 16 bytes of its file free; where it does not fit a filler ends the file: bytes left 4, zeros 8, magic 4.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rocketry_protocol::record::MAGIC_BLANK;

use super::wheel::remove;
use crate::{
    FileSystem, Layout,
    fs::{File, OpenMode},
    number::{i32_at, i64_at, signed, size},
};

pub(super) const UNIT_BYTES: u64 = 52;
const BLANK_BYTES: u64 = 16;
/// Files kept open.
const OPEN_FILES: usize = 16;
/// Bytes read together.
const WINDOW_BYTES: u64 = 64 * 1024;

const MAGIC: i32 = 1;
const MAGIC_ROLL: i32 = 2;
const MAGIC_DELETE: i32 = 4;

/// One unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) previous: i64,
    /// Goes back into the timer topic when its slot is due.
    pub(super) rolls: bool,
    /// Takes another message back.
    pub(super) deletes: bool,
    pub(super) write_ms: i64,
    pub(super) delay_ms: i32,
    pub(super) log_offset: i64,
    pub(super) record_bytes: i32,
    pub(super) topic_hash: i32,
}

impl Unit {
    /// Time of its slot, ms.
    pub(super) fn slot_ms(&self) -> i64 {
        self.write_ms.saturating_add(self.delay_ms.into())
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let magic = i32_at(bytes, 12)?;
        let valid = i32_at(bytes, 0)? == 52 && (0..=15).contains(&magic);
        valid.then_some(Self {
            previous: i64_at(bytes, 4)?,
            rolls: magic & MAGIC_ROLL != 0,
            deletes: magic & MAGIC_DELETE != 0,
            write_ms: i64_at(bytes, 16)?,
            delay_ms: i32_at(bytes, 24)?,
            log_offset: i64_at(bytes, 28)?,
            record_bytes: i32_at(bytes, 36)?,
            topic_hash: i32_at(bytes, 40)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let rolls = if self.rolls { MAGIC_ROLL } else { 0 };
        let deletes = if self.deletes { MAGIC_DELETE } else { 0 };
        out.extend_from_slice(&52i32.to_be_bytes());
        out.extend_from_slice(&self.previous.to_be_bytes());
        out.extend_from_slice(&(MAGIC | rolls | deletes).to_be_bytes());
        out.extend_from_slice(&self.write_ms.to_be_bytes());
        out.extend_from_slice(&self.delay_ms.to_be_bytes());
        out.extend_from_slice(&self.log_offset.to_be_bytes());
        out.extend_from_slice(&self.record_bytes.to_be_bytes());
        out.extend_from_slice(&self.topic_hash.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
    }
}

/// The files of the log. New units wait in memory until [`TimerLog::flush`].
#[derive(Debug)]
pub(super) struct TimerLog {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    file_bytes: u64,
    /// Start of the first file.
    first: u64,
    /// Position behind the last unit in the files.
    written: u64,
    /// What follows it.
    pending: Vec<u8>,
    open: BTreeMap<u64, Arc<dyn File>>,
    /// Position and content of what was read last.
    window: (u64, Vec<u8>),
}

impl TimerLog {
    /// The files in `dir`, from the one that starts at `first` on, with units up to `end`.
    pub(super) fn new(
        fs: &Arc<dyn FileSystem>,
        dir: PathBuf,
        file_bytes: u64,
        (first, end): (u64, u64),
    ) -> Self {
        Self {
            fs: Arc::clone(fs),
            dir,
            file_bytes,
            first,
            written: end,
            pending: Vec::new(),
            open: BTreeMap::new(),
            window: (0, Vec::new()),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Position behind the last unit.
    pub(super) fn end(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len()
    }

    fn file_start(&self, position: u64) -> u64 {
        position / self.file_bytes * self.file_bytes
    }

    fn path(&self, start: u64) -> PathBuf {
        self.dir.join(Layout::numbered(start))
    }

    fn file(&mut self, start: u64, create: bool) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.open.get(&start) {
            return Ok(Arc::clone(file));
        }
        let path = self.path(start);
        let file = if create {
            self.fs.create_dir(&self.dir)?;
            let file = self.fs.open(&path, OpenMode::Create)?;
            if file.length()? != self.file_bytes {
                file.set_len(self.file_bytes)?;
                file.sync()?;
                self.fs.sync_dir(&self.dir)?;
                if let Some(parent) = self.dir.parent() {
                    self.fs.sync_dir(parent)?;
                }
            }
            file
        } else {
            self.fs.open(&path, OpenMode::Write)?
        };
        if self.open.len() >= OPEN_FILES {
            self.open.pop_first();
        }
        self.open.insert(start, Arc::clone(&file));
        Ok(file)
    }

    /// Appends a unit and returns its position.
    pub(super) fn append(&mut self, unit: &Unit) -> u64 {
        let file_end = self.file_start(self.end()) + self.file_bytes;
        let left = file_end - self.end();
        if left < UNIT_BYTES + BLANK_BYTES {
            let start = self.pending.len();
            self.pending
                .extend_from_slice(&i32::try_from(left).unwrap_or(i32::MAX).to_be_bytes());
            self.pending.extend_from_slice(&[0; 8]);
            self.pending.extend_from_slice(&MAGIC_BLANK.to_be_bytes());
            self.pending.resize(start + size(left), 0);
        }
        let position = self.end();
        unit.encode(&mut self.pending);
        position
    }

    /// The unit at a position; `None` when there is none.
    pub(super) fn unit(&mut self, position: i64) -> io::Result<Option<Unit>> {
        let Ok(position) = u64::try_from(position) else {
            return Ok(None);
        };
        if position < self.first || position + UNIT_BYTES > self.end() {
            return Ok(None);
        }
        if let Some(from) = position.checked_sub(self.written) {
            return Ok(self.pending.get(size(from)..).and_then(Unit::decode));
        }
        let file_start = self.file_start(position);
        if position + UNIT_BYTES > file_start + self.file_bytes {
            return Ok(None);
        }
        let (at, bytes) = &self.window;
        let inside = position >= *at && position + UNIT_BYTES <= at + bytes.len() as u64;
        if !inside {
            // chains lead backwards: most of the window lies before the unit
            let end = position + UNIT_BYTES;
            let at = end.saturating_sub(WINDOW_BYTES).max(file_start);
            let end = (at + WINDOW_BYTES)
                .max(end)
                .min(file_start + self.file_bytes)
                .min(self.written);
            let file = self.file(file_start, false)?;
            let mut bytes = std::mem::take(&mut self.window.1);
            bytes.resize(size(end - at), 0);
            file.read_exact_at(&mut bytes, at - file_start)?;
            self.window = (at, bytes);
        }
        let from = size(position - self.window.0);
        Ok(self.window.1.get(from..).and_then(Unit::decode))
    }

    /// The first unit at `position` or, behind a filler, later; with its position.
    pub(super) fn next_unit(&mut self, mut position: u64) -> io::Result<Option<(u64, Unit)>> {
        let file_end = self.file_start(position) + self.file_bytes;
        if position + UNIT_BYTES + BLANK_BYTES > file_end {
            position = file_end;
        }
        let unit = self.unit(signed(position))?;
        Ok(unit.map(|unit| (position, unit)))
    }

    /// The last unit, with its position.
    pub(super) fn last_unit(&mut self) -> io::Result<Option<(u64, Unit)>> {
        let mut end = self.end();
        while end > self.first {
            let start = self.file_start(end - 1);
            let units = ((end - start).min(self.file_bytes - BLANK_BYTES)) / UNIT_BYTES;
            if units > 0 {
                let position = start + (units - 1) * UNIT_BYTES;
                return Ok(self.unit(signed(position))?.map(|unit| (position, unit)));
            }
            end = start;
        }
        Ok(None)
    }

    /// Writes what waits and syncs it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let result = self.write(&pending);
        // kept on failure: the positions are taken
        self.pending = pending;
        result?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn write(&mut self, mut rest: &[u8]) -> io::Result<()> {
        let mut at = self.written;
        while !rest.is_empty() {
            let start = self.file_start(at);
            let (now, later) = rest.split_at(rest.len().min(size(start + self.file_bytes - at)));
            let file = self.file(start, true)?;
            file.write_all_at(now, at - start)?;
            file.sync()?;
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Ends the log at `end`: what the files `starts` hold behind it is wiped, where that is not zeros already.
    pub(super) fn cut_to(&mut self, end: u64, starts: &[u64]) -> io::Result<()> {
        self.window.1.clear();
        self.written = end;
        for start in starts.iter().rev().filter(|start| **start > end) {
            self.open.remove(start);
            remove(&*self.fs, &self.path(*start))?;
        }
        let start = self.file_start(end);
        if !starts.contains(&start) {
            return Ok(());
        }
        let file = self.file(start, false)?;
        let mut head = [0; 52];
        let left = size(start + self.file_bytes - end).min(head.len());
        let head = head.get_mut(..left).unwrap_or_default();
        file.read_exact_at(head, end - start)?;
        if head.iter().any(|byte| *byte != 0) {
            file.zero_range(end - start, start + self.file_bytes - end)?;
            file.sync()?;
        }
        Ok(())
    }

    /// Removes all files and forgets every unit; positions begin at 0 again.
    pub(super) fn reset(&mut self, starts: &[u64]) -> io::Result<()> {
        self.open.clear();
        self.pending.clear();
        self.window.1.clear();
        (self.first, self.written) = (0, 0);
        // the newest first: a crash in between leaves a log without a gap
        for start in starts.iter().rev() {
            remove(&*self.fs, &self.path(*start))?;
        }
        Ok(())
    }

    /// The starts of the files that exist.
    pub(super) fn starts(&self) -> Vec<u64> {
        let mut starts = Vec::new();
        let mut start = self.first;
        while start < self.written {
            starts.push(start);
            start += self.file_bytes;
        }
        starts
    }

    /// Removes the oldest files as long as the messages of all their units lie before commit-log offset `log_min`. The last file
    /// stays. Java: `TimerLog.CleanService`
    pub(super) fn retire(&mut self, log_min: i64) -> io::Result<()> {
        while self.first + self.file_bytes < self.written {
            let units = (self.file_bytes - BLANK_BYTES) / UNIT_BYTES;
            let last = self.first + (units - 1) * UNIT_BYTES;
            let Some(unit) = self.unit(signed(last))? else {
                return Ok(());
            };
            if unit.log_offset >= log_min {
                return Ok(());
            }
            let start = self.first;
            self.open.remove(&start);
            self.window.1.clear();
            remove(&*self.fs, &self.path(start))?;
            self.first += self.file_bytes;
        }
        Ok(())
    }
}
