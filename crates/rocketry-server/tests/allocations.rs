//! How often the server allocates for a message that it stores, once everything is warm: counted, so that it cannot creep up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "counting allocations takes a global allocator")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rocketry_protocol::{RemotingCommand, frame, header::SendMessageRequest};
use rocketry_server::Server;
use tokio::time::Instant;

static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Set on the thread that plays the client.
    static IGNORED: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

impl Counting {
    fn count() {
        if !IGNORED.with(Cell::get) {
            COUNT.fetch_add(1, Relaxed);
        }
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory that it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Requests written at a time.
const TOGETHER: u64 = 64;
/// The target is 4. Three are each message's own; what is beyond them are buffers and timers of the whole process.
const BUDGET: f64 = 3.5;

fn requests() -> BytesMut {
    let mut bytes = BytesMut::new();
    for _ in 0..TOGETHER {
        let request = SendMessageRequest {
            producer_group: "PG",
            topic: "T",
            default_topic: "TBW102",
            default_topic_queue_nums: 4,
            born_timestamp: 1_700_000_000_000,
            properties: "UNIQ_KEY\u{1}7F000001000100000000000000000001\u{2}WAIT\u{1}true\u{2}",
            ..SendMessageRequest::default()
        };
        RemotingCommand::request(&request)
            .with_body(Bytes::from_static(&[b'x'; 1024]))
            .encode(&mut bytes)
            .unwrap();
    }
    bytes
}

/// Writes the requests and reads as many answers, all of which say that the message is stored.
fn round(stream: &mut TcpStream, requests: &[u8], answers: &mut BytesMut, buffer: &mut [u8]) {
    stream.write_all(requests).unwrap();
    let mut left = TOGETHER;
    while left > 0 {
        let read = stream.read(buffer).unwrap();
        assert!(read > 0, "the server closed the connection");
        answers.extend_from_slice(buffer.get(..read).unwrap());
        while let Some(frame) = frame::split(answers, frame::MAX_FRAME_BYTES).unwrap() {
            let answer = RemotingCommand::decode(frame).unwrap();
            assert_eq!(answer.response_code().0, 0, "{:?}", answer.remark);
            left -= 1;
        }
    }
}

#[test]
fn storing_a_message_allocates_at_most_as_often_as_budgeted() {
    const ROUNDS: u64 = 100;
    const WARM_UP: Duration = Duration::from_millis(1500);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(Server::start_temp()).unwrap();
    let addr: SocketAddr = server.broker_addr().parse().unwrap();
    IGNORED.set(true);
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    let requests = requests();
    let (mut answers, mut buffer) = (BytesMut::new(), vec![0; 256 * 1024]);
    // the first look for old messages, half a second after the start, reads the system's time zones once
    let started = Instant::now();
    while started.elapsed() < WARM_UP {
        round(&mut stream, &requests, &mut answers, &mut buffer);
    }
    let before = COUNT.load(Relaxed);
    for _ in 0..ROUNDS {
        round(&mut stream, &requests, &mut answers, &mut buffer);
    }
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let each = (COUNT.load(Relaxed) - before) as f64 / (ROUNDS * TOGETHER) as f64;
    println!("{each:.2} allocations per stored message, request and answer included");
    assert!(each <= BUDGET, "{each:.2}");
    let stopped = server.shutdown(Duration::from_secs(10));
    runtime.block_on(stopped).unwrap();
}
