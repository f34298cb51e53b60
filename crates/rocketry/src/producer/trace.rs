//! Message trace in Java's format: what was sent, when, where to, and how long it took, as messages of a topic of their own.
//!
//! Hooks put records into a bounded queue and never wait; one task per producer gathers them and sends them through the same pipeline
//! as every message. Java: `AsyncTraceDispatcher`, `SendMessageTraceHookImpl`, `EndTransactionTraceHookImpl`.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use rocketry_protocol::{
    Group, Message, Topic,
    properties::name,
    topic,
    trace::{TraceMessageType, TraceRecord},
};
use rocketry_remoting::LogLimit;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Outgoing, SendMode, SendStatus,
    hooks::{
        EndTransactionContext, EndTransactionHook, MessageType, SendContext, SendHook, SendOutcome,
    },
    order::Order,
    select::Target,
    shared::Shared,
};
use crate::{
    client::Client,
    clock,
    config::{Faults, ProducerConfig},
    error::{Error, ErrorKind},
    namespace::Namespace,
};

/// Message trace: `ProducerConfig { trace: Some(TraceConfig::default()), ..Default::default() }`.
///
/// A message that a broker stored leaves one record, unless the broker has switched tracing off; so does the end of a transaction. A
/// failed or one-way send leaves none, nor does a message of the trace topic. `mqadmin QueryMsgTraceById` and the dashboard show them.
///
/// Tracing never slows down a send: records that find the queue full are dropped and counted in
/// [`crate::ProducerMetrics::traces_dropped`]. [`crate::Producer::shutdown`] sends what is queued; so does dropping the producer, as
/// long as the runtime lives.
///
/// Java: `enableTrace`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceConfig {
    /// Topic of the trace messages. Default `RMQ_SYS_TRACE_TOPIC`; it must exist, or brokers must create topics.
    ///
    /// Java: `traceTopic`.
    pub topic: String,
    /// Records that are sent together, at most; one message per traced topic. Default 10, bounds 1 ..= 20.
    ///
    /// Java: `traceMsgBatchNum`.
    pub batch: usize,
    /// Records that wait, at most. Default 2048, bounds 1 ..= 1,000,000.
    ///
    /// Java: the queue of `AsyncTraceDispatcher`.
    pub queue: usize,
    /// Longest time that a record waits for others. Default 5 s, bounds 10 ms ..= 1 h.
    ///
    /// Java: `AsyncTraceDispatcher`, `flushTraceInterval`.
    pub flush_interval: Duration,
    /// Characters after which a trace message is full. Default 128,000, bounds 1000 ..= 1,000,000.
    ///
    /// Java: `maxMsgSize` of `AsyncTraceDispatcher`.
    pub message_chars: usize,
    /// Whether recalls that a broker carried out leave a record too. Default false.
    ///
    /// Java: `com.rocketmq.recall.default.trace.enable`.
    pub recalls: bool,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            topic: topic::TRACE.to_owned(),
            batch: 10,
            queue: 2048,
            flush_interval: Duration::from_secs(5),
            message_chars: 128_000,
            recalls: false,
        }
    }
}

impl TraceConfig {
    pub(crate) fn check(&self, faults: &mut Faults) {
        if let Err(error) = Topic::new(&self.topic) {
            faults.add(format!("trace.topic: {error}"));
        }
        faults.number("trace.batch", self.batch, 1, 20);
        faults.number("trace.queue", self.queue, 1, 1_000_000);
        faults.number("trace.message_chars", self.message_chars, 1000, 1_000_000);
        faults.duration(
            "trace.flush_interval",
            self.flush_interval,
            Duration::from_millis(10),
            Duration::from_hours(1),
        );
    }
}

/// Where the records of one producer go.
#[derive(Debug)]
pub(crate) struct Tracer {
    topic: String,
    namespace: Namespace,
    recalls: bool,
    queue: mpsc::Sender<Traced>,
    /// Records that will never reach a broker.
    dropped: Arc<AtomicU64>,
    /// Ends the dispatcher once it has sent what is queued.
    closing: CancellationToken,
    /// Whose end ends it at once.
    sender: Arc<Shared>,
    dispatcher: TaskTracker,
}

/// A record, and the topic that it speaks of.
#[derive(Debug)]
struct Traced {
    topic: Arc<str>,
    record: TraceRecord,
}

impl Tracer {
    /// Starts the dispatcher of a producer of `group`.
    pub(crate) fn start(
        config: &TraceConfig,
        group: &str,
        client: &Client,
    ) -> Result<Arc<Self>, Error> {
        static PRODUCERS: AtomicU32 = AtomicU32::new(0);
        let number = PRODUCERS.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("_INNER_TRACE_PRODUCER-{group}-PRODUCE-{number}");
        let inner = Group::new(name).map_err(|error| {
            Error::new(
                ErrorKind::InvalidArgument,
                "start the message trace",
                error.to_string(),
            )
            .with_hint("a traced group's name leaves room for that of its trace producer")
        })?;
        let sender = ProducerConfig {
            timeout: SEND_TIMEOUT,
            ..ProducerConfig::default()
        };
        // It belongs to the client like any producer, but is not in its heartbeats: no broker ever asks it anything.
        let sender = Arc::new(Shared {
            namespace: Namespace::default(),
            ..Shared::new(client.clone(), inner, sender)
        });
        let (queue, records) = mpsc::channel(config.queue);
        let tracer = Arc::new(Self {
            topic: config.topic.clone(),
            namespace: client.core().namespace.clone(),
            recalls: config.recalls,
            queue,
            dropped: Arc::default(),
            closing: CancellationToken::new(),
            sender: Arc::clone(&sender),
            dispatcher: TaskTracker::new(),
        });
        let dispatcher = Dispatcher {
            config: config.clone(),
            records,
            sender,
            sending: JoinSet::new(),
            dropped: Arc::clone(&tracer.dropped),
            closing: tracer.closing.clone(),
            stop: client.core().stop.clone(),
        };
        let running = tracer.dispatcher.track_future(dispatcher.run());
        client.core().tasks.spawn(running);
        tracer.dispatcher.close();
        Ok(tracer)
    }

    /// A timed message was taken back. Java: `DefaultRecallMessageTraceHook`, which needs the region as well.
    pub(crate) fn recalled(&self, group: &str, topic: &Topic, msg_id: &str, region: Option<&str>) {
        let (Some(region), true) = (region, self.recalls) else {
            return;
        };
        let shown = |name| self.namespace.unwrap(name).into_owned();
        self.trace(topic.as_arc(), || TraceRecord::Recall {
            time_ms: clock::wall_ms(),
            region: region.to_owned(),
            group: shown(group),
            topic: shown(topic.as_str()),
            msg_id: msg_id.to_owned(),
            success: true,
        });
    }

    fn trace(&self, topic: &Arc<str>, record: impl FnOnce() -> TraceRecord) {
        // what a trace message leaves would be traced again
        if topic.starts_with(&self.topic) {
            return;
        }
        let Ok(place) = self.queue.try_reserve() else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        place.send(Traced {
            topic: Arc::clone(topic),
            record: record(),
        });
    }

    /// Sends what is queued, until `until`, and ends the dispatcher. What then is left counts as dropped.
    pub(crate) async fn close(&self, until: Instant) {
        self.closing.cancel();
        if timeout_at(until, self.dispatcher.wait()).await.is_err() {
            self.sender.abort();
            self.dispatcher.wait().await;
        }
    }

    /// Records that no broker has got, nor will.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The tracer as a hook of its producer.
pub(crate) struct TraceHook(pub(crate) Arc<Tracer>);

impl SendHook for TraceHook {
    fn after(&self, context: &SendContext<'_>) {
        let Some(SendOutcome::Stored(result)) = context.outcome else {
            return;
        };
        if !result.trace_on {
            return;
        }
        let message = context.message;
        let shown = |name| self.0.namespace.unwrap(name).into_owned();
        self.0.trace(message.topic_arc(), || TraceRecord::Pub {
            time_ms: context.begun_ms,
            region: result.region_id.to_string(),
            group: shown(context.group),
            topic: shown(message.topic()),
            msg_id: result.msg_id.clone(),
            tags: message.tags().map(str::to_owned),
            keys: message.properties().get(name::KEYS).map(str::to_owned),
            store_host: context.broker_address.to_owned(),
            body_bytes: i32::try_from(context.body_bytes).unwrap_or(i32::MAX),
            cost_ms: i32::try_from(context.elapsed.as_millis()).unwrap_or(i32::MAX),
            message_type: match context.message_type {
                MessageType::Normal => TraceMessageType::Normal,
                MessageType::Half => TraceMessageType::TransactionHalf,
                MessageType::Delay => TraceMessageType::Delay,
            },
            offset_msg_id: Some(result.offset_msg_id.clone()),
            success: result.status == SendStatus::Ok,
        });
    }
}

impl EndTransactionHook for TraceHook {
    fn end(&self, context: &EndTransactionContext<'_>) {
        let shown = |name| self.0.namespace.unwrap(name).into_owned();
        let property = |name| context.properties.get(name).map(str::to_owned);
        self.0
            .trace(&context.topic.into(), || TraceRecord::EndTransaction {
                time_ms: clock::wall_ms(),
                region: property(name::MSG_REGION).unwrap_or_else(|| "DefaultRegion".to_owned()),
                group: shown(context.group),
                topic: shown(context.topic),
                msg_id: context.msg_id.to_owned(),
                tags: property(name::TAGS),
                keys: property(name::KEYS),
                store_host: context.broker_address.to_owned(),
                message_type: TraceMessageType::TransactionCommit,
                transaction_id: context.transaction_id.to_owned(),
                state: context.decision.as_str().to_owned(),
                from_check: context.from_check,
            });
    }
}

/// Java: `AsyncTraceDispatcher`, `traceProducer.setSendMsgTimeout`.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Trace messages on their way at a time. Java: the threads of its pool.
const SENDING: usize = 4;

struct Dispatcher {
    config: TraceConfig,
    records: mpsc::Receiver<Traced>,
    sender: Arc<Shared>,
    sending: JoinSet<()>,
    dropped: Arc<AtomicU64>,
    closing: CancellationToken,
    stop: CancellationToken,
}

impl Dispatcher {
    /// Ends when nothing is queued any more and nothing will be.
    async fn run(mut self) {
        let mut gathered = Vec::with_capacity(self.config.batch);
        let mut flush_at = clock::now() + self.config.flush_interval;
        while self.gather(&mut gathered, flush_at).await {
            self.flush(&mut gathered).await;
            flush_at = clock::now() + self.config.flush_interval;
        }
        while self.sending.join_next().await.is_some() {}
    }

    /// Waits until there is something to send. False at the end.
    async fn gather(&mut self, gathered: &mut Vec<Traced>, flush_at: Instant) -> bool {
        while gathered.len() < self.config.batch {
            let waits = !gathered.is_empty();
            tokio::select! {
                biased;
                () = self.stop.cancelled(), if !self.sender.abort.is_cancelled() => {
                    // no connection is left to send on
                    self.sender.abort();
                    self.records.close();
                }
                () = self.closing.cancelled(), if !self.records.is_closed() => self.records.close(),
                record = self.records.recv() => match record {
                    Some(record) => gathered.push(record),
                    None => break,
                },
                () = sleep_until(flush_at), if waits => break,
            }
        }
        !gathered.is_empty()
    }

    /// Sends the records: one message for all that speak of one topic, several where they are too long.
    async fn flush(&mut self, gathered: &mut Vec<Traced>) {
        while let Some(first) = gathered.first() {
            let topic = Arc::clone(&first.topic);
            let mut full = Vec::new();
            let mut body = Body::default();
            for traced in gathered.extract_if(.., |traced| traced.topic == topic) {
                body.add(&traced.record);
                if body.text.chars().count() >= self.config.message_chars {
                    full.push(std::mem::take(&mut body));
                }
            }
            full.push(body);
            for body in full.into_iter().filter(|body| body.records > 0) {
                self.send(body).await;
            }
        }
    }

    /// Has a message sent, once fewer than [`SENDING`] are on their way.
    async fn send(&mut self, body: Body) {
        while self.sending.len() >= SENDING {
            self.sending.join_next().await;
        }
        let (sender, dropped) = (Arc::clone(&self.sender), Arc::clone(&self.dropped));
        let records = body.records;
        let mut order = Order {
            outgoing: Outgoing::Single(body.into_message(&self.config.topic)),
            target: Target::Any,
            timeout: None,
        };
        self.sending.spawn(async move {
            if let Err(error) = sender.send(&mut order, SendMode::Async).await {
                static LIMIT: LogLimit = LogLimit::new();
                dropped.fetch_add(records, Ordering::Relaxed);
                if let Some(held_back) = LIMIT.pass() {
                    tracing::warn!(%error, records, held_back, "message trace lost");
                }
            }
        });
    }
}

/// A trace message to be.
#[derive(Default)]
struct Body {
    text: String,
    keys: BTreeSet<String>,
    key_bytes: usize,
    records: u64,
}

impl Body {
    fn add(&mut self, record: &TraceRecord) {
        record.encode(&mut self.text);
        self.records += 1;
        for key in record.index_keys() {
            // Beyond that the properties would be too long, and the records lost for the sake of their keys. Java loses them.
            if self.key_bytes + key.len() < MAX_KEY_BYTES && self.keys.insert(key.to_owned()) {
                self.key_bytes += key.len() + 1;
            }
        }
    }

    fn into_message(self, topic: &str) -> Message {
        Message::new(topic, self.text).keys(self.keys)
    }
}

/// What the properties of a message have room for, with some left for others.
const MAX_KEY_BYTES: usize = 30 * 1024;
