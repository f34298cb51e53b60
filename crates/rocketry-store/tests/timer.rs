//! The timer: its files are Java's, messages come out when they are due, and damage to its files costs none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod support;

use std::{
    collections::BTreeMap,
    fs, io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{Arc, Mutex},
};

use rocketry_protocol::{Properties, record::Record, topic::TIMER};
use rocketry_store::{
    DueMessage, FileSystem, NewMessage, ReadLimits, Reader, Store, StoreOptions, TimerOptions,
    Timers, Writer,
    fs::{File, OpenMode, RealFileSystem},
};
use support::{
    NOW_MS,
    golden::{Golden, golden},
    message, open,
    real::{as_on_disk, as_the_file},
};

const SECOND: i64 = 1000;
const DAY: i64 = 24 * 3600 * SECOND;

fn text(message: &DueMessage, property: &str) -> String {
    let (record, _) = Record::parse(&message.record).unwrap();
    let properties = Properties::parse_bytes(record.properties);
    properties.get(property).unwrap_or_default().to_owned()
}

/// Everything due, in order, each delivered.
fn drain(timers: &mut Timers, now_ms: i64) -> Vec<DueMessage> {
    let mut all = Vec::new();
    loop {
        let due = timers.due(now_ms, 7).expect("readable files").to_vec();
        if due.is_empty() {
            return all;
        }
        assert!(due.len() <= 7);
        all.extend(due);
        timers.delivered(now_ms);
    }
}

fn take_all(timers: &mut Timers, now_ms: i64) {
    while timers.take_new(now_ms, 32).expect("readable files") > 0 {}
}

fn write_timercheck(dir: &Path, fields: [i64; 4]) {
    let mut bytes: Vec<u8> = fields
        .iter()
        .flat_map(|field| field.to_be_bytes())
        .collect();
    bytes.resize(4096, 0);
    fs::write(dir.join("config/timercheck"), bytes).unwrap();
}

fn be(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// S-101: from the same messages at the same times, the same bytes as Java.
#[test]
fn s101_wheel_and_log_are_written_as_java_writes_them() {
    for name in ["store-clean", "store-crashed"] {
        let Some(golden) = golden(name) else { return };
        let dir = golden.dir();
        let log_path = dir.join("timerlog/00000000000000000000");
        let java_log = fs::read(&log_path).unwrap();
        let java_wheel = fs::read(dir.join("timerwheel")).unwrap();
        fs::remove_file(&log_path).unwrap();
        fs::remove_file(dir.join("timerwheel")).unwrap();
        let times: Vec<i64> = java_log
            .chunks_exact(52)
            .take_while(|unit| unit[3] == 52)
            .map(|unit| be(unit, 16))
            .collect();
        assert!(times.len() > 40);
        write_timercheck(&dir, [times[0], 0, 0, 0]);

        let (_writer, reader, _) = open(&dir, &StoreOptions::default());
        let options = TimerOptions {
            log_file_bytes: java_log.len() as u64,
            ..TimerOptions::default()
        };
        let (mut timers, note) = Timers::open(&reader, options, times[0]).unwrap();
        assert_eq!(note, None);
        for now_ms in &times {
            assert_eq!(timers.take_new(*now_ms + 3, 1).unwrap(), 1);
        }
        timers.flush_now(times[times.len() - 1]).unwrap();
        let ours = fs::read(&log_path).unwrap();
        let differs = java_log.iter().zip(&ours).position(|(a, b)| a != b);
        assert_eq!((differs, ours.len()), (None, java_log.len()));
        let ours = fs::read(dir.join("timerwheel")).unwrap();
        let differs = java_wheel.iter().zip(&ours).position(|(a, b)| a != b);
        assert_eq!(differs.map(|at| at / 32), None, "wheel slots differ");
        assert_eq!(ours.len(), java_wheel.len());
        let check = fs::read(dir.join("config/timercheck")).unwrap();
        assert_eq!(be(&check, 8), times.len() as i64 * 52);
        assert_eq!(be(&check, 16), times.len() as i64);
        assert_eq!(be(&check, 24), times.len() as i64);
    }
}

/// What a golden store has waiting: log offset of each message whose time had not come and that was not taken back.
fn waiting(golden: &Golden, read_ms: i64) -> Vec<i64> {
    let timed: Vec<_> = golden
        .manifest
        .messages
        .iter()
        .filter(|message| message.topic == TIMER)
        .collect();
    let deleted: Vec<&String> = timed
        .iter()
        .filter_map(|message| message.properties.get("TIMER_DEL_UNIQKEY"))
        .collect();
    timed
        .iter()
        .filter(|message| message.properties["TIMER_OUT_MS"].parse::<i64>().unwrap() >= read_ms)
        .filter(|message| !message.properties.contains_key("TIMER_DEL_UNIQKEY"))
        .filter(|message| {
            let key = message.properties.get("UNIQ_KEY");
            !key.is_some_and(|key| deleted.contains(&key))
        })
        .map(|message| message.commit_log_offset)
        .collect()
}

fn offsets(due: &[DueMessage]) -> Vec<i64> {
    let offset = |message: &DueMessage| be(&message.record, 28);
    let mut all: Vec<i64> = due.iter().map(offset).collect();
    all.sort_unstable();
    all
}

/// What Java left waiting is delivered here: all of it, once, and nothing that Java delivered.
#[test]
fn s117_a_timer_of_java_goes_on() {
    for (name, damage) in [
        ("store-clean", "none"),
        ("store-crashed", "none"),
        ("store-clean", "timerwheel"),
        ("store-crashed", "timerwheel"),
        ("store-clean", "timerlog/00000000000000000000"),
    ] {
        let Some(golden) = golden(name) else { return };
        let dir = golden.dir();
        let check = fs::read(dir.join("config/timercheck")).unwrap();
        let read_ms = be(&check, 0);
        let expected = waiting(&golden, read_ms);
        assert!(expected.len() > 3, "{expected:?}");
        if damage != "none" {
            fs::remove_file(dir.join(damage)).unwrap();
        }
        let (_writer, reader, _) = open(&dir, &StoreOptions::default());
        let now_ms = read_ms + 10 * SECOND;
        let (mut timers, note) = Timers::open(&reader, TimerOptions::default(), now_ms).unwrap();
        assert_eq!(note.is_some(), damage != "none", "{note:?}");
        take_all(&mut timers, now_ms);
        let max = reader.queue_range(TIMER, 0).unwrap().max;
        assert_eq!(timers.queue_offset(), max);
        let mut due = drain(&mut timers, now_ms);
        assert!(due.len() < expected.len(), "{name} {damage}");
        // two days later a message that rolls, as Java decided when it stored it, goes round
        due.extend(drain(&mut timers, now_ms + 3 * DAY));
        assert_eq!(offsets(&due), expected, "{name} {damage}");
        assert!(due.iter().any(|message| message.rolls));
    }
}

/// A timed message, as the broker stores it.
fn send(writer: &mut Writer, key: &str, out_ms: i64, more: &str, now_ms: i64) {
    send_to(writer, "t", key, out_ms, more, now_ms);
}

fn send_to(writer: &mut Writer, topic: &str, key: &str, out_ms: i64, more: &str, now_ms: i64) {
    let properties = format!(
        "UNIQ_KEY\x01{key}\x02TIMER_OUT_MS\x01{out_ms}\x02REAL_TOPIC\x01{topic}\x02REAL_QID\x010\x02{more}"
    );
    let message = NewMessage {
        properties: properties.as_bytes(),
        ..message(TIMER, 0, key.as_bytes())
    };
    writer.append(&message, now_ms).expect("an append");
    writer.commit().expect("a commit");
}

/// Stores what is due where it belongs, as the broker does.
fn deliver_due(timers: &mut Timers, writer: &mut Writer, now_ms: i64) -> Vec<DueMessage> {
    let due = drain(timers, now_ms);
    for message in &due {
        let (record, _) = Record::parse(&message.record).unwrap();
        let topic = if message.rolls { TIMER } else { "t" };
        let stored = NewMessage {
            properties: record.properties,
            ..self::message(topic, 0, record.body)
        };
        writer.append(&stored, now_ms).expect("an append");
        writer.commit().expect("a commit");
    }
    due
}

fn names<'a>(due: impl IntoIterator<Item = &'a DueMessage>) -> Vec<String> {
    let name = |message| text(message, "UNIQ_KEY");
    due.into_iter().map(name).collect()
}

fn deliver(timers: &mut Timers, writer: &mut Writer, now_ms: i64) -> Vec<String> {
    names(&deliver_due(timers, writer, now_ms))
}

/// Takes and delivers until there is nothing to do; what reached its topic.
fn arrive(timers: &mut Timers, writer: &mut Writer, now_ms: i64) -> Vec<String> {
    let mut arrived = Vec::new();
    loop {
        take_all(timers, now_ms);
        let due = deliver_due(timers, writer, now_ms);
        if due.is_empty() {
            return arrived;
        }
        arrived.extend(names(due.iter().filter(|message| !message.rolls)));
    }
}

fn start(dir: &Path, now_ms: i64) -> (Writer, Reader, Timers, Option<String>) {
    start_on(&Arc::new(RealFileSystem), dir, now_ms)
}

fn start_on<F: FileSystem>(
    disk: &Arc<F>,
    dir: &Path,
    now_ms: i64,
) -> (Writer, Reader, Timers, Option<String>) {
    let disk: Arc<dyn FileSystem> = Arc::<F>::clone(disk);
    let (writer, reader, _) =
        Store::open_on(disk, dir, support::small(), NOW_MS).expect("the store opens");
    let options = TimerOptions {
        log_file_bytes: 400,
        ..TimerOptions::default()
    };
    let (timers, note) = Timers::open(&reader, options, now_ms).unwrap();
    (writer, reader, timers, note)
}

#[test]
fn messages_come_out_slot_by_slot_in_the_order_they_came() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, mut timers, note) = start(dir.path(), NOW_MS);
    assert_eq!(note, None);
    for n in 0..40i64 {
        let out_ms = NOW_MS + (n % 4) * SECOND;
        send(&mut writer, &format!("m{n}"), out_ms, "", NOW_MS);
    }
    take_all(&mut timers, NOW_MS);
    assert_eq!(reader.metadata().timer_metrics.count("t"), 40);
    assert_eq!(timers.due(NOW_MS + SECOND - 1, 100).unwrap(), []);
    let names =
        |slot: i64| -> Vec<String> { (0..10).map(|n| format!("m{}", n * 4 + slot)).collect() };
    assert_eq!(deliver(&mut timers, &mut writer, NOW_MS + SECOND), names(0));
    assert_eq!(timers.read_ms(), NOW_MS + SECOND);
    // until they are delivered the same are due
    let first = timers.due(NOW_MS + 9 * SECOND, 3).unwrap().to_vec();
    assert_eq!(timers.due(NOW_MS + 9 * SECOND, 9).unwrap(), first);
    let rest = [names(1), names(2), names(3)].concat();
    assert_eq!(deliver(&mut timers, &mut writer, NOW_MS + 9 * SECOND), rest);
    assert_eq!(reader.metadata().timer_metrics.count("t"), 0);

    // one that is due before it is taken is due at once
    send(
        &mut writer,
        "late",
        NOW_MS + 8 * SECOND,
        "",
        NOW_MS + 9 * SECOND,
    );
    take_all(&mut timers, NOW_MS + 9 * SECOND);
    let due = timers.due(NOW_MS + 9 * SECOND, 9).unwrap();
    assert_eq!((due.len(), due[0].enqueue_ms), (1, i64::MAX));
}

/// S-079, the store's part: taken back by unique id, in whatever order the two were sent.
#[test]
fn a_message_that_was_taken_back_stays_away() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, mut timers, _) = start(dir.path(), NOW_MS);
    let out_ms = NOW_MS + 5 * SECOND;
    for key in ["a", "b", "c"] {
        send(&mut writer, key, out_ms, "", NOW_MS);
    }
    send(
        &mut writer,
        "x",
        out_ms,
        "TIMER_DEL_UNIQKEY\x01b\x02",
        NOW_MS,
    );
    send(
        &mut writer,
        "y",
        out_ms,
        "TIMER_DEL_UNIQKEY\x01t+c\x02",
        NOW_MS,
    );
    take_all(&mut timers, NOW_MS);
    assert_eq!(reader.metadata().timer_metrics.count("t"), 1);
    assert_eq!(
        deliver(&mut timers, &mut writer, NOW_MS + 6 * SECOND),
        ["a"]
    );
}

/// Who may send to one topic takes nothing back of another, however the id is written.
#[test]
fn a_message_is_taken_back_in_its_own_topic() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _reader, mut timers, _) = start(dir.path(), NOW_MS);
    let out_ms = NOW_MS + 5 * SECOND;
    for key in ["a", "b", "c", "d"] {
        send(&mut writer, key, out_ms, "", NOW_MS);
    }
    for (topic, id) in [("u", "a"), ("u", "t+b"), ("t", "c"), ("t", "t+d")] {
        let recall = format!("TIMER_DEL_UNIQKEY\x01{id}\x02");
        send_to(&mut writer, topic, "x", out_ms, &recall, NOW_MS);
    }
    take_all(&mut timers, NOW_MS);
    assert_eq!(
        deliver(&mut timers, &mut writer, NOW_MS + 6 * SECOND),
        ["a", "b"]
    );
}

/// S-093, the store's part: beyond the window it goes round, and comes out at its time.
#[test]
fn a_long_delay_goes_round() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _reader, mut timers, _) = start(dir.path(), NOW_MS);
    let out_ms = NOW_MS + 5 * DAY / 2;
    send(&mut writer, "long", out_ms, "", NOW_MS);
    let mut now_ms = NOW_MS;
    let mut rounds = 0;
    loop {
        take_all(&mut timers, now_ms);
        let rolls = timers.due(now_ms, 1).unwrap().first().map(|due| due.rolls);
        let delivered = deliver(&mut timers, &mut writer, now_ms);
        match rolls {
            Some(true) => rounds += 1,
            Some(false) => break,
            None => assert_eq!(delivered, Vec::<String>::new()),
        }
        now_ms += 3600 * SECOND;
    }
    assert_eq!(rounds, 1);
    assert!((out_ms + SECOND..out_ms + 3600 * SECOND + SECOND).contains(&now_ms));
}

#[test]
fn the_slot_of_a_time_ends_with_it() {
    let options = TimerOptions::default();
    assert_eq!(options.out_ms(10_000), 9_000);
    assert_eq!(options.out_ms(10_001), 10_000);
    assert_eq!(options.out_ms(10_999), 10_000);
    let odd = TimerOptions {
        precision_ms: 300,
        ..options
    };
    assert_eq!(odd.out_ms(10_999), 10_800);
}

/// A store with messages of five kinds: delivered, due while it was closed, waiting, taken back, and one that went round.
fn script(dir: &Path) -> i64 {
    let (mut writer, reader, mut timers, _) = start(dir, NOW_MS);
    for n in 0..20i64 {
        send(
            &mut writer,
            &format!("done{n}"),
            NOW_MS + n % 3 * SECOND,
            "",
            NOW_MS,
        );
    }
    send(&mut writer, "round", NOW_MS + 5 * DAY / 2, "", NOW_MS);
    take_all(&mut timers, NOW_MS);
    assert_eq!(
        deliver(&mut timers, &mut writer, NOW_MS + 5 * SECOND).len(),
        20
    );
    let now_ms = NOW_MS + 2 * DAY;
    assert_eq!(deliver(&mut timers, &mut writer, now_ms), ["round"]);
    for n in 0..5i64 {
        send(
            &mut writer,
            &format!("soon{n}"),
            now_ms + n * SECOND,
            "",
            now_ms,
        );
        send(&mut writer, &format!("later{n}"), now_ms + DAY, "", now_ms);
    }
    send(&mut writer, "back", now_ms + SECOND, "", now_ms);
    send(
        &mut writer,
        "x",
        now_ms + SECOND,
        "TIMER_DEL_UNIQKEY\x01back\x02",
        now_ms,
    );
    take_all(&mut timers, now_ms);
    timers.flush_now(now_ms).unwrap();
    reader.metadata().persist().unwrap();
    writer.close().unwrap();
    now_ms
}

fn expected() -> BTreeMap<String, usize> {
    let soon = (0..5).map(|n| format!("soon{n}"));
    let later = (0..5).map(|n| format!("later{n}"));
    soon.chain(later)
        .chain(["round".to_owned()])
        .map(|name| (name, 1))
        .collect()
}

fn counted(names: Vec<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// S-094: whatever of the timer's files is lost or damaged, everything that waited is delivered, once, and nothing else.
#[test]
fn s094_damaged_files_are_derived_again() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 9] = [
        ("nothing", |_| {}),
        ("wheel removed", |dir| {
            fs::remove_file(dir.join("timerwheel")).unwrap();
        }),
        ("wheel cut", |dir| {
            let wheel = fs::OpenOptions::new()
                .write(true)
                .open(dir.join("timerwheel"));
            wheel.unwrap().set_len(1 << 20).unwrap();
        }),
        ("log removed", |dir| {
            fs::remove_dir_all(dir.join("timerlog")).unwrap();
        }),
        ("first log file removed", |dir| {
            fs::remove_file(dir.join("timerlog/00000000000000000000")).unwrap();
        }),
        ("middle log file removed", |dir| {
            fs::remove_file(dir.join("timerlog/00000000000000000400")).unwrap();
        }),
        ("last log file overwritten", |dir| {
            let last = fs::read_dir(dir.join("timerlog")).unwrap();
            let last = last.map(|entry| entry.unwrap().path()).max().unwrap();
            fs::write(last, [0xa5; 400]).unwrap();
        }),
        ("timercheck removed", |dir| {
            fs::remove_file(dir.join("config/timercheck")).unwrap();
        }),
        ("all removed", |dir| {
            fs::remove_file(dir.join("timerwheel")).unwrap();
            fs::remove_dir_all(dir.join("timerlog")).unwrap();
            fs::remove_file(dir.join("config/timercheck")).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let closed_ms = script(dir.path());
        damage(dir.path());
        let now_ms = closed_ms + 30 * SECOND;
        let (mut writer, _reader, mut timers, note) = start(dir.path(), now_ms);
        let mut found = Vec::new();
        for day in 0..3 {
            take_all(&mut timers, now_ms + day * DAY);
            found.extend(deliver(&mut timers, &mut writer, now_ms + day * DAY));
        }
        assert_eq!(counted(found), expected(), "{name}: {note:?}");
        // a first file may be gone because its messages are
        let unnoticed = ["nothing", "first log file removed"].contains(&name);
        assert_eq!(note.is_none(), unnoticed, "{name}: {note:?}");
    }
}

/// S-094 and S-091, the store's part: closed for longer than the wheel reaches back in Java.
#[test]
fn a_long_stop_delays_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let closed_ms = script(dir.path());
    let now_ms = closed_ms + 40 * DAY;
    let (mut writer, _reader, mut timers, note) = start(dir.path(), now_ms);
    assert_eq!(note, None);
    send(&mut writer, "new", now_ms + SECOND, "", now_ms);
    let mut found = Vec::new();
    for _ in 0..3 {
        take_all(&mut timers, now_ms + 5 * SECOND);
        found.extend(deliver(&mut timers, &mut writer, now_ms + 5 * SECOND));
    }
    let mut all = expected();
    all.insert("new".to_owned(), 1);
    assert_eq!(counted(found), all);
}

/// S-091, S-094, the store's part: a stop right after a delivery, before the timer looks on.
#[test]
fn what_was_delivered_last_does_not_come_again_after_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let now_ms = NOW_MS + SECOND;
    let (mut writer, _, mut timers, _) = start(dir.path(), NOW_MS);
    for key in ["a", "b"] {
        send(&mut writer, key, NOW_MS, "", NOW_MS);
    }
    take_all(&mut timers, NOW_MS);
    assert_eq!(timers.due(now_ms, 1).unwrap().len(), 1);
    timers.delivered(now_ms);
    assert_eq!(timers.read_ms(), NOW_MS, "one of the slot is left");
    assert_eq!(timers.due(now_ms, 1).unwrap().len(), 1);
    timers.delivered(now_ms);
    timers.flush_now(now_ms).unwrap();
    drop(timers);
    writer.close().unwrap();
    let (_writer, _, mut timers, note) = start(dir.path(), now_ms);
    assert_eq!(note, None);
    assert_eq!(timers.due(now_ms, 9).unwrap(), []);
}

/// The system's files, with places that cannot be read.
#[derive(Debug, Clone, Default)]
struct BadDisk(Arc<Mutex<Vec<BadPlace>>>);

#[derive(Debug, Clone)]
struct BadPlace {
    file: String,
    range: Range<u64>,
    /// The system's number of the error.
    error: i32,
}

const EIO: i32 = 5;
const EMFILE: i32 = 24;

impl BadDisk {
    fn set(&self, places: &[BadPlace]) {
        *self.0.lock().unwrap() = places.to_vec();
    }
}

impl FileSystem for BadDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(BadFile {
            disk: self.clone(),
            path: path.to_str().unwrap().to_owned(),
            file: RealFileSystem.open(path, mode)?,
        }))
    }
    as_on_disk!(rename remove list create_dir sync_dir sync_all lock free_bytes);
}

#[derive(Debug)]
struct BadFile {
    disk: BadDisk,
    path: String,
    file: Arc<dyn File>,
}

impl File for BadFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + buf.len() as u64;
        for place in self.disk.0.lock().unwrap().iter() {
            let touches = offset < place.range.end && place.range.start < end;
            if touches && self.path.ends_with(&place.file) {
                return Err(io::Error::from_raw_os_error(place.error));
            }
        }
        self.file.read_at(buf, offset)
    }
    as_the_file!(file: write_at length set_len zero_range sync);
}

/// Log offset and bytes of message number `n` of the timer topic.
fn record(reader: &Reader, n: i64) -> (u64, Vec<u8>) {
    let one = ReadLimits {
        max_messages: 1,
        ..ReadLimits::default()
    };
    let found = reader.read(TIMER, 0, n, &one, None).unwrap();
    (be(&found.messages, 28) as u64, found.messages.to_vec())
}

/// Its place, as one that cannot be read.
fn bad_record(reader: &Reader, n: i64, error: i32) -> BadPlace {
    let (at, bytes) = record(reader, n);
    let file_bytes = support::small().log_file_bytes;
    let start = at / file_bytes * file_bytes;
    BadPlace {
        file: format!("commitlog/{start:020}"),
        range: at - start..at - start + bytes.len() as u64,
        error,
    }
}

/// So many rounds of the broker's, in chunks of two: what was delivered, and how many rounds the disk ended.
fn rounds(timers: &mut Timers, now_ms: i64, count: usize) -> (Vec<String>, usize) {
    let (mut delivered, mut failed) = (Vec::new(), 0);
    for _ in 0..count {
        loop {
            match timers.due(now_ms, 2) {
                Ok([]) => break,
                Ok(due) => delivered.extend(names(due)),
                Err(_) => {
                    failed += 1;
                    break;
                }
            }
            timers.delivered(now_ms);
        }
    }
    (delivered, failed)
}

/// What is logged, from warnings on, while `run` runs.
fn logged<T>(run: impl FnOnce() -> T) -> (T, String) {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(move || writer.clone())
        .finish();
    let result = tracing::subscriber::with_default(subscriber, run);
    let text = log.0.lock().unwrap().clone();
    (result, String::from_utf8(text).unwrap())
}

fn assert_names(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "{part} is not in {log}");
    }
}

#[test]
fn a_record_that_cannot_be_read_repeats_nothing_and_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(BadDisk::default());
    let (mut writer, reader, mut timers, _) = start_on(&disk, dir.path(), NOW_MS);
    for n in 0..8 {
        send(&mut writer, &format!("m{n}"), NOW_MS, "", NOW_MS);
    }
    send(&mut writer, "next", NOW_MS + SECOND, "", NOW_MS);
    take_all(&mut timers, NOW_MS);
    let now_ms = NOW_MS + 3 * SECOND;
    let (at, _) = record(&reader, 5);
    disk.set(&[bad_record(&reader, 5, EIO)]);
    let ((delivered, failed), log) = logged(|| rounds(&mut timers, now_ms, 6));
    let all = ["m0", "m1", "m2", "m3", "m4", "m6", "m7", "next"];
    assert_eq!(delivered, all);
    assert_eq!(failed, 2, "the third failure is the last");
    assert_eq!(timers.read_ms(), now_ms);
    let log_offset = format!("log_offset={at} ");
    assert_names(&log, &["ERROR", "is not delivered", &log_offset]);
}

#[test]
fn a_record_that_cannot_be_read_holds_up_none_that_come_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(BadDisk::default());
    let (mut writer, reader, mut timers, _) = start_on(&disk, dir.path(), NOW_MS);
    for n in 0..8 {
        send(&mut writer, &format!("m{n}"), NOW_MS, "", NOW_MS);
    }
    let take = |timers: &mut Timers, times: usize| {
        let taken = (0..times).map(|_| timers.take_new(NOW_MS, 32));
        taken.filter(Result::is_err).count()
    };
    let bad = [2, 6].map(|n| bad_record(&reader, n, EIO));
    disk.set(&[bad_record(&reader, 2, EMFILE)]);
    assert_eq!(take(&mut timers, 20), 18, "two are taken");
    disk.set(&bad);
    let (failed, log) = logged(|| take(&mut timers, 20));
    assert_eq!(failed, 4, "two failures each, then it is left out");
    assert_eq!(log.matches("is not delivered").count(), 2);
    assert_eq!(timers.queue_offset(), 8);
    let delivered = rounds(&mut timers, NOW_MS + SECOND, 1);
    let all = ["m0", "m1", "m3", "m4", "m5", "m7"].map(str::to_owned);
    assert_eq!(delivered, (all.to_vec(), 0));
}

/// A process that may not open another file has nothing wrong with its messages.
#[test]
fn a_shortage_is_waited_out() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(BadDisk::default());
    let (mut writer, reader, mut timers, _) = start_on(&disk, dir.path(), NOW_MS);
    for key in ["a", "b", "c"] {
        send(&mut writer, key, NOW_MS, "", NOW_MS);
    }
    take_all(&mut timers, NOW_MS);
    let now_ms = NOW_MS + SECOND;
    disk.set(&[bad_record(&reader, 1, EMFILE)]);
    assert_eq!(rounds(&mut timers, now_ms, 9), (vec!["a".to_owned()], 9));
    disk.set(&[]);
    assert_eq!(rounds(&mut timers, now_ms, 1).0, ["b", "c"]);
}

#[test]
fn recalls_that_cannot_be_read_hold_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(BadDisk::default());
    let (mut writer, reader, mut timers, _) = start_on(&disk, dir.path(), NOW_MS);
    for key in ["a", "b", "c", "d"] {
        send(&mut writer, key, NOW_MS, "", NOW_MS);
    }
    for key in ["b", "c", "d"] {
        let recall = format!("TIMER_DEL_UNIQKEY\x01{key}\x02");
        send(&mut writer, &format!("x{key}"), NOW_MS, &recall, NOW_MS);
    }
    take_all(&mut timers, NOW_MS);
    disk.set(&[4, 6].map(|n| bad_record(&reader, n, EIO)));
    let (outcome, log) = logged(|| rounds(&mut timers, NOW_MS + SECOND, 9));
    let all = ["a", "b", "d"].map(str::to_owned).to_vec();
    assert_eq!(outcome, (all, 4), "two failures each, then it is left out");
    assert_eq!(log.matches("a recall is without effect").count(), 2);
}

#[test]
fn what_the_log_does_not_have_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, mut timers, _) = start(dir.path(), NOW_MS);
    for key in ["a", "b", "c"] {
        send(&mut writer, key, NOW_MS, "", NOW_MS);
    }
    take_all(&mut timers, NOW_MS);
    let (at, _) = record(&reader, 1);
    overwrite(dir.path(), &reader, 1, 4);
    let (outcome, log) = logged(|| rounds(&mut timers, NOW_MS + SECOND, 1));
    assert_eq!(outcome, (vec!["a".to_owned(), "c".to_owned()], 0));
    let log_offset = format!("log_offset={at} ");
    assert_names(&log, &["WARN", "the commit log does not have", &log_offset]);
}

/// Overwrites one byte of message number `n` of the timer topic.
fn overwrite(dir: &Path, reader: &Reader, n: i64, at: usize) {
    let place = bad_record(reader, n, EIO);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(dir.join(place.file))
        .unwrap();
    file.write_all_at(&[0xff], place.range.start + at as u64)
        .unwrap();
}

#[test]
fn one_message_that_cannot_be_parsed_is_stepped_over_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, mut timers, _) = start(dir.path(), NOW_MS);
    for n in 0..8 {
        send(&mut writer, &format!("m{n}"), NOW_MS, "", NOW_MS);
    }
    let mut offsets = Vec::new();
    for n in [0, 3, 4, 7] {
        let (at, bytes) = record(&reader, n);
        offsets.push(format!("log_offset={at} "));
        let topic = bytes
            .windows(TIMER.len())
            .position(|part| part == TIMER.as_bytes());
        overwrite(dir.path(), &reader, n, topic.unwrap());
    }
    let ((), log) = logged(|| take_all(&mut timers, NOW_MS));
    assert_eq!(timers.queue_offset(), 8);
    let delivered = rounds(&mut timers, NOW_MS + SECOND, 1);
    let all = ["m1", "m2", "m5", "m6"].map(str::to_owned).to_vec();
    assert_eq!(delivered, (all, 0));
    for offset in &offsets {
        assert_names(&log, &["WARN", offset]);
    }
}

#[test]
fn a_batch_that_fails_midway_takes_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(BadDisk::default());
    let (mut writer, _reader, mut timers, _) = start_on(&disk, dir.path(), NOW_MS);
    let bad_ms = NOW_MS + SECOND;
    send(&mut writer, "a", NOW_MS, "", NOW_MS);
    send(&mut writer, "b", bad_ms, "", NOW_MS);
    take_all(&mut timers, NOW_MS);
    timers.flush_now(NOW_MS).unwrap();
    for (key, out_ms) in [("c", NOW_MS), ("d", bad_ms), ("e", NOW_MS)] {
        send(&mut writer, key, out_ms, "", NOW_MS);
    }
    let at = (bad_ms / SECOND % 1_209_600) as u64 * 32;
    disk.set(&[BadPlace {
        file: "timerwheel".to_owned(),
        range: at..at + 32,
        error: EIO,
    }]);
    for _ in 0..3 {
        timers.take_new(NOW_MS, 32).expect_err("an unreadable slot");
        assert_eq!(timers.queue_offset(), 3);
    }
    disk.set(&[]);
    take_all(&mut timers, NOW_MS);
    let delivered = rounds(&mut timers, NOW_MS + 3 * SECOND, 1);
    let all = ["a", "c", "e", "b", "d"].map(str::to_owned).to_vec();
    assert_eq!(delivered, (all, 0));
}

/// S-091, S-094, the store's part: a clock that was put back a little, as at any start of a machine.
#[test]
fn a_clock_a_little_behind_the_last_stop_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _, mut timers, _) = start(dir.path(), NOW_MS);
    send(&mut writer, "done", NOW_MS + 3 * SECOND, "", NOW_MS);
    send(&mut writer, "waits", NOW_MS + 8 * SECOND, "", NOW_MS);
    take_all(&mut timers, NOW_MS);
    let stop_ms = NOW_MS + 5 * SECOND;
    assert_eq!(deliver(&mut timers, &mut writer, stop_ms), ["done"]);
    timers.flush_now(stop_ms).unwrap();
    drop(timers);
    writer.close().unwrap();

    let (mut writer, _, mut timers, note) = start(dir.path(), NOW_MS + 2 * SECOND);
    assert_eq!((note, timers.read_ms()), (None, stop_ms));
    for second in 2..9 {
        let now_ms = NOW_MS + second * SECOND;
        assert_eq!(arrive(&mut timers, &mut writer, now_ms), [""; 0]);
    }
    let now_ms = NOW_MS + 9 * SECOND;
    assert_eq!(arrive(&mut timers, &mut writer, now_ms), ["waits"]);
}

/// The same far behind, as on a machine without a clock of its own, until it is put right.
#[test]
fn a_clock_far_behind_the_last_stop_repeats_nothing_and_loses_nothing() {
    for wrong_ms in [DAY, NOW_MS - 15 * DAY, NOW_MS] {
        for starts in 1..3 {
            let dir = tempfile::tempdir().unwrap();
            let closed_ms = script(dir.path());
            for n in 0..starts {
                let (mut writer, _, mut timers, note) = start(dir.path(), wrong_ms);
                assert_eq!(note.is_some(), n == 0, "{note:?}");
                // what is asked for by this clock comes by this clock
                let key = format!("wrong{n}");
                send(&mut writer, &key, wrong_ms + 5 * SECOND, "", wrong_ms);
                assert_eq!(arrive(&mut timers, &mut writer, wrong_ms), [""; 0]);
                timers.flush_now(wrong_ms).unwrap();
                if n + 1 < starts {
                    writer.close().unwrap();
                    continue;
                }
                let mut found = Vec::new();
                for day in 0..4 {
                    let now_ms = closed_ms + 30 * SECOND + day * DAY;
                    found.extend(arrive(&mut timers, &mut writer, now_ms));
                }
                let mut all = expected();
                all.extend((0..starts).map(|n| (format!("wrong{n}"), 1)));
                assert_eq!(counted(found), all, "{wrong_ms} {starts}");
            }
        }
    }
}

/// A clock that ran ahead and was put right: what it made too early does not come again, and the timer does not wait for it.
#[test]
fn a_clock_that_ran_ahead_does_not_stop_the_timer() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _, mut timers, _) = start(dir.path(), NOW_MS);
    send(&mut writer, "early", NOW_MS + DAY, "", NOW_MS);
    take_all(&mut timers, NOW_MS);
    let ahead_ms = NOW_MS + 4000 * DAY;
    assert_eq!(arrive(&mut timers, &mut writer, ahead_ms), ["early"]);
    timers.flush_now(ahead_ms).unwrap();
    drop(timers);
    writer.close().unwrap();

    let (mut writer, _, mut timers, note) = start(dir.path(), NOW_MS);
    let note = note.expect("a note");
    assert_names(&note, &["config/timercheck", "ahead of the clock"]);
    send(&mut writer, "new", NOW_MS + 9 * SECOND, "", NOW_MS);
    let soon_ms = NOW_MS + 9 * SECOND;
    assert_eq!(arrive(&mut timers, &mut writer, soon_ms), [""; 0]);
    assert_eq!(arrive(&mut timers, &mut writer, soon_ms + SECOND), ["new"]);
    assert_eq!(arrive(&mut timers, &mut writer, NOW_MS + 2 * DAY), [""; 0]);
}

/// One bit of the time in the checkpoint is wrong, so that it is ahead of the clock.
#[test]
fn a_checkpoint_out_of_time_is_not_believed() {
    for bit in [23, 31, 49, 62] {
        let dir = tempfile::tempdir().unwrap();
        let closed_ms = script(dir.path());
        let path = dir.path().join("config/timercheck");
        let mut bytes = fs::read(&path).unwrap();
        let read_ms = be(&bytes, 0);
        assert_eq!(read_ms & (1 << bit), 0, "bit {bit}");
        bytes[..8].copy_from_slice(&(read_ms | 1 << bit).to_be_bytes());
        fs::write(&path, bytes).unwrap();
        let (mut writer, _, mut timers, note) = start(dir.path(), closed_ms + 30 * SECOND);
        assert_names(&note.expect("a note"), &["config/timercheck"]);
        let mut found = Vec::new();
        for day in 0..3 {
            let now_ms = closed_ms + 30 * SECOND + day * DAY;
            found.extend(arrive(&mut timers, &mut writer, now_ms));
        }
        assert_eq!(counted(found), expected(), "bit {bit}");
    }
}
