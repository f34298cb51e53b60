//! How far groups are, over time and over the whole broker, how much goes in and out, and looks into queues (303, 308, 315, 317, 321). Java: `AdminBrokerProcessor`.

use std::{cell::RefCell, collections::BTreeMap};

use rocketry_protocol::{
    RemotingCommand, ResponseCode, body,
    body::{
        Queue,
        offsets::{
            ConsumeStats, ConsumeStatsList, OffsetWrapper, QueryConsumeTimeSpanBody,
            QueryCorrectionOffsetBody, QueueTimeSpan,
        },
        stats::{ConsumeQueueData, QueryConsumeQueueResponseBody},
        topics::TopicConfig,
    },
    header::{
        GetBrokerConsumeStatsRequest, QueryConsumeQueueRequest, QueryConsumeTimeSpanRequest,
        QueryCorrectionOffsetRequest, ViewBrokerStatsDataRequest,
    },
    record::records,
};
use rocketry_store::{Filter, ReadLimits};

use super::{admin_topic::store_time, encoded, ok_body};
use crate::{
    broker::Broker,
    clock,
    fault::{Fault, Reply},
};

/// Most units that one answer shows.
const MAX_UNITS: usize = 1024;

/// Code 303.
pub(crate) fn time_span(broker: &Broker, request: &RemotingCommand, now_ms: i64) -> Reply {
    let header: QueryConsumeTimeSpanRequest<'_> = request.header()?;
    let topic = header.topic;
    let Some(config) = broker.topics().get(topic) else {
        return Err(Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            format!("topic[{topic}] not exist"),
        ));
    };
    let mut spans = Vec::new();
    for queue_id in 0..config.write_queue_nums {
        spans.push(span_of(broker, header.group, topic, queue_id, now_ms)?);
    }
    Ok(ok_body(encoded(&QueryConsumeTimeSpanBody {
        consume_time_span_set: spans,
    })?))
}

fn span_of(
    broker: &Broker,
    group: &str,
    topic: &str,
    queue_id: i32,
    now_ms: i64,
) -> Result<QueueTimeSpan, Fault> {
    let store_ms = |offset| {
        broker
            .reader
            .store_time(topic, queue_id, offset)
            .map(|store_ms| store_ms.unwrap_or(-1))
            .map_err(|error| Fault::system_error(error.to_string()))
    };
    let range = broker.reader.queue_range(topic, queue_id);
    let (min, max) = range.map_or((0, 0), |range| (range.min, range.max));
    let (min_ms, max_ms) = (store_ms(min)?, store_ms(max - 1)?);
    let consumed = broker.offsets.query(group, topic, queue_id).unwrap_or(-1);
    let consume_ms = if consumed > 0 {
        store_ms(consumed - 1)?
    } else {
        min_ms
    };
    let delay_time = if consumed < max {
        now_ms.saturating_sub(store_ms(consumed.max(min))?)
    } else {
        0
    };
    Ok(QueueTimeSpan {
        consume_time_stamp: consume_ms,
        consume_time_stamp_str: Some(clock::local_text(consume_ms)),
        delay_time,
        max_time_stamp: max_ms,
        max_time_stamp_str: Some(clock::local_text(max_ms)),
        message_queue: Some(Queue::new(topic, &*broker.identity.broker_name, queue_id)),
        min_time_stamp: min_ms,
        min_time_stamp_str: Some(clock::local_text(min_ms)),
    })
}

/// Code 308: the smallest offset that any group has per queue, but for those that are to be left out; where the group to compare with is
/// before it, the largest number. Differs from Java, which deletes the offsets of the groups that are left out.
pub(crate) fn correction(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: QueryCorrectionOffsetRequest<'_> = request.header()?;
    let committed = broker.offsets.committed();
    let left_out: Vec<&str> = header
        .filter_groups
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .collect();
    let min_of = |queue_id| {
        let range = broker.reader.queue_range(header.topic, queue_id);
        range.map_or(0, |range| range.min)
    };
    let mut smallest: BTreeMap<i32, i64> = BTreeMap::new();
    for group in committed.groups_of(header.topic) {
        if left_out.contains(&group.as_str()) {
            continue;
        }
        for (queue_id, offset) in committed.of_topic(&group, header.topic) {
            // What is no longer stored holds nobody back.
            if offset < min_of(queue_id) {
                continue;
            }
            let least = smallest.entry(queue_id).or_insert(offset);
            *least = offset.min(*least);
        }
    }
    let compares = !left_out.contains(&header.compare_group);
    let compared = committed.of_topic(header.compare_group, header.topic);
    for (queue_id, offset) in compared.into_iter().filter(|_| compares) {
        if smallest.get(&queue_id).is_some_and(|least| *least > offset) {
            smallest.insert(queue_id, i64::MAX);
        }
    }
    Ok(ok_body(encoded(&QueryCorrectionOffsetBody {
        correction_offsets: smallest,
    })?))
}

/// Code 317: every group in every topic.
pub(crate) fn of_broker(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: GetBrokerConsumeStatsRequest = request.header()?;
    let mut list = ConsumeStatsList {
        broker_addr: Some(broker.identity.addr.clone()),
        ..ConsumeStatsList::default()
    };
    let mut groups = broker.groups().all();
    groups.sort_unstable_by(|a, b| a.group_name.cmp(&b.group_name));
    for group in groups {
        let group = group.group_name.as_str();
        let mut of_group = Vec::new();
        for topic in broker.offsets.committed().topics_of(group) {
            let Some(config) = broker.topics().get(&topic) else {
                continue;
            };
            if (header.is_order && !config.order) || !subscribes(broker, group, &topic) {
                continue;
            }
            let stats = stats_of(broker, group, &config)?;
            for offsets in stats.offset_table.values() {
                list.total_diff += offsets.broker_offset - offsets.consumer_offset;
                list.total_inflight_diff += offsets.pull_offset - offsets.consumer_offset;
            }
            of_group.push(stats);
        }
        list.consume_stats_list
            .push(BTreeMap::from([(group.to_owned(), of_group)]));
    }
    Ok(ok_body(encoded(&list)?))
}

/// Code 315.
pub(crate) fn rates(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: ViewBrokerStatsDataRequest<'_> = request.header()?;
    let (name, key) = (header.stats_name, header.stats_key);
    let ends_of = |topic: &str| {
        let config = broker.topics().get(topic);
        let queues = config
            .filter(|_| !broker.system.is_system(topic))
            .map_or(0, |config| config.write_queue_nums);
        (0..queues)
            .filter_map(|queue_id| broker.reader.queue_range(topic, queue_id))
            .map(|range| range.max)
            .sum()
    };
    match broker.rates.view(name, key, ends_of) {
        Some(data) => Ok(ok_body(encoded(&data)?)),
        None => Err(Fault::system_error(format!(
            "The stats <{name}> <{key}> not exist"
        ))),
    }
}

/// A group that is online and subscribes to other topics has left this one.
fn subscribes(broker: &Broker, group: &str, topic: &str) -> bool {
    let clients = broker.clients.lock();
    clients.consumer_group(group).is_none_or(|group| {
        group.subscriptions.is_empty() || group.subscriptions.contains_key(topic)
    })
}

fn stats_of(broker: &Broker, group: &str, topic: &TopicConfig) -> Result<ConsumeStats, Fault> {
    let name = topic.topic_name.as_str();
    let mut offset_table = BTreeMap::new();
    for queue_id in 0..topic.write_queue_nums {
        let range = broker.reader.queue_range(name, queue_id);
        let consumer_offset = broker.offsets.query(group, name, queue_id).unwrap_or(0);
        let pulled = broker.offsets.pulled(group, name, queue_id).unwrap_or(0);
        let last_timestamp = match consumer_offset {
            1.. => store_time(broker, name, queue_id, consumer_offset - 1)?,
            _ => 0,
        };
        offset_table.insert(
            Queue::new(name, &*broker.identity.broker_name, queue_id),
            OffsetWrapper {
                broker_offset: range.map_or(0, |range| range.max),
                consumer_offset,
                last_timestamp,
                pull_offset: pulled.max(consumer_offset),
            },
        );
    }
    Ok(ConsumeStats {
        offset_table,
        ..ConsumeStats::default()
    })
}

/// Notes the tags codes of the units that a read takes, which is all of them.
#[derive(Default)]
struct TagsCodes(RefCell<Vec<i64>>);

impl Filter for TagsCodes {
    fn matches_tags(&self, tags_code: i64) -> bool {
        self.0.borrow_mut().push(tags_code);
        true
    }
}

/// Code 321. Shows the units whose messages are still stored.
pub(crate) fn queue(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: QueryConsumeQueueRequest<'_> = request.header()?;
    let topic = header.topic.unwrap_or_default();
    let range = broker.reader.queue_range(topic, header.queue_id);
    let range = range.filter(|range| (range.min..range.max).contains(&header.index));
    let Some(range) = range else {
        // Java has no code for it either.
        return Ok(
            RemotingCommand::response(ResponseCode::SUCCESS).with_remark(format!(
                "Index {} of {}@{topic} is not exist!",
                header.index, header.queue_id
            )),
        );
    };
    let wanted = usize::try_from(header.count).unwrap_or(0).min(MAX_UNITS);
    let mut data = Vec::new();
    let mut offset = header.index;
    while data.len() < wanted && offset < range.max {
        let codes = TagsCodes::default();
        let limits = ReadLimits {
            max_messages: wanted - data.len(),
            max_scanned: wanted - data.len(),
            ..ReadLimits::default()
        };
        let read = broker
            .reader
            .read(topic, header.queue_id, offset, &limits, Some(&codes))
            .map_err(|error| Fault::system_error(error.to_string()))?;
        let codes = codes.0.into_inner();
        // A unit that did not fit any more was looked at as well.
        for (record, tags_code) in records(&read.messages).zip(codes) {
            let record = record?;
            data.push(ConsumeQueueData {
                physic_offset: record.physical_offset,
                physic_size: i32::try_from(record.encoded_len()).unwrap_or(i32::MAX),
                tags_code,
                ..ConsumeQueueData::default()
            });
        }
        if read.next_offset <= offset {
            break;
        }
        offset = read.next_offset;
    }
    let (subscription_data, filter_data) = match header.consumer_group {
        None => (None, None),
        Some(group) => {
            let clients = broker.clients.lock();
            let found = clients
                .consumer_group(group)
                .and_then(|group| group.subscriptions.get(topic))
                .cloned();
            let text = match &found {
                // Java: the filter's data, which only SQL92 has.
                Some(_) => "null".to_owned(),
                None => format!("{group}@{topic} is not online!"),
            };
            (found, Some(text))
        }
    };
    Ok(ok_body(body::encode(&QueryConsumeQueueResponseBody {
        filter_data,
        max_queue_index: range.max,
        min_queue_index: range.min,
        queue_data: Some(data),
        subscription_data,
    })?))
}
