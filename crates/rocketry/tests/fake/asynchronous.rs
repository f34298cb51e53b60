//! Asynchronous sends: tickets, callbacks, back-pressure.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rocketry::{ErrorKind, Message, Producer, ProducerConfig, SendStatus};

use crate::support::*;

async fn limited(cluster: &Cluster, messages: usize, bytes: usize) -> Producer {
    let config = ProducerConfig {
        in_flight_messages: messages,
        in_flight_bytes: bytes,
        ..ProducerConfig::default()
    };
    cluster
        .client()
        .await
        .producer("PG")
        .config(config)
        .await
        .unwrap()
}

/// P-078
#[tokio::test]
async fn a_ticket_resolves_with_the_result() {
    let cluster = Cluster::of(&["a"]);
    cluster.broker("a").script(on(310, |_| Action::Hold));
    let producer = cluster.producer().await;
    let ticket = producer.enqueue(message()).await.unwrap();
    cluster.broker("a").wait_held(1).await;
    assert_eq!(producer.in_flight(), (1, 5));
    cluster.broker("a").release(stored);
    let result = ticket.await.unwrap();
    assert_eq!(result.status, SendStatus::Ok);
    let sent = &cluster.broker("a").received(310)[0];
    assert_eq!(Some(result.msg_id), sent.property("UNIQ_KEY"));
    assert_eq!(producer.in_flight(), (0, 0));
}

/// P-078
#[tokio::test]
async fn a_callback_is_called_once_and_its_panic_harms_nobody() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for n in 0..100 {
        let calls = Arc::clone(&calls);
        producer
            .enqueue_with(message(), move |result| {
                calls.fetch_add(1, Ordering::SeqCst);
                assert!(result.is_ok());
                assert_ne!(n % 10, 0, "every tenth callback panics");
            })
            .await;
    }
    assert!(producer.shutdown(PATIENCE).await.is_clean());
    std::panic::set_hook(quiet);
    assert_eq!(calls.load(Ordering::SeqCst), 100);
    assert_eq!(cluster.broker("a").received(310).len(), 100);
    assert_eq!(producer.in_flight(), (0, 0));
}

/// P-036
#[tokio::test]
async fn an_invalid_message_reaches_the_callback() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    producer
        .enqueue_with(Message::new("a b", "x"), move |result| {
            drop(sender.send(result));
        })
        .await;
    let error = receiver.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::InvalidMessage, -1)
    );
    let error = producer.enqueue(Message::new("T", "")).await.unwrap_err();
    assert_eq!(error.java_code(), 13);
    assert_eq!(producer.in_flight(), (0, 0));
}

/// P-079
#[tokio::test]
async fn an_error_answer_is_not_retried() {
    for code in [1, 17] {
        let cluster = Cluster::of(&["a", "b"]);
        cluster.script_all(310, move || Action::Reply(refuse(code, "no")));
        let producer = cluster.producer().await;
        let error = producer
            .enqueue(message())
            .await
            .unwrap()
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.java_code()),
            (ErrorKind::Refused, code)
        );
        assert_eq!(cluster.received(310).len(), 1);
    }
}

/// P-080
#[tokio::test]
async fn a_closed_connection_is_retried_at_another_broker_with_its_own_queue() {
    let cluster = Cluster::of(&["a", "b"]);
    let mut route = cluster.route(4, 6);
    for queues in &mut route.queue_datas {
        if queues.broker_name == "b" {
            queues.write_queue_nums = 1;
        }
    }
    cluster.set_route("T", route);
    cluster.broker("a").script(on(310, |_| Action::Close));
    let producer = cluster.producer().await;
    for _ in 0..10 {
        let result = producer.enqueue(message()).await.unwrap().await.unwrap();
        assert_eq!(
            (&*result.queue.broker_name, result.queue.queue_id),
            ("b", 0)
        );
    }
    let at_a = cluster.broker("a").received(310);
    assert!(!at_a.is_empty());
    for first in at_a {
        let id = first.property("UNIQ_KEY");
        let at_b = cluster.broker("b").received(310);
        let again = at_b
            .iter()
            .find(|sent| sent.property("UNIQ_KEY") == id)
            .unwrap();
        assert_eq!((again.field("e"), again.field("n")), ("0", "b"));
    }
}

/// P-081
#[tokio::test]
async fn a_chosen_queue_is_retried_at_its_own_broker() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster.broker("a").script(on(310, |_| Action::Close));
    let producer = cluster.producer().await;
    let queue = producer.publish_queues("T").await.unwrap().remove(2);
    assert_eq!(&*queue.broker_name, "a");
    let error = producer
        .enqueue(message())
        .queue(queue)
        .await
        .unwrap()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert_eq!(cluster.broker("a").received(310).len(), 3);
    assert!(cluster.broker("b").received(310).is_empty());
}

/// P-082
#[tokio::test(start_paused = true)]
async fn a_silent_broker_ends_the_send_at_its_deadline_without_another_try() {
    let cluster = Cluster::in_memory(&["a", "b"]);
    cluster.script_all(310, || Action::Silent);
    let producer = cluster.producer().await;
    let started = now();
    let ticket = producer.enqueue(message()).await.unwrap();
    punctually(started, ms(0));
    let error = ticket.await.unwrap_err();
    punctually(started, ms(3000));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(cluster.received(310).len(), 1);
}

/// P-083
#[tokio::test]
async fn refused_connections_are_retried() {
    let cluster = Cluster::of(&[]);
    let mut route = rocketry::TopicRouteData::default();
    add_broker(&mut route, "a", &dead_addr(), 4, 6);
    cluster.set_route("T", route);
    let producer = cluster.producer().await;
    let error = producer.enqueue(message()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.attempts().len()),
        (ErrorKind::BrokerUnreachable, 3)
    );
    assert_eq!(producer.in_flight(), (0, 0));
}

/// P-085
#[tokio::test]
async fn no_more_than_the_limit_is_in_flight() {
    let cluster = Cluster::of(&["a"]);
    cluster.broker("a").script(on(310, |_| Action::Hold));
    let producer = limited(&cluster, 10, 1 << 20).await;
    let mut tickets = Vec::new();
    for _ in 0..10 {
        tickets.push(producer.enqueue(message()).await.unwrap());
    }
    cluster.broker("a").wait_held(10).await;
    let started = now();
    let error = producer
        .enqueue(message())
        .timeout(ms(150))
        .await
        .unwrap_err();
    on_time(started.elapsed(), ms(150));
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::Overloaded, -1)
    );
    // one that ends makes room for one that waits
    let waiting = producer.enqueue(message()).into_future();
    cluster.broker("a").script(storing());
    cluster.broker("a").release(stored);
    let eleventh = waiting.await.unwrap();
    for ticket in tickets {
        ticket.await.unwrap();
    }
    eleventh.await.unwrap();
    assert_eq!(cluster.broker("a").received(310).len(), 11);
    assert_eq!(producer.in_flight(), (0, 0));
}

/// P-084: whatever is asked for, the messages in flight are bounded, and the rest waits for its turn.
#[tokio::test(start_paused = true)]
async fn a_flood_to_a_slow_broker_waits_outside() {
    let cluster = Cluster::in_memory(&["a"]);
    cluster
        .broker("a")
        .script(on(310, |request| Action::Later(ms(50), stored(request))));
    let producer = cluster.producer().await;
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..5_000 {
        let producer = producer.clone();
        sends.spawn(async move {
            let send = producer.enqueue(message()).timeout(PATIENCE);
            send.await.unwrap().await.unwrap();
        });
    }
    let mut most = 0;
    while sends.join_next().await.transpose().unwrap().is_some() {
        most = most.max(producer.in_flight().0);
    }
    assert!((1000..=1024).contains(&most), "{most}");
    assert_eq!(cluster.broker("a").received(310).len(), 5_000);
    assert_eq!(producer.in_flight(), (0, 0));
}

/// P-086
#[tokio::test]
async fn bytes_in_flight_are_bounded_as_well() {
    let cluster = Cluster::of(&["a"]);
    cluster.broker("a").script(on(310, |_| Action::Hold));
    let producer = limited(&cluster, 10, 1 << 20).await;
    let large = || Message::new("T", vec![7; 700 * 1024]);
    let first = producer.enqueue(large()).await.unwrap();
    let error = producer
        .enqueue(large())
        .timeout(ms(100))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    cluster.broker("a").wait_held(1).await;
    cluster.broker("a").script(storing());
    cluster.broker("a").release(stored);
    first.await.unwrap();
    producer.enqueue(large()).await.unwrap().await.unwrap();

    let started = now();
    let error = producer
        .enqueue(Message::new("T", vec![7; 2 << 20]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    // it can never pass, so it does not wait
    on_time(started.elapsed(), ms(0));
    assert!(error.to_string().contains("in_flight_bytes"), "{error}");
}

/// P-087
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_place_is_given_back_whatever_the_send_came_to() {
    let cluster = Cluster::of(&["a", "b"]);
    let mut n = 0;
    cluster.broker("a").script(on(310, move |request| {
        n += 1;
        match n % 5 {
            0 => Action::Close,
            1 => Action::Reply(refuse(1, "no")),
            2 => Action::Silent,
            3 => Action::Later(ms(5), stored(request)),
            _ => Action::Reply(stored(request)),
        }
    }));
    let config = ProducerConfig {
        in_flight_messages: 16,
        // or `a` would be left alone after its first silence
        ..ProducerConfig::java_exact()
    };
    let client = cluster.client().await;
    let producer = client.producer("PG").config(config).await.unwrap();
    let (mut good, mut bad) = (0, 0);
    let mut tickets = Vec::new();
    for n in 0..300 {
        let send = producer.enqueue(message()).timeout(ms(120));
        match send.await {
            Ok(ticket) if n % 7 == 0 => drop(ticket),
            Ok(ticket) => tickets.push(ticket),
            Err(_) => bad += 1,
        }
    }
    for ticket in tickets {
        match ticket.await {
            Ok(_) => good += 1,
            Err(_) => bad += 1,
        }
    }
    assert!(good > 0 && bad > 0, "{good} {bad}");
    assert!(producer.shutdown(PATIENCE).await.is_clean());
    assert_eq!(producer.in_flight(), (0, 0));
}

/// P-088
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_task_keeps_its_order_within_a_queue() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    let queue = producer.publish_queues("T").await.unwrap().remove(0);
    let mut tickets = Vec::new();
    for n in 0..2000 {
        // some are large enough to be compressed elsewhere, and still keep their place
        let size = if n % 500 == 250 { 100_000 } else { 1 };
        let message = Message::new("T", vec![b'x'; size]).property("n", n.to_string());
        tickets.push(
            producer
                .enqueue(message)
                .queue(queue.clone())
                .await
                .unwrap(),
        );
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let order: Vec<usize> = cluster
        .broker("a")
        .received(310)
        .iter()
        .map(|sent| sent.property("n").unwrap().parse().unwrap())
        .collect();
    assert_eq!(order, (0..2000).collect::<Vec<_>>());
}

/// A ticket that nobody awaits does not stop its message.
#[tokio::test]
async fn a_dropped_ticket_is_sent_nevertheless() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    for _ in 0..50 {
        drop(producer.enqueue(message()).await.unwrap());
    }
    let sent = cluster.broker("a").wait_for(310, 50).await;
    let ids: HashSet<_> = sent.iter().map(|sent| sent.property("UNIQ_KEY")).collect();
    assert_eq!(ids.len(), 50);
}

/// Nor does one that has to be sent again.
#[tokio::test]
async fn a_dropped_ticket_is_retried_nevertheless() {
    let cluster = Cluster::of(&["a", "b"]);
    let producer = cluster.producer().await;
    // both connections are there: nothing of the first attempts waits
    for queue in producer.publish_queues("T").await.unwrap() {
        producer.send(message()).queue(queue).await.unwrap();
    }
    let warm = cluster.broker("a").received(310).len();
    cluster.broker("a").script(on(310, |_| Action::Close));
    for _ in 0..2 * warm {
        drop(producer.enqueue(message()).await.unwrap());
    }
    cluster.broker("b").wait_for(310, 3 * warm).await;
    assert!(cluster.broker("a").received(310).len() > warm);
    assert!(producer.shutdown(PATIENCE).await.is_clean());
    assert_eq!(producer.in_flight(), (0, 0));
    assert_eq!(producer.metrics().dropped, 0);
}

/// The answer ends a send, and no task waits for it.
#[tokio::test]
async fn what_is_in_flight_takes_no_task() {
    let cluster = Cluster::in_memory(&["a"]);
    cluster.broker("a").script(storing());
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap();
    cluster.broker("a").script(on(310, |_| Action::Hold));
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let mut tickets = Vec::new();
    for _ in 0..100 {
        tickets.push(producer.enqueue(message()).await.unwrap());
    }
    cluster.broker("a").wait_held(100).await;
    assert_eq!(tasks(), before);
    assert_eq!(producer.metrics().in_flight, 100);
    cluster.broker("a").release(stored);
    for ticket in tickets {
        ticket.await.unwrap();
    }
    assert_eq!(producer.metrics().in_flight, 0);
}

/// A shutdown ends what is in flight, and reports it in the order in which it was sent.
#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_what_is_in_flight() {
    let cluster = Cluster::in_memory(&["a"]);
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap();
    cluster.broker("a").script(on(310, |_| Action::Silent));
    let mut tickets = Vec::new();
    for _ in 0..3 {
        let ticket = producer.enqueue(message()).timeout(PATIENCE * 10);
        tickets.push(ticket.await.unwrap());
    }
    let report = producer.shutdown(ms(100)).await;
    let sent = cluster.broker("a").wait_for(310, 4).await;
    let ids: Vec<_> = sent[1..]
        .iter()
        .map(|sent| sent.property("UNIQ_KEY").unwrap())
        .collect();
    let unsent: Vec<_> = report
        .unsent
        .iter()
        .map(|unsent| unsent.msg_id.clone())
        .collect();
    assert_eq!(unsent, ids);
    assert!(report.unsent.iter().all(|unsent| unsent.maybe_stored));
    for ticket in tickets {
        assert_eq!(ticket.await.unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(producer.in_flight(), (0, 0));
}
