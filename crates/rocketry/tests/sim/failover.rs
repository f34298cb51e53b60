//! One of two brokers fails under 64 concurrent synchronous sends: with the default options no send fails.

use std::{sync::Arc, time::Duration};

use rocketry::{Client, ClientConfig, Message};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    name_server::Queues,
    script::{Change, apply},
    world::World,
};

const SENDERS: usize = 64;
const FAILS_MS: u64 = 2_000;
const RETURNS_MS: u64 = 7_000;
const OVER_MS: u64 = 14_000;

/// How long the sends took that began while the broker was away, sorted.
fn run(fails: Change, returns: Change) -> Vec<Duration> {
    fastrand::seed(4);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let world = World::new(fastrand::Rng::with_seed(4), 2, 1);
        let queues = Queues {
            count: 4,
            writable: true,
        };
        let both = ["broker-a", "broker-b"].map(|name| (name.to_owned(), queues));
        world.lock().topics.0.insert("T".to_owned(), both.into());
        let config = ClientConfig {
            instance_name: Some("sim".to_owned()),
            client_ip: Some([10, 9, 9, 9].into()),
            ..ClientConfig::default()
        };
        let client = Client::connect(world.name_servers())
            .config(config)
            .dialer(Arc::new(world.clone()))
            .await
            .expect("a client");
        let producer = client.producer("PG").await.expect("a producer");
        let at = |ms| world.started() + Duration::from_millis(ms);
        let over = at(OVER_MS);
        let away = at(FAILS_MS)..at(RETURNS_MS);
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            let (producer, away) = (producer.clone(), away.clone());
            senders.spawn(async move {
                let mut took = Vec::new();
                let mut number = 0;
                while Instant::now() < over {
                    let started = Instant::now();
                    let message = Message::new("T", format!("m{sender}.{number} "));
                    let sent = producer.send(message).await;
                    if let Err(error) = sent {
                        panic!("a send failed: {error:#}");
                    }
                    if away.contains(&started) {
                        took.push(started.elapsed());
                    }
                    number += 1;
                    sleep(Duration::from_millis(150)).await;
                }
                took
            });
        }
        sleep_until(away.start).await;
        world.change(0, |state, id| apply(state, id, &fails));
        sleep_until(away.end).await;
        world.change(0, |state, id| {
            apply(state, id, &returns);
            apply(state, id, &Change::Register);
        });
        let stored = |world: &World| {
            let state = world.lock();
            let (_, broker) = state.brokers().next().expect("two brokers");
            broker.messages().count()
        };
        let before = stored(&world);
        let mut took: Vec<_> = senders.join_all().await.into_iter().flatten().collect();
        took.sort_unstable();
        let since = stored(&world) - before;
        assert!(since > 100, "the broker that returned got {since} messages");
        took
    })
}

fn report(how: &str, took: &[Duration]) -> Duration {
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    println!(
        "{how}: {} sends while the broker was away, p50 {:?}, p99 {:?}, longest {:?} (virtual time)",
        took.len(),
        at(50),
        at(99),
        at(100)
    );
    at(99)
}

#[test]
fn no_send_fails_when_a_broker_is_killed_and_returns() {
    let took = run(Change::Stop, Change::Restart { moved: false });
    assert!(report("killed", &took) < Duration::from_millis(50));
}

#[test]
fn no_send_fails_when_a_broker_returns_at_another_address() {
    let took = run(Change::Stop, Change::Restart { moved: true });
    assert!(report("moved", &took) < Duration::from_millis(50));
}

/// Those that were under way wait for their share of the time, a third of 3 s; those that follow go elsewhere at once.
#[test]
fn no_send_fails_when_a_broker_stops_answering_and_goes_on() {
    let took = run(Change::Freeze, Change::Resume);
    report("stopped", &took);
    assert!(took.iter().max() <= Some(&Duration::from_millis(1_050)));
}

#[test]
fn no_send_fails_when_a_broker_is_cut_off_and_comes_back() {
    let took = run(Change::Vanish, Change::Restart { moved: false });
    report("cut off", &took);
    assert!(took.iter().max() <= Some(&Duration::from_millis(1_050)));
}
