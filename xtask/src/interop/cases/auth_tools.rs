//! Users and rules by the tools that people have for them: Java's `mqadmin` and `rocketry`, each the same against both systems, and the
//! Go client with and without the right secret. Two brokers on each side, so that copies go somewhere.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::Case;
use super::auth::{ROOT, signed_admin};
use super::mqadmin_parity::normal;
use super::producer::secured::authentication;
use crate::Result;
use crate::interop::world::World;
use crate::interop::{Broker, BrokerConfig, NameServer, Serve, ServeOptions};
use crate::process::{Running, run};

/// What one command, or one message of the Go client, may take.
const COMMAND: Duration = Duration::from_mins(2);
const CLUSTER: &str = "DefaultCluster";

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("auth/tools", |world| Box::pin(tools(world)))]
}

/// Two brokers that ask for users, under one name server.
struct System {
    ns: String,
    /// Addresses of the brokers.
    brokers: [String; 2],
    running: Processes,
}

enum Processes {
    Apache(Box<(NameServer, [Broker; 2])>),
    Ours(Box<[Serve; 2]>),
}

impl System {
    async fn apache(world: &World) -> Result<Self> {
        let dir = world.dir("auth-tools-apache")?;
        let class_path = &world.tools.class_path;
        let name_server = NameServer::start(class_path, &dir.join("namesrv")).await?;
        let broker = async |name: &str| {
            let dir = dir.join(name);
            let config = BrokerConfig {
                store: dir.join("store"),
                more: authentication(),
                ..BrokerConfig::new(name_server.addr(), name, CLUSTER)
            };
            Broker::start(class_path, &dir, &config).await
        };
        let (a, b) = (broker("broker-a").await?, broker("broker-b").await?);
        Ok(Self {
            ns: name_server.addr().to_owned(),
            brokers: [a.addr().to_owned(), b.addr().to_owned()],
            running: Processes::Apache(Box::new((name_server, [a, b]))),
        })
    }

    /// Servers of ours with the settings of Apache's brokers: the second registers with the first as the file says.
    async fn ours(world: &World) -> Result<Self> {
        let dir = world.dir("auth-tools-ours")?;
        let conf = dir.join("broker.conf");
        std::fs::write(&conf, authentication().join("\n"))?;
        let options = ServeOptions {
            config: Some(conf),
            ..ServeOptions::default()
        };
        let log = dir.join("serve.log");
        let a = Serve::start(&world.rocketry, &dir.join("a"), &log, &options).await?;
        let options = ServeOptions {
            role: Some("broker"),
            namesrv: Some(a.namesrv.clone()),
            broker_name: Some("broker-b".to_owned()),
            ..options
        };
        let b = Serve::start(&world.rocketry, &dir.join("b"), &log, &options).await?;
        Ok(Self {
            ns: a.namesrv.clone(),
            brokers: [a.broker.clone(), b.broker.clone()],
            running: Processes::Ours(Box::new([a, b])),
        })
    }

    async fn stop(self) -> Result {
        match self.running {
            Processes::Apache(system) => {
                let (name_server, brokers) = *system;
                for broker in brokers {
                    broker.kill().await?;
                }
                name_server.kill().await
            }
            Processes::Ours(servers) => {
                for server in *servers {
                    server.stop().await?;
                }
                Ok(())
            }
        }
    }

    fn filled(&self, text: &str) -> String {
        let [a, b] = &self.brokers;
        text.replace("{a}", a).replace("{b}", b)
    }
}

/// What the tools print of users and rules is the same at both systems, and the Go client gets in at both with the right secret only.
async fn tools(world: &mut World) -> Result {
    let apache = System::apache(world).await?;
    let theirs = transcript(world, &apache, "apache").await;
    apache.stop().await?;
    let ours = System::ours(world).await?;
    let told = transcript(world, &ours, "ours").await;
    ours.stop().await?;
    let (theirs, ours) = (theirs?, told?);
    // A comparison of nothing with nothing would show nothing.
    let silent = theirs.iter().filter(|(_, lines)| lines.is_empty()).count();
    if silent > FINDS_NOTHING {
        return Err(format!("{silent} commands print nothing at Apache's broker").into());
    }
    let mut differences = Vec::new();
    for (theirs, ours) in theirs.iter().zip(&ours) {
        if theirs != ours {
            differences.push(format!(
                "{}\n  ours:\n    {}\n  Apache's:\n    {}",
                ours.0,
                ours.1.join("\n    "),
                theirs.1.join("\n    ")
            ));
        }
    }
    if theirs.len() == ours.len() && differences.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} of {} commands print something else:\n{}",
        differences.len(),
        ours.len(),
        differences.join("\n")
    )
    .into())
}

/// A command, and the lines that it printed.
type Told = (String, Vec<String>);

async fn transcript(world: &mut World, system: &System, name: &str) -> Result<Vec<Told>> {
    let dir = world.dir(&format!("auth-tools-{name}"))?;
    until_both_are_there(world, system, &dir).await?;
    let mut told = Vec::new();
    for line in MQADMIN {
        let line = format!("{} -n {}", system.filled(line), system.ns);
        let printed = signed_admin(world, &dir.join("mqadmin"), &line, ROOT).await?;
        told.push(lines(line, &printed));
    }
    for (user, secret) in [(ROOT.0, "wrong"), ("both", "both-secret"), ("nobody", "x")] {
        let line = format!("getUser -b {} -u both -n {}", system.brokers[0], system.ns);
        let printed = signed_admin(world, &dir.join("mqadmin"), &line, (user, secret)).await?;
        told.push(lines(format!("{line} as {user}"), &printed));
    }
    for line in ROCKETRY {
        told.push(rocketry(world, system, line).await?);
    }
    told.extend(go(world, system, &dir).await?);
    let mut text = String::new();
    for (line, printed) in &told {
        let _ = writeln!(text, "## {line}\n{}", printed.join("\n"));
    }
    std::fs::write(dir.join("transcript.txt"), text)?;
    Ok(told)
}

/// Lines about a cluster come in the order of a hash map.
fn lines(command: String, printed: &str) -> Told {
    let mut lines = normal(printed);
    if command.contains(CLUSTER) {
        lines.sort();
    }
    (normal(&command).join(" "), lines)
}

async fn until_both_are_there(world: &mut World, system: &System, dir: &Path) -> Result {
    let end = Instant::now() + COMMAND;
    loop {
        let line = format!("clusterList -n {}", system.ns);
        let printed = signed_admin(world, &dir.join("mqadmin"), &line, ROOT).await?;
        if printed.contains("broker-a") && printed.contains("broker-b") {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(format!("two brokers are not registered:\n{printed}").into());
        }
        sleep(Duration::from_millis(300)).await;
    }
}

/// Those of the commands below that find nothing, which `mqadmin` says by saying nothing.
const FINDS_NOTHING: usize = 3;

/// Every command of `mqadmin` for users and rules, those that fail among them.
const MQADMIN: [&str; 49] = [
    "createUser -b {a} -u alice -p alice-secret",
    "createUser -b {a} -u alice -p other",
    "createUser -b {a} -u eve -p eve-secret -t Normal",
    "createUser -b {a} -u sam -p sam-secret -t Super",
    "createUser -b {a} -u bad -p x -t nonsense",
    "createUser -c DefaultCluster -u both -p both-secret",
    "updateUser -b {a} -u eve -s disable",
    "updateUser -b {a} -u eve -p new-secret",
    "updateUser -b {a} -u eve -t Super",
    "updateUser -c DefaultCluster -u both -s enable",
    "updateUser -b {a} -u nobody -p x",
    "getUser -b {a} -u eve",
    "getUser -b {a} -u nobody",
    "getUser -c DefaultCluster -u both",
    "listUser -b {a}",
    "listUser -b {a} -f li",
    "listUser -b {a} -f nothing",
    "createAcl -b {a} -s User:alice -r Topic:Signed,Topic:Other -a Pub,Sub,Get -d Allow",
    "createAcl -b {a} -s User:alice -r Group:G* -a Sub,Get -i 10.0.0.0/8,127.0.0.1 -d Allow",
    "createAcl -b {a} -s User:eve -r Topic:* -a All -d Deny",
    "createAcl -c DefaultCluster -s User:both -r Cluster:* -a Get -d Allow",
    "createAcl -b {a} -s User:nobody -r Topic:x -a Pub -d Allow",
    "createAcl -b {a} -s User:alice -r Queue:x -a Pub -d Allow",
    "createAcl -b {a} -s User:alice -r Topic:x -a nonsense -d Allow",
    "updateAcl -b {a} -s User:alice -r Topic:Other -a Get -d Deny",
    "getAcl -b {a} -s User:alice",
    "getAcl -b {a} -s User:nobody",
    "getAcl -c DefaultCluster -s User:both",
    "listAcl -b {a}",
    "listAcl -b {a} -s ali",
    "listAcl -b {a} -r Group",
    "listAcl -b {a} -r nothing",
    "copyUser -f {a} -t {b} -u alice",
    "listUser -b {b}",
    "copyUser -f {a} -t {b}",
    "listUser -b {b}",
    // Asks one broker of the cluster, the first of a hash set: both have the same users now.
    "listUser -c DefaultCluster",
    "copyAcl -f {a} -t {b} -s User:alice",
    "listAcl -b {b}",
    "copyAcl -f {a} -t {b}",
    "listAcl -b {b}",
    "deleteAcl -b {a} -s User:alice -r Topic:Other",
    "getAcl -b {a} -s User:alice",
    "deleteAcl -c DefaultCluster -s User:both",
    "deleteUser -b {a} -u eve",
    "listAcl -b {a}",
    "deleteUser -b {a} -u nobody",
    "listUser -b {a}",
    "updateTopic -b {a} -t Signed -r 1 -w 1",
];

/// The same with our own commands.
const ROCKETRY: [&str; 37] = [
    "user create carol --password carol-secret --broker {a}",
    "user create carol --password again --broker {a}",
    "user create ops --password ops-secret --type super --broker {a}",
    "user list --broker {a}",
    "user list --filter aro --show-password --output json --broker {a}",
    "user get carol --output json --broker {a}",
    "user get nobody --broker {a}",
    "user update carol --status disable --broker {a}",
    "user get carol --show-password --broker {a}",
    "acl create carol --resource Topic:Orders,Group:billing --actions Pub,Sub --source 10.0.0.0/8 --broker {a}",
    "acl create carol --resource Topic:shop-* --actions All --deny --broker {a}",
    "acl create nobody --resource Topic:x --actions Pub --broker {a}",
    "acl get carol --broker {a}",
    "acl get carol --output json --broker {a}",
    "acl update carol --resource Topic:Orders --actions Get --broker {a}",
    "acl list --resource Orders --broker {a}",
    "acl list --user aro --output json --broker {a}",
    "user copy carol --from {a} --to {b}",
    "acl copy carol --from {a} --to {b}",
    "acl get carol --broker {b}",
    "acl delete carol --resource Topic:Orders --yes --broker {a}",
    "acl delete carol --yes --broker {a}",
    "user delete carol --yes --broker {a}",
    "user delete carol --yes --broker {a}",
    "mqadmin listUser -b {b}",
    "mqadmin createUser -b {a} -u old -p old-secret",
    "mqadmin updateUser -b {a} -u old -t Super",
    "mqadmin getUser -b {a} -u old",
    "mqadmin createAcl -b {a} -s User:both -r Topic:x,Group:y -a Pub,Sub -d Allow",
    "mqadmin updateAcl -b {a} -s User:both -r Topic:x -a Get -d Deny",
    "mqadmin getAcl -b {a} -s User:both",
    "mqadmin listAcl -b {a}",
    "mqadmin copyUser -f {a} -t {b} -u old",
    "mqadmin copyAcl -f {a} -t {b} -s User:both",
    "mqadmin deleteAcl -b {a} -s User:both",
    "mqadmin deleteUser -b {a} -u old",
    "user list",
];

/// The exit code and all that it prints.
async fn rocketry(world: &World, system: &System, line: &str) -> Result<Told> {
    let line = system.filled(line);
    let mut command = world.rocketry.command();
    command
        .args(line.split(' '))
        .env("NAMESRV_ADDR", &system.ns)
        .env("ROCKETRY_ACCESS_KEY", ROOT.0)
        .env("ROCKETRY_SECRET_KEY", ROOT.1);
    let finished = run(&mut command, COMMAND).await?;
    let printed = format!(
        "{}\n{}\n{}",
        finished.status,
        String::from_utf8_lossy(&finished.stdout),
        finished.stderr
    );
    Ok(lines(format!("rocketry {line}"), &printed))
}

/// The Go client sends and consumes as `alice`, whom `mqadmin` has allowed to.
async fn go(world: &World, system: &System, dir: &Path) -> Result<Vec<Told>> {
    let text = dir.join("go.txt");
    std::fs::write(&text, "signed by Go\n")?;
    let mut told = Vec::new();
    for (user, secret, topic) in [
        ("alice", "alice-secret", "Signed"),
        ("alice", "wrong", "Signed"),
        ("nobody", "x", "Signed"),
        ("alice", "alice-secret", "Forbidden"),
    ] {
        let mut command = go_as(world, system, topic, user, secret);
        command.args(["-mode", "sync", "-file"]).arg(&text);
        command.arg("-acks").arg(dir.join("go-acks.tsv"));
        let finished = run(&mut command, COMMAND).await?;
        let sent = finished.status.success();
        if sent != (secret == "alice-secret" && topic == "Signed") {
            return Err(format!("Go as {user} to {topic}: {}", finished.stderr).into());
        }
        // What it prints of a failure has times in it; the broker's own words are what counts.
        let remark = [
            "check signature failed",
            "is not found",
            "has no permission",
        ]
        .into_iter()
        .find(|words| finished.stderr.contains(words));
        let what = format!("Go as {user} with {secret} to {topic}");
        told.push((what, vec![format!("{sent} {remark:?}")]));
    }
    let out = dir.join("go-taken.tsv");
    let mut command = go_as(world, system, "Signed", "alice", "alice-secret");
    command.args(["-group", "G1", "-out"]).arg(&out);
    let mut consumer = Running::start("go consumer", &mut command, dir.join("go.log"))?;
    consumer.line_with("started", COMMAND).await?;
    taken(&out).await?;
    consumer.finish().await?;
    told.push(("Go consumes as alice".to_owned(), vec!["one".to_owned()]));
    Ok(told)
}

fn go_as(world: &World, system: &System, topic: &str, user: &str, secret: &str) -> Command {
    let mut command = Command::new(&world.tools.go_driver);
    command.args(["-ns", &system.ns, "-topic", topic]);
    command.args(["-access-key", user, "-secret-key", secret]);
    command
}

async fn taken(out: &PathBuf) -> Result {
    let end = Instant::now() + COMMAND;
    while !std::fs::read_to_string(out)?.contains("signed by Go") {
        if Instant::now() >= end {
            return Err("the Go consumer gets nothing".into());
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
