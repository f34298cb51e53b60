//! Looking for half messages that nobody decided, and asking their producers (39).
//!
//! Java: `TransactionalMessageCheckService`, `TransactionalMessageServiceImpl.check`. Differs from Java: all decisions that are stored
//! are known before a half message counts as undecided, so that there is no waiting for late ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rocketry_protocol::{
    Properties, RemotingCommand,
    header::CheckTransactionStateRequest,
    id::offset_msg_id,
    properties::name,
    record::{Record, records},
};
use rocketry_remoting::{Connection, Deadline};
use rocketry_store::{Appended, ReadLimits, ReadOutcome};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{QUEUE, decisions::Reserve, half::Half, op, op::Ops};
use crate::{
    broker::Broker,
    clock,
    names::{HALF_TOPIC, OP_HALF_TOPIC, TRANSACTION_GROUP},
    put,
    writer::Put,
};

/// Longest round. Java: `MAX_PROCESS_TIME_LIMIT`.
const LONGEST_ROUND: Duration = Duration::from_mins(1);

/// Longest time to hand a question to a producer that does not read.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// Most questions on their way at once.
const ASKING: usize = 64;

/// Connections of a group that are tried. Java: `GET_AVAILABLE_CHANNEL_RETRY_COUNT`.
const CONNECTIONS_TRIED: usize = 3;

/// Checks every interval until `stop`.
pub(crate) async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let asker = Asker::default();
    if let Err(reason) = remember_put_off(&broker) {
        tracing::error!(reason, "half messages could not be read");
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(broker.config.transaction_check_interval) => {}
        }
        let mut round = Round::new(&broker, &asker);
        let done = round.run(&stop).await;
        round.commit();
        if let Err(reason) = done {
            tracing::error!(reason, "a check of half messages ended early");
        }
    }
}

/// After a start: half messages whose check was put off before are copies of the first one, which their producers may decide.
fn remember_put_off(broker: &Broker) -> Result<(), String> {
    let mut offset = committed(broker, HALF_TOPIC);
    loop {
        let outcome = read(broker, HALF_TOPIC, offset, &ReadLimits::default())?;
        for record in records(&outcome.messages) {
            let record = record.map_err(|error| error.to_string())?;
            let properties = Properties::parse_bytes(record.properties);
            let first = properties.get(name::TRAN_PREPARED_QUEUE_OFFSET);
            if let Some(first) = first.and_then(|first| first.parse().ok()) {
                broker.decisions.copied(first, record.queue_offset);
            }
        }
        if outcome.next_offset <= offset || offset >= outcome.max_offset {
            return Ok(());
        }
        offset = outcome.next_offset;
    }
}

/// When a half message is checked, and when no more.
struct Limits {
    timeout_ms: i64,
    max_checks: i32,
    /// Age after which it is given up unasked: its log file may go. Java: `fileReservedTime`.
    give_up_after_ms: i64,
}

impl Limits {
    fn of(broker: &Broker) -> Self {
        let reserved = broker.config.retention.reserved;
        Self {
            timeout_ms: broker.transaction_timeout_ms(),
            max_checks: broker.config.transaction_check_max,
            give_up_after_ms: i64::try_from(reserved.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// What is to be done with a half message that nobody decided.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is too young, and so is everything behind it.
    Wait,
    /// It asked not to be checked yet.
    PutOff,
    Check,
    GiveUp,
}

fn judge(half: &Half, started_ms: i64, now_ms: i64, limits: &Limits) -> Verdict {
    // Also what this round wrote.
    if half.store_ms >= started_ms {
        return Verdict::Wait;
    }
    let age_ms = now_ms.saturating_sub(half.born_ms);
    if half.checked() >= limits.max_checks || age_ms > limits.give_up_after_ms {
        return Verdict::GiveUp;
    }
    match half.immunity_ms(limits.timeout_ms) {
        Some(immunity_ms) if age_ms <= immunity_ms => Verdict::PutOff,
        // A clock of the future says nothing about age.
        None if (0..=limits.timeout_ms).contains(&age_ms) => Verdict::Wait,
        _ => Verdict::Check,
    }
}

/// What a look at one half message came to.
enum Step {
    /// More decisions were read; it may be among them.
    ReadOn,
    /// The round ends here.
    End,
    Passed,
    /// Its producer is to be asked about the copy.
    Ask(Box<(Put, Appended)>),
}

/// One look at everything undecided.
struct Round<'a> {
    broker: &'a Broker,
    asker: &'a Asker,
    started_ms: i64,
    ends: Instant,
    half_offset: i64,
    ops: Ops,
    next_op: i64,
}

impl<'a> Round<'a> {
    fn new(broker: &'a Broker, asker: &'a Asker) -> Self {
        let half_offset = committed(broker, HALF_TOPIC);
        let next_op = committed(broker, OP_HALF_TOPIC);
        Self {
            broker,
            asker,
            started_ms: clock::wall_ms(),
            ends: Instant::now() + LONGEST_ROUND,
            half_offset,
            ops: Ops::new(half_offset, next_op),
            next_op,
        }
    }

    async fn run(&mut self, stop: &CancellationToken) -> Result<(), String> {
        while !stop.is_cancelled() && Instant::now() < self.ends {
            if self.ops.resolve(self.half_offset) {
                self.half_offset += 1;
                continue;
            }
            let Some(half) = self.read_half()? else {
                return Ok(());
            };
            if half.queue_offset > self.half_offset {
                self.half_offset = half.queue_offset;
                continue;
            }
            let reserved = self.broker.decisions.reserve(self.half_offset);
            let step = self.step(&half, reserved).await;
            self.release();
            match step? {
                Step::ReadOn => continue,
                Step::End => return Ok(()),
                Step::Passed => {}
                Step::Ask(asked) => {
                    let (copy, stored) = *asked;
                    self.asker.ask(self.broker, &half, &copy, &stored).await;
                }
            }
            self.half_offset += 1;
        }
        Ok(())
    }

    /// Only after the half message was reserved, the decisions that are stored say whether it is undecided.
    async fn step(&mut self, half: &Half, reserved: Reserve) -> Result<Step, String> {
        if self.read_ops()? {
            return Ok(Step::ReadOn);
        }
        match reserved {
            Reserve::UnderWay => Ok(Step::End),
            Reserve::Yes => self.deal_with(half).await,
            // By a decision that does not name it, or that cannot be read yet: then it is named twice.
            Reserve::Decided => {
                let text = format!("{},", half.queue_offset);
                let named = op::put(self.broker, text, clock::wall_ms());
                store(self.broker, half, named, |_| {}).await?;
                Ok(Step::Passed)
            }
        }
    }

    /// Carries out the decision that waited for the end of the step.
    fn release(&self) {
        if let Some((later, op)) = self.broker.decisions.release() {
            later(self.broker, op);
            self.broker.writer.carry_out(false);
        }
    }

    /// The half message at the round's offset, or the next one there is.
    fn read_half(&mut self) -> Result<Option<Half>, String> {
        let one = ReadLimits {
            max_messages: 1,
            ..ReadLimits::default()
        };
        loop {
            let outcome = read(self.broker, HALF_TOPIC, self.half_offset, &one)?;
            if outcome.count > 0 {
                return Half::read(outcome.messages).map_err(|error| error.to_string());
            }
            if outcome.next_offset <= self.half_offset || self.half_offset >= outcome.max_offset {
                return Ok(None);
            }
            self.half_offset = outcome.next_offset;
        }
    }

    /// Reads on in the decisions; false when all of them are known.
    fn read_ops(&mut self) -> Result<bool, String> {
        let outcome = read(
            self.broker,
            OP_HALF_TOPIC,
            self.next_op,
            &ReadLimits::default(),
        )?;
        for record in records(&outcome.messages) {
            let record = record.map_err(|error| error.to_string())?;
            let properties = Properties::parse_bytes(record.properties);
            let tags = properties.get(name::TAGS);
            self.ops.add(record.queue_offset, tags, record.body);
        }
        let is_more = outcome.next_offset > self.next_op && self.next_op < outcome.max_offset;
        if is_more {
            if outcome.count == 0 {
                self.ops.skip_to(outcome.next_offset);
            }
            self.next_op = outcome.next_offset;
        }
        Ok(is_more)
    }

    async fn deal_with(&mut self, half: &Half) -> Result<Step, String> {
        let broker = self.broker;
        let now_ms = clock::wall_ms();
        match judge(half, self.started_ms, now_ms, &Limits::of(broker)) {
            Verdict::Wait => return Ok(Step::End),
            Verdict::PutOff => {
                let is_decided = half
                    .put_off_from()
                    .is_some_and(|first| self.ops.resolve(first));
                if !is_decided {
                    store_copy(broker, half, half.put_off(broker)).await?;
                }
            }
            Verdict::Check => {
                if let Some(asked) = store_copy(broker, half, half.checked_again(broker)).await? {
                    return Ok(Step::Ask(Box::new(asked)));
                }
            }
            Verdict::GiveUp => {
                let kept = half.given_up(broker, now_ms).ok_or_else(unreadable)?;
                store(broker, half, kept, |_| {}).await?;
                broker.decisions.given_up(half.queue_offset);
                tracing::warn!(
                    topic = half.properties.get(name::REAL_TOPIC),
                    unique_id = half.properties.get(name::UNIQ_KEY),
                    checks = half.checked(),
                    "a transaction was not decided and is given up"
                );
            }
        }
        Ok(Step::Passed)
    }

    /// On disk soon: after a kill, every half message behind the offset there is checked, and decided, once more, however many copies
    /// of it this round wrote.
    fn commit(&self) {
        let offsets = self.broker.offsets.committed();
        let now_ms = clock::wall_ms();
        let mut is_changed = false;
        for (topic, offset) in [
            (HALF_TOPIC, self.half_offset),
            (OP_HALF_TOPIC, self.ops.committed()),
        ] {
            if committed(self.broker, topic) != offset {
                offsets.set(TRANSACTION_GROUP, topic, QUEUE, offset, now_ms);
                is_changed = true;
            }
        }
        if is_changed {
            self.broker.metadata.offsets_changed();
        }
    }
}

/// How far the queue was looked at; within the queue, whatever a directory that was changed by hand says.
fn committed(broker: &Broker, topic: &str) -> i64 {
    let Some(range) = broker.reader.queue_range(topic, QUEUE) else {
        return 0;
    };
    let offsets = broker.offsets.committed();
    let known = offsets.get(TRANSACTION_GROUP, topic, QUEUE);
    known.map_or(range.min, |offset| offset.clamp(range.min, range.max))
}

fn read(
    broker: &Broker,
    topic: &str,
    offset: i64,
    limits: &ReadLimits,
) -> Result<ReadOutcome, String> {
    broker
        .reader
        .read(topic, QUEUE, offset, limits, None)
        .map_err(|error| error.to_string())
}

fn unreadable() -> String {
    "a half message does not decode".to_owned()
}

/// Writes a half message again; from then on both copies are the same transaction. `None`: the store can never take the copy.
async fn store_copy(
    broker: &Broker,
    half: &Half,
    copy: Option<Put>,
) -> Result<Option<(Put, Appended)>, String> {
    let copy = copy.ok_or_else(unreadable)?;
    let decisions = Arc::clone(&broker.decisions);
    let from = half.queue_offset;
    let stored = store(broker, half, copy.clone(), move |copy| {
        decisions.copied(from, copy);
    });
    Ok(stored.await?.map(|stored| (copy, stored)))
}

/// `stored` is called with the offset, in the order in which messages are stored. `None`: the store can never take the message, and
/// those behind it do not wait for it.
async fn store(
    broker: &Broker,
    half: &Half,
    put: Put,
    stored: impl FnOnce(i64) + Send + 'static,
) -> Result<Option<Appended>, String> {
    let outcome = put::store_then(broker, put, move |outcome| {
        if let Some(first) = outcome.records.first() {
            stored(first.queue_offset);
        }
    });
    match outcome.await {
        Ok(outcome) => Ok(outcome.records.first().copied()),
        Err(failure) if failure.is_final() => {
            failure.give_up("a half message", half.properties.as_str().as_bytes());
            Ok(None)
        }
        Err(failure) => Err(failure.to_string()),
    }
}

/// Asks producers in turn.
#[derive(Debug)]
struct Asker {
    turn: AtomicUsize,
    asking: Arc<Semaphore>,
}

impl Default for Asker {
    fn default() -> Self {
        Self {
            turn: AtomicUsize::new(0),
            asking: Arc::new(Semaphore::new(ASKING)),
        }
    }
}

impl Asker {
    /// Asks a producer of the message's group that may send to its topic; without one, the next check comes in the next round.
    async fn ask(&self, broker: &Broker, half: &Half, copy: &Put, stored: &Appended) {
        let group = half.properties.get(name::PGROUP).unwrap_or_default();
        let Some(connection) = self.connection(broker, group, half.real_topic()) else {
            tracing::info!(group, "no producer is online that could be asked");
            return;
        };
        let question = match question(broker, half, copy, stored) {
            Ok(question) => question,
            Err(reason) => {
                tracing::error!(reason, group, "a half message could not be shown");
                return;
            }
        };
        let Ok(permit) = Arc::clone(&self.asking).acquire_owned().await else {
            return;
        };
        broker.spawn(async move {
            let sent = connection.oneway(question, Deadline::after(ASK_TIMEOUT));
            if let Err(error) = sent.await {
                tracing::debug!(%error, "a producer was not asked about its transaction");
            }
            drop(permit);
        });
    }

    /// Everybody may call themselves a producer of any group, and the question has the whole message.
    fn connection(&self, broker: &Broker, group: &str, topic: &str) -> Option<Connection> {
        let members: Vec<_> = broker
            .clients
            .lock()
            .producers_of(group)
            .map(|member| (member.connection.clone(), member.user.clone()))
            .collect();
        let may_be_asked = |connection: &Connection, user: Option<&str>| {
            let guard = broker.guard.as_deref();
            let from = connection.peer_addr().ip();
            guard.is_none_or(|guard| guard.may_be_asked(user, topic, from))
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let from = turn.checked_rem(members.len())?;
        members
            .iter()
            .cycle()
            .skip(from)
            .take(members.len())
            .filter(|(connection, user)| may_be_asked(connection, user.as_deref()))
            .map(|(connection, _)| connection)
            .take(CONNECTIONS_TRIED)
            .find(|connection| !connection.is_closed())
            .cloned()
    }
}

fn question(
    broker: &Broker,
    half: &Half,
    copy: &Put,
    stored: &Appended,
) -> Result<RemotingCommand, String> {
    let body: Bytes = half
        .question(copy, stored.queue_offset, stored.log_offset)
        .map_err(|error| error.to_string())?;
    let (record, _) = Record::parse(&body).map_err(|error| error.to_string())?;
    let offset_msg_id = offset_msg_id(record.store_host, stored.log_offset);
    let unique_id = half.properties.get(name::UNIQ_KEY);
    let command = RemotingCommand::request(&CheckTransactionStateRequest {
        topic: Some(HALF_TOPIC),
        tran_state_table_offset: stored.queue_offset,
        commit_log_offset: stored.log_offset,
        msg_id: unique_id,
        transaction_id: unique_id,
        offset_msg_id: Some(&offset_msg_id),
        broker_name: Some(&broker.identity.broker_name),
    });
    Ok(command.with_body(body))
}
