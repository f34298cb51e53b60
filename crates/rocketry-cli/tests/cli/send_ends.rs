//! How `send` ends before its input does.

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    time::{Instant, sleep, timeout},
};

use crate::support::{DEADLINE, Served, command};

/// The first signal waits for what is in flight, which takes ten minutes here; the next one does not.
#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let server = Served::temp().await;
    for signal in [Signal::INT, Signal::TERM] {
        let args = ["--stdin", "--timeout", "600s", "--output", "jsonl"];
        let start = ["send", "T", "--namesrv", &server.namesrv];
        let mut command = command(&[&start[..], &args].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut result = String::new();
        stdin.write_all(b"one\n").await.unwrap();
        let read = timeout(DEADLINE, stdout.read_line(&mut result)).await;
        read.unwrap().unwrap();
        assert!(result.contains("SEND_OK"), "{result}");

        server.signal(Signal::STOP);
        stdin.write_all(b"two\n").await.unwrap();
        // If this were too short, the first signal would do.
        sleep(Duration::from_millis(500)).await;
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        let start = Instant::now();
        let status = loop {
            kill_process(pid, signal).unwrap();
            if let Ok(status) = timeout(Duration::from_millis(200), child.wait()).await {
                break status.unwrap();
            }
            assert!(start.elapsed() < DEADLINE, "{signal:?} does not end it");
        };
        assert_eq!(status.code(), Some(1), "{signal:?}");
        server.signal(Signal::CONT);
    }
}

#[tokio::test]
async fn an_input_that_cannot_be_read_is_no_success() {
    let server = Served::temp().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let sent = server.run(&["send", "T", "--file", path]).await;
    let sent = sent.fails_with(1, &[path]);
    assert!(sent.stderr.starts_with("error: "), "{}", sent.stderr);
    let nothing = server.run_with_input(&["send", "T", "--stdin"], b"").await;
    let nothing = nothing.ok().stderr;
    assert!(nothing.starts_with("0 messages sent to T"), "{nothing}");
    assert!(!nothing.contains("acknowledged"), "{nothing}");
}
