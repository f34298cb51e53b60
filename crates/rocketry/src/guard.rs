//! Calling code of the application where its panic must harm nobody else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::Mutex;
use rocketry_remoting::LogLimit;

/// What `call` returns; if it panics, that is logged under the name `what`, and its message returned.
pub(crate) fn guarded<T>(what: &'static str, call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        log(what, &text);
        text
    })
}

/// Code that panics does so again and again: it is logged once in a while.
fn log(what: &'static str, panic: &str) {
    static LIMITS: Mutex<Vec<(&str, LogLimit)>> = Mutex::new(Vec::new());
    let mut limits = LIMITS.lock();
    if !limits.iter().any(|(known, _)| *known == what) {
        limits.push((what, LogLimit::new()));
    }
    let limit = limits.iter().find(|(known, _)| *known == what);
    if let Some(held_back) = limit.and_then(|(_, limit)| limit.pass()) {
        drop(limits);
        tracing::error!(panic, held_back, "the {what} panicked");
    }
}
