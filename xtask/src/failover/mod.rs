//! `cargo xtask failover`: what 64 concurrent senders notice when one of two brokers dies, or stops answering, and returns.

mod cluster;
mod load;
mod report;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::interop::{Rocketry, apache_jars};
use crate::{Result, output, root};
use cluster::{Cluster, Fault, System};
use load::Load;
use report::Outcome;

/// What no send may exceed at the 99th percentile while a broker is away.
const P99_WHILE_AWAY: Duration = Duration::from_secs(1);
/// How long a broker that has returned may go unused.
const USED_AGAIN: Duration = Duration::from_mins(1);
const TOPIC: &str = "failover";

/// `cargo xtask failover`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Sends in flight, each waiting for its acknowledgement
    #[arg(long, default_value_t = 64, value_name = "N")]
    in_flight: usize,
    /// Seconds under load before the failure, and again after the broker has returned
    #[arg(long, default_value_t = 5, value_name = "N")]
    calm: u64,
    /// Seconds the broker is away
    #[arg(long, default_value_t = 10, value_name = "N")]
    away: u64,
    /// Without Apache's brokers (then neither Java nor Maven is needed)
    #[arg(long)]
    without_apache: bool,
    /// Use this binary instead of building `rocketry`
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Build `rocketry` with optimisation
    #[arg(long)]
    release: bool,
    /// Where all figures go, as JSON
    #[arg(long, default_value = "target/failover.json", value_name = "FILE")]
    json: PathBuf,
}

/// Runs every scenario, prints the table, and fails if a send failed, an acknowledged message is missing, or sends took too long.
pub(crate) async fn run(options: Options) -> Result {
    let dir = root().join("target/failover-run");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    let rocketry = Rocketry::find(options.bin.clone(), options.release).await?;
    let mut systems = vec![System::Ours(rocketry)];
    if !options.without_apache {
        systems.push(System::Apache {
            class_path: apache_jars().await?,
        });
    }
    let mut outcomes = Vec::new();
    for system in &systems {
        for fault in [Fault::Kill, Fault::Stop] {
            let name = format!("{}-{}", system.name(), fault.signal());
            let dir = dir.join(&name);
            std::fs::create_dir_all(&dir)?;
            let outcome = scenario(&options, system, fault, &dir)
                .await
                .map_err(|error| format!("{name}: {error}"))?;
            output::line(format_args!("{}", outcome.line()));
            outcomes.push(outcome);
        }
    }
    let all: Vec<_> = outcomes.iter().map(Outcome::json).collect();
    let all = json!({
        "in_flight": options.in_flight,
        "calm_seconds": options.calm,
        "away_seconds": options.away,
        "optimised_client": !cfg!(debug_assertions),
        "scenarios": all,
    });
    let file = root().join(&options.json);
    std::fs::write(&file, serde_json::to_string_pretty(&all)? + "\n")?;
    output::line(format_args!(
        "\n{}\nall figures: {}",
        report::markdown(&outcomes),
        file.display()
    ));
    let faults: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.fault(P99_WHILE_AWAY))
        .collect();
    if faults.is_empty() {
        std::fs::remove_dir_all(&dir)?;
        return Ok(());
    }
    Err(faults.join("\n").into())
}

async fn scenario(options: &Options, system: &System, fault: Fault, dir: &Path) -> Result<Outcome> {
    let calm = Duration::from_secs(options.calm);
    let mut cluster = Cluster::start(system, dir).await?;
    let client = rocketry::Client::connect(cluster.namesrv()).await?;
    create_topic(&client).await?;
    let producer = client.producer("failover").await?;
    let load = Load::start(&producer, TOPIC, options.in_flight, cluster::VICTIM);
    sleep(calm).await;

    let left = load.elapsed();
    cluster.fail(fault).await?;
    sleep(Duration::from_secs(options.away)).await;
    let returned = load.elapsed();
    cluster.restore(fault).await?;
    let used_again = used_again(&load, returned).await?;
    sleep(calm).await;

    let samples = load.finish().await;
    let stored = stored(&client, samples.len()).await?;
    client.shutdown(Duration::from_secs(3)).await;
    cluster.end().await?;
    Ok(Outcome::new(
        system.name(),
        fault,
        samples,
        (left, returned),
        used_again,
        stored,
    ))
}

/// Creates the topic on both brokers, as soon as both are registered: created by a first send it would be on one of them.
async fn create_topic(client: &rocketry::Client) -> Result {
    const REGISTER: Duration = Duration::from_mins(1);
    let end = Instant::now() + REGISTER;
    let admin = client.admin();
    loop {
        let known = admin
            .cluster_info()
            .await
            .map(|info| info.broker_addr_table.len());
        if known.as_ref().is_ok_and(|known| *known == 2) {
            break;
        }
        if Instant::now() >= end {
            return Err(
                format!("two brokers are not registered after {REGISTER:?}: {known:?}").into(),
            );
        }
        sleep(Duration::from_millis(200)).await;
    }
    admin
        .create_topic(TOPIC, &rocketry::TopicOptions::default())
        .await?;
    loop {
        let queues = admin.publish_queues(TOPIC).await.unwrap_or_default();
        let brokers: HashSet<_> = queues.iter().map(|queue| &queue.broker_name).collect();
        if brokers.len() == 2 {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(
                format!("the topic is not on two brokers after {REGISTER:?}: {brokers:?}").into(),
            );
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the broker that was away takes messages again; returns how long that took.
async fn used_again(load: &Load, returned: Duration) -> Result<Duration> {
    let end = Instant::now() + USED_AGAIN;
    loop {
        if let Some(at) = load.victim_acknowledged_after(returned) {
            return Ok(at.saturating_sub(returned));
        }
        if Instant::now() >= end {
            return Err(format!("the broker is not used {USED_AGAIN:?} after its return").into());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// How often each message is stored, by its number; everything is read back.
async fn stored(client: &rocketry::Client, sent: usize) -> Result<Vec<u8>> {
    const QUIET: Duration = Duration::from_secs(10);
    let mut expected = 0;
    for queue in client.admin().topic_stats(TOPIC).await? {
        expected += queue.max_offset - queue.min_offset;
    }
    let mut reader = client.reader(TOPIC).await?;
    let mut stored = vec![0_u8; sent];
    let mut read = 0;
    while read < expected {
        let batch = reader.next_batch(QUIET).await?;
        if batch.is_empty() {
            return Err(format!("{expected} messages are stored, {read} can be read").into());
        }
        for message in batch {
            read += 1;
            let number = load::number(&message.body);
            let times = number
                .and_then(|number| stored.get_mut(number))
                .ok_or_else(|| format!("a message that was never sent: {message:?}"))?;
            *times = times.saturating_add(1);
        }
    }
    Ok(stored)
}
