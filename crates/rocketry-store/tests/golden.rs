//! The golden stores written by Apache RocketMQ 5.5.0 are read in full, and recovered to what Java's own recovery reports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod support;

use std::{cell::RefCell, collections::BTreeMap};

use rocketry_protocol::{
    Properties, batch,
    compress::Compression,
    id,
    record::{MAGIC_V1, Record},
    sys_flag::COMPRESSED,
};
use rocketry_store::{Filter, KeyKind, KeyQuery, ReadLimits, ReadStatus, Reader, StoreOptions};
use sha2::{Digest as _, Sha256};
use support::golden::{Golden, Message, golden};

/// Every field of every message, by log offset and through its queue.
fn check_messages(golden: &Golden, reader: &Reader) {
    for message in &golden.manifest.messages {
        let context = format!("message at {}", message.commit_log_offset);
        let bytes = reader
            .record_at(message.commit_log_offset)
            .expect("a readable log")
            .unwrap_or_else(|| panic!("{context}: no record"));
        check_record(message, &bytes, &context);
        if message.in_queue {
            check_in_queue(message, &bytes, reader, &context);
        }
        check_keys(message, &bytes, reader, &context);
    }
}

fn check_record(message: &Message, bytes: &[u8], context: &str) {
    let (record, len) = Record::parse(bytes).expect(context);
    assert_eq!(len, message.size, "{context}");
    let version = if bytes[4..8] == MAGIC_V1.to_be_bytes() {
        1
    } else {
        2
    };
    assert_eq!(version, message.version, "{context}");
    assert_eq!(record.topic, message.topic, "{context}");
    assert_eq!(record.queue_id, message.queue_id, "{context}");
    assert_eq!(record.queue_offset, message.queue_offset, "{context}");
    assert_eq!(
        record.physical_offset, message.commit_log_offset,
        "{context}"
    );
    assert_eq!(record.flag, message.flag, "{context}");
    assert_eq!(record.sys_flag, message.sys_flag, "{context}");
    assert_eq!(record.body_crc, message.body_crc, "{context}");
    assert_eq!(record.born_ms, message.born_timestamp, "{context}");
    assert_eq!(record.store_ms, message.store_timestamp, "{context}");
    assert_eq!(record.born_host.to_string(), message.born_host, "{context}");
    assert_eq!(
        record.store_host.to_string(),
        message.store_host,
        "{context}"
    );
    assert_eq!(record.reconsume_times, message.reconsume_times, "{context}");
    assert_eq!(
        record.prepared_transaction_offset, message.prepared_transaction_offset,
        "{context}"
    );
    assert_eq!(
        id::offset_msg_id(record.store_host, record.physical_offset),
        message.offset_msg_id,
        "{context}"
    );
    let properties = Properties::parse_bytes(record.properties);
    let properties: BTreeMap<String, String> = properties
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(properties, message.properties, "{context}");
    assert_eq!(record.body.len(), message.body_len, "{context}");
    assert_eq!(sha256(record.body), message.body_sha256, "{context}");
    check_inner(message, record.body, context);
    let (Some(plain_len), Some(plain_sha256)) =
        (message.plain_body_len, &message.plain_body_sha256)
    else {
        assert!(!message.inner.is_empty(), "{context}");
        return;
    };
    let plain = if record.sys_flag & COMPRESSED == 0 {
        record.body.to_vec()
    } else {
        Compression::from_sys_flag(record.sys_flag)
            .and_then(|kind| kind.decompress(record.body, 16 << 20))
            .expect(context)
    };
    assert_eq!(plain.len(), plain_len, "{context}");
    assert_eq!(&sha256(&plain), plain_sha256, "{context}");
}

fn check_inner(message: &Message, body: &[u8], context: &str) {
    if message.inner.is_empty() {
        return;
    }
    let items: Vec<_> = batch::items(body).collect::<Result<_, _>>().expect(context);
    assert_eq!(items.len(), message.inner.len(), "{context}");
    for (n, (item, inner)) in items.iter().zip(&message.inner).enumerate() {
        let properties = Properties::parse_bytes(item.properties);
        assert_eq!(properties.get("KEYS"), inner.keys.as_deref(), "{context}");
        assert_eq!(properties.get("TAGS"), inner.tags.as_deref(), "{context}");
        assert_eq!(item.body.len(), inner.plain_body_len, "{context}");
        assert_eq!(sha256(item.body), inner.plain_body_sha256, "{context}");
        let queue_offset = message.queue_offset + i64::try_from(n).unwrap();
        assert_eq!(queue_offset, inner.queue_offset, "{context}");
    }
}

/// Remembers the tags code it is asked about.
#[derive(Default)]
struct Ask(RefCell<Vec<i64>>);

impl Filter for Ask {
    fn matches_tags(&self, tags_code: i64) -> bool {
        self.0.borrow_mut().push(tags_code);
        true
    }
}

fn check_in_queue(message: &Message, bytes: &[u8], reader: &Reader, context: &str) {
    let one = ReadLimits {
        max_messages: 1,
        ..ReadLimits::default()
    };
    let asked = Ask::default();
    let found = reader
        .read(
            &message.topic,
            message.queue_id,
            message.queue_offset,
            &one,
            Some(&asked),
        )
        .expect(context);
    assert_eq!(found.status, ReadStatus::Found, "{context}");
    assert_eq!(found.messages, bytes, "{context}");
    assert_eq!(
        asked.0.borrow().first(),
        Some(&message.tags_code),
        "{context}"
    );
}

/// S-067: each is found by unique id, by every key and by its tag, in index files that Java wrote.
fn check_keys(message: &Message, bytes: &[u8], reader: &Reader, context: &str) {
    let property = |name| message.properties.get(name).map_or("", String::as_str);
    let keys = property("KEYS").split(' ').map(|key| (KeyKind::Key, key));
    let kinds = keys.chain([
        (KeyKind::Unique, property("UNIQ_KEY")),
        (KeyKind::Tag, property("TAGS")),
    ]);
    for (kind, key) in kinds.filter(|(_, key)| !key.is_empty()) {
        let query = KeyQuery {
            topic: &message.topic,
            key,
            kind,
            max_messages: usize::MAX,
            max_bytes: usize::MAX,
            begin_ms: message.store_timestamp,
            end_ms: message.store_timestamp,
        };
        let found = reader.query_by_key(&query).expect(context);
        let mut records = support::records(&found.messages);
        assert!(
            records.any(|found| found == bytes),
            "{context}: {kind:?} {key}"
        );
    }
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

fn check_queues(golden: &Golden, reader: &Reader) {
    let expected: Vec<_> = golden
        .manifest
        .queues
        .iter()
        .map(|queue| (queue.topic.clone(), queue.queue_id, queue.min, queue.max))
        .collect();
    let found: Vec<_> = reader
        .queues()
        .into_iter()
        .map(|(topic, queue_id, range)| (topic.to_string(), queue_id, range.min, range.max))
        .collect();
    for queue in &expected {
        let actual = found
            .iter()
            .find(|found| (&found.0, found.1) == (&queue.0, queue.1));
        match actual {
            Some(actual) => assert_eq!(actual, queue),
            // Java makes the object of a queue that is asked for
            None => assert_eq!((queue.2, queue.3), (0, 0), "{} {}", queue.0, queue.1),
        }
    }
    for actual in &found {
        assert!(
            expected.contains(actual),
            "{actual:?} is not in the manifest"
        );
    }
}

fn check_metadata(golden: &Golden, reader: &Reader) {
    let metadata = reader.metadata();
    let topics = metadata.topics.snapshot().topic_config_table;
    assert_eq!(
        serde_json::to_value(&topics).unwrap(),
        serde_json::to_value(&golden.manifest.topics).unwrap()
    );
    let groups = metadata.groups.snapshot().subscription_group_table;
    assert_eq!(
        serde_json::to_value(&groups).unwrap(),
        serde_json::to_value(&golden.manifest.groups).unwrap()
    );
    let offsets = metadata.consumer_offsets.snapshot().offset_table;
    assert_eq!(
        serde_json::to_value(&offsets).unwrap(),
        serde_json::to_value(&golden.manifest.consumer_offsets).unwrap()
    );
    let delays = metadata.delay_offsets.snapshot().offset_table;
    assert_eq!(
        serde_json::to_value(&delays).unwrap(),
        serde_json::to_value(&golden.manifest.delay_offsets).unwrap()
    );
}

/// Returns the notes of the recovery.
fn check(golden: &Golden) -> Vec<String> {
    let (writer, reader, report) = support::open(&golden.dir(), &StoreOptions::default());
    assert_eq!(report.clean, !golden.manifest.abort_file_present);
    assert_eq!(report.log_file_bytes, golden.manifest.commit_log.file_size);
    assert_eq!(
        reader.min_log_offset(),
        golden.manifest.commit_log.min_offset
    );
    assert_eq!(
        reader.max_log_offset(),
        golden.manifest.commit_log.recovered_max_offset
    );
    check_queues(golden, &reader);
    check_messages(golden, &reader);
    check_metadata(golden, &reader);
    writer.close().expect("a clean stop");
    report.notes
}

/// S-096, S-104, and once more after our own clean stop.
#[test]
fn s096_s104_the_crashed_store_is_recovered_as_java_recovers_it() {
    let Some(mut golden) = golden("store-crashed") else {
        return;
    };
    let notes = check(&golden);
    let end = golden.manifest.commit_log.recovered_max_offset;
    let torn = golden
        .manifest
        .mutations
        .iter()
        .filter(|mutation| mutation.kind == "tornTail");
    let cut: Vec<_> = notes
        .iter()
        .filter(|note| note.starts_with("commit log"))
        .collect();
    assert_eq!(cut.len(), torn.count(), "{notes:?}");
    for note in cut {
        assert!(note.contains(&format!("offset {end}")), "{note}");
    }
    golden.manifest.abort_file_present = false;
    let notes = check(&golden);
    assert_eq!(notes, Vec::<String>::new());
}

/// S-096, S-105: nothing of the log or the queues is changed, and nothing but what an open store has is added.
#[test]
fn s096_s105_the_clean_store_is_read_in_full_and_left_as_it_is() {
    let Some(golden) = golden("store-clean") else {
        return;
    };
    let before = support::snapshot(&golden.dir());
    let notes = check(&golden);
    assert_eq!(notes, Vec::<String>::new());
    let mut after = support::snapshot(&golden.dir());
    let checkpoint = after.remove("checkpoint");
    assert_eq!(checkpoint.map(|bytes| bytes.len()), Some(4096));
    for (name, bytes) in &before {
        if name != "checkpoint" {
            assert_eq!(after.remove(name).as_ref(), Some(bytes), "{name} changed");
        }
    }
    assert_eq!(
        after.keys().collect::<Vec<_>>(),
        ["config/rocketry-index.json", "config/rocketry-queues.json"],
        "files were added"
    );
}

/// S-100: the index built from the log is, file by file and byte by byte, the one Java built while it stored the messages.
#[test]
fn s100_the_index_is_built_as_java_builds_it() {
    let Some(golden) = golden("store-clean") else {
        return;
    };
    let dir = golden.dir().join("index");
    let java: Vec<_> = support::snapshot(&dir).into_values().collect();
    std::fs::remove_dir_all(&dir).unwrap();
    let options = StoreOptions {
        index_slots: golden.manifest.broker_conf["maxHashSlotNum"]
            .parse()
            .unwrap(),
        index_units: golden.manifest.broker_conf["maxIndexNum"].parse().unwrap(),
        ..StoreOptions::default()
    };
    let (writer, _reader, _) = support::open(&golden.dir(), &options);
    writer.close().unwrap();
    let ours: Vec<_> = support::snapshot(&dir).into_values().collect();
    assert_eq!(ours.len(), java.len());
    for (n, (ours, java)) in ours.iter().zip(&java).enumerate() {
        let differs = ours.iter().zip(java).position(|(a, b)| a != b);
        assert_eq!((differs, ours.len()), (None, java.len()), "file {n}");
    }
}
