//! Asks a question and waits for the reply, which a consumer sends.
//!
//! `cargo run -p rocketry --example request_reply [TOPIC]`, with a server from `rocketry serve` or the one in NAMESRV_ADDR.

use std::time::Duration;

use rocketry::{Client, ErrorKind, Message, NameServers, Producer, Reader, StartAt};

/// Answers every question of the topic.
async fn answer(producer: Producer, mut questions: Reader) -> Result<(), rocketry::Error> {
    loop {
        for question in questions.next_batch(Duration::from_secs(1)).await? {
            let number: i64 = String::from_utf8_lossy(&question.body).parse().unwrap_or(0);
            let reply = Message::reply_to(&question, (number * number).to_string())?;
            producer.send(reply).await?;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), rocketry::Error> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "TopicTest".to_owned());
    let client = Client::connect(NameServers::from_env()).await?;
    let producer = client.producer("example-request").await?;

    // nobody answers yet
    let request = producer.request(Message::new(&*topic, "7"));
    match request.timeout(Duration::from_millis(200)).await {
        Err(error) if error.kind() == ErrorKind::NoReply => eprintln!("{error}"),
        other => eprintln!("{other:?}"),
    }

    // in another process, normally
    let other = Client::connect(NameServers::from_env()).await?;
    let questions = other.reader(&*topic).start(StartAt::Last).await?;
    let replier = other.producer("example-replier").await?;
    let answering = tokio::spawn(answer(replier, questions));
    for number in [12, 13] {
        let question = Message::new(&*topic, number.to_string());
        let reply = producer
            .request(question)
            .timeout(Duration::from_secs(10))
            .await?;
        eprintln!(
            "{number} squared is {}",
            String::from_utf8_lossy(&reply.body)
        );
    }
    answering.abort();
    client.shutdown(Duration::from_secs(3)).await;
    Ok(())
}
