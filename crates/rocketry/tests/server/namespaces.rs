//! The older namespaces against the embedded server: two applications with the same names, which do not meet.

use rocketry::{Client, Message};

use super::{PATIENCE, read, start};

/// P-020
#[tokio::test]
async fn the_same_topic_of_two_namespaces_is_two_topics() {
    let (server, plain) = start().await;
    let connect = |namespace: &str| Client::connect(server.namesrv_addr()).namespace(namespace);
    let (one, two) = (connect("one").await.unwrap(), connect("two").await.unwrap());
    for (client, body) in [(&one, "1"), (&two, "2")] {
        let producer = client.producer("g").await.unwrap();
        producer.send(Message::new("T", body)).await.unwrap();
    }
    for (client, body) in [(&one, "1"), (&two, "2")] {
        let mut reader = client.reader("T").group("readers").await.unwrap();
        let message = read(&mut reader, 1).await.remove(0);
        assert_eq!((&*message.topic, &*message.body), ("T", body.as_bytes()));
        reader.commit().await.unwrap();
    }
    let topics = plain.admin().topics().await.unwrap();
    for topic in ["one%T", "two%T"] {
        assert!(topics.iter().any(|known| known == topic), "{topics:?}");
    }
    let queues = plain.admin().publish_queues("one%T").await.unwrap();
    let mut committed = 0;
    for queue in queues {
        let offset = plain.admin().consumer_offset("one%readers", &queue).await;
        committed += offset.unwrap().unwrap_or(0);
    }
    assert_eq!(committed, 1);
    server.shutdown(PATIENCE).await.unwrap();
}
