//! The table of calls that wait for a response: opaque -> waiter. Plain data: no I/O, no clock, no lock.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    task::{Poll, Waker},
};

use rocketry_protocol::RemotingCommand;
use tokio::time::Instant;

/// Calls in flight on one connection.
///
/// An entry is created by [`Pending::insert`] and lives until its caller has taken the outcome ([`Pending::poll`]), was told of it
/// ([`Pending::tell`]) or walked away ([`Pending::remove`]); so at most `limit` outcomes are ever kept.
#[derive(Debug)]
pub(crate) struct Pending {
    entries: HashMap<i32, Entry, BuildHasherDefault<OpaqueHasher>>,
    next_opaque: i32,
    limit: usize,
    /// When [`Pending::expire`] has been asked to run next; an earlier deadline has to be announced.
    expiry: Option<Instant>,
}

/// Small, since there may be tens of thousands of them.
#[derive(Debug)]
pub(crate) struct Entry {
    deadline: Instant,
    /// How many reads the connection had seen when the call was made; `None` if its silence proves nothing.
    reads_before: Option<u64>,
    state: State,
}

enum State {
    /// The caller asks.
    Waiting(Option<Waker>),
    /// The caller is told.
    Telling(Arc<dyn Waiter>),
    Done(Box<Outcome>),
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(waker) => f.debug_tuple("Waiting").field(waker).finish(),
            Self::Telling(_) => f.write_str("Telling"),
            Self::Done(outcome) => f.debug_tuple("Done").field(outcome).finish(),
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Replied(RemotingCommand),
    TimedOut,
    Closed,
}

/// How a call ended, for [`Reply::settle`](crate::Reply::settle).
#[derive(Debug)]
pub struct End(pub(crate) Outcome);

/// A caller that is told how its call ended, where others would be woken: see [`Reply::tell`](crate::Reply::tell).
pub trait Waiter: Send + Sync {
    /// The call is over. Called once at most, by the task that learns of it, which serves the connection: it must neither block
    /// nor panic.
    fn ended(self: Arc<Self>, end: End);
}

/// Who has to hear that a call is over, once the table is unlocked.
pub(crate) enum Notice {
    Wake(Waker),
    Tell(Arc<dyn Waiter>, Outcome),
}

impl Notice {
    pub(crate) fn give(self) {
        match self {
            Self::Wake(waker) => waker.wake(),
            Self::Tell(waiter, outcome) => waiter.ended(End(outcome)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inserted {
    pub(crate) opaque: i32,
    /// The deadline is earlier than the planned expiry.
    pub(crate) expires_earlier: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    /// When to call [`Pending::expire`] again; `None` until an insert announces a deadline.
    pub(crate) next: Option<Instant>,
    /// A call timed out that had seen no read at all since it was made.
    pub(crate) silent: bool,
}

/// Nobody waits for the response, or not any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unmatched;

impl Pending {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            entries: HashMap::default(),
            next_opaque: 0,
            limit,
            expiry: None,
        }
    }

    /// Entries, finished ones that were not taken yet included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a waiter under a fresh opaque; `None` when the table is full.
    pub(crate) fn insert(
        &mut self,
        deadline: Instant,
        reads_before: Option<u64>,
    ) -> Option<Inserted> {
        if self.entries.len() >= self.limit {
            return None;
        }
        let opaque = self.skip_opaque();
        self.entries.insert(
            opaque,
            Entry {
                deadline,
                reads_before,
                state: State::Waiting(None),
            },
        );
        let expires_earlier = self.expiry.is_none_or(|planned| deadline < planned);
        if expires_earlier {
            self.expiry = Some(deadline);
        }
        Some(Inserted {
            opaque,
            expires_earlier,
        })
    }

    /// A number that no call has: for one-way requests. A peer that answers one all the same must not answer a call with it.
    pub(crate) fn skip_opaque(&mut self) -> i32 {
        // The counter wraps after 2^32 requests; a long poll may still hold its number by then.
        while self.entries.contains_key(&self.next_opaque) {
            self.next_opaque = self.next_opaque.wrapping_add(1);
        }
        let opaque = self.next_opaque;
        self.next_opaque = opaque.wrapping_add(1);
        opaque
    }

    /// The outcome, once there is one: then the entry is gone. Until then `waker` is woken on it.
    pub(crate) fn poll(&mut self, opaque: i32, waker: &Waker) -> Poll<Outcome> {
        let Some(entry) = self.entries.get_mut(&opaque) else {
            // Only the owner of the opaque polls, and only until it has its outcome.
            return Poll::Ready(Outcome::Closed);
        };
        match &mut entry.state {
            State::Waiting(Some(known)) => {
                known.clone_from(waker);
                return Poll::Pending;
            }
            state @ (State::Waiting(None) | State::Telling(_)) => {
                *state = State::Waiting(Some(waker.clone()));
                return Poll::Pending;
            }
            State::Done(_) => {}
        }
        match self.entries.remove(&opaque).map(|entry| entry.state) {
            Some(State::Done(outcome)) => Poll::Ready(*outcome),
            _ => Poll::Ready(Outcome::Closed),
        }
    }

    /// Has `waiter` told of the outcome; if there is one already, it is returned instead, and the entry is gone.
    pub(crate) fn tell(&mut self, opaque: i32, waiter: Arc<dyn Waiter>) -> Option<Outcome> {
        match self.entries.get_mut(&opaque) {
            Some(entry) if !matches!(entry.state, State::Done(_)) => {
                entry.state = State::Telling(waiter);
                return None;
            }
            Some(_) | None => {}
        }
        match self.entries.remove(&opaque).map(|entry| entry.state) {
            Some(State::Done(outcome)) => Some(*outcome),
            _ => Some(Outcome::Closed),
        }
    }

    /// The caller walked away. Whoever was to be told is returned, to be dropped when the table is unlocked: it may hold calls itself.
    pub(crate) fn remove(&mut self, opaque: i32) -> Option<Entry> {
        self.entries.remove(&opaque)
    }

    /// Hands a response to its waiter and returns who has to hear of it.
    pub(crate) fn complete(
        &mut self,
        response: RemotingCommand,
    ) -> Result<Option<Notice>, Unmatched> {
        let opaque = response.opaque;
        let entry = self.entries.get_mut(&opaque).ok_or(Unmatched)?;
        match &mut entry.state {
            State::Waiting(waker) => {
                let waker = waker.take();
                entry.state = State::Done(Box::new(Outcome::Replied(response)));
                Ok(waker.map(Notice::Wake))
            }
            State::Telling(_) => match self.entries.remove(&opaque).map(|entry| entry.state) {
                Some(State::Telling(waiter)) => {
                    Ok(Some(Notice::Tell(waiter, Outcome::Replied(response))))
                }
                _ => Err(Unmatched),
            },
            State::Done(_) => Err(Unmatched),
        }
    }

    /// Ends all calls whose deadline is not after `now`, and pushes who has to hear of it. `reads` is the connection's count of reads.
    /// Walks the table only when a deadline may have passed.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        reads: u64,
        notices: &mut Vec<Notice>,
    ) -> Expired {
        if self.expiry.is_none_or(|planned| now < planned) {
            return Expired {
                next: self.expiry,
                silent: false,
            };
        }
        let mut silent = false;
        let mut next: Option<Instant> = None;
        self.end_some(
            notices,
            |entry| {
                let over = entry.deadline <= now;
                if over {
                    silent |= entry.reads_before == Some(reads);
                } else {
                    next = Some(next.map_or(entry.deadline, |other| other.min(entry.deadline)));
                }
                over
            },
            || Outcome::TimedOut,
        );
        self.expiry = next;
        Expired { next, silent }
    }

    /// Ends all calls because the connection did, and pushes who has to hear of it.
    pub(crate) fn fail_all(&mut self, notices: &mut Vec<Notice>) {
        self.end_some(notices, |_| true, || Outcome::Closed);
    }

    /// Ends those calls that are not over and that `which` chooses.
    fn end_some(
        &mut self,
        notices: &mut Vec<Notice>,
        mut which: impl FnMut(&Entry) -> bool,
        outcome: impl Fn() -> Outcome,
    ) {
        let mut chosen = |entry: &Entry| !matches!(entry.state, State::Done(_)) && which(entry);
        self.entries.retain(|_, entry| {
            if !chosen(entry) {
                return true;
            }
            let done = State::Done(Box::new(outcome()));
            match std::mem::replace(&mut entry.state, done) {
                State::Telling(waiter) => {
                    notices.push(Notice::Tell(waiter, outcome()));
                    false
                }
                State::Waiting(waker) => {
                    notices.extend(waker.map(Notice::Wake));
                    true
                }
                State::Done(_) => true,
            }
        });
    }
}

/// Opaques are handed out by us in sequence, so spreading them is enough; nobody can aim at collisions.
#[derive(Debug, Default)]
struct OpaqueHasher(u64);

impl Hasher for OpaqueHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(SPREAD);
        }
    }

    fn write_i32(&mut self, opaque: i32) {
        self.0 = u64::from(opaque.cast_unsigned()).wrapping_mul(SPREAD);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
        time::Duration,
    };

    use parking_lot::Mutex;
    use proptest::prelude::*;
    use rocketry_protocol::ResponseCode;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes each end that it is told, with the opaque of the response.
    #[derive(Default)]
    struct Told(Mutex<Vec<(i32, Now)>>);

    struct OneOf(i32, Arc<Told>);

    impl Waiter for OneOf {
        fn ended(self: Arc<Self>, end: End) {
            self.1.0.lock().push((self.0, now_of(&end.0)));
        }
    }

    fn now_of(outcome: &Outcome) -> Now {
        match outcome {
            Outcome::Replied(_) => Now::Replied,
            Outcome::TimedOut => Now::TimedOut,
            Outcome::Closed => Now::Closed,
        }
    }

    fn response(opaque: i32) -> RemotingCommand {
        let mut response = RemotingCommand::response(ResponseCode::SUCCESS);
        response.opaque = opaque;
        response
    }

    /// What a call of the model has come to.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Now {
        Waiting { deadline_ms: u64 },
        Replied,
        TimedOut,
        Closed,
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert {
            after_ms: u64,
        },
        /// The numbers choose one of the calls made so far, finished ones included.
        Complete(usize),
        Poll(usize),
        Tell(usize),
        Remove(usize),
        Expire {
            advance_ms: u64,
        },
        FailAll,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..50u64).prop_map(|after_ms| Step::Insert { after_ms }),
            3 => any::<usize>().prop_map(Step::Complete),
            3 => any::<usize>().prop_map(Step::Poll),
            3 => any::<usize>().prop_map(Step::Tell),
            2 => any::<usize>().prop_map(Step::Remove),
            2 => (0..30u64).prop_map(|advance_ms| Step::Expire { advance_ms }),
            1 => Just(Step::FailAll),
        ];
        proptest::collection::vec(step, 0..200)
    }

    const LIMIT: usize = 8;

    proptest! {
        /// Every outcome, table size and next expiry is that of a plain list; each waiter is woken or told once, by what ends its call.
        #[test]
        fn behaves_like_a_plain_list(first_opaque in any::<i32>(), steps in steps()) {
            let start = Instant::now();
            let at = |ms: u64| start + Duration::from_millis(ms);
            let mut now_ms = 0;
            let mut pending = Pending::new(LIMIT);
            pending.next_opaque = first_opaque;
            let mut model: BTreeMap<i32, Now> = BTreeMap::new();
            let mut ever = Vec::new();
            let wakes = Arc::new(Wakes::default());
            let waker = Waker::from(Arc::clone(&wakes));
            let mut polled = BTreeSet::new();
            let mut expected_wakes = 0;
            // who is to be told, who has been, and who should have been
            let (mut telling, told, mut expected_told) = (BTreeSet::new(), Arc::<Told>::default(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert { after_ms } => {
                        let deadline_ms = now_ms + after_ms;
                        let inserted = pending.insert(at(deadline_ms), None);
                        if model.len() == LIMIT {
                            prop_assert_eq!(inserted, None);
                        } else {
                            let inserted = inserted.unwrap();
                            prop_assert!(!model.contains_key(&inserted.opaque));
                            model.insert(inserted.opaque, Now::Waiting { deadline_ms });
                            ever.push(inserted.opaque);
                            // Whoever plans the expiry must never be told too late.
                            prop_assert!(pending.expiry.unwrap() <= at(deadline_ms));
                        }
                    }
                    Step::Complete(n) => {
                        let Some(&opaque) = ever.get(n % ever.len().max(1)) else { continue };
                        let completed = pending.complete(response(opaque));
                        if let Some(now @ Now::Waiting { .. }) = model.get_mut(&opaque) {
                            *now = Now::Replied;
                            let notice = completed.unwrap();
                            let is_polled = polled.remove(&opaque);
                            let is_told = telling.remove(&opaque);
                            expected_wakes += usize::from(is_polled);
                            prop_assert_eq!(notice.is_some(), is_polled || is_told);
                            if is_told {
                                model.remove(&opaque);
                                expected_told.insert((opaque, Now::Replied));
                            }
                            if let Some(notice) = notice {
                                notice.give();
                            }
                        } else {
                            prop_assert_eq!(completed.err(), Some(Unmatched));
                        }
                    }
                    Step::Tell(n) => {
                        let Some(&opaque) = ever.get(n % ever.len().max(1)) else { continue };
                        let Some(now) = model.get(&opaque).copied() else { continue };
                        match pending.tell(opaque, Arc::new(OneOf(opaque, Arc::clone(&told)))) {
                            None => {
                                prop_assert!(matches!(now, Now::Waiting { .. }), "{now:?}");
                                polled.remove(&opaque);
                                telling.insert(opaque);
                            }
                            Some(outcome) => {
                                model.remove(&opaque);
                                prop_assert_eq!(now_of(&outcome), now);
                            }
                        }
                    }
                    Step::Poll(n) => {
                        let Some(&opaque) = ever.get(n % ever.len().max(1)) else { continue };
                        let Some(now) = model.get(&opaque).copied() else { continue };
                        match (pending.poll(opaque, &waker), now) {
                            (Poll::Pending, Now::Waiting { .. }) => {
                                telling.remove(&opaque);
                                polled.insert(opaque);
                            }
                            (Poll::Ready(outcome), now) => {
                                model.remove(&opaque);
                                prop_assert_eq!(now_of(&outcome), now);
                                if let Outcome::Replied(response) = outcome {
                                    prop_assert_eq!(response.opaque, opaque);
                                }
                            }
                            (Poll::Pending, now) => prop_assert!(false, "pending, but {now:?}"),
                        }
                    }
                    Step::Remove(n) => {
                        let Some(&opaque) = ever.get(n % ever.len().max(1)) else { continue };
                        polled.remove(&opaque);
                        telling.remove(&opaque);
                        prop_assert_eq!(pending.remove(opaque).is_some(), model.remove(&opaque).is_some());
                    }
                    Step::Expire { advance_ms } => {
                        now_ms += advance_ms;
                        let mut notices = Vec::new();
                        let expired = pending.expire(at(now_ms), 0, &mut notices);
                        notices.into_iter().for_each(Notice::give);
                        let mut earliest = None;
                        model.retain(|opaque, now| {
                            let Now::Waiting { deadline_ms } = *now else { return true };
                            if deadline_ms > now_ms {
                                earliest = Some(earliest.map_or(deadline_ms, |ms: u64| ms.min(deadline_ms)));
                                return true;
                            }
                            *now = Now::TimedOut;
                            expected_wakes += usize::from(polled.remove(opaque));
                            let is_told = telling.remove(opaque);
                            if is_told {
                                expected_told.insert((*opaque, Now::TimedOut));
                            }
                            !is_told
                        });
                        // Calls that ended otherwise may leave the plan too early, never too late.
                        if let Some(earliest) = earliest {
                            let next = expired.next.unwrap();
                            prop_assert!(next > at(now_ms) && next <= at(earliest));
                        }
                        prop_assert!(!expired.silent);
                    }
                    Step::FailAll => {
                        let mut notices = Vec::new();
                        pending.fail_all(&mut notices);
                        prop_assert_eq!(notices.len(), polled.len() + telling.len());
                        notices.into_iter().for_each(Notice::give);
                        expected_wakes += polled.len();
                        polled.clear();
                        model.retain(|opaque, _| !telling.contains(opaque));
                        expected_told.extend(telling.iter().map(|opaque| (*opaque, Now::Closed)));
                        telling.clear();
                        for now in model.values_mut() {
                            if matches!(now, Now::Waiting { .. }) {
                                *now = Now::Closed;
                            }
                        }
                    }
                }
                prop_assert_eq!(pending.len(), model.len());
            }
            prop_assert_eq!(wakes.0.load(Ordering::Relaxed), expected_wakes);
            let mut told = told.0.lock().clone();
            told.sort_unstable();
            prop_assert_eq!(told, expected_told.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn opaques_wrap_around_and_skip_those_in_use() {
        let now = Instant::now();
        let mut pending = Pending::new(8);
        pending.next_opaque = i32::MAX;
        assert_eq!(pending.insert(now, None).unwrap().opaque, i32::MAX);
        assert_eq!(pending.insert(now, None).unwrap().opaque, i32::MIN);
        pending.next_opaque = i32::MAX;
        assert_eq!(pending.insert(now, None).unwrap().opaque, i32::MIN + 1);
    }

    #[test]
    fn a_timeout_without_a_read_since_the_call_is_silence() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut notices = Vec::new();
        let mut pending = Pending::new(8);
        pending.insert(at(1), Some(5)).unwrap();
        pending.insert(at(2), Some(6)).unwrap();
        pending.insert(at(3), None).unwrap();
        assert!(
            !pending.expire(at(1), 6, &mut notices).silent,
            "6 reads, 5 before the call"
        );
        assert!(
            pending.expire(at(2), 6, &mut notices).silent,
            "6 reads, 6 before the call"
        );
        assert!(
            !pending.expire(at(3), 6, &mut notices).silent,
            "the call does not count"
        );
    }
}
