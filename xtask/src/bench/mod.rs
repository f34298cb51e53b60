//! `cargo xtask bench`: client, server and store beside Apache's, other clients and floors, in interleaved rounds of one run.

mod cache;
mod callers;
mod clients;
mod counts;
mod echo;
mod figures;
mod machine;
mod placement;
mod plot;
pub(crate) mod process_usage;
mod producers;
mod record;
mod report;
mod server_load;
mod servers;
mod soak;
mod store;
mod syncs;
mod targets;
mod workload;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

pub(crate) use echo::{EchoDrive, EchoServe, echo_drive, echo_serve};
pub(crate) use store::{StoreBench, run as store_bench};

use crate::interop::Rocketry;
use crate::process::run_ok;
use crate::{Result, clock, output, root};
use cache::Cache;
use clients::{Client, Phases};
use figures::{Samples, float};
use servers::{Kind, Starter};

const BUILD: Duration = Duration::from_hours(1);

/// `cargo xtask bench`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Rounds; each runs every program once at every point, and medians are reported [default: 3]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Measured seconds of each run [default: 2]
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Minutes of the soak's steady load; a log of 20 GB takes ten [default: 10]
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Only points whose name contains this: sync-64, 16384, zlib, ... (may be repeated)
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only these clients
    #[arg(long, value_enum, value_delimiter = ',', value_name = "C,C")]
    clients: Vec<Client>,
    /// Only these servers
    #[arg(long, value_enum, value_delimiter = ',', value_name = "S,S")]
    servers: Vec<Kind>,
    /// One round of half a second each: whether it all runs, not how fast
    #[arg(long, conflicts_with_all = ["rounds", "seconds", "minutes", "record"])]
    quick: bool,
    /// The run of record, within half an hour once everything is built: the main points in three rounds, the others in two, the soak; writes
    /// docs/performance/ and the tables of docs/performance.md
    #[arg(long)]
    record: bool,
    /// Build and fetch everything that a run needs, and end
    #[arg(long)]
    prepare: bool,
    /// Measure this binary instead of building `rocketry` with optimisation
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Run floors and store from this optimised build of the chores instead of building it
    #[arg(long, value_name = "PATH")]
    tools: Option<PathBuf>,
    /// Where built peers are kept [default: target/bench]
    #[arg(long, env = "ROCKETRY_BENCH_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Where all samples go, as JSON [default: target/bench.json, or docs/performance/figures.json with --record]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A part of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Clients on Apache's broker and on ours
    Producers,
    /// Servers under our clients
    Servers,
    /// The store without a server
    Store,
    /// Our client and server for minutes: memory, cost with a long log, rest
    Soak,
    /// Allocations and writes per message, from the tests that hold their budgets
    Counts,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Producers,
        Self::Servers,
        Self::Store,
        Self::Soak,
        Self::Counts,
    ];
}

impl Options {
    fn parts(&self) -> Vec<Part> {
        if self.parts.is_empty() {
            Part::ALL.to_vec()
        } else {
            self.parts.clone()
        }
    }

    fn clients(&self) -> Vec<Client> {
        if self.clients.is_empty() {
            Client::ALL.to_vec()
        } else {
            self.clients.clone()
        }
    }

    fn servers(&self) -> Vec<Kind> {
        if self.servers.is_empty() {
            Kind::ALL.to_vec()
        } else {
            self.servers.clone()
        }
    }

    fn wants(&self, point: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| point.contains(only.as_str()))
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// Of points that no target is judged by.
    fn rounds_of_more(&self) -> usize {
        if self.record { 2 } else { self.rounds() }
    }

    fn phases(&self) -> Phases {
        let seconds = match self.seconds {
            Some(seconds) => seconds,
            None if self.quick => 0.5,
            None if self.record => 1.0,
            None => 2.0,
        };
        Phases {
            warm: self.scaled(0.4),
            seconds,
        }
    }

    /// The same of points that no target is judged by.
    fn phases_of_more(&self) -> Phases {
        let phases = self.phases();
        if self.record && self.seconds.is_none() {
            Phases {
                seconds: 0.8,
                ..phases
            }
        } else {
            phases
        }
    }

    /// Length of the soak's load.
    fn soak_seconds(&self) -> f64 {
        match self.minutes {
            Some(minutes) => minutes * 60.0,
            None if self.quick => 10.0,
            None => 600.0,
        }
    }

    /// A warm-up, which a quick run cuts short.
    fn scaled(&self, seconds: f64) -> f64 {
        if self.quick { seconds / 4.0 } else { seconds }
    }
}

/// What every part uses.
#[derive(Debug)]
struct Bench {
    options: Options,
    cache: Cache,
    rocketry: Rocketry,
    /// This crate, optimised.
    xtask: PathBuf,
    /// Gone after the run.
    dir: PathBuf,
}

/// Measures, prints the tables, writes the files.
pub(crate) async fn run(options: Options) -> Result {
    let bench = Bench::prepare(options).await?;
    if bench.options.prepare {
        return bench.build_peers().await;
    }
    let began = clock::now();
    let starter = Starter {
        rocketry: &bench.rocketry,
        cache: &bench.cache,
        dir: &bench.dir,
    };
    let mut results = Results::default();
    for part in bench.options.parts() {
        match part {
            Part::Producers => {
                let (samples, missing) = producers::run(&bench, &starter).await?;
                results.producers = samples;
                results.missing.extend(missing);
            }
            Part::Servers => {
                let mut served = server_load::run(&bench, &starter).await?;
                results.missing.append(&mut served.missing);
                results.served = served;
            }
            Part::Store => results.store = bench.store().await?,
            Part::Soak => match soak::run(&bench, &starter).await {
                Ok(soak) => results.soak = Some(soak),
                Err(error) => results.missing.push(format!("soak: {error}")),
            },
            Part::Counts => match counts::run().await {
                Ok(counts) => results.counts = counts,
                Err(error) => results.missing.push(format!("counts: {error}")),
            },
        }
    }
    results.machine = machine::describe().await;
    results.seconds = began.elapsed().as_secs_f64();
    let text = report::markdown(&results);
    output::line(format_args!("\n{text}"));
    let file = match (&bench.options.json, bench.options.record) {
        (Some(file), _) => file.clone(),
        (None, true) => root().join("docs/performance/figures.json"),
        (None, false) => root().join("target/bench.json"),
    };
    let json = serde_json::to_string_pretty(&results.json())? + "\n";
    write_file(&file, &bench.without_places(&json))?;
    if bench.options.record {
        let dir = root().join("docs/performance");
        let plots = record::plots(&results, &dir)?;
        let document = root().join("docs/performance.md");
        let text = std::fs::read_to_string(&document)?;
        let text = record::generated(&text, &results, &plots)?;
        std::fs::write(&document, bench.without_places(&text))?;
    }
    output::line(format_args!("all samples: {}", file.display()));
    std::fs::remove_dir_all(&bench.dir)?;
    Ok(())
}

/// Everything one run gave.
#[derive(Debug, Default)]
struct Results {
    machine: Value,
    seconds: f64,
    producers: Samples,
    served: server_load::Served,
    /// Of each round.
    store: Vec<Vec<store::Measure>>,
    soak: Option<soak::Soak>,
    counts: counts::Counts,
    /// What could not be measured, and why.
    missing: Vec<String>,
}

impl Results {
    fn json(&self) -> Value {
        let all =
            |samples: &Samples| -> Vec<_> { samples.0.iter().map(figures::Sample::json).collect() };
        json!({
            "machine": self.machine,
            "command": std::env::args().skip(1).collect::<Vec<_>>(),
            "seconds": self.seconds,
            "producers": all(&self.producers),
            "servers": all(&self.served.samples),
            "server_processes": self.served.states,
            "syncs": self.served.syncs,
            "store": self.store,
            "soak": self.soak,
            "counts": self.counts,
            "not_measured": self.missing,
        })
    }
}

impl Results {
    /// The median of the store's rate in a measurement.
    fn store_rate(&self, name: &str) -> Option<f64> {
        self.store_median(name, |measure| measure.rocketry.per_second)
    }

    /// The median of what the floor made of the same bytes.
    fn store_floor(&self, name: &str) -> Option<f64> {
        self.store_median(name, |measure| measure.floor.per_second)
    }

    fn store_median(&self, name: &str, of: fn(&store::Measure) -> f64) -> Option<f64> {
        let values = self.store.iter().flatten();
        let values = values.filter(|measure| measure.name == name).map(of);
        Some(figures::Spread::of(values)?.median)
    }
}

fn write_file(file: &Path, text: &str) -> Result {
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    Ok(std::fs::write(file, text)?)
}

impl Bench {
    /// `text` without the directories of this machine, which name programs in the errors of runs.
    fn without_places(&self, text: &str) -> String {
        let root = root();
        let target = root.join("target/release");
        let dirs = [target.as_path(), &root, self.cache.dir(), &self.dir];
        dirs.iter().fold(text.to_owned(), |text, dir| {
            text.replace(&format!("{}/", dir.display()), "")
        })
    }

    /// The optimised binaries, `rocketry` and, for floors and store, this crate; an empty directory for the run.
    async fn prepare(options: Options) -> Result<Self> {
        let rocketry = Rocketry::find(options.bin.clone(), true).await?;
        let xtask = match &options.tools {
            Some(tools) => tools.canonicalize()?,
            None => crate::optimised().await?,
        };
        let dir = root().join("target/bench-run");
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        Ok(Self {
            cache: Cache::new(options.cache.clone())?,
            rocketry,
            xtask,
            dir,
            options,
        })
    }

    async fn store(&self) -> Result<Vec<Vec<store::Measure>>> {
        let dir = self.dir.join("store-alone");
        let seconds = self.options.phases().seconds;
        let mib = if self.options.quick { 64 } else { 512 };
        let mut rounds = Vec::new();
        for round in 0..self.options.rounds() {
            std::fs::create_dir_all(&dir)?;
            let mut command = Command::new(&self.xtask);
            command
                .args(["store-bench", "--mib", &format!("{mib}")])
                .args(["--seconds", &format!("{seconds}")])
                .arg("--dir")
                .arg(&dir);
            let done = run_ok(&mut command, BUILD).await?;
            let measures: Vec<store::Measure> = serde_json::from_slice(&done.stdout)?;
            for measure in &measures {
                output::line(report::store_line(round, measure));
            }
            rounds.push(measures);
            std::fs::remove_dir_all(&dir)?;
        }
        Ok(rounds)
    }

    /// Builds all peers; what fails is named, and does not keep the others from being built.
    async fn build_peers(&self) -> Result {
        let mut failed = Vec::new();
        let mut note = |name: &str, built: Result| match built {
            Ok(()) => output::line(format_args!("{name}: ready")),
            Err(error) => failed.push(format!("{name}: {error}")),
        };
        note(
            "Java client and Apache's servers",
            self.cache.java().await.map(drop),
        );
        note("Go client", self.cache.go().await.map(drop));
        note(
            "rocketmq-client-rust",
            self.cache.rust_client().await.map(drop),
        );
        note("rocketmq-broker", self.cache.rust_servers().await.map(drop));
        note("counting tests", counts::prepare().await);
        if failed.is_empty() {
            Ok(())
        } else {
            Err(failed.join("\n").into())
        }
    }
}
