//! Subscriptions to lite topics.

use serde::{Deserialize, Serialize};

use super::{fastjson::java_enum, known};

/// Changes of subscriptions. Java: `LiteSubscriptionCtlRequestBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LiteSubscriptionCtlRequestBody {
    /// The changes.
    pub subscription_set: Vec<LiteSubscriptionDTO>,
}

java_enum! {
    /// What changes. Java: `LiteSubscriptionAction`.
    LiteSubscriptionAction {
        /// Some topics are added.
        PartialAdd = "PARTIAL_ADD",
        /// Some topics are removed.
        PartialRemove = "PARTIAL_REMOVE",
        /// The topics are these.
        CompleteAdd = "COMPLETE_ADD",
        /// All topics are removed.
        CompleteRemove = "COMPLETE_REMOVE",
    }
}

/// One change. Java: `LiteSubscriptionDTO`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LiteSubscriptionDTO {
    /// What changes.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub action: Option<LiteSubscriptionAction>,
    /// Client id.
    pub client_id: String,
    /// Group.
    pub group: String,
    /// Lite topics.
    pub lite_topic_set: Vec<String>,
    /// Where to begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_option: Option<OffsetOption>,
    /// Topic above them.
    pub topic: String,
    /// Version of the subscription.
    pub version: i64,
}

java_enum! {
    /// Kind of an [`OffsetOption`]. Java: `OffsetOption.Type`.
    OffsetOptionType {
        /// A policy by number.
        Policy = "POLICY",
        /// An offset.
        Offset = "OFFSET",
        /// A number of messages before the end.
        TailN = "TAIL_N",
        /// A time, ms since 1970.
        Timestamp = "TIMESTAMP",
    }
}

/// Where a subscription begins. Java: `OffsetOption`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OffsetOption {
    /// What the value is.
    #[serde(
        rename = "type",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "known"
    )]
    pub kind: Option<OffsetOptionType>,
    /// The value.
    pub value: i64,
}
