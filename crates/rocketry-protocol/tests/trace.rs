//! Trace records that Java wrote and read.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "part of tests, which fail by panicking"
)]

mod support;

use std::error::Error;

use rocketry_protocol::trace::{TraceMessageType, TraceRecord, decode};
use serde_json::Value;
use support::{for_each_case, hex, same, text_or_empty, vectors};

type Outcome = Result<(), Box<dyn Error>>;

#[test]
fn records_are_written_as_in_java() {
    let Some(file) = vectors("trace.json") else {
        return;
    };
    for_each_case(&file, "encode", |case| {
        let context = &case["context"];
        if case["encode_error"].is_string() {
            // a consumer that does not say where it runs: a record without origin is all there is to write
            return same(
                "no access channel",
                context["access_channel"].is_null(),
                true,
            );
        }
        let records = records_of(context)?;
        let mut text = String::new();
        for record in &records {
            record.encode(&mut text);
        }
        same("text", text.as_str(), text_or_empty(&case["text"]))?;
        same("bytes", text.as_bytes(), &hex(&case["hex"]))?;

        let mut keys: Vec<&str> = records.iter().flat_map(TraceRecord::index_keys).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut golden: Vec<&str> = case["keys"]
            .as_array()
            .ok_or("no keys")?
            .iter()
            .map(text_or_empty)
            .collect();
        golden.sort_unstable();
        same("keys", keys, golden)?;

        let decoded = decode(&text)?;
        if case["decode_error"].is_string() {
            // Java drops empty fields at the end of a record and then misses them
            same("Java fails on", text.contains("\u{1}\u{2}"), true)?;
            return same("decoded", decoded, records);
        }
        same_contexts(&decoded, &case["decoded"])
    });
}

#[test]
fn records_are_read_as_in_java() {
    let Some(file) = vectors("trace.json") else {
        return;
    };
    for_each_case(&file, "decode_only", |case| {
        let decoded = decode(text_or_empty(&case["text"]));
        if case["exception"].is_string() {
            return same("error", decoded.is_err(), true);
        }
        same_contexts(&decoded?, &case["decoded"])
    });
}

/// The records that a context of Java stands for: one for each of its messages.
fn records_of(context: &Value) -> Result<Vec<TraceRecord>, Box<dyn Error>> {
    let text = |value: &Value| text_or_empty(value).to_owned();
    let nullable = |value: &Value| value.as_str().map(str::to_owned);
    let (time_ms, region, group) = (
        int(&context["time_stamp"])?,
        text(&context["region_id"]),
        text(&context["group_name"]),
    );
    let (request_id, success) = (text(&context["request_id"]), context["success"] == true);
    let record = |bean: &Value| -> Result<TraceRecord, Box<dyn Error>> {
        let (region, group, request_id) = (region.clone(), group.clone(), request_id.clone());
        let (topic, msg_id, keys) = (
            text(&bean["topic"]),
            text(&bean["msg_id"]),
            nullable(&bean["keys"]),
        );
        let (tags, store_host) = (nullable(&bean["tags"]), text(&bean["store_host"]));
        let message_type = message_type(&bean["msg_type_ordinal"]);
        Ok(match text_or_empty(&context["trace_type"]) {
            "Pub" => TraceRecord::Pub {
                time_ms,
                region,
                group,
                topic,
                msg_id,
                tags,
                keys,
                store_host,
                body_bytes: int(&bean["body_length"])?,
                cost_ms: int(&context["cost_time"])?,
                message_type: message_type?,
                offset_msg_id: nullable(&bean["offset_msg_id"]),
                success,
            },
            "SubBefore" => TraceRecord::SubBefore {
                time_ms,
                region,
                group,
                request_id,
                msg_id,
                retry_times: int(&bean["retry_times"])?,
                keys,
            },
            "SubAfter" => TraceRecord::SubAfter {
                request_id,
                msg_id,
                cost_ms: int(&context["cost_time"])?,
                success,
                keys,
                context_code: int(&context["context_code"])?,
                origin: (context["access_channel"] == "LOCAL").then_some((time_ms, group)),
            },
            "EndTransaction" => TraceRecord::EndTransaction {
                time_ms,
                region,
                group,
                topic,
                msg_id,
                tags,
                keys,
                store_host,
                message_type: message_type?,
                transaction_id: text(&bean["transaction_id"]),
                state: text(&bean["transaction_state"]),
                from_check: bean["from_transaction_check"] == true,
            },
            "Recall" => TraceRecord::Recall {
                time_ms,
                region,
                group,
                topic,
                msg_id,
                success,
            },
            other => return Err(format!("unknown type {other}").into()),
        })
    };
    context["beans"]
        .as_array()
        .ok_or("no beans")?
        .iter()
        .map(record)
        .collect()
}

/// Compares every member of Java's contexts that is in the text; what is not there, Java invents or leaves at its default.
fn same_contexts(ours: &[TraceRecord], golden: &Value) -> Outcome {
    let golden = golden.as_array().ok_or("no contexts")?;
    same("records", ours.len(), golden.len())?;
    for (record, context) in ours.iter().zip(golden) {
        let beans = context["beans"].as_array().ok_or("no beans")?;
        same("one message", beans.len(), 1)?;
        let bean = &beans[0];
        let same_text =
            |what: &str, ours: &str, golden: &Value| same(what, Some(ours), golden.as_str());
        match record {
            TraceRecord::Pub {
                time_ms,
                region,
                group,
                topic,
                msg_id,
                tags,
                keys,
                store_host,
                body_bytes,
                cost_ms,
                message_type: kind,
                offset_msg_id,
                success,
            } => {
                same_text("type", "Pub", &context["trace_type"])?;
                same("time", *time_ms, int(&context["time_stamp"])?)?;
                same_text("region", region, &context["region_id"])?;
                same_text("group", group, &context["group_name"])?;
                same_text("topic", topic, &bean["topic"])?;
                same_text("id", msg_id, &bean["msg_id"])?;
                same("tags", tags.as_deref(), bean["tags"].as_str())?;
                same("keys", keys.as_deref(), bean["keys"].as_str())?;
                same_text("host", store_host, &bean["store_host"])?;
                same("bytes", *body_bytes, int(&bean["body_length"])?)?;
                same("cost", *cost_ms, int(&context["cost_time"])?)?;
                same("kind", *kind, message_type(&bean["msg_type_ordinal"])?)?;
                same_text(
                    "offset id",
                    offset_msg_id.as_deref().unwrap_or_default(),
                    &bean["offset_msg_id"],
                )?;
                same("success", Some(*success), context["success"].as_bool())?;
            }
            TraceRecord::SubBefore {
                time_ms,
                region,
                group,
                request_id,
                msg_id,
                retry_times,
                keys,
            } => {
                same_text("type", "SubBefore", &context["trace_type"])?;
                same("time", *time_ms, int(&context["time_stamp"])?)?;
                same_text("region", region, &context["region_id"])?;
                same_text("group", group, &context["group_name"])?;
                same_text("request", request_id, &context["request_id"])?;
                same_text("id", msg_id, &bean["msg_id"])?;
                same("retries", *retry_times, int(&bean["retry_times"])?)?;
                same("keys", keys.as_deref(), bean["keys"].as_str())?;
            }
            TraceRecord::SubAfter {
                request_id,
                msg_id,
                cost_ms,
                success,
                keys,
                context_code,
                origin,
            } => {
                same_text("type", "SubAfter", &context["trace_type"])?;
                same_text("request", request_id, &context["request_id"])?;
                same_text("id", msg_id, &bean["msg_id"])?;
                same("cost", *cost_ms, int(&context["cost_time"])?)?;
                same("success", Some(*success), context["success"].as_bool())?;
                same("keys", keys.as_deref(), bean["keys"].as_str())?;
                same("code", *context_code, int(&context["context_code"])?)?;
                match origin {
                    Some((time_ms, group)) => {
                        same("time", *time_ms, int(&context["time_stamp"])?)?;
                        same_text("group", group, &context["group_name"])?;
                    }
                    None => same_text("time", "<now>", &context["time_stamp"])?,
                }
            }
            TraceRecord::EndTransaction {
                time_ms,
                region,
                group,
                topic,
                msg_id,
                tags,
                keys,
                store_host,
                message_type: kind,
                transaction_id,
                state,
                from_check,
            } => {
                same_text("type", "EndTransaction", &context["trace_type"])?;
                same("time", *time_ms, int(&context["time_stamp"])?)?;
                same_text("region", region, &context["region_id"])?;
                same_text("group", group, &context["group_name"])?;
                same_text("topic", topic, &bean["topic"])?;
                same_text("id", msg_id, &bean["msg_id"])?;
                same("tags", tags.as_deref(), bean["tags"].as_str())?;
                same("keys", keys.as_deref(), bean["keys"].as_str())?;
                same_text("host", store_host, &bean["store_host"])?;
                same("kind", *kind, message_type(&bean["msg_type_ordinal"])?)?;
                same_text("transaction", transaction_id, &bean["transaction_id"])?;
                same_text("state", state, &bean["transaction_state"])?;
                same(
                    "check",
                    Some(*from_check),
                    bean["from_transaction_check"].as_bool(),
                )?;
            }
            TraceRecord::Recall {
                time_ms,
                region,
                group,
                topic,
                msg_id,
                success,
            } => {
                same_text("type", "Recall", &context["trace_type"])?;
                same("time", *time_ms, int(&context["time_stamp"])?)?;
                same_text("region", region, &context["region_id"])?;
                same_text("group", group, &context["group_name"])?;
                same_text("topic", topic, &bean["topic"])?;
                same_text("id", msg_id, &bean["msg_id"])?;
                same("success", Some(*success), context["success"].as_bool())?;
            }
            other => return Err(format!("a record without golden value: {other:?}").into()),
        }
    }
    Ok(())
}

fn message_type(ordinal: &Value) -> Result<TraceMessageType, Box<dyn Error>> {
    Ok(ordinal.to_string().parse()?)
}

fn int<T: TryFrom<i64>>(value: &Value) -> Result<T, Box<dyn Error>> {
    value
        .as_i64()
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| format!("not a number that fits: {value}").into())
}
