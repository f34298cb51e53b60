//! Writes keys to the index on a thread of its own, while the log is read on.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use crate::index::{Index, IndexFault, IndexKey};

/// The index, which the thread has while it writes to it. One batch is written at a time.
#[derive(Debug)]
pub(super) struct IndexBuilder {
    /// `None` while the thread has it.
    index: Option<Index>,
    thread: Option<Thread>,
    /// Names new files.
    now_ms: i64,
}

#[derive(Debug)]
struct Thread {
    /// `None` only while the thread is told to end.
    batches: Option<SyncSender<Batch>>,
    written: Receiver<(Batch, Result<i64, IndexFault>)>,
    handle: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Batch {
    index: Index,
    keys: Vec<IndexKey>,
}

impl IndexBuilder {
    pub(super) const fn new(index: Index, now_ms: i64) -> Self {
        Self {
            index: Some(index),
            thread: None,
            now_ms,
        }
    }

    /// The index, once what is being written is written.
    ///
    /// # Errors
    /// The disk refused it.
    pub(super) fn index(&mut self) -> io::Result<&mut Index> {
        if self.index.is_none() {
            let written = self.thread.as_ref().map(|thread| thread.written.recv());
            match written {
                Some(Ok((batch, result))) => {
                    self.index = Some(batch.index);
                    result.map_err(|fault| fault.error)?;
                }
                _ => return Err(gone()),
            }
        }
        self.index.as_mut().ok_or_else(gone)
    }

    /// Writes `keys` behind those that are being written, which it waits for.
    ///
    /// # Errors
    /// The disk refused what was written before.
    pub(super) fn write(&mut self, keys: Vec<IndexKey>) -> io::Result<()> {
        self.index()?;
        if self.thread.is_none() {
            self.thread = Thread::start(self.now_ms);
        }
        let Some(index) = self.index.take() else {
            return Err(gone());
        };
        let batch = Batch { index, keys };
        let batches = self
            .thread
            .as_ref()
            .and_then(|thread| thread.batches.as_ref());
        let left = match batches {
            Some(batches) => batches.send(batch).err().map(|unsent| unsent.0),
            None => Some(batch),
        };
        if let Some(Batch { mut index, keys }) = left {
            // the system has no thread to give
            let written = index.write(&keys, self.now_ms);
            self.index = Some(index);
            written.map_err(|fault| fault.error)?;
        }
        Ok(())
    }

    /// Gives the index back.
    ///
    /// # Errors
    /// As [`IndexBuilder::index`].
    pub(super) fn finish(mut self) -> io::Result<Option<Index>> {
        self.index()?;
        Ok(self.index.take())
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that writes the index ended")
}

impl Thread {
    fn start(now_ms: i64) -> Option<Self> {
        let (batches, to_write) = sync_channel::<Batch>(1);
        let (to_builder, written) = sync_channel(1);
        let handle = thread::Builder::new()
            .name("rocketry-index".to_owned())
            .spawn(move || {
                for mut batch in to_write {
                    let result = batch.index.write(&batch.keys, now_ms);
                    if to_builder.send((batch, result)).is_err() {
                        return;
                    }
                }
            })
            .ok()?;
        Some(Self {
            batches: Some(batches),
            written,
            handle: Some(handle),
        })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}
