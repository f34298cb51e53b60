//! Consumers under administration: offsets that are reset, requests that the broker passes on to a client.

use super::NoFields;

headers! {
    /// Reset a group's offsets (222). The body of the reply lists the new ones.
    ResetOffsetRequest<'a> {
        /// Consumer group.
        group: &'a str = "group",
        /// Topic.
        topic: &'a str = "topic",
        /// Queue; -1 (also when absent) is all.
        queue_id: i32 = "queueId" or -1,
        /// New offset, used with a queue only.
        offset: Option<i64> = "offset",
        /// Time to go to, ms since 1970; negative is the end.
        timestamp: i64 = "timestamp",
        /// Whether offsets may also go forward.
        is_force: bool = "isForce",
    } INVOKE_BROKER_TO_RESET_OFFSET => NoFields;

    /// Broker to consumer, one-way (220): go on at the offsets of the body.
    ResetConsumerClientOffsetRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Consumer group.
        group: &'a str = "group",
        /// -1.
        queue_id: i32 = "queueId" or -1,
        /// New offset.
        offset: Option<i64> = "offset",
        /// Time that was asked for, ms since 1970.
        timestamp: i64 = "timestamp",
        /// As asked for.
        is_force: bool = "isForce" or false,
    } RESET_CONSUMER_CLIENT_OFFSET => NoFields;

    /// Ask the members of a group for their offsets (223), which are in the body of the reply.
    InvokeGetConsumerStatusRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Consumer group.
        group: &'a str = "group",
        /// Only this client id; empty is all.
        client_addr: Option<&'a str> = "clientAddr",
    } INVOKE_BROKER_TO_GET_CONSUMER_STATUS => NoFields;

    /// Broker to consumer (221): where are you? The body of the reply tells.
    GetConsumerStatusRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Consumer group.
        group: &'a str = "group",
    } GET_CONSUMER_STATUS_FROM_CLIENT => NoFields;

    /// State of one consumer (307), in the body of the reply. The broker passes the request on.
    GetConsumerRunningInfoRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Client id.
        client_id: &'a str = "clientId",
        /// Whether to add the stacks of all threads.
        jstack_enable: bool = "jstackEnable" or false,
    } GET_CONSUMER_RUNNING_INFO => NoFields;

    /// Have one consumer consume one message (309). The broker passes the request on, with the message as its body.
    ConsumeMessageDirectlyRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Client id.
        client_id: Option<&'a str> = "clientId",
        /// Offset message id.
        msg_id: Option<&'a str> = "msgId",
        /// Set by the broker.
        broker_name: Option<&'a str> = "brokerName",
        /// Topic.
        topic: Option<&'a str> = "topic",
        /// Set by the broker.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Set by the broker.
        group_sys_flag: Option<i32> = "groupSysFlag",
    } CONSUME_MESSAGE_DIRECTLY => NoFields;

    /// Copy the offsets of one group to another (314).
    CloneGroupOffsetRequest<'a> {
        /// From.
        src_group: &'a str = "srcGroup",
        /// To.
        dest_group: &'a str = "destGroup",
        /// Only this topic.
        topic: Option<&'a str> = "topic",
        /// Absent reads as false.
        offline: bool = "offline" or false,
    } CLONE_GROUP_OFFSET => NoFields;

    /// Lowest offsets of the groups of a topic (308), in the body of the reply.
    QueryCorrectionOffsetRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Group to compare with.
        compare_group: &'a str = "compareGroup",
        /// Groups that do not count, separated by `,`.
        filter_groups: Option<&'a str> = "filterGroups",
    } QUERY_CORRECTION_OFFSET => NoFields;
}
