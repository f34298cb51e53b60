//! Topics on a broker.

use super::NoFields;

headers! {
    /// Create or change a topic (17).
    CreateTopicRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Topic whose settings were the template; not used by brokers.
        default_topic: &'a str = "defaultTopic",
        /// Queues to read from.
        read_queue_nums: i32 = "readQueueNums",
        /// Queues to write to.
        write_queue_nums: i32 = "writeQueueNums",
        /// 4 read, 2 write, 1 inherit.
        perm: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: &'a str = "topicFilterType",
        /// The topic's flag.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Whether order counts more than availability.
        order: bool = "order",
        /// Comma list of `+key=value` and `-key`.
        attributes: Option<&'a str> = "attributes",
        /// Only with static topics.
        force: Option<bool> = "force",
    } UPDATE_AND_CREATE_TOPIC => NoFields;

    /// Create or change the topics of the body (18).
    CreateTopicListRequest {} UPDATE_AND_CREATE_TOPIC_LIST => NoFields;

    /// Create or change a static topic (513). The body maps its queues.
    CreateStaticTopicRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Topic whose settings were the template; not used by brokers.
        default_topic: &'a str = "defaultTopic",
        /// Queues to read from.
        read_queue_nums: i32 = "readQueueNums",
        /// Queues to write to.
        write_queue_nums: i32 = "writeQueueNums",
        /// 4 read, 2 write, 1 inherit.
        perm: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: &'a str = "topicFilterType",
        /// The topic's flag.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Whether order counts more than availability.
        order: bool = "order",
        /// Comma list of `+key=value` and `-key`.
        attributes: Option<&'a str> = "attributes",
        /// Whether to replace a newer mapping.
        force: Option<bool> = "force",
    } UPDATE_AND_CREATE_STATIC_TOPIC => NoFields;

    /// All topics (21), in the body of the reply: a page from `topic_seq` on, or all when no field is set.
    GetAllTopicConfigRequest<'a> {
        /// First topic of the page, counted by name.
        topic_seq: Option<i32> = "topicSeq",
        /// Data version that the caller has, as JSON; another one starts at the first page again.
        data_version: Option<&'a str> = "dataVersion",
        /// Most topics of the page.
        max_topic_num: Option<i32> = "maxTopicNum",
    } GET_ALL_TOPIC_CONFIG => GetAllTopicConfigReply;

    /// How many there are.
    GetAllTopicConfigReply {
        /// Number of topics; absent when everything came at once.
        total_topic_num: Option<i32> = "totalTopicNum",
    };

    /// Settings of one topic (351), in the body of the reply.
    GetTopicConfigRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Whether a static topic is meant.
        logical: Option<bool> = "lo",
    } GET_TOPIC_CONFIG => NoFields;

    /// Delete a topic with its offsets (215).
    DeleteTopicRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
    } DELETE_TOPIC_IN_BROKER => NoFields;

    /// Offsets of all queues of a topic (202), in the body of the reply.
    GetTopicStatsInfoRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
    } GET_TOPIC_STATS_INFO => NoFields;
}
