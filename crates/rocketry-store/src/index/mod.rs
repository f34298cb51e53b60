//! The key index: files that find messages by unique id, keys and tag. Java: `IndexService`
//!
//! Keys of new messages wait in memory and are written in batches by the flusher. A batch is a transaction: while a file is being
//! written its header names an end time that the checkpoint does not confirm, so that after a crash, here as in Java, the file counts
//! as damaged and is removed; the keys since the last confirmed batch are taken from the log again.

mod audit;
mod digest;
mod file;
mod key;
mod waiting;

use std::{
    io,
    ops::{ControlFlow, RangeInclusive},
    path::{Path, PathBuf},
    sync::Arc,
};

use self::file::{Header, IndexFile};
pub(crate) use self::{
    audit::{Audit, Audited},
    digest::Digest,
    key::{IndexKey, hash_of, keys_of},
    waiting::WaitingKeys,
};
use crate::{
    FileSystem, Layout, ReadError, StoreError,
    fs::{Entry, OpenMode},
    metadata::{IndexState, IndexSum, IndexSums},
    number::signed,
};

/// The index of a store. The flusher writes, readers query.
#[derive(Debug)]
pub(crate) struct Index {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    sizes: Sizes,
    /// Names of all files, in order; the newest is the one written to.
    names: Vec<String>,
    newest: Option<IndexFile>,
    /// End time that the checkpoint confirms, ms.
    confirmed_ms: i64,
    /// What is known of files: of the newest only what the last stop knew, to which keys may have been added.
    sums: IndexSums,
    /// What of the files as found is to be looked at.
    audit: Audit,
}

/// What an index is opened with.
#[derive(Debug)]
pub(crate) struct OpenIndex<'a> {
    pub(crate) sizes: Sizes,
    /// End time that the checkpoint confirms, ms.
    pub(crate) confirmed_ms: i64,
    /// Whether files are believed without the checkpoint's word, as after a clean stop.
    pub(crate) clean: bool,
    /// What the files were at the last clean stop.
    pub(crate) known: &'a IndexState,
    /// Start of the log.
    pub(crate) log_min: i64,
}

/// An index as found, and the first and last log offset of each file that should be there and is not.
pub(crate) type OpenedIndex = (Index, Vec<(i64, i64)>);

/// What all index files of a directory share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Hash slots.
    pub(crate) slots: u32,
    /// Units, the first, unused one included.
    pub(crate) units: u32,
}

impl Sizes {
    pub(crate) const fn file_bytes(self) -> u64 {
        file::HEADER_BYTES + 4 * self.slots as u64 + 20 * self.units as u64
    }
}

impl Index {
    /// Opens the files in the index directory. After a stop that was not clean, files that the checkpoint does not confirm are removed.
    /// What the files hold is left to [`Audit`].
    ///
    /// `None`, with a note, when the files' sizes cannot be told: then they are left alone and not continued.
    pub(crate) fn open(
        fs: &Arc<dyn FileSystem>,
        layout: &Layout,
        options: &OpenIndex<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Option<OpenedIndex>, StoreError> {
        let &OpenIndex {
            confirmed_ms,
            clean,
            known,
            ..
        } = options;
        let dir = layout.index();
        let mut found: Vec<Entry> = match fs.list(&dir) {
            Ok(entries) => entries.into_iter().filter(|entry| !entry.is_dir).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StoreError::io("read directory", dir)(error)),
        };
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let fault = |path: &Path| {
            let path = path.to_path_buf();
            move |error| StoreError::io("open index file", path)(error)
        };
        // begun and never given its length
        while let Some(empty) = found.pop_if(|entry| entry.len == 0) {
            let path = dir.join(empty.name);
            fs.remove(&path).map_err(fault(&path))?;
        }
        let lost = lost(options, &found, notes);
        let mut sizes = options.sizes;
        let is_known = found
            .iter()
            .any(|entry| known.files.contains_key(&entry.name))
            && known.slots > 0
            && known.units > 1;
        if is_known {
            sizes.slots = known.slots;
            sizes.units = known.units;
        }
        // a file of another length than it had, or than the others have, is damaged: the keys are taken from the log again
        let wrong = |entry: &&Entry| entry.len != sizes.file_bytes();
        if let Some(damaged) = found.iter().find(wrong)
            && (is_known || !found.iter().all(|entry| wrong(&entry)))
        {
            notes.push(format!(
                "index/{} has {} bytes; the index is built again",
                damaged.name, damaged.len
            ));
            for entry in found.drain(..) {
                let path = dir.join(entry.name);
                fs.remove(&path).map_err(fault(&path))?;
            }
            sizes = options.sizes;
        }
        let lens: Vec<u64> = found.iter().map(|entry| entry.len).collect();
        let newest_first = found.iter().rev().map(|entry| dir.join(&entry.name));
        let sizes = if lens.iter().all(|len| *len == sizes.file_bytes()) {
            sizes
        } else if let Some(sizes) = file::find_sizes(&**fs, newest_first, &lens)
            .map_err(StoreError::io("read index files in", &dir))?
        {
            sizes
        } else {
            notes.push(format!(
                "{}: the files are not of {} slots and {} units; set the sizes as in broker.conf (maxHashSlotNum, maxIndexNum). They are left alone, and new messages are not found by key",
                dir.display(), sizes.slots, sizes.units
            ));
            return Ok(None);
        };
        let mut index = Self {
            fs: Arc::clone(fs),
            dir,
            sizes,
            names: found.into_iter().map(|entry| entry.name).collect(),
            newest: None,
            confirmed_ms,
            sums: options.known.files.clone(),
            audit: Audit::default(),
        };
        let names = &index.names;
        index.sums.retain(|name, _| names.contains(name));
        while let Some(name) = index.names.last() {
            let path = index.dir.join(name);
            let file = index.open_file(name).map_err(fault(&path))?;
            let is_confirmed = clean || file.header.end_ms <= confirmed_ms;
            if file.is_sane() && is_confirmed {
                index.newest = Some(file);
                break;
            }
            notes.push(if is_confirmed {
                format!("index/{name} has a header that cannot be there; built again")
            } else {
                format!("index/{name} was being written when the store stopped; built again")
            });
            index.remove_newest().map_err(fault(&path))?;
        }
        if let Some((damaged, why)) = index.first_damaged().map_err(fault(&index.dir))? {
            let name = index
                .remove_from(damaged)
                .map_err(fault(&index.dir))?
                .unwrap_or_default();
            notes.push(format!("index/{name} {why}; built again from there on"));
        }
        index.audit = Audit::new(&index.names);
        Ok(Some((index, lost)))
    }

    /// The first file whose header does not fit the file, the one before, or what the last stop knew of it; and what is wrong.
    fn first_damaged(&self) -> io::Result<Option<(usize, &'static str)>> {
        let mut end_offset = 0;
        for (at, name) in self.names.iter().enumerate() {
            let path = self.dir.join(name);
            let file = IndexFile::open(&*self.fs, &path, self.sizes, OpenMode::Read)?;
            let header = &file.header;
            if !file.is_sane() || (header.count > 1 && header.begin_offset < end_offset) {
                return Ok(Some((at, "does not follow the file before it")));
            }
            let known = self.sums.get(name);
            if known.is_some_and(|sum| !header.continues(sum)) {
                return Ok(Some((at, "is not as the last stop left it")));
            }
            end_offset = header.end_offset;
        }
        Ok(None)
    }

    /// Opens a file to write to it.
    fn open_file(&self, name: &str) -> io::Result<IndexFile> {
        let path = self.dir.join(name);
        let mut file = IndexFile::open(&*self.fs, &path, self.sizes, OpenMode::Write)?;
        file.digest = self.sum_at(name, file.header.count);
        Ok(file)
    }

    /// The check sums of a file whose next free unit is `count`, if it is known what they should be.
    fn digest_of(&self, name: &str, count: u32) -> Option<Digest> {
        match &self.newest {
            Some(newest) if self.names.last().is_some_and(|last| last == name) => newest.digest,
            _ => self.sum_at(name, count),
        }
    }

    fn sum_at(&self, name: &str, count: u32) -> Option<Digest> {
        let sum = self.sums.get(name).filter(|sum| sum.count == count)?;
        Some(Digest {
            units: sum.units,
            slots: sum.slots,
        })
    }

    /// Notes check sums that an [`Audit`] found.
    pub(crate) fn set_sum(&mut self, name: String, sum: IndexSum) {
        if let Some(newest) = &mut self.newest
            && self.names.last() == Some(&name)
            && newest.header.count == sum.count
        {
            newest.digest = Some(Digest {
                units: sum.units,
                slots: sum.slots,
            });
        }
        self.sums.insert(name, sum);
    }

    /// What is known of the files, for the next start.
    pub(crate) fn state(&self) -> IndexState {
        let mut sums = self.sums.clone();
        if let (Some(name), Some(newest)) = (self.names.last(), &self.newest)
            && let Some(digest) = newest.digest
        {
            sums.insert(name.clone(), newest.header.sum(digest));
        }
        // the first keys set where a file begins
        sums.retain(|_, sum| sum.count > 1);
        IndexState {
            slots: self.sizes.slots,
            units: self.sizes.units,
            files: sums,
        }
    }

    /// Whether files of the state `known` are not there, or not any more.
    pub(crate) fn lacks_some(&self, known: &IndexState) -> bool {
        known.files.keys().any(|name| !self.sums.contains_key(name))
    }

    /// What is still to be looked at.
    pub(crate) fn audit_mut(&mut self) -> &mut Audit {
        &mut self.audit
    }

    /// First and last log offset of each file, in order; `None` for one without keys.
    pub(crate) fn ranges(&self) -> io::Result<Vec<Option<(i64, i64)>>> {
        let range = |name: &String| {
            let path = self.dir.join(name);
            let file = IndexFile::open(&*self.fs, &path, self.sizes, OpenMode::Read)?;
            let header = file.header;
            Ok((header.count > 1).then_some((header.begin_offset, header.end_offset)))
        };
        self.names.iter().map(range).collect()
    }

    /// Removes the file at place `from` of the order, and all newer ones. Returns its name.
    pub(crate) fn remove_from(&mut self, from: usize) -> io::Result<Option<String>> {
        let name = self.names.get(from).cloned();
        while self.names.len() > from {
            self.remove_newest()?;
        }
        self.open_newest()?;
        Ok(name)
    }

    /// The place of a file in the order.
    pub(crate) fn place_of(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|other| other == name)
    }

    /// Log offset of the newest message with a key in the index, and whether some of its keys may be missing.
    pub(crate) fn end(&self) -> Option<(u64, bool)> {
        let newest = self.newest.as_ref()?;
        let offset = u64::try_from(newest.header.end_offset).ok()?;
        // a full file may have split the keys of its last message with the next one, which a file just begun is
        Some((offset, newest.is_full() || newest.header.count <= 1))
    }

    /// End time that the checkpoint may confirm, ms.
    pub(crate) const fn confirmed_ms(&self) -> i64 {
        self.confirmed_ms
    }

    /// Log offset and store time of the newest indexed message.
    pub(crate) fn newest(&self) -> Option<(i64, i64)> {
        let newest = self.newest.as_ref().map(|file| file.header);
        newest.map(|header| (header.end_offset, header.end_ms))
    }

    /// Offers the log offset of every key with this hash whose store time may lie in `times` to `take`, newest first, until that
    /// says that it has enough. Java: `IndexService.queryOffset`
    pub(crate) fn query(
        &self,
        hash: i32,
        times: &RangeInclusive<i64>,
        mut take: impl FnMut(i64) -> Result<ControlFlow<()>, ReadError>,
    ) -> Result<(), ReadError> {
        for (n, name) in self.names.iter().enumerate().rev() {
            let opened;
            let file = match &self.newest {
                Some(newest) if n + 1 == self.names.len() => newest,
                _ => {
                    let path = self.dir.join(name);
                    opened = IndexFile::open(&*self.fs, &path, self.sizes, OpenMode::Read)
                        .map_err(ReadError::new("index", path))?;
                    &opened
                }
            };
            let fault = || ReadError::new("index", self.dir.join(name));
            let mut chain = file.chain(hash, times.clone()).map_err(fault())?;
            while let Some(log_offset) = chain.next().map_err(fault())? {
                if take(log_offset)?.is_break() {
                    return Ok(());
                }
            }
            // a file without keys says nothing about those before it
            if file.header.count > 1 && file.header.begin_ms < *times.start() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Removes files with keys of messages at `log_end` or behind: the log was cut.
    pub(crate) fn cut(&mut self, log_end: u64) -> io::Result<bool> {
        let mut removed = false;
        while let Some(newest) = &self.newest
            && newest.header.count > 1
            && newest.header.end_offset >= signed(log_end)
        {
            removed = true;
            self.remove_newest()?;
            self.open_newest()?;
        }
        Ok(removed)
    }

    /// Opens the newest file, unless it is open or there is none.
    pub(crate) fn open_newest(&mut self) -> io::Result<()> {
        if self.newest.is_none()
            && let Some(name) = self.names.last()
        {
            self.newest = Some(self.open_file(name)?);
        }
        Ok(())
    }

    /// The files in `dir`, for reading only. `None` when their sizes cannot be told.
    pub(crate) fn inspect(
        fs: &Arc<dyn FileSystem>,
        dir: &Path,
        sizes: Sizes,
    ) -> io::Result<Option<Vec<IndexView>>> {
        let mut found = match fs.list(dir) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        found.retain(|entry| !entry.is_dir && entry.len > 0);
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let lens: Vec<u64> = found.iter().map(|entry| entry.len).collect();
        let newest_first = found.iter().rev().map(|entry| dir.join(&entry.name));
        let sizes = if lens.iter().all(|len| *len == sizes.file_bytes()) {
            sizes
        } else {
            match file::find_sizes(&**fs, newest_first, &lens)? {
                Some(sizes) => sizes,
                None => return Ok(None),
            }
        };
        let view = |entry: &Entry| {
            let path = dir.join(&entry.name);
            let file = IndexFile::open(&**fs, &path, sizes, OpenMode::Read)?;
            Ok(IndexView { path, sizes, file })
        };
        found.iter().map(view).collect::<io::Result<_>>().map(Some)
    }

    /// Removes the files that only have keys of messages before `log_min`; the newest stays. Java: `IndexService.deleteExpiredFile`
    pub(crate) fn retire(&mut self, log_min: i64) -> io::Result<()> {
        while self.names.len() > 1
            && let Some(name) = self.names.first()
        {
            let path = self.dir.join(name);
            let file = IndexFile::open(&*self.fs, &path, self.sizes, OpenMode::Read)?;
            if file.header.end_offset >= log_min {
                return Ok(());
            }
            self.fs.remove(&path)?;
            let name = self.names.remove(0);
            self.sums.remove(&name);
        }
        Ok(())
    }

    /// Removes the newest file.
    pub(crate) fn remove_newest(&mut self) -> io::Result<()> {
        self.newest = None;
        if let Some(name) = self.names.last() {
            match self.fs.remove(&self.dir.join(name)) {
                // a file that came back after a clean stop would be believed
                Ok(()) => self.fs.sync_dir(&self.dir)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            if let Some(name) = self.names.pop() {
                self.sums.remove(&name);
            }
        }
        Ok(())
    }

    /// Writes `keys`, which are in log order, and syncs them. Returns the end time that the checkpoint may confirm. `now_ms` names a
    /// new file.
    ///
    /// # Errors
    /// Keys from some point on are not in the index, [`Index::end`] says from where. A file that holds a part of them is gone.
    pub(crate) fn write(&mut self, mut keys: &[IndexKey], now_ms: i64) -> Result<i64, IndexFault> {
        self.open_newest()?;
        while !keys.is_empty() {
            let mut file = match self.newest.take() {
                Some(file) if !file.is_full() => file,
                before => match self.create(before.as_ref().map(|file| file.header), now_ms) {
                    Ok(file) => {
                        self.keep_sum(before);
                        file
                    }
                    Err(error) => {
                        self.newest = before;
                        return Err(error.into());
                    }
                },
            };
            let (now, later) = keys.split_at(keys.len().min(file.room()));
            let written = file.write(now, self.confirmed_ms);
            let end_ms = file.header.end_ms;
            self.newest = Some(file);
            if let Err(fault) = written {
                let left_damaged = fault.damaged && self.remove_newest().is_err();
                return Err(IndexFault {
                    error: fault.error,
                    left_damaged,
                });
            }
            self.confirmed_ms = self.confirmed_ms.max(end_ms);
            keys = later;
        }
        Ok(self.confirmed_ms)
    }

    /// Keeps what is known of the file that was full when the newest one was begun.
    fn keep_sum(&mut self, full: Option<IndexFile>) {
        if let Some(full) = full
            && let Some(digest) = full.digest
            && let Some(name) = self.names.iter().nth_back(1)
        {
            self.sums.insert(name.clone(), full.header.sum(digest));
        }
    }

    /// Begins a file, which takes over where the one before ended. One that cannot be made whole is removed.
    fn create(&mut self, before: Option<Header>, now_ms: i64) -> io::Result<IndexFile> {
        let mut name = file_name(now_ms);
        if let Some(last) = self.names.last()
            && *last >= name
        {
            // names must grow, whatever the clock says
            name = last
                .parse::<u64>()
                .map_or_else(|_| format!("{last}0"), |last| format!("{:017}", last + 1));
        }
        let path = self.dir.join(&name);
        let make = || {
            self.fs.create_dir(&self.dir)?;
            let file = IndexFile::create(&*self.fs, &path, self.sizes, before)?;
            self.fs.sync_dir(&self.dir)?;
            if let Some(parent) = self.dir.parent() {
                self.fs.sync_dir(parent)?;
            }
            Ok(file)
        };
        let file = make().inspect_err(|_: &io::Error| {
            // what may be left of it has no keys
            let _ = self.fs.remove(&path);
        })?;
        self.names.push(name);
        Ok(file)
    }
}

/// Why keys were not written.
#[derive(Debug)]
pub(crate) struct IndexFault {
    pub(crate) error: io::Error,
    /// A file that holds a part of a batch could not be removed: after a clean stop the next start would believe it.
    pub(crate) left_damaged: bool,
}

impl From<io::Error> for IndexFault {
    fn from(error: io::Error) -> Self {
        Self {
            error,
            left_damaged: false,
        }
    }
}

/// One file that is only read.
#[derive(Debug)]
pub(crate) struct IndexView {
    pub(crate) path: PathBuf,
    pub(crate) sizes: Sizes,
    file: IndexFile,
}

impl IndexView {
    /// Times of the oldest and the newest message, ms, and the log offset of the newest; `None` without any.
    pub(crate) fn range(&self) -> Option<(i64, i64, i64)> {
        let header = &self.file.header;
        (header.count > 1).then_some((header.begin_ms, header.end_ms, header.end_offset))
    }

    /// Number of keys.
    pub(crate) fn keys(&self) -> u32 {
        self.file.header.count.saturating_sub(1)
    }

    /// Hash and log offset of at most `count` keys from number `from` on, oldest first; none behind the last.
    pub(crate) fn units(&self, from: u32, count: u32) -> io::Result<Vec<(i32, i64)>> {
        self.file.units(from, count)
    }
}

/// Notes the files that the last stop knew and that are not among those `found`, although the log has their messages. Returns the first
/// and last log offset of each.
fn lost(options: &OpenIndex<'_>, found: &[Entry], notes: &mut Vec<String>) -> Vec<(i64, i64)> {
    let is_found = |name: &String| found.iter().any(|entry| entry.name == *name);
    let mut lost = Vec::new();
    for (name, sum) in &options.known.files {
        if sum.end_offset >= options.log_min && !is_found(name) {
            notes.push(format!("index/{name} is missing; built again"));
            lost.push((sum.begin_offset, sum.end_offset));
        }
    }
    lost
}

/// `yyyyMMddHHmmssSSS` in local time. Java: `UtilAll.timeMillisToHumanString`
fn file_name(now_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(now_ms)
        .unwrap_or_default()
        .to_zoned(jiff::tz::TimeZone::system());
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}{:03}",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}
