use std::time::Duration;

use rocketry_protocol::{
    Fields, MessageExt, RemotingCommand, RequestCode,
    body::{
        self,
        groups::GroupForbidden,
        heartbeat::MessageModel,
        offsets::{
            ConsumeStatsList, ConsumerOffsetSerializeWrapper, QueryConsumeTimeSpanBody,
            QueryCorrectionOffsetBody,
        },
        stats::{BrokerStatsData, QueryConsumeQueueResponseBody},
    },
    hash::java_string_hash,
    header::{
        CreateTopicRequest, DeleteSubscriptionGroupRequest, GetBrokerConsumeStatsRequest,
        OffsetReply, PullMessageRequest, QueryConsumeQueueRequest, QueryConsumeTimeSpanRequest,
        QueryConsumerOffsetRequest, QueryCorrectionOffsetRequest, SendMessageReply,
        SendMessageRequest, UpdateConsumerOffsetRequest, UpdateGroupForbiddenRequest,
        ViewBrokerStatsDataRequest,
    },
    properties::name,
};

use tokio::time::Instant;

use crate::common::{Wire, beat, heartbeat, pull, request_to, send};

fn topic(topic: &str, queues: i32) -> CreateTopicRequest<'_> {
    CreateTopicRequest {
        topic,
        default_topic: "TBW102",
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        topic_sys_flag: None,
        order: false,
        attributes: None,
        force: None,
    }
}

/// Makes the group and commits an offset of it.
async fn commit(wire: &Wire, group: &str, queue_id: i32, offset: i64) {
    let first = PullMessageRequest {
        consumer_group: group,
        ..pull("T", 0, 0)
    };
    wire.ask_broker(&first).await;
    let commit = UpdateConsumerOffsetRequest {
        consumer_group: group,
        topic: "T",
        queue_id,
        commit_offset: offset,
        broker_name: None,
    };
    assert_eq!(wire.ask_broker(&commit).await.code, 0);
}

/// Two queues with three and one messages, of which the group `CG` has consumed two and none.
async fn counted() -> (Wire, Vec<MessageExt>) {
    let wire = Wire::start().await;
    assert_eq!(wire.ask_broker(&topic("T", 2)).await.code, 0);
    for body in ["a", "b", "c"] {
        wire.put("T", 0, "TAGS\u{1}A\u{2}", body).await;
    }
    wire.put("T", 1, "", "d").await;
    commit(&wire, "CG", 0, 2).await;
    let messages = wire.read_all("T", 0).await;
    (wire, messages)
}

/// S-073 for the rates of `statsAll`, which are taken every 10 s.
#[tokio::test]
async fn s073_rates_of_topics_and_groups_are_shown() {
    let (wire, messages) = counted().await;
    let view = async |stats_name, stats_key| {
        let request = ViewBrokerStatsDataRequest {
            stats_name,
            stats_key,
        };
        wire.ask_broker(&request).await
    };
    let nothing = view("TOPIC_PUT_NUMS", "nowhere").await;
    assert_eq!(
        (nothing.code, nothing.remark.as_deref()),
        (1, Some("The stats <TOPIC_PUT_NUMS> <nowhere> not exist"))
    );
    // There at once, as soon as something was counted.
    let data = async |name, key| {
        let response = view(name, key).await;
        assert_eq!(response.code, 0, "{name} {key}: {:?}", response.remark);
        body::decode::<BrokerStatsData>(&response.body).unwrap()
    };
    let began = Instant::now();
    while data("TOPIC_PUT_NUMS", "T").await.stats_minute.sum == 0
        || data("GROUP_GET_NUMS", "T@CG").await.stats_minute.sum == 0
    {
        assert!(began.elapsed() < Duration::from_mins(1));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let put = data("TOPIC_PUT_NUMS", "T").await;
    assert_eq!(put.stats_minute.sum, 4);
    for span in [put.stats_minute, put.stats_hour, put.stats_day] {
        assert!(span.sum > 0 && span.tps > 0.0, "{put:?}");
    }
    let got = data("GROUP_GET_NUMS", "T@CG").await.stats_minute;
    // The commit pulled as well.
    assert_eq!(got.sum, 2 * i64::try_from(messages.len()).unwrap());
    assert!(data("GROUP_GET_SIZE", "T@CG").await.stats_day.sum > 300);
    let all = data("BROKER_PUT_NUMS", "DefaultCluster").await;
    assert_eq!(all.stats_minute.sum, 4);
}

/// S-073 for the times of a group's backlog.
#[tokio::test]
async fn s073_the_time_span_of_a_backlog_is_that_of_its_messages() {
    let (wire, messages) = counted().await;
    let request = QueryConsumeTimeSpanRequest {
        topic: "T",
        group: "CG",
    };
    let response = wire.ask_broker(&request).await;
    let body: QueryConsumeTimeSpanBody = body::decode(&response.body).unwrap();
    let [first, second] = &body.consume_time_span_set[..] else {
        panic!("{body:?}");
    };
    assert_eq!(first.min_time_stamp, messages[0].store_ms);
    assert_eq!(first.max_time_stamp, messages[2].store_ms);
    assert_eq!(first.consume_time_stamp, messages[1].store_ms);
    let now_ms = jiff::Timestamp::now().as_millisecond();
    assert!((0..=now_ms - messages[2].store_ms).contains(&first.delay_time));
    let text = first.min_time_stamp_str.as_deref().unwrap();
    assert_eq!((text.len(), &text[10..11]), (23, "#"), "{text}");
    assert_eq!(second.consume_time_stamp, second.min_time_stamp);

    let unknown = QueryConsumeTimeSpanRequest {
        topic: "nowhere",
        group: "CG",
    };
    let response = wire.ask_broker(&unknown).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (17, Some("topic[nowhere] not exist"))
    );
}

/// S-073 for the whole broker.
#[tokio::test]
async fn s073_the_consumption_of_a_broker_is_the_sum_of_its_groups() {
    let (wire, _) = counted().await;
    let request = GetBrokerConsumeStatsRequest { is_order: false };
    let response = wire.ask_broker(&request).await;
    let list: ConsumeStatsList = body::decode(&response.body).unwrap();
    assert_eq!(list.broker_addr.as_deref(), Some(wire.server.broker_addr()));
    assert_eq!(list.total_diff, 2);
    let groups: Vec<_> = list.consume_stats_list.iter().flatten().collect();
    let (_, stats) = groups.iter().find(|(group, _)| *group == "CG").unwrap();
    let offsets: Vec<_> = stats[0].offset_table.values().collect();
    assert_eq!(
        (offsets[0].broker_offset, offsets[0].consumer_offset),
        (3, 2)
    );
    assert_eq!(
        (offsets[1].broker_offset, offsets[1].consumer_offset),
        (1, 0)
    );
    let ordered = GetBrokerConsumeStatsRequest { is_order: true };
    let response = wire.ask_broker(&ordered).await;
    let list: ConsumeStatsList = body::decode(&response.body).unwrap();
    assert_eq!(list.total_diff, 0);
}

#[tokio::test]
async fn correction_offsets_are_the_least_of_the_others_and_delete_nothing() {
    let (wire, _) = counted().await;
    commit(&wire, "behind", 0, 1).await;
    commit(&wire, "left-out", 0, 0).await;
    let request = QueryCorrectionOffsetRequest {
        topic: "T",
        compare_group: "CG",
        filter_groups: Some("left-out, nobody"),
    };
    for _ in 0..2 {
        let response = wire.ask_broker(&request).await;
        let body: QueryCorrectionOffsetBody = body::decode(&response.body).unwrap();
        assert_eq!(body.correction_offsets.get(&0), Some(&1));
    }
    let all = RemotingCommand::bare_request(RequestCode::GET_ALL_CONSUMER_OFFSET);
    let response = wire.broker(all).await;
    let offsets: ConsumerOffsetSerializeWrapper = body::decode(&response.body).unwrap();
    assert_eq!(offsets.offset_table["T@left-out"][&0], 0);
    for code in [
        RequestCode::GET_ALL_DELAY_OFFSET,
        RequestCode::GET_TIMER_METRICS,
    ] {
        let response = wire.broker(RemotingCommand::bare_request(code)).await;
        assert!(response.body.starts_with(b"{"), "{code:?}");
    }
}

#[tokio::test]
async fn the_units_of_a_queue_are_shown() {
    let (wire, messages) = counted().await;
    let request = QueryConsumeQueueRequest {
        topic: Some("T"),
        queue_id: 0,
        index: 1,
        count: 5,
        consumer_group: Some("CG"),
    };
    let response = wire.ask_broker(&request).await;
    let body: QueryConsumeQueueResponseBody = body::decode(&response.body).unwrap();
    assert_eq!((body.min_queue_index, body.max_queue_index), (0, 3));
    assert_eq!(body.filter_data.as_deref(), Some("CG@T is not online!"));
    let units = body.queue_data.unwrap();
    assert_eq!(units.len(), 2);
    for (unit, message) in units.iter().zip(&messages[1..]) {
        assert_eq!(unit.physic_offset, message.commit_log_offset);
        assert_eq!(unit.tags_code, i64::from(java_string_hash("A")));
        assert!(unit.physic_size > 100);
    }
    // As Java answers what is not there: code 0, no body.
    for (queue_id, index) in [(7, 1), (0, -1), (0, 3)] {
        let missing = QueryConsumeQueueRequest {
            queue_id,
            index,
            ..request.clone()
        };
        let response = wire.ask_broker(&missing).await;
        let remark = format!("Index {index} of {queue_id}@T is not exist!");
        assert_eq!((response.code, response.remark), (0, Some(remark)));
        assert!(response.body.is_empty());
    }
}

/// S-077.
#[tokio::test]
async fn s077_a_group_can_be_forbidden_to_read_a_topic() {
    let (wire, _) = counted().await;
    let request = |readable| UpdateGroupForbiddenRequest {
        group: "CG",
        topic: "T",
        readable,
    };
    let subscribed = heartbeat("c", "CG", MessageModel::Clustering, &["T"]);
    wire.broker(beat(&subscribed)).await;
    let from_heartbeat = PullMessageRequest {
        sys_flag: 0,
        subscription: None,
        ..pull("T", 0, 0)
    };
    for (readable, code) in [(false, 16), (true, 0)] {
        let response = wire.ask_broker(&request(Some(readable))).await;
        let body: GroupForbidden = body::decode(&response.body).unwrap();
        assert_eq!(body.readable, Some(readable));
        assert_eq!(response.remark.as_deref(), Some(""));
        let response = wire.ask_broker(&request(None)).await;
        let body: GroupForbidden = body::decode(&response.body).unwrap();
        assert_eq!(body.readable, Some(readable), "asking changes nothing");
        let response = wire.ask_broker(&from_heartbeat).await;
        assert_eq!(response.code, code, "{:?}", response.remark);
        let kind = response
            .fields
            .as_ref()
            .and_then(|fields: &Fields| fields.get("forbiddenType"));
        assert_eq!(kind, (code == 16).then_some("5"));
    }
}

fn settings(text: &'static str) -> RemotingCommand {
    RemotingCommand::bare_request(RequestCode::UPDATE_BROKER_CONFIG).with_body(text)
}

/// S-075.
#[tokio::test]
async fn s075_settings_of_a_running_broker_are_changed_within_limits() {
    let wire = Wire::start().await;
    let config = async || {
        let request = RemotingCommand::bare_request(RequestCode::GET_BROKER_CONFIG);
        String::from_utf8(wire.broker(request).await.body.to_vec()).unwrap()
    };
    assert!(config().await.contains("autoCreateTopicEnable=true\n"));
    let update = "# a comment\nautoCreateTopicEnable = false\nbrokerPermission=4\nunknown=1\n";
    assert_eq!(wire.broker(settings(update)).await.code, 0);
    let changed = config().await;
    assert!(
        changed.contains("autoCreateTopicEnable=false\n"),
        "{changed}"
    );
    assert!(changed.contains("brokerPermission=4\n"), "{changed}");
    let response = wire.broker(send(&request_to("new"), "x")).await;
    assert_eq!(response.code, 17, "{:?}", response.remark);
    for (text, code, remark) in [
        (
            "brokerPermission=6\nlistenPort=1\n",
            16,
            "Can not update config in black list.",
        ),
        (
            "brokerPermission=all",
            1,
            "brokerPermission cannot be \"all\"",
        ),
    ] {
        let response = wire.broker(settings(text)).await;
        assert_eq!(
            (response.code, response.remark.as_deref()),
            (code, Some(remark))
        );
    }
    assert!(
        config().await.contains("brokerPermission=4\n"),
        "all or none"
    );
    assert_eq!(
        wire.broker(settings("autoCreateTopicEnable=true"))
            .await
            .code,
        0
    );
    assert_eq!(wire.broker(send(&request_to("new"), "x")).await.code, 0);
}

#[tokio::test]
async fn the_name_server_tells_its_settings_and_changes_what_may_change() {
    let wire = Wire::start().await;
    let read = RemotingCommand::bare_request(RequestCode::GET_NAMESRV_CONFIG);
    let body = wire.namesrv(read.clone()).await.body;
    assert!(body.ends_with(b"orderMessageEnable=false\n"), "{body:?}");
    let update = |text: &'static str| {
        RemotingCommand::bare_request(RequestCode::UPDATE_NAMESRV_CONFIG).with_body(text)
    };
    let response = wire
        .namesrv(update("orderMessageEnable=true\nclusterTest=false"))
        .await;
    assert_eq!(response.code, 0);
    let body = wire.namesrv(read).await.body;
    assert!(body.ends_with(b"orderMessageEnable=true\n"), "{body:?}");
    assert_eq!(wire.namesrv(update("kvConfigPath=/tmp")).await.code, 16);
}

/// S-030, P-030 for the broker's half.
#[tokio::test]
async fn s030_a_priority_chooses_the_queue() {
    let wire = Wire::start().await;
    assert_eq!(wire.ask_broker(&topic("P", 4)).await.code, 0);
    let put = async |properties: &str| {
        let request = SendMessageRequest {
            queue_id: 0,
            properties,
            ..request_to("P")
        };
        let response = wire.broker(send(&request, "x")).await;
        assert_eq!(response.code, 0, "{:?}", response.remark);
        response.header::<SendMessageReply>().unwrap().queue_id
    };
    for (priority, queue_id) in [(0, 0), (2, 2), (3, 3), (9, 3)] {
        let properties = format!("_SYS_MSG_PRIORITY_\u{1}{priority}\u{2}");
        assert_eq!(put(&properties).await, queue_id);
    }
    let sharded = "_SYS_MSG_PRIORITY_\u{1}2\u{2}__SHARDINGKEY\u{1}k\u{2}";
    assert_eq!(put(sharded).await, 0);
    let stored = wire.read_all("P", 0).await;
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[0].property(name::PRIORITY), Some("0"));
    assert_eq!(stored[1].property(name::PRIORITY), None);
    put("_SYS_MSG_PRIORITY_\u{1}2\u{2}DELAY\u{1}18\u{2}").await;
    let parked = wire.read_all("SCHEDULE_TOPIC_XXXX", 17).await;
    assert_eq!(parked[0].property(name::PRIORITY), None);
    assert_eq!(parked[0].property(name::REAL_QID), Some("0"));
}

/// S-035.
#[tokio::test]
async fn s035_a_read_only_broker_refuses_ordered_topics_only() {
    let wire = Wire::start().await;
    let ordered = CreateTopicRequest {
        order: true,
        ..topic("ordered", 1)
    };
    assert_eq!(wire.ask_broker(&ordered).await.code, 0);
    assert_eq!(wire.ask_broker(&topic("T", 1)).await.code, 0);
    assert_eq!(wire.broker(settings("brokerPermission=4")).await.code, 0);
    let response = wire.broker(send(&request_to("ordered"), "x")).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (
            16,
            Some("the broker[127.0.0.1] sending message is forbidden")
        )
    );
    assert_eq!(wire.broker(send(&request_to("T"), "x")).await.code, 0);
    assert_eq!(wire.broker(settings("brokerPermission=6")).await.code, 0);
    assert_eq!(wire.broker(send(&request_to("ordered"), "x")).await.code, 0);
}

/// S-076.
#[tokio::test]
async fn s076_a_group_is_deleted_with_its_offsets_or_without() {
    let (wire, _) = counted().await;
    commit(&wire, "other", 0, 1).await;
    let delete = |group_name, clean_offset| DeleteSubscriptionGroupRequest {
        group_name,
        clean_offset,
    };
    assert_eq!(wire.ask_broker(&delete("CG", false)).await.code, 0);
    assert_eq!(wire.ask_broker(&delete("other", true)).await.code, 0);
    assert_eq!(wire.ask_broker(&delete("nobody", true)).await.code, 0);
    let offset_of = async |group| {
        let request = QueryConsumerOffsetRequest {
            consumer_group: group,
            topic: "T",
            queue_id: 0,
            set_zero_if_not_found: Some(false),
            broker_name: None,
        };
        let response = wire.ask_broker(&request).await;
        (response.code == 0).then(|| response.header::<OffsetReply>().unwrap().offset)
    };
    assert_eq!(offset_of("CG").await, Some(2));
    assert_eq!(offset_of("other").await, None);
    let update = UpdateConsumerOffsetRequest {
        consumer_group: "CG",
        topic: "T",
        queue_id: 0,
        commit_offset: 3,
        broker_name: None,
    };
    let response = wire.ask_broker(&update).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (26, Some("Group CG not exist!"))
    );
}
