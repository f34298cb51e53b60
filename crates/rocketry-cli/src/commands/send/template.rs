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
        Ok(Self {
            topic: args.topic.as_str().into(),
            properties,
        })
    }

    /// A message with this body.
    pub(super) fn message(&self, body: Bytes) -> Message {
        let mut message = Message::new(Arc::clone(&self.topic), body);
        message.properties_mut().clone_from(&self.properties);
        message
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
        message = match line.delay {
            None => message,
            Some(Delay::Level(level)) => message.delay_level(level),
            Some(Delay::Time(time)) => message.delay(time),
        };
        Ok(message)
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
