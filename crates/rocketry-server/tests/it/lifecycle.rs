use std::{path::Path, time::Duration};

use rocketry_protocol::{RemotingCommand, RequestCode};
use rocketry_server::{DataDir, Server, ServerConfig, ServerError};

use crate::common::{Wire, pull};

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
