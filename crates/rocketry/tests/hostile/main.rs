//! Brokers and name servers that answer with anything but the protocol: typed errors in time, bounded memory, no panic, and no harm
//! to sends that go elsewhere. In memory and on virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![expect(unsafe_code, reason = "measuring memory takes a global allocator")]

mod brokers;
mod memory;
mod name_servers;
mod peers;

#[global_allocator]
static ALLOCATOR: memory::Measuring = memory::Measuring;
