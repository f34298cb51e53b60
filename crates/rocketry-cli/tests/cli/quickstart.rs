//! The first command of the README.

use crate::support::run;

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
