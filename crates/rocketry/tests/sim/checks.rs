//! What has to hold for every seed, checked when a run is over.

use std::{collections::BTreeMap, time::Duration};

use rocketry::SendResult;

use crate::{
    broker::{Stored, label},
    ledger::{Ending, Entry, Way},
    world::State,
};

/// How late a send may end: the clock's grain, once for each stage that waits.
const GRAIN: Duration = Duration::from_millis(5);

/// Copies of a message that may lie in queues, at most: one for each attempt.
pub(crate) fn all(entries: &[Entry], state: &State, attempts: usize) -> Result<(), String> {
    let mut copies: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (_, broker) in state.brokers() {
        for message in broker.messages() {
            *copies.entry(&message.body).or_default() += 1;
        }
    }
    for (number, entry) in entries.iter().enumerate() {
        let check = ends_once_and_in_time(entry)
            .and_then(|()| kept_as_acknowledged(entry, state))
            .and_then(|()| kept_only_if_said_so(entry, &copies, attempts));
        check.map_err(|fault| format!("m{number} ({:?}): {fault}", entry.way))?;
    }
    in_order(entries, state)
}

fn ends_once_and_in_time(entry: &Entry) -> Result<(), String> {
    let [(at, _)] = entry.endings.as_slice() else {
        return Err(format!("ended {} times", entry.endings.len()));
    };
    let late = at.saturating_duration_since(entry.deadline);
    if late > GRAIN {
        return Err(format!("ended {late:?} after its deadline"));
    }
    Ok(())
}

/// An acknowledged message is stored where the result says, with its body and its ids.
fn kept_as_acknowledged(entry: &Entry, state: &State) -> Result<(), String> {
    let Some((_, Ending::Stored(result))) = entry.endings.first() else {
        return Ok(());
    };
    let ids: Vec<_> = result.msg_id.split(',').collect();
    let offset_ids: Vec<_> = result.offset_msg_id.split(',').collect();
    if ids.len() != entry.bodies.len() || offset_ids.len() != entry.bodies.len() {
        return Err(format!(
            "{} ids for {} messages",
            ids.len(),
            entry.bodies.len()
        ));
    }
    let first = usize::try_from(result.queue_offset).map_err(|error| error.to_string())?;
    for (n, body) in entry.bodies.iter().enumerate() {
        let stored = find(result, first + n, state).ok_or("acknowledged, but not stored")?;
        if stored.body != *body {
            return Err(format!("{} is stored in its place", label(&stored.body)));
        }
        if stored.unique != ids[n] || stored.offset_id != offset_ids[n] {
            return Err("the result has other ids than the message".to_owned());
        }
    }
    Ok(())
}

fn find<'a>(result: &SendResult, offset: usize, state: &'a State) -> Option<&'a Stored> {
    let (_, broker) = state
        .brokers()
        .find(|(name, _)| *name == &*result.queue.broker_name)?;
    let queue = (
        result.queue.topic.as_str().to_owned(),
        result.queue.queue_id,
    );
    broker.queues.get(&queue)?.get(offset)
}

/// A send that fails with "certainly not stored" left nothing anywhere, and none left more copies than it made attempts.
fn kept_only_if_said_so(
    entry: &Entry,
    copies: &BTreeMap<&[u8], usize>,
    attempts: usize,
) -> Result<(), String> {
    for body in &entry.bodies {
        let copies = copies.get(body.as_slice()).copied().unwrap_or(0);
        let most = match &entry.endings.first() {
            Some((_, Ending::Failed(error))) if !error.maybe_stored() => 0,
            Some((_, Ending::Failed(error))) => error.attempts().len().max(1),
            _ if entry.way == Way::OneWay => 1,
            _ => attempts,
        };
        if copies > most {
            return Err(format!("{copies} copies are stored, at most {most} may be"));
        }
    }
    Ok(())
}

/// Acknowledged messages that one task sent to one queue, one after the other, lie there in that order.
fn in_order(entries: &[Entry], state: &State) -> Result<(), String> {
    let mut last: BTreeMap<String, (i64, usize)> = BTreeMap::new();
    for (number, entry) in entries.iter().enumerate() {
        if entry.way != Way::Ordered {
            continue;
        }
        if let Some((_, Ending::Stored(result))) = entry.endings.first() {
            let offset = result.queue_offset;
            if let Some((before, earlier)) = last.get(&*result.queue.broker_name)
                && *before >= offset
            {
                return Err(format!(
                    "m{number} lies before m{earlier}, which was sent earlier"
                ));
            }
            last.insert(result.queue.broker_name.to_string(), (offset, number));
        }
    }
    let _ = state;
    Ok(())
}
