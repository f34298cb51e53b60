//! The producer's public calls. What happens to a message is in the stages, which `send::drive` runs in order.

mod fault;
mod result;

pub use fault::LatencyPolicy;
pub use result::{SendResult, SendStatus, ShutdownReport, Unsent};

use std::{
    future::IntoFuture,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rocketry_protocol::{Message, MessageQueue, compress::Compression};

use crate::{client::Client, config::ProducerConfig, error::Error};

/// A [`Producer`] to be: configure it, then await it.
#[derive(Debug, Clone)]
#[must_use = "a producer exists once this is awaited"]
pub struct ProducerBuilder {
    client: Client,
    group: String,
    config: ProducerConfig,
}

impl ProducerBuilder {
    pub(crate) fn new(client: Client, group: String) -> Self {
        Self {
            client,
            group,
            config: ProducerConfig::default(),
        }
    }
    /// All options at once.
    pub fn config(mut self, config: ProducerConfig) -> Self {
        self.config = config;
        self
    }
    /// See [`ProducerConfig::timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }
    /// See [`ProducerConfig::retries`].
    pub fn retries(mut self, retries: u32) -> Self {
        self.config.retries = retries;
        self
    }
    /// See [`ProducerConfig::compression`]; `None` sends bodies plain.
    pub fn compression(mut self, compression: impl Into<Option<Compression>>) -> Self {
        self.config.compression = compression.into();
        self
    }
    /// See [`ProducerConfig::topics`].
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.config.topics = topics.into_iter().map(Into::into).collect();
        self
    }
}

impl IntoFuture for ProducerBuilder {
    type Output = Result<Producer, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + std::marker::Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.config.check()?;
            let _ = (self.client, self.group);
            todo!()
        })
    }
}

/// Sends messages. Cloning is cheap and shares all of it; every call takes `&self`, concurrent sends are welcome.
#[derive(Debug, Clone)]
pub struct Producer {}

impl Producer {
    /// Sends one message and waits until the broker has answered, trying other brokers as configured.
    ///
    /// Await the returned [`Send`], after choosing a queue or a timeout where wanted:
    /// `producer.send(message).timeout(Duration::from_secs(1)).await?`.
    pub fn send(&self, message: Message) -> Send<'_, Reply> {
        let _ = message;
        todo!()
    }
    /// Sends one message and resolves when the request is on its way; the [`SendFuture`] resolves with the broker's answer.
    ///
    /// Waits while [`ProducerConfig::in_flight_messages`] or [`ProducerConfig::in_flight_bytes`] are reached. Messages that one task
    /// enqueues to one queue arrive in that order.
    pub fn enqueue(&self, message: Message) -> Send<'_, Ticket> {
        let _ = message;
        todo!()
    }
    /// [`Producer::enqueue`] with a callback instead of a ticket. Every failure after the call reaches the callback, exactly once.
    ///
    /// The callback runs on a task of its own; the message counts as in flight until it returns.
    pub async fn enqueue_with<F>(&self, message: Message, callback: F) -> Result<(), Error>
    where
        F: FnOnce(Result<SendResult, Error>) + std::marker::Send + 'static,
    {
        let _ = (message, callback);
        todo!()
    }
    /// Hands one message to the connection; no broker answers, and what happens there is not reported.
    pub fn send_oneway(&self, message: Message) -> Send<'_, OneWay> {
        let _ = message;
        todo!()
    }
    /// Sends messages of one topic in one request; see [`split_batch`] for lists that may exceed the size limit.
    pub async fn send_batch(
        &self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<SendResult, Error> {
        let _ = messages.into_iter().count();
        todo!()
    }
    /// Queues that messages of `topic` can be sent to, in the order in which they are used.
    pub async fn publish_queues(&self, topic: &str) -> Result<Vec<MessageQueue>, Error> {
        let _ = topic;
        todo!()
    }
    /// Refuses new sends, waits for those in flight until `deadline` has passed, fails the rest, and unregisters the group.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let _ = deadline;
        todo!()
    }
}

/// A send to be: choose a queue or a timeout, then await it.
#[must_use = "nothing is sent until this is awaited"]
#[derive(Debug)]
pub struct Send<'a, M> {
    mode: std::marker::PhantomData<(&'a (), M)>,
}

/// Mode of [`Producer::send`]: resolves to the [`SendResult`].
#[derive(Debug)]
pub enum Reply {}
/// Mode of [`Producer::enqueue`]: resolves to a [`SendFuture`].
#[derive(Debug)]
pub enum Ticket {}
/// Mode of [`Producer::send_oneway`]: resolves to nothing.
#[derive(Debug)]
pub enum OneWay {}

impl<M> Send<'_, M> {
    /// Sends to this queue and no other.
    pub fn queue(self, queue: MessageQueue) -> Self {
        let _ = queue;
        todo!()
    }
    /// Lets `selector` choose among the topic's queues; see [`by_hash`].
    pub fn selector<F, S>(self, selector: F) -> Self
    where
        F: FnOnce(&[MessageQueue], &Message) -> S + std::marker::Send + 'static,
        S: Into<Selection>,
    {
        let _ = selector;
        todo!()
    }
    /// The time budget of this send, instead of [`ProducerConfig::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        let _ = timeout;
        todo!()
    }
}

macro_rules! into_future {
    ($mode:ty, $output:ty) => {
        impl<'a> IntoFuture for Send<'a, $mode> {
            type Output = Result<$output, Error>;
            type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + std::marker::Send + 'a>>;

            fn into_future(self) -> Self::IntoFuture {
                todo!()
            }
        }
    };
}
into_future!(Reply, SendResult);
into_future!(Ticket, SendFuture);
into_future!(OneWay, ());

/// What a queue selector chose.
#[derive(Debug)]
#[non_exhaustive]
pub enum Selection {
    /// The queue at this place of the list.
    Index(usize),
    /// This queue, whether or not it is in the list.
    Queue(MessageQueue),
    /// No queue: the send fails.
    None,
    /// The selector failed: the send fails with this cause.
    Failed(Box<dyn std::error::Error + std::marker::Send + Sync>),
}

impl From<usize> for Selection {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}
impl From<MessageQueue> for Selection {
    fn from(queue: MessageQueue) -> Self {
        Self::Queue(queue)
    }
}

/// Chooses by the hash of `key`, as Java's `SelectMessageQueueByHash` does for a string argument.
pub fn by_hash(
    key: impl Into<String>,
) -> impl FnOnce(&[MessageQueue], &Message) -> Selection + std::marker::Send + 'static {
    let key = key.into();
    move |_, _| {
        let _ = key;
        todo!()
    }
}

/// Chooses at random, as Java's `SelectMessageQueueByRandom`.
pub fn by_random()
-> impl FnOnce(&[MessageQueue], &Message) -> Selection + std::marker::Send + 'static {
    |_, _| todo!()
}

/// Cuts messages of one topic into lists whose encoded size is at most `max_bytes`. A message beyond it gets a list of its own.
pub fn split_batch(messages: Vec<Message>, max_bytes: usize) -> Vec<Vec<Message>> {
    let _ = (messages, max_bytes);
    todo!()
}

/// The answer to an enqueued message, later. Dropping it does not stop the send.
#[must_use = "the result says whether the message was stored"]
#[derive(Debug)]
pub struct SendFuture {}

impl Future for SendFuture {
    type Output = Result<SendResult, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let _ = cx;
        todo!()
    }
}
