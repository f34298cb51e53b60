//! Removing old messages: whole commit-log files, oldest first, and what was derived from them. Java: `CleanCommitLogService`,
//! `CleanConsumeQueueService`
//!
//! A file goes when its newest message is older than the reserved time and the hour is one of those set for it, or at once when
//! space runs short. A file whose age cannot be read is taken to be as old as the next one that can. Below a second limit of free space
//! the store takes no messages until there is more again. The file that is written to never goes.

use std::{path::PathBuf, time::Duration};

use crate::{
    Flusher, WriteError,
    commit_log::check_record,
    error::{WriteErrorKind, full_disk},
    number::signed,
    reader::record_at,
    shared::Shared,
};

/// When messages are removed, and when the store takes no more.
#[derive(Debug, Clone)]
pub struct Retention {
    /// How long a message is kept at least, unless space runs short. Default: 72 h. Java: `fileReservedTime`
    pub reserved: Duration,
    /// Hours of the day, local time, in which files past their time are removed. Default: 4. Java: `deleteWhen`
    pub hours: Vec<u8>,
    /// Share of the disk in use from which the oldest files go at once, percent. Default: 85. Java: `diskSpaceCleanForciblyRatio`
    pub clean_percent: u8,
    /// With this much free space the share does not count. Default: 2 GiB. Not in Java, where 85 % of a large disk is full.
    pub clean_free_bytes: u64,
    /// Share of the disk in use from which no messages are taken, percent. Default: 90. Java: `diskSpaceWarningLevelRatio`
    pub refuse_percent: u8,
    /// With this much free space the share does not count. Default: 256 MiB. Not in Java.
    pub refuse_free_bytes: u64,
    /// Files removed in one run at most. Default: 10. Java: `deleteFileBatchMax`
    pub max_files: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            reserved: Duration::from_hours(72),
            hours: vec![4],
            clean_percent: 85,
            clean_free_bytes: 2 << 30,
            refuse_percent: 90,
            refuse_free_bytes: 256 << 20,
            max_files: 10,
        }
    }
}

impl Retention {
    /// Every setting outside of its bounds, with the bounds. Out of them nothing would ever be removed, or nothing taken.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.max_files == 0 {
            faults.push("max_files 0: no file would ever be removed; at least 1".to_owned());
        }
        if let Some(hour) = self.hours.iter().find(|hour| **hour > 23) {
            faults.push(format!(
                "hours {:?}: {hour} is no hour of a day, which are 0 to 23",
                self.hours
            ));
        }
        for (name, percent) in [
            ("clean_percent", self.clean_percent),
            ("refuse_percent", self.refuse_percent),
        ] {
            if percent > 100 {
                faults.push(format!("{name} {percent}: a share is at most 100"));
            }
        }
        faults
    }

    /// Below these many free bytes files go at once, and no messages are taken, of a disk of `total` bytes.
    pub fn limits(&self, total: u64) -> (u64, u64) {
        let limit = |percent: u8, free_bytes: u64| {
            let share = total / 100 * u64::from(100 - percent.min(100));
            share.min(free_bytes)
        };
        (
            limit(self.clean_percent, self.clean_free_bytes),
            limit(self.refuse_percent, self.refuse_free_bytes),
        )
    }
}

/// A file that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The commit-log file.
    pub path: PathBuf,
    /// Why, for a person to read.
    pub reason: String,
}

impl Flusher {
    /// Lets the store take messages or not, as the free space and the limits of `retention` demand. Returns whether files should go to
    /// make room, which [`Flusher::clean`] does. One question to the system: meant to be called every second.
    pub fn watch_space(&self, retention: &Retention) -> bool {
        let shared = self.shared();
        let space = Space::of(shared, retention);
        space.judge(shared);
        space.short().is_some()
    }

    /// Removes what is due at `now_ms`, or whatever the hour when `at_once` is set, and lets the store refuse or take messages
    /// again as space demands. Meant to be called every ten seconds.
    ///
    /// # Errors
    /// A file could not be removed; it is tried again at the next call.
    ///
    /// Java: `CleanCommitLogService.run`. Differs from Java: the age of a file is that of its newest message, not of its time stamp,
    /// which copying a directory changes; shares of the disk count only up to a number of free bytes.
    pub fn clean(
        &self,
        retention: &Retention,
        now_ms: i64,
        at_once: bool,
    ) -> Result<Vec<Removed>, WriteError> {
        let shared = self.shared();
        let _still = self.hold();
        let log_min = shared.log.min();
        let mut removed = Vec::new();
        let cleaned = remove_due(shared, retention, now_ms, at_once, &mut removed);
        // what is gone is gone, whatever came after it
        let followed = if shared.log.min() == log_min {
            Ok(())
        } else {
            follow(shared)
        };
        cleaned.and(followed).map(|()| removed)
    }
}

/// Removes files of the log, noting each in `removed`.
fn remove_due(
    shared: &Shared,
    retention: &Retention,
    now_ms: i64,
    at_once: bool,
    removed: &mut Vec<Removed>,
) -> Result<(), WriteError> {
    let due_hour = at_once || retention.hours.contains(&local_hour(now_ms));
    let reserved = i64::try_from(retention.reserved.as_millis()).unwrap_or(i64::MAX);
    loop {
        let space = Space::of(shared, retention);
        space.judge(shared);
        if removed.len() >= retention.max_files {
            return Ok(());
        }
        let Some(start) = oldest(shared) else {
            return Ok(());
        };
        let too_old = || {
            let age_ms = now_ms.saturating_sub(newest_ms(shared, start)?);
            (age_ms >= reserved).then(|| {
                format!(
                    "its newest message is {} h old, kept are {} h",
                    age_ms / 3_600_000,
                    reserved / 3_600_000
                )
            })
        };
        let reason = space.short().or_else(|| due_hour.then(too_old).flatten());
        let Some(reason) = reason else {
            return Ok(());
        };
        if removed.is_empty() {
            // no later sync may look for a file that is gone
            shared.sync_log()?;
        }
        let path = shared.log.path(start);
        shared
            .log
            .retire(start)
            .map_err(|(path, error)| shared.write_error("remove", &path, error))?;
        tracing::info!(path = %path.display(), reason, "removed a commit-log file");
        removed.push(Removed { path, reason });
    }
}

/// Start of the oldest file; `None` when it is the one written to.
fn oldest(shared: &Shared) -> Option<u64> {
    let start = shared.log.min();
    (start + shared.log.file_bytes() < shared.log.end()).then_some(start)
}

/// Time of the newest message of the file at `start`, ms, or one that is later; `None` where no later file begins with a record.
fn newest_ms(shared: &Shared, start: u64) -> Option<i64> {
    let log = &shared.log;
    let mut next = start + log.file_bytes();
    // the log's order is that of time: a later file begins with a message that is no older than the newest of this one
    while next < log.end() {
        match record_at(shared, next) {
            Ok(Some(bytes)) => {
                if let Ok(record) = check_record(&bytes, next) {
                    return Some(record.store_ms);
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the age of the file before is taken from a later one");
            }
        }
        next += log.file_bytes();
    }
    None
}

/// Queues and index follow the log, as far as they can; the first error is returned.
fn follow(shared: &Shared) -> Result<(), WriteError> {
    let log_min = shared.log.min();
    let mut followed = Ok(());
    for queue in shared.queues.all() {
        let retired = queue
            .correct_min(log_min)
            .and_then(|first| queue.units.retire(first))
            .map_err(|error| shared.write_error("remove files of", &queue.units.dir(), error));
        followed = followed.and(retired);
    }
    if let Some(index) = &mut *shared.index.write() {
        let retired = index
            .retire(signed(log_min))
            .map_err(|error| shared.write_error("remove files of", &shared.layout.index(), error));
        followed = followed.and(retired);
    }
    followed
}

/// Free space, and what it should be.
struct Space {
    free: u64,
    clean_below: u64,
    refuse_below: u64,
}

impl Space {
    fn of(shared: &Shared, retention: &Retention) -> Self {
        let root = shared.layout.root();
        let free = shared.fs.free_bytes(root);
        let total = shared.fs.total_bytes(root);
        let (clean_below, refuse_below) = total.map_or((0, 0), |total| retention.limits(total));
        Self {
            // where the system does not say there is no limit
            free: free.unwrap_or(u64::MAX),
            clean_below,
            refuse_below,
        }
    }

    fn short(&self) -> Option<String> {
        (self.free < self.clean_below).then(|| {
            format!(
                "{} MiB are free on its disk, less than {} MiB",
                self.free >> 20,
                self.clean_below >> 20
            )
        })
    }

    /// Lets the store take messages, or not.
    fn judge(&self, shared: &Shared) {
        shared.set_required_bytes(self.refuse_below);
        let refused = (self.free < self.refuse_below).then(|| WriteError {
            kind: WriteErrorKind::DiskFull,
            message: full_disk(
                "",
                &shared.layout.commit_log(),
                self.free,
                self.refuse_below,
            )
            .into(),
            source: None,
        });
        shared.set_space(refused);
    }
}

fn local_hour(now_ms: i64) -> u8 {
    let time = jiff::Timestamp::from_millisecond(now_ms)
        .unwrap_or_default()
        .to_zoned(jiff::tz::TimeZone::system());
    u8::try_from(time.hour()).unwrap_or(0)
}
