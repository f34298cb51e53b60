//! What the simulated application sends: every way of sending, at random.

use std::time::Duration;

use rocketry::{Decision, Message, MessageQueue, Producer, SendFuture, Topic, by_hash};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    broker::label,
    ledger::{Ending, Ledger, Ticket, Way},
    script::TOPICS,
};

/// One task of the application.
pub(crate) struct Worker {
    pub(crate) random: fastrand::Rng,
    /// A number of its own.
    pub(crate) lane: usize,
    pub(crate) producer: Producer,
    /// One that gathers single messages to batches.
    pub(crate) gathering: Producer,
    /// How long that one lets a message wait for company.
    pub(crate) max_delay: Duration,
    pub(crate) ledger: Ledger,
    pub(crate) brokers: usize,
    /// What the producer allows a send by default.
    pub(crate) timeout: Duration,
    pub(crate) answers: JoinSet<()>,
}

impl Worker {
    /// Sends `count` times, with pauses of up to `pause_ms`, and waits for all answers.
    pub(crate) async fn run(mut self, count: usize, pause_ms: u64) {
        for _ in 0..count {
            sleep(Duration::from_millis(self.random.u64(0..=pause_ms))).await;
            match self.random.u8(0..26) {
                0..=4 => self.sync().await,
                5 => self.sync_queue().await,
                6 => self.sync_hash().await,
                7..=9 => self.asynchronous(Way::Async).await,
                10 => self.asynchronous(Way::AsyncQueue).await,
                11 | 12 => self.callback().await,
                13 => self.one_way().await,
                14 => self.batch().await,
                15 => self.asynchronous(Way::AsyncBatch).await,
                16 => self.dropped().await,
                17 => self.request().await,
                18 | 19 => self.transaction().await,
                20 => self.gathered().await,
                21 | 22 => self.gather().await,
                _ => self.burst(),
            }
        }
        while let Some(joined) = self.answers.join_next().await {
            joined.expect("no panic");
        }
    }

    /// Sends one after the other to one queue, for as long as `count` lasts.
    pub(crate) async fn run_ordered(mut self, count: usize) {
        let queue = self.queue("O", 0);
        for _ in 0..count {
            sleep(Duration::from_millis(self.random.u64(0..400))).await;
            let (ticket, message) = self.single(Way::Ordered, "O");
            let sent = self.producer.send(message).queue(queue.clone()).await;
            self.ledger.end(ticket, sent.into());
        }
    }

    /// Sends in strict order, waiting for some of the answers.
    pub(crate) async fn run_strict(mut self, count: usize) {
        let key = format!("key-{}", self.lane);
        for _ in 0..count {
            if self.random.bool() {
                sleep(Duration::from_millis(self.random.u64(0..600))).await;
            }
            let (ticket, message) = self.single(Way::Strict, "O");
            if self.random.bool() {
                let sent = self.producer.send(message).strict_shard(&key).await;
                self.ledger.end(ticket, sent.into());
            } else {
                let handed = self.producer.enqueue(message).strict_shard(&key).await;
                self.later(ticket, handed);
            }
        }
        while let Some(joined) = self.answers.join_next().await {
            joined.expect("no panic");
        }
    }

    async fn sync(&mut self) {
        let (ticket, message) = self.single_to_any(Way::Sync);
        let sent = self.producer.send(message).timeout(self.timeout).await;
        self.ledger.end(ticket, sent.into());
    }

    async fn sync_queue(&mut self) {
        let topic = self.topic();
        let queue = self.random_queue(topic);
        let (ticket, message) = self.single(Way::SyncQueue, topic);
        let sent = self.producer.send(message).queue(queue).await;
        self.ledger.end(ticket, sent.into());
    }

    async fn sync_hash(&mut self) {
        let key = self.random.u8(..).to_string();
        let (ticket, message) = self.single_to_any(Way::SyncHash);
        let sent = self.producer.send(message).selector(by_hash(key)).await;
        self.ledger.end(ticket, sent.into());
    }

    async fn asynchronous(&mut self, way: Way) {
        let topic = self.topic();
        let queue = self.random_queue(topic);
        let (ticket, handed) = match way {
            Way::AsyncBatch => {
                let (ticket, messages) = self.several(way, topic);
                (ticket, self.producer.enqueue_batch(messages).await)
            }
            Way::AsyncQueue => {
                let (ticket, message) = self.single(way, topic);
                (ticket, self.producer.enqueue(message).queue(queue).await)
            }
            _ => {
                let (ticket, message) = self.single(way, topic);
                (ticket, self.producer.enqueue(message).await)
            }
        };
        self.later(ticket, handed);
    }

    /// Books the answer when it comes.
    fn later(&mut self, ticket: Ticket, handed: Result<SendFuture, rocketry::Error>) {
        let ledger = self.ledger.clone();
        match handed {
            Ok(answer) => drop(self.answers.spawn(async move {
                ledger.end(ticket, answer.await.into());
            })),
            Err(error) => ledger.end(ticket, Ending::Failed(error)),
        }
    }

    async fn callback(&mut self) {
        let (ticket, message) = self.single_to_any(Way::Callback);
        let ledger = self.ledger.clone();
        let called = move |result: Result<_, _>| ledger.end(ticket, result.into());
        self.producer.enqueue_with(message, called).await;
    }

    async fn one_way(&mut self) {
        let (ticket, message) = self.single_to_any(Way::OneWay);
        let ending = match self.producer.send_oneway(message).await {
            Ok(()) => Ending::Handed,
            Err(error) => Ending::Failed(error),
        };
        self.ledger.end(ticket, ending);
    }

    async fn batch(&mut self) {
        let topic = self.topic();
        let (ticket, messages) = self.several(Way::Batch, topic);
        let sent = self.producer.send_batch(messages).await;
        self.ledger.end(ticket, sent.into());
    }

    /// Waits for the reply of a consumer.
    async fn request(&mut self) {
        let (ticket, message) = self.single_to_any(Way::Request);
        let ending = match self.producer.request(message).await {
            Ok(reply) => Ending::Replied(reply.body.to_vec()),
            Err(error) => Ending::Failed(error),
        };
        self.ledger.end(ticket, ending);
    }

    /// Decides at once, later, or leaves it to the check.
    async fn transaction(&mut self) {
        let (ticket, message) = self.single_to_any(Way::Transaction);
        let label = label(message.body());
        let takes = LONGEST_DECISION.mul_f64(self.random.f64());
        let (commits, tells) = (self.random.u8(0..3) > 0, self.random.u8(0..4) > 0);
        let ledger = self.ledger.clone();
        let local = async move |_| {
            sleep(takes).await;
            let decision = if commits {
                Decision::Commit
            } else {
                Decision::Rollback
            };
            ledger.decide(&label, decision);
            if tells { decision } else { Decision::Unknown }
        };
        let ended = self.producer.send_in_transaction(message, local).await;
        let ending = match ended {
            Ok(result) => Ending::Ended(result),
            Err(error) => Ending::Failed(error),
        };
        self.ledger.end(ticket, ending);
    }

    async fn gathered(&mut self) {
        let (ticket, message) = self.single_to_any(Way::Gathered);
        let sent = self.gathering.send(message).await;
        self.ledger.end(ticket, sent.into());
    }

    /// Several at once, so that there is something to gather.
    async fn gather(&mut self) {
        for _ in 0..self.random.usize(1..8) {
            let (ticket, message) = self.single_to_any(Way::AsyncGathered);
            let handed = self.gathering.enqueue(message).await;
            self.later(ticket, handed);
        }
    }

    /// Gives up at a random moment.
    async fn dropped(&mut self) {
        let (ticket, message) = self.single_to_any(Way::Dropped);
        let patience = Duration::from_millis(self.random.u64(0..50));
        let sending = async { self.producer.send(message).await };
        match timeout(patience, sending).await {
            Ok(sent) => self.ledger.end(ticket, sent.into()),
            Err(_) => self.ledger.end(ticket, Ending::Dropped),
        }
    }

    /// Several synchronous sends at once.
    fn burst(&mut self) {
        for _ in 0..self.random.usize(2..6) {
            let (ticket, message) = self.single_to_any(Way::Sync);
            let (producer, ledger) = (self.producer.clone(), self.ledger.clone());
            self.answers.spawn(async move {
                let sent = producer.send(message).await;
                ledger.end(ticket, sent.into());
            });
        }
    }

    /// A message to any queue, after the healing; whether it was stored.
    pub(crate) async fn healed(&mut self) -> bool {
        let (ticket, message) = self.single(Way::Healed, "T");
        let sent = self.producer.send(message).await;
        let stored = sent.is_ok();
        self.ledger.end(ticket, sent.into());
        stored
    }

    fn single_to_any(&mut self, way: Way) -> (Ticket, Message) {
        let topic = self.topic();
        self.single(way, topic)
    }

    fn single(&mut self, way: Way, topic: &'static str) -> (Ticket, Message) {
        let budget = match way {
            Way::Gathered | Way::AsyncGathered => self.timeout + self.max_delay,
            // storing, deciding, telling
            Way::Transaction => self.timeout * 2 + LONGEST_DECISION,
            _ => self.timeout,
        };
        let random = &mut self.random;
        let (ticket, bodies) = self
            .ledger
            .begin((way, self.lane), budget, 1, |label| body(label, random));
        let body = bodies.into_iter().next().unwrap_or_default();
        (ticket, Message::new(topic, body))
    }

    fn several(&mut self, way: Way, topic: &'static str) -> (Ticket, Vec<Message>) {
        let random = &mut self.random;
        let count = random.usize(2..5);
        let (ticket, bodies) = self
            .ledger
            .begin((way, self.lane), self.timeout, count, |label| {
                body(label, random)
            });
        let messages = bodies.into_iter().map(|body| Message::new(topic, body));
        (ticket, messages.collect())
    }

    fn topic(&mut self) -> &'static str {
        match self.random.u8(0..10) {
            0 => "N",
            1 | 2 => TOPICS[1],
            _ => TOPICS[0],
        }
    }

    fn random_queue(&mut self, topic: &str) -> MessageQueue {
        let id = self.random.i32(0..4);
        self.queue(topic, id)
    }

    fn queue(&mut self, topic: &str, queue_id: i32) -> MessageQueue {
        let broker = u8::try_from(self.random.usize(..self.brokers)).unwrap_or(0);
        MessageQueue {
            topic: Topic::new(topic).expect("a valid name"),
            broker_name: format!("broker-{}", char::from(b'a' + broker)).into(),
            queue_id,
        }
    }
}

/// How long a local transaction takes at most.
const LONGEST_DECISION: Duration = Duration::from_millis(300);

/// Mostly small; now and then one that is compressed, or that is written without being copied.
fn body(label: &str, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut body = format!("{label} ").into_bytes();
    match random.u8(0..100) {
        0 => body.resize(5_000, b'.'),
        1 => {
            let noise = std::iter::repeat_with(|| random.u8(..));
            body.extend(noise.take(17_000));
        }
        _ => body.resize(body.len() + random.usize(0..100), b'.'),
    }
    body
}
