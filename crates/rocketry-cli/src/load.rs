//! Sends many messages in a chosen mode and measures each: the engine of `bench produce` and of `quickstart`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rocketry::{Message, Producer};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{args::Mode, clock, latency::Latencies};

/// How much is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// This many messages, to the next whole batch.
    Count(u64),
    /// As many as start within this time.
    Time(Duration),
}

/// What to send, and how.
#[derive(Clone)]
pub(crate) struct Load<F> {
    /// Send in turn, message after message; never empty.
    pub(crate) producers: Arc<[Producer]>,
    /// In which way.
    pub(crate) mode: Mode,
    /// With how many sends in flight.
    pub(crate) concurrency: u32,
    /// Messages of each send; more than one goes out as a batch.
    pub(crate) batch: u32,
    /// Until when.
    pub(crate) limit: Limit,
    /// Messages started per second whatever becomes of them; `None`: one starts when another ends.
    pub(crate) rate: Option<f64>,
    /// Makes the message of a number, from 0.
    pub(crate) message: F,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Messages acknowledged, or handed over in one-way mode.
    pub(crate) sent: u64,
    /// Messages that failed.
    pub(crate) failed: u64,
    /// Time from the first start to the last end.
    pub(crate) elapsed: Duration,
    /// Of the messages that did not fail; in open loop from the intended start.
    pub(crate) latencies: Latencies,
    /// The first failure.
    pub(crate) first_error: Option<rocketry::Error>,
}

impl Outcome {
    /// Messages per second.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a rate for people; 53 bits are plenty"
    )]
    pub(crate) fn rate(&self) -> f64 {
        if self.elapsed.is_zero() {
            0.0
        } else {
            self.sent as f64 / self.elapsed.as_secs_f64()
        }
    }
}

impl<F> Load<F>
where
    F: Fn(u64) -> Message + Clone + Send + 'static,
{
    /// Runs to its end. `watch` is called ten times a second with the number of messages that are through and the time since the start.
    pub(crate) async fn run(self, mut watch: impl FnMut(u64, Duration)) -> Outcome {
        let shared = Arc::new(Shared::start(&self));
        let mut workers = JoinSet::new();
        for _ in 0..self.concurrency {
            workers.spawn(work(
                Arc::clone(&shared),
                Arc::clone(&self.producers),
                self.mode,
                self.batch,
                self.message.clone(),
            ));
        }
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                ended = workers.join_next() => if ended.is_none() { break },
                _ = ticks.tick() => watch(shared.done.load(Ordering::Relaxed), shared.started.elapsed()),
            }
        }
        let elapsed = shared.started.elapsed();
        let mut tally = shared.tally.lock();
        Outcome {
            sent: tally.sent,
            failed: tally.failed,
            elapsed,
            latencies: std::mem::replace(&mut tally.latencies, Latencies::new()),
            first_error: tally.first_error.take(),
        }
    }
}

/// A block, not a function, whose future would hold each argument twice: there may be tens of thousands.
fn work<F: Fn(u64) -> Message + Send + 'static>(
    shared: Arc<Shared>,
    producers: Arc<[Producer]>,
    mode: Mode,
    batch: u32,
    message: F,
) -> impl Future<Output = ()> + Send + 'static {
    let batch = u64::from(batch);
    async move {
        while let Some((number, start)) = shared.next(batch).await {
            let Some(producer) = in_turn(&producers, number / batch) else {
                return;
            };
            let result = match mode {
                Mode::Sync if batch > 1 => {
                    let messages = (number..number + batch).map(&message);
                    producer.send_batch(messages).await.map(|_| ())
                }
                Mode::Sync => producer.send(message(number)).await.map(|_| ()),
                Mode::Async => match producer.enqueue(message(number)).await {
                    Ok(ticket) => ticket.await.map(|_| ()),
                    Err(error) => Err(error),
                },
                Mode::Oneway => producer.send_oneway(message(number)).await,
            };
            shared.ended(batch, result, start.elapsed());
            if mode == Mode::Oneway {
                // Handing over need not wait for anything, and the connection wants to run as well.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The one whose turn it is.
fn in_turn<T>(all: &[T], number: u64) -> Option<&T> {
    let count = u64::try_from(all.len()).ok()?;
    let index = number.checked_rem(count)?;
    all.get(usize::try_from(index).ok()?)
}

struct Shared {
    started: Instant,
    limit: Limit,
    pace: Option<Pace>,
    next: AtomicU64,
    done: AtomicU64,
    tally: Mutex<Tally>,
}

struct Tally {
    sent: u64,
    failed: u64,
    latencies: Latencies,
    first_error: Option<rocketry::Error>,
}

impl Shared {
    fn start<F>(load: &Load<F>) -> Self {
        let started = clock::now();
        Self {
            started,
            limit: load.limit,
            pace: load
                .rate
                .map(|rate| Pace::start(rate, load.limit, load.concurrency, started)),
            next: AtomicU64::new(0),
            done: AtomicU64::new(0),
            tally: Mutex::new(Tally {
                sent: 0,
                failed: 0,
                latencies: Latencies::new(),
                first_error: None,
            }),
        }
    }

    /// The number of the first of the next `batch` messages and the time their latency counts from; `None` when enough was sent.
    async fn next(&self, batch: u64) -> Option<(u64, Instant)> {
        if let Some(pace) = &self.pace {
            // Boxed: every task would carry its place, and most loads have no pace.
            Box::pin(pace.due.acquire()).await.ok()?.forget();
            let number = self.next.fetch_add(batch, Ordering::Relaxed);
            return (number < pace.total).then(|| (number, self.started + pace.offset(number)));
        }
        let number = self.next.fetch_add(batch, Ordering::Relaxed);
        let now = clock::now();
        let more = match self.limit {
            Limit::Count(count) => number < count,
            Limit::Time(time) => now.duration_since(self.started) < time,
        };
        more.then_some((number, now))
    }

    fn ended(&self, batch: u64, result: rocketry::Result<()>, latency: Duration) {
        self.done.fetch_add(batch, Ordering::Relaxed);
        let mut tally = self.tally.lock();
        match result {
            Ok(()) => {
                tally.sent += batch;
                tally.latencies.record(latency);
            }
            Err(error) => {
                tally.failed += batch;
                tally.first_error.get_or_insert(error);
            }
        }
    }
}

/// Starts messages at fixed times. A thread of its own keeps them within some ten microseconds; the runtime's timer has milliseconds.
struct Pace {
    due: Arc<Semaphore>,
    total: u64,
    rate: f64,
}

impl Pace {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float becomes a count: positive, and saturating is right"
    )]
    fn start(rate: f64, limit: Limit, workers: u32, started: Instant) -> Self {
        let total = match limit {
            Limit::Count(count) => count,
            Limit::Time(time) => (time.as_secs_f64() * rate).ceil() as u64,
        };
        let due = Arc::new(Semaphore::new(0));
        let released_to = Arc::downgrade(&due);
        thread::spawn(move || {
            let mut released: u64 = 0;
            while released < total {
                let reached = (started.elapsed().as_secs_f64() * rate).floor() as u64 + 1;
                let new = reached.min(total).saturating_sub(released);
                // Nobody waits any more once the load has been dropped.
                let Some(due) = released_to.upgrade() else {
                    return;
                };
                due.add_permits(usize::try_from(new).unwrap_or(usize::MAX >> 4));
                released += new;
                drop(due);
                let next = offset(released, rate).saturating_sub(started.elapsed());
                thread::sleep(next.min(Duration::from_millis(100)));
            }
            if let Some(due) = released_to.upgrade() {
                // Each worker takes one more, and sees that there is nothing left.
                due.add_permits(workers as usize);
            }
        });
        Self { due, total, rate }
    }

    fn offset(&self, number: u64) -> Duration {
        offset(number, self.rate)
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "2^53 messages at any rate take longer than anyone waits"
)]
fn offset(number: u64, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_has_a_turn() {
        let turns: Vec<_> = (0..5).map(|number| in_turn(&[7, 8], number)).collect();
        assert_eq!(turns, [Some(&7), Some(&8), Some(&7), Some(&8), Some(&7)]);
        assert_eq!(in_turn::<u8>(&[], 3), None);
    }

    #[tokio::test]
    async fn the_pace_is_kept_and_ends() {
        let started = clock::now();
        let pace = Pace::start(1000.0, Limit::Count(50), 2, started);
        for number in 0..50 {
            pace.due.acquire().await.unwrap().forget();
            assert!(
                started.elapsed() >= pace.offset(number),
                "message {number} started early"
            );
        }
        pace.due.acquire_many(2).await.unwrap().forget();
        assert_eq!(
            Pace::start(100.0, Limit::Time(Duration::from_millis(25)), 1, started).total,
            3
        );
    }
}
