//! Texts of pop consumption: receipts, and where in a reply each message lies. Java: `ExtraInfoUtil`, `ReceiptHandle`,
//! `KeyBuilder`.

use std::{collections::BTreeMap, fmt, fmt::Write as _, hash::Hash, str::FromStr};

use crate::{DecodeError, topic::RETRY_PREFIX};

/// Revive queue of messages that were popped in order.
pub const ORDERLY_REVIVE_QUEUE: i32 = 999;

/// From which topic a popped message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RetryMark {
    /// The topic itself.
    Normal,
    /// Its retry topic, `%RETRY%<group>_<topic>`.
    RetryV1,
    /// Its retry topic, `%RETRY%<group>+<topic>`.
    RetryV2,
}

impl RetryMark {
    /// The mark of a message of this topic.
    pub fn of_topic(topic: &str) -> Self {
        match topic.strip_prefix(RETRY_PREFIX) {
            None => Self::Normal,
            Some(rest) if rest.contains('+') => Self::RetryV2,
            Some(_) => Self::RetryV1,
        }
    }
    /// `0`, `1` or `2`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "0",
            Self::RetryV1 => "1",
            Self::RetryV2 => "2",
        }
    }
    /// The topic that a message with this mark lies in, when `group` reads `topic`.
    pub fn real_topic(self, topic: &str, group: &str) -> String {
        match self {
            Self::Normal => topic.to_owned(),
            Self::RetryV1 => retry_topic_v1(topic, group),
            Self::RetryV2 => retry_topic_v2(topic, group),
        }
    }
}

impl fmt::Display for RetryMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RetryMark {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        match text {
            "0" => Ok(Self::Normal),
            "1" => Ok(Self::RetryV1),
            "2" => Ok(Self::RetryV2),
            _ => Err(malformed(
                "retry mark",
                format!("{text:?} is not 0, 1 or 2"),
            )),
        }
    }
}

/// Retry topic of a group for one topic, first form.
pub fn retry_topic_v1(topic: &str, group: &str) -> String {
    format!("{RETRY_PREFIX}{group}_{topic}")
}

/// Retry topic of a group for one topic, second form, used where brokers set `enableRetryTopicV2`.
pub fn retry_topic_v2(topic: &str, group: &str) -> String {
    format!("{RETRY_PREFIX}{group}+{topic}")
}

/// The topic whose messages `group` retries in `retry_topic`; any other topic is its own.
pub fn normal_topic<'a>(retry_topic: &'a str, group: &str) -> &'a str {
    let rest = retry_topic
        .strip_prefix(RETRY_PREFIX)
        .and_then(|rest| rest.strip_prefix(group));
    rest.and_then(|rest| rest.strip_prefix(['_', '+']))
        .unwrap_or(retry_topic)
}

/// Group and topic as far as the name of a retry topic tells: both of the second form, else what follows the prefix as group and
/// the name as topic. A topic that is no retry topic has no group.
pub fn split_retry_topic(topic: &str) -> (Option<&str>, &str) {
    match topic.strip_prefix(RETRY_PREFIX) {
        None => (None, topic),
        Some(rest) => match rest.split_once('+') {
            Some((group, normal)) => (Some(group), normal),
            None => (Some(rest), topic),
        },
    }
}

/// What identifies a popped message towards the broker: property `POP_CK`, field `extraInfo`.
///
/// `<startOffset> <popTime> <invisibleTime> <reviveQid> <mark> <brokerName> <queueId>[ <offset>[ <commitLogOffset>]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// First offset of the queue in this pop.
    pub start_offset: i64,
    /// When it was popped, ms since 1970.
    pub pop_ms: i64,
    /// How long nobody else sees the message, ms.
    pub invisible_ms: i64,
    /// Revive queue, or [`ORDERLY_REVIVE_QUEUE`].
    pub revive_queue_id: i32,
    /// Which topic it came from.
    pub mark: RetryMark,
    /// Broker.
    pub broker_name: String,
    /// Queue.
    pub queue_id: i32,
    /// Offset of the message; absent in the text for a whole queue.
    pub offset: Option<i64>,
    /// Position in the commit log, -1 when not known; absent in texts of clients before 5.0.
    pub commit_log_offset: Option<i64>,
}

impl Receipt {
    /// Reads the text, with or without offset.
    ///
    /// # Errors
    /// Fewer than seven parts, or parts that are not numbers where numbers belong.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        let number = |part: &str| parse_number::<i64>("receipt", part);
        let queue = |part: &str| parse_number::<i32>("receipt", part);
        let mut parts = text.split(' ');
        let mut part = || {
            parts
                .next()
                .ok_or_else(|| malformed("receipt", format!("{text:?} has fewer than seven parts")))
        };
        Ok(Self {
            start_offset: number(part()?)?,
            pop_ms: number(part()?)?,
            invisible_ms: number(part()?)?,
            revive_queue_id: queue(part()?)?,
            mark: part()?.parse()?,
            broker_name: part()?.to_owned(),
            queue_id: queue(part()?)?,
            offset: parts.next().map(number).transpose()?,
            commit_log_offset: parts.next().map(number).transpose()?,
        })
    }
    /// Reads a whole receipt handle: with an offset, and -1 for a commit log offset that is not there. Java: `ReceiptHandle.decode`.
    ///
    /// # Errors
    /// As [`Receipt::parse`], or fewer than eight parts.
    pub fn parse_handle(text: &str) -> Result<Self, DecodeError> {
        let mut receipt = Self::parse(text)?;
        if receipt.offset.is_none() {
            return Err(malformed(
                "receipt",
                format!("{text:?} has fewer than eight parts"),
            ));
        }
        receipt.commit_log_offset.get_or_insert(-1);
        Ok(receipt)
    }
    /// When the message is seen again, ms since 1970.
    pub fn visible_again_ms(&self) -> i64 {
        self.pop_ms.saturating_add(self.invisible_ms)
    }
    /// Whether the message was popped in order.
    pub fn is_orderly(&self) -> bool {
        self.revive_queue_id == ORDERLY_REVIVE_QUEUE
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            start_offset,
            pop_ms,
            invisible_ms,
            revive_queue_id,
            mark,
            broker_name,
            queue_id,
            ..
        } = self;
        write!(
            f,
            "{start_offset} {pop_ms} {invisible_ms} {revive_queue_id} {mark} {broker_name} {queue_id}"
        )?;
        if let Some(offset) = self.offset {
            write!(f, " {offset}")?;
            if let Some(commit_log_offset) = self.commit_log_offset {
                write!(f, " {commit_log_offset}")?;
            }
        }
        Ok(())
    }
}

/// First offset by queue in a pop reply: `<mark> <queueId> <startOffset>` joined by `;`.
pub type StartOffsets = BTreeMap<(RetryMark, i32), i64>;
/// Offsets of messages by queue in a pop reply: `<mark> <queueId> <offset>,<offset>..` joined by `;`.
pub type MessageOffsets = BTreeMap<(RetryMark, i32), Vec<i64>>;
/// Earlier deliveries in an orderly pop reply: `<mark> <queueId> <n>` or `<mark> qo<queueId>%<offset> <n>` joined by `;`.
pub type OrderCounts = BTreeMap<(RetryMark, OrderKey), i32>;

/// What a count of deliveries is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OrderKey {
    /// All messages of a queue.
    Queue(i32),
    /// One message.
    Message {
        /// Its queue.
        queue_id: i32,
        /// Its offset.
        offset: i64,
    },
}

/// Reads `startOffsetInfo`.
///
/// # Errors
/// An entry without three parts, parts that are not numbers, a queue that occurs twice.
pub fn parse_start_offsets(text: &str) -> Result<StartOffsets, DecodeError> {
    parse_entries(
        text,
        |key| parse_number("pop reply", key),
        |value| parse_number("pop reply", value),
    )
}

/// Reads `msgOffsetInfo`.
///
/// # Errors
/// As [`parse_start_offsets`].
pub fn parse_message_offsets(text: &str) -> Result<MessageOffsets, DecodeError> {
    let offsets = |value: &str| {
        value
            .split(',')
            .map(|offset| parse_number("pop reply", offset))
            .collect()
    };
    parse_entries(text, |key| parse_number("pop reply", key), offsets)
}

/// Reads `orderCountInfo`.
///
/// # Errors
/// As [`parse_start_offsets`].
pub fn parse_order_counts(text: &str) -> Result<OrderCounts, DecodeError> {
    let order_key = |key: &str| match key.strip_prefix("qo").and_then(|key| key.split_once('%')) {
        Some((queue_id, offset)) => Ok(OrderKey::Message {
            queue_id: parse_number("pop reply", queue_id)?,
            offset: parse_number("pop reply", offset)?,
        }),
        None => parse_number("pop reply", key).map(OrderKey::Queue),
    };
    parse_entries(text, order_key, |value| parse_number("pop reply", value))
}

/// Writes `startOffsetInfo`.
pub fn format_start_offsets(offsets: &StartOffsets) -> String {
    format_entries(
        offsets
            .iter()
            .map(|((mark, queue_id), offset)| (mark, queue_id, offset)),
    )
}

/// Writes `msgOffsetInfo`.
pub fn format_message_offsets(offsets: &MessageOffsets) -> String {
    format_entries(offsets.iter().map(|((mark, queue_id), offsets)| {
        (
            mark,
            queue_id,
            offsets
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(","),
        )
    }))
}

/// Writes `orderCountInfo`.
pub fn format_order_counts(counts: &OrderCounts) -> String {
    format_entries(counts.iter().map(|((mark, key), count)| (mark, key, count)))
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(queue_id) => write!(f, "{queue_id}"),
            Self::Message { queue_id, offset } => write!(f, "qo{queue_id}%{offset}"),
        }
    }
}

fn format_entries(
    entries: impl Iterator<Item = (impl fmt::Display, impl fmt::Display, impl fmt::Display)>,
) -> String {
    let mut text = String::new();
    for (mark, key, value) in entries {
        let separator = if text.is_empty() { "" } else { ";" };
        // writing to a string does not fail
        let _ = write!(text, "{separator}{mark} {key} {value}");
    }
    text
}

fn parse_entries<K: Ord, V>(
    text: &str,
    key: impl Fn(&str) -> Result<K, DecodeError>,
    value: impl Fn(&str) -> Result<V, DecodeError>,
) -> Result<BTreeMap<(RetryMark, K), V>, DecodeError> {
    let mut entries = BTreeMap::new();
    for entry in text.split(';').filter(|_| !text.is_empty()) {
        let mut parts = entry.split(' ');
        let (Some(mark), Some(queue), Some(content), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed(
                "pop reply",
                format!("{entry:?} does not have three parts"),
            ));
        };
        if entries
            .insert((mark.parse()?, key(queue)?), value(content)?)
            .is_some()
        {
            return Err(malformed(
                "pop reply",
                format!("{entry:?} is about a queue that occurred before"),
            ));
        }
    }
    Ok(entries)
}

fn parse_number<T: FromStr>(what: &'static str, text: &str) -> Result<T, DecodeError> {
    text.parse()
        .map_err(|_| malformed(what, format!("{text:?} is not a number of the right size")))
}

fn malformed(what: &'static str, reason: String) -> DecodeError {
    DecodeError::Malformed { what, reason }
}
