//! Which queues a client of a group reads, and how (400, 401). Java: `QueryAssignmentProcessor`.

use std::sync::Arc;

use rocketry_protocol::{
    RemotingCommand, ResponseCode, body,
    body::{
        Queue,
        assignment::{
            MessageQueueAssignment, MessageRequestMode, QueryAssignmentRequestBody,
            QueryAssignmentResponseBody, SetMessageRequestModeRequestBody,
        },
        heartbeat::MessageModel,
    },
};
use rocketry_remoting::Responder;

use super::{body_of, encoded, ok, ok_body};
use crate::{
    broker::Broker,
    clock,
    fault::{Fault, Reply, into_response},
    find,
    names::{self, RETRY_PREFIX},
    pop::ANY_QUEUE,
};

/// Code 400. Without an answer in the body the client keeps what it has.
pub(crate) fn query(broker: &Broker, request: &RemotingCommand) -> Reply {
    let asked: QueryAssignmentRequestBody = body::decode(body_of(request)?)?;
    let mode = mode_of(broker, &asked);
    let queues = assign(broker, &asked, &mode);
    let assignments = queues.map(|queues| {
        queues
            .into_iter()
            .map(|queue_id| MessageQueueAssignment {
                attachments: None,
                message_queue: Some(Queue::new(
                    &*asked.topic,
                    &*broker.identity.broker_name,
                    queue_id,
                )),
                mode: mode.mode,
            })
            .collect()
    });
    Ok(ok_body(encoded(&QueryAssignmentResponseBody {
        message_queue_assignments: assignments,
    })?))
}

/// How the group reads the topic; what nobody set is pulled, and so are retry topics.
fn mode_of(
    broker: &Broker,
    asked: &QueryAssignmentRequestBody,
) -> SetMessageRequestModeRequestBody {
    let (topic, group) = (&asked.topic, &asked.consumer_group);
    let set = broker.request_modes.get(topic, group);
    set.filter(|_| !topic.starts_with(RETRY_PREFIX))
        .unwrap_or_else(|| SetMessageRequestModeRequestBody {
            consumer_group: group.clone(),
            mode: Some(MessageRequestMode::Pull),
            pop_share_queue_num: -1,
            topic: topic.clone(),
        })
}

fn assign(
    broker: &Broker,
    asked: &QueryAssignmentRequestBody,
    mode: &SetMessageRequestModeRequestBody,
) -> Option<Vec<i32>> {
    let topic = broker.topics().get(&asked.topic)?;
    let queues = topic.read_queue_nums;
    if asked.message_model == Some(MessageModel::Broadcasting) {
        return Some((0..queues).collect());
    }
    let clients = broker.clients.lock().consumer_ids(&asked.consumer_group);
    let index = clients.iter().position(|id| *id == asked.client_id)?;
    let (index, clients) = (
        i32::try_from(index).ok()?,
        i32::try_from(clients.len()).ok()?,
    );
    let strategy = Strategy::named(&asked.strategy_name)?;
    if mode.mode != Some(MessageRequestMode::Pop) {
        return Some(strategy.share(queues, clients, index));
    }
    let shared = mode.pop_share_queue_num;
    Some(if shared <= 0 || shared >= clients - 1 {
        vec![ANY_QUEUE]
    } else if clients <= queues {
        // Own queues, and those of the next clients.
        (0..=shared)
            .flat_map(|next| strategy.share(queues, clients, (index + next) % clients))
            .collect()
    } else {
        vec![index % queues.max(1)]
    })
}

/// How queues are shared out among clients, both in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    Averaging,
    Circle,
}

impl Strategy {
    fn named(name: &str) -> Option<Self> {
        match name {
            "AVG" => Some(Self::Averaging),
            "AVG_BY_CIRCLE" => Some(Self::Circle),
            _ => None,
        }
    }

    /// Java: `AllocateMessageQueueAveragely`, `AllocateMessageQueueAveragelyByCircle`.
    fn share(self, queues: i32, clients: i32, index: i32) -> Vec<i32> {
        match self {
            Self::Averaging => {
                let (each, more) = (queues / clients.max(1), queues % clients.max(1));
                let start = index * each + index.min(more);
                let end = start + each + i32::from(index < more);
                (start..end).collect()
            }
            Self::Circle => (0..queues)
                .filter(|queue| queue % clients.max(1) == index)
                .collect(),
        }
    }
}

/// Code 401.
pub(crate) fn set_mode(broker: &Arc<Broker>, request: &RemotingCommand, responder: Responder) {
    let mode = match check_mode(broker, request) {
        Ok(mode) => mode,
        Err(fault) => return responder.respond(fault.into_response()),
    };
    let broker_of_task = Arc::clone(broker);
    broker.tasks.spawn_blocking(move || {
        let written = broker_of_task.request_modes.set(mode);
        let reply = written
            .map(|()| ok())
            .map_err(|error| Fault::system_error(format!("the mode was not written: {error}")));
        responder.respond(into_response(reply));
    });
}

fn check_mode(
    broker: &Broker,
    request: &RemotingCommand,
) -> Result<SetMessageRequestModeRequestBody, Fault> {
    let mode: SetMessageRequestModeRequestBody = body::decode(body_of(request)?)?;
    let (topic, group) = (&mode.topic, &mode.consumer_group);
    if topic.starts_with(RETRY_PREFIX) {
        return Err(Fault::new(
            ResponseCode::NO_PERMISSION,
            "retry topic is not allowed to set mode",
        ));
    }
    if broker.topics().get(topic).is_none() {
        return Err(Fault::new(
            ResponseCode::TOPIC_NOT_EXIST,
            names::with_hint(format!("topic[{topic}] not exist, apply first please! ")),
        ));
    }
    if find::group(broker, group, clock::wall_ms()).is_none() {
        return Err(Fault::new(
            ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            names::with_hint(format!("subscription group [{group}] does not exist, ")),
        ));
    }
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-087 for the shares.
    #[test]
    fn s087_queues_are_shared_out_in_order() {
        let all = |strategy: Strategy, queues, clients| {
            (0..clients)
                .map(|index| strategy.share(queues, clients, index))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            all(Strategy::Averaging, 8, 3),
            [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]
        );
        assert_eq!(all(Strategy::Averaging, 2, 3), [vec![0], vec![1], vec![]]);
        assert_eq!(all(Strategy::Circle, 5, 2), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(Strategy::named("MACHINE_ROOM"), None);
    }
}
