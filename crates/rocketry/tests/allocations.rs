//! How often a send allocates, once everything is warm: counted, so that it cannot creep up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "counting allocations takes a global allocator")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::SocketAddr,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use rocketry::{BrokerData, Client, Message, QueueData, TopicRouteData};
use rocketry_protocol::{
    RemotingCommand, RequestCode, ResponseCode, body,
    header::{SendMessageReply, SendMessageRequest},
};
use rocketry_remoting::{Handler, Listener, ListenerOptions, Responder};

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory that it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Name server and broker in one, on a thread of its own, so that only the client's thread is counted.
struct Answering(SocketAddr);

impl Handler for Answering {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        let ok = RemotingCommand::response(ResponseCode::SUCCESS);
        responder.respond(match request.request_code() {
            RequestCode::GET_ROUTEINFO_BY_TOPIC => {
                let route = TopicRouteData {
                    broker_datas: vec![BrokerData {
                        broker_name: "a".to_owned(),
                        broker_addrs: [(0, self.0.to_string())].into(),
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

fn serve() -> SocketAddr {
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
            let handler = Arc::new(Answering(addr));
            let _listener = Listener::bind(addr, ListenerOptions::default(), handler).unwrap();
            sender.send(addr).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}

#[test]
fn a_synchronous_send_allocates_at_most_eight_times() {
    const SENDS: u32 = 1000;
    let addr = serve();
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
