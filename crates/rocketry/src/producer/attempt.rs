//! The attempts of one send: each goes to one broker, and tells what it has learnt about it.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use rocketry_protocol::TypedRequest;
use rocketry_remoting::Deadline;
use tokio::time::Instant;

use super::{
    SendMode, SendResult,
    calls::Calls,
    encode::{self, SendHeader},
    explain::{Explain, Mark},
    interpret::{Loss, Outcome, interpret},
    log,
    observe::SendStage,
    place::{self, Place},
    prepare::Prepared,
    retry::{Attempts, Step},
    select::Target,
    shared::Shared,
};
use crate::{clock, error::Error};

/// A prepared message on its way: what does not change from attempt to attempt.
pub(super) struct Delivery<'a> {
    pub(super) shared: &'a Shared,
    pub(super) prepared: &'a Prepared,
    pub(super) mode: SendMode,
    /// Becomes true when a request is on its way to a broker.
    pub(super) handed: &'a AtomicBool,
    /// Later messages follow on the same connection: nothing may be sent again behind them.
    pub(super) in_order: bool,
}

/// How far the next attempt of a send has come.
pub(super) enum At {
    /// Nothing is known of it.
    Start,
    /// It has a place.
    Place(Place),
    /// It began then, and its broker says that it is going away.
    GoneAway(Place, Instant),
    /// It began then, and has come to this.
    Over(Place, Instant, Outcome),
}

impl Delivery<'_> {
    /// Tries until the message is stored, or until nothing is left to try.
    pub(super) async fn run(
        &self,
        mut at: At,
        target: &mut Target,
        tries: &mut Attempts<'_>,
        calls: &mut Calls<'_>,
    ) -> Result<Option<SendResult>, Error> {
        let choice = target.choice();
        loop {
            let explain = calls.explain();
            let step = match std::mem::replace(&mut at, At::Start) {
                At::Start => {
                    let known = place::at_once(
                        self.shared,
                        self.prepared,
                        target,
                        tries.last_broker(),
                        explain,
                    );
                    let place = if let Some(place) = known {
                        Ok(place)
                    } else {
                        // Boxed: it rarely waits, and every send that waits here would carry a place for it.
                        let told = (explain, choice);
                        let next = place::next(self.shared, self.prepared, target, tries, told);
                        Box::pin(next).await
                    };
                    match place {
                        Ok(place) => self.attempt(&place, tries, calls).await,
                        Err(error) => tries.fail(error, clock::now()),
                    }
                }
                At::Place(place) => self.attempt(&place, tries, calls).await,
                At::GoneAway(place, begun) => {
                    let until = Deadline::at(tries.begin(place.alternatives, begun));
                    let (mark, address) = (explain.mark(), place.address.as_deref());
                    let make = || self.request(&place, tries.begun(), explain);
                    let transport = &self.shared.core().transport;
                    let address = address.unwrap_or_default();
                    let reply = transport.exchange_again(address, make, until, self.handed);
                    let reply = Box::pin(reply).await;
                    let outcome = interpret(reply, self.prepared, &place.queue.broker_name);
                    self.ended(&place, outcome, mark, tries, calls)
                }
                At::Over(place, begun, outcome) => {
                    tries.begin(place.alternatives, begun);
                    self.ended(&place, outcome, explain.mark(), tries, calls)
                }
            };
            match step {
                Step::Done(result) => return Ok(result),
                Step::Again => {}
                Step::GiveUp(error) => return Err(error),
            }
        }
    }

    /// One attempt, and what follows from it. A veto of the application is final.
    async fn attempt(
        &self,
        place: &Place,
        tries: &mut Attempts<'_>,
        calls: &mut Calls<'_>,
    ) -> Step {
        let (shared, explain) = (self.shared, calls.explain());
        let (queue, address) = (&place.queue, place.address.as_deref());
        let broker = &queue.broker_name;
        let begun = clock::now();
        let until = tries.begin(place.alternatives, begun);
        let mark = explain.mark();
        if tries.begun() > 1 {
            shared.counters.retry();
        }
        explain.stage(mark, || SendStage::AttemptBegan {
            attempt: tries.begun(),
            broker,
            address,
            budget: until.saturating_duration_since(begun),
        });
        let outcome = match &place.address {
            None => Outcome::Lost(Loss::broker_unknown(broker)),
            Some(address) => {
                if let Err(veto) = calls.before(tries.begun(), queue, address, begun) {
                    return tries.fail(veto, clock::now());
                }
                self.exchange(place, address, tries.begun(), (begun, until), explain)
                    .await
            }
        };
        self.ended(place, outcome, mark, tries, calls)
    }

    /// What follows from the outcome of an attempt.
    fn ended(
        &self,
        place: &Place,
        outcome: Outcome,
        mark: Mark,
        tries: &mut Attempts<'_>,
        calls: &mut Calls<'_>,
    ) -> Step {
        let (queue, address) = (&place.queue, place.address.as_deref());
        let explain = calls.explain();
        let now = clock::now();
        explain.attempted(mark, tries, &outcome);
        log::attempt(tries, &outcome, &queue.broker_name, address, now);
        learn(
            self.shared,
            self.prepared,
            place,
            &outcome,
            (tries.elapsed(now), now),
        );
        explain.brokers();
        let address = place.address.as_ref().map_or_else(Arc::default, Arc::clone);
        calls.attempted(&outcome, || tries.error_of(&outcome, queue, &address, now));
        tries.decide(outcome, queue, &address, now)
    }

    /// Encode, transport, interpret.
    async fn exchange(
        &self,
        place: &Place,
        address: &str,
        attempt: u32,
        (begun, until): (Instant, Instant),
        explain: Explain<'_>,
    ) -> Outcome {
        let transport = &self.shared.core().transport;
        let make = || self.request(place, attempt, explain);
        let until = Deadline::at(until);
        if self.mode == SendMode::OneWay {
            return match transport.oneway_typed(address, make(), until).await {
                Ok(()) => Outcome::Handed,
                Err(error) => Outcome::Lost(error.into()),
            };
        }
        let handing = (self.handed, self.in_order);
        let reply = transport
            .exchange(address, make, (begun, until), handing)
            .await;
        interpret(reply, self.prepared, &place.queue.broker_name)
    }

    /// The request of an attempt.
    fn request<'m>(
        &'m self,
        Place { queue, .. }: &'m Place,
        attempt: u32,
        explain: Explain<'_>,
    ) -> TypedRequest<SendHeader<'m>> {
        let mark = explain.mark();
        let request = encode::encode(
            self.prepared,
            &queue.broker_name,
            queue.queue_id,
            &self.shared.encode,
            // the first attempt begins where the message was prepared
            if attempt > 1 {
                clock::wall_ms()
            } else {
                self.prepared.ready_ms
            },
        );
        explain.encoded(mark, || request.clone().into_command());
        request
    }
}

/// What an attempt says about its broker: the fault table, the freshness of the route, whom to avoid.
pub(super) fn learn(
    shared: &Shared,
    prepared: &Prepared,
    place: &Place,
    outcome: &Outcome,
    (elapsed, now): (Duration, Instant),
) {
    let core = shared.core();
    let broker = &place.queue.broker_name;
    if shared.faults.is_enabled() {
        shared
            .faults
            .record(broker, outcome.observation(elapsed), now);
    }
    if outcome.hints_at_stale_route() {
        core.routes.suspect(&prepared.topic);
    }
    if !shared.config.avoid_silent_brokers {
        return;
    }
    if outcome.is_answer() {
        core.suspects.clear(broker);
        return;
    }
    // a caller in a hurry proves nothing
    let is_silent = outcome.is_silence() && (outcome.is_disconnect() || elapsed >= SILENCE);
    if let Some(owner) = &place.owner
        && is_silent
    {
        core.suspects.suspect(owner, &prepared.topic);
    }
}

/// A broker that has not answered for this long is silent.
const SILENCE: Duration = Duration::from_millis(300);
