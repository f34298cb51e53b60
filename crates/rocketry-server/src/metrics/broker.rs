//! The broker's numbers. Java: `BrokerMetricsManager`, `DefaultStoreMetricsManager`, `ConsumerLagCalculator`.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use rocketry_protocol::{Language, body::heartbeat::ConsumeType, record::Record};

use super::{oldest::Oldest, page::Page};
use crate::{broker::Broker, clock, names::RETRY_PREFIX};

pub(super) fn collect(page: &mut Page, broker: &Broker, oldest: &mut Oldest) {
    let now_ms = clock::wall_ms();
    messages(page, broker);
    totals(page, broker);
    clients(page, broker);
    lag(page, broker, oldest, now_ms);
    storage(page, broker, now_ms);
    let latencies = &broker.latencies;
    page.histogram(
        "rocketry_put_latency_seconds",
        "From a message's arrival at the log until it is stored as the flush mode asks; a round counts as its slowest",
        &latencies.put,
    );
    page.histogram(
        "rocketry_flush_latency_seconds",
        "Syncs of the commit log",
        &latencies.flush,
    );
    page.histogram(
        "rocketry_pull_latency_seconds",
        "Reads for pulls, without the time they wait for a message",
        &latencies.pull,
    );
}

/// What the ends of the queues say: numbers of messages go on over restarts.
fn messages(page: &mut Page, broker: &Broker) {
    let mut topics = broker.reader.topic_ends();
    topics.sort_unstable();
    let mut family = page.family(
        "rocketmq_messages_in_total",
        "counter",
        "Messages stored since the topic was made",
    );
    for (topic, count) in &topics {
        let is_system = bool_text(broker.system.is_system(topic));
        family.add(&[("topic", topic), ("is_system", is_system)], count);
    }
}

fn totals(page: &mut Page, broker: &Broker) {
    let counters = &broker.stats.counters;
    for (name, help, counter) in [
        (
            "rocketmq_throughput_in_total",
            "Bytes of bodies stored, all topics",
            &counters.put_bytes,
        ),
        (
            "rocketmq_messages_out_total",
            "Messages given to consumers, all topics and groups",
            &counters.got_messages,
        ),
        (
            "rocketmq_throughput_out_total",
            "Bytes of messages given to consumers by pulls, all topics and groups",
            &counters.got_bytes,
        ),
        (
            "rocketry_sends_failed_total",
            "Sends that were not stored",
            &counters.put_failed,
        ),
        (
            "rocketry_pulls_found_total",
            "Pulls that found messages",
            &counters.get_found,
        ),
        (
            "rocketry_pulls_missed_total",
            "Pulls that found none",
            &counters.get_missed,
        ),
    ] {
        page.single(name, "counter", help, counter.load(Relaxed));
    }
    let mut waiting = page.family(
        "rocketmq_processor_watermark",
        "gauge",
        "Requests that wait, by kind: sends for the log, pulls and pops for a message",
    );
    for (processor, count) in [
        ("send", broker.writer.waiting()),
        ("pull", broker.holds.len()),
        ("pop", broker.pops.polls.len()),
    ] {
        waiting.add(&[("processor", processor)], count);
    }
    drop(waiting);
    page.single(
        "rocketmq_broker_permission",
        "gauge",
        "2 = write, 4 = read",
        broker.permission.load(Relaxed),
    );
    page.single(
        "rocketmq_topic_number",
        "gauge",
        "Topics",
        broker.topics().count(),
    );
    page.single(
        "rocketmq_consumer_group_number",
        "gauge",
        "Subscription groups",
        broker.groups().all().len(),
    );
}

fn clients(page: &mut Page, broker: &Broker) {
    let mut producers: BTreeMap<(&'static str, i32), usize> = BTreeMap::new();
    let mut consumers: BTreeMap<(String, &'static str, i32, &'static str), usize> = BTreeMap::new();
    {
        let clients = broker.clients.lock();
        for member in clients.all_producers() {
            let language = member.language.and_then(Language::name).unwrap_or("OTHER");
            *producers.entry((language, member.version)).or_default() += 1;
        }
        for (name, group) in clients.consumer_groups() {
            let mode = match group.consume_type {
                Some(ConsumeType::Passively) => "push",
                _ => "pull",
            };
            for member in group.members() {
                let language = member.language.and_then(Language::name).unwrap_or("OTHER");
                let key = (name.to_owned(), language, member.version, mode);
                *consumers.entry(key).or_default() += 1;
            }
        }
    }
    let mut family = page.family(
        "rocketmq_producer_connections",
        "gauge",
        "Producers, by language and protocol version",
    );
    for ((language, version), count) in producers {
        let version = version.to_string();
        family.add(&[("language", language), ("version", &version)], count);
    }
    drop(family);
    let mut family = page.family(
        "rocketmq_consumer_connections",
        "gauge",
        "Consumers, by group, language, protocol version and mode",
    );
    for ((group, language, version, mode), count) in consumers {
        let labels = [
            ("consumer_group", group.as_str()),
            ("language", language),
            ("version", &version.to_string()),
            ("consume_mode", mode),
        ];
        family.add(&labels, count);
    }
}

/// Of a group in one topic.
#[derive(Default)]
struct Lag {
    messages: i64,
    in_flight: i64,
    ready: i64,
    /// Store time of the oldest message that is not consumed, ms.
    oldest_ms: Option<i64>,
    /// Messages by queue.
    queues: Vec<(i32, i64)>,
}

fn lag(page: &mut Page, broker: &Broker, oldest: &mut Oldest, now_ms: i64) {
    oldest.begin();
    let mut lags: Vec<(String, String, Lag)> = Vec::new();
    let offsets = broker.offsets.committed().snapshot().offset_table;
    for (key, queues) in offsets {
        let Some((topic, group)) = key.split_once('@') else {
            continue;
        };
        let mut lag = Lag::default();
        for (queue_id, committed) in queues {
            let Some(range) = broker.reader.queue_range(topic, queue_id) else {
                continue;
            };
            let committed = committed.clamp(range.min, range.max);
            let pulled = broker.offsets.pulled(group, topic, queue_id);
            let pulled = pulled.unwrap_or(committed).clamp(committed, range.max);
            lag.messages += range.max - committed;
            lag.in_flight += pulled - committed;
            lag.ready += range.max - pulled;
            lag.queues.push((queue_id, range.max - committed));
            if range.max > committed
                && lags.len() < broker.config.metrics_max_series
                && let Some(stored_ms) = oldest.stored_ms(&key, queue_id, committed, || {
                    let read = broker.reader.store_time(topic, queue_id, committed);
                    read.ok().flatten()
                })
            {
                lag.oldest_ms = Some(lag.oldest_ms.map_or(stored_ms, |ms| ms.min(stored_ms)));
            }
        }
        if !lag.queues.is_empty() {
            lags.push((topic.to_owned(), group.to_owned(), lag));
        }
    }
    lag_family(
        page,
        "rocketmq_consumer_lag_messages",
        "Messages not consumed yet",
        &lags,
        |lag| Some(lag.messages),
    );
    lag_family(
        page,
        "rocketmq_consumer_inflight_messages",
        "Messages pulled and not yet committed",
        &lags,
        |lag| Some(lag.in_flight),
    );
    lag_family(
        page,
        "rocketmq_consumer_ready_messages",
        "Messages not pulled yet",
        &lags,
        |lag| Some(lag.ready),
    );
    lag_family(
        page,
        "rocketmq_consumer_lag_latency",
        "Age of the oldest message not consumed yet, ms",
        &lags,
        |lag| match lag.oldest_ms {
            Some(stored_ms) => Some((now_ms - stored_ms).max(0)),
            None => (lag.messages == 0).then_some(0),
        },
    );
    let mut family = page.family(
        "rocketry_consumer_queue_lag_messages",
        "gauge",
        "Messages not consumed yet, by queue",
    );
    for (topic, group, lag) in &lags {
        for (queue_id, messages) in &lag.queues {
            let labels = [
                ("consumer_group", group.as_str()),
                ("topic", topic),
                ("queue_id", &queue_id.to_string()),
            ];
            family.add(&labels, messages);
        }
    }
}

fn lag_family(
    page: &mut Page,
    name: &'static str,
    help: &'static str,
    lags: &[(String, String, Lag)],
    of: impl Fn(&Lag) -> Option<i64>,
) {
    let mut family = page.family(name, "gauge", help);
    for (topic, group, lag) in lags {
        let is_retry = bool_text(topic.starts_with(RETRY_PREFIX));
        let labels = [
            ("consumer_group", group.as_str()),
            ("topic", topic),
            ("is_retry", is_retry),
        ];
        if let Some(value) = of(lag) {
            family.add(&labels, value);
        }
    }
}

fn storage(page: &mut Page, broker: &Broker, now_ms: i64) {
    let reader = &broker.reader;
    let (min, max) = (reader.min_log_offset(), reader.max_log_offset());
    page.single(
        "rocketmq_storage_size",
        "gauge",
        "Bytes of the commit log",
        max - min,
    );
    page.single(
        "rocketmq_storage_flush_behind_bytes",
        "gauge",
        "Bytes of the commit log that are not on disk yet",
        max - reader.synced_log_offset(),
    );
    if let Some(ms) = earliest_ms(broker) {
        page.single(
            "rocketmq_storage_message_reserve_time",
            "gauge",
            "Age of the oldest message, ms",
            (now_ms - ms).max(0),
        );
    }
    if let Some((total, free)) = reader.disk_bytes() {
        page.single("rocketry_disk_bytes", "gauge", "Size of the disk", total);
        page.single(
            "rocketry_disk_free_bytes",
            "gauge",
            "Free bytes of the disk",
            free,
        );
    }
    page.single(
        "rocketmq_timer_dequeue_latency",
        "gauge",
        "How far the delivery of timed messages is behind, ms",
        broker.timer.read_behind_ms(now_ms),
    );
    let timing = reader.metadata().timer_metrics.snapshot();
    let mut family = page.family(
        "rocketmq_timing_messages",
        "gauge",
        "Messages that wait for their time, by topic",
    );
    for (topic, count) in &timing.timing_count {
        family.add(&[("topic", topic)], count.count);
    }
}

fn earliest_ms(broker: &Broker) -> Option<i64> {
    let first = broker.reader.record_at(broker.reader.min_log_offset());
    let record = first.ok()??;
    let (record, _) = Record::parse(&record).ok()?;
    Some(record.store_ms)
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
