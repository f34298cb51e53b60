//! Name server and broker in memory, at the other end of the client's connections: they answer within the write that asks.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use rocketry::{BrokerData, Dial, DialFuture, Dialed, QueueData, TopicRouteData};
use rocketry_protocol::header::{SendMessageReply, SendMessageRequest};
use rocketry_protocol::{RemotingCommand, RequestCode, ResponseCode, body, frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Every address leads to it.
#[derive(Debug)]
pub(super) struct InMemory;

impl Dial for InMemory {
    fn dial<'a>(&'a self, _: &'a str) -> DialFuture<'a> {
        let addr = SocketAddr::from(([127, 0, 0, 1], 10911));
        Box::pin(async move { Ok(Dialed::new(Stream::default(), addr, addr)) })
    }
}

#[derive(Default)]
struct Stream {
    asked: BytesMut,
    answers: VecDeque<u8>,
    reader: Option<Waker>,
}

impl Stream {
    fn answer(&mut self) -> crate::Result {
        let mut out = BytesMut::new();
        while let Some(frame) = frame::split(&mut self.asked, frame::MAX_FRAME_BYTES)? {
            let request = RemotingCommand::decode(frame)?;
            reply(&request)?.answering(&request).encode(&mut out)?;
        }
        self.answers.extend(&out);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Ok(())
    }
}

fn reply(request: &RemotingCommand) -> crate::Result<RemotingCommand> {
    let ok = RemotingCommand::response(ResponseCode::SUCCESS);
    Ok(match request.request_code() {
        RequestCode::GET_ROUTEINFO_BY_TOPIC => ok.with_body(body::encode_standard(&route())?),
        RequestCode::SEND_MESSAGE_V2 => {
            let header: SendMessageRequest<'_> = request.header()?;
            let id = "7F00000100002A9F0000000000001234".to_owned();
            ok.with_header(&SendMessageReply::new(id, header.queue_id, 7))
        }
        _ => ok,
    })
}

fn route() -> TopicRouteData {
    TopicRouteData {
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
        let (first, _) = self.answers.as_slices();
        let taken = first.len().min(buf.remaining());
        buf.put_slice(first.get(..taken).unwrap_or_default());
        self.answers.drain(..taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked.extend_from_slice(bytes);
        let answered = self.answer().map_err(io::Error::other);
        Poll::Ready(answered.map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
