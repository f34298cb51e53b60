//! Requests that concern clients: answered by the client itself and passed on (307, 309, 223), or by the broker's table (328).
//! Java: `AdminBrokerProcessor`, `Broker2Client`.

use std::{collections::BTreeMap, time::Duration};

use rocketry_protocol::{
    Language, RemotingCommand, ResponseCode, acl, body,
    body::{
        heartbeat::{ProducerInfo, ProducerTableInfo},
        offsets::GetConsumerStatusBody,
    },
    header::{
        ConsumeMessageDirectlyRequest, GetConsumerRunningInfoRequest, GetConsumerStatusRequest,
        InvokeGetConsumerStatusRequest,
    },
    id::parse_offset_msg_id,
    record::Record,
};
use rocketry_remoting::{Connection, Deadline, ErrorKind, Responder};

use super::{encoded, ok_body};
use crate::{
    access::{Actions, Caller},
    broker::Broker,
    clients::ConsumerGroup,
    fault::{Fault, Reply, into_response},
};

/// Longest time for a client's answer. Java: `AdminBrokerProcessor.callConsumer`.
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for a client's offsets. Java: `Broker2Client.getConsumeStatus`.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// Code 328.
pub(crate) fn all_producers(broker: &Broker) -> Reply {
    let clients = broker.clients.lock();
    let data = clients
        .producer_groups()
        .map(|(group, members)| {
            let members = members.map(|member| ProducerInfo {
                client_id: member.client_id.clone(),
                language: member.language.and_then(Language::name).map(str::to_owned),
                last_update_timestamp: member.last_ms,
                remote_ip: format!("/{}", member.connection.peer_addr()),
                version: member.version,
            });
            (group.to_owned(), members.collect())
        })
        .collect();
    drop(clients);
    Ok(ok_body(encoded(&ProducerTableInfo { data })?))
}

/// Code 307.
pub(crate) fn running_info(broker: &Broker, request: &RemotingCommand, responder: Responder) {
    let consumer = request
        .header::<GetConsumerRunningInfoRequest<'_>>()
        .map_err(Fault::from)
        .and_then(|header| find(broker, header.consumer_group, header.client_id));
    relay(broker, consumer, forwarded(request), responder);
}

/// Code 309: the client gets the message itself.
pub(crate) fn consume_directly(
    broker: &Broker,
    request: &RemotingCommand,
    caller: Caller<'_>,
    responder: Responder,
) {
    let mut forward = forwarded(request);
    let consumer = prepare_directly(broker, request, caller, &mut forward);
    relay(broker, consumer, forward, responder);
}

fn prepare_directly(
    broker: &Broker,
    request: &RemotingCommand,
    caller: Caller<'_>,
    forward: &mut RemotingCommand,
) -> Result<Consumer, Fault> {
    let header: ConsumeMessageDirectlyRequest<'_> = request.header()?;
    let client_id = header.client_id.unwrap_or_default();
    let consumer = find(broker, header.consumer_group, client_id)?;
    let (_, offset) = parse_offset_msg_id(header.msg_id.unwrap_or_default())?;
    let record = broker
        .reader
        .record_at(offset)
        .map_err(|error| Fault::system_error(error.to_string()))?
        .ok_or_else(|| Fault::system_error(format!("look message by offset failed, {offset}")))?;
    let (message, _) = Record::parse(&record)?;
    caller.may_reach(
        &message,
        Some(header.consumer_group),
        Actions::SUB.or(Actions::GET),
    )?;
    let fields = forward.fields.get_or_insert_default();
    fields.push("brokerName", &broker.identity.broker_name);
    let topic_flag = header
        .topic
        .and_then(|topic| broker.topics().get(topic))
        .map_or(0, |topic| topic.topic_sys_flag);
    let group_flag = broker
        .groups()
        .get(header.consumer_group)
        .map_or(0, |group| group.group_sys_flag);
    fields.push("topicSysFlag", &topic_flag.to_string());
    fields.push("groupSysFlag", &group_flag.to_string());
    forward.body = record;
    Ok(consumer)
}

/// What a consumer gets of a request: its fields without those that prove who sent it, and its body. Flag, version and remark
/// stay behind. Differs from Java, which passes the signature on.
fn forwarded(request: &RemotingCommand) -> RemotingCommand {
    let mut forward = RemotingCommand::bare_request(request.request_code());
    forward.fields.clone_from(&request.fields);
    forward.body = request.body.clone();
    acl::unsign(&mut forward);
    forward
}

/// A consumer that a request is passed on to.
struct Consumer {
    group: String,
    client_id: String,
    connection: Connection,
}

fn find(broker: &Broker, group: &str, client_id: &str) -> Result<Consumer, Fault> {
    let clients = broker.clients.lock();
    match clients.consumer(group, client_id) {
        Some(member) => Ok(Consumer {
            group: group.to_owned(),
            client_id: client_id.to_owned(),
            connection: member.connection.clone(),
        }),
        None => Err(Fault::system_error(format!(
            "The Consumer <{group}> <{client_id}> not online"
        ))),
    }
}

/// Passes the request on and the client's answer back.
fn relay(
    broker: &Broker,
    consumer: Result<Consumer, Fault>,
    request: RemotingCommand,
    responder: Responder,
) {
    let consumer = match consumer {
        Ok(consumer) => consumer,
        Err(fault) => return responder.respond(fault.into_response()),
    };
    broker.spawn(async move {
        let call = consumer
            .connection
            .call(request, Deadline::after(RELAY_TIMEOUT));
        let reply = call.await.map_err(|error| match error.kind() {
            ErrorKind::Timeout(_) => Fault::new(
                ResponseCode::CONSUME_MSG_TIMEOUT,
                format!(
                    "consumer <{}> <{}> Timeout: {error}",
                    consumer.group, consumer.client_id
                ),
            ),
            _ => Fault::system_error(format!(
                "invoke consumer <{}> <{}> Exception: {error}",
                consumer.group, consumer.client_id
            )),
        });
        responder.respond(into_response(reply));
    });
}

/// Code 223: the offsets that each consumer of the group holds, asked for with code 221.
pub(crate) fn consumer_status(broker: &Broker, request: &RemotingCommand, responder: Responder) {
    let (ask, consumers) = match prepare_status(broker, request) {
        Ok(prepared) => prepared,
        Err(fault) => return responder.respond(fault.into_response()),
    };
    broker.spawn(async move {
        let mut consumer_table = BTreeMap::new();
        let deadline = Deadline::after(STATUS_TIMEOUT);
        for (client_id, connection) in consumers {
            let answer = connection.call(ask.clone(), deadline).await;
            let status = answer
                .ok()
                .filter(|answer| answer.response_code() == ResponseCode::SUCCESS)
                .and_then(|answer| body::decode::<GetConsumerStatusBody>(&answer.body).ok());
            if let Some(status) = status {
                consumer_table.insert(client_id, status.message_queue_table);
            }
        }
        let body = encoded(&GetConsumerStatusBody {
            consumer_table,
            message_queue_table: BTreeMap::new(),
        });
        responder.respond(into_response(body.map(ok_body)));
    });
}

type Asked = (RemotingCommand, Vec<(String, Connection)>);

fn prepare_status(broker: &Broker, request: &RemotingCommand) -> Result<Asked, Fault> {
    let header: InvokeGetConsumerStatusRequest<'_> = request.header()?;
    let wanted = header.client_addr.filter(|client_id| !client_id.is_empty());
    let clients = broker.clients.lock();
    let mut consumers: Vec<_> = clients
        .consumer_group(header.group)
        .into_iter()
        .flat_map(ConsumerGroup::members)
        .map(|member| (member.client_id.clone(), member.connection.clone()))
        .collect();
    drop(clients);
    if consumers.is_empty() {
        return Err(Fault::system_error(format!(
            "No Any Consumer online in the consumer group: [{}]",
            header.group
        )));
    }
    // Nobody of that name has no offsets, as in Java.
    consumers.retain(|(client_id, _)| wanted.is_none_or(|wanted| wanted == client_id));
    let ask = RemotingCommand::request(&GetConsumerStatusRequest {
        topic: header.topic,
        group: header.group,
    });
    Ok((ask, consumers))
}
