//! What has to happen when a topic or a group of consumers changed: persist it, tell the name server, tell the clients.

use std::time::Duration;

use rocketry_protocol::{
    RemotingCommand, body::topics::TopicConfig, header::NotifyConsumerIdsChangedRequest,
};
use rocketry_remoting::{Connection, Deadline};

use crate::{broker::Broker, clients::GroupChange};

/// Longest time to hand a notification to a client that does not read.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(3);

/// A topic was made or changed.
pub(crate) fn topic_changed(broker: &Broker, topic: &TopicConfig) {
    broker.metadata.changed();
    set_in_own_name_server(broker, topic);
    broker.topic_changes.note(&topic.topic_name);
}

/// A topic was deleted.
pub(crate) fn topic_removed(broker: &Broker, topic: &str) {
    broker.metadata.changed();
    if let Some(name_server) = &broker.name_server {
        name_server.remove_topic_of(&broker.identity.broker_name, topic);
    }
    broker.topic_changes.note(topic);
}

/// What the broker as a whole permits was changed: every topic's route shows it.
pub(crate) fn permission_changed(broker: &Broker, now_ms: i64) {
    broker.topics().step_version(now_ms);
    if broker.name_server.is_some() {
        for topic in broker.topics().all() {
            set_in_own_name_server(broker, &topic);
        }
    }
    broker.topic_changes.note_all();
}

fn set_in_own_name_server(broker: &Broker, topic: &TopicConfig) {
    if let Some(name_server) = &broker.name_server {
        let perm = broker.permitted(topic.perm);
        name_server.set_topic(&broker.identity.broker_name, topic, perm);
    }
}

/// Tells every member of a group that the group changed, so that queues are shared out anew (code 40).
/// Java: `DefaultConsumerIdsChangeListener`.
pub(crate) fn consumers_changed(broker: &Broker, change: GroupChange<Connection>) {
    let is_enabled = broker
        .groups()
        .get(&change.group)
        .is_none_or(|group| group.notify_consumer_ids_changed_enable);
    if !is_enabled || change.tell.is_empty() {
        return;
    }
    broker.spawn(async move {
        let deadline = Deadline::after(NOTIFY_TIMEOUT);
        let command = RemotingCommand::request(&NotifyConsumerIdsChangedRequest {
            consumer_group: &change.group,
        });
        for connection in change.tell {
            if let Err(error) = connection.oneway(command.clone(), deadline).await {
                tracing::debug!(%error, group = change.group, "a consumer was not told of a change");
            }
        }
    });
}
