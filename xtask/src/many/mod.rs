//! `cargo xtask many`: what 10,000 topics, 1,000 groups and 5,000 connections cost, against ten of each.
//!
//! A server for each size, all of them up at the same time: rounds of sends go to one after the other, so that a change of the machine
//! meets them all. The sizes between *few* and *many* have much of one thing only, and say which it is that costs.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::interop::Rocketry;
use crate::measured::{Measured, Wire, frame};
use crate::{Result, clock, output, root};

mod load;

/// Idle means: nothing of the load is left to write. The server writes and syncs very many queues once a minute.
const SETTLE: Duration = Duration::from_secs(70);
/// Requests under way, however many connections they are spread over.
const IN_FLIGHT: usize = 64;
/// The fewer connections that they are spread over, for comparison.
const FEW_CONNECTIONS: usize = 10;

/// What the other sizes are compared with.
const FEW: &str = "few";

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
    /// Connections that messages are spread over, 64 in flight, against ten
    #[arg(long, default_value_t = 1000, value_name = "N")]
    spread: usize,
    /// Messages of 1 KiB that are sent with all of it in place, in each round: so many that the writing of all queues, which follows
    /// half a gigabyte of them, has its share in every round
    #[arg(long, default_value_t = 500_000, value_name = "N")]
    messages: usize,
    /// Messages that are spread over connections in each round
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    spread_messages: usize,
    /// Rounds of sends; figures are medians
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: usize,
    /// Only these of few, topics, connections, many
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Seconds without requests over which idle CPU is counted; 0 leaves it out
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
#[derive(Debug, Clone, Copy, serde::Serialize)]
struct Size {
    name: &'static str,
    topics: usize,
    groups: usize,
    connections: usize,
}

/// What was counted with one size.
#[derive(Debug, Default, serde::Serialize)]
struct Figures {
    create_seconds: f64,
    fill_seconds: f64,
    resident_empty_mib: f64,
    /// With topics, queues, groups and what was sent to all of them, before there are idle connections.
    resident_unconnected_mib: f64,
    /// At the end of everything.
    resident_mib: f64,
    /// The part of it that belongs to no file.
    anonymous_mib: f64,
    /// CPU per message, us, of each round: a few connections that send sixteen at a time.
    together_us: Vec<f64>,
    /// The same of messages spread over ten connections, and over many.
    spread_few_us: Vec<f64>,
    spread_many_us: Vec<f64>,
    idle_percent: f64,
    scrape_ms: f64,
    stop_seconds: f64,
}

/// A server of one size, full.
#[derive(Debug)]
struct Full {
    size: Size,
    server: Measured,
    /// Idle clients.
    connections: Vec<Wire>,
    figures: Figures,
}

pub(crate) async fn run(options: Options) -> Result {
    let rocketry = Rocketry::find(options.bin.clone(), options.release).await?;
    let mut all = Vec::new();
    for size in sizes(&options) {
        let full = Full::start(&options, &rocketry, size)
            .await
            .map_err(|error| format!("{}: {error}", size.name))?;
        all.push(full);
    }
    // Every queue has its file before anything is counted.
    sleep(SETTLE).await;
    for _ in 0..options.rounds {
        for full in &mut all {
            let name = full.size.name;
            let round = full.round(&options).await;
            round.map_err(|error| format!("{name}: {error}"))?;
        }
    }
    for full in &mut all {
        full.beat().await?;
        full.scrape().await?;
    }
    idle(&options, &mut all).await?;
    let mut rows = Vec::new();
    for full in all {
        let row = full.end().await?;
        output::line(format_args!("{}", text(row.0, &row.1)));
        rows.push(row);
    }
    compare(&rows);
    let json: Vec<Value> = rows
        .iter()
        .map(|(size, figures)| json!({"size": size, "figures": figures}))
        .collect();
    let file = root().join(&options.json);
    std::fs::write(&file, serde_json::to_string_pretty(&json)? + "\n")?;
    output::line(format_args!("all figures: {}", file.display()));
    let busy: Vec<_> = rows
        .iter()
        .filter(|(_, figures)| figures.idle_percent >= 0.5)
        .map(|(size, figures)| {
            let (name, idle) = (size.name, figures.idle_percent);
            format!("{name}: idle, it uses {idle:.2} % of a core")
        })
        .collect();
    if busy.is_empty() {
        Ok(())
    } else {
        Err(busy.join("\n").into())
    }
}

fn text(size: Size, figures: &Figures) -> String {
    format!(
        "{}: {} topics, {} groups, {} connections: topics made in {:.1} s, queues in {:.1} s, {:.1} MiB resident ({:.1} anonymous, {:.1} empty, {:.1} without connections), CPU per message {:.1} us, {:.1} us spread thinly and {:.1} us very thinly, idle {:.2} % of a core, metrics in {:.0} ms, stopped in {:.1} s",
        size.name,
        size.topics,
        size.groups,
        size.connections,
        figures.create_seconds,
        figures.fill_seconds,
        figures.resident_mib,
        figures.anonymous_mib,
        figures.resident_empty_mib,
        figures.resident_unconnected_mib,
        median(&figures.together_us),
        median(&figures.spread_few_us),
        median(&figures.spread_many_us),
        figures.idle_percent,
        figures.scrape_ms,
        figures.stop_seconds,
    )
}

/// The ratios, each within its rounds.
fn compare(rows: &[(Size, Figures)]) {
    let Some((_, few)) = rows.iter().find(|(size, _)| size.name == FEW) else {
        return;
    };
    for (size, figures) in rows.iter().filter(|(size, _)| size.name != FEW) {
        let name = size.name;
        output::line(format_args!(
            "CPU per message, {name} : few = {}",
            ratio(&figures.together_us, &few.together_us)
        ));
        if size.connections > FEW_CONNECTIONS {
            let per = (figures.resident_mib - few.resident_mib) * 1024.0;
            output::line(format_args!(
                "{name}: {:.1} KiB more per connection, topics and groups included",
                per / usize_f64(size.connections)
            ));
        }
    }
    for (size, figures) in rows {
        output::line(format_args!(
            "{}: CPU per message, spread over many connections : over {FEW_CONNECTIONS} = {}",
            size.name,
            ratio(&figures.spread_many_us, &figures.spread_few_us)
        ));
    }
}

/// The median of the rounds' ratios, and the range.
fn ratio(of: &[f64], to: &[f64]) -> String {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({least:.2} to {most:.2})", median(&ratios))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

async fn idle(options: &Options, all: &mut [Full]) -> Result {
    if options.idle == 0 {
        return Ok(());
    }
    sleep(SETTLE).await;
    let before: Vec<_> = all.iter().map(|full| full.server.cpu()).collect();
    let began = clock::now();
    sleep(Duration::from_secs(options.idle)).await;
    let seconds = began.elapsed().as_secs_f64();
    for (full, before) in all.iter_mut().zip(before) {
        full.figures.idle_percent = (full.server.cpu()? - before?) * 100.0 / seconds;
    }
    Ok(())
}

fn sizes(options: &Options) -> Vec<Size> {
    let few = Size {
        name: FEW,
        topics: 10,
        groups: 10,
        connections: FEW_CONNECTIONS,
    };
    let all = [
        few,
        Size {
            name: "topics",
            topics: options.topics,
            ..few
        },
        Size {
            name: "connections",
            // few members each: all of a group are told of each that comes
            groups: options.groups,
            connections: options.connections,
            ..few
        },
        Size {
            name: "many",
            topics: options.topics,
            groups: options.groups,
            connections: options.connections,
        },
    ];
    let wanted =
        |size: &Size| options.only.is_empty() || options.only.iter().any(|o| o == size.name);
    all.into_iter().filter(wanted).collect()
}

impl Full {
    async fn start(options: &Options, rocketry: &Rocketry, size: Size) -> Result<Self> {
        let log = root().join(format!("target/many-{}.log", size.name));
        let server = Measured::start(rocketry, &log, &[]).await?;
        let resident_empty_mib = mib(server.memory()?.resident);
        let began = clock::now();
        load::pipelined(&server.broker, size.topics, |n| {
            Ok(load::create(options.queues, n))
        })
        .await?;
        let create_seconds = began.elapsed().as_secs_f64();

        // A group exists once one of its consumers was there.
        load::pipelined(&server.broker, size.groups, |n| load::heartbeat(size, n)).await?;
        load::pipelined(&server.broker, size.groups * 10, |n| load::commit(size, n)).await?;
        // Every queue has its message, and the routes their places.
        let queues = usize::try_from(options.queues)?;
        load::pipelined(&server.broker, size.topics * queues, |n| {
            load::send(size, options.queues, n)
        })
        .await?;
        let fill_seconds = began.elapsed().as_secs_f64() - create_seconds;
        let resident_unconnected_mib = mib(server.memory()?.resident);
        let mut connections = Vec::with_capacity(size.connections);
        for _ in 0..size.connections {
            connections.push(Wire::connect(&server.broker).await?);
        }
        let mut full = Self {
            size,
            server,
            connections,
            figures: Figures {
                create_seconds,
                fill_seconds,
                resident_empty_mib,
                resident_unconnected_mib,
                ..Figures::default()
            },
        };
        full.beat().await?;
        Ok(full)
    }

    /// Sends of each kind of load.
    async fn round(&mut self, options: &Options) -> Result {
        self.beat().await?;
        let (size, queues) = (self.size, options.queues);
        let request = |n| load::send(size, queues, n);
        let cpu = self.server.cpu()?;
        load::pipelined(&self.server.broker, options.messages, request).await?;
        let cpu = self.server.cpu()? - cpu;
        let figures = &mut self.figures;
        figures
            .together_us
            .push(cpu * 1e6 / usize_f64(options.messages));
        for (connections, figures) in [
            (FEW_CONNECTIONS, &mut figures.spread_few_us),
            (options.spread, &mut figures.spread_many_us),
        ] {
            let spread = load::Spread::open(&self.server.broker, connections, IN_FLIGHT).await?;
            let cpu = self.server.cpu()?;
            let sent = spread.send(options.spread_messages, request).await?;
            figures.push((self.server.cpu()? - cpu) * 1e6 / usize_f64(sent));
        }
        Ok(())
    }

    /// A heartbeat on each connection: one that says nothing for two minutes is closed.
    async fn beat(&mut self) -> Result {
        for (n, wire) in self.connections.iter_mut().enumerate() {
            wire.send(&frame(load::heartbeat(self.size, n)?)?).await?;
        }
        for wire in &mut self.connections {
            wire.answers(1).await?;
        }
        Ok(())
    }

    async fn scrape(&mut self) -> Result {
        let began = clock::now();
        let open = self.server.metric("rocketry_connections{").await?;
        self.figures.scrape_ms = began.elapsed().as_secs_f64() * 1e3;
        if open < usize_f64(self.size.connections) {
            let (name, wanted) = (self.size.name, self.size.connections);
            return Err(format!("{name}: {open} connections are open, not {wanted}").into());
        }
        Ok(())
    }

    /// Looks at the memory and stops the server.
    async fn end(mut self) -> Result<(Size, Figures)> {
        let memory = self.server.memory()?;
        self.figures.resident_mib = mib(memory.resident);
        self.figures.anonymous_mib = mib(memory.anonymous);
        drop(self.connections);
        let began = clock::now();
        // A stop that takes longer than it is given is told; what was counted before stays counted.
        if let Err(error) = self.server.stop().await {
            output::line(format_args!("{}: {error}", self.size.name));
        }
        self.figures.stop_seconds = began.elapsed().as_secs_f64();
        Ok((self.size, self.figures))
    }
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
