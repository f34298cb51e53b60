//! `bench`: the figures are there, and they belong together.

use crate::support::{Served, run};

const KEYS: [&str; 17] = [
    "mode",
    "concurrency",
    "size_bytes",
    "sent",
    "failed",
    "seconds",
    "msgs_per_second",
    "mib_per_second",
    "p50_us",
    "p90_us",
    "p99_us",
    "p999_us",
    "max_us",
    "cpu_user_seconds",
    "cpu_system_seconds",
    "cpu_us_per_msg",
    "max_rss_bytes",
];

#[tokio::test]
async fn each_mode_reports_every_figure() {
    let server = Served::temp().await;
    for mode in ["sync", "async", "oneway"] {
        let args = [
            "bench",
            "produce",
            mode,
            "--mode",
            mode,
            "--count",
            "500",
            "--warmup",
            "100",
            "--concurrency",
            "8",
            "--size",
            "200",
        ];
        let json = server
            .run(&[&args[..], &["--output", "json"]].concat())
            .await
            .ok()
            .json();
        for key in KEYS {
            assert!(!json[key].is_null(), "{mode}: {key} is missing in {json}");
        }
        assert_eq!(
            (
                json["mode"].as_str(),
                json["sent"].as_u64(),
                json["failed"].as_u64()
            ),
            (Some(mode), Some(500), Some(0))
        );
        let figure = |key: &str| json[key].as_f64().unwrap();
        assert!(
            (figure("msgs_per_second") * figure("seconds") - 500.0).abs() < 1.0,
            "{json}"
        );
        assert!(
            figure("p50_us") <= figure("p99_us") && figure("p99_us") <= figure("max_us"),
            "{json}"
        );
        assert!(figure("cpu_us_per_msg") > 0.0, "{json}");
        // Warm-up messages are stored as well, but not counted.
        if mode != "oneway" {
            let stats = server
                .run(&["topic", "stats", mode, "--output", "json"])
                .await
                .ok()
                .json();
            assert_eq!(stats["messages"], 600, "{mode}");
        }
        let table = server.run(&args).await.ok().text();
        assert!(table.contains("CPU/message"), "{table}");
    }
}

#[tokio::test]
async fn open_loop_starts_messages_at_their_time() {
    let server = Served::temp().await;
    let args = [
        "bench",
        "produce",
        "Rate",
        "--rate",
        "400",
        "--duration",
        "1s",
        "--warmup",
        "10",
        "--output",
        "json",
    ];
    let json = server.run(&args).await.ok().json();
    assert_eq!(json["sent"], 400);
    let seconds = json["seconds"].as_f64().unwrap();
    assert!(
        seconds >= 0.99,
        "the last message starts a second after the first: {json}"
    );
}

#[tokio::test]
async fn compression_shows_in_what_is_stored() {
    let server = Served::temp().await;
    let args = [
        "bench",
        "produce",
        "Small",
        "--compress",
        "zlib",
        "--size",
        "8KiB",
        "--count",
        "10",
        "--warmup",
        "0",
    ];
    server.run(&args).await.ok();
    let found = server
        .run(&["consume", "Small", "--count", "10", "--output", "jsonl"])
        .await
        .ok()
        .jsonl();
    assert!(
        found
            .iter()
            .all(|message| message["body"].as_str().unwrap().len() == 8192)
    );
    let offsets: Vec<_> = found
        .iter()
        .map(|m| m["commit_log_offset"].as_i64().unwrap())
        .collect();
    let spread = offsets.iter().max().unwrap() - offsets.iter().min().unwrap();
    assert!(spread < 9 * 8192, "ten bodies lie within {spread} bytes");
}

#[tokio::test]
async fn startup_is_measured_from_outside() {
    let json = run(&[
        "bench", "startup", "--rounds", "2", "--idle", "10ms", "--output", "json",
    ])
    .await
    .ok()
    .json();
    assert_eq!(json["rounds"].as_array().unwrap().len(), 2);
    let median = |key: &str| json[key]["median"].as_f64().unwrap();
    assert!(
        median("ready_ms") > 0.0 && median("first_ack_ms") > 0.0,
        "{json}"
    );
    #[cfg(target_os = "linux")]
    assert!(median("idle_rss_bytes") > 0.0, "{json}");
    let table = run(&["bench", "startup", "--rounds", "1", "--idle", "1ms"])
        .await
        .ok()
        .text();
    assert!(
        table.contains("start to first acknowledged send"),
        "{table}"
    );
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_a_failure() {
    let nobody = crate::support::closed_address();
    run(&[
        "bench",
        "produce",
        "T",
        "--count",
        "1",
        "--namesrv",
        &nobody,
    ])
    .await
    .fails_with(1, &[&nobody]);
}

#[tokio::test]
async fn batches_and_topics_and_the_server_beside() {
    let server = Served::temp().await;
    let produce = async |more: &[&str]| {
        let args = ["bench", "produce", "Many", "--output", "json"];
        let json = server.run(&[&args[..], more].concat()).await.ok().json();
        assert_eq!(json["failed"], 0, "{json}");
        json
    };
    // Whole batches: 7 of 32 are the first that reach 200.
    let batches = produce(&["--batch", "32", "--count", "200", "--warmup", "0"]).await;
    assert_eq!(batches["sent"], 224);
    let gathered = produce(&["--auto-batch", "--count", "100", "--warmup", "20ms"]).await;
    assert_eq!(
        (&gathered["sent"], &gathered["auto_batch"]),
        (&100.into(), &true.into())
    );

    let pid = std::process::id().to_string();
    let spread = [
        "--topics", "3", "--count", "30", "--warmup", "0", "--watch", &pid,
    ];
    let spread = produce(&spread).await;
    assert!(spread["watched_cpu_seconds"].as_f64().is_some(), "{spread}");
    for topic in ["Many-0", "Many-1", "Many-2"] {
        let stats = ["topic", "stats", topic, "--output", "json"];
        assert_eq!(
            server.run(&stats).await.ok().json()["messages"],
            10,
            "{topic}"
        );
    }
    server
        .run(&[
            "bench",
            "produce",
            "Many",
            "--count",
            "1",
            "--watch",
            "999999999",
        ])
        .await
        .fails_with(1, &["--watch 999999999"]);
}

#[tokio::test]
async fn consuming_reads_a_topic_again_and_again() {
    let server = Served::temp().await;
    let fill = [
        "bench", "produce", "Full", "--count", "300", "--warmup", "0",
    ];
    server.run(&fill).await.ok();
    let consume = [
        "bench",
        "consume",
        "Full",
        "--duration",
        "1s",
        "--warmup",
        "10ms",
    ];
    let json = server
        .run(&[&consume[..], &["--output", "json"]].concat())
        .await
        .ok()
        .json();
    assert!(json["read"].as_u64().unwrap() >= 300, "{json}");
    assert!(json["cpu_us_per_msg"].as_f64().unwrap() > 0.0, "{json}");
    let table = server.run(&consume).await.ok().text();
    assert!(table.contains("MiB/s"), "{table}");
    server.run(&["topic", "create", "Empty"]).await.ok();
    server
        .run(&["bench", "consume", "Empty"])
        .await
        .fails_with(1, &["Empty holds no messages", "bench produce Empty"]);
}
