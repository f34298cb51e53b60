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

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use rocketry_protocol::{Properties, body::topics::TopicConfig, record::Record};
use rocketry_store::{ReadLimits, ReadStatus, Reader, Store, StoreOptions, TimerOptions, Timers};
use support::{NOW_MS, golden::golden, message, open, records, small};

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

/// Bodies by topic, queue and place.
type Messages = BTreeMap<(String, i32, i64), Vec<u8>>;

/// Names the places that differ.
fn assert_all(found: &Messages, expected: &Messages, when: &str) {
    let places: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let mut differ = places
        .into_iter()
        .filter(|place| found.get(*place) != expected.get(*place));
    assert_eq!(differ.next(), None, "{when}");
}

fn messages(reader: &Reader) -> Messages {
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
                let place = (topic.to_string(), queue_id, record.queue_offset);
                all.insert(place, record.body.to_vec());
            }
            next = found.next_offset;
        }
    }
    all
}

/// Damages one file.
fn damage_file(path: &Path, damage: &str) {
    let bytes = fs::read(path).unwrap_or_default();
    match damage {
        "removed" => fs::remove_file(path).unwrap(),
        "cut" => fs::write(path, &bytes[..bytes.len() / 100]).unwrap(),
        "random" => {
            let mut random = fastrand::Rng::with_seed(bytes.len() as u64);
            let bytes: Vec<u8> = bytes.iter().map(|_| random.u8(..)).collect();
            fs::write(path, bytes).unwrap();
        }
        other => panic!("{other}"),
    }
}

/// The timed messages that are still to come at `now_ms`, by id and time.
fn timed(reader: &Reader, now_ms: i64) -> (BTreeSet<(String, String)>, Option<String>) {
    let (mut timers, note) = Timers::open(reader, TimerOptions::default(), now_ms).unwrap();
    while timers.take_new(now_ms, 32).unwrap() > 0 {}
    let later_ms = now_ms + 30 * 24 * 3_600_000;
    let mut found = BTreeSet::new();
    loop {
        let due = timers.due(later_ms, 32).unwrap().to_vec();
        if due.is_empty() {
            return (found, note);
        }
        for message in &due {
            let (record, _) = Record::parse(&message.record).unwrap();
            let properties = Properties::parse_bytes(record.properties);
            let text = |name| properties.get(name).unwrap_or_default().to_owned();
            found.insert((text("UNIQ_KEY"), text("TIMER_OUT_MS")));
        }
        timers.delivered(later_ms);
    }
}

/// S7, S-107, S-110: the same for every file of a store of Java's that has all of them.
#[test]
fn s110_every_damaged_file_of_a_store_of_javas_is_repaired_or_named() {
    let Some(golden) = golden("store-clean") else {
        return;
    };
    let conf = |key: &str| golden.manifest.broker_conf[key].parse().unwrap();
    let options = StoreOptions {
        queue_file_bytes: 1000,
        batch_queue_file_bytes: 2300,
        index_slots: conf("maxHashSlotNum"),
        index_units: conf("maxIndexNum"),
        ..small()
    };
    let names: Vec<String> = support::snapshot(&golden.dir())
        .into_keys()
        .filter(|name| !name.starts_with("commitlog/"))
        .collect();
    for subject in [
        "checkpoint",
        "lock",
        "timerwheel",
        "timerlog/",
        "consumequeue/",
        "batchconsumequeue/",
        "index/",
        "config/timercheck",
        "config/timermetrics",
        "config/topics.json",
        "config/subscriptionGroup.json",
        "config/consumerOffset.json",
        "config/consumerFilter.json",
        "config/consumerOrderInfo.json",
        "config/delayOffset.json",
    ] {
        let there = names.iter().any(|name| name.starts_with(subject));
        assert!(there, "{subject} is not among {names:?}");
    }
    let newest = golden.manifest.messages.last().unwrap();
    let now_ms = newest.store_timestamp + 10_000;
    let copy = || {
        let copy = tempfile::tempdir().unwrap();
        support::copy_dir(&golden.dir(), copy.path()).unwrap();
        copy
    };
    let (expected, expected_timed) = {
        let copy = copy();
        let (_writer, reader, _) = open(copy.path(), &options);
        (messages(&reader), timed(&reader, now_ms).0)
    };
    assert!(expected.len() > 100 && expected_timed.len() > 3);
    let damages = ["removed", "cut", "random"];
    let mut counts = BTreeMap::new();
    for (number, name) in names.iter().enumerate() {
        // the many files of queues take turns
        let sample = number % 3..number % 3 + 1;
        let is_one_of_many = name.starts_with("consumequeue/");
        for damage in &damages[if is_one_of_many { sample } else { 0..3 }] {
            let copy = copy();
            damage_file(&copy.path().join(name), damage);
            let outcome = match Store::open(copy.path(), options.clone(), NOW_MS) {
                Ok((writer, reader, recovery)) => {
                    assert_all(&messages(&reader), &expected, &format!("{name} {damage}"));
                    let mut note = None;
                    if name.contains("timer") {
                        let (found, timer_note) = timed(&reader, now_ms);
                        let lost: Vec<_> = expected_timed.difference(&found).collect();
                        assert!(lost.is_empty(), "{name} {damage}: {lost:?}");
                        note = timer_note;
                    }
                    writer.close().unwrap();
                    let named = !recovery.notes.is_empty() || note.is_some();
                    assert!(
                        named
                            || !(name.starts_with("timer") || name.starts_with("index/"))
                            || *damage == "removed",
                        "{name} {damage} went unnoticed"
                    );
                    if named {
                        "repaired and named"
                    } else {
                        "unnoticed"
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    let dir = name.split('/').next().unwrap();
                    assert!(text.contains(dir), "{name} {damage}: {text}");
                    "refused"
                }
            };
            counts
                .entry((outcome, damage))
                .or_insert_with(Vec::new)
                .push(name);
        }
    }
    for ((outcome, damage), names) in counts {
        println!(
            "{damage}, {outcome}: {} files, of them {:?}",
            names.len(),
            names.first()
        );
        if outcome == "unnoticed" {
            println!("    {names:?}");
        }
    }
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
            damage_file(&path, damage);
            let outcome = match Store::open(copy.path(), small(), NOW_MS) {
                Ok((writer, reader, recovery)) => {
                    assert_all(&messages(&reader), &expected, &format!("{name} {damage}"));
                    writer.close().unwrap();
                    let (_writer, reader, again) = open(copy.path(), &small());
                    assert_all(
                        &messages(&reader),
                        &expected,
                        &format!("{name} {damage}, second start"),
                    );
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
            assert!(
                outcome != "unnoticed" || name.starts_with("config/"),
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

/// S7: nothing but the log says which queues a store of Java's had.
#[test]
fn a_queue_that_is_missing_from_a_store_of_javas_is_found_by_its_messages() {
    let Some(golden) = golden("store-clean") else {
        return;
    };
    let options = StoreOptions {
        queue_file_bytes: 1000,
        ..small()
    };
    let copy = || {
        let copy = tempfile::tempdir().unwrap();
        support::copy_dir(&golden.dir(), copy.path()).unwrap();
        copy
    };
    let (expected, queues) = {
        let copy = copy();
        let (_writer, reader, _) = open(copy.path(), &options);
        (messages(&reader), reader.queues())
    };
    let mut removed = 0;
    for (topic, queue_id, range) in queues {
        let queue = format!("{topic}/{queue_id}");
        let is_there = |kind: &&str| golden.dir().join(kind).join(&queue).is_dir();
        let Some(kind) = ["consumequeue", "batchconsumequeue"]
            .into_iter()
            .find(|kind| is_there(kind))
        else {
            continue;
        };
        if range.min == range.max {
            continue;
        }
        removed += 1;
        for kill in [false, true] {
            let copy = copy();
            fs::remove_dir_all(copy.path().join(kind).join(&queue)).unwrap();
            if kill {
                fs::write(copy.path().join("abort"), "").unwrap();
            }
            let (writer, reader, recovery) = open(copy.path(), &options);
            assert_all(&messages(&reader), &expected, &queue);
            // of all of a kind that are missing, the kind is named; and a kill may have come before there were files
            let is_named = |note: &String| note.contains(&queue) || note.contains("a kind of them");
            assert!(
                kill || recovery.notes.iter().any(is_named),
                "{queue}: {:?}",
                recovery.notes
            );
            writer.close().unwrap();
            let (_writer, reader, recovery) = open(copy.path(), &options);
            assert_all(&messages(&reader), &expected, &queue);
            assert_eq!(recovery.notes, [""; 0], "{queue}");
        }
    }
    assert!(removed > 10, "{removed} queues");

    let copy = copy();
    let unsearched = StoreOptions {
        queue_search_bytes: 0,
        ..options
    };
    let (_writer, _reader, recovery) = open(copy.path(), &unsearched);
    let says_so = |note: &String| note.contains("were not searched for queues without files");
    assert!(recovery.notes.iter().any(says_so), "{:?}", recovery.notes);
}
