//! Text to tokens. Java: the token section of `SelectorParser.jj`.

use std::fmt;

/// One word of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// The text is over.
    End,
    /// A property's name.
    Name(&'t str),
    /// What stands between the quotes; a quote within is still written twice.
    Text(&'t str),
    /// Digits, with no sign and no `L`.
    Decimal(&'t str),
    /// A number with a point or an exponent.
    Float(&'t str),
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Open,
    Close,
    Comma,
    Plus,
    Minus,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::End => return f.write_str("the end"),
            Self::Text(raw) => return write!(f, "'{raw}'"),
            Self::Name(word) | Self::Decimal(word) | Self::Float(word) => word,
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Open => "(",
            Self::Close => ")",
            Self::Comma => ",",
            Self::Plus => "+",
            Self::Minus => "-",
            _ => KEYWORDS
                .iter()
                .find(|(_, token)| token == self)
                .map_or("", |(word, _)| word),
        };
        write!(f, "`{word}`")
    }
}

/// Reserved in any mixture of cases.
const KEYWORDS: [(&str, Token<'static>); 12] = [
    ("NOT", Token::Not),
    ("AND", Token::And),
    ("OR", Token::Or),
    ("BETWEEN", Token::Between),
    ("IN", Token::In),
    ("TRUE", Token::True),
    ("FALSE", Token::False),
    ("NULL", Token::Null),
    ("IS", Token::Is),
    ("CONTAINS", Token::Contains),
    ("STARTSWITH", Token::StartsWith),
    ("ENDSWITH", Token::EndsWith),
];

/// What is wrong at some place of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Byte offset.
    pub(super) at: usize,
    pub(super) problem: String,
    pub(super) hint: Option<&'static str>,
}

/// Reads one token after the other and never further than asked: what follows a complete condition need not make sense.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    /// Byte offset of what is unread.
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and the byte offset where it starts.
    pub(super) fn next(&mut self) -> Result<(Token<'t>, usize), Box<Fault>> {
        self.skip_blanks();
        let start = self.at;
        let rest = self.rest();
        let (token, bytes) = match rest.as_bytes() {
            [] => (Token::End, 0),
            [b'<', b'>', ..] => (Token::NotEqual, 2),
            [b'<', b'=', ..] => (Token::LessOrEqual, 2),
            [b'>', b'=', ..] => (Token::GreaterOrEqual, 2),
            [b'<', ..] => (Token::Less, 1),
            [b'>', ..] => (Token::Greater, 1),
            [b'=', ..] => (Token::Equal, 1),
            [b'(', ..] => (Token::Open, 1),
            [b')', ..] => (Token::Close, 1),
            [b',', ..] => (Token::Comma, 1),
            [b'+', ..] => (Token::Plus, 1),
            [b'-', ..] => (Token::Minus, 1),
            [b'\'', ..] => text(rest).ok_or_else(|| {
                Box::new(Fault {
                    at: start,
                    problem: "the text that begins here does not end".to_owned(),
                    hint: Some("a quote within text is written twice: 'it''s'"),
                })
            })?,
            [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => number(rest),
            [b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$', ..] => word(rest),
            _ => return Err(Box::new(unknown(rest, start))),
        };
        self.at += bytes;
        Ok((token, start))
    }

    /// White space and comments. A comment that is not closed, or a `--` in the last line, is none.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = match rest.as_bytes() {
                [b' ' | b'\t' | b'\n' | b'\r' | b'\x0c', ..] => Some(1),
                [b'-', b'-', ..] => rest.find(['\n', '\r']).map(|end| end + 1),
                [b'/', b'*', body @ ..] => body
                    .windows(2)
                    .position(|end| end == b"*/")
                    .map(|end| end + 4),
                _ => None,
            };
            match blank {
                Some(bytes) => self.at += bytes,
                None => return,
            }
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }
}

/// Text in quotes and its length with them. In text that does not end, the last quote that could end it does.
fn text(rest: &str) -> Option<(Token<'_>, usize)> {
    let token = |end| Some((Token::Text(rest.get(1..end)?), end + 1));
    let mut quotes = rest.match_indices('\'').map(|(at, _)| at).skip(1);
    let mut doubled = None;
    while let Some(end) = quotes.next() {
        if rest.as_bytes().get(end + 1) != Some(&b'\'') {
            return token(end);
        }
        doubled = Some(end);
        quotes.next();
    }
    token(doubled?)
}

/// A number and its length. Digits after a leading zero are a token of their own, as in Java, and so is a sign.
fn number(rest: &str) -> (Token<'_>, usize) {
    let whole = digits(rest, 0);
    let mut end = whole;
    if rest.as_bytes().get(end) == Some(&b'.') {
        end = digits(rest, end + 1);
    }
    end = exponent(rest, end).unwrap_or(end);
    let upto = |end| rest.get(..end).unwrap_or_default();
    if end > whole {
        (Token::Float(upto(end)), end)
    } else if rest.starts_with('0') {
        (Token::Decimal("0"), 1)
    } else {
        let suffix = matches!(rest.as_bytes().get(whole), Some(b'l' | b'L'));
        (Token::Decimal(upto(whole)), whole + usize::from(suffix))
    }
}

/// Where an exponent that starts at `start` ends.
fn exponent(rest: &str, start: usize) -> Option<usize> {
    let bytes = rest.as_bytes();
    if !matches!(bytes.get(start), Some(b'e' | b'E')) {
        return None;
    }
    let sign = usize::from(matches!(bytes.get(start + 1), Some(b'+' | b'-')));
    let first = start + 1 + sign;
    let end = digits(rest, first);
    (end > first).then_some(end)
}

/// Where the digits that start at `start` end.
fn digits(rest: &str, start: usize) -> usize {
    let digits = rest.bytes().skip(start).take_while(u8::is_ascii_digit);
    start + digits.count()
}

/// A keyword or a property's name.
fn word(rest: &str) -> (Token<'_>, usize) {
    let end = rest
        .bytes()
        .position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'))
        .unwrap_or(rest.len());
    let word = rest.get(..end).unwrap_or_default();
    let keyword = KEYWORDS
        .iter()
        .find(|(keyword, _)| keyword.eq_ignore_ascii_case(word));
    (keyword.map_or(Token::Name(word), |(_, token)| *token), end)
}

fn unknown(rest: &str, at: usize) -> Fault {
    let hint = match rest.as_bytes().first() {
        Some(b'!') => "unequal is written <>, negation NOT",
        Some(b'"' | b'`') => "text stands in single quotes, property names in none",
        Some(b'&') => "write AND",
        Some(b'|') => "write OR",
        Some(b'*' | b'/' | b'%') => "there is no arithmetic; a comment ends with */",
        _ => "property names consist of letters A to Z, digits, _ and $",
    };
    let found = rest.chars().next().unwrap_or_default();
    Fault {
        at,
        problem: format!("`{}` begins nothing", found.escape_debug()),
        hint: Some(hint),
    }
}
