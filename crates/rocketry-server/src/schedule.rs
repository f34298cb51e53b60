//! Delay levels: messages wait in one queue per level, in the order in which they fall due, and are then put where they were sent.
//!
//! Java: `ScheduleMessageService`. Differs from Java: woken by the next due time, not every 100 ms.

use std::{cell::Cell, sync::Arc, time::Duration};

use bytes::Bytes;
use rocketry_protocol::{Properties, properties::name, record::Record};
use rocketry_store::{Filter, ReadLimits, StoreOptions};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::Broker,
    clock,
    names::{HALF_TOPIC, SCHEDULE_TOPIC},
    put,
    writer::{Origin, Put},
};

/// Time to the next attempt after a delivery failed. Java: `DELAY_FOR_A_PERIOD`, 10 s; `DELAY_FOR_A_WHILE`, 100 ms.
const RETRY_AFTER: Duration = Duration::from_millis(100);

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
    let levels = StoreOptions::default().delay_levels;
    start_within_the_queues(&broker, levels.len());
    loop {
        let mut sleep = LONGEST_SLEEP;
        let mut level = 0;
        for delay in &levels {
            level += 1;
            // A round that has begun is finished: what it stored and did not note would be delivered again.
            if stop.is_cancelled() {
                return;
            }
            let round = deliver_due(&broker, level, *delay).await;
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
            () = stop.cancelled() => return,
            () = broker.schedule.0.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
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
fn start_within_the_queues(broker: &Broker, levels: usize) {
    let offsets = &broker.reader.metadata().delay_offsets;
    for level in 1..=i32::try_from(levels).unwrap_or(0) {
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

/// Delivers the messages at the head of a level's queue that are due.
async fn deliver_due(broker: &Broker, level: i32, delay: Duration) -> Round {
    let offsets = &broker.reader.metadata().delay_offsets;
    let mut offset = offsets.get(level).unwrap_or(0);
    let due = Due::new(clock::wall_ms(), delay);
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
            return Round::Failed;
        }
    };
    if outcome.count == 0 {
        if let Some(due_ms) = due.first_waiting.get() {
            return Round::DueAt(due_ms);
        }
        // Units whose messages are gone are passed by.
        if outcome.next_offset > offset && offset < outcome.max_offset {
            offsets.set(level, outcome.next_offset, clock::wall_ms());
            return Round::More;
        }
        return Round::Empty;
    }
    let mut puts = Vec::with_capacity(outcome.count);
    let mut rest = outcome.messages;
    while !rest.is_empty() {
        match Record::parse(&rest) {
            Ok((record, bytes)) => {
                let next = record.queue_offset + 1;
                puts.push((next, start_put(broker, &record, &rest)));
                rest = rest.slice(bytes..);
            }
            Err(error) => {
                tracing::error!(%error, level, offset, "a delayed message does not decode");
                return Round::Failed;
            }
        }
    }
    for (next, put) in puts {
        let Ok(true) = put.await else {
            return Round::Failed;
        };
        offset = next;
        offsets.set(level, offset, clock::wall_ms());
    }
    Round::More
}

/// Queues the message for the log; the receiver tells whether it is done with: stored, or left out because the store can never take it.
fn start_put(broker: &Broker, record: &Record<'_>, bytes: &Bytes) -> oneshot::Receiver<bool> {
    let (tell, stored) = oneshot::channel();
    match restore(broker, record, bytes) {
        Some(put) => {
            let properties = bytes.slice_ref(record.properties);
            put::submit(broker, put, move |outcome| {
                let is_done = match outcome {
                    Ok(_) => true,
                    Err(failure) if failure.is_final() => {
                        failure.give_up("a delayed message", &properties);
                        true
                    }
                    Err(failure) => {
                        tracing::warn!(%failure, "a delayed message could not be delivered yet");
                        false
                    }
                };
                // Without a receiver the server stops, and delivers it after the next start.
                let _ = tell.send(is_done);
            });
        }
        None => {
            let _ = tell.send(true);
        }
    }
    stored
}

/// The message as it was sent: it keeps its properties, `DELAY` and the way to its destination included, as in Java. `None` for one
/// that has nowhere to go.
fn restore(broker: &Broker, record: &Record<'_>, bytes: &Bytes) -> Option<Put> {
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
    Some(Put {
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
    })
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
