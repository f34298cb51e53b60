//! [`Connect`]: everything that is set before there is a client, checked together.

use std::{
    future::IntoFuture,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use rocketry_protocol::acl::Credentials;
#[cfg(feature = "tls")]
use rocketry_remoting::TlsConfig;
use rocketry_remoting::{Dial, SocksDialer, SocksProxy};

use crate::{
    client::Client,
    config::{ClientConfig, Faults},
    error::Error,
    name_server::{NameServerClient, NameServers},
    rpc_hook::{RpcHook, RpcHooks},
};

/// A [`Client`] to be: configure it, then await it.
///
/// Awaiting it fails with [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), which names everything that is wrong,
/// before anything is sent.
#[derive(Debug, Clone)]
#[must_use = "a client exists once this is awaited"]
pub struct Connect {
    name_servers: NameServers,
    config: ClientConfig,
    security_token: Option<String>,
    rpc_hooks: RpcHooks,
    dialer: Option<Arc<dyn Dial>>,
    proxies: Vec<SocksProxy>,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
}

impl Connect {
    pub(crate) fn new(name_servers: NameServers) -> Self {
        Self {
            name_servers,
            config: ClientConfig::default(),
            security_token: None,
            rpc_hooks: RpcHooks::default(),
            dialer: None,
            proxies: Vec::new(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

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
    /// See [`ClientConfig::connect_timeout`].
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }
    /// See [`ClientConfig::namespace`].
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.config.namespace = Some(namespace.into());
        self
    }
    /// See [`ClientConfig::namespace_v2`].
    pub fn namespace_v2(mut self, namespace: impl Into<String>) -> Self {
        self.config.namespace_v2 = Some(namespace.into());
        self
    }
    /// Signs every request as this user. See [`ClientConfig::credentials`].
    ///
    /// A signature proves who sent a request; it does not hide it: use it together with TLS. Java: `AclClientRPCHook`.
    pub fn credentials(
        mut self,
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
    ) -> Self {
        self.config.credentials = Some(Credentials {
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            security_token: None,
        });
        self
    }
    /// The token that belongs to temporary [`Connect::credentials`]; signed along. Java: `SessionCredentials.securityToken`.
    pub fn security_token(mut self, token: impl Into<String>) -> Self {
        self.security_token = Some(token.into());
        self
    }

    /// Adds a hook that is called around every request of this client.
    pub fn rpc_hook(mut self, hook: impl RpcHook) -> Self {
        self.rpc_hooks.add(hook);
        self
    }

    /// Secures every connection, to name servers and brokers. Default: none is. Java: `tls.enable`.
    ///
    /// Certificates are verified unless `tls` says otherwise; a configuration that cannot work fails when this is awaited, and nothing
    /// falls back to plain connections.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Opens the byte streams of all connections, to name servers and brokers, in place of TCP. Default: TCP.
    ///
    /// What an address means is then up to `dialer`: unless [`ClientConfig::client_ip`] is set, the client calls itself 127.0.0.1.
    pub fn dialer(mut self, dialer: Arc<dyn Dial>) -> Self {
        self.dialer = Some(dialer);
        self
    }

    /// Connects to name servers and brokers through this SOCKS5 proxy; may be repeated, the first one that is for an address is taken.
    /// TLS runs through it, end to end.
    ///
    /// Java: `ClientConfig.socksProxyConfig`, a JSON text.
    pub fn socks_proxy(mut self, proxy: SocksProxy) -> Self {
        self.proxies.push(proxy);
        self
    }

    async fn build(mut self) -> Result<Client, Error> {
        let mut faults = Faults::default();
        for fault in self.name_servers.faults() {
            faults.add(fault.clone());
        }
        if let Some(token) = self.security_token.take() {
            match &mut self.config.credentials {
                Some(credentials) => credentials.security_token = Some(token),
                None => faults.add("security_token is set without credentials".to_owned()),
            }
        }
        self.config.check(&mut faults);
        let mut options = self.config.connect_options();
        options.dialer = self.dialer;
        // what a packet of this client meets first
        let gates: Vec<Arc<str>> = self
            .proxies
            .iter()
            .map(|proxy| proxy.address().into())
            .collect();
        if !self.proxies.is_empty() {
            if options.dialer.is_some() {
                faults.add("dialer and socks_proxy exclude each other".to_owned());
            }
            match SocksDialer::new(self.proxies) {
                Ok(dialer) => options.dialer = Some(Arc::new(dialer)),
                Err(more) => more.into_iter().for_each(|fault| faults.add(fault)),
            }
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls {
            // it reads files
            match tokio::task::spawn_blocking(move || tls.build()).await {
                Ok(Ok(connector)) => options.tls = Some(connector),
                Ok(Err(error)) => error.faults().iter().for_each(|fault| {
                    faults.add(format!("tls: {fault}"));
                }),
                Err(error) => faults.add(format!("tls: {error}")),
            }
        }
        if let (Some(lookup), Some(unit)) = (self.name_servers.lookup_mut(), &self.config.unit_name)
        {
            lookup.of_unit(unit);
        }
        faults.finish("configure the client").map_err(|error| {
            if self.name_servers.faults().is_empty() {
                error
            } else {
                error.with_hint("write name servers as host:port;host:port")
            }
        })?;
        let name_servers = NameServerClient::new(&self.name_servers);
        name_servers.look_up().await;
        let ip = match (self.config.client_ip, &options.dialer) {
            (Some(ip), _) => ip,
            (None, None) => local_ip(&name_servers.all()).await,
            (None, Some(_)) => local_ip(&gates).await,
        };
        Ok(Client::start(
            self.config,
            options,
            self.rpc_hooks,
            name_servers,
            ip,
        ))
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
        Box::pin(self.build())
    }
}

/// The address that this machine's packets to the name server carry: what brokers see, and distinct per host.
///
/// Connecting a datagram socket sends nothing. Java takes the first suitable interface: `NetworkUtil.getLocalInetAddress`.
async fn local_ip(name_servers: &[Arc<str>]) -> IpAddr {
    for address in name_servers {
        let bind = if address.starts_with('[') {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        };
        let Ok(socket) = tokio::net::UdpSocket::bind(bind).await else {
            continue;
        };
        let connected = tokio::time::timeout(RESOLVE_LIMIT, socket.connect(&**address)).await;
        if let (Ok(Ok(())), Ok(local)) = (connected, socket.local_addr()) {
            return local.ip();
        }
    }
    Ipv4Addr::LOCALHOST.into()
}

/// Longest time that a name server's host name may take to resolve before the client goes on without.
const RESOLVE_LIMIT: Duration = Duration::from_secs(1);
