//! One duplex RocketMQ remoting connection over Tokio, for clients and servers alike.
//!
//! A [`Connection`] carries requests in both directions over any byte stream. Frames of many callers leave in one write, all
//! frames of one read are handled together, and everything that can wait is bounded in number, bytes and time.
//!
//! - [`Connections`] is the client's side: one connection per address, opened when it is first needed;
//! - [`Dial`] replaces TCP under them, for tunnels and tests;
//! - [`Listener`] is the server's side: it accepts, limits and ends connections;
//! - [`Handler`] takes the requests that the peer sends, [`Responder`] answers them, now or later;
//! - [`Deadline`] is how long a caller is willing to wait, as a point in time that is handed down;
//! - with the feature `tls`, `TlsConfig` and `TlsServerConfig` secure connections of either side;
//! - [`LogLimit`] keeps a fault that repeats from filling the log;
//! - [`Error`] says what failed, where, after how long, and whether the peer may have got the request.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use rocketry_protocol::{RemotingCommand, RequestCode, ResponseCode};
//! use rocketry_remoting::*;
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn handle(&self, request: RemotingCommand, responder: Responder) {
//!         responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body(request.body));
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Listener::bind("127.0.0.1:0".parse()?, ListenerOptions::default(), Arc::new(Echo))?;
//! let addr = server.local_addr().to_string();
//!
//! let client = Connections::new(ConnectOptions::default(), Arc::new(Unsupported));
//! let deadline = Deadline::after(Duration::from_secs(3));
//! let request = RemotingCommand::bare_request(RequestCode::SEND_MESSAGE).with_body("hello");
//! let response = client.call(&addr, request, deadline).await?;
//! assert_eq!(response.body, "hello");
//!
//! client.close_all().await;
//! server.shutdown(deadline).await;
//! # Ok(())
//! # }
//! ```
//!
//! What this crate never does: it does not look into headers or bodies, does not retry, and knows no message.

mod connect;
mod connection;
mod connections;
mod deadline;
mod dial;
mod error;
mod handler;
mod listener;
mod load;
mod log_limit;
mod options;
mod outbound;
mod pending;
mod read_buffer;
mod reader;
mod shared;
mod signal;
mod socket;
mod socks;
#[cfg(feature = "tls")]
mod tls;
mod turn;
mod watch;
mod writer;

pub use connection::{Connection, Reply};
pub use connections::Connections;
pub use deadline::Deadline;
pub use dial::{Dial, DialFuture, Dialed};
pub use error::{CloseReason, Error, ErrorKind, Stage};
pub use handler::{Handler, Responder, Unsupported};
pub use listener::{Listener, ListenerCounts, Port};
pub use load::Load;
pub use log_limit::LogLimit;
pub use options::{ConnectOptions, ConnectionInfo, ConnectionOptions, ListenerOptions};
pub use pending::{End, Waiter};
pub use shared::Vacancy;
pub use socks::{SocksDialer, SocksProxy};
#[cfg(feature = "tls")]
pub use tls::{
    ClientAuth, TlsAcceptor, TlsConfig, TlsConfigError, TlsConnector, TlsFailure, TlsMode,
    TlsServerConfig,
};
