//! The name server's tables: which broker serves which topic.
//!
//! Plain data behind one lock; time comes in as an argument. The broker of this process registers by a direct call and never
//! expires, foreign brokers register over the wire. Nothing is persisted: brokers register again within 30 s.
//! Java: `RouteInfoManager`.

mod by_broker;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::RwLock;
use rocketry_protocol::body::{
    DataVersion,
    route::{BrokerData, ClusterInfo, QueueData, TopicRouteData},
    topics::TopicConfig,
};

use self::tables::{Live, Queues, Tables, key};

/// perm bit: the queue takes messages.
const PERM_WRITE: i32 = 2;

/// A broker's registration, from the wire or from this process.
#[derive(Debug)]
pub(crate) struct Registration<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) broker_name: &'a str,
    pub(crate) broker_addr: &'a str,
    pub(crate) broker_id: i64,
    pub(crate) ha_server_addr: &'a str,
    pub(crate) enable_acting_master: bool,
    pub(crate) zone_name: Option<&'a str>,
    pub(crate) heartbeat_timeout_ms: Option<i64>,
    pub(crate) data_version: DataVersion,
    /// Connection that the broker registered on, whose end unregisters it; `None` = the broker of this process.
    pub(crate) connection_id: Option<u64>,
}

/// What a registered broker is told.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Registered {
    pub(crate) master_addr: Option<String>,
    pub(crate) ha_server_addr: Option<String>,
}

/// Why a registration is refused (code 1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RegisterRefused {
    /// One topic from an unknown broker: an incremental registration that came before the full one.
    Incremental,
    /// The name and id are those of the broker of this process, at this address.
    OurName(String),
    /// The address is that of the broker of this process.
    OurAddress,
}

/// Route, cluster and liveness tables.
#[derive(Debug, Default)]
pub(crate) struct NameServer {
    tables: RwLock<Tables>,
}

/// Queue data left after a broker's registration ended, or a topic was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope<'a> {
    All,
    Cluster(&'a str),
}

impl NameServer {
    /// Takes a registration. Java: `RouteInfoManager.registerBroker`.
    pub(crate) fn register<'t>(
        &self,
        registration: &Registration<'_>,
        topics: impl ExactSizeIterator<Item = &'t TopicConfig>,
        now_ms: i64,
    ) -> Result<Registered, RegisterRefused> {
        self.tables.write().register(registration, topics, now_ms)
    }

    /// Adds or changes one topic of a registered broker: how the broker of this process announces a change.
    pub(crate) fn set_topic(&self, broker_name: &str, topic: &TopicConfig, perm: i32) {
        let queues = Queues {
            perm,
            ..Queues::of(topic)
        };
        self.tables
            .write()
            .topics
            .entry(topic.topic_name.clone())
            .or_default()
            .insert(broker_name, queues);
    }

    /// Removes one topic of one broker.
    pub(crate) fn remove_topic_of(&self, broker_name: &str, topic: &str) {
        let mut tables = self.tables.write();
        if let Some(brokers) = tables.topics.get_mut(topic) {
            brokers.remove(broker_name);
            if brokers.is_empty() {
                tables.topics.remove(topic);
            }
        }
    }

    /// Ends a registration that came over a connection; the entry is found by its address. Java: `RouteInfoManager.unRegisterBroker`.
    pub(crate) fn unregister(&self, cluster: &str, broker_name: &str, broker_addr: &str) {
        let mut tables = self.tables.write();
        if !tables.is_our_addr(broker_addr) {
            tables.unregister(cluster, broker_name, broker_addr);
        }
    }

    /// Ends the registrations that came over a connection; returns whether there were any.
    pub(crate) fn connection_closed(&self, connection_id: u64) -> bool {
        self.tables
            .write()
            .remove_live(|live| live.connection_id == Some(connection_id))
            > 0
    }

    /// Ends registrations that were not renewed in time; returns how many. Java: `scanNotActiveBroker`.
    pub(crate) fn expire(&self, now_ms: i64) -> usize {
        let is_expired = |live: &Live| live.last_ms.saturating_add(live.timeout_ms) < now_ms;
        if !self.tables.read().live.values().any(is_expired) {
            return 0;
        }
        self.tables.write().remove_live(is_expired)
    }

    /// Code 322: whether the broker should send its full registration, and the version known here. Renews the entry.
    pub(crate) fn query_data_version(
        &self,
        cluster: &str,
        broker_addr: &str,
        version: &DataVersion,
        now_ms: i64,
    ) -> (bool, Option<DataVersion>) {
        let mut tables = self.tables.write();
        match tables.live.get_mut(&key(cluster, broker_addr)) {
            Some(live) => {
                live.last_ms = now_ms;
                let known = live.data_version;
                (known != *version, Some(known))
            }
            None => (true, None),
        }
    }

    /// Code 904.
    pub(crate) fn heartbeat(&self, cluster: &str, broker_addr: &str, now_ms: i64) {
        if let Some(live) = self.tables.write().live.get_mut(&key(cluster, broker_addr)) {
            live.last_ms = now_ms;
        }
    }

    /// The route of a topic, if at least one of its brokers is known. Java: `RouteInfoManager.pickupTopicRouteData`.
    pub(crate) fn route(&self, topic: &str) -> Option<TopicRouteData> {
        let tables = self.tables.read();
        let queues = tables.topics.get(topic)?;
        let broker_datas: Vec<BrokerData> = queues
            .names()
            .filter_map(|name| Some(tables.brokers.get(name)?.to_data(name)))
            .collect();
        if broker_datas.is_empty() {
            return None;
        }
        Some(TopicRouteData {
            queue_datas: queues
                .iter()
                .map(|(broker, queues)| QueueData {
                    broker_name: broker.to_owned(),
                    read_queue_nums: queues.read,
                    write_queue_nums: queues.write,
                    perm: queues.perm,
                    topic_sys_flag: queues.sys_flag,
                })
                .collect(),
            broker_datas,
            ..TopicRouteData::default()
        })
    }

    /// Code 106.
    pub(crate) fn cluster_info(&self) -> ClusterInfo {
        let tables = self.tables.read();
        ClusterInfo {
            broker_addr_table: tables
                .brokers
                .iter()
                .map(|(name, broker)| (name.clone(), broker.to_data(name)))
                .collect(),
            cluster_addr_table: tables
                .clusters
                .iter()
                .map(|(cluster, names)| (cluster.clone(), names.iter().cloned().collect()))
                .collect(),
        }
    }

    /// Ids and addresses of a broker name (code 901).
    pub(crate) fn member_group(&self, broker_name: &str) -> BTreeMap<i64, String> {
        self.tables
            .read()
            .brokers
            .get(broker_name)
            .map(|broker| broker.addrs.clone())
            .unwrap_or_default()
    }

    /// How many brokers and topics are known.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let tables = self.tables.read();
        let brokers = tables.brokers.values();
        (
            brokers.map(|broker| broker.addrs.len()).sum(),
            tables.topics.len(),
        )
    }

    /// Code 206.
    pub(crate) fn all_topics(&self) -> Vec<String> {
        self.tables.read().topics.keys().cloned().collect()
    }

    /// Topics with a broker of the cluster (code 224).
    pub(crate) fn topics_of_cluster(&self, cluster: &str) -> Vec<String> {
        let tables = self.tables.read();
        let Some(names) = tables.clusters.get(cluster) else {
            return Vec::new();
        };
        tables
            .topics
            .iter()
            .filter(|(_, brokers)| brokers.names().any(|name| names.contains(name)))
            .map(|(topic, _)| topic.clone())
            .collect()
    }

    /// Topics of which some broker's sys flag satisfies `wanted` (codes 311 to 313).
    pub(crate) fn topics_by_sys_flag(&self, wanted: impl Fn(i32) -> bool) -> Vec<String> {
        self.tables
            .read()
            .topics
            .iter()
            .filter(|(_, brokers)| brokers.iter().any(|(_, queues)| wanted(queues.sys_flag)))
            .map(|(topic, _)| topic.clone())
            .collect()
    }

    /// Cluster and broker names, and one broker's address (code 304).
    pub(crate) fn system_topics(&self) -> (Vec<String>, Option<String>) {
        let tables = self.tables.read();
        let mut names: BTreeSet<String> = tables.clusters.keys().cloned().collect();
        names.extend(tables.clusters.values().flatten().cloned());
        let addr = tables
            .brokers
            .values()
            .find_map(|broker| broker.addrs.values().next().cloned());
        (names.into_iter().collect(), addr)
    }

    /// Takes the write bit from all queues of a broker, or sets perm 6; returns on how many topics (codes 205, 327).
    pub(crate) fn set_write_perm(&self, broker_name: &str, writable: bool) -> i32 {
        let mut count = 0;
        for brokers in self.tables.write().topics.values_mut() {
            if let Some(queues) = brokers.get_mut(broker_name) {
                queues.perm = if writable {
                    6
                } else {
                    queues.perm & !PERM_WRITE
                };
                count += 1;
            }
        }
        count
    }

    /// Code 216: removes a topic everywhere, or for the brokers of one cluster.
    pub(crate) fn delete_topic(&self, topic: &str, cluster: Option<&str>) {
        let scope = cluster.map_or(Scope::All, Scope::Cluster);
        let mut tables = self.tables.write();
        let Tables {
            topics, clusters, ..
        } = &mut *tables;
        let Some(brokers) = topics.get_mut(topic) else {
            return;
        };
        brokers.retain(|name| match scope {
            Scope::All => false,
            Scope::Cluster(cluster) => !clusters.get(cluster).is_some_and(|c| c.contains(name)),
        });
        if brokers.is_empty() {
            topics.remove(topic);
        }
    }

    /// Code 217: sets the queues of a topic; brokers that are not known are left out.
    pub(crate) fn register_topic(&self, topic: &str, queue_datas: &[QueueData]) {
        let mut tables = self.tables.write();
        let known: Vec<_> = queue_datas
            .iter()
            .filter(|data| tables.brokers.contains_key(&data.broker_name))
            .map(|data| {
                let queues = Queues {
                    read: data.read_queue_nums,
                    write: data.write_queue_nums,
                    perm: data.perm,
                    sys_flag: data.topic_sys_flag,
                };
                (&data.broker_name, queues)
            })
            .collect();
        if known.is_empty() {
            return;
        }
        let brokers = tables.topics.entry(topic.to_owned()).or_default();
        for (name, queues) in known {
            brokers.insert(name, queues);
        }
    }
}

#[cfg(test)]
mod tests;
