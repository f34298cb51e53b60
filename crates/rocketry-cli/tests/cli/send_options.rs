//! What `send` can do with a message beside sending it: explain, batch, delay, transaction, sharding key.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Served, closed_address, run};

fn texts<'a>(rows: &'a [Value], name: &str) -> Vec<&'a str> {
    rows.iter().map(|row| row[name].as_str().unwrap()).collect()
}

fn lines(count: usize) -> String {
    let lines: Vec<_> = (1..=count).map(|n| format!("line {n}")).collect();
    lines.join("\n") + "\n"
}

fn numbers(rows: &[Value], name: &str) -> Vec<i64> {
    rows.iter().map(|row| row[name].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn explain_prints_every_stage_and_then_the_result() {
    let server = Served::temp().await;
    let run = server.run(&["send", "T", "hello", "--explain"]).await.ok();
    let text = run.text();
    let stages: Vec<_> = text
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            // a time has a unit behind it, a result has none
            if line.starts_with(' ') {
                words[2]
            } else {
                words[0]
            }
        })
        .collect();
    let expected = [
        "begin", "id", "body", "route", "queue", "attempt", "request", "answer", "brokers", "end",
        "SEND_OK",
    ];
    assert_eq!(stages, expected, "{text}");
    let route = text.lines().find(|line| line.contains(" route ")).unwrap();
    assert!(route.contains(&server.namesrv), "{route}");
    let attempt = text
        .lines()
        .find(|line| line.contains(" attempt "))
        .unwrap();
    assert!(attempt.contains(&server.broker), "{attempt}");
}

#[tokio::test]
async fn explain_as_json_belongs_to_its_message() {
    let server = Served::temp().await;
    let rows = server
        .run_with_input(
            &["send", "T", "--stdin", "--explain", "--output", "jsonl"],
            b"one\ntwo\n",
        )
        .await
        .ok()
        .jsonl();
    assert_eq!(numbers(&rows, "line"), [1, 2]);
    let mut sources = Vec::new();
    for row in &rows {
        let stages = row["explain"].as_array().unwrap();
        assert_eq!(stages[1]["msg_id"], row["msg_id"]);
        let of = |name: &str| stages.iter().find(|stage| stage["stage"] == name).unwrap();
        assert_eq!(of("queue")["queue_id"], row["queue_id"]);
        assert_eq!(of("answer")["queue_offset"], row["queue_offset"]);
        assert_eq!(of("request")["code"], 310);
        assert_eq!(of("end")["status"], "SEND_OK");
        for stage in stages {
            assert!(
                stage["at_ms"].is_f64() && stage["took_ms"].is_f64(),
                "{stage}"
            );
        }
        sources.push(of("route")["source"].clone());
    }
    assert_eq!(sources, ["name_server", "cache"]);
}

/// What does not fit into one batch becomes two, which are sent one after the other.
#[tokio::test]
async fn explain_keeps_batches_apart() {
    let server = Served::temp().await;
    let large = "x".repeat(3 << 20);
    let input = format!("{large}\nsmall\n{large}\n");
    let args = [
        "send",
        "T",
        "--stdin",
        "--batch",
        "3",
        "--explain",
        "--output",
        "jsonl",
    ];
    let run = server.run_with_input(&args, input.as_bytes()).await.ok();
    let ends: Vec<_> = run
        .jsonl()
        .iter()
        .map(|row| {
            let stages = row["explain"].as_array().map(Vec::as_slice);
            let ends = |stages: &[Value]| {
                stages
                    .iter()
                    .filter(|stage| stage["stage"] == "end")
                    .count()
            };
            (row["line"].as_u64().unwrap(), stages.map(ends))
        })
        .collect();
    assert_eq!(ends, [(1, Some(1)), (2, None), (3, Some(1))]);
}

#[tokio::test]
async fn explain_of_a_failure_says_how_it_ended() {
    let run = run(&[
        "send",
        "T",
        "x",
        "--explain",
        "--timeout",
        "300ms",
        "--namesrv",
        &closed_address(),
    ])
    .await
    .fails_with(1, &["error: "]);
    let text = run.text();
    let last = text.lines().last().unwrap();
    assert!(last.contains(" end "), "{text}");
}

#[tokio::test]
async fn each_message_of_a_batch_has_its_own_result() {
    let server = Served::temp().await;
    let input = lines(25);
    let args = ["send", "B", "--stdin", "--batch", "10", "--output", "jsonl"];
    let mut rows = server
        .run_with_input(&args, input.as_bytes())
        .await
        .ok()
        .jsonl();
    rows.sort_by_key(|row| row["line"].as_i64());
    assert_eq!(numbers(&rows, "line"), (1..=25).collect::<Vec<_>>());
    assert_eq!(
        texts(&rows, "msg_id").iter().collect::<BTreeSet<_>>().len(),
        25
    );
    for batch in rows.chunks(10) {
        let (queues, offsets) = (numbers(batch, "queue_id"), numbers(batch, "queue_offset"));
        assert!(queues.iter().all(|queue| *queue == queues[0]), "{queues:?}");
        let expected: Vec<_> = (offsets[0]..).take(batch.len()).collect();
        assert_eq!(offsets, expected);
    }
    let args = ["consume", "B", "--output", "jsonl", "--count", "25"];
    let read = server.run(&args).await.ok().jsonl();
    let place = |row: &Value| {
        let id = row["offset_msg_id"].as_str().unwrap().to_owned();
        (id, row["msg_id"].as_str().unwrap().to_owned())
    };
    let told: BTreeSet<_> = rows.iter().map(place).collect();
    assert_eq!(read.iter().map(place).collect::<BTreeSet<_>>(), told);
}

#[tokio::test]
async fn gathered_messages_all_arrive() {
    let server = Served::temp().await;
    let input = lines(300);
    let run = server
        .run_with_input(&["send", "A", "--stdin", "--auto-batch"], input.as_bytes())
        .await
        .ok();
    assert!(
        run.stderr.contains("300 messages sent to A"),
        "{}",
        run.stderr
    );
    let args = [
        "consume", "A", "--output", "raw", "--count", "301", "--wait", "1s",
    ];
    let read = server.run(&args).await.ok().text();
    let read: BTreeSet<_> = read.lines().collect();
    assert_eq!(read, input.lines().collect());
}

#[tokio::test]
async fn consumers_get_what_was_committed() {
    let server = Served::temp().await;
    for end in ["rollback", "unknown", "commit"] {
        let args = ["send", "T", end, "--transaction", end, "--output", "jsonl"];
        let row = server.run(&args).await.ok().jsonl().remove(0);
        let expected = match end {
            "rollback" => "ROLLBACK_MESSAGE",
            "unknown" => "UNKNOW",
            _ => "COMMIT_MESSAGE",
        };
        assert_eq!(row["transaction"], expected);
    }
    let args = [
        "consume", "T", "--output", "raw", "--count", "2", "--wait", "1s",
    ];
    assert_eq!(server.run(&args).await.ok().text(), "commit\n");
    let text = server
        .run(&["send", "T", "x", "--transaction", "rollback"])
        .await
        .ok()
        .text();
    assert!(text.contains("(rolled back: nobody gets it)"), "{text}");
}

#[tokio::test]
async fn a_delayed_message_comes_after_the_next_one() {
    let server = Served::temp().await;
    server
        .run(&[
            "send",
            "T",
            "later",
            "--delay-level",
            "1",
            "--queue",
            "broker-a:0",
        ])
        .await
        .ok();
    server
        .run(&["send", "T", "now", "--queue", "broker-a:0"])
        .await
        .ok();
    let args = [
        "consume", "T", "--output", "raw", "--count", "2", "--wait", "20s",
    ];
    assert_eq!(server.run(&args).await.ok().text(), "now\nlater\n");
}

#[tokio::test]
async fn a_timed_message_comes_unless_it_is_recalled() {
    let server = Served::temp().await;
    let mut handles = Vec::new();
    for (body, delay) in [("recalled", "1h"), ("kept", "2s")] {
        let args = ["send", "T", body, "--delay", delay, "--output", "jsonl"];
        let row = server.run(&args).await.ok().jsonl().remove(0);
        handles.push((row["recall_handle"].as_str().unwrap().to_owned(), row));
    }
    let (handle, sent) = &handles[0];
    let args = ["recall", "T", handle, "--output", "json"];
    let recalled = server.run(&args).await.ok().json();
    assert_eq!(recalled["msg_id"], sent["msg_id"]);
    let args = [
        "consume", "T", "--output", "raw", "--count", "1", "--wait", "20s",
    ];
    assert_eq!(server.run(&args).await.ok().text(), "kept\n");

    let text = server
        .run(&["send", "T", "x", "--at", "2099-01-01T00:00:00Z"])
        .await
        .fails_with(1, &["the delay time should not be bigger", "3 days"]);
    assert!(text.stdout.is_empty());
    server
        .run(&["recall", "T", "nonsense"])
        .await
        .fails_with(1, &["the recall handle is invalid"]);
}

#[tokio::test]
async fn a_traced_message_leaves_a_record() {
    let server = Served::temp().await;
    let args = ["send", "T", "x", "--trace", "--output", "jsonl"];
    let row = server.run(&args).await.ok().jsonl().remove(0);
    let args = [
        "consume",
        "RMQ_SYS_TRACE_TOPIC",
        "--count",
        "1",
        "--output",
        "jsonl",
    ];
    let trace = server.run(&args).await.ok().jsonl().remove(0);
    assert_eq!(trace["keys"], row["msg_id"]);
    let record = trace["body"].as_str().unwrap();
    assert!(record.starts_with("Pub\u{1}"), "{record:?}");
    assert!(
        record.contains(row["offset_msg_id"].as_str().unwrap()),
        "{record:?}"
    );
}

#[tokio::test]
async fn strict_order_needs_a_topic_whose_queues_are_known() {
    let server = Served::temp().await;
    server
        .run(&["send", "T", "x", "--strict-shard", "k"])
        .await
        .fails_with(1, &["rocketry topic create T"]);
    server.run(&["topic", "create", "T"]).await.ok();
    let mut queues = Vec::new();
    for option in ["--shard", "--strict-shard"] {
        let args = ["send", "T", "x", option, "k", "--output", "jsonl"];
        queues.extend(numbers(&server.run(&args).await.ok().jsonl(), "queue_id"));
    }
    assert_eq!(queues[0], queues[1]);
}

#[tokio::test]
async fn one_sharding_key_is_one_queue() {
    let server = Served::temp().await;
    let input = b"1\n2\n3\n4\n5\n";
    let mut queues = BTreeSet::new();
    for key in ["customer-7", "customer-8", "order-1"] {
        let args = ["send", "T", "--stdin", "--shard", key, "--output", "jsonl"];
        let rows = server.run_with_input(&args, input).await.ok().jsonl();
        let of_key: BTreeSet<_> = numbers(&rows, "queue_id").into_iter().collect();
        assert_eq!(of_key.len(), 1, "{key}");
        queues.extend(of_key);
    }
    assert!(queues.len() > 1, "three keys share a queue");
}

#[tokio::test]
async fn options_that_exclude_each_other_are_wrong_usage() {
    for (args, text) in [
        (&["--delay", "1s", "--at", "17"][..], "cannot be used with"),
        (
            &["--delay", "1s", "--delay-level", "1"],
            "cannot be used with",
        ),
        (&["--delay-level", "19"], "1..=18"),
        (&["--at", "soon"], "2026-01-31T10:00:00Z"),
        (&["--transaction", "maybe"], "commit, rollback, unknown"),
        (
            &["--transaction", "commit", "--delay", "1s"],
            "cannot be used with",
        ),
        (
            &["--transaction", "commit", "--mode", "oneway"],
            "needs the broker's answers",
        ),
        (&["--batch", "1"], "2..=10000"),
        (&["--batch", "10", "--auto-batch"], "cannot be used with"),
        (
            &["--batch", "10", "--mode", "oneway"],
            "needs the broker's answers",
        ),
        (&["--auto-batch", "--mode", "sync"], "use --mode async"),
        (&["--shard", "k", "--queue", "b:0"], "cannot be used with"),
        (
            &["--shard", "k", "--strict-shard", "k"],
            "cannot be used with",
        ),
        (
            &["--trace", "--mode", "oneway"],
            "needs the broker's answers",
        ),
    ] {
        run(&[&["send", "T", "x"], args].concat())
            .await
            .fails_with(2, &[text]);
    }
}

#[tokio::test]
async fn explain_names_the_way_a_queue_was_chosen() {
    let server = Served::temp().await;
    server.run(&["topic", "create", "T"]).await.ok();
    for (options, choice) in [
        (&[][..], "round_robin"),
        (&["--queue", "broker-a:0"], "caller"),
        (&["--shard", "k"], "selector"),
        (&["--strict-shard", "k"], "strict_shard"),
    ] {
        let args = ["send", "T", "x", "--explain", "--output", "jsonl"];
        let row = server.run(&[&args, options].concat()).await.ok().jsonl();
        let stages = row[0]["explain"].as_array().unwrap();
        let chosen = stages.iter().find(|stage| stage["stage"] == "queue");
        assert_eq!(chosen.unwrap()["choice"], choice);
    }
}
