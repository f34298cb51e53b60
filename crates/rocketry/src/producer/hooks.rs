//! Hooks: code of the application that looks at sends, and may forbid them.
//!
//! They run on the sending task, one after the other in the order in which they were added: they must be quick and must not block.
//! A hook that panics is logged, and the send goes on as if it had returned. None of this costs anything while no hook is set.

use std::{fmt, sync::Arc, time::Duration};

use rocketry_protocol::{Message, MessageQueue, Properties, properties::name};

use super::{Decision, SendMode, SendResult};
use crate::{error::Error, guard::guarded};

/// Called before and after attempts to send. Java: `SendMessageHook`.
///
/// In synchronous sends both run once per attempt. In asynchronous ones `before` runs with the first attempt and `after` when the send
/// is over, retries included (Java calls `after` twice). A one-way send has one attempt, which ends when the connection has the request.
/// Every `before` is followed by exactly one `after`, even if the send is dropped in between.
///
/// An attempt that ends before a broker was chosen, or that a [`ForbiddenHook`] refuses, calls neither.
pub trait SendHook: Send + Sync + 'static {
    /// The message is about to be sent; the body is compressed already.
    fn before(&self, context: &SendContext<'_>) {
        let _ = context;
    }
    /// [`SendContext::outcome`] says what came of it.
    fn after(&self, context: &SendContext<'_>) {
        let _ = context;
    }
}

/// May forbid an attempt to send. Java: `CheckForbiddenHook`.
///
/// Runs before the send hooks of every attempt. Its error is final: the send fails with [`crate::ErrorKind::Forbidden`] and the error
/// as its source, whatever the mode; nothing is sent (Java asks again for each retry and then reports code 10003). The veto of a retry
/// tells of the attempts before it, and leaves a result that one of them had. A panic forbids too.
pub trait ForbiddenHook: Send + Sync + 'static {
    /// Whether this message may go to this queue.
    ///
    /// # Errors
    /// Whatever the application wants to see as the source of the send's error.
    fn check(
        &self,
        context: &SendContext<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Called before a transaction is ended, by the sender's own decision or in answer to a broker's check. Java: `EndTransactionHook`.
pub trait EndTransactionHook: Send + Sync + 'static {
    /// The request that ends the transaction is about to be sent.
    fn end(&self, context: &EndTransactionContext<'_>);
}

/// One attempt to send, as hooks see it. Java: `SendMessageContext`, `CheckForbiddenContext`.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SendContext<'a> {
    /// Number of the send within its producer, from 1: the same before and after, and in [`crate::SendEvent::send`].
    pub send: u64,
    /// Number of the attempt within its send, from 1.
    pub attempt: u32,
    /// How the message is sent.
    pub mode: SendMode,
    /// Producer group.
    pub group: &'a str,
    /// Id of the client.
    pub client_id: &'a str,
    /// Namespace of the client; one of the older kind is in front of the names here, as on the wire.
    pub namespace: Option<&'a str>,
    /// The message with its message id; of a batch, the message that holds it.
    pub message: &'a Message,
    /// What kind of message it is.
    pub message_type: MessageType,
    /// Length of the body as it travels: compressed, if it is.
    pub body_bytes: usize,
    /// The queue it goes to.
    pub queue: &'a MessageQueue,
    /// `host:port` of the broker.
    pub broker_address: &'a str,
    /// When the attempt (of an asynchronous send: the first one) began, in ms since 1970.
    pub begun_ms: i64,
    /// How long ago that was.
    pub elapsed: Duration,
    /// `None` before, what came of it after.
    pub outcome: Option<SendOutcome<'a>>,
}

/// What an attempt, or an asynchronous send, came to.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum SendOutcome<'a> {
    /// A broker stored the message.
    Stored(&'a SendResult),
    /// The connection has the one-way request; there is no result.
    Handed,
    /// It failed. A synchronous send may go on with another attempt.
    Failed(&'a Error),
    /// The send was dropped before there was an answer.
    Dropped,
}

/// What kind of message is sent. Java: `MessageType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageType {
    /// Delivered at once.
    Normal,
    /// First half of a transaction.
    Half,
    /// Delivered later.
    Delay,
}

impl MessageType {
    /// By the properties; a delay wins over a transaction. Java: `DefaultMQProducerImpl.sendKernelImpl`.
    pub(crate) fn of(properties: &Properties) -> Self {
        let delayed = [
            name::START_DELIVER_TIME,
            name::DELAY,
            name::TIMER_DELIVER_MS,
            name::TIMER_DELAY_SEC,
            name::TIMER_DELAY_MS,
        ];
        if delayed.iter().any(|name| properties.contains(name)) {
            Self::Delay
        } else if properties.get(name::TRAN_MSG) == Some("true") {
            Self::Half
        } else {
            Self::Normal
        }
    }
}

/// The end of a transaction, as hooks see it. Java: `EndTransactionContext`.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct EndTransactionContext<'a> {
    /// Producer group.
    pub group: &'a str,
    /// Topic of the message.
    pub topic: &'a str,
    /// Properties of the message.
    pub properties: &'a Properties,
    /// The message id (`UNIQ_KEY`).
    pub msg_id: &'a str,
    /// Transaction id.
    pub transaction_id: &'a str,
    /// `host:port` of the broker.
    pub broker_address: &'a str,
    /// What was decided.
    pub decision: Decision,
    /// Whether the broker had asked.
    pub from_check: bool,
}

/// The hooks of one producer.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(super) send: Vec<Arc<dyn SendHook>>,
    pub(super) forbidden: Vec<Arc<dyn ForbiddenHook>>,
    pub(super) end_transaction: Vec<Arc<dyn EndTransactionHook>>,
}

impl Hooks {
    /// A transaction is about to be ended: to be called right before the request is sent, once.
    pub(crate) fn end_transaction(&self, context: &EndTransactionContext<'_>) {
        for hook in &self.end_transaction {
            let _ = guarded("end-transaction hook", || hook.end(context));
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("send", &self.send.len())
            .field("forbidden", &self.forbidden.len())
            .field("end_transaction", &self.end_transaction.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P-131
    #[test]
    fn a_delay_wins_over_a_transaction() {
        let of = |set: &[(&str, &str)]| {
            let mut properties = Properties::default();
            for (name, value) in set {
                properties.set(name, value);
            }
            MessageType::of(&properties)
        };
        assert_eq!(of(&[]), MessageType::Normal);
        assert_eq!(of(&[("TRAN_MSG", "true")]), MessageType::Half);
        // Java compares exactly here, though the sys flag ignores case
        assert_eq!(of(&[("TRAN_MSG", "TRUE")]), MessageType::Normal);
        for name in [
            "__STARTDELIVERTIME",
            "DELAY",
            "TIMER_DELIVER_MS",
            "TIMER_DELAY_SEC",
            "TIMER_DELAY_MS",
        ] {
            assert_eq!(of(&[(name, "1")]), MessageType::Delay, "{name}");
            assert_eq!(
                of(&[("TRAN_MSG", "true"), (name, "1")]),
                MessageType::Delay,
                "{name}"
            );
        }
    }
}
