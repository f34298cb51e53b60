//! What becomes of a transaction.

use std::fmt;

use rocketry_protocol::header::transaction_state;

/// What becomes of a transactional message. Java: `LocalTransactionState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// The local transaction succeeded: consumers get the message.
    Commit,
    /// It failed: nobody gets the message.
    Rollback,
    /// Not known yet: the broker asks later, see [`crate::ProducerBuilder::transaction_checker`].
    Unknown,
}

impl Decision {
    /// Java's name: `COMMIT_MESSAGE`, `ROLLBACK_MESSAGE`, `UNKNOW` (so spelled).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "COMMIT_MESSAGE",
            Self::Rollback => "ROLLBACK_MESSAGE",
            Self::Unknown => "UNKNOW",
        }
    }

    pub(crate) const fn on_the_wire(self) -> i32 {
        match self {
            Self::Commit => transaction_state::COMMIT,
            Self::Rollback => transaction_state::ROLLBACK,
            Self::Unknown => transaction_state::UNKNOWN,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
