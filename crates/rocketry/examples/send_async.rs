//! Sends without waiting for each answer: by ticket, and by callback.
//!
//! `cargo run -p rocketry --example send_async [TOPIC]`, with a server from `rocketry serve` or the one in NAMESRV_ADDR.

use std::time::Duration;

use rocketry::{Client, Message, NameServers};

#[tokio::main]
async fn main() -> Result<(), rocketry::Error> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "TopicTest".to_owned());
    let client = Client::connect(NameServers::from_env()).await?;
    let producer = client.producer("example-async").await?;

    // `enqueue` returns when the request is on its way, and waits when too many are
    let mut tickets = Vec::new();
    for n in 0..1000 {
        tickets.push(
            producer
                .enqueue(Message::new(&*topic, format!("hello {n}")))
                .await?,
        );
    }
    let mut stored = 0;
    for ticket in tickets {
        match ticket.await {
            Ok(_) => stored += 1,
            Err(error) => eprintln!("{error}"),
        }
    }
    eprintln!("{stored} of 1000 stored");

    producer
        .enqueue_with(
            Message::new(&*topic, "with a callback"),
            |result| match result {
                Ok(result) => eprintln!("stored as {}", result.msg_id),
                Err(error) => eprintln!("{error}"),
            },
        )
        .await;

    // waits for what is in flight, and says what it had to give up
    let report = client.shutdown(Duration::from_secs(3)).await;
    eprintln!("{} given up", report.unsent.len());
    Ok(())
}
