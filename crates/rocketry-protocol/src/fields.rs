//! The string map of a header (`extFields`), and typed access to it.
//!
//! [`Fields`] keeps all entries in one flat buffer in the layout of the binary header, so that building a header costs one
//! allocation and encoding a binary header is a copy. Look-ups scan; headers have about a dozen entries.

use std::{cell::Cell, fmt};

use crate::{DecodeError, EncodeError, error::excerpt};

pub(crate) mod binary;
mod build;
pub(crate) mod json;

pub(crate) use build::Builder;

/// What an [`i32`] and an [`i64`] are called in errors.
pub(crate) const INT: &str = "a 32-bit integer";
pub(crate) const LONG_INT: &str = "a 64-bit integer";

/// Longest key that the 16-bit length of the binary header can express.
const MAX_KEY_BYTES: usize = 32_767;

/// Header fields in wire order, each key once.
///
/// A value is text or null; null only comes from peers (a JSON `null`, or an empty text in a binary header, which cannot
/// tell the two apart). Two maps are equal when they hold the same entries, in whatever order.
#[derive(Clone, Default)]
pub struct Fields {
    // keyLen i16, key, valueLen i32 (-1: null), value; repeated. Keys and values are valid UTF-8, no key comes twice.
    raw: Vec<u8>,
    count: usize,
    // A bit per key, see `fingerprint`: a clear bit proves that a key is new, so that pushing rarely has to scan.
    seen: u64,
    nulls: bool,
    // Size of a pushed key or value that no length field can carry, reported by the encoder; 0 when all is well.
    oversized: usize,
}

impl Fields {
    /// No fields, with room for `bytes` of encoded entries (6 bytes each, plus key and value).
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            raw: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// The value of `key`; `None` when absent or null.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.find(key, 0)?.value.map(text)
    }

    /// Whether there is an entry of `key`, even a null one.
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key, 0).is_some()
    }

    /// Sets `key` to `value`. An earlier entry of the same key is taken out, so that no field is ever sent twice.
    pub fn push(&mut self, key: &str, value: &str) {
        self.push_bytes(key, value.as_bytes());
    }

    /// Takes out the entry of `key`; returns whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let Some(entry) = self.find(key, 0) else {
            return false;
        };
        let range = entry.start..entry.end;
        self.raw.drain(range);
        self.count -= 1;
        true
    }

    /// Entries in wire order; `None` is Java's null.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.entries()
            .map(|entry| (text(entry.key), entry.value.map(text)))
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Entries as bytes, for encoders and comparisons.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        entries_of(&self.raw)
    }

    /// Bytes of the entries in the binary header.
    pub(crate) fn encoded_len(&self) -> usize {
        self.raw.len()
    }

    /// Whether every entry that was pushed could be kept.
    pub(crate) fn check_sizes(&self) -> Result<(), EncodeError> {
        match self.oversized {
            0 => Ok(()),
            bytes => Err(EncodeError::TooLong {
                what: "header field",
                bytes,
                limit: MAX_KEY_BYTES,
            }),
        }
    }

    fn push_bytes(&mut self, key: &str, value: &[u8]) {
        let bit = fingerprint(key.as_bytes());
        if self.seen & bit != 0 {
            self.remove(key);
        }
        let (Ok(key_bytes), Ok(value_bytes)) =
            (i16::try_from(key.len()), i32::try_from(value.len()))
        else {
            self.oversized = self.oversized.max(key.len()).max(value.len());
            return;
        };
        self.seen |= bit;
        self.count += 1;
        self.raw.reserve(6 + key.len() + value.len());
        self.raw.extend_from_slice(&key_bytes.to_be_bytes());
        self.raw.extend_from_slice(key.as_bytes());
        self.raw.extend_from_slice(&value_bytes.to_be_bytes());
        self.raw.extend_from_slice(value);
    }

    /// The entry of `key`, sought from byte `from` to the end and then from the start: fields that are asked for in wire
    /// order are found at the first look.
    fn find(&self, key: &str, from: usize) -> Option<Entry<'_>> {
        if self.seen & fingerprint(key.as_bytes()) == 0 {
            return None;
        }
        let mut at = from;
        while let Some(entry) = entry_at(&self.raw, at) {
            if entry.key == key.as_bytes() {
                return Some(entry);
            }
            at = entry.end;
        }
        let mut at = 0;
        while at < from {
            let entry = entry_at(&self.raw, at)?;
            if entry.key == key.as_bytes() {
                return Some(entry);
            }
            at = entry.end;
        }
        None
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count
            && self.iter().all(|(key, value)| {
                other
                    .find(key, 0)
                    .is_some_and(|entry| entry.value.map(text) == value)
            })
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Writes typed header fields. Each method leaves out what is `None`, as Java leaves out null.
#[derive(Debug)]
pub struct FieldWriter<'a> {
    to: To<'a>,
}

/// Where typed fields go.
#[derive(Debug)]
enum To<'a> {
    Map(&'a mut Fields),
    /// The members of a JSON object, without a map in between.
    Json(json::Members<'a>),
}

impl<'a> FieldWriter<'a> {
    /// Writes into `fields`.
    pub fn new(fields: &'a mut Fields) -> Self {
        Self {
            to: To::Map(fields),
        }
    }

    /// Writes members of a JSON object. No key may come twice: nobody looks for an earlier one.
    pub(crate) fn json(members: json::Members<'a>) -> Self {
        Self {
            to: To::Json(members),
        }
    }

    /// What was written, if it went to JSON.
    pub(crate) fn into_members(self) -> Option<json::Members<'a>> {
        match self.to {
            To::Map(_) => None,
            To::Json(members) => Some(members),
        }
    }

    /// Text as it is.
    pub fn str(&mut self, key: &str, value: &str) {
        match &mut self.to {
            To::Map(fields) => fields.push(key, value),
            To::Json(members) => members.text(key, value.as_bytes()),
        }
    }

    /// Text, if there is one.
    pub fn opt_str(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.str(key, value);
        }
    }

    /// Decimal number, formatted without allocation.
    pub fn i32(&mut self, key: &str, value: i32) {
        self.i64(key, i64::from(value));
    }

    /// Decimal number, if there is one.
    pub fn opt_i32(&mut self, key: &str, value: Option<i32>) {
        if let Some(value) = value {
            self.i32(key, value);
        }
    }

    /// Decimal number, formatted without allocation.
    pub fn i64(&mut self, key: &str, value: i64) {
        let value = Decimal::new(value);
        self.plain(key, value.as_bytes());
    }

    /// Decimal number, if there is one.
    pub fn opt_i64(&mut self, key: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.i64(key, value);
        }
    }

    /// `true` or `false`.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.plain(key, if value { b"true" } else { b"false" });
    }

    /// `true` or `false`, if set.
    pub fn opt_bool(&mut self, key: &str, value: Option<bool>) {
        if let Some(value) = value {
            self.bool(key, value);
        }
    }

    /// A value that has nothing to escape.
    fn plain(&mut self, key: &str, value: &[u8]) {
        match &mut self.to {
            To::Map(fields) => fields.push_bytes(key, value),
            To::Json(members) => members.plain(key, value),
        }
    }
}

/// Reads typed header fields in place. Fields that are read in the order they were written in are found without a search.
#[derive(Debug, Clone)]
pub struct FieldReader<'a> {
    fields: Option<&'a Fields>,
    // End of the entry found last.
    next: Cell<usize>,
}

impl<'a> FieldReader<'a> {
    /// Reads from `fields`; `None` (no `extFields` at all) reads like an empty map.
    pub fn new(fields: Option<&'a Fields>) -> Self {
        Self {
            fields,
            next: Cell::new(0),
        }
    }

    /// The text of a required field.
    ///
    /// # Errors
    /// [`DecodeError::MissingField`].
    pub fn str(&self, key: &'static str) -> Result<&'a str, DecodeError> {
        self.opt_str(key)
            .ok_or(DecodeError::MissingField { field: key })
    }

    /// The text of an optional field.
    pub fn opt_str(&self, key: &'static str) -> Option<&'a str> {
        self.value(key).map(text)
    }

    /// Every entry that has a value, in wire order: for a type that would otherwise ask for each of its fields in vain, or in another
    /// order than the peer's.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let raw = self.fields.map_or(&[][..], |fields| &fields.raw);
        entries_of(raw).filter_map(|entry| Some((entry.key, entry.value?)))
    }

    fn value(&self, key: &str) -> Option<&'a [u8]> {
        let (fields, next) = (self.fields?, self.next.get());
        // mostly it is the next one, which takes less to see than that it may be there at all
        let entry = match entry_at(&fields.raw, next) {
            Some(entry) if entry.key == key.as_bytes() => entry,
            _ => fields.find(key, next)?,
        };
        self.next.set(entry.end);
        entry.value
    }

    /// A required number.
    ///
    /// # Errors
    /// [`DecodeError::MissingField`], [`DecodeError::BadField`].
    pub fn i32(&self, key: &'static str) -> Result<i32, DecodeError> {
        self.opt_i32(key)?
            .ok_or(DecodeError::MissingField { field: key })
    }

    /// An optional number.
    ///
    /// # Errors
    /// [`DecodeError::BadField`].
    pub fn opt_i32(&self, key: &'static str) -> Result<Option<i32>, DecodeError> {
        self.number(key, INT)
    }

    /// A required number.
    ///
    /// # Errors
    /// [`DecodeError::MissingField`], [`DecodeError::BadField`].
    pub fn i64(&self, key: &'static str) -> Result<i64, DecodeError> {
        self.opt_i64(key)?
            .ok_or(DecodeError::MissingField { field: key })
    }

    /// An optional number.
    ///
    /// # Errors
    /// [`DecodeError::BadField`].
    pub fn opt_i64(&self, key: &'static str) -> Result<Option<i64>, DecodeError> {
        self.number(key, LONG_INT)
    }

    /// An optional flag: `true` in any letter case, everything else is false.
    pub fn opt_bool(&self, key: &'static str) -> Option<bool> {
        self.opt_str(key)
            .map(|value| value.eq_ignore_ascii_case("true"))
    }

    fn number<N: TryFrom<i64>>(
        &self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Option<N>, DecodeError> {
        match self.value(key) {
            Some(value) => number(value, key, expected).map(Some),
            None => Ok(None),
        }
    }
}

/// The number that is written in `value`, of the field `key`.
///
/// # Errors
/// [`DecodeError::BadField`]: it is no number, or not within the type.
pub(crate) fn number<N: TryFrom<i64>>(
    value: &[u8],
    key: &'static str,
    expected: &'static str,
) -> Result<N, DecodeError> {
    let number = decimal(value).and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| DecodeError::BadField {
        field: key,
        value: excerpt(text(value)),
        expected,
    })
}

/// Like Java's `parseLong`: an optional sign and digits, no blanks.
fn decimal(value: &[u8]) -> Option<i64> {
    // of so many digits the largest number is far within the type
    const SHORT: usize = 18;
    let (is_negative, digits) = match value {
        [sign @ (b'-' | b'+'), digits @ ..] => (*sign == b'-', digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > SHORT {
        return text(value).parse().ok();
    }
    let mut number = 0;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    Some(if is_negative { -number } else { number })
}

/// One entry of the flat buffer and where it lies.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
    start: usize,
    end: usize,
}

fn entries_of(raw: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let entry = entry_at(raw, at)?;
        at = entry.end;
        Some(entry)
    })
}

fn entry_at(raw: &[u8], start: usize) -> Option<Entry<'_>> {
    let (key_bytes, rest) = raw.get(start..)?.split_first_chunk::<2>()?;
    let (key, rest) =
        rest.split_at_checked(usize::try_from(i16::from_be_bytes(*key_bytes)).ok()?)?;
    let (value_bytes, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = match usize::try_from(i32::from_be_bytes(*value_bytes)) {
        Ok(bytes) => {
            let (value, rest) = rest.split_at_checked(bytes)?;
            (Some(value), rest)
        }
        Err(_) => (None, rest),
    };
    Some(Entry {
        key,
        value,
        start,
        end: raw.len() - rest.len(),
    })
}

// Only valid text is ever put in; checking again costs less than a private `unsafe` is worth.
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// One of 64 bits, chosen by length, first, middle and last byte. One-letter keys of a send header get a bit each.
pub(crate) fn fingerprint(key: &[u8]) -> u64 {
    let byte = |at: usize| u32::from(key.get(at).copied().unwrap_or_default());
    let last = key.len().saturating_sub(1);
    let mixed = byte(0)
        .wrapping_add(byte(last / 2).wrapping_mul(5))
        .wrapping_add(byte(last).wrapping_mul(11))
        .wrapping_add(u32::try_from(last).unwrap_or_default().wrapping_mul(7));
    1 << (mixed % 64)
}

/// A number as decimal text, on the stack.
#[derive(Debug)]
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(crate) fn new(value: i64) -> Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = value.unsigned_abs();
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            // The remainder is below ten.
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            start = at;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        // i64 has at most 19 digits, so there is always room for the sign.
        if value < 0 {
            start -= 1;
            if let Some(sign) = digits.get_mut(start) {
                *sign = b'-';
            }
        }
        Self { digits, start }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushing_a_key_again_replaces_its_value() {
        let mut fields = Fields::default();
        fields.push("topic", "a");
        fields.push("queueId", "1");
        fields.push("topic", "b");
        assert_eq!(fields.get("topic"), Some("b"));
        assert_eq!(fields.len(), 2);
        assert_eq!(
            fields.iter().collect::<Vec<_>>(),
            [("queueId", Some("1")), ("topic", Some("b"))]
        );
        assert!(fields.remove("queueId"));
        assert!(!fields.remove("queueId"));
        assert_eq!(fields.get("queueId"), None);
    }

    #[test]
    fn reads_in_any_order() {
        let mut fields = Fields::default();
        for key in ["a", "b", "c", "dd", "ee"] {
            fields.push(key, key);
        }
        let reader = FieldReader::new(Some(&fields));
        for key in ["a", "b", "ee", "c", "dd", "a", "a"] {
            assert_eq!(reader.opt_str(key), Some(key));
        }
        assert_eq!(reader.opt_str("zz"), None);
        assert_eq!(
            reader.str("f"),
            Err(DecodeError::MissingField { field: "f" })
        );
    }

    #[test]
    fn numbers_are_text() {
        for value in [0, 7, -1, 10, 99, 100, i64::MAX, i64::MIN] {
            assert_eq!(Decimal::new(value).as_bytes(), value.to_string().as_bytes());
        }
        let mut fields = Fields::default();
        let mut writer = FieldWriter::new(&mut fields);
        writer.i64("long", i64::MIN);
        writer.i32("int", 2);
        writer.opt_i32("absent", None);
        writer.bool("flag", true);
        writer.str("bad", " 1");
        writer.str("sign", "+5");
        let reader = FieldReader::new(Some(&fields));
        assert_eq!(reader.i64("long"), Ok(i64::MIN));
        assert!(matches!(
            reader.i32("long"),
            Err(DecodeError::BadField { .. })
        ));
        assert_eq!(reader.i32("int"), Ok(2));
        assert_eq!(reader.opt_i32("absent"), Ok(None));
        assert_eq!(reader.opt_bool("flag"), Some(true));
        assert_eq!(reader.opt_bool("int"), Some(false));
        assert!(reader.i32("bad").is_err());
        assert_eq!(reader.i32("sign"), Ok(5));
    }

    #[test]
    fn decimals_are_those_of_the_standard_library() {
        let around = |n: i128| [n - 1, n, n + 1];
        let numbers = [i64::MIN, i64::MAX, 0, 999_999_999_999_999_999].map(i128::from);
        let mut texts: Vec<String> = numbers
            .into_iter()
            .flat_map(around)
            .flat_map(|n| [n.to_string(), format!("+{n}"), format!("0{n}")])
            .collect();
        texts.extend(
            [
                "",
                "-",
                "+",
                "1 ",
                "--1",
                "\u{661}",
                "00000000000000000000000007",
            ]
            .map(String::from),
        );
        for text in texts {
            assert_eq!(
                decimal(text.as_bytes()),
                text.parse::<i64>().ok(),
                "{text:?}"
            );
        }
    }
}
