//! One connection: calls and one-way requests out, requests of the peer in.
//!
//! Three tasks serve it: `reader` splits and dispatches what arrives, `writer` sends what callers have appended, `watch` owns the
//! other two and everything that depends on time. Callers meet them in [`Shared`]: an outbound batch and a table of pending
//! calls, each behind its own lock that is held for one append or one look-up.

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use rocketry_protocol::{Outgoing, RemotingCommand};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};

use crate::{
    deadline::Deadline,
    error::{CloseReason, Error, Stage},
    handler::Handler,
    options::{ConnectionInfo, ConnectionOptions},
    pending::{End, Outcome, Waiter},
    reader,
    shared::{Frame, Shared, Vacancy},
    socket::Socket,
    watch::{self, CloseOnDrop, EndOnDrop},
    writer,
};

/// A handle to one connection. Clones share it; when the last handle is gone, [`Reply`] and
/// [`Responder`](crate::Responder) values included, the connection writes what is queued and closes.
#[derive(Clone)]
pub struct Connection(Arc<Owner>);

/// Closes the connection when the last handle is dropped; the tasks hold [`Shared`] only.
pub(crate) struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close(CloseReason::Unused);
    }
}

impl Connection {
    /// Serves `stream` on the current runtime. The first bytes of both directions are frames.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start<S>(
        stream: S,
        info: ConnectionInfo,
        options: &ConnectionOptions,
        handler: Arc<dyn Handler>,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = tokio::io::split(stream);
        Self::start_halves(reader, writer, info, options, handler)
    }

    /// As [`Connection::start`], without the lock that a general stream needs between its two halves if it is a plain socket.
    pub(crate) fn start_socket(
        socket: Socket,
        info: ConnectionInfo,
        options: &ConnectionOptions,
        handler: Arc<dyn Handler>,
    ) -> Self {
        match socket {
            Socket::Tcp(stream) => {
                let (reader, writer) = stream.into_split();
                Self::start_halves(reader, writer, info, options, handler)
            }
            Socket::Other(dialed) => Self::start(dialed.stream, info, options, handler),
        }
    }

    fn start_halves<R, W>(
        reader: R,
        writer: W,
        info: ConnectionInfo,
        options: &ConnectionOptions,
        handler: Arc<dyn Handler>,
    ) -> Self
    where
        R: AsyncRead + Send + 'static,
        W: AsyncWrite + Send + 'static,
    {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let owner = Arc::new_cyclic(|owner| Owner(Arc::new(Shared::new(id, info, options, owner))));
        let shared = &owner.0;
        let reading = tokio::spawn(reader::run(
            CloseOnDrop(Arc::clone(shared)),
            reader,
            Arc::clone(&handler),
        ));
        let writing = tokio::spawn(writer::run(CloseOnDrop(Arc::clone(shared)), writer));
        tokio::spawn(watch::run(
            EndOnDrop(Arc::clone(shared)),
            reading,
            writing,
            handler,
        ));
        Self(owner)
    }

    /// Sends a request and waits for its response. The opaque is filled in.
    ///
    /// Waits, within `deadline`, while as many calls are in flight or bytes are queued as the options allow. Dropping the future
    /// gives up the place in the table at once; the request may be executed nevertheless.
    ///
    /// # Errors
    /// Timeout, Closed, Overloaded, Encode.
    pub async fn call(
        &self,
        command: RemotingCommand,
        deadline: Deadline,
    ) -> Result<RemotingCommand, Error> {
        self.begin(command, deadline).await?.await
    }

    /// The first half of [`Connection::call`]: hands the request over and returns the future of its response.
    ///
    /// Requests of one task are sent in the order of their `begin`.
    ///
    /// # Errors
    /// As [`Connection::call`], from before the response.
    pub async fn begin(&self, request: impl Outgoing, deadline: Deadline) -> Result<Reply, Error> {
        match self.begin_now(request, deadline, Instant::now()) {
            Ok(begun) => begun,
            // Boxed: what waits is rare and large, and every call would carry its place.
            Err(request) => Box::pin(self.begin_waiting(request, deadline)).await,
        }
    }

    /// As [`Connection::begin`] where nothing has to be waited for; `now` is what the clock says, which the caller knows.
    ///
    /// # Errors
    /// The request, while too many calls are in flight or bytes queued, or if the deadline is past: [`Connection::begin`] knows what to
    /// do then.
    pub fn begin_now<O: Outgoing>(
        &self,
        request: O,
        deadline: Deadline,
        now: Instant,
    ) -> Result<Result<Reply, Error>, O> {
        match self.vacancy_now(request.body().len(), deadline, now) {
            Some(vacancy) => Ok(self.begin_in(vacancy, request, deadline, now)),
            None => Err(request),
        }
    }

    async fn begin_waiting(
        &self,
        request: impl Outgoing,
        deadline: Deadline,
    ) -> Result<Reply, Error> {
        let started = Instant::now();
        let vacancy = self.vacancy(request.body().len(), deadline, started);
        let vacancy = vacancy.await?;
        self.begin_in(vacancy, request, deadline, started)
    }

    /// A place for one call with a body of `body_bytes`, if there is one now, and time left.
    pub fn vacancy_now(
        &self,
        body_bytes: usize,
        deadline: Deadline,
        now: Instant,
    ) -> Option<Vacancy<'_>> {
        let shared = self.shared();
        shared.free(&shared.calls, body_bytes, now, deadline)
    }

    /// As [`Connection::vacancy_now`], but waits for it within `deadline`. Those who wait are served in order; `started` is what the
    /// time in an error counts from.
    ///
    /// # Errors
    /// Timeout, Closed, Overloaded.
    pub fn vacancy(
        &self,
        body_bytes: usize,
        deadline: Deadline,
        started: Instant,
    ) -> impl Future<Output = Result<Vacancy<'_>, Error>> + Send {
        let shared = self.shared();
        shared.vacancy(&shared.calls, body_bytes, started, deadline)
    }

    /// As [`Connection::begin`], in a place that was found for it. `started` is what the time in an error counts from.
    ///
    /// # Errors
    /// Closed, Encode.
    pub fn begin_in(
        &self,
        vacancy: Vacancy<'_>,
        mut request: impl Outgoing,
        deadline: Deadline,
        started: Instant,
    ) -> Result<Reply, Error> {
        let Vacancy {
            request: permit,
            room,
        } = vacancy;
        let shared = self.shared();
        let reads_before = shared.silence_counts(started, deadline);
        let inserted = shared
            .pending
            .lock()
            .insert(deadline.instant(), reads_before);
        let Some(inserted) = inserted else {
            // The permits are as many as the table's places.
            return Err(Error::overloaded(shared.addr()));
        };
        permit.forget();
        if inserted.expires_earlier {
            shared.tick.notify_one();
        }
        let mut reply = Reply {
            connection: self.clone(),
            opaque: inserted.opaque,
            position: 0,
            started,
            done: false,
        };
        request.set_opaque(inserted.opaque);
        match shared.append(request, Frame::Call(room)) {
            Ok(position) => {
                reply.position = position;
                Ok(reply)
            }
            Err(error) => Err(shared.append_error(error, started)),
        }
    }

    /// Sends a request that the peer must not answer, and returns as soon as it is queued: the bound on queued bytes and requests
    /// is waited for, the socket is not. [`Connection::flushed`] tells when it has been written.
    ///
    /// Java: `NettyRemotingClient.invokeOneway`.
    ///
    /// # Errors
    /// Timeout, Closed, Overloaded, Encode.
    pub async fn oneway(&self, request: impl Outgoing, deadline: Deadline) -> Result<(), Error> {
        match self.oneway_now(request, deadline) {
            Ok(queued) => queued,
            Err(request) => Box::pin(self.oneway_waiting(request, deadline)).await,
        }
    }

    /// As [`Connection::oneway`] where nothing has to be waited for.
    ///
    /// # Errors
    /// The request, as [`Connection::begin_now`] gives it back.
    pub fn oneway_now<O: Outgoing>(
        &self,
        request: O,
        deadline: Deadline,
    ) -> Result<Result<(), Error>, O> {
        let shared = self.shared();
        let started = Instant::now();
        let free = shared.free(&shared.oneways, request.body().len(), started, deadline);
        match free {
            Some(vacancy) => Ok(self.queue_oneway(request, started, vacancy)),
            None => Err(request),
        }
    }

    async fn oneway_waiting(
        &self,
        request: impl Outgoing,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let shared = self.shared();
        let started = Instant::now();
        let bytes = request.body().len();
        let vacancy = shared.vacancy(&shared.oneways, bytes, started, deadline);
        self.queue_oneway(request, started, vacancy.await?)
    }

    fn queue_oneway(
        &self,
        mut request: impl Outgoing,
        started: Instant,
        Vacancy {
            request: permit,
            room,
        }: Vacancy<'_>,
    ) -> Result<(), Error> {
        let shared = self.shared();
        request.set_oneway();
        request.set_opaque(shared.pending.lock().skip_opaque());
        match shared.append(request, Frame::Oneway(room)) {
            Ok(_) => {
                // Given back by the writer.
                permit.forget();
                Ok(())
            }
            Err(error) => Err(shared.append_error(error, started)),
        }
    }

    /// Waits until everything queued so far has been handed to the operating system.
    ///
    /// # Errors
    /// Timeout; Closed if the connection ended before.
    pub async fn flushed(&self, deadline: Deadline) -> Result<(), Error> {
        let shared = self.shared();
        let started = Instant::now();
        let target = shared.outbound.lock().appended;
        let flushed = shared.progress_until(|| shared.written.load(Ordering::SeqCst) >= target);
        match timeout_at(deadline.instant(), flushed).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(shared.closed_error(started.elapsed())),
            Err(_) => Err(Error::timeout(
                Stage::Write,
                shared.addr(),
                started.elapsed(),
            )),
        }
    }

    /// Stops reading and waits until every request taken is answered and every answer written, or until `deadline`; returns
    /// whether that came about.
    pub(crate) async fn drain(&self, deadline: Deadline) -> bool {
        let shared = self.shared();
        shared.draining.give();
        let drained = shared.progress_until(|| {
            shared.unanswered.load(Ordering::SeqCst) == 0
                && shared.written.load(Ordering::SeqCst) >= shared.outbound.lock().appended
        });
        timeout_at(deadline.instant(), drained).await == Ok(true)
    }

    /// Ends the connection: calls in flight fail now, what is queued is still written (see
    /// [`ConnectionOptions::linger`]). Without effect if it has ended before.
    pub fn close(&self, reason: &str) {
        self.shared().close(CloseReason::Local(reason.into()));
    }

    /// Whether new requests would fail.
    pub fn is_closed(&self) -> bool {
        self.close_reason().is_some()
    }

    /// Why the connection ended; `None` while it has not.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.shared().close_reason()
    }

    /// Waits for the end: the socket is closed, all tasks have ended and [`Handler::closed`] has returned.
    pub async fn closed(&self) {
        self.shared().ended.cancelled().await;
    }

    /// A number that no other connection of this process has.
    pub fn id(&self) -> u64 {
        self.shared().id
    }

    /// The peer's socket address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.info().peer
    }

    /// This side's socket address.
    pub fn local_addr(&self) -> SocketAddr {
        self.info().local
    }

    /// Both ends.
    pub fn info(&self) -> &ConnectionInfo {
        &self.shared().info
    }

    /// Calls in flight, whether queued, sent, or answered but not yet taken by their caller.
    pub fn in_flight(&self) -> usize {
        self.shared().pending.lock().len()
    }

    /// Requests of the peer that are not answered yet, the one being handled included.
    pub fn unanswered(&self) -> usize {
        self.shared().unanswered.load(Ordering::Relaxed)
    }

    /// Bytes of responses that wait for the peer to take them.
    pub fn response_bytes(&self) -> usize {
        self.shared().outbound.lock().response_bytes
    }

    /// Responses that came for no waiting call since the connection started: late or unknown.
    pub fn unmatched_responses(&self) -> u64 {
        self.shared().unmatched.load(Ordering::Relaxed)
    }

    /// A handle for the tasks to pass on. If all others are gone, the connection is closing and the handle keeps nothing open.
    pub(crate) fn to(shared: &Arc<Shared>) -> Self {
        let owner = shared.owner.upgrade();
        Self(owner.unwrap_or_else(|| Arc::new(Owner(Arc::clone(shared)))))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }

    pub(crate) fn downgrade(&self) -> WeakConnection {
        WeakConnection(Arc::downgrade(self.shared()))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id())
            .field("name", &self.info().name)
            .field("peer", &self.info().peer)
            .field("closed", &self.close_reason())
            .finish_non_exhaustive()
    }
}

/// Does not keep the connection open.
#[derive(Debug)]
pub(crate) struct WeakConnection(Weak<Shared>);

impl WeakConnection {
    /// A handle, even if the last other one is gone but the tasks have not ended yet.
    pub(crate) fn upgrade(&self) -> Option<Connection> {
        self.0.upgrade().map(|shared| Connection::to(&shared))
    }
}

/// The response to come of one call. Dropping it gives up the call's place in the table.
#[must_use = "the response is only waited for when this is awaited"]
pub struct Reply {
    connection: Connection,
    opaque: i32,
    /// Where the frame began in all the bytes sent.
    position: u64,
    started: Instant,
    done: bool,
}

impl Reply {
    /// Has `waiter` told how the call ends, instead of waking whoever polls: there need not be a task that waits. If it has ended
    /// already, the end is returned instead. The waiter then calls [`Reply::settle`].
    pub fn tell(&self, waiter: Arc<dyn Waiter>) -> Option<End> {
        let shared = self.connection.shared();
        shared.pending.lock().tell(self.opaque, waiter).map(End)
    }

    /// What the call came to, once its end was told.
    ///
    /// # Errors
    /// As those of the future.
    pub fn settle(&mut self, end: End) -> Result<RemotingCommand, Error> {
        self.connection.shared().calls.add_permits(1);
        self.done = true;
        self.result(end.0)
    }

    /// The connection that the request went out on.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn result(&self, outcome: Outcome) -> Result<RemotingCommand, Error> {
        let shared = self.connection.shared();
        match outcome {
            Outcome::Replied(response) => Ok(response),
            Outcome::TimedOut => {
                // What is queued may still be written, so this is not certain even if nothing was sent yet.
                let elapsed = self.started.elapsed();
                Err(Error::timeout(Stage::Response, shared.addr(), elapsed)
                    .maybe_delivered_if(true))
            }
            Outcome::Closed => Err(shared
                .closed_error(self.started.elapsed())
                .maybe_delivered_if(self.position < shared.discarded_from())),
        }
    }
}

impl Future for Reply {
    type Output = Result<RemotingCommand, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.connection.shared();
        let polled = shared.pending.lock().poll(self.opaque, cx.waker());
        let Poll::Ready(outcome) = polled else {
            return Poll::Pending;
        };
        shared.calls.add_permits(1);
        self.done = true;
        Poll::Ready(self.result(outcome))
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.done {
            let shared = self.connection.shared();
            let removed = shared.pending.lock().remove(self.opaque);
            shared.calls.add_permits(1);
            // with the table unlocked: whoever was to be told may hold other calls
            drop(removed);
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("opaque", &self.opaque)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
