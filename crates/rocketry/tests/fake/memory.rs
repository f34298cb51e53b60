//! A network in memory. With the runtime's time paused nothing but timers move the clock, so that tests hold waits to the millisecond.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use rocketry::{Dial, DialFuture, Dialed};
use rocketry_remoting::{Connection, ConnectionInfo, ConnectionOptions, Handler};

/// Servers by address.
#[derive(Default)]
pub(crate) struct Network {
    hosts: Mutex<HashMap<String, Host>>,
    last_port: Mutex<u16>,
    /// The servers' ends.
    connections: Mutex<Vec<Connection>>,
}

enum Host {
    Serves(Weak<dyn Handler>),
    /// Connects to it neither succeed nor fail.
    Deaf,
}

impl Network {
    pub(crate) fn listen(&self, handler: &Arc<dyn Handler>) -> String {
        self.host(Host::Serves(Arc::downgrade(handler)))
    }
    pub(crate) fn deaf(&self) -> String {
        self.host(Host::Deaf)
    }
    /// An address where nothing listens.
    pub(crate) fn dead(&self) -> String {
        let address = self.deaf();
        self.hosts.lock().remove(&address);
        address
    }

    fn host(&self, host: Host) -> String {
        let mut port = self.last_port.lock();
        *port += 1;
        let address = addr(*port).to_string();
        self.hosts.lock().insert(address.clone(), host);
        address
    }

    fn connect(&self, address: &str) -> io::Result<Option<Dialed>> {
        let handler = match self.hosts.lock().get(address) {
            Some(Host::Deaf) => return Ok(None),
            Some(Host::Serves(handler)) => handler.upgrade(),
            None => None,
        };
        let handler = handler.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, far) = tokio::io::duplex(1 << 16);
        let (client, server) = (addr(0), address.parse().map_err(io::Error::other)?);
        let options = ConnectionOptions::default();
        let info = ConnectionInfo::new(client, server);
        let mut connections = self.connections.lock();
        connections.retain(|connection| !connection.is_closed());
        connections.push(Connection::start(far, info, &options, handler));
        Ok(Some(Dialed::new(near, server, client)))
    }
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

impl Dial for Network {
    fn dial<'a>(&'a self, addr: &'a str) -> DialFuture<'a> {
        Box::pin(async move {
            match self.connect(addr)? {
                Some(dialed) => Ok(dialed),
                None => std::future::pending().await,
            }
        })
    }
}
