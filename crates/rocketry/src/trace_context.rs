//! W3C trace context in message properties, so that a trace goes on where the message is consumed.
//!
//! Independent of any tracing library: the application says which context a message gets, and reads it from what it receives.
//! <https://www.w3.org/TR/trace-context/>

use std::{fmt, str::FromStr, sync::Arc};

use rocketry_protocol::{Message, Properties};

use crate::guard::guarded;

/// Property that holds the [`TraceParent`].
const TRACEPARENT: &str = "traceparent";
/// Property that holds [`TraceContext::state`].
const TRACESTATE: &str = "tracestate";

/// Trace and span that a message belongs to: `00-<trace id>-<parent id>-<flags>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
}

const SAMPLED: u8 = 1;

impl TraceParent {
    /// `parent_id` is the id of the span that sends the message. `None` when one of them is all zeros, which stands for "no trace".
    pub fn new(trace_id: [u8; 16], parent_id: [u8; 8], sampled: bool) -> Option<Self> {
        (trace_id != [0; 16] && parent_id != [0; 8]).then_some(Self {
            trace_id,
            parent_id,
            flags: if sampled { SAMPLED } else { 0 },
        })
    }
    /// Id of the whole trace.
    pub const fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }
    /// Id of the span that sent the message.
    pub const fn parent_id(&self) -> [u8; 8] {
        self.parent_id
    }
    /// Whether the sender recorded its span.
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// As W3C writes it.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        for byte in self.trace_id {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("-")?;
        for byte in self.parent_id {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "-{:02x}", self.flags)
    }
}

/// As W3C reads it: lower case only; a later version than 00 may be longer, and what it adds is left out.
impl FromStr for TraceParent {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        parse(text.as_bytes()).ok_or(TraceContextError("traceparent"))
    }
}

fn parse(text: &[u8]) -> Option<TraceParent> {
    let (version, rest) = field::<1>(text)?;
    let (trace_id, rest) = field::<16>(rest.strip_prefix(b"-")?)?;
    let (parent_id, rest) = field::<8>(rest.strip_prefix(b"-")?)?;
    let (flags, rest) = field::<1>(rest.strip_prefix(b"-")?)?;
    let complete = match version {
        [0] => rest.is_empty(),
        [0xff] => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let parent = TraceParent::new(trace_id, parent_id, flags[0] & SAMPLED != 0)?;
    complete.then_some(parent)
}

/// `N` bytes in lower case hexadecimal, and what follows.
fn field<const N: usize>(text: &[u8]) -> Option<([u8; N], &[u8])> {
    let (digits, rest) = text.split_at_checked(2 * N)?;
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some((bytes, rest))
}

/// What is sent along with a message: the trace, and what vendors add to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    parent: TraceParent,
    state: Option<String>,
}

impl TraceContext {
    /// A context without vendors' additions.
    pub fn new(parent: TraceParent) -> Self {
        Self {
            parent,
            state: None,
        }
    }
    /// Adds vendors' additions: `vendor=value,other=value`. An empty text adds none.
    ///
    /// # Errors
    /// More than 512 characters or 32 members, or characters other than visible ASCII, blanks and tabs.
    pub fn with_state(mut self, state: impl Into<String>) -> Result<Self, TraceContextError> {
        let state = state.into();
        if !is_state(&state) {
            return Err(TraceContextError("tracestate"));
        }
        self.state = Some(state).filter(|state| !state.is_empty());
        Ok(self)
    }
    /// The context of a message that was received; `None` when there is none that can be read. Additions that cannot be read are left
    /// out.
    pub fn of(properties: &Properties) -> Option<Self> {
        let context = Self::new(properties.get(TRACEPARENT)?.parse().ok()?);
        let state = properties.get(TRACESTATE).unwrap_or_default();
        Some(context.clone().with_state(state).unwrap_or(context))
    }
    /// Trace and span.
    pub fn parent(&self) -> TraceParent {
        self.parent
    }
    /// Vendors' additions.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// Limits of the standard for what every implementation has to pass on.
fn is_state(text: &str) -> bool {
    text.len() <= 512
        && text.split(',').count() <= 32
        && text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'))
}

/// A text that is not what the standard allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContextError(&'static str);

impl fmt::Display for TraceContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a valid {}", self.0)
    }
}

impl std::error::Error for TraceContextError {}

/// Says which context a message gets.
#[derive(Clone)]
pub(crate) struct Propagator(Arc<Context>);

type Context = dyn Fn(&Message) -> Option<TraceContext> + Send + Sync;

impl Propagator {
    pub(crate) fn new(
        context: impl Fn(&Message) -> Option<TraceContext> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(context))
    }

    /// Gives the message its context, unless it has one: it may be passed on for somebody else.
    pub(crate) fn propagate(&self, message: &mut Message) {
        if message.properties().contains(TRACEPARENT) {
            return;
        }
        let Ok(Some(context)) = guarded("trace context propagator", || (self.0)(message)) else {
            return;
        };
        let properties = message.properties_mut();
        properties.set(TRACEPARENT, &context.parent.to_string());
        if let Some(state) = &context.state {
            properties.set(TRACESTATE, state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_is_read_and_written() {
        let parent: TraceParent = PARENT.parse().unwrap();
        assert_eq!(parent.trace_id()[..2], [0x4b, 0xf9]);
        assert_eq!(parent.parent_id()[6..], [0x02, 0xb7]);
        assert!(parent.is_sampled());
        assert_eq!(parent.to_string(), PARENT);
        let same = TraceParent::new(parent.trace_id(), parent.parent_id(), true);
        assert_eq!(same, Some(parent));
        let unsampled = PARENT.replace("-01", "-00");
        assert!(!unsampled.parse::<TraceParent>().unwrap().is_sampled());
        // flags that are not known are not passed on
        let flags = PARENT.replace("-01", "-ff").parse::<TraceParent>().unwrap();
        assert_eq!(flags.to_string(), PARENT);
    }

    #[test]
    fn later_versions_may_be_longer_and_this_one_may_not() {
        for good in [
            PARENT.replace("00-4b", "01-4b"),
            PARENT.replace("00-4b", "cc-4b") + "-more",
        ] {
            let parent = good.parse::<TraceParent>().unwrap();
            assert_eq!(parent.to_string(), PARENT, "{good}");
        }
        let bad = [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-more"),
            &format!("{PARENT}0"),
            &PARENT.replace("00-4b", "cc-4b").replace("-01", "-01x"),
            &PARENT.replace("00-4b", "ff-4b"),
            &PARENT.replace("4bf9", "4BF9"),
            &PARENT.replace("4bf9", "4bg9"),
            &PARENT.replace('-', "_"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ];
        for bad in bad {
            assert!(bad.parse::<TraceParent>().is_err(), "{bad:?}");
            // cutting a valid one anywhere leaves nothing valid, and never panics
            for end in (0..bad.len()).filter(|end| bad.is_char_boundary(*end)) {
                let _ = bad[..end].parse::<TraceParent>();
            }
        }
        let error = "x".parse::<TraceParent>().unwrap_err();
        assert_eq!(error.to_string(), "not a valid traceparent");
    }

    #[test]
    fn a_context_survives_the_properties() {
        let parent: TraceParent = PARENT.parse().unwrap();
        let context = TraceContext::new(parent);
        let context = context.with_state("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
        let context = context.unwrap();
        let propagator = Propagator::new({
            let context = context.clone();
            move |_| Some(context.clone())
        });
        let mut message = Message::new("T", "x");
        propagator.propagate(&mut message);
        let properties = message.properties();
        assert_eq!(properties.get("traceparent"), Some(PARENT));
        assert_eq!(TraceContext::of(properties), Some(context));
        // a context that is there already is somebody else's
        let mut passed_on = Message::new("T", "x").property("traceparent", "theirs");
        propagator.propagate(&mut passed_on);
        assert_eq!(passed_on.properties().get("traceparent"), Some("theirs"));
        assert_eq!(passed_on.properties().get("tracestate"), None);
        assert_eq!(TraceContext::of(passed_on.properties()), None);
        // additions that cannot be read do not cost the trace
        let mut properties = Properties::default();
        properties.set("traceparent", PARENT);
        properties.set("tracestate", "ünlesbar");
        assert_eq!(
            TraceContext::of(&properties),
            Some(TraceContext::new(parent))
        );
    }

    #[test]
    fn additions_have_the_bounds_of_the_standard() {
        let context = TraceContext::new(PARENT.parse().unwrap());
        let state = |text: String| context.clone().with_state(text);
        assert_eq!(state(String::new()).unwrap().state(), None);
        assert!(state("a".repeat(512)).is_ok());
        assert!(state("a".repeat(513)).is_err());
        assert!(state(["a=b"; 32].join(",")).is_ok());
        assert!(state(["a=b"; 33].join(",")).is_err());
        assert!(state("a=\u{1}".to_owned()).is_err());
    }
}
