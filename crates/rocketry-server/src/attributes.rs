//! Attributes of topics and groups: which there are, and how a request changes them.
//!
//! Java: `AttributeUtil.alterCurrentAttributes`, `AttributeParser`, `TopicAttributes`, `SubscriptionGroupAttributes`.

use std::collections::BTreeMap;

/// One known attribute.
#[derive(Debug)]
pub(crate) struct Attribute {
    name: &'static str,
    /// Whether it may change after creation.
    changeable: bool,
    values: Values,
}

#[derive(Debug)]
enum Values {
    OneOf(&'static [&'static str]),
    Flag,
    Between(i64, i64),
    Text,
}

/// Attributes of topics.
pub(crate) const TOPIC: &[Attribute] = &[
    Attribute {
        name: "queue.type",
        changeable: false,
        values: Values::OneOf(&["BatchCQ", "SimpleCQ"]),
    },
    Attribute {
        name: "cleanup.policy",
        changeable: false,
        values: Values::OneOf(&["DELETE", "COMPACTION"]),
    },
    Attribute {
        name: "message.type",
        changeable: true,
        values: Values::OneOf(&[
            "UNSPECIFIED",
            "NORMAL",
            "FIFO",
            "DELAY",
            "TRANSACTION",
            "PRIORITY",
            "LITE",
            "MIXED",
        ]),
    },
    Attribute {
        name: "reserve.time",
        changeable: true,
        values: Values::Between(-1, i64::MAX),
    },
    Attribute {
        name: "lite.topic.expiration",
        changeable: true,
        values: Values::Between(-1, 43_200),
    },
];

/// Attributes of consumer groups.
pub(crate) const GROUP: &[Attribute] = &[
    Attribute {
        name: "priority.factor",
        changeable: true,
        values: Values::Between(0, 100),
    },
    Attribute {
        name: "lite.bind.topic",
        changeable: true,
        values: Values::Text,
    },
    Attribute {
        name: "lite.sub.model",
        changeable: true,
        values: Values::OneOf(&["Shared", "Exclusive"]),
    },
    Attribute {
        name: "lite.sub.reset.offset.exclusive",
        changeable: true,
        values: Values::Flag,
    },
    Attribute {
        name: "lite.sub.reset.offset.unsubscribe",
        changeable: true,
        values: Values::Flag,
    },
    Attribute {
        name: "lite.sub.client.quota",
        changeable: true,
        values: Values::Between(-1, i64::MAX),
    },
    Attribute {
        name: "lite.sub.client.max.event.cnt",
        changeable: true,
        values: Values::Between(10, i64::MAX),
    },
    Attribute {
        name: "lite.sub.wildcard",
        changeable: true,
        values: Values::Flag,
    },
];

/// What a request asks for: to set (`+key=value`) and to remove (`-key`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    set: BTreeMap<String, String>,
    remove: Vec<String>,
}

impl Changes {
    /// Parses the text of code 17, a comma list.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut changes = Self::default();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) if !key.is_empty() && !value.is_empty() => (key, value),
                None if part.starts_with('-') => (part, ""),
                _ => return Err("kv string format wrong.".to_owned()),
            };
            changes.add(key.trim(), value.trim())?;
        }
        Ok(changes)
    }

    /// Takes the attributes of a body, whose keys carry the sign.
    pub(crate) fn from_prefixed(
        attributes: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        let mut changes = Self::default();
        for (key, value) in attributes {
            changes.add(&key, &value)?;
        }
        Ok(changes)
    }

    /// Whether the changes set `key` to `value`.
    pub(crate) fn sets(&self, key: &str, value: &str) -> bool {
        self.set.get(key).is_some_and(|v| v == value)
    }

    fn add(&mut self, signed: &str, value: &str) -> Result<(), String> {
        let key = signed.get(1..).unwrap_or_default().to_owned();
        if self.set.contains_key(&key) || self.remove.contains(&key) {
            return Err(format!("alter duplication key. key: {key}"));
        }
        match signed.as_bytes().first() {
            Some(b'+') if !key.is_empty() => {
                self.set.insert(key, value.to_owned());
            }
            Some(b'-') if !key.is_empty() => self.remove.push(key),
            Some(b'+' | b'-') => return Err(format!("wrong format key: {signed}")),
            _ => return Err(format!("add/alter attribute format is wrong: {signed}")),
        }
        Ok(())
    }
}

/// The attributes after the changes. `current` is `None` when the topic or group is being created: then there is nothing to remove.
pub(crate) fn alter(
    known: &[Attribute],
    current: Option<BTreeMap<String, String>>,
    changes: &Changes,
) -> Result<BTreeMap<String, String>, String> {
    let find = |key: &str| {
        known
            .iter()
            .find(|attribute| attribute.name == key)
            .ok_or_else(|| format!("unsupported key: {key}"))
    };
    let is_new = current.is_none();
    let mut attributes = current.unwrap_or_default();
    for key in &changes.remove {
        if is_new {
            return Err(format!(
                "only add attribute is supported while creating topic. key: {key}"
            ));
        }
        changeable(find(key)?)?;
        if attributes.remove(key).is_none() {
            return Err(format!("attempt to delete a nonexistent key: {key}"));
        }
    }
    for (key, value) in &changes.set {
        let attribute = find(key)?;
        if !is_new {
            changeable(attribute)?;
        }
        attribute.check(value)?;
        attributes.insert(key.clone(), value.clone());
    }
    Ok(attributes)
}

fn changeable(attribute: &Attribute) -> Result<(), String> {
    if attribute.changeable {
        Ok(())
    } else {
        Err(format!(
            "attempt to update an unchangeable attribute. key: {}",
            attribute.name
        ))
    }
}

impl Attribute {
    fn check(&self, value: &str) -> Result<(), String> {
        let good = match self.values {
            Values::OneOf(values) => values.contains(&value),
            Values::Flag => matches!(value, "true" | "false"),
            Values::Between(min, max) => value
                .parse::<i64>()
                .is_ok_and(|number| (min..=max).contains(&number)),
            Values::Text => true,
        };
        if good {
            Ok(())
        } else {
            Err(format!(
                "value {value:?} is not in set: {}",
                self.expected()
            ))
        }
    }

    fn expected(&self) -> String {
        match self.values {
            Values::OneOf(values) => values.join(", "),
            Values::Flag => "true, false".to_owned(),
            Values::Between(min, max) => format!("{min}..={max}"),
            Values::Text => "any text".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn altered(
        current: Option<&[(&str, &str)]>,
        text: &str,
    ) -> Result<BTreeMap<String, String>, String> {
        let current = current.map(|pairs| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        });
        alter(TOPIC, current, &Changes::parse(text)?)
    }

    #[test]
    fn creation_adds() {
        let made = altered(None, "+message.type=FIFO,+queue.type=BatchCQ").unwrap();
        assert_eq!(made["message.type"], "FIFO");
        assert_eq!(made.len(), 2);
        assert!(altered(None, "").unwrap().is_empty());
        assert!(
            altered(None, "-message.type")
                .unwrap_err()
                .starts_with("only add attribute")
        );
    }

    #[test]
    fn updates_add_change_and_remove() {
        let now: &[_] = &[("message.type", "FIFO"), ("queue.type", "SimpleCQ")];
        let changed = altered(Some(now), "+message.type=DELAY").unwrap();
        assert_eq!(changed["message.type"], "DELAY");
        assert_eq!(altered(Some(now), "-message.type").unwrap().len(), 1);
        let error = |text| altered(Some(now), text).unwrap_err();
        assert!(error("+queue.type=BatchCQ").starts_with("attempt to update an unchangeable"));
        assert!(error("-reserve.time").starts_with("attempt to delete a nonexistent key"));
    }

    #[test]
    fn bad_texts_are_named() {
        let error = |text| altered(Some(&[]), text).unwrap_err();
        assert_eq!(
            error("message.type=FIFO"),
            "add/alter attribute format is wrong: message.type"
        );
        assert_eq!(error("+nope=1"), "unsupported key: nope");
        assert_eq!(error("+message.type"), "kv string format wrong.");
        assert!(error("+message.type=FIFO,-message.type").starts_with("alter duplication key"));
        assert!(
            error("+reserve.time=-2").contains("reserve.time")
                || error("+reserve.time=-2").contains("-1")
        );
    }
}
