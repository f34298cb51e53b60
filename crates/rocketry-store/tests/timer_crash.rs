//! The timer on a disk that is stopped at every operation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rocketry_protocol::{record::Record, topic::TIMER};
use rocketry_store::{
    FileSystem, FlushMode, NewMessage, ReadLimits, Reader, Store, StoreOptions, TimerOptions,
    Timers, Writer,
};
use support::{
    NOW_MS, message, records,
    sim::{Crash, Fault, SimFs},
    small,
};

const DIR: &str = "/data/store";
const MESSAGES: usize = 8;

fn open(disk: &SimFs, now_ms: i64) -> Option<(Writer, Reader, Timers)> {
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    let options = StoreOptions {
        flush: FlushMode::Sync,
        ..small()
    };
    let (writer, reader, _) = Store::open_on(fs, Path::new(DIR), options, now_ms).ok()?;
    let options = TimerOptions {
        log_file_bytes: 200,
        ..TimerOptions::default()
    };
    let (timers, _) = Timers::open(&reader, options, now_ms).ok()?;
    Some((writer, reader, timers))
}

fn name(n: usize) -> String {
    format!("m{n}")
}

/// One round of the broker's timer thread.
fn round(timers: &mut Timers, writer: &mut Writer, now_ms: i64) -> Option<()> {
    timers.take_new(now_ms, 3).ok()?;
    loop {
        let due = timers.due(now_ms, 2).ok()?.to_vec();
        if due.is_empty() {
            break;
        }
        for due in &due {
            let (record, _) = Record::parse(&due.record).unwrap();
            let delivered = NewMessage {
                properties: record.properties,
                ..message("t", 0, record.body)
            };
            writer.append(&delivered, now_ms).ok()?;
        }
        writer.commit().ok()?;
        timers.delivered(now_ms);
    }
    timers.flush(now_ms).ok()
}

/// Sends and delivers until something fails. `sent` counts the messages that are promised.
fn run(disk: &SimFs, sent: &mut usize) -> Option<()> {
    let mut now_ms = NOW_MS;
    let (mut writer, _reader, mut timers) = open(disk, now_ms)?;
    for n in 0..MESSAGES {
        let out_ms = now_ms / 1000 * 1000 + [0, 1000, 4000, 9000][n % 4];
        let key = name(n);
        let properties =
            format!("UNIQ_KEY\x01{key}\x02TIMER_OUT_MS\x01{out_ms}\x02REAL_TOPIC\x01t\x02");
        let timed = NewMessage {
            properties: properties.as_bytes(),
            ..message(TIMER, 0, key.as_bytes())
        };
        writer.append(&timed, now_ms).ok()?;
        writer.commit().ok()?;
        *sent = n + 1;
        if n % 2 == 1 {
            now_ms += 1100;
            round(&mut timers, &mut writer, now_ms)?;
        }
    }
    timers.flush_now(now_ms).ok()?;
    writer.close().ok()
}

fn delivered(reader: &Reader) -> Vec<String> {
    let limits = ReadLimits {
        max_messages: 1000,
        ..ReadLimits::default()
    };
    let found = reader.read("t", 0, 0, &limits, None).unwrap();
    records(&found.messages)
        .map(|bytes| {
            let (record, _) = Record::parse(bytes).unwrap();
            String::from_utf8(record.body.to_vec()).unwrap()
        })
        .collect()
}

/// After the next start everything promised is delivered in the end; `sent` and perhaps one more.
fn check(disk: &SimFs, sent: usize) {
    let now_ms = NOW_MS + 60_000;
    let (mut writer, reader, mut timers) = open(disk, now_ms).expect("a store that opens");
    for n in 0..10 {
        round(&mut timers, &mut writer, now_ms + n * 1000).expect("a disk without faults");
    }
    let all: BTreeSet<String> = delivered(&reader).into_iter().collect();
    for n in 0..sent {
        assert!(all.contains(&name(n)), "m{n} of {sent} is lost: {all:?}");
    }
    let known: BTreeSet<String> = (0..=sent).map(name).collect();
    assert!(all.is_subset(&known), "invented: {all:?}");
}

/// S-091, S-094, the store's part: no stop loses a timed message, whatever becomes of unsynced writes.
#[test]
fn s094_a_stop_at_every_operation_loses_no_timed_message() {
    let whole = SimFs::default();
    let mut sent = 0;
    run(&whole, &mut sent).expect("a script without faults ends");
    assert_eq!(sent, MESSAGES);
    check(&whole.crash(Crash::Lose), sent);
    let operations = whole.operations();
    let next = AtomicU64::new(1);
    let crashes = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at > operations {
                        return;
                    }
                    let disk = SimFs::default();
                    disk.inject(at, Fault::Stop);
                    let mut sent = 0;
                    assert!(
                        run(&disk, &mut sent).is_none(),
                        "stopped at {at} and went on"
                    );
                    for crash in [Crash::Lose, Crash::Tear(at)] {
                        let result = std::panic::catch_unwind(|| check(&disk.crash(crash), sent));
                        assert!(result.is_ok(), "stopped at operation {at}, {crash:?}");
                        crashes.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!("{operations} operations, {} crashes", crashes.into_inner());
    assert!(operations > 200, "{operations} operations are no test");
}
