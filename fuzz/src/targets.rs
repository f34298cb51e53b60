//! The fuzz targets as plain functions: whatever comes in, they return. `cargo fuzz` runs them where a nightly toolchain exists,
//! `cargo xtask fuzz-smoke` everywhere else (it includes this file).
//!
//! Besides "no panic" each target holds what it decodes to a second opinion: what was decoded encodes, and decodes to the same.

use bytes::{Bytes, BytesMut};
use rocketry_protocol::compress::Compression;
use rocketry_protocol::id::{RecallHandle, UniqueId, parse_offset_msg_id};
use rocketry_protocol::record::{Record, records};
use rocketry_protocol::{
    Group, MessageExt, Properties, RemotingCommand, ResponseCode, Topic, acl, batch, body, frame,
    header, namespace, pop, topic, trace,
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
        name: "headers",
        run: header_text,
        seeds: &[("exchanges.json", &["header_text"])],
    },
    Target {
        name: "bodies",
        run: bodies,
        seeds: &[
            ("bodies.json", &["text"]),
            ("exchanges.json", &["body_text"]),
        ],
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
        name: "messages",
        run: messages,
        seeds: &[
            ("messages.json", &["hex"]),
            ("negative.json", &["hex"]),
            ("exchanges.json", &["body_hex"]),
        ],
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
        name: "pop",
        run: pop_texts,
        seeds: &[(
            "ids.json",
            &[
                "text",
                "reencoded",
                "start_offset_info",
                "msg_offset_info",
                "order_count_info",
            ],
        )],
    },
    Target {
        name: "trace",
        run: trace_body,
        seeds: &[("trace.json", &["text"])],
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
    signature(&command);
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
        header::AckMessageRequest<'_>,
        header::AddWritePermOfBrokerReply,
        header::AddWritePermOfBrokerRequest<'_>,
        header::BrokerHeartbeatRequest<'_>,
        header::ChangeInvisibleTimeReply,
        header::ChangeInvisibleTimeRequest<'_>,
        header::CheckTransactionStateRequest<'_>,
        header::CloneGroupOffsetRequest<'_>,
        header::ConsumeMessageDirectlyRequest<'_>,
        header::ConsumerSendMsgBackRequest<'_>,
        header::CreateAclRequest<'_>,
        header::CreateStaticTopicRequest<'_>,
        header::CreateTopicListRequest,
        header::CreateTopicRequest<'_>,
        header::CreateUserRequest<'_>,
        header::DeleteAclRequest<'_>,
        header::DeleteKvConfigRequest<'_>,
        header::DeleteSubscriptionGroupRequest<'_>,
        header::DeleteTopicInNamesrvRequest<'_>,
        header::DeleteTopicRequest<'_>,
        header::DeleteUserRequest<'_>,
        header::EndTransactionRequest<'_>,
        header::GetAclRequest<'_>,
        header::GetAllProducerInfoRequest,
        header::GetAllSubscriptionGroupConfigReply,
        header::GetAllSubscriptionGroupConfigRequest<'_>,
        header::GetAllTopicConfigReply,
        header::GetAllTopicConfigRequest<'_>,
        header::GetBrokerConfigReply,
        header::GetBrokerConfigRequest,
        header::GetBrokerConsumeStatsRequest,
        header::GetBrokerMemberGroupRequest<'_>,
        header::GetConsumeStatsRequest<'_>,
        header::GetConsumerConnectionListRequest<'_>,
        header::GetConsumerListByGroupRequest<'_>,
        header::GetConsumerRunningInfoRequest<'_>,
        header::GetConsumerStatusRequest<'_>,
        header::GetEarliestMsgStoretimeRequest<'_>,
        header::GetKvConfigReply,
        header::GetKvConfigRequest<'_>,
        header::GetKvListByNamespaceRequest<'_>,
        header::GetMaxOffsetRequest<'_>,
        header::GetMinOffsetRequest<'_>,
        header::GetProducerConnectionListRequest<'_>,
        header::GetRouteInfoRequest<'_>,
        header::GetSubscriptionGroupConfigRequest<'_>,
        header::GetTopicConfigRequest<'_>,
        header::GetTopicStatsInfoRequest<'_>,
        header::GetTopicsByClusterRequest<'_>,
        header::GetUserRequest<'_>,
        header::HeartbeatReply,
        header::HeartbeatRequest,
        header::InvokeGetConsumerStatusRequest<'_>,
        header::ListAclRequest<'_>,
        header::ListUserRequest<'_>,
        header::LitePullMessageRequest<'_>,
        header::LockBatchMqRequest<'_>,
        header::NotificationReply,
        header::NotificationRequest<'_>,
        header::NotifyConsumerIdsChangedRequest<'_>,
        header::NotifyUnsubscribeLiteRequest<'_>,
        header::OffsetReply,
        header::PeekMessageRequest<'_>,
        header::PollingInfoReply,
        header::PollingInfoRequest<'_>,
        header::PopLiteMessageRequest<'_>,
        header::PopMessageReply,
        header::PopMessageRequest<'_>,
        header::PullMessageReply,
        header::PullMessageRequest<'_>,
        header::PushReplyMessageRequest<'_>,
        header::PutKvConfigRequest<'_>,
        header::QueryConsumeQueueRequest<'_>,
        header::QueryConsumeTimeSpanRequest<'_>,
        header::QueryConsumerOffsetRequest<'_>,
        header::QueryCorrectionOffsetRequest<'_>,
        header::QueryDataVersionReply,
        header::QueryDataVersionRequest<'_>,
        header::QueryMessageReply,
        header::QueryMessageRequest<'_>,
        header::QuerySubscriptionByConsumerRequest<'_>,
        header::QueryTopicConsumeByWhoRequest<'_>,
        header::QueryTopicsByConsumerRequest<'_>,
        header::RecallMessageReply,
        header::RecallMessageRequest<'_>,
        header::RegisterBrokerReply,
        header::RegisterBrokerRequest<'_>,
        header::RegisterTopicRequest<'_>,
        header::ResetConsumerClientOffsetRequest<'_>,
        header::ResetOffsetRequest<'_>,
        header::ResumeCheckHalfMessageRequest<'_>,
        header::SearchOffsetRequest<'_>,
        header::SendBatchMessageRequest<'_>,
        header::SendMessageReply,
        header::SendMessageRequest<'_>,
        header::SendMessageV1Request<'_>,
        header::SendReplyMessageRequest<'_>,
        header::SendReplyMessageV1Request<'_>,
        header::TimestampReply,
        header::UnlockBatchMqRequest<'_>,
        header::UnregisterBrokerRequest<'_>,
        header::UnregisterClientRequest<'_>,
        header::UpdateAclRequest<'_>,
        header::UpdateConsumerOffsetRequest<'_>,
        header::UpdateGroupForbiddenRequest<'_>,
        header::UpdateUserRequest<'_>,
        header::ViewBrokerStatsDataRequest<'_>,
        header::ViewMessageRequest<'_>,
        header::WipeWritePermOfBrokerReply,
        header::WipeWritePermOfBrokerRequest<'_>,
    );
}

/// A JSON header of any operation, without the frame around it.
fn header_text(data: &[u8]) {
    let Ok(length) = u32::try_from(data.len()) else {
        return;
    };
    // the upper byte of the header length is the header's form: 0 for JSON
    let mut bytes = BytesMut::from(&(length & 0x00ff_ffff).to_be_bytes()[..]);
    bytes.extend_from_slice(data);
    decode(bytes.freeze());
}

/// What a stranger's fields are signed to is what a server verifies, whatever they are.
fn signature(command: &RemotingCommand) {
    let credentials = acl::Credentials {
        access_key: "user".to_owned(),
        secret_key: "secret".to_owned(),
        security_token: None,
    };
    let _ = acl::verify(command, "secret");
    let mut signed = command.clone();
    signed.version = i32::MAX;
    acl::sign(&mut signed, &credentials);
    assert!(acl::verify(&signed, "secret") && !acl::verify(&signed, "other"));
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
        body::registration::RegisterBrokerBody,
        body::heartbeat::HeartbeatData,
        body::heartbeat::ConsumerConnection,
        body::heartbeat::ProducerConnection,
        body::heartbeat::ProducerTableInfo,
        body::heartbeat::GetConsumerListByGroupResponseBody,
        body::heartbeat::CheckClientRequestBody,
        body::heartbeat::QuerySubscriptionResponseBody,
        body::stats::BrokerStatsData,
        body::stats::QueryConsumeQueueResponseBody,
        body::lock::LockBatchRequestBody,
        body::lock::LockBatchResponseBody,
        body::running_info::ConsumerRunningInfo,
        body::running_info::ConsumeMessageDirectlyResult,
        body::pop::BatchAckMessageRequestBody,
        body::static_topic::TopicQueueMappingInfo,
        body::static_topic::TopicQueueMappingDetail,
        body::static_topic::TopicConfigAndQueueMapping,
        body::groups::SubscriptionGroupConfig,
        body::groups::SubscriptionGroupList,
        body::groups::GroupForbidden,
        body::groups::GroupList,
        body::offsets::ResetOffsetBody,
        body::offsets::ResetOffsetBodyForC,
        body::offsets::GetConsumerStatusBody,
        body::offsets::QueryCorrectionOffsetBody,
        body::offsets::ConsumeStats,
        body::offsets::ConsumeStatsList,
        body::offsets::TopicStatsTable,
        body::offsets::QueryConsumeTimeSpanBody,
        body::offsets::OffsetMovedEvent,
        body::route::TopicRouteData,
        body::route::ClusterInfo,
        body::route::BrokerMemberGroup,
        body::route::GetBrokerMemberGroupResponseBody,
        body::route::KVTable,
        body::assignment::QueryAssignmentRequestBody,
        body::assignment::QueryAssignmentResponseBody,
        body::assignment::SetMessageRequestModeRequestBody,
        body::access::UserInfo,
        body::access::AclInfo,
        body::topics::TopicConfig,
        body::topics::TopicList,
        body::topics::CreateTopicListRequestBody,
        body::lite::LiteSubscriptionCtlRequestBody,
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
        body::topics::TopicConfigAndMappingSerializeWrapper,
        body::assignment::MessageRequestModeSerializeWrapper,
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

/// The body of a pull reply, as a consumer gets it: bodies decompressed, inner batches expanded.
fn messages(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let (messages, fault) = MessageExt::decode_until_fault(&body, &"broker".into());
    assert_eq!(
        MessageExt::decode_all(&body, &"broker".into()).is_ok(),
        fault.is_none()
    );
    for message in messages {
        let _ = (
            message.msg_id(),
            message.offset_msg_id(),
            message.keys().count(),
        );
        let _ = rocketry_protocol::Message::reply_to(&message, "reply");
    }
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

/// What pop replies say in texts: receipts and offsets.
fn pop_texts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(receipt) = pop::Receipt::parse(&text) {
        let _ = (receipt.visible_again_ms(), receipt.is_orderly());
        assert_eq!(pop::Receipt::parse(&receipt.to_string()), Ok(receipt));
    }
    let _ = pop::Receipt::parse_handle(&text);
    if let Ok(offsets) = pop::parse_start_offsets(&text) {
        let again = pop::format_start_offsets(&offsets);
        assert_eq!(pop::parse_start_offsets(&again), Ok(offsets));
    }
    if let Ok(offsets) = pop::parse_message_offsets(&text) {
        let again = pop::format_message_offsets(&offsets);
        assert_eq!(pop::parse_message_offsets(&again), Ok(offsets));
    }
    if let Ok(counts) = pop::parse_order_counts(&text) {
        let again = pop::format_order_counts(&counts);
        assert_eq!(pop::parse_order_counts(&again), Ok(counts));
    }
}

/// The body of a trace message.
fn trace_body(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(records) = trace::decode(&text) else {
        return;
    };
    for record in records {
        let mut out = String::new();
        record.encode(&mut out);
        let _ = record.index_keys();
        let again = trace::decode(&out);
        assert!(
            again.is_ok(),
            "our own record {out:?} does not decode: {again:?}"
        );
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
    let _ = topic::parse_light_queue(&text);
    let _ = body::topics::TopicConfig::from_text(&text);
    let (left, right) = halves(data);
    let _ = (namespace::unwrap(&text), namespace::namespace_of(&text));
    let _ = namespace::unwrap_from(&left, &right);
    let _ = pop::normal_topic(&left, &right);
    let _ = pop::split_retry_topic(&text);
    let _ = rocketry_protocol::address::vip_channel(&text);
}

/// Two texts out of one input.
fn halves(data: &[u8]) -> (String, String) {
    let (left, right) = data.split_at(data.len() / 2);
    (
        String::from_utf8_lossy(left).into_owned(),
        String::from_utf8_lossy(right).into_owned(),
    )
}
