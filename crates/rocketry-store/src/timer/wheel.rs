//! The timer wheel: for every slot of time, the newest unit of its chain in the timer log. Java: `TimerWheel`, `Slot`
//!
//! One file of 1,209,600 slots of 32 bytes, two weeks at one second each; slot `t mod 1209600`, where `t` is the time divided by the
//! precision:
//!
//! | offset | field |
//! |---|---|
//! | 0 | `t` 8; of another round when it is another |
//! | 8 | log position of the first unit 8 |
//! | 16 | log position of the last unit 8 |
//! | 24 | live messages 4 |
//! | 28 | magic 4 (0) |

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    FileSystem,
    fs::{File, OpenMode},
    number::{i32_at, i64_at, size},
};

/// Slots of the file: 14 days of seconds, whatever the precision. Java: `TIMER_WHEEL_TTL_DAY` twice.
pub(super) const SLOTS: u64 = 2 * 7 * 24 * 60 * 60;
const SLOT_BYTES: usize = 32;
/// Length of the file.
pub(super) const FILE_BYTES: u64 = SLOTS * SLOT_BYTES as u64;
/// Slots read together.
const AT_ONCE: u64 = 2048;

/// One slot in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Time divided by the precision.
    pub(super) tick: i64,
    pub(super) first_pos: i64,
    pub(super) last_pos: i64,
    /// Messages that wait, less those that take one back.
    pub(super) live: i32,
    pub(super) magic: i32,
}

impl Slot {
    /// The slot of a time without units.
    pub(super) const fn empty(tick: i64) -> Self {
        Self {
            tick,
            first_pos: -1,
            last_pos: -1,
            live: 0,
            magic: 0,
        }
    }

    /// The slot with one more unit, which takes one message back or adds one.
    pub(super) const fn with(self, position: i64, deletes: bool) -> Self {
        Self {
            first_pos: if self.first_pos == -1 {
                position
            } else {
                self.first_pos
            },
            last_pos: position,
            live: self.live.wrapping_add(if deletes { -1 } else { 1 }),
            ..self
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let slot = Self {
            tick: i64_at(bytes, 0)?,
            first_pos: i64_at(bytes, 8)?,
            last_pos: i64_at(bytes, 16)?,
            live: i32_at(bytes, 24)?,
            magic: i32_at(bytes, 28)?,
        };
        (slot.tick > 0 && slot.last_pos >= 0).then_some(slot)
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tick.to_be_bytes());
        out.extend_from_slice(&self.first_pos.to_be_bytes());
        out.extend_from_slice(&self.last_pos.to_be_bytes());
        out.extend_from_slice(&self.live.to_be_bytes());
        out.extend_from_slice(&self.magic.to_be_bytes());
    }
}

/// The wheel. Changed slots wait in memory until [`Wheel::flush`].
#[derive(Debug)]
pub(super) struct Wheel {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    /// `None` until the first slot is written.
    file: Option<Arc<dyn File>>,
    changed: BTreeMap<u64, Slot>,
}

impl Wheel {
    /// Opens the file. `None` when it is there with another length; absent is a wheel without units.
    pub(super) fn open(fs: &Arc<dyn FileSystem>, path: PathBuf) -> io::Result<Option<Self>> {
        let file = match fs.open(&path, OpenMode::Write) {
            Ok(file) => match file.length()? {
                FILE_BYTES => Some(file),
                0 => None,
                _ => return Ok(None),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Some(Self {
            fs: Arc::clone(fs),
            path,
            file,
            changed: BTreeMap::new(),
        }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file.
    pub(super) const fn exists(&self) -> bool {
        self.file.is_some()
    }

    /// Whether slots wait to be written.
    pub(super) fn changes(&self) -> usize {
        self.changed.len()
    }

    /// The slot that stands at the place of `tick`, of whatever time.
    pub(super) fn occupant(&self, tick: i64) -> io::Result<Option<Slot>> {
        let index = index_of(tick);
        if let Some(slot) = self.changed.get(&index) {
            return Ok(Some(*slot));
        }
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let mut bytes = [0; SLOT_BYTES];
        file.read_exact_at(&mut bytes, index * SLOT_BYTES as u64)?;
        Ok(Slot::decode(&bytes))
    }

    /// The slot of `tick`; an empty one where another time, or none, stands there.
    pub(super) fn slot(&self, tick: i64) -> io::Result<Slot> {
        let found = self.occupant(tick)?;
        Ok(found
            .filter(|slot| slot.tick == tick)
            .unwrap_or_else(|| Slot::empty(tick)))
    }

    pub(super) fn put(&mut self, slot: Slot) {
        self.changed.insert(index_of(slot.tick), slot);
    }

    /// The first slot with units whose time is within `from..to`.
    pub(super) fn first_used(&self, from: i64, to: i64) -> io::Result<Option<Slot>> {
        // beyond one round the places repeat: what is found there for a later round comes after all of this one
        let round_end = to.min(from.saturating_add(SLOTS.cast_signed()));
        let mut later: Option<Slot> = None;
        let mut bytes = Vec::new();
        let mut tick = from;
        while tick < round_end {
            let index = index_of(tick);
            let left = (round_end - tick).cast_unsigned();
            let count = left.min(AT_ONCE).min(SLOTS - index);
            bytes.clear();
            bytes.resize(size(count) * SLOT_BYTES, 0);
            if let Some(file) = &self.file {
                file.read_exact_at(&mut bytes, index * SLOT_BYTES as u64)?;
            }
            for (bytes, (index, tick)) in bytes.chunks_exact(SLOT_BYTES).zip((index..).zip(tick..))
            {
                let slot = match self.changed.get(&index) {
                    Some(slot) => Some(*slot),
                    None => Slot::decode(bytes),
                };
                let Some(slot) = slot else {
                    continue;
                };
                if slot.tick == tick {
                    return Ok(Some(slot));
                }
                if (round_end..to).contains(&slot.tick)
                    && later.is_none_or(|later| slot.tick < later.tick)
                {
                    later = Some(slot);
                }
            }
            tick += count.cast_signed();
        }
        Ok(later)
    }

    /// Whether some slot on disk has a unit at log position `end` or behind.
    pub(super) fn reaches(&self, end: u64) -> io::Result<bool> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let zeros = vec![0; size(AT_ONCE) * SLOT_BYTES];
        let mut bytes = zeros.clone();
        let mut at = 0;
        while at < FILE_BYTES {
            let count = bytes.len().min(size(FILE_BYTES - at));
            let chunk = bytes.get_mut(..count).unwrap_or_default();
            file.read_exact_at(chunk, at)?;
            at += count as u64;
            // most of the file is a hole
            if *chunk == *zeros.get(..count).unwrap_or_default() {
                continue;
            }
            let beyond = chunk
                .chunks_exact(SLOT_BYTES)
                .filter_map(Slot::decode)
                .any(|slot| slot.last_pos.cast_unsigned() >= end);
            if beyond {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the changed slots, neighbours together, and syncs them.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let file = if let Some(file) = &self.file {
            Arc::clone(file)
        } else {
            let file = self.fs.open(&self.path, OpenMode::Create)?;
            file.set_len(FILE_BYTES)?;
            if let Some(dir) = self.path.parent() {
                self.fs.sync_dir(dir)?;
            }
            Arc::clone(self.file.insert(file))
        };
        let mut run = Vec::new();
        let mut run_at = 0;
        for (index, slot) in &self.changed {
            let at = index * SLOT_BYTES as u64;
            if at != run_at + run.len() as u64 {
                file.write_all_at(&run, run_at)?;
                run.clear();
                run_at = at;
            }
            slot.encode(&mut run);
        }
        file.write_all_at(&run, run_at)?;
        file.sync()?;
        self.changed.clear();
        Ok(())
    }

    /// Removes the file and forgets every slot.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.changed.clear();
        self.file = None;
        remove(&*self.fs, &self.path)
    }
}

/// Removes a file that may be absent, durably.
pub(super) fn remove(fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
    match fs.remove(path) {
        Ok(()) => path.parent().map_or(Ok(()), |dir| fs.sync_dir(dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn index_of(tick: i64) -> u64 {
    tick.rem_euclid(SLOTS.cast_signed()).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_found_however_long_ago_the_look_begins() {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn FileSystem> = Arc::new(crate::fs::RealFileSystem);
        let mut wheel = Wheel::open(&fs, dir.path().join("timerwheel"))
            .unwrap()
            .unwrap();
        let round = SLOTS.cast_signed();
        // the later one comes first in the file
        let (first, second) = (9 * round + 700_000, 11 * round + 5);
        for tick in [second, first] {
            wheel.put(Slot::empty(tick).with(52, false));
        }
        for flushed in [false, true] {
            if flushed {
                wheel.flush().unwrap();
            }
            let found = |from, to| {
                let slot = wheel.first_used(from, to).unwrap();
                slot.map(|slot| slot.tick)
            };
            assert_eq!(found(3, second + 1), Some(first));
            assert_eq!(found(first + 1, second + 1), Some(second));
            assert_eq!(found(3, first), None);
        }
    }
}
