//! Consumer groups and their settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DataVersion, fastjson::java_enum};

/// Settings of a consumer group on one broker. Java: `SubscriptionGroupConfig`.
#[allow(clippy::struct_excessive_bools, reason = "Java's members, one by one")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupConfig {
    /// Further settings.
    pub attributes: BTreeMap<String, String>,
    /// Broker id to consume from, 0 the master.
    pub broker_id: i64,
    /// Whether every client may get every message.
    pub consume_broadcast_enable: bool,
    /// Whether the group may consume.
    pub consume_enable: bool,
    /// Whether a new group may start at the oldest message.
    pub consume_from_min_enable: bool,
    /// Whether pop keeps the order of a queue.
    pub consume_message_orderly: bool,
    /// Minutes after which a message counts as not consumed.
    pub consume_timeout_minute: i32,
    /// Group.
    pub group_name: String,
    /// How long a message waits before it is consumed again.
    pub group_retry_policy: GroupRetryPolicy,
    /// System flag of the group.
    pub group_sys_flag: i32,
    /// Whether clients are told when others come and go.
    pub notify_consumer_ids_changed_enable: bool,
    /// How often a message is consumed again before it becomes a dead letter.
    pub retry_max_times: i32,
    /// Number of queues of the retry topic.
    pub retry_queue_nums: i32,
    /// What the group subscribes to, where that is fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data_set: Option<Vec<SimpleSubscriptionData>>,
    /// Broker id to consume from when the group is far behind.
    pub which_broker_when_consume_slowly: i64,
}

impl Default for SubscriptionGroupConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: GroupRetryPolicy::default(),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            subscription_data_set: None,
            which_broker_when_consume_slowly: 1,
        }
    }
}

impl SubscriptionGroupConfig {
    /// A group with Java's defaults.
    pub fn new(group_name: impl Into<String>) -> Self {
        Self {
            group_name: group_name.into(),
            ..Self::default()
        }
    }
}

/// A subscription that is fixed in a group's settings. Java: `SimpleSubscriptionData`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SimpleSubscriptionData {
    /// Filter expression.
    pub expression: String,
    /// `TAG` or `SQL92`.
    pub expression_type: String,
    /// Topic.
    pub topic: String,
    /// Version of the subscription.
    pub version: i64,
}

java_enum! {
    /// Kind of a [`GroupRetryPolicy`]. Java: `GroupRetryPolicyType`.
    GroupRetryPolicyType {
        /// Waits that grow by a factor.
        Exponential = "EXPONENTIAL",
        /// A list of waits.
        Customized = "CUSTOMIZED",
    }
}

/// How long a message waits before it is consumed again. Java: `GroupRetryPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupRetryPolicy {
    /// The list of a customized policy; none: 1 5 10 30 60 120 .. 7200 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customized_retry_policy: Option<CustomizedRetryPolicy>,
    /// The numbers of an exponential policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponential_retry_policy: Option<ExponentialRetryPolicy>,
    /// Which of the two counts.
    #[serde(
        rename = "type",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::known"
    )]
    pub kind: Option<GroupRetryPolicyType>,
}

impl Default for GroupRetryPolicy {
    fn default() -> Self {
        Self {
            customized_retry_policy: None,
            exponential_retry_policy: None,
            kind: Some(GroupRetryPolicyType::Customized),
        }
    }
}

/// Waits one after the other. Java: `CustomizedRetryPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomizedRetryPolicy {
    /// The waits in ms.
    pub next: Vec<i64>,
}

impl Default for CustomizedRetryPolicy {
    fn default() -> Self {
        let seconds = [
            1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200,
        ];
        Self {
            next: seconds.map(|seconds| seconds * 1000).to_vec(),
        }
    }
}

/// Waits that grow by a factor. Java: `ExponentialRetryPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExponentialRetryPolicy {
    /// First wait in ms.
    pub initial: i64,
    /// Longest wait in ms.
    pub max: i64,
    /// Factor from wait to wait.
    pub multiplier: i64,
}

impl Default for ExponentialRetryPolicy {
    fn default() -> Self {
        Self {
            initial: 5000,
            max: 7_200_000,
            multiplier: 2,
        }
    }
}

/// All groups of a broker; also the file `subscriptionGroup.json`. Java: `SubscriptionGroupWrapper`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Forbidden operations by group and topic, as bits.
    pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
    /// Settings by group.
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}

/// Groups to create. Java: `SubscriptionGroupList`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupList {
    /// The groups.
    pub group_config_list: Vec<SubscriptionGroupConfig>,
}

/// Whether a group may read a topic. Java: `GroupForbidden`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupForbidden {
    /// Group.
    pub group: String,
    /// Whether it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readable: Option<bool>,
    /// Topic.
    pub topic: String,
}

/// Names of groups. Java: `GroupList`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupList {
    /// The names.
    pub group_list: Vec<String>,
}
