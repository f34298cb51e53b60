//! The way of every message into the log: delay, the wait for its topic's configuration, and how a refusal is answered.
//! Java: `HookUtils`, `SendMessageProcessor.handlePutMessageResult`.

use std::{fmt, future::Future, sync::Arc};

use rocketry_protocol::{
    Properties, ResponseCode,
    properties::{self, name},
};
use rocketry_store::{AppendError, WriteError, WriteErrorKind};
use tokio::sync::oneshot;

use crate::{
    ServerConfig,
    broker::Broker,
    fault::Fault,
    find,
    metadata::NotWritten,
    names::{SCHEDULE_TOPIC, TIMER_TOPIC},
    schedule::ScheduleBell,
    timer::TimerBell,
    writer::{self, Put, PutError, Stored, WriterHandle},
};

/// Number of delay levels. Java: `messageDelayLevel`.
pub(crate) const DELAY_LEVELS: i32 = 18;

/// Bytes of properties that a timed message must leave free for what the broker adds before it is delivered: its times, its rounds.
const ROOM: usize = 512;

/// Bytes that a half message must leave free: for the checks, and for a time of delivery that it asks for.
pub(crate) const HALF_ROOM: usize = 2 * ROOM;

/// Why a message was not put.
#[derive(Debug)]
pub(crate) enum PutFailure {
    /// The topic's configuration could not be written.
    Metadata(NotWritten),
    /// The log's reason.
    Log(PutError),
}

/// Queues `put` for the log, once the configuration of all topics is on disk: a message whose topic is lost by a crash could not be
/// read. `done` is called exactly once, here or on another thread.
pub(crate) fn submit(
    broker: &Broker,
    put: Put,
    done: impl FnOnce(Result<Stored, PutFailure>) + Send + 'static,
) {
    submit_as(broker, put, None, WriterHandle::put, done);
}

/// [`submit`] by a request's handler, before its connection is caught up with what it read. The companion is written by the same call:
/// a crash of the process keeps both or none.
pub(crate) fn submit_request(
    broker: &Broker,
    put: Put,
    companion: Option<Put>,
    done: impl FnOnce(Result<Stored, PutFailure>) + Send + 'static,
) {
    submit_as(broker, put, companion, WriterHandle::put_for_later, done);
}

fn submit_as(
    broker: &Broker,
    put: Put,
    companion: Option<Put>,
    queue: fn(&WriterHandle, Put, Option<Put>, writer::Done),
    done: impl FnOnce(Result<Stored, PutFailure>) + Send + 'static,
) {
    let bell = match put.topic.topic_name.as_str() {
        SCHEDULE_TOPIC => Bell::Schedule(Arc::clone(&broker.schedule)),
        TIMER_TOPIC => Bell::Timer(Arc::clone(&broker.timer)),
        _ => Bell::None,
    };
    let done = move |outcome: Result<Stored, PutFailure>| {
        done(outcome);
        match bell {
            Bell::Schedule(bell) => bell.ring(),
            Bell::Timer(bell) => bell.ring(),
            Bell::None => {}
        }
    };
    if broker.metadata.is_written() {
        let done = move |put: Result<_, _>| done(put.map_err(PutFailure::Log));
        queue(&broker.writer, put, companion, Box::new(done));
        return;
    }
    // a store that refuses says why better than a file that cannot be written
    if let Err(refused) = broker.reader.takes_messages() {
        done(Err(PutFailure::Log(PutError::Failed(refused))));
        return;
    }
    let bytes = put.bytes() + companion.as_ref().map_or(0, Put::bytes);
    if let Err(waiting) = broker.metadata.take_room(bytes) {
        done(Err(PutFailure::Log(PutError::Busy(waiting))));
        return;
    }
    let (writer, reader) = (broker.writer.clone(), broker.reader.clone());
    broker
        .metadata
        .after_write(move |persisted| match persisted {
            Ok(()) => {
                let done = move |put: Result<_, _>| done(put.map_err(PutFailure::Log));
                writer.put(put, companion, Box::new(done));
            }
            Err(error) if error.disk_full => {
                let full = reader.no_space_for_config();
                done(Err(PutFailure::Log(PutError::Failed(full))));
            }
            Err(error) => done(Err(PutFailure::Metadata(error))),
        });
}

/// [`submit`], at once; the future is the outcome.
pub(crate) fn store(
    broker: &Broker,
    put: Put,
) -> impl Future<Output = Result<Stored, PutFailure>> + Send + use<> {
    store_then(broker, put, |_| {})
}

/// [`store`] with a function that is called in the order in which messages are stored.
pub(crate) fn store_then<F: FnOnce(&Stored) + Send + 'static>(
    broker: &Broker,
    put: Put,
    stored: F,
) -> impl Future<Output = Result<Stored, PutFailure>> + Send + use<F> {
    let (tell, told) = oneshot::channel();
    submit(broker, put, move |outcome| {
        if let Ok(outcome) = &outcome {
            stored(outcome);
        }
        // Who waits may have been dropped with the server.
        let _ = tell.send(outcome);
    });
    async move {
        told.await
            .unwrap_or(Err(PutFailure::Log(PutError::Stopping)))
    }
}

/// Who is told that a message came to wait.
enum Bell {
    None,
    Schedule(Arc<ScheduleBell>),
    Timer(Arc<TimerBell>),
}

/// Sends a message with a delay level to the queue of that level, and one with a time of delivery to the timer topic, where it waits.
/// Java: `HookUtils.handleScheduleMessage`, `transformDelayLevelMessage`.
pub(crate) fn delay(
    broker: &Broker,
    put: &mut Put,
    properties: &mut Properties,
    now_ms: i64,
) -> Result<(), Fault> {
    if let Some(level) = properties.get(name::DELAY)
        && level.parse::<i32>().is_err()
    {
        // It would arrive at once instead.
        return Err(Fault::system_error(format!(
            "the delay level {level:?} is not a number"
        )));
    }
    let level = delay_level(properties);
    if level <= 0 {
        return wait_for_time(broker, put, properties, now_ms);
    }
    for property in TIMER_PROPERTIES {
        properties.remove(property);
    }
    let level = level.min(DELAY_LEVELS);
    properties.set(name::DELAY, &level.to_string());
    properties.set(name::REAL_TOPIC, &put.topic.topic_name);
    properties.set(name::REAL_QID, &put.queue_id.to_string());
    put.topic = find::plain_topic(broker, SCHEDULE_TOPIC, DELAY_LEVELS, false, now_ms);
    put.queue_id = level - 1;
    Ok(())
}

/// Java: `HookUtils.transformTimerMessage`.
fn wait_for_time(
    broker: &Broker,
    put: &mut Put,
    properties: &mut Properties,
    now_ms: i64,
) -> Result<(), Fault> {
    // One that names its slot has been through the timer.
    if properties.contains(name::TIMER_OUT_MS) {
        return Ok(());
    }
    let max_delay_ms = max_timer_delay_ms(&broker.config);
    let deliver_ms = match deliver_ms(properties, now_ms) {
        Asked::NoTime => return Ok(()),
        Asked::At(deliver_ms) => deliver_ms,
        Asked::Illegible => return Err(illegal_time(max_delay_ms)),
    };
    if deliver_ms <= now_ms {
        // Nothing is left to delete.
        return if properties.contains(name::TIMER_DEL_UNIQKEY) {
            Err(illegal_time(max_delay_ms))
        } else {
            Ok(())
        };
    }
    if deliver_ms - now_ms > max_delay_ms {
        return Err(illegal_time(max_delay_ms));
    }
    let out_ms = broker.config.timer_options().out_ms(deliver_ms);
    properties.set(name::TIMER_OUT_MS, &out_ms.to_string());
    properties.set(name::REAL_TOPIC, &put.topic.topic_name);
    properties.set(name::REAL_QID, &put.queue_id.to_string());
    leave_room(broker, properties, ROOM)?;
    put.topic = find::plain_topic(broker, TIMER_TOPIC, 1, false, now_ms);
    put.queue_id = 0;
    Ok(())
}

/// Refuses a message whose delivery would need more properties than a message can have. Better now, when its sender is there, than then.
pub(crate) fn leave_room(
    broker: &Broker,
    properties: &Properties,
    room: usize,
) -> Result<(), Fault> {
    if properties.len_bytes() + room > properties::MAX_BYTES {
        return Err(illegal(broker));
    }
    Ok(())
}

/// When a message asks to be delivered.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    NoTime,
    At(i64),
    /// The property is no number.
    Illegible,
}

fn deliver_ms(properties: &Properties, now_ms: i64) -> Asked {
    let [seconds, ms, at] = TIMER_PROPERTIES.map(|property| properties.get(property));
    let asked = match (seconds, ms, at) {
        (Some(seconds), _, _) => seconds
            .parse()
            .map(|seconds: i64| now_ms.saturating_add(seconds.saturating_mul(1000))),
        (None, Some(ms), _) => ms.parse().map(|ms| now_ms.saturating_add(ms)),
        (None, None, Some(at)) => at.parse(),
        (None, None, None) => return Asked::NoTime,
    };
    asked.map_or(Asked::Illegible, Asked::At)
}

/// Longest time that a message may ask for, ms.
pub(crate) fn max_timer_delay_ms(config: &ServerConfig) -> i64 {
    i64::try_from(config.timer_max_delay.as_millis()).unwrap_or(i64::MAX)
}

fn illegal_time(max_delay_ms: i64) -> Fault {
    Fault::new(
        ResponseCode::MESSAGE_ILLEGAL,
        format!(
            "timer message illegal, the delay time should not be bigger than the max delay {max_delay_ms}ms; or if set del msg, the delay time should be bigger than the current time"
        ),
    )
}

/// Whether a message asks to be delivered later, however legibly.
pub(crate) fn asks_to_wait(properties: &Properties) -> bool {
    let asks = |property: &&str| properties.contains(property);
    asks(&name::DELAY) || TIMER_PROPERTIES.iter().any(asks)
}

/// The delay level a message asks for; 0 = none.
pub(crate) fn delay_level(properties: &Properties) -> i32 {
    properties
        .get(name::DELAY)
        .and_then(|level| level.parse().ok())
        .unwrap_or(0)
}

const TIMER_PROPERTIES: [&str; 3] = [
    name::TIMER_DELAY_SEC,
    name::TIMER_DELAY_MS,
    name::TIMER_DELIVER_MS,
];

/// Code 13, for a body or properties beyond their limits.
pub(crate) fn illegal(broker: &Broker) -> Fault {
    illegal_with(broker.config.max_message_bytes)
}

fn illegal_with(max_message_bytes: usize) -> Fault {
    Fault::new(
        ResponseCode::MESSAGE_ILLEGAL,
        format!(
            "the message is illegal, maybe msg body or properties length not matched. msg body length limit {max_message_bytes}B, msg properties length limit 32KB."
        ),
    )
}

impl fmt::Display for PutFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata(reason) => {
                write!(
                    f,
                    "the topic's configuration could not be written: {reason}"
                )
            }
            Self::Log(PutError::Refused(error)) => error.fmt(f),
            Self::Log(PutError::Failed(error)) => error.fmt(f),
            Self::Log(PutError::Busy(waiting)) => {
                write!(f, "{waiting} messages wait for the commit log already")
            }
            Self::Log(PutError::Stopping) => f.write_str("the server stops"),
        }
    }
}

impl PutFailure {
    /// Whether the message is refused for what it is, so that no other attempt can succeed.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Log(PutError::Refused(
                AppendError::TooLarge { .. }
                    | AppendError::PropertiesTooLong { .. }
                    | AppendError::Invalid { .. }
            ))
        )
    }

    /// Says in the log that a stored message never gets where it was going, whose others must not wait for it.
    pub(crate) fn give_up(&self, what: &str, properties: &[u8]) {
        let properties = Properties::parse_bytes(properties);
        tracing::error!(
            reason = %self,
            topic = properties.get(name::REAL_TOPIC),
            unique_id = properties.get(name::UNIQ_KEY),
            keys = properties.get(name::KEYS),
            "{what} cannot be stored and is left out"
        );
    }

    /// The answer.
    pub(crate) fn into_fault(self, max_message_bytes: usize) -> Fault {
        match self {
            Self::Metadata(error) => Fault::system_error(format!(
                "the topic was created and its configuration could not be written: {error}"
            )),
            Self::Log(PutError::Refused(AppendError::Write(error)) | PutError::Failed(error)) => {
                not_written(&error)
            }
            Self::Log(PutError::Refused(AppendError::Invalid { what, reason })) => Fault::new(
                ResponseCode::MESSAGE_ILLEGAL,
                format!("{what} cannot be stored: {reason}"),
            ),
            Self::Log(PutError::Refused(_)) => illegal_with(max_message_bytes),
            Self::Log(PutError::Busy(waiting)) => Fault::new(
                ResponseCode::SYSTEM_BUSY,
                format!(
                    "[OVERLOAD]system busy, start flow control for a while: {waiting} messages wait for the commit log"
                ),
            ),
            Self::Log(PutError::Stopping) => Fault::new(
                ResponseCode::SERVICE_NOT_AVAILABLE,
                "service not available now. The broker is stopping.",
            ),
        }
    }
}

/// The message is not stored, or not known to be: never an acknowledgement.
fn not_written(error: &WriteError) -> Fault {
    let cause = match error.kind() {
        WriteErrorKind::DiskFull => "the broker's disk is full",
        WriteErrorKind::ReadOnly => "a sync to disk failed",
        WriteErrorKind::Closed => "the message store has been shut down",
        _ => "the disk refused a write",
    };
    Fault::new(
        ResponseCode::SERVICE_NOT_AVAILABLE,
        format!("service not available now: {cause}. {error}"),
    )
}
