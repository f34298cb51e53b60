//! The queues of one topic on each of its brokers.

use super::tables::Queues;

/// In the order of the brokers' names. Nearly every topic lies on a few brokers, and there may be very many topics: a tree would take half a
/// kilobyte for each.
#[derive(Debug, Default)]
pub(super) struct ByBroker(Vec<(Box<str>, Queues)>);

/// Brokers up to which no room is kept for more.
const FEW: usize = 4;

impl ByBroker {
    fn place(&self, broker: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| (**name).cmp(broker))
    }

    pub(super) fn contains(&self, broker: &str) -> bool {
        self.place(broker).is_ok()
    }

    pub(super) fn get_mut(&mut self, broker: &str) -> Option<&mut Queues> {
        let place = self.place(broker).ok()?;
        self.0.get_mut(place).map(|(_, queues)| queues)
    }

    pub(super) fn insert(&mut self, broker: &str, queues: Queues) {
        match self.place(broker) {
            Ok(place) => {
                if let Some((_, known)) = self.0.get_mut(place) {
                    *known = queues;
                }
            }
            Err(place) => {
                if self.0.len() < FEW {
                    self.0.reserve_exact(1);
                }
                self.0.insert(place, (broker.into(), queues));
            }
        }
    }

    pub(super) fn remove(&mut self, broker: &str) {
        if let Ok(place) = self.place(broker) {
            self.0.remove(place);
        }
    }

    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| is_kept(name));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Queues)> {
        self.0.iter().map(|(name, queues)| (&**name, queues))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_in_order_and_each_is_there_once() {
        let queues = |write| Queues {
            read: 1,
            write,
            perm: 6,
            sys_flag: 0,
        };
        let mut brokers = ByBroker::default();
        for (name, write) in [("c", 1), ("a", 2), ("e", 3), ("b", 4), ("d", 5), ("a", 6)] {
            brokers.insert(name, queues(write));
        }
        assert_eq!(
            brokers.names().collect::<Vec<_>>(),
            ["a", "b", "c", "d", "e"]
        );
        assert_eq!(brokers.get_mut("a").map(|queues| queues.write), Some(6));
        brokers.remove("c");
        brokers.remove("c");
        brokers.retain(|name| name != "a");
        assert!(brokers.contains("b") && !brokers.contains("a") && !brokers.contains("c"));
        let left: Vec<_> = brokers.iter().map(|(name, q)| (name, q.write)).collect();
        assert_eq!(left, [("b", 4), ("d", 5), ("e", 3)]);
        brokers.retain(|_| false);
        assert!(brokers.is_empty());
    }
}
