//! What has to hold for every seed, checked when a run is over.

use std::{collections::BTreeMap, time::Duration};

use rocketry::{Decision, ErrorKind, SendResult};

use crate::{
    broker::{Stored, label},
    ledger::{Ending, Entry, Way},
    replies,
    world::State,
};

/// How late a send may end: the clock's grain, once for each stage that waits.
const GRAIN: Duration = Duration::from_millis(5);

/// All of it. `attempts` is the most that a send makes; `settled`: brokers have had the time to ask about every transaction.
pub(crate) fn all(
    entries: &[Entry],
    state: &State,
    attempts: usize,
    settled: bool,
) -> Result<(), String> {
    let mut copies = Copies::default();
    for (_, broker) in state.brokers() {
        for message in broker.messages() {
            *copies.0.entry(&message.body).or_default() += 1;
        }
    }
    for (number, entry) in entries.iter().enumerate() {
        let check = ends_once_and_in_time(entry)
            .and_then(|()| kept_as_acknowledged(entry, state))
            .and_then(|()| kept_only_if_said_so(entry, &copies, attempts))
            .and_then(|()| replied_to_itself(entry, &copies))
            .and_then(|()| decided_as_the_application_did(entry, &copies, attempts, settled));
        check.map_err(|fault| format!("m{number} ({:?}): {fault}", entry.way))?;
    }
    in_order(entries)?;
    in_one_queue(entries, state)
}

/// How often a body lies in queues.
#[derive(Default)]
struct Copies<'a>(BTreeMap<&'a [u8], usize>);

impl Copies<'_> {
    fn of(&self, body: &[u8]) -> usize {
        self.0.get(body).copied().unwrap_or(0)
    }
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
    let Some(Ending::Stored(result)) = entry.ending() else {
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
fn kept_only_if_said_so(entry: &Entry, copies: &Copies<'_>, attempts: usize) -> Result<(), String> {
    for body in &entry.bodies {
        let copies = copies.of(body);
        let most = match entry.ending() {
            Some(Ending::Failed(error)) if !error.maybe_stored() => 0,
            // these two say nothing of the attempts that were made
            Some(Ending::Failed(error))
                if !matches!(error.kind(), ErrorKind::NoReply | ErrorKind::Closed) =>
            {
                error.attempts().len().max(1)
            }
            _ if entry.way == Way::OneWay => 1,
            _ => attempts,
        };
        if copies > most {
            return Err(format!("{copies} copies are stored, at most {most} may be"));
        }
    }
    Ok(())
}

/// A request gets the reply to its own message, and only to one that was stored.
fn replied_to_itself(entry: &Entry, copies: &Copies<'_>) -> Result<(), String> {
    let body = &entry.bodies[0];
    match entry.ending() {
        Some(Ending::Replied(reply)) if *reply != replies::body_for(&label(body)) => {
            let reply = String::from_utf8_lossy(reply);
            Err(format!("got the reply {reply:?}"))
        }
        Some(Ending::Replied(_)) if copies.of(body) == 0 => Err("replied, not stored".to_owned()),
        _ => Ok(()),
    }
}

/// Consumers see the message of a transaction if, and only if, it was committed.
fn decided_as_the_application_did(
    entry: &Entry,
    copies: &Copies<'_>,
    attempts: usize,
    settled: bool,
) -> Result<(), String> {
    if entry.way != Way::Transaction {
        return Ok(());
    }
    let committed = match entry.ending() {
        // of those that leave the decision to the check, only the application knows
        Some(Ending::Ended(result)) => match result.decision {
            Decision::Commit => true,
            Decision::Rollback => false,
            _ => entry.decided == Some(Decision::Commit),
        },
        _ => false,
    };
    let copies = copies.of(&entry.bodies[0]);
    let least = usize::from(committed && settled);
    let most = if committed { attempts } else { 0 };
    if !(least..=most).contains(&copies) {
        return Err(format!("committed {committed}, seen {copies} times"));
    }
    Ok(())
}

/// Acknowledged messages that one task sent to one queue, or with one key of strict order, lie there in the order in which they were
/// sent.
fn in_order(entries: &[Entry]) -> Result<(), String> {
    let mut last: BTreeMap<(usize, &str, i32), (i64, usize)> = BTreeMap::new();
    for (number, entry) in entries.iter().enumerate() {
        let (Way::Ordered | Way::Strict, Some(Ending::Stored(result))) =
            (entry.way, entry.ending())
        else {
            continue;
        };
        let (queue, offset) = (&result.queue, result.queue_offset);
        let lane = (entry.lane, &*queue.broker_name, queue.queue_id);
        if let Some((before, earlier)) = last.insert(lane, (offset, number))
            && before >= offset
        {
            return Err(format!(
                "m{number} lies before m{earlier}, which was sent earlier"
            ));
        }
    }
    Ok(())
}

/// Whatever became of its sends, a key of strict order has one queue.
fn in_one_queue(entries: &[Entry], state: &State) -> Result<(), String> {
    let mut lanes: BTreeMap<&[u8], usize> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.way == Way::Strict) {
        lanes.insert(&entry.bodies[0], entry.lane);
    }
    let mut queues = BTreeMap::new();
    for (name, broker) in state.brokers() {
        for ((_, queue), messages) in &broker.queues {
            for message in messages {
                let Some(lane) = lanes.get(message.body.as_slice()) else {
                    continue;
                };
                let first = queues.entry(lane).or_insert((name, queue));
                if *first != (name, queue) {
                    let label = label(&message.body);
                    return Err(format!(
                        "{label} lies in {name}/{queue}, others of its key in {}/{}",
                        first.0, first.1
                    ));
                }
            }
        }
    }
    Ok(())
}
