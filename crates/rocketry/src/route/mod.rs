//! Routes: the cache of what name servers tell about topics.
//!
//! A sender reads the cache and never waits for a refresh. Whoever misses joins the one query in flight for the topic, which a task
//! of its own carries out, so that a caller that gives up disturbs nobody. Java: `MQClientInstance.updateTopicRouteInfoFromNameServer`.

mod publish;
mod source;

pub(crate) use publish::{Broker, PublishRoute, readable, writable};
pub(crate) use source::{RouteError, RouteSource};

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use rocketry_protocol::{MessageQueue, Topic, body::route::TopicRouteData, topic};
use rocketry_remoting::Deadline;
use tokio::{
    sync::broadcast,
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;

use self::publish::{PlaceOfQueue, Places, limit_queues};
use crate::clock;

/// The routes of every topic that was sent to, and their brokers.
#[derive(Debug)]
pub(crate) struct Routes {
    source: RouteSource,
    tasks: TaskTracker,
    topics: RwLock<HashMap<Arc<str>, Arc<Entry>>>,
    /// In the order of their names: heartbeats go out in it.
    brokers: Mutex<BTreeMap<Arc<str>, Arc<Broker>>>,
    /// What routes share, the latest last, at most [`KNOWN_PLACES`].
    places: Mutex<VecDeque<Weak<Places>>>,
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
/// How many different places of queues are compared with those of a new route. Mostly all topics of a cluster have a few of them.
const KNOWN_PLACES: usize = 16;
/// Topics whose routes a refresh round asks for at a time.
const REFRESH_WIDTH: usize = 16;

impl Routes {
    pub(crate) fn new(source: RouteSource, tasks: TaskTracker) -> Self {
        Self {
            source,
            tasks,
            topics: RwLock::default(),
            brokers: Mutex::default(),
            places: Mutex::default(),
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
            && !route.is_empty()
        {
            return Ok(route);
        }
        let route = self
            .wait(self.fetch(topic, Some(topic_queues)), deadline)
            .await?;
        if route.is_empty() {
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
            .map(|entry| &entry.topic)
            // any will do, but a seed has to give the same
            .min_by_key(|topic| topic.as_str())
            .cloned()
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
        let layout = entry.layout.get_or_init(|| route.queues().into());
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
            && !route.is_empty()
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
            && !route.is_empty()
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
        let mut queues: Vec<PlaceOfQueue> = Vec::new();
        for queue in writable(route) {
            // order configurations and mappings may name brokers that are not there: their queues wait for them
            let owner = match queues.last() {
                Some(last) if last.owner.name == queue.owner => Arc::clone(&last.owner),
                _ => brokers
                    .iter()
                    .find(|broker| broker.name == queue.owner)
                    .cloned()
                    .unwrap_or_else(|| self.broker(&queue.owner, Vec::new())),
            };
            queues.push(PlaceOfQueue {
                broker_name: if queue.broker_name == owner.name {
                    Arc::clone(&owner.name)
                } else {
                    queue.broker_name
                },
                queue_id: queue.queue_id,
                owner,
            });
        }
        let has_alternatives = queues.first().is_some_and(|first| {
            let first = &first.owner.name;
            queues.iter().any(|other| other.owner.name != *first)
        });
        let places = self.shared_places(Places {
            queues,
            clusters,
            brokers,
            has_alternatives,
        });
        let mut topics = self.topics.write();
        let before = topics.get(topic.as_str());
        let next = match before.map(|entry| entry.route.load_full()) {
            Some(old) if old.places.has_same_queues(&places) => old.next.load(Ordering::Relaxed),
            _ => fastrand::u32(..),
        };
        let new = Arc::new(PublishRoute {
            topic: topic.clone(),
            places,
            next: AtomicU32::new(next),
            auto_create,
            name_server: self.source.name_servers.current(),
            told: clock::now(),
            queues: OnceLock::new(),
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

    /// Those that another route has, if they are the same.
    fn shared_places(&self, places: Places) -> Arc<Places> {
        let mut known = self.places.lock();
        known.retain(|known| known.strong_count() > 0);
        let mut live = known.iter().rev().filter_map(Weak::upgrade);
        if let Some(same) = live.find(|known| known.is_same(&places)) {
            return same;
        }
        drop(live);
        let places = Arc::new(places);
        if known.len() == KNOWN_PLACES {
            known.pop_front();
        }
        known.push_back(Arc::downgrade(&places));
        places
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
    use crate::{name_server::NameServerClient, transport::Transport};

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
        assert_eq!(more.len(), 5);
        let far = |a: &PublishRoute, b: &PublishRoute| {
            let at = |route: &PublishRoute| route.next.load(Ordering::Relaxed);
            at(a).abs_diff(at(b)) > 1
        };
        // begins somewhere else: by chance it might not
        assert!((0..3).any(|_| {
            let four = routes.install(&topic, &data(&[("a", 4)]), false);
            far(&four, &routes.install(&topic, &data(&[("a", 5)]), false))
        }));
    }

    #[test]
    fn topics_on_the_same_brokers_share_their_places() {
        let routes = routes();
        let install = |topic: &str, brokers: &[(&str, i32)]| {
            routes.install(&Topic::new(topic).unwrap(), &data(brokers), false)
        };
        let (t, u) = (install("T", &[("a", 4)]), install("U", &[("a", 4)]));
        assert!(Arc::ptr_eq(&t.places, &u.places));
        assert_eq!(u.queues().len(), 4);
        assert!(u.queues().iter().all(|queue| queue.topic.as_str() == "U"));
        for other in [&[("a", 5)][..], &[("b", 4)], &[("a", 4), ("b", 0)]] {
            assert!(!Arc::ptr_eq(&install("V", other).places, &t.places));
        }
        for n in 0..2 * KNOWN_PLACES {
            let queues = 10 + i32::try_from(n).unwrap();
            drop(install(&format!("W{n}"), &[("a", queues)]));
        }
        assert_eq!(routes.places.lock().len(), KNOWN_PLACES);
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
