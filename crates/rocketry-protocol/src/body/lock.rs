//! Locks on queues, for consumers that keep their order.

use serde::{Deserialize, Serialize};

use super::Queue;

/// Asks for locks. Java: `LockBatchRequestBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatchRequestBody {
    /// Who wants them.
    pub client_id: String,
    /// Group.
    pub consumer_group: String,
    /// Queues.
    pub mq_set: Vec<Queue>,
    /// Not on the broker's replicas.
    pub only_this_broker: bool,
}

/// Gives locks back. Java: `UnlockBatchRequestBody`.
pub type UnlockBatchRequestBody = LockBatchRequestBody;

/// The queues that were locked. Java: `LockBatchResponseBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockBatchResponseBody {
    /// The queues.
    #[serde(rename = "lockOKMQSet")]
    pub lock_ok_mq_set: Vec<Queue>,
}
