//! Messages that wait in a system topic reach their destination, whatever has changed meanwhile and whatever else there is to do.

use std::{path::Path, sync::Arc, time::Duration};

use rocketry_protocol::{
    MessageExt, Properties,
    header::{PopMessageRequest, PullMessageRequest, SendMessageRequest, pull_sys_flag},
    properties::{MAX_BYTES, name},
    sys_flag,
};
use rocketry_remoting::Unsupported;
use rocketry_server::{DataDir, ServerConfig};
use rocketry_store::{NewMessage, Store, StoreOptions};

use crate::common::{TIMEOUT, Wire, decode, pull, request_to, send};

const SCHEDULE: &str = "SCHEDULE_TOPIC_XXXX";
const GIVEN_UP: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
const TIMER: &str = "rmq_sys_wheel_timer";

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn quick(dir: &Path) -> ServerConfig {
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.to_owned());
    config.timer_precision = Duration::from_millis(100);
    config.transaction_timeout = Duration::from_millis(100);
    config.transaction_check_interval = Duration::from_millis(50);
    config
}

/// Waits for a message of a queue.
async fn message_at(wire: &Wire, topic: &str, queue_id: i32, offset: i64) -> MessageExt {
    let request = PullMessageRequest {
        sys_flag: pull_sys_flag::SUBSCRIPTION | pull_sys_flag::SUSPEND,
        suspend_timeout_millis: 9_000,
        ..pull(topic, queue_id, offset)
    };
    let response = wire.ask_broker(&request).await;
    assert_eq!(response.code, 0, "{topic}: {:?}", response.remark);
    decode(&response.body).remove(0)
}

/// The largest body was made smaller while messages waited: one with a delay level, one with a time, one of a transaction, one popped.
#[tokio::test]
async fn a_lowered_limit_does_not_keep_what_was_accepted_before() {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::with(quick(dir.path())).await;
    let body = "x".repeat(2000);
    wire.put("T", 3, "", "makes the topic").await;
    wire.put("P", 0, "", &body).await;
    let pop = PopMessageRequest {
        consumer_group: "PG",
        topic: "P",
        queue_id: 0,
        max_msg_nums: 1,
        invisible_time: 1_500,
        poll_time: 3_000,
        born_time: now_ms(),
        init_mode: 0,
        exp_type: None,
        exp: None,
        order: None,
        attempt_id: None,
        broker_name: None,
    };
    assert_eq!(wire.ask_broker(&pop).await.code, 0);
    wire.put("T", 0, "DELAY\u{1}1\u{2}", &body).await;
    wire.put("T", 1, "TIMER_DELAY_MS\u{1}1500\u{2}", &body)
        .await;
    let half = SendMessageRequest {
        queue_id: 2,
        sys_flag: sys_flag::TRANSACTION_PREPARED,
        properties: "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}PG\u{2}CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}0\u{2}",
        ..request_to("T")
    };
    assert_eq!(wire.broker(send(&half, body.clone())).await.code, 0);
    wire.server.shutdown(TIMEOUT).await.unwrap();

    let mut config = quick(dir.path());
    config.max_message_bytes = 1000;
    config.transaction_check_max = 2;
    let wire = Wire::with(config).await;
    let again = PopMessageRequest {
        born_time: now_ms(),
        poll_time: 9_000,
        ..pop
    };
    let again = wire.ask_broker(&again).await;
    assert_eq!(again.code, 0, "{:?}", again.remark);
    assert_eq!(decode(&again.body)[0].body, body.as_bytes());
    let refused = wire.broker(send(&request_to("T"), body.clone())).await;
    assert_eq!(refused.code, 13, "the limit holds for what is sent now");
    for queue_id in [0, 1] {
        assert_eq!(
            message_at(&wire, "T", queue_id, 0).await.body,
            body.as_bytes()
        );
    }
    // The topic is made with its first message.
    let given_up = tokio::time::timeout(TIMEOUT, async {
        while wire.ask_broker(&pull(GIVEN_UP, 0, 0)).await.code == 17 {}
        message_at(&wire, GIVEN_UP, 0, 0).await
    })
    .await
    .unwrap();
    assert_eq!(given_up.body, body.as_bytes());
}

/// What the broker adds before it delivers has to fit: refused at the send, not found out later.
#[tokio::test]
async fn what_waits_must_leave_room_for_the_brokers_properties() {
    let wire = Wire::start().await;
    let with = |first: &str, left: usize| {
        let mut properties = Properties::parse(first);
        properties.set(name::UNIQ_KEY, "id");
        // The broker's own, which every message gets.
        let own = "MSG_REGION=DefaultRegion;TRACE_ON=true;CLUSTER=DefaultCluster;".len();
        let used = properties.len_bytes() + own + "pad".len() + 2;
        properties.set("pad", &"p".repeat(MAX_BYTES - left - used));
        properties.into_string()
    };
    let code_of = async |properties: &str, sys_flag| {
        let request = SendMessageRequest {
            properties,
            sys_flag,
            ..request_to("T")
        };
        wire.broker(send(&request, "x")).await.code
    };
    assert_eq!(code_of(&with("", 0), 0).await, 0);
    let timed = "TIMER_DELAY_MS\u{1}1200\u{2}";
    let half = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}PG\u{2}";
    assert_eq!(code_of(&with(timed, 400), 0).await, 13);
    let prepared = sys_flag::TRANSACTION_PREPARED;
    assert_eq!(code_of(&with(half, 900), prepared).await, 13);
    assert_eq!(code_of(&with(half, 1200), prepared).await, 0);
    assert_eq!(code_of(&with(timed, 700), 0).await, 0);
    message_at(&wire, "T", 0, 1).await;
}

/// A message that no store can take, as another program may have left it, is left out; those behind it are delivered.
#[tokio::test]
async fn what_can_never_be_stored_keeps_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let now_ms = now_ms();
    let host = "127.0.0.1:1".parse().unwrap();
    {
        let wire = Wire::with(quick(dir.path())).await;
        wire.put("T", 3, "", "makes the topic").await;
        wire.put("T", 0, "DELAY\u{1}1\u{2}", "makes the queue")
            .await;
        wire.server.shutdown(TIMEOUT).await.unwrap();
    }
    let (mut writer, _, _) = Store::open(dir.path(), StoreOptions::default(), now_ms).unwrap();
    for queue_id in [-1, 1] {
        let way = format!("REAL_TOPIC\u{1}T\u{2}REAL_QID\u{1}{queue_id}\u{2}");
        for (topic, properties) in [
            (SCHEDULE, format!("DELAY\u{1}1\u{2}{way}")),
            (
                TIMER,
                format!("TIMER_OUT_MS\u{1}{}\u{2}{way}", (now_ms + 1500) / 100 * 100),
            ),
        ] {
            let message = NewMessage {
                topic,
                queue_id: 0,
                flag: 0,
                sys_flag: 0,
                born_ms: now_ms,
                born_host: host,
                store_host: host,
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                properties: properties.as_bytes(),
                body: topic.as_bytes(),
            };
            writer.append(&message, now_ms).unwrap();
        }
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    let wire = Wire::with(quick(dir.path())).await;
    let mut came = Vec::new();
    for offset in 0..2 {
        let body = message_at(&wire, "T", 1, offset).await.body;
        came.push(String::from_utf8(body.to_vec()).unwrap());
    }
    came.sort();
    assert_eq!(came, [SCHEDULE, TIMER]);
}

/// Timed messages come in all the time, and still one that is due goes out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steady_traffic_does_not_keep_what_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::with(quick(dir.path())).await;
    wire.put("T", 1, "", "makes the topic").await;
    let mut senders = tokio::task::JoinSet::new();
    let goes_on = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let peers = [0; 4].map(|_| Arc::new(wire.join(Arc::new(Unsupported))));
    for peer in peers.iter().cycle().take(512) {
        let (peer, goes_on) = (Arc::clone(peer), Arc::clone(&goes_on));
        senders.spawn(async move {
            while goes_on.load(std::sync::atomic::Ordering::Relaxed) {
                let request = SendMessageRequest {
                    properties: "TIMER_DELAY_SEC\u{1}3600\u{2}",
                    ..request_to("T")
                };
                let code = peer.call(send(&request, "later")).await.code;
                assert!(code == 0 || code == 2, "{code}");
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    wire.put("T", 0, "TIMER_DELAY_MS\u{1}500\u{2}", "due").await;
    let due = message_at(&wire, "T", 0, 0).await;
    assert_eq!(&*due.body, b"due");
    goes_on.store(false, std::sync::atomic::Ordering::Relaxed);
    while let Some(sender) = senders.join_next().await {
        sender.unwrap();
    }
}
