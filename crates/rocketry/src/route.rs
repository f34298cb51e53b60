//! Routes: from a topic to its queues and brokers (pure), and the cache of them.
//!
//! A sender reads the cache and never waits for a refresh. Whoever misses joins the one query in flight for the topic, which a task
//! of its own carries out, so that a caller that gives up disturbs nobody. Java: `MQClientInstance.updateTopicRouteInfoFromNameServer`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use rocketry_protocol::{
    MessageQueue, RemotingCommand, RequestCode, ResponseCode, Topic,
    body::route::{ClusterInfo, TopicRouteData},
    header::GetRouteInfoRequest,
    topic,
};
use rocketry_remoting::Deadline;
use tokio::{
    sync::broadcast,
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;

use crate::{
    clock,
    error::{Error, ErrorKind},
    name_server::{NameServerClient, Unanswered},
    static_topic::{self, WriteQueue},
    transport::Transport,
};

/// Where messages of one topic can be sent. An immutable snapshot, apart from the round-robin position.
#[derive(Debug)]
pub(crate) struct PublishRoute {
    /// What selectors choose from.
    pub(crate) queues: Vec<MessageQueue>,
    /// The broker of each queue, at the same place.
    owners: Vec<Arc<Broker>>,
    /// The clusters that the brokers belong to: mostly one.
    pub(crate) clusters: Vec<Arc<str>>,
    /// Every broker of the route, with or without queues to write to.
    brokers: Vec<Arc<Broker>>,
    /// Whether queues of more than one broker can be written to.
    has_alternatives: bool,
    /// The topic does not exist yet: this is where its first message may go.
    auto_create: bool,
    /// Who told this route, and when.
    name_server: Arc<str>,
    told: Instant,
    /// Shared with the next snapshot if the queues stay the same.
    next: Arc<AtomicU32>,
}

impl PublishRoute {
    /// One step of the round robin; 0 for a route without queues. Java: `ThreadLocalIndex`, there one per thread.
    pub(crate) fn advance(&self) -> usize {
        let index = self.next.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff;
        (index as usize).checked_rem(self.queues.len()).unwrap_or(0)
    }

    /// The queue at a place, with its broker.
    pub(crate) fn queue(&self, index: usize) -> Option<(&MessageQueue, &Arc<Broker>)> {
        self.queues.get(index).zip(self.owners.get(index))
    }

    /// The broker that holds a queue; a queue that is not in the list is held by the broker that it names.
    pub(crate) fn owner(&self, queue: &MessageQueue) -> Option<&Arc<Broker>> {
        let known = self.brokers.iter();
        let named = known
            .chain(&self.owners)
            .find(|broker| broker.name == queue.broker_name);
        if named.is_none() && static_topic::is_logical(&queue.broker_name) {
            let place = self.queues.iter().position(|known| known == queue)?;
            return self.owners.get(place);
        }
        named
    }

    /// The broker that holds the queue at a place.
    pub(crate) fn owner_at(&self, index: usize) -> Option<&Arc<Broker>> {
        self.owners.get(index)
    }

    /// Name and address of that broker's master.
    pub(crate) fn master(&self, broker: &str) -> Option<(Arc<str>, Arc<str>)> {
        let broker = self.brokers.iter().find(|known| &*known.name == broker)?;
        Some((Arc::clone(&broker.name), broker.master()?))
    }

    /// Name and address of some broker, of its master if it has one.
    pub(crate) fn any_address(&self) -> Option<(Arc<str>, Arc<str>)> {
        let broker = fastrand::choice(&self.brokers)?;
        let address = broker.master().or_else(|| {
            let (_, slave) = fastrand::choice(broker.addresses().iter())?.clone();
            Some(slave)
        });
        Some((Arc::clone(&broker.name), address?))
    }

    /// Names of the brokers whose queues can be written to.
    pub(crate) fn owner_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.owners.iter().map(|o| Arc::clone(&o.name)).collect();
        names.dedup();
        names
    }

    /// The name server that told this route.
    pub(crate) fn name_server(&self) -> &str {
        &self.name_server
    }

    /// When it did.
    pub(crate) fn told(&self) -> Instant {
        self.told
    }

    /// Whether the topic's first message creates it.
    pub(crate) fn creates_topic(&self) -> bool {
        self.auto_create
    }

    /// Whether an attempt that fails leaves another broker to try.
    pub(crate) fn has_alternatives(&self) -> bool {
        self.has_alternatives
    }
}

/// A broker group: one name, a master and slaves. Shared by the routes of all topics, so that a new address is used by all at once.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) name: Arc<str>,
    addresses: ArcSwap<Vec<(i64, Arc<str>)>>,
}

impl Broker {
    /// The address of broker id 0. Java: `MQClientInstance.findBrokerAddressInPublish`.
    pub(crate) fn master(&self) -> Option<Arc<str>> {
        self.addresses
            .load()
            .iter()
            .find(|(id, _)| *id == MASTER_ID)
            .map(|(_, address)| Arc::clone(address))
    }
    /// All addresses by broker id.
    pub(crate) fn addresses(&self) -> Arc<Vec<(i64, Arc<str>)>> {
        self.addresses.load_full()
    }
}

const MASTER_ID: i64 = 0;
const PERM_WRITE: i32 = 2;
const PERM_READ: i32 = 4;

/// The queues to write to, in the order in which they are used.
///
/// Java: `MQClientInstance.topicRouteData2TopicPublishInfo`.
pub(crate) fn writable(route: &TopicRouteData) -> Vec<WriteQueue> {
    let order = route.order_topic_conf.as_deref();
    if let Some(order) = order.filter(|conf| !conf.is_empty()) {
        return order
            .split(';')
            .filter_map(|part| part.split_once(':'))
            .filter_map(|(broker, count)| Some((broker, count.trim().parse::<i32>().ok()?)))
            .flat_map(|(broker, count)| write_queues(broker, count))
            .collect();
    }
    if let Some(mappings) = &route.topic_queue_mapping_by_broker
        && !mappings.is_empty()
        && order.is_none()
    {
        return static_topic::logical_queues(mappings, MAX_QUEUES_PER_BROKER);
    }
    let mut datas: Vec<_> = route.queue_datas.iter().collect();
    datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
    datas
        .into_iter()
        .filter(|data| data.perm & PERM_WRITE != 0)
        .filter(|data| {
            route.broker_datas.iter().any(|broker| {
                broker.broker_name == data.broker_name
                    && broker.broker_addrs.contains_key(&MASTER_ID)
            })
        })
        .flat_map(|data| write_queues(&data.broker_name, data.write_queue_nums))
        .collect()
}

fn write_queues(broker: &str, count: i32) -> impl Iterator<Item = WriteQueue> {
    ids(broker.into(), count).map(|(broker, queue_id)| WriteQueue {
        broker_name: Arc::clone(&broker),
        queue_id,
        owner: broker,
    })
}

/// The queues to read from. Java: `MQClientInstance.topicRouteData2TopicSubscribeInfo`.
pub(crate) fn readable(route: &TopicRouteData) -> Vec<(Arc<str>, i32)> {
    let mut datas: Vec<_> = route.queue_datas.iter().collect();
    datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
    datas
        .into_iter()
        .filter(|data| data.perm & PERM_READ != 0)
        .flat_map(|data| ids(data.broker_name.as_str().into(), data.read_queue_nums))
        .collect()
}

/// A name server cannot make a client build lists without end.
const MAX_QUEUES_PER_BROKER: i32 = 65_536;

fn ids(broker: Arc<str>, count: i32) -> impl Iterator<Item = (Arc<str>, i32)> {
    (0..count.clamp(0, MAX_QUEUES_PER_BROKER)).map(move |id| (Arc::clone(&broker), id))
}

/// Makes the route of [`topic::AUTO_CREATE`] one of a topic that does not exist yet.
fn limit_queues(route: &mut TopicRouteData, topic_queues: i32) {
    for data in &mut route.queue_datas {
        let queues = topic_queues.min(data.read_queue_nums);
        data.read_queue_nums = queues;
        data.write_queue_nums = queues;
    }
}

/// Asks name servers for routes.
#[derive(Debug)]
pub(crate) struct RouteSource {
    pub(crate) transport: Arc<Transport>,
    pub(crate) name_servers: Arc<NameServerClient>,
    pub(crate) timeout: Duration,
}

/// Why there is no route. Shared by everyone who waited for it.
#[derive(Debug, Clone)]
pub(crate) enum RouteError {
    NoAnswer(Arc<Unanswered>),
    /// The topic does not exist, nor will a broker create it. `no_brokers`: the name servers, if they know no broker at all.
    Missing {
        no_brokers: Option<String>,
    },
    NotWritable,
    Refused {
        code: ResponseCode,
        remark: Option<String>,
    },
    Malformed(String),
    /// The caller's deadline came before any of these answered.
    TimedOut(String),
    /// The client was shut down meanwhile.
    Ended,
}

impl RouteError {
    /// The error of an operation that needs the route.
    pub(crate) fn into_error(self, action: String, topic: &str) -> Error {
        let error = match self {
            Self::NoAnswer(unanswered) => unanswered.to_error(action),
            Self::Missing { no_brokers } => {
                let (reason, hint) = if let Some(name_servers) = no_brokers {
                    (
                        format!("no broker is registered at the name server {name_servers}"),
                        "start a broker, or check that it registers at this name server".to_owned(),
                    )
                } else {
                    (
                        format!(
                            "topic {topic:?} does not exist, and the brokers do not create topics by themselves"
                        ),
                        format!("create it: rocketry topic create {topic}"),
                    )
                };
                Error::new(ErrorKind::TopicNotFound, action, reason).with_hint(hint)
            }
            Self::NotWritable => Error::new(
                ErrorKind::TopicNotWritable,
                action,
                format!("topic {topic:?} has no queue that can be written to"),
            )
            .with_hint("its brokers are read-only or have no master; see `rocketry topic route`"),
            Self::Refused { code, remark } => {
                let text = remark.as_deref().unwrap_or("no remark");
                Error::new(
                    ErrorKind::Refused,
                    action,
                    format!("the name server answered {code}: {text}"),
                )
                .with_answer(code, remark)
            }
            Self::Malformed(reason) => Error::new(
                ErrorKind::Protocol,
                action,
                format!("the name server's route cannot be read: {reason}"),
            ),
            Self::TimedOut(name_servers) => Error::new(
                ErrorKind::NameServerUnreachable,
                action,
                format!("the name server {name_servers} did not answer in time"),
            )
            .with_hint("allow more time, or check what runs at that address"),
            Self::Ended => Error::new(ErrorKind::Closed, action, "the client is shut down"),
        };
        error.with_topic(topic)
    }
}

impl RouteSource {
    /// The topic's route; `None` when no name server knows it.
    pub(crate) async fn query(
        &self,
        topic: &str,
        deadline: Deadline,
    ) -> Result<Option<TopicRouteData>, RouteError> {
        let reply = self
            .call(
                RemotingCommand::request(&GetRouteInfoRequest {
                    topic,
                    accept_standard_json_only: Some(true),
                }),
                deadline,
            )
            .await?;
        match reply.response_code() {
            ResponseCode::SUCCESS => rocketry_protocol::body::decode(&reply.body)
                .map(Some)
                .map_err(|error| RouteError::Malformed(error.to_string())),
            ResponseCode::TOPIC_NOT_EXIST => Ok(None),
            code => Err(RouteError::Refused {
                code,
                remark: reply.remark,
            }),
        }
    }

    /// A request to the name servers, failing over among them.
    pub(crate) async fn call(
        &self,
        command: RemotingCommand,
        deadline: Deadline,
    ) -> Result<RemotingCommand, RouteError> {
        self.name_servers
            .call(&self.transport, &command, deadline)
            .await
            .map_err(|unanswered| RouteError::NoAnswer(Arc::new(unanswered)))
    }

    /// The name servers, if they tell that no broker is registered.
    async fn without_brokers(&self, deadline: Deadline) -> Option<String> {
        let command = RemotingCommand::bare_request(RequestCode::GET_BROKER_CLUSTER_INFO);
        let reply = self.call(command, deadline).await.ok()?;
        let cluster: ClusterInfo = rocketry_protocol::body::decode(&reply.body).ok()?;
        cluster
            .broker_addr_table
            .is_empty()
            .then(|| self.name_servers.to_string())
    }
}

/// The routes of every topic that was sent to, and their brokers.
#[derive(Debug)]
pub(crate) struct Routes {
    source: RouteSource,
    tasks: TaskTracker,
    topics: RwLock<HashMap<Arc<str>, Arc<Entry>>>,
    /// In the order of their names: heartbeats go out in it.
    brokers: Mutex<BTreeMap<Arc<str>, Arc<Broker>>>,
    /// The fetch's task holds the sender: if it is gone, so is the fetch.
    in_flight: Mutex<HashMap<Arc<str>, broadcast::WeakSender<Fetched>>>,
}

#[derive(Debug)]
struct Entry {
    topic: Topic,
    route: ArcSwap<PublishRoute>,
    /// What keys of strict order are spread over: the queues of the first route that one was sent by, for good.
    layout: OnceLock<Arc<[MessageQueue]>>,
    fetched: Mutex<Instant>,
}

type Fetched = Result<Arc<PublishRoute>, RouteError>;

/// Least time between two refreshes of one topic that failed sends ask for.
pub(crate) const SUSPICION_PAUSE: Duration = Duration::from_millis(500);
/// Topics whose routes a refresh round asks for at a time.
const REFRESH_WIDTH: usize = 16;

impl Routes {
    pub(crate) fn new(source: RouteSource, tasks: TaskTracker) -> Self {
        Self {
            source,
            tasks,
            topics: RwLock::default(),
            brokers: Mutex::default(),
            in_flight: Mutex::default(),
        }
    }

    pub(crate) fn source(&self) -> &RouteSource {
        &self.source
    }

    /// The route to send by: from the cache, else from a name server. A topic that does not exist gets the queues that its first
    /// message would create, at most `topic_queues` per broker.
    pub(crate) async fn publish(
        self: &Arc<Self>,
        topic: &Topic,
        topic_queues: i32,
        deadline: Instant,
    ) -> Result<Arc<PublishRoute>, RouteError> {
        if let Some(route) = self.cached(topic.as_str())
            && !route.queues.is_empty()
        {
            return Ok(route);
        }
        let route = self
            .wait(self.fetch(topic, Some(topic_queues)), deadline)
            .await?;
        if route.queues.is_empty() {
            return Err(RouteError::NotWritable);
        }
        Ok(route)
    }

    /// Asks a name server now, or joins who does already. Keeps the cached route if there is no better one.
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        topic: &Topic,
        deadline: Instant,
    ) -> Result<Arc<PublishRoute>, RouteError> {
        self.wait(self.fetch(topic, None), deadline).await
    }

    /// Has the route refreshed in the background, because a send failed in a way that an outdated route explains.
    pub(crate) fn suspect(self: &Arc<Self>, topic: &Topic) {
        let entry = self.topics.read().get(topic.as_str()).cloned();
        if entry.is_some_and(|entry| {
            let now = clock::now();
            let mut fetched = entry.fetched.lock();
            let due = now.saturating_duration_since(*fetched) >= SUSPICION_PAUSE;
            if due {
                *fetched = now;
            }
            due
        }) {
            drop(self.fetch(topic, None));
        }
    }

    /// Refreshes every known topic, some at a time. A topic that fails does not hold up the others.
    pub(crate) async fn refresh_all(self: &Arc<Self>) {
        let mut topics: Vec<_> = self
            .topics
            .read()
            .values()
            .map(|entry| entry.topic.clone())
            .collect();
        topics.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        for some in topics.chunks(REFRESH_WIDTH) {
            let fetches: Vec<_> = some.iter().map(|topic| self.fetch(topic, None)).collect();
            for (topic, fetch) in some.iter().zip(fetches) {
                let until = clock::now() + self.source.timeout;
                if let Err(error) = self.wait(fetch, until).await {
                    tracing::debug!(%topic, ?error, "route not refreshed");
                }
            }
        }
    }

    /// Brokers that some route still names. Java: `MQClientInstance.cleanOfflineBroker`.
    pub(crate) fn brokers(&self) -> Vec<Arc<Broker>> {
        let mut brokers = self.brokers.lock();
        // routes hold their brokers; one that only this table holds is in no route any more
        brokers.retain(|_, broker| Arc::strong_count(broker) > 1);
        brokers.values().cloned().collect()
    }

    /// Some topic that was sent to.
    pub(crate) fn any_topic(&self) -> Option<Topic> {
        self.topics
            .read()
            .values()
            .next()
            .map(|entry| entry.topic.clone())
    }

    /// The address of that broker's master.
    pub(crate) fn master(&self, broker: &str) -> Option<Arc<str>> {
        self.brokers.lock().get(broker)?.master()
    }

    /// Age of the oldest route.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        let topics = self.topics.read();
        let oldest = topics.values().map(|entry| entry.route.load().told).min()?;
        Some(now.saturating_duration_since(oldest))
    }

    /// Whether this is a master's address in some route.
    pub(crate) fn is_master(&self, address: &str) -> bool {
        self.brokers
            .lock()
            .values()
            .any(|broker| broker.master().is_some_and(|master| &*master == address))
    }

    pub(crate) fn cached(&self, topic: &str) -> Option<Arc<PublishRoute>> {
        self.topics
            .read()
            .get(topic)
            .map(|entry| entry.route.load_full())
    }

    /// The queues that keys of strict order are spread over; `None` for a topic that does not exist yet. `route` is the topic's
    /// present one.
    pub(crate) fn layout(
        &self,
        route: &PublishRoute,
        topic: &Topic,
    ) -> Option<Arc<[MessageQueue]>> {
        if route.auto_create {
            // the first message decides which brokers have the topic
            return None;
        }
        let entry = self.topics.read().get(topic.as_str()).cloned()?;
        let layout = entry.layout.get_or_init(|| route.queues.as_slice().into());
        Some(Arc::clone(layout))
    }

    async fn wait(&self, mut fetch: broadcast::Receiver<Fetched>, deadline: Instant) -> Fetched {
        match timeout_at(deadline, fetch.recv()).await {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(_)) => Err(RouteError::Ended),
            Err(_) => Err(RouteError::TimedOut(self.source.name_servers.to_string())),
        }
    }

    fn fetch(
        self: &Arc<Self>,
        topic: &Topic,
        topic_queues: Option<i32>,
    ) -> broadcast::Receiver<Fetched> {
        let mut in_flight = self.in_flight.lock();
        if let Some(running) = in_flight
            .get(topic.as_str())
            .and_then(broadcast::WeakSender::upgrade)
        {
            return running.subscribe();
        }
        let (result, receiver) = broadcast::channel(1);
        // A query may have ended since the caller missed the cache: none can end now.
        if topic_queues.is_some()
            && let Some(route) = self.cached(topic.as_str())
            && !route.queues.is_empty()
        {
            // the receiver is right here
            let _ = result.send(Ok(route));
            return receiver;
        }
        in_flight.insert(Arc::clone(topic.as_arc()), result.downgrade());
        let (routes, topic) = (Arc::clone(self), topic.clone());
        self.tasks.spawn(async move {
            let fetched = routes.resolve(&topic, topic_queues).await;
            routes.in_flight.lock().remove(topic.as_str());
            // everyone may have given up by now
            let _ = result.send(fetched);
        });
        receiver
    }

    async fn resolve(&self, topic: &Topic, topic_queues: Option<i32>) -> Fetched {
        if topic_queues.is_some()
            && let Some(route) = self.cached(topic.as_str())
            && !route.queues.is_empty()
        {
            // Asked for because there was none; another query has ended since the look into the cache.
            return Ok(route);
        }
        let deadline = Deadline::after(self.source.timeout);
        if let Some(route) = self.source.query(topic.as_str(), deadline).await? {
            return Ok(self.install(topic, &route, false));
        }
        let missing = RouteError::Missing { no_brokers: None };
        let Some(topic_queues) = topic_queues else {
            // brokers may be on their way back: the last route is better than none
            return self.cached(topic.as_str()).ok_or(missing);
        };
        match self.source.query(topic::AUTO_CREATE, deadline).await? {
            Some(mut route) => {
                limit_queues(&mut route, topic_queues);
                Ok(self.install(topic, &route, true))
            }
            None => match self
                .cached(topic.as_str())
                .filter(|route| !route.auto_create)
            {
                Some(route) => Ok(route),
                None => Err(RouteError::Missing {
                    no_brokers: self.source.without_brokers(deadline).await,
                }),
            },
        }
    }

    fn install(
        &self,
        topic: &Topic,
        route: &TopicRouteData,
        auto_create: bool,
    ) -> Arc<PublishRoute> {
        let brokers: Vec<_> = route
            .broker_datas
            .iter()
            .map(|data| {
                let addresses = data
                    .broker_addrs
                    .iter()
                    .map(|(id, address)| (*id, address.as_str().into()))
                    .collect();
                self.broker(&data.broker_name, addresses)
            })
            .collect();
        let mut clusters: Vec<Arc<str>> = Vec::new();
        for data in &route.broker_datas {
            if !clusters.iter().any(|known| **known == *data.cluster) {
                clusters.push(data.cluster.as_str().into());
            }
        }
        let mut queues = Vec::new();
        let mut owners: Vec<Arc<Broker>> = Vec::new();
        for queue in writable(route) {
            // order configurations and mappings may name brokers that are not there: their queues wait for them
            let owner = match owners.last() {
                Some(last) if last.name == queue.owner => Arc::clone(last),
                _ => brokers
                    .iter()
                    .find(|broker| broker.name == queue.owner)
                    .cloned()
                    .unwrap_or_else(|| self.broker(&queue.owner, Vec::new())),
            };
            queues.push(MessageQueue {
                topic: topic.clone(),
                broker_name: if queue.broker_name == owner.name {
                    Arc::clone(&owner.name)
                } else {
                    queue.broker_name
                },
                queue_id: queue.queue_id,
            });
            owners.push(owner);
        }
        let has_alternatives = owners
            .first()
            .is_some_and(|first| owners.iter().any(|other| other.name != first.name));
        let mut topics = self.topics.write();
        let before = topics.get(topic.as_str());
        let next = match before.map(|entry| entry.route.load_full()) {
            Some(old) if old.queues == queues => Arc::clone(&old.next),
            _ => Arc::new(AtomicU32::new(fastrand::u32(..))),
        };
        let new = Arc::new(PublishRoute {
            queues,
            owners,
            clusters,
            brokers,
            has_alternatives,
            auto_create,
            name_server: self.source.name_servers.current(),
            told: clock::now(),
            next,
        });
        if let Some(entry) = before {
            entry.route.store(Arc::clone(&new));
            *entry.fetched.lock() = clock::now();
        } else {
            let entry = Entry {
                topic: topic.clone(),
                route: ArcSwap::new(Arc::clone(&new)),
                layout: OnceLock::new(),
                fetched: Mutex::new(clock::now()),
            };
            topics.insert(Arc::clone(topic.as_arc()), Arc::new(entry));
        }
        new
    }

    fn broker(&self, name: &str, addresses: Vec<(i64, Arc<str>)>) -> Arc<Broker> {
        let mut brokers = self.brokers.lock();
        if let Some(known) = brokers.get(name) {
            if **known.addresses.load() != addresses && !addresses.is_empty() {
                known.addresses.store(Arc::new(addresses));
            }
            return Arc::clone(known);
        }
        let broker = Arc::new(Broker {
            name: name.into(),
            addresses: ArcSwap::from_pointee(addresses),
        });
        brokers.insert(Arc::clone(&broker.name), Arc::clone(&broker));
        broker
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rocketry_protocol::body::route::{BrokerData, QueueData};

    use super::*;

    /// A route with these brokers and their numbers of write queues.
    pub(crate) fn route_of(topic: &str, brokers: &[(&str, i32)]) -> PublishRoute {
        let routes = routes();
        let topic = Topic::new(topic).unwrap();
        Arc::into_inner({
            let route = routes.install(&topic, &data(brokers), false);
            drop(routes);
            route
        })
        .unwrap()
    }

    fn routes() -> Routes {
        let source = RouteSource {
            transport: Arc::new(Transport::new(
                rocketry_remoting::Connections::new(
                    rocketry_remoting::ConnectOptions::default(),
                    Arc::new(rocketry_remoting::Unsupported),
                ),
                &crate::config::ClientConfig::default(),
            )),
            name_servers: Arc::new(NameServerClient::new(&"127.0.0.1:1".into())),
            timeout: Duration::from_secs(1),
        };
        Routes::new(source, TaskTracker::new())
    }

    fn data(brokers: &[(&str, i32)]) -> TopicRouteData {
        TopicRouteData {
            broker_datas: brokers.iter().map(|(name, _)| broker(name, &[0])).collect(),
            queue_datas: brokers
                .iter()
                .map(|(name, n)| queues(name, *n, 6))
                .collect(),
            ..TopicRouteData::default()
        }
    }
    fn broker(name: &str, broker_ids: &[i64]) -> BrokerData {
        BrokerData {
            broker_name: name.to_owned(),
            broker_addrs: broker_ids
                .iter()
                .map(|id| (*id, format!("{name}-{id}:10911")))
                .collect(),
            ..BrokerData::default()
        }
    }
    fn queues(name: &str, count: i32, perm: i32) -> QueueData {
        QueueData {
            broker_name: name.to_owned(),
            perm,
            read_queue_nums: count,
            write_queue_nums: count,
            ..QueueData::default()
        }
    }
    fn written(route: &TopicRouteData) -> Vec<(Arc<str>, i32)> {
        let queues = writable(route).into_iter();
        queues
            .map(|queue| (queue.broker_name, queue.queue_id))
            .collect()
    }
    fn names(queues: Vec<(Arc<str>, i32)>) -> Vec<String> {
        queues
            .into_iter()
            .map(|(broker, id)| format!("{broker}-{id}"))
            .collect()
    }

    /// P-038, P-039
    #[test]
    fn queues_are_those_of_writable_masters_by_broker_name_and_id() {
        let route = TopicRouteData {
            broker_datas: vec![
                broker("b", &[0, 1]),
                broker("a", &[0]),
                broker("slaves", &[1]),
                broker("read-only", &[0]),
            ],
            queue_datas: vec![
                queues("b", 2, 6),
                queues("a", 3, 6),
                queues("slaves", 4, 6),
                queues("read-only", 4, 4),
                queues("unlisted", 4, 6),
            ],
            ..TopicRouteData::default()
        };
        assert_eq!(names(written(&route)), ["a-0", "a-1", "a-2", "b-0", "b-1"]);
        assert_eq!(
            names(readable(&route)).len(),
            2 + 3 + 4 + 4 + 4,
            "reading needs no master"
        );
    }

    /// P-040
    #[test]
    fn an_order_configuration_wins_over_everything() {
        let mut route = data(&[("a", 3)]);
        route.order_topic_conf = Some("b-x:2;b-y:1".to_owned());
        assert_eq!(names(written(&route)), ["b-x-0", "b-x-1", "b-y-0"]);
        route.order_topic_conf = Some(String::new());
        assert_eq!(names(written(&route)), ["a-0", "a-1", "a-2"]);
        route.order_topic_conf = Some("nonsense;b:x;c:1".to_owned());
        assert_eq!(names(written(&route)), ["c-0"]);
    }

    #[test]
    fn a_hostile_route_does_not_make_a_list_without_end() {
        assert_eq!(writable(&data(&[("a", i32::MAX)])).len(), 65_536);
        assert!(writable(&data(&[("a", -5)])).is_empty());
    }

    /// P-041
    #[test]
    fn a_topic_to_be_created_gets_at_most_the_default_number_of_queues() {
        let mut route = data(&[("a", 8), ("b", 2)]);
        limit_queues(&mut route, 4);
        assert_eq!(writable(&route).len(), 4 + 2);
    }

    /// P-045
    #[test]
    fn a_refresh_keeps_the_round_robin_position_unless_queues_changed() {
        let routes = routes();
        let topic = Topic::new("T").unwrap();
        let first = routes.install(&topic, &data(&[("a", 4)]), false);
        let at = first.advance();
        let same = routes.install(&topic, &data(&[("a", 4)]), false);
        assert_eq!(same.advance(), (at + 1) % 4);
        let more = routes.install(&topic, &data(&[("a", 5)]), false);
        assert_eq!(more.queues.len(), 5);
        assert!(!Arc::ptr_eq(&more.next, &same.next));
    }

    /// P-048
    #[test]
    fn a_new_address_reaches_every_route_of_its_broker_at_once() {
        let routes = routes();
        let (t, u) = (Topic::new("T").unwrap(), Topic::new("U").unwrap());
        let of_t = routes.install(&t, &data(&[("a", 1)]), false);
        let mut moved = data(&[("a", 1)]);
        moved.broker_datas[0]
            .broker_addrs
            .insert(0, "elsewhere:1".to_owned());
        routes.install(&u, &moved, false);
        let master = of_t.owner_at(0).and_then(|broker| broker.master());
        assert_eq!(master.as_deref(), Some("elsewhere:1"));
        assert!(routes.is_master("elsewhere:1") && !routes.is_master("a-0:10911"));
    }

    #[test]
    fn a_broker_that_left_every_route_is_forgotten() {
        let routes = routes();
        let topic = Topic::new("T").unwrap();
        drop(routes.install(&topic, &data(&[("a", 1), ("b", 1)]), false));
        assert_eq!(routes.brokers().len(), 2);
        drop(routes.install(&topic, &data(&[("b", 1)]), false));
        let left = routes.brokers();
        assert_eq!(left.len(), 1);
        assert_eq!(&*left[0].name, "b");
    }
}
