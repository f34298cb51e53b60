//! Sends many messages in few requests.
//!
//! `cargo run -p rocketry --example batch [TOPIC]`, with a server from `rocketry serve` or the one in NAMESRV_ADDR.

use std::time::Duration;

use rocketry::{Client, Message, NameServers, split_batch};

#[tokio::main]
async fn main() -> Result<(), rocketry::Error> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "TopicTest".to_owned());
    let client = Client::connect(NameServers::from_env()).await?;
    let producer = client.producer("example-batch").await?;

    let few = (0..10).map(|n| Message::new(&*topic, format!("line {n}")));
    let result = producer.send_batch(few).await?;
    eprintln!(
        "10 messages at {:?} from offset {}",
        result.queue, result.queue_offset
    );

    // a list of any length, cut so that each part fits the broker's limit
    let many = (0..20_000)
        .map(|n| Message::new(&*topic, format!("line {n}")))
        .collect();
    for part in split_batch(many, 1024 * 1024) {
        let count = part.len();
        let result = producer.send_batch(part).await?;
        eprintln!("{count} messages from offset {}", result.queue_offset);
    }
    client.shutdown(Duration::from_secs(3)).await;
    Ok(())
}
