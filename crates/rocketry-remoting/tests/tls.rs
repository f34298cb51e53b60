//! TLS over loopback sockets: who gets in, and what those who do not are told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here fails the test"
)]

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rocketry_protocol::{RemotingCommand, ResponseCode};
use rocketry_remoting::{
    ClientAuth, ConnectOptions, Connections, Dial, DialFuture, Dialed, Error, ErrorKind, Handler,
    Listener, ListenerOptions, Responder, TlsAcceptor, TlsConfig, TlsFailure, TlsMode,
    TlsServerConfig, Unsupported,
};
use support::{Peer, request, within};
use tokio::net::{TcpListener, TcpStream};

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

struct Echo;

impl Handler for Echo {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body(request.body));
    }
}

/// An authority that signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A name that no other authority has.
fn name_after(key: &KeyPair) -> String {
    format!("authority {:02x?}", &key.public_key_raw()[1..9])
}

/// PEM texts.
#[derive(Clone)]
struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // authorities of one name would be taken for each other until a signature fails
        let name = name_after(&key);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// For a server of these names.
    fn server(&self, names: &[&str]) -> Identity {
        self.sign(&params(names))
    }

    fn client(&self) -> Identity {
        let mut params = params(&[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

/// A certificate that says it is an authority's, as those of `openssl req -x509` do.
fn self_signed(names: &[&str], expired: bool) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = params(names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    if expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    Identity {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

impl Identity {
    fn config(&self, mode: TlsMode) -> TlsServerConfig {
        TlsServerConfig::from_pem(self.certificate.clone(), self.key.clone()).mode(mode)
    }

    fn acceptor(&self, mode: TlsMode) -> TlsAcceptor {
        self.config(mode).build().unwrap()
    }
}

fn listen(tls: Option<TlsAcceptor>) -> (Listener, String) {
    let mut options = ListenerOptions::default();
    options.tls = tls;
    let listener = Listener::bind(LOOPBACK, options, Arc::new(Echo)).unwrap();
    let addr = listener.local_addr().to_string();
    (listener, addr)
}

fn client(tls: Option<TlsConfig>) -> Connections {
    let mut options = ConnectOptions::default();
    options.tls = tls.map(|tls| tls.build().unwrap());
    Connections::new(options, Arc::new(Unsupported))
}

async fn echo(tls: Option<TlsConfig>, addr: &str) -> Result<(), Error> {
    // more than one record, and more than one read
    let body = vec![7; 300_000];
    let client = client(tls);
    let response = client
        .call(addr, request(body.clone()), within(10_000))
        .await?;
    assert_eq!(response.body, body);
    let connection = client.get(addr, within(1000)).await?;
    client.close_all().await;
    assert!(
        connection
            .close_reason()
            .unwrap()
            .to_string()
            .contains("client was closed"),
        "an orderly end"
    );
    Ok(())
}

async fn fails(tls: Option<TlsConfig>, addr: &str) -> Error {
    echo(tls, addr).await.expect_err("a failure")
}

/// P-148
#[tokio::test]
async fn trusted_servers_are_spoken_to() {
    let authority = Authority::new();
    let by_address = authority.server(&["127.0.0.1"]);
    let by_name = authority.server(&["broker.test"]);
    let own = self_signed(&["127.0.0.1"], false);
    let trusting = || TlsConfig::new().ca_pem(authority.pem.clone());
    for (what, server, tls) in [
        ("an address and no SNI", &by_address, trusting()),
        (
            "an expected name",
            &by_name,
            trusting().server_name("broker.test"),
        ),
        (
            "a certificate of its own",
            &own,
            trusting().ca_pem(own.certificate.clone()),
        ),
        (
            "any certificate",
            &self_signed(&[], true),
            TlsConfig::new().dangerous_accept_any_certificate(),
        ),
    ] {
        for mode in [TlsMode::Permissive, TlsMode::Enforcing] {
            let (listener, addr) = listen(Some(server.acceptor(mode)));
            let done = echo(Some(tls.clone()), &addr).await;
            assert!(done.is_ok(), "{what}, {mode:?}: {done:?}");
            listener.shutdown(within(1000)).await;
        }
    }
    let (_listener, addr) = listen(Some(by_address.acceptor(TlsMode::Permissive)));
    echo(None, &addr).await.expect("a plain connection");
}

/// P-148
#[tokio::test]
async fn servers_that_are_not_trusted_are_told_apart() {
    let authority = Authority::new();
    let good = authority.server(&["127.0.0.1"]);
    let named = authority.server(&["broker.test"]);
    let mut old = params(&["127.0.0.1"]);
    old.not_before = date_time_ymd(2020, 1, 1);
    old.not_after = date_time_ymd(2021, 1, 1);
    let old = authority.sign(&old);
    let own_old = self_signed(&["127.0.0.1"], true);
    let own_named = self_signed(&["broker.test"], false);
    let trusting = || TlsConfig::new().ca_pem(authority.pem.clone());
    for (server, tls, failure, hint) in [
        (
            &good,
            TlsConfig::new().ca_pem(Authority::new().pem),
            TlsFailure::UntrustedCertificate,
            "ca_file",
        ),
        (&named, trusting(), TlsFailure::WrongHostName, "server_name"),
        (
            &good,
            trusting().server_name("broker.test"),
            TlsFailure::WrongHostName,
            "server_name",
        ),
        (&old, trusting(), TlsFailure::Expired, "renew"),
        (
            &own_old,
            TlsConfig::new().ca_pem(own_old.certificate.clone()),
            TlsFailure::Expired,
            "renew",
        ),
        (
            &own_named,
            TlsConfig::new().ca_pem(own_named.certificate.clone()),
            TlsFailure::WrongHostName,
            "server_name",
        ),
    ] {
        let (_listener, addr) = listen(Some(server.acceptor(TlsMode::Enforcing)));
        let error = fails(Some(tls), &addr).await;
        assert_eq!(
            (error.kind(), error.tls_failure()),
            (ErrorKind::Connect, Some(failure)),
            "{error}"
        );
        assert!(error.hint().contains(hint), "{}", error.hint());
        assert!(!error.maybe_delivered());
    }
}

/// Leads every name to one address.
#[derive(Debug)]
struct Tunnel(String);

impl Dial for Tunnel {
    fn dial<'a>(&'a self, _: &'a str) -> DialFuture<'a> {
        Box::pin(async {
            let stream = TcpStream::connect(&self.0).await?;
            let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
            Ok(Dialed::new(stream, peer, local))
        })
    }
}

#[tokio::test]
async fn a_tunnel_carries_tls_for_the_name_that_was_asked_for() {
    let authority = Authority::new();
    let server = authority.server(&["broker.test"]);
    let (_listener, addr) = listen(Some(server.acceptor(TlsMode::Enforcing)));
    let mut options = ConnectOptions::default();
    options.dialer = Some(Arc::new(Tunnel(addr)));
    let tls = TlsConfig::new().ca_pem(authority.pem);
    options.tls = Some(tls.build().unwrap());
    let client = Connections::new(options, Arc::new(Unsupported));
    let call = |addr| client.call(addr, request("x"), within(10_000));
    assert_eq!(call("broker.test:10911").await.unwrap().body, "x");
    let error = call("other.test:10911").await.expect_err("another name");
    assert_eq!(error.tls_failure(), Some(TlsFailure::WrongHostName));
}

#[tokio::test]
async fn clients_show_a_certificate_where_one_is_wanted() {
    let authority = Authority::new();
    let server = authority.server(&["127.0.0.1"]);
    let own = authority.client();
    let foreign = Authority::new().client();
    let with = |client: Option<&Identity>| {
        let tls = TlsConfig::new().ca_pem(authority.pem.clone());
        match client {
            Some(client) => {
                tls.client_certificate_pem(client.certificate.clone(), client.key.clone())
            }
            None => tls,
        }
    };
    let guarded = |auth| {
        let config = server.config(TlsMode::Enforcing);
        let config = config.client_ca_pem(authority.pem.clone(), auth);
        listen(Some(config.build().unwrap()))
    };
    let (_required, addr) = guarded(ClientAuth::Required);
    echo(Some(with(Some(&own))), &addr).await.unwrap();
    let error = fails(Some(with(None)), &addr).await;
    assert_eq!(
        error.tls_failure(),
        Some(TlsFailure::ClientCertificateRequired),
        "{error}"
    );
    assert!(error.hint().contains("client_certificate_files"));
    let error = fails(Some(with(Some(&foreign))), &addr).await;
    assert_eq!(
        error.tls_failure(),
        Some(TlsFailure::ClientCertificateRefused),
        "{error}"
    );
    let (_optional, addr) = guarded(ClientAuth::Optional);
    echo(Some(with(None)), &addr).await.unwrap();
    echo(Some(with(Some(&own))), &addr).await.unwrap();
    let error = fails(Some(with(Some(&foreign))), &addr).await;
    assert_eq!(
        error.tls_failure(),
        Some(TlsFailure::ClientCertificateRefused),
        "{error}"
    );
}

#[tokio::test]
async fn a_mismatch_of_tls_and_plain_is_recognised() {
    let server = Authority::new().server(&["127.0.0.1"]);
    let any = || Some(TlsConfig::new().dangerous_accept_any_certificate());
    let (_plain, addr) = listen(None);
    let error = fails(any(), &addr).await;
    assert_eq!(
        (error.kind(), error.tls_failure()),
        (ErrorKind::Connect, Some(TlsFailure::NotTls)),
        "{error}"
    );
    let (_secured, addr) = listen(Some(server.acceptor(TlsMode::Enforcing)));
    let error = fails(None, &addr).await;
    assert_eq!(
        (error.kind(), error.tls_failure()),
        (ErrorKind::Closed, None)
    );
    assert!(error.hint().contains("TLS"), "{error}");
}

/// A server of another kind answers with something else, or not at all: the handshake is part of connecting, and of its time.
#[tokio::test]
async fn the_handshake_ends_within_the_connect_timeout() {
    let mute = TcpListener::bind(LOOPBACK).await.unwrap();
    let mut options = ConnectOptions::default();
    options.connect_timeout = Duration::from_millis(200);
    let tls = TlsConfig::new().dangerous_accept_any_certificate();
    options.tls = Some(tls.build().unwrap());
    let client = Connections::new(options, Arc::new(Unsupported));
    let addr = mute.local_addr().unwrap().to_string();
    let error = client
        .call(&addr, request("x"), within(10_000))
        .await
        .expect_err("no handshake");
    assert_eq!(
        (error.kind(), error.tls_failure()),
        (ErrorKind::Connect, Some(TlsFailure::NotTls)),
        "{error}"
    );
    assert!(error.elapsed() < Duration::from_secs(5), "{error}");
}

#[tokio::test]
async fn peers_that_do_not_finish_a_handshake_are_let_go() {
    let server = Authority::new().server(&["127.0.0.1"]);
    let impatient = server
        .config(TlsMode::Enforcing)
        .handshake_timeout(Duration::from_millis(100));
    let (_listener, addr) = listen(Some(impatient.build().unwrap()));
    let mut mute = Peer::new(TcpStream::connect(&addr).await.unwrap());
    assert!(mute.sees_end().await);
    let mut half = Peer::new(TcpStream::connect(&addr).await.unwrap());
    half.raw(&[0x16, 3, 1]).await;
    assert!(half.sees_end().await);

    let impatient = server
        .config(TlsMode::Permissive)
        .handshake_timeout(Duration::from_millis(100));
    let mut options = ListenerOptions::default();
    options.connection.idle_timeout = Some(Duration::from_millis(300));
    options.tls = Some(impatient.build().unwrap());
    let listener = Listener::bind(LOOPBACK, options, Arc::new(Echo)).unwrap();
    let addr = listener.local_addr();
    let mut mute = Peer::new(TcpStream::connect(addr).await.unwrap());
    let mut half = Peer::new(TcpStream::connect(addr).await.unwrap());
    half.raw(&[0x16]).await;
    assert!(half.sees_end().await && mute.sees_end().await);
}

#[tokio::test]
async fn connections_that_have_said_nothing_count_and_end_with_the_listener() {
    let server = Authority::new().server(&["127.0.0.1"]);
    let mut options = ListenerOptions::default();
    options.max_connections = 2;
    options.tls = Some(server.acceptor(TlsMode::Permissive));
    let listener = Listener::bind(LOOPBACK, options, Arc::new(Echo)).unwrap();
    let addr = listener.local_addr();
    let mut first = Peer::new(TcpStream::connect(addr).await.unwrap());
    let mut second = Peer::new(TcpStream::connect(addr).await.unwrap());
    let mut third = Peer::new(TcpStream::connect(addr).await.unwrap());
    assert!(third.sees_end().await);
    first.send(&request("late")).await;
    assert_eq!(first.request().await.body, "late");
    listener.shutdown(within(60_000)).await;
    assert!(first.sees_end().await && second.sees_end().await);
}

#[tokio::test]
async fn keys_come_in_three_forms() {
    for (certificate, key) in [
        ("rsa.pem", "rsa-pkcs1.key"),
        ("ec.pem", "ec-sec1.key"),
        ("ec.pem", "ec-pkcs8.key"),
    ] {
        let tls = TlsServerConfig::from_files(fixture(certificate), fixture(key));
        let (_listener, addr) = listen(Some(tls.build().unwrap()));
        let tls = TlsConfig::new().ca_file(fixture(certificate));
        let done = echo(Some(tls), &addr).await;
        assert!(done.is_ok(), "{key}: {done:?}");
    }
}

#[test]
fn every_fault_of_a_configuration_is_reported_at_once() {
    let faults = |tls: &TlsConfig| tls.build().expect_err("faults").faults().join("\n");
    let text = faults(
        &TlsConfig::new()
            .ca_file("/nonexistent/ca.pem")
            .client_certificate_files(fixture("ec-sec1.key"), fixture("ec-encrypted.key"))
            .server_name("a b"),
    );
    for fault in [
        "ca /nonexistent/ca.pem: No such file",
        "holds no certificate",
        "the key is encrypted",
        "server_name \"a b\"",
    ] {
        assert!(text.contains(fault), "{fault} is missing in {text}");
    }
    let text = faults(
        &TlsConfig::new()
            .ca_file(fixture("ec.pem"))
            .dangerous_accept_any_certificate(),
    );
    assert!(text.contains("exclude each other"), "{text}");
    let foreign = TlsConfig::new()
        .ca_file(fixture("ec.pem"))
        .client_certificate_files(fixture("ec.pem"), fixture("rsa-pkcs1.key"));
    assert!(
        faults(&foreign).contains("client certificate"),
        "{}",
        faults(&foreign)
    );

    let server = TlsServerConfig::from_pem("", "")
        .client_ca_pem("", ClientAuth::Required)
        .handshake_timeout(Duration::ZERO);
    let error = server.build().expect_err("faults");
    assert_eq!(error.faults().len(), 4, "{error}");
    let printed = format!("{:?}", TlsServerConfig::from_pem("cert", "secret"));
    assert!(!printed.contains("secret"), "{printed}");
}

fn fixture(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/keys")
        .join(name)
}
