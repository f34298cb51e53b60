//! The golden store's messages, appended again in their order at their times, give Java's files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, ops::ControlFlow};

use rocketry_protocol::{
    Properties,
    hash::crc32,
    record::{Record, crc_property},
    sys_flag::{INNER_BATCH, NEED_UNWRAP},
};
use rocketry_store::{NewMessage, StoreError, StoreOptions, inspect::Inspection};
use support::{NOW_MS, golden::golden, message, open, records, snapshot};

const INNER: i32 = INNER_BATCH | NEED_UNWRAP;

/// S-097, S-098, S-099: log, consume queues and batch consume queues, byte by byte; only where an inner batch has its first offset
/// among its properties may differ.
#[test]
fn s097_records_and_units_are_those_that_java_writes() {
    let Some(golden) = golden("store-clean") else {
        return;
    };
    let conf = |key: &str| golden.manifest.broker_conf[key].parse::<u64>().unwrap();
    let options = StoreOptions {
        log_file_bytes: conf("mappedFileSizeCommitLog"),
        queue_file_bytes: conf("mappedFileSizeConsumeQueue"),
        batch_queue_file_bytes: conf("mapperFileSizeBatchConsumeQueue"),
        ..StoreOptions::default()
    };
    let ours = tempfile::tempdir().unwrap();
    fs::create_dir(ours.path().join("config")).unwrap();
    let topics = "config/topics.json";
    fs::copy(golden.dir().join(topics), ours.path().join(topics)).unwrap();
    let (mut writer, reader, _) = open(ours.path(), &options);
    let inspection = Inspection::open(&golden.dir()).unwrap();
    let mut inner = Vec::new();
    inspection
        .walk::<StoreError>(0, |stored| {
            let record = &stored.record;
            let mut properties = Properties::parse_bytes(record.properties);
            if record.sys_flag & INNER == INNER {
                inner.push(record.physical_offset);
                // what the broker of the store adds
                assert!(properties.remove("INNER_BASE"));
            }
            let properties = properties.into_string();
            let message = NewMessage {
                topic: record.topic,
                queue_id: record.queue_id,
                flag: record.flag,
                sys_flag: record.sys_flag,
                born_ms: record.born_ms,
                born_host: record.born_host,
                store_host: record.store_host,
                reconsume_times: record.reconsume_times,
                prepared_transaction_offset: record.prepared_transaction_offset,
                properties: if record.sys_flag & INNER == INNER {
                    properties.as_bytes()
                } else {
                    record.properties
                },
                body: record.body,
            };
            let placed = writer.append(&message, record.store_ms).unwrap();
            writer.commit().unwrap();
            assert_eq!(placed.log_offset, record.physical_offset);
            assert_eq!(placed.queue_offset, record.queue_offset);
            assert_eq!(placed.bytes, stored.bytes as usize);
            let again = reader.record_at(placed.log_offset).unwrap().unwrap();
            let (again, _) = Record::parse(&again).unwrap();
            let pairs = |bytes: &[u8]| {
                let properties = Properties::parse_bytes(bytes);
                let mut pairs: Vec<(String, String)> = properties
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                pairs.sort();
                pairs
            };
            assert_eq!(pairs(again.properties), pairs(record.properties));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert!(inner.len() > 1, "the golden store has inner batches");
    writer.close().unwrap();

    for kind in ["consumequeue", "batchconsumequeue"] {
        let java = snapshot(&golden.dir().join(kind));
        let ours = snapshot(&ours.path().join(kind));
        for (name, ours) in &ours {
            assert_eq!(Some(ours), java.get(name), "{kind}/{name}");
        }
        assert_eq!(ours.len(), java.len(), "{kind}");
    }
    let java = snapshot(&golden.dir().join("commitlog"));
    let ours = snapshot(&ours.path().join("commitlog"));
    let end = golden.manifest.commit_log.recovered_max_offset as usize;
    let bytes = |files: &std::collections::BTreeMap<String, Vec<u8>>| {
        let mut all: Vec<u8> = files.values().flatten().copied().collect();
        all.truncate(end);
        all
    };
    let (java, ours) = (bytes(&java), bytes(&ours));
    assert_eq!(java.len(), ours.len());
    let mut same = 0;
    for message in &golden.manifest.messages {
        let at = message.commit_log_offset as usize;
        if !inner.contains(&message.commit_log_offset) {
            assert_eq!(
                java[at..at + message.size],
                ours[at..at + message.size],
                "{at}"
            );
            same += 1;
        }
    }
    assert_eq!(same + inner.len(), golden.manifest.messages.len());
}

/// S-097, S-121: the record's check sum, as Java places it, whatever the sender put there.
#[test]
fn s097_records_end_with_their_check_sum_when_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        record_crc: true,
        ..support::small()
    };
    let (mut writer, reader, _) = open(dir.path(), &options);
    let cases: [(&str, &str); 4] = [
        ("", ""),
        ("TAGS\x01a\x02", "TAGS\x01a\x02"),
        ("TAGS\x01a", "TAGS\x01a\x02"),
        ("__CRC32#\x010123456789\x02TAGS\x01a\x02", "TAGS\x01a\x02"),
    ];
    for (given, kept) in cases {
        let message = NewMessage {
            properties: given.as_bytes(),
            ..message("t", 0, b"body")
        };
        let placed = writer.append(&message, NOW_MS).unwrap();
        writer.commit().unwrap();
        let bytes = reader.record_at(placed.log_offset).unwrap().unwrap();
        assert_eq!(bytes.len(), placed.bytes);
        let (record, _) = Record::parse(&bytes).unwrap();
        let (covered, place) = bytes.split_at(bytes.len() - 20);
        assert_eq!(place, crc_property(crc32(covered)));
        let expected = [kept.as_bytes(), place].concat();
        assert_eq!(record.properties, expected);
    }
    writer.close().unwrap();
    let (_writer, reader, recovery) = open(dir.path(), &options);
    assert_eq!(recovery.notes, Vec::<String>::new());
    let all = reader
        .read("t", 0, 0, &rocketry_store::ReadLimits::default(), None)
        .unwrap();
    assert_eq!(records(&all.messages).count(), cases.len());
}
