//! Connections over streams that the application opens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rocketry_remoting::{
    ConnectOptions, Connections, Dial, DialFuture, Dialed, ErrorKind, Unsupported,
};
use support::*;
use tokio::{io::DuplexStream, sync::mpsc, time::Instant};

/// A network in memory: the far end of every stream goes to the test.
#[derive(Debug)]
struct Memory {
    opened: mpsc::UnboundedSender<(String, Peer<DuplexStream>)>,
    refuse: Mutex<Option<io::ErrorKind>>,
}

impl Dial for Memory {
    fn dial<'a>(&'a self, addr: &'a str) -> DialFuture<'a> {
        Box::pin(async move {
            if addr == "nowhere" {
                std::future::pending::<()>().await;
            }
            if let Some(kind) = self.refuse.lock().unwrap().take() {
                return Err(io::Error::new(kind, "the tunnel is closed"));
            }
            let (near, far) = tokio::io::duplex(4096);
            self.opened
                .send((addr.to_owned(), Peer::new(far)))
                .map_err(io::Error::other)?;
            Ok(Dialed::new(near, addr_of(1), addr_of(2)))
        })
    }
}

fn addr_of(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

type Opened = mpsc::UnboundedReceiver<(String, Peer<DuplexStream>)>;

fn network() -> (Arc<Memory>, Connections, Opened) {
    let (opened, far_ends) = mpsc::unbounded_channel();
    let memory = Arc::new(Memory {
        opened,
        refuse: Mutex::default(),
    });
    let mut options = ConnectOptions::default();
    options.dialer = Some(Arc::clone(&memory) as Arc<dyn Dial>);
    let connections = Connections::new(options, Arc::new(Unsupported));
    (memory, connections, far_ends)
}

#[tokio::test]
async fn calls_travel_over_the_dialed_stream() {
    let (_memory, client, mut far_ends) = network();
    let calling = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .call("any name", request("hello"), within(1000))
                .await
        }
    });
    let (addr, mut peer) = far_ends.recv().await.unwrap();
    assert_eq!(addr, "any name");
    let request = peer.request().await;
    peer.answer(&request).await;
    assert_eq!(calling.await.unwrap().unwrap().body, "hello");
    let connection = client.get("any name", within(1000)).await.unwrap();
    assert_eq!(
        (connection.peer_addr(), connection.local_addr()),
        (addr_of(1), addr_of(2))
    );
    client.close_all().await;
    assert!(peer.sees_end().await);
}

#[tokio::test]
async fn why_a_stream_cannot_be_opened_is_said() {
    let (memory, client, _far_ends) = network();
    *memory.refuse.lock().unwrap() = Some(io::ErrorKind::ConnectionRefused);
    let error = client.get("a:1", within(1000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(
        error.to_string().ends_with("the tunnel is closed"),
        "{error}"
    );
    client.get("a:1", within(1000)).await.expect("a stream");
}

#[tokio::test(start_paused = true)]
async fn a_dialer_has_the_connect_timeout() {
    let (_memory, client, _far_ends) = network();
    let started = Instant::now();
    let error = client.get("nowhere", within(60_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(started.elapsed(), Duration::from_secs(3));
}
