//! Commands through both header encodings.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rocketry_protocol::{EncodeError, Fields, Language, RemotingCommand, Serialization, frame};

fn commands() -> impl Strategy<Value = RemotingCommand> {
    let numbers = any::<(i32, i32, i32)>();
    let code = prop_oneof![any::<i32>(), any::<i16>().prop_map(i32::from)];
    // Everything that JSON escapes, and characters of every length.
    let text = "[a-z\"'\\\\/\\x00-\\x1f\u{7f}é中😀\u{2028}]{0,12}";
    let fields = prop::option::of(prop::collection::vec((text, text), 0..20));
    let remark = prop::option::of(text);
    let body = prop::collection::vec(any::<u8>(), 0..100);
    (code, 0..14_u8, numbers, remark, fields, body).prop_map(
        |(code, language, (version, opaque, flag), remark, entries, body)| RemotingCommand {
            code,
            language: Some(Language(language)),
            version,
            opaque,
            flag,
            remark,
            fields: entries.map(|entries| {
                let mut fields = Fields::default();
                for (key, value) in entries {
                    fields.push(&key, &value);
                }
                fields
            }),
            body: Bytes::from(body),
            serialization: Serialization::Json,
        },
    )
}

fn transmitted(command: &RemotingCommand) -> RemotingCommand {
    let mut out = BytesMut::new();
    command.encode(&mut out).unwrap();
    let frame = frame::split(&mut out, frame::MAX_FRAME_BYTES)
        .unwrap()
        .unwrap();
    assert!(out.is_empty());
    RemotingCommand::decode(frame).unwrap()
}

proptest! {
    #[test]
    fn json_carries_everything(command in commands()) {
        prop_assert_eq!(transmitted(&command), command);
    }

    #[test]
    fn binary_carries_all_but_empty_texts(command in commands()) {
        let sent = RemotingCommand { serialization: Serialization::Binary, ..command };
        let arrived = transmitted(&sent);
        if i16::try_from(sent.code).is_err() {
            // Sent as JSON instead.
            prop_assert_eq!(arrived, RemotingCommand { serialization: Serialization::Json, ..sent });
            return Ok(());
        }
        #[expect(clippy::cast_possible_truncation, reason = "the header has 16 bits for it")]
        let version = i32::from(sent.version as i16);
        prop_assert_eq!(arrived.version, version);
        prop_assert_eq!(&arrived.remark, &sent.remark.clone().filter(|text| !text.is_empty()));
        let sent_fields: Vec<_> = sent.fields.iter().flat_map(Fields::iter)
            .map(|(key, value)| (key, value.filter(|text| !text.is_empty())))
            .collect();
        let arrived_fields: Vec<_> = arrived.fields.iter().flat_map(Fields::iter).collect();
        prop_assert_eq!(arrived_fields, sent_fields);
        let rest = RemotingCommand { version: sent.version, remark: sent.remark.clone(), fields: sent.fields.clone(), ..arrived };
        prop_assert_eq!(rest, sent);
    }
}

#[test]
fn what_exceeds_its_limit_leaves_the_output_as_it_was() {
    let mut out = BytesMut::from(&b"before"[..]);
    let large = "x".repeat(frame::MAX_FRAME_BYTES - 1000);
    let command = RemotingCommand::bare_request(rocketry_protocol::RequestCode::SEND_MESSAGE_V2);
    for serialization in [Serialization::Json, Serialization::Binary] {
        let mut command = command.clone().with_body(large.clone());
        command.serialization = serialization;
        command.encode(&mut BytesMut::new()).unwrap();
        let remark = command.clone().with_remark(&large);
        let body = command.with_body(vec![0; frame::MAX_FRAME_BYTES]);
        for command in [remark, body] {
            let written = command.encode(&mut out);
            assert!(matches!(
                written,
                Err(EncodeError::TooLong { what: "frame", .. })
            ));
            assert_eq!(&out[..], b"before");
        }
    }
    let header = command.clone().with_remark("x".repeat(0x100_0000));
    assert!(matches!(
        header.encode_head(&mut out),
        Err(EncodeError::TooLong { what: "header", .. })
    ));
    let key = command.with_field(&"k".repeat(32_768), "v");
    assert!(matches!(
        key.encode_head(&mut out),
        Err(EncodeError::TooLong {
            what: "header field",
            ..
        })
    ));
    assert_eq!(&out[..], b"before");
}
