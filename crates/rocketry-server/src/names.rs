//! Names of topics and groups as the server checks them, with the texts clients see, and the names that belong to the system.
//!
//! Java: `TopicValidator`, `MixAll`.

use std::fmt::Write as _;

pub(crate) use rocketry_protocol::topic::{
    AUTO_CREATE as DEFAULT_TOPIC, DEAD_LETTER_PREFIX as DLQ_PREFIX, HALF as HALF_TOPIC,
    OP_HALF as OP_HALF_TOPIC, RETRY_PREFIX, SCHEDULE as SCHEDULE_TOPIC, TIMER as TIMER_TOPIC,
    TRANSACTION_CHECK_MAX as CHECK_MAX_TOPIC,
};
use rocketry_protocol::topic::{
    BENCHMARK, CHECK_POINT, MAX_GROUP_LEN, MAX_RETRY_TOPIC_LEN, MAX_TOPIC_LEN, OFFSET_MOVED,
    ROCKSDB_HALF, ROCKSDB_OP_HALF, SELF_TEST, SYSTEM_PREFIX, TRACE, is_send_forbidden,
};

/// The group whose offsets tell how far half messages and decisions were checked.
pub(crate) const TRANSACTION_GROUP: &str = "CID_RMQ_SYS_TRANS";

/// Topics of the system whatever the broker is called, beside all that start with `rmq_sys_`; listed by code 305.
const SYSTEM_TOPICS: [&str; 12] = [
    DEFAULT_TOPIC,
    SCHEDULE_TOPIC,
    BENCHMARK,
    HALF_TOPIC,
    TRACE,
    OP_HALF_TOPIC,
    CHECK_MAX_TOPIC,
    SELF_TEST,
    OFFSET_MOVED,
    CHECK_POINT,
    ROCKSDB_HALF,
    ROCKSDB_OP_HALF,
];

/// Group of tools that look into topics. Java: `MixAll.TOOLS_CONSUMER_GROUP`.
pub(crate) const TOOLS_GROUP: &str = "TOOLS_CONSUMER";

/// Groups that exist in every broker; the flag is whether they may consume by broadcast only because of their use.
pub(crate) const SYSTEM_GROUPS: [&str; 8] = [
    TOOLS_GROUP,
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    TRANSACTION_GROUP,
];

/// Checks a topic name; the error is the remark of the answer. Java: `TopicValidator.validateTopic`.
pub(crate) fn check_topic(topic: &str) -> Result<(), String> {
    if topic.trim().is_empty() {
        return Err("The specified topic is blank.".to_owned());
    }
    if !topic.bytes().all(is_name_byte) {
        return Err(format!(
            "The specified topic: {topic}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
        ));
    }
    let long_allowed = topic.starts_with(RETRY_PREFIX) || topic.starts_with(DLQ_PREFIX);
    if !long_allowed && topic.len() > MAX_TOPIC_LEN {
        return Err(format!(
            "The specified topic: {topic}, is longer than topic max length: {MAX_TOPIC_LEN}"
        ));
    }
    if topic.len() > MAX_RETRY_TOPIC_LEN {
        return Err(format!(
            "The specified topic is DLQ or Retry topic: {topic}, and it's longer than topic max length: {MAX_RETRY_TOPIC_LEN}"
        ));
    }
    Ok(())
}

/// Checks a group name; the error is the remark of the answer. Java: `TopicValidator.validateGroup`.
pub(crate) fn check_group(group: &str) -> Result<(), String> {
    if group.trim().is_empty() {
        return Err("The specified group is blank.".to_owned());
    }
    if group.len() > MAX_GROUP_LEN {
        return Err(format!(
            "The specified group: {group}, is longer than group max length: {MAX_GROUP_LEN}"
        ));
    }
    if !group.bytes().all(is_name_byte) {
        return Err(format!(
            "The specified group: {group}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
        ));
    }
    Ok(())
}

/// Whether clients must not send to the topic. Beyond Java's set, the broker's own `rmq_sys_` queues are refused.
pub(crate) fn is_forbidden(topic: &str) -> bool {
    is_send_forbidden(topic)
        || topic == TIMER_TOPIC
        || topic.starts_with("rmq_sys_REVIVE_LOG_")
        || topic.starts_with("rmq_sys_SYNC_")
}

/// The retry topic of a group.
pub(crate) fn retry_topic(group: &str) -> String {
    let mut topic = String::with_capacity(RETRY_PREFIX.len() + group.len());
    topic.push_str(RETRY_PREFIX);
    topic.push_str(group);
    topic
}

/// The names this broker adds to the system topics.
#[derive(Debug, Clone)]
pub(crate) struct SystemNames {
    cluster: String,
    broker: String,
    reply_topic: String,
}

impl SystemNames {
    pub(crate) fn new(cluster: &str, broker: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            broker: broker.to_owned(),
            reply_topic: rocketry_protocol::reply_topic(cluster),
        }
    }

    /// Where check points and acknowledgements of popped messages wait. Java: `PopAckConstants.buildClusterReviveTopic`.
    pub(crate) fn revive_topic(&self) -> String {
        format!("rmq_sys_REVIVE_LOG_{}", self.cluster)
    }

    /// Java: `TopicValidator.isSystemTopic`.
    pub(crate) fn is_system(&self, topic: &str) -> bool {
        SYSTEM_TOPICS.contains(&topic)
            || topic.starts_with(SYSTEM_PREFIX)
            || topic == self.cluster
            || topic == self.broker
            || topic == self.reply_topic
    }

    /// All of them, as code 305 lists them.
    pub(crate) fn all(&self) -> Vec<String> {
        let mut names: Vec<String> = SYSTEM_TOPICS.iter().map(|&n| n.to_owned()).collect();
        names.extend([
            self.cluster.clone(),
            self.broker.clone(),
            self.reply_topic.clone(),
            TIMER_TOPIC.to_owned(),
            self.revive_topic(),
            format!("{SYSTEM_PREFIX}SYNC_BROKER_MEMBER_{}", self.broker),
        ]);
        names
    }

    /// The topics that exist from the start: name, queues, perm. Java: `TopicConfigManager.init`.
    pub(crate) fn predefined_topics(
        &self,
        auto_create: bool,
        default_queues: i32,
    ) -> Vec<(String, i32, i32)> {
        let mut topics = vec![
            (SELF_TEST.to_owned(), 1, 6),
            (BENCHMARK.to_owned(), 1024, 6),
            (self.cluster.clone(), 16, 7),
            (self.broker.clone(), 1, 7),
            (OFFSET_MOVED.to_owned(), 1, 6),
            (SCHEDULE_TOPIC.to_owned(), 18, 6),
            (self.reply_topic.clone(), 1, 6),
            (self.revive_topic(), 8, 6),
            (format!("rmq_sys_SYNC_BROKER_MEMBER_{}", self.broker), 1, 1),
            (HALF_TOPIC.to_owned(), 1, 6),
            (OP_HALF_TOPIC.to_owned(), 1, 6),
            (ROCKSDB_HALF.to_owned(), 1, 6),
            (ROCKSDB_OP_HALF.to_owned(), 1, 6),
            (TIMER_TOPIC.to_owned(), 1, 6),
        ];
        if auto_create {
            topics.push((DEFAULT_TOPIC.to_owned(), default_queues, 7));
        }
        topics
    }
}

/// The text Java appends where a help page exists. Java: `FAQUrl.suggestTodo`.
pub(crate) fn with_hint(mut text: String) -> String {
    let _ = write!(
        text,
        "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
    );
    text
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_at_their_limits() {
        check_topic("a-Z_0%|").unwrap();
        check_topic(&"t".repeat(127)).unwrap();
        check_topic(&format!("%RETRY%{}", "g".repeat(248))).unwrap();
        assert_eq!(
            check_topic(" ").unwrap_err(),
            "The specified topic is blank."
        );
        assert!(
            check_topic("a b")
                .unwrap_err()
                .contains("illegal characters")
        );
        assert!(
            check_topic("主题")
                .unwrap_err()
                .contains("illegal characters")
        );
        assert!(
            check_topic(&"t".repeat(128))
                .unwrap_err()
                .ends_with("max length: 127")
        );
        assert!(
            check_topic(&format!("%DLQ%{}", "g".repeat(251)))
                .unwrap_err()
                .ends_with("max length: 255")
        );
    }

    #[test]
    fn group_names_at_their_limits() {
        check_group(&"g".repeat(120)).unwrap();
        assert!(check_group(&"g".repeat(121)).is_err());
        assert!(check_group("").is_err());
        assert!(check_group("g.h").is_err());
    }

    #[test]
    fn system_topics_include_the_brokers_own() {
        let names = SystemNames::new("c", "b");
        for topic in ["TBW102", "rmq_sys_x", "c", "b", "c_REPLY_TOPIC"] {
            assert!(names.is_system(topic), "{topic}");
        }
        assert!(!names.is_system("orders"));
        assert!(is_forbidden(TIMER_TOPIC) && !is_forbidden("c_REPLY_TOPIC"));
    }
}
