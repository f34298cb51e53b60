//! Sends messages that are delivered later, and takes one of them back.
//!
//! `cargo run -p rocketry --example delayed [TOPIC]`, with a server from `rocketry serve` or the one in NAMESRV_ADDR.

use std::time::{Duration, SystemTime};

use rocketry::{Client, Message, NameServers};

#[tokio::main]
async fn main() -> Result<(), rocketry::Error> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "TopicTest".to_owned());
    let client = Client::connect(NameServers::from_env()).await?;
    let producer = client.producer("example-delayed").await?;

    // one of the broker's levels: the first is one second; what every broker can do
    let level = Message::new(&*topic, "by level").delay_level(1);
    producer.send(level).await?;

    // any delay or time up to three days, with brokers from 5.0 on
    let soon = Message::new(&*topic, "in two seconds").delay(Duration::from_secs(2));
    producer.send(soon).await?;
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let past = Message::new(&*topic, "long ago: at once").deliver_at(then);
    producer.send(past).await?;

    // and back
    let rash = Message::new(&*topic, "never mind").delay(Duration::from_mins(1));
    let sent = producer.send(rash).await?;
    if let Some(handle) = sent.recall_handle {
        // Apache's broker refuses unless recallMessageEnable is set
        match producer.recall(&topic, &handle).await {
            Ok(msg_id) => eprintln!("{msg_id} is taken back"),
            Err(error) => eprintln!("{error}"),
        }
    }

    let mut reader = client.reader(&*topic).await?;
    for _ in 0..3 {
        for message in reader.next_batch(Duration::from_secs(5)).await? {
            eprintln!("{}", String::from_utf8_lossy(&message.body));
        }
    }
    client.shutdown(Duration::from_secs(3)).await;
    Ok(())
}
