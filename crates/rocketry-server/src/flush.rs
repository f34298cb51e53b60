//! The thread that brings to disk what the log's thread wrote: the commit log every flush interval (unless each commit syncs), consume
//! queues and checkpoint when the store says they are due. Java: `FlushRealTimeService`, `FlushConsumeQueueService`.

use std::{io, sync::Arc, thread, time::Duration};

use parking_lot::{Condvar, Mutex};
use rocketry_store::Flusher;

use crate::clock;

/// Stops the thread.
#[derive(Debug, Clone)]
pub(crate) struct FlushHandle {
    stop: Arc<(Mutex<bool>, Condvar)>,
}

impl FlushHandle {
    /// Lets the thread end after what it is doing.
    pub(crate) fn stop(&self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_one();
    }
}

/// Starts the thread. `sync_log` is false when every commit syncs the log itself.
pub(crate) fn spawn(
    flusher: Flusher,
    interval: Duration,
    sync_log: bool,
) -> io::Result<(FlushHandle, thread::JoinHandle<()>)> {
    let handle = FlushHandle {
        stop: Arc::new((Mutex::new(false), Condvar::new())),
    };
    let stop = Arc::clone(&handle.stop);
    let thread = thread::Builder::new()
        .name("rocketry-flush".to_owned())
        .spawn(move || {
            let (stopped, wake) = &*stop;
            loop {
                let mut stopped = stopped.lock();
                if !*stopped {
                    wake.wait_for(&mut stopped, interval);
                }
                if *stopped {
                    return;
                }
                drop(stopped);
                if sync_log && let Err(error) = flusher.sync_log() {
                    tracing::error!(%error, "commit log was not synced");
                }
                if let Err(error) = flusher.tick(clock::wall_ms()) {
                    tracing::error!(%error, "consume queues were not flushed");
                }
            }
        })?;
    Ok((handle, thread))
}
