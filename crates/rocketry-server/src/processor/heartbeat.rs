//! Clients and their groups: heartbeats (34), leaving (35), client checks (46), members of a group (38), queue locks (41, 42).
//!
//! Java: `ClientManageProcessor`, `ConsumerManageProcessor`, `AdminBrokerProcessor.lockBatchMQ`.

use std::sync::Arc;

use rocketry_protocol::{
    RemotingCommand, ResponseCode, body,
    body::{
        heartbeat::{
            CheckClientRequestBody, ConsumerData, GetConsumerListByGroupResponseBody, HeartbeatData,
        },
        lock::{LockBatchRequestBody, LockBatchResponseBody, UnlockBatchRequestBody},
    },
    header::{GetConsumerListByGroupRequest, HeartbeatReply, UnregisterClientRequest},
};
use rocketry_remoting::Connection;

use super::{body_of, encoded, no_property_filter, ok, ok_body, ok_empty};
use crate::{
    announce,
    broker::Broker,
    clients::Member,
    fault::{Fault, Reply},
    filter::{TagFilter, is_tag_type},
    find, names,
};

/// Code 34.
pub(crate) fn heartbeat(
    broker: &Broker,
    request: &RemotingCommand,
    connection: &Connection,
    user: Option<&str>,
    now_ms: i64,
) -> Reply {
    let data: HeartbeatData = body::decode(body_of(request)?)?;
    let member = Member {
        connection: connection.clone(),
        client_id: data.client_id.clone(),
        user: user.map(Arc::from),
        language: request.language,
        version: request.version,
        last_ms: now_ms,
    };
    let mut subscription_changed = data.heartbeat_fingerprint == 0;
    for consumer in &data.consumer_data_set {
        subscription_changed |= register_consumer(broker, &data, consumer, &member, now_ms);
    }
    let mut clients = broker.clients.lock();
    for producer in &data.producer_data_set {
        clients.register_producer(&producer.group_name, connection.id(), member.clone());
    }
    drop(clients);
    Ok(ok().with_header(&HeartbeatReply {
        supports_v2: true,
        subscription_changed,
    }))
}

/// Returns whether the client is to send the group's subscriptions again.
fn register_consumer(
    broker: &Broker,
    data: &HeartbeatData,
    consumer: &ConsumerData,
    member: &Member<Connection>,
    now_ms: i64,
) -> bool {
    let Some(group) = find::group(broker, &consumer.group_name, now_ms) else {
        return false;
    };
    let is_ordered = consumer.subscription_data_set.iter().any(|subscription| {
        broker
            .topics()
            .get(&subscription.topic)
            .is_some_and(|topic| topic.order)
    });
    find::plain_topic(
        broker,
        &names::retry_topic(&consumer.group_name),
        group.retry_queue_nums,
        is_ordered,
        now_ms,
    );
    let mut clients = broker.clients.lock();
    let change = clients.register_consumer(
        consumer,
        member.connection.id(),
        member.clone(),
        data.without_sub,
    );
    let wants_subscriptions = data.heartbeat_fingerprint != 0
        && clients.wants_subscriptions(
            &consumer.group_name,
            data.heartbeat_fingerprint,
            data.without_sub,
        );
    drop(clients);
    if let Some(change) = change {
        announce::consumers_changed(broker, change);
    }
    wants_subscriptions
}

/// Code 35.
pub(crate) fn unregister(
    broker: &Broker,
    request: &RemotingCommand,
    connection: &Connection,
) -> Reply {
    let header: UnregisterClientRequest<'_> = request.header()?;
    let change = broker.clients.lock().unregister(
        connection.id(),
        header.producer_group,
        header.consumer_group,
    );
    if let Some(change) = change {
        announce::consumers_changed(broker, change);
    }
    Ok(ok_empty())
}

/// Code 46: whether the broker can carry out a subscription.
pub(crate) fn check_client(broker: &Broker, request: &RemotingCommand) -> Reply {
    let body: CheckClientRequestBody = body::decode(body_of(request)?)?;
    let Some(subscription) = body.subscription_data else {
        return Ok(ok());
    };
    let (kind, text) = (
        subscription.expression_type.as_str(),
        subscription.sub_string.as_deref(),
    );
    if is_tag_type(Some(kind)) {
        TagFilter::parse(text).map_err(|_| {
            Fault::new(
                ResponseCode::SUBSCRIPTION_PARSE_FAILED,
                "parse the consumer's subscription failed",
            )
        })?;
    } else if broker.config.enable_property_filter {
        broker.expressions.compiled(kind, text).map_err(|error| {
            Fault::new(ResponseCode::SUBSCRIPTION_PARSE_FAILED, error.to_string())
        })?;
    } else {
        return Err(no_property_filter(kind));
    }
    Ok(ok())
}

/// Code 38.
pub(crate) fn consumer_list(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: GetConsumerListByGroupRequest<'_> = request.header()?;
    let consumer_id_list = broker.clients.lock().consumer_ids(header.consumer_group);
    if consumer_id_list.is_empty() {
        return Err(Fault::system_error(format!(
            "no consumer for this group, {}",
            header.consumer_group
        )));
    }
    let body = GetConsumerListByGroupResponseBody { consumer_id_list };
    Ok(ok_empty().with_body(encoded(&body)?))
}

/// Code 41.
pub(crate) fn lock(broker: &Broker, request: &RemotingCommand, now_ms: i64) -> Reply {
    let body: LockBatchRequestBody = body::decode(body_of(request)?)?;
    let lock_ok_mq_set =
        broker
            .locks
            .lock()
            .lock(&body.consumer_group, &body.client_id, &body.mq_set, now_ms);
    Ok(ok_body(encoded(&LockBatchResponseBody { lock_ok_mq_set })?))
}

/// Code 42.
pub(crate) fn unlock(broker: &Broker, request: &RemotingCommand) -> Reply {
    let body: UnlockBatchRequestBody = body::decode(body_of(request)?)?;
    broker
        .locks
        .lock()
        .unlock(&body.consumer_group, &body.client_id, &body.mq_set);
    Ok(ok())
}
