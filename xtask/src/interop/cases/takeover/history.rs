//! What was sent over all rounds, and what has to be there of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use crate::Result;
use crate::interop::text::Dumped;

/// A message that was due is there this much later at the latest, or after the new owner was ready: one that is never there at all
/// must not look like a slow machine.
const LATE_MS: i64 = 15_000;
/// What is not waited for.
const AT_ONCE: Duration = Duration::from_secs(5);
/// What an owner did this long before it was killed may be done again, as how far it came was not on disk yet: ours writes such offsets
/// every 5 s, Apache's more often, and a write takes its time.
const REPEATED_MS: i64 = 6000;
/// An undecided transaction comes so often at most where the owner that checked it before was killed: Java stores the half message anew
/// with each check, and notes that a little later. Of two half messages both are checked then, and both are committed.
const COMMITTED_TWICE: usize = 2;
/// A broker refuses to recall what its timer is about to deliver; a request takes its time as well.
const RECALL_MS: i64 = 10_000;
/// A topic that Apache's broker creates for what it revives is known to name servers with the next regular registration.
const REGISTERED: Duration = Duration::from_secs(35);
const REVIVED: &str = "%RETRY%tk-pop_tk_pop";

/// A row of the Java program's answer.
#[derive(Debug, Clone, Deserialize)]
struct Sent {
    topic: String,
    key: String,
    bytes: usize,
    /// Between these times it falls due.
    #[serde(default)]
    from_ms: i64,
    #[serde(default)]
    until_ms: i64,
}

impl Sent {
    /// As `Takeover.message` makes it.
    fn body(&self) -> Vec<u8> {
        let mut body = self.key.clone();
        while body.len() < self.bytes {
            body.push(' ');
            body.push_str(&self.key);
        }
        body.truncate(self.bytes);
        body.into_bytes()
    }
}

#[derive(Debug, Deserialize)]
struct Pending {
    sent: Vec<Sent>,
    handle: String,
    recalled: Sent,
}

#[derive(Debug, Default)]
pub(super) struct History {
    /// By topic and key.
    sent: BTreeMap<(String, String), Sent>,
    /// Keys of this owner's transactions that the next one is to ask about.
    undecided: BTreeSet<String>,
    /// Bodies that the group has not read.
    unread: Vec<Vec<u8>>,
    /// As `takeover-pop` answers them.
    revived: Vec<String>,
    /// When owners were killed.
    kills: Vec<i64>,
    /// Keys of transactions that their owner may have checked without noting it, and when it was killed.
    checked_anew: BTreeMap<String, i64>,
    /// A timed message that the next owner is to take back, and its handle.
    recall: Option<(String, Sent)>,
}

impl History {
    fn add(&mut self, sent: Sent) -> Result {
        if sent.topic == "tk_group" {
            self.unread.push(sent.body());
        }
        if sent.key.contains("-undecided-") {
            self.undecided.insert(sent.key.clone());
        }
        if sent.topic == REVIVED {
            self.revived.push(format!("{} tk_pop 1", sent.key));
        }
        let name = (sent.topic.clone(), sent.key.clone());
        match self.sent.insert(name, sent) {
            None => Ok(()),
            Some(twice) => Err(format!("{} was sent twice", twice.key).into()),
        }
    }

    pub(super) fn add_settled(&mut self, json: &str) -> Result {
        let sent: Vec<Sent> = serde_json::from_str(json)?;
        sent.into_iter().try_for_each(|sent| self.add(sent))
    }

    pub(super) fn add_pending(&mut self, json: &str) -> Result {
        let pending: Pending = serde_json::from_str(json)?;
        self.recall = Some((pending.handle, pending.recalled));
        pending.sent.into_iter().try_for_each(|sent| self.add(sent))
    }

    /// An owner was killed; `lags` says that it writes how far it checked transactions later than the checks themselves, as Java does:
    /// then the next owner checks some of them twice.
    pub(super) fn killed(&mut self, now_ms: i64, lags: bool) {
        self.kills.push(now_ms);
        if lags {
            let keys = self.undecided.iter().cloned();
            self.checked_anew.extend(keys.map(|key| (key, now_ms)));
        }
    }

    /// The handle of a message to take back. Where the handover took so long that it is about to come, it is one like any other.
    pub(super) fn take_recall(&mut self, now_ms: i64) -> Result<Option<String>> {
        let Some((handle, message)) = self.recall.take() else {
            return Ok(None);
        };
        if now_ms + RECALL_MS < message.from_ms {
            return Ok(Some(handle));
        }
        self.add(message)?;
        Ok(None)
    }

    pub(super) fn undecided(&self) -> Vec<String> {
        self.undecided.iter().cloned().collect()
    }

    /// What the group is to read next.
    pub(super) fn take_unread(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.unread)
    }

    pub(super) fn take_revived(&mut self) -> Vec<String> {
        let mut revived = std::mem::take(&mut self.revived);
        revived.sort();
        revived
    }

    pub(super) fn topics(&self) -> Vec<String> {
        let topics: BTreeSet<_> = self.sent.keys().map(|(topic, _)| topic.clone()).collect();
        topics.into_iter().collect()
    }

    fn of(&self, topic: &str) -> impl Iterator<Item = &Sent> {
        self.sent.values().filter(move |sent| sent.topic == topic)
    }

    /// How many messages a topic is to have, and how long they may take to come.
    pub(super) fn awaited(&self, topic: &str, now_ms: i64) -> (usize, Duration) {
        let due_ms = self.of(topic).map(|sent| sent.until_ms).max().unwrap_or(0);
        let rest = u64::try_from(due_ms + LATE_MS - now_ms).unwrap_or(0);
        let mut wait = Duration::from_millis(rest).max(AT_ONCE);
        if topic == REVIVED {
            wait += REGISTERED;
        }
        (self.of(topic).count(), wait)
    }

    /// Each message once, or as often as a kill explains, whole, and not before or long after its time.
    pub(super) fn compare(&self, topic: &str, read: &[Dumped], ready_ms: i64) -> Result {
        let mut times: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for message in read {
            let stored_ms = message.number("store_ms");
            times
                .entry(message.text("keys"))
                .or_default()
                .push(stored_ms);
        }
        let lost: Vec<_> = self
            .of(topic)
            .filter(|sent| !times.contains_key(sent.key.as_str()))
            .map(|sent| &sent.key)
            .collect();
        times.retain(|key, stored| {
            let sent = self.sent.get(&(topic.to_owned(), (*key).to_owned()));
            !sent.is_some_and(|sent| self.may_be_there(sent, stored))
        });
        if !lost.is_empty() || !times.is_empty() {
            return Err(format!("lost {lost:?}, more than once, at {times:?}").into());
        }
        for message in read {
            let name = (topic.to_owned(), message.text("keys").to_owned());
            let Some(sent) = self.sent.get(&name) else {
                return Err(format!("{} is there, and must not", name.1).into());
            };
            if message.body()? != sent.body() {
                return Err(format!("the body of {} is another", sent.key).into());
            }
            let stored_ms = message.number("store_ms");
            let latest_ms = sent.until_ms.max(ready_ms) + LATE_MS;
            if sent.until_ms > 0 && !(sent.from_ms..=latest_ms).contains(&stored_ms) {
                return Err(format!(
                    "{} came at {stored_ms}, due between {} and {}, with a broker from {ready_ms} on",
                    sent.key, sent.from_ms, sent.until_ms
                )
                .into());
            }
            if topic == "tk_prio" && !sent.key.ends_with(&message.number("queue_id").to_string()) {
                return Err(
                    format!("{} is in queue {}", sent.key, message.number("queue_id")).into(),
                );
            }
        }
        Ok(())
    }

    /// Once. Only what a broker stores by itself when its time comes may be there again, and only once more for each kill: the owner
    /// stored it shortly before, and could not note that any more. What a producer sent and was told about is never there twice.
    fn may_be_there(&self, sent: &Sent, stored: &mut [i64]) -> bool {
        stored.sort_unstable();
        if stored.len() == 1 {
            return true;
        }
        if let Some(kill) = self.checked_anew.get(&sent.key) {
            return stored.len() <= COMMITTED_TWICE && stored.iter().all(|at| at > kill);
        }
        // an earlier copy, the kill, and then the next owner's
        let is_repeated = |before: i64, after: i64| {
            let mut kills = self.kills.iter();
            kills.any(|kill| (kill - REPEATED_MS..=*kill).contains(&before) && after > *kill)
        };
        let has_its_time = sent.from_ms > 0;
        let mut pairs = stored.iter().zip(stored.iter().skip(1));
        has_its_time && pairs.all(|(before, after)| is_repeated(*before, *after))
    }

    /// All that waited was seen: from now on it is as good as any other.
    pub(super) fn all_came(&mut self) {
        self.undecided.clear();
        for sent in self.sent.values_mut() {
            sent.until_ms = 0;
        }
    }

    /// Topics and keys that are found in the first index file, in the middle, and in the last.
    pub(super) fn keys_to_find(&self) -> Vec<(String, String)> {
        let plain: Vec<_> = self.of("tk_plain").collect();
        let places = [0, plain.len() / 2, plain.len().saturating_sub(1)];
        places
            .iter()
            .filter_map(|place| plain.get(*place))
            .map(|sent| (sent.topic.clone(), sent.key.clone()))
            .collect()
    }
}
