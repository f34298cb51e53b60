//! `consume`: whose time it shows, what it commits and when, and what it outlasts.

use std::{fs::OpenOptions, os::unix::fs::FileExt, path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStdout},
    time::{sleep, timeout},
};

use crate::support::{DEADLINE, Run, Served, command, run_command};

/// A `consume --output raw` that runs on.
struct Consuming {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Consuming {
    fn start(server: &Served, args: &[&str]) -> Self {
        let start = ["consume", "--output", "raw", "--namesrv", &server.namesrv];
        let mut child = command(&[&start, args].concat()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = timeout(DEADLINE, self.stdout.read_line(&mut line)).await;
        read.expect("no message comes").unwrap();
        line
    }

    /// What it says on stderr until it is ended by `signal`, in order.
    async fn end_by(mut self, signal: Signal) -> String {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        let status = timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap();
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).await.unwrap();
        assert_eq!(status.code(), Some(0), "{stderr}");
        stderr
    }
}

/// What a group is given when it goes on, up to what is there.
async fn rest_of(server: &Served, group: &str) -> String {
    let rest = ["consume", "T", "--output", "raw", "--wait", "0s", "--group"];
    server
        .run(&[&rest[..], &[group]].concat())
        .await
        .ok()
        .text()
}

async fn run_in_zone(server: &Served, zone: &str, args: &[&str]) -> Run {
    let namesrv = ["--namesrv", &server.namesrv];
    let mut command = command(&[args, &namesrv].concat());
    command.env("TZ", zone);
    run_command(command, b"").await.ok()
}

#[tokio::test]
async fn times_are_those_of_the_zone_that_tz_names() {
    let server = Served::temp().await;
    server.run(&["send", "T", "x"]).await.ok();
    let one = ["consume", "T", "-n", "1", "--wait", "0s"];
    let exact = server.run(&[&one[..], &["-o", "jsonl"]].concat()).await;
    let hours = exact.jsonl()[0]["store_ms"].as_i64().unwrap() / 3_600_000;

    let unknown = run_in_zone(&server, "Mars/Phobos", &one).await;
    assert!(unknown.stderr.contains("TZ=Mars/Phobos"), "{unknown:?}");
    assert_eq!(unknown.text()[11..13], format!("{:02}", hours % 24));

    if !Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
        return;
    }
    let tokyo = run_in_zone(&server, "Asia/Tokyo", &one).await;
    assert!(!tokyo.stderr.contains("TZ="), "{tokyo:?}");
    assert_eq!(tokyo.text()[11..13], format!("{:02}", (hours + 9) % 24));
    // What is shown is what is understood.
    let from = format!("time:{}", &tokyo.text()[..23]);
    let from = [&one[..], &["--from", &from]].concat();
    let again = run_in_zone(&server, "Asia/Tokyo", &from).await;
    assert_eq!(again.text(), tokyo.text());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_was_not_written_is_not_committed() {
    let server = Served::temp().await;
    let sent = ["send", "T", "x", "--count", "32", "--queue", "broker-a:0"];
    server.run(&sent).await.ok();
    for (group, end) in [("all", ["--wait", "0s"]), ("some", ["--count", "5"])] {
        let consume = [
            "consume",
            "T",
            "--group",
            group,
            "--namesrv",
            &server.namesrv,
        ];
        let mut full = command(&[&consume[..], &end].concat());
        let device = OpenOptions::new().write(true).open("/dev/full").unwrap();
        full.stdout(Stdio::from(device));
        run_command(full, b"")
            .await
            .fails_with(1, &["cannot write to stdout"]);
        assert_eq!(rest_of(&server, group).await, "x\n".repeat(32), "{group}");
    }
}

#[tokio::test]
async fn a_consumer_that_waits_has_committed_what_it_wrote() {
    let server = Served::temp().await;
    server.run(&["send", "T", "one"]).await.ok();
    let mut consuming = Consuming::start(&server, &["T", "--group", "g", "--wait", "forever"]);
    assert_eq!(consuming.line().await, "one\n");
    let progress = ["group", "progress", "g", "--output", "json"];
    let is_committed = async || {
        let progress = server.run(&progress).await.ok().json();
        progress["lag"] == 0 && progress["queues"] != json!([])
    };
    let committed = async {
        while !is_committed().await {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(Duration::from_secs(30), committed)
        .await
        .expect("nothing is committed");

    server.run(&["send", "T", "two"]).await.ok();
    assert_eq!(consuming.line().await, "two\n");
    let stderr = consuming.end_by(Signal::TERM).await;
    assert!(stderr.contains("2 messages of T; interrupted"), "{stderr}");
    assert_eq!(rest_of(&server, "g").await, "");
}

#[tokio::test]
async fn what_cannot_be_handed_out_is_not_waited_for_and_passed() {
    let directory = tempfile::tempdir().unwrap();
    let server = Served::start(&["--data", directory.path().to_str().unwrap()]).await;
    server
        .run(&["send", "T", "x", "--compress", "zlib"])
        .await
        .ok();
    // The first record's body, which does not decompress from now on.
    let log = directory.path().join("commitlog/00000000000000000000");
    let log = OpenOptions::new().write(true).open(log).unwrap();
    log.write_all_at(&[0; 4], 88).unwrap();

    let consume = ["consume", "T", "--group", "g", "--wait", "0s"];
    let consumed = server.run(&consume).await.ok();
    assert_eq!(consumed.stderr, "0 messages of T\n");
    let progress = ["group", "progress", "g", "--output", "json"];
    let progress = server.run(&progress).await.ok().json();
    assert_eq!(progress["lag"], 0, "{progress}");
    assert_ne!(progress["queues"], json!([]), "{progress}");
}

#[tokio::test]
async fn waiting_forever_outlasts_a_restart_of_the_broker() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let server = Served::start(&["--data", data]).await;
    server.run(&["send", "T", "before"]).await.ok();
    let mut consuming = Consuming::start(&server, &["T", "--group", "g", "--wait", "forever"]);
    assert_eq!(consuming.line().await, "before\n");

    let port = |address: &str| address.rsplit_once(':').unwrap().1.to_owned();
    let (namesrv, broker) = (port(&server.namesrv), port(&server.broker));
    let again = [
        "serve",
        "--data",
        data,
        "--namesrv-port",
        &namesrv,
        "--broker-port",
        &broker,
    ];
    server.stop().await;
    let mut stderr = BufReader::new(consuming.child.stderr.as_mut().unwrap());
    let mut said = String::new();
    let read = timeout(DEADLINE, stderr.read_line(&mut said)).await;
    read.expect("the outage is not told").unwrap();
    assert!(said.ends_with("; still trying\n"), "{said}");

    let server = Served::start_command(command(&again)).await;
    server.run(&["send", "T", "after"]).await.ok();
    assert_eq!(consuming.line().await, "after\n");
    let stderr = consuming.end_by(Signal::INT).await;
    assert!(stderr.contains("2 messages of T; interrupted"), "{stderr}");
    assert!(!stderr.contains("still trying"), "said again: {stderr}");
    assert_eq!(rest_of(&server, "g").await, "");

    // A topic that is gone does not come back by itself.
    let mut consuming = Consuming::start(&server, &["T", "--wait", "forever"]);
    consuming.line().await;
    server.run(&["topic", "delete", "T", "--yes"]).await.ok();
    let status = timeout(DEADLINE, consuming.child.wait()).await.unwrap();
    assert_eq!(status.unwrap().code(), Some(1));
}
