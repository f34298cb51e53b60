//! Which queue gets the next attempt. Java: `MQFaultStrategy.selectOneMessageQueue`, `TopicPublishInfo`, the built-in selectors.

use std::sync::Arc;

use rocketry_protocol::{Message, MessageQueue, hash::java_string_hash};
use tokio::time::Instant;

use super::{fault::FaultTable, observe::QueueChoice};
use crate::{
    error::{Error, ErrorKind},
    guard::guarded,
    route::PublishRoute,
};

/// What a queue selector chose.
#[derive(Debug)]
#[non_exhaustive]
pub enum Selection {
    /// The queue at this place of the list.
    Index(usize),
    /// This queue, whether or not it is in the list.
    Queue(MessageQueue),
    /// No queue: the send fails.
    None,
    /// The selector failed: the send fails with this cause.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl From<usize> for Selection {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}
impl From<MessageQueue> for Selection {
    fn from(queue: MessageQueue) -> Self {
        Self::Queue(queue)
    }
}
impl<T: Into<Self>> From<Option<T>> for Selection {
    fn from(chosen: Option<T>) -> Self {
        chosen.map_or(Self::None, Into::into)
    }
}

pub(crate) type Selector = Box<dyn FnOnce(&[MessageQueue], &Message) -> Selection + Send>;

/// Where a message is to go.
pub(crate) enum Target {
    /// Any queue of the topic: round robin, away from the broker that failed last.
    Any,
    /// This one.
    Queue(MessageQueue),
    /// The one the application's selector chooses, once.
    Selector(Selector),
    /// The one that a key of strict order belongs to, by the key's hash.
    Strict(i32),
    /// That one, when it is known.
    Pinned(MessageQueue),
}

impl Target {
    /// How the queue is chosen, for those who want to know.
    pub(crate) fn choice(&self) -> QueueChoice {
        match self {
            Self::Any => QueueChoice::RoundRobin,
            Self::Queue(_) => QueueChoice::Caller,
            Self::Selector(_) => QueueChoice::Selector,
            Self::Strict(_) | Self::Pinned(_) => QueueChoice::StrictShard,
        }
    }

    /// Whether the application has chosen the queue.
    pub(crate) fn is_chosen(&self) -> bool {
        !matches!(self, Self::Any)
    }

    /// Whether the order of what goes there counts more than that it arrives.
    pub(crate) fn is_strict(&self) -> bool {
        matches!(self, Self::Strict(_) | Self::Pinned(_))
    }

    /// The queue, if it is known already.
    pub(crate) fn queue(&self) -> Option<&MessageQueue> {
        match self {
            Self::Queue(queue) | Self::Pinned(queue) => Some(queue),
            Self::Any | Self::Selector(_) | Self::Strict(_) => None,
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Queue(queue) => f.debug_tuple("Queue").field(queue).finish(),
            Self::Selector(_) => f.write_str("Selector"),
            Self::Strict(hash) => f.debug_tuple("Strict").field(hash).finish(),
            Self::Pinned(queue) => f.debug_tuple("Pinned").field(queue).finish(),
        }
    }
}

/// The place of the next queue in `route`; `None` only when there is no queue.
///
/// Without fault tolerance: round robin over queues of other brokers than the one that failed last, else over all. With it: over
/// available queues of other brokers, else reachable ones, else all. Before all that, over the same queues without those of brokers
/// that `is_suspect`.
pub(crate) fn next_queue(
    route: &PublishRoute,
    last_broker: Option<&str>,
    faults: &FaultTable,
    is_suspect: impl Fn(&str) -> bool,
    now: impl FnOnce() -> Instant,
) -> Option<usize> {
    if route.is_empty() {
        return None;
    }
    // of a static topic all queues name the same broker: what counts is the one that holds them
    let other = |broker: &str| last_broker != Some(broker);
    let pass = |accepts: &dyn Fn(&str) -> bool| {
        (0..route.len()).map(|_| route.advance()).find(|index| {
            route
                .owner_at(*index)
                .is_some_and(|owner| accepts(&owner.name))
        })
    };
    let answers = |broker: &str| other(broker) && !is_suspect(broker);
    let found = if faults.is_enabled() {
        let now = now();
        let available = |broker: &str| faults.is_available(broker, now);
        pass(&|broker| answers(broker) && available(broker))
            .or_else(|| pass(&|broker| other(broker) && available(broker)))
            .or_else(|| pass(&|broker| other(broker) && faults.is_reachable(broker)))
    } else {
        pass(&answers).or_else(|| pass(&other))
    };
    Some(found.unwrap_or_else(|| route.advance()))
}

/// Runs the application's selector. Its panic is caught: it fails this send only.
///
/// # Errors
/// [`ErrorKind::Selector`].
pub(crate) fn run_selector(
    selector: Selector,
    queues: &[MessageQueue],
    message: &Message,
) -> Result<MessageQueue, Error> {
    let error = |reason: String| {
        Error::new(
            ErrorKind::Selector,
            format!("send to topic {:?}", message.topic()),
            reason,
        )
        .with_topic(Arc::clone(message.topic_arc()))
    };
    match guarded("queue selector", || selector(queues, message)) {
        Err(panic) => Err(error(format!("the queue selector panicked: {panic}"))),
        Ok(Selection::Queue(queue)) => Ok(queue),
        Ok(Selection::Index(index)) => queues.get(index).cloned().ok_or_else(|| {
            error(format!(
                "the queue selector chose queue {index} of a list of {}",
                queues.len()
            ))
        }),
        Ok(Selection::None) => Err(error("the queue selector returned no queue".to_owned())),
        Ok(Selection::Failed(cause)) => {
            Err(error(format!("the queue selector failed: {cause}"))
                .with_shared_source(cause.into()))
        }
    }
}

/// Chooses by the hash of `key`, so that messages with one key stay in one queue as long as the number of queues does.
///
/// Java: `SelectMessageQueueByHash` with a string argument: the same queue for the same key.
pub fn by_hash(
    key: impl AsRef<str>,
) -> impl FnOnce(&[MessageQueue], &Message) -> Selection + Send + 'static {
    let hash = java_string_hash(key.as_ref());
    move |queues, _| match place_of(hash, queues.len()) {
        Some(place) => Selection::Index(place),
        None => Selection::None,
    }
}

/// The place among `count` queues of a key with that hash.
pub(crate) fn place_of(hash: i32, count: usize) -> Option<usize> {
    let count = i32::try_from(count).ok().filter(|count| *count > 0)?;
    Some((hash % count).unsigned_abs() as usize)
}

/// Chooses at random among the queues of brokers in one of these rooms: the part of a broker's name before its `@`. No queue there is
/// [`Selection::None`], which fails the send.
///
/// Java: `SelectMessageQueueByMachineRoom`, which always chooses nothing; the names are those of
/// `AllocateMessageQueueByMachineRoom`.
pub fn by_machine_room<R: Into<String>>(
    rooms: impl IntoIterator<Item = R>,
) -> impl FnOnce(&[MessageQueue], &Message) -> Selection + Send + 'static {
    let rooms: Vec<String> = rooms.into_iter().map(Into::into).collect();
    move |queues, _| {
        let near = |queue: &MessageQueue| {
            let room = queue.broker_name.split_once('@').map(|(room, _)| room);
            room.is_some_and(|room| rooms.iter().any(|known| known == room))
        };
        let places = queues.iter().enumerate().filter(|(_, queue)| near(queue));
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        fastrand::choice(places).into()
    }
}

/// Chooses at random. Java: `SelectMessageQueueByRandom`.
pub fn by_random() -> impl FnOnce(&[MessageQueue], &Message) -> Selection + Send + 'static {
    |queues, _| match queues.len() {
        0 => Selection::None,
        n => Selection::Index(fastrand::usize(..n)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        producer::fault::{LatencyPolicy, Observation},
        route::tests::route_of,
    };

    fn off() -> FaultTable {
        FaultTable::new(false, LatencyPolicy::default())
    }
    fn on() -> FaultTable {
        FaultTable::new(true, LatencyPolicy::default())
    }
    fn fail(table: &FaultTable, broker: &str, reachable: bool) {
        let seen = Observation {
            latency: Duration::ZERO,
            isolate: true,
            reachable,
        };
        table.record(&broker.into(), seen, crate::clock::now());
    }

    /// P-050
    #[test]
    fn queues_are_visited_in_order_from_a_random_start() {
        let now = crate::clock::now();
        let route = route_of("T", &[("a", 3), ("b", 2)]);
        let seen: Vec<_> = (0..10)
            .map(|_| next_queue(&route, None, &off(), |_| false, || now).unwrap())
            .collect();
        for pair in seen.windows(2) {
            assert_eq!((pair[0] + 1) % 5, pair[1]);
        }
        let mut first = [0; 5];
        for _ in 0..2000 {
            let route = route_of("T", &[("a", 3), ("b", 2)]);
            first[next_queue(&route, None, &off(), |_| false, || now).unwrap()] += 1;
        }
        assert!(first.iter().all(|n| (300..500).contains(n)), "{first:?}");
    }

    /// P-051, P-052
    #[test]
    fn a_retry_leaves_the_broker_that_failed_unless_it_is_alone() {
        let now = crate::clock::now();
        let two = route_of("T", &[("a", 3), ("b", 2)]);
        for _ in 0..50 {
            let index = next_queue(&two, Some("a"), &off(), |_| false, || now).unwrap();
            assert_eq!(&*two.queues()[index].broker_name, "b");
        }
        let one = route_of("T", &[("a", 3)]);
        let first = next_queue(&one, Some("a"), &off(), |_| false, || now).unwrap();
        let second = next_queue(&one, Some("a"), &off(), |_| false, || now).unwrap();
        assert_eq!((first + 1) % 3, second);
        let none = route_of("T", &[]);
        assert_eq!(next_queue(&none, None, &off(), |_| false, || now), None);
    }

    /// P-054, P-057
    #[test]
    fn isolated_brokers_are_avoided_while_another_is_left() {
        let now = crate::clock::now();
        let route = route_of("T", &[("a", 2), ("b", 2), ("c", 2)]);
        let broker = |last: Option<&str>, table: &FaultTable, now| {
            let index = next_queue(&route, last, table, |_| false, || now).unwrap();
            route.queues()[index].broker_name.to_string()
        };
        let faults = on();
        fail(&faults, "a", true);
        for _ in 0..20 {
            assert_ne!(broker(None, &faults, now), "a");
            assert_eq!(broker(Some("b"), &faults, now), "c");
        }
        // all isolated, but reachable: another one than the last
        fail(&faults, "b", true);
        fail(&faults, "c", false);
        for _ in 0..20 {
            assert_eq!(broker(Some("a"), &faults, now), "b");
        }
        // all unreachable: plain round robin, never no queue
        fail(&faults, "a", false);
        fail(&faults, "b", false);
        let mut seen: Vec<_> = (0..6).map(|_| broker(Some("a"), &faults, now)).collect();
        seen.sort();
        assert_eq!(seen, ["a", "a", "b", "b", "c", "c"]);
        // and selectable again afterwards
        let later = now + Duration::from_secs(11);
        let mut seen: Vec<_> = (0..6).map(|_| broker(None, &faults, later)).collect();
        seen.sort();
        assert_eq!(seen, ["a", "a", "b", "b", "c", "c"]);
    }

    #[test]
    fn brokers_that_do_not_answer_are_avoided_while_another_is_left() {
        let now = crate::clock::now();
        let route = route_of("T", &[("a", 2), ("b", 2), ("c", 2)]);
        let broker = |last: Option<&str>, suspects: &[&str]| {
            let index = next_queue(
                &route,
                last,
                &off(),
                |name| suspects.contains(&name),
                || now,
            );
            route.queues()[index.unwrap()].broker_name.to_string()
        };
        for _ in 0..20 {
            assert_ne!(broker(None, &["a"]), "a");
            assert_eq!(broker(Some("b"), &["a"]), "c");
            // better one that does not answer than the one that failed just now
            assert_ne!(broker(Some("c"), &["a", "b"]), "c");
        }
        let mut seen: Vec<_> = (0..6).map(|_| broker(None, &["a", "b", "c"])).collect();
        seen.sort();
        assert_eq!(seen, ["a", "a", "b", "b", "c", "c"]);
    }

    /// P-092, with values that Java computed
    #[test]
    fn hashes_choose_as_java_does() {
        let index = |key: &str, brokers: &[(&str, i32)]| {
            let route = route_of("T", brokers);
            let message = Message::new("T", "x");
            let queue = run_selector(Box::new(by_hash(key)), route.queues(), &message).unwrap();
            route.queues().iter().position(|q| *q == queue).unwrap()
        };
        assert_eq!(index("order-1", &[("a", 3), ("b", 2)]), 0);
        assert_eq!(index("order-1", &[("a", 4)]), 2);
    }

    /// P-093
    #[test]
    fn a_selector_that_fails_fails_only_its_send() {
        let route = route_of("T", &[("a", 2)]);
        let message = Message::new("T", "x");
        let error = |selector: Selector| {
            let error = run_selector(selector, route.queues(), &message).unwrap_err();
            assert_eq!((error.kind(), error.java_code()), (ErrorKind::Selector, -1));
            error
        };
        assert!(
            error(Box::new(|_, _| Selection::None))
                .to_string()
                .contains("returned no queue")
        );
        assert!(
            error(Box::new(|_, _| 7.into()))
                .to_string()
                .contains("queue 7 of a list of 2")
        );
        let failed = error(Box::new(|_, _| Selection::Failed("boom".into())));
        assert!(
            std::error::Error::source(&failed).is_some_and(|cause| cause.to_string() == "boom")
        );
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let panicked = error(Box::new(|_, _| panic!("oops")));
        std::panic::set_hook(quiet);
        assert!(
            panicked.to_string().contains("panicked: oops"),
            "{panicked}"
        );
    }

    /// P-093
    #[test]
    fn machine_rooms_choose_among_their_brokers_or_nothing() {
        let route = route_of("T", &[("hz@a", 2), ("sh@b", 1), ("nowhere", 3)]);
        let message = Message::new("T", "x");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let selector = by_machine_room(["hz", "bj"]);
            let queue = run_selector(Box::new(selector), route.queues(), &message).unwrap();
            seen.insert((queue.broker_name.to_string(), queue.queue_id));
        }
        let near = [("hz@a".to_owned(), 0), ("hz@a".to_owned(), 1)];
        assert_eq!(seen, near.into());
        for rooms in [vec!["bj"], vec!["nowhere"], vec![]] {
            let selector = by_machine_room(rooms);
            let error = run_selector(Box::new(selector), route.queues(), &message).unwrap_err();
            assert_eq!((error.kind(), error.java_code()), (ErrorKind::Selector, -1));
        }
    }

    #[test]
    fn random_choices_cover_all_queues() {
        let route = route_of("T", &[("a", 4)]);
        let message = Message::new("T", "x");
        let mut seen = [false; 4];
        for _ in 0..500 {
            let queue = run_selector(Box::new(by_random()), route.queues(), &message).unwrap();
            seen[usize::try_from(queue.queue_id).unwrap()] = true;
        }
        assert_eq!(seen, [true; 4]);
        assert!(matches!(by_random()(&[], &message), Selection::None));
        assert!(matches!(by_hash("k")(&[], &message), Selection::None));
    }
}
