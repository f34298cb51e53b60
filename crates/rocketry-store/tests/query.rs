//! Messages are found by unique id, key and tag, wherever their keys are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use rocketry_protocol::record::Record;
use rocketry_store::{FlushMode, KeyKind, KeyQuery, NewMessage, Reader, Writer};
use support::{NOW_MS, message, open, small};

fn query(kind: KeyKind, key: &str) -> KeyQuery<'_> {
    KeyQuery {
        topic: "t",
        key,
        kind,
        max_messages: 32,
        max_bytes: usize::MAX,
        begin_ms: 0,
        end_ms: i64::MAX,
    }
}

fn bodies(reader: &Reader, query: &KeyQuery<'_>) -> Vec<String> {
    let outcome = reader.query_by_key(query).expect("a readable index");
    let mut rest: &[u8] = &outcome.messages;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (record, len) = Record::parse(rest).expect("records");
        found.push(String::from_utf8(record.body.to_vec()).unwrap());
        rest = &rest[len..];
    }
    assert_eq!(found.len(), outcome.count);
    found
}

fn send(writer: &mut Writer, topic: &str, properties: &str, body: &str, store_ms: i64) {
    let message = NewMessage {
        properties: properties.as_bytes(),
        ..message(topic, 0, body.as_bytes())
    };
    writer.append(&message, store_ms).expect("an append");
    writer.commit().expect("a commit");
}

/// S-067: by key, by unique id and by tag, across several index files and among keys that are not written yet.
#[test]
fn keys_are_found_across_files_and_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    // 50 units per file and three keys per message: several files
    for n in 0..100i64 {
        let properties = format!(
            "UNIQ_KEY\x01U{n}\x02KEYS\x01k{} other\x02TAGS\x01red\x02",
            n % 40
        );
        send(
            &mut writer,
            "t",
            &properties,
            &format!("m{n}"),
            NOW_MS + n * 1000,
        );
        if n == 90 {
            writer.flush_tick(NOW_MS + 1_000_000).expect("a flush");
        }
    }
    let files = std::fs::read_dir(dir.path().join("index")).unwrap().count();
    assert!(files > 3, "{files} index files");

    assert_eq!(
        bodies(&reader, &query(KeyKind::Key, "k7")),
        ["m7", "m47", "m87"]
    );
    assert_eq!(
        bodies(&reader, &query(KeyKind::Key, "k15")),
        ["m15", "m55", "m95"]
    );
    assert_eq!(bodies(&reader, &query(KeyKind::Unique, "U3")), ["m3"]);
    assert_eq!(bodies(&reader, &query(KeyKind::Unique, "U99")), ["m99"]);
    assert_eq!(bodies(&reader, &query(KeyKind::Key, "U99")), ["m99"]);
    assert!(bodies(&reader, &query(KeyKind::Unique, "k7")).is_empty());
    assert!(bodies(&reader, &query(KeyKind::Tag, "k7")).is_empty());
    assert!(bodies(&reader, &query(KeyKind::Key, "red")).is_empty());
    assert!(bodies(&reader, &query(KeyKind::Key, "nobody")).is_empty());
    let elsewhere = KeyQuery {
        topic: "u",
        ..query(KeyKind::Key, "k7")
    };
    assert!(bodies(&reader, &elsewhere).is_empty());

    // the newest, in log order
    let newest: Vec<String> = (68..100).map(|n| format!("m{n}")).collect();
    assert_eq!(bodies(&reader, &query(KeyKind::Tag, "red")), newest);
    let few = KeyQuery {
        max_messages: 2,
        ..query(KeyKind::Key, "k7")
    };
    assert_eq!(bodies(&reader, &few), ["m47", "m87"]);
    let small_reply = KeyQuery {
        max_bytes: 1,
        ..query(KeyKind::Key, "k7")
    };
    assert_eq!(bodies(&reader, &small_reply), ["m87"]);

    // times are inclusive and exact
    let between = |begin_ms, end_ms| KeyQuery {
        begin_ms,
        end_ms,
        ..query(KeyKind::Tag, "red")
    };
    let at = |n: i64| NOW_MS + n * 1000;
    assert_eq!(
        bodies(&reader, &between(at(20), at(22))),
        ["m20", "m21", "m22"]
    );
    assert_eq!(bodies(&reader, &between(at(20) + 1, at(22) - 1)), ["m21"]);
    assert!(bodies(&reader, &between(at(100), at(200))).is_empty());
    assert!(bodies(&reader, &between(at(22), at(20))).is_empty());

    let outcome = reader.query_by_key(&query(KeyKind::Key, "nobody")).unwrap();
    assert_eq!(outcome.newest_store_ms, at(99));
    assert!(outcome.newest_log_offset > 0 && outcome.newest_log_offset < reader.max_log_offset());

    // and the same from the files alone
    writer.close().expect("a clean stop");
    let (_writer, reader, _) = open(dir.path(), &small());
    assert_eq!(
        bodies(&reader, &query(KeyKind::Key, "k15")),
        ["m15", "m55", "m95"]
    );
    let outcome = reader.query_by_key(&query(KeyKind::Key, "nobody")).unwrap();
    assert_eq!(outcome.newest_store_ms, at(99));
}

/// Java returns whatever has the hash and leaves it to clients to choose.
#[test]
fn keys_of_the_same_hash_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    send(&mut writer, "t", "KEYS\x01Aa\x02", "first", NOW_MS);
    for n in 0..40 {
        send(
            &mut writer,
            "t",
            "KEYS\x01BB\x02",
            &format!("other {n}"),
            NOW_MS,
        );
    }
    let one = KeyQuery {
        max_messages: 1,
        ..query(KeyKind::Key, "Aa")
    };
    assert_eq!(bodies(&reader, &one), ["first"]);
}

/// A key that is its message's unique id, or named twice, is indexed twice and found once.
#[test]
fn a_message_is_found_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    send(
        &mut writer,
        "t",
        "UNIQ_KEY\x01k\x02KEYS\x01k k\x02",
        "a",
        NOW_MS,
    );
    assert_eq!(bodies(&reader, &query(KeyKind::Key, "k")), ["a"]);
}

#[test]
fn a_store_without_an_index_finds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = rocketry_store::StoreOptions {
        index: false,
        flush: FlushMode::Sync,
        ..small()
    };
    let (mut writer, reader, _) = open(dir.path(), &options);
    send(&mut writer, "t", "KEYS\x01k\x02", "a", NOW_MS);
    assert!(bodies(&reader, &query(KeyKind::Key, "k")).is_empty());
}
