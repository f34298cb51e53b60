//! The one thread that owns the store's writer.
//!
//! Sends meet here: everything that waits when a round begins is appended, committed once (in sync mode: synced once) and answered.
//! While a round runs the next one gathers, so the more there is to do the less each message costs. The queue is bounded in
//! messages and bytes; who meets it full is told at once and nothing is lost silently.
//!
//! In sync mode a message that does not ask to wait for the disk is answered once it is written. One whose sync takes too long is
//! answered so while the sync goes on.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rocketry_protocol::{
    batch::{self, BatchItem},
    body::topics::TopicConfig,
};
use rocketry_store::{AppendError, Appended, Arrival, NewMessage, WriteError, Writer};
use tokio::time::Instant;

use crate::clock;

/// Most jobs of one round, so that the first of them does not wait for an endless round.
const ROUND: usize = 1024;

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
        let no = self.properties.match_indices(NO_WAIT);
        !no.into_iter()
            .any(|(at, _)| at == 0 || self.properties.as_bytes().get(at - 1) == Some(&b'\x02'))
    }

    fn bytes(&self) -> usize {
        self.body.len() + self.properties.len() + 256
    }
}

/// The property of a message that does not wait for the disk.
const NO_WAIT: &str = "WAIT\u{1}false\u{2}";

/// Where the messages of a put were stored, in order.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) records: Vec<Appended>,
    /// The sync took too long: the messages are written, and it is not known whether they are on disk.
    pub(crate) sync_is_late: bool,
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

/// Called on the writer's thread, or on that of [`WriterHandle::answer_late`], once the put is stored or is not. Must be quick.
pub(crate) type Done = Box<dyn FnOnce(Result<Stored, PutError>) + Send>;

/// Called once the queues of a topic are removed, with their number, or with the reason why not.
pub(crate) type Removed = Box<dyn FnOnce(Result<usize, String>) + Send>;

/// Told which messages became readable, on the writer's thread. Must be quick.
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
    syncing: Mutex<Syncing>,
    max_puts: usize,
    max_bytes: usize,
}

struct Queue {
    jobs: VecDeque<Job>,
    puts: usize,
    bytes: usize,
    stopping: bool,
}

enum Job {
    Put(PutJob),
    RemoveTopic { topic: String, done: Removed },
}

struct PutJob {
    put: Box<Put>,
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
    waits_for_sync: bool,
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
    /// here when the queue is full and on the writer's thread otherwise; it is told where `put` was stored.
    pub(crate) fn put(&self, put: Put, companion: Option<Put>, done: Done) {
        let job = PutJob {
            put: Box::new(put),
            companion: companion.map(Box::new),
            done,
        };
        let job = Job::Put(job);
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
            return;
        }
        queue.puts += 1;
        queue.bytes += bytes;
        let wake = queue.jobs.is_empty();
        queue.jobs.push_back(job);
        drop(queue);
        if wake {
            self.inbox.work.notify_one();
        }
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
/// result of closing the store.
pub(crate) fn spawn(
    writer: Writer,
    max_puts: usize,
    max_bytes: usize,
    arrivals: Arc<dyn ArrivalSink>,
) -> io::Result<(WriterHandle, thread::JoinHandle<Result<(), WriteError>>)> {
    let inbox = Arc::new(Inbox {
        queue: Mutex::new(Queue {
            jobs: VecDeque::new(),
            puts: 0,
            bytes: 0,
            stopping: false,
        }),
        work: Condvar::new(),
        syncing: Mutex::default(),
        max_puts,
        max_bytes,
    });
    let handle = WriterHandle {
        inbox: Arc::clone(&inbox),
    };
    let log = Log {
        writer,
        inbox,
        arrivals,
    };
    let thread = thread::Builder::new()
        .name("rocketry-log".to_owned())
        .spawn(move || log.run())?;
    Ok((handle, thread))
}

/// The thread's state.
struct Log {
    writer: Writer,
    inbox: Arc<Inbox>,
    arrivals: Arc<dyn ArrivalSink>,
}

impl Log {
    fn run(mut self) -> Result<(), WriteError> {
        let mut round = Vec::with_capacity(64);
        while self.next_round(&mut round) {
            self.carry_out(&mut round);
        }
        self.writer.close()
    }

    /// Waits for jobs; false when the server stops and nothing is left.
    fn next_round(&self, round: &mut Vec<Job>) -> bool {
        let mut queue = self.inbox.queue.lock();
        while queue.jobs.is_empty() && !queue.stopping {
            self.inbox.work.wait(&mut queue);
        }
        let take = queue.jobs.len().min(ROUND);
        round.extend(queue.jobs.drain(..take));
        for job in round.iter() {
            queue.puts -= job.puts();
            queue.bytes -= job.bytes();
        }
        !round.is_empty()
    }

    /// Appends, commits and answers a round.
    fn carry_out(&mut self, round: &mut Vec<Job>) {
        let mut written = Vec::with_capacity(round.len());
        for job in round.drain(..) {
            match job {
                Job::Put(job) => self.append(job, &mut written),
                Job::RemoveTopic { topic, done } => {
                    self.commit(&mut written);
                    let removed = self.writer.remove_topic(&topic);
                    if let Err(error) = &removed {
                        tracing::error!(%error, topic, "the queues of a topic were not removed");
                    }
                    done(removed.map_err(|error| error.to_string()));
                }
            }
        }
        self.commit(&mut written);
    }

    fn append(&mut self, job: PutJob, written: &mut Vec<Written>) {
        let PutJob {
            put,
            companion,
            done,
        } = job;
        match append_both(&mut self.writer, &put, companion.as_deref()) {
            Ok(stored) => written.push(Written {
                stored,
                done,
                waits_for_sync: put.waits_for_sync(),
            }),
            Err(error) => {
                // A full disk met while a file was closed takes the messages before it along.
                if let AppendError::Write(error) = &error {
                    for Written { done, .. } in written.drain(..) {
                        done(Err(PutError::Failed(error.clone())));
                    }
                }
                done(Err(PutError::Refused(error)));
            }
        }
    }

    fn commit(&mut self, written: &mut Vec<Written>) {
        if written.is_empty() {
            return;
        }
        let (arrivals, inbox) = (&self.arrivals, &*self.inbox);
        let committed = self.writer.commit_in_steps(
            || inbox.begin_sync(written),
            |arrival| arrivals.arrived(arrival),
        );
        inbox.end_sync(written);
        if let Err(error) = &committed {
            tracing::error!(%error, puts = written.len(), "messages were not stored");
        }
        for Written { stored, done, .. } in written.drain(..) {
            done(match &committed {
                Ok(()) => Ok(stored),
                Err(error) => Err(PutError::Failed(error.clone())),
            });
        }
    }
}

impl Inbox {
    /// Answers what does not wait for the sync; the rest can be answered while it goes on.
    fn begin_sync(&self, written: &mut Vec<Written>) {
        let (wait, answer): (Vec<_>, Vec<_>) =
            written.drain(..).partition(|put| put.waits_for_sync);
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

/// A companion that the store refuses for what it is leaves the put without it.
fn append_both(
    writer: &mut Writer,
    put: &Put,
    companion: Option<&Put>,
) -> Result<Stored, AppendError> {
    if let Some(companion) = companion {
        writer.keep_together(&[
            &message_of(put, &put.properties),
            &message_of(companion, &companion.properties),
        ])?;
    }
    let stored = append(writer, put)?;
    match companion.map(|companion| append(writer, companion)) {
        None | Some(Ok(_)) => {}
        Some(Err(error @ AppendError::Write(_))) => return Err(error),
        Some(Err(error)) => {
            tracing::error!(%error, topic = put.topic.topic_name, "a message was stored without its companion");
        }
    }
    Ok(stored)
}

fn append(writer: &mut Writer, put: &Put) -> Result<Stored, AppendError> {
    let message = message_of(put, &put.properties);
    let now_ms = clock::wall_ms();
    if !put.batch {
        let record = match &put.origin {
            Origin::New => writer.append(&message, now_ms)?,
            Origin::Stored { bare } => match (writer.append_again(&message, now_ms), bare) {
                (Err(AppendError::PropertiesTooLong { .. }), Some(bare)) => {
                    writer.append_again(&message_of(put, bare), now_ms)?
                }
                (appended, _) => appended?,
            },
        };
        return Ok(Stored {
            records: vec![record],
            sync_is_late: false,
        });
    }
    let items: Vec<BatchItem<'_>> =
        batch::items(&put.body)
            .collect::<Result<_, _>>()
            .map_err(|error| AppendError::Invalid {
                what: "batch body",
                reason: error.to_string(),
            })?;
    let mut records = Vec::with_capacity(items.len());
    writer.append_batch(&message, &items, now_ms, &mut records)?;
    Ok(Stored {
        records,
        sync_is_late: false,
    })
}

fn message_of<'a>(put: &'a Put, properties: &'a (impl AsRef<[u8]> + ?Sized)) -> NewMessage<'a> {
    NewMessage {
        topic: &put.topic.topic_name,
        queue_id: put.queue_id,
        flag: put.flag,
        sys_flag: put.sys_flag,
        born_ms: put.born_ms,
        born_host: put.born_host,
        store_host: put.store_host,
        reconsume_times: put.reconsume_times,
        prepared_transaction_offset: put.prepared_transaction_offset,
        body: &put.body,
        properties: properties.as_ref(),
    }
}

#[cfg(test)]
mod tests;
