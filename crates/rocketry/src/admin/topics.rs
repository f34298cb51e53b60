//! Topics: list, create, delete, route, statistics.

use rocketry_protocol::{
    MessageQueue, RemotingCommand, RequestCode,
    body::{
        self,
        offsets::TopicStatsTable,
        route::{BrokerData, ClusterInfo, TopicRouteData},
        topics::TopicList,
    },
    header::{
        CreateTopicRequest, DeleteTopicInNamesrvRequest, DeleteTopicRequest,
        GetTopicStatsInfoRequest,
    },
    topic,
};
use rocketry_remoting::Deadline;

use super::{Admin, topic_name, unreadable};
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
    /// Only on this broker (by name). Default all.
    pub broker: Option<String>,
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
            attributes: None,
        }
    }
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
    /// does not is logged.
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
            order: false,
            attributes: options.attributes.as_deref(),
            force: None,
        };
        let deadline = self.deadline();
        let masters = self
            .masters(
                &action,
                options.cluster.as_deref(),
                options.broker.as_deref(),
                deadline,
            )
            .await?;
        let mut took = Vec::new();
        let mut last_error = None;
        for (broker, address) in masters {
            match self
                .ask_broker(&action, &broker, &address, &request, deadline)
                .await
            {
                Ok(_) => took.push(address),
                Err(error) => {
                    tracing::warn!(%error, "topic not created there");
                    last_error = Some(error);
                }
            }
        }
        match last_error {
            Some(error) if took.is_empty() => Err(error.with_topic(topic)),
            _ => Ok(took),
        }
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
        for (broker, address) in self.masters(&action, None, None, deadline).await? {
            let request = DeleteTopicRequest { topic };
            self.ask_broker(&action, &broker, &address, &request, deadline)
                .await?;
        }
        for address in &self.core().name_servers.all() {
            let request = DeleteTopicInNamesrvRequest {
                topic,
                cluster_name: None,
            };
            self.ask_broker(&action, "name server", address, &request, deadline)
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

    /// Names and addresses of the masters of a cluster, or of all.
    async fn masters(
        &self,
        action: &str,
        cluster: Option<&str>,
        broker: Option<&str>,
        deadline: Deadline,
    ) -> Result<Vec<(String, String)>, Error> {
        let command = RemotingCommand::bare_request(RequestCode::GET_BROKER_CLUSTER_INFO);
        let info: ClusterInfo = self.ask_name_server(action, command, deadline).await?;
        let masters: Vec<_> = info
            .broker_addr_table
            .values()
            .filter(|data| {
                cluster.is_none_or(|cluster| {
                    info.cluster_addr_table
                        .get(cluster)
                        .is_some_and(|names| names.contains(&data.broker_name))
                })
            })
            .filter(|data| broker.is_none_or(|broker| broker == data.broker_name))
            .filter_map(|data| Some((data.broker_name.clone(), data.broker_addrs.get(&0)?.clone())))
            .collect();
        if masters.is_empty() {
            let which = match (cluster, broker) {
                (_, Some(broker)) => format!("broker {broker:?}"),
                (Some(cluster), None) => format!("cluster {cluster:?}"),
                (None, None) => "the name server".to_owned(),
            };
            return Err(Error::new(
                ErrorKind::NotFound,
                action.to_owned(),
                format!("no master is registered for {which}"),
            )
            .with_hint("start a broker, or check that it registers at this name server"));
        }
        Ok(masters)
    }
}

/// The master's address, else a slave's.
fn any_address(broker: &BrokerData) -> Option<&String> {
    broker
        .broker_addrs
        .get(&0)
        .or_else(|| broker.broker_addrs.values().next())
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
