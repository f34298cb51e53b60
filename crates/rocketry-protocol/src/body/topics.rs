//! Topics and their settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    DataVersion,
    fastjson::java_enum,
    static_topic::{TopicQueueMappingDetail, TopicQueueMappingInfo},
};
use crate::DecodeError;

/// Permission bits of a topic. Java: `PermName`.
pub mod perm {
    /// New topics may take over this topic's settings.
    pub const INHERIT: i32 = 1;
    /// Messages may be sent.
    pub const WRITE: i32 = 2;
    /// Messages may be consumed.
    pub const READ: i32 = 4;
    /// Messages have priorities.
    pub const PRIORITY: i32 = 8;
}

java_enum! {
    /// Whether messages of a topic have one tag or several. Java: `TopicFilterType`.
    TopicFilterType {
        /// One.
        SingleTag = "SINGLE_TAG",
        /// Several.
        MultiTag = "MULTI_TAG",
    }
}

/// Settings of a topic on one broker. Java: `TopicConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// Further settings, for instance `message.type`.
    pub attributes: BTreeMap<String, String>,
    /// Whether the topic is listed in the order configuration of the name servers.
    pub order: bool,
    /// Permissions, see [`perm`].
    pub perm: i32,
    /// Number of queues to read from.
    pub read_queue_nums: i32,
    /// One tag or several; `None` is a type that this version does not know.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::known"
    )]
    pub topic_filter_type: Option<TopicFilterType>,
    /// Topic.
    pub topic_name: String,
    /// 1 unit, 2 unit subscription.
    pub topic_sys_flag: i32,
    /// Number of queues to write to.
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            order: false,
            perm: perm::READ | perm::WRITE,
            read_queue_nums: 16,
            topic_filter_type: Some(TopicFilterType::SingleTag),
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

impl TopicConfig {
    /// A topic with as many queues to read from as to write to, readable and writable.
    pub fn new(topic_name: impl Into<String>, queues: i32) -> Self {
        Self {
            topic_name: topic_name.into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            ..Self::default()
        }
    }
    /// The text form inside a compressed registration; it leaves out `order` and `topic_sys_flag`. Java: `TopicConfig.encode`.
    pub fn to_text(&self) -> String {
        let attributes = super::encode(&self.attributes).unwrap_or_default();
        format!(
            "{} {} {} {} {} {}",
            self.topic_name,
            self.read_queue_nums,
            self.write_queue_nums,
            self.perm,
            self.topic_filter_type.unwrap_or(TopicFilterType::SingleTag),
            String::from_utf8_lossy(&attributes)
        )
    }
    /// Reads the text form. Java: `TopicConfig.decode`.
    ///
    /// # Errors
    /// Fewer than five parts, or parts that are not numbers where numbers belong.
    pub fn from_text(text: &str) -> Result<Self, DecodeError> {
        let malformed = |reason: &str| DecodeError::Malformed {
            what: "topic settings",
            reason: format!("{text:?}: {reason}"),
        };
        let mut parts = text.splitn(6, ' ');
        let mut part = || {
            parts
                .next()
                .ok_or_else(|| malformed("fewer than five parts"))
        };
        let number = |part: &str| {
            part.parse()
                .map_err(|_| malformed("not a number where one belongs"))
        };
        let topic_name = part()?.to_owned();
        let read_queue_nums = number(part()?)?;
        let write_queue_nums = number(part()?)?;
        let perm = number(part()?)?;
        let topic_filter_type = part()?.parse().ok();
        let attributes = match parts.next() {
            Some(attributes) => super::decode(attributes.as_bytes())?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            attributes,
            perm,
            read_queue_nums,
            topic_filter_type,
            topic_name,
            write_queue_nums,
            ..Self::default()
        })
    }
}

/// All topics of a broker; also the file `topics.json`. Java: `TopicConfigSerializeWrapper`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigSerializeWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Settings by topic.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
}

/// All topics of a broker with the mappings of static ones. Java: `TopicConfigAndMappingSerializeWrapper`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigAndMappingSerializeWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Version of the mappings.
    pub mapping_data_version: DataVersion,
    /// Settings by topic.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Mappings with their history by topic.
    pub topic_queue_mapping_detail_map: BTreeMap<String, TopicQueueMappingDetail>,
    /// Mappings by topic.
    pub topic_queue_mapping_info_map: BTreeMap<String, TopicQueueMappingInfo>,
}

/// Topics to create. Java: `CreateTopicListRequestBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateTopicListRequestBody {
    /// The topics.
    pub topic_config_list: Vec<TopicConfig>,
}

/// Names of topics. Java: `TopicList`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    /// The broker that answered, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    /// The names.
    pub topic_list: Vec<String>,
}
