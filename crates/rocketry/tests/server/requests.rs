//! Questions and replies, between clients that know each other through the server only.

use std::time::Duration;

use rocketry::{Client, ErrorKind, Message, Producer, Reader};
use tokio::task::JoinHandle;

use crate::{PATIENCE, start};

/// Replies to every question of the topic with its body in upper case, for as long as the task lives.
async fn replier(client: &Client, topic: &str) -> JoinHandle<()> {
    let producer: Producer = client.producer("repliers").await.unwrap();
    let mut questions: Reader = client.reader(topic).await.unwrap();
    tokio::spawn(async move {
        loop {
            for question in questions.next_batch(PATIENCE).await.unwrap() {
                let answer = question.body.to_ascii_uppercase();
                let reply = Message::reply_to(&question, answer).unwrap();
                let sent = producer.send(reply).await.unwrap();
                assert_eq!(sent.status, rocketry::SendStatus::Ok);
            }
        }
    })
}

/// P-113
#[tokio::test]
async fn a_consumer_replies_to_a_request() {
    let (server, client) = start().await;
    let asker = client.producer("askers").await.unwrap();
    let opened = asker.send(Message::new("questions", "open")).await;
    opened.unwrap();
    let other = Client::connect(server.namesrv_addr()).await.unwrap();
    // behind the first message, which is no question
    let mut last = other.reader("questions").await.unwrap();
    let no_question = last.next_batch(PATIENCE).await.unwrap().remove(0);
    assert!(Message::reply_to(&no_question, "x").is_err());
    drop(last);
    let options = rocketry::TopicOptions::default();
    let admin = client.admin();
    admin.create_topic("asked", &options).await.unwrap();
    let replying = replier(&other, "asked").await;
    let large = "why ".repeat(5000);
    for body in ["how much?", &large] {
        let question = Message::new("asked", body.to_owned()).key("q");
        let reply = asker.request(question).timeout(PATIENCE).await.unwrap();
        assert_eq!(*reply.body, *body.to_ascii_uppercase().as_bytes());
        assert!(reply.property("ARRIVE_TIME").is_some());
        assert_eq!(reply.property("CORRELATION_ID").map(str::len), Some(36));
        assert_eq!(reply.property("MSG_TYPE"), Some("reply"));
    }
    let asking: Vec<_> = (0..50)
        .map(|n| {
            let asker = asker.clone();
            tokio::spawn(async move {
                let question = Message::new("asked", format!("n{n}"));
                let reply = asker.request(question).timeout(PATIENCE).await.unwrap();
                assert_eq!(*reply.body, *format!("N{n}").as_bytes());
            })
        })
        .collect();
    for request in asking {
        request.await.unwrap();
    }
    assert_eq!(asker.requests_in_flight(), 0);
    replying.abort();
}

/// P-114
#[tokio::test]
async fn without_a_replier_a_request_times_out() {
    let (_server, client) = start().await;
    let asker = client.producer("askers").await.unwrap();
    let question = Message::new("asked", "anyone?");
    let error = asker
        .request(question)
        .timeout(Duration::from_millis(300))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::NoReply, 10006)
    );
    // it is there all the same
    let mut reader = client.reader("asked").await.unwrap();
    let stored = reader.next_batch(PATIENCE).await.unwrap().remove(0);
    assert_eq!(*stored.body, *b"anyone?");
}

/// A reply to somebody who is gone is an error of the one who replies.
#[tokio::test]
async fn a_reply_to_a_client_that_left_fails() {
    let (server, client) = start().await;
    let other = Client::connect(server.namesrv_addr()).await.unwrap();
    let asker = other.producer("askers").await.unwrap();
    let question = Message::new("asked", "wait for me");
    let request = asker.request(question).timeout(Duration::from_secs(1));
    assert_eq!(request.await.unwrap_err().kind(), ErrorKind::NoReply);
    other.shutdown(PATIENCE).await;
    let mut reader = client.reader("asked").await.unwrap();
    let question = reader.next_batch(PATIENCE).await.unwrap().remove(0);
    let replier = client.producer("repliers").await.unwrap();
    let reply = Message::reply_to(&question, "too late").unwrap();
    let error = replier.send(reply).await.unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 1));
}
