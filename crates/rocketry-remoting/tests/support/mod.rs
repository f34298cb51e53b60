//! The other end of a connection, played by the test: it reads and writes frames, or whatever bytes the test wants.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rocketry_protocol::{RemotingCommand, RequestCode, ResponseCode, frame};
use rocketry_remoting::{
    Connection, ConnectionInfo, ConnectionOptions, Deadline, Handler, Responder, Unsupported,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    sync::mpsc,
};

/// Sends and receives frames over any stream.
#[derive(Debug)]
pub(crate) struct Peer<S> {
    pub(crate) io: S,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) fn new(io: S) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
        }
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn receive(&mut self) -> Option<RemotingCommand> {
        loop {
            if let Some(frame) = frame::split(&mut self.buffer, frame::MAX_FRAME_BYTES).unwrap() {
                return Some(RemotingCommand::decode(frame).unwrap());
            }
            // A reset is an end as well.
            if !matches!(self.io.read_buf(&mut self.buffer).await, Ok(1..)) {
                return None;
            }
        }
    }

    pub(crate) async fn request(&mut self) -> RemotingCommand {
        self.receive().await.expect("a frame")
    }

    pub(crate) async fn send(&mut self, command: &RemotingCommand) {
        self.raw(&encoded(command)).await;
    }

    /// Answers `request` with its own body.
    pub(crate) async fn answer(&mut self, request: &RemotingCommand) {
        let response = RemotingCommand::response(ResponseCode::SUCCESS)
            .answering(request)
            .with_body(request.body.clone());
        self.send(&response).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    /// Whether the stream ends, in any way, without another frame.
    pub(crate) async fn sees_end(&mut self) -> bool {
        self.receive().await.is_none()
    }
}

pub(crate) fn encoded(command: &RemotingCommand) -> BytesMut {
    let mut bytes = BytesMut::new();
    command.encode(&mut bytes).unwrap();
    bytes
}

pub(crate) fn request(body: impl Into<Bytes>) -> RemotingCommand {
    RemotingCommand::bare_request(RequestCode::SEND_MESSAGE).with_body(body)
}

pub(crate) fn within(ms: u64) -> Deadline {
    Deadline::after(Duration::from_millis(ms))
}

pub(crate) fn info() -> ConnectionInfo {
    let addr = SocketAddr::from(([127, 0, 0, 1], 9));
    ConnectionInfo::new(addr, addr).named("broker.test:10911")
}

/// A connection over memory, and its other end.
pub(crate) fn connected(options: &ConnectionOptions) -> (Connection, Peer<DuplexStream>) {
    connected_with(options, 64 * 1024, Arc::new(Unsupported))
}

pub(crate) fn connected_with(
    options: &ConnectionOptions,
    pipe_bytes: usize,
    handler: Arc<dyn Handler>,
) -> (Connection, Peer<DuplexStream>) {
    let (near, far) = tokio::io::duplex(pipe_bytes);
    let connection = Connection::start(near, info(), options, handler);
    (connection, Peer::new(far))
}

/// Hands requests and events to the test.
#[derive(Debug)]
pub(crate) struct Recorder {
    requests: mpsc::UnboundedSender<(RemotingCommand, Responder)>,
    pub(crate) events: Mutex<Vec<String>>,
}

pub(crate) type Requests = mpsc::UnboundedReceiver<(RemotingCommand, Responder)>;

impl Recorder {
    pub(crate) fn new() -> (Arc<Self>, Requests) {
        let (requests, receiver) = mpsc::unbounded_channel();
        let recorder = Self {
            requests,
            events: Mutex::default(),
        };
        (Arc::new(recorder), receiver)
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }
}

impl Handler for Recorder {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        // A test that does not look at requests has dropped the receiver.
        let _ = self.requests.send((request, responder));
    }

    fn opened(&self, _: &Connection) {
        self.events.lock().unwrap().push("opened".into());
    }

    fn closed(&self, connection: &Connection) {
        let reason = connection.close_reason().expect("a reason").to_string();
        self.events.lock().unwrap().push(reason);
    }
}

/// Lets every task that can run do so, until nothing happens any more.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Polls `future` `polls` times, with time for the other tasks in between, then drops it; whether it had finished by then.
pub(crate) async fn drop_after<F: Future>(future: F, polls: usize) -> bool {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if future.as_mut().poll(&mut cx).is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}
