//! Pops in order: a queue gives nothing more to a group until what it took is acknowledged, or its time has passed.
//!
//! What was taken last is kept per queue and group, in `config/consumerOrderInfo.json`; the group's offset moves with
//! acknowledgements. Java: `QueueLevelConsumerManager.OrderInfo`.

use std::collections::{BTreeMap, HashSet};

use rocketry_protocol::pop::{OrderCounts, OrderKey, RetryMark};
use rocketry_store::metadata::OrderedPop;

use crate::broker::Broker;

/// Time without a pop after which what was taken last is forgotten. Java: `CLEAN_SPAN_FROM_LAST`, 24 h.
const FORGET_AFTER_MS: i64 = 24 * 3_600_000;

/// What an acknowledgement comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acked {
    /// The group goes on from this offset.
    Next(i64),
    /// It belongs to an earlier pop, and changes nothing.
    Late,
    /// The message was not taken by the pop that it names.
    Foreign,
}

/// Until when nothing more is given out; `None`: something may be, now.
pub(crate) fn blocked_until(
    pop: Option<&OrderedPop>,
    attempt_id: Option<&str>,
    now_ms: i64,
) -> Option<i64> {
    let pop = pop?;
    if pop.attempt_id.is_some() && pop.attempt_id.as_deref() == attempt_id {
        return None;
    }
    let hidden_until = pop.pop_ms.saturating_add(pop.invisible_ms.unwrap_or(0));
    offsets_of(pop)
        .enumerate()
        .filter(|(at, _)| !is_acked(pop, *at))
        .map(|(_, offset)| {
            let changed = pop.visible_ms.as_ref().and_then(|times| times.get(&offset));
            changed.copied().unwrap_or(hidden_until)
        })
        .filter(|visible_ms| now_ms < *visible_ms)
        .max()
}

/// Notes what was taken, in ascending order, and tells how often each message was taken before.
pub(crate) fn take(
    last: &mut Option<OrderedPop>,
    attempt_id: Option<&str>,
    (pop_ms, invisible_ms): (i64, i64),
    offsets: &[i64],
    queue_id: i32,
    counts: &mut OrderCounts,
) {
    let is_first = last.is_none();
    let taken_before = last.take().unwrap_or_default();
    let mut pop = OrderedPop {
        attempt_id: attempt_id.map(str::to_owned),
        invisible_ms: Some(invisible_ms),
        last_ms: pop_ms,
        offsets: Some(distances(offsets)),
        pop_ms,
        ..OrderedPop::default()
    };
    let earlier = taken_before.counts.clone().unwrap_or_default();
    let is_same_attempt =
        taken_before.attempt_id.is_some() && taken_before.attempt_id == pop.attempt_id;
    let before: BTreeMap<i64, i32> = if is_same_attempt {
        earlier
    } else {
        let known: HashSet<i64> = offsets_of(&taken_before).collect();
        offsets
            .iter()
            .filter(|offset| known.contains(offset))
            .map(|offset| {
                let count = earlier.get(offset).copied().unwrap_or(0);
                (*offset, count.saturating_add(1))
            })
            .collect()
    };
    for (offset, count) in &before {
        let key = OrderKey::Message {
            queue_id,
            offset: *offset,
        };
        counts.insert((RetryMark::Normal, key), *count);
    }
    // For clients that know one count for a queue: 0 as soon as one message is new.
    let least = if before.len() == offsets.len() {
        before.values().copied().min().unwrap_or(0)
    } else {
        0
    };
    counts.insert((RetryMark::Normal, OrderKey::Queue(queue_id)), least);
    pop.counts = (!is_first).then_some(before);
    *last = Some(pop);
}

/// Notes that a message is done with.
pub(crate) fn ack(last: &mut Option<OrderedPop>, offset: i64, pop_ms: i64) -> Acked {
    let Some(pop) = last else {
        return Acked::Next(offset.saturating_add(1));
    };
    let offsets: Vec<i64> = offsets_of(pop).collect();
    if offsets.is_empty() {
        return Acked::Foreign;
    }
    if pop.pop_ms != pop_ms {
        return Acked::Late;
    }
    let Some(at) = offsets.iter().position(|taken| *taken == offset) else {
        return Acked::Foreign;
    };
    pop.acked |= bit(at);
    let open = (0..offsets.len()).find(|at| !is_acked(pop, *at));
    let next = match open {
        Some(at) => offsets.get(at).copied(),
        None => offsets.last().map(|last| last.saturating_add(1)),
    };
    next.map_or(Acked::Foreign, Acked::Next)
}

/// Hides a message until `visible_ms`, if the pop that is named took it.
pub(crate) fn hide_until(last: &mut Option<OrderedPop>, offset: i64, pop_ms: i64, visible_ms: i64) {
    if let Some(pop) = last
        && pop.pop_ms == pop_ms
        && offsets_of(pop).any(|taken| taken == offset)
    {
        pop.visible_ms
            .get_or_insert_default()
            .insert(offset, visible_ms);
    }
}

/// Forgets what was taken from queues, topics or by groups that are gone, or long ago. Java: `autoClean`.
pub(crate) fn clean(broker: &Broker, now_ms: i64) {
    let metadata = broker.reader.metadata();
    metadata.ordered_pops.retain(|topic, group, queue_id, pop| {
        let queues = metadata
            .topics
            .get(topic)
            .map(|topic| topic.read_queue_nums);
        queues.is_some_and(|queues| queue_id < queues)
            && metadata.groups.get(group).is_some()
            && now_ms.saturating_sub(pop.last_ms) <= FORGET_AFTER_MS
    });
}

fn offsets_of(pop: &OrderedPop) -> impl Iterator<Item = i64> {
    let offsets = pop.offsets.as_deref().unwrap_or_default();
    let first = offsets.first().copied().unwrap_or(0);
    offsets.iter().enumerate().map(move |(at, distance)| {
        if at == 0 {
            first
        } else {
            first.saturating_add(*distance)
        }
    })
}

fn distances(offsets: &[i64]) -> Vec<i64> {
    let first = offsets.first().copied().unwrap_or(0);
    let distance = |(at, offset): (usize, &i64)| {
        if at == 0 {
            *offset
        } else {
            offset.saturating_sub(first)
        }
    };
    offsets.iter().enumerate().map(distance).collect()
}

fn is_acked(pop: &OrderedPop, at: usize) -> bool {
    pop.acked & bit(at) != 0
}

/// A pop takes 32 messages at most.
fn bit(at: usize) -> i64 {
    u32::try_from(at)
        .ok()
        .and_then(|at| 1_i64.checked_shl(at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rocketry_protocol::{body, pop::format_order_counts};

    use super::*;

    fn taken(
        last: &mut Option<OrderedPop>,
        attempt: Option<&str>,
        pop_ms: i64,
        offsets: &[i64],
    ) -> String {
        let mut counts = OrderCounts::new();
        take(last, attempt, (pop_ms, 100), offsets, 3, &mut counts);
        format_order_counts(&counts)
    }

    /// S-084: the queue is blocked until all is acknowledged or its time has passed, but not for the same attempt.
    #[test]
    fn s084_a_queue_is_blocked_for_others() {
        let mut last = None;
        assert_eq!(blocked_until(None, None, 0), None);
        taken(&mut last, Some("x"), 1000, &[4, 5]);
        assert_eq!(blocked_until(last.as_ref(), Some("y"), 1050), Some(1100));
        assert_eq!(blocked_until(last.as_ref(), None, 1050), Some(1100));
        assert_eq!(blocked_until(last.as_ref(), Some("x"), 1050), None);
        assert_eq!(blocked_until(last.as_ref(), None, 1100), None);
        assert_eq!(ack(&mut last, 4, 1000), Acked::Next(5));
        hide_until(&mut last, 5, 1000, 5000);
        hide_until(&mut last, 5, 999, 9000);
        hide_until(&mut last, 6, 1000, 9000);
        assert_eq!(blocked_until(last.as_ref(), None, 1100), Some(5000));
        assert_eq!(ack(&mut last, 5, 1000), Acked::Next(6));
        assert_eq!(blocked_until(last.as_ref(), None, 1050), None);

        taken(&mut last, None, 2000, &[6]);
        assert_eq!(
            blocked_until(last.as_ref(), None, 2050),
            Some(2100),
            "no attempt is never the same"
        );
    }

    /// S-084.
    #[test]
    fn s084_acknowledgements_move_on_to_the_first_that_is_open() {
        let mut last = None;
        assert_eq!(ack(&mut last, 7, 1), Acked::Next(8));
        taken(&mut last, None, 1000, &[4, 6, 9]);
        assert_eq!(ack(&mut last, 6, 1000), Acked::Next(4));
        assert_eq!(ack(&mut last, 6, 1000), Acked::Next(4), "once more");
        assert_eq!(ack(&mut last, 4, 999), Acked::Late);
        assert_eq!(ack(&mut last, 5, 1000), Acked::Foreign);
        assert_eq!(ack(&mut last, 4, 1000), Acked::Next(9));
        assert_eq!(ack(&mut last, 9, 1000), Acked::Next(10));
    }

    /// S-084.
    #[test]
    fn s084_earlier_deliveries_are_counted() {
        let mut last = None;
        assert_eq!(taken(&mut last, Some("x"), 1, &[4, 5]), "0 3 0");
        assert_eq!(taken(&mut last, Some("x"), 2, &[4, 5]), "0 3 0");
        assert_eq!(
            taken(&mut last, Some("y"), 3, &[4, 5]),
            "0 3 1;0 qo3%4 1;0 qo3%5 1"
        );
        assert_eq!(taken(&mut last, None, 4, &[5, 6]), "0 3 0;0 qo3%5 2");
    }

    /// What `QueueLevelConsumerManager` of 5.5.0 wrote after the same calls.
    #[test]
    fn the_last_pop_is_written_as_java_writes_it() {
        let mut last = None;
        taken(&mut last, Some("x"), 1000, &[4, 6]);
        taken(&mut last, Some("y"), 2000, &[4, 6]);
        ack(&mut last, 4, 2000);
        hide_until(&mut last, 6, 2000, 3000);
        let text = r#"{"a":"y","cm":1,"i":100,"l":2000,"o":[4,2],"oc":{4:1,6:1},"ot":{6:3000},"popTime":2000}"#;
        let last = last.unwrap();
        assert_eq!(body::encode(&last).unwrap(), text);
        assert_eq!(body::decode::<OrderedPop>(text.as_bytes()).unwrap(), last);
    }
}
