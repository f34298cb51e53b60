//! Signatures that brokers check.

use rocketry::{ClientConfig, ErrorKind};
use rocketry_protocol::{RemotingCommand, acl};

use crate::support::*;

const SECRET: &str = "12345678";

/// A broker that stores what is signed with [`SECRET`]. Java: `DefaultAuthenticationHandler`.
fn guarded() -> impl FnMut(&RemotingCommand) -> Action + Send + 'static {
    |request| {
        if acl::access_key(request) == Some("rocketmq2") && acl::verify(request, SECRET) {
            Action::Reply(stored_or_ok(request))
        } else {
            Action::Reply(refuse(16, "check signature failed."))
        }
    }
}

fn with_namespace_and_zone() -> ClientConfig {
    ClientConfig {
        namespace_v2: Some("ns1".to_owned()),
        zone_name: Some("z1".to_owned()),
        zone_mode: Some("strict".to_owned()),
        stream_requests: true,
        ..ClientConfig::default()
    }
}

/// P-137
#[tokio::test]
async fn a_guarded_broker_accepts_every_signed_request() {
    for config in [ClientConfig::default(), with_namespace_and_zone()] {
        for token in [None, Some("token")] {
            let cluster = Cluster::of(&["a"]);
            cluster.broker("a").script(guarded());
            let mut connect = cluster
                .connect()
                .config(config.clone())
                .credentials("rocketmq2", SECRET);
            if let Some(token) = token {
                connect = connect.security_token(token);
            }
            let client = connect.await.unwrap();
            let producer = client.producer("PG").await.unwrap();
            producer.send(message()).await.unwrap();
            producer.enqueue(message()).await.unwrap().await.unwrap();
            producer.send_oneway(message()).await.unwrap();
            producer
                .send_batch(vec![message(), message()])
                .await
                .unwrap();
            cluster.broker("a").wait_for(34, 1).await;
            assert!(client.shutdown(PATIENCE).await.is_clean());
            cluster.broker("a").wait_for(35, 1).await;
            cluster.broker("a").wait_for(310, 3).await;
            let mut all = cluster.name_server.received_all();
            assert!(!all.is_empty());
            all.extend(cluster.broker("a").received_all());
            for received in all {
                let command = &received.command;
                assert!(acl::verify(command, SECRET), "{command:?}");
                assert_eq!(command.field("SecurityToken"), token);
                assert_eq!(command.field("ns"), config.namespace_v2.as_deref());
                assert_eq!(command.field("__ZONE_NAME"), config.zone_name.as_deref());
            }
        }
    }
}

/// P-137
#[tokio::test]
async fn a_wrong_secret_is_the_brokers_error() {
    let cluster = Cluster::of(&["a"]);
    cluster.broker("a").script(guarded());
    let client = cluster
        .connect()
        .credentials("rocketmq2", "wrong")
        .await
        .unwrap();
    let producer = client.producer("PG").await.unwrap();
    let error = producer.send(message()).await.unwrap_err();
    assert_eq!((error.kind(), error.java_code()), (ErrorKind::Refused, 16));
    assert_eq!(error.remark(), Some("check signature failed."));
    assert!(error.hint().unwrap().contains("secret key"), "{error}");
    assert!(!error.maybe_stored());
}

#[tokio::test]
async fn incomplete_credentials_are_refused_at_once() {
    let cluster = Cluster::of(&[]);
    for connect in [
        cluster.connect().credentials("", SECRET),
        cluster.connect().credentials("rocketmq2", ""),
        cluster.connect().security_token("token"),
    ] {
        let error = connect.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("credentials"), "{error}");
    }
}

#[cfg(feature = "tls")]
mod tls {
    use rcgen::{CertificateParams, KeyPair};
    use rocketry::{Client, ErrorKind, TlsConfig};
    use rocketry_remoting::{ListenerOptions, TlsMode, TlsServerConfig};

    use super::*;

    /// A cluster that speaks TLS only, and its certificate.
    fn secured() -> (Cluster, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let acceptor = TlsServerConfig::from_pem(certificate.clone(), key.serialize_pem())
            .mode(TlsMode::Enforcing)
            .build()
            .unwrap();
        let mut options = ListenerOptions::default();
        options.tls = Some(acceptor);
        (Cluster::listening(&["a"], &options), certificate)
    }

    /// P-148
    #[tokio::test]
    async fn a_trusted_certificate_works_for_every_connection() {
        let (cluster, certificate) = secured();
        let client = cluster
            .connect()
            .tls(TlsConfig::new().ca_pem(certificate))
            .credentials("rocketmq2", SECRET)
            .await
            .unwrap();
        cluster.broker("a").script(guarded());
        let producer = client.producer("PG").await.unwrap();
        producer.send(message()).await.unwrap();
        assert!(client.shutdown(PATIENCE).await.is_clean());
        assert_eq!(cluster.broker("a").received(35).len(), 1);
    }

    /// P-148
    #[tokio::test]
    async fn an_untrusted_certificate_fails_and_says_what_to_do() {
        let (cluster, _) = secured();
        let (_, other) = secured();
        let client = cluster
            .connect()
            .tls(TlsConfig::new().ca_pem(other))
            .await
            .unwrap();
        let producer = client.producer("PG").await.unwrap();
        let error = producer.send(message()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NameServerUnreachable);
        assert!(error.hint().unwrap().contains("ca_file"), "{error}");
        assert!(cluster.name_server.received_all().is_empty());
    }

    #[tokio::test]
    async fn a_plain_client_of_a_secured_cluster_learns_of_it() {
        let (cluster, _) = secured();
        let client = cluster.client().await;
        let error = client.admin().topics().await.unwrap_err();
        assert!(error.hint().unwrap().contains("TLS"), "{error}");
    }

    /// P-148
    #[tokio::test]
    async fn tls_that_cannot_work_is_an_error_and_no_plain_connection() {
        let cluster = Cluster::of(&["a"]);
        let tls = TlsConfig::new()
            .ca_file("/nonexistent/ca.pem")
            .client_certificate_pem("nothing", "nothing")
            .server_name("not a name");
        let error = Client::connect(cluster.name_server.addr())
            .tls(tls)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        for fault in [
            "ca /nonexistent/ca.pem",
            "client certificate",
            "client key",
            "server_name",
        ] {
            assert!(error.to_string().contains(fault), "{fault}: {error}");
        }
        assert_eq!(cluster.name_server.opened(), 0);
    }
}
