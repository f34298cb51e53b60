//! The producer's administrative calls beside Java's.

use std::collections::BTreeSet;

use rocketry::{Boundary, ErrorKind, Message, MessageExt, QueryOptions};
use serde_json::Value;

use super::{mqadmin_prints, on, producer, same};
use crate::Result;
use crate::interop::cases::Case;
use crate::interop::world::{Target, World};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    on(&mut cases, &[Target::Apache], "offsets", |w, t| {
        Box::pin(offsets(w, t))
    });
    on(&mut cases, &[Target::Apache], "view-message", |w, t| {
        Box::pin(view_message(w, t))
    });
    on(&mut cases, &[Target::Apache], "query-messages", |w, t| {
        Box::pin(query_messages(w, t))
    });
    cases
}

/// P-125: first, last and searched offset and the earliest store time of every queue are those that Java's client is told, and mqadmin
/// prints the same first and last offsets.
async fn offsets(world: &mut World, target: Target) -> Result {
    let ns = world.sent(target, "text_sync", "sync").await?;
    let client = world.client(target).await?;
    let admin = client.admin();
    let queues = admin.subscribe_queues("text_sync").await?;
    // A time in the middle of the text: that of a message half-way through the first queue.
    let first = queues.first().ok_or("no queues")?;
    let half = admin.max_offset(first).await? / 2;
    let mut reader = client
        .reader("text_sync")
        .queues([first.clone()])
        .start(rocketry::StartAt::Offset(half))
        .await?;
    let batch = reader.next_batch(super::SOON).await?;
    let time_ms = batch.first().ok_or("the queue cannot be read")?.store_ms;

    let time = time_ms.to_string();
    let options = [("ns", &*ns), ("topic", "text_sync"), ("time_ms", &time)];
    let java = world.driver()?.ask("offsets", &options).await?;
    let java: Vec<Value> = serde_json::from_str(&java)?;
    same("queues", &queues.len(), &java.len())?;
    let printed = world
        .driver()?
        .admin(&format!("topicStatus -n {ns} -t text_sync"))
        .await?;
    for (queue, java) in queues.iter().zip(&java) {
        let number = |name: &str| java.get(name).and_then(Value::as_i64);
        let what = |name: &str| format!("{name} of queue {}", queue.queue_id);
        same(
            &what("id"),
            &number("queue_id"),
            &Some(queue.queue_id.into()),
        )?;
        let (min, max) = (
            admin.min_offset(queue).await?,
            admin.max_offset(queue).await?,
        );
        same(&what("first offset"), &number("min"), &Some(min))?;
        same(&what("last offset"), &number("max"), &Some(max))?;
        let at = admin.search_offset(queue, time_ms, Boundary::Lower).await?;
        same(&what("searched offset"), &number("at"), &Some(at))?;
        let earliest = admin.earliest_store_time(queue).await?;
        same(
            &what("earliest time"),
            &number("earliest_ms"),
            &Some(earliest),
        )?;
        let row = |line: &&str| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.starts_with(&[&*queue.broker_name, &queue.queue_id.to_string()])
        };
        let row = printed.lines().find(row).ok_or("mqadmin omits a queue")?;
        let words: Vec<_> = row.split_whitespace().skip(2).take(2).collect();
        same(
            &what("mqadmin"),
            &vec![min.to_string(), max.to_string()],
            &words,
        )?;
    }
    Ok(())
}

/// P-126: a message is found by either id, with what mqadmin prints for it; an id that no message has is not found, 208.
async fn view_message(world: &mut World, target: Target) -> Result {
    let producer = producer(world, target).await?;
    let message = Message::new("p126", "look at me").tag("t").key("k");
    let result = producer.send(message).await?;
    let ns = world.namesrv(target).await?;
    let (id, unique) = (&result.offset_msg_id, &result.msg_id);
    let args = format!("queryMsgById -n {ns} -t p126 -i {id}");
    mqadmin_prints(world, &args, &[id, "p126", "[k]"]).await?;
    let args = format!("queryMsgByUniqueKey -n {ns} -t p126 -i {unique}");
    mqadmin_prints(world, &args, &[unique, "p126", "[k]"]).await?;
    let admin = world.client(target).await?.admin();
    for id in [id, unique] {
        let found = admin.view_message("p126", id).await?;
        same("id", unique, &found.msg_id())?;
        same("body", &"look at me".as_bytes(), &&found.body[..])?;
        same("offset", &result.queue_offset, &found.queue_offset)?;
    }
    let behind = id.get(..16).map(|host| format!("{host}00000000FFFFFFF0"));
    match admin
        .view_message("p126", &behind.unwrap_or_default())
        .await
    {
        Err(error) if error.kind() == ErrorKind::NotFound => same("code", &208, &error.java_code()),
        other => Err(format!("an id behind the log's end: {other:?}").into()),
    }
}

/// P-127: a query by key finds the messages that mqadmin finds, and none that only begin alike.
async fn query_messages(world: &mut World, target: Target) -> Result {
    let producer = producer(world, target).await?;
    let mut expected = BTreeSet::new();
    for (body, keys) in [("1", ["a", "b"]), ("2", ["aa", "b"]), ("3", ["c", "a"])] {
        let message = Message::new("p127", body).keys(keys);
        let result = producer.send(message).await?;
        if keys.contains(&"a") {
            expected.insert(result.msg_id);
        }
    }
    let ns = world.namesrv(target).await?;
    let ids: Vec<_> = expected.iter().map(String::as_str).collect();
    let args = format!("queryMsgByKey -n {ns} -t p127 -k a");
    mqadmin_prints(world, &args, &ids).await?;
    let admin = world.client(target).await?.admin();
    let found = admin
        .query_messages("p127", "a", QueryOptions::default())
        .await?;
    let found: BTreeSet<_> = found.messages.iter().map(MessageExt::msg_id).collect();
    same("found", &expected, &found)
}
