//! Pops where something is wrong: with the disk, with the request, with what a message says of itself.

use std::{path::Path, sync::Arc, time::Duration};

use rocketry_protocol::{
    RemotingCommand, RequestCode, ResponseCode,
    header::{
        ConsumerSendMsgBackRequest, GetTopicConfigRequest, NotificationReply, NotificationRequest,
        PopMessageRequest, QueryConsumerOffsetRequest, SendMessageRequest,
    },
};
use rocketry_remoting::Unsupported;
use rocketry_server::{DataDir, FlushMode, Server, ServerConfig};
use tokio::time::Instant;

use crate::{
    common::{TIMEOUT, Wire, decode, request_to, send},
    slow_disk::SlowDisk,
};

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn quick() -> ServerConfig {
    let mut config = ServerConfig::temp();
    config.timer_precision = Duration::from_millis(100);
    config
}

fn in_dir(dir: &Path) -> ServerConfig {
    let mut config = quick();
    config.data_dir = DataDir::Path(dir.to_owned());
    config
}

fn pop(poll_ms: i64, invisible_ms: i64) -> PopMessageRequest<'static> {
    PopMessageRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: -1,
        max_msg_nums: 32,
        invisible_time: invisible_ms,
        poll_time: poll_ms,
        born_time: now_ms(),
        init_mode: 0,
        exp_type: Some("TAG"),
        exp: Some("*"),
        order: Some(false),
        attempt_id: None,
        broker_name: None,
    }
}

/// The note of what was taken cannot be stored: nothing is handed out, and the pop says why rather than waiting for its time to be up.
#[tokio::test]
async fn a_pop_that_cannot_be_noted_fails_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::with(in_dir(dir.path())).await;
    wire.put("T", 0, "", "kept").await;
    wire.server.shutdown(TIMEOUT).await.unwrap();

    let mut config = in_dir(dir.path());
    config.flush_interval = Duration::from_millis(1);
    // more than any disk has
    config.retention.refuse_percent = 0;
    config.retention.refuse_free_bytes = u64::MAX;
    let wire = Wire::with(config).await;
    let full = async || loop {
        if wire.broker(send(&request_to("T"), "x")).await.code == 14 {
            return;
        }
    };
    tokio::time::timeout(TIMEOUT, full()).await.unwrap();
    let response = wire.ask_broker(&pop(3_000, 60_000)).await;
    assert_eq!(response.response_code(), ResponseCode::SYSTEM_ERROR);
    assert!(response.body.is_empty());
    let remark = response.remark.unwrap();
    for part in ["of topic T", "could not be noted", "bytes free"] {
        assert!(remark.contains(part), "{remark}");
    }
    wire.server.shutdown(TIMEOUT).await.unwrap();

    let wire = Wire::with(in_dir(dir.path())).await;
    let response = wire.ask_broker(&pop(3_000, 60_000)).await;
    assert_eq!(&*decode(&response.body)[0].body, b"kept");
}

/// A topic is deleted while a pop waits for its note to be stored, and made anew: the group begins with the first message there is.
#[tokio::test]
async fn a_pop_leaves_no_offset_of_a_topic_that_was_deleted_meanwhile() {
    // as a check point says whose it is
    let disk = SlowDisk::new(r#""c":"PG""#);
    let mut config = quick();
    config.flush = FlushMode::Sync;
    let server = Server::start_on(Arc::new(disk.clone()), config).await;
    let wire = Wire::to(server.unwrap());
    wire.put("T", 0, "", "old").await;
    let one_queue = PopMessageRequest {
        queue_id: 0,
        ..pop(3_000, 60_000)
    };
    disk.shut(true);
    let mut popped = Box::pin(wire.ask_broker(&one_queue));
    tokio::select! {
        biased;
        popped = &mut popped => panic!("not noted yet: {popped:?}"),
        () = disk.written() => {}
    }
    let delete =
        RemotingCommand::bare_request(RequestCode::DELETE_TOPIC_IN_BROKER).with_field("topic", "T");
    let mut deleted = Box::pin(wire.broker(delete));
    let settings = GetTopicConfigRequest {
        topic: "T",
        ..GetTopicConfigRequest::default()
    };
    // On one connection, in this order: the topic has left the tables when the second is answered.
    tokio::select! {
        biased;
        deleted = &mut deleted => panic!("its queues are gone: {deleted:?}"),
        settings = wire.ask_broker(&settings) => assert_eq!(settings.code, 17),
    }
    disk.shut(false);
    assert_eq!(popped.await.code, 0);
    assert_eq!(deleted.await.code, 0);

    wire.put("T", 0, "", "new").await;
    let offset = QueryConsumerOffsetRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: 0,
        set_zero_if_not_found: Some(false),
        broker_name: None,
    };
    assert_eq!(wire.ask_broker(&offset).await.code, 22);
    let again = wire.ask_broker(&one_queue).await;
    assert_eq!(again.code, 0, "{:?}", again.remark);
    assert_eq!(&*decode(&again.body)[0].body, b"new");
    wire.server.shutdown(TIMEOUT).await.unwrap();
}

/// What the timer could not bring back is not hidden in the first place.
#[tokio::test]
async fn an_invisible_time_must_be_one_that_the_broker_can_time() {
    let mut config = quick();
    config.timer_max_delay = Duration::from_mins(1);
    let wire = Wire::with(config).await;
    wire.put("T", 0, "", "a").await;
    for (invisible_ms, code) in [(60_001, 29), (i64::MAX, 29), (-1, 29), (60_000, 0)] {
        let response = wire.ask_broker(&pop(3_000, invisible_ms)).await;
        assert_eq!(response.code, code, "{invisible_ms}: {:?}", response.remark);
    }
}

/// A pop whose client left while another had the queue takes nothing: it would be hidden from everybody else.
#[tokio::test]
async fn a_pop_takes_nothing_for_a_client_that_left() {
    let mut config = quick();
    config.flush = FlushMode::Sync;
    let disk = SlowDisk::new("nothing");
    let server = Server::start_on(Arc::new(disk.clone()), config).await;
    let wire = Wire::to(server.unwrap());
    for body in ["first", "second"] {
        wire.put("T", 0, "", body).await;
    }
    let one = |poll_ms| PopMessageRequest {
        max_msg_nums: 1,
        ..pop(poll_ms, 60_000)
    };
    disk.shut(true);
    let first = wire.join(Arc::new(Unsupported));
    let first =
        tokio::spawn(async move { first.call(RemotingCommand::request(&one(20_000))).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let gone = wire.join(Arc::new(Unsupported));
    tokio::select! {
        response = gone.call(RemotingCommand::request(&one(20_000))) => panic!("{response:?}"),
        () = tokio::time::sleep(Duration::from_millis(300)) => {}
    }
    gone.leave().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!first.is_finished());
    disk.shut(false);
    let response = first.await.unwrap();
    assert_eq!(&*decode(&response.body)[0].body, b"first");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let response = wire.ask_broker(&one(1_000)).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
    assert_eq!(&*decode(&response.body)[0].body, b"second");
}

/// A message wakes who wants to know of it and who wants to have it.
#[tokio::test]
async fn a_notification_does_not_take_a_pops_message() {
    let wire = Wire::with(quick()).await;
    wire.put("T", 0, "", "first").await;
    assert_eq!(wire.ask_broker(&pop(3_000, 60_000)).await.code, 0);
    let notice = NotificationRequest {
        consumer_group: "PG",
        topic: "T",
        queue_id: -1,
        poll_time: 9_000,
        born_time: now_ms(),
        order: None,
        attempt_id: None,
        exp_type: None,
        exp: None,
    };
    let (noticing, popping) = (
        wire.join(Arc::new(Unsupported)),
        wire.join(Arc::new(Unsupported)),
    );
    let began = Instant::now();
    let noticed =
        tokio::spawn(async move { noticing.call(RemotingCommand::request(&notice)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let popped = tokio::spawn(async move {
        popping
            .call(RemotingCommand::request(&pop(9_000, 60_000)))
            .await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    wire.put("T", 0, "", "second").await;
    let response = popped.await.unwrap();
    assert_eq!(&*decode(&response.body)[0].body, b"second");
    let header: NotificationReply = noticed.await.unwrap().header().unwrap();
    assert!(header.has_msg);
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "not at the end of the wait"
    );
}

/// A message that was tried more often than can be counted stays so.
#[tokio::test]
async fn numbers_of_attempts_end_at_the_largest() {
    let wire = Wire::with(quick()).await;
    let often = SendMessageRequest {
        queue_id: 0,
        reconsume_times: i32::MAX,
        ..request_to("T")
    };
    let sent = wire.broker(send(&often, "a")).await;
    assert_eq!(sent.code, 0);
    let popped = wire.ask_broker(&pop(3_000, 1_000)).await;
    let message = decode(&popped.body).remove(0);
    let again = wire.ask_broker(&pop(9_000, 60_000)).await;
    assert_eq!(again.code, 0, "{:?}", again.remark);
    assert_eq!(decode(&again.body)[0].reconsume_times, i32::MAX);
    let back = ConsumerSendMsgBackRequest {
        offset: message.commit_log_offset,
        group: "PG",
        delay_level: 0,
        origin_msg_id: None,
        origin_topic: Some("T"),
        unit_mode: false,
        max_reconsume_times: Some(i32::MAX),
        broker_name: None,
    };
    let response = wire.ask_broker(&back).await;
    assert_eq!(response.code, 0, "{:?}", response.remark);
}
