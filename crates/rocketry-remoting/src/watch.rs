//! The watching task: everything about a connection that depends on time, and its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    connection::Connection, error::CloseReason, handler::Handler, outbound::Batch, pending::Notice,
    shared::Shared,
};

/// When bytes moved last, in milliseconds since the connection started.
#[derive(Debug)]
pub(crate) struct Activity {
    start: Instant,
    read_ms: AtomicU64,
    wrote_ms: AtomicU64,
    /// Since when the socket takes no bytes; [`MOVING`] while it does.
    stalled_ms: AtomicU64,
}

const MOVING: u64 = u64::MAX;

impl Activity {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            read_ms: AtomicU64::new(0),
            wrote_ms: AtomicU64::new(0),
            stalled_ms: AtomicU64::new(MOVING),
        }
    }

    pub(crate) fn read(&self, now: Instant) {
        self.read_ms.store(self.ms(now), Ordering::Relaxed);
    }

    pub(crate) fn wrote(&self, now: Instant) {
        self.wrote_ms.store(self.ms(now), Ordering::Relaxed);
    }

    /// Whether the stall begins just now.
    pub(crate) fn stalled(&self, now: Instant) -> bool {
        let begins = self.stalled_ms.load(Ordering::Relaxed) == MOVING;
        if begins {
            self.stalled_ms.store(self.ms(now), Ordering::Relaxed);
        }
        begins
    }

    pub(crate) fn unstalled(&self) {
        self.stalled_ms.store(MOVING, Ordering::Relaxed);
    }

    /// The last time that bytes moved.
    fn last(&self) -> Instant {
        let read_ms = self.read_ms.load(Ordering::Relaxed);
        let wrote_ms = self.wrote_ms.load(Ordering::Relaxed);
        self.start + Duration::from_millis(read_ms.max(wrote_ms))
    }

    fn stalled_since(&self) -> Option<Instant> {
        let ms = self.stalled_ms.load(Ordering::Relaxed);
        (ms != MOVING).then(|| self.start + Duration::from_millis(ms))
    }

    fn ms(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start);
        u64::try_from(elapsed.as_millis()).unwrap_or(MOVING - 1)
    }
}

/// Expires calls and closes what is idle or stuck, until the connection is closed; then sees to it that its tasks end.
pub(crate) async fn run(
    guarded: EndOnDrop,
    reading: JoinHandle<()>,
    writing: JoinHandle<()>,
    handler: Arc<dyn Handler>,
) {
    let shared = Arc::clone(&guarded.0);
    while !shared.stop.is_given() {
        let now = Instant::now();
        let expiry = expire(&shared, now);
        let next = [
            expiry,
            check_idle(&shared, now),
            check_stall(&shared, now),
            check_room(&shared, now),
        ];
        let next = next.into_iter().flatten().min();
        tokio::select! {
            biased;
            () = shared.stop.given() => {}
            () = shared.tick.notified() => {}
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
        }
    }
    // A call may have entered the table after `close` had failed all that were in it, and before it found the door shut; it
    // leaves by itself. Nothing has to be expired from here on.
    let ended = async {
        // A panic has been reported by the runtime, and has closed the connection.
        let _ = tokio::join!(reading, writing);
    };
    let mut ended = std::pin::pin!(ended);
    if timeout(shared.options.linger, ended.as_mut())
        .await
        .is_err()
    {
        shared.abort.give();
        ended.await;
    }
    // Handles may outlive the connection for long; its buffers need not.
    {
        let mut outbound = shared.outbound.lock();
        outbound.queued = Batch::default();
        outbound.spare = Batch::default();
    }
    handler.closed(&Connection::to(&shared));
    drop(guarded);
}

/// Ends calls whose time is up; returns when to look again.
fn expire(shared: &Shared, now: Instant) -> Option<Instant> {
    let mut notices = Vec::new();
    let reads = shared.reads.load(Ordering::Relaxed);
    let (expired, waiting) = {
        let mut pending = shared.pending.lock();
        (pending.expire(now, reads, &mut notices), pending.len())
    };
    notices.into_iter().for_each(Notice::give);
    if expired.silent {
        shared.close(CloseReason::Silent);
    }
    // Each look costs a walk over the table: with many waiters rather end some a few milliseconds late than walk all the time.
    let pause = Duration::from_micros(waiting as u64 / WALK_PER_MICROSECOND);
    expired.next.map(|next| next.max(now + pause))
}

fn check_idle(shared: &Shared, now: Instant) -> Option<Instant> {
    let timeout = shared.options.idle_timeout?;
    let end = shared.activity.last() + timeout;
    if end <= now {
        shared.close(CloseReason::Idle(timeout));
    }
    Some(end)
}

fn check_stall(shared: &Shared, now: Instant) -> Option<Instant> {
    let timeout = shared.options.write_timeout;
    let end = shared.activity.stalled_since()? + timeout;
    if end <= now {
        shared.close(CloseReason::WriteTimeout(timeout));
    }
    Some(end)
}

/// Gives the memory of the outbound buffer back when no byte has moved for a while.
fn check_room(shared: &Shared, now: Instant) -> Option<Instant> {
    let mut outbound = shared.outbound.lock();
    if !outbound.is_room_watched {
        return None;
    }
    let end = shared.activity.last() + ROOM_KEPT;
    if end > now {
        return Some(end);
    }
    if !outbound.queued.is_empty() {
        return Some(now + ROOM_KEPT);
    }
    outbound.release();
    outbound.is_room_watched = false;
    None
}

/// Closes the connection if its task is dropped or panics instead of ending. Handed to the task, so that it works even if the
/// task is dropped before it has run at all.
pub(crate) struct CloseOnDrop(pub(crate) Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        // Without effect after an orderly end.
        self.0.close(CloseReason::Aborted);
    }
}

/// Those who wait for the end must not wait for a runtime that is gone. Handed to the task as [`CloseOnDrop`] is.
pub(crate) struct EndOnDrop(pub(crate) Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.close(CloseReason::Aborted);
        self.0.abort.give();
        self.0.ended.cancel();
    }
}

/// How long the memory of an empty outbound buffer is kept after the last byte moved. A heartbeat, sent twice a minute, takes none meanwhile.
const ROOM_KEPT: Duration = Duration::from_secs(2);

const WALK_PER_MICROSECOND: u64 = 16;
