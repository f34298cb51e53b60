//! State and configuration of the broker (25, 26, 28, 43, 45, 61, 329). Java: `AdminBrokerProcessor`.

use std::{collections::BTreeMap, fmt::Write as _, sync::atomic::Ordering};

use rocketry_protocol::{
    RemotingCommand,
    body::{
        DataVersion,
        route::KVTable,
        topics::{TopicConfig, perm},
    },
    header::GetBrokerConfigReply,
};

use rocketry_remoting::Responder;

use super::{encoded, fixed_setting, ok, ok_body, settings};
use crate::{
    announce,
    broker::Broker,
    clock,
    config::FlushMode,
    fault::{Fault, Reply, into_response},
    names::{DEFAULT_TOPIC, TIMER_TOPIC},
};

/// Code 28. `mqadmin` prints blanks or fails where a key is missing: those that have no meaning here are there with a resting value.
pub(crate) fn runtime_info(broker: &Broker, now_ms: i64) -> Reply {
    let mut table = BTreeMap::new();
    let mut put = |key: &str, value: String| {
        table.insert(key.to_owned(), value);
    };
    let totals = broker.stats.totals(now_ms);
    let counters = &broker.stats.counters;
    let put_messages = totals.put_messages;
    let put_bytes = counters.put_bytes.load(Ordering::Relaxed);

    put("brokerVersionDesc", "V5_5_0".to_owned());
    put("brokerActive", "true".to_owned());
    put("bootTimestamp", broker.started_ms.to_string());
    put("runtime", uptime(now_ms - broker.started_ms));
    put("startAcceptSendRequestTimeStamp", "0".to_owned());

    for (name, total) in [("msgPut", put_messages), ("msgGet", totals.got_messages)] {
        put(&format!("{name}TotalYesterdayMorning"), "0".to_owned());
        put(&format!("{name}TotalTodayMorning"), "0".to_owned());
        put(&format!("{name}TotalTodayNow"), total.to_string());
    }
    put("putTps", broker.stats.rates(|s| s.put_messages));
    put("getFoundTps", broker.stats.rates(|s| s.get_found));
    put("getMissTps", broker.stats.rates(|s| s.get_missed));
    put(
        "getTotalTps",
        broker.stats.rates(|s| s.get_found + s.get_missed),
    );
    put("getTransferredTps", broker.stats.rates(|s| s.got_messages));

    put("putMessageTimesTotal", put_messages.max(1).to_string());
    put(
        "putMessageFailedTimes",
        counters.put_failed.load(Ordering::Relaxed).to_string(),
    );
    put("putMessageSizeTotal", put_bytes.to_string());
    put("putMessageAverageSize", average(put_bytes, put_messages));
    put("putMessageDistributeTime", "null".to_owned());
    put("putMessageEntireTimeMax", "0".to_owned());
    put("getMessageEntireTimeMax", "0".to_owned());
    put("putLatency99", "0.00".to_owned());
    put("putLatency999", "0.00".to_owned());
    put("pageCacheLockTimeMills", "0".to_owned());

    let (min, max) = (
        broker.reader.min_log_offset(),
        broker.reader.max_log_offset(),
    );
    let behind = max - broker.reader.synced_log_offset();
    put("commitLogMinOffset", min.to_string());
    put("commitLogMaxOffset", max.to_string());
    put("remainHowManyDataToFlush", format!("{behind} B"));
    put("remainTransientStoreBufferNumbs", i32::MAX.to_string());
    // queues are never behind; the index is while it cannot be written
    put(
        "dispatchBehindBytes",
        broker.reader.unindexed_bytes().to_string(),
    );
    put("dispatchMaxBuffer", "0".to_owned());
    put("earliestMessageTimeStamp", earliest(broker)?.to_string());
    let (total, free) = broker.reader.disk_bytes().unwrap_or_default();
    let (used, log) = (
        used_ratio(total, free),
        broker.data_dir.join("commitlog").display().to_string(),
    );
    put("commitLogDiskRatio", used.clone());
    put(&format!("commitLogDiskRatio_{log}"), used.clone());
    put("consumeQueueDiskRatio", used);
    put(
        "commitLogDirCapacity",
        format!(
            "Total : {}, Free : {}.",
            binary_size(total),
            binary_size(free)
        ),
    );

    for queue in ["send", "pull", "litePull", "query", "ack"] {
        put(&format!("{queue}ThreadPoolQueueSize"), "0".to_owned());
        put(
            &format!("{queue}ThreadPoolQueueHeadWaitTimeMills"),
            "0".to_owned(),
        );
    }
    put(
        "sendThreadPoolQueueSize",
        broker.writer.waiting().to_string(),
    );
    put(
        "sendThreadPoolQueueCapacity",
        broker.config.max_waiting_sends.to_string(),
    );
    put("pullThreadPoolQueueSize", broker.holds.len().to_string());
    for queue in ["pull", "litePull", "query", "ack"] {
        put(
            &format!("{queue}ThreadPoolQueueCapacity"),
            broker.config.max_waiting_pulls.to_string(),
        );
    }
    put("EndTransactionQueueSize", "0".to_owned());
    put("EndTransactionThreadPoolQueueCapacity", "100000".to_owned());
    let (read_behind_ms, waiting) = (broker.timer.read_behind_ms(now_ms), timer_waiting(broker));
    put("timerReadBehind", (read_behind_ms / 1000).to_string());
    put("timerOffsetBehind", timer_behind(broker).to_string());
    put("timerCongestNum", waiting.to_string());
    put("timerEnqueueTps", "0.0".to_owned());
    put("timerDequeueTps", "0.0".to_owned());
    Ok(ok_body(encoded(&KVTable { table })?))
}

/// Messages of the timer topic that the timer has not looked at yet.
fn timer_behind(broker: &Broker) -> i64 {
    let range = broker.reader.queue_range(TIMER_TOPIC, 0);
    range.map_or(0, |range| {
        range.max.saturating_sub(broker.timer.queue_offset()).max(0)
    })
}

/// Messages that wait for their time.
fn timer_waiting(broker: &Broker) -> i64 {
    let counts = broker.reader.metadata().timer_metrics.snapshot();
    counts.timing_count.values().map(|topic| topic.count).sum()
}

/// Code 25, in effect until the server stops: what an operator may want to change on a running broker. Other keys of Java's are ignored,
/// as Java ignores those it does not know; what would contradict the files or the addresses in use is refused.
pub(crate) fn update(broker: &Broker, request: &RemotingCommand, now_ms: i64) -> Reply {
    let settings = settings(request)?;
    for (key, value) in &settings {
        check_setting(key, value)?;
    }
    for (key, value) in settings {
        apply_setting(broker, key, value, now_ms);
    }
    Ok(ok())
}

/// Keys that must not change while the broker runs. Java: `configBlackList`.
const FIXED_SETTINGS: [&str; 12] = [
    "brokerClusterName",
    "brokerConfigPath",
    "brokerId",
    "brokerIP1",
    "brokerName",
    "brokerRole",
    "configBlackList",
    "flushDiskType",
    "listenPort",
    "namesrvAddr",
    "rocketmqHome",
    "storePathRootDir",
];

fn check_setting(key: &str, value: &str) -> Result<(), Fault> {
    if FIXED_SETTINGS.contains(&key) {
        return Err(fixed_setting());
    }
    let is_legible = match key {
        "brokerPermission" => value.parse::<i32>().is_ok(),
        "autoCreateTopicEnable" | "autoCreateSubscriptionGroup" => value.parse::<bool>().is_ok(),
        _ => true,
    };
    if is_legible {
        Ok(())
    } else {
        Err(Fault::system_error(format!("{key} cannot be {value:?}")))
    }
}

fn apply_setting(broker: &Broker, key: &str, value: &str, now_ms: i64) {
    match (key, value.parse::<i32>(), value.parse::<bool>()) {
        ("brokerPermission", Ok(bits), _) => {
            broker.permission.store(bits, Ordering::Relaxed);
            announce::permission_changed(broker, now_ms);
        }
        ("autoCreateSubscriptionGroup", _, Ok(enabled)) => {
            broker.auto_create_groups.store(enabled, Ordering::Relaxed);
        }
        ("autoCreateTopicEnable", _, Ok(enabled)) => {
            let inherit = if enabled { perm::INHERIT } else { 0 };
            let template = TopicConfig {
                perm: perm::READ | perm::WRITE | inherit,
                ..TopicConfig::new(DEFAULT_TOPIC, broker.config.default_topic_queues)
            };
            broker.topics().put(template.clone(), now_ms);
            announce::topic_changed(broker, &template);
        }
        _ => return,
    }
    tracing::info!(key, value, "a setting was changed by a request");
}

/// Code 329: removes old messages now, whatever the hour.
pub(crate) fn delete_expired(broker: &Broker, responder: Responder) {
    let (flusher, retention) = (broker.flusher.clone(), broker.config.retention.clone());
    broker.tasks.spawn_blocking(move || {
        let cleaned = flusher
            .clean(&retention, clock::wall_ms(), true)
            .map(|_| ok())
            .map_err(|error| Fault::system_error(error.to_string()));
        responder.respond(into_response(cleaned));
    });
}

/// Code 43: all committed offsets, for who replicates them.
pub(crate) fn consumer_offsets(broker: &Broker) -> Reply {
    Ok(ok_body(encoded(&broker.offsets.committed().snapshot())?))
}

/// Code 45.
pub(crate) fn delay_offsets(broker: &Broker) -> Reply {
    let offsets = &broker.reader.metadata().delay_offsets;
    Ok(ok_body(encoded(&offsets.snapshot())?))
}

/// Code 61: how many messages of each topic wait for their time.
pub(crate) fn timer_metrics(broker: &Broker) -> Reply {
    let metrics = &broker.reader.metadata().timer_metrics;
    Ok(ok_body(encoded(&metrics.snapshot())?))
}

/// Code 26: the keys of Java's configuration that this broker has.
pub(crate) fn config(broker: &Broker) -> Reply {
    let config = &broker.config;
    let mut text = String::new();
    let mut put = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{key}={value}");
    };
    let groups = broker.auto_create_groups.load(Ordering::Relaxed);
    put("autoCreateSubscriptionGroup", &groups);
    let template = broker.topics().get(DEFAULT_TOPIC);
    let creates_topics = template.is_some_and(|topic| topic.perm & perm::INHERIT != 0);
    put("autoCreateTopicEnable", &creates_topics);
    put("brokerClusterName", &config.cluster_name);
    put("brokerIP1", &broker.identity.store_host.ip());
    put("brokerId", &0);
    put("brokerName", &config.broker_name);
    put(
        "brokerPermission",
        &broker.permission.load(Ordering::Relaxed),
    );
    put("brokerRole", &"ASYNC_MASTER");
    put("defaultTopicQueueNums", &config.default_topic_queues);
    let hours = config.retention.hours.iter();
    let hours: Vec<String> = hours.map(|hour| format!("{hour:02}")).collect();
    put("deleteWhen", &hours.join(";"));
    put("enablePropertyFilter", &config.enable_property_filter);
    put("enabledAppendPropCRC", &config.record_crc);
    put(
        "flushDiskType",
        &match config.flush {
            FlushMode::Async => "ASYNC_FLUSH",
            FlushMode::Sync => "SYNC_FLUSH",
        },
    );
    put(
        "fileReservedTime",
        &(config.retention.reserved.as_secs() / 3600),
    );
    put("flushIntervalCommitLog", &config.flush_interval.as_millis());
    put("listenPort", &broker.identity.store_host.port());
    put("maxMessageSize", &config.max_message_bytes);
    put("messageIndexEnable", &config.index_messages);
    put("namesrvAddr", &config.name_servers.join(";"));
    put("storePathRootDir", &broker.data_dir.display());
    let version = encoded(&DataVersion::default())?;
    let version = String::from_utf8_lossy(&version).into_owned();
    Ok(ok()
        .with_header(&GetBrokerConfigReply { version })
        .with_body(text))
}

/// Share of the disk in use, in hundredths. Java: `UtilAll.getDiskPartitionSpaceUsedPercent`.
fn used_ratio(total: u64, free: u64) -> String {
    let hundredths = total.saturating_sub(free).saturating_mul(100) / total.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// `252.0 GiB`.
fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = bytes.max(1).ilog2() / 10;
    let unit = usize::try_from(power)
        .ok()
        .and_then(|power| UNITS.get(power))
        .copied()
        .unwrap_or("EiB");
    if power == 0 {
        return format!("{bytes} {unit}");
    }
    // One digit behind the point without the inexactness of floating point.
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Store time of the oldest message in the log, −1 without one.
fn earliest(broker: &Broker) -> Result<i64, Fault> {
    let read = |error: rocketry_store::ReadError| Fault::system_error(error.to_string());
    let Some(record) = broker
        .reader
        .record_at(broker.reader.min_log_offset())
        .map_err(read)?
    else {
        return Ok(-1);
    };
    let (record, _) = rocketry_protocol::record::Record::parse(&record)?;
    Ok(record.store_ms)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an average for people: 52 bits are enough"
)]
fn average(sum: u64, count: u64) -> String {
    format!("{:?}", sum as f64 / count.max(1) as f64)
}

/// `[ 0 days, 0 hours, 1 minutes, 2 seconds ]`
fn uptime(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    format!(
        "[ {} days, {} hours, {} minutes, {} seconds ]",
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-074 for the values that tools show as they are.
    #[test]
    fn disk_figures_are_written_as_java_writes_them() {
        assert_eq!(used_ratio(200, 70), "0.65");
        assert_eq!(used_ratio(0, 0), "0.00");
        assert_eq!(used_ratio(100, 0), "1.00");
        assert_eq!(binary_size(252 << 30), "252.0 GiB");
        assert_eq!(binary_size(1536), "1.5 KiB");
        assert_eq!(binary_size(1023), "1023 B");
        assert_eq!(binary_size(0), "0 B");
        assert_eq!(binary_size(u64::MAX), "15.9 EiB");
    }
}
