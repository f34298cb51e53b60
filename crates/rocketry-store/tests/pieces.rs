//! Records that are read where they lie, without a copy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod support;

use std::os::unix::fs::FileExt;

use rocketry_store::{Filter, ReadLimits, ReadStatus, Reader, StoreOptions, Writer};
use support::{NOW_MS, message, open, small};

const QUEUES: usize = 3;

fn large_files() -> StoreOptions {
    StoreOptions {
        log_file_bytes: 128 * 1024,
        ..small()
    }
}

/// Lets every message pass whose length is even, judged by its record.
struct Even;

impl Filter for Even {
    fn matches_tags(&self, _: i64) -> bool {
        true
    }
    fn needs_record(&self) -> bool {
        true
    }
    fn matches_record(&self, record: &[u8]) -> bool {
        record.len().is_multiple_of(2)
    }
}

/// Appends messages of many sizes; returns each queue's records.
fn fill(
    writer: &mut Writer,
    reader: &Reader,
    random: &mut fastrand::Rng,
) -> [Vec<Vec<u8>>; QUEUES] {
    let mut stored: [Vec<i64>; QUEUES] = Default::default();
    for _ in 0..400 {
        let queue = random.usize(..QUEUES);
        // runs of neighbours as well as gaps
        for _ in 0..random.usize(1..5) {
            let largest = if random.bool() { 100 } else { 3_000 };
            let body = vec![b'x'; random.usize(..largest)];
            let placed = writer
                .append(&message("t", queue as i32, &body), NOW_MS)
                .unwrap();
            stored[queue].push(placed.log_offset);
        }
    }
    writer.commit().unwrap();
    stored.map(|offsets| {
        let record = |at| reader.record_at(at).unwrap().unwrap().to_vec();
        offsets.into_iter().map(record).collect()
    })
}

/// Whatever is asked for, the pieces are the records that were stored, one behind the other.
#[test]
fn pieces_are_the_records_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &large_files());
    let mut random = fastrand::Rng::with_seed(7);
    let stored = fill(&mut writer, &reader, &mut random);
    let mut in_several = 0;
    for _ in 0..2_000 {
        let queue = random.usize(..QUEUES);
        let from = random.usize(..stored[queue].len());
        let limits = ReadLimits {
            max_messages: random.usize(1..40),
            max_bytes: random.usize(1..100_000),
            max_scanned: random.usize(1..100),
        };
        let even = random.bool();
        let filter: Option<&dyn Filter> = if even { Some(&Even) } else { None };
        let found = reader
            .read_pieces("t", queue as i32, from as i64, &limits, filter)
            .unwrap();
        let wanted = |record: &&Vec<u8>| !even || record.len().is_multiple_of(2);
        let next = found.next_offset as usize;
        let expected: Vec<&Vec<u8>> = stored[queue][from..next].iter().filter(wanted).collect();
        assert_eq!(found.count, expected.len());
        assert!(next > from && found.count <= limits.max_messages);
        let expected: Vec<u8> = expected.into_iter().flatten().copied().collect();
        assert_eq!(found.messages.concat(), expected);
        let joined = reader
            .read("t", queue as i32, from as i64, &limits, filter)
            .unwrap();
        assert_eq!(joined.messages, expected);
        in_several += usize::from(found.messages.len() > 1);
    }
    assert!(in_several > 500, "{in_several}");
}

/// Two reads of the same records give the same memory, which stays as it is when the file's name and the store are gone.
#[cfg(target_os = "linux")]
#[test]
fn records_are_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &large_files());
    let stored = fill(&mut writer, &reader, &mut fastrand::Rng::with_seed(8));
    let read = || {
        let limits = ReadLimits::default();
        reader.read_pieces("t", 0, 0, &limits, None).unwrap()
    };
    let (first, second) = (read(), read());
    let large: Vec<_> = first
        .messages
        .iter()
        .zip(&second.messages)
        .filter(|(piece, _)| piece.len() >= 4096)
        .collect();
    assert!(!large.is_empty());
    for (a, b) in large {
        assert_eq!(a.as_ptr(), b.as_ptr());
    }
    writer.close().unwrap();
    drop(reader);
    drop(dir);
    let expected: Vec<u8> = stored[0][..first.count].concat();
    assert_eq!(first.messages.concat(), expected);
}

/// A size that the log has no room for is a hole: nothing is allocated for it, and what follows is read.
#[test]
fn units_of_impossible_sizes_are_holes() {
    const MESSAGES: u64 = 8;
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &large_files());
    for _ in 0..MESSAGES {
        writer.append(&message("t", 0, b"hello"), NOW_MS).unwrap();
    }
    // so that the log goes on behind the file
    for _ in 0..100 {
        writer
            .append(&message("u", 0, &[b'x'; 3_000]), NOW_MS)
            .unwrap();
    }
    writer.append(&message("v", 0, b"hello"), NOW_MS).unwrap();
    writer.commit().unwrap();
    writer.flush_tick(NOW_MS + 10_000).unwrap();
    let set_size = |topic: &str, unit: u64, size: i32| {
        let path = format!("consumequeue/{topic}/0/00000000000000000000");
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(dir.path().join(path))
            .unwrap();
        file.write_all_at(&size.to_be_bytes(), unit * 20 + 8)
            .unwrap();
    };
    let read = |topic: &str, from: i64, filter: Option<&dyn Filter>| {
        let limits = ReadLimits::default();
        reader.read(topic, 0, from, &limits, filter).unwrap()
    };
    for size in [1, 90, 200_000, 1 << 30, i32::MAX] {
        set_size("t", 3, size);
        for filter in [None, Some(&Even as &dyn Filter)] {
            let found = read("t", 0, filter);
            assert_eq!(found.next_offset, MESSAGES as i64, "{size}");
            let found = read("t", 3, filter);
            assert_eq!(found.next_offset, MESSAGES as i64, "{size}");
        }
        assert_eq!(read("t", 0, None).count, MESSAGES as usize - 1, "{size}");
        assert_eq!(read("t", 3, None).count, MESSAGES as usize - 4, "{size}");
        assert_eq!(reader.store_time("t", 0, 3).unwrap(), None, "{size}");
    }
    // behind the end of the log, though not of its file
    set_size("v", 0, 1_000);
    let found = read("v", 0, None);
    assert_eq!(
        (found.status, found.next_offset),
        (ReadStatus::OffsetFoundNull, 1)
    );
}
