//! Which half messages are being decided right now, and which copies of one another are undecided.
//!
//! A half message that is checked is written again at the end of its queue. Its producer may decide the first copy, which the send
//! named, and the latest, which the check named: the decision that comes first holds for both.
//!
//! A decision and a copy of the same half message are never written at the same time: the decision could not name the copy, and a
//! restart would take the copy for undecided. The check reserves a half message before it looks for its decision; a decision that
//! comes then waits for the copy, and one that came before keeps the check away.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt::{self, Write as _},
};

use parking_lot::Mutex;

use crate::broker::Broker;

/// Most copies, and most decided copies, that are remembered. For half messages beyond that, two decisions may deliver twice, as in
/// Java.
const MAX_TRACKED: usize = 100_000;

/// Latest decisions that are remembered because their ends may be told before they can be read: while they are synced. More than the
/// writer syncs at once.
const JUST_ENDED: usize = 2048;

/// Carries out a decision that waited; the text is that of [`Begun::Yes`].
pub(crate) type Later = Box<dyn FnOnce(&Broker, String) + Send>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A half message whose decision is being written -> its copies, which are decided with it.
    under_way: HashMap<i64, Vec<i64>>,
    reserved: Option<Reserved>,
    /// First offset -> latest offset, and back.
    latest_of: HashMap<i64, i64>,
    first_of: HashMap<i64, i64>,
    settled: HashSet<i64>,
    settled_order: VecDeque<i64>,
    just_ended: VecDeque<i64>,
}

/// The half message that is being checked.
#[derive(Debug)]
struct Reserved {
    offset: i64,
    /// At most one: another one finds this one under way.
    waiting: Option<Waiting>,
}

struct Waiting {
    offset: i64,
    later: Later,
}

/// What [`Decisions::begin`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// The decision may be carried out. `op` is the text that records it: the offsets that it decides, each followed by a comma.
    Yes { op: String },
    /// As [`Begun::Yes`] once the check is done with the half message: [`Decisions::wait`].
    Reserved,
    /// Another decision is being carried out.
    UnderWay,
    /// Decided before, by way of another copy.
    Settled,
}

/// What [`Decisions::reserve`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reserve {
    /// No decision is written before [`Decisions::release`]. One that came before can be read by now.
    Yes,
    /// A decision is being written.
    UnderWay,
    /// It is decided, which may not be possible to read yet.
    Decided,
}

impl Decisions {
    /// A decision of the half message at `offset` comes in. After [`Begun::Yes`] and [`Begun::Reserved`], [`Decisions::end`] must follow.
    pub(crate) fn begin(&self, offset: i64) -> Begun {
        let mut state = self.state.lock();
        if state.settled.contains(&offset) {
            return Begun::Settled;
        }
        if state.is_under_way(offset) {
            return Begun::UnderWay;
        }
        let copies = state.other(offset).into_iter().collect();
        state.under_way.insert(offset, copies);
        if state.is_reserved(offset) {
            return Begun::Reserved;
        }
        Begun::Yes {
            op: state.op(offset),
        }
    }

    /// Keeps a decision until the check is done with its half message. Gives it back, with its text, where that is so already.
    pub(crate) fn wait(&self, offset: i64, later: Later) -> Option<(Later, String)> {
        let mut state = self.state.lock();
        if state.is_reserved(offset)
            && let Some(reserved) = &mut state.reserved
        {
            reserved.waiting = Some(Waiting { offset, later });
            return None;
        }
        Some((later, state.op(offset)))
    }

    /// The decision of `offset` was written, or was not.
    pub(crate) fn end(&self, offset: i64, written: bool) {
        let mut state = self.state.lock();
        let copies = state.under_way.remove(&offset).unwrap_or_default();
        if !written {
            return;
        }
        if state.just_ended.len() >= JUST_ENDED {
            state.just_ended.pop_front();
        }
        state.just_ended.push_back(offset);
        state.forget(offset);
        for copy in copies {
            state.forget(copy);
            state.settle(copy);
        }
    }

    /// The half message at `offset` is to be checked, before anybody looks whether a decision of it is stored. After [`Reserve::Yes`],
    /// [`Decisions::release`] must follow.
    pub(super) fn reserve(&self, offset: i64) -> Reserve {
        let mut state = self.state.lock();
        if state.is_under_way(offset) || state.reserved.is_some() {
            return Reserve::UnderWay;
        }
        if state.settled.contains(&offset) || state.just_ended.contains(&offset) {
            return Reserve::Decided;
        }
        state.reserved = Some(Reserved {
            offset,
            waiting: None,
        });
        Reserve::Yes
    }

    /// The check is done with the half message it reserved, its copy is stored or never will be. The decision that waited for that,
    /// with its text.
    #[must_use]
    pub(super) fn release(&self) -> Option<(Later, String)> {
        let mut state = self.state.lock();
        let Waiting { offset, later } = state.reserved.take()?.waiting?;
        Some((later, state.op(offset)))
    }

    /// The half message at `offset` was written again at `copy`.
    pub(super) fn copied(&self, offset: i64, copy: i64) {
        let mut state = self.state.lock();
        if state.settled.contains(&offset) {
            state.settle(copy);
            return;
        }
        for decided in [Some(offset), state.other(offset)].into_iter().flatten() {
            if let Some(copies) = state.under_way.get_mut(&decided) {
                copies.push(copy);
            }
        }
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
    pub(super) fn given_up(&self, offset: i64) {
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

    fn is_under_way(&self, offset: i64) -> bool {
        self.under_way.contains_key(&offset)
            || self
                .other(offset)
                .is_some_and(|other| self.under_way.contains_key(&other))
    }

    /// Whether the decision of `offset`, which has begun, concerns the half message that is being checked.
    fn is_reserved(&self, offset: i64) -> bool {
        let Some(reserved) = &self.reserved else {
            return false;
        };
        let copies = self.under_way.get(&offset);
        reserved.offset == offset || copies.is_some_and(|copies| copies.contains(&reserved.offset))
    }

    /// The text that records the decision of `offset`, which has begun.
    fn op(&self, offset: i64) -> String {
        let mut op = format!("{offset},");
        for copy in self.under_way.get(&offset).into_iter().flatten() {
            // Cannot fail: a String takes everything.
            let _ = write!(op, "{copy},");
        }
        op
    }

    fn forget(&mut self, offset: i64) {
        if let Some(latest) = self.latest_of.remove(&offset) {
            self.first_of.remove(&latest);
        } else if let Some(first) = self.first_of.remove(&offset) {
            self.latest_of.remove(&first);
        }
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

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("offset", &self.offset)
            .finish_non_exhaustive()
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
        assert_eq!(decisions.reserve(12), Reserve::UnderWay);
        assert_eq!(decisions.reserve(5), Reserve::UnderWay);
        decisions.end(5, true);
        assert_eq!(decisions.begin(12), Begun::Settled);
        assert_eq!(decisions.reserve(12), Reserve::Decided);
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

    fn later() -> Later {
        Box::new(|_, _| {})
    }

    #[test]
    fn a_decision_waits_for_the_copy_of_the_check_and_names_it() {
        for (checked, first) in [(5, None), (9, Some(5))] {
            let decisions = Decisions::default();
            if let Some(first) = first {
                decisions.copied(first, checked);
            }
            assert_eq!(decisions.reserve(checked), Reserve::Yes);
            assert_eq!(decisions.begin(5), Begun::Reserved);
            assert_eq!(decisions.begin(checked), Begun::UnderWay);
            assert!(matches!(decisions.begin(6), Begun::Yes { .. }), "another");
            assert!(decisions.wait(5, later()).is_none());
            decisions.copied(checked, 12);
            assert_eq!(decisions.begin(12), Begun::UnderWay);
            let (_, op) = decisions.release().unwrap();
            assert_eq!(op, if first.is_some() { "5,9,12," } else { "5,12," });
            assert_eq!(decisions.reserve(12), Reserve::UnderWay);
            decisions.end(5, true);
            assert_eq!(decisions.begin(12), Begun::Settled);
            assert_eq!(decisions.reserve(12), Reserve::Decided);
        }
    }

    #[test]
    fn a_decision_does_not_wait_for_a_check_that_is_over() {
        let decisions = Decisions::default();
        assert_eq!(decisions.reserve(5), Reserve::Yes);
        assert_eq!(decisions.reserve(6), Reserve::UnderWay, "one at a time");
        assert_eq!(decisions.begin(5), Begun::Reserved);
        decisions.copied(5, 9);
        assert!(decisions.release().is_none());
        let (_, op) = decisions.wait(5, later()).unwrap();
        assert_eq!(op, "5,9,");
        decisions.end(5, false);

        assert_eq!(decisions.reserve(9), Reserve::Yes);
        assert_eq!(decisions.begin(5), Begun::Reserved);
        assert!(decisions.wait(5, later()).is_none());
        let (_, op) = decisions.release().unwrap();
        assert_eq!(op, "5,9,", "the copy was not stored");
    }

    #[test]
    fn what_is_decided_is_not_checked_although_that_cannot_be_read_yet() {
        let decisions = Decisions::default();
        assert_eq!(op(decisions.begin(5)), "5,");
        decisions.end(5, true);
        assert_eq!(decisions.reserve(5), Reserve::Decided);
        for n in 10..10 + i64::try_from(JUST_ENDED).unwrap() {
            assert_eq!(op(decisions.begin(n)), format!("{n},"));
            decisions.end(n, true);
        }
        assert_eq!(decisions.reserve(5), Reserve::Yes);
        assert_eq!(decisions.state.lock().just_ended.len(), JUST_ENDED);
    }

    /// After a start, copies are found while producers decide.
    #[test]
    fn a_copy_that_a_decision_could_not_name_is_decided_with_it() {
        let decisions = Decisions::default();
        assert_eq!(op(decisions.begin(5)), "5,");
        decisions.copied(5, 9);
        decisions.end(5, true);
        assert_eq!(decisions.begin(9), Begun::Settled);
        assert_eq!(decisions.reserve(9), Reserve::Decided);
        decisions.copied(9, 12);
        assert_eq!(decisions.begin(12), Begun::Settled);
        assert_eq!(decisions.reserve(12), Reserve::Decided);
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
