//! Request and reply: a message that a consumer answers, and the answer.
//!
//! Java: `DefaultMQProducerImpl.request`. There are three of each kind there, one that blocks and one with a callback; here the future
//! serves both: await it, or spawn it and do in the task what the callback would do.

use std::{future::IntoFuture, pin::pin, sync::Arc};

use rocketry_protocol::{Message, MessageExt, NotARequest, Topic, properties::name};
use tokio::time::{Instant, timeout_at};

use super::{
    BoxFuture, Outgoing, Producer, SendMode, SendRequest, SendResult, Shared, order::Order, sending,
};
use crate::{
    clock,
    error::{Error, ErrorKind},
    replies::{Pushed, Waiting},
};

/// Mode of [`Producer::request`]: resolves to the reply.
#[derive(Debug)]
pub enum Answer {}

impl Producer {
    /// Sends a message and waits until a consumer of its topic has replied to it.
    ///
    /// Await the returned [`SendRequest`], after choosing a queue or a timeout where wanted. The timeout, that of sends unless set, is for
    /// everything: sending, and the consumer's work. A consumer replies by sending [`Message::reply_to`] with any producer of its own.
    /// [`crate::ProducerConfig::in_flight_requests`] may wait for replies at a time, further ones wait for their turn.
    ///
    /// The message is stored like any other: a consumer may work on it after nobody waits any more. Dropping the future ends the request
    /// and leaves nothing behind; a reply that comes later is ignored.
    ///
    /// ```no_run
    /// # async fn example(producer: rocketry::Producer) -> Result<(), rocketry::Error> {
    /// # use std::time::Duration;
    /// let question = rocketry::Message::new("questions", "how much?");
    /// let reply = producer.request(question).timeout(Duration::from_secs(5)).await?;
    /// println!("{:?}", reply.body);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NoReply`] when the message was stored and nobody replied in time (Java: 10006); any other kind as for
    /// [`Producer::enqueue`] when it could not be sent, at once.
    ///
    /// Java: `DefaultMQProducer.request`, which calls a callback twice: with nothing when the message is sent, and with the reply.
    pub fn request(&self, message: Message) -> SendRequest<'_, Answer> {
        SendRequest::new(self, Outgoing::Single(message))
    }

    /// Requests that wait for replies: what [`crate::ProducerConfig::in_flight_requests`] bounds.
    pub fn requests_in_flight(&self) -> usize {
        let shared = &self.shared;
        shared.config.in_flight_requests - shared.requests.available_permits()
    }
}

impl<'a> IntoFuture for SendRequest<'a, Answer> {
    type Output = Result<MessageExt, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.producer.shared.request(self.order))
    }
}

impl From<NotARequest> for Error {
    fn from(fault: NotARequest) -> Self {
        Self::new(ErrorKind::InvalidMessage, "make a reply", fault.to_string())
            .with_java_code(10_007)
            .with_source(fault)
    }
}

impl Shared {
    async fn request(self: &Arc<Self>, order: Order) -> Result<MessageExt, Error> {
        #[cfg(feature = "trace-context")]
        let mut order = order;
        // a shutdown waits for the reply as it does for a send
        #[cfg(feature = "trace-context")]
        self.propagate(&mut order);
        let _counted = self.sends.token();
        let started = clock::now();
        let deadline = self.begin(&order, started)?;
        let topic: Arc<str> = order.outgoing.topic().into();
        let action = format!("request to topic {topic:?}");
        let place = tokio::select! {
            biased;
            () = self.abort.cancelled() => {
                let error = self.aborted(&order.outgoing);
                self.counters.refused(&error);
                return Err(error.during(action));
            }
            place = timeout_at(deadline, Arc::clone(&self.requests).acquire_owned()) => place,
        };
        let Ok(Ok(place)) = place else {
            let reason = "too many requests wait for replies, and none ended in time";
            let error = Error::new(ErrorKind::Overloaded, action, reason)
                .with_topic(topic)
                .with_hint("wait for earlier requests, or raise in_flight_requests");
            self.counters.refused(&error);
            return Err(error);
        };
        let waiting = self.client.core().replies.wait(place);
        let answered = tokio::select! {
            biased;
            answered = self.ask(order, waiting, (started, deadline)) => answered,
            () = self.abort.cancelled() => Err(Error::new(
                ErrorKind::Closed,
                "request",
                "the producer was shut down before the reply came",
            )
            .with_maybe_stored(true)),
        };
        answered.map_err(|error| error.during(action).with_topic(topic))
    }

    async fn ask(
        self: &Arc<Self>,
        mut order: Order,
        mut waiting: Waiting,
        (started, deadline): (Instant, Instant),
    ) -> Result<MessageExt, Error> {
        let now = clock::now();
        let left = deadline.saturating_duration_since(now);
        if let Outgoing::Single(message) = &mut order.outgoing {
            let introduced = self.introduce(message, now + left / INTRODUCTION_SHARE);
            let is_over = tokio::select! {
                biased;
                () = self.abort.cancelled() => true,
                () = introduced => false,
            };
            if is_over {
                let error = self.aborted(&order.outgoing);
                self.counters.refused(&error);
                return Err(error);
            }
        }
        if let Outgoing::Single(message) = &mut order.outgoing {
            let properties = message.properties_mut();
            properties.set(name::CORRELATION_ID, waiting.id());
            properties.set(name::REPLY_TO_CLIENT, self.client.client_id());
            let budget = deadline.saturating_duration_since(started);
            properties.set(name::TTL, &budget.as_millis().to_string());
        }
        // The request has begun and is counted: a shutdown that began meanwhile lets it go on.
        let times = (clock::now(), deadline);
        let mut sending = pin!(async {
            let sending = self.start(&mut order, SendMode::Async, times, None);
            sending.await.result().await
        });
        let sent = tokio::select! {
            biased;
            // a reply says more than the broker's answer, and may be faster
            reply = &mut waiting.reply => return self.reply(reply.ok()),
            sent = &mut sending => sent,
        };
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::Timeout && clock::now() >= deadline => {
                return Err(error.with_java_code(REQUEST_TIMEOUT));
            }
            Err(error) => return Err(error),
        };
        match timeout_at(deadline, &mut waiting.reply).await {
            Ok(reply) => self.reply(reply.ok()),
            Err(_) => Err(no_reply(&sent).with_times(
                clock::now().saturating_duration_since(started),
                deadline.saturating_duration_since(started),
            )),
        }
    }

    /// Lets the brokers that may take the reply know of this client. What stands in the way of that stops the send too, which says so.
    async fn introduce(&self, message: &Message, until: Instant) {
        let core = self.client.core();
        let Ok(topic) = Topic::new(core.namespace.wrap(message.topic())) else {
            return;
        };
        let queues = self.config.topic_queues;
        if let Ok(route) = core.routes.publish(&topic, queues, until).await {
            for cluster in route.clusters() {
                core.introduce(cluster, until).await;
            }
        }
    }

    fn reply(&self, pushed: Option<Pushed>) -> Result<MessageExt, Error> {
        let max_body_bytes = self.config.max_message_bytes * REPLY_GROWTH;
        let message = pushed.map(|pushed| pushed.message(max_body_bytes));
        match message {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => {
                let reason = format!("the reply cannot be read: {error}");
                Err(Error::new(ErrorKind::Protocol, "request", reason)
                    .with_maybe_stored(true)
                    .with_source(error))
            }
            // the table keeps the sender as long as the receiver lives
            None => Err(sending::no_result()),
        }
    }
}

/// The part of a request's time that the brokers' heartbeats may take: a quarter.
const INTRODUCTION_SHARE: u32 = 4;
/// How much larger than [`crate::ProducerConfig::max_message_bytes`] the body of a reply may become when it is decompressed.
const REPLY_GROWTH: usize = 4;
/// Java: `ClientErrorCode.REQUEST_TIMEOUT_EXCEPTION`.
const REQUEST_TIMEOUT: i32 = 10_006;

fn no_reply(sent: &SendResult) -> Error {
    let reason = format!(
        "message {} is stored in queue {} of broker {:?} at offset {}, but no reply came",
        sent.msg_id, sent.queue.queue_id, &*sent.queue.broker_name, sent.queue_offset
    );
    Error::new(ErrorKind::NoReply, "request", reason)
        .with_maybe_stored(true)
        .with_hint("is a consumer of the topic running, and does it send Message::reply_to?")
}
