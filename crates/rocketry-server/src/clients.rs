//! Which producers and consumers are online, by group and by connection.
//!
//! Plain data: it decides who has to be told about a change, the caller tells them. Java: `ProducerManager`, `ConsumerManager`,
//! `ConsumerGroupInfo`.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use rocketry_protocol::{
    Language,
    body::heartbeat::{
        ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData,
    },
};

/// Time without a heartbeat after which a client is removed. Java: `channelExpiredTimeout`.
pub(crate) const CLIENT_EXPIRY_MS: i64 = 120_000;

/// Time after which the trace of a consumer that only pulls is forgotten. Java: `subscriptionExpiredTimeout`.
const PULL_ONLY_EXPIRY_MS: i64 = 600_000;

/// One client of one group. `C` is the connection it can be reached on.
#[derive(Debug, Clone)]
pub(crate) struct Member<C> {
    pub(crate) connection: C,
    pub(crate) client_id: String,
    /// As whom it introduced itself, where users are asked for.
    pub(crate) user: Option<Arc<str>>,
    pub(crate) language: Option<Language>,
    pub(crate) version: i32,
    pub(crate) last_ms: i64,
}

/// What a consumer group said about itself in its latest heartbeat.
#[derive(Debug)]
pub(crate) struct ConsumerGroup<C> {
    members: HashMap<u64, Member<C>>,
    pub(crate) subscriptions: HashMap<String, SubscriptionData>,
    pub(crate) consume_type: Option<ConsumeType>,
    pub(crate) message_model: Option<MessageModel>,
    pub(crate) consume_from_where: Option<ConsumeFromWhere>,
    /// Of the latest heartbeat of version 2; 0 = none.
    fingerprint: i32,
}

impl<C> ConsumerGroup<C> {
    pub(crate) fn is_broadcasting(&self) -> bool {
        self.message_model == Some(MessageModel::Broadcasting)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member<C>> {
        self.members.values()
    }
}

/// Members of a consumer group that must be told that it changed (code 40).
#[derive(Debug)]
pub(crate) struct GroupChange<C> {
    pub(crate) group: String,
    pub(crate) tell: Vec<C>,
}

/// The tables. Connections are named by their id.
#[derive(Debug)]
pub(crate) struct Clients<C> {
    producers: HashMap<String, HashMap<u64, Member<C>>>,
    /// The latest connection of a producer's client id.
    by_producer_id: HashMap<String, (u64, C)>,
    consumers: HashMap<String, ConsumerGroup<C>>,
    by_connection: HashMap<u64, Groups>,
    pull_only: HashMap<String, PullOnly>,
}

#[derive(Debug, Default)]
struct Groups {
    producer: HashSet<String>,
    /// What the connection called itself as a producer.
    producer_ids: HashSet<String>,
    consumer: HashSet<String>,
}

/// A group seen only in pulls that carry their own subscription. Java: "compensation".
#[derive(Debug, Default)]
struct PullOnly {
    topics: HashMap<String, i64>,
}

impl<C> Default for Clients<C> {
    fn default() -> Self {
        Self {
            producers: HashMap::new(),
            by_producer_id: HashMap::new(),
            consumers: HashMap::new(),
            by_connection: HashMap::new(),
            pull_only: HashMap::new(),
        }
    }
}

impl<C: Clone> Clients<C> {
    /// Registers a connection as a producer of `group`.
    pub(crate) fn register_producer(&mut self, group: &str, connection_id: u64, member: Member<C>) {
        match self.by_producer_id.get_mut(&member.client_id) {
            Some(known) if known.0 == connection_id => {}
            Some(known) => *known = (connection_id, member.connection.clone()),
            None => {
                let known = (connection_id, member.connection.clone());
                self.by_producer_id.insert(member.client_id.clone(), known);
            }
        }
        let groups = self.by_connection.entry(connection_id).or_default();
        groups.producer.insert(group.to_owned());
        if !groups.producer_ids.contains(&member.client_id) {
            groups.producer_ids.insert(member.client_id.clone());
        }
        self.producers
            .entry(group.to_owned())
            .or_default()
            .insert(connection_id, member);
    }

    /// Registers a connection as a consumer; returns whom to tell when the group changed by it.
    ///
    /// `keep_subscriptions` is the second form of heartbeat, which leaves them out. Java: `ConsumerManager.registerConsumer`.
    pub(crate) fn register_consumer(
        &mut self,
        data: &ConsumerData,
        connection_id: u64,
        member: Member<C>,
        keep_subscriptions: bool,
    ) -> Option<GroupChange<C>> {
        let group = self
            .consumers
            .entry(data.group_name.clone())
            .or_insert_with(|| ConsumerGroup {
                members: HashMap::new(),
                subscriptions: HashMap::new(),
                consume_type: None,
                message_model: None,
                consume_from_where: None,
                fingerprint: 0,
            });
        group.consume_type = data.consume_type;
        group.message_model = data.message_model;
        group.consume_from_where = data.consume_from_where;
        let is_new = group.members.insert(connection_id, member).is_none();
        let topics_changed =
            !keep_subscriptions && update_subscriptions(group, &data.subscription_data_set);
        self.by_connection
            .entry(connection_id)
            .or_default()
            .consumer
            .insert(data.group_name.clone());
        if is_new || topics_changed {
            self.change_of(&data.group_name)
        } else {
            None
        }
    }

    /// Stores the fingerprint of a heartbeat; returns whether the client is to send its subscriptions with the next one: the group had
    /// another fingerprint before, or knows none of the subscriptions that this one leaves out.
    /// Java: `ConsumerManager`, `ClientManageProcessor.heartBeatV2`.
    pub(crate) fn wants_subscriptions(
        &mut self,
        group: &str,
        fingerprint: i32,
        are_left_out: bool,
    ) -> bool {
        self.consumers.get_mut(group).is_some_and(|group| {
            let before = std::mem::replace(&mut group.fingerprint, fingerprint);
            let is_other = before != 0 && before != fingerprint;
            is_other || (are_left_out && group.subscriptions.is_empty())
        })
    }

    /// Removes a connection from the groups it names; returns whom to tell.
    pub(crate) fn unregister(
        &mut self,
        connection_id: u64,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
    ) -> Option<GroupChange<C>> {
        if let Some(group) = producer_group {
            let mut ids = HashSet::new();
            if let Some(groups) = self.by_connection.get_mut(&connection_id) {
                groups.producer.remove(group);
                if groups.producer.is_empty() {
                    ids = std::mem::take(&mut groups.producer_ids);
                }
            }
            self.remove_producer(group, connection_id);
            self.forget_ids(connection_id, ids);
        }
        let group = consumer_group?;
        if let Some(groups) = self.by_connection.get_mut(&connection_id) {
            groups.consumer.remove(group);
        }
        self.remove_consumer(group, connection_id)
    }

    /// Removes a connection that ended from all its groups; returns whom to tell.
    pub(crate) fn closed(&mut self, connection_id: u64) -> Vec<GroupChange<C>> {
        let Some(groups) = self.by_connection.remove(&connection_id) else {
            return Vec::new();
        };
        for group in &groups.producer {
            self.remove_producer(group, connection_id);
        }
        self.forget_ids(connection_id, groups.producer_ids);
        groups
            .consumer
            .iter()
            .filter_map(|group| self.remove_consumer(group, connection_id))
            .collect()
    }

    /// Connections of which some registration has had no heartbeat for [`CLIENT_EXPIRY_MS`]; the caller closes them, and
    /// [`Clients::closed`] does the rest. Also forgets groups that were only seen pulling.
    pub(crate) fn expired(&mut self, now_ms: i64) -> Vec<C> {
        self.pull_only.retain(|_, group| {
            group
                .topics
                .retain(|_, last_ms| now_ms - *last_ms <= PULL_ONLY_EXPIRY_MS);
            !group.topics.is_empty()
        });
        let stale = |member: &&Member<C>| now_ms - member.last_ms > CLIENT_EXPIRY_MS;
        self.producers
            .values()
            .flat_map(HashMap::values)
            .filter(stale)
            .chain(
                self.consumers
                    .values()
                    .flat_map(|g| g.members.values())
                    .filter(stale),
            )
            .map(|member| member.connection.clone())
            .collect()
    }

    /// Notes that `group` pulls `topic` without having registered.
    pub(crate) fn note_pull(&mut self, group: &str, topic: &str, now_ms: i64) {
        if let Some(topics) = self.pull_only.get_mut(group).map(|g| &mut g.topics)
            && let Some(last_ms) = topics.get_mut(topic)
        {
            *last_ms = now_ms;
            return;
        }
        self.pull_only
            .entry(group.to_owned())
            .or_default()
            .topics
            .insert(topic.to_owned(), now_ms);
    }

    /// Every producer of every group.
    pub(crate) fn all_producers(&self) -> impl Iterator<Item = &Member<C>> {
        self.producers.values().flat_map(HashMap::values)
    }

    /// Every consumer group that is online.
    pub(crate) fn consumer_groups(&self) -> impl Iterator<Item = (&str, &ConsumerGroup<C>)> {
        self.consumers
            .iter()
            .map(|(name, group)| (name.as_str(), group))
    }

    pub(crate) fn consumer_group(&self, group: &str) -> Option<&ConsumerGroup<C>> {
        self.consumers.get(group)
    }

    /// Client ids of the group's consumers, each once.
    pub(crate) fn consumer_ids(&self, group: &str) -> Vec<String> {
        let mut ids: Vec<String> = self
            .consumers
            .get(group)
            .into_iter()
            .flat_map(ConsumerGroup::members)
            .map(|member| member.client_id.clone())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The consumer of `group` with this client id.
    pub(crate) fn consumer(&self, group: &str, client_id: &str) -> Option<&Member<C>> {
        self.consumers
            .get(group)?
            .members()
            .find(|member| member.client_id == client_id)
    }

    /// Producers of a group; empty when there is none.
    pub(crate) fn producers_of(&self, group: &str) -> impl Iterator<Item = &Member<C>> {
        self.producers
            .get(group)
            .into_iter()
            .flat_map(HashMap::values)
    }

    /// The connection of the producer with this client id. Java: `ProducerManager.findChannel`.
    pub(crate) fn producer(&self, client_id: &str) -> Option<&C> {
        self.by_producer_id
            .get(client_id)
            .map(|(_, connection)| connection)
    }

    /// All producer groups with their members.
    pub(crate) fn producer_groups(
        &self,
    ) -> impl Iterator<Item = (&str, impl Iterator<Item = &Member<C>>)> {
        self.producers
            .iter()
            .map(|(group, members)| (group.as_str(), members.values()))
    }

    /// Groups online, or seen pulling, that subscribe to `topic`.
    pub(crate) fn groups_of_topic(&self, topic: &str) -> Vec<String> {
        let online = self
            .consumers
            .iter()
            .filter(|(_, group)| group.subscriptions.contains_key(topic))
            .map(|(name, _)| name.clone());
        let pulling = self
            .pull_only
            .iter()
            .filter(|(_, group)| group.topics.contains_key(topic))
            .map(|(name, _)| name.clone());
        online.chain(pulling).collect()
    }

    /// `is_last`: the connection has no other producer.
    fn remove_producer(&mut self, group: &str, connection_id: u64) {
        let Some(members) = self.producers.get_mut(group) else {
            return;
        };
        members.remove(&connection_id);
        if members.is_empty() {
            self.producers.remove(group);
        }
    }

    /// The connection is none of a producer any more; another one may have the same id by now.
    fn forget_ids(&mut self, connection_id: u64, ids: HashSet<String>) {
        for id in ids {
            if let Entry::Occupied(known) = self.by_producer_id.entry(id)
                && known.get().0 == connection_id
            {
                known.remove();
            }
        }
    }

    fn remove_consumer(&mut self, group: &str, connection_id: u64) -> Option<GroupChange<C>> {
        let info = self.consumers.get_mut(group)?;
        info.members.remove(&connection_id)?;
        if info.members.is_empty() {
            self.consumers.remove(group);
            return None;
        }
        self.change_of(group)
    }

    fn change_of(&self, group: &str) -> Option<GroupChange<C>> {
        let info = self.consumers.get(group)?;
        if info.is_broadcasting() {
            return None;
        }
        Some(GroupChange {
            group: group.to_owned(),
            tell: info.members().map(|m| m.connection.clone()).collect(),
        })
    }
}

/// The latest heartbeat wins; returns whether the set of topics changed. A newer version of a known topic replaces it silently.
fn update_subscriptions<C>(group: &mut ConsumerGroup<C>, latest: &[SubscriptionData]) -> bool {
    let before = group.subscriptions.len();
    group
        .subscriptions
        .retain(|topic, _| latest.iter().any(|data| data.topic == *topic));
    let mut changed = group.subscriptions.len() != before;
    for data in latest {
        match group.subscriptions.get_mut(&data.topic) {
            Some(known) if data.sub_version > known.sub_version => known.clone_from(data),
            Some(_) => {}
            None => {
                group.subscriptions.insert(data.topic.clone(), data.clone());
                changed = true;
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, last_ms: i64) -> Member<u64> {
        Member {
            connection: id,
            client_id: format!("client-{id}"),
            user: None,
            language: Some(Language::JAVA),
            version: 513,
            last_ms,
        }
    }
    fn consumer(group: &str, model: MessageModel, topics: &[(&str, i64)]) -> ConsumerData {
        ConsumerData {
            group_name: group.to_owned(),
            message_model: Some(model),
            subscription_data_set: topics
                .iter()
                .map(|&(topic, sub_version)| SubscriptionData {
                    topic: topic.to_owned(),
                    sub_version,
                    ..SubscriptionData::default()
                })
                .collect(),
            ..ConsumerData::default()
        }
    }
    fn told(change: Option<GroupChange<u64>>) -> Vec<u64> {
        let mut tell = change.map(|c| c.tell).unwrap_or_default();
        tell.sort_unstable();
        tell
    }

    #[test]
    fn a_connection_that_changes_its_client_id_leaves_nothing_behind() {
        let mut clients = Clients::default();
        clients.register_producer("G", 1, member(1, 0));
        let renamed = Member {
            client_id: "other".to_owned(),
            ..member(1, 5)
        };
        clients.register_producer("G", 1, renamed);
        assert_eq!(clients.by_producer_id.len(), 2);
        clients.closed(1);
        assert!(clients.by_producer_id.is_empty());
    }

    /// S-061: a second consumer, an unregister and a dead connection each notify every member, except in broadcasting groups.
    #[test]
    fn s061_every_member_is_told_of_changes() {
        let mut clients = Clients::default();
        let data = consumer("G", MessageModel::Clustering, &[("T", 1)]);
        assert_eq!(
            told(clients.register_consumer(&data, 1, member(1, 0), false)),
            [1]
        );
        assert_eq!(
            told(clients.register_consumer(&data, 1, member(1, 5), false)),
            [0; 0]
        );
        assert_eq!(
            told(clients.register_consumer(&data, 2, member(2, 0), false)),
            [1, 2]
        );
        let wider = consumer("G", MessageModel::Clustering, &[("T", 1), ("U", 1)]);
        assert_eq!(
            told(clients.register_consumer(&wider, 2, member(2, 0), false)),
            [1, 2]
        );
        assert_eq!(told(clients.unregister(2, None, Some("G"))), [1]);
        clients.register_consumer(&wider, 3, member(3, 0), false);
        let changes = clients.closed(3);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].tell, [1]);
        assert!(clients.closed(1).is_empty(), "nobody is left to be told");
        assert!(clients.consumer_group("G").is_none());

        let data = consumer("B", MessageModel::Broadcasting, &[("T", 1)]);
        assert_eq!(
            told(clients.register_consumer(&data, 1, member(1, 0), false)),
            [0; 0]
        );
        assert_eq!(
            told(clients.register_consumer(&data, 2, member(2, 0), false)),
            [0; 0]
        );
    }

    /// S-060 for the table: heartbeats without subscriptions keep them; a changed fingerprint is reported, and that there are none to keep.
    #[test]
    fn s060_short_heartbeats_keep_subscriptions() {
        let mut clients = Clients::default();
        let full = consumer("G", MessageModel::Clustering, &[("T", 1)]);
        let short = consumer("G", MessageModel::Clustering, &[]);
        let has_subscription = |clients: &Clients<u64>| {
            let group = clients.consumer_group("G").unwrap();
            group.subscriptions.contains_key("T")
        };
        clients.register_consumer(&full, 1, member(1, 0), false);
        assert!(!clients.wants_subscriptions("G", 7, false));
        clients.register_consumer(&short, 1, member(1, 1), true);
        assert!(has_subscription(&clients));
        assert!(!clients.wants_subscriptions("G", 7, true));
        assert!(clients.wants_subscriptions("G", 8, true));

        clients.closed(1);
        clients.register_consumer(&short, 2, member(2, 2), true);
        assert!(clients.wants_subscriptions("G", 8, true), "went with 1");
        assert!(clients.wants_subscriptions("G", 8, true), "not there yet");
        clients.register_consumer(&full, 2, member(2, 3), false);
        assert!(!clients.wants_subscriptions("G", 8, false));
        assert!(has_subscription(&clients));
    }

    #[test]
    fn a_newer_version_of_a_known_topic_replaces_it_silently() {
        let mut clients = Clients::default();
        clients.register_consumer(
            &consumer("G", MessageModel::Clustering, &[("T", 2)]),
            1,
            member(1, 0),
            false,
        );
        for (version, expected) in [(1, 2), (3, 3)] {
            let data = consumer("G", MessageModel::Clustering, &[("T", version)]);
            assert!(
                clients
                    .register_consumer(&data, 1, member(1, 0), false)
                    .is_none()
            );
            assert_eq!(
                clients.consumer_group("G").unwrap().subscriptions["T"].sub_version,
                expected
            );
        }
    }

    /// S-066, the table.
    #[test]
    fn s066_silent_clients_expire() {
        let mut clients = Clients::default();
        clients.register_producer("P", 1, member(1, 0));
        clients.register_consumer(
            &consumer("G", MessageModel::Clustering, &[("T", 1)]),
            2,
            member(2, 10),
            false,
        );
        assert!(clients.expired(CLIENT_EXPIRY_MS).is_empty());
        assert_eq!(clients.expired(CLIENT_EXPIRY_MS + 1), [1]);
        clients.closed(1);
        assert_eq!(clients.producers_of("P").count(), 0);
        assert_eq!(clients.expired(CLIENT_EXPIRY_MS + 11), [2]);
    }

    #[test]
    fn a_producer_is_found_by_its_client_id_while_it_is_online() {
        let mut clients = Clients::default();
        clients.register_producer("P", 1, member(1, 0));
        clients.register_producer("Q", 1, member(1, 0));
        assert_eq!(clients.producer("client-1"), Some(&1));
        clients.unregister(1, Some("P"), None);
        assert_eq!(clients.producer("client-1"), Some(&1), "still in Q");
        let again = Member {
            connection: 2,
            ..member(1, 0)
        };
        clients.register_producer("P", 2, again);
        assert_eq!(clients.producer("client-1"), Some(&2), "the latest");
        clients.closed(1);
        assert_eq!(clients.producer("client-1"), Some(&2));
        clients.unregister(2, Some("P"), None);
        assert_eq!(clients.producer("client-1"), None);
    }

    #[test]
    fn groups_that_only_pull_are_known_for_ten_minutes() {
        let mut clients = Clients::<u64>::default();
        clients.note_pull("G", "T", 0);
        clients.note_pull("G", "T", 5);
        assert_eq!(clients.groups_of_topic("T"), ["G"]);
        clients.expired(PULL_ONLY_EXPIRY_MS + 5);
        assert_eq!(clients.groups_of_topic("T"), ["G"]);
        clients.expired(PULL_ONLY_EXPIRY_MS + 6);
        assert!(clients.groups_of_topic("T").is_empty());
    }
}
