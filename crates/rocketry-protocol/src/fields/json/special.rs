//! Finding the bytes that JSON text treats specially, eight at a time: headers are mostly plain text, and every message has two.

const WORD_BYTES: usize = 8;

/// Bytes looked at together.
type Word = [u8; WORD_BYTES];

const ONES: u64 = u64::from_be_bytes([1; WORD_BYTES]);
const HIGH: u64 = u64::from_be_bytes([0x80; WORD_BYTES]);

/// Where the first byte is that has to be escaped in a text: a quote, a backslash or anything below a blank.
#[inline]
pub(super) fn to_escape(text: &[u8]) -> Option<usize> {
    first(
        text,
        |word| equal(word, b'"') | equal(word, b'\\') | below(word, b' '),
        |byte| byte < b' ' || byte == b'"' || byte == b'\\',
    )
}

/// Where the first quote or backslash is.
#[inline]
pub(super) fn quote_or_backslash(text: &[u8], quote: u8) -> Option<usize> {
    first(
        text,
        |word| equal(word, quote) | equal(word, b'\\'),
        |byte| byte == quote || byte == b'\\',
    )
}

/// `in_word` marks at least the first byte of a word that `is_special` accepts, and none before it.
#[inline]
fn first(
    text: &[u8],
    in_word: impl Fn(u64) -> u64,
    is_special: impl Fn(u8) -> bool,
) -> Option<usize> {
    let place_in = |word: &Word| {
        // the first byte has to be the lowest one: a subtraction borrows from those above
        let marks = in_word(u64::from_be_bytes(*word).swap_bytes());
        (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
    };
    let (words, rest) = text.as_chunks::<WORD_BYTES>();
    for (number, word) in words.iter().enumerate() {
        if let Some(place) = place_in(word) {
            return Some(number * WORD_BYTES + place);
        }
    }
    if rest.is_empty() {
        return None;
    }
    match text.last_chunk() {
        // what it shares with the words before is known to be plain
        Some(word) => place_in(word).map(|place| text.len() - WORD_BYTES + place),
        None => rest.iter().position(|&byte| is_special(byte)),
    }
}

/// Marks the lowest byte that equals `byte`, perhaps some above it, and none below it.
#[inline]
const fn equal(word: u64, byte: u8) -> u64 {
    let differs = word ^ (ONES * byte as u64);
    differs.wrapping_sub(ONES) & !differs & HIGH
}

/// Marks the lowest byte that is smaller than `limit` (at most 128), perhaps some above it, and none below it.
#[inline]
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_find_what_bytes_find(text in proptest::collection::vec(
            prop_oneof![6 => any::<u8>(), 3 => b'a'..=b'z', 1 => Just(b'"'), 1 => Just(b'\\'), 1 => 0x1eu8..0x22], 0..40,
        ), quote in prop_oneof![Just(b'"'), Just(b'\'')]) {
            prop_assert_eq!(
                to_escape(&text),
                text.iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\')
            );
            prop_assert_eq!(
                quote_or_backslash(&text, quote),
                text.iter().position(|&byte| byte == quote || byte == b'\\')
            );
        }
    }
}
