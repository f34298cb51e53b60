//! The floor of a client that serves independent callers: see [`super::echo`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::echo::{Clocks, EchoDrive, READ, reply_frame, request_frame, us_since};
use super::figures::Figures;
use crate::{Result, clock};

/// What the callers and the connection share.
struct Shared {
    outbox: Mutex<Outbox>,
    /// There is something to write.
    work: Notify,
    measuring: AtomicBool,
    over: AtomicBool,
}

#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    /// Who waits for an answer, in the order of the requests.
    waiting: VecDeque<oneshot::Sender<()>>,
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the callers on one worker thread, as `rocketry bench produce` does by default.
pub(super) fn drive(options: &EchoDrive) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(run(options))
}

async fn run(options: &EchoDrive) -> Result<Figures> {
    let stream = TcpStream::connect(options.addr).await?;
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let shared = Arc::new(Shared {
        outbox: Mutex::default(),
        work: Notify::new(),
        measuring: AtomicBool::new(false),
        over: AtomicBool::new(false),
    });
    let mut connection = JoinSet::new();
    connection.spawn(write_out(Arc::clone(&shared), write));
    connection.spawn(read_in(Arc::clone(&shared), read, reply_frame()?.len()));
    let frame: Arc<[u8]> = request_frame(options.size)?.to_vec().into();
    let mut callers = JoinSet::new();
    for _ in 0..options.in_flight {
        callers.spawn(call(Arc::clone(&shared), Arc::clone(&frame)));
    }
    sleep(options.warm()).await;
    let start = Clocks::read(options)?;
    shared.measuring.store(true, Relaxed);
    sleep(options.measured()).await;
    shared.measuring.store(false, Relaxed);
    let end = Clocks::read(options)?;
    shared.over.store(true, Relaxed);
    let mut latencies_us = Vec::new();
    while let Some(of_one) = callers.join_next().await {
        latencies_us.extend(of_one?);
    }
    connection.shutdown().await;
    start.figures(end, latencies_us)
}

async fn call(shared: Arc<Shared>, frame: Arc<[u8]>) -> Vec<u32> {
    let mut latencies_us = Vec::new();
    while !shared.over.load(Relaxed) {
        let sent = clock::now();
        let (answered, answer) = oneshot::channel();
        {
            let mut outbox = shared.outbox();
            outbox.bytes.extend_from_slice(&frame);
            outbox.waiting.push_back(answered);
        }
        shared.work.notify_one();
        if answer.await.is_err() {
            break;
        }
        if shared.measuring.load(Relaxed) {
            latencies_us.push(us_since(sent, clock::now()));
        }
    }
    latencies_us
}

async fn write_out(shared: Arc<Shared>, mut stream: OwnedWriteHalf) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        shared.work.notified().await;
        // Callers that were woken together add their frames first: one write for all of them.
        tokio::task::yield_now().await;
        bytes.clear();
        std::mem::swap(&mut bytes, &mut shared.outbox().bytes);
        if !bytes.is_empty() {
            stream.write_all(&bytes).await?;
        }
    }
}

async fn read_in(
    shared: Arc<Shared>,
    mut stream: OwnedReadHalf,
    reply: usize,
) -> std::io::Result<()> {
    let mut buffer = vec![0; READ];
    let mut pending = 0;
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        pending += read;
        let mut outbox = shared.outbox();
        while pending >= reply {
            pending -= reply;
            if let Some(answered) = outbox.waiting.pop_front() {
                let _ = answered.send(());
            }
        }
    }
}
