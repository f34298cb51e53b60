//! The client against the embedded server over TLS, with a certificate on either side.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rocketry::{Client, ErrorKind, Message, TlsConfig};
use rocketry_server::{ClientAuth, Server, ServerConfig, TlsMode, TlsServerConfig};

use super::{PATIENCE, read};

/// PEM texts of an authority and of what it has signed.
struct Certificates {
    ca: String,
    server: (String, String),
    client: (String, String),
}

fn certificates() -> Certificates {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test");
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let sign = |params: CertificateParams| {
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &issuer).unwrap();
        (signed.pem(), key.serialize_pem())
    };
    let server = sign(CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap());
    let mut client = CertificateParams::default();
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Certificates {
        ca,
        server,
        client: sign(client),
    }
}

/// P-148
#[tokio::test]
async fn messages_go_there_and_back_over_tls_with_certificates_on_both_sides() {
    let Certificates { ca, server, client } = certificates();
    let mut config = ServerConfig::temp();
    config.tls = Some(
        TlsServerConfig::from_pem(server.0, server.1)
            .mode(TlsMode::Enforcing)
            .client_ca_pem(ca.clone(), ClientAuth::Required),
    );
    let server = Server::start(config).await.unwrap();
    let trusting = TlsConfig::new().ca_pem(ca);
    let known = trusting.clone().client_certificate_pem(client.0, client.1);
    let client = Client::connect(server.namesrv_addr())
        .tls(known)
        .await
        .unwrap();
    let producer = client.producer("PG").await.unwrap();
    let body = "x".repeat(100_000);
    producer
        .send(Message::new("T", body.clone()))
        .await
        .unwrap();
    let mut reader = client.reader("T").await.unwrap();
    assert_eq!(read(&mut reader, 1).await[0].body, body);
    assert!(client.shutdown(PATIENCE).await.is_clean());

    let stranger = Client::connect(server.namesrv_addr())
        .tls(trusting)
        .await
        .unwrap();
    let error = stranger.admin().topics().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameServerUnreachable);
    assert!(
        error.hint().unwrap().contains("client_certificate_files"),
        "{error}"
    );
    server.shutdown(PATIENCE).await.unwrap();
}
