//! Numbered files of equal units that grow at the end: what a consume queue is made of.
//!
//! New units wait in memory, where readers see them at once, and are written behind: a message then costs a copy of its unit, and a
//! system call only once per many. Units that were not written when the process ended are derived from the commit log again.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    Layout,
    file_cache::FileCache,
    fs::{File, FileSystem},
    number::size,
};

/// What all unit files of one kind share.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) cache: Arc<FileCache>,
    /// Has a directory for each topic, with one for each queue in it.
    pub(crate) parent: PathBuf,
    /// Bytes of a file.
    pub(crate) file_bytes: u64,
    /// Stands for units before the first one, in a file that does not begin with it; as long as a unit.
    pub(crate) filler: &'static [u8],
}

/// What [`UnitFiles::settle`] left to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    /// Units wait to be written.
    pub(crate) waiting: bool,
    /// Units that were written before may not be on disk.
    pub(crate) unsynced: bool,
    /// Bytes of waiting units that the files held already.
    pub(crate) dropped_bytes: usize,
}

/// The files of one queue. There may be very many of them, and every message meets another: what can be worked out is not kept.
#[derive(Debug)]
pub(crate) struct UnitFiles {
    files: Arc<Files>,
    topic: Arc<str>,
    queue_id: i32,
    /// Key in the file cache.
    owner: u32,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Index of the first unit of the first file; of the first unit to come while there is no file.
    first: u64,
    /// Units before it are in files.
    written: u64,
    /// Units before it are on disk.
    synced: u64,
    /// The units from `written` on.
    pending: Vec<u8>,
    /// Whether a file was created since the directory was synced.
    names_pending: bool,
}

impl UnitFiles {
    /// The files of a queue, which hold units `first..end`. `owner` is a number that no other queue of the store has.
    pub(crate) fn new(
        files: Arc<Files>,
        owner: u32,
        (topic, queue_id): (Arc<str>, i32),
        (first, end): (u64, u64),
    ) -> Self {
        Self {
            files,
            topic,
            queue_id,
            owner,
            inner: Mutex::new(Inner {
                first,
                written: end,
                synced: end,
                pending: Vec::new(),
                names_pending: false,
            }),
        }
    }

    /// The queue's topic.
    pub(crate) const fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The queue's number within its topic.
    pub(crate) const fn queue_id(&self) -> i32 {
        self.queue_id
    }

    /// A number that no other queue of the store has, counted from 1.
    pub(crate) const fn owner(&self) -> u32 {
        self.owner
    }

    /// Where the files are.
    pub(crate) fn dir(&self) -> PathBuf {
        let topic_dir = self.files.parent.join(&*self.topic);
        topic_dir.join(self.queue_id.to_string())
    }

    fn unit_bytes(&self) -> u64 {
        self.files.filler.len() as u64
    }

    fn file_start(&self, position: u64) -> u64 {
        position / self.files.file_bytes * self.files.file_bytes
    }

    fn path(&self, start: u64) -> PathBuf {
        self.dir().join(Layout::numbered(start))
    }

    fn file(&self, start: u64) -> io::Result<Arc<dyn File>> {
        self.files.cache.get(self.owner, start, || self.path(start))
    }

    /// Index of the first unit of the first file.
    pub(crate) fn first(&self) -> u64 {
        self.inner.lock().first
    }

    /// Index behind the last unit.
    pub(crate) fn end(&self) -> u64 {
        let inner = self.inner.lock();
        inner.written + inner.pending.len() as u64 / self.unit_bytes()
    }

    /// Sets the index of the first unit of a queue without files. Returns the bytes of waiting units, which are dropped.
    pub(crate) fn begin_at(&self, index: u64) -> usize {
        let mut inner = self.inner.lock();
        let dropped = inner.pending.len();
        inner.pending.clear();
        inner.first = index;
        inner.written = index;
        inner.synced = index;
        dropped
    }

    /// Appends whole units. Returns whether nothing was waiting to be written before.
    pub(crate) fn push(&self, append: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut inner = self.inner.lock();
        let was_clean = inner.pending.is_empty();
        append(&mut inner.pending);
        was_clean
    }

    /// Appends the units `index..index + count` to `out`, fewer at the end of the queue.
    pub(crate) fn read(&self, index: u64, count: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let unit = self.unit_bytes();
        let (written, tail) = {
            let inner = self.inner.lock();
            let pending = inner.pending.len() as u64 / unit;
            let end = (index + count).min(inner.written + pending);
            // copied under the lock: the flusher may write and drop them right after
            let tail = if end > inner.written {
                let from = index.max(inner.written) - inner.written;
                let range = size(from * unit)..size((end - inner.written) * unit);
                inner.pending.get(range).unwrap_or_default().to_vec()
            } else {
                Vec::new()
            };
            (inner.written, tail)
        };
        self.read_written(index, (index + count).min(written), out)?;
        out.extend_from_slice(&tail);
        Ok(())
    }

    /// Appends units `from..to`, all of them in files, to `out`.
    fn read_written(&self, from: u64, to: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let (mut at, end) = (from * self.unit_bytes(), to * self.unit_bytes());
        while at < end {
            let start = self.file_start(at);
            let stop = end.min(start + self.files.file_bytes);
            let old = out.len();
            out.resize(old + size(stop - at), 0);
            self.file(start)?
                .read_exact_at(out.get_mut(old..).unwrap_or_default(), at - start)?;
            at = stop;
        }
        Ok(())
    }

    /// The first index of `from..to` whose unit does not satisfy `wanted`, where all that do come before all that do not.
    pub(crate) fn partition(
        &self,
        from: u64,
        to: u64,
        mut wanted: impl FnMut(u64, &[u8]) -> io::Result<bool>,
    ) -> io::Result<u64> {
        let (mut low, mut high) = (from, to);
        let mut unit = Vec::with_capacity(self.files.filler.len());
        while low < high {
            let middle = low + (high - low) / 2;
            unit.clear();
            self.read(middle, 1, &mut unit)?;
            if wanted(middle, &unit)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Forgets the units from `end` on without touching the files. Recovery derives them again and then calls [`UnitFiles::settle`].
    pub(crate) fn forget_from(&self, end: u64) {
        let mut inner = self.inner.lock();
        inner.pending.clear();
        inner.written = end.max(inner.first);
        inner.synced = inner.written;
    }

    /// Ends recovery: drops waiting units that the files hold already, and wipes what the files hold behind the end, so that it can
    /// never be taken for units again. `files_end` is the index behind the last file. What was derived again counts as not synced.
    /// After a `clean` stop zeros behind the end are believed to go on.
    pub(crate) fn settle(&self, files_end: u64, clean: bool) -> io::Result<Settled> {
        let unit = self.files.filler.len();
        let (written, waiting) = {
            let inner = self.inner.lock();
            (inner.written, (inner.pending.len() / unit) as u64)
        };
        let mut found = Vec::new();
        let in_files = (written + waiting).min(files_end).max(written);
        self.read_written(written, in_files, &mut found)?;
        let settled = {
            let mut inner = self.inner.lock();
            let same = found
                .chunks_exact(unit)
                .zip(inner.pending.chunks_exact(unit))
                .take_while(|(found, waiting)| found == waiting)
                .count();
            inner.pending.drain(..same * unit);
            inner.written += same as u64;
            inner.names_pending |= waiting > 0;
            Settled {
                waiting: !inner.pending.is_empty(),
                unsynced: waiting > 0,
                dropped_bytes: same * unit,
            }
        };
        self.wipe(written + waiting, files_end, clean)?;
        Ok(settled)
    }

    /// Makes the units `from..files_end` zeros; files that hold nothing else are removed.
    fn wipe(&self, from: u64, files_end: u64, clean: bool) -> io::Result<()> {
        let (at, end) = (from * self.unit_bytes(), files_end * self.unit_bytes());
        if at >= end {
            return Ok(());
        }
        let keep = self.file_start(at);
        let mut start = self.file_start(end - 1);
        while start > keep {
            self.remove(start)?;
            start -= self.files.file_bytes;
        }
        // a file without units goes too, unless its name alone says where the queue's numbers go on
        let first = self.first();
        if at == keep && (first == 0 || from > first) {
            return self.remove(keep);
        }
        let file = self.file(keep)?;
        let mut head = vec![0; self.files.filler.len()];
        file.read_exact_at(&mut head, at - keep)?;
        // an untouched end stays untouched: a start on a healthy store writes nothing
        if !clean || head.iter().any(|byte| *byte != 0) {
            file.zero_range(at - keep, self.files.file_bytes - (at - keep))?;
        }
        Ok(())
    }

    fn remove(&self, start: u64) -> io::Result<()> {
        self.files.cache.forget(self.owner, start);
        self.files.fs.remove(&self.path(start))
    }

    /// Removes all files, the last one first: what a crash leaves is a queue that ends earlier. The queue is to be begun anew.
    pub(crate) fn remove_files(&self) -> io::Result<()> {
        let entries = match self.files.fs.list(&self.dir()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut starts: Vec<u64> = entries
            .iter()
            .filter(|entry| !entry.is_dir && entry.name.len() == 20)
            .filter_map(|entry| entry.name.parse().ok())
            .collect();
        starts.sort_unstable();
        for start in starts.into_iter().rev() {
            self.remove(start)?;
        }
        Ok(())
    }

    /// Removes the directory with all its files. Returns the bytes that waited to be written.
    pub(crate) fn remove_all(&self) -> io::Result<usize> {
        let waiting = std::mem::take(&mut self.inner.lock().pending).len();
        self.remove_files()?;
        self.files.fs.remove_empty_dir(&self.dir())?;
        Ok(waiting)
    }

    /// Removes the files that hold only units before number `keep`; the last one stays. Only the flusher calls it.
    pub(crate) fn retire(&self, keep: u64) -> io::Result<()> {
        let unit = self.unit_bytes();
        loop {
            let start = {
                let mut inner = self.inner.lock();
                let start = self.file_start(inner.first * unit);
                let end = start + self.files.file_bytes;
                if end > keep * unit || end >= inner.written * unit {
                    return Ok(());
                }
                inner.first = end / unit;
                inner.synced = inner.synced.max(inner.first);
                start
            };
            match self.remove(start) {
                // the whole queue was removed meanwhile
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }

    /// Writes the waiting units, using `scratch` for the copy. Only the flusher calls it; readers and the writer go on meanwhile.
    /// Returns the bytes written, and whether more units arrived in the meantime.
    pub(crate) fn write_pending(&self, scratch: &mut Vec<u8>) -> io::Result<(usize, bool)> {
        let unit = self.unit_bytes();
        let written = {
            let inner = self.inner.lock();
            scratch.clear();
            scratch.extend_from_slice(&inner.pending);
            inner.written
        };
        let mut at = written * unit;
        let mut rest = scratch.as_slice();
        while !rest.is_empty() {
            let start = self.file_start(at);
            let (now, later) =
                rest.split_at(rest.len().min(size(start + self.files.file_bytes - at)));
            self.open_or_create(start, at)?
                .write_all_at(now, at - start)?;
            at += now.len() as u64;
            rest = later;
        }
        let mut inner = self.inner.lock();
        inner.pending.drain(..scratch.len());
        // a queue that is idle from now on keeps no memory, and there may be very many
        if inner.pending.is_empty() {
            inner.pending = Vec::new();
        }
        inner.written += scratch.len() as u64 / unit;
        Ok((scratch.len(), !inner.pending.is_empty()))
    }

    /// The file at `start`; a new one is given its full length, and fillers up to position `at`.
    fn open_or_create(&self, start: u64, at: u64) -> io::Result<Arc<dyn File>> {
        if at > start.max(self.first() * self.unit_bytes()) {
            // It has the unit before, and so its length.
            match self.file(start) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
        }
        let path = || self.path(start);
        let created = |file: &dyn File| {
            self.inner.lock().names_pending = true;
            let before = size((at - start) / self.unit_bytes());
            file.write_all_at(&self.files.filler.repeat(before), 0)
        };
        self.files
            .cache
            .get_or_create(self.owner, start, path, self.files.file_bytes, created)
    }

    /// Makes everything written durable. Directories whose names changed are added to `directories`, for the caller to sync once.
    pub(crate) fn sync(&self, directories: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let unit = self.unit_bytes();
        let (from, to) = {
            let mut inner = self.inner.lock();
            if std::mem::take(&mut inner.names_pending) {
                directories.extend(self.dir().ancestors().take(4).map(Path::to_path_buf));
            }
            (inner.synced * unit, inner.written * unit)
        };
        let mut start = self.file_start(from);
        while start < to {
            self.file(start)?.sync()?;
            start += self.files.file_bytes;
        }
        self.inner.lock().synced = to / unit;
        Ok(())
    }

    /// Notes that everything written, and all names, are on disk by other means. Only the flusher calls it, which is who writes.
    pub(crate) fn set_synced(&self) {
        let mut inner = self.inner.lock();
        inner.synced = inner.written;
        inner.names_pending = false;
    }
}
