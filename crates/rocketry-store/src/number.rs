//! Big-endian numbers at known places of a slice.

/// The 2-byte number at `at`; `None` beyond the end.
pub(crate) fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 4-byte number at `at`; `None` beyond the end.
pub(crate) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 8-byte number at `at`; `None` beyond the end.
pub(crate) fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// An offset as the wire and the API carry it. Offsets stay far below 2^63: a log of that size does not exist.
pub(crate) const fn signed(offset: u64) -> i64 {
    offset.cast_signed()
}

/// A size in memory of a length on disk. The store works on lengths below 2^31 only; anything else becomes the largest value and
/// fails the next bounds check.
pub(crate) fn size(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
