//! The one way of a message: [`drive`] runs the stages in order, for every mode.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tracing::Instrument as _;

use super::{
    SendMode, SendResult,
    accumulate::Gathered,
    attempt::Delivery,
    calls::Calls,
    explain::Explain,
    in_flight::Permits,
    log,
    observe::SendStage,
    order::{Order, Outgoing},
    place,
    prepare::{self, Job, Prepared},
    retry::{Attempts, Policy},
    select::Target,
    shared::Shared,
    validate,
};
use crate::{
    clock,
    error::{Error, ErrorKind},
};

/// What an asynchronous send has come to when it is handed over.
pub(crate) enum HandedOver {
    /// It was over before: mostly a failure.
    Done(Result<SendResult, Error>),
    /// The request is on its way.
    Pending(Sending),
    /// The message waits for company.
    Gathered(Gathered),
}

/// The rest of a send that has begun.
pub(crate) type Sending = std::pin::Pin<Box<dyn Future<Output = Result<SendResult, Error>> + Send>>;

impl HandedOver {
    /// What the send comes to.
    pub(crate) async fn result(self) -> Result<SendResult, Error> {
        match self {
            Self::Done(done) => done,
            Self::Pending(sending) => sending.await,
            Self::Gathered(gathered) => gathered.await,
        }
    }
}

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
        let handed = AtomicBool::new(false);
        drive(self, order, mode, (started, deadline), &handed).await
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

    /// Sends, and returns when the request is on its way: what one task hands over to one queue arrives in that order.
    ///
    /// The first part runs here, not on a task of its own: that keeps the order, and nothing is spawned for what fails at once.
    pub(crate) async fn hand_over(
        self: &Arc<Self>,
        order: &mut Order,
    ) -> Result<HandedOver, Error> {
        #[cfg(feature = "trace-context")]
        self.propagate(order);
        let counted = self.sends.token();
        let started = clock::now();
        let deadline = self.begin(order, started)?;
        let free = (!self.abort.is_cancelled())
            .then(|| self.in_flight.try_acquire(order.outgoing.body_bytes()))
            .flatten();
        let permits = if let Some(permits) = free {
            Ok(permits)
        } else {
            Box::pin(self.place_in_flight(&order.outgoing, deadline)).await
        };
        let permits = permits.inspect_err(|error| self.counters.refused(error))?;
        if let Some(room) = self.room_for_company(order) {
            let held = (room, Some(permits));
            let gathered = self.gather(order.taken(), SendMode::Async, (started, deadline), held);
            let gathered = Box::pin(gathered)
                .await
                .inspect_err(|error| self.counters.refused(error))?;
            return Ok(HandedOver::Gathered(gathered));
        }
        let (times, held) = ((started, deadline), (permits, counted));
        Ok(self
            .start(order.taken(), SendMode::Async, times, held)
            .await)
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
    pub(crate) fn start(
        self: &Arc<Self>,
        order: Order,
        mode: SendMode,
        times: (Instant, Instant),
        held: impl Send + 'static,
    ) -> impl Future<Output = HandedOver> + Send {
        let handed = Arc::new(AtomicBool::new(false));
        let mut sending: Sending = {
            let (shared, handed) = (Arc::clone(self), Arc::clone(&handed));
            let mut order = order;
            Box::pin(async move {
                let _held = held;
                let result = drive(&shared, &mut order, mode, times, &handed).await?;
                result.ok_or_else(no_result)
            })
        };
        async move {
            let done = poll_fn(|cx| match sending.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending if handed.load(Ordering::Relaxed) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await;
            done.map_or(HandedOver::Pending(sending), HandedOver::Done)
        }
    }
}

/// A request that was asked for an answer always has one.
pub(crate) fn no_result() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "send",
        "the send ended without a result",
    )
}

/// The way of every message: validate and prepare, then [`Delivery::run`] for the attempts. Counts the send, and tells the observer.
///
/// `handed` becomes true when a request is on its way to a broker. Dropping the future ends the send; a request that is on its way
/// may be stored nevertheless.
async fn drive(
    shared: &Shared,
    order: &mut Order,
    mode: SendMode,
    (started, deadline): (Instant, Instant),
    handed: &AtomicBool,
) -> Result<Option<SendResult>, Error> {
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
    let (over, ended) = stages(shared, order, mode, (started, deadline), handed, explain)
        .instrument(span)
        .await;
    running.end(&over, ended);
    explain.ended(&over);
    over
}

/// The stages that ask nobody: validate and prepare.
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

/// What the send comes to, and when its last attempt ended if there was one.
async fn stages(
    shared: &Shared,
    order: &mut Order,
    mode: SendMode,
    (started, deadline): (Instant, Instant),
    handed: &AtomicBool,
    explain: Explain<'_>,
) -> (Result<Option<SendResult>, Error>, Option<Instant>) {
    let (mut prepared, mut target) = match prepare(shared, order, explain) {
        Ok(prepared) => prepared,
        Err(error) => return (Err(error), None),
    };
    let mark = explain.mark();
    if let Some(job) = prepared.wants_compression(&shared.prepare) {
        prepared.compress_with(if job.body_bytes() < Job::OFF_THREAD_BYTES {
            job.run()
        } else {
            Box::pin(compress(job)).await
        });
    }
    explain.body(mark, &prepared);
    let is_strict = target.is_strict();
    let mut policy = Policy::of(mode, target.is_chosen(), &shared.config);
    if is_strict {
        policy = policy.once();
    }
    let mut tries = Attempts::new(policy, started, deadline);
    let mut calls = Calls::new(shared, &prepared, mode, explain);
    let delivery = Delivery {
        shared,
        prepared: &prepared,
        mode,
        handed,
        in_order: is_strict && mode == SendMode::Async,
    };
    let over = tokio::select! {
        biased;
        over = delivery.run(&mut target, &mut tries, &mut calls), if !shared.abort.is_cancelled() => over,
        () = shared.abort.cancelled() => {
            let ids = prepared.msg_id.split(',');
            Err(shared.ended(prepared.topic.as_arc(), ids, handed.load(Ordering::Relaxed)))
        }
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
