//! Java's `mqadmin` 5.5.0 after the same script against our server and Apache's: what it prints is compared line by line.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Case;
use crate::Result;
use crate::interop::driver::Driver;
use crate::interop::world::{Target, World};
use crate::process::run_ok;

const TOPIC: &str = "parity";
const GROUP: &str = "parity_group";
/// Topic, group and instance of the consumer that is online.
const LIVE: &str = "parity_live";
/// Messages of the script; one queue, so that their places are the same on both sides.
const MESSAGES: usize = 5;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("mqadmin/parity", |world| Box::pin(parity(world)))]
}

/// What a command of ours may take.
const COMMAND: Duration = Duration::from_mins(1);

/// How much of what a command prints has to be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    /// Every line, in order.
    Lines,
    /// Every line, in any order: Java prints the order of a hash map.
    Set,
    /// The first three words of each line: behind them are rates, which depend on the moment.
    Leading,
    /// The first word of each line: the values are measurements, or the two brokers are set up differently.
    Names,
    /// As `Names`, where Apache's may have more: settings of what we have no counterpart for.
    SomeNames,
}

/// One command of the script, and what it printed.
#[derive(Debug)]
struct Step {
    command: String,
    compare: Compare,
    printed: String,
}

/// What one side printed, step by step.
#[derive(Debug, Default)]
struct Transcript(Vec<Step>);

/// One of the two systems, with the tool that asks it.
#[derive(Debug)]
struct Side {
    driver: Driver,
    ns: String,
    done: Transcript,
}

impl Side {
    async fn admin(&mut self, line: &str) -> Result<String> {
        self.driver.admin(&format!("{line} -n {}", self.ns)).await
    }

    /// As `admin`, kept for the comparison.
    async fn step(&mut self, compare: Compare, line: &str) -> Result<String> {
        let printed = self.admin(line).await?;
        self.done.0.push(Step {
            command: line.to_owned(),
            compare,
            printed: printed.clone(),
        });
        Ok(printed)
    }
}

/// S-074, and the commands that users and dashboards know: each prints the same against both.
async fn parity(world: &mut World) -> Result {
    // offsets and lists of topics agree only between systems that have seen the same
    let mut fresh = world.anew("parity-systems")?;
    let ours = run_script(&mut fresh, Target::Ours).await;
    let apache = run_script(&mut fresh, Target::Apache).await;
    fresh.stop().await?;
    let (ours, apache) = (ours?, apache?);
    let dir = world.dir("parity")?;
    let mut differences = Vec::new();
    for (ours, apache) in ours.0.iter().zip(&apache.0) {
        let (left, right) = (normal(&ours.printed), normal(&apache.printed));
        if !agree(ours.compare, &left, &right) {
            differences.push(format!(
                "{}\n  ours:\n    {}\n  Apache's:\n    {}",
                ours.command,
                left.join("\n    "),
                right.join("\n    ")
            ));
        }
    }
    std::fs::write(dir.join("ours.txt"), ours.text())?;
    std::fs::write(dir.join("apache.txt"), apache.text())?;
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} commands print something else:\n{}",
        differences.len(),
        differences.join("\n")
    )
    .into())
}

impl Transcript {
    fn text(&self) -> String {
        let step = |step: &Step| format!("## {}\n{}\n", step.command, step.printed);
        self.0.iter().map(step).collect()
    }
}

/// Runs all commands against one side, each with the side's own addresses and ids.
async fn run_script(world: &mut World, target: Target) -> Result<Transcript> {
    let ns = world.namesrv(target).await?;
    // `sendMessage` and `consumeMessage` work once in a JVM.
    let dir = world.dir(&format!("parity-{target:?}"))?;
    let mut side = Side {
        driver: Driver::start(&world.tools.class_path, &dir)?,
        ns: ns.clone(),
        done: Transcript::default(),
    };
    let clusters = side.admin("clusterList").await?;
    let broker = clusters
        .split_whitespace()
        .find(|word| word.starts_with("127.0.0.1:"))
        .ok_or("no broker is listed")?
        .to_owned();

    side.step(Compare::Names, "clusterList").await?;
    let line = format!("updateTopic -c DefaultCluster -t {TOPIC} -r 4 -w 4");
    side.step(Compare::Lines, &line).await?;
    let line = format!("updateSubGroup -c DefaultCluster -g {GROUP} -r 3");
    side.step(Compare::Lines, &line).await?;
    has_route(&mut side, TOPIC).await?;
    for n in 1..MESSAGES {
        send(world, &ns, n).await?;
    }
    let line = format!("sendMessage -t {TOPIC} -p body -k key -c tag -b broker-a -i 1");
    let sent = side.step(Compare::Lines, &line).await?;
    let id = sent.split_whitespace().last().unwrap_or_default();
    consume(world, &ns).await?;

    for (compare, line) in [
        (Compare::Lines, format!("topicRoute -t {TOPIC}")),
        (Compare::Lines, format!("topicStatus -t {TOPIC}")),
        (Compare::Lines, format!("topicClusterList -t {TOPIC}")),
        (Compare::Names, format!("brokerStatus -b {broker}")),
        (Compare::SomeNames, format!("getBrokerConfig -b {broker}")),
        (
            Compare::Lines,
            format!("updateBrokerConfig -b {broker} -k brokerPermission -v 6"),
        ),
        (
            Compare::Lines,
            format!("updateBrokerConfig -b {broker} -k brokerConfigPath -v /x"),
        ),
        (Compare::Lines, format!("consumerProgress -g {GROUP}")),
        (Compare::Lines, format!("consumerConnection -g {GROUP}")),
        (Compare::Lines, format!("consumerStatus -g {GROUP}")),
        (
            Compare::Lines,
            format!("producerConnection -g nobody -t {TOPIC}"),
        ),
        (Compare::Lines, format!("queryMsgByKey -t {TOPIC} -k key-2")),
        (
            Compare::Lines,
            format!("queryMsgByKey -t {TOPIC} -k nothing"),
        ),
        (
            Compare::Lines,
            format!("queryMsgByOffset -t {TOPIC} -b broker-a -i 1 -o 3"),
        ),
        (Compare::Lines, format!("queryMsgById -t {TOPIC} -i {id}")),
        (Compare::Lines, format!("queryMsgTraceById -i {id}")),
        (Compare::Lines, format!("printMsg -t {TOPIC}")),
        (
            Compare::Lines,
            format!("consumeMessage -t {TOPIC} -b broker-a -i 1 -o 1 -c 2"),
        ),
        (Compare::Leading, format!("statsAll -t {TOPIC}")),
        (
            Compare::Names,
            format!("checkMsgSendRT -t {TOPIC} -a 3 -s 16"),
        ),
        (
            Compare::Lines,
            format!("updateTopicPerm -t {TOPIC} -b {broker} -p 4"),
        ),
        (
            Compare::Lines,
            format!("resetOffsetByTime -g {GROUP} -t {TOPIC} -s -1"),
        ),
        (
            Compare::Lines,
            format!("resetOffsetByTime -g {GROUP} -t {TOPIC} -s 0"),
        ),
        (
            Compare::Lines,
            format!("resetOffsetByTime -g nobody -t {TOPIC} -s 0"),
        ),
    ] {
        side.step(compare, &line).await?;
    }
    live(world, &mut side).await?;
    let line = format!("queryMsgByUniqueKey -t {TOPIC} -i {id}");
    let found = side.step(Compare::Lines, &line).await?;
    let offset_id = found
        .lines()
        .find_map(|line| line.strip_prefix("OffsetID:"))
        .map_or_else(|| id.to_owned(), |line| line.trim().to_owned());
    for (compare, line) in [
        (
            Compare::Lines,
            format!("queryMsgById -t {TOPIC} -i {offset_id}"),
        ),
        (Compare::Set, "topicList".to_owned()),
        (
            Compare::Lines,
            format!("deleteSubGroup -c DefaultCluster -g {GROUP}"),
        ),
        (Compare::Lines, format!("consumerProgress -g {GROUP}")),
        (
            Compare::Lines,
            format!("deleteTopic -c DefaultCluster -t {TOPIC}"),
        ),
        (Compare::Lines, format!("topicRoute -t {TOPIC}")),
    ] {
        side.step(compare, &line).await?;
    }
    Ok(side.done)
}

/// The commands that are about clients, while a traced producer and a traced consumer are online.
async fn live(world: &World, side: &mut Side) -> Result {
    let ns = side.ns.clone();
    let out = world.dir("parity-live")?.join("taken.tsv");
    let out = out.display().to_string();
    let line = format!("updateTopic -c DefaultCluster -t {LIVE} -r 2 -w 2");
    side.step(Compare::Lines, &line).await?;
    has_route(side, LIVE).await?;
    let options = [
        ("id", LIVE),
        ("ns", &*ns),
        ("topic", LIVE),
        ("group", LIVE),
        ("out", &out),
        ("trace", "true"),
    ];
    side.driver.ask("subscribe", &options).await?;
    let options = [
        ("ns", &*ns),
        ("topic", LIVE),
        ("body", "traced"),
        ("trace", "true"),
        ("key", "traced-key"),
    ];
    let id = side.driver.ask("put", &options).await?;
    let trace = format!("queryMsgTraceById -i {id}");
    let progress = format!("consumerProgress -g {LIVE}");
    // Records are sent every few seconds, and the consumer joins its group when it likes.
    until(side, &trace, "no record of the consumer", |printed| {
        printed.contains("Pub") && printed.contains(LIVE)
    })
    .await?;
    // Java's consumer tells its offsets 10 s after it started, and every 5 s from then on.
    until(
        side,
        &progress,
        "not the offsets of both queues",
        |printed| {
            printed
                .lines()
                .filter(|line| line.starts_with(LIVE))
                .count()
                == 2
        },
    )
    .await?;
    for (compare, line) in [
        (Compare::Leading, trace),
        (Compare::Lines, format!("consumerConnection -g {LIVE}")),
        (
            Compare::Lines,
            format!("producerConnection -g interop-put-traced -t {LIVE}"),
        ),
        (Compare::Names, format!("consumerStatus -g {LIVE}")),
        (Compare::Names, progress),
        (
            Compare::Lines,
            format!("resetOffsetByTime -g {LIVE} -t {LIVE} -s 0"),
        ),
        (Compare::Leading, format!("statsAll -t {LIVE}")),
    ] {
        side.step(compare, &line).await?;
    }
    side.driver.ask("unsubscribe", &[("id", LIVE)]).await?;
    Ok(())
}

/// Apache's broker tells its name server of a new topic at once, or, on a busy machine, with its next registration.
async fn has_route(side: &mut Side, topic: &str) -> Result {
    let line = format!("topicRoute -t {topic}");
    until(side, &line, "no route", |printed| {
        printed.contains("readQueueNums")
    })
    .await
}

/// Repeats a command until what it prints is complete.
async fn until(
    side: &mut Side,
    line: &str,
    missing: &str,
    is_complete: impl Fn(&str) -> bool,
) -> Result {
    let end = Instant::now() + COMMAND;
    loop {
        let printed = side.admin(line).await?;
        if is_complete(&printed) {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(format!("{line}: {missing} after {COMMAND:?}, but:\n{printed}").into());
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// One message in queue 1.
async fn send(world: &World, ns: &str, n: usize) -> Result {
    let (body, key, tag) = (format!("body-{n}"), format!("key-{n}"), format!("tag-{n}"));
    let mut command = world.rocketry.command();
    command.args([
        "send",
        TOPIC,
        &body,
        "--namesrv",
        ns,
        "--queue",
        "broker-a:1",
    ]);
    command.args(["--key", &key, "--tag", &tag]);
    run_ok(&mut command, COMMAND).await?;
    Ok(())
}

/// Commits offsets for the group: `mqadmin` itself has no way to.
async fn consume(world: &World, ns: &str) -> Result {
    let mut command = world.rocketry.command();
    command.args(["consume", TOPIC, "--namesrv", ns, "--group", GROUP]);
    command.args(["--from", "first", "--count", "3", "--wait", "10s"]);
    run_ok(&mut command, COMMAND).await?;
    Ok(())
}

fn agree(compare: Compare, ours: &[String], apache: &[String]) -> bool {
    let set = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<_>>();
    let leading = |lines: &[String]| {
        let three = |line: &String| line.split(' ').take(3).map(str::to_owned).collect();
        lines.iter().map(three).collect::<Vec<Vec<String>>>()
    };
    let names = |lines: &[String]| {
        let first = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
        lines.iter().map(first).collect::<BTreeSet<_>>()
    };
    match compare {
        Compare::Lines => ours == apache,
        Compare::Leading => leading(ours) == leading(apache),
        Compare::Set => set(ours) == set(apache),
        Compare::Names => names(ours) == names(apache),
        Compare::SomeNames => !ours.is_empty() && names(ours).is_subset(&names(apache)),
    }
}

/// The lines without what differs from run to run: addresses, ids, times, the width of columns, and where in Java an error was thrown.
pub(super) fn normal(printed: &str) -> Vec<String> {
    printed
        .lines()
        .filter(|line| {
            !["at ", "... "]
                .iter()
                .any(|trace| line.trim_start().starts_with(trace))
        })
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().map(normal_word).collect();
            words.join(" ")
        })
        .filter(|line| !line.is_empty())
        .collect()
}

fn normal_word(word: &str) -> String {
    // The rest is the directory of each side.
    if word.starts_with("commitLogDiskRatio_") {
        return "commitLogDiskRatio_DIR".to_owned();
    }
    // `10:00:00,123`
    if let Some((clock, ms)) = word.split_once(',')
        && ms.len() == 3
        && ms.bytes().all(|b| b.is_ascii_digit())
        && normal_run(clock) == "TIME"
    {
        return "TIME".to_owned();
    }
    let mut out = String::new();
    let mut run = String::new();
    for c in word.chars() {
        if c.is_ascii_alphanumeric() || "._:-".contains(c) {
            run.push(c);
        } else {
            out.push_str(normal_run(&run));
            run.clear();
            out.push(c);
        }
    }
    out.push_str(normal_run(&run));
    out
}

fn normal_run(run: &str) -> &str {
    const MS_DIGITS: usize = 13;
    const ID_DIGITS: usize = 24;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts = |sign: char| run.split(sign).count() >= 3 && run.split(sign).all(digits);
    let hex = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    if run.starts_with("127.0.0.1:") {
        "ADDRESS"
    } else if run.len() >= ID_DIGITS && run.bytes().all(hex) {
        "ID"
    } else if run.len() == MS_DIGITS && digits(run) {
        "MS"
    } else if parts('-') {
        "DATE"
    } else if parts(':') || parts_of_clock(run) {
        "TIME"
    } else {
        run
    }
}

/// `10:00:00.123`
fn parts_of_clock(run: &str) -> bool {
    run.split_once('.').is_some_and(|(clock, ms)| {
        clock.split(':').count() == 3
            && (clock.bytes().chain(ms.bytes())).all(|b| b.is_ascii_digit() || b == b':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_left_out() {
        let printed = "broker-a  127.0.0.1:10911   2026-11-25 10:00:00,123 7F00000144A8251F6B9C7ED0F8C50000\n\n\
                       \tat java.lang.Thread.run(Thread.java)\n[queue 1] 1795620207273 -3";
        assert_eq!(
            normal(printed),
            ["broker-a ADDRESS DATE TIME ID", "[queue 1] MS -3"]
        );
    }

    #[test]
    fn what_must_agree_depends_on_the_command() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (a, b) = (lines("x 1\ny 2"), lines("y 2\nx 1"));
        assert!(!agree(Compare::Lines, &a, &b));
        assert!(agree(Compare::Set, &a, &b));
        assert!(agree(
            Compare::Leading,
            &lines("t g 2 0.1"),
            &lines("t g 2 0.2")
        ));
        assert!(!agree(
            Compare::Leading,
            &lines("t g 2 0.1"),
            &lines("t g 3 0.1")
        ));
        assert!(agree(Compare::Names, &a, &lines("x 5\ny 6")));
        assert!(!agree(Compare::Names, &a, &lines("x 5")));
        assert!(agree(Compare::SomeNames, &lines("x 5"), &a));
        assert!(!agree(Compare::SomeNames, &a, &lines("x 5")));
    }
}
