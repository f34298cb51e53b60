//! Persisting topics, groups and consumer offsets: one thread writes the files, whoever needs a change to be safe waits for it.
//!
//! Changes made in quick succession share one write. Consumer and delay offsets are written every 5 s, as in Java, but for those whose
//! loss would repeat something, and never ahead of the log that they speak of; topics and groups at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rocketry_store::{Metadata, StoreError, WriteError};
use tokio::time::Instant;

/// Time between two writes of offsets. Java: `flushConsumerOffsetInterval`.
const OFFSETS_EVERY: Duration = Duration::from_secs(5);

/// Told whether the change is on disk.
type Then = Box<dyn FnOnce(Result<(), NotWritten>) + Send>;

/// Why a change is not on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct NotWritten {
    pub(crate) reason: String,
    /// There was no space for it.
    pub(crate) disk_full: bool,
}

impl From<&StoreError> for NotWritten {
    fn from(error: &StoreError) -> Self {
        let disk_full = matches!(
            error,
            StoreError::Io { source, .. }
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        );
        Self {
            reason: error.to_string(),
            disk_full,
        }
    }
}

/// Hands work to the thread.
#[derive(Debug, Clone)]
pub(crate) struct MetadataHandle {
    shared: Arc<Shared>,
}

struct Shared {
    metadata: Arc<Metadata>,
    sync_log: Box<dyn Fn() -> Result<(), WriteError> + Send + Sync>,
    /// Most messages that wait for a write, and their bytes.
    most: Room,
    state: Mutex<State>,
    work: Condvar,
    /// Changes of topics or groups that were announced, and how many of them are on disk.
    changes: AtomicU64,
    written: AtomicU64,
}

struct Waiting {
    then: Then,
    /// Whether it waits for offsets as well.
    offsets: bool,
}

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Room {
    pub(crate) puts: usize,
    pub(crate) bytes: usize,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    /// What of `waiting` are messages.
    taken: Room,
    wanted: bool,
    offsets_wanted: bool,
    stopping: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metadata").finish_non_exhaustive()
    }
}

impl MetadataHandle {
    /// A topic or group changed: it will be written soon.
    pub(crate) fn changed(&self) {
        self.shared.changes.fetch_add(1, Ordering::AcqRel);
        self.shared.state.lock().wanted = true;
        self.shared.work.notify_one();
    }

    /// Offsets changed that are not to wait: they will be written soon.
    pub(crate) fn offsets_changed(&self) {
        let mut state = self.shared.state.lock();
        state.offsets_wanted = true;
        state.wanted = true;
        drop(state);
        self.shared.work.notify_one();
    }

    /// Whether every change announced so far is on disk.
    pub(crate) fn is_written(&self) -> bool {
        let changes = self.shared.changes.load(Ordering::Acquire);
        self.shared.written.load(Ordering::Acquire) >= changes
    }

    /// Takes room for a message of so many bytes, which will wait by [`MetadataHandle::after_write`].
    ///
    /// # Errors
    /// As many as may wait already; so many messages.
    pub(crate) fn take_room(&self, bytes: usize) -> Result<(), usize> {
        let taken = &mut self.shared.state.lock().taken;
        let most = self.shared.most;
        if taken.puts >= most.puts || (taken.bytes + bytes > most.bytes && taken.puts > 0) {
            return Err(taken.puts);
        }
        taken.puts += 1;
        taken.bytes += bytes;
        Ok(())
    }

    /// Calls `then` once every change made before this call is on disk, or could not be written.
    pub(crate) fn after_write(&self, then: impl FnOnce(Result<(), NotWritten>) + Send + 'static) {
        self.wait(Waiting {
            then: Box::new(then),
            offsets: false,
        });
    }

    /// [`MetadataHandle::after_write`] for a change of offsets, which are written at once.
    pub(crate) fn after_offsets(&self, then: impl FnOnce(Result<(), NotWritten>) + Send + 'static) {
        self.wait(Waiting {
            then: Box::new(then),
            offsets: true,
        });
    }

    fn wait(&self, waiting: Waiting) {
        let mut state = self.shared.state.lock();
        if state.stopping {
            drop(state);
            (waiting.then)(Err(NotWritten {
                reason: "the server is stopping".to_owned(),
                disk_full: false,
            }));
            return;
        }
        state.wanted = true;
        state.offsets_wanted |= waiting.offsets;
        state.waiting.push(waiting);
        drop(state);
        self.shared.work.notify_one();
    }

    /// Lets the thread write what is left, offsets included, and end.
    pub(crate) fn stop(&self) {
        self.shared.state.lock().stopping = true;
        self.shared.work.notify_one();
    }
}

/// Starts the thread. It ends after [`MetadataHandle::stop`], with the error of the last write if that failed. Offsets are written after
/// `sync_log`; messages that wait for a write take no more than `most`.
pub(crate) fn spawn(
    metadata: Arc<Metadata>,
    sync_log: impl Fn() -> Result<(), WriteError> + Send + Sync + 'static,
    most: Room,
) -> io::Result<(MetadataHandle, thread::JoinHandle<Result<(), StoreError>>)> {
    let shared = Arc::new(Shared {
        metadata,
        sync_log: Box::new(sync_log),
        most,
        state: Mutex::new(State {
            // What the start added to the tables.
            wanted: true,
            ..State::default()
        }),
        work: Condvar::new(),
        changes: AtomicU64::new(0),
        written: AtomicU64::new(0),
    });
    let handle = MetadataHandle {
        shared: Arc::clone(&shared),
    };
    let thread = thread::Builder::new()
        .name("rocketry-meta".to_owned())
        .spawn(move || run(&shared))?;
    Ok((handle, thread))
}

fn run(shared: &Shared) -> Result<(), StoreError> {
    let mut offsets_due = Instant::now() + OFFSETS_EVERY;
    loop {
        let Work {
            waiting,
            offsets,
            stopping,
        } = next(shared, offsets_due);
        let changes = shared.changes.load(Ordering::Acquire);
        let tables = [
            shared.metadata.topics.persist(),
            shared.metadata.groups.persist(),
        ];
        let tables: Result<(), _> = tables.into_iter().collect();
        if let Err(error) = &tables {
            tracing::error!(%error, "topics and groups were not written");
        }
        let mut with_offsets = Ok(());
        if offsets {
            with_offsets = shared.metadata.persist_offsets(&shared.sync_log);
        }
        if let Err(error) = &with_offsets {
            tracing::error!(%error, "offsets were not written");
        }
        let outcome = tables.as_ref().map(|&()| ()).map_err(NotWritten::from);
        let with_offsets = with_offsets.map_err(|error| NotWritten::from(&error));
        for Waiting { then, offsets } in waiting {
            let outcome = outcome.clone();
            then(if offsets {
                outcome.and_then(|()| with_offsets.clone())
            } else {
                outcome
            });
        }
        // Only now, so that sends that waited for their topic stay ahead of those that find it written.
        if tables.is_ok() {
            shared.written.store(changes, Ordering::Release);
        }
        if stopping {
            return shared.metadata.persist_after(&shared.sync_log);
        }
        if Instant::now() >= offsets_due {
            offsets_due = Instant::now() + OFFSETS_EVERY;
            if let Err(error) = shared.metadata.persist_after(&shared.sync_log) {
                tracing::error!(%error, "offsets were not written");
            }
        }
    }
}

/// What the thread has to do.
struct Work {
    waiting: Vec<Waiting>,
    /// Consumer offsets are to be written whatever the time.
    offsets: bool,
    stopping: bool,
}

/// Waits for a change, the time of the next offsets, or the end.
fn next(shared: &Shared, offsets_due: Instant) -> Work {
    let mut state = shared.state.lock();
    if !state.wanted && !state.stopping {
        shared.work.wait_until(&mut state, offsets_due.into_std());
    }
    state.wanted = false;
    state.taken = Room::default();
    Work {
        waiting: std::mem::take(&mut state.waiting),
        offsets: std::mem::take(&mut state.offsets_wanted),
        stopping: state.stopping,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{atomic::AtomicBool, mpsc};

    use rocketry_protocol::body::topics::TopicConfig;
    use rocketry_store::{Layout, Store, StoreOptions};

    use super::*;

    const ROOM: Room = Room {
        puts: 2,
        bytes: 100,
    };

    #[test]
    fn whoever_waits_is_called_after_the_write() {
        let dir = tempfile::tempdir().unwrap();
        let (_writer, reader, _) = Store::open(dir.path(), StoreOptions::default(), 0).unwrap();
        let file = |name| std::fs::read_to_string(Layout::new(dir.path()).config_file(name));
        let metadata = Arc::clone(reader.metadata());
        let (handle, thread) = spawn(Arc::clone(&metadata), || Ok(()), ROOM).unwrap();
        metadata.topics.put(TopicConfig::new("T", 1), 1);
        handle.changed();
        let (tell, told) = mpsc::channel();
        handle.after_write(move |outcome| tell.send(outcome).unwrap());
        told.recv().unwrap().unwrap();
        assert!(file("topics.json").unwrap().contains("\"T\""));
        metadata.consumer_offsets.set("G", "T", 0, 7, 1);
        handle.stop();
        thread.join().unwrap().unwrap();
        assert!(handle.is_written());
        assert!(file("consumerOffset.json").unwrap().contains("T@G"));
    }

    #[test]
    fn offsets_that_cannot_wait_are_written_with_the_next_change() {
        let dir = tempfile::tempdir().unwrap();
        let (_writer, reader, _) = Store::open(dir.path(), StoreOptions::default(), 0).unwrap();
        let metadata = Arc::clone(reader.metadata());
        let (handle, thread) = spawn(Arc::clone(&metadata), || Ok(()), ROOM).unwrap();
        metadata.consumer_offsets.set("G", "T", 0, 7, 1);
        handle.offsets_changed();
        let (tell, told) = mpsc::channel();
        handle.after_write(move |outcome| tell.send(outcome).unwrap());
        told.recv().unwrap().unwrap();
        let file = Layout::new(dir.path()).config_file("consumerOffset.json");
        assert!(std::fs::read_to_string(file).unwrap().contains("T@G"));
        handle.stop();
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn a_failed_write_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (_writer, reader, _) = Store::open(dir.path(), StoreOptions::default(), 0).unwrap();
        // A file where the directory should be.
        std::fs::write(Layout::new(dir.path()).config(), "").unwrap();
        let metadata = Arc::clone(reader.metadata());
        metadata.topics.put(TopicConfig::new("T", 1), 1);
        let (handle, thread) = spawn(metadata, || Ok(()), ROOM).unwrap();
        handle.changed();
        let (tell, told) = mpsc::channel();
        handle.after_write(move |outcome| tell.send(outcome).unwrap());
        assert!(told.recv().unwrap().is_err());
        assert!(!handle.is_written());
        handle.stop();
        assert!(thread.join().unwrap().is_err());
    }

    /// What an offset says once the log is being synced waits for the next write, and so does everything where that fails.
    #[test]
    fn offsets_are_not_written_ahead_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let (_writer, reader, _) = Store::open(dir.path(), StoreOptions::default(), 0).unwrap();
        let file = || {
            let file = Layout::new(dir.path()).config_file("consumerOffset.json");
            std::fs::read_to_string(file).unwrap_or_default()
        };
        let metadata = Arc::clone(reader.metadata());
        let (synced, fails) = (Arc::clone(&metadata), Arc::new(AtomicBool::new(true)));
        let is_failing = Arc::clone(&fails);
        let elsewhere = tempfile::tempdir().unwrap();
        let (_, closed, _) = Store::open(elsewhere.path(), StoreOptions::default(), 0).unwrap();
        let sync_log = move || {
            if is_failing.load(Ordering::SeqCst) {
                return closed.takes_messages();
            }
            synced.consumer_offsets.set("G", "T", 0, 8, 1);
            Ok(())
        };
        let (handle, thread) = spawn(Arc::clone(&metadata), sync_log, ROOM).unwrap();
        metadata.consumer_offsets.set("G", "T", 0, 7, 1);
        let written = || {
            let (tell, told) = mpsc::channel();
            handle.after_offsets(move |outcome| tell.send(outcome).unwrap());
            told.recv().unwrap()
        };
        written().unwrap_err();
        assert_eq!(file(), "");
        fails.store(false, Ordering::SeqCst);
        written().unwrap();
        assert!(file().contains("0:7"), "{}", file());
        written().unwrap();
        assert!(file().contains("0:8"), "{}", file());
        handle.stop();
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn a_table_that_cannot_be_written_holds_up_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (_writer, reader, _) = Store::open(dir.path(), StoreOptions::default(), 0).unwrap();
        let file = |name| Layout::new(dir.path()).config_file(name);
        std::fs::create_dir_all(file("topics.json.tmp")).unwrap();
        let metadata = Arc::clone(reader.metadata());
        metadata.topics.put(TopicConfig::new("T", 1), 1);
        metadata.consumer_offsets.set("G", "T", 0, 7, 1);
        let (handle, thread) = spawn(metadata, || Ok(()), ROOM).unwrap();
        handle.stop();
        assert!(thread.join().unwrap().is_err());
        let offsets = std::fs::read_to_string(file("consumerOffset.json")).unwrap();
        assert!(offsets.contains("T@G"), "{offsets}");
    }

    #[test]
    fn messages_that_wait_for_a_write_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let (_writer, reader, _) = Store::open(dir.path(), StoreOptions::default(), 0).unwrap();
        let (enter, entered) = mpsc::channel();
        let (leave, left) = mpsc::channel::<()>();
        let left = Mutex::new(left);
        let sync_log = move || {
            enter.send(()).unwrap();
            let _ = left.lock().recv();
            Ok(())
        };
        let metadata = Arc::clone(reader.metadata());
        let (handle, thread) = spawn(Arc::clone(&metadata), sync_log, ROOM).unwrap();
        metadata.consumer_offsets.set("G", "T", 0, 7, 1);
        handle.offsets_changed();
        // the thread is at work
        entered.recv().unwrap();
        assert_eq!(handle.take_room(1000), Ok(()), "one is never too large");
        assert_eq!(handle.take_room(1), Err(1), "by bytes");
        leave.send(()).unwrap();
        let (tell, told) = mpsc::channel();
        handle.after_write(move |outcome| tell.send(outcome).unwrap());
        told.recv().unwrap().unwrap();
        assert_eq!(handle.take_room(1), Ok(()));
        assert_eq!(handle.take_room(1), Ok(()));
        assert_eq!(handle.take_room(1), Err(2), "by number");
        drop(leave);
        handle.stop();
        thread.join().unwrap().unwrap();
    }
}
