//! What became of a local transaction, and the ways in which code of the application may say so.

use std::{
    fmt::Display,
    future::{Ready, poll_fn, ready},
    task::Poll,
};

use super::Decision;
use crate::guard::guarded;

/// A [`Decision`], or [`Decision::Unknown`] and why there is none. Made from a `Decision` or from a `Result` of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub(crate) decision: Decision,
    /// The text of the error or panic that left the transaction undecided.
    pub(crate) failure: Option<String>,
}

impl Verdict {
    pub(crate) fn failed(failure: impl Into<String>) -> Self {
        Self {
            decision: Decision::Unknown,
            failure: Some(failure.into()),
        }
    }

    fn panicked(panic: &str) -> Self {
        Self::failed(format!("panicked: {panic}"))
    }
}

impl From<Decision> for Verdict {
    fn from(decision: Decision) -> Self {
        Self {
            decision,
            failure: None,
        }
    }
}

impl<E: Display> From<Result<Decision, E>> for Verdict {
    fn from(result: Result<Decision, E>) -> Self {
        match result {
            Ok(decision) => decision.into(),
            Err(error) => Self::failed(error.to_string()),
        }
    }
}

/// What a local transaction or a check may return: a [`Decision`], a future of one, or a future of a `Result` of one. An error counts as
/// [`Decision::Unknown`].
pub trait IntoVerdict {
    /// How it gets there.
    type Deciding: Future<Output: Into<Verdict>> + Send;
    /// Begins to get there.
    fn into_verdict(self) -> Self::Deciding;
}

impl IntoVerdict for Decision {
    type Deciding = Ready<Self>;

    fn into_verdict(self) -> Self::Deciding {
        ready(self)
    }
}

impl<F: Future<Output: Into<Verdict>> + Send> IntoVerdict for F {
    type Deciding = F;

    fn into_verdict(self) -> Self::Deciding {
        self
    }
}

/// Runs code of the application, called `what` in logs. Its panic counts as [`Decision::Unknown`].
///
/// Java: the `catch (Throwable)` around `executeLocalTransaction` and `checkLocalTransaction`.
pub(crate) async fn verdict_of<V: IntoVerdict>(
    what: &'static str,
    begin: impl FnOnce() -> V,
) -> Verdict {
    let mut deciding = match guarded(what, || begin().into_verdict()) {
        Ok(deciding) => Box::pin(deciding),
        Err(panic) => return Verdict::panicked(&panic),
    };
    // a future that panicked is not polled again
    let polled = poll_fn(|cx| match guarded(what, || deciding.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    });
    match polled.await {
        Ok(decided) => decided.into(),
        Err(panic) => Verdict::panicked(&panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn decisions_come_in_three_forms() {
        let commit = Verdict::from(Decision::Commit);
        assert_eq!(verdict_of("test", || Decision::Commit).await, commit);
        assert_eq!(verdict_of("test", async || Decision::Commit).await, commit);
        let fallible = async || Ok::<_, std::fmt::Error>(Decision::Commit);
        assert_eq!(verdict_of("test", fallible).await, commit);
        let failing = async || "no".parse::<i32>().map(|_| Decision::Commit);
        let failed = verdict_of("test", failing).await;
        assert_eq!(failed.decision, Decision::Unknown);
        assert_eq!(
            failed.failure.as_deref(),
            Some("invalid digit found in string")
        );
    }

    /// P-107: wherever it happens.
    #[tokio::test]
    async fn a_panic_is_no_decision() {
        let at_once = verdict_of("test", || -> Decision { panic!("at {}", "once") }).await;
        let later = async || -> Decision {
            tokio::task::yield_now().await;
            panic!("later")
        };
        let later = verdict_of("test", later).await;
        let odd = verdict_of("test", || -> Decision { std::panic::panic_any(7) }).await;
        for (verdict, text) in [
            (at_once, "panicked: at once"),
            (later, "panicked: later"),
            (odd, "panicked: "),
        ] {
            assert_eq!(verdict.decision, Decision::Unknown);
            assert_eq!(verdict.failure.as_deref(), Some(text));
        }
    }
}
