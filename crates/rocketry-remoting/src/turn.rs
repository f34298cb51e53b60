//! How long one connection may keep the others waiting.
//!
//! Requests are handled on the runtime's threads, which all connections share, and a peer may send thousands of them at once. So a
//! connection works in turns: when a turn is over, whoever else can run comes first. Beyond their first turn only as many connections
//! work at the same time as leave a processor to the others; the rest stand in line, first come first served. A connection that does
//! little at a time, as nearly all do, never meets the line, and waits for a few turns of others at most, however many they are.

use tokio::{sync::SemaphorePermit, task::yield_now};

use crate::load::Load;

/// Most requests and responses of a turn. Also what a peer with many in flight gets answered at once, and what callers are woken at
/// once: with 64 in flight half of them are then on one side while the other half is on the other side, and both sides have
/// work all the time. Measured with two processors and 64 in flight: a quarter more calls a second than if all of them moved together, at the
/// same cost per call.
const TURN_FRAMES: usize = 32;

/// Most bytes of a turn, arriving and answered; the last request may exceed it. Also those that are written in a row.
pub(crate) const TURN_BYTES: usize = 256 * 1024;

/// What a connection has done since it last waited for its peer, or for its turn.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    load: Option<&'a Load>,
    frames: usize,
    bytes: usize,
    /// Held from the second turn on, also while the task waits to run: those beyond the places do not even wait for that.
    place: Option<SemaphorePermit<'a>>,
}

impl<'a> Turn<'a> {
    /// The first one.
    pub(crate) const fn new(load: Option<&'a Load>) -> Self {
        Self {
            load,
            frames: 0,
            bytes: 0,
            place: None,
        }
    }

    pub(crate) fn did(&mut self, frames: usize, bytes: usize) {
        self.frames += frames;
        self.bytes += bytes;
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.frames >= TURN_FRAMES || self.bytes >= TURN_BYTES
    }

    /// Nothing is left to do: the next request begins a first turn.
    pub(crate) fn end(&mut self) {
        *self = Self::new(self.load);
    }

    /// Lets others go first and begins the next turn. Calls `before_line` if there are others in line.
    pub(crate) async fn next(&mut self, before_line: impl FnOnce()) {
        self.end();
        if let Some(load) = self.load {
            self.place = load.free_place();
            if self.place.is_none() {
                before_line();
                self.place = load.place().await;
            }
        }
        yield_now().await;
    }
}
