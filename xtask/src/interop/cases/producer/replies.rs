//! Requests and replies, with Java on either side.

use rocketry::{Client, Message, TopicOptions, property};
use tokio::task::JoinHandle;

use super::{SOON, driver, on, producer, same};
use crate::Result;
use crate::interop::cases::Case;
use crate::interop::text::Dumped;
use crate::interop::world::{Target, World};

const BOTH: [Target; 2] = [Target::Apache, Target::Apache4];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    on(&mut cases, &BOTH, "request/ours-asks-ours", |w, t| {
        Box::pin(ours_asks_ours(w, t))
    });
    on(&mut cases, &BOTH, "request/java-asks-ours", |w, t| {
        Box::pin(java_asks_ours(w, t))
    });
    on(&mut cases, &BOTH, "request/ours-asks-java", |w, t| {
        Box::pin(ours_asks_java(w, t))
    });
    cases
}

/// P-113: one process asks, another one replies: the body comes back, with the request's correlation id and the time it arrived.
async fn ours_asks_ours(world: &mut World, target: Target) -> Result {
    const TOPIC: &str = "p113";
    let replier = Replier::start(world, target, TOPIC).await?;
    let namesrv = world.namesrv(target).await?;
    let mut command = world.rocketry.command();
    command.args(["request", TOPIC, "how much?", "--timeout", "20s"]);
    command.args(["--namesrv", &namesrv, "--output", "json"]);
    let reply = crate::process::run_ok(&mut command, SOON * 2).await?;
    let reply: serde_json::Value = serde_json::from_slice(&reply.stdout)?;
    let asked = replier.end().await?;
    let text = |path| reply.pointer(path).and_then(serde_json::Value::as_str);
    same("body", &Some("how much? answered by us"), &text("/body"))?;
    same(
        "correlation id",
        &asked.as_deref(),
        &text("/properties/CORRELATION_ID"),
    )?;
    if text("/properties/ARRIVE_TIME").is_none_or(|time| time.parse::<u64>().is_err()) {
        return Err(format!("no time of arrival in {reply}").into());
    }
    Ok(())
}

/// P-117: Java asks, we reply.
async fn java_asks_ours(world: &mut World, target: Target) -> Result {
    const TOPIC: &str = "p117_ours";
    let replier = Replier::start(world, target, TOPIC).await?;
    let ns = world.namesrv(target).await?;
    let options = [
        ("ns", ns.as_str()),
        ("topic", TOPIC),
        ("body", "how many?"),
        ("timeout_ms", "20000"),
    ];
    let reply = driver(world, target)?.ask("request", &options).await?;
    let reply = Dumped::parse(&reply)?;
    let asked = replier.end().await?;
    same(
        "body",
        &"how many? answered by us".as_bytes(),
        &reply.body()?,
    )?;
    same(
        "correlation id",
        &asked.as_deref(),
        &reply.property(property::CORRELATION_ID),
    )
}

/// P-117: we ask, Java replies.
async fn ours_asks_java(world: &mut World, target: Target) -> Result {
    const TOPIC: &str = "p117_java";
    create(&world.client(target).await?, TOPIC).await?;
    let ns = world.namesrv(target).await?;
    let replier = |state| [("ns", ns.as_str()), ("topic", TOPIC), ("state", state)];
    driver(world, target)?
        .ask("replier", &replier("start"))
        .await?;
    let producer = producer(world, target).await?;
    let question = Message::new(TOPIC, "how far?").key("k");
    let reply = producer.request(question).timeout(SOON).await;
    driver(world, target)?
        .ask("replier", &replier("stop"))
        .await?;
    let reply = reply?;
    same(
        "body",
        &"how far? answered by Java".as_bytes(),
        &&reply.body[..],
    )?;
    if reply.properties.get(property::CORRELATION_ID).is_none()
        || reply.properties.get(property::ARRIVE_TIME).is_none()
    {
        return Err(format!("no correlation id or time of arrival: {reply:?}").into());
    }
    Ok(())
}

/// Replies to the first request of a topic, in a task.
struct Replier {
    task: JoinHandle<Result<Option<String>>>,
}

impl Replier {
    async fn start(world: &mut World, target: Target, topic: &'static str) -> Result<Self> {
        let client = world.client(target).await?;
        create(&client, topic).await?;
        let producer = client.producer("replier").await?;
        let mut reader = client.reader(topic).await?;
        let task = tokio::spawn(async move {
            let request = loop {
                let mut batch = reader.next_batch(SOON).await?;
                if let Some(request) = batch.pop() {
                    break request;
                }
            };
            let mut body = request.body.to_vec();
            body.extend_from_slice(b" answered by us");
            producer.send(Message::reply_to(&request, body)?).await?;
            let correlation = request.properties.get(property::CORRELATION_ID);
            Ok(correlation.map(str::to_owned))
        });
        Ok(Self { task })
    }

    /// The correlation id of the request; what went wrong, if nothing came.
    async fn end(self) -> Result<Option<String>> {
        self.task.await?
    }
}

async fn create(client: &Client, topic: &str) -> Result {
    let admin = client.admin();
    admin.create_topic(topic, &TopicOptions::default()).await?;
    Ok(())
}
