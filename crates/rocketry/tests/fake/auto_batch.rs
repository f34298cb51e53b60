//! Single sends that are gathered to batches.

use std::collections::HashSet;

use rocketry::{
    AutoBatch, Client, ErrorKind, Message, MessageQueue, Producer, ProducerConfig, Properties,
    SendRequest, Ticket,
};
use rocketry_protocol::{
    RemotingCommand, batch,
    header::{SendMessageReply, SendMessageRequest},
    id::offset_msg_id,
};

use crate::support::*;

/// A broker that answers batches as Apache's does: one offset id per message.
fn storing_batches(request: &RemotingCommand) -> RemotingCommand {
    if request.code == 325 {
        return stored(request);
    }
    if request.code != 320 {
        return stored_or_ok(request);
    }
    let header: SendMessageRequest<'_> = request.header().unwrap();
    let ids: Vec<_> = (0..batch::items(&request.body).count())
        .map(|n| offset_id(i64::try_from(n).unwrap()))
        .collect();
    ok().with_header(&SendMessageReply::new(ids.join(","), header.queue_id, 1000))
}

fn offset_id(offset: i64) -> String {
    offset_msg_id("127.0.0.1:10911".parse().unwrap(), offset)
}

async fn gathering(cluster: &Cluster, options: AutoBatch) -> (Client, Producer) {
    for (_, broker) in &cluster.brokers {
        broker.script(|request| Action::Reply(storing_batches(request)));
    }
    let client = cluster.client().await;
    let config = ProducerConfig {
        auto_batch: Some(options),
        ..ProducerConfig::default()
    };
    let producer = client.producer("PG").config(config).await.unwrap();
    (client, producer)
}

fn numbered(n: usize) -> Message {
    Message::new("T", format!("body {n}")).key(format!("k{n}"))
}

/// The bodies of all messages at broker `a`, in order.
fn bodies(cluster: &Cluster) -> Vec<String> {
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
    let sent = cluster.broker("a").received_any(&[310, 320]);
    let bodies = sent.iter().map(|request| match request.command.code {
        310 => vec![text(&request.command.body)],
        _ => batch::items(&request.command.body)
            .map(|item| text(item.unwrap().body))
            .collect(),
    });
    bodies.flatten().collect()
}

/// P-099
#[tokio::test(start_paused = true)]
async fn a_hundred_sends_travel_together_and_each_has_its_own_result() {
    let cluster = Cluster::in_memory(&["a"]);
    let (client, producer) = gathering(&cluster, AutoBatch::default()).await;
    let mut sends = Vec::new();
    for n in 0..100 {
        let producer = producer.clone();
        sends.push(tokio::spawn(async move {
            producer.send(numbered(n)).await.unwrap()
        }));
    }
    let mut results = Vec::new();
    for send in sends {
        results.push(send.await.unwrap());
    }
    let sent = cluster.received(320);
    assert_eq!(sent.len(), 1);
    assert!(cluster.received(310).is_empty());
    let request = &sent[0].1;
    assert_eq!(request.property("WAIT").as_deref(), Some("true"));
    let keys = request.property("KEYS").unwrap();
    assert_eq!(keys.split(' ').collect::<HashSet<_>>().len(), 100);
    let items: Vec<_> = batch::items(&request.command.body)
        .map(Result::unwrap)
        .collect();
    let mut ids = HashSet::new();
    for (n, result) in results.iter().enumerate() {
        let place = usize::try_from(result.queue_offset - 1000).unwrap();
        assert_eq!(items[place].body, format!("body {n}").as_bytes());
        let properties = Properties::parse_bytes(items[place].properties);
        assert_eq!(properties.get("UNIQ_KEY"), Some(&*result.msg_id));
        let offset = result.queue_offset - 1000;
        assert_eq!(result.offset_msg_id, offset_id(offset));
        ids.insert(&result.msg_id);
    }
    assert_eq!(ids.len(), 100);
    assert_eq!(producer.gathered_bytes(), 0);
    client.shutdown(PATIENCE).await;
}

/// P-099, for sends that do not wait for each other.
#[tokio::test(start_paused = true)]
async fn enqueued_messages_are_gathered_too_and_keep_their_order() {
    let cluster = Cluster::in_memory(&["a"]);
    let options = AutoBatch {
        max_bytes: 20,
        ..AutoBatch::default()
    };
    let (client, producer) = gathering(&cluster, options).await;
    let queue = producer.publish_queues("T").await.unwrap().remove(2);
    let mut tickets = Vec::new();
    for n in 0..100 {
        let send = producer.enqueue(numbered(n)).queue(queue.clone());
        tickets.push(send.await.unwrap());
        if n % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for ticket in tickets {
        assert_eq!(ticket.await.unwrap().queue.queue_id, 2);
    }
    assert!(cluster.received(320).len() > 5);
    let expected: Vec<_> = (0..100).map(|n| format!("body {n}")).collect();
    assert_eq!(bodies(&cluster), expected);
    assert_eq!(
        (producer.in_flight(), producer.gathered_bytes()),
        ((0, 0), 0)
    );
    client.shutdown(PATIENCE).await;
}

/// P-100
#[tokio::test(start_paused = true)]
async fn a_batch_leaves_after_its_delay_or_when_enough_is_held() {
    let cluster = Cluster::in_memory(&["a"]);
    let (client, producer) = gathering(&cluster, AutoBatch::default()).await;
    let started = now();
    producer.send(message()).await.unwrap();
    let took = started.elapsed();
    assert!(ms(10) <= took && took <= ms(20), "{took:?}");
    // alone, it goes as the message it is
    assert_eq!(cluster.received(310).len(), 1);

    let started = now();
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..33 {
        let producer = producer.clone();
        sends.spawn(async move { producer.send(Message::new("T", vec![7; 1024])).await });
    }
    for sent in sends.join_all().await {
        sent.unwrap();
    }
    assert_eq!(started.elapsed(), ms(0));
    assert_eq!(cluster.received(320).len(), 1);
    client.shutdown(PATIENCE).await;
}

/// P-101
#[tokio::test(start_paused = true)]
async fn what_differs_is_not_gathered() {
    let cluster = Cluster::in_memory(&["a"]);
    let (client, producer) = gathering(&cluster, AutoBatch::default()).await;
    let queues = producer.publish_queues("T").await.unwrap();
    let mut sends = tokio::task::JoinSet::new();
    let mut expected = 0;
    for message in [
        message(),
        message().tag("TagA"),
        message().tag("TagB"),
        message().wait_store(false),
    ] {
        for queue in [None, queues.first(), queues.get(1)] {
            expected += 1;
            for _ in 0..3 {
                let (producer, message) = (producer.clone(), message.clone());
                let queue = queue.cloned();
                sends.spawn(async move {
                    match queue {
                        Some(queue) => producer.send(message).queue(queue).await,
                        None => producer.send(message).await,
                    }
                });
            }
        }
    }
    for sent in sends.join_all().await {
        sent.unwrap();
    }
    let batches = cluster.received(320);
    assert_eq!(batches.len(), expected);
    for (_, request) in batches {
        let items: Vec<_> = batch::items(&request.command.body)
            .map(|item| Properties::parse_bytes(item.unwrap().properties))
            .collect();
        assert_eq!(items.len(), 3);
        for item in items {
            assert_eq!(
                item.get("TAGS").map(str::to_owned),
                request.property("TAGS")
            );
            let waits = |wait: Option<&str>| wait.unwrap_or("true").to_owned();
            assert_eq!(
                waits(item.get("WAIT")),
                waits(request.property("WAIT").as_deref())
            );
        }
        assert_eq!(request.property("KEYS"), None);
    }
    client.shutdown(PATIENCE).await;
}

/// P-101
#[tokio::test(start_paused = true)]
async fn some_messages_never_wait() {
    let cluster = Cluster::in_memory(&["a"]);
    cluster.topic("%RETRY%g", 1);
    let options = AutoBatch {
        held_bytes: 100,
        ..AutoBatch::default()
    };
    let (client, producer) = gathering(&cluster, options).await;
    let started = now();
    let mut half = message();
    half.properties_mut().set("TRAN_MSG", "true");
    half.properties_mut().set("PGROUP", "PG");
    let mut reply = message();
    reply.properties_mut().set("MSG_TYPE", "reply");
    let alone = [
        message().delay_level(3),
        message().delay(ms(500)),
        message().deliver_at_ms(1),
        message().priority(1),
        Message::new("%RETRY%g", "x"),
        Message::new("T", vec![7; 101]),
        half,
    ];
    let count = alone.len();
    for message in alone {
        producer.send(message.clone()).await.unwrap();
        producer.enqueue(message).await.unwrap().await.unwrap();
    }
    producer.send(message()).timeout(ms(500)).await.unwrap();
    producer.send_oneway(message()).await.unwrap();
    producer.send_batch([message()]).await.unwrap();
    producer.send(reply).await.unwrap();
    assert_eq!(cluster.received(325).len(), 1);
    cluster.broker("a").wait_for(310, 2 * count + 2).await;
    assert_eq!(started.elapsed(), ms(0));
    assert_eq!(cluster.received(310).len(), 2 * count + 2);
    assert_eq!(cluster.received(320).len(), 1);
    client.shutdown(PATIENCE).await;
}

/// P-102
#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_fails_every_caller() {
    let cluster = Cluster::in_memory(&["a"]);
    let (client, producer) = gathering(&cluster, AutoBatch::default()).await;
    cluster.script_all(320, || Action::Reply(refuse(13, "no")));
    let mut sends = tokio::task::JoinSet::new();
    for n in 0..10 {
        let producer = producer.clone();
        sends.spawn(async move { producer.send(numbered(n)).await });
    }
    let mut tickets = Vec::new();
    for n in 0..10 {
        tickets.push(producer.enqueue(numbered(n)).await.unwrap());
    }
    assert_eq!(producer.in_flight().0, 10);
    assert_eq!(producer.gathered_bytes(), 60, "the others have not begun");
    let mut errors = Vec::new();
    for ticket in tickets {
        errors.push(ticket.await.unwrap_err());
    }
    for sent in sends.join_all().await {
        errors.push(sent.unwrap_err());
    }
    for error in errors {
        assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 13));
        assert_eq!(error.attempts().len(), 1);
    }
    // synchronous and asynchronous sends have different rules, and so different batches
    assert_eq!(cluster.received(320).len(), 2);
    assert_eq!(
        (producer.in_flight(), producer.gathered_bytes()),
        ((0, 0), 0)
    );
    client.shutdown(PATIENCE).await;
}

/// P-102: what is wrong with one message is that one's matter.
#[tokio::test(start_paused = true)]
async fn an_invalid_message_harms_no_other() {
    let cluster = Cluster::in_memory(&["a"]);
    let (client, producer) = gathering(&cluster, AutoBatch::default()).await;
    let good = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(message()).await }
    });
    let error = producer.send(Message::new("T", "")).await.unwrap_err();
    assert_eq!(error.java_code(), 13);
    // its properties are good until the message id is added
    let full = message().property("x".repeat(32_750), "v");
    let error = producer.send(full).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
    good.await.unwrap().unwrap();
    assert_eq!(cluster.received(310).len(), 1);
    assert_eq!(producer.gathered_bytes(), 0);
    client.shutdown(PATIENCE).await;
}

/// P-102, P-149
#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_leaves_the_others_alone() {
    let cluster = Cluster::in_memory(&["a"]);
    let (client, producer) = gathering(&cluster, AutoBatch::default()).await;
    let others: Vec<_> = (0..3)
        .map(|n| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.send(numbered(n)).await })
        })
        .collect();
    let given_up = producer.send(numbered(99)).into_future();
    assert!(tokio::time::timeout(ms(1), given_up).await.is_err());
    drop(producer.enqueue(numbered(7)).await.unwrap());
    for other in others {
        other.await.unwrap().unwrap();
    }
    // a ticket that nobody awaits does not stop its message, a dropped send ends
    cluster.broker("a").wait_for(310, 1).await;
    let mut sent = bodies(&cluster);
    sent.sort();
    assert_eq!(sent, ["body 0", "body 1", "body 2", "body 7"]);
    assert_eq!(producer.gathered_bytes(), 0);
    assert!(client.shutdown(PATIENCE).await.is_clean());
}

/// P-103
#[tokio::test]
async fn options_have_bounds() {
    let client = Client::connect("127.0.0.1:1").await.unwrap();
    let build = |max_delay, max_bytes, held_bytes| {
        let config = ProducerConfig {
            auto_batch: Some(AutoBatch {
                max_delay: ms(max_delay),
                max_bytes,
                held_bytes,
            }),
            ..ProducerConfig::default()
        };
        client.producer("PG").config(config).into_future()
    };
    for (max_delay, max_bytes, held_bytes) in [
        (0, 1, 1),
        (30_001, 1, 1),
        (1, 0, 1),
        (1, 2_097_153, 1),
        (1, 1, 0),
    ] {
        let error = build(max_delay, max_bytes, held_bytes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("auto_batch."), "{error}");
    }
    drop(build(1, 1, 1).await.unwrap());
    build(30_000, 2_097_152, 33_554_432).await.unwrap();
}

/// What waits is sent at once, and what cannot be sent is in the report.
#[tokio::test(start_paused = true)]
async fn shutdown_sends_what_waits() {
    let cluster = Cluster::in_memory(&["a"]);
    let options = AutoBatch {
        max_delay: ms(30_000),
        ..AutoBatch::default()
    };
    let (_client, producer) = gathering(&cluster, options).await;
    let started = now();
    let mut tickets = Vec::new();
    for n in 0..5 {
        tickets.push(producer.enqueue(numbered(n)).await.unwrap());
    }
    assert!(producer.shutdown(PATIENCE).await.is_clean());
    assert_eq!(started.elapsed(), ms(0));
    for ticket in tickets {
        ticket.await.unwrap();
    }

    let (_client, producer) = gathering(&cluster, options).await;
    cluster.script_all(320, || Action::Silent);
    let mut tickets = Vec::new();
    for n in 0..5 {
        tickets.push(producer.enqueue(numbered(n)).await.unwrap());
    }
    let report = producer.shutdown(ms(100)).await;
    let (_, request) = cluster.received(320).pop().unwrap();
    let ids: HashSet<_> = batch::items(&request.command.body)
        .map(|item| Properties::parse_bytes(item.unwrap().properties))
        .map(|properties| properties.get("UNIQ_KEY").unwrap().to_owned())
        .collect();
    let unsent: HashSet<_> = report
        .unsent
        .iter()
        .map(|unsent| unsent.msg_id.clone())
        .collect();
    assert_eq!((unsent.len(), &unsent), (5, &ids));
    assert!(report.unsent.iter().all(|unsent| unsent.maybe_stored));
    for ticket in tickets {
        assert_eq!(ticket.await.unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(producer.gathered_bytes(), 0);
}

/// Messages whose batch would be larger than a message may be leave in several.
#[tokio::test(start_paused = true)]
async fn a_batch_is_never_too_large() {
    let cluster = Cluster::in_memory(&["a"]);
    for (_, broker) in &cluster.brokers {
        broker.script(|request| Action::Reply(storing_batches(request)));
    }
    let client = cluster.client().await;
    let config = ProducerConfig {
        auto_batch: Some(AutoBatch::default()),
        max_message_bytes: 1000,
        ..ProducerConfig::default()
    };
    let producer = client.producer("PG").config(config).await.unwrap();
    let mut sends = tokio::task::JoinSet::new();
    for n in 0..50 {
        let producer = producer.clone();
        let size = if n % 10 == 0 { 1000 } else { 20 };
        sends.spawn(async move { producer.send(Message::new("T", vec![7; size])).await });
    }
    for sent in sends.join_all().await {
        sent.unwrap();
    }
    let batches = cluster.received(320);
    assert!(batches.iter().all(|(_, r)| r.command.body.len() <= 1000));
    assert_eq!(
        cluster.received(310).len(),
        5,
        "the largest go by themselves"
    );
    client.shutdown(PATIENCE).await;
}

/// Chooses a queue.
type To = for<'a> fn(SendRequest<'a, Ticket>, &MessageQueue) -> SendRequest<'a, Ticket>;

/// What goes by itself does not overtake what was enqueued for its queue before and waits for company.
#[tokio::test(start_paused = true)]
async fn a_message_that_goes_alone_stays_behind_earlier_ones_of_its_queue() {
    let roomy = AutoBatch {
        max_delay: ms(200),
        ..AutoBatch::default()
    };
    let full = AutoBatch {
        held_bytes: 8,
        ..roomy
    };
    let to: [(&str, To); 3] = [
        ("queue", |send, queue| send.queue(queue.clone())),
        ("shard", |send, _| send.shard("k")),
        ("strict", |send, _| send.strict_shard("k")),
    ];
    for (target, to) in to {
        for (why, options) in [("full", full), ("timeout", roomy), ("batch", roomy)] {
            let cluster = Cluster::in_memory(&["a"]);
            let (client, producer) = gathering(&cluster, options).await;
            let queue = producer.publish_queues("T").await.unwrap().remove(1);
            let started = now();
            let mut tickets = Vec::new();
            for n in 0..6 {
                // only the last one of three goes alone where there is room
                let alone = n % 3 == 2;
                let send = match why {
                    "batch" if alone => producer.enqueue_batch([numbered(n).tag("t"), numbered(9)]),
                    _ => producer.enqueue(numbered(n)),
                };
                let send = to(send, &queue);
                let send = match why {
                    "timeout" if alone => send.timeout(ms(500)),
                    _ => send,
                };
                tickets.push(send.await.unwrap());
            }
            for ticket in tickets {
                ticket.await.unwrap();
            }
            let mut came = bodies(&cluster);
            came.retain(|body| body != "body 9");
            let expected: Vec<_> = (0..6).map(|n| format!("body {n}")).collect();
            assert_eq!(came, expected, "{target} {why}");
            if why != "full" {
                assert_eq!(started.elapsed(), ms(0), "{target} {why}");
            }
            assert_eq!(
                (producer.in_flight(), producer.gathered_bytes()),
                ((0, 0), 0)
            );
            assert!(client.shutdown(PATIENCE).await.is_clean());
        }
    }
}

/// A queue whose batch cannot be handed over does not cost others their time.
#[tokio::test(start_paused = true)]
async fn a_message_that_goes_alone_waits_for_its_own_queue_only_and_within_its_time() {
    let cluster = Cluster::in_memory(&["a", "b"]);
    let mut route = cluster.route(1, 6);
    route.broker_datas[1].broker_addrs = [(0, cluster.network().deaf())].into();
    cluster.set_route("T", route);
    let options = AutoBatch {
        max_delay: ms(200),
        ..AutoBatch::default()
    };
    let (client, producer) = gathering(&cluster, options).await;
    let queues = producer.publish_queues("T").await.unwrap();
    let at = |broker| queues.iter().find(|queue| &*queue.broker_name == broker);
    let (fine, deaf) = (at("a").unwrap(), at("b").unwrap());
    let held_up = producer.enqueue(numbered(0)).queue(deaf.clone());
    let held_up = held_up.await.unwrap();
    let started = now();
    let alone = producer.enqueue(numbered(1)).timeout(ms(1000));
    alone.queue(fine.clone()).await.unwrap().await.unwrap();
    assert_eq!(started.elapsed(), ms(0));
    let behind = producer.enqueue(numbered(2)).timeout(ms(1000));
    let behind = match behind.queue(deaf.clone()).await {
        Ok(ticket) => ticket.await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(
        (behind.kind(), behind.maybe_stored()),
        (ErrorKind::Timeout, false)
    );
    punctually(started, ms(1000));
    held_up.await.unwrap_err();
    client.shutdown(PATIENCE).await;
}
