//! Message trace records: what producers and consumers note about each message. Java: `TraceDataEncoder`.
//!
//! A body is records one after the other; fields are joined by 0x01, a record is closed by 0x02.

use std::{
    collections::BTreeSet,
    fmt::{Display, Write as _},
    str::FromStr,
};

use crate::DecodeError;

/// Separates fields.
pub const FIELD_SEPARATOR: char = '\x01';
/// Closes a record.
pub const RECORD_SEPARATOR: char = '\x02';

/// One record. Times are ms since 1970; a text that is `None` is written as `null`, which reads back as that word.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceRecord {
    /// A message was sent.
    Pub {
        /// Before the send.
        time_ms: i64,
        /// Region of the broker.
        region: String,
        /// Producer group.
        group: String,
        /// Topic.
        topic: String,
        /// Unique id.
        msg_id: String,
        /// Tag.
        tags: Option<String>,
        /// Index keys.
        keys: Option<String>,
        /// Broker address.
        store_host: String,
        /// Bytes sent.
        body_bytes: i32,
        /// How long it took.
        cost_ms: i32,
        /// Kind of message.
        message_type: TraceMessageType,
        /// Offset id; older clients leave it out.
        offset_msg_id: Option<String>,
        /// Whether it was stored as asked.
        success: bool,
    },
    /// A message is about to be consumed.
    SubBefore {
        /// Before consumption.
        time_ms: i64,
        /// Region of the broker.
        region: String,
        /// Consumer group.
        group: String,
        /// Links this record to the one after consumption.
        request_id: String,
        /// Unique id.
        msg_id: String,
        /// Earlier attempts.
        retry_times: i32,
        /// Index keys; Java's reader fails when they are empty.
        keys: Option<String>,
    },
    /// A message was consumed.
    SubAfter {
        /// As in the record before consumption.
        request_id: String,
        /// Unique id.
        msg_id: String,
        /// How long it took.
        cost_ms: i32,
        /// Whether it was consumed.
        success: bool,
        /// Index keys.
        keys: Option<String>,
        /// 0 success, 1 time-out, 2 exception, 3 null returned, 4 failed.
        context_code: i32,
        /// Time and group; consumers in Alibaba's cloud and older ones leave them out.
        origin: Option<(i64, String)>,
    },
    /// A transaction ended.
    EndTransaction {
        /// When.
        time_ms: i64,
        /// Region of the broker.
        region: String,
        /// Producer group.
        group: String,
        /// Topic.
        topic: String,
        /// Unique id.
        msg_id: String,
        /// Tag.
        tags: Option<String>,
        /// Index keys.
        keys: Option<String>,
        /// Broker address.
        store_host: String,
        /// Kind of message.
        message_type: TraceMessageType,
        /// Transaction id.
        transaction_id: String,
        /// `COMMIT_MESSAGE`, `ROLLBACK_MESSAGE` or `UNKNOW`.
        state: String,
        /// Whether the broker asked.
        from_check: bool,
    },
    /// A timed message was recalled.
    Recall {
        /// When.
        time_ms: i64,
        /// Region of the broker.
        region: String,
        /// Producer group.
        group: String,
        /// Topic.
        topic: String,
        /// Unique id.
        msg_id: String,
        /// Whether it was still there.
        success: bool,
    },
}

/// Kind of a traced message, by ordinal. Java: `MessageType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TraceMessageType {
    /// Ordinary.
    Normal,
    /// Half message.
    TransactionHalf,
    /// Committed.
    TransactionCommit,
    /// Delayed.
    Delay,
    /// Ordered.
    Order,
}

impl TraceMessageType {
    const ALL: [Self; 5] = [
        Self::Normal,
        Self::TransactionHalf,
        Self::TransactionCommit,
        Self::Delay,
        Self::Order,
    ];
}

impl Display for TraceMessageType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", *self as u8)
    }
}

impl FromStr for TraceMessageType {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let known = text
            .parse()
            .ok()
            .and_then(|ordinal: usize| Self::ALL.get(ordinal).copied());
        known.ok_or_else(|| malformed(format!("{text:?} is not a kind of message")))
    }
}

impl TraceRecord {
    /// Appends the record.
    pub fn encode(&self, out: &mut String) {
        fn text(value: Option<&String>) -> &str {
            value.map_or("null", String::as_str)
        }
        match self {
            Self::Pub {
                time_ms,
                region,
                group,
                topic,
                msg_id,
                tags,
                keys,
                store_host,
                body_bytes,
                cost_ms,
                message_type,
                offset_msg_id,
                success,
            } => {
                let (tags, keys, offset_msg_id) = (
                    text(tags.as_ref()),
                    text(keys.as_ref()),
                    text(offset_msg_id.as_ref()),
                );
                join(
                    out,
                    &[
                        &"Pub",
                        time_ms,
                        region,
                        group,
                        topic,
                        msg_id,
                        &tags,
                        &keys,
                        store_host,
                        body_bytes,
                        cost_ms,
                        message_type,
                        &offset_msg_id,
                        success,
                    ],
                );
            }
            Self::SubBefore {
                time_ms,
                region,
                group,
                request_id,
                msg_id,
                retry_times,
                keys,
            } => {
                let keys = text(keys.as_ref());
                join(
                    out,
                    &[
                        &"SubBefore",
                        time_ms,
                        region,
                        group,
                        request_id,
                        msg_id,
                        retry_times,
                        &keys,
                    ],
                );
            }
            Self::SubAfter {
                request_id,
                msg_id,
                cost_ms,
                success,
                keys,
                context_code,
                origin,
            } => {
                let keys = text(keys.as_ref());
                let head: [&dyn Display; 7] = [
                    &"SubAfter",
                    request_id,
                    msg_id,
                    cost_ms,
                    success,
                    &keys,
                    context_code,
                ];
                join(out, &head);
                match origin {
                    Some((time_ms, group)) => join_more(out, &[time_ms, group]),
                    None => out.push(FIELD_SEPARATOR),
                }
            }
            Self::EndTransaction {
                time_ms,
                region,
                group,
                topic,
                msg_id,
                tags,
                keys,
                store_host,
                message_type,
                transaction_id,
                state,
                from_check,
            } => {
                let (tags, keys) = (text(tags.as_ref()), text(keys.as_ref()));
                join(
                    out,
                    &[
                        &"EndTransaction",
                        time_ms,
                        region,
                        group,
                        topic,
                        msg_id,
                        &tags,
                        &keys,
                        store_host,
                        message_type,
                        transaction_id,
                        state,
                        from_check,
                    ],
                );
            }
            Self::Recall {
                time_ms,
                region,
                group,
                topic,
                msg_id,
                success,
            } => {
                join(
                    out,
                    &[&"Recall", time_ms, region, group, topic, msg_id, success],
                );
            }
        }
        out.push(RECORD_SEPARATOR);
    }
    /// Message ids and index keys, for the `KEYS` of the trace message.
    pub fn index_keys(&self) -> BTreeSet<&str> {
        let (msg_id, keys) = match self {
            Self::Pub { msg_id, keys, .. }
            | Self::SubBefore { msg_id, keys, .. }
            | Self::SubAfter { msg_id, keys, .. }
            | Self::EndTransaction { msg_id, keys, .. } => (msg_id, keys.as_deref()),
            Self::Recall { msg_id, .. } => (msg_id, None),
        };
        keys.unwrap_or_default()
            .split(' ')
            .filter(|key| !key.is_empty())
            .chain([msg_id.as_str()])
            .collect()
    }
}

/// Reads the records of a trace message; those of unknown kinds are passed over. Java: `TraceDataEncoder.decoderFromTraceDataString`,
/// which fails on empty keys before consumption.
///
/// # Errors
/// A record with too few fields, numbers that are none: the whole body counts as unreadable.
pub fn decode(body: &str) -> Result<Vec<TraceRecord>, DecodeError> {
    let records = body
        .split(RECORD_SEPARATOR)
        .filter(|record| !record.is_empty());
    records
        .filter_map(|record| decode_record(record).transpose())
        .collect()
}

fn decode_record(record: &str) -> Result<Option<TraceRecord>, DecodeError> {
    let fields: Vec<&str> = record.split(FIELD_SEPARATOR).take(MAX_FIELDS).collect();
    let some = |text: &&str| Some((*text).to_owned());
    let record = match fields.as_slice() {
        [
            "Pub",
            time_ms,
            region,
            group,
            topic,
            msg_id,
            tags,
            keys,
            store_host,
            body_bytes,
            cost_ms,
            message_type,
            rest @ ..,
        ] => {
            let (offset_msg_id, success) = match rest {
                [success] => (None, success),
                [offset_msg_id, success, ..] => (some(offset_msg_id), success),
                [] => return Err(too_few(record)),
            };
            TraceRecord::Pub {
                time_ms: number(time_ms)?,
                region: (*region).to_owned(),
                group: (*group).to_owned(),
                topic: (*topic).to_owned(),
                msg_id: (*msg_id).to_owned(),
                tags: some(tags),
                keys: some(keys),
                store_host: (*store_host).to_owned(),
                body_bytes: number(body_bytes)?,
                cost_ms: number(cost_ms)?,
                message_type: message_type.parse()?,
                offset_msg_id,
                success: truth(success),
            }
        }
        [
            "SubBefore",
            time_ms,
            region,
            group,
            request_id,
            msg_id,
            retry_times,
            keys,
            ..,
        ] => TraceRecord::SubBefore {
            time_ms: number(time_ms)?,
            region: (*region).to_owned(),
            group: (*group).to_owned(),
            request_id: (*request_id).to_owned(),
            msg_id: (*msg_id).to_owned(),
            retry_times: number(retry_times)?,
            keys: some(keys),
        },
        [
            "SubAfter",
            request_id,
            msg_id,
            cost_ms,
            success,
            keys,
            rest @ ..,
        ] => TraceRecord::SubAfter {
            request_id: (*request_id).to_owned(),
            msg_id: (*msg_id).to_owned(),
            cost_ms: number(cost_ms)?,
            success: truth(success),
            keys: some(keys),
            context_code: rest.first().map_or(Ok(0), |code| number(code))?,
            origin: match rest {
                [_, time_ms, group, ..] => Some((number(time_ms)?, (*group).to_owned())),
                _ => None,
            },
        },
        [
            "EndTransaction",
            time_ms,
            region,
            group,
            topic,
            msg_id,
            tags,
            keys,
            store_host,
            message_type,
            transaction_id,
            state,
            from_check,
            ..,
        ] => TraceRecord::EndTransaction {
            time_ms: number(time_ms)?,
            region: (*region).to_owned(),
            group: (*group).to_owned(),
            topic: (*topic).to_owned(),
            msg_id: (*msg_id).to_owned(),
            tags: some(tags),
            keys: some(keys),
            store_host: (*store_host).to_owned(),
            message_type: message_type.parse()?,
            transaction_id: (*transaction_id).to_owned(),
            state: (*state).to_owned(),
            from_check: truth(from_check),
        },
        ["Recall", time_ms, region, group, topic, msg_id, success, ..] => TraceRecord::Recall {
            time_ms: number(time_ms)?,
            region: (*region).to_owned(),
            group: (*group).to_owned(),
            topic: (*topic).to_owned(),
            msg_id: (*msg_id).to_owned(),
            success: truth(success),
        },
        [
            "Pub" | "SubBefore" | "SubAfter" | "EndTransaction" | "Recall",
            ..,
        ] => return Err(too_few(record)),
        _ => return Ok(None),
    };
    Ok(Some(record))
}

/// No record has more fields that count.
const MAX_FIELDS: usize = 16;

fn join(out: &mut String, fields: &[&dyn Display]) {
    let Some((first, more)) = fields.split_first() else {
        return;
    };
    // writing to a string does not fail
    let _ = write!(out, "{first}");
    join_more(out, more);
}

fn join_more(out: &mut String, fields: &[&dyn Display]) {
    for field in fields {
        let _ = write!(out, "{FIELD_SEPARATOR}{field}");
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, DecodeError> {
    text.parse()
        .map_err(|_| malformed(format!("{text:?} is not a number of the right size")))
}

/// Java's `Boolean.parseBoolean`.
fn truth(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

fn too_few(record: &str) -> DecodeError {
    malformed(format!(
        "{:?} has too few fields",
        record.chars().take(60).collect::<String>()
    ))
}

fn malformed(reason: String) -> DecodeError {
    DecodeError::Malformed {
        what: "trace record",
        reason,
    }
}
