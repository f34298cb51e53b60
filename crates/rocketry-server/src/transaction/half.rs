//! A half message and what becomes of it: the delivered message, another copy, the question to its producer.

use bytes::Bytes;
use rocketry_protocol::{
    DecodeError, EncodeError, Properties, properties::name, record::Record, sys_flag,
};

use super::QUEUE;
use crate::{
    broker::Broker,
    fault::Fault,
    find,
    names::{CHECK_MAX_TOPIC, HALF_TOPIC},
    put,
    writer::{Origin, Put},
};

/// Turns a message into its half message. Delays take effect when it is committed.
/// Java: `TransactionalMessageBridge.parseHalfMessageInner`.
pub(crate) fn prepare(
    broker: &Broker,
    put: &mut Put,
    properties: &mut Properties,
    now_ms: i64,
) -> Result<(), Fault> {
    if let Some(id) = properties.get(name::UNIQ_KEY).map(str::to_owned) {
        properties.set(name::TRANSACTION_ID, &id);
    }
    properties.set(name::REAL_TOPIC, &put.topic.topic_name);
    properties.set(name::REAL_QID, &put.queue_id.to_string());
    put::leave_room(broker, properties, put::HALF_ROOM)?;
    // The flag of a half message would keep it out of its queue.
    put.sys_flag &= !sys_flag::TRANSACTION_ROLLBACK;
    put.topic = find::plain_topic(broker, HALF_TOPIC, 1, false, now_ms);
    put.queue_id = QUEUE;
    Ok(())
}

/// A stored half message.
#[derive(Debug)]
pub(crate) struct Half {
    bytes: Bytes,
    pub(crate) properties: Properties,
    pub(crate) queue_offset: i64,
    pub(crate) log_offset: i64,
    pub(crate) born_ms: i64,
    pub(super) store_ms: i64,
}

impl Half {
    /// `None` when the record is not one.
    pub(crate) fn read(bytes: Bytes) -> Result<Option<Self>, DecodeError> {
        let (record, _) = Record::parse(&bytes)?;
        if record.topic != HALF_TOPIC {
            return Ok(None);
        }
        Ok(Some(Self {
            properties: Properties::parse_bytes(record.properties),
            queue_offset: record.queue_offset,
            log_offset: record.physical_offset,
            born_ms: record.born_ms,
            store_ms: record.store_ms,
            bytes,
        }))
    }

    /// The topic that it was sent to.
    pub(crate) fn real_topic(&self) -> &str {
        self.properties.get(name::REAL_TOPIC).unwrap_or_default()
    }

    /// Time after its birth before which its producer is not asked, if it says so itself. Java: `getImmunityTime`.
    pub(crate) fn immunity_ms(&self, transaction_timeout_ms: i64) -> Option<i64> {
        let text = self.properties.get(name::CHECK_IMMUNITY_TIME_IN_SECONDS)?;
        Some(match text.parse::<i64>() {
            Ok(-1) | Err(_) => transaction_timeout_ms,
            Ok(seconds) => seconds.saturating_mul(1000),
        })
    }

    /// How often its producer was asked.
    pub(super) fn checked(&self) -> i32 {
        self.properties
            .get(name::TRANSACTION_CHECK_TIMES)
            .map_or(0, |times| times.parse().unwrap_or(-1))
    }

    /// The first copy of one whose check was put off.
    pub(super) fn put_off_from(&self) -> Option<i64> {
        self.properties
            .get(name::TRAN_PREPARED_QUEUE_OFFSET)?
            .parse()
            .ok()
    }

    /// The message to deliver: its delay still has to be looked at. `None` when it has nowhere to go.
    /// Java: `EndTransactionProcessor.endMessageTransaction`.
    pub(crate) fn committed(&self, broker: &Broker) -> Option<(Put, Properties)> {
        let (record, _) = Record::parse(&self.bytes).ok()?;
        let topic = self.properties.get(name::REAL_TOPIC)?;
        let queue_id = self.properties.get(name::REAL_QID)?.parse().ok()?;
        let topic = broker.topics().get(topic)?;
        let mut properties = self.properties.clone();
        properties.remove(name::REAL_TOPIC);
        properties.remove(name::REAL_QID);
        let put = Put {
            topic,
            queue_id,
            sys_flag: record.sys_flag & !sys_flag::TRANSACTION_ROLLBACK
                | sys_flag::TRANSACTION_COMMIT,
            prepared_transaction_offset: self.log_offset,
            ..self.put_of(broker, &record)?
        };
        Some((put, properties))
    }

    /// Another copy for the end of the queue, its check counted. Java: `renewHalfMessageInner`, which loses the user's flag and the
    /// number of retries.
    pub(super) fn checked_again(&self, broker: &Broker) -> Option<Put> {
        let times = self.checked().saturating_add(1).max(1);
        self.copy(broker, name::TRANSACTION_CHECK_TIMES, i64::from(times))
    }

    /// Another copy for the end of the queue, which names the first one. Differs from Java: waiting is not counted as a check.
    /// Java: `renewImmunityHalfMessageInner`.
    pub(super) fn put_off(&self, broker: &Broker) -> Option<Put> {
        let first = self.put_off_from().unwrap_or(self.queue_offset);
        self.copy(broker, name::TRAN_PREPARED_QUEUE_OFFSET, first)
    }

    /// The message that is kept of one that nobody decided. Java: `resolveDiscardMsg`.
    pub(super) fn given_up(&self, broker: &Broker, now_ms: i64) -> Option<Put> {
        let (record, _) = Record::parse(&self.bytes).ok()?;
        Some(Put {
            topic: find::plain_topic(broker, CHECK_MAX_TOPIC, 1, false, now_ms),
            queue_id: 0,
            ..self.put_of(broker, &record)?
        })
    }

    /// What its producer is shown: the copy at `queue_offset`, with the topic and queue it was sent to.
    /// Java: `AbstractTransactionalMessageCheckListener.sendCheckMessage`.
    pub(super) fn question(
        &self,
        copy: &Put,
        queue_offset: i64,
        log_offset: i64,
    ) -> Result<Bytes, EncodeError> {
        let mut out = Vec::new();
        if let Ok((record, _)) = Record::parse(&self.bytes) {
            let queue_id = self.properties.get(name::REAL_QID);
            Record {
                topic: self.real_topic(),
                queue_id: queue_id.and_then(|id| id.parse().ok()).unwrap_or(0),
                queue_offset,
                physical_offset: log_offset,
                properties: copy.properties.as_bytes(),
                ..record
            }
            .encode(&mut out)?;
        }
        Ok(out.into())
    }

    fn copy(&self, broker: &Broker, property: &str, value: i64) -> Option<Put> {
        let (record, _) = Record::parse(&self.bytes).ok()?;
        let mut properties = self.properties.clone();
        properties.set(property, &value.to_string());
        Some(Put {
            properties: properties.into_string(),
            ..self.put_of(broker, &record)?
        })
    }

    fn put_of(&self, broker: &Broker, record: &Record<'_>) -> Option<Put> {
        Some(Put {
            topic: broker.topics().get(HALF_TOPIC)?,
            queue_id: record.queue_id,
            flag: record.flag,
            sys_flag: record.sys_flag,
            born_ms: record.born_ms,
            born_host: record.born_host,
            store_host: record.store_host,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: 0,
            body: self.bytes.slice_ref(record.body),
            properties: self.properties.as_str().to_owned(),
            batch: false,
            origin: Origin::Stored {
                bare: Some(self.bytes.slice_ref(record.properties)),
            },
        })
    }
}
