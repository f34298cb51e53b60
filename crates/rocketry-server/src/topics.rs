//! Which topics there are from the start, and how others come to be. The table and its file are the store's.
//!
//! Java: `TopicConfigManager`.

use std::sync::Arc;

use rocketry_protocol::body::topics::{TopicConfig, TopicFilterType, perm};
use rocketry_store::metadata::Topics;

use crate::names::{self, SystemNames};

/// Most queues of a topic. Pops, figures and what tools ask for go over all of them, whether they have messages or not.
pub(crate) const MAX_QUEUES: i32 = 16_384;

/// Checks a number of queues; the error is the remark of the answer.
pub(crate) fn check_queues(field: &str, queues: i32) -> Result<(), String> {
    if queues > MAX_QUEUES {
        return Err(format!(
            "{field} {queues} is more than {MAX_QUEUES}, which is the limit"
        ));
    }
    Ok(())
}

/// Cuts topics that another server left with more queues than are allowed here; returns what is to be told of it.
pub(crate) fn limit_queues(topics: &Topics, now_ms: i64) -> Vec<String> {
    let mut notes = Vec::new();
    for topic in topics.all() {
        let (read, write) = (topic.read_queue_nums, topic.write_queue_nums);
        if read.max(write) <= MAX_QUEUES {
            continue;
        }
        notes.push(format!(
            "topics.json: topic {} has {read} queues to read and {write} to write; only the first {MAX_QUEUES} are used",
            topic.topic_name
        ));
        let config = TopicConfig {
            read_queue_nums: read.min(MAX_QUEUES),
            write_queue_nums: write.min(MAX_QUEUES),
            ..TopicConfig::clone(&topic)
        };
        topics.put(config, now_ms);
    }
    notes.sort();
    notes
}

/// A topic found, or made or changed by the call: then it must be announced.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) config: Arc<TopicConfig>,
    pub(crate) is_new: bool,
}

impl Found {
    fn known(config: Arc<TopicConfig>) -> Self {
        Self {
            config,
            is_new: false,
        }
    }
}

/// There is no such topic, and it may not be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotFound;

/// Adds the topics that every broker has. `TBW102` follows the settings also where an earlier run left it otherwise: no request of an
/// operator changes it, as it is the system's. Without automatic creation, it loses its inherit bit.
pub(crate) fn add_predefined(
    topics: &Topics,
    system: &SystemNames,
    auto_create: bool,
    default_queues: i32,
    now_ms: i64,
) {
    for (name, queues, perm) in system.predefined_topics(auto_create, default_queues) {
        let config = TopicConfig {
            perm,
            ..TopicConfig::new(name, queues)
        };
        topics.put_if_absent(config, now_ms);
    }
    let Some(known) = topics.get(names::DEFAULT_TOPIC) else {
        return;
    };
    let mut template = TopicConfig::clone(&known);
    if auto_create {
        template.perm = perm::READ | perm::WRITE | perm::INHERIT;
        template.read_queue_nums = default_queues;
        template.write_queue_nums = default_queues;
    } else {
        template.perm &= !perm::INHERIT;
    }
    if template != *known {
        topics.put(template, now_ms);
    }
}

/// The topic, created from `template` if it does not exist. Java: `createTopicInSendMessageMethod`.
pub(crate) fn find_or_create(
    topics: &Topics,
    topic: &str,
    template: &str,
    client_queues: i32,
    topic_sys_flag: i32,
    now_ms: i64,
) -> Result<Found, NotFound> {
    if let Some(config) = topics.get(topic) {
        return Ok(Found::known(config));
    }
    let template = topics.get(template).ok_or(NotFound)?;
    if template.perm & perm::INHERIT == 0 {
        return Err(NotFound);
    }
    let queues = client_queues.min(template.write_queue_nums).max(0);
    let config = TopicConfig {
        topic_filter_type: template.topic_filter_type,
        perm: template.perm & !perm::INHERIT,
        topic_sys_flag,
        ..TopicConfig::new(topic, queues)
    };
    let (config, is_new) = topics.put_if_absent(config, now_ms);
    Ok(Found { config, is_new })
}

/// The topic, created with these queues and read and write permission if it does not exist, and given them if it has none.
/// Java: `createTopicInSendMessageBackMethod`.
pub(crate) fn find_or_create_plain(
    topics: &Topics,
    topic: &str,
    queues: i32,
    order: bool,
    now_ms: i64,
) -> Found {
    let Some(known) = topics.get(topic) else {
        let config = TopicConfig {
            order,
            ..TopicConfig::new(topic, queues)
        };
        let (config, is_new) = topics.put_if_absent(config, now_ms);
        return Found { config, is_new };
    };
    let has_queues = known.read_queue_nums > 0 && known.write_queue_nums > 0;
    let is_to_have = !has_queues && queues > 0;
    if known.order == order && !is_to_have {
        return Found::known(known);
    }
    let mut config = TopicConfig {
        order,
        ..TopicConfig::clone(&known)
    };
    if is_to_have {
        config.read_queue_nums = queues;
        config.write_queue_nums = queues;
    }
    topics.put(config.clone(), now_ms);
    Found {
        config: Arc::new(config),
        is_new: true,
    }
}

/// The text of Java's `TopicConfig.toString`, which is part of a remark.
pub(crate) fn describe(config: &TopicConfig) -> String {
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={}, topicFilterType={}, topicSysFlag={}, order={}, attributes={:?}]",
        config.topic_name,
        config.read_queue_nums,
        config.write_queue_nums,
        permissions(config.perm),
        config
            .topic_filter_type
            .unwrap_or(TopicFilterType::SingleTag),
        config.topic_sys_flag,
        config.order,
        config.attributes,
    )
}

/// Java: `PermName.perm2String`.
fn permissions(bits: i32) -> String {
    [(perm::READ, 'R'), (perm::WRITE, 'W'), (perm::INHERIT, 'X')]
        .iter()
        .map(|(bit, letter)| if bits & bit == 0 { '-' } else { *letter })
        .collect()
}

/// Whether a topic has batch consume queues. Java: `QueueTypeUtils.isBatchCq`
pub(crate) fn has_batch_queues(topic: &TopicConfig) -> bool {
    let kind = topic.attributes.get("queue.type");
    kind.is_some_and(|kind| kind == "BatchCQ")
}

#[cfg(test)]
mod tests {
    use rocketry_store::{Reader, Store, StoreOptions, Writer};

    use super::*;

    struct Opened {
        reader: Reader,
        _writer: Writer,
        _dir: tempfile::TempDir,
    }
    impl Opened {
        fn topics(&self) -> &Topics {
            &self.reader.metadata().topics
        }
    }
    fn opened(auto_create: bool) -> Opened {
        let dir = tempfile::tempdir().unwrap();
        let (writer, reader, _) = Store::open(dir.path(), StoreOptions::default(), 0).unwrap();
        let opened = Opened {
            reader,
            _writer: writer,
            _dir: dir,
        };
        add_predefined(
            opened.topics(),
            &SystemNames::new("C", "b"),
            auto_create,
            8,
            1,
        );
        opened
    }

    /// S-020 for the table: as many queues as the client wants, at most those of the template, without the inherit bit.
    #[test]
    fn s020_a_send_creates_its_topic_from_the_template() {
        let opened = opened(true);
        let topics = opened.topics();
        let made = find_or_create(topics, "T", "TBW102", 4, 0, 7).unwrap();
        assert!(made.is_new);
        let config = &made.config;
        assert_eq!(
            (config.write_queue_nums, config.read_queue_nums, config.perm),
            (4, 4, 6)
        );
        assert!(
            !find_or_create(topics, "T", "TBW102", 16, 0, 8)
                .unwrap()
                .is_new
        );
        let wide = find_or_create(topics, "U", "TBW102", 16, 0, 8).unwrap();
        assert_eq!(wide.config.write_queue_nums, 8);
        let no_inherit_bit = find_or_create(topics, "V", "T", 4, 0, 9);
        assert_eq!(no_inherit_bit.unwrap_err(), NotFound);
        assert_eq!(
            find_or_create(topics, "V", "nope", 4, 0, 9).unwrap_err(),
            NotFound
        );
    }

    /// S-021 for the table, also when an earlier run left TBW102 in the file.
    #[test]
    fn s021_nothing_is_created_when_it_is_off() {
        assert!(find_or_create(opened(false).topics(), "T", "TBW102", 4, 0, 7).is_err());
        let opened = opened(true);
        add_predefined(opened.topics(), &SystemNames::new("C", "b"), false, 8, 2);
        assert!(find_or_create(opened.topics(), "T", "TBW102", 4, 0, 7).is_err());
        assert_eq!(opened.topics().get("TBW102").unwrap().perm, 6);
    }

    /// S-021 for the table: a start without automatic creation, or with another number of queues, binds no later one.
    #[test]
    fn s021_every_start_has_its_own_settings() {
        let opened = opened(true);
        let topics = opened.topics();
        let start = |auto_create, queues| {
            add_predefined(topics, &SystemNames::new("C", "b"), auto_create, queues, 2);
        };
        start(false, 8);
        assert!(find_or_create(topics, "T", "TBW102", 4, 0, 7).is_err());
        start(true, 8);
        assert!(
            find_or_create(topics, "T", "TBW102", 4, 0, 7)
                .unwrap()
                .is_new
        );
        start(true, 16);
        let wide = find_or_create(topics, "U", "TBW102", 32, 0, 8).unwrap();
        assert_eq!(
            (wide.config.read_queue_nums, wide.config.write_queue_nums),
            (16, 16)
        );
        let version = topics.data_version();
        start(true, 16);
        assert_eq!(topics.data_version(), version, "nothing changed");
    }

    #[test]
    fn plain_creation_takes_over_the_order_flag() {
        let opened = opened(true);
        let topics = opened.topics();
        assert!(find_or_create_plain(topics, "%RETRY%G", 1, false, 1).is_new);
        assert!(!find_or_create_plain(topics, "%RETRY%G", 1, false, 1).is_new);
        let changed = find_or_create_plain(topics, "%RETRY%G", 5, true, 1);
        assert!(changed.is_new && changed.config.order);
        assert_eq!(topics.get("%RETRY%G").unwrap().write_queue_nums, 1);
        assert!(find_or_create_plain(topics, "%RETRY%H", 0, false, 1).is_new);
        assert!(!find_or_create_plain(topics, "%RETRY%H", 0, false, 1).is_new);
        let given = find_or_create_plain(topics, "%RETRY%H", 2, false, 1);
        assert_eq!((given.is_new, given.config.read_queue_nums), (true, 2));
    }

    #[test]
    fn described_as_java_does() {
        let text = describe(&TopicConfig::new("T", 4));
        assert!(text.starts_with("TopicConfig [topicName=T, readQueueNums=4, writeQueueNums=4, perm=RW-, topicFilterType=SINGLE_TAG,"));
    }
}
