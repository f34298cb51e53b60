//! The stored message: the layout of the commit log and of pull replies (wire.md 9.1).

use std::net::SocketAddr;

use crate::{DecodeError, EncodeError};

/// Magic word of a record whose topic length is one byte.
pub const MAGIC_V1: i32 = -626_843_481;
/// Magic word of a record whose topic length is two bytes; used exactly for topics longer than 127 bytes.
pub const MAGIC_V2: i32 = -626_843_477;
/// Magic word of the filler at the end of a commit-log file.
pub const MAGIC_BLANK: i32 = -875_286_124;

/// One record, borrowed from the log or about to be written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// CRC-32 & 0x7fffffff of the stored body.
    pub body_crc: i32,
    /// Queue number.
    pub queue_id: i32,
    /// The user's flag.
    pub flag: i32,
    /// Position in the queue.
    pub queue_offset: i64,
    /// Position of the record's first byte in the commit log.
    pub physical_offset: i64,
    /// See [`crate::sys_flag`]; the bits of the host widths are set from the addresses when encoding.
    pub sys_flag: i32,
    /// ms since 1970.
    pub born_ms: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// ms since 1970.
    pub store_ms: i64,
    /// The broker's address.
    pub store_host: SocketAddr,
    /// How often consumption was tried again.
    pub reconsume_times: i32,
    /// Log offset of the half message, 0 otherwise.
    pub prepared_transaction_offset: i64,
    /// Stored (possibly compressed) body.
    pub body: &'a [u8],
    /// Topic.
    pub topic: &'a str,
    /// Property text (raw bytes: UTF-8 is checked by whoever parses it).
    pub properties: &'a [u8],
}

impl<'a> Record<'a> {
    /// Bytes the record takes.
    pub fn encoded_len(&self) -> usize {
        todo!()
    }
    /// Appends the record.
    ///
    /// # Errors
    /// A topic, body or property text beyond its length field.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let _ = out;
        todo!()
    }
    /// Reads the record at the front of `bytes`; returns it with the bytes it takes (its TOTALSIZE). Does not check the body's CRC.
    ///
    /// # Errors
    /// Truncated bytes, a wrong magic word, lengths that do not add up to TOTALSIZE.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, usize), DecodeError> {
        let _ = bytes;
        todo!()
    }
}
