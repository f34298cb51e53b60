//! Reads the dialect, with fastjson's tolerance.

use std::borrow::Cow;

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::{MAX_DEPTH, MAX_ELEMENTS};

/// What is wrong with the text, and at which byte if that is known.
#[derive(Debug)]
pub(super) struct Fault {
    reason: String,
    at: Option<usize>,
}

impl Fault {
    /// The fault with the text around it.
    pub(super) fn at(&self, text: &str) -> String {
        let Some(at) = self.at else {
            return self.reason.clone();
        };
        let near: String = text
            .get(at..)
            .unwrap_or_default()
            .chars()
            .take(20)
            .collect();
        format!(
            "{} at byte {at} of {}, near {near:?}",
            self.reason,
            text.len()
        )
    }
}
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}
impl std::error::Error for Fault {}
impl de::Error for Fault {
    fn custom<T: std::fmt::Display>(reason: T) -> Self {
        Self {
            reason: reason.to_string(),
            at: None,
        }
    }
}

pub(super) struct Reader<'de> {
    text: &'de str,
    at: usize,
    depth: usize,
    elements: usize,
}

impl<'de> Reader<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            elements: 0,
        }
    }
    /// Demands that nothing but blanks is left.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault("text after the end of the value")),
        }
    }

    fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault {
            reason: reason.into(),
            at: Some(self.at),
        }
    }
    fn expected(&self, what: &str) -> Fault {
        let found = if self.at < self.text.len() {
            "something else"
        } else {
            "the end"
        };
        self.fault(format!("{what} expected, {found} found"))
    }
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
    /// The next byte that is not blank.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.byte()
    }
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }
    fn demand(&mut self, byte: u8) -> Result<(), Fault> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.expected(&char::from(byte).to_string()))
        }
    }
    fn take_word(&mut self, word: &str) -> bool {
        self.peek();
        let found = self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word));
        self.at += if found { word.len() } else { 0 };
        found
    }
    fn count_element(&mut self) -> Result<(), Fault> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(self.fault(format!("more than {MAX_ELEMENTS} members and elements")));
        }
        Ok(())
    }
    fn enter(&mut self, bracket: u8) -> Result<(), Fault> {
        self.demand(bracket)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault(format!("nested more than {MAX_DEPTH} levels deep")));
        }
        Ok(())
    }

    /// The characters of a number.
    fn number(&mut self) -> Result<&'de str, Fault> {
        self.peek();
        let start = self.at;
        while matches!(
            self.byte(),
            Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
        ) {
            self.at += 1;
        }
        match self.text.get(start..self.at) {
            Some(number) if !number.is_empty() => Ok(number),
            _ => Err(self.expected("a value")),
        }
    }
    fn string(&mut self) -> Result<Cow<'de, str>, Fault> {
        self.demand(b'"')?;
        let start = self.at;
        let plain = self.plain_run();
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => text.push_str(self.plain_run()),
                None => {
                    self.at = start;
                    return Err(self.fault("a string without end"));
                }
            }
        }
    }
    /// Characters up to a quote, an escape or the end.
    fn plain_run(&mut self) -> &'de str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let len = rest
            .bytes()
            .position(|byte| byte == b'"' || byte == b'\\')
            .unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }
    fn escape(&mut self) -> Result<char, Fault> {
        self.at += 1;
        let escaped = self
            .byte()
            .ok_or_else(|| self.fault("a string without end"))?;
        self.at += 1;
        Ok(match escaped {
            b'"' | b'\\' | b'/' | b'\'' => char::from(escaped),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode_escape()?,
            _ => return Err(self.fault("an escape that JSON does not have")),
        })
    }
    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let high = self.hex_unit()?;
        if !(0xd800..0xdc00).contains(&high) {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.at;
        if self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with("\\u"))
        {
            self.at += 2;
            let low = self.hex_unit()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }
    fn hex_unit(&mut self) -> Result<u32, Fault> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.fault("an escape without four hex digits"))?;
        self.at += 4;
        Ok(unit)
    }
    /// The text of a string, number or truth value.
    fn scalar(&mut self) -> Result<Cow<'de, str>, Fault> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b't') if self.take_word("true") => Ok(Cow::Borrowed("true")),
            Some(b'f') if self.take_word("false") => Ok(Cow::Borrowed("false")),
            _ => self.number().map(Cow::Borrowed),
        }
    }
    /// A whole number; Java cuts fractions and takes truth values for 1 and 0.
    fn whole<T: std::str::FromStr + TryFrom<i64>>(&mut self) -> Result<T, Fault> {
        let start = self.at;
        let text = self.scalar()?;
        let cut = || match text.as_ref() {
            "true" => T::try_from(1).ok(),
            "false" => T::try_from(0).ok(),
            other => {
                let value = other.parse::<f64>().ok()?;
                if value.abs() < 9e15 {
                    T::try_from(cut_fraction(value)).ok()
                } else {
                    None
                }
            }
        };
        text.trim().parse().ok().or_else(cut).ok_or_else(|| {
            self.at = start;
            self.expected("a whole number")
        })
    }
    /// Passes over a value of any kind.
    fn skip(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'{') => {
                self.enter(b'{')?;
                let mut first = true;
                while self.more(b'}', &mut first)? {
                    self.skip()?;
                    self.demand(b':')?;
                    self.skip()?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.enter(b'[')?;
                let mut first = true;
                while self.more(b']', &mut first)? {
                    self.skip()?;
                }
                Ok(())
            }
            Some(b'n') if self.take_word("null") => Ok(()),
            _ => self.scalar().map(drop),
        }
    }
    fn skip_string(&mut self) -> Result<(), Fault> {
        self.demand(b'"')?;
        loop {
            self.plain_run();
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => drop(self.escape()?),
                None => return Err(self.fault("a string without end")),
            }
        }
    }
    /// Whether another element follows; passes over the comma before it or the bracket that closes.
    fn more(&mut self, close: u8, first: &mut bool) -> Result<bool, Fault> {
        if self.take(close) {
            self.depth -= 1;
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.demand(b',')?;
        }
        self.count_element()?;
        Ok(true)
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "cutting is what it is for; out of range it saturates"
)]
fn cut_fraction(value: f64) -> i64 {
    value as i64
}

/// Elements of a list or members of an object. Those that are null are passed over: a missing member keeps its default.
struct Elements<'r, 'de> {
    reader: &'r mut Reader<'de>,
    first: bool,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        while self.reader.more(b']', &mut self.first)? {
            if !self.reader.take_word("null") {
                return seed.deserialize(&mut *self.reader).map(Some);
            }
        }
        Ok(None)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        while self.reader.more(b'}', &mut self.first)? {
            let (key, elements) = (self.reader.at, self.reader.elements);
            self.reader.skip()?;
            self.reader.demand(b':')?;
            if !self.reader.take_word("null") {
                (self.reader.at, self.reader.elements) = (key, elements);
                return seed.deserialize(&mut *self.reader).map(Some);
            }
        }
        Ok(None)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        self.reader.demand(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

/// What a null list or map is read as.
struct Nothing;

impl<'de> SeqAccess<'de> for Nothing {
    type Error = Fault;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        _: T,
    ) -> Result<Option<T::Value>, Fault> {
        Ok(None)
    }
}

impl<'de> MapAccess<'de> for Nothing {
    type Error = Fault;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, _: K) -> Result<Option<K::Value>, Fault> {
        Ok(None)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, _: V) -> Result<V::Value, Fault> {
        Err(de::Error::custom("a value without key"))
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit(self.whole()?)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.peek() {
            Some(b'"') => self.deserialize_str(visitor),
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b't' | b'f') => self.deserialize_bool(visitor),
            Some(b'n') => self.deserialize_unit(visitor),
            _ => {
                let number = self.number()?;
                if let Ok(value) = number.parse::<u64>() {
                    visitor.visit_u64(value)
                } else if let Ok(value) = number.parse::<i64>() {
                    visitor.visit_i64(value)
                } else {
                    visitor.visit_f64(number.parse().map_err(|_| self.expected("a number"))?)
                }
            }
        }
    }
    whole_numbers!(
        deserialize_i8 visit_i8, deserialize_i16 visit_i16, deserialize_i32 visit_i32, deserialize_i64 visit_i64,
        deserialize_u8 visit_u8, deserialize_u16 visit_u16, deserialize_u32 visit_u32, deserialize_u64 visit_u64
    );
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.scalar()?;
        visitor.visit_f64(text.trim().parse().map_err(|_| self.expected("a number"))?)
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.scalar()?;
        if text.eq_ignore_ascii_case("true") || text == "1" {
            visitor.visit_bool(true)
        } else if text.eq_ignore_ascii_case("false") || text == "0" {
            visitor.visit_bool(false)
        } else {
            Err(self.expected("true or false"))
        }
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.scalar()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.peek() == Some(b'{') {
            // an object as the key of a bean names none of its members
            self.skip()?;
            return visitor.visit_borrowed_str("");
        }
        self.deserialize_str(visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.take_word("null") {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.take_word("null") {
            visitor.visit_unit()
        } else {
            Err(self.expected("null"))
        }
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.take_word("null") {
            return visitor.visit_seq(Nothing);
        }
        self.enter(b'[')?;
        visitor.visit_seq(Elements {
            reader: self,
            first: true,
        })
    }
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.take_word("null") {
            return visitor.visit_map(Nothing);
        }
        self.enter(b'{')?;
        visitor.visit_map(Elements {
            reader: self,
            first: true,
        })
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.skip()?;
        visitor.visit_unit()
    }
    forward_to_deserialize_any! { bytes byte_buf enum }
}
