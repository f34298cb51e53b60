//! The client batch body (wire.md 9.6): messages of one topic in one send.
use crate::DecodeError;
/// One message inside a batch body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchItem<'a> {
    /// The user's flag.
    pub flag: i32,
    /// Body.
    pub body: &'a [u8],
    /// Property text.
    pub properties: &'a [u8],
}
/// Appends one message to a batch body.
pub fn encode_item(item: &BatchItem<'_>, out: &mut Vec<u8>) {
    let _ = (item, out);
    todo!()
}
/// Iterates over a batch body; each length is checked before it is trusted.
pub fn items(body: &[u8]) -> impl Iterator<Item = Result<BatchItem<'_>, DecodeError>> {
    let _ = body;
    std::iter::empty()
}
