//! Gathers single sends to batches: the code sends message by message, the wire carries many at a time.
//!
//! `cargo run -p rocketry --example auto_batch [TOPIC]`, with a server from `rocketry serve` or the one in NAMESRV_ADDR.

use std::time::Duration;

use rocketry::{AutoBatch, Client, Message, NameServers, ProducerConfig};

#[tokio::main]
async fn main() -> Result<(), rocketry::Error> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "TopicTest".to_owned());
    let client = Client::connect(NameServers::from_env()).await?;
    let config = ProducerConfig {
        auto_batch: Some(AutoBatch {
            // a message waits this long for company, or until enough is together
            max_delay: Duration::from_millis(5),
            ..AutoBatch::default()
        }),
        ..ProducerConfig::default()
    };
    let producer = client.producer("example-auto-batch").config(config).await?;

    // callers that know nothing of each other, each with the result of its own message
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..100 {
        let producer = producer.clone();
        let message = Message::new(&*topic, format!("line {n}"));
        callers.spawn(async move { producer.send(message).await });
    }
    for result in callers.join_all().await {
        let result = result?;
        eprintln!("{} at offset {}", result.msg_id, result.queue_offset);
    }

    // without waiting for each: messages of one key go to one queue, in this order
    let mut tickets = Vec::new();
    for n in 0..900 {
        let message = Message::new(&*topic, format!("step {n}"));
        tickets.push(producer.enqueue(message).shard("order-1").await?);
    }
    for ticket in tickets {
        ticket.await?;
    }
    // sends what still waits
    client.shutdown(Duration::from_secs(3)).await;
    Ok(())
}
