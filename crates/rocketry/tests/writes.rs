//! How many writes to the connection sends share, counted at the connection: what each costs as a system call on a socket.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use rocketry::{BrokerData, Client, Dial, DialFuture, Dialed, Message, QueueData, TopicRouteData};
use rocketry_protocol::{
    RemotingCommand, RequestCode, ResponseCode, body, frame,
    header::{SendMessageReply, SendMessageRequest},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Name server and broker in memory; they answer whatever a write brings before it returns.
#[derive(Debug, Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl Dial for Counting {
    fn dial<'a>(&'a self, _: &'a str) -> DialFuture<'a> {
        let addr = SocketAddr::from(([127, 0, 0, 1], 10911));
        let stream = Stream {
            asked: BytesMut::new(),
            answers: VecDeque::new(),
            reader: None,
            writes: Arc::clone(&self.0),
        };
        Box::pin(async move { Ok(Dialed::new(stream, addr, addr)) })
    }
}

struct Stream {
    asked: BytesMut,
    answers: VecDeque<u8>,
    reader: Option<Waker>,
    writes: Arc<AtomicU64>,
}

impl Stream {
    fn take(&mut self, bytes: &[u8]) {
        self.asked.extend_from_slice(bytes);
        let mut out = BytesMut::new();
        while let Some(frame) = frame::split(&mut self.asked, frame::MAX_FRAME_BYTES).unwrap() {
            let request = RemotingCommand::decode(frame).unwrap();
            answer(&request)
                .answering(&request)
                .encode(&mut out)
                .unwrap();
        }
        self.answers.extend(&out);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

fn answer(request: &RemotingCommand) -> RemotingCommand {
    let ok = RemotingCommand::response(ResponseCode::SUCCESS);
    match request.request_code() {
        RequestCode::GET_ROUTEINFO_BY_TOPIC => {
            let route = TopicRouteData {
                broker_datas: vec![BrokerData {
                    broker_name: "a".to_owned(),
                    broker_addrs: [(0, "127.0.0.1:10911".to_owned())].into(),
                    ..BrokerData::default()
                }],
                queue_datas: vec![QueueData {
                    broker_name: "a".to_owned(),
                    perm: 6,
                    read_queue_nums: 4,
                    write_queue_nums: 4,
                    ..QueueData::default()
                }],
                ..TopicRouteData::default()
            };
            ok.with_body(body::encode_standard(&route).unwrap())
        }
        RequestCode::SEND_MESSAGE_V2 => {
            let header: SendMessageRequest<'_> = request.header().unwrap();
            let id = "7F00000100002A9F0000000000001234".to_owned();
            ok.with_header(&SendMessageReply::new(id, header.queue_id, 7))
        }
        _ => ok,
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.answers.is_empty() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = self.answers.len().min(buf.remaining());
        let bytes: Vec<u8> = self.answers.drain(..taken).collect();
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Relaxed);
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Relaxed);
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.take(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Writes per 1,000 messages of 1 KiB, `together` of them at a time, all on one thread, so that it comes out the same every time.
fn writes_per_thousand(together: u64) -> u64 {
    const MESSAGES: u64 = 8000;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let peer = Counting::default();
        let client = Client::connect(SocketAddr::from(([127, 0, 0, 1], 9876)))
            .dialer(Arc::new(peer.clone()))
            .await
            .unwrap();
        let producer = client.producer("PG").topics(["T"]).await.unwrap();
        let before = peer.0.load(Relaxed);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..together {
            let producer = producer.clone();
            tasks.spawn(async move {
                for _ in 0..MESSAGES / together {
                    let message = Message::new("T", Bytes::from_static(&[b'x'; 1024]));
                    producer.send(message).await.unwrap();
                }
            });
        }
        while let Some(sent) = tasks.join_next().await {
            sent.unwrap();
        }
        (peer.0.load(Relaxed) - before) * 1000 / MESSAGES
    })
}

#[test]
fn sends_that_are_under_way_together_share_writes() {
    let (alone, together) = (writes_per_thousand(1), writes_per_thousand(64));
    println!("writes per 1,000 messages: {alone} at 1 in flight, {together} at 64");
    // Nothing is held back to wait for company: a send alone is a write, and no more than one.
    assert!((1000..=1005).contains(&alone), "{alone}");
    assert!(
        together <= 125,
        "more than one write per 8 messages: {together}"
    );
}
