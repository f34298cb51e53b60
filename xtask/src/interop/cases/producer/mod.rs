//! What our producer sends to Apache's broker, judged by Java's clients and tools.
//!
//! The doc comment of a case names the line of the acceptance list that it shows.

mod admin;
mod messages;
mod names;
mod replies;
pub(super) mod secured;
mod timing;
mod trace;
mod transactions;

use std::collections::BTreeMap;
use std::time::Duration;

use rocketry::{Producer, SendResult};
use tokio::time::{Instant, sleep};

use super::{Case, Running};
use crate::Result;
use crate::interop::driver::Driver;
use crate::interop::text::Dumped;
use crate::interop::world::{Target, World};

/// What a busy machine may take to hand over messages that are stored already.
const SOON: Duration = Duration::from_secs(20);
const GROUP: &str = "interop";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = messages::cases();
    cases.extend(timing::cases());
    cases.extend(admin::cases());
    cases.extend(transactions::cases());
    cases.extend(replies::cases());
    cases.extend(names::cases());
    cases.extend(trace::cases());
    cases.extend(secured::cases());
    cases
}

/// One case against each of `targets`.
fn on(
    cases: &mut Vec<Case>,
    targets: &[Target],
    name: &str,
    run: impl for<'a> Fn(&'a mut World, Target) -> Running<'a> + Copy + 'static,
) {
    for &target in targets {
        let version = match target {
            Target::Ours => "ours",
            Target::Apache => "5.5.0",
            Target::Apache4 => "4.9.7",
        };
        cases.push(Case::new(
            format!("producer/{version}/{name}"),
            move |world| run(world, target),
        ));
    }
}

async fn producer(world: &mut World, target: Target) -> Result<Producer> {
    Ok(world.client(target).await?.producer(GROUP).await?)
}

/// Reads `topic` with the Java client of the target's release.
async fn dump(
    world: &mut World,
    target: Target,
    topic: &str,
    count: usize,
    wait: Duration,
) -> Result<Vec<Dumped>> {
    let ns = world.namesrv(target).await?;
    driver(world, target)?.dump(&ns, topic, count, wait).await
}

/// The Java client of the target's release.
fn driver(world: &mut World, target: Target) -> Result<&mut Driver> {
    match target {
        Target::Apache4 => world.driver_4(),
        Target::Ours | Target::Apache => world.driver(),
    }
}

/// The only message of `topic`.
async fn dump_one(world: &mut World, target: Target, topic: &str) -> Result<Dumped> {
    let mut read = dump(world, target, topic, 1, SOON).await?;
    match (read.pop(), read.len()) {
        (Some(message), 0) => Ok(message),
        (_, more) => Err(format!("one message was sent to {topic}, Java reads {more} more").into()),
    }
}

/// What is stored by message id.
fn by_id(messages: Vec<Dumped>) -> BTreeMap<String, Dumped> {
    messages
        .into_iter()
        .map(|message| (message.text("msg_id").to_owned(), message))
        .collect()
}

/// Fails unless `message` lies where `result` says.
fn is_at(result: &SendResult, message: &Dumped) -> Result {
    let told = (
        result.msg_id.as_str(),
        result.offset_msg_id.as_str(),
        &*result.queue.broker_name,
        i64::from(result.queue.queue_id),
        result.queue_offset,
    );
    let found = (
        message.text("msg_id"),
        message.text("offset_msg_id"),
        message.text("broker"),
        message.number("queue_id"),
        message.number("queue_offset"),
    );
    same("place of the message", &told, &found)
}

/// Fails unless both are equal.
fn same<E: std::fmt::Debug + PartialEq<F>, F: std::fmt::Debug>(
    what: &str,
    expected: &E,
    found: &F,
) -> Result {
    if expected == found {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, found {found:?}").into())
}

/// Asks mqadmin until what it prints has `wanted`: the broker's index is a moment behind its log.
async fn mqadmin_prints(world: &mut World, args: &str, wanted: &[&str]) -> Result<String> {
    let end = Instant::now() + SOON;
    loop {
        let printed = world.driver()?.admin(args).await?;
        let missing = wanted.iter().find(|text| !printed.contains(**text));
        match missing {
            None => return Ok(printed),
            Some(text) if Instant::now() >= end => {
                return Err(
                    format!("mqadmin {args} does not print `{text}` but:\n{printed}").into(),
                );
            }
            Some(_) => sleep(Duration::from_millis(300)).await,
        }
    }
}
