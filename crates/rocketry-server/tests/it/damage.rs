//! Every file of a data directory is damaged, one at a time and in every way: the server starts, names the damage and has kept what could
//! be kept, or refuses and says what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rocketry_protocol::{
    RemotingCommand, RequestCode,
    acl::sign,
    batch::{BatchItem, encode_item},
    body::{
        self,
        access::UserInfo,
        assignment::{MessageRequestMode, SetMessageRequestModeRequestBody},
        groups::{SubscriptionGroupConfig, SubscriptionGroupWrapper},
        topics::TopicConfig,
    },
    header::{
        CreateTopicRequest, CreateUserRequest, GetKvConfigRequest, GetTopicConfigRequest,
        GetUserRequest, PopMessageRequest, PutKvConfigRequest, QueryConsumerOffsetRequest,
        SendBatchMessageRequest, SendMessageRequest, UpdateConsumerOffsetRequest,
    },
    sys_flag::{INNER_BATCH, NEED_UNWRAP, TRANSACTION_PREPARED},
};
use rocketry_server::{AccessOptions, Credentials, DataDir, FirstUser, Server, ServerConfig};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::common::{TIMEOUT, Wire, request_to, send};

const ROOT: (&str, &str) = ("root", "root-secret");
const HALF: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
const DELAYED: &str = "SCHEDULE_TOPIC_XXXX";
const TIMED: &str = "rmq_sys_wheel_timer";

/// What is said of damage to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// A note, or the error of a refused start, names the file.
    Always,
    /// The same, but not where these damages leave all that the file is for.
    Unless(&'static [&'static str]),
    /// Nothing has to be said: the file is not read, or only where another is damaged.
    Nothing,
    /// The start is refused, but for a file that was removed: then there is a first user again, of whom the start tells.
    Users,
}

/// Every file that a server writes is of one of these rows, the first whose path it begins with, and ends with.
const ROWS: &[(&str, &str, Says)] = &[
    // no derived file: see `s110_damaged_logs_are_refused_by_name` of the store
    ("commitlog/", "", Says::Nothing),
    // its content is for people
    ("lock", "", Says::Nothing),
    // that it is there says that the stop was not clean; what is in it is for people
    ("abort", "", Says::Nothing),
    // the fields are in the half that is left
    ("checkpoint", "", Says::Unless(&["cut to a half"])),
    ("consumequeue/", "", Says::Always),
    ("batchconsumequeue/", "", Says::Always),
    ("index/", "", Says::Always),
    ("timerwheel", "", Says::Always),
    // what it has is in the half that is left, and a file alone says how long such files are
    ("timerlog/", "", Says::Unless(&["cut to a half"])),
    ("config/timercheck", "", Says::Unless(&["cut to a half"])),
    // a spare
    ("config/", ".bak", Says::Nothing),
    ("namesrv/", ".bak", Says::Nothing),
    ("config/rocketry-access.json", "", Says::Users),
    ("config/", ".json", Says::Always),
    ("config/timermetrics", "", Says::Always),
    ("namesrv/kvConfig.json", "", Says::Always),
];

fn row(name: &str) -> Option<Says> {
    let is_of =
        |(begin, end, _): &&(&str, &str, Says)| name.starts_with(begin) && name.ends_with(end);
    ROWS.iter().find(is_of).map(|(_, _, says)| *says)
}

fn config_in(dir: &Path) -> ServerConfig {
    let mut access = AccessOptions::default();
    access.first_user = FirstUser::Named {
        name: ROOT.0.to_owned(),
        secret: ROOT.1.to_owned(),
    };
    // all but those that manage users
    access.open_codes = (10..=400).chain(200_050..=200_060).collect();
    let mut config = ServerConfig::temp();
    config.access = Some(access);
    config.data_dir = DataDir::Path(dir.to_owned());
    config.files.log_bytes = 64 * 1024;
    config.files.queue_bytes = 400;
    config.files.batch_queue_bytes = 460;
    config.files.timer_log_bytes = 4096;
    config.files.index_slots = 20;
    config.files.index_units = 30;
    config
}

fn signed(mut command: RemotingCommand) -> RemotingCommand {
    sign(
        &mut command,
        &Credentials {
            access_key: ROOT.0.to_owned(),
            secret_key: ROOT.1.to_owned(),
            security_token: None,
        },
    );
    command
}

async fn ok(wire: &Wire, command: RemotingCommand) -> RemotingCommand {
    let response = wire.broker(command).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    response
}

/// A change of every setting to what `round` says, and messages of every kind.
async fn fill(wire: &Wire, round: i32) {
    for (topic, attributes) in [("T", None), ("B", Some("+queue.type=BatchCQ"))] {
        let create = CreateTopicRequest {
            topic,
            default_topic: "TBW102",
            read_queue_nums: 2 + round,
            write_queue_nums: 2,
            perm: 6,
            topic_filter_type: "SINGLE_TAG",
            attributes: attributes.filter(|_| round == 1),
            ..CreateTopicRequest::default()
        };
        ok(wire, RemotingCommand::request(&create)).await;
    }
    let group = SubscriptionGroupConfig {
        group_name: "CG".to_owned(),
        retry_max_times: round,
        ..SubscriptionGroupConfig::default()
    };
    let create = RemotingCommand::bare_request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP);
    ok(wire, create.with_body(body::encode(&group).unwrap())).await;
    let mode = SetMessageRequestModeRequestBody {
        consumer_group: format!("PG{round}"),
        mode: Some(MessageRequestMode::Pop),
        pop_share_queue_num: 0,
        topic: "T".to_owned(),
    };
    let set = RemotingCommand::bare_request(RequestCode::SET_MESSAGE_REQUEST_MODE);
    // its code is not among those that are open
    ok(wire, signed(set.with_body(body::encode(&mode).unwrap()))).await;
    let value = round.to_string();
    let put = PutKvConfigRequest {
        namespace: "NS",
        key: "k",
        value: &value,
    };
    let put = wire.ask_namesrv(&put).await;
    assert_eq!(put.code, 0, "{:?}", put.remark);
    let name = format!("user-{round}");
    let user = UserInfo {
        password: Some("secret-of-theirs".to_owned()),
        ..UserInfo::default()
    };
    let create = CreateUserRequest {
        username: Some(&name),
    };
    let text = body::encode(&user).unwrap();
    ok(
        wire,
        signed(RemotingCommand::request(&create).with_body(text)),
    )
    .await;

    for n in 0..30 {
        let properties = format!("UNIQ_KEY\u{1}id-{round}-{n}\u{2}KEYS\u{1}k{n}\u{2}");
        wire.put("T", n % 2, &properties, &format!("{round}-{n}"))
            .await;
    }
    for n in 0..15 {
        send_batch(wire, &format!("{round}-{n}")).await;
    }
    wire.put("T", 0, "DELAY\u{1}1\u{2}", &format!("soon {round}"))
        .await;
    wire.put("T", 0, "DELAY\u{1}18\u{2}", &format!("late {round}"))
        .await;
    let timed = format!("TIMER_DELAY_SEC\u{1}3600\u{2}UNIQ_KEY\u{1}timed-{round}\u{2}");
    wire.put("T", 0, &timed, &format!("timed {round}")).await;
    let half = SendMessageRequest {
        sys_flag: TRANSACTION_PREPARED,
        properties: "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}PG\u{2}",
        ..request_to("T")
    };
    ok(wire, send(&half, format!("half {round}"))).await;
    let commit = UpdateConsumerOffsetRequest {
        consumer_group: "CG",
        topic: "T",
        queue_id: 0,
        commit_offset: round.into(),
        broker_name: None,
    };
    ok(wire, RemotingCommand::request(&commit)).await;
    let pop = PopMessageRequest {
        consumer_group: "OG",
        topic: "T",
        queue_id: 1,
        max_msg_nums: round,
        invisible_time: 10,
        born_time: jiff::Timestamp::now().as_millisecond(),
        order: Some(true),
        attempt_id: Some("a"),
        exp_type: Some("TAG"),
        exp: Some("*"),
        ..PopMessageRequest::default()
    };
    ok(wire, signed(RemotingCommand::request(&pop))).await;
    // what was due soon
    while values(wire).await["config/delayOffset.json"] != round.to_string() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn send_batch(wire: &Wire, name: &str) {
    let mut batch = Vec::new();
    for n in 0..2 {
        let properties = format!("UNIQ_KEY\u{1}batch-{name}-{n}\u{2}");
        let item = BatchItem {
            flag: 0,
            body: name.as_bytes(),
            properties: properties.as_bytes(),
        };
        encode_item(&item, &mut batch).unwrap();
    }
    let properties = format!("UNIQ_KEY\u{1}batch-{name}\u{2}INNER_NUM\u{1}2\u{2}");
    let request = SendMessageRequest {
        batch: true,
        sys_flag: INNER_BATCH | NEED_UNWRAP,
        properties: &properties,
        ..request_to("B")
    };
    let command = RemotingCommand::request(&SendBatchMessageRequest(request));
    ok(wire, command.with_body(batch)).await;
}

/// What the settings are, by the file that has them.
async fn values(wire: &Wire) -> BTreeMap<&'static str, String> {
    let topic = GetTopicConfigRequest {
        topic: "T",
        logical: None,
    };
    let topic = ok(wire, RemotingCommand::request(&topic)).await;
    let topic: TopicConfig = body::decode(&topic.body).unwrap();
    let groups = RemotingCommand::bare_request(RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
    let groups = ok(wire, groups).await;
    let groups: SubscriptionGroupWrapper = body::decode(&groups.body).unwrap();
    let retries = groups.subscription_group_table["CG"].retry_max_times;
    let offset = QueryConsumerOffsetRequest {
        consumer_group: "CG",
        topic: "T",
        queue_id: 0,
        set_zero_if_not_found: None,
        broker_name: None,
    };
    let offset = ok(wire, RemotingCommand::request(&offset)).await;
    let kv = GetKvConfigRequest {
        namespace: "NS",
        key: "k",
    };
    let kv = wire.ask_namesrv(&kv).await;
    let delays = RemotingCommand::bare_request(RequestCode::GET_ALL_DELAY_OFFSET);
    let delays = ok(wire, delays).await;
    let delays: DelayOffsets = body::decode(&delays.body).unwrap();
    let text = |response: &RemotingCommand, field| response.field(field).unwrap_or("").to_owned();
    BTreeMap::from([
        (
            "config/topics.json",
            (topic.read_queue_nums - 2).to_string(),
        ),
        ("config/subscriptionGroup.json", retries.to_string()),
        ("config/consumerOffset.json", text(&offset, "offset")),
        ("namesrv/kvConfig.json", text(&kv, "value")),
        (
            "config/delayOffset.json",
            delays.offset_table.get(&1).unwrap_or(&0).to_string(),
        ),
    ])
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DelayOffsets {
    offset_table: BTreeMap<i32, i64>,
}

/// The bodies of all queues, in order.
async fn messages(wire: &Wire) -> BTreeMap<(&'static str, i32), Vec<Vec<u8>>> {
    let mut all = BTreeMap::new();
    for (topic, queue_id) in [
        ("T", 0),
        ("T", 1),
        ("B", 0),
        (DELAYED, 0),
        (DELAYED, 17),
        (TIMED, 0),
        (HALF, 0),
    ] {
        let found = wire.read_all(topic, queue_id).await.into_iter();
        all.insert((topic, queue_id), found.map(|m| m.body.to_vec()).collect());
    }
    all
}

/// Which of the users that were made can be found.
async fn users(wire: &Wire) -> Vec<i32> {
    let mut found = Vec::new();
    for round in [1, 2] {
        let name = format!("user-{round}");
        let get = GetUserRequest {
            username: Some(&name),
        };
        let response = wire.broker(signed(RemotingCommand::request(&get))).await;
        if response.code == 0 && !response.body.is_empty() {
            found.push(round);
        }
    }
    found
}

/// Every file below `dir`, by its path relative to it.
fn files(dir: &Path) -> BTreeSet<String> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap();
                found.insert(name.to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(dir, dir, &mut found);
    found
}

/// Copies the files, keeping holes.
fn copy(from: &Path, to: &Path) {
    const PIECE: usize = 64 * 1024;
    static ZEROS: [u8; PIECE] = [0; PIECE];
    for name in files(from) {
        let target = to.join(&name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let mut source = fs::File::open(from.join(&name)).unwrap();
        let mut target = fs::File::create(target).unwrap();
        let mut piece = vec![0; PIECE];
        loop {
            let read = source.read(&mut piece).unwrap();
            if read == 0 {
                break;
            }
            if piece[..read] == ZEROS[..read] {
                target.seek_relative(i64::try_from(read).unwrap()).unwrap();
            } else {
                target.write_all(&piece[..read]).unwrap();
            }
        }
        target.set_len(source.metadata().unwrap().len()).unwrap();
    }
}

const DAMAGES: [&str; 6] = [
    "removed",
    "cut to nothing",
    "cut to a half",
    "random",
    "another shape",
    "a directory in its place",
];

/// Damages a file; false where the damage is none for files of its kind.
fn damage(path: &Path, how: &str) -> bool {
    let bytes = fs::read(path).unwrap();
    match how {
        "removed" => fs::remove_file(path).unwrap(),
        "cut to nothing" => fs::write(path, "").unwrap(),
        "cut to a half" => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        "random" => {
            // no more of a sparse file than it has
            let used = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
            let mut random = fastrand::Rng::with_seed(bytes.len() as u64);
            let noise: Vec<u8> = (0..used.max(8)).map(|_| random.u8(..)).collect();
            let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all(&noise).unwrap();
        }
        "another shape" => {
            // valid JSON that no table is of
            if !bytes.starts_with(b"{") {
                return false;
            }
            fs::write(path, "[[1,{\"files\":{\"queues\":7}}],null]").unwrap();
        }
        "a directory in its place" => {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }
        other => panic!("{other}"),
    }
    true
}

/// A text and those of all its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What a store was before it was damaged.
struct Whole {
    dir: PathBuf,
    messages: BTreeMap<(&'static str, i32), Vec<Vec<u8>>>,
    values: BTreeMap<&'static str, String>,
}

/// Starts a server on a damaged copy. Returns what came of it.
async fn start_damaged(whole: &Whole, name: &str, how: &str, abort: bool) -> Option<&'static str> {
    let what = format!("{name}, {how}, abort {abort}");
    let dir = tempfile::tempdir().unwrap();
    copy(&whole.dir, dir.path());
    if abort {
        fs::write(dir.path().join("abort"), "12345").unwrap();
    }
    if !damage(&dir.path().join(name), how) {
        return None;
    }
    let says = row(name).unwrap();
    // the directory of a queue is what is named, and of all of a kind that are missing, the kind
    let stem = name.rsplit_once('/').map_or(name, |(dir, file)| {
        if file.len() == 20 && file.bytes().all(|byte| byte.is_ascii_digit()) {
            dir.split_once('/').map_or(dir, |(_, queue)| queue)
        } else {
            file
        }
    });
    let server = match Server::start(config_in(dir.path())).await {
        Ok(server) => server,
        Err(error) => {
            let text = chain(&error);
            let advice = ["restore", "repair", "move", "remove", "create"];
            assert!(text.contains(stem), "{what}: {text}");
            assert!(
                advice.iter().any(|word| text.contains(word)),
                "{what}: {text}"
            );
            return Some("refused");
        }
    };
    let notes = server.notes().to_vec();
    let is_named = notes.iter().any(|note| note.contains(stem));
    match says {
        Says::Nothing => {}
        Says::Users => assert!(how == "removed" && server.first_user().is_some(), "{what}"),
        Says::Unless(harmless) if harmless.contains(&how) => {}
        Says::Always | Says::Unless(_) => assert!(is_named, "{what}: {notes:?}"),
    }
    let wire = Wire::to(server);
    for (queue, found) in messages(&wire).await {
        let expected = &whole.messages[&queue];
        assert!(
            found.starts_with(expected),
            "{what}: {queue:?} had {} messages and has {}",
            expected.len(),
            found.len()
        );
    }
    for (file, found) in values(&wire).await {
        let expected = &whole.values[file];
        // the version before it; a note of how far delays are only ever repeats messages
        let is_before = file == name && found == "1";
        let is_ahead = file == "config/delayOffset.json" && found >= *expected;
        assert!(
            found == *expected || is_before || is_ahead,
            "{what}: {file} has {found}, not {expected}"
        );
    }
    let expected: &[i32] = if says == Says::Users { &[] } else { &[1, 2] };
    assert_eq!(users(&wire).await, expected, "{what}");
    wire.server.shutdown(TIMEOUT).await.unwrap();
    assert!(!dir.path().join("abort").exists(), "{what}");
    Some(if is_named { "named" } else { "harmless" })
}

/// S7: after a clean stop, and with the abort marker left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_every_damaged_file_is_repaired_and_named_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    for round in [1, 2] {
        let wire = Wire::with(config_in(dir.path())).await;
        assert_eq!(wire.server.notes(), [""; 0]);
        fill(&wire, round).await;
        wire.server.shutdown(TIMEOUT).await.unwrap();
    }
    let whole = {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let wire = Wire::with(config_in(copied.path())).await;
        assert_eq!(wire.server.notes(), [""; 0]);
        Arc::new(Whole {
            dir: dir.path().to_owned(),
            messages: messages(&wire).await,
            values: values(&wire).await,
        })
    };
    assert!(whole.messages.values().all(|queue| queue.len() >= 2));
    assert!(
        whole.values.values().all(|value| value == "2"),
        "{:?}",
        whole.values
    );

    let names = files(dir.path());
    let uncovered: Vec<_> = names.iter().filter(|name| row(name).is_none()).collect();
    assert!(
        uncovered.is_empty(),
        "no row says what becomes of {uncovered:?}"
    );
    for (begin, end, _) in ROWS {
        let is_there = names
            .iter()
            .any(|name| name.starts_with(begin) && name.ends_with(end));
        assert!(is_there || *begin == "abort", "there is no {begin}*{end}");
    }

    let permits = Arc::new(Semaphore::new(4));
    let mut starts = JoinSet::new();
    let abort = "abort".to_owned();
    let subjects = names
        .iter()
        .filter(|name| !name.starts_with("commitlog/"))
        .chain([&abort]);
    for (number, name) in subjects.enumerate() {
        // the many files of queues and index take turns
        let is_one_of_many = name.contains("consumequeue/") || name.starts_with("index/");
        for (turn, how) in DAMAGES.iter().enumerate() {
            if is_one_of_many && (number + turn) % 4 != 0 {
                continue;
            }
            for abort in [false, true] {
                if *name == "abort" && !abort {
                    continue;
                }
                let (whole, permits) = (Arc::clone(&whole), Arc::clone(&permits));
                let name = name.clone();
                starts.spawn(async move {
                    let _permit = permits.acquire().await.unwrap();
                    start_damaged(&whole, &name, how, abort).await
                });
            }
        }
    }
    let (mut counts, mut failed) = (BTreeMap::new(), 0);
    while let Some(outcome) = starts.join_next().await {
        match outcome {
            Ok(Some(outcome)) => *counts.entry(outcome).or_insert(0) += 1,
            Ok(None) => {}
            // what it was is printed above
            Err(_) => failed += 1,
        }
    }
    assert_eq!(failed, 0, "of {counts:?}");
    println!("{} files, {counts:?}", names.len());
}
