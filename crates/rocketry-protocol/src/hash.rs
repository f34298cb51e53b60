//! Java's hashes and check sums, as far as the protocol depends on them.

/// Java's `String.hashCode` over UTF-16 units.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |h, unit| {
        h.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// Java's `Long.hashCode`.
pub fn java_long_hash(value: i64) -> i32 {
    let bits = value.cast_unsigned();
    low_half(bits ^ (bits >> 32)).cast_signed()
}

/// Java's `Boolean.hashCode`.
pub fn java_bool_hash(value: bool) -> i32 {
    if value { 1231 } else { 1237 }
}

/// The code of a tag in consume queues and subscriptions; no tag and an empty one have 0.
/// Java: `MessageExtBrokerInner.tagsString2tagsCode`.
pub fn tag_code(tag: &str) -> i64 {
    i64::from(java_string_hash(tag))
}

/// The index that a hash selects among `len` queues: the remainder keeps the hash's sign and loses it afterwards. `None` without
/// queues. Java: `SelectMessageQueueByHash`.
pub fn queue_index(hash: i32, len: usize) -> Option<usize> {
    let remainder = i64::from(hash).checked_rem(i64::try_from(len).ok()?)?;
    usize::try_from(remainder.unsigned_abs()).ok()
}

/// CRC-32 (IEEE) with the sign bit cleared. Java: `UtilAll.crc32`.
pub fn crc32(bytes: &[u8]) -> i32 {
    (crc32fast::hash(bytes) & 0x7fff_ffff).cast_signed()
}

/// MurmurHash3, 32 bit, seed 0: servers choose the queue of a sharding key with it.
pub fn murmur3_32(bytes: &[u8]) -> i32 {
    fn mix(block: u32) -> u32 {
        block
            .wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    }
    let (blocks, tail) = bytes.as_chunks::<4>();
    // the algorithm is defined over little-endian words
    let word = |block: &[u8; 4]| u32::from_be_bytes(*block).swap_bytes();
    let mut hash = blocks.iter().fold(0u32, |hash, block| {
        (hash ^ mix(word(block)))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64)
    });
    hash ^= mix(tail
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u32::from(*byte)));
    hash ^= low_half(bytes.len() as u64);
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    (hash ^ (hash >> 16)).cast_signed()
}

#[allow(clippy::cast_possible_truncation, reason = "cutting is what it is for")]
fn low_half(bits: u64) -> u32 {
    bits as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(java_string_hash("order-1"), -1_207_111_310);
        assert_eq!(java_string_hash("TagA"), 2_598_919);
        assert_eq!(java_long_hash(-7), 6);
        assert_eq!(crc32(b"123456789"), 1_274_296_614);
        assert_eq!(murmur3_32(b""), 0);
        assert_eq!(murmur3_32(b"hello").cast_unsigned(), 0x248b_fa47);
        assert_eq!(queue_index(i32::MIN, 3), Some(2));
        assert_eq!(queue_index(5, 0), None);
    }
}
