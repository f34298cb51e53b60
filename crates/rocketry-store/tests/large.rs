//! What a start reads of a large log. `ROCKETRY_LARGE_MIB` sets its size, 48 MiB otherwise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and prints how long a start took"
)]

mod support;

use std::{fs, path::Path, time::Instant};

use rocketry_store::{Recovery, StoreOptions, Writer};
use support::{NOW_MS, message, open};

const MIB: u64 = 1 << 20;

fn options() -> StoreOptions {
    StoreOptions {
        log_file_bytes: 16 * MIB,
        ..StoreOptions::default()
    }
}

/// Appends 1 KiB messages to 16 queues until the log has `mib` MiB more.
fn fill(writer: &mut Writer, mib: u64, now_ms: &mut i64) {
    let body = [b'x'; 1024];
    let mut bytes = 0;
    let mut queue_id = 0;
    while bytes < mib * MIB {
        for _ in 0..64 {
            let placed = writer
                .append(&message("t", queue_id, &body), *now_ms)
                .unwrap();
            bytes += placed.bytes as u64;
            queue_id = (queue_id + 1) % 16;
        }
        writer.commit().unwrap();
        *now_ms += 1;
    }
}

fn timed_start(dir: &Path, what: &str) -> (Writer, Recovery) {
    let begin = Instant::now();
    let (writer, _reader, recovery) = open(dir, &options());
    println!(
        "{what}: {} KiB of a log of {} MiB read in {:?}",
        recovery.bytes_read / 1024,
        u64::try_from(recovery.log_end).unwrap() / MIB,
        begin.elapsed()
    );
    (writer, recovery)
}

/// S-111: after a clean stop a start reads next to nothing, after a kill what the checkpoint does not prove, and without derived
/// files the log once for the queues and once for the index.
#[test]
fn s111_a_start_reads_what_is_not_proven() {
    let mib: u64 = std::env::var("ROCKETRY_LARGE_MIB")
        .map_or(48, |text| text.parse().expect("a number of MiB"));
    let dir = tempfile::tempdir().unwrap();
    let mut now_ms = NOW_MS;
    let (mut writer, _reader, _) = open(dir.path(), &options());
    fill(&mut writer, mib, &mut now_ms);
    writer.close().unwrap();

    let (mut writer, recovery) = timed_start(dir.path(), "after a clean stop");
    assert!(recovery.clean);
    assert!(recovery.bytes_read <= 3 * MIB, "{recovery:?}");

    // the checkpoint moves on, and then 4 MiB come
    now_ms += 60_000;
    writer.flush_tick(now_ms).unwrap();
    fill(&mut writer, 4, &mut now_ms);
    drop(writer);
    let (writer, recovery) = timed_start(dir.path(), "after a kill");
    assert!(!recovery.clean);
    assert!(recovery.log_end - recovery.scanned_from <= 6 << 20);
    // once for the queues, once for the index, and what is read ahead
    assert!(recovery.bytes_read <= 2 * 6 * MIB + 4 * MIB, "{recovery:?}");
    writer.close().unwrap();

    for derived in ["consumequeue", "index"] {
        fs::remove_dir_all(dir.path().join(derived)).unwrap();
    }
    let (writer, recovery) = timed_start(dir.path(), "without derived files");
    let log = u64::try_from(recovery.log_end).unwrap();
    assert_eq!(recovery.scanned_from, 0);
    assert!(recovery.bytes_read >= log && recovery.bytes_read <= 2 * log + 8 * MIB);
    assert_eq!(recovery.queues, 16);
    writer.close().unwrap();
}
