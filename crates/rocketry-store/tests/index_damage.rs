//! Damage to index files, older ones as well as the newest: it is noticed though the header may be as it was, named, and built again.
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
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rocketry_store::{KeyKind, KeyQuery, NewMessage, Reader, Store, StoreOptions};
use support::{NOW_MS, golden::golden, message, open, small};

const MESSAGES: u64 = 120;
const HEADER: usize = 40;

/// A closed store of several index files.
fn filled(dir: &Path) {
    let (mut writer, _, _) = open(dir, &small());
    for n in 0..MESSAGES {
        let properties = format!("UNIQ_KEY\x01U{n}\x02KEYS\x01k{}\x02", n % 7);
        let message = NewMessage {
            properties: properties.as_bytes(),
            ..message("t", 0, b"body")
        };
        let now_ms = NOW_MS + i64::try_from(n).unwrap() * 500;
        writer.append(&message, now_ms).unwrap();
        writer.commit().unwrap();
        if n % 25 == 24 {
            writer.flush_tick(now_ms + 20_000).unwrap();
        }
    }
    writer.close().unwrap();
    assert!(index_files(dir).len() > 4);
}

fn index_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("index")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn is_found(reader: &Reader, key: &str, times: (i64, i64)) -> bool {
    let query = KeyQuery {
        topic: "t",
        key,
        kind: KeyKind::Unique,
        max_messages: 2,
        max_bytes: usize::MAX,
        begin_ms: times.0,
        end_ms: times.1,
    };
    reader.query_by_key(&query).unwrap().count == 1
}

/// Asserts that every message is found by its id, and within its time.
fn assert_all_found(reader: &Reader, what: &str) {
    for n in 0..MESSAGES {
        let store_ms = NOW_MS + i64::try_from(n).unwrap() * 500;
        for times in [(0, i64::MAX), (store_ms, store_ms)] {
            assert!(is_found(reader, &format!("U{n}"), times), "{what}: U{n}");
        }
    }
}

/// Hash and log offset of every unit in use.
fn units(dir: &Path) -> BTreeSet<(i32, i64)> {
    units_behind(dir, small().index_slots as usize)
}

fn units_behind(dir: &Path, slots: usize) -> BTreeSet<(i32, i64)> {
    let mut units = BTreeSet::new();
    for path in index_files(dir) {
        let bytes = fs::read(path).unwrap();
        let count = u32::from_be_bytes(bytes[36..40].try_into().unwrap()) as usize;
        units.extend((1..count).map(|unit| {
            let at = HEADER + 4 * slots + 20 * unit;
            let hash = i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            (
                hash,
                i64::from_be_bytes(bytes[at + 4..at + 12].try_into().unwrap()),
            )
        }));
    }
    units
}

/// One way to damage a file; false where it changes nothing that is in use.
type Damage = fn(&Path) -> bool;

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn randomize(bytes: &mut [u8]) {
    let mut random = fastrand::Rng::with_seed(bytes.len() as u64);
    bytes.fill_with(|| random.u8(..));
}

const DAMAGES: [(&str, Damage); 10] = [
    ("removed", |path| {
        fs::remove_file(path).unwrap();
        true
    }),
    ("cut to nothing", |path| {
        change(path, Vec::clear);
        true
    }),
    ("cut to a half", |path| {
        change(path, |bytes| bytes.truncate(bytes.len() / 2));
        true
    }),
    ("all of it random", |path| {
        change(path, |bytes| randomize(bytes));
        true
    }),
    ("random behind the header", |path| {
        change(path, |bytes| randomize(&mut bytes[HEADER..]));
        true
    }),
    ("zeros behind the header", |path| {
        change(path, |bytes| bytes[HEADER..].fill(0));
        true
    }),
    ("one bit of a hash", |path| {
        let at = HEADER + 4 * small().index_slots as usize + 20 + 3;
        change(path, |bytes| bytes[at] ^= 1);
        true
    }),
    ("one bit of a time", |path| {
        let at = HEADER + 4 * small().index_slots as usize + 20 + 15;
        change(path, |bytes| bytes[at] ^= 1);
        true
    }),
    ("one slot emptied", |path| {
        let mut was_used = false;
        change(path, |bytes| {
            let slots = &mut bytes[HEADER..HEADER + 4 * small().index_slots as usize];
            if let Some(at) = slots.iter().position(|byte| *byte != 0) {
                slots[at] = 0;
                was_used = true;
            }
        });
        was_used
    }),
    ("another begin time", |path| {
        change(path, |bytes| bytes[6] ^= 1);
        true
    }),
];

/// S7: each index file in each way, after a clean stop and with the abort marker left: the start names it, everything is found, the index
/// has what it had, and the next start finds nothing.
#[test]
fn s7_every_damage_to_an_index_file_is_named_and_built_again() {
    let whole = tempfile::tempdir().unwrap();
    filled(whole.path());
    let expected = units(whole.path());
    let count = index_files(whole.path()).len();
    let mut damages = 0;
    for number in 0..count {
        for (what, damage) in DAMAGES {
            for kill in [false, true] {
                let copy = tempfile::tempdir().unwrap();
                support::copy_dir(whole.path(), copy.path()).unwrap();
                let path = index_files(copy.path()).swap_remove(number);
                if !damage(&path) {
                    continue;
                }
                if kill {
                    fs::write(copy.path().join("abort"), "").unwrap();
                }
                let what = format!("file {number}, {what}, kill {kill}");
                // the time of day has gone on
                let (writer, reader, recovery) =
                    Store::open(copy.path(), small(), NOW_MS + 3_600_000).unwrap();
                let name = path.file_name().unwrap().to_string_lossy();
                assert!(
                    recovery.notes.iter().any(|note| note.contains(&*name)),
                    "{what}: {:?}",
                    recovery.notes
                );
                assert_all_found(&reader, &what);
                writer.close().unwrap();
                assert!(units(copy.path()) == expected, "{what}");
                let (_writer, reader, recovery) = open(copy.path(), &small());
                assert_eq!(recovery.notes, [""; 0], "{what}, second start");
                assert_all_found(&reader, &what);
                damages += 1;
            }
        }
    }
    println!("{damages} damages");
    assert!(damages > 80, "{damages}");
}

/// What is logged, from warnings on, while `run` runs.
fn logged(run: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    let text = log.0.lock().unwrap().clone();
    String::from_utf8(text).unwrap()
}

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

/// S7: what a start has no time to look at is looked at while the store is open, a bounded piece at a time; the index is built again
/// while messages are found in what is left of it.
#[test]
fn s7_what_a_start_did_not_look_at_is_compared_later() {
    let whole = tempfile::tempdir().unwrap();
    filled(whole.path());
    let expected = units(whole.path());
    let options = StoreOptions {
        index_check_bytes: 40,
        ..small()
    };
    let count = index_files(whole.path()).len();
    for number in 0..count {
        for (what, damage) in &DAMAGES[4..7] {
            let what = format!("file {number}, {what}");
            let copy = tempfile::tempdir().unwrap();
            support::copy_dir(whole.path(), copy.path()).unwrap();
            let path = index_files(copy.path()).swap_remove(number);
            assert!(damage(&path));
            let mut now_ms = NOW_MS + 3_600_000;
            let (mut writer, reader, recovery) =
                Store::open(copy.path(), options.clone(), now_ms).unwrap();
            if number > 0 {
                assert_eq!(
                    recovery.notes, [""; 0],
                    "{what}: the start was to stop before"
                );
            }
            let mut ticks = 0;
            let before = index_files(copy.path());
            let mut was_removed = !recovery.notes.is_empty();
            let mut said = recovery.notes.join("\n");
            said += &logged(|| {
                while !was_removed || reader.unindexed_bytes() > 0 {
                    now_ms += 1000;
                    writer.flush_tick(now_ms).unwrap();
                    was_removed |= !index_files(copy.path()).contains(&before[number]);
                    ticks += 1;
                    assert!(ticks < 1000, "{what} went unnoticed");
                }
            });
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(said.contains(&format!("index/{name}")), "{what}: {said}");
            assert!(number == 0 || ticks > number, "{what}: {ticks}");
            assert_all_found(&reader, &what);
            writer.close().unwrap();
            assert!(units(copy.path()) == expected, "{what}");
            let (_writer, reader, recovery) = open(copy.path(), &small());
            assert_eq!(recovery.notes, [""; 0], "{what}, second start");
            assert_all_found(&reader, &what);
        }
    }
}

/// An undamaged index is looked at to its end, while keys are added to it, and nothing of it is built again.
#[test]
fn an_index_that_grows_while_it_is_compared_stays_as_it_is() {
    for kill in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let before = index_files(dir.path());
        if kill {
            fs::write(dir.path().join("abort"), "").unwrap();
        }
        let options = StoreOptions {
            index_check_bytes: 160,
            ..small()
        };
        let mut now_ms = NOW_MS + 3_600_000;
        let (mut writer, reader, _) = Store::open(dir.path(), options, now_ms).unwrap();
        for n in 0..200 {
            let properties = format!("UNIQ_KEY\x01V{n}\x02");
            let message = NewMessage {
                properties: properties.as_bytes(),
                ..message("t", 0, b"body")
            };
            writer.append(&message, now_ms).unwrap();
            writer.commit().unwrap();
            now_ms += 10_000;
            writer.flush_tick(now_ms).unwrap();
            assert_eq!(reader.unindexed_bytes(), 0);
        }
        writer.close().unwrap();
        assert!(index_files(dir.path()).starts_with(&before));
        let (_writer, reader, recovery) = open(dir.path(), &small());
        assert_eq!(recovery.notes, [""; 0]);
        assert_all_found(&reader, "as it was");
        assert!(is_found(&reader, "V0", (0, i64::MAX)));
        assert!(is_found(&reader, "V199", (0, i64::MAX)));
    }
}

/// A store of Java's has no table of check sums: what cannot be in an index file is noticed all the same, and so is a file that is missing,
/// by what the log has between those that are there.
#[test]
fn s7_damage_to_the_index_of_a_store_of_javas_is_noticed() {
    let golden = golden("store-clean").expect("the repository's copy");
    let conf = |key: &str| golden.manifest.broker_conf[key].parse().unwrap();
    let options = StoreOptions {
        index_slots: conf("maxHashSlotNum"),
        index_units: conf("maxIndexNum"),
        ..StoreOptions::default()
    };
    let count = index_files(&golden.dir()).len();
    assert!(count > 1, "{count}");
    // a message whose keys the end of a file parts may be there twice
    let slots = options.index_slots as usize;
    let expected = units_behind(&golden.dir(), slots);
    for number in 0..count {
        for what in ["removed", "random behind the header"] {
            let (_, damage) = DAMAGES.iter().find(|(name, _)| *name == what).unwrap();
            let copy = tempfile::tempdir().unwrap();
            support::copy_dir(&golden.dir(), copy.path()).unwrap();
            damage(&index_files(copy.path())[number]);
            let (writer, _, recovery) = Store::open(copy.path(), options.clone(), NOW_MS).unwrap();
            writer.close().unwrap();
            // the newest that is gone is only the end of the index, which is built from the log
            if number + 1 < count || what != "removed" {
                let notes = &recovery.notes;
                assert!(
                    notes.iter().any(|note| note.contains("index/")),
                    "file {number}, {what}: {notes:?}"
                );
            }
            assert!(
                units_behind(copy.path(), slots) == expected,
                "file {number}, {what}: not as it was"
            );
        }
    }
}

/// Without the table, as after a Java broker that lost keys in a crash: those that no file has are built from the log.
#[test]
fn s7_a_gap_between_index_files_is_noticed_by_the_log_alone() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    fs::remove_file(&index_files(dir.path())[1]).unwrap();
    fs::remove_file(dir.path().join("config/rocketry-index.json")).unwrap();
    let (_writer, reader, recovery) = Store::open(dir.path(), small(), NOW_MS + 3_600_000).unwrap();
    assert_eq!(recovery.notes.len(), 1, "{:?}", recovery.notes);
    assert_all_found(&reader, "behind a gap");
}
