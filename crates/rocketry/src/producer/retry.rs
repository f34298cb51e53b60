//! Last stage: done, again, or over? Keeps the list of attempts that the error shows.
//!
//! The modes differ here, by data: [`Policy::of`]. Java: the loop of `DefaultMQProducerImpl.sendDefaultImpl`, and
//! `MQClientAPIImpl.onExceptionImpl` for asynchronous sends.

use std::{sync::Arc, time::Duration};

use rocketry_protocol::{MessageQueue, ResponseCode};
use tokio::time::Instant;

use super::{
    SendMode, SendResult,
    interpret::{Loss, Outcome},
};
use crate::{
    config::{AttemptBudget, ProducerConfig},
    error::{Attempt, Error, ErrorKind, Phase},
    hint,
};

/// What is tried again, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy<'c> {
    attempts: u32,
    /// Answers after which another attempt may help.
    retry_codes: &'c [ResponseCode],
    retry_not_durable: bool,
    retry_overloaded: bool,
    budget: AttemptBudget,
    attempt_timeout: Option<Duration>,
}

impl<'c> Policy<'c> {
    /// `chosen`: the application has chosen the queue, by itself or through a selector.
    pub(crate) fn of(mode: SendMode, chosen: bool, config: &'c ProducerConfig) -> Self {
        let once = Self {
            attempts: 1,
            retry_codes: &[],
            retry_not_durable: false,
            retry_overloaded: false,
            budget: AttemptBudget::JavaExact,
            attempt_timeout: None,
        };
        match mode {
            SendMode::Sync if chosen => once,
            SendMode::Sync => Self {
                attempts: config.retries.saturating_add(1),
                retry_codes: &config.retry_codes,
                retry_not_durable: config.retry_not_durable,
                retry_overloaded: true,
                budget: config.attempt_budget,
                attempt_timeout: config.attempt_timeout,
            },
            // Java retries asynchronous sends for transport failures only, to a chosen queue as well.
            SendMode::Async => Self {
                attempts: config.async_retries.saturating_add(1),
                ..once
            },
            SendMode::OneWay => once,
        }
    }

    /// The same with one attempt.
    pub(crate) fn once(self) -> Self {
        Self {
            attempts: 1,
            ..self
        }
    }

    fn retries(&self, outcome: &Failure) -> bool {
        match outcome {
            Failure::Refused { code, .. } => self.retry_codes.contains(code),
            Failure::Lost(loss) => match loss.kind {
                ErrorKind::Overloaded => self.retry_overloaded,
                // what cannot be encoded for one broker cannot be encoded for another
                ErrorKind::MessageTooLarge | ErrorKind::Closed => false,
                _ => true,
            },
        }
    }
}

/// The least share of the budget that an attempt gets.
const MIN_SHARE: Duration = Duration::from_millis(300);

/// The attempts of one send.
#[derive(Debug)]
pub(crate) struct Attempts<'c> {
    policy: Policy<'c>,
    started: Instant,
    deadline: Instant,
    begun: u32,
    attempt_started: Instant,
    attempt_ended: Option<Instant>,
    last_broker: Option<Arc<str>>,
    failed: Vec<Attempt>,
    maybe_stored: bool,
    /// A result without the requested durability: better than an error.
    stored: Option<Box<SendResult>>,
}

/// What to do after an attempt.
#[derive(Debug)]
pub(crate) enum Step {
    /// The send is over; no result for a one-way send.
    Done(Option<SendResult>),
    Again,
    GiveUp(Error),
}

enum Failure {
    Refused {
        code: ResponseCode,
        remark: Option<String>,
    },
    Lost(Loss),
}

impl<'c> Attempts<'c> {
    pub(crate) fn new(policy: Policy<'c>, started: Instant, deadline: Instant) -> Self {
        Self {
            policy,
            started,
            deadline,
            begun: 0,
            attempt_started: started,
            attempt_ended: None,
            last_broker: None,
            failed: Vec::new(),
            maybe_stored: false,
            stored: None,
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When the last attempt was over.
    pub(crate) fn last_ended(&self) -> Option<Instant> {
        self.attempt_ended
    }

    /// The broker of the attempt before.
    pub(crate) fn last_broker(&self) -> Option<&str> {
        self.last_broker.as_deref()
    }

    /// Attempts begun so far: the number of the current one.
    pub(crate) fn begun(&self) -> u32 {
        self.begun
    }

    /// Since the current attempt began.
    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.attempt_started)
    }

    /// Begins an attempt and returns until when it may run. `alternatives`: a later attempt could go to another broker.
    pub(crate) fn begin(&mut self, alternatives: bool, now: Instant) -> Instant {
        let left = self.deadline.saturating_duration_since(now);
        let attempts_left = self.policy.attempts.saturating_sub(self.begun).max(1);
        let mut share = left;
        if attempts_left > 1 {
            // With one broker a second attempt meets the same silence, so that dividing would only risk a duplicate.
            if self.policy.budget == AttemptBudget::Divided && alternatives {
                share = share.min((left / attempts_left).max(MIN_SHARE));
            }
            if let Some(cap) = self.policy.attempt_timeout {
                share = share.min(cap);
            }
        }
        self.begun += 1;
        self.attempt_started = now;
        now + share
    }

    /// Decides after an attempt at `queue`, whose broker has the address `address`.
    pub(crate) fn decide(
        &mut self,
        outcome: Outcome,
        queue: &MessageQueue,
        address: &Arc<str>,
        now: Instant,
    ) -> Step {
        self.attempt_ended = Some(now);
        let failure = match outcome {
            Outcome::Handed => return Step::Done(None),
            Outcome::Stored(result) => return Step::Done(Some(result)),
            Outcome::NotDurable(result) => {
                if self.policy.retry_not_durable && self.may_go_on(now) {
                    self.last_broker = Some(Arc::clone(&queue.broker_name));
                    self.stored = Some(Box::new(result));
                    return Step::Again;
                }
                return Step::Done(Some(result));
            }
            Outcome::Refused { code, remark } => Failure::Refused { code, remark },
            Outcome::Lost(loss) => Failure::Lost(loss),
        };
        self.note(&failure, queue, address, now);
        if self.policy.retries(&failure) && self.may_go_on(now) {
            self.last_broker = Some(Arc::clone(&queue.broker_name));
            return Step::Again;
        }
        match self.stored.take() {
            Some(result) => Step::Done(Some(*result)),
            None => Step::GiveUp(self.error(&queue.topic, failure, now)),
        }
    }

    /// The error of a send that had only this attempt: for those who look at attempts one by one.
    pub(crate) fn error_of(
        &self,
        outcome: &Outcome,
        queue: &MessageQueue,
        address: &Arc<str>,
        now: Instant,
    ) -> Option<Error> {
        let failure = match outcome {
            Outcome::Handed | Outcome::Stored(_) | Outcome::NotDurable(_) => return None,
            Outcome::Refused { code, remark } => Failure::Refused {
                code: *code,
                remark: remark.clone(),
            },
            Outcome::Lost(loss) => Failure::Lost(loss.clone()),
        };
        let mut alone = Attempts::new(self.policy, self.attempt_started, self.deadline);
        alone.note(&failure, queue, address, now);
        Some(alone.error(&queue.topic, failure, now))
    }

    /// The error of a send that ends outside of an attempt: no route, no queue, a veto. An earlier result counts more.
    pub(crate) fn fail(&mut self, error: Error, now: Instant) -> Step {
        if let Some(result) = self.stored.take() {
            return Step::Done(Some(*result));
        }
        let error = if self.failed.is_empty() {
            error
        } else {
            let mut attempts = std::mem::take(&mut self.failed);
            attempts.extend_from_slice(error.attempts());
            error.with_attempts(attempts)
        };
        Step::GiveUp(
            error
                .with_times(self.total(now), self.budget())
                .with_maybe_stored(self.maybe_stored),
        )
    }

    fn may_go_on(&self, now: Instant) -> bool {
        self.begun < self.policy.attempts && now < self.deadline
    }

    fn total(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    fn budget(&self) -> Duration {
        self.deadline.saturating_duration_since(self.started)
    }

    fn note(&mut self, failure: &Failure, queue: &MessageQueue, address: &Arc<str>, now: Instant) {
        let (phase, code, outcome) = match failure {
            Failure::Refused { code, remark } => {
                let remark = remark.as_deref().unwrap_or("no remark");
                (
                    Phase::Answer,
                    Some(*code),
                    format!("answered {code}: {remark}"),
                )
            }
            Failure::Lost(loss) => {
                self.maybe_stored |= loss.maybe_stored;
                (loss.phase, None, loss.reason.clone())
            }
        };
        self.failed.push(Attempt {
            peer: Arc::clone(&queue.broker_name),
            address: Arc::clone(address),
            queue_id: Some(queue.queue_id),
            started: self.attempt_started.saturating_duration_since(self.started),
            elapsed: self.elapsed(now),
            phase,
            code,
            outcome,
        });
    }

    fn error(&mut self, topic: &rocketry_protocol::Topic, failure: Failure, now: Instant) -> Error {
        let action = format!("send to topic {:?}", topic.as_str());
        let address = self
            .failed
            .last()
            .map(|a| Arc::clone(&a.address))
            .unwrap_or_default();
        let error = match failure {
            Failure::Refused { code, remark } => {
                let reason = match &remark {
                    Some(remark) => format!("the broker answered {code}: {remark}"),
                    None => format!("the broker answered {code}"),
                };
                let error = Error::new(ErrorKind::Refused, action, reason);
                let error = match hint::refused(code, remark.as_deref(), topic.as_str()) {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                };
                error.with_answer(code, remark)
            }
            Failure::Lost(loss) => {
                let error = Error::new(loss.kind, action, loss.reason);
                let hint = loss.hint.map(Into::into);
                let error = match hint.or_else(|| hint::lost(loss.kind, loss.phase, &address)) {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                };
                match loss.source {
                    Some(source) => error.with_shared_source(source),
                    None => error,
                }
            }
        };
        error
            .with_topic(Arc::clone(topic.as_arc()))
            .with_attempts(std::mem::take(&mut self.failed))
            .with_times(self.total(now), self.budget())
            .with_maybe_stored(self.maybe_stored)
    }
}

#[cfg(test)]
mod tests {
    use rocketry_protocol::Topic;

    use super::*;
    use crate::producer::SendStatus;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn queue(broker: &str) -> MessageQueue {
        MessageQueue {
            topic: Topic::new("T").unwrap(),
            broker_name: broker.into(),
            queue_id: 1,
        }
    }
    fn result(status: SendStatus) -> SendResult {
        SendResult {
            status,
            msg_id: "id".to_owned(),
            offset_msg_id: String::new(),
            queue: queue("a"),
            queue_offset: 0,
            transaction_id: None,
            recall_handle: None,
            region_id: "DefaultRegion".into(),
            trace_on: true,
        }
    }
    fn refused(code: i32) -> Outcome {
        Outcome::Refused {
            code: ResponseCode(code),
            remark: Some("because".to_owned()),
        }
    }
    fn lost(kind: ErrorKind) -> Outcome {
        Outcome::Lost(Loss {
            kind,
            phase: Phase::Wait,
            maybe_stored: kind == ErrorKind::Timeout || kind == ErrorKind::ConnectionLost,
            reason: "lost".to_owned(),
            hint: None,
            source: None,
        })
    }
    fn attempts(policy: Policy<'_>) -> (Attempts<'_>, Instant) {
        let t0 = crate::clock::now();
        (Attempts::new(policy, t0, t0 + MS(3000)), t0)
    }
    /// Runs one outcome per attempt until the send is over.
    fn run(policy: Policy<'_>, outcomes: Vec<Outcome>) -> (usize, Step) {
        let (mut tries, t0) = attempts(policy);
        let address: Arc<str> = "10.0.0.1:10911".into();
        for (index, outcome) in outcomes.into_iter().enumerate() {
            let broker = ["a", "b", "c"][index % 3];
            tries.begin(true, t0 + MS(index as u64));
            match tries.decide(outcome, &queue(broker), &address, t0 + MS(index as u64)) {
                Step::Again => {}
                over => return (index + 1, over),
            }
        }
        panic!("still going on");
    }
    fn error(step: Step) -> Error {
        match step {
            Step::GiveUp(error) => error,
            other => panic!("{other:?}"),
        }
    }

    /// P-065
    #[test]
    fn retryable_answers_get_three_attempts_of_a_sync_send() {
        let config = ProducerConfig::default();
        for code in [1, 2, 14, 16, 17, 204, 205, 1500] {
            let policy = Policy::of(SendMode::Sync, false, &config);
            let (tried, over) = run(policy, (0..9).map(|_| refused(code)).collect());
            assert_eq!(tried, 3, "code {code}");
            let error = error(over);
            assert_eq!(error.java_code(), code);
            assert_eq!(error.response_code(), Some(ResponseCode(code)));
            let text = error.to_string();
            assert!(
                text.contains("tried 3 times: a at ")
                    && text.contains(", b at ")
                    && text.contains(", c at "),
                "{text}"
            );
            assert!(!error.maybe_stored());
        }
        let once = ProducerConfig {
            retries: 0,
            ..ProducerConfig::default()
        };
        let (tried, _) = run(Policy::of(SendMode::Sync, false, &once), vec![refused(1)]);
        assert_eq!(tried, 1);
    }

    /// P-066
    #[test]
    fn other_answers_are_final() {
        let config = ProducerConfig::default();
        for code in [3, 4, 13, 15, 26, 29, 215, 501, 604, 2017] {
            let (tried, over) = run(
                Policy::of(SendMode::Sync, false, &config),
                vec![refused(code)],
            );
            assert_eq!(tried, 1, "code {code}");
            let error = error(over);
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert_eq!(error.remark(), Some("because"));
            assert_eq!(error.address(), Some("10.0.0.1:10911"));
        }
        let mut extended = ProducerConfig::default();
        extended.retry_codes.push(ResponseCode(13));
        let policy = Policy::of(SendMode::Sync, false, &extended);
        assert_eq!(run(policy, (0..3).map(|_| refused(13)).collect()).0, 3);
    }

    /// P-063, P-064
    #[test]
    fn a_result_that_is_not_durable_counts_unless_another_attempt_is_asked_for() {
        let config = ProducerConfig::default();
        let not_durable = || Outcome::NotDurable(result(SendStatus::FlushDiskTimeout));
        let (tried, over) = run(
            Policy::of(SendMode::Sync, false, &config),
            vec![not_durable()],
        );
        assert!(matches!(over, Step::Done(Some(r)) if r.status == SendStatus::FlushDiskTimeout));
        assert_eq!(tried, 1);

        let again = ProducerConfig {
            retry_not_durable: true,
            ..ProducerConfig::default()
        };
        let policy = || Policy::of(SendMode::Sync, false, &again);
        let ok = Outcome::Stored(result(SendStatus::Ok));
        let (tried, over) = run(policy(), vec![not_durable(), ok]);
        assert!(matches!(over, Step::Done(Some(r)) if r.status == SendStatus::Ok));
        assert_eq!(tried, 2);
        let last = Outcome::NotDurable(result(SendStatus::SlaveNotAvailable));
        let (tried, over) = run(policy(), vec![not_durable(), not_durable(), last]);
        assert!(matches!(over, Step::Done(Some(r)) if r.status == SendStatus::SlaveNotAvailable));
        assert_eq!(tried, 3);
        // an earlier result beats a later error
        let (_, over) = run(policy(), vec![not_durable(), refused(13)]);
        assert!(matches!(over, Step::Done(Some(r)) if r.status == SendStatus::FlushDiskTimeout));
        // and is the application's matter in asynchronous sends
        let (tried, _) = run(
            Policy::of(SendMode::Async, false, &again),
            vec![not_durable()],
        );
        assert_eq!(tried, 1);
    }

    /// P-067, P-071
    #[test]
    fn transport_failures_get_three_attempts_and_keep_javas_code() {
        let config = ProducerConfig::default();
        for (kind, java_code, maybe_stored) in [
            (ErrorKind::BrokerUnreachable, 10001, false),
            (ErrorKind::Timeout, 10002, true),
            (ErrorKind::BrokerUnknown, 10003, false),
            (ErrorKind::ConnectionLost, -1, true),
            (ErrorKind::Overloaded, -1, false),
        ] {
            let policy = Policy::of(SendMode::Sync, false, &config);
            let (tried, over) = run(policy, (0..9).map(|_| lost(kind)).collect());
            let error = error(over);
            assert_eq!((tried, error.kind()), (3, kind));
            assert_eq!(
                (error.java_code(), error.maybe_stored()),
                (java_code, maybe_stored)
            );
        }
    }

    /// P-072
    #[test]
    fn a_chosen_queue_is_tried_once_in_sync_sends() {
        let config = ProducerConfig::default();
        let policy = || Policy::of(SendMode::Sync, true, &config);
        assert_eq!(run(policy(), vec![refused(1)]).0, 1);
        assert_eq!(run(policy(), vec![lost(ErrorKind::ConnectionLost)]).0, 1);
    }

    /// P-079, P-080, P-083
    #[test]
    fn async_sends_retry_transport_failures_only() {
        let config = ProducerConfig::default();
        for chosen in [false, true] {
            let policy = || Policy::of(SendMode::Async, chosen, &config);
            assert_eq!(run(policy(), vec![refused(1)]).0, 1);
            assert_eq!(run(policy(), vec![refused(17)]).0, 1);
            assert_eq!(run(policy(), vec![lost(ErrorKind::Overloaded)]).0, 1);
            for kind in [ErrorKind::ConnectionLost, ErrorKind::BrokerUnreachable] {
                assert_eq!(run(policy(), (0..9).map(|_| lost(kind)).collect()).0, 3);
            }
        }
    }

    /// P-082
    #[test]
    fn nothing_is_retried_when_the_time_is_over() {
        let config = ProducerConfig::default();
        for mode in [SendMode::Async, SendMode::Sync] {
            let (mut tries, t0) = attempts(Policy::of(mode, false, &config));
            let until = tries.begin(false, t0);
            assert_eq!(until, t0 + MS(3000));
            let step = tries.decide(lost(ErrorKind::Timeout), &queue("a"), &"x:1".into(), until);
            let error = error(step);
            assert_eq!(error.attempts().len(), 1);
            assert_eq!(error.elapsed(), Some(MS(3000)));
            assert!(error.maybe_stored());
        }
    }

    /// P-090
    #[test]
    fn one_way_is_tried_once() {
        let config = ProducerConfig::default();
        let policy = || Policy::of(SendMode::OneWay, false, &config);
        assert!(matches!(
            run(policy(), vec![Outcome::Handed]),
            (1, Step::Done(None))
        ));
        let (tried, over) = run(policy(), vec![lost(ErrorKind::BrokerUnreachable)]);
        assert_eq!((tried, error(over).java_code()), (1, 10001));
    }

    #[test]
    fn the_budget_is_divided_while_another_broker_is_left() {
        let config = ProducerConfig::default();
        let (mut tries, t0) = attempts(Policy::of(SendMode::Sync, false, &config));
        assert_eq!(tries.begin(true, t0), t0 + MS(1000));
        assert_eq!(tries.begin(true, t0 + MS(1000)), t0 + MS(2000));
        assert_eq!(tries.begin(true, t0 + MS(2000)), t0 + MS(3000));
        // a share is never shorter than useful
        let (mut tries, t0) = attempts(Policy::of(SendMode::Sync, false, &config));
        assert_eq!(tries.begin(true, t0 + MS(2500)), t0 + MS(2800));
        // alone, a broker gets all of it, as every broker does in Java's way
        let (mut tries, t0) = attempts(Policy::of(SendMode::Sync, false, &config));
        assert_eq!(tries.begin(false, t0), t0 + MS(3000));
        let exact = ProducerConfig {
            attempt_budget: AttemptBudget::JavaExact,
            ..ProducerConfig::default()
        };
        let (mut tries, t0) = attempts(Policy::of(SendMode::Sync, false, &exact));
        assert_eq!(tries.begin(true, t0), t0 + MS(3000));
    }

    /// P-069
    #[test]
    fn the_cap_of_an_attempt_holds_while_another_may_follow() {
        let config = ProducerConfig {
            attempt_timeout: Some(MS(800)),
            ..ProducerConfig::default()
        };
        let (mut tries, t0) = attempts(Policy::of(SendMode::Sync, false, &config));
        assert_eq!(tries.begin(false, t0), t0 + MS(800));
        assert_eq!(tries.begin(false, t0 + MS(800)), t0 + MS(1600));
        assert_eq!(tries.begin(false, t0 + MS(1600)), t0 + MS(3000));
    }
}
