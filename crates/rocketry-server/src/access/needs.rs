//! What a user must be allowed to do for a request to be served.
//!
//! Java: `DefaultAuthorizationContextBuilder`, and the annotations of the header classes. Differs from Java: what its table leaves
//! out every user may do there; here it is for those who may do it to the cluster.

use rocketry_protocol::{
    RemotingCommand, RequestCode, body,
    body::{
        groups::{SubscriptionGroupConfig, SubscriptionGroupList},
        heartbeat::HeartbeatData,
        lock::LockBatchRequestBody,
        pop::BatchAckMessageRequestBody,
        topics::CreateTopicListRequestBody,
    },
    header::SendMessageRequest,
};
use serde::de::DeserializeOwned;

use super::rules::{Actions, Kind};
use crate::{
    fault::Fault,
    names::{DEFAULT_TOPIC, HALF_TOPIC, RETRY_PREFIX},
};

/// One thing to be allowed; any of the actions will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
    pub(crate) actions: Actions,
}

impl<'a> Need<'a> {
    pub(crate) const fn topic(name: &'a str, actions: Actions) -> Self {
        Self {
            kind: Kind::Topic,
            name,
            actions,
        }
    }

    /// A retry topic stands for its group. Java: `Resource.ofGroup`.
    pub(crate) fn group(name: &'a str, actions: Actions) -> Self {
        Self {
            kind: Kind::Group,
            name: name.strip_prefix(RETRY_PREFIX).unwrap_or(name),
            actions,
        }
    }

    /// What it takes to send to `topic`: to a retry topic, what it takes to consume for its group.
    pub(crate) fn publish(topic: &'a str) -> Self {
        if topic.starts_with(RETRY_PREFIX) {
            return Self::group(topic, Actions::SUB);
        }
        Self::topic(topic, Actions::PUB)
    }

    /// What it takes to reach the messages of `topic` for `group`, for which the right is asked beside it; `None`: nothing more. A retry
    /// topic belongs to the group in its name, and one of pop's has messages of one topic alone. Differs from Java, where every user
    /// reaches every retry topic.
    pub(crate) fn messages(topic: &'a str, group: Option<&str>, actions: Actions) -> Option<Self> {
        let Some(owner) = topic.strip_prefix(RETRY_PREFIX) else {
            return Some(Self::topic(topic, actions));
        };
        match group.and_then(|group| owner.strip_prefix(group)) {
            Some("") => return None,
            Some(rest) => {
                // The underscore may be one of another group's name: the topic is asked for, and not just the own group.
                if let Some(topic) = rest.strip_prefix(['+', '_']) {
                    return Some(Self::topic(topic, actions));
                }
            }
            None => {}
        }
        // No name of a group has a plus.
        let owner = owner.split_once('+').map_or(owner, |(owner, _)| owner);
        Some(Self::group(owner, actions))
    }
}

/// Java's text for a name that is not there.
const NULL: &str = "null";

/// Hands everything that `request` needs to `check`, in Java's order, until one is refused.
pub(crate) fn each(
    request: &RemotingCommand,
    cluster: &str,
    check: &mut dyn FnMut(Need<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut ask = Ask { check };
    let field = |name: &str| request.field(name).unwrap_or(NULL);
    match request.request_code() {
        RequestCode::SEND_MESSAGE
        | RequestCode::SEND_MESSAGE_V2
        | RequestCode::SEND_BATCH_MESSAGE => ask.publish(send_topic(request)),
        // Whoever got a request may answer it; what is stored elsewhere is a message like any other.
        RequestCode::SEND_REPLY_MESSAGE | RequestCode::SEND_REPLY_MESSAGE_V2 => {
            ask.reply(send_topic(request), cluster)
        }
        RequestCode::RECALL_MESSAGE => ask.topic(field("topic"), Actions::PUB),
        // The half message has the topic that counts, see `end_transaction`. Answers to a check name that of all half messages.
        RequestCode::END_TRANSACTION => match request.field("topic") {
            Some(topic) if !topic.trim().is_empty() && topic != HALF_TOPIC => {
                ask.topic(topic, Actions::PUB)
            }
            _ => Ok(()),
        },

        RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
            ask.consume(field("topic"), field("consumerGroup"), Actions::SUB)
        }
        RequestCode::CONSUMER_SEND_MSG_BACK => ask.group(field("group"), Actions::SUB),
        RequestCode::QUERY_MESSAGE => ask.topic(field("topic"), Actions::SUB.or(Actions::GET)),
        // Older clients name no topic; `query::view` looks at the message itself.
        RequestCode::VIEW_MESSAGE_BY_ID => match request.field("topic") {
            Some(topic) => ask.messages(topic, None, Actions::GET),
            None => Ok(()),
        },
        RequestCode::HEART_BEAT => ask.heartbeat(request),
        RequestCode::UNREGISTER_CLIENT => match request.field("consumerGroup") {
            Some(group) if !group.trim().is_empty() => ask.group(group, Actions::SUB),
            _ => Ok(()),
        },
        RequestCode::GET_CONSUMER_LIST_BY_GROUP => {
            ask.group(field("consumerGroup"), Actions::SUB.or(Actions::GET))
        }
        RequestCode::QUERY_CONSUMER_OFFSET => ask.offset(request, Actions::SUB.or(Actions::GET)),
        RequestCode::UPDATE_CONSUMER_OFFSET => {
            ask.offset(request, Actions::SUB.or(Actions::UPDATE))
        }
        RequestCode::LOCK_BATCH_MQ | RequestCode::UNLOCK_BATCH_MQ => ask.locks(request),
        RequestCode::BATCH_ACK_MESSAGE => ask.acks(request),

        RequestCode::UPDATE_AND_CREATE_TOPIC_LIST => {
            let list: CreateTopicListRequestBody = read(request)?;
            list.topic_config_list
                .iter()
                .try_for_each(|topic| ask.topic(&topic.topic_name, Actions::CREATE))
        }
        RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => {
            let group: SubscriptionGroupConfig = read(request)?;
            ask.group(&group.group_name, Actions::CREATE.or(Actions::UPDATE))
        }
        RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => {
            let list: SubscriptionGroupList = read(request)?;
            list.group_config_list.iter().try_for_each(|group| {
                ask.group(&group.group_name, Actions::CREATE.or(Actions::UPDATE))
            })
        }

        RequestCode::GET_ROUTEINFO_BY_TOPIC => match field("topic") {
            // Producers of a topic that is yet to be created ask for it; it says where brokers are, and nothing else.
            DEFAULT_TOPIC => Ok(()),
            topic if topic.starts_with(RETRY_PREFIX) => {
                ask.group(topic, Actions::SUB.or(Actions::GET))
            }
            topic => ask.topic(topic, Actions::PUB.or(Actions::SUB).or(Actions::GET)),
        },
        // What every client may ask: whether its filter compiles, where brokers are, which queues are its own.
        RequestCode::CHECK_CLIENT_CONFIG
        | RequestCode::GET_BROKER_CLUSTER_INFO
        | RequestCode::QUERY_ASSIGNMENT => Ok(()),
        code => ask.annotated(request, code, cluster),
    }
}

/// The topic that a send will go to: read as it will be read then, since the header may come with two sets of names. One that cannot
/// be read is not served either.
fn send_topic(request: &RemotingCommand) -> &str {
    if let Ok(header) = request.header::<SendMessageRequest<'_>>() {
        return header.topic;
    }
    let long = [RequestCode::SEND_MESSAGE, RequestCode::SEND_REPLY_MESSAGE];
    let name = if long.contains(&request.request_code()) {
        "topic"
    } else {
        "b"
    };
    request.field(name).unwrap_or(NULL)
}

struct Ask<'c> {
    check: &'c mut dyn FnMut(Need<'_>) -> Result<(), Fault>,
}

impl Ask<'_> {
    fn topic(&mut self, name: &str, actions: Actions) -> Result<(), Fault> {
        (self.check)(Need::topic(name, actions))
    }

    fn group(&mut self, name: &str, actions: Actions) -> Result<(), Fault> {
        (self.check)(Need::group(name, actions))
    }

    /// See [`Need::messages`].
    fn messages(
        &mut self,
        topic: &str,
        group: Option<&str>,
        actions: Actions,
    ) -> Result<(), Fault> {
        Need::messages(topic, group, actions).map_or(Ok(()), &mut *self.check)
    }

    fn consume(&mut self, topic: &str, group: &str, actions: Actions) -> Result<(), Fault> {
        self.messages(topic, Some(group), actions)?;
        self.group(group, actions)
    }

    fn publish(&mut self, topic: &str) -> Result<(), Fault> {
        (self.check)(Need::publish(topic))
    }

    fn reply(&mut self, topic: &str, cluster: &str) -> Result<(), Fault> {
        if topic == rocketry_protocol::reply_topic(cluster) {
            return Ok(());
        }
        self.publish(topic)
    }

    fn heartbeat(&mut self, request: &RemotingCommand) -> Result<(), Fault> {
        let data: HeartbeatData = read(request)?;
        for consumer in &data.consumer_data_set {
            self.group(&consumer.group_name, Actions::SUB)?;
            for subscription in &consumer.subscription_data_set {
                let group = Some(consumer.group_name.as_str());
                self.messages(&subscription.topic, group, Actions::SUB)?;
            }
        }
        Ok(())
    }

    fn offset(&mut self, request: &RemotingCommand, actions: Actions) -> Result<(), Fault> {
        let field = |name| request.field(name).unwrap_or(NULL);
        self.consume(field("topic"), field("consumerGroup"), actions)
    }

    fn locks(&mut self, request: &RemotingCommand) -> Result<(), Fault> {
        let body: LockBatchRequestBody = read(request)?;
        let group = Some(body.consumer_group.as_str());
        self.group(&body.consumer_group, Actions::SUB)?;
        body.mq_set
            .iter()
            .try_for_each(|queue| self.messages(&queue.topic, group, Actions::SUB))
    }

    fn acks(&mut self, request: &RemotingCommand) -> Result<(), Fault> {
        let body: BatchAckMessageRequestBody = read(request)?;
        body.acks.iter().try_for_each(|ack| {
            self.group(&ack.consumer_group, Actions::SUB)?;
            self.messages(&ack.topic, Some(&ack.consumer_group), Actions::SUB)
        })
    }

    /// What Java declares at the header class, or the cluster.
    fn annotated(
        &mut self,
        request: &RemotingCommand,
        code: RequestCode,
        cluster: &str,
    ) -> Result<(), Fault> {
        let (actions, fields) = table(code);
        let mut found = false;
        for &(kind, field) in fields {
            let Some(value) = request.field(field) else {
                continue;
            };
            let separator = match field {
                "filterGroups" => Some(','),
                "topicList" => Some(';'),
                _ => None,
            };
            for name in value.split(|c| Some(c) == separator) {
                found = true;
                match kind {
                    Kind::Group => self.group(name, actions)?,
                    Kind::Topic if name.starts_with(RETRY_PREFIX) => self.group(name, actions)?,
                    kind => (self.check)(Need {
                        kind,
                        name,
                        actions,
                    })?,
                }
            }
        }
        if found {
            return Ok(());
        }
        (self.check)(Need {
            kind: Kind::Cluster,
            name: cluster,
            actions,
        })
    }
}

type Named = &'static [(Kind, &'static str)];

/// Action and the fields that name resources; without one of them the whole cluster is meant.
fn table(code: RequestCode) -> (Actions, Named) {
    const TOPIC: (Kind, &str) = (Kind::Topic, "topic");
    const GROUP: (Kind, &str) = (Kind::Group, "group");
    const CONSUMER: (Kind, &str) = (Kind::Group, "consumerGroup");
    const CLUSTER: (Kind, &str) = (Kind::Cluster, "clusterName");
    match code {
        RequestCode::POP_MESSAGE
        | RequestCode::ACK_MESSAGE
        | RequestCode::PEEK_MESSAGE
        | RequestCode::CHANGE_MESSAGE_INVISIBLETIME
        | RequestCode::NOTIFICATION
        | RequestCode::POP_LITE_MESSAGE
        | RequestCode::CONSUME_MESSAGE_DIRECTLY => (Actions::SUB, &[CONSUMER, TOPIC]),

        RequestCode::POLLING_INFO | RequestCode::QUERY_CONSUME_QUEUE => {
            (Actions::GET, &[CONSUMER, TOPIC])
        }
        RequestCode::GET_CONSUME_STATS => {
            (Actions::GET, &[CONSUMER, TOPIC, (Kind::Topic, "topicList")])
        }
        RequestCode::GET_CONSUMER_CONNECTION_LIST | RequestCode::GET_CONSUMER_RUNNING_INFO => {
            (Actions::GET, &[CONSUMER])
        }
        RequestCode::SEARCH_OFFSET_BY_TIMESTAMP
        | RequestCode::GET_MAX_OFFSET
        | RequestCode::GET_MIN_OFFSET
        | RequestCode::GET_EARLIEST_MSG_STORETIME
        | RequestCode::GET_TOPIC_STATS_INFO
        | RequestCode::GET_TOPIC_CONFIG
        | RequestCode::QUERY_TOPIC_CONSUME_BY_WHO => (Actions::GET, &[TOPIC]),
        RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG | RequestCode::QUERY_TOPICS_BY_CONSUMER => {
            (Actions::GET, &[GROUP])
        }
        RequestCode::QUERY_CONSUME_TIME_SPAN
        | RequestCode::QUERY_SUBSCRIPTION_BY_CONSUMER
        | RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => (Actions::GET, &[TOPIC, GROUP]),
        RequestCode::QUERY_CORRECTION_OFFSET => (
            Actions::GET,
            &[
                (Kind::Group, "filterGroups"),
                (Kind::Group, "compareGroup"),
                TOPIC,
            ],
        ),

        RequestCode::UPDATE_AND_CREATE_TOPIC => (Actions::CREATE, &[TOPIC]),
        RequestCode::DELETE_TOPIC_IN_BROKER => (Actions::DELETE, &[TOPIC]),
        RequestCode::DELETE_SUBSCRIPTIONGROUP => (Actions::DELETE, &[(Kind::Group, "groupName")]),
        RequestCode::INVOKE_BROKER_TO_RESET_OFFSET
        | RequestCode::UPDATE_AND_GET_GROUP_FORBIDDEN => (Actions::UPDATE, &[GROUP, TOPIC]),
        RequestCode::CLONE_GROUP_OFFSET => (Actions::UPDATE, &[(Kind::Group, "destGroup"), TOPIC]),
        RequestCode::RESUME_CHECK_HALF_MESSAGE => (Actions::UPDATE, &[TOPIC]),

        RequestCode::REGISTER_BROKER
        | RequestCode::UNREGISTER_BROKER
        | RequestCode::BROKER_HEARTBEAT
        | RequestCode::DELETE_TOPIC_IN_NAMESRV => (Actions::UPDATE, &[CLUSTER]),
        RequestCode::QUERY_DATA_VERSION | RequestCode::GET_BROKER_MEMBER_GROUP => {
            (Actions::GET, &[CLUSTER])
        }

        RequestCode::GET_ALL_TOPIC_CONFIG
        | RequestCode::GET_BROKER_CONFIG
        | RequestCode::GET_BROKER_RUNTIME_INFO
        | RequestCode::GET_ALL_CONSUMER_OFFSET
        | RequestCode::GET_ALL_DELAY_OFFSET
        | RequestCode::GET_TIMER_CHECK_POINT
        | RequestCode::GET_TIMER_METRICS
        | RequestCode::GET_KV_CONFIG
        | RequestCode::GET_KVLIST_BY_NAMESPACE
        | RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG
        | RequestCode::GET_PRODUCER_CONNECTION_LIST
        | RequestCode::GET_ALL_PRODUCER_INFO
        | RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER
        | RequestCode::GET_TOPICS_BY_CLUSTER
        | RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS
        | RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER
        | RequestCode::GET_UNIT_TOPIC_LIST
        | RequestCode::GET_HAS_UNIT_SUB_TOPIC_LIST
        | RequestCode::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST
        | RequestCode::VIEW_BROKER_STATS_DATA
        | RequestCode::GET_BROKER_CONSUME_STATS
        | RequestCode::GET_NAMESRV_CONFIG
        | RequestCode::GET_ALL_MESSAGE_REQUEST_MODE
        | RequestCode::AUTH_GET_USER
        | RequestCode::AUTH_LIST_USER
        | RequestCode::AUTH_GET_ACL
        | RequestCode::AUTH_LIST_ACL => (Actions::GET, &[]),
        _ => (Actions::UPDATE, &[]),
    }
}

/// Java: an `AuthorizationException`, whatever was wrong.
fn read<T: DeserializeOwned>(request: &RemotingCommand) -> Result<T, Fault> {
    body::decode(&request.body).map_err(|_| super::refused("parse authorization context error."))
}

#[cfg(test)]
mod tests;
