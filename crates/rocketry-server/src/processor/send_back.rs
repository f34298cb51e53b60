//! A consumer gives a message back (36): it is delivered again later, or goes to the group's dead letters.
//! Java: `AbstractSendMessageProcessor.consumerSendMsgBack`.

use std::sync::atomic::Ordering;

use rocketry_protocol::{
    Properties, RemotingCommand, ResponseCode,
    body::{groups::SubscriptionGroupConfig, topics::perm},
    header::ConsumerSendMsgBackRequest,
    id::offset_msg_id,
    properties::name,
    record::Record,
};
use rocketry_remoting::Responder;

use super::ok;
use crate::{
    access::{Actions, Caller},
    broker::Broker,
    clock,
    fault::{Fault, into_response},
    find,
    names::{self, DLQ_PREFIX},
    put,
    writer::{Origin, Put},
};

/// Requests of this version and later say how often a message may be tried. Java: `MQVersion.Version.V3_4_9`.
const MAX_TIMES_VERSION: i32 = 121;

/// The level of the first retry when the client leaves it to the broker.
const FIRST_LEVEL: i32 = 3;

/// Checks the request, queues the message for the log, and answers when it is stored or refused.
pub(crate) fn send_back(
    broker: &Broker,
    request: &RemotingCommand,
    caller: Caller<'_>,
    responder: Responder,
) {
    match prepare(broker, request, caller, clock::wall_ms()) {
        Err(fault) => responder.respond(fault.into_response()),
        Ok(None) => responder.respond(ok()),
        Ok(Some(put)) => {
            let max_message_bytes = broker.config.max_message_bytes;
            put::submit_request(broker, put, None, move |outcome| {
                responder.respond(into_response(
                    outcome
                        .map(|_| ok())
                        .map_err(|failure| failure.into_fault(max_message_bytes)),
                ));
            });
        }
    }
}

/// `None`: the group has no retry queues, and the message is dropped without an error, as in Java.
fn prepare(
    broker: &Broker,
    request: &RemotingCommand,
    caller: Caller<'_>,
    now_ms: i64,
) -> Result<Option<Put>, Fault> {
    let header: ConsumerSendMsgBackRequest<'_> = request.header()?;
    let Some(group) = find::group(broker, header.group, now_ms) else {
        return Err(Fault::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            names::with_hint(format!("subscription group not exist, {} ", header.group)),
        ));
    };
    if broker.permission.load(Ordering::Relaxed) & perm::WRITE == 0 {
        return Err(Fault::new(
            ResponseCode::NO_PERMISSION,
            format!(
                "the broker[{}] sending message is forbidden",
                broker.identity.store_host.ip()
            ),
        ));
    }
    if group.retry_queue_nums <= 0 {
        return Ok(None);
    }
    let retry_topic = find::plain_topic(
        broker,
        &names::retry_topic(header.group),
        group.retry_queue_nums,
        false,
        now_ms,
    );
    if retry_topic.perm & perm::WRITE == 0 {
        return Err(Fault::new(
            ResponseCode::NO_PERMISSION,
            format!(
                "the topic[{}] sending message is forbidden",
                retry_topic.topic_name
            ),
        ));
    }
    let record = broker
        .reader
        .record_at(header.offset)
        .map_err(|error| Fault::system_error(error.to_string()))?
        .ok_or_else(|| {
            Fault::system_error(format!("look message by offset failed, {}", header.offset))
        })?;
    let (message, _) = Record::parse(&record)?;
    caller.may_reach(&message, Some(header.group), Actions::SUB)?;
    let mut properties = Properties::parse_bytes(message.properties);
    if !properties.contains(name::RETRY_TOPIC) {
        properties.set(name::RETRY_TOPIC, message.topic);
    }
    properties.set(name::WAIT, "false");
    if !properties.contains(name::ORIGIN_MESSAGE_ID) {
        let id = offset_msg_id(message.store_host, message.physical_offset);
        properties.set(name::ORIGIN_MESSAGE_ID, &id);
    }
    let max_times = max_times(&header, &group, request.version);
    let (topic, queue_id, level) = if message.reconsume_times >= max_times || header.delay_level < 0
    {
        let name = format!("{DLQ_PREFIX}{}", header.group);
        let dead = find::plain_topic(broker, &name, 1, false, now_ms);
        (dead, 0, 0)
    } else {
        let level = match header.delay_level {
            0 => message.reconsume_times.saturating_add(FIRST_LEVEL),
            level => level,
        };
        // the topic may have been made when the group had fewer
        let queues = retry_topic
            .read_queue_nums
            .min(retry_topic.write_queue_nums);
        let queue_id = fastrand::i32(0..group.retry_queue_nums.min(queues).max(1));
        (retry_topic, queue_id, level)
    };
    properties.set(name::DELAY, &level.to_string());
    let mut put = Put {
        topic,
        queue_id,
        flag: message.flag,
        sys_flag: message.sys_flag,
        born_ms: message.born_ms,
        born_host: message.born_host,
        store_host: broker.identity.store_host,
        reconsume_times: message.reconsume_times.saturating_add(1),
        prepared_transaction_offset: 0,
        body: record.slice_ref(message.body),
        properties: String::new(),
        batch: false,
        origin: Origin::Stored { bare: None },
    };
    put::delay(broker, &mut put, &mut properties, now_ms)?;
    put.properties = properties.into_string();
    Ok(Some(put))
}

fn max_times(
    header: &ConsumerSendMsgBackRequest<'_>,
    group: &SubscriptionGroupConfig,
    version: i32,
) -> i32 {
    header
        .max_reconsume_times
        .filter(|_| version >= MAX_TIMES_VERSION)
        .unwrap_or(group.retry_max_times)
}
