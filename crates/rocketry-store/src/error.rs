//! What can go wrong with a data directory, each with the path it happened to and what to do about it.

use std::{io, path::PathBuf, sync::Arc};

/// Why a directory was not opened. Nothing was written to it unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another open in this one, works on the directory.
    #[error(
        "data directory {} is in use{}; stop that server, or choose another directory",
        dir.display(),
        holder.map_or_else(String::new, |pid| format!(" by process {pid}"))
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// Process id of the holder, where the system tells it.
        holder: Option<u32>,
    },
    /// The directory has content that no RocketMQ store has.
    #[error(
        "{} is not empty and not a RocketMQ data directory (found {found:?}); choose an empty directory or an existing store",
        dir.display()
    )]
    NotAStore {
        /// The directory.
        dir: PathBuf,
        /// One of the names found in it.
        found: String,
    },
    /// The path names something that is not a directory.
    #[error("{} is not a directory; choose a directory for the data", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// A file whose length does not fit its neighbours or its kind.
    #[error("{}: length is {found} bytes, expected {expected}: {reason}", path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The length it should have.
        expected: u64,
        /// Why that length is expected and what to do.
        reason: &'static str,
    },
    /// A file in the middle of the commit log or of a consume queue is missing.
    #[error(
        "{}: file {expected:020} is missing before {found:020}; restore it from a copy, or move the files after it away",
        dir.display()
    )]
    MissingFile {
        /// The directory of numbered files.
        dir: PathBuf,
        /// Start offset of the missing file.
        expected: u64,
        /// Start offset of the file found instead.
        found: u64,
    },
    /// There are consume queues and no commit log.
    #[error(
        "{}: no commit log, but there are consume queues that point into one. Mount or restore it; to start empty, remove consumequeue and index",
        dir.display()
    )]
    LostLog {
        /// The directory of the commit log.
        dir: PathBuf,
    },
    /// A name that no RocketMQ server makes, where numbered files are expected.
    #[error(
        "{}: a file name of 20 digits was expected here; Apache RocketMQ would not start on this directory either: move the file away",
        path.display()
    )]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
    /// The commit log has an invalid record although the last stop was clean and more was stored.
    #[error(
        "{}: no valid record at log offset {offset}, but more was stored behind it before a clean stop, so nothing was cut. Restore the file from a copy, or give up everything from there on by creating an empty file named abort in the data directory",
        path.display()
    )]
    DamagedLog {
        /// The commit-log file.
        path: PathBuf,
        /// Log offset of the record.
        offset: u64,
    },
    /// Settings outside their bounds.
    #[error("store options: {}", faults.join("; "))]
    BadOptions {
        /// Name and broken bound of each.
        faults: Vec<String>,
    },
    /// The system refused an operation.
    #[error("{what} {}: {source}{}", path.display(), hint(source))]
    Io {
        /// What was being done, e.g. `open`.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; the server needs to read and write this path"
        }
        io::ErrorKind::IsADirectory => "; a file belongs here: move the directory away",
        io::ErrorKind::NotADirectory => "; a directory belongs here: move the file away",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space first",
        _ => "",
    }
}

impl StoreError {
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// Why messages were not stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The body is larger than [`StoreOptions::max_message_bytes`](crate::StoreOptions::max_message_bytes), or the record does not
    /// fit a commit-log file.
    #[error("message of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Bytes of the body, or of the record or batch.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The property text is longer than a record can hold.
    #[error("properties of {bytes} bytes exceed the limit of 32767")]
    PropertiesTooLong {
        /// Bytes of the property text.
        bytes: usize,
    },
    /// A topic, queue id or batch that cannot be stored.
    #[error("{what} cannot be stored: {reason}")]
    Invalid {
        /// What was refused.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The disk did not take the data.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A write or sync of the log that failed, and what that means for the messages it was for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct WriteError {
    pub(crate) kind: WriteErrorKind,
    pub(crate) message: Arc<str>,
    #[source]
    pub(crate) source: Option<Arc<io::Error>>,
}

/// What kind of failure a [`WriteError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteErrorKind {
    /// No space; the store goes on once there is some.
    DiskFull,
    /// The system refused a write; the next one may succeed.
    Io,
    /// A sync failed, now or earlier: the store takes no more messages until it is opened anew.
    ReadOnly,
    /// The store was closed.
    Closed,
}

impl WriteError {
    /// What kind of failure it is.
    pub const fn kind(&self) -> WriteErrorKind {
        self.kind
    }

    /// Whether messages of the failed commit may be found after the next start: they were written, and the sync failed.
    pub const fn maybe_stored(&self) -> bool {
        matches!(self.kind, WriteErrorKind::ReadOnly)
    }

    pub(crate) fn new(
        what: &str,
        path: &std::path::Path,
        free: Option<u64>,
        required: u64,
        source: io::Error,
    ) -> Self {
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        let message = match (full, free) {
            (true, Some(free)) => full_disk(&format!("{what} "), path, free, required),
            _ => format!("{what} {}: {source}", path.display()),
        };
        Self {
            kind: if full {
                WriteErrorKind::DiskFull
            } else {
                WriteErrorKind::Io
            },
            message: message.into(),
            source: Some(Arc::new(source)),
        }
    }

    pub(crate) fn read_only(reason: &str) -> Self {
        Self {
            kind: WriteErrorKind::ReadOnly,
            message: format!(
                "the store is read-only: {reason}; restart the server once the disk is healthy"
            )
            .into(),
            source: None,
        }
    }

    pub(crate) fn closed() -> Self {
        Self {
            kind: WriteErrorKind::Closed,
            message: "the store is closed".into(),
            source: None,
        }
    }
}

/// What is said of a full disk: the path, the free space, and how much there has to be where that is known.
pub(crate) fn full_disk(what: &str, path: &std::path::Path, free: u64, required: u64) -> String {
    let required = if free < required {
        format!(", at least {required} are required")
    } else {
        String::new()
    };
    format!(
        "{what}{}: disk full, {free} bytes free{required}; free some space, sends then go on",
        path.display()
    )
}

/// A read that the disk or the data refused.
#[derive(Debug, thiserror::Error)]
#[error("read of {what} in {}: {source}", path.display())]
pub struct ReadError {
    pub(crate) what: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl ReadError {
    /// The file.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    pub(crate) fn new(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self { what, path, source }
    }
}
