//! Senders that never pause: each waits for its acknowledgement, then sends the next message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rocketry::{Message, Producer};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// One send, from the call to its result.
#[derive(Debug)]
pub(super) struct Sample {
    /// Number of the message; it is the message's body.
    pub(super) number: usize,
    /// Since the start of the load.
    pub(super) began: Duration,
    pub(super) took: Duration,
    /// The error as the application sees it, attempts included.
    pub(super) error: Option<String>,
}

/// The running senders.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    senders: JoinSet<Vec<Sample>>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    next: AtomicUsize,
    stop: AtomicBool,
    /// When the broker under observation last acknowledged a message, ms since the start.
    victim_ms: AtomicU64,
}

impl Load {
    pub(super) fn start(
        producer: &Producer,
        topic: &'static str,
        in_flight: usize,
        victim: &'static str,
    ) -> Self {
        let shared = Arc::new(Shared {
            started: Instant::now(),
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            victim_ms: AtomicU64::new(0),
        });
        let mut senders = JoinSet::new();
        for _ in 0..in_flight {
            senders.spawn(send(Arc::clone(&shared), producer.clone(), topic, victim));
        }
        Self { shared, senders }
    }

    /// Since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// When the victim last acknowledged a message, if that was after `time`.
    pub(super) fn victim_acknowledged_after(&self, time: Duration) -> Option<Duration> {
        let at = Duration::from_millis(self.shared.victim_ms.load(Ordering::Relaxed));
        (at > time).then_some(at)
    }

    /// Lets every send come to its end; all of them in the order of their numbers.
    pub(super) async fn finish(self) -> Vec<Sample> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let senders = self.senders.join_all().await;
        let mut samples: Vec<_> = senders.into_iter().flatten().collect();
        samples.sort_unstable_by_key(|sample| sample.number);
        samples
    }
}

async fn send(
    shared: Arc<Shared>,
    producer: Producer,
    topic: &'static str,
    victim: &'static str,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let began = shared.started.elapsed();
        let result = producer.send(Message::new(topic, body(number))).await;
        let ended = shared.started.elapsed();
        if let Ok(result) = &result
            && &*result.queue.broker_name == victim
        {
            let ms = u64::try_from(ended.as_millis()).unwrap_or(u64::MAX);
            shared.victim_ms.store(ms, Ordering::Relaxed);
        }
        samples.push(Sample {
            number,
            began,
            took: ended.saturating_sub(began),
            error: result.err().map(|error| format!("{error:#}")),
        });
    }
    samples
}

/// A body of 128 bytes that carries the message's number.
fn body(number: usize) -> Vec<u8> {
    format!("{number:0128}").into_bytes()
}

/// The number in a body.
pub(super) fn number(body: &[u8]) -> Option<usize> {
    std::str::from_utf8(body).ok()?.parse().ok()
}
