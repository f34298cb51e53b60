//! `store`: check, ls, cat, export, repair, on a directory that is served, killed, damaged and repaired.

use std::{fs, path::Path};

use rocketry_protocol::{
    batch::{BatchItem, encode_item},
    body::topics::TopicConfig,
    sys_flag::{INNER_BATCH, NEED_UNWRAP},
};
use rocketry_store::{NewMessage, Store, StoreOptions};

use crate::support::{Served, run, run_with_input};

/// Sends `count` messages to topic `T`.
async fn fill(server: &Served, count: usize) {
    let count = count.to_string();
    server
        .run(&[
            "send", "T", "hello", "--tag", "red", "--key", "k", "--count", &count,
        ])
        .await
        .ok();
}

#[tokio::test]
async fn a_directory_is_looked_at_while_it_is_served_and_after() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let data = dir.to_str().unwrap();
    let server = Served::start(&["--data", data]).await;
    fill(&server, 10).await;

    let live = run(&["store", "export", data]).await.ok();
    assert!(
        live.stderr.contains("is in use by process"),
        "{}",
        live.stderr
    );
    let exported: Vec<_> = live
        .jsonl()
        .into_iter()
        .filter(|line| line["topic"] == "T")
        .collect();
    assert_eq!(exported.len(), 10);
    let consumed = server
        .run(&["consume", "T", "--wait", "0s", "--output", "jsonl"])
        .await
        .ok()
        .jsonl();
    // the same keys in the same order, and four more
    let keys = |line: &serde_json::Value| -> Vec<String> {
        line.as_object().unwrap().keys().cloned().collect()
    };
    let mut expected = keys(&consumed[0]);
    for key in [
        "version",
        "sys_flag",
        "prepared_transaction_offset",
        "body_crc",
    ] {
        assert!(exported[0][key].is_i64(), "{key}");
        expected.push(key.to_owned());
    }
    expected.sort();
    let mut found = keys(&exported[0]);
    found.sort();
    assert_eq!(found, expected);
    for line in &exported {
        let same = consumed
            .iter()
            .find(|other| other["commit_log_offset"] == line["commit_log_offset"])
            .unwrap();
        for key in [
            "msg_id",
            "offset_msg_id",
            "queue_offset",
            "body",
            "tags",
            "keys",
            "store_ms",
        ] {
            assert_eq!(line[key], same[key], "{key}");
        }
    }
    let refused = run(&["store", "repair", data, "--yes"]).await;
    refused.fails_with(1, &["in use by process"]);

    server.stop().await;
    let check = run(&["store", "check", data]).await.ok();
    assert!(check.text().starts_with("closed: "), "{}", check.text());
    assert!(check.text().contains("mappedFileSizeCommitLog=1073741824"));
    let json = run(&["store", "check", data, "--output", "json"])
        .await
        .ok()
        .json();
    assert_eq!(json["findings"], serde_json::json!([]));
    assert_eq!(json["usage"], "closed");

    let names = ["--broker-name", "broker-a", "--cluster", "DefaultCluster"];
    let same = run(&[&["store", "check", data], &names[..]].concat())
        .await
        .ok();
    assert!(same.text().starts_with("closed: "), "{}", same.text());
    let other = run(&["store", "check", data, "--cluster", "Other"])
        .await
        .ok();
    assert!(
        other.text().starts_with(
            "warning: config/topics.json: this directory was served in cluster DefaultCluster, not Other"
        ),
        "{}",
        other.text()
    );

    let first = &exported[0];
    for id in [
        first["commit_log_offset"].to_string(),
        first["msg_id"].as_str().unwrap().to_owned(),
        first["offset_msg_id"].as_str().unwrap().to_owned(),
        format!("T/{}/{}", first["queue_id"], first["queue_offset"]),
    ] {
        let one = run(&["store", "cat", data, &id]).await.ok().json();
        assert_eq!(&one, first, "{id}");
    }
    run(&["store", "cat", data, "7"])
        .await
        .fails_with(1, &["no message \"7\""]);

    let ls = run(&["store", "ls", data]).await.ok().text();
    assert!(ls.lines().next().unwrap().starts_with("KIND"), "{ls}");
    assert!(ls.contains("written to"), "{ls}");
    let ls = run(&["store", "ls", data, "--output", "json"])
        .await
        .ok()
        .json();
    let log = &ls["segments"][0];
    assert_eq!(log["path"], "commitlog/00000000000000000000");
    assert_eq!(log["bytes"], 1 << 30);
    assert!(log["real_bytes"].as_u64().unwrap() < 1 << 20, "{log}");
}

#[tokio::test]
async fn damage_is_named_and_repaired_when_told_to() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let data = dir.to_str().unwrap();
    let server = Served::start(&["--data", data]).await;
    fill(&server, 20).await;
    server.stop().await;
    let queue = dir.join("consumequeue/T/0");
    fs::remove_dir_all(&queue).unwrap();

    run(&["store", "check", data])
        .await
        .fails_with(1, &["1 error in"]);
    let check = run(&["store", "check", data]).await;
    assert!(
        check
            .text()
            .contains("error: consumequeue/T/0: missing: the log has"),
        "{}",
        check.text()
    );
    // nobody is there to be asked
    run_with_input(&["store", "repair", data], b"")
        .await
        .fails_with(2, &["will remove consumequeue/T/0", "nothing was changed"]);
    assert!(!queue.exists());
    run(&["store", "repair", data, "--yes"]).await.ok();
    assert!(queue.exists());
    run(&["store", "check", data]).await.ok();
    let again = run(&["store", "repair", data]).await.ok();
    assert!(
        again.stderr.contains("nothing to repair"),
        "{}",
        again.stderr
    );
}

#[tokio::test]
async fn what_is_no_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let path = dir.path().to_str().unwrap();
    for command in ["check", "ls", "export", "repair"] {
        run(&["store", command, path])
            .await
            .fails_with(1, &["not a RocketMQ data directory"]);
    }
}

/// A closed directory: a message, a record that holds three, and another message.
fn with_inner_batch(dir: &Path) {
    const NOW_MS: i64 = 1_795_400_000_000;
    let (mut writer, reader, _) = Store::open(dir, StoreOptions::default(), NOW_MS).unwrap();
    let mut config = TopicConfig::new("B", 1);
    let kind = ("queue.type".to_owned(), "BatchCQ".to_owned());
    config.attributes.extend([kind]);
    reader.metadata().topics.put(config, NOW_MS);
    reader.metadata().persist().unwrap();
    let mut batch = Vec::new();
    for (body, id) in [("one", "ID1"), ("two", "ID2"), ("three", "ID3")] {
        let properties = format!("UNIQ_KEY\u{1}{id}\u{2}TAGS\u{1}red\u{2}");
        let item = BatchItem {
            flag: 0,
            body: body.as_bytes(),
            properties: properties.as_bytes(),
        };
        encode_item(&item, &mut batch).unwrap();
    }
    for (sys_flag, properties, body) in [
        (0, "UNIQ_KEY\u{1}ID0\u{2}", &b"before"[..]),
        (
            INNER_BATCH | NEED_UNWRAP,
            "UNIQ_KEY\u{1}WHOLE\u{2}INNER_NUM\u{1}3\u{2}",
            &batch,
        ),
        (0, "UNIQ_KEY\u{1}ID4\u{2}", b"after"),
    ] {
        let host = "127.0.0.1:10911".parse().unwrap();
        let message = NewMessage {
            topic: "B",
            queue_id: 0,
            flag: 0,
            sys_flag,
            born_ms: NOW_MS,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            properties: properties.as_bytes(),
            body,
        };
        writer.append(&message, NOW_MS).unwrap();
    }
    writer.commit().unwrap();
    writer.close().unwrap();
}

/// A record that holds several messages is exported as those, a line each, at its place in the log; one of them is found by its own
/// names, all of them by those of the record.
#[tokio::test]
async fn the_messages_of_an_inner_batch_have_lines_of_their_own() {
    let root = tempfile::tempdir().unwrap();
    with_inner_batch(root.path());
    let data = root.path().to_str().unwrap();
    let export = run(&["store", "export", data, "--output", "jsonl"])
        .await
        .ok();
    let lines = export.jsonl();
    let shown = |line: &serde_json::Value| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        (text("msg_id"), text("body"), line["queue_offset"].as_i64())
    };
    let expected = [
        ("ID0", "before", 0),
        ("ID1", "one", 1),
        ("ID2", "two", 2),
        ("ID3", "three", 3),
        ("ID4", "after", 4),
    ]
    .map(|(id, body, offset)| (id.to_owned(), body.to_owned(), Some(offset)));
    assert_eq!(lines.iter().map(shown).collect::<Vec<_>>(), expected);
    let offsets: Vec<_> = lines
        .iter()
        .map(|line| line["commit_log_offset"].as_i64().unwrap())
        .collect();
    assert!(offsets.is_sorted(), "{offsets:?}");
    assert_eq!(offsets[1], offsets[3]);
    assert_eq!(lines[1]["tags"], "red");

    for id in ["ID2", "B/0/2"] {
        let one = run(&["store", "cat", data, id]).await.ok();
        assert_eq!(one.jsonl(), &lines[2..3], "{id}");
    }
    for id in [offsets[1].to_string(), "WHOLE".to_owned()] {
        let all = run(&["store", "cat", data, &id]).await.ok();
        assert_eq!(all.jsonl(), &lines[1..4], "{id}");
    }
    run(&["store", "check", data]).await.ok();
}
