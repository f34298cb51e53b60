//! `cargo xtask hostile`: what a client that behaves notices while others do not.
//!
//! Attackers run in threads of this process, so they, the server and the client share the machine's cores: a part of what the client
//! notices is theirs. Calm and attack alternate, and each attack is compared with the calm before and after it.

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
    /// Seconds of each attack, and of each calm
    #[arg(long, default_value_t = 6, value_name = "N")]
    seconds: u64,
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

/// Runs every attack; fails if a send of the client failed or memory exceeds its bound.
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
        let resident = server.resident()? >> 20;
        stop.store(true, Ordering::Relaxed);
        let done = attacker.join().map_err(|_| format!("{name} panicked"))??;
        sleep(SETTLE).await;
        let after = calm(&producer, seconds).await?;
        let quiet = (before.p99 + after.p99) / 2;
        let ratio = during.p99.as_secs_f64() / quiet.as_secs_f64();
        output::line(format_args!(
            "{name}: p50 {:?}, p99 {:?}; calm p99 {:?}; ratio {ratio:.2}; {resident} MiB resident; {done}",
            during.p50, during.p99, quiet
        ));
        rows.push(row(name, &during, quiet, ratio, resident, &done));
        if resident > MEMORY_MIB {
            faults.push(format!(
                "{name}: {resident} MiB resident, more than {MEMORY_MIB}"
            ));
        }
        before = after;
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

fn row(name: &str, during: &Latency, calm: Duration, ratio: f64, mib: u64, done: &str) -> Value {
    json!({
        "attack": name,
        "p50_us": u64::try_from(during.p50.as_micros()).unwrap_or(u64::MAX),
        "p99_us": u64::try_from(during.p99.as_micros()).unwrap_or(u64::MAX),
        "calm_p99_us": u64::try_from(calm.as_micros()).unwrap_or(u64::MAX),
        "ratio": ratio,
        "resident_mib": mib,
        "attack_did": done,
    })
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
