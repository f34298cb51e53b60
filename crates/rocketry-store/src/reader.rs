//! The reading half of a store: any number of threads, no lock of the writer.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rocketry_protocol::{
    record::{MAGIC_V1, MAGIC_V2, MIN_BYTES},
    sys_flag::BORN_HOST_V6,
};

use crate::{
    Metadata, ReadError, WriteError,
    commit_log::CommitLog,
    consume_queue::{ConsumeQueue, Unit},
    number::{i32_at, i64_at, signed, size},
    shared::Shared,
};

/// Bytes between two wanted records that are read along rather than paying for another call.
const GAP_BYTES: u64 = 8 * 1024;
/// Records that take less together are read: that costs no more than to have them mapped.
const MAP_FROM_BYTES: u64 = 4 * 1024;
/// Units looked at in one go.
const UNITS_AT_ONCE: u64 = 64;
/// Bytes of a record up to the end of its store timestamp, with an IPv6 born host.
const HEAD_BYTES: usize = 76;

/// Offsets of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRange {
    /// The first position whose message is stored; equal to `max` when there is none.
    pub min: i64,
    /// The position the next message will get.
    pub max: i64,
}

/// Bounds of one read. Java: `maxTransferBytesOnMessageInMemory`, `maxTransferCountOnMessageInMemory`, `maxFilterMessageSize`.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Messages at most. Default: 32.
    pub max_messages: usize,
    /// Bytes at most; the first message is returned whatever its size. Default: 256 KiB.
    pub max_bytes: usize,
    /// Messages looked at at most, matching or not. Default: 800.
    pub max_scanned: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_messages: 32,
            max_bytes: 256 * 1024,
            max_scanned: 800,
        }
    }
}

/// Chooses messages of a read. Java: `MessageFilter`.
pub trait Filter {
    /// Whether a message may match, judged by its tags code: the hash of its tag, 0 without one.
    fn matches_tags(&self, tags_code: i64) -> bool;
    /// Whether [`Filter::matches_record`] is to be asked.
    fn needs_record(&self) -> bool {
        false
    }
    /// Whether a message matches, judged by its whole record.
    fn matches_record(&self, record: &[u8]) -> bool {
        let _ = record;
        true
    }
}

/// How a read ended. Java: `GetMessageStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadStatus {
    /// At least one message.
    Found,
    /// There are messages, and the filter refused all that were looked at.
    NoMatchedMessage,
    /// The messages at this position are being removed.
    MessageWasRemoving,
    /// A hole in the queue.
    OffsetFoundNull,
    /// The position lies beyond the end.
    OffsetOverflowBadly,
    /// The position is the end: nothing new.
    OffsetOverflowOne,
    /// The position lies before the first message that is still stored.
    OffsetTooSmall,
    /// No such queue.
    NoMatchedLogicQueue,
    /// The queue never had a message.
    NoMessageInQueue,
}

impl ReadStatus {
    /// Java's name of the status, which replies carry as their remark.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Found => "FOUND",
            Self::NoMatchedMessage => "NO_MATCHED_MESSAGE",
            Self::MessageWasRemoving => "MESSAGE_WAS_REMOVING",
            Self::OffsetFoundNull => "OFFSET_FOUND_NULL",
            Self::OffsetOverflowBadly => "OFFSET_OVERFLOW_BADLY",
            Self::OffsetOverflowOne => "OFFSET_OVERFLOW_ONE",
            Self::OffsetTooSmall => "OFFSET_TOO_SMALL",
            Self::NoMatchedLogicQueue => "NO_MATCHED_LOGIC_QUEUE",
            Self::NoMessageInQueue => "NO_MESSAGE_IN_QUEUE",
        }
    }
}

/// What a read found; `M` is how the records come.
#[derive(Debug, Clone)]
pub struct ReadOutcome<M = Bytes> {
    /// How it ended.
    pub status: ReadStatus,
    /// Where to read on.
    pub next_offset: i64,
    /// The queue's first position.
    pub min_offset: i64,
    /// The queue's end.
    pub max_offset: i64,
    /// The records, one behind the other, as they are stored: the body of a pull reply.
    pub messages: M,
    /// Number of messages in `messages`; a record that is an inner batch counts as the messages it holds.
    pub count: usize,
}

/// Which message of several a time stands for. Java: `BoundaryType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Boundary {
    /// The first message stored at the time or later.
    #[default]
    Lower,
    /// The last message stored at the time or earlier.
    Upper,
}

/// Reads an open store. Clones share everything; reads run in parallel with each other and with the writer.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Topics, groups and offsets of the store.
    pub fn metadata(&self) -> &Arc<Metadata> {
        &self.shared.metadata
    }

    /// Offsets of a queue; `None` when it never had a message.
    pub fn queue_range(&self, topic: &str, queue_id: i32) -> Option<QueueRange> {
        let queue = self.shared.queues.get(topic, queue_id)?;
        Some(QueueRange {
            min: signed(queue.min()),
            max: signed(queue.max()),
        })
    }

    /// All queues that ever had a message, with their offsets, in order of topic and id.
    pub fn queues(&self) -> Vec<(Arc<str>, i32, QueueRange)> {
        let mut queues: Vec<_> = self
            .shared
            .queues
            .all()
            .iter()
            .map(|queue| {
                let range = QueueRange {
                    min: signed(queue.min()),
                    max: signed(queue.max()),
                };
                (Arc::clone(queue.topic()), queue.queue_id(), range)
            })
            .collect();
        queues.sort_unstable_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        queues
    }

    /// The sum of the ends of each topic's queues, of all topics that ever had a message: how many were stored since it was made.
    pub fn topic_ends(&self) -> Vec<(Arc<str>, i64)> {
        let sums = self.shared.queues.sums(ConsumeQueue::max);
        sums.into_iter()
            .map(|(topic, sum)| (topic, signed(sum)))
            .collect()
    }

    /// Bytes of the disk that the directory lies on, all and free; `None` where the system does not say.
    pub fn disk_bytes(&self) -> Option<(u64, u64)> {
        let root = self.shared.layout.root();
        let total = self.shared.fs.total_bytes(root)?;
        Some((total, self.shared.fs.free_bytes(root)?))
    }

    /// Why the store takes no messages at present.
    ///
    /// # Errors
    /// What an append would be refused with: too little space, a failed sync, or the store is closed.
    pub fn takes_messages(&self) -> Result<(), WriteError> {
        self.shared.check_takes()
    }

    /// The error of a configuration file for which there was no space, with path, free bytes and limit, as a refused append has it.
    pub fn no_space_for_config(&self) -> WriteError {
        let error = std::io::ErrorKind::StorageFull.into();
        self.shared
            .write_error("write to", &self.shared.layout.config(), error)
    }

    /// Start of the oldest commit-log file.
    pub fn min_log_offset(&self) -> i64 {
        signed(self.shared.log.min())
    }

    /// End of the commit log.
    pub fn max_log_offset(&self) -> i64 {
        signed(self.shared.log.end())
    }

    /// Everything before this commit-log offset is on disk.
    pub fn synced_log_offset(&self) -> i64 {
        signed(self.shared.log.synced())
    }

    /// [`Reader::read_pieces`], with all records in one piece.
    ///
    /// # Errors
    /// The disk refused a read.
    pub fn read(
        &self,
        topic: &str,
        queue_id: i32,
        offset: i64,
        limits: &ReadLimits,
        filter: Option<&dyn Filter>,
    ) -> Result<ReadOutcome, ReadError> {
        let read = self.read_pieces(topic, queue_id, offset, limits, filter)?;
        Ok(ReadOutcome {
            status: read.status,
            next_offset: read.next_offset,
            min_offset: read.min_offset,
            max_offset: read.max_offset,
            messages: joined(read.messages),
            count: read.count,
        })
    }

    /// Reads messages of a queue from `offset` on, and returns them where they lie: in the page cache, as far as the system can do
    /// that. Each piece has whole records, and keeps its commit-log file in memory's address space while it lives. Consecutive
    /// records that lie close to each other in the log are read together. Blocks for the disk where the page cache does not have them.
    ///
    /// # Errors
    /// The disk refused a read.
    ///
    /// Java: `DefaultMessageStore.getMessage`, `SelectMappedBufferResult`. Differs from Java: crosses consume-queue files, and has one
    /// limit for messages in memory and on disk.
    pub fn read_pieces(
        &self,
        topic: &str,
        queue_id: i32,
        offset: i64,
        limits: &ReadLimits,
        filter: Option<&dyn Filter>,
    ) -> Result<ReadOutcome<Vec<Bytes>>, ReadError> {
        let Some(queue) = self.shared.queues.get(topic, queue_id) else {
            return Ok(ended(ReadStatus::NoMatchedLogicQueue, 0, 0, 0));
        };
        let (min, max) = (queue.min(), queue.max());
        let (signed_min, signed_max) = (signed(min), signed(max));
        let end = |status, next| ended(status, next, signed_min, signed_max);
        if max == 0 {
            return Ok(end(ReadStatus::NoMessageInQueue, 0));
        }
        if offset < signed_min {
            return Ok(end(ReadStatus::OffsetTooSmall, signed_min));
        }
        if offset == signed_max {
            return Ok(end(ReadStatus::OffsetOverflowOne, offset));
        }
        if offset > signed_max {
            return Ok(end(ReadStatus::OffsetOverflowBadly, signed_max));
        }
        let mut scan = Scan {
            shared: &self.shared,
            limits,
            filter,
            next: offset.cast_unsigned(),
            scanned: 0,
            count: 0,
            pieces: Vec::new(),
            bytes: 0,
            removed: false,
            holes: false,
        };
        scan.run(&queue, max)?;
        let status = match scan {
            Scan { count: 1.., .. } => ReadStatus::Found,
            Scan { removed: true, .. } => ReadStatus::MessageWasRemoving,
            Scan { holes: true, .. } => ReadStatus::OffsetFoundNull,
            _ => ReadStatus::NoMatchedMessage,
        };
        Ok(ReadOutcome {
            status,
            next_offset: signed(scan.next),
            min_offset: signed_min,
            max_offset: signed_max,
            count: scan.count,
            messages: scan.pieces,
        })
    }

    /// The record at a commit-log offset; `None` when there is none: nothing there, or not the start of a record.
    ///
    /// # Errors
    /// The disk refused a read.
    ///
    /// Differs from Java, which returns whatever bytes lie there.
    pub fn record_at(&self, log_offset: i64) -> Result<Option<Bytes>, ReadError> {
        let Ok(at) = u64::try_from(log_offset) else {
            return Ok(None);
        };
        record_at(&self.shared, at)
    }

    /// Store time of the message at a queue position, ms; `None` when it is not stored.
    ///
    /// # Errors
    /// The disk refused a read.
    pub fn store_time(
        &self,
        topic: &str,
        queue_id: i32,
        offset: i64,
    ) -> Result<Option<i64>, ReadError> {
        let (Some(queue), Ok(offset)) = (
            self.shared.queues.get(topic, queue_id),
            u64::try_from(offset),
        ) else {
            return Ok(None);
        };
        if offset < queue.min() || offset >= queue.max() {
            return Ok(None);
        }
        self.store_time_of(&queue, offset)
    }

    /// Store time of the oldest message of a queue, ms; `None` when it has none.
    ///
    /// # Errors
    /// The disk refused a read.
    pub fn earliest_store_time(
        &self,
        topic: &str,
        queue_id: i32,
    ) -> Result<Option<i64>, ReadError> {
        match self.queue_range(topic, queue_id) {
            Some(range) if range.min < range.max => self.store_time(topic, queue_id, range.min),
            _ => Ok(None),
        }
    }

    /// The queue position that `ms` stands for. Nothing stored: 0. All messages older: the end ([`Boundary::Lower`]) or the last
    /// one. All newer: the first one. Else as [`Boundary`] says.
    ///
    /// # Errors
    /// The disk refused a read.
    ///
    /// Java: `ConsumeQueue.getOffsetInQueueByTime`. Differs from Java: never below the queue's minimum.
    pub fn offset_by_time(
        &self,
        topic: &str,
        queue_id: i32,
        ms: i64,
        boundary: Boundary,
    ) -> Result<i64, ReadError> {
        let Some(queue) = self.shared.queues.get(topic, queue_id) else {
            return Ok(0);
        };
        let (min, max) = (queue.min(), queue.max());
        if min >= max {
            return Ok(0);
        }
        let (mut low, mut high) = (min, max);
        while low < high {
            let middle = low + (high - low) / 2;
            let before = self
                .store_time_of(&queue, middle)?
                .is_none_or(|stored| stored < ms || (boundary == Boundary::Upper && stored == ms));
            if before {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(signed(match boundary {
            Boundary::Lower => low,
            Boundary::Upper => low.saturating_sub(1).max(min),
        }))
    }

    fn store_time_of(&self, queue: &ConsumeQueue, offset: u64) -> Result<Option<i64>, ReadError> {
        let unit = queue
            .unit(offset)
            .map_err(|error| ReadError::new("consume queue", queue.units.dir())(error))?;
        match unit {
            Some(unit) if unit.log_offset >= self.shared.log.min() && !unit.is_pre_blank() => {
                store_time_at(&self.shared, unit)
            }
            _ => Ok(None),
        }
    }
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() < 2 {
        return pieces.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        all.extend_from_slice(&piece);
    }
    all.freeze()
}

fn ended(
    status: ReadStatus,
    next_offset: i64,
    min_offset: i64,
    max_offset: i64,
) -> ReadOutcome<Vec<Bytes>> {
    ReadOutcome {
        status,
        next_offset,
        min_offset,
        max_offset,
        messages: Vec::new(),
        count: 0,
    }
}

/// One read in progress.
struct Scan<'a> {
    shared: &'a Shared,
    limits: &'a ReadLimits,
    filter: Option<&'a dyn Filter>,
    /// The next position to look at.
    next: u64,
    scanned: usize,
    count: usize,
    pieces: Vec<Bytes>,
    /// Of `pieces` together.
    bytes: usize,
    removed: bool,
    holes: bool,
}

impl Scan<'_> {
    fn run(&mut self, queue: &ConsumeQueue, max: u64) -> Result<(), ReadError> {
        let mut picked: Vec<Unit> = Vec::new();
        loop {
            let left = self.limits.max_scanned.saturating_sub(self.scanned) as u64;
            let at_once =
                match self.filter {
                    // without a filter every unit is a message: no more than wanted
                    None => (self.limits.max_messages - self.count.min(self.limits.max_messages))
                        .max(1) as u64,
                    Some(_) => UNITS_AT_ONCE,
                };
            let want = at_once.min(left).min(max - self.next);
            if want == 0 {
                return Ok(());
            }
            let units = queue
                .read(self.next, want)
                .map_err(|error| ReadError::new("consume queue", queue.units.dir())(error))?;
            if units.is_empty() {
                return Ok(());
            }
            picked.clear();
            let full = self.pick(&units, &mut picked);
            let count = self.count;
            self.take(&picked)?;
            let expected: usize = picked.iter().map(|unit| usize::from(unit.count)).sum();
            // where records were dropped after all, there is room for more
            let dropped = self.count < count + expected;
            if (full && !dropped) || self.count >= self.limits.max_messages.max(1) {
                return Ok(());
            }
        }
    }

    /// Chooses the units to read; returns whether the read is full before the last of `units`.
    fn pick(&mut self, units: &[Option<Unit>], picked: &mut Vec<Unit>) -> bool {
        let log = &self.shared.log;
        let log_min = log.min();
        let mut bytes = self.bytes;
        let mut count = self.count;
        for unit in units {
            match unit.as_ref().filter(|unit| !unit.is_pre_blank()) {
                Some(unit) if unit.log_offset < log_min || has_room(log, unit) => {
                    let too_many = count + usize::from(unit.count) > self.limits.max_messages;
                    let too_large = bytes + unit.size as usize > self.limits.max_bytes;
                    if count > 0 && (too_many || too_large) {
                        return true;
                    }
                    if unit.log_offset < log_min {
                        self.removed = true;
                    } else if self
                        .filter
                        .is_none_or(|filter| filter.matches_tags(unit.tags_code))
                    {
                        bytes += unit.size as usize;
                        count += usize::from(unit.count);
                        picked.push(*unit);
                    }
                    self.next = unit.queue_end();
                }
                Some(unit) => {
                    tracing::warn!(
                        log_offset = unit.log_offset,
                        size = unit.size,
                        "a consume queue has a record that the log has no room for"
                    );
                    self.holes = true;
                    self.next = unit.queue_end().max(self.next + 1);
                }
                None => {
                    self.holes = true;
                    self.next += 1;
                }
            }
            self.scanned += 1;
        }
        false
    }

    /// Adds the picked records to those found so far, run by run of close ones.
    fn take(&mut self, picked: &[Unit]) -> Result<(), ReadError> {
        let log = &self.shared.log;
        let close = |a: &Unit, b: &Unit| {
            b.log_offset >= a.log_end()
                && b.log_offset - a.log_end() <= GAP_BYTES
                && log.file_start(a.log_offset) == log.file_start(b.log_offset)
        };
        for run in picked.chunk_by(close) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let (from, to) = (first.log_offset, last.log_end());
            if to - from >= MAP_FROM_BYTES
                && let Some(bytes) = log.map(from, to)
            {
                self.keep(run, &bytes);
            } else {
                self.read(run, from, to)?;
            }
        }
        Ok(())
    }

    /// Keeps the wanted records of a run, whose bytes lie in the page cache; those that follow each other are one piece.
    fn keep(&mut self, run: &[Unit], bytes: &Bytes) {
        let origin = run.first().map_or(0, |unit| unit.log_offset);
        let mut piece = 0..0;
        for unit in run {
            let from = size(unit.log_offset - origin);
            let to = from + unit.size as usize;
            if !self.wants(unit, bytes.get(from..to).unwrap_or_default()) {
                continue;
            }
            if piece.end != from {
                self.push(bytes.slice(piece));
                piece = from..from;
            }
            piece.end = to;
            self.count += usize::from(unit.count);
        }
        self.push(bytes.slice(piece));
    }

    /// Reads a run, closes the gaps between its records, and drops what is not wanted.
    fn read(&mut self, run: &[Unit], from: u64, to: u64) -> Result<(), ReadError> {
        let log = &self.shared.log;
        let mut bytes = BytesMut::zeroed(size(to - from));
        if let Err(error) = log.read(&mut bytes, from) {
            // the file was removed between the look at the queue and the read
            if error.kind() == std::io::ErrorKind::NotFound || from < log.min() {
                self.removed = true;
                return Ok(());
            }
            let path = log.path(log.file_start(from));
            return Err(ReadError::new("commit log", path)(error));
        }
        let mut end = 0;
        for unit in run {
            let at = size(unit.log_offset - from);
            let len = unit.size as usize;
            if self.wants(unit, bytes.get(at..at + len).unwrap_or_default()) {
                bytes.copy_within(at..at + len, end);
                end += len;
                self.count += usize::from(unit.count);
            }
        }
        bytes.truncate(end);
        self.push(bytes.freeze());
        Ok(())
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Whether `bytes` are a record, and one that the filter lets pass.
    fn wants(&mut self, unit: &Unit, bytes: &[u8]) -> bool {
        if !is_record(bytes, unit.log_offset) {
            tracing::warn!(
                log_offset = unit.log_offset,
                "a consume queue points to something that is no record"
            );
            self.removed = true;
            return false;
        }
        self.filter
            .is_none_or(|filter| !filter.needs_record() || filter.matches_record(bytes))
    }
}

/// Whether the log can have the record that a unit says it has: of a possible size, in one file, and before the end.
fn has_room(log: &CommitLog, unit: &Unit) -> bool {
    let file_end = log.file_start(unit.log_offset) + log.file_bytes();
    unit.size as usize >= MIN_BYTES && unit.log_end() <= file_end.min(log.end())
}

/// Whether `bytes` are the whole record that belongs at log offset `at`, judged by its head.
fn is_record(bytes: &[u8], at: u64) -> bool {
    i32_at(bytes, 0).and_then(|len| usize::try_from(len).ok()) == Some(bytes.len())
        && matches!(i32_at(bytes, 4), Some(MAGIC_V1 | MAGIC_V2))
        && i64_at(bytes, 28) == Some(signed(at))
}

pub(crate) fn record_at(shared: &Shared, at: u64) -> Result<Option<Bytes>, ReadError> {
    let log = &shared.log;
    let end = log.end();
    if at < log.min() || at >= end {
        return Ok(None);
    }
    let path = || log.path(log.file_start(at));
    let room = size((log.file_start(at) + log.file_bytes()).min(end) - at);
    if room < MIN_BYTES {
        return Ok(None);
    }
    let mut head = [0; 36];
    log.read(&mut head, at)
        .map_err(ReadError::new("commit log", path()))?;
    let Some(len) = i32_at(&head, 0)
        .and_then(|len| usize::try_from(len).ok())
        .filter(|len| (MIN_BYTES..=room).contains(len))
    else {
        return Ok(None);
    };
    let mut bytes = vec![0; len];
    log.read(&mut bytes, at)
        .map_err(ReadError::new("commit log", path()))?;
    Ok(is_record(&bytes, at).then(|| Bytes::from(bytes)))
}

/// Store time of the record a unit points to; `None` when there is no record.
fn store_time_at(shared: &Shared, unit: Unit) -> Result<Option<i64>, ReadError> {
    let log = &shared.log;
    if !has_room(log, &unit) {
        return Ok(None);
    }
    let mut head = [0; HEAD_BYTES];
    log.read(&mut head, unit.log_offset).map_err(|error| {
        ReadError::new("commit log", log.path(log.file_start(unit.log_offset)))(error)
    })?;
    if i64_at(&head, 28) != Some(signed(unit.log_offset)) {
        return Ok(None);
    }
    let v6 = i32_at(&head, 36).is_some_and(|sys_flag| sys_flag & BORN_HOST_V6 != 0);
    Ok(i64_at(&head, if v6 { 68 } else { 56 }))
}
