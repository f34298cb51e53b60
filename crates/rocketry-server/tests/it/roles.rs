//! Name server alone, broker alone, and what a broker tells name servers that run elsewhere.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rocketry_protocol::{
    RemotingCommand, RequestCode, ResponseCode,
    body::{self, registration::RegisterBrokerBody, route::TopicRouteData},
    header::{
        GetKvConfigRequest, GetRouteInfoRequest, PutKvConfigRequest, QueryDataVersionReply,
        QueryDataVersionRequest,
    },
};
use rocketry_remoting::{
    ConnectOptions, Connections, Deadline, Handler, Listener, ListenerOptions, Responder,
    Unsupported,
};
use rocketry_server::{DataDir, Role, Server, ServerConfig, ServerError};

use crate::common::{TIMEOUT, Wire};

async fn name_server(config: impl FnOnce(&mut ServerConfig)) -> Server {
    let mut all = ServerConfig::temp();
    all.role = Role::NameServer;
    config(&mut all);
    Server::start(all).await.unwrap()
}

fn broker(name: &str, name_servers: &[&str]) -> ServerConfig {
    let mut config = ServerConfig::temp();
    config.role = Role::Broker;
    name.clone_into(&mut config.broker_name);
    config.name_servers = name_servers.iter().map(|&addr| addr.to_owned()).collect();
    config
}

async fn ask(addr: &str, command: RemotingCommand) -> RemotingCommand {
    Connections::new(ConnectOptions::default(), Arc::new(Unsupported))
        .call(addr, command, Deadline::after(TIMEOUT))
        .await
        .unwrap()
}

/// The brokers that a name server has for a topic.
async fn brokers_of(name_server: &str, topic: &str) -> Vec<String> {
    let request = GetRouteInfoRequest {
        topic,
        accept_standard_json_only: None,
    };
    let response = ask(name_server, RemotingCommand::request(&request)).await;
    if response.code == 17 {
        return Vec::new();
    }
    let route: TopicRouteData = body::decode(&response.body).unwrap();
    route
        .queue_datas
        .into_iter()
        .map(|data| data.broker_name)
        .collect()
}

async fn wait_for(name_server: &str, topic: &str, brokers: &[&str]) {
    let end = Deadline::after(Duration::from_secs(30));
    loop {
        let found = brokers_of(name_server, topic).await;
        if found == brokers {
            return;
        }
        assert!(
            tokio::time::Instant::now() < end.instant(),
            "{name_server} has {found:?} for {topic}, not {brokers:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_name_server_alone_holds_brokers_and_keeps_only_its_own_file() {
    let dir = tempfile::tempdir().unwrap();
    let start = || name_server(|config| config.data_dir = DataDir::Path(dir.path().join("data")));
    let ns = start().await;
    assert_eq!(ns.broker_addr(), "");
    let addr = ns.namesrv_addr().to_owned();
    let a = Server::start(broker("broker-a", &[&addr])).await.unwrap();
    let b = Server::start(broker("broker-b", &[&addr])).await.unwrap();
    assert_eq!(a.namesrv_addr(), addr);
    wait_for(&addr, "BenchmarkTest", &["broker-a", "broker-b"]).await;
    a.shutdown(TIMEOUT).await.unwrap();
    assert_eq!(brokers_of(&addr, "BenchmarkTest").await, ["broker-b"]);
    drop(b);

    let put = PutKvConfigRequest {
        namespace: "NS",
        key: "k",
        value: "v",
    };
    assert_eq!(ask(&addr, RemotingCommand::request(&put)).await.code, 0);
    ns.shutdown(TIMEOUT).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(dir.path().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(files, ["namesrv"]);
    let ns = start().await;
    let get = GetKvConfigRequest {
        namespace: "NS",
        key: "k",
    };
    let response = ask(ns.namesrv_addr(), RemotingCommand::request(&get)).await;
    assert_eq!(response.field("value"), Some("v"));
}

#[tokio::test]
async fn a_silent_name_server_delays_none_of_the_others_and_is_found_when_it_comes() {
    let alive = name_server(|_| {}).await;
    let late = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let late_addr = late.local_addr().unwrap();
    drop(late);
    let both = [&late_addr.to_string(), alive.namesrv_addr()];
    let server = Server::start(broker("broker-a", &both)).await.unwrap();
    wait_for(alive.namesrv_addr(), "BenchmarkTest", &["broker-a"]).await;
    let late = name_server(|config| config.namesrv_port = late_addr.port()).await;
    wait_for(late.namesrv_addr(), "BenchmarkTest", &["broker-a"]).await;
    server.shutdown(TIMEOUT).await.unwrap();
    for ns in [&alive, &late] {
        assert!(
            brokers_of(ns.namesrv_addr(), "BenchmarkTest")
                .await
                .is_empty()
        );
    }
}

/// A name server forgets everything when it restarts, and a broker whose connection ended.
#[tokio::test]
async fn a_name_server_that_restarted_is_told_everything_again() {
    let first = name_server(|_| {}).await;
    let addr: SocketAddr = first.namesrv_addr().parse().unwrap();
    let wire = Wire::with(broker("broker-a", &[first.namesrv_addr()])).await;
    wire.put("made", 0, "", "x").await;
    wait_for(first.namesrv_addr(), "made", &["broker-a"]).await;
    first.shutdown(TIMEOUT).await.unwrap();
    let second = name_server(|config| config.namesrv_port = addr.port()).await;
    for topic in ["made", "BenchmarkTest"] {
        wait_for(second.namesrv_addr(), topic, &["broker-a"]).await;
    }
}

/// What a name server was told, in order: the topics of each registration and how many they were.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<RegisterBrokerBody>>);

impl Handler for Told {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        let mut told = self.0.lock().unwrap();
        let mut response = RemotingCommand::response(ResponseCode::SUCCESS);
        match request.request_code() {
            RequestCode::REGISTER_BROKER => told.push(body::decode(&request.body).unwrap()),
            RequestCode::QUERY_DATA_VERSION => {
                let _: QueryDataVersionRequest<'_> = request.header().unwrap();
                response = response.with_header(&QueryDataVersionReply { changed: false });
            }
            _ => {}
        }
        responder.respond(response);
    }
}

impl Told {
    async fn wait_for(&self, registrations: usize) -> Vec<RegisterBrokerBody> {
        let end = Deadline::after(TIMEOUT);
        loop {
            let told = self.0.lock().unwrap().clone();
            if told.len() >= registrations {
                return told;
            }
            assert!(
                tokio::time::Instant::now() < end.instant(),
                "{}",
                told.len()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A broker of many topics does not send all of them because of one.
#[tokio::test]
async fn only_what_changed_is_registered_again() {
    let told = Arc::new(Told::default());
    let fake = Listener::bind(
        "127.0.0.1:0".parse().unwrap(),
        ListenerOptions::default(),
        Arc::clone(&told) as _,
    )
    .unwrap();
    let wire = Wire::with(broker("broker-a", &[&fake.local_addr().to_string()])).await;
    let first = told.wait_for(1).await.remove(0);
    let first = first.topic_config_serialize_wrapper;
    assert!(first.topic_config_table.len() > 10);

    wire.put("fresh", 0, "", "x").await;
    let second = told.wait_for(2).await.remove(1);
    let second = second.topic_config_serialize_wrapper;
    assert_eq!(
        second.topic_config_table.keys().collect::<Vec<_>>(),
        ["fresh"]
    );
    assert_ne!(second.data_version, first.data_version);

    let setting = RemotingCommand::bare_request(RequestCode::UPDATE_BROKER_CONFIG)
        .with_body("brokerPermission=4\n");
    assert_eq!(wire.broker(setting).await.code, 0);
    let third = told.wait_for(3).await.remove(2);
    let third = third.topic_config_serialize_wrapper;
    assert_eq!(
        third.topic_config_table.len(),
        first.topic_config_table.len() + 1
    );
    assert!(
        third
            .topic_config_table
            .values()
            .all(|topic| topic.perm & 2 == 0)
    );
    assert_ne!(third.data_version, second.data_version);
    wire.server.shutdown(TIMEOUT).await.unwrap();
    fake.shutdown(Deadline::after(TIMEOUT)).await;
}

#[tokio::test]
async fn a_server_of_both_roles_registers_elsewhere_as_well() {
    let other = name_server(|_| {}).await;
    let mut config = broker("broker-a", &[other.namesrv_addr()]);
    config.role = Role::All;
    let server = Server::start(config).await.unwrap();
    let (own, elsewhere) = server.namesrv_addr().split_once(';').unwrap();
    assert_eq!(elsewhere, other.namesrv_addr());
    for ns in [own, elsewhere] {
        wait_for(ns, "BenchmarkTest", &["broker-a"]).await;
    }
}

#[tokio::test]
async fn roles_that_cannot_work_are_refused() {
    let alone = broker("broker-a", &[]);
    let mut nobody = broker("broker-a", &["127.0.0.1:9876"]);
    nobody.role = Role::NameServer;
    for (config, text) in [(alone, "needs one"), (nobody, "registers with nobody")] {
        let error = Server::start(config).await.unwrap_err();
        assert!(matches!(error, ServerError::Config { .. }), "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
    }
}
