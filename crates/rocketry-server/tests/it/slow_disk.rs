//! A disk whose syncs a test can hold up.

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

/// A disk that syncs the commit log only while the gate is open.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlowDisk(pub(crate) Arc<Gate>);

#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
    /// Whether something with [`SLOW`] in it was written since the gate was shut.
    slow_written: AtomicBool,
}

pub(crate) const SLOW: &str = "slow half message";

impl Gate {
    pub(crate) fn set(&self, is_shut: bool) {
        let mut gate = self.is_shut.lock().unwrap();
        *gate = is_shut;
        self.slow_written.store(false, Ordering::Relaxed);
        self.opened.notify_all();
    }

    fn pass(&self) {
        let is_shut = self.is_shut.lock().unwrap();
        drop(self.opened.wait_while(is_shut, |is_shut| *is_shut).unwrap());
    }

    pub(crate) async fn slow_written(&self) {
        let written = async {
            while !self.slow_written.load(Ordering::Relaxed) {
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
        if buf.windows(SLOW.len()).any(|part| part == SLOW.as_bytes()) {
            self.1.slow_written.store(true, Ordering::Relaxed);
        }
        Ok(written)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync()
    }
    as_the_file!(0: read_at length set_len zero_range);
}
