//! The reply to a request on its way to the client that asked (324, 325): pushed to it (326), and stored.
//!
//! Java: `ReplyMessageProcessor`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rocketry_protocol::{
    Properties, RemotingCommand, ResponseCode,
    header::{PushReplyMessageRequest, SendMessageReply, SendMessageRequest},
    id::offset_msg_id,
    properties::name,
};
use rocketry_remoting::{Connection, Deadline, Responder};
use tokio::sync::OwnedSemaphorePermit;

use super::send::{REGION, choose_queue, find_topic, with_region};
use crate::{
    broker::Broker,
    clock,
    fault::Fault,
    put,
    writer::{Origin, Put},
};

/// Longest time for the answer of the client that asked. Java: `ReplyMessageProcessor.pushReplyMessage`.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of replies that are on their way at once.
pub(crate) const MAX_PUSHED_BYTES: usize = 64 * 1024 * 1024;

/// Checks a reply, pushes it to the client that asked, stores it, and answers whether the client has it.
pub(crate) fn reply(broker: &Arc<Broker>, request: &RemotingCommand, responder: Responder) {
    let now_ms = clock::wall_ms();
    let prepared = match prepare(broker, request, &responder, now_ms) {
        Ok(prepared) => prepared,
        Err(fault) => return responder.respond(with_region(fault).into_response()),
    };
    let broker_of_task = Arc::clone(broker);
    broker.spawn(async move {
        let answer = carry_out(&broker_of_task, prepared).await;
        responder.respond(answer);
    });
}

/// A reply that passed all checks.
struct Prepared {
    put: Put,
    /// Where to push it, or why that cannot be.
    push: Result<Push, String>,
    _bytes: OwnedSemaphorePermit,
}

struct Push {
    client_id: String,
    requester: Connection,
    command: RemotingCommand,
}

fn prepare(
    broker: &Broker,
    request: &RemotingCommand,
    responder: &Responder,
    now_ms: i64,
) -> Result<Prepared, Fault> {
    let header: SendMessageRequest<'_> = request.header()?;
    let peer = responder.connection().peer_addr();
    let topic = find_topic(broker, &header, peer, now_ms)?;
    let queue_id = choose_queue(&header, &topic)?;
    if request.body.is_empty() || request.body.len() > broker.config.max_message_bytes {
        return Err(put::illegal(broker));
    }
    let bytes = u32::try_from(request.body.len()).unwrap_or(u32::MAX);
    let permit = Arc::clone(&broker.replies)
        .try_acquire_many_owned(bytes)
        .map_err(|_| {
            Fault::new(
                ResponseCode::SYSTEM_BUSY,
                format!("{MAX_PUSHED_BYTES} bytes of replies wait for their clients already"),
            )
        })?;
    let mut properties = Properties::parse(header.properties);
    properties.set(name::MSG_REGION, REGION);
    properties.set(name::TRACE_ON, "true");
    let put = Put {
        topic,
        queue_id,
        flag: header.flag,
        sys_flag: header.sys_flag,
        born_ms: header.born_timestamp,
        born_host: peer,
        store_host: broker.identity.store_host,
        reconsume_times: header.reconsume_times,
        prepared_transaction_offset: 0,
        body: request.body.clone(),
        properties: properties.as_str().to_owned(),
        batch: false,
        origin: Origin::New,
    };
    Ok(Prepared {
        push: push(broker, &header, &put, properties, now_ms),
        put,
        _bytes: permit,
    })
}

fn push(
    broker: &Broker,
    header: &SendMessageRequest<'_>,
    put: &Put,
    mut properties: Properties,
    now_ms: i64,
) -> Result<Push, String> {
    let Some(client_id) = properties.get(name::REPLY_TO_CLIENT).map(str::to_owned) else {
        return Err(format!(
            "reply message properties[{}] is null",
            name::REPLY_TO_CLIENT
        ));
    };
    let requester = broker.clients.lock().producer(&client_id).cloned();
    let Some(requester) = requester else {
        return Err(format!(
            "push reply message fail, channel of <{client_id}> not found."
        ));
    };
    properties.set(name::PUSH_REPLY_TIME, &now_ms.to_string());
    let command = RemotingCommand::request(&PushReplyMessageRequest {
        producer_group: header.producer_group,
        topic: header.topic,
        default_topic: header.default_topic,
        default_topic_queue_nums: header.default_topic_queue_nums,
        queue_id: put.queue_id,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        flag: header.flag,
        properties: Some(properties.as_str()),
        reconsume_times: Some(header.reconsume_times),
        unit_mode: header.unit_mode,
        born_host: &put.born_host.to_string(),
        store_host: &broker.identity.addr,
        store_timestamp: now_ms,
    });
    Ok(Push {
        client_id,
        requester,
        command: command.with_body(Bytes::clone(&put.body)),
    })
}

async fn carry_out(broker: &Broker, prepared: Prepared) -> RemotingCommand {
    let Prepared { put, push, _bytes } = prepared;
    let pushed = match push {
        Ok(push) => deliver(push).await,
        Err(reason) => Err(reason),
    };
    let queue_id = put.queue_id;
    // Java's value for a client that must find one: the reply is delivered, stored or not.
    let mut header = SendMessageReply::new("0".to_owned(), queue_id, 0);
    match put::store(broker, put).await {
        Ok(stored) => {
            if let Some(record) = stored.records.first() {
                let msg_id = offset_msg_id(broker.identity.store_host, record.log_offset);
                header = SendMessageReply::new(msg_id, queue_id, record.queue_offset);
            }
        }
        Err(failure) => tracing::warn!(%failure, "a reply was not stored"),
    }
    // It is stored either way, and the answer says where.
    match pushed {
        Ok(()) => RemotingCommand::response(ResponseCode::SUCCESS).with_header(&header),
        Err(reason) => RemotingCommand::response(ResponseCode::SYSTEM_ERROR)
            .with_remark(reason)
            .with_header(&header),
    }
}

/// Waits for the client's word that it has the reply.
async fn deliver(push: Push) -> Result<(), String> {
    let call = push
        .requester
        .call(push.command, Deadline::after(PUSH_TIMEOUT));
    match call.await {
        Ok(answer) if answer.response_code() == ResponseCode::SUCCESS => Ok(()),
        outcome => {
            tracing::warn!(
                ?outcome,
                client_id = push.client_id,
                "a reply was not taken"
            );
            Err(format!("push reply message to {}fail.", push.client_id))
        }
    }
}
