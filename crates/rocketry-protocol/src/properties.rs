//! Message properties: `name \x01 value \x02` repeated, kept as that one text.

/// Properties in wire text form. Building a message appends; look-ups scan.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    text: String,
}

/// Wire names of well-known properties. Java: `MessageConst`.
pub mod name {
    /// Index keys, separated by one blank.
    pub const KEYS: &str = "KEYS";
    /// The tag.
    pub const TAGS: &str = "TAGS";
    /// The client's message id.
    pub const UNIQ_KEY: &str = "UNIQ_KEY";
    /// `false`: do not wait for flush and replication.
    pub const WAIT: &str = "WAIT";
    /// Delay level, 1..=18.
    pub const DELAY: &str = "DELAY";
}

impl Properties {
    /// Parses wire text with Java's tolerance (wire.md 9.5): bad segments are dropped.
    pub fn parse(text: &str) -> Self {
        let _ = text;
        todo!()
    }
    /// The wire text, each pair closed by `\x02`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let _ = name;
        todo!()
    }
    /// Sets `name`, replacing an earlier value; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) {
        let _ = (name, value);
        todo!()
    }
    /// Removes `name`; returns whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let _ = name;
        todo!()
    }
    /// Pairs in text order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        std::iter::empty()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
    /// Size of the wire text in bytes.
    pub fn len_bytes(&self) -> usize {
        self.text.len()
    }
}
impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
