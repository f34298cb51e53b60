//! Taking a timed message back before its time. Java: `DefaultMQProducerImpl.recallMessage`.

use rocketry_protocol::{
    RemotingCommand, ResponseCode, Topic,
    header::{RecallMessageReply, RecallMessageRequest},
    id::RecallHandle,
    properties::name,
    topic,
};
use rocketry_remoting::Deadline;

use super::{Producer, Shared};
use crate::{
    admin, clock,
    error::{Error, ErrorKind},
};

impl Producer {
    /// Takes back a message that was sent with [`rocketry_protocol::Message::delay`] or
    /// [`rocketry_protocol::Message::deliver_at`] and is not delivered yet. `handle` is what its [`crate::SendResult::recall_handle`]
    /// says; messages of delay levels have none. Returns the message id.
    ///
    /// One request to the broker that keeps the message, within [`crate::ProducerConfig::timeout`]. A message that the broker is about to
    /// deliver may be delivered all the same.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for what is no handle, and for retry and dead-letter topics; [`ErrorKind::Refused`] with code 16 by
    /// brokers that do not allow recalls (Apache's unless told to: `recallMessageEnable`), with code 604 for another topic's handle and
    /// for a time that has passed; and what asking a broker can fail with.
    pub async fn recall(&self, topic: &str, handle: &str) -> Result<String, Error> {
        let action = format!("recall a message of topic {topic:?}");
        let recalled = self.shared.recall(topic, handle, &action).await;
        recalled.map_err(|error| error.during(action).with_topic(topic))
    }
}

impl Shared {
    async fn recall(&self, topic: &str, handle: &str, action: &str) -> Result<String, Error> {
        let _counted = self.sends.token();
        self.refuse_when_closed(topic)?;
        let core = self.client.core();
        let topic = recallable(&core.namespace.wrap(topic), action)?;
        let kept = RecallHandle::decode(handle).map_err(|error| {
            let reason = format!("the recall handle is invalid: {error}");
            Error::new(ErrorKind::InvalidArgument, action.to_owned(), reason)
                .with_hint("SendResult::recall_handle of a timed message is one")
                .with_source(error)
        })?;
        let until = clock::now() + self.config.timeout;
        let asking = async {
            let queues = self.config.topic_queues;
            let route = core.routes.publish(&topic, queues, until).await;
            let route =
                route.map_err(|error| error.into_error(action.to_owned(), topic.as_str()))?;
            let place = route
                .master(&kept.broker_name)
                .or_else(|| route.any_address());
            let (broker, address) = place.ok_or_else(|| {
                let reason = format!("no address of broker {:?} is known", kept.broker_name);
                Error::new(ErrorKind::BrokerUnknown, action.to_owned(), reason)
            })?;
            let request = RemotingCommand::request(&RecallMessageRequest {
                producer_group: Some(self.encode.group().as_str()),
                topic: topic.as_str(),
                recall_handle: handle,
                broker_name: Some(&kept.broker_name),
            });
            admin::ask(
                core,
                action,
                (&broker, &address),
                request,
                Deadline::at(until),
            )
            .await
        };
        let reply = tokio::select! {
            biased;
            () = self.abort.cancelled() => return Err(Error::new(
                ErrorKind::Closed,
                action.to_owned(),
                "the producer was shut down before the broker answered",
            )),
            reply = asking => reply.map_err(with_hint)?,
        };
        if let Some(tracer) = &self.tracer {
            let (group, region) = (self.encode.group().as_str(), reply.field(name::MSG_REGION));
            tracer.recalled(group, &topic, &kept.message_id, region);
        }
        let reply: RecallMessageReply = reply
            .header()
            .map_err(|error| admin::unreadable(action, &error))?;
        Ok(reply.msg_id)
    }
}

fn recallable(name: &str, action: &str) -> Result<Topic, Error> {
    let topic = admin::topic_name(action, name)?;
    let unfit = [topic::RETRY_PREFIX, topic::DEAD_LETTER_PREFIX]
        .iter()
        .any(|prefix| name.contains(prefix))
        || topic::is_send_forbidden(name);
    if unfit {
        let reason = format!("topic {name:?} has no timed messages");
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            action.to_owned(),
            reason,
        ));
    }
    Ok(topic)
}

fn with_hint(error: Error) -> Error {
    if error.response_code() == Some(ResponseCode::NO_PERMISSION) {
        return error.with_hint("the broker allows it with recallMessageEnable=true");
    }
    error
}
