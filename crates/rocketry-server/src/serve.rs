//! Starting and stopping a server.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rocketry_remoting::{Deadline, Listener, Port};
use rocketry_store::{FileSystem, fs::RealFileSystem};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    DataDir, MadeUser, ServerConfig, ServerError,
    access::{self, Accounts, Guard},
    admission::Admission,
    advertise::{self, Advertised, AsTheyCame},
    background,
    dispatch::{BrokerPort, NameServerPort},
    kv_config::KvConfig,
    metrics::{Endpoint, Sources},
    name_server::NameServer,
    start::{RunningBroker, Surroundings, open_store, tell},
};

/// Connections that the system may hold ready to be accepted, as in Java.
const BACKLOG: u32 = 1024;

/// How far the port for sends alone is below the broker's. Java: `BrokerController.initializeRemotingServer`.
const FAST_PORT_BELOW: u16 = 2;

/// A running name server, broker, or both in one.
///
/// [`Server::shutdown`] stops it in order. Dropping it does so as well, without waiting for clients: what was acknowledged is written
/// and the data directory is closed. The drop waits for the disk, some milliseconds.
#[derive(Debug)]
pub struct Server {
    /// Dropped before the listeners: what it answers at its end still reaches the clients.
    broker: Option<RunningBroker>,
    listeners: Vec<Listener>,
    advertised: Advertised,
    namesrv_addr: String,
    /// Of this process's name server.
    namesrv_local: Option<SocketAddr>,
    metrics_addr: Option<SocketAddr>,
    data_dir: PathBuf,
    stop: CancellationToken,
    tasks: TaskTracker,
    stopping: Arc<AtomicBool>,
    first_user: Option<MadeUser>,
    notes: Vec<String>,
    /// Removed with the server.
    _temp: Option<TempDir>,
}

impl Server {
    /// Starts a server. When this returns it accepts messages, or routes in the role of a name server alone.
    ///
    /// Ports are taken and the data directory is locked before anything is written. A broker does not wait for name servers that run
    /// elsewhere: it goes on trying to register with each of them, and logs while one does not answer. Must be called on a Tokio
    /// runtime with time and network enabled.
    ///
    /// # Errors
    /// Every way a start can fail: [`ServerError::Config`], [`ServerError::PortInUse`], [`ServerError::Listen`],
    /// [`ServerError::DataDirUnusable`], [`ServerError::Store`], [`ServerError::Io`].
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        Self::start_on(Arc::new(RealFileSystem), config).await
    }

    /// [`Server::start`] with the data directory on another disk: how a full or failing one is tested.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_on(
        disk: Arc<dyn FileSystem>,
        config: ServerConfig,
    ) -> Result<Self, ServerError> {
        let options = config.listener_options()?;
        let load = options.connection.load.clone().unwrap_or_default();
        let admission = Arc::new(Admission::new(&config, load));
        let outbound = config.connect_options()?;
        let broker_port = config
            .role
            .is_broker()
            .then(|| take_port("broker", config.host, config.broker_port))
            .transpose()?;
        let namesrv_port = config
            .role
            .is_name_server()
            .then(|| take_port("name server", config.host, config.namesrv_port))
            .transpose()?;
        let fast_port = take_fast_port(&config);
        let metrics_port = match config.metrics_port {
            Some(port) => Some(take_metrics_port(config.metrics_host, port).await?),
            None => None,
        };
        let advertised = advertise::choose(config.advertise.as_ref(), config.host).await;
        let (data_dir, temp) = directory(&config.data_dir)?;
        let mut notes = Vec::new();
        let opened = match broker_port {
            Some(_) => {
                let (disk, dir) = (Arc::clone(&disk), data_dir.clone());
                Some(open_store(disk, dir, &config, &mut notes).await?)
            }
            None => None,
        };

        let config = Arc::new(config);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let stopping = Arc::new(AtomicBool::new(false));
        let name_server = namesrv_port
            .as_ref()
            .map(|_| Arc::new(NameServer::default()));
        let kv = match namesrv_port {
            Some(_) => Some(Arc::new(open_kv(&disk, &data_dir, &mut notes)?)),
            None => None,
        };
        let (accounts, guard, first_user) = open_access(&data_dir, &config)?;
        let broker_local = broker_port.as_ref().map(Port::local_addr);
        let broker = match (opened, broker_local) {
            (Some(opened), Some(local)) => Some(RunningBroker::start(
                opened,
                Surroundings {
                    config: Arc::clone(&config),
                    data_dir: data_dir.clone(),
                    advertised: advertised.clone(),
                    local,
                    name_server: name_server.clone(),
                    outbound,
                    accounts: Arc::clone(&accounts),
                    guard: guard.clone(),
                    admission: Arc::clone(&admission),
                    tasks: tasks.clone(),
                    stop: stop.clone(),
                    stopping: Arc::clone(&stopping),
                },
                &mut notes,
            )?),
            _ => None,
        };

        let mut listeners = Vec::new();
        let mut counts = Vec::new();
        if let (Some(port), Some(running)) = (broker_port, &broker) {
            let ports = [
                ("broker", Some(port), false),
                ("broker_fast", fast_port, true),
            ];
            for (name, port, is_fast) in ports {
                let Some(port) = port else { continue };
                let broker = Arc::clone(&running.broker);
                let handler = Arc::new(BrokerPort { broker, is_fast });
                let listener = port.serve(options.clone(), handler);
                counts.push((name, listener.counts()));
                listeners.push(listener);
            }
        }
        let namesrv_local = namesrv_port.as_ref().map(Port::local_addr);
        if let (Some(port), Some(kv), Some(tables)) = (namesrv_port, kv, name_server.clone()) {
            background::spawn_name_server(&tasks, &stop, Arc::clone(&tables));
            let own = broker.as_ref().filter(|_| advertised.as_they_came);
            let handler = NameServerPort {
                tables,
                kv,
                accounts,
                guard,
                admission: Arc::clone(&admission),
                own: own.map(|own| AsTheyCame::new(&own.broker.identity)),
                with_order: AtomicBool::new(config.order_message_enable),
                port: port.local_addr().port(),
                tasks: tasks.clone(),
                stopping: Arc::clone(&stopping),
            };
            let listener = port.serve(options, Arc::new(handler));
            counts.push(("namesrv", listener.counts()));
            listeners.push(listener);
        }
        let metrics_addr = metrics_port.as_ref().map(|(_, addr)| *addr);
        if let Some((listener, _)) = metrics_port {
            let sources = Sources {
                config: Arc::clone(&config),
                broker: broker.as_ref().map(|running| Arc::clone(&running.broker)),
                name_server,
                admission,
                listeners: counts,
            };
            Endpoint::spawn(sources, listener, &tasks, stop.clone());
        }
        let own = namesrv_local.map(|local| advertised.namesrv_addr(local.port()));
        let all: Vec<_> = own.iter().chain(&config.name_servers).cloned().collect();
        let server = Self {
            broker,
            listeners,
            advertised,
            namesrv_addr: all.join(";"),
            namesrv_local,
            metrics_addr,
            data_dir,
            stop,
            tasks,
            stopping,
            first_user,
            notes,
            _temp: temp,
        };
        server.log_start(&config);
        Ok(server)
    }

    fn log_start(&self, config: &ServerConfig) {
        tracing::info!(
            role = ?config.role,
            broker = self.broker_addr(),
            name_server = self.namesrv_addr,
            data_dir = %self.data_dir.display(),
            advertised_because = self.advertised.reason,
            "server started"
        );
        if let Some(warning) = &self.advertised.warning {
            tracing::warn!("{warning}");
        }
    }

    /// Starts a server for tests: free ports on loopback, a temporary directory that is gone when the server is dropped.
    ///
    /// Any number may run at once, in one process or many.
    ///
    /// ```
    /// use rocketry_server::Server;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::start_temp().await?;
    /// let client = rocketry::Client::connect(server.namesrv_addr()).await?;
    /// let producer = client.producer("orders").await?;
    /// let sent = producer.send(rocketry::Message::new("Orders", "o-1")).await?;
    /// assert_eq!(sent.queue_offset, 0);
    /// # producer.shutdown(std::time::Duration::from_secs(3)).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_temp() -> Result<Self, ServerError> {
        Self::start(ServerConfig::temp()).await
    }

    #[cfg(test)]
    pub(crate) const fn running_broker(&self) -> Option<&RunningBroker> {
        self.broker.as_ref()
    }

    /// Address of the name server, `host:port`: what clients are given. With name servers elsewhere, theirs as well, separated by `;`.
    pub fn namesrv_addr(&self) -> &str {
        &self.namesrv_addr
    }

    /// Address that this process's name server listens on; `None` in the role of a broker alone.
    pub fn namesrv_listens_on(&self) -> Option<SocketAddr> {
        self.namesrv_local
    }

    /// Address of the broker, `host:port`, as routes have it; empty in the role of a name server alone.
    pub fn broker_addr(&self) -> &str {
        self.broker
            .as_ref()
            .map_or("", |running| &running.broker.identity.addr)
    }

    /// Why clients are told this address and no other: a sentence without its end.
    pub fn advertised_because(&self) -> &str {
        &self.advertised.reason
    }

    /// Who will probably not be able to connect to that address.
    pub fn advertise_warning(&self) -> Option<&str> {
        self.advertised.warning.as_deref()
    }

    /// The super user that was made at this start, if [`crate::ServerConfig::access`] asked for one that was not there.
    pub fn first_user(&self) -> Option<&MadeUser> {
        self.first_user.as_ref()
    }

    /// What this start found damaged or missing in the data directory, and what it made of it, each for a person to read; the log has it as
    /// well. Empty ordinarily.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Where the Prometheus endpoint listens, if there is one.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
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
        if let Some(running) = &mut self.broker {
            running.answer_held();
            running.stop_writing(deadline).await.map_err(late)?;
        }
        // Before the files: a task may have the last thing to note in them.
        self.tasks.close();
        tokio::time::timeout_at(deadline.instant(), self.tasks.wait())
            .await
            .map_err(|_| late("background tasks were running"))?;
        if let Some(running) = &mut self.broker {
            running.close(deadline).await.map_err(late)??;
        }
        // Only now: the answers to what was under way are in the connections' queues.
        for listener in &self.listeners {
            listener.shutdown(deadline).await;
        }
        tracing::info!(
            broker = self.broker_addr(),
            name_server = self.namesrv_addr,
            "server stopped"
        );
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.cancel();
        self.tasks.close();
    }
}

fn take_port(role: &'static str, host: IpAddr, port: u16) -> Result<Port, ServerError> {
    let addr = SocketAddr::new(host, port);
    Port::bind(addr, BACKLOG).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServerError::PortInUse { role, addr },
        _ => ServerError::Listen { role, addr, source },
    })
}

/// The port beside the broker's. Without it the server is as useful to all clients but those that are told to use it.
fn take_fast_port(config: &ServerConfig) -> Option<Port> {
    let port = config.broker_port.checked_sub(FAST_PORT_BELOW)?;
    if !config.fast_port || !config.role.is_broker() || port == 0 {
        return None;
    }
    match take_port("broker, for sends alone", config.host, port) {
        Ok(port) => Some(port),
        Err(error) => {
            tracing::warn!(%error, "producers with the VIP channel switched on cannot send to this broker");
            None
        }
    }
}

async fn take_metrics_port(
    host: IpAddr,
    port: u16,
) -> Result<(TcpListener, SocketAddr), ServerError> {
    let (role, addr) = ("metrics endpoint", SocketAddr::new(host, port));
    let listen = async {
        let listener = TcpListener::bind(addr).await?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    listen
        .await
        .map_err(|source: io::Error| match source.kind() {
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

type Access = (Arc<Accounts>, Option<Arc<Guard>>, Option<MadeUser>);

/// The users, and who asks for them at the ports. Users can be managed before they are asked for.
fn open_access(data_dir: &Path, config: &ServerConfig) -> Result<Access, ServerError> {
    let accounts = Accounts::open(data_dir).map_err(|source| ServerError::Io {
        what: "the users cannot be read: repair the file, or move it away to start without users"
            .to_owned(),
        source,
    })?;
    let accounts = Arc::new(accounts);
    let Some(options) = &config.access else {
        return Ok((accounts, None, None));
    };
    let first_user = access::add_first_user(&accounts, options, data_dir).map_err(|fault| {
        ServerError::Config {
            faults: vec![format!("access: {fault}")],
        }
    })?;
    let guard = Guard::new(
        Arc::clone(&accounts),
        options.clone(),
        config.cluster_name.clone(),
    );
    Ok((accounts, Some(Arc::new(guard)), first_user))
}

fn open_kv(
    disk: &Arc<dyn FileSystem>,
    data_dir: &Path,
    notes: &mut Vec<String>,
) -> Result<KvConfig, ServerError> {
    let mut found = Vec::new();
    let kv = KvConfig::open(disk, &data_dir.join("namesrv"), &mut found).map_err(|source| {
        ServerError::Store {
            dir: data_dir.to_owned(),
            source,
        }
    })?;
    tell(&found);
    notes.append(&mut found);
    Ok(kv)
}
