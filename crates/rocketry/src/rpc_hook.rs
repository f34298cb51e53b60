//! Hooks around every request of a client.

use std::{fmt, sync::Arc};

use rocketry_protocol::RemotingCommand;

use crate::guard::guarded;

/// Called around every request that a client sends: messages, one-way ones included, heartbeats, route queries, administration.
/// Java: `RPCHook`, which also runs around requests that brokers send to the client.
///
/// Runs on the task that sends the request, in the order in which hooks were added: it must be quick and must not block. A hook that
/// panics is logged, and the request goes on.
pub trait RpcHook: Send + Sync + 'static {
    /// The request is about to be sent to `address`. Fields that are added here are signed along with the rest; the connection
    /// chooses the opaque later.
    fn before(&self, address: &str, request: &mut RemotingCommand) {
        let _ = (address, request);
    }
    /// The response has arrived. Not called for one-way requests, nor without a response.
    fn after(&self, address: &str, request: &RemotingCommand, response: &RemotingCommand) {
        let _ = (address, request, response);
    }
}

/// The hooks of one client.
#[derive(Clone, Default)]
pub(crate) struct RpcHooks(Vec<Arc<dyn RpcHook>>);

impl RpcHooks {
    pub(crate) fn add(&mut self, hook: impl RpcHook) {
        self.0.push(Arc::new(hook));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn before(&self, address: &str, request: &mut RemotingCommand) {
        for hook in &self.0 {
            let _ = guarded("RPC hook", || hook.before(address, request));
        }
    }

    /// The request, kept for [`RpcHooks::after`] if anybody wants to see it there.
    pub(crate) fn keep(&self, request: &RemotingCommand) -> Option<RemotingCommand> {
        (!self.0.is_empty()).then(|| request.clone())
    }

    pub(crate) fn after(
        &self,
        address: &str,
        request: Option<RemotingCommand>,
        response: &RemotingCommand,
    ) {
        let Some(request) = request else { return };
        for hook in &self.0 {
            let _ = guarded("RPC hook", || hook.after(address, &request, response));
        }
    }
}

impl fmt::Debug for RpcHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RpcHooks({})", self.0.len())
    }
}
