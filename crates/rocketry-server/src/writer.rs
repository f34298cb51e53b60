//! The one thread that owns the store's writer.
//!
//! Sends meet here: everything that waits when a round begins is appended, committed once (in sync mode: synced once) and answered.
//! While a round runs the next one gathers, so the more there is to do the less each message costs. The queue is bounded in
//! messages and bytes; who meets it full is told at once and nothing is lost silently.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, thread};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rocketry_protocol::{
    batch::{self, BatchItem},
    body::topics::TopicConfig,
};
use rocketry_store::{AppendError, Appended, Arrival, NewMessage, WriteError, Writer};

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
}

impl Put {
    fn bytes(&self) -> usize {
        self.body.len() + self.properties.len() + 256
    }
}

/// Where the messages of a put were stored, in order.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) records: Vec<Appended>,
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

/// Called on the writer's thread once the put is stored, or is not. Must be quick.
pub(crate) type Done = Box<dyn FnOnce(Result<Stored, PutError>) + Send>;

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
    max_puts: usize,
    max_bytes: usize,
}

struct Queue {
    jobs: VecDeque<Job>,
    puts: usize,
    bytes: usize,
    stopping: bool,
}

struct Job {
    put: Box<Put>,
    /// Written with `put`, if that can be: a crash keeps both or neither.
    companion: Option<Box<Put>>,
    done: Done,
}

impl Job {
    fn bytes(&self) -> usize {
        self.put.bytes() + self.companion.as_ref().map_or(0, |put| put.bytes())
    }
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
        let job = Job {
            put: Box::new(put),
            companion: companion.map(Box::new),
            done,
        };
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
            (job.done)(Err(refused));
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
            queue.puts -= 1;
            queue.bytes -= job.bytes();
        }
        !round.is_empty()
    }

    /// Appends, commits and answers a round.
    fn carry_out(&mut self, round: &mut Vec<Job>) {
        let mut written = Vec::with_capacity(round.len());
        for Job {
            put,
            companion,
            done,
        } in round.drain(..)
        {
            match append_both(&mut self.writer, &put, companion.as_deref()) {
                Ok(stored) => written.push((stored, done)),
                Err(error) => {
                    // A full disk met while a file was closed takes the messages before it along.
                    if let AppendError::Write(error) = &error {
                        for (_, done) in written.drain(..) {
                            done(Err(PutError::Failed(error.clone())));
                        }
                    }
                    done(Err(PutError::Refused(error)));
                }
            }
        }
        self.commit(&mut written);
    }

    fn commit(&mut self, written: &mut Vec<(Stored, Done)>) {
        if written.is_empty() {
            return;
        }
        let arrivals = &self.arrivals;
        let committed = self.writer.commit_with(|arrival| arrivals.arrived(arrival));
        if let Err(error) = &committed {
            tracing::error!(%error, puts = written.len(), "messages were not stored");
        }
        for (stored, done) in written.drain(..) {
            done(match &committed {
                Ok(()) => Ok(stored),
                Err(error) => Err(PutError::Failed(error.clone())),
            });
        }
    }
}

/// A companion that the store refuses for what it is leaves the put without it.
fn append_both(
    writer: &mut Writer,
    put: &Put,
    companion: Option<&Put>,
) -> Result<Stored, AppendError> {
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
    let message = NewMessage {
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
        properties: put.properties.as_bytes(),
    };
    let now_ms = clock::wall_ms();
    if !put.batch {
        return Ok(Stored {
            records: vec![writer.append(&message, now_ms)?],
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
    Ok(Stored { records })
}
