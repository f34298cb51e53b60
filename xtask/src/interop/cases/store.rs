//! A store directory that changes hands: written by one broker, opened by the other, after a clean stop and after a kill.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Case;
use crate::Result;
use crate::interop::driver::Reader;
use crate::interop::text::{Received, bodies, lines, same_lines, unbroken_queues};
use crate::interop::world::World;
use crate::interop::{Broker, BrokerConfig, NameServer, Serve, ServeOptions};
use crate::process::run_ok;

const TOPIC: &str = "store_text";
const BATCH_TOPIC: &str = "store_batch";
const COMPRESSED_TOPIC: &str = "store_zlib";
/// What a look into the directory may take.
const CHECK: Duration = Duration::from_mins(1);

/// How an owner leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (end, name) in [(End::Stop, "stopped"), (End::Kill, "killed")] {
        cases.push(Case::new(
            format!("store/ours-{name}-opens-in-apache"),
            move |world| Box::pin(ours_in_apache(world, end)),
        ));
        cases.push(Case::new(
            format!("store/apache-{name}-opens-in-ours"),
            move |world| Box::pin(apache_in_ours(world, end)),
        ));
    }
    cases.push(Case::new("store/group-goes-on-in-apache", |world| {
        Box::pin(group_in_apache(world))
    }));
    cases.push(Case::new("store/group-goes-on-in-ours", |world| {
        Box::pin(group_in_ours(world))
    }));
    cases.push(Case::new("store/other-file-sizes", |world| {
        Box::pin(other_file_sizes(world))
    }));
    cases
}

/// S-122: we write, Apache opens, reads everything and appends; then we open again and read both parts.
async fn ours_in_apache(world: &mut World, end: End) -> Result {
    let dir = world.dir(&format!("ours-in-apache-{end:?}"))?;
    let data = dir.join("data");
    let (text, sent) = (world.text.clone(), world.lines.clone());
    let serve = serve(world, &dir, &data).await?;
    world
        .rocketry
        .send_file(&serve.namesrv, TOPIC, &text, "async")
        .await?;
    let ns = serve.namesrv.clone();
    world
        .driver()?
        .produce(&ns, BATCH_TOPIC, "batch", &text)
        .await?;
    match end {
        End::Stop => serve.stop().await?,
        End::Kill => serve.kill().await?,
    }

    let system = System::start(world, &dir, &data).await?;
    for topic in [TOPIC, BATCH_TOPIC] {
        let read = java_pull(world, &system.ns, topic).await?;
        same_lines(&sent, &bodies(&read))
            .map_err(|error| format!("{topic} in Apache's broker: {error}"))?;
    }
    world
        .driver()?
        .produce(&system.ns, TOPIC, "sync", &text)
        .await?;
    let read = java_pull(world, &system.ns, TOPIC).await?;
    same_lines(&twice(&sent), &bodies(&read))
        .map_err(|error| format!("after Apache's appends: {error}"))?;
    system.end(end).await?;

    let serve = self::serve(world, &dir, &data).await?;
    let read = world
        .rocketry
        .consume(&serve.namesrv, TOPIC, 2 * sent.len(), "raw")
        .await?;
    same_lines(&twice(&sent), &lines(&read).collect::<Vec<_>>())
        .map_err(|error| format!("back in ours: {error}"))?;
    serve.stop().await
}

/// S-122 the other way round: Apache writes, we open, read everything and append; then Apache opens again and reads both parts.
async fn apache_in_ours(world: &mut World, end: End) -> Result {
    let dir = world.dir(&format!("apache-in-ours-{end:?}"))?;
    let data = dir.join("data");
    let (text, sent) = (world.text.clone(), world.lines.clone());
    let system = System::start(world, &dir, &data).await?;
    for (topic, mode) in [
        (TOPIC, "sync"),
        (BATCH_TOPIC, "batch"),
        (COMPRESSED_TOPIC, "zlib"),
    ] {
        world
            .driver()?
            .produce(&system.ns, topic, mode, &text)
            .await?;
    }
    system.end(end).await?;

    let serve = serve(world, &dir, &data).await?;
    let ns = serve.namesrv.clone();
    for topic in [TOPIC, BATCH_TOPIC, COMPRESSED_TOPIC] {
        let read = world
            .rocketry
            .consume(&ns, topic, sent.len(), "raw")
            .await?;
        same_lines(&sent, &lines(&read).collect::<Vec<_>>())
            .map_err(|error| format!("{topic} in ours: {error}"))?;
    }
    world.rocketry.send_file(&ns, TOPIC, &text, "async").await?;
    let read = java_pull(world, &ns, TOPIC).await?;
    same_lines(&twice(&sent), &bodies(&read))
        .map_err(|error| format!("after our appends: {error}"))?;
    serve.stop().await?;

    let system = System::start(world, &dir, &data).await?;
    let read = java_pull(world, &system.ns, TOPIC).await?;
    same_lines(&twice(&sent), &bodies(&read))
        .map_err(|error| format!("back in Apache's broker: {error}"))?;
    system.end(End::Kill).await
}

/// A group that consumed everything on ours receives from Apache's broker only what came later.
async fn group_in_apache(world: &mut World) -> Result {
    let dir = world.dir("group-in-apache")?;
    let data = dir.join("data");
    let (text, sent) = (world.text.clone(), world.lines.clone());
    let serve = serve(world, &dir, &data).await?;
    let ns = serve.namesrv.clone();
    world.driver()?.produce(&ns, TOPIC, "async", &text).await?;
    push(world, &ns, &sent)
        .await
        .map_err(|error| format!("on ours: {error}"))?;
    serve.stop().await?;

    let system = System::start(world, &dir, &data).await?;
    world
        .driver()?
        .produce(&system.ns, TOPIC, "async", &text)
        .await?;
    push(world, &system.ns, &sent)
        .await
        .map_err(|error| format!("on Apache's broker: {error}"))?;
    system.end(End::Kill).await
}

/// The other way round.
async fn group_in_ours(world: &mut World) -> Result {
    let dir = world.dir("group-in-ours")?;
    let data = dir.join("data");
    let (text, sent) = (world.text.clone(), world.lines.clone());
    let system = System::start(world, &dir, &data).await?;
    world
        .driver()?
        .produce(&system.ns, TOPIC, "async", &text)
        .await?;
    push(world, &system.ns, &sent)
        .await
        .map_err(|error| format!("on Apache's broker: {error}"))?;
    system.end(End::Stop).await?;

    let serve = serve(world, &dir, &data).await?;
    let ns = serve.namesrv.clone();
    world.driver()?.produce(&ns, TOPIC, "async", &text).await?;
    push(world, &ns, &sent)
        .await
        .map_err(|error| format!("on ours: {error}"))?;
    serve.stop().await
}

/// S-119: Apache's broker does not open our directory with other file sizes than it was written with, and does with those that
/// `rocketry store check` prints.
async fn other_file_sizes(world: &mut World) -> Result {
    let dir = world.dir("other-file-sizes")?;
    let (data, conf) = (dir.join("data"), dir.join("broker.conf"));
    let written = [
        "mappedFileSizeCommitLog=4194304",
        "mappedFileSizeConsumeQueue=120000",
    ];
    std::fs::write(&conf, written.join("\n"))?;
    let options = ServeOptions {
        config: Some(conf),
        ..ServeOptions::default()
    };
    let serve = Serve::start(&world.rocketry, &data, &dir.join("serve.log"), &options).await?;
    let (text, sent) = (world.text.clone(), world.lines.clone());
    world
        .rocketry
        .send_file(&serve.namesrv, TOPIC, &text, "async")
        .await?;
    serve.stop().await?;

    let mut check = world.rocketry.command();
    check.args(["store", "check"]).arg(&data);
    let printed = run_ok(&mut check, CHECK).await?.stdout;
    let printed = String::from_utf8(printed)?;
    let sizes: Vec<_> = printed.lines().map(str::trim).collect();
    if let Some(missing) = written.iter().find(|line| !sizes.contains(line)) {
        return Err(format!("the check does not print {missing}:\n{printed}").into());
    }
    let sizes = sizes.into_iter().filter(|line| line.contains('='));
    let name_server = NameServer::start(&world.tools.class_path, &dir.join("namesrv")).await?;
    let ns = name_server.addr().to_owned();
    let other = BrokerConfig {
        store: data.clone(),
        commit_log_file_bytes: 2 * 1024 * 1024,
        ..BrokerConfig::new(&ns, "broker-a", "DefaultCluster")
    };
    match Broker::start(&world.tools.class_path, &dir.join("other"), &other).await {
        Err(error) if error.to_string().contains("ended before it printed") => {}
        Err(error) => return Err(error),
        Ok(broker) => {
            broker.kill().await?;
            return Err("Apache's broker opens a log of other file sizes".into());
        }
    }
    let printed = BrokerConfig {
        more: sizes.map(str::to_owned).collect(),
        ..other
    };
    let broker = world.start_broker(&dir.join("printed"), &printed).await?;
    same_lines(&sent, &bodies(&java_pull(world, &ns, TOPIC).await?))?;
    broker.kill().await?;
    name_server.kill().await
}

/// One push consumer of the topic's group reads exactly `expected`, and commits that: a group that began anew would be given older
/// lines first.
async fn push(world: &mut World, ns: &str, expected: &[Vec<u8>]) -> Result {
    let read = world
        .driver()?
        .consume(Reader::Push, ns, TOPIC, expected.len())
        .await?;
    let ends = unbroken_queues(&read)?;
    same_lines(expected, &bodies(&read))?;
    world.all_committed(ns, TOPIC, &ends).await
}

async fn java_pull(world: &mut World, ns: &str, topic: &str) -> Result<Vec<Received>> {
    let count = world.lines.len();
    let read = world
        .driver()?
        .consume(Reader::Pull, ns, topic, count)
        .await?;
    unbroken_queues(&read)?;
    Ok(read)
}

fn twice(lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
    [lines, lines].concat()
}

async fn serve(world: &World, dir: &Path, data: &Path) -> Result<Serve> {
    Serve::start(
        &world.rocketry,
        data,
        &dir.join("serve.log"),
        &ServeOptions::default(),
    )
    .await
}

/// Apache's name server and broker over a given directory.
struct System {
    broker: Broker,
    name_server: NameServer,
    ns: String,
}

impl System {
    async fn start(world: &mut World, dir: &Path, store: &Path) -> Result<Self> {
        let name_server = NameServer::start(&world.tools.class_path, &dir.join("namesrv")).await?;
        let ns = name_server.addr().to_owned();
        let config = BrokerConfig {
            store: store.to_owned(),
            commit_log_file_bytes: commit_log_file_bytes(store)?.unwrap_or(1024 * 1024),
            heap_mib: 384,
            ..BrokerConfig::new(&ns, "broker-a", "DefaultCluster")
        };
        let broker = world.start_broker(&dir.join("broker"), &config).await?;
        Ok(Self {
            broker,
            name_server,
            ns,
        })
    }

    /// Java takes 20 s to stop; where nobody reads its store afterwards it is killed.
    async fn end(self, end: End) -> Result {
        match end {
            End::Stop => self.broker.stop().await?,
            End::Kill => self.broker.kill().await?,
        }
        self.name_server.kill().await
    }
}

/// The size of the commit log's files in an existing store: Java refuses to open a store with another size configured.
fn commit_log_file_bytes(store: &Path) -> Result<Option<u64>> {
    let dir: PathBuf = store.join("commitlog");
    if !dir.is_dir() {
        return Ok(None);
    }
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            sizes.push(entry.metadata()?.len());
        }
    }
    Ok(sizes.into_iter().max())
}
