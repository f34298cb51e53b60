//! Messages over very many queues, a file each: when those are written, and what is there without them.

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

use std::{path::Path, sync::Arc};

use rocketry_store::{Reader, Store, StoreOptions, Writer};
use support::{
    NOW_MS, message, open,
    sim::{Crash, SimFs},
};

/// More than those that are written as soon as they are few.
const QUEUES: usize = 1100;

fn options() -> StoreOptions {
    StoreOptions {
        log_file_bytes: 4 << 20,
        queue_file_bytes: 2000,
        index: false,
        ..StoreOptions::default()
    }
}

fn topic(n: usize) -> String {
    format!("topic-{n}")
}

fn send_to(writer: &mut Writer, queues: usize) {
    for n in 0..queues {
        writer
            .append(&message(&topic(n), 0, b"hello"), NOW_MS)
            .unwrap();
    }
    writer.commit().unwrap();
}

fn written(dir: &Path) -> usize {
    (0..QUEUES)
        .filter(|n| {
            let queue = dir.join("consumequeue").join(topic(*n)).join("0");
            queue.join("00000000000000000000").exists()
        })
        .count()
}

fn assert_all(reader: &Reader, messages: u64) {
    for n in 0..QUEUES {
        let range = reader.queue_range(&topic(n), 0).unwrap();
        assert_eq!((range.min, range.max), (0, messages as i64), "queue {n}");
    }
}

/// Every sixth sync writes them. A kill before that costs nothing but reading.
#[test]
fn very_many_queues_are_written_seldom_and_lost_never() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &options());
    send_to(&mut writer, QUEUES);
    for seconds in (1..60).step_by(10) {
        writer.flush_tick(NOW_MS + seconds * 1000).unwrap();
    }
    assert_eq!(written(dir.path()), 0);
    assert_all(&reader, 1);
    drop((writer, reader));

    let (mut writer, reader, _) = open(dir.path(), &options());
    assert_all(&reader, 1);
    send_to(&mut writer, QUEUES);
    writer.flush_tick(NOW_MS + 60_000).unwrap();
    assert_eq!(written(dir.path()), QUEUES);
    assert_all(&reader, 2);
    drop((writer, reader));

    let (_, reader, _) = open(dir.path(), &options());
    assert_all(&reader, 2);
}

/// As soon as only some of them have something to write, each second does.
#[test]
fn few_of_very_many_queues_are_written_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &options());
    send_to(&mut writer, QUEUES - 100);
    writer.flush_tick(NOW_MS + 1000).unwrap();
    assert_eq!(written(dir.path()), QUEUES - 100);
    drop((writer, reader));
}

/// One sync for many queues has to reach the disk that they are on, which need not be the one of the data directory.
#[test]
fn many_queues_on_a_disk_of_their_own_are_synced() {
    let fs = SimFs::default();
    let dir = Path::new("/data/store");
    let queues = dir.join("consumequeue");
    fs.mount(&queues);
    let (mut writer, _reader, _) =
        Store::open_on(Arc::new(fs.clone()), dir, options(), NOW_MS).unwrap();
    send_to(&mut writer, 100);
    writer.flush_tick(NOW_MS + 10_000).unwrap();
    let left = fs.crash(Crash::Lose).snapshot();
    for n in 0..100 {
        let file = queues.join(topic(n)).join("0/00000000000000000000");
        let units = &left[file.to_str().unwrap()];
        assert_ne!(units[..20], [0; 20], "queue {n}");
    }
}
