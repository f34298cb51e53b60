//! Validated names of topics and groups.

use std::{fmt, sync::Arc};

/// A topic name that every RocketMQ server accepts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

/// A producer or consumer group name that every RocketMQ server accepts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(Arc<str>);

/// Why a name was refused; says the rule and the offending part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {name:?}: {reason}")]
pub struct NameError {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl Topic {
    /// Checks blank, length (127 characters; 255 for retry and dead-letter topics) and characters (`%|-_a-zA-Z0-9`).
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let _ = name;
        todo!()
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl Group {
    /// Checks blank, length (120 characters; 255 in Java's client check, 120 at the broker) and characters.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let _ = name;
        todo!()
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
