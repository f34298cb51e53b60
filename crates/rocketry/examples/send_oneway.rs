//! Sends without an answer: fast, and nobody tells whether the broker stored the message.
//!
//! `cargo run -p rocketry --example send_oneway [TOPIC]`, with a server from `rocketry serve` or the one in NAMESRV_ADDR.

use std::time::Duration;

use rocketry::{Client, Message, NameServers};

#[tokio::main]
async fn main() -> Result<(), rocketry::Error> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "TopicTest".to_owned());
    let client = Client::connect(NameServers::from_env()).await?;
    let producer = client.producer("example-oneway").await?;
    for n in 0..1000 {
        producer
            .send_oneway(Message::new(&*topic, format!("metric {n}")))
            .await?;
    }
    eprintln!("1000 handed over");
    // closes the connections only after what was handed over is written
    client.shutdown(Duration::from_secs(3)).await;
    Ok(())
}
