//! `message`: what is stored is found by either id and by key.

use crate::support::{Served, run};

#[tokio::test]
async fn a_message_is_found_by_either_id() {
    let server = Served::temp().await;
    let args = [
        "send",
        "Orders",
        "{\"id\":1}",
        "--key",
        "order-1",
        "--tag",
        "created",
        "--property",
        "region=eu",
        "--output",
        "jsonl",
    ];
    let sent = server.run(&args).await.ok().jsonl().remove(0);
    for id in ["msg_id", "offset_msg_id"] {
        let id = sent[id].as_str().unwrap();
        let args = ["message", "view", "Orders", id, "--output", "json"];
        let found = server.run(&args).await.ok().json();
        for field in ["msg_id", "offset_msg_id", "queue_id", "queue_offset"] {
            assert_eq!(found[field], sent[field], "{field}");
        }
        assert_eq!(found["properties"]["region"], "eu");
        let text = server
            .run(&["message", "view", "Orders", id])
            .await
            .ok()
            .text();
        for wanted in ["order-1", "created", "property region", "{\"id\":1}\n"] {
            assert!(text.contains(wanted), "{wanted} is missing in {text}");
        }
    }
    server
        .run(&["message", "view", "Orders", "nonsense"])
        .await
        .fails_with(1, &["nonsense"]);
}

#[tokio::test]
async fn messages_are_found_by_key_oldest_first() {
    let server = Served::temp().await;
    for (body, keys) in [("1", ["a", "b"]), ("2", ["b", "c"]), ("3", ["c", "a"])] {
        let args = ["send", "T", body, "--key", keys[0], "--key", keys[1]];
        server.run(&args).await.ok();
    }
    for (key, bodies) in [("a", ["1", "3"]), ("b", ["1", "2"]), ("c", ["2", "3"])] {
        let args = ["message", "query", "T", key, "--output", "json"];
        let found = server.run(&args).await.ok().json();
        let messages = found["messages"].as_array().unwrap();
        let read: Vec<_> = messages
            .iter()
            .map(|m| m["body"].as_str().unwrap())
            .collect();
        assert_eq!(read, bodies, "{key}");
        assert_eq!(found["failures"].as_array().unwrap().len(), 0);
    }
    let table = server
        .run(&["message", "query", "T", "a", "--from", "-1h"])
        .await
        .ok()
        .text();
    assert_eq!(table.lines().count(), 3, "{table}");
    server
        .run(&["message", "query", "T", "a", "--until", "-1h"])
        .await
        .fails_with(1, &["\"a\""]);
    server
        .run(&["message", "query", "Nope", "a"])
        .await
        .fails_with(1, &["does not exist"]);
    run(&["message", "query", "T", "a", "--from", "soon"])
        .await
        .fails_with(2, &["2026-01-31T10:00:00Z"]);
}
