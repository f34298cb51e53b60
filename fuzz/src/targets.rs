//! The fuzz targets as plain functions: whatever comes in, they return. `cargo fuzz` runs them where a nightly toolchain exists,
//! `cargo xtask fuzz-smoke` everywhere else (it includes this file).
//!
//! Besides "no panic" each target holds what it decodes to a second opinion: what was decoded encodes, and decodes to the same.

use bytes::{Bytes, BytesMut};
use rocketry_protocol::compress::Compression;
use rocketry_protocol::header::{
    AckMessageRequest, ChangeInvisibleTimeRequest, CreateTopicRequest, DeleteTopicRequest,
    GetMaxOffsetRequest, GetRouteInfoRequest, OffsetReply, PopMessageReply, PopMessageRequest,
    PullMessageReply, PullMessageRequest, QueryConsumerOffsetRequest, QueryMessageRequest,
    RegisterBrokerReply, RegisterBrokerRequest, SearchOffsetRequest, SendMessageReply,
    SendMessageRequest, UnregisterBrokerRequest, UnregisterClientRequest,
    UpdateConsumerOffsetRequest,
};
use rocketry_protocol::id::{RecallHandle, UniqueId, parse_offset_msg_id};
use rocketry_protocol::record::{Record, records};
use rocketry_protocol::{
    Group, Properties, RemotingCommand, ResponseCode, Topic, batch, body, frame,
};

/// One decoder that faces bytes of a stranger.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name on the command line.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
    /// Where its seeds lie: vector file, and the names of the members that hold them.
    pub seeds: &'static [(&'static str, &'static [&'static str])],
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "frame",
        run: frame,
        seeds: &[
            ("frames.json", &["frame_hex"]),
            ("negative.json", &["hex", "sent_hex"]),
        ],
    },
    Target {
        name: "command",
        run: command,
        seeds: &[("frames.json", &["frame_hex"])],
    },
    Target {
        name: "bodies",
        run: bodies,
        seeds: &[("bodies.json", &["text"])],
    },
    Target {
        name: "config",
        run: config,
        seeds: &[("bodies.json", &["text"])],
    },
    Target {
        name: "registration",
        run: registration,
        seeds: &[("bodies.json", &["compressed_hex"])],
    },
    Target {
        name: "record",
        run: record,
        seeds: &[("messages.json", &["hex"]), ("negative.json", &["hex"])],
    },
    Target {
        name: "batch",
        run: batch,
        seeds: &[("messages.json", &["hex"]), ("negative.json", &["hex"])],
    },
    Target {
        name: "properties",
        run: properties,
        seeds: &[("messages.json", &["text", "properties_string"])],
    },
    Target {
        name: "compress",
        run: compress,
        seeds: &[("messages.json", &["compressed_hex"])],
    },
    Target {
        name: "ids",
        run: ids,
        seeds: &[("ids.json", &["id", "handle"])],
    },
    Target {
        name: "names",
        run: names,
        seeds: &[(
            "ids.json",
            &["topic", "group", "resource", "wrapped", "lmq"],
        )],
    },
];

/// A stream of frames, as a connection's reader sees it.
fn frame(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(bytes)) = frame::split(&mut buffer, frame::MAX_FRAME_BYTES) {
        assert!(
            bytes.len() < data.len(),
            "a frame is no longer than the stream it came from"
        );
        decode(bytes);
    }
}

/// The inside of one frame: the header length, both header forms, the body.
fn command(data: &[u8]) {
    // Seeds are whole frames; their first word is the length that `split` takes off.
    decode(Bytes::copy_from_slice(data.get(4..).unwrap_or(data)));
}

fn decode(bytes: Bytes) {
    let Ok(command) = RemotingCommand::decode(bytes) else {
        return;
    };
    headers(&command);
    let mut out = BytesMut::new();
    if command.encode(&mut out).is_err() {
        return; // a header form may be narrower than what the other one carried
    }
    let whole = frame::split(&mut out, usize::MAX)
        .expect("our own length")
        .expect("a whole frame");
    let again = RemotingCommand::decode(whole).expect("our own frame decodes");
    assert_eq!(
        (command.code, command.opaque, command.flag),
        (again.code, again.opaque, again.flag)
    );
    assert_eq!(command.body, again.body);
}

/// The fields of a stranger read as the headers that a server and a client read; each that can be read is written and read again.
fn headers(command: &RemotingCommand) {
    macro_rules! read {
        ($($header:ty),* $(,)?) => {$(
            if let Ok(header) = command.header::<$header>() {
                let again = RemotingCommand::response(ResponseCode::SUCCESS).with_header(&header);
                let again = again.header::<$header>().expect("what was written can be read");
                assert_eq!(again, header);
            }
        )*};
    }
    read!(
        SendMessageRequest<'_>,
        SendMessageReply,
        PullMessageRequest<'_>,
        PullMessageReply,
        UpdateConsumerOffsetRequest<'_>,
        QueryConsumerOffsetRequest<'_>,
        OffsetReply,
        SearchOffsetRequest<'_>,
        GetMaxOffsetRequest<'_>,
        GetRouteInfoRequest<'_>,
        RegisterBrokerRequest<'_>,
        RegisterBrokerReply,
        UnregisterBrokerRequest<'_>,
        CreateTopicRequest<'_>,
        DeleteTopicRequest<'_>,
        PopMessageRequest<'_>,
        PopMessageReply,
        AckMessageRequest<'_>,
        ChangeInvisibleTimeRequest<'_>,
        UnregisterClientRequest<'_>,
        QueryMessageRequest<'_>,
    );
}

/// A body that decodes can be written and read again. What Java drops (a member it does not know, an enumeration's unknown
/// value, which then reads as the default) is dropped by the first writing; from then on nothing changes any more.
macro_rules! stable {
    ($data:expr, $($body:ty),* $(,)?) => {$(
        if let Ok(value) = body::decode::<$body>($data) {
            let text = body::encode(&value).expect("what was read can be written");
            let again = body::decode::<$body>(&text).expect("what was written can be read");
            let text = body::encode(&again).expect("what was read again can be written");
            let third = body::decode::<$body>(&text).expect("what was written again can be read");
            assert_eq!(third, again, "{}", String::from_utf8_lossy(&text));
        }
    )*};
}

/// JSON bodies of requests and answers.
fn bodies(data: &[u8]) {
    stable!(
        data,
        body::route::TopicRouteData,
        body::route::ClusterInfo,
        body::heartbeat::HeartbeatData,
        body::heartbeat::ConsumerConnection,
        body::offsets::TopicStatsTable,
        body::offsets::ConsumeStats,
        body::topics::TopicList,
        body::lock::LockBatchRequestBody,
        body::lock::LockBatchResponseBody,
        body::pop::BatchAckMessageRequestBody,
        body::running_info::ConsumerRunningInfo,
        body::offsets::ResetOffsetBody,
    );
}

/// The files below a store's `config` directory, which Java wrote or a person edited.
fn config(data: &[u8]) {
    stable!(
        data,
        body::topics::TopicConfigSerializeWrapper,
        body::groups::SubscriptionGroupWrapper,
        body::offsets::ConsumerOffsetSerializeWrapper,
        body::offsets::DelayOffsetSerializeWrapper,
    );
}

/// What a broker registers with: compressed, with lengths of its own.
fn registration(data: &[u8]) {
    let _ = body::registration::RegisterBrokerBody::decode_compressed(data);
}

/// Records one after the other, as recovery and a pull reply read them.
fn record(data: &[u8]) {
    let mut seen = 0;
    for record in records(data) {
        let Ok(record) = record else { break };
        seen += record.encoded_len().min(1);
        let _ = record.body_crc_holds();
        let _ = Properties::parse_bytes(record.properties);
        let mut out = Vec::new();
        if record.encode(&mut out).is_ok() {
            let (again, used) = Record::parse(&out).expect("our own record parses");
            assert_eq!(used, out.len());
            assert_eq!(
                (again.topic, again.body, again.queue_offset),
                (record.topic, record.body, record.queue_offset)
            );
        }
    }
    assert!(seen <= data.len(), "more records than bytes");
}

/// The body of a batch send.
fn batch(data: &[u8]) {
    let mut items = 0;
    let mut out = Vec::new();
    let mut whole = true;
    for item in batch::items(data) {
        let Ok(item) = item else {
            whole = false;
            break;
        };
        items += 1;
        whole &= batch::encode_item(&item, &mut out).is_ok();
    }
    if whole {
        assert_eq!(batch::count(data).ok(), Some(items));
        assert_eq!(batch::items(&out).flatten().count(), items);
    }
}

/// The property text of a message.
fn properties(data: &[u8]) {
    let parsed = Properties::parse_bytes(data);
    let again = Properties::parse(parsed.as_str());
    assert!(parsed.iter().eq(again.iter()), "parsing is stable");
    let (name, value) = halves(data);
    let mut changed = parsed.clone();
    changed.set(&name, &value);
    if Properties::expressible(&name, &value) {
        assert_eq!(changed.get(&name), Some(value.as_str()));
    }
    changed.remove(&name);
    assert!(!changed.contains(&name));
}

/// Compressed bodies: every type, never more than the limit.
fn compress(data: &[u8]) {
    const MAX: usize = 64 * 1024;
    for compression in [Compression::Zlib, Compression::Lz4, Compression::Zstd] {
        if let Ok(plain) = compression.decompress(data, MAX) {
            assert!(plain.len() <= MAX);
        }
    }
}

/// Ids and handles that users paste.
fn ids(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(id) = UniqueId::parse(&text) {
        assert_eq!(UniqueId::parse(&id.to_string()).ok(), Some(id));
    }
    if let Ok((host, offset)) = parse_offset_msg_id(&text) {
        let again = rocketry_protocol::id::offset_msg_id(host, offset);
        assert_eq!(
            parse_offset_msg_id(&again).ok().map(|(_, offset)| offset),
            Some(offset)
        );
    }
    if let Ok(handle) = RecallHandle::decode(&text) {
        let _ = handle.due_ms();
        let _ = handle.encode();
    }
}

/// Topic and group names.
fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(topic) = Topic::new(&*text) {
        assert_eq!(topic.as_str(), text);
    }
    if let Ok(group) = Group::new(&*text) {
        let _ = (Topic::retry(&group), Topic::dead_letter(&group));
    }
}

/// Two texts out of one input.
fn halves(data: &[u8]) -> (String, String) {
    let (left, right) = data.split_at(data.len() / 2);
    (
        String::from_utf8_lossy(left).into_owned(),
        String::from_utf8_lossy(right).into_owned(),
    )
}
