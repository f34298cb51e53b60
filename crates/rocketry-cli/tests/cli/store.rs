//! `store`: check, ls, cat, export, repair, on a directory that is served, killed, damaged and repaired.

use std::fs;

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
