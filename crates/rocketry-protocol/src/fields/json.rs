//! The JSON header. Java: `RemotingSerializable` over fastjson2.
//!
//! Written as Java writes it: members in alphabetical order, no blanks, no null members. Read as tolerantly as Java reads
//! it, because foreign clients rely on that: unknown members, single quotes, comments, a trailing comma, numbers as text,
//! values of `extFields` that are not text.

use bytes::{BufMut, BytesMut};

use super::{Builder, Decimal};
use crate::{
    DecodeError, FieldWriter, Fields, Language, RemotingCommand, Serialization, VERSION,
    WriteHeader, error::excerpt,
};

mod plain;
mod scan;
mod special;

use scan::Scanner;

/// Appends the header of `command`.
pub(crate) fn write(command: &RemotingCommand, out: &mut BytesMut) {
    put_code(command.code, out);
    if let Some(fields) = &command.fields {
        let mut members = Members::begin(out);
        for entry in fields.entries() {
            if let Some(value) = entry.value {
                members.entry(entry.key, value);
            }
        }
        members.end();
    }
    put_rest(
        command.flag,
        command.language,
        command.opaque,
        command.remark.as_deref(),
        command.version,
        out,
    );
}

/// Appends the header of a request whose fields are written straight from their type.
pub(crate) fn write_typed(
    code: i32,
    header: &(impl WriteHeader + ?Sized),
    (flag, language, opaque): (i32, Language, i32),
    out: &mut BytesMut,
) {
    put_code(code, out);
    let mut writer = FieldWriter::json(Members::begin(out));
    header.write(&mut writer);
    if let Some(members) = writer.into_members() {
        members.end();
    }
    put_rest(flag, Some(language), opaque, None, VERSION, out);
}

fn put_code(code: i32, out: &mut BytesMut) {
    out.put_slice(b"{\"code\":");
    put_number(code, out);
}

/// What follows the fields, in alphabetical order.
fn put_rest(
    flag: i32,
    language: Option<Language>,
    opaque: i32,
    remark: Option<&str>,
    version: i32,
    out: &mut BytesMut,
) {
    out.put_slice(b",\"flag\":");
    put_number(flag, out);
    let language = language.and_then(Language::name);
    out.put_slice(b",\"language\":\"");
    out.put_slice(language.unwrap_or("OTHER").as_bytes());
    out.put_slice(b"\",\"opaque\":");
    put_number(opaque, out);
    if let Some(remark) = remark {
        out.put_slice(b",\"remark\":");
        put_text(remark.as_bytes(), out);
    }
    out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    put_number(version, out);
    out.put_u8(b'}');
}

/// The members of `extFields` while they are written.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    out: &'a mut BytesMut,
    /// A quote stays open from one entry to the next, so that less often something is appended.
    is_open: bool,
}

impl<'a> Members<'a> {
    fn begin(out: &'a mut BytesMut) -> Self {
        out.put_slice(b",\"extFields\":{");
        Self {
            out,
            is_open: false,
        }
    }

    fn end(self) {
        self.out.put_slice(if self.is_open { b"\"}" } else { b"}" });
    }

    /// A value that may hold anything, under the name of a field of ours.
    pub(crate) fn text(&mut self, key: &str, value: &[u8]) {
        self.name(key.as_bytes());
        put_content(value, self.out);
    }

    /// A value without anything to escape.
    pub(crate) fn plain(&mut self, key: &str, value: &[u8]) {
        self.name(key.as_bytes());
        self.out.put_slice(value);
    }

    /// Any name and any value.
    fn entry(&mut self, key: &[u8], value: &[u8]) {
        self.out
            .put_slice(if self.is_open { b"\",\"" } else { b"\"" });
        self.is_open = true;
        put_content(key, self.out);
        self.out.put_slice(b"\":\"");
        put_content(value, self.out);
    }

    fn name(&mut self, key: &[u8]) {
        if let (true, [letter]) = (self.is_open, key) {
            // most fields of a send, in one piece of a known size
            self.out
                .put_slice(&[b'"', b',', b'"', *letter, b'"', b':', b'"']);
            return;
        }
        self.out
            .put_slice(if self.is_open { b"\",\"" } else { b"\"" });
        self.is_open = true;
        self.out.put_slice(key);
        self.out.put_slice(b"\":\"");
    }
}

fn put_number(value: i32, out: &mut BytesMut) {
    out.put_slice(Decimal::new(i64::from(value)).as_bytes());
}

/// Quoted text.
fn put_text(text: &[u8], out: &mut BytesMut) {
    out.put_u8(b'"');
    put_content(text, out);
    out.put_u8(b'"');
}

/// Text without its quotes, escaped as fastjson2 does: quote, backslash and everything below a blank.
#[inline]
fn put_content(text: &[u8], out: &mut BytesMut) {
    match special::to_escape(text) {
        None => out.put_slice(text),
        Some(clean) => put_escaping(text, clean, out),
    }
}

/// As [`put_content`], of a text whose first `clean` bytes need no escape.
fn put_escaping(text: &[u8], mut clean: usize, out: &mut BytesMut) {
    let mut rest = text;
    while let Some((&special, tail)) = rest.get(clean..).and_then(<[u8]>::split_first) {
        out.put_slice(rest.get(..clean).unwrap_or_default());
        put_escaped(special, out);
        rest = tail;
        clean = special::to_escape(rest).unwrap_or(rest.len());
    }
    out.put_slice(rest);
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
    let mut command = unread();
    match plain::read(text, &mut command) {
        Some(()) => Ok(command),
        None => read_tolerantly(text),
    }
}

/// What a header without members says.
fn unread() -> RemotingCommand {
    RemotingCommand {
        code: 0,
        language: Some(Language::JAVA),
        version: 0,
        opaque: 0,
        flag: 0,
        remark: None,
        fields: None,
        body: bytes::Bytes::new(),
        serialization: Serialization::Json,
    }
}

fn read_tolerantly(text: &str) -> Result<RemotingCommand, DecodeError> {
    let mut command = unread();
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
    use proptest::prelude::*;

    use super::*;

    /// Headers near those that peers write: most have the names, values and punctuation, some do not.
    fn nearly_headers() -> impl Strategy<Value = String> {
        let text = || {
            prop_oneof![
                4 => "[a-zA-Z0-9_,:{}é -]{0,12}",
                1 => proptest::sample::select(vec!["\\n", "\\u0041", "\\u00e9x", "\\u0001b\\u007f", "\\ud83d\\ude00", "\\x", "a\"b", "'", "\u{1}\u{2}", "\\"]).prop_map(str::to_owned),
            ]
            .prop_map(|text| format!("\"{text}\""))
        };
        let name = proptest::sample::select(vec![
            "code",
            "flag",
            "opaque",
            "version",
            "language",
            "remark",
            "extFields",
            "other",
        ]);
        let odd = proptest::sample::select(vec![
            "null",
            "true",
            "-1",
            "007",
            "1.5",
            "999999999",
            "9999999999",
            "2147483648",
            "\"RUST\"",
            "\"GO\"",
            "12",
            "{}",
            "[1]",
            "",
        ]);
        let entries = proptest::collection::vec((text(), text()), 0..4).prop_map(|entries| {
            let entries: Vec<_> = entries.iter().map(|(k, v)| format!("{k}:{v}")).collect();
            format!("{{{}}}", entries.join(","))
        });
        let value = prop_oneof![
            any::<u16>().prop_map(|n| n.to_string()),
            text(),
            entries,
            odd.prop_map(str::to_owned)
        ];
        let gap = proptest::sample::select(vec!["", "", "", "", "", " ", "/**/", ","]);
        let member =
            (name, gap, value).prop_map(|(name, gap, value)| format!("\"{name}\"{gap}:{value}"));
        (proptest::collection::vec(member, 0..8), 0..80usize, 0..20u8).prop_map(
            |(members, at, how)| {
                let mut text = format!("{{{}}}", members.join(","));
                if how == 0 && text.is_char_boundary(at) && at < text.len() {
                    text.truncate(at);
                }
                text
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]
        /// What the reader of usual headers takes, the tolerant one reads the same.
        #[test]
        fn both_readers_agree(text in nearly_headers()) {
            let mut command = unread();
            if plain::read(&text, &mut command).is_some() {
                prop_assert_eq!(read_tolerantly(&text), Ok(command));
            }
        }
    }

    #[test]
    fn what_is_written_is_read_without_a_second_look() {
        let mut command = RemotingCommand::response(crate::ResponseCode(0))
            .with_field("a", "")
            .with_field("é", "b{},:")
            .with_remark("fine");
        command.opaque = 123_456_789;
        let mut out = BytesMut::new();
        write(&command, &mut out);
        let mut read = unread();
        plain::read(std::str::from_utf8(&out).unwrap(), &mut read).unwrap();
        assert_eq!(read, command);
    }

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
