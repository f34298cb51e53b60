//! How often the paths that every message takes ask for memory.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
    sync::Arc,
};

use bytes::Bytes;
use rocketry_protocol::{Message, MessageExt, id::IdSource, record::Record};

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

#[allow(
    unsafe_code,
    reason = "an allocator cannot be written without; it hands everything to the system's"
)]
// SAFETY: every call goes to `System` unchanged; counting uses a thread-local cell without destructor and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let before = CALLS.with(Cell::get);
    black_box(work());
    CALLS.with(Cell::get) - before
}

#[test]
fn building_a_message() {
    let topic: Arc<str> = Arc::from("TopicTest");
    let body = Bytes::from_static(b"hello");
    let source = IdSource::new([127, 0, 0, 1].into(), 1, 1);
    let id = source.next(0);
    // the text of all properties, with room for the message id
    let used = allocations(|| {
        let mut message = Message::new(topic, body)
            .tag("TagA")
            .key("order-1")
            .property("colour", "red");
        message.properties_mut().set("UNIQ_KEY", &id);
        message
    });
    assert_eq!(used, 1);
    assert_eq!(allocations(|| source.next(1)), 1);
}

#[test]
fn writing_and_reading_records() {
    let record = Record {
        body_crc: 0,
        queue_id: 0,
        flag: 0,
        queue_offset: 0,
        physical_offset: 0,
        sys_flag: 0,
        born_ms: 0,
        born_host: ([127, 0, 0, 1], 1).into(),
        store_ms: 0,
        store_host: ([127, 0, 0, 1], 2).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &[7; 1000],
        topic: "TopicTest",
        properties: b"TAGS\x01TagA\x02KEYS\x01order-1\x02",
    };
    let mut log = Vec::with_capacity(32 * record.encoded_len());
    assert_eq!(
        allocations(|| (0..32).try_for_each(|_| record.encode(&mut log))),
        0
    );
    assert_eq!(allocations(|| Record::parse(&log).map(drop)), 0);

    let reply = Bytes::from(log);
    let broker: Arc<str> = Arc::from("broker-a");
    // the properties of each message; the list as it grows, the topic, and the reply's memory becoming shared
    let used = allocations(|| MessageExt::decode_all(&reply, &broker));
    assert!(used <= 32 + 8, "{used} allocations for 32 messages");
}
