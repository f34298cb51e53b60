//! The files of a directory before and after an owner: what one wrote the next must leave as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Result;

const UNIT_BYTES: usize = 20;

/// What lies in a directory that nobody uses.
#[derive(Debug)]
pub(super) struct Files {
    /// Lengths, by path below the directory.
    bytes: BTreeMap<PathBuf, u64>,
    /// Contents of commit log, consume queues and index.
    contents: BTreeMap<PathBuf, Vec<u8>>,
    log_end: i64,
}

impl Files {
    pub(super) fn read(dir: &Path, log_end: i64) -> Result<Self> {
        let mut files = Self {
            bytes: BTreeMap::new(),
            contents: BTreeMap::new(),
            log_end,
        };
        files.collect(dir, Path::new(""))?;
        Ok(files)
    }

    fn collect(&mut self, root: &Path, below: &Path) -> Result {
        for entry in std::fs::read_dir(root.join(below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.collect(root, &path)?;
                continue;
            }
            if ["commitlog", "consumequeue", "index"]
                .map(Path::new)
                .contains(&top(&path))
            {
                self.contents
                    .insert(path.clone(), std::fs::read(entry.path())?);
            }
            self.bytes.insert(path, entry.metadata()?.len());
        }
        Ok(())
    }

    /// Whether a configuration file has left its previous version: Java removes the file before it renames the new one.
    fn has_backup(&self, path: &Path) -> bool {
        let backup = path.with_added_extension("bak");
        top(path) == Path::new("config") && self.bytes.contains_key(&backup)
    }

    /// Fails unless `after` has the same files with the same lengths and what was in them, but for what an owner may do: write on,
    /// prepare or drop empty files, bring files of its own, and, `killed`, begin the last index files anew
    /// and leave the previous version alone of a configuration file.
    pub(super) fn same_in(&self, after: &Self, killed: bool) -> Result {
        for (path, bytes) in &self.bytes {
            match after.bytes.get(path) {
                Some(now) if now == bytes || is_free(path) => {}
                Some(now) => {
                    return Err(
                        format!("{} had {bytes} bytes and has {now}", path.display()).into(),
                    );
                }
                None if path == Path::new("abort") || is_javas_own(path) || self.is_empty(path) => {
                }
                None if killed && top(path) == Path::new("index") => {}
                None if killed && after.has_backup(path) => {}
                None => return Err(format!("{} is gone", path.display()).into()),
            }
        }
        for path in after.bytes.keys() {
            if !self.bytes.contains_key(path) && !after.is_known(path) {
                return Err(format!(
                    "{} has come, {:?} bytes",
                    path.display(),
                    after.bytes.get(path)
                )
                .into());
            }
        }
        for (path, before) in &self.contents {
            let Some(now) = after.contents.get(path) else {
                continue;
            };
            let same = match top(path).to_str() {
                Some("commitlog") => {
                    let end = self.log_end - start(path)?;
                    let end = usize::try_from(end.max(0))?.min(before.len());
                    before.get(..end) == now.get(..end)
                }
                Some("consumequeue") => before
                    .chunks(UNIT_BYTES)
                    .zip(now.chunks(UNIT_BYTES))
                    .all(|(before, now)| before == now || !self.is_unit(before)),
                _ => killed || self.is_newest_index(path) || before == now,
            };
            if !same {
                return Err(format!("what was in {} is not there any more", path.display()).into());
            }
        }
        Ok(())
    }

    /// Fails unless there is more than one file of the log, of a queue and of the index.
    pub(super) fn are_many(&self) -> Result {
        for dir in ["commitlog", "consumequeue/tk_plain/0", "index"] {
            let files = self
                .bytes
                .keys()
                .filter(|path| path.starts_with(dir))
                .count();
            if files < 2 {
                return Err(format!(
                    "{dir} has {files} files: the handover of several is not shown"
                )
                .into());
            }
        }
        Ok(())
    }

    /// A unit that is in use and leads to a message.
    fn is_unit(&self, unit: &[u8]) -> bool {
        let number = |range| {
            let bytes: Option<[u8; 8]> = unit
                .get(range)
                .and_then(|bytes: &[u8]| bytes.try_into().ok());
            bytes.map_or(0, i64::from_be_bytes)
        };
        // size and the upper half of the tags code
        number(8..16) != 0 && number(0..8) < self.log_end
    }

    /// Prepared, and never written to.
    fn is_empty(&self, path: &Path) -> bool {
        match top(path).to_str() {
            Some("commitlog") => start(path).is_ok_and(|start| start >= self.log_end),
            Some("consumequeue" | "index") => self
                .contents
                .get(path)
                .is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0)),
            _ => false,
        }
    }

    fn is_newest_index(&self, path: &Path) -> bool {
        let index = |path: &&PathBuf| top(path) == Path::new("index");
        self.contents.keys().rfind(index).map(PathBuf::as_path) == Some(path)
    }

    /// Of a kind that Java's broker has, and as long as its like.
    fn is_known(&self, path: &Path) -> bool {
        let like = |path: &Path| {
            let bytes = self.bytes.get(path);
            self.bytes
                .iter()
                .filter(|(other, _)| top(other) == top(path))
                .all(|(_, other)| Some(other) == bytes)
        };
        match top(path).to_str() {
            Some("commitlog" | "consumequeue" | "index" | "timerlog") => like(path),
            Some("config") => true,
            _ => is_free(path) || is_javas_own(path) || path == Path::new("timerwheel"),
        }
    }
}

/// Settings and marks, which may have any length.
fn is_free(path: &Path) -> bool {
    let name = path.to_string_lossy();
    ["config/", "checkpoint", "abort", "lock"]
        .iter()
        .any(|free| name.starts_with(free))
}

/// What Java's broker makes at every start for features that are off.
fn is_javas_own(path: &Path) -> bool {
    [
        "rocksdbstore",
        "compaction",
        "kvStore",
        "consumequeue_rocksdb",
    ]
    .map(Path::new)
    .contains(&top(path))
}

/// The directory, or the file, in the root.
fn top(path: &Path) -> &Path {
    path.iter().next().map_or(path, Path::new)
}

/// The offset that a numbered file begins at.
fn start(path: &Path) -> Result<i64> {
    let name = path.file_name().ok_or("no file")?;
    Ok(name.to_string_lossy().parse()?)
}
