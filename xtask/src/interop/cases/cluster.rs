//! Three brokers of ours as one cluster of masters, for Java's clients.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Case;
use crate::Result;
use crate::interop::apache::registered;
use crate::interop::driver::{Ack, Reader};
use crate::interop::text::bodies;
use crate::interop::world::World;
use crate::interop::{NameServer, Serve, ServeOptions};

const NAMES: [&str; 3] = ["master-a", "master-b", "master-c"];
/// The one that is killed.
const VICTIM: usize = 1;
/// Time for the first message to reach the victim.
const FIRST: Duration = Duration::from_mins(1);
/// The victim dies with messages behind it, and before it.
const UNTIL_KILLED: Duration = Duration::from_millis(300);
/// So many acknowledgements after the victim's last one show that the producer went on.
const WENT_ON: usize = 50;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("cluster/three-of-ours-on-our-name-server", |world| {
            Box::pin(async move {
                let dir = world.dir("three-on-ours")?;
                let options = ServeOptions {
                    role: Some("namesrv"),
                    ..ServeOptions::default()
                };
                let (data, log) = (dir.join("namesrv"), dir.join("namesrv.log"));
                let ns = Serve::start(&world.rocketry, &data, &log, &options).await?;
                three_masters(world, &dir, &ns.namesrv).await?;
                ns.stop().await
            })
        }),
        Case::new("cluster/three-of-ours-on-apache-name-server", |world| {
            Box::pin(async move {
                let dir = world.dir("three-on-apache")?;
                let ns = NameServer::start(&world.tools.class_path, &dir.join("namesrv")).await?;
                let addr = ns.addr().to_owned();
                three_masters(world, &dir, &addr).await?;
                ns.kill().await
            })
        }),
    ]
}

async fn three_masters(world: &mut World, dir: &Path, ns: &str) -> Result {
    const TOPIC: &str = "spread";
    let mut brokers = Vec::new();
    for name in NAMES {
        brokers.push(start(world, dir, ns, name).await?);
        registered(world.driver()?, ns, name).await?;
    }
    let listed = world
        .driver()?
        .admin(&format!("clusterList -n {ns}"))
        .await?;
    let rows = listed.lines().filter(|line| line.contains("master-"));
    if rows.count() != NAMES.len() {
        return Err(format!("mqadmin does not list three brokers:\n{listed}").into());
    }
    world
        .driver()?
        .admin(&format!(
            "updateTopic -n {ns} -c DefaultCluster -t {TOPIC} -r 4 -w 4"
        ))
        .await?;

    let victim = brokers.remove(VICTIM);
    let first = dir.join(NAMES[VICTIM]).join("consumequeue").join(TOPIC);
    let (text, sent) = (world.text.clone(), world.lines.clone());
    let (acks, killed) = tokio::join!(
        world.driver()?.produce(ns, TOPIC, "sync", &text),
        kill_when_used(victim, first)
    );
    killed?;
    let acks = acks.map_err(|error| format!("the producer did not go on: {error}"))?;
    went_on(&acks)?;

    // What the living acknowledged is there, while the victim is away.
    let received = world
        .driver()?
        .consume(Reader::Pull, ns, TOPIC, sent.len())
        .await?;
    let received = counted(bodies(&received));
    let of_living = acks.iter().zip(&sent);
    let of_living = of_living.filter(|(ack, _)| ack.broker != NAMES[VICTIM]);
    contains(&received, of_living.map(|(_, body)| body), "the living")?;

    // The process died, the machine did not: its acknowledged messages are back with it.
    let revived = start(world, dir, ns, NAMES[VICTIM]).await?;
    registered(world.driver()?, ns, NAMES[VICTIM]).await?;
    let received = world
        .driver()?
        .consume(Reader::Pull, ns, TOPIC, sent.len())
        .await?;
    contains(&counted(bodies(&received)), sent.iter(), "all three")?;
    for broker in brokers.into_iter().chain([revived]) {
        broker.stop().await?;
    }
    Ok(())
}

async fn start(world: &World, dir: &Path, ns: &str, name: &str) -> Result<Serve> {
    let options = ServeOptions {
        role: Some("broker"),
        namesrv: Some(ns.to_owned()),
        broker_name: Some(name.to_owned()),
        ..ServeOptions::default()
    };
    let log = dir.join(format!("{name}.log"));
    Serve::start(&world.rocketry, &dir.join(name), &log, &options).await
}

async fn kill_when_used(victim: Serve, used: PathBuf) -> Result {
    let end = Instant::now() + FIRST;
    while !used.exists() {
        if Instant::now() > end {
            return Err(format!("no message reached the victim within {FIRST:?}").into());
        }
        sleep(Duration::from_millis(10)).await;
    }
    sleep(UNTIL_KILLED).await;
    victim.kill().await
}

/// Messages were spread over the three, and over the two that were left.
fn went_on(acks: &[Ack]) -> Result {
    let used: BTreeSet<_> = acks.iter().map(|ack| ack.broker.as_str()).collect();
    if used != BTreeSet::from(NAMES) {
        return Err(format!("the messages went to {used:?}, not to all of {NAMES:?}").into());
    }
    let is_victim = |ack: &Ack| ack.broker == NAMES[VICTIM];
    let last = acks.iter().rposition(is_victim).unwrap_or_default();
    let after: BTreeSet<_> = acks.iter().skip(last + 1).map(|ack| &ack.broker).collect();
    if acks.len() - last <= WENT_ON || after.len() != NAMES.len() - 1 {
        return Err(format!(
            "after the victim's last acknowledgement, {} of {}, only {after:?} were used",
            last + 1,
            acks.len()
        )
        .into());
    }
    Ok(())
}

fn counted<B: AsRef<[u8]>>(bodies: Vec<B>) -> BTreeMap<Vec<u8>, usize> {
    let mut counts = BTreeMap::new();
    for body in bodies {
        *counts.entry(body.as_ref().to_vec()).or_default() += 1;
    }
    counts
}

/// A send that failed on the victim may be there twice, so that all of every queue has to be read; none may be missing.
fn contains<'a>(
    received: &BTreeMap<Vec<u8>, usize>,
    wanted: impl Iterator<Item = &'a Vec<u8>>,
    whose: &str,
) -> Result {
    let wanted = counted(wanted.collect());
    let missing = wanted
        .iter()
        .filter(|(body, count)| received.get(*body).copied().unwrap_or_default() < **count)
        .count();
    if missing > 0 {
        return Err(format!(
            "{missing} of {} bodies acknowledged by {whose} are missing",
            wanted.len()
        )
        .into());
    }
    Ok(())
}
