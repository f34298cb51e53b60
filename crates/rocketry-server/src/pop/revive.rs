//! When the time of a check point has come: what nobody acknowledged goes to the group's retry topic.
//!
//! The revive topic has check points and acknowledgements in the order of their time. A check point is dealt with once the timer has
//! delivered everything up to its time, so that every acknowledgement which came in time is behind it in the queue.
//! Java: `PopReviveService`. Differs from Java: waits for the timer rather than two seconds.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
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
    put::{self, PutFailure},
    writer::{Origin, Put, Stored},
};

/// Time between two rounds. Java: `reviveInterval`, 1 s.
const INTERVAL: Duration = Duration::from_millis(500);

/// Most messages of a revive queue that one round looks at.
const MAX_MESSAGES: usize = 100_000;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Works the revive topic off until `stop`.
pub(crate) async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let until_ms = match delivered_until(&broker) {
            Ok(until_ms) => until_ms,
            Err(reason) => {
                tracing::error!(reason, "popped messages could not be revived yet");
                continue;
            }
        };
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

/// Every note whose time is before this is in the revive topic by now. What the timer has not looked at yet was stored before its own
/// time, and so has a time after that at which the first such message was stored.
fn delivered_until(broker: &Broker) -> Result<i64, String> {
    let (read_ms, next) = broker.timer.progress();
    let store_ms = broker
        .reader
        .store_time(TIMER_TOPIC, 0, next)
        .map_err(|error| error.to_string())?;
    Ok(store_ms.map_or(read_ms, |store_ms| store_ms.min(read_ms)))
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
                    // A timer that was killed delivers a slot twice: one check point, whose acknowledgements count for both.
                    let before = self.places.insert(check_point.key(), record.queue_offset);
                    if let Some(twice) = before.and_then(|place| self.check_points.remove(&place)) {
                        check_point.acked = twice.acked;
                    }
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
    if offset >= range.max {
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
    let mut under_way = UnderWay::default();
    let mut outcome = Ok(());
    for (place, check_point) in &notes.check_points {
        if check_point.revive_ms() >= until_ms {
            done = place - 1;
            break;
        }
        let revived = match under_way.make_room().await {
            Ok(()) => revive(broker, check_point, *place, &mut under_way),
            Err(failed) => Err(failed),
        };
        if let Err(failed) = revived {
            outcome = Err(failed);
            break;
        }
    }
    // also after a failure: what is on its way is awaited
    match first_failure(outcome, under_way.all().await) {
        Ok(()) => {
            commit(broker, &topic, queue_id, committed, done);
            Ok(())
        }
        Err((place, reason)) => {
            commit(broker, &topic, queue_id, committed, place - 1);
            Err(reason)
        }
    }
}

/// Why the check point at this place is not done with.
type Failed = (i64, String);

/// Which of two outcomes says how far the queue is done with: the failure at the earlier place.
fn first_failure(one: Result<(), Failed>, other: Result<(), Failed>) -> Result<(), Failed> {
    match (one, other) {
        (Err(one), Err(other)) if other.0 < one.0 => Err(other),
        (Ok(()), other) => other,
        (failed, _) => failed,
    }
}

/// Messages of check points on their way to the retry topics, in the order of their check points.
#[derive(Default)]
struct UnderWay {
    puts: VecDeque<Reviving>,
    bytes: usize,
}

struct Reviving {
    place: i64,
    bytes: usize,
    properties: Bytes,
    stored: BoxFuture<Result<Stored, PutFailure>>,
}

impl UnderWay {
    /// Most messages and bytes on their way at once.
    const PUTS: usize = 256;
    const BYTES: usize = 8 << 20;

    fn add(&mut self, place: i64, properties: Bytes, broker: &Broker, put: Put) {
        let bytes = put.body.len() + put.properties.len();
        self.bytes += bytes;
        self.puts.push_back(Reviving {
            place,
            bytes,
            properties,
            stored: Box::pin(put::store(broker, put)),
        });
    }

    async fn make_room(&mut self) -> Result<(), Failed> {
        while self.puts.len() >= Self::PUTS || self.bytes >= Self::BYTES {
            self.next().await?;
        }
        Ok(())
    }

    async fn all(&mut self) -> Result<(), Failed> {
        let mut outcome = Ok(());
        while !self.puts.is_empty() {
            outcome = outcome.and(self.next().await);
        }
        outcome
    }

    /// The outcome of the first. A message that can never be stored is done with.
    async fn next(&mut self) -> Result<(), Failed> {
        let Some(first) = self.puts.pop_front() else {
            return Ok(());
        };
        self.bytes -= first.bytes;
        match first.stored.await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_final() => {
                failure.give_up(
                    "a popped message that nobody acknowledged",
                    &first.properties,
                );
                Ok(())
            }
            Err(failure) => Err((first.place, failure.to_string())),
        }
    }
}

fn commit(broker: &Broker, topic: &str, queue_id: i32, before: i64, done: i64) {
    if done > before {
        let offsets = broker.offsets.committed();
        offsets.set(REVIVE_GROUP, topic, queue_id, done, clock::wall_ms());
    }
}

/// Begins to store what is not acknowledged in the retry topic. Java: `PopReviveService.reviveRetry`.
fn revive(
    broker: &Broker,
    check_point: &CheckPoint,
    place: i64,
    under_way: &mut UnderWay,
) -> Result<(), Failed> {
    let group = check_point.group.as_str();
    let original = normal_topic(&check_point.topic, group);
    if broker.topics().get(original).is_none() || broker.groups().get(group).is_none() {
        return Ok(());
    }
    for offset in check_point.open() {
        let put = again(broker, check_point, original, offset).map_err(|reason| (place, reason))?;
        if let Some((put, properties)) = put {
            under_way.add(place, properties, broker, put);
        }
    }
    Ok(())
}

/// A message for its group's retry topic, and its properties as they are stored; `None` for one that is no longer there.
fn again(
    broker: &Broker,
    check_point: &CheckPoint,
    original: &str,
    offset: i64,
) -> Result<Option<(Put, Bytes)>, String> {
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
    let bare = read.messages.slice_ref(record.properties);
    let put = Put {
        topic,
        queue_id: 0,
        flag: record.flag,
        sys_flag: record.sys_flag,
        born_ms: record.born_ms,
        born_host: host,
        store_host: host,
        reconsume_times: record
            .reconsume_times
            .saturating_add(i32::from(!check_point.suspend)),
        prepared_transaction_offset: 0,
        body: read.messages.slice_ref(record.body),
        properties: properties.into_string(),
        batch: false,
        origin: Origin::Stored {
            bare: Some(bare.clone()),
        },
    };
    Ok(Some((put, bare)))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    fn note(notes: &mut Notes, queue_offset: i64, tag: &str, body: &[u8]) {
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let properties = format!("TAGS\u{1}{tag}\u{2}");
        notes.add(&Record {
            body_crc: 0,
            queue_id: 0,
            flag: 0,
            queue_offset,
            physical_offset: 0,
            sys_flag: 0,
            born_ms: 0,
            born_host: host,
            store_ms: 0,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            topic: "rmq_sys_REVIVE_LOG_c",
            properties: properties.as_bytes(),
        });
    }

    /// What comes behind the first failure is not done with, whatever became of it.
    #[test]
    fn the_earlier_failure_says_how_far_a_round_came() {
        let failed = |place| Err((place, String::new()));
        for (one, other, first) in [
            (failed(5), failed(6), failed(5)),
            (failed(6), failed(5), failed(5)),
            (Ok(()), failed(6), failed(6)),
            (failed(6), Ok(()), failed(6)),
            (Ok(()), Ok(()), Ok(())),
        ] {
            assert_eq!(first_failure(one, other), first);
        }
    }

    /// S-086: a check point that is there twice, since the timer was killed between a delivery and its note, is one.
    #[test]
    fn s086_acknowledgements_count_for_both_copies_of_a_check_point() {
        let ck = CheckPoint::new(("T", "G", 0), (1, 10), &[4, 5], "b");
        let ck = body::encode(&ck).unwrap();
        let ack = |offset| format!(r#"{{"ao":{offset},"c":"G","pt":1,"q":0,"so":4,"t":"T"}}"#);
        let mut notes = Notes::default();
        note(&mut notes, 0, CK_TAG, &ck);
        note(&mut notes, 1, ACK_TAG, ack(4).as_bytes());
        note(&mut notes, 2, CK_TAG, &ck);
        note(&mut notes, 3, ACK_TAG, ack(5).as_bytes());
        let open: Vec<_> = notes
            .check_points
            .values()
            .flat_map(CheckPoint::open)
            .collect();
        assert_eq!(open, [0_i64; 0]);
        assert_eq!(notes.check_points.len(), 1);
    }
}
