//! Messages that could not be consumed now.

use super::NoFields;

headers! {
    /// Deliver a message again later, or give it up (36).
    ConsumerSendMsgBackRequest<'a> {
        /// Offset of the message in the commit log.
        offset: i64 = "offset",
        /// Consumer group.
        group: &'a str = "group",
        /// -1: dead letter queue at once; 0: the broker chooses; above: that delay level.
        delay_level: i32 = "delayLevel",
        /// Unique id of the message.
        origin_msg_id: Option<&'a str> = "originMsgId",
        /// Topic of the message.
        origin_topic: Option<&'a str> = "originTopic",
        /// Absent reads as false.
        unit_mode: bool = "unitMode" or false,
        /// Tries before the message goes to the dead letter queue.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } CONSUMER_SEND_MSG_BACK => NoFields;
}
