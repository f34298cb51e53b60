//! Opening the timer's files: brings the wheel up to the end of the timer log, or begins to derive both again.

use std::{collections::BTreeMap, io, path::Path};

use rocketry_protocol::{record::Record, topic::TIMER};

use super::{
    QUEUE_ID, TimerOptions, Timers,
    checkpoint::TimerCheckpoint,
    floor,
    log::{TimerLog, UNIT_BYTES},
    wheel::{SLOTS, Wheel},
};
use crate::{Reader, StoreError, layout::numbered_files, number::signed};

/// How far the checkpoint may be ahead of the clock to be gone on from: the timer stands still until the clock is there. Further, it
/// would do so for too long, whichever of the two is wrong.
const MAX_AHEAD_MS: i64 = 60 * 60 * 1000;

impl Timers {
    /// Opens the timer of an open store. Returns as well what was found damaged, for a person to read.
    ///
    /// # Errors
    /// A file cannot be read or repaired.
    ///
    /// Java: `TimerMessageStore.recover`. Differs from Java: messages that became due while the store was closed are delivered however
    /// long that was, and damaged files are derived from the commit log; so are they when the clock went back by more than an hour.
    pub fn open(
        reader: &Reader,
        options: TimerOptions,
        now_ms: i64,
    ) -> Result<(Self, Option<String>), StoreError> {
        let shared = &reader.shared;
        let (fs, layout) = (&shared.fs, &shared.layout);
        let precision = options.precision();
        let path = layout.config_file("timercheck");
        let saved = TimerCheckpoint::read(&**fs, &path).map_err(StoreError::io("read", &path))?;
        let path = layout.timer_wheel();
        let wheel = Wheel::open(fs, path.clone()).map_err(StoreError::io("open", &path))?;
        let present_ms = floor(now_ms, precision);
        let mut damage = Vec::new();
        let ahead_ms = saved.map_or(0, |saved| saved.read_ms.saturating_sub(present_ms));
        let (saved, write_ms) = if ahead_ms > MAX_AHEAD_MS {
            damage.push(format!(
                "config/timercheck is {} s ahead of the clock",
                ahead_ms / 1000
            ));
            let likely = saved.filter(|saved| is_likely(saved, precision));
            (likely, present_ms)
        } else {
            let read_ms = saved.map_or(present_ms, |saved| floor(saved.read_ms, precision));
            (saved, read_ms.max(present_ms))
        };
        if write_ms > present_ms {
            tracing::warn!(
                ahead_ms,
                "the clock went back since the last stop; the timer goes on once it is where it was"
            );
        }
        if wheel.is_none() {
            damage.push("timerwheel: its length is not that of a timer wheel".to_owned());
            super::wheel::remove(&**fs, &path).map_err(StoreError::io("remove", &path))?;
        }
        let wheel = match wheel {
            Some(wheel) => wheel,
            None => Wheel::open(fs, path.clone())
                .map_err(StoreError::io("open", &path))?
                .ok_or_else(|| StoreError::io("open", &path)(io::ErrorKind::InvalidData.into()))?,
        };
        let files = LogFiles::find(reader, options.log_file_bytes, &mut damage)?;
        let log = TimerLog::new(
            fs,
            layout.timer_log(),
            files.file_bytes,
            (files.first(), files.end()),
        );
        let mut timers = Self {
            reader: reader.clone(),
            precision,
            read_ms: saved.map_or(write_ms, |saved| {
                floor(saved.read_ms, precision).min(write_ms)
            }),
            queue_offset: saved.map_or(0, |saved| saved.queue_offset),
            saved: saved.unwrap_or_default(),
            options,
            wheel,
            log,
            changed: false,
            last_flush_ms: now_ms,
            write_ms,
            rebuild: None,
            late: Vec::new(),
            slot: None,
            failed_reads: BTreeMap::new(),
            alone_until: 0,
            failed_takes: 0,
        };
        let fault = StoreError::io("recover", layout.timer_log());
        if damage.is_empty() {
            timers.recover(saved, &files, &mut damage).map_err(fault)?;
        }
        if damage.is_empty() {
            return Ok((timers, None));
        }
        let reason = damage.join("; ");
        let fault = StoreError::io("remove the files of", layout.timer_log());
        super::wheel::remove(&**fs, &layout.timer_wheel())
            .and_then(|()| timers.log.reset(&files.starts))
            .and_then(|()| timers.begin_rebuild(&reason))
            .map_err(fault)?;
        let note = format!("timer: {reason}; derived from the commit log again");
        Ok((timers, Some(note)))
    }

    /// Finds the end of the log and gives the wheel what it lacks of it. What makes that impossible is added to `damage`.
    fn recover(
        &mut self,
        saved: Option<TimerCheckpoint>,
        files: &LogFiles,
        damage: &mut Vec<String>,
    ) -> io::Result<()> {
        let range = self.reader.queue_range(TIMER, QUEUE_ID);
        let (min, max) = range.map_or((0, 0), |range| (range.min, range.max));
        let Some(saved) = saved else {
            if max > 0 || !files.starts.is_empty() {
                damage.push("config/timercheck is absent or unreadable".to_owned());
            }
            return Ok(());
        };
        let position = saved.log_position.cast_unsigned();
        let from = if self.wheel.exists() || position == files.first() {
            position
        } else {
            damage.push("timerwheel is missing".to_owned());
            return Ok(());
        };
        if from < files.first() || from > files.end() {
            damage.push(format!(
                "timerlog: it does not reach to position {from}, where it was at the last checkpoint"
            ));
            return Ok(());
        }
        let end = self.catch_up(from)?;
        if end < from {
            damage.push(format!("timerlog: position {from} is no place of a unit"));
            return Ok(());
        }
        self.log.cut_to(end, &files.starts)?;
        if self.wheel.reaches(end)? {
            damage.push("timerwheel: it leads beyond the end of the timer log".to_owned());
            return Ok(());
        }
        let last = self.log.last_unit()?;
        if last.is_none() && end > files.first() {
            damage.push("timerlog: its last unit is none".to_owned());
            return Ok(());
        }
        if let Some((_, unit)) = last
            && let Ok(Some(bytes)) = self.reader.record_at(unit.log_offset)
            && let Ok((record, _)) = Record::parse(&bytes)
            && record.topic == TIMER
        {
            self.queue_offset = self.queue_offset.max(record.queue_offset + 1);
        }
        self.queue_offset = self.queue_offset.clamp(min, max);
        Ok(())
    }

    /// Gives the wheel the units from position `from` on and returns where they end: at what is no unit, or names a message that the
    /// commit log does not have.
    fn catch_up(&mut self, from: u64) -> io::Result<u64> {
        let log_end = self.reader.max_log_offset();
        let mut end = from;
        while let Some((position, unit)) = self.log.next_unit(end)? {
            if unit.log_offset < 0 || unit.log_offset >= log_end {
                break;
            }
            end = position + UNIT_BYTES;
            let tick = unit.slot_ms() / self.precision;
            let position = signed(position);
            // a slot is used again for a time two weeks later
            let is_older = match self.wheel.occupant(tick)? {
                Some(slot) if slot.tick == tick => slot.last_pos < position,
                Some(slot) => slot.tick < tick,
                None => true,
            };
            if is_older && unit.slot_ms() >= self.read_ms {
                let slot = self.wheel.slot(tick)?;
                self.wheel.put(slot.with(position, unit.deletes));
                self.changed = true;
            }
        }
        Ok(end)
    }
}

/// Whether the time of a checkpoint fits the one it was written at: a clock went wrong, and not the file.
fn is_likely(saved: &TimerCheckpoint, precision: i64) -> bool {
    let behind_ms = saved.version.timestamp.saturating_sub(saved.read_ms);
    (-MAX_AHEAD_MS..=SLOTS.cast_signed() * precision).contains(&behind_ms)
}

/// The timer-log files as found.
struct LogFiles {
    file_bytes: u64,
    starts: Vec<u64>,
}

impl LogFiles {
    fn find(
        reader: &Reader,
        default_bytes: u64,
        damage: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let shared = &reader.shared;
        let dir = shared.layout.timer_log();
        let mut found = numbered_files(&*shared.fs, &dir)?;
        while let Some((start, _)) = found.pop_if(|(_, len)| *len == 0) {
            remove_empty(reader, &dir, start)?;
        }
        let file_bytes = found.first().map_or(default_bytes, |(_, len)| *len);
        let first = found.first().map_or(0, |(start, _)| *start);
        let expected = (0..).map(|n| first + n * file_bytes);
        for ((start, len), expected) in found.iter().zip(expected) {
            if *len != file_bytes
                || file_bytes < 2 * UNIT_BYTES
                || !start.is_multiple_of(file_bytes)
            {
                damage.push(format!("timerlog: file {start:020} has {len} bytes"));
                break;
            }
            if *start != expected {
                damage.push(format!("timerlog: file {expected:020} is missing"));
                break;
            }
        }
        Ok(Self {
            file_bytes: if damage.is_empty() {
                file_bytes
            } else {
                default_bytes
            },
            starts: found.into_iter().map(|(start, _)| start).collect(),
        })
    }

    fn first(&self) -> u64 {
        self.starts.first().copied().unwrap_or(0)
    }

    /// End of the last file.
    fn end(&self) -> u64 {
        self.starts.last().map_or(0, |last| last + self.file_bytes)
    }
}

fn remove_empty(reader: &Reader, dir: &Path, start: u64) -> Result<(), StoreError> {
    let path = dir.join(crate::Layout::numbered(start));
    super::wheel::remove(&*reader.shared.fs, &path).map_err(StoreError::io("remove", &path))
}
