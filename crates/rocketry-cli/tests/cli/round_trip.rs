//! What is sent with `send` comes back with `consume`: every mode, every format, byte for byte.

use serde_json::{Value, json};

use crate::{
    corpus,
    support::{Run, Served, run_with_input},
};

const LINES: usize = 6_000;

fn sorted_lines(run: &Run) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = run
        .stdout
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    assert_eq!(
        lines.pop(),
        Some(vec![]),
        "the output ends with a line feed"
    );
    lines.sort_unstable();
    lines
}

fn sorted(lines: &[String]) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = lines.iter().map(|line| line.clone().into_bytes()).collect();
    lines.sort_unstable();
    lines
}

/// All messages of a topic as sorted lines; fails when there are fewer or more than `count`.
async fn read_back(server: &Served, topic: &str, count: usize) -> Vec<Vec<u8>> {
    let all = (count + 1).to_string();
    let run = server
        .run(&[
            "consume", topic, "--output", "raw", "--count", &all, "--wait", "1s",
        ])
        .await
        .ok();
    let lines = sorted_lines(&run);
    assert_eq!(lines.len(), count, "{}", run.stderr);
    lines
}

#[tokio::test]
async fn a_large_file_in_each_mode() {
    let lines = corpus::lines(LINES);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("corpus.txt");
    std::fs::write(&path, corpus::file(&lines)).unwrap();
    let path = path.to_str().unwrap();
    let expected = sorted(&lines);

    let server = Served::temp().await;
    for mode in ["sync", "async", "oneway"] {
        let sent = server
            .run(&["send", mode, "--file", path, "--mode", mode])
            .await
            .ok();
        assert!(
            sent.stdout.is_empty(),
            "{mode}: text output of many messages is the summary on stderr"
        );
        assert!(
            sent.stderr
                .contains(&format!("{LINES} messages sent to {mode}")),
            "{mode}: {}",
            sent.stderr
        );
        assert!(
            read_back(&server, mode, LINES).await == expected,
            "{mode}: what was read differs from what was sent"
        );
    }
}

#[tokio::test]
async fn jsonl_of_consume_is_input_of_send() {
    let server = Served::temp().await;
    let mut lines = corpus::lines(1_000);
    let sent = server
        .run_with_input(
            &[
                "send",
                "A",
                "--stdin",
                "--tag",
                "t1",
                "--key",
                "k1",
                "--key",
                "k2",
                "--property",
                "region=eu=west",
            ],
            corpus::file(&lines).as_bytes(),
        )
        .await
        .ok();
    assert!(sent.stderr.contains("all acknowledged"), "{}", sent.stderr);
    let printed = server
        .run(&["consume", "A", "--output", "jsonl", "--count", "1000"])
        .await
        .ok();

    let first = &printed.jsonl()[0];
    let keys: Vec<_> = first
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected_keys = vec![
        "topic",
        "broker",
        "queue_id",
        "queue_offset",
        "commit_log_offset",
        "msg_id",
        "offset_msg_id",
        "tags",
        "keys",
        "properties",
        "body",
        "born_ms",
        "store_ms",
        "reconsume_times",
    ];
    expected_keys.sort_unstable();
    assert_eq!(sorted_strs(keys), expected_keys);
    assert_eq!(first["topic"], "A");
    assert_eq!(first["broker"], "broker-a");
    assert_eq!(first["tags"], "t1");
    assert_eq!(first["keys"], "k1 k2");
    assert_eq!(first["properties"]["region"], "eu=west");

    let copied = server
        .run_with_input(
            &[
                "send", "B", "--stdin", "--format", "jsonl", "--output", "jsonl",
            ],
            &printed.stdout,
        )
        .await
        .ok();
    let results = copied.jsonl();
    assert_eq!(results.len(), 1_000);
    assert!(
        results
            .iter()
            .all(|result| result["topic"] == "B" && result["status"] == "SEND_OK")
    );

    let again = server
        .run(&["consume", "B", "--output", "jsonl", "--count", "1000"])
        .await
        .ok()
        .jsonl();
    let essence = |message: &Value| {
        (
            message["body"].to_string(),
            message["tags"].to_string(),
            message["keys"].to_string(),
            message["properties"]["region"].to_string(),
        )
    };
    let mut before: Vec<_> = printed.jsonl().iter().map(essence).collect();
    let mut after: Vec<_> = again.iter().map(essence).collect();
    before.sort_unstable();
    after.sort_unstable();
    assert!(before == after, "the copy differs");
    lines.sort_unstable();
    let mut bodies: Vec<_> = again
        .iter()
        .map(|message| message["body"].as_str().unwrap().to_owned())
        .collect();
    bodies.sort_unstable();
    assert!(bodies == lines, "bodies differ from the input");
    // New messages, not the old ones again.
    let ids = |messages: &[Value]| {
        messages
            .iter()
            .map(|m| m["msg_id"].to_string())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert!(ids(&again).is_disjoint(&ids(&printed.jsonl())));
}

fn sorted_strs(mut strs: Vec<&str>) -> Vec<&str> {
    strs.sort_unstable();
    strs
}

#[tokio::test]
async fn bytes_that_are_not_text_survive() {
    let server = Served::temp().await;
    let input = b"\xff\xfe\x00\x80\nplain\n";
    server
        .run_with_input(&["send", "Bytes", "--stdin"], input)
        .await
        .ok();
    let printed = server
        .run(&["consume", "Bytes", "--output", "jsonl", "--count", "2"])
        .await
        .ok();
    let encoded: Vec<_> = printed
        .jsonl()
        .iter()
        .filter_map(|m| m.get("body_base64").cloned())
        .collect();
    assert_eq!(encoded, [json!("//4AgA==")]);
    server
        .run_with_input(
            &["send", "Copy", "--stdin", "--format", "jsonl"],
            &printed.stdout,
        )
        .await
        .ok();
    let raw = server
        .run(&["consume", "Copy", "--output", "raw", "--count", "2"])
        .await
        .ok();
    assert_eq!(
        sorted_lines(&raw),
        [b"plain".to_vec(), b"\xff\xfe\x00\x80".to_vec()]
    );
}

#[tokio::test]
async fn raw_is_one_message_and_empty_lines_are_none() {
    let server = Served::temp().await;
    let text = b"one\n\ntwo\n\n\n";
    server
        .run_with_input(&["send", "Whole", "--stdin", "--format", "raw"], text)
        .await
        .ok();
    let whole = server
        .run(&["consume", "Whole", "--output", "raw", "--count", "1"])
        .await
        .ok();
    assert_eq!(whole.stdout, [&text[..], b"\n"].concat());

    let sent = server
        .run_with_input(&["send", "Lines", "--stdin"], text)
        .await
        .ok();
    assert!(
        sent.stderr.contains("2 messages sent to Lines"),
        "{}",
        sent.stderr
    );
    assert!(
        sent.stderr.contains("3 empty lines skipped"),
        "{}",
        sent.stderr
    );
    assert_eq!(
        read_back(&server, "Lines", 2).await,
        [b"one".to_vec(), b"two".to_vec()]
    );
}

#[tokio::test]
async fn one_body_and_its_result() {
    let server = Served::temp().await;
    let text = server
        .run(&["send", "One", "hello", "--queue", "broker-a:0"])
        .await
        .ok()
        .text();
    assert!(
        text.starts_with("SEND_OK  topic=One queue=broker-a:0 offset=0 msg_id="),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);

    let json = server
        .run(&[
            "send",
            "One",
            "hello",
            "--queue",
            "broker-a:0",
            "--output",
            "json",
        ])
        .await
        .ok()
        .json();
    let result = &json[0];
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(result["queue_offset"], 1);
    assert_eq!(
        (&result["status"], &result["broker"], &result["queue_id"]),
        (&json!("SEND_OK"), &json!("broker-a"), &json!(0))
    );

    let many = server
        .run(&[
            "send",
            "One",
            "hello",
            "--queue",
            "broker-a:0",
            "--count",
            "3",
            "--output",
            "jsonl",
        ])
        .await
        .ok();
    let mut offsets: Vec<_> = many
        .jsonl()
        .iter()
        .map(|r| r["queue_offset"].as_i64().unwrap())
        .collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [2, 3, 4]);

    let found = server
        .run(&[
            "consume", "One", "--output", "jsonl", "--count", "1", "--from", "offset:1",
        ])
        .await
        .ok()
        .jsonl();
    assert_eq!(found[0]["msg_id"], result["msg_id"]);
    assert_eq!(found[0]["offset_msg_id"], result["offset_msg_id"]);
}

#[tokio::test]
async fn every_codec_comes_back_plain() {
    let server = Served::temp().await;
    let body = "compressible ".repeat(2_000);
    for codec in ["zlib", "lz4", "zstd", "none"] {
        server
            .run(&["send", codec, &body, "--compress", codec])
            .await
            .ok();
        let raw = server
            .run(&["consume", codec, "--output", "raw", "--count", "1"])
            .await
            .ok();
        assert_eq!(raw.text().trim_end_matches('\n'), body, "{codec}");
    }
}

#[tokio::test]
async fn a_group_goes_on_where_it_stopped() {
    let server = Served::temp().await;
    server
        .run(&[
            "send",
            "Work",
            "job",
            "--count",
            "10",
            "--queue",
            "broker-a:0",
        ])
        .await
        .ok();
    let offsets = |run: Run| {
        run.jsonl()
            .iter()
            .map(|m| m["queue_offset"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    let group = [
        "consume", "Work", "--group", "workers", "--output", "jsonl", "--wait", "1s",
    ];
    let first = server
        .run(&[&group[..], &["--count", "4"]].concat())
        .await
        .ok();
    assert_eq!(offsets(first), [0, 1, 2, 3]);
    let rest = server.run(&group).await.ok();
    assert_eq!(offsets(rest), [4, 5, 6, 7, 8, 9]);
    let looking = server
        .run(&["consume", "Work", "--output", "jsonl", "--count", "10"])
        .await
        .ok();
    assert_eq!(
        offsets(looking).len(),
        10,
        "reading without a group is not affected by groups"
    );
    let explicit = server
        .run(&[&group[..], &["--from", "offset:8"]].concat())
        .await
        .ok();
    assert_eq!(offsets(explicit), [8, 9]);
}

#[tokio::test]
async fn reading_without_waiting_takes_all_that_is_there() {
    let server = Served::temp().await;
    let args = ["consume", "Now", "--wait", "0s", "--output", "raw"];
    server.run(&["topic", "create", "Now"]).await.ok();
    assert_eq!(server.run(&args).await.ok().text(), "");
    server
        .run(&["send", "Now", "x", "--count", "3000"])
        .await
        .ok();
    assert_eq!(server.run(&args).await.ok().text(), "x\n".repeat(3000));
    let last = server
        .run(&[&args[..], &["--from", "last"]].concat())
        .await
        .ok();
    assert_eq!(last.text(), "");
}

#[tokio::test]
async fn topics_of_lines_are_honoured() {
    let server = Served::temp().await;
    let input = br#"{"topic":"Left","body":"l"}
{"body":"d","tag":"own","keys":"a b","properties":{"n":1}}
"#;
    server
        .run_with_input(
            &[
                "send",
                "Default",
                "--stdin",
                "--format",
                "jsonl",
                "--tag",
                "given",
                "--property",
                "n=0",
            ],
            input,
        )
        .await
        .ok();
    let left = server
        .run(&["consume", "Left", "--output", "jsonl", "--count", "1"])
        .await
        .ok()
        .jsonl();
    assert_eq!(
        (
            &left[0]["body"],
            &left[0]["tags"],
            &left[0]["properties"]["n"]
        ),
        (&json!("l"), &json!("given"), &json!("0"))
    );
    let default = server
        .run(&["consume", "Default", "--output", "jsonl", "--count", "1"])
        .await
        .ok()
        .jsonl();
    assert_eq!(
        (
            &default[0]["tags"],
            &default[0]["keys"],
            &default[0]["properties"]["n"]
        ),
        (&json!("own"), &json!("a b"), &json!("1"))
    );
}

#[tokio::test]
async fn bad_lines_fail_by_name_and_the_good_ones_go_out() {
    let server = Served::temp().await;
    let input = b"{\"body\":\"good\"}\n{\"bdy\":\"bad\"}\nnonsense\n";
    let run = server
        .run_with_input(
            &[
                "send", "Mixed", "--stdin", "--format", "jsonl", "--output", "jsonl",
            ],
            input,
        )
        .await
        .fails_with(
            1,
            &[
                "2 of 3 messages failed",
                "2 x, first in line 2",
                "unknown field `bdy`",
            ],
        );
    let failed: Vec<_> = run
        .jsonl()
        .iter()
        .filter(|r| r.get("error").is_some())
        .map(|r| r["line"].clone())
        .collect();
    assert_eq!(failed, [json!(2), json!(3)]);
    assert_eq!(
        run.jsonl()
            .iter()
            .filter(|r| r["status"] == "SEND_OK")
            .count(),
        1
    );
}

#[tokio::test]
async fn environment_names_the_name_server() {
    let server = Served::temp().await;
    let mut command = crate::support::command(&["send", "Env", "hello"]);
    command.env("NAMESRV_ADDR", &server.namesrv);
    crate::support::run_command(command, b"").await.ok();
    let mut command = crate::support::command(&[
        "consume",
        "Env",
        "--count",
        "1",
        "--output",
        "raw",
        "--namesrv",
        &server.namesrv,
    ]);
    command.env("NAMESRV_ADDR", crate::support::closed_address());
    assert_eq!(
        crate::support::run_command(command, b"").await.ok().text(),
        "hello\n"
    );
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let server = Served::temp().await;
    server
        .run(&["send", "Pipe", "x", "--count", "2000"])
        .await
        .ok();
    let mut child = crate::support::command(&[
        "consume",
        "Pipe",
        "--namesrv",
        &server.namesrv,
        "--wait",
        "forever",
    ])
    .spawn()
    .unwrap();
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line)
        .await
        .unwrap();
    assert!(line.contains("broker-a:"), "{line}");
    drop(stdout);
    // The next message meets a closed pipe.
    server
        .run(&["send", "Pipe", "x", "--count", "20000"])
        .await
        .ok();
    let output = tokio::time::timeout(crate::support::DEADLINE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test]
async fn usage_is_told_from_failure() {
    run_with_input(&["send", "T"], b"")
        .await
        .fails_with(2, &["required"]);
    run_with_input(&["frobnicate"], b"")
        .await
        .fails_with(2, &["unrecognized subcommand"]);
    run_with_input(&["send", "T", "x", "--property", "UNIQ_KEY=1"], b"")
        .await
        .fails_with(2, &["reserved"]);
    run_with_input(&["send", "T", "--file", "/does/not/exist"], b"")
        .await
        .fails_with(1, &["/does/not/exist"]);
    let help = run_with_input(&["--help"], b"").await.ok();
    assert!(help.text().contains("rocketry quickstart"));
}
