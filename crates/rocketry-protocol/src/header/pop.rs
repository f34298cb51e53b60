//! POP: taking messages of any queue for a time. These codes do not fit the binary header.

use super::NoFields;

headers! {
    /// Take messages (200050), which are in the body of the reply.
    PopMessageRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Topic.
        topic: &'a str = "topic",
        /// Queue; -1 is any.
        queue_id: i32 = "queueId",
        /// Most messages to send, up to 32.
        max_msg_nums: i32 = "maxMsgNums",
        /// How long nobody else gets the messages, ms.
        invisible_time: i64 = "invisibleTime",
        /// How long the broker may wait for messages, ms.
        poll_time: i64 = "pollTime",
        /// When the request was made, ms since 1970.
        born_time: i64 = "bornTime",
        /// Where a group without offsets starts: 0 at the beginning, 1 at the end.
        init_mode: i32 = "initMode",
        /// `TAG` or `SQL92`.
        exp_type: Option<&'a str> = "expType",
        /// Filter expression.
        exp: Option<&'a str> = "exp",
        /// Whether messages of a queue are taken in order.
        order: Option<bool> = "order",
        /// Marks repeated tries of one request.
        attempt_id: Option<&'a str> = "attemptId",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } POP_MESSAGE => PopMessageReply;

    /// How to acknowledge the messages. Also sent, with empty texts, when there are none.
    PopMessageReply {
        /// When the messages were taken, ms since 1970.
        pop_time: i64 = "popTime" or 0,
        /// How long nobody else gets them, ms.
        invisible_time: i64 = "invisibleTime" or 0,
        /// Queue of the broker's revive topic that keeps track of them.
        revive_qid: i32 = "reviveQid" or 0,
        /// Messages that are left.
        rest_num: i64 = "restNum" or 0,
        /// First offset per queue.
        start_offset_info: Option<String> = "startOffsetInfo",
        /// All offsets per queue.
        msg_offset_info: Option<String> = "msgOffsetInfo",
        /// How often each message has been delivered, with ordered consumption.
        order_count_info: Option<String> = "orderCountInfo",
    };

    /// A message is done (200051).
    AckMessageRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// The topic that the message is stored in, which may be a retry topic.
        topic: &'a str = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Receipt handle.
        extra_info: &'a str = "extraInfo",
        /// Queue offset of the message.
        offset: i64 = "offset",
        /// Lite topic.
        lite_topic: Option<&'a str> = "liteTopic",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } ACK_MESSAGE => NoFields;

    /// Keep a message longer, or give it back (200053).
    ChangeInvisibleTimeRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// The topic that the message is stored in, which may be a retry topic.
        topic: &'a str = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Receipt handle.
        extra_info: &'a str = "extraInfo",
        /// Queue offset of the message.
        offset: i64 = "offset",
        /// From now on, ms.
        invisible_time: i64 = "invisibleTime",
        /// Lite topic.
        lite_topic: Option<&'a str> = "liteTopic",
        /// Absent reads as false.
        suspend: bool = "suspend" or false,
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } CHANGE_MESSAGE_INVISIBLETIME => ChangeInvisibleTimeReply;

    /// What the new receipt handle is made of.
    ChangeInvisibleTimeReply {
        /// As in [`PopMessageReply`].
        pop_time: i64 = "popTime",
        /// As in [`PopMessageReply`].
        invisible_time: i64 = "invisibleTime",
        /// As in [`PopMessageReply`].
        revive_qid: i32 = "reviveQid",
    };

    /// Wait until there are messages (200054).
    NotificationRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Topic.
        topic: &'a str = "topic",
        /// Queue; -1 is any.
        queue_id: i32 = "queueId",
        /// How long to wait, ms.
        poll_time: i64 = "pollTime",
        /// When the request was made, ms since 1970.
        born_time: i64 = "bornTime",
        /// As in [`PopMessageRequest`].
        order: Option<bool> = "order",
        /// As in [`PopMessageRequest`].
        attempt_id: Option<&'a str> = "attemptId",
        /// `TAG` or `SQL92`.
        exp_type: Option<&'a str> = "expType",
        /// Filter expression.
        exp: Option<&'a str> = "exp",
    } NOTIFICATION => NotificationReply;

    /// Whether there are.
    NotificationReply {
        /// False when the time ran out.
        has_msg: bool = "hasMsg" or false,
        /// Whether too many are waiting already.
        polling_full: bool = "pollingFull" or false,
    };

    /// Number of waiting pops (200055).
    PollingInfoRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Topic.
        topic: &'a str = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
    } POLLING_INFO => PollingInfoReply;

    /// The number.
    PollingInfoReply {
        /// Waiting pops.
        polling_num: i32 = "pollingNum",
    };

    /// Look at messages without taking them (200052).
    PeekMessageRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Topic.
        topic: &'a str = "topic",
        /// Queue; -1 is any.
        queue_id: i32 = "queueId",
        /// Most messages to send.
        max_msg_nums: i32 = "maxMsgNums",
    } PEEK_MESSAGE => PopMessageReply;

    /// Take messages of lite topics (200070).
    PopLiteMessageRequest<'a> {
        /// Client id.
        client_id: &'a str = "clientId",
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Topic.
        topic: &'a str = "topic",
        /// Most messages to send.
        max_msg_num: i32 = "maxMsgNum",
        /// As in [`PopMessageRequest`].
        invisible_time: i64 = "invisibleTime",
        /// As in [`PopMessageRequest`].
        poll_time: i64 = "pollTime",
        /// As in [`PopMessageRequest`].
        born_time: i64 = "bornTime",
        /// As in [`PopMessageRequest`].
        attempt_id: Option<&'a str> = "attemptId",
    } POP_LITE_MESSAGE => PopMessageReply;

    /// Broker to consumer, one-way (200073): a lite subscription ended.
    NotifyUnsubscribeLiteRequest<'a> {
        /// Lite topic.
        lite_topic: &'a str = "liteTopic",
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Client id.
        client_id: &'a str = "clientId",
    } NOTIFY_UNSUBSCRIBE_LITE => NoFields;
}
