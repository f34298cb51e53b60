//! [`Client`]: one identity towards one cluster. Connections, routes and background tasks, as an explicit value.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rocketry_protocol::{
    Group, RemotingCommand, RequestCode, Topic,
    body::heartbeat::{HeartbeatData, ProducerData},
    header::{HeartbeatRequest, UnregisterClientRequest},
    id::IdSource,
    topic,
};
use rocketry_remoting::{
    ConnectOptions, Connection, Connections, Deadline, Handler, LogLimit, Responder,
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::Admin,
    clock::{self, MonthClock},
    config::ClientConfig,
    connect::Connect,
    error::{Error, ErrorKind},
    introduce::Introductions,
    name_server::{NameServerClient, NameServers},
    namespace::Namespace,
    producer::{self, Producer, ProducerBuilder, ShutdownReport},
    reader::ReaderBuilder,
    replies::Replies,
    route::{RouteSource, Routes},
    rpc_hook::RpcHooks,
    suspect::Suspects,
    transport::Transport,
};

/// Connections, routes and background tasks towards one cluster. Cloning is cheap and shares all of it.
///
/// A process may have several, of the same or of different clusters; they share nothing. When the last clone and everything made
/// from it are dropped, tasks end and sockets close; [`Client::shutdown`] does so in order, and waits for it.
#[derive(Clone, Debug)]
pub struct Client {
    core: Arc<Core>,
    /// Ends the background tasks, which hold `core` themselves.
    _owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner(CancellationToken);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Client {
    /// Prepares a client for the cluster of these name servers: `Client::connect("127.0.0.1:9876").await?`.
    ///
    /// Connections are made when they are needed: a name server that is down is reported by the first operation that asks it.
    pub fn connect(name_servers: impl Into<NameServers>) -> Connect {
        Connect::new(name_servers.into())
    }

    /// `ip@instance[@unit][@STREAM]`: how brokers know this client. Java: `ClientConfig.buildMQClientId`.
    pub fn client_id(&self) -> &str {
        &self.core.client_id
    }
    /// Requests of any kind, to brokers and name servers, that wait for an answer now.
    pub fn calls_in_flight(&self) -> usize {
        self.core.transport.in_flight()
    }
    /// A producer of `group`, to be configured and awaited: `client.producer("orders").await?`. One per group and client.
    pub fn producer(&self, group: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(self.clone(), group.into())
    }
    /// A reader of all queues of `topic`, to be configured and awaited.
    pub fn reader(&self, topic: impl Into<String>) -> ReaderBuilder {
        ReaderBuilder::new(self.clone(), topic.into())
    }
    /// Topics, offsets, messages and the cluster.
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// Shuts every producer down (waiting for what is in flight until `deadline` has passed), ends all tasks and closes all connections.
    ///
    /// Clones of this client, and what was made from them, fail from then on. A second call reports nothing and does nothing.
    /// Dropping the future leaves the rest to another call.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        // all at once: one that waits for its sends must not use up the time of the next, nor leave it open meanwhile
        let producers = self.core.live_producers().into_iter();
        let ending: Vec<_> = producers
            .map(|shared| {
                shared.closed.store(true, Ordering::Release);
                let producer = Producer::from_shared(shared);
                self.core
                    .tasks
                    .spawn(async move { producer.shutdown(deadline).await })
            })
            .collect();
        for ended in ending {
            if let Ok(ended) = ended.await {
                report.unsent.extend(ended.unsent);
            }
        }
        self.core.stop.cancel();
        self.core.transport.close_all().await;
        self.core.tasks.close();
        self.core.tasks.wait().await;
        report
    }

    /// Starts the background tasks.
    pub(crate) fn start(
        config: ClientConfig,
        options: ConnectOptions,
        rpc_hooks: RpcHooks,
        name_servers: NameServerClient,
        ip: IpAddr,
    ) -> Self {
        let core = Core::new(config, options, rpc_hooks, name_servers, ip);
        let owner = Owner(core.stop.clone());
        if core.name_servers.is_looked_up() {
            core.tasks.spawn(look_up_name_servers(Arc::clone(&core)));
        }
        core.tasks.spawn(refresh_routes(Arc::clone(&core)));
        core.tasks.spawn(heartbeat(Arc::clone(&core)));
        Self {
            core,
            _owner: Arc::new(owner),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

/// What everything of one client shares.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: ClientConfig,
    pub(crate) namespace: Namespace,
    client_id: Arc<str>,
    pub(crate) transport: Arc<Transport>,
    pub(crate) name_servers: Arc<NameServerClient>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) suspects: Arc<Suspects>,
    pub(crate) ids: IdSource,
    pub(crate) month: MonthClock,
    /// Responses that nobody waited for any more.
    pub(crate) late_responses: AtomicU64,
    producers: Mutex<BTreeMap<Arc<str>, Weak<producer::Shared>>>,
    /// Replies that requests wait for.
    pub(crate) replies: Arc<Replies>,
    /// Clusters whose brokers know this client.
    pub(crate) introductions: Introductions,
    /// Where sends go on that nobody awaits.
    pub(crate) runtime: tokio::runtime::Handle,
    /// Every task of this client.
    pub(crate) tasks: TaskTracker,
    /// Ends them.
    pub(crate) stop: CancellationToken,
}

impl Core {
    fn new(
        config: ClientConfig,
        options: ConnectOptions,
        rpc_hooks: RpcHooks,
        name_servers: NameServerClient,
        ip: IpAddr,
    ) -> Arc<Self> {
        let process_id = std::process::id();
        let instance = config
            .instance_name
            .clone()
            .unwrap_or_else(|| format!("{process_id}#{}", unique_number()));
        let unit = config
            .unit_name
            .as_deref()
            .map(|unit| format!("@{unit}"))
            .unwrap_or_default();
        let stream = if config.stream_requests {
            "@STREAM"
        } else {
            ""
        };
        let host = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Arc::new_cyclic(|core: &Weak<Self>| {
            let connections = Connections::new(options, Arc::new(FromBrokers(Weak::clone(core))));
            let transport = Arc::new(Transport::new(connections, &config).with_hooks(rpc_hooks));
            let name_servers = Arc::new(name_servers);
            let tasks = TaskTracker::new();
            let stop = CancellationToken::new();
            let source = RouteSource {
                transport: Arc::clone(&transport),
                name_servers: Arc::clone(&name_servers),
                timeout: config.api_timeout,
            };
            let routes = Arc::new(Routes::new(source, tasks.clone()));
            let suspects = Suspects::new(
                Arc::clone(&transport),
                Arc::clone(&routes),
                tasks.clone(),
                stop.clone(),
            );
            Self {
                client_id: format!("{host}@{instance}{unit}{stream}").into(),
                transport,
                name_servers,
                routes,
                // two clients of a process have the same address and process id: the seed tells their ids apart
                ids: IdSource::new(ip, process_id, fastrand::u32(..)),
                month: MonthClock::new(),
                producers: Mutex::default(),
                late_responses: AtomicU64::new(0),
                replies: Arc::default(),
                introductions: Introductions::default(),
                runtime: tokio::runtime::Handle::current(),
                tasks,
                stop,
                suspects: Arc::new(suspects),
                namespace: Namespace::new(config.namespace.as_deref()),
                config,
            }
        })
    }

    /// Takes a producer into heartbeats. Java: `MQClientInstance.registerProducer`.
    pub(crate) fn register(self: &Arc<Self>, shared: &Arc<producer::Shared>) -> Result<(), Error> {
        if self.stop.is_cancelled() {
            return Err(Error::new(
                ErrorKind::Closed,
                "start the producer",
                "the client is shut down",
            ));
        }
        let group = shared.encode.group().as_arc();
        let mut producers = self.producers.lock();
        if producers.get(group).and_then(Weak::upgrade).is_some() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "start the producer",
                format!("the group {group:?} has been created before in this client"),
            )
            .with_hint("clone the producer, or use another group or client"));
        }
        producers.insert(Arc::clone(group), Arc::downgrade(shared));
        drop(producers);
        // brokers that are connected already learn of the group now, not at the next round
        let core = Arc::clone(self);
        self.tasks.spawn(async move { core.heartbeat().await });
        Ok(())
    }

    /// Takes a group out of every broker, masters and slaves, until `until`. Java: `MQClientInstance.unregisterClient`.
    pub(crate) async fn unregister(self: &Arc<Self>, group: &Group, until: Instant) {
        self.producers.lock().remove(group.as_arc());
        let mut leaving = tokio::task::JoinSet::new();
        // a broker that is there answers in no time; past the deadline it still hears of it
        let until = until.max(clock::now() + LEAVE_GRACE);
        let deadline = Deadline::at(until).earlier(Deadline::after(self.config.api_timeout));
        for broker in self.routes.brokers() {
            for (_, address) in broker.addresses().iter() {
                let (core, group, address) = (Arc::clone(self), group.clone(), Arc::clone(address));
                leaving.spawn(async move {
                    let request = RemotingCommand::request(&UnregisterClientRequest {
                        client_id: &core.client_id,
                        producer_group: Some(group.as_str()),
                        consumer_group: None,
                        broker_name: None,
                    });
                    if let Err(error) = core.transport.call(&address, request, deadline).await {
                        tracing::debug!(%error, "not unregistered");
                    }
                });
            }
        }
        leaving.join_all().await;
    }

    /// The producer of that group, if it is still used.
    pub(crate) fn live_producer(&self, group: &str) -> Option<Arc<producer::Shared>> {
        self.producers.lock().get(group)?.upgrade()
    }

    fn live_producers(&self) -> Vec<Arc<producer::Shared>> {
        self.producers
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Waits for `period`; false when the client ends meanwhile.
    async fn pause(&self, period: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(period) => true,
        }
    }

    /// Tells every known master of this client's groups. A client without consumers spares the slaves.
    ///
    /// Java: `MQClientInstance.sendHeartbeatToAllBrokerWithLock`.
    pub(crate) async fn heartbeat(&self) {
        let producers = self.live_producers();
        if producers.iter().any(|producer| producer.checks.is_some()) {
            self.find_half_messages().await;
        }
        let mut beats = tokio::task::JoinSet::new();
        let deadline = Deadline::after(self.config.api_timeout);
        let brokers = self.routes.brokers();
        for producer in producers {
            producer
                .faults
                .retain(|name| brokers.iter().any(|broker| &*broker.name == name));
        }
        let Some(request) = self.heartbeat_request() else {
            return;
        };
        for broker in brokers {
            let Some(address) = broker.master() else {
                continue;
            };
            let request = request.clone();
            let transport = Arc::clone(&self.transport);
            beats.spawn(async move {
                match transport.call(&address, request, deadline).await {
                    Ok(reply) if reply.code == 0 => {}
                    // again with every heartbeat to every broker
                    Ok(reply) => {
                        static LIMIT: LogLimit = LogLimit::new();
                        if let Some(held_back) = LIMIT.pass() {
                            tracing::warn!(%address, code = reply.code, remark = reply.remark, held_back, "heartbeat refused");
                        }
                    }
                    Err(error) => tracing::debug!(%error, "no heartbeat"),
                }
            });
        }
        beats.join_all().await;
    }

    /// Learns of all brokers that keep half messages: they may have questions from before this process, and ask those only who send
    /// heartbeats. Java: the route of `TBW102` that every producer keeps, `DefaultMQProducerImpl.start`.
    async fn find_half_messages(&self) {
        let until = clock::now() + self.config.api_timeout;
        // the second one for brokers that do not tell name servers of their half topic
        for name in [topic::HALF, topic::AUTO_CREATE] {
            if self.routes.cached(name).is_none()
                && let Ok(topic) = Topic::new(name)
                && let Err(error) = self.routes.refresh(&topic, until).await
            {
                tracing::debug!(name, ?error, "no route");
            }
        }
    }

    /// `None` without groups: there is nothing to tell.
    fn heartbeat_request(&self) -> Option<RemotingCommand> {
        let mut producers = self.producers.lock();
        producers.retain(|_, producer| producer.strong_count() > 0);
        let groups: Vec<_> = producers
            .keys()
            .map(|group| ProducerData {
                group_name: group.to_string(),
            })
            .collect();
        drop(producers);
        if groups.is_empty() {
            return None;
        }
        let body = rocketry_protocol::body::encode(&HeartbeatData {
            client_id: self.client_id.to_string(),
            producer_data_set: groups,
            ..HeartbeatData::default()
        })
        .ok()?;
        Some(RemotingCommand::request(&HeartbeatRequest {}).with_body(body))
    }
}

/// Least time that a leave-taking may take.
const LEAVE_GRACE: Duration = Duration::from_millis(200);

/// The background tasks: each runs once per period until the client ends.
async fn refresh_routes(core: Arc<Core>) {
    while core.pause(core.config.route_refresh).await {
        core.routes.refresh_all().await;
    }
}

async fn look_up_name_servers(core: Arc<Core>) {
    loop {
        let mut period = core.config.lookup_interval;
        if core.name_servers.is_empty() {
            period = period.min(LOOKUP_AGAIN);
        }
        if !core.pause(period).await {
            return;
        }
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            () = core.name_servers.look_up() => {}
        }
    }
}

/// Time between two lookups while no name server is known.
const LOOKUP_AGAIN: Duration = Duration::from_secs(10);

async fn heartbeat(core: Arc<Core>) {
    while core.pause(core.config.heartbeat).await {
        core.heartbeat().await;
    }
}

/// Requests that arrive from brokers, and the news of a connection.
struct FromBrokers(Weak<Core>);

impl Handler for FromBrokers {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        match request.request_code() {
            // speaks of consumers only; one-way
            RequestCode::NOTIFY_CONSUMER_IDS_CHANGED => {}
            RequestCode::CHECK_TRANSACTION_STATE => {
                if let Some(core) = self.0.upgrade() {
                    let address = responder.connection().info().name();
                    producer::check_transaction(&core, request, address);
                }
            }
            RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT => {
                if let Some(core) = self.0.upgrade() {
                    responder.respond(core.replies.push(request, clock::wall_ms()));
                }
            }
            _ => responder.unsupported(&request),
        }
    }

    fn unmatched(&self, responses: u64) {
        if let Some(core) = self.0.upgrade() {
            core.late_responses.fetch_add(responses, Ordering::Relaxed);
        }
    }

    /// A broker forgets clients with their connections.
    fn closed(&self, connection: &Connection) {
        let Some(core) = self.0.upgrade() else { return };
        if core.routes.is_master(connection.info().name()) {
            core.introductions.forget();
        }
    }

    /// A broker learns of the producers as soon as it is connected: it can only call back on connections that it knows.
    ///
    /// Java: `NettyRemotingClient` channel listener, `MQClientInstance.sendHeartbeatToBroker`.
    fn opened(&self, connection: &Connection) {
        let Some(core) = self.0.upgrade() else { return };
        if !core.routes.is_master(connection.info().name()) {
            return;
        }
        let Some(request) = core.heartbeat_request() else {
            return;
        };
        let connection = connection.clone();
        let deadline = Deadline::after(core.config.api_timeout);
        let transport = Arc::clone(&core.transport);
        core.tasks.spawn(async move {
            if let Err(error) = transport.call_on(&connection, request, deadline).await {
                tracing::debug!(%error, "no heartbeat");
            }
        });
    }
}

/// A number that no other client of this process has, nor one of an earlier process with the same id.
fn unique_number() -> i64 {
    static CLIENTS: AtomicU32 = AtomicU32::new(0);
    // Java: System.nanoTime()
    clock::wall_nanos().wrapping_add(i64::from(CLIENTS.fetch_add(1, Ordering::Relaxed)))
}
