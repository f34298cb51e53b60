//! Consume queues: for every queue of a topic, where its messages lie in the commit log.
//!
//! | kind | unit |
//! |---|---|
//! | plain, 20 bytes | commit-log offset 8, record size 4, tags code 8; unit `k` is queue offset `k` |
//! | batch, 46 bytes | the same, then store time 8, first queue offset 8, number of messages 2, compact offset 4 (-1), reserved 4 (0) |
//!
//! A batch queue (topic attribute `queue.type=BatchCQ`) has one unit for a record that holds several messages.
//! Java: `ConsumeQueue`, `BatchConsumeQueue`

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    dispatch::Dispatch,
    number::{i16_at, i32_at, i64_at, signed},
    unit_files::UnitFiles,
};

/// Bytes that both kinds of units begin with.
const UNIT_HEAD_BYTES: usize = 20;

/// What kind of units a queue has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum QueueKind {
    /// One message per unit.
    Plain,
    /// Several messages per unit.
    Batch,
}

impl QueueKind {
    /// What stands in front of the first unit of a file that does not begin with it: as long as a unit. Java writes it for plain
    /// queues: log offset 0, size 0x7fffffff.
    pub(crate) const fn filler(self) -> &'static [u8] {
        const PRE_BLANK: [u8; 46] = {
            let mut bytes = [0; 46];
            bytes[8] = 0x7f;
            bytes[9] = 0xff;
            bytes[10] = 0xff;
            bytes[11] = 0xff;
            bytes
        };
        match self {
            Self::Plain => PRE_BLANK.split_at(UNIT_HEAD_BYTES).0,
            Self::Batch => &PRE_BLANK,
        }
    }

    pub(crate) const fn unit_bytes(self) -> usize {
        self.filler().len()
    }

    /// The unit in `bytes`, which is number `index` of its queue; `None` when it is not valid.
    pub(crate) fn decode(self, bytes: &[u8], index: u64) -> Option<Unit> {
        let log_offset = u64::try_from(i64_at(bytes, 0)?).ok()?;
        let size = u32::try_from(i32_at(bytes, 8)?)
            .ok()
            .filter(|size| *size > 0)?;
        let tags_code = i64_at(bytes, 12)?;
        let (queue_offset, count) = match self {
            Self::Plain => (index, 1),
            Self::Batch => (
                u64::try_from(i64_at(bytes, 28)?).ok()?,
                u16::try_from(i16_at(bytes, 36)?)
                    .ok()
                    .filter(|count| *count > 0)?,
            ),
        };
        Some(Unit {
            log_offset,
            size,
            tags_code,
            queue_offset,
            count,
        })
    }
}

/// Where one record lies, which messages it holds, and what filters see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) log_offset: u64,
    pub(crate) size: u32,
    pub(crate) tags_code: i64,
    /// Position of the first message.
    pub(crate) queue_offset: u64,
    /// Number of messages.
    pub(crate) count: u16,
}

/// Units in a row that stand for no message, and the log offset of the record behind them, if there is one.
#[derive(Debug, Clone, Copy)]
struct Holes {
    begin: u64,
    end: u64,
    next: Option<u64>,
}

impl Unit {
    /// Whether it stands for no message: the filler in front of a queue that was begun in the middle of a file, or a place that the
    /// log has no message for.
    pub(crate) const fn is_pre_blank(&self) -> bool {
        self.log_offset == 0 && self.size == 0x7fff_ffff
    }

    /// Log offset behind the record.
    pub(crate) fn log_end(&self) -> u64 {
        self.log_offset + u64::from(self.size)
    }

    /// Position behind the last message.
    pub(crate) fn queue_end(&self) -> u64 {
        self.queue_offset + u64::from(self.count)
    }
}

/// One queue. The dispatcher appends, any number of threads read, the flusher writes behind.
#[derive(Debug)]
pub(crate) struct ConsumeQueue {
    pub(crate) kind: QueueKind,
    pub(crate) units: UnitFiles,
    min: AtomicU64,
    max: AtomicU64,
    next: AtomicU64,
}

impl ConsumeQueue {
    /// A queue whose bounds are not known yet.
    pub(crate) fn new(kind: QueueKind, units: UnitFiles) -> Self {
        Self {
            kind,
            units,
            min: AtomicU64::new(0),
            max: AtomicU64::new(0),
            next: AtomicU64::new(0),
        }
    }

    pub(crate) const fn topic(&self) -> &Arc<str> {
        self.units.topic()
    }

    pub(crate) const fn queue_id(&self) -> i32 {
        self.units.queue_id()
    }

    /// The first queue offset whose message is in the log.
    pub(crate) fn min(&self) -> u64 {
        self.min.load(Ordering::Acquire)
    }

    /// The queue offset of the next message to become visible.
    pub(crate) fn max(&self) -> u64 {
        self.max.load(Ordering::Acquire)
    }

    /// The position that the next message gets: ahead of [`ConsumeQueue::max`] by the messages of a commit under way. Only the
    /// dispatcher uses it.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    pub(crate) fn set_next(&self, next: u64) {
        self.next.store(next, Ordering::Relaxed);
    }

    /// The position behind a message that was given its queue offset: records of plain queues count as one message, whatever is in them.
    pub(crate) fn after(&self, message: &Dispatch) -> u64 {
        match self.kind {
            QueueKind::Batch => message.unit.queue_end(),
            QueueKind::Plain => message.unit.queue_offset + 1,
        }
    }

    /// Makes messages visible, in order. Returns whether nothing was waiting to be written before.
    pub(crate) fn push<'a>(&self, messages: impl ExactSizeIterator<Item = &'a Dispatch>) -> bool {
        let mut end = self.max();
        let was_clean = self.units.push(|pending| {
            pending.reserve(messages.len() * self.kind.unit_bytes());
            for message in messages {
                pending.extend_from_slice(&message.unit.log_offset.to_be_bytes());
                pending.extend_from_slice(&message.unit.size.to_be_bytes());
                pending.extend_from_slice(&message.unit.tags_code.to_be_bytes());
                if self.kind == QueueKind::Batch {
                    pending.extend_from_slice(&message.store_ms.to_be_bytes());
                    pending.extend_from_slice(&signed(message.unit.queue_offset).to_be_bytes());
                    pending.extend_from_slice(&message.unit.count.to_be_bytes());
                    pending.extend_from_slice(&(-1i32).to_be_bytes());
                    pending.extend_from_slice(&[0; 4]);
                }
                end = match self.kind {
                    QueueKind::Plain => end + 1,
                    QueueKind::Batch => message.unit.queue_end(),
                };
            }
        });
        self.max.store(end, Ordering::Release);
        was_clean
    }

    /// Appends a place that no message has. Batch queues need none: their units say which places they hold.
    pub(crate) fn push_hole(&self) -> bool {
        let was_clean = self
            .units
            .push(|pending| pending.extend_from_slice(self.kind.filler()));
        self.max.fetch_add(1, Ordering::Release);
        was_clean
    }

    /// The units from queue offset `offset` on, at most `count`; `None` for one that is not valid.
    pub(crate) fn read(&self, offset: u64, count: u64) -> io::Result<Vec<Option<Unit>>> {
        let index = self.index_of(offset)?;
        let mut bytes = Vec::new();
        self.units.read(index, count, &mut bytes)?;
        Ok(bytes
            .chunks_exact(self.kind.unit_bytes())
            .zip(index..)
            .map(|(unit, index)| self.kind.decode(unit, index))
            .collect())
    }

    /// The unit that holds a queue offset.
    pub(crate) fn unit(&self, offset: u64) -> io::Result<Option<Unit>> {
        if offset >= self.max() {
            return Ok(None);
        }
        let found = self.read(offset, 1)?;
        Ok(found.first().copied().flatten())
    }

    /// Number of the unit that holds a queue offset.
    fn index_of(&self, offset: u64) -> io::Result<u64> {
        let (first, end) = (self.units.first(), self.units.end());
        match self.kind {
            QueueKind::Plain => Ok(offset.max(first)),
            QueueKind::Batch => self.units.partition(first, end, |index, bytes| {
                Ok(self
                    .kind
                    .decode(bytes, index)
                    .is_some_and(|unit| unit.queue_end() <= offset))
            }),
        }
    }

    /// Unit number `index`.
    pub(crate) fn unit_at(&self, index: u64) -> io::Result<Option<Unit>> {
        let mut bytes = Vec::new();
        self.units.read(index, 1, &mut bytes)?;
        Ok(self.kind.decode(&bytes, index))
    }

    /// Forgets the units from number `end` on; see [`UnitFiles::forget_from`].
    pub(crate) fn forget_from(&self, end: u64) -> io::Result<()> {
        self.units.forget_from(end);
        self.find_max()
    }

    fn find_max(&self) -> io::Result<()> {
        let (first, end) = (self.units.first(), self.units.end());
        let max = match self.kind {
            QueueKind::Plain => end,
            QueueKind::Batch if end == first => self.max(),
            QueueKind::Batch => self
                .unit_at(end - 1)?
                .map_or_else(|| self.max(), |last| last.queue_end()),
        };
        self.max.store(max, Ordering::Release);
        Ok(())
    }

    /// Number of the first unit whose record lies at `log_offset` or behind it; of the end where there is none.
    ///
    /// A hole is where the next record is: it may be anywhere in a queue, and the units around it must not be taken for others.
    pub(crate) fn first_from(&self, log_offset: u64) -> io::Result<u64> {
        let (first, end) = (self.units.first(), self.units.end());
        let mut holes: Option<Holes> = None;
        let mut found_behind_holes = None;
        let found = self.units.partition(first, end, |index, bytes| {
            let (at, behind_holes) = match self.kind.decode(bytes, index) {
                Some(unit) if unit.is_pre_blank() => {
                    let run = holes.insert(self.holes_from(index, end, holes)?);
                    (run.next, Some(run.end))
                }
                unit => (unit.map(|unit| unit.log_offset), None),
            };
            let is_before = at.is_none_or(|at| at < log_offset);
            if !is_before {
                found_behind_holes = behind_holes;
            }
            Ok(is_before)
        })?;
        Ok(found_behind_holes.unwrap_or(found))
    }

    /// The holes from unit `index` on, which is one. `known` are others, which need not be read again.
    fn holes_from(&self, index: u64, end: u64, known: Option<Holes>) -> io::Result<Holes> {
        const AT_ONCE: u64 = 512;
        let mut at = index + 1;
        let mut bytes = Vec::new();
        while at < end {
            bytes.clear();
            self.units.read(at, AT_ONCE.min(end - at), &mut bytes)?;
            if bytes.is_empty() {
                break;
            }
            for unit in bytes.chunks_exact(self.kind.unit_bytes()) {
                if let Some(known) = known.filter(|known| (known.begin..known.end).contains(&at)) {
                    let begin = index;
                    return Ok(Holes { begin, ..known });
                }
                match self.kind.decode(unit, at) {
                    Some(unit) if unit.is_pre_blank() => at += 1,
                    unit => {
                        return Ok(Holes {
                            begin: index,
                            end: at,
                            next: unit.map(|unit| unit.log_offset),
                        });
                    }
                }
            }
        }
        Ok(Holes {
            begin: index,
            end: at,
            next: None,
        })
    }

    /// Sets the minimum: the first message that is in the log, whose first file begins at `log_min`.
    /// Returns the number of its unit. Java: `ConsumeQueue.correctMinOffset`
    pub(crate) fn correct_min(&self, log_min: u64) -> io::Result<u64> {
        let end = self.units.end();
        let index = self.first_from(log_min)?;
        let min = match self.kind {
            QueueKind::Plain => index,
            QueueKind::Batch if index == end => self.max(),
            QueueKind::Batch => self
                .unit_at(index)?
                .map_or_else(|| self.max(), |unit| unit.queue_offset),
        };
        self.min.store(min, Ordering::Release);
        Ok(index)
    }

    /// Begins a queue without files at a queue offset. Returns the bytes of waiting units, which are dropped.
    pub(crate) fn begin_at(&self, offset: u64) -> usize {
        let dropped = self.units.begin_at(match self.kind {
            QueueKind::Plain => offset,
            QueueKind::Batch => 0,
        });
        self.min.store(offset, Ordering::Release);
        self.max.store(offset, Ordering::Release);
        dropped
    }
}
