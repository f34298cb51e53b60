//! Offsets of groups and of queues.

use super::{
    NoFields,
    define::{HeaderValue, OptionalValue},
};
use crate::{DecodeError, FieldReader, FieldWriter};

/// Which offset is meant when several messages were stored at the same time. Java: `BoundaryType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BoundaryType {
    /// The first.
    #[default]
    Lower,
    /// The last.
    Upper,
}

impl HeaderValue<'_> for BoundaryType {
    fn write(&self, key: &'static str, out: &mut FieldWriter<'_>) {
        out.str(
            key,
            match self {
                Self::Lower => "LOWER",
                Self::Upper => "UPPER",
            },
        );
    }
    fn read(key: &'static str, fields: &FieldReader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::read_optional(key, fields)?.unwrap_or_default())
    }
}

impl OptionalValue<'_> for BoundaryType {
    fn read_optional(
        key: &'static str,
        fields: &FieldReader<'_>,
    ) -> Result<Option<Self>, DecodeError> {
        Ok(fields.opt_str(key).map(|text| {
            if text.eq_ignore_ascii_case("upper") {
                Self::Upper
            } else {
                Self::Lower
            }
        }))
    }
}

headers! {
    /// The committed offset of a group in a queue (14).
    QueryConsumerOffsetRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Topic.
        topic: &'a str = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// False: an offset that was never stored is `QUERY_NOT_FOUND`, never 0.
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } QUERY_CONSUMER_OFFSET => OffsetReply;

    /// An offset.
    OffsetReply {
        /// The offset.
        offset: i64 = "offset",
    };

    /// Commit an offset (15), normally one-way. It may be smaller than the one stored.
    UpdateConsumerOffsetRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Topic.
        topic: &'a str = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Offset of the next message to consume.
        commit_offset: i64 = "commitOffset",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } UPDATE_CONSUMER_OFFSET => NoFields;

    /// The first offset that was stored at a time or later (29); 0 for an unknown queue.
    SearchOffsetRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Lite topic.
        lite_topic: Option<&'a str> = "liteTopic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Time, ms since 1970.
        timestamp: i64 = "timestamp",
        /// Which offset of several with the same time; absent is the first.
        boundary_type: Option<BoundaryType> = "boundaryType",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } SEARCH_OFFSET_BY_TIMESTAMP => OffsetReply;

    /// One past the last offset of a queue (30); 0 for an unknown queue.
    GetMaxOffsetRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Whether only committed messages count.
        committed: bool = "committed" or true,
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } GET_MAX_OFFSET => OffsetReply;

    /// The first offset of a queue (31).
    GetMinOffsetRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } GET_MIN_OFFSET => OffsetReply;

    /// When the first message of a queue was stored (32).
    GetEarliestMsgStoretimeRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } GET_EARLIEST_MSG_STORETIME => TimestampReply;

    /// A time.
    TimestampReply {
        /// ms since 1970; -1 when there is no message.
        timestamp: i64 = "timestamp",
    };
}
