//! One connection with a lot to do, or many of them, and one with little: the latter does not wait long.
//!
//! All run on one thread, so that the order of what happens is the same every time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests: what fails here fails the test"
)]

mod support;

use std::{
    collections::HashSet,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use rocketry_protocol::{RemotingCommand, ResponseCode};
use rocketry_remoting::{Connection, ConnectionOptions, Handler, Load, Responder};
use support::{Peer, connected_with, encoded, request};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _, DuplexStream},
    task::yield_now,
};

/// Requests of a turn, as the crate has it.
const TURN: usize = 32;
const MIB: usize = 1024 * 1024;

/// Notes whose requests are handled, in order, and answers them.
#[derive(Default)]
struct Log(Mutex<Vec<u64>>);

impl Log {
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn seen(&self) -> HashSet<u64> {
        self.0.lock().unwrap().iter().copied().collect()
    }
}

impl Handler for Log {
    fn handle(&self, _: RemotingCommand, responder: Responder) {
        self.0.lock().unwrap().push(responder.connection().id());
        responder.respond(RemotingCommand::response(ResponseCode::SUCCESS));
    }
}

/// A server of which `busy` connections may be busy for long.
struct Server {
    options: ConnectionOptions,
    log: Arc<Log>,
}

impl Server {
    fn new(busy: usize) -> Self {
        let mut options = ConnectionOptions::server();
        options.load = Some(Arc::new(Load::new(busy)));
        Self {
            options,
            log: Arc::default(),
        }
    }

    fn connected(&self) -> (Connection, Peer<DuplexStream>) {
        connected_with(&self.options, 4 * MIB, Arc::clone(&self.log) as _)
    }

    /// A peer that has sent `requests` before the first of them is looked at.
    async fn flooded(&self, requests: usize) -> (Connection, Peer<DuplexStream>) {
        let (connection, mut peer) = self.connected();
        let one = encoded(&request("flood"));
        peer.io.write_all(&one.repeat(requests)).await.unwrap();
        (connection, peer)
    }

    /// The most requests of others that are handled from the moment that `friend` sends one until it is answered.
    async fn most_others_before(&self, mut friend: Peer<DuplexStream>) -> usize {
        let log = Arc::clone(&self.log);
        // A task like the others: what a test itself awaits is looked at less often than they are.
        let asking = tokio::spawn(async move {
            let mut most = 0;
            for _ in 0..5 {
                let before = log.len();
                friend.send(&request("friend")).await;
                friend.request().await;
                most = most.max(log.len() - before - 1);
            }
            most
        });
        asking.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_wait_for_all_that_another_connection_has_sent() {
    let server = Server::new(1);
    let (_quiet, friend) = server.connected();
    let (flooding, mut flood) = server.flooded(10_000).await;
    while server.log.len() == 0 {
        yield_now().await;
    }
    let others = server.most_others_before(friend).await;
    assert!(others <= 3 * TURN, "{others}");
    assert!(server.log.len() < 10_000, "they still go on");
    assert!(!flooding.is_closed());
    for _ in 0..10_000 {
        flood.request().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_wait_for_a_turn_of_every_busy_connection() {
    for busy in [1, 3] {
        let server = Server::new(busy);
        let (_quiet, friend) = server.connected();
        let mut floods = Vec::new();
        for _ in 0..50 {
            floods.push(server.flooded(1500).await);
        }
        while server.log.seen().len() < floods.len() {
            yield_now().await;
        }
        let others = server.most_others_before(friend).await;
        let most = (busy + 2) * TURN;
        assert!(others <= most, "{busy}: {others}");
        assert!(server.log.len() < 50 * 1500, "they still go on");
        // Those who stand in line are all served in the end.
        for (_, flood) in &mut floods {
            for _ in 0..1500 {
                flood.request().await;
            }
        }
    }
}

/// A connection that closes while it stands in line, or works beyond its first turn, leaves its place to the next.
#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_when_its_connection_ends() {
    let server = Server::new(1);
    let mut floods = Vec::new();
    for _ in 0..10 {
        floods.push(server.flooded(1500).await);
    }
    while server.log.seen().len() < floods.len() {
        yield_now().await;
    }
    let (_last, mut flood) = floods.pop().unwrap();
    for (connection, _) in &floods {
        connection.close("enough");
    }
    for _ in 0..1500 {
        flood.request().await;
    }
}

/// Takes all that it is given, and notes how much since somebody else ran.
struct Greedy {
    since: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl AsyncWrite for Greedy {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let since = self.since.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        self.most.fetch_max(since, Ordering::Relaxed);
        self.all.fetch_add(bytes.len(), Ordering::Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Answers with 3 MiB.
struct Generous;

impl Handler for Generous {
    fn handle(&self, _: RemotingCommand, responder: Responder) {
        let body = vec![0; 3 * MIB];
        responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body(body));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_at_once_does_not_keep_others_waiting() {
    let [since, most, all] = std::array::from_fn(|_| Arc::new(AtomicUsize::new(0)));
    let (near, mut far) = tokio::io::duplex(MIB);
    let greedy = Greedy {
        since: Arc::clone(&since),
        most: Arc::clone(&most),
        all: Arc::clone(&all),
    };
    let stream = tokio::io::join(near, greedy);
    let options = ConnectionOptions::server();
    let _connection = Connection::start(stream, support::info(), &options, Arc::new(Generous));
    let one = encoded(&request("all of it"));
    far.write_all(&one.repeat(10)).await.unwrap();
    while all.load(Ordering::Relaxed) < 30 * MIB {
        since.store(0, Ordering::Relaxed);
        yield_now().await;
    }
    // The end of one answer and the beginning of the next.
    assert!(most.load(Ordering::Relaxed) <= MIB / 2, "{most:?}");
}
