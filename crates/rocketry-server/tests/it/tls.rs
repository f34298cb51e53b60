//! TLS on both ports.

use std::{sync::Arc, time::Duration};

use rcgen::{CertificateParams, KeyPair};
use rocketry_protocol::{RemotingCommand, RequestCode};
use rocketry_remoting::{
    ConnectOptions, Connections, Deadline, Error, ErrorKind, TlsConfig, Unsupported,
};
use rocketry_server::{Server, ServerConfig, ServerError, TlsMode, TlsServerConfig};

use crate::common::TIMEOUT;

/// A certificate for loopback, and its key.
fn certificate() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// What a plain client, or one that trusts `ca`, gets from both ports.
async fn ask_both(server: &Server, ca: Option<&str>) -> Vec<Result<RemotingCommand, Error>> {
    let mut options = ConnectOptions::default();
    if let Some(ca) = ca {
        options.tls = Some(TlsConfig::new().ca_pem(ca).build().unwrap());
    }
    let client = Connections::new(options, Arc::new(Unsupported));
    let mut answers = Vec::new();
    for (addr, code) in [
        (server.namesrv_addr(), RequestCode::GET_BROKER_CLUSTER_INFO),
        (server.broker_addr(), RequestCode::GET_ALL_TOPIC_CONFIG),
    ] {
        let request = RemotingCommand::bare_request(code);
        answers.push(client.call(addr, request, Deadline::after(TIMEOUT)).await);
    }
    answers
}

#[tokio::test]
async fn permissive_ports_serve_both_and_enforcing_ones_tls_only() {
    let (ca, key) = certificate();
    for mode in [TlsMode::Permissive, TlsMode::Enforcing] {
        let mut config = ServerConfig::temp();
        config.tls = Some(TlsServerConfig::from_pem(ca.clone(), key.clone()).mode(mode));
        let server = Server::start(config).await.unwrap();
        for answer in ask_both(&server, Some(&ca)).await {
            assert_eq!(answer.unwrap().code, 0, "{mode:?}");
        }
        for answer in ask_both(&server, None).await {
            match mode {
                TlsMode::Permissive => assert_eq!(answer.unwrap().code, 0),
                _ => assert_eq!(answer.unwrap_err().kind(), ErrorKind::Closed),
            }
        }
        server.shutdown(Duration::from_secs(10)).await.unwrap();
    }
}

#[tokio::test]
async fn tls_that_cannot_work_is_reported_with_the_other_faults() {
    let mut config = ServerConfig::temp();
    config.max_message_bytes = 0;
    config.tls = Some(TlsServerConfig::from_files(
        "/nonexistent/cert",
        "/nonexistent/key",
    ));
    let ServerError::Config { faults } = Server::start(config).await.unwrap_err() else {
        panic!("not a configuration error");
    };
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(
        faults
            .iter()
            .any(|fault| fault.starts_with("tls: server key /nonexistent/key"))
    );
}
