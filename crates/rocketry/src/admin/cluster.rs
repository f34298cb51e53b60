//! The cluster: which brokers there are, and what they say of themselves.

use std::collections::BTreeMap;

use rocketry_protocol::{
    RemotingCommand, RequestCode,
    body::{
        self,
        route::{ClusterInfo, KVTable},
    },
};

use super::{Admin, ask, unreadable};
use crate::error::Error;

impl Admin {
    /// All brokers and clusters that the name server knows.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NameServerUnreachable`].
    ///
    /// Java: `mqadmin clusterList`, first half.
    pub async fn cluster_info(&self) -> Result<ClusterInfo, Error> {
        let command = RemotingCommand::bare_request(RequestCode::GET_BROKER_CLUSTER_INFO);
        self.ask_name_server("list the brokers", command, self.deadline())
            .await
    }

    /// What the broker at `address` says of itself: throughput, totals, disk use and more, by Java's names.
    ///
    /// # Errors
    /// What asking a broker can fail with.
    ///
    /// Java: `mqadmin brokerStatus`.
    pub async fn broker_stats(&self, address: &str) -> Result<BTreeMap<String, String>, Error> {
        let action = format!("read the state of broker {address}");
        let command = RemotingCommand::bare_request(RequestCode::GET_BROKER_RUNTIME_INFO);
        let reply = ask(
            self.core(),
            &action,
            ("broker", address),
            command,
            self.deadline(),
        )
        .await?;
        let table: KVTable =
            body::decode(&reply.body).map_err(|error| unreadable(&action, &error))?;
        Ok(table.table)
    }
}
