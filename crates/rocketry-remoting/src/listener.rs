//! Accepting connections: limits, and an orderly end.

use std::{
    collections::HashMap,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rocketry_protocol::{RemotingCommand, ResponseCode};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    connect,
    connection::Connection,
    deadline::Deadline,
    handler::{Handler, Responder},
    log_limit::LogLimit,
    options::{ConnectionInfo, ConnectionOptions, ListenerOptions},
    socket::Socket,
};

/// A port that is taken and not yet served: peers that connect wait in the system's queue. Lets a server make sure of its ports before it
/// touches anything else.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    local: SocketAddr,
}

impl Port {
    /// Takes `addr` (port 0: any free one). `backlog` connections may wait to be accepted.
    ///
    /// A port that a server has just left can be taken at once (`SO_REUSEADDR`).
    ///
    /// # Errors
    /// Those of the operating system, an address in use above all.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn bind(addr: SocketAddr, backlog: u32) -> io::Result<Self> {
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // On Windows the option would let two servers share the port.
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let listener = socket.listen(backlog)?;
        let local = listener.local_addr()?;
        Ok(Self { listener, local })
    }

    /// The address, with the port that the operating system chose.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves every connection with `handler` on the current runtime.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn serve(self, options: ListenerOptions, handler: Arc<dyn Handler>) -> Listener {
        let open = Arc::new(Open {
            handler,
            connections: Mutex::default(),
            securing: TaskTracker::new(),
            refusing: TaskTracker::new(),
            refused: AtomicU64::new(0),
            stop: CancellationToken::new(),
        });
        let accepting = tokio::spawn(accept(self.listener, options, Arc::clone(&open)));
        Listener {
            local: self.local,
            open,
            accepting: Mutex::new(Some(accepting)),
        }
    }
}

/// A port on which peers connect. Dropping it stops accepting and closes its connections; [`Listener::shutdown`] waits for that.
pub struct Listener {
    local: SocketAddr,
    open: Arc<Open>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    /// [`Port::bind`] and [`Port::serve`] in one.
    ///
    /// # Errors
    /// Those of the operating system, an address in use above all.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn bind(
        addr: SocketAddr,
        options: ListenerOptions,
        handler: Arc<dyn Handler>,
    ) -> io::Result<Self> {
        Ok(Port::bind(addr, options.backlog)?.serve(options, handler))
    }

    /// The address it listens on, with the port that the operating system chose.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.open.connections.lock().len()
    }

    /// Its counts, for somebody who watches.
    pub fn counts(&self) -> ListenerCounts {
        ListenerCounts(Arc::downgrade(&self.open))
    }

    /// Stops accepting; connections stay. Returns when the port is free.
    pub async fn stop_accepting(&self) {
        self.open.stop.cancel();
        let accepting = self.accepting.lock().take();
        if let Some(accepting) = accepting {
            // It ends by itself; a panic in it has been reported by the runtime.
            let _ = accepting.await;
        }
    }

    /// Stops accepting and reading, waits until every request taken is answered and every answer written, or until `deadline`,
    /// then closes all connections and waits for their end. A deadline in the past closes without waiting for answers.
    ///
    /// Parked long polls count as unanswered: whoever parked them should answer them first. A peer that does not close its side
    /// in turn can hold this up beyond `deadline`, by [`ConnectionOptions::linger`](crate::ConnectionOptions::linger) at most.
    pub async fn shutdown(&self, deadline: Deadline) {
        self.stop_accepting().await;
        self.open.securing.close();
        self.open.securing.wait().await;
        self.open.refusing.close();
        self.open.refusing.wait().await;
        let connections: Vec<_> = self.open.connections.lock().values().cloned().collect();
        let mut draining = tokio::task::JoinSet::new();
        for connection in connections {
            draining.spawn(async move {
                connection.drain(deadline).await;
                connection.close("the server is shutting down");
                connection.closed().await;
            });
        }
        draining.join_all().await;
    }
}

/// How many peers a [`Listener`] serves and has refused. Keeps nothing open.
#[derive(Clone)]
pub struct ListenerCounts(Weak<Open>);

impl ListenerCounts {
    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.0
            .upgrade()
            .map_or(0, |open| open.connections.lock().len())
    }

    /// Connections that were refused since the start because too many were open.
    pub fn refused(&self) -> u64 {
        self.0
            .upgrade()
            .map_or(0, |open| open.refused.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for ListenerCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerCounts")
            .field("connections", &self.connections())
            .field("refused", &self.refused())
            .finish()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.open.stop.cancel();
        self.open.close_all();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local", &self.local)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, options: ListenerOptions, open: Arc<Open>) {
    let stop = open.stop.clone();
    let handler: Arc<dyn Handler> = Arc::clone(&open) as _;
    let refused = LogLimit::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let count = open.connections.lock().len() + open.securing.len();
                if count >= options.max_connections {
                    if let Some(held_back) = refused.pass() {
                        tracing::warn!(
                            open = count,
                            %peer,
                            held_back,
                            hint = options.full_hint,
                            "connection refused: as many are open as max_connections allows"
                        );
                    }
                    open.refuse(stream, peer, &options);
                    continue;
                }
                open.admit(stream, peer, &options, &handler);
            }
            Err(error) => {
                // Mostly too many open files: another connection has to end before the next one can be accepted.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

/// The open connections. Stands between them and the user's handler to learn of their end.
struct Open {
    handler: Arc<dyn Handler>,
    connections: Mutex<HashMap<u64, Connection>>,
    /// Connections whose first bytes are awaited. They end with `stop`.
    securing: TaskTracker,
    /// Connections that are told that there is no room. They end with `stop`.
    refusing: TaskTracker,
    refused: AtomicU64,
    /// The listener is gone: what is accepted at this very moment is not served.
    stop: CancellationToken,
}

impl Open {
    /// Tells a peer, in answer to its first request, that there is no room. Beyond [`MAX_REFUSING`] at once, and where peers may
    /// speak TLS, the connection just ends.
    fn refuse(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, options: &ListenerOptions) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "tls")]
        if options.tls.is_some() {
            return;
        }
        if self.refusing.len() >= MAX_REFUSING
            || connect::tune(&stream, options.connection.write_timeout).is_err()
        {
            return;
        }
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let no_room = NoRoom {
            remark: format!(
                "[REJECTREQUEST]too many connections: this port serves {} at once{}",
                options.max_connections, options.full_hint
            ),
        };
        let (info, stop) = (ConnectionInfo::new(peer, local), self.stop.clone());
        let connection = Connection::start_socket(
            Socket::Tcp(stream),
            info,
            &options.connection,
            Arc::new(no_room),
        );
        self.refusing.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = connection.closed() => {}
                () = sleep(REFUSE_WITHIN) => {}
            }
            connection.close("there is no room for it");
            connection.closed().await;
        });
    }

    /// Serves a peer at once, or as soon as it has shown whether it speaks TLS, and its handshake is over.
    fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        options: &ListenerOptions,
        handler: &Arc<dyn Handler>,
    ) {
        if let Err(error) = connect::tune(&stream, options.connection.write_timeout) {
            tracing::debug!(%peer, %error, "the peer left while it was being accepted");
            return;
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = options.tls.clone() {
            let connection = options.connection.clone();
            let (open, handler) = (Arc::clone(self), Arc::clone(handler));
            self.securing.spawn(async move {
                let accepted = tokio::select! {
                    biased;
                    () = open.stop.cancelled() => return,
                    accepted = tls.accept(stream, connection.idle_timeout, connection.linger) => accepted,
                };
                match accepted {
                    Ok(socket) => open.serve(socket, &connection, handler),
                    Err(error) => tracing::debug!(%peer, %error, "connection not secured"),
                }
            });
            return;
        }
        self.serve(
            Socket::Tcp(stream),
            &options.connection,
            Arc::clone(handler),
        );
    }

    fn serve(&self, socket: Socket, options: &ConnectionOptions, handler: Arc<dyn Handler>) {
        let info = match socket.addrs() {
            Ok((peer, local)) => ConnectionInfo::new(peer, local),
            Err(error) => {
                tracing::debug!(%error, "the peer left while it was being accepted");
                return;
            }
        };
        // Held while the connection starts, so that its end cannot be noted before its beginning.
        let mut connections = self.connections.lock();
        if self.stop.is_cancelled() {
            return;
        }
        let connection = Connection::start_socket(socket, info, options, handler);
        connections.insert(connection.id(), connection);
    }

    fn close_all(&self) {
        for connection in self.connections.lock().values() {
            connection.close("the server is shutting down");
        }
    }
}

impl Handler for Open {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        self.handler.handle(request, responder);
    }

    fn unmatched(&self, responses: u64) {
        self.handler.unmatched(responses);
    }

    fn caught_up(&self, more: bool) {
        self.handler.caught_up(more);
    }

    fn opened(&self, connection: &Connection) {
        self.handler.opened(connection);
    }

    fn closed(&self, connection: &Connection) {
        let entry = self.connections.lock().remove(&connection.id());
        drop(entry);
        self.handler.closed(connection);
    }
}

/// Answers whatever a peer asks for first.
struct NoRoom {
    remark: String,
}

impl Handler for NoRoom {
    fn handle(&self, _: RemotingCommand, responder: Responder) {
        let connection = responder.connection().clone();
        responder.respond(
            RemotingCommand::response(ResponseCode::SYSTEM_BUSY).with_remark(self.remark.clone()),
        );
        connection.close("there is no room for it");
    }
}

/// Connections that are told at once that there is no room for them.
const MAX_REFUSING: usize = 64;

/// Time for a refused peer to ask for something, so that it can be told.
const REFUSE_WITHIN: Duration = Duration::from_secs(1);

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
