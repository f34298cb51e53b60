//! The client in a simulated cluster: virtual time, streams in memory, faults from a seed.
//!
//! One seed decides everything: the cluster, its faults, the options of the client and what is sent. The same seed gives the same
//! trace. `ROCKETRY_SIM_SEEDS=10000` sets how many seeds [`seeds`] runs, `ROCKETRY_SIM_SEED=7` runs one and prints its trace.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and a replay prints its trace"
)]

mod broker;
mod checks;
mod failover;
mod halves;
mod ledger;
mod line;
mod name_server;
mod replies;
mod run;
mod script;
mod seeds;
mod work;
mod world;
