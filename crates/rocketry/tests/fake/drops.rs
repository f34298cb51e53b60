//! Futures that are dropped at every point where they wait: nothing leaks, and nobody else notices.

use std::{
    future::{Future, IntoFuture, poll_fn},
    pin::Pin,
    task::Poll,
};

use rocketry::{AutoBatch, Client, Message, Producer, ProducerConfig, ShutdownReport};

use crate::support::*;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a future is dropped: right after its poll number `polls` (from 1), or when it is woken after that.
#[derive(Debug, Clone, Copy)]
struct Drop {
    polls: usize,
    when_woken: bool,
}

impl Drop {
    /// Runs the future until then; `None` if it was dropped.
    async fn after<F: Future>(self, future: F) -> Option<F::Output> {
        let mut future = Box::pin(future);
        let mut polled = 0;
        poll_fn(|cx| {
            if polled == self.polls {
                return Poll::Ready(None);
            }
            polled += 1;
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if polled == self.polls && !self.when_woken => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

/// Every point up to the one at which the future is done: `run` says whether it was dropped.
async fn at_every_point(mut run: impl AsyncFnMut(Drop) -> bool) -> usize {
    let mut points = 0;
    for when_woken in [false, true] {
        for polls in 0.. {
            assert!(polls < 200, "the future is never done");
            if !run(Drop { polls, when_woken }).await {
                break;
            }
            points += 1;
        }
    }
    points
}

fn slow_cluster() -> Cluster {
    let cluster = Cluster::in_memory(&["a", "b"]);
    for (_, broker) in &cluster.brokers {
        broker.script(|request| match request.code {
            310 | 320 => Action::Later(ms(5), stored(request)),
            _ => Action::Reply(stored_or_ok(request)),
        });
    }
    cluster
}

async fn start(cluster: &Cluster, auto_batch: bool) -> (Client, Producer) {
    let client = cluster.client().await;
    let config = ProducerConfig {
        auto_batch: auto_batch.then(AutoBatch::default),
        ..ProducerConfig::default()
    };
    let producer = client.producer("PG").config(config).await.unwrap();
    (client, producer)
}

/// Longer than any timeout, shorter than the time between two heartbeats.
async fn settle() {
    tokio::time::sleep(ms(10_000)).await;
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

/// Another send works, and then nothing is left of the first.
async fn is_unharmed(client: &Client, producer: &Producer) -> usize {
    producer.send(message()).await.unwrap();
    settle().await;
    assert_eq!(producer.in_flight(), (0, 0));
    assert_eq!(producer.gathered_bytes(), 0);
    assert_eq!(client.calls_in_flight(), 0);
    alive_tasks()
}

/// Drops `make`'s future at every point of a send on a client that knows nothing yet, and of one that knows all.
async fn drops(auto_batch: bool, make: impl Fn(Producer) -> Running) {
    for is_warm in [false, true] {
        let points = at_every_point(async |drop| {
            let cluster = slow_cluster();
            let before = alive_tasks();
            let (client, producer) = start(&cluster, auto_batch).await;
            // connections to both brokers, with or without the send that is dropped
            for queue in producer.publish_queues("T").await.unwrap() {
                if is_warm {
                    producer.send(message()).queue(queue).await.unwrap();
                }
            }
            let done = drop.after(make(producer.clone())).await;
            for queue in producer.publish_queues("T").await.unwrap() {
                producer.send(message()).queue(queue).await.unwrap();
            }
            let with = is_unharmed(&client, &producer).await;
            let again = is_unharmed(&client, &producer).await;
            assert_eq!(
                with, again,
                "{drop:?}: a task more than a send leaves behind"
            );
            assert!(client.shutdown(PATIENCE).await.is_clean());
            settle().await;
            assert_eq!(alive_tasks(), before, "{drop:?}");
            done.is_none()
        })
        .await;
        // unpolled, and where it waits for the broker
        assert!(points >= 4, "{points}");
    }
}

/// P-149
#[tokio::test(start_paused = true)]
async fn synchronous_sends() {
    drops(false, |producer| {
        Box::pin(async move { drop(producer.send(message()).await.unwrap()) })
    })
    .await;
}

/// P-149
#[tokio::test(start_paused = true)]
async fn enqueued_messages_and_their_tickets() {
    drops(false, |producer| {
        Box::pin(async move {
            let ticket = producer.enqueue(message()).await.unwrap();
            ticket.await.unwrap();
        })
    })
    .await;
}

/// P-149
#[tokio::test(start_paused = true)]
async fn one_way_sends() {
    for is_warm in [false, true] {
        let points = at_every_point(async |drop| {
            let cluster = slow_cluster();
            let (client, producer) = start(&cluster, false).await;
            if is_warm {
                for queue in producer.publish_queues("T").await.unwrap() {
                    producer.send(message()).queue(queue).await.unwrap();
                }
            }
            let send = producer.send_oneway(message()).into_future();
            let done = drop.after(send).await;
            is_unharmed(&client, &producer).await;
            client.shutdown(PATIENCE).await;
            done.is_none()
        })
        .await;
        assert!(points >= 2, "{points}");
    }
}

/// P-149
#[tokio::test(start_paused = true)]
async fn batches() {
    drops(false, |producer| {
        Box::pin(async move {
            let result = producer.send_batch([message(), message()]).await;
            assert_eq!(result.unwrap().msg_id.split(',').count(), 2);
        })
    })
    .await;
}

/// P-149
#[tokio::test(start_paused = true)]
async fn gathered_messages() {
    drops(true, |producer| {
        Box::pin(async move { drop(producer.send(message()).await.unwrap()) })
    })
    .await;
    drops(true, |producer| {
        Box::pin(async move {
            let send = producer.enqueue(message()).shard("k");
            send.await.unwrap().await.unwrap();
        })
    })
    .await;
}

/// P-149: large bodies wait for a thread as well.
#[tokio::test(start_paused = true)]
async fn compressed_messages() {
    drops(false, |producer| {
        Box::pin(async move {
            let message = Message::new("T", vec![b'a'; 100_000]);
            drop(producer.send(message).await.unwrap());
        })
    })
    .await;
}

/// P-149: a shutdown that is dropped is finished by another.
#[tokio::test(start_paused = true)]
async fn shutdowns() {
    for of_client in [false, true] {
        let points = at_every_point(async |drop| {
            let cluster = slow_cluster();
            let before = alive_tasks();
            let (client, producer) = start(&cluster, true).await;
            let mut tickets = Vec::new();
            for _ in 0..3 {
                tickets.push(producer.enqueue(message()).await.unwrap());
            }
            let ending = async |client: &Client, producer: &Producer| {
                if of_client {
                    client.shutdown(PATIENCE).await
                } else {
                    producer.shutdown(PATIENCE).await
                }
            };
            let done: Option<ShutdownReport> = drop.after(ending(&client, &producer)).await;
            if drop.polls > 0 {
                assert!(
                    producer.send(message()).await.is_err(),
                    "closed from the first poll on"
                );
            }
            assert!(ending(&client, &producer).await.is_clean());
            for ticket in tickets {
                ticket.await.unwrap();
            }
            assert_eq!(producer.in_flight(), (0, 0));
            for (_, broker) in &cluster.brokers {
                assert!(!broker.received(35).is_empty());
            }
            client.shutdown(PATIENCE).await;
            settle().await;
            assert_eq!(alive_tasks(), before, "{drop:?}");
            done.is_none()
        })
        .await;
        assert!(points >= 4, "{points}");
    }
}
