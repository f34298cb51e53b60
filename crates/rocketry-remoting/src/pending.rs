//! The table of calls that wait for a response: opaque -> waiter. Plain data: no I/O, no clock, no lock.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    task::{Poll, Waker},
};

use rocketry_protocol::RemotingCommand;
use tokio::time::Instant;

/// Calls in flight on one connection.
///
/// An entry is created by [`Pending::insert`] and lives until its caller has taken the outcome ([`Pending::poll`]) or walked away
/// ([`Pending::remove`]); so at most `limit` outcomes are ever kept.
#[derive(Debug)]
pub(crate) struct Pending {
    entries: HashMap<i32, Entry, BuildHasherDefault<OpaqueHasher>>,
    next_opaque: i32,
    limit: usize,
    /// When [`Pending::expire`] has been asked to run next; an earlier deadline has to be announced.
    expiry: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    deadline: Instant,
    /// How many reads the connection had seen when the call was made; `None` if its silence proves nothing.
    reads_before: Option<u64>,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Done(Outcome),
}

/// How a call ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Replied(RemotingCommand),
    TimedOut,
    Closed,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inserted {
    pub(crate) opaque: i32,
    /// The deadline is earlier than the planned expiry.
    pub(crate) expires_earlier: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    /// When to call [`Pending::expire`] again; `None` until an insert announces a deadline.
    pub(crate) next: Option<Instant>,
    /// A call timed out that had seen no read at all since it was made.
    pub(crate) silent: bool,
}

impl Pending {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            entries: HashMap::default(),
            next_opaque: 0,
            limit,
            expiry: None,
        }
    }

    /// Entries, finished ones that were not taken yet included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a waiter under a fresh opaque; `None` when the table is full.
    pub(crate) fn insert(
        &mut self,
        deadline: Instant,
        reads_before: Option<u64>,
    ) -> Option<Inserted> {
        if self.entries.len() >= self.limit {
            return None;
        }
        // The counter wraps after 2^32 calls; a long poll may still hold its number by then.
        while self.entries.contains_key(&self.next_opaque) {
            self.next_opaque = self.next_opaque.wrapping_add(1);
        }
        let opaque = self.next_opaque;
        self.next_opaque = opaque.wrapping_add(1);
        self.entries.insert(
            opaque,
            Entry {
                deadline,
                reads_before,
                state: State::Waiting(None),
            },
        );
        let expires_earlier = self.expiry.is_none_or(|planned| deadline < planned);
        if expires_earlier {
            self.expiry = Some(deadline);
        }
        Some(Inserted {
            opaque,
            expires_earlier,
        })
    }

    /// The outcome, once there is one: then the entry is gone. Until then `waker` is woken on it.
    pub(crate) fn poll(&mut self, opaque: i32, waker: &Waker) -> Poll<Outcome> {
        let Some(entry) = self.entries.get_mut(&opaque) else {
            // Only the owner of the opaque polls, and only until it has its outcome.
            return Poll::Ready(Outcome::Closed);
        };
        if let State::Waiting(slot) = &mut entry.state {
            match slot {
                Some(known) => known.clone_from(waker),
                None => *slot = Some(waker.clone()),
            }
            return Poll::Pending;
        }
        match self.entries.remove(&opaque).map(|entry| entry.state) {
            Some(State::Done(outcome)) => Poll::Ready(outcome),
            _ => Poll::Ready(Outcome::Closed),
        }
    }

    /// The caller walked away.
    pub(crate) fn remove(&mut self, opaque: i32) -> bool {
        self.entries.remove(&opaque).is_some()
    }

    /// Hands a response to its waiter and returns whom to wake; `Err` if nobody waits for it (any more).
    pub(crate) fn complete(
        &mut self,
        response: RemotingCommand,
    ) -> Result<Option<Waker>, RemotingCommand> {
        match self.entries.get_mut(&response.opaque) {
            Some(entry) => match &mut entry.state {
                State::Waiting(waker) => {
                    let waker = waker.take();
                    entry.state = State::Done(Outcome::Replied(response));
                    Ok(waker)
                }
                State::Done(_) => Err(response),
            },
            None => Err(response),
        }
    }

    /// Ends all calls whose deadline is not after `now`, and pushes whom to wake. `reads` is the connection's count of reads.
    /// Walks the table only when a deadline may have passed.
    pub(crate) fn expire(&mut self, now: Instant, reads: u64, wakers: &mut Vec<Waker>) -> Expired {
        if self.expiry.is_none_or(|planned| now < planned) {
            return Expired {
                next: self.expiry,
                silent: false,
            };
        }
        let mut silent = false;
        let mut next: Option<Instant> = None;
        for entry in self.entries.values_mut() {
            let State::Waiting(waker) = &mut entry.state else {
                continue;
            };
            if entry.deadline <= now {
                silent |= entry.reads_before == Some(reads);
                wakers.extend(waker.take());
                entry.state = State::Done(Outcome::TimedOut);
            } else {
                next = Some(next.map_or(entry.deadline, |other| other.min(entry.deadline)));
            }
        }
        self.expiry = next;
        Expired { next, silent }
    }

    /// Ends all calls because the connection did, and pushes whom to wake.
    pub(crate) fn fail_all(&mut self, wakers: &mut Vec<Waker>) {
        for entry in self.entries.values_mut() {
            if let State::Waiting(waker) = &mut entry.state {
                wakers.extend(waker.take());
                entry.state = State::Done(Outcome::Closed);
            }
        }
    }
}

/// Opaques are handed out by us in sequence, so spreading them is enough; nobody can aim at collisions.
#[derive(Debug, Default)]
struct OpaqueHasher(u64);

impl Hasher for OpaqueHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(SPREAD);
        }
    }

    fn write_i32(&mut self, opaque: i32) {
        self.0 = u64::from(opaque.cast_unsigned()).wrapping_mul(SPREAD);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
