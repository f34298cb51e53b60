//! What becomes of popped messages: done (200051, 200151), or hidden for longer (200053).
//!
//! Java: `AckMessageProcessor`, `ChangeInvisibleTimeProcessor`.

use std::{sync::Arc, time::Duration};

use rocketry_protocol::{
    RemotingCommand, ResponseCode, body,
    body::{
        pop::{BatchAck, BatchAckMessageRequestBody},
        topics::TopicConfig,
    },
    header::{AckMessageRequest, ChangeInvisibleTimeReply, ChangeInvisibleTimeRequest},
    pop::{ORDERLY_REVIVE_QUEUE, Receipt, RetryMark},
};
use rocketry_remoting::Responder;
use tokio::time::Instant;

use super::{body_of, ok};
use crate::{
    broker::Broker,
    clock,
    fault::{Fault, into_response},
    names,
    pop::{
        QueueGuard,
        checkpoint::{self, Ack, CheckPoint},
        order,
    },
    put::PutFailure,
};

/// An acknowledgement that passed all checks.
struct Acked {
    topic: String,
    group: String,
    queue_id: i32,
    offsets: Vec<i64>,
    receipt: Receipt,
}

impl Acked {
    /// Its note, which is kept until the messages' time is up.
    fn note(&self) -> Ack {
        let Self {
            topic,
            group,
            queue_id,
            offsets,
            receipt,
        } = self;
        Ack::new(topic, group, *queue_id, receipt, offsets)
    }
}

/// Longest time that an acknowledgement in order waits for a pop that has the queue, and between two looks.
const QUEUE_WAIT: Duration = Duration::from_secs(3);
const QUEUE_BUSY: Duration = Duration::from_millis(2);

/// Code 200051. An acknowledgement that comes too late is accepted, and of no use.
pub(crate) fn ack(broker: &Arc<Broker>, request: &RemotingCommand, responder: Responder) {
    let acks = check_ack(broker, request).map(|acked| vec![acked]);
    store_all(broker, acks, responder);
}

/// Code 200151. What is wrong with single entries is passed by, as in Java.
pub(crate) fn batch_ack(broker: &Arc<Broker>, request: &RemotingCommand, responder: Responder) {
    let acks = body_of(request)
        .and_then(|text| Ok(body::decode::<BatchAckMessageRequestBody>(text)?))
        .and_then(|batch| {
            if batch.acks.is_empty() {
                return Err(Fault::new(ResponseCode::NO_MESSAGE, "the batch is empty"));
            }
            let of_entry = |entry: &BatchAck| of_batch(broker, &batch.broker_name, entry);
            Ok(batch.acks.iter().filter_map(of_entry).collect())
        });
    store_all(broker, acks, responder);
}

fn store_all(broker: &Arc<Broker>, acks: Result<Vec<Acked>, Fault>, responder: Responder) {
    let acks = match acks {
        Ok(acks) => acks,
        Err(fault) => return responder.respond(fault.into_response()),
    };
    let broker_of_task = Arc::clone(broker);
    broker.spawn(async move {
        let now_ms = clock::wall_ms();
        let (in_order, acks): (Vec<_>, Vec<_>) = acks
            .into_iter()
            .partition(|acked| acked.receipt.is_orderly());
        let begin = |acked: &Acked| {
            checkpoint::store_ack(&broker_of_task, &acked.note(), &acked.receipt, now_ms)
        };
        // All are on their way before the first is waited for.
        let begun: Vec<_> = acks.iter().map(begin).collect();
        let mut outcome = Ok(ok());
        for acked in &in_order {
            if let Err(fault) = ack_in_order(&broker_of_task, acked, now_ms).await {
                outcome = Err(fault);
            }
        }
        for ack in begun {
            match ack {
                Ok(stored) => {
                    if let Err(failure) = stored.await {
                        outcome = Err(Fault::system_error(failure.to_string()));
                    }
                }
                Err(fault) => outcome = Err(Fault::system_error(fault.remark)),
            }
        }
        responder.respond(into_response(outcome));
    });
}

/// Moves the group on as far as everything before is acknowledged. Java: `AckMessageProcessor.ackOrderly`.
async fn ack_in_order(broker: &Broker, acked: &Acked, now_ms: i64) -> Result<(), Fault> {
    let Acked {
        topic,
        group,
        queue_id,
        offsets,
        receipt,
    } = acked;
    let committed = broker.offsets.committed();
    let guard = wait_for_queue(broker, topic, group, *queue_id).await?;
    let mut foreign = Ok(());
    for offset in offsets {
        let before = committed.get(group, topic, *queue_id);
        if before.is_some_and(|before| *offset < before) {
            continue;
        }
        let pops = &broker.reader.metadata().ordered_pops;
        let outcome = pops.change(topic, group, *queue_id, |last| {
            order::ack(last, *offset, receipt.pop_ms)
        });
        match outcome {
            order::Acked::Late => {}
            order::Acked::Foreign => {
                foreign = Err(Fault::new(
                    ResponseCode::MESSAGE_ILLEGAL,
                    format!(
                        "offset is illegal, key:{topic}@{group}@{queue_id}, old:{}, commit:{offset}, next:-1",
                        before.unwrap_or(-1)
                    ),
                ));
            }
            order::Acked::Next(next) => {
                let place = (&**group, &**topic, *queue_id);
                broker.offsets.commit_from(before, place, next, now_ms);
            }
        }
    }
    drop(guard);
    broker
        .pops
        .wake_one(&Arc::from(topic.as_str()), group, *queue_id);
    foreign
}

async fn wait_for_queue<'a>(
    broker: &'a Broker,
    topic: &str,
    group: &str,
    queue_id: i32,
) -> Result<QueueGuard<'a>, Fault> {
    let deadline = Instant::now() + QUEUE_WAIT;
    loop {
        if let Some(guard) = broker.pops.try_lock(topic, group, queue_id) {
            return Ok(guard);
        }
        if Instant::now() >= deadline {
            return Err(Fault::new(
                ResponseCode::SYSTEM_BUSY,
                format!(
                    "another pop of {group} has had queue {queue_id} of {topic} for {QUEUE_WAIT:?}: acknowledge again"
                ),
            ));
        }
        tokio::time::sleep(QUEUE_BUSY).await;
    }
}

fn check_ack(broker: &Broker, request: &RemotingCommand) -> Result<Acked, Fault> {
    let header: AckMessageRequest<'_> = request.header()?;
    let receipt = Receipt::parse(header.extra_info)?;
    let topic = topic_of(broker, header.topic)?;
    check_queue(&topic, header.queue_id, header.consumer_group)?;
    let (min, max) = range_of(broker, header.topic, header.queue_id);
    if header.offset < min || header.offset > max {
        return Err(no_message(
            broker,
            (header.consumer_group, header.topic, header.queue_id),
            (min, max),
        ));
    }
    Ok(Acked {
        topic: header.topic.to_owned(),
        group: header.consumer_group.to_owned(),
        queue_id: header.queue_id,
        offsets: vec![header.offset],
        receipt,
    })
}

fn of_batch(broker: &Broker, broker_name: &str, entry: &BatchAck) -> Option<Acked> {
    let mark: RetryMark = entry.retry.parse().ok()?;
    let topic = mark.real_topic(&entry.topic, &entry.consumer_group);
    let config = broker.topics().get(&topic)?;
    check_queue(&config, entry.queue_id, &entry.consumer_group).ok()?;
    let (min, max) = range_of(broker, &topic, entry.queue_id);
    let offsets: Vec<i64> = entry
        .bit_set
        .as_ref()?
        .iter()
        .map(|bit| entry.start_offset.saturating_add(bit.into()))
        .filter(|offset| (min..=max).contains(offset))
        .collect();
    let receipt = Receipt {
        start_offset: entry.start_offset,
        pop_ms: entry.pop_time,
        invisible_ms: entry.invisible_time,
        revive_queue_id: entry.revive_queue_id,
        mark,
        broker_name: broker_name.to_owned(),
        queue_id: entry.queue_id,
        offset: None,
        commit_log_offset: None,
    };
    (!offsets.is_empty()).then(|| Acked {
        topic,
        group: entry.consumer_group.clone(),
        queue_id: entry.queue_id,
        offsets,
        receipt,
    })
}

/// Code 200053: the message is noted anew, and the note of before is done with. In order there is no note: the message stays with its pop
/// and is hidden for longer.
pub(crate) fn change_invisible_time(
    broker: &Arc<Broker>,
    request: &RemotingCommand,
    responder: Responder,
) {
    let now_ms = clock::wall_ms();
    let (check_point, acked) = match check_change(broker, request, now_ms) {
        Ok(changed) => changed,
        Err(fault) => return responder.respond(fault.into_response()),
    };
    if acked.receipt.is_orderly() {
        let broker_of_task = Arc::clone(broker);
        return broker.spawn(async move {
            let invisible_ms = check_point.invisible_ms;
            let reply = hide_in_order(&broker_of_task, &acked, invisible_ms, now_ms).await;
            responder.respond(into_response(reply.map(|reply| ok().with_header(&reply))));
        });
    }
    let revive_queue_id = broker.pops.next_revive_queue();
    let reply = ChangeInvisibleTimeReply {
        pop_time: check_point.pop_ms,
        invisible_time: check_point.invisible_ms,
        revive_qid: revive_queue_id,
    };
    let broker_of_task = Arc::clone(broker);
    broker.spawn_to_the_end(async move {
        let broker = &*broker_of_task;
        let changed = change(broker, &check_point, &acked, revive_queue_id, now_ms).await;
        responder.respond(into_response(changed.map(|()| ok().with_header(&reply))));
    });
}

/// Java: `ChangeInvisibleTimeProcessor.processChangeInvisibleTimeForOrder`.
async fn hide_in_order(
    broker: &Broker,
    acked: &Acked,
    invisible_ms: i64,
    now_ms: i64,
) -> Result<ChangeInvisibleTimeReply, Fault> {
    let (topic, group, queue_id) = (&acked.topic, &acked.group, acked.queue_id);
    let pop_ms = acked.receipt.pop_ms;
    let offset = acked.offsets.first().copied().unwrap_or(0);
    let guard = wait_for_queue(broker, topic, group, queue_id).await?;
    let committed = broker.offsets.committed().get(group, topic, queue_id);
    if committed.is_some_and(|committed| offset < committed) {
        // Acknowledged before: nothing is hidden.
        return Ok(ChangeInvisibleTimeReply {
            pop_time: 0,
            invisible_time: 0,
            revive_qid: 0,
        });
    }
    let visible_ms = now_ms.saturating_add(invisible_ms);
    let pops = &broker.reader.metadata().ordered_pops;
    pops.change(topic, group, queue_id, |last| {
        order::hide_until(last, offset, pop_ms, visible_ms);
    });
    drop(guard);
    // Who waits for the queue looks when to wait until.
    broker
        .pops
        .wake_one(&Arc::from(topic.as_str()), group, queue_id);
    Ok(ChangeInvisibleTimeReply {
        pop_time: pop_ms,
        invisible_time: visible_ms.saturating_sub(pop_ms),
        revive_qid: ORDERLY_REVIVE_QUEUE,
    })
}

async fn change(
    broker: &Broker,
    check_point: &CheckPoint,
    acked: &Acked,
    revive_queue_id: i32,
    now_ms: i64,
) -> Result<(), Fault> {
    let failed = |failure: PutFailure| Fault::system_error(failure.to_string());
    checkpoint::store_check_point(broker, check_point, revive_queue_id, now_ms)?
        .await
        .map_err(failed)?;
    checkpoint::store_ack(broker, &acked.note(), &acked.receipt, now_ms)?
        .await
        .map_err(failed)?;
    Ok(())
}

fn check_change(
    broker: &Broker,
    request: &RemotingCommand,
    now_ms: i64,
) -> Result<(CheckPoint, Acked), Fault> {
    let header: ChangeInvisibleTimeRequest<'_> = request.header()?;
    let receipt = Receipt::parse(header.extra_info)?;
    let (topic, group, queue_id) = (header.topic, header.consumer_group, header.queue_id);
    let config = topic_of(broker, topic)?;
    check_queue(&config, queue_id, group)?;
    let (min, max) = range_of(broker, topic, queue_id);
    if header.offset < min || header.offset >= max {
        return Err(no_message(broker, (group, topic, queue_id), (min, max)));
    }
    checkpoint::check_invisible_time(broker, header.invisible_time)?;
    let mut check_point = CheckPoint::new(
        (topic, group, queue_id),
        (now_ms, header.invisible_time),
        &[header.offset],
        &broker.identity.broker_name,
    );
    check_point.suspend = header.suspend;
    let acked = Acked {
        topic: topic.to_owned(),
        group: group.to_owned(),
        queue_id,
        offsets: vec![header.offset],
        receipt,
    };
    Ok((check_point, acked))
}

fn topic_of(broker: &Broker, topic: &str) -> Result<Arc<TopicConfig>, Fault> {
    broker.topics().get(topic).ok_or_else(|| {
        Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            names::with_hint(format!("topic[{topic}] not exist, apply first please! ")),
        )
    })
}

fn check_queue(topic: &TopicConfig, queue_id: i32, group: &str) -> Result<(), Fault> {
    if (0..topic.read_queue_nums).contains(&queue_id) {
        return Ok(());
    }
    Err(Fault::new(
        ResponseCode::MESSAGE_ILLEGAL,
        format!(
            "queueId[{queue_id}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}] consumer:[{group}]",
            topic.topic_name, topic.read_queue_nums
        ),
    ))
}

fn range_of(broker: &Broker, topic: &str, queue_id: i32) -> (i64, i64) {
    let range = broker.reader.queue_range(topic, queue_id);
    range.map_or((0, 0), |range| (range.min, range.max))
}

fn no_message(
    broker: &Broker,
    (group, topic, queue_id): (&str, &str, i32),
    (min, max): (i64, i64),
) -> Fault {
    let committed = broker.offsets.committed().get(group, topic, queue_id);
    Fault::new(
        ResponseCode::NO_MESSAGE,
        format!(
            "offset is illegal, key:{topic}@{queue_id}, commit:{}, store:{min}~{max}",
            committed.unwrap_or(-1)
        ),
    )
}
