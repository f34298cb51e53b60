//! How often a send allocates, once everything is warm, and how much one in flight takes: counted, so that neither can creep up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "counting allocations takes a global allocator")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use rocketry::{BrokerData, Client, Message, ProducerConfig, QueueData, TopicRouteData};
use rocketry_protocol::{
    RemotingCommand, RequestCode, ResponseCode, body,
    header::{SendMessageReply, SendMessageRequest},
};
use rocketry_remoting::{Handler, Listener, ListenerOptions, Responder};

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
    /// Bytes that were allocated and not given back.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn hold(layout: Layout) {
    HELD.with(|held| held.set(held.get().wrapping_add_unsigned(layout.size())));
}

fn give_back(layout: Layout) {
    HELD.with(|held| held.set(held.get().wrapping_sub_unsigned(layout.size())));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory that it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        hold(layout);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        give_back(layout);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        HELD.with(|held| {
            let grown = size.cast_signed() - layout.size().cast_signed();
            held.set(held.get().wrapping_add(grown));
        });
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Name server and broker in one, on a thread of its own, so that only the client's thread is counted.
struct Answering {
    addr: SocketAddr,
    /// Sends that are not answered as long as there is a place for them here.
    held: Held,
}

impl Handler for Answering {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        if let Some(held) = &mut *self.held.lock().unwrap()
            && request.request_code() == RequestCode::SEND_MESSAGE_V2
        {
            held.push(responder);
            return;
        }
        let ok = RemotingCommand::response(ResponseCode::SUCCESS);
        responder.respond(match request.request_code() {
            RequestCode::GET_ROUTEINFO_BY_TOPIC => {
                let route = TopicRouteData {
                    broker_datas: vec![BrokerData {
                        broker_name: "a".to_owned(),
                        broker_addrs: [(0, self.addr.to_string())].into(),
                        ..BrokerData::default()
                    }],
                    queue_datas: vec![QueueData {
                        broker_name: "a".to_owned(),
                        perm: 6,
                        read_queue_nums: 4,
                        write_queue_nums: 4,
                        ..QueueData::default()
                    }],
                    ..TopicRouteData::default()
                };
                ok.with_body(body::encode_standard(&route).unwrap())
            }
            RequestCode::SEND_MESSAGE_V2 => {
                let header: SendMessageRequest<'_> = request.header().unwrap();
                let id = "7F00000100002A9F0000000000001234".to_owned();
                ok.with_header(&SendMessageReply::new(id, header.queue_id, 7))
            }
            _ => ok,
        });
    }
}

type Held = Arc<Mutex<Option<Vec<Responder>>>>;

fn serve() -> (SocketAddr, Held) {
    let held = Held::default();
    let kept = Arc::clone(&held);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = free.local_addr().unwrap();
            drop(free);
            let handler = Arc::new(Answering { addr, held: kept });
            let _listener = Listener::bind(addr, ListenerOptions::default(), handler).unwrap();
            sender.send(addr).unwrap();
            std::future::pending::<()>().await;
        });
    });
    (receiver.recv().unwrap(), held)
}

#[test]
fn a_synchronous_send_allocates_at_most_eight_times() {
    const SENDS: u32 = 1000;
    let (addr, _held) = serve();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::connect(addr).await.unwrap();
        let producer = client.producer("PG").await.unwrap();
        let topic: Arc<str> = "T".into();
        let body = Bytes::from_static(b"hello");
        let message = || Message::new(Arc::clone(&topic), body.clone()).tag("TagA");
        for _ in 0..100 {
            producer.send(message()).await.unwrap();
        }
        let before = COUNT.get();
        for _ in 0..SENDS {
            producer.send(message()).await.unwrap();
        }
        let per_send = f64::from(COUNT.get() - before) / f64::from(SENDS);
        println!("{per_send:.2} allocations per synchronous send, message and result included");
        assert!(per_send <= 8.0, "{per_send:.2}");
    });
}

/// Everything on the client's side: message, ticket, the connection's table. The body is the application's.
#[test]
fn an_asynchronous_send_in_flight_takes_at_most_1000_bytes() {
    const SENDS: usize = 4000;
    let (addr, held) = serve();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::connect(addr).await.unwrap();
        let config = ProducerConfig {
            in_flight_messages: SENDS,
            timeout: Duration::from_mins(1),
            ..ProducerConfig::default()
        };
        let producer = client.producer("PG").config(config).await.unwrap();
        let topic: Arc<str> = "T".into();
        let body = Bytes::from_static(b"hello");
        let message = || Message::new(Arc::clone(&topic), body.clone()).tag("TagA");
        producer.send(message()).await.unwrap();
        *held.lock().unwrap() = Some(Vec::new());
        let before = HELD.get();
        let mut tickets = Vec::with_capacity(SENDS);
        for _ in 0..SENDS {
            tickets.push(producer.enqueue(message()).await.unwrap());
        }
        let arrived = || held.lock().unwrap().as_ref().map_or(0, Vec::len);
        while arrived() < SENDS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let each = (HELD.get() - before) / SENDS.cast_signed();
        println!("{each} bytes per asynchronous send in flight");
        assert!(each <= 1000, "{each}");
    });
}

/// Beside what the connection's buffer holds: a send that waits for room in it, before its ticket is there.
#[test]
fn a_send_that_waits_for_room_takes_at_most_1300_bytes() {
    const WAITING: usize = 4000;
    let (addr, _held) = serve();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::connect(addr).await.unwrap();
        let config = ProducerConfig {
            in_flight_messages: 100_000,
            timeout: Duration::from_mins(1),
            ..ProducerConfig::default()
        };
        let producer = client.producer("PG").config(config).await.unwrap();
        let topic: Arc<str> = "T".into();
        let body = Bytes::from_static(&[0; 1024]);
        let message = || Message::new(Arc::clone(&topic), body.clone()).tag("TagA");
        producer.send(message()).await.unwrap();
        // nothing is written meanwhile: this is the runtime's only thread
        let mut context = Context::from_waker(Waker::noop());
        let mut enqueue = || {
            let mut sending = producer.enqueue(message()).into_future();
            let polled = sending.as_mut().poll(&mut context);
            (polled, sending)
        };
        let mut tickets = Vec::new();
        let first = loop {
            match enqueue() {
                (Poll::Ready(ticket), _) => tickets.push(ticket.unwrap()),
                (Poll::Pending, waiting) => break waiting,
            }
        };
        let mut waiting = Vec::with_capacity(WAITING);
        let before = HELD.get();
        while waiting.len() < WAITING {
            let (polled, sending) = enqueue();
            assert!(polled.is_pending());
            waiting.push(sending);
        }
        let each = (HELD.get() - before) / WAITING.cast_signed();
        println!("{each} bytes per send that waits for room");
        assert!(each <= 1300, "{each}");
        drop(waiting.pop());
        assert_eq!(producer.metrics().dropped, 1);
        tickets.push(first.await.unwrap());
        for sending in waiting {
            tickets.push(sending.await.unwrap());
        }
        for ticket in tickets {
            ticket.await.unwrap();
        }
        assert_eq!(producer.metrics().in_flight, 0);
    });
}
