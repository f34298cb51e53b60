//! Hooks: what they see, how often they are called, and that they cannot harm a send.

use std::sync::Arc;

use parking_lot::Mutex;
use rocketry::{
    ErrorKind, ForbiddenHook, Message, MessageType, Phase, ProducerConfig, RemotingCommand,
    RpcHook, SendContext, SendHook, SendMode, SendOutcome, SendStatus,
};
use rocketry_protocol::header::SendMessageReply;

use crate::support::*;

/// What a hook saw, one line per call.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, line: String) {
        self.0.lock().push(line);
    }
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

impl SendHook for Seen {
    fn before(&self, context: &SendContext<'_>) {
        assert!(context.outcome.is_none());
        assert!(context.message.properties().contains("UNIQ_KEY"));
        assert_eq!((context.group, context.namespace), ("PG", None));
        self.note(format!(
            "before {} {:?}",
            context.mode, context.message_type
        ));
    }
    fn after(&self, context: &SendContext<'_>) {
        let outcome = match context.outcome.unwrap() {
            SendOutcome::Stored(result) => format!("stored {}", result.status),
            SendOutcome::Handed => "handed".to_owned(),
            SendOutcome::Failed(error) => format!("failed {:?}", error.kind()),
            SendOutcome::Dropped => "dropped".to_owned(),
            other => panic!("{other:?}"),
        };
        self.note(format!("after {} {outcome}", context.attempt));
    }
}

struct Panicking;

impl SendHook for Panicking {
    fn before(&self, _: &SendContext<'_>) {
        panic!("before");
    }
    fn after(&self, _: &SendContext<'_>) {
        panic!("after");
    }
}

struct Refusing(Seen);

impl ForbiddenHook for Refusing {
    fn check(
        &self,
        context: &SendContext<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.note(format!("check {}", context.mode));
        Err("not in this shop".into())
    }
}

/// P-128
#[tokio::test]
async fn a_sync_send_calls_hooks_around_each_attempt() {
    let cluster = Cluster::of(&["a"]);
    let seen = Seen::default();
    let producer = cluster.client().await.producer("PG").hook(seen.clone());
    let producer = producer.await.unwrap();
    producer.send(message()).await.unwrap();
    assert_eq!(
        seen.take(),
        ["before sync Normal", "after 1 stored SEND_OK"]
    );

    let mut busy = 2;
    cluster.broker("a").script(on(310, move |request| {
        busy -= 1;
        Action::Reply(if busy >= 0 {
            refuse(2, "busy")
        } else {
            stored(request)
        })
    }));
    producer.send(message()).await.unwrap();
    assert_eq!(
        seen.take(),
        [
            "before sync Normal",
            "after 1 failed Refused",
            "before sync Normal",
            "after 2 failed Refused",
            "before sync Normal",
            "after 3 stored SEND_OK",
        ]
    );
    producer.send_oneway(message()).await.unwrap();
    assert_eq!(seen.take(), ["before one-way Normal", "after 1 handed"]);
}

/// P-128
#[tokio::test]
async fn a_hook_that_panics_does_not_harm_the_send() {
    let cluster = Cluster::of(&["a"]);
    let seen = Seen::default();
    let producer = cluster.client().await.producer("PG");
    let producer = producer.hook(Panicking).hook(seen.clone()).await.unwrap();
    producer.send(message()).await.unwrap();
    assert_eq!(
        seen.take(),
        ["before sync Normal", "after 1 stored SEND_OK"]
    );
}

/// P-129
#[tokio::test]
async fn an_async_send_calls_hooks_once_however_often_it_is_tried() {
    let cluster = Cluster::of(&["a"]);
    let seen = Seen::default();
    let producer = cluster.client().await.producer("PG").hook(seen.clone());
    let producer = producer.await.unwrap();
    let mut first = true;
    cluster.broker("a").script(on(310, move |request| {
        if std::mem::take(&mut first) {
            Action::Hold
        } else {
            Action::Reply(stored(request))
        }
    }));
    let ticket = producer.enqueue(message()).await.unwrap();
    assert_eq!(
        seen.take(),
        ["before async Normal"],
        "handed over is not over"
    );
    cluster.broker("a").wait_held(1).await;
    cluster.broker("a").cut();
    ticket.await.unwrap();
    assert_eq!(seen.take(), ["after 2 stored SEND_OK"]);

    cluster.script_all(310, || Action::Reply(refuse(13, "too large")));
    let error = match producer.enqueue(message()).await {
        Ok(ticket) => ticket.await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(
        seen.take(),
        ["before async Normal", "after 1 failed Refused"]
    );
}

/// P-129: also when nobody waits for the end.
#[tokio::test]
async fn a_send_that_is_dropped_or_shut_down_still_ends_for_its_hooks() {
    let cluster = Cluster::of(&["a"]);
    cluster.script_all(310, || Action::Hold);
    let seen = Seen::default();
    let producer = cluster.client().await.producer("PG").hook(seen.clone());
    let producer = producer.await.unwrap();
    tokio::select! {
        sent = producer.send(message()) => panic!("{sent:?}"),
        () = cluster.broker("a").wait_held(1) => {}
    }
    assert_eq!(seen.take(), ["before sync Normal", "after 1 dropped"]);
    let ticket = producer.enqueue(message()).await.unwrap();
    producer.shutdown(ms(1)).await;
    assert_eq!(ticket.await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(
        seen.take(),
        ["before async Normal", "after 1 failed Closed"]
    );
}

/// P-130
#[tokio::test]
async fn a_forbidden_send_fails_with_the_hooks_error_and_sends_nothing() {
    let cluster = Cluster::of(&["a", "b"]);
    let seen = Seen::default();
    let producer = cluster.client().await.producer("PG").hook(seen.clone());
    let producer = producer.forbidden_hook(Refusing(seen.clone()));
    let producer = producer.await.unwrap();
    let sync = producer.send(message()).await.unwrap_err();
    let one_way = producer.send_oneway(message()).await.unwrap_err();
    let batch = producer.send_batch([message()]).await.unwrap_err();
    let enqueued = producer.enqueue(message()).await.unwrap_err();
    for error in [sync, one_way, batch, enqueued] {
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        assert!(!error.maybe_stored() && !error.is_retryable());
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "not in this shop");
        assert!(error.to_string().contains("not in this shop"), "{error}");
    }
    assert_eq!(
        seen.take(),
        ["check sync", "check one-way", "check sync", "check async"],
        "asked once each, and no other hook"
    );
    assert!(cluster.received(310).is_empty() && cluster.received(320).is_empty());
}

/// Refuses every attempt but the first.
struct OnlyOnce;

impl ForbiddenHook for OnlyOnce {
    fn check(
        &self,
        context: &SendContext<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if context.attempt > 1 {
            return Err("once is enough".into());
        }
        Ok(())
    }
}

/// P-130: what earlier attempts did is not forgotten.
#[tokio::test(start_paused = true)]
async fn a_retry_that_is_forbidden_says_what_the_attempt_before_came_to() {
    let cluster = Cluster::in_memory(&["a", "b"]);
    cluster.script_all(310, || Action::Close);
    let client = cluster.client().await;
    let config = ProducerConfig {
        retry_not_durable: true,
        ..ProducerConfig::default()
    };
    let producer = client.producer("PG").config(config);
    let producer = producer.forbidden_hook(OnlyOnce).await.unwrap();
    let sync = producer.send(message()).await.unwrap_err();
    let enqueued = match producer.enqueue(message()).await {
        Ok(ticket) => ticket.await.unwrap_err(),
        Err(error) => error,
    };
    for error in [sync, enqueued] {
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        assert!(error.maybe_stored(), "{error}");
        assert_eq!(error.attempts().len(), 1);
        assert_eq!(error.attempts()[0].phase, Phase::Wait);
        assert!(error.elapsed().is_some() && error.budget() == Some(ms(3000)));
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "once is enough");
    }
    assert_eq!(cluster.received(310).len(), 2);
    // nor is a message that is stored
    cluster.script_all(310, || {
        let header = SendMessageReply::new("id".to_owned(), 1, 7);
        Action::Reply(refuse(10, "not flushed").with_header(&header))
    });
    let result = producer.send(message()).await.unwrap();
    assert_eq!(result.status, SendStatus::FlushDiskTimeout);
    assert_eq!(result.queue_offset, 7);
    client.shutdown(PATIENCE).await;
}

/// P-131
#[tokio::test]
async fn hooks_see_the_type_of_the_message_and_its_compressed_length() {
    struct Types(Arc<Mutex<Vec<(MessageType, usize)>>>);
    impl SendHook for Types {
        fn before(&self, context: &SendContext<'_>) {
            assert_eq!(context.mode, SendMode::Sync);
            let seen = (context.message_type, context.body_bytes);
            self.0.lock().push(seen);
        }
    }
    let cluster = Cluster::of(&["a"]);
    let seen = Arc::default();
    let producer = cluster.client().await.producer("PG");
    let producer = producer.hook(Types(Arc::clone(&seen))).await.unwrap();
    producer.send(message()).await.unwrap();
    producer.send(message().delay(ms(500))).await.unwrap();
    producer
        .send(Message::new("T", vec![b'x'; 10_000]))
        .await
        .unwrap();
    let seen = seen.lock();
    assert_eq!(seen[0], (MessageType::Normal, 5));
    assert_eq!(seen[1], (MessageType::Delay, 5));
    let wire = cluster.broker("a").received(310)[2].command.body.len();
    assert_eq!(seen[2], (MessageType::Normal, wire));
    assert!(wire < 1000);
}

/// P-136
#[tokio::test]
async fn rpc_hooks_see_every_request_before_it_is_signed() {
    struct Marking(Seen);
    impl RpcHook for Marking {
        fn before(&self, address: &str, request: &mut RemotingCommand) {
            assert!(address.starts_with("127.0.0.1:"), "{address}");
            assert_eq!(request.field("Signature"), None);
            request.fields.get_or_insert_default().push("mark", "x");
            self.0.note(format!("before {}", request.code));
        }
        fn after(&self, _: &str, request: &RemotingCommand, response: &RemotingCommand) {
            assert_eq!(request.field("mark"), Some("x"));
            self.0
                .note(format!("after {} {}", request.code, response.code));
        }
    }
    let cluster = Cluster::of(&["a"]);
    let seen = Seen::default();
    let config = rocketry::ClientConfig {
        credentials: Some(rocketry::Credentials {
            access_key: "AK".to_owned(),
            secret_key: "SK".to_owned(),
            security_token: None,
        }),
        ..rocketry::ClientConfig::default()
    };
    let client = cluster
        .connect()
        .config(config)
        .rpc_hook(Marking(seen.clone()));
    let client = client.await.unwrap();
    let producer = client.producer("PG").await.unwrap();
    producer.send(message()).await.unwrap();
    // the first connection to a broker brings a heartbeat
    cluster.broker("a").wait_for(34, 1).await;
    producer.send_oneway(message()).await.unwrap();
    cluster.broker("a").wait_for(310, 2).await;
    client.shutdown(PATIENCE).await;
    let lines = seen.take();
    let count = |line: &str| lines.iter().filter(|seen| *seen == line).count();
    assert_eq!(
        (count("before 105"), count("after 105 0")),
        (1, 1),
        "{lines:?}"
    );
    assert_eq!(
        (count("before 310"), count("after 310 0")),
        (2, 1),
        "{lines:?}"
    );
    assert!(
        count("before 34") >= 1 && count("before 35") == 1,
        "{lines:?}"
    );
    assert_eq!(count("after 35 0"), 1, "{lines:?}");
    for received in cluster.broker("a").received(310) {
        assert_eq!(received.field("mark"), "x");
        let mut again = received.command.clone();
        again.fields.as_mut().unwrap().remove("Signature");
        let credentials = rocketry::Credentials {
            access_key: "AK".to_owned(),
            secret_key: "SK".to_owned(),
            security_token: None,
        };
        again.fields.as_mut().unwrap().remove("AccessKey");
        rocketry_protocol::acl::sign(&mut again, &credentials);
        assert_eq!(
            received.field("Signature"),
            again.field("Signature").unwrap()
        );
    }
}
