//! Administration of consumer groups, and who is connected (200, 201, 203, 204, 207, 208, 225, 300, 343, 352, 353).
//! Java: `AdminBrokerProcessor`.

use std::collections::BTreeMap;

use rocketry_protocol::{
    Language, RemotingCommand, ResponseCode, body,
    body::{
        Queue,
        groups::{
            GroupForbidden, GroupList, SubscriptionGroupConfig, SubscriptionGroupList,
            SubscriptionGroupWrapper,
        },
        heartbeat::{Connection as ClientConnection, ConsumerConnection, ProducerConnection},
        offsets::{ConsumeStats, OffsetWrapper},
        topics::TopicList,
    },
    header::{
        DeleteSubscriptionGroupRequest, GetAllSubscriptionGroupConfigReply,
        GetAllSubscriptionGroupConfigRequest, GetConsumeStatsRequest,
        GetConsumerConnectionListRequest, GetProducerConnectionListRequest,
        GetSubscriptionGroupConfigRequest, QueryTopicConsumeByWhoRequest,
        QueryTopicsByConsumerRequest, UpdateGroupForbiddenRequest,
    },
};
use rocketry_remoting::{Connection, Responder};

use super::{
    admin_topic::{answer_after, answer_after_offsets, store_time},
    body_of, encoded, ok, ok_body, page,
};
use crate::{
    attributes,
    broker::Broker,
    clients::Member,
    clock,
    fault::{Fault, Reply, into_response},
    find,
    groups::FORBIDDEN_READ,
    names, topics,
};

/// Code 200.
pub(crate) fn create(broker: &Broker, request: &RemotingCommand, responder: Responder) {
    let outcome = (|| {
        let config: SubscriptionGroupConfig = body::decode(body_of(request)?)?;
        let config = checked(broker, config)?;
        broker.groups().put(config, clock::wall_ms());
        Ok(())
    })();
    answer_after(broker, responder, outcome);
}

/// Code 225: all groups are checked before the first is made.
pub(crate) fn create_list(broker: &Broker, request: &RemotingCommand, responder: Responder) {
    let outcome = (|| {
        let list: SubscriptionGroupList = body::decode(body_of(request)?)?;
        let configs = list
            .group_config_list
            .into_iter()
            .map(|config| checked(broker, config))
            .collect::<Result<Vec<_>, Fault>>()?;
        for config in configs {
            broker.groups().put(config, clock::wall_ms());
        }
        Ok(())
    })();
    answer_after(broker, responder, outcome);
}

fn checked(
    broker: &Broker,
    mut config: SubscriptionGroupConfig,
) -> Result<SubscriptionGroupConfig, Fault> {
    names::check_group(&config.group_name)
        .and_then(|()| topics::check_queues("retryQueueNums", config.retry_queue_nums))
        .map_err(|remark| Fault::new(ResponseCode::INVALID_PARAMETER, remark))?;
    let changes = attributes::Changes::from_prefixed(std::mem::take(&mut config.attributes))
        .map_err(Fault::system_error)?;
    let current = broker
        .groups()
        .get(&config.group_name)
        .map(|group| group.attributes.clone());
    config.attributes =
        attributes::alter(attributes::GROUP, current, &changes).map_err(Fault::system_error)?;
    Ok(config)
}

/// Code 207.
pub(crate) fn delete(broker: &Broker, request: &RemotingCommand, responder: Responder) {
    let outcome = request
        .header::<DeleteSubscriptionGroupRequest<'_>>()
        .map_err(Fault::from)
        .map(|header| {
            broker.groups().remove(header.group_name, clock::wall_ms());
            broker.pops.forget_retry_topics(header.group_name);
            if header.clean_offset {
                broker.offsets.remove_group(header.group_name);
            }
            ok()
        });
    answer_after_offsets(broker, responder, outcome);
}

/// Code 201: everything, or a page in the order of the names.
pub(crate) fn all(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: GetAllSubscriptionGroupConfigRequest<'_> = request.header()?;
    let snapshot = broker.groups().snapshot();
    let total = snapshot.subscription_group_table.len();
    let page = page(
        total,
        header.group_seq,
        header.data_version,
        header.max_group_num,
        &snapshot.data_version,
    );
    let body = SubscriptionGroupWrapper {
        subscription_group_table: snapshot
            .subscription_group_table
            .into_iter()
            .skip(page.start)
            .take(page.len())
            .collect(),
        ..snapshot
    };
    Ok(ok()
        .with_header(&GetAllSubscriptionGroupConfigReply {
            total_group_num: Some(i32::try_from(total).unwrap_or(i32::MAX)),
        })
        .with_body(encoded(&body)?))
}

/// Code 353: whether a group may read a topic. Differs from Java: allowing one topic does not allow all others.
pub(crate) fn forbid(broker: &Broker, request: &RemotingCommand, responder: Responder) {
    let (group, topic) = match change_forbidden(broker, request) {
        Ok(changed) => changed,
        Err(fault) => return responder.respond(fault.into_response()),
    };
    let bits = broker.groups().forbidden(&group, &topic);
    let body = GroupForbidden {
        group,
        readable: Some(bits & FORBIDDEN_READ == 0),
        topic,
    };
    broker.metadata.after_write(move |persisted| {
        let reply = persisted
            .map_err(|error| Fault::system_error(error.to_string()))
            .and_then(|()| Ok(ok_body(encoded(&body)?).with_remark("")));
        responder.respond(into_response(reply));
    });
}

fn change_forbidden(broker: &Broker, request: &RemotingCommand) -> Result<(String, String), Fault> {
    let header: UpdateGroupForbiddenRequest<'_> = request.header()?;
    if let Some(readable) = header.readable {
        let bits = broker.groups().forbidden(header.group, header.topic);
        let bits = if readable {
            bits & !FORBIDDEN_READ
        } else {
            bits | FORBIDDEN_READ
        };
        broker
            .groups()
            .set_forbidden(header.group, header.topic, bits, clock::wall_ms());
        broker.metadata.changed();
    }
    Ok((header.group.to_owned(), header.topic.to_owned()))
}

/// Code 352. The look-up creates the group where that is allowed, as in Java.
pub(crate) fn config(broker: &Broker, request: &RemotingCommand, now_ms: i64) -> Reply {
    let header: GetSubscriptionGroupConfigRequest<'_> = request.header()?;
    let Some(group) = find::group(broker, header.group, now_ms) else {
        return Err(Fault::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            "No group in this broker",
        ));
    };
    Ok(ok_body(encoded(&*group)?))
}

/// Code 203.
pub(crate) fn consumers(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: GetConsumerConnectionListRequest<'_> = request.header()?;
    let clients = broker.clients.lock();
    let Some(group) = clients.consumer_group(header.consumer_group) else {
        return Err(Fault::new(
            ResponseCode::CONSUMER_NOT_ONLINE,
            format!("the consumer group[{}] not online", header.consumer_group),
        ));
    };
    let body = ConsumerConnection {
        connection_set: group.members().map(connection).collect(),
        consume_from_where: group.consume_from_where,
        consume_type: group.consume_type,
        message_model: group.message_model,
        subscription_table: group
            .subscriptions
            .iter()
            .map(|(topic, data)| (topic.clone(), data.clone()))
            .collect(),
    };
    Ok(ok_body(encoded(&body)?))
}

/// Code 204.
pub(crate) fn producers(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: GetProducerConnectionListRequest<'_> = request.header()?;
    let connection_set: Vec<ClientConnection> = broker
        .clients
        .lock()
        .producers_of(header.producer_group)
        .map(connection)
        .collect();
    if connection_set.is_empty() {
        return Err(Fault::system_error(format!(
            "the producer group[{}] not exist",
            header.producer_group
        )));
    }
    Ok(ok_body(encoded(&ProducerConnection { connection_set })?))
}

/// Code 208: how far a group is in its topics.
pub(crate) fn consume_stats(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: GetConsumeStatsRequest<'_> = request.header()?;
    let group = header.consumer_group;
    let mut offset_table = BTreeMap::new();
    for topic in stats_topics(broker, &header) {
        let Some(found) = broker.topics().get(&topic) else {
            continue;
        };
        for queue_id in 0..found.read_queue_nums {
            let broker_offset = broker
                .reader
                .queue_range(&topic, queue_id)
                .map_or(0, |range| range.max);
            let consumer_offset = broker.offsets.query(group, &topic, queue_id).unwrap_or(0);
            let pulled = broker.offsets.pulled(group, &topic, queue_id).unwrap_or(0);
            let last_timestamp = if consumer_offset > 0 {
                store_time(broker, &topic, queue_id, consumer_offset - 1)?
            } else {
                0
            };
            offset_table.insert(
                Queue::new(&*topic, &*broker.identity.broker_name, queue_id),
                OffsetWrapper {
                    broker_offset,
                    consumer_offset,
                    last_timestamp,
                    pull_offset: pulled.max(consumer_offset),
                },
            );
        }
    }
    Ok(ok_body(encoded(&ConsumeStats {
        offset_table,
        ..ConsumeStats::default()
    })?))
}

/// The topics asked for; without any, those with offsets of the group that it also subscribes to, if it is online.
fn stats_topics(broker: &Broker, header: &GetConsumeStatsRequest<'_>) -> Vec<String> {
    let list: Vec<String> = header
        .topic_list
        .unwrap_or_default()
        .split(';')
        .filter(|topic| !topic.is_empty())
        .map(str::to_owned)
        .collect();
    if !list.is_empty() {
        return list;
    }
    let mut topics = match header.topic.filter(|topic| !topic.is_empty()) {
        Some(topic) => vec![topic.to_owned()],
        None => broker.offsets.committed().topics_of(header.consumer_group),
    };
    let clients = broker.clients.lock();
    if let Some(group) = clients.consumer_group(header.consumer_group)
        && !group.subscriptions.is_empty()
    {
        topics.retain(|topic| group.subscriptions.contains_key(topic));
    }
    topics
}

/// Code 300: groups online on a topic, and groups with offsets on it.
pub(crate) fn of_topic(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: QueryTopicConsumeByWhoRequest<'_> = request.header()?;
    let mut group_list = broker.clients.lock().groups_of_topic(header.topic);
    group_list.extend(broker.offsets.committed().groups_of(header.topic));
    group_list.sort_unstable();
    group_list.dedup();
    Ok(ok_body(encoded(&GroupList { group_list })?))
}

/// Code 343.
pub(crate) fn topics(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: QueryTopicsByConsumerRequest<'_> = request.header()?;
    Ok(ok_body(encoded(&TopicList {
        broker_addr: Some(broker.identity.addr.clone()),
        topic_list: broker.offsets.committed().topics_of(header.group),
    })?))
}

fn connection(member: &Member<Connection>) -> ClientConnection {
    ClientConnection {
        client_addr: member.connection.peer_addr().to_string(),
        client_id: member.client_id.clone(),
        language: member.language.and_then(Language::name).map(str::to_owned),
        version: member.version,
    }
}
