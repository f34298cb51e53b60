//! Second stage: what all attempts share. Message id, compression, sys flag, header values of retry topics.
//!
//! Done once per send, so that every attempt carries the same message id (Java compresses again for each attempt, and forgets the
//! retry-topic values after the first).

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use rocketry_protocol::{
    Message, Topic, batch, compress::Compression, id::IdSource, properties, properties::name,
    sys_flag, topic,
};
use rocketry_remoting::LogLimit;

use super::{
    Outgoing,
    validate::{Checked, Limits},
};
use crate::{
    config::ProducerConfig,
    error::{Error, ErrorKind},
};

/// The options that this stage looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrepareConfig {
    compression: Option<Compression>,
    compress_from_bytes: usize,
    compress_level: i32,
}

impl PrepareConfig {
    pub(crate) fn new(config: &ProducerConfig) -> Self {
        Self {
            compression: config.compression,
            compress_from_bytes: config.compress_from_bytes,
            compress_level: config.compress_level,
        }
    }
}

/// Which request a message travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Message,
    Batch,
    Reply,
}

/// A message with everything that does not depend on the broker that takes it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) topic: Topic,
    /// The topic as the application knows it.
    pub(crate) result_topic: Topic,
    /// The message with its message id; of a batch, the message that holds it.
    pub(crate) message: Message,
    /// The body as it travels, where that is not the message's own.
    pub(crate) compressed: Option<Bytes>,
    pub(crate) sys_flag: i32,
    pub(crate) kind: Kind,
    /// What the result reports: the message id, or the ids of a batch.
    pub(crate) msg_id: String,
    pub(crate) reconsume_times: i32,
    pub(crate) max_reconsume_times: Option<i32>,
    /// When that was, milliseconds since 1970.
    pub(crate) ready_ms: i64,
}

impl Prepared {
    /// The body as it travels.
    pub(crate) fn wire_body(&self) -> &Bytes {
        self.compressed
            .as_ref()
            .unwrap_or_else(|| self.message.body())
    }

    /// What [`Prepared::compress_with`] is to do, if anything.
    pub(crate) fn wants_compression(&self, config: &PrepareConfig) -> Option<Job> {
        let body = self.message.body();
        let compression = config.compression?;
        (self.kind != Kind::Batch && body.len() >= config.compress_from_bytes).then(|| Job {
            compression,
            level: config.compress_level,
            body: body.clone(),
        })
    }

    /// Takes over the outcome of a compression job.
    pub(crate) fn compress_with(&mut self, compressed: Option<(Bytes, i32)>) {
        if let Some((body, flags)) = compressed {
            self.compressed = Some(body);
            self.sys_flag |= flags;
        }
    }
}

/// A body to compress; pure, so that it can run on a thread of its own.
#[derive(Debug)]
pub(crate) struct Job {
    compression: Compression,
    level: i32,
    body: Bytes,
}

impl Job {
    /// Bytes from which compression leaves the runtime's threads: about a millisecond of zlib.
    pub(crate) const OFF_THREAD_BYTES: usize = 64 * 1024;

    pub(crate) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The compressed body and its sys flags; `None` when it did not get smaller or the codec is not compiled in: the body then
    /// travels as it is. Java sends the compressed form even when it is longer.
    pub(crate) fn run(self) -> Option<(Bytes, i32)> {
        match self.compression.compress(&self.body, self.level) {
            Ok(compressed) if compressed.len() < self.body.len() => Some((
                compressed.into(),
                sys_flag::COMPRESSED | self.compression.sys_flag_bits(),
            )),
            Ok(_) => None,
            Err(error) => {
                warn_uncompressed(&error);
                None
            }
        }
    }
}

/// A codec that fails does so for every message: it is logged once in a while.
pub(crate) fn warn_uncompressed(error: &dyn std::fmt::Display) {
    static LIMIT: LogLimit = LogLimit::new();
    if let Some(held_back) = LIMIT.pass() {
        tracing::warn!(%error, held_back, "body sent uncompressed");
    }
}

/// Gives the message its id and works out the header values that all attempts share.
///
/// # Errors
/// [`ErrorKind::InvalidMessage`] for numbers of a retry topic that do not parse, [`ErrorKind::MessageTooLarge`] for a batch beyond the
/// limit.
pub(crate) fn prepare(
    checked: Checked,
    limits: Limits,
    ids: &IdSource,
    ms_since_month_start: u32,
) -> Result<Prepared, Error> {
    let Checked { topic, outgoing } = checked;
    match outgoing {
        Outgoing::Single(message) => single(topic, message, ids, ms_since_month_start),
        Outgoing::Batch(messages) => {
            whole_batch(topic, messages, limits, ids, ms_since_month_start)
        }
        Outgoing::Gathered(messages) => {
            let tags = messages.first().and_then(Message::tags).map(str::to_owned);
            let keys = keys_of(&messages);
            let mut batch = whole_batch(topic, messages, limits, ids, ms_since_month_start)?;
            let properties = batch.message.properties_mut();
            if let Some(tags) = tags {
                properties.set(name::TAGS, &tags);
            }
            if !keys.is_empty() {
                properties.set(name::KEYS, &keys);
            }
            Ok(batch)
        }
    }
}

fn single(topic: Topic, mut message: Message, ids: &IdSource, ms: u32) -> Result<Prepared, Error> {
    let msg_id = ensure_id(&mut message, ids, ms);
    let properties = message.properties();
    let mut sys_flag = 0;
    if properties
        .get(name::TRAN_MSG)
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    {
        sys_flag |= sys_flag::TRANSACTION_PREPARED;
    }
    let kind = if properties.get(name::MSG_TYPE) == Some("reply") {
        Kind::Reply
    } else {
        Kind::Message
    };
    let (mut reconsume_times, mut max_reconsume_times) = (0, None);
    if topic.as_str().starts_with(topic::RETRY_PREFIX) {
        reconsume_times = number(&message, name::RECONSUME_TIME)?.unwrap_or(0);
        max_reconsume_times = number(&message, name::MAX_RECONSUME_TIMES)?;
    }
    Ok(Prepared {
        result_topic: topic.clone(),
        topic,
        message,
        compressed: None,
        sys_flag,
        kind,
        msg_id,
        reconsume_times,
        max_reconsume_times,
        ready_ms: 0,
    })
}

fn whole_batch(
    topic: Topic,
    messages: Vec<Message>,
    limits: Limits,
    ids: &IdSource,
    ms: u32,
) -> Result<Prepared, Error> {
    let count = messages.len();
    let mut body = Vec::new();
    let mut msg_id = String::with_capacity(messages.len() * 33);
    let wait = messages.first().is_none_or(Message::waits_for_store);
    for mut message in messages {
        let id = ensure_id(&mut message, ids, ms);
        if !msg_id.is_empty() {
            msg_id.push(',');
        }
        msg_id.push_str(&id);
        batch::encode_item(
            &batch::BatchItem {
                flag: message.flag(),
                body: message.body(),
                properties: message.properties().as_str().as_bytes(),
            },
            &mut body,
        )
        .map_err(|error| {
            Error::new(
                ErrorKind::MessageTooLarge,
                "encode the batch",
                error.to_string(),
            )
            .with_topic(Arc::clone(topic.as_arc()))
            .with_source(error)
        })?;
    }
    if body.len() > limits.max_message_bytes {
        return Err(Error::new(
            ErrorKind::MessageTooLarge,
            format!("send to topic {:?}", topic.as_str()),
            format!(
                "the batch of {count} messages has {} bytes, the limit is {}",
                body.len(),
                limits.max_message_bytes
            ),
        )
        .with_topic(Arc::clone(topic.as_arc()))
        .with_hint("cut it with rocketry::split_batch"));
    }
    let mut message = Message::new(Arc::clone(topic.as_arc()), body).wait_store(wait);
    ensure_id(&mut message, ids, ms);
    Ok(Prepared {
        result_topic: topic.clone(),
        topic,
        message,
        compressed: None,
        sys_flag: 0,
        kind: Kind::Batch,
        msg_id,
        reconsume_times: 0,
        max_reconsume_times: None,
        ready_ms: 0,
    })
}

/// The keys of several messages, each once, in order. Java joins them in synchronous sends only, and in no order.
fn keys_of(messages: &[Message]) -> String {
    let mut seen = HashSet::new();
    let mut joined = String::new();
    for keys in messages
        .iter()
        .filter_map(|message| message.properties().get(name::KEYS))
    {
        for key in keys.split(' ').filter(|key| !key.is_empty()) {
            // a batch that is stored as one record has the limit of one
            if joined.len() + key.len() < MAX_KEYS_BYTES && seen.insert(key) {
                if !joined.is_empty() {
                    joined.push(' ');
                }
                joined.push_str(key);
            }
        }
    }
    joined
}

/// Leaves room for the other properties of a batch.
const MAX_KEYS_BYTES: usize = properties::MAX_BYTES - 1024;

/// The message's id; a new one unless it has been sent before. Java: `MessageClientIDSetter.setUniqID`.
pub(super) fn ensure_id(message: &mut Message, ids: &IdSource, ms: u32) -> String {
    if let Some(id) = message.properties().get(name::UNIQ_KEY) {
        return id.to_owned();
    }
    let id = ids.next(ms);
    message.properties_mut().set(name::UNIQ_KEY, &id);
    id
}

fn number(message: &Message, property: &'static str) -> Result<Option<i32>, Error> {
    message
        .properties()
        .get(property)
        .map(|text| {
            text.parse().map_err(|_| {
                Error::new(
                    ErrorKind::InvalidMessage,
                    format!("send to topic {:?}", message.topic()),
                    format!("property {property} is {text:?}, not a number"),
                )
                .with_topic(Arc::clone(message.topic_arc()))
            })
        })
        .transpose()
}

/// Cuts messages of one topic into lists whose encoded size is at most `max_bytes`, in order. A message that is larger by itself gets
/// a list of its own, which the send then refuses by name.
///
/// Java has no such helper; its documentation asks applications to write one.
pub fn split_batch(messages: Vec<Message>, max_bytes: usize) -> Vec<Vec<Message>> {
    let mut lists = Vec::new();
    let mut list = Vec::new();
    let mut list_bytes = 0;
    for message in messages {
        let bytes = batch::ITEM_OVERHEAD
            + message.body().len()
            + message.properties().len_bytes()
            + ID_BYTES;
        if list_bytes + bytes > max_bytes && !list.is_empty() {
            lists.push(std::mem::take(&mut list));
            list_bytes = 0;
        }
        list_bytes += bytes;
        list.push(message);
    }
    if !list.is_empty() {
        lists.push(list);
    }
    lists
}

/// What the message id adds to a message: `UNIQ_KEY`, two separators, and the id (at most that of an IPv6 client).
const ID_BYTES: usize = name::UNIQ_KEY.len() + 2 + 56;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::validate;

    const LIMITS: Limits = Limits {
        max_message_bytes: 4 * 1024 * 1024,
    };

    fn ids() -> IdSource {
        IdSource::new([10, 0, 0, 1].into(), 4660, 7)
    }
    fn prepared(outgoing: Outgoing) -> Prepared {
        prepare(
            validate::check(outgoing, LIMITS).unwrap(),
            LIMITS,
            &ids(),
            120_000,
        )
        .unwrap()
    }
    fn compressed(body: Vec<u8>, compression: Compression) -> Prepared {
        let config = PrepareConfig::new(&ProducerConfig {
            compression: Some(compression),
            ..ProducerConfig::default()
        });
        let mut prepared = prepared(Outgoing::Single(Message::new("T", body)));
        let outcome = prepared.wants_compression(&config).and_then(Job::run);
        prepared.compress_with(outcome);
        prepared
    }

    /// P-025
    #[test]
    fn a_message_gets_an_id_of_address_process_and_time() {
        let prepared = prepared(Outgoing::Single(Message::new("T", "x")));
        assert_eq!(prepared.msg_id, "0A0000011234000000070001D4C00007");
        assert_eq!(
            prepared.message.properties().get("UNIQ_KEY"),
            Some(&*prepared.msg_id)
        );
    }

    /// P-028
    #[test]
    fn a_message_sent_again_keeps_its_id() {
        let first = prepared(Outgoing::Single(Message::new("T", "x")));
        let id = first.msg_id.clone();
        let second = prepared(Outgoing::Single(first.message));
        assert_eq!(second.msg_id, id);
    }

    /// P-074
    #[test]
    fn bodies_from_the_threshold_on_are_compressed() {
        let plain = compressed(vec![b'a'; 4095], Compression::Zlib);
        assert_eq!((plain.sys_flag, plain.wire_body().len()), (0, 4095));
        let zlib = compressed(vec![b'a'; 4096], Compression::Zlib);
        assert_eq!(zlib.sys_flag, 769);
        assert!(zlib.wire_body().len() < 100);
        assert_eq!(
            Compression::Zlib
                .decompress(zlib.wire_body(), 1 << 20)
                .unwrap(),
            vec![b'a'; 4096]
        );
    }

    /// P-075
    #[test]
    fn every_type_sets_its_flag_and_an_incompressible_body_goes_plain() {
        assert_eq!(compressed(vec![b'a'; 5000], Compression::Lz4).sys_flag, 257);
        #[cfg(feature = "zstd")]
        assert_eq!(
            compressed(vec![b'a'; 5000], Compression::Zstd).sys_flag,
            513
        );
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(5000)
            .collect();
        let plain = compressed(noise.clone(), Compression::Zlib);
        assert_eq!((plain.sys_flag, &**plain.wire_body()), (0, &*noise));
    }

    /// P-076
    #[test]
    fn half_messages_set_the_transaction_bit() {
        let mut message = Message::new("T", "x");
        message.properties_mut().set("TRAN_MSG", "TRUE");
        assert_eq!(prepared(Outgoing::Single(message)).sys_flag, 4);
    }

    /// P-077
    #[test]
    fn retry_topics_carry_their_counts_into_the_header() {
        let mut message = Message::new("%RETRY%g", "x");
        message.properties_mut().set("RECONSUME_TIME", "3");
        message.properties_mut().set("MAX_RECONSUME_TIMES", "5");
        let retried = prepared(Outgoing::Single(message.clone()));
        assert_eq!(
            (retried.reconsume_times, retried.max_reconsume_times),
            (3, Some(5))
        );
        let other = prepared(Outgoing::Single(message.with_topic("T")));
        assert_eq!(
            (other.reconsume_times, other.max_reconsume_times),
            (0, None)
        );
    }

    #[test]
    fn a_retry_count_that_is_no_number_is_refused() {
        let mut message = Message::new("%RETRY%g", "x");
        message.properties_mut().set("RECONSUME_TIME", "three");
        let checked = validate::check(Outgoing::Single(message), LIMITS).unwrap();
        let error = prepare(checked, LIMITS, &ids(), 0).unwrap_err();
        assert!(
            error.to_string().contains("RECONSUME_TIME is \"three\""),
            "{error}"
        );
    }

    /// P-095, P-098
    #[test]
    fn a_batch_keeps_keys_and_ids_of_its_messages() {
        let messages = (0..3)
            .map(|n| Message::new("T", format!("body-{n}")).key(format!("k{n}")))
            .collect();
        let prepared = prepared(Outgoing::Batch(messages));
        assert_eq!(prepared.kind, Kind::Batch);
        let ids: Vec<_> = prepared.msg_id.split(',').collect();
        assert_eq!(ids.len(), 3);
        for (n, item) in batch::items(prepared.message.body()).enumerate() {
            let item = item.unwrap();
            assert_eq!(item.body, format!("body-{n}").as_bytes());
            let properties = rocketry_protocol::Properties::parse_bytes(item.properties);
            assert_eq!(properties.get("UNIQ_KEY"), Some(ids[n]));
            assert_eq!(properties.get("KEYS"), Some(&*format!("k{n}")));
        }
        let own = prepared.message.properties().get("UNIQ_KEY").unwrap();
        assert!(!ids.contains(&own));
        assert_eq!(prepared.message.properties().get("WAIT"), Some("true"));
        // never compressed, however large
        let config = PrepareConfig::new(&ProducerConfig {
            compress_from_bytes: 1,
            ..ProducerConfig::default()
        });
        assert!(prepared.wants_compression(&config).is_none());
    }

    /// P-097
    #[test]
    fn an_encoded_batch_has_the_limit_of_a_message() {
        // 22 bytes of frame, 10 of body, 42 of message id
        let limits = Limits {
            max_message_bytes: 3 * 74,
        };
        let of = |n| {
            let outgoing = Outgoing::Batch(vec![Message::new("T", vec![1; 10]); n]);
            let checked = validate::check(outgoing, limits).unwrap();
            prepare(checked, limits, &ids(), 0)
        };
        assert_eq!(of(3).unwrap().message.body().len(), 3 * 74);
        let error = of(4).unwrap_err();
        assert_eq!(
            (error.kind(), error.java_code()),
            (ErrorKind::MessageTooLarge, 13)
        );
        assert!(
            error
                .to_string()
                .contains("the batch of 4 messages has 296 bytes, the limit is 222"),
            "{error}"
        );
    }

    /// P-097
    #[test]
    fn split_lists_pass_the_limit_and_lose_nothing() {
        let limits = Limits {
            max_message_bytes: 4096,
        };
        let mut random = fastrand::Rng::with_seed(2);
        let messages: Vec<_> = (0..500)
            .map(|n| {
                Message::new("T", vec![b'x'; random.usize(1..3000)]).property("n", n.to_string())
            })
            .collect();
        let lists = split_batch(messages, 4096);
        let mut seen = 0;
        for list in lists {
            for message in &list {
                assert_eq!(message.properties().get("n"), Some(&*seen.to_string()));
                seen += 1;
            }
            let checked = validate::check(Outgoing::Batch(list), limits).unwrap();
            let prepared = prepare(checked, limits, &ids(), 0).unwrap();
            assert!(prepared.message.body().len() <= 4096);
        }
        assert_eq!(seen, 500);
        assert!(split_batch(Vec::new(), 10).is_empty());
        assert_eq!(
            split_batch(vec![Message::new("T", vec![0; 99]); 2], 10).len(),
            2
        );
    }
}
