//! [`Client`]: one identity towards one cluster. Connections, routes and background tasks, as an explicit value.

use std::{future::IntoFuture, pin::Pin, time::Duration};

use crate::{
    admin::Admin,
    config::ClientConfig,
    error::Error,
    name_server::NameServers,
    producer::{ProducerBuilder, ShutdownReport},
    reader::ReaderBuilder,
};

/// Connections, routes and background tasks towards one cluster. Cloning is cheap and shares all of it.
///
/// When the last clone and everything made from it are dropped, tasks end and sockets close; [`Client::shutdown`] does so in order.
#[derive(Clone, Debug)]
pub struct Client {}

impl Client {
    /// Prepares a client for the cluster of these name servers: `Client::connect("127.0.0.1:9876").await?`.
    ///
    /// Connections are made when they are needed: a name server that is down is reported by the first operation that asks it.
    pub fn connect(name_servers: impl Into<NameServers>) -> Connect {
        Connect {
            name_servers: name_servers.into(),
            config: ClientConfig::default(),
        }
    }

    /// `ip@instance[@unit]`: how brokers know this client. Java: `ClientConfig.buildMQClientId`.
    pub fn client_id(&self) -> &str {
        todo!()
    }
    /// A producer of `group`, to be configured and awaited: `client.producer("orders").await?`.
    pub fn producer(&self, group: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(self.clone(), group.into())
    }
    /// A reader of all queues of `topic`, to be configured and awaited.
    pub fn reader(&self, topic: impl Into<String>) -> ReaderBuilder {
        ReaderBuilder::new(self.clone(), topic.into())
    }
    /// Topics, offsets, messages and the cluster.
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }
    /// Shuts every producer down (waiting for what is in flight until `deadline` has passed), ends all tasks and closes all connections.
    ///
    /// A second call reports nothing and does nothing.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let _ = deadline;
        todo!()
    }
}

/// A [`Client`] to be: configure it, then await it.
#[derive(Debug, Clone)]
#[must_use = "a client exists once this is awaited"]
pub struct Connect {
    name_servers: NameServers,
    config: ClientConfig,
}

impl Connect {
    /// All options at once.
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.config = config;
        self
    }
    /// See [`ClientConfig::instance_name`].
    pub fn instance_name(mut self, name: impl Into<String>) -> Self {
        self.config.instance_name = Some(name.into());
        self
    }
}

impl<N: Into<NameServers>> From<N> for Connect {
    fn from(name_servers: N) -> Self {
        Client::connect(name_servers)
    }
}

impl IntoFuture for Connect {
    type Output = Result<Client, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.name_servers.check()?;
            self.config.check()?;
            todo!()
        })
    }
}
