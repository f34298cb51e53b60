//! A reply as what can be compared: one value per field, without what says something about the run only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rocketry_protocol::{Fields, MessageExt, RemotingCommand};

use super::json;
use super::wire::Answer;

/// Codes whose replies carry records.
const RECORDS: [i32; 5] = [11, 12, 33, 361, 200_050];
/// Codes whose replies are settings or measurements: which there are is compared.
const NAMES_ONLY: [i32; 4] = [26, 28, 315, 319];
/// Names of values that say something about the run.
const VOLATILE: [&str; 18] = [
    "physicOffset",
    "physicSize",
    "indexLastUpdatePhyoffset",
    "indexLastUpdateTimestamp",
    "delayTime",
    "consumeTimeStampStr",
    "maxTimeStampStr",
    "minTimeStampStr",
    "topicPutTps",
    "consumeTps",
    "reviveQid",
    "popTime",
    "transactionId",
    "dataVersion.counter",
    "dataVersion.timestamp",
    "mappingDataVersion.timestamp",
    "lastUpdateTimestamp",
    "recallHandle",
];
/// Day in milliseconds; times this near to now are of the run.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Value by aspect: `code`, `remark`, `field NAME`, `body PATH`.
pub(super) type Facts = BTreeMap<String, String>;

/// One aspect in which two replies are not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) step: String,
    pub(super) aspect: String,
    /// `None` = ours has no such thing.
    pub(super) ours: Option<String>,
    /// `None` = Apache's has no such thing.
    pub(super) theirs: Option<String>,
}

/// What is known of the reply to a request with `code`, received at `now_ms`.
pub(super) fn facts(code: i32, answer: &Answer, now_ms: i64) -> Facts {
    let mut facts = Facts::new();
    let reply = match answer {
        Answer::Reply(reply) => reply,
        Answer::Closed => {
            facts.insert("code".into(), "connection closed".into());
            return facts;
        }
        Answer::Silence => {
            facts.insert("code".into(), "no reply".into());
            return facts;
        }
    };
    facts.insert("code".into(), reply.code.to_string());
    // Set before a processor has begun; says nothing.
    let remark = reply
        .remark
        .as_deref()
        .filter(|text| *text != "not set any response code");
    if let Some(remark) = remark {
        facts.insert("remark".into(), normal(&exception(remark), now_ms));
    }
    for (name, value) in reply.fields.iter().flat_map(Fields::iter) {
        facts.insert(
            format!("field {name}"),
            value_of(name, value.unwrap_or("null"), now_ms),
        );
    }
    body(code, reply, now_ms, &mut facts);
    facts
}

/// All aspects in which they differ; of replies with different codes only these.
pub(super) fn differences(step: &str, ours: &Facts, theirs: &Facts) -> Vec<Difference> {
    let difference = |aspect: &str, ours, theirs| Difference {
        step: step.to_owned(),
        aspect: aspect.to_owned(),
        ours,
        theirs,
    };
    if ours.get("code") != theirs.get("code") {
        return vec![difference(
            "code",
            Some(outcome(ours)),
            Some(outcome(theirs)),
        )];
    }
    let aspects: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    aspects
        .into_iter()
        .filter(|aspect| ours.get(*aspect) != theirs.get(*aspect))
        .map(|aspect| {
            difference(
                aspect,
                ours.get(aspect).cloned(),
                theirs.get(aspect).cloned(),
            )
        })
        .collect()
}

fn outcome(facts: &Facts) -> String {
    let text = |name| facts.get(name).cloned();
    let code = text("code").unwrap_or_default();
    text("remark").map_or_else(|| code.clone(), |remark| format!("{code} {remark}"))
}

/// Java's handler of last resort writes the exception's class and the line that threw it around the message. The broker's own exceptions
/// have a message for clients; of the others only that there was one is known.
fn exception(remark: &str) -> String {
    if remark.starts_with("Cannot invoke ") {
        return "(exception)".to_owned();
    }
    let Some((class, rest)) = remark.split_once("Exception") else {
        return remark.to_owned();
    };
    if class.contains(' ') || !class.contains('.') {
        return remark.to_owned();
    }
    match rest.strip_prefix(": ") {
        Some(message) if class.starts_with("org.apache.rocketmq") => message
            .split(", org.apache.")
            .next()
            .unwrap_or(message)
            .to_owned(),
        _ => "(exception)".to_owned(),
    }
}

fn body(code: i32, reply: &RemotingCommand, now_ms: i64, facts: &mut Facts) {
    if reply.body.is_empty() {
        return;
    }
    if RECORDS.contains(&code)
        && let Ok(messages) = MessageExt::decode_all(&reply.body, &Arc::from("broker-a"))
    {
        for (at, message) in messages.iter().enumerate() {
            let mut add =
                |name: &str, value: String| facts.insert(format!("message {at} {name}"), value);
            add("topic", message.topic.to_string());
            add("queue", message.queue_id.to_string());
            add("queue offset", message.queue_offset.to_string());
            add("body", String::from_utf8_lossy(&message.body).into_owned());
            add("body crc", message.body_crc.to_string());
            add("flag", message.flag.to_string());
            add("sys flag", message.sys_flag.to_string());
            add("born", normal(&message.born_ms.to_string(), now_ms));
            add("stored", normal(&message.store_ms.to_string(), now_ms));
            add("reconsumed", message.reconsume_times.to_string());
            add(
                "prepared",
                i64::from(message.prepared_transaction_offset > 0).to_string(),
            );
            for (name, value) in message.properties.iter() {
                add(&format!("property {name}"), normal(value, now_ms));
            }
        }
        return;
    }
    let text = String::from_utf8_lossy(&reply.body);
    let names_only = NAMES_ONLY.contains(&code);
    let mut add = |name: &str, value: String| {
        let value = if names_only { String::new() } else { value };
        facts.insert(format!("body {}", normal(name, now_ms)), value);
    };
    if let Some(leaves) = json::leaves(&text) {
        for (path, value) in leaves {
            add(&path, value_of(&path, &value, now_ms));
        }
        return;
    }
    for line in text.lines() {
        match line.split_once('=') {
            Some((name, value)) => add(name, normal(value, now_ms)),
            None => add(line, String::new()),
        }
    }
}

/// The value of what is called so, or has a path that ends so.
fn value_of(name: &str, value: &str, now_ms: i64) -> String {
    let is_volatile = |volatile: &&str| {
        name.strip_suffix(*volatile)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    if VOLATILE.iter().any(is_volatile) {
        return "*".to_owned();
    }
    normal(value, now_ms)
}

/// Addresses, ids made of addresses, and times of the run have no value of their own.
fn normal(text: &str, now_ms: i64) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == '.' || c == ':' {
            word.push(c);
        } else {
            out.push_str(&normal_word(&word, now_ms));
            word.clear();
            out.push(c);
        }
    }
    out.push_str(&normal_word(&word, now_ms));
    out
}

fn normal_word(word: &str, now_ms: i64) -> String {
    const OFFSET_ID_DIGITS: usize = 32;
    if let Some((_, rest)) = word.split_once("127.0.0.1:") {
        let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        return format!("ADDRESS{behind}");
    }
    let is_hex = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    if word.len() == OFFSET_ID_DIGITS && word.starts_with("7F0000010000") {
        return "OFFSET_ID".to_owned();
    }
    // The script's own ids begin with AC11. A host's IPv6 address makes 56 digits.
    if [OFFSET_ID_DIGITS, 56].contains(&word.len())
        && word.bytes().all(is_hex)
        && !word.starts_with("AC11")
    {
        return "ID".to_owned();
    }
    if let Ok(ms) = word.parse::<i64>()
        && (ms - now_ms).abs() < DAY_MS
    {
        return "TIME".to_owned();
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use rocketry_protocol::ResponseCode;

    use super::*;

    #[test]
    fn what_says_something_of_the_run_only_is_left_out() {
        let now_ms = 1_795_000_000_000;
        assert_eq!(
            normal(
                "0 1794999999000 60000 127.0.0.1:10911 7F00000100002A9F0000000000000000 1700000000000",
                now_ms
            ),
            "0 TIME 60000 ADDRESS OFFSET_ID 1700000000000"
        );
        assert_eq!(
            exception(
                "org.apache.rocketmq.remoting.exception.RemotingCommandException: the custom field <topic> is null, org.apache.rocketmq.remoting.X(X.java:1)"
            ),
            "the custom field <topic> is null"
        );
        for java in [
            "java.lang.NullPointerException",
            "java.lang.NumberFormatException: For input string: \"x\", java.base/x",
        ] {
            assert_eq!(exception(java), "(exception)");
        }
        assert_eq!(value_of(".a.topicPutTps", "0.5", now_ms), "*");
        assert_eq!(value_of(".a.xtopicPutTps", "0.5", now_ms), "0.5");
    }

    #[test]
    fn replies_differ_by_aspect() {
        let reply = |code, remark: &str, body: &'static str| {
            let reply = RemotingCommand::response(ResponseCode(code))
                .with_remark(remark)
                .with_body(body);
            facts(105, &Answer::Reply(Box::new(reply)), 1_795_000_000_000)
        };
        let (ours, theirs) = (
            reply(1, "x", "{\"a\":1,\"b\":2}"),
            reply(1, "y", "{\"b\":3,\"a\":1}"),
        );
        let found: Vec<_> = differences("s", &ours, &theirs)
            .into_iter()
            .map(|d| (d.aspect, d.ours, d.theirs))
            .collect();
        assert_eq!(
            found,
            [
                (
                    "body .b".to_owned(),
                    Some("2".to_owned()),
                    Some("3".to_owned())
                ),
                (
                    "remark".to_owned(),
                    Some("x".to_owned()),
                    Some("y".to_owned())
                ),
            ]
        );
        assert!(differences("s", &ours, &ours).is_empty());
        let busy = reply(2, "busy", "{}");
        let found = differences("s", &ours, &busy);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].theirs.as_deref(), Some("2 busy"));
        assert_eq!(facts(105, &Answer::Silence, 0)["code"], "no reply");
    }
}
