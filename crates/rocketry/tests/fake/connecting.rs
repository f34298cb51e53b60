//! How connections come about: over streams that the application opens.

use std::{collections::HashMap, io, sync::Arc};

use parking_lot::Mutex;
use rocketry::{Dial, DialFuture, Dialed, ErrorKind};
use tokio::net::TcpStream;

use crate::support::*;

/// Takes addresses that no resolver knows to where the servers really are.
#[derive(Debug, Default)]
struct Tunnel {
    to: Mutex<HashMap<String, String>>,
}

impl Dial for Tunnel {
    fn dial<'a>(&'a self, addr: &'a str) -> DialFuture<'a> {
        let to = self.to.lock().get(addr).cloned();
        Box::pin(async move {
            let to = to.ok_or_else(|| io::Error::other("the tunnel does not lead there"))?;
            let stream = TcpStream::connect(to).await?;
            let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
            Ok(Dialed::new(stream, peer, local))
        })
    }
}

#[tokio::test]
async fn name_servers_and_brokers_are_reached_through_the_dialer() {
    let cluster = Cluster::of(&["a"]);
    let mut route = rocketry::TopicRouteData::default();
    add_broker(&mut route, "a", "broker.inside:10911", 4, 6);
    cluster.set_route("T", route);
    let tunnel = Arc::new(Tunnel::default());
    let names = [("ns.inside:9876", cluster.name_server.addr())];
    tunnel
        .to
        .lock()
        .extend(names.map(|(k, v)| (k.to_owned(), v)));
    let client = rocketry::Client::connect("ns.inside:9876")
        .dialer(Arc::clone(&tunnel) as Arc<dyn Dial>)
        .await
        .unwrap();
    assert!(client.client_id().starts_with("127.0.0.1@"));
    let producer = client.producer("PG").await.unwrap();
    let error = producer.send(message()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokerUnreachable);
    assert!(error.to_string().contains("does not lead there"), "{error}");
    let broker = cluster.broker("a").addr();
    tunnel
        .to
        .lock()
        .insert("broker.inside:10911".to_owned(), broker);
    producer.send(message()).await.unwrap();
    assert!(client.shutdown(PATIENCE).await.is_clean());
}
