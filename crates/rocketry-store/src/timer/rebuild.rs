//! Deriving wheel and timer log from the timer topic again, without delivering anything twice that can be found delivered.

use std::io;

use rocketry_protocol::{Properties, properties::name, record::Record, topic::TIMER};

use super::{QUEUE_ID, Timers, checkpoint::TimerCheckpoint, floor, wheel};
use crate::{KeyKind, KeyQuery, ReadError, Reader};

/// Copies of one message looked at.
const MAX_COPIES: usize = 1024;

/// A rebuild in progress. The present slot stands still meanwhile: what should have been delivered before goes into it, so that a
/// message and one that takes it back meet in one slot.
#[derive(Debug)]
pub(super) struct Rebuild {
    /// End of the timer topic's queue when it began.
    until: i64,
    /// The last checkpoint, where it is known.
    saved: Option<TimerCheckpoint>,
    /// The present slot, ms.
    slot_ms: i64,
    /// Messages that were stored so long before their time go round, ms.
    window_ms: i64,
}

impl Rebuild {
    /// Whether a message of the timer topic was delivered, or has a later copy there that waits in its place.
    pub(super) fn is_done_with(
        &self,
        reader: &Reader,
        record: &Record<'_>,
        properties: &Properties,
        out_ms: i64,
    ) -> Result<bool, ReadError> {
        if let Some(saved) = &self.saved
            && record.queue_offset < saved.queue_offset
            && out_ms < saved.read_ms
        {
            return Ok(true);
        }
        let Some(key) = properties.get(name::UNIQ_KEY) else {
            return Ok(false);
        };
        let later_copy = |topic| -> Result<bool, ReadError> {
            let found = reader.query_by_key(&KeyQuery {
                topic,
                key,
                kind: KeyKind::Unique,
                max_messages: MAX_COPIES,
                max_bytes: usize::MAX,
                begin_ms: record.store_ms,
                end_ms: i64::MAX,
            })?;
            let mut rest: &[u8] = &found.messages;
            while let Ok((copy, len)) = Record::parse(rest) {
                let copied = Properties::parse_bytes(copy.properties);
                if copy.physical_offset > record.physical_offset
                    && copied.get(name::TIMER_OUT_MS) == properties.get(name::TIMER_OUT_MS)
                {
                    return Ok(true);
                }
                rest = rest.get(len..).unwrap_or_default();
            }
            Ok(false)
        };
        if out_ms < self.slot_ms
            && let Some(topic) = properties.get(name::REAL_TOPIC)
            && later_copy(topic)?
        {
            return Ok(true);
        }
        Ok(out_ms - record.store_ms >= self.window_ms && later_copy(TIMER)?)
    }
}

impl Timers {
    /// Removes wheel, log and checkpoint and begins to take the whole timer topic again.
    pub(super) fn begin_rebuild(&mut self, reason: &str) -> io::Result<()> {
        tracing::warn!(reason, "the timer is derived from the commit log again");
        let shared = &self.reader.shared;
        // first what says that the others are complete
        wheel::remove(&*shared.fs, &shared.layout.config_file("timercheck"))?;
        self.wheel.reset()?;
        let starts = self.log.starts();
        self.log.reset(&starts)?;
        let range = self.reader.queue_range(TIMER, QUEUE_ID);
        let known = self.saved.read_ms > 0;
        self.reader.metadata().timer_metrics.clear();
        self.late.clear();
        self.slot = None;
        self.failed_reads.clear();
        self.alone_until = 0;
        self.queue_offset = range.map_or(0, |range| range.min);
        self.read_ms = self.write_ms;
        self.rebuild = Some(Rebuild {
            until: range.map_or(0, |range| range.max),
            saved: known.then_some(self.saved),
            slot_ms: floor(self.write_ms, self.precision),
            window_ms: (self.options.roll_window_slots - 1) * self.precision,
        });
        self.changed = true;
        Ok(())
    }

    /// Ends the rebuild when all that was there when it began is taken.
    pub(super) fn end_rebuild(&mut self) {
        if self
            .rebuild
            .as_ref()
            .is_some_and(|rebuild| self.queue_offset >= rebuild.until)
        {
            self.rebuild = None;
        }
    }
}
