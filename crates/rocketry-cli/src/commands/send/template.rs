//! What the options of `send` give to every message, merged with what the input says.

use std::sync::Arc;

use bytes::Bytes;
use rocketry::{Message, Properties};
use rocketry_protocol::properties::name;

use crate::{
    args,
    failure::Failure,
    jsonl::{Delay, Line},
};

/// Topic and properties for messages that do not bring their own.
#[derive(Debug)]
pub(super) struct Template {
    topic: Arc<str>,
    properties: Properties,
    delay: Option<Delay>,
}

impl Template {
    /// Checks the options that describe messages.
    ///
    /// # Errors
    /// A property that RocketMQ reserves or cannot express.
    pub(super) fn new(args: &args::Send) -> Result<Self, Failure> {
        let mut properties = Properties::default();
        for (property, value) in &args.properties {
            if name::is_reserved(property) {
                return Err(Failure::usage(format!(
                    "--property {property}: the name is reserved by RocketMQ"
                ))
                .hint("tag and keys have options of their own: --tag, --key"));
            }
            set(&mut properties, property, value)?;
        }
        if let Some(tag) = &args.tag {
            set(&mut properties, name::TAGS, tag)?;
        }
        if !args.keys.is_empty() {
            set(&mut properties, name::KEYS, &args.keys.join(" "))?;
        }
        let level = args.delay_level.map(Delay::Level);
        let (time, at) = (args.delay.map(Delay::Time), args.at.map(Delay::At));
        Ok(Self {
            topic: args.topic.as_str().into(),
            properties,
            delay: level.or(time).or(at),
        })
    }

    /// A message with this body.
    pub(super) fn message(&self, body: Bytes) -> Message {
        let mut message = Message::new(Arc::clone(&self.topic), body);
        message.properties_mut().clone_from(&self.properties);
        delayed(message, self.delay)
    }

    /// The message that a line of JSON describes; what the line says wins.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub(super) fn message_from_json(&self, json: &[u8]) -> Result<Message, String> {
        let line = Line::parse(json)?;
        let topic = line
            .topic
            .map_or_else(|| Arc::clone(&self.topic), Arc::from);
        let mut message = Message::new(topic, line.body).with_flag(line.flag);
        message.properties_mut().clone_from(&self.properties);
        for (property, value) in &line.properties {
            message = message.property(property, value);
        }
        if let Some(tag) = &line.tag {
            message = message.tag(tag);
        }
        if !line.keys.is_empty() {
            message.properties_mut().remove(name::KEYS);
            message = message.keys(&line.keys);
        }
        Ok(delayed(message, line.delay.or(self.delay)))
    }
}

fn delayed(message: Message, delay: Option<Delay>) -> Message {
    match delay {
        None => message,
        Some(Delay::Level(level)) => message.delay_level(level),
        Some(Delay::Time(time)) => message.delay(time),
        Some(Delay::At(ms)) => message.deliver_at_ms(ms),
    }
}

fn set(properties: &mut Properties, property: &str, value: &str) -> Result<(), Failure> {
    if !Properties::expressible(property, value) {
        return Err(Failure::usage(format!(
            "property {property:?}: name and value must not be empty nor contain U+0001 or U+0002"
        )));
    }
    properties.set(property, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn template(line: &str) -> Result<Template, Failure> {
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Send(args) => Template::new(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_are_for_messages_without_their_own() {
        let template =
            template("rocketry send T --stdin -t tag -k a -k b -p n=0 -p only=option").unwrap();
        let plain = template.message(Bytes::from_static(b"x"));
        assert_eq!(plain.topic(), "T");
        assert_eq!(plain.tags(), Some("tag"));
        assert_eq!(plain.properties().get(name::KEYS), Some("a b"));

        let json = br#"{"topic":"Other","body":"y","tag":"own","keys":["c"],"properties":{"n":1},"flag":3,"delay_level":2}"#;
        let own = template.message_from_json(json).unwrap();
        assert_eq!(
            (own.topic(), &own.body()[..], own.flag()),
            ("Other", &b"y"[..], 3)
        );
        let property = |name| own.properties().get(name);
        assert_eq!(own.tags(), Some("own"));
        assert_eq!(property(name::KEYS), Some("c"));
        assert_eq!(property("n"), Some("1"));
        assert_eq!(property("only"), Some("option"));
        assert_eq!(property(name::DELAY), Some("2"));
        assert_eq!(own.fault(), None);

        let timed = template
            .message_from_json(br#"{"body":"y","delay":"1500ms"}"#)
            .unwrap();
        assert_eq!(timed.properties().get(name::TIMER_DELAY_MS), Some("1500"));
    }

    #[test]
    fn a_delay_is_for_messages_without_their_own() {
        let delay = |line: &str, json: &[u8], property: &str| {
            let message = template(line).unwrap().message_from_json(json).unwrap();
            message.properties().get(property).map(str::to_owned)
        };
        let plain = br#"{"body":"x"}"#;
        let own = br#"{"body":"x","delay_level":2}"#;
        let value = |text: &str| Some(text.to_owned());
        let line = "rocketry send T --stdin --delay 10s";
        assert_eq!(delay(line, plain, name::TIMER_DELAY_MS), value("10000"));
        assert_eq!(delay(line, own, name::TIMER_DELAY_MS), None);
        assert_eq!(delay(line, own, name::DELAY), value("2"));
        let line = "rocketry send T --stdin --delay-level 3";
        assert_eq!(delay(line, plain, name::DELAY), value("3"));
        let line = "rocketry send T --stdin --at 1970-01-02T00:00:00Z";
        assert_eq!(
            delay(line, plain, name::TIMER_DELIVER_MS),
            value("86400000")
        );
    }

    #[test]
    fn properties_of_the_system_are_wrong_usage() {
        assert_eq!(
            template("rocketry send T x -p UNIQ_KEY=1")
                .unwrap_err()
                .exit_code(),
            2
        );
        assert_eq!(
            template("rocketry send T x -p a\u{2}=1")
                .unwrap_err()
                .exit_code(),
            2
        );
        assert_eq!(
            template("rocketry send T x -t a\u{1}b\u{2}")
                .unwrap_err()
                .exit_code(),
            2
        );
    }
}
