//! What a directory consists of, how large it is, and why each part is kept.

use std::path::{Path, PathBuf};

use super::{Inspection, LogEnd, Usage};
use crate::{Retention, StoreError, number::signed};

/// What a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SegmentKind {
    /// A file of the commit log.
    CommitLog,
    /// All files of one consume queue.
    ConsumeQueue,
    /// A file of the key index.
    Index,
    /// Files of the timer.
    Timer,
    /// Configuration, and marks such as the checkpoint.
    Config,
}

impl SegmentKind {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommitLog => "commitlog",
            Self::ConsumeQueue => "queue",
            Self::Index => "index",
            Self::Timer => "timer",
            Self::Config => "config",
        }
    }
}

/// A file, or the files of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What it is.
    pub kind: SegmentKind,
    /// Path below the data directory.
    pub path: PathBuf,
    /// Length in bytes.
    pub bytes: u64,
    /// Bytes it takes on the disk, holes left out; `None` when the system does not say.
    pub real_bytes: Option<u64>,
    /// Store time of the oldest message in it, ms.
    pub first_ms: Option<i64>,
    /// Store time of the newest message in it, ms.
    pub last_ms: Option<i64>,
    /// Messages of a queue or keys of an index file.
    pub entries: Option<u64>,
    /// Why it is kept, for a person to read.
    pub kept: String,
}

impl Inspection {
    /// Everything in the directory, and where the log ends. `retention` and `now_ms` say how long messages are kept. Reads the last
    /// commit-log file to find its end, and the first record of each other.
    ///
    /// # Errors
    /// The disk refused a read.
    pub fn segments(
        &self,
        retention: &Retention,
        now_ms: i64,
    ) -> Result<(Vec<Segment>, LogEnd), StoreError> {
        let mut segments = Vec::new();
        let end = self.log_segments(retention, now_ms, &mut segments)?;
        self.queue_segments(&mut segments)?;
        self.index_segments(&mut segments);
        self.other_segments(&mut segments)?;
        Ok((segments, end))
    }

    fn segment(&self, kind: SegmentKind, path: &Path, bytes: u64, kept: String) -> Segment {
        Segment {
            kind,
            path: path
                .strip_prefix(self.layout.root())
                .unwrap_or(path)
                .to_path_buf(),
            bytes,
            real_bytes: self.fs.allocated_bytes(path),
            first_ms: None,
            last_ms: None,
            entries: None,
            kept,
        }
    }

    fn log_segments(
        &self,
        retention: &Retention,
        now_ms: i64,
        segments: &mut Vec<Segment>,
    ) -> Result<LogEnd, StoreError> {
        let starts = &self.log_files.starts;
        // a file may have been made before it is needed
        let used = |start: &&u64| self.first_ms(**start).is_some();
        let active = starts
            .iter()
            .rev()
            .find(used)
            .or_else(|| starts.first())
            .copied();
        let mut newest_ms = None;
        let from = signed(active.unwrap_or(0));
        let end = self.walk::<StoreError>(from, |stored| {
            newest_ms = Some(stored.record.store_ms);
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        let reserved = i64::try_from(retention.reserved.as_millis()).unwrap_or(i64::MAX);
        for (n, start) in starts.iter().enumerate() {
            // as retention takes it: of the next file whose first record can be read
            let later = starts.get(n + 1..).unwrap_or_default();
            let last_ms = match later.iter().find_map(|next| self.first_ms(*next)) {
                Some(next) => Some(next),
                None if Some(*start) == active => newest_ms,
                None => None,
            };
            let kept = match last_ms.map(|ms| now_ms.saturating_sub(ms)) {
                _ if Some(*start) == active => "written to".to_owned(),
                None => "made for what comes next".to_owned(),
                Some(age) if age >= reserved => format!(
                    "past {} h: removed at {}",
                    reserved / 3_600_000,
                    hours(&retention.hours)
                ),
                Some(age) => format!(
                    "newest message {} h old, kept are {} h",
                    age / 3_600_000,
                    reserved / 3_600_000
                ),
            };
            let path = self.log.path(*start);
            segments.push(Segment {
                first_ms: self.first_ms(*start),
                last_ms,
                ..self.segment(
                    SegmentKind::CommitLog,
                    &path,
                    self.log_files.file_bytes,
                    kept,
                )
            });
        }
        Ok(end)
    }

    fn queue_segments(&self, segments: &mut Vec<Segment>) -> Result<(), StoreError> {
        for found in &self.queues {
            let dir = found.queue.units.dir();
            let (mut bytes, mut real) = (0, Some(0));
            for entry in self
                .fs
                .list(&dir)
                .map_err(StoreError::io("read directory", &dir))?
            {
                bytes += entry.len;
                let path = dir.join(&entry.name);
                real = real.zip(self.fs.allocated_bytes(&path)).map(|(a, b)| a + b);
            }
            let (min, max) = (found.queue.min(), found.queue.max());
            let kept = match &found.damage {
                Some(damage) => damage.clone(),
                None if min < max => format!("messages {min} to {} are in the log", max - 1),
                None => format!("no message in the log; the next is number {max}"),
            };
            segments.push(Segment {
                real_bytes: real,
                entries: Some(max - min.min(max)),
                ..self.segment(SegmentKind::ConsumeQueue, &dir, bytes, kept)
            });
        }
        Ok(())
    }

    fn index_segments(&self, segments: &mut Vec<Segment>) {
        let views = self.index.as_deref().unwrap_or_default();
        for (n, view) in views.iter().enumerate() {
            let range = view.range();
            let kept = match range {
                _ if n + 1 == views.len() => "written to".to_owned(),
                Some((_, _, end)) if end < self.log_min() => {
                    "only keys of removed messages: removed with the next commit-log file"
                        .to_owned()
                }
                _ => "has keys of messages in the log".to_owned(),
            };
            segments.push(Segment {
                first_ms: range.map(|(begin, _, _)| begin),
                last_ms: range.map(|(_, end, _)| end),
                entries: Some(view.keys().into()),
                ..self.segment(
                    SegmentKind::Index,
                    &view.path,
                    view.sizes.file_bytes(),
                    kept,
                )
            });
        }
    }

    fn other_segments(&self, segments: &mut Vec<Segment>) -> Result<(), StoreError> {
        let live = matches!(self.usage, Usage::Live(_));
        let parts = [
            (SegmentKind::Timer, self.layout.timer_log()),
            (SegmentKind::Config, self.layout.config()),
            (SegmentKind::Config, self.layout.root().to_path_buf()),
        ];
        for (kind, dir) in parts {
            let mut entries = match self.fs.list(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::io("read directory", &dir)(error)),
            };
            entries.retain(|entry| !entry.is_dir);
            entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            for entry in entries {
                let (kind, kept) = match entry.name.as_str() {
                    _ if kind == SegmentKind::Timer => (kind, "chains of waiting messages"),
                    "timerwheel" => (SegmentKind::Timer, "slots of waiting messages"),
                    "lock" => (kind, "who locks it may use the directory"),
                    "abort" if live => (kind, "removed when its server stops"),
                    "abort" => (kind, "the last user did not stop cleanly"),
                    "checkpoint" => (kind, "how far the queues and the index are on disk"),
                    name if Path::new(name).extension().is_some_and(|ext| ext == "bak") => {
                        (kind, "the version before")
                    }
                    _ => (kind, "configuration"),
                };
                let path = dir.join(&entry.name);
                segments.push(self.segment(kind, &path, entry.len, kept.to_owned()));
            }
        }
        Ok(())
    }
}

fn hours(hours: &[u8]) -> String {
    let hours: Vec<String> = hours.iter().map(|hour| format!("{hour:02}:00")).collect();
    if hours.is_empty() {
        "no hour".to_owned()
    } else {
        hours.join(", ")
    }
}
