//! Appending and reading: what is written is byte for byte what Java writes, and is read back.

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

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr},
};

use rocketry_protocol::{batch::BatchItem, hash::java_string_hash, record::Record};
use rocketry_store::{
    AppendError, Appended, Boundary, Filter, NewMessage, ReadLimits, ReadStatus, StoreOptions,
};
use support::{NOW_MS, message, open, small};

/// The records of a read, each parsed.
fn records(bytes: &[u8]) -> Vec<Record<'_>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (record, len) = Record::parse(rest).expect("a whole record");
        found.push(record);
        rest = &rest[len..];
    }
    found
}

/// S-097: a record is exactly what the protocol's encoder, held to Java's vectors, makes of its fields.
#[test]
fn s097_records_are_byte_exact() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    let long_topic = format!("%RETRY%{}", "g".repeat(150));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 10_911));
    let messages = [
        message("plain", 2, b"hello"),
        message(&long_topic, 0, b"V2 record"),
        NewMessage {
            born_host: v6,
            store_host: v6,
            ..message("plain", 2, b"")
        },
    ];
    let placed: Vec<Appended> = messages
        .iter()
        .map(|message| writer.append(message, NOW_MS).unwrap())
        .collect();
    writer.commit().unwrap();
    for (message, placed) in messages.iter().zip(&placed) {
        let mut expected = Vec::new();
        Record {
            body_crc: rocketry_protocol::hash::crc32(message.body),
            queue_id: message.queue_id,
            flag: message.flag,
            queue_offset: placed.queue_offset,
            physical_offset: placed.log_offset,
            sys_flag: message.sys_flag,
            born_ms: message.born_ms,
            born_host: message.born_host,
            store_ms: NOW_MS,
            store_host: message.store_host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: message.body,
            topic: message.topic,
            properties: message.properties,
        }
        .encode(&mut expected)
        .unwrap();
        assert_eq!(placed.bytes, expected.len());
        let stored = reader.record_at(placed.log_offset).unwrap().unwrap();
        assert_eq!(stored, expected);
    }
    assert_eq!(placed[2].queue_offset, 1, "second message of the queue");
}

/// S-098: a record that leaves exactly the filler's 8 bytes fits; one byte more goes to the next file.
#[test]
fn s098_the_end_of_a_file_is_filled_and_no_record_crosses_it() {
    for (spare, rolls) in [(8usize, false), (7, true)] {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, reader, _) = open(dir.path(), &small());
        let empty = Record::parse(&{
            let placed = writer.append(&message("t", 0, b""), NOW_MS).unwrap();
            writer.commit().unwrap();
            reader.record_at(placed.log_offset).unwrap().unwrap()
        })
        .unwrap()
        .1;
        let body = vec![b'x'; 4096 - spare - empty - empty];
        let placed = writer.append(&message("t", 0, &body), NOW_MS).unwrap();
        let next = writer.append(&message("t", 0, b""), NOW_MS).unwrap();
        writer.commit().unwrap();
        if rolls {
            assert_eq!(placed.log_offset, 4096);
        } else {
            assert_eq!(placed.log_offset, i64::try_from(empty).unwrap());
            assert_eq!(next.log_offset, 4096);
        }
        let first = fs::read(dir.path().join("commitlog/00000000000000000000")).unwrap();
        assert_eq!(first.len(), 4096);
        let filler_at = if rolls { empty } else { 4096 - 8 };
        let left = i32::try_from(4096 - filler_at).unwrap();
        assert_eq!(first[filler_at..filler_at + 4], left.to_be_bytes());
        assert_eq!(
            first[filler_at + 4..filler_at + 8],
            [0xcb, 0xd4, 0x31, 0x94]
        );
        let all = reader
            .read("t", 0, 0, &ReadLimits::default(), None)
            .unwrap();
        assert_eq!(records(&all.messages).len(), 3);
        writer.close().unwrap();
        let (_writer, reader, report) = open(dir.path(), &small());
        assert!(report.clean);
        assert_eq!(report.notes, Vec::<String>::new());
        let again = reader
            .read("t", 0, 0, &ReadLimits::default(), None)
            .unwrap();
        assert_eq!(again.messages, all.messages);
    }
}

/// S-099: units and files of a consume queue, byte by byte.
#[test]
fn s099_consume_queue_units_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _reader, _) = open(dir.path(), &small());
    let mut placed = Vec::new();
    for _ in 0..25 {
        placed.push(
            writer
                .append(&message("topic", 3, b"body"), NOW_MS)
                .unwrap(),
        );
    }
    let delayed = NewMessage {
        properties: b"DELAY\x012\x02TAGS\x01a\x02",
        ..message("SCHEDULE_TOPIC_XXXX", 1, b"later")
    };
    writer.append(&delayed, NOW_MS).unwrap();
    writer.commit().unwrap();
    writer.close().unwrap();
    let queue = dir.path().join("consumequeue/topic/3");
    let mut names: Vec<_> = fs::read_dir(&queue)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "00000000000000000000",
            "00000000000000000200",
            "00000000000000000400"
        ]
    );
    let mut bytes = Vec::new();
    for name in names {
        let file = fs::read(queue.join(name)).unwrap();
        assert_eq!(file.len(), 200);
        bytes.extend(file);
    }
    for (unit, placed) in bytes.chunks(20).zip(&placed) {
        assert_eq!(unit[..8], placed.log_offset.to_be_bytes());
        assert_eq!(
            unit[8..12],
            i32::try_from(placed.bytes).unwrap().to_be_bytes()
        );
        assert_eq!(unit[12..], i64::from(java_string_hash("a")).to_be_bytes());
    }
    assert!(bytes[25 * 20..].iter().all(|byte| *byte == 0));
    let schedule = fs::read(
        dir.path()
            .join("consumequeue/SCHEDULE_TOPIC_XXXX/1/00000000000000000000"),
    );
    assert_eq!(schedule.unwrap()[12..20], (NOW_MS + 5000).to_be_bytes());
}

/// S-103: checkpoint, abort and lock files while open and after.
#[test]
fn s103_marker_files() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _reader, report) = open(dir.path(), &small());
    assert!(report.fresh && report.clean);
    assert_eq!(
        fs::read_to_string(dir.path().join("abort")).unwrap(),
        std::process::id().to_string()
    );
    assert_eq!(fs::read(dir.path().join("lock")).unwrap(), b"lock");
    let first = writer.append(&message("t", 0, b"1"), NOW_MS).unwrap();
    let last = writer.append(&message("t", 0, b"2"), NOW_MS + 9).unwrap();
    writer.commit().unwrap();
    writer.close().unwrap();
    assert!(!dir.path().join("abort").exists());
    let checkpoint = fs::read(dir.path().join("checkpoint")).unwrap();
    assert_eq!(checkpoint.len(), 4096);
    assert_eq!(checkpoint[..8], (NOW_MS + 9).to_be_bytes());
    assert_eq!(checkpoint[8..16], (NOW_MS + 9).to_be_bytes());
    assert_eq!(checkpoint[40..48], last.log_offset.to_be_bytes());
    assert!(first.log_offset < last.log_offset);
}

#[test]
fn nothing_is_visible_before_the_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    writer.append(&message("t", 0, b"1"), NOW_MS).unwrap();
    assert_eq!(reader.queue_range("t", 0).map(|range| range.max), Some(0));
    assert_eq!(reader.max_log_offset(), 0);
    let mut arrived = Vec::new();
    writer
        .commit_with(|arrival| {
            arrived.push((
                arrival.topic.to_string(),
                arrival.queue_id,
                arrival.queue_offset,
            ));
        })
        .unwrap();
    assert_eq!(arrived, [("t".to_owned(), 0, 0)]);
    assert_eq!(reader.queue_range("t", 0).map(|range| range.max), Some(1));
}

#[test]
fn half_messages_are_stored_without_a_place_in_a_queue() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    let half = NewMessage {
        sys_flag: 0x4,
        ..message("t", 0, b"half")
    };
    let placed = writer.append(&half, NOW_MS).unwrap();
    let plain = writer.append(&message("t", 0, b"plain"), NOW_MS).unwrap();
    writer.commit().unwrap();
    assert_eq!((placed.queue_offset, plain.queue_offset), (0, 0));
    assert_eq!(reader.queue_range("t", 0).map(|range| range.max), Some(1));
    let stored = reader.record_at(placed.log_offset).unwrap().unwrap();
    assert_eq!(Record::parse(&stored).unwrap().0.body, b"half");
}

#[test]
fn what_is_to_be_kept_together_lies_in_one_file() {
    for (together, first_at) in [(false, 3000..4096), (true, 4096..4097)] {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, reader, _) = open(dir.path(), &small());
        writer
            .append(&message("t", 0, &[b'x'; 3000]), NOW_MS)
            .unwrap();
        let body = [b'b'; 400];
        let (first, second) = (message("t", 0, &body), message("u", 0, &body));
        if together {
            writer.keep_together(&[&first, &second]).unwrap();
        }
        let placed = [&first, &second].map(|message| writer.append(message, NOW_MS).unwrap());
        writer.commit().unwrap();
        assert!(first_at.contains(&placed[0].log_offset), "{placed:?}");
        assert!(placed[1].log_offset >= 4096);
        let range = reader.queue_range("u", 0).unwrap();
        assert_eq!((range.min, range.max), (0, 1));
    }
}

#[test]
fn a_batch_lies_in_one_file_and_is_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    let body = [b'b'; 700];
    let item = BatchItem {
        flag: 1,
        body: &body,
        properties: b"TAGS\x01b\x02",
    };
    writer
        .append(&message("t", 0, &[b'x'; 3000]), NOW_MS)
        .unwrap();
    let mut placed = Vec::new();
    writer
        .append_batch(
            &message("t", 0, b""),
            &[item, item, item],
            NOW_MS,
            &mut placed,
        )
        .unwrap();
    let refused = writer.append_batch(&message("t", 0, b""), &[item; 6], NOW_MS, &mut placed);
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    writer.commit().unwrap();
    assert_eq!(placed.len(), 3);
    assert!(
        placed
            .iter()
            .all(|placed| (4096..8192).contains(&placed.log_offset))
    );
    assert_eq!(reader.queue_range("t", 0).map(|range| range.max), Some(4));
    let found = reader
        .read("t", 0, 1, &ReadLimits::default(), None)
        .unwrap();
    assert_eq!(
        records(&found.messages)
            .iter()
            .map(|record| (record.queue_offset, record.flag))
            .collect::<Vec<_>>(),
        [(1, 1), (2, 1), (3, 1)]
    );
}

#[test]
fn what_cannot_be_stored_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        max_message_bytes: 2000,
        ..small()
    };
    let (mut writer, reader, _) = open(dir.path(), &options);
    let long = vec![b'p'; 32_768];
    let body = [0; 2001];
    let cases = [
        message("t", 0, &body),
        message("", 0, b""),
        message("..", 0, b""),
        message("a/b", 0, b""),
        message("t", -1, b""),
        NewMessage {
            properties: &long,
            ..message("t", 0, b"")
        },
        NewMessage {
            properties: b"TAGS\x01\xff\x02",
            ..message("t", 0, b"")
        },
    ];
    for case in &cases {
        writer.append(case, NOW_MS).expect_err("refused");
    }
    writer.commit().unwrap();
    assert_eq!(reader.max_log_offset(), 0);
    let placed = writer
        .append(&message("t", 0, &body[..2000]), NOW_MS)
        .unwrap();
    assert_eq!((placed.log_offset, placed.queue_offset), (0, 0));
}

struct Tag(&'static str);

impl Filter for Tag {
    fn matches_tags(&self, tags_code: i64) -> bool {
        tags_code == i64::from(java_string_hash(self.0))
    }
}

struct Body(&'static [u8]);

impl Filter for Body {
    fn matches_tags(&self, _: i64) -> bool {
        true
    }
    fn needs_record(&self) -> bool {
        true
    }
    fn matches_record(&self, record: &[u8]) -> bool {
        Record::parse(record).unwrap().0.body == self.0
    }
}

#[test]
fn reads_end_with_the_status_that_java_gives() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    for n in 0..100u8 {
        let tag: &[u8] = if n % 10 == 0 {
            b"TAGS\x01x\x02"
        } else {
            b"TAGS\x01y\x02"
        };
        let other = NewMessage {
            properties: tag,
            ..message("t", 0, if n % 10 == 5 { b"five" } else { b"rest" })
        };
        writer.append(&other, NOW_MS).unwrap();
        writer
            .append(&message("u", i32::from(n % 3), b"between"), NOW_MS)
            .unwrap();
    }
    writer.commit().unwrap();
    let limits = ReadLimits::default();
    let read =
        |offset, filter: Option<&dyn Filter>| reader.read("t", 0, offset, &limits, filter).unwrap();

    let outcome = read(0, None);
    assert_eq!(
        (outcome.status, outcome.count, outcome.next_offset),
        (ReadStatus::Found, 32, 32)
    );
    assert_eq!((outcome.min_offset, outcome.max_offset), (0, 100));
    let offsets: Vec<i64> = records(&outcome.messages)
        .iter()
        .map(|record| record.queue_offset)
        .collect();
    assert_eq!(offsets, (0..32).collect::<Vec<i64>>());

    let outcome = read(1, Some(&Tag("x")));
    assert_eq!(
        (outcome.status, outcome.count, outcome.next_offset),
        (ReadStatus::Found, 9, 100)
    );
    let outcome = read(0, Some(&Body(b"five")));
    assert_eq!(
        (outcome.status, outcome.count, outcome.next_offset),
        (ReadStatus::Found, 10, 100)
    );
    assert!(
        records(&outcome.messages)
            .iter()
            .all(|record| record.queue_offset % 10 == 5)
    );
    let outcome = read(0, Some(&Tag("nothing")));
    assert_eq!(
        (outcome.status, outcome.next_offset),
        (ReadStatus::NoMatchedMessage, 100)
    );

    assert_eq!(read(100, None).status, ReadStatus::OffsetOverflowOne);
    let outcome = read(101, None);
    assert_eq!(
        (outcome.status, outcome.next_offset),
        (ReadStatus::OffsetOverflowBadly, 100)
    );
    let outcome = read(-1, None);
    assert_eq!(
        (outcome.status, outcome.next_offset),
        (ReadStatus::OffsetTooSmall, 0)
    );
    let missing = reader.read("t", 9, 0, &limits, None).unwrap();
    assert_eq!(missing.status, ReadStatus::NoMatchedLogicQueue);

    let small = ReadLimits {
        max_bytes: 1,
        ..limits
    };
    let outcome = reader.read("t", 0, 7, &small, None).unwrap();
    assert_eq!(
        (outcome.status, outcome.count, outcome.next_offset),
        (ReadStatus::Found, 1, 8)
    );
    let few = ReadLimits {
        max_scanned: 5,
        ..limits
    };
    let outcome = reader.read("t", 0, 1, &few, Some(&Tag("x"))).unwrap();
    assert_eq!(
        (outcome.status, outcome.next_offset),
        (ReadStatus::NoMatchedMessage, 6)
    );
}

/// S-072: before the first, between, runs of equal times, after the last, and no queue.
#[test]
fn s072_offsets_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    for ms in [10, 20, 20, 30] {
        writer.append(&message("t", 0, b""), NOW_MS + ms).unwrap();
    }
    writer.commit().unwrap();
    let find = |ms: i64, boundary| {
        reader
            .offset_by_time("t", 0, NOW_MS + ms, boundary)
            .unwrap()
    };
    let cases = [
        (5, 0, 0),
        (10, 0, 0),
        (15, 1, 0),
        (20, 1, 2),
        (25, 3, 2),
        (30, 3, 3),
        (31, 4, 3),
    ];
    for (ms, lower, upper) in cases {
        assert_eq!(find(ms, Boundary::Lower), lower, "{ms} lower");
        assert_eq!(find(ms, Boundary::Upper), upper, "{ms} upper");
    }
    assert_eq!(
        reader
            .offset_by_time("none", 0, NOW_MS, Boundary::Lower)
            .unwrap(),
        0
    );
    assert_eq!(
        reader.earliest_store_time("t", 0).unwrap(),
        Some(NOW_MS + 10)
    );
    assert_eq!(reader.store_time("t", 0, 3).unwrap(), Some(NOW_MS + 30));
    assert_eq!(reader.store_time("t", 0, 4).unwrap(), None);
}

#[test]
fn bytes_inside_a_record_are_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    let placed = writer.append(&message("t", 0, &[0; 300]), NOW_MS).unwrap();
    writer.commit().unwrap();
    let end = reader.max_log_offset();
    for offset in [
        -1,
        placed.log_offset + 1,
        placed.log_offset + 40,
        end - 1,
        end,
        end + 1,
        i64::MAX,
    ] {
        assert_eq!(reader.record_at(offset).unwrap(), None, "{offset}");
    }
}

/// A write costs the same for one unit as for hundreds: with thousands of queues the units of a minute go together.
#[test]
fn units_of_very_many_queues_wait_for_the_sixth_sync() {
    let topic = |n: usize| format!("t{n}");
    for (queues, is_written) in [(900, true), (1100, false)] {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, _reader, _) = open(dir.path(), &small());
        for n in 0..queues {
            writer
                .append(&message(&topic(n), 0, b"one"), NOW_MS)
                .unwrap();
        }
        writer.commit().unwrap();
        let file = dir.path().join("consumequeue/t7/0/00000000000000000000");
        writer.flush_tick(NOW_MS + 2000).unwrap();
        assert_eq!(file.exists(), is_written, "{queues}");
        writer.flush_tick(NOW_MS + 20_000).unwrap();
        assert_eq!(file.exists(), is_written, "{queues}");
        writer.flush_tick(NOW_MS + 60_000).unwrap();
        assert!(file.exists(), "{queues}");
    }
}
