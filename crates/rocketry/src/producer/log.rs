//! What sends leave in the log, by `tracing`, target `rocketry::send`.
//!
//! - At level debug: one span `send` per send, with the fields `group`, `topic`, `mode` and `msg_id`, and in it one event per attempt
//!   that failed. Whoever exports spans gets the duration of every send.
//! - At level trace: one event per attempt that succeeded.
//! - At the levels above: nothing. A failure is the caller's, who has the error with all of this in it.
//!
//! What repeats (a hook that panics, a heartbeat that is refused) is logged at most every 10 seconds, with the number of those held
//! back in the field `held_back`. While nobody listens, a send pays for asking.

use tokio::time::Instant;
use tracing::{Level, Span, field};

use super::{SendMode, interpret::Outcome, prepare::Prepared, retry::Attempts};

const TARGET: &str = "rocketry::send";

/// The span of one send.
pub(crate) fn span(group: &rocketry_protocol::Group, topic: &str, mode: SendMode) -> Span {
    tracing::debug_span!(
        target: TARGET,
        "send",
        group = group.as_str(),
        topic,
        mode = %mode,
        msg_id = field::Empty,
    )
}

/// The message has its id.
pub(crate) fn prepared(prepared: &Prepared) {
    if tracing::enabled!(target: TARGET, Level::DEBUG) {
        Span::current().record("msg_id", &*prepared.msg_id);
    }
}

/// An attempt is over.
pub(crate) fn attempt(
    tries: &Attempts<'_>,
    outcome: &Outcome,
    broker: &str,
    address: Option<&str>,
    now: Instant,
) {
    if !tracing::enabled!(target: TARGET, Level::DEBUG) {
        return;
    }
    let (attempt, took) = (tries.begun(), tries.elapsed(now));
    match outcome {
        Outcome::Handed | Outcome::Stored(_) | Outcome::NotDurable(_) => {
            tracing::trace!(target: TARGET, attempt, broker, address, ?took, "attempt succeeded");
        }
        Outcome::Refused { code, remark } => tracing::debug!(
            target: TARGET, attempt, broker, address, ?took, %code, remark, "attempt refused"
        ),
        Outcome::Lost(loss) => tracing::debug!(
            target: TARGET, attempt, broker, address, ?took, phase = %loss.phase,
            reason = loss.reason, "attempt lost"
        ),
    }
}
