//! Open files, a bounded number of them: a store may have more files than a process may open.

use std::{collections::HashMap, io, path::PathBuf, sync::Arc};

use parking_lot::Mutex;

use crate::fs::{File, FileSystem, OpenMode};

/// Files kept open at most. A soft limit of 1024 descriptors is common; the sockets need the rest.
const CAPACITY: usize = 384;

/// Recently used files, by owner (a queue, or the log) and start offset.
#[derive(Debug)]
pub(crate) struct FileCache {
    fs: Arc<dyn FileSystem>,
    /// How files that exist are opened.
    mode: OpenMode,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<(u32, u64), Cached>,
    uses: u64,
}

#[derive(Debug)]
struct Cached {
    file: Arc<dyn File>,
    last_use: u64,
}

impl FileCache {
    /// The owner that stands for the commit log.
    pub(crate) const LOG: u32 = 0;

    pub(crate) fn new(fs: Arc<dyn FileSystem>) -> Self {
        Self {
            fs,
            mode: OpenMode::Write,
            state: Mutex::default(),
        }
    }

    /// Files that are only read.
    pub(crate) fn read_only(fs: Arc<dyn FileSystem>) -> Self {
        Self {
            mode: OpenMode::Read,
            ..Self::new(fs)
        }
    }

    /// The file `start` of `owner`, opened when it is not open yet.
    pub(crate) fn get(
        &self,
        owner: u32,
        start: u64,
        path: impl FnOnce() -> PathBuf,
    ) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.find(owner, start) {
            return Ok(file);
        }
        let file = self.fs.open(&path(), self.mode)?;
        self.put(owner, start, Arc::clone(&file));
        Ok(file)
    }

    /// The file `start` of `owner`, created with length `len` when it is missing or was begun and never given its length; `created`
    /// is called with the file after that, before anything else sees it.
    pub(crate) fn get_or_create(
        &self,
        owner: u32,
        start: u64,
        path: impl FnOnce() -> PathBuf,
        len: u64,
        created: impl FnOnce(&dyn File) -> io::Result<()>,
    ) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.find(owner, start) {
            return Ok(file);
        }
        let path = path();
        let file = match self.fs.open(&path, OpenMode::Create) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(dir) = path.parent() {
                    self.fs.create_dir(dir)?;
                }
                self.fs.open(&path, OpenMode::Create)?
            }
            other => other?,
        };
        if file.length()? == 0 {
            file.set_len(len)?;
            created(&*file)?;
        }
        self.put(owner, start, Arc::clone(&file));
        Ok(file)
    }

    fn find(&self, owner: u32, start: u64) -> Option<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.uses += 1;
        let now = state.uses;
        let cached = state.files.get_mut(&(owner, start))?;
        cached.last_use = now;
        Some(Arc::clone(&cached.file))
    }

    fn put(&self, owner: u32, start: u64, file: Arc<dyn File>) {
        let mut state = self.state.lock();
        if state.files.len() >= CAPACITY {
            // dropping the older half at once makes the cost of finding them one step per file opened
            let mut uses: Vec<u64> = state.files.values().map(|cached| cached.last_use).collect();
            let middle = uses.len() / 2;
            let (_, median, _) = uses.select_nth_unstable(middle);
            let median = *median;
            state.files.retain(|_, cached| cached.last_use > median);
        }
        let last_use = state.uses;
        state
            .files
            .insert((owner, start), Cached { file, last_use });
    }

    /// Closes a file that is to be removed.
    pub(crate) fn forget(&self, owner: u32, start: u64) {
        self.state.lock().files.remove(&(owner, start));
    }
}
