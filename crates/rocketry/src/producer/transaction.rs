//! Transactional messages: a half message goes through the pipeline like any other, then the local transaction decides.
//!
//! Java: `DefaultMQProducerImpl.sendMessageInTransaction`.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use rocketry_protocol::{
    Message, Properties, RemotingCommand, header::EndTransactionRequest, id, properties::name,
};
use rocketry_remoting::Deadline;

use super::{
    BoxFuture, DRAIN_GRACE, Decision, IntoVerdict, Outgoing, Producer, ProducerBuilder, SendMode,
    SendResult, SendStatus, Shared,
    check::Checker,
    hooks::{EndTransactionContext, Hooks},
    interpret::classify,
    order::Order,
    select::Target,
    sending,
    verdict::{Verdict, verdict_of},
};
use crate::{
    MessageExt,
    client::Core,
    clock,
    error::{Error, ErrorKind},
    hint,
};

impl ProducerBuilder {
    /// Makes the producer transactional, see [`Producer::send_in_transaction`]. Brokers that hear of no decision ask any producer of the
    /// group, also in another process: `checker` looks up what became of the local transaction of a stored half message.
    ///
    /// It returns a [`Decision`], a future of one, or a future of a `Result` of one. An error or panic leaves the transaction
    /// undecided, and the broker asks again: by default after 6 s, every 30 s, at most 15 times.
    /// [`crate::ProducerConfig::transaction_checks`] run at a time. A checker must not block; lookups that do belong into
    /// `tokio::task::spawn_blocking`.
    ///
    /// Java: `TransactionMQProducer.setTransactionListener`, `TransactionListener.checkLocalTransaction`.
    pub fn transaction_checker<F, V>(mut self, checker: F) -> Self
    where
        F: Fn(MessageExt) -> V + Send + Sync + 'static,
        V: IntoVerdict<Deciding: 'static> + 'static,
    {
        self.checker = Some(Checker::new(checker));
        self
    }
}

impl Producer {
    /// Sends a message that consumers get only if a local transaction succeeds.
    ///
    /// Stores the message invisibly, then runs `local`, then tells the broker of its decision, or that there is none. `local` returns
    /// a [`Decision`], a future of one, or a future of a `Result` of one; an error or panic leaves the transaction undecided. It is not
    /// run when the message was not stored as durably as the broker is configured to: that is a rollback.
    ///
    /// Whether the broker heard of the decision is not known, as it does not answer. If it did not, it asks the
    /// [`ProducerBuilder::transaction_checker`] later.
    ///
    /// Await the returned [`Transaction`]. Dropping the future ends what is under way, `local` too, and leaves a stored half message to
    /// the checker.
    ///
    /// ```no_run
    /// # async fn example(client: rocketry::Client) -> Result<(), rocketry::Error> {
    /// use rocketry::{Decision, Message};
    ///
    /// let producer = client.producer("orders").transaction_checker(|_half| Decision::Unknown).await?;
    /// let message = Message::new("TopicTest", "paid");
    /// let result = producer.send_in_transaction(message, async |_half| Decision::Commit).await?;
    /// println!("{} {}", result.sent.msg_id, result.decision);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Producer::send`], from storing the half message: `local` has not run then. [`ErrorKind::InvalidArgument`] for a producer
    /// without a checker, [`ErrorKind::InvalidMessage`] for a delayed message.
    ///
    /// Java: `TransactionMQProducer.sendMessageInTransaction`.
    pub fn send_in_transaction<F, V>(&self, message: Message, local: F) -> Transaction<'_, F>
    where
        F: FnOnce(HalfMessage) -> V,
        V: IntoVerdict,
    {
        Transaction {
            producer: self,
            message,
            local,
            timeout: None,
        }
    }
}

/// A transaction to be: await it.
#[derive(Debug)]
#[must_use = "nothing is sent until this is awaited"]
pub struct Transaction<'a, F> {
    producer: &'a Producer,
    message: Message,
    local: F,
    timeout: Option<Duration>,
}

impl<F> Transaction<'_, F> {
    /// The time budget of storing the half message, instead of [`crate::ProducerConfig::timeout`]. The local transaction may take longer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<'a, F, V> IntoFuture for Transaction<'a, F>
where
    F: FnOnce(HalfMessage) -> V + Send + 'a,
    V: IntoVerdict + 'a,
{
    type Output = Result<TransactionResult, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let shared = &self.producer.shared;
        Box::pin(shared.send_in_transaction(self.message, self.local, self.timeout))
    }
}

/// A stored message that no consumer sees yet.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HalfMessage {
    /// The message as it was sent, with its message id.
    pub message: Message,
    /// The broker's receipt.
    pub sent: SendResult,
}

impl HalfMessage {
    /// The id under which a check finds the transaction: [`MessageExt::msg_id`] there. Java: `Message.getTransactionId`.
    pub fn transaction_id(&self) -> &str {
        &self.sent.msg_id
    }
}

/// What a transaction came to. Java: `TransactionSendResult`, which leaves out the offset id, region and recall handle.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TransactionResult {
    /// The broker's receipt for the half message. Its queue offset is that of the half message.
    pub sent: SendResult,
    /// What the local transaction decided.
    pub decision: Decision,
    /// The text of the error or panic that left the transaction undecided.
    pub failure: Option<String>,
    /// Why the broker could not be told of the decision: it will ask. Java logs it.
    pub untold: Option<Error>,
}

impl Shared {
    async fn send_in_transaction<F, V>(
        self: &Arc<Self>,
        mut message: Message,
        local: F,
        timeout: Option<Duration>,
    ) -> Result<TransactionResult, Error>
    where
        F: FnOnce(HalfMessage) -> V,
        V: IntoVerdict,
    {
        let topic = Arc::clone(message.topic_arc());
        let action = format!("send to topic {topic:?} in a transaction");
        if self.checks.is_none() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                action,
                "the producer has no transaction checker",
            )
            .with_topic(topic)
            .with_hint("give it one: client.producer(group).transaction_checker(..)"));
        }
        if message.is_delayed() {
            return Err(Error::new(
                ErrorKind::InvalidMessage,
                action,
                "messages of transactions take no delay",
            )
            .with_topic(topic)
            .with_java_code(-1));
        }
        let properties = message.properties_mut();
        properties.set(name::TRAN_MSG, "true");
        properties.set(name::PGROUP, self.encode.group().as_str());
        // a shutdown waits for the local transaction as it does for a send
        let _counted = self.sends.token();
        let mut half = message.clone();
        let mut order = Order {
            outgoing: Outgoing::Single(message),
            target: Target::Any,
            timeout,
        };
        let sent = self.send(&mut order, SendMode::Sync).await;
        let sent = sent
            .and_then(|sent| sent.ok_or_else(sending::no_result))
            .map_err(|error| error.during(action))?;
        let properties = half.properties_mut();
        properties.set(name::UNIQ_KEY, &sent.msg_id);
        if let Some(id) = &sent.transaction_id {
            properties.set(name::TRANSACTION_ID, id);
        }
        let verdict = if sent.status == SendStatus::Ok {
            let half = HalfMessage {
                message: half.clone(),
                sent: sent.clone(),
            };
            tokio::select! {
                biased;
                verdict = verdict_of("local transaction", || local(half)) => verdict,
                () = self.abort.cancelled() => {
                    Verdict::failed("the producer was shut down before the local transaction ended")
                }
            }
        } else {
            Decision::Rollback.into()
        };
        let told = tokio::select! {
            biased;
            told = self.tell(&sent, half.properties(), &verdict) => told,
            () = self.grace_after_abort() => Err(Error::new(
                ErrorKind::Closed,
                end_action(&sent.msg_id),
                "the producer was shut down before the broker was told",
            )),
        };
        let untold = told.err();
        if let Some(error) = &untold {
            tracing::debug!(%error, "the broker will ask what became of the transaction");
        }
        Ok(TransactionResult {
            sent,
            decision: verdict.decision,
            failure: verdict.failure,
            untold,
        })
    }

    /// Ends a little after the shutdown's deadline: what needs no more than a broker that is there still gets done.
    async fn grace_after_abort(&self) {
        self.abort.cancelled().await;
        tokio::time::sleep(DRAIN_GRACE).await;
    }

    /// Tells the broker that keeps the half message. Java: `DefaultMQProducerImpl.endTransaction`.
    async fn tell(
        &self,
        sent: &SendResult,
        properties: &Properties,
        verdict: &Verdict,
    ) -> Result<(), Error> {
        let core = self.client.core();
        let queue = core.namespace.wrap_queue(sent.queue.clone())?;
        let (_, log_offset) = id::parse_offset_msg_id(&sent.offset_msg_id).map_err(|error| {
            let reason = format!("the broker's answer to the half message: {error}");
            Error::new(ErrorKind::Protocol, end_action(&sent.msg_id), reason).with_source(error)
        })?;
        let until = clock::now() + self.config.timeout;
        let broker = &sent.queue.broker_name;
        let mut address = core.routes.master(broker);
        if address.is_none() {
            // the route was lost while the local transaction ran; Java tells the name server then
            let _ = core.routes.refresh(&queue.topic, until).await;
            address = core.routes.master(broker);
        }
        let address = address.ok_or_else(|| {
            let reason = format!("no address of broker {:?} is known", &**broker);
            Error::new(ErrorKind::BrokerUnknown, end_action(&sent.msg_id), reason)
        })?;
        let ending = Ending {
            core,
            hooks: &self.hooks,
            topic: sent.queue.topic.as_str(),
            properties,
            request: EndTransactionRequest {
                topic: Some(queue.topic.as_str()),
                producer_group: self.encode.group().as_str(),
                tran_state_table_offset: sent.queue_offset,
                commit_log_offset: log_offset,
                commit_or_rollback: verdict.decision.on_the_wire(),
                from_transaction_check: false,
                msg_id: &sent.msg_id,
                transaction_id: sent.transaction_id.as_deref(),
                broker_name: Some(broker),
            },
            verdict,
            address: &address,
        };
        ending.send(Deadline::at(until)).await
    }
}

/// What became of a transaction, on its way to the broker that keeps the half message.
pub(super) struct Ending<'a> {
    pub(super) core: &'a Core,
    pub(super) hooks: &'a Hooks,
    /// The message's topic.
    pub(super) topic: &'a str,
    pub(super) properties: &'a Properties,
    pub(super) request: EndTransactionRequest<'a>,
    pub(super) verdict: &'a Verdict,
    pub(super) address: &'a str,
}

impl Ending<'_> {
    /// Hands it to the connection; the broker does not answer.
    pub(super) async fn send(self, deadline: Deadline) -> Result<(), Error> {
        let Self {
            request, verdict, ..
        } = &self;
        self.hooks.end_transaction(&EndTransactionContext {
            group: request.producer_group,
            topic: self.topic,
            properties: self.properties,
            msg_id: request.msg_id,
            transaction_id: request.transaction_id.unwrap_or(request.msg_id),
            broker_address: self.address,
            decision: verdict.decision,
            from_check: request.from_transaction_check,
        });
        let mut command = RemotingCommand::request(request);
        command.remark.clone_from(&verdict.failure);
        let transport = &self.core.transport;
        let sent = transport.oneway(self.address, command, deadline).await;
        sent.map_err(|error| {
            let (kind, phase) = classify(&error);
            let failed = Error::new(kind, end_action(request.msg_id), error.to_string());
            let failed = match hint::lost(kind, phase, self.address) {
                Some(hint) => failed.with_hint(hint),
                None => failed,
            };
            failed.with_source(error)
        })
    }
}

fn end_action(msg_id: &str) -> String {
    format!("end the transaction of message {msg_id}")
}
