//! The one way of a message, for every mode. [`Shared::start`] runs the stages up to the first request as plain functions, and leaves a
//! [`Flight`] that the answer ends; [`go_on`] runs them for a send that has to wait, from wherever it is.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use rocketry_protocol::TypedRequest;
use rocketry_remoting::{Connection, Deadline};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tracing::Span;

use super::{
    SendMode, SendResult,
    attempt::{At, Delivery, learn},
    calls::Calls,
    encode::{self, SendHeader},
    explain::Explain,
    flight::{Flight, Held, Ready, Unfinished},
    in_flight::Permits,
    interpret::Outcome,
    log,
    observe::SendStage,
    order::{Order, Outgoing},
    place::{self, Place},
    prepare::{self, Job, Prepared},
    retry::{Attempts, Policy},
    select::Target,
    sending::{Beginning, Going, HandOver, HandedOver, Sending, Start, no_result},
    shared::Shared,
    validate,
};
use crate::{clock, error::Error};

impl Shared {
    /// Sends and waits for the answer; for a one-way send, until the connection has taken the request.
    pub(crate) async fn send(
        self: &Arc<Self>,
        order: &mut Order,
        mode: SendMode,
    ) -> Result<Option<SendResult>, Error> {
        #[cfg(feature = "trace-context")]
        self.propagate(order);
        let _counted = self.sends.token();
        let started = clock::now();
        let deadline = self.begin(order, started)?;
        if mode == SendMode::Sync
            && let Some(room) = self.room_for_company(order)
        {
            let held = (room, None);
            return Box::pin(self.send_in_company(order, (started, deadline), held)).await;
        }
        let sending = self.start(order, mode, (started, deadline), None).await;
        sending.await
    }

    async fn send_in_company(
        self: &Arc<Self>,
        order: &mut Order,
        times: (Instant, Instant),
        held: (OwnedSemaphorePermit, Option<Permits>),
    ) -> Result<Option<SendResult>, Error> {
        let gathered = self
            .gather(order.taken(), SendMode::Sync, times, held)
            .await
            .inspect_err(|error| self.counters.refused(error))?;
        gathered.await.map(Some)
    }

    /// Sends, and is over when the request is on its way: what one task hands over to one queue arrives in that order.
    ///
    /// The first part runs here, not on a task of its own: that keeps the order, and nothing is spawned for what fails at once. It is
    /// no future either, so that a send which waits takes no more than its wait needs.
    pub(crate) fn hand_over(self: &Arc<Self>, order: Order) -> HandOver {
        #[cfg(feature = "trace-context")]
        let mut order = order;
        #[cfg(feature = "trace-context")]
        self.propagate(&mut order);
        let counted = self.sends.token();
        let started = clock::now();
        let deadline = match self.begin(&order, started) {
            Ok(deadline) => deadline,
            Err(error) => return HandOver::Over(Some(error)),
        };
        let times = (started, deadline);
        let free = (!self.airborne.is_ended())
            .then(|| self.in_flight.try_acquire(order.outgoing.body_bytes()))
            .flatten();
        if let Some(permits) = free {
            return self.hand_over_in(order, times, (permits, counted));
        }
        let shared = Arc::clone(self);
        HandOver::Waits(Box::pin(async move {
            let permits = shared.place_in_flight(&order.outgoing, deadline).await;
            let permits = permits.inspect_err(|error| shared.counters.refused(error))?;
            let held = (permits, counted);
            shared.hand_over_in(order, times, held).await
        }))
    }

    /// As [`Shared::hand_over`], of a send that has its place.
    fn hand_over_in(
        self: &Arc<Self>,
        mut order: Order,
        times: (Instant, Instant),
        held: Held,
    ) -> HandOver {
        let Some(room) = self.room_for_company(&order) else {
            if !self.may_overtake(&order) {
                return HandOver::Starts(self.start(
                    &mut order,
                    SendMode::Async,
                    times,
                    Some(held),
                ));
            }
            let shared = Arc::clone(self);
            return HandOver::Waits(Box::pin(async move {
                let (_, deadline) = times;
                let behind = shared.stay_behind(&mut order, deadline).await;
                behind.inspect_err(|error| shared.counters.refused(error))?;
                let start = shared.start(&mut order, SendMode::Async, times, Some(held));
                Ok(HandedOver::Begun(start.await))
            }));
        };
        let (permits, counted) = held;
        let shared = Arc::clone(self);
        HandOver::Waits(Box::pin(async move {
            let _counted = counted;
            let held = (room, Some(permits));
            let gathered = shared.gather(order, SendMode::Async, times, held).await;
            gathered
                .map(HandedOver::Gathered)
                .inspect_err(|error| shared.counters.refused(error))
        }))
    }

    /// Waits for a place among the asynchronous sends.
    async fn place_in_flight(
        &self,
        outgoing: &Outgoing,
        deadline: Instant,
    ) -> Result<Permits, Error> {
        tokio::select! {
            biased;
            // a place that becomes free because others are ended comes too late
            () = self.abort.cancelled() => Err(self.aborted(outgoing)),
            permits = self.in_flight.acquire(outgoing, deadline) => permits,
        }
    }

    /// The beginning of a send, until the request is on its way; `held` is given back at its end.
    ///
    /// The first attempt is made by plain functions, as long as nobody looks on and nothing but room in the connection's buffer has to
    /// be waited for, see [`with_room`]. All that waits otherwise is [`go_on`].
    pub(crate) fn start(
        self: &Arc<Self>,
        order: &mut Order,
        mode: SendMode,
        times: (Instant, Instant),
        held: Option<Held>,
    ) -> Start {
        let begun = match begin(self, order, mode, times) {
            Ok(begun) => begun,
            Err(error) => return Start::begun(Sending::done(Err(error))),
        };
        let Begun {
            ready,
            is_raw,
            span,
        } = begun;
        let transport = &self.core().transport;
        let is_plain =
            !is_raw && span.is_disabled() && !self.is_watched() && !self.airborne.is_ended();
        let place = if is_plain {
            let explain = Explain::new(self, ready.number, ready.started);
            place::at_once(self, &ready.prepared, &ready.target, None, explain)
        } else {
            None
        };
        let connection = place
            .as_ref()
            .and_then(|place| transport.plain(place.address.as_deref()?));
        let at = match (place, connection) {
            (None, _) => At::Start,
            (Some(place), None) => At::Place(place),
            (Some(place), Some(connection)) => {
                let now = clock::now();
                let until = Deadline::at(tries(self, &ready).begin(place.alternatives, now));
                if mode == SendMode::OneWay {
                    let request = self.first_request(&ready.prepared, &place);
                    match connection.oneway_now(request, until) {
                        Ok(Ok(())) => {
                            let (prepared, handed) = (&ready.prepared, Outcome::Handed);
                            let ended = clock::now();
                            let elapsed = ended.saturating_duration_since(now);
                            learn(self, prepared, &place, &handed, (elapsed, ended));
                            return Start::begun(self.over(&ready, Ok(None)));
                        }
                        Ok(Err(error)) => At::Over(place, now, Outcome::Lost(error.into())),
                        Err(_) => At::Place(place),
                    }
                } else {
                    let body_bytes = ready.prepared.wire_body().len();
                    let Some(vacancy) = connection.vacancy_now(body_bytes, until, now) else {
                        let waiting = Waiting {
                            ready,
                            place,
                            until,
                            now,
                            held,
                        };
                        return Start::Waits(with_room(Arc::clone(self), connection, waiting));
                    };
                    let request = self.first_request(&ready.prepared, &place);
                    match connection.begin_in(vacancy, request, until, now) {
                        Ok(reply) => {
                            let flight = Flight::launch(self, ready, (place, now), reply, held);
                            return Start::begun(Sending::flying(flight));
                        }
                        Err(error) => At::Over(place, now, Outcome::Lost(error.into())),
                    }
                }
            }
        };
        let unfinished = Unfinished::new(self, ready, (at, is_raw), span, held);
        Start::Waits(Box::pin(until_handed(unfinished)))
    }

    fn first_request<'m>(
        &'m self,
        prepared: &'m Prepared,
        place: &'m Place,
    ) -> TypedRequest<SendHeader<'m>> {
        encode::encode(
            prepared,
            &place.queue.broker_name,
            place.queue.queue_id,
            &self.encode,
            // the first attempt begins where the message was prepared
            prepared.ready_ms,
        )
        .with_language(self.core().transport.language())
    }

    /// A send that was over before anybody waited for it.
    fn over(&self, ready: &Ready, over: Result<Option<SendResult>, Error>) -> Sending {
        let running = self.counters.resume(ready.number, ready.started);
        running.end(over.as_ref().map(Option::as_ref), None);
        Sending::done(over)
    }
}

/// The stages of a send that may wait, until its request is on its way.
async fn until_handed(unfinished: Unfinished) -> Sending {
    let handed = Arc::new(AtomicBool::new(false));
    let mut going: Going = Box::pin(unfinished.run(Arc::clone(&handed)));
    let done = poll_fn(|cx| match going.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if handed.load(Ordering::Relaxed) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    done.map_or_else(|| Sending::going(going), Sending::done)
}

/// A send whose request waits for room in its connection's buffer.
///
/// There may be tens of thousands of them: what they take is what is here and the wait.
struct Waiting {
    ready: Ready,
    place: Place,
    /// How long its first attempt may take.
    until: Deadline,
    /// When that began.
    now: Instant,
    held: Option<Held>,
}

/// Waits for room on `connection`, and hands the first request over.
#[expect(
    clippy::async_yields_async,
    reason = "what is waited for is that the send begins"
)]
fn with_room(shared: Arc<Shared>, connection: Connection, waiting: Waiting) -> Beginning {
    // A block, not a function: what a function is handed is kept twice in its future.
    Box::pin(async move {
        let body_bytes = waiting.ready.prepared.wire_body().len();
        // counts as dropped if it is
        let running = (shared.counters).resume(waiting.ready.number, waiting.ready.started);
        let vacancy = tokio::select! {
            biased;
            // room that comes after the end comes too late
            () = shared.abort.cancelled() => None,
            vacancy = connection.vacancy(body_bytes, waiting.until, waiting.now) => Some(vacancy),
        };
        running.pause();
        let Some(vacancy) = vacancy else {
            let prepared = &waiting.ready.prepared;
            let ids = prepared.msg_id.split(',');
            let error = shared.ended(prepared.topic.as_arc(), ids, false);
            return shared.over(&waiting.ready, Err(error));
        };
        let begun = vacancy.and_then(|vacancy| {
            let request = shared.first_request(&waiting.ready.prepared, &waiting.place);
            connection.begin_in(vacancy, request, waiting.until, waiting.now)
        });
        let Waiting {
            ready,
            place,
            now,
            held,
            ..
        } = waiting;
        match begun {
            Ok(reply) => Sending::flying(Flight::launch(&shared, ready, (place, now), reply, held)),
            Err(error) => {
                let at = At::Over(place, now, Outcome::Lost(error.into()));
                let unfinished = Unfinished::new(&shared, ready, (at, false), Span::none(), held);
                Box::pin(until_handed(unfinished)).await
            }
        }
    })
}

/// A send that has begun.
struct Begun {
    ready: Ready,
    /// The body is large: compressing it takes time.
    is_raw: bool,
    span: Span,
}

/// Counts the send, tells the observer, and runs the stages that ask nobody: validate and prepare.
fn begin(
    shared: &Shared,
    order: &mut Order,
    mode: SendMode,
    (started, deadline): (Instant, Instant),
) -> Result<Begun, Error> {
    let outgoing = &order.outgoing;
    let running = shared.counters.begin(outgoing, started);
    let explain = Explain::new(shared, running.number(), started);
    let span = log::span(shared.encode.group(), outgoing.topic(), mode);
    explain.stage(explain.mark(), || SendStage::Began {
        mode,
        topic: outgoing.topic(),
        messages: outgoing.count(),
        body_bytes: outgoing.body_bytes(),
        budget: deadline.saturating_duration_since(started),
    });
    let (mut prepared, target) = match span.in_scope(|| prepare(shared, order, explain)) {
        Ok(prepared) => prepared,
        Err(error) => {
            let over = Err(error);
            let told = over.as_ref().map(Option::as_ref);
            running.end(told, None);
            explain.ended(told);
            return Err(over.err().unwrap_or_else(no_result));
        }
    };
    let mark = explain.mark();
    let job = prepared.wants_compression(&shared.prepare);
    let is_raw = job
        .as_ref()
        .is_some_and(|job| job.body_bytes() >= Job::OFF_THREAD_BYTES);
    if !is_raw {
        if let Some(job) = job {
            prepared.compress_with(job.run());
        }
        explain.body(mark, &prepared);
    }
    let ready = Ready {
        prepared,
        target,
        mode,
        number: running.number(),
        started,
        deadline,
    };
    running.pause();
    Ok(Begun {
        ready,
        is_raw,
        span,
    })
}

/// Validate and prepare.
fn prepare(
    shared: &Shared,
    order: &mut Order,
    explain: Explain<'_>,
) -> Result<(Prepared, Target), Error> {
    let core = shared.core();
    let mark = explain.mark();
    let (outgoing, target) = order.take();
    let outgoing = shared.namespace.wrap_messages(outgoing);
    let checked = validate::check(outgoing, shared.limits)?;
    let target = match target {
        Target::Queue(queue) => {
            let queue = shared.namespace.wrap_queue(queue)?;
            place::same_topic(&queue, checked.topic.as_str())?;
            Target::Queue(queue)
        }
        target => target,
    };
    let now_ms = clock::wall_ms();
    let since_month_start = core.month.ms_since_month_start(now_ms);
    let mut prepared = prepare::prepare(checked, shared.limits, &core.ids, since_month_start)?;
    log::prepared(&prepared);
    prepared.ready_ms = now_ms;
    prepared.result_topic = shared.namespace.unwrap_topic(&prepared.topic);
    explain.stage(mark, || SendStage::Prepared {
        msg_id: &prepared.msg_id,
    });
    Ok((prepared, target))
}

/// The attempts of a send, of which none was made.
fn tries<'s>(shared: &'s Shared, ready: &Ready) -> Attempts<'s> {
    let mut policy = Policy::of(ready.mode, ready.target.is_chosen(), &shared.config);
    if ready.target.is_strict() {
        policy = policy.once();
    }
    Attempts::new(policy, ready.started, ready.deadline)
}

/// The stages of a send from where it is, whatever they have to wait for. Counts the send when it is over, and tells the observer.
///
/// `handed` becomes true when a request is on its way to a broker. Dropping the future ends the send; a request that is on its way
/// may be stored nevertheless.
pub(super) async fn go_on(
    shared: &Shared,
    ready: &mut Ready,
    at: (At, bool),
    handed: &AtomicBool,
) -> Result<Option<SendResult>, Error> {
    let running = shared.counters.resume(ready.number, ready.started);
    let explain = Explain::new(shared, ready.number, ready.started);
    let (over, ended) = stages(shared, ready, at, handed, explain).await;
    let told = over.as_ref().map(Option::as_ref);
    running.end(told, ended);
    explain.ended(told);
    over
}

/// What the send comes to, and when its last attempt ended if there was one.
async fn stages(
    shared: &Shared,
    ready: &mut Ready,
    (at, is_raw): (At, bool),
    handed: &AtomicBool,
    explain: Explain<'_>,
) -> (Result<Option<SendResult>, Error>, Option<Instant>) {
    if is_raw {
        let (mark, prepared) = (explain.mark(), &mut ready.prepared);
        if let Some(job) = prepared.wants_compression(&shared.prepare) {
            prepared.compress_with(Box::pin(compress(job)).await);
        }
        explain.body(mark, prepared);
    }
    let mut tries = tries(shared, ready);
    let Ready {
        prepared,
        target,
        mode,
        ..
    } = ready;
    let (prepared, mode) = (&*prepared, *mode);
    let in_order = target.is_strict() && mode == SendMode::Async;
    let mut calls = Calls::new(shared, prepared, mode, explain);
    let delivery = Delivery {
        shared,
        prepared,
        mode,
        handed,
        in_order,
    };
    let over = tokio::select! {
        biased;
        // first: one that is polled long after the end must not try again, nor take the end of its connection for a failure
        () = shared.abort.cancelled() => {
            let ids = prepared.msg_id.split(',');
            Err(shared.ended(prepared.topic.as_arc(), ids, handed.load(Ordering::Relaxed)))
        }
        over = delivery.run(at, target, &mut tries, &mut calls) => over,
    };
    calls.over(&over);
    (over, tries.last_ended())
}

/// Large bodies leave the runtime's threads: compressing them takes as long as many sends.
async fn compress(job: Job) -> Option<(bytes::Bytes, i32)> {
    match tokio::task::spawn_blocking(move || job.run()).await {
        Ok(compressed) => compressed,
        Err(error) => {
            prepare::warn_uncompressed(&error);
            None
        }
    }
}
