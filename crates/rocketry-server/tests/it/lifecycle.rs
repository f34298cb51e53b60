use std::{path::Path, time::Duration};

use rocketry_protocol::{
    RemotingCommand, RequestCode,
    header::{AckMessageRequest, PopMessageRequest},
};
use rocketry_server::{DataDir, Server, ServerConfig, ServerError};

use crate::common::{Wire, pull, request_to, send};

fn config_in(dir: &Path) -> ServerConfig {
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.to_owned());
    config
}

#[tokio::test]
async fn messages_survive_a_stop_and_numbering_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::with(config_in(dir.path())).await;
    for n in 0..10 {
        wire.put("T", 0, "", &n.to_string()).await;
    }
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();
    assert!(!dir.path().join("abort").exists(), "the stop was clean");
    let wire = Wire::with(config_in(dir.path())).await;
    assert_eq!(wire.put("T", 0, "", "10").await.queue_offset, 10);
    let bodies: Vec<_> = wire
        .read_all("T", 0)
        .await
        .into_iter()
        .map(|m| m.body)
        .collect();
    assert_eq!(bodies, (0..=10).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_dropped_server_closes_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::with(config_in(dir.path())).await;
    wire.put("T", 0, "", "x").await;
    drop(wire);
    assert!(!dir.path().join("abort").exists());
    let wire = Wire::with(config_in(dir.path())).await;
    assert_eq!(wire.read_all("T", 0).await.len(), 1);
}

#[tokio::test]
async fn temporary_servers_run_beside_each_other_and_leave_nothing() {
    let a = Server::start_temp().await.unwrap();
    let b = Server::start_temp().await.unwrap();
    assert_ne!(a.broker_addr(), b.broker_addr());
    assert_ne!(a.namesrv_addr(), b.namesrv_addr());
    let dirs = [a.data_dir().to_owned(), b.data_dir().to_owned()];
    assert!(dirs.iter().all(|dir| dir.exists()));
    drop(a);
    b.shutdown(Duration::from_secs(10)).await.unwrap();
    assert!(dirs.iter().all(|dir| !dir.exists()));
}

/// Tests of a suite run side by side: ports and directories of many servers do not meet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_servers_run_at_once_each_with_its_own_messages() {
    let starts: Vec<_> = (0..50)
        .map(|n| {
            tokio::spawn(async move {
                let wire = Wire::start().await;
                wire.put("T", 0, "", &format!("of {n}")).await;
                wire
            })
        })
        .collect();
    let mut running = Vec::new();
    for start in starts {
        running.push(start.await.unwrap());
    }
    let mut dirs = Vec::new();
    for (n, wire) in running.into_iter().enumerate() {
        let bodies: Vec<_> = wire
            .read_all("T", 0)
            .await
            .into_iter()
            .map(|m| m.body)
            .collect();
        assert_eq!(bodies, [format!("of {n}")]);
        dirs.push(wire.server.data_dir().to_owned());
    }
    assert!(dirs.iter().all(|dir| !dir.exists()), "dropped, and gone");
}

#[tokio::test]
async fn a_port_in_use_is_named_and_nothing_is_written() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let mut config = config_in(&dir.path().join("data"));
    config.namesrv_port = port;
    let error = Server::start(config).await.unwrap_err();
    assert!(
        matches!(
            error,
            ServerError::PortInUse {
                role: "name server",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    assert!(!dir.path().join("data").exists());
}

#[tokio::test]
async fn a_directory_in_use_or_not_ours_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = Server::start(config_in(dir.path())).await.unwrap();
    let error = Server::start(config_in(dir.path())).await.unwrap_err();
    assert!(
        matches!(error, ServerError::DataDirUnusable { .. }),
        "{error:?}"
    );
    assert!(
        full_text(&error).contains("in use"),
        "{}",
        full_text(&error)
    );
    drop(first);

    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("thesis.txt"), "mine").unwrap();
    let error = Server::start(config_in(other.path())).await.unwrap_err();
    assert!(
        full_text(&error).contains("not a RocketMQ data directory"),
        "{}",
        full_text(&error)
    );
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1);
}

fn full_text(error: &ServerError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// S-014.
#[tokio::test]
async fn s014_unknown_codes_are_answered_on_both_ports() {
    let wire = Wire::start().await;
    let unknown = RemotingCommand::bare_request(RequestCode(9999));
    for response in [
        wire.broker(unknown.clone()).await,
        wire.namesrv(unknown).await,
    ] {
        assert_eq!(response.code, 3);
        assert_eq!(
            response.remark.as_deref(),
            Some(" request type 9999 not supported")
        );
        assert_eq!(response.version, 513);
    }
}

#[tokio::test]
async fn a_stop_answers_parked_pulls() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "x").await;
    let peer = wire.join(std::sync::Arc::new(rocketry_remoting::Unsupported));
    let parked = tokio::spawn(async move {
        let mut request = pull("T", 0, 1);
        request.sys_flag |= rocketry_protocol::header::pull_sys_flag::SUSPEND;
        request.suspend_timeout_millis = 60_000;
        peer.call(RemotingCommand::request(&request)).await
    });
    crate::pull::wait_until_parked(&wire).await;
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();
    assert_eq!(parked.await.unwrap().code, 19);
}

/// A port that is free, as is its neighbour below by two; none that the system hands out to others meanwhile.
fn broker_port() -> u16 {
    loop {
        let port = fastrand::u16(20_000..30_000);
        let is_free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port - 2) {
            return port;
        }
    }
}

/// S-016.
#[tokio::test]
async fn s016_the_fast_port_serves_sends_and_acknowledgements_and_no_reads() {
    let mut config = ServerConfig::temp();
    config.broker_port = broker_port();
    let fast_addr = format!("127.0.0.1:{}", config.broker_port - 2);
    let wire = Wire::with(config).await;
    let fast = wire.join_at(&fast_addr);
    let stored = fast.call(send(&request_to("T"), "x")).await;
    assert_eq!(stored.code, 0, "{:?}", stored.remark);
    let ack = AckMessageRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: 0,
        extra_info: "0 1 60000 1 0 broker-a 0 0",
        offset: 0,
        lite_topic: None,
        broker_name: None,
    };
    let response = fast.call(RemotingCommand::request(&ack)).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    let pop = PopMessageRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: 0,
        max_msg_nums: 1,
        invisible_time: 60_000,
        poll_time: 0,
        born_time: 0,
        init_mode: 0,
        exp_type: None,
        exp: None,
        order: None,
        attempt_id: None,
        broker_name: None,
    };
    for (request, code) in [
        (RemotingCommand::request(&pull("T", 0, 0)), 11),
        (RemotingCommand::request(&pop), 200_050),
    ] {
        let response = fast.call(request.clone()).await;
        assert_eq!(
            (response.code, response.remark),
            (3, Some(format!(" request type {code} not supported")))
        );
        assert_ne!(wire.broker(request).await.code, 3);
    }
}

/// The port for sends alone may be another's, or switched off.
#[tokio::test]
async fn a_server_does_without_its_fast_port() {
    let mut config = ServerConfig::temp();
    config.broker_port = broker_port();
    let fast_port = config.broker_port - 2;
    let taken = std::net::TcpListener::bind(("127.0.0.1", fast_port)).unwrap();
    Wire::with(config).await.put("T", 0, "", "x").await;
    drop(taken);

    let mut config = ServerConfig::temp();
    config.broker_port = broker_port();
    config.fast_port = false;
    let fast_port = config.broker_port - 2;
    let wire = Wire::with(config).await;
    wire.put("T", 0, "", "x").await;
    std::net::TcpListener::bind(("127.0.0.1", fast_port)).unwrap();
}
