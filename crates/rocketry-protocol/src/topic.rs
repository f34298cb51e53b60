//! Validated names of topics and groups, and the names that the system derives and reserves.

use std::{fmt, sync::Arc};

/// Prefix of retry topics.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Prefix of dead-letter topics.
pub const DEAD_LETTER_PREFIX: &str = "%DLQ%";
/// Prefix of light queues.
pub const LIGHT_QUEUE_PREFIX: &str = "%LMQ%";
/// Prefix of topics that brokers use themselves.
pub const SYSTEM_PREFIX: &str = "rmq_sys_";
/// Prefix of consumer groups that brokers use themselves.
pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";
/// The topic whose settings an automatically created topic takes over. Java: `TopicValidator.AUTO_CREATE_TOPIC_KEY_TOPIC`.
pub const AUTO_CREATE: &str = "TBW102";
/// Where delayed messages wait.
pub const SCHEDULE: &str = "SCHEDULE_TOPIC_XXXX";
/// Where half messages wait.
pub const HALF: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Where finished half messages are noted.
pub const OP_HALF: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Where half messages go that were checked too often.
pub const TRANSACTION_CHECK_MAX: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// For brokers that test themselves.
pub const SELF_TEST: &str = "SELF_TEST_TOPIC";
/// For consumers whose offsets were moved.
pub const OFFSET_MOVED: &str = "OFFSET_MOVED_EVENT";
/// For benchmarks.
pub const BENCHMARK: &str = "BenchmarkTest";
/// For message traces.
pub const TRACE: &str = "RMQ_SYS_TRACE_TOPIC";
/// For check points.
pub const CHECK_POINT: &str = "CHECKPOINT_TOPIC";
/// Where timer messages wait.
pub const TIMER: &str = "rmq_sys_wheel_timer";
/// Half topic of brokers that keep transactions in RocksDB.
pub const ROCKSDB_HALF: &str = "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC";
/// Op topic of brokers that keep transactions in RocksDB.
pub const ROCKSDB_OP_HALF: &str = "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC";

/// Longest topic name.
pub const MAX_TOPIC_LEN: usize = 127;
/// Longest name of a retry or dead-letter topic.
pub const MAX_RETRY_TOPIC_LEN: usize = 255;
/// Longest group name, so that the name of its retry topic still is a topic name.
pub const MAX_GROUP_LEN: usize = 120;

/// A topic name that every RocketMQ server accepts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

/// A producer or consumer group name that every RocketMQ server accepts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(Arc<str>);

/// Why a name was refused; says the rule and the offending part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {name:?} {fault}")]
pub struct NameError {
    kind: &'static str,
    name: String,
    fault: NameFault,
}

/// The rule that a name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// Empty, or only white space.
    #[error("is blank")]
    Blank,
    /// A character that names may not have.
    #[error("has the character {0:?}; allowed are letters, digits and % | _ -")]
    Character(char),
    /// More characters than allowed.
    #[error("is {len} characters long; the limit is {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
}

impl NameError {
    /// The rule that was broken.
    pub fn fault(&self) -> NameFault {
        self.fault
    }
    /// The name that was refused, cut after 300 characters.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Topic {
    /// Checks blank, length (127 characters; 255 for retry and dead-letter topics) and characters (`%|-_a-zA-Z0-9`).
    ///
    /// # Errors
    /// The rule that the name breaks.
    ///
    /// Java: `TopicValidator.validateTopic`
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let name = name.as_ref();
        check("topic", name, max_topic_len(name)).map(|()| Self(name.into()))
    }
    /// As [`Topic::new`], keeping the memory of the name: a message's topic is checked without a copy.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn from_shared(name: Arc<str>) -> Result<Self, NameError> {
        check("topic", &name, max_topic_len(&name)).map(|()| Self(name))
    }
    /// Where messages of `group` wait to be consumed again.
    pub fn retry(group: &Group) -> Self {
        Self(format!("{RETRY_PREFIX}{group}").into())
    }
    /// Where messages go that `group` could not consume.
    pub fn dead_letter(group: &Group) -> Self {
        Self(format!("{DEAD_LETTER_PREFIX}{group}").into())
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The name, to be shared without a copy.
    pub fn as_arc(&self) -> &Arc<str> {
        &self.0
    }
}

impl Group {
    /// Checks blank, length (120 characters) and characters (`%|-_a-zA-Z0-9`).
    ///
    /// # Errors
    /// The rule that the name breaks.
    ///
    /// Java: `TopicValidator.validateGroup`
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let name = name.as_ref();
        check("group", name, MAX_GROUP_LEN).map(|()| Self(name.into()))
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The name, to be shared without a copy.
    pub fn as_arc(&self) -> &Arc<str> {
        &self.0
    }
}

/// Whether the topic belongs to the system: it cannot be created or deleted by users and stays without a namespace.
/// Java: `TopicValidator.isSystemTopic`, without the names that a broker adds at its start.
pub fn is_system(topic: &str) -> bool {
    topic.starts_with(SYSTEM_PREFIX)
        || is_send_forbidden(topic)
        || [AUTO_CREATE, BENCHMARK, TRACE, CHECK_POINT].contains(&topic)
}

/// Whether clients may not send to the topic. Java: `TopicValidator.isNotAllowedSendTopic`.
pub fn is_send_forbidden(topic: &str) -> bool {
    [
        SCHEDULE,
        HALF,
        OP_HALF,
        TRANSACTION_CHECK_MAX,
        SELF_TEST,
        OFFSET_MOVED,
        ROCKSDB_HALF,
        ROCKSDB_OP_HALF,
    ]
    .contains(&topic)
}

/// The light queue that a lite topic is kept in. Java: `LiteUtil.toLmqName`.
pub fn light_queue(parent: &str, lite_topic: &str) -> String {
    format!("{LIGHT_QUEUE_PREFIX}${parent}${lite_topic}")
}

/// Parent and lite topic of a light queue; `None` when it is not the queue of a lite topic. Java: `LiteUtil.getParentTopic`.
pub fn parse_light_queue(queue: &str) -> Option<(&str, &str)> {
    let (parent, lite_topic) = queue
        .strip_prefix(LIGHT_QUEUE_PREFIX)?
        .strip_prefix('$')?
        .split_once('$')?;
    (!parent.is_empty() && !lite_topic.is_empty() && !lite_topic.contains('$'))
        .then_some((parent, lite_topic))
}

fn max_topic_len(name: &str) -> usize {
    if name.starts_with(RETRY_PREFIX) || name.starts_with(DEAD_LETTER_PREFIX) {
        MAX_RETRY_TOPIC_LEN
    } else {
        MAX_TOPIC_LEN
    }
}

fn check(kind: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    let len = name.chars().count();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '-' | '_');
    let fault = if name.trim().is_empty() {
        NameFault::Blank
    } else if let Some(character) = name.chars().find(|c| !allowed(*c)) {
        NameFault::Character(character)
    } else if len > max {
        NameFault::TooLong { len, max }
    } else {
        return Ok(());
    };
    Err(NameError {
        kind,
        name: name.chars().take(300).collect(),
        fault,
    })
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_characters() {
        let fault = |name: &str| Topic::new(name).map_err(|error| error.fault());
        assert_eq!(fault(" "), Err(NameFault::Blank));
        assert_eq!(fault("a b"), Err(NameFault::Character(' ')));
        assert_eq!(fault("größe"), Err(NameFault::Character('ö')));
        assert_eq!(
            fault(&"x".repeat(128)),
            Err(NameFault::TooLong { len: 128, max: 127 })
        );
        assert!(Topic::new("x".repeat(127)).is_ok());
        assert!(Topic::new(format!("%RETRY%{}", "x".repeat(248))).is_ok());
        let shared: Arc<str> = "T".into();
        let topic = Topic::from_shared(Arc::clone(&shared)).unwrap();
        assert!(Arc::ptr_eq(topic.as_arc(), &shared));
        assert!(Topic::from_shared("a b".into()).is_err());
        assert!(Topic::new(format!("%DLQ%{}", "x".repeat(251))).is_err());
        assert!(Group::new("x".repeat(120)).is_ok());
        assert!(Group::new("x".repeat(121)).is_err());
        let error = Topic::new("a.b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "topic name \"a.b\" has the character '.'; allowed are letters, digits and % | _ -"
        );
    }

    #[test]
    fn derived_and_reserved_names() {
        let group = Group::new("G").unwrap();
        assert_eq!(Topic::retry(&group).as_str(), "%RETRY%G");
        assert_eq!(Topic::dead_letter(&group).as_str(), "%DLQ%G");
        assert!(is_system("rmq_sys_REVIVE_LOG_c") && is_system("TBW102") && !is_system("T"));
        assert!(is_send_forbidden("SELF_TEST_TOPIC") && !is_send_forbidden("TBW102"));
    }
}
