//! Sends messages and waits for each answer.
//!
//! `cargo run -p rocketry --example send [TOPIC]`, with a server from `rocketry serve` or the one in NAMESRV_ADDR.

use std::time::Duration;

use rocketry::{Client, Message, NameServers, by_hash};

#[tokio::main]
async fn main() -> Result<(), rocketry::Error> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "TopicTest".to_owned());
    let client = Client::connect(NameServers::from_env()).await?;
    let producer = client.producer("example").await?;

    for n in 0..5 {
        let message = Message::new(&*topic, format!("hello {n}"))
            .tag("greeting")
            .key(format!("k{n}"));
        let result = producer.send(message).await?;
        eprintln!(
            "{} {} -> {:?} offset {}",
            result.status, result.msg_id, result.queue, result.queue_offset
        );
    }

    // messages with one key go to one queue
    for step in ["created", "paid", "shipped"] {
        let message = Message::new(&*topic, step);
        let result = producer
            .send(message)
            .selector(by_hash("order-1"))
            .timeout(Duration::from_secs(1))
            .await?;
        eprintln!("{step} in queue {}", result.queue.queue_id);
    }

    // a failure says what was tried, where, and whether the message may be stored; {:#} lists the attempts
    if let Err(error) = producer.send(Message::new("not a topic", "x")).await {
        eprintln!("{error:#}");
    }
    client.shutdown(Duration::from_secs(3)).await;
    Ok(())
}
