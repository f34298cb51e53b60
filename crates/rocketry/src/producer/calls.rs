//! Calls the hooks of one send, each as often as it was promised.

use std::sync::Arc;

use rocketry_protocol::MessageQueue;
use tokio::time::Instant;

use super::{
    SendMode, SendResult,
    explain::Explain,
    hooks::{MessageType, SendContext, SendHook, SendOutcome},
    interpret::Outcome,
    prepare::Prepared,
    shared::Shared,
};
use crate::{
    clock,
    error::{Error, ErrorKind},
    guard::guarded,
};

/// The hooks of one send. Dropping it tells them that the send was dropped, if they wait for its outcome.
pub(crate) struct Calls<'a> {
    shared: &'a Shared,
    prepared: &'a Prepared,
    mode: SendMode,
    explain: Explain<'a>,
    attempt: u32,
    /// The attempt that `before` was called for, until `after` is.
    open: Option<Box<Open>>,
}

struct Open {
    queue: MessageQueue,
    address: Arc<str>,
    begun: Instant,
    begun_ms: i64,
}

impl<'a> Calls<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        prepared: &'a Prepared,
        mode: SendMode,
        explain: Explain<'a>,
    ) -> Self {
        Self {
            shared,
            prepared,
            mode,
            explain,
            attempt: 0,
            open: None,
        }
    }

    /// For telling the observer of this send.
    pub(crate) fn explain(&self) -> Explain<'a> {
        self.explain
    }

    /// An attempt is about to go to `queue`.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`]: it must not.
    pub(crate) fn before(
        &mut self,
        attempt: u32,
        queue: &MessageQueue,
        address: &Arc<str>,
        now: Instant,
    ) -> Result<(), Error> {
        let hooks = &self.shared.hooks;
        self.attempt = attempt;
        if hooks.send.is_empty() && hooks.forbidden.is_empty() {
            return Ok(());
        }
        let going_on = self.open.take();
        let (begun, begun_ms) = match &going_on {
            Some(open) => (open.begun, open.begun_ms),
            None => (now, clock::wall_ms()),
        };
        let open = Box::new(Open {
            queue: queue.clone(),
            address: Arc::clone(address),
            begun,
            begun_ms,
        });
        let context = self.context(&open, now, None);
        for hook in &hooks.forbidden {
            let refused = match guarded("forbidden hook", || hook.check(&context)) {
                Ok(Ok(())) => continue,
                Ok(Err(refused)) => refused,
                Err(panic) => format!("the forbidden hook panicked: {panic}").into(),
            };
            let error = self.forbidden(refused);
            // an asynchronous send that was under way ends here: its hooks learn of that
            self.open = going_on;
            return Err(error);
        }
        if hooks.send.is_empty() {
            return Ok(());
        }
        if going_on.is_none() {
            self.call(|hook| hook.before(&context));
        }
        self.open = Some(open);
        Ok(())
    }

    /// The attempt has come to `outcome`; `error` says so of one that failed.
    pub(crate) fn attempted(&mut self, outcome: &Outcome, error: impl FnOnce() -> Option<Error>) {
        if self.mode == SendMode::Async || self.open.is_none() {
            return;
        }
        match outcome {
            Outcome::Handed => self.after(SendOutcome::Handed),
            Outcome::Stored(result) | Outcome::NotDurable(result) => {
                self.after(SendOutcome::Stored(result));
            }
            Outcome::Refused { .. } | Outcome::Lost(_) => {
                if let Some(error) = error() {
                    self.after(SendOutcome::Failed(&error));
                }
            }
        }
    }

    /// The send is over. For asynchronous ones, and those that end in the middle of an attempt.
    pub(crate) fn over(&mut self, over: &Result<Option<SendResult>, Error>) {
        match over {
            Ok(Some(result)) => self.after(SendOutcome::Stored(result)),
            Ok(None) => self.after(SendOutcome::Handed),
            Err(error) => self.after(SendOutcome::Failed(error)),
        }
    }

    fn after(&mut self, outcome: SendOutcome<'_>) {
        let Some(open) = self.open.take() else { return };
        let context = self.context(&open, clock::now(), Some(outcome));
        self.call(|hook| hook.after(&context));
    }

    fn call(&self, call: impl Fn(&dyn SendHook)) {
        for hook in &self.shared.hooks.send {
            let _ = guarded("send hook", || call(&**hook));
        }
    }

    fn context<'c>(
        &'c self,
        open: &'c Open,
        now: Instant,
        outcome: Option<SendOutcome<'c>>,
    ) -> SendContext<'c> {
        let client = &self.shared.client;
        let config = &client.core().config;
        SendContext {
            send: self.explain.send(),
            attempt: self.attempt,
            mode: self.mode,
            group: self.shared.encode.group().as_str(),
            client_id: client.client_id(),
            namespace: config
                .namespace
                .as_deref()
                .or(config.namespace_v2.as_deref()),
            message: &self.prepared.message,
            message_type: MessageType::of(self.prepared.message.properties()),
            body_bytes: self.prepared.wire_body().len(),
            queue: &open.queue,
            broker_address: &open.address,
            begun_ms: open.begun_ms,
            elapsed: now.saturating_duration_since(open.begun),
            outcome,
        }
    }

    fn forbidden(&self, refused: Box<dyn std::error::Error + Send + Sync>) -> Error {
        let topic = self.prepared.topic.as_arc();
        Error::new(
            ErrorKind::Forbidden,
            format!("send to topic {topic:?}"),
            format!("a hook of this application forbids it: {refused}"),
        )
        .with_topic(Arc::clone(topic))
        .with_shared_source(refused.into())
    }
}

impl Drop for Calls<'_> {
    fn drop(&mut self) {
        self.after(SendOutcome::Dropped);
    }
}
