//! Which half messages are being decided right now, and which copies of one another are undecided.
//!
//! A half message that is checked is written again at the end of its queue. Its producer may decide the first copy, which the send
//! named, and the latest, which the check named: the decision that comes first holds for both.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt::Write as _,
};

use parking_lot::Mutex;

/// Most copies, and most decided copies, that are remembered. For half messages beyond that, two decisions may deliver twice, as in
/// Java.
const MAX_TRACKED: usize = 100_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    under_way: HashSet<i64>,
    /// First offset -> latest offset, and back.
    latest_of: HashMap<i64, i64>,
    first_of: HashMap<i64, i64>,
    settled: HashSet<i64>,
    settled_order: VecDeque<i64>,
}

/// What [`Decisions::begin`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// The decision may be carried out. `op` is the text that records it: the offsets that it decides, each followed by a comma.
    Yes { op: String },
    /// Another decision is being carried out.
    UnderWay,
    /// Decided before, by way of another copy.
    Settled,
}

impl Decisions {
    /// A decision of the half message at `offset` comes in. After [`Begun::Yes`], [`Decisions::end`] must follow.
    pub(crate) fn begin(&self, offset: i64) -> Begun {
        let mut state = self.state.lock();
        if state.settled.contains(&offset) {
            return Begun::Settled;
        }
        let other = state.other(offset);
        if other.is_some_and(|other| state.under_way.contains(&other))
            || !state.under_way.insert(offset)
        {
            return Begun::UnderWay;
        }
        let mut op = format!("{offset},");
        if let Some(other) = other {
            // Cannot fail: a String takes everything.
            let _ = write!(op, "{other},");
        }
        Begun::Yes { op }
    }

    /// The decision of `offset` was written, or was not.
    pub(crate) fn end(&self, offset: i64, written: bool) {
        let mut state = self.state.lock();
        state.under_way.remove(&offset);
        if written && let Some(other) = state.forget(offset) {
            state.settle(other);
        }
    }

    /// Whether a decision of `offset` is being written.
    pub(crate) fn is_under_way(&self, offset: i64) -> bool {
        let state = self.state.lock();
        state.under_way.contains(&offset)
            || state
                .other(offset)
                .is_some_and(|other| state.under_way.contains(&other))
    }

    /// The half message at `offset` was written again at `copy`.
    pub(crate) fn copied(&self, offset: i64, copy: i64) {
        let mut state = self.state.lock();
        let first = state.first_of.remove(&offset).unwrap_or(offset);
        if state.latest_of.len() >= MAX_TRACKED && !state.latest_of.contains_key(&first) {
            return;
        }
        if let Some(before) = state.latest_of.insert(first, copy) {
            state.first_of.remove(&before);
        }
        state.first_of.insert(copy, first);
    }

    /// The half message at `offset` was given up.
    pub(crate) fn given_up(&self, offset: i64) {
        self.state.lock().forget(offset);
    }
}

impl State {
    /// The first copy of a latest one, the latest of a first one.
    fn other(&self, offset: i64) -> Option<i64> {
        self.latest_of
            .get(&offset)
            .or_else(|| self.first_of.get(&offset))
            .copied()
    }

    fn forget(&mut self, offset: i64) -> Option<i64> {
        if let Some(latest) = self.latest_of.remove(&offset) {
            self.first_of.remove(&latest);
            return Some(latest);
        }
        let first = self.first_of.remove(&offset)?;
        self.latest_of.remove(&first);
        Some(first)
    }

    fn settle(&mut self, offset: i64) {
        if self.settled.insert(offset) {
            self.settled_order.push_back(offset);
        }
        if self.settled_order.len() > MAX_TRACKED
            && let Some(oldest) = self.settled_order.pop_front()
        {
            self.settled.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(begun: Begun) -> String {
        match begun {
            Begun::Yes { op } => op,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_decision_holds_for_the_first_and_the_latest_copy() {
        let decisions = Decisions::default();
        decisions.copied(5, 9);
        decisions.copied(9, 12);
        assert_eq!(op(decisions.begin(5)), "5,12,");
        assert_eq!(decisions.begin(12), Begun::UnderWay);
        assert!(decisions.is_under_way(12) && decisions.is_under_way(5));
        decisions.end(5, true);
        assert_eq!(decisions.begin(12), Begun::Settled);
        assert!(!decisions.is_under_way(12));
    }

    #[test]
    fn the_answer_to_a_check_holds_for_the_message_that_was_sent() {
        let decisions = Decisions::default();
        decisions.copied(5, 9);
        assert_eq!(op(decisions.begin(9)), "9,5,");
        decisions.end(9, true);
        assert_eq!(decisions.begin(5), Begun::Settled);
    }

    #[test]
    fn a_decision_that_was_not_written_may_come_again() {
        let decisions = Decisions::default();
        assert_eq!(op(decisions.begin(5)), "5,");
        assert_eq!(decisions.begin(5), Begun::UnderWay);
        decisions.end(5, false);
        decisions.copied(5, 9);
        assert_eq!(op(decisions.begin(5)), "5,9,");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let decisions = Decisions::default();
        let max = i64::try_from(MAX_TRACKED).unwrap();
        for n in 0..=max {
            decisions.copied(n, 10 * max + n);
        }
        assert_eq!(decisions.state.lock().latest_of.len(), MAX_TRACKED);
        for n in 0..=max {
            decisions.copied(n, 20 * max + n);
            let begun = decisions.begin(n);
            assert!(matches!(begun, Begun::Yes { .. }), "{n}: {begun:?}");
            decisions.end(n, true);
        }
        let state = decisions.state.lock();
        assert!(state.latest_of.is_empty() && state.first_of.is_empty());
        assert_eq!(state.settled.len(), MAX_TRACKED);
    }
}
