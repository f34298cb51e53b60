//! The client against scripted name servers and brokers. Numbers like P-061 are those of the acceptance list that the tests follow.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod asynchronous;
mod auto_batch;
mod batch;
mod connecting;
mod connections;
mod delays;
mod drops;
mod errors;
mod explain;
mod hooks;
mod lifecycle;
mod lookup;
mod memory;
mod metrics;
mod misuse;
mod names;
mod one_way;
mod order;
mod query;
mod reading;
mod requests;
mod routes;
mod security;
mod socks;
mod static_topics;
mod support;
mod synchronous;
mod trace;
#[cfg(feature = "trace-context")]
mod trace_context;
mod transactions;
