//! Name servers that a web server names.

use std::sync::Arc;

use parking_lot::Mutex;
use rocketry::{Client, ClientConfig, ErrorKind, NameServers};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Notify,
};

use crate::support::*;

/// Answers every request with the same text, until the text is another.
struct WebServer {
    url: String,
    state: Arc<WebState>,
}

#[derive(Default)]
struct WebState {
    answer: Mutex<String>,
    requests: Mutex<Vec<String>>,
    news: Notify,
}

impl WebServer {
    async fn start(list: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(WebState::default());
        let server = Self {
            url: format!("http://{addr}/rocketmq/nsaddr"),
            state: Arc::clone(&state),
        };
        server.answer(list);
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = String::new();
                while !request.ends_with("\r\n\r\n") {
                    let byte = socket.read_u8().await.unwrap();
                    request.push(char::from(byte));
                }
                let answer = state.answer.lock().clone();
                socket.write_all(answer.as_bytes()).await.unwrap();
                state.requests.lock().push(request);
                state.news.notify_waiters();
            }
        });
        server
    }
    fn answer(&self, list: &str) {
        *self.state.answer.lock() = format!("HTTP/1.1 200 OK\r\nServer: test\r\n\r\n{list}");
    }
    fn break_down(&self) {
        "HTTP/1.1 500 Oops\r\n\r\n".clone_into(&mut self.state.answer.lock());
    }
    /// Waits for that many requests from now on.
    async fn asked(&self, more: usize) {
        let count = self.state.requests.lock().len() + more;
        let asked = async {
            loop {
                let news = self.state.news.notified();
                if self.state.requests.lock().len() >= count {
                    return;
                }
                news.await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap();
    }
    async fn client(&self, config: ClientConfig) -> Client {
        let connect = Client::connect(NameServers::lookup(&self.url));
        connect.config(config).await.unwrap()
    }
}

fn often() -> ClientConfig {
    ClientConfig {
        lookup_interval: ms(20),
        ..ClientConfig::default()
    }
}

/// P-013
#[tokio::test]
async fn name_servers_are_looked_up_again_and_again() {
    let (first, second) = (Cluster::of(&["a"]), Cluster::of(&["b"]));
    let web = WebServer::start(&format!("{};{}\n", first.name_server.addr(), dead_addr())).await;
    let client = web.client(often()).await;
    let producer = client.producer("PG").await.unwrap();
    producer.send(message()).await.unwrap();
    assert_eq!(first.broker("a").received(310).len(), 1);

    // a web server that fails changes nothing
    web.break_down();
    web.asked(3).await;
    assert_eq!(
        client.admin().topic_route("T").await.unwrap().broker_datas[0].broker_name,
        "a"
    );

    web.answer(&second.name_server.addr());
    web.asked(3).await;
    let route = client.admin().topic_route("T").await.unwrap();
    assert_eq!(route.broker_datas[0].broker_name, "b");
    let request = web.state.requests.lock()[0].clone();
    for part in [
        "GET /rocketmq/nsaddr HTTP/1.0\r\n",
        "Client-Version: V5_5_0",
        "Host: 127.0.0.1:",
    ] {
        assert!(request.contains(part), "{part} is missing in {request}");
    }
    assert!(client.shutdown(PATIENCE).await.is_clean());
}

/// P-013: the units of one company have lists of their own.
#[tokio::test]
async fn the_unit_is_part_of_the_question() {
    let cluster = Cluster::of(&["a"]);
    let web = WebServer::start(&cluster.name_server.addr()).await;
    let config = ClientConfig {
        unit_name: Some("unit".to_owned()),
        ..ClientConfig::default()
    };
    let client = web.client(config).await;
    client.admin().topic_route("T").await.unwrap();
    let requests = web.state.requests.lock();
    assert!(
        requests[0].starts_with("GET /rocketmq/nsaddr-unit?nofix=1 "),
        "{requests:?}"
    );
}

/// P-014
#[tokio::test]
async fn without_a_list_sends_fail_at_once_and_say_why() {
    let web = WebServer::start("").await;
    let config = ClientConfig {
        lookup_interval: ms(20),
        ..ClientConfig::default()
    };
    let client = web.client(config).await;
    let producer = client.producer("PG").await.unwrap();
    let started = now();
    let error = producer.send(message()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::NoNameServer, 10004)
    );
    assert!(error.to_string().contains(&web.url), "{error}");
    on_time(started.elapsed(), ms(0));
    // and go on as soon as there is one
    let cluster = Cluster::of(&["a"]);
    web.answer(&cluster.name_server.addr());
    web.asked(3).await;
    producer.send(message()).await.unwrap();
}

#[tokio::test]
async fn a_lookup_without_a_url_is_a_fault() {
    for bad in ["", "host/path", "https://host/path", "http://:80/"] {
        let error = Client::connect(NameServers::lookup(bad)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad}");
        assert!(error.to_string().contains("name server lookup"), "{error}");
    }
}
