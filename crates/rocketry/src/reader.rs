//! A plain reader of a topic's queues: pulls without a consumer group's rebalancing.
//!
//! One task per queue pulls in order and hands batches to one bounded channel; the application takes them from there. Java has no
//! such thing as a whole: `mqadmin consumeMessage` pulls like this as the group `TOOLS_CONSUMER`.

use std::{collections::HashSet, future::IntoFuture, pin::Pin, sync::Arc, time::Duration};

use rocketry_protocol::{
    MessageExt, MessageQueue, RemotingCommand, ResponseCode, Topic,
    header::{PullMessageReply, PullMessageRequest, pull_sys_flag},
};
use rocketry_remoting::{Deadline, LogLimit};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout_at},
};

use crate::{
    admin::{self, Admin, Boundary},
    client::{Client, Core},
    clock,
    error::{Error, ErrorKind},
    route,
};

/// Where a [`Reader`] starts in each queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StartAt {
    /// The oldest message that the broker still has.
    #[default]
    First,
    /// After the newest message at the time the reader is made.
    Last,
    /// This queue offset, moved into what the broker has.
    Offset(i64),
    /// The first message stored at or after this time, in milliseconds since 1970.
    Time(i64),
}

/// A [`Reader`] to be: configure it, then await it.
#[derive(Debug, Clone)]
#[must_use = "a reader exists once this is awaited"]
pub struct ReaderBuilder {
    client: Client,
    topic: String,
    group: Option<String>,
    start: StartAt,
    filter: String,
    queues: Option<Vec<MessageQueue>>,
}

impl ReaderBuilder {
    pub(crate) fn new(client: Client, topic: String) -> Self {
        Self {
            client,
            topic,
            group: None,
            start: StartAt::First,
            filter: "*".to_owned(),
            queues: None,
        }
    }
    /// Starts where this consumer group has committed (else at [`ReaderBuilder::start`]), and lets [`Reader::commit`] commit for it.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }
    /// Where to start in queues without a committed offset. Default [`StartAt::First`].
    pub fn start(mut self, start: StartAt) -> Self {
        self.start = start;
        self
    }
    /// Tags to read, as in `"TagA || TagB"`. Default `"*"`.
    pub fn filter(mut self, tags: impl Into<String>) -> Self {
        self.filter = tags.into();
        self
    }
    /// Reads only these queues. Default all readable queues of the topic, as of now.
    pub fn queues(mut self, queues: impl IntoIterator<Item = MessageQueue>) -> Self {
        self.queues = Some(queues.into_iter().collect());
        self
    }

    async fn build(self) -> Result<Reader, Error> {
        let action = format!("read topic {:?}", self.topic);
        let namespace = &self.client.core().namespace;
        let topic = admin::topic_name(&action, &namespace.wrap(&self.topic))?;
        let admin = self.client.admin();
        let queues = match self.queues {
            Some(queues) => queues,
            None => admin
                .subscribe_queues(&self.topic)
                .await
                .map_err(|e| e.during(action.clone()))?,
        };
        if queues.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                action,
                format!("topic {:?} has no queue that can be read", self.topic),
            )
            .with_topic(&*self.topic));
        }
        let mut starting = JoinSet::new();
        for (index, queue) in queues.iter().cloned().enumerate() {
            let (admin, group, start) = (admin.clone(), self.group.clone(), self.start);
            starting.spawn(async move {
                (
                    index,
                    first_offset(&admin, group.as_deref(), &queue, start).await,
                )
            });
        }
        let mut positions: Vec<_> = queues.into_iter().map(|queue| (queue, 0)).collect();
        for (index, offset) in starting.join_all().await {
            if let Some(position) = positions.get_mut(index) {
                position.1 = offset?;
            }
        }
        let source = Arc::new(Source {
            core: Arc::clone(self.client.core()),
            topic,
            group: match &self.group {
                Some(group) => namespace.wrap(group).into_owned(),
                None => TOOLS_GROUP.to_owned(),
            },
            tags: tags_of(&self.filter),
            filter: self.filter,
            action,
        });
        let (sender, batches) = mpsc::channel(QUEUED_BATCHES);
        let mut pulls = JoinSet::new();
        for (index, (queue, offset)) in positions.iter().enumerate() {
            let pull = Pull {
                source: Arc::clone(&source),
                index,
                queue: queue.clone(),
                address: None,
                last_address: None,
                offset: *offset,
                failures: 0,
            };
            pulls.spawn(pull.run(sender.clone()));
        }
        Ok(Reader {
            admin,
            group: self.group,
            source,
            positions,
            batches,
            _pulls: pulls,
        })
    }
}

impl IntoFuture for ReaderBuilder {
    type Output = Result<Reader, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.build())
    }
}

/// The group that tools pull as: every broker has it. Java: `MixAll.TOOLS_CONSUMER_GROUP`.
const TOOLS_GROUP: &str = "TOOLS_CONSUMER";
/// Batches that wait for the application; each pulling task holds one more.
const QUEUED_BATCHES: usize = 16;
/// Most messages of one pull. Brokers send at most 32 of themselves.
const PULL_MESSAGES: i32 = 32;
/// How long a broker may hold a pull when there is nothing. Java: `DefaultMQPushConsumerImpl.BROKER_SUSPEND_MAX_TIME_MILLIS`.
const SUSPEND: Duration = Duration::from_secs(15);
/// How long a pull may take. Java: `DefaultMQPushConsumerImpl.CONSUMER_TIMEOUT_MILLIS_WHEN_SUSPEND`.
const PULL_TIMEOUT: Duration = Duration::from_secs(30);
/// Failures in a row after which the application is told.
const PATIENCE: u32 = 3;

async fn first_offset(
    admin: &Admin,
    group: Option<&str>,
    queue: &MessageQueue,
    start: StartAt,
) -> Result<i64, Error> {
    if let Some(group) = group
        && let Some(committed) = admin.consumer_offset(group, queue).await?
    {
        return Ok(committed);
    }
    match start {
        StartAt::First => admin.min_offset(queue).await,
        StartAt::Last => admin.max_offset(queue).await,
        StartAt::Time(time_ms) => admin.search_offset(queue, time_ms, Boundary::Lower).await,
        StartAt::Offset(offset) => {
            let (min, max) = (
                admin.min_offset(queue).await?,
                admin.max_offset(queue).await?,
            );
            Ok(offset.clamp(min, max.max(min)))
        }
    }
}

/// The tags that an expression names; none for all messages. Java: `FilterAPI.buildSubscriptionData`.
fn tags_of(filter: &str) -> HashSet<String> {
    filter
        .split("||")
        .map(str::trim)
        .filter(|tag| !tag.is_empty() && *tag != "*")
        .map(str::to_owned)
        .collect()
}

/// Reads the queues of a topic, in order within each queue. Dropping it ends its tasks; nothing is committed by that.
#[derive(Debug)]
pub struct Reader {
    admin: Admin,
    group: Option<String>,
    source: Arc<Source>,
    positions: Vec<(MessageQueue, i64)>,
    batches: mpsc::Receiver<Result<Batch, Error>>,
    /// Ends the tasks when dropped.
    _pulls: JoinSet<()>,
}

/// What one pull brought.
#[derive(Debug)]
struct Batch {
    index: usize,
    /// None where only the position moved.
    messages: Vec<MessageExt>,
    next_offset: i64,
}

impl Reader {
    /// The next messages, all of one queue; empty when none arrived within `wait`.
    ///
    /// Cancel safe: a message is either returned or kept for the next call.
    ///
    /// # Errors
    /// A broker that refuses the pull, or that could not be reached several times in a row. Reading goes on behind the error: call
    /// again to wait for the broker to come back. [`ErrorKind::Closed`] once the client is shut down: that is the end.
    pub async fn next_batch(&mut self, wait: Duration) -> Result<Vec<MessageExt>, Error> {
        let end = clock::now().checked_add(wait);
        loop {
            let next = self.batches.recv();
            let next = match end {
                Some(end) => timeout_at(end, next).await,
                None => Ok(next.await),
            };
            let batch = match next {
                Ok(Some(batch)) => batch?,
                // the tasks end with the client only
                Ok(None) => return Err(self.source.closed()),
                Err(_) => return Ok(Vec::new()),
            };
            if let Some(position) = self.positions.get_mut(batch.index) {
                position.1 = batch.next_offset;
            }
            if !batch.messages.is_empty() {
                return Ok(batch.messages);
            }
        }
    }

    /// The queues read, each with the offset to go on from: behind the last message handed out and behind those that the filter left
    /// out, or where the broker said, after a reset or because messages are gone.
    pub fn positions(&self) -> &[(MessageQueue, i64)] {
        &self.positions
    }

    /// Commits [`Reader::positions`] for the reader's group, on all brokers at the same time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] without a group; the failure of a broker, after all others were told.
    pub async fn commit(&self) -> Result<(), Error> {
        let Some(group) = &self.group else {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "commit offsets",
                "the reader has no consumer group",
            )
            .with_hint("name one with ReaderBuilder::group"));
        };
        self.admin
            .update_consumer_offsets(group, self.positions.iter().cloned())
            .await
    }
}

/// What the pulling tasks of a reader share.
#[derive(Debug)]
struct Source {
    core: Arc<Core>,
    topic: Topic,
    group: String,
    filter: String,
    tags: HashSet<String>,
    action: String,
}

impl Source {
    fn closed(&self) -> Error {
        Error::new(
            ErrorKind::Closed,
            self.action.clone(),
            "the client is shut down",
        )
    }
}

/// Pulls one queue.
struct Pull {
    source: Arc<Source>,
    index: usize,
    queue: MessageQueue,
    /// Where to ask.
    address: Option<Address>,
    /// Where the broker was last, for when no name server can say where it is now.
    last_address: Option<Address>,
    offset: i64,
    failures: u32,
}

/// Of a broker.
#[derive(Debug, Clone)]
struct Address {
    text: String,
    is_master: bool,
}

impl Pull {
    async fn run(mut self, batches: mpsc::Sender<Result<Batch, Error>>) {
        loop {
            let before = self.offset;
            let pulled = self.pull().await;
            let batch = match pulled {
                Ok(messages) => {
                    self.failures = 0;
                    if messages.is_empty() && self.address.as_ref().is_some_and(|at| !at.is_master)
                    {
                        self.look_again();
                    }
                    if messages.is_empty() && self.offset == before {
                        // a broker that does not hold the pull must not be asked without end
                        sleep(IDLE_PAUSE).await;
                        continue;
                    }
                    Ok(Batch {
                        index: self.index,
                        messages,
                        next_offset: self.offset,
                    })
                }
                Err(error) if self.source.core.stop.is_cancelled() => {
                    let closed = self.source.closed().with_source(error);
                    // nobody need be there to hear it
                    let _ = batches.send(Err(closed)).await;
                    return;
                }
                Err(error) => {
                    if error.kind() != ErrorKind::Refused {
                        self.look_again();
                    }
                    self.failures = self.failures.saturating_add(1);
                    sleep(FAILURE_PAUSE * self.failures.min(10)).await;
                    if error.is_retryable() && !self.failures.is_multiple_of(PATIENCE) {
                        tracing::debug!(%error, "pull failed");
                        continue;
                    }
                    Err(error)
                }
            };
            if batches.send(batch).await.is_err() {
                return;
            }
        }
    }

    async fn pull(&mut self) -> Result<Vec<MessageExt>, Error> {
        let source = Arc::clone(&self.source);
        let address = self.address().await?;
        let request = PullMessageRequest {
            consumer_group: &source.group,
            topic: source.topic.as_str(),
            lite_topic: None,
            queue_id: self.queue.queue_id,
            queue_offset: self.offset,
            max_msg_nums: PULL_MESSAGES,
            // the subscription travels along, since no heartbeat has announced it
            sys_flag: pull_sys_flag::SUSPEND | pull_sys_flag::SUBSCRIPTION,
            commit_offset: 0,
            suspend_timeout_millis: i64::try_from(SUSPEND.as_millis()).unwrap_or(i64::MAX),
            subscription: Some(&source.filter),
            sub_version: 0,
            expression_type: Some("TAG"),
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
            broker_name: Some(&self.queue.broker_name),
        };
        let reply = pull_reply(&source, &self.queue, &address, &request).await?;
        let header: PullMessageReply = reply
            .header()
            .map_err(|error| admin::unreadable(&source.action, &error))?;
        let before = std::mem::replace(&mut self.offset, header.next_begin_offset);
        if reply.response_code() != ResponseCode::SUCCESS {
            return Ok(Vec::new());
        }
        let readable = MessageExt::decode_readable(&reply.body, &self.queue.broker_name);
        for fault in readable.faults {
            static LIMIT: LogLimit = LogLimit::new();
            if let Some(held_back) = LIMIT.pass() {
                tracing::warn!(queue = ?self.queue, %fault, held_back, "a stored message cannot be read and is skipped");
            }
        }
        if let Some(offset) = readable.resume_at
            && (before + 1..self.offset).contains(&offset)
        {
            self.offset = offset;
        }
        let messages = readable.messages;
        let namespace = &source.core.namespace;
        let mut messages: Vec<_> = messages
            .into_iter()
            .map(|message| namespace.unwrap_received(message))
            .collect();
        if !source.tags.is_empty() {
            // the broker compares hashes of tags only
            messages.retain(|message| message.tags().is_some_and(|tag| source.tags.contains(tag)));
        }
        Ok(messages)
    }

    /// Lets the next pull ask a name server where the broker is.
    fn look_again(&mut self) {
        self.last_address = self.address.take().or_else(|| self.last_address.take());
    }

    async fn address(&mut self) -> Result<String, Error> {
        if let Some(address) = &self.address {
            return Ok(address.text.clone());
        }
        let source = &self.source;
        let deadline = Deadline::after(source.core.config.api_timeout);
        let topic = source.topic.as_str();
        let route = match source.core.routes.source().query(topic, deadline).await {
            Ok(route) => route,
            Err(error) => match (&error, self.last_address.take()) {
                (route::RouteError::Missing { .. }, _) | (_, None) => {
                    return Err(error.into_error(source.action.clone(), topic));
                }
                (_, Some(last)) => return Ok(self.address.insert(last).text.clone()),
            },
        };
        let broker = route
            .iter()
            .flat_map(|route| &route.broker_datas)
            .find(|broker| *broker.broker_name == *self.queue.broker_name);
        let address = broker.and_then(|broker| {
            Some(Address {
                text: admin::any_address(broker)?.clone(),
                is_master: broker.broker_addrs.contains_key(&0),
            })
        });
        let address = address.ok_or_else(|| {
            Error::new(
                ErrorKind::BrokerUnknown,
                source.action.clone(),
                format!(
                    "no address of broker {:?} is known",
                    &*self.queue.broker_name
                ),
            )
            .with_topic(topic)
        })?;
        Ok(self.address.insert(address).text.clone())
    }
}

/// An answer that says where to go on.
async fn pull_reply(
    source: &Source,
    queue: &MessageQueue,
    address: &str,
    request: &PullMessageRequest<'_>,
) -> Result<RemotingCommand, Error> {
    let command = RemotingCommand::request(request);
    let broker = (&*queue.broker_name, address);
    let deadline = Deadline::after(PULL_TIMEOUT);
    admin::ask_any(
        &source.core,
        &source.action,
        broker,
        command,
        deadline,
        &[
            ResponseCode::SUCCESS,
            ResponseCode::PULL_NOT_FOUND,
            ResponseCode::PULL_RETRY_IMMEDIATELY,
            ResponseCode::PULL_OFFSET_MOVED,
        ],
    )
    .await
    .map_err(|error| error.with_topic(source.topic.as_str()))
}

/// After an answer without news that came at once.
const IDLE_PAUSE: Duration = Duration::from_millis(50);
/// After the first failure; longer after each further one.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_name_tags() {
        assert!(tags_of("*").is_empty());
        assert!(tags_of("").is_empty());
        let tags = tags_of("TagA || TagB||");
        assert_eq!(tags.len(), 2);
        assert!(tags.contains("TagA") && tags.contains("TagB"));
    }
}
