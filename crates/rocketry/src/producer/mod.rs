//! The producer's public calls. What happens to a message is in the stages, which `send` runs in order.

mod accumulate;
mod airborne;
mod attempt;
mod calls;
mod check;
mod decision;
mod detect;
mod encode;
mod explain;
mod fault;
mod flight;
mod histogram;
mod hooks;
mod in_flight;
mod interpret;
mod log;
mod metrics;
mod observe;
mod order;
mod place;
mod prepare;
mod recall;
mod request;
mod result;
mod retry;
mod select;
mod send;
mod send_request;
mod sending;
mod shared;
mod trace;
mod transaction;
mod validate;
mod verdict;
mod vip;

pub use accumulate::AutoBatch;
pub use decision::Decision;
pub use detect::Detector;
pub use fault::LatencyPolicy;
pub use histogram::Histogram;
pub use hooks::{
    EndTransactionContext, EndTransactionHook, ForbiddenHook, MessageType, SendContext, SendHook,
    SendOutcome,
};
pub use metrics::{MetricsExporter, ProducerMetrics};
pub use observe::{
    AttemptOutcome, Avoided, AvoidedBecause, BodyForm, PlainBecause, QueueChoice, RouteOrigin,
    SendEvent, SendObserver, SendStage,
};
pub use order::SendMode;
pub use prepare::split_batch;
pub use request::Answer;
pub use result::{SendResult, SendStatus, ShutdownReport, Unsent};
pub use select::{Selection, by_hash, by_machine_room, by_random};
pub use send_request::{OneWay, Reply, SendFuture, SendRequest, Ticket};
pub use trace::TraceConfig;
pub use transaction::{HalfMessage, Transaction, TransactionResult};
pub use verdict::{IntoVerdict, Verdict};

pub(crate) use check::ask as check_transaction;
pub(crate) use interpret::classify;
pub(crate) use order::Outgoing;
pub(crate) use shared::Shared;

use std::{
    fmt,
    future::IntoFuture,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rocketry_protocol::{Group, Message, MessageQueue, Topic, compress::Compression};
use rocketry_remoting::Deadline;
use tokio::time::timeout_at;

use self::{
    accumulate::Accumulator,
    check::{Checker, Checks},
    hooks::Hooks,
    order::Order,
    trace::{TraceHook, Tracer},
};
#[cfg(feature = "trace-context")]
use crate::trace_context::Propagator;
use crate::{
    client::Client,
    clock,
    config::{Faults, ProducerConfig},
    error::{Error, ErrorKind},
    namespace::Namespace,
};

/// A [`Producer`] to be: configure it, then await it.
#[derive(Clone)]
#[must_use = "a producer exists once this is awaited"]
pub struct ProducerBuilder {
    client: Client,
    group: String,
    config: ProducerConfig,
    hooks: Hooks,
    observer: Option<Arc<dyn SendObserver>>,
    #[cfg(feature = "trace-context")]
    propagator: Option<Propagator>,
    checker: Option<Checker>,
}

impl ProducerBuilder {
    pub(crate) fn new(client: Client, group: String) -> Self {
        Self {
            client,
            group,
            config: ProducerConfig::default(),
            hooks: Hooks::default(),
            observer: None,
            #[cfg(feature = "trace-context")]
            propagator: None,
            checker: None,
        }
    }
    /// All options at once.
    pub fn config(mut self, config: ProducerConfig) -> Self {
        self.config = config;
        self
    }
    /// See [`ProducerConfig::timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }
    /// See [`ProducerConfig::retries`].
    pub fn retries(mut self, retries: u32) -> Self {
        self.config.retries = retries;
        self
    }
    /// See [`ProducerConfig::compression`]; `None` sends bodies plain.
    pub fn compression(mut self, compression: impl Into<Option<Compression>>) -> Self {
        self.config.compression = compression.into();
        self
    }
    /// See [`ProducerConfig::trace`].
    pub fn trace(mut self, trace: impl Into<Option<TraceConfig>>) -> Self {
        self.config.trace = trace.into();
        self
    }
    /// See [`ProducerConfig::topics`].
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.config.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a hook that is called before and after attempts to send.
    pub fn hook(mut self, hook: impl SendHook) -> Self {
        self.hooks.send.push(Arc::new(hook));
        self
    }
    /// Adds a hook that may forbid an attempt to send.
    pub fn forbidden_hook(mut self, hook: impl ForbiddenHook) -> Self {
        self.hooks.forbidden.push(Arc::new(hook));
        self
    }
    /// Adds a hook that is called before a transaction is ended.
    pub fn end_transaction_hook(mut self, hook: impl EndTransactionHook) -> Self {
        self.hooks.end_transaction.push(Arc::new(hook));
        self
    }
    /// Sets the observer of what every send decides, stage by stage.
    pub fn observer(mut self, observer: impl SendObserver) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Has every message carry the W3C trace context that `context` returns for it, in the properties `traceparent` and `tracestate`.
    /// A message that has a `traceparent` keeps it.
    ///
    /// `context` runs on the task that sends, when it begins to: there it finds the current span of whatever tracing library the
    /// application uses. With `opentelemetry`:
    ///
    /// ```text
    /// .trace_context(|_message| {
    ///     let context = opentelemetry::Context::current();
    ///     let span = context.span().span_context().clone();
    ///     let (trace_id, span_id) = (span.trace_id().to_bytes(), span.span_id().to_bytes());
    ///     let parent = TraceParent::new(trace_id, span_id, span.is_sampled())?;
    ///     TraceContext::new(parent).with_state(span.trace_state().header()).ok()
    /// })
    /// ```
    ///
    /// Whoever receives the message reads it with [`crate::TraceContext::of`].
    #[cfg(feature = "trace-context")]
    pub fn trace_context(
        mut self,
        context: impl Fn(&Message) -> Option<crate::TraceContext> + Send + Sync + 'static,
    ) -> Self {
        self.propagator = Some(Propagator::new(context));
        self
    }

    async fn build(mut self) -> Result<Producer, Error> {
        let core = Arc::clone(self.client.core());
        let mut faults = Faults::default();
        self.config.check(&mut faults);
        for topic in &self.config.topics {
            if let Err(error) = Topic::new(core.namespace.wrap(topic)) {
                faults.add(format!("topics: {error}"));
            }
        }
        let group = check_group(&self.group, &core.namespace);
        if let Err(fault) = &group {
            faults.add(fault.clone());
        }
        let action = "start the producer";
        faults.finish(action)?;
        let group = group.map_err(|fault| Error::new(ErrorKind::InvalidArgument, action, fault))?;
        let tracer = match &self.config.trace {
            None => None,
            Some(config) => {
                let tracer = Tracer::start(config, &self.group, &self.client)?;
                let hook = Arc::new(TraceHook(Arc::clone(&tracer)));
                self.hooks.send.push(Arc::clone(&hook) as _);
                self.hooks.end_transaction.push(hook);
                Some(tracer)
            }
        };
        let checks = self.checker.map(|checker| {
            let hooks = self.hooks.clone();
            Checks::start(checker, group.clone(), hooks, &self.config, &core)
        });
        let shared = Arc::new(Shared {
            checks,
            tracer,
            hooks: self.hooks,
            observer: self.observer,
            #[cfg(feature = "trace-context")]
            propagator: self.propagator,
            ..Shared::new(self.client, group, self.config)
        });
        core.register(&shared)?;
        if let Some(detector) = shared.config.detector {
            core.tasks
                .spawn(detect::run(Arc::downgrade(&shared), detector));
        }
        let producer = Producer { shared };
        for topic in &producer.shared.config.topics {
            producer.warm(topic).await?;
        }
        Ok(producer)
    }
}

/// Least time that trace records and decisions have to leave at shutdown: brokers that are there take them in no time.
const DRAIN_GRACE: Duration = Duration::from_millis(200);
/// Longest wait for sends that were ended. Those that are polled notice at once, and a transaction takes [`DRAIN_GRACE`] to tell its
/// broker; a future that its owner keeps and does not poll never notices.
const ABORT_GRACE: Duration = Duration::from_millis(500);

/// Java: `Validators.checkGroup`, and the refusal of the default group in `DefaultMQProducerImpl.checkConfig`.
fn check_group(name: &str, namespace: &Namespace) -> Result<Group, String> {
    if name == "DEFAULT_PRODUCER" {
        return Err(
            "the producer group DEFAULT_PRODUCER is reserved: name the application's own"
                .to_owned(),
        );
    }
    // a blank name stays blank within a namespace
    Group::new(name)
        .and_then(|_| Group::new(namespace.wrap(name)))
        .map_err(|error| format!("producer group: {error}"))
}

impl fmt::Debug for ProducerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerBuilder")
            .field("group", &self.group)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl IntoFuture for ProducerBuilder {
    type Output = Result<Producer, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.build())
    }
}

/// Sends messages. Cloning is cheap and shares all of it; every call takes `&self`, concurrent sends are welcome.
///
/// A message that was sent is never changed for its caller: the send takes it by value.
#[derive(Debug, Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

impl Producer {
    /// The producer group, as brokers know it.
    pub fn group(&self) -> &str {
        self.shared.encode.group().as_str()
    }

    /// Sends one message and waits until the broker has answered, trying other brokers as configured.
    ///
    /// Await the returned [`SendRequest`], after choosing a queue or a timeout where wanted:
    /// `producer.send(message).timeout(Duration::from_secs(1)).await?`.
    ///
    /// Dropping the future before it is done ends the send; a request that is on its way may be stored nevertheless.
    ///
    /// # Errors
    /// Any [`ErrorKind`] of a send; [`Error::maybe_stored`] says whether sending again may store the message twice.
    ///
    /// Java: `DefaultMQProducer.send(Message)`. Differs: the time is divided among attempts, see [`crate::AttemptBudget`].
    pub fn send(&self, message: Message) -> SendRequest<'_, Reply> {
        SendRequest::new(self, Outgoing::Single(message))
    }

    /// Sends messages of one topic in one request, and waits until the broker has answered; see [`split_batch`] for lists that may
    /// exceed the size limit. A batch is never compressed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidMessage`] for an empty list and for delayed messages, retry topics, or differing topics or wait-store flags.
    ///
    /// Java: `DefaultMQProducer.send(Collection)`.
    pub fn send_batch(
        &self,
        messages: impl IntoIterator<Item = Message>,
    ) -> SendRequest<'_, Reply> {
        SendRequest::new(self, Outgoing::Batch(messages.into_iter().collect()))
    }

    /// Sends one message and resolves when the request is on its way; the [`SendFuture`] resolves with the broker's answer.
    ///
    /// Waits while [`ProducerConfig::in_flight_messages`] or [`ProducerConfig::in_flight_bytes`] are reached. Messages that one task
    /// enqueues to one queue arrive in that order.
    ///
    /// # Errors
    /// As [`Producer::send`], for what fails before the request is on its way; [`ErrorKind::Overloaded`] when no place became free.
    ///
    /// Java: `DefaultMQProducer.send(Message, SendCallback)`.
    pub fn enqueue(&self, message: Message) -> SendRequest<'_, Ticket> {
        SendRequest::new(self, Outgoing::Single(message))
    }

    /// [`Producer::enqueue`] for a batch, see [`Producer::send_batch`].
    pub fn enqueue_batch(
        &self,
        messages: impl IntoIterator<Item = Message>,
    ) -> SendRequest<'_, Ticket> {
        SendRequest::new(self, Outgoing::Batch(messages.into_iter().collect()))
    }

    /// [`Producer::enqueue`] with a callback instead of a ticket. Whatever the send comes to reaches the callback, exactly once.
    ///
    /// The callback runs on a task of its own, and its panic harms nobody else. A shutdown waits for it as it does for a send.
    pub async fn enqueue_with<F>(&self, message: Message, callback: F)
    where
        F: FnOnce(Result<SendResult, Error>) + Send + 'static,
    {
        let order = Order::new(Outgoing::Single(message));
        let handed = self.shared.hand_over(order).await;
        let counted = self.shared.sends.token();
        tokio::spawn(async move {
            let _counted = counted;
            callback(match handed {
                Ok(handed) => handed.result().await,
                Err(error) => Err(error),
            });
        });
    }

    /// Hands one message to the connection; no broker answers, and what happens there is not reported. One attempt.
    ///
    /// # Errors
    /// What fails before the connection has taken the request.
    ///
    /// Java: `DefaultMQProducer.sendOneway`. Differs from 5.5.0, as 4.x did: an unreachable broker is an error.
    pub fn send_oneway(&self, message: Message) -> SendRequest<'_, OneWay> {
        SendRequest::new(self, Outgoing::Single(message))
    }

    /// Messages and body bytes of asynchronous sends in flight: what [`ProducerConfig::in_flight_messages`] and
    /// [`ProducerConfig::in_flight_bytes`] bound.
    pub fn in_flight(&self) -> (usize, usize) {
        self.shared.in_flight.used()
    }

    /// Body bytes of messages that were sent with [`ProducerConfig::auto_batch`] and have no result yet: what
    /// [`AutoBatch::held_bytes`] bounds.
    pub fn gathered_bytes(&self) -> usize {
        self.shared
            .accumulator
            .as_ref()
            .map_or(0, Accumulator::held_bytes)
    }

    /// What the producer has done so far, in numbers.
    pub fn metrics(&self) -> ProducerMetrics {
        let (shared, core) = (&self.shared, self.shared.client.core());
        let (messages, bytes) = shared.in_flight.used();
        ProducerMetrics {
            in_flight_messages: messages as u64,
            in_flight_bytes: bytes as u64,
            route_age: core.routes.age(clock::now()),
            late_responses: core.late_responses.load(Ordering::Relaxed),
            traces_dropped: shared.tracer.as_ref().map_or(0, |tracer| tracer.dropped()),
            ..shared.counters.snapshot()
        }
    }

    /// A broker of the fault table that the last attempt reached, at random; `None` while there is none, or without
    /// [`ProducerConfig::latency_fault_tolerance`].
    ///
    /// Java: `LatencyFaultTolerance.pickOneAtLeast`, which chose queues in 4.x.
    pub fn pick_one_at_least(&self) -> Option<Arc<str>> {
        self.shared.faults.pick_one_at_least()
    }

    /// Queues that messages of `topic` can be sent to, in the order in which they are used; asked anew.
    ///
    /// # Errors
    /// [`ErrorKind::TopicNotFound`], [`ErrorKind::NameServerUnreachable`].
    ///
    /// Java: `DefaultMQProducer.fetchPublishMessageQueues`.
    pub async fn publish_queues(&self, topic: &str) -> Result<Vec<MessageQueue>, Error> {
        self.shared.client.admin().publish_queues(topic).await
    }

    /// Refuses new sends, sends what waits for company, waits for what is in flight until `deadline` has passed, fails the rest, and
    /// takes the group out of every broker. A second call waits for the first, and reports nothing.
    ///
    /// The future of a send that is kept and not polled meanwhile holds nothing up for more than half a second: it fails when it is
    /// polled. It is in the report only if its request was on its way.
    ///
    /// Dropping the future leaves the producer closed, and the rest to another call.
    ///
    /// Java: `DefaultMQProducer.shutdown`, which drops what is queued.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let shared = &self.shared;
        let until = Deadline::after(deadline).instant();
        shared.closed.store(true, Ordering::Release);
        let mut is_over = shared.ending.lock().await;
        if *is_over {
            return ShutdownReport::default();
        }
        shared.sends.close();
        shared.closing.cancel();
        if timeout_at(until, shared.sends.wait()).await.is_err() {
            shared.abort();
            let ended = timeout_at(clock::now() + ABORT_GRACE, shared.sends.wait());
            if ended.await.is_err() {
                tracing::debug!("a send is kept that nobody polls");
            }
        }
        if let Some(checks) = &shared.checks {
            checks.stop();
        }
        if let Some(tracer) = &shared.tracer {
            tracer.close(until.max(clock::now() + DRAIN_GRACE)).await;
        }
        shared
            .client
            .core()
            .unregister(shared.encode.group(), until)
            .await;
        *is_over = true;
        ShutdownReport {
            unsent: std::mem::take(&mut shared.unsent.lock()),
        }
    }

    pub(crate) fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Fetches a route, so that the first send does not have to. Only a name server that does not answer is an error.
    async fn warm(&self, topic: &str) -> Result<(), Error> {
        let core = self.shared.client.core();
        let topic = &*core.namespace.wrap(topic);
        let checked = validate::check_topic(&Message::new(topic, ""))?;
        let until = clock::now() + core.config.api_timeout;
        let queues = self.shared.config.topic_queues;
        match core.routes.publish(&checked, queues, until).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = error.into_error(format!("fetch the route of topic {topic:?}"), topic);
                if matches!(
                    error.kind(),
                    ErrorKind::NameServerUnreachable | ErrorKind::NoNameServer
                ) {
                    return Err(error);
                }
                tracing::warn!(%error, "no route yet");
                Ok(())
            }
        }
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
