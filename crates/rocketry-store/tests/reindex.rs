//! An index that cannot be written for a while: sends and reads go on, it says that it is behind, and it catches up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod support;

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use rocketry_store::{
    Appended, FileSystem, Flusher, KeyKind, KeyQuery, NewMessage, Reader, Store, StoreOptions,
    Writer,
    fs::{Entry, File, FileLock, LockFailure, OpenMode},
};
use support::{
    NOW_MS, message,
    real::as_the_file,
    sim::{Crash, SimFs},
    small,
};

const DIR: &str = "/data/store";
/// Messages in the index before anything fails, and during.
const BEFORE: u64 = 20;
const DURING: u64 = 30;

/// What fails of the writes and syncs below `index`: those from the given one on, while they are counted.
#[derive(Debug, Default)]
struct Plan {
    seen: AtomicU64,
    from: AtomicU64,
    error: Mutex<Option<io::ErrorKind>>,
    syncs_fail: std::sync::atomic::AtomicBool,
    /// Told of every write, which then waits for the answer, as long as there is somebody to answer.
    meanwhile: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl Plan {
    fn fail(&self, from: u64, error: io::ErrorKind, syncs_fail: bool) {
        self.seen.store(0, Ordering::Relaxed);
        self.from.store(from, Ordering::Relaxed);
        self.syncs_fail.store(syncs_fail, Ordering::Relaxed);
        *self.error.lock().unwrap() = Some(error);
    }

    fn heal(&self) {
        *self.error.lock().unwrap() = None;
    }

    /// Lets somebody do something before a write.
    fn wait(&self) {
        if let Some((ask, answer)) = &*self.meanwhile.lock().unwrap()
            && ask.send(()).is_ok()
        {
            let _ = answer.recv();
        }
    }

    /// `takes_space` says whether an operation needs place that the file does not have.
    fn step(&self, is_sync: bool, takes_space: impl FnOnce() -> bool) -> io::Result<()> {
        let Some(error) = *self.error.lock().unwrap() else {
            return Ok(());
        };
        if self.seen.fetch_add(1, Ordering::Relaxed) < self.from.load(Ordering::Relaxed)
            || (is_sync && !self.syncs_fail.load(Ordering::Relaxed))
            || (error == io::ErrorKind::StorageFull && !takes_space())
        {
            return Ok(());
        }
        Err(error.into())
    }
}

#[derive(Debug, Clone)]
struct Disk(SimFs, Arc<Plan>);

impl FileSystem for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.0.open(path, mode)?;
        let plan = path
            .to_string_lossy()
            .contains("/index/")
            .then(|| Arc::clone(&self.1));
        Ok(Arc::new(DiskFile(file, plan)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.0.sync_all(path)
    }
    fn lock(&self, path: &Path) -> Result<FileLock, LockFailure> {
        self.0.lock(path)
    }
    fn free_bytes(&self, path: &Path) -> Option<u64> {
        self.0.free_bytes(path)
    }
}

#[derive(Debug)]
struct DiskFile(Arc<dyn File>, Option<Arc<Plan>>);

impl DiskFile {
    fn step(&self, is_sync: bool, takes_space: impl FnOnce() -> bool) -> io::Result<()> {
        match &self.1 {
            Some(plan) => plan.step(is_sync, takes_space),
            None => Ok(()),
        }
    }
}

impl File for DiskFile {
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        if let Some(plan) = &self.1 {
            plan.wait();
        }
        self.step(false, || {
            let mut found = vec![0; buf.len()];
            self.0.read_exact_at(&mut found, offset).is_err()
                || buf
                    .iter()
                    .zip(&found)
                    .any(|(new, old)| *old == 0 && *new != 0)
        })?;
        self.0.write_at(buf, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(false, || false)?;
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.step(true, || false)?;
        self.0.sync()
    }
    as_the_file!(0: read_at length zero_range);
}

fn send(writer: &mut Writer, n: u64) {
    send_body(writer, n, b"body");
}

fn send_body(writer: &mut Writer, n: u64, body: &[u8]) -> Appended {
    let properties = format!("UNIQ_KEY\x01U{n}\x02KEYS\x01k{} all\x02", n % 7);
    let message = NewMessage {
        properties: properties.as_bytes(),
        ..message("t", 0, body)
    };
    let appended = writer.append(&message, NOW_MS).expect("an append");
    writer.commit().expect("a commit");
    appended
}

/// Which of the messages below `count` are found by their ids.
fn found(reader: &Reader, count: u64) -> Vec<u64> {
    let is_found = |n: &u64| {
        let query = KeyQuery {
            topic: "t",
            key: &format!("U{n}"),
            kind: KeyKind::Unique,
            max_messages: 2,
            max_bytes: usize::MAX,
            begin_ms: 0,
            end_ms: i64::MAX,
        };
        let outcome = reader.query_by_key(&query).expect("a readable index");
        assert!(outcome.count <= 1, "message {n} is found twice");
        assert_eq!(outcome.unindexed_bytes, reader.unindexed_bytes());
        outcome.count == 1
    };
    (0..count).filter(is_found).collect()
}

/// Hash and log offset of every unit of the index files. Keys that the end of a file parts from the others of their message may be there
/// twice, as in Java.
fn units(disk: &SimFs) -> BTreeSet<(i32, i64)> {
    units_of(disk, &small()).into_iter().collect()
}

fn units_of(disk: &SimFs, options: &StoreOptions) -> Vec<(i32, i64)> {
    let slots = options.index_slots as usize;
    let mut units = Vec::new();
    for (path, bytes) in disk.snapshot() {
        if path.contains("/index/") {
            let count = u32::from_be_bytes(bytes[36..40].try_into().unwrap()) as usize;
            units.extend((1..count).map(|unit| {
                let at = 40 + 4 * slots + 20 * unit;
                let hash = i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
                let offset = i64::from_be_bytes(bytes[at + 4..at + 12].try_into().unwrap());
                (hash, offset)
            }));
        }
    }
    units
}

/// One failure at index write `from`, and what comes after. Returns whether anything failed.
fn failed_from(from: u64, error: io::ErrorKind, syncs_fail: bool) -> bool {
    let (sim, plan) = (SimFs::default(), Arc::new(Plan::default()));
    let disk = Arc::new(Disk(sim.clone(), Arc::clone(&plan)));
    let (mut writer, reader, _) =
        Store::open_on(disk, Path::new(DIR), small(), NOW_MS).expect("a new store");
    let mut now_ms = NOW_MS;
    let mut flush = |writer: &mut Writer| {
        now_ms += 10_000;
        writer.flush_tick(now_ms).expect("a flush");
    };
    for n in 0..BEFORE {
        send(&mut writer, n);
    }
    flush(&mut writer);
    plan.fail(from, error, syncs_fail);
    for n in BEFORE..BEFORE + DURING {
        send(&mut writer, n);
        if n % 8 == 0 {
            flush(&mut writer);
        }
    }
    let failed = reader.unindexed_bytes() > 0;
    let range = reader.queue_range("t", 0).unwrap();
    assert_eq!(range.max.cast_unsigned(), BEFORE + DURING, "sends go on");
    if failed && !syncs_fail && error == io::ErrorKind::StorageFull {
        // what was in the index is there, although a batch stopped half way
        let before = found(&reader, BEFORE);
        assert_eq!(before, (0..BEFORE).collect::<Vec<_>>(), "from {from}");
    }
    plan.heal();
    flush(&mut writer);
    flush(&mut writer);
    assert_eq!(reader.unindexed_bytes(), 0, "from {from}");
    let all: Vec<u64> = (0..BEFORE + DURING).collect();
    assert_eq!(found(&reader, BEFORE + DURING), all, "from {from}");
    send(&mut writer, BEFORE + DURING);
    assert_eq!(
        found(&reader, BEFORE + DURING + 1).len() as u64,
        BEFORE + DURING + 1
    );
    writer.close().expect("a clean stop");

    let rebuilt = sim.crash(Crash::Lose);
    rebuilt.remove_all(&Path::new(DIR).join("index"));
    let (writer, _, _) = Store::open_on(
        Arc::new(rebuilt.clone()),
        Path::new(DIR),
        small(),
        NOW_MS + 1,
    )
    .expect("a store that was closed");
    writer.close().expect("a clean stop");
    assert!(units(&sim) == units(&rebuilt), "from {from}");
    failed
}

/// More calls than any of these stores makes.
const MAX_CALLS: u64 = 100_000;

/// Full from every write on, which leaves what the files hold to be changed: the file of the failed batch is put back as it was, and afterwards the index is the one that the log gives.
#[test]
fn an_index_on_a_full_disk_is_behind_and_catches_up() {
    let failed = (0..MAX_CALLS)
        .take_while(|from| failed_from(*from, io::ErrorKind::StorageFull, false))
        .count();
    println!("{failed} points of failure");
    assert!(failed > 30, "{failed}");
}

/// Nothing can be written or synced from some operation on: a file whose content is not known any more is given up and built again.
#[test]
fn an_index_on_a_failing_disk_is_built_again() {
    let failed = (0..MAX_CALLS)
        .take_while(|from| failed_from(*from, io::ErrorKind::Other, true))
        .count();
    println!("{failed} points of failure");
    assert!(failed > 30, "{failed}");
}

/// A stop while the index is behind: the next start brings it up to the log.
#[test]
fn an_index_that_was_behind_at_the_stop_is_brought_up_by_the_next_start() {
    let (sim, plan) = (SimFs::default(), Arc::new(Plan::default()));
    let disk = Arc::new(Disk(sim.clone(), Arc::clone(&plan)));
    let (mut writer, _, _) =
        Store::open_on(disk, Path::new(DIR), small(), NOW_MS).expect("a new store");
    plan.fail(0, io::ErrorKind::StorageFull, false);
    for n in 0..DURING {
        send(&mut writer, n);
    }
    writer.flush_tick(NOW_MS + 20_000).expect("a flush");
    writer.close().expect("a stop of which the log knows all");
    let (_writer, reader, recovery) =
        Store::open_on(Arc::new(sim), Path::new(DIR), small(), NOW_MS).expect("a closed store");
    assert!(recovery.clean);
    assert_eq!(found(&reader, DURING), (0..DURING).collect::<Vec<_>>());
}

/// What a step that has not ended by then never ends.
const HANGS_AFTER: Duration = Duration::from_mins(1);

/// What is due at `now_ms`, on a thread of its own; `meanwhile` runs here until it is done.
fn tick(flusher: &Flusher, now_ms: i64, meanwhile: impl FnOnce()) {
    let (done, is_done) = channel();
    let flusher = flusher.clone();
    thread::spawn(move || done.send(flusher.tick(now_ms)));
    meanwhile();
    let done = is_done.recv_timeout(HANGS_AFTER);
    done.expect("a step that ends").expect("a flush");
}

/// Log files of many messages, and an index of one file.
fn large(log_file_bytes: u64) -> StoreOptions {
    StoreOptions {
        log_file_bytes,
        index_slots: 500,
        index_units: 20_000,
        ..small()
    }
}

/// A store whose index has the first messages and not the next ones, and takes writes again.
fn behind(
    options: &StoreOptions,
    body: &[u8],
) -> (SimFs, Arc<Plan>, Writer, Reader, Vec<Appended>) {
    let (sim, plan) = (SimFs::default(), Arc::new(Plan::default()));
    let disk = Arc::new(Disk(sim.clone(), Arc::clone(&plan)));
    let (mut writer, reader, _) =
        Store::open_on(disk, Path::new(DIR), options.clone(), NOW_MS).expect("a new store");
    let mut sent = Vec::new();
    for n in 0..BEFORE + DURING {
        if n == BEFORE {
            writer.flush_tick(NOW_MS + 10_000).expect("a flush");
            plan.fail(0, io::ErrorKind::StorageFull, false);
        }
        sent.push(send_body(&mut writer, n, body));
    }
    writer.flush_tick(NOW_MS + 20_000).expect("a flush");
    assert!(reader.unindexed_bytes() > 0);
    plan.heal();
    (sim, plan, writer, reader, sent)
}

/// Before each of the first `times` writes to the index that catches up, `count` messages with `bytes` each arrive: all of them are found at
/// once, after a stop, and after a crash of the machine as far as the log has them, and no key is there twice.
fn arriving(times: u64, count: u64, bytes: usize) {
    let body = vec![b'x'; bytes];
    let options = large(256 << 10);
    let (sim, plan, mut writer, reader, _) = behind(&options, b"body");
    let (ask, asked) = channel();
    let (answers, answer) = channel();
    *plan.meanwhile.lock().unwrap() = Some((ask, answer));
    let mut total = BEFORE + DURING;
    tick(&writer.flusher(), NOW_MS + 30_000, || {
        for _ in 0..times {
            asked.recv_timeout(HANGS_AFTER).expect("a write");
            for n in total..total + count {
                send_body(&mut writer, n, &body);
            }
            total += count;
            answers.send(()).expect("a write that waits");
        }
        drop((asked, answers));
    });
    let what = format!("{times} times {count} of {bytes}");
    assert_eq!(reader.unindexed_bytes(), 0, "{what}");
    let all: Vec<u64> = (0..total).collect();
    assert_eq!(found(&reader, total), all, "{what}");

    let open = |disk: SimFs| {
        Store::open_on(
            Arc::new(disk),
            Path::new(DIR),
            options.clone(),
            NOW_MS + 40_000,
        )
        .expect("a store")
    };
    let (_crashed, reader, recovery) = open(sim.crash(Crash::Lose));
    let cut = |note: &&String| note.contains("behind the end of the log");
    assert_eq!(recovery.notes.iter().find(cut), None, "{what}");
    let kept = reader.queue_range("t", 0).unwrap().max.cast_unsigned();
    assert_eq!(found(&reader, kept), all[..kept as usize], "{what}, crash");

    writer.close().expect("a clean stop");
    let (writer, reader, recovery) = open(sim.clone());
    assert_eq!(recovery.notes, [""; 0], "{what}");
    assert_eq!(found(&reader, total), all, "{what}, next start");
    // takes what waited at the stop
    writer.close().expect("a clean stop");
    let units = units_of(&sim, &options);
    let distinct: BTreeSet<_> = units.iter().collect();
    assert_eq!(distinct.len(), units.len(), "{what}");
    assert_eq!(units.len() as u64, 3 * total, "{what}");
}

/// Less than the last part of a step arrives while the index catches up.
#[test]
fn a_few_messages_that_arrive_while_the_index_catches_up_are_found() {
    // so many writes are made to a file that is there
    for times in 1..=4 {
        arriving(times, 1, 4);
        arriving(times, 3, 4096);
    }
}

/// More arrives than the last part of a step may have, once and again and again.
#[test]
fn many_messages_that_arrive_while_the_index_catches_up_are_found() {
    for times in 1..12 {
        arriving(times, 100, 16 << 10);
    }
}

/// A message in the log is damaged: what lies behind it in its file is not found, as after a start, or all but the newest if there is no
/// later file; the rest is found, and so is what comes.
#[test]
fn an_index_catches_up_behind_a_damaged_part_of_the_log() {
    let body = vec![b'x'; 64 << 10];
    for log_file_bytes in [256 << 10, 8 << 20] {
        let (sim, _, mut writer, reader, sent) = behind(&large(log_file_bytes), &body);
        let damaged = BEFORE + 2;
        let at = sent[damaged as usize].log_offset.cast_unsigned();
        let gap_end = (at / log_file_bytes + 1) * log_file_bytes;
        let file = format!(
            "{DIR}/commitlog/{:020}",
            at / log_file_bytes * log_file_bytes
        );
        sim.open(Path::new(&file), OpenMode::Write)
            .and_then(|file| file.write_all_at(b"damage", at % log_file_bytes))
            .expect("a file of the log");
        tick(&writer.flusher(), NOW_MS + 30_000, || {});
        assert_eq!(reader.unindexed_bytes(), 0);
        send(&mut writer, BEFORE + DURING);
        let newest = BEFORE + DURING - 1;
        let is_found = |n: &u64| {
            let at = sent.get(*n as usize).map(|sent| sent.log_offset);
            *n < damaged || *n >= newest || at.is_some_and(|at| at.cast_unsigned() >= gap_end)
        };
        let expected: Vec<u64> = (0..=BEFORE + DURING).filter(is_found).collect();
        assert_eq!(found(&reader, BEFORE + DURING + 1), expected);
        writer.close().expect("a clean stop");
        let (_writer, reader, recovery) = Store::open_on(
            Arc::new(sim),
            Path::new(DIR),
            large(log_file_bytes),
            NOW_MS + 40_000,
        )
        .expect("a store that was closed");
        assert_eq!(recovery.notes, [""; 0]);
        assert_eq!(found(&reader, BEFORE + DURING + 1), expected);
    }
}
