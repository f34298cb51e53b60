//! Users and permissions: Apache's broker and ours asked the same, and Java's clients against ours.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rocketry::{Credentials, RemotingCommand, RequestCode};
use rocketry_protocol::acl::sign;
use rocketry_remoting::{ConnectOptions, Connections, Deadline, Unsupported};

use super::Case;
use super::producer::secured::authentication;
use crate::Result;
use crate::interop::world::World;
use crate::interop::{Broker, BrokerConfig, NameServer, Serve, ServeOptions};

pub(super) const ROOT: (&str, &str) = ("rocketmq", "12345678");
const ANSWER: Duration = Duration::from_secs(30);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("auth/answers-as-apache", |w| Box::pin(answers(w))),
        Case::new("auth/java-clients", |w| Box::pin(java_clients(w))),
    ]
}

/// A server of ours that asks for users, the first of whom is Apache's.
async fn secured(world: &World, name: &str) -> Result<Serve> {
    let dir = world.dir(name)?;
    let secret = dir.join("secret");
    std::fs::write(&secret, ROOT.1)?;
    let options = ServeOptions {
        more: vec![
            "--auth".to_owned(),
            "--init-user".to_owned(),
            ROOT.0.to_owned(),
            "--init-secret-file".to_owned(),
            secret.display().to_string(),
        ],
        ..ServeOptions::default()
    };
    Serve::start(
        &world.rocketry,
        &dir.join("data"),
        &dir.join("log"),
        &options,
    )
    .await
}

/// Settings of a broker that asks for users, and comes to others as one of them who is not the first.
fn settings() -> Vec<String> {
    let mut lines = authentication();
    let inner =
        r#"innerClientAuthenticationCredentials={"accessKey":"inner","secretKey":"inner-secret"}"#;
    lines.push(inner.to_owned());
    lines
}

/// A server of ours with the settings of Apache's broker.
async fn by_file(world: &World) -> Result<Serve> {
    let dir = world.dir("auth-ours")?;
    let conf = dir.join("broker.conf");
    std::fs::write(&conf, settings().join("\n"))?;
    let options = ServeOptions {
        config: Some(conf),
        ..ServeOptions::default()
    };
    Serve::start(
        &world.rocketry,
        &dir.join("data"),
        &dir.join("log"),
        &options,
    )
    .await
}

/// One request: its code, header fields and body, and who signs it.
struct Step {
    code: i32,
    fields: &'static [(&'static str, &'static str)],
    body: &'static str,
    user: Option<(&'static str, &'static str)>,
}

const fn step(
    code: i32,
    fields: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Step {
    Step {
        code,
        fields,
        body,
        user: Some(ROOT),
    }
}

const fn by(step: Step, user: &'static str, secret: &'static str) -> Step {
    Step {
        user: Some((user, secret)),
        ..step
    }
}

const fn unsigned(step: Step) -> Step {
    Step { user: None, ..step }
}

macro_rules! acl {
    ($entries:literal) => {
        concat!(
            r#"{"subject":"User:alice","policies":[{"policyType":"Custom","entries":["#,
            $entries,
            "]}]}"
        )
    };
}

const ALICE: &[(&str, &str)] = &[("username", "alice")];
const OF_ALICE: &[(&str, &str)] = &[("subject", "User:alice")];
const NO_BODY: &str = "";

const fn send(topic: &'static [(&'static str, &'static str)]) -> Step {
    by(step(10, topic, "hello"), "alice", "s1")
}

macro_rules! message {
    ($topic:literal) => {
        &[
            ("producerGroup", "PG"),
            ("topic", $topic),
            ("defaultTopic", "TBW102"),
            ("defaultTopicQueueNums", "1"),
            ("queueId", "0"),
            ("sysFlag", "0"),
            ("bornTimestamp", "1700000000000"),
            ("flag", "0"),
            ("properties", "a\u{1}b\u{2}"),
            ("reconsumeTimes", "0"),
        ]
    };
}

/// The script, in order: users, rules, and what each may do with them.
fn steps() -> Vec<Step> {
    const ORDERS: &[(&str, &str)] = message!("orders");
    const SHOP: &[(&str, &str)] = message!("shop-1");
    const SHOP_2: &[(&str, &str)] = message!("shop-2");
    const RETRY: &[(&str, &str)] = message!("%RETRY%g1");
    let heartbeat = r#"{"clientID":"c1","consumerDataSet":[{"groupName":"g1","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","subscriptionDataSet":[{"topic":"orders","subString":"*","subVersion":1}],"unitMode":false}],"producerDataSet":[]}"#;
    vec![
        // Who gets in.
        unsigned(step(26, &[("x", "y")], NO_BODY)),
        unsigned(step(26, &[], NO_BODY)),
        by(step(46, &[], "{}"), "nobody", "x"),
        by(step(46, &[], "{}"), ROOT.0, "wrong"),
        // As whom the broker comes to others is a user like any other.
        by(
            step(3004, &[("username", "inner")], NO_BODY),
            "inner",
            "inner-secret",
        ),
        by(
            step(3004, &[("username", "inner")], NO_BODY),
            "inner",
            "wrong",
        ),
        // Users.
        step(3001, ALICE, r#"{"password":"s1"}"#),
        step(3001, ALICE, r#"{"password":"s1"}"#),
        step(3001, &[("username", "bob")], "{}"),
        step(3001, &[("username", "bob")], r#"{"password":" "}"#),
        step(3001, &[("username", "")], r#"{"password":"x"}"#),
        step(
            3001,
            &[("username", "bob")],
            r#"{"password":"s2","userType":"nonsense","userStatus":"x"}"#,
        ),
        step(
            3001,
            &[("username", "carol")],
            r#"{"password":"s3","userType":"SUPER"}"#,
        ),
        step(3002, &[("username", "dave")], r#"{"password":"x"}"#),
        step(3002, &[("username", "bob")], r#"{"userStatus":"Disable"}"#),
        step(3002, &[("username", "bob")], "{}"),
        step(3004, ALICE, NO_BODY),
        step(3004, &[("username", "dave")], NO_BODY),
        step(3004, &[], NO_BODY),
        step(3004, &[("username", " ")], NO_BODY),
        step(3005, &[], NO_BODY),
        step(3005, &[("filter", "o")], NO_BODY),
        step(3005, &[("filter", "zzz")], NO_BODY),
        step(3003, &[("username", "dave")], NO_BODY),
        by(step(46, &[], "{}"), "bob", "s2"),
        by(step(46, &[], "{}"), "bob", "wrong"),
        // Nothing is allowed yet.
        send(ORDERS),
        by(
            step(3001, &[("username", "eve")], r#"{"password":"x"}"#),
            "alice",
            "s1",
        ),
        by(step(3005, &[], NO_BODY), "alice", "s1"),
        by(step(34, &[], heartbeat), "alice", "s1"),
        // Rules that cannot be.
        step(
            3006,
            &[("subject", "User:dave")],
            r#"{"subject":"User:dave","policies":[{"entries":[{"resource":"*","actions":["All"],"decision":"Allow"}]}]}"#,
        ),
        step(3006, OF_ALICE, r#"{"policies":[{"entries":[]}]}"#),
        step(
            3006,
            OF_ALICE,
            acl!(r#"{"resource":"Queue:x","actions":["Pub"],"decision":"Allow"}"#),
        ),
        step(
            3006,
            OF_ALICE,
            acl!(r#"{"resource":"Topic:x","actions":["nonsense"],"decision":"Allow"}"#),
        ),
        step(
            3006,
            OF_ALICE,
            acl!(r#"{"resource":"Topic:x","actions":["Any"],"decision":"Allow"}"#),
        ),
        step(
            3006,
            OF_ALICE,
            acl!(r#"{"resource":"Topic:x","actions":["Pub"],"decision":"maybe"}"#),
        ),
        step(
            3006,
            OF_ALICE,
            acl!(r#"{"resource":"Topic:x","actions":["Pub"]}"#),
        ),
        step(
            3006,
            OF_ALICE,
            acl!(
                r#"{"resource":"Topic:x","actions":["Pub"],"decision":"Allow","sourceIps":[" "]}"#
            ),
        ),
        step(
            3006,
            OF_ALICE,
            acl!(
                r#"{"resource":"Topic:x","actions":["Pub"],"decision":"Allow","sourceIps":["10.0.0.0/99"]}"#
            ),
        ),
        step(3009, OF_ALICE, NO_BODY),
        step(3009, &[("subject", "User:dave")], NO_BODY),
        step(3009, &[("subject", "Role:x")], NO_BODY),
        step(3008, OF_ALICE, NO_BODY),
        step(3010, &[], NO_BODY),
        // Rules, and which of them decides.
        step(
            3006,
            OF_ALICE,
            acl!(
                r#"{"resource":"topic:orders","actions":["pub","PUB"],"decision":"allow"},{"resource":"Topic:shop-*","actions":["All"],"decision":"Deny"},{"resource":"Topic:shop-1","actions":["Pub"],"decision":"Allow","sourceIps":["127.0.0.0/8"]}"#
            ),
        ),
        step(3009, OF_ALICE, NO_BODY),
        send(ORDERS),
        send(SHOP),
        send(SHOP_2),
        send(RETRY),
        by(step(34, &[], heartbeat), "alice", "s1"),
        step(
            3007,
            OF_ALICE,
            acl!(
                r#"{"resource":"Topic:orders","actions":["Pub","Sub"],"decision":"Allow"},{"resource":"Group:g*","actions":["Sub"],"decision":"Allow","sourceIps":["10.0.0.0/8"]}"#
            ),
        ),
        by(step(34, &[], heartbeat), "alice", "s1"),
        step(
            3007,
            OF_ALICE,
            acl!(
                r#"{"resource":"Group:g*","actions":["Sub"],"decision":"Allow","sourceIps":["10.0.0.0/8","127.0.0.1"]}"#
            ),
        ),
        by(step(34, &[], heartbeat), "alice", "s1"),
        by(
            step(
                14,
                &[
                    ("consumerGroup", "g1"),
                    ("topic", "orders"),
                    ("queueId", "0"),
                ],
                NO_BODY,
            ),
            "alice",
            "s1",
        ),
        by(
            step(30, &[("topic", "orders"), ("queueId", "0")], NO_BODY),
            "alice",
            "s1",
        ),
        by(
            step(208, &[("consumerGroup", "g1")], NO_BODY),
            "alice",
            "s1",
        ),
        by(
            step(
                17,
                &[
                    ("topic", "new"),
                    ("defaultTopic", "TBW102"),
                    ("readQueueNums", "1"),
                    ("writeQueueNums", "1"),
                    ("perm", "6"),
                    ("topicFilterType", "SINGLE_TAG"),
                    ("topicSysFlag", "0"),
                    ("order", "false"),
                ],
                NO_BODY,
            ),
            "alice",
            "s1",
        ),
        by(step(215, &[("topic", "orders")], NO_BODY), "alice", "s1"),
        by(step(207, &[("groupName", "g1")], NO_BODY), "alice", "s1"),
        by(
            step(
                222,
                &[
                    ("topic", "orders"),
                    ("group", "g1"),
                    ("timestamp", "0"),
                    ("isForce", "true"),
                ],
                NO_BODY,
            ),
            "alice",
            "s1",
        ),
        step(3010, &[("subjectFilter", "ali")], NO_BODY),
        step(3010, &[("resourceFilter", "Group")], NO_BODY),
        step(3010, &[("resourceFilter", "nothing")], NO_BODY),
        step(
            3008,
            &[("subject", "User:alice"), ("resource", "Topic:shop-1")],
            NO_BODY,
        ),
        send(SHOP),
        step(
            3008,
            &[
                ("subject", "User:alice"),
                ("policyType", "Default"),
                ("resource", "Topic:orders"),
            ],
            NO_BODY,
        ),
        step(3009, OF_ALICE, NO_BODY),
        step(
            3006,
            OF_ALICE,
            r#"{"subject":"User:alice","policies":[{"policyType":"default","entries":[{"resource":"Topic:*","actions":["Pub"],"decision":"Deny"},{"resource":"*","actions":["All"],"decision":"Allow"}]}]}"#,
        ),
        send(ORDERS),
        send(message!("other")),
        by(
            step(30, &[("topic", "other"), ("queueId", "0")], NO_BODY),
            "alice",
            "s1",
        ),
        // Users who manage users, but not the super ones.
        step(
            3006,
            OF_ALICE,
            acl!(r#"{"resource":"Cluster:*","actions":["All"],"decision":"Allow"}"#),
        ),
        by(
            step(
                3001,
                &[("username", "eve")],
                r#"{"password":"x","userType":"Super"}"#,
            ),
            "alice",
            "s1",
        ),
        by(
            step(3001, &[("username", "eve")], r#"{"password":"x"}"#),
            "alice",
            "s1",
        ),
        by(
            step(3002, &[("username", "eve")], r#"{"userType":"Super"}"#),
            "alice",
            "s1",
        ),
        by(
            step(3002, &[("username", "carol")], r#"{"password":"x"}"#),
            "alice",
            "s1",
        ),
        by(step(3003, &[("username", "carol")], NO_BODY), "alice", "s1"),
        by(step(3003, &[("username", "eve")], NO_BODY), "alice", "s1"),
        step(3008, OF_ALICE, NO_BODY),
        send(ORDERS),
        step(3003, ALICE, NO_BODY),
        send(ORDERS),
        step(3005, &[], NO_BODY),
    ]
}

/// What a server said to each step: code, remark and, of users and rules, the body.
async fn script(addr: &str) -> Result<Vec<String>> {
    let connections = Connections::new(ConnectOptions::default(), Arc::new(Unsupported));
    let mut said = Vec::new();
    for step in steps() {
        let mut command = RemotingCommand::bare_request(RequestCode(step.code));
        for (key, value) in step.fields {
            command = command.with_field(key, value);
        }
        command = command.with_body(step.body);
        if let Some((user, secret)) = step.user {
            let credentials = Credentials {
                access_key: user.to_owned(),
                secret_key: secret.to_owned(),
                security_token: None,
            };
            sign(&mut command, &credentials);
        }
        let reply = connections
            .call(addr, command, Deadline::after(ANSWER))
            .await?;
        let body = if (3001..=3010).contains(&step.code) {
            String::from_utf8_lossy(&reply.body).into_owned()
        } else {
            String::new()
        };
        // What a request that was let in gets is for other cases.
        let remark = match reply.code {
            16 | 29 => reply.remark.unwrap_or_default(),
            _ if step.code > 3000 => told(reply.remark.as_deref().unwrap_or_default()),
            _ => String::new(),
        };
        said.push(format!(
            "{} {:?} {:?} {} -> {} {remark:?} {body}",
            step.code, step.fields, step.user, step.body, reply.code
        ));
    }
    connections.close_all().await;
    Ok(said)
}

/// Java's text of an exception without the place in its code.
fn told(remark: &str) -> String {
    let text = remark
        .split_once("Exception: ")
        .map_or(remark, |(_, text)| text);
    text.split(", org.apache").next().unwrap_or(text).to_owned()
}

/// Every answer to a script of users, rules and requests is Apache's.
async fn answers(world: &mut World) -> Result {
    let dir = world.dir("auth")?;
    let class_path = world.tools.class_path.clone();
    let name_server = NameServer::start(&class_path, &dir.join("namesrv")).await?;
    let ns = name_server.addr().to_owned();
    let config = BrokerConfig {
        store: dir.join("store"),
        more: settings(),
        ..BrokerConfig::new(&ns, "broker-a", "DefaultCluster")
    };
    let broker = Broker::start(&class_path, &dir.join("broker"), &config).await?;
    let theirs = script(broker.addr()).await;
    broker.kill().await?;
    name_server.kill().await?;
    let served = by_file(world).await?;
    let ours = script(&served.broker).await;
    served.kill().await?;
    let (theirs, ours) = (theirs?, ours?);
    let mut differences = Vec::new();
    for (theirs, ours) in theirs.iter().zip(&ours) {
        if theirs != ours {
            differences.push(format!("Apache: {theirs}\nours:   {ours}"));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} of {} answers differ\n{}",
        differences.len(),
        ours.len(),
        differences.join("\n")
    )
    .into())
}

/// Java's producer, consumer and mqadmin at a server of ours that asks for users.
async fn java_clients(world: &mut World) -> Result {
    let served = secured(world, "auth-clients").await?;
    let (ns, broker) = (served.namesrv.clone(), served.broker.clone());
    let out = world.dir("auth-clients")?.join("mqadmin");
    for (args, expected) in [
        (
            "createUser -b {b} -u alice -p alice-secret",
            "create user to {b} success.",
        ),
        (
            "createUser -b {b} -u eve -p eve-secret -t Normal",
            "create user to {b} success.",
        ),
        (
            "createAcl -b {b} -s User:alice -r Topic:Signed -a Pub,Sub,Get -d Allow",
            "create acl to {b} success.",
        ),
        (
            "createAcl -b {b} -s User:alice -r Group:G* -a Sub,Get -d Allow",
            "create acl to {b} success.",
        ),
        (
            "updateUser -b {b} -u eve -s disable",
            "update user to {b} success.",
        ),
        ("getUser -b {b} -u eve", "disable"),
        ("listUser -c DefaultCluster", "alice-secret"),
        (
            "updateAcl -b {b} -s User:alice -r Topic:Signed -a Pub,Sub,Get -i 127.0.0.1 -d Allow",
            "update acl to {b} success.",
        ),
        ("getAcl -b {b} -s User:alice", "[127.0.0.1]"),
        ("listAcl -c DefaultCluster -r Group", "Group:G*"),
        ("deleteUser -b {b} -u eve", "delete user to {b} success."),
        ("copyUser -f {b} -t {b} -u alice", "success"),
        ("copyAcl -f {b} -t {b} -s User:alice", "success"),
        ("updateTopic -b {b} -t Signed -r 1 -w 1", "success"),
        ("topicList", "Signed"),
    ] {
        let fill = |text: &str| text.replace("{b}", &broker);
        let printed = signed_admin(world, &out, &format!("{} -n {ns}", fill(args)), ROOT).await?;
        if !printed.contains(&fill(expected)) {
            return Err(format!("mqadmin {args} printed\n{printed}").into());
        }
    }
    let driver = world.driver()?;
    for (user, secret, topic, expected) in [
        ("alice", "alice-secret", "Signed", "sent"),
        ("alice", "wrong", "Signed", "check signature failed."),
        ("nobody", "x", "Signed", "User:nobody is not found."),
        (
            "alice",
            "alice-secret",
            "Other",
            "User:alice has no permission to access Topic:Other",
        ),
    ] {
        let told = driver
            .ask(
                "signedsend",
                &[
                    ("ns", &ns),
                    ("user", user),
                    ("secret", secret),
                    ("topic", topic),
                ],
            )
            .await?;
        if !told.contains(expected) {
            return Err(format!("{user} sends to {topic}: {told}").into());
        }
    }
    for (group, wait_ms, expected) in [("G1", "30000", "received"), ("Other", "3000", "nothing")] {
        let told = driver
            .ask(
                "signedpush",
                &[
                    ("ns", &ns),
                    ("user", "alice"),
                    ("secret", "alice-secret"),
                    ("topic", "Signed"),
                    ("group", group),
                    ("wait_ms", wait_ms),
                ],
            )
            .await?;
        if told != expected {
            return Err(format!("group {group} got: {told}").into());
        }
    }
    served.stop().await
}

pub(super) async fn signed_admin(
    world: &mut World,
    out: &Path,
    args: &str,
    (user, secret): (&str, &str),
) -> Result<String> {
    let file = out.display().to_string();
    let options = [
        ("user", user),
        ("secret", secret),
        ("args", args),
        ("out", &file),
    ];
    world.driver()?.ask("signedadmin", &options).await?;
    Ok(String::from_utf8_lossy(&std::fs::read(out)?).into_owned())
}
