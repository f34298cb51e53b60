//! All consume queues, by topic and queue id.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use rocketry_protocol::body::topics::TopicConfig;

use crate::{
    FileSystem, Layout,
    consume_queue::{ConsumeQueue, QueueKind},
    file_cache::FileCache,
    metadata::Metadata,
    unit_files::{Files, UnitFiles},
};

/// Bytes of units that may wait in memory before they are written, however many queues they are spread over; and before the writer itself
/// writes them, which all senders would wait for. In between the flusher has the time that twice as many take to come.
const MANY_WAITING_BYTES: usize = 16 << 20;
const MAX_WAITING_BYTES: usize = 32 << 20;

/// The queues of one topic, by id.
type TopicQueues = Vec<(i32, Arc<ConsumeQueue>)>;

/// The queues that exist, and those of them that have something to write.
#[derive(Debug)]
pub(crate) struct QueueTable {
    plain: Arc<Files>,
    batch: Arc<Files>,
    metadata: Arc<Metadata>,
    topics: RwLock<HashMap<Arc<str>, TopicQueues>>,
    next_owner: AtomicU32,
    dirty: Mutex<Vec<Arc<ConsumeQueue>>>,
    waiting_bytes: AtomicUsize,
    /// Topics that have batch consume queues on disk.
    batch_topics: HashSet<String>,
}

impl QueueTable {
    pub(crate) fn new(
        layout: &Layout,
        (fs, cache): (&Arc<dyn FileSystem>, &Arc<FileCache>),
        (plain_file_bytes, batch_file_bytes): (u64, u64),
        metadata: Arc<Metadata>,
        batch_topics: HashSet<String>,
    ) -> Self {
        let files = |kind: QueueKind, parent, file_bytes| {
            Arc::new(Files {
                fs: Arc::clone(fs),
                cache: Arc::clone(cache),
                parent,
                file_bytes,
                filler: kind.filler(),
            })
        };
        Self {
            plain: files(QueueKind::Plain, layout.consume_queues(), plain_file_bytes),
            batch: files(
                QueueKind::Batch,
                layout.batch_consume_queues(),
                batch_file_bytes,
            ),
            metadata,
            topics: RwLock::default(),
            // 0 is the commit log
            next_owner: AtomicU32::new(1),
            dirty: Mutex::default(),
            waiting_bytes: AtomicUsize::new(0),
            batch_topics,
        }
    }

    /// What kind of queues a topic has: as its attribute says, or what is on disk.
    pub(crate) fn kind_of(&self, topic: &str) -> QueueKind {
        let config = self.metadata.topics.get(topic);
        if config.is_some_and(|config| is_batch(&config)) || self.batch_topics.contains(topic) {
            QueueKind::Batch
        } else {
            QueueKind::Plain
        }
    }

    /// Whether some topic should have batch queues.
    pub(crate) fn expects_batch_queues(&self) -> bool {
        let topics = self.metadata.topics.all();
        topics.iter().any(|config| is_batch(config))
    }

    /// Counts units that wait to be written.
    pub(crate) fn note_waiting(&self, bytes: usize) {
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts units that were written.
    pub(crate) fn note_written(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether so many units wait that they should be written.
    pub(crate) fn many_wait(&self) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) > MANY_WAITING_BYTES
    }

    /// Whether so many units wait that nothing more should be added before they are written.
    pub(crate) fn too_many_wait(&self) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) > MAX_WAITING_BYTES
    }

    /// Whether so many queues have something to write that each write is better worth its while later: it costs the same for one unit
    /// as for hundreds.
    pub(crate) fn is_spread_thin(&self) -> bool {
        self.dirty.lock().len() > MANY_DIRTY && !self.many_wait()
    }

    /// One queue, if it exists.
    pub(crate) fn get(&self, topic: &str, queue_id: i32) -> Option<Arc<ConsumeQueue>> {
        let topics = self.topics.read();
        let queues = topics.get(topic)?;
        let at = queues.binary_search_by_key(&queue_id, |(id, _)| *id).ok()?;
        queues.get(at).map(|(_, queue)| Arc::clone(queue))
    }

    /// One queue; a missing one is added, with the units `range` in its files.
    pub(crate) fn get_or_add(
        &self,
        topic: &str,
        queue_id: i32,
        range: (u64, u64),
    ) -> Arc<ConsumeQueue> {
        if let Some(queue) = self.get(topic, queue_id) {
            return queue;
        }
        let kind = self.kind_of(topic);
        let mut topics = self.topics.write();
        let topic = topics
            .get_key_value(topic)
            .map_or_else(|| Arc::from(topic), |(topic, _)| Arc::clone(topic));
        let queues = topics.entry(Arc::clone(&topic)).or_default();
        let at = queues.partition_point(|(id, _)| *id < queue_id);
        if let Some((id, queue)) = queues.get(at)
            && *id == queue_id
        {
            return Arc::clone(queue);
        }
        let files = match kind {
            QueueKind::Plain => &self.plain,
            QueueKind::Batch => &self.batch,
        };
        let owner = self.next_owner.fetch_add(1, Ordering::Relaxed);
        let units = UnitFiles::new(Arc::clone(files), owner, (topic, queue_id), range);
        let queue = Arc::new(ConsumeQueue::new(kind, units));
        queues.insert(at, (queue_id, Arc::clone(&queue)));
        queue
    }

    /// The queues of a topic, by id.
    pub(crate) fn of_topic(&self, topic: &str) -> Vec<Arc<ConsumeQueue>> {
        let topics = self.topics.read();
        let queues = topics.get(topic).into_iter().flatten();
        queues.map(|(_, queue)| Arc::clone(queue)).collect()
    }

    /// Forgets the queues of a topic, and what of them waits to be written.
    pub(crate) fn forget_topic(&self, topic: &str) {
        self.topics.write().remove(topic);
        self.dirty.lock().retain(|queue| **queue.topic() != *topic);
    }

    /// All queues, by topic in no particular order, then by id.
    pub(crate) fn all(&self) -> Vec<Arc<ConsumeQueue>> {
        self.topics
            .read()
            .values()
            .flatten()
            .map(|(_, queue)| Arc::clone(queue))
            .collect()
    }

    /// What each topic's queues add up to.
    pub(crate) fn sums(&self, of: impl Fn(&ConsumeQueue) -> u64) -> Vec<(Arc<str>, u64)> {
        let topics = self.topics.read();
        let sum = |queues: &TopicQueues| queues.iter().map(|(_, queue)| of(queue)).sum();
        topics
            .iter()
            .map(|(topic, queues)| (Arc::clone(topic), sum(queues)))
            .collect()
    }

    /// Notes that a queue has something to write.
    pub(crate) fn mark_dirty(&self, queue: &Arc<ConsumeQueue>) {
        self.dirty.lock().push(Arc::clone(queue));
    }

    /// Notes that only the queues in `dirty` have something to write, and how much that is: recovery dispatched, and then dropped what
    /// the files held already.
    pub(crate) fn set_dirty(&self, dirty: Vec<Arc<ConsumeQueue>>, dropped_bytes: usize) {
        *self.dirty.lock() = dirty;
        self.note_written(dropped_bytes);
    }

    /// Takes the queues that have something to write.
    pub(crate) fn take_dirty(&self) -> Vec<Arc<ConsumeQueue>> {
        std::mem::take(&mut self.dirty.lock())
    }
}

/// Queues with something to write from which on they wait for the next sync.
const MANY_DIRTY: usize = 1024;

/// Java: `QueueTypeUtils.isBatchCq`
fn is_batch(config: &TopicConfig) -> bool {
    let kind = config.attributes.get("queue.type");
    kind.is_some_and(|kind| kind == "BatchCQ")
}
