//! What a start makes of a directory that was not closed, is damaged, or is missing what can be derived.

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

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use rocketry_protocol::record::Record;
use rocketry_store::{
    Appended, ReadLimits, ReadStatus, Reader, Store, StoreError, StoreOptions, Writer,
};
use support::{NOW_MS, assert_same, copy_dir, golden::golden, message, open, small, snapshot};

const QUEUES: [(&str, i32); 3] = [("a", 0), ("a", 1), ("b", 0)];

/// Appends `count` messages round robin, each with its number as body, and commits each.
fn fill(writer: &mut Writer, count: usize) -> Vec<Appended> {
    (0..count)
        .map(|n| {
            let (topic, queue_id) = QUEUES[n % 3];
            let body = format!("{n:0>200}");
            let placed = writer
                .append(
                    &message(topic, queue_id, body.as_bytes()),
                    NOW_MS + n as i64,
                )
                .unwrap();
            writer.commit().unwrap();
            placed
        })
        .collect()
}

/// Checks that exactly the first `count` messages of [`fill`] are there.
fn check(reader: &Reader, count: usize) {
    for (at, (topic, queue_id)) in QUEUES.iter().enumerate() {
        let expected = (count + 2 - at) / 3;
        let mut found = 0;
        while found < expected {
            let read = reader
                .read(topic, *queue_id, found as i64, &ReadLimits::default(), None)
                .unwrap();
            assert_eq!(read.status, ReadStatus::Found, "{topic} {queue_id} {found}");
            assert_eq!((read.min_offset, read.max_offset), (0, expected as i64));
            let mut rest = &read.messages[..];
            while !rest.is_empty() {
                let (record, len) = Record::parse(rest).unwrap();
                assert_eq!(record.queue_offset, found as i64);
                let n: usize = std::str::from_utf8(record.body).unwrap().parse().unwrap();
                assert_eq!(n, found * 3 + at);
                found += 1;
                rest = &rest[len..];
            }
        }
        assert_eq!(
            reader
                .queue_range(topic, *queue_id)
                .map_or(0, |range| range.max),
            expected as i64
        );
    }
}

/// A closed store with `count` messages.
fn closed(count: usize) -> (tempfile::TempDir, Vec<Appended>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _, _) = open(dir.path(), &small());
    let placed = fill(&mut writer, count);
    writer.close().unwrap();
    (dir, placed)
}

/// The directory as a killed process leaves it.
fn killed(count: usize) -> (tempfile::TempDir, Vec<Appended>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _, _) = open(dir.path(), &small());
    let placed = fill(&mut writer, count);
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path()).unwrap();
    (copy, placed)
}

fn write_at(path: &Path, bytes: &[u8], at: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn zero_unit(dir: &Path, queue: &str, index: u64) {
    let path = dir.join(format!(
        "consumequeue/{queue}/{:020}",
        index * 20 / 200 * 200
    ));
    write_at(&path, &[0; 20], index * 20 % 200);
}

/// Opens, checks `count` messages, appends one more, closes, and checks that a second start finds nothing to do.
fn recovers(dir: &Path, count: usize) -> Vec<String> {
    let (mut writer, reader, report) = open(dir, &small());
    check(&reader, count);
    let (topic, queue_id) = QUEUES[count % 3];
    let body = format!("{count:0>200}");
    writer
        .append(
            &message(topic, queue_id, body.as_bytes()),
            NOW_MS + count as i64,
        )
        .unwrap();
    writer.commit().unwrap();
    check(&reader, count + 1);
    writer.close().unwrap();
    let before = snapshot(dir);
    let (writer, reader, again) = open(dir, &small());
    assert!(again.clean);
    assert_eq!(again.notes, Vec::<String>::new());
    check(&reader, count + 1);
    writer.close().unwrap();
    let mut after = snapshot(dir);
    // whose confirm offset is set by the recovery
    after.insert("checkpoint".to_owned(), before["checkpoint"].clone());
    assert_same(&before, &after);
    report.notes
}

#[test]
fn s106_last_units_missing_after_a_clean_stop_are_restored() {
    // the newest message of the log is number 40, the second of its round: queue a/1, unit 13
    let (dir, _) = closed(41);
    zero_unit(dir.path(), "a/1", 13);
    assert_eq!(recovers(dir.path(), 41), Vec::<String>::new());
    let (dir, _) = closed(41);
    zero_unit(dir.path(), "a/1", 13);
    zero_unit(dir.path(), "a/0", 13);
    recovers(dir.path(), 41);
}

#[test]
fn s107_deleted_queues_are_derived_from_the_log() {
    let (dir, _) = closed(100);
    let before = snapshot(&dir.path().join("consumequeue"));
    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let (writer, reader, report) = open(dir.path(), &small());
    assert_eq!(report.scanned_from, 0);
    check(&reader, 100);
    writer.close().unwrap();
    assert_same(&before, &snapshot(&dir.path().join("consumequeue")));
}

#[test]
fn s107_deleted_queues_of_the_golden_store_are_derived_as_java_wrote_them() {
    for kind in ["consumequeue", "batchconsumequeue"] {
        let Some(golden) = golden("store-clean") else {
            return;
        };
        let before = snapshot(&golden.dir().join(kind));
        fs::remove_dir_all(golden.dir().join(kind)).unwrap();
        // the lengths that cannot be seen once the files are gone
        let options = StoreOptions {
            queue_file_bytes: 1000,
            batch_queue_file_bytes: 2300,
            ..small()
        };
        let (writer, _reader, _) = open(&golden.dir(), &options);
        writer.close().unwrap();
        assert_same(&before, &snapshot(&golden.dir().join(kind)));
    }
}

#[test]
fn a_deleted_file_in_the_middle_of_a_queue_is_derived_again() {
    let (dir, _) = closed(100);
    fs::remove_file(dir.path().join("consumequeue/a/0/00000000000000000200")).unwrap();
    let notes = recovers(dir.path(), 100);
    assert!(
        notes[0].contains("a/0") && notes[0].contains("is missing"),
        "{notes:?}"
    );
}

#[test]
fn kills_lose_nothing_that_was_committed() {
    for count in [0, 1, 2, 3, 10, 13, 14, 15, 30, 64] {
        let (dir, _) = killed(count);
        recovers(dir.path(), count);
    }
}

/// A kill in the life of a store that was flushed before: only what follows the checkpoint is read.
#[test]
fn a_killed_store_is_read_from_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _, _) = open(dir.path(), &small());
    let placed = fill(&mut writer, 60);
    writer.flush_tick(NOW_MS + 60_000).unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path()).unwrap();
    let (writer, reader, report) = open(copy.path(), &small());
    assert!(!report.clean);
    assert_eq!(report.scanned_from, placed[59].log_offset);
    assert_eq!(report.records, 1);
    check(&reader, 60);
    drop(writer);
    recovers(copy.path(), 60);
}

/// Every length of a torn last record, for a hole (zeros) and for old bytes that are no record.
#[test]
fn s104_torn_records_are_cut_at_every_byte() {
    let (dir, placed) = killed(14);
    let last = placed[13];
    let path = dir
        .path()
        .join(format!("commitlog/{:020}", last.log_offset / 4096 * 4096));
    let at = (last.log_offset % 4096) as u64;
    let copy = tempfile::tempdir().unwrap();
    for torn in (0..last.bytes as u64)
        .step_by(7)
        .chain([last.bytes as u64 - 1])
    {
        for filler in [0, 0xee] {
            let target = copy.path().join(format!("{torn}-{filler}"));
            copy_dir(dir.path(), &target).unwrap();
            let file = target.join(path.strip_prefix(dir.path()).unwrap());
            write_at(&file, &vec![filler; last.bytes - torn as usize], at + torn);
            let notes = recovers(&target, 13);
            assert!(notes.len() <= 1, "{notes:?}");
            fs::remove_dir_all(&target).unwrap();
        }
    }
}

/// S-109: also after a clean stop.
#[test]
fn s109_a_preallocated_next_file_and_garbage_behind_the_end() {
    let (dir, placed) = killed(14);
    let end = placed[13].log_offset + placed[13].bytes as i64;
    fs::write(
        dir.path()
            .join(format!("commitlog/{:020}", end / 4096 * 4096 + 4096)),
        [0; 4096],
    )
    .unwrap();
    write_at(
        &dir.path()
            .join(format!("commitlog/{:020}", end / 4096 * 4096)),
        &[0xab; 50],
        (end % 4096) as u64,
    );
    let notes = recovers(dir.path(), 14);
    assert!(notes[0].contains(&format!("offset {end}")), "{notes:?}");

    // the same after a clean stop
    let (dir, _) = closed(14);
    write_at(
        &dir.path()
            .join(format!("commitlog/{:020}", end / 4096 * 4096)),
        &[0xab; 50],
        (end % 4096) as u64,
    );
    recovers(dir.path(), 14);
}

/// S-109: units behind the end that an earlier truncation left, as Java does.
#[test]
fn s109_stale_units_do_not_count() {
    let (dir, placed) = closed(40);
    let queue = dir.path().join("consumequeue/a/0/00000000000000000200");
    let mut stale = Vec::new();
    for offset in [placed[39].log_offset + 5000, 100_000] {
        stale.extend_from_slice(&offset.to_be_bytes());
        stale.extend_from_slice(&260i32.to_be_bytes());
        stale.extend_from_slice(&97i64.to_be_bytes());
    }
    write_at(&queue, &stale, 14 * 20 - 200);
    recovers(dir.path(), 40);
}

/// A record that was written and lies behind a torn one must not come back when the torn one is written over.
#[test]
fn what_was_cut_stays_cut() {
    let (dir, placed) = killed(10);
    let torn = placed[8];
    let path = dir.path().join("commitlog/00000000000000000000");
    write_at(&path, &[0; 20], torn.log_offset as u64 + 100);
    let (mut writer, reader, _) = open(dir.path(), &small());
    check(&reader, 8);
    let again = fill_one(&mut writer, 8);
    assert_eq!(
        (again.log_offset, again.bytes),
        (torn.log_offset, torn.bytes)
    );
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path()).unwrap();
    recovers(copy.path(), 9);
}

fn fill_one(writer: &mut Writer, n: usize) -> Appended {
    let (topic, queue_id) = QUEUES[n % 3];
    let body = format!("{n:0>200}");
    let placed = writer
        .append(
            &message(topic, queue_id, body.as_bytes()),
            NOW_MS + n as i64,
        )
        .unwrap();
    writer.commit().unwrap();
    placed
}

/// A queue that is derived again when the log no longer begins at 0: Java fills the places before its first message.
#[test]
fn s099_pre_blank_units_and_the_minimum() {
    let (dir, placed) = closed(60);
    fs::remove_file(dir.path().join("commitlog/00000000000000000000")).unwrap();
    let first = placed
        .iter()
        .position(|placed| placed.log_offset >= 4096)
        .unwrap();
    let min = |at: usize| ((first + 2 - at) / 3) as i64;
    let (writer, reader, report) = open(dir.path(), &small());
    assert_eq!(report.log_min, 4096);
    for (at, (topic, queue_id)) in QUEUES.iter().enumerate() {
        let range = reader.queue_range(topic, *queue_id).unwrap();
        assert_eq!((range.min, range.max), (min(at), 20));
    }
    writer.close().unwrap();

    fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let (writer, reader, _) = open(dir.path(), &small());
    for (at, (topic, queue_id)) in QUEUES.iter().enumerate() {
        let range = reader.queue_range(topic, *queue_id).unwrap();
        assert_eq!((range.min, range.max), (min(at), 20));
        let read = reader
            .read(topic, *queue_id, min(at), &ReadLimits::default(), None)
            .unwrap();
        assert_eq!(read.status, ReadStatus::Found);
    }
    writer.close().unwrap();
    let units = fs::read(dir.path().join("consumequeue/a/0/00000000000000000000")).unwrap();
    let mut pre_blank = vec![0; 8];
    pre_blank.extend_from_slice(&i32::MAX.to_be_bytes());
    pre_blank.extend_from_slice(&[0; 8]);
    for unit in units.chunks(20).take(min(0) as usize) {
        assert_eq!(unit, pre_blank);
    }
    let (_writer, reader, report) = open(dir.path(), &small());
    assert_eq!(report.notes, Vec::<String>::new());
    assert_eq!(reader.queue_range("a", 0).unwrap().min, min(0));
}

/// An opened directory is not changed by an open that is refused.
fn refused(dir: &Path) -> StoreError {
    let before = snapshot(dir);
    let error = Store::open(dir, small(), NOW_MS).expect_err("refused");
    let mut after = snapshot(dir);
    if !before.contains_key("lock") {
        after.remove("lock");
    }
    assert_same(&before, &after);
    error
}

#[test]
fn s110_damaged_logs_are_refused_by_name() {
    let (dir, _) = closed(60);
    let file = |start: u64| dir.path().join(format!("commitlog/{start:020}"));
    let middle = fs::read(file(4096)).unwrap();

    fs::remove_file(file(4096)).unwrap();
    let error = refused(dir.path());
    assert!(
        matches!(
            error,
            StoreError::WrongSize { .. } | StoreError::MissingFile { .. }
        ),
        "{error}"
    );
    fs::write(file(4096), &middle[..4000]).unwrap();
    let error = refused(dir.path());
    assert!(
        matches!(
            error,
            StoreError::WrongSize {
                found: 4000,
                expected: 4096,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("00000000000000004096"),
        "{error}"
    );
    fs::write(file(4096), &middle).unwrap();

    fs::write(file(4096).with_file_name("notes.txt"), "mine").unwrap();
    assert!(matches!(
        refused(dir.path()),
        StoreError::ForeignFile { .. }
    ));
    fs::remove_file(file(4096).with_file_name("notes.txt")).unwrap();

    let log = dir.path().join("commitlog");
    fs::rename(&log, dir.path().join("elsewhere")).unwrap();
    assert!(matches!(refused(dir.path()), StoreError::LostLog { .. }));
    fs::rename(dir.path().join("elsewhere"), &log).unwrap();

    fs::write(dir.path().join("checkpoint"), "short").unwrap();
    let notes = recovers(dir.path(), 60);
    assert!(notes[0].starts_with("checkpoint"), "{notes:?}");
}

/// A damaged record in the middle of a store that was closed: messages behind it must not be dropped.
#[test]
fn a_closed_log_that_ends_too_early_is_refused() {
    let (dir, placed) = closed(60);
    // the checkpoint proves everything before it, so only a start without one looks at older records
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    fs::remove_dir_all(dir.path().join("consumequeue/b")).unwrap();
    fs::remove_dir_all(dir.path().join("consumequeue/a/1")).unwrap();
    let last_of_a0 = placed[57];
    write_at(
        &dir.path().join(format!(
            "commitlog/{:020}",
            last_of_a0.log_offset / 4096 * 4096
        )),
        &[0xff; 4],
        (last_of_a0.log_offset % 4096) as u64 + 100,
    );
    let error = Store::open(dir.path(), small(), NOW_MS);
    // the newest unit of the one queue left points to the damaged record: it proves nothing, and the log is read from its start
    match error {
        Err(StoreError::DamagedLog { offset, .. }) => {
            assert_eq!(offset, last_of_a0.log_offset as u64);
        }
        other => panic!("{other:?}"),
    }
}

/// Any bit of the checkpoint's log offset that reads as 1: the log and the queues, which are as at the last stop, are believed.
#[test]
fn a_checkpoint_that_names_too_much_is_not_believed() {
    let (dir, placed) = closed(60);
    let newest = placed[59].log_offset as u64;
    let mut noted = 0;
    for bit in (0..63).filter(|bit| (newest >> bit) & 1 == 0) {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path()).unwrap();
        let named = newest | (1 << bit);
        write_at(&copy.path().join("checkpoint"), &named.to_be_bytes(), 40);
        let notes = recovers(copy.path(), 60);
        if bit >= 12 {
            assert_eq!(notes.len(), 1, "{bit}: {notes:?}");
            assert!(notes[0].starts_with("checkpoint: names"), "{notes:?}");
            noted += 1;
        }
    }
    assert!(noted > 40, "{noted}");
}

/// The same checkpoint is right where the log or a queue lost what it names.
#[test]
fn a_checkpoint_that_names_what_was_lost_is_believed() {
    for with_unit in [false, true] {
        let (dir, placed) = closed(60);
        let (at, len) = (placed[59].log_offset as u64, placed[59].bytes);
        let file = format!("commitlog/{:020}", at / 4096 * 4096);
        write_at(&dir.path().join(file), &vec![0; len], at % 4096);
        if with_unit {
            zero_unit(dir.path(), "b/0", 19);
        }
        let error = Store::open(dir.path(), small(), NOW_MS).expect_err("refused");
        assert!(
            matches!(error, StoreError::DamagedLog { offset, .. } if offset == at),
            "{error}"
        );
    }
}

#[test]
fn directories_that_are_not_stores_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let error = refused(dir.path());
    assert!(
        matches!(&error, StoreError::NotAStore { found, .. } if found == "thesis.tex"),
        "{error}"
    );
    assert!(!dir.path().join("lock").exists());
    let file = dir.path().join("thesis.tex");
    let error = Store::open(&file, small(), NOW_MS).expect_err("refused");
    assert!(matches!(error, StoreError::NotADirectory { .. }), "{error}");
}

const CHILD: &str = "ROCKETRY_STORE_TEST_CHILD";

/// S-103: a second open is refused, in the same process and in another, and succeeds after the first ended.
#[test]
fn s103_a_directory_has_one_user() {
    if let Some(dir) = std::env::var_os(CHILD) {
        match Store::open(&PathBuf::from(dir), small(), NOW_MS) {
            Err(StoreError::InUse { holder, .. }) => println!("holder {holder:?}"),
            other => panic!("{other:?}"),
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (writer, _reader, _) = open(dir.path(), &small());
    for _ in 0..2 {
        let error = Store::open(dir.path(), small(), NOW_MS).expect_err("refused");
        let this = std::process::id();
        assert!(
            matches!(error, StoreError::InUse { holder: Some(pid), .. } if pid == this),
            "{error}"
        );
        // refusing must not have ended the lock, as closing a second descriptor would
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "s103_a_directory_has_one_user", "--nocapture"])
            .env(CHILD, dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success(), "{said}");
        assert!(said.contains(&format!("holder Some({this})")), "{said}");
    }
    writer.close().unwrap();
    let (writer, _reader, _) = open(dir.path(), &small());
    drop(writer);
    let (_writer, _reader, report) = open(dir.path(), &small());
    assert!(!report.clean, "a dropped writer did not close");
}

/// A start that has much to read says how far it is.
#[test]
fn progress_is_told_while_the_log_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        log_file_bytes: 16 << 20,
        ..StoreOptions::default()
    };
    let (mut writer, _reader, _) = open(dir.path(), &options);
    let body = vec![b'x'; 1 << 20];
    for _ in 0..20 {
        writer.append(&message("t", 0, &body), NOW_MS).unwrap();
        writer.commit().unwrap();
    }
    drop(writer);
    let mut told = Vec::new();
    let (_writer, _, recovery) =
        Store::open_watched(dir.path(), options, NOW_MS, &mut |progress| {
            told.push((progress.stage, progress.log_offset, progress.files_end));
        })
        .unwrap();
    assert!(told.len() >= 4, "{told:?}");
    assert!(
        told.iter()
            .any(|(stage, ..)| *stage == "reading the commit log")
    );
    for (_, log_offset, files_end) in told {
        assert!(log_offset <= recovery.log_end);
        assert_eq!(files_end, 32 << 20);
    }
}

/// A long log is read ahead by a thread: no record that lies across two pieces is missed, however large, and nothing of the index.
#[test]
fn a_long_log_is_read_as_a_short_one_is() {
    const MIB: usize = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        log_file_bytes: 24 << 20,
        index_slots: 1000,
        index_units: 200_000,
        ..StoreOptions::default()
    };
    let (mut writer, _reader, _) = open(dir.path(), &options);
    let mut random = fastrand::Rng::with_seed(7);
    let mut written = Vec::new();
    // behind the first 8 MiB records of up to 100 KB, larger ones now and then, and then many small ones
    for n in 0..120_000 {
        let largest = match n {
            0..700 if n % 90 == 89 => 3 * MIB,
            0..700 => 100_000,
            _ => 40,
        };
        let body = vec![b'a' + (n % 26) as u8; random.usize(1..largest)];
        let placed = writer.append(&message("t", 0, &body), NOW_MS).unwrap();
        written.push((placed.log_offset, body.len()));
        if n % 100 == 0 {
            writer.commit().unwrap();
        }
    }
    writer.close().unwrap();
    let kept = snapshot(&dir.path().join("index"));
    for derived in ["consumequeue", "index"] {
        fs::remove_dir_all(dir.path().join(derived)).unwrap();
    }
    let (writer, reader, recovery) = open(dir.path(), &options);
    assert_eq!(recovery.records, written.len() as u64);
    for (n, (log_offset, len)) in written.iter().enumerate() {
        if n < 700 || n % 1000 == 0 {
            let found = reader
                .read("t", 0, n as i64, &ReadLimits::default(), None)
                .unwrap();
            let (record, _) = Record::parse(&found.messages).unwrap();
            assert_eq!(record.physical_offset, *log_offset);
            assert_eq!(record.body.len(), *len);
        }
    }
    writer.close().unwrap();
    let built = snapshot(&dir.path().join("index"));
    assert!(
        kept.values().eq(built.values()),
        "the index is not the one that was written with the messages"
    );
}

/// No check sum covers the place that a record says it has.
#[test]
fn a_place_that_the_log_has_no_room_for_is_not_believed() {
    const COUNT: usize = 30;
    for proven in [false, true] {
        for (victim, place) in [(16, 1 << 40), (16, -1), (0, i64::MAX), (2, 70_000)] {
            let (dir, placed) = if proven { closed(COUNT) } else { killed(COUNT) };
            fs::write(dir.path().join("abort"), "").unwrap();
            let at = placed[victim].log_offset;
            let file = at / 4096 * 4096;
            let log = dir.path().join(format!("commitlog/{file:020}"));
            write_at(&log, &i64::to_be_bytes(place), (at - file + 20) as u64);
            if proven {
                // the queue has to be derived from the log
                let (topic, queue_id) = QUEUES[victim % 3];
                let queue = format!("consumequeue/{topic}/{queue_id}");
                fs::remove_dir_all(dir.path().join(queue)).unwrap();
            }
            let (writer, reader, report) = open(dir.path(), &small());
            for (at, (topic, queue_id)) in QUEUES.iter().enumerate() {
                let read = reader
                    .read(topic, *queue_id, 0, &ReadLimits::default(), None)
                    .unwrap();
                let bodies: Vec<usize> = support::records(&read.messages)
                    .map(|bytes| Record::parse(bytes).unwrap().0.body)
                    .map(|body| std::str::from_utf8(body).unwrap().parse().unwrap())
                    .collect();
                let expected: Vec<usize> = (at..COUNT).step_by(3).collect();
                assert_eq!(bodies, expected, "{place}: {:?}", report.notes);
            }
            let is_named = |note: &String| note.contains(&format!("its place is {place}"));
            assert!(report.notes.iter().any(is_named), "{:?}", report.notes);
            writer.close().unwrap();
        }
    }
}

/// A file that a crash left without its length is removed, unless the start has written to it meanwhile because much was to be derived.
#[test]
fn a_file_of_length_0_is_kept_once_units_are_in_it() {
    const COUNT: usize = 2000;
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        log_file_bytes: 8 << 20,
        index_slots: 20_000,
        index_units: 1 << 20,
        ..small()
    };
    let (mut writer, _, _) = open(dir.path(), &options);
    let keys: Vec<String> = (0..200).map(|n| format!("key{n}")).collect();
    let properties = format!("KEYS\x01{}\x02", keys.join(" "));
    for n in 0..COUNT {
        let body = n.to_string();
        let message = rocketry_store::NewMessage {
            properties: properties.as_bytes(),
            ..message("a", 0, body.as_bytes())
        };
        writer.append(&message, NOW_MS).unwrap();
    }
    writer.commit().unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path()).unwrap();
    let queue = copy.path().join("consumequeue/a/0");
    fs::create_dir_all(&queue).unwrap();
    let first = queue.join(format!("{:020}", 0));
    fs::write(&first, "").unwrap();

    let (writer, reader, report) = open(copy.path(), &options);
    assert!(fs::metadata(&first).unwrap().len() > 0, "{report:?}");
    assert_eq!(reader.queue_range("a", 0).unwrap().max, COUNT as i64);
    writer.close().unwrap();
    let (_writer, reader, report) = open(copy.path(), &options);
    assert_eq!(report.notes, [""; 0]);
    let read = reader
        .read("a", 0, 0, &ReadLimits::default(), None)
        .unwrap();
    assert_eq!(read.status, ReadStatus::Found);
}

/// Wherever a place without a message is, the messages before it stay readable, and a start keeps them.
#[test]
fn a_hole_in_a_queue_hides_no_message_before_it() {
    const COUNT: usize = 24;
    for holes in [1, 3, 9] {
        for before in [1, 4, 5, 7] {
            let (dir, placed) = closed(COUNT);
            // the messages of `a/0` from the one numbered `before` on are further back in it
            let log = |at: i64| {
                let file = at / 4096 * 4096;
                (dir.path().join(format!("commitlog/{file:020}")), at - file)
            };
            let of_queue = placed.iter().step_by(3).enumerate();
            for (n, record) in of_queue.skip(before) {
                let (path, at) = log(record.log_offset);
                let place = (n + holes) as i64;
                write_at(&path, &place.to_be_bytes(), (at + 20) as u64);
            }
            fs::remove_dir_all(dir.path().join("consumequeue/a/0")).unwrap();
            for _ in 0..3 {
                let (writer, reader, report) = open(dir.path(), &small());
                let range = reader.queue_range("a", 0).unwrap();
                assert_eq!((range.min, range.max), (0, 8 + holes as i64), "{report:?}");
                let mut found: Vec<usize> = Vec::new();
                let mut next = 0;
                while next < range.max {
                    let read = reader
                        .read("a", 0, next, &ReadLimits::default(), None)
                        .unwrap();
                    found.extend(support::records(&read.messages).map(|bytes| {
                        let body = Record::parse(bytes).unwrap().0.body;
                        std::str::from_utf8(body).unwrap().parse::<usize>().unwrap()
                    }));
                    assert!(read.next_offset > next);
                    next = read.next_offset;
                }
                let expected: Vec<usize> = (0..COUNT).step_by(3).collect();
                assert_eq!(found, expected, "{before} {holes}");
                writer.close().unwrap();
                fs::write(dir.path().join("abort"), "").unwrap();
            }
        }
    }
}
