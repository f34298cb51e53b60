//! Stored messages, client batches, properties and compressed bodies that Java wrote, and malformed ones.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "part of tests, which fail by panicking"
)]

mod support;

use std::{
    collections::BTreeMap,
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use rocketry_protocol::{
    MessageExt, Properties,
    batch::{self, BatchItem},
    compress::Compression,
    id::parse_offset_msg_id,
    record::{MAGIC_V1, MAGIC_V2, Record, crc_property},
    sys_flag,
};
use serde_json::Value;
use support::{for_each_case, hex, same, text_or_empty, vectors};

type Outcome = Result<(), Box<dyn Error>>;

#[test]
fn stored_messages_decode_as_in_java() {
    let Some(file) = vectors("messages.json") else {
        return;
    };
    for_each_case(&file, "stored", |case| {
        let bytes = hex(&case["hex"]);
        let (record, taken) = Record::parse(&bytes)?;
        same("taken", taken, int(&case["decoded"]["consumed"])?)?;
        same(
            "crc check",
            Some(record.body_crc_holds()),
            case["crc_check_ok"].as_bool(),
        )?;

        let plain = if case["decoded_no_decompress"].is_null() {
            &case["decoded"]
        } else {
            &case["decoded_no_decompress"]
        };
        same("stored body", record.body, &hex(&plain["body_hex"]))?;

        let message = MessageExt::from_record(&record, &Arc::from("broker-a"))?;
        same_message(&message, &case["decoded"])?;
        same_message(&message, &case["decoded_client"])?;
        let client = &case["decoded_client"];
        same(
            "message id",
            message.msg_id().as_str(),
            text_or_empty(&client["msg_id"]),
        )?;
        same(
            "offset id",
            message.offset_msg_id().as_str(),
            text_or_empty(&client["offset_msg_id"]),
        )?;
        if let Some(id) = case["server_msg_id"].as_str() {
            same("server's id", message.offset_msg_id().as_str(), id)?;
        }
        if let Some(ids) = case["server_msg_ids_joined"].as_str() {
            same(
                "server's last id",
                Some(message.offset_msg_id().as_str()),
                ids.split(',').next_back(),
            )?;
        }
        crc_property_holds(&bytes, record.properties)
    });
}

#[test]
fn stored_messages_encode_as_in_java() {
    let Some(file) = vectors("messages.json") else {
        return;
    };
    for_each_case(&file, "stored", |case| {
        let layout = &case["layout"];
        let (body, topic) = (hex(&layout["body_hex"]), text_or_empty(&layout["topic"]));
        let record = Record {
            body_crc: int(&layout["body_crc"])?,
            queue_id: int(&layout["queue_id"])?,
            flag: int(&layout["flag"])?,
            queue_offset: int(&layout["queue_offset"])?,
            physical_offset: int(&layout["physical_offset"])?,
            sys_flag: int(&layout["sys_flag"])?,
            born_ms: int(&layout["born_timestamp"])?,
            born_host: host(&layout["born_ip_hex"], &layout["born_port"])?,
            store_ms: int(&layout["store_timestamp"])?,
            store_host: host(&layout["store_ip_hex"], &layout["store_port"])?,
            reconsume_times: int(&layout["reconsume_times"])?,
            prepared_transaction_offset: int(&layout["prepared_transaction_offset"])?,
            body: &body,
            topic,
            properties: text_or_empty(&layout["properties_string"]).as_bytes(),
        };
        let magic = if topic.len() > 127 {
            MAGIC_V2
        } else {
            MAGIC_V1
        };
        same("magic", magic, int(&layout["magic"])?)?;
        same("size", record.encoded_len(), int(&layout["total_size"])?)?;
        let mut out = b"before".to_vec();
        record.encode(&mut out)?;
        same("bytes", &out[6..], &hex(&case["hex"]))
    });
}

#[test]
fn a_reply_body_is_all_its_messages() {
    let Some(file) = vectors("messages.json") else {
        return;
    };
    let broker = Arc::from("broker-a");
    let mut all = Vec::new();
    let mut expected = 0;
    for_each_case(&file, "stored", |case| {
        let body = Bytes::from(hex(&case["hex"]));
        let messages = MessageExt::decode_all(&body, &broker)?;
        let Some(inner) = case["unwrapped_by_client"].as_array() else {
            same("messages", messages.len(), 1)?;
            return same_message(&messages[0], &case["decoded_client"]);
        };
        same("messages", messages.len(), inner.len())?;
        messages
            .iter()
            .zip(inner)
            .try_for_each(|(message, golden)| same_message(message, golden))
    });
    for case in file["stored"].as_array().into_iter().flatten() {
        all.extend(hex(&case["hex"]));
        expected += case["unwrapped_by_client"].as_array().map_or(1, Vec::len);
    }
    let messages = MessageExt::decode_all(&all.into(), &broker).unwrap();
    assert_eq!(messages.len(), expected);
}

/// P-022, the batch items.
#[test]
fn client_batches() {
    let Some(file) = vectors("messages.json") else {
        return;
    };
    for_each_case(&file, "client_batches", |case| {
        let bytes = hex(&case["hex"]);
        let mut out = Vec::new();
        for message in list(&case["messages"])? {
            let body = hex(&message["body_hex"]);
            let properties = text_or_empty(&message["properties_string"]).as_bytes();
            batch::encode_item(
                &BatchItem {
                    flag: int(&message["flag"])?,
                    body: &body,
                    properties,
                },
                &mut out,
            )?;
        }
        same("bytes", &out, &bytes)?;
        same("count", batch::count(&bytes)?, int(&case["inner_count"])?)?;
        same_items(&bytes, &case["decoded"])
    });
}

/// P-022, the property texts.
#[test]
fn properties() {
    let Some(file) = vectors("messages.json") else {
        return;
    };
    for_each_case(&file, "properties", |case| {
        let text = text_or_empty(&case["text"]);
        if let Some(bytes) = case["hex"].as_str().map(|_| hex(&case["hex"])) {
            same("utf-8", text.as_bytes(), &bytes)?;
        }
        let mut parsed = Properties::parse(text);
        if let Some(name) = case["delete"].as_str() {
            parsed.remove(name);
            return same("text", parsed.as_str(), text_or_empty(&case["result"]));
        }
        same_properties(&parsed, &case["decoded"])?;
        // what is written reads back the same
        same_properties(&Properties::parse(parsed.as_str()), &case["decoded"])
    });
}

#[test]
fn compression() {
    let Some(file) = vectors("messages.json") else {
        return;
    };
    for_each_case(&file, "compression", |case| {
        let compression = match text_or_empty(&case["type"]) {
            "LZ4" => Compression::Lz4,
            "ZSTD" => Compression::Zstd,
            "ZLIB" => Compression::Zlib,
            other => return Err(format!("unknown type {other}").into()),
        };
        same(
            "bits",
            compression.sys_flag_bits(),
            int(&case["sys_flag_bits"])?,
        )?;
        same(
            "type",
            compression.sys_flag_bits() >> 8,
            int(&case["type_value"])?,
        )?;
        same(
            "from bits",
            Compression::from_sys_flag(compression.sys_flag_bits())?,
            compression,
        )?;
        let plain = hex(&case["plain_hex"]);
        same(
            "plain",
            &compression.decompress(&hex(&case["compressed_hex"]), plain.len())?,
            &plain,
        )?;
        let packed = compression.compress(&plain, int(&case["level"])?)?;
        same(
            "round trip",
            &compression.decompress(&packed, plain.len())?,
            &plain,
        )
    });
}

#[test]
fn malformed_messages() {
    let Some(file) = vectors("negative.json") else {
        return;
    };
    for_each_case(&file, "messages", |case| {
        let bytes = hex(&case["hex"]);
        match text_or_empty(&case["api"]) {
            "decode" => malformed_record(case, &bytes, false),
            "decode with checkCRC" => malformed_record(case, &bytes, true),
            "decodes (client)" => {
                let (messages, fault) =
                    MessageExt::decode_until_fault(&bytes.clone().into(), &Arc::from(""));
                let golden = list(&case["result"])?;
                same("messages", messages.len(), golden.len())?;
                for (message, golden) in messages.iter().zip(golden) {
                    same("topic", &*message.topic, text_or_empty(&golden["topic"]))?;
                    same("body", &message.body[..], &hex(&golden["body_hex"]))?;
                }
                let whole: usize = messages
                    .iter()
                    .map(|message| message.store_size.unsigned_abs() as usize)
                    .sum();
                same(
                    "a fault where bytes are left",
                    fault.is_some(),
                    whole < bytes.len(),
                )
            }
            "decodeMessages (client batch)" => {
                // Java ignores the size of an item; here it must be what the inner lengths add up to
                if case["exception"].is_string() || !batch_sizes_add_up(&bytes) {
                    return same("error", batch::count(&bytes).is_err(), true);
                }
                same_items(&bytes, &case["result"])
            }
            "countInnerMsgNum" => match case["result"].as_i64() {
                Some(count) => same("count", batch::count(&bytes)?, usize::try_from(count)?),
                None => same("error", batch::count(&bytes).is_err(), true),
            },
            "decodeMessageId" => {
                let text = text_or_empty(&case["text"]);
                let hex_digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
                // Java takes an unknown digit for -1
                if case["exception"].is_string() || !hex_digits {
                    return same("error", parse_offset_msg_id(text).is_err(), true);
                }
                let (addr, offset) = parse_offset_msg_id(text)?;
                let golden = &case["result"];
                same("ip", addr.ip(), text_or_empty(&golden["address"]).parse()?)?;
                same("port", i64::from(addr.port()), int(&golden["port"])?)?;
                same("offset", offset, int(&golden["offset"])?)
            }
            other => Err(format!("unknown api {other}").into()),
        }
    });
}

/// Java ignores TOTALSIZE; here the fields must end exactly there.
fn malformed_record(case: &Value, bytes: &[u8], check_crc: bool) -> Outcome {
    let ours = Record::parse(bytes)
        .and_then(|(record, _)| {
            MessageExt::from_record(&record, &Arc::from("")).map(|message| (record, message))
        })
        .ok()
        .filter(|(record, _)| !check_crc || record.body_crc_holds());
    let golden = &case["result"]["decoded"];
    let announced = bytes
        .first_chunk()
        .map_or(0, |size| i32::from_be_bytes(*size));
    let consumed = golden["consumed"]
        .as_i64()
        .or_else(|| case["result"]["buffer_position_after"].as_i64());
    if golden.is_null() || Some(i64::from(announced)) != consumed {
        return same("refused", ours.is_none(), true);
    }
    let (_, message) = ours.ok_or("refused, and Java takes it")?;
    same_message(&message, golden)
}

fn batch_sizes_add_up(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(size) = rest.first_chunk().map(|size| i32::from_be_bytes(*size)) {
        match usize::try_from(size)
            .ok()
            .filter(|size| *size >= 22)
            .and_then(|size| rest.get(size..))
        {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// With `enabledAppendPropCRC` the last property is a check sum over everything before it.
fn crc_property_holds(record: &[u8], properties: &[u8]) -> Outcome {
    let Some(tail) = properties
        .last_chunk::<20>()
        .filter(|tail| tail.starts_with(b"__CRC32#"))
    else {
        return Ok(());
    };
    let crc = rocketry_protocol::hash::crc32(&record[..record.len() - 20]);
    same("crc property", &crc_property(crc), tail)
}

fn same_items(bytes: &[u8], golden: &Value) -> Outcome {
    let items: Vec<_> = batch::items(bytes).collect::<Result<_, _>>()?;
    let golden = list(golden)?;
    same("items", items.len(), golden.len())?;
    for (item, golden) in items.iter().zip(golden) {
        same("flag", item.flag, int(&golden["flag"])?)?;
        same("body", item.body, &hex(&golden["body_hex"]))?;
        same_properties(
            &Properties::parse_bytes(item.properties),
            &golden["properties"],
        )?;
    }
    Ok(())
}

fn same_message(ours: &MessageExt, golden: &Value) -> Outcome {
    same("store size", ours.store_size, int(&golden["store_size"])?)?;
    same("body crc", ours.body_crc, int(&golden["body_crc"])?)?;
    same("queue id", ours.queue_id, int(&golden["queue_id"])?)?;
    same("flag", ours.flag, int(&golden["flag"])?)?;
    same(
        "queue offset",
        ours.queue_offset,
        int(&golden["queue_offset"])?,
    )?;
    same(
        "log offset",
        ours.commit_log_offset,
        int(&golden["commit_log_offset"])?,
    )?;
    same("sys flag", ours.sys_flag, int(&golden["sys_flag"])?)?;
    same("compressed", ours.sys_flag & sys_flag::COMPRESSED, 0)?;
    same("born", ours.born_ms, int(&golden["born_timestamp"])?)?;
    same(
        "born host",
        ours.born_host,
        host(&golden["born_host"]["ip_hex"], &golden["born_host"]["port"])?,
    )?;
    same("stored", ours.store_ms, int(&golden["store_timestamp"])?)?;
    same(
        "store host",
        ours.store_host,
        host(
            &golden["store_host"]["ip_hex"],
            &golden["store_host"]["port"],
        )?,
    )?;
    same(
        "reconsume times",
        ours.reconsume_times,
        int(&golden["reconsume_times"])?,
    )?;
    same(
        "prepared offset",
        ours.prepared_transaction_offset,
        int(&golden["prepared_transaction_offset"])?,
    )?;
    same("topic", &*ours.topic, text_or_empty(&golden["topic"]))?;
    // Java reads an empty body as null
    same("body", &ours.body[..], &hex(&golden["body_hex"]))?;
    same_properties(&ours.properties, &golden["properties"])
}

fn same_properties(ours: &Properties, golden: &Value) -> Outcome {
    let golden: BTreeMap<&str, &str> = match golden {
        Value::Null => BTreeMap::new(),
        Value::Object(pairs) => pairs
            .iter()
            .map(|(name, value)| (name.as_str(), text_or_empty(value)))
            .collect(),
        other => return Err(format!("not properties: {other}").into()),
    };
    same(
        "properties",
        ours.iter().collect::<BTreeMap<_, _>>(),
        golden.clone(),
    )?;
    same("no name twice", ours.iter().count(), golden.len())
}

fn host(ip_hex: &Value, port: &Value) -> Result<SocketAddr, Box<dyn Error>> {
    let octets = hex(ip_hex);
    let ip = match <[u8; 4]>::try_from(octets.as_slice()) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(octets.as_slice())?),
    };
    Ok(SocketAddr::new(ip, int(port)?))
}

fn int<T: TryFrom<i64>>(value: &Value) -> Result<T, Box<dyn Error>> {
    value
        .as_i64()
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| format!("not a number that fits: {value}").into())
}

fn list(value: &Value) -> Result<&Vec<Value>, Box<dyn Error>> {
    value
        .as_array()
        .ok_or_else(|| format!("not a list: {value}").into())
}
