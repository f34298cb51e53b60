//! Where topics and brokers are: route data, cluster info.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::static_topic::TopicQueueMappingInfo;

/// Brokers and queues of a topic. Java: `TopicRouteData`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRouteData {
    /// Brokers that have the topic.
    pub broker_datas: Vec<BrokerData>,
    /// Filter servers by broker address; no longer used.
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// Order of queues of an ordered topic, `broker-a:4;broker-b:8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    /// Queues by broker name.
    pub queue_datas: Vec<QueueData>,
    /// Logical queues of a static topic by broker name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_by_broker: Option<BTreeMap<String, TopicQueueMappingInfo>>,
}

/// One broker with its replicas. Java: `BrokerData`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerData {
    /// Address by broker id; id 0 is the master.
    pub broker_addrs: BTreeMap<i64, String>,
    /// Name shared by master and replicas.
    pub broker_name: String,
    /// Cluster it belongs to.
    pub cluster: String,
    /// Whether a replica may act for a lost master.
    pub enable_acting_master: bool,
    /// Zone it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// The queues of a topic on one broker. Java: `QueueData`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueData {
    /// Broker name.
    pub broker_name: String,
    /// Permissions, see [`super::topics::perm`].
    pub perm: i32,
    /// Number of queues to read from.
    pub read_queue_nums: i32,
    /// 1 unit, 2 unit subscription.
    pub topic_sys_flag: i32,
    /// Number of queues to write to.
    pub write_queue_nums: i32,
}

/// All brokers and clusters. Java: `ClusterInfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInfo {
    /// Brokers by name.
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Broker names by cluster.
    pub cluster_addr_table: BTreeMap<String, Vec<String>>,
}

/// Master and replicas of one broker name. Java: `BrokerMemberGroup`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerMemberGroup {
    /// Address by broker id.
    pub broker_addrs: BTreeMap<i64, String>,
    /// Broker name.
    pub broker_name: String,
    /// Cluster.
    pub cluster: String,
}

/// Reply to the question for a member group. Java: `GetBrokerMemberGroupResponseBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetBrokerMemberGroupResponseBody {
    /// The group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_member_group: Option<BrokerMemberGroup>,
}

/// Key and value pairs: run-time information of a broker, configuration of a namespace. Java: `KVTable`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KVTable {
    /// The pairs.
    pub table: BTreeMap<String, String>,
}
