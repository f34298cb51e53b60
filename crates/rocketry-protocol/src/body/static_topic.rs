//! Static topics: logical queues that are mapped to queues of brokers. A single node never fills these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::topics::{TopicConfig, TopicFilterType};

/// Logical queues that a broker serves now. Java: `TopicQueueMappingInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappingInfo {
    /// Broker name.
    pub bname: String,
    /// Physical queue by logical queue.
    pub curr_id_map: BTreeMap<i32, i32>,
    /// Whether the mapping is out of date.
    pub dirty: bool,
    /// Version of the mapping, ms since 1970.
    pub epoch: i64,
    /// Scope of the mapping.
    pub scope: String,
    /// Topic.
    pub topic: String,
    /// Number of logical queues.
    pub total_queues: i32,
}

impl Default for TopicQueueMappingInfo {
    fn default() -> Self {
        Self {
            bname: String::new(),
            curr_id_map: BTreeMap::new(),
            dirty: false,
            epoch: 0,
            scope: GLOBAL_SCOPE.to_owned(),
            topic: String::new(),
            total_queues: 0,
        }
    }
}

/// The mapping with its history. Java: `TopicQueueMappingDetail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappingDetail {
    /// Broker name.
    pub bname: String,
    /// Physical queue by logical queue.
    pub curr_id_map: BTreeMap<i32, i32>,
    /// Whether the mapping is out of date.
    pub dirty: bool,
    /// Version of the mapping, ms since 1970.
    pub epoch: i64,
    /// Where each logical queue was, oldest first.
    pub hosted_queues: BTreeMap<i32, Vec<LogicQueueMappingItem>>,
    /// Scope of the mapping.
    pub scope: String,
    /// Topic.
    pub topic: String,
    /// Number of logical queues.
    pub total_queues: i32,
}

impl Default for TopicQueueMappingDetail {
    fn default() -> Self {
        Self {
            bname: String::new(),
            curr_id_map: BTreeMap::new(),
            dirty: false,
            epoch: 0,
            hosted_queues: BTreeMap::new(),
            scope: GLOBAL_SCOPE.to_owned(),
            topic: String::new(),
            total_queues: 0,
        }
    }
}

/// A stretch of a logical queue on one broker. Java: `LogicQueueMappingItem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogicQueueMappingItem {
    /// Broker name.
    pub bname: String,
    /// End of the stretch in the physical queue, -1 while it is open.
    pub end_offset: i64,
    /// Generation.
    #[serde(rename = "gen")]
    pub generation: i32,
    /// Logical offset of the stretch's start.
    pub logic_offset: i64,
    /// Physical queue.
    pub queue_id: i32,
    /// Start of the stretch in the physical queue.
    pub start_offset: i64,
    /// End in time, ms since 1970, -1 while it is open.
    pub time_of_end: i64,
    /// Start in time, ms since 1970, -1 when not known.
    pub time_of_start: i64,
}

impl Default for LogicQueueMappingItem {
    fn default() -> Self {
        Self {
            bname: String::new(),
            end_offset: -1,
            generation: 0,
            logic_offset: 0,
            queue_id: 0,
            start_offset: 0,
            time_of_end: -1,
            time_of_start: -1,
        }
    }
}

/// A topic's settings with its mapping. Java: `TopicConfigAndQueueMapping`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigAndQueueMapping {
    /// See [`TopicConfig`].
    pub attributes: BTreeMap<String, String>,
    /// The mapping of a static topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping_detail: Option<TopicQueueMappingDetail>,
    /// See [`TopicConfig`].
    pub order: bool,
    /// See [`TopicConfig`].
    pub perm: i32,
    /// See [`TopicConfig`].
    pub read_queue_nums: i32,
    /// See [`TopicConfig`].
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::known"
    )]
    pub topic_filter_type: Option<TopicFilterType>,
    /// See [`TopicConfig`].
    pub topic_name: String,
    /// See [`TopicConfig`].
    pub topic_sys_flag: i32,
    /// See [`TopicConfig`].
    pub write_queue_nums: i32,
}

impl Default for TopicConfigAndQueueMapping {
    fn default() -> Self {
        Self::from(TopicConfig::default())
    }
}

impl From<TopicConfig> for TopicConfigAndQueueMapping {
    fn from(config: TopicConfig) -> Self {
        Self {
            attributes: config.attributes,
            mapping_detail: None,
            order: config.order,
            perm: config.perm,
            read_queue_nums: config.read_queue_nums,
            topic_filter_type: config.topic_filter_type,
            topic_name: config.topic_name,
            topic_sys_flag: config.topic_sys_flag,
            write_queue_nums: config.write_queue_nums,
        }
    }
}

/// Java: `MixAll.METADATA_SCOPE_GLOBAL`.
const GLOBAL_SCOPE: &str = "__global__";
