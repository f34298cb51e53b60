//! RocketMQ client: producers, a plain queue reader and administration for Apache RocketMQ 4.x and 5.x, and for `rocketry serve`.
//!
//! ```no_run
//! # async fn example() -> Result<(), rocketry::Error> {
//! use rocketry::{Client, Message};
//!
//! let client = Client::connect("127.0.0.1:9876").await?;
//! let producer = client.producer("orders").await?;
//!
//! // synchronous: returns when the broker has stored the message
//! let result = producer.send(Message::new("TopicTest", "hello").tag("greeting")).await?;
//! println!("{} in queue {} at {}", result.msg_id, result.queue.queue_id, result.queue_offset);
//!
//! // asynchronous: returns when the request is on its way; the ticket resolves with the answer
//! let ticket = producer.enqueue(Message::new("TopicTest", "later")).await?;
//! let result = ticket.await?;
//!
//! // one-way: nobody answers
//! producer.send_oneway(Message::new("TopicTest", "whatever")).await?;
//! # let _ = result;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is an explicit value: connections, routes and background tasks of one cluster. A process may hold several, of the
//! same or of different clusters. It needs a Tokio runtime; [`blocking`] brings its own for code without async.
//!
//! Every failure is an [`Error`], which says what was tried, where and for how long, and whether the message may be stored.
//!
//! # Seeing what happens
//!
//! - [`Producer::metrics`]: sends by outcome, their durations, what is in flight; [`MetricsExporter`] takes them to a monitoring system.
//! - [`SendHook`], [`ForbiddenHook`] and [`EndTransactionHook`] see, and may forbid, attempts to send; [`RpcHook`] sees every request.
//! - [`SendObserver`] is told what each stage of a send decides, and how long it took.
//! - [`TraceConfig`]: message trace as Java's clients leave it, for `mqadmin QueryMsgTraceById` and the dashboard.
//! - with the feature `trace-context`, messages carry W3C's `traceparent` and `tracestate`: see `ProducerBuilder::trace_context`.
//! - `tracing`, target `rocketry::send`: at level debug a span `send` per send (`group`, `topic`, `mode`, `msg_id`) and an event per
//!   attempt that failed; at level trace an event per other attempt. Above debug a send logs nothing: its caller has the error. What
//!   repeats is logged at most every 10 s, with the number of those held back in the field `held_back`.

mod admin;
pub mod blocking;
mod client;
mod clock;
mod config;
mod connect;
mod error;
mod guard;
mod hint;
mod introduce;
mod lookup;
mod name_server;
mod namespace;
mod producer;
mod reader;
mod replies;
mod route;
mod rpc_hook;
mod static_topic;
mod suspect;
#[cfg(feature = "trace-context")]
mod trace_context;
mod transport;

pub use rocketry_protocol::{
    Group, Language, Message, MessageExt, MessageQueue, NameError, NotARequest, Properties,
    RemotingCommand, RequestCode, ResponseCode, Topic,
    acl::Credentials,
    body::{
        access::{AclInfo, PolicyEntryInfo, PolicyInfo, UserInfo},
        groups::SubscriptionGroupConfig,
        heartbeat::{ConsumerConnection, ProducerConnection},
        route::{BrokerData, ClusterInfo, QueueData, TopicRouteData},
    },
    compress::Compression,
    properties::name as property,
};
#[cfg(feature = "tls")]
pub use rocketry_remoting::TlsConfig;
pub use rocketry_remoting::{Dial, DialFuture, Dialed, SocksProxy};

pub use admin::{
    Admin, Boundary, BrokerAddress, Brokers, CreatedTopic, GroupChange, GroupProgress, GroupUpdate,
    QueryOptions, QueryResult, QueueProgress, QueueStats, ResetTo, TopicChange, TopicOptions,
};
pub use client::Client;
pub use config::{AttemptBudget, ClientConfig, ProducerConfig};
pub use connect::Connect;
pub use error::{Attempt, Error, ErrorKind, Phase};
pub use name_server::NameServers;
pub use producer::{
    Answer, AttemptOutcome, AutoBatch, Avoided, AvoidedBecause, BodyForm, Decision, Detector,
    EndTransactionContext, EndTransactionHook, ForbiddenHook, HalfMessage, Histogram, IntoVerdict,
    LatencyPolicy, MessageType, MetricsExporter, OneWay, PlainBecause, Producer, ProducerBuilder,
    ProducerMetrics, QueueChoice, Reply, RouteOrigin, Selection, SendContext, SendEvent,
    SendFuture, SendHook, SendMode, SendObserver, SendOutcome, SendRequest, SendResult, SendStage,
    SendStatus, ShutdownReport, Ticket, TraceConfig, Transaction, TransactionResult, Unsent,
    Verdict, by_hash, by_machine_room, by_random, split_batch,
};
pub use reader::{Reader, ReaderBuilder, StartAt};
pub use rpc_hook::RpcHook;
#[cfg(feature = "trace-context")]
pub use trace_context::{TraceContext, TraceContextError, TraceParent};

/// What the operations of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
