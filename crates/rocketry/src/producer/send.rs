//! The one way of a message: [`drive`] runs the stages in order, for every mode.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use rocketry_protocol::{Group, Message, MessageQueue, Topic, properties};
use rocketry_remoting::Deadline;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use super::{
    Mode, Outgoing, SendResult, Unsent,
    accumulate::{Accumulator, Gathered},
    calls::Calls,
    check::Checks,
    encode::{self, EncodeConfig},
    explain::Explain,
    fault::FaultTable,
    hooks::Hooks,
    interpret::{Loss, Outcome, interpret},
    log,
    metrics::Counters,
    observe::{QueueChoice, SendObserver, SendStage},
    prepare::{self, Job, PrepareConfig, Prepared},
    retry::{Attempts, Policy, Step},
    select::{self, Target},
    trace::Tracer,
    validate::{self, Limits},
    vip,
};
#[cfg(feature = "trace-context")]
use crate::trace_context::Propagator;
use crate::{
    client::{Client, Core},
    clock,
    config::ProducerConfig,
    error::{Error, ErrorKind},
    namespace::Namespace,
    route::{Broker, PublishRoute, RouteError, SUSPICION_PAUSE},
};

/// What the sends of one producer share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) config: ProducerConfig,
    /// That of the client, which trace messages are not in.
    pub(crate) namespace: Namespace,
    pub(crate) encode: EncodeConfig,
    pub(crate) limits: Limits,
    pub(crate) prepare: PrepareConfig,
    pub(crate) faults: FaultTable,
    pub(crate) in_flight: InFlight,
    /// Places for requests that wait for replies.
    pub(crate) requests: Arc<Semaphore>,
    /// Questions of brokers about transactions; none for a producer that has no checker.
    pub(crate) checks: Option<Checks>,
    /// Where single sends wait for company.
    pub(crate) accumulator: Option<Accumulator>,
    /// Counts sends that have begun, so that shutdown can wait for them.
    pub(crate) sends: TaskTracker,
    /// No new sends.
    pub(crate) closed: AtomicBool,
    /// Ends what waits for more of them.
    pub(crate) closing: CancellationToken,
    /// Whether the shutdown is over; who ends it holds the lock.
    pub(crate) ending: tokio::sync::Mutex<bool>,
    /// Ends the sends that have begun.
    pub(crate) abort: CancellationToken,
    /// What `abort` has ended.
    pub(crate) unsent: parking_lot::Mutex<Vec<Unsent>>,
    /// Where trace records go.
    pub(crate) tracer: Option<Arc<Tracer>>,
    pub(crate) hooks: Hooks,
    pub(crate) observer: Option<Arc<dyn SendObserver>>,
    #[cfg(feature = "trace-context")]
    pub(crate) propagator: Option<Propagator>,
    pub(crate) counters: Counters,
}

/// One send, as the application asked for it.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) outgoing: Outgoing,
    pub(crate) target: Target,
    pub(crate) timeout: Option<Duration>,
}

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
    /// A producer of `group` without hooks, observer, checks or trace.
    pub(crate) fn new(client: Client, group: Group, config: ProducerConfig) -> Self {
        Self {
            checks: None,
            tracer: None,
            hooks: Hooks::default(),
            observer: None,
            #[cfg(feature = "trace-context")]
            propagator: None,
            namespace: client.core().namespace.clone(),
            encode: EncodeConfig::new(group, &config),
            limits: Limits {
                max_message_bytes: config.max_message_bytes,
            },
            prepare: PrepareConfig::new(&config),
            faults: FaultTable::new(
                config.latency_fault_tolerance,
                config.latency_policy.clone(),
            )
            .detecting(config.detector.is_some()),
            in_flight: InFlight::new(&config),
            accumulator: config.auto_batch.map(Accumulator::new),
            requests: Arc::new(Semaphore::new(config.in_flight_requests)),
            sends: TaskTracker::new(),
            closed: false.into(),
            closing: CancellationToken::new(),
            ending: tokio::sync::Mutex::default(),
            abort: CancellationToken::new(),
            unsent: parking_lot::Mutex::default(),
            counters: Counters::new(),
            client,
            config,
        }
    }

    /// Sends and waits for the answer; for a one-way send, until the connection has taken the request.
    pub(crate) async fn send(
        self: &Arc<Self>,
        order: Order,
        mode: Mode,
    ) -> Result<Option<SendResult>, Error> {
        #[cfg(feature = "trace-context")]
        let order = self.propagate(order);
        let _counted = self.sends.token();
        let started = clock::now();
        let deadline = self.begin(&order, started)?;
        if mode == Mode::Sync
            && let Some(room) = self.room_for_company(&order)
        {
            let gathered = self
                .gather(order, mode, (started, deadline), (room, None))
                .await?;
            return gathered.await.map(Some);
        }
        let handed = AtomicBool::new(false);
        drive(
            self,
            order.outgoing,
            order.target,
            mode,
            (started, deadline),
            &handed,
        )
        .await
    }

    /// Sends, and returns when the request is on its way: what one task hands over to one queue arrives in that order.
    ///
    /// The first part runs here, not on a task of its own: that keeps the order, and nothing is spawned for what fails at once.
    pub(crate) async fn hand_over(self: &Arc<Self>, order: Order) -> Result<HandedOver, Error> {
        #[cfg(feature = "trace-context")]
        let order = self.propagate(order);
        let counted = self.sends.token();
        let started = clock::now();
        let deadline = self.begin(&order, started)?;
        let permits = tokio::select! {
            biased;
            // a place that becomes free because others are ended comes too late
            () = self.abort.cancelled() => return Err(self.aborted(&order.outgoing)),
            permits = self.in_flight.acquire(&order.outgoing, deadline) => permits,
        };
        let permits = permits.inspect_err(|error| self.counters.refused(error))?;
        if let Some(room) = self.room_for_company(&order) {
            let held = (room, Some(permits));
            let gathered = self
                .gather(order, Mode::Async, (started, deadline), held)
                .await?;
            return Ok(HandedOver::Gathered(gathered));
        }
        let (times, held) = ((started, deadline), (permits, counted));
        Ok(self.start(order, Mode::Async, times, held).await)
    }

    /// The beginning of a send, until the request is on its way; `held` is given back at its end.
    pub(crate) async fn start(
        self: &Arc<Self>,
        order: Order,
        mode: Mode,
        times: (Instant, Instant),
        held: impl Send + 'static,
    ) -> HandedOver {
        let handed = Arc::new(AtomicBool::new(false));
        let mut sending: Sending = {
            let (shared, handed) = (Arc::clone(self), Arc::clone(&handed));
            Box::pin(async move {
                let _held = held;
                let result =
                    drive(&shared, order.outgoing, order.target, mode, times, &handed).await?;
                result.ok_or_else(no_result)
            })
        };
        let done = poll_fn(|cx| match sending.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if handed.load(Ordering::Relaxed) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        done.map_or(HandedOver::Pending(sending), HandedOver::Done)
    }

    /// Refuses the send if the producer is shut down, else says until when it may take.
    pub(super) fn begin(&self, order: &Order, started: Instant) -> Result<Instant, Error> {
        self.refuse_when_closed(order.outgoing.topic())
            .inspect_err(|error| self.counters.refused(error))?;
        Ok(started + order.timeout.unwrap_or(self.config.timeout))
    }

    pub(super) fn refuse_when_closed(&self, topic: &str) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorKind::Closed,
                format!("send to topic {topic:?}"),
                "the producer is shut down (SHUTDOWN_ALREADY)",
            )
            .with_topic(topic));
        }
        Ok(())
    }

    fn core(&self) -> &Arc<Core> {
        self.client.core()
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

/// Runs the stages: validate, prepare, then per attempt route, select, encode, transport, interpret, fault feedback, retry. The only
/// place where they meet.
///
/// `handed` becomes true when a request is on its way to a broker. Dropping the future ends the send; a request that is on its way
/// may be stored nevertheless.
async fn drive(
    shared: &Shared,
    outgoing: Outgoing,
    target: Target,
    mode: Mode,
    (started, deadline): (Instant, Instant),
    handed: &AtomicBool,
) -> Result<Option<SendResult>, Error> {
    let running = shared.counters.begin(&outgoing, started);
    let explain = Explain::new(shared, running.number(), started);
    let span = log::span(shared.encode.group(), outgoing.topic(), mode);
    explain.stage(explain.mark(), || SendStage::Began {
        mode: mode.into(),
        topic: outgoing.topic(),
        messages: outgoing.count(),
        body_bytes: outgoing.body_bytes(),
        budget: deadline.saturating_duration_since(started),
    });
    let over = stages(
        shared,
        outgoing,
        target,
        mode,
        (started, deadline),
        handed,
        explain,
    )
    .instrument(span)
    .await;
    running.end(&over);
    explain.ended(&over);
    over
}

async fn stages(
    shared: &Shared,
    outgoing: Outgoing,
    target: Target,
    mode: Mode,
    (started, deadline): (Instant, Instant),
    handed: &AtomicBool,
    explain: Explain<'_>,
) -> Result<Option<SendResult>, Error> {
    let core = shared.core();
    let mark = explain.mark();
    let outgoing = shared.namespace.wrap_messages(outgoing);
    let checked = validate::check(outgoing, shared.limits)?;
    let target = match target {
        Target::Queue(queue) => {
            let queue = shared.namespace.wrap_queue(queue)?;
            same_topic(&queue, checked.topic.as_str())?;
            Target::Queue(queue)
        }
        target => target,
    };
    let since_month_start = core.month.ms_since_month_start(clock::wall_ms());
    let mut prepared = prepare::prepare(checked, shared.limits, &core.ids, since_month_start)?;
    log::prepared(&prepared);
    prepared.result_topic = shared.namespace.unwrap_topic(&prepared.topic);
    explain.stage(mark, || SendStage::Prepared {
        msg_id: &prepared.msg_id,
    });
    let mark = explain.mark();
    if let Some(job) = prepared.wants_compression(&shared.prepare) {
        prepared.compress_with(compress(job).await);
    }
    explain.body(mark, &prepared);
    let mut policy = Policy::of(mode, target.is_chosen(), &shared.config);
    if target.is_strict() {
        policy = policy.once();
    }
    let mut tries = Attempts::new(policy, started, deadline);
    let mut calls = Calls::new(shared, &prepared, mode, explain);
    let over = tokio::select! {
        biased;
        over = attempts(shared, &prepared, target, mode, &mut tries, &mut calls, handed),
            if !shared.abort.is_cancelled() => over,
        () = shared.abort.cancelled() => {
            let ids = prepared.msg_id.split(',');
            Err(shared.ended(prepared.topic.as_arc(), ids, handed.load(Ordering::Relaxed)))
        }
    };
    calls.over(&over);
    over
}

async fn attempts(
    shared: &Shared,
    prepared: &Prepared,
    mut target: Target,
    mode: Mode,
    tries: &mut Attempts<'_>,
    calls: &mut Calls<'_>,
    handed: &AtomicBool,
) -> Result<Option<SendResult>, Error> {
    let core = shared.core();
    let explain = calls.explain();
    let choice = target.choice();
    loop {
        let step =
            match attempt_queue(shared, prepared, &mut target, tries, (explain, choice)).await {
                Err(error) => tries.fail(error, clock::now()),
                Ok(Place {
                    queue,
                    owner,
                    address,
                    alternatives,
                }) => {
                    let broker_name = &queue.broker_name;
                    let begun = clock::now();
                    let until = tries.begin(alternatives, begun);
                    let mark = explain.mark();
                    if tries.begun() > 1 {
                        shared.counters.retry();
                    }
                    explain.stage(mark, || SendStage::AttemptBegan {
                        attempt: tries.begun(),
                        broker: broker_name,
                        address: address.as_deref(),
                        budget: until.saturating_duration_since(begun),
                    });
                    if let Some(address) = &address {
                        calls.before(&queue, address, begun)?;
                    }
                    let outcome = match &address {
                        None => Outcome::Lost(Loss::broker_unknown(broker_name)),
                        Some(address) => {
                            let make = || {
                                let mark = explain.mark();
                                let command = encode::encode(
                                    prepared,
                                    broker_name,
                                    queue.queue_id,
                                    &shared.encode,
                                    clock::wall_ms(),
                                );
                                explain.encoded(mark, &command);
                                command
                            };
                            let (transport, until) = (&core.transport, Deadline::at(until));
                            let handing = (handed, mode == Mode::Async && target.is_strict());
                            if mode == Mode::OneWay {
                                match transport.oneway(address, make(), until).await {
                                    Ok(()) => Outcome::Handed,
                                    Err(error) => Outcome::Lost(error.into()),
                                }
                            } else {
                                let reply = transport.exchange(address, make, until, handing).await;
                                interpret(reply, prepared, broker_name)
                            }
                        }
                    };
                    let now = clock::now();
                    explain.attempted(mark, tries, &outcome);
                    log::attempt(tries, &outcome, broker_name, address.as_deref(), now);
                    if shared.faults.is_enabled() {
                        let seen = outcome.observation(tries.elapsed(now));
                        shared.faults.record(broker_name, seen, now);
                    }
                    if outcome.hints_at_stale_route() {
                        core.routes.suspect(&prepared.topic);
                    }
                    if shared.config.avoid_silent_brokers {
                        let elapsed = tries.elapsed(now);
                        if outcome.is_answer() {
                            core.suspects.clear(broker_name);
                        } else if let Some(owner) = &owner
                        && outcome.is_silence()
                        // a caller in a hurry proves nothing
                        && (outcome.is_disconnect() || elapsed >= SILENCE)
                        {
                            core.suspects.suspect(owner, &prepared.topic);
                        }
                    }
                    explain.brokers();
                    let address = address.unwrap_or_default();
                    calls.attempted(&outcome, || tries.error_of(&outcome, &queue, &address, now));
                    tries.decide(outcome, &queue, &address, now)
                }
            };
        match step {
            Step::Done(result) => return Ok(result),
            Step::Again => {}
            Step::GiveUp(error) => return Err(error),
        }
    }
}

/// A broker that has not answered for this long is silent.
const SILENCE: Duration = Duration::from_millis(300);

/// Where one attempt goes.
struct Place {
    /// The queue, with the name of the broker that holds it: of a static topic, another one than the application sees.
    queue: MessageQueue,
    owner: Option<Arc<Broker>>,
    address: Option<Arc<str>>,
    alternatives: bool,
}

/// Finds the queue of the next attempt, asking a name server where that is needed.
async fn attempt_queue(
    shared: &Shared,
    prepared: &Prepared,
    target: &mut Target,
    tries: &Attempts<'_>,
    (explain, choice): (Explain<'_>, QueueChoice),
) -> Result<Place, Error> {
    let mark = explain.mark();
    let topic = &prepared.topic;
    let mut route = route(shared, topic, tries.deadline()).await?;
    explain.routed(mark, &route);
    let mut mark = explain.mark();
    choose(shared, target, &route, &prepared.message)?;
    if let Target::Pinned(queue) = target
        && !route.queues.contains(queue)
    {
        if clock::now().saturating_duration_since(route.told()) >= SUSPICION_PAUSE {
            let routes = &shared.core().routes;
            route = routes
                .refresh(topic, tries.deadline())
                .await
                .map_err(|error| no_route(topic, error))?;
            explain.routed(mark, &route);
            mark = explain.mark();
        }
        if !route.queues.contains(queue) {
            return Err(not_there(queue));
        }
    }
    let mut place = place(shared, &route, target.queue(), tries)
        .ok_or_else(|| no_route(topic, RouteError::NotWritable))?;
    if place.address.is_none() {
        // Java looks into its own cache again, which cannot help; a name server may know more.
        route = shared
            .core()
            .routes
            .refresh(topic, tries.deadline())
            .await
            .map_err(|error| no_route(topic, error))?;
        explain.routed(mark, &route);
        mark = explain.mark();
        place = self::place(shared, &route, target.queue(), tries)
            .ok_or_else(|| no_route(topic, RouteError::NotWritable))?;
    }
    explain.queue(mark, &place.queue, choice, (&route, tries.last_broker()));
    Ok(place)
}

/// The queues of a topic, from the cache or a name server.
pub(super) async fn route(
    shared: &Shared,
    topic: &Topic,
    deadline: Instant,
) -> Result<Arc<PublishRoute>, Error> {
    let queues = shared.config.topic_queues;
    let routes = &shared.core().routes;
    let route = routes.publish(topic, queues, deadline).await;
    route.map_err(|error| no_route(topic, error))
}

fn no_route(topic: &Topic, error: RouteError) -> Error {
    error.into_error(
        format!("send to topic {:?}", topic.as_str()),
        topic.as_str(),
    )
}

/// Has the application's selector choose, if there is one, or the hash of a key of strict order: once for all attempts.
pub(super) fn choose(
    shared: &Shared,
    target: &mut Target,
    route: &PublishRoute,
    message: &Message,
) -> Result<(), Error> {
    let core = shared.core();
    if let Target::Strict(hash) = *target {
        let topic = validate::check_topic(message)?;
        let layout = core.routes.layout(route, &topic);
        let layout = layout.ok_or_else(|| not_created(message))?;
        let place = select::place_of(hash, layout.len());
        let queue = place.and_then(|place| layout.get(place)).cloned();
        *target = Target::Pinned(queue.ok_or_else(|| no_route(&topic, RouteError::NotWritable))?);
    }
    if let Target::Selector(_) = target
        && let Target::Selector(selector) = std::mem::replace(target, Target::Any)
    {
        let queues = shared.namespace.unwrap_queues(&route.queues);
        let shown = shared.namespace.unwrap_message(message);
        let queue = select::run_selector(selector, &queues, &shown)?;
        let queue = shared.namespace.wrap_queue(queue)?;
        same_topic(&queue, message.topic())?;
        *target = Target::Queue(queue);
    }
    Ok(())
}

/// Strict order cannot begin.
fn not_created(message: &Message) -> Error {
    let topic = message.topic();
    Error::new(
        ErrorKind::TopicNotFound,
        format!("send to topic {topic:?}"),
        format!("topic {topic:?} does not exist yet, and strict order needs to know its queues"),
    )
    .with_topic(Arc::clone(message.topic_arc()))
    .with_hint(format!("create it: rocketry topic create {topic}"))
}

/// Strict order cannot go on.
fn not_there(queue: &MessageQueue) -> Error {
    let topic = queue.topic.as_str();
    Error::new(
        ErrorKind::TopicNotWritable,
        format!("send to topic {topic:?}"),
        format!(
            "queue {} of broker {:?} cannot be written to now, and the key's order is kept there",
            queue.queue_id, queue.broker_name
        ),
    )
    .with_topic(topic)
    .with_hint(
        "send again when the broker is back; strict_shard never moves to another queue, shard does",
    )
}

fn place(
    shared: &Shared,
    route: &PublishRoute,
    chosen: Option<&MessageQueue>,
    tries: &Attempts<'_>,
) -> Option<Place> {
    let found = |queue: &MessageQueue, owner: Option<&Arc<Broker>>, alternatives| Place {
        queue: MessageQueue {
            broker_name: Arc::clone(owner.map_or(&queue.broker_name, |owner| &owner.name)),
            ..queue.clone()
        },
        owner: owner.cloned(),
        address: owner.and_then(|owner| owner.master()).map(|address| {
            if shared.config.vip_channel {
                vip::address(address)
            } else {
                address
            }
        }),
        alternatives,
    };
    if let Some(queue) = chosen {
        return Some(found(queue, route.owner(queue), false));
    }
    let suspects = &shared.core().suspects;
    let is_suspect = |name: &str| shared.config.avoid_silent_brokers && suspects.contains(name);
    let last_broker = tries.last_broker();
    let index = select::next_queue(route, last_broker, &shared.faults, is_suspect, clock::now())?;
    let (queue, owner) = route.queue(index)?;
    Some(found(queue, Some(owner), route.has_alternatives()))
}

/// Java: `Validators` in `DefaultMQProducerImpl.send(msg, mq)`, which one-way sends there leave out.
pub(super) fn same_topic(queue: &MessageQueue, topic: &str) -> Result<(), Error> {
    if queue.topic.as_str() == topic {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("send to topic {topic:?}"),
        format!(
            "the chosen queue belongs to topic {:?}",
            queue.topic.as_str()
        ),
    )
    .with_topic(topic))
}

/// Large bodies leave the runtime's threads: compressing them takes as long as many sends.
async fn compress(job: Job) -> Option<(bytes::Bytes, i32)> {
    if job.body_bytes() < Job::OFF_THREAD_BYTES {
        return job.run();
    }
    match tokio::task::spawn_blocking(move || job.run()).await {
        Ok(compressed) => compressed,
        Err(error) => {
            prepare::warn_uncompressed(&error);
            None
        }
    }
}

impl Shared {
    /// The error of a send that shutdown ends before it has begun.
    pub(super) fn aborted(&self, outgoing: &Outgoing) -> Error {
        let ids = outgoing.messages().iter().map(|message| {
            let id = message.properties().get(properties::name::UNIQ_KEY);
            id.unwrap_or_default()
        });
        self.ended(&outgoing.topic().into(), ids, false)
    }

    /// The error of a send that shutdown ends; its messages are remembered for the report.
    fn ended<'a>(
        &self,
        topic: &Arc<str>,
        ids: impl Iterator<Item = &'a str>,
        maybe_stored: bool,
    ) -> Error {
        self.unsent.lock().extend(ids.map(|id| Unsent {
            topic: Arc::clone(topic),
            msg_id: id.to_owned(),
            maybe_stored,
        }));
        Error::new(
            ErrorKind::Closed,
            format!("send to topic {topic:?}"),
            "the producer was shut down before the broker answered",
        )
        .with_topic(Arc::clone(topic))
        .with_maybe_stored(maybe_stored)
    }
}

/// The bound on asynchronous sends in flight, by number and by bytes. Waiters are served in order.
///
/// Java: `semaphoreAsyncSendNum` and `semaphoreAsyncSendSize`, which block the calling thread.
#[derive(Debug)]
pub(crate) struct InFlight {
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    max_messages: usize,
    max_bytes: usize,
}

/// A place among the sends in flight; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permits {
    _message: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl InFlight {
    pub(crate) fn new(config: &ProducerConfig) -> Self {
        Self {
            messages: Arc::new(Semaphore::new(config.in_flight_messages)),
            bytes: Arc::new(Semaphore::new(config.in_flight_bytes)),
            max_messages: config.in_flight_messages,
            max_bytes: config.in_flight_bytes,
        }
    }

    async fn acquire(&self, outgoing: &Outgoing, deadline: Instant) -> Result<Permits, Error> {
        let bytes = outgoing.body_bytes();
        let full = |reason: String| {
            Error::new(
                ErrorKind::Overloaded,
                format!("send to topic {:?}", outgoing.topic()),
                reason,
            )
            .with_topic(outgoing.topic())
            .with_hint("wait for earlier sends, or raise in_flight_messages or in_flight_bytes")
        };
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        if bytes > self.max_bytes {
            // Java waits for what can never come.
            return Err(full(format!(
                "its {bytes} bytes exceed in_flight_bytes ({})",
                self.max_bytes
            )));
        }
        let acquired = timeout_at(deadline, async {
            let message = Arc::clone(&self.messages).acquire_owned().await;
            let bytes = Arc::clone(&self.bytes).acquire_many_owned(count).await;
            (message, bytes)
        })
        .await;
        match acquired {
            Ok((Ok(message), Ok(bytes))) => Ok(Permits {
                _message: message,
                _bytes: bytes,
            }),
            // the semaphores are never closed
            Ok(_) | Err(_) => Err(full(
                "too many sends are in flight, and none ended in time".to_owned(),
            )),
        }
    }

    /// Messages and body bytes in flight.
    pub(crate) fn used(&self) -> (usize, usize) {
        (
            self.max_messages - self.messages.available_permits(),
            self.max_bytes - self.bytes.available_permits(),
        )
    }
}

#[cfg(feature = "trace-context")]
impl Shared {
    /// Gives every message its trace context. Where the send begins: later it may be in other hands.
    fn propagate(&self, mut order: Order) -> Order {
        let Some(propagator) = &self.propagator else {
            return order;
        };
        match &mut order.outgoing {
            Outgoing::Single(message) => propagator.propagate(message),
            Outgoing::Batch(messages) | Outgoing::Gathered(messages) => {
                for message in messages {
                    propagator.propagate(message);
                }
            }
        }
        order
    }
}

impl Outgoing {
    pub(crate) fn messages(&self) -> &[Message] {
        match self {
            Self::Single(message) => std::slice::from_ref(message),
            Self::Batch(messages) | Self::Gathered(messages) => messages,
        }
    }

    pub(crate) fn topic(&self) -> &str {
        self.messages().first().map_or("", Message::topic)
    }

    pub(crate) fn count(&self) -> usize {
        self.messages().len()
    }

    pub(crate) fn body_bytes(&self) -> usize {
        self.messages()
            .iter()
            .map(|message| message.body().len())
            .sum()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("group", self.encode.group())
            .field("client", &self.client)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
