//! Transport security: the first bytes of a connection, before the first frame.
//!
//! RocketMQ has neither a greeting nor a negotiation: a client speaks TLS from its first byte or not at all, and a server tells the two
//! apart by that byte. `client` is the side that connects, `server` the side that accepts, `pem` reads what both are given, and
//! `failure` names what went wrong.

mod client;
mod failure;
mod pem;
mod server;

pub use client::{TlsConfig, TlsConnector};
pub use failure::{TlsConfigError, TlsFailure};
pub use server::{ClientAuth, TlsAcceptor, TlsMode, TlsServerConfig};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Named at every use, so that the process-wide default of rustls, which is the application's business, does not matter.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// First byte of a TLS connection. The first byte of a plain one is that of a frame's length: it would have to be longer than 352 MiB.
const HANDSHAKE_RECORD: u8 = 0x16;
