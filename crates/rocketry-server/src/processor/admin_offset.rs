//! Administration of consumer offsets: reset (222), copy (314), and what a group subscribes to (345).
//! Java: `AdminBrokerProcessor`.

use std::collections::BTreeMap;

use rocketry_protocol::{
    RemotingCommand, ResponseCode,
    body::{Queue, heartbeat::QuerySubscriptionResponseBody, offsets::ResetOffsetBody},
    header::{CloneGroupOffsetRequest, QuerySubscriptionByConsumerRequest, ResetOffsetRequest},
};
use rocketry_remoting::Responder;
use rocketry_store::Boundary;

use super::{admin_topic::answer_after_offsets, encoded, ok, ok_body};
use crate::{
    broker::Broker,
    fault::{Fault, Reply},
};

/// Code 222. Clients learn of it by their next pull; until then their commits are ignored.
/// Java: `AdminBrokerProcessor.resetOffsetInner`, with `useServerSideResetOffset` as by default.
pub(crate) fn reset(broker: &Broker, request: &RemotingCommand, responder: Responder, now_ms: i64) {
    let reply = reset_queues(broker, request, now_ms);
    answer_after_offsets(broker, responder, reply);
}

fn reset_queues(broker: &Broker, request: &RemotingCommand, now_ms: i64) -> Reply {
    let header: ResetOffsetRequest<'_> = request.header()?;
    let Some(topic) = broker.topics().get(header.topic) else {
        return Err(Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            format!("Topic {} does not exist", header.topic),
        ));
    };
    if broker.groups().get(header.group).is_none() {
        return Err(Fault::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            format!("Group {} does not exist", header.group),
        ));
    }
    let mut targets = BTreeMap::new();
    if header.queue_id >= 0 {
        let offset = match header.offset.filter(|offset| *offset != -1) {
            Some(offset) => within_queue(broker, &header, offset)?,
            None => by_time(broker, &header, header.queue_id)?,
        };
        targets.insert(header.queue_id, offset);
    } else {
        for queue_id in 0..topic.read_queue_nums {
            targets.insert(queue_id, by_time(broker, &header, queue_id)?);
        }
    }
    for (queue_id, offset) in &targets {
        broker
            .offsets
            .reset(header.group, header.topic, *queue_id, *offset, now_ms);
    }
    let offset_table = targets
        .into_iter()
        .map(|(queue_id, offset)| {
            let queue = Queue::new(header.topic, &*broker.identity.broker_name, queue_id);
            (queue, offset)
        })
        .collect();
    Ok(ok_body(encoded(&ResetOffsetBody { offset_table })?))
}

fn within_queue(
    broker: &Broker,
    header: &ResetOffsetRequest<'_>,
    offset: i64,
) -> Result<i64, Fault> {
    let range = broker.reader.queue_range(header.topic, header.queue_id);
    let (min, max) = range.map_or((0, 0), |range| (range.min, range.max));
    if (min..=max + 1).contains(&offset) {
        Ok(offset)
    } else {
        Err(Fault::system_error(format!(
            "Target offset {offset} not in consume queue range [{min}-{max}]"
        )))
    }
}

fn by_time(broker: &Broker, header: &ResetOffsetRequest<'_>, queue_id: i32) -> Result<i64, Fault> {
    if header.timestamp < 0 {
        let range = broker.reader.queue_range(header.topic, queue_id);
        return Ok(range.map_or(0, |range| range.max));
    }
    broker
        .reader
        .offset_by_time(header.topic, queue_id, header.timestamp, Boundary::Lower)
        .map_err(|error| Fault::system_error(error.to_string()))
}

/// Code 314.
pub(crate) fn copy(broker: &Broker, request: &RemotingCommand, responder: Responder, now_ms: i64) {
    let reply = copy_offsets(broker, request, now_ms);
    answer_after_offsets(broker, responder, reply);
}

fn copy_offsets(broker: &Broker, request: &RemotingCommand, now_ms: i64) -> Reply {
    let header: CloneGroupOffsetRequest<'_> = request.header()?;
    let committed = broker.offsets.committed();
    let topics = match header.topic.filter(|topic| !topic.is_empty()) {
        Some(topic) => vec![topic.to_owned()],
        None => committed.topics_of(header.src_group),
    };
    for topic in topics {
        for (queue_id, offset) in committed.of_topic(header.src_group, &topic) {
            committed.set(header.dest_group, &topic, queue_id, offset, now_ms);
        }
    }
    Ok(ok())
}

/// Code 345.
pub(crate) fn subscription(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: QuerySubscriptionByConsumerRequest<'_> = request.header()?;
    let topic = header.topic.unwrap_or_default();
    let subscription_data = broker
        .clients
        .lock()
        .consumer_group(header.group)
        .and_then(|group| group.subscriptions.get(topic))
        .cloned();
    Ok(ok_body(encoded(&QuerySubscriptionResponseBody {
        group: header.group.to_owned(),
        subscription_data,
        topic: topic.to_owned(),
    })?))
}
