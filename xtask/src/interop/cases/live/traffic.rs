//! One run of Java's and Go's consumers and producers against our server, with a consumer killed in the middle; the cases look at what it left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rocketry::TopicOptions;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::taken::{self, Delivery};
use crate::Result;
use crate::interop::driver::Driver;
use crate::interop::world::{Target, World};
use crate::process::Running;

/// Queues of the topics that consumers share.
pub(super) const SHARED_QUEUES: usize = 8;
pub(super) const ORDERED_QUEUES: usize = 4;
/// Messages to each of the shared topics before, and again after the kill.
pub(super) const HALF: usize = 200;
/// Keys of the ordered topic.
pub(super) const KEYS: usize = 16;
/// Messages to what is not shared.
pub(super) const FEW: usize = 10;
/// A group's first rebalance, on a busy machine.
const JOIN: Duration = Duration::from_mins(1);
/// Locks of a killed consumer end after a minute; the group then looks again within 20 s. Undecided transactions are asked for after 6 to 36 s.
const END: Duration = Duration::from_secs(150);
const LOOK: Duration = Duration::from_millis(200);
const GO_START: Duration = Duration::from_mins(1);

/// Times at which the timed messages are due, by body.
pub(super) const DUE: [(&str, i64); 4] = [
    ("level-1", 1_000),
    ("level-2", 5_000),
    ("after-3000", 3_000),
    ("after-4500", 4_500),
];

/// What one run left.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) ns: String,
    /// Deliveries by consumer.
    pub(super) taken: BTreeMap<&'static str, Vec<Delivery>>,
    /// From the kill until the other consumer held all queues, by group.
    pub(super) took_over: BTreeMap<&'static str, Duration>,
    /// Queues that each of a pair held before the kill.
    pub(super) shared: BTreeMap<&'static str, usize>,
    /// Ids of messages by body, as far as cases ask for them.
    pub(super) ids: BTreeMap<&'static str, String>,
    /// Bodies of half messages that the broker asked about.
    pub(super) checked: String,
    /// The reply to a request.
    pub(super) reply: String,
}

/// A consumer in one of the two JVMs.
struct Consumer {
    id: &'static str,
    topic: &'static str,
    group: &'static str,
    more: &'static [(&'static str, &'static str)],
}

const fn consumer(
    id: &'static str,
    topic: &'static str,
    group: &'static str,
    more: &'static [(&'static str, &'static str)],
) -> Consumer {
    Consumer {
        id,
        topic,
        group,
        more,
    }
}

/// In the JVM that is killed.
const VICTIMS: [Consumer; 3] = [
    consumer("shared-1", "live_shared", "live-shared", &[]),
    consumer(
        "ordered-1",
        "live_ordered",
        "live-ordered",
        &[("kind", "orderly"), ("linger_ms", "20")],
    ),
    consumer("popped-1", "live_popped", "live-popped", &[("kind", "pop")]),
];
/// The others of the same groups.
const PARTNERS: [Consumer; 3] = [
    consumer("shared-2", "live_shared", "live-shared", &[]),
    consumer(
        "ordered-2",
        "live_ordered",
        "live-ordered",
        &[("kind", "orderly"), ("linger_ms", "20")],
    ),
    consumer("popped-2", "live_popped", "live-popped", &[("kind", "pop")]),
];
/// Each for itself, beside them.
const OTHERS: [Consumer; 9] = [
    consumer(
        "all-1",
        "live_all",
        "live-all",
        &[("model", "BROADCASTING")],
    ),
    consumer(
        "all-2",
        "live_all",
        "live-all",
        &[("model", "BROADCASTING")],
    ),
    consumer(
        "failing",
        "live_failing",
        "live-failing",
        &[("fail", "true"), ("max_reconsume", "2")],
    ),
    consumer("dead", "%DLQ%live-failing", "live-dead", &[]),
    consumer("timed", "live_timed", "live-timed", &[]),
    consumer(
        "tagged",
        "live_filtered",
        "live-tagged",
        &[("tags", "red || blue")],
    ),
    consumer(
        "selected",
        "live_filtered",
        "live-selected",
        &[("sql", "n BETWEEN 3 AND 5 OR colour = 'red'")],
    ),
    consumer("decided", "live_decided", "live-decided", &[]),
    consumer("traced", "live_traced", "live-traced", &[("trace", "true")]),
];

/// Runs everything once.
pub(super) async fn run(world: &mut World) -> Result<Traffic> {
    let ns = world.namesrv(Target::Ours).await?;
    let dir = world.dir("live")?;
    topics(world).await?;
    let class_path = world.tools.class_path.clone();
    let mut victim = Driver::start(&class_path, &world.dir("live/victim")?)?;
    let mut survivor = Driver::start(&class_path, &world.dir("live/survivor")?)?;
    let mode = "setConsumeMode -c DefaultCluster -t live_popped -g live-popped -m POP -q 8";
    survivor.admin(&format!("{mode} -n {ns}")).await?;
    for one in &VICTIMS {
        subscribe(&mut victim, &ns, &dir, one).await?;
    }
    for one in PARTNERS.iter().chain(&OTHERS) {
        subscribe(&mut survivor, &ns, &dir, one).await?;
    }
    let go = [
        go_consumer(world, &ns, &dir, "go-1").await?,
        go_consumer(world, &ns, &dir, "go-2").await?,
    ];

    let mut traffic = Traffic {
        ns: ns.clone(),
        ..Traffic::default()
    };
    for (group, queues) in [("shared", SHARED_QUEUES), ("ordered", ORDERED_QUEUES)] {
        let held = share(&mut victim, &mut survivor, group, queues).await?;
        traffic.shared.insert(group, held);
    }
    alone(&mut survivor, &ns, &mut traffic).await?;
    half(&mut survivor, &ns, "early").await?;
    // in the middle of the ordered messages
    let [go_1, go_2] = go;
    go_1.kill().await?;
    victim.kill().await?;
    let killed = Instant::now();
    half(&mut survivor, &ns, "late").await?;

    watch(&mut survivor, &dir, killed, &mut traffic).await?;
    traffic.checked = survivor.ask("checks", &[]).await?;
    request(&mut survivor, &ns, &mut traffic).await?;
    for one in PARTNERS.iter().chain(&OTHERS) {
        survivor.ask("unsubscribe", &[("id", one.id)]).await?;
    }
    go_2.finish().await?;
    traffic.taken = read(&dir)?;
    Ok(traffic)
}

async fn topics(world: &mut World) -> Result {
    let admin = world.client(Target::Ours).await?.admin();
    let shared = i32::try_from(SHARED_QUEUES)?;
    let ordered = i32::try_from(ORDERED_QUEUES)?;
    for (topic, queues) in [
        ("live_shared", shared),
        ("live_ordered", ordered),
        ("live_popped", ordered),
        ("live_all", 2),
        ("live_failing", 1),
        ("live_timed", 1),
        ("live_filtered", 2),
        ("live_decided", 1),
        ("live_traced", 1),
        ("live_go", ordered),
        ("live_asked", 1),
    ] {
        let options = TopicOptions {
            read_queues: queues,
            write_queues: queues,
            ..TopicOptions::default()
        };
        admin.create_topic(topic, &options).await?;
    }
    Ok(())
}

async fn subscribe(driver: &mut Driver, ns: &str, dir: &Path, one: &Consumer) -> Result {
    let out = file(dir, one.id).display().to_string();
    let mut options = vec![
        ("id", one.id),
        ("ns", ns),
        ("topic", one.topic),
        ("group", one.group),
        ("out", &out),
    ];
    options.extend_from_slice(one.more);
    driver.ask("subscribe", &options).await?;
    Ok(())
}

async fn go_consumer(world: &World, ns: &str, dir: &Path, id: &'static str) -> Result<Running> {
    let mut command = Command::new(&world.tools.go_driver);
    command.args([
        "-ns", ns, "-topic", "live_go", "-group", "live-go", "-fail", "-out",
    ]);
    command.arg(file(dir, id));
    let mut running = Running::start("go consumer", &mut command, dir.join(format!("{id}.log")))?;
    running.line_with("started", GO_START).await?;
    running.drain();
    Ok(running)
}

fn file(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("{id}.tsv"))
}

async fn assigned(driver: &mut Driver, id: &str) -> Result<usize> {
    Ok(driver.ask("assigned", &[("id", id)]).await?.parse()?)
}

/// Waits until both consumers of a group hold half of the queues each.
async fn share(
    victim: &mut Driver,
    survivor: &mut Driver,
    group: &str,
    queues: usize,
) -> Result<usize> {
    let end = Instant::now() + JOIN;
    loop {
        let held = (
            assigned(victim, &format!("{group}-1")).await?,
            assigned(survivor, &format!("{group}-2")).await?,
        );
        if held == (queues / 2, queues / 2) {
            return Ok(held.0);
        }
        if Instant::now() >= end {
            return Err(format!(
                "two consumers of {group} hold {held:?} of {queues} queues after {JOIN:?}"
            )
            .into());
        }
        sleep(LOOK).await;
    }
}

async fn put(
    driver: &mut Driver,
    ns: &str,
    topic: &str,
    body: &str,
    more: &[(&str, &str)],
) -> Result<String> {
    let mut options = vec![("ns", ns), ("topic", topic), ("body", body)];
    options.extend_from_slice(more);
    driver.ask("put", &options).await
}

/// All that has nothing to do with the kill.
async fn alone(driver: &mut Driver, ns: &str, traffic: &mut Traffic) -> Result {
    let few = FEW.to_string();
    put(driver, ns, "live_failing", "hopeless", &[]).await?;
    put(driver, ns, "live_timed", "level-1", &[("level", "1")]).await?;
    put(driver, ns, "live_timed", "level-2", &[("level", "2")]).await?;
    put(
        driver,
        ns,
        "live_timed",
        "after-3000",
        &[("delay_ms", "3000")],
    )
    .await?;
    put(
        driver,
        ns,
        "live_timed",
        "after-4500",
        &[("delay_ms", "4500")],
    )
    .await?;
    for decision in ["COMMIT_MESSAGE", "ROLLBACK_MESSAGE", "UNKNOW"] {
        let options = [
            ("ns", ns),
            ("topic", "live_decided"),
            ("decision", decision),
        ];
        driver.ask("transact", &options).await?;
    }
    put(driver, ns, "live_all", "all", &[("count", &few)]).await?;
    for n in 0..FEW {
        let colour = ["red", "green", "blue"]
            .get(n % 3)
            .copied()
            .unwrap_or_default();
        let number = n.to_string();
        let more = [
            ("tag", colour),
            ("property.colour", colour),
            ("property.n", &number),
        ];
        put(driver, ns, "live_filtered", &format!("filtered-{n}"), &more).await?;
    }
    let id = put(
        driver,
        ns,
        "live_traced",
        "traced",
        &[("trace", "true"), ("key", "traced-key")],
    )
    .await?;
    traffic.ids.insert("traced", id);
    Ok(())
}

/// One of the two halves of what is shared.
async fn half(driver: &mut Driver, ns: &str, when: &str) -> Result {
    let (count, keys) = (HALF.to_string(), KEYS.to_string());
    let count = ("count", count.as_str());
    put(driver, ns, "live_shared", when, &[count]).await?;
    put(driver, ns, "live_popped", when, &[count]).await?;
    put(driver, ns, "live_go", when, &[count]).await?;
    put(driver, ns, "live_ordered", when, &[count, ("keys", &keys)]).await?;
    Ok(())
}

/// Waits until all has been delivered, and notes when the survivors took over.
async fn watch(driver: &mut Driver, dir: &Path, killed: Instant, traffic: &mut Traffic) -> Result {
    loop {
        for (group, queues) in [("shared", SHARED_QUEUES), ("ordered", ORDERED_QUEUES)] {
            let id = format!("{group}-2");
            if !traffic.took_over.contains_key(group) && assigned(driver, &id).await? == queues {
                traffic.took_over.insert(group, killed.elapsed());
            }
        }
        let taken = read(dir)?;
        let all = |ids: &[&str]| -> Vec<Delivery> {
            ids.iter()
                .filter_map(|id| taken.get(id))
                .flatten()
                .cloned()
                .collect()
        };
        let both = |ids: &[&str]| {
            let deliveries = all(ids);
            complete(&deliveries, "early") && complete(&deliveries, "late")
        };
        let done = both(&["shared-1", "shared-2"])
            && both(&["ordered-1", "ordered-2"])
            && both(&["popped-1", "popped-2"])
            && both(&["go-1", "go-2"])
            && !all(&["dead"]).is_empty()
            && all(&["timed"]).len() >= DUE.len()
            && all(&["decided"]).len() >= 2
            && traffic.took_over.len() == 2;
        if done {
            return Ok(());
        }
        if killed.elapsed() > END {
            // The cases say what is missing.
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

fn complete(deliveries: &[Delivery], prefix: &str) -> bool {
    taken::complete("", deliveries, prefix, HALF).is_ok()
}

async fn request(driver: &mut Driver, ns: &str, traffic: &mut Traffic) -> Result {
    let replier = |state| [("ns", ns), ("topic", "live_asked"), ("state", state)];
    driver.ask("replier", &replier("start")).await?;
    let options = [
        ("ns", ns),
        ("topic", "live_asked"),
        ("body", "what?"),
        ("timeout_ms", "20000"),
    ];
    traffic.reply = driver.ask("request", &options).await?;
    driver.ask("replier", &replier("stop")).await?;
    Ok(())
}

fn read(dir: &Path) -> Result<BTreeMap<&'static str, Vec<Delivery>>> {
    let mut all = BTreeMap::new();
    for one in VICTIMS.iter().chain(&PARTNERS).chain(&OTHERS) {
        all.insert(one.id, taken::of_java(&file(dir, one.id))?);
    }
    for id in ["go-1", "go-2"] {
        all.insert(id, taken::of_go(&file(dir, id))?);
    }
    Ok(all)
}
