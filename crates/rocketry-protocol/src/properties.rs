//! Message properties: `name \x01 value \x02` repeated, kept as that one text.
//!
//! A message has a handful of properties, so that scanning a short text beats a hash table: building one, copying it from a
//! received frame and writing it to the next cost one allocation at most.

pub mod name;

use crate::fields::fingerprint;

/// Separates a name from its value.
pub const NAME_VALUE_SEPARATOR: char = '\x01';
/// Closes a pair.
pub const PROPERTY_SEPARATOR: char = '\x02';
/// Longest text a record can carry, in bytes.
pub const MAX_BYTES: usize = i16::MAX as usize;

/// Properties in wire text form: every pair closed by `\x02`, no name twice, no empty name or value.
#[derive(Clone, Default)]
pub struct Properties {
    text: String,
    /// A bit per name, see [`fingerprint`]: a clear bit proves that a name is not there, which is what most questions are answered with.
    seen: u64,
}

impl PartialEq for Properties {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Properties {}

impl Properties {
    /// Parses wire text with Java's tolerance: segments without name, value or separator are dropped, a later duplicate wins,
    /// the first `\x01` of a segment separates and the rest of it is the value. Java: `MessageDecoder.string2messageProperties`.
    pub fn parse(text: &str) -> Self {
        Self::parse_with_room(text, 0)
    }
    /// [`Properties::parse`] with room for that many bytes of properties that will be set.
    pub fn parse_with_room(text: &str, room: usize) -> Self {
        if let Some(seen) = seen_if_canonical(text) {
            let mut own = String::with_capacity(text.len() + room);
            own.push_str(text);
            return Self { text: own, seen };
        }
        let mut pairs: Vec<(&str, &str, usize)> = pairs_of(text)
            .enumerate()
            .map(|(position, (name, value))| (name, value, position))
            .collect();
        pairs.sort_unstable_by(|a, b| a.0.cmp(b.0).then(b.2.cmp(&a.2)));
        pairs.dedup_by(|later, first| later.0 == first.0);
        pairs.sort_unstable_by_key(|pair| pair.2);
        let mut properties = Self {
            text: String::with_capacity(text.len() + 1 + room),
            seen: 0,
        };
        for (name, value, _) in pairs {
            properties.append(name, value);
        }
        properties
    }
    /// Parses wire bytes; what is not UTF-8 is replaced, as Java does.
    pub fn parse_bytes(bytes: &[u8]) -> Self {
        Self::parse(&String::from_utf8_lossy(bytes))
    }
    /// No properties, with room for `bytes` of text.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            seen: 0,
        }
    }
    /// The wire text, each pair closed by `\x02`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The wire text, for a frame that carries it on.
    pub fn into_string(self) -> String {
        self.text
    }
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        if self.is_new(name) {
            return None;
        }
        value_of(&self.text, name)
    }
    /// Whether `name` is set.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
    /// Sets `name`, replacing an earlier value; an empty value removes it. A pair that the text cannot express (see
    /// [`Properties::expressible`]) is left out, because it would change the meaning of its neighbours.
    pub fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            self.remove(name);
        } else if Self::expressible(name, value) {
            match self.span(name) {
                Some((start, end)) => self
                    .text
                    .replace_range(start + name.len() + 1..end - 1, value),
                None => self.append(name, value),
            }
        }
    }
    /// Whether the pair survives the text form: a name without separators, a value without `\x02`, neither of them empty.
    pub fn expressible(name: &str, value: &str) -> bool {
        !name.is_empty()
            && !value.is_empty()
            && !name
                .bytes()
                .any(|byte| byte == ENDS_NAME || byte == ENDS_PAIR)
            && !value.bytes().any(|byte| byte == ENDS_PAIR)
    }
    /// Removes `name`; returns whether it was there. Java: `MessageDecoder.deleteProperty`.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some((start, end)) = self.span(name) else {
            return false;
        };
        self.text.replace_range(start..end, "");
        true
    }
    /// Pairs in text order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs_of(&self.text)
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
    /// Size of the wire text in bytes.
    pub fn len_bytes(&self) -> usize {
        self.text.len()
    }

    /// Whether `name` is certainly not there.
    fn is_new(&self, name: &str) -> bool {
        self.seen & fingerprint(name.as_bytes()) == 0
    }

    fn append(&mut self, name: &str, value: &str) {
        self.seen |= fingerprint(name.as_bytes());
        let needed = name.len() + value.len() + 2;
        // room for the usual tag, keys and message id, so that building a message allocates once
        self.text.reserve(if self.text.capacity() == 0 {
            needed.max(USUAL_BYTES)
        } else {
            needed
        });
        self.text.push_str(name);
        self.text.push(NAME_VALUE_SEPARATOR);
        self.text.push_str(value);
        self.text.push(PROPERTY_SEPARATOR);
    }
    /// Where the pair `name` lies, its closing separator included.
    fn span(&self, name: &str) -> Option<(usize, usize)> {
        if self.is_new(name) {
            return None;
        }
        let mut rest = self.text.as_bytes();
        let mut start = 0;
        while let Some(length) = position(rest, ENDS_PAIR) {
            let (pair, after) = rest.split_at_checked(length + 1)?;
            if pair
                .strip_prefix(name.as_bytes())
                .is_some_and(|rest| rest.first() == Some(&ENDS_NAME))
            {
                return Some((start, start + pair.len()));
            }
            start += pair.len();
            rest = after;
        }
        None
    }
}

/// Text of a message with an id and a few more properties.
const USUAL_BYTES: usize = 120;

impl<'a> FromIterator<(&'a str, &'a str)> for Properties {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut properties = Self::default();
        for (name, value) in pairs {
            properties.set(name, value);
        }
        properties
    }
}

impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The first value of `name` in wire text.
pub fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    pairs_of(text)
        .find(|pair| pair.0 == name)
        .map(|pair| pair.1)
}

const ENDS_NAME: u8 = NAME_VALUE_SEPARATOR as u8;
const ENDS_PAIR: u8 = PROPERTY_SEPARATOR as u8;

/// Names and values in text order; what is no pair is left out.
fn pairs_of(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let (pair, after) = match position(text.as_bytes(), ENDS_PAIR) {
                Some(end) => split_around(text, end)?,
                None => (text, ""),
            };
            rest = (!after.is_empty()).then_some(after);
            if let Some(end) = position(pair.as_bytes(), ENDS_NAME)
                && let Some((name, value)) = split_around(pair, end)
                && !name.is_empty()
                && !value.is_empty()
            {
                return Some((name, value));
            }
        }
    })
}

/// What lies before and behind the byte at `at`, a separator.
fn split_around(text: &str, at: usize) -> Option<(&str, &str)> {
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Names and values are short: a plain loop beats a search that is made for long texts.
fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}

/// The bits of all names if `text` can be kept as it is. Answers no when there are more pairs than a message usually has, because
/// the search for duplicates is quadratic.
fn seen_if_canonical(text: &str) -> Option<u64> {
    const USUAL_PAIRS: usize = 24;
    let mut names: [&[u8]; USUAL_PAIRS] = [&[]; USUAL_PAIRS];
    let mut seen = 0;
    let mut rest = text.as_bytes();
    let mut known = 0;
    while !rest.is_empty() {
        let end = position(rest, ENDS_PAIR)?;
        let (pair, after) = rest.split_at_checked(end)?;
        let (name, value) = pair.split_at_checked(position(pair, ENDS_NAME)?)?;
        // the value still begins with its separator
        if name.is_empty() || value.len() < 2 {
            return None;
        }
        let bit = fingerprint(name);
        let (before, free) = names.split_at_mut(known);
        if seen & bit != 0 && before.contains(&name) {
            return None;
        }
        *free.first_mut()? = name;
        seen |= bit;
        known += 1;
        rest = after.get(1..)?;
    }
    Some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_replaces_removes_and_keeps_neighbours() {
        let mut properties = Properties::parse("xa\x011\x02a\x012\x02b\x013\x02");
        properties.set("a", "two");
        assert_eq!(properties.as_str(), "xa\x011\x02a\x01two\x02b\x013\x02");
        properties.set("a", "");
        assert_eq!(properties.as_str(), "xa\x011\x02b\x013\x02");
        assert!(!properties.remove("a"));
        properties.set("c", "4");
        assert_eq!(properties.get("c"), Some("4"));
        properties.set("evil", "1\x02x\x012");
        properties.set("e\x01vil", "1");
        assert_eq!(properties.as_str(), "xa\x011\x02b\x013\x02c\x014\x02");
    }

    #[test]
    fn many_pairs_with_duplicates_keep_the_last() {
        let pairs: Vec<_> = (0..5000)
            .map(|i| format!("n{}\x01{i}\x02", i % 100))
            .collect();
        let properties = Properties::parse(&pairs.concat());
        assert_eq!(properties.iter().count(), 100);
        assert_eq!(properties.get("n7"), Some("4907"));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(
            Properties::parse_bytes(b"a\x01\xff\x02").get("a"),
            Some("\u{fffd}")
        );
    }
}
