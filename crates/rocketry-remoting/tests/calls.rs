//! Calls and one-way requests of one connection: who gets which response, when callers give up, and what ends the connection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here fails the test"
)]

mod support;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rocketry_protocol::{
    DecodeError, Language, RemotingCommand, RequestCode, ResponseCode, Serialization,
};
use rocketry_remoting::{
    CloseReason, Connection, ConnectionOptions, Deadline, ErrorKind, Stage, Unsupported,
};
use support::{
    Peer, Recorder, connected, connected_with, drop_after, info, request, settle, within,
};
use tokio::{io::AsyncWrite, time::Instant};

#[tokio::test(start_paused = true)]
async fn responses_find_their_callers_in_any_order() {
    let (connection, mut peer) = connected(&ConnectionOptions::default());
    let mut calls = Vec::new();
    for n in 0..100u8 {
        calls.push((
            n,
            connection
                .begin(request(vec![n]), within(3000))
                .await
                .unwrap(),
        ));
    }
    let mut requests = Vec::new();
    for n in 0..100u8 {
        let request = peer.request().await;
        assert_eq!(request.body[..], [n], "sent in the order of the calls");
        assert!(!request.is_response() && !request.is_oneway());
        requests.push(request);
    }
    for request in requests.iter().rev() {
        peer.answer(request).await;
    }
    for (n, call) in calls {
        assert_eq!(call.await.unwrap().body[..], [n]);
    }
    assert_eq!(connection.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn bodies_of_any_size_pass_both_ways() {
    let (connection, mut peer) = connected(&ConnectionOptions::default());
    let echo = tokio::spawn(async move {
        while let Some(request) = peer.receive().await {
            peer.answer(&request).await;
        }
    });
    for size in [0, 1, 1024, 16_383, 16_384, 16_385, 1 << 20, 5 << 20] {
        let body: Vec<u8> = (0..size).map(|n: u32| n.to_be_bytes()[3]).collect();
        let reply = connection
            .call(request(body.clone()), within(3000))
            .await
            .unwrap();
        assert!(reply.body == body, "{size} bytes");
    }
    connection.close("done");
    echo.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn both_sides_may_use_the_same_opaque_at_the_same_time() {
    let (recorder, mut requests) = Recorder::new();
    let (connection, mut peer) = connected_with(&ConnectionOptions::default(), 65_536, recorder);
    let call = connection
        .begin(request("ours"), within(3000))
        .await
        .unwrap();
    let ours = peer.request().await;
    let mut theirs = request("theirs");
    theirs.opaque = ours.opaque;
    peer.send(&theirs).await;
    let (received, responder) = requests.recv().await.unwrap();
    assert_eq!(received.body, "theirs");
    responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body("for theirs"));
    let answer = peer.request().await;
    assert_eq!(
        (answer.opaque, answer.body),
        (ours.opaque, "for theirs".into())
    );
    peer.answer(&ours).await;
    assert_eq!(call.await.unwrap().body, "ours");
}

#[tokio::test(start_paused = true)]
async fn a_response_carries_the_requests_opaque_and_serialization() {
    let (recorder, mut requests) = Recorder::new();
    let (_connection, mut peer) = connected_with(&ConnectionOptions::default(), 65_536, recorder);
    for serialization in [Serialization::Json, Serialization::Binary] {
        let mut asked = request("");
        asked.opaque = -7;
        asked.serialization = serialization;
        peer.send(&asked).await;
        let (_, responder) = requests.recv().await.unwrap();
        let mut response = RemotingCommand::response(ResponseCode::SUCCESS);
        response.flag = 2;
        responder.respond(response);
        let answer = peer.request().await;
        assert_eq!(answer.opaque, -7);
        assert_eq!(answer.serialization, serialization);
        assert!(answer.is_response() && !answer.is_oneway());
    }
}

#[tokio::test(start_paused = true)]
async fn a_oneway_request_is_never_answered() {
    let (recorder, mut requests) = Recorder::new();
    let (_connection, mut peer) = connected_with(&ConnectionOptions::default(), 65_536, recorder);
    peer.send(&request("one way").with_oneway()).await;
    let (_, responder) = requests.recv().await.unwrap();
    assert!(responder.is_oneway());
    responder.respond(RemotingCommand::response(ResponseCode::SYSTEM_ERROR));
    peer.send(&request("two ways")).await;
    let (_, responder) = requests.recv().await.unwrap();
    responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_remark("second"));
    assert_eq!(peer.request().await.remark.as_deref(), Some("second"));
}

/// P-146
#[tokio::test(start_paused = true)]
async fn an_unknown_request_code_is_answered_with_code_3() {
    let (_connection, mut peer) = connected(&ConnectionOptions::default());
    let mut unknown = RemotingCommand::bare_request(RequestCode(9999));
    unknown.opaque = 41;
    peer.send(&unknown).await;
    let answer = peer.request().await;
    assert_eq!(
        answer.response_code(),
        ResponseCode::REQUEST_CODE_NOT_SUPPORTED
    );
    assert_eq!(answer.opaque, 41);
    assert_eq!(
        answer.remark.as_deref(),
        Some(" request type 9999 not supported")
    );
}

#[tokio::test(start_paused = true)]
async fn a_response_that_cannot_be_encoded_becomes_an_error_response() {
    let (recorder, mut requests) = Recorder::new();
    let (_connection, mut peer) = connected_with(&ConnectionOptions::default(), 65_536, recorder);
    peer.send(&request("")).await;
    let (_, responder) = requests.recv().await.unwrap();
    let oversized = vec![0; 17 * 1024 * 1024];
    responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body(oversized));
    let answer = peer.request().await;
    assert_eq!(answer.response_code(), ResponseCode::SYSTEM_ERROR);
    assert!(answer.is_response());
    assert!(answer.remark.unwrap().contains("cannot be encoded"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_encoded_fails_alone() {
    let (connection, mut peer) = connected(&ConnectionOptions::default());
    let oversized = vec![0; 17 * 1024 * 1024];
    let error = connection
        .call(request(oversized.clone()), within(3000))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(!error.maybe_delivered());
    let error = connection
        .oneway(request(oversized), within(3000))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert_eq!(connection.in_flight(), 0);
    let call = connection
        .begin(request("fits"), within(3000))
        .await
        .unwrap();
    let fits = peer.request().await;
    peer.answer(&fits).await;
    assert_eq!(call.await.unwrap().body, "fits");
}

/// P-139: all fail at once, and each knows why.
#[tokio::test(start_paused = true)]
async fn the_peer_closing_fails_all_calls_in_flight_at_once() {
    let (recorder, _requests) = Recorder::new();
    let options = ConnectionOptions::default();
    let (connection, mut peer) = connected_with(&options, 65_536, Arc::clone(&recorder) as _);
    let mut calls = Vec::new();
    for _ in 0..50 {
        calls.push(connection.begin(request("x"), within(3000)).await.unwrap());
    }
    for _ in 0..50 {
        peer.request().await;
    }
    let started = Instant::now();
    drop(peer);
    for call in calls {
        let error = call.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(error.close_reason(), Some(&CloseReason::Peer));
        assert_eq!(error.addr(), "broker.test:10911");
        assert!(error.maybe_delivered(), "it was written");
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    connection.closed().await;
    assert_eq!(recorder.events(), ["opened", "closed by the peer"]);
    let error = connection
        .call(request("late"), within(3000))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(!error.maybe_delivered());
    let error = connection
        .oneway(request("late"), within(3000))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

/// P-140: the entry goes at the deadline, the late response and unknown ones are ignored, the connection stays.
#[tokio::test(start_paused = true)]
async fn a_timeout_frees_its_place_and_the_late_response_is_ignored() {
    let mut options = ConnectionOptions::default();
    options.close_when_silent = false;
    options.max_calls = 1;
    let (connection, mut peer) = connected(&options);
    let started = Instant::now();
    let error = connection
        .call(request("slow"), within(500))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Stage::Response));
    assert!(error.maybe_delivered());
    assert_eq!(error.elapsed(), Duration::from_millis(500));
    assert_eq!(started.elapsed(), Duration::from_millis(500));
    assert_eq!(connection.in_flight(), 0);
    assert_eq!(
        error.to_string(),
        "no response from broker.test:10911 within 500 ms"
    );

    let slow = peer.request().await;
    let next = connection
        .begin(request("next"), within(500))
        .await
        .unwrap();
    peer.answer(&slow).await;
    let mut unknown = slow.clone();
    unknown.opaque = 12_345;
    peer.answer(&unknown).await;
    let second = peer.request().await;
    peer.answer(&second).await;
    assert_eq!(next.await.unwrap().body, "next");
    peer.answer(&second).await;
    settle().await;
    assert_eq!(connection.unmatched_responses(), 3);
    assert!(!connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn each_call_ends_at_its_own_deadline() {
    let mut options = ConnectionOptions::default();
    options.close_when_silent = false;
    let (connection, _peer) = connected(&options);
    let started = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    // Descending, so that every call is due before the one that the clock was set for.
    for ms in [3000, 700, 700, 350, 20, 5000] {
        let connection = connection.clone();
        calls.spawn(async move {
            let result = connection.call(request(""), within(ms)).await;
            (ms, result.unwrap_err().kind(), started.elapsed())
        });
    }
    while let Some(ended) = calls.join_next().await {
        let (ms, kind, elapsed) = ended.unwrap();
        assert_eq!(kind, ErrorKind::Timeout(Stage::Response));
        assert!(
            elapsed.as_millis().abs_diff(u128::from(ms)) <= 1,
            "{ms} ms: {elapsed:?}"
        );
    }
}

/// P-141, first half
#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_after_a_timeout() {
    let (connection, mut peer) = connected(&ConnectionOptions::default());
    let patient = connection
        .begin(request("patient"), within(60_000))
        .await
        .unwrap();
    let error = connection
        .call(request("x"), within(1000))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Stage::Response));
    let error = patient.await.unwrap_err();
    assert_eq!(error.close_reason(), Some(&CloseReason::Silent));
    connection.closed().await;
    assert_eq!(peer.request().await.body, "patient");
    assert_eq!(peer.request().await.body, "x");
    assert!(peer.sees_end().await);
}

/// P-141, second half; and a call that had no time to speak of says nothing about the peer.
#[tokio::test(start_paused = true)]
async fn a_connection_that_delivers_something_survives_timeouts() {
    let (connection, mut peer) = connected(&ConnectionOptions::default());
    let slow = connection
        .begin(request("slow"), within(1000))
        .await
        .unwrap();
    let quick = connection
        .begin(request("quick"), within(1000))
        .await
        .unwrap();
    peer.request().await;
    let asked = peer.request().await;
    peer.answer(&asked).await;
    quick.await.unwrap();
    let error = slow.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Stage::Response));
    let error = connection
        .call(request("hasty"), within(100))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Stage::Response));
    settle().await;
    assert!(!connection.is_closed());
}

/// P-142
#[tokio::test(start_paused = true)]
async fn callers_beyond_the_permits_wait_and_time_out_while_the_connection_stays() {
    let mut options = ConnectionOptions::default();
    options.max_calls = 2;
    let (connection, mut peer) = connected(&options);
    let first = connection
        .begin(request("1"), within(10_000))
        .await
        .unwrap();
    let _second = connection
        .begin(request("2"), within(10_000))
        .await
        .unwrap();
    let started = Instant::now();
    let error = connection
        .call(request("3"), within(300))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Stage::Permit));
    assert!(!error.maybe_delivered());
    assert_eq!(started.elapsed(), Duration::from_millis(300));
    let error = connection
        .call(request("4"), Deadline::at(Instant::now()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(!connection.is_closed());

    let waiting = connection.call(request("5"), within(300));
    let (waiting, ()) = tokio::join!(waiting, async {
        let one = peer.request().await;
        peer.request().await;
        peer.answer(&one).await;
        first.await.unwrap();
        let five = peer.request().await;
        peer.answer(&five).await;
    });
    assert_eq!(waiting.unwrap().body, "5");
}

/// P-089 and P-091, the connection's part: no entry, flag 2, permits come back when the bytes are written.
/// A peer that answers a one-way request all the same answers no call with it.
#[tokio::test(start_paused = true)]
async fn the_answer_to_a_oneway_request_reaches_no_call() {
    let (connection, mut peer) = connected(&ConnectionOptions::default());
    let call = connection
        .begin(request("call"), within(3000))
        .await
        .unwrap();
    connection
        .oneway(request("one way"), within(3000))
        .await
        .unwrap();
    let (first, second) = (peer.request().await, peer.request().await);
    assert!(second.is_oneway() && first.opaque != second.opaque);
    peer.answer(&second).await;
    settle().await;
    assert_eq!(connection.unmatched_responses(), 1);
    peer.answer(&first).await;
    assert_eq!(call.await.unwrap().body, "call");
}

#[tokio::test(start_paused = true)]
async fn oneway_requests_return_when_queued_and_are_bounded() {
    let mut options = ConnectionOptions::default();
    options.max_oneways = 3;
    let (connection, mut peer) = connected_with(&options, 16, Arc::new(Unsupported));
    for _ in 0..3 {
        connection.oneway(request("x"), within(1000)).await.unwrap();
    }
    assert_eq!(connection.in_flight(), 0);
    let started = Instant::now();
    let error = connection
        .oneway(request("x"), within(1000))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Stage::Permit));
    assert!(!error.maybe_delivered());
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    let error = connection.flushed(within(1000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Stage::Write));

    for _ in 0..3 {
        assert!(peer.request().await.is_oneway());
    }
    connection.flushed(within(1000)).await.unwrap();
    for _ in 0..3 {
        connection.oneway(request("y"), within(1000)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_past_sends_nothing() {
    let (connection, mut peer) = connected(&ConnectionOptions::default());
    let past = Deadline::at(Instant::now());
    let error = connection.call(request("call"), past).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout(_)));
    let error = connection
        .oneway(request("oneway"), past)
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout(_)));
    connection.close("done");
    assert!(peer.sees_end().await);
}

/// P-149: wherever a call is dropped, its entry, its permit and its room come back.
#[tokio::test(start_paused = true)]
async fn dropping_a_call_at_any_point_frees_everything() {
    let mut options = ConnectionOptions::default();
    options.max_calls = 1;
    options.max_oneways = 1;
    options.max_outbound_bytes = 1000;
    let (connection, mut peer) = connected_with(&options, 256, Arc::new(Unsupported));
    let server = tokio::spawn(async move {
        while let Some(request) = peer.receive().await {
            if !request.is_oneway() {
                peer.answer(&request).await;
            }
        }
    });
    let body = vec![7; 900];
    for blocked in [false, true] {
        for polls in 0.. {
            // Someone else holds the only permit, so that the call is dropped while it waits for one.
            let holder = if blocked {
                Some(
                    connection
                        .begin(request("holder"), within(1000))
                        .await
                        .unwrap(),
                )
            } else {
                None
            };
            let call =
                drop_after(connection.call(request(body.clone()), within(1000)), polls).await;
            drop(holder);
            let oneway = drop_after(
                connection.oneway(request(body.clone()), within(1000)),
                polls,
            )
            .await;
            assert_eq!(connection.in_flight(), 0, "{polls} polls");
            let reply = connection.call(request(body.clone()), within(1000)).await;
            assert_eq!(reply.expect("the only permit and all the room").body, body);
            connection
                .oneway(request(body.clone()), within(1000))
                .await
                .unwrap();
            if (call || blocked) && oneway && polls > 20 {
                break;
            }
        }
    }
    connection.close("done");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_the_connection_after_writing_what_is_queued() {
    let (connection, mut peer) = connected(&ConnectionOptions::default());
    connection
        .oneway(request("last words"), within(1000))
        .await
        .unwrap();
    let clone = connection.clone();
    drop(connection);
    assert!(!clone.is_closed());
    drop(clone);
    assert_eq!(peer.request().await.body, "last words");
    assert!(peer.sees_end().await);
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_keeps_the_connection_open() {
    let (connection, mut peer) = connected(&ConnectionOptions::default());
    let call = connection.begin(request("x"), within(1000)).await.unwrap();
    drop(connection);
    let asked = peer.request().await;
    peer.answer(&asked).await;
    assert_eq!(call.await.unwrap().body, "x");
    assert!(peer.sees_end().await);
}

#[tokio::test(start_paused = true)]
async fn a_kept_responder_answers_later_and_keeps_the_connection_open() {
    let (recorder, mut requests) = Recorder::new();
    let (connection, mut peer) = connected_with(&ConnectionOptions::default(), 65_536, recorder);
    peer.send(&request("long poll")).await;
    let (_, responder) = requests.recv().await.unwrap();
    assert_eq!(responder.connection().id(), connection.id());
    drop(connection);
    tokio::time::sleep(Duration::from_secs(15)).await;
    responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body("found"));
    assert_eq!(peer.request().await.body, "found");
    assert!(peer.sees_end().await);
}

// Time runs: a paused clock would jump ahead while the other thread works.
#[tokio::test]
async fn many_requests_are_answered_from_another_thread_at_once() {
    let (recorder, mut requests) = Recorder::new();
    let (_connection, mut peer) = connected_with(&ConnectionOptions::default(), 65_536, recorder);
    for n in 0..20 {
        let mut asked = request("");
        asked.opaque = n;
        peer.send(&asked).await;
    }
    let mut answers = Vec::new();
    for _ in 0..20 {
        let (_, responder) = requests.recv().await.unwrap();
        answers.push((responder, RemotingCommand::response(ResponseCode::SUCCESS)));
    }
    let answering = std::thread::spawn(|| rocketry_remoting::Responder::respond_all(answers));
    for n in 0..20 {
        assert_eq!(peer.request().await.opaque, n);
    }
    answering.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_fails_calls_now_and_still_writes_what_is_queued() {
    let (connection, mut peer) = connected(&ConnectionOptions::default());
    let call = connection.begin(request("x"), within(1000)).await.unwrap();
    connection.close("enough");
    connection.close("again");
    let error = call.await.unwrap_err();
    assert_eq!(
        error.close_reason(),
        Some(&CloseReason::Local("enough".into()))
    );
    assert!(error.maybe_delivered(), "it is still written");
    assert_eq!(peer.request().await.body, "x");
    assert!(peer.sees_end().await);
    drop(peer);
    connection.closed().await;
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_longer_than_the_linger_time_for_the_peer() {
    let (connection, _peer) =
        connected_with(&ConnectionOptions::default(), 16, Arc::new(Unsupported));
    connection
        .oneway(request("nobody reads this"), within(1000))
        .await
        .unwrap();
    connection.close("enough");
    let started = Instant::now();
    connection.closed().await;
    assert_eq!(started.elapsed(), ConnectionOptions::default().linger);
}

/// P-143, the closing half
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let mut options = ConnectionOptions::default();
    options.idle_timeout = Some(Duration::from_secs(2));
    let (connection, mut peer) = connected(&options);
    let started = Instant::now();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    connection
        .oneway(request("alive"), within(1000))
        .await
        .unwrap();
    peer.request().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    peer.send(&request("alive as well").with_oneway()).await;
    assert!(peer.sees_end().await);
    assert_eq!(started.elapsed().as_millis(), 5000);
    assert_eq!(
        connection.close_reason(),
        Some(&CloseReason::Idle(Duration::from_secs(2)))
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_idle_timeout_a_connection_stays() {
    let mut options = ConnectionOptions::default();
    options.idle_timeout = None;
    let (connection, _peer) = connected(&options);
    tokio::time::sleep(Duration::from_hours(24)).await;
    assert!(!connection.is_closed());
}

/// As Go's one-way sends do, which are not marked as such.
#[tokio::test(start_paused = true)]
async fn requests_of_a_peer_that_takes_no_answers_are_still_handled() {
    let (recorder, mut requests) = Recorder::new();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let stream = tokio::io::join(near, BrokenPipe);
    let _connection = Connection::start(stream, info(), &ConnectionOptions::default(), recorder);
    let mut peer = Peer::new(far);
    for n in 0..10u8 {
        peer.send(&request(vec![n])).await;
        let (request, responder) = requests.recv().await.unwrap();
        assert_eq!(request.body[..], [n]);
        responder.respond(RemotingCommand::response(ResponseCode::SUCCESS));
        settle().await;
    }
    drop(peer);
    assert!(requests.recv().await.is_none(), "the connection has ended");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_written_fails_after_the_linger_time_at_the_latest() {
    let options = ConnectionOptions::default();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let stream = tokio::io::join(near, BrokenPipe);
    let connection = Connection::start(stream, info(), &options, Arc::new(Unsupported));
    let started = Instant::now();
    let error = connection
        .call(request("lost"), within(10_000))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(started.elapsed(), options.linger);
    drop(far);
}

/// The writing half of a socket whose peer has reset it.
struct BrokenPipe;

impl AsyncWrite for BrokenPipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// P-147 and worse: each ends the connection with a reason that every waiting call gets, and allocates nothing for a length alone.
#[tokio::test(start_paused = true)]
async fn malformed_bytes_close_the_connection_and_fail_its_calls() {
    let mut valid = support::encoded(&request("x"));
    let header_too_long = {
        valid[5] = 0xff;
        valid.to_vec()
    };
    let cases: [(&str, Vec<u8>); 8] = [
        (
            "length above the limit",
            (16_777_213_i32).to_be_bytes().to_vec(),
        ),
        ("negative length", (-1_i32).to_be_bytes().to_vec()),
        (
            "length without room for a header word",
            [0, 0, 0, 3, 1, 2, 3].to_vec(),
        ),
        ("header longer than the frame", header_too_long),
        (
            "unknown serialisation",
            [0, 0, 0, 6, 9, 0, 0, 2, b'{', b'}'].to_vec(),
        ),
        (
            "header that is not JSON",
            [0, 0, 0, 6, 0, 0, 0, 2, b'{', b'x'].to_vec(),
        ),
        (
            "binary header cut short",
            [0, 0, 0, 6, 1, 0, 0, 2, 0, 0].to_vec(),
        ),
        (
            "TLS hello",
            [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].to_vec(),
        ),
    ];
    for (name, bytes) in cases {
        let (connection, mut peer) = connected(&ConnectionOptions::default());
        let first = connection
            .begin(request("first"), within(3000))
            .await
            .unwrap();
        let second = connection
            .begin(request("second"), within(3000))
            .await
            .unwrap();
        let asked = peer.request().await;
        peer.request().await;
        // The good frame before the bad one counts.
        let mut all =
            support::encoded(&RemotingCommand::response(ResponseCode::SUCCESS).answering(&asked));
        all.extend_from_slice(&bytes);
        peer.raw(&all).await;
        assert!(first.await.is_ok(), "{name}");
        let error = second.await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Closed, "{name}");
        assert!(
            matches!(error.close_reason(), Some(CloseReason::Malformed(_))),
            "{name}"
        );
        connection.closed().await;
        assert!(peer.sees_end().await, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_frame_limit_is_exact() {
    let mut options = ConnectionOptions::default();
    let (recorder, mut requests) = Recorder::new();
    let frame = support::encoded(&request(vec![0; 5000]));
    options.max_frame_bytes = frame.len();
    let (connection, mut peer) = connected_with(&options, 65_536, recorder);
    peer.raw(&frame).await;
    assert_eq!(requests.recv().await.unwrap().0.body.len(), 5000);
    peer.send(&request(vec![0; 5001])).await;
    assert!(peer.sees_end().await);
    assert!(matches!(
        connection.close_reason(),
        Some(CloseReason::Malformed(DecodeError::OutOfBounds { .. }))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_frame_may_arrive_byte_by_byte_and_end_in_the_middle() {
    let (recorder, mut requests) = Recorder::new();
    let options = ConnectionOptions::default();
    let (connection, mut peer) = connected_with(&options, 1, Arc::clone(&recorder) as _);
    let frame = support::encoded(&request("drop by drop"));
    peer.raw(&frame).await;
    assert_eq!(requests.recv().await.unwrap().0.body, "drop by drop");
    peer.raw(&frame[..frame.len() - 1]).await;
    drop(peer);
    connection.closed().await;
    assert_eq!(connection.close_reason(), Some(&CloseReason::Peer));
    assert!(requests.try_recv().is_err());
}

/// Random bytes, and valid frames with random damage: never a panic, and the connection ends or goes on, but never hangs.
#[tokio::test(start_paused = true)]
async fn random_bytes_never_panic() {
    let valid = support::encoded(
        &request("body")
            .with_field("topic", "T")
            .with_field("queueId", "1"),
    );
    let mut seed = 0x5eed_u64;
    let mut random = move || {
        // xorshift64: repeatable without a dependency.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..2000 {
        let (recorder, _requests) = Recorder::new();
        let options = ConnectionOptions::default();
        let (connection, mut peer) = connected_with(&options, 65_536, Arc::clone(&recorder) as _);
        let mut bytes = valid.to_vec();
        if round % 4 == 0 {
            bytes = (0..random() % 200)
                .map(|_| random().to_be_bytes()[7])
                .collect();
        } else {
            for _ in 0..=random() % 4 {
                let at = usize::try_from(random()).unwrap() % bytes.len();
                bytes[at] = random().to_be_bytes()[7];
            }
        }
        peer.raw(&bytes).await;
        drop(peer);
        connection.closed().await;
        let reason = connection.close_reason().unwrap();
        assert!(
            matches!(reason, CloseReason::Peer | CloseReason::Malformed(_)),
            "round {round}: {reason}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_ends_its_connection_only() {
    struct Panics;
    impl rocketry_remoting::Handler for Panics {
        fn handle(&self, _: RemotingCommand, _: rocketry_remoting::Responder) {
            panic!("a bug in the handler");
        }
    }
    let options = ConnectionOptions::default();
    let (connection, mut peer) = connected_with(&options, 65_536, Arc::new(Panics));
    let call = connection.begin(request("x"), within(3000)).await.unwrap();
    peer.send(&request("boom")).await;
    let error = call.await.unwrap_err();
    assert_eq!(error.close_reason(), Some(&CloseReason::Aborted));
    connection.closed().await;
}

#[test]
fn a_runtime_that_is_dropped_fails_calls_instead_of_leaving_them_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (connection, call, _peer) = runtime.block_on(async {
        let (connection, peer) = connected(&ConnectionOptions::default());
        let call = connection
            .begin(request("x"), within(60_000))
            .await
            .unwrap();
        (connection, call, peer)
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let error = other.block_on(call).unwrap_err();
    assert_eq!(error.close_reason(), Some(&CloseReason::Aborted));
    other.block_on(connection.closed());
}

#[tokio::test(start_paused = true)]
async fn requests_name_their_language_and_version() {
    let (connection, mut peer) = connected(&ConnectionOptions::default());
    connection.oneway(request("x"), within(1000)).await.unwrap();
    let sent = peer.request().await;
    assert_eq!(sent.language, Some(Language::RUST));
    assert_eq!(sent.version, rocketry_protocol::VERSION);
}
