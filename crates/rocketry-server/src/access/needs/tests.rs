use rocketry_protocol::body::heartbeat::{ConsumerData, SubscriptionData};

use super::*;

/// `Kind:name actions` of everything that is asked for.
fn needs(request: &RemotingCommand) -> Vec<String> {
    let mut all = Vec::new();
    each(request, "c1", &mut |need| {
        let names = [
            (Actions::PUB, "Pub"),
            (Actions::SUB, "Sub"),
            (Actions::CREATE, "Create"),
            (Actions::UPDATE, "Update"),
            (Actions::DELETE, "Delete"),
            (Actions::GET, "Get"),
        ];
        let actions: Vec<_> = names
            .into_iter()
            .filter(|(action, _)| need.actions.meets(*action))
            .map(|(_, name)| name)
            .collect();
        all.push(format!(
            "{}:{} {}",
            need.kind.name(),
            need.name,
            actions.join("|")
        ));
        Ok(())
    })
    .unwrap();
    all
}

fn request(code: RequestCode, fields: &[(&str, &str)]) -> RemotingCommand {
    fields
        .iter()
        .fold(RemotingCommand::bare_request(code), |request, (k, v)| {
            request.with_field(k, v)
        })
}

#[test]
fn requests_need_what_java_says() {
    let cg = ("consumerGroup", "g");
    let t = ("topic", "t");
    for (code, fields, expected) in [
        (10, vec![t], "Topic:t Pub"),
        (10, vec![("topic", "%RETRY%g")], "Group:g Sub"),
        (310, vec![("b", "t"), ("topic", "x")], "Topic:t Pub"),
        (320, vec![("b", "t")], "Topic:t Pub"),
        (310, vec![], "Topic:null Pub"),
        (370, vec![t], "Topic:t Pub"),
        (37, vec![t], "Topic:t Pub"),
        (37, vec![], ""),
        (37, vec![("topic", "RMQ_SYS_TRANS_HALF_TOPIC")], ""),
        (11, vec![cg, t], "Topic:t Sub, Group:g Sub"),
        (361, vec![cg, t], "Topic:t Sub, Group:g Sub"),
        (11, vec![cg, ("topic", "%RETRY%g")], "Group:g Sub"),
        (
            11,
            vec![cg, ("topic", "%RETRY%h")],
            "Group:h Sub, Group:g Sub",
        ),
        (
            11,
            vec![cg, ("topic", "%RETRY%gh")],
            "Group:gh Sub, Group:g Sub",
        ),
        (
            11,
            vec![cg, ("topic", "%RETRY%g_t")],
            "Topic:t Sub, Group:g Sub",
        ),
        (
            361,
            vec![cg, ("topic", "%RETRY%g+t")],
            "Topic:t Sub, Group:g Sub",
        ),
        (
            361,
            vec![cg, ("topic", "%RETRY%h+t")],
            "Group:h Sub, Group:g Sub",
        ),
        (36, vec![("group", "g")], "Group:g Sub"),
        (12, vec![t], "Topic:t Sub|Get"),
        (35, vec![cg], "Group:g Sub"),
        (35, vec![("producerGroup", "p")], ""),
        (38, vec![cg], "Group:g Sub|Get"),
        (14, vec![cg, t], "Topic:t Sub|Get, Group:g Sub|Get"),
        (15, vec![cg, t], "Topic:t Sub|Update, Group:g Sub|Update"),
        (14, vec![cg, ("topic", "%RETRY%g")], "Group:g Sub|Get"),
        (
            14,
            vec![cg, ("topic", "%RETRY%h")],
            "Group:h Sub|Get, Group:g Sub|Get",
        ),
        (
            15,
            vec![cg, ("topic", "%RETRY%h")],
            "Group:h Sub|Update, Group:g Sub|Update",
        ),
        (105, vec![t], "Topic:t Pub|Sub|Get"),
        (105, vec![("topic", "%RETRY%g")], "Group:g Sub|Get"),
        (105, vec![("topic", "TBW102")], ""),
        (200_050, vec![cg, t], "Group:g Sub, Topic:t Sub"),
        (
            200_050,
            vec![cg, ("topic", "%RETRY%h")],
            "Group:g Sub, Group:h Sub",
        ),
        (30, vec![t], "Topic:t Get"),
        (33, vec![t], "Topic:t Get"),
        (33, vec![("topic", "%RETRY%g")], "Group:g Get"),
        (33, vec![("topic", "%RETRY%g+t")], "Group:g Get"),
        (33, vec![], ""),
        (17, vec![t], "Topic:t Create"),
        (215, vec![t], "Topic:t Delete"),
        (207, vec![("groupName", "g")], "Group:g Delete"),
        (
            222,
            vec![("group", "g"), t],
            "Group:g Update, Topic:t Update",
        ),
        (314, vec![("destGroup", "g")], "Group:g Update"),
        (
            208,
            vec![cg, ("topicList", "a;b")],
            "Group:g Get, Topic:a Get, Topic:b Get",
        ),
        (
            308,
            vec![("filterGroups", "a,b")],
            "Group:a Get, Group:b Get",
        ),
        (103, vec![("clusterName", "c2")], "Cluster:c2 Update"),
        (205, vec![], "Cluster:c1 Update"),
        (204, vec![], "Cluster:c1 Get"),
        (3004, vec![], "Cluster:c1 Get"),
        (3006, vec![], "Cluster:c1 Update"),
        (46, vec![], ""),
        (106, vec![], ""),
        (400, vec![], ""),
        // Where Java asks for nothing.
        (25, vec![], "Cluster:c1 Update"),
        (26, vec![], "Cluster:c1 Get"),
        (21, vec![], "Cluster:c1 Get"),
        (206, vec![], "Cluster:c1 Get"),
        (318, vec![], "Cluster:c1 Update"),
        (9999, vec![], "Cluster:c1 Update"),
        (325, vec![("b", "c1_REPLY_TOPIC")], ""),
        (325, vec![("b", "t")], "Topic:t Pub"),
    ] {
        let found = needs(&request(RequestCode(code), &fields)).join(", ");
        assert_eq!(found, expected, "{code} {fields:?}");
    }
}

#[test]
fn bodies_are_looked_into() {
    let data = HeartbeatData {
        consumer_data_set: vec![ConsumerData {
            group_name: "g".to_owned(),
            subscription_data_set: ["t", "%RETRY%g", "%RETRY%h"]
                .map(|topic| SubscriptionData::by_tags(topic, "*", 1))
                .to_vec(),
            ..ConsumerData::default()
        }],
        ..HeartbeatData::default()
    };
    let with = |code, text: &[u8]| request(code, &[]).with_body(text.to_vec());
    let beat = with(RequestCode::HEART_BEAT, &body::encode(&data).unwrap());
    let expected = ["Group:g Sub", "Topic:t Sub", "Group:h Sub"];
    assert_eq!(needs(&beat), expected);
    let lock = br#"{"consumerGroup":"g","mqSet":[{"topic":"t"},{"topic":"%RETRY%g"},{"topic":"%RETRY%h"}]}"#;
    for code in [RequestCode::LOCK_BATCH_MQ, RequestCode::UNLOCK_BATCH_MQ] {
        assert_eq!(needs(&with(code, lock)), expected);
    }
    let acks = br#"{"acks":[{"c":"g","t":"t"},{"c":"h","t":"u"},{"c":"h","t":"%RETRY%g"}]}"#;
    assert_eq!(
        needs(&with(RequestCode::BATCH_ACK_MESSAGE, acks)),
        [
            "Group:g Sub",
            "Topic:t Sub",
            "Group:h Sub",
            "Topic:u Sub",
            "Group:h Sub",
            "Group:g Sub"
        ]
    );
    let topics = br#"{"topicConfigList":[{"topicName":"t"},{"topicName":"u"}]}"#;
    assert_eq!(
        needs(&with(RequestCode::UPDATE_AND_CREATE_TOPIC_LIST, topics)),
        ["Topic:t Create", "Topic:u Create"]
    );
    let group = br#"{"groupName":"g"}"#;
    assert_eq!(
        needs(&with(
            RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
            group
        )),
        ["Group:g Create|Update"]
    );
}

#[test]
fn a_body_that_cannot_be_read_is_refused() {
    let request = request(RequestCode::HEART_BEAT, &[]).with_body("{");
    let fault = each(&request, "c1", &mut |_| Ok(())).unwrap_err();
    assert_eq!(
        (fault.code.0, &*fault.remark),
        (16, "parse authorization context error.")
    );
}
