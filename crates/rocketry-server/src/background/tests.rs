use rocketry_protocol::{
    RemotingCommand, RequestCode, body,
    body::heartbeat::{HeartbeatData, ProducerData},
};
use rocketry_remoting::{ConnectOptions, Connections, Deadline, Unsupported};

use super::*;
use crate::{clients::CLIENT_EXPIRY_MS, serve::Server};

/// S-066: the connection of a client without heartbeats is closed, whatever else it does, and its groups end with it.
#[tokio::test]
async fn s066_a_silent_client_is_put_out() {
    let server = Server::start_temp().await.unwrap();
    let broker = Arc::clone(&server.running_broker().unwrap().broker);
    let client = Connections::new(ConnectOptions::default(), Arc::new(Unsupported));
    let deadline = || Deadline::after(Duration::from_secs(10));
    let connection = client.get(server.broker_addr(), deadline()).await.unwrap();
    let beat = HeartbeatData {
        client_id: "silent".to_owned(),
        producer_data_set: vec![ProducerData {
            group_name: "P".to_owned(),
        }],
        ..HeartbeatData::default()
    };
    let command = RemotingCommand::bare_request(RequestCode::HEART_BEAT)
        .with_body(body::encode(&beat).unwrap());
    let reply = connection.call(command, deadline()).await.unwrap();
    assert_eq!(reply.code, 0, "{:?}", reply.remark);
    let is_known = || broker.clients.lock().producers_of("P").count() == 1;

    let beaten_ms = clock::wall_ms();
    close_silent(&broker, beaten_ms + CLIENT_EXPIRY_MS - 60_000);
    assert!(is_known() && !connection.is_closed());
    close_silent(&broker, beaten_ms + CLIENT_EXPIRY_MS + 1);
    let closed = async {
        connection.closed().await;
        while is_known() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed)
        .await
        .unwrap();
    server.shutdown(Duration::from_secs(10)).await.unwrap();
}
