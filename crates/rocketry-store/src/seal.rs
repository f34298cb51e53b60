//! Properties that a record gets as it is placed: the first queue offset of an inner batch, and the record's check sum.

use rocketry_protocol::{
    hash::crc32,
    properties::name,
    record::crc_property,
    sys_flag::{INNER_BATCH, NEED_UNWRAP},
};

/// Bytes that placing adds to the properties at most: a separator, `INNER_BASE` with an offset, the check sum.
pub(crate) const MAX_ADDED_BYTES: usize = 1 + 10 + 1 + 19 + 1 + CRC_BYTES;
/// Bytes of the check sum's property.
const CRC_BYTES: usize = 20;

/// Whether placing changes the properties of a record with these flags.
pub(crate) const fn is_needed(sys_flag: i32, record_crc: bool) -> bool {
    record_crc || is_inner_batch(sys_flag)
}

const fn is_inner_batch(sys_flag: i32) -> bool {
    const INNER: i32 = INNER_BATCH | NEED_UNWRAP;
    sys_flag & INNER == INNER
}

/// Writes `properties` to `out` with what placing adds; the check sum's digits are still to come.
/// Java: `MessageExtEncoder`, `CommitLog.asyncPutMessage`
pub(crate) fn extend(
    properties: &[u8],
    sys_flag: i32,
    queue_offset: i64,
    record_crc: bool,
    out: &mut Vec<u8>,
) {
    out.clear();
    for pair in properties.split_inclusive(|byte| *byte == 2) {
        // a check sum, or a first offset, that the sender made up
        let named = |name: &str| {
            pair.strip_prefix(name.as_bytes())
                .is_some_and(|rest| rest.first() == Some(&1))
        };
        let is_ours = (record_crc && named(name::CRC32))
            || (is_inner_batch(sys_flag) && named(name::INNER_BASE));
        if !is_ours {
            out.extend_from_slice(pair);
        }
    }
    if out.last().is_some_and(|byte| *byte != 2) {
        out.push(2);
    }
    if is_inner_batch(sys_flag) {
        out.extend_from_slice(name::INNER_BASE.as_bytes());
        out.push(1);
        out.extend_from_slice(queue_offset.to_string().as_bytes());
        out.push(2);
    }
    if record_crc {
        out.extend_from_slice(&crc_property(0));
    }
}

/// Writes the check sum of an encoded record, whose properties end with its place.
pub(crate) fn write_crc(record: &mut [u8]) {
    if let Some(at) = record.len().checked_sub(CRC_BYTES) {
        let (covered, place) = record.split_at_mut(at);
        place.copy_from_slice(&crc_property(crc32(covered)));
    }
}
