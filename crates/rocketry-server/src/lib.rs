//! RocketMQ name server and broker for one machine, in one process.
//!
//! ```no_run
//! # async fn example() -> Result<(), rocketry_server::ServerError> {
//! use rocketry_server::Server;
//!
//! let server = Server::start_temp().await?;
//! println!("clients connect to {}", server.namesrv_addr());
//! server.shutdown(std::time::Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Server`] speaks Apache RocketMQ 5.5.0's remoting protocol and keeps its data in Apache RocketMQ's files. Any number of them run
//! beside each other in one process, each with its own ports and directory, which makes them fit for tests.
//!
//! - `dispatch` is the table of contents: which function serves which request code;
//! - `processor` holds those functions, `broker` the handles they share;
//! - `writer` is the one thread that appends to the log, `hold` keeps the pulls and pops that wait for a message;
//! - `schedule` and `timer` keep messages until their time, `transaction` half messages until their producers decide, `pop` what was
//!   taken until it is acknowledged: all of it in queues of the log, so that it survives what the log survives;
//! - `access` is the guard at the door: users, signatures, permissions;
//! - `admission` bounds what all clients have under way together, `metrics` tells Prometheus what goes on;
//! - `name_server`, `clients`, `queue_locks`, `offsets` are tables that know no socket and no clock.

mod access;
mod admission;
mod advertise;
mod announce;
mod attributes;
mod background;
mod broker;
mod broker_conf;
mod clients;
mod clock;
mod config;
mod dispatch;
mod error;
mod fault;
mod filter;
mod find;
mod flush;
mod groups;
mod hold;
mod kv_config;
mod long_polls;
mod metadata;
mod metrics;
mod name_server;
mod names;
mod offsets;
mod pop;
mod processor;
mod put;
mod queue_locks;
mod rates;
mod registration;
mod schedule;
mod serve;
mod start;
mod stats;
mod timer;
mod topics;
mod transaction;
mod writer;

pub use access::{AccessOptions, FirstUser, MadeUser};
pub use advertise::Advertise;
pub use broker_conf::FileSizes;
pub use config::{DataDir, FlushMode, Role, ServerConfig};
pub use error::ServerError;
pub use rocketry_protocol::acl::Credentials;
#[cfg(feature = "tls")]
pub use rocketry_remoting::{ClientAuth, TlsConfig, TlsMode, TlsServerConfig};
pub use rocketry_store::Retention;
pub use serve::Server;
