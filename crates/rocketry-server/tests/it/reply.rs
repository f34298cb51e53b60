use std::sync::Arc;

use rocketry_protocol::{
    Properties, RemotingCommand, RequestCode, ResponseCode,
    body::heartbeat::MessageModel,
    header::{
        PushReplyMessageRequest, SendMessageReply, SendMessageRequest, SendReplyMessageRequest,
        SendReplyMessageV1Request,
    },
    properties::name,
};
use rocketry_remoting::{Handler, Responder};
use tokio::sync::mpsc;

use crate::common::{TIMEOUT, Wire, beat, heartbeat, request_to};

const TOPIC: &str = "DefaultCluster_REPLY_TOPIC";

/// A client that waits for a reply and answers its push with `code`.
struct Requester {
    pushed: mpsc::UnboundedSender<RemotingCommand>,
    code: ResponseCode,
}

impl Handler for Requester {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        self.pushed.send(request).unwrap();
        responder.respond(RemotingCommand::response(self.code));
    }
}

fn properties(client_id: &str) -> String {
    format!(
        "CORRELATION_ID\u{1}c-1\u{2}REPLY_TO_CLIENT\u{1}{client_id}\u{2}MSG_TYPE\u{1}reply\u{2}"
    )
}

fn reply_with(properties: &str) -> SendMessageRequest<'_> {
    SendMessageRequest {
        queue_id: 0,
        flag: 3,
        properties,
        ..request_to(TOPIC)
    }
}

/// S-078: to a client that takes it and to one that refuses it, with both forms of the header.
#[tokio::test]
async fn s078_a_reply_reaches_the_client_that_asked_and_is_stored() {
    let wire = Wire::start().await;
    let (tell, mut pushed) = mpsc::unbounded_channel();
    for (client_id, code) in [
        ("asks", ResponseCode::SUCCESS),
        ("refuses", ResponseCode::SYSTEM_ERROR),
    ] {
        let peer = wire.join(Arc::new(Requester {
            pushed: tell.clone(),
            code,
        }));
        let data = heartbeat(client_id, "CG", MessageModel::Clustering, &[]);
        assert_eq!(peer.call(beat(&data)).await.code, 0);
        let properties = properties(client_id);
        let request = SendReplyMessageRequest(reply_with(&properties));
        let command = RemotingCommand::request(&request).with_body("pong");
        let response = wire.broker(command).await;
        let push = tokio::time::timeout(TIMEOUT, pushed.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            push.request_code(),
            RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT
        );
        assert_eq!(&*push.body, b"pong");
        let header: PushReplyMessageRequest<'_> = push.header().unwrap();
        assert_eq!((header.topic, header.flag), (TOPIC, 3));
        assert_eq!(header.store_host, wire.server.broker_addr());
        assert!(header.born_host.starts_with("127.0.0.1:"));
        let properties = Properties::parse(header.properties.unwrap());
        assert_eq!(properties.get(name::CORRELATION_ID), Some("c-1"));
        assert_eq!(properties.get(name::MSG_REGION), Some("DefaultRegion"));
        assert_eq!(properties.get(name::TRACE_ON), Some("true"));
        assert_eq!(
            properties.get(name::PUSH_REPLY_TIME),
            Some(header.store_timestamp.to_string().as_str())
        );
        if code == ResponseCode::SUCCESS {
            assert_eq!(response.code, 0, "{:?}", response.remark);
            let stored: SendMessageReply = response.header().unwrap();
            assert_eq!((stored.queue_id, stored.queue_offset), (0, 0));
            assert_eq!(stored.msg_id.len(), 32);
        } else {
            assert_eq!(
                (response.code, response.remark.as_deref()),
                (1, Some("push reply message to refusesfail."))
            );
        }
        peer.leave().await;
    }
    let v1 = SendReplyMessageV1Request(reply_with("REPLY_TO_CLIENT\u{1}nobody\u{2}"));
    let response = wire
        .broker(RemotingCommand::request(&v1).with_body("late"))
        .await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (
            1,
            Some("push reply message fail, channel of <nobody> not found.")
        )
    );
    let late: SendMessageReply = response.header().unwrap();
    assert_eq!((late.queue_id, late.queue_offset), (0, 2));
    assert_eq!(response.field("TRACE_ON"), Some("true"));

    let stored = wire.read_all(TOPIC, 0).await;
    let bodies: Vec<&[u8]> = stored.iter().map(|message| &*message.body).collect();
    assert_eq!(bodies, [&b"pong"[..], b"pong", b"late"]);
    assert_eq!(stored[0].property(name::PUSH_REPLY_TIME), None);
    assert_eq!(stored[0].property(name::MSG_REGION), Some("DefaultRegion"));
}

#[tokio::test]
async fn a_reply_must_name_the_client_that_asked_and_have_a_body() {
    let wire = Wire::start().await;
    let request = SendReplyMessageRequest(reply_with("CORRELATION_ID\u{1}c\u{2}"));
    let response = wire
        .broker(RemotingCommand::request(&request).with_body("x"))
        .await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (1, Some("reply message properties[REPLY_TO_CLIENT] is null"))
    );
    let response = wire.ask_broker(&request).await;
    assert_eq!(response.response_code(), ResponseCode::MESSAGE_ILLEGAL);
}
