//! What can be wrong with bytes from a peer or a file, and with values that do not fit the wire.

/// Bytes that are not what the protocol allows. The reader's state is lost: a connection that sees one is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("{what}: {need} bytes needed, {have} left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes the value needs.
        need: u64,
        /// Bytes that are there.
        have: u64,
    },
    /// A length or count outside its bounds.
    #[error("{what}: {value} is out of bounds ({min}..={max})")]
    OutOfBounds {
        /// What was being read.
        what: &'static str,
        /// The value found.
        value: i64,
        /// Smallest allowed value.
        min: i64,
        /// Largest allowed value.
        max: i64,
    },
    /// A value with the right size and the wrong content.
    #[error("{what}: {reason}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// Why it was refused; may quote a short piece of the input.
        reason: String,
    },
    /// A header field that the operation cannot do without.
    #[error("header field {field} is missing")]
    MissingField {
        /// The field's name on the wire.
        field: &'static str,
    },
    /// A header field whose text is not of its type.
    #[error("header field {field}: {value:?} is not {expected}")]
    BadField {
        /// The field's name on the wire.
        field: &'static str,
        /// The text found, cut to a readable length.
        value: String,
        /// The type wanted, e.g. `a 32-bit integer`.
        expected: &'static str,
    },
}

/// A value that the wire format cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Longer than its length field or the protocol's limit allows.
    #[error("{what}: {bytes} bytes exceed the limit of {limit}")]
    TooLong {
        /// What was being written.
        what: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The largest size.
        limit: usize,
    },
    /// Content that the format has no way to express.
    #[error("{what}: {reason}")]
    Inexpressible {
        /// What was being written.
        what: &'static str,
        /// Why it cannot be written.
        reason: &'static str,
    },
}

/// A readable piece of a peer's text, for error messages.
pub(crate) fn excerpt(text: &str) -> String {
    const EXCERPT_CHARS: usize = 80;
    match text.char_indices().nth(EXCERPT_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}
