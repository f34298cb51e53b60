//! Consumer groups: their settings, and which clients are connected.

use std::collections::BTreeMap;

use rocketry_protocol::{
    Group, RemotingCommand, RequestCode, ResponseCode,
    body::{
        self,
        groups::{SubscriptionGroupConfig, SubscriptionGroupWrapper},
        heartbeat::{Connection, ConsumerConnection, ProducerConnection},
    },
    header::{
        DeleteSubscriptionGroupRequest, GetConsumerConnectionListRequest,
        GetProducerConnectionListRequest, QueryTopicConsumeByWhoRequest,
    },
    topic,
};

use rocketry_remoting::Deadline;

use super::{Admin, Brokers, ask, ask_any, unreadable};
use crate::error::{Error, ErrorKind};

/// What to set of a group; what is `None` stays, or is Java's default where the group is new.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupChange {
    /// How often a message is consumed again before it becomes a dead letter; default 16.
    pub retry_max_times: Option<i32>,
    /// Number of queues of the retry topic; default 1.
    pub retry_queue_nums: Option<i32>,
    /// Whether the group may consume; default true.
    pub consume_enable: Option<bool>,
    /// Whether every client may get every message; default true.
    pub consume_broadcast_enable: Option<bool>,
    /// Whether pop keeps the order of a queue; default false.
    pub consume_message_orderly: Option<bool>,
    /// Changes of further settings: `+name` sets one, `-name` removes one.
    pub attributes: BTreeMap<String, String>,
}

impl GroupChange {
    fn applied_to(&self, config: SubscriptionGroupConfig) -> SubscriptionGroupConfig {
        SubscriptionGroupConfig {
            retry_max_times: self.retry_max_times.unwrap_or(config.retry_max_times),
            retry_queue_nums: self.retry_queue_nums.unwrap_or(config.retry_queue_nums),
            consume_enable: self.consume_enable.unwrap_or(config.consume_enable),
            consume_broadcast_enable: self
                .consume_broadcast_enable
                .unwrap_or(config.consume_broadcast_enable),
            consume_message_orderly: self
                .consume_message_orderly
                .unwrap_or(config.consume_message_orderly),
            // Brokers take changes here, and keep what is not named.
            attributes: self.attributes.clone(),
            ..config
        }
    }
}

/// A broker on which a group was created or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupUpdate {
    /// Its address.
    pub address: String,
    /// Whether the group was not there before.
    pub is_new: bool,
}

impl Admin {
    /// The consumer groups of all masters with their settings, sorted by name; of a group whose settings differ from broker to broker,
    /// those of one. Names are the cluster's own, those of other namespaces among them.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no broker is registered, and what asking a broker can fail with.
    ///
    /// Java: `DefaultMQAdminExt.getAllSubscriptionGroup`.
    pub async fn groups(&self) -> Result<Vec<SubscriptionGroupConfig>, Error> {
        let action = "list the groups";
        let deadline = self.deadline();
        let mut groups = BTreeMap::new();
        for (broker, address) in self.masters(action, &Brokers::All, deadline).await? {
            let found = self
                .groups_of_broker(action, (&broker, &address), deadline)
                .await?;
            for (name, config) in found {
                groups.entry(name).or_insert(config);
            }
        }
        Ok(groups.into_values().collect())
    }

    /// The settings of a group, from one of the masters that have it; `None` when none has.
    ///
    /// # Errors
    /// As [`Admin::groups`], and [`ErrorKind::InvalidArgument`] for a name that cannot be one.
    pub async fn group(&self, group: &str) -> Result<Option<SubscriptionGroupConfig>, Error> {
        let name = self.group_name("find group", group)?;
        let groups = self.groups().await?;
        Ok(groups.into_iter().find(|one| one.group_name == name))
    }

    async fn groups_of_broker(
        &self,
        action: &str,
        at: (&str, &str),
        deadline: Deadline,
    ) -> Result<BTreeMap<String, SubscriptionGroupConfig>, Error> {
        let command = RemotingCommand::bare_request(RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
        let reply = ask(self.core(), action, at, command, deadline).await?;
        let found: SubscriptionGroupWrapper =
            body::decode(&reply.body).map_err(|error| unreadable(action, &error))?;
        Ok(found.subscription_group_table)
    }

    /// Creates a group on the chosen masters, or replaces its settings; returns the addresses of those masters. Attributes are changes:
    /// `+name` sets one, `-name` removes one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a name that cannot be one, [`ErrorKind::NotFound`] when no master is chosen, else the first
    /// failure; brokers before it have the group by then.
    ///
    /// Java: `mqadmin updateSubGroup`.
    pub async fn create_group(
        &self,
        group: &SubscriptionGroupConfig,
        brokers: &Brokers,
    ) -> Result<Vec<String>, Error> {
        let name = self.group_name("create group", &group.group_name)?;
        let action = format!("create group {name:?}");
        let config = SubscriptionGroupConfig {
            group_name: name,
            ..group.clone()
        };
        let deadline = self.deadline();
        let mut took = Vec::new();
        for (broker, address) in self.masters(&action, brokers, deadline).await? {
            self.put_group(&action, (&broker, &address), &config, deadline)
                .await?;
            took.push(address);
        }
        Ok(took)
    }

    /// Creates a group on each chosen master that does not have it, and changes it on the others. Each keeps what it has of what is
    /// not named.
    ///
    /// # Errors
    /// As [`Admin::create_group`], and what asking a broker for its groups can fail with.
    ///
    /// Java: `mqadmin updateSubGroup`, which replaces every setting.
    pub async fn update_group(
        &self,
        group: &str,
        change: &GroupChange,
        brokers: &Brokers,
    ) -> Result<Vec<GroupUpdate>, Error> {
        let name = self.group_name("change group", group)?;
        let action = format!("change group {name:?}");
        let deadline = self.deadline();
        let mut updated = Vec::new();
        for (broker, address) in self.masters(&action, brokers, deadline).await? {
            let at = (&*broker, &*address);
            let known = self
                .groups_of_broker(&action, at, deadline)
                .await?
                .remove(&name);
            let is_new = known.is_none();
            let config = known.unwrap_or_else(|| SubscriptionGroupConfig::new(&name));
            let config = change.applied_to(config);
            self.put_group(&action, at, &config, deadline).await?;
            updated.push(GroupUpdate { address, is_new });
        }
        Ok(updated)
    }

    async fn put_group(
        &self,
        action: &str,
        at: (&str, &str),
        config: &SubscriptionGroupConfig,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let body = body::encode(config).map_err(|error| {
            Error::new(
                ErrorKind::InvalidArgument,
                action.to_owned(),
                error.to_string(),
            )
        })?;
        let command =
            RemotingCommand::bare_request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP)
                .with_body(body);
        ask(self.core(), action, at, command, deadline).await?;
        Ok(())
    }

    /// Deletes a group on all masters, or on those of one cluster, with its retry and dead-letter topics and, with `offsets`, how far
    /// it was. A group that does not exist is no error.
    ///
    /// # Errors
    /// The first failure; what was deleted by then stays so.
    ///
    /// Java: `mqadmin deleteSubGroup`.
    pub async fn delete_group(
        &self,
        group: &str,
        cluster: Option<&str>,
        offsets: bool,
    ) -> Result<(), Error> {
        let name = &*self.group_name("delete group", group)?;
        let action = format!("delete group {name:?}");
        let deadline = self.deadline();
        let brokers = cluster.map_or(Brokers::All, |name| Brokers::Cluster(name.to_owned()));
        for (broker, address) in self.masters(&action, &brokers, deadline).await? {
            let request = DeleteSubscriptionGroupRequest {
                group_name: name,
                clean_offset: offsets,
            };
            self.ask_broker(&action, &broker, &address, &request, deadline)
                .await?;
        }
        for topic in [
            format!("{}{name}", topic::RETRY_PREFIX),
            format!("{}{name}", topic::DEAD_LETTER_PREFIX),
        ] {
            self.remove_topic(&action, &topic, cluster, deadline)
                .await?;
        }
        Ok(())
    }

    /// The clients of a consumer group and what they subscribe to, from all masters; `None` when no client is connected.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no broker is registered, and what asking a broker can fail with.
    ///
    /// Java: `mqadmin consumerConnection`.
    pub async fn group_clients(&self, group: &str) -> Result<Option<ConsumerConnection>, Error> {
        let name = &*self.group_name("find the clients of group", group)?;
        let action = format!("find the clients of group {name:?}");
        let deadline = self.deadline();
        let mut all: Option<ConsumerConnection> = None;
        for (broker, address) in self.masters(&action, &Brokers::All, deadline).await? {
            let request = GetConsumerConnectionListRequest {
                consumer_group: name,
            };
            let good = [ResponseCode::SUCCESS, ResponseCode::CONSUMER_NOT_ONLINE];
            let reply = ask_any(
                self.core(),
                &action,
                (&broker, &address),
                RemotingCommand::request(&request),
                deadline,
                &good,
            )
            .await?;
            if reply.response_code() == ResponseCode::CONSUMER_NOT_ONLINE {
                continue;
            }
            let found: ConsumerConnection =
                body::decode(&reply.body).map_err(|error| unreadable(&action, &error))?;
            match &mut all {
                None => all = Some(found),
                Some(all) => {
                    add_new(&mut all.connection_set, found.connection_set);
                    all.subscription_table.extend(found.subscription_table);
                }
            }
        }
        if let Some(all) = &mut all {
            sort(&mut all.connection_set);
        }
        Ok(all)
    }

    /// The clients of a producer group, from all masters; empty when none is connected.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no broker is registered, and what asking a broker can fail with.
    ///
    /// Java: `mqadmin producerConnection`, which asks the brokers of one topic.
    pub async fn producer_clients(&self, group: &str) -> Result<ProducerConnection, Error> {
        let name = &*self.group_name("find the clients of group", group)?;
        let action = format!("find the clients of producer group {name:?}");
        let deadline = self.deadline();
        let mut all = ProducerConnection::default();
        for (broker, address) in self.masters(&action, &Brokers::All, deadline).await? {
            let request = GetProducerConnectionListRequest {
                producer_group: name,
            };
            // Brokers have no code of its own for a group without clients.
            let reply = match self
                .ask_broker(&action, &broker, &address, &request, deadline)
                .await
            {
                Err(error) if error.response_code() == Some(ResponseCode::SYSTEM_ERROR) => continue,
                reply => reply?,
            };
            let found: ProducerConnection =
                body::decode(&reply.body).map_err(|error| unreadable(&action, &error))?;
            add_new(&mut all.connection_set, found.connection_set);
        }
        sort(&mut all.connection_set);
        Ok(all)
    }

    /// The consumer groups that subscribe to a topic now, or have offsets of it; sorted.
    ///
    /// # Errors
    /// [`ErrorKind::TopicNotFound`], and what asking a broker can fail with.
    ///
    /// Java: `DefaultMQAdminExt.queryTopicConsumeByWho`.
    pub async fn groups_of_topic(&self, topic: &str) -> Result<Vec<String>, Error> {
        let namespace = &self.core().namespace;
        let topic = &*namespace.wrap(topic);
        let action = format!("find the groups of topic {topic:?}");
        let deadline = self.deadline();
        let mut groups = Vec::new();
        for (broker, address) in self.masters_of(&action, topic, deadline).await? {
            let request = QueryTopicConsumeByWhoRequest { topic };
            let reply = self
                .ask_broker(&action, &broker, &address, &request, deadline)
                .await?;
            let found: body::groups::GroupList =
                body::decode(&reply.body).map_err(|error| unreadable(&action, &error))?;
            groups.extend(found.group_list);
        }
        for group in &mut groups {
            let shown = namespace.unwrap(group).into_owned();
            *group = shown;
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }

    /// A group as brokers know it.
    pub(super) fn group_name(&self, action: &str, group: &str) -> Result<String, Error> {
        let name = self.core().namespace.wrap(group);
        match Group::new(&name) {
            Ok(_) => Ok(name.into_owned()),
            Err(error) => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("{action} {name:?}"),
                error.to_string(),
            )),
        }
    }
}

/// A client is connected to every broker that it talks to.
fn add_new(known: &mut Vec<Connection>, found: Vec<Connection>) {
    for connection in found {
        if !known
            .iter()
            .any(|one| one.client_id == connection.client_id)
        {
            known.push(connection);
        }
    }
}

fn sort(connections: &mut [Connection]) {
    connections.sort_by(|a, b| a.client_id.cmp(&b.client_id));
}
