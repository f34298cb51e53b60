//! Replies on their way to the client that asked.

use super::NoFields;

headers! {
    /// Broker to producer (326): the reply of your request. The body is the reply's, compressed as `sys_flag` says.
    PushReplyMessageRequest<'a> {
        /// Producer group of the replier.
        producer_group: &'a str = "producerGroup",
        /// The reply topic.
        topic: &'a str = "topic",
        /// As in the send of the reply.
        default_topic: &'a str = "defaultTopic",
        /// As in the send of the reply.
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// As in the send of the reply.
        queue_id: i32 = "queueId",
        /// See [`crate::sys_flag`].
        sys_flag: i32 = "sysFlag",
        /// When the replier created the reply, ms since 1970.
        born_timestamp: i64 = "bornTimestamp",
        /// The user's flag.
        flag: i32 = "flag",
        /// Properties in wire text form.
        properties: Option<&'a str> = "properties",
        /// As in the send of the reply.
        reconsume_times: Option<i32> = "reconsumeTimes",
        /// Absent reads as false.
        unit_mode: bool = "unitMode" or false,
        /// The replier's address, `ip:port`.
        born_host: &'a str = "bornHost",
        /// The broker's address, `ip:port`.
        store_host: &'a str = "storeHost",
        /// When the broker got the reply, ms since 1970; absent reads as 0.
        store_timestamp: i64 = "storeTimestamp" or 0,
    } PUSH_REPLY_MESSAGE_TO_CLIENT => NoFields;
}
