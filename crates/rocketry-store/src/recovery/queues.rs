//! The files of the consume queues as found, and what of them can be kept.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    FileSystem, Layout, StoreError,
    commit_log::{CommitLog, check_record},
    consume_queue::{ConsumeQueue, QueueKind, Unit},
    fs::OpenMode,
    layout::numbered_files,
    metadata::QueueEnds,
    number::signed,
    queue_table::QueueTable,
};

/// The consume-queue files of one kind.
#[derive(Debug)]
pub(crate) struct QueueFiles {
    kind: QueueKind,
    parent: PathBuf,
    /// Length of a file: the most common one, as single files may be damaged.
    pub(crate) file_bytes: u64,
    queues: Vec<FoundQueue>,
}

#[derive(Debug)]
struct FoundQueue {
    topic: String,
    queue_id: i32,
    /// Start and length of each file.
    files: Vec<(u64, u64)>,
}

impl QueueFiles {
    /// Finds all queues below `parent`; `default_bytes` is the file length of a new directory.
    pub(crate) fn find(
        fs: &dyn FileSystem,
        parent: &Path,
        kind: QueueKind,
        default_bytes: u64,
    ) -> Result<Self, StoreError> {
        let mut queues = Vec::new();
        for topic in directories(fs, parent)? {
            let dir = parent.join(&topic);
            for id in directories(fs, &dir)? {
                // Java skips directories whose names are no numbers
                if let Ok(queue_id) = id.parse::<i32>()
                    && queue_id >= 0
                    && queue_id.to_string() == id
                {
                    queues.push(FoundQueue {
                        files: numbered_files(fs, &dir.join(&id))?,
                        topic: topic.clone(),
                        queue_id,
                    });
                }
            }
        }
        let mut lengths: HashMap<u64, usize> = HashMap::new();
        for (_, len) in queues.iter().flat_map(|queue| &queue.files) {
            *lengths.entry(*len).or_default() += 1;
        }
        let file_bytes = lengths
            .into_iter()
            .filter(|(len, _)| *len > 0 && len.is_multiple_of(kind.unit_bytes() as u64))
            .max_by_key(|(len, count)| (*count, *len))
            .map_or(default_bytes, |(len, _)| len);
        Ok(Self {
            kind,
            parent: parent.to_path_buf(),
            file_bytes,
            queues,
        })
    }

    pub(crate) fn has_files(&self) -> bool {
        self.queues.iter().any(|queue| !queue.files.is_empty())
    }

    /// The topics that have queues of this kind.
    pub(crate) fn topics(&self) -> HashSet<String> {
        self.queues
            .iter()
            .map(|queue| queue.topic.clone())
            .collect()
    }

    /// Adds every queue to the table, with the units that its files hold.
    pub(crate) fn load(
        self,
        table: &QueueTable,
        loaded: &mut Vec<LoadedQueue>,
        notes: &mut Vec<String>,
    ) -> io::Result<()> {
        for found in self.queues {
            if table.kind_of(&found.topic) == self.kind {
                loaded.push(LoadedQueue::load(found, self.file_bytes, table)?);
            } else {
                notes.push(format!(
                    "{}: the topic has queues of the other kind, these are left alone",
                    self.parent.join(&found.topic).display()
                ));
            }
        }
        Ok(())
    }
}

fn directories(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<String>, StoreError> {
    match fs.list(dir) {
        Ok(entries) => Ok(entries
            .into_iter()
            .filter(|entry| entry.is_dir)
            .map(|entry| entry.name)
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StoreError::io("read directory", dir)(error)),
    }
}

/// A queue with its files.
#[derive(Debug)]
pub(crate) struct LoadedQueue {
    pub(crate) queue: Arc<ConsumeQueue>,
    /// Start and length of each file with content.
    files: Vec<(u64, u64)>,
    /// Start of a last file of length 0.
    empty: Option<u64>,
    /// The last valid unit.
    pub(crate) last: Option<Unit>,
    /// Why the files cannot be used.
    pub(crate) damage: Option<String>,
}

impl LoadedQueue {
    fn load(mut found: FoundQueue, file_bytes: u64, table: &QueueTable) -> io::Result<Self> {
        let empty = found
            .files
            .pop_if(|(_, len)| *len == 0)
            .map(|(start, _)| start);
        let unit = table.kind_of(&found.topic).unit_bytes() as u64;
        let first = found.files.first().map_or(0, |(start, _)| *start);
        let damage = found
            .files
            .iter()
            .zip((0..).map(|n| first + n * file_bytes))
            .find_map(|((start, len), expected)| {
                if *len != file_bytes {
                    Some(format!("file {start:020} has {len} bytes"))
                } else if *start != expected {
                    Some(format!("file {expected:020} is missing"))
                } else if !start.is_multiple_of(file_bytes) {
                    Some(format!(
                        "file {start:020} has a name that is no file's start"
                    ))
                } else {
                    None
                }
            });
        // its directory is made with its first file
        let has_none = found.files.is_empty() && empty.is_none();
        let damage = damage.or_else(|| has_none.then(|| "its files are missing".to_owned()));
        let files_end = found
            .files
            .last()
            .map_or(0, |(start, _)| (start + file_bytes) / unit);
        let range = if damage.is_some() {
            (0, 0)
        } else {
            (first / unit, files_end)
        };
        let queue = table.get_or_add(&found.topic, found.queue_id, range);
        let mut loaded = Self {
            queue,
            files: found.files,
            empty,
            last: None,
            damage,
        };
        if loaded.damage.is_none() && files_end > 0 {
            loaded.find_end(range)?;
        }
        Ok(loaded)
    }

    /// Finds the end of the valid units.
    fn find_end(&mut self, (first, files_end): (u64, u64)) -> io::Result<()> {
        let (kind, units) = (self.queue.kind, &self.queue.units);
        let valid = |index, bytes: &[u8]| Ok(kind.decode(bytes, index).is_some());
        // most queues end within the first page of their last file
        let last_file = self
            .files
            .last()
            .map_or(first, |(start, _)| start / kind.unit_bytes() as u64);
        let mut head = Vec::new();
        units.read(last_file, (4096 / kind.unit_bytes()) as u64, &mut head)?;
        let in_head = head
            .chunks_exact(kind.unit_bytes())
            .position(|unit| kind.decode(unit, last_file).is_none());
        let end = match in_head {
            Some(0) => units.partition(first, last_file, valid)?,
            Some(count) => last_file + count as u64,
            None => units.partition(last_file, files_end, valid)?,
        };
        if end > first {
            let last = self.queue.unit_at(end - 1)?;
            self.last = last.filter(|unit| !unit.is_pre_blank());
        }
        self.check_samples(first, end)?;
        if end < files_end && self.damage.is_none() {
            let mut next = Vec::new();
            self.queue.units.read(end, 1, &mut next)?;
            // a write that was not finished leaves zeros
            if next.iter().any(|byte| *byte != 0) {
                self.damage = Some(format!("unit {end} is damaged"));
            }
        }
        self.queue.forget_from(end)
    }

    /// Looks at the first, middle and last unit of every file: each must point behind the one before it. A file that was overwritten
    /// shows that way, at the cost of three short reads; single units are proven by `store check`.
    fn check_samples(&mut self, first: u64, end: u64) -> io::Result<()> {
        let unit_bytes = self.queue.kind.unit_bytes() as u64;
        let mut before = None;
        for (start, len) in &self.files {
            let (from, to) = (start / unit_bytes, (start + len) / unit_bytes);
            let to = to.min(end);
            for index in [from, from + (to.max(from) - from) / 2, to.saturating_sub(1)] {
                if index < first || index >= end {
                    continue;
                }
                let unit = self.queue.unit_at(index)?;
                let log_offset = unit.map(|unit| unit.log_offset);
                // the middle of a short file is one of its ends
                if log_offset.is_none() || log_offset < before {
                    self.damage = Some(format!("unit {index} is damaged"));
                    return Ok(());
                }
                before = log_offset;
            }
        }
        Ok(())
    }

    /// Notices that first files are gone which the queue had when the store was last closed. Where nothing tells what it had, a queue that
    /// begins in the middle although the log reaches further back is not believed.
    pub(crate) fn check_begin(&mut self, ends: &QueueEnds, log_min: u64) -> io::Result<()> {
        if self.damage.is_some() {
            return Ok(());
        }
        let (topic, id) = (&**self.queue.topic(), self.queue.queue_id());
        let index = self.queue.units.first();
        let unit = self.queue.unit_at(index)?;
        let first = match (self.queue.kind, unit) {
            (QueueKind::Plain, _) => index,
            (QueueKind::Batch, Some(unit)) => unit.queue_offset,
            (QueueKind::Batch, None) => return Ok(()),
        };
        self.damage = match (ends.begin(topic, id, log_min), unit) {
            (Some(begin), _) if first > begin => Some(format!(
                "it begins at {first}, and began at {begin} when the store was closed"
            )),
            (None, Some(unit)) if index > 0 && unit.log_offset > log_min => Some(format!(
                "it begins at {first}, and the commit log may have earlier messages of it"
            )),
            _ => None,
        };
        Ok(())
    }

    pub(crate) const fn is_damaged(&self) -> bool {
        self.damage.is_some()
    }

    /// Index behind the last unit that the files have room for.
    pub(crate) fn files_end(&self) -> u64 {
        match self.files.last() {
            Some((start, len)) if self.damage.is_none() => {
                (start + len) / self.queue.kind.unit_bytes() as u64
            }
            _ => 0,
        }
    }

    /// Keeps the units of records before log offset `from`: those behind are derived from the log. The last one kept must agree with
    /// the log, as must by that all before it.
    pub(crate) fn keep_before(&mut self, from: u64, log: &CommitLog) -> io::Result<()> {
        if self.damage.is_some() {
            return Ok(());
        }
        let (first, end) = (self.queue.units.first(), self.queue.units.end());
        let keep = if self.last.is_none_or(|last| last.log_offset >= from) {
            self.queue.first_from(from)?
        } else {
            end
        };
        if keep > first
            && let Some(unit) = self.queue.unit_at(keep - 1)?
            && !self.agrees(unit, log)?
        {
            self.damage = Some(format!(
                "unit {} points to log offset {}, where there is no such message",
                keep - 1,
                unit.log_offset
            ));
            return Ok(());
        }
        self.queue.forget_from(keep)
    }

    /// Whether the log has the message that the unit says it has. What was removed from the log cannot be asked.
    fn agrees(&self, unit: Unit, log: &CommitLog) -> io::Result<bool> {
        if unit.is_pre_blank() || unit.log_offset < log.min() {
            return Ok(true);
        }
        let file_end = log.file_start(unit.log_offset) + log.file_bytes();
        if unit.log_end() > file_end {
            return Ok(false);
        }
        let mut bytes = vec![0; unit.size as usize];
        match log.read(&mut bytes, unit.log_offset) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        }
        Ok(check_record(&bytes, unit.log_offset).is_ok_and(|record| {
            *record.topic == **self.queue.topic()
                && record.queue_id == self.queue.queue_id()
                && record.queue_offset == signed(unit.queue_offset)
        }))
    }

    /// Removes a file that was begun and never given its length, unless units have been written to it meanwhile.
    pub(crate) fn remove_empty(&self, fs: &dyn FileSystem) -> io::Result<()> {
        let Some(start) = self.empty else {
            return Ok(());
        };
        let path = self.queue.units.dir().join(Layout::numbered(start));
        let is_empty = fs
            .open(&path, OpenMode::Read)
            .and_then(|file| Ok(file.length()? == 0));
        match is_empty {
            Ok(true) => fs.remove(&path),
            Ok(false) => Ok(()),
            // with all others
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}
