//! The client without async.

use std::time::Duration;

use rocketry::{Decision, ErrorKind, Message, blocking::Client};
use rocketry_server::Server;

use crate::PATIENCE;

#[test]
fn every_call_works_from_plain_threads() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start_temp()).unwrap();
    let client = Client::connect(server.namesrv_addr()).unwrap();
    let producer = client.producer("PG").unwrap();
    let first = producer.send(Message::new("T", "one")).unwrap();
    let queue = first.queue.clone();
    producer
        .send_to(Message::new("T", "two"), queue.clone())
        .unwrap();
    producer
        .send_batch([Message::new("T", "three"), Message::new("T", "four")])
        .unwrap();
    producer
        .enqueue(Message::new("T", "five"))
        .unwrap()
        .wait()
        .unwrap();
    producer.send_oneway(Message::new("T", "six")).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let producer = producer.clone();
            std::thread::spawn(move || {
                for n in 0..20 {
                    producer
                        .send(Message::new("T", format!("{thread}-{n}")))
                        .unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let read = async {
        let mut reader = client.inner().reader("T").await.unwrap();
        crate::read(&mut reader, 86).await.len()
    };
    assert_eq!(client.block_on(read).unwrap(), 86);

    let inside = runtime.block_on(async { producer.send(Message::new("T", "x")) });
    assert_eq!(inside.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(client.shutdown(PATIENCE).unwrap().is_clean());
    assert_eq!(
        producer.send(Message::new("T", "x")).unwrap_err().kind(),
        ErrorKind::Closed
    );
    runtime
        .block_on(server.shutdown(Duration::from_secs(5)))
        .unwrap();
}

/// P-106, P-113, P-122, from threads.
#[test]
fn transactions_requests_and_recalls_work_from_plain_threads() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start_temp()).unwrap();
    let client = Client::connect(server.namesrv_addr()).unwrap();
    let asker = client.inner().producer("PG");
    let asker = asker.transaction_checker(|_half| Decision::Unknown);
    let producer = client.producer_with(asker).unwrap();
    let borrowed = "local state".to_owned();
    let result = producer
        .send_in_transaction(Message::new("T", "half"), |half| {
            assert_eq!(
                (&**half.message.body(), &*borrowed),
                (&b"half"[..], "local state")
            );
            Decision::Commit
        })
        .unwrap();
    assert_eq!(result.decision, Decision::Commit);

    let delayed = Message::new("T", "delayed").delay(Duration::from_mins(1));
    let sent = producer.send(delayed).unwrap();
    let recalled = producer.recall("T", &sent.recall_handle.unwrap()).unwrap();
    assert_eq!(recalled, sent.msg_id);

    let nobody = producer.request(Message::new("T", "anyone?"), Duration::from_millis(200));
    assert_eq!(nobody.unwrap_err().kind(), ErrorKind::NoReply);
    let asking = {
        let producer = producer.clone();
        std::thread::spawn(move || producer.request(Message::new("asked", "?"), PATIENCE))
    };
    let replier = client.producer("repliers").unwrap();
    let question = client
        .block_on(async {
            let options = rocketry::TopicOptions::default();
            let admin = client.inner().admin();
            admin.create_topic("asked", &options).await.unwrap();
            let mut reader = client.inner().reader("asked").await.unwrap();
            crate::read(&mut reader, 1).await.remove(0)
        })
        .unwrap();
    let reply = Message::reply_to(&question, "!").unwrap();
    replier.send(reply).unwrap();
    assert_eq!(*asking.join().unwrap().unwrap().body, *b"!");
}

/// The last handle may be dropped anywhere, on a thread of a runtime as well.
#[tokio::test]
async fn handles_may_be_dropped_anywhere() {
    let client = std::thread::spawn(|| Client::connect("127.0.0.1:1").unwrap())
        .join()
        .unwrap();
    drop(client);
}
