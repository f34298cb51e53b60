//! Typed header fields: one request and one reply per operation, and the code that names it.
//!
//! Requests borrow their text, from the caller when they are written and from the frame when they are read. Replies own
//! theirs. Operations without header fields have no type here: see [`crate::RemotingCommand::bare_request`]. To add an
//! operation, copy a neighbour.
//!
//! Not part of any type, and ignored by readers: the fields that Java's header classes inherit (`ns`, `nsd`, `oway`, `lo`)
//! and what client hooks add. [`crate::RemotingCommand::field`] reads them.

use crate::{DecodeError, FieldReader, FieldWriter, RequestCode};

#[macro_use]
mod define;

mod auth;
mod broker;
mod consumer;
mod group;
mod kv_config;
mod membership;
mod offset;
mod pop;
mod pull_message;
mod query_message;
mod register;
mod reply;
mod route;
mod send_back;
mod send_message;
mod statistics;
mod topic;
mod transaction;

pub use auth::*;
pub use broker::*;
pub use consumer::*;
pub use group::*;
pub use kv_config::*;
pub use membership::*;
pub use offset::*;
pub use pop::*;
pub use pull_message::*;
pub use query_message::*;
pub use register::*;
pub use reply::*;
pub use route::*;
pub use send_back::*;
pub use send_message::*;
pub use statistics::*;
pub use topic::*;
pub use transaction::*;

/// Typed fields that can be written into a header.
pub trait WriteHeader {
    /// Writes every field that is set.
    fn write(&self, out: &mut FieldWriter<'_>);
}

/// Typed fields that can be read from a header.
pub trait ReadHeader<'a>: Sized {
    /// Reads the fields; unknown ones are ignored.
    ///
    /// # Errors
    /// A missing required field, or text that is not of the field's type.
    fn read(fields: &FieldReader<'a>) -> Result<Self, DecodeError>;
}

/// A request header: which code it travels under and what answers it.
pub trait Request: WriteHeader {
    /// The code of the request.
    const CODE: RequestCode;
    /// The header of a successful response.
    type Reply: for<'r> ReadHeader<'r>;
}

/// A header without fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoFields;

impl WriteHeader for NoFields {
    fn write(&self, _: &mut FieldWriter<'_>) {}
}
impl ReadHeader<'_> for NoFields {
    fn read(_: &FieldReader<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests;
