//! A disk that takes its time.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rocketry_store::{
    FileSystem,
    fs::{File, OpenMode, RealFileSystem},
};

use crate::{
    common::TIMEOUT,
    real_disk::{as_on_disk, as_the_file},
};

/// A disk that syncs the commit log only while its gate is open.
#[derive(Debug, Clone)]
pub(crate) struct SlowDisk(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
    awaited: &'static str,
    /// Whether something with the awaited text in it was written since the gate was shut or opened.
    was_written: AtomicBool,
}

impl SlowDisk {
    /// Open, and on the watch for records that have `awaited` in them.
    pub(crate) fn new(awaited: &'static str) -> Self {
        Self(Arc::new(Gate {
            is_shut: Mutex::default(),
            opened: Condvar::new(),
            awaited,
            was_written: AtomicBool::default(),
        }))
    }

    pub(crate) fn shut(&self, is_shut: bool) {
        let mut gate = self.0.is_shut.lock().unwrap();
        *gate = is_shut;
        self.0.was_written.store(false, Ordering::Relaxed);
        self.0.opened.notify_all();
    }

    /// Waits until what is awaited was written.
    pub(crate) async fn written(&self) {
        let written = async {
            while !self.0.was_written.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, written).await.unwrap();
    }
}

impl FileSystem for SlowDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = RealFileSystem.open(path, mode)?;
        let is_log = path.parent().is_some_and(|dir| dir.ends_with("commitlog"));
        Ok(if is_log {
            Arc::new(SlowFile(file, Arc::clone(&self.0)))
        } else {
            file
        })
    }
    fn sync_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    as_on_disk!(rename remove list create_dir sync_dir lock free_bytes);
}

#[derive(Debug)]
struct SlowFile(Arc<dyn File>, Arc<Gate>);

impl File for SlowFile {
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let written = self.0.write_at(buf, offset)?;
        let awaited = self.1.awaited.as_bytes();
        if buf.windows(awaited.len()).any(|part| part == awaited) {
            self.1.was_written.store(true, Ordering::Relaxed);
        }
        Ok(written)
    }
    fn sync(&self) -> io::Result<()> {
        let is_shut = self.1.is_shut.lock().unwrap();
        drop(
            self.1
                .opened
                .wait_while(is_shut, |is_shut| *is_shut)
                .unwrap(),
        );
        self.0.sync()
    }
    as_the_file!(0: read_at length set_len zero_range);
}
