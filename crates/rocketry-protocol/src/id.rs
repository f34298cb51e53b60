//! Identifiers: unique id, offset message id, recall handle (wire.md 10).
use crate::DecodeError;
use std::net::{IpAddr, SocketAddr};
/// Makes unique message ids. One per process or client; `&self`, lock-free.
#[derive(Debug)]
pub struct IdSource {
    prefix: String,
    counter: std::sync::atomic::AtomicU32,
}
impl IdSource {
    /// `ip` and `process_id` go into every id; `seed` is the per-process constant (Java: class loader hash) and the counter's start.
    pub fn new(ip: IpAddr, process_id: u32, seed: u32) -> Self {
        let _ = (ip, process_id, seed);
        todo!()
    }
    /// A new id. `ms_since_month_start` is local time since midnight of the first of the month.
    pub fn next(&self, ms_since_month_start: u32) -> String {
        let _ = (ms_since_month_start, &self.prefix, &self.counter);
        todo!()
    }
}
/// Offset message id: store host and commit log offset, 32 (IPv4) or 56 (IPv6) hex digits.
pub fn offset_msg_id(store_host: SocketAddr, commit_log_offset: i64) -> String {
    let _ = (store_host, commit_log_offset);
    todo!()
}
/// Reads an offset message id.
///
/// # Errors
/// Not 32 or 56 hex digits.
pub fn parse_offset_msg_id(id: &str) -> Result<(SocketAddr, i64), DecodeError> {
    let _ = id;
    todo!()
}
