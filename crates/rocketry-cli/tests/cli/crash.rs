//! SIGKILL of the server in the middle of concurrent sends, again and again: what was acknowledged is there afterwards, once, and new
//! messages go on behind it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rocketry::{Client, Message, MessageQueue, Producer};
use rocketry_protocol::{RemotingCommand, header::SendMessageRequest};
use rocketry_remoting::{ConnectOptions, Connections, Deadline, Unsupported};
use tokio::{sync::Notify, task::JoinSet};

use crate::support::{Served, run};

const TOPIC: &str = "Crash";
const SENDERS: u64 = 8;

/// Where each acknowledged message must be.
type Acknowledged = BTreeMap<(i32, i64), String>;

/// S-108; 100 kills with `ROCKETRY_KILLS=100`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s108_acknowledged_messages_survive_async_flush() {
    kill_and_recover("async").await;
}

/// S-108; 100 kills with `ROCKETRY_KILLS=100`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s108_acknowledged_messages_survive_sync_flush() {
    kill_and_recover("sync").await;
}

/// Kills per flush mode: 20, or what `ROCKETRY_KILLS` says.
fn kills() -> u64 {
    std::env::var("ROCKETRY_KILLS").map_or(20, |text| text.parse().expect("a number"))
}

async fn kill_and_recover(flush: &str) {
    let kills = kills();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let mut random = fastrand::Rng::with_seed(flush.len() as u64);
    let mut acknowledged = Acknowledged::new();
    for round in 0..kills {
        let server = Served::start(&["--data", data, "--flush", flush]).await;
        let client = Client::connect(server.namesrv.as_str()).await.unwrap();
        let producer = client.producer("crash").retries(0).await.unwrap();
        verify(&client, &producer, round, &mut acknowledged).await;

        let kill_after = random.u64(1..200);
        let sent = send_until_killed(&producer, round, server, kill_after).await;
        assert!(sent.len() as u64 >= kill_after);
        for (place, body) in sent {
            let before = acknowledged.insert(place, body);
            assert_eq!(
                before, None,
                "round {round}: {place:?} was given to two messages"
            );
        }
        client.shutdown(Duration::from_millis(100)).await;
    }
    let server = Served::start(&["--data", data, "--flush", flush]).await;
    let client = Client::connect(server.namesrv.as_str()).await.unwrap();
    let producer = client.producer("crash").await.unwrap();
    verify(&client, &producer, kills, &mut acknowledged).await;
    server.stop().await;
    let check = run(&["store", "check", data]).await.ok();
    println!(
        "{flush}: {kills} kills, {} messages acknowledged; {}",
        acknowledged.len(),
        check.text().lines().next().unwrap_or_default()
    );
}

/// Everything acknowledged is at its place, each offset holds one message without gaps, and the next message goes behind the last.
async fn verify(client: &Client, producer: &Producer, round: u64, acknowledged: &mut Acknowledged) {
    if acknowledged.is_empty() {
        return;
    }
    let stats = client.admin().topic_stats(TOPIC).await.unwrap();
    let total: usize = stats
        .iter()
        .map(|queue| usize::try_from(queue.max_offset - queue.min_offset).unwrap())
        .sum();
    let mut reader = client.reader(TOPIC).await.unwrap();
    let mut stored = Acknowledged::new();
    while stored.len() < total {
        let batch = reader.next_batch(Duration::from_secs(10)).await.unwrap();
        assert!(
            !batch.is_empty(),
            "round {round}: {} of {total} messages can be read",
            stored.len()
        );
        for message in batch {
            let body = String::from_utf8(message.body.to_vec()).unwrap();
            let twice = stored.insert((message.queue_id, message.queue_offset), body);
            assert_eq!(
                twice, None,
                "round {round}: queue {} offset {} came twice",
                message.queue_id, message.queue_offset
            );
        }
    }
    for (place, body) in &*acknowledged {
        assert_eq!(
            stored.get(place),
            Some(body),
            "round {round}: the acknowledged message at {place:?}"
        );
    }
    for queue in &stats {
        let offsets: Vec<_> = stored
            .keys()
            .filter(|place| place.0 == queue.queue.queue_id)
            .map(|place| place.1)
            .collect();
        let expected: Vec<_> = (0..queue.max_offset).collect();
        assert_eq!(
            offsets, expected,
            "round {round}: offsets of queue {}",
            queue.queue.queue_id
        );
        let body = format!("after kill {round}");
        let result = producer
            .send(Message::new(TOPIC, body.clone()))
            .queue(queue.queue.clone())
            .await
            .unwrap();
        assert_eq!(
            result.queue_offset, queue.max_offset,
            "round {round}: a new message in queue {}",
            queue.queue.queue_id
        );
        acknowledged.insert((queue.queue.queue_id, result.queue_offset), body);
    }
}

/// Sends from several tasks at once and kills the server when `kill_after` messages were acknowledged; returns all that were.
async fn send_until_killed(
    producer: &Producer,
    round: u64,
    server: Served,
    kill_after: u64,
) -> Vec<((i32, i64), String)> {
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let (count, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (producer, acknowledged) = (producer.clone(), Arc::clone(&acknowledged));
        let (count, enough) = (Arc::clone(&count), Arc::clone(&enough));
        senders.spawn(async move {
            for number in 0.. {
                let body = format!(
                    "{round}-{sender}-{number} {}",
                    "x".repeat(usize::try_from(number % 1000).unwrap())
                );
                // The first failure is the kill.
                let Ok(result) = producer.send(Message::new(TOPIC, body.clone())).await else {
                    break;
                };
                let MessageQueue { queue_id, .. } = result.queue;
                acknowledged
                    .lock()
                    .unwrap()
                    .push(((queue_id, result.queue_offset), body));
                if count.fetch_add(1, Ordering::Relaxed) + 1 == kill_after {
                    enough.notify_one();
                }
            }
        });
    }
    tokio::time::timeout(Duration::from_secs(30), enough.notified())
        .await
        .expect("sends fail before the kill");
    server.kill().await;
    while let Some(ended) = senders.join_next().await {
        ended.unwrap();
    }
    Arc::into_inner(acknowledged).unwrap().into_inner().unwrap()
}

/// S-094: SIGKILL with messages that wait for their time.
#[tokio::test]
async fn s094_timed_messages_survive_kills() {
    const TIMED: usize = 40;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    for round in 0..2 {
        let server = Served::start(&["--data", data]).await;
        let connections = Connections::new(ConnectOptions::default(), Arc::new(Unsupported));
        for n in 0..TIMED {
            let properties = format!("TIMER_DELAY_MS\u{1}{}\u{2}", 1500 + n * 100);
            let request = SendMessageRequest {
                producer_group: "crash",
                topic: "Timed",
                default_topic: "TBW102",
                default_topic_queue_nums: 1,
                properties: &properties,
                ..SendMessageRequest::default()
            };
            let command = RemotingCommand::request(&request).with_body(format!("{round}-{n}"));
            let deadline = Deadline::after(Duration::from_secs(10));
            let reply = connections.call(&server.broker, command, deadline).await;
            assert_eq!(reply.unwrap().code, 0);
        }
        // some are delivered by now, most wait
        if round > 0 {
            let client = Client::connect(server.namesrv.as_str()).await.unwrap();
            let mut reader = client.reader("Timed").await.unwrap();
            reader.next_batch(Duration::from_secs(10)).await.unwrap();
        }
        server.kill().await;
    }
    let server = Served::start(&["--data", data]).await;
    let client = Client::connect(server.namesrv.as_str()).await.unwrap();
    let mut reader = client.reader("Timed").await.unwrap();
    let mut seen = BTreeMap::new();
    while seen.len() < 2 * TIMED {
        let batch = reader.next_batch(Duration::from_secs(10)).await.unwrap();
        assert!(!batch.is_empty(), "{} of {} came", seen.len(), 2 * TIMED);
        for message in batch {
            *seen.entry(message.body.to_vec()).or_insert(0) += 1;
        }
    }
    assert!(seen.values().all(|times| *times <= 2), "{seen:?}");
}
