//! Topics whose queues hold several messages per unit: attribute `queue.type=BatchCQ`.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use rocketry_protocol::{
    Properties, RemotingCommand,
    batch::{BatchItem, encode_item},
    hash::crc32,
    header::{
        CreateTopicRequest, PopMessageReply, PopMessageRequest, PullMessageReply,
        SendBatchMessageRequest, SendMessageReply, SendMessageRequest,
    },
    record::{Record, crc_property},
    sys_flag::{INNER_BATCH, NEED_UNWRAP},
};
use rocketry_server::{DataDir, ServerConfig};
use rocketry_store::inspect::Inspection;

use crate::common::{Wire, decode, pull, request_to, send};

const INNER: i32 = INNER_BATCH | NEED_UNWRAP;

fn config_in(dir: &Path) -> ServerConfig {
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.to_owned());
    // two records fill a file, so that retention has something to remove
    config.files.log_bytes = 4096;
    config
}

async fn create(wire: &Wire, topic: &str) {
    let request = CreateTopicRequest {
        topic,
        default_topic: "TBW102",
        read_queue_nums: 2,
        write_queue_nums: 2,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        attributes: Some("+queue.type=BatchCQ"),
        ..CreateTopicRequest::default()
    };
    let answer = wire.ask_broker(&request).await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
}

/// A batch of messages `<name>-<n>`, each with a tag and an id.
fn batch_of(name: &str, count: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for n in 0..count {
        let text = format!("{name}-{n}");
        let properties = format!("TAGS\u{1}red\u{2}UNIQ_KEY\u{1}id-{name}-{n}\u{2}");
        let item = BatchItem {
            flag: 0,
            body: text.as_bytes(),
            properties: properties.as_bytes(),
        };
        encode_item(&item, &mut body).unwrap();
    }
    body
}

async fn send_batch(wire: &Wire, topic: &str, name: &str, count: usize) -> SendMessageReply {
    let properties = format!("UNIQ_KEY\u{1}batch-{name}\u{2}WAIT\u{1}true\u{2}");
    let request = SendMessageRequest {
        batch: true,
        queue_id: 1,
        properties: &properties,
        ..request_to(topic)
    };
    let command = RemotingCommand::request(&SendBatchMessageRequest(request))
        .with_body(batch_of(name, count));
    let answer = wire.broker(command).await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    answer.header().unwrap()
}

/// Body and queue offset of every message of queue 1 from `offset` on.
async fn read_from(wire: &Wire, mut offset: i64) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    loop {
        let answer = wire.ask_broker(&pull("B", 1, offset)).await;
        if answer.code != 0 {
            assert_eq!(answer.code, 19, "{answer:?}");
            return found;
        }
        offset = answer
            .header::<PullMessageReply>()
            .unwrap()
            .next_begin_offset;
        for message in decode(&answer.body) {
            let body = String::from_utf8(message.body.to_vec()).unwrap();
            found.push((message.queue_offset, body));
        }
    }
}

fn queue_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let queue = dir.join("batchconsumequeue/B/1");
    let entries = fs::read_dir(queue).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// S-029: a batch for a batch topic is one record with the properties that Java gives it, takes as many queue offsets as it has
/// messages, and is answered with its id; single messages go on behind it; pulls may begin inside; a restart, a lost queue and
/// retention keep the numbering; the tools see each message.
#[tokio::test]
async fn s029_a_batch_for_a_batch_topic_is_one_record() {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::with(config_in(dir.path())).await;
    create(&wire, "B").await;

    let first = send_batch(&wire, "B", "a", 5).await;
    assert_eq!(first.queue_offset, 0);
    assert!(!first.msg_id.contains(','), "{}", first.msg_id);
    assert_eq!(first.batch_uniq_id.as_deref(), Some("batch-a"));
    assert_eq!(first.transaction_id.as_deref(), Some("batch-a"));
    assert_eq!(
        wire.put("B", 1, "TAGS\u{1}red\u{2}", "one")
            .await
            .queue_offset,
        5
    );
    let second = send_batch(&wire, "B", "b", 12).await;
    assert_eq!(second.queue_offset, 6);
    assert_eq!(wire.put("B", 1, "", "two").await.queue_offset, 18);

    let answer = wire.ask_broker(&pull("B", 1, 0)).await;
    let (record, _) = Record::parse(&answer.body).unwrap();
    assert_eq!(record.sys_flag & INNER, INNER);
    let properties = Properties::parse_bytes(record.properties);
    for (name, value) in [
        ("INNER_NUM", "5"),
        ("INNER_BASE", "0"),
        ("UNIQ_KEY", "batch-a"),
        ("WAIT", "true"),
        ("MSG_REGION", "DefaultRegion"),
        ("TRACE_ON", "true"),
        ("CLUSTER", "DefaultCluster"),
    ] {
        assert_eq!(properties.get(name), Some(value), "{name}");
    }
    assert_eq!(properties.iter().count(), 7);

    let all = read_from(&wire, 0).await;
    let expected: Vec<(i64, String)> = (0..5)
        .map(|n| format!("a-{n}"))
        .chain(["one".to_owned()])
        .chain((0..12).map(|n| format!("b-{n}")))
        .chain(["two".to_owned()])
        .zip(0..)
        .map(|(body, offset)| (offset, body))
        .collect();
    assert_eq!(all, expected);
    // inside of a batch: the batch, whose first messages the client drops
    assert_eq!(read_from(&wire, 3).await, expected);
    assert_eq!(read_from(&wire, 6).await, expected[6..]);

    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();
    let files = queue_files(dir.path());
    let units = &files["00000000000000000000"];
    // commit-log offset, size, tags code, store time, first offset, count, compact offset, reserved
    let number = |at: usize, len: usize| {
        units[at..at + len]
            .iter()
            .fold(0i64, |value, byte| (value << 8) | i64::from(*byte))
    };
    let unit = |n: usize| (number(46 * n + 28, 8), number(46 * n + 36, 2));
    assert_eq!(
        [unit(0), unit(1), unit(2), unit(3)],
        [(0, 5), (5, 1), (6, 12), (18, 1)]
    );
    assert_eq!(number(38, 8), 0xffff_ffff_0000_0000_u64.cast_signed());
    assert!(!dir.path().join("consumequeue/B").exists());

    let inspection = Inspection::open(dir.path()).unwrap();
    let check = inspection.check(|_| {}).unwrap();
    assert_eq!(check.findings, []);
    let found = inspection
        .find("id-b-7")
        .unwrap()
        .expect("a message in a batch");
    assert_eq!(Record::parse(&found).unwrap().0.queue_offset, 6);
    assert_eq!(inspection.find("B/1/9").unwrap(), Some(found));

    // derived from the log again, byte for byte
    fs::remove_dir_all(dir.path().join("batchconsumequeue")).unwrap();
    let wire = Wire::with(config_in(dir.path())).await;
    assert_eq!(read_from(&wire, 0).await, expected);
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();
    assert_eq!(queue_files(dir.path()), files);

    // the first files of the log go: the minimum is the first message of a record
    let mut config = config_in(dir.path());
    config.retention.reserved = Duration::ZERO;
    config.retention.hours = Vec::new();
    let wire = Wire::with(config).await;
    for name in ["c", "d", "e", "f"] {
        send_batch(&wire, "B", name, 32).await;
    }
    let delete = RemotingCommand::bare_request(rocketry_protocol::RequestCode(329));
    assert_eq!(wire.broker(delete).await.code, 0);
    let gone = wire.ask_broker(&pull("B", 1, 0)).await;
    assert_eq!(gone.code, 21, "{:?}", gone.remark);
    let header: PullMessageReply = gone.header().unwrap();
    assert!(
        header.min_offset > 0 && (header.min_offset - 19) % 32 == 0,
        "{header:?}"
    );
    assert_eq!(header.max_offset, 19 + 4 * 32);
    let left = read_from(&wire, header.next_begin_offset).await;
    let offsets: Vec<i64> = left.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(
        offsets,
        (header.min_offset..header.max_offset).collect::<Vec<_>>()
    );
}

/// Server side of what Java's `HookUtils.checkInnerBatch` refuses, and batches that stay apart.
#[tokio::test]
async fn s029_only_batches_with_an_id_become_one_record() {
    let wire = Wire::start().await;
    create(&wire, "B").await;
    // without an id of its own
    let request = SendMessageRequest {
        batch: true,
        queue_id: 1,
        ..request_to("B")
    };
    let answer = wire.broker(send(&request, batch_of("a", 3))).await;
    let reply: SendMessageReply = answer.header().unwrap();
    assert_eq!(reply.msg_id.split(',').count(), 3);
    assert_eq!(reply.batch_uniq_id, None);
    assert_eq!(read_from(&wire, 0).await.len(), 3);
    // on a topic of plain queues
    let reply = send_batch(&wire, "Plain", "p", 3).await;
    assert_eq!(reply.msg_id.split(',').count(), 3);
    assert_eq!(reply.batch_uniq_id, None);
    // a single message that says of itself what only the broker says
    for (topic, sys_flag, properties) in [("B", 0, "INNER_NUM\u{1}3\u{2}"), ("Plain", INNER, "")] {
        let request = SendMessageRequest {
            sys_flag,
            properties,
            ..request_to(topic)
        };
        assert_eq!(wire.broker(send(&request, "x")).await.code, 13, "{topic}");
    }
}

/// S-121: with the record's check sum on, single messages, batches and inner batches end with it, whatever their senders put there.
#[tokio::test]
async fn s121_records_end_with_their_check_sum_when_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config_in(dir.path());
    config.record_crc = true;
    let wire = Wire::with(config.clone()).await;
    create(&wire, "B").await;
    wire.put("Plain", 1, "__CRC32#\u{1}0123456789\u{2}", "one")
        .await;
    send_batch(&wire, "Plain", "p", 3).await;
    send_batch(&wire, "B", "a", 3).await;
    let settings = RemotingCommand::bare_request(rocketry_protocol::RequestCode(26));
    let settings = wire.broker(settings).await.body;
    assert!(String::from_utf8_lossy(&settings).contains("enabledAppendPropCRC=true"));
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();

    let mut records = 0;
    let inspection = Inspection::open(dir.path()).unwrap();
    inspection
        .walk::<rocketry_store::StoreError>(0, |stored| {
            let at = stored.log_offset().to_string();
            let bytes = inspection.find(&at)?.expect("a record");
            let (covered, place) = bytes.split_at(bytes.len() - 20);
            assert_eq!(
                place,
                crc_property(crc32(covered)),
                "{}",
                stored.record.topic
            );
            let properties = String::from_utf8_lossy(stored.record.properties);
            assert_eq!(properties.matches("__CRC32#").count(), 1);
            records += 1;
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(records, 5);
    assert_eq!(inspection.check(|_| {}).unwrap().findings, []);
    // and without it what has it is read as well
    config.record_crc = false;
    let wire = Wire::with(config).await;
    assert_eq!(read_from(&wire, 0).await.len(), 3);
    assert_eq!(wire.read_all("Plain", 1).await.len(), 4);
}

/// A pop takes whole records, the first whatever its size and further ones while their messages fit, and hands each out under the offset
/// of its first message. The same steps are part of the differential script, beside Apache's broker.
#[tokio::test]
async fn a_pop_takes_whole_batches() {
    let wire = Wire::start().await;
    create(&wire, "B").await;
    send_batch(&wire, "B", "a", 5).await;
    wire.put("B", 1, "TAGS\u{1}red\u{2}", "one").await;
    send_batch(&wire, "B", "b", 3).await;
    let mut taken = Vec::new();
    for max_msg_nums in [1, 2, 32] {
        let request = PopMessageRequest {
            consumer_group: "PG",
            topic: "B",
            queue_id: 1,
            max_msg_nums,
            invisible_time: 60_000,
            poll_time: 0,
            born_time: 0,
            init_mode: 0,
            exp_type: None,
            exp: None,
            order: None,
            attempt_id: None,
            broker_name: None,
        };
        let answer = wire.ask_broker(&request).await;
        let reply: PopMessageReply = answer.header().unwrap();
        taken.push((
            answer.code,
            decode(&answer.body).len(),
            reply.msg_offset_info.unwrap_or_default(),
            reply.rest_num,
        ));
    }
    assert_eq!(
        taken,
        [
            (0, 5, "0 1 0".to_owned(), 4),
            (0, 1, "0 1 5".to_owned(), 3),
            (0, 3, "0 1 6".to_owned(), 0),
        ]
    );
}
