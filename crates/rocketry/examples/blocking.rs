//! Sends from code without async.
//!
//! `cargo run -p rocketry --example blocking [TOPIC]`, with a server from `rocketry serve` or the one in NAMESRV_ADDR.

use std::time::Duration;

use rocketry::{Message, NameServers, blocking::Client};

fn main() -> Result<(), rocketry::Error> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "TopicTest".to_owned());
    let client = Client::connect(NameServers::from_env())?;
    let producer = client.producer("example-blocking")?;

    let result = producer.send(Message::new(&*topic, "hello"))?;
    eprintln!("{} in queue {}", result.msg_id, result.queue.queue_id);

    let ticket = producer.enqueue(Message::new(&*topic, "later"))?;
    producer.send_oneway(Message::new(&*topic, "whatever"))?;
    eprintln!("{}", ticket.wait()?.status);

    // everything else of the async client works here as well
    let topics = client.block_on(client.inner().admin().topics())??;
    eprintln!("topics: {topics:?}");
    client.shutdown(Duration::from_secs(3))?;
    Ok(())
}
