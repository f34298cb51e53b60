//! First stage: is this a message that a broker would take? Java: `Validators.checkMessage`, `MessageBatch.generateFromList`.

use std::sync::Arc;

use rocketry_protocol::{Message, NameError, Topic, properties, topic};

use super::Outgoing;
use crate::error::{Error, ErrorKind};

/// Limits that messages are held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Largest uncompressed body, and largest encoded batch.
    pub(crate) max_message_bytes: usize,
}

/// A message or batch that may be sent, and its topic.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) topic: Topic,
    pub(crate) outgoing: Outgoing,
}

/// Refuses what no broker would take. Costs no allocation for a single good message.
///
/// # Errors
/// [`ErrorKind::InvalidMessage`], [`ErrorKind::MessageTooLarge`].
pub(crate) fn check(outgoing: Outgoing, limits: Limits) -> Result<Checked, Error> {
    let topic = match &outgoing {
        Outgoing::Single(message) => check_message(message, limits)?,
        Outgoing::Batch(messages) | Outgoing::Gathered(messages) => check_batch(messages, limits)?,
    };
    Ok(Checked { topic, outgoing })
}

/// A topic that may be sent to.
pub(crate) fn check_topic(message: &Message) -> Result<Topic, Error> {
    let name = message.topic_arc();
    let refuse = |reason: String| {
        Error::new(ErrorKind::InvalidMessage, action(name), reason)
            .with_topic(Arc::clone(name))
            .with_java_code(-1)
    };
    let topic = Topic::from_shared(Arc::clone(name))
        .map_err(|error: NameError| refuse(error.to_string()))?;
    // Java 5.5.0 lets TBW102 pass; 4.x refused it, and no application has a use for it.
    if topic::is_send_forbidden(name) || &**name == topic::AUTO_CREATE {
        return Err(refuse(format!(
            "topic {name:?} belongs to the system and takes no messages"
        )));
    }
    Ok(topic)
}

fn check_message(message: &Message, limits: Limits) -> Result<Topic, Error> {
    let topic = check_topic(message)?;
    let invalid = |reason: String| {
        Error::new(ErrorKind::InvalidMessage, action(message.topic()), reason)
            .with_topic(Arc::clone(message.topic_arc()))
    };
    if let Some(fault) = message.fault() {
        return Err(invalid(fault.to_owned()));
    }
    let body_bytes = message.body().len();
    if body_bytes == 0 {
        return Err(invalid("the body is empty".to_owned())
            .with_hint("a message needs a body of at least one byte"));
    }
    if body_bytes > limits.max_message_bytes {
        return Err(too_large(
            message.topic(),
            format!(
                "the body has {body_bytes} bytes, the limit is {}",
                limits.max_message_bytes
            ),
        )
        .with_hint("raise max_message_bytes here and maxMessageSize at the broker, or send less"));
    }
    let property_bytes = message.properties().len_bytes();
    if property_bytes > properties::MAX_BYTES {
        let (largest, size) = message
            .properties()
            .iter()
            .map(|(name, value)| (name, value.len()))
            .max_by_key(|(_, size)| *size)
            .unwrap_or_default();
        return Err(too_large(
            message.topic(),
            format!(
                "the properties have {property_bytes} bytes, the limit is {}; the largest is {largest:?} with {size}",
                properties::MAX_BYTES
            ),
        ));
    }
    if message
        .properties()
        .get(properties::name::INNER_MULTI_DISPATCH)
        .is_some_and(|queues| queues.contains(std::path::MAIN_SEPARATOR))
    {
        return Err(invalid(
            "INNER_MULTI_DISPATCH must not contain the path separator".to_owned(),
        ));
    }
    Ok(topic)
}

fn check_batch(messages: &[Message], limits: Limits) -> Result<Topic, Error> {
    let Some(first) = messages.first() else {
        return Err(Error::new(
            ErrorKind::InvalidMessage,
            "send a batch",
            "the batch is empty",
        )
        .with_java_code(-1));
    };
    let topic = check_topic(first)?;
    for (index, message) in messages.iter().enumerate() {
        let refuse = |reason: String| {
            Error::new(
                ErrorKind::InvalidMessage,
                format!("send a batch to topic {:?}", first.topic()),
                format!("message {} of {}: {reason}", index + 1, messages.len()),
            )
            .with_topic(Arc::clone(first.topic_arc()))
            .with_java_code(-1)
        };
        if message.is_delayed() {
            return Err(refuse("a batch takes no delayed message".to_owned()));
        }
        if message.topic().starts_with(topic::RETRY_PREFIX) {
            return Err(refuse(
                "a batch takes no message of a retry topic".to_owned(),
            ));
        }
        if message.topic() != first.topic() {
            return Err(refuse(format!(
                "its topic {:?} differs from the first one's",
                message.topic()
            )));
        }
        if message.waits_for_store() != first.waits_for_store() {
            return Err(refuse(
                "its wait-store flag differs from the first one's".to_owned(),
            ));
        }
        check_message(message, limits)?;
    }
    Ok(topic)
}

fn action(topic: &str) -> String {
    format!("send to topic {topic:?}")
}

fn too_large(topic: &str, reason: String) -> Error {
    Error::new(ErrorKind::MessageTooLarge, action(topic), reason).with_topic(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_message_bytes: 4 * 1024 * 1024,
    };

    fn single(message: Message) -> Result<Topic, Error> {
        check(Outgoing::Single(message), LIMITS).map(|checked| checked.topic)
    }
    fn fails(message: Message, java_code: i32, part: &str) {
        let error = single(message).unwrap_err();
        assert_eq!(error.java_code(), java_code, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!error.maybe_stored() && error.attempts().is_empty());
    }

    /// P-032
    #[test]
    fn topic_rules() {
        for bad in ["", " ", "a b", "a.b", "größe", &"x".repeat(128)] {
            fails(Message::new(bad, "x"), -1, "topic name");
        }
        for good in ["%|-_aZ9", &*"x".repeat(127)] {
            assert_eq!(single(Message::new(good, "x")).unwrap().as_str(), good);
        }
    }

    /// P-033
    #[test]
    fn system_topics_take_no_messages() {
        for bad in [
            "SCHEDULE_TOPIC_XXXX",
            "RMQ_SYS_TRANS_HALF_TOPIC",
            "RMQ_SYS_TRANS_OP_HALF_TOPIC",
            "TRANS_CHECK_MAX_TIME_TOPIC",
            "SELF_TEST_TOPIC",
            "OFFSET_MOVED_EVENT",
            "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
            "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
            "TBW102",
        ] {
            fails(Message::new(bad, "x"), -1, "belongs to the system");
        }
        for good in ["BenchmarkTest", "RMQ_SYS_TRACE_TOPIC"] {
            assert!(single(Message::new(good, "x")).is_ok());
        }
    }

    /// P-034
    #[test]
    fn body_limits() {
        fails(Message::new("T", ""), 13, "the body is empty");
        assert!(single(Message::new("T", vec![0; 4_194_304])).is_ok());
        fails(
            Message::new("T", vec![0; 4_194_305]),
            13,
            "the body has 4194305 bytes, the limit is 4194304",
        );
    }

    /// P-023, P-024
    #[test]
    fn property_rules() {
        fails(
            Message::new("T", "x").property("KEYS", "a"),
            13,
            "used by the system",
        );
        fails(Message::new("T", "x").property("a", " "), 13, "blank");
        fails(Message::new("T", "x").property("a", "b\u{1}c"), 13, "0x01");
        let long = "v".repeat(32767 - 3);
        assert!(single(Message::new("T", "x").property("k", &long)).is_ok());
        fails(
            Message::new("T", "x").property("k", long + "v"),
            13,
            "the properties have 32768 bytes, the limit is 32767; the largest is \"k\" with 32765",
        );
    }

    /// P-030
    #[test]
    fn priorities_are_not_negative() {
        fails(
            Message::new("T", "x").priority(-1),
            13,
            "priority -1 is negative",
        );
        assert!(single(Message::new("T", "x").priority(3)).is_ok());
    }

    /// P-035
    #[test]
    fn light_queue_names_hold_no_path() {
        let mut message = Message::new("T", "x");
        message.properties_mut().set(
            "INNER_MULTI_DISPATCH",
            &format!("%LMQ%a{}b", std::path::MAIN_SEPARATOR),
        );
        fails(message, 13, "path separator");
    }

    /// P-096
    #[test]
    fn batch_rules() {
        let fails = |messages: Vec<Message>, part: &str| {
            let error = check(Outgoing::Batch(messages), LIMITS).unwrap_err();
            assert_eq!(error.java_code(), -1, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        };
        let plain = || Message::new("T", "x");
        fails(vec![], "the batch is empty");
        fails(
            vec![plain(), plain().delay_level(1)],
            "message 2 of 2: a batch takes no delayed",
        );
        fails(
            vec![plain(), Message::new("U", "x")],
            "its topic \"U\" differs",
        );
        fails(
            vec![plain(), plain().wait_store(false)],
            "wait-store flag differs",
        );
        fails(vec![Message::new("%RETRY%g", "x")], "retry topic");
        assert!(check(Outgoing::Batch(vec![plain(), plain()]), LIMITS).is_ok());
    }
}
