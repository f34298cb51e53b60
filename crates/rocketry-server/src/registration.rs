//! Registering the broker with name servers that run elsewhere: at start, when topics change, every 30 s, at once when a connection
//! ends (a name server forgets a broker whose connection is gone), and leaving at stop.
//!
//! Each name server has a task of its own, so that one which does not answer delays none of the others.
//! Java: `BrokerOuterAPI.registerBrokerAll`, `BrokerController.start`. Differs from Java: the first registration is immediate, and the
//! table of all topics is sent only where the name server does not have it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rocketry_protocol::{
    EncodeError, RemotingCommand, ResponseCode, acl, body,
    body::{
        DataVersion,
        registration::RegisterBrokerBody,
        topics::{TopicConfig, TopicConfigAndMappingSerializeWrapper},
    },
    hash::crc32,
    header::{
        QueryDataVersionReply, QueryDataVersionRequest, RegisterBrokerRequest,
        UnregisterBrokerRequest,
    },
};
use rocketry_remoting::{ConnectOptions, Connection, Connections, Deadline, Unsupported};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;

/// Time between two registrations. Java: `registerNameServerPeriod`.
const EVERY: Duration = Duration::from_secs(30);

/// Time between two attempts while a name server does not answer.
const RETRY_EVERY: Duration = Duration::from_secs(3);

/// Longest time for one registration.
const TIMEOUT: Duration = Duration::from_secs(6);

/// Longest time to leave a name server at stop; it would notice the end of the connection by itself.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between two log lines about a name server that still does not answer.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// Most changed topics that are sent one by one; beyond it the whole table goes.
const MAX_CHANGES: usize = 512;

/// The topics that changed since each name server was last told.
#[derive(Debug)]
pub(crate) struct TopicChanges {
    name_servers: Vec<Changes>,
}

#[derive(Debug, Default)]
struct Changes {
    pending: Mutex<Pending>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    topics: BTreeSet<String>,
    /// More than can be named.
    all: bool,
}

impl TopicChanges {
    pub(crate) fn new(name_servers: usize) -> Self {
        Self {
            name_servers: std::iter::repeat_with(Changes::default)
                .take(name_servers)
                .collect(),
        }
    }

    /// A topic was made, changed or deleted.
    pub(crate) fn note(&self, topic: &str) {
        for changes in &self.name_servers {
            let mut pending = changes.pending.lock();
            if pending.topics.len() < MAX_CHANGES {
                pending.topics.insert(topic.to_owned());
            } else {
                pending.all = true;
            }
            drop(pending);
            changes.bell.notify_one();
        }
    }

    /// Something changed that concerns every topic.
    pub(crate) fn note_all(&self) {
        for changes in &self.name_servers {
            changes.pending.lock().all = true;
            changes.bell.notify_one();
        }
    }
}

/// Keeps the broker registered with one name server.
pub(crate) struct Registration {
    connections: Connections,
    addr: String,
    /// Which of [`TopicChanges`] are this name server's.
    index: usize,
    /// What it has; `None` until it took everything.
    known: Option<Known>,
    /// When it began not to answer, and when that was last told.
    failing: Option<(Instant, Instant)>,
}

/// What a name server was told over a connection.
struct Known {
    connection: Connection,
    version: DataVersion,
}

/// Why a name server does not have the broker, as text for the log.
type Refused = String;

impl Registration {
    pub(crate) fn new(addr: String, index: usize, options: ConnectOptions) -> Self {
        Self {
            connections: Connections::new(options, Arc::new(Unsupported)),
            addr,
            index,
            known: None,
            failing: None,
        }
    }

    /// Registers again and again until `stop`, then leaves.
    pub(crate) async fn run(mut self, broker: Arc<Broker>, stop: CancellationToken) {
        let Some(changes) = broker.topic_changes.name_servers.get(self.index) else {
            return;
        };
        loop {
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                outcome = self.renew(&broker, changes) => outcome,
            };
            self.tell(outcome.err());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.due(changes) => {}
            }
        }
        self.leave(&broker).await;
        self.connections.close_all().await;
    }

    /// Returns when there is something to tell the name server.
    async fn due(&self, changes: &Changes) {
        let Some(known) = &self.known else {
            return tokio::time::sleep(RETRY_EVERY).await;
        };
        tokio::select! {
            biased;
            () = known.connection.closed() => {}
            () = changes.bell.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }

    /// Sees to it that the name server has the broker and its topics as they are now.
    async fn renew(&mut self, broker: &Broker, changes: &Changes) -> Result<(), Refused> {
        let deadline = Deadline::after(TIMEOUT);
        let known = self.known.take();
        let connection = self
            .connections
            .get(&self.addr, deadline)
            .await
            .map_err(|error| error.to_string())?;
        // Another connection, another name server perhaps: what the last one was told counts for nothing.
        let known = known.filter(|known| known.connection.id() == connection.id());
        // Before the changes are taken: what changes meanwhile has a later version, or is noted still.
        let mut version = broker.topics().data_version();
        let changed = std::mem::take(&mut *changes.pending.lock());
        let command = match known {
            Some(known) if changed.topics.is_empty() && !changed.all => {
                if known.version == version
                    && is_known(broker, &connection, version, deadline).await?
                {
                    self.known = Some(known);
                    return Ok(());
                }
                registration(broker, None)
            }
            Some(known) if !changed.all => {
                if known.version == version {
                    // The version was sent before the change was noted; a name server ignores what has a version that it knows.
                    version.timestamp += 1;
                }
                let topics = changed.topics.iter();
                let topics = topics.filter_map(|topic| broker.topics().get(topic));
                let topics = topics.map(|topic| TopicConfig::clone(&topic)).collect();
                registration(broker, Some((version, topics)))
            }
            _ => registration(broker, None),
        };
        let (command, version) =
            command.map_err(|error| format!("the topics cannot be encoded: {error}"))?;
        let response = connection
            .call(signed(broker, command), deadline)
            .await
            .map_err(|error| error.to_string())?;
        if response.code != 0 {
            return Err(refusal("refused the registration", &response));
        }
        self.known = Some(Known {
            connection,
            version,
        });
        Ok(())
    }

    /// Logs the first failure, then one a minute, and the end of them.
    fn tell(&mut self, failure: Option<Refused>) {
        let addr = self.addr.as_str();
        let now = Instant::now();
        match (failure, self.failing) {
            (Some(reason), None) => {
                tracing::warn!(
                    addr,
                    reason,
                    "not registered with the name server: its clients do not find this broker; trying every {RETRY_EVERY:?}"
                );
                self.failing = Some((now, now));
            }
            (Some(reason), Some((since, told))) if now - told >= TELL_EVERY => {
                let secs = (now - since).as_secs();
                tracing::warn!(
                    addr,
                    reason,
                    "not registered with the name server for {secs} s"
                );
                self.failing = Some((since, now));
            }
            (Some(reason), Some(_)) => {
                tracing::debug!(addr, reason, "not registered with the name server");
            }
            (None, Some((since, _))) => {
                let secs = (now - since).as_secs();
                tracing::warn!(addr, "registered with the name server after {secs} s");
                self.failing = None;
            }
            (None, None) => tracing::debug!(addr, "registered with the name server"),
        }
    }

    async fn leave(&self, broker: &Broker) {
        // Nothing to leave where the broker is not known, and no use in waiting for those who do not answer.
        let Some(known) = &self.known else { return };
        let identity = &broker.identity;
        let command = RemotingCommand::request(&UnregisterBrokerRequest {
            broker_name: &identity.broker_name,
            broker_addr: &identity.addr,
            cluster_name: &identity.cluster,
            broker_id: 0,
        });
        let call = known
            .connection
            .call(signed(broker, command), Deadline::after(LEAVE_TIMEOUT));
        if let Err(error) = call.await {
            tracing::warn!(addr = self.addr, %error, "not unregistered from the name server");
        }
    }
}

/// As the user of this broker, if it has one. Java: `innerClientAuthenticationCredentials`.
fn signed(broker: &Broker, mut command: RemotingCommand) -> RemotingCommand {
    if let Some(credentials) = &broker.config.name_server_credentials {
        acl::sign(&mut command, credentials);
    }
    command
}

/// Code 322: whether the name server has this version of the topics. It counts as a sign of life.
async fn is_known(
    broker: &Broker,
    connection: &Connection,
    version: DataVersion,
    deadline: Deadline,
) -> Result<bool, Refused> {
    let identity = &broker.identity;
    let version = body::encode(&version).map_err(|error| error.to_string())?;
    let command = RemotingCommand::request(&QueryDataVersionRequest {
        broker_name: &identity.broker_name,
        broker_addr: &identity.addr,
        cluster_name: &identity.cluster,
        broker_id: 0,
    })
    .with_body(version);
    let response = connection
        .call(signed(broker, command), deadline)
        .await
        .map_err(|error| error.to_string())?;
    match ResponseCode(response.code) {
        // An answer that cannot be read, and a name server that does not know the code: everything is sent.
        ResponseCode::SUCCESS => Ok(response
            .header::<QueryDataVersionReply>()
            .is_ok_and(|reply| !reply.changed)),
        ResponseCode::REQUEST_CODE_NOT_SUPPORTED => Ok(false),
        _ => Err(refusal("refused a query", &response)),
    }
}

fn refusal(what: &str, response: &RemotingCommand) -> Refused {
    let remark = response.remark.as_deref().unwrap_or_default();
    format!("it {what} with code {}: {remark}", response.code)
}

/// Code 103: all topics, or those of one version that changed.
fn registration(
    broker: &Broker,
    changed: Option<(DataVersion, Vec<TopicConfig>)>,
) -> Result<(RemotingCommand, DataVersion), EncodeError> {
    let (data_version, mut topic_config_table) = if let Some((version, topics)) = changed {
        let named = topics
            .into_iter()
            .map(|topic| (topic.topic_name.clone(), topic));
        (version, named.collect())
    } else {
        let all = broker.topics().snapshot();
        (all.data_version, all.topic_config_table)
    };
    for topic in topic_config_table.values_mut() {
        topic.perm = broker.permitted(topic.perm);
    }
    let body = body::encode(&RegisterBrokerBody {
        topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper {
            data_version,
            topic_config_table,
            ..TopicConfigAndMappingSerializeWrapper::default()
        },
        ..RegisterBrokerBody::default()
    })?;
    let identity = &broker.identity;
    let command = RemotingCommand::request(&RegisterBrokerRequest {
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
    .with_body(body);
    Ok((command, data_version))
}
