//! What a configuration file has beyond what this crate knows: kept when the file is written again, so that a newer broker, or a tool
//! with settings of its own, finds them where it left them.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    fmt,
};

use rocketry_protocol::{EncodeError, body};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::SerializeMap as _,
};

/// Members that Java writes for readers of old and never reads; what they say is out of date at once.
const DERIVED: [&str; 2] = ["groupTopicMap", "pullOffsetTable"];

/// Any JSON value of the dialect.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(Key, Self)>),
}

/// The name of a member; Java writes whole numbers bare.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Number(i64),
    Text(String),
}

impl Key {
    /// The name, which is the same quoted or not.
    fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }
}

/// Members of a file that this crate does not know, by where they are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unknown(Vec<(Key, Kept)>);

#[derive(Debug, Clone, PartialEq)]
enum Kept {
    /// A member that is not known.
    Whole(Tree),
    /// A known member with unknown ones in it.
    Inside(Unknown),
}

impl Unknown {
    /// What `original`, the text of a file, has beyond `value`, which was read from it.
    pub(super) fn of<T: Serialize>(original: &[u8], value: &T) -> Option<Self> {
        let original: Tree = body::decode(original).ok()?;
        let known: Tree = body::decode(&body::encode(value).ok()?).ok()?;
        let mut unknown = Self::between(&original, &known)?;
        unknown
            .0
            .retain(|(key, _)| !matches!(key, Key::Text(text) if DERIVED.contains(&text.as_str())));
        (!unknown.0.is_empty()).then_some(unknown)
    }

    fn between(original: &Tree, known: &Tree) -> Option<Self> {
        let (Tree::Object(original), Tree::Object(known)) = (original, known) else {
            return None;
        };
        let by_name: HashMap<Cow<'_, str>, &Tree> = known
            .iter()
            .map(|(key, value)| (key.name(), value))
            .collect();
        let kept: Vec<(Key, Kept)> = original
            .iter()
            .filter_map(|(key, value)| {
                let kept = match by_name.get(&key.name()) {
                    None => Kept::Whole(value.clone()),
                    Some(known) => Kept::Inside(Self::between(value, known)?),
                };
                Some((key.clone(), kept))
            })
            .collect();
        (!kept.is_empty()).then_some(Self(kept))
    }

    /// The text of a file with `value` and what is not known. Unknown members of what is no longer there go with it.
    pub(super) fn encode_with<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, EncodeError> {
        let text = body::encode_pretty(value)?;
        match body::decode::<Tree>(&text) {
            Ok(mut tree) => {
                self.add_to(&mut tree);
                body::encode_pretty(&tree)
            }
            Err(_) => Ok(text),
        }
    }

    fn add_to(&self, tree: &mut Tree) {
        let Tree::Object(members) = tree else {
            return;
        };
        let kept: HashMap<Cow<'_, str>, &Kept> = self
            .0
            .iter()
            .map(|(key, kept)| (key.name(), kept))
            .collect();
        let mut present = HashSet::new();
        for (key, inside) in members.iter_mut() {
            let name = key.name();
            if let Some(kept) = kept.get(&name) {
                if let Kept::Inside(unknown) = kept {
                    unknown.add_to(inside);
                }
                present.insert(name.into_owned());
            }
        }
        for (key, kept) in &self.0 {
            let Kept::Whole(value) = kept else { continue };
            if present.contains(&*key.name()) {
                continue;
            }
            // Java sorts the members
            let before = |(other, _): &(Key, Tree)| match (other, key) {
                (Key::Text(other), Key::Text(key)) => other < key,
                (Key::Number(other), Key::Number(key)) => other < key,
                _ => true,
            };
            let at = members.partition_point(before);
            members.insert(at, (key.clone(), value.clone()));
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(values) => serializer.collect_seq(values),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    match key {
                        Key::Number(number) => map.serialize_entry(number, value)?,
                        Key::Text(text) => map.serialize_entry(text, value)?,
                    }
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Tree::deserialize(deserializer)? {
            Tree::Signed(number) => Self::Number(number),
            Tree::Unsigned(number) => match i64::try_from(number) {
                Ok(number) => Self::Number(number),
                Err(_) => Self::Text(number.to_string()),
            },
            Tree::Bool(value) => Self::Text(value.to_string()),
            Tree::Text(text) => Self::Text(text),
            // an object as a key, which no configuration has
            _ => Self::Text(String::new()),
        })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Signed(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Unsigned(value))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Float(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Text(value.to_owned()))
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Object(Vec::new()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Tree::List(values))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Tree::Object(members))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
