//! `request`: what a consumer replies is printed, and silence is an error.

use std::time::Duration;

use rocketry::{Client, Message};

use crate::support::{Served, closed_address, run};

const WAIT: Duration = Duration::from_secs(20);

/// Replies to one request of `topic` with its body in brackets.
async fn reply_once(namesrv: String, topic: &'static str) {
    let client = Client::connect(&*namesrv).await.unwrap();
    let mut reader = client.reader(topic).await.unwrap();
    let request = loop {
        if let Some(request) = reader.next_batch(WAIT).await.unwrap().pop() {
            break request;
        }
    };
    let body = [b"[", &request.body[..], b"]"].concat();
    let producer = client.producer("replier").await.unwrap();
    let reply = Message::reply_to(&request, body).unwrap();
    let _ = producer.send(reply).await.unwrap();
    client.shutdown(WAIT).await;
}

#[tokio::test]
async fn the_reply_is_printed() {
    let server = Served::temp().await;
    for (topic, output) in [("Prices", "text"), ("Stock", "json")] {
        server.run(&["topic", "create", topic]).await.ok();
        let replier = tokio::spawn(reply_once(server.namesrv.clone(), topic));
        let args = [
            "request",
            topic,
            "how much?",
            "--timeout",
            "20s",
            "--output",
            output,
        ];
        let run = server.run(&args).await;
        replier.await.unwrap();
        let run = run.ok();
        assert!(run.stderr.contains("replied within"), "{}", run.stderr);
        if output == "text" {
            assert_eq!(run.text(), "[how much?]\n");
            continue;
        }
        let reply = run.json();
        assert_eq!(reply["body"], "[how much?]");
        let correlation = &reply["properties"]["CORRELATION_ID"];
        assert_eq!(*correlation, reply["correlation_id"]);
        assert!(reply["took_ms"].as_f64().unwrap() > 0.0);
    }
}

#[tokio::test]
async fn silence_is_an_error() {
    let server = Served::temp().await;
    server
        .run(&["request", "Nobody", "hello", "--timeout", "500ms"])
        .await
        .fails_with(1, &["Nobody", "stored"]);
}

#[tokio::test]
async fn an_unreachable_cluster_is_an_error() {
    let args = [
        "request",
        "T",
        "x",
        "--timeout",
        "300ms",
        "--namesrv",
        &closed_address(),
    ];
    run(&args).await.fails_with(1, &["error: "]);
}
