//! One operation per file: its request, its reply, and the code that names it.
//!
//! Hot headers borrow from the frame (`SendMessageRequest<'a>`), the others own their text.

use crate::{DecodeError, FieldReader, FieldWriter, RequestCode};

/// Typed fields that can be written into a header.
pub trait WriteHeader {
    /// Writes every field that is set.
    fn write(&self, out: &mut FieldWriter<'_>);
}

/// Typed fields that can be read from a header.
pub trait ReadHeader<'a>: Sized {
    /// Reads the fields; unknown ones are ignored.
    ///
    /// # Errors
    /// A missing required field, or text that is not of the field's type.
    fn read(fields: &FieldReader<'a>) -> Result<Self, DecodeError>;
}

/// A request header: which code it travels under and what answers it.
pub trait Request: WriteHeader {
    /// The code of the request.
    const CODE: RequestCode;
    /// The header of a successful response.
    type Reply: for<'r> ReadHeader<'r>;
}

/// A header without fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoFields;

impl WriteHeader for NoFields {
    fn write(&self, _: &mut FieldWriter<'_>) {}
}
impl ReadHeader<'_> for NoFields {
    fn read(_: &FieldReader<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}
