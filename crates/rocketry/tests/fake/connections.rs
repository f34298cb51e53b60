//! How connections end and what bounds them: silence, idleness, places for requests, and peers that do not keep to the protocol.

use std::{future::IntoFuture, net::SocketAddr};

use rocketry::{
    Client, ClientConfig, ErrorKind, Message, Phase, Producer, ProducerConfig, TopicRouteData,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::support::*;

async fn connect(cluster: &Cluster, config: ClientConfig) -> Client {
    cluster.connect().config(config).await.unwrap()
}

/// One attempt of `timeout` ms, and nothing in the background that connects by itself.
async fn single(client: &Client, timeout: u64) -> Producer {
    let config = ProducerConfig {
        timeout: ms(timeout),
        retries: 0,
        compression: None,
        ..ProducerConfig::java_exact()
    };
    client.producer("PG").config(config).await.unwrap()
}

/// Does not answer messages whose body says so.
fn deaf(request: &rocketry_protocol::RemotingCommand) -> Action {
    if request.code == 310 && request.body == "silence" {
        Action::Silent
    } else {
        Action::Reply(stored_or_ok(request))
    }
}

fn unanswered() -> Message {
    Message::new("T", "silence")
}

/// P-141
#[tokio::test]
async fn a_silent_connection_is_closed_and_one_that_lives_is_not() {
    let cluster = Cluster::of(&["a"]);
    let broker = cluster.broker("a");
    broker.script(deaf);
    let client = connect(&cluster, ClientConfig::default()).await;
    let producer = single(&client, 400).await;
    producer.send(message()).await.unwrap();
    broker.wait_for(34, 1).await;

    // something arrives while the answer is awaited
    let alive = async {
        broker.wait_for(310, 2).await;
        producer.send(message()).await.unwrap();
    };
    let (error, ()) = tokio::join!(producer.send(unanswered()).into_future(), alive);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Timeout);
    producer.send(message()).await.unwrap();
    assert_eq!(broker.opened(), 1);

    // nothing does
    let error = producer.send(unanswered()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    broker.wait_closed().await;
    producer.send(message()).await.unwrap();
    assert_eq!(broker.opened(), 2);
}

/// P-141: the option.
#[tokio::test]
async fn silence_may_be_tolerated() {
    let cluster = Cluster::of(&["a"]);
    let broker = cluster.broker("a");
    broker.script(deaf);
    let config = ClientConfig {
        close_silent_connections: false,
        ..ClientConfig::default()
    };
    let producer = single(&connect(&cluster, config).await, 200).await;
    producer.send(unanswered()).await.unwrap_err();
    producer.send(message()).await.unwrap();
    assert_eq!(broker.opened(), 1);
}

/// P-142
#[tokio::test]
async fn without_a_place_for_its_answer_a_request_waits_and_then_fails() {
    let cluster = Cluster::of(&["a"]);
    let broker = cluster.broker("a");
    broker.script(on(310, |_| Action::Hold));
    let config = ClientConfig {
        max_pending_requests: 2,
        // it would take one of the places
        heartbeat: std::time::Duration::from_hours(1),
        ..ClientConfig::default()
    };
    let client = connect(&cluster, config).await;
    let producer = single(&client, 5000).await;
    let mut held = JoinSet::new();
    for count in 1..=2 {
        let producer = producer.clone();
        held.spawn(async move { producer.send(message()).await });
        broker.wait_held(count).await;
    }
    let started = now();
    let error = producer.send(message()).timeout(ms(300)).await.unwrap_err();
    on_time(started.elapsed(), ms(300));
    assert_eq!(
        (error.kind(), error.maybe_stored()),
        (ErrorKind::Timeout, false)
    );
    assert_eq!(error.attempts()[0].phase, Phase::Write);
    // one that has more time gets the first place that becomes free
    let third = producer.send(message()).into_future();
    let freed = async {
        broker.script(storing());
        broker.release(stored);
    };
    let (third, ()) = tokio::join!(third, freed);
    third.unwrap();
    while let Some(sent) = held.join_next().await {
        sent.unwrap().unwrap();
    }
    assert_eq!((broker.opened(), broker.open_now()), (1, 1));
}

/// P-143
#[tokio::test]
async fn an_idle_connection_is_closed_and_the_next_send_opens_another() {
    let cluster = Cluster::of(&["a"]);
    let broker = cluster.broker("a");
    let config = ClientConfig {
        idle_timeout: ms(150),
        ..ClientConfig::default()
    };
    let producer = single(&connect(&cluster, config).await, 3000).await;
    producer.send(message()).await.unwrap();
    broker.wait_closed().await;
    cluster.name_server.wait_closed().await;
    producer.send(message()).await.unwrap();
    assert_eq!(broker.opened(), 2);
}

/// A broker that is nothing but a port; topic `T` is on it alone.
async fn bare_broker(cluster: &Cluster) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut route = TopicRouteData::default();
    let addr: SocketAddr = listener.local_addr().unwrap();
    add_broker(&mut route, "bare", &addr.to_string(), 1, 6);
    cluster.set_route("T", route);
    listener
}

/// Does not wait long for a bare port to take note of its leaving.
fn soon_gone() -> ClientConfig {
    ClientConfig {
        api_timeout: ms(200),
        ..ClientConfig::default()
    }
}

/// Accepts one connection and reads `frames` of its frames.
async fn accept(listener: &TcpListener, frames: usize) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    for _ in 0..frames {
        let length = stream.read_u32().await.unwrap();
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await.unwrap();
    }
    stream
}

/// P-147
#[tokio::test]
async fn a_peer_that_sends_no_frames_loses_the_connection_and_fails_what_waits() {
    let frame = |header: &[u8]| {
        let mut bytes = u32::try_from(4 + header.len())
            .unwrap()
            .to_be_bytes()
            .to_vec();
        bytes.extend(u32::try_from(header.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(header);
        bytes
    };
    let cases: [(&str, Vec<u8>); 8] = [
        ("beyond 16 MiB", 16_777_217_u32.to_be_bytes().to_vec()),
        ("negative length", (-1_i32).to_be_bytes().to_vec()),
        ("no room for a header", vec![0, 0, 0, 0]),
        (
            "header beyond the frame",
            vec![0, 0, 0, 8, 0, 0, 0, 99, 1, 2, 3, 4],
        ),
        ("header that is no JSON", frame(b"{\"code\":")),
        ("unknown header codec", vec![0, 0, 0, 6, 9, 0, 0, 2, 1, 2]),
        (
            "another protocol",
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        ),
        ("half a frame, then the end", vec![0, 0, 0, 50, 0, 0]),
    ];
    for (what, bytes) in cases {
        let cluster = Cluster::of(&[]);
        let listener = bare_broker(&cluster).await;
        let client = connect(&cluster, soon_gone()).await;
        let producer = single(&client, 5000).await;
        let mut pending = JoinSet::new();
        for _ in 0..3 {
            let producer = producer.clone();
            pending.spawn(async move { producer.send(message()).await });
        }
        // three messages and a heartbeat
        let mut stream = accept(&listener, 4).await;
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        while let Some(sent) = pending.join_next().await {
            let error = sent.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{what}: {error}");
            assert!(error.maybe_stored(), "{what}: {error}");
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{what}: the client has closed");
        assert!(client.shutdown(PATIENCE).await.is_clean(), "{what}");
    }
}

/// P-147: what never becomes a frame is not waited for beyond the send's time, and is not kept.
#[tokio::test]
async fn a_frame_that_never_ends_costs_one_timeout() {
    let cluster = Cluster::of(&[]);
    let listener = bare_broker(&cluster).await;
    let client = connect(&cluster, soon_gone()).await;
    let producer = single(&client, 300).await;
    let peer = async {
        let mut stream = accept(&listener, 1).await;
        stream.write_u32(16_000_000).await.unwrap();
        // until the client closes
        while stream.write_all(&[0; 10]).await.is_ok() {
            tokio::time::sleep(ms(5)).await;
        }
    };
    let sent = async {
        let error = producer.send(message()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        client.shutdown(PATIENCE).await
    };
    let ((), report) = tokio::join!(peer, sent);
    assert!(report.is_clean());
}

/// P-147: a name server is no better than a broker.
#[tokio::test]
async fn a_name_server_that_speaks_another_protocol_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let producer = single(&client, 2000).await;
    let peer = async {
        let mut stream = accept(&listener, 1).await;
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    };
    let (sent, ()) = tokio::join!(producer.send(message()).into_future(), peer);
    let error = sent.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameServerUnreachable);
    assert!(error.hint().unwrap().contains("does not speak"), "{error}");
}

/// P-091
#[tokio::test]
async fn without_a_place_to_be_written_a_one_way_request_waits_and_then_fails() {
    let cluster = Cluster::of(&[]);
    let listener = bare_broker(&cluster).await;
    let config = ClientConfig {
        max_pending_oneways: 2,
        close_silent_connections: false,
        ..soon_gone()
    };
    let client = connect(&cluster, config).await;
    let producer = single(&client, 300).await;
    let big = || Message::new("T", vec![7; 1024 * 1024]);
    // the sockets take some before the places are used up: the peer does not read
    let mut sent = 0;
    let (error, elapsed) = loop {
        let started = now();
        match producer.send_oneway(big()).await {
            Ok(()) => sent += 1,
            Err(error) => break (error, started.elapsed()),
        }
        assert!(sent < 64, "somebody reads");
    };
    on_time(elapsed, ms(300));
    assert_eq!(
        (error.kind(), error.maybe_stored()),
        (ErrorKind::Timeout, false)
    );
    assert_eq!(error.attempts()[0].phase, Phase::Write);
    // written requests give their places back
    let (mut stream, _) = listener.accept().await.unwrap();
    let reading = tokio::spawn(async move {
        let mut void = vec![0; 64 * 1024];
        while stream.read(&mut void).await.is_ok_and(|count| count > 0) {}
    });
    for _ in 0..4 {
        producer.send_oneway(big()).timeout(PATIENCE).await.unwrap();
    }
    assert!(client.shutdown(PATIENCE).await.is_clean());
    reading.await.unwrap();
}
