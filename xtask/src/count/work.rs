//! The operations that are counted.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rocketry::{Client, Message, Producer};
use rocketry_protocol::header::{SendMessageReply, SendMessageRequest, SendReply};
use rocketry_protocol::{
    Outgoing as _, RemotingCommand, RequestCode, ResponseCode, TypedRequest, frame,
};
use rocketry_store::{NewMessage, ReadLimits, Store, StoreOptions};

use super::peer::InMemory;
use crate::Result;

const NOW_MS: i64 = 1_700_000_000_000;
const BODY: [u8; 1024] = [b'x'; 1024];
/// Messages of a commit, and sends at a time.
const TOGETHER: u64 = 64;

/// Something that is done once per message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Work {
    /// A send request to bytes
    Encode,
    /// The bytes of a send request to command and header
    Decode,
    /// The answer to a send to bytes
    #[value(name = "encode-reply")]
    EncodeReply,
    /// The bytes of the answer to command and header
    #[value(name = "decode-reply")]
    DecodeReply,
    /// A message into the store, 64 a commit
    Append,
    /// A message out of the store, 32 a read
    Read,
    /// A synchronous send, from the call to its result, one at a time; includes a peer in memory that decodes and answers it
    #[value(name = "drive-1")]
    DriveOne,
    /// The same of 64 tasks at a time
    #[value(name = "drive-64")]
    DriveMany,
    /// The same of asynchronous sends
    #[value(name = "drive-async")]
    DriveAsync,
}

impl Work {
    pub(super) const ALL: [Self; 9] = [
        Self::Encode,
        Self::Decode,
        Self::EncodeReply,
        Self::DecodeReply,
        Self::Append,
        Self::Read,
        Self::DriveOne,
        Self::DriveMany,
        Self::DriveAsync,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Append => "append",
            Self::Read => "read",
            Self::DriveOne => "drive-1",
            Self::DriveMany => "drive-64",
            Self::DriveAsync => "drive-async",
            Self::EncodeReply => "encode-reply",
            Self::DecodeReply => "decode-reply",
        }
    }

    /// Does it `repetitions` times, rounded up to whole groups.
    pub(super) fn run(self, repetitions: u64) -> Result {
        match self {
            Self::Encode => encode(repetitions),
            Self::Decode => decode(repetitions),
            Self::Append => append(repetitions),
            Self::Read => read(repetitions),
            Self::EncodeReply => encode_reply(repetitions),
            Self::DecodeReply => decode_reply(repetitions),
            Self::DriveOne => drive(1, repetitions, false),
            Self::DriveMany => drive(TOGETHER, repetitions, false),
            Self::DriveAsync => drive(TOGETHER, repetitions, true),
        }
    }
}

const PROPERTIES: &str =
    "UNIQ_KEY\u{1}7F000001000100000000000000000001\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}";

fn request() -> TypedRequest<SendMessageRequest<'static>> {
    let header = SendMessageRequest {
        producer_group: "PG",
        topic: "bench",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 3,
        born_timestamp: NOW_MS,
        properties: PROPERTIES,
        broker_name: Some("broker-a"),
        ..SendMessageRequest::default()
    };
    TypedRequest::new(RequestCode::SEND_MESSAGE_V2, header).with_body(Bytes::from_static(&BODY))
}

fn reply() -> RemotingCommand {
    let id = "7F00000100002A9F0000000000001234";
    let mut header = SendReply::new(id, 3, 1_000_000);
    header.transaction_id = Some("7F000001000100000000000000000001".into());
    RemotingCommand::response(ResponseCode::SUCCESS).with_header(&header)
}

fn encode(repetitions: u64) -> Result {
    let mut out = BytesMut::with_capacity(64 * 1024);
    for _ in 0..repetitions {
        let request = black_box(request());
        request.encode_head(&mut out)?;
        out.extend_from_slice(request.body());
        black_box(&out);
        out.clear();
    }
    Ok(())
}

fn encode_reply(repetitions: u64) -> Result {
    let mut out = BytesMut::with_capacity(64 * 1024);
    for _ in 0..repetitions {
        black_box(reply()).encode(&mut out)?;
        black_box(&out);
        out.clear();
    }
    Ok(())
}

fn decode_reply(repetitions: u64) -> Result {
    let mut bytes = BytesMut::new();
    reply().encode(&mut bytes)?;
    let frame = frame::split(&mut bytes, frame::MAX_FRAME_BYTES)?.ok_or("half a frame")?;
    for _ in 0..repetitions {
        let command = RemotingCommand::decode(black_box(frame.clone()))?;
        let header: SendMessageReply = command.header()?;
        black_box(header.queue_offset);
    }
    Ok(())
}

fn decode(repetitions: u64) -> Result {
    let mut bytes = BytesMut::new();
    request().into_command().encode(&mut bytes)?;
    let frame = frame::split(&mut bytes, frame::MAX_FRAME_BYTES)?.ok_or("half a frame")?;
    for _ in 0..repetitions {
        let command = RemotingCommand::decode(black_box(frame.clone()))?;
        let header: SendMessageRequest<'_> = command.header()?;
        black_box(header.queue_id);
    }
    Ok(())
}

/// A directory that goes with the process.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let name = format!(
            "rocketry-count-{}-{}",
            std::process::id(),
            fastrand::u64(..)
        );
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn fill(writer: &mut rocketry_store::Writer, messages: u64) -> Result {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let message = NewMessage {
        topic: "bench",
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_ms: NOW_MS,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        properties: PROPERTIES.as_bytes(),
        body: &BODY,
    };
    let mut left = messages;
    while left > 0 {
        for _ in 0..left.min(TOGETHER) {
            writer.append(&message, NOW_MS)?;
        }
        writer.commit()?;
        left = left.saturating_sub(TOGETHER);
    }
    Ok(())
}

fn append(repetitions: u64) -> Result {
    let dir = Scratch::new()?;
    let (mut writer, _reader, _) = Store::open(&dir.0, StoreOptions::default(), NOW_MS)?;
    fill(&mut writer, repetitions)
}

fn read(repetitions: u64) -> Result {
    const STORED: u64 = 1024;
    let dir = Scratch::new()?;
    let (mut writer, reader, _) = Store::open(&dir.0, StoreOptions::default(), NOW_MS)?;
    fill(&mut writer, STORED)?;
    let limits = ReadLimits::default();
    let (mut done, mut offset) = (0, 0);
    while done < repetitions {
        let found = reader.read("bench", 0, offset, &limits, None)?;
        done += u64::try_from(found.count)?;
        offset = if found.count == 0 {
            0
        } else {
            found.next_offset
        };
    }
    Ok(())
}

fn drive(together: u64, repetitions: u64, is_async: bool) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let peer = Arc::new(InMemory);
        let client = Client::connect(SocketAddr::from(([127, 0, 0, 1], 9876)))
            .dialer(peer)
            .await?;
        let producer = client.producer("PG").await?;
        let each = repetitions.div_ceil(together);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..together {
            tasks.spawn(send(producer.clone(), each, is_async));
        }
        while let Some(sent) = tasks.join_next().await {
            sent??;
        }
        Ok(())
    })
}

async fn send(producer: Producer, messages: u64, is_async: bool) -> Result {
    let topic: Arc<str> = "bench".into();
    for _ in 0..messages {
        let message = Message::new(Arc::clone(&topic), Bytes::from_static(&BODY)).tag("TagA");
        if is_async {
            producer.enqueue(message).await?.await?;
        } else {
            producer.send(message).await?;
        }
    }
    Ok(())
}
