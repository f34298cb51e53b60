//! The client batch body: messages of one topic in one send.
//!
//! ```text
//! i32 size (22 + body + properties) | i32 magic = 0 | i32 bodyCRC = 0 | i32 flag | i32 bodyLen, body | i16 propLen, properties
//! ```

use crate::{DecodeError, EncodeError, properties};

/// Bytes of an item without body and properties.
pub const ITEM_OVERHEAD: usize = 22;

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

impl BatchItem<'_> {
    /// Bytes the item takes in a batch body.
    pub fn encoded_len(&self) -> usize {
        ITEM_OVERHEAD + self.body.len() + self.properties.len()
    }
}

/// Appends one message to a batch body. Java: `MessageDecoder.encodeMessage`, which cuts the length of a property text that does
/// not fit and so damages the batch.
///
/// # Errors
/// A property text of more than 32,767 bytes, an item of more than 2^31 - 1 bytes.
pub fn encode_item(item: &BatchItem<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let too_long = |what, bytes, limit| EncodeError::TooLong { what, bytes, limit };
    let properties_len = i16::try_from(item.properties.len()).map_err(|_| {
        too_long(
            "batch item properties",
            item.properties.len(),
            properties::MAX_BYTES,
        )
    })?;
    let size = i32::try_from(item.encoded_len())
        .map_err(|_| too_long("batch item", item.encoded_len(), i32::MAX as usize))?;
    let overhead_and_properties = 22 + i32::from(properties_len);
    out.reserve(item.encoded_len());
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&item.flag.to_be_bytes());
    out.extend_from_slice(&(size - overhead_and_properties).to_be_bytes());
    out.extend_from_slice(item.body);
    out.extend_from_slice(&properties_len.to_be_bytes());
    out.extend_from_slice(item.properties);
    Ok(())
}

/// Iterates over a batch body; each length is checked before it is trusted. After the first error there is nothing more.
///
/// Stricter than Java, whose decoder ignores the item size and whose counter never ends on a size of 0: the size must be at least
/// 22, within the body, and equal to what the inner lengths add up to.
pub fn items(body: &[u8]) -> impl Iterator<Item = Result<BatchItem<'_>, DecodeError>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match take_item(rest) {
            Ok((item, after)) => {
                rest = after;
                Some(Ok(item))
            }
            Err(error) => {
                rest = &[];
                Some(Err(error))
            }
        }
    })
}

/// Counts the messages of a batch body. Java: `MessageDecoder.countInnerMsgNum`.
///
/// # Errors
/// As [`items`].
pub fn count(body: &[u8]) -> Result<usize, DecodeError> {
    items(body).try_fold(0, |count, item| item.map(|_| count + 1))
}

fn take_item(bytes: &[u8]) -> Result<(BatchItem<'_>, &[u8]), DecodeError> {
    let what = "batch item";
    let have = bytes.len() as u64;
    let (size, _) = bytes
        .split_first_chunk::<4>()
        .ok_or(DecodeError::Truncated {
            what,
            need: 4,
            have,
        })?;
    let size = i32::from_be_bytes(*size);
    let out_of_bounds = DecodeError::OutOfBounds {
        what: "batch item size",
        value: size.into(),
        min: 22,
        max: i32::MAX.into(),
    };
    let size = usize::try_from(size)
        .ok()
        .filter(|size| *size >= ITEM_OVERHEAD)
        .ok_or(out_of_bounds)?;
    let (item, after) = bytes.split_at_checked(size).ok_or(DecodeError::Truncated {
        what,
        need: size as u64,
        have,
    })?;
    let mismatch = || DecodeError::Malformed {
        what,
        reason: format!("its inner lengths do not add up to its size of {size} bytes"),
    };
    // magic and body CRC are not used
    let fields = item.get(12..).ok_or_else(mismatch)?;
    let (flag, fields) = fields.split_first_chunk::<4>().ok_or_else(mismatch)?;
    let (body_len, fields) = fields.split_first_chunk::<4>().ok_or_else(mismatch)?;
    let body_len = usize::try_from(i32::from_be_bytes(*body_len)).map_err(|_| mismatch())?;
    let (body, fields) = fields.split_at_checked(body_len).ok_or_else(mismatch)?;
    let (properties_len, properties) = fields.split_first_chunk::<2>().ok_or_else(mismatch)?;
    if usize::try_from(i16::from_be_bytes(*properties_len)) != Ok(properties.len()) {
        return Err(mismatch());
    }
    Ok((
        BatchItem {
            flag: i32::from_be_bytes(*flag),
            body,
            properties,
        },
        after,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_text_that_does_not_fit_is_refused() {
        let properties = vec![b'x'; properties::MAX_BYTES + 1];
        let item = BatchItem {
            flag: 0,
            body: b"b",
            properties: &properties,
        };
        let mut out = Vec::new();
        assert!(matches!(
            encode_item(&item, &mut out),
            Err(EncodeError::TooLong { limit: 32_767, .. })
        ));
        assert!(out.is_empty());
    }

    #[test]
    fn a_size_of_zero_ends_the_iteration_with_an_error() {
        let results: Vec<_> = items(&[0; 100]).collect();
        assert_eq!(results.len(), 1);
        assert!(matches!(
            results.first(),
            Some(Err(DecodeError::OutOfBounds { value: 0, .. }))
        ));
    }
}
