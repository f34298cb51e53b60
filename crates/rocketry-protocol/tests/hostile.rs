//! Bytes from a peer that means harm: nothing panics, and nothing allocates much more than the peer had to send.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bytes::{Bytes, BytesMut};
use rocketry_protocol::{
    RemotingCommand, acl, frame,
    header::{PullMessageRequest, SendMessageReply, SendMessageRequest},
};
use support::{hex, vectors};

/// Bytes allocated per byte decoded, all allocations added up: the map, and for bytes that are not UTF-8 a corrected copy of
/// up to three times their size, grown by doubling.
const ALLOCATED_PER_BYTE: usize = 12;
/// And what any frame may cost: error texts, small buffers.
const ALLOCATED_ANYWAY: usize = 1024;

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    // A thread that is ending has no counter any more.
    let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + bytes));
}

#[expect(
    unsafe_code,
    reason = "an allocator is the only way to see what is allocated"
)]
// SAFETY: every method passes its arguments on to `System` unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(place, layout, new_size) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Decodes a frame, reads headers from it and encodes it again; all that is asked is that this ends well.
fn survive(frame: &Bytes) -> bool {
    let before = ALLOCATED.get();
    let decoded = RemotingCommand::decode(frame.clone());
    let allocated = ALLOCATED.get() - before;
    let limit = ALLOCATED_ANYWAY + ALLOCATED_PER_BYTE * frame.len();
    assert!(
        allocated <= limit,
        "{allocated} bytes allocated for {} bytes: {:?}",
        frame.len(),
        &frame[..frame.len().min(200)]
    );
    let Ok(command) = decoded else {
        return false;
    };
    let _ = command.header::<SendMessageRequest<'_>>();
    let _ = command.header::<PullMessageRequest<'_>>();
    let _ = command.header::<SendMessageReply>();
    assert!(!acl::verify(&command, "not the secret"));
    let mut out = BytesMut::new();
    if command.encode(&mut out).is_ok() {
        let again = frame::split(&mut out, frame::MAX_FRAME_BYTES)
            .unwrap()
            .unwrap();
        let again = RemotingCommand::decode(again).unwrap();
        assert_eq!(again.code, command.code);
        assert_eq!(again.body, command.body);
    }
    true
}

/// Splits and decodes until the bytes end or go wrong.
fn survive_stream(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(frame)) = frame::split(&mut buffer, frame::MAX_FRAME_BYTES) {
        if !survive(&frame) {
            return;
        }
    }
}

fn golden_frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (file, section, field) in [
        ("frames.json", "cases", "frame_hex"),
        ("frames.json", "decode_only", "frame_hex"),
        ("negative.json", "frames", "hex"),
    ] {
        let Some(file) = vectors(file) else { continue };
        let cases = file[section].as_array().unwrap();
        frames.extend(cases.iter().map(|case| hex(&case[field])));
    }
    frames
}

#[test]
fn every_frame_cut_anywhere() {
    for golden in golden_frames() {
        for end in 0..golden.len() {
            // Too short for its length word: more is awaited, or the length itself is wrong.
            let mut buffer = BytesMut::from(&golden[..end]);
            let split = frame::split(&mut buffer, frame::MAX_FRAME_BYTES);
            if let Ok(Some(frame)) = split {
                // Only when the golden bytes hold more than one frame.
                survive(&frame);
                survive_stream(&buffer);
            }
            // The same piece, presented as a whole frame.
            if end >= 4 {
                let piece = Bytes::copy_from_slice(&golden[4..end]);
                survive(&piece);
            }
        }
    }
}

#[test]
fn every_frame_with_bytes_changed() {
    const MUTATIONS_PER_FRAME: usize = 300;
    let frames = golden_frames();
    for (number, golden) in frames.iter().enumerate() {
        for round in 0..MUTATIONS_PER_FRAME {
            let seed = (number * MUTATIONS_PER_FRAME + round) as u64;
            let mut random = fastrand::Rng::with_seed(seed);
            let mut bytes = golden.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                match random.u8(..5) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes[at] ^= 1 << random.u8(..8),
                    2 => bytes.insert(at, *random.choice(br#"{}[]",:\'/*0-"#).unwrap()),
                    3 if bytes.len() > 1 => {
                        bytes.remove(at);
                    }
                    _ => {
                        let end = random.usize(at..bytes.len().min(at + 64));
                        bytes.extend_from_within(at..end);
                    }
                }
            }
            survive_stream(&bytes);
            if bytes.len() > 4 {
                survive(&bytes.split_off(4).into());
            }
        }
    }
}

#[test]
fn random_bytes() {
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes: Vec<u8> = (0..random.usize(..200)).map(|_| random.u8(..)).collect();
        survive_stream(&bytes);
        if bytes.len() > 4 {
            // A header kind that is known, and a header length that fits.
            bytes[0] = random.u8(..2);
            bytes[1] = 0;
            bytes[2] = 0;
            bytes[3] = u8::try_from(random.usize(..=bytes.len() - 4)).unwrap();
            survive(&bytes.into());
        }
    }
}

/// JSON or binary header of a megabyte and more.
fn large(kind: u8, header: Vec<u8>) -> Bytes {
    let mut frame = u32::try_from(header.len()).unwrap().to_be_bytes().to_vec();
    frame[0] = kind;
    frame.extend_from_slice(&header);
    frame.into()
}

#[test]
fn large_headers_cost_in_proportion() {
    let repeated = format!(
        "{{\"extFields\":{{{}}}}}",
        vec!["\"\":0"; 300_000].join(",")
    );
    assert!(survive(&large(0, repeated.into_bytes())));

    let many: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":{n}")).collect();
    let many = format!("{{\"extFields\":{{{}}}}}", many.join(","));
    assert!(survive(&large(0, many.into_bytes())));

    let maps = format!("{{{}}}", vec!["\"extFields\":{}"; 50_000].join(","));
    survive(&large(0, maps.into_bytes()));

    let deep = format!("{{\"x\":{}", "[".repeat(1_000_000));
    assert!(!survive(&large(0, deep.into_bytes())));

    let escapes = format!("{{\"remark\":\"{}\"}}", "\\u4e2d".repeat(100_000));
    assert!(survive(&large(0, escapes.into_bytes())));

    let mut invalid = b"{\"remark\":\"".to_vec();
    invalid.extend(std::iter::repeat_n(0xc0, 500_000));
    invalid.extend_from_slice(b"\"}");
    assert!(survive(&large(0, invalid)));

    let entries = [0, 0, 0, 0, 0, 0].repeat(200_000);
    let mut binary = vec![0; 17];
    binary.extend_from_slice(&u32::try_from(entries.len()).unwrap().to_be_bytes());
    binary.extend_from_slice(&entries);
    assert!(survive(&large(1, binary)));
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut buffer = BytesMut::from(&16_000_000_u32.to_be_bytes()[..]);
    let before = ALLOCATED.get();
    assert!(matches!(
        frame::split(&mut buffer, frame::MAX_FRAME_BYTES),
        Ok(None)
    ));
    assert_eq!(ALLOCATED.get() - before, 0);
}

#[test]
fn encoding_allocates_only_for_the_frame() {
    let request = SendMessageRequest {
        producer_group: "group",
        topic: "TopicTest",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        properties: "TAGS\u{1}TagA\u{2}",
        broker_name: Some("broker-a"),
        ..SendMessageRequest::default()
    };
    let before = ALLOCATED.get();
    let command = RemotingCommand::request(&request);
    let building = ALLOCATED.get() - before;
    assert!(building <= 256, "{building} bytes for the fields");
    let mut out = BytesMut::with_capacity(4096);
    let before = ALLOCATED.get();
    command.encode(&mut out).unwrap();
    assert_eq!(ALLOCATED.get() - before, 0);
}
