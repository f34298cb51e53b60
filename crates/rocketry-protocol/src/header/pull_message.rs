//! Pulling messages of one queue. Java: `PullMessageRequestHeader`, `PullMessageResponseHeader`.

use crate::{DecodeError, FieldReader, FieldWriter, ReadHeader, Request, RequestCode, WriteHeader};

/// Bits of [`PullMessageRequest::sys_flag`]. Java: `PullSysFlag`.
pub mod pull_sys_flag {
    /// `commit_offset` is valid and is stored for the group before the pull is answered.
    pub const COMMIT_OFFSET: i32 = 1;
    /// When there is nothing, the broker may wait for messages up to `suspend_timeout_millis`.
    pub const SUSPEND: i32 = 2;
    /// `subscription` and `expression_type` are to be used, not those of the heartbeat.
    pub const SUBSCRIPTION: i32 = 4;
    /// Obsolete, ignored by brokers.
    pub const CLASS_FILTER: i32 = 8;
    /// Set by lite pull consumers.
    pub const LITE_PULL: i32 = 16;
}

headers! {
    /// Messages of one queue from an offset on (11).
    PullMessageRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Topic.
        topic: &'a str = "topic",
        /// Lite topic.
        lite_topic: Option<&'a str> = "liteTopic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Offset of the first message wanted.
        queue_offset: i64 = "queueOffset",
        /// Most messages to send.
        max_msg_nums: i32 = "maxMsgNums",
        /// Bits of [`pull_sys_flag`].
        sys_flag: i32 = "sysFlag",
        /// Offset to commit, if the flag says so.
        commit_offset: i64 = "commitOffset" or 0,
        /// How long the broker may wait for messages, ms.
        suspend_timeout_millis: i64 = "suspendTimeoutMillis" or 0,
        /// Filter expression, if the flag says so.
        subscription: Option<&'a str> = "subscription",
        /// Version of the group's subscription.
        sub_version: i64 = "subVersion" or 0,
        /// `TAG` (also when absent) or `SQL92`.
        expression_type: Option<&'a str> = "expressionType",
        /// Most bytes to send.
        max_msg_bytes: Option<i32> = "maxMsgBytes",
        /// What kind of client asks; normally absent.
        request_source: Option<i32> = "requestSource",
        /// Set by proxies. The spelling on the wire is Java's.
        proxy_forward_client_id: Option<&'a str> = "proxyFrowardClientId",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } PULL_MESSAGE => PullMessageReply;

    /// Where to go on. Sent with found messages and with `PULL_NOT_FOUND`, `PULL_RETRY_IMMEDIATELY`, `PULL_OFFSET_MOVED`.
    PullMessageReply {
        /// Broker to pull from next; 0 is the master.
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        /// Offset of the next pull.
        next_begin_offset: i64 = "nextBeginOffset",
        /// First offset of the queue.
        min_offset: i64 = "minOffset",
        /// One past the last offset of the queue.
        max_offset: i64 = "maxOffset",
        /// Only with static topics.
        offset_delta: Option<i64> = "offsetDelta",
        /// The topic's flag.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// The group's flag.
        group_sys_flag: Option<i32> = "groupSysFlag",
        /// With `NO_PERMISSION`: 1 broker, 2 group, 3 topic, 4 broadcasting, 5 subscription.
        forbidden_type: Option<i32> = "forbiddenType",
    };
}

/// A pull by a lite pull consumer (361): the same fields under another code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LitePullMessageRequest<'a>(pub PullMessageRequest<'a>);

impl WriteHeader for LitePullMessageRequest<'_> {
    fn write(&self, out: &mut FieldWriter<'_>) {
        self.0.write(out);
    }
}
impl<'a> ReadHeader<'a> for LitePullMessageRequest<'a> {
    fn read(fields: &FieldReader<'a>) -> Result<Self, DecodeError> {
        PullMessageRequest::read(fields).map(Self)
    }
}
impl Request for LitePullMessageRequest<'_> {
    const CODE: RequestCode = RequestCode::LITE_PULL_MESSAGE;
    type Reply = PullMessageReply;
}
