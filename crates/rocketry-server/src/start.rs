//! A broker's parts: opening its data directory, starting its threads, and ending them in order.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;
use rocketry_protocol::{body::topics::perm, id::IdSource};
use rocketry_remoting::{ConnectOptions, Deadline};
use rocketry_store::{
    Arrival, FileSystem, Reader, RecoveryProgress, Store, StoreError, Timers, WriteError, Writer,
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    DataDir, FlushMode, ServerConfig, ServerError,
    access::{Accounts, Guard},
    admission::Admission,
    advertise::Advertised,
    background,
    broker::{Broker, Identity},
    clients::Clients,
    clock,
    filter::Expressions,
    flush::{self, FlushHandle},
    groups,
    hold::HoldLimits,
    metadata::{self, MetadataHandle},
    metrics::Latencies,
    name_server::{NameServer, Registration},
    names::SystemNames,
    offsets::Offsets,
    pop::{Pops, request_modes::RequestModes},
    processor::{
        pop,
        pull::{self, PullHolds},
        query, reply,
    },
    queue_locks::QueueLocks,
    rates::{self, Rates},
    registration::TopicChanges,
    schedule::ScheduleBell,
    stats::Stats,
    timer::{self, TimerBell},
    topics,
    transaction::Decisions,
    writer::{self, ArrivalSink, WriterHandle},
};

/// A broker whose threads and tasks run. It serves whoever holds its handles; dropping it closes the data directory.
#[derive(Debug)]
pub(crate) struct RunningBroker {
    pub(crate) broker: Arc<Broker>,
    threads: Option<Threads>,
    timer: Option<TimerThread>,
}

type TimerThread = JoinHandle<Result<(), WriteError>>;

#[derive(Debug)]
struct Threads {
    log: JoinHandle<Result<(), WriteError>>,
    metadata: JoinHandle<Result<(), StoreError>>,
    flush: JoinHandle<()>,
    stop_flush: FlushHandle,
}

/// What a broker shares with the rest of the process.
pub(crate) struct Surroundings {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) data_dir: PathBuf,
    pub(crate) advertised: Advertised,
    /// Where the broker's port listens.
    pub(crate) local: SocketAddr,
    /// The name server of this process.
    pub(crate) name_server: Option<Arc<NameServer>>,
    pub(crate) outbound: ConnectOptions,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) guard: Option<Arc<Guard>>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) stopping: Arc<AtomicBool>,
}

impl RunningBroker {
    /// Starts threads and tasks; when this returns, the broker takes messages. What it found damaged is added to `notes`.
    pub(crate) fn start(
        (disk, writer, reader, timers): Opened,
        around: Surroundings,
        notes: &mut Vec<String>,
    ) -> Result<Self, ServerError> {
        let now_ms = clock::wall_ms();
        let config = around.config;
        let identity = identity(&config, &around.advertised, around.local);
        let system = SystemNames::new(&config.cluster_name, &config.broker_name);
        let mut found = topics::limit_queues(&reader.metadata().topics, now_ms);
        found.extend(groups::limit_retry_queues(
            &reader.metadata().groups,
            now_ms,
        ));
        topics::add_predefined(
            &reader.metadata().topics,
            &system,
            config.auto_create_topics,
            config.default_topic_queues,
            now_ms,
        );
        groups::add_predefined(&reader.metadata().groups, now_ms);
        if let Some(name_server) = &around.name_server {
            register(name_server, &identity, &reader, now_ms);
        }
        let waiting = HoldLimits {
            requests: config.max_waiting_pulls,
            bytes: config.max_waiting_pull_bytes,
        };
        let (holds, woken) = PullHolds::new(waiting);
        let holds = Arc::new(holds);
        let (pops, woken_pops) = Pops::new(waiting);
        let pops = Arc::new(pops);
        let request_modes =
            RequestModes::open(&disk, &around.data_dir, &mut found).map_err(|source| {
                ServerError::Store {
                    dir: around.data_dir.clone(),
                    source,
                }
            })?;
        tell(&found);
        notes.append(&mut found);
        let arrivals = Arrivals {
            pulls: Arc::clone(&holds),
            pops: Arc::clone(&pops),
        };
        let rates = Rates::new(rates::ends_of(&reader, &system));
        let flusher = writer.flusher();
        let latencies = Arc::new(Latencies::default());
        let (log, metadata, threads) =
            spawn_threads(writer, &reader, &config, arrivals, &latencies)?;
        let broker = Arc::new(Broker {
            started_ms: now_ms,
            permission: AtomicI32::new(perm::READ | perm::WRITE),
            auto_create_groups: AtomicBool::new(config.auto_create_groups),
            flusher,
            offsets: Offsets::new(Arc::clone(reader.metadata())),
            metadata,
            reader,
            writer: log,
            holds,
            pops,
            request_modes,
            expressions: Expressions::default(),
            outbound: around.outbound,
            accounts: around.accounts,
            guard: around.guard,
            decisions: Arc::new(Decisions::default()),
            replies: Arc::new(Semaphore::new(reply::MAX_PUSHED_BYTES)),
            queries: Arc::new(Semaphore::new(query::MAX_QUERIES)),
            schedule: Arc::new(ScheduleBell::default()),
            timer: Arc::new(TimerBell::new(&timers)),
            clients: Mutex::new(Clients::default()),
            locks: Mutex::new(QueueLocks::default()),
            stats: Arc::new(Stats::new(now_ms)),
            rates,
            latencies,
            admission: around.admission,
            ids: IdSource::new(
                identity.store_host.ip(),
                std::process::id(),
                fastrand::u32(..),
            ),
            name_server: around.name_server,
            topic_changes: TopicChanges::new(config.name_servers.len()),
            tasks: around.tasks,
            stop: around.stop,
            stopping: around.stopping,
            config,
            identity,
            system,
            data_dir: around.data_dir,
        });
        background::spawn_broker(&broker, woken, woken_pops);
        // A failure stops what was started.
        let mut running = Self {
            broker,
            threads: Some(threads),
            timer: None,
        };
        let timer = timer::spawn(&running.broker, timers).map_err(|source| ServerError::Io {
            what: "a thread could not be started".to_owned(),
            source,
        })?;
        running.timer = Some(timer);
        Ok(running)
    }

    /// Parked pulls get the answer that there is nothing, rather than a lost connection.
    pub(crate) fn answer_held(&self) {
        for held in self.broker.holds.drain() {
            pull::release(&self.broker, held);
        }
        for held in self.broker.pops.polls.drain() {
            pop::release(held);
        }
    }

    /// The timer goes first: what it notes last must not say more than the log has. Then the log takes nothing more.
    pub(crate) async fn stop_writing(&mut self, deadline: Deadline) -> Result<(), Pending> {
        self.broker.timer.stop();
        if let Some(timer) = self.timer.take() {
            let joined = tokio::task::spawn_blocking(move || flushed(timer.join()));
            tokio::time::timeout_at(deadline.instant(), joined)
                .await
                .map_err(|_| "a timed message was being delivered")?
                .unwrap_or_default();
        }
        self.broker.writer.stop();
        Ok(())
    }

    /// Writes everything and closes the data directory. Call it when no task is left that may have something to note in it.
    pub(crate) async fn close(
        &mut self,
        deadline: Deadline,
    ) -> Result<Result<(), ServerError>, Pending> {
        self.broker.metadata.stop();
        let Some(threads) = self.threads.take() else {
            return Ok(Ok(()));
        };
        let dir = self.broker.data_dir.clone();
        let joined = tokio::task::spawn_blocking(move || threads.join(&dir));
        match tokio::time::timeout_at(deadline.instant(), joined).await {
            Ok(Ok(closed)) => Ok(closed),
            Ok(Err(_)) | Err(_) => Err("the data directory was being written"),
        }
    }
}

/// What had not ended when the time to stop was over.
pub(crate) type Pending = &'static str;

impl Drop for RunningBroker {
    fn drop(&mut self) {
        self.broker.stop.cancel();
        self.broker.timer.stop();
        if let Some(timer) = self.timer.take() {
            flushed(timer.join());
        }
        self.broker.writer.stop();
        self.broker.metadata.stop();
        if let Some(threads) = self.threads.take()
            && let Err(error) = threads.join(&self.broker.data_dir)
        {
            tracing::error!(%error, "the data directory was not closed");
        }
    }
}

/// What the timer did not note costs the next start time, and nobody a message.
fn flushed(timer: std::thread::Result<Result<(), WriteError>>) {
    match timer {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the timer was not written to the end"),
        Err(_) => tracing::error!("the timer's thread panicked"),
    }
}

impl Threads {
    /// Waits for all three; the two that have work left were told to end.
    fn join(self, dir: &Path) -> Result<(), ServerError> {
        self.stop_flush.stop();
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ServerError::CloseFailed {
            dir: dir.to_owned(),
            source,
        };
        let panicked = |_| failed("a thread of the server panicked".into());
        self.flush.join().map_err(panicked)?;
        let metadata = self.metadata.join().map_err(panicked)?;
        let log = self.log.join().map_err(panicked)?;
        log.map_err(|error| failed(error.into()))?;
        metadata.map_err(|error| failed(error.into()))
    }
}

/// The data directory: its disk, who appends, who reads, and what waits for its time.
pub(crate) type Opened = (Arc<dyn FileSystem>, Writer, Reader, Timers);

/// Opens the store away from the runtime's threads: a recovery reads files. What it repaired is added to `notes`.
pub(crate) async fn open_store(
    disk: Arc<dyn FileSystem>,
    dir: PathBuf,
    config: &ServerConfig,
    notes: &mut Vec<String>,
) -> Result<Opened, ServerError> {
    let options = config.store_options();
    let timer_options = config.timer_options();
    let opening = tokio::task::spawn_blocking(move || {
        let now_ms = clock::wall_ms();
        let mut told_ms = now_ms;
        let mut progress = |progress: RecoveryProgress| {
            let now_ms = clock::wall_ms();
            if now_ms - told_ms >= 1000 {
                told_ms = now_ms;
                tracing::warn!(
                    "still opening the data directory: {}, {} of at most {} MiB",
                    progress.stage,
                    progress.log_offset >> 20,
                    progress.files_end >> 20
                );
            }
        };
        let opened =
            Store::open_watched_on(Arc::clone(&disk), &dir, options, now_ms, &mut progress)
                .and_then(|(writer, reader, recovery)| {
                    let (timers, note) = Timers::open(&reader, timer_options, now_ms)?;
                    let mut notes = recovery.notes;
                    notes.extend(note);
                    Ok((writer, reader, timers, notes))
                });
        (disk, dir, opened)
    });
    let (disk, dir, opened) = opening.await.map_err(|error| ServerError::Io {
        what: "the data directory could not be opened".to_owned(),
        source: io::Error::other(error),
    })?;
    let (writer, reader, timers, mut found) = opened.map_err(|source| match source {
        StoreError::InUse { .. }
        | StoreError::NotAStore { .. }
        | StoreError::NotADirectory { .. } => ServerError::DataDirUnusable { dir, source },
        source => ServerError::Store { dir, source },
    })?;
    tell(&found);
    notes.append(&mut found);
    Ok((disk, writer, reader, timers))
}

/// Logs what was found damaged: at once, as the start may still fail.
pub(crate) fn tell(notes: &[String]) {
    for note in notes {
        tracing::warn!("{note}");
    }
}

/// Who the broker is, to clients and in every message.
fn identity(config: &ServerConfig, advertised: &Advertised, local: SocketAddr) -> Identity {
    let store_host = SocketAddr::new(advertised.ip, advertised.broker_port(local.port()));
    let ha_host = SocketAddr::new(store_host.ip(), store_host.port().wrapping_add(1));
    Identity {
        cluster: config.cluster_name.clone(),
        broker_name: config.broker_name.clone(),
        addr: advertised.broker_addr(local.port()),
        store_host,
        ha_addr: ha_host.to_string(),
    }
}

/// The name server of this process does not learn of the broker over the wire, and it never forgets it.
fn register(name_server: &NameServer, identity: &Identity, reader: &Reader, now_ms: i64) {
    let topics = reader.metadata().topics.snapshot();
    let registration = Registration {
        cluster: &identity.cluster,
        broker_name: &identity.broker_name,
        broker_addr: &identity.addr,
        broker_id: 0,
        ha_server_addr: &identity.ha_addr,
        enable_acting_master: false,
        zone_name: None,
        heartbeat_timeout_ms: None,
        data_version: topics.data_version,
        connection_id: None,
    };
    let registered =
        name_server.register(&registration, topics.topic_config_table.values(), now_ms);
    debug_assert!(registered.is_ok(), "every broker has more than one topic");
}

/// Everybody who waits for messages.
struct Arrivals {
    pulls: Arc<PullHolds>,
    pops: Arc<Pops>,
}

impl ArrivalSink for Arrivals {
    fn arrived(&self, arrival: &Arrival<'_>) {
        self.pulls.arrived(arrival);
        self.pops.arrived(arrival);
    }
}

fn spawn_threads(
    writer: Writer,
    reader: &Reader,
    config: &ServerConfig,
    arrivals: Arrivals,
    latencies: &Arc<Latencies>,
) -> Result<(WriterHandle, MetadataHandle, Threads), ServerError> {
    let failed = |source| ServerError::Io {
        what: "a thread could not be started".to_owned(),
        source,
    };
    let flusher = writer.flusher();
    let is_temporary = config.data_dir == DataDir::Temp;
    let log = flusher.clone();
    let sync_log = move || {
        if is_temporary {
            return Ok(());
        }
        log.sync_all_so_far()
    };
    let most = metadata::Room {
        puts: config.max_waiting_sends,
        bytes: config.max_waiting_send_bytes,
    };
    let (metadata, metadata_thread) =
        metadata::spawn(Arc::clone(reader.metadata()), sync_log, most).map_err(failed)?;
    let stop_metadata = |error| {
        metadata.stop();
        failed(error)
    };
    let sync_log = config.flush == FlushMode::Async;
    let retention = config.retention.clone();
    let (stop_flush, flush) = flush::spawn(
        flusher,
        config.flush_interval,
        sync_log,
        retention,
        Arc::clone(latencies),
    )
    .map_err(stop_metadata)?;
    let (log, log_thread) = writer::spawn(
        writer,
        is_temporary,
        config.max_waiting_sends,
        config.max_waiting_send_bytes,
        Arc::new(arrivals),
        Arc::clone(latencies),
    )
    .map_err(|error| {
        stop_flush.stop();
        stop_metadata(error)
    })?;
    let threads = Threads {
        log: log_thread,
        metadata: metadata_thread,
        flush,
        stop_flush,
    };
    Ok((log, metadata, threads))
}
