//! A scanner over JSON text that hands out one member after the other and copies only what is asked for.

use std::borrow::Cow;

use super::special;
use crate::DecodeError;

/// How deep arrays and objects may nest. fastjson2: `maxLevel`.
const MAX_DEPTH: usize = 2048;

pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    // Whether a member of the object being read has been seen, so that a comma must come before the next one.
    after_member: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            after_member: false,
        }
    }

    pub(super) fn bytes_left(&self) -> usize {
        self.text.len() - self.at
    }

    /// Enters an object.
    pub(super) fn open_object(&mut self) -> Result<(), DecodeError> {
        self.blanks()?;
        self.expect(b'{', "an object")?;
        self.after_member = false;
        Ok(())
    }

    /// Goes to the name of the next member; false when the object ended instead. One comma may trail the last member.
    pub(super) fn next_member(&mut self) -> Result<bool, DecodeError> {
        self.blanks()?;
        if self.after_member && self.peek() == Some(b',') {
            self.at += 1;
            self.blanks()?;
        } else if self.after_member && self.peek() != Some(b'}') {
            return Err(self.unexpected("',' or '}'"));
        }
        // Set for the object around this one, too: it has just had this member.
        self.after_member = true;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// The name of a member, and the colon after it.
    pub(super) fn name(&mut self) -> Result<Cow<'a, [u8]>, DecodeError> {
        let quote = self.open_string()?;
        let name = self.string(quote)?;
        self.colon()?;
        Ok(name)
    }

    /// As [`Scanner::name`], appended to `out`.
    pub(super) fn name_into(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let quote = self.open_string()?;
        self.rest_of_string(quote, out)?;
        self.colon()
    }

    /// Takes a `null`, if that is what comes next.
    pub(super) fn null(&mut self) -> Result<bool, DecodeError> {
        self.blanks()?;
        let found = self.rest().starts_with(b"null");
        if found {
            self.at += 4;
        }
        Ok(found)
    }

    /// Whether a string comes next.
    pub(super) fn at_string(&mut self) -> Result<bool, DecodeError> {
        self.blanks()?;
        Ok(matches!(self.peek(), Some(b'"' | b'\'')))
    }

    /// A string's content, a number or a boolean, appended to `out`.
    pub(super) fn scalar(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        self.blanks()?;
        if let Some(b'"' | b'\'') = self.peek() {
            let quote = self.open_string()?;
            self.rest_of_string(quote, out)
        } else {
            out.extend_from_slice(self.word()?);
            Ok(())
        }
    }

    /// As [`Scanner::scalar`], borrowed unless the text has an escape.
    pub(super) fn scalar_text(&mut self) -> Result<Cow<'a, [u8]>, DecodeError> {
        self.blanks()?;
        if let Some(b'"' | b'\'') = self.peek() {
            let quote = self.open_string()?;
            self.string(quote)
        } else {
            self.word().map(Cow::Borrowed)
        }
    }

    /// A string's content, or the compact JSON of any other value, appended to `out`.
    pub(super) fn text_of_value(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        self.blanks()?;
        match self.peek() {
            Some(b'{' | b'[') => self.nested(Some(out)),
            _ => self.scalar(out),
        }
    }

    /// Passes over a value of any kind.
    pub(super) fn skip_value(&mut self) -> Result<(), DecodeError> {
        self.nested(None)
    }

    /// Nothing but blanks may be left.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        self.blanks()?;
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(self.unexpected("the end"))
        }
    }

    /// One value with everything in it, without recursion: the depth is the peer's choice.
    fn nested(&mut self, mut out: Option<&mut Vec<u8>>) -> Result<(), DecodeError> {
        // Closing brackets of what is open.
        let mut open: Vec<u8> = Vec::new();
        loop {
            // A value, or the end of an empty container (or of one with a trailing comma).
            self.blanks()?;
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    if open.len() == MAX_DEPTH {
                        return Err(self.unexpected("less nesting"));
                    }
                    self.at += 1;
                    open.push(if bracket == b'{' { b'}' } else { b']' });
                    put(&mut out, &[bracket]);
                    self.blanks()?;
                    if self.peek() != open.last().copied() {
                        self.member_name(&open, &mut out)?;
                        continue;
                    }
                }
                Some(b'"' | b'\'') => self.quoted(&mut out)?,
                _ => {
                    let word = self.word()?;
                    put(&mut out, word);
                }
            }
            // After a value: close what ends here, or go on behind a comma.
            loop {
                let Some(&closing) = open.last() else {
                    return Ok(());
                };
                self.blanks()?;
                let comma = self.peek() == Some(b',');
                if comma {
                    self.at += 1;
                    self.blanks()?;
                }
                if self.peek() == Some(closing) {
                    self.at += 1;
                    open.pop();
                    put(&mut out, &[closing]);
                } else if comma {
                    put(&mut out, b",");
                    self.member_name(&open, &mut out)?;
                    break;
                } else {
                    return Err(self.unexpected("',' or a closing bracket"));
                }
            }
        }
    }

    /// Inside an object, the name before a value.
    fn member_name(
        &mut self,
        open: &[u8],
        out: &mut Option<&mut Vec<u8>>,
    ) -> Result<(), DecodeError> {
        if open.last() == Some(&b'}') {
            self.quoted(out)?;
            self.colon()?;
            put(out, b":");
        }
        Ok(())
    }

    /// A string with its quotes.
    fn quoted(&mut self, out: &mut Option<&mut Vec<u8>>) -> Result<(), DecodeError> {
        let quote = self.open_string()?;
        let content = self.string(quote)?;
        if let Some(out) = out {
            let mut text = bytes::BytesMut::with_capacity(content.len() + 2);
            super::put_text(&content, &mut text);
            out.extend_from_slice(&text);
        }
        Ok(())
    }

    fn open_string(&mut self) -> Result<u8, DecodeError> {
        self.blanks()?;
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => {
                self.at += 1;
                Ok(quote)
            }
            _ => Err(self.unexpected("a quoted text")),
        }
    }

    /// Up to the closing quote, borrowed unless there is an escape.
    fn string(&mut self, quote: u8) -> Result<Cow<'a, [u8]>, DecodeError> {
        let start = self.at;
        let run = self.clean_run(quote)?;
        if self.peek() == Some(quote) {
            self.at += 1;
            return Ok(Cow::Borrowed(run));
        }
        self.at = start;
        let mut content = Vec::new();
        self.rest_of_string(quote, &mut content)?;
        Ok(Cow::Owned(content))
    }

    fn rest_of_string(&mut self, quote: u8, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        loop {
            out.extend_from_slice(self.clean_run(quote)?);
            let closed = self.peek() == Some(quote);
            self.at += 1;
            if closed {
                return Ok(());
            }
            self.escape(out)?;
        }
    }

    /// Bytes up to the closing quote or a backslash, which is left where it is.
    fn clean_run(&mut self, quote: u8) -> Result<&'a [u8], DecodeError> {
        let rest = self.rest();
        let end =
            special::quote_or_backslash(rest, quote).ok_or_else(|| DecodeError::Truncated {
                what: "JSON text",
                need: rest.len() as u64 + 1,
                have: rest.len() as u64,
            })?;
        self.at += end;
        Ok(rest.get(..end).unwrap_or_default())
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let byte = match self.peek() {
            Some(byte @ (b'"' | b'\'' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                self.at += 1;
                let character = self.unicode()?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.unexpected("an escape")),
        };
        self.at += 1;
        out.push(byte);
        Ok(())
    }

    /// The character of `\uXXXX`, or of two of them; half a pair becomes U+FFFD.
    fn unicode(&mut self) -> Result<char, DecodeError> {
        let unit = self.hex4()?;
        if (0xd800..0xdc00).contains(&unit) && self.rest().starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Result<u32, DecodeError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("a hexadecimal digit"));
            };
            self.at += 1;
            unit = unit << 4 | digit;
        }
        Ok(unit)
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<&'a [u8], DecodeError> {
        let rest = self.rest();
        let bytes = rest
            .iter()
            .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(byte)))
            .unwrap_or(rest.len());
        let word = rest.get(..bytes).unwrap_or_default();
        if !(matches!(word, b"true" | b"false" | b"null") || is_number(word)) {
            return Err(self.unexpected("a value"));
        }
        self.at += bytes;
        Ok(word)
    }

    fn colon(&mut self) -> Result<(), DecodeError> {
        self.blanks()?;
        self.expect(b':', "':'")
    }

    /// Passes over blanks and `/* comments */`.
    #[inline]
    fn blanks(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            Some(b' ' | b'\t' | b'\n' | b'\r' | b'/') => self.some_blanks(),
            _ => Ok(()),
        }
    }

    #[cold]
    fn some_blanks(&mut self) -> Result<(), DecodeError> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b'/') if self.rest().starts_with(b"/*") => {
                    let comment = self.rest();
                    let end = comment
                        .get(2..)
                        .unwrap_or_default()
                        .windows(2)
                        .position(|pair| pair == b"*/");
                    let Some(end) = end else {
                        return Err(self.unexpected("a comment that ends"));
                    };
                    self.at += end + 4;
                }
                _ => return Ok(()),
            }
        }
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<(), DecodeError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.unexpected(what))
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    #[cold]
    fn unexpected(&self, wanted: &str) -> DecodeError {
        const SHOWN_BYTES: usize = 20;
        let rest = self.rest();
        let shown = rest.get(..SHOWN_BYTES.min(rest.len())).unwrap_or_default();
        DecodeError::Malformed {
            what: "JSON header",
            reason: format!(
                "{wanted} expected at byte {}, found {:?}",
                self.at,
                String::from_utf8_lossy(shown)
            ),
        }
    }
}

fn put(out: &mut Option<&mut Vec<u8>>, bytes: &[u8]) {
    if let Some(out) = out {
        out.extend_from_slice(bytes);
    }
}

/// `-12`, `1.50`, `1.5e3`: digits first, then at most one fraction and one exponent.
fn is_number(word: &[u8]) -> bool {
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let unsigned = word.strip_prefix(b"-").unwrap_or(word);
    let (mantissa, exponent) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => {
            let (mantissa, exponent) = unsigned.split_at(at);
            (mantissa, exponent.get(1..))
        }
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.iter().position(|&byte| byte == b'.') {
        Some(at) => {
            let (whole, fraction) = mantissa.split_at(at);
            (whole, fraction.get(1..))
        }
        None => (mantissa, None),
    };
    digits(whole)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| {
            digits(match exponent.split_first() {
                Some((b'+' | b'-', rest)) => rest,
                _ => exponent,
            })
        })
}
