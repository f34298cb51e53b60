//! Namespaces, and the broker's second port.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rocketry::{Client, Message, ProducerConfig, SendEvent, SendObserver, SendStage};

use super::{SOON, driver, dump_one, is_at, on, same};
use crate::Result;
use crate::interop::cases::Case;
use crate::interop::world::{Target, World};

const BOTH: [Target; 2] = [Target::Apache, Target::Apache4];
const CLOSE: Duration = Duration::from_secs(3);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    on(&mut cases, &BOTH, "namespace", |w, t| {
        Box::pin(namespace(w, t))
    });
    on(&mut cases, &BOTH, "namespace-v2", |w, t| {
        Box::pin(namespace_v2(w, t))
    });
    on(&mut cases, &BOTH, "vip-channel", |w, t| Box::pin(vip(w, t)));
    cases
}

/// P-020: what is sent to T in namespace NS lies in NS%T, where a Java consumer finds it, and another one of the namespace finds it in T.
async fn namespace(world: &mut World, target: Target) -> Result {
    let ns = world.namesrv(target).await?;
    let client = Client::connect(&*ns).namespace("NS").await?;
    let producer = client.producer("g").await?;
    let result = producer.send(Message::new("p020", "inside")).await?;
    same("topic of the result", &"p020", &result.queue.topic.as_str())?;
    let outside = dump_one(world, target, "NS%p020").await?;
    is_at(&result, &outside)?;
    same("topic outside", &"NS%p020", &outside.text("topic"))?;
    same("instance", &Some("NS"), &outside.property("INSTANCE_ID"))?;
    let inside = [("namespace", "NS")];
    let inside = driver(world, target)?
        .dump_with(&ns, "p020", 1, SOON, &inside)
        .await?;
    let inside = inside.first().ok_or("nothing inside of the namespace")?;
    is_at(&result, inside)?;
    same("topic inside", &"p020", &inside.text("topic"))?;
    client.shutdown(CLOSE).await;
    Ok(())
}

/// P-019: a namespace of the newer kind leaves names alone, and brokers take the requests that carry it.
async fn namespace_v2(world: &mut World, target: Target) -> Result {
    let ns = world.namesrv(target).await?;
    let client = Client::connect(&*ns).namespace_v2("ns1").await?;
    let producer = client.producer("g").await?;
    let result = producer.send(Message::new("p019", "x")).await?;
    let found = dump_one(world, target, "p019").await?;
    client.shutdown(CLOSE).await;
    is_at(&result, &found)?;
    same("topic", &"p019", &found.text("topic"))
}

/// P-018: messages go to the port that lies two below the broker's own.
async fn vip(world: &mut World, target: Target) -> Result {
    let client = world.client(target).await?;
    let info = client.admin().cluster_info().await?;
    let broker = info.broker_addr_table.values().next().ok_or("no broker")?;
    let address = broker.broker_addrs.get(&0).ok_or("no master")?;
    let (host, port) = address.rsplit_once(':').ok_or("no port")?;
    let expected = format!("{host}:{}", port.parse::<u16>()? - 2);
    let config = ProducerConfig {
        vip_channel: true,
        ..ProducerConfig::default()
    };
    let seen = Arc::new(Seen {
        expected,
        attempts: AtomicUsize::new(0),
    });
    let producer = client.producer("vip").config(config);
    let producer = producer.observer(Observer(Arc::clone(&seen))).await?;
    let result = producer.send(Message::new("p018", "x")).await?;
    let found = dump_one(world, target, "p018").await?;
    is_at(&result, &found)?;
    let attempts = seen.attempts.load(Ordering::Relaxed);
    same("attempts at the second port", &1, &attempts)
}

struct Seen {
    expected: String,
    /// Attempts at the expected address.
    attempts: AtomicUsize,
}

struct Observer(Arc<Seen>);

impl SendObserver for Observer {
    fn event(&self, event: &SendEvent<'_>) {
        if let SendStage::AttemptBegan { address, .. } = event.stage
            && address == Some(&*self.0.expected)
        {
            self.0.attempts.fetch_add(1, Ordering::Relaxed);
        }
    }
}
