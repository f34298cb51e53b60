//! A message to send, and a message that was received.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;

use crate::{DecodeError, Properties, Topic, record::Record};

/// A message to send, built fluently: `Message::new("TopicTest", "hello").tag("TagA").key("order-1")`.
///
/// Faults of names and values are kept and reported by the send, so that building never fails.
#[derive(Debug, Clone)]
pub struct Message {
    topic: Arc<str>,
    body: Bytes,
    flag: i32,
    properties: Properties,
    fault: Option<String>,
}

impl Message {
    /// A message of `topic` with `body`.
    pub fn new(topic: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            body: body.into(),
            flag: 0,
            properties: Properties::default(),
            fault: None,
        }
    }
    /// The topic as given.
    pub fn topic(&self) -> &str {
        &self.topic
    }
    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
    /// The user's flag, carried untouched.
    pub fn flag(&self) -> i32 {
        self.flag
    }
    /// All properties.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }
    /// All properties, for library code: reserved names are not refused here.
    pub fn properties_mut(&mut self) -> &mut Properties {
        &mut self.properties
    }
    /// What is wrong with the message as built, if anything.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }
}

/// One queue of a topic on one broker. Ordered as Java orders it: topic, broker name, queue id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MessageQueue {
    /// The topic.
    pub topic: Topic,
    /// The broker's name.
    pub broker_name: Arc<str>,
    /// The queue's number on that broker, from 0.
    pub queue_id: i32,
}

/// A stored message as a client sees it: decompressed, with its place in the log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MessageExt {
    /// Topic as stored.
    pub topic: Arc<str>,
    /// Broker it was read from; empty when unknown.
    pub broker_name: Arc<str>,
    /// Queue number.
    pub queue_id: i32,
    /// Position in the queue.
    pub queue_offset: i64,
    /// Position in the broker's commit log.
    pub commit_log_offset: i64,
    /// Size of the stored record in bytes.
    pub store_size: i32,
    /// Body, decompressed.
    pub body: Bytes,
    /// CRC of the stored body.
    pub body_crc: i32,
    /// The user's flag.
    pub flag: i32,
    /// See [`crate::sys_flag`].
    pub sys_flag: i32,
    /// When the producer created it, ms since 1970.
    pub born_ms: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// When the broker stored it, ms since 1970.
    pub store_ms: i64,
    /// The broker's address.
    pub store_host: SocketAddr,
    /// How often consumption was tried again.
    pub reconsume_times: i32,
    /// Log offset of the half message; 0 when not transactional.
    pub prepared_transaction_offset: i64,
    /// Properties.
    pub properties: Properties,
}

impl MessageExt {
    /// The client's view of a stored record: decompresses the body. Inner batches are expanded by [`MessageExt::decode_all`].
    ///
    /// # Errors
    /// A body that does not decompress.
    pub fn from_record(record: &Record<'_>, broker_name: &Arc<str>) -> Result<Self, DecodeError> {
        let _ = (record, broker_name);
        todo!()
    }
    /// All messages of a pull, pop, query or view body, inner batches expanded.
    ///
    /// # Errors
    /// The first record that does not decode.
    pub fn decode_all(body: &Bytes, broker_name: &Arc<str>) -> Result<Vec<Self>, DecodeError> {
        let _ = (body, broker_name);
        todo!()
    }
    /// The client's message id (`UNIQ_KEY`), or the offset message id where there is none.
    pub fn msg_id(&self) -> String {
        todo!()
    }
    /// Id made of store host and commit log offset.
    pub fn offset_msg_id(&self) -> String {
        todo!()
    }
}
