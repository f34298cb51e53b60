//! Transactional messages: what consumers see, and who answers the broker's checks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rocketry::{Client, Decision, Message, MessageExt, TopicOptions};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{SOON, dump, on, same};
use crate::Result;
use crate::interop::cases::Case;
use crate::interop::world::{Target, World};

const BOTH: [Target; 2] = [Target::Apache, Target::Apache4];
/// Time in which a message that must not be seen would have been.
const UNSEEN: Duration = Duration::from_secs(1);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    on(&mut cases, &BOTH, "transaction", |w, t| {
        Box::pin(transaction(w, t))
    });
    on(&mut cases, &BOTH, "transaction-of-the-dead", |w, t| {
        Box::pin(of_the_dead(w, t))
    });
    cases
}

/// P-105, P-106, P-109: a half message is invisible; a commit shows it, a rollback never does, and of an undecided one the broker asks
/// the checker, with the message as it was sent.
async fn transaction(world: &mut World, target: Target) -> Result {
    const TOPIC: &str = "p105";
    let client = world.client(target).await?;
    create(&client, TOPIC).await?;
    let (asked, mut checks) = mpsc::unbounded_channel();
    let producer = client
        .producer("transactions")
        .transaction_checker(move |half: MessageExt| {
            let _ = asked.send(half);
            Decision::Commit
        })
        .await?;
    let send = async |body: &'static str, decision| {
        let message = Message::new(TOPIC, body).key(body).property("kind", body);
        let sent = producer.send_in_transaction(message, move |_half| decision);
        let sent = sent.await?;
        match sent.untold {
            None => Ok(sent.sent),
            Some(error) => Err(error),
        }
    };

    let undecided = send("undecided", Decision::Unknown).await?;
    let seen = dump(world, target, TOPIC, 1, UNSEEN).await?;
    same("messages before the first decision", &0, &seen.len())?;
    let rolled_back = send("rolled-back", Decision::Rollback).await?;
    let committed = send("committed", Decision::Commit).await?;

    let check = timeout(SOON, checks.recv()).await?.ok_or("no check")?;
    same("checked", &undecided.msg_id, &check.msg_id())?;
    same("topic of the check", &TOPIC, &&*check.topic)?;
    same(
        "body of the check",
        &"undecided".as_bytes(),
        &&check.body[..],
    )?;
    same(
        "property",
        &Some("undecided"),
        &check.properties.get("kind"),
    )?;

    let seen = dump(world, target, TOPIC, 2, SOON).await?;
    let ids: BTreeSet<_> = seen.iter().map(|message| message.text("msg_id")).collect();
    same(
        "messages after the decisions",
        &BTreeSet::from([undecided.msg_id.as_str(), committed.msg_id.as_str()]),
        &ids,
    )?;
    for message in &seen {
        same("TRAN_MSG", &Some("true"), &message.property("TRAN_MSG"))?;
        same("PGROUP", &Some("transactions"), &message.property("PGROUP"))?;
        let body = message.body()?;
        same("key", &body.as_slice(), &message.text("keys").as_bytes())?;
    }
    let seen = dump(world, target, TOPIC, 3, UNSEEN).await?;
    if seen.len() != 2 {
        return Err(format!("{} became visible: {seen:?}", rolled_back.msg_id).into());
    }
    Ok(())
}

/// P-112: the half messages of a process that is gone are decided by another one of the group.
async fn of_the_dead(world: &mut World, target: Target) -> Result {
    const TOPIC: &str = "p112";
    const GROUP: &str = "survivors";
    let ns = world.namesrv(target).await?;
    let first = Client::connect(&*ns).await?;
    create(&first, TOPIC).await?;
    let never = |_half: MessageExt| Decision::Unknown;
    let producer = first.producer(GROUP).transaction_checker(never).await?;
    let message = Message::new(TOPIC, "decided by another");
    let half = producer.send_in_transaction(message, |_half| Decision::Unknown);
    let half = half.await?.sent;
    first.shutdown(Duration::from_secs(3)).await;

    let second = Client::connect(&*ns).await?;
    let id: Arc<str> = half.msg_id.as_str().into();
    let checked = Arc::clone(&id);
    let producer = second
        .producer(GROUP)
        .transaction_checker(move |half: MessageExt| {
            if half.msg_id() == *checked {
                Decision::Commit
            } else {
                Decision::Unknown
            }
        })
        .topics([TOPIC])
        .await?;
    let seen = dump(world, target, TOPIC, 1, SOON).await?;
    let ids: Vec<_> = seen.iter().map(|message| message.text("msg_id")).collect();
    same("messages", &vec![&*id], &ids)?;
    producer.shutdown(Duration::from_secs(3)).await;
    second.shutdown(Duration::from_secs(3)).await;
    Ok(())
}

/// Nobody can look for messages in a topic that does not exist.
async fn create(client: &Client, topic: &str) -> Result {
    let admin = client.admin();
    admin.create_topic(topic, &TopicOptions::default()).await?;
    Ok(())
}
