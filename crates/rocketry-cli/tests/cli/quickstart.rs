//! The first command of the README.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

use crate::support::{DEADLINE, command, run};

#[tokio::test]
async fn three_modes_are_sent_and_read_back() {
    let run = run(&["quickstart", "--count", "300", "--size", "200"])
        .await
        .ok();
    let table: Vec<Vec<String>> = run
        .text()
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|c| !c.is_empty())
                .map(str::to_owned)
                .collect()
        })
        .collect();
    assert_eq!(
        table[0],
        [
            "MODE",
            "SENT",
            "ACKNOWLEDGED",
            "READ BACK",
            "MSGS/S",
            "P50",
            "P99"
        ]
    );
    for (row, mode, acknowledged) in [
        (1, "sync", "300"),
        (2, "async", "300"),
        (3, "oneway", "n/a"),
    ] {
        assert_eq!(
            table[row][..4],
            [mode, "300", acknowledged, "300"],
            "{}",
            run.text()
        );
        assert_eq!(table[row].len(), 7, "{}", run.text());
    }
    assert!(
        run.stderr.contains("All 900 messages were read back"),
        "{}",
        run.stderr
    );
    // a program that is on no search path is named as it was called
    let next = format!("{} send Greetings hello", env!("CARGO_BIN_EXE_rocketry"));
    assert!(run.stderr.contains(&next), "{}", run.stderr);
}

#[tokio::test]
async fn bodies_may_be_as_small_as_their_number() {
    run(&["quickstart", "--count", "1", "--size", "1"])
        .await
        .ok();
}

/// Where the server keeps its data, as the first line on stderr says.
fn data_of(line: &str) -> &Path {
    let (_, rest) = line.split_once(", data in ").unwrap();
    Path::new(rest.split_once(", ready after").unwrap().0)
}

#[tokio::test]
async fn an_interrupted_tour_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = command(&["quickstart", "--count", "10000000"])
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let read = timeout(DEADLINE, stderr.read_line(&mut line)).await;
        read.unwrap().unwrap();
        assert!(data_of(&line).exists(), "{line}");
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        let status = timeout(DEADLINE, child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(1), "{signal:?}");
        assert!(!data_of(&line).exists(), "{line}");
    }
}

#[tokio::test]
async fn a_send_that_fails_is_told_as_it_is() {
    let run = run(&["quickstart", "--count", "2", "--size", "5MiB"])
        .await
        .fails_with(1, &["2 of 2 sends failed in mode sync", "5242880"]);
    assert!(!run.stderr.contains("does not exist"), "{}", run.stderr);
    assert!(!data_of(run.stderr.lines().next().unwrap()).exists());
}
