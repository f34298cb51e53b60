//! What a start reads of a large log, and how fast derived files are built again. `ROCKETRY_LARGE_MIB` sets its size, 48 MiB otherwise;
//! `ROCKETRY_LARGE_DIR` the directory that it is made in and removed from.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking, and prints how long a start took"
)]

mod support;

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rocketry_store::{NewMessage, Recovery, StoreOptions, Writer};
use support::{NOW_MS, message, open};

const MIB: u64 = 1 << 20;
/// From this size on the log has files of the default length, and times are asserted.
const LARGE_MIB: u64 = 4096;

fn options(mib: u64) -> StoreOptions {
    let default = StoreOptions::default();
    StoreOptions {
        log_file_bytes: if mib < LARGE_MIB {
            16 * MIB
        } else {
            default.log_file_bytes
        },
        ..default
    }
}

/// Appends 1 KiB messages to 16 queues, each with a unique id as producers give them, until the log has `mib` MiB more. The time of
/// day goes on by a millisecond with every 64 messages, and what is due is flushed.
fn fill(writer: &mut Writer, mib: u64, now_ms: &mut i64, number: &mut u64) {
    let body = [b'x'; 1024];
    let mut bytes = 0;
    while bytes < mib * MIB {
        for _ in 0..64 {
            let properties = format!("UNIQ_KEY\x017F0000010000{number:020X}\x02");
            let queue_id = i32::try_from(*number % 16).unwrap();
            let message = NewMessage {
                properties: properties.as_bytes(),
                ..message("t", queue_id, &body)
            };
            bytes += writer.append(&message, *now_ms).unwrap().bytes as u64;
            *number += 1;
        }
        writer.commit().unwrap();
        *now_ms += 1;
        writer.flush_tick(*now_ms).unwrap();
    }
}

fn timed_start(dir: &Path, mib: u64, what: &str) -> (Writer, Recovery, Duration) {
    let begin = Instant::now();
    let (writer, _reader, recovery) = open(dir, &options(mib));
    let took = begin.elapsed();
    println!(
        "{what}: {} KiB of a log of {} MiB read in {took:?}",
        recovery.bytes_read / 1024,
        u64::try_from(recovery.log_end).unwrap() / MIB,
    );
    (writer, recovery, took)
}

fn log_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join("commitlog"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// Asks the system to forget what it holds of the log in memory.
fn forget_log(dir: &Path) {
    for path in log_files(dir) {
        let file = fs::File::open(path).unwrap();
        file.sync_all().unwrap();
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

/// Reads the log from its first byte to its end, in pieces of a MiB.
fn read_log(dir: &Path, mut end: u64) -> Duration {
    let begin = Instant::now();
    let mut piece = vec![0; 1 << 20];
    for path in log_files(dir) {
        let mut file = fs::File::open(path).unwrap().take(end);
        loop {
            let read = file.read(&mut piece).unwrap() as u64;
            if read == 0 {
                break;
            }
            end -= read;
        }
    }
    assert_eq!(end, 0, "the log is as long as recovery said");
    begin.elapsed()
}

/// What this process had in memory at most since the last [`forget_peak`], MiB; `None` where the system does not say.
fn peak_memory_mib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

fn forget_peak() {
    // where it is not possible, the figure is that of the whole test
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// S-111: after a clean stop a start reads next to nothing, after a kill once what the checkpoint does not prove, and without derived
/// files the log once.
#[test]
fn s111_a_start_reads_what_is_not_proven() {
    let mib: u64 = std::env::var("ROCKETRY_LARGE_MIB")
        .map_or(48, |text| text.parse().expect("a number of MiB"));
    let dir = match std::env::var_os("ROCKETRY_LARGE_DIR") {
        Some(parent) => tempfile::tempdir_in(parent),
        None => tempfile::tempdir(),
    };
    let dir = dir.unwrap();
    let (mut now_ms, mut number) = (NOW_MS, 0);
    let (mut writer, _reader, _) = open(dir.path(), &options(mib));
    let begin = Instant::now();
    fill(&mut writer, mib, &mut now_ms, &mut number);
    println!("{number} messages written in {:?}", begin.elapsed());
    writer.close().unwrap();

    forget_log(dir.path());
    let (mut writer, recovery, took) = timed_start(dir.path(), mib, "after a clean stop");
    assert!(recovery.clean);
    assert!(recovery.bytes_read <= 3 * MIB, "{recovery:?}");
    if mib >= LARGE_MIB {
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    // the checkpoint moves on, and then 4 MiB come
    now_ms += 60_000;
    writer.flush_tick(now_ms).unwrap();
    fill(&mut writer, 4, &mut now_ms, &mut number);
    drop(writer);
    let (writer, recovery, _) = timed_start(dir.path(), mib, "after a kill");
    assert!(!recovery.clean);
    assert!(recovery.log_end - recovery.scanned_from <= 6 << 20);
    // once for queues and index, and what is read ahead
    assert!(recovery.bytes_read <= 6 * MIB + 2 * MIB, "{recovery:?}");
    writer.close().unwrap();

    for derived in ["consumequeue", "index"] {
        fs::remove_dir_all(dir.path().join(derived)).unwrap();
    }
    let log = u64::try_from(recovery.log_end).unwrap();
    forget_log(dir.path());
    let read = read_log(dir.path(), log);
    forget_log(dir.path());
    forget_peak();
    let begin = Instant::now();
    let (writer, recovery, opened) = timed_start(dir.path(), mib, "without derived files");
    assert_eq!(recovery.log_end.cast_unsigned(), log);
    assert_eq!(recovery.scanned_from, 0);
    // once, but for records that lie across two pieces: they are read again
    assert!(recovery.bytes_read >= log - log / 100 && recovery.bytes_read <= log + log / 100 + MIB);
    assert_eq!(recovery.queues, 16);
    writer.close().unwrap();
    let rebuilt = begin.elapsed();
    let rate = |took: Duration| log as f64 / 1e6 / took.as_secs_f64();
    println!(
        "all derived files built in {opened:?}: {:.0} MB/s, {:.2} of a sequential read of the same log, which ran at {:.0} MB/s; with all of it synced {rebuilt:?}: {:.0} MB/s",
        rate(opened),
        read.as_secs_f64() / opened.as_secs_f64(),
        rate(read),
        rate(rebuilt),
    );
    if let Some(mib) = peak_memory_mib() {
        println!("peak resident memory meanwhile: {mib} MiB");
    }
}
