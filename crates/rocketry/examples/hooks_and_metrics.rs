//! Watches sends: a hook that logs, one that forbids, a trace of each message, and the numbers at the end.
//!
//! `cargo run -p rocketry --example hooks_and_metrics [TOPIC]`, with a server from `rocketry serve` or the one in NAMESRV_ADDR.

use std::{error::Error, time::Duration};

use rocketry::{Client, ForbiddenHook, Message, NameServers, SendContext, SendHook, TraceConfig};

struct Logging;

impl SendHook for Logging {
    fn after(&self, context: &SendContext<'_>) {
        let (attempt, took) = (context.attempt, context.elapsed);
        eprintln!("attempt {attempt}, {took:?}: {:?}", context.outcome);
    }
}

struct NoSecrets;

impl ForbiddenHook for NoSecrets {
    fn check(&self, context: &SendContext<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        match context.message.tags() {
            Some("secret") => Err("secrets stay here".into()),
            _ => Ok(()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), rocketry::Error> {
    let topic = std::env::args().nth(1);
    let topic = topic.as_deref().unwrap_or("TopicTest");
    let client = Client::connect(NameServers::from_env()).await?;
    let producer = client
        .producer("example")
        .hook(Logging)
        .forbidden_hook(NoSecrets)
        .trace(TraceConfig::default())
        .await?;

    for n in 0..10 {
        let message = Message::new(topic, format!("hello {n}"));
        producer.send(message).await?;
    }
    let secret = Message::new(topic, "psst").tag("secret");
    if let Err(error) = producer.send(secret).await {
        eprintln!("{error}");
    }
    client.shutdown(Duration::from_secs(3)).await;

    // for Prometheus and others, see rocketry::MetricsExporter
    let metrics = producer.metrics();
    let (stored, failed) = (metrics.stored, metrics.failures());
    let p99 = metrics.latency.quantile(0.99);
    eprintln!("{stored} stored, 99 % of them in {p99:?}; {failed} failed");
    Ok(())
}
