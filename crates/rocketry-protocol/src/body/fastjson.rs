//! The JSON dialect of bodies and configuration files, as fastjson writes and reads it. Nothing outside this module
//! knows that it is not JSON.
//!
//! - A map whose keys are numbers or objects has them written as they are: `{0:"127.0.0.1:10911"}`,
//!   `{{"brokerName":"b","queueId":0,"topic":"T"}:5}`.
//! - Members that are null are left out; a null that is read counts as missing, so that the member keeps its default.
//! - Numbers and truth values may come as strings, enums in any letter case or as ordinals.
//! - Doubles are written in Java's style: `0.0`, `1.0E-5`, `1.0E10`.

mod java_enum;
mod read;
mod write;

pub(super) use java_enum::{JavaEnum, by_name, java_enum, known};

use serde::{Serialize, de::DeserializeOwned};

use crate::{DecodeError, EncodeError};

/// Deepest nesting that is read; the deepest body of RocketMQ has 7 levels.
pub const MAX_DEPTH: usize = 64;
/// Most members and elements that one text may have, all levels together. It bounds the memory that a text of empty objects takes.
pub const MAX_ELEMENTS: usize = 1 << 20;

/// How a text is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// The dialect, without any blank: what goes over the network.
    Compact,
    /// The dialect, one member per line, indented with tabs: configuration files.
    Pretty,
    /// Standard JSON: keys are strings, whole numbers beyond 2^53 - 1 are strings.
    Standard,
}

pub(super) fn to_vec<T: Serialize + ?Sized>(
    value: &T,
    style: Style,
) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(128);
    value
        .serialize(&mut write::Writer::new(&mut out, style))
        .map_err(|write::Refused| EncodeError::Inexpressible {
            what: "JSON body",
            reason: "one of its values cannot be serialised",
        })?;
    Ok(out)
}

pub(super) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    // Java replaces what is not UTF-8
    let text = String::from_utf8_lossy(bytes);
    let mut reader = read::Reader::new(&text);
    T::deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|fault| DecodeError::Malformed {
            what: "JSON body",
            reason: fault.at(&text),
        })
}

#[cfg(test)]
mod tests;
