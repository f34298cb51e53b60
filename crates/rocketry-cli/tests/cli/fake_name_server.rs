//! A name server that says what a test wants, and a peer that says nothing at all.

use std::sync::Arc;

use rocketry_protocol::{RemotingCommand, RequestCode, ResponseCode};
use rocketry_remoting::{Handler, Listener, ListenerOptions, Responder};
use serde_json::json;
use tokio::net::TcpListener;

/// Knows one broker, or none.
pub struct FakeNameServer {
    listener: Listener,
}

impl FakeNameServer {
    /// Routes every topic to this broker address.
    pub fn routing_to(broker: &str) -> Self {
        Self::start(Some(broker.to_owned()))
    }

    /// Knows no topic and no broker.
    pub fn empty() -> Self {
        Self::start(None)
    }

    fn start(broker: Option<String>) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(
            any,
            ListenerOptions::default(),
            Arc::new(Answers { broker }),
        )
        .unwrap();
        Self { listener }
    }

    pub fn address(&self) -> String {
        self.listener.local_addr().to_string()
    }
}

struct Answers {
    broker: Option<String>,
}

impl Handler for Answers {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        let broker = self.broker.as_deref();
        let response = match (request.code, broker) {
            (code, Some(broker)) if code == RequestCode::GET_ROUTEINFO_BY_TOPIC.0 => {
                RemotingCommand::response(ResponseCode::SUCCESS).with_body(
                    json!({
                        "brokerDatas": [{"brokerAddrs": {"0": broker}, "brokerName": "broker-a", "cluster": "DefaultCluster"}],
                        "filterServerTable": {},
                        "queueDatas": [
                            {"brokerName": "broker-a", "perm": 6, "readQueueNums": 4, "writeQueueNums": 4, "topicSysFlag": 0}
                        ],
                    })
                    .to_string(),
                )
            }
            (code, None) if code == RequestCode::GET_ROUTEINFO_BY_TOPIC.0 => {
                RemotingCommand::response(ResponseCode::TOPIC_NOT_EXIST).with_remark("No topic route info in name server")
            }
            _ => RemotingCommand::response(ResponseCode::SUCCESS).with_body(
                json!({"brokerAddrTable": {}, "clusterAddrTable": {}}).to_string(),
            ),
        };
        responder.respond(response);
    }
}

/// Accepts connections, reads nothing, answers nothing. The backlog of the listener is enough for that.
pub struct Silent {
    listener: TcpListener,
}

impl Silent {
    pub async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }
}
