//! The string map of a header (`extFields`), and typed access to it.
//!
//! [`Fields`] keeps all entries in one flat buffer in the layout of the binary header, so that building a header costs one
//! allocation and encoding a binary header is a copy. Look-ups scan; headers have about a dozen entries.

use crate::DecodeError;

/// Header fields in wire order. A duplicate key's last value wins, as in Java's decoders.
#[derive(Clone, Default)]
pub struct Fields {
    // keyLen i16, key, valueLen i32 (-1: null), value; repeated
    raw: Vec<u8>,
}

impl Fields {
    /// No fields, with room for `bytes` of encoded entries.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            raw: Vec::with_capacity(bytes),
        }
    }
    /// The value of `key`; `None` when absent or null.
    pub fn get(&self, key: &str) -> Option<&str> {
        let _ = key;
        todo!()
    }
    /// Appends an entry; an earlier one of the same key is hidden by it.
    pub fn push(&mut self, key: &str, value: &str) {
        let _ = (key, value, &self.raw);
        todo!()
    }
    /// Entries in wire order, hidden duplicates included; `None` is Java's null.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        std::iter::empty()
    }
    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }
}

/// Writes typed header fields. Each method leaves out what is `None`, as Java leaves out null.
#[derive(Debug)]
pub struct FieldWriter<'a> {
    fields: &'a mut Fields,
}

impl<'a> FieldWriter<'a> {
    /// Writes into `fields`.
    pub fn new(fields: &'a mut Fields) -> Self {
        Self { fields }
    }
    /// Text as it is.
    pub fn str(&mut self, key: &str, value: &str) {
        self.fields.push(key, value);
    }
    /// Text, if there is one.
    pub fn opt_str(&mut self, key: &str, value: Option<&str>) {
        let _ = (key, value);
        todo!()
    }
    /// Decimal number (also `i64`): formatted without allocation.
    pub fn i32(&mut self, key: &str, value: i32) {
        let _ = (key, value);
        todo!()
    }
    /// Decimal number, if there is one.
    pub fn opt_i32(&mut self, key: &str, value: Option<i32>) {
        let _ = (key, value);
        todo!()
    }
    /// Decimal number.
    pub fn i64(&mut self, key: &str, value: i64) {
        let _ = (key, value);
        todo!()
    }
    /// Decimal number, if there is one.
    pub fn opt_i64(&mut self, key: &str, value: Option<i64>) {
        let _ = (key, value);
        todo!()
    }
    /// `true` or `false`.
    pub fn bool(&mut self, key: &str, value: bool) {
        let _ = (key, value);
        todo!()
    }
    /// `true` or `false`, if set.
    pub fn opt_bool(&mut self, key: &str, value: Option<bool>) {
        let _ = (key, value);
        todo!()
    }
}

/// Reads typed header fields in place.
#[derive(Debug, Clone, Copy)]
pub struct FieldReader<'a> {
    fields: Option<&'a Fields>,
}

impl<'a> FieldReader<'a> {
    /// Reads from `fields`; `None` (no `extFields` at all) reads like an empty map.
    pub fn new(fields: Option<&'a Fields>) -> Self {
        Self { fields }
    }
    /// The text of a required field.
    ///
    /// # Errors
    /// [`DecodeError::MissingField`].
    pub fn str(&self, key: &'static str) -> Result<&'a str, DecodeError> {
        let _ = (key, self.fields);
        todo!()
    }
    /// The text of an optional field.
    pub fn opt_str(&self, key: &'static str) -> Option<&'a str> {
        let _ = key;
        todo!()
    }
    /// A required number.
    ///
    /// # Errors
    /// [`DecodeError::MissingField`], [`DecodeError::BadField`].
    pub fn i32(&self, key: &'static str) -> Result<i32, DecodeError> {
        let _ = key;
        todo!()
    }
    /// An optional number.
    ///
    /// # Errors
    /// [`DecodeError::BadField`].
    pub fn opt_i32(&self, key: &'static str) -> Result<Option<i32>, DecodeError> {
        let _ = key;
        todo!()
    }
    /// A required number.
    ///
    /// # Errors
    /// [`DecodeError::MissingField`], [`DecodeError::BadField`].
    pub fn i64(&self, key: &'static str) -> Result<i64, DecodeError> {
        let _ = key;
        todo!()
    }
    /// An optional number.
    ///
    /// # Errors
    /// [`DecodeError::BadField`].
    pub fn opt_i64(&self, key: &'static str) -> Result<Option<i64>, DecodeError> {
        let _ = key;
        todo!()
    }
    /// An optional flag: `true` in any letter case, everything else is false.
    pub fn opt_bool(&self, key: &'static str) -> Option<bool> {
        let _ = key;
        todo!()
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
