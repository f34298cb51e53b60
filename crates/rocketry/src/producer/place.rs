//! Where an attempt goes: route and select, asking a name server where that is needed.

use std::sync::Arc;

use rocketry_protocol::{Message, MessageQueue, Topic};
use tokio::time::Instant;

use super::{
    explain::Explain,
    observe::QueueChoice,
    prepare::Prepared,
    retry::Attempts,
    select::{self, Target},
    shared::Shared,
    validate, vip,
};
use crate::{
    clock,
    error::{Error, ErrorKind},
    route::{Broker, PublishRoute, RouteError, SUSPICION_PAUSE},
};

/// Where one attempt goes.
pub(super) struct Place {
    /// The queue, with the name of the broker that holds it: of a static topic, another one than the application sees.
    pub(super) queue: MessageQueue,
    pub(super) owner: Option<Arc<Broker>>,
    pub(super) address: Option<Arc<str>>,
    /// A later attempt could go to another broker.
    pub(super) alternatives: bool,
}

/// The place of the next attempt, where the cache knows it and nobody looks on; the same as [`next`] finds.
pub(super) fn at_once(
    shared: &Shared,
    prepared: &Prepared,
    target: &Target,
    last_broker: Option<&str>,
    explain: Explain<'_>,
) -> Option<Place> {
    if explain.is_watched() || !matches!(target, Target::Any | Target::Queue(_)) {
        return None;
    }
    let route = shared.core().routes.cached(prepared.topic.as_str())?;
    if route.is_empty() {
        return None;
    }
    let found = place(
        shared,
        (&prepared.topic, &route),
        target.queue(),
        last_broker,
    )?;
    found.address.is_some().then_some(found)
}

/// Finds the place of the next attempt.
pub(super) async fn next(
    shared: &Shared,
    prepared: &Prepared,
    target: &mut Target,
    tries: &Attempts<'_>,
    (explain, choice): (Explain<'_>, QueueChoice),
) -> Result<Place, Error> {
    let mark = explain.mark();
    let topic = &prepared.topic;
    let mut route = route(shared, topic, tries.deadline()).await?;
    explain.routed(mark, &route);
    let mut mark = explain.mark();
    choose(shared, target, &route, &prepared.message)?;
    if let Target::Pinned(queue) = target
        && !route.queues().contains(queue)
    {
        if clock::now().saturating_duration_since(route.told()) >= SUSPICION_PAUSE {
            let routes = &shared.core().routes;
            route = routes
                .refresh(topic, tries.deadline())
                .await
                .map_err(|error| no_route(topic, error))?;
            explain.routed(mark, &route);
            mark = explain.mark();
        }
        if !route.queues().contains(queue) {
            return Err(not_there(queue));
        }
    }
    let mut place = place(shared, (topic, &route), target.queue(), tries.last_broker())
        .ok_or_else(|| no_route(topic, RouteError::NotWritable))?;
    if place.address.is_none() {
        // Java looks into its own cache again, which cannot help; a name server may know more.
        route = shared
            .core()
            .routes
            .refresh(topic, tries.deadline())
            .await
            .map_err(|error| no_route(topic, error))?;
        explain.routed(mark, &route);
        mark = explain.mark();
        place = self::place(shared, (topic, &route), target.queue(), tries.last_broker())
            .ok_or_else(|| no_route(topic, RouteError::NotWritable))?;
    }
    explain.queue(mark, &place.queue, choice, (&route, tries.last_broker()));
    Ok(place)
}

/// The queues of a topic, from the cache or a name server.
pub(super) async fn route(
    shared: &Shared,
    topic: &Topic,
    deadline: Instant,
) -> Result<Arc<PublishRoute>, Error> {
    let queues = shared.config.topic_queues;
    let routes = &shared.core().routes;
    let route = routes.publish(topic, queues, deadline).await;
    route.map_err(|error| no_route(topic, error))
}

fn no_route(topic: &Topic, error: RouteError) -> Error {
    error.into_error(
        format!("send to topic {:?}", topic.as_str()),
        topic.as_str(),
    )
}

/// Has the application's selector choose, if there is one, or the hash of a key of strict order: once for all attempts.
pub(super) fn choose(
    shared: &Shared,
    target: &mut Target,
    route: &PublishRoute,
    message: &Message,
) -> Result<(), Error> {
    let core = shared.core();
    if let Target::Strict(hash) = *target {
        let topic = validate::check_topic(message)?;
        let layout = core.routes.layout(route, &topic);
        let layout = layout.ok_or_else(|| not_created(message))?;
        let place = select::place_of(hash, layout.len());
        let queue = place.and_then(|place| layout.get(place)).cloned();
        *target = Target::Pinned(queue.ok_or_else(|| no_route(&topic, RouteError::NotWritable))?);
    }
    if let Target::Selector(_) = target
        && let Target::Selector(selector) = std::mem::replace(target, Target::Any)
    {
        let queues = shared.namespace.unwrap_queues(route.queues());
        let shown = shared.namespace.unwrap_message(message);
        let queue = select::run_selector(selector, &queues, &shown)?;
        let queue = shared.namespace.wrap_queue(queue)?;
        same_topic(&queue, message.topic())?;
        *target = Target::Queue(queue);
    }
    Ok(())
}

/// Strict order cannot begin.
fn not_created(message: &Message) -> Error {
    let topic = message.topic();
    Error::new(
        ErrorKind::TopicNotFound,
        format!("send to topic {topic:?}"),
        format!("topic {topic:?} does not exist yet, and strict order needs to know its queues"),
    )
    .with_topic(Arc::clone(message.topic_arc()))
    .with_hint(format!("create it: rocketry topic create {topic}"))
}

/// Strict order cannot go on.
fn not_there(queue: &MessageQueue) -> Error {
    let topic = queue.topic.as_str();
    Error::new(
        ErrorKind::TopicNotWritable,
        format!("send to topic {topic:?}"),
        format!(
            "queue {} of broker {:?} cannot be written to now, and the key's order is kept there",
            queue.queue_id, queue.broker_name
        ),
    )
    .with_topic(topic)
    .with_hint(
        "send again when the broker is back; strict_shard never moves to another queue, shard does",
    )
}

fn place(
    shared: &Shared,
    (topic, route): (&Topic, &PublishRoute),
    chosen: Option<&MessageQueue>,
    last_broker: Option<&str>,
) -> Option<Place> {
    let found = |queue: MessageQueue, owner: Option<&Arc<Broker>>, alternatives| Place {
        queue,
        owner: owner.cloned(),
        address: owner.and_then(|owner| owner.master()).map(|address| {
            if shared.config.vip_channel {
                vip::address(address)
            } else {
                address
            }
        }),
        alternatives,
    };
    if let Some(queue) = chosen {
        let owner = route.owner(queue);
        let queue = MessageQueue {
            topic: queue.topic.clone(),
            broker_name: Arc::clone(owner.map_or(&queue.broker_name, |owner| &owner.name)),
            queue_id: queue.queue_id,
        };
        return Some(found(queue, owner, false));
    }
    let suspects = &shared.core().suspects;
    let is_suspect = |name: &str| shared.config.avoid_silent_brokers && suspects.contains(name);
    let index = select::next_queue(route, last_broker, &shared.faults, is_suspect, clock::now)?;
    let (queue_id, owner) = route.queue(index)?;
    let queue = MessageQueue {
        topic: topic.clone(),
        broker_name: Arc::clone(&owner.name),
        queue_id,
    };
    Some(found(queue, Some(owner), route.has_alternatives()))
}

/// Java: `Validators` in `DefaultMQProducerImpl.send(msg, mq)`, which one-way sends there leave out.
pub(super) fn same_topic(queue: &MessageQueue, topic: &str) -> Result<(), Error> {
    if queue.topic.as_str() == topic {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("send to topic {topic:?}"),
        format!(
            "the chosen queue belongs to topic {:?}",
            queue.topic.as_str()
        ),
    )
    .with_topic(topic))
}
