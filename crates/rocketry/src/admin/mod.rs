//! Administration: topics, offsets, messages, the cluster.

use rocketry_protocol::{MessageExt, MessageQueue};

use crate::{client::Client, error::Error};

/// Administrative calls. Each asks name servers or brokers anew; nothing is cached.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

/// Settings of a topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            read_queues: 8,
            write_queues: 8,
            perm: 6,
            cluster: None,
            broker: None,
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

/// Which message a search by time means when several were stored in that millisecond, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Boundary {
    /// The first message stored at or after the time.
    #[default]
    Lower,
    /// The last message stored at or before the time.
    Upper,
}

impl Admin {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }
    /// Names of all topics, sorted.
    pub async fn topics(&self) -> Result<Vec<String>, Error> {
        let _ = &self.client;
        todo!()
    }
    /// Creates or changes a topic on every chosen master; returns their addresses.
    pub async fn create_topic(
        &self,
        topic: &str,
        options: &TopicOptions,
    ) -> Result<Vec<String>, Error> {
        let _ = (topic, options);
        todo!()
    }
    /// Deletes a topic from every master and name server.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        let _ = topic;
        todo!()
    }
    /// Extent of every queue of a topic, sorted.
    pub async fn topic_stats(&self, topic: &str) -> Result<Vec<QueueStats>, Error> {
        let _ = topic;
        todo!()
    }
    /// The queues that can be written to.
    pub async fn publish_queues(&self, topic: &str) -> Result<Vec<MessageQueue>, Error> {
        let _ = topic;
        todo!()
    }
    /// The queues that can be read from.
    pub async fn subscribe_queues(&self, topic: &str) -> Result<Vec<MessageQueue>, Error> {
        let _ = topic;
        todo!()
    }
    /// Offset of the oldest message of a queue.
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<i64, Error> {
        let _ = queue;
        todo!()
    }
    /// Offset after the newest message of a queue.
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<i64, Error> {
        let _ = queue;
        todo!()
    }
    /// Offset of the message stored at a time, in ms since 1970.
    pub async fn search_offset(
        &self,
        queue: &MessageQueue,
        time_ms: i64,
        boundary: Boundary,
    ) -> Result<i64, Error> {
        let _ = (queue, time_ms, boundary);
        todo!()
    }
    /// The offset a consumer group has committed; `None` when it has not.
    pub async fn consumer_offset(
        &self,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, Error> {
        let _ = (group, queue);
        todo!()
    }
    /// Commits an offset for a consumer group.
    pub async fn update_consumer_offset(
        &self,
        group: &str,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), Error> {
        let _ = (group, queue, offset);
        todo!()
    }
    /// The message of an offset message id.
    pub async fn view_message(
        &self,
        topic: &str,
        offset_msg_id: &str,
    ) -> Result<MessageExt, Error> {
        let _ = (topic, offset_msg_id);
        todo!()
    }
}
