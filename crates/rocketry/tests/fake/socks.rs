//! Clients behind a SOCKS5 proxy.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use rocketry::{Client, Connect, ErrorKind, SocksProxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::support::*;

/// A proxy that leads every host to loopback, and notes who asked for what.
struct Proxy {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// `user` must say so if there is one; `refusal` is what connections are answered with, 0 makes them.
    async fn start(user: Option<&'static str>, refusal: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, user, refusal, Arc::clone(&notes)));
            }
        });
        Self { addr, asked }
    }

    fn connect(&self, name_server: &str, proxy: impl Fn(SocksProxy) -> SocksProxy) -> Connect {
        let through = proxy(SocksProxy::new(self.addr.to_string()));
        Client::connect(name_server).socks_proxy(through)
    }
}

/// Ends with a panic of its own task, and so with the connection, where the client breaks the rules.
async fn serve(
    mut stream: TcpStream,
    user: Option<&str>,
    refusal: u8,
    asked: Arc<Mutex<Vec<String>>>,
) {
    async fn text(stream: &mut TcpStream) -> String {
        let mut text = vec![0; usize::from(stream.read_u8().await.unwrap())];
        stream.read_exact(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }
    assert_eq!(stream.read_u8().await.unwrap(), 5);
    let mut methods = vec![0; usize::from(stream.read_u8().await.unwrap())];
    stream.read_exact(&mut methods).await.unwrap();
    let method = match user {
        None => 0,
        Some(_) if methods.contains(&2) => 2,
        Some(_) => 0xff,
    };
    stream.write_all(&[5, method]).await.unwrap();
    if let Some(user) = user {
        assert_eq!(stream.read_u8().await.unwrap(), 1);
        let given = (text(&mut stream).await, text(&mut stream).await);
        let known = given == (user.to_owned(), "secret".to_owned());
        stream.write_all(&[1, u8::from(!known)]).await.unwrap();
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request[..3], [5, 1, 0]);
    let host = match request[3] {
        1 => std::net::Ipv4Addr::from_bits(stream.read_u32().await.unwrap()).to_string(),
        3 => text(&mut stream).await,
        form => panic!("form {form}"),
    };
    let port = stream.read_u16().await.unwrap();
    asked.lock().push(format!("{host}:{port}"));
    let reply = [5, refusal, 0, 1, 0, 0, 0, 0, 0, 0];
    stream.write_all(&reply).await.unwrap();
    if refusal == 0 {
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // either side may be gone first
        let _ = copy_bidirectional(&mut stream, &mut server).await;
    }
}

#[tokio::test]
async fn name_servers_and_brokers_are_reached_through_the_proxy_which_resolves_names() {
    let cluster = Cluster::of(&["a"]);
    let port = |addr: &str| addr.rsplit_once(':').unwrap().1.to_owned();
    let mut route = rocketry::TopicRouteData::default();
    let broker = format!("broker.inside:{}", port(&cluster.broker("a").addr()));
    add_broker(&mut route, "a", &broker, 4, 6);
    cluster.set_route("T", route);
    for user in [None, Some("me")] {
        let proxy = Proxy::start(user, 0).await;
        let name_server = cluster.name_server.addr();
        let client = proxy
            .connect(&name_server, |proxy| proxy.credentials("me", "secret"))
            .await
            .unwrap();
        let producer = client.producer("PG").await.unwrap();
        producer.send(message()).await.unwrap();
        assert!(client.shutdown(PATIENCE).await.is_clean());
        let mut asked = proxy.asked.lock().clone();
        asked.sort();
        assert_eq!(asked, [name_server, broker.clone()]);
    }
}

#[tokio::test]
async fn what_is_not_in_its_networks_is_reached_directly() {
    let cluster = Cluster::of(&["a"]);
    let proxy = Proxy::start(None, 0).await;
    let client = proxy
        .connect(&cluster.name_server.addr(), |proxy| {
            proxy.network("10.0.0.0/8").network("2001:db8::/32")
        })
        .await
        .unwrap();
    client
        .producer("PG")
        .await
        .unwrap()
        .send(message())
        .await
        .unwrap();
    assert!(proxy.asked.lock().is_empty());
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_with_its_reason() {
    let cluster = Cluster::of(&[]);
    let name_server = cluster.name_server.addr();
    let (strict, closed) = (
        Proxy::start(Some("me"), 0).await,
        Proxy::start(None, 5).await,
    );
    let gone = SocksProxy::new(dead_addr());
    for (connect, why) in [
        (
            strict.connect(&name_server, |proxy| proxy),
            "wants a name and password",
        ),
        (
            strict.connect(&name_server, |proxy| proxy.credentials("me", "wrong")),
            "refuses name and password",
        ),
        (
            closed.connect(&name_server, |proxy| proxy),
            "the server refuses",
        ),
        (
            Client::connect(name_server.as_str()).socks_proxy(gone),
            "refused",
        ),
    ] {
        let error = connect.await.unwrap().admin().topics().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NameServerUnreachable);
        let text = error.to_string();
        assert!(
            text.contains("SOCKS proxy") && text.contains(why),
            "{why}: {error}"
        );
    }
    assert_eq!(cluster.name_server.received_all().len(), 0);
}

#[tokio::test]
async fn what_is_no_proxy_is_refused() {
    let proxy = SocksProxy::new("proxy").network("10.0.0.0");
    let error = Client::connect("a:1").socks_proxy(proxy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    for fault in ["the port is missing", "is no network"] {
        assert!(error.to_string().contains(fault), "{error}");
    }
}
