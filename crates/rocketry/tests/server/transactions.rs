//! Transactions: consumers see what was committed, and brokers ask for what was not decided.

use std::{sync::Arc, time::Duration};

use rocketry::{Client, Decision, Message, MessageExt, Producer};
use rocketry_server::{Server, ServerConfig};
use tokio::sync::mpsc;

use crate::{PATIENCE, read};

/// A server that asks soon.
async fn asking() -> (Server, Client) {
    let mut config = ServerConfig::temp();
    config.transaction_timeout = Duration::from_millis(200);
    config.transaction_check_interval = Duration::from_millis(50);
    let server = Server::start(config).await.unwrap();
    let client = Client::connect(server.namesrv_addr()).await.unwrap();
    (server, client)
}

/// A producer whose checks decide so, and what it was asked.
async fn deciding(
    client: &Client,
    decision: Decision,
) -> (Producer, mpsc::UnboundedReceiver<MessageExt>) {
    let (asked, questions) = mpsc::unbounded_channel();
    let producer = client.producer("PG").transaction_checker(move |half| {
        asked.send(half).unwrap();
        decision
    });
    (producer.await.unwrap(), questions)
}

async fn next(questions: &mut mpsc::UnboundedReceiver<MessageExt>) -> MessageExt {
    let check = tokio::time::timeout(PATIENCE, questions.recv()).await;
    check.unwrap().unwrap()
}

fn bodies(messages: &[MessageExt]) -> Vec<&str> {
    let mut bodies: Vec<_> = messages
        .iter()
        .map(|message| std::str::from_utf8(&message.body).unwrap())
        .collect();
    bodies.sort_unstable();
    bodies
}

/// P-105, P-106
#[tokio::test]
async fn only_committed_messages_are_seen() {
    let (_server, client) = asking().await;
    let (producer, mut questions) = deciding(&client, Decision::Commit).await;
    // the topic, and what tells that everything before it has been dealt with
    let queue = producer
        .send(Message::new("orders", "first"))
        .await
        .unwrap()
        .queue;
    let mut committed = Vec::new();
    for n in 0..20 {
        let message = Message::new("orders", format!("{n:02}")).tag("TagA");
        let decision = if n % 2 == 0 {
            Decision::Commit
        } else {
            Decision::Rollback
        };
        let result = producer
            .send_in_transaction(message, async |half| {
                assert_eq!(half.transaction_id(), half.sent.msg_id);
                decision
            })
            .await
            .unwrap();
        assert_eq!(result.decision, decision);
        if decision == Decision::Commit {
            committed.push(result.sent.msg_id);
        }
    }
    let mut reader = client.reader("orders").await.unwrap();
    let messages = read(&mut reader, 11).await;
    assert_eq!(
        bodies(&messages),
        [
            "00", "02", "04", "06", "08", "10", "12", "14", "16", "18", "first"
        ]
    );
    let mut ids: Vec<_> = messages
        .iter()
        .filter(|message| message.tags() == Some("TagA"))
        .map(MessageExt::msg_id)
        .collect();
    ids.sort();
    committed.sort();
    assert_eq!(ids, committed);
    // nothing was left to ask for: later rounds of the broker stay silent, and what was rolled back stays away
    let undecided = producer
        .send_in_transaction(Message::new("orders", "undecided"), |_half| {
            Decision::Unknown
        })
        .await
        .unwrap();
    assert_eq!(next(&mut questions).await.msg_id(), undecided.sent.msg_id);
    assert_eq!(bodies(&read(&mut reader, 1).await), ["undecided"]);
    assert!(questions.try_recv().is_err());
    producer
        .send(Message::new("orders", "last"))
        .queue(queue)
        .await
        .unwrap();
    assert_eq!(bodies(&read(&mut reader, 1).await), ["last"]);
}

/// P-106, P-109: a decision that comes with the second question.
#[tokio::test]
async fn what_is_not_decided_is_asked_for_until_it_is() {
    let (_server, client) = asking().await;
    let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let producer = client.producer("PG").transaction_checker({
        let asked = Arc::clone(&asked);
        move |half| {
            let mut asked = asked.lock();
            asked.push(half);
            match asked.len() {
                1 => Decision::Unknown,
                _ => Decision::Commit,
            }
        }
    });
    let producer = producer.await.unwrap();
    let message = Message::new("later", "body")
        .key("k")
        .property("colour", "red");
    let result = producer
        .send_in_transaction(message, async |_half| Err::<Decision, _>("not yet"))
        .await
        .unwrap();
    assert_eq!(result.decision, Decision::Unknown);
    assert_eq!(result.failure.as_deref(), Some("not yet"));
    let mut reader = client.reader("later").await.unwrap();
    let message = read(&mut reader, 1).await.remove(0);
    assert_eq!(message.msg_id(), result.sent.msg_id);
    assert_eq!(message.property("colour"), Some("red"));
    let asked = asked.lock();
    assert_eq!(asked.len(), 2);
    for half in asked.iter() {
        assert_eq!((&*half.topic, &*half.body), ("later", &b"body"[..]));
        assert_eq!(half.msg_id(), result.sent.msg_id);
        assert_eq!(half.keys().collect::<Vec<_>>(), ["k"]);
    }
}

/// P-112
#[tokio::test]
async fn a_new_process_of_the_group_answers_for_the_old_one() {
    let (server, client) = asking().await;
    let producer = client
        .producer("PG")
        .transaction_checker(|_half| Decision::Unknown)
        .await
        .unwrap();
    let mut sent = Vec::new();
    for body in ["one", "two"] {
        let result = producer
            .send_in_transaction(Message::new("orphans", body), |_half| Decision::Unknown)
            .await
            .unwrap();
        sent.push(result.sent.msg_id);
    }
    client.shutdown(PATIENCE).await;

    let client = Client::connect(server.namesrv_addr()).await.unwrap();
    // it sends nothing itself
    let (_producer, mut questions) = deciding(&client, Decision::Commit).await;
    let mut asked = [
        next(&mut questions).await.msg_id(),
        next(&mut questions).await.msg_id(),
    ];
    asked.sort();
    sent.sort();
    assert_eq!(asked, *sent);
    let mut reader = client.reader("orphans").await.unwrap();
    assert_eq!(bodies(&read(&mut reader, 2).await), ["one", "two"]);
}

/// P-105: compression and transactions go together.
#[tokio::test]
async fn large_messages_are_committed_as_they_are() {
    let (_server, client) = asking().await;
    let (producer, mut questions) = deciding(&client, Decision::Commit).await;
    let body = "paid ".repeat(20_000);
    for decision in [Decision::Commit, Decision::Unknown] {
        producer
            .send_in_transaction(Message::new("large", body.clone()), |_half| decision)
            .await
            .unwrap();
    }
    assert_eq!(*next(&mut questions).await.body, *body.as_bytes());
    let mut reader = client.reader("large").await.unwrap();
    for message in read(&mut reader, 2).await {
        assert_eq!(*message.body, *body.as_bytes());
    }
}
