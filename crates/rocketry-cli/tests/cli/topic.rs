//! `topic`: create, list, route, stats, delete.

use serde_json::json;
use tokio::time::timeout;

use crate::support::{DEADLINE, Served};

#[tokio::test]
async fn a_topic_lives_and_dies() {
    let server = Served::temp().await;
    assert_eq!(server.run(&["topic", "list"]).await.ok().text(), "");
    server
        .run(&["topic", "create", "Orders", "--queues", "3"])
        .await
        .ok();
    assert_eq!(server.run(&["topic", "list"]).await.ok().text(), "Orders\n");
    let all = server
        .run(&["topic", "list", "--all", "--output", "json"])
        .await
        .ok()
        .json();
    let all: Vec<_> = all["topics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_str().unwrap())
        .collect();
    assert!(
        all.contains(&"Orders") && all.contains(&"TBW102"),
        "{all:?}"
    );

    let route = server
        .run(&["topic", "route", "Orders", "--output", "json"])
        .await
        .ok()
        .json();
    assert_eq!(
        route["brokers"][0],
        json!({"cluster": "DefaultCluster", "broker": "broker-a", "addresses": {"0": server.broker}, "read_queues": 3,
            "write_queues": 3, "perm": "rw"})
    );
    let table = server.run(&["topic", "route", "Orders"]).await.ok().text();
    assert!(
        table.lines().next().unwrap().starts_with("CLUSTER"),
        "{table}"
    );
    assert!(table.contains(&format!("0={}", server.broker)), "{table}");

    server
        .run(&[
            "send",
            "Orders",
            "x",
            "--count",
            "5",
            "--queue",
            "broker-a:1",
        ])
        .await
        .ok();
    let stats = server
        .run(&["topic", "stats", "Orders", "--output", "json"])
        .await
        .ok()
        .json();
    assert_eq!(stats["messages"], 5);
    let queues: Vec<_> = stats["queues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|q| (q["queue_id"].as_i64(), q["max_offset"].as_i64()))
        .collect();
    assert_eq!(
        queues,
        [(Some(0), Some(0)), (Some(1), Some(5)), (Some(2), Some(0))]
    );
    assert_eq!(stats["queues"][0]["last_update_ms"], json!(null));
    assert!(stats["queues"][1]["last_update_ms"].as_i64().unwrap() > 1_700_000_000_000);

    let deleted = server
        .run(&["topic", "delete", "Orders", "--output", "json"])
        .await
        .ok()
        .json();
    assert_eq!(deleted, json!({"deleted": "Orders"}));
    assert_eq!(server.run(&["topic", "list"]).await.ok().text(), "");
    server
        .run(&["topic", "delete", "Orders"])
        .await
        .fails_with(1, &["Orders", "does not exist"]);
    server
        .run(&["topic", "route", "Orders"])
        .await
        .fails_with(1, &["Orders"]);
    server
        .run(&["topic", "stats", "Orders"])
        .await
        .fails_with(1, &["Orders"]);
}

#[tokio::test]
async fn permissions_are_kept() {
    let server = Served::temp().await;
    server
        .run(&["topic", "create", "ReadOnly", "--perm", "r"])
        .await
        .ok();
    let route = server
        .run(&["topic", "route", "ReadOnly", "--output", "json"])
        .await
        .ok()
        .json();
    assert_eq!(route["brokers"][0]["perm"], "r");
    server
        .run(&["send", "ReadOnly", "x"])
        .await
        .fails_with(1, &["ReadOnly"]);
    server
        .run(&["topic", "create", "a b"])
        .await
        .fails_with(1, &["a b"]);
}

/// S-069 as the user sees it: what is not given stays.
#[tokio::test]
async fn single_settings_are_changed() {
    let server = Served::temp().await;
    let run = async |line: &str| server.run(&line.split(' ').collect::<Vec<_>>()).await;
    run("topic create Orders --queues 3 --write-queues 2")
        .await
        .ok();
    let updated = run("topic update Orders --perm r").await.ok().text();
    assert_eq!(updated, format!("updated Orders on {}\n", server.broker));
    let route = run("topic route Orders --output json").await.ok().json();
    let broker = &route["brokers"][0];
    assert_eq!(
        (
            &broker["read_queues"],
            &broker["write_queues"],
            &broker["perm"]
        ),
        (&json!(3), &json!(2), &json!("r"))
    );
    run("topic update Orders")
        .await
        .fails_with(2, &["nothing to change"]);
    run("topic update Missing --perm r")
        .await
        .fails_with(1, &["Missing", "does not exist"]);
    run("topic update Orders --perm r --broker nobody")
        .await
        .fails_with(1, &["nobody", "rocketry cluster list"]);
    run("topic delete Orders --cluster nowhere")
        .await
        .fails_with(1, &["nowhere"]);
}

/// Nobody loses queues by creating a topic once more.
#[tokio::test]
async fn a_topic_that_exists_keeps_its_queues() {
    let server = Served::temp().await;
    let run = async |line: &str| server.run(&line.split(' ').collect::<Vec<_>>()).await;
    let broker = &server.broker;
    let created = run("topic create Orders").await.ok().text();
    assert_eq!(
        created,
        format!("created Orders on {broker} with 8 queues\n")
    );
    run("topic create Orders --queues 16").await.ok();
    let again = run("topic create Orders").await.ok().text();
    let replaced = format!("replaced the settings of Orders on {broker}");
    assert_eq!(again, format!("{replaced} (16 queues)\n"));
    let fewer = run("topic create Orders --queues 8").await.ok().text();
    let lost = "(queues 16 -> 8: messages of queues 8 to 15 are not read any more)";
    assert_eq!(fewer, format!("{replaced} {lost}\n"));
    let json = run("topic create Orders --output json").await.ok().json();
    assert_eq!(json["replaced"], json!([broker]));
    assert_eq!(json["failures"], json!([]));
}

#[tokio::test]
async fn a_broker_that_did_not_take_a_topic_is_named() {
    let first = Served::start(&["--temp", "--broker-name", "aa"]).await;
    let join = ["--temp", "--broker-name", "bb", "--namesrv", &first.namesrv];
    let second = Served::start(&join).await;
    let list = ["cluster", "list", "--output", "json"];
    let registered = async { while !first.run(&list).await.ok().text().contains("\"bb\"") {} };
    timeout(DEADLINE, registered)
        .await
        .expect("bb does not register");
    second.signal(rustix::process::Signal::STOP);
    let created = ["topic", "create", "T", "--output", "json"];
    let created = first.run(&created).await;
    let created = created
        .fails_with(1, &["error: not created on bb: "])
        .json();
    assert_eq!(created["brokers"], json!([first.broker]));
    assert_eq!(created["failures"].as_array().unwrap().len(), 1);
}
