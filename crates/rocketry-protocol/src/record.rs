//! The stored message: the layout of the commit log and of pull replies.
//!
//! ```text
//! i32 TOTALSIZE | i32 MAGIC | i32 BODYCRC | i32 QUEUEID | i32 FLAG | i64 QUEUEOFFSET | i64 PHYSICALOFFSET | i32 SYSFLAG
//! i64 BORNTIMESTAMP | 4 or 16 bytes + i32 BORNHOST | i64 STORETIMESTAMP | 4 or 16 bytes + i32 STOREHOST | i32 RECONSUMETIMES
//! i64 PREPAREDTXOFFSET | i32 + bytes BODY | u8 (V1) or i16 (V2) + bytes TOPIC | i16 + bytes PROPERTIES
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{DecodeError, EncodeError, hash, properties, sys_flag};

/// Magic word of a record whose topic length is one byte.
pub const MAGIC_V1: i32 = -626_843_481;
/// Magic word of a record whose topic length is two bytes; used exactly for topics longer than 127 bytes.
pub const MAGIC_V2: i32 = -626_843_477;
/// Magic word of the filler at the end of a commit-log file.
pub const MAGIC_BLANK: i32 = -875_286_124;
/// Bytes of the smallest record: V1, both hosts IPv4, no body, topic or properties.
pub const MIN_BYTES: usize = 91;
/// Longest topic of a V1 record, in bytes.
pub const MAX_V1_TOPIC_BYTES: usize = 127;

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
        let topic_len_bytes = if self.topic.len() > MAX_V1_TOPIC_BYTES {
            2
        } else {
            1
        };
        MIN_BYTES - 1 - 8
            + host_bytes(self.born_host)
            + host_bytes(self.store_host)
            + self.body.len()
            + topic_len_bytes
            + self.topic.len()
            + self.properties.len()
    }
    /// Appends the record. An IPv4 address mapped into IPv6 is written as IPv4, as Java does. On an error nothing is written.
    ///
    /// # Errors
    /// A topic, body or property text beyond its length field.
    ///
    /// Java: `MessageExtEncoder.encode`
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let too_long = |what, bytes, limit| EncodeError::TooLong { what, bytes, limit };
        let topic_len = i16::try_from(self.topic.len())
            .map_err(|_| too_long("topic", self.topic.len(), i16::MAX as usize))?;
        let properties_len = i16::try_from(self.properties.len())
            .map_err(|_| too_long("properties", self.properties.len(), properties::MAX_BYTES))?;
        let body_len = i32::try_from(self.body.len())
            .map_err(|_| too_long("body", self.body.len(), i32::MAX as usize))?;
        let total = self.encoded_len();
        let total_size =
            i32::try_from(total).map_err(|_| too_long("record", total, i32::MAX as usize))?;
        let v2 = self.topic.len() > MAX_V1_TOPIC_BYTES;
        let mut flags = self.sys_flag & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6);
        if host_bytes(self.born_host) == 16 {
            flags |= sys_flag::BORN_HOST_V6;
        }
        if host_bytes(self.store_host) == 16 {
            flags |= sys_flag::STORE_HOST_V6;
        }

        out.reserve(total);
        out.extend_from_slice(&total_size.to_be_bytes());
        out.extend_from_slice(&if v2 { MAGIC_V2 } else { MAGIC_V1 }.to_be_bytes());
        out.extend_from_slice(&self.body_crc.to_be_bytes());
        out.extend_from_slice(&self.queue_id.to_be_bytes());
        out.extend_from_slice(&self.flag.to_be_bytes());
        out.extend_from_slice(&self.queue_offset.to_be_bytes());
        out.extend_from_slice(&self.physical_offset.to_be_bytes());
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&self.born_ms.to_be_bytes());
        write_host(self.born_host, out);
        out.extend_from_slice(&self.store_ms.to_be_bytes());
        write_host(self.store_host, out);
        out.extend_from_slice(&self.reconsume_times.to_be_bytes());
        out.extend_from_slice(&self.prepared_transaction_offset.to_be_bytes());
        out.extend_from_slice(&body_len.to_be_bytes());
        out.extend_from_slice(self.body);
        let topic_len = topic_len.to_be_bytes();
        out.extend_from_slice(if v2 {
            &topic_len
        } else {
            topic_len.split_at(1).1
        });
        out.extend_from_slice(self.topic.as_bytes());
        out.extend_from_slice(&properties_len.to_be_bytes());
        out.extend_from_slice(self.properties);
        Ok(())
    }
    /// Reads the record at the front of `bytes`; returns it with the bytes it takes (its TOTALSIZE). Does not check the body's CRC.
    ///
    /// Stricter than Java's `MessageDecoder.decode`, which ignores TOTALSIZE: the fields must end exactly there.
    ///
    /// # Errors
    /// Truncated bytes, a wrong magic word, lengths that do not add up to TOTALSIZE, a port beyond 65,535, a topic that is not UTF-8.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, usize), DecodeError> {
        let mut head = Cursor { rest: bytes };
        let total_size = head.i32()?;
        let v2 = match head.i32()? {
            MAGIC_V1 => false,
            MAGIC_V2 => true,
            MAGIC_BLANK => {
                return Err(malformed(
                    "the filler at the end of a commit-log file, not a record".to_owned(),
                ));
            }
            other => {
                return Err(malformed(format!(
                    "magic word {other:#010x} is not that of a record"
                )));
            }
        };
        let total = match usize::try_from(total_size) {
            Ok(total) if total >= MIN_BYTES => total,
            _ => return Err(out_of_bounds("record size", total_size, 91, i32::MAX)),
        };
        let record = bytes.get(8..total).ok_or(DecodeError::Truncated {
            what: "record",
            need: total as u64,
            have: bytes.len() as u64,
        })?;

        let mut fields = Cursor { rest: record };
        let body_crc = fields.i32()?;
        let queue_id = fields.i32()?;
        let flag = fields.i32()?;
        let queue_offset = fields.i64()?;
        let physical_offset = fields.i64()?;
        let sys_flag = fields.i32()?;
        let born_ms = fields.i64()?;
        let born_host = fields.host(sys_flag & sys_flag::BORN_HOST_V6 != 0)?;
        let store_ms = fields.i64()?;
        let store_host = fields.host(sys_flag & sys_flag::STORE_HOST_V6 != 0)?;
        let reconsume_times = fields.i32()?;
        let prepared_transaction_offset = fields.i64()?;
        // Java reads negative lengths of body and properties as "none"
        let body_len = fields.i32()?.max(0);
        let body = fields.take(body_len.unsigned_abs() as usize)?;
        let topic_len = if v2 {
            i32::from(fields.i16()?)
        } else {
            i32::from(fields.i8()?)
        };
        let topic_len = usize::try_from(topic_len).map_err(|_| {
            let max = if v2 { i16::MAX.into() } else { i8::MAX.into() };
            out_of_bounds("topic length", topic_len, 0, max)
        })?;
        let topic = std::str::from_utf8(fields.take(topic_len)?)
            .map_err(|error| malformed(format!("topic: {error}")))?;
        let properties_len = fields.i16()?.max(0);
        let properties = fields.take(usize::from(properties_len.unsigned_abs()))?;
        if !fields.rest.is_empty() {
            return Err(malformed(format!(
                "{} of its {total} bytes belong to no field",
                fields.rest.len()
            )));
        }
        let record = Self {
            body_crc,
            queue_id,
            flag,
            queue_offset,
            physical_offset,
            sys_flag,
            born_ms,
            born_host,
            store_ms,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic,
            properties,
        };
        Ok((record, total))
    }
    /// Whether the body's check sum holds; an empty body has none to check.
    pub fn body_crc_holds(&self) -> bool {
        self.body.is_empty() || hash::crc32(self.body) == self.body_crc
    }
}

/// Iterates over concatenated records, as pull, pop, query and view replies carry them. After the first error there is nothing more.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Result<Record<'_>, DecodeError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let parsed = Record::parse(rest);
        rest = match &parsed {
            Ok((_, taken)) => rest.get(*taken..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(parsed.map(|(record, _)| record))
    })
}

/// The property that ends a record when a broker runs with `enabledAppendPropCRC`: the check sum over all bytes before it, in ten
/// decimal digits, **least significant first**. Java: `MessageDecoder.createCrc32`.
pub fn crc_property(crc: i32) -> [u8; 20] {
    let mut text = *b"__CRC32#\x010000000000\x02";
    let mut rest = crc.unsigned_abs();
    for digit in text.iter_mut().skip(9).take(10) {
        *digit = b"0123456789"
            .get((rest % 10) as usize)
            .copied()
            .unwrap_or(b'0');
        rest /= 10;
    }
    text
}

/// 4 or 16: the width of the address in a record.
fn host_bytes(host: SocketAddr) -> usize {
    if host.ip().to_canonical().is_ipv4() {
        4
    } else {
        16
    }
}

fn write_host(host: SocketAddr, out: &mut Vec<u8>) {
    match host.ip().to_canonical() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&i32::from(host.port()).to_be_bytes());
}

fn malformed(reason: String) -> DecodeError {
    DecodeError::Malformed {
        what: "record",
        reason,
    }
}

fn out_of_bounds(what: &'static str, value: i32, min: i32, max: i32) -> DecodeError {
    DecodeError::OutOfBounds {
        what,
        value: value.into(),
        min: min.into(),
        max: max.into(),
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (chunk, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.truncated(N))?;
        self.rest = rest;
        Ok(*chunk)
    }
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.truncated(len))?;
        self.rest = rest;
        Ok(taken)
    }
    fn truncated(&self, need: usize) -> DecodeError {
        DecodeError::Truncated {
            what: "record",
            need: need as u64,
            have: self.rest.len() as u64,
        }
    }
    fn i8(&mut self) -> Result<i8, DecodeError> {
        self.chunk().map(i8::from_be_bytes)
    }
    fn i16(&mut self) -> Result<i16, DecodeError> {
        self.chunk().map(i16::from_be_bytes)
    }
    fn i32(&mut self) -> Result<i32, DecodeError> {
        self.chunk().map(i32::from_be_bytes)
    }
    fn i64(&mut self) -> Result<i64, DecodeError> {
        self.chunk().map(i64::from_be_bytes)
    }
    fn host(&mut self, v6: bool) -> Result<SocketAddr, DecodeError> {
        let ip = if v6 {
            IpAddr::V6(Ipv6Addr::from(self.chunk::<16>()?)).to_canonical()
        } else {
            IpAddr::V4(Ipv4Addr::from(self.chunk::<4>()?))
        };
        let port = self.i32()?;
        let port = u16::try_from(port)
            .map_err(|_| out_of_bounds("port of a host", port, 0, u16::MAX.into()))?;
        Ok(SocketAddr::new(ip, port))
    }
}
