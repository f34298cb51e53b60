//! What a loss of power takes from the log under asynchronous flush is not passed by: no file says that messages were dealt with
//! which the log may lose.

use std::{sync::Arc, time::Duration};

use rocketry_protocol::{
    RemotingCommand, RequestCode,
    body::{self, groups::SubscriptionGroupConfig},
    header::{
        DeleteSubscriptionGroupRequest, DeleteTopicRequest, GetMaxOffsetRequest, OffsetReply,
        QueryConsumerOffsetRequest, UpdateConsumerOffsetRequest,
    },
};
use rocketry_server::{DataDir, Server, ServerConfig};

use crate::{
    common::{TIMEOUT, Wire},
    sim::{Crash, SimFs},
};

const GROUP: &str = "G";

/// A server on a simulated disk, whose log is not synced by the time.
async fn start(disk: &SimFs, dir: &std::path::Path) -> Wire {
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.to_owned());
    config.flush_interval = Duration::from_hours(1);
    config.files.log_bytes = 64 * 1024;
    config.files.queue_bytes = 2000;
    config.files.timer_log_bytes = 64 * 1024;
    config.files.index_slots = 20;
    config.files.index_units = 50;
    Wire::to(
        Server::start_on(Arc::new(disk.clone()), config)
            .await
            .unwrap(),
    )
}

/// Writes all offsets, as happens every few seconds.
async fn offsets_are_written(wire: &Wire) {
    let request = DeleteSubscriptionGroupRequest {
        group_name: "another",
        clean_offset: true,
    };
    assert_eq!(wire.ask_broker(&request).await.code, 0);
}

/// Messages of T that the group has dealt with.
async fn commit(wire: &Wire, offset: i64) {
    let group = SubscriptionGroupConfig {
        group_name: GROUP.to_owned(),
        ..SubscriptionGroupConfig::default()
    };
    let create = RemotingCommand::bare_request(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP)
        .with_body(body::encode(&group).unwrap());
    assert_eq!(wire.broker(create).await.code, 0);
    let commit = UpdateConsumerOffsetRequest {
        consumer_group: GROUP,
        topic: "T",
        queue_id: 0,
        commit_offset: offset,
        broker_name: None,
    };
    assert_eq!(wire.ask_broker(&commit).await.code, 0);
}

const COMMITTED: QueryConsumerOffsetRequest<'_> = QueryConsumerOffsetRequest {
    consumer_group: GROUP,
    topic: "T",
    queue_id: 0,
    set_zero_if_not_found: Some(false),
    broker_name: None,
};

async fn committed_and_end(wire: &Wire) -> (i64, i64) {
    let end = GetMaxOffsetRequest {
        topic: "T",
        queue_id: 0,
        committed: true,
        broker_name: None,
    };
    let offset = |reply: RemotingCommand| reply.header::<OffsetReply>().unwrap().offset;
    let committed = wire.ask_broker(&COMMITTED).await;
    (offset(committed), offset(wire.ask_broker(&end).await))
}

/// A group is never ahead of its queue: what takes the place of lost messages would not reach it.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_not_ahead_of_what_the_log_kept() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimFs::default();
    let wire = start(&disk, dir.path()).await;
    for body in ["a", "b", "c"] {
        wire.put("T", 0, "", body).await;
    }
    commit(&wire, 3).await;
    offsets_are_written(&wire).await;
    let left = disk.crash(Crash::Lose);

    let after = start(&left, dir.path()).await;
    let (committed, end) = committed_and_end(&after).await;
    assert_eq!(committed, 3);
    assert!(end >= committed, "the queue ends at {end}");
    after.server.shutdown(TIMEOUT).await.unwrap();
    wire.server.shutdown(TIMEOUT).await.unwrap();
}

/// A topic that is made again begins anew for a group that knew it, also where the server was killed right after the topic was deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_leaves_no_offsets_behind() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimFs::default();
    let wire = start(&disk, dir.path()).await;
    wire.put("T", 0, "", "a").await;
    commit(&wire, 1).await;
    offsets_are_written(&wire).await;
    let delete = DeleteTopicRequest { topic: "T" };
    assert_eq!(wire.ask_broker(&delete).await.code, 0);
    let left = disk.crash(Crash::Kill);

    let after = start(&left, dir.path()).await;
    assert_eq!(after.ask_broker(&COMMITTED).await.code, 22);
    after.server.shutdown(TIMEOUT).await.unwrap();
    wire.server.shutdown(TIMEOUT).await.unwrap();
}

/// A message of a delay level that was delivered into the part of the log that is lost is delivered again.
#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_is_not_lost_with_its_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimFs::default();
    let wire = start(&disk, dir.path()).await;
    wire.put("T", 0, "", "plain").await;
    wire.put("T", 0, "DELAY\u{1}1\u{2}", "delayed").await;
    // what waits is on disk, and its delivery is not
    offsets_are_written(&wire).await;
    read_until(&wire, "delayed").await;
    offsets_are_written(&wire).await;
    let left = disk.crash(Crash::Lose);

    let after = start(&left, dir.path()).await;
    read_until(&after, "delayed").await;
    after.server.shutdown(TIMEOUT).await.unwrap();
    wire.server.shutdown(TIMEOUT).await.unwrap();
}

async fn read_until(wire: &Wire, body: &str) {
    let found = tokio::time::timeout(TIMEOUT, async {
        loop {
            let messages = wire.read_all("T", 0).await;
            if messages.iter().any(|message| message.body == body) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("{body} never comes"));
}
