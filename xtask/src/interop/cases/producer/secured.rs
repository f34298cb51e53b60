//! TLS and signatures: who may talk to Apache's broker, and whom our client talks to.

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rocketry::{Client, ClientConfig, ErrorKind, Message, TlsConfig};

use super::{SOON, same};
use crate::Result;
use crate::interop::cases::Case;
use crate::interop::world::{Target, World};
use crate::interop::{Broker, BrokerConfig, NameServer};

const CLOSE: Duration = Duration::from_secs(3);
const USER: &str = "rocketmq";
const PASSWORD: &str = "12345678";
const PROVIDERS: &str = "org.apache.rocketmq.auth";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("producer/5.5.0/tls-untrusted", |w| Box::pin(untrusted(w))),
        Case::new("producer/5.5.0/tls-and-signature", |w| {
            Box::pin(tls_and_signature(w))
        }),
    ]
}

/// P-148: Apache's servers come with a certificate that nobody has signed: a verifying client refuses it, and one that was told to take
/// any does not.
async fn untrusted(world: &mut World) -> Result {
    let ns = world.namesrv(Target::Apache).await?;
    let (authority, _) = certificates()?;
    let verifying = Client::connect(&*ns).tls(TlsConfig::new().ca_pem(authority));
    let verifying = verifying.await?;
    let producer = verifying.producer("tls").await?;
    match producer.send(Message::new("p148", "never")).await {
        Err(error) if error.kind() == ErrorKind::NameServerUnreachable => {
            let told = format!("{error:#} {}", error.hint().unwrap_or_default());
            if !told.contains("certificate") {
                return Err(format!("the error does not speak of the certificate: {told}").into());
            }
        }
        other => return Err(format!("an unknown certificate is taken: {other:?}").into()),
    }
    verifying.shutdown(CLOSE).await;
    let any = TlsConfig::new().dangerous_accept_any_certificate();
    let any = Client::connect(&*ns).tls(any).await?;
    let producer = any.producer("tls").await?;
    // the first handshake of the JVM loads all of its TLS
    let send = producer.send(Message::new("p148", "taken")).timeout(SOON);
    let result = send.await?;
    any.shutdown(CLOSE).await;
    let found = super::dump_one(world, Target::Apache, "p148").await?;
    super::is_at(&result, &found)
}

/// P-137, P-148: a broker that takes signed requests only, over TLS with a certificate of an authority that the client knows: with the
/// right secret messages go there and back, namespace and zone signed along; with a wrong one, or unsigned, they are refused.
async fn tls_and_signature(world: &mut World) -> Result {
    let dir = world.dir("secured")?;
    let (authority, server) = certificates()?;
    let jvm = write_certificate(&dir, &server)?;
    let class_path = world.tools.class_path.clone();
    let name_server = NameServer::start_with(&class_path, &dir.join("namesrv"), &jvm).await?;
    let ns = name_server.addr().to_owned();
    let config = BrokerConfig {
        store: dir.join("store"),
        jvm,
        more: authentication(),
        ..BrokerConfig::new(&ns, "broker-secured", "DefaultCluster")
    };
    let broker = Broker::start(&class_path, &dir.join("broker"), &config).await?;

    let tls = TlsConfig::new().ca_pem(authority);
    let connect = |config: ClientConfig| Client::connect(&*ns).config(config).tls(tls.clone());
    let zoned = ClientConfig {
        namespace_v2: Some("ns1".to_owned()),
        zone_name: Some("zone-a".to_owned()),
        // true would hide brokers of other zones
        zone_mode: Some("false".to_owned()),
        ..ClientConfig::default()
    };
    let signed = connect(zoned).credentials(USER, PASSWORD).await?;
    registered(&signed).await?;
    let producer = signed.producer("signed").await?;
    let result = producer.send(Message::new("p137", "signed")).await?;
    let mut reader = signed.reader("p137").await?;
    let read = reader.next_batch(SOON).await?;
    let read: Vec<_> = read.iter().map(rocketry::MessageExt::msg_id).collect();
    same("read back", &vec![result.msg_id], &read)?;
    signed.shutdown(CLOSE).await;

    let wrong = connect(ClientConfig::default()).credentials(USER, "87654321");
    let unsigned = connect(ClientConfig::default());
    for (what, client) in [
        ("wrong secret", wrong.await?),
        ("no signature", unsigned.await?),
    ] {
        let producer = client.producer("stranger").await?;
        match producer.send(Message::new("p137", "refused")).await {
            Err(error) if error.kind() == ErrorKind::Refused => {
                same(what, &Some(16), &error.response_code().map(|code| code.0))?;
            }
            other => return Err(format!("{what}: not refused: {other:?}").into()),
        }
        client.shutdown(CLOSE).await;
    }
    broker.kill().await?;
    name_server.kill().await
}

/// The broker's first registration comes some seconds after its start.
async fn registered(client: &Client) -> Result {
    let end = tokio::time::Instant::now() + SOON;
    loop {
        let info = client.admin().cluster_info().await?;
        if !info.broker_addr_table.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() >= end {
            return Err("the secured broker does not register".into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn provider(kind: &str, class: &str) -> String {
    format!("{PROVIDERS}.{kind}.provider.{class}")
}

/// What lets Apache's broker keep users and rules, whether or not it asks for users.
pub(crate) fn kept_users() -> Vec<String> {
    vec![
        format!(
            "authenticationMetadataProvider={}",
            provider("authentication", "LocalAuthenticationMetadataProvider")
        ),
        format!(
            "authorizationMetadataProvider={}",
            provider("authorization", "LocalAuthorizationMetadataProvider")
        ),
    ]
}

/// What makes Apache's broker ask for users, with [`USER`] as the first of them.
pub(crate) fn authentication() -> Vec<String> {
    let mut lines = kept_users();
    lines.extend([
        "authenticationEnabled=true".to_owned(),
        format!(
            "authenticationProvider={}",
            provider("authentication", "DefaultAuthenticationProvider")
        ),
        "authorizationEnabled=true".to_owned(),
        format!(
            "authorizationProvider={}",
            provider("authorization", "DefaultAuthorizationProvider")
        ),
        format!(r#"initAuthenticationUser={{"username":"{USER}","password":"{PASSWORD}"}}"#),
        format!(
            r#"innerClientAuthenticationCredentials={{"accessKey":"{USER}","secretKey":"{PASSWORD}"}}"#
        ),
    ]);
    lines
}

/// The certificate of an authority, and certificate and key that it has signed for this host, as PEM texts.
fn certificates() -> Result<(String, (String, String))> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let signed = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    Ok((authority, (signed.pem(), key.serialize_pem())))
}

/// Puts the certificate where Java finds it; the options that say so.
fn write_certificate(dir: &Path, (certificate, key): &(String, String)) -> Result<Vec<String>> {
    let files = [
        ("certPath", "server.pem", certificate),
        ("keyPath", "server.key", key),
    ];
    let mut options = vec!["-Dtls.test.mode.enable=false".to_owned()];
    for (option, name, pem) in files {
        let file = dir.join(name);
        std::fs::write(&file, pem)?;
        options.push(format!("-Dtls.server.{option}={}", file.display()));
    }
    Ok(options)
}
