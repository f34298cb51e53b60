//! One configuration file: replaced as a whole, its previous version kept as `.bak`. Java: `ConfigManager`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rocketry_protocol::body;
use serde::{Serialize, de::DeserializeOwned};

use super::unknown::Unknown;
use crate::{FileSystem, StoreError, WriteError, fs::OpenMode, number::size};

/// Largest file that is read: far beyond what a broker of a million topics writes.
const MAX_BYTES: u64 = 1 << 30;

/// A table and what its file has beyond it, or why the file is damaged.
type Content<T> = Result<(T, Option<Unknown>), String>;

/// A file of settings in Java's dialect of JSON, as [`Metadata`](super::Metadata) keeps its tables: a write replaces it as a whole and
/// keeps the version before it as `.bak`; a damaged one is read from there, and kept as `.damaged`.
#[derive(Debug)]
pub struct ConfigFile {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    name: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The file on disk could not be read; the next write keeps it aside.
    damaged: bool,
    /// Change that the file has.
    saved: u64,
    /// What the file has beyond the table.
    unknown: Option<Unknown>,
}

impl ConfigFile {
    /// Reads the file `name` in `dir`, or its `.bak` when it is missing, empty or damaged; `None` when neither can be read. Nothing is
    /// written. What was found is added to `notes`, for a person to read.
    ///
    /// # Errors
    /// The disk refused a read.
    pub fn open<T: DeserializeOwned + Serialize>(
        fs: &Arc<dyn FileSystem>,
        dir: &Path,
        name: &'static str,
        notes: &mut Vec<String>,
    ) -> Result<(Self, Option<T>), StoreError> {
        let mut file = Self {
            fs: Arc::clone(fs),
            dir: dir.to_path_buf(),
            name,
            state: Mutex::new(State {
                damaged: false,
                saved: 0,
                unknown: None,
            }),
        };
        let value = match file.read(&file.path(""))? {
            Some(Ok((value, unknown))) => {
                file.state.get_mut().unknown = unknown;
                return Ok((file, Some(value)));
            }
            Some(Err(reason)) => {
                file.state.get_mut().damaged = true;
                notes.push(format!(
                    "{} is damaged ({reason}); it will be kept as {name}.damaged",
                    file.label("")
                ));
                file.backup(notes)?
            }
            None => file.backup(notes)?,
        };
        Ok((file, value))
    }

    fn backup<T: DeserializeOwned + Serialize>(
        &mut self,
        notes: &mut Vec<String>,
    ) -> Result<Option<T>, StoreError> {
        match self.read(&self.path(".bak"))? {
            Some(Ok((value, unknown))) => {
                self.state.get_mut().unknown = unknown;
                notes.push(format!(
                    "{} was used, its previous version",
                    self.label(".bak")
                ));
                Ok(Some(value))
            }
            Some(Err(reason)) => {
                notes.push(format!(
                    "{} is damaged ({reason}); the table starts empty",
                    self.label(".bak")
                ));
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// The content of a file and what it has beyond it; `None` when it is missing or empty.
    fn read<T: DeserializeOwned + Serialize>(
        &self,
        path: &Path,
    ) -> Result<Option<Content<T>>, StoreError> {
        let read = || {
            let file = match self.fs.open(path, OpenMode::Read) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            let len = file.length()?;
            if len > MAX_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let mut bytes = vec![0; size(len)];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        let bytes = read().map_err(StoreError::io("read", path))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(match body::decode(&bytes) {
            Ok(value) => {
                let unknown = Unknown::of(&bytes, &value);
                Ok((value, unknown))
            }
            Err(error) => Err(error.to_string()),
        }))
    }

    /// Writes `value()` unless the file has `change` already, a number that grows with every change: into a temporary file, which then
    /// takes the place of the old one.
    ///
    /// # Errors
    /// The file could not be written; the next call tries again.
    pub fn save<T: Serialize>(
        &self,
        change: u64,
        value: impl FnOnce() -> T,
    ) -> Result<(), StoreError> {
        self.save_after(change, value, || Ok(()))
    }

    /// [`ConfigFile::save`] that writes the value only if `first`, called once it is taken, succeeds.
    pub(crate) fn save_after<T: Serialize>(
        &self,
        change: u64,
        value: impl FnOnce() -> T,
        first: impl FnOnce() -> Result<(), WriteError>,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.saved >= change {
            return Ok(());
        }
        let main = self.path("");
        let value = value();
        first().map_err(|error| StoreError::io("write", &main)(io::Error::other(error)))?;
        let text = match &state.unknown {
            None => body::encode_pretty(&value),
            Some(unknown) => unknown.encode_with(&value),
        };
        let text = text.map_err(|error| {
            StoreError::io("encode", &main)(io::Error::new(io::ErrorKind::InvalidData, error))
        })?;
        let write = || {
            self.fs.create_dir(&self.dir)?;
            let temporary = self.path(".tmp");
            let file = self.fs.open(&temporary, OpenMode::Truncate)?;
            file.write_all_at(&text, 0)?;
            file.sync()?;
            let aside = self.path(if state.damaged { ".damaged" } else { ".bak" });
            match self.fs.rename(&main, &aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.fs.rename(&temporary, &main)?;
            self.fs.sync_dir(&self.dir)
        };
        write().map_err(StoreError::io("write", &main))?;
        state.damaged = false;
        state.saved = change;
        Ok(())
    }

    /// The name below the data directory.
    fn label(&self, suffix: &str) -> String {
        let dir = self.dir.file_name().unwrap_or_default();
        format!("{}/{}{suffix}", dir.to_string_lossy(), self.name)
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.dir.join(format!("{}{suffix}", self.name))
    }
}
