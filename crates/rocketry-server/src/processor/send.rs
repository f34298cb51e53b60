//! Sends: one message (10, 310), a batch (320, or either of the others with the batch flag).
//!
//! The checks run on the connection's task; then the message goes to the log's thread, which answers once it is stored.
//! Java: `SendMessageProcessor`, `AbstractSendMessageProcessor`.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use rocketry_protocol::{
    Properties, RemotingCommand, ResponseCode, batch,
    body::topics::{TopicConfig, TopicFilterType, perm},
    header::{SendMessageRequest, SendReply},
    id::{OffsetMsgId, RecallHandle},
    properties::{self, name},
    sys_flag,
};
use rocketry_remoting::Responder;
use rocketry_store::Appended;

use crate::{
    broker::Broker,
    clock,
    fault::Fault,
    find,
    names::{self, DLQ_PREFIX, RETRY_PREFIX, TIMER_TOPIC},
    put, topics,
    transaction::half,
    writer::{Origin, Put, Stored},
};

/// Room for the properties that the broker adds to every message.
const ADDED_BYTES: usize = 96;

pub(super) const REGION: &str = "DefaultRegion";

/// Longest topic of a batch in bytes. Java: `SendMessageProcessor.sendBatchMessage`.
const MAX_BATCH_TOPIC_BYTES: usize = 127;

/// Most messages of an inner batch: what the unit of a batch consume queue can say.
const MAX_INNER_MESSAGES: usize = i16::MAX as usize;

/// Checks a send, queues it for the log, and answers when it is stored or refused.
pub(crate) fn send(broker: &Broker, request: RemotingCommand, responder: Responder, now_ms: i64) {
    let peer = responder.connection().peer_addr();
    let checked = match check(broker, &request, peer, now_ms) {
        Ok(checked) => checked,
        Err(fault) => {
            broker.stats.count_put_failed();
            responder.respond(with_region(fault).into_response());
            return;
        }
    };
    let Checked { put, answer } = checked;
    let stats = Arc::clone(&broker.stats);
    let max_message_bytes = broker.config.max_message_bytes;
    let (bytes, inner_messages) = (put.body.len() as u64, answer.inner_messages);
    put::submit_request(broker, put, None, move |outcome| match outcome {
        Ok(stored) => {
            let messages = inner_messages.unwrap_or(stored.records.len());
            stats.count_put(messages as u64, bytes);
            answer.stored(&stored, responder);
        }
        Err(failure) => {
            stats.count_put_failed();
            let fault = failure.into_fault(max_message_bytes);
            responder.respond(with_region(fault).into_response());
        }
    });
}

/// A send that passed all checks.
#[derive(Debug)]
struct Checked {
    put: Put,
    answer: Answer,
}

/// What the answer needs beside where the message was stored.
#[derive(Debug)]
struct Answer {
    store_host: SocketAddr,
    /// The queue that was asked for or chosen, also for a message that waits in a system topic.
    queue_id: i32,
    /// A batch's own; a message has it among its properties.
    unique_id_of_batch: Option<String>,
    /// Takes a timed message back.
    recall_handle: Option<String>,
    /// Number of messages in the one record of an inner batch.
    inner_messages: Option<usize>,
}

impl Answer {
    fn stored(self, stored: &Stored, responder: Responder) {
        let id_of = |record: &Appended| OffsetMsgId::new(self.store_host, record.log_offset);
        let one;
        let msg_id = match &*stored.records {
            [record] => {
                one = id_of(record);
                Cow::Borrowed(one.as_str())
            }
            records => {
                let mut ids = String::with_capacity(records.len() * 33);
                for record in records {
                    if !ids.is_empty() {
                        ids.push(',');
                    }
                    ids.push_str(id_of(record).as_str());
                }
                Cow::Owned(ids)
            }
        };
        let first = stored.records.first().map_or(0, |r| r.queue_offset);
        let mut reply = SendReply::new(msg_id, self.queue_id, first);
        if self.inner_messages.is_some() {
            reply.batch_uniq_id.clone_from(&self.unique_id_of_batch);
        }
        reply.transaction_id = match self.unique_id_of_batch {
            Some(id) => Some(id.into()),
            None => properties::value_of(&stored.put.properties, name::UNIQ_KEY).map(Cow::Borrowed),
        };
        reply.recall_handle = self.recall_handle;
        let code = if stored.sync_is_late {
            ResponseCode::FLUSH_DISK_TIMEOUT
        } else {
            ResponseCode::SUCCESS
        };
        responder.respond_with(code, reply);
    }
}

fn check(
    broker: &Broker,
    request: &RemotingCommand,
    peer: SocketAddr,
    now_ms: i64,
) -> Result<Checked, Fault> {
    let header: SendMessageRequest<'_> = request.header()?;
    let topic = find_topic(broker, &header, peer, now_ms)?;
    let queue_id = choose_queue(&header, &topic)?;
    if request.body.is_empty() {
        return Err(put::illegal(broker));
    }
    if request.body.len() > broker.config.max_message_bytes {
        return Err(put::illegal(broker));
    }
    let mut put = Put {
        topic: Arc::clone(&topic),
        queue_id,
        flag: header.flag,
        sys_flag: header.sys_flag,
        born_ms: header.born_timestamp,
        born_host: peer,
        store_host: broker.identity.store_host,
        reconsume_times: header.reconsume_times,
        prepared_transaction_offset: 0,
        body: request.body.clone(),
        properties: String::new(),
        batch: header.batch,
        origin: Origin::New,
    };
    if topic.topic_filter_type == Some(TopicFilterType::MultiTag) {
        put.sys_flag |= sys_flag::MULTI_TAGS;
    }
    check_inner_batch(broker, &put, header.properties)?;
    if header.batch {
        check_batch(broker, &header, put)
    } else {
        check_single(broker, &header, put, now_ms)
    }
}

/// Consumers take apart what is marked as several messages in one record: only topics of such records may hold one, and it has to say so.
/// Java: `HookUtils.checkInnerBatch`.
fn check_inner_batch(broker: &Broker, put: &Put, properties: &str) -> Result<(), Fault> {
    let is_marked = put.sys_flag & sys_flag::INNER_BATCH != 0;
    let is_batch_topic = topics::has_batch_queues(&put.topic);
    let is_counted = properties::value_of(properties, name::INNER_NUM).is_some();
    if (is_marked && !is_batch_topic) || (is_counted && !is_marked) {
        return Err(put::illegal(broker));
    }
    Ok(())
}

/// Java: `AbstractSendMessageProcessor.msgCheck`.
pub(super) fn find_topic(
    broker: &Broker,
    header: &SendMessageRequest<'_>,
    peer: SocketAddr,
    now_ms: i64,
) -> Result<Arc<TopicConfig>, Fault> {
    let known = broker.topics().get(header.topic);
    // Only ordered topics are refused: a broker that is being emptied still takes the others.
    if broker.permission.load(Ordering::Relaxed) & perm::WRITE == 0
        && known.as_ref().is_some_and(|topic| topic.order)
    {
        return Err(Fault::new(
            ResponseCode::NO_PERMISSION,
            format!(
                "the broker[{}] sending message is forbidden",
                broker.identity.store_host.ip()
            ),
        ));
    }
    let topic = match known {
        Some(topic) if !names::is_forbidden(header.topic) => topic,
        _ => {
            names::check_topic(header.topic)
                .map_err(|reason| Fault::new(ResponseCode::INVALID_PARAMETER, reason))?;
            if names::is_forbidden(header.topic) {
                return Err(Fault::new(
                    ResponseCode::NO_PERMISSION,
                    format!("Sending message to topic[{}] is forbidden.", header.topic),
                ));
            }
            create_topic(broker, header, now_ms)?
        }
    };
    let queues = topic.write_queue_nums.max(topic.read_queue_nums);
    if header.queue_id >= queues {
        return Err(Fault::new(
            ResponseCode::INVALID_PARAMETER,
            format!(
                "request queueId[{}] is illegal, {} Producer: {peer}",
                header.queue_id,
                topics::describe(&topic)
            ),
        ));
    }
    Ok(topic)
}

fn create_topic(
    broker: &Broker,
    header: &SendMessageRequest<'_>,
    now_ms: i64,
) -> Result<Arc<TopicConfig>, Fault> {
    // Java: `TopicSysFlag`, of a unit and of subscriptions in a unit.
    let topic_sys_flag = match (header.unit_mode, header.topic.starts_with(RETRY_PREFIX)) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 2,
    };
    let made = find::topic(
        broker,
        header.topic,
        header.default_topic,
        header.default_topic_queue_nums,
        topic_sys_flag,
        now_ms,
    );
    match made {
        Ok(topic) => Ok(topic),
        Err(_) if header.topic.starts_with(RETRY_PREFIX) => {
            Ok(find::plain_topic(broker, header.topic, 1, false, now_ms))
        }
        Err(_) => Err(Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            names::with_hint(format!(
                "topic[{}] not exist, apply first please!",
                header.topic
            )),
        )),
    }
}

pub(super) fn choose_queue(
    header: &SendMessageRequest<'_>,
    topic: &TopicConfig,
) -> Result<i32, Fault> {
    if header.queue_id >= 0 {
        return Ok(header.queue_id);
    }
    if topic.write_queue_nums <= 0 {
        return Err(Fault::new(
            ResponseCode::NO_PERMISSION,
            format!("topic[{}] has no write queues", topic.topic_name),
        ));
    }
    Ok(fastrand::i32(0..topic.write_queue_nums))
}

fn check_single(
    broker: &Broker,
    header: &SendMessageRequest<'_>,
    mut put: Put,
    now_ms: i64,
) -> Result<Checked, Fault> {
    let mut properties = Properties::parse_with_room(header.properties, ADDED_BYTES);
    choose_by_priority(&mut put, &mut properties);
    let queue_id = put.queue_id;
    if header.topic.starts_with(RETRY_PREFIX) {
        retry_or_dead_letter(broker, header, &mut put, &mut properties, now_ms)?;
    }
    properties.remove(name::POP_CK);
    properties.set(name::MSG_REGION, REGION);
    properties.set(name::TRACE_ON, "true");
    if properties.get(name::UNIQ_KEY).is_none() {
        let id = broker.ids.next(clock::ms_since_month_start(now_ms));
        properties.set(name::UNIQ_KEY, &id);
    }
    // A message of a transaction that a consumer sends back for a later try is an ordinary one by now.
    let is_half = properties
        .get(name::TRAN_MSG)
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        && !(header.reconsume_times > 0 && put::delay_level(&properties) > 0);
    if put
        .topic
        .attributes
        .get("cleanup.policy")
        .map(String::as_str)
        == Some("COMPACTION")
        && properties.get(name::KEYS).is_none()
    {
        return Err(Fault::new(
            ResponseCode::MESSAGE_ILLEGAL,
            "Required message key is missing",
        ));
    }
    properties.set(name::CLUSTER, &broker.identity.cluster);
    if is_half {
        half::prepare(broker, &mut put, &mut properties, now_ms)?;
    } else {
        put::delay(broker, &mut put, &mut properties, now_ms)?;
    }
    let recall_handle = recall_handle(broker, &put, &properties);
    put.properties = properties.into_string();
    Ok(Checked {
        answer: Answer {
            store_host: put.store_host,
            queue_id,
            unique_id_of_batch: None,
            recall_handle,
            inner_messages: None,
        },
        put,
    })
}

/// A message with a priority goes to the queue of that number, or to the last one; one that is also something else has none.
/// Java: `SendMessageProcessor.sendMessage`, `TopicMessageType.parseFromMessageProperty`.
fn choose_by_priority(put: &mut Put, properties: &mut Properties) {
    let priority = properties
        .get(name::PRIORITY)
        .and_then(|p| p.parse::<i32>().ok());
    let Some(priority) = priority.filter(|priority| *priority >= 0) else {
        return;
    };
    let is_other = properties.get(name::TRAN_MSG) == Some("true")
        || put::asks_to_wait(properties)
        || properties.contains(name::SHARDING_KEY);
    if is_other {
        properties.remove(name::PRIORITY);
    } else {
        put.queue_id = priority.min(put.topic.write_queue_nums - 1).max(0);
    }
}

/// What takes a timed message back; nothing for one that is tried again. Java: `SendMessageProcessor.attachRecallHandle`.
fn recall_handle(broker: &Broker, put: &Put, properties: &Properties) -> Option<String> {
    if put.topic.topic_name != TIMER_TOPIC {
        return None;
    }
    let topic = properties.get(name::REAL_TOPIC)?;
    let out_ms: i64 = properties.get(name::TIMER_OUT_MS)?.parse().ok()?;
    let handle = RecallHandle {
        topic: topic.to_owned(),
        broker_name: broker.identity.broker_name.clone(),
        due: out_ms.saturating_add(1).to_string(),
        message_id: properties.get(name::UNIQ_KEY)?.to_owned(),
    };
    (!topic.starts_with(RETRY_PREFIX)).then(|| handle.encode())
}

/// A message that comes back from a consumer as a plain send: it goes to the dead letters when it has been tried too often, or
/// when the group consumes in order. Java: `SendMessageProcessor.handleRetryAndDLQ`.
fn retry_or_dead_letter(
    broker: &Broker,
    header: &SendMessageRequest<'_>,
    put: &mut Put,
    properties: &mut Properties,
    now_ms: i64,
) -> Result<(), Fault> {
    let group = header.topic.strip_prefix(RETRY_PREFIX).unwrap_or_default();
    let group = group.split_once('+').map_or(group, |(group, _)| group);
    let Some(config) = find::group(broker, group, now_ms) else {
        return Err(Fault::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            names::with_hint(format!("subscription group not exist, {group}")),
        ));
    };
    let max_times = header.max_reconsume_times.unwrap_or(config.retry_max_times);
    let is_ordered = broker.locks.lock().holds_any(group, now_ms);
    if header.reconsume_times <= max_times && !is_ordered {
        return Ok(());
    }
    put.topic = find::plain_topic(broker, &format!("{DLQ_PREFIX}{group}"), 1, false, now_ms);
    put.queue_id = 0;
    properties.set(name::DELAY, "-1");
    Ok(())
}

/// Items keep their own properties; nothing is added to them. On a topic with batch queues a batch that has an id of its own is stored as
/// one record, an inner batch. Java: `SendMessageProcessor.sendBatchMessage`.
fn check_batch(
    broker: &Broker,
    header: &SendMessageRequest<'_>,
    mut put: Put,
) -> Result<Checked, Fault> {
    if header.topic.len() > MAX_BATCH_TOPIC_BYTES {
        return Err(Fault::new(
            ResponseCode::MESSAGE_ILLEGAL,
            format!("message topic length too long {}", header.topic.len()),
        ));
    }
    if header.topic.starts_with(RETRY_PREFIX) {
        let group = header.topic.strip_prefix(RETRY_PREFIX).unwrap_or_default();
        return Err(Fault::new(
            ResponseCode::MESSAGE_ILLEGAL,
            format!("batch request does not support retry group {group}"),
        ));
    }
    let illegal = |reason: String| {
        Fault::new(
            ResponseCode::MESSAGE_ILLEGAL,
            format!("batch body: {reason}"),
        )
    };
    let count = batch::count(&put.body).map_err(|error| illegal(error.to_string()))?;
    let unique_id = properties::value_of(header.properties, name::UNIQ_KEY).map(str::to_owned);
    let is_inner = unique_id.is_some() && topics::has_batch_queues(&put.topic);
    if is_inner {
        // the unit of a batch queue has room for no more
        if count > MAX_INNER_MESSAGES {
            return Err(illegal(format!(
                "{count} messages, at most {MAX_INNER_MESSAGES} are stored as one"
            )));
        }
        let mut properties = Properties::parse(header.properties);
        put.batch = false;
        put.sys_flag |= sys_flag::NEED_UNWRAP | sys_flag::INNER_BATCH;
        properties.set(name::MSG_REGION, REGION);
        properties.set(name::TRACE_ON, "true");
        properties.set(name::CLUSTER, &broker.identity.cluster);
        properties.set(name::INNER_NUM, &count.to_string());
        put.properties = properties.into_string();
    }
    Ok(Checked {
        answer: Answer {
            store_host: put.store_host,
            queue_id: put.queue_id,
            unique_id_of_batch: unique_id,
            recall_handle: None,
            inner_messages: is_inner.then_some(count),
        },
        put,
    })
}

/// Every answer to a send has the region and the trace switch, errors too.
pub(super) fn with_region(fault: Fault) -> Fault {
    let mut fields = fault.fields.clone().unwrap_or_default();
    fields.push(name::MSG_REGION, REGION);
    fields.push(name::TRACE_ON, "true");
    fault.with_fields(fields)
}
