//! Starting and stopping a server.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;
use rocketry_protocol::{body::topics::perm, id::IdSource};
use rocketry_remoting::{Deadline, Listener, ListenerOptions, Port};
use rocketry_store::{
    Arrival, Reader, RecoveryProgress, Store, StoreError, StoreOptions, Timers, WriteError, Writer,
};
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    DataDir, FlushMode, ServerConfig, ServerError, background,
    broker::{Broker, Identity},
    clients::Clients,
    clock,
    dispatch::{BrokerPort, NameServerPort},
    filter::Expressions,
    flush::{self, FlushHandle},
    groups,
    kv_config::KvConfig,
    metadata::{self, MetadataHandle},
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
    schedule::ScheduleBell,
    stats::Stats,
    timer::{self, TimerBell},
    topics,
    transaction::Decisions,
    writer::{self, ArrivalSink, WriterHandle},
};

/// Connections that the system may hold ready to be accepted, as in Java.
const BACKLOG: u32 = 1024;

/// A running name server and broker.
///
/// [`Server::shutdown`] stops it in order. Dropping it does so as well, without waiting for clients: what was acknowledged is written
/// and the data directory is closed. The drop waits for the disk, some milliseconds.
#[derive(Debug)]
pub struct Server {
    broker: Arc<Broker>,
    namesrv_addr: String,
    /// Of this process's name server.
    namesrv_local: Option<SocketAddr>,
    listeners: Vec<Listener>,
    stop: CancellationToken,
    tasks: TaskTracker,
    stopping: Arc<AtomicBool>,
    threads: Option<Threads>,
    timer: Option<TimerThread>,
    /// Removed with the server.
    _temp: Option<TempDir>,
}

type TimerThread = JoinHandle<Result<(), WriteError>>;

#[derive(Debug)]
struct Threads {
    log: JoinHandle<Result<(), WriteError>>,
    metadata: JoinHandle<Result<(), StoreError>>,
    flush: JoinHandle<()>,
    stop_flush: FlushHandle,
}

impl Server {
    /// Starts a server. When this returns it accepts messages.
    ///
    /// Ports are taken and the data directory is locked before anything is written. Must be called on a Tokio runtime with time and
    /// network enabled.
    ///
    /// # Errors
    /// Every way a start can fail: [`ServerError::Config`], [`ServerError::PortInUse`], [`ServerError::Listen`],
    /// [`ServerError::DataDirUnusable`], [`ServerError::Store`], [`ServerError::Io`].
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let ports = config.listener_options()?;
        let broker_port = take_port("broker", config.host, config.broker_port)?;
        let namesrv_port = if config.name_servers.is_empty() {
            Some(take_port("name server", config.host, config.namesrv_port)?)
        } else {
            None
        };
        let (data_dir, temp) = directory(&config.data_dir)?;
        let opened = open_store(data_dir.clone(), &config).await?;
        start_with(
            config,
            ports,
            broker_port,
            namesrv_port,
            data_dir,
            temp,
            opened,
        )
    }

    /// Starts a server for tests: free ports on loopback, a temporary directory that is gone when the server is dropped.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_temp() -> Result<Self, ServerError> {
        Self::start(ServerConfig::temp()).await
    }

    /// Address of the name server, `host:port`: what clients are given. With name servers elsewhere, theirs, separated by `;`.
    pub fn namesrv_addr(&self) -> &str {
        &self.namesrv_addr
    }

    /// Address that this process's name server listens on; `None` when the broker registers elsewhere.
    pub fn namesrv_listens_on(&self) -> Option<SocketAddr> {
        self.namesrv_local
    }

    /// Address of the broker, `host:port`, as routes have it.
    pub fn broker_addr(&self) -> &str {
        &self.broker.identity.addr
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.broker.data_dir
    }

    /// Stops in order: leaves the name servers, answers what is under way, closes the connections, writes everything and closes the
    /// data directory. Waits at most `timeout` for all of it.
    ///
    /// # Errors
    /// [`ServerError::ShutdownTimeout`], or [`ServerError::CloseFailed`] when the last write failed: the next start recovers.
    pub async fn shutdown(mut self, timeout: Duration) -> Result<(), ServerError> {
        let deadline = Deadline::after(timeout);
        let late = |pending| ServerError::ShutdownTimeout {
            waited: timeout,
            pending,
        };
        self.stopping.store(true, Ordering::Release);
        for listener in &self.listeners {
            listener.stop_accepting().await;
        }
        self.stop.cancel();
        self.answer_held();
        // The timer goes first: what it notes last must not say more than the log has.
        self.broker.timer.stop();
        if let Some(timer) = self.timer.take() {
            let joined = tokio::task::spawn_blocking(move || flushed(timer.join()));
            tokio::time::timeout_at(deadline.instant(), joined)
                .await
                .map_err(|_| late("a timed message was being delivered"))?
                .unwrap_or_default();
        }
        self.broker.writer.stop();
        // Before the files: a task may have the last thing to note in them.
        self.tasks.close();
        tokio::time::timeout_at(deadline.instant(), self.tasks.wait())
            .await
            .map_err(|_| late("background tasks were running"))?;
        self.broker.metadata.stop();
        if let Some(threads) = self.threads.take() {
            let dir = self.broker.data_dir.clone();
            let joined = tokio::task::spawn_blocking(move || threads.join(&dir));
            match tokio::time::timeout_at(deadline.instant(), joined).await {
                Ok(Ok(closed)) => closed?,
                Ok(Err(_)) | Err(_) => return Err(late("the data directory was being written")),
            }
        }
        // Only now: the answers to what was under way are in the connections' queues.
        for listener in &self.listeners {
            listener.shutdown(deadline).await;
        }
        tracing::info!(broker = self.broker.identity.addr, "server stopped");
        Ok(())
    }

    /// Parked pulls get the answer that there is nothing, rather than a lost connection.
    fn answer_held(&self) {
        for held in self.broker.holds.drain() {
            pull::release(&self.broker, held);
        }
        for held in self.broker.pops.polls.drain() {
            pop::release(held);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.cancel();
        self.tasks.close();
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

fn take_port(role: &'static str, host: IpAddr, port: u16) -> Result<Port, ServerError> {
    let addr = SocketAddr::new(host, port);
    Port::bind(addr, BACKLOG).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServerError::PortInUse { role, addr },
        _ => ServerError::Listen { role, addr, source },
    })
}

fn directory(data_dir: &DataDir) -> Result<(PathBuf, Option<TempDir>), ServerError> {
    match data_dir {
        DataDir::Path(path) => Ok((path.clone(), None)),
        DataDir::Temp => {
            let temp = tempfile::Builder::new()
                .prefix("rocketry-")
                .tempdir()
                .map_err(|source| ServerError::Io {
                    what: "no temporary directory could be made".to_owned(),
                    source,
                })?;
            Ok((temp.path().to_owned(), Some(temp)))
        }
    }
}

/// The data directory: who appends, who reads, and what waits for its time.
type Opened = (Writer, Reader, Timers);

/// Opens the store away from the runtime's threads: a recovery reads files.
async fn open_store(dir: PathBuf, config: &ServerConfig) -> Result<Opened, ServerError> {
    let options = StoreOptions {
        flush: match config.flush {
            FlushMode::Async => rocketry_store::FlushMode::Async,
            FlushMode::Sync => rocketry_store::FlushMode::Sync,
        },
        max_message_bytes: config.max_message_bytes,
        ..StoreOptions::default()
    };
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
        let opened = Store::open_watched(&dir, options, now_ms, &mut progress).and_then(
            |(writer, reader, recovery)| {
                let (timers, note) = Timers::open(&reader, timer_options, now_ms)?;
                let mut notes = recovery.notes;
                notes.extend(note);
                Ok((writer, reader, timers, notes))
            },
        );
        (dir, opened)
    });
    let (dir, opened) = opening.await.map_err(|error| ServerError::Io {
        what: "the data directory could not be opened".to_owned(),
        source: io::Error::other(error),
    })?;
    let (writer, reader, timers, notes) = opened.map_err(|source| match source {
        StoreError::InUse { .. }
        | StoreError::NotAStore { .. }
        | StoreError::NotADirectory { .. } => ServerError::DataDirUnusable { dir, source },
        source => ServerError::Store { dir, source },
    })?;
    for note in &notes {
        tracing::warn!("{note}");
    }
    Ok((writer, reader, timers))
}

fn start_with(
    config: ServerConfig,
    ports: ListenerOptions,
    broker_port: Port,
    namesrv_port: Option<Port>,
    data_dir: PathBuf,
    temp: Option<TempDir>,
    (writer, reader, timers): Opened,
) -> Result<Server, ServerError> {
    let now_ms = clock::wall_ms();
    let config = Arc::new(config);
    let identity = identity(&config, broker_port.local_addr());
    let system = SystemNames::new(&config.cluster_name, &config.broker_name);
    topics::add_predefined(
        &reader.metadata().topics,
        &system,
        config.auto_create_topics,
        config.default_topic_queues,
        now_ms,
    );
    groups::add_predefined(&reader.metadata().groups, now_ms);

    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let stopping = Arc::new(AtomicBool::new(false));
    let name_server = match namesrv_port {
        Some(port) => Some(NameServerStart {
            kv: Arc::new(open_kv(&data_dir)?),
            tables: own_name_server(&identity, &reader, now_ms),
            port,
        }),
        None => None,
    };
    let (holds, woken) = PullHolds::new(config.max_waiting_pulls);
    let holds = Arc::new(holds);
    let (pops, woken_pops) = Pops::new(config.max_waiting_pulls);
    let pops = Arc::new(pops);
    let request_modes = RequestModes::open(&data_dir).map_err(|source| ServerError::Io {
        what: "config/messageRequestMode.json cannot be read".to_owned(),
        source,
    })?;
    let arrivals = Arrivals {
        pulls: Arc::clone(&holds),
        pops: Arc::clone(&pops),
    };
    let flusher = writer.flusher();
    let (log, metadata, threads) = spawn_threads(writer, &reader, &config, arrivals)?;
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
        decisions: Arc::new(Decisions::default()),
        replies: Arc::new(Semaphore::new(reply::MAX_PUSHED_BYTES)),
        queries: Arc::new(Semaphore::new(query::MAX_QUERIES)),
        schedule: Arc::new(ScheduleBell::default()),
        timer: Arc::new(TimerBell::new(&timers)),
        clients: Mutex::new(Clients::default()),
        locks: Mutex::new(QueueLocks::default()),
        stats: Arc::new(Stats::new(now_ms)),
        ids: IdSource::new(
            identity.store_host.ip(),
            std::process::id(),
            fastrand::u32(..),
        ),
        name_server: name_server.as_ref().map(|ns| Arc::clone(&ns.tables)),
        topics_changed: Arc::new(Notify::new()),
        tasks: tasks.clone(),
        stop: stop.clone(),
        stopping: Arc::clone(&stopping),
        config: Arc::clone(&config),
        identity,
        system,
        data_dir,
    });
    background::spawn_broker(&tasks, &stop, &broker, woken, woken_pops);

    let mut listeners =
        vec![broker_port.serve(ports.clone(), Arc::new(BrokerPort(Arc::clone(&broker))))];
    let mut namesrv_local = None;
    let mut namesrv_addr = config.name_servers.join(";");
    if let Some(NameServerStart { port, kv, tables }) = name_server {
        background::spawn_name_server(&tasks, &stop, Arc::clone(&tables));
        let local = port.local_addr();
        namesrv_local = Some(local);
        namesrv_addr = SocketAddr::new(reachable_ip(&config, local.ip()), local.port()).to_string();
        let handler = NameServerPort {
            tables,
            kv,
            with_order: AtomicBool::new(config.order_message_enable),
            port: local.port(),
            tasks: tasks.clone(),
            stopping: Arc::clone(&stopping),
        };
        listeners.push(port.serve(ports, Arc::new(handler)));
    }
    tracing::info!(
        broker = broker.identity.addr,
        name_server = namesrv_addr,
        data_dir = %broker.data_dir.display(),
        "server started"
    );
    let mut server = Server {
        broker,
        namesrv_addr,
        namesrv_local,
        listeners,
        stop,
        tasks,
        stopping,
        threads: Some(threads),
        timer: None,
        _temp: temp,
    };
    // A failure stops what was started.
    let timer = timer::spawn(&server.broker, timers).map_err(|source| ServerError::Io {
        what: "a thread could not be started".to_owned(),
        source,
    })?;
    server.timer = Some(timer);
    Ok(server)
}

/// What the name server needs before it is served.
struct NameServerStart {
    port: Port,
    tables: Arc<NameServer>,
    kv: Arc<KvConfig>,
}

/// The address that clients are told, and that is stored in every message.
fn identity(config: &ServerConfig, local: SocketAddr) -> Identity {
    let port = match config.advertise {
        Some(advertise) if advertise.port() != 0 => advertise.port(),
        _ => local.port(),
    };
    let store_host = SocketAddr::new(reachable_ip(config, local.ip()), port);
    let ha_host = SocketAddr::new(store_host.ip(), port.wrapping_add(1));
    Identity {
        cluster: config.cluster_name.clone(),
        broker_name: config.broker_name.clone(),
        addr: store_host.to_string(),
        store_host,
        ha_addr: ha_host.to_string(),
    }
}

fn reachable_ip(config: &ServerConfig, local: IpAddr) -> IpAddr {
    config.advertise.map_or(local, |advertise| advertise.ip())
}

fn open_kv(data_dir: &Path) -> Result<KvConfig, ServerError> {
    let file = data_dir.join("namesrv").join("kvConfig.json");
    KvConfig::open(file.clone()).map_err(|source| ServerError::Io {
        what: format!(
            "{} cannot be read: repair it, or move it away to start without its values",
            file.display()
        ),
        source,
    })
}

/// A name server that knows the broker of this process. It does not learn of it over the wire, and it never forgets it.
fn own_name_server(identity: &Identity, reader: &Reader, now_ms: i64) -> Arc<NameServer> {
    let name_server = Arc::new(NameServer::default());
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
    name_server
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
) -> Result<(WriterHandle, MetadataHandle, Threads), ServerError> {
    let failed = |source| ServerError::Io {
        what: "a thread could not be started".to_owned(),
        source,
    };
    let flusher = writer.flusher();
    let (metadata, metadata_thread) =
        metadata::spawn(Arc::clone(reader.metadata())).map_err(failed)?;
    let stop_metadata = |error| {
        metadata.stop();
        failed(error)
    };
    let sync_log = config.flush == FlushMode::Async;
    let retention = config.retention.clone();
    let (stop_flush, flush) =
        flush::spawn(flusher, config.flush_interval, sync_log, retention).map_err(stop_metadata)?;
    let (log, log_thread) = writer::spawn(
        writer,
        config.max_waiting_sends,
        config.max_waiting_send_bytes,
        Arc::new(arrivals),
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
