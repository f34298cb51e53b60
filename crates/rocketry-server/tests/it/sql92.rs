//! SQL92 subscriptions over the wire.

use std::sync::Arc;

use rocketry_protocol::{
    RemotingCommand, RequestCode, body,
    body::heartbeat::{
        CheckClientRequestBody, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SQL92,
        SubscriptionData,
    },
    header::{PullMessageReply, PullMessageRequest, pull_sys_flag},
};
use rocketry_server::ServerConfig;

use crate::{
    common::{Wire, beat, decode, pull},
    pull::wait_until_parked,
};

fn sql(expression: &str) -> PullMessageRequest<'_> {
    PullMessageRequest {
        subscription: Some(expression),
        expression_type: Some(SQL92),
        ..pull("T", 0, 0)
    }
}

/// A pull that goes by the heartbeat's subscription.
fn registered() -> PullMessageRequest<'static> {
    PullMessageRequest {
        sys_flag: 0,
        subscription: None,
        sub_version: 1,
        ..pull("T", 0, 0)
    }
}

fn subscribe(expression: &str, version_ms: i64) -> RemotingCommand {
    beat(&HeartbeatData {
        client_id: "c".to_owned(),
        consumer_data_set: vec![ConsumerData {
            group_name: "CG".to_owned(),
            message_model: Some(MessageModel::Clustering),
            consume_type: Some(ConsumeType::Passively),
            subscription_data_set: vec![SubscriptionData::by_sql("T", expression, version_ms)],
            ..ConsumerData::default()
        }],
        ..HeartbeatData::default()
    })
}

fn check(expression_type: &str, expression: &str) -> RemotingCommand {
    let subscription = SubscriptionData {
        expression_type: expression_type.to_owned(),
        ..SubscriptionData::by_sql("T", expression, 1)
    };
    let body = CheckClientRequestBody {
        client_id: "c".to_owned(),
        group: "CG".to_owned(),
        subscription_data: Some(subscription),
        ..CheckClientRequestBody::default()
    };
    RemotingCommand::bare_request(RequestCode::CHECK_CLIENT_CONFIG)
        .with_body(body::encode(&body).unwrap())
}

async fn put_sizes(wire: &Wire) {
    for size in ["1", "7", "big", "12"] {
        wire.put("T", 0, &format!("size\u{1}{size}\u{2}"), size)
            .await;
    }
    wire.put("T", 0, "", "none").await;
}

fn bodies(response: &RemotingCommand) -> Vec<String> {
    decode(&response.body)
        .iter()
        .map(|message| String::from_utf8(message.body.to_vec()).unwrap())
        .collect()
}

/// S-055 over the wire: the condition comes with the pull, or with the heartbeat.
#[tokio::test]
async fn s055_pulls_return_what_the_condition_holds_for() {
    let wire = Wire::start().await;
    put_sizes(&wire).await;
    for (version_ms, (expression, expected)) in (1..).zip([
        ("size > 5", &["7", "12"][..]),
        ("size IS NULL", &["none"]),
        ("size NOT IN ('1', '7')", &["big", "12"]),
        ("size BETWEEN 1 AND 7", &["1", "7"]),
        ("TRUE", &["1", "7", "big", "12", "none"]),
    ]) {
        let response = wire.ask_broker(&sql(expression)).await;
        assert_eq!(bodies(&response), expected, "{expression}");
        wire.broker(subscribe(expression, version_ms)).await;
        let response = wire.ask_broker(&registered()).await;
        assert_eq!(bodies(&response), expected, "{expression}");
    }
    let response = wire.ask_broker(&sql("size = 99")).await;
    let reply: PullMessageReply = response.header().unwrap();
    assert_eq!((response.code, reply.next_begin_offset), (20, 5));
}

/// S-055.
#[tokio::test]
async fn s055_what_does_not_compile_is_refused_with_its_place() {
    const FAULT: &str =
        "SQL92 expression, character 7: expected a property, a value or `(`, found the end";
    let wire = Wire::start().await;
    put_sizes(&wire).await;

    let response = wire.ask_broker(&sql("size >")).await;
    let remark = format!("parse the consumer's subscription failed: {FAULT}");
    assert_eq!((response.code, response.remark), (23, Some(remark)));

    let response = wire.broker(check(SQL92, "size >")).await;
    assert_eq!((response.code, response.remark), (23, Some(FAULT.into())));

    wire.broker(subscribe("size >", 1)).await;
    let response = wire.ask_broker(&registered()).await;
    assert_eq!(response.code, 27);
    assert!(response.remark.unwrap().ends_with(FAULT));

    assert_eq!(wire.broker(check(SQL92, "size > 5")).await.code, 0);
    assert_eq!(wire.broker(check("CLASS", "size > 5")).await.code, 23);
}

#[tokio::test]
async fn the_property_filter_can_be_switched_off() {
    let mut config = ServerConfig::temp();
    config.enable_property_filter = false;
    let wire = Wire::with(config).await;
    put_sizes(&wire).await;
    wire.broker(subscribe("size > 5", 1)).await;
    for response in [
        wire.ask_broker(&sql("size > 5")).await,
        wire.ask_broker(&registered()).await,
        wire.broker(check(SQL92, "size > 5")).await,
    ] {
        let remark = "The broker does not support consumer to filter message by SQL92";
        assert_eq!(
            (response.code, response.remark.as_deref()),
            (1, Some(remark))
        );
    }
    assert_eq!(wire.broker(check("TAG", "A")).await.code, 0);
}

/// S-053 for properties.
#[tokio::test]
async fn s053_messages_that_the_condition_refuses_do_not_end_the_wait() {
    let wire = Arc::new(Wire::start().await);
    put_sizes(&wire).await;
    let peer = wire.join(Arc::new(rocketry_remoting::Unsupported));
    let parked = tokio::spawn(async move {
        let request = PullMessageRequest {
            sys_flag: pull_sys_flag::SUBSCRIPTION | pull_sys_flag::SUSPEND,
            suspend_timeout_millis: 8000,
            queue_offset: 5,
            ..sql("size > 100")
        };
        peer.call(RemotingCommand::request(&request)).await
    });
    for _ in 0..3 {
        wait_until_parked(&wire).await;
        put_sizes(&wire).await;
    }
    wire.put("T", 0, "size\u{1}101\u{2}", "at last").await;
    let response = parked.await.unwrap();
    assert_eq!(
        (response.code, bodies(&response)),
        (0, vec!["at last".to_owned()])
    );
}
