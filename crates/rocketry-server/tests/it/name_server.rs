use std::{sync::Arc, time::Duration};

use rocketry_protocol::{
    RemotingCommand, RequestCode,
    body::{
        self, DataVersion,
        registration::RegisterBrokerBody,
        route::{ClusterInfo, KVTable, TopicRouteData},
        topics::{TopicConfig, TopicList},
    },
    hash::crc32,
    header::{
        DeleteKvConfigRequest, GetKvConfigReply, GetKvConfigRequest, GetKvListByNamespaceRequest,
        GetRouteInfoRequest, GetTopicsByClusterRequest, PutKvConfigRequest, QueryDataVersionReply,
        QueryDataVersionRequest, RegisterBrokerRequest, UnregisterBrokerRequest,
    },
};
use rocketry_remoting::{ConnectOptions, Connections, Deadline, Unsupported};
use rocketry_server::{DataDir, Role, ServerConfig};

use crate::common::{TIMEOUT, Wire};

fn table(topics: &[&str]) -> RegisterBrokerBody {
    let mut body = RegisterBrokerBody::default();
    let wrapper = &mut body.topic_config_serialize_wrapper;
    wrapper.data_version = DataVersion {
        counter: 1,
        ..DataVersion::default()
    };
    for topic in topics {
        wrapper
            .topic_config_table
            .insert((*topic).to_owned(), TopicConfig::new(*topic, 2));
    }
    body
}

fn register(topics: &[&str]) -> RemotingCommand {
    let body = body::encode(&table(topics)).unwrap();
    let request = RegisterBrokerRequest {
        broker_name: "other",
        broker_addr: "10.0.0.9:10911",
        cluster_name: "Elsewhere",
        ha_server_addr: "10.0.0.9:10912",
        broker_id: 0,
        heartbeat_timeout_millis: None,
        enable_acting_master: None,
        compressed: false,
        body_crc32: crc32(&body),
    };
    RemotingCommand::request(&request).with_body(body)
}

fn route_of(topic: &str) -> GetRouteInfoRequest<'_> {
    GetRouteInfoRequest {
        topic,
        accept_standard_json_only: None,
    }
}

/// S-001, S-002, S-004, S-012 over the wire.
#[tokio::test]
async fn s001_a_foreign_broker_registers() {
    let wire = Wire::start().await;
    let response = wire.namesrv(register(&["only"])).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (1, Some("register broker failed")),
        "S-002"
    );
    let response = wire.namesrv(register(&["theirs", "shared"])).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    let route: TopicRouteData =
        body::decode(&wire.ask_namesrv(&route_of("theirs")).await.body).unwrap();
    assert_eq!(route.broker_datas[0].broker_addrs[&0], "10.0.0.9:10911");
    assert_eq!(route.queue_datas[0].write_queue_nums, 2);

    let version = QueryDataVersionRequest {
        broker_name: "other",
        broker_addr: "10.0.0.9:10911",
        cluster_name: "Elsewhere",
        broker_id: 0,
    };
    for (counter, expected) in [(1, false), (2, true)] {
        let body = body::encode(&DataVersion {
            counter,
            ..DataVersion::default()
        })
        .unwrap();
        let response = wire
            .namesrv(RemotingCommand::request(&version).with_body(body))
            .await;
        assert_eq!(
            response.header::<QueryDataVersionReply>().unwrap().changed,
            expected,
            "S-004"
        );
    }
    let clusters: ClusterInfo = body::decode(
        &wire
            .namesrv(RemotingCommand::bare_request(
                RequestCode::GET_BROKER_CLUSTER_INFO,
            ))
            .await
            .body,
    )
    .unwrap();
    assert_eq!(clusters.cluster_addr_table["Elsewhere"], ["other"]);
    assert_eq!(clusters.cluster_addr_table["DefaultCluster"], ["broker-a"]);
    assert_eq!(
        clusters.broker_addr_table["broker-a"].broker_addrs[&0],
        wire.server.broker_addr()
    );
    let topics: TopicList = body::decode(
        &wire
            .ask_namesrv(&GetTopicsByClusterRequest {
                cluster: "Elsewhere",
            })
            .await
            .body,
    )
    .unwrap();
    assert_eq!(topics.topic_list, ["shared", "theirs"], "S-012");

    let leave = UnregisterBrokerRequest {
        broker_name: "other",
        broker_addr: "10.0.0.9:10911",
        cluster_name: "Elsewhere",
        broker_id: 0,
    };
    assert_eq!(wire.ask_namesrv(&leave).await.code, 0);
    assert_eq!(
        wire.ask_namesrv(&route_of("theirs")).await.code,
        17,
        "S-006"
    );
}

/// S-003.
#[tokio::test]
async fn s003_a_damaged_registration_is_refused() {
    let wire = Wire::start().await;
    let mut command = register(&["a", "b"]);
    command.body = b"{}".as_slice().into();
    let response = wire.namesrv(command).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (1, Some("crc32 not match"))
    );
}

/// S-005.
#[tokio::test]
async fn s005_a_closed_connection_unregisters_its_broker() {
    let wire = Wire::start().await;
    let broker = Connections::new(ConnectOptions::default(), Arc::new(Unsupported));
    broker
        .call(
            wire.server.namesrv_addr(),
            register(&["theirs", "t"]),
            Deadline::after(TIMEOUT),
        )
        .await
        .unwrap();
    assert_eq!(wire.ask_namesrv(&route_of("theirs")).await.code, 0);
    broker.close_all().await;
    while wire.ask_namesrv(&route_of("theirs")).await.code == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_compressed_registration_is_read() {
    let wire = Wire::start().await;
    let body = table(&["a", "b"]).encode_compressed(true).unwrap();
    let mut command = register(&["a", "b"]);
    command.fields.as_mut().unwrap().push("compressed", "true");
    command
        .fields
        .as_mut()
        .unwrap()
        .push("bodyCrc32", &crc32(&body).to_string());
    command.body = body.into();
    let response = wire.namesrv(command).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    assert_eq!(wire.ask_namesrv(&route_of("a")).await.code, 0);
}

/// S-007, S-008.
#[tokio::test]
async fn s008_old_and_new_clients_get_their_json() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "x").await;
    let text = |response: RemotingCommand| String::from_utf8(response.body.to_vec()).unwrap();
    let mut old = RemotingCommand::request(&route_of("T"));
    old.version = 400;
    assert!(text(wire.namesrv(old.clone()).await).contains("\"brokerAddrs\":{0:\""));
    let asked = RemotingCommand {
        version: 400,
        ..RemotingCommand::request(&GetRouteInfoRequest {
            accept_standard_json_only: Some(true),
            ..route_of("T")
        })
    };
    for modern in [
        RemotingCommand {
            version: 401,
            ..old
        },
        asked,
    ] {
        let text = text(wire.namesrv(modern).await);
        assert!(text.contains("\"brokerAddrs\":{\"0\":\""), "{text}");
        assert!(!text.contains(' '), "the Go client needs compact JSON");
    }
    let response = wire.ask_namesrv(&route_of("nope")).await;
    assert_eq!(response.code, 17);
    assert!(
        response
            .remark
            .unwrap()
            .starts_with("No topic route info in name server for the topic: nope\nSee ")
    );
}

/// S-009.
#[tokio::test]
async fn s009_key_values_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.path().to_owned());
    let wire = Wire::with(config.clone()).await;
    for (key, value) in [("k", "v"), ("gone", "x")] {
        let put = PutKvConfigRequest {
            namespace: "ns",
            key,
            value,
        };
        assert_eq!(wire.ask_namesrv(&put).await.code, 0);
    }
    wire.ask_namesrv(&DeleteKvConfigRequest {
        namespace: "ns",
        key: "gone",
    })
    .await;
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();

    let wire = Wire::with(config).await;
    let get = |key| GetKvConfigRequest {
        namespace: "ns",
        key,
    };
    let reply: GetKvConfigReply = wire.ask_namesrv(&get("k")).await.header().unwrap();
    assert_eq!(reply.value.as_deref(), Some("v"));
    let response = wire.ask_namesrv(&get("gone")).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (22, Some("No config item, Namespace: ns Key: gone"))
    );
    let list: KVTable = body::decode(
        &wire
            .ask_namesrv(&GetKvListByNamespaceRequest { namespace: "ns" })
            .await
            .body,
    )
    .unwrap();
    assert_eq!(list.table.len(), 1);
    assert_eq!(
        wire.ask_namesrv(&GetKvListByNamespaceRequest { namespace: "other" })
            .await
            .code,
        22
    );
}

/// S-010.
#[tokio::test]
async fn s010_routes_and_registrations_carry_the_order_configuration() {
    let started = async |order_message_enable| {
        let mut config = ServerConfig::temp();
        config.order_message_enable = order_message_enable;
        let wire = Wire::with(config).await;
        wire.put("T", 0, "", "x").await;
        let put = PutKvConfigRequest {
            namespace: "ORDER_TOPIC_CONFIG",
            key: "T",
            value: "broker-a:4",
        };
        assert_eq!(wire.ask_namesrv(&put).await.code, 0);
        wire
    };
    let order_of = async |wire: &Wire| {
        let response = wire.ask_namesrv(&route_of("T")).await;
        let route: TopicRouteData = body::decode(&response.body).unwrap();
        route.order_topic_conf
    };
    assert_eq!(order_of(&started(false).await).await, None);
    let wire = started(true).await;
    assert_eq!(order_of(&wire).await.as_deref(), Some("broker-a:4"));
    let response = wire.namesrv(register(&["a", "b"])).await;
    let table: KVTable = body::decode(&response.body).unwrap();
    assert_eq!(table.table["T"], "broker-a:4");
}

/// Our broker registers with a name server elsewhere: here, with another of ours.
#[tokio::test]
async fn a_broker_registers_with_name_servers_elsewhere() {
    let cluster = Wire::start().await;
    let mut config = ServerConfig::temp();
    config.role = Role::Broker;
    config.name_servers = vec![cluster.server.namesrv_addr().to_owned()];
    config.broker_name = "broker-b".to_owned();
    let wire = Wire::with(config).await;
    assert_eq!(wire.server.namesrv_addr(), cluster.server.namesrv_addr());
    assert_eq!(wire.server.namesrv_listens_on(), None);
    wire.put("fresh", 0, "", "x").await;
    let route = loop {
        let response = cluster.ask_namesrv(&route_of("fresh")).await;
        if response.code == 0 {
            break body::decode::<TopicRouteData>(&response.body).unwrap();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        route.broker_datas[0].broker_addrs[&0],
        wire.server.broker_addr()
    );
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();
    assert_eq!(
        cluster.ask_namesrv(&route_of("fresh")).await.code,
        17,
        "it unregistered"
    );
}
