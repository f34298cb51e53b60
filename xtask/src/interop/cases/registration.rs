//! Brokers that register with the other side's name server.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Case;
use crate::Result;
use crate::interop::apache::registered;
use crate::interop::driver::Reader;
use crate::interop::text::{bodies, lines, same_lines};
use crate::interop::world::World;
use crate::interop::{BrokerConfig, NameServer, Serve, ServeOptions};

/// A broker that leaves tells its name server; without that it would be listed for two minutes more.
const LEAVE: Duration = Duration::from_secs(10);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("registration/apache-broker-with-our-name-server", |world| {
            Box::pin(apache_with_ours(world))
        }),
        Case::new("registration/our-broker-with-apache-name-server", |world| {
            Box::pin(ours_with_apache(world))
        }),
    ]
}

/// S-013: our name server holds two brokers, ours and Apache's; clients of both kinds use both brokers through it.
async fn apache_with_ours(world: &mut World) -> Result {
    let dir = world.dir("apache-with-ours")?;
    let serve = Serve::start(
        &world.rocketry,
        &dir.join("data"),
        &dir.join("serve.log"),
        &ServeOptions::default(),
    )
    .await?;
    let ns = serve.namesrv.clone();
    let config = BrokerConfig {
        store: dir.join("store"),
        commit_log_file_bytes: 4 * 1024 * 1024,
        heap_mib: 256,
        ..BrokerConfig::new(&ns, "broker-apache", "DefaultCluster")
    };
    let broker = world.start_broker(&dir.join("broker"), &config).await?;
    let text = world.text.clone();
    let acks = world.driver()?.produce(&ns, "both", "sync", &text).await?;
    let brokers: BTreeSet<_> = acks.iter().map(|ack| ack.broker.as_str()).collect();
    if brokers != BTreeSet::from(["broker-a", "broker-apache"]) {
        return Err(format!("the messages went to {brokers:?}, not to both brokers").into());
    }
    let sent = world.lines.clone();
    let ours = world
        .rocketry
        .consume(&ns, "both", sent.len(), "raw")
        .await?;
    same_lines(&sent, &lines(&ours).collect::<Vec<_>>())?;
    let java = world
        .driver()?
        .consume(Reader::Pull, &ns, "both", sent.len())
        .await?;
    same_lines(&sent, &bodies(&java))?;
    let addr = broker.addr().to_owned();
    broker.stop().await?;
    gone(world, &ns, &addr).await?;
    serve.stop().await
}

/// Apache's name server holds our broker.
async fn ours_with_apache(world: &mut World) -> Result {
    let dir = world.dir("ours-with-apache")?;
    let name_server = NameServer::start(&world.tools.class_path, &dir.join("namesrv")).await?;
    let ns = name_server.addr().to_owned();
    let options = ServeOptions {
        namesrv: Some(ns.clone()),
        broker_name: Some("broker-ours".to_owned()),
        ..ServeOptions::default()
    };
    let serve = Serve::start(
        &world.rocketry,
        &dir.join("data"),
        &dir.join("serve.log"),
        &options,
    )
    .await?;
    registered(world.driver()?, &ns, "broker-ours").await?;
    let (text, sent) = (world.text.clone(), world.lines.clone());
    world.driver()?.produce(&ns, "one", "sync", &text).await?;
    let ours = world
        .rocketry
        .consume(&ns, "one", sent.len(), "raw")
        .await?;
    same_lines(&sent, &lines(&ours).collect::<Vec<_>>())?;
    world.rocketry.send_file(&ns, "two", &text, "async").await?;
    let java = world
        .driver()?
        .consume(Reader::Pull, &ns, "two", sent.len())
        .await?;
    same_lines(&sent, &bodies(&java))?;
    let addr = serve.broker.clone();
    serve.stop().await?;
    gone(world, &ns, &addr).await?;
    name_server.kill().await
}

/// Waits until the name server at `ns` does not list the broker at `addr` any more.
async fn gone(world: &mut World, ns: &str, addr: &str) -> Result {
    let end = Instant::now() + LEAVE;
    loop {
        let listed = world
            .driver()?
            .admin(&format!("clusterList -n {ns}"))
            .await?;
        if !listed.contains(addr) {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(format!(
                "{addr} stopped but {ns} still lists it after {LEAVE:?}:\n{listed}"
            )
            .into());
        }
        sleep(Duration::from_millis(200)).await;
    }
}
