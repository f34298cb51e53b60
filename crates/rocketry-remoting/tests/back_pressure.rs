//! Peers that do not read, and callers that send faster than the peer reads: memory stays within its bounds, nobody fails early.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here fails the test"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rocketry_protocol::{RemotingCommand, ResponseCode};
use rocketry_remoting::{
    CloseReason, Connection, ConnectionOptions, ErrorKind, Handler, Responder, Stage, Unsupported,
};
use support::{connected_with, info, request, settle, within};
use tokio::{
    io::{AsyncWriteExt, BufStream},
    time::Instant,
};

const BODY_BYTES: usize = 4096;

/// Callers beyond the bound wait instead of queueing, and go on when the peer reads.
#[tokio::test(start_paused = true)]
async fn callers_wait_while_the_peer_does_not_read() {
    let mut options = ConnectionOptions::default();
    options.max_outbound_bytes = 64 * 1024;
    let (connection, mut peer) = connected_with(&options, 1024, Arc::new(Unsupported));
    let handed_over = Arc::new(AtomicUsize::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (connection, handed_over) = (connection.clone(), Arc::clone(&handed_over));
        callers.spawn(async move {
            let reply = connection
                .begin(request(vec![0; BODY_BYTES]), within(10_000))
                .await?;
            handed_over.fetch_add(1, Ordering::Relaxed);
            reply.await
        });
    }
    settle().await;
    let queued = handed_over.load(Ordering::Relaxed);
    assert!(
        (1..=options.max_outbound_bytes / BODY_BYTES).contains(&queued),
        "{queued}"
    );
    // Time alone changes nothing.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(handed_over.load(Ordering::Relaxed), queued);

    let server = tokio::spawn(async move {
        while let Some(request) = peer.receive().await {
            peer.answer(&request).await;
        }
    });
    while let Some(called) = callers.join_next().await {
        assert_eq!(called.unwrap().unwrap().body.len(), BODY_BYTES);
    }
    connection.close("done");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_for_room_gives_up_at_its_deadline() {
    let mut options = ConnectionOptions::default();
    options.max_outbound_bytes = 10_000;
    let (connection, _peer) = connected_with(&options, 64, Arc::new(Unsupported));
    connection
        .oneway(request(vec![0; 9000]), within(1000))
        .await
        .unwrap();
    let started = Instant::now();
    for body_bytes in [0, 9000, 1 << 20] {
        let error = connection
            .oneway(request(vec![0; body_bytes]), within(700))
            .await
            .unwrap_err();
        if body_bytes > 0 {
            assert_eq!(
                error.kind(),
                ErrorKind::Timeout(Stage::Write),
                "{body_bytes}"
            );
            assert!(!error.maybe_delivered());
        }
    }
    assert!(!connection.is_closed());
    assert!(started.elapsed() <= Duration::from_millis(3 * 700));
}

/// Long headers are not known before they are encoded; they are charged afterwards.
#[tokio::test(start_paused = true)]
async fn long_headers_count_as_well() {
    let mut options = ConnectionOptions::default();
    options.max_outbound_bytes = 100_000;
    let (connection, _peer) = connected_with(&options, 64, Arc::new(Unsupported));
    let mut sent = 0;
    loop {
        let long = request("").with_field("i", &"p".repeat(30_000));
        match connection.oneway(long, within(100)).await {
            Ok(()) => sent += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Timeout(Stage::Write));
                break;
            }
        }
    }
    assert!((3..=4).contains(&sent), "{sent}");
}

/// A frame larger than the whole bound goes out alone.
#[tokio::test(start_paused = true)]
async fn a_frame_beyond_the_bound_is_sent_when_nothing_else_is_queued() {
    let mut options = ConnectionOptions::default();
    options.max_outbound_bytes = 1000;
    let (connection, mut peer) = connected_with(&options, 1024, Arc::new(Unsupported));
    let call = connection
        .begin(request(vec![1; 50_000]), within(1000))
        .await
        .unwrap();
    let asked = peer.request().await;
    assert_eq!(asked.body.len(), 50_000);
    peer.answer(&asked).await;
    assert_eq!(call.await.unwrap().body.len(), 50_000);
}

/// A hung peer: the connection is given up before the caller's own deadline.
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_byte_for_the_write_timeout_is_given_up() {
    let mut options = ConnectionOptions::default();
    options.write_timeout = Duration::from_secs(5);
    let (connection, mut peer) = connected_with(&options, 64, Arc::new(Unsupported));
    let started = Instant::now();
    connection
        .oneway(request(vec![0; 1000]), within(1000))
        .await
        .unwrap();
    let call = connection
        .begin(request("x"), within(60_000))
        .await
        .unwrap();
    // A byte taken now and then shows that the peer is alive.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        tokio::io::AsyncReadExt::read_u8(&mut peer.io)
            .await
            .unwrap();
        assert!(!connection.is_closed());
    }
    let error = call.await.unwrap_err();
    let reason = CloseReason::WriteTimeout(Duration::from_secs(5));
    assert_eq!(error.close_reason(), Some(&reason));
    assert!(error.maybe_delivered(), "it was in the batch being written");
    assert_eq!(started.elapsed(), Duration::from_secs(17));
    connection.closed().await;
}

/// A stream that takes bytes into a buffer of its own, as TLS does, has not given them to the peer.
#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_flushed_for_the_write_timeout_is_given_up() {
    let mut options = ConnectionOptions::default();
    options.write_timeout = Duration::from_secs(5);
    options.idle_timeout = None;
    let (near, _peer) = tokio::io::duplex(64);
    let connection = Connection::start(
        BufStream::with_capacity(64, 1 << 16, near),
        info(),
        &options,
        Arc::new(Unsupported),
    );
    let started = Instant::now();
    connection
        .oneway(request(vec![0; 1000]), within(1000))
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_mins(1), connection.closed())
        .await
        .expect("an end");
    assert_eq!(
        connection.close_reason(),
        Some(&CloseReason::WriteTimeout(Duration::from_secs(5)))
    );
    assert!(started.elapsed() < Duration::from_secs(6));
}

/// What is queued behind the batch being written certainly never left.
#[tokio::test(start_paused = true)]
async fn a_request_that_was_never_given_to_the_socket_was_not_delivered() {
    let (connection, mut peer) =
        connected_with(&ConnectionOptions::default(), 64, Arc::new(Unsupported));
    let first = connection
        .begin(request(vec![0; 1000]), within(60_000))
        .await
        .unwrap();
    settle().await;
    let second = connection
        .begin(request("x"), within(60_000))
        .await
        .unwrap();
    peer.io.write_all(&[0xff; 4]).await.unwrap();
    let error = first.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.maybe_delivered()),
        (ErrorKind::Closed, true)
    );
    let error = second.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.maybe_delivered()),
        (ErrorKind::Closed, false)
    );
}

/// Answers each request at once with a large body, and counts.
struct Generous {
    handled: AtomicUsize,
    body_bytes: usize,
}

impl Generous {
    fn new(body_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            handled: AtomicUsize::new(0),
            body_bytes,
        })
    }
}

impl Handler for Generous {
    fn handle(&self, _: RemotingCommand, responder: Responder) {
        self.handled.fetch_add(1, Ordering::Relaxed);
        let body = vec![0; self.body_bytes];
        responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body(body));
    }
}

/// The server's side: a peer that asks without reading is not read any further, and is served when it reads again.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_responses_is_not_read_either() {
    let mut options = ConnectionOptions::server();
    options.response_high_water_bytes = 256 * 1024;
    options.response_limit_bytes = 4 * 1024 * 1024;
    let handler = Generous::new(32 * 1024);
    let (connection, peer) = connected_with(&options, 1024, Arc::clone(&handler) as _);
    let (mut reading, mut writing) = tokio::io::split(peer.io);
    let asking = tokio::spawn(async move {
        let asked = support::encoded(&request(vec![0; 1000]));
        for _ in 0..300 {
            writing.write_all(&asked).await.unwrap();
        }
        writing
    });
    settle().await;
    let handled = handler.handled.load(Ordering::Relaxed);
    // One read past the mark, and no read brings more than a few requests through this pipe.
    assert!((8..20).contains(&handled), "{handled}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(handler.handled.load(Ordering::Relaxed), handled);
    assert!(!connection.is_closed());

    let mut received = 0;
    let mut buffer = bytes::BytesMut::new();
    while received < 300 {
        tokio::io::AsyncReadExt::read_buf(&mut reading, &mut buffer)
            .await
            .unwrap();
        while let Some(frame) = rocketry_protocol::frame::split(&mut buffer, 1 << 24).unwrap() {
            assert_eq!(
                RemotingCommand::decode(frame).unwrap().body.len(),
                32 * 1024
            );
            received += 1;
        }
    }
    asking.await.unwrap();
}

/// The same holds for requests that came together: what is answered waits for the peer, however many one read has brought.
#[tokio::test(start_paused = true)]
async fn requests_of_one_read_wait_for_the_peer_to_read() {
    let mut options = ConnectionOptions::server();
    options.response_high_water_bytes = 256 * 1024;
    let handler = Generous::new(32 * 1024);
    let (_connection, mut peer) = connected_with(&options, 64 * 1024, Arc::clone(&handler) as _);
    let asked = support::encoded(&request("more"));
    peer.raw(&asked.repeat(300)).await;
    settle().await;
    // Those that the pipe has taken, those below the mark, and the one that reaches it.
    let handled = handler.handled.load(Ordering::Relaxed);
    assert!((8..=11).contains(&handled), "{handled}");
    for received in 0..300 {
        assert_eq!(peer.request().await.body.len(), 32 * 1024);
        let handled = handler.handled.load(Ordering::Relaxed);
        assert!(handled <= received + 13, "{received}: {handled}");
    }
}

/// Responses that come from elsewhere cannot be held back by not reading; a pile of them ends the connection.
#[tokio::test(start_paused = true)]
async fn responses_that_pile_up_beyond_the_limit_end_the_connection() {
    let mut options = ConnectionOptions::server();
    options.response_limit_bytes = 1024 * 1024;
    let (recorder, mut requests) = support::Recorder::new();
    let (connection, mut peer) = connected_with(&options, 65_536, recorder);
    for _ in 0..40 {
        peer.send(&request("long poll")).await;
    }
    let mut answered = 0;
    for _ in 0..40 {
        let (_, responder) = requests.recv().await.unwrap();
        let body = vec![0; 64 * 1024];
        responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body(body));
        if connection.is_closed() {
            break;
        }
        answered += 1;
    }
    assert!((14..=17).contains(&answered), "{answered}");
    assert!(matches!(
        connection.close_reason(),
        Some(CloseReason::Backlog {
            limit: 1_048_576,
            ..
        })
    ));
    connection.closed().await;
}

/// Requests that nobody answers are bounded too: the peer is read again when one is.
#[tokio::test(start_paused = true)]
async fn unanswered_requests_are_bounded() {
    let mut options = ConnectionOptions::server();
    options.max_unanswered = 3;
    let (recorder, mut requests) = support::Recorder::new();
    let (_connection, mut peer) = connected_with(&options, 64, recorder);
    let asking = tokio::spawn(async move {
        for _ in 0..20 {
            peer.send(&request(vec![0; 100])).await;
        }
        peer
    });
    settle().await;
    let mut kept = std::collections::VecDeque::new();
    while let Ok(request) = requests.try_recv() {
        kept.push_back(request);
    }
    assert_eq!(kept.len(), 3);
    for _ in 3..20 {
        // Dropping a responder without an answer counts as well.
        kept.pop_front();
        kept.push_back(requests.recv().await.unwrap());
        settle().await;
        assert!(requests.try_recv().is_err());
    }
    asking.await.unwrap();
}

/// A client and a server that flood each other with requests do not stop each other for good.
#[tokio::test(start_paused = true)]
async fn requests_in_both_directions_at_once_do_not_lock_up() {
    let mut client = ConnectionOptions::default();
    client.max_outbound_bytes = 64 * 1024;
    let mut server = ConnectionOptions::server();
    server.max_outbound_bytes = 64 * 1024;
    server.response_high_water_bytes = 16 * 1024;
    let (near, far) = tokio::io::duplex(1024);
    let ends: Vec<_> = [(near, client), (far, server)]
        .into_iter()
        .map(|(io, options)| {
            let handler = Generous::new(BODY_BYTES);
            Connection::start(io, info(), &options, handler)
        })
        .collect();
    let mut callers = tokio::task::JoinSet::new();
    for connection in &ends {
        for _ in 0..100 {
            let connection = connection.clone();
            callers.spawn(async move {
                connection
                    .call(request(vec![0; 1000]), within(20_000))
                    .await
            });
        }
    }
    while let Some(called) = callers.join_next().await {
        assert_eq!(called.unwrap().unwrap().body.len(), BODY_BYTES);
    }
}
