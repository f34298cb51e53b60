//! Pops (200050): taking messages of a queue, or of any, for a time; and waiting for a message when there is none. Who only wants to
//! know whether there is one (200054) waits the same way.
//!
//! Java: `PopMessageProcessor`, `NotificationProcessor`, `PopLongPollingService`. Differs from Java: waits end exactly when their time is up, and a queue is kept
//! from other pops of the group until what was taken is noted.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rocketry_protocol::{
    Properties, RemotingCommand, ResponseCode,
    body::topics::perm,
    header::{
        NotificationReply, NotificationRequest, PollingInfoReply, PollingInfoRequest,
        PopMessageReply, PopMessageRequest,
    },
    pop::{
        MessageOffsets, Receipt, RetryMark, StartOffsets, format_message_offsets,
        format_start_offsets, retry_topic_v1, retry_topic_v2,
    },
    properties::name,
    record::{Record, records},
};
use rocketry_remoting::Responder;
use rocketry_store::{Filter, QueueRange, ReadLimits, ReadOutcome, ReadStatus};
use tokio::time::Instant;

use super::ok;
use crate::{
    broker::Broker,
    clock,
    fault::{Fault, Reply},
    filter::{MessageFilter, TagFilter, is_tag_type},
    find,
    hold::{QueueKey, Waiter},
    names,
    pop::{
        ANY_QUEUE,
        checkpoint::{self, CheckPoint},
    },
};

/// Longest wait that a client may ask for; longer ones are cut. Java clients ask for 15 s.
const MAX_POLL: Duration = Duration::from_mins(5);

/// A wait shorter than this is none. Java: `PopLongPollingService`, 50 ms.
const SHORTEST_POLL: Duration = Duration::from_millis(50);

/// A request that is this much older than its own wait is not carried out any more. Java: `PopMessageRequestHeader.isTimeoutTooMuch`.
const TOO_LATE_MS: i64 = 500;

/// Most messages of an answer. Java: `PopMessageProcessor.processRequest`.
const MAX_MESSAGES: i32 = 32;

/// Bytes after which no further queue is looked into.
const ENOUGH_BYTES: usize = 256 * 1024;

/// How often out of a hundred times retried messages come first. Java: `popFromRetryProbability`.
const RETRY_FIRST_PERCENT: u32 = 20;

/// Time after which a queue that another pop has is looked at again.
const QUEUE_BUSY: Duration = Duration::from_millis(10);

/// A pop that passed all checks.
#[derive(Debug)]
pub(crate) struct Pop {
    topic: Arc<str>,
    group: Arc<str>,
    /// -1: any.
    queue_id: i32,
    max_messages: usize,
    invisible_ms: i64,
    /// Where a group without offsets starts.
    from_beginning: bool,
    filter: Arc<MessageFilter>,
    deadline: Instant,
    wish: Wish,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wish {
    /// To take messages.
    Take,
    /// To know that there is one.
    Notice,
}

/// A pop that waits for a message.
#[derive(Debug)]
pub(crate) struct HeldPop {
    pop: Pop,
    responder: Responder,
}

impl HeldPop {
    /// Whom it is for, and for what: a message that wakes a notice is still there for a pop.
    pub(crate) fn kind(&self) -> (Arc<str>, Wish) {
        (Arc::clone(&self.pop.group), self.pop.wish)
    }

    pub(crate) fn is_of(&self, group: &str) -> bool {
        *self.pop.group == *group
    }

    pub(crate) fn wants_tags(&self, tags_code: i64) -> bool {
        self.pop.filter.matches_tags(tags_code)
    }
}

impl Waiter for HeldPop {
    fn wants(&self, _: i64, tags_code: i64) -> bool {
        self.wants_tags(tags_code)
    }
}

/// Code 200050: answers with messages, or keeps the request until one comes or its time is up.
pub(crate) fn pop(broker: &Arc<Broker>, request: &RemotingCommand, responder: Responder) {
    match check(broker, request, clock::wall_ms()) {
        Ok(pop) => resume(broker, HeldPop { pop, responder }),
        Err(fault) => responder.respond(fault.into_response()),
    }
}

/// Code 200054: answers once there is a message, or when the time is up.
pub(crate) fn notification(broker: &Arc<Broker>, request: &RemotingCommand, responder: Responder) {
    match check_notification(broker, request, clock::wall_ms()) {
        Ok(pop) => resume(broker, HeldPop { pop, responder }),
        Err(fault) => responder.respond(fault.into_response()),
    }
}

/// A notification is a pop that takes nothing.
fn check_notification(
    broker: &Broker,
    request: &RemotingCommand,
    now_ms: i64,
) -> Result<Pop, Fault> {
    let header: NotificationRequest<'_> = request.header()?;
    let pop = PopMessageRequest {
        consumer_group: header.consumer_group,
        topic: header.topic,
        queue_id: header.queue_id,
        max_msg_nums: 1,
        invisible_time: 0,
        poll_time: header.poll_time,
        born_time: header.born_time,
        init_mode: 0,
        exp_type: header.exp_type,
        exp: header.exp,
        order: header.order,
        attempt_id: header.attempt_id,
        broker_name: None,
    };
    Ok(Pop {
        wish: Wish::Notice,
        ..check_header(broker, &pop, now_ms)?
    })
}

/// Goes on with a pop that waited, or begins one.
pub(crate) fn resume(broker: &Arc<Broker>, held: HeldPop) {
    let broker_of_task = Arc::clone(broker);
    broker.spawn(async move { serve(&broker_of_task, held).await });
}

/// Answers a pop that waits no longer, for a server that stops.
pub(crate) fn release(held: HeldPop) {
    held.responder
        .respond(nothing(held.pop.wish, ResponseCode::POLLING_TIMEOUT));
}

/// Code 200055.
pub(crate) fn polling_info(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: PollingInfoRequest<'_> = request.header()?;
    let queue = QueueKey {
        topic: Arc::from(header.topic),
        queue_id: header.queue_id,
    };
    let waiting = broker
        .pops
        .polls
        .count_of(&queue, |held| held.is_of(header.consumer_group));
    Ok(ok().with_header(&PollingInfoReply {
        polling_num: i32::try_from(waiting).unwrap_or(i32::MAX),
    }))
}

/// Java: the checks of `PopMessageProcessor.processRequest`, in its order.
fn check(broker: &Broker, request: &RemotingCommand, now_ms: i64) -> Result<Pop, Fault> {
    check_header(broker, &request.header()?, now_ms)
}

fn check_header(
    broker: &Broker,
    header: &PopMessageRequest<'_>,
    now_ms: i64,
) -> Result<Pop, Fault> {
    let ip = broker.identity.store_host.ip();
    let (topic, group, queue_id) = (header.topic, header.consumer_group, header.queue_id);
    let born_ms = if header.born_time == 0 {
        now_ms
    } else {
        header.born_time
    };
    let left_ms = born_ms
        .saturating_add(header.poll_time)
        .saturating_sub(now_ms);
    if left_ms < -TOO_LATE_MS {
        return Err(Fault::new(
            ResponseCode::POLLING_TIMEOUT,
            format!("the broker[{ip}] pop message is timeout too much"),
        ));
    }
    let no_permission = |remark: String| Fault::new(ResponseCode::NO_PERMISSION, remark);
    if broker.permission.load(Ordering::Relaxed) & perm::READ == 0 {
        return Err(no_permission(format!(
            "the broker[{ip}] pop message is forbidden"
        )));
    }
    let invalid = |remark: String| Fault::new(ResponseCode::INVALID_PARAMETER, remark);
    if header.max_msg_nums > MAX_MESSAGES {
        return Err(invalid(format!(
            "the broker[{ip}] pop message's num is greater than {MAX_MESSAGES}"
        )));
    }
    let Some(config) = broker.topics().get(topic) else {
        return Err(Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            names::with_hint(format!("topic[{topic}] not exist, apply first please! ")),
        ));
    };
    if config.perm & perm::READ == 0 {
        return Err(no_permission(format!(
            "the topic[{topic}] peeking message is forbidden"
        )));
    }
    if queue_id >= config.read_queue_nums {
        return Err(invalid(format!(
            "queueId[{queue_id}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{}] consumer:[{group}]",
            config.read_queue_nums
        )));
    }
    let Some(group_config) = find::group(broker, group, now_ms) else {
        return Err(Fault::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            names::with_hint(format!("subscription group [{group}] does not exist, ")),
        ));
    };
    if !group_config.consume_enable {
        return Err(no_permission(format!(
            "subscription group no permission, {group}"
        )));
    }
    if header.order == Some(true) {
        return Err(Fault::new(
            ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
            "this server pops messages in no particular order: consume them in order by pulling",
        ));
    }
    checkpoint::check_invisible_time(broker, header.invisible_time)?;
    let wait = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).min(MAX_POLL);
    Ok(Pop {
        topic: Arc::from(topic),
        group: Arc::from(group),
        queue_id: queue_id.max(ANY_QUEUE),
        max_messages: usize::try_from(header.max_msg_nums).unwrap_or(1).max(1),
        invisible_ms: header.invisible_time,
        from_beginning: header.init_mode == 0,
        filter: Arc::new(filter(broker, header)?),
        deadline: Instant::now() + wait,
        wish: Wish::Take,
    })
}

fn filter(broker: &Broker, header: &PopMessageRequest<'_>) -> Result<MessageFilter, Fault> {
    const FAILED: &str = "parse the consumer's subscription failed";
    let fault = |remark| Fault::new(ResponseCode::SUBSCRIPTION_PARSE_FAILED, remark);
    let Some(expression) = header.exp.filter(|text| !text.is_empty()) else {
        return Ok(MessageFilter::Tags(TagFilter::All));
    };
    match header.exp_type {
        Some(kind) if !is_tag_type(Some(kind)) => broker
            .expressions
            .compiled(kind, Some(expression))
            .map(MessageFilter::Sql92)
            .map_err(|error| fault(format!("{FAILED}: {error}"))),
        _ => TagFilter::parse(Some(expression))
            .map(MessageFilter::Tags)
            .map_err(|_| fault(FAILED.to_owned())),
    }
}

async fn serve(broker: &Arc<Broker>, held: HeldPop) {
    let HeldPop { pop, responder } = held;
    loop {
        if pop.wish == Wish::Notice && has_more(broker, &pop.topic, &pop.group, pop.queue_id) {
            responder.respond(ok().with_header(&NotificationReply {
                has_msg: true,
                polling_full: false,
            }));
            return;
        }
        let taken = match pop.wish {
            Wish::Take => match take(broker, &pop).await {
                Ok(taken) => taken,
                Err(fault) => return responder.respond(fault.into_response()),
            },
            Wish::Notice => Taken::nothing(broker),
        };
        if taken.count > 0 {
            if taken.rest > 0 {
                broker.pops.wake_one(&pop.topic, &pop.group, pop.queue_id);
            }
            responder.respond(taken.into_response(pop.invisible_ms));
            return;
        }
        if pop.deadline <= Instant::now() + SHORTEST_POLL {
            // Java waits such a short time out as well.
            tokio::time::sleep_until(pop.deadline).await;
            responder.respond(nothing(pop.wish, ResponseCode::POLLING_TIMEOUT));
            return;
        }
        if taken.met_busy_queue {
            tokio::time::sleep(QUEUE_BUSY).await;
            continue;
        }
        keep(broker, HeldPop { pop, responder });
        return;
    }
}

/// Lets a pop wait. What came between the look and the wait is noticed.
fn keep(broker: &Arc<Broker>, held: HeldPop) {
    let pop = &held.pop;
    let (topic, group, queue_id) = (Arc::clone(&pop.topic), Arc::clone(&pop.group), pop.queue_id);
    let queue = QueueKey {
        topic: Arc::clone(&topic),
        queue_id,
    };
    for retry in [
        retry_topic_v1(&topic, &group),
        retry_topic_v2(&topic, &group),
    ] {
        broker.pops.note_retry_topic(&retry, &topic, &group);
    }
    let (connection, deadline) = (held.responder.connection().id(), pop.deadline);
    let id = match broker.pops.polls.hold(queue, connection, deadline, held) {
        Ok(id) => id,
        Err(held) => {
            let full = nothing(held.pop.wish, ResponseCode::POLLING_FULL);
            held.responder.respond(full);
            return;
        }
    };
    if has_more(broker, &topic, &group, queue_id)
        && let Some(held) = broker.pops.polls.take(id)
    {
        resume(broker, held);
    }
}

fn has_more(broker: &Broker, topic: &str, group: &str, queue_id: i32) -> bool {
    sources(broker, topic, group, queue_id)
        .into_iter()
        .any(|source| {
            let range = broker.reader.queue_range(&source.topic, source.queue_id);
            let committed = broker
                .offsets
                .committed()
                .get(group, &source.topic, source.queue_id);
            range.is_some_and(|range| range.max > committed.unwrap_or(range.min))
        })
}

/// A queue that a pop looks into.
#[derive(Debug)]
struct Source {
    topic: String,
    mark: RetryMark,
    queue_id: i32,
}

/// The queues of the topic, from a random one on if any will do, and behind them those of the group's retry topics.
fn sources(broker: &Broker, topic: &str, group: &str, queue_id: i32) -> Vec<Source> {
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
    let (v1, v2) = (retry_topic_v1(topic, group), retry_topic_v2(topic, group));
    own.into_iter()
        .map(|(mark, queue_id)| (topic.to_owned(), mark, queue_id))
        .chain(
            of(&v1, RetryMark::RetryV1)
                .into_iter()
                .map(|(mark, id)| (v1.clone(), mark, id)),
        )
        .chain(
            of(&v2, RetryMark::RetryV2)
                .into_iter()
                .map(|(mark, id)| (v2.clone(), mark, id)),
        )
        .map(|(topic, mark, queue_id)| Source {
            topic,
            mark,
            queue_id,
        })
        .collect()
}

/// What a pop took.
struct Taken {
    pop_ms: i64,
    revive_queue_id: i32,
    messages: BytesMut,
    count: usize,
    /// Messages that are left.
    rest: i64,
    starts: StartOffsets,
    offsets: MessageOffsets,
    /// Another pop of the group had a queue.
    met_busy_queue: bool,
}

impl Taken {
    fn nothing(broker: &Broker) -> Self {
        Self {
            pop_ms: clock::wall_ms(),
            revive_queue_id: broker.pops.next_revive_queue(),
            messages: BytesMut::new(),
            count: 0,
            rest: 0,
            starts: StartOffsets::new(),
            offsets: MessageOffsets::new(),
            met_busy_queue: false,
        }
    }

    fn into_response(self, invisible_ms: i64) -> RemotingCommand {
        ok().with_header(&PopMessageReply {
            pop_time: self.pop_ms,
            invisible_time: invisible_ms,
            revive_qid: self.revive_queue_id,
            rest_num: self.rest,
            start_offset_info: Some(format_start_offsets(&self.starts)),
            msg_offset_info: Some(format_message_offsets(&self.offsets)),
            order_count_info: None,
        })
        .with_remark(ReadStatus::Found.name())
        .with_body(self.messages)
    }
}

fn nothing(wish: Wish, code: ResponseCode) -> RemotingCommand {
    if wish == Wish::Notice {
        return ok().with_header(&NotificationReply {
            has_msg: false,
            polling_full: code == ResponseCode::POLLING_FULL,
        });
    }
    RemotingCommand::response(code)
        .with_header(&PopMessageReply {
            pop_time: 0,
            invisible_time: 0,
            revive_qid: 0,
            rest_num: 0,
            start_offset_info: Some(String::new()),
            msg_offset_info: Some(String::new()),
            order_count_info: None,
        })
        .with_remark(ReadStatus::NoMessageInQueue.name())
}

/// Takes what there is. A queue that cannot be popped from does not keep the others back; when nothing else was taken, its fault is the
/// answer.
async fn take(broker: &Broker, pop: &Pop) -> Result<Taken, Fault> {
    let mut taken = Taken::nothing(broker);
    let mut sources = sources(broker, &pop.topic, &pop.group, pop.queue_id);
    if fastrand::u32(0..100) < RETRY_FIRST_PERCENT {
        // Stable: only retried messages come forward.
        sources.sort_by_key(|source| source.mark == RetryMark::Normal);
    }
    let mut failed = None;
    for source in sources {
        if let Err(reason) = take_from(broker, pop, &source, &mut taken).await {
            let (topic, queue_id) = (&source.topic, source.queue_id);
            tracing::error!(reason, topic, queue_id, "a queue could not be popped from");
            failed.get_or_insert(format!(
                "queue {queue_id} of topic {topic} could not be popped from: {reason}"
            ));
        }
    }
    match failed {
        Some(reason) if taken.count == 0 => Err(Fault::system_error(reason)),
        _ => Ok(taken),
    }
}

/// Java: `PopMessageProcessor.popMsgFromQueue`.
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
    if taken.count >= pop.max_messages || taken.messages.len() >= ENOUGH_BYTES {
        taken.rest += (range.max - offset).max(0);
        return Ok(());
    }
    let read = read(broker, pop, source, offset, pop.max_messages - taken.count)?;
    let commit = |offset| {
        let (topic, queue_id) = (&source.topic, source.queue_id);
        broker
            .offsets
            .commit(&pop.group, topic, queue_id, offset, taken.pop_ms);
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
    broker.stats.count_get(offsets.len() as u64);
    if source.mark == RetryMark::Normal {
        taken.messages.extend_from_slice(&read.messages);
    } else {
        restore(broker, pop, source, &check_point, &read.messages, taken)?;
    }
    let key = (source.mark, source.queue_id);
    taken.starts.insert(key, check_point.start_offset);
    taken.offsets.insert(key, offsets);
    Ok(())
}

/// Where the group is in the queue. A group that is new there is noted at once, as in Java.
fn start_of(broker: &Broker, pop: &Pop, source: &Source, range: QueueRange, now_ms: i64) -> i64 {
    let (topic, queue_id) = (source.topic.as_str(), source.queue_id);
    let reset = broker.offsets.take_reset(&pop.group, topic, queue_id);
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
    committed.set(&pop.group, topic, queue_id, offset, now_ms);
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
