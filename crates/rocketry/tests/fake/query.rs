//! Messages by id and by key.

use rocketry::{ErrorKind, MessageExt, QueryOptions};
use rocketry_protocol::{
    RemotingCommand, hash::crc32, header::QueryMessageReply, id::offset_msg_id, record::Record,
};

use crate::support::*;

/// A message as a broker stores it, with these keys and, unless empty, this unique id.
fn stored_message(topic: &str, id: &str, keys: &str, store_ms: i64) -> Vec<u8> {
    let mut properties = format!("KEYS\u{1}{keys}\u{2}");
    if !id.is_empty() {
        properties = format!("{properties}UNIQ_KEY\u{1}{id}\u{2}");
    }
    let record = Record {
        body_crc: crc32(b"body"),
        queue_id: 0,
        flag: 0,
        queue_offset: 5,
        physical_offset: 4660,
        sys_flag: 0,
        born_ms: 1,
        born_host: "127.0.0.1:1".parse().unwrap(),
        store_ms,
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"body",
        topic,
        properties: properties.as_bytes(),
    };
    let mut out = Vec::new();
    record.encode(&mut out).unwrap();
    out
}

fn found(messages: &[Vec<u8>]) -> RemotingCommand {
    let header = QueryMessageReply {
        index_last_update_timestamp: 0,
        index_last_update_phyoffset: 0,
    };
    ok().with_header(&header).with_body(messages.concat())
}

/// Reads as an offset id as well, with a senseless address: its process id is 0.
const ID: &str = "7F00000100002A139A4C0000000000AB";

/// P-127
#[tokio::test]
async fn every_broker_is_asked_and_only_exact_matches_count() {
    let cluster = Cluster::of(&["a", "b", "c"]);
    let at_a = found(&[
        stored_message("T", "1", "k1 k2", 30),
        // the index knows hashes: other keys and topics come along
        stored_message("T", "2", "k", 10),
        stored_message("U", "3", "k1", 10),
        stored_message("T", "4", "k11 K1", 10),
    ]);
    cluster
        .broker("a")
        .script(on(12, move |_| Action::Reply(at_a.clone())));
    let at_b = found(&[stored_message("T", "5", "k0 k1", 20)]);
    cluster
        .broker("b")
        .script(on(12, move |_| Action::Reply(at_b.clone())));
    cluster.broker("c").script(on(12, |_| {
        Action::Reply(refuse(22, "can not find message"))
    }));
    let admin = cluster.client().await.admin();
    let options = QueryOptions {
        max_messages: 7,
        from_ms: 5,
        until_ms: 500,
    };
    let result = admin.query_messages("T", "k1", options).await.unwrap();
    let ids: Vec<_> = result.messages.iter().map(MessageExt::msg_id).collect();
    assert_eq!(ids, ["5", "1"], "by store time");
    assert_eq!(&*result.messages[1].broker_name, "a");
    assert!(result.failures.is_empty());
    for (broker, request) in cluster.received(12) {
        let fields = ["topic", "key", "maxNum", "beginTimestamp", "endTimestamp"];
        assert_eq!(
            fields.map(|name| request.field(name)),
            ["T", "k1", "7", "5", "500"]
        );
        let fields = ["indexType", "_UNIQUE_KEY_QUERY", "bname"];
        assert_eq!(
            fields.map(|name| request.field(name)),
            ["K", "false", &broker]
        );
    }
    let error = admin
        .query_messages("T", "k3", QueryOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.java_code()),
        (ErrorKind::NotFound, 208)
    );
    let error = admin
        .query_messages("unknown", "k1", QueryOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound);
}

/// P-127
#[tokio::test(start_paused = true)]
async fn a_broker_that_is_down_holds_up_nobody() {
    let cluster = Cluster::in_memory(&["a"]);
    let mut route = cluster.route(4, 6);
    add_broker(&mut route, "down", &cluster.network().dead(), 4, 6);
    // without a master a slave is asked
    let slave = FakeServer::start_in(cluster.network(), storing());
    add_broker(&mut route, "slave", &slave.addr(), 4, 6);
    route.broker_datas[2].broker_addrs = [(1, slave.addr())].into();
    cluster.set_route("T", route);
    let of = |id, store_ms| {
        let reply = found(&[stored_message("T", id, "k", store_ms)]);
        on(12, move |_| Action::Reply(reply.clone()))
    };
    cluster.broker("a").script(of("1", 1));
    slave.script(of("2", 2));
    let admin = cluster.client().await.admin();
    let started = now();
    let result = admin
        .query_messages("T", "k", QueryOptions::default())
        .await
        .unwrap();
    punctually(started, ms(0));
    let ids: Vec<_> = result.messages.iter().map(MessageExt::msg_id).collect();
    assert_eq!(ids, ["1", "2"]);
    assert_eq!(result.failures.len(), 1);
    assert_eq!(result.failures[0].broker(), Some("down"));

    // nothing found is not the same as nobody asked
    cluster
        .broker("a")
        .script(on(12, |_| Action::Reply(refuse(22, "none"))));
    slave.script(|_| Action::Close);
    let error = admin
        .query_messages("T", "k", QueryOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error.to_string().contains("a broker did not answer"),
        "{error}"
    );
    cluster.broker("a").script(|_| Action::Close);
    let error = admin
        .query_messages("T", "k", QueryOptions::default())
        .await
        .unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

/// P-126
#[tokio::test]
async fn a_message_is_viewed_by_either_of_its_ids() {
    let cluster = Cluster::of(&["a", "b"]);
    let message = stored_message("T", ID, "k", 1);
    let body = message.clone();
    let mut query = on(12, move |request| {
        assert_eq!(request.field("indexType"), Some("U"));
        assert_eq!(request.field("_UNIQUE_KEY_QUERY"), Some("true"));
        Action::Reply(found(&[
            stored_message("T", "another id with the same hash", "k", 1),
            body.clone(),
        ]))
    });
    cluster.broker("a").script(move |request| {
        if request.code == 33 && request.field("offset") == Some("4660") {
            Action::Reply(ok().with_body(message.clone()))
        } else if request.code == 33 {
            Action::Reply(refuse(1, "can not find message by the offset"))
        } else {
            query(request)
        }
    });
    let admin = cluster.client().await.admin();
    let at = |offset| offset_msg_id(cluster.broker("a").addr().parse().unwrap(), offset);
    let viewed = admin.view_message("T", &at(4660)).await.unwrap();
    assert_eq!(viewed.msg_id(), ID);
    assert!(cluster.received(12).is_empty(), "the id says where it is");
    let viewed = admin.view_message("T", ID).await.unwrap();
    assert_eq!((&*viewed.broker_name, viewed.msg_id()), ("a", ID.into()));
    // neither there nor by the name of an id
    for unknown in [&at(1), "7F00000112342A139A4C0000000000AC", "nonsense"] {
        let error = admin.view_message("T", unknown).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.java_code()),
            (ErrorKind::NotFound, 208),
            "{unknown}"
        );
    }
    // a broker that cannot be asked may have it all the same
    let nowhere = offset_msg_id(dead_addr().parse().unwrap(), 4660);
    let error = admin.view_message("T", &nowhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokerUnreachable);
}
