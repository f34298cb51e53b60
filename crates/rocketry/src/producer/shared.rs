//! What the sends of one producer share, from its start to its shutdown.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rocketry_protocol::{Group, properties};
use rocketry_remoting::Deadline;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Unsent,
    accumulate::Accumulator,
    airborne::Airborne,
    check::Checks,
    encode::EncodeConfig,
    fault::FaultTable,
    hooks::Hooks,
    in_flight::InFlight,
    metrics::Counters,
    observe::SendObserver,
    order::{Order, Outgoing},
    prepare::PrepareConfig,
    trace::Tracer,
    validate::Limits,
};
#[cfg(feature = "trace-context")]
use crate::trace_context::Propagator;
use crate::{
    client::{Client, Core},
    config::ProducerConfig,
    error::{Error, ErrorKind},
    namespace::Namespace,
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
    /// Sends whose first requests are on their way.
    pub(crate) airborne: Airborne,
    /// Ends the other sends that have begun.
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
            airborne: Airborne::default(),
            abort: CancellationToken::new(),
            unsent: parking_lot::Mutex::default(),
            counters: Counters::new(),
            client,
            config,
        }
    }

    /// Refuses the send if the producer is shut down, else says until when it may take.
    pub(super) fn begin(&self, order: &Order, started: Instant) -> Result<Instant, Error> {
        self.refuse_when_closed(order.outgoing.topic())
            .inspect_err(|error| self.counters.refused(error))?;
        let timeout = order.timeout.unwrap_or(self.config.timeout);
        Ok(Deadline::counted_from(started, timeout).instant())
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

    /// Whether somebody looks on: then every send tells what it does, stage by stage.
    pub(super) fn is_watched(&self) -> bool {
        self.observer.is_some() || !self.hooks.send.is_empty() || !self.hooks.forbidden.is_empty()
    }

    /// Ends the sends that have begun.
    pub(super) fn abort(&self) {
        // those that are on their way first: the others are told why they are ended by the same list
        self.airborne.end();
        self.abort.cancel();
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        self.client.core()
    }

    /// The error of a send that shutdown ends before it has begun.
    pub(super) fn aborted(&self, outgoing: &Outgoing) -> Error {
        let ids = outgoing.messages().iter().map(|message| {
            let id = message.properties().get(properties::name::UNIQ_KEY);
            id.unwrap_or_default()
        });
        self.ended(&outgoing.topic().into(), ids, false)
    }

    /// The error of a send that shutdown ends; its messages are remembered for the report.
    pub(super) fn ended<'a>(
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

#[cfg(feature = "trace-context")]
impl Shared {
    /// Gives every message its trace context. Where the send begins: later it may be in other hands.
    pub(super) fn propagate(&self, order: &mut Order) {
        let Some(propagator) = &self.propagator else {
            return;
        };
        match &mut order.outgoing {
            Outgoing::Single(message) => propagator.propagate(message),
            Outgoing::Batch(messages) | Outgoing::Gathered(messages) => {
                for message in messages {
                    propagator.propagate(message);
                }
            }
        }
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
