//! One send, as the application asked for it.

use std::{fmt, time::Duration};

use rocketry_protocol::Message;

use super::select::Target;

/// One send, as the application asked for it.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) outgoing: Outgoing,
    pub(crate) target: Target,
    pub(crate) timeout: Option<Duration>,
}

impl Order {
    /// To any queue, within the producer's time.
    pub(super) const fn new(outgoing: Outgoing) -> Self {
        Self {
            outgoing,
            target: Target::Any,
            timeout: None,
        }
    }

    /// Takes out what is to be sent, and where: a future that is handed a reference need not hold it a second time.
    pub(super) fn take(&mut self) -> (Outgoing, Target) {
        let nothing = Outgoing::Batch(Vec::new());
        (
            std::mem::replace(&mut self.outgoing, nothing),
            std::mem::replace(&mut self.target, Target::Any),
        )
    }

    /// All of it, by value.
    pub(super) fn taken(&mut self) -> Self {
        let (outgoing, target) = self.take();
        Self {
            outgoing,
            target,
            timeout: self.timeout,
        }
    }
}

/// What an application sends at once.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Single(Message),
    Batch(Vec<Message>),
    /// A batch that the producer has made of single messages with the same tags.
    Gathered(Vec<Message>),
}

/// How a message is sent. Java: `CommunicationMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendMode {
    /// [`crate::Producer::send`].
    Sync,
    /// [`crate::Producer::enqueue`].
    Async,
    /// [`crate::Producer::send_oneway`].
    OneWay,
}

impl fmt::Display for SendMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sync => "sync",
            Self::Async => "async",
            Self::OneWay => "one-way",
        })
    }
}

impl Outgoing {
    pub(crate) fn messages(&self) -> &[Message] {
        match self {
            Self::Single(message) => std::slice::from_ref(message),
            Self::Batch(messages) | Self::Gathered(messages) => messages,
        }
    }

    pub(crate) fn topic(&self) -> &str {
        self.messages().first().map_or("", Message::topic)
    }

    pub(crate) fn count(&self) -> usize {
        self.messages().len()
    }

    pub(crate) fn body_bytes(&self) -> usize {
        self.messages()
            .iter()
            .map(|message| message.body().len())
            .sum()
    }
}
