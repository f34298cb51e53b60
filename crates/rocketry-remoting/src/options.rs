//! Limits and times of connections, of connecting and of listening.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rocketry_protocol::frame::MAX_FRAME_BYTES;

use crate::{dial::Dial, load::Load};

/// Limits and times of one connection. [`Default`] suits a client, [`ConnectionOptions::server`]
/// a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionOptions {
    /// Largest frame the peer may send, length word included, in bytes; a larger one ends the connection. Default 16 MiB.
    /// Java: `com.rocketmq.remoting.frameMaxLength`.
    pub max_frame_bytes: usize,
    /// Bytes of own requests that may wait for the socket. Callers beyond it wait within their deadline. One frame may overshoot.
    /// Default 8 MiB.
    pub max_outbound_bytes: usize,
    /// Calls that may wait for a response at once; further callers wait within their deadline. Default 65,535, at least 1.
    /// Java: `com.rocketmq.remoting.clientAsyncSemaphoreValue`, there for all connections of a client together.
    pub max_calls: usize,
    /// One-way requests that may wait for the socket at once. Default 65,535, at least 1.
    /// Java: `com.rocketmq.remoting.clientOnewaySemaphoreValue`.
    pub max_oneways: usize,
    /// Requests of the peer that may be unanswered at once, parked long polls included; beyond it the connection is not read.
    /// Default 65,536, at least 1.
    pub max_unanswered: usize,
    /// Bytes of responses waiting for the socket above which the connection is not read, until half of them have left. Default
    /// 4 MiB for a server. A client always reads: if both sides stopped, neither would ever go on.
    /// Java: `com.rocketmq.remoting.write.buffer.high.water.mark`.
    pub response_high_water_bytes: usize,
    /// Bytes of responses waiting for the socket at which a peer that does not read is given up. Default 8 MiB, for a server
    /// 64 MiB: a client has little to answer.
    pub response_limit_bytes: usize,
    /// Close after this long without a byte in either direction; `None` keeps an idle connection. Default 120 s.
    /// Java: `com.rocketmq.remoting.client.channel.maxIdleTimeSeconds`.
    pub idle_timeout: Option<Duration>,
    /// Close when the peer takes no byte for this long although some wait for it. Default 30 s. Java waits without end.
    pub write_timeout: Duration,
    /// Close when a call times out and nothing at all arrived since it was handed over, provided it had more than 100 ms.
    /// Default true. Java: `com.rocketmq.remoting.client.closeSocketIfTimeout`, which also closes connections that are alive.
    pub close_when_silent: bool,
    /// How long a connection that this side closes may take to write what is queued and to see the peer close. Default 500 ms.
    pub linger: Duration,
    /// Counts what is under way on all connections that share it. Default: none.
    pub load: Option<Arc<Load>>,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            max_frame_bytes: MAX_FRAME_BYTES,
            max_outbound_bytes: 8 * 1024 * 1024,
            max_calls: 65_535,
            max_oneways: 65_535,
            max_unanswered: 65_536,
            response_high_water_bytes: usize::MAX,
            response_limit_bytes: 8 * 1024 * 1024,
            idle_timeout: Some(Duration::from_mins(2)),
            write_timeout: Duration::from_secs(30),
            close_when_silent: true,
            linger: Duration::from_millis(500),
            load: None,
        }
    }
}

impl ConnectionOptions {
    /// For the side that accepts: stops reading from a client that does not read, and does not end the connection of one that is
    /// silent when called.
    pub fn server() -> Self {
        Self {
            response_high_water_bytes: 4 * 1024 * 1024,
            response_limit_bytes: 64 * 1024 * 1024,
            close_when_silent: false,
            ..Self::default()
        }
    }
}

/// How [`Connections`](crate::Connections) opens connections.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Longest time for resolving the name and connecting, over all its addresses. Default 3 s.
    /// Java: `com.rocketmq.remoting.client.connect.timeout`.
    pub connect_timeout: Duration,
    /// For every connection that is opened.
    pub connection: ConnectionOptions,
    /// How the byte streams of connections are opened. Default: over TCP.
    pub dialer: Option<Arc<dyn Dial>>,
    /// Secures every connection that is opened, within the connect timeout. Default: none is. Java: `tls.enable`.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::TlsConnector>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            connection: ConnectionOptions::default(),
            dialer: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// How [`Listener`](crate::Listener) accepts connections.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListenerOptions {
    /// Connections open at once; one more is told so in answer to its first request (code 2), closed and logged. Default 16,384.
    pub max_connections: usize,
    /// What to do about it, for that answer. Default: empty.
    pub full_hint: &'static str,
    /// Connections that the operating system may hold ready to be accepted. Default 1,024, as in Java.
    pub backlog: u32,
    /// For every connection that is accepted.
    pub connection: ConnectionOptions,
    /// Secures connections, all or those of clients that want it. Default: none is. Java: `tls.server.mode`.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::TlsAcceptor>,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            full_hint: "",
            backlog: 1024,
            connection: ConnectionOptions::server(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// Who is at the two ends of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) name: Arc<str>,
}

impl ConnectionInfo {
    /// From the addresses of the socket.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            peer,
            local,
            name: peer.to_string().into(),
        }
    }

    /// With the peer's name as the user wrote it, for errors and logs.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The peer's socket address.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// This side's socket address.
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// The peer as the user wrote it, or its socket address.
    pub fn name(&self) -> &str {
        &self.name
    }
}
