//! What becomes of a transaction.

use std::fmt;

/// What becomes of a transactional message. Java: `LocalTransactionState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// It is delivered.
    Commit,
    /// It is dropped.
    Rollback,
    /// Not known yet: the broker asks again later.
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
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
