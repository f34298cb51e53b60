//! The client against the embedded server: what is sent is read back, byte for byte.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod administration;
mod blocking;
mod delays;
mod groups;
mod namespaces;
mod requests;
mod round_trip;
#[cfg(feature = "tls")]
mod tls;
mod trace;
mod transactions;

use std::time::Duration;

use rocketry::{Client, MessageExt, Reader};
use rocketry_server::{Server, ServerConfig};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn start() -> (Server, Client) {
    let server = Server::start_temp().await.unwrap();
    let client = Client::connect(server.namesrv_addr()).await.unwrap();
    (server, client)
}

pub(crate) async fn start_without_auto_creation() -> (Server, Client) {
    let mut config = ServerConfig::temp();
    config.auto_create_topics = false;
    let server = Server::start(config).await.unwrap();
    let client = Client::connect(server.namesrv_addr()).await.unwrap();
    (server, client)
}

/// Waits for that many messages, and for no more.
pub(crate) async fn read(reader: &mut Reader, count: usize) -> Vec<MessageExt> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let batch = reader.next_batch(PATIENCE).await.unwrap();
        assert!(
            !batch.is_empty(),
            "{} of {count} messages came",
            messages.len()
        );
        messages.extend(batch);
    }
    assert_eq!(messages.len(), count);
    messages
}
