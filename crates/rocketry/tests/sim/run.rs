//! One seed from beginning to end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rocketry::{
    AttemptBudget, AutoBatch, Client, ClientConfig, LatencyPolicy, MessageExt, Producer,
    ProducerConfig,
};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    broker::label,
    checks,
    ledger::Ledger,
    name_server::Queues,
    script::{Script, TOPICS},
    work::Worker,
    world::World,
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
    let options = Options::new(random);
    let (client_config, config) = (&options.client, &options.producer);
    world.trace(format_args!(
        "-- timeout {:?}, {} + {} retries, {:?}, silent avoided {}, latency {}; refresh {:?}; {:?}",
        config.timeout,
        config.retries,
        config.async_retries,
        config.attempt_budget,
        config.avoid_silent_brokers,
        config.latency_fault_tolerance,
        client_config.route_refresh,
        options.shutdown_after,
    ));
    let said = |error: rocketry::Error| error.to_string();
    let client = Client::connect(world.name_servers())
        .config(client_config.clone())
        .dialer(Arc::new(world.clone()))
        .await
        .map_err(said)?;
    let ledger = Ledger::new(world.clone());
    let books = ledger.clone();
    let producer = client
        .producer("PG")
        .config(config.clone())
        .transaction_checker(move |half: MessageExt| books.look_up(&label(&half.body)))
        .await
        .map_err(said)?;
    let gathering = ProducerConfig {
        auto_batch: Some(options.gathering),
        ..config.clone()
    };
    let gathering = client.producer("PB").config(gathering);
    let gathering = gathering.await.map_err(said)?;
    let app = App {
        client,
        producer,
        gathering,
        ledger,
        world: world.clone(),
        lanes: AtomicUsize::new(0),
    };

    let mut checking = JoinSet::new();
    checking.spawn(ask_about_transactions(world.clone()));
    let script = Script::new(random, &world.kinds());
    app.work(random, &options, script).await?;
    if options.shutdown_after.is_none() {
        let mut last = app.worker(random, &options);
        heals(&mut last, client_config).await?;
        drop(last);
        app.settles(client_config).await?;
        app.client.shutdown(Duration::from_secs(1)).await;
    }
    checking.shutdown().await;
    let ledger = app.ledger.clone();
    drop(app);
    world.end();
    gone(world).await?;
    let attempts = config.retries.max(config.async_retries) as usize + 1;
    let settled = options.shutdown_after.is_none();
    checks::all(&ledger.entries(), &world.lock(), attempts, settled)
}

/// As a broker does that keeps half messages.
async fn ask_about_transactions(world: World) {
    loop {
        sleep(Duration::from_secs(2)).await;
        world.check_transactions();
    }
}

/// What an application holds.
struct App {
    client: Client,
    producer: Producer,
    gathering: Producer,
    ledger: Ledger,
    world: World,
    /// Workers so far.
    lanes: AtomicUsize,
}

impl App {
    fn worker(&self, random: &mut fastrand::Rng, options: &Options) -> Worker {
        Worker {
            random: random.fork(),
            lane: self.lanes.fetch_add(1, Ordering::Relaxed),
            producer: self.producer.clone(),
            gathering: self.gathering.clone(),
            max_delay: options.gathering.max_delay,
            ledger: self.ledger.clone(),
            brokers: self.world.lock().brokers().count(),
            timeout: options.producer.timeout,
            answers: JoinSet::new(),
        }
    }

    /// Sends from several tasks while the script plays, up to the healing, or to a shutdown in the middle of it.
    async fn work(
        &self,
        random: &mut fastrand::Rng,
        options: &Options,
        script: Script,
    ) -> Result<(), String> {
        let healed_ms = script.healed_ms;
        let mut tasks = JoinSet::new();
        tasks.spawn(script.play(self.world.clone()));
        let workers = random.usize(1..=3);
        for _ in 0..workers {
            let sends = random.usize(4..14);
            let worker = self.worker(random, options);
            tasks.spawn(worker.run(sends, 2 * healed_ms / sends as u64));
        }
        let ordered = random.usize(0..10);
        tasks.spawn(self.worker(random, options).run_ordered(ordered));
        let strict = random.usize(0..16);
        tasks.spawn(self.worker(random, options).run_strict(strict));
        if let Some((after, patience)) = options.shutdown_after {
            sleep(after).await;
            self.world.trace(format_args!("-- shutdown"));
            let started = Instant::now();
            self.client.shutdown(patience).await;
            let took = started.elapsed();
            self.world
                .trace(format_args!("-- shut down after {took:?}"));
            if took > patience + LEAVING {
                return Err(format!("the shutdown took {took:?} of {patience:?}"));
            }
        }
        while let Some(joined) = tasks.join_next().await {
            joined.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Nothing is left of any send: permits, table entries, tasks.
    async fn settles(&self, config: &ClientConfig) -> Result<(), String> {
        // longer than probes and checks are apart, than a heartbeat needs to connect again, and than any query takes
        sleep(config.heartbeat + Duration::from_secs(15)).await;
        for producer in [&self.producer, &self.gathering] {
            let left = (
                producer.in_flight(),
                producer.requests_in_flight(),
                producer.gathered_bytes(),
            );
            if left != ((0, 0), 0, 0) {
                return Err(format!("still in flight: {left:?}"));
            }
        }
        // a query or heartbeat of the background may be on its way just now, but not all the time
        for _ in 0..100 {
            if self.client.calls_in_flight() == 0 {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        let calls = self.client.calls_in_flight();
        if calls != 0 {
            return Err(format!("{calls} calls still wait for an answer"));
        }
        let (lines, serving) = self.world.lines();
        let expected = BACKGROUND_TASKS + lines * TASKS_OF_A_CONNECTION + serving;
        let tasks = Handle::current().metrics().num_alive_tasks();
        if tasks != expected {
            return Err(format!(
                "{tasks} tasks with {lines} connections, expected {expected}"
            ));
        }
        Ok(())
    }
}

/// Unregistering from brokers that do not answer, and closing connections to them.
const LEAVING: Duration = Duration::from_millis(200 + 500 + 50);
/// Route refresh, heartbeat, the checker of transactions; and the task of the simulation that asks it.
const BACKGROUND_TASKS: usize = 4;
/// Reader, writer, watch.
const TASKS_OF_A_CONNECTION: usize = 3;

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

/// What a seed configures.
struct Options {
    client: ClientConfig,
    producer: ProducerConfig,
    gathering: AutoBatch,
    /// Shut down in the middle, with this patience.
    shutdown_after: Option<(Duration, Duration)>,
}

impl Options {
    fn new(random: &mut fastrand::Rng) -> Self {
        let ms = |random: &mut fastrand::Rng, range| Duration::from_millis(random.u64(range));
        Self {
            client: client_config(random),
            producer: producer_config(random),
            gathering: AutoBatch {
                max_delay: ms(random, 1..50),
                max_bytes: random.usize(1..1000),
                held_bytes: random.usize(1..10_000),
            },
            shutdown_after: (random.u8(0..8) == 0)
                .then(|| (ms(random, 0..10_000), ms(random, 0..4_000))),
        }
    }
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
