//! W3C trace context in the properties of what is sent.

use rocketry::{AutoBatch, Message, ProducerConfig, TraceContext, TraceParent};
use rocketry_protocol::batch;

use crate::support::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The context of a message whose body is a number: that span. Others get none.
fn context(message: &Message) -> Option<TraceContext> {
    let span: u64 = std::str::from_utf8(message.body()).ok()?.parse().ok()?;
    let trace = PARENT.parse::<TraceParent>().unwrap().trace_id();
    let parent = TraceParent::new(trace, span.to_be_bytes(), true)?;
    TraceContext::new(parent).with_state("vendor=x").ok()
}

fn span(n: u64) -> String {
    format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{n:016x}-01")
}

#[tokio::test]
async fn every_kind_of_send_carries_the_context_of_its_caller() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let producer = client.producer("PG").trace_context(context).await.unwrap();
    let numbered = |n: u64| Message::new("T", n.to_string());
    producer.send(numbered(1)).await.unwrap();
    producer.enqueue(numbered(2)).await.unwrap().await.unwrap();
    producer.send_oneway(numbered(3)).await.unwrap();
    let sent = cluster.broker("a").wait_for(310, 3).await;
    for (n, received) in (1..).zip(&sent) {
        assert_eq!(received.property("traceparent"), Some(span(n)));
        assert_eq!(received.property("tracestate").as_deref(), Some("vendor=x"));
    }
    producer.send(message()).await.unwrap();
    let without = cluster.broker("a").received(310).remove(3);
    assert_eq!(without.property("traceparent"), None);
    let theirs = numbered(4).property("traceparent", PARENT);
    producer.send(theirs).await.unwrap();
    let passed_on = cluster.broker("a").received(310).remove(4);
    assert_eq!(passed_on.property("traceparent").as_deref(), Some(PARENT));

    producer
        .send_batch([numbered(5), numbered(6)])
        .await
        .unwrap();
    let batch = cluster.broker("a").received(320).remove(0);
    assert_eq!(spans(&batch), [span(5), span(6)]);
}

fn spans(received: &Received) -> Vec<String> {
    batch::items(&received.command.body)
        .map(|item| {
            let properties = rocketry::Properties::parse_bytes(item.unwrap().properties);
            properties.get("traceparent").unwrap().to_owned()
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_for_company_keep_their_own() {
    let cluster = Cluster::in_memory(&["a"]);
    let config = ProducerConfig {
        auto_batch: Some(AutoBatch::default()),
        ..ProducerConfig::default()
    };
    let client = cluster.client().await;
    let producer = client.producer("PG").config(config).trace_context(context);
    let producer = producer.await.unwrap();
    let mut tickets = Vec::new();
    for n in 1..4_u64 {
        tickets.push(
            producer
                .enqueue(Message::new("T", n.to_string()))
                .await
                .unwrap(),
        );
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let batch = cluster.broker("a").received(320).remove(0);
    assert_eq!(spans(&batch), [span(1), span(2), span(3)]);
}

#[tokio::test]
async fn a_propagator_that_panics_harms_no_send() {
    let cluster = Cluster::of(&["a"]);
    let client = cluster.client().await;
    let producer = client.producer("PG").trace_context(|_| panic!("no span"));
    producer.await.unwrap().send(message()).await.unwrap();
    let received = cluster.broker("a").received(310).remove(0);
    assert_eq!(received.property("traceparent"), None);
}
