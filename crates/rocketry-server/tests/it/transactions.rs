use std::{path::Path, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use rocketry_protocol::{
    MessageExt, RemotingCommand, RequestCode,
    header::{
        CheckTransactionStateRequest, EndTransactionRequest, GetMaxOffsetRequest,
        PullMessageRequest, SendMessageReply, SendMessageRequest, pull_sys_flag, transaction_state,
    },
    properties::name,
    sys_flag,
};
use rocketry_remoting::{Handler, Responder};
use rocketry_server::{DataDir, FlushMode, Server, ServerConfig};
use tokio::sync::mpsc;

use crate::{
    common::{Peer, TIMEOUT, Wire, beat, decode, heartbeat, pull, request_to, send},
    slow_disk::{SLOW, SlowDisk},
};

const HALF: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
const OP: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
const GIVEN_UP: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

/// A server that asks soon.
fn hasty() -> ServerConfig {
    let mut config = ServerConfig::temp();
    config.transaction_timeout = Duration::from_millis(100);
    config.transaction_check_interval = Duration::from_millis(50);
    config
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A half message as the server answered it.
struct Sent {
    queue_offset: i64,
    log_offset: i64,
    unique_id: String,
}

async fn send_half(wire: &Wire, body: &str, properties: &str, born_ms: i64) -> Sent {
    let properties = format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}PG\u{2}{properties}");
    let request = SendMessageRequest {
        queue_id: 2,
        sys_flag: sys_flag::TRANSACTION_PREPARED,
        flag: 7,
        born_timestamp: born_ms,
        properties: &properties,
        ..request_to("T")
    };
    let response = wire.broker(send(&request, body.to_owned())).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    let reply: SendMessageReply = response.header().unwrap();
    assert_eq!(reply.queue_id, 2);
    let (_, log_offset) = rocketry_protocol::id::parse_offset_msg_id(&reply.msg_id).unwrap();
    Sent {
        queue_offset: reply.queue_offset,
        log_offset,
        unique_id: reply.transaction_id.unwrap().into_owned(),
    }
}

fn end(sent: &Sent, state: i32) -> EndTransactionRequest<'_> {
    EndTransactionRequest {
        topic: Some("T"),
        producer_group: "PG",
        tran_state_table_offset: sent.queue_offset,
        commit_log_offset: sent.log_offset,
        commit_or_rollback: state,
        from_transaction_check: false,
        msg_id: &sent.unique_id,
        transaction_id: Some(&sent.unique_id),
        broker_name: None,
    }
}

async fn decide(wire: &Wire, sent: &Sent, state: i32) {
    let response = wire.ask_broker(&end(sent, state)).await;
    assert_eq!((response.code, response.remark), (0, None));
}

async fn bodies(wire: &Wire, topic: &str, queue_id: i32) -> Vec<Bytes> {
    let messages = wire.read_all(topic, queue_id).await;
    messages.into_iter().map(|message| message.body).collect()
}

/// Waits for a message of a queue.
async fn message_at(wire: &Wire, topic: &str, queue_id: i32, offset: i64) -> MessageExt {
    let request = PullMessageRequest {
        sys_flag: pull_sys_flag::SUBSCRIPTION | pull_sys_flag::SUSPEND,
        suspend_timeout_millis: 10_000,
        ..pull(topic, queue_id, offset)
    };
    let response = wire.ask_broker(&request).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    decode(&response.body).remove(0)
}

/// A producer that reports what it is asked.
struct Asked(mpsc::UnboundedSender<RemotingCommand>);

impl Handler for Asked {
    fn handle(&self, request: RemotingCommand, _: Responder) {
        assert_eq!(request.request_code(), RequestCode::CHECK_TRANSACTION_STATE);
        assert!(request.is_oneway());
        self.0.send(request).unwrap();
    }
}

type Questions = mpsc::UnboundedReceiver<RemotingCommand>;

/// A producer of the group `PG` that is online.
async fn producer(wire: &Wire, client_id: &str) -> (Peer, Questions) {
    let (tell, asked) = mpsc::unbounded_channel();
    let peer = wire.join(Arc::new(Asked(tell)));
    let data = heartbeat(
        client_id,
        "CG",
        rocketry_protocol::body::heartbeat::MessageModel::Clustering,
        &[],
    );
    assert_eq!(peer.call(beat(&data)).await.code, 0);
    (peer, asked)
}

async fn question(asked: &mut Questions) -> (Sent, MessageExt) {
    let request = tokio::time::timeout(TIMEOUT, asked.recv())
        .await
        .unwrap()
        .unwrap();
    let header: CheckTransactionStateRequest<'_> = request.header().unwrap();
    let message = decode(&request.body).remove(0);
    assert_eq!(header.topic, Some(HALF));
    assert_eq!(header.broker_name, Some("broker-a"));
    assert_eq!(header.msg_id, header.transaction_id);
    assert_eq!(
        (header.tran_state_table_offset, header.commit_log_offset),
        (message.queue_offset, message.commit_log_offset)
    );
    assert_eq!(header.offset_msg_id, Some(message.offset_msg_id().as_str()));
    let sent = Sent {
        queue_offset: header.tran_state_table_offset,
        log_offset: header.commit_log_offset,
        unique_id: header.msg_id.unwrap().to_owned(),
    };
    (sent, message)
}

/// S-041.
#[tokio::test]
async fn s041_a_half_message_is_delivered_once_it_is_committed() {
    let wire = Wire::start().await;
    let sent = send_half(&wire, "paid", "TAGS\u{1}A\u{2}", now_ms()).await;
    assert_eq!(sent.queue_offset, 0, "the offset among half messages");
    assert!(wire.read_all("T", 2).await.is_empty());
    let half = wire.read_all(HALF, 0).await.remove(0);
    assert_eq!((half.queue_id, half.sys_flag), (0, 0));
    for (property, value) in [
        (name::REAL_TOPIC, "T"),
        (name::REAL_QID, "2"),
        (name::TRAN_MSG, "true"),
        (name::PGROUP, "PG"),
        (name::TRANSACTION_ID, sent.unique_id.as_str()),
    ] {
        assert_eq!(half.property(property), Some(value), "{property}");
    }

    decide(&wire, &sent, transaction_state::COMMIT).await;
    let message = wire.read_all("T", 2).await.remove(0);
    assert_eq!(&*message.body, b"paid");
    assert_eq!(message.sys_flag, sys_flag::TRANSACTION_COMMIT);
    assert_eq!(message.prepared_transaction_offset, sent.log_offset);
    assert_eq!((message.flag, message.born_ms), (7, half.born_ms));
    assert_eq!(message.property(name::REAL_TOPIC), None);
    assert_eq!(message.property(name::REAL_QID), None);
    assert_eq!(message.property(name::TRAN_MSG), Some("true"));
    assert_eq!(message.property(name::PGROUP), Some("PG"));
    assert_eq!(message.tags(), Some("A"));
    assert_eq!(bodies(&wire, OP, 0).await, ["0,"]);
}

/// S-042.
#[tokio::test]
async fn s042_a_message_that_is_rolled_back_is_never_seen() {
    let wire = Wire::start().await;
    send_half(&wire, "first", "", now_ms()).await;
    let sent = send_half(&wire, "second", "", now_ms()).await;
    decide(&wire, &sent, transaction_state::ROLLBACK).await;
    assert!(wire.read_all("T", 2).await.is_empty());
    let op = wire.read_all(OP, 0).await.remove(0);
    assert_eq!(&*op.body, b"1,");
    assert_eq!(op.properties.as_str(), "WAIT\u{1}true\u{2}TAGS\u{1}d\u{2}");
}

/// S-043.
#[tokio::test]
async fn s043_a_decision_must_name_the_half_message_and_its_producer() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "no half message").await;
    let sent = send_half(&wire, "x", "", now_ms()).await;
    let right = end(&sent, transaction_state::COMMIT);
    for (request, remark) in [
        (
            EndTransactionRequest {
                producer_group: "other",
                ..right
            },
            "The producer group wrong",
        ),
        (
            EndTransactionRequest {
                tran_state_table_offset: 1,
                ..right
            },
            "The transaction state table offset wrong",
        ),
        (
            EndTransactionRequest {
                commit_log_offset: 0,
                ..right
            },
            "Find prepared transaction message failed",
        ),
        (
            EndTransactionRequest {
                commit_log_offset: 1 << 40,
                ..right
            },
            "Find prepared transaction message failed",
        ),
    ] {
        let response = wire.ask_broker(&request).await;
        assert_eq!(
            (response.code, response.remark.as_deref()),
            (1, Some(remark))
        );
    }
    assert!(wire.read_all("T", 2).await.is_empty());
    assert!(wire.read_all(OP, 0).await.is_empty());
}

/// S-044.
#[tokio::test]
async fn s044_no_decision_is_not_answered_and_the_producer_is_asked() {
    let wire = Wire::with(hasty()).await;
    let (_producer, mut asked) = producer(&wire, "p").await;
    let sent = send_half(&wire, "x", "", now_ms()).await;
    let later = GetMaxOffsetRequest {
        topic: HALF,
        queue_id: 0,
        committed: true,
        broker_name: None,
    };
    let unknown = end(&sent, transaction_state::UNKNOWN);
    let mut answer = pin!(wire.ask_broker(&unknown));
    // On one connection, in this order: an answer to the first would come before that to the second.
    tokio::select! {
        biased;
        answer = &mut answer => panic!("answered: {answer:?}"),
        later = wire.ask_broker(&later) => assert_eq!(later.code, 0),
    }

    let (copy, message) = question(&mut asked).await;
    assert_eq!((&*message.topic, message.queue_id), ("T", 2));
    assert_eq!(&*message.body, b"x");
    assert_eq!(copy.unique_id, sent.unique_id);
    assert_eq!(copy.queue_offset, 1, "another copy of the half message");
    assert_eq!(message.property(name::TRANSACTION_CHECK_TIMES), Some("1"));
    let answer = EndTransactionRequest {
        from_transaction_check: true,
        ..end(&copy, transaction_state::COMMIT)
    };
    assert_eq!(wire.ask_broker(&answer).await.code, 0);
    assert_eq!(bodies(&wire, "T", 2).await, ["x"]);
    // The producer decides the message that it sent, too late: that is the same transaction.
    decide(&wire, &sent, transaction_state::COMMIT).await;
    assert_eq!(bodies(&wire, "T", 2).await, ["x"]);
}

/// S-045.
#[tokio::test]
async fn s045_a_transaction_that_stays_undecided_is_given_up() {
    let mut config = hasty();
    config.transaction_check_max = 3;
    let wire = Wire::with(config).await;
    let (_producer, mut asked) = producer(&wire, "p").await;
    let sent = send_half(&wire, "x", "", now_ms()).await;
    for times in 1..=3 {
        let (copy, message) = question(&mut asked).await;
        assert_eq!(copy.queue_offset, sent.queue_offset + times);
        assert_eq!(
            message.property(name::TRANSACTION_CHECK_TIMES),
            Some(times.to_string().as_str())
        );
        assert_eq!(message.flag, 7);
    }
    // The topic is made with its first message.
    let kept = tokio::time::timeout(TIMEOUT, async {
        while wire.ask_broker(&pull(GIVEN_UP, 0, 0)).await.code == 17 {}
        message_at(&wire, GIVEN_UP, 0, 0).await
    })
    .await
    .unwrap();
    assert_eq!(&*kept.body, b"x");
    assert_eq!(kept.property(name::REAL_TOPIC), Some("T"));
    assert_eq!(wire.read_all(HALF, 0).await.len(), 4);
    assert!(asked.try_recv().is_err(), "asked three times");
    assert!(wire.read_all("T", 2).await.is_empty());
}

/// S-045: one whose log file may go is given up, unasked. When that is, the retention says.
#[tokio::test]
async fn s045_a_message_older_than_the_log_is_kept_is_given_up() {
    let mut config = hasty();
    config.retention.reserved = Duration::from_hours(1);
    let wire = Wire::with(config).await;
    let (_producer, mut asked) = producer(&wire, "p").await;
    send_half(&wire, "old", "", now_ms() - 2 * 3_600_000).await;
    let kept = tokio::time::timeout(TIMEOUT, async {
        while wire.ask_broker(&pull(GIVEN_UP, 0, 0)).await.code == 17 {}
        message_at(&wire, GIVEN_UP, 0, 0).await
    })
    .await
    .unwrap();
    assert_eq!(&*kept.body, b"old");
    assert!(asked.try_recv().is_err());
}

/// S-046.
#[tokio::test]
async fn s046_a_message_may_ask_not_to_be_checked_for_some_time() {
    let wire = Wire::with(hasty()).await;
    let (_producer, mut asked) = producer(&wire, "p").await;
    let immune = |seconds: i64| format!("CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}{seconds}\u{2}");
    let waits = send_half(&wire, "waits", &immune(3600), now_ms()).await;
    send_half(&wire, "is asked about", "", now_ms()).await;
    let (_, message) = question(&mut asked).await;
    assert_eq!(
        &*message.body, b"is asked about",
        "it does not hold up others"
    );
    let copies = wire.read_all(HALF, 0).await;
    let copy = copies
        .iter()
        .find(|copy| copy.property(name::TRAN_PREPARED_QUEUE_OFFSET).is_some())
        .unwrap();
    assert_eq!(&*copy.body, b"waits");
    assert_eq!(
        copy.property(name::TRAN_PREPARED_QUEUE_OFFSET),
        Some(waits.queue_offset.to_string().as_str())
    );
    assert_eq!(copy.property(name::TRANSACTION_CHECK_TIMES), None);
    decide(&wire, &waits, transaction_state::COMMIT).await;
    assert_eq!(bodies(&wire, "T", 2).await, ["waits"]);

    let late = send_half(&wire, "late", &immune(10), now_ms() - 11_000).await;
    let response = wire
        .ask_broker(&end(&late, transaction_state::COMMIT))
        .await;
    assert_eq!(response.code, 604);
    let (copy, message) = loop {
        let (copy, message) = question(&mut asked).await;
        if &*message.body == b"late" {
            break (copy, message);
        }
    };
    assert_eq!(message.property(name::TRANSACTION_CHECK_TIMES), Some("1"));
    let answer = EndTransactionRequest {
        from_transaction_check: true,
        ..end(&copy, transaction_state::COMMIT)
    };
    assert_eq!(wire.ask_broker(&answer).await.code, 0);
    assert_eq!(bodies(&wire, "T", 2).await, ["waits", "late"]);
}

/// S-047.
#[tokio::test]
async fn s047_a_restart_keeps_the_undecided_and_delivers_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.path().to_owned());
    let wire = Wire::with(config).await;
    let committed = send_half(&wire, "committed", "", now_ms()).await;
    let undecided = send_half(&wire, "undecided", "", now_ms()).await;
    let dropped = send_half(&wire, "rolled back", "", now_ms()).await;
    decide(&wire, &committed, transaction_state::COMMIT).await;
    decide(&wire, &dropped, transaction_state::ROLLBACK).await;
    wire.server.shutdown(TIMEOUT).await.unwrap();

    let mut config = hasty();
    config.data_dir = DataDir::Path(dir.path().to_owned());
    let wire = Wire::with(config.clone()).await;
    let (_producer, mut asked) = producer(&wire, "p").await;
    let (copy, message) = question(&mut asked).await;
    assert_eq!(&*message.body, b"undecided");
    assert_eq!(copy.unique_id, undecided.unique_id);
    decide(&wire, &copy, transaction_state::COMMIT).await;
    wire.server.shutdown(TIMEOUT).await.unwrap();

    // Asked for again and again: whatever was decided before never is.
    let wire = Wire::with(config).await;
    let (_producer, mut asked) = producer(&wire, "p").await;
    let fresh = send_half(&wire, "fresh", "", now_ms()).await;
    let (_, message) = question(&mut asked).await;
    assert_eq!(message.msg_id(), fresh.unique_id);
    assert_eq!(bodies(&wire, "T", 2).await, ["committed", "undecided"]);
}

/// S-048.
#[tokio::test]
async fn s048_a_transaction_waits_for_a_producer_to_come_back() {
    let mut config = hasty();
    config.transaction_check_max = 1000;
    let wire = Wire::with(config).await;
    send_half(&wire, "x", "", now_ms()).await;
    // When it is written for the second check, the first is over: nobody was there to be asked.
    for (offset, times) in [(1, "1"), (2, "2")] {
        let copy = message_at(&wire, HALF, 0, offset).await;
        assert_eq!(copy.property(name::TRANSACTION_CHECK_TIMES), Some(times));
    }
    let (left, _asked) = producer(&wire, "gone").await;
    left.leave().await;
    let (_producer, mut asked) = producer(&wire, "back").await;
    let (copy, _) = question(&mut asked).await;
    assert!(copy.queue_offset >= 2);
    decide(&wire, &copy, transaction_state::ROLLBACK).await;
    assert!(wire.read_all("T", 2).await.is_empty());
}

#[tokio::test]
async fn a_committed_message_still_waits_for_its_delay() {
    let wire = Wire::start().await;
    let sent = send_half(&wire, "later", "DELAY\u{1}1\u{2}", now_ms()).await;
    decide(&wire, &sent, transaction_state::COMMIT).await;
    assert!(wire.read_all("T", 2).await.is_empty());
    let parked = wire.read_all("SCHEDULE_TOPIC_XXXX", 0).await;
    assert_eq!(parked[0].property(name::REAL_QID), Some("2"));
    let message = message_at(&wire, "T", 2, 0).await;
    assert_eq!(&*message.body, b"later");
    assert_eq!(message.sys_flag, sys_flag::TRANSACTION_COMMIT);
}

#[tokio::test]
async fn a_commit_whose_topic_was_deleted_is_refused_and_the_message_stays() {
    let wire = Wire::start().await;
    let sent = send_half(&wire, "x", "", now_ms()).await;
    let delete =
        RemotingCommand::bare_request(RequestCode::DELETE_TOPIC_IN_BROKER).with_field("topic", "T");
    assert_eq!(wire.broker(delete).await.code, 0);
    let commit = end(&sent, transaction_state::COMMIT);
    assert_eq!(wire.ask_broker(&commit).await.code, 17);
    assert!(wire.read_all(OP, 0).await.is_empty());
    wire.put("T", 0, "", "created again").await;
    decide(&wire, &sent, transaction_state::COMMIT).await;
    assert_eq!(bodies(&wire, "T", 2).await, ["x"]);
}

/// Messages are checked once they are older than the time that a test needs to shut the gate behind one.
fn synced(dir: &Path) -> ServerConfig {
    let mut config = hasty();
    config.data_dir = DataDir::Path(dir.to_owned());
    config.flush = FlushMode::Sync;
    config.transaction_timeout = Duration::from_secs(2);
    config
}

/// Fails when the producer is asked about anything before a half message that is sent now.
async fn is_not_asked_again(wire: &Wire, asked: &mut Questions) {
    let fresh = send_half(wire, "fresh", "", now_ms() - 10_000).await;
    let (copy, message) = question(asked).await;
    assert_eq!(message.msg_id(), fresh.unique_id, "{:?}", message.body);
    decide(wire, &copy, transaction_state::ROLLBACK).await;
}

/// A decision that comes while the copy for its check is being written names that copy.
#[tokio::test]
async fn a_decision_that_meets_its_check_is_carried_out_once() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SlowDisk::default();
    let config = synced(dir.path());
    let server = Server::start_on(Arc::new(disk.clone()), config.clone()).await;
    let wire = Wire::to(server.unwrap());
    let (_producer, mut asked) = producer(&wire, "p").await;
    wire.put("T", 0, "", "makes the topic").await;
    let sent = send_half(&wire, SLOW, "", now_ms()).await;
    disk.0.set(true);
    disk.0.slow_written().await;

    let commit = end(&sent, transaction_state::COMMIT);
    let mut answer = Box::pin(wire.ask_broker(&commit));
    let later = GetMaxOffsetRequest {
        topic: HALF,
        queue_id: 0,
        committed: true,
        broker_name: None,
    };
    // On one connection, in this order: the decision has come when the second is answered.
    tokio::select! {
        biased;
        answer = &mut answer => panic!("answered: {answer:?}"),
        later = wire.ask_broker(&later) => assert_eq!(later.code, 0),
    }
    disk.0.set(false);
    let answer = answer.await;
    assert_eq!((answer.code, answer.remark), (0, None));
    let (copy, _) = question(&mut asked).await;
    decide(&wire, &copy, transaction_state::COMMIT).await;
    is_not_asked_again(&wire, &mut asked).await;
    assert_eq!(bodies(&wire, "T", 2).await, [SLOW]);
    let op = format!("{},{},", sent.queue_offset, copy.queue_offset);
    assert_eq!(bodies(&wire, OP, 0).await[0], op);
    wire.server.shutdown(TIMEOUT).await.unwrap();

    let wire = Wire::with(config).await;
    let (_producer, mut asked) = producer(&wire, "p").await;
    is_not_asked_again(&wire, &mut asked).await;
    assert_eq!(bodies(&wire, "T", 2).await, [SLOW]);
}

/// Who does not wait for the disk has decided before the decision can be read.
#[tokio::test]
async fn a_decision_that_is_being_synced_is_not_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SlowDisk::default();
    let config = synced(dir.path());
    let checks_start_after = config.transaction_timeout;
    let server = Server::start_on(Arc::new(disk.clone()), config).await;
    let wire = Wire::to(server.unwrap());
    let (_producer, mut asked) = producer(&wire, "p").await;
    wire.put("T", 0, "", "makes the topic").await;
    let sent = send_half(&wire, "x", "WAIT\u{1}false\u{2}", now_ms()).await;
    message_at(&wire, HALF, 0, 0).await;
    disk.0.set(true);
    decide(&wire, &sent, transaction_state::COMMIT).await;
    tokio::time::sleep(checks_start_after + Duration::from_millis(300)).await;
    disk.0.set(false);
    is_not_asked_again(&wire, &mut asked).await;
    assert_eq!(bodies(&wire, "T", 2).await, ["x"]);
}
