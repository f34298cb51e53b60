//! The `rocketry` binary, run as users run it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that panics has failed, which is what it is for"
)]
#![allow(unreachable_pub, reason = "helpers of one test crate")]

mod access;
mod bench;
mod broker;
mod consume;
mod corpus;
mod crash;
mod errors;
mod fake_name_server;
mod group;
mod message;
mod mqadmin;
mod quickstart;
mod request;
mod round_trip;
mod send_ends;
mod send_options;
mod serve;
mod store;
mod support;
mod topic;
mod users;
