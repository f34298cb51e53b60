//! Registering the broker with name servers that run elsewhere: at start, when topics change, every 30 s, and leaving at stop.
//!
//! Java: `BrokerOuterAPI.registerBrokerAll`, `BrokerController.start`. Differs from Java: the first registration is immediate.

use std::{sync::Arc, time::Duration};

use rocketry_protocol::{
    EncodeError, RemotingCommand, body,
    body::{registration::RegisterBrokerBody, topics::TopicConfigAndMappingSerializeWrapper},
    hash::crc32,
    header::{RegisterBrokerRequest, UnregisterBrokerRequest},
};
use rocketry_remoting::{ConnectOptions, Connections, Deadline, Unsupported};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;

/// Time between two registrations. Java: `registerNameServerPeriod`.
const EVERY: Duration = Duration::from_secs(30);

/// Time between two attempts while a name server does not answer.
const RETRY_EVERY: Duration = Duration::from_secs(3);

/// Longest time for one registration.
const TIMEOUT: Duration = Duration::from_secs(6);

/// The connections to the name servers.
#[derive(Debug)]
pub(crate) struct Registration {
    connections: Connections,
    name_servers: Vec<String>,
}

impl Registration {
    pub(crate) fn new(name_servers: Vec<String>) -> Self {
        Self {
            connections: Connections::new(ConnectOptions::default(), Arc::new(Unsupported)),
            name_servers,
        }
    }

    /// Registers again and again until `stop`, then leaves.
    pub(crate) async fn run(self, broker: Arc<Broker>, stop: CancellationToken) {
        loop {
            let all = self.register_all(&broker).await;
            let wait = if all { EVERY } else { RETRY_EVERY };
            tokio::select! {
                () = stop.cancelled() => break,
                () = broker.topics_changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.unregister_all(&broker).await;
        self.connections.close_all().await;
    }

    /// Returns whether every name server took it.
    async fn register_all(&self, broker: &Broker) -> bool {
        let command = match registration(broker) {
            Ok(command) => command,
            Err(error) => {
                tracing::error!(%error, "the topics cannot be registered");
                return false;
            }
        };
        let mut all = true;
        for addr in &self.name_servers {
            let call = self
                .connections
                .call(addr, command.clone(), Deadline::after(TIMEOUT));
            match call.await {
                Ok(response) if response.code == 0 => {}
                Ok(response) => {
                    all = false;
                    let (code, remark) = (response.code, response.remark.unwrap_or_default());
                    tracing::warn!(
                        addr,
                        code,
                        remark,
                        "the name server refused the registration"
                    );
                }
                Err(error) => {
                    all = false;
                    tracing::warn!(addr, %error, "not registered with the name server");
                }
            }
        }
        all
    }

    async fn unregister_all(&self, broker: &Broker) {
        let identity = &broker.identity;
        let command = RemotingCommand::request(&UnregisterBrokerRequest {
            broker_name: &identity.broker_name,
            broker_addr: &identity.addr,
            cluster_name: &identity.cluster,
            broker_id: 0,
        });
        for addr in &self.name_servers {
            let call = self
                .connections
                .call(addr, command.clone(), Deadline::after(TIMEOUT));
            if let Err(error) = call.await {
                tracing::warn!(addr, %error, "not unregistered from the name server");
            }
        }
    }
}

/// Always the whole table: a name server refuses a broker that it does not know and that registers one topic.
fn registration(broker: &Broker) -> Result<RemotingCommand, EncodeError> {
    let topics = broker.topics().snapshot();
    let body = body::encode(&RegisterBrokerBody {
        topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper {
            data_version: topics.data_version,
            topic_config_table: topics.topic_config_table,
            ..TopicConfigAndMappingSerializeWrapper::default()
        },
        ..RegisterBrokerBody::default()
    })?;
    let identity = &broker.identity;
    Ok(RemotingCommand::request(&RegisterBrokerRequest {
        broker_name: &identity.broker_name,
        broker_addr: &identity.addr,
        cluster_name: &identity.cluster,
        ha_server_addr: &identity.ha_addr,
        broker_id: 0,
        heartbeat_timeout_millis: None,
        enable_acting_master: Some(false),
        compressed: false,
        body_crc32: crc32(&body),
    })
    .with_body(body))
}
