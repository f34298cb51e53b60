//! The broker's parts, as handles that processors and background tasks share. No behaviour of its own.

use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
};

use parking_lot::Mutex;
use rocketry_protocol::{
    body::{Queue, topics::perm},
    id::IdSource,
};
use rocketry_remoting::{ConnectOptions, Connection};
use rocketry_store::{
    Flusher, Reader,
    metadata::{Groups, Topics},
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ServerConfig,
    access::{Accounts, Guard},
    admission::Admission,
    clients::Clients,
    filter::Expressions,
    metadata::MetadataHandle,
    metrics::Latencies,
    name_server::NameServer,
    names::SystemNames,
    offsets::Offsets,
    pop::{Pops, request_modes::RequestModes},
    processor::pull::PullHolds,
    queue_locks::QueueLocks,
    rates::Rates,
    registration::TopicChanges,
    schedule::ScheduleBell,
    stats::Stats,
    timer::TimerBell,
    transaction::Decisions,
    writer::WriterHandle,
};

/// Who this broker is, to clients, to name servers and in stored messages.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) cluster: String,
    pub(crate) broker_name: String,
    /// `host:port` that clients are told.
    pub(crate) addr: String,
    /// The same, as it is stored in every message.
    pub(crate) store_host: SocketAddr,
    /// What Java brokers would replicate from; advertised, not listened on.
    pub(crate) ha_addr: String,
}

/// All handles.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) identity: Identity,
    pub(crate) system: SystemNames,
    pub(crate) data_dir: PathBuf,
    pub(crate) started_ms: i64,
    /// perm bits of the broker as a whole. Java: `brokerPermission`.
    pub(crate) permission: AtomicI32,
    /// Whether a consumer creates its group.
    pub(crate) auto_create_groups: AtomicBool,
    /// Removes old messages when asked for.
    pub(crate) flusher: Flusher,

    pub(crate) offsets: Offsets,
    pub(crate) metadata: MetadataHandle,

    pub(crate) reader: Reader,
    pub(crate) writer: WriterHandle,
    pub(crate) holds: Arc<PullHolds>,
    pub(crate) pops: Arc<Pops>,
    /// Which groups pop.
    pub(crate) request_modes: RequestModes,
    /// The SQL92 filters of consumers.
    pub(crate) expressions: Expressions,

    /// How name servers elsewhere are connected to.
    pub(crate) outbound: ConnectOptions,
    /// Users, managed over the wire.
    pub(crate) accounts: Arc<Accounts>,
    /// Lets requests in; `None`: all of them.
    pub(crate) guard: Option<Arc<Guard>>,

    /// Transactions that are being decided.
    pub(crate) decisions: Arc<Decisions>,
    /// Bytes of replies that may still set out to their clients.
    pub(crate) replies: Arc<Semaphore>,
    /// Queries by key that may still begin.
    pub(crate) queries: Arc<Semaphore>,
    /// Rung when a delayed message came to wait.
    pub(crate) schedule: Arc<ScheduleBell>,
    /// Rung when a timed message came to wait.
    pub(crate) timer: Arc<TimerBell>,

    pub(crate) clients: Mutex<Clients<Connection>>,
    pub(crate) locks: Mutex<QueueLocks<Queue>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) rates: Rates,
    pub(crate) latencies: Arc<Latencies>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) ids: IdSource,

    /// The name server of this process; `None` when the broker registers elsewhere.
    pub(crate) name_server: Option<Arc<NameServer>>,
    /// For the registration with name servers elsewhere.
    pub(crate) topic_changes: TopicChanges,
    /// Tasks that requests start; they end with `stop`.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) stopping: Arc<AtomicBool>,
}

impl Broker {
    /// Runs what a request started beside the connection's task, until it ends or the server stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// As [`Broker::spawn`], but not cut off by a stop: for what notes several things that belong together. It may wait for puts only,
    /// which end with the writer.
    pub(crate) fn spawn_to_the_end(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Age in ms at which the producer of a half message is asked.
    pub(crate) fn transaction_timeout_ms(&self) -> i64 {
        i64::try_from(self.config.transaction_timeout.as_millis()).unwrap_or(i64::MAX)
    }

    /// perm of a topic as routes have it: no more than the broker permits. Java: `TopicConfigManager.buildSerializeWrapper`.
    pub(crate) fn permitted(&self, perm: i32) -> i32 {
        const ALL: i32 = perm::READ | perm::WRITE;
        match self.permission.load(Ordering::Relaxed) & ALL {
            ALL => perm,
            bits => perm & bits,
        }
    }

    /// The topics of the store.
    pub(crate) fn topics(&self) -> &Topics {
        &self.reader.metadata().topics
    }

    /// The consumer groups of the store.
    pub(crate) fn groups(&self) -> &Groups {
        &self.reader.metadata().groups
    }
}
