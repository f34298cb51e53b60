//! The binary header (`ROCKETMQ`). Java: `RocketMQSerializable`.
//!
//! ```text
//! code i16, language u8, version i16, opaque i32, flag i32, remark length i32, remark, ext length i32, ext
//! ext: key length i16, key, value length i32, value; repeated
//! ```
//!
//! Empty texts arrive as null, and the code is cut to 16 bits: [`carries`] tells which codes survive.

use bytes::{BufMut, BytesMut};

use super::Builder;
use crate::{
    DecodeError, EncodeError, Fields, Language, RemotingCommand, Serialization,
    command::header_too_long,
};

/// Whether `code` fits the 16 bits of this header.
pub(crate) fn carries(code: i32) -> bool {
    i16::try_from(code).is_ok()
}

/// Appends the header of `command`, whose code must fit.
#[expect(
    clippy::cast_possible_truncation,
    reason = "Java cuts code and version to their low 16 bits"
)]
pub(crate) fn write(command: &RemotingCommand, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_i16(command.code as i16);
    out.put_u8(command.language.unwrap_or(Language::OTHER).0);
    out.put_i16(command.version as i16);
    out.put_i32(command.opaque);
    out.put_i32(command.flag);
    let remark = command.remark.as_deref().unwrap_or_default();
    out.put_i32(length(remark.len())?);
    out.put_slice(remark.as_bytes());
    match &command.fields {
        None => out.put_i32(0),
        Some(fields) if !fields.nulls => {
            out.put_i32(length(fields.raw.len())?);
            out.put_slice(&fields.raw);
        }
        Some(fields) => write_without_nulls(fields, out)?,
    }
    Ok(())
}

fn write_without_nulls(fields: &Fields, out: &mut BytesMut) -> Result<(), EncodeError> {
    let sent = || {
        fields
            .entries()
            .filter_map(|entry| Some((entry.key, entry.value?)))
    };
    out.put_i32(length(
        sent().map(|(key, value)| 6 + key.len() + value.len()).sum(),
    )?);
    for (key, value) in sent() {
        // Both lengths came out of the same fields of the flat buffer.
        out.put_i16(i16::try_from(key.len()).unwrap_or_default());
        out.put_slice(key);
        out.put_i32(length(value.len())?);
        out.put_slice(value);
    }
    Ok(())
}

fn length(bytes: usize) -> Result<i32, EncodeError> {
    i32::try_from(bytes).map_err(|_| header_too_long(bytes))
}

/// Reads a header; the body of the result is empty.
pub(crate) fn read(header: &[u8]) -> Result<RemotingCommand, DecodeError> {
    let mut input = Input { rest: header };
    let code = input.i16("code")?;
    let [language] = input.take("language")?;
    let version = input.i16("version")?;
    let opaque = input.i32("opaque")?;
    let flag = input.i32("flag")?;
    let remark_bytes = input.i32("remark length")?;
    let remark = input.text("remark", remark_bytes)?;
    let ext_bytes = input.i32("ext fields length")?;
    // Negative is none, like zero.
    let fields = match usize::try_from(ext_bytes).unwrap_or(0) {
        0 => None,
        bytes => Some(read_fields(input.slice("ext fields", bytes)?)?),
    };
    if !input.rest.is_empty() {
        // Java goes on with the body from here and cuts its end off.
        return Err(DecodeError::Malformed {
            what: "binary header",
            reason: format!("{} bytes after the ext fields", input.rest.len()),
        });
    }
    Ok(RemotingCommand {
        code: i32::from(code),
        language: Some(Language(language)).filter(|language| language.name().is_some()),
        version: i32::from(version),
        opaque,
        flag,
        remark: Some(String::from_utf8_lossy(remark).into_owned()).filter(|text| !text.is_empty()),
        fields,
        body: bytes::Bytes::new(),
        serialization: Serialization::Binary,
    })
}

fn read_fields(ext: &[u8]) -> Result<Fields, DecodeError> {
    let mut input = Input { rest: ext };
    let mut fields = Builder::with_capacity(ext.len());
    while !input.rest.is_empty() {
        let key_bytes = input.i16("key length")?;
        let key = input.text("key", i32::from(key_bytes))?;
        extend_lossy(fields.key(), key);
        let value_bytes = input.i32("value length")?;
        let value = input.text("value", value_bytes)?;
        let out = fields.value()?;
        if value.is_empty() {
            fields.end_null();
        } else {
            extend_lossy(out, value);
            fields.end()?;
        }
    }
    Ok(fields.build())
}

fn extend_lossy(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(String::from_utf8_lossy(bytes).as_bytes());
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.truncated(what, N));
        };
        self.rest = rest;
        Ok(*head)
    }

    fn i16(&mut self, what: &'static str) -> Result<i16, DecodeError> {
        self.take(what).map(i16::from_be_bytes)
    }

    fn i32(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        self.take(what).map(i32::from_be_bytes)
    }

    fn text(&mut self, what: &'static str, length: i32) -> Result<&'a [u8], DecodeError> {
        let bytes = usize::try_from(length).map_err(|_| DecodeError::OutOfBounds {
            what,
            value: i64::from(length),
            min: 0,
            max: i64::try_from(self.rest.len()).unwrap_or(i64::MAX),
        })?;
        self.slice(what, bytes)
    }

    fn slice(&mut self, what: &'static str, bytes: usize) -> Result<&'a [u8], DecodeError> {
        let Some((head, rest)) = self.rest.split_at_checked(bytes) else {
            return Err(self.truncated(what, bytes));
        };
        self.rest = rest;
        Ok(head)
    }

    fn truncated(&self, what: &'static str, need: usize) -> DecodeError {
        DecodeError::Truncated {
            what,
            need: need as u64,
            have: self.rest.len() as u64,
        }
    }
}
