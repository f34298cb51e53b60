//! One-way sends.

use rocketry::ErrorKind;

use crate::support::*;

/// P-089
#[tokio::test]
async fn nobody_answers_and_nothing_is_reported() {
    let cluster = Cluster::of(&["a"]);
    cluster.script_all(310, || {
        Action::Reply(refuse(1, "not that anybody hears it"))
    });
    let producer = cluster.producer().await;
    for _ in 0..20 {
        producer.send_oneway(message()).await.unwrap();
    }
    let sent = cluster.broker("a").wait_for(310, 20).await;
    assert!(sent.iter().all(|sent| sent.command.is_oneway()));
    assert!(sent.iter().all(|sent| sent.property("UNIQ_KEY").is_some()));
    assert_eq!(sent.len(), 20);
}

/// P-090
#[tokio::test]
async fn a_dead_broker_is_an_error_after_one_attempt() {
    let cluster = Cluster::of(&[]);
    let mut route = rocketry::TopicRouteData::default();
    add_broker(&mut route, "a", &dead_addr(), 4, 6);
    cluster.set_route("T", route);
    let error = cluster
        .producer()
        .await
        .send_oneway(message())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::BrokerUnreachable, 10001)
    );
    assert_eq!(error.attempts().len(), 1);
}
