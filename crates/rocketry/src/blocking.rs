//! The same client for code without async: every call blocks its thread on the future of the async call.
//!
//! A [`Client`] of this module owns a runtime with one worker thread. Its methods must not be called on a thread of an async
//! runtime; there they return an error instead of deadlocking.
//!
//! ```no_run
//! # fn main() -> Result<(), rocketry::Error> {
//! let client = rocketry::blocking::Client::connect("127.0.0.1:9876")?;
//! let producer = client.producer("orders")?;
//! let result = producer.send(rocketry::Message::new("TopicTest", "hello"))?;
//! println!("{}", result.msg_id);
//! # Ok(())
//! # }
//! ```

use std::{sync::Arc, time::Duration};

use rocketry_protocol::{Message, MessageExt, MessageQueue};

use crate::{
    connect::Connect,
    error::{Error, ErrorKind},
    producer::{
        Decision, HalfMessage, ProducerBuilder, SendResult, ShutdownReport, TransactionResult,
    },
};

/// [`crate::Client`] with a runtime of its own.
#[derive(Debug, Clone)]
pub struct Client {
    client: crate::Client,
    runtime: Runtime,
}

/// [`crate::Producer`], blocking.
#[derive(Debug, Clone)]
pub struct Producer {
    producer: crate::Producer,
    runtime: Runtime,
}

/// [`crate::SendFuture`], blocking.
#[derive(Debug)]
#[must_use = "the result says whether the message was stored"]
pub struct SendTicket {
    future: crate::SendFuture,
    runtime: Runtime,
}

impl Client {
    /// [`crate::Client::connect`]; also takes a configured [`Connect`].
    pub fn connect(connect: impl Into<Connect>) -> Result<Self, Error> {
        let runtime = Runtime::new()?;
        let client = runtime.block_on(connect.into().into_future())??;
        Ok(Self { client, runtime })
    }
    /// A producer with the default options.
    pub fn producer(&self, group: impl Into<String>) -> Result<Producer, Error> {
        self.producer_with(self.client.producer(group))
    }
    /// A producer as configured: `client.producer_with(client.inner().producer("g").retries(5))`.
    pub fn producer_with(&self, builder: ProducerBuilder) -> Result<Producer, Error> {
        Ok(Producer {
            producer: self.runtime.block_on(builder.into_future())??,
            runtime: self.runtime.clone(),
        })
    }
    /// The async client underneath.
    pub fn inner(&self) -> &crate::Client {
        &self.client
    }
    /// Runs any future of this crate to its end, for everything that has no blocking form of its own.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        self.runtime.block_on(future)
    }
    /// [`crate::Client::shutdown`].
    pub fn shutdown(&self, deadline: Duration) -> Result<ShutdownReport, Error> {
        self.runtime.block_on(self.client.shutdown(deadline))
    }
}

impl Producer {
    /// Sends and waits for the answer.
    pub fn send(&self, message: Message) -> Result<SendResult, Error> {
        self.runtime
            .block_on(self.producer.send(message).into_future())?
    }
    /// Sends to a chosen queue and waits for the answer.
    pub fn send_to(&self, message: Message, queue: MessageQueue) -> Result<SendResult, Error> {
        self.runtime
            .block_on(self.producer.send(message).queue(queue).into_future())?
    }
    /// Sends a batch and waits for the answer.
    pub fn send_batch(
        &self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<SendResult, Error> {
        self.runtime
            .block_on(self.producer.send_batch(messages).into_future())?
    }
    /// Sends without an answer.
    pub fn send_oneway(&self, message: Message) -> Result<(), Error> {
        self.runtime
            .block_on(self.producer.send_oneway(message).into_future())?
    }
    /// Sends without waiting for the answer: blocks only while too much is in flight.
    pub fn enqueue(&self, message: Message) -> Result<SendTicket, Error> {
        Ok(SendTicket {
            future: self
                .runtime
                .block_on(self.producer.enqueue(message).into_future())??,
            runtime: self.runtime.clone(),
        })
    }
    /// [`crate::Producer::send_in_transaction`]. `local` runs on the calling thread and may block, but not in calls of this client.
    ///
    /// The checker of [`ProducerBuilder::transaction_checker`] runs on the client's own thread and must not block: one that does belongs
    /// into `tokio::task::spawn_blocking`.
    pub fn send_in_transaction(
        &self,
        message: Message,
        local: impl FnOnce(HalfMessage) -> Decision + Send,
    ) -> Result<TransactionResult, Error> {
        let transaction = self.producer.send_in_transaction(message, local);
        self.runtime.block_on(transaction.into_future())?
    }
    /// [`crate::Producer::request`]: sends and waits for the reply, for `timeout` at most.
    pub fn request(&self, message: Message, timeout: Duration) -> Result<MessageExt, Error> {
        let request = self.producer.request(message).timeout(timeout);
        self.runtime.block_on(request.into_future())?
    }
    /// [`crate::Producer::recall`].
    pub fn recall(&self, topic: &str, handle: &str) -> Result<String, Error> {
        self.runtime.block_on(self.producer.recall(topic, handle))?
    }
    /// The async producer underneath.
    pub fn inner(&self) -> &crate::Producer {
        &self.producer
    }
    /// [`crate::Producer::shutdown`].
    pub fn shutdown(&self, deadline: Duration) -> Result<ShutdownReport, Error> {
        self.runtime.block_on(self.producer.shutdown(deadline))
    }
}

impl SendTicket {
    /// Blocks until the broker has answered or the send has failed.
    pub fn wait(self) -> Result<SendResult, Error> {
        self.runtime.block_on(self.future)?
    }
}

/// A runtime shared by the handles of one client.
#[derive(Debug, Clone)]
struct Runtime(Arc<Owned>);

/// Ends without waiting, so that dropping the last handle is allowed on any thread.
#[derive(Debug)]
struct Owned(Option<tokio::runtime::Runtime>);

impl Runtime {
    fn new() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("rocketry")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(
                    ErrorKind::InvalidArgument,
                    "start the runtime",
                    error.to_string(),
                )
                .with_source(error)
            })?;
        Ok(Self(Arc::new(Owned(Some(runtime)))))
    }

    fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        if tokio::runtime::Handle::try_current().is_ok() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "call the blocking client",
                "this thread runs an async runtime",
            )
            .with_hint("use rocketry::Client here, or a thread of your own (spawn_blocking)"));
        }
        match &self.0.0 {
            Some(runtime) => Ok(runtime.block_on(future)),
            None => Err(Error::new(
                ErrorKind::Closed,
                "call the blocking client",
                "its runtime has ended",
            )),
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_of_an_async_runtime_is_refused_not_deadlocked() {
        let runtime = Runtime::new().unwrap();
        let inner = runtime.clone();
        let outcome = runtime
            .block_on(async move { inner.block_on(async {}) })
            .unwrap();
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(
            error.to_string().contains("use rocketry::Client here"),
            "{error}"
        );
    }
}
