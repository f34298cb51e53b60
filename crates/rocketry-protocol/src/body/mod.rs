//! JSON bodies, one kind per file; `fastjson` alone knows the dialect that is not JSON.
//!
//! Types and members carry Java's names. A member that is missing or null keeps the default that Java gives it, an unknown one is
//! ignored. Sets are lists whose order means nothing; maps are sorted, which Java's are not.

pub mod access;
pub mod assignment;
mod fastjson;
pub mod groups;
pub mod heartbeat;
pub mod lite;
pub mod lock;
pub mod offsets;
pub mod pop;
pub mod registration;
pub mod route;
pub mod running_info;
pub mod static_topic;
pub mod stats;
pub mod topics;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::{DecodeError, EncodeError, MessageQueue, NameError, Topic};
use fastjson::{Style, known};

pub use fastjson::{MAX_DEPTH, MAX_ELEMENTS};

/// The body as it goes over the network: without a blank, maps keyed by numbers or queues in the form that Java expects.
///
/// # Errors
/// None for the types of this module.
pub fn encode<T: Serialize + ?Sized>(body: &T) -> Result<Bytes, EncodeError> {
    fastjson::to_vec(body, Style::Compact).map(Bytes::from)
}

/// The body in standard JSON, for route queries that ask for it: keys quoted, whole numbers beyond 2^53 - 1 as strings.
///
/// # Errors
/// None for the types of this module.
pub fn encode_standard<T: Serialize + ?Sized>(body: &T) -> Result<Bytes, EncodeError> {
    fastjson::to_vec(body, Style::Standard).map(Bytes::from)
}

/// The text of a configuration file: one member per line, indented with tabs.
///
/// # Errors
/// None for the types of this module.
pub fn encode_pretty<T: Serialize + ?Sized>(body: &T) -> Result<Vec<u8>, EncodeError> {
    fastjson::to_vec(body, Style::Pretty)
}

/// Reads a body or a configuration file, in the dialect or in standard JSON.
///
/// # Errors
/// Text that is neither, or that nests deeper than [`MAX_DEPTH`] or holds more than [`MAX_ELEMENTS`] members and elements.
pub fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, DecodeError> {
    fastjson::from_slice(text)
}

/// A queue as bodies name it, often as the key of a map. Java: `MessageQueue`.
///
/// Unlike [`MessageQueue`], its names are not checked: bodies speak of queues whose names no user could choose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Queue {
    /// Broker name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub broker_name: String,
    /// Number of the queue on that broker; -1 in pop assignments: all queues of the broker.
    pub queue_id: i32,
    /// Topic.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topic: String,
}

impl Queue {
    /// The queue of these names.
    pub fn new(topic: impl Into<String>, broker_name: impl Into<String>, queue_id: i32) -> Self {
        Self {
            broker_name: broker_name.into(),
            queue_id,
            topic: topic.into(),
        }
    }
}

impl Ord for Queue {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&self.topic, &self.broker_name, self.queue_id).cmp(&(
            &other.topic,
            &other.broker_name,
            other.queue_id,
        ))
    }
}

impl PartialOrd for Queue {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl From<&MessageQueue> for Queue {
    fn from(queue: &MessageQueue) -> Self {
        Self::new(queue.topic.as_str(), &*queue.broker_name, queue.queue_id)
    }
}

impl TryFrom<&Queue> for MessageQueue {
    type Error = NameError;
    fn try_from(queue: &Queue) -> Result<Self, NameError> {
        Ok(Self {
            topic: Topic::new(&queue.topic)?,
            broker_name: Arc::from(&*queue.broker_name),
            queue_id: queue.queue_id,
        })
    }
}

/// Version of a table of topics or groups. Java: `DataVersion`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Grows by one with every change.
    pub counter: i64,
    /// Term of the controller, 0 without one.
    pub state_version: i64,
    /// When the last change was made, ms since 1970.
    pub timestamp: i64,
}

impl DataVersion {
    /// The version after one more change at `now_ms`. Java: `DataVersion.nextVersion`.
    #[must_use]
    pub fn next(self, now_ms: i64) -> Self {
        Self {
            counter: self.counter.wrapping_add(1),
            timestamp: now_ms,
            ..self
        }
    }
}

/// A map keyed by queues. Entries whose key says nothing are dropped: peers on fastjson 1.x write a reference in place of a queue
/// that occurred before, which cannot be resolved here.
fn named_queues<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    deserializer: D,
) -> Result<BTreeMap<Queue, V>, D::Error> {
    let mut queues = BTreeMap::deserialize(deserializer)?;
    queues.retain(|queue: &Queue, _| !queue.topic.is_empty() || !queue.broker_name.is_empty());
    Ok(queues)
}
