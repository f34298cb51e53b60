//! The JSON header. Java: `RemotingSerializable` over fastjson2.
//!
//! Written as Java writes it: members in alphabetical order, no blanks, no null members. Read as tolerantly as Java reads
//! it, because foreign clients rely on that: unknown members, single quotes, comments, a trailing comma, numbers as text,
//! values of `extFields` that are not text.

use bytes::{BufMut, BytesMut};

use super::{Builder, Decimal};
use crate::{DecodeError, Fields, Language, RemotingCommand, Serialization, error::excerpt};

mod scan;

use scan::Scanner;

/// Appends the header of `command`.
pub(crate) fn write(command: &RemotingCommand, out: &mut BytesMut) {
    out.put_slice(b"{\"code\":");
    put_number(command.code, out);
    if let Some(fields) = &command.fields {
        out.put_slice(b",\"extFields\":{");
        let mut separator: &[u8] = b"";
        for entry in fields.entries() {
            let Some(value) = entry.value else { continue };
            out.put_slice(separator);
            put_text(entry.key, out);
            out.put_u8(b':');
            put_text(value, out);
            separator = b",";
        }
        out.put_u8(b'}');
    }
    out.put_slice(b",\"flag\":");
    put_number(command.flag, out);
    let language = command.language.and_then(Language::name);
    out.put_slice(b",\"language\":\"");
    out.put_slice(language.unwrap_or("OTHER").as_bytes());
    out.put_slice(b"\",\"opaque\":");
    put_number(command.opaque, out);
    if let Some(remark) = &command.remark {
        out.put_slice(b",\"remark\":");
        put_text(remark.as_bytes(), out);
    }
    out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    put_number(command.version, out);
    out.put_u8(b'}');
}

fn put_number(value: i32, out: &mut BytesMut) {
    out.put_slice(Decimal::new(i64::from(value)).as_bytes());
}

/// Quoted text, escaped as fastjson2 does: quote, backslash and everything below a blank.
fn put_text(text: &[u8], out: &mut BytesMut) {
    out.put_u8(b'"');
    let mut rest = text;
    while let Some(clean) = rest
        .iter()
        .position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\')
    {
        let (head, tail) = rest.split_at(clean);
        out.put_slice(head);
        let Some((&special, tail)) = tail.split_first() else {
            break;
        };
        put_escaped(special, out);
        rest = tail;
    }
    out.put_slice(rest);
    out.put_u8(b'"');
}

fn put_escaped(byte: u8, out: &mut BytesMut) {
    let short = match byte {
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        b'"' | b'\\' => byte,
        _ => {
            let hex = |digit: u8| {
                if digit < 10 {
                    b'0' + digit
                } else {
                    b'a' + digit - 10
                }
            };
            out.put_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
            return;
        }
    };
    out.put_slice(&[b'\\', short]);
}

/// Reads a header; the body of the result is empty.
pub(crate) fn read(header: &[u8]) -> Result<RemotingCommand, DecodeError> {
    match std::str::from_utf8(header) {
        Ok(text) => read_text(text),
        // Java's decoder stops at bytes that never occur in UTF-8 and replaces other mistakes.
        Err(_) if header.iter().any(|&byte| byte >= 0xf8) => Err(DecodeError::Malformed {
            what: "JSON header",
            reason: "not UTF-8".to_owned(),
        }),
        Err(_) => read_text(&String::from_utf8_lossy(header)),
    }
}

fn read_text(text: &str) -> Result<RemotingCommand, DecodeError> {
    let mut command = RemotingCommand {
        code: 0,
        language: Some(Language::JAVA),
        version: 0,
        opaque: 0,
        flag: 0,
        remark: None,
        fields: None,
        body: bytes::Bytes::new(),
        serialization: Serialization::Json,
    };
    let mut scanner = Scanner::new(text);
    // Set aside for the first map only: a peer may send any number of them.
    let mut room = text.len();
    scanner.open_object()?;
    while scanner.next_member()? {
        match &*scanner.name()? {
            b"code" => command.code = int(&mut scanner, "code")?,
            b"flag" => command.flag = int(&mut scanner, "flag")?,
            b"opaque" => command.opaque = int(&mut scanner, "opaque")?,
            b"version" => command.version = int(&mut scanner, "version")?,
            b"language" => command.language = language(&mut scanner)?,
            b"remark" => command.remark = remark(&mut scanner)?,
            b"extFields" => {
                command.fields = ext_fields(&mut scanner, std::mem::take(&mut room))?;
            }
            _ => scanner.skip_value()?,
        }
    }
    scanner.end()?;
    Ok(command)
}

/// An int the way Java reads one: a number, cut to a whole one, the same as text, a boolean, or null for 0.
fn int(scanner: &mut Scanner<'_>, what: &'static str) -> Result<i32, DecodeError> {
    if scanner.null()? {
        return Ok(0);
    }
    let text = scanner.scalar_text()?;
    let text = std::str::from_utf8(&text).unwrap_or_default();
    match text {
        "true" => return Ok(1),
        "false" => return Ok(0),
        _ => {}
    }
    if let Ok(value) = text.parse() {
        return Ok(value);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the fraction is dropped, as Java drops it, and the range is checked"
    )]
    match text.parse::<f64>() {
        Ok(value)
            if text.contains(['.', 'e', 'E'])
                && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value.trunc()) =>
        {
            Ok(value as i32)
        }
        _ => Err(DecodeError::Malformed {
            what,
            reason: format!("{:?} is not a 32-bit integer", excerpt(text)),
        }),
    }
}

/// A language by name (unknown names are no error) or by number (unknown numbers are one, as in Java).
fn language(scanner: &mut Scanner<'_>) -> Result<Option<Language>, DecodeError> {
    if scanner.null()? {
        return Ok(None);
    }
    let quoted = scanner.at_string()?;
    let text = scanner.scalar_text()?;
    let text = std::str::from_utf8(&text).unwrap_or_default();
    if quoted {
        return Ok(Language::from_name(text));
    }
    let language = text.parse().ok().map(Language);
    language
        .filter(|language| language.name().is_some())
        .map(Some)
        .ok_or_else(|| DecodeError::Malformed {
            what: "language",
            reason: format!("{:?} is not a language code", excerpt(text)),
        })
}

fn remark(scanner: &mut Scanner<'_>) -> Result<Option<String>, DecodeError> {
    if scanner.null()? {
        return Ok(None);
    }
    let mut text = Vec::new();
    scanner.text_of_value(&mut text)?;
    // Pieces of valid text, and whole characters for escapes.
    Ok(String::from_utf8(text).ok())
}

fn ext_fields(scanner: &mut Scanner<'_>, room: usize) -> Result<Option<Fields>, DecodeError> {
    if scanner.null()? {
        return Ok(None);
    }
    scanner.open_object()?;
    // An entry takes as many bytes in the map as in compact JSON, so this is enough for all of them.
    let mut fields = Builder::with_capacity(room.min(scanner.bytes_left()));
    while scanner.next_member()? {
        scanner.name_into(fields.key())?;
        let value = fields.value()?;
        if scanner.null()? {
            fields.end_null();
        } else {
            scanner.text_of_value(value)?;
            fields.end()?;
        }
    }
    Ok(Some(fields.build()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remark_of(header: &str) -> Option<String> {
        read(header.as_bytes()).unwrap().remark
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(
            remark_of(r#"{"remark":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00'"}"#).as_deref(),
            Some("\"\\/\u{8}\u{c}\n\r\té😀'")
        );
        // Half a pair, at the end and before something else.
        assert_eq!(
            remark_of(r#"{"remark":"\ud83d\u0041\ude00\ud83d"}"#).as_deref(),
            Some("\u{fffd}A\u{fffd}\u{fffd}")
        );
        for wrong in [
            r#"{"remark":"\x"}"#,
            r#"{"remark":"\u12"}"#,
            r#"{"remark":"\"#,
        ] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn escaped_names_are_names() {
        let command = read(br#"{"\u0063ode":7,"extFields":{"\u0061":"b"}}"#).unwrap();
        assert_eq!(command.code, 7);
        assert_eq!(command.fields.unwrap().get("a"), Some("b"));
    }

    #[test]
    fn nested_values_become_compact_text() {
        let header = br#"{"extFields":{"k":{ 'a' : [ 1 , {"b":"c\n"}, [], {}, ], "d":null } }}"#;
        let fields = read(header).unwrap().fields.unwrap();
        assert_eq!(
            fields.get("k"),
            Some(r#"{"a":[1,{"b":"c\n"},[],{}],"d":null}"#)
        );
    }

    #[test]
    fn ints_are_cut_to_whole_ones_and_checked() {
        for (text, value) in [("-1.9", -1), ("1e3", 1000), ("'12'", 12), ("false", 0)] {
            let header = format!("{{\"code\":{text}}}");
            assert_eq!(read(header.as_bytes()).unwrap().code, value, "{text}");
        }
        for text in ["3e9", "1.", ".5", "01x", "{}", "[1]", "NaN", "'1 2'", ""] {
            let header = format!("{{\"code\":{text}}}");
            assert!(read(header.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn commas_colons_and_brackets_must_be_there() {
        for wrong in [
            "{,}",
            r#"{"code":1,,}"#,
            r#"{"code":1 "flag":2}"#,
            r#"{"code" 1}"#,
            r#"{"x":[1 2]}"#,
            r#"{"x":[1}"#,
            r#"{"x":{1:2}}"#,
            r#"{"x":[,]}"#,
            r#"{"code":1}{}"#,
            r#"{"code":1}/*"#,
            r#"{"extFields":{"a":"b"}"#,
        ] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let comments = r#"/*a*/{/*b*/"code"/*c*/:/*d*/1/*e*/,}/**/"#;
        assert_eq!(read(comments.as_bytes()).unwrap().code, 1);
    }
}
