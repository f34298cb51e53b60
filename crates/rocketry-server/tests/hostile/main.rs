//! Peers that mean harm, or are broken: whatever they send, and however they read, others are served and memory stays bounded.
//!
//! A process of its own, since its memory is measured. `cargo xtask hostile` does the same at length, and measures what other
//! clients notice.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper of tests fails a test as its caller would"
)]

use std::{net::SocketAddr, time::Duration};

use bytes::{BufMut as _, BytesMut};
use rocketry::{Client, Message, Producer};
use rocketry_protocol::{
    RemotingCommand, RequestCode,
    header::{PopMessageRequest, PullMessageRequest, pull_sys_flag},
};
use rocketry_remoting::{ConnectOptions, Connections, Deadline, Unsupported};
use rocketry_server::{Server, ServerConfig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const TIMEOUT: Duration = Duration::from_secs(30);
/// What all of it together may add to the process, clients included.
const MEMORY: u64 = 192 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_peers_harm_nobody_else() {
    let mut config = ServerConfig::temp();
    config.max_connections = 1000;
    config.metrics_port = Some(0);
    config.max_response_bytes = 32 * 1024 * 1024;
    let server = Server::start(config).await.unwrap();
    let friend = Friend::new(&server).await;
    friend.is_served().await;
    let before = anonymous_bytes();

    malformed_frames(&server).await;
    friend.is_served().await;
    random_bytes(&server).await;
    friend.is_served().await;
    let unfinished = unfinished_frames(&server).await;
    friend.is_served().await;
    grows_little(before, "unfinished frames");
    slow_senders(&server).await;
    friend.is_served().await;
    let deaf = slow_readers(&server).await;
    friend.is_served().await;
    grows_little(before, "slow readers");
    drop((unfinished, deaf));
    flood_of_connections(&server).await;
    friend.is_served().await;
    ten_thousand_parked_pulls(&server, &friend).await;
    grows_little(before, "parked pulls");
    pops_without_acknowledgements(&friend).await;
    friend.is_served().await;
    grows_little(before, "pops");
    server.shutdown(TIMEOUT).await.unwrap();
}

/// A client that does as it should.
struct Friend {
    producer: Producer,
    wire: Connections,
    broker: String,
}

impl Friend {
    async fn new(server: &Server) -> Self {
        let client = Client::connect(server.namesrv_addr()).await.unwrap();
        Self {
            producer: client.producer("friends").await.unwrap(),
            wire: Connections::new(ConnectOptions::default(), std::sync::Arc::new(Unsupported)),
            broker: server.broker_addr().to_owned(),
        }
    }

    async fn is_served(&self) {
        self.send("friend", "x").await;
        let reply = self
            .call(RemotingCommand::request(&pull("friend", 0, 0, 0)))
            .await;
        assert!([0, 19, 20].contains(&reply.code), "{reply:?}");
    }

    async fn send(&self, topic: &str, body: &str) {
        let message = Message::new(topic, body.to_owned());
        let sent = timeout(TIMEOUT, self.producer.send(message)).await;
        sent.expect("a friend is not served").unwrap();
    }

    async fn call(&self, command: RemotingCommand) -> RemotingCommand {
        let deadline = Deadline::after(TIMEOUT);
        self.wire
            .call(&self.broker, command, deadline)
            .await
            .unwrap()
    }
}

fn pull(topic: &str, queue_id: i32, offset: i64, wait_ms: i64) -> PullMessageRequest<'_> {
    let suspend = if wait_ms > 0 {
        pull_sys_flag::SUSPEND
    } else {
        0
    };
    PullMessageRequest {
        consumer_group: "CG",
        topic,
        lite_topic: None,
        queue_id,
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: pull_sys_flag::SUBSCRIPTION | suspend,
        commit_offset: 0,
        suspend_timeout_millis: wait_ms,
        subscription: Some("*"),
        sub_version: 0,
        expression_type: None,
        max_msg_bytes: None,
        request_source: None,
        proxy_forward_client_id: None,
        broker_name: None,
    }
}

fn addrs(server: &Server) -> [SocketAddr; 2] {
    [
        server.broker_addr().parse().unwrap(),
        server.namesrv_listens_on().unwrap(),
    ]
}

/// Sends bytes and reads what comes, until nothing does.
async fn exchange(addr: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // The server may close in the midst of it.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let read = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await;
    // Reset or closed, but closed: the peer has sent its end.
    let _ = read.expect("the server keeps a connection whose peer has left");
}

/// Golden malformed frames, made by Apache RocketMQ 5.5.0's classes, on both ports.
async fn malformed_frames(server: &Server) {
    let text = include_str!("../../../rocketry-protocol/tests/vectors/negative.json");
    let file: serde_json::Value = serde_json::from_str(text).unwrap();
    let mut sent = 0;
    for (list, field) in [
        ("frames", "hex"),
        ("server", "sent_hex"),
        ("messages", "hex"),
    ] {
        for case in file[list].as_array().unwrap() {
            let Some(hex) = case[field].as_str() else {
                continue;
            };
            for addr in addrs(server) {
                exchange(addr, &from_hex(hex)).await;
            }
            sent += 1;
        }
    }
    assert!(sent > 100, "{sent}");
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

async fn random_bytes(server: &Server) {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let mut bytes: Vec<u8> = (0..random.usize(1..4000)).map(|_| random.u8(..)).collect();
        if random.bool() {
            // Past the length word, into the header.
            let length = u32::try_from(bytes.len()).unwrap();
            bytes.splice(
                0..0,
                (length + 4).to_be_bytes().into_iter().chain([0, 0, 0, 40]),
            );
        }
        for addr in addrs(server) {
            exchange(addr, &bytes).await;
        }
    }
}

/// Frames that promise 16 MiB and send a little; those that promise 1 GiB are not waited for.
async fn unfinished_frames(server: &Server) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for addr in addrs(server) {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let mut start = BytesMut::new();
            start.put_u32(16 * 1024 * 1024 - 4);
            start.put_u32(100);
            start.put_slice(b"{\"code\":10");
            stream.write_all(&start).await.unwrap();
            open.push(stream);
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let _ = stream.write_all(&(1_u32 << 30).to_be_bytes()).await;
            let mut byte = [0];
            let closed = timeout(TIMEOUT, stream.read_exact(&mut byte)).await;
            assert!(closed.expect("a frame of 1 GiB is waited for").is_err());
        }
    }
    open
}

/// One byte at a time is slow, and is served.
async fn slow_senders(server: &Server) {
    let mut frame = BytesMut::new();
    RemotingCommand::bare_request(RequestCode::GET_BROKER_CONFIG)
        .encode(&mut frame)
        .unwrap();
    let addr = addrs(server)[0];
    let slow: Vec<_> = (0..50)
        .map(|_| {
            let frame = frame.clone();
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                stream.set_nodelay(true).unwrap();
                for byte in frame {
                    stream.write_all(&[byte]).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                let mut length = [0; 4];
                let answered = timeout(TIMEOUT, stream.read_exact(&mut length)).await;
                answered.expect("a slow sender is not answered").unwrap();
            })
        })
        .collect();
    for slow in slow {
        slow.await.unwrap();
    }
}

/// They ask for MiB after MiB and read nothing.
async fn slow_readers(server: &Server) -> Vec<TcpStream> {
    let friend = Friend::new(server).await;
    for _ in 0..10 {
        friend.send("large", &"x".repeat(200_000)).await;
    }
    let mut frames = BytesMut::new();
    for opaque in 0..400 {
        let mut command = RemotingCommand::request(&pull("large", opaque % 4, 0, 0));
        command.opaque = opaque;
        command.encode(&mut frames).unwrap();
    }
    let mut deaf = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(server.broker_addr()).await.unwrap();
        let _ = timeout(Duration::from_millis(100), stream.write_all(&frames)).await;
        deaf.push(stream);
    }
    deaf
}

/// More connections than the server takes: those that it has no room for end, and room is there again afterwards.
async fn flood_of_connections(server: &Server) {
    let addr = addrs(server)[0];
    let mut flood = Vec::new();
    for _ in 0..1500 {
        flood.push(TcpStream::connect(addr).await.unwrap());
    }
    let mut byte = [0];
    let last = flood.last_mut().unwrap();
    let closed = timeout(TIMEOUT, last.read(&mut byte)).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    drop(flood);
}

async fn ten_thousand_parked_pulls(server: &Server, friend: &Friend) {
    const PULLS: i32 = 10_000;
    // One message in each queue, and each pull waits for the next.
    for _ in 0..4 {
        friend.send("parked", "first").await;
    }
    let mut streams = Vec::new();
    for connection in 0..10 {
        let mut frames = BytesMut::new();
        for opaque in 0..PULLS / 10 {
            let mut command = RemotingCommand::request(&pull("parked", opaque % 4, 1, 60_000));
            command.opaque = connection * PULLS + opaque;
            command.encode(&mut frames).unwrap();
        }
        let mut stream = TcpStream::connect(server.broker_addr()).await.unwrap();
        stream.write_all(&frames).await.unwrap();
        streams.push(stream);
    }
    let end = tokio::time::Instant::now() + TIMEOUT;
    while !page(server).await.contains("processor=\"pull\",} 10000\n") {
        assert!(tokio::time::Instant::now() < end, "not all pulls wait");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    friend.is_served().await;
    for _ in 0..4 {
        friend.send("parked", "more").await;
    }
    let mut answers = 0;
    for stream in &mut streams {
        for _ in 0..PULLS / 10 {
            let length = timeout(TIMEOUT, stream.read_u32()).await;
            let length = length.expect("a parked pull is not answered").unwrap();
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut frame).await.unwrap();
            answers += 1;
        }
    }
    assert_eq!(answers, PULLS);
}

async fn page(server: &Server) -> String {
    let mut stream = TcpStream::connect(server.metrics_addr().unwrap())
        .await
        .unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Messages are taken again and again and never acknowledged.
async fn pops_without_acknowledgements(friend: &Friend) {
    for _ in 0..200 {
        friend.send("popped", "x").await;
    }
    let mut taken = 0;
    for _ in 0..60 {
        let pop = PopMessageRequest {
            consumer_group: "careless",
            topic: "popped",
            queue_id: -1,
            max_msg_nums: 32,
            invisible_time: 10_000,
            poll_time: 0,
            born_time: jiff::Timestamp::now().as_millisecond(),
            init_mode: 0,
            exp_type: Some("TAG"),
            exp: Some("*"),
            order: Some(false),
            attempt_id: None,
            broker_name: None,
        };
        let reply = friend.call(RemotingCommand::request(&pop)).await;
        taken += usize::from(reply.code == 0);
    }
    assert!(taken > 0, "nothing was popped");
}

/// Memory of the process that is not a mapped file; 0 where the system does not tell.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn grows_little(before: u64, with: &str) {
    let grown = anonymous_bytes().saturating_sub(before);
    assert!(grown < MEMORY, "{with}: {} MiB more", grown >> 20);
}
