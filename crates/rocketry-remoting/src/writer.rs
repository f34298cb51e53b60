//! The writing task: takes all frames that callers have appended and gives them to the socket in one write.

use std::{
    future::{Future as _, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Poll, ready},
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    task::yield_now,
    time::{Instant, timeout},
};

use crate::{
    error::CloseReason, outbound::Batch, shared::Shared, signal::Lookout, turn::TURN_BYTES,
    watch::CloseOnDrop,
};

/// Writes until the connection ends; then, unless it was aborted, what is still queued and the end of the stream.
pub(crate) async fn run<W>(guarded: CloseOnDrop, io: W)
where
    W: AsyncWrite + Send + 'static,
{
    let shared = Arc::clone(&guarded.0);
    let mut io = pin!(io);
    let written = {
        let given = pin!(shared.abort.given());
        let mut aborted = Lookout::new(&shared.abort, given);
        let mut writing = pin!(write_until_closed(&shared, &mut io));
        poll_fn(|cx| match aborted.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => writing.as_mut().poll(cx),
        })
        .await
    };
    if let Err(error) = written {
        // A peer may send requests and leave without waiting for answers, as Go's one-way sends do: the first answer resets the
        // connection, but what was sent before still lies in the socket, up to the end of the stream. The reader takes it.
        shared.stop_writing();
        let _ = timeout(shared.options.linger, shared.stop.given()).await;
        shared.close(CloseReason::io(&error));
        shared.abort.give();
    }
}

async fn write_until_closed<W: AsyncWrite>(
    shared: &Shared,
    io: &mut Pin<&mut W>,
) -> io::Result<()> {
    let mut batch = Batch::default();
    while wait_for_frames(shared, &mut batch).await {
        // Measured with two workers and 64 calls in flight: joining saves a tenth of the CPU per call and nearly doubles the
        // throughput; with a single call it costs a wake-up of an idle worker and nobody can join.
        if shared.pending.lock().len() > 1 {
            let_callers_join().await;
        }
        batch = shared.outbound.lock().take();
        let mut in_a_row = 0;
        while !batch.is_written() {
            let bytes = write_some(shared, io, &batch).await?;
            batch.advance(bytes);
            shared.written.fetch_add(bytes as u64, Ordering::SeqCst);
            in_a_row += bytes;
            if in_a_row >= TURN_BYTES {
                // a peer that reads as fast as this is written must not keep the others waiting
                yield_now().await;
                in_a_row = 0;
            }
        }
        // Over TLS, what was taken may wait here for the socket.
        poll_fn(|cx| watched(shared, io.as_mut().poll_flush(cx))).await?;
        shared.activity.wrote(Instant::now());
        shared.wrote(&batch);
        batch.clear();
    }
    io.shutdown().await
}

/// `false` when the connection has ended and nothing is queued. The memory of `written` is left with the
/// queue, where the watching task gives it back if nothing comes for a while.
async fn wait_for_frames(shared: &Shared, written: &mut Batch) -> bool {
    poll_fn(|cx| {
        let mut outbound = shared.outbound.lock();
        if written.has_room() {
            outbound.spare = std::mem::take(written);
        }
        if !outbound.queued.is_empty() {
            return Poll::Ready(true);
        }
        if outbound.closed {
            return Poll::Ready(false);
        }
        outbound.writer = Some(cx.waker().clone());
        if outbound.has_room() && !std::mem::replace(&mut outbound.is_room_watched, true) {
            drop(outbound);
            shared.tick.notify_one();
        }
        Poll::Pending
    })
    .await
}

/// Goes to the end of the run queue once: all callers that can already run append their frames to this batch.
async fn let_callers_join() {
    let mut waited = false;
    poll_fn(|cx| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn write_some<W: AsyncWrite>(
    shared: &Shared,
    io: &mut Pin<&mut W>,
    batch: &Batch,
) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let used = batch.unwritten(&mut slices, TURN_BYTES);
        let polled = match slices.get(..used).unwrap_or_default() {
            [only] => io.as_mut().poll_write(cx, only),
            many => io.as_mut().poll_write_vectored(cx, many),
        };
        match ready!(watched(shared, polled)) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            other => Poll::Ready(other),
        }
    })
    .await
}

/// Notes whether the socket takes bytes; the watching task gives a peer up that takes none for long.
fn watched<T>(shared: &Shared, polled: Poll<T>) -> Poll<T> {
    if polled.is_ready() {
        shared.activity.unstalled();
    } else if shared.activity.stalled(Instant::now()) {
        shared.tick.notify_one();
    }
    polled
}

/// Pieces given to one vectored write; far below the 1,024 of common systems, since they lie on the stack.
const MAX_SLICES: usize = 64;
