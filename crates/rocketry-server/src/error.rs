//! Why a server could not start or stop: what was tried, and what to do.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

/// A failure to start or stop a server. Nothing has been written to the data directory when [`Server::start`](crate::Server::start) returns one of the first four.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Values that cannot work, all of them.
    #[error("configuration: {}", faults.join("; "))]
    Config {
        /// One text per fault.
        faults: Vec<String>,
    },
    /// The address is taken.
    #[error(
        "{role} cannot listen on {addr}: the port is in use by another process. Stop it, or choose another port (0 = any free port)"
    )]
    PortInUse {
        /// `name server` or `broker`.
        role: &'static str,
        /// The address tried.
        addr: SocketAddr,
    },
    /// The address cannot be listened on for another reason.
    #[error("{role} cannot listen on {addr}")]
    Listen {
        /// `name server` or `broker`.
        role: &'static str,
        /// The address tried.
        addr: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process holds the data directory, or its content is not a RocketMQ store.
    #[error("data directory {}", dir.display())]
    DataDirUnusable {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        source: rocketry_store::StoreError,
    },
    /// The store failed.
    #[error("store in {}", dir.display())]
    Store {
        /// The data directory.
        dir: PathBuf,
        /// The store's error.
        source: rocketry_store::StoreError,
    },
    /// The last write failed. What was acknowledged is kept as far as [`FlushMode`](crate::FlushMode) promises; the next start recovers.
    #[error("data directory {} was not closed", dir.display())]
    CloseFailed {
        /// The data directory.
        dir: PathBuf,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file beside the store, or a thread, could not be had.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The server did not stop in time. What was acknowledged is written, but the next start runs a recovery.
    #[error("the server did not stop within {waited:?}: {pending}")]
    ShutdownTimeout {
        /// The time given.
        waited: Duration,
        /// What was still running.
        pending: &'static str,
    },
}
