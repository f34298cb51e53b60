//! What the connections of a server have under way together, for bounds that no single connection can keep.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Counts over all connections whose options share it. The values are exact once the connections rest, and close to it before.
///
/// It also keeps the line in which connections stand whose peers have sent more requests than are handled in one go.
#[derive(Debug)]
pub struct Load {
    unanswered: AtomicUsize,
    response_bytes: AtomicUsize,
    /// Free places for connections that work beyond their first turn: see `turn.rs`.
    places: Semaphore,
}

impl Default for Load {
    /// All processors but one, if there are several, may be busy for long with one connection each.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, |count| count.get() - 1))
    }
}

impl Load {
    /// `busy` connections, at least one, may be busy for long at the same time; the others wait until it is their turn.
    pub fn new(busy: usize) -> Self {
        Self {
            unanswered: AtomicUsize::new(0),
            response_bytes: AtomicUsize::new(0),
            places: Semaphore::new(busy.clamp(1, Semaphore::MAX_PERMITS)),
        }
    }

    /// A place, if nobody is in line for it.
    pub(crate) fn free_place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// Waits in line. The places are never closed.
    pub(crate) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }

    /// Requests of peers that are not answered yet, parked long polls included.
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Relaxed)
    }

    /// Bytes of responses that wait for their sockets.
    pub fn response_bytes(&self) -> usize {
        self.response_bytes.load(Relaxed)
    }

    pub(crate) fn took_request(&self) {
        self.unanswered.fetch_add(1, Relaxed);
    }

    pub(crate) fn finished_request(&self) {
        self.unanswered.fetch_sub(1, Relaxed);
    }

    pub(crate) fn queued(&self, bytes: usize) {
        self.response_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn left(&self, bytes: usize) {
        self.response_bytes.fetch_sub(bytes, Relaxed);
    }
}
