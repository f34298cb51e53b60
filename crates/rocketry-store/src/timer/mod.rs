//! Messages that wait for their time: the timer's files and what is due. Java: `TimerMessageStore`
//!
//! A timed message is stored in the timer topic with its time in `TIMER_OUT_MS`. [`Timers::take_new`] reads that topic's queue and
//! gives each message a unit in the timer log, chained into the slot of its time in the wheel. When a slot is due,
//! [`Timers::due`] hands out its messages, and the caller stores them where they belong. Wheel and log are derived: what of them is
//! missing or contradicts the commit log is derived from the timer topic again.
//!
//! The order of writes: a unit is on disk before the slot that leads to it, the slot before the checkpoint that counts on it, and
//! whatever was delivered is in the synced commit log before the checkpoint says so. A crash can therefore repeat a delivery, and
//! never lose one.

mod checkpoint;
mod log;
mod lost;
mod rebuild;
mod recover;
mod wheel;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use rocketry_protocol::{
    Properties, hash::java_string_hash, properties::name, record::Record, topic::TIMER,
};

use self::{
    checkpoint::TimerCheckpoint,
    log::{TimerLog, Unit},
    rebuild::Rebuild,
    wheel::Wheel,
};
use crate::{
    ReadError, ReadLimits, ReadStatus, Reader, WriteError, WriteErrorKind, number::i64_at,
};

/// Where a message is parked: the one queue of the timer topic.
const QUEUE_ID: i32 = 0;
/// Bytes of units, and changed slots, that may wait for [`Timers::flush`].
const MAX_WAITING_BYTES: usize = 4 << 20;
const MAX_CHANGED_SLOTS: usize = 64 * 1024;
/// Time between two flushes. Java: `timerFlushIntervalMs`
const FLUSH_INTERVAL_MS: i64 = 1000;
/// Time after which a checkpoint is written although nothing but the time went on.
const IDLE_FLUSH_MS: i64 = 60_000;
/// While delivery is further behind than this no new messages are taken: their slots could be those of messages that wait.
const MAX_BEHIND_TICKS: i64 = 7 * 24 * 60 * 60;
/// How a timer is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerOptions {
    /// Width of a slot, ms. Default: 1000. One of 100, 200, 500 and 1000; others are rounded down to one of these.
    /// Java: `timerPrecisionMs`
    pub precision_ms: i64,
    /// Slots after which a message goes round: it is stored anew and waits for the rest of its time. Default: 172,800, two days.
    /// Java: `timerRollWindowSlot`
    pub roll_window_slots: i64,
    /// Length of a timer-log file in a new directory, bytes. Default: 100 MiB (sparse). Java: `mappedFileSizeTimerLog`
    pub log_file_bytes: u64,
}

impl Default for TimerOptions {
    fn default() -> Self {
        Self {
            precision_ms: 1000,
            roll_window_slots: 172_800,
            log_file_bytes: 100 << 20,
        }
    }
}

impl TimerOptions {
    /// The slot that a message asked for at `deliver_ms` waits in, its `TIMER_OUT_MS`: the last one that ends before or at that time.
    /// Java: `HookUtils.transformTimerMessage`
    pub fn out_ms(&self, deliver_ms: i64) -> i64 {
        let precision = self.precision();
        if deliver_ms % precision == 0 {
            deliver_ms - precision
        } else {
            floor(deliver_ms, precision)
        }
    }

    fn precision(&self) -> i64 {
        [1000, 500, 200]
            .into_iter()
            .find(|precision| self.precision_ms >= *precision)
            .unwrap_or(100)
    }
}

/// A message whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueMessage {
    /// The record in the timer topic.
    pub record: Bytes,
    /// When it was put into the wheel, ms: the value for `TIMER_ENQUEUE_MS`. [`i64::MAX`] for one that was due at once.
    pub enqueue_ms: i64,
    /// Its time is still to come: store it in the timer topic again, with `TIMER_ROLL_TIMES` one higher.
    pub rolls: bool,
}

/// The timer of an open store. One owner works it, in rounds: [`take_new`](Self::take_new), then [`due`](Self::due) and
/// [`delivered`](Self::delivered) until nothing is, then [`flush`](Self::flush). All calls block for the disk.
#[derive(Debug)]
pub struct Timers {
    reader: Reader,
    options: TimerOptions,
    precision: i64,
    wheel: Wheel,
    log: TimerLog,
    saved: TimerCheckpoint,
    /// Whether anything but the time changed since the checkpoint was written.
    changed: bool,
    last_flush_ms: i64,
    /// The present slot; only grows.
    write_ms: i64,
    /// Every slot before it is delivered.
    read_ms: i64,
    /// The next message of the timer topic.
    queue_offset: i64,
    rebuild: Option<Rebuild>,
    /// Messages that were due before they could be put into the wheel.
    late: Vec<DueMessage>,
    slot: Option<DueSlot>,
    /// Failed reads of records of the slot that is due, by log offset.
    failed_reads: BTreeMap<i64, u32>,
    /// Up to this offset messages are taken one by one, since they could not be read together.
    alone_until: i64,
    /// Failed reads of the next message.
    failed_takes: u32,
}

/// A slot that is being delivered.
#[derive(Debug)]
struct DueSlot {
    ms: i64,
    /// Oldest first, without the pure deletes.
    units: Vec<Unit>,
    /// The first unit that was not handed out.
    next: usize,
    /// The messages that were taken back.
    deleted: HashSet<Named>,
    /// What was handed out and is not delivered.
    out: Vec<DueMessage>,
}

impl Timers {
    /// Position in the timer topic's queue of the next message to take.
    pub const fn queue_offset(&self) -> i64 {
        self.queue_offset
    }

    /// Every slot before this time is delivered, ms. Java: `commitReadTimeMs`
    pub const fn read_ms(&self) -> i64 {
        self.read_ms
    }

    /// Whether a part of a slot is delivered and the rest is not: a start from here delivers all of it again.
    pub fn is_amid_slot(&self) -> bool {
        self.slot.as_ref().is_some_and(|slot| slot.next > 0)
    }

    /// Takes at most `max_messages` from the timer topic's queue into the wheel and returns how many, 0 when there are none, or when
    /// [`due`](Self::due) or [`flush`](Self::flush) have to go on first.
    ///
    /// # Errors
    /// The disk refused a read. What was taken before stays taken; a message whose record it refused three times is left out.
    ///
    /// Java: `TimerMessageStore.enqueue`
    pub fn take_new(&mut self, now_ms: i64, max_messages: usize) -> Result<usize, ReadError> {
        self.advance(now_ms);
        let full =
            self.log.waiting() > MAX_WAITING_BYTES || self.wheel.changes() > MAX_CHANGED_SLOTS;
        let behind = (self.write_ms - self.read_ms) / self.precision > MAX_BEHIND_TICKS;
        if full || !self.late.is_empty() || (behind && self.rebuild.is_none()) {
            return Ok(0);
        }
        let alone = self.queue_offset < self.alone_until;
        let max_messages = if alone { 1 } else { max_messages };
        let limits = ReadLimits {
            max_messages,
            max_bytes: 1 << 20,
            max_scanned: max_messages,
        };
        let read = self
            .reader
            .read(TIMER, QUEUE_ID, self.queue_offset, &limits, None);
        let found = match read {
            Ok(found) => found,
            Err(error) => return self.cannot_take(error, max_messages),
        };
        self.failed_takes = 0;
        let mut rest = found.messages.clone();
        let mut taken = 0;
        while !rest.is_empty() {
            let (len, next) = match Record::parse(&rest) {
                Ok((record, len)) => {
                    self.take(&record, &rest.slice(..len), now_ms)?;
                    (len, record.queue_offset.saturating_add(1))
                }
                Err(error) => {
                    tracing::warn!(
                        log_offset = i64_at(&rest, 28),
                        %error,
                        "a message in the timer topic cannot be read and is left out"
                    );
                    // where it ends only the queue knows: the next call reads on behind it
                    self.go_on_at(self.queue_offset + 1);
                    self.end_rebuild();
                    return Ok(taken + 1);
                }
            };
            self.go_on_at(next.min(found.next_offset));
            rest = rest.slice(len..);
            taken += 1;
        }
        if matches!(
            found.status,
            ReadStatus::Found
                | ReadStatus::OffsetTooSmall
                | ReadStatus::OffsetFoundNull
                | ReadStatus::MessageWasRemoving
                | ReadStatus::OffsetOverflowBadly
        ) && found.next_offset != self.queue_offset
        {
            self.queue_offset = found.next_offset;
            self.changed = true;
        }
        self.end_rebuild();
        Ok(taken)
    }

    /// Everything before `offset` of the timer topic's queue is taken.
    fn go_on_at(&mut self, offset: i64) {
        if offset > self.queue_offset {
            self.queue_offset = offset;
            self.changed = true;
        }
    }

    /// The present slot is that of `now_ms`; a clock that went back is not followed.
    fn advance(&mut self, now_ms: i64) {
        if self.rebuild.is_none() {
            self.write_ms = self.write_ms.max(floor(now_ms, self.precision));
        }
    }

    /// Puts one message into its slot, or among the late ones. Java: `TimerMessageStore.doEnqueue`
    fn take(&mut self, record: &Record<'_>, bytes: &Bytes, now_ms: i64) -> Result<(), ReadError> {
        let properties = Properties::parse_bytes(record.properties);
        let Some(out_ms) = properties
            .get(name::TIMER_OUT_MS)
            .and_then(|text| text.parse::<i64>().ok())
        else {
            tracing::warn!(
                log_offset = record.physical_offset,
                "a message in the timer topic has no time and is left out"
            );
            return Ok(());
        };
        let mut out_ms = floor(out_ms, self.precision);
        let deletes = properties.contains(name::TIMER_DEL_UNIQKEY);
        if let Some(rebuild) = &self.rebuild {
            if rebuild.is_done_with(&self.reader, record, &properties, out_ms)? {
                return Ok(());
            }
            out_ms = out_ms.max(self.write_ms);
        }
        if out_ms < self.write_ms {
            if !deletes {
                self.late.push(DueMessage {
                    record: bytes.clone(),
                    enqueue_ms: i64::MAX,
                    rolls: false,
                });
            }
            return Ok(());
        }
        let (slot_ms, rolls) = self.slot_of(out_ms);
        let fault = self.read_fault();
        let tick = slot_ms / self.precision;
        let slot = self.wheel.slot(tick).map_err(fault)?;
        let topic = properties.get(name::REAL_TOPIC);
        let position = self.log.append(&Unit {
            previous: slot.last_pos,
            rolls,
            deletes,
            write_ms: self.write_ms,
            // a round is two days at most
            delay_ms: i32::try_from(slot_ms - self.write_ms).unwrap_or(i32::MAX),
            log_offset: record.physical_offset,
            record_bytes: i32::try_from(bytes.len()).unwrap_or(i32::MAX),
            topic_hash: topic.map_or(0, java_string_hash),
        });
        self.wheel
            .put(slot.with(crate::number::signed(position), deletes));
        self.count(&properties, if deletes { -1 } else { 1 }, now_ms);
        self.changed = true;
        Ok(())
    }

    /// The slot a message waits in now, and whether that is not its last one.
    fn slot_of(&self, out_ms: i64) -> (i64, bool) {
        let window = self.options.roll_window_slots;
        let beyond = out_ms - self.write_ms - window * self.precision;
        if beyond < 0 {
            return (out_ms, false);
        }
        // leaves the next round enough time
        let round = if beyond < window / 3 * self.precision {
            window / 2
        } else {
            window
        };
        (self.write_ms + round * self.precision, true)
    }

    /// Messages that are due, at most `max_messages` of them and some MiB; the same again until [`delivered`](Self::delivered) is
    /// called. Empty when nothing is due. A message that was taken back is left out, as is one that is no longer stored, and one whose
    /// record the disk refused three times.
    ///
    /// # Errors
    /// The disk refused a read: the next call goes on there.
    ///
    /// Java: `TimerMessageStore.dequeue`
    pub fn due(&mut self, now_ms: i64, max_messages: usize) -> Result<&[DueMessage], ReadError> {
        self.advance(now_ms);
        if self.rebuild.is_some() {
            return Ok(&[]);
        }
        if !self.late.is_empty() {
            return Ok(&self.late);
        }
        loop {
            match self.slot.take() {
                Some(mut slot) => {
                    if slot.out.is_empty()
                        && let Err(error) = self.hand_out(&mut slot, max_messages)
                    {
                        // kept: begun anew, the slot would be delivered anew
                        self.slot = Some(slot);
                        return Err(error);
                    }
                    if !slot.out.is_empty() {
                        return Ok(&self.slot.insert(slot).out);
                    }
                    self.end_slot(slot.ms);
                }
                None => match self.next_slot()? {
                    Some(slot) => self.slot = Some(slot),
                    None => return Ok(&[]),
                },
            }
        }
    }

    fn end_slot(&mut self, ms: i64) {
        self.read_ms = ms + self.precision;
        self.failed_reads.clear();
        self.changed = true;
    }

    /// The messages that [`due`](Self::due) returned are stored where they belong.
    pub fn delivered(&mut self, now_ms: i64) {
        if !self.late.is_empty() {
            self.late.clear();
            self.changed = true;
        } else if let Some(mut slot) = self.slot.take() {
            let out = std::mem::take(&mut slot.out);
            for message in &out {
                if let Ok((record, _)) = Record::parse(&message.record) {
                    self.count(&Properties::parse_bytes(record.properties), -1, now_ms);
                }
            }
            if slot.next < slot.units.len() {
                self.slot = Some(slot);
            } else {
                // Now, not with the next look: a stop in between would deliver the slot again after the next start.
                self.end_slot(slot.ms);
            }
        }
    }

    /// The next slot that has units and is over.
    fn next_slot(&mut self) -> Result<Option<DueSlot>, ReadError> {
        let (from, to) = (
            self.read_ms / self.precision,
            self.write_ms / self.precision,
        );
        let fault = self.read_fault();
        let Some(found) = self.wheel.first_used(from, to).map_err(fault)? else {
            self.read_ms = self.read_ms.max(self.write_ms);
            return Ok(None);
        };
        self.read_ms = found.tick * self.precision;
        let mut units = Vec::new();
        let mut position = found.last_pos;
        while position >= 0 {
            let fault = self.read_fault();
            let unit = self.log.unit(position).map_err(fault)?;
            // chains lead backwards, within the slot
            let Some(unit) = unit
                .filter(|unit| unit.previous < position)
                .filter(|unit| unit.slot_ms() / self.precision == found.tick)
            else {
                let fault = self.read_fault();
                self.begin_rebuild("a slot of the wheel leads to no unit of the log")
                    .map_err(fault)?;
                return Ok(None);
            };
            units.push(unit);
            position = unit.previous;
        }
        units.reverse();
        let mut deleted = HashSet::new();
        // One that goes round counts here as well: behind a clock that leaps, its message may be due before both meet again.
        for unit in units.iter().filter(|unit| unit.deletes) {
            let read = self.record_of(unit);
            if let Some(bytes) = self.unless_lost(unit, read)?
                && let Ok((record, _)) = Record::parse(&bytes)
            {
                let properties = Properties::parse_bytes(record.properties);
                deleted.extend(named(&properties, name::TIMER_DEL_UNIQKEY));
            }
        }
        units.retain(|unit| !unit.deletes || unit.rolls);
        Ok(Some(DueSlot {
            ms: self.read_ms,
            units,
            next: 0,
            deleted,
            out: Vec::new(),
        }))
    }

    /// Reads the next messages of a slot. There is an error only when none came before it.
    fn hand_out(&mut self, slot: &mut DueSlot, max_messages: usize) -> Result<(), ReadError> {
        let mut bytes = 0;
        while let Some(unit) = slot.units.get(slot.next).copied()
            && slot.out.len() < max_messages.max(1)
            && bytes < MAX_WAITING_BYTES
        {
            let record = match self.record_of(&unit) {
                // what was read goes out first
                Err(_) if !slot.out.is_empty() => return Ok(()),
                read => self.unless_lost(&unit, read)?,
            };
            slot.next += 1;
            let wanted = |record: &Bytes| unit.deletes || !is_deleted(record, &slot.deleted);
            let Some(record) = record.filter(wanted) else {
                continue;
            };
            bytes += record.len();
            slot.out.push(DueMessage {
                record,
                enqueue_ms: unit.write_ms,
                rolls: unit.rolls,
            });
        }
        Ok(())
    }

    fn record_of(&self, unit: &Unit) -> Result<Option<Bytes>, ReadError> {
        let record = self.reader.record_at(unit.log_offset)?;
        Ok(record.filter(|record| i32::try_from(record.len()) == Ok(unit.record_bytes)))
    }

    /// Java: `TimerMessageStore.addMetric`
    fn count(&self, properties: &Properties, messages: i64, now_ms: i64) {
        if let Some(topic) = properties.get(name::REAL_TOPIC) {
            let metrics = &self.reader.metadata().timer_metrics;
            metrics.add(topic, messages, now_ms);
        }
    }

    /// Writes and syncs what changed, once a second or when much waits; see [`flush_now`](Self::flush_now).
    ///
    /// # Errors
    /// As [`flush_now`](Self::flush_now).
    pub fn flush(&mut self, now_ms: i64) -> Result<(), WriteError> {
        let passed = now_ms - self.last_flush_ms;
        let much =
            self.log.waiting() > MAX_WAITING_BYTES || self.wheel.changes() > MAX_CHANGED_SLOTS;
        // a clock that went back counts as passed
        let due = !(0..FLUSH_INTERVAL_MS).contains(&passed) || much;
        let idle = self.read_ms - self.saved.read_ms < IDLE_FLUSH_MS;
        if !due || (!self.changed && idle) {
            return Ok(());
        }
        self.flush_now(now_ms)
    }

    /// Writes and syncs what changed, whatever the time. Does nothing while late messages wait to be delivered: on disk the log would
    /// say that they were.
    ///
    /// # Errors
    /// Disk full: tried again at the next call. After any other failure the store takes no more messages.
    ///
    /// Java: `TimerMessageStore.TimerFlushService`
    pub fn flush_now(&mut self, now_ms: i64) -> Result<(), WriteError> {
        if !self.late.is_empty() {
            return Ok(());
        }
        self.last_flush_ms = now_ms;
        let shared = std::sync::Arc::clone(&self.reader.shared);
        let fault = |path: &std::path::Path, error: std::io::Error| {
            let stopped = std::io::Error::new(error.kind(), error.to_string());
            let failure = shared.write_error("write", path, error);
            // a full disk may be freed; anything else leaves the files in doubt
            if failure.kind() == WriteErrorKind::DiskFull {
                failure
            } else {
                shared.stop_writing(path, &stopped)
            }
        };
        shared.sync_log()?;
        let dir = self.log.dir().to_path_buf();
        self.log.flush().map_err(|error| fault(&dir, error))?;
        let path = self.wheel.path().to_path_buf();
        self.wheel.flush().map_err(|error| fault(&path, error))?;
        if self.rebuild.is_some() {
            // no checkpoint before all of it is done: a start in between begins anew
            return Ok(());
        }
        let saved = TimerCheckpoint {
            read_ms: self.read_ms,
            log_position: crate::number::signed(self.log.end()),
            queue_offset: self.queue_offset,
            master_queue_offset: self.queue_offset,
            // the timer's own time, which vouches for `read_ms` whatever the clock does
            version: self.saved.version.next(now_ms.max(self.write_ms)),
        };
        let path = shared.layout.config_file("timercheck");
        saved
            .write(&*shared.fs, &path)
            .map_err(|error| fault(&path, error))?;
        self.saved = saved;
        self.changed = false;
        let log_min = self.reader.min_log_offset();
        self.log.retire(log_min).map_err(|error| fault(&dir, error))
    }

    fn read_fault(&self) -> impl FnOnce(std::io::Error) -> ReadError + use<> {
        ReadError::new("timer", self.reader.shared.layout.timer_log())
    }
}

/// A message as it was sent: topic, and unique id or what stands for it.
type Named = (String, String);

fn named(properties: &Properties, key: &str) -> Option<Named> {
    let topic = properties.get(name::REAL_TOPIC).unwrap_or_default();
    Some((topic.to_owned(), properties.get(key)?.to_owned()))
}

/// Whether a message was taken back, by its unique id, or by topic and id. Differs from Java, where the id is enough: who may send to
/// a topic takes back messages of that topic. Java: `TimerMessageStore.buildDeleteKey`
fn is_deleted(record: &[u8], deleted: &HashSet<Named>) -> bool {
    if deleted.is_empty() {
        return false;
    }
    let Ok((record, _)) = Record::parse(record) else {
        return false;
    };
    let Some(message) = named(&Properties::parse_bytes(record.properties), name::UNIQ_KEY) else {
        return false;
    };
    if deleted.contains(&message) {
        return true;
    }
    let (topic, key) = message;
    let both = format!("{topic}+{key}");
    deleted.contains(&(topic, both))
}

const fn floor(ms: i64, precision: i64) -> i64 {
    ms - ms.rem_euclid(precision)
}
