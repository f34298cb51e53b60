//! A message to send, and a message that was received.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use crate::{
    DecodeError, Properties, Topic, batch,
    compress::Compression,
    id,
    properties::{NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR, name},
    record::{Record, records},
    sys_flag,
};

/// Bytes that the compressed bodies of one reply may grow to, all together.
pub const MAX_DECOMPRESSED_BYTES: usize = 128 << 20;

/// A message to send, built fluently: `Message::new("TopicTest", "hello").tag("TagA").key("order-1")`.
///
/// Faults of names and values are kept and reported by the send, so that building never fails: see [`Message::fault`].
#[derive(Debug, Clone)]
#[must_use = "a message does nothing until it is sent"]
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
    /// Sets the tag that consumers filter by; an empty one removes it. A message has one tag.
    pub fn tag(self, tag: impl AsRef<str>) -> Self {
        self.with(name::TAGS, tag.as_ref())
    }
    /// Adds an index key, by which the message can be found at the broker. A key holds no blank: blanks separate keys.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        let key = key.as_ref();
        if key.contains(char::is_whitespace) {
            self.fail(|| {
                format!("key {key:?} holds a blank: blanks separate the keys of a message")
            });
            return self;
        }
        match self
            .properties
            .get(name::KEYS)
            .map(|keys| format!("{keys} {key}"))
        {
            Some(keys) => self.with(name::KEYS, &keys),
            None => self.with(name::KEYS, key),
        }
    }
    /// Adds several index keys, see [`Message::key`].
    pub fn keys(self, keys: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        keys.into_iter().fold(self, Self::key)
    }
    /// Sets a property of the application. Names that the system uses are refused, as are blank names and values and the
    /// separators 0x01 and 0x02, which the wire text cannot carry.
    ///
    /// Java: `Message.putUserProperty`, which does not look for separators.
    pub fn property(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        if name.trim().is_empty() || value.trim().is_empty() {
            self.fail(|| {
                format!("property {name:?} = {value:?}: neither name nor value may be blank")
            });
        } else if name::is_reserved(name) {
            self.fail(|| format!("property {name:?} is used by the system: choose another name"));
        } else {
            self = self.with(name, value);
        }
        self
    }
    /// Whether the broker answers only after the message is flushed and replicated as it is configured to; `true` unless set.
    pub fn wait_store(self, wait: bool) -> Self {
        self.with(name::WAIT, if wait { "true" } else { "false" })
    }
    /// Delivers the message after one of the broker's delay levels, 1..=18 (1s 5s 10s 30s 1m .. 10m 20m 30m 1h 2h); a higher level
    /// counts as the highest, 0 means at once. Replaces any other delay.
    pub fn delay_level(mut self, level: i32) -> Self {
        if level < 0 {
            self.fail(|| format!("delay level {level} is negative"));
            return self;
        }
        self.timed(name::DELAY, i64::from(level))
    }
    /// Delivers the message after `delay`, to the millisecond. Replaces any other delay.
    pub fn delay(self, delay: Duration) -> Self {
        self.timed(
            name::TIMER_DELAY_MS,
            i64::try_from(delay.as_millis()).unwrap_or(i64::MAX),
        )
    }
    /// Delivers the message at this time, in ms since 1970. Replaces any other delay.
    pub fn deliver_at_ms(mut self, time_ms: i64) -> Self {
        if time_ms < 0 {
            self.fail(|| format!("delivery time {time_ms} is negative"));
            return self;
        }
        self.timed(name::TIMER_DELIVER_MS, time_ms)
    }
    /// Delivers the message at this time, to the millisecond. Replaces any other delay.
    pub fn deliver_at(mut self, time: SystemTime) -> Self {
        let Ok(since) = time.duration_since(UNIX_EPOCH) else {
            self.fail(|| "the delivery time is before 1970".to_owned());
            return self;
        };
        self.deliver_at_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
    /// Messages with one sharding key keep their order in topics of ordered messages.
    pub fn sharding_key(self, key: impl AsRef<str>) -> Self {
        self.with(name::SHARDING_KEY, key.as_ref())
    }
    /// Priority in priority topics, 0 or more.
    pub fn priority(mut self, priority: i32) -> Self {
        if priority < 0 {
            self.fail(|| format!("priority {priority} is negative"));
            return self;
        }
        self.with(name::PRIORITY, &priority.to_string())
    }
    /// Lite topic below the message's topic.
    pub fn lite_topic(self, lite_topic: impl AsRef<str>) -> Self {
        self.with(name::LITE_TOPIC, lite_topic.as_ref())
    }
    /// Buyer id, carried for applications that use it.
    pub fn buyer_id(self, buyer_id: impl AsRef<str>) -> Self {
        self.with(name::BUYER_ID, buyer_id.as_ref())
    }
    /// Sets a number that RocketMQ carries untouched.
    pub fn with_flag(mut self, flag: i32) -> Self {
        self.flag = flag;
        self
    }
    /// The same message for another topic.
    pub fn with_topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.topic = topic.into();
        self
    }
    /// The same message with another body.
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The topic as given.
    pub fn topic(&self) -> &str {
        &self.topic
    }
    /// The topic as given, to be shared without a copy.
    pub fn topic_arc(&self) -> &Arc<str> {
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
    /// The tag.
    pub fn tags(&self) -> Option<&str> {
        self.properties.get(name::TAGS)
    }
    /// Whether the broker is to wait for flush and replication.
    pub fn waits_for_store(&self) -> bool {
        self.properties
            .get(name::WAIT)
            .is_none_or(|wait| wait != "false")
    }
    /// Whether any delay is asked for.
    pub fn is_delayed(&self) -> bool {
        DELAYS
            .iter()
            .any(|delay| self.properties.get(delay).is_some_and(|value| value != "0"))
    }
    /// What is wrong with the message as built, if anything; the first fault counts.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        if [name, value]
            .iter()
            .any(|text| text.contains([NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR]))
        {
            self.fail(|| format!("property {name:?} = {value:?}: the characters 0x01 and 0x02 separate properties"));
        } else {
            self.properties.set(name, value);
        }
        self
    }
    fn timed(mut self, name: &str, value: i64) -> Self {
        for delay in DELAYS {
            self.properties.remove(delay);
        }
        if value == 0 {
            self
        } else {
            self.with(name, &value.to_string())
        }
    }
    fn fail(&mut self, fault: impl FnOnce() -> String) {
        self.fault.get_or_insert_with(fault);
    }
}

/// The ways to ask for a delay; a message uses one of them.
const DELAYS: [&str; 4] = [
    name::DELAY,
    name::TIMER_DELAY_SEC,
    name::TIMER_DELAY_MS,
    name::TIMER_DELIVER_MS,
];

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
    /// Size of the stored record in bytes; 0 for a message out of an inner batch.
    pub store_size: i32,
    /// Body, decompressed.
    pub body: Bytes,
    /// CRC of the stored body; 0 for a message out of an inner batch.
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
        Self::build(
            record,
            record.topic.into(),
            broker_name,
            MAX_DECOMPRESSED_BYTES,
            Bytes::copy_from_slice,
        )
    }
    /// All messages of a pull, pop, query or view body, inner batches expanded. Bodies that are not compressed share the memory of
    /// `body`.
    ///
    /// # Errors
    /// The first record that does not decode; [`MessageExt::decode_until_fault`] keeps what came before it.
    pub fn decode_all(body: &Bytes, broker_name: &Arc<str>) -> Result<Vec<Self>, DecodeError> {
        match Self::decode_until_fault(body, broker_name) {
            (messages, None) => Ok(messages),
            (_, Some(fault)) => Err(fault),
        }
    }
    /// As [`MessageExt::decode_all`], but returns the messages before the first bad record beside its fault. Java drops everything
    /// from the bad record on, without a word: `MessageDecoder.decodes`.
    pub fn decode_until_fault(
        body: &Bytes,
        broker_name: &Arc<str>,
    ) -> (Vec<Self>, Option<DecodeError>) {
        let mut decoding = Decoding::of(body, broker_name);
        for record in records(body) {
            if let Err(fault) = record.and_then(|record| decoding.push(&record)) {
                return (decoding.messages, Some(fault));
            }
        }
        (decoding.messages, None)
    }
    /// As [`MessageExt::decode_all`], but leaves out only what cannot be read: a message whose body does not decompress here costs none
    /// of those behind it.
    pub fn decode_readable(body: &Bytes, broker_name: &Arc<str>) -> Readable {
        let mut decoding = Decoding::of(body, broker_name);
        let mut readable = Readable::default();
        for record in records(body) {
            let fault = match record {
                Ok(record) => {
                    let is_first = decoding.budget == MAX_DECOMPRESSED_BYTES;
                    match decoding.push(&record) {
                        Ok(()) => continue,
                        Err(_) if !is_first && record.sys_flag & sys_flag::COMPRESSED != 0 => {
                            readable.resume_at = Some(record.queue_offset);
                            break;
                        }
                        Err(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            readable.faults.push(fault);
        }
        readable.messages = decoding.messages;
        readable
    }
    /// The client's message id (`UNIQ_KEY`), or the offset message id where there is none.
    pub fn msg_id(&self) -> String {
        match self.properties.get(name::UNIQ_KEY) {
            Some(id) => id.to_owned(),
            None => self.offset_msg_id(),
        }
    }
    /// Id made of store host and commit log offset.
    pub fn offset_msg_id(&self) -> String {
        id::offset_msg_id(self.store_host, self.commit_log_offset)
    }
    /// The tag.
    pub fn tags(&self) -> Option<&str> {
        self.properties.get(name::TAGS)
    }
    /// The index keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.properties
            .get(name::KEYS)
            .unwrap_or_default()
            .split(' ')
            .filter(|key| !key.is_empty())
    }
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name)
    }

    fn build(
        record: &Record<'_>,
        topic: Arc<str>,
        broker_name: &Arc<str>,
        max_body_bytes: usize,
        keep_body: impl FnOnce(&[u8]) -> Bytes,
    ) -> Result<Self, DecodeError> {
        let compressed = record.sys_flag & sys_flag::COMPRESSED != 0;
        let body = if compressed {
            Compression::from_sys_flag(record.sys_flag)?
                .decompress(record.body, max_body_bytes)?
                .into()
        } else {
            keep_body(record.body)
        };
        Ok(Self {
            topic,
            broker_name: Arc::clone(broker_name),
            queue_id: record.queue_id,
            queue_offset: record.queue_offset,
            commit_log_offset: record.physical_offset,
            store_size: i32::try_from(record.encoded_len()).unwrap_or(i32::MAX),
            body,
            body_crc: record.body_crc,
            flag: record.flag,
            sys_flag: record.sys_flag & !sys_flag::COMPRESSED,
            born_ms: record.born_ms,
            born_host: record.born_host,
            store_ms: record.store_ms,
            store_host: record.store_host,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: record.prepared_transaction_offset,
            properties: Properties::parse_bytes(record.properties),
        })
    }
    /// The messages of the inner batch that the message holds, or itself where it is none.
    ///
    /// # Errors
    /// An inner batch whose items do not decode.
    pub fn expanded(self) -> Result<Vec<Self>, DecodeError> {
        let mut messages = Vec::new();
        self.expand_into(&mut messages)?;
        Ok(messages)
    }
    /// Appends the message, or the messages of the inner batch that it holds. Java: `MessageDecoder.decodeMessage`.
    fn expand_into(self, messages: &mut Vec<Self>) -> Result<(), DecodeError> {
        const INNER_BATCH: i32 = sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP;
        if self.sys_flag & INNER_BATCH != INNER_BATCH {
            messages.push(self);
            return Ok(());
        }
        let whole = messages.len();
        for (item, place) in batch::items(&self.body).zip(0..) {
            let item = item.inspect_err(|_| messages.truncate(whole))?;
            messages.push(Self {
                // as in Java, an offset from outside may be so large that the next ones begin anew
                queue_offset: self.queue_offset.wrapping_add(place),
                store_size: 0,
                body: self.body.slice_ref(item.body),
                body_crc: 0,
                flag: item.flag,
                properties: Properties::parse_bytes(item.properties),
                topic: Arc::clone(&self.topic),
                broker_name: Arc::clone(&self.broker_name),
                ..self
            });
        }
        Ok(())
    }
}

/// What [`MessageExt::decode_readable`] makes of a body.
#[derive(Debug, Default)]
pub struct Readable {
    /// The messages that can be read.
    pub messages: Vec<MessageExt>,
    /// Why others cannot; behind a record without a sound frame nothing can.
    pub faults: Vec<DecodeError>,
    /// Queue offset of a message that does not decompress into what those before it left of [`MAX_DECOMPRESSED_BYTES`]; it and those
    /// behind it are left out, and may be asked for again.
    pub resume_at: Option<i64>,
}

/// The messages of one body, as far as they are decoded.
struct Decoding<'a> {
    body: &'a Bytes,
    broker_name: &'a Arc<str>,
    /// A pull has one topic: its name is allocated once.
    topic: Arc<str>,
    /// Bytes that bodies may still take decompressed.
    budget: usize,
    messages: Vec<MessageExt>,
}

impl<'a> Decoding<'a> {
    fn of(body: &'a Bytes, broker_name: &'a Arc<str>) -> Self {
        Self {
            body,
            broker_name,
            topic: "".into(),
            budget: MAX_DECOMPRESSED_BYTES,
            messages: Vec::new(),
        }
    }

    /// Decodes one more record; a bad one leaves nothing.
    fn push(&mut self, record: &Record<'_>) -> Result<(), DecodeError> {
        if *self.topic != *record.topic {
            self.topic = record.topic.into();
        }
        let message = MessageExt::build(
            record,
            Arc::clone(&self.topic),
            self.broker_name,
            self.budget,
            |bytes| self.body.slice_ref(bytes),
        )?;
        if record.sys_flag & sys_flag::COMPRESSED != 0 {
            self.budget = self.budget.saturating_sub(message.body.len());
        }
        message.expand_into(&mut self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_the_property_text() {
        let message = Message::new("T", "b")
            .tag("TagA")
            .key("k1")
            .key("k2")
            .property("colour", "red")
            .wait_store(false);
        assert_eq!(message.fault(), None);
        assert_eq!(
            message.properties().as_str(),
            "TAGS\x01TagA\x02KEYS\x01k1 k2\x02colour\x01red\x02WAIT\x01false\x02"
        );
        assert!(!message.waits_for_store());
        assert!(
            Message::new("T", "b")
                .tag("a")
                .tag("")
                .properties()
                .is_empty()
        );
    }

    #[test]
    fn the_first_fault_is_kept() {
        let fault = |message: Message| message.fault().map(str::to_owned).unwrap_or_default();
        let message = || Message::new("T", "b");
        assert!(
            fault(message().property("UNIQ_KEY", "1").key("a b")).contains("used by the system")
        );
        assert!(fault(message().key("a b")).contains("blank"));
        assert!(fault(message().property(" ", "1")).contains("blank"));
        assert!(fault(message().property("a", "1\x02")).contains("0x02"));
        assert!(fault(message().tag("a\x01")).contains("0x01"));
        assert!(fault(message().priority(-1)).contains("negative"));
        assert!(fault(message().delay_level(-1)).contains("negative"));
    }

    #[test]
    fn the_last_delay_counts() {
        let message = Message::new("T", "b")
            .delay_level(3)
            .delay(Duration::from_millis(1500));
        assert_eq!(message.properties().as_str(), "TIMER_DELAY_MS\x011500\x02");
        assert!(message.is_delayed());
        let message = message.deliver_at(UNIX_EPOCH + Duration::from_millis(1_700_000_000_001));
        assert_eq!(
            message.properties().as_str(),
            "TIMER_DELIVER_MS\x011700000000001\x02"
        );
        assert!(!message.delay_level(0).is_delayed());
        let before = Message::new("T", "b").deliver_at(UNIX_EPOCH - Duration::from_secs(1));
        assert!(before.fault().is_some_and(|fault| fault.contains("1970")));
    }
}
