//! Auto-batching, in front of the pipeline: single messages wait a moment for company and leave as one batch, which is one send like
//! any other. Java: `ProduceAccumulator`.
//!
//! Messages that wait for the same queue with the same tags form a group. Its first message spawns the task that sends it; the
//! task ends when nothing waits any more.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use rocketry_protocol::{Message, MessageQueue, Topic, batch, properties, properties::name, topic};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Outgoing, SendMode, SendResult, in_flight::Permits, order::Order, place, prepare::ensure_id,
    select::Target, sending, shared::Shared, validate,
};
use crate::{clock, error::Error};

/// How single sends are gathered to batches: `AutoBatch { max_delay: Duration::from_millis(5), ..Default::default() }`.
///
/// Gathered are messages of one topic with equal tags, wait-store flag, mode (synchronous or not) and chosen queue. Each caller gets
/// the result of its own message. Sent by themselves are one-way sends, sends with a timeout of their own, messages with a
/// delay or a priority, half messages, replies and messages of retry topics, batches, and what finds no room in
/// [`AutoBatch::held_bytes`]: an asynchronous one to a chosen queue after what was enqueued for that queue before, which leaves at once
/// then. So messages that one task enqueues to one queue arrive in that order, as long as their tags and wait-store flags are equal, and
/// the queue of all or of none was chosen by [`SendRequest::strict_shard`](crate::SendRequest::strict_shard).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoBatch {
    /// Longest time that a message waits for company. Default 10 ms, bounds 1 ms ..= 30 s. The time budget of the send starts when
    /// the wait is over.
    ///
    /// Java: `DefaultMQProducer.batchMaxDelayMs`.
    pub max_delay: Duration,
    /// Body bytes beyond which a batch leaves at once. Default 32768, bounds 1 ..= 2 MiB.
    ///
    /// Java: `DefaultMQProducer.batchMaxBytes`.
    pub max_bytes: usize,
    /// Most body bytes of gathered messages without a result; further messages are sent by themselves. Default 32 MiB,
    /// bounds 1 ..= 512 MiB - 1.
    ///
    /// Java: `DefaultMQProducer.totalBatchMaxBytes`.
    pub held_bytes: usize,
}

impl Default for AutoBatch {
    fn default() -> Self {
        Self {
            max_delay: Duration::from_millis(10),
            max_bytes: 32 * 1024,
            held_bytes: 32 * 1024 * 1024,
        }
    }
}

/// The messages of one producer that wait for company.
#[derive(Debug)]
pub(crate) struct Accumulator {
    options: AutoBatch,
    groups: Mutex<HashMap<Key, Group>>,
    room: Arc<Semaphore>,
}

/// What messages of one batch have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    topic: Topic,
    queue: Option<MessageQueue>,
    /// The queue is that of a key of strict order.
    is_strict: bool,
    waits_for_store: bool,
    tags: Option<String>,
    mode: SendMode,
}

impl Key {
    /// Among the keys of one topic and mode.
    fn rank(&self) -> impl Ord + '_ {
        let queue = self.queue.as_ref();
        let queue = queue.map(|queue| (&*queue.broker_name, queue.queue_id));
        (queue, &self.tags, self.waits_for_store, self.is_strict)
    }
}

#[derive(Debug)]
struct Group {
    members: Vec<Member>,
    body_bytes: usize,
    /// When the first member came.
    since: Instant,
    full: Arc<Notify>,
    /// Who waits until all of it is handed over; it leaves at once then. Told by being dropped.
    behind: Vec<oneshot::Sender<()>>,
}

/// What leaves a group at once, and who waits until it is handed over.
type Leaving = (Vec<Member>, Vec<oneshot::Sender<()>>);

/// A message and who waits for its result.
#[derive(Debug)]
struct Member {
    message: Message,
    msg_id: String,
    /// When its send began.
    started: Instant,
    caller: oneshot::Sender<Result<SendResult, Error>>,
    held: Held,
}

/// Given back when the message has its result.
pub(super) type Held = (OwnedSemaphorePermit, Option<Permits>);

/// The result of a gathered message, later.
#[derive(Debug)]
pub(crate) struct Gathered(oneshot::Receiver<Result<SendResult, Error>>);

impl Future for Gathered {
    type Output = Result<SendResult, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|result| result.unwrap_or_else(|_| Err(super::flight::ended())))
    }
}

impl Accumulator {
    pub(crate) fn new(options: AutoBatch) -> Self {
        Self {
            options,
            groups: Mutex::default(),
            room: Arc::new(Semaphore::new(options.held_bytes)),
        }
    }

    /// Body bytes of messages without a result.
    pub(crate) fn held_bytes(&self) -> usize {
        self.options.held_bytes - self.room.available_permits()
    }

    /// Adds a message to its group; true if a task has to be spawned for it.
    fn add(&self, key: &Key, member: Member) -> bool {
        let mut groups = self.groups.lock();
        let is_new = !groups.contains_key(key);
        if is_new {
            let group = Group {
                members: Vec::new(),
                body_bytes: 0,
                since: clock::now(),
                full: Arc::default(),
                behind: Vec::new(),
            };
            groups.insert(key.clone(), group);
        }
        let Some(group) = groups.get_mut(key) else {
            return is_new;
        };
        if group.members.is_empty() {
            group.since = clock::now();
        }
        group.body_bytes += member.message.body().len();
        group.members.push(member);
        if group.body_bytes > self.options.max_bytes {
            group.full.notify_one();
        }
        is_new
    }

    /// Whether nothing waits for company, nor is being handed over.
    fn is_idle(&self) -> bool {
        self.groups.lock().is_empty()
    }

    /// Has what was enqueued for this queue of the topic, or for any that was chosen, leave at once. Each receiver is told, by the loss of
    /// its sender, when one group is handed over.
    fn hurry(&self, topic: &Topic, queue: Option<&MessageQueue>) -> Vec<oneshot::Receiver<()>> {
        let mut groups = self.groups.lock();
        let is_meant = |key: &Key| {
            key.mode == SendMode::Async
                && key.topic == *topic
                && key.queue.is_some()
                && (queue.is_none() || queue == key.queue.as_ref())
        };
        let mut meant: Vec<_> = (groups.iter_mut())
            .filter(|(key, _)| is_meant(key))
            .collect();
        // the map has no order, and its groups are woken in this one
        meant.sort_by(|(a, _), (b, _)| a.rank().cmp(&b.rank()));
        let hurried = meant.into_iter().map(|(_, group)| {
            let (handed_over, told) = oneshot::channel();
            group.behind.push(handed_over);
            group.full.notify_one();
            told
        });
        hurried.collect()
    }

    /// Waits until a group is ready and takes its members; `None` ends the group. Nothing waits once `closing` is cancelled.
    async fn next(&self, key: &Key, closing: &CancellationToken) -> Option<Leaving> {
        loop {
            let (full, until) = {
                let mut groups = self.groups.lock();
                let group = groups.get_mut(key)?;
                if group.members.is_empty() {
                    groups.remove(key);
                    return None;
                }
                let until = group.since + self.options.max_delay;
                if group.body_bytes > self.options.max_bytes
                    || !group.behind.is_empty()
                    || until <= clock::now()
                    || closing.is_cancelled()
                {
                    group.body_bytes = 0;
                    let members = std::mem::take(&mut group.members);
                    return Some((members, std::mem::take(&mut group.behind)));
                }
                (Arc::clone(&group.full), until)
            };
            tokio::select! {
                biased;
                () = full.notified() => {}
                () = closing.cancelled() => {}
                () = sleep_until(until) => {}
            }
        }
    }
}

impl Shared {
    /// A place for the message among those that wait, if it may be in a batch at all. Java: `ProduceAccumulator.tryAddMessage`,
    /// `DefaultMQProducer.canBatch`.
    pub(super) fn room_for_company(&self, order: &Order) -> Option<OwnedSemaphorePermit> {
        let accumulator = self.accumulator.as_ref()?;
        let Outgoing::Single(message) = &order.outgoing else {
            return None;
        };
        let alone = [name::PGROUP, name::TRAN_MSG, name::MSG_TYPE, name::PRIORITY]
            .iter()
            .any(|name| message.properties().get(name).is_some());
        if alone
            || order.timeout.is_some()
            || message.is_delayed()
            || message.topic().starts_with(topic::RETRY_PREFIX)
        {
            return None;
        }
        let bytes = u32::try_from(message.body().len()).ok()?;
        let room = Arc::clone(&accumulator.room);
        room.try_acquire_many_owned(bytes).ok()
    }

    /// Whether a message that goes by itself may have to let others pass that wait for company.
    pub(super) fn may_overtake(&self, order: &Order) -> bool {
        let accumulator = self.accumulator.as_ref();
        order.target.is_chosen() && accumulator.is_some_and(|accumulator| !accumulator.is_idle())
    }

    /// Waits until what was enqueued for the queue of this message, and waits for company, is handed over: the message goes by itself,
    /// and must not overtake.
    pub(super) async fn stay_behind(
        &self,
        order: &mut Order,
        deadline: Instant,
    ) -> Result<(), Error> {
        let (Some(accumulator), Some(message)) =
            (&self.accumulator, order.outgoing.messages().first())
        else {
            return Ok(());
        };
        let wrapped = Outgoing::Single(message.clone());
        let wrapped = self.namespace.wrap_messages(wrapped);
        // what is wrong with the message turns out when it is sent
        let Some(message) = wrapped.messages().first() else {
            return Ok(());
        };
        let Ok(topic) = validate::check_topic(message) else {
            return Ok(());
        };
        // a selector is shown the whole batch, when that is made
        let chooses_later = matches!(order.target, Target::Selector(_))
            && !matches!(order.outgoing, Outgoing::Single(_));
        if !chooses_later {
            let target = std::mem::replace(&mut order.target, Target::Any);
            let target = self.known_target(target, &topic, message, deadline);
            order.target = target.await?;
        }
        let earlier = accumulator.hurry(&topic, order.target.queue());
        let handed_over = async {
            for group in earlier {
                // told by the loss of the sender
                let _ = group.await;
            }
        };
        // a message whose time is over is told so when it is sent
        let _ = timeout_at(deadline, handed_over).await;
        Ok(())
    }

    /// Lets the message wait for company. A message that can be sent to no queue fails here.
    pub(super) async fn gather(
        self: &Arc<Self>,
        order: Order,
        mode: SendMode,
        (started, deadline): (Instant, Instant),
        held: Held,
    ) -> Result<Gathered, Error> {
        let core = self.client.core();
        let outgoing = self.namespace.wrap_messages(order.outgoing);
        let checked = validate::check(outgoing, self.limits)?;
        let (topic, outgoing) = (checked.topic, checked.outgoing);
        let (Some(accumulator), Outgoing::Single(mut message)) = (&self.accumulator, outgoing)
        else {
            return Err(sending::no_result());
        };
        let since_month_start = core.month.ms_since_month_start(clock::wall_ms());
        let msg_id = ensure_id(&mut message, &core.ids, since_month_start);
        let target = self
            .known_target(order.target, &topic, &message, deadline)
            .await?;
        let (caller, result) = oneshot::channel();
        let key = Key {
            topic,
            queue: target.queue().cloned(),
            is_strict: target.is_strict(),
            waits_for_store: message.waits_for_store(),
            tags: message.tags().map(str::to_owned),
            mode,
        };
        let member = Member {
            message,
            msg_id,
            started,
            caller,
            held,
        };
        if accumulator.add(&key, member) {
            self.sends.spawn(send_group(Arc::clone(self), key));
        }
        Ok(Gathered(result))
    }

    /// The target with the queue that the application chooses, by itself, through a selector or by a key of strict order.
    async fn known_target(
        &self,
        mut target: Target,
        topic: &Topic,
        message: &Message,
        deadline: Instant,
    ) -> Result<Target, Error> {
        if target.is_chosen() && target.queue().is_none() {
            let route = tokio::select! {
                biased;
                () = self.abort.cancelled() => {
                    return Err(self.aborted(&Outgoing::Single(message.clone())));
                }
                route = place::route(self, topic, deadline) => route?,
            };
            place::choose(self, &mut target, &route, message)?;
        }
        if let Target::Queue(queue) = target {
            let queue = self.namespace.wrap_queue(queue)?;
            place::same_topic(&queue, topic.as_str())?;
            return Ok(Target::Queue(queue));
        }
        Ok(target)
    }
}

/// Sends the batches of one group until nothing waits any more.
async fn send_group(shared: Arc<Shared>, key: Key) {
    let Some(accumulator) = &shared.accumulator else {
        return;
    };
    while let Some((members, behind)) = accumulator.next(&key, &shared.closing).await {
        for members in cut(members, &key, shared.limits.max_message_bytes) {
            // What waited for a place among the sends in flight, or behind a batch that was held up, has used its time: no caller
            // waits longer than delay and timeout.
            let now = clock::now();
            let begun = members.iter().map(|member| member.started).min();
            let last = begun.map_or(now, |begun| begun + accumulator.options.max_delay);
            let deadline = last.min(now) + shared.config.timeout;
            let batch = send_batch(Arc::clone(&shared), key.clone(), members, deadline);
            match key.queue {
                // what follows for this queue must not overtake
                Some(_) => drop(shared.sends.spawn(batch.await)),
                None => drop(shared.sends.spawn(async { batch.await.await })),
            }
        }
        drop(behind);
    }
}

/// Hands one batch over, and returns what is left to do then.
async fn send_batch(
    shared: Arc<Shared>,
    key: Key,
    members: Vec<Member>,
    deadline: Instant,
) -> impl Future<Output = ()> + Send {
    let mut messages = Vec::with_capacity(members.len());
    let mut callers = Vec::with_capacity(members.len());
    let mut held = Vec::with_capacity(members.len());
    for member in members {
        messages.push(member.message);
        callers.push((member.caller, member.msg_id));
        held.push(member.held);
    }
    let outgoing = match <[Message; 1]>::try_from(messages) {
        // alone it is a message like any other, and may be compressed
        Ok([message]) => Outgoing::Single(message),
        Err(messages) => Outgoing::Gathered(messages),
    };
    let mut order = Order {
        outgoing,
        target: match key.queue {
            Some(queue) if key.is_strict => Target::Pinned(queue),
            Some(queue) => Target::Queue(queue),
            None => Target::Any,
        },
        timeout: None,
    };
    let times = (clock::now(), deadline);
    let sending = shared.start(&mut order, key.mode, times, None).await;
    async move {
        let result = sending.result().await;
        drop(held);
        let slices = slices(result, callers.len());
        for ((caller, msg_id), mut slice) in callers.into_iter().zip(slices) {
            if let Ok(slice) = &mut slice
                && slice.msg_id.is_empty()
            {
                slice.msg_id = msg_id;
            }
            // a caller that gave up misses nothing
            drop(caller.send(slice));
        }
    }
}

/// Lists that fit into a batch each, without messages that nobody waits for any more.
fn cut(members: Vec<Member>, key: &Key, max_bytes: usize) -> Vec<Vec<Member>> {
    let mut lists: Vec<Vec<Member>> = Vec::new();
    let mut bytes = 0;
    for member in members {
        // A dropped synchronous send ends; an asynchronous one goes on.
        if key.mode == SendMode::Sync && member.caller.is_closed() {
            continue;
        }
        let message = &member.message;
        let property_bytes = message.properties().len_bytes();
        let size = batch::ITEM_OVERHEAD + message.body().len() + property_bytes;
        // what no batch can carry fails, or not, by itself
        let fits = property_bytes <= properties::MAX_BYTES && bytes + size <= max_bytes;
        match lists.last_mut() {
            Some(list) if fits => {
                bytes += size;
                list.push(member);
            }
            _ => {
                bytes = if property_bytes <= properties::MAX_BYTES {
                    size
                } else {
                    max_bytes
                };
                lists.push(vec![member]);
            }
        }
    }
    lists
}

/// Each message's part of the result of its batch, without a message id of its own. Java: `AggregationKey`, `splitSendResults`.
fn slices(
    whole: Result<SendResult, Error>,
    count: usize,
) -> impl Iterator<Item = Result<SendResult, Error>> {
    let mut whole = whole;
    let mut offset_ids = None;
    if let Ok(result) = &mut whole
        && result.msg_id.contains(',')
    {
        // emptied, so that not every slice copies the ids of all
        result.msg_id.clear();
        let ids = std::mem::take(&mut result.offset_msg_id);
        offset_ids = Some(
            ids.split(',')
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .into_iter(),
        );
    }
    (0..count).map(move |index| {
        let mut slice = whole.clone()?;
        // otherwise it is one record, whose ids are those of all its messages
        if let Some(ids) = &mut offset_ids {
            slice.offset_msg_id = ids.next().unwrap_or_default();
            slice.queue_offset += i64::try_from(index).unwrap_or_default();
        }
        Ok(slice)
    })
}
