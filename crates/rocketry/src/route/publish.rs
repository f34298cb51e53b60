//! From a route to its queues and brokers. Nothing here waits or asks.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use arc_swap::ArcSwap;
use rocketry_protocol::{MessageQueue, Topic, body::route::TopicRouteData};
use tokio::time::Instant;

use crate::static_topic::{self, WriteQueue};

/// Where messages of one topic can be sent. An immutable snapshot, apart from the round-robin position.
///
/// Who sends to thousands of topics meets another route with each message: what a send needs of it is next to each other, or shared with
/// other topics in [`Places`].
#[derive(Debug)]
pub(crate) struct PublishRoute {
    pub(super) topic: Topic,
    pub(super) places: Arc<Places>,
    /// The position of the round robin. The next snapshot takes it over if the queues stay the same.
    pub(super) next: AtomicU32,
    /// The topic does not exist yet: this is where its first message may go.
    pub(super) auto_create: bool,
    /// Who told this route, and when.
    pub(super) name_server: Arc<str>,
    pub(super) told: Instant,
    /// What selectors choose from; made when one does.
    pub(super) queues: OnceLock<Box<[MessageQueue]>>,
}

/// The queues of a route, whichever topic they are of: topics that lie on the same brokers share one.
#[derive(Debug)]
pub(crate) struct Places {
    /// In the order in which they are used.
    pub(super) queues: Vec<PlaceOfQueue>,
    /// The clusters that the brokers belong to: mostly one.
    pub(super) clusters: Vec<Arc<str>>,
    /// Every broker of the route, with or without queues to write to.
    pub(super) brokers: Vec<Arc<Broker>>,
    /// Whether queues of more than one broker can be written to.
    pub(super) has_alternatives: bool,
}

/// One queue of [`Places`].
#[derive(Debug)]
pub(super) struct PlaceOfQueue {
    /// That of its owner, but for queues of static topics.
    pub(super) broker_name: Arc<str>,
    pub(super) queue_id: i32,
    pub(super) owner: Arc<Broker>,
}

impl Places {
    /// Whether a route with the one is as good as one with the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same_brokers = |a: &[Arc<Broker>], b: &[Arc<Broker>]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let mut queues = self.queues.iter().zip(&other.queues);
        self.has_same_queues(other)
            && queues.all(|(a, b)| Arc::ptr_eq(&a.owner, &b.owner))
            && self.clusters == other.clusters
            && same_brokers(&self.brokers, &other.brokers)
    }

    /// Whether both have the same queues.
    pub(super) fn has_same_queues(&self, other: &Self) -> bool {
        let same = |a: &PlaceOfQueue, b: &PlaceOfQueue| {
            a.queue_id == b.queue_id && a.broker_name == b.broker_name
        };
        self.queues.len() == other.queues.len()
            && self
                .queues
                .iter()
                .zip(&other.queues)
                .all(|(a, b)| same(a, b))
    }
}

impl PublishRoute {
    /// One step of the round robin; 0 for a route without queues. Java: `ThreadLocalIndex`, there one per thread.
    pub(crate) fn advance(&self) -> usize {
        let index = self.next.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff;
        (index as usize).checked_rem(self.len()).unwrap_or(0)
    }

    /// Number of queues.
    pub(crate) fn len(&self) -> usize {
        self.places.queues.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.queues.is_empty()
    }

    /// What selectors choose from.
    pub(crate) fn queues(&self) -> &[MessageQueue] {
        self.queues.get_or_init(|| {
            let queues = self.places.queues.iter();
            queues
                .map(|queue| MessageQueue {
                    topic: self.topic.clone(),
                    broker_name: Arc::clone(&queue.broker_name),
                    queue_id: queue.queue_id,
                })
                .collect()
        })
    }

    /// The number of the queue at a place, within its broker, and the broker.
    pub(crate) fn queue(&self, index: usize) -> Option<(i32, &Arc<Broker>)> {
        let queue = self.places.queues.get(index)?;
        Some((queue.queue_id, &queue.owner))
    }

    /// The clusters that the brokers belong to: mostly one.
    pub(crate) fn clusters(&self) -> &[Arc<str>] {
        &self.places.clusters
    }

    fn owners(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.places.queues.iter().map(|queue| &queue.owner)
    }

    /// The broker that holds a queue; a queue that is not in the list is held by the broker that it names.
    pub(crate) fn owner(&self, queue: &MessageQueue) -> Option<&Arc<Broker>> {
        let known = self.places.brokers.iter();
        let named = known
            .chain(self.owners())
            .find(|broker| broker.name == queue.broker_name);
        if named.is_none() && static_topic::is_logical(&queue.broker_name) {
            let place = self.queues().iter().position(|known| known == queue)?;
            return self.owner_at(place);
        }
        named
    }

    /// The broker that holds the queue at a place.
    pub(crate) fn owner_at(&self, index: usize) -> Option<&Arc<Broker>> {
        self.places.queues.get(index).map(|queue| &queue.owner)
    }

    /// Name and address of that broker's master.
    pub(crate) fn master(&self, broker: &str) -> Option<(Arc<str>, Arc<str>)> {
        let broker = self
            .places
            .brokers
            .iter()
            .find(|known| &*known.name == broker)?;
        Some((Arc::clone(&broker.name), broker.master()?))
    }

    /// Name and address of some broker, of its master if it has one.
    pub(crate) fn any_address(&self) -> Option<(Arc<str>, Arc<str>)> {
        let broker = fastrand::choice(&self.places.brokers)?;
        let address = broker.master().or_else(|| {
            let (_, slave) = fastrand::choice(broker.addresses().iter())?.clone();
            Some(slave)
        });
        Some((Arc::clone(&broker.name), address?))
    }

    /// Names of the brokers whose queues can be written to.
    pub(crate) fn owner_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for owner in self.owners() {
            if !names.contains(&owner.name) {
                names.push(Arc::clone(&owner.name));
            }
        }
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
        self.places.has_alternatives
    }
}

/// A broker group: one name, a master and slaves. Shared by the routes of all topics, so that a new address is used by all at once.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) name: Arc<str>,
    pub(super) addresses: ArcSwap<Vec<(i64, Arc<str>)>>,
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
            .take(MAX_QUEUES)
            .collect();
    }
    if let Some(mappings) = &route.topic_queue_mapping_by_broker
        && !mappings.is_empty()
        && order.is_none()
    {
        return static_topic::logical_queues(mappings, MAX_QUEUES);
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
        .take(MAX_QUEUES)
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
        .take(MAX_QUEUES)
        .collect()
}

/// Queues of one topic: a name server cannot make a client build lists without end.
const MAX_QUEUES: usize = 65_536;

fn ids(broker: Arc<str>, count: i32) -> impl Iterator<Item = (Arc<str>, i32)> {
    (0..count).map(move |id| (Arc::clone(&broker), id))
}

/// Makes the route of [`topic::AUTO_CREATE`] one of a topic that does not exist yet.
pub(super) fn limit_queues(route: &mut TopicRouteData, topic_queues: i32) {
    for data in &mut route.queue_datas {
        let queues = topic_queues.min(data.read_queue_nums);
        data.read_queue_nums = queues;
        data.write_queue_nums = queues;
    }
}
