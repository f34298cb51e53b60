//! The offline tools: they change nothing, see everything, name each damage, and repair it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod support;

use std::{collections::BTreeMap, fs, ops::ControlFlow, path::Path};

use rocketry_protocol::body::topics::TopicConfig;
use rocketry_store::{
    Retention, StoreError, StoreOptions,
    inspect::{Inspection, Segment, SegmentKind, Severity, Usage},
};
use support::{NOW_MS, golden::golden, message, open, small};

fn findings(dir: &Path) -> Vec<(Severity, String, String)> {
    let inspection = Inspection::open(dir).expect("a data directory");
    let check = inspection.check(|_| {}).expect("readable files");
    let finding = |finding: &rocketry_store::inspect::Finding| {
        (
            finding.severity,
            finding.path.display().to_string(),
            finding.what.clone(),
        )
    };
    check.findings.iter().map(finding).collect()
}

fn repair(dir: &Path) -> Vec<String> {
    let inspection = Inspection::open(dir).unwrap();
    let check = inspection.check(|_| {}).unwrap();
    let plan = inspection.plan(&check).unwrap();
    let steps = plan.steps.clone();
    inspection.repair(&plan, NOW_MS).expect("a repair");
    steps
}

/// S-096, S-119: read-only, every message of the manifest in log order, found by each of its names; sizes as in its broker.conf.
#[test]
fn s096_golden_stores_are_inspected_and_left_as_they_are() {
    for name in ["store-clean", "store-crashed"] {
        let Some(golden) = golden(name) else { return };
        let dir = golden.dir();
        let before = support::snapshot(&dir);
        let inspection = Inspection::open(&dir).unwrap();
        let crashed = golden.manifest.abort_file_present;
        let usage = if crashed {
            Usage::Crashed
        } else {
            Usage::Closed
        };
        assert_eq!(inspection.usage(), usage);

        let mut walked = Vec::new();
        let end = inspection
            .walk::<StoreError>(0, |stored| {
                let message = stored.message().expect("a body that decompresses");
                walked.push((
                    stored.log_offset(),
                    i32::from(stored.version),
                    stored.record.sys_flag,
                    stored.record.body_crc,
                    stored.record.prepared_transaction_offset,
                    message.body.len(),
                ));
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        assert_eq!(
            end.log_offset,
            golden.manifest.commit_log.recovered_max_offset
        );
        assert_eq!(end.reason.is_some(), crashed);
        let expected: Vec<_> = golden
            .manifest
            .messages
            .iter()
            .map(|message| {
                (
                    message.commit_log_offset,
                    message.version,
                    message.sys_flag,
                    message.body_crc,
                    message.prepared_transaction_offset,
                    message.plain_body_len.unwrap_or(message.body_len),
                )
            })
            .collect();
        assert_eq!(walked, expected);

        for message in golden.manifest.messages.iter().step_by(7) {
            let offset = message.commit_log_offset;
            let place = format!(
                "{}/{}/{}",
                message.topic, message.queue_id, message.queue_offset
            );
            for id in [offset.to_string(), message.offset_msg_id.clone(), place] {
                // of a queue whose units were destroyed, the place is not known until it is recovered
                let lost = crashed && id.contains('/');
                match inspection.find(&id).unwrap() {
                    Some(found) => assert_eq!(found[28..36], offset.to_be_bytes(), "{id}"),
                    None => assert!(lost || !message.in_queue, "{id}"),
                }
            }
            if let Some(id) = message.properties.get("UNIQ_KEY") {
                let found = inspection.find(id).unwrap().expect("a message of this id");
                let found = i64::from_be_bytes(found[28..36].try_into().unwrap());
                let same = |other: &&support::golden::Message| other.commit_log_offset == found;
                let other = golden.manifest.messages.iter().find(same).unwrap();
                assert_eq!(other.properties.get("UNIQ_KEY"), Some(id));
            }
        }
        assert_eq!(inspection.find("no such thing").unwrap(), None);
        assert_eq!(inspection.find("1").unwrap(), None);

        let conf = inspection.broker_conf();
        for key in [
            "mappedFileSizeCommitLog",
            "maxHashSlotNum",
            "maxIndexNum",
            "mappedFileSizeTimerLog",
        ] {
            let line = format!("{key}={}", golden.manifest.broker_conf[key]);
            assert!(conf.contains(&line), "{line} is not in {conf:?}");
        }
        let (segments, end) = inspection
            .segments(
                &Retention::default(),
                golden.manifest.messages[0].store_timestamp,
            )
            .unwrap();
        assert_eq!(
            end.log_offset,
            golden.manifest.commit_log.recovered_max_offset
        );
        let log: Vec<&Segment> = segments
            .iter()
            .filter(|segment| segment.kind == SegmentKind::CommitLog)
            .collect();
        assert_eq!(log[0].kept, "newest message 0 h old, kept are 72 h");
        let active = log.iter().filter(|segment| segment.kept == "written to");
        assert_eq!(active.count(), 1);
        assert_eq!(
            log[0].first_ms,
            Some(golden.manifest.messages[0].store_timestamp)
        );
        for segment in &segments {
            let path = dir.join(&segment.path);
            if path.is_file() {
                assert_eq!(segment.bytes, fs::metadata(path).unwrap().len());
            }
        }
        let found = findings(&dir);
        let worst = found.iter().map(|finding| finding.0).max();
        assert_eq!(worst, crashed.then_some(Severity::Warning), "{found:?}");
        support::assert_same(&before, &support::snapshot(&dir));
    }
}

/// S-104: what the tools repair is what a start recovers.
#[test]
fn s104_the_crashed_store_is_repaired() {
    let Some(golden) = golden("store-crashed") else {
        return;
    };
    let steps = repair(&golden.dir());
    assert!(
        steps.iter().any(|step| step.contains("torn record")),
        "{steps:?}"
    );
    assert_eq!(findings(&golden.dir()), []);
    let (_writer, reader, _) = open(&golden.dir(), &StoreOptions::default());
    let max = golden.manifest.commit_log.recovered_max_offset;
    assert_eq!(reader.max_log_offset(), max);
    for queue in golden.manifest.queues.iter().filter(|queue| queue.max > 0) {
        let range = reader.queue_range(&queue.topic, queue.queue_id).unwrap();
        assert_eq!((range.min, range.max), (queue.min, queue.max));
    }
}

fn filled(dir: &Path) {
    let (mut writer, reader, _) = open(dir, &small());
    for n in 0..60 {
        let body = format!("message {n}");
        writer
            .append(&message("t", n % 3, body.as_bytes()), NOW_MS)
            .unwrap();
        writer.commit().unwrap();
    }
    let topics = &reader.metadata().topics;
    topics.put(TopicConfig::new("t", 3), NOW_MS);
    reader
        .metadata()
        .consumer_offsets
        .set("g", "t", 0, 5, NOW_MS);
    reader.metadata().persist().unwrap();
    writer.close().unwrap();
}

fn ranges(dir: &Path) -> BTreeMap<(String, i32), (i64, i64)> {
    let (_writer, reader, _) = open(dir, &small());
    reader
        .queues()
        .into_iter()
        .map(|(topic, queue_id, range)| ((topic.to_string(), queue_id), (range.min, range.max)))
        .collect()
}

/// Each kind of damage to derived files is found, named and repaired; nothing is found before and after.
#[test]
fn damage_is_found_and_repaired() {
    type Damage = fn(&Path);
    let flip = |path: &Path, at: usize| {
        let mut bytes = fs::read(path).unwrap();
        bytes[at] ^= 0xff;
        fs::write(path, bytes).unwrap();
    };
    let damages: [(&str, Severity, Damage); 7] = [
        ("consumequeue/t/1", Severity::Error, |dir| {
            fs::remove_dir_all(dir.join("consumequeue/t/1")).unwrap();
        }),
        ("consumequeue/t/2", Severity::Error, |dir| {
            let path = dir.join("consumequeue/t/2/00000000000000000000");
            let mut bytes = fs::read(&path).unwrap();
            bytes[47] ^= 0xff;
            fs::write(path, bytes).unwrap();
        }),
        ("consumequeue/t/0", Severity::Error, |dir| {
            fs::remove_file(dir.join("consumequeue/t/0/00000000000000000000")).unwrap();
        }),
        ("consumequeue/t/0", Severity::Warning, |dir| {
            let path = dir.join("consumequeue/t/0/00000000000000000200");
            let mut bytes = fs::read(&path).unwrap();
            bytes[180..].fill(0);
            fs::write(path, bytes).unwrap();
        }),
        ("index", Severity::Warning, |dir| {
            fs::remove_dir_all(dir.join("index")).unwrap();
        }),
        ("index", Severity::Warning, |dir| {
            let first = fs::read_dir(dir.join("index")).unwrap();
            let first = first.map(|entry| entry.unwrap().path()).min().unwrap();
            let mut bytes = fs::read(&first).unwrap();
            bytes[40 + 80 + 45] ^= 0xff;
            fs::write(first, bytes).unwrap();
        }),
        ("checkpoint", Severity::Warning, |dir| {
            fs::remove_file(dir.join("checkpoint")).unwrap();
        }),
    ];
    for (path, severity, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        assert_eq!(findings(dir.path()), []);
        let before = ranges(dir.path());
        // opening it left a mark, which a clean stop takes away
        repair(dir.path());
        damage(dir.path());
        let found = findings(dir.path());
        assert!(
            found
                .iter()
                .any(|found| (found.0, found.1.as_str()) == (severity, path)),
            "{path}: {found:?}"
        );
        repair(dir.path());
        assert_eq!(findings(dir.path()), [], "{path}");
        assert_eq!(ranges(dir.path()), before, "{path}");
    }

    // the log itself is nobody's to repair
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let log = dir.path().join("commitlog/00000000000000000000");
    let bytes = fs::read(&log).unwrap();
    let body = bytes.windows(9).position(|bytes| bytes == b"message 3");
    flip(&log, body.unwrap());
    let found = findings(dir.path());
    assert_eq!(found[0].0, Severity::Error);
    assert_eq!(found[0].1, "commitlog/00000000000000000000");
    let inspection = Inspection::open(dir.path()).unwrap();
    let check = inspection.check(|_| {}).unwrap();
    assert!(matches!(
        inspection.plan(&check),
        Err(StoreError::DamagedLog { .. })
    ));
}

/// S-103: a directory in use is told, looked at, and not repaired.
#[test]
fn s103_a_directory_in_use_is_looked_at_only() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _reader, _) = open(dir.path(), &small());
    writer.append(&message("t", 0, b"x"), NOW_MS).unwrap();
    writer.commit().unwrap();
    let inspection = Inspection::open(dir.path()).unwrap();
    assert_eq!(inspection.usage(), Usage::Live(Some(std::process::id())));
    let check = inspection.check(|_| {}).unwrap();
    assert_eq!(check.records, 1);
    assert!(
        check.worst() <= Some(Severity::Note),
        "{:?}",
        check.findings
    );
    assert!(matches!(
        inspection.plan(&check),
        Err(StoreError::InUse { .. })
    ));
    // looking did not take the lock from it
    assert!(matches!(
        rocketry_store::Store::open(dir.path(), small(), NOW_MS),
        Err(StoreError::InUse { .. })
    ));
    writer.close().unwrap();
    let inspection = Inspection::open(dir.path()).unwrap();
    assert_eq!(inspection.usage(), Usage::Closed);
}

/// S-120: other names than the directory was served under are warned of, with what they leave behind.
#[test]
fn s120_names_under_which_it_was_not_served_are_warned_of() {
    let whats = |inspection: &Inspection, broker, cluster| -> Vec<String> {
        let findings = inspection.check_names(broker, cluster);
        assert!(findings.iter().all(|f| f.severity == Severity::Warning));
        findings.into_iter().map(|finding| finding.what).collect()
    };
    let golden = golden("store-clean").expect("the repository's copy");
    let inspection = Inspection::open(&golden.dir()).unwrap();
    let served = inspection.served_as();
    assert_eq!(served.brokers, ["golden-a"]);
    assert_eq!(served.clusters, ["GoldenCluster"]);
    let conf = inspection.broker_conf();
    assert!(conf.contains(&"brokerName=golden-a".to_owned()), "{conf:?}");
    assert!(conf.contains(&"brokerClusterName=GoldenCluster".to_owned()));
    assert_eq!(
        whats(&inspection, Some("golden-a"), Some("GoldenCluster")),
        [""; 0]
    );
    assert_eq!(whats(&inspection, None, None), [""; 0]);

    let other = whats(&inspection, None, Some("Other"));
    for named in [
        "rmq_sys_REVIVE_LOG_GoldenCluster",
        "GoldenCluster_REPLY_TOPIC",
        "Other_REPLY_TOPIC",
    ] {
        assert!(other[0].contains(named), "{named} is not in {other:?}");
    }
    let other = whats(&inspection, Some("other"), Some("GoldenCluster"));
    assert_eq!(other.len(), 1);
    assert!(other[0].contains("recall"), "{other:?}");
    assert!(other[0].contains("golden-a, not other"), "{other:?}");
}

/// S-120: notes of popped messages that only the old cluster's broker works off are counted.
#[test]
fn s120_pops_that_nobody_would_revive_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let revive = "rmq_sys_REVIVE_LOG_old";
    let (mut writer, reader, _) = open(dir.path(), &small());
    let metadata = reader.metadata();
    metadata.topics.put(TopicConfig::new(revive, 8), NOW_MS);
    for queue_id in [0, 0, 0, 5] {
        let note = message(revive, queue_id, b"{}");
        writer.append(&note, NOW_MS).unwrap();
    }
    writer.commit().unwrap();
    // the offset is that of the last one dealt with
    let offsets = &metadata.consumer_offsets;
    offsets.set("CID_RMQ_SYS_REVIVE_GROUP", revive, 0, 1, NOW_MS);
    metadata.persist().unwrap();
    writer.close().unwrap();
    let inspection = Inspection::open(dir.path()).unwrap();
    assert_eq!(inspection.check_names(None, Some("old")), []);
    let findings = inspection.check_names(None, Some("new"));
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(
        findings[1].what.starts_with("2 notes of popped messages"),
        "{findings:?}"
    );
}

#[test]
fn what_is_no_store_is_refused_and_not_made_one() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    assert!(Inspection::open(&missing).is_err());
    assert!(!missing.exists());
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    assert!(matches!(
        Inspection::open(dir.path()),
        Err(StoreError::NotAStore { .. })
    ));
}

/// S-103: a directory that somebody opened after it was looked at is not repaired, and nothing in it is touched.
#[test]
fn s103_a_repair_takes_the_lock_before_it_removes_anything() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _, _) = open(dir.path(), &small());
    for _ in 0..20 {
        writer.append(&message("t", 0, b"x"), NOW_MS).unwrap();
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    let unit = dir.path().join("consumequeue/t/0/00000000000000000000");
    let mut bytes = fs::read(&unit).unwrap();
    bytes[7] ^= 1;
    fs::write(&unit, &bytes).unwrap();
    let inspection = Inspection::open(dir.path()).unwrap();
    let plan = inspection.plan(&inspection.check(|_| {}).unwrap()).unwrap();
    assert!(!plan.remove.is_empty(), "{plan:?}");

    let (user, _, _) = open(dir.path(), &small());
    let before = support::snapshot(dir.path());
    let error = inspection.repair(&plan, NOW_MS).expect_err("in use");
    let this = std::process::id();
    assert!(
        matches!(error, StoreError::InUse { holder: Some(pid), .. } if pid == this),
        "{error}"
    );
    support::assert_same(&before, &support::snapshot(dir.path()));
    user.close().unwrap();
}

/// A place in the log that is no record, with signs of more behind it, is no end: nothing is repaired, as the log would be cut there.
#[test]
fn a_log_damaged_in_the_middle_is_not_repaired() {
    type Damage = fn(&Path);
    let whole = tempfile::tempdir().unwrap();
    // more than two files
    filled(whole.path());
    filled(whole.path());
    let last = fs::read_dir(whole.path().join("commitlog")).unwrap();
    let last = last.map(|entry| entry.unwrap().path()).max().unwrap();
    let last = last.file_name().unwrap().to_str().unwrap().to_owned();
    let none: Damage = |_| {};
    let no_checkpoint: Damage = |dir| fs::remove_file(dir.join("checkpoint")).unwrap();
    let no_queues: Damage = |dir| {
        fs::remove_file(dir.join("checkpoint")).unwrap();
        fs::remove_dir_all(dir.join("consumequeue")).unwrap();
    };
    let crashed: Damage = |dir| fs::write(dir.join("abort"), "").unwrap();
    let middle = "00000000000000004096";
    // the file, whether zeros or a bad record begin it, what else is so, and what tells that there was more
    let cases: [(&str, bool, Damage, &str); 8] = [
        (middle, true, none, "begins with a valid record"),
        (middle, true, no_queues, "begins with a valid record"),
        (middle, true, crashed, "begins with a valid record"),
        (middle, false, none, "begins with a valid record"),
        (middle, false, crashed, "begins with a valid record"),
        (&last, true, none, "the checkpoint names"),
        (&last, true, crashed, "the checkpoint names"),
        (&last, true, no_checkpoint, "has a message at"),
    ];
    for (file, zeros, damage, sign) in cases {
        let dir = tempfile::tempdir().unwrap();
        support::copy_dir(whole.path(), dir.path()).unwrap();
        damage(dir.path());
        let path = dir.path().join("commitlog").join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[..8].fill(if zeros { 0 } else { 0xee });
        fs::write(&path, bytes).unwrap();
        let before = support::snapshot(dir.path());
        let found = findings(dir.path());
        let name = format!("commitlog/{file}");
        let of_log: Vec<_> = found.iter().filter(|found| found.1 == name).collect();
        assert_eq!(of_log.len(), 1, "{found:?}");
        assert_eq!(of_log[0].0, Severity::Error);
        assert!(of_log[0].2.contains(sign), "{found:?}");
        let inspection = Inspection::open(dir.path()).unwrap();
        let check = inspection.check(|_| {}).unwrap();
        let refused = inspection.plan(&check);
        assert!(
            matches!(&refused, Err(StoreError::DamagedLog { path, .. }) if path.ends_with(file)),
            "{refused:?}"
        );
        support::assert_same(&before, &support::snapshot(dir.path()));
    }
    // of the index alone
    let dir = tempfile::tempdir().unwrap();
    support::copy_dir(whole.path(), dir.path()).unwrap();
    no_queues(dir.path());
    let path = dir.path().join("commitlog").join(&last);
    let len = fs::metadata(&path).unwrap().len();
    fs::write(&path, vec![0; usize::try_from(len).unwrap()]).unwrap();
    let found = findings(dir.path());
    assert!(found[0].2.contains("the index has a key"), "{found:?}");
}

/// The file before one that begins with a bad record is no file that waits for its first message.
#[test]
fn a_bad_record_hides_no_age() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    filled(dir.path());
    let path = dir.path().join("commitlog/00000000000000004096");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..8].fill(0xee);
    fs::write(&path, bytes).unwrap();
    let inspection = Inspection::open(dir.path()).unwrap();
    let (segments, _) = inspection.segments(&Retention::default(), NOW_MS).unwrap();
    let log = segments
        .iter()
        .filter(|segment| segment.kind == SegmentKind::CommitLog);
    let kept: Vec<&str> = log.map(|segment| segment.kept.as_str()).collect();
    assert!(kept.len() > 3, "{kept:?}");
    assert_eq!(kept[..2], ["newest message 0 h old, kept are 72 h"; 2]);
}

/// A checkpoint that names more than everything else is what is wrong, and a start does without it.
#[test]
fn a_checkpoint_that_names_too_much_is_repaired() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let before = ranges(dir.path());
    repair(dir.path());
    let path = dir.path().join("checkpoint");
    let mut bytes = fs::read(&path).unwrap();
    bytes[44] ^= 0x10;
    fs::write(&path, bytes).unwrap();
    let found = findings(dir.path());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].0, found[0].1.as_str()),
        (Severity::Warning, "checkpoint")
    );
    repair(dir.path());
    assert_eq!(findings(dir.path()), []);
    assert_eq!(ranges(dir.path()), before);
}
