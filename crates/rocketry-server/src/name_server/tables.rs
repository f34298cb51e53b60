//! What the name server knows, and how registrations change it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rocketry_protocol::body::{DataVersion, route::BrokerData, topics::TopicConfig};

use super::{RegisterRefused, Registered, Registration, by_broker::ByBroker};

/// Time without a registration or heartbeat after which a broker is removed. Java: `BrokerLiveInfo`, 120 s.
const BROKER_EXPIRY_MS: i64 = 120_000;

#[derive(Debug, Default)]
pub(super) struct Tables {
    /// topic -> broker name -> queues
    pub(super) topics: BTreeMap<String, ByBroker>,
    pub(super) brokers: BTreeMap<String, Broker>,
    pub(super) clusters: BTreeMap<String, BTreeSet<String>>,
    pub(super) live: HashMap<(String, String), Live>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queues {
    pub(super) read: i32,
    pub(super) write: i32,
    pub(super) perm: i32,
    pub(super) sys_flag: i32,
}

impl Queues {
    pub(super) fn of(topic: &TopicConfig) -> Self {
        Self {
            read: topic.read_queue_nums,
            write: topic.write_queue_nums,
            perm: topic.perm,
            sys_flag: topic.topic_sys_flag,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) cluster: String,
    pub(super) addrs: BTreeMap<i64, String>,
    pub(super) zone_name: Option<String>,
    pub(super) enable_acting_master: bool,
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) last_ms: i64,
    pub(super) timeout_ms: i64,
    pub(super) data_version: DataVersion,
    pub(super) ha_server_addr: String,
    pub(super) broker_name: String,
    pub(super) broker_id: i64,
    pub(super) connection_id: Option<u64>,
}

impl Broker {
    pub(super) fn to_data(&self, name: &str) -> BrokerData {
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
    pub(super) fn register<'t>(
        &mut self,
        r: &Registration<'_>,
        topics: impl ExactSizeIterator<Item = &'t TopicConfig>,
        now_ms: i64,
    ) -> Result<Registered, RegisterRefused> {
        if let Some(ours) = self.claimed_of_ours(r) {
            return Err(ours);
        }
        let holder = self
            .brokers
            .get(r.broker_name)
            .and_then(|broker| broker.addrs.get(&r.broker_id));
        // An older master with a larger state version stays: it was elected later than the one that registers now.
        if let Some(other) = holder
            && other != r.broker_addr
            && let Some(live) = self.live.get(&key(r.cluster, other))
            && live.data_version.state_version > r.data_version.state_version
        {
            self.unregister(r.cluster, r.broker_name, r.broker_addr);
            return Ok(Registered::default());
        }
        let register_first = holder.is_none();
        if register_first && topics.len() == 1 {
            return Err(RegisterRefused::Incremental);
        }
        let broker = self.described(r);
        broker
            .addrs
            .retain(|id, addr| *id == r.broker_id || addr != r.broker_addr);
        broker.addrs.insert(r.broker_id, r.broker_addr.to_owned());
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
                    .is_some_and(|brokers| brokers.contains(r.broker_name));
                if register_first || version_changed || !known {
                    self.topics
                        .entry(topic.topic_name.clone())
                        .or_default()
                        .insert(r.broker_name, Queues::of(topic));
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

    /// The broker of a registration, as the registration says it is.
    fn described(&mut self, r: &Registration<'_>) -> &mut Broker {
        // A slave of the broker of this process says nothing about it.
        let is_said = r.connection_id.is_none()
            || !self
                .ours()
                .any(|(_, live)| live.broker_name == r.broker_name);
        if is_said {
            let before = self.brokers.get(r.broker_name);
            if let Some(left) = before.map(|broker| broker.cluster.clone())
                && left != r.cluster
            {
                self.leave(&left, r.broker_name);
                self.live.remove(&key(&left, r.broker_addr));
            }
            self.clusters
                .entry(r.cluster.to_owned())
                .or_default()
                .insert(r.broker_name.to_owned());
        }
        let broker = self.brokers.entry(r.broker_name.to_owned()).or_default();
        if is_said {
            r.cluster.clone_into(&mut broker.cluster);
            broker.zone_name = r.zone_name.map(str::to_owned);
            broker.enable_acting_master = r.enable_acting_master;
        }
        broker
    }

    fn leave(&mut self, cluster: &str, broker_name: &str) {
        if let Some(names) = self.clusters.get_mut(cluster) {
            names.remove(broker_name);
            if names.is_empty() {
                self.clusters.remove(cluster);
            }
        }
    }

    /// What a connection's registration would take from the broker of this process. Java lets the latest registration win; this broker
    /// registers once and would be lost.
    fn claimed_of_ours(&self, r: &Registration<'_>) -> Option<RegisterRefused> {
        r.connection_id?;
        self.ours().find_map(|(addr, live)| {
            if addr == r.broker_addr {
                Some(RegisterRefused::OurAddress)
            } else if live.broker_name == r.broker_name && live.broker_id == r.broker_id {
                Some(RegisterRefused::OurName(addr.to_owned()))
            } else {
                None
            }
        })
    }

    /// Addresses and entries of the broker of this process.
    fn ours(&self) -> impl Iterator<Item = (&str, &Live)> {
        self.live
            .iter()
            .filter(|(_, live)| live.connection_id.is_none())
            .map(|((_, addr), live)| (addr.as_str(), live))
    }

    pub(super) fn is_our_addr(&self, broker_addr: &str) -> bool {
        self.ours().any(|(addr, _)| addr == broker_addr)
    }

    pub(super) fn remove_live(&mut self, gone: impl Fn(&Live) -> bool) -> usize {
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

    pub(super) fn unregister(&mut self, cluster: &str, broker_name: &str, broker_addr: &str) {
        self.live.remove(&key(cluster, broker_addr));
        let Some(broker) = self.brokers.get_mut(broker_name) else {
            return;
        };
        broker.addrs.retain(|_, addr| addr != broker_addr);
        if !broker.addrs.is_empty() {
            return;
        }
        let cluster = std::mem::take(&mut broker.cluster);
        self.brokers.remove(broker_name);
        self.leave(&cluster, broker_name);
        self.topics.retain(|_, brokers| {
            brokers.remove(broker_name);
            !brokers.is_empty()
        });
    }
}

pub(super) fn key(cluster: &str, addr: &str) -> (String, String) {
    (cluster.to_owned(), addr.to_owned())
}
