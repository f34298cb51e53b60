//! A bare connection: what is written is what the script says, and whatever comes back is kept.

use std::time::Duration;

use bytes::BytesMut;
use rocketry_protocol::{RemotingCommand, RequestCode, ResponseCode, frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Result;

/// Long enough for a broker on a busy machine; a server that answers nothing is found out after it.
const ANSWER: Duration = Duration::from_secs(15);

/// How a request ended.
#[derive(Debug)]
pub(super) enum Answer {
    Reply(Box<RemotingCommand>),
    /// The server closed the connection.
    Closed,
    /// Nothing came.
    Silence,
}

/// A connection to one port, made again after it was closed.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) addr: String,
    stream: Option<TcpStream>,
    received: BytesMut,
    opaque: i32,
}

impl Wire {
    pub(super) fn new(addr: String) -> Self {
        Self {
            addr,
            stream: None,
            received: BytesMut::new(),
            opaque: 0,
        }
    }

    /// Sends the request and waits for its reply. What the server asks meanwhile is answered as a client without state would.
    pub(super) async fn call(&mut self, mut request: RemotingCommand) -> Result<Answer> {
        self.opaque += 1;
        request.opaque = self.opaque;
        let mut frame = BytesMut::new();
        request.encode(&mut frame)?;
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            self.received.clear();
            TcpStream::connect(&self.addr).await?
        };
        let answer = timeout(
            ANSWER,
            exchange(&mut stream, &mut self.received, &frame, self.opaque),
        )
        .await;
        Ok(match answer {
            Ok(Some(reply)) => {
                self.stream = Some(stream);
                Answer::Reply(Box::new(reply))
            }
            Ok(None) => Answer::Closed,
            Err(_) => {
                self.stream = Some(stream);
                Answer::Silence
            }
        })
    }
}

/// `None` when the connection ended, or what came is no frame.
async fn exchange(
    stream: &mut TcpStream,
    received: &mut BytesMut,
    request: &[u8],
    opaque: i32,
) -> Option<RemotingCommand> {
    stream.write_all(request).await.ok()?;
    loop {
        while let Some(frame) = frame::split(received, frame::MAX_FRAME_BYTES).ok()? {
            let command = RemotingCommand::decode(frame).ok()?;
            if command.is_response() {
                if command.opaque == opaque {
                    return Some(command);
                }
            } else if !command.is_oneway() {
                let mut reply = BytesMut::new();
                answer(&command).encode(&mut reply).ok()?;
                stream.write_all(&reply).await.ok()?;
            }
        }
        if stream.read_buf(received).await.ok()? == 0 {
            return None;
        }
    }
}

/// The answer of a client to what brokers ask of it.
fn answer(request: &RemotingCommand) -> RemotingCommand {
    let body = match request.request_code() {
        RequestCode::CONSUME_MESSAGE_DIRECTLY => {
            r#"{"autoCommit":true,"consumeResult":"CR_SUCCESS","order":false,"spentTimeMills":1}"#
        }
        _ => "{}",
    };
    RemotingCommand::response(ResponseCode::SUCCESS)
        .with_body(body)
        .answering(request)
}
