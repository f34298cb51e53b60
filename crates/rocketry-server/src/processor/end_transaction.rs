//! A producer decides a transaction (37). Java: `EndTransactionProcessor`.

use std::sync::Arc;

use rocketry_protocol::{
    RemotingCommand, ResponseCode,
    header::{EndTransactionRequest, transaction_state},
    properties::name,
};
use rocketry_remoting::Responder;

use super::ok;
use crate::{
    access::Caller,
    broker::Broker,
    clock,
    fault::{Fault, into_response},
    names::TIMER_TOPIC,
    put,
    transaction::{Begun, half::Half, op_put},
    writer::{Origin, Put},
};

/// Checks the request, delivers or drops the message, and answers when that is stored. There is no answer to a decision that is none.
pub(crate) fn end(
    broker: &Broker,
    request: &RemotingCommand,
    caller: Caller<'_>,
    responder: Responder,
) {
    let now_ms = clock::wall_ms();
    let header: EndTransactionRequest<'_> = match request.header() {
        Ok(header) => header,
        Err(error) => return responder.respond(Fault::from(error).into_response()),
    };
    let commits = match header.commit_or_rollback {
        transaction_state::COMMIT => true,
        transaction_state::ROLLBACK => false,
        0 => return,
        _ => {
            let remark = "commitOrRollback field wrong";
            return responder.respond(Fault::system_error(remark).into_response());
        }
    };
    let found = find(broker, &header, now_ms)
        .and_then(|half| caller.may_decide(half.real_topic()).map(|()| half));
    let half = match found {
        Ok(half) => half,
        Err(fault) => return responder.respond(fault.into_response()),
    };
    let offset = half.queue_offset;
    match broker.decisions.begin(offset) {
        Begun::Yes { op } => carry_out(broker, half, commits, op, responder),
        Begun::Reserved => {
            let later = Box::new(move |broker: &Broker, op| {
                carry_out(broker, half, commits, op, responder);
            });
            if let Some((later, op)) = broker.decisions.wait(offset, later) {
                later(broker, op);
            }
        }
        Begun::Settled => responder.respond(ok()),
        Begun::UnderWay => {
            let remark = "another decision of this transaction is being written";
            responder.respond(Fault::system_error(remark).into_response());
        }
    }
}

/// Writes a decision that has begun; `op` is the text that records it.
fn carry_out(broker: &Broker, half: Half, commits: bool, op: String, responder: Responder) {
    let now_ms = clock::wall_ms();
    let op = op_put(broker, op, now_ms);
    let (put, companion) = if commits {
        match delivered(broker, &half, now_ms) {
            Ok(put) => (put, Some(op)),
            Err(fault) => {
                broker.decisions.end(half.queue_offset, false);
                return responder.respond(fault.into_response());
            }
        }
    } else {
        (op, None)
    };
    let decisions = Arc::clone(&broker.decisions);
    let stats = Arc::clone(&broker.stats);
    let max_message_bytes = broker.config.max_message_bytes;
    let bytes = put.body.len() as u64;
    put::submit_request(broker, put, companion, move |outcome| {
        decisions.end(half.queue_offset, outcome.is_ok());
        match &outcome {
            Ok(_) if commits => stats.count_put(1, bytes),
            Ok(_) => {}
            Err(_) => stats.count_put_failed(),
        }
        let reply = outcome.map_err(|failure| failure.into_fault(max_message_bytes));
        responder.respond(into_response(reply.map(|_| ok())));
    });
}

fn find(broker: &Broker, header: &EndTransactionRequest<'_>, now_ms: i64) -> Result<Half, Fault> {
    let record = broker
        .reader
        .record_at(header.commit_log_offset)
        .map_err(|error| Fault::system_error(error.to_string()))?;
    let half = record.map(Half::read).transpose()?.flatten();
    let half =
        half.ok_or_else(|| Fault::system_error("Find prepared transaction message failed"))?;
    let timeout_ms = broker.transaction_timeout_ms();
    if !header.from_transaction_check
        && let Some(immunity_ms) = half.immunity_ms(timeout_ms)
        && now_ms.saturating_sub(half.born_ms) > immunity_ms.max(timeout_ms)
    {
        return Err(Fault::new(
            ResponseCode::ILLEGAL_OPERATION,
            "the decision came after the time in which the transaction is not checked, the check decides",
        ));
    }
    if half.properties.get(name::PGROUP) != Some(header.producer_group) {
        return Err(Fault::system_error("The producer group wrong"));
    }
    if half.queue_offset != header.tran_state_table_offset {
        return Err(Fault::system_error(
            "The transaction state table offset wrong",
        ));
    }
    if half.log_offset != header.commit_log_offset {
        return Err(Fault::system_error("The commit log offset wrong"));
    }
    Ok(half)
}

fn delivered(broker: &Broker, half: &Half, now_ms: i64) -> Result<Put, Fault> {
    let (mut put, mut properties) = half.committed(broker).ok_or_else(|| {
        Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            format!(
                "topic[{}] not exist: it was deleted after the half message was sent",
                half.real_topic()
            ),
        )
    })?;
    put::delay(broker, &mut put, &mut properties, now_ms)?;
    if put.topic.topic_name == TIMER_TOPIC {
        // It needs the time that was just added.
        put.origin = Origin::Stored { bare: None };
    }
    put.properties = properties.into_string();
    Ok(put)
}
