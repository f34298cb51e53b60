//! Messages, batches and bodies from peers that cannot be trusted: every cut and many changes of every vector end in an error or
//! a value, never in a panic, and take no more memory than the input justifies.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "part of tests, which fail by panicking"
)]

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

use bytes::Bytes;
use rocketry_protocol::{
    MessageExt, Properties,
    batch::{self, BatchItem},
    body::{
        self, groups, heartbeat, offsets, pop as pop_body, registration, route, running_info,
        topics,
    },
    compress::Compression,
    id::{RecallHandle, UniqueId, parse_offset_msg_id},
    pop::{self, Receipt},
    record::{Record, records},
    sys_flag, trace,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use support::{hex, text_or_empty, vectors};

/// Counts what the current thread has allocated at most since it was asked to.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

#[allow(
    unsafe_code,
    reason = "an allocator cannot be written without; it hands everything to the system's"
)]
// SAFETY: every call goes to `System` unchanged; counting uses thread-local cells without destructors and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn count(taken: usize, given: usize) {
    NOW.with(|now| {
        now.set(now.get().wrapping_add(taken).wrapping_sub(given));
        // what was allocated before counting began may be freed meanwhile: that is below zero
        if now.get() < usize::MAX / 2 {
            PEAK.with(|peak| peak.set(peak.get().max(now.get())));
        }
    });
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `read` and returns the most memory it held.
fn peak(read: impl FnOnce()) -> usize {
    NOW.with(|now| now.set(0));
    PEAK.with(|peak| peak.set(0));
    read();
    PEAK.with(Cell::get)
}

/// Every start of the input, single bytes set to their extremes, and seeded random changes.
fn each_variant(input: &[u8], seed: u64, mut check: impl FnMut(&[u8])) {
    for end in 0..input.len() {
        check(&input[..end]);
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut changed = input.to_vec();
    for at in places(input.len()) {
        for value in [0, 0x7f, 0x80, 0xff] {
            changed[at] = value;
            check(&changed);
        }
        changed[at] = input[at];
    }
    for _ in 0..60 {
        let mut changed = input.to_vec();
        for _ in 0..rng.usize(1..4) {
            match rng.u8(0..4) {
                0 if !changed.is_empty() => {
                    let at = rng.usize(..changed.len());
                    changed[at] = rng.u8(..);
                }
                1 if !changed.is_empty() => {
                    let at = rng.usize(..changed.len());
                    changed[at] ^= 1 << rng.u8(0..8);
                }
                2 => changed.insert(rng.usize(..=changed.len()), rng.u8(..)),
                _ if !changed.is_empty() => drop(changed.remove(rng.usize(..changed.len()))),
                _ => {}
            }
        }
        check(&changed);
    }
}

/// All positions of a short input, some hundred of a long one: each is tried with four values.
fn places(len: usize) -> impl Iterator<Item = usize> {
    let step = if len <= 600 { 1 } else { len / 300 };
    (0..len).step_by(step)
}

fn cases<'v>(file: &'v Value, section: &str) -> impl Iterator<Item = (String, &'v Value)> {
    let cases = file[section].as_array().expect("a section of the file");
    cases.iter().enumerate().map(move |(number, case)| {
        (
            text_or_empty(&case["id"]).to_owned() + &format!("[{number}]"),
            case,
        )
    })
}

/// A small multiple of the input, and room for what does not depend on it: error texts, the state of a decompressor.
fn budget(input: usize, fixed: usize) -> usize {
    input * 64 + fixed
}

#[test]
fn records_and_reply_bodies() {
    // a changed flag can make any body a compressed one, and 1 byte of that may stand for 255
    const FIXED: usize = 1 << 20;
    let Some(file) = vectors("messages.json") else {
        return;
    };
    for (id, case) in cases(&file, "stored") {
        let input = hex(&case["hex"]);
        let compressed = Record::parse(&input).is_ok_and(|(record, _)| record.sys_flag & 1 != 0);
        let mut intact = 0;
        each_variant(&input, 1, |bytes| {
            let used = peak(|| {
                if let Ok((record, taken)) = Record::parse(bytes) {
                    assert!(
                        taken <= bytes.len(),
                        "{id}: {taken} of {} bytes",
                        bytes.len()
                    );
                    intact += usize::from(record.body_crc_holds());
                }
                for _ in records(bytes) {}
            });
            assert!(
                used <= budget(bytes.len(), 4096),
                "{id}: {used} bytes for a record of {}",
                bytes.len()
            );
            let body = Bytes::copy_from_slice(bytes);
            let used = peak(|| {
                let (messages, fault) = MessageExt::decode_until_fault(&body, &Arc::from("b"));
                assert!(
                    fault.is_some() || !messages.is_empty() || body.is_empty(),
                    "{id}: neither a message nor a fault"
                );
            });
            assert!(
                used <= budget(bytes.len() * 4, FIXED),
                "{id}: {used} bytes for a reply of {}",
                bytes.len()
            );
        });
        for end in 0..input.len() {
            assert!(
                Record::parse(&input[..end]).is_err(),
                "{id} cut at {end} is taken for a record"
            );
        }
        assert!(
            intact > 0 || compressed || case["crc_check_ok"] == false,
            "{id}: no variant was read at all"
        );
    }
}

#[test]
fn batches_and_properties() {
    let Some(file) = vectors("messages.json") else {
        return;
    };
    for (id, case) in cases(&file, "client_batches") {
        each_variant(&hex(&case["hex"]), 2, |bytes| {
            let used = peak(|| {
                let _ = batch::count(bytes);
                for item in batch::items(bytes).flatten() {
                    drop(Properties::parse_bytes(item.properties));
                }
            });
            assert!(
                used <= budget(bytes.len(), 4096),
                "{id}: {used} bytes for {}",
                bytes.len()
            );
        });
    }
    for (id, case) in cases(&file, "properties") {
        each_variant(text_or_empty(&case["text"]).as_bytes(), 3, |bytes| {
            let used = peak(|| {
                let properties = Properties::parse_bytes(bytes);
                assert_eq!(Properties::parse(properties.as_str()), properties, "{id}");
            });
            assert!(
                used <= budget(bytes.len(), 4096),
                "{id}: {used} bytes for {}",
                bytes.len()
            );
        });
    }
    let tiny = "a\u{1}b\u{2}".repeat(8000);
    let used = peak(|| drop(Properties::parse(&tiny)));
    assert!(
        used <= budget(tiny.len(), 0),
        "{used} bytes for {}",
        tiny.len()
    );
}

#[test]
fn compressed_bodies() {
    let Some(file) = vectors("messages.json") else {
        return;
    };
    for (id, case) in cases(&file, "compression") {
        let (packed, plain) = (hex(&case["compressed_hex"]), hex(&case["plain_hex"]));
        let compression = Compression::from_sys_flag(
            i32::try_from(case["sys_flag_bits"].as_i64().expect("bits")).expect("bits"),
        );
        let compression = compression.expect("a known type");
        for end in 0..packed.len() {
            assert!(
                compression.decompress(&packed[..end], plain.len()).is_err(),
                "{id} cut at {end} is taken for whole"
            );
        }
        if !plain.is_empty() {
            assert!(
                compression.decompress(&packed, plain.len() - 1).is_err(),
                "{id} grows beyond its limit"
            );
        }
        each_variant(&packed, 4, |bytes| {
            let limit = plain.len() + 1000;
            let used = peak(|| {
                if let Ok(content) = compression.decompress(bytes, limit) {
                    assert!(content.len() <= limit, "{id}: {} bytes", content.len());
                }
            });
            assert!(
                used <= budget(bytes.len(), limit * 2 + (1 << 20)),
                "{id}: {used} bytes for {}",
                bytes.len()
            );
        });
    }
}

#[test]
fn json_bodies() {
    fn read<T: DeserializeOwned>(text: &[u8]) {
        drop(body::decode::<T>(text));
    }
    let readers: [fn(&[u8]); 10] = [
        read::<route::TopicRouteData>,
        read::<route::ClusterInfo>,
        read::<topics::TopicConfigAndMappingSerializeWrapper>,
        read::<groups::SubscriptionGroupWrapper>,
        read::<heartbeat::HeartbeatData>,
        read::<offsets::ConsumeStatsList>,
        read::<offsets::ConsumerOffsetSerializeWrapper>,
        read::<running_info::ConsumerRunningInfo>,
        read::<pop_body::BatchAckMessageRequestBody>,
        read::<registration::RegisterBrokerBody>,
    ];
    let Some(file) = vectors("bodies.json") else {
        return;
    };
    for (id, case) in cases(&file, "bodies").chain(cases(&file, "decode_only")) {
        let text = text_or_empty(&case["text"]);
        each_variant(text.as_bytes(), 5, |bytes| {
            for read in readers {
                let used = peak(|| read(bytes));
                assert!(
                    used <= budget(bytes.len(), 16_384),
                    "{id}: {used} bytes for {}",
                    bytes.len()
                );
            }
        });
    }
    for bomb in [
        "[",
        "{\"a\":",
        "{{",
        "{\"topicConfigTable\":{",
        "{\"offsetTable\":{{",
        "\"\\u",
    ] {
        let text = bomb.repeat(100_000);
        for read in readers {
            let used = peak(|| read(text.as_bytes()));
            assert!(
                used <= budget(text.len(), 16_384),
                "{bomb}: {used} bytes for {}",
                text.len()
            );
        }
    }
    for (id, case) in cases(&file, "other") {
        if case["compressed_hex"].is_string() {
            each_variant(&hex(&case["compressed_hex"]), 6, |bytes| {
                let used =
                    peak(|| drop(registration::RegisterBrokerBody::decode_compressed(bytes)));
                assert!(
                    used <= budget(bytes.len() * 1100, 1 << 20),
                    "{id}: {used} bytes for {}",
                    bytes.len()
                );
            });
        }
        each_variant(text_or_empty(&case["text"]).as_bytes(), 7, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let used = peak(|| drop(topics::TopicConfig::from_text(&text)));
            assert!(
                used <= budget(bytes.len(), 4096),
                "{id}: {used} bytes for {}",
                bytes.len()
            );
        });
    }
}

#[test]
fn texts_of_ids_pops_and_traces() {
    let all: fn(&str) = |text| {
        drop(UniqueId::parse(text));
        drop(parse_offset_msg_id(text));
        drop(RecallHandle::decode(text));
        drop(Receipt::parse(text));
        drop(Receipt::parse_handle(text));
        drop(pop::parse_start_offsets(text));
        drop(pop::parse_message_offsets(text));
        drop(pop::parse_order_counts(text));
        drop(trace::decode(text));
    };
    let mut texts = Vec::new();
    if let Some(file) = vectors("ids.json") {
        for (section, name) in [
            ("uniq_ids", "id"),
            ("offset_msg_ids", "id"),
            ("recall_handles", "handle"),
            ("pop_extra_info", "text"),
            ("receipt_handles", "text"),
            ("pop_response_info", "start_offset_info"),
            ("pop_response_info", "msg_offset_info"),
            ("pop_response_info", "order_count_info"),
        ] {
            texts.extend(
                cases(&file, section).map(|(_, case)| text_or_empty(&case[name]).to_owned()),
            );
        }
    }
    if let Some(file) = vectors("trace.json") {
        for section in ["encode", "decode_only"] {
            texts.extend(
                cases(&file, section).map(|(_, case)| text_or_empty(&case["text"]).to_owned()),
            );
        }
    }
    for text in texts {
        each_variant(text.as_bytes(), 8, |bytes| {
            let changed = String::from_utf8_lossy(bytes);
            let used = peak(|| all(&changed));
            assert!(
                used <= budget(changed.len(), 8192),
                "{text}: {used} bytes for {}",
                changed.len()
            );
        });
    }
}

/// An inner batch at the last offset there is: its later messages have no place in a queue, and are read nevertheless.
#[test]
fn an_inner_batch_at_the_last_offset_is_expanded() {
    let mut items = Vec::new();
    for body in [b"x", b"y"] {
        let item = BatchItem {
            flag: 0,
            body,
            properties: b"",
        };
        batch::encode_item(&item, &mut items).unwrap();
    }
    let host = "127.0.0.1:1".parse().unwrap();
    let record = Record {
        body_crc: crc32fast::hash(&items).cast_signed() & i32::MAX,
        queue_id: 0,
        flag: 0,
        queue_offset: i64::MAX,
        physical_offset: 0,
        sys_flag: sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP,
        born_ms: 0,
        born_host: host,
        store_ms: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &items,
        topic: "T",
        properties: b"",
    };
    let mut stored = Vec::new();
    record.encode(&mut stored).unwrap();
    let messages = MessageExt::decode_all(&stored.into(), &Arc::from("b")).unwrap();
    let offsets: Vec<_> = messages.iter().map(|m| m.queue_offset).collect();
    assert_eq!(offsets, [i64::MAX, i64::MIN]);
}
