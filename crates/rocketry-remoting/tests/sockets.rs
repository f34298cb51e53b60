//! The client's table of connections and the listener, over real loopback sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here fails the test"
)]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rocketry_protocol::{RemotingCommand, ResponseCode};
use rocketry_remoting::{
    CloseReason, ConnectOptions, Connection, ConnectionOptions, Connections, Deadline, ErrorKind,
    Handler, Listener, ListenerOptions, Responder, Stage, Unsupported,
};
use support::{Peer, Recorder, drop_after, request, within};
use tokio::net::TcpListener;

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Sends each request's body back, and counts connections.
#[derive(Default)]
struct Echo {
    opened: AtomicUsize,
    closed: AtomicUsize,
}

impl Handler for Echo {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body(request.body));
    }

    fn opened(&self, _: &Connection) {
        self.opened.fetch_add(1, Ordering::SeqCst);
    }

    fn closed(&self, _: &Connection) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

fn echo_server() -> (Listener, Arc<Echo>, String) {
    let echo = Arc::new(Echo::default());
    let listener =
        Listener::bind(LOOPBACK, ListenerOptions::default(), Arc::clone(&echo) as _).unwrap();
    let addr = listener.local_addr().to_string();
    (listener, echo, addr)
}

fn client() -> Connections {
    client_with(ConnectOptions::default())
}

fn client_with(options: ConnectOptions) -> Connections {
    Connections::new(options, Arc::new(Unsupported))
}

/// An address where nobody listens.
async fn refusing_addr() -> String {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// P-138
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_concurrent_calls_share_one_connection() {
    let (listener, echo, addr) = echo_server();
    let client = client();
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..100u8 {
        let (client, addr) = (client.clone(), addr.clone());
        calls.spawn(async move {
            let reply = client
                .call(&addr, request(vec![n]), within(5000))
                .await
                .unwrap();
            assert_eq!(reply.body[..], [n]);
        });
    }
    calls.join_all().await;
    assert_eq!(echo.opened.load(Ordering::SeqCst), 1);
    assert_eq!(listener.connections(), 1);
    client.close_all().await;
    listener.shutdown(within(5000)).await;
    assert_eq!(echo.closed.load(Ordering::SeqCst), 1);
}

/// P-090, the connection's part
#[tokio::test]
async fn a_dead_address_is_a_connect_error_for_calls_and_oneways() {
    let addr = refusing_addr().await;
    let client = client();
    let call = client
        .call(&addr, request("x"), within(5000))
        .await
        .unwrap_err();
    let oneway = client
        .oneway(&addr, request("x"), within(5000))
        .await
        .unwrap_err();
    for error in [call, oneway] {
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert_eq!(error.addr(), addr);
        assert!(!error.maybe_delivered());
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("cannot connect to {addr} (after ")),
            "{text}"
        );
        assert!(text.contains("refused"), "{text}");
    }
}

#[tokio::test]
async fn what_is_not_an_address_says_so() {
    let client = client();
    for addr in ["localhost", "host:port", ":1", ""] {
        let error = client.get(addr, within(5000)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.to_string().contains("is not an address"), "{error}");
        assert_eq!(error.hint(), "write addresses as host:port");
    }
    let error = client
        .get("no-such-host.invalid:1", within(10_000))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Connect | ErrorKind::Timeout(Stage::Connect)
        ),
        "{error}"
    );
}

#[tokio::test]
async fn host_names_are_resolved() {
    let (listener, _, _) = echo_server();
    let addr = format!("localhost:{}", listener.local_addr().port());
    let client = client();
    let reply = client
        .call(&addr, request("x"), within(5000))
        .await
        .unwrap();
    assert_eq!(reply.body, "x");
    let connection = client.get(&addr, within(5000)).await.unwrap();
    assert_eq!(connection.info().name(), addr);
    assert_eq!(connection.peer_addr(), listener.local_addr());
}

/// After the peer ended the connection, the next call opens a new one; so does the first after a failed attempt.
#[tokio::test]
async fn the_next_call_reconnects() {
    let addr = refusing_addr().await;
    let client = client();
    client
        .call(&addr, request("x"), within(5000))
        .await
        .unwrap_err();
    let echo = Arc::new(Echo::default());
    for round in 1..=3 {
        // The same port each time, at once: what SO_REUSEADDR is for.
        let listener = Listener::bind(
            addr.parse().unwrap(),
            ListenerOptions::default(),
            Arc::clone(&echo) as _,
        )
        .unwrap();
        let reply = client
            .call(&addr, request("x"), within(5000))
            .await
            .unwrap();
        assert_eq!(reply.body, "x");
        let connection = client.get(&addr, within(5000)).await.unwrap();
        listener.shutdown(within(5000)).await;
        connection.closed().await;
        assert_eq!(connection.close_reason(), Some(&CloseReason::Peer));
        assert_eq!(echo.opened.load(Ordering::SeqCst), round);
    }
}

/// P-143
#[tokio::test]
async fn after_an_idle_close_the_next_call_reconnects() {
    let (_listener, echo, addr) = echo_server();
    let mut options = ConnectOptions::default();
    options.connection.idle_timeout = Some(Duration::from_millis(50));
    let client = client_with(options);
    let connection = client.get(&addr, within(5000)).await.unwrap();
    connection.closed().await;
    assert!(matches!(
        connection.close_reason(),
        Some(CloseReason::Idle(_))
    ));
    client
        .call(&addr, request("x"), within(5000))
        .await
        .unwrap();
    assert_eq!(echo.opened.load(Ordering::SeqCst), 2);
}

/// P-144, the connection's part: the old connection serves its calls to the end, all others share the new one.
#[tokio::test]
async fn a_retired_connection_drains_while_a_new_one_serves() {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let client = client();
    let (old, accepted) = tokio::join!(client.get(&addr, within(5000)), listener.accept());
    let mut old_peer = Peer::new(accepted.unwrap().0);
    let old = old.unwrap();
    let old_id = old.id();
    let call = client
        .begin(&addr, request("old"), within(5000))
        .await
        .unwrap();
    assert!(client.retire(&old));
    assert!(!client.retire(&old), "only once");
    drop(old);
    let (a, b, accepted) = tokio::join!(
        client.get(&addr, within(5000)),
        client.get(&addr, within(5000)),
        listener.accept()
    );
    let new_peer = accepted.unwrap();
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.id(), b.id());
    assert_ne!(a.id(), old_id);
    let asked = old_peer.request().await;
    old_peer.answer(&asked).await;
    assert_eq!(call.await.unwrap().body, "old");
    assert!(old_peer.sees_end().await, "closed after its last call");
    drop(new_peer);
}

/// A backlog of zero that is full takes no more connections: connecting hangs, as it does to a host that drops packets.
async fn hanging_addr() -> (String, Vec<tokio::net::TcpStream>, TcpListener) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(LOOPBACK).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut fillers = Vec::new();
    loop {
        let connecting = tokio::net::TcpStream::connect(addr);
        match tokio::time::timeout(Duration::from_millis(200), connecting).await {
            Ok(Ok(stream)) => fillers.push(stream),
            _ => return (addr.to_string(), fillers, listener),
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn each_waiter_of_a_hanging_connect_keeps_its_own_deadline() {
    let (addr, _fillers, _listener) = hanging_addr().await;
    let mut options = ConnectOptions::default();
    options.connect_timeout = Duration::from_secs(2);
    let client = client_with(options);
    let get = |ms| client.get(&addr, within(ms));
    let (short, shorter, long) = tokio::join!(get(200), get(100), get(60_000));
    for (waiter, ms) in [(short, 200), (shorter, 100)] {
        let error = waiter.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(Stage::Connect));
        assert!(error.elapsed() >= Duration::from_millis(ms - 1), "{error}");
        assert!(!error.maybe_delivered());
    }
    let long = long.unwrap_err();
    assert_eq!(long.kind(), ErrorKind::Connect);
    assert!(long.to_string().ends_with("no answer within 2s"), "{long}");
}

/// Callers that give up at any point leave the attempt to the others.
#[tokio::test]
async fn dropping_a_get_at_any_point_harms_nobody() {
    let (listener, echo, addr) = echo_server();
    for polls in 0..6 {
        let client = client();
        drop_after(client.get(&addr, within(5000)), polls).await;
        let reply = client
            .call(&addr, request("x"), within(5000))
            .await
            .unwrap();
        assert_eq!(reply.body, "x");
        client.close_all().await;
    }
    listener.shutdown(within(5000)).await;
    assert_eq!(
        echo.opened.load(Ordering::SeqCst),
        6,
        "one connection per client"
    );
    assert_eq!(echo.closed.load(Ordering::SeqCst), 6);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn closing_ends_attempts_calls_and_further_use() {
    let (hanging, _fillers, _hanging_listener) = hanging_addr().await;
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let client = client();
    let call = client.call(&addr, request("x"), within(60_000));
    let connecting = client.get(&hanging, within(60_000));
    let closing = async {
        let mut peer = Peer::new(listener.accept().await.unwrap().0);
        peer.request().await;
        client
            .oneway(&addr, request("last words"), within(5000))
            .await
            .unwrap();
        let (last, ()) = tokio::join!(peer.receive(), client.close_all());
        assert_eq!(last.unwrap().body, "last words");
        assert!(peer.sees_end().await);
    };
    let (call, connecting, ()) = tokio::join!(call, connecting, closing);
    assert_eq!(call.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(connecting.unwrap_err().kind(), ErrorKind::Connect);
    let error = client
        .call(&addr, request("x"), within(5000))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(
        error.to_string().ends_with("the client is closed"),
        "{error}"
    );
    client.close_all().await;
}

#[tokio::test]
async fn dropping_the_client_closes_its_connections() {
    let (_listener, echo, addr) = echo_server();
    let client = client();
    let connection = client.get(&addr, within(5000)).await.unwrap();
    let weak = connection.clone();
    drop(connection);
    drop(client);
    assert!(!weak.is_closed(), "a handle is left");
    drop(weak);
    let (recorder, _requests) = Recorder::new();
    let other = Connections::new(ConnectOptions::default(), recorder);
    other.call(&addr, request("x"), within(5000)).await.unwrap();
    assert_eq!(echo.opened.load(Ordering::SeqCst), 2);
    while echo.closed.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

/// P-139 over a socket: the peer's process dies, the operating system resets the connection.
#[tokio::test]
async fn a_reset_fails_all_calls_in_flight_at_once() {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let client = client();
    let mut calls = Vec::new();
    for _ in 0..50 {
        calls.push(
            client
                .begin(&addr, request(vec![0; 1000]), within(60_000))
                .await
                .unwrap(),
        );
    }
    let (stream, _) = listener.accept().await.unwrap();
    let mut peer = Peer::new(stream);
    peer.request().await;
    socket2::SockRef::from(&peer.io)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    for call in calls {
        let error = call.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(
            matches!(
                error.close_reason(),
                Some(CloseReason::Io { .. } | CloseReason::Peer)
            ),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let (listener, _, _) = echo_server();
    let again = Listener::bind(
        listener.local_addr(),
        ListenerOptions::default(),
        Arc::new(Unsupported),
    );
    assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_room_is_made_again() {
    let mut options = ListenerOptions::default();
    options.max_connections = 2;
    let listener = Listener::bind(LOOPBACK, options, Arc::new(Echo::default())).unwrap();
    let addr = listener.local_addr();
    let mut first = Peer::new(tokio::net::TcpStream::connect(addr).await.unwrap());
    let mut second = Peer::new(tokio::net::TcpStream::connect(addr).await.unwrap());
    for peer in [&mut first, &mut second] {
        peer.send(&request("x")).await;
        assert_eq!(peer.request().await.body, "x");
    }
    let mut third = Peer::new(tokio::net::TcpStream::connect(addr).await.unwrap());
    assert!(third.sees_end().await);
    assert_eq!(listener.connections(), 2);
    drop(first);
    while listener.connections() == 2 {
        tokio::task::yield_now().await;
    }
    let mut fourth = Peer::new(tokio::net::TcpStream::connect(addr).await.unwrap());
    fourth.send(&request("y")).await;
    assert_eq!(fourth.request().await.body, "y");
}

/// What was taken is answered, what comes later is not taken, and then all is closed.
#[tokio::test]
async fn shutdown_waits_for_the_answers_of_requests_that_were_taken() {
    let (recorder, mut requests) = Recorder::new();
    let listener = Listener::bind(
        LOOPBACK,
        ListenerOptions::default(),
        Arc::clone(&recorder) as _,
    )
    .unwrap();
    let addr = listener.local_addr().to_string();
    let client = client();
    let mut calls = Vec::new();
    for _ in 0..10 {
        calls.push(
            client
                .begin(&addr, request("x"), within(10_000))
                .await
                .unwrap(),
        );
    }
    let mut taken = Vec::new();
    for _ in 0..10 {
        taken.push(requests.recv().await.unwrap());
    }
    let answering = async {
        listener.stop_accepting().await;
        for (request, responder) in taken {
            tokio::task::yield_now().await;
            let response = RemotingCommand::response(ResponseCode::SUCCESS).with_body(request.body);
            responder.respond(response);
        }
    };
    tokio::join!(listener.shutdown(within(10_000)), answering);
    for call in calls {
        assert_eq!(call.await.unwrap().body, "x");
    }
    assert_eq!(listener.connections(), 0);
    let closed = "closed by this side: the server is shutting down";
    assert_eq!(recorder.events(), ["opened", closed]);
    let error = client
        .call(&addr, request("x"), within(5000))
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Connect | ErrorKind::Closed),
        "{error}"
    );
}

#[tokio::test]
async fn shutdown_gives_up_on_parked_requests_at_its_deadline() {
    let (recorder, mut requests) = Recorder::new();
    let listener = Listener::bind(LOOPBACK, ListenerOptions::default(), recorder).unwrap();
    let addr = listener.local_addr().to_string();
    let client = client();
    let call = client
        .begin(&addr, request("x"), within(10_000))
        .await
        .unwrap();
    let parked = requests.recv().await.unwrap();
    listener.shutdown(within(100)).await;
    assert_eq!(
        call.await.unwrap_err().close_reason(),
        Some(&CloseReason::Peer)
    );
    // Answering now reaches nobody and harms nobody.
    parked
        .1
        .respond(RemotingCommand::response(ResponseCode::SUCCESS));
}

/// Start and stop leave no connection behind, whichever side goes first.
#[tokio::test]
async fn many_starts_and_stops_leave_nothing_behind() {
    for round in 0..100 {
        let (listener, echo, addr) = echo_server();
        let client = client();
        client
            .call(&addr, request("x"), within(5000))
            .await
            .unwrap();
        if round % 2 == 0 {
            client.close_all().await;
            listener.shutdown(within(5000)).await;
        } else {
            listener.shutdown(Deadline::after(Duration::ZERO)).await;
            client.close_all().await;
        }
        assert_eq!(echo.opened.load(Ordering::SeqCst), 1);
        assert_eq!(echo.closed.load(Ordering::SeqCst), 1);
        assert_eq!(Arc::strong_count(&echo), 2, "the listener's and ours");
    }
}

/// A server that is asked by its own handler: requests go from server to client on the client's connection.
#[tokio::test]
async fn a_server_calls_its_client() {
    let (recorder, mut requests) = Recorder::new();
    let listener = Listener::bind(LOOPBACK, ListenerOptions::default(), recorder).unwrap();
    let addr = listener.local_addr().to_string();
    let client = Connections::new(ConnectOptions::default(), Arc::new(Echo::default()));
    client
        .oneway(&addr, request("register"), within(5000))
        .await
        .unwrap();
    let (_, responder) = requests.recv().await.unwrap();
    let connection = responder.connection().clone();
    let reply = connection
        .call(request("check"), within(5000))
        .await
        .unwrap();
    assert_eq!(reply.body, "check");
}

#[test]
fn defaults_are_javas() {
    let options = ConnectOptions::default();
    assert_eq!(options.connect_timeout, Duration::from_secs(3));
    let ConnectionOptions {
        max_frame_bytes,
        max_calls,
        max_oneways,
        idle_timeout,
        ..
    } = options.connection;
    assert_eq!(max_frame_bytes, 16_777_216);
    assert_eq!((max_calls, max_oneways), (65_535, 65_535));
    assert_eq!(idle_timeout, Some(Duration::from_mins(2)));
    assert_eq!(ListenerOptions::default().backlog, 1024);
}
