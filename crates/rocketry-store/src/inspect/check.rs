//! Proving log, queues, index and configuration against each other.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{Inspection, LogEnd, Stored, Usage, behind::Behind};
use crate::{
    StoreError, StoreOptions,
    consume_queue::{ConsumeQueue, Unit},
    dispatch::{Dispatch, Marks},
    index::{IndexView, keys_of},
    number::signed,
    writer::is_directory_name,
};

/// Units of a queue read at once.
const WINDOW: u64 = 256;
/// Units of an index file read at once.
const INDEX_WINDOW: u32 = 16 * 1024;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// The next start repairs it, losing nothing that was acknowledged and synced.
    Warning,
    /// Messages are lost or unreachable, or the server does not start.
    Error,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where, below the data directory.
    pub path: PathBuf,
    /// What, for a person to read.
    pub what: String,
    /// Derived files that a repair removes and derives again.
    pub rebuild: Option<PathBuf>,
    /// Whether a repair helps.
    pub repairable: bool,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// All findings, the worst first.
    pub findings: Vec<Finding>,
    /// Records of the log, each with its check sum.
    pub records: u64,
    /// Bytes of the log that were read.
    pub bytes: u64,
    /// Where the log ends.
    pub end: LogEnd,
    /// Consume queues.
    pub queues: u64,
    /// Units of the queues that were proven by the log, and that prove it.
    pub units: u64,
    /// Keys of the index that were proven.
    pub keys: u64,
}

impl Check {
    /// The worst severity.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

impl Inspection {
    /// Reads everything and compares it. `progress` is told how many bytes of the log were read.
    ///
    /// # Errors
    /// The disk refused a read.
    pub fn check(&self, mut progress: impl FnMut(u64)) -> Result<Check, StoreError> {
        let mut checker = Checker {
            inspection: self,
            delay_levels: StoreOptions::default().delay_levels,
            queues: HashMap::new(),
            lost: BTreeMap::new(),
            keys: Keys::new(self.index.as_deref().unwrap_or_default()),
            records: 0,
            bytes: 0,
            units: 0,
            known: self
                .metadata
                .topics
                .all()
                .iter()
                .map(|topic| topic.topic_name.clone())
                .collect(),
        };
        for found in &self.queues {
            let queue = &found.queue;
            checker
                .queues
                .entry(queue.topic().to_string())
                .or_default()
                .insert(queue.queue_id(), Claims::new(queue));
        }
        let end = self.walk::<StoreError>(0, |stored| {
            checker.record(stored)?;
            progress(checker.bytes);
            Ok(ControlFlow::Continue(()))
        })?;
        let behind = self.look_behind(&end)?;
        let mut findings = Vec::new();
        checker.judge_log(&end, &behind, &mut findings);
        let damaged = matches!(behind, Behind::More(_));
        checker.judge_queues(&end, damaged, &mut findings);
        checker.judge_index(&end, damaged, &mut findings);
        self.judge_config(&checker, &mut findings);
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(Check {
            findings,
            records: checker.records,
            bytes: checker.bytes,
            end,
            queues: self.queues.len() as u64,
            units: checker.units,
            keys: checker.keys.proven,
        })
    }

    /// Configuration and offsets against the queues.
    fn judge_config(&self, checker: &Checker<'_>, findings: &mut Vec<Finding>) {
        let note = |severity, path: &str, what: String| Finding {
            severity,
            path: path.into(),
            what,
            rebuild: None,
            repairable: false,
        };
        for text in &self.notes {
            findings.push(Finding {
                repairable: true,
                ..note(Severity::Warning, "config", text.clone())
            });
        }
        if self.checkpoint.is_none() && !self.log_files.starts.is_empty() {
            findings.push(Finding {
                repairable: true,
                ..note(
                    Severity::Warning,
                    "checkpoint",
                    "absent or unreadable: the next start reads more of the log".to_owned(),
                )
            });
        }
        let mut unknown: Vec<&str> = checker
            .queues
            .keys()
            .map(String::as_str)
            .filter(|topic| !checker.known.contains(*topic))
            .collect();
        unknown.sort_unstable();
        for topic in unknown {
            findings.push(note(
                Severity::Note,
                "config/topics.json",
                format!("topic {topic:?} has queues and no configuration: create it with the same queues to reach its messages"),
            ));
        }
        for (name, queues) in self.metadata.consumer_offsets.snapshot().offset_table {
            let Some((topic, group)) = name.split_once('@') else {
                continue;
            };
            for (queue_id, offset) in queues {
                let queue = checker
                    .queues
                    .get(topic)
                    .and_then(|queues| queues.get(&queue_id));
                let max = queue.map_or(0, |queue| signed(queue.queue.max()));
                if offset > max && !matches!(self.usage, Usage::Live(_)) {
                    findings.push(note(
                        Severity::Warning,
                        "config/consumerOffset.json",
                        format!("group {group} is at {offset} of {topic}/{queue_id}, which ends at {max}"),
                    ));
                }
            }
        }
    }
}

/// What a check keeps while it walks along the log.
struct Checker<'a> {
    inspection: &'a Inspection,
    delay_levels: Vec<Duration>,
    queues: HashMap<String, BTreeMap<i32, Claims>>,
    /// Messages of queues without files.
    lost: BTreeMap<(String, i32), u64>,
    keys: Keys<'a>,
    records: u64,
    bytes: u64,
    units: u64,
    known: HashSet<String>,
}

/// A queue, and what the log says of it.
struct Claims {
    queue: Arc<ConsumeQueue>,
    window: Vec<Option<Unit>>,
    window_at: u64,
    proven: u64,
    /// Messages beyond the end of the queue.
    missing: u64,
    /// Why a unit contradicts the log.
    wrong: Option<String>,
}

impl Claims {
    fn new(queue: &Arc<ConsumeQueue>) -> Self {
        Self {
            queue: Arc::clone(queue),
            window: Vec::new(),
            window_at: 0,
            proven: 0,
            missing: 0,
            wrong: None,
        }
    }

    fn unit(&mut self, offset: u64) -> std::io::Result<Option<Unit>> {
        // a unit of a batch queue holds several offsets: looked up one by one
        if self.queue.kind == crate::consume_queue::QueueKind::Batch {
            return self.queue.unit(offset);
        }
        if offset < self.queue.units.first() {
            return Ok(None);
        }
        let inside = offset
            .checked_sub(self.window_at)
            .is_some_and(|at| at < self.window.len() as u64);
        if !inside {
            self.window = self.queue.read(offset, WINDOW)?;
            self.window_at = offset;
        }
        let at = crate::number::size(offset - self.window_at);
        Ok(self.window.get(at).copied().flatten())
    }
}

impl Checker<'_> {
    fn record(&mut self, stored: &Stored<'_>) -> Result<(), StoreError> {
        let record = &stored.record;
        self.records += 1;
        self.bytes += u64::from(stored.bytes);
        let marks = Marks::of(record.properties);
        let at = record.physical_offset.cast_unsigned();
        self.keys.record(stored, &marks);
        let expected = Dispatch::of(record, &marks, at, stored.bytes, &self.delay_levels);
        if !expected.in_queue || !is_directory_name(record.topic) {
            return Ok(());
        }
        let queue = self
            .queues
            .get_mut(record.topic)
            .and_then(|queues| queues.get_mut(&record.queue_id));
        let Some(queue) = queue else {
            let name = (record.topic.to_owned(), record.queue_id);
            *self.lost.entry(name).or_default() += 1;
            return Ok(());
        };
        let offset = expected.unit.queue_offset;
        let found = queue
            .unit(offset)
            .map_err(|error| StoreError::io("read", queue.queue.units.dir())(error))?;
        match found {
            _ if offset >= queue.queue.max() => queue.missing += 1,
            Some(unit) if unit == expected.unit => {
                queue.proven += u64::from(unit.count);
                self.units += 1;
            }
            // of a topic that was removed and made again
            Some(unit) if unit.log_offset > at && !unit.is_pre_blank() => {}
            _ => {
                queue.wrong.get_or_insert_with(|| {
                    format!("its unit {offset} is not that of the message at log offset {at}")
                });
            }
        }
        Ok(())
    }

    fn judge_log(&self, end: &LogEnd, behind: &Behind, findings: &mut Vec<Finding>) {
        if let Behind::WrongCheckpoint(named) = behind {
            findings.push(Finding {
                severity: Severity::Warning,
                path: "checkpoint".into(),
                what: format!(
                    "names log offset {named} as that of the newest message, but log and queues end at {}, as they did at the last stop",
                    end.log_offset
                ),
                rebuild: None,
                repairable: true,
            });
        }
        let more = match behind {
            Behind::More(more) => Some(more),
            _ => None,
        };
        if end.reason.is_none() && more.is_none() {
            return;
        }
        let reason = end.reason.as_deref().unwrap_or("zeros");
        let log = &self.inspection.log;
        let path = log.path(log.file_start(end.log_offset.cast_unsigned()));
        let path = path
            .strip_prefix(self.inspection.layout.root())
            .map_or_else(|_| path.clone(), Path::to_path_buf);
        let (severity, what) = match (self.inspection.usage, more) {
            (Usage::Live(_), None) => (
                Severity::Note,
                "a record is being written".to_owned(),
            ),
            (Usage::Crashed, None) => (
                Severity::Warning,
                "a torn record, which the next start cuts off".to_owned(),
            ),
            (Usage::Closed, None) => (
                Severity::Error,
                "a damaged record after a clean stop: restore the file from a copy, or give up what follows by creating an empty file named abort in the data directory".to_owned(),
            ),
            (Usage::Closed, Some(more)) => (
                Severity::Error,
                format!("damage in the middle of the log, as {more}: restore the file from a copy, or give up what follows by creating an empty file named abort in the data directory"),
            ),
            (Usage::Crashed | Usage::Live(_), Some(more)) => (
                Severity::Error,
                format!("damage in the middle of the log, as {more}: restore the file from a copy before the next start, which may cut the log there"),
            ),
        };
        findings.push(Finding {
            severity,
            path,
            what: format!("log offset {}: {what} ({reason})", end.log_offset),
            rebuild: None,
            repairable: severity == Severity::Warning,
        });
    }

    fn judge_queues(&self, end: &LogEnd, damaged: bool, findings: &mut Vec<Finding>) {
        let live = matches!(self.inspection.usage, Usage::Live(_));
        for found in &self.inspection.queues {
            let queue = &found.queue;
            let Some(state) = self
                .queues
                .get(&**queue.topic())
                .and_then(|queues| queues.get(&queue.queue_id()))
            else {
                continue;
            };
            let dir = queue.units.dir();
            let path = dir
                .strip_prefix(self.inspection.layout.root())
                .unwrap_or(&dir)
                .to_path_buf();
            let finding = |severity, what, rebuild: bool| Finding {
                severity,
                path: path.clone(),
                what,
                rebuild: rebuild.then(|| path.clone()),
                repairable: true,
            };
            let stored = queue.max() - queue.min().min(queue.max());
            let beyond = found
                .last
                .is_some_and(|last| signed(last.log_offset) >= end.log_offset);
            if let Some(damage) = found.damage.as_ref().or(state.wrong.as_ref()) {
                findings.push(finding(Severity::Error, damage.clone(), true));
            } else if beyond && damaged {
                let what = "units point behind the damaged place of the log".to_owned();
                findings.push(Finding {
                    repairable: false,
                    ..finding(Severity::Warning, what, false)
                });
            } else if beyond {
                let what = "units point behind the end of the log".to_owned();
                findings.push(match self.inspection.usage {
                    Usage::Closed => finding(Severity::Error, what, true),
                    _ => finding(Severity::Warning, what, false),
                });
            } else if state.proven < stored {
                let what = format!(
                    "{} of {stored} units have no message in the log",
                    stored - state.proven
                );
                findings.push(finding(Severity::Error, what, true));
            }
            if state.missing > 0 {
                let what = format!("lacks the last {} messages", state.missing);
                findings.push(if live {
                    finding(
                        Severity::Note,
                        format!("{what}: its server has them in memory"),
                        false,
                    )
                } else {
                    finding(Severity::Warning, what, false)
                });
            }
        }
        for ((topic, queue_id), messages) in &self.lost {
            // of a topic that was removed
            if !self.known.contains(topic) && !self.known.is_empty() {
                continue;
            }
            let path: PathBuf = ["consumequeue", topic, &queue_id.to_string()]
                .iter()
                .collect();
            findings.push(Finding {
                severity: if live {
                    Severity::Note
                } else {
                    Severity::Error
                },
                path: path.clone(),
                what: format!("missing: the log has {messages} messages of it"),
                rebuild: Some(path),
                repairable: true,
            });
        }
    }

    fn judge_index(&self, end: &LogEnd, damaged: bool, findings: &mut Vec<Finding>) {
        let finding = |severity, what, rebuild: bool| Finding {
            severity,
            path: "index".into(),
            what,
            rebuild: rebuild.then(|| "index".into()),
            repairable: true,
        };
        let Some(views) = &self.inspection.index else {
            findings.push(finding(
                Severity::Warning,
                "the sizes of the files cannot be told: set maxHashSlotNum and maxIndexNum as they were".to_owned(),
                true,
            ));
            return;
        };
        if let Some(unreadable) = &self.keys.unreadable {
            let what = format!("{} cannot be read", unreadable.display());
            findings.push(finding(Severity::Warning, what, true));
        }
        let beyond = views.iter().filter_map(IndexView::range);
        if beyond
            .map(|(_, _, last)| last)
            .any(|last| last >= end.log_offset)
        {
            let what = if damaged {
                "keys of messages behind the damaged place of the log".to_owned()
            } else {
                "keys of messages behind the end of the log".to_owned()
            };
            findings.push(Finding {
                repairable: !damaged,
                ..finding(Severity::Warning, what, false)
            });
        }
        if self.keys.strays > 0 {
            let what = format!("{} keys lead to no message that has them", self.keys.strays);
            findings.push(finding(Severity::Warning, what, true));
        }
        if self.keys.missing > 0 {
            let what = format!("lacks {} keys", self.keys.missing);
            let live = matches!(self.inspection.usage, Usage::Live(_));
            let severity = if live {
                Severity::Note
            } else {
                Severity::Warning
            };
            findings.push(finding(severity, what, !live));
        }
    }
}

/// The units of all index files, compared with the keys of the records as both go on.
struct Keys<'a> {
    views: std::slice::Iter<'a, IndexView>,
    view: Option<&'a IndexView>,
    /// Keys of `view` that were read.
    read: u32,
    units: std::vec::IntoIter<(i32, i64)>,
    next: Option<(i32, i64)>,
    /// Keys of the record before, which a file's end may have split and Java then indexes twice.
    before: (i64, Vec<i32>),
    proven: u64,
    missing: u64,
    strays: u64,
    started: bool,
    unreadable: Option<PathBuf>,
}

impl<'a> Keys<'a> {
    fn new(views: &'a [IndexView]) -> Self {
        let mut keys = Self {
            views: views.iter(),
            view: None,
            read: 0,
            units: Vec::new().into_iter(),
            next: None,
            before: (-1, Vec::new()),
            proven: 0,
            missing: 0,
            strays: 0,
            started: false,
            unreadable: None,
        };
        keys.advance();
        keys
    }

    /// Steps to the next key, of the next file where one ends.
    fn advance(&mut self) {
        loop {
            self.next = self.units.next();
            if self.next.is_some() {
                return;
            }
            let Some(view) = self.view else {
                match self.views.next() {
                    Some(view) => {
                        self.view = Some(view);
                        self.read = 0;
                        continue;
                    }
                    None => return,
                }
            };
            match view.units(self.read, INDEX_WINDOW) {
                Ok(units) if units.is_empty() => self.view = None,
                Ok(units) => {
                    self.read += INDEX_WINDOW;
                    self.units = units.into_iter();
                }
                Err(_) => {
                    self.unreadable.get_or_insert_with(|| view.path.clone());
                    self.view = None;
                }
            }
        }
    }

    fn record(&mut self, stored: &Stored<'_>, marks: &Marks<'_>) {
        let at = stored.log_offset();
        while let Some((hash, offset)) = self.next.filter(|(_, offset)| *offset < at) {
            let again = offset == self.before.0 && self.before.1.contains(&hash);
            // before the first record: of messages that were removed from the log
            self.strays += u64::from(self.started && !again);
            self.advance();
        }
        self.started = true;
        let mut keys = Vec::new();
        keys_of(&stored.record, at.cast_unsigned(), marks, &mut keys);
        let hashes: Vec<i32> = keys.iter().map(|key| key.hash).collect();
        for hash in &hashes {
            if self.next == Some((*hash, at)) {
                self.proven += 1;
                self.advance();
            } else {
                self.missing += 1;
            }
        }
        self.before = (at, hashes);
    }
}
