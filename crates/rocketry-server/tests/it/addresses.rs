//! The address that clients are told to connect to.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use rocketry::{Client, Message};
use rocketry_protocol::{
    RemotingCommand, RequestCode,
    body::{
        self,
        route::{ClusterInfo, GetBrokerMemberGroupResponseBody, TopicRouteData},
        topics::TopicList,
    },
    header::{GetBrokerMemberGroupRequest, GetRouteInfoRequest},
    id::parse_offset_msg_id,
};
use rocketry_remoting::{ConnectOptions, Connections, Deadline, Unsupported};
use rocketry_server::{Server, ServerConfig};

use crate::common::TIMEOUT;

async fn everywhere(advertise: Option<&str>) -> Server {
    let mut config = ServerConfig::temp();
    config.host = Ipv4Addr::UNSPECIFIED.into();
    config.allow_anonymous = true;
    config.advertise = advertise.map(|text| text.parse().unwrap());
    Server::start(config).await.unwrap()
}

fn port_of(addr: &str) -> u16 {
    addr.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Every place where a name server names the address of its broker.
async fn told(server: &Server, host: &str) -> Vec<String> {
    let name_server = format!("{host}:{}", server.namesrv_listens_on().unwrap().port());
    let client = Connections::new(ConnectOptions::default(), Arc::new(Unsupported));
    let ask = async |command| {
        let response = client
            .call(&name_server, command, Deadline::after(TIMEOUT))
            .await
            .unwrap();
        assert_eq!(response.code, 0, "{:?}", response.remark);
        response.body
    };
    let route = ask(RemotingCommand::request(&GetRouteInfoRequest {
        topic: "BenchmarkTest",
        accept_standard_json_only: None,
    }))
    .await;
    let route: TopicRouteData = body::decode(&route).unwrap();
    let cluster = RemotingCommand::bare_request(RequestCode::GET_BROKER_CLUSTER_INFO);
    let cluster: ClusterInfo = body::decode(&ask(cluster).await).unwrap();
    let group = ask(RemotingCommand::request(&GetBrokerMemberGroupRequest {
        cluster_name: "DefaultCluster",
        broker_name: "broker-a",
    }))
    .await;
    let group: GetBrokerMemberGroupResponseBody = body::decode(&group).unwrap();
    let topics = RemotingCommand::bare_request(RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS);
    let topics: TopicList = body::decode(&ask(topics).await).unwrap();
    vec![
        route.broker_datas[0].broker_addrs[&0].clone(),
        cluster.broker_addr_table["broker-a"].broker_addrs[&0].clone(),
        group.broker_member_group.unwrap().broker_addrs[&0].clone(),
        topics.broker_addr.unwrap(),
    ]
}

#[tokio::test]
async fn each_client_is_told_the_address_that_it_came_to() {
    let server = everywhere(None).await;
    let port = port_of(server.broker_addr());
    for host in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        let expected = format!("{host}:{port}");
        assert_eq!(told(&server, host).await, vec![expected; 4]);
    }
    assert!(
        server.advertised_because().contains("every address"),
        "{}",
        server.advertised_because()
    );
}

/// Whichever way clients come, a message has one id: that of the broker's own address.
#[tokio::test]
async fn clients_on_different_ways_send_to_one_broker_and_see_the_same_ids() {
    let server = everywhere(None).await;
    let own: std::net::SocketAddr = server.broker_addr().parse().unwrap();
    for host in ["127.0.0.1", "127.0.0.2"] {
        let name_server = format!("{host}:{}", server.namesrv_listens_on().unwrap().port());
        let client = Client::connect(&*name_server).await.unwrap();
        let producer = client.producer("ways").await.unwrap();
        let sent = producer.send(Message::new("ways", host)).await.unwrap();
        let (stored, _) = parse_offset_msg_id(&sent.offset_msg_id).unwrap();
        assert_eq!(stored, own);
        producer.shutdown(Duration::from_secs(3)).await;
    }
}

#[tokio::test]
async fn a_given_address_is_told_to_everybody() {
    let server = everywhere(Some("localhost")).await;
    let port = port_of(server.broker_addr());
    assert_eq!(server.broker_addr(), format!("localhost:{port}"));
    for host in ["127.0.0.1", "127.0.0.2"] {
        assert_eq!(
            told(&server, host).await,
            vec![format!("localhost:{port}"); 4]
        );
    }
    let client = Client::connect(server.namesrv_addr()).await.unwrap();
    let producer = client.producer("named").await.unwrap();
    producer.send(Message::new("named", "x")).await.unwrap();
    producer.shutdown(Duration::from_secs(3)).await;
    let forwarded = everywhere(Some("mq.invalid:31911")).await;
    assert_eq!(forwarded.broker_addr(), "mq.invalid:31911");
    assert!(
        forwarded
            .advertise_warning()
            .unwrap()
            .contains("mq.invalid")
    );
}
