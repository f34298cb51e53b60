//! Transactions: half messages, what brokers are told of them, and what they ask.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use rocketry::{
    ClientConfig, Decision, EndTransactionContext, EndTransactionHook, ErrorKind, Message,
    MessageExt, Producer, ProducerConfig, Properties, SendStatus,
};
use rocketry_protocol::{
    RemotingCommand, hash, header::CheckTransactionStateRequest, id, record::Record,
};
use rocketry_remoting::Deadline;
use tokio::sync::Semaphore;

use crate::support::*;

async fn transactional(cluster: &Cluster) -> Producer {
    let client = cluster.client().await;
    client
        .producer("PG")
        .transaction_checker(|_half| Decision::Unknown)
        .await
        .unwrap()
}

/// P-104
#[tokio::test]
async fn a_transaction_needs_a_checker_and_takes_no_delay() {
    let cluster = Cluster::of(&["a"]);
    let plain = cluster.producer().await;
    let local = |_half| -> Decision { panic!("nothing was sent") };
    let error = plain
        .send_in_transaction(message(), local)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::InvalidArgument, -1)
    );
    assert!(error.to_string().contains("no transaction checker"));
    let producer = transactional(&cluster).await;
    for delayed in [
        message().delay_level(1),
        message().delay(ms(1500)),
        message().deliver_at_ms(4_000_000_000_000),
    ] {
        let error = producer
            .send_in_transaction(delayed, local)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.java_code()),
            (ErrorKind::InvalidMessage, -1)
        );
    }
    let untimely = Message::new("T", "");
    let error = producer
        .send_in_transaction(untimely, local)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidMessage);
    assert!(cluster.received(310).is_empty() && cluster.received(37).is_empty());
}

/// P-105, P-106
#[tokio::test]
async fn a_decision_goes_to_the_broker_that_keeps_the_half_message() {
    for (decision, wire) in [
        (Decision::Commit, "8"),
        (Decision::Rollback, "12"),
        (Decision::Unknown, "0"),
    ] {
        let cluster = Cluster::of(&["a", "b"]);
        let producer = transactional(&cluster).await;
        let seen = Mutex::new(None);
        let result = producer
            .send_in_transaction(message().key("k"), async |half| {
                assert!(cluster.received(37).is_empty(), "not decided yet");
                *seen.lock() = Some(half);
                decision
            })
            .await
            .unwrap();
        assert_eq!((result.decision, &result.failure), (decision, &None));
        assert!(result.untold.is_none());

        let sent = cluster.received(310);
        assert_eq!(sent.len(), 1);
        let (broker, half) = &sent[0];
        assert_eq!(half.field("f"), "4");
        assert_eq!(half.property("TRAN_MSG").as_deref(), Some("true"));
        assert_eq!(half.property("PGROUP").as_deref(), Some("PG"));
        let told = cluster.broker(broker).wait_for(37, 1).await;
        assert_eq!(cluster.received(37).len(), 1);
        let told = &told[0];
        assert!(told.command.is_oneway());
        let (_, log_offset) = id::parse_offset_msg_id(&result.sent.offset_msg_id).unwrap();
        for (field, value) in [
            ("producerGroup", "PG"),
            ("topic", "T"),
            (
                "tranStateTableOffset",
                &*result.sent.queue_offset.to_string(),
            ),
            ("commitLogOffset", &*log_offset.to_string()),
            ("commitOrRollback", wire),
            ("fromTransactionCheck", "false"),
            ("msgId", &*result.sent.msg_id),
            ("bname", broker),
        ] {
            assert_eq!(told.field(field), value, "{field}");
        }
        assert_eq!(told.command.remark, None);

        let local = seen.into_inner().unwrap();
        assert_eq!(local.transaction_id(), result.sent.msg_id);
        assert_eq!(local.sent, result.sent);
        assert_eq!(&**local.message.body(), b"hello");
        let properties = local.message.properties();
        assert_eq!(properties.get("UNIQ_KEY"), Some(&*result.sent.msg_id));
        assert_eq!(properties.get("KEYS"), Some("k"));
    }
}

/// P-106: what 5.x brokers add to the answer comes back to them.
#[tokio::test]
async fn the_transaction_id_of_the_broker_is_kept() {
    let cluster = Cluster::of(&["a"]);
    cluster.broker("a").script(on(310, |request| {
        Action::Reply(stored(request).with_field("transactionId", "TID"))
    }));
    let producer = transactional(&cluster).await;
    let seen = Mutex::new(None);
    let result = producer
        .send_in_transaction(message(), |half| {
            let id = half.message.properties().get("__transactionId__");
            *seen.lock() = id.map(str::to_owned);
            Decision::Commit
        })
        .await
        .unwrap();
    assert_eq!(result.sent.transaction_id.as_deref(), Some("TID"));
    assert_eq!(seen.lock().as_deref(), Some("TID"));
    let told = cluster.broker("a").wait_for(37, 1).await;
    assert_eq!(told[0].field("transactionId"), "TID");
}

/// P-107
#[tokio::test]
async fn a_local_transaction_that_fails_or_panics_decides_nothing() {
    let cluster = Cluster::of(&["a"]);
    let producer = transactional(&cluster).await;
    let panicked = producer
        .send_in_transaction(message(), async |_half| -> Decision {
            panic!("out of paper")
        })
        .await
        .unwrap();
    let failed = producer
        .send_in_transaction(message(), async |_half| {
            let number: i32 = "ten".parse()?;
            assert_eq!(number, 10);
            Ok::<_, std::num::ParseIntError>(Decision::Commit)
        })
        .await
        .unwrap();
    let told = cluster.broker("a").wait_for(37, 2).await;
    for ((result, told), text) in [panicked, failed]
        .iter()
        .zip(&told)
        .zip(["panicked: out of paper", "invalid digit found in string"])
    {
        assert_eq!(result.decision.to_string(), "UNKNOW");
        assert_eq!(result.failure.as_deref(), Some(text));
        assert_eq!(told.field("commitOrRollback"), "0");
        assert_eq!(told.command.remark.as_deref(), Some(text));
        assert_eq!(told.field("msgId"), result.sent.msg_id);
    }
}

/// P-108
#[tokio::test]
async fn a_half_message_that_is_not_durable_is_rolled_back() {
    for (code, status) in [
        (10, SendStatus::FlushDiskTimeout),
        (11, SendStatus::SlaveNotAvailable),
        (12, SendStatus::FlushSlaveTimeout),
    ] {
        let cluster = Cluster::of(&["a"]);
        cluster.broker("a").script(on(310, move |request| {
            let mut reply = stored(request);
            reply.code = code;
            Action::Reply(reply)
        }));
        let producer = transactional(&cluster).await;
        let local = |_half| -> Decision { panic!("must not run") };
        let result = producer
            .send_in_transaction(message(), local)
            .await
            .unwrap();
        assert_eq!(
            (result.sent.status, result.decision),
            (status, Decision::Rollback)
        );
        let told = cluster.broker("a").wait_for(37, 1).await;
        assert_eq!(told[0].field("commitOrRollback"), "12");
    }
}

/// P-111
#[tokio::test]
async fn a_half_message_that_is_not_stored_begins_no_local_transaction() {
    let cluster = Cluster::of(&["a"]);
    cluster
        .broker("a")
        .script(on(310, |_| Action::Reply(refuse(13, "too large"))));
    let producer = transactional(&cluster).await;
    let local = |_half| -> Decision { panic!("must not run") };
    let error = producer
        .send_in_transaction(message(), local)
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 13));
    assert_eq!(error.attempts().len(), 1);
    assert!(
        error
            .to_string()
            .starts_with("send to topic \"T\" in a transaction failed: the broker answered"),
        "{error}"
    );
    cluster.broker("a").script(on(310, |_| Action::Silent));
    let started = now();
    let error = producer
        .send_in_transaction(message(), local)
        .timeout(ms(50))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.maybe_stored());
    on_time(started.elapsed(), ms(50));
    assert!(cluster.received(37).is_empty());
}

/// The half message is tried like any other.
#[tokio::test]
async fn a_half_message_is_tried_at_another_broker() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster
        .broker("a")
        .script(on(310, |_| Action::Reply(refuse(14, "read only"))));
    let producer = transactional(&cluster).await;
    for _ in 0..4 {
        let result = producer
            .send_in_transaction(message(), |_half| Decision::Commit)
            .await
            .unwrap();
        assert_eq!(&*result.sent.queue.broker_name, "b");
    }
    cluster.broker("b").wait_for(37, 4).await;
    assert!(cluster.broker("a").received(37).is_empty());
}

/// The broker is gone when the decision is made: the result says so, the send is no failure.
#[tokio::test]
async fn a_broker_that_cannot_be_told_is_no_error() {
    let cluster = Cluster::of(&["a"]);
    let mut cluster = cluster;
    let producer = transactional(&cluster).await;
    let (_, broker) = cluster.brokers.pop().unwrap();
    let result = producer
        .send_in_transaction(message(), async |_half| {
            broker.stop().await;
            Decision::Commit
        })
        .await
        .unwrap();
    assert_eq!(result.decision, Decision::Commit);
    let error = result.untold.unwrap();
    assert_eq!(error.kind(), ErrorKind::BrokerUnreachable);
    assert!(error.to_string().contains(&result.sent.msg_id), "{error}");
}

/// P-149, for transactions: dropped at each poll, nothing is left and the broker hears nothing.
#[tokio::test]
async fn a_transaction_may_be_dropped_at_any_time() {
    let cluster = Cluster::of(&["a"]);
    let producer = transactional(&cluster).await;
    let transaction = || {
        let local = async |_half| {
            tokio::task::yield_now().await;
            Decision::Commit
        };
        producer.send_in_transaction(message(), local)
    };
    // sends on the same connection do not notice
    let others = tokio::spawn({
        let producer = producer.clone();
        async move {
            for _ in 0..200 {
                let other = message();
                producer.send(other).timeout(PATIENCE).await.unwrap();
            }
        }
    });
    let polls = polls_until_done(transaction).await;
    assert!(polls >= 3, "{polls}");
    others.await.unwrap();
    assert_eq!(cluster.broker("a").opened(), 1);
    // what was dropped counts no longer: a shutdown does not wait for it
    let started = now();
    assert!(producer.shutdown(PATIENCE).await.is_clean());
    on_time(started.elapsed(), ms(0));
}

/// P-010: a shutdown waits for local transactions, and ends those that take too long as undecided.
#[tokio::test]
async fn a_shutdown_ends_local_transactions() {
    let cluster = Cluster::of(&["a"]);
    let producer = transactional(&cluster).await;
    let begun = Arc::new(Semaphore::new(0));
    let waiting = tokio::spawn({
        let (producer, begun) = (producer.clone(), Arc::clone(&begun));
        async move {
            producer
                .send_in_transaction(message(), async |_half| {
                    begun.add_permits(1);
                    pending::<Decision>().await
                })
                .await
        }
    });
    begun.acquire().await.unwrap().forget();
    let started = now();
    let report = producer.shutdown(ms(100)).await;
    on_time(started.elapsed(), ms(100));
    assert!(report.is_clean(), "the message is stored");
    let result = waiting.await.unwrap().unwrap();
    assert_eq!(result.decision, Decision::Unknown);
    assert!(result.failure.unwrap().contains("shut down"));
    let told = cluster.broker("a").wait_for(37, 1).await;
    assert_eq!(told[0].field("commitOrRollback"), "0");
}

/// A half message as the broker keeps it, with its real topic and queue.
fn half_message(group: Option<&str>, body: &[u8], sys_flag: i32) -> Vec<u8> {
    let host: SocketAddr = "127.0.0.1:10911".parse().unwrap();
    let mut properties = Properties::default();
    properties.set("UNIQ_KEY", "0A000001000100000002000003E80003");
    properties.set("TRAN_MSG", "true");
    properties.set("PGROUP", group.unwrap_or_default());
    let record = Record {
        body_crc: hash::crc32(body),
        queue_id: 2,
        flag: 7,
        queue_offset: 41,
        physical_offset: 4660,
        sys_flag,
        born_ms: 1_700_000_000_000,
        born_host: host,
        store_ms: 1_700_000_000_001,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        topic: "T",
        properties: properties.as_str().as_bytes(),
    };
    let mut bytes = Vec::new();
    record.encode(&mut bytes).unwrap();
    bytes
}

fn check(body: Vec<u8>) -> RemotingCommand {
    RemotingCommand::request(&CheckTransactionStateRequest {
        topic: Some("RMQ_SYS_TRANS_HALF_TOPIC"),
        tran_state_table_offset: 5,
        commit_log_offset: 9320,
        msg_id: Some("0A000001000100000002000003E80003"),
        transaction_id: Some("TID"),
        offset_msg_id: Some("7F00000100002A9F0000000000002468"),
        broker_name: Some("a"),
    })
    .with_body(body)
}

/// Sends a request to the client, as a broker does.
async fn ask(broker: &FakeServer, request: RemotingCommand) {
    broker.wait_open(1).await;
    let connection = broker.a_connection();
    connection
        .oneway(request, Deadline::after(PATIENCE))
        .await
        .unwrap();
}

/// P-109
#[tokio::test]
async fn a_check_is_answered_by_the_checker() {
    let cluster = Cluster::of(&["a"]);
    cluster.auto_create();
    let seen: Arc<Mutex<Vec<MessageExt>>> = Arc::default();
    let client = cluster.client().await;
    let producer = client.producer("PG").transaction_checker({
        let seen = Arc::clone(&seen);
        move |half| {
            let seen = Arc::clone(&seen);
            async move {
                tokio::task::yield_now().await;
                let so_far = seen.lock().len();
                seen.lock().push(half);
                match so_far {
                    0 => Ok(Decision::Commit),
                    1 => Ok(Decision::Rollback),
                    2 => Err("the database does not answer"),
                    _ => panic!("no idea"),
                }
            }
        }
    });
    let _producer = producer.await.unwrap();
    let broker = cluster.broker("a");
    broker.wait_for(34, 1).await;
    let started = now();
    for _ in 0..4 {
        ask(broker, check(half_message(Some("PG"), b"paid", 0))).await;
    }
    let answers = broker.wait_for(37, 4).await;
    on_time(started.elapsed(), ms(0));
    for (answer, (decision, remark)) in answers.iter().zip([
        ("8", None),
        ("12", None),
        ("0", Some("the database does not answer")),
        ("0", Some("panicked: no idea")),
    ]) {
        assert!(answer.command.is_oneway());
        assert_eq!(answer.command.remark.as_deref(), remark);
        for (field, value) in [
            ("producerGroup", "PG"),
            ("topic", "RMQ_SYS_TRANS_HALF_TOPIC"),
            ("tranStateTableOffset", "5"),
            ("commitLogOffset", "9320"),
            ("commitOrRollback", decision),
            ("fromTransactionCheck", "true"),
            ("msgId", "0A000001000100000002000003E80003"),
            ("transactionId", "TID"),
            ("bname", "a"),
        ] {
            assert_eq!(answer.field(field), value, "{field}");
        }
    }
    // the message as it is stored, of its real topic
    let half = &seen.lock()[0];
    assert_eq!((&*half.topic, half.queue_id), ("T", 2));
    assert_eq!((&*half.body, half.flag), (&b"paid"[..], 7));
    assert_eq!(half.msg_id(), "0A000001000100000002000003E80003");
    assert_eq!(half.queue_offset, 41);
}

/// What an end-transaction hook was told.
#[derive(Clone, Default)]
struct Ended(Arc<Mutex<Vec<String>>>);

impl EndTransactionHook for Ended {
    fn end(&self, context: &EndTransactionContext<'_>) {
        self.0.lock().push(format!(
            "{} {} {} {} {} {} {}",
            context.group,
            context.topic,
            context.properties.get("KEYS").unwrap_or_default(),
            context.msg_id,
            context.transaction_id,
            context.decision,
            context.from_check
        ));
        panic!("harms nobody");
    }
}

/// P-106, P-109: hooks see both ways in which a transaction ends, once each.
#[tokio::test]
async fn hooks_see_how_transactions_end() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let ended = Ended::default();
    let producer = client
        .producer("PG")
        .transaction_checker(|_half| Decision::Rollback)
        .end_transaction_hook(ended.clone())
        .await
        .unwrap();
    let result = producer
        .send_in_transaction(message().key("k"), |_half| Decision::Commit)
        .await
        .unwrap();
    let broker = cluster.broker("a");
    broker.wait_for(37, 1).await;
    ask(broker, check(half_message(Some("PG"), b"x", 0))).await;
    broker.wait_for(37, 2).await;
    let id = result.sent.msg_id;
    let (uniq, tid) = ("0A000001000100000002000003E80003", "TID");
    assert_eq!(
        *ended.0.lock(),
        [
            format!("PG T k {id} {id} COMMIT_MESSAGE false"),
            format!("PG T  {uniq} {tid} ROLLBACK_MESSAGE true"),
        ]
    );
}

/// P-110
#[tokio::test]
async fn checks_that_nobody_can_answer_are_ignored() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let plain = client.producer("plain").await.unwrap();
    let checked = Arc::new(AtomicUsize::new(0));
    let producer = client.producer("PG").transaction_checker({
        let checked = Arc::clone(&checked);
        move |_half| {
            checked.fetch_add(1, Ordering::SeqCst);
            Decision::Commit
        }
    });
    let _producer = producer.await.unwrap();
    plain.send(message()).await.unwrap();
    let broker = cluster.broker("a");
    let good = || half_message(Some("PG"), b"paid", 0);
    let mut truncated = good();
    truncated.truncate(60);
    for body in [
        half_message(Some("unknown"), b"x", 0),
        half_message(Some("plain"), b"x", 0),
        half_message(None, b"x", 0),
        truncated,
        b"garbage".to_vec(),
        Vec::new(),
        // said to be compressed
        half_message(Some("PG"), b"not zlib", 1),
    ] {
        ask(broker, check(body)).await;
    }
    let mut headless = check(good());
    headless.fields = None;
    ask(broker, headless).await;
    // and now one that is fine, on the same connection
    ask(broker, check(good())).await;
    broker.wait_for(37, 1).await;
    plain.send(message()).await.unwrap();
    assert_eq!(checked.load(Ordering::SeqCst), 1);
    assert_eq!(broker.received(37).len(), 1);
    assert_eq!(broker.opened(), 1);
}

/// P-110
#[tokio::test]
async fn checks_behind_a_blocked_checker_are_bounded() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let gate = Arc::new(Semaphore::new(0));
    let begun = Arc::new(Semaphore::new(0));
    let producer = client.producer("PG").transaction_checker({
        let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
        move |_half| {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            async move {
                begun.add_permits(1);
                gate.acquire().await.unwrap().forget();
                Decision::Commit
            }
        }
    });
    let producer = producer.await.unwrap();
    producer.send(message()).await.unwrap();
    let broker = cluster.broker("a");
    ask(broker, check(half_message(Some("PG"), b"first", 0))).await;
    begun.acquire().await.unwrap().forget();
    // one is checked and blocks; 2000 wait, 50 are left to the broker
    for _ in 0..2050 {
        ask(broker, check(half_message(Some("PG"), b"waits", 0))).await;
    }
    // requests are taken in order: an answer to this one says that the others were taken or left
    let connection = broker.a_connection();
    let last = RemotingCommand::bare_request(rocketry_protocol::RequestCode(4711));
    let answer = connection.call(last, Deadline::after(PATIENCE)).await;
    assert_eq!(answer.unwrap().code, 3);
    gate.add_permits(5000);
    broker.wait_for(37, 2001).await;
    ask(broker, check(half_message(Some("PG"), b"after", 0))).await;
    let answers = broker.wait_for(37, 2002).await;
    assert_eq!(answers.len(), 2002);
}

/// Questions that hold much are bounded by what they hold.
#[tokio::test]
async fn large_messages_that_wait_for_a_check_are_bounded_by_bytes() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let gate = Arc::new(Semaphore::new(0));
    let producer = client.producer("PG").transaction_checker({
        let gate = Arc::clone(&gate);
        move |_half| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Decision::Commit
            }
        }
    });
    let producer = producer.await.unwrap();
    producer.send(message()).await.unwrap();
    let broker = cluster.broker("a");
    let eight_mib = vec![b'x'; 8 * 1024 * 1024 - 1024];
    for _ in 0..12 {
        ask(broker, check(half_message(Some("PG"), &eight_mib, 0))).await;
    }
    let connection = broker.a_connection();
    let last = RemotingCommand::bare_request(rocketry_protocol::RequestCode(4711));
    let answer = connection.call(last, Deadline::after(PATIENCE)).await;
    assert_eq!(answer.unwrap().code, 3);
    gate.add_permits(100);
    broker.wait_for(37, 8).await;
    ask(broker, check(half_message(Some("PG"), b"after", 0))).await;
    assert_eq!(broker.wait_for(37, 9).await.len(), 9);
}

/// As many checks as configured run at a time.
#[tokio::test]
async fn checks_run_side_by_side_when_told_to() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let together = Arc::new(tokio::sync::Barrier::new(3));
    let config = ProducerConfig {
        transaction_checks: 3,
        ..ProducerConfig::default()
    };
    let producer = client.producer("PG").config(config).transaction_checker({
        let together = Arc::clone(&together);
        move |_half| {
            let together = Arc::clone(&together);
            async move {
                together.wait().await;
                Decision::Commit
            }
        }
    });
    let producer = producer.await.unwrap();
    producer.send(message()).await.unwrap();
    let broker = cluster.broker("a");
    for _ in 0..3 {
        ask(broker, check(half_message(Some("PG"), b"x", 0))).await;
    }
    broker.wait_for(37, 3).await;
}

/// P-112: a producer that has sent nothing yet is known to every broker that keeps half messages.
#[tokio::test]
async fn a_producer_that_only_checks_is_known_to_brokers() {
    for topic in ["RMQ_SYS_TRANS_HALF_TOPIC", "TBW102"] {
        let cluster = Cluster::of(&["a", "b"]);
        cluster.topic(topic, 1);
        let config = ClientConfig {
            heartbeat: ms(20),
            ..ClientConfig::default()
        };
        let client = cluster.connect().config(config).await.unwrap();
        let producer = client
            .producer("PG")
            .transaction_checker(|_half| Decision::Commit)
            .await
            .unwrap();
        for (_, broker) in &cluster.brokers {
            broker.wait_for(34, 2).await;
            ask(broker, check(half_message(Some("PG"), b"old", 0))).await;
            broker.wait_for(37, 1).await;
        }
        drop(producer);
    }
}

/// Nothing is checked for a producer that has left, and its tasks are gone.
#[tokio::test]
async fn checks_end_with_their_producer() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let alive = tokio::runtime::Handle::current().metrics();
    let plain = client.producer("plain").await.unwrap();
    plain.send(message()).await.unwrap();
    cluster.broker("a").wait_for(34, 1).await;
    let before = alive.num_alive_tasks();
    for end_by_shutdown in [true, false] {
        let begun = Arc::new(Semaphore::new(0));
        let producer = client.producer("PG").transaction_checker({
            let begun = Arc::clone(&begun);
            move |_half| {
                begun.add_permits(1);
                pending::<Decision>()
            }
        });
        let producer = producer.await.unwrap();
        for _ in 0..2 {
            ask(
                cluster.broker("a"),
                check(half_message(Some("PG"), b"x", 0)),
            )
            .await;
        }
        begun.acquire().await.unwrap().forget();
        if end_by_shutdown {
            producer.shutdown(PATIENCE).await;
        }
        drop(producer);
        let gone = async {
            while alive.num_alive_tasks() > before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone)
            .await
            .expect("tasks are left");
        assert!(cluster.received(37).is_empty());
    }
}
