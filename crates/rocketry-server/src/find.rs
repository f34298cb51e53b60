//! Topics and groups as requests need them: found, or made and announced.

use std::sync::{Arc, atomic::Ordering};

use rocketry_protocol::body::{groups::SubscriptionGroupConfig, topics::TopicConfig};

use crate::{
    announce,
    broker::Broker,
    groups,
    topics::{self, NotFound},
};

/// The group, created if that is allowed.
pub(crate) fn group(
    broker: &Broker,
    group: &str,
    now_ms: i64,
) -> Option<Arc<SubscriptionGroupConfig>> {
    let found = groups::find_or_create(
        broker.groups(),
        group,
        broker.auto_create_groups.load(Ordering::Relaxed),
        now_ms,
    )?;
    if found.is_new {
        broker.metadata.changed();
    }
    Some(found.config)
}

/// The topic, created from `template` if that is allowed.
pub(crate) fn topic(
    broker: &Broker,
    topic: &str,
    template: &str,
    client_queues: i32,
    topic_sys_flag: i32,
    now_ms: i64,
) -> Result<Arc<TopicConfig>, NotFound> {
    let found = topics::find_or_create(
        broker.topics(),
        topic,
        template,
        client_queues,
        topic_sys_flag,
        now_ms,
    )?;
    if found.is_new {
        announce::topic_changed(broker, &found.config);
    }
    Ok(found.config)
}

/// The topic, created readable and writable with these queues.
pub(crate) fn plain_topic(
    broker: &Broker,
    topic: &str,
    queues: i32,
    order: bool,
    now_ms: i64,
) -> Arc<TopicConfig> {
    let found = topics::find_or_create_plain(broker.topics(), topic, queues, order, now_ms);
    if found.is_new {
        announce::topic_changed(broker, &found.config);
    }
    found.config
}
