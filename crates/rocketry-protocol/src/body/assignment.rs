//! Which queues a client gets, and how it reads them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Queue, fastjson::java_enum, heartbeat::MessageModel, known};

java_enum! {
    /// How a group reads a topic. Java: `MessageRequestMode`.
    MessageRequestMode {
        /// By pulling.
        Pull = "PULL",
        /// By popping.
        Pop = "POP",
    }
}

/// Asks for the queues of a client. Java: `QueryAssignmentRequestBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryAssignmentRequestBody {
    /// Client id.
    pub client_id: String,
    /// Group.
    pub consumer_group: String,
    /// Who of the group gets a message.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub message_model: Option<MessageModel>,
    /// `AVG` or `AVG_BY_CIRCLE`.
    pub strategy_name: String,
    /// Topic.
    pub topic: String,
}

/// The queues of a client. Java: `QueryAssignmentResponseBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryAssignmentResponseBody {
    /// The queues; none at all: the broker does not assign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue_assignments: Option<Vec<MessageQueueAssignment>>,
}

/// One queue of a client. Java: `MessageQueueAssignment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueueAssignment {
    /// Further values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachments: Option<BTreeMap<String, String>>,
    /// The queue; its number is -1 for all queues of the broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue: Option<Queue>,
    /// How to read it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub mode: Option<MessageRequestMode>,
}

impl Default for MessageQueueAssignment {
    fn default() -> Self {
        Self {
            attachments: None,
            message_queue: None,
            mode: Some(MessageRequestMode::Pull),
        }
    }
}

/// How a group is to read a topic. Java: `SetMessageRequestModeRequestBody`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetMessageRequestModeRequestBody {
    /// Group.
    pub consumer_group: String,
    /// How.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub mode: Option<MessageRequestMode>,
    /// Number of clients that share a queue; 0: all.
    pub pop_share_queue_num: i32,
    /// Topic.
    pub topic: String,
}

impl Default for SetMessageRequestModeRequestBody {
    fn default() -> Self {
        Self {
            consumer_group: String::new(),
            mode: Some(MessageRequestMode::Pull),
            pop_share_queue_num: 0,
            topic: String::new(),
        }
    }
}

/// How all groups read; also the file `messageRequestMode.json`. Java: `MessageRequestModeSerializeWrapper`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageRequestModeSerializeWrapper {
    /// By topic and group.
    pub message_request_mode_map:
        BTreeMap<String, BTreeMap<String, SetMessageRequestModeRequestBody>>,
}
