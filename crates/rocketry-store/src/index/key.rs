//! Which keys a message has, and their hashes.

use rocketry_protocol::{record::Record, sys_flag::TRANSACTION_ROLLBACK};

use crate::{dispatch::Marks, number::signed};

/// One key of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexKey {
    /// Hash of the key text, not negative.
    pub(crate) hash: i32,
    /// Log offset of the message.
    pub(crate) log_offset: i64,
    /// Store time, ms.
    pub(crate) store_ms: i64,
}

/// The keys of a message in Java's order: unique id, keys, tag. Java: `IndexService.buildIndex`
pub(crate) fn keys_of(record: &Record<'_>, at: u64, marks: &Marks<'_>, add: &mut Vec<IndexKey>) {
    if record.sys_flag & TRANSACTION_ROLLBACK == TRANSACTION_ROLLBACK {
        return;
    }
    let mut key = |parts: &[&str]| {
        add.push(IndexKey {
            hash: hash_of(record.topic, parts),
            log_offset: signed(at),
            store_ms: record.store_ms,
        });
    };
    if let Some(unique) = marks.unique_key {
        key(&[unique]);
    }
    for one in marks.keys.unwrap_or_default().split(' ') {
        if !one.is_empty() {
            key(&[one]);
        }
    }
    if let Some(tags) = marks.tags {
        key(&["T", tags]);
    }
}

/// Hash of `topic#part#part`: the absolute value of Java's string hash, which for the smallest number is 0.
/// Java: `IndexFile.indexKeyHashMethod`
pub(crate) fn hash_of(topic: &str, parts: &[&str]) -> i32 {
    let mut hash = java_hash(0, topic);
    for part in parts {
        hash = java_hash(java_hash(hash, "#"), part);
    }
    hash.checked_abs().unwrap_or(0)
}

/// Goes on with a Java string hash.
fn java_hash(hash: i32, text: &str) -> i32 {
    let step = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    if text.is_ascii() {
        text.bytes()
            .fold(hash, |hash, byte| step(hash, byte.into()))
    } else {
        text.encode_utf16().fold(hash, step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_whole_text() {
        let whole = rocketry_protocol::hash::java_string_hash("tøpic#T#täg😀");
        assert_eq!(
            hash_of("tøpic", &["T", "täg😀"]),
            whole.checked_abs().unwrap_or(0)
        );
    }
}
