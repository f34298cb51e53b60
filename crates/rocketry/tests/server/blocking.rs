//! The client without async.

use std::time::Duration;

use rocketry::{ErrorKind, Message, blocking::Client};
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

/// The last handle may be dropped anywhere, on a thread of a runtime as well.
#[tokio::test]
async fn handles_may_be_dropped_anywhere() {
    let client = std::thread::spawn(|| Client::connect("127.0.0.1:1").unwrap())
        .join()
        .unwrap();
    drop(client);
}
