//! What a consumer tells about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Queue, fastjson::java_enum, heartbeat::SubscriptionData, known, named_queues};

/// A consumer's state. Java: `ConsumerRunningInfo`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerRunningInfo {
    /// Stack traces, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jstack: Option<String>,
    /// Popped queues.
    #[serde(deserialize_with = "named_queues")]
    pub mq_pop_table: BTreeMap<Queue, PopProcessQueueInfo>,
    /// Pulled queues.
    #[serde(deserialize_with = "named_queues")]
    pub mq_table: BTreeMap<Queue, ProcessQueueInfo>,
    /// Configuration, by the names of the Java client's fields; tools read the keys that begin with `PROP_`.
    pub properties: BTreeMap<String, String>,
    /// Figures by topic.
    pub status_table: BTreeMap<String, ConsumeStatus>,
    /// Subscriptions.
    pub subscription_set: Vec<SubscriptionData>,
    /// What the application adds.
    pub user_consumer_info: BTreeMap<String, String>,
}

/// State of a pulled queue; times are ms since 1970. Java: `ProcessQueueInfo`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessQueueInfo {
    /// Messages pulled and not yet consumed.
    pub cached_msg_count: i32,
    /// Largest offset among them.
    pub cached_msg_max_offset: i64,
    /// Smallest offset among them.
    pub cached_msg_min_offset: i64,
    /// Their size in MiB.
    #[serde(rename = "cachedMsgSizeInMiB")]
    pub cached_msg_size_in_mib: i32,
    /// Committed offset.
    pub commit_offset: i64,
    /// Given away to another client; spelled so on the wire.
    pub droped: bool,
    /// Last consumption.
    pub last_consume_timestamp: i64,
    /// Last lock.
    pub last_lock_timestamp: i64,
    /// Last pull.
    pub last_pull_timestamp: i64,
    /// Locked.
    pub locked: bool,
    /// Messages being consumed in order.
    pub transaction_msg_count: i32,
    /// Largest offset among them.
    pub transaction_msg_max_offset: i64,
    /// Smallest offset among them.
    pub transaction_msg_min_offset: i64,
    /// Attempts to give the lock back.
    pub try_unlock_times: i64,
}

/// State of a popped queue. Java: `PopProcessQueueInfo`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PopProcessQueueInfo {
    /// Given away to another client; spelled so on the wire.
    pub droped: bool,
    /// Last pop, ms since 1970.
    pub last_pop_timestamp: i64,
    /// Messages not yet acknowledged.
    pub wait_ack_count: i32,
}

/// Figures of a topic. Java: `ConsumeStatus`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatus {
    /// Messages that failed.
    pub consume_failed_msgs: i64,
    /// Failures per second.
    #[serde(rename = "consumeFailedTPS")]
    pub consume_failed_tps: f64,
    /// Successes per second.
    #[serde(rename = "consumeOKTPS")]
    pub consume_ok_tps: f64,
    /// Mean time of consumption, ms.
    #[serde(rename = "consumeRT")]
    pub consume_rt: f64,
    /// Mean time of a pull, ms.
    #[serde(rename = "pullRT")]
    pub pull_rt: f64,
    /// Messages pulled per second.
    #[serde(rename = "pullTPS")]
    pub pull_tps: f64,
}

java_enum! {
    /// How direct consumption ended. Java: `CMResult`.
    ConsumeResult {
        /// Consumed.
        Success = "CR_SUCCESS",
        /// To be consumed again.
        Later = "CR_LATER",
        /// Rolled back.
        Rollback = "CR_ROLLBACK",
        /// Committed.
        Commit = "CR_COMMIT",
        /// The application failed.
        ThrowException = "CR_THROW_EXCEPTION",
        /// The application returned nothing.
        ReturnNull = "CR_RETURN_NULL",
    }
}

/// What came of consuming one message at a broker's request. Java: `ConsumeMessageDirectlyResult`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeMessageDirectlyResult {
    /// Whether the consumer commits by itself.
    pub auto_commit: bool,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub consume_result: Option<ConsumeResult>,
    /// Whether the consumer keeps the order.
    pub order: bool,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// Time it took, ms; spelled so on the wire.
    pub spent_time_mills: i64,
}

impl Default for ConsumeMessageDirectlyResult {
    fn default() -> Self {
        Self {
            auto_commit: true,
            consume_result: None,
            order: false,
            remark: None,
            spent_time_mills: 0,
        }
    }
}
