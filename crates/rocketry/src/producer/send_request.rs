//! The calls that send, before they are awaited, and the ticket of one that is on its way.

use std::{
    future::IntoFuture,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rocketry_protocol::{Message, MessageQueue, hash::java_string_hash};
use tokio::task::JoinHandle;

use super::{
    BoxFuture, Producer, Selection, SendMode, SendResult,
    accumulate::Gathered,
    by_hash,
    flight::{self, Flight, Landed},
    order::{Order, Outgoing},
    select::Target,
    sending::{HandedOver, no_result},
};
use crate::error::Error;
#[cfg(doc)]
use crate::{config::ProducerConfig, error::ErrorKind};

/// A send to be: choose a queue or a timeout, then await it.
#[must_use = "nothing is sent until this is awaited"]
#[derive(Debug)]
pub struct SendRequest<'a, M> {
    pub(super) producer: &'a Producer,
    pub(super) order: Order,
    mode: PhantomData<fn() -> M>,
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

impl<'a, M> SendRequest<'a, M> {
    pub(super) fn new(producer: &'a Producer, outgoing: Outgoing) -> Self {
        Self {
            producer,
            order: Order::new(outgoing),
            mode: PhantomData,
        }
    }
    /// Sends to this queue and no other.
    pub fn queue(mut self, queue: MessageQueue) -> Self {
        self.order.target = Target::Queue(queue);
        self
    }
    /// Lets `selector` choose among the topic's queues, once, for all attempts; see [`by_hash`]. It may return a place in the list, a
    /// queue, an `Option` of either, or a [`Selection`].
    pub fn selector<F, S>(mut self, selector: F) -> Self
    where
        F: FnOnce(&[MessageQueue], &Message) -> S + Send + 'static,
        S: Into<Selection>,
    {
        let selector =
            move |queues: &[MessageQueue], message: &Message| selector(queues, message).into();
        self.order.target = Target::Selector(Box::new(selector));
        self
    }
    /// Sends to the queue that the key's hash chooses among the topic's queues: [`by_hash`]. Messages with one key are in order as long
    /// as the queues stay the same; when some come or go, as with a broker, keys move.
    pub fn shard(self, key: impl AsRef<str>) -> Self {
        self.selector(by_hash(key))
    }
    /// As [`SendRequest::shard`], but a key never moves: the queues that this client saw at its first such send to the topic are what
    /// the keys of the topic are spread over, as long as the client lives.
    ///
    /// While the key's queue cannot be written to, because its broker is gone or read-only, the send fails: with
    /// [`ErrorKind::TopicNotWritable`] when no route has the queue, else as a send to a chosen queue does. It never goes elsewhere. It
    /// is tried once, also in asynchronous sends, since an attempt repeated could arrive after what was sent later. Await one
    /// send before the next for an order that nothing breaks; messages that were enqueued behind one that fails may be stored.
    ///
    /// A topic that does not exist yet is refused: which brokers have it is decided by its first message. Clients that are to agree on
    /// the queue of a key must see the same queues first: give the topic an order configuration, which lists them whether
    /// or not their brokers are there. New queues are used by clients that are started after them.
    ///
    /// Java has nothing like it.
    pub fn strict_shard(mut self, key: impl AsRef<str>) -> Self {
        self.order.target = Target::Strict(java_string_hash(key.as_ref()));
        self
    }
    /// The time budget of this send, instead of [`ProducerConfig::timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.order.timeout = Some(timeout);
        self
    }
}

impl<'a> IntoFuture for SendRequest<'a, Reply> {
    type Output = Result<SendResult, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let (shared, mut order) = (&self.producer.shared, self.order);
        Box::pin(async move {
            let result = shared.send(&mut order, SendMode::Sync).await?;
            result.ok_or_else(no_result)
        })
    }
}

impl<'a> IntoFuture for SendRequest<'a, Ticket> {
    type Output = Result<SendFuture, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        // The order lies elsewhere, so that what is left of it is gone before the wait: there may be tens of thousands who wait.
        let (shared, order) = (&self.producer.shared, Box::new(self.order));
        Box::pin(async move {
            let unboxed = |order: Box<Order>| *order;
            match shared.hand_over(unboxed(order)).await? {
                HandedOver::Begun(sending) => sending.detach(),
                HandedOver::Gathered(gathered) => Ok(SendFuture(State::Gathered(gathered))),
            }
        })
    }
}

impl<'a> IntoFuture for SendRequest<'a, OneWay> {
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let (shared, mut order) = (&self.producer.shared, self.order);
        Box::pin(async move { shared.send(&mut order, SendMode::OneWay).await.map(drop) })
    }
}

/// The answer to an enqueued message, later. Dropping it does not stop the send.
#[must_use = "the result says whether the message was stored"]
#[derive(Debug)]
pub struct SendFuture(State);

#[derive(Debug)]
enum State {
    /// The result is boxed, since few sends are over when their ticket is made and each ticket has a place for it.
    Done(Option<Result<Box<SendResult>, Error>>),
    Gathered(Gathered),
    Flying(Arc<Flight>),
    Going(JoinHandle<Result<SendResult, Error>>),
}

impl SendFuture {
    pub(super) fn done(result: Result<Box<SendResult>, Error>) -> Self {
        Self(State::Done(Some(result)))
    }

    pub(super) fn flying(flight: Arc<Flight>) -> Self {
        Self(State::Flying(flight))
    }

    pub(super) fn going(
        going: impl Future<Output = Result<SendResult, Error>> + Send + 'static,
    ) -> Self {
        Self(State::Going(tokio::spawn(going)))
    }
}

impl Future for SendFuture {
    type Output = Result<SendResult, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Done(done) => {
                let over = done.take().unwrap_or_else(|| Err(flight::ended()));
                Poll::Ready(over.map(|result| *result))
            }
            State::Gathered(gathered) => Pin::new(gathered).poll(cx),
            State::Flying(flight) => flight.poll(cx).map(|landed| match landed {
                Landed::Over(over) => over,
                // a task has gone on with it
                Landed::GoesOn(_) => Err(no_result()),
            }),
            State::Going(task) => Pin::new(task)
                .poll(cx)
                .map(|joined| joined.unwrap_or_else(|_| Err(flight::ended()))),
        }
    }
}
