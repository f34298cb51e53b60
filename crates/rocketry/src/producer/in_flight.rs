//! Back-pressure: how much may be on its way at once.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::order::Outgoing;
use crate::{
    config::ProducerConfig,
    error::{Error, ErrorKind},
};

/// The bound on asynchronous sends in flight, by number and by bytes. Waiters are served in order.
///
/// Java: `semaphoreAsyncSendNum` and `semaphoreAsyncSendSize`, which block the calling thread.
#[derive(Debug)]
pub(crate) struct InFlight {
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    max_messages: usize,
    max_bytes: usize,
}

/// A place among the sends in flight; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permits {
    _message: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl InFlight {
    pub(crate) fn new(config: &ProducerConfig) -> Self {
        Self {
            messages: Arc::new(Semaphore::new(config.in_flight_messages)),
            bytes: Arc::new(Semaphore::new(config.in_flight_bytes)),
            max_messages: config.in_flight_messages,
            max_bytes: config.in_flight_bytes,
        }
    }

    /// A place, if one is free. It is not while others wait for theirs.
    pub(super) fn try_acquire(&self, body_bytes: usize) -> Option<Permits> {
        let count = u32::try_from(body_bytes).ok()?;
        let message = Arc::clone(&self.messages).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(count).ok()?;
        Some(Permits {
            _message: message,
            _bytes: bytes,
        })
    }

    /// Waits for a place until `deadline`.
    pub(super) async fn acquire(
        &self,
        outgoing: &Outgoing,
        deadline: Instant,
    ) -> Result<Permits, Error> {
        let bytes = outgoing.body_bytes();
        let full = |reason: String| {
            Error::new(
                ErrorKind::Overloaded,
                format!("send to topic {:?}", outgoing.topic()),
                reason,
            )
            .with_topic(outgoing.topic())
            .with_hint("wait for earlier sends, or raise in_flight_messages or in_flight_bytes")
        };
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        if bytes > self.max_bytes {
            // Java waits for what can never come.
            return Err(full(format!(
                "its {bytes} bytes exceed in_flight_bytes ({})",
                self.max_bytes
            )));
        }
        let acquired = timeout_at(deadline, async {
            let message = Arc::clone(&self.messages).acquire_owned().await;
            let bytes = Arc::clone(&self.bytes).acquire_many_owned(count).await;
            (message, bytes)
        })
        .await;
        match acquired {
            Ok((Ok(message), Ok(bytes))) => Ok(Permits {
                _message: message,
                _bytes: bytes,
            }),
            // the semaphores are never closed
            Ok(_) | Err(_) => Err(full(
                "too many sends are in flight, and none ended in time".to_owned(),
            )),
        }
    }

    /// Messages and body bytes in flight.
    pub(crate) fn used(&self) -> (usize, usize) {
        (
            self.max_messages - self.messages.available_permits(),
            self.max_bytes - self.bytes.available_permits(),
        )
    }
}
