//! S-019: what the server takes on at once is bounded, and whoever exceeds a bound is told which one.

use std::{sync::Arc, time::Duration};

use rocketry_protocol::{
    RemotingCommand, RequestCode, frame,
    header::{PullMessageRequest, pull_sys_flag},
};
use rocketry_remoting::Unsupported;
use rocketry_server::{Server, ServerConfig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::common::request_to;
use crate::common::{Peer, Wire, pull, send};

async fn wire(limit: impl FnOnce(&mut ServerConfig)) -> Wire {
    let mut config = ServerConfig::temp();
    config.metrics_port = Some(0);
    limit(&mut config);
    Wire::with(config).await
}

fn peer(wire: &Wire) -> Peer {
    wire.join(Arc::new(Unsupported))
}

/// A pull that waits; its queue has one message.
fn waiting() -> PullMessageRequest<'static> {
    PullMessageRequest {
        sys_flag: pull_sys_flag::SUBSCRIPTION | pull_sys_flag::SUSPEND,
        suspend_timeout_millis: 60_000,
        ..pull("T", 0, 1)
    }
}

async fn parked(wire: &Wire, count: u32) {
    let end = tokio::time::Instant::now() + Duration::from_secs(50);
    loop {
        let pulls = metric(&wire.server, "rocketmq_processor_watermark", "pull").await;
        if (pulls - f64::from(count)).abs() < 0.5 {
            return;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "{pulls} pulls wait, not {count}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A value of the metrics page that is not older than a second.
pub(crate) async fn metric(server: &Server, name: &str, label: &str) -> f64 {
    let page = page(server).await;
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label))
        .unwrap_or_else(|| panic!("no {name} {label} in:\n{page}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

pub(crate) async fn page(server: &Server) -> String {
    let mut stream = TcpStream::connect(server.metrics_addr().unwrap())
        .await
        .unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    body.to_owned()
}

fn route() -> RemotingCommand {
    RemotingCommand::bare_request(RequestCode::GET_BROKER_CONFIG)
}

#[track_caller]
fn is_busy(response: &RemotingCommand, option: &str) {
    assert_eq!(response.code, 2, "{response:?}");
    let remark = response.remark.as_deref().unwrap();
    assert!(remark.contains(option), "{remark}");
}

#[tokio::test]
async fn s019_one_connection_too_many_is_told_so() {
    let wire = wire(|config| config.max_connections = 2).await;
    let (first, second, third) = (peer(&wire), peer(&wire), peer(&wire));
    assert_eq!(first.call(route()).await.code, 0);
    assert_eq!(second.call(route()).await.code, 0);
    is_busy(&third.call(route()).await, "--max-connections");
    let refused = metric(&wire.server, "rocketry_connections_refused_total", "broker").await;
    assert!(refused >= 1.0);
    first.leave().await;
    // The place is free as soon as the server has seen the end.
    let admitted = async {
        while peer(&wire).call(route()).await.code != 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), admitted)
        .await
        .unwrap();
}

#[tokio::test]
async fn s019_requests_under_way_are_bounded_for_all_and_for_each() {
    for (all, each, option) in [
        (3, 100, "--max-in-flight)"),
        (100, 3, "--max-in-flight-of-connection)"),
    ] {
        let wire = wire(|config| {
            config.max_in_flight = all;
            config.max_in_flight_of_connection = each;
        })
        .await;
        wire.put("T", 0, "", "x").await;
        let busy = Arc::new(peer(&wire));
        let pulls: Vec<_> = (0..3)
            .map(|_| {
                let busy = Arc::clone(&busy);
                tokio::spawn(async move {
                    loop {
                        let answer = busy.call(RemotingCommand::request(&waiting())).await;
                        // the send before may still count
                        if answer.code != 2 {
                            return answer;
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                })
            })
            .collect();
        parked(&wire, 3).await;
        is_busy(&busy.call(route()).await, option);
        let other = peer(&wire).call(route()).await;
        assert_eq!(other.code, if all == 3 { 2 } else { 0 });
        let limit = if all == 3 {
            "\"in_flight\""
        } else {
            "of_connection"
        };
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert!(metric(&wire.server, "rocketry_requests_refused_total", limit).await >= 1.0);
        // What waits is not lost by it.
        if all != 3 {
            wire.put("T", 0, "", "y").await;
            for pull in pulls {
                assert_eq!(pull.await.unwrap().code, 0);
            }
            assert_eq!(busy.call(route()).await.code, 0);
        }
    }
}

#[tokio::test]
async fn s019_pulls_beyond_their_memory_do_not_wait() {
    let wire = wire(|config| config.max_waiting_pull_bytes = 10).await;
    wire.put("T", 0, "", "x").await;
    assert_eq!(wire.ask_broker(&waiting()).await.code, 19);
}

/// Answers that nobody reads are bounded for all clients together; sends, whose answers are short, go on.
#[tokio::test]
async fn s019_answers_that_nobody_reads_are_bounded() {
    let wire = wire(|config| config.max_response_bytes = 2 * 1024 * 1024).await;
    for _ in 0..8 {
        wire.put("T", 0, "", &"x".repeat(200_000)).await;
    }
    // Each connection may queue some MiB; together they exceed the bound.
    let mut frames = bytes::BytesMut::new();
    for opaque in 0..200 {
        let mut command = RemotingCommand::request(&pull("T", 0, 0));
        command.opaque = opaque;
        command.encode(&mut frames).unwrap();
    }
    let mut deaf = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(wire.server.broker_addr()).await.unwrap();
        stream.write_all(&frames).await.unwrap();
        deaf.push(stream);
    }
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while metric(&wire.server, "rocketry_requests_refused_total", "queued").await < 1.0 {
        assert!(tokio::time::Instant::now() < end, "nothing was refused");
        // Whoever reads is served.
        assert_eq!(wire.ask_broker(&pull("T", 0, 0)).await.code, 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(wire.ask_broker(&pull("T", 0, 0)).await.code, 0);
    let sent = wire.broker(send(&request_to("T"), "y")).await;
    assert_eq!(sent.code, 0, "{:?}", sent.remark);
    let queued = metric(&wire.server, "rocketry_response_bytes_queued", "").await;
    assert!(queued < 8e6, "{queued}");

    // Those that wake up read why. They do not say that they are done before: what is queued then would be dropped.
    let mut refused = 0;
    for mut stream in deaf {
        let mut arrived = bytes::BytesMut::new();
        let answers = async {
            let mut answers = 0;
            while answers < 200 {
                match frame::split(&mut arrived, frame::MAX_FRAME_BYTES).unwrap() {
                    Some(frame) => {
                        answers += 1;
                        let remark = RemotingCommand::decode(frame).unwrap().remark;
                        if remark.is_some_and(|why| why.contains("--max-response-bytes")) {
                            refused += 1;
                        }
                    }
                    None => assert_ne!(stream.read_buf(&mut arrived).await.unwrap(), 0),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), answers)
            .await
            .unwrap();
    }
    assert!(refused > 0);
    let empty = async {
        while metric(&wire.server, "rocketry_response_bytes_queued", "").await > 0.0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), empty)
        .await
        .unwrap();
}

#[tokio::test]
async fn s019_a_frame_beyond_the_limit_ends_its_connection_only() {
    let wire = wire(|config| {
        config.max_message_bytes = 1000;
        config.max_frame_bytes = 100_000;
    })
    .await;
    let mut stream = TcpStream::connect(wire.server.broker_addr()).await.unwrap();
    stream.write_all(&100_001_u32.to_be_bytes()).await.unwrap();
    let mut byte = [0];
    let closed = stream.read_exact(&mut byte).await;
    assert!(closed.is_err(), "the connection goes on");
    assert_eq!(wire.broker(route()).await.code, 0);
}
