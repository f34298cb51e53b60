//! Old messages go file by file, deleted topics at once; what is derived follows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod support;

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rocketry_protocol::record::Record;
use rocketry_store::{
    FileSystem, KeyKind, KeyQuery, NewMessage, ReadLimits, ReadStatus, Reader, Retention, Store,
    WriteErrorKind, Writer,
    fs::{File, OpenMode, RealFileSystem},
};
use support::{
    NOW_MS, message, open,
    real::{as_on_disk, as_the_file},
    records, small,
};

const HOUR: i64 = 3_600_000;

fn send(writer: &mut Writer, topic: &str, n: i64, store_ms: i64) {
    let properties = format!("KEYS\x01k{n} other\x02TAGS\x01a\x02");
    let message = NewMessage {
        properties: properties.as_bytes(),
        ..message(topic, (n % 2) as i32, &[b'x'; 200])
    };
    writer.append(&message, store_ms).expect("an append");
    writer.commit().expect("a commit");
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn read_all(reader: &Reader, topic: &str, queue_id: i32) -> usize {
    let Some(range) = reader.queue_range(topic, queue_id) else {
        return 0;
    };
    let (mut next, mut count) = (range.min, 0);
    while next < range.max {
        let found = reader
            .read(topic, queue_id, next, &ReadLimits::default(), None)
            .unwrap();
        assert_eq!(found.status, ReadStatus::Found);
        count += records(&found.messages).count();
        next = found.next_offset;
    }
    count
}

/// Hours of the day do not matter to these tests.
fn any_hour() -> Retention {
    Retention {
        hours: (0..24).collect(),
        ..Retention::default()
    }
}

/// S-112: files past their time go, oldest first, never the last; consume-queue minimum and index follow; after a restart as well.
#[test]
fn s112_old_files_go_and_what_is_derived_follows() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    for n in 0..100 {
        send(&mut writer, "t", n, NOW_MS + n * HOUR);
    }
    writer.flush_tick(NOW_MS + 1_000_000).unwrap();
    let log = names(&dir.path().join("commitlog"));
    let index = names(&dir.path().join("index"));
    let flusher = writer.flusher();
    // nothing is old enough, or it is not the hour
    let clean = |retention: &Retention, hours: i64| {
        flusher
            .clean(retention, NOW_MS + hours * HOUR, false)
            .unwrap()
    };
    assert_eq!(clean(&any_hour(), 50), []);
    let never = Retention {
        hours: Vec::new(),
        ..Retention::default()
    };
    assert_eq!(clean(&never, 5000), []);
    let removed = clean(&any_hour(), 120);
    assert!(
        removed.len() > 1 && removed.len() < log.len() - 2,
        "{removed:?}"
    );
    assert!(
        removed
            .first()
            .unwrap()
            .path
            .ends_with(log.first().unwrap())
    );
    assert!(removed.first().unwrap().reason.contains("kept are 72 h"));
    assert_eq!(
        names(&dir.path().join("commitlog")),
        log.get(removed.len()..).unwrap()
    );
    assert!(names(&dir.path().join("index")).len() < index.len());

    let min = reader.queue_range("t", 0).unwrap().min;
    assert!((16..=24).contains(&min), "{min}");
    assert!(names(&dir.path().join("consumequeue/t/0")).first().unwrap() > &"0".repeat(20));
    let stored = read_all(&reader, "t", 0) + read_all(&reader, "t", 1);
    let other = reader.queue_range("t", 1).unwrap().min;
    assert_eq!(stored as i64, 100 - min - other);
    let below = reader
        .read("t", 0, 0, &ReadLimits::default(), None)
        .unwrap();
    assert_eq!(
        (below.status, below.next_offset),
        (ReadStatus::OffsetTooSmall, min)
    );

    // however old: the file written to stays, and so does the numbering
    assert_eq!(
        clean(&any_hour(), 5000).len(),
        log.len() - removed.len() - 1
    );
    assert_eq!(names(&dir.path().join("commitlog")).len(), 1);
    let max = reader.queue_range("t", 0).unwrap().max;
    writer.close().unwrap();
    let (mut writer, reader, recovery) = open(dir.path(), &small());
    assert_eq!(recovery.notes, Vec::<String>::new());
    assert_eq!(reader.queue_range("t", 0).unwrap().max, max);
    send(&mut writer, "t", 100, NOW_MS + 5001 * HOUR);
    assert_eq!(reader.queue_range("t", 0).unwrap().max, max + 1);
    let key = KeyQuery {
        topic: "t",
        key: "k100",
        kind: KeyKind::Key,
        max_messages: 1,
        max_bytes: 1,
        begin_ms: 0,
        end_ms: i64::MAX,
    };
    assert_eq!(reader.query_by_key(&key).unwrap().count, 1);
    assert_eq!(
        reader
            .query_by_key(&KeyQuery { key: "k1", ..key })
            .unwrap()
            .count,
        0
    );
}

/// The system's files on a disk of 1 TiB whose free space the test sets, and where single files fail.
#[derive(Debug, Clone, Default)]
struct Measured {
    free: Arc<AtomicU64>,
    /// Names of files that cannot be read.
    unreadable: Arc<Mutex<Vec<String>>>,
    /// Name of a file that cannot be removed.
    stuck: Arc<Mutex<Option<String>>>,
}

impl Measured {
    fn with_free(bytes: u64) -> Self {
        let disk = Self::default();
        disk.free.store(bytes, Ordering::Relaxed);
        disk
    }
}

#[derive(Debug)]
struct MeasuredFile {
    file: Arc<dyn File>,
    name: String,
    unreadable: Arc<Mutex<Vec<String>>>,
}

impl File for MeasuredFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.unreadable.lock().unwrap().contains(&self.name) {
            return Err(io::Error::other("a bad sector"));
        }
        self.file.read_at(buf, offset)
    }
    as_the_file!(file: write_at length set_len zero_range sync);
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl FileSystem for Measured {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(MeasuredFile {
            file: RealFileSystem.open(path, mode)?,
            name: name_of(path),
            unreadable: Arc::clone(&self.unreadable),
        }))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.stuck.lock().unwrap().as_ref() == Some(&name_of(path)) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        RealFileSystem.remove(path)
    }
    fn free_bytes(&self, _: &Path) -> Option<u64> {
        Some(self.free.load(Ordering::Relaxed))
    }
    fn total_bytes(&self, _: &Path) -> Option<u64> {
        Some(1 << 40)
    }
    as_on_disk!(rename list create_dir sync_dir sync_all lock);
}

/// S-113: with little space old files go at once; with less sends are refused, naming path, free space and limit; both end when
/// space is back. Reads go on.
#[test]
fn s113_free_space_decides() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Measured::with_free(100 << 30));
    let free = Arc::clone(&disk.free);
    let (mut writer, reader, _) = Store::open_on(disk, dir.path(), small(), NOW_MS).unwrap();
    for n in 0..100 {
        send(&mut writer, "t", n, NOW_MS);
    }
    let files = names(&dir.path().join("commitlog")).len();
    let flusher = writer.flusher();
    let few = Retention {
        max_files: 2,
        ..Retention::default()
    };
    // 90 % are in use, and 100 GiB are free: Java would remove files and refuse messages
    assert_eq!(flusher.clean(&few, NOW_MS, false).unwrap(), []);

    free.store(1 << 30, Ordering::Relaxed);
    let removed = flusher.clean(&few, NOW_MS, false).unwrap();
    assert_eq!(removed.len(), 2);
    let reason = &removed.first().unwrap().reason;
    assert_eq!(reason, "1024 MiB are free on its disk, less than 2048 MiB");
    send(&mut writer, "t", 100, NOW_MS);

    free.store(100 << 20, Ordering::Relaxed);
    assert_eq!(flusher.clean(&few, NOW_MS, false).unwrap().len(), 2);
    let refused = writer
        .append(&message("t", 0, b"x"), NOW_MS)
        .expect_err("no space")
        .to_string();
    for part in ["commitlog", "104857600 bytes free", "at least 268435456"] {
        assert!(refused.contains(part), "{refused}");
    }
    let range = reader.queue_range("t", 0).unwrap();
    assert_eq!(read_all(&reader, "t", 0) as i64, range.max - range.min);
    writer.sync().expect("what was taken is synced");
    let rest = names(&dir.path().join("commitlog")).len();
    assert_eq!(rest, files - 4);
    // down to the last file, which stays
    while !flusher.clean(&few, NOW_MS, false).unwrap().is_empty() {}
    assert_eq!(names(&dir.path().join("commitlog")).len(), 1);

    free.store(3 << 30, Ordering::Relaxed);
    assert_eq!(flusher.clean(&few, NOW_MS, false).unwrap(), []);
    send(&mut writer, "t", 101, NOW_MS);
    writer.close().unwrap();
}

#[test]
fn a_refused_message_is_refused_for_want_of_space() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Measured::default());
    let (mut writer, _reader, _) = Store::open_on(disk, dir.path(), small(), NOW_MS).unwrap();
    writer
        .flusher()
        .clean(&Retention::default(), NOW_MS, false)
        .unwrap();
    match writer.append(&message("t", 0, b"x"), NOW_MS) {
        Err(rocketry_store::AppendError::Write(error)) => {
            assert_eq!(error.kind(), WriteErrorKind::DiskFull);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn limits_are_shares_of_small_disks_and_bytes_of_large_ones() {
    let retention = Retention {
        reserved: Duration::ZERO,
        ..Retention::default()
    };
    assert_eq!(retention.limits(1000), (150, 100));
    assert_eq!(retention.limits(1 << 42), (2 << 30, 256 << 20));
}

/// S-114: a read that began before its file went away ends well, or says that the messages are gone.
#[test]
fn s114_reads_and_removal_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, _) = open(dir.path(), &small());
    for n in 0..300 {
        send(&mut writer, "t", n, NOW_MS);
    }
    let max = reader.queue_range("t", 0).unwrap().max;
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut statuses = Vec::new();
            loop {
                for offset in 0..max {
                    let found = reader
                        .read("t", 0, offset, &ReadLimits::default(), None)
                        .expect("no read fails");
                    statuses.push(found.status);
                }
                if reader.queue_range("t", 0).unwrap().min > max - 12 {
                    return statuses;
                }
            }
        });
        let one = Retention {
            reserved: Duration::ZERO,
            max_files: 1,
            ..any_hour()
        };
        while !writer
            .flusher()
            .clean(&one, NOW_MS + HOUR, false)
            .unwrap()
            .is_empty()
        {}
        for status in reading.join().unwrap() {
            assert!(
                matches!(
                    status,
                    ReadStatus::Found | ReadStatus::OffsetTooSmall | ReadStatus::MessageWasRemoving
                ),
                "{status:?}"
            );
        }
    });
}

/// A log of some ten files, a message an hour; its disk has much free space.
fn hourly(dir: &Path) -> (Measured, Writer, Reader) {
    let disk = Measured::with_free(100 << 30);
    let (mut writer, reader, _) =
        Store::open_on(Arc::new(disk.clone()), dir, small(), NOW_MS).unwrap();
    for n in 0..100 {
        send(&mut writer, "t", n, NOW_MS + n * HOUR);
    }
    (disk, writer, reader)
}

fn flip(dir: &Path, log_file: u64, at: u64) {
    let path = dir.join(format!("commitlog/{log_file:020}"));
    let file = fs::OpenOptions::new().read(true).write(true).open(path);
    let (file, mut byte) = (file.unwrap(), [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

/// The age of a file is that of the next file's first record, or of one that is newer where it cannot be told.
#[test]
fn an_unreadable_record_keeps_no_file_for_ever() {
    // size, magic, offset, body; and a disk that does not read it
    for damage in [Some(0), Some(5), Some(34), Some(100), None] {
        let dir = tempfile::tempdir().unwrap();
        let (disk, writer, reader) = hourly(dir.path());
        let third = reader.record_at(8192).unwrap().unwrap();
        let third_ms = Record::parse(&third).unwrap().0.store_ms;
        match damage {
            Some(at) => flip(dir.path(), 4096, at),
            None => disk
                .unreadable
                .lock()
                .unwrap()
                .push(format!("{:020}", 4096)),
        }
        let flusher = writer.flusher();
        let clean = |now_ms| flusher.clean(&any_hour(), now_ms, false).unwrap().len();
        assert_eq!(clean(third_ms + 72 * HOUR - 1), 0, "{damage:?}");
        assert_eq!(clean(third_ms + 72 * HOUR), 2, "{damage:?}");
    }
}

/// Want of space does not ask for the age.
#[test]
fn files_of_unknown_age_go_for_want_of_space_only() {
    for is_flipped in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (disk, writer, _reader) = hourly(dir.path());
        let files = names(&dir.path().join("commitlog"));
        for file in &files[1..] {
            if is_flipped {
                flip(dir.path(), file.parse().unwrap(), 0);
            } else {
                disk.unreadable.lock().unwrap().push(file.clone());
            }
        }
        let flusher = writer.flusher();
        let clean = || {
            let removed = flusher.clean(&any_hour(), NOW_MS + 5000 * HOUR, false);
            removed.unwrap().len()
        };
        assert_eq!(clean(), 0);
        disk.free.store(1 << 30, Ordering::Relaxed);
        assert_eq!(clean(), files.len() - 1);
        assert_eq!(
            names(&dir.path().join("commitlog")),
            files[files.len() - 1..]
        );
    }
}

/// Where a later file cannot be removed, queues and index still follow those that were.
#[test]
fn queues_follow_the_log_when_a_file_cannot_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, mut writer, reader) = hourly(dir.path());
    writer.flush_tick(NOW_MS + 1_000_000).unwrap();
    let log = names(&dir.path().join("commitlog"));
    let index = names(&dir.path().join("index"));
    *disk.stuck.lock().unwrap() = Some(log[4].clone());
    let flusher = writer.flusher();
    let clean = || flusher.clean(&any_hour(), NOW_MS + 5000 * HOUR, false);
    assert!(clean().unwrap_err().to_string().contains(&log[4]));
    assert_eq!(names(&dir.path().join("commitlog")), log[4..]);
    let range = reader.queue_range("t", 0).unwrap();
    assert!(range.min > 0);
    assert_eq!(read_all(&reader, "t", 0) as i64, range.max - range.min);
    let queue = names(&dir.path().join("consumequeue/t/0"));
    assert!(queue[0] > "0".repeat(20), "{queue:?}");
    assert!(names(&dir.path().join("index")).len() < index.len());

    *disk.stuck.lock().unwrap() = None;
    assert_eq!(clean().unwrap().len(), log.len() - 5);
}
