//! Configuration files in Java's dialect, with their previous versions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;

use rocketry_protocol::body::{groups::SubscriptionGroupConfig, topics::TopicConfig};
use support::{NOW_MS, golden::golden, open, small};

/// S-102: bare and quoted integer keys are read; ours are written bare, tabbed, and with the previous version beside.
#[test]
fn s102_offsets_in_javas_dialect() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    fs::create_dir_all(&config).unwrap();
    fs::write(
        config.join("consumerOffset.json"),
        "{\n\t\"groupTopicMap\":{},\n\t\"offsetTable\":{\"t@g\":{0:6,\"1\":7}},\n\t\"pullOffsetTable\":{\"t@g\":{0:9}}\n}",
    )
    .unwrap();
    fs::write(
        config.join("delayOffset.json"),
        "{\"offsetTable\":{1:15,\"2\":3}}",
    )
    .unwrap();
    let (writer, reader, report) = open(dir.path(), &small());
    assert_eq!(report.notes, Vec::<String>::new());
    let metadata = reader.metadata();
    assert_eq!(metadata.consumer_offsets.get("g", "t", 0), Some(6));
    assert_eq!(metadata.consumer_offsets.get("g", "t", 1), Some(7));
    assert_eq!(metadata.consumer_offsets.get("g", "t", 2), None);
    assert_eq!(metadata.delay_offsets.get(1), Some(15));
    assert_eq!(metadata.delay_offsets.get(2), Some(3));
    metadata.consumer_offsets.set("g", "t", 2, 8, NOW_MS);
    metadata.persist().unwrap();
    let text = fs::read_to_string(config.join("consumerOffset.json")).unwrap();
    let table =
        "\t\"offsetTable\":{\n\t\t\"t@g\":{\n\t\t\t0:6,\n\t\t\t1:7,\n\t\t\t2:8\n\t\t}\n\t}\n}";
    assert!(text.ends_with(table), "{text}");
    let before = fs::read_to_string(config.join("consumerOffset.json.bak")).unwrap();
    assert!(before.contains("pullOffsetTable"));
    // unchanged tables are not written
    assert!(!config.join("delayOffset.json.bak").exists());
    assert!(!config.join("topics.json").exists());
    writer.close().unwrap();
}

/// S-102: a damaged file is kept aside, never deleted, and its previous version used; an empty or missing one is no damage.
#[test]
fn s102_damaged_files_are_kept_and_their_previous_version_is_used() {
    for (content, noted) in [
        (Some("{\"topicConfigTable\":{"), 2),
        (Some(""), 1),
        (None, 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (writer, reader, _) = open(dir.path(), &small());
        let topics = &reader.metadata().topics;
        topics.put(TopicConfig::new("first", 4), NOW_MS);
        topics.persist().unwrap();
        topics.put(TopicConfig::new("second", 4), NOW_MS);
        topics.persist().unwrap();
        writer.close().unwrap();
        let main = dir.path().join("config/topics.json");
        match content {
            Some(content) => fs::write(&main, content).unwrap(),
            None => fs::remove_file(&main).unwrap(),
        }
        let (_writer, reader, report) = open(dir.path(), &small());
        assert_eq!(report.notes.len(), noted, "{:?}", report.notes);
        let topics = &reader.metadata().topics;
        assert!(topics.get("first").is_some());
        assert!(topics.get("second").is_none());
        topics.put(TopicConfig::new("third", 4), NOW_MS);
        topics.persist().unwrap();
        let kept = dir.path().join("config/topics.json.damaged");
        if content == Some("{\"topicConfigTable\":{") {
            assert_eq!(fs::read_to_string(kept).unwrap(), "{\"topicConfigTable\":{");
        } else {
            assert!(!kept.exists());
        }
        assert!(fs::read_to_string(&main).unwrap().contains("third"));
    }
}

#[test]
fn tables_survive_a_restart_and_count_their_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, reader, _) = open(dir.path(), &small());
    let metadata = reader.metadata();
    assert!(
        metadata
            .topics
            .put_if_absent(TopicConfig::new("t", 2), NOW_MS)
            .1
    );
    assert!(
        !metadata
            .topics
            .put_if_absent(TopicConfig::new("t", 8), NOW_MS)
            .1
    );
    metadata.topics.put(TopicConfig::new("gone", 2), NOW_MS);
    assert!(metadata.topics.remove("gone", NOW_MS + 1).is_some());
    assert!(metadata.topics.remove("gone", NOW_MS + 2).is_none());
    let version = metadata.topics.data_version();
    assert_eq!((version.counter, version.timestamp), (3, NOW_MS + 1));
    metadata
        .groups
        .put(SubscriptionGroupConfig::new("g"), NOW_MS);
    metadata.groups.set_forbidden("g", "t", 4, NOW_MS);
    metadata.groups.set_forbidden("g", "u", 4, NOW_MS);
    metadata.groups.set_forbidden("g", "u", 0, NOW_MS);
    for offset in 1..=500 {
        metadata.consumer_offsets.set("g", "t", 0, offset, NOW_MS);
    }
    metadata.consumer_offsets.set("g", "u", 0, 1, NOW_MS);
    metadata.consumer_offsets.remove_topic("u");
    metadata.delay_offsets.set(3, 7, NOW_MS);
    metadata.persist().unwrap();
    writer.close().unwrap();
    let (_writer, reader, _) = open(dir.path(), &small());
    let metadata = reader.metadata();
    assert_eq!(metadata.topics.data_version(), version);
    assert_eq!(metadata.topics.get("t").unwrap().read_queue_nums, 2);
    assert_eq!(metadata.topics.count(), 1);
    assert!(metadata.groups.get("g").is_some());
    assert_eq!(metadata.groups.forbidden("g", "t"), 4);
    assert_eq!(metadata.groups.forbidden("g", "u"), 0);
    let offsets = metadata.consumer_offsets.snapshot();
    assert_eq!(offsets.data_version.unwrap().counter, 1);
    assert_eq!(offsets.offset_table.len(), 1);
    assert_eq!(metadata.consumer_offsets.get("g", "t", 0), Some(500));
    assert_eq!(metadata.consumer_offsets.topics_of("g"), ["t"]);
    assert_eq!(metadata.consumer_offsets.groups_of("t"), ["g"]);
    assert_eq!(metadata.delay_offsets.get(3), Some(7));
}

/// Java's files, read and written by us, say the same.
#[test]
fn s102_javas_files_survive_a_rewrite() {
    let Some(golden) = golden("store-clean") else {
        return;
    };
    let (writer, reader, _) = open(&golden.dir(), &small());
    let metadata = reader.metadata();
    let (topics, groups) = (metadata.topics.snapshot(), metadata.groups.snapshot());
    metadata.topics.put(TopicConfig::new("extra", 1), NOW_MS);
    metadata
        .groups
        .put(SubscriptionGroupConfig::new("extra"), NOW_MS);
    metadata.persist().unwrap();
    writer.close().unwrap();
    let (_writer, reader, _) = open(&golden.dir(), &small());
    let metadata = reader.metadata();
    assert!(metadata.topics.remove("extra", NOW_MS).is_some());
    assert!(metadata.groups.remove("extra", NOW_MS).is_some());
    assert_eq!(
        metadata.topics.snapshot().topic_config_table,
        topics.topic_config_table
    );
    assert_eq!(
        metadata.groups.snapshot().subscription_group_table,
        groups.subscription_group_table
    );
}

/// What a newer broker, or a tool, added to a file is there after a rewrite: at the top, in a table and in an entry; it goes with the
/// entry that it was in.
#[test]
fn unknown_members_survive_a_rewrite() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    fs::create_dir_all(&config).unwrap();
    fs::write(
        config.join("topics.json"),
        r#"{"aNewTable":{"x":[1,2,{"y":null,"z":1.5}]},"dataVersion":{"counter":3,"epoch":9,"stateVersion":0,"timestamp":1},
        "topicConfigTable":{"gone":{"topicName":"gone","perm":6,"secret":1},"t":{"topicName":"t","perm":6,"tier":"cold","big":9223372036854775807}}}"#,
    )
    .unwrap();
    fs::write(
        config.join("consumerOffset.json"),
        r#"{"groupTopicMap":{"g":["t"]},"offsetTable":{"t@g":{0:6}},"pullOffsetTable":{"t@g":{0:9}},"zone":{3:"a"}}"#,
    )
    .unwrap();
    for counter in 4..6 {
        let (writer, reader, report) = open(dir.path(), &small());
        assert_eq!(report.notes, Vec::<String>::new());
        let metadata = reader.metadata();
        metadata
            .topics
            .put(TopicConfig::new("new", counter), NOW_MS);
        metadata.topics.remove("gone", NOW_MS);
        metadata
            .consumer_offsets
            .set("g", "t", 0, counter.into(), NOW_MS);
        metadata.persist().unwrap();
        writer.close().unwrap();
        let topics = fs::read_to_string(config.join("topics.json")).unwrap();
        for kept in [
            "\"aNewTable\":{",
            "\"z\":1.5",
            "\"epoch\":9",
            "\"tier\":\"cold\"",
            "\"big\":9223372036854775807",
            "\"new\":{",
        ] {
            assert!(topics.contains(kept), "{kept} is not in {topics}");
        }
        assert!(!topics.contains("secret"), "{topics}");
        let offsets = fs::read_to_string(config.join("consumerOffset.json")).unwrap();
        assert!(
            offsets.contains("\"zone\":{\n\t\t3:\"a\"\n\t}"),
            "{offsets}"
        );
        assert!(offsets.contains(&format!("0:{counter}")), "{offsets}");
        // what Java derives and never reads
        assert!(!offsets.contains("groupTopicMap") && !offsets.contains("pullOffsetTable"));
    }
}
