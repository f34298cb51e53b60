use std::time::Duration;

use rocketry_protocol::{
    header::{QueryMessageReply, QueryMessageRequest},
    id::parse_offset_msg_id,
};
use rocketry_server::{DataDir, ServerConfig};
use rocketry_store::{NewMessage, Store, StoreOptions};

use crate::common::{Wire, decode, request_to, send};

const NONE: &str = "can not find message, maybe time range not correct";

fn by_key<'a>(key: &'a str, index_type: Option<&'a str>) -> QueryMessageRequest<'a> {
    QueryMessageRequest {
        topic: "T",
        key,
        max_num: 64,
        begin_timestamp: 0,
        end_timestamp: i64::MAX,
        index_type,
        last_key: None,
        unique_key_query: None,
        broker_name: None,
    }
}

/// A server whose index files have room for seven keys each.
async fn with_small_index() -> (tempfile::TempDir, Wire) {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        index_slots: 4,
        index_units: 8,
        ..StoreOptions::default()
    };
    let (mut writer, _, _) = Store::open(dir.path(), options, 0).unwrap();
    let host = "127.0.0.1:1".parse().unwrap();
    let message = NewMessage {
        topic: "U",
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_ms: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"x",
        properties: b"KEYS\x01k\x02",
    };
    writer.append(&message, 1).unwrap();
    writer.commit().unwrap();
    writer.close().unwrap();
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.path().to_owned());
    (dir, Wire::with(config).await)
}

async fn bodies(wire: &Wire, query: &QueryMessageRequest<'_>) -> Vec<String> {
    let response = wire.ask_broker(query).await;
    if response.code != 0 {
        assert_eq!(
            (response.code, response.remark.as_deref()),
            (22, Some(NONE))
        );
        response.header::<QueryMessageReply>().unwrap();
        return Vec::new();
    }
    decode(&response.body)
        .iter()
        .map(|message| String::from_utf8(message.body.to_vec()).unwrap())
        .collect()
}

/// S-067, with more keys than an index file holds.
#[tokio::test]
async fn s067_messages_are_found_by_key_unique_id_and_tag() {
    let wire = Wire::start().await;
    find_all(&wire).await;
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();

    let (dir, wire) = with_small_index().await;
    find_all(&wire).await;
    wire.server.shutdown(Duration::from_secs(10)).await.unwrap();
    let files = std::fs::read_dir(dir.path().join("index")).unwrap().count();
    assert!(files > 3, "{files} index files");
}

async fn find_all(wire: &Wire) {
    let mut newest = 0;
    for n in 0..10 {
        let properties = format!(
            "KEYS\u{1}all key{n}\u{2}UNIQ_KEY\u{1}id{n}\u{2}TAGS\u{1}{}\u{2}",
            if n % 2 == 0 { "even" } else { "odd" }
        );
        let stored = wire.put("T", n % 3, &properties, &n.to_string()).await;
        newest = parse_offset_msg_id(&stored.msg_id).unwrap().1;
    }
    let all: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(bodies(wire, &by_key("all", Some("K"))).await, all);
    assert_eq!(bodies(wire, &by_key("key7", None)).await, ["7"]);
    assert_eq!(bodies(wire, &by_key("id3", Some("U"))).await, ["3"]);
    let odd = bodies(wire, &by_key("odd", Some("T"))).await;
    assert_eq!(odd, ["1", "3", "5", "7", "9"]);
    let unique = QueryMessageRequest {
        max_num: 0,
        unique_key_query: Some(true),
        ..by_key("id9", None)
    };
    assert_eq!(bodies(wire, &unique).await, ["9"]);
    let two = QueryMessageRequest {
        max_num: 2,
        ..by_key("all", None)
    };
    assert_eq!(bodies(wire, &two).await, ["8", "9"], "the newest");

    assert!(bodies(wire, &by_key("nobody", None)).await.is_empty());
    assert!(bodies(wire, &by_key("odd", None)).await.is_empty());
    let early = QueryMessageRequest {
        end_timestamp: 1,
        ..by_key("all", None)
    };
    assert!(bodies(wire, &early).await.is_empty());
    let response = wire.ask_broker(&by_key("key9", None)).await;
    let fresh: QueryMessageReply = response.header().unwrap();
    assert_eq!(fresh.index_last_update_phyoffset, newest);
    let message = decode(&response.body).remove(0);
    assert_eq!(fresh.index_last_update_timestamp, message.store_ms);
}

#[tokio::test]
async fn a_query_that_names_no_key_is_answered_with_the_field() {
    let wire = Wire::start().await;
    wire.broker(send(&request_to("T"), "x")).await;
    let mut command = rocketry_protocol::RemotingCommand::request(&by_key("k", None));
    command.fields.as_mut().unwrap().remove("key");
    let response = wire.broker(command).await;
    assert_eq!(
        (response.code, response.remark.as_deref()),
        (1, Some("the custom field <key> is null"))
    );
}
