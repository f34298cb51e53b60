//! From a record of the log to what is derived from it: one step, the same for live messages and for recovery.
//!
//! [`Dispatch::of`] is pure: which queue, which unit. [`Dispatcher`] applies it.

use std::{sync::Arc, time::Duration};

use rocketry_protocol::{
    hash::java_string_hash,
    record::Record,
    sys_flag::{INNER_BATCH, NEED_UNWRAP, TRANSACTION_PREPARED, TRANSACTION_ROLLBACK},
    topic::SCHEDULE,
};

use crate::{
    consume_queue::{ConsumeQueue, QueueKind, Unit},
    queue_table::QueueTable,
};

/// The properties that dispatching looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks<'a> {
    pub(crate) tags: Option<&'a str>,
    pub(crate) keys: Option<&'a str>,
    pub(crate) unique_key: Option<&'a str>,
    delay: Option<&'a str>,
    inner_num: Option<&'a str>,
}

impl<'a> Marks<'a> {
    /// Finds them in one pass over the property text: the last of its name counts, an empty one does not.
    pub(crate) fn of(properties: &'a [u8]) -> Self {
        let mut marks = Self::default();
        for pair in properties.split(|byte| *byte == 2) {
            let Some(at) = pair.iter().position(|byte| *byte == 1) else {
                continue;
            };
            let (name, value) = pair.split_at(at);
            let place = match name {
                b"TAGS" => &mut marks.tags,
                b"KEYS" => &mut marks.keys,
                b"UNIQ_KEY" => &mut marks.unique_key,
                b"DELAY" => &mut marks.delay,
                b"INNER_NUM" => &mut marks.inner_num,
                _ => continue,
            };
            let value = value.get(1..).unwrap_or_default();
            if let Ok(value) = std::str::from_utf8(value)
                && !value.is_empty()
            {
                *place = Some(value);
            }
        }
        marks
    }
}

/// What is derived from one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dispatch {
    /// The unit of the consume queue.
    pub(crate) unit: Unit,
    /// Whether the record belongs into its consume queue.
    pub(crate) in_queue: bool,
    /// Store time, ms.
    pub(crate) store_ms: i64,
}

impl Dispatch {
    /// The step for `record`, which takes `len` bytes at log offset `at`.
    pub(crate) fn of(
        record: &Record<'_>,
        marks: &Marks<'_>,
        at: u64,
        len: u32,
        delay_levels: &[Duration],
    ) -> Self {
        Self {
            unit: Unit {
                log_offset: at,
                size: len,
                tags_code: tags_code(record, marks, delay_levels),
                queue_offset: record.queue_offset.max(0).cast_unsigned(),
                count: inner_count(record.sys_flag, marks),
            },
            in_queue: belongs_in_queue(record.sys_flag),
            store_ms: record.store_ms,
        }
    }
}

/// Half and rolled-back messages have no consume-queue unit and no queue offset of their own.
/// Java: `CommitLogDispatcherBuildConsumeQueue.dispatch`
pub(crate) const fn belongs_in_queue(sys_flag: i32) -> bool {
    !matches!(
        sys_flag & TRANSACTION_ROLLBACK,
        TRANSACTION_PREPARED | TRANSACTION_ROLLBACK
    )
}

/// How many messages a record holds: several for an inner batch. Java: `CommitLog.getMessageNum`
fn inner_count(sys_flag: i32, marks: &Marks<'_>) -> u16 {
    const INNER: i32 = INNER_BATCH | NEED_UNWRAP;
    if sys_flag & INNER != INNER {
        return 1;
    }
    marks
        .inner_num
        .and_then(|count| count.parse::<i16>().ok())
        .and_then(|count| u16::try_from(count).ok())
        .filter(|count| *count > 0)
        .unwrap_or(1)
}

/// What the consume queue holds for filters: the hash of the tag, or the delivery time of a delayed message.
/// Java: `CommitLog.checkMessageAndReturnSize`
fn tags_code(record: &Record<'_>, marks: &Marks<'_>, delay_levels: &[Duration]) -> i64 {
    if record.topic == SCHEDULE
        && let Some(level) = marks.delay
        && let Some(delay) = delay_of(level, delay_levels)
    {
        let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        return record.store_ms.saturating_add(delay);
    }
    marks.tags.map_or(0, |tags| java_string_hash(tags).into())
}

/// The delay of a level as the property writes it; levels above the last count as the last.
fn delay_of(level: &str, delay_levels: &[Duration]) -> Option<Duration> {
    let level: usize = level.parse().ok()?;
    let last = delay_levels.len();
    delay_levels.get(level.min(last).checked_sub(1)?).copied()
}

/// Applies dispatch steps: gives out the next offset of every queue, which nobody else may. Finds queues where readers do, so that a
/// message meets what it is derived into in one place.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    queues: Arc<QueueTable>,
}

impl Dispatcher {
    pub(crate) fn new(queues: Arc<QueueTable>) -> Self {
        let dispatcher = Self { queues };
        dispatcher.reload_next();
        dispatcher
    }

    /// A queue, which is created when it is new.
    pub(crate) fn queue_of(&self, topic: &str, queue_id: i32) -> Arc<ConsumeQueue> {
        self.queues.get_or_add(topic, queue_id, (0, 0))
    }

    /// All queues, in no particular order.
    pub(crate) fn queues(&self) -> Vec<Arc<ConsumeQueue>> {
        self.queues.all()
    }

    /// Begins a queue anew at `index`; whatever waited to be written is dropped.
    pub(crate) fn begin_at(&self, queue: &ConsumeQueue, index: u64) {
        self.queues.note_written(queue.begin_at(index));
        queue.set_next(index);
    }

    /// Fills the places before `index` that no message has.
    pub(crate) fn fill_to(&self, queue: &Arc<ConsumeQueue>, index: u64) {
        while queue.next() < index && queue.kind == QueueKind::Plain {
            self.queues.note_waiting(queue.kind.unit_bytes());
            if queue.push_hole() {
                self.queues.mark_dirty(queue);
            }
            queue.set_next(queue.next() + 1);
        }
    }

    /// Takes the next offsets from the queues, after recovery.
    pub(crate) fn reload_next(&self) {
        for queue in self.queues.all() {
            queue.set_next(queue.max());
        }
    }

    /// Makes messages of one queue visible, in order.
    pub(crate) fn publish<'a>(
        &self,
        queue: &Arc<ConsumeQueue>,
        messages: impl ExactSizeIterator<Item = &'a Dispatch>,
    ) {
        // counted before the flusher can count them as written
        self.queues
            .note_waiting(messages.len() * queue.kind.unit_bytes());
        if queue.push(messages) {
            self.queues.mark_dirty(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_by_their_whole_name_and_the_last_one_counts() {
        let text = b"XTAGS\x01no\x02TAGS\x01a\x02KEYS\x01k1 k2\x02TAGS\x01b\x02TAGS\x01\x02UNIQ_KEY\x01u\x01v";
        let marks = Marks::of(text);
        assert_eq!(marks.tags, Some("b"));
        assert_eq!(marks.keys, Some("k1 k2"));
        assert_eq!(marks.unique_key, Some("u\x01v"));
        assert_eq!((marks.delay, marks.inner_num), (None, None));
        assert_eq!(Marks::of(b""), Marks::default());
    }

    #[test]
    fn delay_levels_are_clamped_to_the_last() {
        let levels = [Duration::from_secs(1), Duration::from_secs(5)];
        assert_eq!(delay_of("1", &levels), Some(Duration::from_secs(1)));
        assert_eq!(delay_of("25", &levels), Some(Duration::from_secs(5)));
        assert_eq!(delay_of("0", &levels), None);
        assert_eq!(delay_of("x", &levels), None);
        assert_eq!(delay_of("1", &[]), None);
    }

    #[test]
    fn half_and_rolled_back_messages_stay_out_of_the_queue() {
        assert!(belongs_in_queue(0));
        assert!(!belongs_in_queue(0x4));
        assert!(belongs_in_queue(0x8));
        assert!(!belongs_in_queue(0xC | 0x1));
    }
}
