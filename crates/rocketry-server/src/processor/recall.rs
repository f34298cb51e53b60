//! Taking a timed message back before its time (370). Java: `RecallMessageProcessor`.

use std::net::SocketAddr;

use bytes::Bytes;
use rocketry_protocol::{
    Properties, RemotingCommand, ResponseCode,
    header::{RecallMessageReply, RecallMessageRequest},
    id::RecallHandle,
    properties::name,
};
use rocketry_remoting::Responder;

use super::{ok, send::REGION};
use crate::{
    broker::Broker,
    clock,
    fault::{Fault, into_response},
    put,
    writer::{Origin, Put},
};

/// Body and tag of the message that deletes another. Java: `RecallMessageProcessor`.
const BODY: &[u8] = b"0";
const TAG: &str = "_RECALL_TAG_";

/// Checks the handle and puts a message into the slot of the one to recall, which deletes it.
pub(crate) fn recall(broker: &Broker, request: &RemotingCommand, responder: Responder) {
    let peer = responder.connection().peer_addr();
    let (put, message_id) = match prepare(broker, request, peer, clock::wall_ms()) {
        Ok(prepared) => prepared,
        Err(fault) => return responder.respond(with_region(fault.into_response())),
    };
    put::submit_request(broker, put, None, move |outcome| {
        let reply = match outcome {
            Ok(_) => Ok(ok().with_header(&RecallMessageReply { msg_id: message_id })),
            Err(failure) => {
                tracing::warn!(?failure, "a recall was not stored");
                Err(Fault::system_error("recall failed, execute error"))
            }
        };
        responder.respond(with_region(into_response(reply)));
    });
}

/// Every answer names the region.
fn with_region(response: RemotingCommand) -> RemotingCommand {
    response.with_field(name::MSG_REGION, REGION)
}

fn prepare(
    broker: &Broker,
    request: &RemotingCommand,
    peer: SocketAddr,
    now_ms: i64,
) -> Result<(Put, String), Fault> {
    let header: RecallMessageRequest<'_> = request.header()?;
    if !broker.config.recall_messages {
        return Err(Fault::new(
            ResponseCode::NO_PERMISSION,
            "recall failed, operation is forbidden",
        ));
    }
    let Some(topic) = broker.topics().get(header.topic) else {
        return Err(Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            format!("recall failed, the topic[{}] not exist", header.topic),
        ));
    };
    let illegal = |remark: &str| Fault::new(ResponseCode::ILLEGAL_OPERATION, remark);
    let handle = RecallHandle::decode(header.recall_handle)
        .map_err(|_| illegal("recall handle is invalid"))?;
    if handle.topic != header.topic {
        return Err(illegal("recall failed, topic not match"));
    }
    if handle.broker_name != broker.identity.broker_name {
        return Err(illegal("recall failed, broker service not available"));
    }
    let left_ms = handle.due_ms().map(|due_ms| due_ms.saturating_sub(now_ms));
    let longest_ms = put::max_timer_delay_ms(&broker.config);
    if !left_ms.is_some_and(|left_ms| left_ms > 0 && left_ms < longest_ms) {
        return Err(illegal("recall failed, timestamp invalid"));
    }
    let mut properties = Properties::default();
    properties.set(name::TAGS, TAG);
    properties.set(name::TIMER_DEL_UNIQKEY, &handle.message_id);
    properties.set(name::UNIQ_KEY, &handle.message_id);
    properties.set(name::TIMER_DELIVER_MS, &handle.due);
    properties.set(name::BORN_TIMESTAMP, &now_ms.to_string());
    if let Some(group) = header.producer_group {
        properties.set(name::PGROUP, group);
    }
    let mut put = Put {
        topic,
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_ms: now_ms,
        born_host: peer,
        store_host: broker.identity.store_host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: Bytes::from_static(BODY),
        properties: String::new(),
        batch: false,
        origin: Origin::New,
    };
    put::delay(broker, &mut put, &mut properties, now_ms)?;
    put.properties = properties.into_string();
    Ok((put, handle.message_id))
}
