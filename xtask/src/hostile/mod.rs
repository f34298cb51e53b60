//! `cargo xtask hostile`: what a client that behaves notices while others do not.
//!
//! Attackers run in threads of this process, so they, the server and the client share the machine's cores with each other, and with
//! whatever else runs. So there is a second server, which nobody attacks, with a client of its own: what both clients notice is the
//! machine, what only the first one notices is the attack on its server. An attack is judged by the ratio of the two, as the median of
//! several rounds; the ratio to the calm before and after it is told as well.

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
    /// How many times that of the other server's client the p99 may be under an attack, as a median of the rounds
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
    let limits = ["--max-connections", "2000", "--max-response-bytes", "64MiB"];
    let log = root().join("target/hostile.log");
    let server = Measured::start(&rocketry, &log, &limits).await?;
    let log = root().join("target/hostile-other.log");
    let other = Measured::start(&rocketry, &log, &limits).await?;
    let friends = [friend(&server).await?, friend(&other).await?];
    let [producer, _] = &friends;
    attacks::prepare(producer).await?;

    let seconds = Duration::from_secs(options.seconds);
    let _ = notice(&friends, Duration::from_secs(2)).await?;
    let [mut before, _] = notice(&friends, seconds).await?;
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
            let [during, elsewhere] = notice(&friends, seconds).await?;
            let resident_mib = server.resident()? >> 20;
            stop.store(true, Ordering::Relaxed);
            let done = attacker.join().map_err(|_| format!("{name} panicked"))??;
            sleep(SETTLE).await;
            let [after, _] = notice(&friends, seconds).await?;
            let calm_p99 = (before.p99 + after.p99) / 2;
            rounds.push(Round {
                ratio: during.p99.as_secs_f64() / elsewhere.p99.as_secs_f64(),
                to_calm: during.p99.as_secs_f64() / calm_p99.as_secs_f64(),
                during,
                elsewhere,
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
        output::line(format_args!(
            "{name}: p99 {:?}, elsewhere {:?}, calm {:?}; ratios to elsewhere {}, to calm {}; at most {most_mib} MiB resident; {}",
            median.during.p99,
            median.elsewhere.p99,
            median.calm_p99,
            each(&rounds, |round| round.ratio),
            each(&rounds, |round| round.to_calm),
            median.done
        ));
        if median.ratio > options.most {
            faults.push(format!(
                "{name}: the client's p99 is {:.2} times that of the other server's, more than {}",
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
    for producer in friends {
        producer.shutdown(Duration::from_secs(3)).await;
    }
    server.stop().await?;
    other.stop().await?;
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n").into())
    }
}

/// A client that behaves.
async fn friend(server: &Measured) -> Result<Producer> {
    let client = Client::connect(&*server.namesrv).await?;
    let producer = client.producer("friends").await?;
    producer.send(Message::new("friend", "first")).await?;
    Ok(producer)
}

fn each(rounds: &[Round], of: impl Fn(&Round) -> f64) -> String {
    let texts: Vec<String> = rounds
        .iter()
        .map(|round| format!("{:.2}", of(round)))
        .collect();
    texts.join(" ")
}

/// One attack, with the calm around it.
struct Round {
    during: Latency,
    /// At the same time, with the server that nobody attacks.
    elsewhere: Latency,
    calm_p99: Duration,
    /// The p99 in terms of that elsewhere.
    ratio: f64,
    to_calm: f64,
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
            "elsewhere_p50_us": us(self.elsewhere.p50),
            "elsewhere_p99_us": us(self.elsewhere.p99),
            "calm_p99_us": us(self.calm_p99),
            "ratio": self.ratio,
            "ratio_to_calm": self.to_calm,
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

/// What both clients notice at the same time.
async fn notice(friends: &[Producer; 2], time: Duration) -> Result<[Latency; 2]> {
    let [first, second] = friends;
    let (first, second) = tokio::join!(sends(first, time), sends(second, time));
    Ok([first?, second?])
}

/// Sends at an even pace; a send that fails ends the chore.
async fn sends(producer: &Producer, time: Duration) -> Result<Latency> {
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
