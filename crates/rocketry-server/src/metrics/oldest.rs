//! When the messages were stored that groups have to consume next. Each has to be read from the disk, at two places: with thousands of
//! queues that is too much for one page.

use std::collections::HashMap;

/// Most messages that are looked up for one page. What is left out appears on one of the next pages.
const READS: usize = 1000;

/// What the last page knew, and what this one finds out.
#[derive(Debug, Default)]
pub(super) struct Oldest {
    /// By topic and group, and by queue: the offset, and when its message was stored, ms.
    before: HashMap<(String, i32), (i64, i64)>,
    now: HashMap<(String, i32), (i64, i64)>,
    reads: usize,
}

impl Oldest {
    /// A new page: forgets what the one before did not ask for.
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.now);
        self.reads = 0;
    }

    /// When the message at `offset` was stored; `read` finds out. `None` if that fails, or is left to a later page.
    pub(super) fn stored_ms(
        &mut self,
        topic_and_group: &str,
        queue_id: i32,
        offset: i64,
        read: impl FnOnce() -> Option<i64>,
    ) -> Option<i64> {
        let queue = (topic_and_group.to_owned(), queue_id);
        let stored_ms = match self.before.get(&queue) {
            Some((at, stored_ms)) if *at == offset => *stored_ms,
            _ if self.reads == READS => return None,
            _ => {
                self.reads += 1;
                read()?
            }
        };
        self.now.insert(queue, (offset, stored_ms));
        Some(stored_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_once_until_the_group_moves_on() {
        let mut oldest = Oldest::default();
        oldest.begin();
        assert_eq!(oldest.stored_ms("t@g", 0, 5, || Some(70)), Some(70));
        assert_eq!(oldest.stored_ms("t@g", 1, 5, || None), None);
        oldest.begin();
        assert_eq!(oldest.stored_ms("t@g", 0, 5, || None), Some(70));
        oldest.begin();
        assert_eq!(oldest.stored_ms("t@g", 0, 6, || Some(80)), Some(80));
        oldest.begin();
        oldest.begin();
        assert_eq!(oldest.stored_ms("t@g", 0, 6, || None), None);
    }

    #[test]
    fn one_page_reads_a_thousand_and_the_next_ones_the_rest() {
        let mut oldest = Oldest::default();
        let mut reads = 0;
        for page in 1..=3 {
            oldest.begin();
            let mut found = 0;
            for queue_id in 0..2500 {
                let stored_ms = oldest.stored_ms("t@g", queue_id, 0, || {
                    reads += 1;
                    Some(1)
                });
                found += usize::from(stored_ms.is_some());
            }
            assert_eq!(found, (page * READS).min(2500));
        }
        assert_eq!(reads, 2500);
    }
}
