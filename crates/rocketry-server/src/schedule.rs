//! Delay levels: messages wait in one queue per level, in the order in which they fall due, and are then put where they were sent.
//!
//! Java: `ScheduleMessageService`. Differs from Java: woken by the next due time, not every 100 ms.

use std::{cell::Cell, collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use rocketry_protocol::{Properties, properties::name, record::Record};
use rocketry_store::{Filter, ReadLimits, StoreOptions};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::Broker,
    clock,
    names::{HALF_TOPIC, SCHEDULE_TOPIC},
    put::{self, PutFailure},
    writer::{Origin, Put, PutError},
};

/// Time to the next attempt after a delivery failed. Java: `DELAY_FOR_A_PERIOD`, 10 s; `DELAY_FOR_A_WHILE`, 100 ms.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Longest time that a stop waits for the rest of what was read together and is stored in part.
const LONGEST_FINISH: Duration = Duration::from_secs(2);

/// Longest sleep: a wall clock that is set is noticed after this.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Rings when a message came to wait.
#[derive(Debug, Default)]
pub(crate) struct ScheduleBell(Notify);

impl ScheduleBell {
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }
}

/// Delivers what falls due until `stop`.
pub(crate) async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut levels: Vec<Level> = (1..)
        .zip(StoreOptions::default().delay_levels)
        .map(|(number, delay)| Level::new(number, delay))
        .collect();
    start_within_the_queues(&broker, &levels);
    loop {
        let mut sleep = LONGEST_SLEEP;
        for level in &mut levels {
            // A round that has begun is finished: what it stored and did not note would be delivered again.
            if stop.is_cancelled() {
                return finish(&broker, &mut levels).await;
            }
            let round = level.deliver_due(&broker).await;
            sleep = sleep.min(match round {
                Round::More => Duration::ZERO,
                Round::Empty => LONGEST_SLEEP,
                Round::DueAt(due_ms) => {
                    let ms = due_ms.saturating_sub(clock::wall_ms());
                    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
                }
                Round::Failed => RETRY_AFTER,
            });
        }
        if sleep.is_zero() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return finish(&broker, &mut levels).await,
            () = broker.schedule.0.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// Delivers what was read together and is stored in part, while the log takes messages: the next start would deliver all of it again.
async fn finish(broker: &Broker, levels: &mut [Level]) {
    let ends = Instant::now() + LONGEST_FINISH;
    loop {
        let mut put = Outcome::Done;
        for level in levels.iter_mut().filter(|level| level.is_stored_in_part()) {
            put = put.max(level.deliver(broker).await);
        }
        if put != Outcome::NotYet || Instant::now() >= ends {
            return;
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// What a look at one level came to.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// Messages were delivered; there may be more.
    More,
    /// No message waits.
    Empty,
    /// The next message is due at this time.
    DueAt(i64),
    /// A message could not be put; it is tried again.
    Failed,
}

/// Offsets that retention or a copied directory left outside their queues. Java: `ScheduleMessageService.correctDelayOffset`.
fn start_within_the_queues(broker: &Broker, levels: &[Level]) {
    let offsets = &broker.reader.metadata().delay_offsets;
    for &Level { number: level, .. } in levels {
        let Some(range) = broker.reader.queue_range(SCHEDULE_TOPIC, level - 1) else {
            continue;
        };
        let offset = offsets.get(level).unwrap_or(0);
        if offset < range.min || offset > range.max {
            let corrected = offset.clamp(range.min, range.max);
            tracing::warn!(
                level,
                offset,
                corrected,
                "delay offset lies outside of its queue"
            );
            offsets.set(level, corrected, clock::wall_ms());
        }
    }
}

/// A delay level, and what of it is being delivered.
#[derive(Debug)]
struct Level {
    number: i32,
    delay: Duration,
    /// What was read last, from the first message on that is not stored. The level's offset is that of the first.
    begun: VecDeque<Begun>,
}

/// A message that is due.
#[derive(Debug)]
struct Begun {
    /// The offset behind it.
    next: i64,
    /// `None` once it is done with, before others that are not.
    record: Option<Bytes>,
}

impl Level {
    const fn new(number: i32, delay: Duration) -> Self {
        Self {
            number,
            delay,
            begun: VecDeque::new(),
        }
    }

    /// Delivers the messages at the head of the level's queue that are due.
    async fn deliver_due(&mut self, broker: &Broker) -> Round {
        if self.begun.is_empty()
            && let Some(round) = self.read_due(broker)
        {
            return round;
        }
        match self.deliver(broker).await {
            Outcome::Done => Round::More,
            Outcome::NotYet | Outcome::Stopping => Round::Failed,
        }
    }

    /// `None` when there is something to deliver.
    fn read_due(&mut self, broker: &Broker) -> Option<Round> {
        let level = self.number;
        let offsets = &broker.reader.metadata().delay_offsets;
        let offset = offsets.get(level).unwrap_or(0);
        let due = Due::new(clock::wall_ms(), self.delay);
        let outcome = match broker.reader.read(
            SCHEDULE_TOPIC,
            level - 1,
            offset,
            &ReadLimits::default(),
            Some(&due),
        ) {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, level, "delayed messages could not be read");
                return Some(Round::Failed);
            }
        };
        if outcome.count == 0 {
            if let Some(due_ms) = due.first_waiting.get() {
                return Some(Round::DueAt(due_ms));
            }
            // Units whose messages are gone are passed by.
            if outcome.next_offset > offset && offset < outcome.max_offset {
                offsets.set(level, outcome.next_offset, clock::wall_ms());
                return Some(Round::More);
            }
            return Some(Round::Empty);
        }
        let mut rest = outcome.messages;
        while !rest.is_empty() {
            match Record::parse(&rest) {
                Ok((record, bytes)) => self.begun.push_back(Begun {
                    next: record.queue_offset + 1,
                    record: Some(rest.split_to(bytes)),
                }),
                Err(error) => {
                    tracing::error!(%error, level, offset, "a delayed message does not decode");
                    // Those before it are delivered first.
                    return self.begun.is_empty().then_some(Round::Failed);
                }
            }
        }
        None
    }

    /// Puts once what is not stored yet. The offset advances over what is stored, up to the first that is not.
    async fn deliver(&mut self, broker: &Broker) -> Outcome {
        let mut puts = Vec::with_capacity(self.begun.len());
        for message in &mut self.begun {
            if let Some(record) = &message.record {
                let put = start_put(broker, record);
                puts.push((&mut message.record, put));
            }
        }
        let mut worst = Outcome::Done;
        for (record, put) in puts {
            let outcome = put.await.unwrap_or(Outcome::Stopping);
            if outcome == Outcome::Done {
                *record = None;
            }
            worst = worst.max(outcome);
        }
        let mut done = None;
        while let Some(first) = self.begun.pop_front_if(|first| first.record.is_none()) {
            done = Some(first.next);
        }
        if let Some(offset) = done {
            let offsets = &broker.reader.metadata().delay_offsets;
            offsets.set(self.number, offset, clock::wall_ms());
        }
        worst
    }

    fn is_stored_in_part(&self) -> bool {
        self.begun.iter().any(|message| message.record.is_none())
    }
}

/// What became of putting a message, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Stored, or left out because the store can never take it.
    Done,
    /// To be tried again.
    NotYet,
    /// The log takes no more; the next start delivers it.
    Stopping,
}

/// Queues the message for the log.
fn start_put(broker: &Broker, bytes: &Bytes) -> oneshot::Receiver<Outcome> {
    let (tell, stored) = oneshot::channel();
    match restore(broker, bytes) {
        Some((put, properties)) => {
            put::submit(broker, put, move |outcome| {
                let outcome = match outcome {
                    Ok(_) => Outcome::Done,
                    Err(failure) if failure.is_final() => {
                        failure.give_up("a delayed message", &properties);
                        Outcome::Done
                    }
                    Err(PutFailure::Log(PutError::Stopping)) => Outcome::Stopping,
                    Err(failure) => {
                        tracing::warn!(%failure, "a delayed message could not be delivered yet");
                        Outcome::NotYet
                    }
                };
                // Without a receiver the server stops, and delivers it after the next start.
                let _ = tell.send(outcome);
            });
        }
        None => {
            let _ = tell.send(Outcome::Done);
        }
    }
    stored
}

/// The message as it was sent: it keeps its properties, `DELAY` and the way to its destination included, as in Java. `None` for one
/// that has nowhere to go. With the properties that it has.
fn restore(broker: &Broker, bytes: &Bytes) -> Option<(Put, Bytes)> {
    let (record, _) = Record::parse(bytes).ok()?;
    let properties = Properties::parse_bytes(record.properties);
    let topic = properties.get(name::REAL_TOPIC)?;
    if topic == HALF_TOPIC {
        return None;
    }
    let queue_id = properties.get(name::REAL_QID)?.parse().ok()?;
    let Some(config) = broker.topics().get(topic) else {
        tracing::warn!(topic, "the topic of a delayed message was deleted");
        return None;
    };
    let put = Put {
        topic: config,
        queue_id,
        flag: record.flag,
        sys_flag: record.sys_flag,
        born_ms: record.born_ms,
        born_host: record.born_host,
        store_host: broker.identity.store_host,
        reconsume_times: record.reconsume_times,
        prepared_transaction_offset: 0,
        body: bytes.slice_ref(record.body),
        properties: properties.into_string(),
        batch: false,
        origin: Origin::Stored { bare: None },
    };
    Some((put, bytes.slice_ref(record.properties)))
}

/// Takes messages up to the first that is not due; the consume queue of a level holds delivery times in place of tags.
struct Due {
    now_ms: i64,
    latest_ms: i64,
    first_waiting: Cell<Option<i64>>,
}

impl Due {
    fn new(now_ms: i64, delay: Duration) -> Self {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        Self {
            now_ms,
            latest_ms: now_ms.saturating_add(delay_ms),
            first_waiting: Cell::new(None),
        }
    }
}

impl Filter for Due {
    fn matches_tags(&self, deliver_ms: i64) -> bool {
        if self.first_waiting.get().is_some() {
            return false;
        }
        // Later than any message of this level can be: the clock was set back, or levels were shortened.
        if deliver_ms <= self.now_ms || deliver_ms > self.latest_ms {
            return true;
        }
        self.first_waiting.set(Some(deliver_ms));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_up_to_the_first_that_waits() {
        let due = Due::new(1000, Duration::from_millis(50));
        assert!(due.matches_tags(999));
        assert!(due.matches_tags(1000));
        assert!(due.matches_tags(1051), "later than the level allows");
        assert!(!due.matches_tags(1050));
        assert!(!due.matches_tags(999), "order is kept");
        assert_eq!(due.first_waiting.get(), Some(1050));
    }
}
