//! Removing topics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, path::Path};

use rocketry_protocol::{body::topics::TopicConfig, record::Record};
use rocketry_store::{QueueRange, ReadLimits, Reader, Recovery, Writer};
use support::{NOW_MS, message, open, records, small};

fn send(writer: &mut Writer, topic: &str, body: &str) {
    let message = message(topic, 0, body.as_bytes());
    writer.append(&message, NOW_MS).unwrap();
    writer.commit().unwrap();
}

/// The bodies of a queue, whose places must be those of the records.
fn bodies(reader: &Reader, topic: &str) -> Vec<String> {
    let read = reader
        .read(topic, 0, 0, &ReadLimits::default(), None)
        .unwrap();
    records(&read.messages)
        .zip(0..)
        .map(|(bytes, place)| {
            let (record, _) = Record::parse(bytes).unwrap();
            assert_eq!(record.queue_offset, place);
            String::from_utf8(record.body.to_vec()).unwrap()
        })
        .collect()
}

fn create(reader: &Reader, topic: &str) {
    let topics = &reader.metadata().topics;
    topics.put(TopicConfig::new(topic, 1), NOW_MS);
    topics.persist().unwrap();
}

fn remove(writer: &mut Writer, reader: &Reader, topic: &str) {
    let topics = &reader.metadata().topics;
    topics.remove(topic, NOW_MS).unwrap();
    topics.persist().unwrap();
    assert_eq!(writer.remove_topic(topic).unwrap(), 1);
}

/// A store with the topics `a`, of several files, and `b`; the last message is one of `a`.
fn filled(dir: &Path) -> (Writer, Reader) {
    let (mut writer, reader, _) = open(dir, &small());
    create(&reader, "a");
    create(&reader, "b");
    for n in 0..25 {
        send(&mut writer, "b", &format!("b{n}"));
        send(&mut writer, "a", &format!("old {n}"));
    }
    writer.flush_tick(NOW_MS + 2000).unwrap();
    send(&mut writer, "a", "waits in memory");
    (writer, reader)
}

fn reopen(dir: &Path, writer: Writer) -> (Writer, Reader, Recovery) {
    drop(writer);
    let opened = open(dir, &small());
    assert_eq!(bodies(&opened.1, "b").len(), 25);
    opened
}

/// S-071 for the store: the queues go, a topic of the same name begins anew, and no start brings the old messages back.
#[test]
fn s071_a_removed_topic_is_gone_and_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = filled(dir.path());
    remove(&mut writer, &reader, "a");
    assert_eq!(reader.queue_range("a", 0), None);
    assert!(!dir.path().join("consumequeue/a").exists());
    assert!(dir.path().join("consumequeue/b/0").exists());
    assert_eq!(writer.remove_topic("a").unwrap(), 0);

    // a kill with a message of the removed topic as the last of the log
    let (mut writer, reader, report) = reopen(dir.path(), writer);
    assert!(report.notes.is_empty(), "{:?}", report.notes);
    assert!(bodies(&reader, "a").is_empty());

    create(&reader, "a");
    send(&mut writer, "a", "new 0");
    send(&mut writer, "b", "b25");
    send(&mut writer, "a", "new 1");
    let both = QueueRange { min: 0, max: 2 };
    assert_eq!(reader.queue_range("a", 0), Some(both));
    assert_eq!(bodies(&reader, "a"), ["new 0", "new 1"]);

    drop(writer);
    let (mut writer, reader, _) = open(dir.path(), &small());
    assert_eq!(bodies(&reader, "a"), ["new 0", "new 1"]);
    send(&mut writer, "a", "new 2");
    writer.close().unwrap();

    // derived from the whole log again
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let (_writer, reader, _) = open(dir.path(), &small());
    assert_eq!(bodies(&reader, "a"), ["new 0", "new 1", "new 2"]);
    assert_eq!(reader.queue_range("b", 0).unwrap().max, 26);
}

#[test]
fn files_of_a_removed_topic_that_a_crash_brings_back_do_not_count_once_it_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = filled(dir.path());
    writer.flush_tick(NOW_MS + 60_000).unwrap();
    let queue = dir.path().join("consumequeue/a/0");
    let kept = tempfile::tempdir().unwrap();
    support::copy_dir(&queue, kept.path()).unwrap();
    remove(&mut writer, &reader, "a");
    create(&reader, "a");
    send(&mut writer, "a", "new 0");
    drop(writer);
    support::copy_dir(kept.path(), &queue).unwrap();
    let (_writer, reader, report) = open(dir.path(), &small());
    assert_eq!(bodies(&reader, "a"), ["new 0"], "{:?}", report.notes);
}

/// What the last stop left says nothing about a topic that was removed since.
#[test]
fn a_topic_that_was_removed_and_made_again_stays_empty_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = filled(dir.path());
    writer.close().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    assert_eq!(bodies(&reader, "a").len(), 26);
    remove(&mut writer, &reader, "a");
    create(&reader, "a");
    let (writer, reader, report) = reopen(dir.path(), writer);
    assert!(bodies(&reader, "a").is_empty(), "{:?}", report.notes);
    writer.close().unwrap();
    let (_writer, reader, report) = open(dir.path(), &small());
    assert!(bodies(&reader, "a").is_empty(), "{:?}", report.notes);
}

/// A directory that Java left has no table of queues: the log is searched, and has messages of a topic's earlier life.
#[test]
fn a_search_does_not_bring_back_what_a_topic_had_before_it_was_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = filled(dir.path());
    writer
        .append(&message("a", 1, b"old of queue 1"), NOW_MS)
        .unwrap();
    writer.close().unwrap();
    let before = fs::read(dir.path().join("config/rocketry-queues.json")).unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    let topics = &reader.metadata().topics;
    topics.remove("a", NOW_MS).unwrap();
    topics.persist().unwrap();
    assert_eq!(writer.remove_topic("a").unwrap(), 2);
    create(&reader, "a");
    writer
        .append(&message("a", 1, b"new of queue 1"), NOW_MS)
        .unwrap();
    writer.commit().unwrap();
    writer.close().unwrap();
    let forget = || {
        let config = dir.path().join("config");
        for name in ["rocketry-queues.json", "rocketry-queues.json.bak"] {
            let _ = fs::remove_file(config.join(name));
        }
    };
    forget();
    let (writer, reader, report) = open(dir.path(), &small());
    assert!(bodies(&reader, "a").is_empty(), "{:?}", report.notes);
    let one = QueueRange { min: 0, max: 1 };
    assert_eq!(reader.queue_range("a", 1), Some(one));
    writer.close().unwrap();

    // also where our own table is from before another broker removed the topic
    fs::write(dir.path().join("config/rocketry-queues.json"), &before).unwrap();
    let (writer, reader, report) = open(dir.path(), &small());
    assert!(bodies(&reader, "a").is_empty(), "{:?}", report.notes);
    assert_eq!(reader.queue_range("a", 1), Some(one));
    writer.close().unwrap();

    // while a queue whose files are lost is found
    forget();
    fs::remove_dir_all(dir.path().join("consumequeue/b/0")).unwrap();
    let (_writer, reader, report) = open(dir.path(), &small());
    assert_eq!(bodies(&reader, "b").len(), 25, "{:?}", report.notes);
    assert!(bodies(&reader, "a").is_empty(), "{:?}", report.notes);
}
