//! Under which names a directory was served: stored messages and receipts in clients' hands carry them.

use std::collections::BTreeSet;

use rocketry_protocol::reply_topic;

use super::{Finding, Inspection, Severity};
use crate::number::signed;

/// Followed by the cluster. Java: `PopAckConstants.REVIVE_TOPIC`
const REVIVE_PREFIX: &str = "rmq_sys_REVIVE_LOG_";
/// Followed by the broker. Java: `TopicValidator.SYNC_BROKER_MEMBER_GROUP_PREFIX`
const MEMBER_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";
/// Works the revive topic off; its offset is that of the last message dealt with. Java: `PopAckConstants.REVIVE_GROUP`
const REVIVE_GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";

/// The names that the topics of a directory give away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServedAs {
    /// Brokers, by name. More than one when it was served under several.
    pub brokers: Vec<String>,
    /// Clusters, by name.
    pub clusters: Vec<String>,
}

impl Inspection {
    /// Under which names this directory was served. Empty where the settings of its topics are lost.
    pub fn served_as(&self) -> ServedAs {
        let (mut brokers, mut clusters) = (BTreeSet::new(), BTreeSet::new());
        for topic in self.metadata.topics.all() {
            let name = topic.topic_name.as_str();
            if let Some(cluster) = name.strip_prefix(REVIVE_PREFIX) {
                clusters.insert(cluster.to_owned());
            } else if let Some(broker) = name.strip_prefix(MEMBER_PREFIX) {
                brokers.insert(broker.to_owned());
            }
        }
        ServedAs {
            brokers: brokers.into_iter().collect(),
            clusters: clusters.into_iter().collect(),
        }
    }

    /// What breaks when this directory is served by a broker of these names; `None` is a name that is not known yet.
    ///
    /// A broker looks for what was popped and for replies in topics that are named after its cluster; handles and receipts that
    /// clients have carry the broker's name.
    pub fn check_names(&self, broker: Option<&str>, cluster: Option<&str>) -> Vec<Finding> {
        let served = self.served_as();
        let mut findings = Vec::new();
        let mut warn = |what: String| {
            findings.push(Finding {
                severity: Severity::Warning,
                path: "config/topics.json".into(),
                what,
                rebuild: None,
                repairable: false,
            });
        };
        let is_new = |name: &str, known: &[String]| {
            !known.is_empty() && known.iter().all(|known| known != name)
        };
        if let Some(cluster) = cluster {
            if is_new(cluster, &served.clusters) {
                let old = served.clusters.join(", ");
                warn(format!(
                    "this directory was served in cluster {old}, not {cluster}: replies are stored in {}, no longer in {}, and what was popped and not acknowledged is looked for in {REVIVE_PREFIX}{cluster}, no longer in {REVIVE_PREFIX}{old}",
                    reply_topic(cluster),
                    reply_topic(&old),
                ));
            }
            for old in served.clusters.iter().filter(|old| old.as_str() != cluster) {
                let waiting = self.not_revived(&format!("{REVIVE_PREFIX}{old}"));
                if waiting > 0 {
                    warn(format!(
                        "{waiting} notes of popped messages in {REVIVE_PREFIX}{old} are not worked off, and a broker of cluster {cluster} does not: serve it in cluster {old} until they are, or their messages are not delivered again"
                    ));
                }
            }
        }
        if let Some(broker) = broker.filter(|broker| is_new(broker, &served.brokers)) {
            let old = served.brokers.join(", ");
            warn(format!(
                "this directory was served by broker {old}, not {broker}: handles that recall timed messages and receipts of popped messages which clients have carry the old name and lead nowhere, and consumers that keep offsets of their own begin anew"
            ));
        }
        findings
    }

    /// Messages of a revive topic that are not dealt with.
    fn not_revived(&self, topic: &str) -> i64 {
        let offsets = &self.metadata.consumer_offsets;
        let queues = self.queues.iter().map(|found| &found.queue);
        queues
            .filter(|queue| &**queue.topic() == topic)
            .map(|queue| {
                let last = offsets.get(REVIVE_GROUP, topic, queue.queue_id());
                let next = last.map_or(0, |last| last + 1).max(signed(queue.min()));
                (signed(queue.max()) - next).max(0)
            })
            .sum()
    }
}
