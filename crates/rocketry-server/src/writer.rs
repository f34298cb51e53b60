//! The way of all messages into the store's one writer.
//!
//! Sends meet here: everything that waits when a round begins is appended, committed once (in sync mode: synced once) and answered.
//! While a round runs the next one gathers, so the more there is to do the less each message costs. The queue is bounded in
//! messages and bytes; who meets it full is told at once and nothing is lost silently.
//!
//! A thread carries out the rounds. Where a round is a single write to the page cache (asynchronous flush), a connection that has
//! handed in all it read carries them out itself, if nobody else does: that spares two changes of thread per round, which cost more
//! than the round. As soon as the disk makes such a round slow, all of them are left to the thread for a while.
//!
//! In sync mode a message that does not ask to wait for the disk is answered once it is written. One whose sync takes too long is
//! answered so while the sync goes on.

mod gather;
mod log;

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rocketry_protocol::{
    body::topics::TopicConfig,
    properties::{self, name},
};
use rocketry_store::{AppendError, Appended, Arrival, WriteError, Writer};
use tokio::time::Instant;

use crate::metrics::Latencies;
use gather::Gather;
use log::Log;

/// Most jobs of one round, so that the first of them does not wait for an endless round.
const ROUND: usize = 1024;
/// Most rounds that a connection carries out in a row, since others may go on adding to the queue.
const ROUNDS_HERE: usize = 4;
/// A round on a connection's task that takes longer shows that the disk is slow: the task had other connections to serve.
const SLOW_ROUND: Duration = Duration::from_millis(10);
/// How long rounds are left to the thread after a slow one.
const AFTER_SLOW_ROUND: Duration = Duration::from_secs(1);

/// A message on its way to the log; a batch body makes one record per item.
#[derive(Debug, Clone)]
pub(crate) struct Put {
    pub(crate) topic: Arc<TopicConfig>,
    pub(crate) queue_id: i32,
    pub(crate) flag: i32,
    pub(crate) sys_flag: i32,
    pub(crate) born_ms: i64,
    pub(crate) born_host: SocketAddr,
    pub(crate) store_host: SocketAddr,
    pub(crate) reconsume_times: i32,
    pub(crate) prepared_transaction_offset: i64,
    pub(crate) body: Bytes,
    pub(crate) properties: String,
    /// Whether `body` is a client batch, stored as one record per item.
    pub(crate) batch: bool,
    pub(crate) origin: Origin,
}

/// Where a put comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A request, or the broker itself: all limits hold.
    New,
    /// A message that is stored already moves on. It was accepted then, however large bodies may be now.
    Stored {
        /// Its property text, which is stored where that with the broker's additions is too long. `None` where it cannot do without.
        bare: Option<Bytes>,
    },
}

impl Put {
    /// Whether the answer is to wait for the sync. Java: `MessageExtBrokerInner.isWaitStoreMsgOK`.
    fn waits_for_sync(&self) -> bool {
        properties::value_of(&self.properties, name::WAIT) != Some("false")
    }

    /// Memory that it takes while it waits, about.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + self.properties.len() + 256
    }
}

/// Where the messages of a put were stored.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The put, given back.
    pub(crate) put: Put,
    pub(crate) records: Records,
    /// The sync took too long: the messages are written, and it is not known whether they are on disk.
    pub(crate) sync_is_late: bool,
}

/// One record per message, in order.
#[derive(Debug)]
pub(crate) enum Records {
    One(Appended),
    Many(Vec<Appended>),
}

impl std::ops::Deref for Records {
    type Target = [Appended];

    fn deref(&self) -> &[Appended] {
        match self {
            Self::One(record) => std::slice::from_ref(record),
            Self::Many(records) => records,
        }
    }
}

/// Why a put was not stored, or not known to be.
#[derive(Debug)]
pub(crate) enum PutError {
    /// The store refused this message.
    Refused(AppendError),
    /// The write or sync failed for the whole round.
    Failed(WriteError),
    /// As many messages or bytes as configured wait already; this many messages.
    Busy(usize),
    /// The server stops.
    Stopping,
}

/// Called by whoever carries out the round, or on the thread of [`WriterHandle::answer_late`], once the put is stored or is not. Must
/// be quick.
pub(crate) type Done = Box<dyn FnOnce(Result<Stored, PutError>) + Send>;

/// Called once the queues of a topic are removed, with their number, or with the reason why not.
pub(crate) type Removed = Box<dyn FnOnce(Result<usize, String>) + Send>;

/// Told which messages became readable, by whoever carries out a round. Must be quick.
pub(crate) trait ArrivalSink: Send + Sync {
    /// One message, after everything of its round is readable.
    fn arrived(&self, arrival: &Arrival<'_>);
}

/// Hands work to the writer's thread.
#[derive(Debug, Clone)]
pub(crate) struct WriterHandle {
    inbox: Arc<Inbox>,
}

struct Inbox {
    queue: Mutex<Queue>,
    work: Condvar,
    /// `None` once the store is closed. Whoever has it carries out a round, and looks for more work after giving it back.
    log: Mutex<Option<Log>>,
    syncing: Mutex<Syncing>,
    arrivals: Arc<dyn ArrivalSink>,
    max_puts: usize,
    max_bytes: usize,
    /// Whether rounds end with a sync.
    is_sync: bool,
    /// Until when rounds are left to the thread.
    thread_only: Mutex<Option<Instant>>,
}

struct Queue {
    jobs: VecDeque<Job>,
    puts: usize,
    bytes: usize,
    /// When the first of the jobs came.
    since: Option<Instant>,
    stopping: bool,
}

enum Job {
    Put(PutJob),
    RemoveTopic { topic: String, done: Removed },
}

struct PutJob {
    put: Put,
    /// Written with `put`, right behind it and by the same call, if the store takes it.
    companion: Option<Box<Put>>,
    done: Done,
}

impl Job {
    fn puts(&self) -> usize {
        match self {
            Self::Put(_) => 1,
            Self::RemoveTopic { .. } => 0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Put(PutJob { put, companion, .. }) => {
                put.bytes() + companion.as_ref().map_or(0, |put| put.bytes())
            }
            Self::RemoveTopic { .. } => 0,
        }
    }
}

/// A put that is written, and who wants to know.
struct Written {
    stored: Stored,
    done: Done,
}

/// The puts of a round whose sync is under way.
#[derive(Default)]
struct Syncing {
    since: Option<Instant>,
    puts: Vec<Written>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queue = self.queue.lock();
        f.debug_struct("Inbox")
            .field("puts", &queue.puts)
            .field("bytes", &queue.bytes)
            .finish_non_exhaustive()
    }
}

impl WriterHandle {
    /// Queues a put, and with it a companion that is written by the same call to the disk right behind it. `done` is called once,
    /// here when the queue is full and by whoever carries out its round otherwise; it is told where `put` was stored.
    pub(crate) fn put(&self, put: Put, companion: Option<Put>, done: Done) {
        if self.queue(put, companion, done) {
            self.inbox.work.notify_one();
        }
    }

    /// [`WriterHandle::put`] of a connection's task, which calls [`WriterHandle::carry_out`] soon.
    pub(crate) fn put_for_later(&self, put: Put, companion: Option<Put>, done: Done) {
        let _ = self.queue(put, companion, done);
    }

    /// Carries out what is queued on this thread, unless that is the business of the writer's.
    ///
    /// `more`: the connection has more to put in at once. A sync waits for that, which costs far less than another sync.
    pub(crate) fn carry_out(&self, more: bool) {
        let inbox = &*self.inbox;
        if inbox.is_idle() || (more && inbox.is_sync) {
            return;
        }
        if !inbox.is_sync && !inbox.is_thread_only() {
            for _ in 0..ROUNDS_HERE {
                // who has it looks at the queue after giving it back
                let Some(mut log) = inbox.log.try_lock() else {
                    return;
                };
                let Some(log_here) = &mut *log else { return };
                let started = Instant::now();
                log_here.round_of_puts(inbox);
                drop(log);
                let ended = Instant::now();
                let is_slow = ended.duration_since(started) > SLOW_ROUND;
                if is_slow {
                    *inbox.thread_only.lock() = Some(ended + AFTER_SLOW_ROUND);
                }
                if inbox.is_idle() {
                    return;
                }
                if is_slow {
                    break;
                }
            }
        }
        inbox.work.notify_one();
    }

    /// Whether the thread may not know that there is work.
    #[must_use]
    fn queue(&self, put: Put, companion: Option<Put>, done: Done) -> bool {
        let job = Job::Put(PutJob {
            put,
            companion: companion.map(Box::new),
            done,
        });
        let bytes = job.bytes();
        let mut queue = self.inbox.queue.lock();
        let refused = if queue.stopping {
            Some(PutError::Stopping)
        } else if queue.puts >= self.inbox.max_puts
            || (queue.bytes + bytes > self.inbox.max_bytes && queue.puts > 0)
        {
            Some(PutError::Busy(queue.puts))
        } else {
            None
        };
        if let Some(refused) = refused {
            drop(queue);
            if let Job::Put(job) = job {
                (job.done)(Err(refused));
            }
            return false;
        }
        queue.puts += 1;
        queue.bytes += bytes;
        let was_empty = queue.jobs.is_empty();
        if was_empty {
            queue.since = Some(Instant::now());
        }
        queue.jobs.push_back(job);
        was_empty
    }

    /// Removes the queues of a topic, after everything that was put before. `done` is called once.
    pub(crate) fn remove_topic(&self, topic: String, done: Removed) {
        let mut queue = self.inbox.queue.lock();
        if queue.stopping {
            drop(queue);
            done(Err("the server stops".to_owned()));
            return;
        }
        queue.jobs.push_back(Job::RemoveTopic { topic, done });
        drop(queue);
        self.inbox.work.notify_one();
    }

    /// Answers what is written and whose sync has taken this long.
    pub(crate) fn answer_late(&self, longest: Duration) {
        let mut syncing = self.inbox.syncing.lock();
        if syncing.since.is_none_or(|since| since.elapsed() < longest) {
            return;
        }
        let late = std::mem::take(&mut syncing.puts);
        drop(syncing);
        if !late.is_empty() {
            tracing::warn!(puts = late.len(), ?longest, "the disk is slow to sync");
        }
        for Written {
            mut stored, done, ..
        } in late
        {
            stored.sync_is_late = true;
            done(Ok(stored));
        }
    }

    /// Puts that wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.inbox.queue.lock().puts
    }

    /// Lets the thread finish what is queued and close the store.
    pub(crate) fn stop(&self) {
        self.inbox.queue.lock().stopping = true;
        self.inbox.work.notify_one();
    }
}

/// Starts the thread. At most `max_puts` puts of at most `max_bytes` wait for it. It ends after [`WriterHandle::stop`], with the
/// result of closing the store; one that `is_temporary` is about to be removed, and nothing is brought to disk for that.
pub(crate) fn spawn(
    writer: Writer,
    is_temporary: bool,
    max_puts: usize,
    max_bytes: usize,
    arrivals: Arc<dyn ArrivalSink>,
    latencies: Arc<Latencies>,
) -> io::Result<(WriterHandle, thread::JoinHandle<Result<(), WriteError>>)> {
    let inbox = Arc::new(Inbox {
        queue: Mutex::new(Queue {
            jobs: VecDeque::new(),
            puts: 0,
            bytes: 0,
            since: None,
            stopping: false,
        }),
        work: Condvar::new(),
        is_sync: writer.is_sync(),
        log: Mutex::new(Some(Log::new(writer, latencies))),
        syncing: Mutex::default(),
        arrivals,
        max_puts,
        max_bytes,
        thread_only: Mutex::new(None),
    });
    let handle = WriterHandle {
        inbox: Arc::clone(&inbox),
    };
    let thread = thread::Builder::new()
        .name("rocketry-log".to_owned())
        .spawn(move || run(&inbox, is_temporary))?;
    Ok((handle, thread))
}

fn run(inbox: &Inbox, is_temporary: bool) -> Result<(), WriteError> {
    let mut gather = Gather::default();
    while inbox.wait_for_work() {
        inbox.gather(&mut gather);
        let synced = match &mut *inbox.log.lock() {
            Some(log) => log.round(inbox),
            None => None,
        };
        if let Some(synced) = synced {
            gather.synced(&synced);
        }
    }
    match inbox.log.lock().take() {
        Some(log) if !is_temporary => log.close(),
        _ => Ok(()),
    }
}

impl Inbox {
    /// For the thread; false when the server stops and nothing is left.
    fn wait_for_work(&self) -> bool {
        let mut queue = self.queue.lock();
        while queue.jobs.is_empty() && !queue.stopping {
            self.work.wait(&mut queue);
        }
        !queue.jobs.is_empty()
    }

    /// Moves the first jobs, as far as `is_wanted`, into a round; says when the first of them came.
    fn take(&self, round: &mut Vec<Job>, is_wanted: impl Fn(&Job) -> bool) -> Option<Instant> {
        let mut guard = self.queue.lock();
        let queue = &mut *guard;
        while round.len() < ROUND {
            let Some(job) = queue.jobs.pop_front_if(|job| is_wanted(job)) else {
                break;
            };
            queue.puts -= job.puts();
            queue.bytes -= job.bytes();
            round.push(job);
        }
        let since = queue.since;
        if queue.jobs.is_empty() {
            queue.since = None;
        }
        since
    }

    fn is_idle(&self) -> bool {
        self.queue.lock().jobs.is_empty()
    }

    fn is_thread_only(&self) -> bool {
        let mut until = self.thread_only.lock();
        if until.is_some_and(|until| Instant::now() < until) {
            return true;
        }
        *until = None;
        false
    }

    /// Answers what does not wait for the sync; the rest can be answered while it goes on.
    fn begin_sync(&self, written: &mut Vec<Written>) {
        let (wait, answer): (Vec<_>, Vec<_>) = written
            .drain(..)
            .partition(|written| written.stored.put.waits_for_sync());
        let mut syncing = self.syncing.lock();
        syncing.since = Some(Instant::now());
        syncing.puts = wait;
        drop(syncing);
        for put in answer {
            (put.done)(Ok(put.stored));
        }
    }

    /// Takes back what was not answered meanwhile.
    fn end_sync(&self, written: &mut Vec<Written>) {
        let mut syncing = self.syncing.lock();
        if syncing.since.take().is_some() {
            *written = std::mem::take(&mut syncing.puts);
        }
    }
}

#[cfg(test)]
mod tests;
