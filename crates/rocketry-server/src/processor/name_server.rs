//! The name server's requests. Java: `DefaultRequestProcessor`, `ClientRequestProcessor`.

use std::sync::atomic::{AtomicBool, Ordering};

use rocketry_protocol::{
    RemotingCommand, ResponseCode, body,
    body::{
        DataVersion,
        registration::RegisterBrokerBody,
        route::{BrokerMemberGroup, GetBrokerMemberGroupResponseBody, KVTable, TopicRouteData},
        topics::TopicList,
    },
    hash::crc32,
    header::{
        AddWritePermOfBrokerReply, AddWritePermOfBrokerRequest, BrokerHeartbeatRequest,
        DeleteKvConfigRequest, DeleteTopicInNamesrvRequest, GetBrokerMemberGroupRequest,
        GetKvConfigReply, GetKvConfigRequest, GetKvListByNamespaceRequest, GetRouteInfoRequest,
        GetTopicsByClusterRequest, PutKvConfigRequest, QueryDataVersionReply,
        QueryDataVersionRequest, RegisterBrokerReply, RegisterBrokerRequest, RegisterTopicRequest,
        UnregisterBrokerRequest, WipeWritePermOfBrokerReply, WipeWritePermOfBrokerRequest,
    },
};

use super::{body_of, encoded, fixed_setting, ok, ok_body, settings};
use crate::{
    advertise::SeenFrom,
    fault::{Fault, Reply},
    kv_config::{KvConfig, ORDER_NAMESPACE},
    name_server::{NameServer, RegisterRefused, Registration},
    names,
};

/// Requests of this version and later read standard JSON. Java: `MQVersion.Version.V4_9_4`.
const STANDARD_JSON_VERSION: i32 = 401;

/// Code 105.
pub(crate) fn route(
    name_server: &NameServer,
    kv: &KvConfig,
    with_order: bool,
    seen: Option<SeenFrom<'_>>,
    request: &RemotingCommand,
) -> Reply {
    let header: GetRouteInfoRequest<'_> = request.header()?;
    let Some(mut route) = name_server.route(header.topic) else {
        return Err(Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            names::with_hint(format!(
                "No topic route info in name server for the topic: {}",
                header.topic
            )),
        ));
    };
    if let Some(seen) = seen {
        seen.rewrite(&mut route.broker_datas);
    }
    if with_order {
        route.order_topic_conf = kv.value(ORDER_NAMESPACE, header.topic);
    }
    let standard =
        request.version >= STANDARD_JSON_VERSION || header.accept_standard_json_only == Some(true);
    Ok(ok_body(if standard {
        body::encode_standard(&route)?
    } else {
        body::encode(&route)?
    }))
}

/// Code 103.
pub(crate) fn register(
    name_server: &NameServer,
    kv: &KvConfig,
    request: &RemotingCommand,
    connection_id: u64,
    now_ms: i64,
) -> Reply {
    let header: RegisterBrokerRequest<'_> = request.header()?;
    if header.body_crc32 != 0 && crc32(&request.body) != header.body_crc32 {
        return Err(Fault::system_error("crc32 not match"));
    }
    let body = if request.body.is_empty() {
        RegisterBrokerBody::default()
    } else if header.compressed {
        RegisterBrokerBody::decode_compressed(&request.body)?
    } else {
        body::decode(&request.body)?
    };
    let table = body.topic_config_serialize_wrapper;
    let registration = Registration {
        cluster: header.cluster_name,
        broker_name: header.broker_name,
        broker_addr: header.broker_addr,
        broker_id: header.broker_id,
        ha_server_addr: header.ha_server_addr,
        enable_acting_master: header.enable_acting_master == Some(true),
        zone_name: request.field("__ZONE_NAME"),
        heartbeat_timeout_ms: header.heartbeat_timeout_millis,
        data_version: table.data_version,
        connection_id: Some(connection_id),
    };
    let registered = name_server
        .register(&registration, table.topic_config_table.values(), now_ms)
        .map_err(|refused| match refused {
            RegisterRefused::Incremental => Fault::system_error("register broker failed"),
            RegisterRefused::OurName(addr) => Fault::system_error(format!(
                "register broker failed: {} with id {} is this server's own broker at {addr}; give the other one another name",
                header.broker_name, header.broker_id
            )),
            RegisterRefused::OurAddress => Fault::system_error(format!(
                "register broker failed: this server's own broker is at {}; give the other one another address",
                header.broker_addr
            )),
        })?;
    let response = ok().with_header(&RegisterBrokerReply {
        ha_server_addr: registered.ha_server_addr,
        master_addr: registered.master_addr,
    });
    Ok(match kv.namespace(ORDER_NAMESPACE) {
        Some(table) => response.with_body(encoded(&KVTable { table })?),
        None => response,
    })
}

/// Code 104.
pub(crate) fn unregister(name_server: &NameServer, request: &RemotingCommand) -> Reply {
    let header: UnregisterBrokerRequest<'_> = request.header()?;
    name_server.unregister(header.cluster_name, header.broker_name, header.broker_addr);
    Ok(ok())
}

/// Code 322.
pub(crate) fn query_data_version(
    name_server: &NameServer,
    request: &RemotingCommand,
    now_ms: i64,
) -> Reply {
    let header: QueryDataVersionRequest<'_> = request.header()?;
    let version: DataVersion = body::decode(body_of(request)?)?;
    let (changed, known) =
        name_server.query_data_version(header.cluster_name, header.broker_addr, &version, now_ms);
    let response = ok().with_header(&QueryDataVersionReply { changed });
    Ok(match known {
        Some(known) => response.with_body(encoded(&known)?),
        None => response,
    })
}

/// Code 904.
pub(crate) fn heartbeat(name_server: &NameServer, request: &RemotingCommand, now_ms: i64) -> Reply {
    let header: BrokerHeartbeatRequest<'_> = request.header()?;
    name_server.heartbeat(header.cluster_name, header.broker_addr, now_ms);
    Ok(ok())
}

/// Code 901.
pub(crate) fn member_group(
    name_server: &NameServer,
    seen: Option<SeenFrom<'_>>,
    request: &RemotingCommand,
) -> Reply {
    let header: GetBrokerMemberGroupRequest<'_> = request.header()?;
    let mut broker_addrs = name_server.member_group(header.broker_name);
    if let Some(seen) = seen {
        for addr in broker_addrs.values_mut() {
            seen.rewrite_addr(addr);
        }
    }
    let group = BrokerMemberGroup {
        cluster: header.cluster_name.to_owned(),
        broker_name: header.broker_name.to_owned(),
        broker_addrs,
    };
    Ok(ok_body(encoded(&GetBrokerMemberGroupResponseBody {
        broker_member_group: Some(group),
    })?))
}

/// Code 106.
pub(crate) fn cluster_info(name_server: &NameServer, seen: Option<SeenFrom<'_>>) -> Reply {
    let mut info = name_server.cluster_info();
    if let Some(seen) = seen {
        seen.rewrite(info.broker_addr_table.values_mut());
    }
    Ok(ok_body(encoded(&info)?))
}

/// Code 206.
pub(crate) fn all_topics(name_server: &NameServer) -> Reply {
    topic_list(name_server.all_topics(), None)
}

/// Code 224.
pub(crate) fn topics_by_cluster(name_server: &NameServer, request: &RemotingCommand) -> Reply {
    let header: GetTopicsByClusterRequest<'_> = request.header()?;
    topic_list(name_server.topics_of_cluster(header.cluster), None)
}

/// Code 304.
pub(crate) fn system_topics(name_server: &NameServer, seen: Option<SeenFrom<'_>>) -> Reply {
    let (topics, mut addr) = name_server.system_topics();
    if let (Some(seen), Some(addr)) = (seen, &mut addr) {
        seen.rewrite_addr(addr);
    }
    topic_list(topics, addr)
}

/// Codes 311 to 313: bit 0 of the flag is "unit", bit 1 "unit subscription".
pub(crate) fn unit_topics(name_server: &NameServer, wanted: fn(i32) -> bool) -> Reply {
    topic_list(name_server.topics_by_sys_flag(wanted), None)
}

/// Code 216.
pub(crate) fn delete_topic(name_server: &NameServer, request: &RemotingCommand) -> Reply {
    let header: DeleteTopicInNamesrvRequest<'_> = request.header()?;
    let cluster = header.cluster_name.filter(|name| !name.is_empty());
    name_server.delete_topic(header.topic, cluster);
    Ok(ok())
}

/// Code 217.
pub(crate) fn register_topic(name_server: &NameServer, request: &RemotingCommand) -> Reply {
    let header: RegisterTopicRequest<'_> = request.header()?;
    let route: TopicRouteData = body::decode(body_of(request)?)?;
    name_server.register_topic(header.topic, &route.queue_datas);
    Ok(ok())
}

/// Code 205.
pub(crate) fn wipe_write_perm(name_server: &NameServer, request: &RemotingCommand) -> Reply {
    let header: WipeWritePermOfBrokerRequest<'_> = request.header()?;
    let count = name_server.set_write_perm(header.broker_name, false);
    Ok(ok().with_header(&WipeWritePermOfBrokerReply {
        wipe_topic_count: Some(count),
    }))
}

/// Code 327.
pub(crate) fn add_write_perm(name_server: &NameServer, request: &RemotingCommand) -> Reply {
    let header: AddWritePermOfBrokerRequest<'_> = request.header()?;
    let count = name_server.set_write_perm(header.broker_name, true);
    Ok(ok().with_header(&AddWritePermOfBrokerReply {
        add_topic_count: Some(count),
    }))
}

/// Code 100.
pub(crate) fn put_kv(kv: &KvConfig, request: &RemotingCommand) -> Reply {
    let header: PutKvConfigRequest<'_> = request.header()?;
    kv.put(header.namespace, header.key, header.value)
        .map_err(not_written)?;
    Ok(ok())
}

/// Code 101.
pub(crate) fn get_kv(kv: &KvConfig, request: &RemotingCommand) -> Reply {
    let header: GetKvConfigRequest<'_> = request.header()?;
    match kv.value(header.namespace, header.key) {
        Some(value) => Ok(ok().with_header(&GetKvConfigReply { value: Some(value) })),
        None => Err(Fault::new(
            ResponseCode::QUERY_NOT_FOUND,
            format!(
                "No config item, Namespace: {} Key: {}",
                header.namespace, header.key
            ),
        )
        .with_fields(rocketry_protocol::Fields::default())),
    }
}

/// Code 102.
pub(crate) fn delete_kv(kv: &KvConfig, request: &RemotingCommand) -> Reply {
    let header: DeleteKvConfigRequest<'_> = request.header()?;
    kv.delete(header.namespace, header.key)
        .map_err(not_written)?;
    Ok(ok())
}

/// Code 219.
pub(crate) fn kv_list(kv: &KvConfig, request: &RemotingCommand) -> Reply {
    let header: GetKvListByNamespaceRequest<'_> = request.header()?;
    match kv.namespace(header.namespace) {
        Some(table) => Ok(ok_body(encoded(&KVTable { table })?)),
        None => Err(Fault::new(
            ResponseCode::QUERY_NOT_FOUND,
            format!("No config item, Namespace: {}", header.namespace),
        )),
    }
}

fn topic_list(topic_list: Vec<String>, broker_addr: Option<String>) -> Reply {
    Ok(ok_body(encoded(&TopicList {
        broker_addr,
        topic_list,
    })?))
}

fn not_written(error: rocketry_store::StoreError) -> Fault {
    tracing::error!(%error, "key-value configuration was not written");
    Fault::system_error(format!("kvConfig.json was not written: {error}"))
}

/// Code 319: the keys of Java's configuration that this name server has.
pub(crate) fn config(with_order: &AtomicBool, port: u16) -> RemotingCommand {
    let text = format!(
        "listenPort={port}\norderMessageEnable={}\n",
        with_order.load(Ordering::Relaxed)
    );
    ok_body(text)
}

/// Code 318, in effect until the server stops. Keys of Java's that this name server does not have are ignored.
pub(crate) fn update_config(with_order: &AtomicBool, request: &RemotingCommand) -> Reply {
    let mut enable = None;
    for (key, value) in settings(request)? {
        match key {
            "configBlackList" | "configStorePath" | "kvConfigPath" | "listenPort"
            | "rocketmqHome" => return Err(fixed_setting()),
            "orderMessageEnable" => enable = value.parse::<bool>().ok(),
            _ => {}
        }
    }
    if let Some(enable) = enable {
        with_order.store(enable, Ordering::Relaxed);
    }
    Ok(ok())
}
