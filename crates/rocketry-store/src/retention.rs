//! Removing old messages: whole commit-log files, oldest first, and what was derived from them. Java: `CleanCommitLogService`,
//! `CleanConsumeQueueService`
//!
//! A file goes when its newest message is older than the reserved time and the hour is one of those set for it, or at once when
//! space runs short. Below a second limit of free space the store takes no messages until there is more again. The file that is
//! written to never goes.

use std::{path::PathBuf, time::Duration};

use rocketry_protocol::record::Record;

use crate::{
    Flusher, WriteError,
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
    /// A file could not be removed or read; it is tried again at the next call.
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
        let mut removed = Vec::new();
        let due_hour = at_once || retention.hours.contains(&local_hour(now_ms));
        loop {
            let space = Space::of(shared, retention);
            space.judge(shared);
            if removed.len() >= retention.max_files {
                break;
            }
            let Some((start, newest_ms)) = oldest(shared)? else {
                break;
            };
            let age_ms = now_ms.saturating_sub(newest_ms);
            let reserved = i64::try_from(retention.reserved.as_millis()).unwrap_or(i64::MAX);
            let reason = match space.short() {
                Some(reason) => reason,
                None if due_hour && age_ms >= reserved => format!(
                    "its newest message is {} h old, kept are {} h",
                    age_ms / 3_600_000,
                    reserved / 3_600_000
                ),
                None => break,
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
        if !removed.is_empty() {
            follow(shared)?;
        }
        Ok(removed)
    }
}

/// Start of the oldest file and the time of its newest message, ms; `None` when it is the one written to.
fn oldest(shared: &Shared) -> Result<Option<(u64, i64)>, WriteError> {
    let log = &shared.log;
    let (start, end) = (log.min(), log.end());
    let next = start + log.file_bytes();
    if next >= end {
        return Ok(None);
    }
    // the log's order is that of time: the next file begins with the message after the newest of this one
    let first = record_at(shared, next)
        .map_err(|error| shared.write_error("read", &error.path, error.source))?;
    Ok(first
        .as_deref()
        .and_then(|bytes| Record::parse(bytes).ok())
        .map(|(record, _)| (start, record.store_ms)))
}

/// Queues and index follow the log.
fn follow(shared: &Shared) -> Result<(), WriteError> {
    let log_min = shared.log.min();
    for queue in shared.queues.all() {
        queue
            .correct_min(log_min)
            .and_then(|first| queue.units.retire(first))
            .map_err(|error| shared.write_error("remove files of", &queue.units.dir(), error))?;
    }
    if let Some(index) = &mut *shared.index.write() {
        index.retire(signed(log_min)).map_err(|error| {
            shared.write_error("remove files of", &shared.layout.index(), error)
        })?;
    }
    Ok(())
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
