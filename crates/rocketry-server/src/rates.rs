//! How much went in and out over the last minute, hour and day, by topic and by group: what `VIEW_BROKER_STATS_DATA` (315) shows.
//!
//! Messages that go into a topic are not counted one by one: the ends of its queues say how many came, so that a send pays nothing.
//! Java: `BrokerStatsManager`, `StatsItem`. Differs from Java: a delayed message counts for its topic when it arrives there.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use rocketry_protocol::body::stats::{BrokerStatsData, BrokerStatsItem};
use rocketry_store::Reader;

use crate::names::SystemNames;

/// Looks of a minute between two that count for the hour, and between two that count for the day. Java: 10 s, 10 min and 1 h.
const LOOKS_OF_HOUR: u64 = 60;
const LOOKS_OF_DAY: u64 = 360;

/// Looks that are kept: those of the span, and the one they are compared with.
const KEPT_OF_MINUTE: usize = 7;
const KEPT_OF_HOUR: usize = 7;
const KEPT_OF_DAY: usize = 25;

/// Time between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);
const LOOK_MS: i64 = 10_000;

/// What is counted. Java: `Stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Figure {
    /// Messages into a topic.
    TopicPut,
    /// Messages, and bytes of messages, of a topic to a group.
    GroupGet,
    GroupGetBytes,
    /// Messages into all topics, and to all groups.
    BrokerPut,
    BrokerGet,
}

impl Figure {
    fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "TOPIC_PUT_NUMS" => Self::TopicPut,
            "GROUP_GET_NUMS" => Self::GroupGet,
            "GROUP_GET_SIZE" => Self::GroupGetBytes,
            "BROKER_PUT_NUMS" => Self::BrokerPut,
            "BROKER_GET_NUMS" => Self::BrokerGet,
            _ => return None,
        })
    }
}

/// The figures.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    gets: RwLock<GetsByTopic>,
    looks: Mutex<Looks>,
}

/// topic -> group
type GetsByTopic = HashMap<Box<str>, HashMap<Box<str>, Gets>>;

#[derive(Debug, Default)]
struct Gets {
    answers: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Looks {
    count: u64,
    /// By topic.
    puts: HashMap<Arc<str>, Puts>,
    /// Of everything but topics.
    series: HashMap<(Figure, Box<str>), Series>,
}

/// The sums of the ends of the queues of each topic that clients send to.
pub(crate) fn ends_of(reader: &Reader, system: &SystemNames) -> Vec<(Arc<str>, i64)> {
    let mut ends = reader.topic_ends();
    ends.retain(|(topic, _)| !system.is_system(topic));
    ends
}

/// What came to a topic.
#[derive(Debug, Default)]
struct Puts {
    /// Sum of the ends of its queues at the last look.
    ends: i64,
    since_start: u64,
    /// There is none before something came.
    series: Option<Box<Series>>,
}

/// Totals at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    at_ms: i64,
    times: u64,
    value: u64,
}

#[derive(Debug, Default)]
struct Series {
    minute: VecDeque<Look>,
    hour: VecDeque<Look>,
    day: VecDeque<Look>,
}

impl Rates {
    /// `ends` has the sum of the queues' ends of each topic: what is stored already does not count.
    pub(crate) fn new(ends: Vec<(Arc<str>, i64)>) -> Self {
        let puts = ends.into_iter().map(|(topic, ends)| {
            let puts = Puts {
                ends,
                ..Puts::default()
            };
            (topic, puts)
        });
        Self {
            looks: Mutex::new(Looks {
                puts: puts.collect(),
                ..Looks::default()
            }),
            ..Self::default()
        }
    }

    /// An answer with messages of a topic went to a group.
    pub(crate) fn count_get(&self, topic: &str, group: &str, messages: usize, bytes: usize) {
        if messages == 0 {
            return;
        }
        let known = self.gets.read();
        let found = known.get(topic).and_then(|groups| groups.get(group));
        if let Some(gets) = found {
            gets.add(messages, bytes);
            return;
        }
        drop(known);
        let mut gets = self.gets.write();
        let groups = gets.entry(topic.into()).or_default();
        groups.entry(group.into()).or_default().add(messages, bytes);
    }

    /// Looks at everything, which is due every 10 s. `ends` as for [`Rates::new`]; `is_topic` and `is_group` tell what there is.
    pub(crate) fn look(
        &self,
        now_ms: i64,
        cluster: &str,
        ends: &[(Arc<str>, i64)],
        is_topic: impl Fn(&str) -> bool,
        is_group: impl Fn(&str) -> bool,
    ) {
        let mut looks = self.looks.lock();
        let Looks {
            count,
            puts,
            series,
        } = &mut *looks;
        self.gets.write().retain(|topic, groups| {
            groups.retain(|group, _| is_group(group));
            is_topic(topic)
        });
        puts.retain(|topic, _| is_topic(topic));
        for (topic, ends) in ends.iter().filter(|(topic, _)| is_topic(topic)) {
            puts.entry(Arc::clone(topic)).or_default().move_to(*ends);
        }
        let look = |times, value| Look {
            at_ms: now_ms,
            times,
            value,
        };
        let mut all_put = 0;
        for puts in puts.values_mut().filter(|puts| puts.since_start > 0) {
            let put = puts.since_start;
            all_put += put;
            puts.series
                .get_or_insert_default()
                .look(look(put, put), *count);
        }
        let mut before = std::mem::take(series);
        let mut look_at = |figure, key: Box<str>, look| {
            let key = (figure, key);
            let mut looked_at = before.remove(&key).unwrap_or_default();
            looked_at.look(look, *count);
            series.insert(key, looked_at);
        };
        look_at(Figure::BrokerPut, cluster.into(), look(all_put, all_put));
        let (mut answers, mut messages) = (0, 0);
        for (topic, groups) in &*self.gets.read() {
            for (group, gets) in groups {
                let key = format!("{topic}@{group}").into_boxed_str();
                let times = gets.answers.load(Relaxed);
                let (got, bytes) = (gets.messages.load(Relaxed), gets.bytes.load(Relaxed));
                answers += times;
                messages += got;
                look_at(Figure::GroupGet, key.clone(), look(times, got));
                look_at(Figure::GroupGetBytes, key, look(times, bytes));
            }
        }
        look_at(Figure::BrokerGet, cluster.into(), look(answers, messages));
        *count += 1;
    }

    /// A figure by its name and key, as Java calls them; `None`: nothing was counted under them. `ends_of` has the sum of the ends of
    /// a topic's queues: what came since the last look is a figure already, with nothing in it yet, as in Java.
    pub(crate) fn view(
        &self,
        name: &str,
        key: &str,
        ends_of: impl FnOnce(&str) -> i64,
    ) -> Option<BrokerStatsData> {
        let figure = Figure::of_name(name)?;
        let looks = self.looks.lock();
        let puts = looks.puts.get(key);
        let series = match figure {
            Figure::TopicPut => puts.and_then(|puts| puts.series.as_deref()),
            _ => looks.series.get(&(figure, Box::from(key))),
        };
        if let Some(series) = series {
            return Some(BrokerStatsData {
                stats_day: over(&series.day),
                stats_hour: over(&series.hour),
                stats_minute: over(&series.minute),
            });
        }
        let is_new = match figure {
            Figure::TopicPut => ends_of(key) > puts.map_or(0, |puts| puts.ends),
            Figure::GroupGet | Figure::GroupGetBytes => {
                key.split_once('@').is_some_and(|(topic, group)| {
                    let gets = self.gets.read();
                    gets.get(topic)
                        .is_some_and(|groups| groups.contains_key(group))
                })
            }
            Figure::BrokerPut | Figure::BrokerGet => false,
        };
        is_new.then(BrokerStatsData::default)
    }
}

impl Puts {
    /// The ends of its queues add up to `ends` now. A topic that was made anew starts at 0.
    fn move_to(&mut self, ends: i64) {
        let before = if ends < self.ends { 0 } else { self.ends };
        self.since_start += u64::try_from(ends - before).unwrap_or(0);
        self.ends = ends;
    }
}

impl Gets {
    fn add(&self, messages: usize, bytes: usize) {
        self.answers.fetch_add(1, Relaxed);
        self.messages.fetch_add(messages as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

impl Series {
    fn look(&mut self, look: Look, count: u64) {
        keep(&mut self.minute, look, LOOK_MS, KEPT_OF_MINUTE);
        if count.is_multiple_of(LOOKS_OF_HOUR) {
            keep(&mut self.hour, look, 60 * LOOK_MS, KEPT_OF_HOUR);
        }
        if count.is_multiple_of(LOOKS_OF_DAY) {
            keep(&mut self.day, look, 360 * LOOK_MS, KEPT_OF_DAY);
        }
    }
}

/// Before the first look there was nothing.
fn keep(looks: &mut VecDeque<Look>, look: Look, apart_ms: i64, most: usize) {
    if looks.is_empty() {
        looks.push_back(Look {
            at_ms: look.at_ms.saturating_sub(apart_ms),
            ..Look::default()
        });
    }
    looks.push_back(look);
    if looks.len() > most {
        looks.pop_front();
    }
}

/// Java: `StatsItem.computeStatsData`.
#[expect(
    clippy::cast_precision_loss,
    reason = "a rate for people: 52 bits are enough"
)]
fn over(looks: &VecDeque<Look>) -> BrokerStatsItem {
    let (Some(first), Some(last)) = (looks.front(), looks.back()) else {
        return BrokerStatsItem::default();
    };
    let sum = last.value.saturating_sub(first.value);
    let times = last.times.saturating_sub(first.times);
    let ms = last.at_ms.saturating_sub(first.at_ms).max(1);
    BrokerStatsItem {
        avgpt: if times > 0 {
            sum as f64 / times as f64
        } else {
            0.0
        },
        sum: i64::try_from(sum).unwrap_or(i64::MAX),
        tps: sum as f64 * 1000.0 / ms as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(of_t: i64) -> Vec<(Arc<str>, i64)> {
        vec![(Arc::from("T"), of_t)]
    }

    /// S-073: what came and went in the last minute, hour and day.
    #[test]
    fn s073_rates_are_over_a_minute_an_hour_and_a_day() {
        let rates = Rates::new(ends(1000));
        let look = |at: i64, of_t| rates.look(at * LOOK_MS, "C", &ends(of_t), |_| true, |_| true);
        let at_end = |end| move |_: &str| end;
        let new = Some(BrokerStatsData::default());
        assert_eq!(rates.view("TOPIC_PUT_NUMS", "T", at_end(1000)), None);
        assert_eq!(rates.view("TOPIC_PUT_NUMS", "T", at_end(1001)), new);
        assert_eq!(rates.view("TOPIC_PUT_NUMS", "U", at_end(1)), new);
        assert_eq!(rates.view("GROUP_GET_NUMS", "T@G", at_end(0)), None);
        rates.count_get("T", "G", 30, 3000);
        assert_eq!(rates.view("GROUP_GET_NUMS", "T@G", at_end(0)), new);
        rates.count_get("T", "G", 10, 1000);
        rates.count_get("T", "G", 0, 0);
        look(1, 1050);
        let of = |name: &str, key: &str| rates.view(name, key, at_end(0)).unwrap();
        let put = of("TOPIC_PUT_NUMS", "T");
        assert_eq!((put.stats_minute.sum, put.stats_minute.tps), (50, 5.0));
        assert_eq!((put.stats_hour.sum, put.stats_day.sum), (50, 50));
        assert_eq!(of("BROKER_PUT_NUMS", "C"), put);
        let get = of("GROUP_GET_NUMS", "T@G").stats_minute;
        assert_eq!((get.sum, get.tps, get.avgpt), (40, 4.0, 20.0));
        assert_eq!(of("GROUP_GET_SIZE", "T@G").stats_minute.sum, 4000);
        assert_eq!(of("BROKER_GET_NUMS", "C").stats_minute, get);
        for (name, key) in [("TOPIC_PUT_NUMS", "U"), ("TOPIC_PUT_SIZE", "T")] {
            assert_eq!(rates.view(name, key, at_end(0)), None, "{name} {key}");
        }

        for at in 2..=61 {
            look(at, 1050 + at);
        }
        let put = of("TOPIC_PUT_NUMS", "T");
        assert_eq!((put.stats_minute.sum, put.stats_minute.tps), (6, 0.1));
        assert_eq!((put.stats_hour.sum, put.stats_day.sum), (111, 50));
        for at in 62..=361 {
            look(at, 1050 + 61);
        }
        let put = of("TOPIC_PUT_NUMS", "T");
        assert_eq!(put.stats_minute.sum, 0);
        assert_eq!((put.stats_hour.sum, put.stats_day.sum), (61, 111));
    }

    #[test]
    fn a_topic_that_is_made_anew_counts_from_nothing_and_one_that_is_gone_not_at_all() {
        let at_end = |end| move |_: &str| end;
        let rates = Rates::new(ends(100));
        rates.count_get("T", "G", 1, 1);
        rates.look(LOOK_MS, "C", &ends(7), |_| true, |_| true);
        assert_eq!(
            rates
                .view("TOPIC_PUT_NUMS", "T", at_end(0))
                .unwrap()
                .stats_minute
                .sum,
            7
        );
        rates.look(2 * LOOK_MS, "C", &[], |_| false, |_| true);
        assert_eq!(rates.view("TOPIC_PUT_NUMS", "T", at_end(0)), None);
        assert_eq!(rates.view("GROUP_GET_NUMS", "T@G", at_end(0)), None);
        assert!(rates.gets.read().is_empty());
    }
}
