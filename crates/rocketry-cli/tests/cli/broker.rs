//! `cluster` and `broker`.

use crate::support::Served;

/// S-074 as the user sees it.
#[tokio::test]
async fn brokers_are_listed_and_describe_themselves() {
    let server = Served::temp().await;
    let run = async |line: &str| server.run(&line.split(' ').collect::<Vec<_>>()).await;
    run("send Orders x --count 3").await.ok();
    let listed = run("cluster list --output json").await.ok().json();
    let broker = &listed["brokers"][0];
    assert_eq!(
        (&broker["cluster"], &broker["broker"], &broker["id"]),
        (&"DefaultCluster".into(), &"broker-a".into(), &0.into())
    );
    assert_eq!(broker["address"], server.broker);
    assert_eq!(broker["version"], "V5_5_0");
    assert_eq!(broker["in_today"], 3);
    let table = run("cluster list").await.ok().text();
    assert!(table.starts_with("CLUSTER"), "{table}");

    let status = run("broker status broker-a --output json")
        .await
        .ok()
        .json();
    assert_eq!(status["brokers"][0]["values"]["brokerActive"], "true");
    let some = run("broker status --key commitlogM").await.ok().text();
    assert_eq!(some.lines().count(), 3, "{some}");
    // An address will do, whatever the name server knows.
    let by_address = ["broker", "status", &server.broker];
    server.run(&by_address).await.ok();
    run("broker status nobody")
        .await
        .fails_with(1, &["nobody", "rocketry cluster list"]);
    run("broker status --key zzz")
        .await
        .fails_with(1, &["no name has zzz in it"]);
}

/// S-075 as the user sees it.
#[tokio::test]
async fn settings_are_changed_and_read_back() {
    let server = Served::temp().await;
    let run = async |line: &str| server.run(&line.split(' ').collect::<Vec<_>>()).await;
    let set = run("broker set autoCreateTopicEnable=false").await.ok();
    let expected = format!("autoCreateTopicEnable=false on {}\n", server.broker);
    assert_eq!(set.text(), expected);
    run("send Fresh x").await.fails_with(1, &["Fresh"]);
    let config = run("broker config --key autocreatetopic --output json").await;
    let config = config.ok().json();
    let values = config["brokers"][0]["values"].as_object().unwrap();
    assert_eq!(values.len(), 1);
    assert_eq!(values["autoCreateTopicEnable"], "false");

    run("broker set brokerName=other")
        .await
        .fails_with(1, &["black list"]);
    run("broker set noSuchThing=1")
        .await
        .fails_with(1, &["has no setting noSuchThing"]);
    run("broker set brokerPermission")
        .await
        .fails_with(2, &["NAME=VALUE"]);

    // What holds from the start on is not said to be changed.
    let kept = "broker broker-a keeps maxMessageSize=4194304: it cannot be changed while it runs";
    let both = "broker set autoCreateTopicEnable=true maxMessageSize=1024";
    let refused = run(both).await.fails_with(1, &[kept, "rocketry serve"]);
    assert_eq!(
        refused.text(),
        format!("autoCreateTopicEnable=true on {}\n", server.broker)
    );
    run("broker set maxMessageSize=4194304").await.ok();
}
