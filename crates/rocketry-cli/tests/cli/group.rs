//! `group`: list, progress, clients, create, reset, delete.

use serde_json::json;

use crate::support::Served;

#[tokio::test]
async fn a_group_lives_and_dies() {
    let server = Served::temp().await;
    let run = async |line: &str| server.run(&line.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(run("group list").await.ok().text(), "");
    let created = run("group create billing --retries 3").await.ok().text();
    assert_eq!(created, format!("created billing on {}\n", server.broker));
    // What is not given stays.
    let updated = run("group create billing --consume false").await.ok();
    assert!(updated.text().starts_with("updated billing"));
    let listed = run("group list --output json").await.ok().json();
    assert_eq!(listed["groups"][0]["groupName"], "billing");
    assert_eq!(listed["groups"][0]["retryMaxTimes"], 3);
    assert_eq!(listed["groups"][0]["consumeEnable"], false);
    let table = run("group list").await.ok().text();
    assert!(table.starts_with("GROUP"), "{table}");
    assert!(table.contains("billing  no"), "{table}");

    let deleted = run("group delete billing --output json").await.ok().json();
    assert_eq!(deleted, json!({"deleted": "billing"}));
    assert_eq!(run("group list").await.ok().text(), "");
    for line in [
        "group delete billing",
        "group progress billing",
        "group clients billing",
    ] {
        run(line)
            .await
            .fails_with(1, &["group billing does not exist", "rocketry group list"]);
    }
}

#[tokio::test]
async fn a_group_of_a_namespace_keeps_its_settings() {
    let server = Served::temp().await;
    let run = async |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        server
            .run(&[&words[..], &["--namespace", "one"]].concat())
            .await
    };
    run("group create billing --retries 3").await.ok();
    let updated = run("group create billing --consume false").await.ok();
    assert!(updated.text().starts_with("updated billing"));
    let groups = run("group list --output json").await.ok().json();
    assert_eq!(groups["groups"][0]["groupName"], "one%billing");
    assert_eq!(groups["groups"][0]["retryMaxTimes"], 3);
    run("group delete lling --yes")
        .await
        .fails_with(1, &["group lling does not exist"]);
    run("group delete billing --yes").await.ok();
}

/// S-073 as the user sees it: lag is what was sent and not consumed.
#[tokio::test]
async fn progress_is_shown_and_moved() {
    let server = Served::temp().await;
    let run = async |line: &str| server.run(&line.split(' ').collect::<Vec<_>>()).await;
    run("topic create Orders --queues 2").await.ok();
    run("send Orders x --count 10 --queue broker-a:1")
        .await
        .ok();
    run("group create billing").await.ok();
    run("consume Orders --group billing --count 4 --wait 0s --from first")
        .await
        .ok();

    let progress = run("group progress billing --output json")
        .await
        .ok()
        .json();
    assert_eq!(progress["lag"], 6);
    let queue = &progress["queues"][1];
    assert_eq!(
        (&queue["topic"], &queue["broker"], &queue["queue_id"]),
        (&json!("Orders"), &json!("broker-a"), &json!(1))
    );
    assert_eq!(
        (&queue["broker_offset"], &queue["consumer_offset"]),
        (&json!(10), &json!(4))
    );
    assert_eq!(progress["queues"][0]["last_consumed_ms"], json!(null));
    let table = run("group progress billing --topic Orders")
        .await
        .ok()
        .text();
    assert!(table.starts_with("TOPIC"), "{table}");
    assert!(
        table.lines().last().unwrap().starts_with("total"),
        "{table}"
    );
    run("group progress nobody --topic Orders")
        .await
        .fails_with(1, &["group nobody does not exist", "rocketry group list"]);
    run("group progress billing --topic Missing")
        .await
        .fails_with(1, &["Missing", "does not exist"]);
    let overview = run("group progress --output json").await.ok().json();
    assert_eq!(overview["groups"][0]["group"], "billing");
    assert_eq!(overview["groups"][0]["lag"], 6);
    assert_eq!(run("topic groups Orders").await.ok().text(), "billing\n");

    for (to, offset) in [("first", 0), ("last", 10), ("time:0", 0)] {
        let reset = run(&format!(
            "group reset billing --topic Orders --to {to} --output json"
        ))
        .await
        .ok()
        .json();
        assert_eq!(
            reset["queues"][1],
            json!({"broker": "broker-a", "queue_id": 1, "offset": offset}),
            "{to}"
        );
    }
    let again = run("consume Orders --group billing --wait 0s --output raw").await;
    assert_eq!(again.ok().text(), "x\n".repeat(10));

    run("group reset billing --topic Orders --to offset:3")
        .await
        .fails_with(2, &["write first, last or time:T"]);
    run("group reset nobody --topic Orders --to first")
        .await
        .fails_with(1, &["nobody", "rocketry group create nobody"]);
    run("group reset billing --topic Missing --to first")
        .await
        .fails_with(1, &["Missing", "does not exist"]);
    // A group that nobody created exists once it has consumed.
    run("consume Orders --group fresh --wait 0s").await.ok();
    run("group progress fresh --topic Orders").await.ok();
}

#[tokio::test]
async fn producers_are_told_from_nobody() {
    let server = Served::temp().await;
    let nobody = server
        .run(&["group", "clients", "shop", "--producers"])
        .await;
    assert!(nobody.stderr.contains("no client of producer group shop"));
    assert_eq!(nobody.ok().text(), "");
}
