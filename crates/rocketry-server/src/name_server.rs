//! The name server's tables: which broker serves which topic.
//!
//! Plain data behind one lock; time comes in as an argument. The broker of this process registers by a direct call and never
//! expires, foreign brokers register over the wire. Nothing is persisted: brokers register again within 30 s.
//! Java: `RouteInfoManager`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::RwLock;
use rocketry_protocol::body::{
    DataVersion,
    route::{BrokerData, ClusterInfo, QueueData, TopicRouteData},
    topics::TopicConfig,
};

/// Time without a registration or heartbeat after which a broker is removed. Java: `BrokerLiveInfo`, 120 s.
const BROKER_EXPIRY_MS: i64 = 120_000;

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
    Ours(String),
}

/// Route, cluster and liveness tables.
#[derive(Debug, Default)]
pub(crate) struct NameServer {
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    /// topic -> broker name -> queues
    topics: BTreeMap<String, BTreeMap<String, Queues>>,
    brokers: BTreeMap<String, Broker>,
    clusters: BTreeMap<String, BTreeSet<String>>,
    live: HashMap<(String, String), Live>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Queues {
    read: i32,
    write: i32,
    perm: i32,
    sys_flag: i32,
}

impl Queues {
    fn of(topic: &TopicConfig) -> Self {
        Self {
            read: topic.read_queue_nums,
            write: topic.write_queue_nums,
            perm: topic.perm,
            sys_flag: topic.topic_sys_flag,
        }
    }
}

#[derive(Debug)]
struct Broker {
    cluster: String,
    addrs: BTreeMap<i64, String>,
    zone_name: Option<String>,
    enable_acting_master: bool,
}

#[derive(Debug)]
struct Live {
    last_ms: i64,
    timeout_ms: i64,
    data_version: DataVersion,
    ha_server_addr: String,
    broker_name: String,
    broker_id: i64,
    connection_id: Option<u64>,
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
            .insert(broker_name.to_owned(), queues);
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

    /// Ends a registration; the entry is found by its address. Java: `RouteInfoManager.unRegisterBroker`.
    pub(crate) fn unregister(&self, cluster: &str, broker_name: &str, broker_addr: &str) {
        self.tables
            .write()
            .unregister(cluster, broker_name, broker_addr);
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
            .keys()
            .filter_map(|name| Some(tables.brokers.get(name)?.to_data(name)))
            .collect();
        if broker_datas.is_empty() {
            return None;
        }
        Some(TopicRouteData {
            queue_datas: queues
                .iter()
                .map(|(broker, queues)| QueueData {
                    broker_name: broker.clone(),
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
            .filter(|(_, brokers)| brokers.keys().any(|name| names.contains(name)))
            .map(|(topic, _)| topic.clone())
            .collect()
    }

    /// Topics of which some broker's sys flag satisfies `wanted` (codes 311 to 313).
    pub(crate) fn topics_by_sys_flag(&self, wanted: impl Fn(i32) -> bool) -> Vec<String> {
        self.tables
            .read()
            .topics
            .iter()
            .filter(|(_, brokers)| brokers.values().any(|queues| wanted(queues.sys_flag)))
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
        brokers.retain(|name, _| match scope {
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
                (data.broker_name.clone(), queues)
            })
            .collect();
        if !known.is_empty() {
            tables
                .topics
                .entry(topic.to_owned())
                .or_default()
                .extend(known);
        }
    }
}

impl Broker {
    fn to_data(&self, name: &str) -> BrokerData {
        BrokerData {
            cluster: self.cluster.clone(),
            broker_name: name.to_owned(),
            broker_addrs: self.addrs.clone(),
            zone_name: self.zone_name.clone(),
            enable_acting_master: self.enable_acting_master,
        }
    }
}

impl Tables {
    fn register<'t>(
        &mut self,
        r: &Registration<'_>,
        topics: impl ExactSizeIterator<Item = &'t TopicConfig>,
        now_ms: i64,
    ) -> Result<Registered, RegisterRefused> {
        self.clusters
            .entry(r.cluster.to_owned())
            .or_default()
            .insert(r.broker_name.to_owned());
        let mut register_first = !self.brokers.contains_key(r.broker_name);
        let broker = self
            .brokers
            .entry(r.broker_name.to_owned())
            .or_insert_with(|| Broker {
                cluster: r.cluster.to_owned(),
                addrs: BTreeMap::new(),
                zone_name: None,
                enable_acting_master: false,
            });
        r.cluster.clone_into(&mut broker.cluster);
        broker.zone_name = r.zone_name.map(str::to_owned);
        broker.enable_acting_master = r.enable_acting_master;
        broker
            .addrs
            .retain(|id, addr| *id == r.broker_id || addr != r.broker_addr);

        // Java lets the latest registration win; the broker of this process registers once and would be lost.
        if let Some(other) = broker.addrs.get(&r.broker_id)
            && other != r.broker_addr
            && let Some(live) = self.live.get(&key(&broker.cluster, other))
            && live.connection_id.is_none()
        {
            return Err(RegisterRefused::Ours(other.clone()));
        }
        // An older master with a larger state version stays: it was elected later than the one that registers now.
        if let Some(other) = broker.addrs.get(&r.broker_id)
            && other != r.broker_addr
            && let Some(live) = self.live.get(&key(r.cluster, other))
            && live.data_version.state_version > r.data_version.state_version
        {
            self.live.remove(&key(r.cluster, r.broker_addr));
            return Ok(Registered::default());
        }
        if !broker.addrs.contains_key(&r.broker_id) && topics.len() == 1 {
            return Err(RegisterRefused::Incremental);
        }
        register_first |= broker
            .addrs
            .insert(r.broker_id, r.broker_addr.to_owned())
            .is_none();
        let master_addr = broker.addrs.get(&0).cloned();

        if r.broker_id == 0 {
            let version_changed = self
                .live
                .get(&key(r.cluster, r.broker_addr))
                .is_none_or(|live| live.data_version != r.data_version);
            for topic in topics {
                let known = self
                    .topics
                    .get(&topic.topic_name)
                    .is_some_and(|brokers| brokers.contains_key(r.broker_name));
                if register_first || version_changed || !known {
                    self.topics
                        .entry(topic.topic_name.clone())
                        .or_default()
                        .insert(r.broker_name.to_owned(), Queues::of(topic));
                }
            }
        }
        self.live.insert(
            key(r.cluster, r.broker_addr),
            Live {
                last_ms: now_ms,
                timeout_ms: match r.connection_id {
                    Some(_) => r.heartbeat_timeout_ms.unwrap_or(BROKER_EXPIRY_MS),
                    None => i64::MAX,
                },
                data_version: r.data_version,
                ha_server_addr: r.ha_server_addr.to_owned(),
                broker_name: r.broker_name.to_owned(),
                broker_id: r.broker_id,
                connection_id: r.connection_id,
            },
        );
        if r.broker_id == 0 {
            return Ok(Registered::default());
        }
        let ha_server_addr = master_addr
            .as_ref()
            .and_then(|addr| self.live.get(&key(r.cluster, addr)))
            .map(|live| live.ha_server_addr.clone());
        Ok(Registered {
            master_addr: ha_server_addr.as_ref().and(master_addr),
            ha_server_addr,
        })
    }

    fn remove_live(&mut self, gone: impl Fn(&Live) -> bool) -> usize {
        let removed: Vec<(String, String, String)> = self
            .live
            .iter()
            .filter(|(_, live)| gone(live))
            .map(|((cluster, addr), live)| {
                tracing::info!(
                    cluster,
                    broker = live.broker_name,
                    id = live.broker_id,
                    addr,
                    "broker is gone"
                );
                (cluster.clone(), live.broker_name.clone(), addr.clone())
            })
            .collect();
        for (cluster, name, addr) in &removed {
            self.unregister(cluster, name, addr);
        }
        removed.len()
    }

    fn unregister(&mut self, cluster: &str, broker_name: &str, broker_addr: &str) {
        self.live.remove(&key(cluster, broker_addr));
        let Some(broker) = self.brokers.get_mut(broker_name) else {
            return;
        };
        broker.addrs.retain(|_, addr| addr != broker_addr);
        if !broker.addrs.is_empty() {
            return;
        }
        self.brokers.remove(broker_name);
        if let Some(names) = self.clusters.get_mut(cluster) {
            names.remove(broker_name);
            if names.is_empty() {
                self.clusters.remove(cluster);
            }
        }
        self.topics.retain(|_, brokers| {
            brokers.remove(broker_name);
            !brokers.is_empty()
        });
    }
}

fn key(cluster: &str, addr: &str) -> (String, String) {
    (cluster.to_owned(), addr.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicConfig {
        TopicConfig {
            topic_name: name.to_owned(),
            read_queue_nums: 4,
            write_queue_nums: 4,
            perm: 6,
            ..TopicConfig::default()
        }
    }
    fn version(counter: i64) -> DataVersion {
        DataVersion {
            counter,
            ..DataVersion::default()
        }
    }
    fn broker<'a>(cluster: &'a str, name: &'a str, addr: &'a str, id: i64) -> Registration<'a> {
        Registration {
            cluster,
            broker_name: name,
            broker_addr: addr,
            broker_id: id,
            ha_server_addr: "h:10912",
            enable_acting_master: false,
            zone_name: None,
            heartbeat_timeout_ms: None,
            data_version: version(1),
            connection_id: Some(1),
        }
    }

    /// S-001.
    #[test]
    fn s001_a_full_registration_makes_every_topic_routable() {
        let ns = NameServer::default();
        let topics = [topic("T"), topic("U")];
        ns.register(&broker("C", "b", "a:1", 0), topics.iter(), 0)
            .unwrap();
        for name in ["T", "U"] {
            let route = ns.route(name).unwrap();
            assert_eq!(route.broker_datas.len(), 1);
            assert_eq!(route.broker_datas[0].broker_addrs[&0], "a:1");
            let queue = &route.queue_datas[0];
            assert_eq!(
                (queue.read_queue_nums, queue.write_queue_nums, queue.perm),
                (4, 4, 6)
            );
        }
        assert!(ns.route("V").is_none());
    }

    /// S-002.
    #[test]
    fn s002_an_incremental_registration_of_an_unknown_broker_is_refused() {
        let ns = NameServer::default();
        let one = [topic("T")];
        let registration = broker("C", "b", "a:1", 0);
        assert_eq!(
            ns.register(&registration, one.iter(), 0),
            Err(RegisterRefused::Incremental)
        );
        ns.register(&registration, [topic("A"), topic("B")].iter(), 0)
            .unwrap();
        let later = Registration {
            data_version: version(2),
            ..registration
        };
        ns.register(&later, one.iter(), 0).unwrap();
        assert!(ns.route("T").is_some() && ns.route("A").is_some());
    }

    /// S-004.
    #[test]
    fn s004_the_data_version_query_compares_and_renews() {
        let ns = NameServer::default();
        assert_eq!(
            ns.query_data_version("C", "a:1", &version(1), 0),
            (true, None)
        );
        ns.register(&broker("C", "b", "a:1", 0), [].iter(), 0)
            .unwrap();
        assert_eq!(
            ns.query_data_version("C", "a:1", &version(1), 100_000),
            (false, Some(version(1)))
        );
        assert!(ns.query_data_version("C", "a:1", &version(2), 100_000).0);
        assert_eq!(ns.expire(220_000), 0);
        assert_eq!(ns.expire(220_001), 1);
    }

    /// S-005: silence, a timeout of its own, and a closed connection.
    #[test]
    fn s005_silent_and_disconnected_brokers_disappear() {
        let ns = NameServer::default();
        let topics = [topic("T"), topic("U")];
        let own_timeout = Registration {
            heartbeat_timeout_ms: Some(1000),
            ..broker("C", "b", "a:1", 0)
        };
        ns.register(&own_timeout, topics.iter(), 0).unwrap();
        ns.heartbeat("C", "a:1", 500);
        assert_eq!(ns.expire(1500), 0);
        assert_eq!(ns.expire(1501), 1);
        assert!(ns.route("T").is_none() && ns.all_topics().is_empty());
        assert!(ns.cluster_info().cluster_addr_table.is_empty());

        ns.register(&broker("C", "b", "a:1", 0), topics.iter(), 0)
            .unwrap();
        assert!(!ns.connection_closed(2));
        assert!(ns.connection_closed(1));
        assert!(ns.route("T").is_none());
    }

    #[test]
    fn the_broker_of_this_process_never_expires() {
        let ns = NameServer::default();
        let local = Registration {
            connection_id: None,
            ..broker("C", "b", "a:1", 0)
        };
        ns.register(&local, [topic("T"), topic("U")].iter(), 0)
            .unwrap();
        assert_eq!(ns.expire(i64::MAX), 0);
        let claim = broker("C", "b", "a:2", 0);
        assert_eq!(
            ns.register(&claim, [topic("T"), topic("U")].iter(), 0),
            Err(RegisterRefused::Ours("a:1".to_owned()))
        );
        assert_eq!(ns.member_group("b")[&0], "a:1");
        ns.set_topic("b", &topic("V"), 6);
        assert!(ns.route("V").is_some());
        ns.remove_topic_of("b", "V");
        assert!(ns.route("V").is_none());
    }

    /// S-006.
    #[test]
    fn s006_unregistering_empties_topics_and_clusters() {
        let ns = NameServer::default();
        ns.register(
            &broker("C", "b", "a:1", 0),
            [topic("T"), topic("U")].iter(),
            0,
        )
        .unwrap();
        ns.register(
            &broker("C", "c", "a:2", 0),
            [topic("T"), topic("V")].iter(),
            0,
        )
        .unwrap();
        ns.unregister("C", "b", "a:1");
        assert_eq!(ns.all_topics(), ["T", "V"]);
        assert_eq!(ns.route("T").unwrap().queue_datas.len(), 1);
        ns.unregister("C", "c", "a:2");
        assert!(ns.all_topics().is_empty());
        assert_eq!(ns.system_topics(), (Vec::new(), None));
    }

    /// S-011.
    #[test]
    fn s011_write_perm_is_wiped_and_restored() {
        let ns = NameServer::default();
        ns.register(
            &broker("C", "b", "a:1", 0),
            [topic("T"), topic("U")].iter(),
            0,
        )
        .unwrap();
        assert_eq!(ns.set_write_perm("b", false), 2);
        assert_eq!(ns.route("T").unwrap().queue_datas[0].perm, 4);
        assert_eq!(ns.set_write_perm("b", true), 2);
        assert_eq!(ns.route("U").unwrap().queue_datas[0].perm, 6);
        assert_eq!(ns.set_write_perm("other", false), 0);
    }

    /// S-012.
    #[test]
    fn s012_clusters_are_kept_apart() {
        let ns = NameServer::default();
        ns.register(
            &broker("C", "b", "a:1", 0),
            [topic("T"), topic("U")].iter(),
            0,
        )
        .unwrap();
        ns.register(
            &broker("D", "d", "a:2", 0),
            [topic("T"), topic("V")].iter(),
            0,
        )
        .unwrap();
        let info = ns.cluster_info();
        assert_eq!(info.cluster_addr_table["C"], ["b"]);
        assert_eq!(info.broker_addr_table["d"].cluster, "D");
        assert_eq!(ns.topics_of_cluster("C"), ["T", "U"]);
        assert_eq!(ns.topics_of_cluster("D"), ["T", "V"]);
        assert!(ns.topics_of_cluster("E").is_empty());
        ns.delete_topic("T", Some("C"));
        assert_eq!(ns.route("T").unwrap().queue_datas[0].broker_name, "d");
        ns.delete_topic("T", None);
        assert!(ns.route("T").is_none());
    }

    #[test]
    fn a_slave_is_told_its_master_and_a_promoted_slave_keeps_one_id() {
        let ns = NameServer::default();
        ns.register(
            &broker("C", "b", "a:1", 0),
            [topic("T"), topic("U")].iter(),
            0,
        )
        .unwrap();
        let told = ns
            .register(&broker("C", "b", "a:2", 1), [].iter(), 0)
            .unwrap();
        assert_eq!(told.master_addr.as_deref(), Some("a:1"));
        assert_eq!(told.ha_server_addr.as_deref(), Some("h:10912"));
        ns.unregister("C", "b", "a:1");
        ns.register(
            &broker("C", "b", "a:2", 0),
            [topic("T"), topic("U")].iter(),
            0,
        )
        .unwrap();
        assert_eq!(
            ns.member_group("b").into_iter().collect::<Vec<_>>(),
            [(0, "a:2".to_owned())]
        );
    }

    #[test]
    fn an_older_master_with_a_larger_state_version_stays() {
        let ns = NameServer::default();
        let elected = Registration {
            data_version: DataVersion {
                state_version: 2,
                ..version(1)
            },
            ..broker("C", "b", "a:1", 0)
        };
        ns.register(&elected, [topic("T"), topic("U")].iter(), 0)
            .unwrap();
        ns.register(
            &broker("C", "b", "a:2", 0),
            [topic("T"), topic("U")].iter(),
            0,
        )
        .unwrap();
        assert_eq!(ns.member_group("b")[&0], "a:1");
    }

    #[test]
    fn a_topic_can_be_registered_for_known_brokers_only() {
        let ns = NameServer::default();
        ns.register(&broker("C", "b", "a:1", 0), [].iter(), 0)
            .unwrap();
        let data = |name: &str| QueueData {
            broker_name: name.to_owned(),
            perm: 6,
            read_queue_nums: 1,
            write_queue_nums: 1,
            ..QueueData::default()
        };
        ns.register_topic("T", &[data("b"), data("x")]);
        assert_eq!(ns.route("T").unwrap().queue_datas.len(), 1);
        ns.register_topic("U", &[data("x")]);
        assert!(ns.route("U").is_none());
    }
}
