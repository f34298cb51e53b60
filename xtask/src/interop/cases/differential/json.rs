//! JSON as Java's brokers write it: keys may be numbers or objects.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Deeper than any body.
const MAX_DEPTH: usize = 32;

/// The leaves of a text by their path; `None` if it is not JSON. Java's arrays are sets as often as not: what is in one is told by its
/// value, a map with one member by that, and only other items by their number.
pub(super) fn leaves(text: &str) -> Option<BTreeMap<String, String>> {
    let mut chars = text.chars().peekable();
    let value = value(&mut chars, MAX_DEPTH)?;
    blanks(&mut chars);
    if chars.next().is_some() {
        return None;
    }
    let mut leaves = BTreeMap::new();
    value.collect(String::new(), &mut leaves);
    Some(leaves)
}

#[derive(Debug)]
enum Value {
    Leaf(String),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Value {
    fn collect(&self, path: String, leaves: &mut BTreeMap<String, String>) {
        match self {
            Self::Leaf(text) => {
                leaves.insert(path, text.clone());
            }
            Self::List(items) if items.is_empty() => {
                leaves.insert(path, "[]".to_owned());
            }
            Self::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    match item {
                        Self::Leaf(text) => {
                            leaves.insert(format!("{path}[{text}]"), "yes".to_owned());
                        }
                        Self::Map(members) if members.len() == 1 => {
                            item.collect(format!("{path}[]"), leaves);
                        }
                        Self::List(_) | Self::Map(_) => {
                            item.collect(format!("{path}[{at}]"), leaves);
                        }
                    }
                }
            }
            Self::Map(members) if members.is_empty() => {
                leaves.insert(path, "{}".to_owned());
            }
            Self::Map(members) => {
                for (key, item) in members {
                    item.collect(format!("{path}.{}", key.flat()), leaves);
                }
            }
        }
    }

    /// On one line, members sorted: a key that is an object has no order of its own.
    fn flat(&self) -> String {
        match self {
            Self::Leaf(text) => text.clone(),
            Self::List(items) => items.iter().map(Self::flat).collect::<Vec<_>>().join(","),
            Self::Map(members) => {
                let mut texts: Vec<_> = members
                    .iter()
                    .map(|(key, value)| format!("{}:{}", key.flat(), value.flat()))
                    .collect();
                texts.sort();
                format!("{{{}}}", texts.join(","))
            }
        }
    }
}

fn blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

fn value(chars: &mut Peekable<Chars<'_>>, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    blanks(chars);
    match chars.peek()? {
        '{' => {
            chars.next();
            let mut members = Vec::new();
            loop {
                blanks(chars);
                if chars.next_if_eq(&'}').is_some() {
                    return Some(Value::Map(members));
                }
                if !members.is_empty() {
                    chars.next_if_eq(&',')?;
                }
                let key = value(chars, depth)?;
                blanks(chars);
                chars.next_if_eq(&':')?;
                members.push((key, value(chars, depth)?));
            }
        }
        '[' => {
            chars.next();
            let mut items = Vec::new();
            loop {
                blanks(chars);
                if chars.next_if_eq(&']').is_some() {
                    return Some(Value::List(items));
                }
                if !items.is_empty() {
                    chars.next_if_eq(&',')?;
                }
                items.push(value(chars, depth)?);
            }
        }
        '"' => {
            chars.next();
            let mut text = String::new();
            loop {
                match chars.next()? {
                    '"' => return Some(Value::Leaf(text)),
                    '\\' => match chars.next()? {
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        'u' => {
                            let digits: String = chars.by_ref().take(4).collect();
                            text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                        }
                        other => text.push(other),
                    },
                    other => text.push(other),
                }
            }
        }
        _ => {
            let mut text = String::new();
            while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)) {
                text.push(c);
            }
            (!text.is_empty()).then_some(Value::Leaf(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_be_numbers_and_objects() {
        let text = r#"{"a":{0:"x",{"q":1,"b":"y"}:[1,true]},"e":[],"n":null}"#;
        let leaves = leaves(text).unwrap();
        let found: Vec<_> = leaves
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                (".a.0", "x"),
                (".a.{b:y,q:1}[1]", "yes"),
                (".a.{b:y,q:1}[true]", "yes"),
                (".e", "[]"),
                (".n", "null")
            ]
        );
    }

    #[test]
    fn what_is_not_json_is_told_from_it() {
        for text in ["", "x=1\n", "{", "[1 2]", "{\"a\"}", "{}{}"] {
            assert!(leaves(text).is_none(), "{text}");
        }
    }
}
