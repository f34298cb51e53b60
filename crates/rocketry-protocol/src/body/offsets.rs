//! Offsets of groups and queues.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DataVersion, Queue, named_queues};

/// Offsets of all groups; also the file `consumerOffset.json`. Java: `ConsumerOffsetSerializeWrapper`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerOffsetSerializeWrapper {
    /// Version of the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_version: Option<DataVersion>,
    /// Offset by queue, by `topic@group`.
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// Progress of the delay levels; also the file `delayOffset.json`. Java: `DelayOffsetSerializeWrapper`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelayOffsetSerializeWrapper {
    /// Version of the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_version: Option<DataVersion>,
    /// Offset by level.
    pub offset_table: BTreeMap<i32, i64>,
}

/// Offsets to begin at again. Java: `ResetOffsetBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBody {
    /// Offset by queue.
    #[serde(deserialize_with = "named_queues")]
    pub offset_table: BTreeMap<Queue, i64>,
}

/// Offsets to begin at again, for clients in C++. Java: `ResetOffsetBodyForC`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBodyForC {
    /// Offsets.
    pub offset_table: Vec<MessageQueueForC>,
}

/// A queue with its offset. Java: `MessageQueueForC`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueueForC {
    /// Broker name.
    pub broker_name: String,
    /// Offset.
    pub offset: i64,
    /// Queue.
    pub queue_id: i32,
    /// Topic.
    pub topic: String,
}

/// Offsets as clients know them. Java: `GetConsumerStatusBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetConsumerStatusBody {
    /// Offset by queue, by client id: filled by brokers.
    pub consumer_table: BTreeMap<String, BTreeMap<Queue, i64>>,
    /// Offset by queue: filled by clients.
    #[serde(deserialize_with = "named_queues")]
    pub message_queue_table: BTreeMap<Queue, i64>,
}

/// Offsets that a group should have. Java: `QueryCorrectionOffsetBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryCorrectionOffsetBody {
    /// Offset by queue.
    pub correction_offsets: BTreeMap<i32, i64>,
}

/// How far a group is. Java: `ConsumeStats`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    /// Messages per second.
    pub consume_tps: f64,
    /// Offsets by queue.
    #[serde(deserialize_with = "named_queues")]
    pub offset_table: BTreeMap<Queue, OffsetWrapper>,
}

/// Offsets of a group in a queue. Java: `OffsetWrapper`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffsetWrapper {
    /// Next offset that the broker will give out.
    pub broker_offset: i64,
    /// Next offset to consume.
    pub consumer_offset: i64,
    /// Store time of the message consumed last, ms since 1970.
    pub last_timestamp: i64,
    /// Next offset to pull.
    pub pull_offset: i64,
}

/// How far all groups of a broker are. Java: `ConsumeStatsList`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatsList {
    /// The broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    /// Maps of one entry: group to its state per topic.
    pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
    /// Messages not yet consumed.
    pub total_diff: i64,
    /// Messages pulled and not yet consumed.
    pub total_inflight_diff: i64,
}

/// What a topic's queues hold. Java: `TopicStatsTable`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStatsTable {
    /// Offsets by queue.
    #[serde(deserialize_with = "named_queues")]
    pub offset_table: BTreeMap<Queue, TopicOffset>,
    /// Messages stored per second.
    pub topic_put_tps: f64,
}

/// What a queue holds. Java: `TopicOffset`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicOffset {
    /// Store time of the newest message, ms since 1970.
    pub last_update_timestamp: i64,
    /// Offset behind the newest message.
    pub max_offset: i64,
    /// Offset of the oldest message.
    pub min_offset: i64,
}

/// How much time lies in the queues of a group. Java: `QueryConsumeTimeSpanBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryConsumeTimeSpanBody {
    /// One entry per queue.
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

/// Times of a queue, ms since 1970; the texts say the same in the server's time zone. Java: `QueueTimeSpan`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueTimeSpan {
    /// Store time of the message consumed last.
    pub consume_time_stamp: i64,
    /// The same, `yyyy-MM-dd#HH:mm:ss:SSS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consume_time_stamp_str: Option<String>,
    /// How far consumption is behind, ms.
    pub delay_time: i64,
    /// Store time of the newest message.
    pub max_time_stamp: i64,
    /// The same as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_time_stamp_str: Option<String>,
    /// The queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue: Option<Queue>,
    /// Store time of the oldest message.
    pub min_time_stamp: i64,
    /// The same as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_time_stamp_str: Option<String>,
}

/// Body of a message that tells of a moved offset. Java: `OffsetMovedEvent`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffsetMovedEvent {
    /// Group.
    pub consumer_group: String,
    /// Queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue: Option<Queue>,
    /// Where it was moved to.
    pub offset_new: i64,
    /// What was asked for.
    pub offset_request: i64,
}
