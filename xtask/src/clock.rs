//! The only place of this crate that reads a clock.

use std::time::Instant;

/// Now, for measuring how long a chore took.
#[expect(
    clippy::disallowed_methods,
    reason = "chores measure real time; nothing here is simulated"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
