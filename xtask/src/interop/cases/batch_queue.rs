//! A topic whose queues hold a whole batch per unit, attribute `queue.type=BatchCQ`, used by Java's clients and opened by Apache's broker.

use super::Case;
use crate::Result;
use crate::interop::driver::Reader;
use crate::interop::text::{bodies, lines, same_lines, unbroken_queues};
use crate::interop::world::World;
use crate::interop::{BrokerConfig, NameServer, Serve, ServeOptions};
use crate::process::run_ok;

const TOPIC: &str = "batch_queue";
/// What `rocketry serve` gives its commit log, and Apache's broker has to be told.
const COMMIT_LOG_FILE_BYTES: u64 = 1 << 30;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("batch-queue/java-on-ours-then-apache", |world| {
        Box::pin(batch_queue(world))
    })]
}

/// S-029: Java's producer sends batches to our server, each is one record, and Java's consumers and ours receive every message. Then
/// Apache's broker opens the directory, serves the same, and takes more; and then ours again.
async fn batch_queue(world: &mut World) -> Result {
    let dir = world.dir("batch-queue")?;
    let (data, log) = (dir.join("data"), dir.join("serve.log"));
    let (text, sent) = (world.text.clone(), world.lines.clone());
    let options = ServeOptions::default();
    let serve = Serve::start(&world.rocketry, &data, &log, &options).await?;
    let ns = serve.namesrv.clone();
    let create = format!(
        "updateTopic -n {ns} -b {} -t {TOPIC} -r 4 -w 4 -a +queue.type=BatchCQ",
        serve.broker
    );
    world.driver()?.admin(&create).await?;
    let acks = world.driver()?.produce(&ns, TOPIC, "batch", &text).await?;
    read_everywhere(world, &ns, &sent).await?;
    serve.stop().await?;

    let mut check = world.rocketry.command();
    check
        .args(["store", "check", "--output", "json"])
        .arg(&data);
    let check = run_ok(&mut check, std::time::Duration::from_mins(1)).await?;
    let found = String::from_utf8_lossy(&check.stdout).into_owned();
    let records = format!("\"records\":{}", acks.len());
    if !found
        .split_whitespace()
        .collect::<String>()
        .contains(&records)
    {
        return Err(format!("{} batches, and the check says {found}", acks.len()).into());
    }

    let name_server = NameServer::start(&world.tools.class_path, &dir.join("namesrv")).await?;
    let ns = name_server.addr().to_owned();
    let config = BrokerConfig {
        store: data.clone(),
        commit_log_file_bytes: COMMIT_LOG_FILE_BYTES,
        heap_mib: 384,
        ..BrokerConfig::new(&ns, "broker-a", "DefaultCluster")
    };
    let broker = world.start_broker(&dir.join("broker"), &config).await?;
    read_everywhere(world, &ns, &sent)
        .await
        .map_err(|error| format!("on Apache's broker: {error}"))?;
    world.driver()?.produce(&ns, TOPIC, "batch", &text).await?;
    broker.stop().await?;
    name_server.kill().await?;

    let serve = Serve::start(&world.rocketry, &data, &log, &options).await?;
    let twice = [sent.clone(), sent].concat();
    read_everywhere(world, &serve.namesrv, &twice)
        .await
        .map_err(|error| format!("back on ours: {error}"))?;
    serve.stop().await
}

/// Our client and Java's pull consumer receive `expected`, in unbroken queues.
async fn read_everywhere(world: &mut World, ns: &str, expected: &[Vec<u8>]) -> Result {
    let ours = world
        .rocketry
        .consume(ns, TOPIC, expected.len(), "raw")
        .await?;
    same_lines(expected, &lines(&ours).collect::<Vec<_>>())
        .map_err(|error| format!("our client: {error}"))?;
    let java = world
        .driver()?
        .consume(Reader::Pull, ns, TOPIC, expected.len())
        .await?;
    unbroken_queues(&java)?;
    same_lines(expected, &bodies(&java)).map_err(|error| format!("Java's client: {error}").into())
}
