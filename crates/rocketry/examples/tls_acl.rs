//! Connects over TLS, as a user whose requests are signed, and sends.
//!
//! `TLS_CA=cert.pem cargo run -p rocketry --example tls_acl [TOPIC]`, with a server from
//! `rocketry serve --tls-cert cert.pem --tls-key key.pem`, or the one in NAMESRV_ADDR. ACCESS_KEY and SECRET_KEY name the user.

use std::time::Duration;

use rocketry::{Client, Message, NameServers, TlsConfig};

#[tokio::main]
async fn main() -> Result<(), rocketry::Error> {
    let variable = |name: &str| std::env::var(name).ok();
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "TopicTest".to_owned());

    // servers are verified: against this authority, else against those that the system trusts
    let tls = match variable("TLS_CA") {
        Some(file) => TlsConfig::new().ca_file(file),
        None => TlsConfig::new(),
    };
    let client = Client::connect(NameServers::from_env())
        .tls(tls.clone())
        .credentials(
            variable("ACCESS_KEY").unwrap_or_else(|| "rocketmq".to_owned()),
            variable("SECRET_KEY").unwrap_or_else(|| "12345678".to_owned()),
        )
        .await?;
    let producer = client.producer("example").await?;
    for n in 0..3 {
        let result = producer
            .send(Message::new(&*topic, format!("secret {n}")))
            .await?;
        eprintln!("{} {}", result.status, result.msg_id);
    }
    client.shutdown(Duration::from_secs(3)).await;

    // nothing falls back to plain connections, and the error says what to do: expect a name that no certificate holds
    let stranger = Client::connect(NameServers::from_env())
        .tls(tls.server_name("stranger.test"))
        .await?;
    if let Err(error) = stranger
        .producer("example")
        .await?
        .send(Message::new(&*topic, "x"))
        .await
    {
        eprintln!("{error}");
    }
    Ok(())
}
