//! Two brokers on one name server, one of which is made to fail.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::interop::{Broker, BrokerConfig, NameServer, Rocketry, Serve, ServeOptions};

/// The name of the broker that fails.
pub(super) const VICTIM: &str = "broker-b";
const CLUSTER: &str = "DefaultCluster";

/// Whose brokers.
#[derive(Debug)]
pub(super) enum System {
    /// `rocketry serve`: the first is the name server as well, the second registers with it.
    Ours(Rocketry),
    /// Apache's name server and two brokers.
    Apache { class_path: String },
}

impl System {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ours(_) => "rocketry",
            Self::Apache { .. } => "apache",
        }
    }
}

/// What happens to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL: its connections break and new ones are refused. It is started again on the same port and data.
    Kill,
    /// SIGSTOP: connections stay and nothing is answered. SIGCONT wakes it.
    Stop,
}

impl Fault {
    pub(super) fn signal(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Stop => "SIGSTOP",
        }
    }
}

/// The running servers; dropping it kills them.
#[derive(Debug)]
pub(super) struct Cluster {
    namesrv: String,
    /// Apache's; ours is part of the first broker's process.
    name_server: Option<NameServer>,
    first: Member,
    victim: Option<Member>,
    recipe: Recipe,
}

#[derive(Debug)]
enum Member {
    Ours(Serve),
    Apache(Broker),
}

/// How the victim is started, again with what it had.
#[derive(Debug)]
enum Recipe {
    Ours {
        rocketry: Rocketry,
        options: ServeOptions,
        dir: PathBuf,
    },
    Apache {
        class_path: String,
        config: BrokerConfig,
        dir: PathBuf,
    },
}

impl Cluster {
    pub(super) async fn start(system: &System, dir: &Path) -> Result<Self> {
        let victim_dir = dir.join("victim");
        std::fs::create_dir_all(&victim_dir)?;
        let mut cluster = match system {
            System::Ours(rocketry) => {
                let (data, log) = (dir.join("data"), dir.join("serve.log"));
                let first = Serve::start(rocketry, &data, &log, &ServeOptions::default()).await?;
                let options = ServeOptions {
                    namesrv: Some(first.namesrv.clone()),
                    broker_name: Some(VICTIM.to_owned()),
                    ..ServeOptions::default()
                };
                Self {
                    namesrv: first.namesrv.clone(),
                    name_server: None,
                    first: Member::Ours(first),
                    victim: None,
                    recipe: Recipe::Ours {
                        rocketry: rocketry.clone(),
                        options,
                        dir: victim_dir,
                    },
                }
            }
            System::Apache { class_path } => {
                let name_server = NameServer::start(class_path, &dir.join("namesrv")).await?;
                let namesrv = name_server.addr().to_owned();
                let config = |name: &str, dir: &Path| BrokerConfig {
                    store: dir.join("store"),
                    heap_mib: 512,
                    ..BrokerConfig::new(&namesrv, name, CLUSTER)
                };
                let first_dir = dir.join("first");
                let first = config("broker-a", &first_dir);
                let first = Broker::start(class_path, &first_dir, &first).await?;
                let config = config(VICTIM, &victim_dir);
                Self {
                    namesrv,
                    name_server: Some(name_server),
                    first: Member::Apache(first),
                    victim: None,
                    recipe: Recipe::Apache {
                        class_path: class_path.clone(),
                        config,
                        dir: victim_dir,
                    },
                }
            }
        };
        cluster.start_victim().await?;
        Ok(cluster)
    }

    /// Address of the name server.
    pub(super) fn namesrv(&self) -> &str {
        &self.namesrv
    }

    /// The victim fails.
    pub(super) async fn fail(&mut self, fault: Fault) -> Result {
        match fault {
            Fault::Kill => self.victim.take().ok_or(AWAY)?.kill().await,
            Fault::Stop => match self.victim.as_ref().ok_or(AWAY)? {
                Member::Ours(serve) => serve.pause(),
                Member::Apache(broker) => broker.pause(),
            },
        }
    }

    /// The victim returns.
    pub(super) async fn restore(&mut self, fault: Fault) -> Result {
        match fault {
            Fault::Kill => self.start_victim().await,
            Fault::Stop => match self.victim.as_ref().ok_or(AWAY)? {
                Member::Ours(serve) => serve.resume(),
                Member::Apache(broker) => broker.resume(),
            },
        }
    }

    /// Starts the victim, the second time on the port it had.
    async fn start_victim(&mut self) -> Result {
        self.victim = Some(match &mut self.recipe {
            Recipe::Ours {
                rocketry,
                options,
                dir,
            } => {
                let (data, log) = (dir.join("data"), dir.join("serve.log"));
                let serve = Serve::start(rocketry, &data, &log, options).await?;
                options.broker_port = Some(port(&serve.broker)?);
                Member::Ours(serve)
            }
            Recipe::Apache {
                class_path,
                config,
                dir,
            } => {
                let broker = Broker::start(class_path, dir, config).await?;
                config.port = Some(port(broker.addr())?);
                Member::Apache(broker)
            }
        });
        Ok(())
    }

    /// Stops everything; an unclean stop of ours is an error.
    pub(super) async fn end(self) -> Result {
        for member in self.victim.into_iter().chain([self.first]) {
            match member {
                Member::Ours(serve) => serve.stop().await?,
                Member::Apache(broker) => broker.kill().await?,
            }
        }
        match self.name_server {
            Some(name_server) => name_server.kill().await,
            None => Ok(()),
        }
    }
}

impl Member {
    async fn kill(self) -> Result {
        match self {
            Self::Ours(serve) => serve.kill().await,
            Self::Apache(broker) => broker.kill().await,
        }
    }
}

const AWAY: &str = "the broker is away already";

fn port(address: &str) -> Result<u16> {
    let (_, port) = address
        .rsplit_once(':')
        .ok_or_else(|| format!("no port in `{address}`"))?;
    Ok(port.parse()?)
}
