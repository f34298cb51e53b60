use std::time::Duration;

use rocketry_protocol::{
    RemotingCommand, Request as _, RequestCode, body,
    body::groups::SubscriptionGroupConfig,
    body::heartbeat::MessageModel,
    header::{
        CreateTopicRequest, LitePullMessageRequest, OffsetReply, PullMessageReply,
        PullMessageRequest, QueryConsumerOffsetRequest, pull_sys_flag,
    },
};
use rocketry_server::{DataDir, ServerConfig};

use tokio::time::Instant;

use crate::common::{Wire, beat, decode, heartbeat, pull};

fn waiting(topic: &str, offset: i64, ms: i64) -> PullMessageRequest<'_> {
    PullMessageRequest {
        sys_flag: pull_sys_flag::SUBSCRIPTION | pull_sys_flag::SUSPEND,
        suspend_timeout_millis: ms,
        ..pull(topic, 0, offset)
    }
}

/// S-050.
#[tokio::test]
async fn s050_at_most_32_messages_or_256_kib_and_always_one() {
    let wire = Wire::start().await;
    for _ in 0..40 {
        wire.put("T", 0, "", "small").await;
    }
    let request = PullMessageRequest {
        max_msg_nums: 1000,
        ..pull("T", 0, 0)
    };
    let response = wire.ask_broker(&request).await;
    assert_eq!(response.remark.as_deref(), Some("FOUND"));
    assert_eq!(decode(&response.body).len(), 32);
    let reply: PullMessageReply = response.header().unwrap();
    assert_eq!(
        (reply.next_begin_offset, reply.min_offset, reply.max_offset),
        (32, 0, 40)
    );
    assert_eq!(reply.suggest_which_broker_id, 0);

    let large = "x".repeat(300 * 1024);
    wire.put("U", 0, "", &large).await;
    wire.put("U", 0, "", &large).await;
    let response = wire.ask_broker(&pull("U", 0, 0)).await;
    assert_eq!(decode(&response.body).len(), 1);
}

/// S-051.
#[tokio::test]
async fn s051_offsets_outside_the_queue() {
    let wire = Wire::start().await;
    for _ in 0..3 {
        wire.put("T", 0, "", "x").await;
    }
    for (queue, offset, code, next, remark) in [
        (0, 3, 19, 3, "OFFSET_OVERFLOW_ONE"),
        (0, 9, 21, 3, "OFFSET_OVERFLOW_BADLY"),
        (0, -1, 21, 0, "OFFSET_TOO_SMALL"),
        (1, 0, 19, 0, "NO_MATCHED_LOGIC_QUEUE"),
        (1, 5, 21, 0, "NO_MATCHED_LOGIC_QUEUE"),
    ] {
        let response = wire.ask_broker(&pull("T", queue, offset)).await;
        let reply: PullMessageReply = response.header().unwrap();
        assert_eq!(
            (response.code, reply.next_begin_offset),
            (code, next),
            "offset {offset}"
        );
        assert_eq!(response.remark.as_deref(), Some(remark));
        assert!(response.body.is_empty());
    }
}

/// S-052.
#[tokio::test]
async fn s052_a_message_wakes_a_parked_pull() {
    let wire = std::sync::Arc::new(Wire::start().await);
    wire.put("T", 0, "", "first").await;
    let peer = wire.join(std::sync::Arc::new(rocketry_remoting::Unsupported));
    let parked = tokio::spawn(async move {
        peer.call(RemotingCommand::request(&waiting("T", 1, 8000)))
            .await
    });
    wait_until_parked(&wire).await;
    let sent = Instant::now();
    wire.put("T", 0, "", "second").await;
    let response = parked.await.unwrap();
    assert!(
        sent.elapsed() < Duration::from_millis(500),
        "{:?}",
        sent.elapsed()
    );
    assert_eq!(response.code, 0);
    assert_eq!(&*decode(&response.body)[0].body, b"second");
}

/// The number of pulls that wait is part of the runtime information.
pub(crate) async fn wait_until_parked(wire: &Wire) {
    loop {
        let info = wire
            .broker(RemotingCommand::bare_request(
                RequestCode::GET_BROKER_RUNTIME_INFO,
            ))
            .await;
        let info: body::route::KVTable = body::decode(&info.body).unwrap();
        if info.table["pullThreadPoolQueueSize"] != "0" {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// S-052.
#[tokio::test]
async fn s052_a_parked_pull_ends_when_its_time_is_up() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "x").await;
    let asked = Instant::now();
    let response = wire.ask_broker(&waiting("T", 1, 300)).await;
    let waited = asked.elapsed();
    assert_eq!(response.code, 19);
    assert!(
        waited >= Duration::from_millis(300) && waited < Duration::from_millis(1300),
        "{waited:?}"
    );
}

/// S-053.
#[tokio::test]
async fn s053_other_tags_do_not_wake() {
    let wire = std::sync::Arc::new(Wire::start().await);
    wire.put("T", 0, "TAGS\u{1}A\u{2}", "a").await;
    let peer = wire.join(std::sync::Arc::new(rocketry_remoting::Unsupported));
    let parked = tokio::spawn(async move {
        let request = PullMessageRequest {
            subscription: Some("A"),
            ..waiting("T", 1, 8000)
        };
        peer.call(RemotingCommand::request(&request)).await
    });
    wait_until_parked(&wire).await;
    wire.put("T", 0, "TAGS\u{1}B\u{2}", "b").await;
    assert!(!parked.is_finished());
    wire.put("T", 0, "TAGS\u{1}A\u{2}", "a again").await;
    let response = parked.await.unwrap();
    let messages = decode(&response.body);
    assert_eq!(messages.len(), 1);
    assert_eq!(&*messages[0].body, b"a again");
}

/// S-054.
#[tokio::test]
async fn s054_tags_filter_by_hash() {
    let wire = Wire::start().await;
    for tag in ["A", "B", "C", "BB"] {
        wire.put("T", 0, &format!("TAGS\u{1}{tag}\u{2}"), tag).await;
    }
    let tags = |subscription| PullMessageRequest {
        subscription: Some(subscription),
        ..pull("T", 0, 0)
    };
    let response = wire.ask_broker(&tags("A || B")).await;
    let found: Vec<_> = decode(&response.body)
        .iter()
        .map(|m| m.tags().unwrap().to_owned())
        .collect();
    assert_eq!(found, ["A", "B"]);
    let response = wire.ask_broker(&tags("Aa")).await;
    assert_eq!(
        decode(&response.body)[0].tags(),
        Some("BB"),
        "one hash with Aa"
    );
    let response = wire.ask_broker(&tags("none")).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (20, Some("NO_MATCHED_MESSAGE"))
    );
    assert_eq!(
        response
            .header::<PullMessageReply>()
            .unwrap()
            .next_begin_offset,
        4
    );
}

/// S-049.
#[tokio::test]
async fn s049_refusals_come_in_javas_order() {
    let mut config = ServerConfig::temp();
    config.auto_create_groups = false;
    let wire = Wire::with(config).await;
    wire.put("T", 0, "", "x").await;
    let group = |name: &'static str| PullMessageRequest {
        consumer_group: name,
        ..pull("T", 0, 0)
    };

    let response = wire.ask_broker(&group("nobody")).await;
    assert_eq!(response.code, 26);
    assert!(
        response
            .remark
            .unwrap()
            .starts_with("subscription group [nobody] does not exist, ")
    );

    make_group(
        &wire,
        SubscriptionGroupConfig {
            consume_enable: false,
            group_name: "off".to_owned(),
            ..SubscriptionGroupConfig::default()
        },
    )
    .await;
    let response = wire.ask_broker(&group("off")).await;
    assert_eq!(
        (response.code, response.field("forbiddenType")),
        (16, Some("2"))
    );

    make_group(
        &wire,
        SubscriptionGroupConfig {
            group_name: "CG".to_owned(),
            ..SubscriptionGroupConfig::default()
        },
    )
    .await;
    let response = wire.ask_broker(&pull("missing", 0, 0)).await;
    assert_eq!(response.code, 17);
    assert!(
        response
            .remark
            .unwrap()
            .starts_with("topic[missing] not exist, apply first please!")
    );

    let write_only = CreateTopicRequest {
        topic: "W",
        default_topic: "TBW102",
        read_queue_nums: 1,
        write_queue_nums: 1,
        perm: 2,
        topic_filter_type: "SINGLE_TAG",
        topic_sys_flag: None,
        order: false,
        attributes: None,
        force: None,
    };
    assert_eq!(wire.ask_broker(&write_only).await.code, 0);
    let response = wire.ask_broker(&pull("W", 0, 0)).await;
    assert_eq!(
        (response.code, response.field("forbiddenType")),
        (16, Some("3"))
    );

    for queue in [-1, 4] {
        let response = wire.ask_broker(&pull("T", queue, 0)).await;
        assert_eq!(response.code, 29);
        assert!(response.remark.unwrap().starts_with(&format!(
            "queueId[{queue}] is illegal, topic:[T] topicConfig.readQueueNums:[4]"
        )));
    }
    let response = wire
        .ask_broker(&PullMessageRequest {
            subscription: Some("||"),
            ..pull("T", 0, 0)
        })
        .await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (23, Some("parse the consumer's subscription failed"))
    );

    let registered = |version| PullMessageRequest {
        sys_flag: 0,
        subscription: None,
        sub_version: version,
        ..pull("T", 0, 0)
    };
    let response = wire.ask_broker(&registered(1)).await;
    assert_eq!(response.code, 24);
    assert!(
        response
            .remark
            .unwrap()
            .starts_with("the consumer's group info not exist")
    );
    wire.broker(beat(&heartbeat(
        "c",
        "CG",
        MessageModel::Clustering,
        &["U"],
    )))
    .await;
    let response = wire.ask_broker(&registered(1)).await;
    assert_eq!(response.code, 24);
    assert!(
        response
            .remark
            .unwrap()
            .starts_with("the consumer's subscription not exist")
    );
    wire.broker(beat(&heartbeat(
        "c",
        "CG",
        MessageModel::Clustering,
        &["T"],
    )))
    .await;
    assert_eq!(wire.ask_broker(&registered(2)).await.code, 25);
    assert_eq!(wire.ask_broker(&registered(1)).await.code, 0);
}

async fn make_group(wire: &Wire, config: SubscriptionGroupConfig) {
    let command = RemotingCommand::bare_request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP)
        .with_body(body::encode(&config).unwrap());
    let response = wire.broker(command).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
}

/// S-056.
#[tokio::test]
async fn s056_the_commit_flag_commits() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "x").await;
    let request = PullMessageRequest {
        sys_flag: pull_sys_flag::SUBSCRIPTION | pull_sys_flag::COMMIT_OFFSET,
        commit_offset: 1,
        ..pull("T", 0, 0)
    };
    assert_eq!(wire.ask_broker(&request).await.code, 0);
    let query = QueryConsumerOffsetRequest {
        consumer_group: "CG",
        topic: "T",
        queue_id: 0,
        set_zero_if_not_found: None,
        broker_name: None,
    };
    let reply: OffsetReply = wire.ask_broker(&query).await.header().unwrap();
    assert_eq!(reply.offset, 1);
}

/// S-056 for a pull that waits: what it said when it came is committed then, and not again over what was committed while it waited.
#[tokio::test]
async fn s056_a_pull_that_is_woken_does_not_commit_twice() {
    let wire = std::sync::Arc::new(Wire::start().await);
    for _ in 0..2 {
        wire.put("T", 0, "", "x").await;
    }
    let query = QueryConsumerOffsetRequest {
        consumer_group: "CG",
        topic: "T",
        queue_id: 0,
        set_zero_if_not_found: None,
        broker_name: None,
    };
    let committed = async || {
        let reply: OffsetReply = wire.ask_broker(&query).await.header().unwrap();
        reply.offset
    };
    let peer = wire.join(std::sync::Arc::new(rocketry_remoting::Unsupported));
    let parked = tokio::spawn(async move {
        let mut request = waiting("T", 2, 8000);
        request.sys_flag |= pull_sys_flag::COMMIT_OFFSET;
        request.commit_offset = 1;
        peer.call(RemotingCommand::request(&request)).await
    });
    wait_until_parked(&wire).await;
    assert_eq!(committed().await, 1);
    let later = PullMessageRequest {
        sys_flag: pull_sys_flag::SUBSCRIPTION | pull_sys_flag::COMMIT_OFFSET,
        commit_offset: 2,
        ..pull("T", 0, 0)
    };
    assert_eq!(wire.ask_broker(&later).await.code, 0);
    wire.put("T", 0, "", "wakes").await;
    assert_eq!(parked.await.unwrap().code, 0);
    assert_eq!(committed().await, 2);
}

#[tokio::test]
async fn lite_pulls_read_the_same() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "x").await;
    let response = wire
        .ask_broker(&LitePullMessageRequest(pull("T", 0, 0)))
        .await;
    assert_eq!(response.code, 0);
    assert_eq!(LitePullMessageRequest::CODE, RequestCode::LITE_PULL_MESSAGE);
}

/// S-019 for pulls: the table is bounded, and the answer comes at once.
#[tokio::test]
async fn s019_more_pulls_than_configured_do_not_wait() {
    let mut config = ServerConfig::temp();
    config.max_waiting_pulls = 0;
    let wire = Wire::with(config).await;
    wire.put("T", 0, "", "x").await;
    let response = wire.ask_broker(&waiting("T", 1, 60_000)).await;
    assert_eq!(response.code, 19);
}

/// A queue with a place that no message has, as one is derived from a log that skips it: a pull that would wait there goes on behind it.
#[tokio::test]
async fn a_pull_at_a_place_without_a_message_goes_on_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = || {
        let mut config = ServerConfig::temp();
        config.data_dir = DataDir::Path(dir.path().to_owned());
        config
    };
    let wire = Wire::with(config()).await;
    for n in 0..10 {
        wire.put("T", 0, "TAGS\u{1}B\u{2}", &n.to_string()).await;
    }
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();
    let log = dir.path().join("commitlog/00000000000000000000");
    let mut bytes = std::fs::read(&log).unwrap();
    let mut at = 0;
    for place in 0..10_i64 {
        if place >= 5 {
            bytes[at + 20..at + 28].copy_from_slice(&(place + 1).to_be_bytes());
        }
        at += u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    }
    std::fs::write(&log, bytes).unwrap();
    std::fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    std::fs::write(dir.path().join("abort"), "").unwrap();

    let wire = Wire::with(config()).await;
    assert_eq!(wire.read_all("T", 0).await.len(), 10);
    let nothing = PullMessageRequest {
        subscription: Some("A"),
        ..waiting("T", 5, 60_000)
    };
    let response = wire.ask_broker(&nothing).await;
    let reply: PullMessageReply = response.header().unwrap();
    assert_eq!((response.code, reply.next_begin_offset), (19, 11));
}
