//! A real text, sent line by line in every mode and read back by every consumer.

use super::Case;
use crate::Result;
use crate::interop::driver::Reader;
use crate::interop::text::{bodies, lines, same_lines, unbroken_queues};
use crate::interop::world::{Target, World};

const MODES: [&str; 3] = ["sync", "async", "oneway"];

/// `apache/…` proves the harness with Apache's parts alone; `text/<target>/<mode>/<reader>` are ours.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for reader in [Reader::Pull, Reader::LitePull, Reader::Push] {
        cases.push(Case::new(
            format!("apache/java-sync/java-{}", reader.verb()),
            move |world| Box::pin(apache_alone(world, reader)),
        ));
    }
    for (target, name) in [(Target::Ours, "ours"), (Target::Apache, "apache")] {
        for mode in MODES {
            cases.push(Case::new(
                format!("text/{name}/{mode}/rocketry-consume"),
                move |world| Box::pin(ours_reads(world, target, mode)),
            ));
            for reader in [Reader::Pull, Reader::LitePull, Reader::Push] {
                cases.push(Case::new(
                    format!("text/{name}/{mode}/java-{}", reader.verb()),
                    move |world| Box::pin(java_reads(world, target, mode, reader)),
                ));
            }
        }
    }
    for mode in MODES {
        cases.push(Case::new(
            format!("text/apache-4.9.7/{mode}/java-pull"),
            move |world| Box::pin(old_java_reads(world, mode)),
        ));
    }
    cases
}

async fn apache_alone(world: &mut World, reader: Reader) -> Result {
    let ns = world.namesrv(Target::Apache).await?;
    let topic = format!("harness_{}", reader.verb());
    let (text, lines) = (world.text.clone(), world.lines.clone());
    let driver = world.driver()?;
    let acks = driver.produce(&ns, &topic, "sync", &text).await?;
    if acks.len() != lines.len() {
        return Err(format!("{} of {} sends acknowledged", acks.len(), lines.len()).into());
    }
    let read = driver.consume(reader, &ns, &topic, lines.len()).await?;
    unbroken_queues(&read)?;
    same_lines(&lines, &bodies(&read))
}

fn topic(mode: &str) -> String {
    format!("text_{mode}")
}

async fn ours_reads(world: &mut World, target: Target, mode: &str) -> Result {
    let topic = topic(mode);
    let ns = world.sent(target, &topic, mode).await?;
    let read = world
        .rocketry
        .consume(&ns, &topic, world.lines.len(), "raw")
        .await?;
    same_lines(&world.lines, &lines(&read).collect::<Vec<_>>())
}

async fn java_reads(world: &mut World, target: Target, mode: &str, reader: Reader) -> Result {
    let topic = topic(mode);
    let ns = world.sent(target, &topic, mode).await?;
    let sent = world.lines.clone();
    let read = world
        .driver()?
        .consume(reader, &ns, &topic, sent.len())
        .await?;
    unbroken_queues(&read)?;
    same_lines(&sent, &bodies(&read))
}

/// All of it is of the older release, the consumer too.
async fn old_java_reads(world: &mut World, mode: &str) -> Result {
    let topic = topic(mode);
    let ns = world.sent(Target::Apache4, &topic, mode).await?;
    let sent = world.lines.clone();
    let driver = world.driver_4()?;
    let read = driver
        .consume(Reader::Pull, &ns, &topic, sent.len())
        .await?;
    unbroken_queues(&read)?;
    same_lines(&sent, &bodies(&read))
}
