//! What a send returns.

use std::{borrow::Cow, sync::Arc};

use rocketry_protocol::MessageQueue;

use crate::error::{Error, ErrorKind};

/// How safely the broker holds the message. Java: `SendStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendStatus {
    /// Stored as the broker is configured to.
    Ok,
    /// Stored by the master, but not flushed to disk in time.
    FlushDiskTimeout,
    /// Stored by the master, but not copied to a slave in time.
    FlushSlaveTimeout,
    /// Stored by the master, but there is no slave to copy it to.
    SlaveNotAvailable,
}

impl SendStatus {
    /// Java's name: `SEND_OK`, `FLUSH_DISK_TIMEOUT`, ...
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "SEND_OK",
            Self::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
            Self::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
            Self::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
        }
    }
}

impl std::fmt::Display for SendStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The broker's receipt: the message is stored. How safely, is [`SendResult::status`]; [`SendResult::require_durable`] makes an error of
/// anything less than asked for. Java: `SendResult`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendResult {
    /// How safely the message is stored.
    pub status: SendStatus,
    /// The message id (`UNIQ_KEY`); of a batch, the ids of its messages joined by commas.
    pub msg_id: String,
    /// Id made of the broker's address and the log offset; of a batch, several joined by commas.
    pub offset_msg_id: String,
    /// Where the message is stored. The broker may have chosen another queue than the producer.
    pub queue: MessageQueue,
    /// Position in the queue; of a batch, of its first message.
    pub queue_offset: i64,
    /// Transaction id, from 5.x brokers.
    pub transaction_id: Option<String>,
    /// Handle to recall a timer message with, from 5.x brokers.
    pub recall_handle: Option<String>,
    /// The broker's region; `DefaultRegion` when it names none.
    pub region_id: Cow<'static, str>,
    /// Whether the broker wants the message traced.
    pub trace_on: bool,
}

impl SendResult {
    /// The result, if the message is stored as the broker is configured to.
    ///
    /// # Errors
    /// [`ErrorKind::NotDurable`] otherwise. The message is stored all the same: [`Error::maybe_stored`] is true.
    pub fn require_durable(self) -> Result<Self, Error> {
        if self.status == SendStatus::Ok {
            return Ok(self);
        }
        let topic = self.queue.topic.as_arc();
        Err(Error::new(
            ErrorKind::NotDurable,
            format!("send to topic {topic:?}"),
            format!(
                "broker {:?} stored message {} with status {}",
                &*self.queue.broker_name, self.msg_id, self.status
            ),
        )
        .with_topic(Arc::clone(topic))
        .with_maybe_stored(true)
        .with_hint(
            "the master has the message, but could lose it: look at the broker's disk and slaves",
        ))
    }
}

/// What [`crate::Producer::shutdown`] had to leave unsent.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Messages that were on their way, waited for a place or for company when the deadline passed. Each send of them has failed with
    /// [`crate::ErrorKind::Closed`].
    pub unsent: Vec<Unsent>,
}

impl ShutdownReport {
    /// Whether nothing was left when the deadline passed.
    pub fn is_clean(&self) -> bool {
        self.unsent.is_empty()
    }
}

/// A message whose send was ended by shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsent {
    /// The message's topic.
    pub topic: Arc<str>,
    /// The message id; empty when the message had none yet.
    pub msg_id: String,
    /// Whether a broker may have stored it.
    pub maybe_stored: bool,
}
