//! What the observer of a send is told, stage by stage.

use std::sync::Arc;

use parking_lot::Mutex;
use rocketry::{
    AttemptOutcome, AvoidedBecause, BodyForm, Message, PlainBecause, ProducerBuilder, RouteOrigin,
    SendEvent, SendMode, SendObserver, SendStage, by_hash,
};

use crate::support::*;

/// Names of stages, and the lines they print.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, String)>>>);

impl SendObserver for Seen {
    fn event(&self, event: &SendEvent<'_>) {
        assert!(event.took <= event.at + ms(1), "{event:?}");
        let stage = format!("{:?}", event.stage);
        let name = stage.split([' ', '(']).next().unwrap().to_owned();
        self.0.lock().push((name, event.to_string()));
    }
}

impl Seen {
    fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.lock())
    }
    fn names(lines: &[(String, String)]) -> Vec<&str> {
        lines.iter().map(|(name, _)| &**name).collect()
    }
    fn line<'a>(lines: &'a [(String, String)], name: &str) -> &'a str {
        &lines.iter().find(|(known, _)| known == name).unwrap().1
    }
}

/// Runs `check` on each event.
struct Check<F>(F);

impl<F: Fn(&SendEvent<'_>) + Send + Sync + 'static> SendObserver for Check<F> {
    fn event(&self, event: &SendEvent<'_>) {
        (self.0)(event);
    }
}

async fn builder(cluster: &Cluster) -> ProducerBuilder {
    cluster.client().await.producer("PG")
}

#[tokio::test]
async fn a_send_tells_its_stages_in_order() {
    let cluster = Cluster::of(&["a"]);
    let seen = Seen::default();
    let producer = builder(&cluster)
        .await
        .observer(seen.clone())
        .await
        .unwrap();
    let stages = [
        "Began",
        "Prepared",
        "Body",
        "Routed",
        "QueueChosen",
        "AttemptBegan",
        "Encoded",
        "AttemptEnded",
        "Brokers",
        "Ended",
    ];
    let result = producer.send(message()).await.unwrap();
    let first = seen.take();
    assert_eq!(Seen::names(&first), stages, "{first:#?}");
    let line = |name| Seen::line(&first, name);
    assert!(
        line("Began").contains("sync to topic \"T\": 5 bytes, 3.0 s allowed"),
        "{first:#?}"
    );
    assert!(line("Prepared").contains(&result.msg_id));
    assert!(
        line("Body").contains("5 bytes, not compressed: smaller than 4096"),
        "{first:#?}"
    );
    let name_server = cluster.name_server.addr();
    let told = format!("4 queues of 1 brokers, from name server {name_server}");
    assert!(line("Routed").contains(&told), "{first:#?}");
    let queue = format!("queue    {} of broker a, its turn", result.queue.queue_id);
    assert!(line("QueueChosen").contains(&queue), "{first:#?}");
    let broker = cluster.broker("a").addr();
    assert!(
        line("AttemptBegan").contains(&format!("1 at broker a, {broker}")),
        "{first:#?}"
    );
    let offset = format!(
        "SEND_OK, queue {} offset {}",
        result.queue.queue_id, result.queue_offset
    );
    assert!(line("AttemptEnded").contains(&offset), "{first:#?}");
    assert!(line("Brokers").contains("none is avoided"));
    assert!(line("Ended").contains("SEND_OK"));

    producer.send(message()).await.unwrap();
    let second = seen.take();
    assert_eq!(Seen::names(&second), stages);
    assert!(
        Seen::line(&second, "Routed").contains("from the cache"),
        "{second:#?}"
    );

    producer.send_oneway(message()).await.unwrap();
    let one_way = seen.take();
    assert!(Seen::line(&one_way, "AttemptEnded").contains("none is expected"));
    let ticket = producer
        .enqueue_batch([message(), message()])
        .await
        .unwrap();
    ticket.await.unwrap();
    let batch = seen.take();
    assert!(Seen::line(&batch, "Began").contains("async to topic \"T\": 2 messages, 10 bytes"));
    assert!(Seen::line(&batch, "Body").contains("a batch"), "{batch:#?}");
    assert!(Seen::line(&batch, "Encoded").contains("320"), "{batch:#?}");
}

#[tokio::test]
async fn the_request_has_the_size_that_is_told() {
    let cluster = Cluster::of(&["a"]);
    let told = Arc::new(Mutex::new(0));
    let note = Arc::clone(&told);
    let observer = Check(move |event: &SendEvent<'_>| {
        if let SendStage::Encoded { code, frame_bytes } = event.stage {
            assert_eq!(code.0, 310);
            *note.lock() = frame_bytes;
        }
    });
    let producer = builder(&cluster).await.observer(observer).await.unwrap();
    producer.send(message()).await.unwrap();
    let mut frame = bytes::BytesMut::new();
    let received = cluster.broker("a").received(310).remove(0).command;
    received.encode(&mut frame).unwrap();
    // the opaque is chosen after the measurement: its digits count
    assert!(
        frame.len().abs_diff(*told.lock()) <= 9,
        "{} {}",
        frame.len(),
        told.lock()
    );
}

#[tokio::test]
async fn a_failed_attempt_says_why_and_what_is_avoided_then() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster.broker("a").script(on(310, |_| Action::Close));
    let seen = Seen::default();
    let producer = builder(&cluster)
        .await
        .observer(seen.clone())
        .await
        .unwrap();
    let failed = loop {
        producer.send(message()).await.unwrap();
        let lines = seen.take();
        if lines.len() > 10 {
            break lines;
        }
    };
    let names = Seen::names(&failed);
    assert_eq!(
        names[3..],
        [
            "Routed",
            "QueueChosen",
            "AttemptBegan",
            "Encoded",
            "AttemptEnded",
            "Brokers",
            "Routed",
            "QueueChosen",
            "AttemptBegan",
            "Encoded",
            "AttemptEnded",
            "Brokers",
            "Ended",
        ]
    );
    let line = |index: usize| &failed[index].1;
    assert!(
        line(7).contains("answer   to attempt 1: none (wait)"),
        "{failed:#?}"
    );
    assert!(line(8).contains("do not answer: a"), "{failed:#?}");
    assert!(
        line(10).contains("of broker b, its turn; passed over: a (failed just now)"),
        "{failed:#?}"
    );
    assert!(line(13).contains("to attempt 2: SEND_OK"), "{failed:#?}");
}

#[tokio::test]
async fn decisions_can_be_read_without_parsing_text() {
    let cluster = Cluster::of(&["a", "b"]);
    cluster
        .broker("a")
        .script(on(310, |_| Action::Reply(refuse(1, "broken"))));
    let choices = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&choices);
    let observer = Check(move |event: &SendEvent<'_>| match event.stage {
        SendStage::Began { mode, messages, .. } => {
            assert_eq!((mode, messages), (SendMode::Sync, 1));
        }
        SendStage::Body(BodyForm::Compressed {
            from_bytes,
            to_bytes,
            ..
        }) => {
            assert!(from_bytes == 10_000 && to_bytes < 100);
            notes.lock().push("compressed".to_owned());
        }
        SendStage::Body(BodyForm::Plain { because, .. }) => {
            assert_eq!(because, PlainBecause::Small(4096));
        }
        SendStage::Routed {
            source,
            queues,
            brokers,
            creates_topic,
        } => {
            assert_eq!((queues, brokers, creates_topic), (8, 2, false));
            notes.lock().push(match source {
                RouteOrigin::Cache(_) => "cached".to_owned(),
                _ => "asked".to_owned(),
            });
        }
        SendStage::QueueChosen {
            choice, avoided, ..
        } => {
            assert!(avoided.iter().all(|a| a.because != AvoidedBecause::Silent));
            notes.lock().push(format!("{choice:?} {}", avoided.len()));
        }
        SendStage::AttemptEnded {
            outcome: AttemptOutcome::Refused { code, remark },
            ..
        } => {
            assert_eq!((code.0, remark), (1, Some("broken")));
        }
        _ => {}
    });
    let config = rocketry::ProducerConfig {
        latency_fault_tolerance: true,
        ..rocketry::ProducerConfig::default()
    };
    let producer = builder(&cluster)
        .await
        .config(config)
        .observer(observer)
        .await
        .unwrap();
    let at_b = producer.publish_queues("T").await.unwrap()[4].clone();
    producer
        .send(Message::new("T", vec![0; 10_000]))
        .queue(at_b)
        .await
        .unwrap();
    assert_eq!(*choices.lock(), ["compressed", "asked", "Caller 0"]);
    choices.lock().clear();
    let _ = producer.send(message()).selector(by_hash("k")).await;
    assert_eq!(*choices.lock(), ["cached", "Selector 0"]);
    // until the one that refuses has been met, is isolated, and is passed over
    for _ in 0..8 {
        producer.send(message()).await.unwrap();
    }
    assert!(
        choices.lock().iter().any(|choice| choice == "RoundRobin 1"),
        "{choices:?}"
    );
}

#[tokio::test]
async fn an_observer_that_panics_harms_no_send() {
    let cluster = Cluster::of(&["a"]);
    let observer = Check(|_: &SendEvent<'_>| panic!("oops"));
    let producer = builder(&cluster).await.observer(observer).await.unwrap();
    producer.send(message()).await.unwrap();
}
