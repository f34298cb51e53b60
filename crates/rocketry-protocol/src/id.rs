//! Identifiers: unique id, offset message id, recall handle.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::DecodeError;

/// Makes unique message ids. One per process or client; `&self`, lock-free.
#[derive(Debug)]
pub struct IdSource {
    prefix: String,
    counter: AtomicU32,
}

impl IdSource {
    /// `ip` and `process_id` go into every id; `seed` is the per-process constant (Java: class loader hash) and the counter's start.
    pub fn new(ip: IpAddr, process_id: u32, seed: u32) -> Self {
        let mut prefix = String::with_capacity(44);
        push_ip(ip, &mut prefix);
        push_hex(&(process_id & 0xffff).to_be_bytes()[2..], &mut prefix);
        push_hex(&seed.to_be_bytes(), &mut prefix);
        Self {
            prefix,
            counter: AtomicU32::new(seed),
        }
    }
    /// A new id. `ms_since_month_start` is local time since midnight of the first of the month. Allocates once.
    pub fn next(&self, ms_since_month_start: u32) -> String {
        let [_, _, counter @ ..] = self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut id = String::with_capacity(self.prefix.len() + 12);
        id.push_str(&self.prefix);
        push_hex(&ms_since_month_start.to_be_bytes(), &mut id);
        push_hex(&counter, &mut id);
        id
    }
}

/// The fields of a unique message id. Java: `MessageClientIDSetter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniqueId {
    /// The producer's address.
    pub ip: IpAddr,
    /// Low 16 bits of the producer's process id.
    pub process_id: u16,
    /// Per-process constant.
    pub seed: u32,
    /// Local time since midnight of the first of the month.
    pub ms_since_month_start: u32,
    /// Counter, wraps.
    pub counter: u16,
}

impl UniqueId {
    /// Reads a unique id; lower case is accepted.
    ///
    /// # Errors
    /// Not 32 (IPv4) or 56 (IPv6) hex digits.
    pub fn parse(id: &str) -> Result<Self, DecodeError> {
        let (ip, tail): (IpAddr, [u8; 12]) = ip_and_tail("unique message id", id)?;
        let [p0, p1, s0, s1, s2, s3, m0, m1, m2, m3, c0, c1] = tail;
        Ok(Self {
            ip,
            process_id: u16::from_be_bytes([p0, p1]),
            seed: u32::from_be_bytes([s0, s1, s2, s3]),
            ms_since_month_start: u32::from_be_bytes([m0, m1, m2, m3]),
            counter: u16::from_be_bytes([c0, c1]),
        })
    }
    /// When the id was made, given midnight of the first of this and of the previous month in the producer's time zone, all in ms
    /// since 1970: the latest time that is not in the future. Allows clocks to differ by a second, where Java dates an id of the
    /// current millisecond one month early: `MessageClientIDSetter.getNearlyTimeFromID`.
    pub fn sent_ms(&self, now_ms: i64, this_month_ms: i64, previous_month_ms: i64) -> i64 {
        let candidate = this_month_ms + i64::from(self.ms_since_month_start);
        if candidate > now_ms + 1000 {
            previous_month_ms + i64::from(self.ms_since_month_start)
        } else {
            candidate
        }
    }
}

impl std::fmt::Display for UniqueId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut id = String::with_capacity(56);
        push_ip(self.ip, &mut id);
        push_hex(&self.process_id.to_be_bytes(), &mut id);
        push_hex(&self.seed.to_be_bytes(), &mut id);
        push_hex(&self.ms_since_month_start.to_be_bytes(), &mut id);
        push_hex(&self.counter.to_be_bytes(), &mut id);
        f.write_str(&id)
    }
}

/// Offset message id: store host and commit log offset, 32 (IPv4) or 56 (IPv6) hex digits.
pub fn offset_msg_id(store_host: SocketAddr, commit_log_offset: i64) -> String {
    OffsetMsgId::new(store_host, commit_log_offset)
        .as_str()
        .to_owned()
}

/// An [`offset_msg_id`] that allocates nothing.
#[derive(Debug, Clone, Copy)]
pub struct OffsetMsgId {
    digits: [u8; 56],
    len: usize,
}

impl OffsetMsgId {
    /// The id of the message that `store_host` keeps at `commit_log_offset`.
    pub fn new(store_host: SocketAddr, commit_log_offset: i64) -> Self {
        let mut bytes = [0; 28];
        let ip_bytes = match store_host.ip().to_canonical() {
            IpAddr::V4(ip) => fill(&mut bytes, 0, &ip.octets()),
            IpAddr::V6(ip) => fill(&mut bytes, 0, &ip.octets()),
        };
        let port = u32::from(store_host.port()).to_be_bytes();
        let len = fill(&mut bytes, ip_bytes, &port);
        let len = fill(&mut bytes, len, &commit_log_offset.to_be_bytes());
        let mut digits = [0; 56];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
        }
        Self {
            digits,
            len: len * 2,
        }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        let digits = self.digits.get(..self.len).unwrap_or_default();
        std::str::from_utf8(digits).unwrap_or_default()
    }
}

/// Copies `part` to `at` and returns where it ends.
fn fill(bytes: &mut [u8], at: usize, part: &[u8]) -> usize {
    let end = at + part.len();
    if let Some(place) = bytes.get_mut(at..end) {
        place.copy_from_slice(part);
    }
    end
}

/// Reads an offset message id; lower case is accepted. A unique id of an IPv4 producer has the same length and may read as well,
/// with a senseless result.
///
/// # Errors
/// Not 32 or 56 hex digits, a port beyond 65,535. Java takes unknown digits for -1: `MessageDecoder.decodeMessageId`.
pub fn parse_offset_msg_id(id: &str) -> Result<(SocketAddr, i64), DecodeError> {
    let what = "offset message id";
    let (ip, tail): (IpAddr, [u8; 12]) = ip_and_tail(what, id)?;
    let [p0, p1, p2, p3, offset @ ..] = tail;
    let port = u32::from_be_bytes([p0, p1, p2, p3]);
    let port = u16::try_from(port).map_err(|_| DecodeError::OutOfBounds {
        what,
        value: port.into(),
        min: 0,
        max: u16::MAX.into(),
    })?;
    Ok((SocketAddr::new(ip, port), i64::from_be_bytes(offset)))
}

/// What a broker answers to a timed message, and what a recall presents: URL-safe Base64 of
/// `v1 <topic> <broker name> <due time ms> <message id>`. Java: `RecallMessageHandle`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallHandle {
    /// The message's topic.
    pub topic: String,
    /// The broker that keeps the message.
    pub broker_name: String,
    /// Delivery time as text, see [`RecallHandle::due_ms`].
    pub due: String,
    /// The message's unique id.
    pub message_id: String,
}

impl RecallHandle {
    /// The handle as text, padded.
    pub fn encode(&self) -> String {
        RECALL_BASE64.encode(format!(
            "v1 {} {} {} {}",
            self.topic, self.broker_name, self.due, self.message_id
        ))
    }
    /// Reads a handle; padding may be missing, parts beyond the fifth are ignored.
    ///
    /// # Errors
    /// Not URL-safe Base64 of UTF-8, another version than `v1`, fewer than five parts.
    pub fn decode(handle: &str) -> Result<Self, DecodeError> {
        let malformed = |reason: String| DecodeError::Malformed {
            what: "recall handle",
            reason,
        };
        let bytes = RECALL_BASE64
            .decode(handle)
            .map_err(|error| malformed(format!("not Base64: {error}")))?;
        let text =
            String::from_utf8(bytes).map_err(|_| malformed("its text is not UTF-8".to_owned()))?;
        let mut parts = text.split(' ');
        match parts.next() {
            Some("v1") => {}
            other => {
                return Err(malformed(format!(
                    "version {:?} is not v1",
                    other.unwrap_or_default()
                )));
            }
        }
        let mut part = |name: &str| {
            parts
                .next()
                .map(str::to_owned)
                .ok_or_else(|| malformed(format!("the {name} is missing")))
        };
        Ok(Self {
            topic: part("topic")?,
            broker_name: part("broker name")?,
            due: part("due time")?,
            message_id: part("message id")?,
        })
    }
    /// Delivery time in ms since 1970; `None` when the text is not a number.
    pub fn due_ms(&self) -> Option<i64> {
        self.due.parse().ok()
    }
}

const RECALL_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn push_ip(ip: IpAddr, out: &mut String) {
    match ip {
        IpAddr::V4(ip) => push_hex(&ip.octets(), out),
        IpAddr::V6(ip) => push_hex(&ip.octets(), out),
    }
}

fn push_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        out.push(char::from(hex_digit(byte >> 4)));
        out.push(char::from(hex_digit(byte & 0xf)));
    }
}

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 {
        b'0' + nibble
    } else {
        b'A' + nibble - 10
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Splits an id into its address, 4 or 16 bytes by the id's length, and the 12 bytes behind it.
fn ip_and_tail(what: &'static str, id: &str) -> Result<(IpAddr, [u8; 12]), DecodeError> {
    let malformed = || DecodeError::Malformed {
        what,
        reason: format!(
            "{:?} is not 32 or 56 hex digits",
            id.chars().take(60).collect::<String>()
        ),
    };
    let mut bytes = [0u8; 28];
    let digits = id.as_bytes().as_chunks::<2>();
    let (len @ (16 | 28), []) = (digits.0.len(), digits.1) else {
        return Err(malformed());
    };
    for (byte, [high, low]) in bytes.iter_mut().zip(digits.0) {
        let digit = |digit: u8| hex_value(digit).ok_or_else(malformed);
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    let (ip, tail): (IpAddr, &[u8]) = if len == 16 {
        let (ip, tail) = bytes.split_first_chunk::<4>().ok_or_else(malformed)?;
        (Ipv4Addr::from(*ip).into(), tail)
    } else {
        let (ip, tail) = bytes.split_first_chunk::<16>().ok_or_else(malformed)?;
        (Ipv6Addr::from(*ip).into(), tail)
    };
    tail.first_chunk()
        .map(|tail| (ip, *tail))
        .ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_source_differ_and_carry_its_fields() {
        let source = IdSource::new([192, 168, 1, 10].into(), 0x9_1234, 0x2A13_9A4C);
        let first = source.next(120_000);
        assert_eq!(first, "C0A8010A12342A139A4C0001D4C09A4C");
        assert_eq!(first.capacity(), 32);
        let second = UniqueId::parse(&source.next(120_000)).unwrap();
        assert_eq!((second.counter, second.process_id), (0x9A4D, 0x1234));
        let v6 = IdSource::new("::1".parse().unwrap(), 1, 1).next(0);
        assert_eq!((v6.len(), v6.capacity()), (56, 56));
    }

    /// P-026
    #[test]
    fn ids_of_many_threads_are_all_different() {
        let source = IdSource::new([192, 168, 1, 10].into(), 7, 7);
        let mut ids = std::collections::HashSet::new();
        // 50,000 per millisecond: the counter has 65,536 values
        for ms in 0..2 {
            let make = || (0..6_250).map(|_| source.next(ms)).collect::<Vec<_>>();
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
                for thread in threads {
                    ids.extend(thread.join().unwrap());
                }
            });
        }
        assert_eq!(ids.len(), 100_000);
    }

    /// P-027
    #[test]
    fn an_id_of_this_millisecond_is_of_this_month() {
        let id = UniqueId::parse("0A000001000100000002000003E80003").unwrap();
        assert_eq!(id.sent_ms(5_001_000, 5_000_000, 0), 5_001_000);
        assert_eq!(id.sent_ms(4_999_999, 5_000_000, 0), 1_000);
    }
}
