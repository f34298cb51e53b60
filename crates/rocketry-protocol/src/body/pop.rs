//! Acknowledging popped messages in batches.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Acknowledges many messages of one broker. Java: `BatchAckMessageRequestBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatchAckMessageRequestBody {
    /// One entry per pop and queue.
    pub acks: Vec<BatchAck>,
    /// The broker.
    pub broker_name: String,
}

/// Acknowledges messages that came from one pop of one queue. Java: `BatchAck`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchAck {
    /// Which messages, counted from `start_offset`.
    #[serde(
        rename = "b",
        alias = "bitSet",
        skip_serializing_if = "Option::is_none"
    )]
    pub bit_set: Option<BitSet>,
    /// Group.
    #[serde(rename = "c", alias = "consumerGroup")]
    pub consumer_group: String,
    /// From the receipt, ms.
    #[serde(rename = "it", alias = "invisibleTime")]
    pub invisible_time: i64,
    /// From the receipt, ms since 1970.
    #[serde(rename = "pt", alias = "popTime")]
    pub pop_time: i64,
    /// Queue.
    #[serde(rename = "q", alias = "queueId")]
    pub queue_id: i32,
    /// Retry mark: `0`, `1` or `2`, see [`crate::pop`].
    #[serde(rename = "r", alias = "retry")]
    pub retry: String,
    /// From the receipt.
    #[serde(rename = "rq", alias = "reviveQueueId")]
    pub revive_queue_id: i32,
    /// From the receipt.
    #[serde(rename = "so", alias = "startOffset")]
    pub start_offset: i64,
    /// Topic as subscribed to.
    #[serde(rename = "t", alias = "topic")]
    pub topic: String,
}

/// A set of small numbers: Base64 of bytes, number i being bit i % 8 of byte i / 8. Java: `BitSet.toByteArray`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BitSet(Vec<u8>);

impl BitSet {
    /// Largest number that a set takes; a pop hands out 32 messages.
    pub const MAX: u32 = 0xffff;

    /// Adds a number; one beyond [`BitSet::MAX`] is refused with `false`.
    pub fn insert(&mut self, number: u32) -> bool {
        if number > Self::MAX {
            return false;
        }
        let at = (number / 8) as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        if let Some(byte) = self.0.get_mut(at) {
            *byte |= 1 << (number % 8);
        }
        true
    }
    /// Whether the number is in the set.
    pub fn contains(&self, number: u32) -> bool {
        self.0
            .get((number / 8) as usize)
            .is_some_and(|byte| byte & (1 << (number % 8)) != 0)
    }
    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0u32..).step_by(8).zip(&self.0).flat_map(|(base, byte)| {
            (0..8)
                .filter(move |bit| byte & (1 << bit) != 0)
                .map(move |bit| base + bit)
        })
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

impl FromIterator<u32> for BitSet {
    /// Numbers beyond [`BitSet::MAX`] are left out.
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut set = Self::default();
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

impl Serialize for BitSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let len = self
            .0
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        serializer.serialize_str(&STANDARD.encode(self.0.get(..len).unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for BitSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(Self)
            .map_err(|error| D::Error::custom(format!("bit set: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits() {
        let set: BitSet = [9, 0, 3, 1 << 20].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 9]);
        assert!(set.contains(9) && !set.contains(8) && !set.contains(800));
        assert_eq!(crate::body::encode(&set).unwrap(), "\"CQI=\"");
    }
}
