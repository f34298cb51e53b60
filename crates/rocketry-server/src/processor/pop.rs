//! Pops (200050): taking messages of a queue, or of any, for a time; and waiting for a message when there is none. Who only wants to
//! know whether there is one (200054) waits the same way.
//!
//! Java: `PopMessageProcessor`, `NotificationProcessor`, `PopLongPollingService`. Differs from Java: waits end exactly when their time is
//! up.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rocketry_protocol::{
    RemotingCommand, ResponseCode,
    body::topics::perm,
    header::{
        NotificationReply, NotificationRequest, PollingInfoReply, PollingInfoRequest,
        PopMessageReply, PopMessageRequest,
    },
    pop::{retry_topic_v1, retry_topic_v2},
};
use rocketry_remoting::Responder;
use rocketry_store::{Filter as _, ReadStatus};
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
        ANY_QUEUE, checkpoint,
        take::{self, Taken},
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

/// Time after which a queue is looked at again that another pop has, or that has something although nothing was found.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A pop that passed all checks.
#[derive(Debug)]
pub(crate) struct Pop {
    pub(crate) topic: Arc<str>,
    pub(crate) group: Arc<str>,
    /// -1: any.
    pub(crate) queue_id: i32,
    pub(crate) max_messages: usize,
    pub(crate) invisible_ms: i64,
    /// Where a group without offsets starts.
    pub(crate) from_beginning: bool,
    pub(crate) filter: Arc<MessageFilter>,
    /// Whether a queue gives nothing more before what it gave is acknowledged.
    pub(crate) in_order: bool,
    /// Names the attempt, which may take again what it took in order.
    pub(crate) attempt_id: Option<Arc<str>>,
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
    pop: Arc<Pop>,
    responder: Responder,
}

impl HeldPop {
    /// Whom it is for, and for what: a message that wakes a notice is still there for a pop.
    pub(crate) fn kind(&self) -> (Arc<str>, Wish, bool) {
        let Pop {
            group,
            wish,
            in_order,
            ..
        } = &*self.pop;
        (Arc::clone(group), *wish, *in_order)
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

    fn heap_bytes(&self) -> usize {
        self.pop.group.len() + self.pop.topic.len() + self.pop.filter.heap_bytes()
    }
}

/// Code 200050: answers with messages, or keeps the request until one comes or its time is up.
pub(crate) fn pop(broker: &Arc<Broker>, request: &RemotingCommand, responder: Responder) {
    match check(broker, request, clock::wall_ms()) {
        Ok(pop) => resume(
            broker,
            HeldPop {
                pop: Arc::new(pop),
                responder,
            },
        ),
        Err(fault) => responder.respond(fault.into_response()),
    }
}

/// Code 200054: answers once there is a message, or when the time is up.
pub(crate) fn notification(broker: &Arc<Broker>, request: &RemotingCommand, responder: Responder) {
    match check_notification(broker, request, clock::wall_ms()) {
        Ok(pop) => resume(
            broker,
            HeldPop {
                pop: Arc::new(pop),
                responder,
            },
        ),
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
    broker.spawn_to_the_end(async move { serve(&broker_of_task, held).await });
}

/// Answers a pop that waits no longer, for a server that stops.
pub(crate) fn release(held: HeldPop) {
    held.responder
        .respond(nothing(&held.pop, ResponseCode::POLLING_TIMEOUT));
}

/// Code 200055.
pub(crate) fn polling_info(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: PollingInfoRequest<'_> = request.header()?;
    let pop = PopMessageRequest {
        consumer_group: header.consumer_group,
        topic: header.topic,
        queue_id: header.queue_id,
        max_msg_nums: 1,
        invisible_time: 0,
        poll_time: 0,
        born_time: 0,
        init_mode: 0,
        exp_type: None,
        exp: None,
        order: None,
        attempt_id: None,
        broker_name: None,
    };
    check_header(broker, &pop, clock::wall_ms())?;
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
        in_order: header.order == Some(true),
        attempt_id: header.attempt_id.map(Arc::from),
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
        if responder.connection().is_closed() {
            // What woke it is for the next.
            broker.pops.wake_one(&pop.topic, &pop.group, pop.queue_id);
            return;
        }
        if pop.wish == Wish::Notice && take::has_more(broker, &pop) {
            responder.respond(ok().with_header(&NotificationReply {
                has_msg: true,
                polling_full: false,
            }));
            return;
        }
        let taken = match pop.wish {
            Wish::Take => match take::take(broker, &pop).await {
                Ok(taken) => taken,
                Err(fault) => return responder.respond(fault.into_response()),
            },
            Wish::Notice => Taken::nothing(broker, &pop),
        };
        if taken.count > 0 {
            if taken.rest > 0 {
                broker.pops.wake_one(&pop.topic, &pop.group, pop.queue_id);
            }
            responder.respond(taken.into_response(&pop));
            return;
        }
        if pop.deadline <= Instant::now() + SHORTEST_POLL {
            // Java waits such a short time out as well.
            tokio::time::sleep_until(pop.deadline).await;
            responder.respond(nothing(&pop, ResponseCode::POLLING_TIMEOUT));
            return;
        }
        if taken.met_busy_queue {
            tokio::time::sleep(LOOK_AGAIN).await;
            continue;
        }
        keep(broker, HeldPop { pop, responder });
        return;
    }
}

/// Lets a pop wait. What came between the look and the wait is noticed.
fn keep(broker: &Arc<Broker>, held: HeldPop) {
    let pop = Arc::clone(&held.pop);
    let queue = QueueKey {
        topic: Arc::clone(&pop.topic),
        queue_id: pop.queue_id,
    };
    for retry in [
        retry_topic_v1(&pop.topic, &pop.group),
        retry_topic_v2(&pop.topic, &pop.group),
    ] {
        broker.pops.note_retry_topic(&retry, &pop.topic, &pop.group);
    }
    // A queue that is blocked is looked at again when its time has passed.
    let deadline = take::blocked_for(broker, &pop).map_or(pop.deadline, |blocked| {
        pop.deadline.min(Instant::now() + blocked)
    });
    let connection = held.responder.connection().clone();
    let id = match broker
        .pops
        .polls
        .hold(queue, connection.id(), deadline, held)
    {
        Ok(id) => id,
        Err(held) => {
            let full = nothing(&pop, ResponseCode::POLLING_FULL);
            held.responder.respond(full);
            return;
        }
    };
    if connection.is_closed() {
        // Whoever takes out the requests of a connection that ended may have been here before.
        broker.pops.polls.closed(connection.id());
        return;
    }
    if take::has_more(broker, &pop)
        && let Some(held) = broker.pops.polls.take(id)
    {
        // Not at once: should there be something that cannot be taken, nobody is to look for it without end.
        let broker_of_task = Arc::clone(broker);
        broker.spawn(async move {
            tokio::time::sleep(LOOK_AGAIN).await;
            resume(&broker_of_task, held);
        });
    }
}

fn nothing(pop: &Pop, code: ResponseCode) -> RemotingCommand {
    if pop.wish == Wish::Notice {
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
            order_count_info: pop.in_order.then(String::new),
        })
        .with_remark(ReadStatus::NoMessageInQueue.name())
}
