//! The errors a beginner meets: each says what was tried, where, for how long, and what to do. Exit code 1, text on stderr.

use crate::{
    fake_name_server::{FakeNameServer, Silent},
    support::{Run, Served, closed_address, run},
};

/// Nothing on stdout, one line that starts with `error:`, and a hint.
#[track_caller]
fn teaches(run: Run, texts: &[&str]) {
    let run = run.fails_with(1, texts);
    assert_eq!(run.text(), "", "errors go to stderr");
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    assert!(run.stderr.contains("\nhint: "), "no hint: {}", run.stderr);
}

#[tokio::test]
async fn name_server_is_not_running() {
    let nobody = closed_address();
    for args in [
        &["send", "T", "hello"][..],
        &["consume", "T"],
        &["topic", "list"],
        &["topic", "stats", "T"],
        &["bench", "produce", "T"],
    ] {
        let run = run(&[args, &["--namesrv", &nobody]].concat()).await;
        teaches(
            run,
            &["name server", &nobody, "refused", " ms", "rocketry serve"],
        );
    }
}

#[tokio::test]
async fn no_broker_is_registered() {
    let name_server = FakeNameServer::empty();
    let run = run(&[
        "send",
        "Orders",
        "hello",
        "--namesrv",
        &name_server.address(),
    ])
    .await;
    teaches(run, &["Orders", &name_server.address(), "broker"]);
}

#[tokio::test]
async fn broker_is_not_running() {
    let broker = closed_address();
    let name_server = FakeNameServer::routing_to(&broker);
    let send = run(&[
        "send",
        "Orders",
        "hello",
        "--namesrv",
        &name_server.address(),
    ])
    .await;
    teaches(
        send,
        &["Orders", "broker-a", &broker, "refused", " of 3.0 s"],
    );
    let consume = run(&["consume", "Orders", "--namesrv", &name_server.address()]).await;
    teaches(consume, &["Orders", "broker-a", &broker, "refused"]);
}

#[tokio::test]
async fn attempts_are_listed_on_demand() {
    let broker = closed_address();
    let name_server = FakeNameServer::routing_to(&broker);
    let quiet = run(&["send", "T", "hello", "--namesrv", &name_server.address()]).await;
    let verbose = run(&[
        "send",
        "T",
        "hello",
        "-v",
        "--namesrv",
        &name_server.address(),
    ])
    .await;
    let attempts = |run: &Run| {
        run.stderr
            .lines()
            .filter(|line| line.contains("connect") && line.contains(" queue "))
            .count()
    };
    assert_eq!(attempts(&quiet), 0, "{}", quiet.stderr);
    assert!(attempts(&verbose) >= 1, "{}", verbose.stderr);
}

#[tokio::test]
async fn route_points_to_an_unreachable_address() {
    // TEST-NET-1 (RFC 5737): no machine has it, so that connecting fails at once or not at all, as the network has it.
    let name_server = FakeNameServer::routing_to("192.0.2.1:10911");
    let run = run(&[
        "send",
        "Orders",
        "hello",
        "--timeout",
        "700ms",
        "--namesrv",
        &name_server.address(),
    ])
    .await;
    teaches(
        run,
        &["Orders", "broker-a", "192.0.2.1:10911", " of 700 ms"],
    );
}

#[tokio::test]
async fn topic_is_missing_and_not_created() {
    let server = Served::start(&["--temp", "--auto-create-topics", "false"]).await;
    let send = server.run(&["send", "Missing", "hello"]).await;
    teaches(send, &["Missing", "rocketry topic create Missing"]);
    let consume = server.run(&["consume", "Missing"]).await;
    teaches(consume, &["Missing"]);
    server.run(&["topic", "create", "Missing"]).await.ok();
    server.run(&["send", "Missing", "hello"]).await.ok();
}

#[tokio::test]
async fn topic_is_invalid() {
    let server = Served::temp().await;
    for topic in ["has blank", "ümlaut", "a/b", &"x".repeat(128), ""] {
        let run = server
            .run(&["send", topic, "hello"])
            .await
            .fails_with(1, &["topic"]);
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
        server
            .run(&["consume", topic])
            .await
            .fails_with(1, &["topic"]);
    }
    server
        .run(&["send", "SCHEDULE_TOPIC_XXXX", "hello"])
        .await
        .fails_with(1, &["SCHEDULE_TOPIC_XXXX"]);
}

#[tokio::test]
async fn body_is_empty() {
    let server = Served::temp().await;
    server
        .run(&["send", "T", ""])
        .await
        .fails_with(1, &["T", "body", "empty"]);
    server
        .run_with_input(&["send", "T", "--stdin", "--format", "raw"], b"")
        .await
        .fails_with(1, &["body", "empty"]);
    server
        .run_with_input(&["send", "T", "--stdin"], b"")
        .await
        .ok();
}

#[tokio::test]
async fn body_is_too_large() {
    let server = Served::temp().await;
    let limit = 4 * 1024 * 1024;
    let run = server
        .run_with_input(
            &[
                "send",
                "T",
                "--stdin",
                "--format",
                "raw",
                "--compress",
                "none",
            ],
            &vec![b'x'; limit + 1],
        )
        .await;
    run.fails_with(1, &["body", "4194305", "4194304"]);
    server
        .run_with_input(
            &[
                "send",
                "T",
                "--stdin",
                "--format",
                "raw",
                "--compress",
                "none",
            ],
            &vec![b'x'; limit],
        )
        .await
        .ok();
    let beyond = server
        .run_with_input(&["send", "T", "--stdin"], &vec![b'x'; 33 * 1024 * 1024])
        .await;
    beyond.fails_with(1, &["34603008 bytes", "more than any message can have"]);
}

#[tokio::test]
async fn nobody_answers() {
    let silent = Silent::start().await;
    let name_server = run(&[
        "send",
        "T",
        "hello",
        "--timeout",
        "500ms",
        "--namesrv",
        &silent.address(),
    ])
    .await;
    teaches(name_server, &["name server", &silent.address(), "500 ms"]);

    let routes = FakeNameServer::routing_to(&silent.address());
    let broker = run(&[
        "send",
        "T",
        "hello",
        "--timeout",
        "500ms",
        "--namesrv",
        &routes.address(),
    ])
    .await;
    teaches(
        broker,
        &[
            "T",
            "broker-a",
            &silent.address(),
            " of 500 ms",
            "may be stored",
        ],
    );
}

#[tokio::test]
async fn address_is_nonsense() {
    for address in ["localhost:notaport", "::1:9876:x", ";"] {
        run(&["send", "T", "hello", "--namesrv", address])
            .await
            .fails_with(1, &["name server"]);
    }
    run(&[
        "send",
        "T",
        "hello",
        "--namesrv",
        "no-such-host.invalid:9876",
    ])
    .await
    .fails_with(1, &["no-such-host.invalid"]);
}

#[tokio::test]
async fn a_long_input_is_given_up_when_nothing_goes_out() {
    let nobody = closed_address();
    let input = "line\n".repeat(5_000);
    let args = [
        "send",
        "T",
        "--stdin",
        "--mode",
        "sync",
        "--output",
        "jsonl",
        "--namesrv",
        &nobody,
    ];
    let run = crate::support::run_with_input(&args, input.as_bytes())
        .await
        .fails_with(1, &["--keep-going", &nobody]);
    let results = run.jsonl();
    assert_eq!(results.len(), 3);
    assert_eq!(results[0]["error"]["kind"], "NameServerUnreachable");
    assert_eq!(results[0]["error"]["maybe_stored"], false);

    // A batch that fails is one failure, whatever it holds.
    let args = [&args[..], &["--batch", "10"]].concat();
    let run = crate::support::run_with_input(&args, input.as_bytes()).await;
    let run = run.fails_with(1, &["--keep-going"]);
    assert_eq!(run.jsonl().len(), 30);
}
