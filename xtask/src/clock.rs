//! The only place of this crate that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, for measuring how long a chore took.
#[expect(
    clippy::disallowed_methods,
    reason = "chores measure real time; nothing here is simulated"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970, as stored messages have them.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with what real brokers noted"
)]
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
