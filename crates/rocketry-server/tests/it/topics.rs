use rocketry_protocol::{
    RemotingCommand, RequestCode,
    body::{
        self,
        groups::{SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper},
        offsets::{ConsumeStats, TopicStatsTable},
        route::KVTable,
        topics::{TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicConfigSerializeWrapper},
    },
    header::{
        BoundaryType, CreateTopicRequest, DeleteTopicRequest, GetAllSubscriptionGroupConfigReply,
        GetAllSubscriptionGroupConfigRequest, GetAllTopicConfigReply, GetAllTopicConfigRequest,
        GetConsumeStatsRequest, GetEarliestMsgStoretimeRequest, GetMaxOffsetRequest,
        GetMinOffsetRequest, GetTopicConfigRequest, GetTopicStatsInfoRequest, OffsetReply,
        QueryConsumerOffsetRequest, SearchOffsetRequest, TimestampReply,
        UpdateConsumerOffsetRequest,
    },
};

use rocketry_server::{DataDir, ServerConfig};

use crate::common::{TIMEOUT, Wire, pull};

fn create<'a>(topic: &'a str, attributes: Option<&'a str>) -> CreateTopicRequest<'a> {
    CreateTopicRequest {
        topic,
        default_topic: "TBW102",
        read_queue_nums: 2,
        write_queue_nums: 2,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        topic_sys_flag: None,
        order: false,
        attributes,
        force: None,
    }
}

/// S-069.
#[tokio::test]
async fn s069_topics_are_created_changed_and_deleted() {
    let wire = Wire::start().await;
    assert_eq!(
        wire.ask_broker(&create("T", Some("+message.type=FIFO")))
            .await
            .code,
        0
    );
    let response = wire
        .ask_broker(&GetTopicConfigRequest {
            topic: "T",
            logical: None,
        })
        .await;
    let config: TopicConfig = body::decode(&response.body).unwrap();
    assert_eq!(
        (
            config.write_queue_nums,
            config.attributes["message.type"].as_str()
        ),
        (2, "FIFO")
    );
    // A change: other numbers, and an attribute that goes.
    let change = CreateTopicRequest {
        read_queue_nums: 5,
        write_queue_nums: 3,
        perm: 4,
        ..create("T", Some("-message.type"))
    };
    assert_eq!(wire.ask_broker(&change).await.code, 0);
    let response = wire
        .ask_broker(&GetTopicConfigRequest {
            topic: "T",
            logical: None,
        })
        .await;
    let config: TopicConfig = body::decode(&response.body).unwrap();
    assert_eq!(
        (
            config.read_queue_nums,
            config.write_queue_nums,
            config.perm,
            config.attributes.len()
        ),
        (5, 3, 4, 0)
    );
    for (request, code, remark) in [
        (create("a b", None), 29, "contains illegal characters"),
        (
            create("TBW102", None),
            29,
            "The topic[TBW102] is conflict with system topic.",
        ),
        (
            create("T", Some("+message.type=MIXED")),
            29,
            "MIXED message type is not supported.",
        ),
        (
            create("U", Some("-message.type")),
            1,
            "only add attribute is supported while creating topic",
        ),
        (
            create("T", Some("+queue.type=BatchCQ")),
            1,
            "attempt to update an unchangeable attribute",
        ),
    ] {
        let response = wire.ask_broker(&request).await;
        let text = response.remark.unwrap_or_default();
        assert_eq!(response.code, code, "{text}");
        assert!(text.contains(remark), "{text}");
    }
    assert_eq!(
        wire.ask_broker(&DeleteTopicRequest { topic: "T" })
            .await
            .code,
        0
    );
    let response = wire
        .ask_broker(&GetTopicConfigRequest {
            topic: "T",
            logical: None,
        })
        .await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (17, Some("No topic in this broker. topic: T"))
    );
    let route =
        RemotingCommand::bare_request(RequestCode::GET_ROUTEINFO_BY_TOPIC).with_field("topic", "T");
    assert_eq!(wire.namesrv(route).await.code, 17);
    assert_eq!(
        wire.ask_broker(&DeleteTopicRequest { topic: "T" })
            .await
            .code,
        0,
        "unknown: no error"
    );
    assert_eq!(
        wire.ask_broker(&DeleteTopicRequest { topic: "TBW102" })
            .await
            .code,
        29
    );
}

/// S-071, with a message sent to another topic before and after.
#[tokio::test]
async fn s071_a_deleted_topic_leaves_nothing_and_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.path().to_owned());
    let wire = Wire::with(config.clone()).await;
    for topic in ["T", "U", "%RETRY%CG_T"] {
        assert_eq!(wire.ask_broker(&create(topic, None)).await.code, 0);
        for body in ["a", "b", "c"] {
            wire.put(topic, 0, "", body).await;
        }
    }
    // Makes the group.
    wire.ask_broker(&pull("T", 0, 0)).await;
    for topic in ["T", "U"] {
        let commit = UpdateConsumerOffsetRequest {
            consumer_group: "CG",
            topic,
            queue_id: 0,
            commit_offset: 2,
            broker_name: None,
        };
        assert_eq!(wire.ask_broker(&commit).await.code, 0);
    }
    let delete = DeleteTopicRequest { topic: "T" };
    assert_eq!(wire.ask_broker(&delete).await.code, 0);
    let queues = dir.path().join("consumequeue");
    assert!(!queues.join("T").exists() && !queues.join("%RETRY%CG_T").exists());
    assert_eq!(wire.read_all("U", 0).await.len(), 3);
    assert_eq!(wire.ask_broker(&pull("T", 0, 0)).await.code, 17);
    assert_eq!(wire.ask_broker(&delete).await.code, 0, "again");

    assert_eq!(wire.put("T", 0, "", "new").await.queue_offset, 0);
    let committed = |topic| QueryConsumerOffsetRequest {
        consumer_group: "CG",
        topic,
        queue_id: 0,
        set_zero_if_not_found: Some(false),
        broker_name: None,
    };
    assert_eq!(wire.ask_broker(&committed("T")).await.code, 22);
    assert_eq!(wire.ask_broker(&committed("U")).await.code, 0);
    wire.server.shutdown(TIMEOUT).await.unwrap();

    let wire = Wire::with(config).await;
    let bodies: Vec<_> = wire.read_all("T", 0).await;
    assert_eq!(bodies.len(), 1);
    assert_eq!(&*bodies[0].body, b"new");
}

/// A file of another server may name any number of queues.
#[tokio::test]
async fn queues_beyond_the_limit_are_cut_at_the_start_which_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.path().to_owned());
    let wire = Wire::with(config.clone()).await;
    assert_eq!(wire.ask_broker(&create("T", None)).await.code, 0);
    let group = SubscriptionGroupConfig {
        group_name: "G".to_owned(),
        retry_queue_nums: 12_345,
        ..SubscriptionGroupConfig::default()
    };
    let set = RemotingCommand::bare_request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP)
        .with_body(body::encode(&group).unwrap());
    assert_eq!(wire.broker(set).await.code, 0);
    wire.server.shutdown(TIMEOUT).await.unwrap();
    let topics = dir.path().join("config/topics.json");
    let mut table: TopicConfigSerializeWrapper =
        body::decode(&std::fs::read(&topics).unwrap()).unwrap();
    table
        .topic_config_table
        .get_mut("T")
        .unwrap()
        .read_queue_nums = i32::MAX;
    std::fs::write(&topics, body::encode(&table).unwrap()).unwrap();
    let groups = dir.path().join("config/subscriptionGroup.json");
    let text = std::fs::read_to_string(&groups).unwrap();
    std::fs::write(&groups, text.replace("12345", "2147483647")).unwrap();

    let wire = Wire::with(config).await;
    assert_eq!(
        wire.server.notes(),
        [
            "topics.json: topic T has 2147483647 queues to read and 2 to write; only the first 16384 are used",
            "subscriptionGroup.json: group G has 2147483647 retry queues; 16384 are used",
        ]
    );
    let stats = GetTopicStatsInfoRequest { topic: "T" };
    let stats: TopicStatsTable = body::decode(&wire.ask_broker(&stats).await.body).unwrap();
    assert_eq!(stats.offset_table.len(), 16_384);
}

#[tokio::test]
async fn queues_without_a_topic_are_cleaned_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.path().to_owned());
    let wire = Wire::with(config.clone()).await;
    wire.put("T", 0, "", "a").await;
    wire.put("U", 0, "", "b").await;
    wire.server.shutdown(TIMEOUT).await.unwrap();
    let topics = dir.path().join("config/topics.json");
    let text = std::fs::read_to_string(&topics).unwrap();
    std::fs::write(&topics, text.replace("\"T\"", "\"V\"")).unwrap();

    let wire = Wire::with(config).await;
    let queues = dir.path().join("consumequeue");
    assert!(queues.join("T").exists());
    let clean = RemotingCommand::bare_request(RequestCode::CLEAN_UNUSED_TOPIC);
    assert_eq!(wire.broker(clean).await.code, 0);
    assert!(!queues.join("T").exists() && queues.join("U").exists());
}

/// S-070.
#[tokio::test]
async fn s070_topics_come_in_pages() {
    let wire = Wire::start().await;
    let all = GetAllTopicConfigRequest {
        topic_seq: None,
        data_version: None,
        max_topic_num: None,
    };
    let response = wire.ask_broker(&all).await;
    let total = response
        .header::<GetAllTopicConfigReply>()
        .unwrap()
        .total_topic_num
        .unwrap();
    let everything: TopicConfigAndMappingSerializeWrapper = body::decode(&response.body).unwrap();
    assert_eq!(
        everything.topic_config_table.len(),
        usize::try_from(total).unwrap()
    );
    let version =
        String::from_utf8(body::encode(&everything.data_version).unwrap().to_vec()).unwrap();
    let mut names = Vec::new();
    while names.len() < everything.topic_config_table.len() {
        let page = GetAllTopicConfigRequest {
            topic_seq: Some(i32::try_from(names.len()).unwrap()),
            data_version: Some(&version),
            max_topic_num: Some(4),
        };
        let page: TopicConfigAndMappingSerializeWrapper =
            body::decode(&wire.ask_broker(&page).await.body).unwrap();
        assert!((1..=4).contains(&page.topic_config_table.len()));
        names.extend(page.topic_config_table.into_keys());
    }
    assert_eq!(
        names,
        everything
            .topic_config_table
            .into_keys()
            .collect::<Vec<_>>()
    );
}

/// S-070 for groups.
#[tokio::test]
async fn s070_groups_come_in_pages() {
    let wire = Wire::start().await;
    let list = SubscriptionGroupList {
        group_config_list: (0..9)
            .map(|n| SubscriptionGroupConfig {
                group_name: format!("g{n}"),
                ..SubscriptionGroupConfig::default()
            })
            .collect(),
    };
    let create =
        RemotingCommand::bare_request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST)
            .with_body(body::encode(&list).unwrap());
    assert_eq!(wire.broker(create).await.code, 0);
    let page = async |group_seq, version: Option<&str>| {
        let request = GetAllSubscriptionGroupConfigRequest {
            group_seq,
            data_version: version,
            max_group_num: group_seq.map(|_| 4),
        };
        let response = wire.ask_broker(&request).await;
        let reply: GetAllSubscriptionGroupConfigReply = response.header().unwrap();
        let groups: SubscriptionGroupWrapper = body::decode(&response.body).unwrap();
        (reply.total_group_num, groups)
    };
    let (_, everything) = page(None, None).await;
    let all: Vec<_> = everything.subscription_group_table.into_keys().collect();
    assert!(all.iter().filter(|name| name.starts_with('g')).count() == 9);
    let version = body::encode(&everything.data_version).unwrap().to_vec();
    let version = String::from_utf8(version).unwrap();
    let mut names = Vec::new();
    while names.len() < all.len() {
        let from = i32::try_from(names.len()).unwrap();
        let (total, groups) = page(Some(from), Some(&version)).await;
        assert_eq!(total, Some(i32::try_from(all.len()).unwrap()));
        let groups = groups.subscription_group_table;
        assert!((1..=4).contains(&groups.len()));
        names.extend(groups.into_keys());
    }
    assert_eq!(names, all);
}

/// S-072.
#[tokio::test]
async fn s072_offsets_of_queues() {
    let wire = Wire::start().await;
    let before = wire.put("T", 0, "", "a").await;
    wire.put("T", 0, "", "b").await;
    assert_eq!(before.queue_offset, 0);
    let max: OffsetReply = wire
        .ask_broker(&GetMaxOffsetRequest {
            topic: "T",
            queue_id: 0,
            committed: true,
            broker_name: None,
        })
        .await
        .header()
        .unwrap();
    let response = wire
        .ask_broker(&GetMinOffsetRequest {
            topic: "T",
            queue_id: 0,
            broker_name: None,
        })
        .await;
    let min: OffsetReply = response.header().unwrap();
    assert_eq!((min.offset, max.offset), (0, 2));
    let earliest = |queue_id| GetEarliestMsgStoretimeRequest {
        topic: "T",
        queue_id,
        broker_name: None,
    };
    let first: TimestampReply = wire.ask_broker(&earliest(0)).await.header().unwrap();
    assert!(first.timestamp > 0);
    let none: TimestampReply = wire.ask_broker(&earliest(1)).await.header().unwrap();
    assert_eq!(none.timestamp, -1);
    for (timestamp, boundary, expected) in [
        (first.timestamp - 1, BoundaryType::Lower, 0),
        (first.timestamp, BoundaryType::Lower, 0),
        (first.timestamp + 60_000, BoundaryType::Lower, 2),
        (first.timestamp + 60_000, BoundaryType::Upper, 1),
    ] {
        let search = SearchOffsetRequest {
            topic: "T",
            lite_topic: None,
            queue_id: 0,
            timestamp,
            boundary_type: Some(boundary),
            broker_name: None,
        };
        let reply: OffsetReply = wire.ask_broker(&search).await.header().unwrap();
        assert_eq!(reply.offset, expected);
    }
}

/// S-073.
#[tokio::test]
async fn s073_topic_and_consume_stats_agree_with_what_was_sent() {
    let wire = Wire::start().await;
    for _ in 0..3 {
        wire.put("T", 1, "", "x").await;
    }
    let stats: TopicStatsTable = body::decode(
        &wire
            .ask_broker(&GetTopicStatsInfoRequest { topic: "T" })
            .await
            .body,
    )
    .unwrap();
    assert_eq!(stats.offset_table.len(), 4);
    let counts: Vec<i64> = stats.offset_table.values().map(|o| o.max_offset).collect();
    assert_eq!(counts, [0, 3, 0, 0]);
    assert!(
        stats
            .offset_table
            .values()
            .nth(1)
            .unwrap()
            .last_update_timestamp
            > 0
    );
    assert_eq!(
        wire.ask_broker(&GetTopicStatsInfoRequest { topic: "nope" })
            .await
            .code,
        17
    );

    wire.ask_broker(&pull("T", 1, 0)).await;
    wire.ask_broker(&UpdateConsumerOffsetRequest {
        consumer_group: "CG",
        topic: "T",
        queue_id: 1,
        commit_offset: 2,
        broker_name: None,
    })
    .await;
    let stats: ConsumeStats = body::decode(
        &wire
            .ask_broker(&GetConsumeStatsRequest {
                consumer_group: "CG",
                topic: Some("T"),
                topic_list: None,
            })
            .await
            .body,
    )
    .unwrap();
    let queue = stats.offset_table.values().nth(1).unwrap();
    assert_eq!(
        (
            queue.broker_offset,
            queue.consumer_offset,
            queue.pull_offset
        ),
        (3, 2, 3)
    );
}

/// S-074.
#[tokio::test]
async fn s074_runtime_information_has_every_key_that_tools_read() {
    let wire = Wire::start().await;
    wire.put("T", 0, "", "x").await;
    let response = wire
        .broker(RemotingCommand::bare_request(
            RequestCode::GET_BROKER_RUNTIME_INFO,
        ))
        .await;
    let info: KVTable = body::decode(&response.body).unwrap();
    for key in [
        "brokerVersionDesc",
        "brokerActive",
        "putTps",
        "getTransferredTps",
        "sendThreadPoolQueueSize",
        "pullThreadPoolQueueSize",
        "sendThreadPoolQueueHeadWaitTimeMills",
        "pullThreadPoolQueueHeadWaitTimeMills",
        "ackThreadPoolQueueHeadWaitTimeMills",
        "msgPutTotalYesterdayMorning",
        "msgPutTotalTodayMorning",
        "msgPutTotalTodayNow",
        "msgGetTotalTodayNow",
        "pageCacheLockTimeMills",
        "earliestMessageTimeStamp",
        "commitLogDiskRatio",
        "consumeQueueDiskRatio",
        "commitLogDirCapacity",
        "timerReadBehind",
        "timerOffsetBehind",
        "timerCongestNum",
        "timerEnqueueTps",
        "timerDequeueTps",
        "putMessageAverageSize",
    ] {
        assert!(info.table.contains_key(key), "{key}");
    }
    assert_eq!(info.table["msgPutTotalTodayNow"], "1");
}
