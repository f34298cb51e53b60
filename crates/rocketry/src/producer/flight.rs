//! A send whose first request is on its way: a record of some hundred bytes that no task waits for.
//!
//! Nearly every send is over with the answer to its first request. What it takes until then is here, as plain data: the connection's
//! reader hands the answer over ([`Waiter`]), the stages that follow are functions, and whoever awaits the send is woken with its
//! result. What has to wait once more is handed on as an [`Unfinished`]: to the caller that awaits it, or to a task if nobody need be
//! there for a send to go on.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use rocketry_protocol::ResponseCode;
use rocketry_remoting::{End, Reply, Waiter};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument as _, Span};

use super::{
    SendMode, SendResult,
    attempt::{self, At},
    in_flight::Permits,
    interpret::{Outcome, interpret_with},
    place::Place,
    prepare::Prepared,
    select::Target,
    send, sending,
    shared::Shared,
};
use crate::{
    clock,
    error::{Error, ErrorKind},
};

/// A message that is ready to be sent, and what is known of its send.
pub(super) struct Ready {
    pub(super) prepared: Prepared,
    pub(super) target: Target,
    pub(super) mode: SendMode,
    /// Within its producer.
    pub(super) number: u64,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
}

/// What an asynchronous send gives back when it is over: its place among those in flight, and that a shutdown has to wait for it.
pub(crate) type Held = (Permits, TaskTrackerToken);

/// The rest of a send that has to wait. Dropping it ends the send.
pub(super) struct Unfinished {
    shared: Arc<Shared>,
    rest: Option<Rest>,
}

struct Rest {
    ready: Ready,
    at: At,
    /// The body is not in its final form.
    is_raw: bool,
    span: Span,
    held: Option<Held>,
}

impl Unfinished {
    /// A send that has not begun its first attempt, or not come far.
    pub(super) fn new(
        shared: &Arc<Shared>,
        ready: Ready,
        (at, is_raw): (At, bool),
        span: Span,
        held: Option<Held>,
    ) -> Self {
        let rest = Rest {
            ready,
            at,
            is_raw,
            span,
            held,
        };
        Self {
            shared: Arc::clone(shared),
            rest: Some(rest),
        }
    }

    /// What the send comes to; `handed` becomes true when a request is on its way to a broker.
    pub(super) async fn run(
        mut self,
        handed: Arc<AtomicBool>,
    ) -> Result<Option<SendResult>, Error> {
        let Some(rest) = self.rest.take() else {
            return Err(ended());
        };
        let Rest {
            mut ready,
            at,
            is_raw,
            span,
            held,
        } = rest;
        let over = send::go_on(&self.shared, &mut ready, (at, is_raw), &handed)
            .instrument(span)
            .await;
        drop(held);
        over
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(Rest { ready, .. }) = self.rest.take() {
            // counts as dropped
            drop(self.shared.counters.resume(ready.number, ready.started));
        }
    }
}

/// A send whose first request is on its way, or was.
pub(crate) struct Flight {
    shared: Arc<Shared>,
    /// The send's within its producer.
    number: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    stage: Stage,
    /// Who awaits the send.
    waker: Option<Waker>,
    /// The send goes on whether or not somebody awaits it.
    is_detached: bool,
    /// Nobody wants to know any more.
    is_cancelled: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every flight is in the largest one for nearly all of its time"
)]
enum Stage {
    /// The answer is waited for.
    Up(Up),
    /// Whoever has taken it out of here is at work on it, or the task that it was handed to.
    Elsewhere,
    /// It has to wait, where it is awaited.
    Back(Box<Unfinished>),
    Done(Result<SendResult, Error>),
    Over,
}

struct Up {
    ready: Ready,
    place: Place,
    begun: Instant,
    reply: Reply,
    held: Option<Held>,
    /// Where [`super::airborne::Airborne`] has it.
    seat: Option<u32>,
}

/// What a flight has come to.
pub(super) enum Landed {
    Over(Result<SendResult, Error>),
    GoesOn(Box<Unfinished>),
}

impl Flight {
    /// The request of `ready` is on its way to `place` since `begun`.
    pub(super) fn launch(
        shared: &Arc<Shared>,
        ready: Ready,
        (place, begun): (Place, Instant),
        reply: Reply,
        held: Option<Held>,
    ) -> Arc<Self> {
        let flight = Arc::new(Self {
            shared: Arc::clone(shared),
            number: ready.number,
            inner: Mutex::new(Inner {
                stage: Stage::Up(Up {
                    ready,
                    place,
                    begun,
                    reply,
                    held,
                    seat: None,
                }),
                waker: None,
                is_detached: false,
                is_cancelled: false,
            }),
        });
        let (mut seat, mut early) = (None, None);
        if let Stage::Up(up) = &mut flight.inner.lock().stage {
            seat = shared.airborne.enter(&flight);
            up.seat = seat;
            early = up.reply.tell(Arc::clone(&flight) as Arc<dyn Waiter>);
        }
        if let Some(end) = early {
            Arc::clone(&flight).ended(end);
        } else if seat.is_none() {
            flight.abort();
        }
        flight
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The send goes on whether or not it is awaited, on a task if need be.
    pub(super) fn detach(self: &Arc<Self>) {
        let back = {
            let mut inner = self.inner.lock();
            inner.is_detached = true;
            match &inner.stage {
                Stage::Back(_) => std::mem::replace(&mut inner.stage, Stage::Elsewhere),
                _ => return,
            }
        };
        if let Stage::Back(unfinished) = back {
            self.spawn(*unfinished);
        }
    }

    /// What the send has come to, once. Until then the waker of `cx` is woken.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Landed> {
        let mut inner = self.inner.lock();
        if matches!(inner.stage, Stage::Up(_) | Stage::Elsewhere) {
            match &mut inner.waker {
                Some(known) => known.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        Poll::Ready(match std::mem::replace(&mut inner.stage, Stage::Over) {
            Stage::Done(over) => Landed::Over(over),
            Stage::Back(unfinished) => Landed::GoesOn(unfinished),
            Stage::Up(_) | Stage::Elsewhere | Stage::Over => Landed::Over(Err(ended())),
        })
    }

    /// Ends the send. A request that is on its way may be stored nevertheless.
    pub(super) fn cancel(&self) {
        let stage = {
            let mut inner = self.inner.lock();
            inner.is_cancelled = true;
            match &inner.stage {
                Stage::Elsewhere => return,
                _ => std::mem::replace(&mut inner.stage, Stage::Over),
            }
        };
        if let Stage::Up(up) = stage {
            self.shared.airborne.leave(up.seat);
            // counts as dropped
            drop(
                self.shared
                    .counters
                    .resume(up.ready.number, up.ready.started),
            );
        }
    }

    /// The producer's shutdown does not wait any longer.
    pub(super) fn abort(&self) {
        let Some(up) = self.take() else { return };
        let prepared = &up.ready.prepared;
        let ids = prepared.msg_id.split(',');
        let error = self.shared.ended(prepared.topic.as_arc(), ids, true);
        drop(up.reply);
        self.land(Err(error), &up.ready, None, up.held);
    }

    /// Takes over what is on its way.
    fn take(&self) -> Option<Up> {
        let stage = {
            let mut inner = self.inner.lock();
            match &inner.stage {
                Stage::Up(_) => std::mem::replace(&mut inner.stage, Stage::Elsewhere),
                _ => return None,
            }
        };
        let Stage::Up(up) = stage else { return None };
        self.shared.airborne.leave(up.seat);
        Some(up)
    }

    /// The send is over; `ended` is when its attempt was.
    fn land(
        &self,
        over: Result<SendResult, Error>,
        ready: &Ready,
        ended: Option<Instant>,
        held: Option<Held>,
    ) {
        let running = self.shared.counters.resume(ready.number, ready.started);
        running.end(over.as_ref().map(Some), ended);
        drop(held);
        self.done(over);
    }

    fn done(&self, over: Result<SendResult, Error>) {
        let waker = {
            let mut inner = self.inner.lock();
            inner.stage = Stage::Done(over);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The send has to wait: where it is awaited, or on a task.
    fn hand_on(self: &Arc<Self>, unfinished: Unfinished) {
        let mut inner = self.inner.lock();
        if inner.is_detached {
            drop(inner);
            self.spawn(unfinished);
            return;
        }
        if inner.is_cancelled {
            // dropped with the record unlocked
            drop(inner);
            return;
        }
        inner.stage = Stage::Back(Box::new(unfinished));
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn spawn(self: &Arc<Self>, unfinished: Unfinished) {
        let mut rest = Detached(Some(Arc::clone(self)));
        self.shared.core().runtime.spawn(async move {
            let handed = Arc::new(AtomicBool::new(true));
            let over = unfinished.run(handed).await;
            rest.done(over.and_then(|result| result.ok_or_else(sending::no_result)));
        });
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Waiter for Flight {
    fn ended(self: Arc<Self>, end: End) {
        let Some(mut up) = self.take() else { return };
        let answer = up.reply.settle(end);
        let Up {
            mut ready,
            place,
            begun,
            reply,
            held,
            ..
        } = up;
        let hand_on = |ready, at, held| {
            let at = (at, false);
            let unfinished = Unfinished::new(&self.shared, ready, at, Span::none(), held);
            self.hand_on(unfinished);
        };
        if matches!(&answer, Ok(reply) if reply.response_code() == ResponseCode::GO_AWAY) {
            self.shared.core().transport.retire(reply.connection());
            drop(reply);
            return hand_on(ready, At::GoneAway(place, begun), held);
        }
        drop(reply);
        // Nearly always the send is over, and its id need not be copied.
        let mut msg_id = Some(std::mem::take(&mut ready.prepared.msg_id));
        let outcome = interpret_with(answer, &ready.prepared, &place.queue.broker_name, || {
            msg_id.take().unwrap_or_default()
        });
        if !matches!(outcome, Outcome::Stored(_)) {
            ready.prepared.msg_id = match (&outcome, msg_id) {
                (Outcome::NotDurable(result), None) => result.msg_id.clone(),
                (_, msg_id) => msg_id.unwrap_or_default(),
            };
            return hand_on(ready, At::Over(place, begun, outcome), held);
        }
        let now = clock::now();
        let times = (now.saturating_duration_since(begun), now);
        attempt::learn(&self.shared, &ready.prepared, &place, &outcome, times);
        if let Outcome::Stored(result) = outcome {
            self.land(Ok(result), &ready, Some(now), held);
        }
    }
}

/// Ends the flight when the task that goes on with it is gone, even if it never ran.
struct Detached(Option<Arc<Flight>>);

impl Detached {
    fn done(&mut self, over: Result<SendResult, Error>) {
        if let Some(flight) = self.0.take() {
            flight.done(over);
        }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.done(Err(ended()));
    }
}

/// The runtime was shut down under the send.
pub(super) fn ended() -> Error {
    Error::new(
        ErrorKind::Closed,
        "send",
        "the runtime ended before the broker answered",
    )
    .with_maybe_stored(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be tens of thousands of them.
    #[test]
    fn a_flight_is_small() {
        assert!(size_of::<Flight>() <= 640, "{}", size_of::<Flight>());
    }
}
