//! S-V4: requests recorded between Java's clients and servers, replayed in their order against ours; code, remark, header fields and
//! what the body says must be those of the recorded answer, without addresses and times.
//!
//! The vectors are read from the folder that `ROCKETRY_VECTORS` names, or else from the protocol crate's tests.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use bytes::{BufMut as _, BytesMut};
use rocketry_protocol::{
    Fields, Language, MessageExt, RemotingCommand, ResponseCode,
    body::heartbeat::{ConsumeFromWhere, MessageModel, SubscriptionData},
    header::{CreateTopicRequest, PullMessageRequest, SendMessageRequest},
};
use rocketry_remoting::{ConnectOptions, Connections, Deadline, Handler, Responder};
use rocketry_server::{Server, ServerConfig};
use serde_json::Value;

use crate::common::{TIMEOUT, beat, heartbeat, pull, request_to, send};

/// Answers that differ on purpose, each with the reason.
const DIFFERENT: [(&str, &str); 4] = [
    (
        "e013",
        "asks for a time of the recording; here every message is newer",
    ),
    (
        "e033",
        "claims the name of the broker of this process: code 1",
    ),
    (
        "e094",
        "asks for a password, unsigned: super users alone are told",
    ),
    (
        "e095",
        "asks for passwords, unsigned: super users alone are told",
    ),
];

/// Bodies that tell of what the file leaves out, each with what that is: they have the same members, and not all values.
const LEFT_OUT: [(&str, &str); 14] = [
    ("e001", "the sends to queue 1"),
    (
        "e011",
        "topics that were created, and what their owners wanted of them",
    ),
    (
        "e017",
        "sends, one of which is at the start of the log here",
    ),
    ("e039", "groups that were created"),
    ("e040", "the messages of a second"),
    ("e042", "connections: here all clients share one"),
    ("e044", "heartbeats, which create retry topics"),
    ("e046", "commits of offsets"),
    ("e053", "heartbeats, which create retry topics"),
    ("e056", "the times of the recording"),
    ("e071", "the times of the recording"),
    (
        "e073",
        "groups, commits and the messages of a second; and Java leaves pullOffset 0 here",
    ),
    ("e076", "sends, which move those behind them in the log"),
    ("e080", "connections: here all clients share one"),
];

/// Fields whose values say something about the run.
const VOLATILE: [&str; 10] = [
    "popTime",
    "reviveQid",
    "indexLastUpdateTimestamp",
    "indexLastUpdatePhyoffset",
    "msgId",
    "timestamp",
    "totalTopicNum",
    "totalGroupNum",
    "wipeTopicCount",
    "addTopicCount",
];

/// Codes that the server serves and that the recording's clients send.
const SERVED: [i32; 86] = [
    10, 11, 12, 14, 15, 17, 18, 21, 25, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 41, 42, 46,
    100, 101, 102, 103, 104, 105, 106, 200, 201, 202, 203, 204, 205, 206, 207, 208, 215, 216, 217,
    219, 222, 223, 224, 225, 300, 303, 304, 306, 307, 309, 310, 314, 315, 316, 317, 318, 320, 321,
    325, 327, 328, 329, 343, 345, 351, 353, 361, 370, 400, 401, 3001, 3002, 3003, 3004, 3005, 3006,
    3007, 3008, 3009, 3010, 200_050, 200_051, 200_053,
];

struct Agreeable;

impl Handler for Agreeable {
    fn handle(&self, _: RemotingCommand, responder: Responder) {
        responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body("{}"));
    }
}

#[tokio::test]
async fn recorded_requests_get_the_recorded_answers() {
    let Some(file) = vectors() else { return };
    let mut config = ServerConfig::temp();
    // Off in Java, and in the recording.
    config.recall_messages = false;
    let server = Server::start(config).await.unwrap();
    let client = Connections::new(ConnectOptions::default(), Arc::new(Agreeable));
    let mut cases: Vec<&Value> = file["exchanges"].as_array().unwrap().iter().collect();
    cases.retain(|case| case["sender"] == "client" && SERVED.contains(&code_of(case)));
    // All clients of the recording took their opaques from one counter. A pop was answered when its message came.
    cases.sort_by_key(|case| match case["id"].as_str() {
        Some("e101") => 633,
        _ => command(&case["request"]).opaque,
    });
    let mut failures = Vec::new();
    let mut compared = 0;
    for mut command in left_out_before() {
        command.language = Some(Language::JAVA);
        let deadline = Deadline::after(TIMEOUT);
        let made = client.call(server.broker_addr(), command, deadline).await;
        assert_eq!(made.unwrap().code, 0);
    }
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let addr = if case["server"] == "namesrv" {
            server.namesrv_addr()
        } else {
            server.broker_addr()
        };
        let request = command(&case["request"]);
        if case["response"].is_null() {
            client
                .oneway(addr, request, Deadline::after(TIMEOUT))
                .await
                .unwrap();
            continue;
        }
        let mut request = request;
        if case["name"] == "POP_MESSAGE" {
            request.fields.as_mut().unwrap().push("bornTime", "0");
        }
        // Nobody will send to the recording's queue: what waits there is told at once.
        if request.field("suspendTimeoutMillis").is_some() {
            request
                .fields
                .as_mut()
                .unwrap()
                .push("suspendTimeoutMillis", "1");
        }
        let ours = client
            .call(addr, request, Deadline::after(TIMEOUT))
            .await
            .unwrap();
        let theirs = command(&case["response"]);
        let compare = if relayed(code_of(case)) {
            Body::OfTheClient
        } else if LEFT_OUT.iter().any(|(left_out, _)| *left_out == id) {
            Body::Members
        } else {
            Body::Values
        };
        let difference = difference(&theirs, &ours, compare);
        if compare == Body::Members && body(&theirs) == body(&ours) {
            failures.push(format!("{id}: its body no longer differs"));
        }
        let on_purpose = DIFFERENT.iter().any(|(different, _)| *different == id);
        match difference {
            Some(text) if !on_purpose => failures.push(format!("{id} ({}): {text}", case["name"])),
            None if on_purpose => failures.push(format!("{id}: no longer differs")),
            _ => compared += 1,
        }
        for mut command in left_out_after(id) {
            command.language = Some(Language::JAVA);
            client
                .call(server.broker_addr(), command, Deadline::after(TIMEOUT))
                .await
                .unwrap();
        }
    }
    assert!(
        failures.is_empty(),
        "{compared} alike; not alike:\n{}",
        failures.join("\n")
    );
    assert!(compared > 90, "{compared} compared");
}

/// The topic that is popped, and a consumer that is online: the recording has them from before.
fn left_out_before() -> Vec<RemotingCommand> {
    let topic = CreateTopicRequest {
        topic: "Pop",
        default_topic: "TBW102",
        read_queue_nums: 2,
        write_queue_nums: 2,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        topic_sys_flag: None,
        order: false,
        attributes: None,
        force: None,
    };
    let consumer = heartbeat("127.0.0.1@cp", "CGpop", MessageModel::Clustering, &["Pop"]);
    vec![RemotingCommand::request(&topic), beat(&consumer)]
}

/// What the recording's clients did and the file, which has one exchange of each kind, leaves out.
fn left_out_after(id: &str) -> Vec<RemotingCommand> {
    match id {
        // The second queue's other messages, and the group that pulls with its own subscription.
        "e009" => {
            let request = SendMessageRequest {
                queue_id: 1,
                properties: "TAGS\u{1}TagA\u{2}",
                ..request_to("T")
            };
            let pull = PullMessageRequest {
                consumer_group: "CGpull",
                ..pull("T", 0, 0)
            };
            vec![
                send(&request, "x"),
                send(&request, "x"),
                RemotingCommand::request(&pull),
            ]
        }
        // The next heartbeat of the consumer, with the subscription that its pulls name.
        "e019" => {
            let mut data = heartbeat(
                "127.0.0.1@c",
                "CG",
                MessageModel::Clustering,
                &["%RETRY%CG"],
            );
            let consumer = &mut data.consumer_data_set[0];
            consumer.consume_from_where = Some(ConsumeFromWhere::FirstOffset);
            consumer
                .subscription_data_set
                .push(SubscriptionData::by_tags(
                    "T",
                    "TagA || TagB",
                    1_795_345_304_832,
                ));
            vec![beat(&data)]
        }
        // The heartbeat of the consumer that filters by properties.
        "e028" => {
            let mut data = heartbeat(
                "127.0.0.1@cs",
                "CGsql",
                MessageModel::Clustering,
                &["%RETRY%CGsql"],
            );
            data.consumer_data_set[0]
                .subscription_data_set
                .push(SubscriptionData::by_sql("T", "a > 1", 1_795_345_306_370));
            vec![beat(&data)]
        }
        _ => Vec::new(),
    }
}

/// These are answered by the client.
fn relayed(code: i32) -> bool {
    [223, 307, 309].contains(&code)
}

/// What of a body has to be the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    Values,
    Members,
    OfTheClient,
}

fn difference(theirs: &RemotingCommand, ours: &RemotingCommand, compare: Body) -> Option<String> {
    if theirs.code != ours.code {
        return Some(format!(
            "code {} instead of {}, {:?}",
            ours.code, theirs.code, ours.remark
        ));
    }
    // Java sets it before a processor has begun; it says nothing.
    let remark = |command: &RemotingCommand| {
        let remark = command.remark.clone();
        remark.filter(|text| text != "not set any response code")
    };
    let (said, say) = (remark(theirs), remark(ours));
    if said != say {
        return Some(format!("remark {say:?} instead of {said:?}"));
    }
    let (theirs_fields, our_fields) = (fields(theirs), fields(ours));
    if theirs_fields != our_fields {
        return Some(format!(
            "fields {our_fields:?} instead of {theirs_fields:?}"
        ));
    }
    let said = |command| match compare {
        Body::Values => body(command),
        Body::Members => member_names(command),
        Body::OfTheClient => BTreeSet::new(),
    };
    let (their_body, our_body) = (said(theirs), said(ours));
    if their_body != our_body {
        return Some(format!(
            "body: missing {:?}, beyond {:?}",
            their_body.difference(&our_body).collect::<Vec<_>>(),
            our_body.difference(&their_body).collect::<Vec<_>>()
        ));
    }
    None
}

fn fields(command: &RemotingCommand) -> BTreeSet<(String, String)> {
    let mut fields = BTreeSet::new();
    for (key, value) in command.fields.iter().flat_map(Fields::iter) {
        let value = if VOLATILE.contains(&key) {
            "*"
        } else {
            value.unwrap_or_default()
        };
        fields.insert((key.to_owned(), value.to_owned()));
    }
    fields
}

/// Names of members in a JSON body, as far as they are names of Java's and not of topics, groups or clients.
fn member_names(command: &RemotingCommand) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(&command.body);
    let mut names = BTreeSet::new();
    for (end, _) in text.match_indices("\":") {
        let Some(start) = text[..end].rfind('"') else {
            continue;
        };
        let name = &text[start + 1..end];
        let is_member = name.len() > 1
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric());
        if is_member {
            names.insert(name.to_owned());
        }
    }
    names
}

/// What a body says, one text per value: of records what their messages are, of JSON each leaf with its path.
fn body(command: &RemotingCommand) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(&command.body);
    if let Some(value) = json(&text) {
        let mut leaves = BTreeSet::new();
        collect(&value, "", &mut leaves);
        return leaves;
    }
    let (messages, fault) = MessageExt::decode_until_fault(&command.body, &Arc::from("broker-a"));
    if !messages.is_empty() && fault.is_none() {
        return messages.iter().flat_map(message).collect();
    }
    text.lines().map(str::to_owned).collect()
}

/// A message without what says something about the run.
fn message(message: &MessageExt) -> Vec<String> {
    let place = format!(
        "{} {} {}",
        message.topic, message.queue_id, message.queue_offset
    );
    let mut said = vec![
        format!("{place} body {:?}", message.body),
        format!("{place} crc {} flag {}", message.body_crc, message.flag),
        format!("{place} sys flag {}", message.sys_flag),
        format!("{place} born {}", message.born_ms),
        format!("{place} tried {}", message.reconsume_times),
    ];
    for (name, value) in message.properties.iter() {
        said.push(format!("{place} {name}={value}"));
    }
    said
}

/// Java's JSON with keys that are numbers or objects, such keys as texts.
fn json(text: &str) -> Option<Value> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = if c == '"' {
            text_end(rest)?
        } else if (c == '{' || c == ',')
            && rest[1..].starts_with(|c: char| c == '{' || c.is_ascii_digit())
        {
            let key = &rest[1..];
            let end = if key.starts_with('{') {
                key.find(['}', '['])? + 1
            } else {
                key.find(|c: char| !c.is_ascii_digit())?
            };
            if key[end..].starts_with(':') {
                out.push(c);
                out.push_str(&serde_json::to_string(&key[..end]).ok()?);
                rest = &rest[1 + end..];
                continue;
            }
            1
        } else {
            c.len_utf8()
        };
        out.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    serde_json::from_str(&out).ok()
}

/// Where the text ends that begins here.
fn text_end(rest: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn collect(value: &Value, path: &str, leaves: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                collect(value, &format!("{path}.{name}"), leaves);
            }
        }
        // Java's lists are sets as often as not.
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                collect(item, &format!("{path}[]"), leaves);
            }
        }
        leaf => {
            let name = path.rsplit('.').next().unwrap_or_default();
            let text = leaf
                .as_str()
                .map_or_else(|| leaf.to_string(), str::to_owned);
            leaves.insert(format!(
                "{path}={}",
                if VOLATILE.contains(&name) {
                    "*".to_owned()
                } else {
                    of_no_run(&text)
                }
            ));
        }
    }
}

/// Addresses and times of the run and of the recording are all the same here.
fn of_no_run(text: &str) -> String {
    const MS_DIGITS: usize = 13;
    if text.starts_with("127.0.0.") && text.contains(':') {
        return "ADDRESS".to_owned();
    }
    if text.len() == MS_DIGITS && text.bytes().all(|b| b.is_ascii_digit()) {
        return "TIME".to_owned();
    }
    text.to_owned()
}

fn code_of(case: &Value) -> i32 {
    i32::try_from(case["code"].as_i64().unwrap()).unwrap()
}

/// A side of an exchange as a command: the header's text and the body.
fn command(side: &Value) -> RemotingCommand {
    let header = side["header_text"].as_str().unwrap();
    let body = match (side["body_text"].as_str(), side["body_hex"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(hex)) => hex
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
            .collect(),
        (None, None) => Vec::new(),
    };
    let mut frame = BytesMut::new();
    frame.put_u32(u32::try_from(header.len()).unwrap());
    frame.put_slice(header.as_bytes());
    frame.put_slice(&body);
    RemotingCommand::decode(frame.freeze()).unwrap()
}

fn vectors() -> Option<Value> {
    let folder = std::env::var_os("ROCKETRY_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../rocketry-protocol/tests/vectors"),
        PathBuf::from,
    );
    let path = folder.join("exchanges.json");
    match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).unwrap()),
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}", path.display());
            None
        }
    }
}
