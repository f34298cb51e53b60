//! One seed from beginning to end.

use std::{sync::Arc, time::Duration};

use rocketry::{AttemptBudget, Client, ClientConfig, LatencyPolicy, ProducerConfig};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    checks,
    ledger::Ledger,
    name_server::Queues,
    script::{Script, TOPICS},
    work::Worker,
    world::{Kind, World},
};

/// What a run left behind.
pub(crate) struct Outcome {
    pub(crate) trace: String,
    pub(crate) fault: Option<String>,
}

/// Runs `seed` on a runtime of its own: one thread, a clock that jumps to the next event, no sockets.
pub(crate) fn run(seed: u64) -> Outcome {
    // the client's own choices: first name server, first queue
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(simulate(seed))
}

async fn simulate(seed: u64) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed);
    let (brokers, name_servers) = (random.usize(1..=3), random.usize(1..=3));
    let world = World::new(random.fork(), brokers, name_servers);
    {
        let mut state = world.lock();
        let names: Vec<_> = state.brokers().map(|(name, _)| name.to_owned()).collect();
        for topic in TOPICS {
            let queues = Queues {
                count: 4,
                writable: true,
            };
            let all = names.iter().map(|name| (name.clone(), queues)).collect();
            state.topics.0.insert(topic.to_owned(), all);
        }
    }
    let fault = application(&mut random, &world).await.err();
    Outcome {
        trace: world.take_trace(),
        fault,
    }
}

async fn application(random: &mut fastrand::Rng, world: &World) -> Result<(), String> {
    let brokers = world.lock().brokers().count();
    let (client_config, config) = (client_config(random), producer_config(random));
    world.trace(format_args!(
        "-- {brokers} brokers; timeout {:?}, {} + {} retries, {:?}, silent avoided {}, latency {}; refresh {:?}",
        config.timeout,
        config.retries,
        config.async_retries,
        config.attempt_budget,
        config.avoid_silent_brokers,
        config.latency_fault_tolerance,
        client_config.route_refresh,
    ));
    let said = |error: rocketry::Error| error.to_string();
    let client = Client::connect(world.name_servers())
        .config(client_config.clone())
        .dialer(Arc::new(world.clone()))
        .await
        .map_err(said)?;
    let producer = client
        .producer("PG")
        .config(config.clone())
        .await
        .map_err(said)?;

    let ledger = Ledger::new(world.clone());
    let worker = |random: &mut fastrand::Rng| Worker {
        random: random.fork(),
        producer: producer.clone(),
        ledger: ledger.clone(),
        brokers,
        timeout: config.timeout,
        answers: JoinSet::new(),
    };
    let hosts: Vec<_> = {
        let state = world.lock();
        let kinds = state.hosts.iter().map(|host| &host.kind);
        kinds.map(|kind| matches!(kind, Kind::Broker(_))).collect()
    };
    let script = Script::new(random, &hosts);
    let healed_ms = script.healed_ms;
    let mut tasks = JoinSet::new();
    tasks.spawn(script.play(world.clone()));
    let workers = random.usize(1..=3);
    for _ in 0..workers {
        let sends = random.usize(5..20);
        tasks.spawn(worker(random).run(sends, 2 * healed_ms / sends as u64));
    }
    let ordered = random.usize(0..15);
    tasks.spawn(worker(random).run_ordered(ordered));
    while let Some(joined) = tasks.join_next().await {
        joined.map_err(|error| error.to_string())?;
    }

    let mut last = worker(random);
    heals(&mut last, &client_config).await?;
    drop(last);
    settles(&client, &producer, world).await?;
    let report = client.shutdown(Duration::from_secs(1)).await;
    if !report.unsent.is_empty() {
        return Err(format!(
            "unsent without a send in flight: {:?}",
            report.unsent
        ));
    }
    drop((client, producer));
    world.end();
    gone(world).await?;
    let attempts = config.retries.max(config.async_retries) as usize + 1;
    let entries = ledger.entries();
    checks::all(&entries, &world.lock(), attempts)
}

/// Within one refresh of the routes a send succeeds, and from then on all do.
async fn heals(worker: &mut Worker, config: &ClientConfig) -> Result<(), String> {
    let healed = Instant::now();
    // a round may be waiting for a name server that was silent until now
    let bound = config.route_refresh + config.api_timeout;
    while !worker.healed().await {
        if healed.elapsed() > bound {
            return Err(format!(
                "nothing can be sent {:?} after the healing",
                healed.elapsed()
            ));
        }
        sleep(Duration::from_millis(100)).await;
    }
    sleep(bound.saturating_sub(healed.elapsed())).await;
    for _ in 0..3 {
        worker.healed().await;
    }
    for _ in 0..3 {
        if !worker.healed().await {
            return Err(format!(
                "a send fails {:?} after the healing",
                healed.elapsed()
            ));
        }
    }
    Ok(())
}

/// Nothing is left of any send: permits, table entries, tasks.
async fn settles(
    client: &Client,
    producer: &rocketry::Producer,
    world: &World,
) -> Result<(), String> {
    // longer than two probes of a broker are apart, and than a route query or heartbeat takes
    sleep(Duration::from_secs(20)).await;
    if producer.in_flight() != (0, 0) {
        return Err(format!("still in flight: {:?}", producer.in_flight()));
    }
    // a query or heartbeat of the background may be on its way just now, but not all the time
    for _ in 0..100 {
        if client.calls_in_flight() == 0 {
            break;
        }
        sleep(Duration::from_millis(1)).await;
    }
    let calls = client.calls_in_flight();
    if calls != 0 {
        return Err(format!("{calls} calls still wait for an answer"));
    }
    let (lines, serving) = world.lines();
    let expected = BACKGROUND_TASKS + lines * TASKS_OF_A_CONNECTION + serving;
    let tasks = Handle::current().metrics().num_alive_tasks();
    if tasks != expected {
        return Err(format!(
            "{tasks} tasks with {lines} connections, expected {expected}"
        ));
    }
    Ok(())
}

/// Route refresh and heartbeat.
const BACKGROUND_TASKS: usize = 2;
/// Reader, writer, watch.
const TASKS_OF_A_CONNECTION: usize = 3;

/// After the shutdown there is neither a task nor a connection.
async fn gone(world: &World) -> Result<(), String> {
    sleep(Duration::from_millis(10)).await;
    let (lines, serving) = world.lines();
    let tasks = Handle::current().metrics().num_alive_tasks();
    if (lines, serving, tasks) != (0, 0, 0) {
        return Err(format!(
            "after the shutdown: {lines} connections, {tasks} tasks"
        ));
    }
    Ok(())
}

fn client_config(random: &mut fastrand::Rng) -> ClientConfig {
    let mut seconds = |range| Duration::from_secs(random.u64(range));
    ClientConfig {
        instance_name: Some("sim".to_owned()),
        client_ip: Some([10, 9, 9, 9].into()),
        route_refresh: seconds(2..31),
        heartbeat: seconds(2..31),
        api_timeout: seconds(1..4),
        connect_timeout: seconds(1..4),
        ..ClientConfig::default()
    }
}

/// The default, Java's timing, the latency switch, or options at random.
fn producer_config(random: &mut fastrand::Rng) -> ProducerConfig {
    match random.u8(0..6) {
        0 | 1 => ProducerConfig::default(),
        2 => ProducerConfig::java_exact(),
        3 => ProducerConfig {
            latency_fault_tolerance: true,
            ..ProducerConfig::default()
        },
        4 => ProducerConfig {
            latency_fault_tolerance: true,
            latency_policy: LatencyPolicy::java_4(),
            ..ProducerConfig::java_exact()
        },
        _ => ProducerConfig {
            timeout: Duration::from_millis(random.u64(100..6_000)),
            attempt_budget: if random.bool() {
                AttemptBudget::Divided
            } else {
                AttemptBudget::JavaExact
            },
            attempt_timeout: random
                .bool()
                .then(|| Duration::from_millis(random.u64(50..3_000))),
            retries: random.u32(1..4),
            async_retries: random.u32(0..4),
            retry_not_durable: random.bool(),
            avoid_silent_brokers: random.bool(),
            latency_fault_tolerance: random.bool(),
            in_flight_messages: random.usize(1..20),
            ..ProducerConfig::default()
        },
    }
}
