//! Administration of topics (17, 18, 21, 202, 215, 305, 351). Java: `AdminBrokerProcessor`.

use std::collections::BTreeMap;

use rocketry_protocol::{
    RemotingCommand, ResponseCode, body,
    body::{
        Queue,
        offsets::{TopicOffset, TopicStatsTable},
        topics::{
            CreateTopicListRequestBody, TopicConfig, TopicConfigAndMappingSerializeWrapper,
            TopicFilterType, TopicList,
        },
    },
    header::{
        CreateTopicRequest, DeleteTopicRequest, GetAllTopicConfigReply, GetAllTopicConfigRequest,
        GetTopicConfigRequest, GetTopicStatsInfoRequest,
    },
};
use rocketry_remoting::Responder;

use super::{body_of, encoded, ok, ok_body, page};
use crate::{
    announce, attributes,
    broker::Broker,
    clock,
    fault::{Fault, Reply, into_response},
    metadata::NotWritten,
    names, topics,
    writer::WriterHandle,
};

/// Queues of light messages, which have no topic of their own. Java: `MixAll.LMQ_PREFIX`.
const LMQ_PREFIX: &str = "%LMQ%";

/// Code 17.
pub(crate) fn create(broker: &Broker, request: &RemotingCommand, responder: Responder) {
    answer_after(
        broker,
        responder,
        wanted_topic(request).and_then(|wanted| {
            let config = checked(broker, wanted)?;
            set(broker, config);
            Ok(())
        }),
    );
}

/// Code 18: all topics are checked before the first is made.
pub(crate) fn create_list(broker: &Broker, request: &RemotingCommand, responder: Responder) {
    let outcome = (|| {
        let list: CreateTopicListRequestBody = body::decode(body_of(request)?)?;
        let configs = list
            .topic_config_list
            .into_iter()
            .map(|mut config| {
                let changes =
                    attributes::Changes::from_prefixed(std::mem::take(&mut config.attributes))
                        .map_err(Fault::system_error)?;
                checked(broker, Wanted { config, changes })
            })
            .collect::<Result<Vec<_>, Fault>>()?;
        for config in configs {
            set(broker, config);
        }
        Ok(())
    })();
    answer_after(broker, responder, outcome);
}

/// Code 215. Messages stay in the commit log.
pub(crate) fn delete(broker: &Broker, request: &RemotingCommand, responder: Responder) {
    let topic = match deletable(broker, request) {
        Ok(topic) => topic,
        Err(fault) => return responder.respond(fault.into_response()),
    };
    let mut names = Vec::new();
    for group in broker.offsets.committed().groups_of(&topic) {
        for retry in [
            format!("{}{group}_{topic}", names::RETRY_PREFIX),
            format!("{}{group}+{topic}", names::RETRY_PREFIX),
        ] {
            if broker.topics().get(&retry).is_some() {
                names.push(retry);
            }
        }
    }
    names.push(topic);
    let now_ms = clock::wall_ms();
    for name in &names {
        forget(broker, name, now_ms);
    }
    remove_queues(broker, names, responder);
}

/// Code 316: removes the queues of topics that are no more.
pub(crate) fn clean_unused(broker: &Broker, responder: Responder) {
    let mut names: Vec<String> = Vec::new();
    for (topic, _, _) in broker.reader.queues() {
        let is_known = names.last().is_some_and(|last| **last == *topic)
            || broker.topics().get(&topic).is_some()
            || broker.system.is_system(&topic);
        if !is_known && !topic.starts_with(LMQ_PREFIX) {
            names.push(topic.as_ref().to_owned());
        }
    }
    remove_queues(broker, names, responder);
}

/// Removes queues once it is on disk that their topics are no more, and answers then.
fn remove_queues(broker: &Broker, names: Vec<String>, responder: Responder) {
    let writer = broker.writer.clone();
    // offsets as well: they would be taken for those of a topic that is made again
    broker
        .metadata
        .after_offsets(move |persisted| match persisted {
            Ok(()) => remove_next(writer, names, responder),
            Err(error) => responder.respond(Fault::system_error(error.to_string()).into_response()),
        });
}

fn remove_next(writer: WriterHandle, mut names: Vec<String>, responder: Responder) {
    let Some(name) = names.pop() else {
        return responder.respond(ok());
    };
    let next = writer.clone();
    let done = move |removed: Result<usize, String>| match removed {
        Ok(_) => remove_next(next, names, responder),
        Err(reason) => responder.respond(Fault::system_error(reason).into_response()),
    };
    writer.remove_topic(name, Box::new(done));
}

fn deletable(broker: &Broker, request: &RemotingCommand) -> Result<String, Fault> {
    let header: DeleteTopicRequest<'_> = request.header()?;
    let invalid = |remark: String| Fault::new(ResponseCode::INVALID_PARAMETER, remark);
    if header.topic.trim().is_empty() {
        return Err(invalid("The specified topic is blank.".to_owned()));
    }
    if broker.system.is_system(header.topic) {
        return Err(invalid(conflict(header.topic)));
    }
    Ok(header.topic.to_owned())
}

fn forget(broker: &Broker, topic: &str, now_ms: i64) {
    if broker.topics().remove(topic, now_ms).is_some() {
        announce::topic_removed(broker, topic);
    }
    broker.offsets.remove_topic(topic);
    broker.pops.forget_retry_topics(topic);
    broker.reader.metadata().timer_metrics.remove(topic);
}

/// Code 21: everything, or a page in the order of the names.
pub(crate) fn all(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: GetAllTopicConfigRequest<'_> = request.header()?;
    let snapshot = broker.topics().snapshot();
    let total = snapshot.topic_config_table.len();
    let page = page(
        total,
        header.topic_seq,
        header.data_version,
        header.max_topic_num,
        &snapshot.data_version,
    );
    let body = TopicConfigAndMappingSerializeWrapper {
        data_version: snapshot.data_version,
        topic_config_table: snapshot
            .topic_config_table
            .into_iter()
            .skip(page.start)
            .take(page.len())
            .collect(),
        ..TopicConfigAndMappingSerializeWrapper::default()
    };
    Ok(ok()
        .with_header(&GetAllTopicConfigReply {
            total_topic_num: Some(i32::try_from(total).unwrap_or(i32::MAX)),
        })
        .with_body(encoded(&body)?))
}

/// Code 351.
pub(crate) fn config(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: GetTopicConfigRequest<'_> = request.header()?;
    match broker.topics().get(header.topic) {
        Some(topic) => Ok(ok_body(encoded(&*topic)?)),
        None => Err(Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            format!("No topic in this broker. topic: {}", header.topic),
        )),
    }
}

/// Code 202.
pub(crate) fn stats(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: GetTopicStatsInfoRequest<'_> = request.header()?;
    let Some(topic) = broker.topics().get(header.topic) else {
        return Err(Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            format!("topic[{}] not exist", header.topic),
        ));
    };
    let queues = topic.write_queue_nums.max(topic.read_queue_nums);
    let mut offset_table = BTreeMap::new();
    for queue_id in 0..queues {
        let range = broker.reader.queue_range(header.topic, queue_id);
        let (min_offset, max_offset) = range.map_or((0, 0), |range| (range.min, range.max));
        let last_update_timestamp = if max_offset > 0 {
            store_time(broker, header.topic, queue_id, max_offset - 1)?
        } else {
            0
        };
        offset_table.insert(
            Queue::new(header.topic, &*broker.identity.broker_name, queue_id),
            TopicOffset {
                last_update_timestamp,
                max_offset,
                min_offset,
            },
        );
    }
    Ok(ok_body(encoded(&TopicStatsTable {
        offset_table,
        ..TopicStatsTable::default()
    })?))
}

/// Code 305.
pub(crate) fn system(broker: &Broker) -> Reply {
    Ok(ok_body(encoded(&TopicList {
        broker_addr: None,
        topic_list: broker.system.all(),
    })?))
}

/// Store time of a message, 0 when it is not stored.
pub(super) fn store_time(
    broker: &Broker,
    topic: &str,
    queue_id: i32,
    offset: i64,
) -> Result<i64, Fault> {
    Ok(broker
        .reader
        .store_time(topic, queue_id, offset)
        .map_err(|error| Fault::system_error(error.to_string()))?
        .unwrap_or(0))
}

/// A topic as it was asked for: without attributes, and the changes to them.
struct Wanted {
    config: TopicConfig,
    changes: attributes::Changes,
}

fn wanted_topic(request: &RemotingCommand) -> Result<Wanted, Fault> {
    let header: CreateTopicRequest<'_> = request.header()?;
    let filter_type: TopicFilterType = header.topic_filter_type.parse().map_err(|_| {
        Fault::system_error(format!(
            "topicFilterType {:?} is neither SINGLE_TAG nor MULTI_TAG",
            header.topic_filter_type
        ))
    })?;
    Ok(Wanted {
        config: TopicConfig {
            topic_name: header.topic.to_owned(),
            read_queue_nums: header.read_queue_nums,
            write_queue_nums: header.write_queue_nums,
            perm: header.perm,
            topic_filter_type: Some(filter_type),
            topic_sys_flag: header.topic_sys_flag.unwrap_or(0),
            order: header.order,
            attributes: BTreeMap::new(),
        },
        changes: attributes::Changes::parse(header.attributes.unwrap_or_default())
            .map_err(Fault::system_error)?,
    })
}

/// The topic as it is to be stored.
fn checked(broker: &Broker, wanted: Wanted) -> Result<TopicConfig, Fault> {
    let Wanted {
        mut config,
        changes,
    } = wanted;
    let invalid = |remark: String| Fault::new(ResponseCode::INVALID_PARAMETER, remark);
    names::check_topic(&config.topic_name).map_err(invalid)?;
    if broker.system.is_system(&config.topic_name) {
        return Err(invalid(conflict(&config.topic_name)));
    }
    for (field, queues) in [
        ("readQueueNums", config.read_queue_nums),
        ("writeQueueNums", config.write_queue_nums),
    ] {
        topics::check_queues(field, queues).map_err(invalid)?;
    }
    if changes.sets("message.type", "MIXED") {
        return Err(invalid("MIXED message type is not supported.".to_owned()));
    }
    let known = broker.topics().get(&config.topic_name);
    let current = known.map(|topic| topic.attributes.clone());
    config.attributes =
        attributes::alter(attributes::TOPIC, current, &changes).map_err(Fault::system_error)?;
    Ok(config)
}

fn set(broker: &Broker, config: TopicConfig) {
    let is_same = broker
        .topics()
        .get(&config.topic_name)
        .is_some_and(|known| *known == config);
    if !is_same {
        broker.topics().put(config.clone(), clock::wall_ms());
        announce::topic_changed(broker, &config);
    }
}

/// Answers a change once it is on disk.
pub(super) fn answer_after(broker: &Broker, responder: Responder, outcome: Result<(), Fault>) {
    match outcome {
        Err(fault) => responder.respond(fault.into_response()),
        Ok(()) => broker
            .metadata
            .after_write(move |written| answer(responder, written, ok())),
    }
}

/// Answers a change of offsets once it is on disk.
pub(super) fn answer_after_offsets(broker: &Broker, responder: Responder, reply: Reply) {
    match reply {
        Err(fault) => responder.respond(fault.into_response()),
        Ok(reply) => broker
            .metadata
            .after_offsets(move |written| answer(responder, written, reply)),
    }
}

fn answer(responder: Responder, written: Result<(), NotWritten>, reply: RemotingCommand) {
    responder.respond(into_response(
        written
            .map(|()| reply)
            .map_err(|error| Fault::system_error(error.to_string())),
    ));
}

fn conflict(topic: &str) -> String {
    format!("The topic[{topic}] is conflict with system topic.")
}
