//! Replies that requests of this client wait for, by correlation id.
//!
//! Java: `RequestFutureHolder`, one for the whole process.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use rocketry_protocol::{
    DecodeError, MessageExt, Properties, RemotingCommand, ResponseCode,
    header::PushReplyMessageRequest, properties::name,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Correlation id -> who waits. As large as the producers' [`crate::ProducerConfig::in_flight_requests`] allow.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    waiting: Mutex<HashMap<Arc<str>, oneshot::Sender<Pushed>>>,
}

/// A reply as it came.
#[derive(Debug)]
pub(crate) struct Pushed {
    request: RemotingCommand,
    arrived_ms: i64,
}

/// A place in the table, given back when dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    replies: Arc<Replies>,
    id: Arc<str>,
    pub(crate) reply: oneshot::Receiver<Pushed>,
    _place: OwnedSemaphorePermit,
}

impl Replies {
    /// Waits for a reply under a new correlation id.
    pub(crate) fn wait(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Waiting {
        let id: Arc<str> = random_uuid(fastrand::u128(..)).into();
        let (pushed, reply) = oneshot::channel();
        self.waiting.lock().insert(Arc::clone(&id), pushed);
        Waiting {
            replies: Arc::clone(self),
            id,
            reply,
            _place: place,
        }
    }

    /// Takes a reply (326) to who waits for it, and answers the broker. A reply that nobody waits for any more is no fault of the
    /// broker's. Runs on the connection's reading task: the body is looked at by who waits.
    pub(crate) fn push(&self, request: RemotingCommand, arrived_ms: i64) -> RemotingCommand {
        let id = match correlation_id(&request) {
            Ok(id) => id,
            Err(error) => {
                tracing::debug!(%error, "a reply cannot be read");
                return RemotingCommand::response(ResponseCode::SYSTEM_ERROR)
                    .with_remark("process reply message fail");
            }
        };
        let waiting = id.as_deref().and_then(|id| self.waiting.lock().remove(id));
        if let Some(waiting) = waiting {
            // whoever gave up since then has the error already
            let _ = waiting.send(Pushed {
                request,
                arrived_ms,
            });
        } else {
            tracing::debug!(id, "a reply that nobody waits for");
        }
        RemotingCommand::response(ResponseCode::SUCCESS)
    }
}

fn correlation_id(request: &RemotingCommand) -> Result<Option<String>, DecodeError> {
    let header: PushReplyMessageRequest<'_> = request.header()?;
    let properties = Properties::parse(header.properties.unwrap_or_default());
    Ok(properties.get(name::CORRELATION_ID).map(str::to_owned))
}

impl Waiting {
    /// What the request is to carry as its `CORRELATION_ID`.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.replies.waiting.lock().remove(&self.id);
    }
}

impl Pushed {
    /// The message, decompressed to at most that many bytes.
    pub(crate) fn message(&self, max_body_bytes: usize) -> Result<MessageExt, DecodeError> {
        let header = self.request.header()?;
        MessageExt::from_reply(&header, &self.request.body, self.arrived_ms, max_body_bytes)
    }
}

/// Version 4, as `java.util.UUID.randomUUID` makes them.
fn random_uuid(random: u128) -> String {
    const VERSION: u128 = 0x4 << 76;
    const VARIANT: u128 = 0x2 << 62;
    let id = random & !(0xf << 76) & !(0x3 << 62) | VERSION | VARIANT;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        id >> 96,
        (id >> 80) & 0xffff,
        (id >> 64) & 0xffff,
        (id >> 48) & 0xffff,
        id & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn push(id: &str) -> RemotingCommand {
        RemotingCommand::request(&PushReplyMessageRequest {
            properties: Some(&format!("CORRELATION_ID\x01{id}\x02")),
            ..PushReplyMessageRequest::default()
        })
    }

    #[test]
    fn ids_are_random_uuids() {
        assert_eq!(random_uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(
            random_uuid(u128::MAX),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
    }

    /// P-115, P-116
    #[tokio::test]
    async fn a_reply_finds_its_request_once_and_dropped_ones_leave_nothing() {
        let replies = Arc::new(Replies::default());
        let places = Arc::new(Semaphore::new(2));
        let place = || Arc::clone(&places).try_acquire_owned();
        let mut one = replies.wait(place().unwrap());
        let two = replies.wait(place().unwrap());
        assert!(place().is_err());
        assert_ne!(one.id(), two.id());
        assert_eq!(replies.push(push(one.id()), 7).code, 0);
        assert_eq!(replies.push(push(one.id()), 8).code, 0, "again");
        assert_eq!(replies.push(push("unknown"), 9).code, 0);
        let reply = (&mut one.reply).await.unwrap().message(10).unwrap();
        assert_eq!(reply.property("ARRIVE_TIME"), Some("7"));
        assert_eq!(replies.waiting.lock().len(), 1);
        drop((one, two));
        assert!(replies.waiting.lock().is_empty());
        assert_eq!(places.available_permits(), 2);
        let mut unreadable = push("x");
        unreadable.fields = None;
        let refused = replies.push(unreadable, 1);
        assert_eq!(refused.code, 1);
        assert_eq!(
            refused.remark.as_deref(),
            Some("process reply message fail")
        );
    }
}
