use std::{collections::BTreeMap, path::Path, pin::pin, sync::Arc, time::Duration};

use rocketry_protocol::{
    MessageExt, RemotingCommand, RequestCode, ResponseCode,
    body::{
        self,
        assignment::{
            MessageRequestMode, QueryAssignmentRequestBody, QueryAssignmentResponseBody,
            SetMessageRequestModeRequestBody,
        },
        heartbeat::MessageModel,
        pop::{BatchAck, BatchAckMessageRequestBody},
    },
    header::{
        AckMessageRequest, ChangeInvisibleTimeReply, ChangeInvisibleTimeRequest,
        CreateTopicRequest, NotificationReply, NotificationRequest, PollingInfoReply,
        PollingInfoRequest, PopMessageReply, PopMessageRequest,
    },
    pop::{Receipt, RetryMark, parse_message_offsets, parse_start_offsets},
    properties::name,
};
use rocketry_remoting::Unsupported;
use rocketry_server::{DataDir, ServerConfig};
use tokio::time::Instant;

use crate::common::{TIMEOUT, Wire, beat, decode, heartbeat};

const RETRY: &str = "%RETRY%PG_T";

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A server with slots of a tenth of a second.
fn quick() -> ServerConfig {
    let mut config = ServerConfig::temp();
    config.timer_precision = Duration::from_millis(100);
    config
}

async fn with_topic(config: ServerConfig) -> Wire {
    let wire = Wire::with(config).await;
    let topic = CreateTopicRequest {
        topic: "T",
        default_topic: "TBW102",
        read_queue_nums: 2,
        write_queue_nums: 2,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        topic_sys_flag: None,
        order: false,
        attributes: None,
        force: None,
    };
    assert_eq!(wire.ask_broker(&topic).await.code, 0);
    wire
}

fn pop(poll_ms: i64, invisible_ms: i64) -> PopMessageRequest<'static> {
    PopMessageRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: -1,
        max_msg_nums: 32,
        invisible_time: invisible_ms,
        poll_time: poll_ms,
        born_time: now_ms(),
        init_mode: 0,
        exp_type: Some("TAG"),
        exp: Some("*"),
        order: Some(false),
        attempt_id: None,
        broker_name: None,
    }
}

/// A message with what it takes to acknowledge it.
struct Popped {
    message: MessageExt,
    receipt: Receipt,
}

impl Popped {
    fn body(&self) -> String {
        String::from_utf8(self.message.body.to_vec()).unwrap()
    }

    /// The topic it is stored in.
    fn stored_in(&self) -> String {
        self.receipt.mark.real_topic("T", "PG")
    }
}

/// The messages of an answer with their receipts, as a client makes them.
fn popped(response: &RemotingCommand) -> Vec<Popped> {
    let reply: PopMessageReply = response.header().unwrap();
    let starts = parse_start_offsets(reply.start_offset_info.as_deref().unwrap()).unwrap();
    let offsets = parse_message_offsets(reply.msg_offset_info.as_deref().unwrap()).unwrap();
    let mut seen: BTreeMap<(RetryMark, i32), usize> = BTreeMap::new();
    decode(&response.body)
        .into_iter()
        .map(|message| {
            if let Some(text) = message.property(name::POP_CK) {
                let receipt = Receipt::parse_handle(text).unwrap();
                return Popped { message, receipt };
            }
            let key = (RetryMark::of_topic(&message.topic), message.queue_id);
            let at = seen.entry(key).or_default();
            let receipt = Receipt {
                start_offset: starts[&key],
                pop_ms: reply.pop_time,
                invisible_ms: reply.invisible_time,
                revive_queue_id: reply.revive_qid,
                mark: key.0,
                broker_name: "broker-a".to_owned(),
                queue_id: message.queue_id,
                offset: Some(offsets[&key][*at]),
                commit_log_offset: None,
            };
            *at += 1;
            Popped { message, receipt }
        })
        .collect()
}

/// Pops until there is something.
async fn pop_some(wire: &Wire, invisible_ms: i64) -> Vec<Popped> {
    let response = wire.ask_broker(&pop(9_000, invisible_ms)).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    popped(&response)
}

async fn ack(wire: &Wire, popped: &Popped) {
    let response = wire
        .ask_broker(&AckMessageRequest {
            consumer_group: "PG",
            topic: &popped.stored_in(),
            queue_id: popped.receipt.queue_id,
            extra_info: &popped.receipt.to_string(),
            offset: popped.receipt.offset.unwrap(),
            lite_topic: None,
            broker_name: None,
        })
        .await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
}

async fn nothing_comes(wire: &Wire, ms: i64) {
    let response = wire.ask_broker(&pop(ms, 60_000)).await;
    assert_eq!(
        response.response_code(),
        ResponseCode::POLLING_TIMEOUT,
        "{:?}",
        decode(&response.body)
    );
}

/// S-080.
#[tokio::test]
async fn s080_what_is_not_acknowledged_comes_again() {
    let wire = with_topic(quick()).await;
    for (queue_id, body) in [(0, "a"), (0, "b"), (1, "c")] {
        wire.put("T", queue_id, "TAGS\u{1}A\u{2}", body).await;
    }
    let asked = now_ms();
    let first = pop_some(&wire, 1500).await;
    assert_eq!(first.len(), 3);
    for popped in &first {
        assert_eq!(popped.receipt.mark, RetryMark::Normal);
        assert_eq!(popped.receipt.offset, Some(popped.message.queue_offset));
        assert!((asked..=now_ms()).contains(&popped.receipt.pop_ms));
        if popped.body() != "b" {
            ack(&wire, popped).await;
        }
    }
    let again = pop_some(&wire, 60_000).await;
    let waited = now_ms() - asked;
    assert!((1500..=4500).contains(&waited), "{waited} ms");
    let [again] = &again[..] else {
        panic!("{} messages", again.len());
    };
    assert_eq!(again.body(), "b");
    assert_eq!(&*again.message.topic, "T");
    assert_eq!(again.message.reconsume_times, 1);
    assert_eq!(again.receipt.mark, RetryMark::RetryV1);
    assert_eq!(again.message.property(name::ORIGIN_GROUP), Some("PG"));
    let first_pop = first[0].receipt.pop_ms.to_string();
    assert_eq!(
        again.message.property(name::FIRST_POP_TIME),
        Some(first_pop.as_str())
    );
    ack(&wire, again).await;
    nothing_comes(&wire, 200).await;
    assert_eq!(wire.read_all(RETRY, 0).await.len(), 1);
}

/// S-081.
#[tokio::test]
async fn s081_a_changed_time_counts_instead_of_the_first() {
    let wire = with_topic(quick()).await;
    wire.put("T", 0, "", "a").await;
    let first = pop_some(&wire, 800).await.remove(0);
    let asked = now_ms();
    let change = |offset, receipt: &Receipt| {
        let extra_info = receipt.to_string();
        let wire = &wire;
        async move {
            wire.ask_broker(&ChangeInvisibleTimeRequest {
                consumer_group: "PG",
                topic: "T",
                queue_id: 0,
                extra_info: &extra_info,
                offset,
                invisible_time: 2500,
                lite_topic: None,
                suspend: false,
                broker_name: None,
            })
            .await
        }
    };
    let response = change(0, &first.receipt).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    let reply: ChangeInvisibleTimeReply = response.header().unwrap();
    assert!(reply.pop_time >= asked);
    assert_eq!(reply.invisible_time, 2500);
    assert_eq!(change(1, &first.receipt).await.code, 208);
    let again = pop_some(&wire, 60_000).await;
    assert_eq!(again.len(), 1);
    let waited = now_ms() - reply.pop_time;
    assert!((2500..=5500).contains(&waited), "{waited} ms");
    assert_eq!(wire.read_all(RETRY, 0).await.len(), 1, "once");
}

/// S-082.
#[tokio::test]
async fn s082_a_batch_of_acknowledgements_leaves_the_others() {
    let wire = with_topic(quick()).await;
    for body in ["a", "b", "c", "d"] {
        wire.put("T", 0, "", body).await;
    }
    let first = pop_some(&wire, 1200).await;
    assert_eq!(first.len(), 4);
    let receipt = &first[0].receipt;
    let entry = BatchAck {
        bit_set: Some([0, 2, 3].into_iter().collect()),
        consumer_group: "PG".to_owned(),
        invisible_time: receipt.invisible_ms,
        pop_time: receipt.pop_ms,
        queue_id: 0,
        retry: "0".to_owned(),
        revive_queue_id: receipt.revive_queue_id,
        start_offset: receipt.start_offset,
        topic: "T".to_owned(),
    };
    let batch = |acks| {
        let body = BatchAckMessageRequestBody {
            acks,
            broker_name: "broker-a".to_owned(),
        };
        RemotingCommand::bare_request(RequestCode::BATCH_ACK_MESSAGE)
            .with_body(body::encode(&body).unwrap())
    };
    let nowhere = BatchAck {
        topic: "nowhere".to_owned(),
        ..entry.clone()
    };
    assert_eq!(wire.broker(batch(vec![nowhere, entry])).await.code, 0);
    assert_eq!(wire.broker(batch(Vec::new())).await.code, 208);
    let again = pop_some(&wire, 60_000).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].body(), "b");
}

/// S-083.
#[tokio::test]
async fn s083_a_pop_waits_for_a_message_or_its_time() {
    let wire = with_topic(quick()).await;
    let began = Instant::now();
    let response = wire.ask_broker(&pop(300, 60_000)).await;
    assert_eq!(response.response_code(), ResponseCode::POLLING_TIMEOUT);
    assert!(began.elapsed() >= Duration::from_millis(290));
    let reply: PopMessageReply = response.header().unwrap();
    assert_eq!(reply.start_offset_info.as_deref(), Some(""));

    let other = wire.join(Arc::new(Unsupported));
    let tagged = PopMessageRequest {
        exp: Some("A"),
        ..pop(9_000, 60_000)
    };
    let mut waits = pin!(other.call(RemotingCommand::request(&tagged)));
    let info = PollingInfoRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: -1,
    };
    loop {
        let looked = tokio::select! {
            response = &mut waits => panic!("{response:?}"),
            looked = wire.ask_broker(&info) => looked,
        };
        if looked.header::<PollingInfoReply>().unwrap().polling_num == 1 {
            break;
        }
    }
    wire.put("T", 1, "TAGS\u{1}B\u{2}", "not wanted").await;
    wire.put("T", 1, "TAGS\u{1}A\u{2}", "wanted").await;
    let response = tokio::time::timeout(TIMEOUT, waits).await.unwrap();
    let came = popped(&response);
    assert_eq!((came.len(), came[0].body()), (1, "wanted".to_owned()));

    for (request, code) in [
        (
            PopMessageRequest {
                max_msg_nums: 33,
                ..pop(0, 1)
            },
            29,
        ),
        (
            PopMessageRequest {
                queue_id: 2,
                ..pop(0, 1)
            },
            29,
        ),
        (
            PopMessageRequest {
                topic: "nowhere",
                ..pop(0, 1)
            },
            17,
        ),
        (
            PopMessageRequest {
                born_time: now_ms() - 2000,
                ..pop(100, 1)
            },
            210,
        ),
        (
            PopMessageRequest {
                exp_type: Some("SQL92"),
                exp: Some("a ="),
                ..pop(0, 1)
            },
            23,
        ),
    ] {
        let response = wire.ask_broker(&request).await;
        assert_eq!(response.code, code, "{:?}", response.remark);
    }
    let mut config = quick();
    config.max_waiting_pulls = 0;
    let wire = with_topic(config).await;
    let response = wire.ask_broker(&pop(5000, 1)).await;
    assert_eq!(response.response_code(), ResponseCode::POLLING_FULL);
}

/// S-088.
#[tokio::test]
async fn s088_a_notification_comes_with_a_message_or_when_the_time_is_up() {
    let wire = with_topic(quick()).await;
    let request = |poll_ms| NotificationRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: -1,
        poll_time: poll_ms,
        born_time: now_ms(),
        order: None,
        attempt_id: None,
        exp_type: None,
        exp: None,
    };
    let has_msg = |response: RemotingCommand| {
        assert_eq!(response.code, 0, "{:?}", response.remark);
        response.header::<NotificationReply>().unwrap().has_msg
    };
    assert!(!has_msg(wire.ask_broker(&request(200)).await));
    let other = wire.join(Arc::new(Unsupported));
    let command = RemotingCommand::request(&request(9_000));
    let (response, stored) = tokio::join!(other.call(command), wire.put("T", 1, "", "a"));
    assert_eq!(stored.queue_offset, 0);
    assert!(has_msg(response));
    assert!(
        has_msg(wire.ask_broker(&request(0)).await),
        "it took nothing"
    );
    assert_eq!(pop_some(&wire, 60_000).await.len(), 1);
    assert!(!has_msg(wire.ask_broker(&request(0)).await));
}

/// S-085.
#[tokio::test]
async fn s085_acknowledgements_must_fit_a_queue() {
    let wire = with_topic(quick()).await;
    wire.put("T", 0, "", "a").await;
    let request = AckMessageRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: 0,
        extra_info: "0 1 60000 1 0 broker-a 0 0",
        offset: 0,
        lite_topic: None,
        broker_name: None,
    };
    assert_eq!(wire.ask_broker(&request).await.code, 0, "late is no error");
    for (request, code) in [
        (
            AckMessageRequest {
                queue_id: 2,
                ..request
            },
            13,
        ),
        (
            AckMessageRequest {
                offset: 2,
                ..request
            },
            208,
        ),
        (
            AckMessageRequest {
                topic: "nowhere",
                ..request
            },
            17,
        ),
        (
            AckMessageRequest {
                extra_info: "0 1",
                ..request
            },
            1,
        ),
    ] {
        let response = wire.ask_broker(&request).await;
        assert_eq!(response.code, code, "{:?}", response.remark);
    }
    let response = wire
        .ask_broker(&AckMessageRequest {
            offset: 7,
            ..request
        })
        .await;
    assert_eq!(
        response.remark.as_deref(),
        Some("offset is illegal, key:T@0, commit:-1, store:0~1")
    );
}

fn in_dir(dir: &Path) -> ServerConfig {
    let mut config = quick();
    config.data_dir = DataDir::Path(dir.to_owned());
    config
}

/// S-086.
#[tokio::test]
async fn s086_receipts_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let wire = with_topic(in_dir(dir.path())).await;
    for body in ["a", "b", "c"] {
        wire.put("T", 0, "", body).await;
    }
    let first = pop_some(&wire, 2000).await;
    ack(&wire, &first[1]).await;
    wire.server.shutdown(TIMEOUT).await.unwrap();
    let wire = Wire::with(in_dir(dir.path())).await;
    ack(&wire, &first[2]).await;
    let again = pop_some(&wire, 60_000).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].body(), "a");
    nothing_comes(&wire, 1000).await;
}

async fn assigned(wire: &Wire, client_id: &str) -> QueryAssignmentResponseBody {
    let body = QueryAssignmentRequestBody {
        client_id: client_id.to_owned(),
        consumer_group: "PG".to_owned(),
        message_model: Some(MessageModel::Clustering),
        strategy_name: "AVG".to_owned(),
        topic: "T".to_owned(),
    };
    let command = RemotingCommand::bare_request(RequestCode::QUERY_ASSIGNMENT)
        .with_body(body::encode(&body).unwrap());
    let response = wire.broker(command).await;
    assert_eq!(response.code, 0);
    body::decode(&response.body).unwrap()
}

fn queues(body: &QueryAssignmentResponseBody) -> Vec<(i32, Option<MessageRequestMode>)> {
    let list = body.message_queue_assignments.as_ref().unwrap();
    list.iter()
        .map(|one| (one.message_queue.as_ref().unwrap().queue_id, one.mode))
        .collect()
}

/// S-087.
#[tokio::test]
async fn s087_the_broker_assigns_queues_and_remembers_who_pops() {
    let dir = tempfile::tempdir().unwrap();
    let wire = with_topic(in_dir(dir.path())).await;
    let online = async |wire: &Wire| {
        let mut peers = Vec::new();
        for client in ["c1", "c2"] {
            let peer = wire.join(Arc::new(Unsupported));
            let data = heartbeat(client, "PG", MessageModel::Clustering, &["T"]);
            assert_eq!(peer.call(beat(&data)).await.code, 0);
            peers.push(peer);
        }
        peers
    };
    let peers = online(&wire).await;
    let pull = Some(MessageRequestMode::Pull);
    assert_eq!(queues(&assigned(&wire, "c1").await), [(0, pull)]);
    assert_eq!(queues(&assigned(&wire, "c2").await), [(1, pull)]);
    let stranger = assigned(&wire, "c3").await;
    assert_eq!(stranger.message_queue_assignments, None);

    let set = |topic: &str| {
        let body = SetMessageRequestModeRequestBody {
            consumer_group: "PG".to_owned(),
            mode: Some(MessageRequestMode::Pop),
            pop_share_queue_num: 0,
            topic: topic.to_owned(),
        };
        RemotingCommand::bare_request(RequestCode::SET_MESSAGE_REQUEST_MODE)
            .with_body(body::encode(&body).unwrap())
    };
    for (topic, code) in [("%RETRY%PG", 16), ("nowhere", 17), ("T", 0)] {
        assert_eq!(wire.broker(set(topic)).await.code, code, "{topic}");
    }
    let any = [(-1, Some(MessageRequestMode::Pop))];
    assert_eq!(queues(&assigned(&wire, "c1").await), any);
    drop(peers);
    wire.server.shutdown(TIMEOUT).await.unwrap();

    let wire = Wire::with(in_dir(dir.path())).await;
    let _peers = online(&wire).await;
    assert_eq!(queues(&assigned(&wire, "c2").await), any);
}
