use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use rocketry_protocol::{
    MessageExt, RemotingCommand, RequestCode,
    body::{self, groups::SubscriptionGroupConfig},
    header::{ConsumerSendMsgBackRequest, PullMessageRequest, SendMessageRequest, pull_sys_flag},
    id::parse_offset_msg_id,
    properties::name,
};
use rocketry_remoting::Unsupported;
use rocketry_server::{DataDir, ServerConfig};
use tokio::{task::JoinSet, time::Instant};

use crate::common::{Wire, decode, pull, request_to, send};

/// Waits for the message at the start of a queue.
async fn first_of(wire: &Wire, topic: &str, queue_id: i32) -> MessageExt {
    let request = PullMessageRequest {
        sys_flag: pull_sys_flag::SUBSCRIPTION | pull_sys_flag::SUSPEND,
        suspend_timeout_millis: 10_000,
        ..pull(topic, queue_id, 0)
    };
    let response = wire.ask_broker(&request).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    decode(&response.body).remove(0)
}

/// S-089 (level 1), S-090.
#[tokio::test]
async fn s089_a_delayed_message_arrives_in_time_and_keeps_its_properties() {
    let wire = Wire::start().await;
    wire.put("T", 1, "", "other queue").await;
    let asked = Instant::now();
    let asked_ms = jiff::Timestamp::now().as_millisecond();
    let reply = wire
        .put(
            "T",
            0,
            "TAGS\u{1}A\u{2}DELAY\u{1}1\u{2}UNIQ_KEY\u{1}mine\u{2}",
            "later",
        )
        .await;
    assert_eq!(
        (reply.queue_id, reply.queue_offset),
        (0, 0),
        "the queue asked for, the offset where it waits"
    );
    let message = first_of(&wire, "T", 0).await;
    let waited = asked.elapsed();
    assert!(
        waited >= Duration::from_millis(990) && waited < Duration::from_secs(2),
        "{waited:?}"
    );
    assert_eq!(&*message.body, b"later");
    assert_eq!(
        (message.tags(), message.msg_id().as_str()),
        (Some("A"), "mine")
    );
    assert_eq!(message.property(name::DELAY), Some("1"));
    assert_eq!(message.property(name::REAL_TOPIC), Some("T"));
    assert_eq!(message.property(name::REAL_QID), Some("0"));
    let waiting = parse_offset_msg_id(&reply.msg_id).unwrap().1;
    assert!(message.commit_log_offset > waiting, "stored a second time");
    assert!(message.store_ms >= asked_ms + 990, "when it was due");
}

/// S-091 for a clean stop, with a level above the last.
#[tokio::test]
async fn s091_waiting_messages_survive_a_stop_and_come_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.path().to_owned());
    let wire = Wire::with(config.clone()).await;
    wire.put("T", 0, "DELAY\u{1}1\u{2}", "first").await;
    assert_eq!(&*first_of(&wire, "T", 0).await.body, b"first");
    wire.put("T", 0, "DELAY\u{1}1\u{2}", "second").await;
    wire.put("T", 0, "DELAY\u{1}25\u{2}", "in two hours").await;
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();

    let wire = Wire::with(config).await;
    let request = PullMessageRequest {
        sys_flag: pull_sys_flag::SUBSCRIPTION | pull_sys_flag::SUSPEND,
        suspend_timeout_millis: 10_000,
        ..pull("T", 0, 1)
    };
    let response = wire.ask_broker(&request).await;
    assert_eq!(&*decode(&response.body)[0].body, b"second");
    let parked = wire.read_all("SCHEDULE_TOPIC_XXXX", 17).await;
    assert_eq!(parked[0].property(name::DELAY), Some("18"));
    assert_eq!(wire.read_all("T", 0).await.len(), 2);
}

fn back(offset: i64, delay_level: i32, max: Option<i32>) -> ConsumerSendMsgBackRequest<'static> {
    ConsumerSendMsgBackRequest {
        offset,
        group: "G",
        delay_level,
        origin_msg_id: None,
        origin_topic: Some("T"),
        unit_mode: false,
        max_reconsume_times: max,
        broker_name: None,
    }
}

/// S-036 (with a level of the client's choice), S-037, S-038.
#[tokio::test]
async fn s036_a_message_that_is_sent_back_returns_and_ends_as_a_dead_letter() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "hard").await;
    let original = wire.read_all("T", 0).await.remove(0);
    let response = wire
        .ask_broker(&back(original.commit_log_offset, 1, None))
        .await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    let retry = first_of(&wire, "%RETRY%G", 0).await;
    assert_eq!((&*retry.body, retry.reconsume_times), (&b"hard"[..], 1));
    assert_eq!(retry.property(name::RETRY_TOPIC), Some("T"));
    assert_eq!(
        retry.property(name::ORIGIN_MESSAGE_ID),
        Some(original.offset_msg_id().as_str())
    );
    assert_eq!(retry.property(name::WAIT), Some("false"));

    assert_eq!(
        wire.ask_broker(&back(retry.commit_log_offset, 0, Some(1)))
            .await
            .code,
        0
    );
    let dead = first_of(&wire, "%DLQ%G", 0).await;
    assert_eq!((&*dead.body, dead.reconsume_times), (&b"hard"[..], 2));
    assert_eq!(dead.property(name::DELAY), Some("0"));
    assert_eq!(dead.property(name::RETRY_TOPIC), Some("T"));
    assert_eq!(
        wire.ask_broker(&back(original.commit_log_offset, -1, None))
            .await
            .code,
        0
    );
    let response = wire.ask_broker(&back(1 << 40, 0, None)).await;
    assert_eq!(
        response.remark.as_deref(),
        Some("look message by offset failed, 1099511627776")
    );
    assert_eq!(response.code, 1);
    assert_eq!(wire.read_all("%DLQ%G", 0).await.len(), 2);
}

/// S-038.
#[tokio::test]
async fn s038_what_is_sent_back_needs_its_group() {
    let mut config = ServerConfig::temp();
    config.auto_create_groups = false;
    let wire = Wire::with(config).await;
    // at the start of the log
    wire.put("T", 0, "", "x").await;
    let response = wire.ask_broker(&back(0, 1, None)).await;
    let remark = response.remark.unwrap_or_default();
    assert_eq!(response.code, 26, "{remark}");
    assert!(
        remark.contains("subscription group not exist, G"),
        "{remark}"
    );
    let route = RemotingCommand::bare_request(RequestCode::GET_ROUTEINFO_BY_TOPIC)
        .with_field("topic", "%RETRY%G");
    assert_eq!(wire.namesrv(route).await.code, 17, "nothing was made");
}

/// S-039.
#[tokio::test]
async fn s039_a_plain_send_to_a_retry_topic_ends_as_a_dead_letter() {
    let wire = Wire::start().await;
    let request = SendMessageRequest {
        reconsume_times: 17,
        max_reconsume_times: Some(16),
        ..request_to("%RETRY%G")
    };
    assert_eq!(wire.broker(send(&request, "tried")).await.code, 0);
    let dead = first_of(&wire, "%DLQ%G", 0).await;
    assert_eq!(dead.property(name::DELAY), Some("-1"));
    let request = SendMessageRequest {
        reconsume_times: 16,
        max_reconsume_times: Some(16),
        ..request_to("%RETRY%G")
    };
    assert_eq!(wire.broker(send(&request, "once more")).await.code, 0);
    assert_eq!(&*first_of(&wire, "%RETRY%G", 0).await.body, b"once more");
}

/// S-040.
#[tokio::test]
async fn s040_a_group_without_retry_queues_drops_what_is_sent_back() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "x").await;
    let config = SubscriptionGroupConfig {
        group_name: "G".to_owned(),
        retry_queue_nums: 0,
        ..SubscriptionGroupConfig::default()
    };
    let command = RemotingCommand::bare_request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP)
        .with_body(body::encode(&config).unwrap());
    assert_eq!(wire.broker(command).await.code, 0);
    let peer = wire.join(Arc::new(Unsupported));
    assert_eq!(
        peer.call(RemotingCommand::request(&back(0, 0, None)))
            .await
            .code,
        0
    );
    let route = RemotingCommand::bare_request(RequestCode::GET_ROUTEINFO_BY_TOPIC)
        .with_field("topic", "%RETRY%G");
    assert_eq!(wire.namesrv(route).await.code, 17);
}

/// The retry topic has the queues that the group had when it was made: what is sent back later goes where consumers look.
#[tokio::test]
async fn what_is_sent_back_goes_into_queues_that_the_retry_topic_has() {
    let wire = Wire::start().await;
    let set = async |retry_queue_nums| {
        let config = SubscriptionGroupConfig {
            group_name: "G".to_owned(),
            retry_queue_nums,
            ..SubscriptionGroupConfig::default()
        };
        let command =
            RemotingCommand::bare_request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP)
                .with_body(body::encode(&config).unwrap());
        assert_eq!(wire.broker(command).await.code, 0);
    };
    wire.put("T", 0, "", "x").await;
    set(1).await;
    for round in 0..2 {
        for _ in 0..20 {
            assert_eq!(wire.ask_broker(&back(0, 1, None)).await.code, 0);
        }
        if round == 0 {
            set(4).await;
        }
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while wire.read_all("%RETRY%G", 0).await.len() < 40 {
        assert!(Instant::now() < deadline, "not all came to queue 0");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends until the server is not too busy for the message.
async fn put_at_last(wire: &Wire, properties: &str, body: String) {
    let request = SendMessageRequest {
        properties,
        ..request_to("T")
    };
    loop {
        let answer = wire.broker(send(&request, body.clone())).await;
        match answer.code {
            0 => return,
            2 => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => panic!("{answer:?}"),
        }
    }
}

/// How often each message of queue 0 came, once they are enough.
async fn arrived(
    wire: &Wire,
    is_enough: impl Fn(&BTreeMap<String, usize>) -> bool,
) -> BTreeMap<String, usize> {
    let all = async {
        loop {
            let mut times = BTreeMap::new();
            for message in wire.read_all("T", 0).await {
                let body = String::from_utf8(message.body.to_vec()).unwrap();
                *times.entry(body).or_default() += 1;
            }
            if is_enough(&times) {
                return times;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all)
        .await
        .unwrap()
}

/// Where some messages of a level are refused because others wait already, those that were taken do not come again with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_messages_come_once_while_the_server_is_busy() {
    const MESSAGES: usize = 100;
    let mut config = ServerConfig::temp();
    config.max_waiting_sends = 4;
    let wire = Wire::with(config).await;
    wire.put("Other", 0, "", "makes the topic").await;
    wire.put("T", 1, "", "makes the topic").await;
    // long ones, so that others come and go while the server puts those that are due
    let mut properties = "DELAY\u{1}1\u{2}".to_owned();
    for n in 0..500 {
        let _ = write!(properties, "property-{n}\u{1}x\u{2}");
    }
    for n in 0..MESSAGES {
        put_at_last(&wire, &properties, n.to_string()).await;
    }
    let mut senders = JoinSet::new();
    for _ in 0..4 {
        let peer = Arc::new(wire.join(Arc::new(Unsupported)));
        for _ in 0..8 {
            let peer = Arc::clone(&peer);
            senders.spawn(async move {
                loop {
                    let answer = peer.call(send(&request_to("Other"), "x")).await;
                    assert!([0, 2].contains(&answer.code), "{answer:?}");
                }
            });
        }
    }
    arrived(&wire, |times| times.len() == MESSAGES).await;
    senders.shutdown().await;
    // whatever is put again comes before one that is sent now
    put_at_last(&wire, "DELAY\u{1}1\u{2}", "last".to_owned()).await;
    let times = arrived(&wire, |times| times.contains_key("last")).await;
    assert_eq!(times.len(), MESSAGES + 1);
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
