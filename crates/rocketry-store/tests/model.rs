//! Random work on a store, with stops and kills in between, against a plain list per queue.

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

use std::collections::BTreeMap;

use proptest::prelude::*;
use rocketry_protocol::record::Record;
use rocketry_store::{ReadLimits, ReadStatus, Reader};
use support::{NOW_MS, copy_dir, message, open, small};

#[derive(Debug, Clone)]
enum Step {
    /// Messages of one commit: queue and body length.
    Commit(Vec<(u8, u16)>),
    /// The flusher's turn, so many ms later.
    Tick(u16),
    Close,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec((0..5u8, 0..1500u16), 1..8).prop_map(Step::Commit),
        3 => (0..20_000u16).prop_map(Step::Tick),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
    ]
}

const TOPICS: [(&str, i32); 5] = [("a", 0), ("a", 7), ("b", 0), ("%DLQ%g", 0), ("c|d", 2)];

fn matches(reader: &Reader, model: &BTreeMap<u8, Vec<Vec<u8>>>, limits: &ReadLimits) {
    for (queue, bodies) in model {
        let (topic, queue_id) = TOPICS[*queue as usize];
        let mut at = 0;
        while at < bodies.len() {
            let read = reader
                .read(topic, queue_id, at as i64, limits, None)
                .unwrap();
            assert_eq!(read.status, ReadStatus::Found);
            let mut rest = &read.messages[..];
            let from = at;
            while !rest.is_empty() {
                let (record, len) = Record::parse(rest).unwrap();
                assert_eq!(record.body, bodies[at]);
                assert_eq!(record.queue_offset, at as i64);
                at += 1;
                rest = &rest[len..];
            }
            assert_eq!(read.next_offset, at as i64);
            assert_eq!(read.count, at - from);
        }
        let range = reader.queue_range(topic, queue_id).unwrap();
        assert_eq!((range.min, range.max), (0, bodies.len() as i64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_a_list_per_queue(
        steps in prop::collection::vec(step(), 1..40),
        max_messages in 1..40usize,
        max_bytes in 1..9000usize,
    ) {
        let limits = ReadLimits { max_messages, max_bytes, ..ReadLimits::default() };
        let mut dir = tempfile::tempdir().unwrap();
        let mut model: BTreeMap<u8, Vec<Vec<u8>>> = BTreeMap::new();
        let (mut writer, mut reader, _) = open(dir.path(), &small());
        let mut now = NOW_MS;
        for step in steps {
            match step {
                Step::Commit(messages) => {
                    for (queue, len) in messages {
                        let bodies = model.entry(queue).or_default();
                        let mut body = bodies.len().to_string().into_bytes();
                        body.resize(body.len() + len as usize, b'.');
                        let (topic, queue_id) = TOPICS[queue as usize];
                        let placed = writer.append(&message(topic, queue_id, &body), now).unwrap();
                        assert_eq!(placed.queue_offset, bodies.len() as i64);
                        bodies.push(body);
                    }
                    writer.commit().unwrap();
                }
                Step::Tick(ms) => {
                    now += i64::from(ms);
                    writer.flush_tick(now).unwrap();
                }
                Step::Close => {
                    writer.close().unwrap();
                    let (new_writer, new_reader, report) = open(dir.path(), &small());
                    assert!(report.clean);
                    assert_eq!(report.notes, Vec::<String>::new());
                    (writer, reader) = (new_writer, new_reader);
                }
                Step::Kill => {
                    let copy = tempfile::tempdir().unwrap();
                    copy_dir(dir.path(), copy.path()).unwrap();
                    let (new_writer, new_reader, report) = open(copy.path(), &small());
                    assert!(!report.clean);
                    (writer, reader) = (new_writer, new_reader);
                    dir = copy;
                }
            }
            matches(&reader, &model, &limits);
        }
    }
}
