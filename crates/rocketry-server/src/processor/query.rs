//! Messages by their place (33) and by key (12). Java: `QueryMessageProcessor`.

use std::{fmt::Write as _, sync::Arc};

use rocketry_protocol::{
    RemotingCommand, ResponseCode,
    header::{QueryMessageReply, QueryMessageRequest, ViewMessageRequest},
    record::Record,
};
use rocketry_remoting::Responder;
use rocketry_store::{KeyKind, KeyQuery, Reader};

use super::{ok, ok_body};
use crate::{
    access::{Actions, Caller},
    broker::Broker,
    fault::{Fault, Reply, into_response},
};

/// Queries by key that are carried out at once; others wait. Java: `queryMessageThreadPoolNums`, 8 and the number of cores.
pub(crate) const MAX_QUERIES: usize = 16;

/// Most messages of an answer. Java: `maxMsgsNumBatch`.
const MAX_MESSAGES: i32 = 64;

/// Most messages of the answer for a unique id. Java: `defaultQueryMaxNum`.
const MAX_UNIQUE: i32 = 32;

/// Most bytes of an answer, so that it fits a frame; Java has no limit and fails beyond it.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Code 33: the record at a commit-log offset. Differs from Java: an offset that is not the start of a record is not answered with
/// whatever bytes lie there.
pub(crate) fn view(reader: &Reader, request: &RemotingCommand, caller: Caller<'_>) -> Reply {
    let header: ViewMessageRequest<'_> = request.header()?;
    let record = reader
        .record_at(header.offset)
        .map_err(|error| Fault::system_error(error.to_string()))?
        .ok_or_else(|| {
            Fault::system_error(format!(
                "can not find message by the offset, {}",
                header.offset
            ))
        })?;
    let (message, _) = Record::parse(&record)?;
    caller.may_reach(&message, None, Actions::GET)?;
    Ok(ok_body(record))
}

/// Code 12: messages that have a key, tag or unique id. The index is on disk, so this does not belong on a connection's task.
pub(crate) fn by_key(broker: &Broker, request: RemotingCommand, responder: Responder) {
    let reader = broker.reader.clone();
    let turns = Arc::clone(&broker.queries);
    broker.spawn(async move {
        let Ok(_turn) = turns.acquire().await else {
            return;
        };
        let found = tokio::task::spawn_blocking(move || find(&reader, &request));
        if let Ok(reply) = found.await {
            responder.respond(into_response(reply));
        }
    });
}

/// Differs from Java: what only has the same hash is left out.
fn find(reader: &Reader, request: &RemotingCommand) -> Reply {
    let header: QueryMessageRequest<'_> = request.header()?;
    let is_unique = header.unique_key_query == Some(true);
    let max_messages = if is_unique {
        MAX_UNIQUE
    } else {
        header.max_num.min(MAX_MESSAGES)
    };
    let kind = match header.index_type {
        _ if is_unique => KeyKind::Unique,
        Some("T") => KeyKind::Tag,
        _ => KeyKind::Key,
    };
    let outcome = reader
        .query_by_key(&KeyQuery {
            topic: header.topic,
            key: header.key,
            kind,
            max_messages: usize::try_from(max_messages).unwrap_or(0),
            max_bytes: MAX_BYTES,
            begin_ms: header.begin_timestamp,
            end_ms: header.end_timestamp,
        })
        .map_err(|error| Fault::system_error(error.to_string()))?;
    let fresh = QueryMessageReply {
        index_last_update_timestamp: outcome.newest_store_ms,
        index_last_update_phyoffset: outcome.newest_log_offset,
    };
    if outcome.count > 0 {
        return Ok(ok().with_header(&fresh).with_body(outcome.messages));
    }
    let mut remark = "can not find message, maybe time range not correct".to_owned();
    if outcome.unindexed_bytes > 0 {
        let _ = write!(
            remark,
            "; the messages in the last {} bytes of the log are not indexed yet, as the index could not be written",
            outcome.unindexed_bytes
        );
    }
    Ok(RemotingCommand::response(ResponseCode::QUERY_NOT_FOUND)
        .with_remark(remark)
        .with_header(&fresh))
}
