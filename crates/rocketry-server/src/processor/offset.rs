//! Offsets: of consumer groups (14, 15), of queues (29 to 32). Java: `ConsumerManageProcessor`, `AdminBrokerProcessor`.

use rocketry_protocol::{
    Fields, RemotingCommand, ResponseCode,
    header::{
        BoundaryType, GetEarliestMsgStoretimeRequest, GetMaxOffsetRequest, GetMinOffsetRequest,
        OffsetReply, QueryConsumerOffsetRequest, SearchOffsetRequest, TimestampReply,
        UpdateConsumerOffsetRequest,
    },
};
use rocketry_store::{Boundary, Reader};

use super::{ok, ok_empty};
use crate::{
    broker::Broker,
    fault::{Fault, Reply},
    offsets::Commit,
};

/// Code 14. A group that never committed starts at 0 as long as the queue has never been cleaned.
pub(crate) fn query_consumer(broker: &Broker, request: &RemotingCommand) -> Reply {
    let header: QueryConsumerOffsetRequest<'_> = request.header()?;
    let known = broker
        .offsets
        .query(header.consumer_group, header.topic, header.queue_id)
        .filter(|offset| *offset >= 0);
    if let Some(offset) = known {
        return Ok(ok().with_header(&OffsetReply { offset }));
    }
    if header.set_zero_if_not_found == Some(false) {
        return Err(not_found(
            "Not found, do not set to zero, maybe this group boot first",
        ));
    }
    let range = broker.reader.queue_range(header.topic, header.queue_id);
    match range {
        // An empty queue has no message 0 to be found, as in Java.
        Some(range) if range.min <= 0 && range.max > 0 => {
            Ok(ok().with_header(&OffsetReply { offset: 0 }))
        }
        _ => Err(not_found(
            "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first",
        )),
    }
}

/// Code 15.
pub(crate) fn update_consumer(broker: &Broker, request: &RemotingCommand, now_ms: i64) -> Reply {
    let header: UpdateConsumerOffsetRequest<'_> = request.header()?;
    if broker.groups().get(header.consumer_group).is_none() {
        return Err(Fault::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            format!("Group {} not exist!", header.consumer_group),
        ));
    }
    if broker.topics().get(header.topic).is_none() {
        return Err(Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            format!("Topic {} not exist!", header.topic),
        ));
    }
    let commit = broker.offsets.commit(
        header.consumer_group,
        header.topic,
        header.queue_id,
        header.commit_offset,
        now_ms,
    );
    Ok(match commit {
        Commit::Done => ok_empty(),
        Commit::Reset => ok_empty().with_remark("Offset has been previously reset"),
    })
}

/// Code 30.
pub(crate) fn max(reader: &Reader, request: &RemotingCommand) -> Reply {
    let header: GetMaxOffsetRequest<'_> = request.header()?;
    let offset = reader
        .queue_range(header.topic, header.queue_id)
        .map_or(0, |range| range.max);
    Ok(ok().with_header(&OffsetReply { offset }))
}

/// Code 31.
pub(crate) fn min(reader: &Reader, request: &RemotingCommand) -> Reply {
    let header: GetMinOffsetRequest<'_> = request.header()?;
    let offset = reader
        .queue_range(header.topic, header.queue_id)
        .map_or(0, |range| range.min);
    Ok(ok().with_header(&OffsetReply { offset }).with_remark(""))
}

/// Code 29.
pub(crate) fn search(reader: &Reader, request: &RemotingCommand) -> Reply {
    let header: SearchOffsetRequest<'_> = request.header()?;
    let boundary = match header.boundary_type.unwrap_or_default() {
        BoundaryType::Lower => Boundary::Lower,
        BoundaryType::Upper => Boundary::Upper,
    };
    let offset = reader
        .offset_by_time(header.topic, header.queue_id, header.timestamp, boundary)
        .map_err(|error| Fault::system_error(error.to_string()))?;
    Ok(ok().with_header(&OffsetReply { offset }))
}

/// Code 32.
pub(crate) fn earliest_store_time(reader: &Reader, request: &RemotingCommand) -> Reply {
    let header: GetEarliestMsgStoretimeRequest<'_> = request.header()?;
    let timestamp = reader
        .earliest_store_time(header.topic, header.queue_id)
        .map_err(|error| Fault::system_error(error.to_string()))?
        .unwrap_or(-1);
    Ok(ok().with_header(&TimestampReply { timestamp }))
}

fn not_found(remark: &str) -> Fault {
    Fault::new(ResponseCode::QUERY_NOT_FOUND, remark).with_fields(Fields::default())
}
