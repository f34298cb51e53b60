//! Repairing a directory: what a start does not do by itself is prepared, then a start does the rest.

use std::{io, path::PathBuf};

use super::{Check, Finding, Inspection, Severity, Usage};
use crate::{Recovery, Store, StoreError, StoreOptions, WriteError};

/// What a repair will do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Directories of derived files to be removed; they are derived from the log again.
    pub remove: Vec<PathBuf>,
    /// Each step for a person to read.
    pub steps: Vec<String>,
}

impl Inspection {
    /// What repairing the directory takes, after `check`. Nothing for a directory without findings.
    ///
    /// # Errors
    /// The directory is in use; or the log itself is damaged, where a repair would drop what lies behind the damage.
    pub fn plan(&self, check: &Check) -> Result<Repair, StoreError> {
        if let Usage::Live(holder) = self.usage {
            return Err(StoreError::InUse {
                dir: self.layout.root().to_path_buf(),
                holder,
            });
        }
        if check
            .findings
            .iter()
            .any(|finding| finding.severity == Severity::Error && !finding.repairable)
        {
            let offset = check.end.log_offset.cast_unsigned();
            return Err(StoreError::DamagedLog {
                path: self.log.path(self.log.file_start(offset)),
                offset,
            });
        }
        let mut repair = Repair {
            remove: Vec::new(),
            steps: Vec::new(),
        };
        for finding in &check.findings {
            if let Some(dir) = &finding.rebuild
                && !repair.remove.contains(dir)
            {
                repair.remove.push(dir.clone());
                repair.steps.push(format!(
                    "remove {} and derive it from the commit log again",
                    dir.display()
                ));
            }
        }
        let by_start = |finding: &&Finding| finding.rebuild.is_none() && finding.repairable;
        for finding in check.findings.iter().filter(by_start) {
            repair.steps.push(format!(
                "recover {}: {}",
                finding.path.display(),
                finding.what
            ));
        }
        Ok(repair)
    }

    /// Does what `repair` says, and recovers the directory as a start does, under the directory's lock. `now_ms` is the present time.
    ///
    /// # Errors
    /// Somebody uses the directory by now: nothing was changed. A file could not be removed, or the store not be opened or closed.
    pub fn repair(self, repair: &Repair, now_ms: i64) -> Result<Recovery, StoreError> {
        let root = self.layout.root().to_path_buf();
        let lock = self.layout.take_lock(&*self.fs)?;
        for dir in &repair.remove {
            let path = root.join(dir);
            remove_tree(&*self.fs, &path).map_err(StoreError::io("remove", &path))?;
        }
        if !repair.remove.is_empty() {
            // without a checkpoint, and as after a crash, a start reads the whole log
            self.layout.mark_open(&*self.fs)?;
            let path = self.layout.checkpoint();
            match self.fs.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("remove", path)(error));
                }
                _ => {}
            }
        }
        let mut options = StoreOptions::default();
        if let Some(view) = self.index.iter().flatten().next() {
            options.index_slots = view.sizes.slots;
            options.index_units = view.sizes.units;
        }
        options.log_file_bytes = self.log_files.file_bytes;
        options.queue_file_bytes = self.queue_file_bytes;
        options.batch_queue_file_bytes = self.batch_queue_file_bytes;
        let (writer, _, recovery) =
            Store::open_locked(self.fs, self.layout, lock, options, now_ms, &mut |_| {})?;
        writer
            .close()
            .map_err(|error: WriteError| StoreError::io("close", root)(io::Error::other(error)))?;
        Ok(recovery)
    }
}

/// Removes a directory with the files and directories in it.
fn remove_tree(fs: &dyn crate::FileSystem, dir: &std::path::Path) -> io::Result<()> {
    let entries = match fs.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            remove_tree(fs, &path)?;
        } else {
            fs.remove(&path)?;
        }
    }
    fs.remove(dir)?;
    dir.parent().map_or(Ok(()), |parent| fs.sync_dir(parent))
}
