//! Keeps messages with one key in order: they go to one queue, one after the other.
//!
//! `cargo run -p rocketry --example ordered [TOPIC]`, with a server from `rocketry serve` or the one in NAMESRV_ADDR.

use std::time::Duration;

use rocketry::{Client, Message, NameServers, TopicOptions};

#[tokio::main]
async fn main() -> Result<(), rocketry::Error> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "TopicTest".to_owned());
    let client = Client::connect(NameServers::from_env()).await?;
    // strict order needs to know the queues, so the topic must exist
    let options = TopicOptions::default();
    client.admin().create_topic(&topic, &options).await?;
    let producer = client.producer("example-ordered").await?;

    for order in ["order-1", "order-2", "order-3"] {
        for step in ["created", "paid", "shipped"] {
            let message = Message::new(&*topic, format!("{order} {step}")).key(order);
            // Java's hash: the queue that a Java producer would use. When queues come or go, keys move.
            let result = producer.send(message).shard(order).await?;
            eprintln!("{order} {step} in queue {}", result.queue.queue_id);
        }
    }

    // A key that never moves: while its queue cannot be written to, the send fails instead of going elsewhere.
    for step in ["created", "paid", "shipped"] {
        let message = Message::new(&*topic, format!("order-4 {step}")).key("order-4");
        match producer.send(message).strict_shard("order-4").await {
            Ok(result) => eprintln!("order-4 {step} in queue {}", result.queue.queue_id),
            // the next step must not overtake this one
            Err(error) => return Err(error),
        }
    }
    client.shutdown(Duration::from_secs(3)).await;
    Ok(())
}
