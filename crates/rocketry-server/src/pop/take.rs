//! What a pop takes: messages of a queue, or of any, and of the group's retry topics.
//!
//! Java: `PopMessageProcessor.popMsgFromQueue`. Differs from Java: a queue is kept from other pops of the group until what was taken is
//! noted.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rocketry_protocol::{
    Properties, RemotingCommand, ResponseCode,
    header::PopMessageReply,
    pop::{
        MessageOffsets, ORDERLY_REVIVE_QUEUE, OrderCounts, Receipt, RetryMark, StartOffsets,
        format_message_offsets, format_order_counts, format_start_offsets, retry_topic_v1,
        retry_topic_v2,
    },
    properties::name,
    record::{Record, records},
};
use rocketry_store::{
    Filter, QueueRange, ReadLimits, ReadOutcome, ReadStatus, metadata::OrderedPop,
};

use super::{
    ANY_QUEUE,
    checkpoint::{self, CheckPoint},
    order,
};
use crate::{broker::Broker, clock, fault::Fault, processor::pop::Pop};

/// Bytes after which no further queue is looked into.
const ENOUGH_BYTES: usize = 256 * 1024;

/// How often out of a hundred times retried messages come first. Java: `popFromRetryProbability`.
const RETRY_FIRST_PERCENT: u32 = 20;

/// Whether there is something to take now.
pub(crate) fn has_more(broker: &Broker, pop: &Pop) -> bool {
    let now_ms = clock::wall_ms();
    sources(broker, pop).into_iter().any(|source| {
        is_behind(broker, pop, &source) && blocked_until(broker, pop, &source, now_ms).is_none()
    })
}

/// How long it is until the first of the queues that are blocked for a pop in order gives messages again.
pub(crate) fn blocked_for(broker: &Broker, pop: &Pop) -> Option<Duration> {
    if !pop.in_order {
        return None;
    }
    let now_ms = clock::wall_ms();
    let first_ms = sources(broker, pop)
        .iter()
        .filter(|source| is_behind(broker, pop, source))
        .filter_map(|source| blocked_until(broker, pop, source, now_ms))
        .min()?;
    let blocked_ms = u64::try_from(first_ms.saturating_sub(now_ms)).unwrap_or(0);
    Some(Duration::from_millis(blocked_ms))
}

fn is_behind(broker: &Broker, pop: &Pop, source: &Source) -> bool {
    let range = broker.reader.queue_range(&source.topic, source.queue_id);
    let committed = broker
        .offsets
        .committed()
        .get(&pop.group, &source.topic, source.queue_id);
    range.is_some_and(|range| range.max > committed.unwrap_or(range.min))
}

fn blocked_until(broker: &Broker, pop: &Pop, source: &Source, now_ms: i64) -> Option<i64> {
    if !pop.in_order {
        return None;
    }
    broker
        .reader
        .metadata()
        .ordered_pops
        .look(&source.topic, &pop.group, source.queue_id, |last| {
            order::blocked_until(last, pop.attempt_id.as_deref(), now_ms)
        })
}

/// A queue that a pop looks into.
#[derive(Debug)]
struct Source {
    topic: String,
    mark: RetryMark,
    queue_id: i32,
}

/// The queues of the topic, from a random one on if any will do, and behind them those of the group's retry topics. In order, nothing
/// goes to a retry topic.
fn sources(broker: &Broker, pop: &Pop) -> Vec<Source> {
    let (topic, group, queue_id) = (&*pop.topic, &*pop.group, pop.queue_id);
    let of = |topic: &str, mark| {
        let queues = broker
            .topics()
            .get(topic)
            .map_or(0, |topic| topic.read_queue_nums);
        (0..queues)
            .map(move |queue_id| (mark, queue_id))
            .collect::<Vec<_>>()
    };
    let mut own = of(topic, RetryMark::Normal);
    if queue_id == ANY_QUEUE {
        let queues = own.len();
        own.rotate_left(fastrand::usize(0..=queues));
    } else {
        own.retain(|(_, id)| *id == queue_id);
    }
    let mut queues = vec![(topic.to_owned(), own)];
    if !pop.in_order {
        let (v1, v2) = (retry_topic_v1(topic, group), retry_topic_v2(topic, group));
        let of_v1 = of(&v1, RetryMark::RetryV1);
        let of_v2 = of(&v2, RetryMark::RetryV2);
        queues.extend([(v1, of_v1), (v2, of_v2)]);
    }
    queues
        .into_iter()
        .flat_map(|(topic, queues)| {
            queues.into_iter().map(move |(mark, queue_id)| Source {
                topic: topic.clone(),
                mark,
                queue_id,
            })
        })
        .collect()
}

/// What a pop took.
pub(crate) struct Taken {
    pop_ms: i64,
    revive_queue_id: i32,
    messages: BytesMut,
    pub(crate) count: usize,
    /// Messages that are left.
    pub(crate) rest: i64,
    starts: StartOffsets,
    offsets: MessageOffsets,
    /// How often messages were taken in order before.
    counts: OrderCounts,
    /// Another pop of the group had a queue.
    pub(crate) met_busy_queue: bool,
}

impl Taken {
    pub(crate) fn nothing(broker: &Broker, pop: &Pop) -> Self {
        Self {
            pop_ms: clock::wall_ms(),
            revive_queue_id: if pop.in_order {
                ORDERLY_REVIVE_QUEUE
            } else {
                broker.pops.next_revive_queue()
            },
            messages: BytesMut::new(),
            count: 0,
            rest: 0,
            starts: StartOffsets::new(),
            offsets: MessageOffsets::new(),
            counts: OrderCounts::new(),
            met_busy_queue: false,
        }
    }

    pub(crate) fn into_response(self, pop: &Pop) -> RemotingCommand {
        let reply = PopMessageReply {
            pop_time: self.pop_ms,
            invisible_time: pop.invisible_ms,
            revive_qid: self.revive_queue_id,
            rest_num: self.rest,
            start_offset_info: Some(format_start_offsets(&self.starts)),
            msg_offset_info: Some(format_message_offsets(&self.offsets)),
            order_count_info: pop.in_order.then(|| format_order_counts(&self.counts)),
        };
        RemotingCommand::response(ResponseCode::SUCCESS)
            .with_header(&reply)
            .with_remark(ReadStatus::Found.name())
            .with_body(self.messages)
    }
}

/// Takes what there is. A queue that cannot be popped from does not keep the others back; when nothing else was taken, its fault is the
/// answer.
pub(crate) async fn take(broker: &Broker, pop: &Pop) -> Result<Taken, Fault> {
    let mut taken = Taken::nothing(broker, pop);
    let mut sources = sources(broker, pop);
    if fastrand::u32(0..100) < RETRY_FIRST_PERCENT {
        // Stable: only retried messages come forward.
        sources.sort_by_key(|source| source.mark == RetryMark::Normal);
    }
    let mut failed = None;
    for source in sources {
        if let Err(reason) = take_from(broker, pop, &source, &mut taken).await {
            let (topic, queue_id) = (&source.topic, source.queue_id);
            tracing::error!(reason, topic, queue_id, "a queue could not be popped from");
            failed.get_or_insert_with(|| {
                format!("queue {queue_id} of topic {topic} could not be popped from: {reason}")
            });
        }
    }
    match failed {
        Some(reason) if taken.count == 0 => Err(Fault::system_error(reason)),
        _ => Ok(taken),
    }
}

async fn take_from(
    broker: &Broker,
    pop: &Pop,
    source: &Source,
    taken: &mut Taken,
) -> Result<(), String> {
    let Some(range) = broker.reader.queue_range(&source.topic, source.queue_id) else {
        return Ok(());
    };
    let Some(_guard) = broker
        .pops
        .try_lock(&source.topic, &pop.group, source.queue_id)
    else {
        taken.met_busy_queue = true;
        return Ok(());
    };
    let offset = start_of(broker, pop, source, range, taken.pop_ms);
    if blocked_until(broker, pop, source, taken.pop_ms).is_some() {
        // What is left does not count: it would wake others in vain.
        return Ok(());
    }
    if taken.count >= pop.max_messages || taken.messages.len() >= ENOUGH_BYTES {
        taken.rest += (range.max - offset).max(0);
        return Ok(());
    }
    let read = read(broker, pop, source, offset, pop.max_messages - taken.count)?;
    let pop_ms = taken.pop_ms;
    let commit = |next| {
        let place = (&*pop.group, &*source.topic, source.queue_id);
        let offsets = &broker.offsets;
        offsets.commit_from(Some(offset), place, next, pop_ms);
    };
    if read.count == 0 {
        // What the filter refused, or is no longer stored, is passed by.
        if read.next_offset != offset {
            commit(read.next_offset);
        }
        return Ok(());
    }
    let offsets = records(&read.messages)
        .map(|record| record.map(|record| record.queue_offset))
        .collect::<Result<Vec<i64>, _>>()
        .map_err(|error| error.to_string())?;
    let key = (source.mark, source.queue_id);
    if pop.in_order {
        let first = offsets.first().copied().unwrap_or(offset);
        broker.reader.metadata().ordered_pops.change(
            &source.topic,
            &pop.group,
            source.queue_id,
            |last| {
                order::take(
                    last,
                    pop.attempt_id.as_deref(),
                    (pop_ms, pop.invisible_ms),
                    &offsets,
                    source.queue_id,
                    &mut taken.counts,
                );
            },
        );
        // It moves on with acknowledgements only.
        commit(first);
        taken.rest += (read.max_offset - read.next_offset).max(0);
        taken.count += offsets.len();
        count_get(broker, pop, source, &read);
        taken.messages.extend_from_slice(&read.messages);
        taken.starts.insert(key, first);
        taken.offsets.insert(key, offsets);
        return Ok(());
    }
    let check_point = CheckPoint::new(
        (&source.topic, &pop.group, source.queue_id),
        (taken.pop_ms, pop.invisible_ms),
        &offsets,
        &broker.identity.broker_name,
    );
    // Nothing is handed out whose return is not seen to.
    checkpoint::store_check_point(broker, &check_point, taken.revive_queue_id, taken.pop_ms)
        .map_err(|fault| fault.remark)?
        .await
        .map_err(|failure| format!("what it took could not be noted: {failure}"))?;
    commit(read.next_offset);
    taken.rest += (read.max_offset - read.next_offset).max(0);
    taken.count += offsets.len();
    count_get(broker, pop, source, &read);
    if source.mark == RetryMark::Normal {
        taken.messages.extend_from_slice(&read.messages);
    } else {
        restore(broker, pop, source, &check_point, &read.messages, taken)?;
    }
    taken.starts.insert(key, check_point.start_offset);
    taken.offsets.insert(key, offsets);
    Ok(())
}

/// Where the group is in the queue. A group that is new there is noted at once, as in Java.
fn start_of(broker: &Broker, pop: &Pop, source: &Source, range: QueueRange, now_ms: i64) -> i64 {
    let (topic, queue_id) = (source.topic.as_str(), source.queue_id);
    let reset = broker.offsets.take_reset(&pop.group, topic, queue_id);
    if reset.is_some() {
        let forget = |last: &mut Option<OrderedPop>| *last = None;
        let pops = &broker.reader.metadata().ordered_pops;
        pops.change(topic, &pop.group, queue_id, forget);
    }
    let committed = broker.offsets.committed();
    if let Some(offset) = reset.or_else(|| committed.get(&pop.group, topic, queue_id)) {
        return offset;
    }
    let offset = if pop.from_beginning || source.mark != RetryMark::Normal {
        range.min
    } else if range.min <= 0 && range.max > 0 {
        0
    } else {
        (range.max - 1).max(0)
    };
    let place = (&*pop.group, topic, queue_id);
    broker.offsets.commit_from(None, place, offset, now_ms);
    offset
}

fn read(
    broker: &Broker,
    pop: &Pop,
    source: &Source,
    offset: i64,
    max_messages: usize,
) -> Result<ReadOutcome, String> {
    let filter = (source.mark == RetryMark::Normal && !pop.filter.is_all()).then_some(&*pop.filter);
    let limits = ReadLimits {
        max_messages,
        max_bytes: ENOUGH_BYTES,
        ..ReadLimits::default()
    };
    let at = |offset| {
        broker
            .reader
            .read(
                &source.topic,
                source.queue_id,
                offset,
                &limits,
                filter.map(|filter| -> &dyn Filter { filter }),
            )
            .map_err(|error| error.to_string())
    };
    let first = at(offset)?;
    match first.status {
        ReadStatus::OffsetTooSmall
        | ReadStatus::OffsetOverflowBadly
        | ReadStatus::OffsetFoundNull
            if first.next_offset != offset =>
        {
            at(first.next_offset)
        }
        _ => Ok(first),
    }
}

/// Messages of a retry topic go out under the topic they were sent to, with the receipt that clients make themselves for others.
fn restore(
    broker: &Broker,
    pop: &Pop,
    source: &Source,
    check_point: &CheckPoint,
    messages: &Bytes,
    taken: &mut Taken,
) -> Result<(), String> {
    let mut out = Vec::new();
    for record in records(messages) {
        let record = record.map_err(|error| error.to_string())?;
        let mut properties = Properties::parse_bytes(record.properties);
        if !properties.contains(name::POP_CK) {
            let receipt = Receipt {
                start_offset: check_point.start_offset,
                pop_ms: taken.pop_ms,
                invisible_ms: pop.invisible_ms,
                revive_queue_id: taken.revive_queue_id,
                mark: source.mark,
                broker_name: broker.identity.broker_name.clone(),
                queue_id: source.queue_id,
                offset: Some(record.queue_offset),
                commit_log_offset: None,
            };
            properties.set(name::POP_CK, &receipt.to_string());
        }
        Record {
            topic: &pop.topic,
            properties: properties.as_str().as_bytes(),
            ..record
        }
        .encode(&mut out)
        .map_err(|error| error.to_string())?;
    }
    taken.messages.extend_from_slice(&out);
    Ok(())
}

fn count_get(broker: &Broker, pop: &Pop, source: &Source, read: &ReadOutcome) {
    let bytes = read.messages.len();
    broker.stats.count_get(read.count as u64, bytes as u64);
    broker
        .rates
        .count_get(&source.topic, &pop.group, read.count, bytes);
}
