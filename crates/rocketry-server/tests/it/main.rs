//! A whole server over real sockets, spoken to in frames. Test names give the line of the acceptance list they show.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper of tests fails a test as its caller would"
)]

mod common;

mod addresses;
mod admin;
mod auth;
mod batch_queue;
mod broker_conf;
mod clients;
mod damage;
mod delay;
mod disk;
mod exchanges;
mod lifecycle;
mod limits;
mod metrics;
mod moving_on;
mod name_server;
mod odd_requests;
mod pop;
mod pop_faults;
mod pop_order;
mod pull;
mod query;
#[path = "../../../rocketry-store/tests/support/real.rs"]
mod real_disk;
mod reply;
mod roles;
mod send;
mod served;
mod slow_disk;
mod sql92;
mod timer;
#[cfg(feature = "tls")]
mod tls;
mod topics;
mod transactions;
