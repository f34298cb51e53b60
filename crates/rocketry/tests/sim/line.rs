//! One connection between the client and a simulated server: a byte stream in memory that can be cut, stalled and swallowed.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rocketry_protocol::{RemotingCommand, frame};
use rocketry_remoting::{Dial, DialFuture, Dialed};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf},
    time::{Instant, sleep, sleep_until},
};

use crate::world::{HostId, Reach, World};

/// What a server sends back, and when.
#[derive(Debug)]
pub(crate) enum Answer {
    /// These bytes, after a time.
    After(Duration, Bytes),
    /// The end of the connection, without regard to answers that are due.
    Cut(Cut),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As if the peer's process had gone with bytes unread.
    Reset,
    /// In order.
    Close,
}

/// The client's end.
pub(crate) struct Line {
    stream: DuplexStream,
    reset: Arc<AtomicBool>,
    world: World,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.world.line_dropped();
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() == before && self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Dial for World {
    fn dial<'a>(&'a self, addr: &'a str) -> DialFuture<'a> {
        Box::pin(async move {
            match self.reach(addr) {
                Reach::Nobody => {
                    sleep(HOP).await;
                    Err(io::ErrorKind::ConnectionRefused.into())
                }
                Reach::Void => std::future::pending().await,
                Reach::Host { id, epoch, buffer } => {
                    sleep(HOP).await;
                    let (client, server) = tokio::io::duplex(buffer);
                    let reset = Arc::new(AtomicBool::new(false));
                    let serving = Serving {
                        world: self.clone(),
                        host: id,
                        epoch,
                        number: self.line_opened(id, buffer),
                        stream: server,
                        reset: Arc::clone(&reset),
                        due: BinaryHeap::new(),
                        answers: 0,
                    };
                    tokio::spawn(serving.run());
                    let line = Line {
                        stream: client,
                        reset,
                        world: self.clone(),
                    };
                    let any: SocketAddr = ([10, 0, 0, 1], 1).into();
                    Ok(Dialed::new(line, any, any))
                }
            }
        })
    }
}

/// One way of a packet.
const HOP: Duration = Duration::from_millis(1);

/// The server's end.
struct Serving {
    world: World,
    host: HostId,
    /// The host's epoch when the connection was made: a host that restarted knows nothing of it any more.
    epoch: u32,
    number: u64,
    stream: DuplexStream,
    reset: Arc<AtomicBool>,
    /// Answers by the time at which they are due, then by their order.
    due: BinaryHeap<Reverse<(Instant, u64, Bytes)>>,
    answers: u64,
}

/// What a host does with the bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reads and answers.
    Serve,
    /// Takes and gives nothing. Goes on later where it stopped: nothing of a stream is ever lost in the middle.
    Still,
    /// The connection is not known any more: whoever sends on it learns of that.
    Stale,
    /// The connection ends now.
    End(Cut),
}

impl Serving {
    async fn run(mut self) {
        let cut = self.serve().await;
        self.reset.store(cut == Cut::Reset, Ordering::Relaxed);
        self.world.line_ended(self.host, self.number, cut);
    }

    async fn serve(&mut self) -> Cut {
        let world = self.world.clone();
        let news = world.news(self.host);
        let mut inbox = BytesMut::new();
        loop {
            let mut told = std::pin::pin!(news.notified());
            told.as_mut().enable();
            let mode = world.mode(self.host, self.epoch, self.number);
            if let Mode::End(cut) = mode {
                return cut;
            }
            for bytes in world.outbox(self.number) {
                self.schedule(Duration::ZERO, bytes);
            }
            let next = self.due.peek().map(|Reverse((at, ..))| *at);
            tokio::select! {
                biased;
                () = told => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() && mode != Mode::Still => {
                    let Some(Reverse((_, _, bytes))) = self.due.pop() else { continue };
                    if mode == Mode::Serve && self.write(&bytes).await.is_err() {
                        return Cut::Close;
                    }
                }
                read = self.stream.read_buf(&mut inbox), if mode != Mode::Still => {
                    match (read, mode) {
                        (Ok(0) | Err(_), _) => return Cut::Close,
                        (_, Mode::Stale) => return Cut::Reset,
                        _ => if let Some(cut) = self.take(&mut inbox) {
                            return cut;
                        },
                    }
                }
            }
        }
    }

    /// Handles the whole frames that have arrived.
    fn take(&mut self, inbox: &mut BytesMut) -> Option<Cut> {
        while let Some(frame) = frame::split(inbox, frame::MAX_FRAME_BYTES).expect("our own frames")
        {
            let request = RemotingCommand::decode(frame).expect("our own frames");
            for answer in self.world.answer(self.host, self.number, &request) {
                match answer {
                    Answer::Cut(cut) => return Some(cut),
                    Answer::After(delay, bytes) => {
                        self.schedule(delay, bytes);
                    }
                }
            }
        }
        None
    }

    fn schedule(&mut self, delay: Duration, bytes: Bytes) {
        self.answers += 1;
        let due = Instant::now() + HOP + delay;
        self.due.push(Reverse((due, self.answers, bytes)));
    }

    /// In one piece, or drop by drop if the host is in that state.
    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(drop_bytes) = self.world.drop_bytes(self.host) else {
            return self.stream.write_all(bytes).await;
        };
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(drop_bytes));
            self.stream.write_all(now).await?;
            sleep(HOP).await;
            bytes = later;
        }
        Ok(())
    }
}
