//! Which queues of a topic each client of a group consumes. Every client computes it for itself, so all must
//! compute the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use crate::{MessageQueue, md5::md5};

/// Tells in which machine room a broker or a client stands. Java: `AllocateMachineRoomNearby.MachineRoomResolver`.
pub trait MachineRooms: Send + Sync {
    /// The room of the queue's broker.
    fn room_of_broker(&self, queue: &MessageQueue) -> String;
    /// The room of a client.
    fn room_of_client(&self, client_id: &str) -> String;
}

/// A rule for sharing queues. Java: `AllocateMessageQueueStrategy`.
#[derive(Clone)]
#[non_exhaustive]
pub enum Allocation {
    /// Neighbouring queues, as many for each client.
    Average,
    /// Every n-th queue.
    AverageByCircle,
    /// The client whose point on a ring follows the queue's; few queues move when clients come and go.
    ConsistentHash {
        /// Points of each client; Java's default is 10.
        virtual_nodes: u32,
    },
    /// Only queues of brokers in these rooms, named `<room>@<name>`.
    MachineRoom {
        /// The rooms.
        rooms: BTreeSet<String>,
    },
    /// Queues go to clients in their own room; those of rooms without clients to all clients.
    MachineRoomNearby {
        /// The rule within a room.
        inner: Box<Self>,
        /// Tells the rooms.
        rooms: Arc<dyn MachineRooms>,
    },
    /// These queues, whatever there is.
    Fixed(Vec<MessageQueue>),
}

impl Allocation {
    /// Java's name of the rule; clients of a group must agree on it.
    pub fn name(&self) -> String {
        match self {
            Self::Average => "AVG".to_owned(),
            Self::AverageByCircle => "AVG_BY_CIRCLE".to_owned(),
            Self::ConsistentHash { .. } => "CONSISTENT_HASH".to_owned(),
            Self::MachineRoom { .. } => "MACHINE_ROOM".to_owned(),
            Self::MachineRoomNearby { inner, .. } => {
                format!("MACHINE_ROOM_NEARBY-{}", inner.name())
            }
            Self::Fixed(_) => "CONFIG".to_owned(),
        }
    }
    /// The queues of `client`, out of `queues` and `clients`, both of them sorted. A client that is not among `clients` gets none.
    pub fn allocate(
        &self,
        client: &str,
        queues: &[MessageQueue],
        clients: &[String],
    ) -> Vec<MessageQueue> {
        let Some(index) = clients.iter().position(|other| other == client) else {
            return Vec::new();
        };
        match self {
            Self::Average => average(queues, index, clients.len()).to_vec(),
            Self::AverageByCircle => queues
                .iter()
                .skip(index)
                .step_by(clients.len())
                .cloned()
                .collect(),
            Self::ConsistentHash { virtual_nodes } => {
                let ring = Ring::new(clients, *virtual_nodes);
                let own = |queue: &&MessageQueue| ring.route(&java_text(queue)) == Some(client);
                queues.iter().filter(own).cloned().collect()
            }
            Self::MachineRoom { rooms } => {
                let in_rooms = |queue: &&MessageQueue| {
                    queue
                        .broker_name
                        .split_once('@')
                        .is_some_and(|(room, _)| rooms.contains(room))
                };
                let queues: Vec<_> = queues.iter().filter(in_rooms).cloned().collect();
                let share = queues.len() / clients.len();
                let mut own: Vec<_> = queues
                    .iter()
                    .skip(share * index)
                    .take(share)
                    .cloned()
                    .collect();
                own.extend(queues.get(index + share * clients.len()).cloned());
                own
            }
            Self::MachineRoomNearby { inner, rooms } => {
                nearby(inner, &**rooms, client, queues, clients)
            }
            Self::Fixed(queues) => queues.clone(),
        }
    }
}

impl fmt::Debug for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Java: `AllocateMessageQueueAveragely`.
fn average(queues: &[MessageQueue], index: usize, clients: usize) -> &[MessageQueue] {
    let (share, rest) = (queues.len() / clients, queues.len() % clients);
    let has_one_more = index < rest;
    let size = if queues.len() <= clients {
        1
    } else {
        share + usize::from(has_one_more)
    };
    let start = if has_one_more {
        index * size
    } else {
        index * size + rest
    };
    let end = queues.len().min(start + size);
    queues.get(start..end).unwrap_or_default()
}

/// Java: `AllocateMachineRoomNearby`.
fn nearby(
    inner: &Allocation,
    rooms: &dyn MachineRooms,
    client: &str,
    queues: &[MessageQueue],
    clients: &[String],
) -> Vec<MessageQueue> {
    let mut queues_of: BTreeMap<String, Vec<MessageQueue>> = BTreeMap::new();
    for queue in queues {
        queues_of
            .entry(rooms.room_of_broker(queue))
            .or_default()
            .push(queue.clone());
    }
    let mut clients_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for other in clients {
        clients_of
            .entry(rooms.room_of_client(other))
            .or_default()
            .push(other.clone());
    }
    let own_room = rooms.room_of_client(client);
    let mut own = Vec::new();
    if let (Some(queues), Some(clients)) = (queues_of.remove(&own_room), clients_of.get(&own_room))
    {
        own = inner.allocate(client, &queues, clients);
    }
    for (room, queues) in queues_of {
        if !clients_of.contains_key(&room) {
            own.extend(inner.allocate(client, &queues, clients));
        }
    }
    own
}

/// A ring of points, several of them for each node. Java: `ConsistentHashRouter`.
#[derive(Debug)]
pub struct Ring<'n> {
    points: BTreeMap<u32, &'n str>,
}

impl<'n> Ring<'n> {
    /// Places each node at `virtual_nodes` points.
    pub fn new(nodes: &'n [String], virtual_nodes: u32) -> Self {
        let mut points = BTreeMap::new();
        for node in nodes {
            for replica in 0..virtual_nodes {
                points.insert(ring_point(&format!("{node}-{replica}")), node.as_str());
            }
        }
        Self { points }
    }
    /// The node at the first point from the key's on; `None` when there is no point at all.
    pub fn route(&self, key: &str) -> Option<&'n str> {
        let after = self.points.range(ring_point(key)..).next();
        after
            .or_else(|| self.points.first_key_value())
            .map(|(_, node)| *node)
    }
}

fn ring_point(key: &str) -> u32 {
    let [a, b, c, d, ..] = md5(key.as_bytes());
    u32::from_be_bytes([a, b, c, d])
}

/// Java's `MessageQueue.toString`, which the ring hashes.
fn java_text(queue: &MessageQueue) -> String {
    format!(
        "MessageQueue [topic={}, brokerName={}, queueId={}]",
        queue.topic, queue.broker_name, queue.queue_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Topic;

    #[test]
    fn every_queue_has_exactly_one_owner() {
        let topic = Topic::new("T").unwrap();
        let queues: Vec<_> = (0..23)
            .map(|queue_id| MessageQueue {
                topic: topic.clone(),
                broker_name: "b".into(),
                queue_id,
            })
            .collect();
        for count in 1..30 {
            let clients: Vec<_> = (0..count).map(|i| format!("c{i:02}")).collect();
            for rule in [
                Allocation::Average,
                Allocation::AverageByCircle,
                Allocation::ConsistentHash { virtual_nodes: 10 },
            ] {
                let mut all: Vec<_> = clients
                    .iter()
                    .flat_map(|client| rule.allocate(client, &queues, &clients))
                    .collect();
                all.sort();
                assert_eq!(all, queues, "{rule:?} with {count} clients");
            }
        }
        assert_eq!(
            Allocation::Fixed(queues.clone()).allocate("c", &[], &["c".to_owned()]),
            queues
        );
    }
}
