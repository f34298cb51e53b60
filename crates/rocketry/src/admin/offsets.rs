//! Offsets of queues, and those that consumer groups have committed.

use std::sync::Arc;

use rocketry_protocol::{
    MessageQueue, ReadHeader, Request, ResponseCode,
    header::{
        BoundaryType, GetEarliestMsgStoretimeRequest, GetMaxOffsetRequest, GetMinOffsetRequest,
        OffsetReply, QueryConsumerOffsetRequest, SearchOffsetRequest, TimestampReply,
        UpdateConsumerOffsetRequest,
    },
};
use tokio::task::JoinSet;

use super::{Admin, unreadable};
use crate::error::Error;

/// Which message a search by time means when several were stored in that millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Boundary {
    /// The first of them.
    #[default]
    Lower,
    /// The last of them.
    Upper,
}

impl Admin {
    /// Offset of the oldest message of a queue.
    ///
    /// # Errors
    /// [`crate::ErrorKind::BrokerUnknown`], and what asking a broker can fail with; so for all calls about a queue.
    ///
    /// Java: `MQAdminImpl.minOffset`.
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<i64, Error> {
        let queue = &self.core().namespace.wrap_queue(queue.clone())?;
        let request = GetMinOffsetRequest {
            topic: queue.topic.as_str(),
            queue_id: queue.queue_id,
            broker_name: Some(&queue.broker_name),
        };
        self.queue_call::<_, OffsetReply>("find the first offset of", queue, &request)
            .await
            .map(|reply| reply.offset)
    }

    /// Offset after the newest message of a queue.
    ///
    /// Java: `MQAdminImpl.maxOffset`.
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<i64, Error> {
        let queue = &self.core().namespace.wrap_queue(queue.clone())?;
        let request = GetMaxOffsetRequest {
            topic: queue.topic.as_str(),
            queue_id: queue.queue_id,
            committed: true,
            broker_name: Some(&queue.broker_name),
        };
        self.queue_call::<_, OffsetReply>("find the last offset of", queue, &request)
            .await
            .map(|reply| reply.offset)
    }

    /// Offset of the first message stored at or after `time_ms` (ms since 1970).
    ///
    /// Java: `MQAdminImpl.searchOffset`.
    pub async fn search_offset(
        &self,
        queue: &MessageQueue,
        time_ms: i64,
        boundary: Boundary,
    ) -> Result<i64, Error> {
        let queue = &self.core().namespace.wrap_queue(queue.clone())?;
        let request = SearchOffsetRequest {
            topic: queue.topic.as_str(),
            lite_topic: None,
            queue_id: queue.queue_id,
            timestamp: time_ms,
            boundary_type: Some(match boundary {
                Boundary::Lower => BoundaryType::Lower,
                Boundary::Upper => BoundaryType::Upper,
            }),
            broker_name: Some(&queue.broker_name),
        };
        self.queue_call::<_, OffsetReply>("search by time in", queue, &request)
            .await
            .map(|reply| reply.offset)
    }

    /// When the oldest message of a queue was stored, ms since 1970; -1 when there is none.
    ///
    /// Java: `MQAdminImpl.earliestMsgStoreTime`.
    pub async fn earliest_store_time(&self, queue: &MessageQueue) -> Result<i64, Error> {
        let queue = &self.core().namespace.wrap_queue(queue.clone())?;
        let request = GetEarliestMsgStoretimeRequest {
            topic: queue.topic.as_str(),
            queue_id: queue.queue_id,
            broker_name: Some(&queue.broker_name),
        };
        self.queue_call::<_, TimestampReply>("find the first store time of", queue, &request)
            .await
            .map(|reply| reply.timestamp)
    }

    /// The offset a consumer group has committed for a queue; `None` when it has not.
    ///
    /// Java: `RemoteBrokerOffsetStore.fetchConsumeOffsetFromBroker`.
    pub async fn consumer_offset(
        &self,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, Error> {
        let namespace = &self.core().namespace;
        let (group, queue) = (
            &*namespace.wrap(group),
            &namespace.wrap_queue(queue.clone())?,
        );
        let request = QueryConsumerOffsetRequest {
            consumer_group: group,
            topic: queue.topic.as_str(),
            queue_id: queue.queue_id,
            set_zero_if_not_found: Some(false),
            broker_name: Some(&queue.broker_name),
        };
        match self
            .queue_call::<_, OffsetReply>("find the committed offset of", queue, &request)
            .await
        {
            Ok(reply) => Ok(Some(reply.offset)),
            Err(error) if error.response_code() == Some(ResponseCode::QUERY_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Commits an offset of a queue for a consumer group, forwards or backwards.
    ///
    /// Java: `RemoteBrokerOffsetStore.updateConsumeOffsetToBroker`.
    pub async fn update_consumer_offset(
        &self,
        group: &str,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), Error> {
        let namespace = &self.core().namespace;
        let (group, queue) = (
            &*namespace.wrap(group),
            &namespace.wrap_queue(queue.clone())?,
        );
        let request = UpdateConsumerOffsetRequest {
            consumer_group: group,
            topic: queue.topic.as_str(),
            queue_id: queue.queue_id,
            commit_offset: offset,
            broker_name: Some(&queue.broker_name),
        };
        self.queue_call::<_, rocketry_protocol::header::NoFields>(
            "commit an offset of",
            queue,
            &request,
        )
        .await
        .map(drop)
    }

    /// Commits an offset of each of several queues for a consumer group, at the same time.
    ///
    /// # Errors
    /// The first failure, after all others were committed.
    pub async fn update_consumer_offsets(
        &self,
        group: &str,
        offsets: impl IntoIterator<Item = (MessageQueue, i64)>,
    ) -> Result<(), Error> {
        let group: Arc<str> = group.into();
        let mut commits = JoinSet::new();
        for (queue, offset) in offsets {
            let (admin, group) = (self.clone(), Arc::clone(&group));
            commits
                .spawn(async move { admin.update_consumer_offset(&group, &queue, offset).await });
        }
        commits.join_all().await.into_iter().collect()
    }

    async fn queue_call<R: Request, A: for<'a> ReadHeader<'a>>(
        &self,
        what: &str,
        queue: &MessageQueue,
        request: &R,
    ) -> Result<A, Error> {
        let action = format!(
            "{what} queue {} of topic {:?} on broker {:?}",
            queue.queue_id,
            queue.topic.as_str(),
            &*queue.broker_name
        );
        let deadline = self.deadline();
        let address = self.address(&action, queue, deadline).await?;
        let reply = self
            .ask_broker(&action, &queue.broker_name, &address, request, deadline)
            .await
            .map_err(|error| error.with_topic(queue.topic.as_str()))?;
        reply.header().map_err(|error| unreadable(&action, &error))
    }
}
