//! `mqadmin`: old names and flags.

use crate::support::{Served, run};

#[tokio::test]
async fn old_commands_do_what_ours_do() {
    let server = Served::temp().await;
    let ns = &*server.namesrv;
    let mqadmin = async |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        run(&[&["mqadmin"], &words[..], &["-n", ns]].concat()).await
    };
    let created = mqadmin("updateTopic -t Orders -c DefaultCluster -r 4 -w 4").await;
    assert!(
        created.stderr.contains(
            "# rocketry topic create --cluster=DefaultCluster --read-queues=4 --write-queues=4"
        ),
        "{}",
        created.stderr
    );
    created.ok();
    let list = mqadmin("topiclist").await.ok().text();
    assert!(list.lines().any(|topic| topic == "Orders"), "{list}");
    mqadmin("updateTopicPerm -t Orders -p 4 -c DefaultCluster")
        .await
        .ok();
    let route = mqadmin("topicRoute -t Orders").await.ok().text();
    assert!(route.contains("4             4  r"), "{route}");
    mqadmin("updateTopicPerm -t Orders -p 6 -c DefaultCluster")
        .await
        .ok();
    mqadmin("sendMessage -t Orders -p hello -k k1").await.ok();
    let printed = mqadmin("printMsg -t Orders").await.ok().text();
    assert!(printed.contains("hello"), "{printed}");
    mqadmin("updateSubGroup -g billing -c DefaultCluster -r 5")
        .await
        .ok();
    mqadmin("resetOffsetByTime -g billing -t Orders -s now")
        .await
        .ok();
    let progress = mqadmin("consumerProgress -g billing").await.ok().text();
    assert!(progress.contains("total"), "{progress}");
    mqadmin("updateBrokerConfig -c DefaultCluster -k fileReservedTime -v 48")
        .await
        .fails_with(1, &["broker broker-a keeps fileReservedTime=72: it cannot"]);
    mqadmin("updateBrokerConfig -c DefaultCluster -k brokerPermission -v 6")
        .await
        .ok();
    for line in [
        "topicStatus -t Orders",
        "clusterList",
        "brokerStatus -c DefaultCluster",
        "getBrokerConfig -c DefaultCluster",
        "deleteSubGroup -g billing -c DefaultCluster",
        "deleteTopic -t Orders -c DefaultCluster",
    ] {
        assert!(!mqadmin(line).await.ok().text().is_empty(), "{line}");
    }
}

#[tokio::test]
async fn old_names_are_explained() {
    let names = run(&["mqadmin"]).await.ok().text();
    assert!(
        names.contains("consumerProgress        group progress"),
        "{names}"
    );
    let flags = run(&["mqadmin", "updateTopic", "-h"]).await.ok().text();
    assert!(
        flags.contains("-w --writeQueueNums  --write-queues"),
        "{flags}"
    );
    let help = run(&["mqadmin", "--help"]).await.ok().text();
    assert!(help.contains("Examples:\n  rocketry mqadmin"), "{help}");
    run(&["mqadmin", "getController"])
        .await
        .fails_with(2, &["getController", "has no counterpart"]);
    run(&["mqadmin", "topicRoute"])
        .await
        .fails_with(2, &["topicRoute: -t (--topic) is missing", "-h shows"]);
}
