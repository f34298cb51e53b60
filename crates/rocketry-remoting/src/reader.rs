//! The reading task: bytes -> frames -> waiting calls and the handler.

use std::{
    future::poll_fn,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Poll, ready},
};

use rocketry_protocol::{RemotingCommand, frame};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};

use crate::{
    connection::Connection,
    error::CloseReason,
    handler::{Handler, Responder},
    log_limit::LogLimit,
    pending::Notice,
    read_buffer::{FIRST_READ_BYTES, ReadBuffer},
    shared::Shared,
    signal::Lookout,
    turn::Turn,
    watch::CloseOnDrop,
};

/// Reads until the connection ends, for whichever reason, and then reads on into the void until the peer closes too: a socket
/// that is closed with unread bytes resets the connection, and the peer may lose what was sent to it last.
pub(crate) async fn run<R>(guarded: CloseOnDrop, io: R, handler: Arc<dyn Handler>)
where
    R: AsyncRead + Send + 'static,
{
    let shared = Arc::clone(&guarded.0);
    let mut io = pin!(io);
    handler.opened(&Connection::to(&shared));
    let mut inbound = Inbound {
        shared: Arc::clone(&shared),
        handled: CaughtUp {
            handler: Arc::clone(&handler),
            any: false,
        },
        buffer: ReadBuffer::default(),
        responses: Vec::new(),
        notices: Vec::new(),
    };
    let reason = inbound.read_until_closed(&mut io).await;
    drop(inbound);
    if let Some(reason) = reason {
        shared.close(reason);
    }
    let discard = poll_fn(|cx| {
        let mut space = [MaybeUninit::uninit(); FIRST_READ_BYTES];
        loop {
            let mut void = ReadBuf::uninit(&mut space);
            if ready!(io.as_mut().poll_read(cx, &mut void)).is_err() || void.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    });
    tokio::select! {
        biased;
        () = shared.abort.given() => {}
        () = discard => {}
    }
}

struct Inbound {
    shared: Arc<Shared>,
    handled: CaughtUp,
    buffer: ReadBuffer,
    /// Responses of one read, so that the table is locked once for all of them.
    responses: Vec<RemotingCommand>,
    notices: Vec<Notice>,
}

impl Inbound {
    /// `None` when this side has closed.
    async fn read_until_closed<R>(&mut self, io: &mut Pin<&mut R>) -> Option<CloseReason>
    where
        R: AsyncRead,
    {
        let shared = Arc::clone(&self.shared);
        let given = pin!(shared.stop.given());
        let mut stopped = Lookout::new(&shared.stop, given);
        let given = pin!(shared.draining.given());
        let mut draining = Lookout::new(&shared.draining, given);
        let high_water = shared.options.response_high_water_bytes;
        let mut turn = Turn::new(shared.options.load.as_deref());
        // Whether the buffer may hold whole frames.
        let mut more = false;
        loop {
            if shared.draining.is_given() {
                turn.end();
                self.handled.tell(false);
                stopped.given().await;
                return None;
            }
            if shared.is_choked(high_water) {
                turn.end();
                self.handled.tell(false);
                tokio::select! {
                    biased;
                    () = stopped.given() => return None,
                    _ = shared.progress_until(|| !shared.is_choked(high_water / 2)) => {}
                }
                continue;
            }
            if !more {
                let buffer = &mut self.buffer;
                let read = poll_fn(|cx| {
                    if stopped.poll(cx).is_ready() || draining.poll(cx).is_ready() {
                        return Poll::Ready(None);
                    }
                    let polled = buffer.poll_fill(io, cx);
                    if polled.is_pending() {
                        // It has done its work.
                        turn.end();
                    }
                    polled.map(Some)
                });
                let Some(read) = read.await else {
                    if shared.stop.is_given() {
                        return None;
                    }
                    continue;
                };
                match read {
                    Ok(0) => return Some(CloseReason::Peer),
                    Ok(bytes) => {
                        shared.reads.fetch_add(1, Ordering::Relaxed);
                        shared.activity.read(Instant::now());
                        turn.did(0, bytes);
                    }
                    Err(error) => return Some(CloseReason::io(&error)),
                }
            }
            match self.dispatch(&mut turn) {
                Ok(left) => more = left,
                Err(reason) => return Some(reason),
            }
            // Whoever sends many at once works on the answers to the first of them while the next are handled.
            self.handled.tell(more);
            if turn.is_over() {
                let handled = &mut self.handled;
                tokio::select! {
                    biased;
                    () = stopped.given() => return None,
                    () = turn.next(|| handled.tell(false)) => {}
                }
            }
        }
    }

    /// Handles whole frames in the buffer, to the end of the turn or until the peer has to read; says whether that may have left some.
    /// The good frames before a bad one are handled.
    fn dispatch(&mut self, turn: &mut Turn<'_>) -> Result<bool, CloseReason> {
        let options = &self.shared.options;
        let (max_frame_bytes, high_water) =
            (options.max_frame_bytes, options.response_high_water_bytes);
        let (mut queued, _) = self.shared.queued();
        let end = loop {
            if turn.is_over() {
                break Ok(true);
            }
            let command = match frame::split(&mut self.buffer.bytes, max_frame_bytes) {
                Ok(None) => break Ok(false),
                Ok(Some(frame)) => RemotingCommand::decode(frame),
                Err(error) => Err(error),
            };
            match command {
                Ok(command) if command.is_response() => {
                    self.responses.push(command);
                    turn.did(1, 0);
                }
                Ok(request) => {
                    let responder = Responder::new(Connection::to(&self.shared), &request);
                    self.handled.any = true;
                    self.handled.handler.handle(request, responder);
                    let (now, unread) = self.shared.queued();
                    turn.did(1, usize::try_from(now - queued).unwrap_or(usize::MAX));
                    queued = now;
                    if unread > high_water || self.shared.has_all_requests() {
                        break Ok(true);
                    }
                }
                Err(error) => {
                    // a peer that sends garbage may well connect again, and again
                    static LIMIT: LogLimit = LogLimit::new();
                    if let Some(held_back) = LIMIT.pass() {
                        tracing::warn!(peer = %self.shared.info.name, %error, held_back, "malformed frame, closing the connection");
                    }
                    break Err(CloseReason::Malformed(error));
                }
            }
        };
        self.complete();
        end
    }

    fn complete(&mut self) {
        if self.responses.is_empty() {
            return;
        }
        let mut unmatched = 0;
        {
            let mut pending = self.shared.pending.lock();
            for response in self.responses.drain(..) {
                match pending.complete(response) {
                    Ok(notice) => self.notices.extend(notice),
                    Err(_) => unmatched += 1,
                }
            }
        }
        if unmatched > 0 {
            self.shared
                .unmatched
                .fetch_add(unmatched, Ordering::Relaxed);
            self.handled.handler.unmatched(unmatched);
            tracing::debug!(peer = %self.shared.info.name, unmatched, "responses that nobody waits for");
        }
        self.notices.drain(..).for_each(Notice::give);
    }
}

/// Tells the handler that the requests of a read, or of a turn, have been handled, however that ended.
struct CaughtUp {
    handler: Arc<dyn Handler>,
    /// Whether there were requests since the handler was told, or was told that more would come.
    any: bool,
}

impl CaughtUp {
    fn tell(&mut self, more: bool) {
        if self.any {
            self.any = more;
            self.handler.caught_up(more);
        }
    }
}

impl Drop for CaughtUp {
    fn drop(&mut self) {
        self.tell(false);
    }
}
