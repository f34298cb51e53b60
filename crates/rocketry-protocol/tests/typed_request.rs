//! A request or response that is written straight from its typed header is, byte for byte, the one that goes through a map of fields.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::BytesMut;
use proptest::prelude::*;
use rocketry_protocol::{
    Language, Outgoing, RemotingCommand, RequestCode, ResponseCode, TypedRequest, TypedResponse,
    WriteHeader,
    frame::MAX_FRAME_BYTES,
    header::{
        NoFields, PullMessageRequest, SendBatchMessageRequest, SendMessageRequest,
        SendMessageV1Request, SendReply,
    },
};

fn same(
    code: RequestCode,
    header: impl WriteHeader + Clone,
    body: &[u8],
    opaque: i32,
    is_oneway: bool,
) {
    let mut request = TypedRequest::new(code, header)
        .with_language(Language::JAVA)
        .with_body(body.to_vec());
    request.set_opaque(opaque);
    if is_oneway {
        request.set_oneway();
    }
    let mut direct = BytesMut::from(&b"before"[..]);
    request.encode_head(&mut direct).unwrap();
    direct.extend_from_slice(request.body());
    let mut by_map = BytesMut::from(&b"before"[..]);
    let command: RemotingCommand = request.into_command();
    assert_eq!(command.is_oneway(), is_oneway);
    command.encode(&mut by_map).unwrap();
    assert_eq!(direct, by_map);
}

proptest! {
    #[test]
    fn every_field_and_every_text_comes_out_the_same(
        group in ".{0,20}",
        topic in "\\PC{0,20}",
        properties in "[a-z\u{1}\u{2}\"\\\\\u{e4}\n]{0,80}",
        numbers in any::<(i32, i32, i64, i32)>(),
        max_reconsume_times in any::<Option<i32>>(),
        broker_name in proptest::option::of("[a-z]{0,9}"),
        flags in any::<(bool, bool, bool)>(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        opaque in any::<i32>(),
    ) {
        let header = SendMessageRequest {
            producer_group: &group,
            topic: &topic,
            default_topic: "TBW102",
            default_topic_queue_nums: numbers.0,
            queue_id: numbers.1,
            born_timestamp: numbers.2,
            flag: numbers.3,
            properties: &properties,
            unit_mode: flags.0,
            batch: flags.1,
            max_reconsume_times,
            broker_name: broker_name.as_deref(),
            ..SendMessageRequest::default()
        };
        same(RequestCode::SEND_MESSAGE_V2, header, &body, opaque, flags.2);
        same(RequestCode::SEND_MESSAGE, SendMessageV1Request(header), &body, opaque, flags.2);
        same(RequestCode::SEND_BATCH_MESSAGE, SendBatchMessageRequest(header), &body, opaque, flags.2);
    }
}

proptest! {
    #[test]
    fn a_response_comes_out_the_same(
        msg_id in "[0-9A-F,]{0,80}",
        queue in any::<(i32, i64)>(),
        transaction_id in proptest::option::of("\\PC{0,40}"),
        recall_handle in proptest::option::of("[a-z=]{0,60}"),
        late in any::<bool>(),
        opaque in any::<i32>(),
    ) {
        let mut reply = SendReply::new(msg_id, queue.0, queue.1);
        reply.transaction_id = transaction_id.map(Into::into);
        reply.recall_handle = recall_handle;
        let code = if late { ResponseCode::FLUSH_DISK_TIMEOUT } else { ResponseCode::SUCCESS };
        let mut by_map = RemotingCommand::response(code).with_header(&reply);
        by_map.opaque = opaque;
        let response = TypedResponse::new(code, reply, opaque);
        let (mut direct, mut expected) = (BytesMut::new(), BytesMut::new());
        response.encode_head(&mut direct).unwrap();
        by_map.encode(&mut expected).unwrap();
        prop_assert_eq!(direct, expected);
    }
}

#[test]
fn headers_with_few_fields_or_none_come_out_the_same() {
    same(RequestCode::HEART_BEAT, NoFields, b"", 7, false);
    let pull = PullMessageRequest::default();
    same(RequestCode::PULL_MESSAGE, pull, b"x", -1, true);
}

#[test]
fn a_frame_beyond_the_limit_is_refused_and_leaves_nothing() {
    let request =
        TypedRequest::new(RequestCode::HEART_BEAT, NoFields).with_body(vec![0; MAX_FRAME_BYTES]);
    let mut out = BytesMut::from(&b"before"[..]);
    assert!(request.encode_head(&mut out).is_err());
    assert_eq!(out, "before");
}
