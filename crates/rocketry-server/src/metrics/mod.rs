//! What the server tells Prometheus: under the names of Java's 5.x broker where it has one (`rocketmq_`), under its own otherwise
//! (`rocketry_`).
//!
//! A message costs a few additions on counters of the whole broker, and two clock readings per round of the log's thread. Everything
//! that has a label is worked out when somebody asks: messages by topic from the ends of the queues, lag from the committed offsets.
//! Series per metric are capped ([`ServerConfig::metrics_max_series`](crate::ServerConfig::metrics_max_series)).

mod broker;
mod endpoint;
mod histogram;
mod oldest;
mod page;
mod process;

pub(crate) use endpoint::{Endpoint, Sources};
pub(crate) use histogram::Latencies;
