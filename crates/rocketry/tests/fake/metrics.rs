//! What a producer counts.

use rocketry::{ErrorKind, Histogram, MetricsExporter};

use crate::support::*;

#[tokio::test]
async fn every_send_is_counted_once_by_what_it_came_to() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    assert_eq!(producer.metrics().route_age, None);
    for _ in 0..3 {
        producer.send(message()).await.unwrap();
    }
    let batch = producer.enqueue_batch([message(), message()]);
    batch.await.unwrap().await.unwrap();
    producer.send_oneway(message()).await.unwrap();
    cluster.broker("a").wait_for(310, 4).await;
    cluster.script_all(310, || Action::Reply(refuse(2, "busy")));
    producer.send(message()).await.unwrap_err();
    producer
        .send(rocketry::Message::new("no topic", "x"))
        .await
        .unwrap_err();
    cluster.script_all(310, || {
        Action::Reply(
            ok().with_header(&rocketry_protocol::header::SendMessageReply::new(
                "id".to_owned(),
                0,
                1,
            )),
        )
    });
    producer.send(message()).await.unwrap();
    let metrics = producer.metrics();
    assert_eq!((metrics.sends, metrics.messages), (8, 9));
    assert_eq!(metrics.body_bytes, 5 * 8 + 1);
    assert_eq!((metrics.stored, metrics.handed), (5, 1));
    assert_eq!(metrics.failures(), 2);
    assert!(metrics.failed.contains(&(ErrorKind::Refused, 1)));
    assert_eq!(metrics.retries, 2);
    assert_eq!((metrics.in_flight, metrics.dropped), (0, 0));
    assert_eq!(metrics.latency.count(), 5);
    assert!(metrics.latency.quantile(1.0) > metrics.latency.mean());
    assert!(metrics.route_age.unwrap() < PATIENCE);
    producer.shutdown(PATIENCE).await;
    producer.send(message()).await.unwrap_err();
    assert!(producer.metrics().failed.contains(&(ErrorKind::Closed, 1)));
}

#[tokio::test]
async fn what_is_in_flight_late_or_dropped_is_counted() {
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap();
    cluster.script_all(310, || Action::Hold);
    let ticket = producer.enqueue(message()).await.unwrap();
    let metrics = producer.metrics();
    assert_eq!((metrics.sends, metrics.in_flight), (2, 1));
    assert_eq!(
        (metrics.in_flight_messages, metrics.in_flight_bytes),
        (1, 5)
    );
    cluster.broker("a").wait_held(1).await;
    cluster.broker("a").release(stored);
    ticket.await.unwrap();
    assert_eq!(producer.metrics().in_flight, 0);

    tokio::select! {
        sent = producer.send(message()) => panic!("{sent:?}"),
        () = cluster.broker("a").wait_held(1) => {}
    }
    let metrics = producer.metrics();
    assert_eq!((metrics.dropped, metrics.in_flight), (1, 0));
    assert_eq!(metrics.late_responses, 0);
    cluster.broker("a").release(stored);
    // the late response was read before the answer to this one
    cluster.script_all(310, || Action::Hold);
    let (sent, ()) = tokio::join!(producer.send(message()), async {
        cluster.broker("a").wait_held(1).await;
        cluster.broker("a").release(stored);
    });
    sent.unwrap();
    assert_eq!(producer.metrics().late_responses, 1);
}

#[tokio::test]
async fn an_exporter_gets_every_value() {
    #[derive(Default)]
    struct Lines(Vec<String>);
    impl MetricsExporter for Lines {
        fn counter(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
            self.0.push(format!("{name} {labels:?} {value}"));
        }
        fn gauge(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
            self.0.push(format!("{name} {labels:?} {value}"));
        }
        fn histogram(&mut self, name: &str, labels: &[(&str, &str)], value: &Histogram) {
            self.0.push(format!("{name} {labels:?} {}", value.count()));
        }
    }
    let cluster = Cluster::of(&["a"]);
    let producer = cluster.producer().await;
    producer.send(message()).await.unwrap();
    cluster.script_all(310, || Action::Reply(refuse(13, "too large")));
    producer.send(message()).await.unwrap_err();
    let mut lines = Lines::default();
    producer.metrics().export(&[("group", "PG")], &mut lines);
    for line in [
        r#"rocketry_producer_sends_total [("group", "PG"), ("outcome", "stored")] 1"#,
        r#"rocketry_producer_sends_total [("group", "PG"), ("outcome", "Refused")] 1"#,
        r#"rocketry_producer_messages_total [("group", "PG")] 2"#,
        r#"rocketry_producer_in_flight [("group", "PG")] 0"#,
        r#"rocketry_producer_send_duration_seconds [("group", "PG")] 1"#,
    ] {
        assert!(
            lines.0.iter().any(|have| have == line),
            "{line}: {:#?}",
            lines.0
        );
    }
}
