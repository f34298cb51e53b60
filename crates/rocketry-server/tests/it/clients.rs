use std::sync::Arc;

use rocketry_protocol::{
    RemotingCommand, RequestCode, ResponseCode,
    acl::{Credentials, sign},
    body::{
        self, Queue,
        heartbeat::{GetConsumerListByGroupResponseBody, HeartbeatData, MessageModel},
        lock::{LockBatchRequestBody, LockBatchResponseBody},
        offsets::ResetOffsetBody,
    },
    header::{
        ConsumeMessageDirectlyRequest, GetConsumerListByGroupRequest,
        GetConsumerRunningInfoRequest, HeartbeatReply, OffsetReply, PullMessageReply,
        PullMessageRequest, QueryConsumerOffsetRequest, ResetOffsetRequest,
        UnregisterClientRequest, UpdateConsumerOffsetRequest,
    },
};
use rocketry_remoting::{Handler, Responder, Unsupported};
use rocketry_server::{DataDir, Server, ServerConfig};
use tokio::sync::mpsc;

use crate::common::{TIMEOUT, Wire, beat, decode, heartbeat};

/// Reports the code 40s that a client gets.
struct Told(mpsc::UnboundedSender<String>);

impl Handler for Told {
    fn handle(&self, request: RemotingCommand, _: Responder) {
        assert_eq!(
            request.request_code(),
            RequestCode::NOTIFY_CONSUMER_IDS_CHANGED
        );
        assert!(request.is_oneway());
        self.0
            .send(request.field("consumerGroup").unwrap().to_owned())
            .unwrap();
    }
}

fn told() -> (Arc<Told>, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    (Arc::new(Told(tell)), told)
}

fn cluster(client_id: &str) -> HeartbeatData {
    heartbeat(client_id, "G", MessageModel::Clustering, &["T"])
}

/// S-061.
#[tokio::test]
async fn s061_members_are_told_of_every_change() {
    let wire = Wire::start().await;
    let (handler, mut first) = told();
    let a = wire.join(handler);
    a.call(beat(&cluster("a"))).await;
    assert_eq!(
        first.recv().await.as_deref(),
        Some("G"),
        "of its own arrival"
    );

    let (handler, mut second) = told();
    let b = wire.join(handler);
    b.call(beat(&cluster("b"))).await;
    assert_eq!(first.recv().await.as_deref(), Some("G"));
    assert_eq!(second.recv().await.as_deref(), Some("G"));
    b.call(beat(&cluster("b"))).await;

    let leave = UnregisterClientRequest {
        client_id: "b",
        producer_group: None,
        consumer_group: Some("G"),
        broker_name: None,
    };
    b.call(RemotingCommand::request(&leave)).await;
    assert_eq!(
        first.recv().await.as_deref(),
        Some("G"),
        "of the one that unregistered"
    );
    b.call(beat(&cluster("b"))).await;
    assert_eq!(first.recv().await.as_deref(), Some("G"));
    b.leave().await;
    assert_eq!(
        first.recv().await.as_deref(),
        Some("G"),
        "of the dead connection"
    );
    assert!(
        first.try_recv().is_err(),
        "a repeated heartbeat tells nobody"
    );
}

/// S-061.
#[tokio::test]
async fn s061_broadcasting_groups_are_not_told() {
    let wire = Wire::start().await;
    let (handler, mut told) = told();
    let a = wire.join(handler);
    a.call(beat(&heartbeat(
        "a",
        "B",
        MessageModel::Broadcasting,
        &["T"],
    )))
    .await;
    a.call(beat(&cluster("a"))).await;
    assert_eq!(
        told.recv().await.as_deref(),
        Some("G"),
        "the first that came"
    );
}

/// S-060.
#[tokio::test]
async fn s060_heartbeats_of_both_versions() {
    let wire = Wire::start().await;
    let reply: HeartbeatReply = wire.broker(beat(&cluster("a"))).await.header().unwrap();
    assert!(reply.supports_v2 && reply.subscription_changed);
    let mut second = cluster("a");
    second.heartbeat_fingerprint = 7;
    let reply: HeartbeatReply = wire.broker(beat(&second)).await.header().unwrap();
    assert!(!reply.subscription_changed);
    second.without_sub = true;
    second.consumer_data_set[0].subscription_data_set.clear();
    wire.broker(beat(&second)).await;
    second.heartbeat_fingerprint = 8;
    let reply: HeartbeatReply = wire.broker(beat(&second)).await.header().unwrap();
    assert!(reply.subscription_changed);
    // The retry topic is there for tools that look for the group's brokers.
    let route = RemotingCommand::bare_request(RequestCode::GET_ROUTEINFO_BY_TOPIC)
        .with_field("topic", "%RETRY%G");
    assert_eq!(wire.namesrv(route).await.code, 0);
}

/// S-060: what a group subscribed to goes with its last connection, and a client that comes back is asked for it.
#[tokio::test]
async fn s060_a_client_that_comes_back_is_asked_for_its_subscriptions() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "x").await;
    let full = HeartbeatData {
        heartbeat_fingerprint: 7,
        ..cluster("a")
    };
    let mut short = HeartbeatData {
        without_sub: true,
        ..full.clone()
    };
    short.consumer_data_set[0].subscription_data_set.clear();
    let is_asked = async |data: &HeartbeatData| {
        let reply: HeartbeatReply = wire.broker(beat(data)).await.header().unwrap();
        reply.subscription_changed
    };
    let registered_pull = PullMessageRequest {
        consumer_group: "G",
        sys_flag: 0,
        ..crate::common::pull("T", 0, 0)
    };
    let peer = wire.join(Arc::new(Unsupported));
    peer.call(beat(&full)).await;
    peer.leave().await;
    let list = GetConsumerListByGroupRequest {
        consumer_group: "G",
        broker_name: None,
    };
    let gone = async || while wire.ask_broker(&list).await.code == 0 {};
    tokio::time::timeout(TIMEOUT, gone()).await.unwrap();

    assert!(is_asked(&short).await);
    assert_eq!(wire.ask_broker(&registered_pull).await.code, 24);
    assert!(!is_asked(&full).await);
    assert!(!is_asked(&short).await);
    assert_eq!(wire.ask_broker(&registered_pull).await.code, 0);
}

/// S-062.
#[tokio::test]
async fn s062_the_members_of_a_group() {
    let wire = Wire::start().await;
    let list = GetConsumerListByGroupRequest {
        consumer_group: "G",
        broker_name: None,
    };
    let response = wire.ask_broker(&list).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (1, Some("no consumer for this group, G"))
    );
    wire.broker(beat(&cluster("a"))).await;
    let peer = wire.join(Arc::new(Unsupported));
    peer.call(beat(&cluster("b"))).await;
    let response = wire.ask_broker(&list).await;
    let body: GetConsumerListByGroupResponseBody = body::decode(&response.body).unwrap();
    assert_eq!(body.consumer_id_list, ["a", "b"]);
}

/// S-063.
#[tokio::test]
async fn s063_queue_locks_are_exclusive() {
    let wire = Wire::start().await;
    let lock = |client: &str, code| {
        let request = LockBatchRequestBody {
            client_id: client.to_owned(),
            consumer_group: "G".to_owned(),
            mq_set: vec![Queue::new("T", "broker-a", 0)],
            only_this_broker: false,
        };
        RemotingCommand::bare_request(code).with_body(body::encode(&request).unwrap())
    };
    let locked = async |client| {
        let response = wire.broker(lock(client, RequestCode::LOCK_BATCH_MQ)).await;
        let body: LockBatchResponseBody = body::decode(&response.body).unwrap();
        body.lock_ok_mq_set.len()
    };
    assert_eq!(locked("a").await, 1);
    assert_eq!(locked("b").await, 0);
    wire.broker(lock("a", RequestCode::UNLOCK_BATCH_MQ)).await;
    assert_eq!(locked("b").await, 1);
}

fn query(topic: &'static str, queue_id: i32) -> QueryConsumerOffsetRequest<'static> {
    QueryConsumerOffsetRequest {
        consumer_group: "G",
        topic,
        queue_id,
        set_zero_if_not_found: None,
        broker_name: None,
    }
}

fn commit(
    group: &'static str,
    topic: &'static str,
    commit_offset: i64,
) -> UpdateConsumerOffsetRequest<'static> {
    UpdateConsumerOffsetRequest {
        consumer_group: group,
        topic,
        queue_id: 0,
        commit_offset,
        broker_name: None,
    }
}

/// S-058.
#[tokio::test]
async fn s058_an_unknown_offset_is_0_only_where_message_0_is() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "x").await;
    let reply: OffsetReply = wire.ask_broker(&query("T", 0)).await.header().unwrap();
    assert_eq!(reply.offset, 0);
    let response = wire.ask_broker(&query("T", 1)).await;
    assert_eq!(response.code, 22);
    assert_eq!(
        response.remark.as_deref(),
        Some("Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first")
    );
    let never = QueryConsumerOffsetRequest {
        set_zero_if_not_found: Some(false),
        ..query("T", 0)
    };
    let response = wire.ask_broker(&never).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (
            22,
            Some("Not found, do not set to zero, maybe this group boot first")
        )
    );
}

/// S-059.
#[tokio::test]
async fn s059_commits_are_checked_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.path().to_owned());
    let wire = Wire::with(config.clone()).await;
    wire.put("T", 0, "", "x").await;
    let response = wire.ask_broker(&commit("G", "T", 1)).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (26, Some("Group G not exist!"))
    );
    wire.broker(beat(&cluster("a"))).await;
    let response = wire.ask_broker(&commit("G", "nope", 1)).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (17, Some("Topic nope not exist!"))
    );
    assert_eq!(wire.ask_broker(&commit("G", "T", 1)).await.code, 0);
    wire.server
        .shutdown(std::time::Duration::from_secs(10))
        .await
        .unwrap();

    let wire = Wire::with(config).await;
    let reply: OffsetReply = wire.ask_broker(&query("T", 0)).await.header().unwrap();
    assert_eq!(reply.offset, 1);
    let _: &Server = &wire.server;
}

/// S-064.
#[tokio::test]
async fn s064_a_reset_reaches_the_next_pull() {
    let wire = Wire::start().await;
    for _ in 0..3 {
        wire.put("T", 0, "", "x").await;
    }
    wire.broker(beat(&cluster("a"))).await;
    let reset = ResetOffsetRequest {
        group: "G",
        topic: "T",
        queue_id: 0,
        offset: Some(1),
        timestamp: -1,
        is_force: true,
    };
    let response = wire.ask_broker(&reset).await;
    let offsets: ResetOffsetBody = body::decode(&response.body).unwrap();
    assert_eq!(
        offsets.offset_table.into_iter().collect::<Vec<_>>(),
        [(Queue::new("T", "broker-a", 0), 1)]
    );
    let response = wire.ask_broker(&commit("G", "T", 3)).await;
    assert_eq!(
        response.remark.as_deref(),
        Some("Offset has been previously reset")
    );
    let pull = PullMessageRequest {
        consumer_group: "G",
        ..crate::common::pull("T", 0, 3)
    };
    let response = wire.ask_broker(&pull).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (21, Some("OFFSET_RESET"))
    );
    assert_eq!(
        response
            .header::<PullMessageReply>()
            .unwrap()
            .next_begin_offset,
        1
    );
    assert_eq!(wire.ask_broker(&commit("G", "T", 3)).await.remark, None);
    let all = ResetOffsetRequest {
        queue_id: -1,
        offset: None,
        ..reset
    };
    let offsets: ResetOffsetBody = body::decode(&wire.ask_broker(&all).await.body).unwrap();
    assert_eq!(
        offsets.offset_table.values().copied().collect::<Vec<_>>(),
        [3, 0, 0, 0],
        "the ends"
    );
    let far = ResetOffsetRequest {
        offset: Some(9),
        ..reset
    };
    let response = wire.ask_broker(&far).await;
    assert_eq!(
        response.remark.as_deref(),
        Some("Target offset 9 not in consume queue range [0-3]")
    );
}

/// Answers what a broker passes on to a consumer: its code, its body, and which fields it has of the caller's.
struct Answering;

impl Handler for Answering {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        let mine = ["AccessKey", "SecurityToken", "Signature", "consumerGroup"];
        let fields = mine.map(|name| request.field(name).unwrap_or("-"));
        let messages = decode(&request.body).into_iter();
        let bodies: Vec<_> = messages.map(|message| message.body).collect();
        let text = format!("{} {bodies:?} {}", request.code, fields.join(" "));
        responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body(text));
    }
}

/// S-065. Who asked is between them and the broker: their signature would hold for other requests of the consumer's too.
#[tokio::test]
async fn s065_requests_are_passed_on_to_the_consumer_that_they_name() {
    let wire = Wire::start().await;
    let ask = |client_id| GetConsumerRunningInfoRequest {
        consumer_group: "G",
        client_id,
        jstack_enable: false,
    };
    let response = wire.ask_broker(&ask("a")).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (1, Some("The Consumer <G> <a> not online"))
    );
    let consumer = wire.join(Arc::new(Answering));
    consumer.call(beat(&cluster("a"))).await;
    let stored = wire.put("T", 0, "", "hello").await;
    let directly = RemotingCommand::request(&ConsumeMessageDirectlyRequest {
        consumer_group: "G",
        client_id: Some("a"),
        msg_id: Some(&stored.msg_id),
        ..ConsumeMessageDirectlyRequest::default()
    });
    for (mut request, expected) in [
        (RemotingCommand::request(&ask("a")), "307 [] - - - G"),
        (directly, "309 [b\"hello\"] - - - G"),
    ] {
        sign(
            &mut request,
            &Credentials {
                access_key: "alice".to_owned(),
                secret_key: "alice-secret".to_owned(),
                security_token: Some("token".to_owned()),
            },
        );
        let response = wire.broker(request).await;
        let text = std::str::from_utf8(&response.body).unwrap();
        assert_eq!((response.code, text), (0, expected));
    }
}
