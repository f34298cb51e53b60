//! Namespaces that are part of names (`<namespace>%<name>`): put on where names leave for the wire, taken off where they come back.
//!
//! Java: `ClientConfig.withNamespace`, `NamespaceUtil`.

use std::{borrow::Cow, sync::Arc};

use rocketry_protocol::{
    Message, MessageExt, MessageQueue, Topic,
    namespace::{unwrap_from, wrap},
    properties::name,
};

use crate::{error::Error, producer::Outgoing};

/// The namespace of a client; without one, everything stays as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namespace(Option<Arc<str>>);

impl Namespace {
    pub(crate) fn new(namespace: Option<&str>) -> Self {
        Self(namespace.map(Into::into))
    }

    /// A topic or group as brokers know it.
    pub(crate) fn wrap<'a>(&self, name: &'a str) -> Cow<'a, str> {
        match &self.0 {
            Some(namespace) => wrap(namespace, name),
            None => Cow::Borrowed(name),
        }
    }

    /// A queue as brokers know it.
    ///
    /// # Errors
    /// The name is too long with the namespace.
    pub(crate) fn wrap_queue(&self, mut queue: MessageQueue) -> Result<MessageQueue, Error> {
        if self.0.is_some() {
            let name = self.wrap(queue.topic.as_str());
            queue.topic = crate::admin::topic_name("name the queue", &name)?;
        }
        Ok(queue)
    }

    /// Messages as brokers know them. Replies go to the topic of a cluster, which is in no namespace (Java wraps it, and the reply
    /// does not arrive).
    pub(crate) fn wrap_messages(&self, outgoing: Outgoing) -> Outgoing {
        let Some(namespace) = &self.0 else {
            return outgoing;
        };
        let wrap_one = |mut message: Message| {
            if message.properties().get(name::MSG_TYPE) == Some("reply") {
                return message;
            }
            message.properties_mut().set(name::INSTANCE_ID, namespace);
            let topic = self.wrap(message.topic()).into_owned();
            message.with_topic(topic)
        };
        match outgoing {
            Outgoing::Single(message) => Outgoing::Single(wrap_one(message)),
            Outgoing::Batch(messages) => {
                Outgoing::Batch(messages.into_iter().map(wrap_one).collect())
            }
            Outgoing::Gathered(messages) => {
                Outgoing::Gathered(messages.into_iter().map(wrap_one).collect())
            }
        }
    }

    /// A topic or group as the application knows it.
    pub(crate) fn unwrap<'a>(&self, name: &'a str) -> Cow<'a, str> {
        match &self.0 {
            Some(namespace) => unwrap_from(name, namespace),
            None => Cow::Borrowed(name),
        }
    }

    /// A topic as the application knows it.
    pub(crate) fn unwrap_topic(&self, topic: &Topic) -> Topic {
        let shown = match &self.0 {
            Some(namespace) => Topic::new(unwrap_from(topic.as_str(), namespace)).ok(),
            None => None,
        };
        shown.unwrap_or_else(|| topic.clone())
    }

    pub(crate) fn unwrap_queues<'a>(&self, queues: &'a [MessageQueue]) -> Cow<'a, [MessageQueue]> {
        if self.0.is_none() {
            return Cow::Borrowed(queues);
        }
        let unwrap = |queue: &MessageQueue| MessageQueue {
            topic: self.unwrap_topic(&queue.topic),
            ..queue.clone()
        };
        Cow::Owned(queues.iter().map(unwrap).collect())
    }

    pub(crate) fn unwrap_message<'a>(&self, message: &'a Message) -> Cow<'a, Message> {
        match &self.0 {
            Some(namespace) => {
                let topic = unwrap_from(message.topic(), namespace);
                Cow::Owned(message.clone().with_topic(&*topic))
            }
            None => Cow::Borrowed(message),
        }
    }

    /// A message that was received, as the application knows it.
    pub(crate) fn unwrap_received(&self, mut message: MessageExt) -> MessageExt {
        if let Some(namespace) = &self.0 {
            message.topic = unwrap_from(&message.topic, namespace).as_ref().into();
        }
        message
    }
}
