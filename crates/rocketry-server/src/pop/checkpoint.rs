//! The notes of what was popped, and of what was acknowledged, as messages of the revive topic.
//!
//! Java: `PopCheckPoint`, `AckMsg`, `BatchAckMsg`, `PopMessageProcessor.buildCkMsg`, `AckMessageProcessor`.

use std::future::Future;

use bytes::Bytes;
use rocketry_protocol::{Properties, ResponseCode, body, pop::Receipt, properties::name};
use serde::{Deserialize, Serialize};

use crate::{
    broker::Broker,
    fault::Fault,
    find,
    put::{self, PutFailure},
    writer::{Origin, Put, Stored},
};

use super::REVIVE_QUEUES;

pub(crate) const CK_TAG: &str = "ck";
pub(crate) const ACK_TAG: &str = "ack";
pub(crate) const BATCH_ACK_TAG: &str = "bAck";

/// How much earlier than its time a check point comes to the revive topic, ms: before the acknowledgements of its messages.
/// Java: `PopAckConstants.ackTimeInterval`.
const EARLY_MS: i64 = 1000;

/// What one pop took from one queue. Keys in the order in which Java writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CheckPoint {
    /// Which messages are acknowledged; only used in memory.
    #[serde(rename = "bm")]
    pub(crate) acked: i32,
    #[serde(rename = "bn")]
    pub(crate) broker_name: Option<String>,
    #[serde(rename = "c")]
    pub(crate) group: String,
    /// Offset of each message, from the first; absent: one after the other.
    #[serde(rename = "d")]
    pub(crate) diffs: Vec<i32>,
    #[serde(rename = "it")]
    pub(crate) invisible_ms: i64,
    #[serde(rename = "n")]
    pub(crate) count: u8,
    #[serde(rename = "pt")]
    pub(crate) pop_ms: i64,
    #[serde(rename = "q")]
    pub(crate) queue_id: i32,
    #[serde(rename = "reviveTime")]
    revive_ms: i64,
    #[serde(rename = "ro")]
    pub(crate) revive_offset: i64,
    #[serde(rename = "so")]
    pub(crate) start_offset: i64,
    /// The message was given back, which is no failed attempt.
    #[serde(rename = "sp")]
    pub(crate) suspend: bool,
    /// The topic itself, which may be a retry topic.
    #[serde(rename = "t")]
    pub(crate) topic: String,
}

impl CheckPoint {
    /// The note of messages at these offsets, in ascending order.
    pub(crate) fn new(
        (topic, group, queue_id): (&str, &str, i32),
        (pop_ms, invisible_ms): (i64, i64),
        offsets: &[i64],
        broker_name: &str,
    ) -> Self {
        let start_offset = offsets.first().copied().unwrap_or(0);
        let diffs = offsets
            .iter()
            .map(|offset| i32::try_from(offset.saturating_sub(start_offset)).unwrap_or(i32::MAX));
        Self {
            broker_name: Some(broker_name.to_owned()),
            group: group.to_owned(),
            diffs: diffs.collect(),
            invisible_ms,
            count: u8::try_from(offsets.len()).unwrap_or(u8::MAX),
            pop_ms,
            queue_id,
            revive_ms: pop_ms.saturating_add(invisible_ms),
            start_offset,
            topic: topic.to_owned(),
            ..Self::default()
        }
    }

    /// When what is not acknowledged comes again, ms since 1970.
    pub(crate) fn revive_ms(&self) -> i64 {
        self.pop_ms.saturating_add(self.invisible_ms)
    }

    pub(crate) fn key(&self) -> Key {
        Key {
            topic: self.topic.clone(),
            group: self.group.clone(),
            queue_id: self.queue_id,
            start_offset: self.start_offset,
            pop_ms: self.pop_ms,
        }
    }

    /// Notes an acknowledgement.
    pub(crate) fn ack(&mut self, offset: i64) {
        let at = if self.diffs.is_empty() {
            usize::try_from(offset.saturating_sub(self.start_offset)).ok()
        } else {
            self.diffs
                .iter()
                .position(|diff| self.start_offset.saturating_add((*diff).into()) == offset)
        };
        if let Some(bit) = at.filter(|at| *at < 32) {
            self.acked |= 1 << bit;
        }
    }

    /// Offsets of the messages that are not acknowledged.
    pub(crate) fn open(&self) -> impl Iterator<Item = i64> {
        (0..usize::from(self.count).min(32))
            .filter(|bit| self.acked & (1 << bit) == 0)
            .map(|bit| match self.diffs.get(bit) {
                Some(diff) => self.start_offset.saturating_add((*diff).into()),
                None => self
                    .start_offset
                    .saturating_add(i64::try_from(bit).unwrap_or(0)),
            })
    }
}

/// What ties acknowledgements to their check point.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    topic: String,
    group: String,
    queue_id: i32,
    start_offset: i64,
    pop_ms: i64,
}

/// One or several messages of a pop are done. Keys in the order in which Java writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ack {
    #[serde(rename = "ao", alias = "ackOffset")]
    pub(crate) offset: i64,
    /// Of several.
    #[serde(
        rename = "aol",
        alias = "ackOffsetList",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) offsets: Vec<i64>,
    #[serde(rename = "bn", alias = "brokerName")]
    broker_name: Option<String>,
    #[serde(rename = "c", alias = "consumerGroup")]
    pub(crate) group: String,
    #[serde(rename = "pt", alias = "popTime")]
    pub(crate) pop_ms: i64,
    #[serde(rename = "q", alias = "queueId")]
    pub(crate) queue_id: i32,
    #[serde(rename = "so", alias = "startOffset")]
    pub(crate) start_offset: i64,
    #[serde(rename = "t", alias = "topic")]
    pub(crate) topic: String,
}

impl Ack {
    /// The acknowledgement of the messages at these offsets, of the pop that `receipt` names.
    pub(crate) fn new(
        topic: &str,
        group: &str,
        queue_id: i32,
        receipt: &Receipt,
        offsets: &[i64],
    ) -> Self {
        Self {
            offset: offsets.first().copied().unwrap_or(0),
            offsets: if offsets.len() > 1 {
                offsets.to_vec()
            } else {
                Vec::new()
            },
            broker_name: Some(receipt.broker_name.clone()),
            group: group.to_owned(),
            pop_ms: receipt.pop_ms,
            queue_id,
            start_offset: receipt.start_offset,
            topic: topic.to_owned(),
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key {
            topic: self.topic.clone(),
            group: self.group.clone(),
            queue_id: self.queue_id,
            start_offset: self.start_offset,
            pop_ms: self.pop_ms,
        }
    }

    fn unique_id(&self, broker_name: &str, tag: &str) -> String {
        let Self {
            topic,
            queue_id,
            group,
            offset,
            pop_ms,
            ..
        } = self;
        format!("{topic}@{queue_id}@{offset}@{group}@{pop_ms}@{broker_name}@{tag}")
    }
}

/// Begins to store a check point; it comes to the revive topic shortly before its time.
pub(crate) fn store_check_point(
    broker: &Broker,
    check_point: &CheckPoint,
    revive_queue_id: i32,
    now_ms: i64,
) -> Result<impl Future<Output = Result<Stored, PutFailure>> + Send + use<>, Fault> {
    let id = format!(
        "{}@{}@{}@{}@{}@{}@{CK_TAG}",
        check_point.topic,
        check_point.queue_id,
        check_point.start_offset,
        check_point.group,
        check_point.pop_ms,
        broker.identity.broker_name,
    );
    let deliver_ms = check_point.revive_ms().saturating_sub(EARLY_MS);
    let body = body::encode(check_point)?;
    let put = note(
        broker,
        body,
        (CK_TAG, &id),
        revive_queue_id,
        deliver_ms,
        now_ms,
    )?;
    Ok(put::store(broker, put))
}

/// Begins to store an acknowledgement; it comes to the revive topic when the messages' time is up, or at once when that is past.
pub(crate) fn store_ack(
    broker: &Broker,
    ack: &Ack,
    receipt: &Receipt,
    now_ms: i64,
) -> Result<impl Future<Output = Result<Stored, PutFailure>> + Send + use<>, Fault> {
    let tag = if ack.offsets.is_empty() {
        ACK_TAG
    } else {
        BATCH_ACK_TAG
    };
    let id = ack.unique_id(&broker.identity.broker_name, tag);
    let body = body::encode(ack)?;
    let revive_queue_id = receipt.revive_queue_id.rem_euclid(REVIVE_QUEUES);
    let put = note(
        broker,
        body,
        (tag, &id),
        revive_queue_id,
        receipt.visible_again_ms(),
        now_ms,
    )?;
    Ok(put::store(broker, put))
}

/// Whether messages can be hidden for this long: their notes wait in the timer.
pub(crate) fn check_invisible_time(broker: &Broker, invisible_ms: i64) -> Result<(), Fault> {
    let longest_ms = put::max_timer_delay_ms(&broker.config);
    if (0..=longest_ms).contains(&invisible_ms) {
        return Ok(());
    }
    Err(Fault::new(
        ResponseCode::INVALID_PARAMETER,
        format!(
            "the invisible time {invisible_ms} ms must be 0 to {longest_ms} ms, the longest that this broker can time"
        ),
    ))
}

fn note(
    broker: &Broker,
    body: Bytes,
    (tag, id): (&str, &str),
    queue_id: i32,
    deliver_ms: i64,
    now_ms: i64,
) -> Result<Put, Fault> {
    let mut properties = Properties::default();
    properties.set(name::TAGS, tag);
    properties.set(name::UNIQ_KEY, id);
    properties.set(name::TIMER_DELIVER_MS, &deliver_ms.to_string());
    let host = broker.identity.store_host;
    let topic = broker.system.revive_topic();
    let mut put = Put {
        topic: find::plain_topic(broker, &topic, REVIVE_QUEUES, false, now_ms),
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_ms: now_ms,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: String::new(),
        batch: false,
        origin: Origin::New,
    };
    put::delay(broker, &mut put, &mut properties, now_ms)?;
    put.properties = properties.into_string();
    Ok(put)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bodies are those that a Java broker wrote.
    #[test]
    fn notes_are_written_as_java_writes_them() {
        let ck = CheckPoint::new(
            ("golden_pop", "golden_popgrp", 1),
            (1_795_344_536_111, 10_000),
            &[0, 1, 2, 3, 4, 5],
            "golden-a",
        );
        let text = r#"{"bm":0,"bn":"golden-a","c":"golden_popgrp","d":[0,1,2,3,4,5],"it":10000,"n":6,"pt":1795344536111,"q":1,"reviveTime":1795344546111,"ro":0,"so":0,"sp":false,"t":"golden_pop"}"#;
        assert_eq!(body::encode(&ck).unwrap(), text);
        assert_eq!(body::decode::<CheckPoint>(text.as_bytes()).unwrap(), ck);

        let receipt = Receipt::parse("0 1795344536111 10000 3 0 golden-a 1 3").unwrap();
        let ack = Ack::new("golden_pop", "golden_popgrp", 1, &receipt, &[3]);
        let text = r#"{"ao":3,"bn":"golden-a","c":"golden_popgrp","pt":1795344536111,"q":1,"so":0,"t":"golden_pop"}"#;
        assert_eq!(body::encode(&ack).unwrap(), text);
        let long = r#"{"ackOffset":3,"brokerName":"golden-a","consumerGroup":"golden_popgrp","popTime":1795344536111,"queueId":1,"startOffset":0,"topic":"golden_pop"}"#;
        assert_eq!(body::decode::<Ack>(long.as_bytes()).unwrap(), ack);
        assert_eq!(ack.key(), ck.key());
    }

    #[test]
    fn what_is_acknowledged_does_not_come_again() {
        let mut ck = CheckPoint::new(("T", "G", 0), (1, 1), &[4, 5, 9], "b");
        assert_eq!(ck.open().collect::<Vec<_>>(), [4, 5, 9]);
        ck.ack(5);
        ck.ack(6);
        assert_eq!(ck.open().collect::<Vec<_>>(), [4, 9]);
        ck.diffs.clear();
        ck.ack(6);
        assert_eq!(ck.open().collect::<Vec<_>>(), [4], "one after the other");
        ck.ack(1000);
        ck.ack(0);
        assert_eq!(ck.open().count(), 1);
    }
}
