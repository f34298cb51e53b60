//! JSON bodies that Java wrote and read.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "part of tests, which fail by panicking"
)]

mod support;

use std::{collections::BTreeMap, error::Error, fmt};

use rocketry_protocol::{
    body::{
        self, access, assignment, groups, heartbeat, lite, lock, offsets, pop, registration, route,
        running_info, static_topic, stats, topics,
    },
    hash,
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use support::{for_each_case, hex, same, text_or_empty, vectors};

type Outcome = Result<(), Box<dyn Error>>;

/// Calls a function with the type that Java calls by this name as its parameter.
macro_rules! with_type {
    ($name:expr, $function:ident($($argument:expr),*)) => {
        match $name {
            "AclInfo" => $function::<access::AclInfo>($($argument),*),
            "BatchAckMessageRequestBody" => $function::<pop::BatchAckMessageRequestBody>($($argument),*),
            "BrokerMemberGroup" => $function::<route::BrokerMemberGroup>($($argument),*),
            "DelayOffsetSerializeWrapper" => $function::<offsets::DelayOffsetSerializeWrapper>($($argument),*),
            "MessageQueue" => $function::<body::Queue>($($argument),*),
            "QueueData" => $function::<route::QueueData>($($argument),*),
            "SubscriptionData" => $function::<heartbeat::SubscriptionData>($($argument),*),
            "TopicQueueMappingInfo" => $function::<static_topic::TopicQueueMappingInfo>($($argument),*),
            "BrokerData" => $function::<route::BrokerData>($($argument),*),
            "BrokerStatsData" => $function::<stats::BrokerStatsData>($($argument),*),
            "CheckClientRequestBody" => $function::<heartbeat::CheckClientRequestBody>($($argument),*),
            "ClusterInfo" => $function::<route::ClusterInfo>($($argument),*),
            "ConsumeMessageDirectlyResult" => $function::<running_info::ConsumeMessageDirectlyResult>($($argument),*),
            "ConsumeStats" => $function::<offsets::ConsumeStats>($($argument),*),
            "ConsumeStatsList" => $function::<offsets::ConsumeStatsList>($($argument),*),
            "ConsumerConnection" => $function::<heartbeat::ConsumerConnection>($($argument),*),
            "ConsumerOffsetSerializeWrapper" => $function::<offsets::ConsumerOffsetSerializeWrapper>($($argument),*),
            "ConsumerRunningInfo" => $function::<running_info::ConsumerRunningInfo>($($argument),*),
            "CreateTopicListRequestBody" => $function::<topics::CreateTopicListRequestBody>($($argument),*),
            "DataVersion" => $function::<body::DataVersion>($($argument),*),
            "GetBrokerMemberGroupResponseBody" => $function::<route::GetBrokerMemberGroupResponseBody>($($argument),*),
            "GetConsumerListByGroupResponseBody" => $function::<heartbeat::GetConsumerListByGroupResponseBody>($($argument),*),
            "GetConsumerStatusBody" => $function::<offsets::GetConsumerStatusBody>($($argument),*),
            "GroupForbidden" => $function::<groups::GroupForbidden>($($argument),*),
            "GroupList" => $function::<groups::GroupList>($($argument),*),
            "HeartbeatData" => $function::<heartbeat::HeartbeatData>($($argument),*),
            "KVTable" => $function::<route::KVTable>($($argument),*),
            "LiteSubscriptionCtlRequestBody" => $function::<lite::LiteSubscriptionCtlRequestBody>($($argument),*),
            "LockBatchRequestBody" => $function::<lock::LockBatchRequestBody>($($argument),*),
            "LockBatchResponseBody" => $function::<lock::LockBatchResponseBody>($($argument),*),
            "MessageRequestModeSerializeWrapper" => $function::<assignment::MessageRequestModeSerializeWrapper>($($argument),*),
            "OffsetMovedEvent" => $function::<offsets::OffsetMovedEvent>($($argument),*),
            "ProducerConnection" => $function::<heartbeat::ProducerConnection>($($argument),*),
            "ProducerTableInfo" => $function::<heartbeat::ProducerTableInfo>($($argument),*),
            "QueryAssignmentRequestBody" => $function::<assignment::QueryAssignmentRequestBody>($($argument),*),
            "QueryAssignmentResponseBody" => $function::<assignment::QueryAssignmentResponseBody>($($argument),*),
            "QueryConsumeQueueResponseBody" => $function::<stats::QueryConsumeQueueResponseBody>($($argument),*),
            "QueryConsumeTimeSpanBody" => $function::<offsets::QueryConsumeTimeSpanBody>($($argument),*),
            "QueryCorrectionOffsetBody" => $function::<offsets::QueryCorrectionOffsetBody>($($argument),*),
            "QuerySubscriptionResponseBody" => $function::<heartbeat::QuerySubscriptionResponseBody>($($argument),*),
            "RegisterBrokerBody" => $function::<registration::RegisterBrokerBody>($($argument),*),
            "ResetOffsetBody" => $function::<offsets::ResetOffsetBody>($($argument),*),
            "ResetOffsetBodyForC" => $function::<offsets::ResetOffsetBodyForC>($($argument),*),
            "SetMessageRequestModeRequestBody" => $function::<assignment::SetMessageRequestModeRequestBody>($($argument),*),
            "SubscriptionGroupConfig" => $function::<groups::SubscriptionGroupConfig>($($argument),*),
            "SubscriptionGroupList" => $function::<groups::SubscriptionGroupList>($($argument),*),
            "SubscriptionGroupWrapper" => $function::<groups::SubscriptionGroupWrapper>($($argument),*),
            "TopicConfig" => $function::<topics::TopicConfig>($($argument),*),
            "TopicConfigAndMappingSerializeWrapper" => $function::<topics::TopicConfigAndMappingSerializeWrapper>($($argument),*),
            "TopicConfigAndQueueMapping" => $function::<static_topic::TopicConfigAndQueueMapping>($($argument),*),
            "TopicConfigSerializeWrapper" => $function::<topics::TopicConfigSerializeWrapper>($($argument),*),
            "TopicList" => $function::<topics::TopicList>($($argument),*),
            "TopicQueueMappingDetail" => $function::<static_topic::TopicQueueMappingDetail>($($argument),*),
            "TopicRouteData" => $function::<route::TopicRouteData>($($argument),*),
            "TopicStatsTable" => $function::<offsets::TopicStatsTable>($($argument),*),
            "UnlockBatchRequestBody" => $function::<lock::UnlockBatchRequestBody>($($argument),*),
            "UserInfo" => $function::<access::UserInfo>($($argument),*),
            other => Err(format!("no type for {other}").into()),
        }
    };
}

#[test]
fn bodies_are_read_and_written_as_in_java() {
    let Some(file) = vectors("bodies.json") else {
        return;
    };
    for_each_case(&file, "bodies", |case| {
        let text = text_or_empty(&case["text"]);
        let tree: Tree = body::decode(text.as_bytes())?;
        same("normalized", tree.normalized(), sorted(&case["normalized"]))?;
        with_type!(text_or_empty(&case["type"]), round_trip(text, &tree))
    });
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(
    text: &str,
    tree: &Tree,
) -> Outcome {
    let value: T = body::decode(text.as_bytes())?;
    let mut written = body::encode(&value)?;
    if body::decode::<Tree>(&written)? != *tree {
        // a route for a client that asked for standard JSON: its numbers as keys are quoted
        written = body::encode_standard(&value)?;
    }
    same("written", &body::decode::<Tree>(&written)?, tree)?;
    same("no blanks or other waste", written.len(), text.len())?;
    for bytes in [
        body::encode(&value)?.to_vec(),
        body::encode_standard(&value)?.to_vec(),
        body::encode_pretty(&value)?,
    ] {
        // queues as keys stay objects in every style, so that all of them read back
        same("read back", &body::decode::<T>(&bytes)?, &value)?;
    }
    Ok(())
}

#[test]
fn odd_texts_are_read_as_in_java() {
    let Some(file) = vectors("bodies.json") else {
        return;
    };
    for_each_case(&file, "decode_only", |case| {
        let text = text_or_empty(&case["text"]);
        let kind = text_or_empty(&case["type"]);
        if case["exception"].is_string() {
            return with_type!(kind, fails(text));
        }
        let ours = with_type!(kind, written(text))?;
        same_as_decoded(kind, &ours, &case["decoded"])
    });
}

fn fails<T: DeserializeOwned>(text: &str) -> Outcome {
    same("error", body::decode::<T>(text.as_bytes()).is_err(), true)
}

fn written<T: Serialize + DeserializeOwned>(text: &str) -> Result<Value, Box<dyn Error>> {
    let value: T = body::decode(text.as_bytes())?;
    Ok(body::decode::<Tree>(&body::encode(&value)?)?.normalized())
}

/// `decoded` says in its own way what Java read: a whole object as text, or parts of it under names of their own.
fn same_as_decoded(kind: &str, ours: &Value, golden: &Value) -> Outcome {
    match (kind, golden) {
        (_, Value::String(text)) => {
            within(&body::decode::<Tree>(text.as_bytes())?.normalized(), ours)
        }
        ("HeartbeatData", Value::Bool(without_sub)) => same(
            "withoutSub",
            ours["withoutSub"].as_bool(),
            Some(*without_sub),
        ),
        ("HeartbeatData", Value::Object(parts)) => {
            let consumer = &ours["consumerDataSet"][0];
            for (name, golden) in parts {
                match name.as_str() {
                    "consume_type" => same(name, &consumer["consumeType"], golden)?,
                    "message_model" => same(name, &consumer["messageModel"], golden)?,
                    "from" => same(name, &consumer["consumeFromWhere"], golden)?,
                    "unit_mode" => same(name, &consumer["unitMode"], golden)?,
                    "subscriptions" => same(
                        name,
                        count(&consumer["subscriptionDataSet"]),
                        golden.as_u64(),
                    )?,
                    // Java's null set is an empty one here
                    "consumers" => same(
                        name,
                        count(&ours["consumerDataSet"]),
                        golden.as_u64().or(Some(0)),
                    )?,
                    "producers" => same(
                        name,
                        count(&ours["producerDataSet"]),
                        golden.as_u64().or(Some(0)),
                    )?,
                    other => return Err(format!("unknown part {other}").into()),
                }
            }
            Ok(())
        }
        ("LockBatchRequestBody", golden) => {
            same(
                "group",
                text_or_empty(&ours["consumerGroup"]),
                text_or_empty(&golden["group"]),
            )?;
            same("queues", count(&ours["mqSet"]), golden["mqs"].as_u64())
        }
        ("BatchAckMessageRequestBody", golden) => {
            let ack = &ours["acks"][0];
            for (name, golden) in golden.as_object().ok_or("no parts")? {
                match name.as_str() {
                    "group" => same(name, &ack["c"], golden)?,
                    "start" => same(name, &ack["so"], golden)?,
                    "bits" => {
                        let bits: Option<pop::BitSet> = serde_json::from_value(ack["b"].clone())?;
                        let text = bits.filter(|bits| !bits.is_empty()).map(|bits| {
                            format!(
                                "{{{}}}",
                                bits.iter()
                                    .map(|bit| bit.to_string())
                                    .collect::<Vec<_>>()
                                    .join(", ")
                            )
                        });
                        same(name, text.as_deref(), golden.as_str())?;
                    }
                    other => return Err(format!("unknown part {other}").into()),
                }
            }
            Ok(())
        }
        (_, Value::Object(table)) => same_table(kind, ours, table),
        (kind, golden) => Err(format!("do not know how to compare {kind} with {golden}").into()),
    }
}

/// A map that `decoded` spells as key text to value text.
fn same_table(kind: &str, ours: &Value, golden: &serde_json::Map<String, Value>) -> Outcome {
    let table = match kind {
        "BrokerData" => &ours["brokerAddrs"],
        "ConsumerRunningInfo" => &ours["mqTable"],
        _ => &ours["offsetTable"],
    };
    let empty = Vec::new();
    let pairs = table["$map"].as_array().unwrap_or(&empty);
    same("entries", pairs.len(), golden.len())?;
    for pair in pairs {
        let key = match &pair[0] {
            Value::Object(queue) => format!(
                "MessageQueue [topic={}, brokerName={}, queueId={}]",
                text_or_empty(&queue["topic"]),
                text_or_empty(&queue["brokerName"]),
                queue["queueId"]
            ),
            number => number.to_string(),
        };
        let value = golden
            .get(&key)
            .ok_or_else(|| format!("{key} is not in Java's map"))?;
        let value = match value.as_str() {
            Some(text) => body::decode::<Tree>(text.as_bytes())?.normalized(),
            None => value.clone(),
        };
        same(&key, &pair[1], &value)?;
    }
    Ok(())
}

/// Every member that Java has is ours as well; what Java has as null is missing or empty here.
fn within(golden: &Value, ours: &Value) -> Outcome {
    let (golden, ours) = (
        golden.as_object().ok_or("not an object")?,
        ours.as_object().ok_or("not an object")?,
    );
    for (name, value) in golden {
        same(name, ours.get(name), Some(value))?;
    }
    for (name, value) in ours.iter().filter(|(name, _)| !golden.contains_key(*name)) {
        let empty =
            value.as_object().is_some_and(serde_json::Map::is_empty) || count(value) == Some(0);
        same(format!("{name} is empty"), empty, true)?;
    }
    Ok(())
}

#[test]
fn other_formats() {
    let Some(file) = vectors("bodies.json") else {
        return;
    };
    for_each_case(&file, "other", |case| match text_or_empty(&case["type"]) {
        "RegisterBrokerBody" => compressed_registration(case),
        "TopicConfig.encode" => {
            let config: topics::TopicConfig =
                body::decode(text_or_empty(&case["json"]).as_bytes())?;
            let text = text_or_empty(&case["text"]);
            same("text", config.to_text().as_str(), text)?;
            // the text form has neither of the two
            let golden = topics::TopicConfig {
                order: false,
                topic_sys_flag: 0,
                ..config
            };
            same("read", topics::TopicConfig::from_text(text)?, golden)
        }
        "HeartbeatData.computeHeartbeatFingerprint" => {
            let heartbeat: heartbeat::HeartbeatData =
                body::decode(text_or_empty(&case["heartbeat_text"]).as_bytes())?;
            let hashed = text_or_empty(&case["hashed_text"]);
            let golden = case["fingerprint"].as_i64();
            same(
                "hash of Java's text",
                Some(hash::java_string_hash(hashed).into()),
                golden,
            )?;
            // sets are in Java's order in the hashed text: only with that order is ours the same
            let hashed: heartbeat::HeartbeatData = body::decode(hashed.as_bytes())?;
            same("fingerprint", Some(hashed.fingerprint()?.into()), golden)?;
            let in_java_order = heartbeat
                .consumer_data_set
                .iter()
                .all(|group| group.subscription_data_set.len() < 2)
                && heartbeat.consumer_data_set.len() < 2
                && heartbeat.producer_data_set.len() < 2;
            if in_java_order {
                same(
                    "fingerprint of the heartbeat",
                    Some(heartbeat.fingerprint()?.into()),
                    golden,
                )?;
            }
            Ok(())
        }
        other => Err(format!("unknown format {other}").into()),
    });
}

fn compressed_registration(case: &Value) -> Outcome {
    let (compressed, inflated) = (hex(&case["compressed_hex"]), hex(&case["inflated_hex"]));
    same(
        "crc",
        Some(hash::crc32(&compressed).into()),
        case["body_crc32"].as_i64(),
    )?;
    let plain = rocketry_protocol::compress::Compression::Zlib;
    same(
        "inflated",
        &plain.decompress(&compressed, inflated.len())?,
        &inflated,
    )?;

    let registered = registration::RegisterBrokerBody::decode_compressed(&compressed)?;
    let ours = plain.decompress(&registered.encode_compressed(true)?, inflated.len() + 1)?;
    same("written", parts(&ours)?, parts(&inflated)?)?;
    same(
        "read back",
        registration::RegisterBrokerBody::decode_compressed(&registered.encode_compressed(true)?)?,
        registered.clone(),
    )?;
    let without =
        registration::RegisterBrokerBody::decode_compressed(&registered.encode_compressed(false)?)?;
    same(
        "without mappings",
        without
            .topic_config_serialize_wrapper
            .topic_queue_mapping_info_map
            .len(),
        0,
    )?;

    // every end but that before the mappings, which older brokers leave out, is an error
    let mut accepted = 0;
    for end in 0..inflated.len() {
        let cut = plain.compress(&inflated[..end], 1)?;
        accepted += usize::from(registration::RegisterBrokerBody::decode_compressed(&cut).is_ok());
    }
    same("accepted when cut", accepted, 1)
}

/// The parts of a registration, topics sorted: their order is that of Java's hash map.
fn parts(mut bytes: &[u8]) -> Result<Vec<Vec<String>>, Box<dyn Error>> {
    fn number(bytes: &mut &[u8]) -> Result<usize, Box<dyn Error>> {
        let (number, rest) = bytes.split_first_chunk().ok_or("cut")?;
        *bytes = rest;
        Ok(usize::try_from(i32::from_be_bytes(*number))?)
    }
    fn part(bytes: &mut &[u8]) -> Result<String, Box<dyn Error>> {
        let len = number(bytes)?;
        let (part, rest) = bytes.split_at_checked(len).ok_or("cut")?;
        *bytes = rest;
        Ok(String::from_utf8(part.to_vec())?)
    }
    let bytes = &mut bytes;
    let version = vec![part(bytes)?];
    let mut topics = (0..number(bytes)?)
        .map(|_| part(bytes))
        .collect::<Result<Vec<_>, _>>()?;
    topics.sort();
    let filters = vec![part(bytes)?];
    let mut mappings = (0..number(bytes)?)
        .map(|_| part(bytes))
        .collect::<Result<Vec<_>, _>>()?;
    mappings.sort();
    same("left", bytes.len(), 0)?;
    Ok(vec![version, topics, filters, mappings])
}

/// Any text of the dialect; maps are compared without their order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tree {
    Null,
    Bool(bool),
    /// As written, so that whole numbers keep all their digits.
    Number(String),
    Text(String),
    List(Vec<Self>),
    Map(BTreeMap<Self, Self>),
}

impl Tree {
    /// The form of the vectors: `{"$map":[[key,value],…]}` for a map with a key that is not a string.
    fn normalized(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            Self::Text(text) => text.as_str().into(),
            Self::List(items) => items.iter().map(Self::normalized).collect(),
            Self::Map(pairs) => {
                let names: Option<serde_json::Map<_, _>> = pairs
                    .iter()
                    .map(|(key, value)| match key {
                        Self::Text(name) => Some((name.clone(), value.normalized())),
                        _ => None,
                    })
                    .collect();
                names.map_or_else(
                    || {
                        let pairs = pairs.iter().map(|(key, value)| {
                            Value::from(vec![key.normalized(), value.normalized()])
                        });
                        sorted(&serde_json::json!({ "$map": pairs.collect::<Vec<_>>() }))
                    },
                    Value::Object,
                )
            }
        }
    }
}

/// The same value with the pairs of every `$map` in one order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("$map", Value::Array(pairs)) => {
                    let mut pairs: Vec<Value> = pairs.iter().map(sorted).collect();
                    pairs.sort_by_key(|pair| pair[0].to_string());
                    (name.clone(), pairs.into())
                }
                (_, value) => (name.clone(), sorted(value)),
            })
            .collect(),
        other => other.clone(),
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyTree;
        impl<'de> Visitor<'de> for AnyTree {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Number(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Number(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Number(format!("{value:?}")))
            }
            fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Tree::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((key, value)) = members.next_entry()? {
                    map.insert(key, value);
                }
                Ok(Tree::Map(map))
            }
        }
        deserializer.deserialize_any(AnyTree)
    }
}

fn count(value: &Value) -> Option<u64> {
    value.as_array().map(|items| items.len() as u64)
}
