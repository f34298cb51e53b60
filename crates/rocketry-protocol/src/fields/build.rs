//! Building a map from a peer's entries, in time near linear in their size whatever they are.

use super::{Fields, entries_of, entry_at, fingerprint};
use crate::DecodeError;

/// From this many entries on, repeated keys are no longer looked for one by one but removed by sorting at the end.
const SCANNED_ENTRIES: usize = 64;

/// Entries as a decoder meets them. Of a repeated key the last value wins, as in Java's decoders.
#[derive(Debug)]
pub(crate) struct Builder {
    fields: Fields,
    entry_start: usize,
    value_start: usize,
    may_repeat: bool,
}

impl Builder {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            fields: Fields::with_capacity(bytes),
            entry_start: 0,
            value_start: 0,
            may_repeat: false,
        }
    }

    /// A whole entry, in one go.
    #[inline]
    pub(crate) fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        let lengths = (i16::try_from(key.len()), i32::try_from(value.len()));
        let (Ok(key_bytes), Ok(value_bytes)) = lengths else {
            // says which of them is too long
            self.key().extend_from_slice(key);
            self.value()?.extend_from_slice(value);
            return self.end();
        };
        let raw = &mut self.fields.raw;
        let bit = fingerprint(key);
        if self.fields.seen & bit != 0 && !self.may_repeat {
            self.may_repeat = self.fields.count >= SCANNED_ENTRIES || has_key(raw, key);
        }
        self.fields.seen |= bit;
        raw.extend_from_slice(&key_bytes.to_be_bytes());
        raw.extend_from_slice(key);
        raw.extend_from_slice(&value_bytes.to_be_bytes());
        raw.extend_from_slice(value);
        self.fields.count += 1;
        Ok(())
    }

    /// Where the text of the next key goes.
    pub(crate) fn key(&mut self) -> &mut Vec<u8> {
        self.entry_start = self.fields.raw.len();
        self.fields.raw.extend_from_slice(&[0; 2]);
        &mut self.fields.raw
    }

    /// Ends the key; where the text of its value goes.
    pub(crate) fn value(&mut self) -> Result<&mut Vec<u8>, DecodeError> {
        let raw = &mut self.fields.raw;
        let key_start = self.entry_start + 2;
        let key = raw.get(key_start..).unwrap_or_default();
        let key_bytes = i16::try_from(key.len()).map_err(|_| DecodeError::OutOfBounds {
            what: "header field name, bytes",
            value: i64::try_from(key.len()).unwrap_or(i64::MAX),
            min: 0,
            max: i64::from(i16::MAX),
        })?;
        let earlier = raw.get(..self.entry_start).unwrap_or_default();
        let bit = fingerprint(key);
        if self.fields.seen & bit != 0 && !self.may_repeat {
            self.may_repeat = self.fields.count >= SCANNED_ENTRIES || has_key(earlier, key);
        }
        self.fields.seen |= bit;
        if let Some(word) = raw.get_mut(self.entry_start..key_start) {
            word.copy_from_slice(&key_bytes.to_be_bytes());
        }
        raw.extend_from_slice(&[0; 4]);
        self.value_start = raw.len();
        Ok(raw)
    }

    /// Ends the entry with the text that was written.
    pub(crate) fn end(&mut self) -> Result<(), DecodeError> {
        let bytes = self.fields.raw.len() - self.value_start;
        let length = i32::try_from(bytes).map_err(|_| DecodeError::OutOfBounds {
            what: "header field value, bytes",
            value: i64::try_from(bytes).unwrap_or(i64::MAX),
            min: 0,
            max: i64::from(i32::MAX),
        })?;
        self.finish(length);
        Ok(())
    }

    /// Ends the entry with null.
    pub(crate) fn end_null(&mut self) {
        self.fields.raw.truncate(self.value_start);
        self.fields.nulls = true;
        self.finish(-1);
    }

    /// The finished map.
    pub(crate) fn build(self) -> Fields {
        if self.may_repeat {
            without_repeats(&self.fields)
        } else {
            self.fields
        }
    }

    fn finish(&mut self, value_length: i32) {
        let word = self.value_start - 4..self.value_start;
        if let Some(word) = self.fields.raw.get_mut(word) {
            word.copy_from_slice(&value_length.to_be_bytes());
        }
        self.fields.count += 1;
    }
}

fn has_key(entries: &[u8], key: &[u8]) -> bool {
    entries_of(entries).any(|entry| entry.key == key)
}

/// Keeps the last entry of each key.
fn without_repeats(fields: &Fields) -> Fields {
    // Places only, read again when compared: a peer's frame full of tiny entries must not cost many times its size.
    let key = |start: usize| entry_at(&fields.raw, start).map(|entry| entry.key);
    let mut kept = Vec::with_capacity(fields.count);
    kept.extend(fields.entries().map(|entry| entry.start));
    kept.sort_unstable_by(|&a, &b| key(a).cmp(&key(b)).then(b.cmp(&a)));
    kept.dedup_by(|earlier, last| key(*earlier) == key(*last));
    kept.sort_unstable();
    let mut unique = Fields {
        seen: fields.seen,
        count: kept.len(),
        ..Fields::with_capacity(fields.raw.len())
    };
    for entry in kept
        .into_iter()
        .filter_map(|start| entry_at(&fields.raw, start))
    {
        unique.nulls |= entry.value.is_none();
        let bytes = fields.raw.get(entry.start..entry.end);
        unique.raw.extend_from_slice(bytes.unwrap_or_default());
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(entries: &[(&str, Option<&str>)]) -> Fields {
        let mut builder = Builder::with_capacity(0);
        for (key, value) in entries {
            builder.key().extend_from_slice(key.as_bytes());
            let out = builder.value().unwrap();
            match value {
                Some(value) => {
                    out.extend_from_slice(value.as_bytes());
                    builder.end().unwrap();
                }
                None => builder.end_null(),
            }
        }
        builder.build()
    }

    #[test]
    fn of_a_repeated_key_the_last_value_wins() {
        let fields = built(&[
            ("k", Some("a")),
            ("x", None),
            ("k", None),
            ("k", Some("b")),
            ("y", Some("")),
        ]);
        assert_eq!(
            fields.iter().collect::<Vec<_>>(),
            [("x", None), ("k", Some("b")), ("y", Some(""))]
        );
    }

    #[test]
    fn many_entries_are_sorted_once() {
        let names: Vec<String> = (0..5_000).map(|n| format!("k{}", n % 2_500)).collect();
        let entries: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), Some("v")))
            .collect();
        let fields = built(&entries);
        assert_eq!(fields.len(), 2_500);
        assert_eq!(fields.get("k17"), Some("v"));
    }

    #[test]
    fn a_key_longer_than_its_length_field_is_refused() {
        let mut builder = Builder::with_capacity(0);
        builder.key().resize(2 + 32_768, b'k');
        assert!(builder.value().is_err());
    }
}
