//! The thread that brings to disk what the log's thread wrote: the commit log every flush interval (unless each commit syncs), consume
//! queues and checkpoint when the store says they are due. It removes old messages as well. Java: `FlushRealTimeService`,
//! `FlushConsumeQueueService`, `CleanCommitLogService`.

use std::{io, sync::Arc, thread, time::Duration};

use parking_lot::{Condvar, Mutex};
use rocketry_store::{Flusher, Retention};
use tokio::time::Instant;

use crate::{clock, metrics::Latencies};

/// Time between two looks for messages to remove. Java: `cleanResourceInterval`
const CLEAN_EVERY_MS: i64 = 10_000;

/// Time between two looks at the free space, which decides whether sends are refused. Java: with the removal, every 10 s.
const WATCH_EVERY_MS: i64 = 1000;

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
    retention: Retention,
    latencies: Arc<Latencies>,
) -> io::Result<(FlushHandle, thread::JoinHandle<()>)> {
    let handle = FlushHandle {
        stop: Arc::new((Mutex::new(false), Condvar::new())),
    };
    let stop = Arc::clone(&handle.stop);
    let thread = thread::Builder::new()
        .name("rocketry-flush".to_owned())
        .spawn(move || {
            let (stopped, wake) = &*stop;
            let (mut cleaned_ms, mut watched_ms) = (None, None);
            loop {
                let mut stopped = stopped.lock();
                if !*stopped {
                    wake.wait_for(&mut stopped, interval);
                }
                if *stopped {
                    return;
                }
                drop(stopped);
                if sync_log {
                    let began = Instant::now();
                    match flusher.sync_log() {
                        Ok(_) => latencies.flush.observe(began.elapsed(), 1),
                        Err(error) => tracing::error!(%error, "commit log was not synced"),
                    }
                }
                if let Err(error) = flusher.tick(clock::wall_ms()) {
                    tracing::error!(%error, "consume queues were not flushed");
                }
                let now_ms = clock::wall_ms();
                // a clock that went back counts as passed
                let is_due = |last: Option<i64>, every| {
                    last.is_none_or(|ms| !(0..every).contains(&(now_ms - ms)))
                };
                let mut clean = is_due(cleaned_ms, CLEAN_EVERY_MS);
                if is_due(watched_ms, WATCH_EVERY_MS) {
                    watched_ms = Some(now_ms);
                    clean |= flusher.watch_space(&retention);
                }
                if clean {
                    cleaned_ms = Some(now_ms);
                    if let Err(error) = flusher.clean(&retention, now_ms, false) {
                        tracing::error!(%error, "old messages were not removed");
                    }
                }
            }
        })?;
    Ok((handle, thread))
}
