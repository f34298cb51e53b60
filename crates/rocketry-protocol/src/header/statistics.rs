//! Who is connected, and how far they are. The answers are in the bodies of the replies.

use super::NoFields;

headers! {
    /// Live members of a consumer group (203).
    GetConsumerConnectionListRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
    } GET_CONSUMER_CONNECTION_LIST => NoFields;

    /// Live members of a producer group (204).
    GetProducerConnectionListRequest<'a> {
        /// Producer group.
        producer_group: &'a str = "producerGroup",
    } GET_PRODUCER_CONNECTION_LIST => NoFields;

    /// Live members of all producer groups (328).
    GetAllProducerInfoRequest {} GET_ALL_PRODUCER_INFO => NoFields;

    /// Progress of a consumer group (208).
    GetConsumeStatsRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Only this topic.
        topic: Option<&'a str> = "topic",
        /// Only these topics, separated by `;`, one of which may trail.
        topic_list: Option<&'a str> = "topicList",
    } GET_CONSUME_STATS => NoFields;

    /// Progress of all groups (317).
    GetBrokerConsumeStatsRequest {
        /// Whether only topics count in which order matters.
        is_order: bool = "isOrder" or false,
    } GET_BROKER_CONSUME_STATS => NoFields;

    /// Groups that consume a topic (300).
    QueryTopicConsumeByWhoRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
    } QUERY_TOPIC_CONSUME_BY_WHO => NoFields;

    /// Topics in which a group has offsets (343).
    QueryTopicsByConsumerRequest<'a> {
        /// Consumer group.
        group: &'a str = "group",
    } QUERY_TOPICS_BY_CONSUMER => NoFields;

    /// A group's subscription of a topic (345).
    QuerySubscriptionByConsumerRequest<'a> {
        /// Consumer group.
        group: &'a str = "group",
        /// Topic.
        topic: Option<&'a str> = "topic",
    } QUERY_SUBSCRIPTION_BY_CONSUMER => NoFields;

    /// Store times of a group's backlog (303).
    QueryConsumeTimeSpanRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Consumer group.
        group: &'a str = "group",
    } QUERY_CONSUME_TIME_SPAN => NoFields;

    /// Entries of a consume queue (321).
    QueryConsumeQueueRequest<'a> {
        /// Topic.
        topic: Option<&'a str> = "topic",
        /// Queue; absent reads as 0.
        queue_id: i32 = "queueId" or 0,
        /// First entry; absent reads as 0.
        index: i64 = "index" or 0,
        /// Number of entries; absent reads as 0.
        count: i32 = "count" or 0,
        /// Group whose filter is evaluated.
        consumer_group: Option<&'a str> = "consumerGroup",
    } QUERY_CONSUME_QUEUE => NoFields;

    /// One statistic over time (315).
    ViewBrokerStatsDataRequest<'a> {
        /// Name, e.g. `TOPIC_PUT_NUMS`.
        stats_name: &'a str = "statsName",
        /// Key, e.g. a topic.
        stats_key: &'a str = "statsKey",
    } VIEW_BROKER_STATS_DATA => NoFields;
}
