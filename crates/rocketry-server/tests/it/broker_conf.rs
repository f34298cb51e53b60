//! A server with the settings of a `broker.conf`.

use std::{sync::Arc, time::Duration};

use rocketry_protocol::{
    RemotingCommand, RequestCode, acl::sign, body, body::access::UserInfo, body::route::ClusterInfo,
};
use rocketry_remoting::{ConnectOptions, Connections, Deadline, Unsupported};
use rocketry_server::{Credentials, Role, Server, ServerConfig};

use crate::common::TIMEOUT;

fn with(text: &str) -> ServerConfig {
    let mut config = ServerConfig::temp();
    let ignored = config.apply_broker_conf(text).unwrap();
    assert!(ignored.is_empty(), "{ignored:?}");
    config
}

async fn ask(addr: &str, code: RequestCode, (name, secret): (&str, &str)) -> RemotingCommand {
    let client = Connections::new(ConnectOptions::default(), Arc::new(Unsupported));
    let mut command = RemotingCommand::bare_request(code);
    let user = Credentials {
        access_key: name.to_owned(),
        secret_key: secret.to_owned(),
        security_token: None,
    };
    sign(&mut command, &user);
    let response = client.call(addr, command, Deadline::after(TIMEOUT)).await;
    client.close_all().await;
    response.unwrap()
}

/// As whom a broker of Apache's registers, ours registers with the same file; and it is a super user of the broker itself, beside the
/// one that is made to begin with.
#[tokio::test]
async fn a_broker_registers_as_its_file_says() {
    const USERS: &str = "authenticationEnabled=true\n\
         initAuthenticationUser={\"username\":\"root\",\"password\":\"root-secret\"}\n";
    const INNER: &str = "innerClientAuthenticationCredentials=";
    let inner = r#"{"accessKey":"inner","secretKey":"inner-secret"}"#;
    let mut config = with(&format!("{USERS}{INNER}{inner}\n"));
    config.role = Role::NameServer;
    let name_server = Server::start(config).await.unwrap();
    let ns = name_server.namesrv_addr().to_owned();
    let root = ("root", "root-secret");
    let is_registered = async || {
        let response = ask(&ns, RequestCode::GET_BROKER_CLUSTER_INFO, root).await;
        let info: ClusterInfo = body::decode(&response.body).unwrap();
        !info.broker_addr_table.is_empty()
    };

    let stranger = with(&format!("{USERS}listenPort=0\nnamesrvAddr={ns}\n"));
    let stranger = Server::start(stranger).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!is_registered().await);
    stranger.shutdown(TIMEOUT).await.unwrap();

    let text = format!("{USERS}{INNER}{inner}\nlistenPort=0\nnamesrvAddr={ns}\n");
    let broker = Server::start(with(&text)).await.unwrap();
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while !is_registered().await {
        assert!(tokio::time::Instant::now() < deadline, "not registered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let users = RequestCode::AUTH_LIST_USER;
    for (user, code) in [
        (root, 0),
        (("inner", "inner-secret"), 0),
        (("inner", "root-secret"), 16),
    ] {
        let response = ask(broker.broker_addr(), users, user).await;
        assert_eq!(response.code, code, "{user:?}: {:?}", response.remark);
    }
    let response = ask(broker.broker_addr(), users, root).await;
    let users: Vec<UserInfo> = body::decode(&response.body).unwrap();
    let names: Vec<_> = users
        .iter()
        .map(|user| (&*user.username, user.user_type.as_deref()))
        .collect();
    assert_eq!(names, [("inner", Some("Super")), ("root", Some("Super"))]);
    broker.shutdown(TIMEOUT).await.unwrap();
    name_server.shutdown(TIMEOUT).await.unwrap();
}
