//! A plain reader of a topic's queues: pulls without a consumer group's rebalancing.

use std::{future::IntoFuture, pin::Pin, time::Duration};

use rocketry_protocol::{MessageExt, MessageQueue};

use crate::{client::Client, error::Error};

/// Where a [`Reader`] starts in each queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StartAt {
    /// The oldest message that the broker still has.
    #[default]
    First,
    /// After the newest message at the time the reader is made.
    Last,
    /// This queue offset, moved into what the broker has.
    Offset(i64),
    /// The first message stored at or after this time, in milliseconds since 1970.
    Time(i64),
}

/// A [`Reader`] to be: configure it, then await it.
#[derive(Debug, Clone)]
#[must_use = "a reader exists once this is awaited"]
pub struct ReaderBuilder {
    client: Client,
    topic: String,
    group: Option<String>,
    start: StartAt,
    filter: String,
    queues: Option<Vec<MessageQueue>>,
}

impl ReaderBuilder {
    pub(crate) fn new(client: Client, topic: String) -> Self {
        Self {
            client,
            topic,
            group: None,
            start: StartAt::First,
            filter: "*".to_owned(),
            queues: None,
        }
    }
    /// Starts where this consumer group has committed (else at [`ReaderBuilder::start`]), and lets [`Reader::commit`] commit for it.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }
    /// Where to start in queues without a committed offset. Default [`StartAt::First`].
    pub fn start(mut self, start: StartAt) -> Self {
        self.start = start;
        self
    }
    /// Tags to read, as in `"TagA || TagB"`. Default `"*"`.
    pub fn filter(mut self, tags: impl Into<String>) -> Self {
        self.filter = tags.into();
        self
    }
    /// Reads only these queues. Default all readable queues of the topic.
    pub fn queues(mut self, queues: impl IntoIterator<Item = MessageQueue>) -> Self {
        self.queues = Some(queues.into_iter().collect());
        self
    }
}

impl IntoFuture for ReaderBuilder {
    type Output = Result<Reader, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let _ = (
                self.client,
                self.topic,
                self.group,
                self.start,
                self.filter,
                self.queues,
            );
            todo!()
        })
    }
}

/// Reads the queues of a topic, in order within each queue. Dropping it ends its tasks; nothing is committed by that.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// The next messages, all of one queue; empty when none arrived within `wait`.
    ///
    /// Cancel safe: a message is either returned or kept for the next call.
    pub async fn next_batch(&mut self, wait: Duration) -> Result<Vec<MessageExt>, Error> {
        let _ = wait;
        todo!()
    }
    /// The queues read, each with the offset after the last message handed out.
    pub fn positions(&self) -> Vec<(MessageQueue, i64)> {
        todo!()
    }
    /// Commits [`Reader::positions`] for the reader's group.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidArgument`] without a group; failures of the brokers.
    pub async fn commit(&self) -> Result<(), Error> {
        todo!()
    }
}
