//! A script of operations on a disk that separates written from synced, stopped at every one of them, and failed at every one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    num::NonZeroUsize,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rocketry_protocol::{
    batch::{self, BatchItem, encode_item},
    body::topics::TopicConfig,
    record::Record,
    sys_flag::{
        INNER_BATCH, NEED_UNWRAP, TRANSACTION_COMMIT, TRANSACTION_PREPARED, TRANSACTION_ROLLBACK,
    },
    topic::{HALF, OP_HALF, SCHEDULE},
};
use rocketry_store::{
    FileSystem, FlushMode, NewMessage, ReadLimits, ReadStatus, Reader, Store, StoreError,
    StoreOptions, Writer, inspect::Inspection,
};
use support::{
    NOW_MS, message,
    sim::{Crash, Fault, SimFs},
    small,
};

const DIR: &str = "/data/store";
/// Plain queues, that of a topic with batch queues, and those of transactions.
const QUEUES: [(&str, i32); 7] = [
    ("a", 0),
    ("a", 1),
    ("%RETRY%g", 0),
    (SCHEDULE, 3),
    BATCH,
    (HALF, 0),
    (OP_HALF, 0),
];
/// Queues that single messages are sent to.
const PLAIN: usize = 4;
const BATCH: (&str, i32) = ("batch", 0);
const INNER: i32 = INNER_BATCH | NEED_UNWRAP;

/// What the script did, as its caller knows it.
#[derive(Debug, Default, Clone)]
struct Known {
    /// Bodies by queue, in the order of their commits; the last commit may have failed.
    sent: BTreeMap<(&'static str, i32), Vec<String>>,
    /// How many of them are promised to be on disk.
    durable: BTreeMap<(&'static str, i32), usize>,
    /// How many were committed.
    committed: BTreeMap<(&'static str, i32), usize>,
    /// Whether a commit failed whose messages may be there, behind those committed.
    open_end: bool,
}

impl Known {
    fn count(&self) -> BTreeMap<(&'static str, i32), usize> {
        self.sent
            .iter()
            .map(|(queue, bodies)| (*queue, bodies.len()))
            .collect()
    }
}

fn options(flush: FlushMode) -> StoreOptions {
    StoreOptions {
        flush,
        // ten units: the simulated disk copies every byte of a file
        batch_queue_file_bytes: 460,
        ..small()
    }
}

fn open(fs: &SimFs, flush: FlushMode) -> Result<(Writer, Reader), StoreError> {
    let disk: Arc<dyn FileSystem> = Arc::new(fs.clone());
    Store::open_on(disk, Path::new(DIR), options(flush), NOW_MS)
        .map(|(writer, reader, _)| (writer, reader))
}

/// Runs the script until something fails that the caller of a store would stop at. `steps` of commits, syncs, ticks and restarts.
fn run(fs: &SimFs, flush: FlushMode, seed: u64, steps: usize, known: &mut Known) -> Option<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut writer, mut reader) = open(fs, flush).ok()?;
    // as in the server, no message is sent before its topic is on disk
    for topic in ["a", "%RETRY%g", "batch"] {
        let mut config = TopicConfig::new(topic, 2);
        if topic == BATCH.0 {
            let kind = ("queue.type".to_owned(), "BatchCQ".to_owned());
            config.attributes.extend([kind]);
        }
        reader.metadata().topics.put(config, NOW_MS);
    }
    reader.metadata().persist().ok()?;
    let mut now = NOW_MS;
    for step in 0..steps {
        now += random.i64(1..700);
        match random.u32(..100) {
            0..=59 => commit(&mut writer, &mut random, now, flush, step, known)?,
            60..=74 => {
                writer.sync().ok()?;
                known.durable = known.committed.clone();
            }
            75..=91 => writer.flush_tick(now).ok()?,
            92..=95 => {
                let offsets = &reader.metadata().consumer_offsets;
                offsets.set("g", "a", 0, step as i64, now);
                reader.metadata().persist().ok()?;
            }
            _ => {
                writer.close().ok()?;
                known.durable = known.committed.clone();
                (writer, reader) = open(fs, flush).ok()?;
            }
        }
    }
    writer.close().ok()?;
    known.durable = known.committed.clone();
    Some(())
}

fn commit(
    writer: &mut Writer,
    random: &mut fastrand::Rng,
    now: i64,
    flush: FlushMode,
    step: usize,
    known: &mut Known,
) -> Option<()> {
    known.open_end = true;
    for n in 0..random.usize(1..6) {
        let mut body = || format!("{step}-{n}-{}", "x".repeat(random.usize(..900)));
        let bodies: Vec<String> = (0..3).map(|_| body()).collect();
        let small: Vec<String> = (0..3).map(|item| format!("{step}-{n}-{item}")).collect();
        match random.u32(..10) {
            0 => append_inner_batch(writer, &small, now, known)?,
            1 => append_batch(writer, &small, now, known)?,
            2 => append_transaction(writer, &bodies[0], now, known)?,
            3 => append(writer, BATCH, 0, &bodies[0], now, known)?,
            _ => {
                let queue = QUEUES[random.usize(..PLAIN)];
                append(writer, queue, 0, &bodies[0], now, known)?;
            }
        }
    }
    writer.commit().ok()?;
    known.open_end = false;
    known.committed = known.count();
    if flush == FlushMode::Sync {
        known.durable = known.committed.clone();
    }
    Some(())
}

fn append(
    writer: &mut Writer,
    queue: (&'static str, i32),
    sys_flag: i32,
    body: &str,
    now: i64,
    known: &mut Known,
) -> Option<()> {
    if ![TRANSACTION_PREPARED, TRANSACTION_ROLLBACK].contains(&sys_flag) {
        known.sent.entry(queue).or_default().push(body.to_owned());
    }
    let message = NewMessage {
        sys_flag,
        ..message(queue.0, queue.1, body.as_bytes())
    };
    writer.append(&message, now).ok().map(|_| ())
}

/// One record that holds several messages.
fn append_inner_batch(
    writer: &mut Writer,
    bodies: &[String],
    now: i64,
    known: &mut Known,
) -> Option<()> {
    let mut body = Vec::new();
    for item in items(bodies) {
        encode_item(&item, &mut body).unwrap();
    }
    known
        .sent
        .entry(BATCH)
        .or_default()
        .extend_from_slice(bodies);
    let properties = format!("UNIQ_KEY\x01B{now}\x02INNER_NUM\x01{}\x02", bodies.len());
    let message = NewMessage {
        sys_flag: INNER,
        properties: properties.as_bytes(),
        ..message(BATCH.0, BATCH.1, &body)
    };
    writer.append(&message, now).ok().map(|_| ())
}

/// Several messages in one go, a record each.
fn append_batch(writer: &mut Writer, bodies: &[String], now: i64, known: &mut Known) -> Option<()> {
    let queue = QUEUES[1];
    known
        .sent
        .entry(queue)
        .or_default()
        .extend_from_slice(bodies);
    let items: Vec<BatchItem<'_>> = items(bodies).collect();
    let mut placed = Vec::new();
    let common = message(queue.0, queue.1, b"");
    writer
        .append_batch(&common, &items, now, &mut placed)
        .ok()?;
    Some(())
}

fn items(bodies: &[String]) -> impl Iterator<Item = BatchItem<'_>> {
    bodies.iter().map(|body| BatchItem {
        flag: 0,
        body: body.as_bytes(),
        properties: b"KEYS\x01k1\x02",
    })
}

/// What a broker stores for a transaction: the half message, its decision, the message itself; and the records that brokers of 4.x left
/// behind, which no queue has.
fn append_transaction(writer: &mut Writer, body: &str, now: i64, known: &mut Known) -> Option<()> {
    append(writer, (HALF, 0), 0, body, now, known)?;
    append(writer, (OP_HALF, 0), 0, "0,", now, known)?;
    append(writer, QUEUES[0], TRANSACTION_COMMIT, body, now, known)?;
    append(writer, QUEUES[0], TRANSACTION_PREPARED, body, now, known)?;
    append(writer, QUEUES[0], TRANSACTION_ROLLBACK, body, now, known)
}

/// The bodies of a queue, with their places checked.
fn bodies(reader: &Reader, queue: (&str, i32)) -> Vec<String> {
    let mut found = Vec::new();
    let Some(range) = reader.queue_range(queue.0, queue.1) else {
        return found;
    };
    assert_eq!(range.min, 0);
    while (found.len() as i64) < range.max {
        let read = reader
            .read(
                queue.0,
                queue.1,
                found.len() as i64,
                &ReadLimits::default(),
                None,
            )
            .unwrap();
        assert_eq!(read.status, ReadStatus::Found, "{queue:?} {}", found.len());
        let mut rest = &read.messages[..];
        while !rest.is_empty() {
            let (record, len) = Record::parse(rest).unwrap();
            assert_eq!(record.queue_offset, found.len() as i64);
            let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
            if record.sys_flag & INNER == INNER {
                found.extend(batch::items(record.body).map(|item| text(item.unwrap().body)));
            } else {
                found.push(text(record.body));
            }
            rest = &rest[len..];
        }
    }
    found
}

/// Starts on the disk and checks what is there: everything promised, nothing that was never sent, in order. Then that sends go on,
/// and that the derived files are those that the log gives.
fn check(disk: &SimFs, flush: FlushMode, known: &Known) {
    let (mut writer, reader) = open(disk, flush).expect("a store that was ours opens");
    for queue in QUEUES {
        let found = bodies(&reader, queue);
        let sent = known.sent.get(&queue).map_or(&[][..], Vec::as_slice);
        let durable = known.durable.get(&queue).copied().unwrap_or(0);
        assert!(
            found.len() >= durable,
            "{queue:?}: {} of {durable} promised",
            found.len()
        );
        assert!(found.len() <= sent.len(), "{queue:?}: invented messages");
        assert_eq!(found, sent[..found.len()], "{queue:?}");
    }
    let next = reader.queue_range("a", 1).map_or(0, |range| range.max);
    let placed = writer
        .append(&message("a", 1, b"goes on"), NOW_MS + 1_000_000)
        .unwrap();
    assert_eq!(placed.queue_offset, next);
    writer.commit().unwrap();
    writer.close().unwrap();
    let live = disk.crash(Crash::Lose);
    live.remove_all(&Path::new(DIR).join("consumequeue"));
    live.remove_all(&Path::new(DIR).join("batchconsumequeue"));
    let (writer, rebuilt) = open(&live, flush).unwrap();
    for queue in QUEUES {
        assert_eq!(bodies(&rebuilt, queue), bodies(&reader, queue), "{queue:?}");
    }
    writer.close().unwrap();
    let queues = |disk: &SimFs| {
        let mut files = disk.snapshot();
        files.retain(|path, _| path.contains("consumequeue/"));
        files
    };
    support::assert_same(&queues(disk), &queues(&live));
    assert_eq!(indexed(disk), indexable(disk));
}

/// The log offsets of all records that have keys: rolled-back ones have none.
fn indexable(disk: &SimFs) -> BTreeSet<i64> {
    let disk: Arc<dyn FileSystem> = Arc::new(disk.clone());
    let inspection = Inspection::open_on(disk, Path::new(DIR)).unwrap();
    let mut offsets = BTreeSet::new();
    inspection
        .walk::<StoreError>(0, |stored| {
            let kind = stored.record.sys_flag & TRANSACTION_ROLLBACK;
            if kind != TRANSACTION_ROLLBACK {
                offsets.insert(stored.log_offset());
            }
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    offsets
}

/// The log offsets that the index files reach, with each file's chains checked: every unit is on the chain of its slot.
fn indexed(disk: &SimFs) -> BTreeSet<i64> {
    let options = small();
    let (slots, units) = (options.index_slots as usize, options.index_units as usize);
    let mut offsets = BTreeSet::new();
    for (path, bytes) in disk.snapshot() {
        if !path.contains("/index/") {
            continue;
        }
        assert_eq!(bytes.len(), 40 + 4 * slots + 20 * units, "{path}");
        let int = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let count = int(36) as usize;
        let mut reached = 0;
        for slot in 0..slots {
            let mut unit = int(40 + 4 * slot) as usize;
            while unit > 0 {
                assert!(unit < count, "{path}: unit {unit} of {count}");
                let at = 40 + 4 * slots + 20 * unit;
                assert_eq!(int(at) as usize % slots, slot, "{path}");
                offsets.insert(i64::from_be_bytes(
                    bytes[at + 4..at + 12].try_into().unwrap(),
                ));
                reached += 1;
                let older = int(at + 16) as usize;
                assert!(older < unit, "{path}");
                unit = older;
            }
        }
        assert_eq!(reached, count - 1, "{path}");
    }
    offsets
}

/// Runs `job` for every number below `count`, on all processors.
fn each(count: u64, job: impl Fn(u64) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed) as u64;
                    if n >= count {
                        return;
                    }
                    job(n);
                }
            });
        }
    });
}

/// Steps of a script that is tried with all its faults: what `ROCKETRY_CRASHES` says, for which an optimised build is good:
/// `ROCKETRY_CRASHES=300 cargo test --profile checked --package rocketry-store --test crash -- --nocapture`.
/// Without it a sample is tried, of a shorter script.
fn full_steps() -> Option<usize> {
    let text = std::env::var("ROCKETRY_CRASHES").ok()?;
    Some(text.parse().expect("a number of steps"))
}

fn stopped_everywhere(flush: FlushMode, seed: u64) {
    let is_full = full_steps().is_some();
    let steps = full_steps().unwrap_or(30);
    let whole = SimFs::default();
    let mut known = Known::default();
    run(&whole, flush, seed, steps, &mut known).expect("a script without faults ends");
    let operations = whole.operations();
    check(&whole.crash(Crash::Lose), flush, &known);
    let tried = AtomicUsize::new(0);
    each(operations, |at| {
        let disk = SimFs::default();
        disk.inject(at + 1, Fault::Stop);
        let mut known = Known::default();
        let ended = run(&disk, flush, seed, steps, &mut known);
        assert!(ended.is_none(), "stopped at {at} and went on");
        let crashes = [
            Crash::Lose,
            Crash::Tear(at),
            Crash::Keep,
            Crash::Tear(at + 1_000_000),
            Crash::Kill,
        ];
        // of a sample two at each operation, so that all come up within five
        let chosen = if is_full { 5 } else { 2 };
        for n in chosen * at..chosen * (at + 1) {
            let crash = crashes[n as usize % crashes.len()];
            let mut known = known.clone();
            if matches!(crash, Crash::Keep | Crash::Kill) {
                // what was written survives the process
                known.durable = known.committed.clone();
            }
            let result = std::panic::catch_unwind(|| check(&disk.crash(crash), flush, &known));
            assert!(result.is_ok(), "stopped at operation {at}, {crash:?}");
            tried.fetch_add(1, Ordering::Relaxed);
        }
    });
    println!(
        "{flush:?}: {steps} steps, {operations} operations, {} crashes",
        tried.into_inner()
    );
    assert!(operations > 10 * steps as u64, "{operations} operations");
}

#[test]
fn s3_a_stop_at_every_operation_loses_nothing_promised_sync() {
    stopped_everywhere(FlushMode::Sync, 1);
}

#[test]
fn s3_a_stop_at_every_operation_loses_nothing_promised_async() {
    stopped_everywhere(FlushMode::Async, 2);
}

/// An error at every operation: no acknowledgement that does not hold, and what was acknowledged is there after a crash.
#[test]
fn s4_an_error_at_every_operation() {
    let is_full = full_steps().is_some();
    // each operation fails in four ways
    let steps = full_steps().map_or(20, |steps| steps / 2);
    let whole = SimFs::default();
    run(&whole, FlushMode::Sync, 3, steps, &mut Known::default()).unwrap();
    let operations = whole.operations();
    let faults = [
        Fault::Error(io::ErrorKind::Other),
        Fault::Error(io::ErrorKind::StorageFull),
        Fault::Error(io::ErrorKind::Interrupted),
        Fault::Short,
    ];
    let tried = AtomicUsize::new(0);
    each(operations * 4, |n| {
        let (at, fault) = (n / 4, faults[n as usize % 4]);
        let disk = SimFs::default();
        disk.inject(at + 1, fault);
        let mut known = Known::default();
        let ended = run(&disk, FlushMode::Sync, 3, steps, &mut known);
        if fault == Fault::Short {
            assert!(ended.is_some(), "short operation {at} is an error");
        }
        let crashes = [Crash::Lose, Crash::Kill, Crash::Tear(n)];
        // of a sample one: three crashes and four faults, each pair comes up within twelve
        let sample = n as usize % 3..n as usize % 3 + 1;
        for crash in &crashes[if is_full { 0..3 } else { sample }] {
            let result =
                std::panic::catch_unwind(|| check(&disk.crash(*crash), FlushMode::Sync, &known));
            assert!(result.is_ok(), "{fault:?} at operation {at}, {crash:?}");
            tried.fetch_add(1, Ordering::Relaxed);
        }
    });
    println!(
        "{steps} steps, {operations} operations, {} errors, {} crashes after them",
        operations * 4,
        tried.into_inner()
    );
}

/// A full disk refuses one commit; nothing of it is seen, and the next goes where it would have gone.
#[test]
fn a_full_disk_refuses_a_commit_and_the_store_goes_on() {
    let disk = SimFs::default();
    let (mut writer, reader) = open(&disk, FlushMode::Async).unwrap();
    writer.append(&message("a", 0, b"first"), NOW_MS).unwrap();
    writer.commit().unwrap();
    let end = reader.max_log_offset();
    writer.append(&message("a", 0, b"second"), NOW_MS).unwrap();
    disk.inject(
        disk.operations() + 1,
        Fault::Error(io::ErrorKind::StorageFull),
    );
    let error = writer.commit().expect_err("full");
    assert_eq!(error.kind(), rocketry_store::WriteErrorKind::DiskFull);
    assert!(!error.maybe_stored());
    assert!(
        error.to_string().contains("/data/store/commitlog/"),
        "{error}"
    );
    assert_eq!(reader.max_log_offset(), end);
    let again = writer.append(&message("a", 0, b"third"), NOW_MS).unwrap();
    assert_eq!((again.log_offset, again.queue_offset), (end, 1));
    writer.commit().unwrap();
    assert_eq!(bodies(&reader, ("a", 0)), ["first", "third"]);
}

/// A failed sync ends writing for good, in both modes; reading goes on.
#[test]
fn a_failed_sync_is_remembered() {
    for flush in [FlushMode::Sync, FlushMode::Async] {
        let disk = SimFs::default();
        let (mut writer, reader) = open(&disk, flush).unwrap();
        writer.append(&message("a", 0, b"first"), NOW_MS).unwrap();
        writer.commit().unwrap();
        writer.append(&message("a", 0, b"second"), NOW_MS).unwrap();
        let error = if flush == FlushMode::Sync {
            // the write, then the sync
            disk.inject(disk.operations() + 2, Fault::Error(io::ErrorKind::Other));
            writer.commit().expect_err("the sync fails")
        } else {
            writer.commit().unwrap();
            disk.inject(disk.operations() + 1, Fault::Error(io::ErrorKind::Other));
            writer.sync().expect_err("the sync fails")
        };
        assert!(error.maybe_stored(), "{error}");
        assert!(error.to_string().contains("read-only"), "{error}");
        for _ in 0..2 {
            let refused = writer.append(&message("a", 0, b"third"), NOW_MS);
            assert!(
                refused
                    .expect_err("read-only")
                    .to_string()
                    .contains("read-only")
            );
            writer.sync().expect_err("still");
        }
        let visible = if flush == FlushMode::Sync { 1 } else { 2 };
        assert_eq!(bodies(&reader, ("a", 0)).len(), visible);
        assert!(writer.close().is_err(), "a store that failed is not closed");
    }
}

/// Small commits that are synced find the log's next bytes written already, as zeros; what those cost is shared by many commits, and
/// a disk that refuses them refuses nothing else.
#[test]
fn zeros_go_ahead_of_small_synced_commits() {
    const COMMITS: u64 = 20;
    // operations of a commit; further writes in all: 20 x 10 KiB cross one end of the zeros, larger commits do without
    for (flush, body_bytes, each, ahead) in [
        (FlushMode::Sync, 10 << 10, 2, 1),
        (FlushMode::Sync, 60 << 10, 2, 0),
        (FlushMode::Async, 10 << 10, 1, 0),
    ] {
        let disk = SimFs::default();
        let options = StoreOptions {
            flush,
            log_file_bytes: 4 << 20,
            ..small()
        };
        let open = || {
            let disk: Arc<dyn FileSystem> = Arc::new(disk.clone());
            Store::open_on(disk, Path::new(DIR), options.clone(), NOW_MS).unwrap()
        };
        let (mut writer, reader, _) = open();
        let body = vec![b'x'; body_bytes];
        let commit = |writer: &mut Writer| {
            writer.append(&message("a", 0, &body), NOW_MS).unwrap();
            writer.commit().unwrap();
        };
        // makes the file, and the first zeros
        commit(&mut writer);
        let before = disk.operations();
        for _ in 0..COMMITS {
            commit(&mut writer);
        }
        assert_eq!(disk.operations() - before, COMMITS * each + ahead);
        if ahead > 0 {
            let mut until_zeros = || {
                for n in 1.. {
                    let before = disk.operations();
                    commit(&mut writer);
                    if disk.operations() - before > each {
                        return n;
                    }
                }
                unreachable!("a log without end")
            };
            until_zeros();
            for _ in 1..until_zeros() {
                commit(&mut writer);
            }
            // the write of the message, then the zeros
            let full = Fault::Error(io::ErrorKind::StorageFull);
            disk.inject(disk.operations() + 2, full);
            commit(&mut writer);
        }
        let found = bodies(&reader, ("a", 0)).len();
        assert!(found as u64 > COMMITS);
        drop((writer, reader));
        let (_writer, reader, _) = open();
        assert_eq!(bodies(&reader, ("a", 0)).len(), found);
    }
}
