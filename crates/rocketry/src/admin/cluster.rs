//! The cluster: which brokers there are, what they say of themselves, and their settings.

use std::collections::BTreeMap;

use rocketry_protocol::{
    RemotingCommand, RequestCode,
    body::{
        self,
        route::{ClusterInfo, KVTable},
    },
};
use rocketry_remoting::Deadline;

use super::{Admin, ask, unreadable};
use crate::error::{Error, ErrorKind};

/// Which brokers an operation is for; of each, its master.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Brokers {
    /// All that the name server knows.
    #[default]
    All,
    /// Those of this cluster.
    Cluster(String),
    /// The one of this name or address. An address (`host:port`) need not be known to the name server.
    Broker(String),
}

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct BrokerAddress {
    /// Its cluster.
    pub cluster: String,
    /// Its name, which master and replicas share.
    pub name: String,
    /// 0 for the master.
    pub id: i64,
    /// `host:port`.
    pub address: String,
}

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

    /// The chosen brokers, replicas among them, sorted; an address that the name server does not know is not among them.
    ///
    /// # Errors
    /// [`ErrorKind::NameServerUnreachable`], [`ErrorKind::NotFound`] when none is chosen.
    pub async fn brokers(&self, which: &Brokers) -> Result<Vec<BrokerAddress>, Error> {
        let info = self.cluster_info().await?;
        let found = chosen(&info, which);
        if found.is_empty() {
            return Err(none_registered("list the brokers", "broker", which));
        }
        Ok(found)
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
        let at = ("broker", address);
        let reply = ask(self.core(), &action, at, command, self.deadline()).await?;
        let table: KVTable =
            body::decode(&reply.body).map_err(|error| unreadable(&action, &error))?;
        Ok(table.table)
    }

    /// The settings of the broker at `address`, by Java's names.
    ///
    /// # Errors
    /// What asking a broker can fail with.
    ///
    /// Java: `mqadmin getBrokerConfig`.
    pub async fn broker_config(&self, address: &str) -> Result<BTreeMap<String, String>, Error> {
        let action = format!("read the settings of broker {address}");
        let command = RemotingCommand::bare_request(RequestCode::GET_BROKER_CONFIG);
        let at = ("broker", address);
        let reply = ask(self.core(), &action, at, command, self.deadline()).await?;
        let text = String::from_utf8_lossy(&reply.body);
        let settings = text.lines().filter_map(|line| line.split_once('='));
        Ok(settings
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect())
    }

    /// Changes settings of the broker at `address`, by Java's names. Java's brokers ignore names that they do not know.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for names or values that cannot be sent, [`ErrorKind::Refused`] for settings that are fixed, and
    /// what asking a broker can fail with.
    ///
    /// Java: `mqadmin updateBrokerConfig`.
    pub async fn update_broker_config(
        &self,
        address: &str,
        settings: &[(String, String)],
    ) -> Result<(), Error> {
        let action = format!("change the settings of broker {address}");
        let body = properties_text(settings)
            .map_err(|reason| Error::new(ErrorKind::InvalidArgument, action.clone(), reason))?;
        let command =
            RemotingCommand::bare_request(RequestCode::UPDATE_BROKER_CONFIG).with_body(body);
        let at = ("broker", address);
        ask(self.core(), &action, at, command, self.deadline()).await?;
        Ok(())
    }

    /// Names and addresses of the masters of the chosen brokers; at least one.
    pub(super) async fn masters(
        &self,
        action: &str,
        which: &Brokers,
        deadline: Deadline,
    ) -> Result<Vec<(String, String)>, Error> {
        let command = RemotingCommand::bare_request(RequestCode::GET_BROKER_CLUSTER_INFO);
        let info: ClusterInfo = self.ask_name_server(action, command, deadline).await?;
        let found = chosen(&info, which);
        let is_unknown = found.is_empty();
        let mut masters: Vec<_> = found
            .into_iter()
            .filter(|broker| broker.id == 0)
            .map(|broker| (broker.name, broker.address))
            .collect();
        if let Brokers::Broker(address) = which
            && is_unknown
            && address.contains(':')
        {
            masters.push(("broker".to_owned(), address.clone()));
        }
        if masters.is_empty() {
            return Err(none_registered(action, "master", which));
        }
        Ok(masters)
    }
}

/// The brokers of `info` that `which` means.
fn chosen(info: &ClusterInfo, which: &Brokers) -> Vec<BrokerAddress> {
    let mut brokers = Vec::new();
    for data in info.broker_addr_table.values() {
        // A broker before 4.1 does not say its cluster in its own entry.
        let cluster = info
            .cluster_addr_table
            .iter()
            .find(|(_, names)| names.contains(&data.broker_name))
            .map_or(&data.cluster, |(cluster, _)| cluster);
        for (id, address) in &data.broker_addrs {
            let is_chosen = match which {
                Brokers::All => true,
                Brokers::Cluster(wanted) => cluster == wanted,
                Brokers::Broker(wanted) => *wanted == data.broker_name || wanted == address,
            };
            if is_chosen {
                brokers.push(BrokerAddress {
                    cluster: cluster.clone(),
                    name: data.broker_name.clone(),
                    id: *id,
                    address: address.clone(),
                });
            }
        }
    }
    brokers.sort();
    brokers
}

fn none_registered(action: &str, what: &str, which: &Brokers) -> Error {
    let place = match which {
        Brokers::Broker(broker) => format!("broker {broker:?}"),
        Brokers::Cluster(cluster) => format!("cluster {cluster:?}"),
        Brokers::All => "the name server".to_owned(),
    };
    Error::new(
        ErrorKind::NotFound,
        action.to_owned(),
        format!("no {what} is registered for {place}"),
    )
    .with_hint("see what is registered: rocketry cluster list")
}

/// Java's properties text, which brokers read with `Properties.load`.
fn properties_text(settings: &[(String, String)]) -> Result<String, String> {
    let mut text = String::new();
    for (key, value) in settings {
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "=:#!\\".contains(c)) {
            return Err(format!("{key:?} cannot be the name of a setting"));
        }
        if value.contains(['\n', '\r']) {
            return Err(format!("the value of {key} has a line break"));
        }
        text.push_str(key);
        text.push('=');
        text.push_str(&value.replace('\\', "\\\\"));
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use rocketry_protocol::body::route::BrokerData;

    use super::*;

    fn setting(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn settings_are_written_as_java_reads_them() {
        let text = properties_text(&[setting("a", "1"), setting("path", "C:\\data")]);
        assert_eq!(text.as_deref(), Ok("a=1\npath=C:\\\\data\n"));
        assert!(properties_text(&[setting("", "1")]).is_err());
        assert!(properties_text(&[setting("a b", "1")]).is_err());
        assert!(properties_text(&[setting("a", "1\nb=2")]).is_err());
    }

    #[test]
    fn brokers_are_chosen_by_cluster_name_and_address() {
        let mut info = ClusterInfo::default();
        for (cluster, name, port) in [("c1", "a", 1), ("c1", "b", 2), ("c2", "x", 3)] {
            let data = BrokerData {
                broker_name: name.to_owned(),
                broker_addrs: BTreeMap::from([
                    (0, format!("h:{port}0")),
                    (1, format!("h:{port}1")),
                ]),
                ..Default::default()
            };
            info.broker_addr_table.insert(name.to_owned(), data);
            let names = info.cluster_addr_table.entry(cluster.to_owned());
            names.or_default().push(name.to_owned());
        }
        let found = |which: Brokers| -> Vec<String> {
            let found = chosen(&info, &which).into_iter();
            found.map(|broker| broker.address).collect()
        };
        assert_eq!(found(Brokers::All).len(), 6);
        assert_eq!(
            found(Brokers::Cluster("c1".to_owned())),
            ["h:10", "h:11", "h:20", "h:21"]
        );
        assert_eq!(found(Brokers::Broker("x".to_owned())), ["h:30", "h:31"]);
        assert_eq!(found(Brokers::Broker("h:21".to_owned())), ["h:21"]);
        assert!(found(Brokers::Broker("y".to_owned())).is_empty());
    }
}
