//! Pulls (11, 361): reading a queue, and waiting for a message when there is none.
//!
//! Java: `PullMessageProcessor`, `PullRequestHoldService`. Differs from Java: waits end exactly when their time is up, and a message
//! that the filter refuses does not end them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use rocketry_protocol::{
    FieldWriter, Fields, RemotingCommand, ResponseCode,
    body::topics::perm,
    header::{PullMessageReply, PullMessageRequest, pull_sys_flag},
};
use rocketry_remoting::Responder;
use rocketry_store::{Arrival, Filter, ReadLimits, ReadStatus};
use tokio::time::Instant;

use super::no_property_filter;
use crate::{
    broker::Broker,
    clock,
    fault::Fault,
    filter::{MessageFilter, ParseError, TagFilter, is_tag_type},
    find,
    groups::FORBIDDEN_READ,
    hold::{QueueKey, Waiter},
    long_polls::{LongPolls, Message},
    names,
    writer::ArrivalSink,
};

/// Longest wait that a client may ask for; longer ones are cut. Java clients ask for 15 to 30 s.
const MAX_SUSPEND: Duration = Duration::from_mins(5);

/// A pull that passed all checks: everything needed to read now or later.
#[derive(Debug)]
pub(crate) struct Pull {
    group: String,
    topic: Arc<str>,
    queue_id: i32,
    offset: i64,
    limits: ReadLimits,
    filter: MessageFilter,
    topic_sys_flag: i32,
    group_sys_flag: i32,
    /// How long it may wait for a message.
    suspend: Option<Duration>,
}

/// A pull that waits for a message.
#[derive(Debug)]
pub(crate) struct HeldPull {
    pull: Pull,
    responder: Responder,
    deadline: Instant,
}

impl Waiter for HeldPull {
    /// What a message's properties are is not known here: see [`woken`].
    fn wants(&self, queue_offset: i64, tags_code: i64) -> bool {
        queue_offset >= self.pull.offset && self.pull.filter.matches_tags(tags_code)
    }

    fn heap_bytes(&self) -> usize {
        self.pull.group.len() + self.pull.topic.len() + self.pull.filter.heap_bytes()
    }
}

/// The pulls that wait.
pub(crate) type PullHolds = LongPolls<HeldPull>;

impl ArrivalSink for PullHolds {
    fn arrived(&self, arrival: &Arrival<'_>) {
        if self.is_empty_for_log() {
            return;
        }
        let queue = QueueKey {
            topic: Arc::clone(arrival.topic),
            queue_id: arrival.queue_id,
        };
        self.wake_for(Message {
            queue,
            queue_offset: arrival.queue_offset,
            tags_code: arrival.tags_code,
        });
    }
}

/// Answers a pull, or keeps it until a message comes or its time is up.
pub(crate) fn pull(broker: &Broker, request: &RemotingCommand, responder: Responder) {
    match check(broker, request, clock::wall_ms()) {
        Ok(pull) => first(broker, pull, responder),
        Err(fault) => responder.respond(fault.into_response()),
    }
}

fn first(broker: &Broker, mut pull: Pull, mut responder: Responder) {
    // read again once, when a message comes in between
    for may_come in [true, false] {
        let began = Instant::now();
        let answer = read(broker, &pull);
        broker.latencies.pull.observe(began.elapsed(), 1);
        let Some(wait) = pull.suspend.filter(|_| answer.may_wait()) else {
            return answer.give(responder);
        };
        let held = HeldPull {
            pull,
            responder,
            deadline: Instant::now() + wait,
        };
        match keep(broker, held) {
            Kept::Waits => return,
            Kept::Came(held) if may_come => (pull, responder) = (held.pull, held.responder),
            Kept::Came(held) | Kept::Full(held) => return answer.give(held.responder),
        }
    }
}

/// Answers a pull that a message woke. When its filter refuses all there is, it waits on behind that.
pub(crate) fn woken(broker: &Broker, mut held: HeldPull) {
    if held.responder.connection().is_closed() {
        return;
    }
    let answer = read(broker, &held.pull);
    if !answer.is_refused() || held.deadline <= Instant::now() {
        answer.give(held.responder);
        return;
    }
    held.pull.offset = answer.next_offset;
    match keep(broker, held) {
        Kept::Waits => {}
        // The client asks again at once; going on here would keep other pulls waiting.
        Kept::Came(held) | Kept::Full(held) => answer.give(held.responder),
    }
}

/// Answers a pull that waits no longer, whatever there is now.
pub(crate) fn release(broker: &Broker, held: HeldPull) {
    read(broker, &held.pull).give(held.responder);
}

/// What became of a pull that was to wait.
enum Kept {
    Waits,
    /// A message came before it could.
    Came(Box<HeldPull>),
    /// There is no room.
    Full(Box<HeldPull>),
}

fn keep(broker: &Broker, held: HeldPull) -> Kept {
    let pull = &held.pull;
    let (topic, queue_id, offset) = (Arc::clone(&pull.topic), pull.queue_id, pull.offset);
    let queue = QueueKey {
        topic: Arc::clone(&topic),
        queue_id,
    };
    let (connection, deadline) = (held.responder.connection().clone(), held.deadline);
    let id = match broker.holds.hold(queue, connection.id(), deadline, held) {
        Ok(id) => id,
        Err(held) => return Kept::Full(held),
    };
    if connection.is_closed() {
        // Whoever takes out the requests of a connection that ended may have been here before.
        broker.holds.closed(connection.id());
    }
    // A message may have come between the read and the hold; the log's thread then passed by.
    let came = broker
        .reader
        .queue_range(&topic, queue_id)
        .is_some_and(|range| range.max > offset);
    if came && let Some(held) = broker.holds.take(id) {
        return Kept::Came(Box::new(held));
    }
    Kept::Waits
}

/// Java: the checks of `PullMessageProcessor.processRequest`, in its order.
fn check(broker: &Broker, request: &RemotingCommand, now_ms: i64) -> Result<Pull, Fault> {
    let header: PullMessageRequest<'_> = request.header()?;
    let PullMessageRequest {
        consumer_group: group,
        topic,
        queue_id,
        ..
    } = header;
    if broker.permission.load(Ordering::Relaxed) & perm::READ == 0 {
        return Err(forbidden(
            1,
            format!(
                "the broker[{}] pulling message is forbidden",
                broker.identity.store_host.ip()
            ),
        ));
    }
    let Some(config) = find::group(broker, group, now_ms) else {
        return Err(Fault::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            names::with_hint(format!("subscription group [{group}] does not exist, ")),
        ));
    };
    if !config.consume_enable {
        return Err(forbidden(
            2,
            format!("subscription group no permission, {group}"),
        ));
    }
    let Some(found) = broker.topics().get(topic) else {
        return Err(Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            names::with_hint(format!("topic[{topic}] not exist, apply first please! ")),
        ));
    };
    if found.perm & perm::READ == 0 {
        return Err(forbidden(
            3,
            format!("the topic[{topic}] pulling message is forbidden"),
        ));
    }
    if queue_id < 0 || queue_id >= found.read_queue_nums {
        return Err(Fault::new(
            ResponseCode::INVALID_PARAMETER,
            format!(
                "queueId[{queue_id}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{}] consumer:[{group}]",
                found.read_queue_nums
            ),
        ));
    }
    let has_flag = |bit| header.sys_flag & bit != 0;
    let filter = if has_flag(pull_sys_flag::SUBSCRIPTION) {
        // Who looks into a topic with a tool does not consume it.
        if group != names::TOOLS_GROUP {
            broker.clients.lock().note_pull(group, topic, now_ms);
        }
        own_filter(broker, &header)?
    } else {
        registered_filter(broker, &header, config.consume_broadcast_enable)?
    };
    if has_flag(pull_sys_flag::COMMIT_OFFSET) {
        broker
            .offsets
            .commit(group, topic, queue_id, header.commit_offset, now_ms);
    }
    let suspend = has_flag(pull_sys_flag::SUSPEND).then(|| {
        let ms = u64::try_from(header.suspend_timeout_millis).unwrap_or(0);
        Duration::from_millis(ms).min(MAX_SUSPEND)
    });
    let limits = ReadLimits::default();
    Ok(Pull {
        group: group.to_owned(),
        topic: Arc::from(topic),
        queue_id,
        offset: header.queue_offset,
        limits: ReadLimits {
            max_messages: usize::try_from(header.max_msg_nums)
                .unwrap_or(1)
                .clamp(1, limits.max_messages),
            ..limits
        },
        filter,
        topic_sys_flag: found.topic_sys_flag,
        group_sys_flag: config.group_sys_flag,
        suspend,
    })
}

/// The subscription that came with the pull.
fn own_filter(broker: &Broker, header: &PullMessageRequest<'_>) -> Result<MessageFilter, Fault> {
    const FAILED: &str = "parse the consumer's subscription failed";
    let fault = |remark| Fault::new(ResponseCode::SUBSCRIPTION_PARSE_FAILED, remark);
    match header.expression_type {
        Some(kind) if !is_tag_type(Some(kind)) => {
            property_filter(broker, kind, header.subscription, |error| {
                fault(format!("{FAILED}: {error}"))
            })
        }
        _ => TagFilter::parse(header.subscription)
            .map(MessageFilter::Tags)
            .map_err(|_| fault(FAILED.to_owned())),
    }
}

fn property_filter(
    broker: &Broker,
    kind: &str,
    expression: Option<&str>,
    refuse: impl FnOnce(ParseError) -> Fault,
) -> Result<MessageFilter, Fault> {
    let expression = broker
        .expressions
        .compiled(kind, expression)
        .map_err(refuse)?;
    if broker.config.enable_property_filter {
        Ok(MessageFilter::Sql92(expression))
    } else {
        Err(no_property_filter(kind))
    }
}

/// The subscription of the group's heartbeats.
fn registered_filter(
    broker: &Broker,
    header: &PullMessageRequest<'_>,
    broadcast_enabled: bool,
) -> Result<MessageFilter, Fault> {
    let group = header.consumer_group;
    let clients = broker.clients.lock();
    let Some(info) = clients.consumer_group(group) else {
        return Err(Fault::new(
            ResponseCode::SUBSCRIPTION_NOT_EXIST,
            names::with_hint("the consumer's group info not exist".to_owned()),
        ));
    };
    if !broadcast_enabled && info.is_broadcasting() {
        return Err(forbidden(
            4,
            format!("the consumer group[{group}] can not consume by broadcast way"),
        ));
    }
    if broker.groups().forbidden(group, header.topic) & FORBIDDEN_READ != 0 {
        return Err(forbidden(
            5,
            format!(
                "the consumer group[{group}] is forbidden for topic[{}]",
                header.topic
            ),
        ));
    }
    let Some(subscription) = info.subscriptions.get(header.topic) else {
        return Err(Fault::new(
            ResponseCode::SUBSCRIPTION_NOT_EXIST,
            names::with_hint("the consumer's subscription not exist".to_owned()),
        ));
    };
    if subscription.sub_version < header.sub_version {
        return Err(Fault::new(
            ResponseCode::SUBSCRIPTION_NOT_LATEST,
            "the consumer's subscription not latest",
        ));
    }
    if !is_tag_type(Some(&subscription.expression_type)) {
        let (kind, text) = (
            subscription.expression_type.clone(),
            subscription.sub_string.clone(),
        );
        drop(clients); // compiling must not keep heartbeats waiting
        return property_filter(broker, &kind, text.as_deref(), |error| {
            Fault::new(
                ResponseCode::FILTER_DATA_NOT_EXIST,
                format!(
                    "The broker's consumer filter data is not exist!Your expression may be wrong! {error}"
                ),
            )
        });
    }
    TagFilter::of_codes(
        subscription.sub_string.as_deref().unwrap_or_default(),
        &subscription.code_set,
    )
    .map(MessageFilter::Tags)
    .map_err(|_| {
        Fault::new(
            ResponseCode::SUBSCRIPTION_PARSE_FAILED,
            "parse the consumer's subscription failed",
        )
    })
}

/// What a read came to.
struct Answer {
    response: RemotingCommand,
    /// Its body.
    messages: Vec<Bytes>,
    /// `None` when the queue was not read.
    status: Option<ReadStatus>,
    next_offset: i64,
}

impl Answer {
    fn of(response: RemotingCommand, next_offset: i64) -> Self {
        Self {
            response,
            messages: Vec::new(),
            status: None,
            next_offset,
        }
    }

    fn give(self, responder: Responder) {
        responder.respond_in_pieces(self.response, self.messages);
    }

    /// Whether there is nothing yet. Behind places without a message there may be more: the client goes on there.
    fn may_wait(&self) -> bool {
        self.response.response_code() == ResponseCode::PULL_NOT_FOUND
            && self.status != Some(ReadStatus::OffsetFoundNull)
    }

    /// Whether there are messages, but none that the filter lets pass.
    fn is_refused(&self) -> bool {
        self.status == Some(ReadStatus::NoMatchedMessage)
    }
}

/// Reads and builds the answer.
fn read(broker: &Broker, pull: &Pull) -> Answer {
    if let Some(offset) = broker
        .offsets
        .take_reset(&pull.group, &pull.topic, pull.queue_id)
    {
        let range = broker.reader.queue_range(&pull.topic, pull.queue_id);
        let (min, max) = range.map_or((0, 0), |r| (r.min, r.max));
        let response = RemotingCommand::response(ResponseCode::PULL_OFFSET_MOVED)
            .with_header(&pull.reply(offset, min, max))
            .with_remark("OFFSET_RESET");
        return Answer::of(response, offset);
    }
    let outcome = match broker.reader.read_pieces(
        &pull.topic,
        pull.queue_id,
        pull.offset,
        &pull.limits,
        (!pull.filter.is_all()).then_some(&pull.filter),
    ) {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, topic = %pull.topic, queue = pull.queue_id, "pull failed");
            let response = Fault::system_error(error.to_string()).into_response();
            return Answer::of(response, pull.offset);
        }
    };
    broker
        .offsets
        .note_pulled(&pull.group, &pull.topic, pull.queue_id, outcome.next_offset);
    let bytes = outcome.messages.iter().map(Bytes::len).sum();
    broker.stats.count_get(outcome.count as u64, bytes as u64);
    broker
        .rates
        .count_get(&pull.topic, &pull.group, outcome.count, bytes);
    let code = code_of(outcome.status, pull.offset);
    let response = RemotingCommand::response(code)
        .with_header(&pull.reply(outcome.next_offset, outcome.min_offset, outcome.max_offset))
        .with_remark(outcome.status.name());
    Answer {
        response,
        messages: outcome.messages,
        status: Some(outcome.status),
        next_offset: outcome.next_offset,
    }
}

/// Java: `PullMessageProcessor.composeResponseHeader`.
fn code_of(status: ReadStatus, offset: i64) -> ResponseCode {
    match status {
        ReadStatus::Found => ResponseCode::SUCCESS,
        ReadStatus::MessageWasRemoving | ReadStatus::NoMatchedMessage => {
            ResponseCode::PULL_RETRY_IMMEDIATELY
        }
        ReadStatus::NoMatchedLogicQueue | ReadStatus::NoMessageInQueue if offset != 0 => {
            ResponseCode::PULL_OFFSET_MOVED
        }
        ReadStatus::NoMatchedLogicQueue
        | ReadStatus::NoMessageInQueue
        | ReadStatus::OffsetFoundNull
        | ReadStatus::OffsetOverflowOne => ResponseCode::PULL_NOT_FOUND,
        ReadStatus::OffsetOverflowBadly | ReadStatus::OffsetTooSmall => {
            ResponseCode::PULL_OFFSET_MOVED
        }
    }
}

impl Pull {
    fn reply(&self, next_begin_offset: i64, min_offset: i64, max_offset: i64) -> PullMessageReply {
        PullMessageReply {
            suggest_which_broker_id: 0,
            next_begin_offset,
            min_offset,
            max_offset,
            offset_delta: None,
            topic_sys_flag: Some(self.topic_sys_flag),
            group_sys_flag: Some(self.group_sys_flag),
            forbidden_type: None,
        }
    }
}

fn forbidden(kind: i32, remark: String) -> Fault {
    let mut fields = Fields::default();
    FieldWriter::new(&mut fields).i32("forbiddenType", kind);
    Fault::new(ResponseCode::NO_PERMISSION, remark).with_fields(fields)
}
