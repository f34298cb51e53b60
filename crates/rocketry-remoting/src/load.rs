//! What the connections of a server have under way together, for bounds that no single connection can keep.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts over all connections whose options share it. The values are exact once the connections rest, and close to it before.
#[derive(Debug, Default)]
pub struct Load {
    unanswered: AtomicUsize,
    response_bytes: AtomicUsize,
}

impl Load {
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
