//! One index file: header, hash slots, units. Java: `IndexFile`, `IndexHeader`
//!
//! | part | layout |
//! |---|---|
//! | header, 40 bytes | begin time 8, end time 8, begin log offset 8, end log offset 8, used slots 4, next free unit 4 (from 1) |
//! | slot `s` at 40 + 4 s | newest unit of its chain, 0 for none |
//! | unit `n` at 40 + 4 slots + 20 n | key hash 4, log offset 8, seconds since the begin time 4, next older unit of the chain 4 |

use std::{
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Digest, IndexKey, Sizes};
use crate::{
    FileSystem,
    fs::{File, OpenMode},
    metadata::IndexSum,
    number::{i32_at, i64_at, size},
};

pub(super) const HEADER_BYTES: u64 = 40;
const UNIT_BYTES: u64 = 20;
/// Slots that are read and written together.
const WINDOW_SLOTS: u32 = 16 * 1024;
/// Slots that are put back together.
const PIECE_SLOTS: u32 = 1024;
/// Largest file whose sizes are searched for.
const MAX_SEARCH_BYTES: u64 = 64 << 20;

/// The header of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) begin_ms: i64,
    pub(super) end_ms: i64,
    pub(super) begin_offset: i64,
    pub(super) end_offset: i64,
    pub(super) used_slots: u32,
    /// The next free unit; 1 when there is none yet.
    pub(super) count: u32,
}

impl Header {
    fn decode(bytes: &[u8]) -> Self {
        let long = |at| i64_at(bytes, at).unwrap_or(0);
        let int = |at| u32::try_from(i32_at(bytes, at).unwrap_or(0)).unwrap_or(0);
        Self {
            begin_ms: long(0),
            end_ms: long(8),
            begin_offset: long(16),
            end_offset: long(24),
            used_slots: int(32),
            // Java reads 0, of a file without a header, as 1
            count: int(36).max(1),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size(HEADER_BYTES));
        for long in [
            self.begin_ms,
            self.end_ms,
            self.begin_offset,
            self.end_offset,
        ] {
            bytes.extend_from_slice(&long.to_be_bytes());
        }
        bytes.extend_from_slice(&self.used_slots.to_be_bytes());
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// The header together with the check sums of the file.
    pub(super) const fn sum(&self, digest: Digest) -> IndexSum {
        IndexSum {
            begin_ms: self.begin_ms,
            end_ms: self.end_ms,
            begin_offset: self.begin_offset,
            end_offset: self.end_offset,
            count: self.count,
            units: digest.units,
            slots: digest.slots,
        }
    }

    /// Whether the header may be that of a file which `sum` was once true of, and to which keys may have been added since.
    pub(super) const fn continues(&self, sum: &IndexSum) -> bool {
        let same_end = self.end_ms == sum.end_ms && self.end_offset == sum.end_offset;
        self.begin_ms == sum.begin_ms
            && self.begin_offset == sum.begin_offset
            && self.end_offset >= sum.end_offset
            && (self.count > sum.count || (self.count == sum.count && same_end))
    }
}

/// A write that failed.
#[derive(Debug)]
pub(super) struct WriteFault {
    pub(super) error: io::Error,
    /// The file may hold a part of what was to be written: it is of no use any more.
    pub(super) damaged: bool,
}

/// An open index file.
#[derive(Debug)]
pub(super) struct IndexFile {
    file: Arc<dyn File>,
    sizes: Sizes,
    pub(super) header: Header,
    /// Check sums of the content, as far as they are known.
    pub(super) digest: Option<Digest>,
}

impl IndexFile {
    pub(super) fn open(
        fs: &dyn FileSystem,
        path: &Path,
        sizes: Sizes,
        mode: OpenMode,
    ) -> io::Result<Self> {
        let file = fs.open(path, mode)?;
        let mut bytes = vec![0; size(HEADER_BYTES)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Self {
            file,
            sizes,
            header: Header::decode(&bytes),
            digest: None,
        })
    }

    /// A new file, whose header begins where the one before ended.
    pub(super) fn create(
        fs: &dyn FileSystem,
        path: &Path,
        sizes: Sizes,
        before: Option<Header>,
    ) -> io::Result<Self> {
        let file = fs.open(path, OpenMode::Truncate)?;
        file.set_len(sizes.file_bytes())?;
        let before = before.unwrap_or_default();
        let header = Header {
            begin_ms: before.end_ms,
            end_ms: before.end_ms,
            begin_offset: before.end_offset,
            end_offset: before.end_offset,
            used_slots: 0,
            count: 1,
        };
        file.write_all_at(&header.encode(), 0)?;
        file.sync()?;
        Ok(Self {
            file,
            sizes,
            header,
            digest: Some(Digest::default()),
        })
    }

    /// Whether the header fits the file.
    pub(super) fn is_sane(&self) -> bool {
        let header = &self.header;
        header.count <= self.sizes.units
            && header.used_slots < header.count
            && header.begin_offset <= header.end_offset
    }

    pub(super) fn is_full(&self) -> bool {
        self.header.count >= self.sizes.units
    }

    /// Keys that still fit.
    pub(super) fn room(&self) -> usize {
        self.sizes.units.saturating_sub(self.header.count) as usize
    }

    /// Whether a message stored within `times` may have keys here. Java: `IndexFile.isTimeMatched`
    fn may_hold(&self, times: &RangeInclusive<i64>) -> bool {
        self.header.count > 1
            && *times.start() <= self.header.end_ms
            && *times.end() >= self.header.begin_ms
    }

    /// The units with `hash` of messages that may have been stored within `times`.
    pub(super) fn chain(&self, hash: i32, times: RangeInclusive<i64>) -> io::Result<Chain<'_>> {
        let mut head = [0; 4];
        if self.may_hold(&times) {
            let slot = u64::from(hash.cast_unsigned() % self.sizes.slots);
            self.file
                .read_exact_at(&mut head, HEADER_BYTES + 4 * slot)?;
        }
        Ok(Chain {
            file: self,
            hash,
            times,
            unit: u32::from_be_bytes(head),
            before: self.header.count,
        })
    }

    /// Hash and log offset of at most `count` units in use, from the one after the first `from`, oldest first.
    pub(super) fn units(&self, from: u32, count: u32) -> io::Result<Vec<(i32, i64)>> {
        let used = self.header.count.clamp(1, self.sizes.units) - 1;
        let from = from.min(used);
        // unit 0 is never used
        let bytes = self.read_units(from + 1, count.min(used - from))?;
        let unit = |unit: &[u8]| Some((i32_at(unit, 0)?, i64_at(unit, 4)?));
        Ok(bytes
            .chunks_exact(size(UNIT_BYTES))
            .filter_map(unit)
            .collect())
    }

    /// `count` units as they are, from number `first` on.
    pub(super) fn read_units(&self, first: u32, count: u32) -> io::Result<Vec<u8>> {
        let at = HEADER_BYTES + 4 * u64::from(self.sizes.slots) + UNIT_BYTES * u64::from(first);
        let mut bytes = vec![0; count as usize * size(UNIT_BYTES)];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// `count` slots as they are, from number `first` on.
    pub(super) fn read_slots(&self, first: u32, count: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count as usize * 4];
        self.file
            .read_exact_at(&mut bytes, HEADER_BYTES + 4 * u64::from(first))?;
        Ok(bytes)
    }

    /// Writes keys, which must fit, and syncs them. While it runs the header on disk has an end time above `confirmed_ms`.
    ///
    /// # Errors
    /// The disk refused a write: then the file is as it was before, unless [`WriteFault::damaged`] says otherwise.
    pub(super) fn write(&mut self, keys: &[IndexKey], confirmed_ms: i64) -> Result<(), WriteFault> {
        let mut before = Vec::new();
        self.try_write(keys, confirmed_ms, &mut before)
            .map_err(|(error, sync_failed)| WriteFault {
                // after a failed sync nothing is known of what was written
                damaged: sync_failed || self.put_back(&before).is_err(),
                error,
            })
    }

    /// Writes slots back that had the values `before`, in their order, and then the header. Where a full disk had no place for them, nothing
    /// of them was written, and nothing needs to be.
    fn put_back(&self, before: &[(u32, u32)]) -> io::Result<()> {
        for run in before.chunk_by(|a, b| a.0 / PIECE_SLOTS == b.0 / PIECE_SLOTS) {
            let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else {
                continue;
            };
            let at = HEADER_BYTES + 4 * u64::from(*first);
            let mut found = vec![0; (last - first + 1) as usize * 4];
            self.file.read_exact_at(&mut found, at)?;
            let mut piece = found.clone();
            let (slots, _) = piece.as_chunks_mut::<4>();
            for (slot, head) in run {
                if let Some(place) = slots.get_mut((slot - first) as usize) {
                    *place = head.to_be_bytes();
                }
            }
            if piece != found {
                self.file.write_all_at(&piece, at)?;
            }
        }
        self.file.sync()?;
        // the header last: until then a crash leaves a file that counts as damaged
        let header = self.header.encode();
        let mut found = vec![0; header.len()];
        self.file.read_exact_at(&mut found, 0)?;
        if found != header {
            self.file.write_all_at(&header, 0)?;
        }
        self.file.sync()
    }

    /// [`IndexFile::write`], telling with an error whether it was a sync that failed. What it overwrites is added to `before`.
    fn try_write(
        &mut self,
        keys: &[IndexKey],
        confirmed_ms: i64,
        before: &mut Vec<(u32, u32)>,
    ) -> Result<(), (io::Error, bool)> {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
            return Ok(());
        };
        let write = |error| (error, false);
        let sync = |error| (error, true);
        let mut header = self.header;
        if header.count <= 1 {
            header.begin_ms = first.store_ms;
            header.begin_offset = first.log_offset;
        }
        let marked = Header {
            end_ms: last.store_ms.max(confirmed_ms.saturating_add(1)),
            ..self.header
        };
        self.file.write_all_at(&marked.encode(), 0).map_err(write)?;
        self.file.sync().map_err(sync)?;

        let mut digest = self.digest.unwrap_or_default();
        let (units, used_slots) = self
            .link(keys, &header, before, &mut digest)
            .map_err(write)?;
        digest.add_units(&units);
        let at =
            HEADER_BYTES + 4 * u64::from(self.sizes.slots) + UNIT_BYTES * u64::from(header.count);
        self.file.write_all_at(&units, at).map_err(write)?;
        self.file.sync().map_err(sync)?;

        header.end_ms = last.store_ms;
        header.end_offset = last.log_offset;
        header.used_slots += used_slots;
        // as many as there is room for, which is below 2^32
        header.count += u32::try_from(keys.len()).unwrap_or(0);
        self.file.write_all_at(&header.encode(), 0).map_err(write)?;
        self.file.sync().map_err(sync)?;
        self.header = header;
        self.digest = self.digest.map(|_| digest);
        Ok(())
    }

    /// Puts the keys at the heads of their chains, window by window of the slots. Returns the encoded units and how many slots came
    /// into use. Each slot that is written and its old value is added to `before`, the new values to `digest`.
    fn link(
        &self,
        keys: &[IndexKey],
        header: &Header,
        before: &mut Vec<(u32, u32)>,
        digest: &mut Digest,
    ) -> io::Result<(Vec<u8>, u32)> {
        let slot_of = |key: &IndexKey| key.hash.cast_unsigned() % self.sizes.slots;
        let mut order: Vec<(u32, u32)> = (header.count..)
            .zip(keys)
            .map(|(unit, key)| (slot_of(key), unit))
            .collect();
        order.sort_unstable();
        let mut older = vec![0u32; keys.len()];
        let mut used = 0;
        let mut window = Vec::new();
        for run in order.chunk_by(|a, b| a.0 / WINDOW_SLOTS == b.0 / WINDOW_SLOTS) {
            let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else {
                continue;
            };
            window.clear();
            window.resize((last - first + 1) as usize * 4, 0);
            let at = HEADER_BYTES + 4 * u64::from(*first);
            self.file.read_exact_at(&mut window, at)?;
            let (slots, _) = window.as_chunks_mut::<4>();
            for (slot, unit) in run {
                let (Some(head), Some(older)) = (
                    slots.get_mut((slot - first) as usize),
                    older.get_mut((unit - header.count) as usize),
                ) else {
                    continue;
                };
                let newest = u32::from_be_bytes(*head);
                if before.last().is_none_or(|(last, _)| last != slot) {
                    before.push((*slot, newest));
                }
                // an earlier crash may have left heads beyond the units
                let valid = newest < *unit;
                *older = if valid { newest } else { 0 };
                used += u32::from(*older == 0);
                *head = unit.to_be_bytes();
                digest.set_slot(*slot, newest, *unit);
            }
            self.file.write_all_at(&window, at)?;
        }
        let mut units = Vec::with_capacity(keys.len() * size(UNIT_BYTES));
        for (key, older) in keys.iter().zip(older) {
            units.extend_from_slice(&key.hash.to_be_bytes());
            units.extend_from_slice(&key.log_offset.to_be_bytes());
            units.extend_from_slice(&seconds(key.store_ms, header.begin_ms).to_be_bytes());
            units.extend_from_slice(&older.to_be_bytes());
        }
        Ok((units, used))
    }
}

/// A walk along the units of one slot, newest first. Java: `IndexFile.selectPhyOffset`
#[derive(Debug)]
pub(super) struct Chain<'a> {
    file: &'a IndexFile,
    hash: i32,
    times: RangeInclusive<i64>,
    unit: u32,
    /// Each step leads to an older unit than this, so that a damaged chain ends as well.
    before: u32,
}

impl Chain<'_> {
    /// Log offset of the next message; its time is known to the second, and others may have the same hash.
    pub(super) fn next(&mut self) -> io::Result<Option<i64>> {
        let IndexFile {
            file,
            sizes,
            header,
            ..
        } = self.file;
        while self.unit > 0 && self.unit < self.before {
            let mut bytes = [0; 20];
            let at = HEADER_BYTES + 4 * u64::from(sizes.slots) + UNIT_BYTES * u64::from(self.unit);
            file.read_exact_at(&mut bytes, at)?;
            let (Some(hash), Some(log_offset), Some(seconds), Some(older)) = (
                i32_at(&bytes, 0),
                i64_at(&bytes, 4),
                i32_at(&bytes, 12),
                i32_at(&bytes, 16),
            ) else {
                break;
            };
            let from_ms = header.begin_ms.saturating_add(1000 * i64::from(seconds));
            if seconds < 0 || from_ms.saturating_add(999) < *self.times.start() {
                break;
            }
            self.before = self.unit;
            self.unit = older.max(0).cast_unsigned();
            if hash == self.hash && from_ms <= *self.times.end() {
                return Ok(Some(log_offset));
            }
        }
        Ok(None)
    }
}

/// Seconds from the file's begin time. Java: `IndexFile.putKey`
fn seconds(store_ms: i64, begin_ms: i64) -> i32 {
    if begin_ms <= 0 {
        return 0;
    }
    let seconds = store_ms.saturating_sub(begin_ms) / 1000;
    i32::try_from(seconds.max(0)).unwrap_or(i32::MAX)
}

/// Searches the slots and units of the files `newest`, the newest first, which all have the length that `lens` says: the numbers for
/// which every unit is reachable from the slot its hash names.
pub(super) fn find_sizes(
    fs: &dyn FileSystem,
    newest: impl Iterator<Item = PathBuf>,
    lens: &[u64],
) -> io::Result<Option<Sizes>> {
    let Some(len) = lens.first().copied() else {
        return Ok(None);
    };
    if lens.iter().any(|other| *other != len) || len > MAX_SEARCH_BYTES {
        return Ok(None);
    }
    let mut candidates: Option<Vec<Sizes>> = None;
    for path in newest {
        let mut bytes = vec![0; size(len)];
        fs.open(&path, OpenMode::Read)?
            .read_exact_at(&mut bytes, 0)?;
        let count = Header::decode(&bytes).count;
        if count <= 1 {
            continue;
        }
        let fits = |sizes: &Sizes| all_reachable(&bytes, *sizes, count);
        candidates = Some(match candidates {
            None => all_sizes(len).filter(fits).collect(),
            Some(found) => found.into_iter().filter(fits).collect(),
        });
        if matches!(candidates.as_deref(), Some([] | [_])) {
            break;
        }
    }
    Ok(match candidates.as_deref() {
        Some([sizes]) => Some(*sizes),
        _ => None,
    })
}

/// Every split of a file of `len` bytes into slots and units.
fn all_sizes(len: u64) -> impl Iterator<Item = Sizes> {
    let rest = len.saturating_sub(HEADER_BYTES);
    (1..rest / 4).filter_map(move |slots| {
        let units = (rest - 4 * slots) / UNIT_BYTES;
        let exact = units >= 2 && 4 * slots + UNIT_BYTES * units == rest;
        let (Ok(slots), Ok(units)) = (u32::try_from(slots), u32::try_from(units)) else {
            return None;
        };
        exact.then_some(Sizes { slots, units })
    })
}

/// Whether each unit has a hash and an older unit as it must, and its slot's newest unit is not older than itself.
fn all_reachable(bytes: &[u8], sizes: Sizes, count: u32) -> bool {
    if count > sizes.units {
        return false;
    }
    (1..count).all(|unit| {
        let at = size(HEADER_BYTES + 4 * u64::from(sizes.slots) + UNIT_BYTES * u64::from(unit));
        let (Some(hash), Some(older)) = (i32_at(bytes, at), i32_at(bytes, at + 16)) else {
            return false;
        };
        let Ok(hash) = u32::try_from(hash) else {
            return false;
        };
        let slot = hash % sizes.slots;
        let head = i32_at(bytes, size(HEADER_BYTES + 4 * u64::from(slot))).unwrap_or(0);
        let unit = unit.cast_signed();
        (0..unit).contains(&older) && (unit..count.cast_signed()).contains(&head)
    })
}
