use std::{collections::HashSet, path::Path, time::Duration};

use rocketry_protocol::{
    MessageExt, RemotingCommand, ResponseCode,
    header::{
        PullMessageRequest, RecallMessageReply, RecallMessageRequest, SendMessageReply,
        pull_sys_flag,
    },
    properties::name,
};
use rocketry_server::{DataDir, ServerConfig};

use crate::common::{Wire, decode, pull, request_to, send};

const TIMER: &str = "rmq_sys_wheel_timer";

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A server with slots of a tenth of a second.
fn quick() -> ServerConfig {
    let mut config = ServerConfig::temp();
    config.timer_precision = Duration::from_millis(100);
    config
}

fn in_dir(dir: &Path) -> ServerConfig {
    let mut config = quick();
    config.data_dir = DataDir::Path(dir.to_owned());
    config
}

async fn message_at(wire: &Wire, topic: &str, queue_id: i32, offset: i64) -> MessageExt {
    let request = PullMessageRequest {
        sys_flag: pull_sys_flag::SUBSCRIPTION | pull_sys_flag::SUSPEND,
        suspend_timeout_millis: 15_000,
        ..pull(topic, queue_id, offset)
    };
    let response = wire.ask_broker(&request).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    decode(&response.body).remove(0)
}

async fn put_for(wire: &Wire, property: &str, value: i64, body: &str) -> SendMessageReply {
    let properties = format!("{property}\u{1}{value}\u{2}UNIQ_KEY\u{1}id-{body}\u{2}");
    wire.put("T", 1, &properties, body).await
}

fn number(message: &MessageExt, property: &str) -> i64 {
    message.property(property).unwrap().parse().unwrap()
}

async fn recall(wire: &Wire, topic: &str, handle: &str) -> RemotingCommand {
    wire.ask_broker(&RecallMessageRequest {
        producer_group: Some("PG"),
        topic,
        recall_handle: handle,
        broker_name: None,
    })
    .await
}

/// S-092, with slots of a second as by default.
#[tokio::test]
async fn s092_a_timed_message_arrives_within_a_second_of_its_time() {
    let wire = Wire::start().await;
    wire.put("T", 1, "", "at once").await;
    let before_ms = now_ms();
    let due = [
        (name::TIMER_DELAY_MS, 1200, before_ms + 1200),
        (name::TIMER_DELAY_SEC, 2, before_ms + 2000),
        (name::TIMER_DELIVER_MS, before_ms + 2500, before_ms + 2500),
    ];
    for (property, value, _) in due {
        let reply = put_for(&wire, property, value, property).await;
        assert_eq!(reply.queue_id, 1, "the queue asked for");
        assert!(reply.recall_handle.is_some());
    }
    let sending_ms = now_ms() - before_ms;
    for offset in 1..=3 {
        let message = message_at(&wire, "T", 1, offset).await;
        let body = std::str::from_utf8(&message.body).unwrap().to_owned();
        let (_, _, due_ms) = due.iter().find(|(property, ..)| *property == body).unwrap();
        let late_ms = message.store_ms - due_ms;
        assert!(
            // What a machine that is busy with other tests adds.
            (0..=1000 + sending_ms + 1000).contains(&late_ms),
            "{body} late by {late_ms}"
        );
        assert_eq!(message.property(name::REAL_TOPIC), Some("T"));
        assert_eq!(message.property(name::REAL_QID), Some("1"));
        assert_eq!(number(&message, name::TIMER_OUT_MS) % 1000, 0);
        assert_eq!(number(&message, name::TIMER_ENQUEUE_MS) % 1000, 0);
        let dequeue_ms = number(&message, name::TIMER_DEQUEUE_MS);
        assert!((due_ms - 1000..=message.store_ms).contains(&dequeue_ms));
    }
}

/// S-034.
#[tokio::test]
async fn s034_times_that_cannot_be_kept_are_refused_and_past_ones_are_delivered_at_once() {
    let wire = Wire::start().await;
    for (property, value) in [
        (name::TIMER_DELAY_SEC, "soon".to_owned()),
        (name::TIMER_DELAY_MS, "259200001".to_owned()),
        (name::TIMER_DELAY_SEC, i64::MAX.to_string()),
        (name::TIMER_DELIVER_MS, (now_ms() + 259_300_000).to_string()),
    ] {
        let properties = format!("{property}\u{1}{value}\u{2}");
        let request = rocketry_protocol::header::SendMessageRequest {
            properties: &properties,
            ..request_to("T")
        };
        let response = wire.broker(send(&request, "x")).await;
        assert_eq!(response.response_code(), ResponseCode::MESSAGE_ILLEGAL);
        assert_eq!(
            response.remark.as_deref(),
            Some(
                "timer message illegal, the delay time should not be bigger than the max delay 259200000ms; or if set del msg, the delay time should be bigger than the current time"
            )
        );
    }
    let reply = put_for(&wire, name::TIMER_DELIVER_MS, now_ms() - 1, "past").await;
    assert_eq!(reply.recall_handle, None);
    let message = message_at(&wire, "T", 1, 0).await;
    assert!(message.property(name::TIMER_DELIVER_MS).is_some());
    assert_eq!(message.property(name::TIMER_OUT_MS), None);
    let day = put_for(&wire, name::TIMER_DELAY_SEC, 259_200, "three days").await;
    assert!(day.recall_handle.is_some());
}

/// S-093, with a window of half a second.
#[tokio::test]
async fn s093_a_delay_beyond_the_window_goes_round_and_arrives_on_time() {
    let mut config = quick();
    config.timer_roll_window = 6;
    let wire = Wire::with(config).await;
    let due_ms = now_ms() + 2000;
    put_for(&wire, name::TIMER_DELIVER_MS, due_ms, "rolls").await;
    let message = message_at(&wire, "T", 1, 0).await;
    assert!(number(&message, name::TIMER_ROLL_TIMES) >= 2);
    let late_ms = message.store_ms - due_ms;
    assert!((0..500).contains(&late_ms), "{late_ms}");
    assert_eq!(wire.read_all("T", 1).await.len(), 1);
}

/// S-094 for a stop in order, and for a wheel that is gone; the command's tests show kills.
#[tokio::test]
async fn s094_waiting_messages_survive_a_stop_and_a_lost_wheel() {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::with(in_dir(dir.path())).await;
    put_for(&wire, name::TIMER_DELAY_MS, 10, "delivered").await;
    message_at(&wire, "T", 1, 0).await;
    put_for(&wire, name::TIMER_DELAY_MS, 1500, "waits").await;
    put_for(&wire, name::TIMER_DELAY_SEC, 3600, "waits long").await;
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();

    let wire = Wire::with(in_dir(dir.path())).await;
    assert_eq!(&*message_at(&wire, "T", 1, 1).await.body, b"waits");
    put_for(&wire, name::TIMER_DELAY_MS, 1000, "waits too").await;
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();
    std::fs::remove_file(dir.path().join("timerwheel")).unwrap();

    let wire = Wire::with(in_dir(dir.path())).await;
    assert_eq!(&*message_at(&wire, "T", 1, 2).await.body, b"waits too");
    assert_eq!(wire.read_all("T", 1).await.len(), 3, "each once");
    assert_eq!(wire.read_all(TIMER, 0).await.len(), 4);
}

/// S-091, S-094: a stop while many messages of one time go out.
#[tokio::test]
async fn s094_a_stop_amid_a_slot_repeats_none_of_it() {
    const COUNT: usize = 1_600;
    let dir = tempfile::tempdir().unwrap();
    let wire = std::sync::Arc::new(Wire::with(in_dir(dir.path())).await);
    wire.put("T", 0, "", "makes the topic").await;
    let due_ms = now_ms() + 6_000;
    let mut sends = tokio::task::JoinSet::new();
    for part in 0..20 {
        let wire = std::sync::Arc::clone(&wire);
        sends.spawn(async move {
            for n in 0..COUNT / 20 {
                put_for(
                    &wire,
                    name::TIMER_DELIVER_MS,
                    due_ms,
                    &format!("{part}-{n}"),
                )
                .await;
            }
        });
    }
    sends.join_all().await;
    assert!(now_ms() < due_ms, "too slow a machine for this");
    message_at(&wire, "T", 1, 0).await;
    let wire = std::sync::Arc::into_inner(wire).unwrap();
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();

    let wire = Wire::with(in_dir(dir.path())).await;
    put_for(&wire, name::TIMER_DELAY_MS, 500, "last").await;
    let mut bodies = Vec::new();
    while bodies.last().is_none_or(|body| body != "last") {
        let offset = i64::try_from(bodies.len()).unwrap();
        let body = message_at(&wire, "T", 1, offset).await.body;
        bodies.push(String::from_utf8(body.to_vec()).unwrap());
    }
    let different: HashSet<&String> = bodies.iter().collect();
    assert_eq!((bodies.len(), different.len()), (COUNT + 1, COUNT + 1));
}

/// S-095.
#[tokio::test]
async fn s095_ten_thousand_messages_of_one_second_come_once_each() {
    const COUNT: usize = 10_000;
    let wire = Wire::with(quick()).await;
    let due_ms = now_ms() + 4000;
    let mut sends = tokio::task::JoinSet::new();
    let wire = std::sync::Arc::new(wire);
    for part in 0..20 {
        let wire = std::sync::Arc::clone(&wire);
        sends.spawn(async move {
            for n in 0..COUNT / 20 {
                let at_ms = due_ms + i64::try_from(n % 1000).unwrap();
                let body = format!("{part}-{n}");
                put_for(&wire, name::TIMER_DELIVER_MS, at_ms, &body).await;
            }
        });
    }
    sends.join_all().await;
    let mut seen = HashSet::new();
    let mut offset = 0;
    while seen.len() < COUNT {
        let request = PullMessageRequest {
            sys_flag: pull_sys_flag::SUBSCRIPTION | pull_sys_flag::SUSPEND,
            suspend_timeout_millis: 10_000,
            ..pull("T", 1, offset)
        };
        let response = wire.ask_broker(&request).await;
        assert_eq!(response.code, 0, "{} of {COUNT}", seen.len());
        for message in decode(&response.body) {
            offset = message.queue_offset + 1;
            assert!(
                seen.insert(message.body.clone()),
                "{:?} twice",
                message.body
            );
        }
    }
    assert_eq!(wire.read_all("T", 1).await.len(), COUNT);
}

/// S-079.
#[tokio::test]
async fn s079_a_recalled_message_is_never_delivered() {
    let wire = Wire::with(quick()).await;
    let recalled = put_for(&wire, name::TIMER_DELAY_MS, 1000, "recalled").await;
    put_for(&wire, name::TIMER_DELAY_MS, 1000, "kept").await;
    let handle = recalled.recall_handle.unwrap();
    let response = recall(&wire, "T", &handle).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    assert_eq!(response.field("MSG_REGION"), Some("DefaultRegion"));
    let reply: RecallMessageReply = response.header().unwrap();
    assert_eq!(reply.msg_id, "id-recalled");

    assert_eq!(&*message_at(&wire, "T", 1, 0).await.body, b"kept");
    put_for(&wire, name::TIMER_DELAY_MS, 300, "later").await;
    assert_eq!(&*message_at(&wire, "T", 1, 1).await.body, b"later");
    assert_eq!(wire.read_all("T", 1).await.len(), 2);
    assert!(wire.read_all("T", 0).await.is_empty());
    let late = recall(&wire, "T", &handle).await;
    assert_eq!(
        (late.code, late.remark.as_deref()),
        (604, Some("recall failed, timestamp invalid"))
    );
}

/// S-079.
#[tokio::test]
async fn s079_a_recall_must_fit_its_message_and_be_allowed() {
    let wire = Wire::with(quick()).await;
    wire.put("U", 0, "", "x").await;
    let reply = put_for(&wire, name::TIMER_DELAY_SEC, 60, "x").await;
    let handle = reply.recall_handle.unwrap();
    for (topic, handle, code, remark) in [
        ("U", &*handle, 604, "recall failed, topic not match"),
        ("V", &*handle, 17, "recall failed, the topic[V] not exist"),
        ("T", "no handle", 604, "recall handle is invalid"),
        // v1 T other 1795616250561 id
        (
            "T",
            "djEgVCBvdGhlciAxNzk1NjE2MjUwNTYxIGlk",
            604,
            "recall failed, broker service not available",
        ),
    ] {
        let response = recall(&wire, topic, handle).await;
        assert_eq!(
            (response.code, response.remark.as_deref()),
            (code, Some(remark))
        );
    }
    let mut config = quick();
    config.recall_messages = false;
    let wire = Wire::with(config).await;
    let response = recall(&wire, "T", &handle).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (16, Some("recall failed, operation is forbidden"))
    );
}
