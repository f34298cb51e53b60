//! Headers as every client and broker writes them: JSON without blanks and comments, texts in double quotes, numbers in decimal,
//! escapes in the values of `extFields` only. That is nearly all there are, so they are read without asking at each byte what else
//! could stand there.

use super::{Builder, special};
use crate::{Language, RemotingCommand};

/// What is left of a header.
type Rest<'a> = &'a [u8];

/// Reads `text` into `command`; `None` if something about it is unusual, and `command` then is to be thrown away.
pub(super) fn read(text: &str, command: &mut RemotingCommand) -> Option<()> {
    let mut rest = text.as_bytes().strip_prefix(b"{")?;
    loop {
        let (name, value) = member_name(rest)?;
        rest = match name {
            b"code" => int(value, &mut command.code)?,
            b"flag" => int(value, &mut command.flag)?,
            b"opaque" => int(value, &mut command.opaque)?,
            b"version" => int(value, &mut command.version)?,
            b"language" => {
                let (name, rest) = string(value)?;
                command.language = if name == b"RUST" {
                    Some(Language::RUST)
                } else {
                    Language::from_name(std::str::from_utf8(name).ok()?)
                };
                rest
            }
            b"remark" => {
                let (remark, rest) = string(value)?;
                command.remark = Some(String::from_utf8(remark.to_vec()).ok()?);
                rest
            }
            b"extFields" => ext_fields(value, command)?,
            _ => string(value)?.1,
        };
        match rest {
            [b',', next @ ..] => rest = next,
            [b'}'] => return Some(()),
            _ => return None,
        }
    }
}

fn ext_fields<'a>(text: Rest<'a>, command: &mut RemotingCommand) -> Option<Rest<'a>> {
    // a second map replaces the first; let the other reader see to it
    if command.fields.is_some() {
        return None;
    }
    let mut rest = text.strip_prefix(b"{")?;
    // An entry takes as many bytes in the map as here, so this is enough for all of them.
    let mut fields = Builder::with_capacity(rest.len());
    if let [b'}', next @ ..] = rest {
        command.fields = Some(fields.build());
        return Some(next);
    }
    loop {
        let (name, value) = member_name(rest)?;
        let next = if let Some((value, next)) = string(value) {
            fields.entry(name, value).ok()?;
            next
        } else {
            // properties are parted by characters that need an escape
            fields.key().extend_from_slice(name);
            let next = escaped_string(value, fields.value().ok()?)?;
            fields.end().ok()?;
            next
        };
        match next {
            [b',', next @ ..] => rest = next,
            [b'}', next @ ..] => {
                command.fields = Some(fields.build());
                return Some(next);
            }
            _ => return None,
        }
    }
}

/// A quoted name and what follows its colon.
#[inline]
fn member_name(text: Rest<'_>) -> Option<(&[u8], Rest<'_>)> {
    let (name, rest) = string(text)?;
    Some((name, rest.strip_prefix(b":")?))
}

/// The content of a quoted text, and what follows it.
#[inline]
fn string(text: Rest<'_>) -> Option<(&[u8], Rest<'_>)> {
    let text = text.strip_prefix(b"\"")?;
    let (content, rest) = text.split_at_checked(special::quote_or_backslash(text, b'"')?)?;
    Some((content, rest.strip_prefix(b"\"")?))
}

/// Appends the content of a quoted text to `out`; returns what follows it.
fn escaped_string<'a>(text: Rest<'a>, out: &mut Vec<u8>) -> Option<Rest<'a>> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        let (run, special) = rest.split_at_checked(special::quote_or_backslash(rest, b'"')?)?;
        out.extend_from_slice(run);
        rest = match special {
            [b'"', rest @ ..] => return Some(rest),
            // those that are no letters of a longer alphabet need no look at what comes after them
            [b'\\', b'u', b'0', b'0', high @ b'0'..=b'7', low, rest @ ..] => {
                let low = char::from(*low).to_digit(16)?;
                out.push((high - b'0') << 4 | u8::try_from(low).ok()?);
                rest
            }
            [b'\\', escaped, rest @ ..] => {
                out.push(match escaped {
                    b'"' | b'\\' | b'/' => *escaped,
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => return None,
                });
                rest
            }
            _ => return None,
        };
    }
}

/// A number that is surely an int, and what follows it.
#[inline]
fn int<'a>(text: Rest<'a>, out: &mut i32) -> Option<Rest<'a>> {
    // ten digits may be too many
    const MAX_DIGITS: usize = 9;
    let mut value = 0;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' if at < MAX_DIGITS => value = value * 10 + i32::from(byte - b'0'),
            b',' | b'}' if at > 0 => {
                *out = value;
                return text.get(at..);
            }
            _ => return None,
        }
    }
    None
}
