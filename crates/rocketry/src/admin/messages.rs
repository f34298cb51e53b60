//! Messages by their place in the log.

use std::sync::Arc;

use rocketry_protocol::{MessageExt, header::ViewMessageRequest, id};

use super::{Admin, unreadable};
use crate::error::{Error, ErrorKind};

impl Admin {
    /// The message of an offset message id, which names the broker's address and the place in its log.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an id of another form, [`ErrorKind::NotFound`], and what asking a broker can fail with.
    ///
    /// Java: `MQAdminImpl.viewMessage`, first half.
    pub async fn view_message(
        &self,
        topic: &str,
        offset_msg_id: &str,
    ) -> Result<MessageExt, Error> {
        let action = format!("view message {offset_msg_id:?}");
        let (host, offset) = id::parse_offset_msg_id(offset_msg_id).map_err(|error| {
            Error::new(
                ErrorKind::InvalidArgument,
                action.clone(),
                error.to_string(),
            )
            .with_hint("this needs an offset message id, as in SendResult::offset_msg_id")
        })?;
        let namespace = &self.core().namespace;
        let topic = namespace.wrap(topic);
        let request = ViewMessageRequest {
            topic: Some(&*topic).filter(|topic| !topic.is_empty()),
            offset,
            broker_name: None,
        };
        let reply = self
            .ask_broker(
                &action,
                "broker",
                &host.to_string(),
                &request,
                self.deadline(),
            )
            .await?;
        let unnamed: Arc<str> = "".into();
        let messages = MessageExt::decode_all(&reply.body, &unnamed)
            .map_err(|error| unreadable(&action, &error))?;
        let message = messages.into_iter().next();
        let message = message.map(|message| namespace.unwrap_received(message));
        message.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                action,
                "the broker has no message there",
            )
        })
    }
}
