//! When the time of a check point has come: what nobody acknowledged goes to the group's retry topic.
//!
//! The revive topic has check points and acknowledgements in the order of their time. A check point is dealt with once the timer has
//! delivered everything up to its time, so that every acknowledgement which came in time is behind it in the queue.
//! Java: `PopReviveService`. Differs from Java: waits for the timer rather than two seconds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use rocketry_protocol::{
    Properties, body,
    pop::{normal_topic, retry_topic_v1},
    properties::name,
    record::{Record, records},
};
use rocketry_store::ReadLimits;
use tokio_util::sync::CancellationToken;

use super::{
    REVIVE_GROUP, REVIVE_QUEUES,
    checkpoint::{ACK_TAG, Ack, BATCH_ACK_TAG, CK_TAG, CheckPoint, Key},
};
use crate::{
    broker::Broker,
    clock, find,
    names::{RETRY_PREFIX, TIMER_TOPIC},
    put,
    writer::Put,
};

/// Time between two rounds. Java: `reviveInterval`, 1 s.
const INTERVAL: Duration = Duration::from_millis(500);

/// Most messages of a revive queue that one round looks at.
const MAX_MESSAGES: usize = 100_000;

/// Works the revive topic off until `stop`.
pub(crate) async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let until_ms = delivered_until(&broker);
        for queue_id in 0..REVIVE_QUEUES {
            if stop.is_cancelled() {
                return;
            }
            if let Err(reason) = round(&broker, queue_id, until_ms).await {
                tracing::error!(reason, queue_id, "popped messages could not be revived yet");
            }
        }
    }
}

/// Every note whose time is before this is in the revive topic by now. What was just stored is still to be seen by the timer: then the
/// answer is 0.
fn delivered_until(broker: &Broker) -> i64 {
    let stored = broker.reader.queue_range(TIMER_TOPIC, 0);
    let read_ms = broker.timer.read_ms();
    let is_behind = stored.is_some_and(|range| broker.timer.queue_offset() < range.max);
    if is_behind { 0 } else { read_ms }
}

/// What a round knows of a revive queue.
#[derive(Default)]
struct Notes {
    /// By their place in the queue.
    check_points: BTreeMap<i64, CheckPoint>,
    places: HashMap<Key, i64>,
}

impl Notes {
    fn add(&mut self, record: &Record<'_>) {
        let properties = Properties::parse_bytes(record.properties);
        match properties.get(name::TAGS) {
            Some(CK_TAG) => match body::decode::<CheckPoint>(record.body) {
                Ok(mut check_point) => {
                    check_point.revive_offset = record.queue_offset;
                    check_point.acked = 0;
                    self.places.insert(check_point.key(), record.queue_offset);
                    self.check_points.insert(record.queue_offset, check_point);
                }
                Err(error) => tracing::warn!(%error, "a check point does not decode"),
            },
            Some(ACK_TAG | BATCH_ACK_TAG) => match body::decode::<Ack>(record.body) {
                Ok(ack) => {
                    let place = self.places.get(&ack.key());
                    if let Some(check_point) =
                        place.and_then(|place| self.check_points.get_mut(place))
                    {
                        // With a list, Java leaves the single offset at 0.
                        if ack.offsets.is_empty() {
                            check_point.ack(ack.offset);
                        }
                        for offset in &ack.offsets {
                            check_point.ack(*offset);
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "an acknowledgement does not decode"),
            },
            _ => {}
        }
    }
}

async fn round(broker: &Broker, queue_id: i32, until_ms: i64) -> Result<(), String> {
    let topic = broker.system.revive_topic();
    let Some(range) = broker.reader.queue_range(&topic, queue_id) else {
        return Ok(());
    };
    let offsets = broker.offsets.committed();
    let committed = offsets.get(REVIVE_GROUP, &topic, queue_id).unwrap_or(-1);
    let mut offset = (committed + 1).max(range.min);
    if offset >= range.max || until_ms == 0 {
        return Ok(());
    }
    let mut notes = Notes::default();
    let mut seen = 0;
    while offset < range.max && seen < MAX_MESSAGES {
        let read = broker
            .reader
            .read(&topic, queue_id, offset, &ReadLimits::default(), None)
            .map_err(|error| error.to_string())?;
        for record in records(&read.messages) {
            notes.add(&record.map_err(|error| error.to_string())?);
        }
        if read.next_offset <= offset {
            break;
        }
        seen += read.count.max(1);
        offset = read.next_offset;
    }
    // Acknowledgements lie behind their check points: those before the first one that waits are of no more use.
    let mut done = offset - 1;
    for (place, check_point) in &notes.check_points {
        if check_point.revive_ms() >= until_ms {
            done = place - 1;
            break;
        }
        if let Err(reason) = revive(broker, check_point).await {
            commit(broker, &topic, queue_id, committed, place - 1);
            return Err(reason);
        }
    }
    commit(broker, &topic, queue_id, committed, done);
    Ok(())
}

fn commit(broker: &Broker, topic: &str, queue_id: i32, before: i64, done: i64) {
    if done > before {
        let offsets = broker.offsets.committed();
        offsets.set(REVIVE_GROUP, topic, queue_id, done, clock::wall_ms());
    }
}

/// Stores what is not acknowledged in the retry topic. Java: `PopReviveService.reviveRetry`.
async fn revive(broker: &Broker, check_point: &CheckPoint) -> Result<(), String> {
    let group = check_point.group.as_str();
    let original = normal_topic(&check_point.topic, group);
    if broker.topics().get(original).is_none() || broker.groups().get(group).is_none() {
        return Ok(());
    }
    for offset in check_point.open() {
        if let Some(put) = again(broker, check_point, original, offset)? {
            put::store(broker, put).await?;
        }
    }
    Ok(())
}

/// A message for its group's retry topic; `None` for one that is no longer stored.
fn again(
    broker: &Broker,
    check_point: &CheckPoint,
    original: &str,
    offset: i64,
) -> Result<Option<Put>, String> {
    let one = ReadLimits {
        max_messages: 1,
        ..ReadLimits::default()
    };
    let read = broker
        .reader
        .read(&check_point.topic, check_point.queue_id, offset, &one, None)
        .map_err(|error| error.to_string())?;
    let Ok((record, _)) = Record::parse(&read.messages) else {
        return Ok(None);
    };
    if record.queue_offset != offset {
        return Ok(None);
    }
    let mut properties = Properties::parse_bytes(record.properties);
    if !properties.contains(name::FIRST_POP_TIME) {
        properties.set(name::FIRST_POP_TIME, &check_point.pop_ms.to_string());
    }
    properties.set(name::ORIGIN_GROUP, &check_point.group);
    let topic = if check_point.topic.starts_with(RETRY_PREFIX) {
        check_point.topic.clone()
    } else {
        retry_topic_v1(original, &check_point.group)
    };
    let now_ms = clock::wall_ms();
    let topic = find::plain_topic(broker, &topic, 1, false, now_ms);
    let offsets = broker.offsets.committed();
    if offsets
        .get(&check_point.group, &topic.topic_name, 0)
        .is_none()
    {
        offsets.set(&check_point.group, &topic.topic_name, 0, 0, now_ms);
    }
    let host = broker.identity.store_host;
    Ok(Some(Put {
        topic,
        queue_id: 0,
        flag: record.flag,
        sys_flag: record.sys_flag,
        born_ms: record.born_ms,
        born_host: host,
        store_host: host,
        reconsume_times: record.reconsume_times + i32::from(!check_point.suspend),
        prepared_transaction_offset: 0,
        body: read.messages.slice_ref(record.body),
        properties: properties.into_string(),
        batch: false,
    }))
}
