//! The one error of this crate: what failed, where, how often it was tried, whether the message may be stored, and what to do.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use rocketry_protocol::ResponseCode;

/// What went wrong, in terms a caller can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option, name, address or argument that is out of its bounds. Nothing was sent.
    InvalidArgument,
    /// A message that no broker would accept. Nothing was sent.
    InvalidMessage,
    /// A message, batch or property text beyond its size limit. Nothing was sent.
    MessageTooLarge,
    /// No name server address is configured.
    NoNameServer,
    /// No name server could be reached, or none answered in time.
    NameServerUnreachable,
    /// The topic has no route and brokers do not create it.
    TopicNotFound,
    /// The topic has a route, but no queue that can be written to.
    TopicNotWritable,
    /// The queue's broker has no known master address.
    BrokerUnknown,
    /// No connection to the broker could be made. The message is not stored.
    BrokerUnreachable,
    /// The connection ended while the broker's answer was awaited.
    ConnectionLost,
    /// The time budget is used up.
    Timeout,
    /// The broker or name server answered with an error code: see [`Error::response_code`].
    Refused,
    /// A local limit (in-flight count or bytes, pending requests) was not freed in time.
    Overloaded,
    /// The producer, client or reader is shut down.
    Closed,
    /// A peer sent what the protocol does not allow, or a value cannot be put on the wire.
    Protocol,
    /// The message is stored, but not as durably as asked for.
    NotDurable,
    /// A queue selector failed or chose nothing.
    Selector,
    /// A [`crate::ForbiddenHook`] refused the attempt: the source is its error.
    Forbidden,
    /// The request was stored, but no reply came in time.
    NoReply,
    /// What was asked for does not exist.
    NotFound,
}

/// How far an attempt got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Asking a name server for the route.
    Route,
    /// Making the connection.
    Connect,
    /// Waiting for a place among the connection's requests, or for the request to be written.
    Write,
    /// The request was written, the answer awaited.
    Wait,
    /// The answer arrived.
    Answer,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Route => "route",
            Self::Connect => "connect",
            Self::Write => "write",
            Self::Wait => "wait",
            Self::Answer => "answer",
        })
    }
}

/// One try against one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// Broker name; `name server` for a name server.
    pub peer: Arc<str>,
    /// `host:port` that was tried; empty when no address was known.
    pub address: Arc<str>,
    /// The queue, for sends and pulls.
    pub queue_id: Option<i32>,
    /// When it started, counted from the start of the operation.
    pub started: Duration,
    /// How long it took.
    pub elapsed: Duration,
    /// How far it got.
    pub phase: Phase,
    /// The code, if the peer answered with one.
    pub code: Option<ResponseCode>,
    /// What came of it.
    pub outcome: String,
}

/// An operation that failed.
///
/// `Display` is one line; the alternate form `{:#}` adds the table of attempts. Cheap to clone.
#[derive(Clone)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    /// What was being done: `send to topic "T"`.
    action: Cow<'static, str>,
    /// Why it failed.
    reason: Cow<'static, str>,
    topic: Option<Arc<str>>,
    attempts: Vec<Attempt>,
    elapsed: Option<Duration>,
    budget: Option<Duration>,
    maybe_stored: bool,
    code: Option<ResponseCode>,
    remark: Option<String>,
    java_code: Option<i32>,
    hint: Option<Cow<'static, str>>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that happened while doing `action`, because of `reason`.
    pub(crate) fn new(
        kind: ErrorKind,
        action: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                action: action.into(),
                reason: reason.into(),
                topic: None,
                attempts: Vec::new(),
                elapsed: None,
                budget: None,
                maybe_stored: false,
                code: None,
                remark: None,
                java_code: None,
                hint: None,
                source: None,
            }),
        }
    }
    pub(crate) fn with_topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.inner.topic = Some(topic.into());
        self
    }
    pub(crate) fn with_attempts(mut self, attempts: Vec<Attempt>) -> Self {
        self.inner.attempts = attempts;
        self
    }
    pub(crate) fn with_times(mut self, elapsed: Duration, budget: Duration) -> Self {
        self.inner.elapsed = Some(elapsed);
        self.inner.budget = Some(budget);
        self
    }
    pub(crate) fn with_maybe_stored(mut self, maybe_stored: bool) -> Self {
        self.inner.maybe_stored = maybe_stored;
        self
    }
    pub(crate) fn with_answer(mut self, code: ResponseCode, remark: Option<String>) -> Self {
        self.inner.code = Some(code);
        self.inner.remark = remark;
        self
    }
    pub(crate) fn with_java_code(mut self, code: i32) -> Self {
        self.inner.java_code = Some(code);
        self
    }
    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }
    pub(crate) fn with_source(
        mut self,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        self.inner.source = Some(Arc::new(source));
        self
    }
    pub(crate) fn with_shared_source(
        mut self,
        source: Arc<dyn std::error::Error + Send + Sync>,
    ) -> Self {
        self.inner.source = Some(source);
        self
    }
    /// The same failure seen from a caller that did something larger.
    pub(crate) fn during(mut self, action: impl Into<Cow<'static, str>>) -> Self {
        self.inner.action = action.into();
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }
    /// What was being done, e.g. `send to topic "T"`.
    pub fn action(&self) -> &str {
        &self.inner.action
    }
    /// Why it failed, without what was being done and without the hint.
    pub fn reason(&self) -> &str {
        &self.inner.reason
    }
    /// The topic concerned.
    pub fn topic(&self) -> Option<&str> {
        self.inner.topic.as_deref()
    }
    /// The broker tried last.
    pub fn broker(&self) -> Option<&str> {
        self.inner.attempts.last().map(|a| &*a.peer)
    }
    /// The `host:port` tried last.
    pub fn address(&self) -> Option<&str> {
        self.inner
            .attempts
            .last()
            .map(|a| &*a.address)
            .filter(|a| !a.is_empty())
    }
    /// The queue tried last.
    pub fn queue_id(&self) -> Option<i32> {
        self.inner.attempts.last().and_then(|a| a.queue_id)
    }
    /// Every try that failed, oldest first.
    pub fn attempts(&self) -> &[Attempt] {
        &self.inner.attempts
    }
    /// How long the operation took.
    pub fn elapsed(&self) -> Option<Duration> {
        self.inner.elapsed
    }
    /// How long it was allowed to take.
    pub fn budget(&self) -> Option<Duration> {
        self.inner.budget
    }
    /// The code the peer answered with.
    pub fn response_code(&self) -> Option<ResponseCode> {
        self.inner.code
    }
    /// The text the peer answered with.
    pub fn remark(&self) -> Option<&str> {
        self.inner.remark.as_deref()
    }
    /// Whether a broker may have stored the message although the send failed. If so, sending again may store it twice.
    pub fn maybe_stored(&self) -> bool {
        self.inner.maybe_stored
    }
    /// Whether the same call can succeed later without a change by the caller.
    pub fn is_retryable(&self) -> bool {
        match self.inner.kind {
            ErrorKind::NameServerUnreachable
            | ErrorKind::TopicNotFound
            | ErrorKind::TopicNotWritable
            | ErrorKind::BrokerUnknown
            | ErrorKind::BrokerUnreachable
            | ErrorKind::ConnectionLost
            | ErrorKind::Timeout
            | ErrorKind::NoReply
            | ErrorKind::Overloaded => true,
            ErrorKind::Refused => self.inner.code.is_some_and(|code| {
                matches!(code.0, 1 | 2 | 14 | 16 | 17 | 204 | 205 | 215 | 1500)
            }),
            _ => false,
        }
    }
    /// What to do about it, where this crate knows.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }
    /// The number that Java's client reports for this failure: the peer's code, 10001..=10007, 13, or -1.
    ///
    /// Java: `MQClientException.getResponseCode`, `ClientErrorCode`.
    pub fn java_code(&self) -> i32 {
        if let Some(code) = self.inner.java_code {
            return code;
        }
        match self.inner.kind {
            ErrorKind::Refused => self.inner.code.map_or(-1, |code| code.0),
            ErrorKind::InvalidMessage | ErrorKind::MessageTooLarge => 13,
            ErrorKind::BrokerUnreachable => 10001,
            ErrorKind::Timeout => 10002,
            ErrorKind::BrokerUnknown => 10003,
            ErrorKind::NoNameServer => 10004,
            ErrorKind::TopicNotFound | ErrorKind::TopicNotWritable => 10005,
            ErrorKind::NoReply => 10006,
            ErrorKind::NotFound => 208,
            _ => -1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        write!(f, "{} failed: {}", Line(&inner.action), Line(&inner.reason))?;
        if let Some(last) = inner.attempts.last() {
            write!(f, " (tried ")?;
            if inner.attempts.len() > 1 {
                write!(f, "{} times: ", inner.attempts.len())?;
            }
            for (index, attempt) in inner.attempts.iter().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                write!(f, "{separator}{}", Line(&attempt.peer))?;
                if !attempt.address.is_empty() {
                    write!(f, " at {}", Line(&attempt.address))?;
                }
            }
            if let (Some(code), None) = (last.code, inner.code) {
                write!(f, ", last answer {code}")?;
            }
            f.write_str(")")?;
        }
        if let Some(elapsed) = inner.elapsed {
            write!(f, " after {}", Millis(elapsed))?;
            if let Some(budget) = inner.budget {
                write!(f, " of {}", Millis(budget))?;
            }
        }
        if inner.maybe_stored {
            f.write_str("; the message may be stored")?;
        }
        if let Some(hint) = &inner.hint {
            write!(f, "; {}", Line(hint))?;
        }
        if f.alternate() {
            for (index, attempt) in inner.attempts.iter().enumerate() {
                write!(
                    f,
                    "\n  {:>2}  at {:>8}  {:>8}  {:<7}  {} {}",
                    index + 1,
                    Millis(attempt.started).to_string(),
                    Millis(attempt.elapsed).to_string(),
                    attempt.phase,
                    Line(&attempt.peer),
                    Line(&attempt.address),
                )?;
                if let Some(queue_id) = attempt.queue_id {
                    write!(f, " queue {queue_id}")?;
                }
                write!(f, "  {}", Line(&attempt.outcome))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `unwrap` and a returned `main` error print this form: it must be as readable as Display.
        write!(f, "{:?}: {self:#}", self.inner.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner
            .source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// Text that may come from a peer, as it belongs into one line of a log: without control characters, and not without end.
struct Line<'a>(&'a str);

/// Bytes of one text that are shown.
const LINE_BYTES: usize = 1000;

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..self.0.floor_char_boundary(LINE_BYTES));
        let shown = shown.unwrap_or_default();
        for (index, part) in shown.split(char::is_control).enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{part}")?;
        }
        if shown.len() < self.0.len() {
            write!(f, "... ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

/// A duration as people say it: `340 us`, `12 ms`, `3.0 s`.
pub(crate) struct Millis(pub(crate) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if micros < 1000 {
            write!(f, "{micros} us")
        } else if micros < 1_000_000 {
            write!(f, "{} ms", micros / 1000)
        } else {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(peer: &str, queue_id: i32, at_ms: u64) -> Attempt {
        Attempt {
            peer: peer.into(),
            address: "10.0.0.1:10911".into(),
            queue_id: Some(queue_id),
            started: Duration::from_millis(at_ms),
            elapsed: Duration::from_micros(800),
            phase: Phase::Connect,
            code: None,
            outcome: "connection refused".into(),
        }
    }

    /// A remark may hold a stack trace, or ten megabytes.
    #[test]
    fn what_a_peer_says_stays_on_the_line() {
        let remark = format!("first\nsecond\u{1b}[31m{}", "\u{e9}".repeat(5_000_000));
        let text = Error::new(ErrorKind::Refused, "send", remark).to_string();
        assert!(
            text.starts_with("send failed: first second [31m\u{e9}"),
            "{text}"
        );
        assert!(text.ends_with("\u{e9}... (10000017 bytes)"), "{text}");
        assert!(text.len() < 1100);
    }

    #[test]
    fn display_is_one_line_and_the_alternate_form_lists_the_attempts() {
        let error = Error::new(
            ErrorKind::BrokerUnreachable,
            "send to topic \"T\"",
            "connection refused",
        )
        .with_topic("T")
        .with_attempts(vec![attempt("broker-a", 3, 0), attempt("broker-b", 0, 2)])
        .with_times(Duration::from_millis(4), Duration::from_secs(3))
        .with_hint("is the broker running?");
        assert_eq!(
            error.to_string(),
            "send to topic \"T\" failed: connection refused (tried 2 times: broker-a at 10.0.0.1:10911, \
             broker-b at 10.0.0.1:10911) after 4 ms of 3.0 s; is the broker running?"
        );
        let table = format!("{error:#}");
        assert_eq!(table.lines().count(), 3);
        assert!(
            table.ends_with(
                "   2  at     2 ms    800 us  connect  broker-b 10.0.0.1:10911 queue 0  connection refused"
            ),
            "{table}"
        );
        assert_eq!(error.broker(), Some("broker-b"));
        assert_eq!(error.queue_id(), Some(0));
        assert_eq!(error.java_code(), 10001);
        assert!(error.is_retryable());
    }

    #[test]
    fn java_codes_follow_the_kind_unless_given() {
        let of = |kind| Error::new(kind, "a", "b").java_code();
        assert_eq!(of(ErrorKind::Timeout), 10002);
        assert_eq!(of(ErrorKind::BrokerUnknown), 10003);
        assert_eq!(of(ErrorKind::NoNameServer), 10004);
        assert_eq!(of(ErrorKind::TopicNotFound), 10005);
        assert_eq!(of(ErrorKind::MessageTooLarge), 13);
        assert_eq!(of(ErrorKind::Selector), -1);
        let topic = Error::new(ErrorKind::InvalidMessage, "a", "b").with_java_code(-1);
        assert_eq!(topic.java_code(), -1);
        let refused = Error::new(ErrorKind::Refused, "a", "b").with_answer(ResponseCode(14), None);
        assert_eq!(refused.java_code(), 14);
        assert!(refused.is_retryable());
    }
}
