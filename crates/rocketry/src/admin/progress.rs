//! How far consumer groups are, and where they go on.

use rocketry_protocol::{
    MessageQueue, RemotingCommand, ResponseCode,
    body::{
        self,
        offsets::{ConsumeStats, ResetOffsetBody},
    },
    header::{GetConsumeStatsRequest, ResetOffsetRequest},
};
use rocketry_remoting::Deadline;

use super::{Admin, Boundary, Brokers, ask_any, topic_name, unreadable};
use crate::error::{Error, ErrorKind};

/// How far a consumer group is.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct GroupProgress {
    /// Queue by queue, sorted; empty for a group that has never committed an offset.
    pub queues: Vec<QueueProgress>,
    /// Messages the group consumes per second, as the brokers count them.
    pub messages_per_second: f64,
}

impl GroupProgress {
    /// Messages that wait to be consumed.
    #[must_use]
    pub fn lag(&self) -> i64 {
        self.queues
            .iter()
            .map(QueueProgress::lag)
            .fold(0, i64::saturating_add)
    }
}

/// How far a consumer group is in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueProgress {
    /// The queue.
    pub queue: MessageQueue,
    /// Offset after the newest message.
    pub broker_offset: i64,
    /// Offset of the next message to consume, as committed.
    pub consumer_offset: i64,
    /// Offset of the next message to hand out; at least `consumer_offset`.
    pub pull_offset: i64,
    /// When the message consumed last was stored, ms since 1970; 0 when that is not known.
    pub last_consumed_ms: i64,
}

impl QueueProgress {
    /// Messages of the queue that wait to be consumed.
    #[must_use]
    pub const fn lag(&self) -> i64 {
        self.broker_offset.saturating_sub(self.consumer_offset)
    }

    /// Those of them that clients hold already.
    #[must_use]
    pub const fn in_flight(&self) -> i64 {
        self.pull_offset.saturating_sub(self.consumer_offset)
    }
}

/// Where a group goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetTo {
    /// At the oldest message.
    First,
    /// Behind the newest message: what waits is skipped.
    Last,
    /// At the first message stored at or after this time, ms since 1970.
    Time(i64),
}

impl ResetTo {
    /// The time that says so to brokers.
    const fn timestamp(self) -> i64 {
        match self {
            Self::First => 0,
            Self::Last => -1,
            Self::Time(ms) => ms,
        }
    }
}

impl Admin {
    /// How far a group is in `topic`, or in all topics that it has offsets of. Java asks the brokers of the group's retry topic, and
    /// fails without one; here all masters are asked.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no broker is registered, and what asking a broker can fail with.
    ///
    /// Java: `mqadmin consumerProgress`.
    pub async fn group_progress(
        &self,
        group: &str,
        topic: Option<&str>,
    ) -> Result<GroupProgress, Error> {
        let namespace = &self.core().namespace;
        let name = &*self.group_name("read the progress of group", group)?;
        let topic = topic.map(|topic| namespace.wrap(topic));
        let action = format!("read the progress of group {name:?}");
        let deadline = self.deadline();
        let mut progress = GroupProgress::default();
        for (broker, address) in self.masters(&action, &Brokers::All, deadline).await? {
            let request = GetConsumeStatsRequest {
                consumer_group: name,
                topic: topic.as_deref(),
                topic_list: None,
            };
            let reply = self
                .ask_broker(&action, &broker, &address, &request, deadline)
                .await?;
            let stats: ConsumeStats =
                body::decode(&reply.body).map_err(|error| unreadable(&action, &error))?;
            progress.messages_per_second += stats.consume_tps;
            for (queue, offsets) in stats.offset_table {
                progress.queues.push(QueueProgress {
                    queue: MessageQueue {
                        topic: namespace.unwrap_topic(&topic_name(&action, &queue.topic)?),
                        broker_name: queue.broker_name.as_str().into(),
                        queue_id: queue.queue_id,
                    },
                    broker_offset: offsets.broker_offset,
                    consumer_offset: offsets.consumer_offset,
                    // Brokers before 5.0 do not say.
                    pull_offset: offsets.pull_offset.max(offsets.consumer_offset),
                    last_consumed_ms: offsets.last_timestamp,
                });
            }
        }
        progress.queues.sort_by(|a, b| a.queue.cmp(&b.queue));
        Ok(progress)
    }

    /// Lets a group go on elsewhere in all queues of a topic; returns the new offsets, sorted. Clients that run learn it from the
    /// broker and go on there; brokers before 5.0 can tell nobody when none runs, there the offsets are committed.
    ///
    /// # Errors
    /// [`ErrorKind::TopicNotFound`], [`ErrorKind::Refused`] for a group that the broker does not have, and what asking a broker can
    /// fail with; what was reset by then stays so.
    ///
    /// Java: `mqadmin resetOffsetByTime`.
    pub async fn reset_offsets(
        &self,
        group: &str,
        topic: &str,
        to: ResetTo,
    ) -> Result<Vec<(MessageQueue, i64)>, Error> {
        let namespace = &self.core().namespace;
        let name = &*self.group_name("reset the offsets of group", group)?;
        let wrapped = &*namespace.wrap(topic);
        let action = format!("reset the offsets of group {name:?} in topic {wrapped:?}");
        let deadline = self.deadline();
        let mut reset = Vec::new();
        for (broker, address) in self.masters_of(&action, wrapped, deadline).await? {
            let request = ResetOffsetRequest {
                group: name,
                topic: wrapped,
                timestamp: to.timestamp(),
                is_force: true,
                ..ResetOffsetRequest::default()
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
            .await
            .map_err(|error| explain_reset(error, group, wrapped))?;
            if reply.response_code() == ResponseCode::CONSUMER_NOT_ONLINE {
                reset.extend(self.commit_offsets(group, topic, &broker, to).await?);
                continue;
            }
            let body: ResetOffsetBody =
                body::decode(&reply.body).map_err(|error| unreadable(&action, &error))?;
            for (queue, offset) in body.offset_table {
                let queue = MessageQueue {
                    topic: namespace.unwrap_topic(&topic_name(&action, &queue.topic)?),
                    broker_name: queue.broker_name.as_str().into(),
                    queue_id: queue.queue_id,
                };
                reset.push((queue, offset));
            }
        }
        reset.sort();
        Ok(reset)
    }

    /// As [`Admin::reset_offsets`], for the queues of one broker, by committing. Java: `DefaultMQAdminExt.resetOffsetByTimestampOld`.
    async fn commit_offsets(
        &self,
        group: &str,
        topic: &str,
        broker: &str,
        to: ResetTo,
    ) -> Result<Vec<(MessageQueue, i64)>, Error> {
        let mut queues = self.subscribe_queues(topic).await?;
        queues.retain(|queue| *queue.broker_name == *broker);
        let mut reset = Vec::new();
        for queue in queues {
            let offset = match to {
                ResetTo::First => self.min_offset(&queue).await?,
                ResetTo::Last => self.max_offset(&queue).await?,
                ResetTo::Time(ms) => self.search_offset(&queue, ms, Boundary::Lower).await?,
            };
            self.update_consumer_offset(group, &queue, offset).await?;
            reset.push((queue, offset));
        }
        Ok(reset)
    }

    /// Names and addresses of the masters that hold a topic.
    pub(super) async fn masters_of(
        &self,
        action: &str,
        topic: &str,
        deadline: Deadline,
    ) -> Result<Vec<(String, String)>, Error> {
        topic_name(action, topic)?;
        let route = self.route(action, topic, deadline).await?;
        let masters: Vec<_> = route
            .broker_datas
            .into_iter()
            .filter_map(|mut broker| Some((broker.broker_name, broker.broker_addrs.remove(&0)?)))
            .collect();
        if masters.is_empty() {
            return Err(Error::new(
                ErrorKind::BrokerUnknown,
                action.to_owned(),
                "no master of the topic is registered",
            )
            .with_topic(topic));
        }
        Ok(masters)
    }
}

fn explain_reset(error: Error, group: &str, topic: &str) -> Error {
    let error = error.with_topic(topic);
    if error.response_code() == Some(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST) {
        return error.with_hint(format!(
            "check the name: rocketry group list; or create it: rocketry group create {group}"
        ));
    }
    error
}
