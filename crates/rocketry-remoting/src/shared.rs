//! What callers and the three tasks of one connection share, and how frames, permits and the end pass between them.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use rocketry_protocol::{EncodeError, Outgoing, RemotingCommand, ResponseCode, Serialization};
use tokio::{
    sync::{AcquireError, Notify, Semaphore, SemaphorePermit, TryAcquireError},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::Owner,
    deadline::Deadline,
    error::{CloseReason, Error, Stage},
    options::{ConnectionInfo, ConnectionOptions},
    outbound::{Batch, USUAL_HEADER_BYTES},
    pending::{Notice, Pending},
    signal::Signal,
    watch,
};

/// What callers and the three tasks of one connection share.
pub(crate) struct Shared {
    pub(crate) id: u64,
    pub(crate) info: ConnectionInfo,
    pub(crate) options: ConnectionOptions,
    pub(crate) owner: Weak<Owner>,

    pub(crate) outbound: Mutex<Outbound>,
    pub(crate) pending: Mutex<Pending>,
    /// Places in `pending`. Forgotten when taken, given back by [`Reply`].
    pub(crate) calls: Semaphore,
    /// One-way requests in `outbound`; given back by the writer.
    pub(crate) oneways: Semaphore,
    /// Bytes of own requests in `outbound`; given back by the writer.
    room: Semaphore,
    /// Requests of the peer without an answer.
    pub(crate) unanswered: AtomicUsize,

    /// All bytes the operating system has taken.
    pub(crate) written: AtomicU64,
    /// Reads that brought bytes.
    pub(crate) reads: AtomicU64,
    pub(crate) unmatched: AtomicU64,
    pub(crate) activity: watch::Activity,
    /// Something happened that the watching task has to plan for.
    pub(crate) tick: Notify,
    /// Bytes were written or a request was answered; only told while `progress_waiters` is not zero.
    progress: Notify,
    progress_waiters: AtomicUsize,

    closed: OnceLock<Closed>,
    /// No new work.
    pub(crate) stop: Signal,
    /// Drop the socket now.
    pub(crate) abort: Signal,
    /// Take no more requests from the peer.
    pub(crate) draining: Signal,
    /// All is over.
    pub(crate) ended: CancellationToken,
}

#[derive(Debug)]
struct Closed {
    reason: CloseReason,
    /// Frames that begin here or later were never given to the socket.
    discarded_from: u64,
}

/// Frames on their way to the writer.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    pub(crate) queued: Batch,
    /// What was written before: empty, with memory for the next frames.
    pub(crate) spare: Batch,
    /// Bytes of responses that are queued or being written.
    pub(crate) response_bytes: usize,
    /// The same as the [`Load`](crate::Load) has them: until the connection is gone, whatever became of them.
    loaded_bytes: usize,
    /// All bytes ever queued.
    pub(crate) appended: u64,
    /// The writer, while it waits for work.
    pub(crate) writer: Option<Waker>,
    /// The watching task knows that there is memory which nothing may need any more.
    pub(crate) is_room_watched: bool,
    /// The socket takes nothing any more; responses are dropped, requests wait for the end.
    broken: bool,
    pub(crate) closed: bool,
}

impl Outbound {
    /// All that is queued; the next frames go where earlier ones were.
    pub(crate) fn take(&mut self) -> Batch {
        std::mem::replace(&mut self.queued, std::mem::take(&mut self.spare))
    }

    /// Whether memory is kept for frames.
    pub(crate) fn has_room(&self) -> bool {
        self.queued.has_room() || self.spare.has_room()
    }

    /// Gives the memory back that nothing is in.
    pub(crate) fn release(&mut self) {
        self.queued.release();
        self.spare.release();
    }
}

/// What a frame is, and the outbound bytes reserved for it.
pub(crate) enum Frame<'a> {
    Call(SemaphorePermit<'a>),
    Oneway(SemaphorePermit<'a>),
    Response,
}

/// A place for one request on a connection: among those in flight, and for its bytes in the outbound buffer.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Vacancy<'a> {
    pub(crate) request: SemaphorePermit<'a>,
    pub(crate) room: SemaphorePermit<'a>,
}

struct Appended {
    /// Where the frame begins in all the bytes sent.
    position: u64,
    /// Bytes of responses that now wait for the socket.
    response_bytes: usize,
    /// The writer, if it waits for work and has to be woken.
    writer: Option<Waker>,
}

pub(crate) enum AppendError {
    Closed,
    Encode(EncodeError),
}

impl Shared {
    pub(crate) fn new(
        id: u64,
        info: ConnectionInfo,
        options: &ConnectionOptions,
        owner: &Weak<Owner>,
    ) -> Self {
        let max_calls = options.max_calls.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            id,
            info,
            options: options.clone(),
            owner: Weak::clone(owner),
            outbound: Mutex::default(),
            pending: Mutex::new(Pending::new(max_calls)),
            calls: Semaphore::new(max_calls),
            oneways: Semaphore::new(options.max_oneways.clamp(1, Semaphore::MAX_PERMITS)),
            room: Semaphore::new(options.max_outbound_bytes.clamp(1, MAX_ROOM as usize)),
            unanswered: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            unmatched: AtomicU64::new(0),
            activity: watch::Activity::new(Instant::now()),
            tick: Notify::new(),
            progress: Notify::new(),
            progress_waiters: AtomicUsize::new(0),
            closed: OnceLock::new(),
            stop: Signal::default(),
            abort: Signal::default(),
            draining: Signal::default(),
            ended: CancellationToken::new(),
        }
    }

    pub(crate) fn addr(&self) -> Arc<str> {
        Arc::clone(&self.info.name)
    }

    /// Ends the connection, unless it has ended before. See [`CloseReason::is_graceful`] for what happens to queued frames.
    pub(crate) fn close(&self, reason: CloseReason) {
        let graceful = reason.is_graceful();
        let writer = {
            let mut outbound = self.outbound.lock();
            if outbound.closed {
                return;
            }
            outbound.closed = true;
            let mut discarded_from = u64::MAX;
            if !graceful {
                discarded_from = outbound.appended - outbound.queued.len() as u64;
                outbound.queued.clear();
            }
            // The flag above admits one closer only.
            let _ = self.closed.set(Closed {
                reason,
                discarded_from,
            });
            outbound.writer.take()
        };
        if let Some(Closed { reason, .. }) = self.closed.get() {
            tracing::debug!(connection = self.id, peer = %self.info.name, %reason, "connection closing");
        }
        self.stop.give();
        if !graceful {
            self.abort.give();
        }
        if let Some(writer) = writer {
            writer.wake();
        }
        self.calls.close();
        self.oneways.close();
        self.room.close();
        let mut notices = Vec::new();
        self.pending.lock().fail_all(&mut notices);
        notices.into_iter().for_each(Notice::give);
        self.progressed();
    }

    /// Nothing can be written any more, but the peer's last requests may still be read.
    pub(crate) fn stop_writing(&self) {
        {
            let mut outbound = self.outbound.lock();
            outbound.broken = true;
            outbound.response_bytes = 0;
        }
        self.progressed();
    }

    pub(crate) fn closed_error(&self, elapsed: Duration) -> Error {
        let reason = self.closed.get().map(|closed| closed.reason.clone());
        let reason = reason.unwrap_or(CloseReason::Aborted);
        let unheard = self.reads.load(Ordering::Relaxed) == 0;
        Error::closed(self.addr(), elapsed, reason).unheard_if(unheard)
    }

    pub(crate) fn close_reason(&self) -> Option<&CloseReason> {
        self.closed.get().map(|closed| &closed.reason)
    }

    pub(crate) fn discarded_from(&self) -> u64 {
        self.closed
            .get()
            .map_or(u64::MAX, |closed| closed.discarded_from)
    }

    /// A place among a bounded number of requests and room for one of them, if both are free and there is time left.
    pub(crate) fn free<'a>(
        &'a self,
        requests: &'a Semaphore,
        body_bytes: usize,
        started: Instant,
        deadline: Deadline,
    ) -> Option<Vacancy<'a>> {
        if deadline.instant() <= started {
            return None;
        }
        let request = requests.try_acquire().ok()?;
        let room = self.room.try_acquire_many(self.room_for(body_bytes)).ok()?;
        Some(Vacancy { request, room })
    }

    /// Bytes that are taken for a request before it is encoded.
    fn room_for(&self, body_bytes: usize) -> u32 {
        let all = self.options.max_outbound_bytes.clamp(1, MAX_ROOM as usize);
        let bytes = (body_bytes + USUAL_HEADER_BYTES).min(all);
        u32::try_from(bytes).unwrap_or(MAX_ROOM)
    }

    /// As [`Shared::free`], but waits for both within `deadline`, in this order; others who wait are served first.
    ///
    /// The room is for a body and a usual header. What a header needs beyond that is taken when it has been encoded.
    pub(crate) fn vacancy<'a>(
        &'a self,
        requests: &'a Semaphore,
        body_bytes: usize,
        started: Instant,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Vacancy<'a>, Error>> + Send {
        // There may be tens of thousands who wait here: one future and one timer serve both waits, none is moved once it is made, and
        // what a block captures is in it once, where the arguments of a function would be in it twice.
        let bytes = self.room_for(body_bytes);
        async move {
            if deadline.instant() <= started {
                return Err(match requests.try_acquire() {
                    Ok(_) => Error::timeout(Stage::Write, self.addr(), started.elapsed()),
                    Err(TryAcquireError::NoPermits) => Error::overloaded(self.addr()),
                    Err(TryAcquireError::Closed) => self.closed_error(started.elapsed()),
                });
            }
            let mut stage = Stage::Permit;
            match timeout_at(deadline.instant(), async {
                let request = requests.acquire().await?;
                stage = Stage::Write;
                let room = self.room.acquire_many(bytes).await?;
                Ok::<_, AcquireError>(Vacancy { request, room })
            })
            .await
            {
                Ok(Ok(vacancy)) => Ok(vacancy),
                Ok(Err(_closed)) => Err(self.closed_error(started.elapsed())),
                Err(_) => Err(Error::timeout(stage, self.addr(), started.elapsed())),
            }
        }
    }

    /// The count of reads to compare with when the call times out; `None` if it has too little time to judge the peer by it.
    pub(crate) fn silence_counts(&self, started: Instant, deadline: Deadline) -> Option<u64> {
        let left = deadline.instant().saturating_duration_since(started);
        (self.options.close_when_silent && left > SHORT_CALL)
            .then(|| self.reads.load(Ordering::Relaxed))
    }

    /// Encodes `request` into the outbound buffer and wakes the writer if it waits; returns where the frame begins.
    pub(crate) fn append(
        &self,
        request: impl Outgoing,
        frame: Frame<'_>,
    ) -> Result<u64, AppendError> {
        let push = |batch: &mut Batch| batch.push(request);
        let appended = self.append_quietly(push, frame)?;
        if let Some(writer) = appended.writer {
            writer.wake();
        }
        Ok(appended.position)
    }

    /// As [`Shared::append`], but leaves waking the writer to the caller.
    fn append_quietly(
        &self,
        push: impl FnOnce(&mut Batch) -> Result<usize, EncodeError>,
        frame: Frame<'_>,
    ) -> Result<Appended, AppendError> {
        let mut guard = self.outbound.lock();
        let outbound = &mut *guard;
        if outbound.closed || (outbound.broken && matches!(frame, Frame::Response)) {
            return Err(AppendError::Closed);
        }
        let position = outbound.appended;
        let size = push(&mut outbound.queued).map_err(AppendError::Encode)?;
        outbound.appended += size as u64;
        match frame {
            Frame::Call(room) => outbound.queued.room += self.charge(room, size),
            Frame::Oneway(room) => {
                outbound.queued.room += self.charge(room, size);
                outbound.queued.oneways += 1;
            }
            Frame::Response => {
                outbound.queued.response_bytes += size;
                outbound.response_bytes += size;
                if let Some(load) = &self.options.load {
                    outbound.loaded_bytes += size;
                    load.queued(size);
                }
            }
        }
        Ok(Appended {
            position,
            response_bytes: outbound.response_bytes,
            writer: outbound.writer.take(),
        })
    }

    /// Keeps the permits of `room` until the frame is written, with as many more as are free if the frame is larger; this keeps
    /// long headers within the bound. Returns how many have to be given back.
    fn charge(&self, room: SemaphorePermit<'_>, size: usize) -> usize {
        let reserved = room.num_permits();
        room.forget();
        let missing = size.saturating_sub(reserved);
        if missing == 0 {
            return reserved;
        }
        reserved + self.room.forget_permits(missing)
    }

    pub(crate) fn append_error(&self, error: AppendError, started: Instant) -> Error {
        match error {
            AppendError::Closed => self.closed_error(started.elapsed()),
            AppendError::Encode(error) => Error::encode(self.addr(), started.elapsed(), error),
        }
    }

    /// The writer has handed `batch` to the socket.
    pub(crate) fn wrote(&self, batch: &Batch) {
        if batch.room > 0 {
            self.room.add_permits(batch.room);
        }
        if batch.oneways > 0 {
            self.oneways.add_permits(batch.oneways);
        }
        if batch.response_bytes > 0 {
            let mut outbound = self.outbound.lock();
            outbound.response_bytes -= batch.response_bytes;
            if let Some(load) = &self.options.load {
                outbound.loaded_bytes -= batch.response_bytes;
                load.left(batch.response_bytes);
            }
        }
        self.progressed();
    }

    /// Queues a response and returns the writer if it has to be woken. `pieces`, if there are any, are its body.
    pub(crate) fn respond(&self, response: RemotingCommand, pieces: Vec<Bytes>) -> Option<Waker> {
        let request = (response.opaque, response.serialization);
        self.respond_as(request, |batch| {
            if pieces.is_empty() {
                batch.push(response)
            } else {
                batch.push_pieces(&response, pieces)
            }
        })
    }

    /// [`Shared::respond`] with a response that `push` encodes, to a request with this opaque and serialization.
    pub(crate) fn respond_as(
        &self,
        (opaque, serialization): (i32, Serialization),
        push: impl FnOnce(&mut Batch) -> Result<usize, EncodeError>,
    ) -> Option<Waker> {
        let appended = match self.append_quietly(push, Frame::Response) {
            Err(AppendError::Encode(error)) => {
                tracing::warn!(connection = self.id, peer = %self.info.name, %error, "a response cannot be encoded");
                let mut fallback = RemotingCommand::response(ResponseCode::SYSTEM_ERROR)
                    .with_remark(format!("the response cannot be encoded: {error}"));
                fallback.opaque = opaque;
                fallback.serialization = serialization;
                let push = |batch: &mut Batch| batch.push(fallback);
                self.append_quietly(push, Frame::Response)
            }
            appended => appended,
        };
        // An error text always fits; if the connection is closed there is nobody to answer.
        let appended = appended.ok()?;
        let limit = self.options.response_limit_bytes;
        if appended.response_bytes > limit {
            self.close(CloseReason::Backlog {
                bytes: appended.response_bytes,
                limit,
            });
        }
        appended.writer
    }

    pub(crate) fn took_request(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        if let Some(load) = &self.options.load {
            load.took_request();
        }
    }

    pub(crate) fn finished_request(&self) {
        self.unanswered.fetch_sub(1, Ordering::SeqCst);
        if let Some(load) = &self.options.load {
            load.finished_request();
        }
        self.progressed();
    }

    /// Whether the reader has to pause for the peer to take its responses, or for the server to make them.
    pub(crate) fn is_choked(&self, high_water: usize) -> bool {
        self.has_all_requests() || self.outbound.lock().response_bytes > high_water
    }

    /// Whether the peer has as many requests under way as it may.
    pub(crate) fn has_all_requests(&self) -> bool {
        self.unanswered.load(Ordering::SeqCst) >= self.options.max_unanswered.max(1)
    }

    /// All bytes ever queued, and those of responses that wait for the socket.
    pub(crate) fn queued(&self) -> (u64, usize) {
        let outbound = self.outbound.lock();
        (outbound.appended, outbound.response_bytes)
    }

    /// Tells those in [`Shared::progress_until`] to look again.
    fn progressed(&self) {
        if self.progress_waiters.load(Ordering::SeqCst) > 0 {
            self.progress.notify_waiters();
        }
    }

    /// Waits until `condition` holds; `false` if the connection was closed or aborted before. Cancel-safe.
    pub(crate) async fn progress_until(&self, condition: impl Fn() -> bool) -> bool {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        if condition() {
            return true;
        }
        self.progress_waiters.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.progress_waiters);
        loop {
            let mut told = std::pin::pin!(self.progress.notified());
            told.as_mut().enable();
            if condition() {
                return true;
            }
            if self.abort.is_given() {
                return false;
            }
            tokio::select! {
                biased;
                () = told => {}
                () = self.abort.given() => {}
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(load) = &self.options.load {
            load.left(self.outbound.get_mut().loaded_bytes);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("id", &self.id)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Most outbound bytes that can be bounded.
const MAX_ROOM: u32 = 1 << 30;

/// Calls with less time than this say nothing about the peer when they time out. Java: `NettyRemotingClient.invokeSync`.
const SHORT_CALL: Duration = Duration::from_millis(100);
