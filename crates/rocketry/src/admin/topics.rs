//! Topics: list, create, delete, route, statistics.

use rocketry_protocol::{
    MessageQueue, RemotingCommand, RequestCode,
    body::{
        self,
        offsets::TopicStatsTable,
        route::TopicRouteData,
        topics::{TopicConfig, TopicFilterType, TopicList},
    },
    header::{
        CreateTopicRequest, DeleteTopicInNamesrvRequest, DeleteTopicRequest, GetTopicConfigRequest,
        GetTopicStatsInfoRequest,
    },
    topic,
};
use rocketry_remoting::Deadline;

use super::{Admin, Brokers, any_address, topic_name, unreadable};
use crate::{
    error::{Error, ErrorKind},
    route,
};

/// Settings of a topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOptions {
    /// Queues to read from, per broker. Default 8.
    pub read_queues: i32,
    /// Queues to write to, per broker. Default 8.
    pub write_queues: i32,
    /// Permission: 2 write, 4 read. Default 6.
    pub perm: i32,
    /// Only on the brokers of this cluster. Default all clusters.
    pub cluster: Option<String>,
    /// Only on this broker, by name or address. Default all.
    pub broker: Option<String>,
    /// Whether the topic keeps its order when brokers come and go, see `mqadmin updateOrderConf`. Default no.
    pub order: bool,
    /// Further settings as `+key=value,+key=value`, for instance `+message.type=FIFO`. Default none.
    pub attributes: Option<String>,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            read_queues: 8,
            write_queues: 8,
            perm: 6,
            cluster: None,
            broker: None,
            order: false,
            attributes: None,
        }
    }
}

impl TopicOptions {
    fn brokers(&self) -> Brokers {
        match (&self.broker, &self.cluster) {
            (Some(broker), _) => Brokers::Broker(broker.clone()),
            (None, Some(cluster)) => Brokers::Cluster(cluster.clone()),
            (None, None) => Brokers::All,
        }
    }
}

/// What became of a topic to create.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CreatedTopic {
    /// Addresses of the masters that took it, at least one.
    pub brokers: Vec<String>,
    /// Why others did not.
    pub failures: Vec<Error>,
}

/// What to change of a topic; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicChange {
    /// Queues to read from, per broker.
    pub read_queues: Option<i32>,
    /// Queues to write to, per broker.
    pub write_queues: Option<i32>,
    /// Permission: 2 write, 4 read.
    pub perm: Option<i32>,
    /// As [`TopicOptions::order`].
    pub order: Option<bool>,
    /// As [`TopicOptions::attributes`]; `-key` removes one.
    pub attributes: Option<String>,
}

/// One queue's extent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// The queue.
    pub queue: MessageQueue,
    /// Offset of the oldest message.
    pub min_offset: i64,
    /// Offset after the newest message.
    pub max_offset: i64,
    /// When the newest message was stored, ms since 1970; 0 when there is none.
    pub last_update_ms: i64,
}

impl Admin {
    /// Names of all topics that the name server knows, sorted, those of other namespaces among them: these names are the cluster's own.
    ///
    /// # Errors
    /// [`ErrorKind::NameServerUnreachable`].
    ///
    /// Java: `mqadmin topicList`.
    pub async fn topics(&self) -> Result<Vec<String>, Error> {
        let command =
            RemotingCommand::bare_request(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER);
        let list: TopicList = self
            .ask_name_server("list the topics", command, self.deadline())
            .await?;
        let mut topics = list.topic_list;
        topics.sort();
        topics.dedup();
        Ok(topics)
    }

    /// Creates or changes a topic on every chosen master; returns the addresses of those that took it, at least one. A master that
    /// does not is logged: [`Admin::create_topic_on_each`] returns why.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for names the system uses, [`ErrorKind::NotFound`] when no master is chosen, else the last
    /// broker's failure.
    ///
    /// Java: `MQAdminImpl.createTopic`.
    pub async fn create_topic(
        &self,
        topic: &str,
        options: &TopicOptions,
    ) -> Result<Vec<String>, Error> {
        let created = self.create_topic_on_each(topic, options).await?;
        for error in &created.failures {
            tracing::warn!(%error, "topic not created there");
        }
        Ok(created.brokers)
    }

    /// As [`Admin::create_topic`], with the failures of masters that did not take it.
    ///
    /// # Errors
    /// As there.
    pub async fn create_topic_on_each(
        &self,
        topic: &str,
        options: &TopicOptions,
    ) -> Result<CreatedTopic, Error> {
        let topic = &*self.core().namespace.wrap(topic);
        let action = format!("create topic {topic:?}");
        topic_name(&action, topic)?;
        if topic::is_system(topic) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                action,
                "the name belongs to the system",
            )
            .with_topic(topic));
        }
        let request = CreateTopicRequest {
            topic,
            default_topic: topic::AUTO_CREATE,
            read_queue_nums: options.read_queues,
            write_queue_nums: options.write_queues,
            perm: options.perm,
            topic_filter_type: "SINGLE_TAG",
            topic_sys_flag: Some(0),
            order: options.order,
            attributes: options.attributes.as_deref(),
            force: None,
        };
        let deadline = self.deadline();
        let masters = self.masters(&action, &options.brokers(), deadline).await?;
        let mut created = CreatedTopic {
            brokers: Vec::new(),
            failures: Vec::new(),
        };
        for (broker, address) in masters {
            match self
                .ask_broker(&action, &broker, &address, &request, deadline)
                .await
            {
                Ok(_) => created.brokers.push(address),
                Err(error) => created.failures.push(error.with_topic(topic)),
            }
        }
        match created.failures.pop() {
            Some(error) if created.brokers.is_empty() => Err(error),
            last => {
                created.failures.extend(last);
                Ok(created)
            }
        }
    }

    /// Changes a topic on every master that holds it and is chosen; returns their addresses. Nothing else about the topic changes.
    ///
    /// # Errors
    /// [`ErrorKind::TopicNotFound`], [`ErrorKind::NotFound`] when no master that holds it is chosen, else the first failure; what was
    /// changed by then stays so.
    ///
    /// Java: `mqadmin updateTopicPerm`, which changes the permission only.
    pub async fn update_topic(
        &self,
        topic: &str,
        change: &TopicChange,
        brokers: &Brokers,
    ) -> Result<Vec<String>, Error> {
        let topic = &*self.core().namespace.wrap(topic);
        let action = format!("change topic {topic:?}");
        let deadline = self.deadline();
        let holders = self.masters_of(&action, topic, deadline).await?;
        let mut masters = self.masters(&action, brokers, deadline).await?;
        masters.retain(|master| holders.contains(master));
        if masters.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                action,
                "none of the chosen brokers holds the topic",
            )
            .with_topic(topic)
            .with_hint(format!("see which do: rocketry topic route {topic}")));
        }
        let mut changed = Vec::new();
        for (broker, address) in masters {
            let current = GetTopicConfigRequest {
                topic,
                logical: None,
            };
            let reply = self
                .ask_broker(&action, &broker, &address, &current, deadline)
                .await?;
            let current: TopicConfig =
                body::decode(&reply.body).map_err(|error| unreadable(&action, &error))?;
            let request = CreateTopicRequest {
                topic,
                default_topic: topic::AUTO_CREATE,
                read_queue_nums: change.read_queues.unwrap_or(current.read_queue_nums),
                write_queue_nums: change.write_queues.unwrap_or(current.write_queue_nums),
                perm: change.perm.unwrap_or(current.perm),
                topic_filter_type: current
                    .topic_filter_type
                    .map_or("SINGLE_TAG", TopicFilterType::as_str),
                topic_sys_flag: Some(current.topic_sys_flag),
                order: change.order.unwrap_or(current.order),
                attributes: change.attributes.as_deref(),
                force: None,
            };
            self.ask_broker(&action, &broker, &address, &request, deadline)
                .await?;
            changed.push(address);
        }
        Ok(changed)
    }

    /// Deletes a topic from every master and every name server. A topic that does not exist is no error.
    ///
    /// # Errors
    /// The first failure; what was deleted by then stays so.
    ///
    /// Java: `mqadmin deleteTopic`.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        let topic = &*self.core().namespace.wrap(topic);
        let action = format!("delete topic {topic:?}");
        topic_name(&action, topic)?;
        let deadline = self.deadline();
        self.remove_topic(&action, topic, None, deadline).await
    }

    /// As [`Admin::delete_topic`], for the masters of one cluster only; name servers keep the topic for the others.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a cluster without masters, else as there.
    pub async fn delete_topic_of_cluster(&self, topic: &str, cluster: &str) -> Result<(), Error> {
        let topic = &*self.core().namespace.wrap(topic);
        let action = format!("delete topic {topic:?} of cluster {cluster:?}");
        topic_name(&action, topic)?;
        let deadline = self.deadline();
        self.remove_topic(&action, topic, Some(cluster), deadline)
            .await
    }

    /// Deletes a topic by the name that brokers know.
    pub(super) async fn remove_topic(
        &self,
        action: &str,
        topic: &str,
        cluster: Option<&str>,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let brokers = cluster.map_or(Brokers::All, |name| Brokers::Cluster(name.to_owned()));
        for (broker, address) in self.masters(action, &brokers, deadline).await? {
            let request = DeleteTopicRequest { topic };
            self.ask_broker(action, &broker, &address, &request, deadline)
                .await?;
        }
        for address in &self.core().name_servers.all() {
            let request = DeleteTopicInNamesrvRequest {
                topic,
                cluster_name: cluster,
            };
            self.ask_broker(action, "name server", address, &request, deadline)
                .await?;
        }
        Ok(())
    }

    /// Brokers and queues of a topic, as the name server has them.
    ///
    /// # Errors
    /// [`ErrorKind::TopicNotFound`], [`ErrorKind::NameServerUnreachable`].
    ///
    /// Java: `mqadmin topicRoute`.
    pub async fn topic_route(&self, topic: &str) -> Result<TopicRouteData, Error> {
        let topic = &*self.core().namespace.wrap(topic);
        let action = format!("find topic {topic:?}");
        topic_name(&action, topic)?;
        self.route(&action, topic, self.deadline()).await
    }

    /// Extent of every queue of a topic, sorted.
    ///
    /// # Errors
    /// [`ErrorKind::TopicNotFound`], and what asking a broker can fail with.
    ///
    /// Java: `mqadmin topicStatus`.
    pub async fn topic_stats(&self, topic: &str) -> Result<Vec<QueueStats>, Error> {
        let namespace = &self.core().namespace;
        let topic = &*namespace.wrap(topic);
        let action = format!("read the offsets of topic {topic:?}");
        topic_name(&action, topic)?;
        let deadline = self.deadline();
        let route = self.route(&action, topic, deadline).await?;
        let mut stats = Vec::new();
        for broker in &route.broker_datas {
            let Some(address) = any_address(broker) else {
                continue;
            };
            let request = GetTopicStatsInfoRequest { topic };
            let reply = self
                .ask_broker(&action, &broker.broker_name, address, &request, deadline)
                .await?;
            let table: TopicStatsTable =
                body::decode(&reply.body).map_err(|error| unreadable(&action, &error))?;
            for (queue, offsets) in table.offset_table {
                stats.push(QueueStats {
                    queue: MessageQueue {
                        topic: namespace.unwrap_topic(&topic_name(&action, &queue.topic)?),
                        broker_name: queue.broker_name.as_str().into(),
                        queue_id: queue.queue_id,
                    },
                    min_offset: offsets.min_offset,
                    max_offset: offsets.max_offset,
                    last_update_ms: offsets.last_update_timestamp,
                });
            }
        }
        stats.sort_by(|a, b| a.queue.cmp(&b.queue));
        Ok(stats)
    }

    /// The queues that can be written to, in the order in which sends use them.
    ///
    /// # Errors
    /// [`ErrorKind::TopicNotFound`], [`ErrorKind::TopicNotWritable`], [`ErrorKind::NameServerUnreachable`].
    ///
    /// Java: `MQAdminImpl.fetchPublishMessageQueues`.
    pub async fn publish_queues(&self, topic: &str) -> Result<Vec<MessageQueue>, Error> {
        let namespace = &self.core().namespace;
        let topic = &*namespace.wrap(topic);
        let action = format!("find the queues of topic {topic:?}");
        let name = namespace.unwrap_topic(&topic_name(&action, topic)?);
        let route = self.route(&action, topic, self.deadline()).await?;
        let queues = route::writable(&route).into_iter();
        let queues = queues.map(|queue| (queue.broker_name, queue.queue_id));
        let queues = named(&name, queues.collect());
        if queues.is_empty() {
            return Err(route::RouteError::NotWritable.into_error(action, topic));
        }
        Ok(queues)
    }

    /// The queues that can be read from.
    ///
    /// # Errors
    /// [`ErrorKind::TopicNotFound`], [`ErrorKind::NameServerUnreachable`].
    ///
    /// Java: `MQAdminImpl.fetchSubscribeMessageQueues`.
    pub async fn subscribe_queues(&self, topic: &str) -> Result<Vec<MessageQueue>, Error> {
        let namespace = &self.core().namespace;
        let topic = &*namespace.wrap(topic);
        let action = format!("find the queues of topic {topic:?}");
        let name = namespace.unwrap_topic(&topic_name(&action, topic)?);
        let route = self.route(&action, topic, self.deadline()).await?;
        Ok(named(&name, route::readable(&route)))
    }
}

fn named(
    topic: &rocketry_protocol::Topic,
    queues: Vec<(std::sync::Arc<str>, i32)>,
) -> Vec<MessageQueue> {
    queues
        .into_iter()
        .map(|(broker_name, queue_id)| MessageQueue {
            topic: topic.clone(),
            broker_name,
            queue_id,
        })
        .collect()
}
