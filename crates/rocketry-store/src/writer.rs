//! The writing half of a store: one owner, who appends.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use rocketry_protocol::{batch::BatchItem, hash::crc32, properties, record::Record};

use crate::{
    AppendError, FlushMode, Flusher, WriteError,
    commit_log::Tail,
    consume_queue::ConsumeQueue,
    dispatch::{Dispatch, Dispatcher, Marks, belongs_in_queue},
    error::WriteErrorKind,
    index::{Index, IndexKey, keys_of},
    metadata::{Ends, Range},
    number::{signed, size},
    seal,
    shared::{Newest, Shared},
};

/// Bytes a record may have beyond its body. Java: `MessageExtEncoder`, 64 KiB.
const OVERHEAD_BYTES: usize = 64 * 1024;
/// Longest topic: a directory name.
const MAX_TOPIC_BYTES: usize = 255;

/// A message to store. The caller has resolved everything: topic and queue exist, delayed messages name their schedule topic.
#[derive(Debug, Clone)]
pub struct NewMessage<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue number, not negative.
    pub queue_id: i32,
    /// The user's flag.
    pub flag: i32,
    /// See [`rocketry_protocol::sys_flag`]; the bits of the host widths are set from the addresses.
    pub sys_flag: i32,
    /// When the producer created it, ms since 1970.
    pub born_ms: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// The broker's address.
    pub store_host: SocketAddr,
    /// How often consumption was tried again.
    pub reconsume_times: i32,
    /// Log offset of the half message, 0 otherwise.
    pub prepared_transaction_offset: i64,
    /// Property text.
    pub properties: &'a [u8],
    /// Body as it is to be stored.
    pub body: &'a [u8],
}

/// Where a message was placed. Final once [`Writer::commit`] succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Log offset of the record.
    pub log_offset: i64,
    /// Position in the queue; 0 for half and rolled-back messages, which have none.
    pub queue_offset: i64,
    /// Bytes of the record.
    pub bytes: usize,
    /// Store time, ms since 1970.
    pub store_ms: i64,
}

/// A message that became visible, for whoever waits for messages of its queue.
#[derive(Debug, Clone)]
pub struct Arrival<'a> {
    /// Topic.
    pub topic: &'a Arc<str>,
    /// Queue number.
    pub queue_id: i32,
    /// Position in the queue.
    pub queue_offset: i64,
    /// What filters on tags see.
    pub tags_code: i64,
    /// Log offset of the record.
    pub log_offset: i64,
}

#[derive(Debug)]
struct Pending {
    queue: Arc<ConsumeQueue>,
    dispatch: Dispatch,
}

/// Appends messages. There is one per open store; it is not shared: the caller gives it a thread and batches what comes in.
///
/// [`Writer::append`] encodes into a buffer; [`Writer::commit`] writes the buffer with one call and makes the messages visible. In
/// between nothing is visible to anybody.
pub struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) flusher: Flusher,
    tail: Tail,
    record_crc: bool,
    pub(crate) dispatcher: Dispatcher,
    pending: Vec<Pending>,
    /// Keys of the pending messages, for the index.
    keys: Vec<IndexKey>,
    /// Properties of the record being placed, where they differ from those given.
    properties: Vec<u8>,
    closed: bool,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, flusher: Flusher, dispatcher: Dispatcher) -> Self {
        Self {
            tail: Tail::new(Arc::clone(&shared.log)),
            record_crc: shared.options.record_crc,
            shared,
            flusher,
            dispatcher,
            pending: Vec::new(),
            keys: Vec::new(),
            properties: Vec::new(),
            closed: false,
        }
    }

    /// Takes one message into the next commit. `store_ms` is the present time.
    ///
    /// # Errors
    /// A message that cannot be stored: nothing changed, others in the commit are not affected. Or the disk refused while a full
    /// file was closed ([`AppendError::Write`]): then everything since the last commit is forgotten, as in a failed commit.
    ///
    /// Java: `CommitLog.asyncPutMessage`
    pub fn append(
        &mut self,
        message: &NewMessage<'_>,
        store_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.check_body(message.body.len())?;
        self.append_again(message, store_ms)
    }

    /// [`Writer::append`] for a message that was stored before and moves on. Its body was accepted then, and may be larger than what
    /// [`StoreOptions::max_message_bytes`](crate::StoreOptions::max_message_bytes) allows by now.
    ///
    /// # Errors
    /// As [`Writer::append`], but for the limit of bodies.
    pub fn append_again(
        &mut self,
        message: &NewMessage<'_>,
        store_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.shared.check_takes()?;
        let record = record_of(message, store_ms);
        self.check(&record)?;
        let bytes = self.most_bytes(&record);
        let limit = self.tail.largest_record();
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        self.make_room(bytes)?;
        self.place(record)
    }

    /// Sees to it that these messages, appended next, lie in one log file and are written by one call: whatever stops the process
    /// keeps all of them or none. Without effect when they are too much for that.
    ///
    /// # Errors
    /// The disk refused while a full file was closed: then everything since the last commit is forgotten, as in a failed commit.
    pub fn keep_together(&mut self, messages: &[&NewMessage<'_>]) -> Result<(), WriteError> {
        let bytes = messages
            .iter()
            .map(|message| self.most_bytes(&record_of(message, 0)))
            .sum();
        if bytes > self.tail.largest_record() {
            return Ok(());
        }
        self.tail
            .make_room_together(bytes)
            .map_err(|(path, error)| self.fail("append to", &path, error))
    }

    /// Takes the messages of a client batch into the next commit, as one record each, all in one file. `common` gives what they share;
    /// its body, properties and flag are not used. The places are added to `placed`.
    ///
    /// # Errors
    /// As [`Writer::append`]; all or nothing.
    ///
    /// Java: `CommitLog.asyncPutMessages`
    pub fn append_batch(
        &mut self,
        common: &NewMessage<'_>,
        items: &[BatchItem<'_>],
        store_ms: i64,
        placed: &mut Vec<Appended>,
    ) -> Result<(), AppendError> {
        self.shared.check_takes()?;
        let mut bytes = 0;
        for item in items {
            let record = record_of(&item_of(common, item), store_ms);
            self.check_body(record.body.len())?;
            self.check(&record)?;
            bytes += self.most_bytes(&record);
        }
        self.check_batch_bytes(bytes)?;
        self.make_room(bytes)?;
        for item in items {
            placed.push(self.place(record_of(&item_of(common, item), store_ms))?);
        }
        Ok(())
    }

    /// Writes what was appended and makes it visible; in [`FlushMode::Sync`] syncs the log in between.
    ///
    /// # Errors
    /// Nothing since the last commit is visible, and the offsets are given out again. After [`WriteErrorKind::ReadOnly`] the messages
    /// may be found after the next start.
    pub fn commit(&mut self) -> Result<(), WriteError> {
        self.commit_with(|_| {})
    }

    /// [`Writer::commit`], telling every message that became visible, in log order.
    ///
    /// # Errors
    /// As [`Writer::commit`]; then nothing is told.
    pub fn commit_with(&mut self, arrived: impl FnMut(&Arrival<'_>)) -> Result<(), WriteError> {
        self.commit_in_steps(|| {}, arrived)
    }

    /// [`Writer::commit_with`], in [`FlushMode::Sync`] also telling that everything is written, before the sync begins.
    ///
    /// # Errors
    /// As [`Writer::commit`]; then no arrival is told.
    pub fn commit_in_steps(
        &mut self,
        written: impl FnOnce(),
        mut arrived: impl FnMut(&Arrival<'_>),
    ) -> Result<(), WriteError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.shared.check_writable()?;
        if self.shared.much_is_waiting()
            && let Err(error) = self.flusher.write_now()
        {
            // the units that wait in memory are bounded: no room for more, no more messages
            self.tail.roll_back();
            self.forget_pending();
            return Err(error);
        }
        if let Err((path, error)) = self.tail.write() {
            return Err(self.fail("append to", &path, error));
        }
        let is_sync = self.is_sync();
        if is_sync {
            self.tail.prepare();
        }
        self.tail.commit();
        if is_sync {
            written();
            if let Err(error) = self.shared.sync_log() {
                self.forget_pending();
                return Err(error);
            }
        }
        self.publish(&mut arrived);
        Ok(())
    }

    /// Syncs the commit log and returns the offset up to which it is on disk. [`Flusher::sync_log`] does the same on another thread.
    ///
    /// # Errors
    /// The sync failed: the store takes no more messages.
    pub fn sync(&mut self) -> Result<i64, WriteError> {
        self.flusher.sync_log()
    }

    /// [`Flusher::tick`] on this thread.
    ///
    /// # Errors
    /// As [`Flusher::tick`].
    pub fn flush_tick(&mut self, now_ms: i64) -> Result<(), WriteError> {
        self.flusher.tick(now_ms)
    }

    /// Whether a commit ends with a sync.
    pub fn is_sync(&self) -> bool {
        self.shared.options.flush == FlushMode::Sync
    }

    /// What writes behind and syncs, for a thread of its own.
    pub fn flusher(&self) -> Flusher {
        self.flusher.clone()
    }

    /// Commits, syncs everything, removes the abort marker and gives the directory back. Readers see an ended store from then on.
    ///
    /// # Errors
    /// Something could not be written or synced: the directory is given back with its abort marker, so that the next start checks it.
    pub fn close(mut self) -> Result<(), WriteError> {
        let done = self.finish();
        self.end();
        done
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        self.commit()?;
        self.shared.check_writable()?;
        self.flusher.sync_now()?;
        let mut ends = Ends::new();
        for queue in self.shared.queues.all() {
            let topic = ends.entry(queue.topic().to_string()).or_default();
            let range = Range {
                begin: queue.min(),
                end: queue.max(),
            };
            topic.insert(queue.queue_id(), range);
        }
        let config = self.shared.layout.config();
        let metadata = &self.shared.metadata;
        let index = self.shared.index.read().as_ref().map(Index::state);
        metadata
            .queue_ends
            .save(self.shared.log.min(), ends)
            .and_then(|()| index.map_or(Ok(()), |state| metadata.index_table.save(state)))
            .map_err(|error| {
                let error = std::io::Error::other(error);
                self.shared.write_error("write to", &config, error)
            })?;
        let abort = self.shared.layout.abort();
        self.shared
            .layout
            .mark_closed(&*self.shared.fs)
            .map_err(|error| self.shared.write_error("remove", &abort, error))
    }

    fn end(&mut self) {
        self.closed = true;
        self.shared.refuse_writes(WriteError::closed());
        self.shared.unlock();
    }

    /// Bytes of a record with what placing may add to it.
    fn most_bytes(&self, record: &Record<'_>) -> usize {
        record.encoded_len() + self.added_bytes(record)
    }

    const fn added_bytes(&self, record: &Record<'_>) -> usize {
        if seal::is_needed(record.sys_flag, self.record_crc) {
            seal::MAX_ADDED_BYTES
        } else {
            0
        }
    }

    fn check_body(&self, bytes: usize) -> Result<(), AppendError> {
        let limit = self.shared.options.max_message_bytes;
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        Ok(())
    }

    fn check(&self, record: &Record<'_>) -> Result<(), AppendError> {
        if record.properties.len() + self.added_bytes(record) > properties::MAX_BYTES {
            return Err(AppendError::PropertiesTooLong {
                bytes: record.properties.len(),
            });
        }
        if !is_directory_name(record.topic) {
            return Err(AppendError::Invalid {
                what: "topic",
                reason: format!("{:?} cannot be a directory name", record.topic),
            });
        }
        if record.queue_id < 0 {
            return Err(AppendError::Invalid {
                what: "queue id",
                reason: format!("{} is negative", record.queue_id),
            });
        }
        // as strict as recovery, which ends the log at a record that it does not believe
        if std::str::from_utf8(record.properties).is_err() || record.properties.last() == Some(&0) {
            return Err(AppendError::Invalid {
                what: "property text",
                reason: "it is not UTF-8, or ends with a zero byte".to_owned(),
            });
        }
        Ok(())
    }

    /// A whole client batch may be as large as one record, as in Java.
    fn check_batch_bytes(&self, bytes: usize) -> Result<(), AppendError> {
        let limit = (self.shared.options.max_message_bytes + OVERHEAD_BYTES)
            .min(self.tail.largest_record());
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), AppendError> {
        self.tail
            .make_room(bytes)
            .map_err(|(path, error)| self.fail("append to", &path, error).into())
    }

    /// Gives the record its offsets and its body's check sum, and encodes it.
    fn place(&mut self, record: Record<'_>) -> Result<Appended, AppendError> {
        if !seal::is_needed(record.sys_flag, self.record_crc) {
            return self.place_as_is(record, false);
        }
        let queue = self.dispatcher.queue_of(record.topic, record.queue_id);
        let next = signed(queue.next());
        let mut properties = std::mem::take(&mut self.properties);
        seal::extend(
            record.properties,
            record.sys_flag,
            next,
            self.record_crc,
            &mut properties,
        );
        let placed = self.place_as_is(
            Record {
                properties: &properties,
                ..record
            },
            self.record_crc,
        );
        self.properties = properties;
        placed
    }

    fn place_as_is(
        &mut self,
        mut record: Record<'_>,
        record_crc: bool,
    ) -> Result<Appended, AppendError> {
        let queue = self.dispatcher.queue_of(record.topic, record.queue_id);
        let in_queue = belongs_in_queue(record.sys_flag);
        let log_offset = self.tail.position();
        record.physical_offset = signed(log_offset);
        record.body_crc = crc32(record.body);
        if in_queue {
            record.queue_offset = signed(queue.next());
        }
        record
            .encode(self.tail.buffer())
            .map_err(|error| AppendError::Invalid {
                what: "message",
                reason: error.to_string(),
            })?;
        let bytes = size(self.tail.position() - log_offset);
        if record_crc {
            let buffer = self.tail.buffer();
            let start = buffer.len() - bytes;
            seal::write_crc(buffer.get_mut(start..).unwrap_or_default());
        }
        // a record is smaller than a file, which is smaller than 2^31
        let len = u32::try_from(bytes).unwrap_or(u32::MAX);
        let levels = &self.shared.options.delay_levels;
        let marks = Marks::of(record.properties);
        let dispatch = Dispatch::of(&record, &marks, log_offset, len, levels);
        if self.shared.options.index {
            keys_of(&record, log_offset, &marks, &mut self.keys);
        }
        if in_queue {
            queue.set_next(queue.after(&dispatch));
        }
        self.pending.push(Pending { queue, dispatch });
        Ok(Appended {
            log_offset: record.physical_offset,
            queue_offset: record.queue_offset,
            bytes,
            store_ms: record.store_ms,
        })
    }

    /// Dispatches everything pending, run by run of the same queue, and tells of it.
    fn publish(&mut self, arrived: &mut impl FnMut(&Arrival<'_>)) {
        for run in self.pending.chunk_by(|a, b| {
            Arc::ptr_eq(&a.queue, &b.queue) && a.dispatch.in_queue == b.dispatch.in_queue
        }) {
            let Some(first) = run.first().filter(|first| first.dispatch.in_queue) else {
                continue;
            };
            self.dispatcher
                .publish(&first.queue, run.iter().map(|pending| &pending.dispatch));
        }
        if let Some(last) = self.pending.last() {
            // together, for an index that catches up
            let mut keys = self.shared.index_keys.lock();
            keys.append(&mut self.keys);
            *self.shared.newest.lock() = Newest {
                log_offset: last.dispatch.unit.log_offset,
                store_ms: last.dispatch.store_ms,
            };
        }
        for pending in self.pending.drain(..) {
            if pending.dispatch.in_queue {
                arrived(&Arrival {
                    topic: pending.queue.topic(),
                    queue_id: pending.queue.queue_id(),
                    queue_offset: signed(pending.dispatch.unit.queue_offset),
                    tags_code: pending.dispatch.unit.tags_code,
                    log_offset: signed(pending.dispatch.unit.log_offset),
                });
            }
        }
    }

    fn fail(&mut self, what: &str, path: &Path, error: std::io::Error) -> WriteError {
        let error = self.shared.write_error(what, path, error);
        debug_assert_ne!(error.kind(), WriteErrorKind::ReadOnly);
        self.tail.roll_back();
        self.forget_pending();
        error
    }

    /// Gives the queue offsets of everything pending back.
    fn forget_pending(&mut self) {
        self.keys.clear();
        for pending in self.pending.drain(..).rev() {
            if pending.dispatch.in_queue {
                pending.queue.set_next(pending.dispatch.unit.queue_offset);
            }
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("shared", &self.shared)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Writer {
    /// Without [`Writer::close`]: as after a crash of the process, except that the lock is given back.
    fn drop(&mut self) {
        if !self.closed {
            self.end();
        }
    }
}

fn item_of<'a>(common: &NewMessage<'a>, item: &BatchItem<'a>) -> NewMessage<'a> {
    NewMessage {
        flag: item.flag,
        body: item.body,
        properties: item.properties,
        ..common.clone()
    }
}

fn record_of<'a>(message: &NewMessage<'a>, store_ms: i64) -> Record<'a> {
    Record {
        body_crc: 0,
        queue_id: message.queue_id,
        flag: message.flag,
        queue_offset: 0,
        physical_offset: 0,
        sys_flag: message.sys_flag,
        born_ms: message.born_ms,
        born_host: message.born_host,
        store_ms,
        store_host: message.store_host,
        reconsume_times: message.reconsume_times,
        prepared_transaction_offset: message.prepared_transaction_offset,
        body: message.body,
        topic: message.topic,
        properties: message.properties,
    }
}

/// Whether a topic can be the name of its directory.
pub(crate) fn is_directory_name(topic: &str) -> bool {
    !topic.is_empty()
        && topic.len() <= MAX_TOPIC_BYTES
        && topic != "."
        && topic != ".."
        && !topic.contains(['/', '\0'])
}
