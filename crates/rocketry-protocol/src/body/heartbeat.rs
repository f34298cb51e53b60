//! Who is there: heartbeats, connections, members of groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{fastjson::java_enum, known};
use crate::{EncodeError, hash};

java_enum! {
    /// How a group gets its messages. Java: `ConsumeType`.
    ConsumeType {
        /// By pulling on the application's demand.
        Actively = "CONSUME_ACTIVELY",
        /// By pulling ahead and calling the application.
        Passively = "CONSUME_PASSIVELY",
        /// By popping: the broker hands out messages one receipt each.
        Pop = "CONSUME_POP",
    }
}

java_enum! {
    /// Who of a group gets a message. Java: `MessageModel`.
    MessageModel {
        /// Every client.
        Broadcasting = "BROADCASTING",
        /// One client.
        Clustering = "CLUSTERING",
        /// The client that subscribed to the lite topic.
        LiteSelective = "LITE_SELECTIVE",
    }
}

java_enum! {
    /// Where a group without offset begins. Java: `ConsumeFromWhere`.
    ConsumeFromWhere {
        /// At the newest message.
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        /// Deprecated: as `LastOffset`.
        LastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// Deprecated: as `LastOffset`.
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        /// Deprecated: as `LastOffset`.
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
        /// At the oldest message.
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        /// At a point in time.
        Timestamp = "CONSUME_FROM_TIMESTAMP",
    }
}

/// What a client tells every broker about once in 30 s. Java: `HeartbeatData`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatData {
    /// Client id.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Consumer groups.
    pub consumer_data_set: Vec<ConsumerData>,
    /// Tells whether subscriptions changed; 0 in heartbeats of version 1.
    pub heartbeat_fingerprint: i32,
    /// Producer groups.
    pub producer_data_set: Vec<ProducerData>,
    /// Subscriptions are left out because the broker has them.
    pub without_sub: bool,
}

impl HeartbeatData {
    /// The fingerprint of the subscriptions: Java's hash of the text without client id, versions and fingerprint. Two heartbeats
    /// of one client whose sets are in the same order have the same. Java: `HeartbeatData.computeHeartbeatFingerprint`.
    ///
    /// # Errors
    /// None in practice, see [`super::encode`].
    pub fn fingerprint(&self) -> Result<i32, EncodeError> {
        let mut bare = self.clone();
        bare.client_id.clear();
        bare.heartbeat_fingerprint = 0;
        bare.without_sub = false;
        for subscription in bare
            .consumer_data_set
            .iter_mut()
            .flat_map(|group| &mut group.subscription_data_set)
        {
            subscription.sub_version = 0;
        }
        let text = super::encode(&bare)?;
        Ok(hash::java_string_hash(&String::from_utf8_lossy(&text)))
    }
}

/// A producer group of a client. Java: `ProducerData`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerData {
    /// Group.
    pub group_name: String,
}

/// A consumer group of a client. Java: `ConsumerData`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerData {
    /// Where it begins without offset.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub consume_from_where: Option<ConsumeFromWhere>,
    /// How it gets messages.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub consume_type: Option<ConsumeType>,
    /// Group.
    pub group_name: String,
    /// Who of it gets a message.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub message_model: Option<MessageModel>,
    /// What it subscribes to.
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Unit mode.
    pub unit_mode: bool,
}

/// A subscription. Java: `SubscriptionData`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionData {
    /// Filter by class; no longer used.
    pub class_filter_mode: bool,
    /// Java hashes of the tags.
    pub code_set: Vec<i32>,
    /// `TAG` or `SQL92`.
    pub expression_type: String,
    /// The expression: `*`, `TagA || TagB`, or SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_string: Option<String>,
    /// Version, ms since 1970: the newest counts.
    pub sub_version: i64,
    /// The tags.
    pub tags_set: Vec<String>,
    /// Topic.
    pub topic: String,
}

impl Default for SubscriptionData {
    fn default() -> Self {
        Self {
            class_filter_mode: false,
            code_set: Vec::new(),
            expression_type: TAG.to_owned(),
            sub_string: None,
            sub_version: 0,
            tags_set: Vec::new(),
            topic: String::new(),
        }
    }
}

impl SubscriptionData {
    /// A subscription by tags: `*` or nothing for all, else tags joined by `||`. Java: `FilterAPI.buildSubscriptionData`.
    pub fn by_tags(topic: impl Into<String>, expression: &str, version_ms: i64) -> Self {
        let mut subscription = Self {
            topic: topic.into(),
            sub_version: version_ms,
            ..Self::default()
        };
        if expression.is_empty() || expression == "*" {
            subscription.sub_string = Some("*".to_owned());
            return subscription;
        }
        for tag in expression
            .split("||")
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
        {
            if !subscription.tags_set.iter().any(|known| known == tag) {
                subscription.tags_set.push(tag.to_owned());
                subscription.code_set.push(hash::java_string_hash(tag));
            }
        }
        subscription.sub_string = Some(expression.to_owned());
        subscription
    }
    /// A subscription by an SQL expression over properties.
    pub fn by_sql(
        topic: impl Into<String>,
        expression: impl Into<String>,
        version_ms: i64,
    ) -> Self {
        Self {
            topic: topic.into(),
            expression_type: SQL92.to_owned(),
            sub_string: Some(expression.into()),
            sub_version: version_ms,
            ..Self::default()
        }
    }
}

/// Expression type of tags. Java: `ExpressionType.TAG`.
pub const TAG: &str = "TAG";
/// Expression type of SQL. Java: `ExpressionType.SQL92`.
pub const SQL92: &str = "SQL92";

/// One connected client. Java: `Connection`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connection {
    /// `ip:port`.
    pub client_addr: String,
    /// Client id.
    pub client_id: String,
    /// Language code by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Protocol version.
    pub version: i32,
}

/// The clients of a consumer group. Java: `ConsumerConnection`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerConnection {
    /// Connections.
    pub connection_set: Vec<Connection>,
    /// Where the group begins without offset.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub consume_from_where: Option<ConsumeFromWhere>,
    /// How the group gets messages.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub consume_type: Option<ConsumeType>,
    /// Who of the group gets a message.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub message_model: Option<MessageModel>,
    /// Subscriptions by topic.
    pub subscription_table: BTreeMap<String, SubscriptionData>,
}

/// The clients of a producer group. Java: `ProducerConnection`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnection {
    /// Connections.
    pub connection_set: Vec<Connection>,
}

/// All producers of a broker. Java: `ProducerTableInfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProducerTableInfo {
    /// Producers by group.
    pub data: BTreeMap<String, Vec<ProducerInfo>>,
}

/// One producer. Java: `ProducerInfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerInfo {
    /// Client id.
    pub client_id: String,
    /// Language code by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Last heartbeat, ms since 1970.
    pub last_update_timestamp: i64,
    /// Its address; Java writes it with a leading slash.
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    /// Protocol version.
    pub version: i32,
}

/// Client ids of a consumer group. Java: `GetConsumerListByGroupResponseBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetConsumerListByGroupResponseBody {
    /// The ids.
    pub consumer_id_list: Vec<String>,
}

/// Asks a broker whether it takes a subscription. Java: `CheckClientRequestBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckClientRequestBody {
    /// Client id.
    pub client_id: String,
    /// Group.
    pub group: String,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}

/// The subscription of a group to a topic. Java: `QuerySubscriptionResponseBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QuerySubscriptionResponseBody {
    /// Group.
    pub group: String,
    /// The subscription, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
    /// Topic.
    pub topic: String,
}
