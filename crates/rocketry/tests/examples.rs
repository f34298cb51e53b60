//! Every example runs against the embedded server and exits 0.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::PathBuf, process::Command, time::Duration};

use rocketry_server::Server;

/// Where `cargo test` puts examples: beside the folder of this test's own binary.
fn binary(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let target = deps.parent().unwrap().parent().unwrap();
    target
        .join("examples")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

#[test]
fn every_example_runs() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start_temp()).unwrap();
    for name in [
        "send",
        "send_async",
        "send_oneway",
        "batch",
        "auto_batch",
        "ordered",
        "blocking",
        "transaction",
        "request_reply",
        "delayed",
        "hooks_and_metrics",
    ] {
        let path = binary(name);
        let output = Command::new(&path)
            .arg(format!("examples-{name}"))
            .env("NAMESRV_ADDR", server.namesrv_addr())
            .output()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}; `cargo build --examples` builds it",
                    path.display()
                )
            });
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }
    let read = runtime.block_on(async {
        let client = rocketry::Client::connect(server.namesrv_addr())
            .await
            .unwrap();
        let mut counts = Vec::new();
        for (name, count) in [
            ("send", 8),
            ("send_async", 1001),
            ("send_oneway", 1000),
            ("batch", 20_010),
            ("auto_batch", 1000),
            ("ordered", 12),
            ("transaction", 2),
            ("request_reply", 3),
            ("delayed", 3),
            ("hooks_and_metrics", 10),
        ] {
            let mut reader = client.reader(format!("examples-{name}")).await.unwrap();
            let mut read = 0;
            while read < count {
                let batch = reader.next_batch(Duration::from_secs(10)).await.unwrap();
                assert!(
                    !batch.is_empty(),
                    "{read} of {count} messages of {name} came"
                );
                read += batch.len();
            }
            counts.push((name, read - count));
        }
        counts
    });
    assert!(read.iter().all(|(_, more)| *more == 0), "{read:?}");
}

/// The one that needs a server over TLS.
#[cfg(feature = "tls")]
#[test]
fn the_example_over_tls_runs() {
    use rocketry_server::{ServerConfig, TlsMode, TlsServerConfig};

    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("cert.pem");
    std::fs::write(&ca, &certificate).unwrap();
    let mut config = ServerConfig::temp();
    let tls = TlsServerConfig::from_pem(certificate, key.serialize_pem());
    config.tls = Some(tls.mode(TlsMode::Enforcing));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(config)).unwrap();
    let output = Command::new(binary("tls_acl"))
        .arg("examples-tls_acl")
        .env("NAMESRV_ADDR", server.namesrv_addr())
        .env("TLS_CA", &ca)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("SEND_OK").count(), 3, "{said}");
    assert!(said.contains("server_name"), "{said}");
}
