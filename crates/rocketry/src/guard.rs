//! Calling code of the application where its panic must harm nobody else.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `call` returns; if it panics, that is logged under the name `what`, and its message returned.
pub(crate) fn guarded<T>(what: &'static str, call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        tracing::error!(panic = text, "the {what} panicked");
        text
    })
}
