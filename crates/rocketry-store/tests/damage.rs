//! Every derived and configuration file is damaged, one at a time and in three ways: the store opens with all messages where they
//! were and says what it repaired, or refuses and says what to do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::print_stdout,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod support;

use std::{collections::BTreeMap, fs, path::Path};

use rocketry_protocol::{body::topics::TopicConfig, record::Record};
use rocketry_store::{ReadLimits, ReadStatus, Reader, Store};
use support::{NOW_MS, message, open, records, small};

fn filled(dir: &Path) {
    for round in 0..2 {
        let (mut writer, reader, _) = open(dir, &small());
        let metadata = reader.metadata();
        for topic in ["t", "u"] {
            metadata.topics.put(TopicConfig::new(topic, 3), NOW_MS);
        }
        metadata
            .consumer_offsets
            .set("g", "t", 0, 5 + round, NOW_MS);
        metadata.delay_offsets.set(3, 7 + round, NOW_MS);
        for n in 0..50 {
            for topic in ["t", "u"] {
                let body = format!("{topic} {round} {n}");
                writer
                    .append(&message(topic, n % 3, body.as_bytes()), NOW_MS)
                    .unwrap();
            }
            writer.commit().unwrap();
        }
        // twice, so that there is a version before
        metadata.persist().unwrap();
        writer.close().unwrap();
    }
}

/// Every message by topic, queue and place.
fn messages(reader: &Reader) -> BTreeMap<(String, i32, i64), String> {
    let mut all = BTreeMap::new();
    for (topic, queue_id, range) in reader.queues() {
        let mut next = range.min;
        while next < range.max {
            let found = reader
                .read(&topic, queue_id, next, &ReadLimits::default(), None)
                .unwrap();
            assert_eq!(found.status, ReadStatus::Found, "{topic}/{queue_id} {next}");
            for bytes in records(&found.messages) {
                let (record, _) = Record::parse(bytes).unwrap();
                let body = String::from_utf8(record.body.to_vec()).unwrap();
                all.insert((topic.to_string(), queue_id, record.queue_offset), body);
            }
            next = found.next_offset;
        }
    }
    all
}

/// S7, S-107, S-110.
#[test]
fn s110_every_damaged_file_is_repaired_or_named() {
    let whole = tempfile::tempdir().unwrap();
    filled(whole.path());
    let names: Vec<String> = support::snapshot(whole.path())
        .into_keys()
        .filter(|name| !name.starts_with("commitlog/") && name != "lock")
        .collect();
    assert!(names.len() > 25, "{names:?}");
    let expected = {
        let copy = tempfile::tempdir().unwrap();
        support::copy_dir(whole.path(), copy.path()).unwrap();
        let (_writer, reader, _) = open(copy.path(), &small());
        messages(&reader)
    };
    assert_eq!(expected.len(), 200);
    let mut counts = BTreeMap::new();
    for name in &names {
        for damage in ["removed", "cut", "random"] {
            let copy = tempfile::tempdir().unwrap();
            support::copy_dir(whole.path(), copy.path()).unwrap();
            let path = copy.path().join(name);
            let bytes = fs::read(&path).unwrap();
            match damage {
                "removed" => fs::remove_file(&path).unwrap(),
                "cut" => fs::write(&path, &bytes[..bytes.len() / 100]).unwrap(),
                _ => {
                    let mut random = fastrand::Rng::with_seed(bytes.len() as u64);
                    let bytes: Vec<u8> = bytes.iter().map(|_| random.u8(..)).collect();
                    fs::write(&path, bytes).unwrap();
                }
            }
            let outcome = match Store::open(copy.path(), small(), NOW_MS) {
                Ok((writer, reader, recovery)) => {
                    assert_eq!(messages(&reader), expected, "{name} {damage}");
                    writer.close().unwrap();
                    let (_writer, reader, again) = open(copy.path(), &small());
                    assert_eq!(messages(&reader), expected, "{name} {damage}, second start");
                    // a damaged table is kept aside when it is written the next time
                    let derived = |note: &&String| !note.starts_with("config/");
                    let left: Vec<_> = again.notes.iter().filter(derived).collect();
                    assert!(left.is_empty(), "{name} {damage}: {left:?}");
                    if recovery.notes.is_empty() {
                        "unnoticed"
                    } else {
                        "repaired and named"
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    let dir = name.split('/').next().unwrap();
                    assert!(text.contains(dir), "{name} {damage}: {text}");
                    "refused"
                }
            };
            // what was derived is derived again whatever happens to it; only configuration may be unrecoverable, and then has
            // its version before
            let spare = name.contains(".bak") || name.starts_with("index/") || damage == "removed";
            assert!(
                outcome != "unnoticed" || spare || name.starts_with("config/"),
                "{name} {damage} went unnoticed"
            );
            *counts.entry(outcome).or_insert(0) += 1;
        }
    }
    println!("{} files, {counts:?}", names.len());
}

/// S-106 for a queue that is not the last one written to, and for one that is gone as a whole.
#[test]
fn s106_units_that_a_clean_stop_had_are_missed() {
    type Damage = fn(&Path);
    let damages: [Damage; 3] = [
        |queue| fs::remove_dir_all(queue).unwrap(),
        |queue| {
            let last = fs::read_dir(queue).unwrap();
            let last = last.map(|entry| entry.unwrap().path()).max().unwrap();
            fs::remove_file(last).unwrap();
        },
        |queue| {
            let last = fs::read_dir(queue).unwrap();
            let last = last.map(|entry| entry.unwrap().path()).max().unwrap();
            let mut bytes = fs::read(&last).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 20 * 20;
            bytes[used..].fill(0);
            fs::write(last, bytes).unwrap();
        },
    ];
    let whole = tempfile::tempdir().unwrap();
    filled(whole.path());
    for damage in damages {
        for kill in [false, true] {
            let copy = tempfile::tempdir().unwrap();
            support::copy_dir(whole.path(), copy.path()).unwrap();
            damage(&copy.path().join("consumequeue/t/0"));
            if kill {
                fs::write(copy.path().join("abort"), "").unwrap();
            }
            let (_writer, reader, recovery) = open(copy.path(), &small());
            assert_eq!(messages(&reader).len(), 200, "{:?}", recovery.notes);
            let named = |note: &String| note.contains("t/0");
            assert!(recovery.notes.iter().any(named), "{:?}", recovery.notes);
        }
    }
}
