//! `cargo xtask many`: what 10,000 topics, 1,000 groups and 5,000 connections cost, against ten of each.

use std::path::PathBuf;
use std::time::Duration;

use rocketry_protocol::body::heartbeat::{
    ConsumeType, ConsumerData, HeartbeatData, MessageModel, ProducerData, SubscriptionData,
};
use rocketry_protocol::header::{
    CreateTopicRequest, SendMessageRequest, UpdateConsumerOffsetRequest,
};
use rocketry_protocol::{RemotingCommand, RequestCode, body};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::interop::Rocketry;
use crate::measured::{Measured, Wire, frame};
use crate::{Result, clock, output, root};

/// Requests in flight on each of the connections that prepare and send.
const PIPELINE: usize = 16;
const SENDERS: usize = 4;
/// Idle means: nothing of the load is left to write. The server syncs its queues every ten seconds, and very many of them take some.
const SETTLE: Duration = Duration::from_secs(25);

/// `cargo xtask many`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    topics: usize,
    #[arg(long, default_value_t = 8, value_name = "N")]
    queues: i32,
    #[arg(long, default_value_t = 1000, value_name = "N")]
    groups: usize,
    #[arg(long, default_value_t = 5000, value_name = "N")]
    connections: usize,
    /// Messages of 1 KiB that are sent with all of it in place
    #[arg(long, default_value_t = 300_000, value_name = "N")]
    messages: usize,
    /// Seconds without requests over which idle CPU is counted
    #[arg(long, default_value_t = 15, value_name = "N")]
    idle: u64,
    /// Use this binary instead of building `rocketry`
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Build `rocketry` with optimisation
    #[arg(long)]
    release: bool,
    /// Where all figures go, as JSON
    #[arg(long, default_value = "target/many.json", value_name = "FILE")]
    json: PathBuf,
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Size {
    name: &'static str,
    topics: usize,
    groups: usize,
    connections: usize,
}

/// What was counted with one size.
#[derive(Debug, Default)]
struct Figures {
    create_seconds: f64,
    fill_seconds: f64,
    resident_mib: f64,
    resident_empty_mib: f64,
    cpu_us_per_message: f64,
    messages_per_second: f64,
    idle_percent: f64,
    scrape_ms: f64,
}

pub(crate) async fn run(options: Options) -> Result {
    let rocketry = Rocketry::find(options.bin.clone(), options.release).await?;
    let sizes = [
        Size {
            name: "few",
            topics: 10,
            groups: 10,
            connections: 10,
        },
        Size {
            name: "many",
            topics: options.topics,
            groups: options.groups,
            connections: options.connections,
        },
    ];
    let mut all = Vec::new();
    for size in sizes {
        let figures = measure(&options, &rocketry, size)
            .await
            .map_err(|error| format!("{}: {error}", size.name))?;
        output::line(format_args!("{}", row(size, &figures)));
        all.push((size, figures));
    }
    if let [(_, few), (many_of, many)] = &all[..] {
        let cpu = many.cpu_us_per_message / few.cpu_us_per_message;
        let per =
            (many.resident_mib - few.resident_mib) * 1024.0 / usize_f64(many_of.connections.max(1));
        output::line(format_args!(
            "CPU per message, many : few = {cpu:.2}; {per:.1} KiB more per connection, topics and groups included"
        ));
    }
    let json: Vec<Value> = all
        .iter()
        .map(|(size, figures)| to_json(*size, figures))
        .collect();
    let file = root().join(&options.json);
    std::fs::write(&file, serde_json::to_string_pretty(&json)? + "\n")?;
    output::line(format_args!("all figures: {}", file.display()));
    let busy: Vec<_> = all
        .iter()
        .filter(|(_, figures)| figures.idle_percent >= 0.5)
        .map(|(size, figures)| {
            format!(
                "{}: idle, it uses {:.2} % of a core",
                size.name, figures.idle_percent
            )
        })
        .collect();
    if busy.is_empty() {
        Ok(())
    } else {
        Err(busy.join("\n").into())
    }
}

fn row(size: Size, figures: &Figures) -> String {
    format!(
        "{}: {} topics, {} groups, {} connections: topics made in {:.1} s, queues in {:.1} s, {:.1} MiB resident ({:.1} empty), {:.1} us CPU per message at {:.0} messages/s, idle {:.2} % of a core, metrics in {:.0} ms",
        size.name,
        size.topics,
        size.groups,
        size.connections,
        figures.create_seconds,
        figures.fill_seconds,
        figures.resident_mib,
        figures.resident_empty_mib,
        figures.cpu_us_per_message,
        figures.messages_per_second,
        figures.idle_percent,
        figures.scrape_ms
    )
}

fn to_json(size: Size, figures: &Figures) -> Value {
    json!({
        "size": size.name,
        "topics": size.topics,
        "groups": size.groups,
        "connections": size.connections,
        "create_seconds": figures.create_seconds,
        "fill_seconds": figures.fill_seconds,
        "resident_mib": figures.resident_mib,
        "resident_empty_mib": figures.resident_empty_mib,
        "cpu_us_per_message": figures.cpu_us_per_message,
        "messages_per_second": figures.messages_per_second,
        "idle_percent": figures.idle_percent,
        "scrape_ms": figures.scrape_ms,
    })
}

async fn measure(options: &Options, rocketry: &Rocketry, size: Size) -> Result<Figures> {
    let log = root().join(format!("target/many-{}.log", size.name));
    let server = Measured::start(rocketry, &log, &[]).await?;
    let mut figures = Figures {
        resident_empty_mib: mib(server.resident()?),
        ..Figures::default()
    };
    let began = clock::now();
    pipelined(&server.broker, size.topics, |n| {
        Ok(create(options.queues, n))
    })
    .await?;
    figures.create_seconds = began.elapsed().as_secs_f64();

    // A group exists once one of its consumers was there.
    pipelined(&server.broker, size.groups, |n| heartbeat(size, n)).await?;
    pipelined(&server.broker, size.groups * 10, |n| commit(size, n)).await?;
    // Every topic and queue has its files, and the routes their places, before anything is counted.
    let queues = usize::try_from(options.queues)?;
    pipelined(&server.broker, size.topics * queues, |n| {
        send(size, options.queues, n)
    })
    .await?;

    figures.fill_seconds = began.elapsed().as_secs_f64() - figures.create_seconds;
    // Last: a connection that says nothing for two minutes is closed.
    let mut connections = Vec::with_capacity(size.connections);
    for n in 0..size.connections {
        let mut wire = Wire::connect(&server.broker).await?;
        wire.send(&frame(heartbeat(size, n)?)?).await?;
        connections.push(wire);
    }
    for wire in &mut connections {
        wire.answers(1).await?;
    }

    let (began, cpu) = (clock::now(), server.cpu()?);
    pipelined(&server.broker, options.messages, |n| {
        send(size, options.queues, n)
    })
    .await?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), server.cpu()? - cpu);
    figures.cpu_us_per_message = cpu * 1e6 / usize_f64(options.messages);
    figures.messages_per_second = usize_f64(options.messages) / seconds;

    let began = clock::now();
    let open = server.metric("rocketry_connections{").await?;
    figures.scrape_ms = began.elapsed().as_secs_f64() * 1e3;
    if open < usize_f64(size.connections) {
        return Err(format!("{open} connections are open, not {}", size.connections).into());
    }
    sleep(SETTLE).await;
    let cpu = server.cpu()?;
    sleep(Duration::from_secs(options.idle)).await;
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let seconds = options.idle as f64;
    figures.idle_percent = (server.cpu()? - cpu) * 100.0 / seconds;
    figures.resident_mib = mib(server.resident()?);
    drop(connections);
    // A stop that takes longer than it is given is told; what was counted before stays counted.
    if let Err(error) = server.stop().await {
        output::line(format_args!("{}: {error}", size.name));
    }
    Ok(figures)
}

/// Carries out `count` requests over some connections, each with several under way; every answer must be a success.
async fn pipelined(
    broker: &str,
    count: usize,
    request: impl Fn(usize) -> Result<RemotingCommand>,
) -> Result {
    // Made before, so that only the server works while it is measured; the memory is this process's.
    let mut batches: Vec<Vec<u8>> = Vec::new();
    for start in (0..count).step_by(PIPELINE) {
        let mut bytes = Vec::new();
        for n in start..count.min(start + PIPELINE) {
            bytes.extend_from_slice(&frame(request(n)?)?);
        }
        batches.push(bytes);
    }
    let share = batches.len().div_ceil(SENDERS).max(1);
    let mut senders = JoinSet::new();
    let mut left = count;
    for part in batches.chunks(share) {
        let (part, broker) = (part.to_vec(), broker.to_owned());
        let mut requests = left.min(part.len() * PIPELINE);
        left -= requests;
        senders.spawn(async move {
            let mut wire = Wire::connect(&broker).await?;
            for batch in part {
                let batch_len = requests.min(PIPELINE);
                requests -= batch_len;
                wire.send(&batch).await?;
                for answer in wire.answers(batch_len).await? {
                    if answer.code != 0 {
                        return Err(format!("answered {}: {:?}", answer.code, answer.remark).into());
                    }
                }
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    Ok(())
}

fn create(queues: i32, n: usize) -> RemotingCommand {
    let topic = format!("topic-{n}");
    RemotingCommand::request(&CreateTopicRequest {
        topic: &topic,
        default_topic: "TBW102",
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        topic_sys_flag: None,
        order: false,
        attributes: None,
        force: None,
    })
}

fn heartbeat(size: Size, n: usize) -> Result<RemotingCommand> {
    let topic = format!("topic-{}", n % size.topics);
    let data = HeartbeatData {
        client_id: format!("10.0.0.1@{n}"),
        consumer_data_set: vec![ConsumerData {
            group_name: format!("group-{}", n % size.groups),
            message_model: Some(MessageModel::Clustering),
            consume_type: Some(ConsumeType::Passively),
            subscription_data_set: vec![SubscriptionData::by_tags(topic, "*", 1)],
            ..ConsumerData::default()
        }],
        producer_data_set: vec![ProducerData {
            group_name: "producers".to_owned(),
        }],
        ..HeartbeatData::default()
    };
    Ok(RemotingCommand::bare_request(RequestCode::HEART_BEAT).with_body(body::encode(&data)?))
}

/// Ten queues of progress per group.
fn commit(size: Size, n: usize) -> Result<RemotingCommand> {
    let (topic, group) = (
        format!("topic-{}", n % size.topics),
        format!("group-{}", n % size.groups),
    );
    Ok(RemotingCommand::request(&UpdateConsumerOffsetRequest {
        consumer_group: &group,
        topic: &topic,
        queue_id: i32::try_from(n / size.groups % 8)?,
        commit_offset: 0,
        broker_name: None,
    }))
}

/// The topics in turn, and in each the queues.
fn send(size: Size, queues: i32, n: usize) -> Result<RemotingCommand> {
    let topic = format!("topic-{}", n % size.topics);
    let round = i32::try_from(n / size.topics)?;
    Ok(RemotingCommand::request(&SendMessageRequest {
        producer_group: "producers",
        topic: &topic,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: round % queues,
        born_timestamp: 1_700_000_000_000,
        ..SendMessageRequest::default()
    })
    .with_body(vec![b'x'; 1024]))
}

fn mib(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let bytes = bytes as f64;
    bytes / 1024.0 / 1024.0
}

fn usize_f64(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let count = count as f64;
    count
}
