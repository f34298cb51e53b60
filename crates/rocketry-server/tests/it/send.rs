use std::time::Duration;

use rocketry_protocol::{
    RemotingCommand, RequestCode,
    batch::{BatchItem, encode_item},
    header::{
        GetRouteInfoRequest, SendBatchMessageRequest, SendMessageReply, SendMessageRequest,
        SendMessageV1Request, ViewMessageRequest,
    },
    id::parse_offset_msg_id,
    properties::name,
};
use rocketry_server::{FlushMode, ServerConfig};

use crate::common::{TIMEOUT, Wire, decode, request_to, send};

/// S-020.
#[tokio::test]
async fn s020_an_unknown_topic_is_created_visible_and_persisted() {
    let wire = Wire::start().await;
    wire.put("fresh", -1, "", "hello").await;
    let route = wire
        .ask_namesrv(&GetRouteInfoRequest {
            topic: "fresh",
            accept_standard_json_only: None,
        })
        .await;
    let route: rocketry_protocol::body::route::TopicRouteData =
        rocketry_protocol::body::decode(&route.body).unwrap();
    let queues = &route.queue_datas[0];
    assert_eq!(
        (queues.write_queue_nums, queues.read_queue_nums, queues.perm),
        (4, 4, 6)
    );
    let file = std::fs::read_to_string(wire.server.data_dir().join("config/topics.json")).unwrap();
    assert!(
        file.contains("\"fresh\""),
        "an acknowledged message's topic is on disk"
    );
}

/// S-021.
#[tokio::test]
async fn s021_without_automatic_creation_the_topic_does_not_exist() {
    let mut config = ServerConfig::temp();
    config.auto_create_topics = false;
    let wire = Wire::with(config).await;
    let response = wire.broker(send(&request_to("fresh"), "x")).await;
    assert_eq!(response.code, 17);
    assert!(
        response
            .remark
            .unwrap()
            .starts_with("topic[fresh] not exist, apply first please!")
    );
}

/// S-113: with less free space than required sends get code 14, which names path, free space and limit; what is stored is read.
#[tokio::test]
async fn s113_without_space_sends_are_refused_and_reads_go_on() {
    let mut config = ServerConfig::temp();
    config.flush_interval = Duration::from_millis(1);
    // more than any disk has
    config.retention.refuse_percent = 0;
    config.retention.refuse_free_bytes = u64::MAX;
    let wire = Wire::with(config).await;
    let mut stored = 0;
    let refused = tokio::time::timeout(TIMEOUT, async {
        loop {
            let response = wire.broker(send(&request_to("T"), "x")).await;
            if response.code != 0 {
                return response;
            }
            stored += 1;
        }
    })
    .await
    .expect("a refusal");
    assert_eq!(refused.code, 14);
    let remark = refused.remark.unwrap();
    for part in [
        "the broker's disk is full",
        "commitlog",
        "bytes free",
        "at least",
    ] {
        assert!(remark.contains(part), "{remark}");
    }
    let mut read = 0;
    for queue_id in 0..4 {
        read += wire.read_all("T", queue_id).await.len();
    }
    assert_eq!(read, stored);
}

/// S-022, S-018 (no body), S-027 (topic of 128 characters).
#[tokio::test]
async fn s022_refusals_name_their_reason() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "x").await;
    let long = "t".repeat(128);
    for (request, body, code, remark) in [
        (request_to("a b"), "x", 29, "contains illegal characters"),
        (request_to(""), "x", 29, "The specified topic is blank."),
        (
            request_to(&long),
            "x",
            29,
            "is longer than topic max length: 127",
        ),
        (
            request_to("SCHEDULE_TOPIC_XXXX"),
            "x",
            16,
            "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden.",
        ),
        (request_to("rmq_sys_wheel_timer"), "x", 16, "is forbidden"),
        (
            SendMessageRequest {
                queue_id: 4,
                ..request_to("T")
            },
            "x",
            29,
            "request queueId[4] is illegal, TopicConfig [topicName=T,",
        ),
        (request_to("T"), "", 13, "the message is illegal"),
    ] {
        let response = wire.broker(send(&request, body)).await;
        let text = response.remark.clone().unwrap_or_default();
        assert_eq!(response.code, code, "{text}");
        assert!(text.contains(remark), "{text}");
        assert_eq!(
            response.field("MSG_REGION"),
            Some("DefaultRegion"),
            "S-024: on errors, too"
        );
        assert_eq!(response.field("TRACE_ON"), Some("true"));
    }
}

/// S-018.
#[tokio::test]
async fn s018_a_missing_field_is_named_and_the_connection_stays() {
    let wire = Wire::start().await;
    let response = wire
        .broker(RemotingCommand::bare_request(RequestCode::GET_MAX_OFFSET).with_field("topic", "T"))
        .await;
    assert_eq!(response.code, 1);
    assert_eq!(
        response.remark.as_deref(),
        Some("the custom field <queueId> is null")
    );
    wire.put("T", 0, "", "still served").await;
}

/// S-023, S-024, S-025, S-026.
#[tokio::test]
async fn s026_answers_and_stored_messages_have_what_clients_need() {
    let wire = Wire::start().await;
    let request = SendMessageRequest {
        properties: "TAGS\u{1}A\u{2}POP_CK\u{1}x",
        flag: 7,
        ..request_to("T")
    };
    let response = wire.broker(send(&request, "first")).await;
    assert_eq!(response.field("MSG_REGION"), Some("DefaultRegion"));
    assert_eq!(response.field("TRACE_ON"), Some("true"));
    let first: SendMessageReply = response.header().unwrap();
    assert_eq!((first.queue_id, first.queue_offset), (0, 0));
    let second = wire.put("T", 0, "UNIQ_KEY\u{1}mine\u{2}", "second").await;
    assert_eq!(second.queue_offset, 1);
    assert_eq!(second.transaction_id.as_deref(), Some("mine"));

    let messages = wire.read_all("T", 0).await;
    assert_eq!(messages.len(), 2);
    let stored = &messages[0];
    assert_eq!(
        (&*stored.body, stored.flag, stored.tags()),
        (&b"first"[..], 7, Some("A"))
    );
    assert_eq!(stored.property(name::MSG_REGION), Some("DefaultRegion"));
    assert_eq!(stored.property(name::TRACE_ON), Some("true"));
    assert_eq!(stored.property(name::CLUSTER), Some("DefaultCluster"));
    assert_eq!(
        stored.property(name::UNIQ_KEY),
        first.transaction_id.as_deref()
    );
    assert_eq!(stored.property(name::POP_CK), None);
    let (host, offset) = parse_offset_msg_id(&first.msg_id).unwrap();
    assert_eq!(host.to_string(), wire.server.broker_addr());
    assert_eq!(offset, stored.commit_log_offset);

    let request = SendMessageRequest {
        queue_id: -1,
        ..request_to("T")
    };
    let any: SendMessageReply = wire.broker(send(&request, "x")).await.header().unwrap();
    assert!((0..4).contains(&any.queue_id));
    let there = wire.read_all("T", any.queue_id).await;
    let last = there.last().unwrap();
    assert_eq!(
        (&*last.body, last.queue_offset),
        (&b"x"[..], any.queue_offset)
    );
}

/// S-027.
#[tokio::test]
async fn s027_bodies_and_properties_at_their_limits() {
    let wire = Wire::start().await;
    let limit = 4 * 1024 * 1024;
    let response = wire.broker(send(&request_to("T"), vec![b'x'; limit])).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    let response = wire
        .broker(send(&request_to("T"), vec![b'x'; limit + 1]))
        .await;
    assert_eq!(response.code, 13);
    assert!(response.remark.unwrap().contains("4194304B"));
    let properties = format!("k\u{1}{}\u{2}", "v".repeat(32_767));
    let response = wire
        .broker(send(
            &SendMessageRequest {
                properties: &properties,
                ..request_to("T")
            },
            "x",
        ))
        .await;
    assert_eq!(response.code, 13);
}

/// S-028.
#[tokio::test]
async fn s028_a_batch_becomes_consecutive_messages_with_their_own_properties() {
    let wire = Wire::start().await;
    let mut body = Vec::new();
    for n in 0..3 {
        let properties = format!("UNIQ_KEY\u{1}id{n}\u{2}");
        let text = format!("item {n}");
        let item = BatchItem {
            flag: n,
            body: text.as_bytes(),
            properties: properties.as_bytes(),
        };
        encode_item(&item, &mut body).unwrap();
    }
    let request = SendMessageRequest {
        batch: true,
        queue_id: 1,
        ..request_to("T")
    };
    let command =
        RemotingCommand::request(&SendBatchMessageRequest(request)).with_body(body.clone());
    let reply: SendMessageReply = wire.broker(command).await.header().unwrap();
    assert_eq!(reply.msg_id.split(',').count(), 3);
    assert_eq!(reply.queue_offset, 0);
    let messages = wire.read_all("T", 1).await;
    let seen: Vec<_> = messages
        .iter()
        .map(|m| (m.queue_offset, m.flag, m.properties.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (0, 0, "UNIQ_KEY\u{1}id0\u{2}"),
            (1, 1, "UNIQ_KEY\u{1}id1\u{2}"),
            (2, 2, "UNIQ_KEY\u{1}id2\u{2}")
        ]
    );

    let retry = SendMessageRequest {
        batch: true,
        ..request_to("%RETRY%G")
    };
    let response = wire.broker(send(&retry, body.clone())).await;
    assert_eq!(response.code, 13);
    assert_eq!(
        response.remark.as_deref(),
        Some("batch request does not support retry group G")
    );
    body.truncate(body.len() - 1);
    let cut = SendMessageRequest {
        batch: true,
        ..request_to("T")
    };
    assert_eq!(wire.broker(send(&cut, body)).await.code, 13);
    assert_eq!(
        wire.read_all("T", 0).await.len(),
        0,
        "nothing of a refused batch is stored"
    );
}

#[tokio::test]
async fn old_clients_send_with_long_field_names() {
    let wire = Wire::start().await;
    let command = RemotingCommand::request(&SendMessageV1Request(request_to("T"))).with_body("old");
    let reply: SendMessageReply = wire.broker(command).await.header().unwrap();
    assert_eq!(reply.queue_offset, 0);
}

/// S-015.
#[tokio::test]
async fn s015_one_way_sends_are_stored_and_never_answered() {
    let wire = Wire::start().await;
    wire.oneway(send(&request_to("T"), "quiet")).await;
    wire.oneway(send(&request_to("not valid"), "refused")).await;
    // A later request on the same connection is answered, and is the first answer there is.
    let last = wire.put("T", 0, "", "loud").await;
    assert_eq!(last.queue_offset, 1);
}

/// S-033.
#[tokio::test]
async fn s033_concurrent_sends_to_one_queue_leave_no_gap() {
    let wire = std::sync::Arc::new(Wire::start().await);
    wire.put("T", 0, "", "0").await;
    let mut sends = tokio::task::JoinSet::new();
    for n in 1..=500 {
        let wire = std::sync::Arc::clone(&wire);
        sends.spawn(async move { wire.put("T", 0, "", &n.to_string()).await.queue_offset });
    }
    let mut offsets = sends.join_all().await;
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=500).collect::<Vec<i64>>());
    let messages = wire.read_all("T", 0).await;
    assert_eq!(messages.len(), 501);
    assert!(
        messages.is_sorted_by_key(|m| m.commit_log_offset),
        "log order is queue order"
    );
}

/// S-031.
#[tokio::test]
async fn s031_sync_flush_answers_after_the_sync() {
    let mut config = ServerConfig::temp();
    config.flush = FlushMode::Sync;
    let wire = Wire::with(config).await;
    let reply = wire.put("T", 0, "", "durable").await;
    assert_eq!(reply.queue_offset, 0);
    assert_eq!(wire.read_all("T", 0).await.len(), 1);
}

/// S-068.
#[tokio::test]
async fn s068_a_message_is_viewed_by_its_offset_id() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "one").await;
    let reply = wire.put("T", 0, "", "two").await;
    let (_, offset) = parse_offset_msg_id(&reply.msg_id).unwrap();
    let view = |offset| ViewMessageRequest {
        topic: None,
        offset,
        broker_name: None,
    };
    let response = wire.ask_broker(&view(offset)).await;
    assert_eq!(&*decode(&response.body)[0].body, b"two");
    for wrong in [offset + 1, 1 << 40, -1] {
        let response = wire.ask_broker(&view(wrong)).await;
        assert_eq!(response.code, 1);
        assert_eq!(
            response.remark,
            Some(format!("can not find message by the offset, {wrong}"))
        );
    }
}
