//! The plain reader and administration, against a scripted broker. The embedded server covers the rest in its own tests.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use rocketry::{ErrorKind, StartAt, TopicOptions};
use rocketry_protocol::{
    RemotingCommand,
    header::{OffsetReply, PullMessageReply, PullMessageRequest},
    record::Record,
};

use crate::support::*;

/// Messages `body-0`, `body-1`, ... of one queue, as a broker stores them.
fn records(from: i64, to: i64, tag: &str) -> Vec<u8> {
    records_with(0, from, to, tag)
}

fn records_with(sys_flag: i32, from: i64, to: i64, tag: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for offset in from..to {
        let properties = format!("TAGS\u{1}{tag}\u{2}");
        let body = format!("body-{offset}");
        let record = Record {
            body_crc: rocketry_protocol::hash::crc32(body.as_bytes()),
            queue_id: 0,
            flag: 0,
            queue_offset: offset,
            physical_offset: offset * 100,
            sys_flag,
            born_ms: 1,
            born_host: "127.0.0.1:1".parse().unwrap(),
            store_ms: 2,
            store_host: "127.0.0.1:2".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            topic: "T",
            properties: properties.as_bytes(),
        };
        record.encode(&mut out).unwrap();
    }
    out
}

fn place(next: i64, max: i64) -> PullMessageReply {
    PullMessageReply {
        suggest_which_broker_id: 0,
        next_begin_offset: next,
        min_offset: 3,
        max_offset: max,
        offset_delta: None,
        topic_sys_flag: None,
        group_sys_flag: None,
        forbidden_type: None,
    }
}

/// A queue of messages 3 ..< `max`, pulled two at a time.
fn queue(max: Arc<AtomicI64>) -> impl FnMut(&RemotingCommand) -> Action + Send + 'static {
    move |request| {
        let max = max.load(Ordering::SeqCst);
        let offset = |offset| Action::Reply(ok().with_header(&OffsetReply { offset }));
        match request.code {
            30 => offset(max),
            31 => offset(3),
            29 => offset(5),
            14 if request.field("consumerGroup") == Some("G") => offset(4),
            14 => Action::Reply(refuse(22, "never committed")),
            11 => {
                let header: PullMessageRequest<'_> = request.header().unwrap();
                let from = header.queue_offset;
                if from < 3 {
                    return Action::Reply(refuse(21, "too small").with_header(&place(3, max)));
                }
                if from >= max {
                    return Action::Later(
                        ms(20),
                        refuse(19, "nothing").with_header(&place(from, max)),
                    );
                }
                let to = (from + 2).min(max);
                Action::Reply(
                    ok().with_header(&place(to, max))
                        .with_body(records(from, to, "TagA")),
                )
            }
            _ => Action::Reply(ok()),
        }
    }
}

fn setup() -> (Cluster, Arc<AtomicI64>) {
    let cluster = Cluster::of(&["a"]);
    cluster.topic("T", 1);
    let max = Arc::new(AtomicI64::new(8));
    cluster.broker("a").script(queue(Arc::clone(&max)));
    (cluster, max)
}

async fn read_until_quiet(reader: &mut rocketry::Reader) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let batch = reader.next_batch(ms(200)).await.unwrap();
        if batch.is_empty() {
            return bodies;
        }
        for message in batch {
            assert_eq!(&*message.broker_name, "a");
            bodies.push(String::from_utf8_lossy(&message.body).into_owned());
        }
    }
}

#[tokio::test]
async fn a_queue_is_read_in_order_from_every_start() {
    let (cluster, max) = setup();
    let client = cluster.client().await;
    for (start, first) in [
        (StartAt::First, 3),
        (StartAt::Last, 8),
        (StartAt::Offset(0), 3),
        (StartAt::Offset(6), 6),
        (StartAt::Offset(99), 8),
        (StartAt::Time(1), 5),
    ] {
        let mut reader = client.reader("T").start(start).await.unwrap();
        let expected: Vec<_> = (first..8).map(|n| format!("body-{n}")).collect();
        assert_eq!(read_until_quiet(&mut reader).await, expected, "{start:?}");
        assert_eq!(reader.positions()[0].1, 8.max(first));
        let error = reader.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    let pull = &cluster.broker("a").received(11)[0];
    assert_eq!(
        (pull.field("consumerGroup"), pull.field("sysFlag")),
        ("TOOLS_CONSUMER", "6")
    );
    assert_eq!(
        (pull.field("subscription"), pull.field("bname")),
        ("*", "a")
    );

    // what arrives later is read as well
    let mut reader = client.reader("T").start(StartAt::Last).await.unwrap();
    assert!(reader.next_batch(ms(50)).await.unwrap().is_empty());
    max.store(9, Ordering::SeqCst);
    assert_eq!(reader.next_batch(PATIENCE).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_group_goes_on_where_it_has_committed() {
    let (cluster, _) = setup();
    let client = cluster.client().await;
    let mut reader = client
        .reader("T")
        .group("G")
        .start(StartAt::Last)
        .await
        .unwrap();
    assert_eq!(
        read_until_quiet(&mut reader).await.len(),
        4,
        "from offset 4"
    );
    reader.commit().await.unwrap();
    let committed = &cluster.broker("a").received(15)[0];
    assert_eq!(
        (
            committed.field("consumerGroup"),
            committed.field("commitOffset")
        ),
        ("G", "8")
    );
    // a group without an offset starts where it is told to
    let mut reader = client
        .reader("T")
        .group("new")
        .start(StartAt::Offset(7))
        .await
        .unwrap();
    assert_eq!(read_until_quiet(&mut reader).await, ["body-7"]);
}

#[tokio::test]
async fn tags_are_compared_here_since_brokers_compare_hashes() {
    let (cluster, _) = setup();
    let client = cluster.client().await;
    let mut reader = client.reader("T").filter("TagA || TagC").await.unwrap();
    assert_eq!(read_until_quiet(&mut reader).await.len(), 5);
    let mut reader = client.reader("T").filter("TagB").await.unwrap();
    assert!(read_until_quiet(&mut reader).await.is_empty());
}

#[tokio::test]
async fn a_reader_survives_a_broker_that_goes_and_comes_back() {
    let (cluster, max) = setup();
    let client = cluster.client().await;
    let mut reader = client.reader("T").await.unwrap();
    assert_eq!(read_until_quiet(&mut reader).await.len(), 5);
    cluster.broker("a").cut();
    max.store(9, Ordering::SeqCst);
    assert_eq!(reader.next_batch(PATIENCE).await.unwrap().len(), 1);
    // one that refuses is reported
    cluster
        .broker("a")
        .script(on(11, |_| Action::Reply(refuse(16, "not for you"))));
    let error = reader.next_batch(PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("not for you"), "{error}");
}

#[tokio::test]
async fn a_reader_ends_with_its_client() {
    let (cluster, _) = setup();
    let client = cluster.client().await;
    let mut reader = client.reader("T").start(StartAt::Last).await.unwrap();
    client.shutdown(PATIENCE).await;
    let error = reader.next_batch(PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let again = reader.next_batch(PATIENCE).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_topic_that_is_not_there_cannot_be_read() {
    let (cluster, _) = setup();
    let error = cluster.client().await.reader("nothing").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound);
    assert!(
        error
            .to_string()
            .starts_with("read topic \"nothing\" failed: "),
        "{error}"
    );
}

/// P-123
#[tokio::test]
async fn a_topic_is_created_on_every_master_that_is_there() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.broker("a").script(|_| Action::Reply(ok()));
    let admin = cluster.client().await.admin();
    let options = TopicOptions {
        write_queues: 5,
        ..TopicOptions::default()
    };
    // `b` knows no such request
    let took = admin.create_topic("orders", &options).await.unwrap();
    assert_eq!(took, [cluster.broker("a").addr()]);
    let each = admin.create_topic_on_each("orders", &options).await;
    let failures = each.unwrap().failures;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].broker(), Some("b"));
    let created = &cluster.broker("a").received(17)[0];
    assert_eq!(
        (created.field("topic"), created.field("perm")),
        ("orders", "6")
    );
    assert_eq!(
        (
            created.field("readQueueNums"),
            created.field("writeQueueNums")
        ),
        ("8", "5")
    );
    let error = admin.create_topic("TBW102", &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let nowhere = TopicOptions {
        cluster: Some("elsewhere".to_owned()),
        ..TopicOptions::default()
    };
    let error = admin.create_topic("orders", &nowhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let gone = cluster.brokers.remove(0).1;
    gone.stop().await;
    assert!(admin.create_topic("orders", &options).await.is_err());
}

/// P-124, P-125
#[tokio::test]
async fn offsets_are_asked_of_the_master() {
    let (cluster, _) = setup();
    let admin = cluster.client().await.admin();
    let queue = admin.subscribe_queues("T").await.unwrap().remove(0);
    assert_eq!(admin.min_offset(&queue).await.unwrap(), 3);
    assert_eq!(admin.max_offset(&queue).await.unwrap(), 8);
    assert_eq!(
        admin
            .search_offset(&queue, 7, rocketry::Boundary::Upper)
            .await
            .unwrap(),
        5
    );
    let searched = &cluster.broker("a").received(29)[0];
    assert_eq!(
        (searched.field("timestamp"), searched.field("boundaryType")),
        ("7", "UPPER")
    );
    assert_eq!(admin.consumer_offset("G", &queue).await.unwrap(), Some(4));
    assert_eq!(admin.consumer_offset("new", &queue).await.unwrap(), None);
    let error = admin.publish_queues("nothing").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound);
    let asked = cluster.name_server.received(105);
    assert!(asked.iter().all(|asked| asked.field("topic") != "TBW102"));
}

/// Who reads in a loop has to learn that nothing will come.
#[tokio::test(start_paused = true)]
async fn a_reader_fails_for_good_once_its_client_is_shut_down() {
    let cluster = Cluster::in_memory(&["a"]);
    cluster.topic("T", 2);
    let max = Arc::new(AtomicI64::new(3));
    cluster.broker("a").script(queue(max));
    let client = cluster.client().await;
    let mut reader = client.reader("T").await.unwrap();
    assert!(reader.next_batch(ms(100)).await.unwrap().is_empty());
    client.shutdown(PATIENCE).await;
    for call in 0..10 {
        let error = reader.next_batch(ms(10_000)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "call {call}: {error}");
        assert_eq!(
            (error.action(), error.reason()),
            ("read topic \"T\"", "the client is shut down")
        );
    }
}

/// P-144, for what is no send.
#[tokio::test]
async fn a_broker_that_goes_away_is_asked_again_whatever_it_is_asked() {
    let (cluster, max) = setup();
    let broker = cluster.broker("a");
    let (mut left, mut answer) = (1, queue(max));
    broker.script(move |request| {
        if request.code == 30 && left > 0 {
            left -= 1;
            return Action::Reply(refuse(1500, "go away"));
        }
        answer(request)
    });
    let admin = cluster.client().await.admin();
    let queue = admin.subscribe_queues("T").await.unwrap().remove(0);
    assert_eq!(admin.max_offset(&queue).await.unwrap(), 8);
    let asked = broker.received(30);
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0].connection, asked[1].connection);
    broker.wait_open(1).await;
}

/// One pull with a message whose body does not decompress between two that are sound.
#[tokio::test]
async fn a_message_that_cannot_be_read_costs_none_of_the_others() {
    /// Compressed, by something nobody knows.
    const COMPRESSED: i32 = 0x1 | 0x700;
    let cluster = Cluster::of(&["a"]);
    cluster.topic("T", 1);
    let mut answer = queue(Arc::new(AtomicI64::new(8)));
    cluster.broker("a").script(move |request| {
        let header = request.header::<PullMessageRequest<'_>>();
        match header {
            Ok(header) if request.code == 11 && header.queue_offset == 3 => {
                let body = [
                    records(3, 4, "TagA"),
                    records_with(COMPRESSED, 4, 5, "TagA"),
                    records(5, 8, "TagA"),
                ];
                Action::Reply(ok().with_header(&place(8, 8)).with_body(body.concat()))
            }
            _ => answer(request),
        }
    });
    let client = cluster.client().await;
    let mut reader = client.reader("T").await.unwrap();
    assert_eq!(
        read_until_quiet(&mut reader).await,
        ["body-3", "body-5", "body-6", "body-7"]
    );
}

/// What is committed is where the broker said to go on, though no message came with that.
#[tokio::test]
async fn a_commit_follows_resets_and_filtered_messages() {
    let (cluster, _) = setup();
    let client = cluster.client().await;
    let committed = |n: usize| {
        let received = cluster.broker("a").received(15);
        let offset: i64 = received[n].field("commitOffset").parse().unwrap();
        offset
    };
    let mut reader = client.reader("T").group("G").filter("TagB").await.unwrap();
    assert!(read_until_quiet(&mut reader).await.is_empty());
    reader.commit().await.unwrap();
    assert_eq!(committed(0), 8, "all were left out by the filter");

    let is_reset = AtomicBool::new(false);
    let mut answer = queue(Arc::new(AtomicI64::new(8)));
    cluster.broker("a").script(move |request| {
        if request.code == 11 && !is_reset.swap(true, Ordering::SeqCst) {
            return Action::Reply(refuse(21, "reset").with_header(&place(8, 8)));
        }
        answer(request)
    });
    let mut reader = client.reader("T").group("G").await.unwrap();
    assert!(read_until_quiet(&mut reader).await.is_empty());
    reader.commit().await.unwrap();
    assert_eq!(committed(1), 8, "not where the group was before the reset");
}

#[tokio::test]
async fn a_broker_that_is_gone_keeps_no_other_from_being_told() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster.topic("T", 1);
    for name in ["a", "b"] {
        let max = Arc::new(AtomicI64::new(8));
        cluster.broker(name).script(queue(max));
    }
    let client = cluster.client().await;
    let mut reader = client.reader("T").group("G").await.unwrap();
    while reader.positions().iter().any(|(_, offset)| *offset < 8) {
        reader.next_batch(PATIENCE).await.unwrap();
    }
    let refusing = on(15, |_| Action::Reply(refuse(1, "not now")));
    cluster.broker("a").script(refusing);
    let error = reader.commit().await.unwrap_err();
    assert!(error.to_string().contains("not now"), "{error}");
    assert_eq!(cluster.broker("b").received(15).len(), 1);
}

#[tokio::test]
async fn reading_goes_on_while_no_name_server_answers() {
    let (cluster, max) = setup();
    let client = cluster.client().await;
    let mut reader = client.reader("T").await.unwrap();
    assert_eq!(read_until_quiet(&mut reader).await.len(), 5);
    cluster
        .name_server
        .script(|_| Action::Reply(refuse(1, "not now")));
    cluster.broker("a").cut();
    max.store(9, Ordering::SeqCst);
    assert_eq!(reader.next_batch(PATIENCE).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_reader_returns_to_a_master_that_returns() {
    let cluster = Cluster::of(&["a", "b"]);
    let [slave, master] = ["a", "b"].map(|name| cluster.broker(name));
    let of = |addresses: &[(i64, &FakeServer)]| {
        let mut route = cluster.route(1, 6);
        route.queue_datas.retain(|queue| queue.broker_name == "a");
        route
            .broker_datas
            .retain(|broker| broker.broker_name == "a");
        let addresses = addresses.iter().map(|(id, server)| (*id, server.addr()));
        route.broker_datas[0].broker_addrs = addresses.collect();
        route
    };
    slave.script(queue(Arc::new(AtomicI64::new(8))));
    master.script(queue(Arc::new(AtomicI64::new(9))));
    cluster.set_route("T", of(&[(0, slave)]));
    let client = cluster.client().await;
    let mut reader = client.reader("T").await.unwrap();
    cluster.set_route("T", of(&[(1, slave)]));
    slave.cut();
    assert_eq!(read_until_quiet(&mut reader).await.len(), 5);
    cluster.set_route("T", of(&[(0, master), (1, slave)]));
    assert_eq!(reader.next_batch(PATIENCE).await.unwrap().len(), 1);
}
