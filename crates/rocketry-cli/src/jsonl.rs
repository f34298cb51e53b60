//! A message as one line of JSON: what `consume` prints and what `send` reads.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use rocketry_protocol::{MessageExt, Properties, properties::name};
use rocketry_store::inspect::Stored;
use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny, ser::SerializeMap};

use crate::units;

/// A received message, in the order of the keys it is printed with.
#[derive(Debug, Serialize)]
pub(crate) struct Received<'a> {
    topic: &'a str,
    broker: &'a str,
    queue_id: i32,
    queue_offset: i64,
    commit_log_offset: i64,
    msg_id: String,
    offset_msg_id: String,
    tags: Option<&'a str>,
    keys: Option<&'a str>,
    #[serde(serialize_with = "as_map")]
    properties: &'a Properties,
    #[serde(flatten)]
    body: Body<'a>,
    born_ms: i64,
    store_ms: i64,
    reconsume_times: i32,
}

/// A stored message: what `consume` prints, and what only the log knows.
#[derive(Debug, Serialize)]
pub(crate) struct Exported<'a> {
    #[serde(flatten)]
    received: Received<'a>,
    version: u8,
    sys_flag: i32,
    prepared_transaction_offset: i64,
    body_crc: i32,
}

impl<'a> Exported<'a> {
    /// `message` is what `stored` holds.
    pub(crate) fn new(message: &'a MessageExt, stored: &Stored<'_>) -> Self {
        Self {
            received: Received::from(message),
            version: stored.version,
            // of the record: the message's body is decompressed
            sys_flag: stored.record.sys_flag,
            prepared_transaction_offset: stored.record.prepared_transaction_offset,
            body_crc: stored.record.body_crc,
        }
    }
}

/// The body as text where it is UTF-8, so that people can read it; exact in either form.
#[derive(Debug, Serialize)]
pub(crate) enum Body<'a> {
    /// UTF-8.
    #[serde(rename = "body")]
    Text(&'a str),
    /// Anything else.
    #[serde(rename = "body_base64")]
    Base64(String),
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(body: &'a [u8]) -> Self {
        match std::str::from_utf8(body) {
            Ok(text) => Self::Text(text),
            Err(_) => Self::Base64(BASE64_STANDARD.encode(body)),
        }
    }
}

impl<'a> From<&'a MessageExt> for Received<'a> {
    fn from(message: &'a MessageExt) -> Self {
        Self {
            topic: &message.topic,
            broker: &message.broker_name,
            queue_id: message.queue_id,
            queue_offset: message.queue_offset,
            commit_log_offset: message.commit_log_offset,
            msg_id: message.msg_id(),
            offset_msg_id: message.offset_msg_id(),
            tags: message.properties.get(name::TAGS),
            keys: message.properties.get(name::KEYS),
            properties: &message.properties,
            body: Body::from(&message.body[..]),
            born_ms: message.born_ms,
            store_ms: message.store_ms,
            reconsume_times: message.reconsume_times,
        }
    }
}

/// Properties as one JSON object.
pub(crate) fn as_map<S: Serializer>(
    properties: &Properties,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (name, value) in properties.iter() {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// One line of input, checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// Topic to send to; `None` where the line does not say, or says where it was read from.
    pub(crate) topic: Option<String>,
    /// The body.
    pub(crate) body: Bytes,
    /// The tag.
    pub(crate) tag: Option<String>,
    /// Index keys.
    pub(crate) keys: Vec<String>,
    /// User properties.
    pub(crate) properties: Vec<(String, String)>,
    /// The user's flag.
    pub(crate) flag: i32,
    /// When the broker is to deliver it.
    pub(crate) delay: Option<Delay>,
}

/// When a message becomes visible to consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delay {
    /// One of the broker's delay levels, 1 to 18.
    Level(i32),
    /// Any time; needs a broker of 5.0 or later.
    Time(Duration),
    /// At this time, in milliseconds since 1970; needs a broker of 5.0 or later.
    At(i64),
}

impl Line {
    /// Reads one JSON object.
    ///
    /// A line that `consume` or `store export` printed (it has a `queue_offset`) is sent as the application once sent it: what clients,
    /// brokers and consumers added to the properties is left out, and `topic` is taken for where it came from.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let raw: RawLine =
            serde_json::from_slice(json).map_err(|e| format!("not a message in JSON: {e}"))?;
        let received = raw.queue_offset.is_some();
        let mut line = Self {
            topic: raw.topic.filter(|_| !received),
            body: body(raw.body, raw.body_base64)?,
            tag: one_of("tag", raw.tag, "tags", raw.tags)?.filter(|tag| !tag.is_empty()),
            keys: raw.keys.map(Keys::into_list).unwrap_or_default(),
            properties: Vec::new(),
            flag: raw.flag.unwrap_or(0),
            delay: delay(raw.delay.as_deref(), raw.delay_level)?,
        };
        for (name, value) in raw.properties.unwrap_or_default() {
            let value = value.into_text();
            if received && (name::is_reserved(&name) || added_on_the_way(&name)) {
                continue;
            }
            if name::is_reserved(&name) {
                return Err(format!(
                    "property {name:?} is reserved by RocketMQ; tag, keys, delay and delay_level have fields of their own"
                ));
            }
            if !Properties::expressible(&name, &value) {
                return Err(format!(
                    "property {name:?}: name and value must not be empty nor contain U+0001 or U+0002"
                ));
            }
            line.properties.push((name, value));
        }
        Ok(line)
    }
}

/// Names that RocketMQ writes although it does not reserve them. Java: `MessageConst`, without `STRING_HASH_SET`.
fn added_on_the_way(property: &str) -> bool {
    matches!(
        property,
        name::TRANSACTION_ID
            | name::TRANSACTION_CHECK_TIMES
            | name::TRANS_OFFSET
            | name::TIMER_ROLL_LABEL
            | name::INNER_NUM
            | name::INNER_BASE
            | name::FORWARD_QUEUE_ID
            | name::REDIRECT
    ) || property.starts_with(name::TRANSIENT_PREFIX)
}

fn body(text: Option<String>, base64: Option<String>) -> Result<Bytes, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(base64)) => BASE64_STANDARD
            .decode(base64)
            .map(Bytes::from)
            .map_err(|e| format!("body_base64: {e}")),
        (None, None) => Err("neither body nor body_base64".to_owned()),
        (Some(_), Some(_)) => Err("both body and body_base64".to_owned()),
    }
}

fn one_of<T>(a: &str, first: Option<T>, b: &str, second: Option<T>) -> Result<Option<T>, String> {
    match (first, second) {
        (Some(_), Some(_)) => Err(format!("both {a} and {b}")),
        (first, second) => Ok(first.or(second)),
    }
}

fn delay(time: Option<&str>, level: Option<i32>) -> Result<Option<Delay>, String> {
    match (time, level) {
        (None, None | Some(0)) => Ok(None),
        (None, Some(level @ 1..=18)) => Ok(Some(Delay::Level(level))),
        (None, Some(level)) => Err(format!("delay_level {level}: levels are 1 to 18")),
        (Some(time), None) => units::duration(time)
            .map(|time| Some(Delay::Time(time)))
            .map_err(|e| format!("delay {time:?}: {e}")),
        (Some(_), Some(_)) => Err("both delay and delay_level".to_owned()),
    }
}

/// Every key that `send` understands, and those that `consume` and `store export` print beside them. A key that is none of these is an error,
/// because a misspelt `tag` that is silently dropped is found too late.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    dead_code,
    reason = "the fields of printed messages are named to be accepted, and then ignored"
)]
struct RawLine {
    topic: Option<String>,
    body: Option<String>,
    body_base64: Option<String>,
    tag: Option<String>,
    tags: Option<String>,
    keys: Option<Keys>,
    properties: Option<std::collections::BTreeMap<String, Scalar>>,
    flag: Option<i32>,
    delay: Option<String>,
    delay_level: Option<i32>,
    queue_offset: Option<i64>,
    broker: Option<IgnoredAny>,
    queue_id: Option<IgnoredAny>,
    commit_log_offset: Option<IgnoredAny>,
    msg_id: Option<IgnoredAny>,
    offset_msg_id: Option<IgnoredAny>,
    born_ms: Option<IgnoredAny>,
    store_ms: Option<IgnoredAny>,
    reconsume_times: Option<IgnoredAny>,
    version: Option<IgnoredAny>,
    sys_flag: Option<IgnoredAny>,
    prepared_transaction_offset: Option<IgnoredAny>,
    body_crc: Option<IgnoredAny>,
}

/// Keys as RocketMQ keeps them, separated by blanks, or as a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Keys {
    Text(String),
    List(Vec<String>),
}

impl Keys {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::Text(text) => text
                .split(' ')
                .filter(|key| !key.is_empty())
                .map(str::to_owned)
                .collect(),
            Self::List(list) => list,
        }
    }
}

/// A property value; numbers and booleans are taken as their text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Bool(bool),
    Number(serde_json::Number),
}

impl Scalar {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_line_by_hand() {
        let line = Line::parse(
            br#"{"topic":"T","body":"hi","tag":"a","keys":["k1","k2"],"properties":{"n":1,"s":"x=y","t":true},"delay":"10s","flag":7}"#,
        );
        let expected = Line {
            topic: Some("T".to_owned()),
            body: "hi".into(),
            tag: Some("a".to_owned()),
            keys: vec!["k1".to_owned(), "k2".to_owned()],
            properties: vec![pair("n", "1"), pair("s", "x=y"), pair("t", "true")],
            flag: 7,
            delay: Some(Delay::Time(Duration::from_secs(10))),
        };
        assert_eq!(line, Ok(expected));
        assert_eq!(
            Line::parse(br#"{"body_base64":"/wA="}"#).unwrap().body,
            &b"\xff\x00"[..]
        );
        assert_eq!(
            Line::parse(br#"{"body":"x","delay_level":3}"#)
                .unwrap()
                .delay,
            Some(Delay::Level(3))
        );
    }

    #[test]
    fn a_line_that_consume_printed_loses_what_was_added_on_the_way() {
        let line = Line::parse(
            br#"{"topic":"Old","broker":"b","queue_id":1,"queue_offset":2,"commit_log_offset":3,"msg_id":"m","offset_msg_id":"o",
            "tags":"a","keys":"k1 k2","properties":{"UNIQ_KEY":"m","TAGS":"a","KEYS":"k1 k2","CLUSTER":"c","WAIT":"true","mine":"1",
            "TRANSACTION_CHECK_TIMES":"1"},"body":"x","born_ms":1,"store_ms":2,"reconsume_times":0}"#,
        )
        .unwrap();
        assert_eq!(line.topic, None);
        assert_eq!(line.tag.as_deref(), Some("a"));
        assert_eq!(line.keys, ["k1", "k2"]);
        assert_eq!(line.properties, [pair("mine", "1")]);
        let bare = Line::parse(
            br#"{"queue_offset":2,"tags":null,"keys":null,"properties":{},"body":"x"}"#,
        )
        .unwrap();
        assert_eq!((bare.tag, bare.keys), (None, vec![]));
    }

    #[test]
    fn wrong_lines_say_what_is_wrong() {
        let cases: &[(&str, &str)] = &[
            ("", "not a message in JSON"),
            ("[]", "not a message in JSON"),
            (r#"{"body":1}"#, "not a message in JSON"),
            (r#"{"body":"x","tga":"a"}"#, "unknown field `tga`"),
            ("{}", "neither body nor body_base64"),
            (
                r#"{"body":"x","body_base64":"eA=="}"#,
                "both body and body_base64",
            ),
            (r#"{"body_base64":"*"}"#, "body_base64"),
            (r#"{"body":"x","tag":"a","tags":"b"}"#, "both tag and tags"),
            (r#"{"body":"x","properties":{"UNIQ_KEY":"1"}}"#, "reserved"),
            (r#"{"body":"x","properties":{"a\u0001":"1"}}"#, "U+0001"),
            (
                r#"{"body":"x","properties":{"a":{}}}"#,
                "not a message in JSON",
            ),
            (r#"{"body":"x","delay":"soon"}"#, "delay"),
            (r#"{"body":"x","delay_level":19}"#, "levels are 1 to 18"),
            (
                r#"{"body":"x","delay":"1s","delay_level":1}"#,
                "both delay and delay_level",
            ),
        ];
        for (json, expected) in cases {
            let error = Line::parse(json.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
