//! What is written reads back, for values that no vector holds.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "part of tests, which fail by panicking"
)]

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use proptest::{collection::vec, option, prelude::*};
use rocketry_protocol::{
    Message, MessageExt, Properties,
    batch::{self, BatchItem},
    body::{self, Queue, heartbeat, offsets, topics},
    compress::Compression,
    hash,
    id::{IdSource, RecallHandle, UniqueId, offset_msg_id, parse_offset_msg_id},
    pop::{self, Receipt, RetryMark},
    record::{Record, records},
    sys_flag, trace,
};

fn host() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port)));
    let v6 = any::<([u8; 16], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port)));
    // an IPv4 address in IPv6 form is written as IPv4
    prop_oneof![v4, v6].prop_map(|host| SocketAddr::new(host.ip().to_canonical(), host.port()))
}

/// Names and values that the text can hold.
fn word() -> impl Strategy<Value = String> {
    vec(
        any::<char>().prop_filter("a separator", |c| !matches!(c, '\x01' | '\x02')),
        1..12,
    )
    .prop_map(String::from_iter)
}

fn mark() -> impl Strategy<Value = RetryMark> {
    prop_oneof![
        Just(RetryMark::Normal),
        Just(RetryMark::RetryV1),
        Just(RetryMark::RetryV2)
    ]
}

proptest! {
    #[test]
    fn record(
        (body_crc, queue_id, flag, sys_flag, reconsume_times) in any::<(i32, i32, i32, i32, i32)>(),
        (queue_offset, physical_offset, born_ms, store_ms, prepared_transaction_offset) in any::<(i64, i64, i64, i64, i64)>(),
        (born_host, store_host) in (host(), host()),
        body in vec(any::<u8>(), 0..300),
        topic in "[a-zA-Z0-9_%|-]{0,255}",
        properties in vec(any::<u8>(), 0..300),
    ) {
        let record = Record {
            body_crc, queue_id, flag, queue_offset, physical_offset, sys_flag, born_ms, born_host, store_ms, store_host,
            reconsume_times, prepared_transaction_offset, body: &body, topic: &topic, properties: &properties,
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes).unwrap();
        prop_assert_eq!(bytes.len(), record.encoded_len());
        let (parsed, taken) = Record::parse(&bytes).unwrap();
        prop_assert_eq!(taken, bytes.len());
        let widths = sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6;
        prop_assert_eq!(parsed.sys_flag & !widths, sys_flag & !widths);
        let parsed_again = Record { sys_flag, ..parsed.clone() };
        prop_assert_eq!(&parsed_again, &record);
        // twice in a row is two records, and what follows does not disturb
        let twice = [bytes.as_slice(), &bytes].concat();
        prop_assert_eq!(records(&twice).collect::<Result<Vec<_>, _>>().unwrap(), [parsed.clone(), parsed]);
    }

    #[test]
    fn compressed_message(body in vec(0u8..4, 0..5000), kind in 0..3usize, level in 0..9) {
        let compression = [Compression::Zlib, Compression::Lz4, Compression::Zstd][kind];
        let packed = compression.compress(&body, level).unwrap();
        let record = Record {
            body_crc: hash::crc32(&packed), queue_id: 1, flag: 0, queue_offset: 2, physical_offset: 3,
            sys_flag: sys_flag::COMPRESSED | compression.sys_flag_bits(), born_ms: 4, born_host: ([1, 2, 3, 4], 5).into(),
            store_ms: 6, store_host: ([1, 2, 3, 4], 5).into(), reconsume_times: 0, prepared_transaction_offset: 0,
            body: &packed, topic: "T", properties: b"TAGS\x01a\x02",
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes).unwrap();
        let messages = MessageExt::decode_all(&bytes.into(), &Arc::from("b")).unwrap();
        prop_assert_eq!(messages.len(), 1);
        prop_assert_eq!(&messages[0].body[..], &body[..]);
        prop_assert_eq!(messages[0].tags(), Some("a"));
    }

    /// P-022
    #[test]
    fn properties_behave_as_a_map(changes in vec((0u8..6, word(), word()), 0..40)) {
        let mut properties = Properties::default();
        let mut model = BTreeMap::new();
        for (kind, name, value) in changes {
            // few names, so that they meet again
            let name = format!("{}{}", name.chars().next().unwrap_or('n') as u32 % 7, kind % 2);
            if kind == 0 {
                prop_assert_eq!(properties.remove(&name), model.remove(&name).is_some());
            } else {
                properties.set(&name, &value);
                model.insert(name, value);
            }
        }
        let pairs: BTreeMap<String, String> = properties.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        prop_assert_eq!(&pairs, &model);
        prop_assert_eq!(&Properties::parse(properties.as_str()), &properties);
        for (name, value) in &model {
            prop_assert_eq!(properties.get(name), Some(value.as_str()));
        }
    }

    #[test]
    fn any_text_parses_to_what_java_reads(text in "[ab\u{1}\u{2}é]{0,60}") {
        let mut model = BTreeMap::new();
        for segment in text.split('\u{2}') {
            if let Some((name, value)) = segment.split_once('\u{1}') && !name.is_empty() && !value.is_empty() {
                model.insert(name, value);
            }
        }
        let properties = Properties::parse(&text);
        prop_assert_eq!(properties.iter().collect::<BTreeMap<_, _>>(), model.clone());
        prop_assert_eq!(properties.iter().count(), model.len());
    }

    #[test]
    fn message_builder(tag in word(), keys in vec("[!-~]{1,9}", 0..4), values in vec(word(), 0..4)) {
        let mut message = Message::new("T", "body").tag(&tag).keys(&keys);
        for (number, value) in values.iter().enumerate().filter(|(_, value)| !value.trim().is_empty()) {
            message = message.property(format!("p{number}"), value);
        }
        prop_assert_eq!(message.fault(), None);
        prop_assert_eq!(message.tags(), Some(tag.as_str()));
        let joined = (!keys.is_empty()).then(|| keys.join(" "));
        prop_assert_eq!(message.properties().get("KEYS"), joined.as_deref());
        prop_assert_eq!(&Properties::parse(message.properties().as_str()), message.properties());
    }

    #[test]
    fn batch_body(messages in vec((any::<i32>(), vec(any::<u8>(), 0..50), vec(any::<u8>(), 0..50)), 0..12)) {
        let items: Vec<_> = messages.iter().map(|(flag, body, properties)| BatchItem { flag: *flag, body, properties }).collect();
        let mut bytes = Vec::new();
        for item in &items {
            let before = bytes.len();
            batch::encode_item(item, &mut bytes).unwrap();
            prop_assert_eq!(bytes.len() - before, item.encoded_len());
        }
        prop_assert_eq!(batch::count(&bytes).unwrap(), items.len());
        prop_assert_eq!(batch::items(&bytes).collect::<Result<Vec<_>, _>>().unwrap(), items);
    }

    #[test]
    fn ids(host in host(), offset: i64, pid: u32, seed: u32, ms: u32) {
        prop_assert_eq!(parse_offset_msg_id(&offset_msg_id(host, offset)).unwrap(), (host, offset));
        let source = IdSource::new(host.ip(), pid, seed);
        let (first, second) = (source.next(ms), source.next(ms));
        let (a, b) = (UniqueId::parse(&first).unwrap(), UniqueId::parse(&second).unwrap());
        prop_assert_eq!(a.to_string(), first);
        prop_assert_eq!((a.ip, a.process_id, a.seed, a.ms_since_month_start), (host.ip(), (pid & 0xffff) as u16, seed, ms));
        prop_assert_eq!(b.counter, a.counter.wrapping_add(1));
    }

    #[test]
    fn recall_handle(topic in "[a-z]{1,9}", broker_name in "[a-z-]{1,9}", due in any::<u64>(), message_id in "[A-F0-9]{32}") {
        let handle = RecallHandle { topic, broker_name, due: due.to_string(), message_id };
        prop_assert_eq!(RecallHandle::decode(&handle.encode()).unwrap(), handle);
    }

    #[test]
    fn receipt(
        (start_offset, pop_ms, invisible_ms) in any::<(i64, i64, i64)>(),
        (revive_queue_id, queue_id) in any::<(i32, i32)>(),
        mark in mark(),
        broker_name in "[a-z-]{1,9}",
        offsets in option::of((any::<i64>(), option::of(any::<i64>()))),
    ) {
        let receipt = Receipt {
            start_offset, pop_ms, invisible_ms, revive_queue_id, mark, broker_name, queue_id,
            offset: offsets.map(|(offset, _)| offset),
            commit_log_offset: offsets.and_then(|(_, log_offset)| log_offset),
        };
        prop_assert_eq!(Receipt::parse(&receipt.to_string()).unwrap(), receipt);
    }

    #[test]
    fn pop_offsets(offsets in proptest::collection::btree_map((mark(), any::<i32>()), vec(any::<i64>(), 1..5), 0..6)) {
        let text = pop::format_message_offsets(&offsets);
        prop_assert_eq!(pop::parse_message_offsets(&text).unwrap(), offsets);
    }

    #[test]
    fn recall_trace(time_ms: i64, names in vec("[^\u{1}\u{2}]{0,9}", 4), success: bool) {
        let [region, group, topic, msg_id] = <[String; 4]>::try_from(names).unwrap();
        let record = trace::TraceRecord::Recall { time_ms, region, group, topic, msg_id, success };
        let mut text = String::new();
        record.encode(&mut text);
        record.encode(&mut text);
        prop_assert_eq!(trace::decode(&text).unwrap(), [record.clone(), record]);
    }

    #[test]
    fn bodies(
        names in vec(".{0,12}", 4), numbers in vec(any::<i64>(), 4), queues in any::<[i32; 2]>(), rate in -1e300..1e300f64, flag: bool,
    ) {
        let queue = |number: i32| Queue::new(format!("T{}", names[0]), names[1].as_str(), number);
        let stats = offsets::ConsumeStats {
            consume_tps: rate,
            offset_table: queues.into_iter().map(queue).zip(numbers.iter().map(|&number| offsets::OffsetWrapper {
                broker_offset: number, consumer_offset: 0, last_timestamp: -1, pull_offset: i64::MIN,
            })).collect(),
        };
        prop_assert_eq!(&body::decode::<offsets::ConsumeStats>(&body::encode(&stats).unwrap()).unwrap(), &stats);
        prop_assert_eq!(&body::decode::<offsets::ConsumeStats>(&body::encode_pretty(&stats).unwrap()).unwrap(), &stats);

        let table = offsets::ConsumerOffsetSerializeWrapper {
            data_version: flag.then(|| body::DataVersion { counter: numbers[0], state_version: numbers[1], timestamp: numbers[2] }),
            offset_table: [(names[2].clone(), queues.into_iter().zip(numbers.iter().copied()).collect())].into(),
        };
        prop_assert_eq!(&body::decode::<offsets::ConsumerOffsetSerializeWrapper>(&body::encode(&table).unwrap()).unwrap(), &table);

        let config = topics::TopicConfig {
            attributes: [(names[2].clone(), names[3].clone())].into(),
            order: flag,
            ..topics::TopicConfig::new(names[0].as_str(), queues[0])
        };
        prop_assert_eq!(&body::decode::<topics::TopicConfig>(&body::encode_standard(&config).unwrap()).unwrap(), &config);

        let heartbeat = heartbeat::HeartbeatData {
            client_id: names[0].clone(),
            consumer_data_set: vec![heartbeat::ConsumerData {
                consume_type: Some(heartbeat::ConsumeType::Pop),
                message_model: flag.then_some(heartbeat::MessageModel::Broadcasting),
                group_name: names[1].clone(),
                subscription_data_set: vec![
                    heartbeat::SubscriptionData::by_tags(names[2].as_str(), &names[3], numbers[0]),
                    heartbeat::SubscriptionData::by_sql(names[2].as_str(), names[3].as_str(), numbers[1]),
                ],
                ..heartbeat::ConsumerData::default()
            }],
            ..heartbeat::HeartbeatData::default()
        };
        prop_assert_eq!(&body::decode::<heartbeat::HeartbeatData>(&body::encode(&heartbeat).unwrap()).unwrap(), &heartbeat);
    }
}
