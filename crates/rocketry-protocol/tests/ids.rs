//! Identifiers, hashes, pop texts, allocations and names that Java made.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "part of tests, which fail by panicking"
)]

mod support;

use std::{collections::BTreeMap, error::Error, net::SocketAddr, sync::Arc};

use rocketry_protocol::{
    MessageQueue, Topic, address,
    allocate::{Allocation, MachineRooms, Ring},
    hash,
    id::{IdSource, RecallHandle, UniqueId, offset_msg_id, parse_offset_msg_id},
    namespace,
    pop::{self, OrderKey, Receipt, RetryMark},
    record::crc_property,
    topic::{light_queue, parse_light_queue},
};
use serde_json::{Map, Value};
use support::{for_each_case, hex, same, text_or_empty, vectors};

type Outcome = Result<(), Box<dyn Error>>;

/// P-025, P-027: ids of IPv4 and IPv6 hosts, and their times on both sides of a month's end.
#[test]
fn unique_ids() {
    let Some(file) = vectors("ids.json") else {
        return;
    };
    for_each_case(&file, "uniq_ids", |case| {
        let golden = text_or_empty(&case["id"]);
        let id = UniqueId::parse(golden)?;
        same("bytes", golden.len() / 2, int(&case["bytes"])?)?;
        same("ip", id.ip, text_or_empty(&case["ip"]).parse()?)?;
        same("pid", i64::from(id.process_id), int(&case["pid"])?)?;
        same(
            "seed",
            id.seed.cast_signed(),
            int(&case["classloader_hash"])?,
        )?;
        same(
            "time",
            i64::from(id.ms_since_month_start),
            int(&case["ms_since_month_start"])?,
        )?;
        same("counter", i64::from(id.counter), int(&case["counter"])?)?;
        same("text", id.to_string(), golden.to_uppercase())?;
        // an id source differs from the case in the counter only
        let made =
            IdSource::new(id.ip, id.process_id.into(), id.seed).next(id.ms_since_month_start);
        same(
            "made",
            &made[..made.len() - 4],
            &golden.to_uppercase()[..golden.len() - 4],
        )
    });
    for_each_case(&file, "uniq_id_time", |case| {
        let id = UniqueId::parse(text_or_empty(&case["id"]))?;
        same(
            "offset",
            i64::from(id.ms_since_month_start),
            int(&case["ms_since_month_start"])?,
        )?;
        same("time zone", text_or_empty(&case["timezone"]), "UTC")?;
        let now = int(&case["now_ms"])?;
        let (this, previous) = month_starts_utc(now);
        same(
            "time",
            id.sent_ms(now, this, previous),
            int(&case["time_ms"])?,
        )
    });
}

/// P-022, the offset ids.
#[test]
fn offset_ids() {
    let Some(file) = vectors("ids.json") else {
        return;
    };
    for_each_case(&file, "offset_msg_ids", |case| {
        let addr = SocketAddr::new(text_or_empty(&case["ip"]).parse()?, int(&case["port"])?);
        let (id, offset) = (text_or_empty(&case["id"]), int(&case["offset"])?);
        same("id", offset_msg_id(addr, offset).as_str(), id)?;
        let golden = SocketAddr::new(
            text_or_empty(&case["decoded_ip"]).parse()?,
            int(&case["decoded_port"])?,
        );
        same(
            "decoded",
            parse_offset_msg_id(id)?,
            (golden, int(&case["decoded_offset"])?),
        )
    });
}

/// P-121
#[test]
fn recall_handles() {
    let Some(file) = vectors("ids.json") else {
        return;
    };
    for_each_case(&file, "recall_handles", |case| {
        let handle = text_or_empty(&case["handle"]);
        if case["topic"].is_string() {
            same("encoded", recall_handle(case).encode().as_str(), handle)?;
        }
        if case["decode_error"].is_string() {
            return same("error", RecallHandle::decode(handle).is_err(), true);
        }
        let decoded = RecallHandle::decode(handle)?;
        same("due", decoded.due_ms(), decoded.due.parse().ok())?;
        same("decoded", decoded, recall_handle(&case["decoded"]))
    });
}

#[test]
fn pop_texts() {
    let Some(file) = vectors("ids.json") else {
        return;
    };
    for_each_case(&file, "pop_extra_info", |case| {
        let receipt = Receipt {
            start_offset: int(&case["ck_queue_offset"])?,
            pop_ms: int(&case["pop_time"])?,
            invisible_ms: int(&case["invisible_time"])?,
            revive_queue_id: int(&case["revive_qid"])?,
            mark: RetryMark::of_topic(text_or_empty(&case["topic"])),
            broker_name: text_or_empty(&case["broker_name"]).to_owned(),
            queue_id: int(&case["queue_id"])?,
            offset: case["msg_queue_offset"].as_i64(),
            commit_log_offset: None,
        };
        let text = text_or_empty(&case["text"]);
        same("text", receipt.to_string().as_str(), text)?;
        same("parsed", Receipt::parse(text)?, receipt.clone())?;
        same(
            "mark",
            receipt.mark.as_str(),
            text_or_empty(&case["retry_mark"]),
        )?;
        same(
            "order",
            Some(receipt.is_orderly()),
            case["is_order"].as_bool(),
        )?;
        same(
            "real topic",
            receipt.mark.real_topic("T", "G").as_str(),
            text_or_empty(&case["real_topic_for_topic_T_group_G"]),
        )
    });
    for_each_case(&file, "receipt_handles", |case| {
        let text = text_or_empty(&case["text"]);
        if case["error"].is_string() {
            return same("error", Receipt::parse_handle(text).is_err(), true);
        }
        let (receipt, golden) = (Receipt::parse_handle(text)?, &case["decoded"]);
        same(
            "again",
            receipt.visible_again_ms(),
            int(&golden["next_visible_time"])?,
        )?;
        same(
            "text",
            receipt.to_string().as_str(),
            text_or_empty(&case["reencoded"]),
        )?;
        let expected = Receipt {
            start_offset: int(&golden["start_offset"])?,
            pop_ms: int(&golden["retrieve_time"])?,
            invisible_ms: int(&golden["invisible_time"])?,
            revive_queue_id: int(&golden["revive_queue_id"])?,
            mark: text_or_empty(&golden["topic_type"]).parse()?,
            broker_name: text_or_empty(&golden["broker_name"]).to_owned(),
            queue_id: int(&golden["queue_id"])?,
            offset: golden["offset"].as_i64(),
            commit_log_offset: golden["commit_log_offset"].as_i64(),
        };
        same("decoded", receipt, expected)
    });
}

#[test]
fn pop_topics() {
    let Some(file) = vectors("ids.json") else {
        return;
    };
    for_each_case(&file, "pop_retry_mark", |case| {
        let topic = text_or_empty(&case["topic"]);
        let mark = RetryMark::of_topic(topic);
        same("mark", mark.as_str(), text_or_empty(&case["mark"]))?;
        same(
            "v2",
            Some(mark == RetryMark::RetryV2),
            case["is_retry_v2"].as_bool(),
        )?;
        let golden = (
            case["parse_group"].as_str(),
            text_or_empty(&case["parse_normal_topic"]),
        );
        same("split", pop::split_retry_topic(topic), golden)
    });
    for_each_case(&file, "pop_retry_topic", |case| {
        let (topic, group) = (text_or_empty(&case["topic"]), text_or_empty(&case["group"]));
        let (v1, v2) = (
            pop::retry_topic_v1(topic, group),
            pop::retry_topic_v2(topic, group),
        );
        same("v1", v1.as_str(), text_or_empty(&case["v1"]))?;
        same("v2", v2.as_str(), text_or_empty(&case["v2"]))?;
        same(
            "normal of v1",
            pop::normal_topic(&v1, group),
            text_or_empty(&case["normal_of_v1"]),
        )?;
        same(
            "normal of v2",
            pop::normal_topic(&v2, group),
            text_or_empty(&case["normal_of_v2"]),
        )
    });
}

#[test]
fn pop_replies() {
    let Some(file) = vectors("ids.json") else {
        return;
    };
    for_each_case(&file, "pop_response_info", |case| {
        let text = text_or_empty(&case["start_offset_info"]);
        let starts = pop::parse_start_offsets(text)?;
        let keyed: Map<_, _> = starts
            .iter()
            .map(|((mark, queue), offset)| (format!("{mark}@{queue}"), (*offset).into()))
            .collect();
        same(
            "starts",
            Value::Object(keyed),
            case["start_offset_parsed"].clone(),
        )?;
        same(
            "starts written",
            pop::format_start_offsets(&starts).as_str(),
            text,
        )?;

        let text = text_or_empty(&case["msg_offset_info"]);
        let offsets = pop::parse_message_offsets(text)?;
        let keyed: Map<_, _> = offsets
            .iter()
            .map(|((mark, queue), offsets)| (format!("{mark}@{queue}"), offsets.clone().into()))
            .collect();
        same(
            "offsets",
            Value::Object(keyed),
            case["msg_offset_parsed"].clone(),
        )?;
        same(
            "offsets written",
            pop::format_message_offsets(&offsets).as_str(),
            text,
        )?;

        let text = text_or_empty(&case["order_count_info"]);
        let counts = pop::parse_order_counts(text)?;
        let keyed: Map<_, _> = counts
            .iter()
            .map(|((mark, key), count)| (format!("{mark}@{key}"), (*count).into()))
            .collect();
        same(
            "counts",
            Value::Object(keyed),
            case["order_count_parsed"].clone(),
        )?;
        same(
            "counts written",
            pop::format_order_counts(&counts).as_str(),
            text,
        )?;

        let key = |key: &str| {
            starts
                .keys()
                .any(|(mark, queue)| format!("{mark}@{queue}") == key)
        };
        same(
            "start key",
            key(text_or_empty(&case["start_offset_key"])),
            true,
        )?;
        let message = counts
            .keys()
            .find(|(_, key)| matches!(key, OrderKey::Message { .. }))
            .ok_or("no count of a message")?;
        same(
            "message key",
            format!("{}@{}", message.0, message.1).as_str(),
            text_or_empty(&case["queue_offset_key"]),
        )
    });
    for_each_case(&file, "pop_response_info_bad", |case| {
        let text = text_or_empty(&case["text"]);
        if case["error"].is_string() {
            return same("error", pop::parse_start_offsets(text).is_err(), true);
        }
        // Java's null is the empty map
        same(
            "nothing",
            pop::parse_start_offsets(text)?.is_empty() && case["start_offset_parsed"].is_null(),
            true,
        )
    });
}

/// P-092
#[test]
fn hashes() {
    let Some(file) = vectors("ids.json") else {
        return;
    };
    for_each_case(&file, "string_hash", |case| {
        let text = text_or_empty(&case["text"]);
        same(
            "units",
            text.encode_utf16().count(),
            int(&case["utf16_units"])?,
        )?;
        same(
            "hash",
            hash::java_string_hash(text),
            int(&case["hash_code"])?,
        )?;
        same("tag code", hash::tag_code(text), int(&case["tags_code"])?)?;
        selects(hash::java_string_hash(text), &case["select_by_hash"])
    });
    for_each_case(&file, "object_hash", |case| {
        let hash = match (text_or_empty(&case["type"]), &case["value"]) {
            ("Integer", value) => int(value)?,
            ("Long", value) => hash::java_long_hash(int(value)?),
            ("Boolean", value) => hash::java_bool_hash(value.as_bool().ok_or("not a truth value")?),
            (other, _) => return Err(format!("unknown type {other}").into()),
        };
        same("hash", hash, int(&case["hash_code"])?)?;
        selects(hash, &case["select_by_hash"])
    });
    for_each_case(&file, "sharding_murmur3", |case| {
        let hash = hash::murmur3_32(text_or_empty(&case["sharding_key"]).as_bytes());
        for (name, golden) in case.as_object().ok_or("not an object")? {
            if let Some(count) = name.strip_prefix("index_of_") {
                same(
                    name,
                    hash::queue_index(hash, count.parse()?),
                    Some(int(golden)?),
                )?;
            }
        }
        Ok(())
    });
    for_each_case(&file, "crc32", |case| {
        let bytes = hex(&case["hex"]);
        same(
            "masked",
            i64::from(hash::crc32(&bytes)),
            int(&case["crc32_rocketmq"])?,
        )?;
        same(
            "of the full one",
            int::<i64>(&case["crc32_full"])? & 0x7fff_ffff,
            int(&case["crc32_rocketmq"])?,
        )
    });
    for_each_case(&file, "crc32_property", |case| {
        let property = crc_property(int(&case["crc"])?);
        same("bytes", &property[..], &hex(&case["hex"]))?;
        same(
            "text",
            std::str::from_utf8(&property)?,
            text_or_empty(&case["text"]),
        )
    });
}

#[test]
fn rings() {
    let Some(file) = vectors("ids.json") else {
        return;
    };
    for_each_case(&file, "consistent_hash", |case| {
        let nodes = texts(&case["nodes"]);
        let ring = Ring::new(&nodes, int(&case["virtual_nodes"])?);
        for (key, node) in case["routes"].as_object().ok_or("no routes")? {
            same(key, ring.route(key), node.as_str())?;
        }
        Ok(())
    });
}

#[test]
fn allocations() {
    let Some(file) = vectors("ids.json") else {
        return;
    };
    for_each_case(&file, "allocation", |case| {
        let strategy = text_or_empty(&case["strategy"]);
        let rule = match strategy.split_once("nearby_") {
            Some((_, inner)) => Allocation::MachineRoomNearby {
                inner: Box::new(rule(inner, case)?),
                rooms: Arc::new(BeforeTheDash),
            },
            None => rule(strategy, case)?,
        };
        same(
            "name",
            rule.name().as_str(),
            text_or_empty(&case["java_name"]),
        )?;
        let queues = texts(&case["queues"])
            .iter()
            .map(|queue| message_queue(queue))
            .collect::<Result<Vec<_>, _>>()?;
        let clients = texts(&case["consumers"]);
        for (client, golden) in case["result"].as_object().ok_or("no result")? {
            let ours = rule.allocate(client, &queues, &clients);
            let ours: Vec<_> = ours
                .iter()
                .map(|queue| format!("{}|{}|{}", queue.topic, queue.broker_name, queue.queue_id))
                .collect();
            same(client, ours, texts(golden))?;
        }
        Ok(())
    });
}

#[test]
fn names() {
    let Some(file) = vectors("ids.json") else {
        return;
    };
    for_each_case(&file, "namespace", |case| {
        let (ns, resource) = (
            text_or_empty(&case["namespace"]),
            text_or_empty(&case["resource"]),
        );
        let wrapped = namespace::wrap(ns, resource);
        same("wrapped", &*wrapped, text_or_empty(&case["wrapped"]))?;
        same(
            "unwrapped",
            &*namespace::unwrap(&wrapped),
            text_or_empty(&case["unwrapped"]),
        )?;
        same(
            "unwrapped from",
            &*namespace::unwrap_from(&wrapped, ns),
            text_or_empty(&case["unwrapped_with_ns"]),
        )?;
        same(
            "namespace",
            namespace::namespace_of(&wrapped),
            text_or_empty(&case["namespace_of"]),
        )
    });
    for_each_case(&file, "lite_topic", |case| {
        let queue = light_queue(text_or_empty(&case["parent"]), text_or_empty(&case["lite"]));
        same("queue", queue.as_str(), text_or_empty(&case["lmq"]))?;
        same(
            "parts",
            parse_light_queue(&queue),
            case["parent_of"].as_str().zip(case["lite_of"].as_str()),
        )
    });
    for_each_case(&file, "vip_channel", |case| {
        same(
            "address",
            address::vip_channel(text_or_empty(&case["addr"])).as_deref(),
            case["vip"].as_str(),
        )
    });
}

/// The resolver of the vectors: the text before the first dash.
struct BeforeTheDash;

impl MachineRooms for BeforeTheDash {
    fn room_of_broker(&self, queue: &MessageQueue) -> String {
        self.room_of_client(&queue.broker_name)
    }
    fn room_of_client(&self, client_id: &str) -> String {
        client_id.split('-').next().unwrap_or_default().to_owned()
    }
}

fn rule(name: &str, case: &Value) -> Result<Allocation, Box<dyn Error>> {
    if let Some(virtual_nodes) = name.strip_prefix("consistent_hash_") {
        return Ok(Allocation::ConsistentHash {
            virtual_nodes: virtual_nodes.parse()?,
        });
    }
    match name {
        "average" => Ok(Allocation::Average),
        "circle" => Ok(Allocation::AverageByCircle),
        "machine_room" => Ok(Allocation::MachineRoom {
            rooms: texts(&case["idcs"]).into_iter().collect(),
        }),
        "config" => Ok(Allocation::Fixed(
            texts(&case["queues"])
                .iter()
                .map(|queue| message_queue(queue))
                .collect::<Result<_, _>>()?,
        )),
        other => Err(format!("unknown strategy {other}").into()),
    }
}

fn message_queue(text: &str) -> Result<MessageQueue, Box<dyn Error>> {
    let mut parts = text.split('|');
    let (Some(topic), Some(broker), Some(queue)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(format!("not a queue: {text}").into());
    };
    Ok(MessageQueue {
        topic: Topic::new(topic)?,
        broker_name: broker.into(),
        queue_id: queue.parse()?,
    })
}

fn selects(hash: i32, golden: &Value) -> Outcome {
    let golden: BTreeMap<&str, i64> = golden
        .as_object()
        .ok_or("no indexes")?
        .iter()
        .map(|(count, index)| (count.as_str(), index.as_i64().unwrap_or(-1)))
        .collect();
    for (count, index) in golden {
        same(
            format!("of {count}"),
            hash::queue_index(hash, count.parse()?),
            usize::try_from(index).ok(),
        )?;
    }
    Ok(())
}

fn recall_handle(fields: &Value) -> RecallHandle {
    RecallHandle {
        topic: text_or_empty(&fields["topic"]).to_owned(),
        broker_name: text_or_empty(&fields["broker_name"]).to_owned(),
        due: text_or_empty(&fields["timestamp"]).to_owned(),
        message_id: text_or_empty(&fields["message_id"]).to_owned(),
    }
}

/// Midnight of the first of this and of the previous month in UTC.
fn month_starts_utc(now_ms: i64) -> (i64, i64) {
    const DAY_MS: i64 = 86_400_000;
    let mut start = 0;
    let mut previous = 0;
    for year in 1970.. {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for days in [
            31,
            if leap { 29 } else { 28 },
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ] {
            if start + days * DAY_MS > now_ms {
                return (start, previous);
            }
            previous = start;
            start += days * DAY_MS;
        }
    }
    (start, previous)
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|text| text_or_empty(text).to_owned())
        .collect()
}

fn int<T: TryFrom<i64>>(value: &Value) -> Result<T, Box<dyn Error>> {
    value
        .as_i64()
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| format!("not a number that fits: {value}").into())
}
