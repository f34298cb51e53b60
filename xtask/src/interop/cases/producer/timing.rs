//! Messages that are delivered later.

use std::time::Duration;

use rocketry::{ErrorKind, Message, ResponseCode};

use super::{dump, dump_one, on, producer, same};
use crate::Result;
use crate::interop::cases::Case;
use crate::interop::text::Dumped;
use crate::interop::world::{Target, World};

/// Where brokers keep what waits for a delay level; queue n holds level n + 1.
const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
const LAST_LEVEL_QUEUE: i64 = 17;
/// Time in which a message that must not come would have.
const UNSEEN: Duration = Duration::from_secs(4);
/// A busy broker may be late, never early.
const LATE: i64 = 3_000;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    on(
        &mut cases,
        &[Target::Apache, Target::Apache4],
        "delay-level",
        |w, t| Box::pin(delay_level(w, t)),
    );
    on(&mut cases, &[Target::Apache], "timer", |w, t| {
        Box::pin(timer(w, t))
    });
    cases
}

/// P-118: a message of level 3 is delivered after 10 s; one of level 99 waits in the queue of level 18.
async fn delay_level(world: &mut World, target: Target) -> Result {
    let producer = producer(world, target).await?;
    let ten_seconds = Message::new("p118", "level 3").delay_level(3);
    let result = producer.send(ten_seconds).await?;
    let forever = Message::new("p118_99", "level 99").delay_level(99);
    let waiting = producer.send(forever).await?;

    let scheduled = dump(world, target, SCHEDULE_TOPIC, 2, Duration::ZERO).await?;
    let scheduled = scheduled
        .iter()
        .find(|message| message.text("msg_id") == waiting.msg_id)
        .ok_or("the message of level 99 does not wait")?;
    same("queue", &LAST_LEVEL_QUEUE, &scheduled.number("queue_id"))?;
    same("level", &Some("18"), &scheduled.property("DELAY"))?;
    same("topic", &Some("p118_99"), &scheduled.property("REAL_TOPIC"))?;

    let found = dump_one(world, target, "p118").await?;
    same("id", &result.msg_id.as_str(), &found.text("msg_id"))?;
    delivered_after(&found, 10_000)
}

/// P-119, P-120, P-122: a timer message is delivered when its time has come, unless it is recalled by the handle of its result, which names
/// it; a time too far away is refused.
async fn timer(world: &mut World, target: Target) -> Result {
    let producer = producer(world, target).await?;
    let message = Message::new("p119", "three seconds").delay(Duration::from_secs(3));
    let kept = producer.send(message).await?;
    let message = Message::new("p119", "never").delay(Duration::from_secs(4));
    let recalled = producer.send(message).await?;
    let Some(handle) = &recalled.recall_handle else {
        return Err(format!("no recall handle: {recalled:?}").into());
    };
    let answer = producer.recall("p119", handle).await?;
    same("recalled", &recalled.msg_id, &answer)?;
    let far = Message::new("p120", "too far").delay(Duration::from_hours(24 * 4));
    match producer.send(far).await {
        Err(error) if error.kind() == ErrorKind::Refused => same(
            "answer",
            &Some(ResponseCode::MESSAGE_ILLEGAL),
            &error.response_code(),
        )?,
        other => return Err(format!("a delay of four days is not refused: {other:?}").into()),
    }
    let found = dump(world, target, "p119", 1, super::SOON).await?;
    let found = found.first().ok_or("the message is not delivered")?;
    same("id", &kept.msg_id.as_str(), &found.text("msg_id"))?;
    // The wheel's precision is one second, rounded down.
    delivered_after(found, 2_000)?;
    let found = dump(world, target, "p119", 2, UNSEEN).await?;
    same("messages, the recalled one missing", &1, &found.len())
}

/// Fails unless the message was stored in its topic `ms` to `ms` + [`LATE`] after it was made.
fn delivered_after(message: &Dumped, ms: i64) -> Result {
    let after = message.number("store_ms") - message.number("born_ms");
    if (ms..=ms + LATE).contains(&after) {
        return Ok(());
    }
    Err(format!("delivered after {after} ms instead of {ms} ms").into())
}
