//! Decisions as they are stored: the offsets of decided half messages, as decimal text, each followed by a comma.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::QUEUE;
use crate::{
    broker::Broker,
    find,
    names::OP_HALF_TOPIC,
    writer::{Origin, Put},
};

/// The tag that says that half messages are decided. Java: `TransactionalMessageUtil.REMOVE_TAG`.
const REMOVE_TAG: &str = "d";

/// The message that records a decision. Java: `TransactionalMessageBridge.makeOpMessageInner`, down to the order of the properties.
pub(crate) fn put(broker: &Broker, text: String, now_ms: i64) -> Put {
    Put {
        topic: find::plain_topic(broker, OP_HALF_TOPIC, 1, false, now_ms),
        queue_id: QUEUE,
        flag: 0,
        sys_flag: 0,
        born_ms: now_ms,
        born_host: broker.identity.store_host,
        store_host: broker.identity.store_host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: Bytes::from(text),
        properties: format!("WAIT\u{1}true\u{2}TAGS\u{1}{REMOVE_TAG}\u{2}"),
        batch: false,
        origin: Origin::New,
    }
}

/// The decisions that were read and concern half messages not looked at yet.
///
/// A decision message is done when all half messages that it names were passed; the group's offset advances over those that are done.
#[derive(Debug)]
pub(super) struct Ops {
    /// Half messages before this offset are decided and passed.
    first_half: i64,
    /// Half offset -> decision message that names it.
    deciding: HashMap<i64, i64>,
    /// Decision message -> half messages it names that were not passed.
    open: HashMap<i64, usize>,
    done: BTreeSet<i64>,
    committed: i64,
}

impl Ops {
    pub(super) fn new(first_half: i64, committed: i64) -> Self {
        Self {
            first_half,
            deciding: HashMap::new(),
            open: HashMap::new(),
            done: BTreeSet::new(),
            committed,
        }
    }

    /// Takes the decision message at `offset` of its queue. What is no number is left out.
    pub(super) fn add(&mut self, offset: i64, tags: Option<&str>, body: &[u8]) {
        let text = if tags == Some(REMOVE_TAG) {
            std::str::from_utf8(body).unwrap_or_default()
        } else {
            ""
        };
        self.open.insert(offset, 0);
        for half in text.split(',').filter_map(|text| text.parse::<i64>().ok()) {
            if half < self.first_half {
                continue;
            }
            let before = self.deciding.insert(half, offset);
            *self.open.entry(offset).or_default() += 1;
            // Decided twice: the later message stands for both.
            if let Some(before) = before {
                self.passed(before);
            }
        }
        if self.open.get(&offset) == Some(&0) {
            self.is_done(offset);
        }
    }

    /// Whether the half message at `half` is decided; if so it counts as passed.
    pub(super) fn resolve(&mut self, half: i64) -> bool {
        let Some(offset) = self.deciding.remove(&half) else {
            return false;
        };
        self.passed(offset);
        true
    }

    /// Decision messages before `offset` no longer exist.
    pub(super) fn skip_to(&mut self, offset: i64) {
        self.committed = self.committed.max(offset);
        self.advance();
    }

    /// Where to begin the next time.
    pub(super) const fn committed(&self) -> i64 {
        self.committed
    }

    fn passed(&mut self, offset: i64) {
        if let Some(open) = self.open.get_mut(&offset) {
            *open -= 1;
            if *open == 0 {
                self.is_done(offset);
            }
        }
    }

    fn is_done(&mut self, offset: i64) {
        self.open.remove(&offset);
        self.done.insert(offset);
        self.advance();
    }

    fn advance(&mut self) {
        while let Some(&first) = self.done.first()
            && first <= self.committed
        {
            self.done.remove(&first);
            if first == self.committed {
                self.committed += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_message_is_done_when_all_its_half_messages_are_passed() {
        let mut ops = Ops::new(10, 3);
        ops.add(3, Some("d"), b"10,12,");
        ops.add(4, Some("d"), b"11,");
        assert!(ops.resolve(11) && !ops.resolve(11));
        assert_eq!(ops.committed(), 3, "4 is done, 3 is not");
        assert!(ops.resolve(10));
        assert_eq!(ops.committed(), 3);
        assert!(ops.resolve(12));
        assert_eq!(ops.committed(), 5);
    }

    #[test]
    fn what_decides_nothing_any_more_is_done_at_once() {
        let mut ops = Ops::new(10, 0);
        ops.add(0, Some("d"), b"9,3,");
        ops.add(1, Some("d"), b"");
        ops.add(2, Some("x"), b"10,");
        ops.add(3, None, b"11,");
        ops.add(4, Some("d"), b"ten,,\xff");
        assert_eq!(ops.committed(), 5);
        assert!(!ops.resolve(10) && !ops.resolve(9));
    }

    #[test]
    fn a_second_decision_does_not_hold_the_first_back() {
        let mut ops = Ops::new(0, 0);
        ops.add(0, Some("d"), b"1,");
        ops.add(1, Some("d"), b"1,1,");
        assert_eq!(ops.committed(), 1);
        assert!(ops.resolve(1));
        assert_eq!(ops.committed(), 2);
    }

    #[test]
    fn messages_that_are_gone_are_skipped() {
        let mut ops = Ops::new(0, 0);
        ops.add(7, Some("d"), b"");
        ops.skip_to(7);
        assert_eq!(ops.committed(), 8);
        ops.skip_to(5);
        assert_eq!(ops.committed(), 8);
    }
}
