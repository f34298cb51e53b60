//! TLS, accounts and namespaces from the shell.

use crate::support::{Served, command, run, run_command};

/// A certificate for 127.0.0.1, and its key.
const CERT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../rocketry-remoting/tests/keys/ec.pem"
);
const KEY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../rocketry-remoting/tests/keys/ec-pkcs8.key"
);

async fn secured(mode: &str) -> Served {
    Served::start(&[
        "--temp",
        "--tls-cert",
        CERT,
        "--tls-key",
        KEY,
        "--tls-mode",
        mode,
    ])
    .await
}

/// P-148
#[tokio::test]
async fn a_server_over_tls_is_reached_by_who_trusts_it() {
    let server = secured("enforcing").await;
    let send = ["send", "T", "hello"];
    server
        .run(&[&send[..], &["--tls-ca", CERT]].concat())
        .await
        .ok();
    server
        .run(&[&send[..], &["--tls-insecure"]].concat())
        .await
        .ok();
    let read = [
        "consume", "T", "--count", "2", "--output", "raw", "--tls-ca", CERT,
    ];
    assert_eq!(server.run(&read).await.ok().text(), "hello\nhello\n");

    let plain = server.run(&send).await;
    plain.fails_with(1, &["TLS"]);
    let wary = server.run(&[&send[..], &["--tls"]].concat()).await;
    wary.fails_with(1, &["TLS", "ca_file"]);
    let wrong = ["--tls-ca", CERT, "--tls-server-name", "other.example"];
    let wrong = server.run(&[&send[..], &wrong].concat()).await;
    wrong.fails_with(1, &["server_name"]);

    // the variable does as well, and a plain client needs nothing where both are served
    let both = secured("permissive").await;
    let mut trusting = command(&["send", "T", "hello", "--namesrv", &both.namesrv]);
    trusting.env("ROCKETRY_TLS_CA", CERT);
    run_command(trusting, b"").await.ok();
    both.run(&send).await.ok();
}

#[tokio::test]
async fn options_that_do_not_go_together_are_refused() {
    for (args, texts) in [
        (
            &["serve", "--temp", "--tls-mode", "enforcing"][..],
            &["--tls-cert"][..],
        ),
        (
            &["serve", "--temp", "--tls-cert", CERT],
            &["--tls-cert without --tls-key"],
        ),
        (
            &["send", "T", "x", "--tls-key", KEY],
            &["--tls-key without --tls-cert"],
        ),
        (
            &["send", "T", "x", "--access-key", "me"],
            &["--access-key without --secret-key"],
        ),
    ] {
        run(args).await.fails_with(2, texts);
    }
    for option in [
        &["--tls-ca", CERT][..],
        &["--tls-insecure"],
        &["--tls-server-name", "x"],
        &["--access-key", "me", "--secret-key", "secret"],
        &["--namespace", "one"],
    ] {
        run(&[&["serve", "--temp"], option].concat())
            .await
            .fails_with(2, &[option[0], "not of serve"]);
    }
    let unserved = ["serve", "--temp", "--tls-client-ca", CERT];
    run(&unserved).await.fails_with(2, &["--tls-cert"]);
    let unreadable = [
        "serve",
        "--temp",
        "--tls-cert",
        "/nonexistent",
        "--tls-key",
        KEY,
    ];
    run(&unreadable).await.fails_with(1, &["/nonexistent"]);
    let insecure = ["send", "T", "x", "--tls-insecure", "--tls-ca", CERT];
    run(&insecure).await.fails_with(2, &["exclude each other"]);
}

/// P-020
#[tokio::test]
async fn a_namespace_separates_topics_of_one_name() {
    let server = Served::temp().await;
    let args = [
        "--namespace",
        "one",
        "--access-key",
        "me",
        "--secret-key",
        "secret",
    ];
    server
        .run(&[&["send", "T", "hello"], &args[..]].concat())
        .await
        .ok();
    let topics = server.run(&["topic", "list"]).await.ok().text();
    assert!(topics.contains("one%T"), "{topics}");
    let read = ["consume", "T", "--count", "1", "--output", "raw"];
    let read = server.run(&[&read[..], &args].concat()).await.ok();
    assert_eq!(read.text(), "hello\n");
}

#[tokio::test]
async fn a_server_asks_clients_for_a_certificate_if_told_to() {
    let options = ["--temp", "--tls-cert", CERT, "--tls-key", KEY];
    let server = Served::start(&[&options[..], &["--tls-client-ca", CERT]].concat()).await;
    let send = ["send", "T", "hello", "--tls-ca", CERT];
    let nameless = server.run(&send).await;
    nameless.fails_with(1, &["client_certificate_files"]);
    let stranger = ["--tls-cert", CERT, "--tls-key", KEY];
    let stranger = server.run(&[&send[..], &stranger].concat()).await;
    stranger.fails_with(1, &["does not trust this client's certificate"]);

    // What is set for clients is nothing to the server.
    let mut command = command(&["serve", "--namesrv-port", "0", "--broker-port", "0"]);
    command
        .args(options)
        .env("ROCKETRY_TLS_CA", CERT)
        .env("ROCKETRY_ACCESS_KEY", "me")
        .env("ROCKETRY_NAMESPACE", "one");
    let server = Served::start_command(command).await;
    server.run(&send).await.ok();
}

#[tokio::test]
async fn old_names_of_commands_get_in_the_same_way() {
    let server = secured("enforcing").await;
    let create = [
        "--tls-ca",
        CERT,
        "--namespace",
        "one",
        "mqadmin",
        "updateTopic",
        "-t",
        "T",
        "-c",
        "DefaultCluster",
        "-n",
        &server.namesrv,
    ];
    run(&create).await.ok();
    let topics = server.run(&["topic", "list", "--tls-ca", CERT]).await.ok();
    assert!(topics.text().contains("one%T"), "{}", topics.text());
}

#[tokio::test]
async fn secrets_are_not_shown_in_help() {
    let mut help = command(&["send", "--help"]);
    help.env("ROCKETRY_SECRET_KEY", "s3cr3t");
    let help = run_command(help, b"").await.ok().text();
    assert!(
        help.contains("ROCKETRY_SECRET_KEY") && !help.contains("s3cr3t"),
        "{help}"
    );
}

#[tokio::test]
async fn a_made_up_certificate_serves_development() {
    let served = Served::start(&["--temp", "--tls-dev", "--tls-mode", "enforcing"]).await;
    let ca = format!("{}/config/rocketry-dev-ca.pem", served.data);
    served
        .run(&["send", "T", "hello", "--tls-ca", &ca])
        .await
        .ok();
    let localhost = ["--tls-ca", &ca, "--tls-server-name", "localhost"];
    served
        .run(&[&["send", "T", "hello"][..], &localhost].concat())
        .await
        .ok();
    served
        .run(&["send", "T", "hello"])
        .await
        .fails_with(1, &["TLS"]);
    // Another start, another authority.
    let other = Served::start(&["--temp", "--tls-dev"]).await;
    let stranger = other.run(&["send", "T", "hello", "--tls-ca", &ca]).await;
    stranger.fails_with(1, &["certificate"]);
    let own = [
        "serve",
        "--temp",
        "--tls-dev",
        "--tls-cert",
        CERT,
        "--tls-key",
        KEY,
    ];
    run(&own).await.fails_with(2, &["--tls-dev"]);
}

#[tokio::test]
async fn a_broker_registers_over_tls_as_a_user() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "hush").unwrap();
    let secret = secret.to_str().unwrap();
    let tls = ["--temp", "--tls-dev", "--tls-mode", "enforcing"];
    let users = [
        "--auth",
        "--init-user",
        "root",
        "--init-secret-file",
        secret,
    ];
    let name_server = Served::start(&[&tls[..], &users].concat()).await;
    let ca = format!("{}/config/rocketry-dev-ca.pem", name_server.data);
    let access = [
        "--tls-ca",
        &ca,
        "--access-key",
        "root",
        "--secret-key",
        "hush",
    ];
    let broker = [
        "--temp",
        "--broker-name",
        "broker-b",
        "--namesrv",
        &name_server.namesrv,
    ];
    let broker = Served::start(&[&broker[..], &access].concat()).await;
    let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
    loop {
        let list = name_server
            .run(&[&["cluster", "list"][..], &access].concat())
            .await;
        if list.text().contains(&broker.broker) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", list.stderr);
    }
}
