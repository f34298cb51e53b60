//! Requests that no client of today sends: what the differential script found to be answered otherwise than by Java's broker.

use rocketry_protocol::{
    RemotingCommand, RequestCode,
    body::{
        self,
        groups::SubscriptionGroupConfig,
        heartbeat::MessageModel,
        topics::{CreateTopicListRequestBody, TopicConfig, TopicList},
    },
    header::{
        CreateTopicRequest, EndTransactionRequest, GetTopicConfigRequest,
        InvokeGetConsumerStatusRequest, PollingInfoRequest, SendMessageRequest,
    },
    sys_flag,
};

use crate::common::{Wire, beat, heartbeat, request_to, send};

/// S-034: a delay level that is no number is refused; the message would arrive at once.
#[tokio::test]
async fn s034_a_delay_level_that_is_no_number_is_refused() {
    let wire = Wire::start().await;
    let request = SendMessageRequest {
        properties: "DELAY\u{1}x\u{2}",
        ..request_to("T")
    };
    let response = wire.broker(send(&request, "later")).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (1, Some("the delay level \"x\" is not a number"))
    );
    assert!(wire.read_all("T", 0).await.is_empty());
}

/// S-018: a record marked as several messages is for topics of such records. Consumers would take it apart, and find no messages in it.
#[tokio::test]
async fn a_message_that_is_no_batch_cannot_be_marked_as_one() {
    let wire = Wire::start().await;
    let marked = SendMessageRequest {
        sys_flag: sys_flag::INNER_BATCH,
        ..request_to("T")
    };
    let counted = SendMessageRequest {
        properties: "INNER_NUM\u{1}2\u{2}",
        ..request_to("T")
    };
    for request in [marked, counted] {
        let response = wire.broker(send(&request, "x")).await;
        assert_eq!(response.code, 13, "{:?}", response.remark);
    }
    wire.put("T", 0, "", "plain").await;
    assert_eq!(wire.read_all("T", 0).await.len(), 1);
}

/// S-020: a topic that a unit's first message creates is marked so.
#[tokio::test]
async fn s020_a_topic_created_by_a_unit_is_marked() {
    let wire = Wire::start().await;
    for (topic, unit_mode, flag) in [("Plain", false, 0), ("Unit", true, 1)] {
        let request = SendMessageRequest {
            unit_mode,
            ..request_to(topic)
        };
        assert_eq!(wire.broker(send(&request, "x")).await.code, 0);
        let request = GetTopicConfigRequest {
            topic,
            ..GetTopicConfigRequest::default()
        };
        let response = wire.ask_broker(&request).await;
        let config: TopicConfig = body::decode(&response.body).unwrap();
        assert_eq!(config.topic_sys_flag, flag, "{topic}");
    }
}

/// S-018: what Java's broker can do without, it need not be told: the producer's group, the template of a topic that exists.
#[tokio::test]
async fn s018_a_send_may_leave_out_what_is_not_needed() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "first").await;
    let short = RemotingCommand::bare_request(RequestCode::SEND_MESSAGE_V2)
        .with_field("b", "T")
        .with_field("e", "0")
        .with_field("f", "0")
        .with_field("g", "1700000000000")
        .with_field("h", "0");
    let long = RemotingCommand::bare_request(RequestCode::SEND_MESSAGE)
        .with_field("topic", "T")
        .with_field("queueId", "0")
        .with_field("sysFlag", "0")
        .with_field("bornTimestamp", "1700000000000")
        .with_field("flag", "0");
    for command in [short, long] {
        let response = wire.broker(command.with_body("x")).await;
        assert_eq!(response.code, 0, "{:?}", response.remark);
    }
    let pull = RemotingCommand::bare_request(RequestCode::PULL_MESSAGE)
        .with_field("consumerGroup", "CG")
        .with_field("topic", "T")
        .with_field("queueId", "0")
        .with_field("queueOffset", "0")
        .with_field("maxMsgNums", "32")
        .with_field("sysFlag", "4")
        .with_field("subscription", "*");
    let response = wire.broker(pull).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    assert_eq!(crate::common::decode(&response.body).len(), 3);
}

/// S-069: a number of queues that nobody can go over is refused; it would be gone over at every pop.
#[tokio::test]
async fn s069_a_topic_has_no_more_queues_than_the_limit() {
    const LIMIT: i32 = 16_384;
    let wire = Wire::start().await;
    let refused = |response: RemotingCommand, field: &str, queues: i32| {
        let remark = format!("{field} {queues} is more than {LIMIT}, which is the limit");
        assert_eq!(
            (response.code, response.remark.as_deref()),
            (29, Some(&*remark))
        );
    };
    let topic = |name: &str, read, write| TopicConfig {
        read_queue_nums: read,
        write_queue_nums: write,
        ..TopicConfig::new(name, 1)
    };
    let created = async |config: &TopicConfig| {
        let request = CreateTopicRequest {
            topic: &config.topic_name,
            default_topic: "TBW102",
            read_queue_nums: config.read_queue_nums,
            write_queue_nums: config.write_queue_nums,
            perm: 6,
            topic_filter_type: "SINGLE_TAG",
            ..CreateTopicRequest::default()
        };
        wire.ask_broker(&request).await
    };
    let (read, write) = (topic("T", i32::MAX, LIMIT), topic("T", LIMIT, LIMIT + 1));
    refused(created(&read).await, "readQueueNums", i32::MAX);
    refused(created(&write).await, "writeQueueNums", LIMIT + 1);
    let list = CreateTopicListRequestBody {
        topic_config_list: vec![topic("U", 1, 1), read],
    };
    let list = RemotingCommand::bare_request(RequestCode::UPDATE_AND_CREATE_TOPIC_LIST)
        .with_body(body::encode(&list).unwrap());
    refused(wire.broker(list).await, "readQueueNums", i32::MAX);
    for topic in ["T", "U"] {
        let request = GetTopicConfigRequest {
            topic,
            ..GetTopicConfigRequest::default()
        };
        assert_eq!(wire.ask_broker(&request).await.code, 17);
    }
    assert_eq!(created(&topic("T", LIMIT, LIMIT)).await.code, 0);

    for (queues, is_refused) in [(LIMIT + 1, true), (LIMIT, false)] {
        let group = SubscriptionGroupConfig {
            group_name: "G".to_owned(),
            retry_queue_nums: queues,
            ..SubscriptionGroupConfig::default()
        };
        let set = RemotingCommand::bare_request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP)
            .with_body(body::encode(&group).unwrap());
        let response = wire.broker(set).await;
        if is_refused {
            refused(response, "retryQueueNums", queues);
        } else {
            assert_eq!(response.code, 0);
        }
    }
}

/// S-043: a decision that is neither commit, rollback nor unknown is refused, not left without an answer.
#[tokio::test]
async fn s043_a_decision_that_is_none_is_refused() {
    let wire = Wire::start().await;
    let request = EndTransactionRequest {
        producer_group: "PG",
        commit_or_rollback: 7,
        ..EndTransactionRequest::default()
    };
    let response = wire.ask_broker(&request).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (1, Some("commitOrRollback field wrong"))
    );
}

/// S-083: the number of pops that wait is told of topics and queues that are there.
#[tokio::test]
async fn s083_pops_that_wait_are_counted_for_what_exists() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "x").await;
    for (topic, queue_id, code) in [("T", 0, 0), ("T", 99, 29), ("Unknown", 0, 17)] {
        let request = PollingInfoRequest {
            consumer_group: "CG",
            topic,
            queue_id,
        };
        let response = wire.ask_broker(&request).await;
        assert_eq!(response.code, code, "{topic} {:?}", response.remark);
    }
}

/// S-065: of a client that is not in the group there are no offsets, which is no error.
#[tokio::test]
async fn s065_offsets_of_a_client_that_is_not_there() {
    let wire = Wire::start().await;
    let member = heartbeat("c@1", "CG", MessageModel::Clustering, &["T"]);
    assert_eq!(wire.broker(beat(&member)).await.code, 0);
    let request = |group| InvokeGetConsumerStatusRequest {
        topic: "T",
        group,
        client_addr: Some("nobody"),
    };
    let response = wire.ask_broker(&request("CG")).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    assert_eq!(wire.ask_broker(&request("Empty")).await.code, 1);
}

/// The broker's own topics are listed with those that carry its name.
#[tokio::test]
async fn system_topics_with_the_brokers_name_are_listed() {
    let wire = Wire::start().await;
    let code = RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER;
    let response = wire.broker(RemotingCommand::bare_request(code)).await;
    let list: TopicList = body::decode(&response.body).unwrap();
    for topic in [
        "rmq_sys_wheel_timer",
        "rmq_sys_REVIVE_LOG_DefaultCluster",
        "rmq_sys_SYNC_BROKER_MEMBER_broker-a",
    ] {
        assert!(list.topic_list.iter().any(|name| name == topic), "{topic}");
    }
}
