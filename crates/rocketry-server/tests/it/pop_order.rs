use std::{path::Path, sync::Arc, time::Duration};

use rocketry_protocol::{
    MessageExt, RemotingCommand, RequestCode, ResponseCode,
    body::{
        self,
        pop::{BatchAck, BatchAckMessageRequestBody},
    },
    header::{
        AckMessageRequest, ChangeInvisibleTimeReply, ChangeInvisibleTimeRequest, NotificationReply,
        NotificationRequest, OffsetReply, PopMessageReply, PopMessageRequest,
        QueryConsumerOffsetRequest,
    },
    pop::{ORDERLY_REVIVE_QUEUE, Receipt, RetryMark, parse_order_counts},
};
use rocketry_remoting::Unsupported;
use rocketry_server::{DataDir, ServerConfig};
use tokio::time::Instant;

use crate::common::{TIMEOUT, Wire, decode};

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn in_dir(dir: &Path) -> ServerConfig {
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.to_owned());
    config
}

fn pop(poll_ms: i64, invisible_ms: i64, attempt_id: &str) -> PopMessageRequest<'_> {
    PopMessageRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: 0,
        max_msg_nums: 2,
        invisible_time: invisible_ms,
        poll_time: poll_ms,
        born_time: now_ms(),
        init_mode: 0,
        exp_type: Some("TAG"),
        exp: Some("*"),
        order: Some(true),
        attempt_id: Some(attempt_id),
        broker_name: None,
    }
}

/// What an answer has: its header, and its messages.
struct Popped {
    reply: PopMessageReply,
    messages: Vec<MessageExt>,
}

impl Popped {
    fn of(response: &RemotingCommand) -> Self {
        assert_eq!(response.code, 0, "{:?}", response.remark);
        let reply: PopMessageReply = response.header().unwrap();
        assert_eq!(reply.revive_qid, ORDERLY_REVIVE_QUEUE);
        Self {
            reply,
            messages: decode(&response.body),
        }
    }

    fn bodies(&self) -> Vec<&str> {
        self.messages
            .iter()
            .map(|message| std::str::from_utf8(&message.body).unwrap())
            .collect()
    }

    fn counts(&self) -> &str {
        self.reply.order_count_info.as_deref().unwrap()
    }

    fn receipt(&self, offset: i64) -> Receipt {
        Receipt {
            start_offset: 0,
            pop_ms: self.reply.pop_time,
            invisible_ms: self.reply.invisible_time,
            revive_queue_id: self.reply.revive_qid,
            mark: RetryMark::Normal,
            broker_name: "broker-a".to_owned(),
            queue_id: 0,
            offset: Some(offset),
            commit_log_offset: None,
        }
    }
}

async fn popped(wire: &Wire, invisible_ms: i64, attempt_id: &str) -> Popped {
    Popped::of(&wire.ask_broker(&pop(9_000, invisible_ms, attempt_id)).await)
}

async fn is_blocked(wire: &Wire, attempt_id: &str) {
    let response = wire.ask_broker(&pop(150, 60_000, attempt_id)).await;
    assert_eq!(response.response_code(), ResponseCode::POLLING_TIMEOUT);
}

async fn ack(wire: &Wire, popped: &Popped, offset: i64) -> RemotingCommand {
    wire.ask_broker(&AckMessageRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: 0,
        extra_info: &popped.receipt(offset).to_string(),
        offset,
        lite_topic: None,
        broker_name: None,
    })
    .await
}

async fn acked(wire: &Wire, popped: &Popped, offset: i64) {
    let response = ack(wire, popped, offset).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
}

async fn committed(wire: &Wire) -> i64 {
    let request = QueryConsumerOffsetRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: 0,
        set_zero_if_not_found: None,
        broker_name: None,
    };
    let response = wire.ask_broker(&request).await;
    let reply: OffsetReply = response.header().unwrap();
    reply.offset
}

async fn with_messages(config: ServerConfig, bodies: &[&str]) -> Wire {
    let wire = Wire::with(config).await;
    for body in bodies {
        wire.put("T", 0, "TAGS\u{1}A\u{2}", body).await;
    }
    wire
}

/// S-084.
#[tokio::test]
async fn s084_a_queue_gives_nothing_more_before_what_it_gave_is_acknowledged() {
    let wire = with_messages(ServerConfig::temp(), &["a", "b", "c", "d"]).await;
    let first = popped(&wire, 60_000, "one").await;
    assert_eq!(first.bodies(), ["a", "b"]);
    assert_eq!(first.counts(), "0 0 0");
    assert_eq!(first.reply.rest_num, 2);
    is_blocked(&wire, "two").await;
    let again = popped(&wire, 60_000, "one").await;
    assert_eq!(again.bodies(), ["a", "b"], "the same attempt reads again");
    assert_eq!(again.counts(), "0 0 0", "which is no other delivery");

    acked(&wire, &first, 0).await;
    assert_eq!(committed(&wire).await, 0, "of an earlier pop: ignored");
    acked(&wire, &again, 1).await;
    assert_eq!(committed(&wire).await, 0, "the first is still open");
    is_blocked(&wire, "two").await;
    let foreign = ack(&wire, &again, 2).await;
    assert_eq!(foreign.code, 13);
    assert_eq!(
        foreign.remark.as_deref(),
        Some("offset is illegal, key:T@PG@0, old:0, commit:2, next:-1")
    );
    acked(&wire, &again, 0).await;
    assert_eq!(committed(&wire).await, 2);
    acked(&wire, &again, 0).await;
    assert_eq!(committed(&wire).await, 2, "it is too late for this one");
    let next = popped(&wire, 60_000, "two").await;
    assert_eq!(next.bodies(), ["c", "d"]);
    let entry = BatchAck {
        bit_set: Some([2, 3].into_iter().collect()),
        consumer_group: "PG".to_owned(),
        invisible_time: next.reply.invisible_time,
        pop_time: next.reply.pop_time,
        queue_id: 0,
        retry: "0".to_owned(),
        revive_queue_id: ORDERLY_REVIVE_QUEUE,
        start_offset: 0,
        topic: "T".to_owned(),
    };
    let batch = BatchAckMessageRequestBody {
        acks: vec![entry],
        broker_name: "broker-a".to_owned(),
    };
    let batch = RemotingCommand::bare_request(RequestCode::BATCH_ACK_MESSAGE)
        .with_body(body::encode(&batch).unwrap());
    assert_eq!(wire.broker(batch).await.code, 0);
    assert_eq!(committed(&wire).await, 4);
    is_blocked(&wire, "two").await;
}

/// S-084: what was not acknowledged comes again when its time is over, in order and counted; who waits for it is woken then.
#[tokio::test]
async fn s084_the_invisible_time_ends_the_wait() {
    let wire = with_messages(ServerConfig::temp(), &["a", "b", "c"]).await;
    let first = popped(&wire, 1_500, "one").await;
    assert_eq!(first.bodies(), ["a", "b"]);
    let again = popped(&wire, 60_000, "two").await;
    assert!(now_ms() >= first.reply.pop_time + 1_500);
    assert!(now_ms() < first.reply.pop_time + 8_000, "not at the end");
    assert_eq!(again.bodies(), ["a", "b"]);
    let counts = parse_order_counts(again.counts()).unwrap();
    assert_eq!(counts.len(), 3);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert_eq!(again.messages[0].reconsume_times, 0, "as it is stored");
    acked(&wire, &first, 0).await;
    assert_eq!(committed(&wire).await, 0, "late");

    // Waits while the queue is blocked, and is woken by the last acknowledgement.
    let other = wire.join(Arc::new(Unsupported));
    let began = Instant::now();
    let waits = tokio::spawn(async move {
        other
            .call(RemotingCommand::request(&pop(9_000, 60_000, "three")))
            .await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    acked(&wire, &again, 0).await;
    acked(&wire, &again, 1).await;
    let next = Popped::of(&waits.await.unwrap());
    assert_eq!(next.bodies(), ["c"]);
    assert!(began.elapsed() < Duration::from_secs(7));
}

/// S-084, S-081: hidden for longer, or seen again sooner.
#[tokio::test]
async fn s084_a_message_is_hidden_as_long_as_was_said_last() {
    let wire = with_messages(ServerConfig::temp(), &["a", "b"]).await;
    let first = popped(&wire, 60_000, "one").await;
    let change = async |offset: i64, invisible_ms| {
        let request = ChangeInvisibleTimeRequest {
            consumer_group: "PG",
            topic: "T",
            queue_id: 0,
            extra_info: &first.receipt(offset).to_string(),
            offset,
            invisible_time: invisible_ms,
            lite_topic: None,
            suspend: false,
            broker_name: None,
        };
        let response = wire.ask_broker(&request).await;
        assert_eq!(response.code, 0, "{:?}", response.remark);
        let reply: ChangeInvisibleTimeReply = response.header().unwrap();
        reply
    };
    let notice = async |poll_ms| {
        let request = NotificationRequest {
            consumer_group: "PG",
            topic: "T",
            queue_id: 0,
            poll_time: poll_ms,
            born_time: now_ms(),
            order: Some(true),
            attempt_id: Some("two"),
            exp_type: None,
            exp: None,
        };
        let response = wire.ask_broker(&request).await;
        response.header::<NotificationReply>().unwrap().has_msg
    };
    assert!(!notice(100).await);
    let asked = now_ms();
    let reply = change(0, 1_000).await;
    assert_eq!(reply.pop_time, first.reply.pop_time);
    assert_eq!(reply.revive_qid, ORDERLY_REVIVE_QUEUE);
    let visible_ms = reply.pop_time + reply.invisible_time;
    assert!((asked + 1_000..=now_ms() + 1_000).contains(&visible_ms));
    change(1, 1_200).await;
    assert!(notice(9_000).await);
    assert!(now_ms() >= asked + 1_200);
    assert_eq!(popped(&wire, 60_000, "two").await.bodies(), ["a", "b"]);
}

/// S-084: a restart keeps what is taken; the file is Java's.
#[tokio::test]
async fn s084_a_restart_keeps_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let wire = with_messages(in_dir(dir.path()), &["a", "b", "c"]).await;
    let first = popped(&wire, 60_000, "one").await;
    acked(&wire, &first, 0).await;
    wire.server.shutdown(TIMEOUT).await.unwrap();
    let file = dir.path().join("config").join("consumerOrderInfo.json");
    let text = std::fs::read_to_string(file).unwrap();
    let text: String = text.split_whitespace().collect();
    let expected = format!(
        r#"{{"orderInfoCount":1,"orderedConsumptionLevel":"QUEUE","table":{{"T@PG":{{0:{{"a":"one","cm":1,"i":60000,"l":{0},"o":[0,1],"popTime":{0}}}}}}}}}"#,
        first.reply.pop_time
    );
    assert_eq!(text, expected);

    let wire = Wire::with(in_dir(dir.path())).await;
    is_blocked(&wire, "two").await;
    acked(&wire, &first, 1).await;
    assert_eq!(popped(&wire, 60_000, "two").await.bodies(), ["c"]);
}
