//! Java's hashes and check sums, as far as the protocol depends on them.
/// Java's `String.hashCode` over UTF-16 units.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |h, unit| {
        h.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}
/// CRC-32 (IEEE) with the sign bit cleared. Java: `UtilAll.crc32`.
pub fn crc32(bytes: &[u8]) -> i32 {
    (crc32fast::hash(bytes) & 0x7fff_ffff).cast_signed()
}
