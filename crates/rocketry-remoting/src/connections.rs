//! The client's connections: one per address, opened on first use and again after it ended.

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::Mutex;
use rocketry_protocol::{Outgoing, RemotingCommand};
use tokio::{
    sync::broadcast,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    connect,
    connection::{Connection, Reply, WeakConnection},
    deadline::Deadline,
    error::{ConnectFailure, Error, Stage},
    handler::Handler,
    options::{ConnectOptions, ConnectionInfo},
    socket::Socket,
};

/// Address -> [`Connection`]. Clones share the table. Java: `NettyRemotingClient.channelTables`.
///
/// When the last clone is dropped, the connections close once their calls in flight have ended; [`Connections::close_all`] waits.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    options: ConnectOptions,
    handler: Arc<dyn Handler>,
    table: Mutex<Table>,
    connecting: TaskTracker,
    closing: CancellationToken,
}

#[derive(Default)]
struct Table {
    slots: HashMap<Arc<str>, Slot>,
    /// Connections that were replaced and may still have calls in flight.
    retired: Vec<WeakConnection>,
    closed: bool,
}

enum Slot {
    /// Someone connects; all who need the connection wait for the same attempt, and are served in the order in which they came.
    /// The attempt's task holds the sender: if it is gone, so is the attempt.
    Connecting(broadcast::WeakSender<Connected>),
    Ready(Connection),
}

type Connected = Result<Connection, Arc<ConnectFailure>>;

impl Connections {
    /// An empty table. `handler` takes the requests that arrive on any of the connections.
    pub fn new(options: ConnectOptions, handler: Arc<dyn Handler>) -> Self {
        Self(Arc::new(Inner {
            options,
            handler,
            table: Mutex::default(),
            connecting: TaskTracker::new(),
            closing: CancellationToken::new(),
        }))
    }

    /// Sends a request to `addr` (`host:port`) and waits for its response; connects first if need be. See [`Connection::call`].
    ///
    /// # Errors
    /// Connect, Timeout, Closed, Overloaded, Encode.
    pub async fn call(
        &self,
        addr: &str,
        command: RemotingCommand,
        deadline: Deadline,
    ) -> Result<RemotingCommand, Error> {
        let connection = self.get(addr, deadline).await?;
        connection.call(command, deadline).await
    }

    /// As [`Connections::call`], but returns once the request is handed over. See [`Connection::begin`].
    ///
    /// # Errors
    /// Connect, Timeout, Closed, Overloaded, Encode.
    pub async fn begin(
        &self,
        addr: &str,
        request: impl Outgoing,
        deadline: Deadline,
    ) -> Result<Reply, Error> {
        let connection = self.get(addr, deadline).await?;
        connection.begin(request, deadline).await
    }

    /// Sends a one-way request to `addr`; connects first if need be. See [`Connection::oneway`].
    ///
    /// # Errors
    /// Connect, Timeout, Closed, Overloaded, Encode.
    pub async fn oneway(
        &self,
        addr: &str,
        request: impl Outgoing,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let connection = self.get(addr, deadline).await?;
        connection.oneway(request, deadline).await
    }

    /// The live connection to `addr`, if there is one already.
    pub fn ready(&self, addr: &str) -> Option<Connection> {
        self.0.table.lock().ready(addr).cloned()
    }

    /// The live connection to `addr`, which is opened if there is none.
    ///
    /// All who ask meanwhile wait for the same attempt, each until its own deadline; the attempt goes on without those who gave
    /// up, for the connect timeout at most. Must be called on a Tokio runtime, which then drives the connection.
    ///
    /// # Errors
    /// Connect; Timeout with [`Stage::Connect`].
    pub async fn get(&self, addr: &str, deadline: Deadline) -> Result<Connection, Error> {
        let mut attempt = match self.0.find_or_connect(addr) {
            Ok(Found::Ready(connection)) => return Ok(connection),
            Ok(Found::Connecting(attempt)) => attempt,
            Err(failure) => {
                return Err(Error::connect(
                    addr.into(),
                    std::time::Duration::ZERO,
                    Arc::new(failure),
                ));
            }
        };
        let started = Instant::now();
        let connected = match timeout_at(deadline.instant(), attempt.recv()).await {
            Ok(Ok(connected)) => Some(connected),
            // The attempt's task is gone without a result: its runtime was shut down.
            Ok(Err(_)) => None,
            Err(_) => {
                return Err(Error::timeout(
                    Stage::Connect,
                    addr.into(),
                    started.elapsed(),
                ));
            }
        };
        connected
            .unwrap_or_else(|| Err(Arc::new(ConnectFailure::PoolClosed)))
            .map_err(|failure| Error::connect(addr.into(), started.elapsed(), failure))
    }

    /// Takes `connection` out of the table, so that the next request to its address opens a new one; returns whether it was there.
    ///
    /// Calls in flight on it go on, and it closes after the last of them. This is how a client follows a peer that says it is
    /// going away (response code 1500): all callers retire the same connection and then share its replacement.
    pub fn retire(&self, connection: &Connection) -> bool {
        let mut table = self.0.table.lock();
        let name = connection.info().name();
        let is_current = matches!(table.slots.get(name), Some(Slot::Ready(current)) if current.id() == connection.id());
        if is_current {
            table.slots.remove(name);
            table.retire(connection);
        }
        is_current
    }

    /// Calls that wait for a response now, on all connections.
    pub fn in_flight(&self) -> usize {
        let mut table = self.0.table.lock();
        let Table { slots, retired, .. } = &mut *table;
        retired.retain(|weak| weak.upgrade().is_some());
        let current = slots.values().filter_map(|slot| match slot {
            Slot::Ready(connection) => Some(connection.in_flight()),
            Slot::Connecting(_) => None,
        });
        let retired = retired.iter().filter_map(WeakConnection::upgrade);
        current
            .chain(retired.map(|connection| connection.in_flight()))
            .sum()
    }

    /// Ends all connections and waits until their tasks have ended; what is queued is still written, calls in flight fail.
    /// Requests made afterwards fail.
    pub async fn close_all(&self) {
        self.0.closing.cancel();
        let open = {
            let mut table = self.0.table.lock();
            table.closed = true;
            let Table { slots, retired, .. } = &mut *table;
            let current = slots.drain().filter_map(|(_, slot)| match slot {
                Slot::Ready(connection) => Some(connection),
                Slot::Connecting(_) => None,
            });
            let retired = retired.drain(..).filter_map(|weak| weak.upgrade());
            let mut open: Vec<_> = current.chain(retired).collect();
            open.sort_unstable_by_key(Connection::id);
            open
        };
        for connection in &open {
            connection.close("the client was closed");
        }
        for connection in &open {
            connection.closed().await;
        }
        self.0.connecting.close();
        self.0.connecting.wait().await;
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("options", &self.0.options)
            .field("addresses", &self.0.table.lock().slots.len())
            .finish_non_exhaustive()
    }
}

enum Found {
    Ready(Connection),
    Connecting(broadcast::Receiver<Connected>),
}

impl Inner {
    fn find_or_connect(self: &Arc<Self>, addr: &str) -> Result<Found, ConnectFailure> {
        let mut table = self.table.lock();
        if let Some(connection) = table.ready(addr) {
            return Ok(Found::Ready(connection.clone()));
        }
        // An attempt whose task is gone left no result and never will.
        if let Some(Slot::Connecting(attempt)) = table.slots.get(addr)
            && let Some(attempt) = attempt.upgrade()
        {
            return Ok(Found::Connecting(attempt.subscribe()));
        }
        if table.closed {
            return Err(ConnectFailure::PoolClosed);
        }
        table.sweep();
        let (result, attempt) = broadcast::channel(1);
        let addr: Arc<str> = addr.into();
        table
            .slots
            .insert(Arc::clone(&addr), Slot::Connecting(result.downgrade()));
        let inner = Arc::clone(self);
        self.connecting.spawn(async move {
            let connected = tokio::select! {
                biased;
                () = inner.closing.cancelled() => Err(ConnectFailure::PoolClosed),
                socket = connect::connect(&addr, &inner.options) => socket.and_then(|socket| {
                    // It fails if the peer is gone already.
                    let (peer, local) = socket.addrs().map_err(ConnectFailure::Lost)?;
                    let info = ConnectionInfo::new(peer, local).named(Arc::clone(&addr));
                    Ok(inner.admit(socket, info))
                }),
            };
            // The table first: who sees the failure may try again at once.
            let connected = connected.map_err(|failure| {
                inner.table.lock().slots.remove(&addr);
                Arc::new(failure)
            });
            if let Err(failure) = &connected {
                tracing::debug!(%addr, %failure, "cannot connect");
            }
            // Everyone may have given up by now.
            let _ = result.send(connected);
        });
        Ok(Found::Connecting(attempt))
    }

    /// Starts serving a connected socket and puts it into the table.
    fn admit(&self, socket: Socket, info: ConnectionInfo) -> Connection {
        let addr = Arc::clone(&info.name);
        let connection = Connection::start_socket(
            socket,
            info,
            &self.options.connection,
            Arc::clone(&self.handler),
        );
        let mut table = self.table.lock();
        if table.closed {
            // `close_all` waits for this task, and the connection ends with its last handle.
            connection.close("the client was closed");
            table.retire(&connection);
        } else {
            table.slots.insert(addr, Slot::Ready(connection.clone()));
        }
        connection
    }
}

impl Table {
    fn ready(&self, addr: &str) -> Option<&Connection> {
        match self.slots.get(addr) {
            Some(Slot::Ready(connection)) if !connection.is_closed() => Some(connection),
            _ => None,
        }
    }

    /// Drops what has ended, so that addresses which are no longer used do not pile up.
    fn sweep(&mut self) {
        self.slots.retain(|_, slot| match slot {
            Slot::Ready(connection) => !connection.is_closed(),
            Slot::Connecting(_) => true,
        });
        self.retired.retain(|weak| weak.upgrade().is_some());
    }

    fn retire(&mut self, connection: &Connection) {
        self.retired.push(connection.downgrade());
    }
}
