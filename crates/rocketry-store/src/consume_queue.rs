//! Consume queues: for every queue of a topic, where its messages lie in the commit log (server.md 15.4). Java: `ConsumeQueue`.
//!
//! A unit is 20 bytes: commit-log offset 8, record size 4, tags code 8. Unit `k` belongs to queue offset `k`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    number::{i32_at, i64_at},
    unit_files::UnitFiles,
};

/// Bytes of a unit.
pub(crate) const UNIT_BYTES: usize = 20;
/// What Java writes in front of the first unit of a file that does not begin with it: log offset 0, size 0x7fffffff.
pub(crate) const PRE_BLANK: &[u8; UNIT_BYTES] = &[
    0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// [`PRE_BLANK`] as a value.
pub(crate) const PRE_BLANK_UNIT: Unit = Unit {
    log_offset: 0,
    size: 0x7fff_ffff,
    tags_code: 0,
};

/// Where one message lies, and what filters see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) log_offset: u64,
    pub(crate) size: u32,
    pub(crate) tags_code: i64,
}

impl Unit {
    pub(crate) fn encode(&self) -> [u8; UNIT_BYTES] {
        let mut bytes = [0; UNIT_BYTES];
        let (offset, rest) = bytes.split_at_mut(8);
        let (size, tags_code) = rest.split_at_mut(4);
        offset.copy_from_slice(&self.log_offset.to_be_bytes());
        size.copy_from_slice(&self.size.to_be_bytes());
        tags_code.copy_from_slice(&self.tags_code.to_be_bytes());
        bytes
    }

    /// The unit in `bytes`; `None` when it is not one: a negative offset or a size that is not positive.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let log_offset = u64::try_from(i64_at(bytes, 0)?).ok()?;
        let size = u32::try_from(i32_at(bytes, 8)?)
            .ok()
            .filter(|size| *size > 0)?;
        Some(Self {
            log_offset,
            size,
            tags_code: i64_at(bytes, 12)?,
        })
    }

    /// Whether it stands for no message: the filler in front of a queue that was begun in the middle of a file.
    pub(crate) const fn is_pre_blank(&self) -> bool {
        self.log_offset == 0 && self.size == 0x7fff_ffff
    }

    /// Log offset behind the record.
    pub(crate) fn log_end(&self) -> u64 {
        self.log_offset + u64::from(self.size)
    }
}

/// One queue. The dispatcher appends, any number of threads read, the flusher writes behind.
#[derive(Debug)]
pub(crate) struct ConsumeQueue {
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: i32,
    pub(crate) units: UnitFiles,
    min: AtomicU64,
    max: AtomicU64,
}

impl ConsumeQueue {
    pub(crate) fn new(topic: Arc<str>, queue_id: i32, units: UnitFiles) -> Self {
        let (min, max) = (units.first(), units.end());
        Self {
            topic,
            queue_id,
            units,
            min: AtomicU64::new(min),
            max: AtomicU64::new(max),
        }
    }

    /// The first queue offset whose message is in the log.
    pub(crate) fn min(&self) -> u64 {
        self.min.load(Ordering::Acquire)
    }

    /// The queue offset of the next message to become visible.
    pub(crate) fn max(&self) -> u64 {
        self.max.load(Ordering::Acquire)
    }

    /// Makes messages visible. Returns whether nothing was waiting to be written before.
    pub(crate) fn push(&self, units: impl ExactSizeIterator<Item = Unit>) -> bool {
        let count = units.len() as u64;
        let was_clean = self.units.push(units.map(|unit| unit.encode()));
        self.max.fetch_add(count, Ordering::Release);
        was_clean
    }

    /// The units from `index` on, at most `count`; `None` for one that is not valid.
    pub(crate) fn read(&self, index: u64, count: u64) -> io::Result<Vec<Option<Unit>>> {
        let mut bytes = Vec::new();
        self.units.read(index, count, &mut bytes)?;
        Ok(bytes
            .as_chunks::<UNIT_BYTES>()
            .0
            .iter()
            .map(|unit| Unit::decode(unit))
            .collect())
    }

    /// The unit of one queue offset.
    pub(crate) fn unit(&self, index: u64) -> io::Result<Option<Unit>> {
        if index < self.units.first() || index >= self.units.end() {
            return Ok(None);
        }
        Ok(self.read(index, 1)?.first().copied().flatten())
    }

    /// Sets the bounds from what the files hold, given the start of the log: the first unit whose message is still there.
    /// Java: `ConsumeQueue.correctMinOffset`
    pub(crate) fn correct_bounds(&self, log_min: u64) -> io::Result<()> {
        let (first, end) = (self.units.first(), self.units.end());
        let min = self.units.partition(first, end, |_, bytes| {
            Ok(Unit::decode(bytes)
                .is_none_or(|unit| unit.is_pre_blank() || unit.log_offset < log_min))
        })?;
        self.min.store(min, Ordering::Release);
        self.max.store(end, Ordering::Release);
        Ok(())
    }

    /// Begins a queue without units at `index`.
    pub(crate) fn begin_at(&self, index: u64) {
        self.units.begin_at(index);
        self.min.store(index, Ordering::Release);
        self.max.store(index, Ordering::Release);
    }
}
