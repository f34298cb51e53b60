//! `cargo xtask hostile`: what a client that behaves notices while others do not.
//!
//! Attackers run in threads of this process, so they, the server and the client share the machine's cores: a part of what the client
//! notices is theirs. Calm and attack alternate, each attack is compared with the calm before and after it, and judged by the median
//! of several such rounds.

mod attacks;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rocketry::{Client, Message, Producer};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::interop::Rocketry;
use crate::measured::Measured;
use crate::{Result, output, root};
use attacks::{ATTACKS, Target};

/// Time between two sends of the client that behaves.
const PACE: Duration = Duration::from_millis(4);
/// An attack gets going, and its end is felt, for this long.
const SETTLE: Duration = Duration::from_secs(1);
/// What resident memory may be at most, whatever comes.
const MEMORY_MIB: u64 = 512;

/// `cargo xtask hostile`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only the attacks whose name contains NAME (may be repeated)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Times that each attack is made
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: usize,
    /// Seconds of each attack, and of each calm
    #[arg(long, default_value_t = 3, value_name = "N")]
    seconds: u64,
    /// How many times its calm value the client's p99 may be under an attack, as a median of the rounds
    #[arg(long, default_value_t = 2.0, value_name = "RATIO")]
    most: f64,
    /// Use this binary instead of building `rocketry`
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Build `rocketry` with optimisation
    #[arg(long)]
    release: bool,
    /// Where all figures go, as JSON
    #[arg(long, default_value = "target/hostile.json", value_name = "FILE")]
    json: PathBuf,
}

/// Runs every attack; fails if a send of the client failed, its p99 or the server's memory exceeds its bound.
pub(crate) async fn run(options: Options) -> Result {
    let rocketry = Rocketry::find(options.bin.clone(), options.release).await?;
    let log = root().join("target/hostile.log");
    let limits = ["--max-connections", "2000", "--max-response-bytes", "64MiB"];
    let server = Measured::start(&rocketry, &log, &limits).await?;
    let client = Client::connect(&*server.namesrv).await?;
    let producer = client.producer("friends").await?;
    producer.send(Message::new("friend", "first")).await?;
    attacks::prepare(&producer).await?;

    let seconds = Duration::from_secs(options.seconds);
    let _ = calm(&producer, Duration::from_secs(2)).await?;
    let mut before = calm(&producer, seconds).await?;
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for (name, attack) in ATTACKS {
        if !options.only.is_empty() && !options.only.iter().any(|only| name.contains(only.as_str()))
        {
            continue;
        }
        let mut rounds = Vec::new();
        for _ in 0..options.rounds.max(1) {
            let stop = Arc::new(AtomicBool::new(false));
            let target = Target {
                broker: server.broker.clone(),
                namesrv: server.namesrv.clone(),
                stop: Arc::clone(&stop),
            };
            let attacker = std::thread::Builder::new()
                .name(format!("attack {name}"))
                .spawn(move || attacks::run(attack, target))?;
            sleep(SETTLE).await;
            let during = calm(&producer, seconds).await?;
            let resident_mib = server.resident()? >> 20;
            stop.store(true, Ordering::Relaxed);
            let done = attacker.join().map_err(|_| format!("{name} panicked"))??;
            sleep(SETTLE).await;
            let after = calm(&producer, seconds).await?;
            let calm_p99 = (before.p99 + after.p99) / 2;
            rounds.push(Round {
                ratio: during.p99.as_secs_f64() / calm_p99.as_secs_f64(),
                during,
                calm_p99,
                resident_mib,
                done,
            });
            before = after;
        }
        rounds.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let median = rounds.get(rounds.len() / 2).ok_or("no rounds")?;
        let most_mib = rounds.iter().map(|round| round.resident_mib).max();
        let most_mib = most_mib.unwrap_or_default();
        let ratios: Vec<String> = rounds
            .iter()
            .map(|round| format!("{:.2}", round.ratio))
            .collect();
        output::line(format_args!(
            "{name}: p50 {:?}, p99 {:?}; calm p99 {:?}; ratios {}; at most {most_mib} MiB resident; {}",
            median.during.p50,
            median.during.p99,
            median.calm_p99,
            ratios.join(" "),
            median.done
        ));
        if median.ratio > options.most {
            faults.push(format!(
                "{name}: the client's p99 is {:.2} times the calm one, more than {}",
                median.ratio, options.most
            ));
        }
        if most_mib > MEMORY_MIB {
            faults.push(format!(
                "{name}: {most_mib} MiB resident, more than {MEMORY_MIB}"
            ));
        }
        let rounds: Vec<Value> = rounds.iter().map(Round::to_json).collect();
        rows.push(json!({ "attack": name, "rounds": rounds }));
    }
    let file = root().join(&options.json);
    std::fs::write(&file, serde_json::to_string_pretty(&rows)? + "\n")?;
    output::line(format_args!("all figures: {}", file.display()));
    producer.shutdown(Duration::from_secs(3)).await;
    server.stop().await?;
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n").into())
    }
}

/// One attack, with the calm around it.
struct Round {
    during: Latency,
    calm_p99: Duration,
    /// `during`, p99, in terms of the calm one.
    ratio: f64,
    resident_mib: u64,
    /// What the attacker did.
    done: String,
}

impl Round {
    fn to_json(&self) -> Value {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        json!({
            "p50_us": us(self.during.p50),
            "p99_us": us(self.during.p99),
            "calm_p99_us": us(self.calm_p99),
            "ratio": self.ratio,
            "resident_mib": self.resident_mib,
            "attack_did": self.done,
        })
    }
}

/// What the client noticed.
struct Latency {
    p50: Duration,
    p99: Duration,
}

/// Sends at an even pace; a send that fails ends the chore.
async fn calm(producer: &Producer, time: Duration) -> Result<Latency> {
    let body = vec![b'x'; 1024];
    let end = Instant::now() + time;
    let mut due = Instant::now();
    let mut took = Vec::new();
    while due < end {
        sleep_until(due).await;
        // From when it was due: a client that is held up does not send less to hide it.
        producer.send(Message::new("friend", body.clone())).await?;
        took.push(due.elapsed());
        due += PACE;
    }
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied();
    Ok(Latency {
        p50: at(50).ok_or("nothing was sent")?,
        p99: at(99).ok_or("nothing was sent")?,
    })
}
