//! Static topics: logical queues with fixed numbers, each held by some broker at a time. Java:
//! `MQClientInstance.topicRouteData2EndpointsForStaticTopic`.

use std::{collections::BTreeMap, sync::Arc};

use rocketry_protocol::body::static_topic::TopicQueueMappingInfo;

/// A queue to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriteQueue {
    /// The broker name that the queue shows: of a logical queue, that of its scope.
    pub(crate) broker_name: Arc<str>,
    pub(crate) queue_id: i32,
    /// The broker that holds it.
    pub(crate) owner: Arc<str>,
}

/// First part of the broker name of every logical queue. Java: `MixAll.LOGICAL_QUEUE_MOCK_BROKER_PREFIX`.
const PREFIX: &str = "__syslo__";
/// Holds the logical queues that no broker serves. Java: `MixAll.LOGICAL_QUEUE_MOCK_BROKER_NAME_NOT_EXIST`.
const NOBODY: &str = "__syslo__none__";
const GLOBAL_SCOPE: &str = "__global__";

/// Whether queues with that broker name are logical ones.
pub(crate) fn is_logical(broker_name: &str) -> bool {
    broker_name.starts_with(PREFIX)
}

/// The logical queues of a topic by number, at most `limit` of them. Of two brokers that claim a queue the one with the later
/// mapping has it.
pub(crate) fn logical_queues(
    mappings: &BTreeMap<String, TopicQueueMappingInfo>,
    limit: usize,
) -> Vec<WriteQueue> {
    let mut scopes: BTreeMap<&str, Vec<&TopicQueueMappingInfo>> = BTreeMap::new();
    for info in mappings.values() {
        scopes.entry(&info.scope).or_default().push(info);
    }
    let mut queues = Vec::new();
    for (scope, infos) in scopes {
        let total = infos.iter().map(|info| info.total_queues).max();
        let mut owners: BTreeMap<i32, &TopicQueueMappingInfo> = BTreeMap::new();
        for info in infos {
            for id in info.curr_id_map.keys() {
                owners
                    .entry(*id)
                    .and_modify(|known| {
                        if known.epoch <= info.epoch {
                            *known = info;
                        }
                    })
                    .or_insert(info);
            }
        }
        let broker_name: Arc<str> = mock_name(scope).into();
        let room = limit - queues.len();
        queues.extend((0..total.unwrap_or(0)).take(room).map(|queue_id| {
            let owner = owners.get(&queue_id).map_or(NOBODY, |info| &info.bname);
            WriteQueue {
                broker_name: Arc::clone(&broker_name),
                queue_id,
                owner: owner.into(),
            }
        }));
    }
    queues.sort_by_key(|queue| queue.queue_id);
    queues
}

/// Java: `TopicQueueMappingUtils.getMockBrokerName`.
fn mock_name(scope: &str) -> String {
    let scope = match scope {
        GLOBAL_SCOPE => "global__",
        other => other,
    };
    format!("{PREFIX}{scope}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(
        broker: &str,
        epoch: i64,
        total: i32,
        ids: &[i32],
    ) -> (String, TopicQueueMappingInfo) {
        let info = TopicQueueMappingInfo {
            bname: broker.to_owned(),
            epoch,
            total_queues: total,
            curr_id_map: ids.iter().map(|id| (*id, 0)).collect(),
            ..TopicQueueMappingInfo::default()
        };
        (broker.to_owned(), info)
    }
    fn owners(queues: &[WriteQueue]) -> Vec<(&str, i32, &str)> {
        let owner = |queue: &WriteQueue| queue.owner.to_string().leak() as &str;
        queues
            .iter()
            .map(|queue| (&*queue.broker_name, queue.queue_id, owner(queue)))
            .collect()
    }

    /// P-049
    #[test]
    fn the_latest_mapping_has_the_queue_and_some_queues_have_nobody() {
        let mappings = [
            mapping("a", 1, 3, &[0, 1]),
            mapping("b", 2, 4, &[1, 2]),
            mapping("c", 2, 4, &[0]),
        ];
        let queues = logical_queues(&mappings.into(), 100);
        assert_eq!(
            owners(&queues),
            [
                ("__syslo__global__", 0, "c"),
                ("__syslo__global__", 1, "b"),
                ("__syslo__global__", 2, "b"),
                ("__syslo__global__", 3, "__syslo__none__"),
            ]
        );
        assert!(is_logical(&queues[0].broker_name) && !is_logical("a"));
    }

    /// P-049, with a scope of its own; and lists have an end.
    #[test]
    fn scopes_are_apart_and_numbers_bounded() {
        let (name, mut info) = mapping("b", 1, i32::MAX, &[0]);
        info.scope = "other".to_owned();
        let mappings = [mapping("a", 1, 1, &[0]), (name, info)];
        let queues = logical_queues(&mappings.into(), 3);
        assert_eq!(
            owners(&queues),
            [
                ("__syslo__global__", 0, "a"),
                ("__syslo__other", 0, "b"),
                ("__syslo__other", 1, "__syslo__none__"),
            ]
        );
        assert!(logical_queues(&[mapping("a", 1, -5, &[])].into(), 9).is_empty());
    }
}
