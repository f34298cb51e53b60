//! The application's books: every send with what it came to.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rocketry::{Decision, Error, ErrorKind, SendResult, TransactionResult};
use tokio::time::Instant;

use crate::world::World;

/// All sends of one run.
#[derive(Clone)]
pub(crate) struct Ledger {
    entries: Arc<Mutex<Vec<Entry>>>,

    world: World,
}

/// One send.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Bodies of its messages; one unless it is a batch.
    pub(crate) bodies: Vec<Vec<u8>>,
    pub(crate) way: Way,
    /// Which task of the application sent it.
    pub(crate) lane: usize,
    pub(crate) deadline: Instant,
    /// Exactly one in the end.
    pub(crate) endings: Vec<(Instant, Ending)>,
    /// What its local transaction came to.
    pub(crate) decided: Option<Decision>,
}

impl Entry {
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.endings.first().map(|(_, ending)| ending)
    }
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "the producer's own word")]
pub(crate) enum Way {
    Sync,
    SyncQueue,
    SyncHash,
    Async,
    AsyncQueue,
    Callback,
    OneWay,
    Batch,
    AsyncBatch,
    /// Given up by the application at some point.
    Dropped,
    /// One after the other to one queue.
    Ordered,
    /// With a key of strict order, awaited or not before the next one is sent.
    Strict,
    /// After the healing.
    Healed,
    /// Gathered with others to a batch.
    Gathered,
    AsyncGathered,
    /// Waits for a reply.
    Request,
    Transaction,
}

/// What a send came to.
#[derive(Debug)]
pub(crate) enum Ending {
    Stored(SendResult),
    /// A one-way request was handed over.
    Handed,
    Failed(Error),
    Dropped,
    /// A reply with this body.
    Replied(Vec<u8>),
    /// A transaction whose half message was stored.
    Ended(TransactionResult),
}

/// A send that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(usize);

impl Ledger {
    pub(crate) fn new(world: World) -> Self {
        Self {
            entries: Arc::default(),

            world,
        }
    }

    /// Begins a send of messages whose bodies `bodies` makes from their labels.
    pub(crate) fn begin(
        &self,
        (way, lane): (Way, usize),
        timeout: Duration,
        count: usize,
        mut body: impl FnMut(&str) -> Vec<u8>,
    ) -> (Ticket, Vec<Vec<u8>>) {
        let mut entries = self.entries.lock();
        let number = entries.len();
        let bodies: Vec<_> = (0..count)
            .map(|n| match count {
                1 => body(&format!("m{number}")),
                _ => body(&format!("m{number}.{n}")),
            })
            .collect();
        entries.push(Entry {
            bodies: bodies.clone(),
            way,
            lane,
            deadline: Instant::now() + timeout,
            endings: Vec::new(),
            decided: None,
        });
        drop(entries);
        self.world
            .trace(format_args!("m{number} {way:?} within {timeout:?}"));
        (Ticket(number), bodies)
    }

    /// The local transaction of `label` comes to this.
    pub(crate) fn decide(&self, label: &str, decision: Decision) {
        self.world.trace(format_args!("{label} decides {decision}"));
        self.entries.lock()[number(label)].decided = Some(decision);
    }

    /// What became of the local transaction of `label`. One that did not run before its send was over never will.
    pub(crate) fn look_up(&self, label: &str) -> Decision {
        let entry = &self.entries.lock()[number(label)];
        let is_over = !entry.endings.is_empty();
        let unknown = if is_over {
            Decision::Rollback
        } else {
            Decision::Unknown
        };
        entry.decided.unwrap_or(unknown)
    }

    pub(crate) fn end(&self, ticket: Ticket, ending: Ending) {
        let text = match &ending {
            Ending::Stored(result) => format!(
                "{:?} at {}/{} {}",
                result.status, result.queue.broker_name, result.queue.queue_id, result.queue_offset
            ),
            Ending::Failed(error) => format!(
                "{:?}, {} attempts, maybe stored {}: {}",
                error.kind(),
                error.attempts().len(),
                error.maybe_stored(),
                if error.kind() == ErrorKind::NoReply {
                    // names the message's id, which holds the time of day
                    ""
                } else {
                    error.reason()
                }
            ),
            Ending::Replied(body) => format!("reply {}", String::from_utf8_lossy(body)),
            Ending::Ended(result) => format!(
                "{:?} at {}, {}, untold {}",
                result.sent.status,
                result.sent.queue.broker_name,
                result.decision,
                result.untold.is_some()
            ),
            other => format!("{other:?}"),
        };
        self.world.trace(format_args!("m{} {text}", ticket.0));
        self.entries.lock()[ticket.0]
            .endings
            .push((Instant::now(), ending));
    }

    pub(crate) fn entries(self) -> Vec<Entry> {
        std::mem::take(&mut *self.entries.lock())
    }
}

impl From<Result<SendResult, Error>> for Ending {
    fn from(result: Result<SendResult, Error>) -> Self {
        match result {
            Ok(result) => Self::Stored(result),
            Err(error) => Self::Failed(error),
        }
    }
}

/// The place of the entry that has this label.
fn number(label: &str) -> usize {
    label.trim_start_matches('m').parse().expect("a label")
}
