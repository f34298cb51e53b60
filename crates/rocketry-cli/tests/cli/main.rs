//! The `rocketry` binary, run as users run it.

mod bench;
mod corpus;
mod crash;
mod errors;
mod fake_name_server;
mod quickstart;
mod round_trip;
mod serve;
mod support;
mod topic;
