//! Measures `rocketmq-client-rust` 1.0.0: `rust-peer produce --namesrv 127.0.0.1:9876 --topic T --mode sync|async|oneway|batch|auto-batch
//! --in-flight 64 --size 1024 --warm 1 --seconds 3` prints one line of JSON, as the drivers in Java and Go do.

mod measure;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rocketmq_client_rust::{
    ClientRuntime, ClientRuntimeConfig, DefaultMQProducer, SendResult, SendStatus,
};
use rocketmq_model::common::compression::compression_type::CompressionType;
use rocketmq_model::common::message::message_single::Message;
use rocketmq_runtime::{RuntimeConfig, RuntimeOwner};
use tokio::sync::Semaphore;

use measure::Measure;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Debug, Clone)]
struct Options {
    namesrv: String,
    topic: String,
    mode: String,
    compress: String,
    in_flight: usize,
    batch: usize,
    size: usize,
    threads: usize,
    watch: Option<u32>,
    warm: Duration,
    measured: Duration,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            namesrv: String::new(),
            topic: String::new(),
            mode: "sync".into(),
            compress: "none".into(),
            in_flight: 1,
            batch: 32,
            size: 1024,
            threads: 1,
            watch: None,
            warm: Duration::from_secs(1),
            measured: Duration::from_secs(1),
        };
        if words.next().as_deref() != Some("produce") {
            return Err("the only verb is produce".into());
        }
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} has no value"))?;
            match name.as_str() {
                "--namesrv" => options.namesrv = value,
                "--topic" => options.topic = value,
                "--mode" => options.mode = value,
                "--compress" => options.compress = value,
                "--in-flight" => options.in_flight = value.parse()?,
                "--batch" => options.batch = value.parse()?,
                "--size" => options.size = value.parse()?,
                "--threads" => options.threads = value.parse()?,
                "--watch" => options.watch = Some(value.parse()?),
                "--warm" => options.warm = Duration::from_secs_f64(value.parse()?),
                "--seconds" => options.measured = Duration::from_secs_f64(value.parse()?),
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        Ok(options)
    }
}

fn main() -> Result<()> {
    let options = Options::read(std::env::args().skip(1))?;
    let owner = RuntimeOwner::plan(RuntimeConfig {
        worker_threads: options.threads,
        thread_name: "rust-peer".into(),
        ..Default::default()
    })?
    .build()?;
    let telemetry = rocketmq_observability::install_global(&Default::default())?;
    let client = ClientRuntime::try_new(
        owner.root_context().component("client"),
        ClientRuntimeConfig::default(),
        telemetry.handle(),
    )?;
    // On a worker, as an application's tasks are; `block_on` would run it on a thread of its own.
    let figures = owner.block_on(async move { tokio::spawn(run(client, options)).await })??;
    println!("{figures}");
    // What follows would only tidy up; its deadlines are longer than a measurement.
    std::process::exit(0);
}

async fn run(client: Arc<ClientRuntime>, options: Options) -> Result<String> {
    let mut builder = DefaultMQProducer::builder(client)
        .producer_group("bench-rust-peer".to_owned())
        .name_server_addr(options.namesrv.clone())
        .send_msg_timeout(10_000)
        .auto_batch(options.mode == "auto-batch");
    builder = match options.compress.as_str() {
        "none" => builder.compress_msg_body_over_howmuch(u32::MAX),
        codec => builder
            .compress_type(CompressionType::try_of(codec)?)
            .compress_msg_body_over_howmuch(1),
    };
    let mut producer = builder.build();
    producer.start().await?;
    let load = Arc::new(Load {
        body: body(options.size, options.compress != "none"),
        window: Arc::new(Semaphore::new(options.in_flight)),
        measure: Arc::new(Measure::default()),
        producer,
        options,
    });
    let tasks = match load.options.mode.as_str() {
        "async" => 1,
        "sync" | "oneway" | "batch" | "auto-batch" => load.options.in_flight,
        other => return Err(format!("no mode {other}").into()),
    };
    let workers: Vec<_> = (0..tasks)
        .map(|_| tokio::spawn(Arc::clone(&load).work()))
        .collect();
    let figures = load.measure.phases(&load.options).await?;
    for worker in workers {
        worker.await?;
    }
    Ok(figures)
}

struct Load {
    options: Options,
    producer: DefaultMQProducer,
    body: Vec<u8>,
    window: Arc<Semaphore>,
    measure: Arc<Measure>,
}

impl Load {
    async fn work(self: Arc<Self>) {
        let mut latencies = Vec::new();
        while self.measure.goes_on() {
            let started = Instant::now();
            match self.options.mode.as_str() {
                "async" => self.asynchronous().await,
                "oneway" => {
                    let result = self.producer.send_oneway(self.message()).await;
                    self.measure.done(&mut latencies, started, 1, result);
                    tokio::task::yield_now().await;
                }
                "batch" => {
                    let messages = (0..self.options.batch).map(|_| self.message()).collect();
                    let result = self.producer.send_batch(messages).await;
                    let result = result
                        .map_err(|error| error.to_string())
                        .and_then(|result| stored(Some(&result)));
                    self.measure
                        .done(&mut latencies, started, self.options.batch, result);
                }
                _ => {
                    let result = self.producer.send(self.message()).await;
                    let result = result
                        .map_err(|error| error.to_string())
                        .and_then(|result| stored(result.as_ref()));
                    self.measure.done(&mut latencies, started, 1, result);
                }
            }
        }
        self.measure.keep(latencies);
    }

    async fn asynchronous(self: &Arc<Self>) {
        let Ok(permit) = Arc::clone(&self.window).acquire_owned().await else {
            return;
        };
        let permit = std::sync::Mutex::new(Some(permit));
        let measure = Arc::clone(&self.measure);
        let started = Instant::now();
        let sent = self
            .producer
            .send_with_callback(self.message(), move |result, error| {
                let permit = permit.lock().ok().and_then(|mut permit| permit.take());
                // The callback may come again after a retry; only the first counts.
                if permit.is_some() {
                    let result = match error {
                        Some(error) => Err(error.to_string()),
                        None => stored(result),
                    };
                    measure.callback(started, result);
                }
            });
        if let Err(error) = sent.await {
            self.measure.failed(&error.to_string());
        }
    }

    fn message(&self) -> Message {
        Message::builder()
            .topic(self.options.topic.as_str())
            .body_slice(&self.body)
            .build_unchecked()
    }
}

fn stored(result: Option<&SendResult>) -> std::result::Result<(), String> {
    match result {
        Some(result) if result.send_status == SendStatus::SendOk => Ok(()),
        other => Err(format!("not stored: {other:?}")),
    }
}

/// The same every time: noise, or words that compress.
fn body(size: usize, text: bool) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "order",
        "created",
        "payment",
        "customer",
        "amount",
        "currency",
        "shipped",
        "address",
        "status",
        "pending",
        "item",
        "quantity",
        "price",
        "total",
        "region",
        "timestamp",
    ];
    let mut state = 9876_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut body = Vec::with_capacity(size + 16);
    while body.len() < size {
        if text {
            body.extend_from_slice(WORDS[usize::from(random() % 16)].as_bytes());
            body.push(b' ');
        } else {
            body.push(random());
        }
    }
    body.truncate(size);
    body
}
