//! What sends leave in the log. In a process of its own: `tracing` may miss a place in the code that two threads come by first.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "fake/memory.rs"]
#[expect(dead_code, reason = "made for more tests than this one")]
mod memory;
#[path = "fake/support.rs"]
#[expect(dead_code, reason = "made for more tests than this one")]
mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use rocketry::SendHook;
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::support::*;

/// Counts spans, and keeps events above trace.
#[derive(Clone, Default)]
struct Log {
    spans: Arc<AtomicUsize>,
    events: Arc<Mutex<Vec<(Level, &'static str)>>>,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("rocketry") && *metadata.level() <= Level::DEBUG
    }
    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        assert_eq!(span.metadata().name(), "send");
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) as u64 + 1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        self.events
            .lock()
            .push((*metadata.level(), metadata.target()));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn failing_sends_and_hooks_do_not_flood_the_log() {
    struct Panicking;
    impl SendHook for Panicking {
        fn before(&self, _: &rocketry::SendContext<'_>) {
            panic!("on purpose, many times");
        }
    }
    let log = Log::default();
    let _listening = tracing::subscriber::set_default(log.clone());
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let producer = client.producer("PG").hook(Panicking).await.unwrap();
    cluster.script_all(310, || Action::Reply(refuse(13, "too large")));
    for _ in 0..50 {
        producer.send(message()).await.unwrap_err();
    }
    assert_eq!(log.spans.load(Ordering::Relaxed), 50, "one span per send");
    let events = log.events.lock();
    let of_sends = events
        .iter()
        .filter(|(_, target)| *target == "rocketry::send");
    assert_eq!(of_sends.clone().count(), 50, "one event per failed attempt");
    assert!(of_sends.clone().all(|(level, _)| *level == Level::DEBUG));
    let loud = events
        .iter()
        .filter(|(level, _)| *level < Level::INFO)
        .count();
    assert!(loud <= 1, "{loud} warnings and errors");
}
