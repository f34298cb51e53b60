//! The Prometheus endpoint.

use rocketry_protocol::header::UpdateConsumerOffsetRequest;
use rocketry_server::{Role, Server, ServerConfig, ServerError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    common::{Wire, beat, heartbeat, pull},
    limits::{metric, page},
};

async fn measured() -> Wire {
    let mut config = ServerConfig::temp();
    config.metrics_port = Some(0);
    Wire::with(config).await
}

#[tokio::test]
async fn messages_lag_clients_and_storage_are_told() {
    use rocketry_protocol::body::heartbeat::MessageModel;
    let wire = measured().await;
    let data = heartbeat("c1", "CG", MessageModel::Clustering, &["T"]);
    assert_eq!(wire.broker(beat(&data)).await.code, 0);
    for (queue_id, count) in [(0, 5), (1, 2)] {
        for n in 0..count {
            wire.put("T", queue_id, "", &n.to_string()).await;
        }
        let commit = UpdateConsumerOffsetRequest {
            consumer_group: "CG",
            topic: "T",
            queue_id,
            commit_offset: 1,
            broker_name: None,
        };
        assert_eq!(wire.ask_broker(&commit).await.code, 0);
    }
    assert_eq!(wire.ask_broker(&pull("T", 0, 0)).await.code, 0);

    let text = page(&wire.server).await;
    let labels = "cluster=\"DefaultCluster\",node_type=\"broker\",node_id=\"broker-a\",";
    for line in [
        format!("rocketmq_messages_in_total{{{labels}topic=\"T\",is_system=\"false\",}} 7"),
        format!("rocketmq_throughput_in_total{{{labels}}} 7"),
        format!("rocketmq_messages_out_total{{{labels}}} 5"),
        format!(
            "rocketmq_consumer_lag_messages{{{labels}consumer_group=\"CG\",topic=\"T\",is_retry=\"false\",}} 5"
        ),
        format!(
            "rocketry_consumer_queue_lag_messages{{{labels}consumer_group=\"CG\",topic=\"T\",queue_id=\"0\",}} 4"
        ),
        format!(
            "rocketry_consumer_queue_lag_messages{{{labels}consumer_group=\"CG\",topic=\"T\",queue_id=\"1\",}} 1"
        ),
        format!("rocketmq_broker_permission{{{labels}}} 6"),
        format!("rocketry_put_latency_seconds_count{{{labels}}} 7"),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    for (name, label) in [
        ("rocketmq_producer_connections", "language"),
        ("rocketmq_consumer_connections", "consumer_group=\"CG\""),
        ("rocketry_connections", "port=\"broker\""),
        ("rocketmq_storage_size", ""),
        ("rocketmq_topic_number", ""),
        ("rocketry_pull_latency_seconds_count", ""),
    ] {
        assert!(metric(&wire.server, name, label).await >= 1.0, "{name}");
    }
}

#[tokio::test]
async fn series_are_capped() {
    let mut config = ServerConfig::temp();
    config.metrics_port = Some(0);
    config.metrics_max_series = 3;
    let wire = Wire::with(config).await;
    for n in 0..10 {
        wire.put(&format!("T{n}"), 0, "", "x").await;
    }
    let text = page(&wire.server).await;
    let series = text
        .lines()
        .filter(|line| line.starts_with("rocketmq_messages_in_total{"));
    assert_eq!(series.count(), 3);
    let omitted = metric(
        &wire.server,
        "rocketry_metrics_series_omitted",
        "messages_in",
    )
    .await;
    assert!(omitted >= 7.0, "{omitted}");
}

#[tokio::test]
async fn a_name_server_alone_has_its_own() {
    let mut config = ServerConfig::temp();
    config.role = Role::NameServer;
    config.metrics_port = Some(0);
    let server = Server::start(config).await.unwrap();
    assert!(metric(&server, "rocketry_namesrv_brokers", "namesrv").await < 1.0);
    assert!(!page(&server).await.contains("rocketmq_messages_in_total"));
}

#[tokio::test]
async fn nothing_is_served_unless_asked_for_and_a_taken_port_is_named() {
    let plain = Server::start_temp().await.unwrap();
    assert_eq!(plain.metrics_addr(), None);
    let first = measured().await;
    let mut config = ServerConfig::temp();
    config.metrics_port = Some(first.server.metrics_addr().unwrap().port());
    let error = Server::start(config).await.unwrap_err();
    assert!(
        matches!(
            error,
            ServerError::PortInUse {
                role: "metrics endpoint",
                ..
            }
        ),
        "{error:?}"
    );
}

async fn ask(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.metrics_addr().unwrap())
        .await
        .unwrap();
    // A server that has heard enough may close before it has read everything.
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn other_requests_are_refused_and_endless_ones_cut_off() {
    let wire = measured().await;
    let server = &wire.server;
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "HTTP/1.1 404 "),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", "HTTP/1.1 200 "),
    ] {
        let answer = ask(server, request).await;
        assert!(answer.starts_with(status), "{answer}");
    }
    assert_eq!(ask(server, b"GET /metrics HTTP/1.1\r\n").await, "");
    assert_eq!(ask(server, &vec![b'x'; 100_000]).await, "");
    assert_eq!(ask(server, b"\xff\xfe\r\n\r\n").await, "");
    assert!(page(server).await.contains("rocketmq_topic_number"));
}
