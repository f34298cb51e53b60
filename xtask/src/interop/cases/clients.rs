//! Foreign producers and tools against our server.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::process::Command;

use super::Case;
use crate::Result;
use crate::interop::driver::{Ack, read_acks};
use crate::interop::text::{lines, same_lines};
use crate::interop::world::{Target, World};
use crate::process::Running;

const JAVA_MODES: [&str; 7] = ["sync", "async", "oneway", "batch", "zlib", "lz4", "zstd"];
const GO_MODES: [&str; 3] = ["sync", "async", "oneway"];
const GO: Duration = Duration::from_mins(2);
/// Java makes a buffer of 4 MiB for each LZ4 body: the whole text would take half a minute.
const JAVA_LZ4_LINES: usize = 1_000;
/// As `interop/java/Produce.java` groups messages.
const JAVA_BATCH: usize = 50;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in JAVA_MODES {
        cases.push(Case::new(
            format!("clients/java-{mode}/rocketry-consume"),
            move |world| Box::pin(java_produces(world, mode)),
        ));
    }
    for mode in GO_MODES {
        cases.push(Case::new(
            format!("clients/go-{mode}/rocketry-consume"),
            move |world| Box::pin(go_produces(world, mode)),
        ));
    }
    cases.push(Case::new("mqadmin/topicList", |world| {
        Box::pin(topic_list(world))
    }));
    cases.push(Case::new("mqadmin/topicRoute", |world| {
        Box::pin(topic_route(world))
    }));
    cases.push(Case::new("mqadmin/clusterList", |world| {
        Box::pin(cluster_list(world))
    }));
    cases
}

async fn java_produces(world: &mut World, mode: &str) -> Result {
    let ns = world.namesrv(Target::Ours).await?;
    let topic = format!("java_{mode}");
    let text = world.text.clone();
    let count = if mode == "lz4" {
        JAVA_LZ4_LINES
    } else {
        world.lines.len()
    };
    let acks = world
        .driver()?
        .produce_first(count, &ns, &topic, mode, &text)
        .await?;
    let expected = match mode {
        "oneway" => 0,
        "batch" => count.div_ceil(JAVA_BATCH),
        _ => count,
    };
    acknowledged(&acks, expected, mode != "batch")?;
    read_back(world, &ns, &topic, mode, count).await
}

async fn go_produces(world: &mut World, mode: &str) -> Result {
    let ns = world.namesrv(Target::Ours).await?;
    let topic = format!("go_{mode}");
    let dir = world.dir("go")?;
    let acks = dir.join(format!("acks-{mode}.tsv"));
    let mut command = Command::new(&world.tools.go_driver);
    command.args(["-ns", &ns, "-topic", &topic, "-mode", mode, "-file"]);
    command.arg(&world.text).arg("-acks").arg(&acks);
    let mut driver = Running::start("go driver", &mut command, dir.join("driver.log"))?;
    driver.line_with("sent", GO).await?;
    let expected = if mode == "oneway" {
        0
    } else {
        world.lines.len()
    };
    acknowledged(&read_acks(&acks)?, expected, true)?;
    read_back(world, &ns, &topic, mode, world.lines.len()).await?;
    driver.finish().await
}

/// Every acknowledgement names a place of its own, and the places of a queue are 0, 1, 2, …
fn acknowledged(acks: &[Ack], expected: usize, one_message_each: bool) -> Result {
    if acks.len() != expected {
        return Err(format!("{expected} acknowledgements expected, {} came", acks.len()).into());
    }
    let mut places: Vec<_> = acks
        .iter()
        .map(|ack| (&ack.broker, ack.queue_id, ack.queue_offset))
        .collect();
    places.sort_unstable();
    let mut previous: Option<(&String, i32, i64)> = None;
    for place in places {
        let next = match previous {
            Some((broker, queue_id, offset)) if (broker, queue_id) == (place.0, place.1) => {
                if one_message_each && place.2 != offset + 1 || place.2 <= offset {
                    return Err(
                        format!("after {broker} {queue_id} {offset} comes {place:?}").into(),
                    );
                }
                place
            }
            _ if place.2 == 0 => place,
            _ => {
                return Err(
                    format!("the first acknowledged offset of a new queue is {place:?}").into(),
                );
            }
        };
        previous = Some(next);
    }
    Ok(())
}

/// Each of the first `count` lines is read back once, with its body, tag and key.
async fn read_back(world: &World, ns: &str, topic: &str, mode: &str, count: usize) -> Result {
    let read = world.rocketry.consume(ns, topic, count, "jsonl").await?;
    let sent = world.lines.get(..count).unwrap_or(&world.lines);
    let mut bodies = Vec::new();
    for line in lines(&read) {
        let message = Message::parse(line)?;
        let line = sent
            .get(message.number)
            .ok_or_else(|| format!("no line has the key of {message:?}"))?;
        if (&message.body, message.tag.as_str()) != (line, &format!("tag-{mode}")) {
            return Err(format!(
                "line {} was sent, {message:?} came back",
                String::from_utf8_lossy(line)
            )
            .into());
        }
        bodies.push(message.body);
    }
    same_lines(sent, &bodies)
}

/// One line of `consume --output jsonl`, as far as a foreign producer set it.
#[derive(Debug)]
struct Message {
    tag: String,
    /// The drivers number the messages by their key.
    number: usize,
    body: Vec<u8>,
}

impl Message {
    fn parse(line: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(line)?;
        let shown = || format!("not a message of a driver: {value}");
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let key = value
            .get("keys")
            .and_then(|keys| keys.as_str().or_else(|| keys.get(0)?.as_str()));
        let body = match (text("body"), text("body_base64")) {
            (Some(body), _) => body.as_bytes().to_vec(),
            (None, Some(body)) => STANDARD.decode(body).map_err(|error| error.to_string())?,
            (None, None) => return Err(shown().into()),
        };
        Ok(Self {
            tag: text("tags").ok_or_else(shown)?.to_owned(),
            number: key
                .and_then(|key| key.strip_prefix("key-"))
                .ok_or_else(shown)?
                .parse()?,
            body,
        })
    }
}

async fn topic_list(world: &mut World) -> Result {
    let ns = world.sent(Target::Ours, "text_sync", "sync").await?;
    let printed = world.driver()?.admin(&format!("topicList -n {ns}")).await?;
    contains_all(&printed, &["text_sync", "TBW102"])
}

async fn topic_route(world: &mut World) -> Result {
    let ns = world.sent(Target::Ours, "text_sync", "sync").await?;
    let broker = world.broker_of_ours()?;
    let printed = world
        .driver()?
        .admin(&format!("topicRoute -n {ns} -t text_sync"))
        .await?;
    contains_all(
        &printed,
        &[
            "broker-a",
            "DefaultCluster",
            &broker,
            "readQueueNums",
            "writeQueueNums",
        ],
    )
}

async fn cluster_list(world: &mut World) -> Result {
    let ns = world.namesrv(Target::Ours).await?;
    let broker = world.broker_of_ours()?;
    let printed = world
        .driver()?
        .admin(&format!("clusterList -n {ns}"))
        .await?;
    // The line holds cluster, name, id, address and version; the version comes from the broker's runtime information.
    contains_all(&printed, &["DefaultCluster", "broker-a", &broker, "V5_5_0"])
}

fn contains_all(printed: &str, wanted: &[&str]) -> Result {
    for text in wanted {
        if !printed.contains(text) {
            return Err(format!("mqadmin does not print `{text}` but:\n{printed}").into());
        }
    }
    Ok(())
}
