//! Every file and directory name below the root of a data directory. Nobody else joins paths.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    FileSystem, StoreError,
    fs::{Entry, FileLock, LockFailure, OpenMode},
};

/// Names that a RocketMQ server makes in its root directory.
const ROOT_NAMES: &[&str] = &[
    "commitlog",
    "consumequeue",
    "consumequeue_ext",
    "batchconsumequeue",
    "index",
    "timerwheel",
    "timerlog",
    "checkpoint",
    "abort",
    "abort.bak",
    "lock",
    "config",
    "compaction",
    "rocksdbstore",
    "kvStore",
    "consumequeue_rocksdb",
];

/// The paths of one data directory.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of the commit log.
    pub fn commit_log(&self) -> PathBuf {
        self.root.join("commitlog")
    }

    /// Directory of all plain consume queues: `<topic>/<queue id>/<20 digits>`.
    pub fn consume_queues(&self) -> PathBuf {
        self.root.join("consumequeue")
    }

    /// Directory of all batch consume queues, laid out as the plain ones.
    pub fn batch_consume_queues(&self) -> PathBuf {
        self.root.join("batchconsumequeue")
    }

    /// Directory of the index files.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// The timer wheel.
    pub fn timer_wheel(&self) -> PathBuf {
        self.root.join("timerwheel")
    }

    /// Directory of the timer log.
    pub fn timer_log(&self) -> PathBuf {
        self.root.join("timerlog")
    }

    /// The checkpoint file.
    pub fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    /// Marks a store that is open or was not closed.
    pub fn abort(&self) -> PathBuf {
        self.root.join("abort")
    }

    /// The file whose first byte is locked while the store is open.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Directory of the configuration files.
    pub fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// One configuration file, e.g. `topics.json`.
    pub fn config_file(&self, name: &str) -> PathBuf {
        self.config().join(name)
    }

    /// Name of a numbered file: its start offset in 20 digits.
    pub fn numbered(start: u64) -> String {
        format!("{start:020}")
    }

    /// Refuses a path that is not a directory, or a directory with content that is not a store's. An absent directory is created.
    pub(crate) fn claim(&self, fs: &dyn FileSystem) -> Result<(), StoreError> {
        match fs.list(&self.root) {
            Ok(entries) => self.check_content(&entries)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs
                .create_dir(&self.root)
                .map_err(StoreError::io("create data directory", &self.root))?,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(StoreError::NotADirectory {
                    path: self.root.clone(),
                });
            }
            Err(error) => return Err(StoreError::io("read data directory", &self.root)(error)),
        }
        // the names on the way to the directory may be new, if not by this start then by one that was cut short
        for above in self.root.ancestors().skip(1) {
            match fs.sync_dir(above) {
                Err(error) if !cannot_be_synced(&error) => {
                    return Err(StoreError::io("sync directory", above)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses what [`Layout::claim`] refuses, and what is not there, without writing anything.
    pub(crate) fn recognise(&self, fs: &dyn FileSystem) -> Result<(), StoreError> {
        match fs.list(&self.root) {
            Ok(entries) => self.check_content(&entries),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                Err(StoreError::NotADirectory {
                    path: self.root.clone(),
                })
            }
            Err(error) => Err(StoreError::io("read data directory", &self.root)(error)),
        }
    }

    fn check_content(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let known = |entry: &Entry| {
            ROOT_NAMES.contains(&entry.name.as_str()) || entry.name.starts_with("timerwheel.")
        };
        match entries.iter().find(|entry| entry.name != "lost+found") {
            Some(first) if !entries.iter().any(known) => Err(StoreError::NotAStore {
                dir: self.root.clone(),
                found: first.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Takes the lock that a Java broker takes.
    pub(crate) fn take_lock(&self, fs: &dyn FileSystem) -> Result<FileLock, StoreError> {
        fs.lock(&self.lock()).map_err(|failure| match failure {
            LockFailure::Held(holder) => StoreError::InUse {
                dir: self.root.clone(),
                holder,
            },
            LockFailure::Io(error) => StoreError::io("lock", self.lock())(error),
        })
    }

    /// Whether the last user of the directory did not close it.
    pub(crate) fn was_aborted(&self, fs: &dyn FileSystem) -> Result<bool, StoreError> {
        let entries = fs
            .list(&self.root)
            .map_err(StoreError::io("read data directory", &self.root))?;
        Ok(entries.iter().any(|entry| entry.name == "abort"))
    }

    /// Writes the abort marker durably. Java: the process id as text.
    pub(crate) fn mark_open(&self, fs: &dyn FileSystem) -> Result<(), StoreError> {
        let path = self.abort();
        let write = || {
            let file = fs.open(&path, OpenMode::Truncate)?;
            file.write_all_at(std::process::id().to_string().as_bytes(), 0)?;
            file.sync()?;
            fs.sync_dir(&self.root)
        };
        write().map_err(StoreError::io("write", &path))
    }

    /// Removes the abort marker durably.
    pub(crate) fn mark_closed(&self, fs: &dyn FileSystem) -> io::Result<()> {
        fs.remove(&self.abort())?;
        fs.sync_dir(&self.root)
    }
}

/// A directory that this process may not open, or the empty end of a relative path: not ours to care for.
fn cannot_be_synced(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
    )
}

/// The start offsets in a directory of numbered files, in order, each with its length. An absent directory has none. Sub-directories
/// are skipped, as Java does, but for one in the place of a file, which could not be written.
pub(crate) fn numbered_files(
    fs: &dyn FileSystem,
    dir: &Path,
) -> Result<Vec<(u64, u64)>, StoreError> {
    let entries = match fs.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read directory", dir)(error)),
    };
    let mut files = Vec::with_capacity(entries.len());
    for entry in entries {
        let start = (entry.name.len() == 20)
            .then(|| entry.name.parse().ok())
            .flatten();
        let path = || dir.join(&entry.name);
        if entry.is_dir {
            if start.is_some() {
                return Err(StoreError::io("open", path())(
                    io::ErrorKind::IsADirectory.into(),
                ));
            }
            continue;
        }
        let start = start.ok_or_else(|| StoreError::ForeignFile { path: path() })?;
        files.push((start, entry.len));
    }
    files.sort_unstable();
    Ok(files)
}
