//! Settings from a `broker.conf`: the file that Apache's broker is started with, so that both open one directory with the same values.

mod users;

use std::{net::IpAddr, time::Duration};

use users::Users;

use crate::{Advertise, DataDir, FlushMode, Role, ServerConfig, ServerError};

/// Java writes `1s 5s ...`; other levels than its own are not served.
const DELAY_LEVELS: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";

/// Lengths of files. A directory keeps those it was begun with, whatever is set here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSizes {
    /// A commit-log file, bytes. Default: 1 GiB. Java: `mappedFileSizeCommitLog`.
    pub log_bytes: u64,
    /// A consume-queue file, bytes: a multiple of 20. Default: 6,000,000. Java: `mappedFileSizeConsumeQueue`.
    pub queue_bytes: u64,
    /// A batch consume-queue file, bytes: a multiple of 46. Default: 13,800,000. Java: `mapperFileSizeBatchConsumeQueue`.
    pub batch_queue_bytes: u64,
    /// A timer-log file, bytes. Default: 100 MiB. Java: `mappedFileSizeTimerLog`.
    pub timer_log_bytes: u64,
    /// Hash slots of an index file. Default: 5,000,000. Java: `maxHashSlotNum`.
    pub index_slots: u32,
    /// Keys of an index file, one more than it holds. Default: 20,000,000. Java: `maxIndexNum`.
    pub index_units: u32,
}

impl Default for FileSizes {
    fn default() -> Self {
        let store = rocketry_store::StoreOptions::default();
        Self {
            log_bytes: store.log_file_bytes,
            queue_bytes: store.queue_file_bytes,
            batch_queue_bytes: store.batch_queue_file_bytes,
            timer_log_bytes: rocketry_store::TimerOptions::default().log_file_bytes,
            index_slots: store.index_slots,
            index_units: store.index_units,
        }
    }
}

impl ServerConfig {
    /// Takes the settings over from the text of a `broker.conf`: `key=value` lines, of which the last of a key counts, and comments
    /// after `#`. With `namesrvAddr` it becomes a broker alone. Returns the keys that mean nothing here, in order.
    ///
    /// # Errors
    /// [`ServerError::Config`] with every value that is illegible, and every setting that asks for something this broker is not:
    /// another role than a master's, other delay levels, another kind of store, a commit log outside of the data directory. Nothing is
    /// taken over then.
    ///
    /// Java: `BrokerStartup -c`
    pub fn apply_broker_conf(&mut self, text: &str) -> Result<Vec<String>, ServerError> {
        let mut config = self.clone();
        let (mut ignored, mut faults) = (Vec::new(), Vec::new());
        let (mut root, mut log_dir) = (None, None);
        let mut users = Users::default();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let (key, value) = (key.trim(), value.trim());
            match key {
                "storePathRootDir" => root = Some(value),
                "storePathCommitLog" => log_dir = Some(value),
                _ if users.takes(key, value) => {}
                _ => match config.set(key, value) {
                    Ok(true) => {}
                    Ok(false) => ignored.push(key.to_owned()),
                    Err(reason) => faults.push(format!("{key}={value}: {reason}")),
                },
            }
        }
        users.apply(&mut config, &mut ignored, &mut faults);
        if let Some(root) = root {
            config.data_dir = DataDir::Path(root.into());
        }
        let within = |log_dir: &str| match &config.data_dir {
            DataDir::Path(dir) => dir.join("commitlog").as_path() == std::path::Path::new(log_dir),
            DataDir::Temp => false,
        };
        if let Some(log_dir) = log_dir.filter(|log_dir| !within(log_dir)) {
            faults.push(format!(
                "storePathCommitLog={log_dir}: the commit log has to be the directory commitlog in storePathRootDir"
            ));
        }
        if !faults.is_empty() {
            return Err(ServerError::Config { faults });
        }
        *self = config;
        Ok(ignored)
    }

    /// False for a key that means nothing here.
    fn set(&mut self, key: &str, value: &str) -> Result<bool, &'static str> {
        match key {
            "brokerClusterName" => value.clone_into(&mut self.cluster_name),
            "brokerName" => value.clone_into(&mut self.broker_name),
            "namesrvAddr" => {
                let addresses = value.split([';', ',']).map(str::trim);
                self.name_servers = addresses
                    .filter(|address| !address.is_empty())
                    .map(str::to_owned)
                    .collect();
                if !self.name_servers.is_empty() {
                    self.role = Role::Broker;
                }
            }
            "bindAddress" => self.host = address(value)?,
            "brokerIP1" => {
                let advertise = Advertise::new(value, None);
                self.advertise = Some(advertise.map_err(|_| "clients cannot connect to it")?);
            }
            "listenPort" => self.broker_port = number(value)?,
            "flushDiskType" => {
                self.flush = match value {
                    "ASYNC_FLUSH" => FlushMode::Async,
                    "SYNC_FLUSH" => FlushMode::Sync,
                    _ => return Err("neither ASYNC_FLUSH nor SYNC_FLUSH"),
                }
            }
            "flushIntervalCommitLog" => self.flush_interval = millis(value)?,
            "syncFlushTimeout" => self.sync_flush_timeout = millis(value)?,
            "fileReservedTime" => {
                self.retention.reserved =
                    Duration::from_secs(number::<u64>(value)?.saturating_mul(3600));
            }
            "deleteWhen" => {
                let hours = value.split(';').map(str::trim);
                self.retention.hours = hours.map(number).collect::<Result<_, _>>()?;
            }
            "diskSpaceCleanForciblyRatio" => self.retention.clean_percent = number(value)?,
            "diskSpaceWarningLevelRatio" => self.retention.refuse_percent = number(value)?,
            "deleteFileBatchMax" => self.retention.max_files = number(value)?,
            "autoCreateTopicEnable" => self.auto_create_topics = switch(value)?,
            "autoCreateSubscriptionGroup" => self.auto_create_groups = switch(value)?,
            "enablePropertyFilter" => self.enable_property_filter = switch(value)?,
            "recallMessageEnable" => self.recall_messages = switch(value)?,
            "defaultTopicQueueNums" => self.default_topic_queues = number(value)?,
            "maxMessageSize" => self.max_message_bytes = number(value)?,
            "sendThreadPoolQueueCapacity" => self.max_waiting_sends = number(value)?,
            "transactionTimeOut" => self.transaction_timeout = millis(value)?,
            "transactionCheckInterval" => self.transaction_check_interval = millis(value)?,
            "transactionCheckMax" => self.transaction_check_max = number(value)?,
            "timerPrecisionMs" => self.timer_precision = millis(value)?,
            "timerRollWindowSlot" => self.timer_roll_window = number(value)?,
            "timerMaxDelaySec" => self.timer_max_delay = Duration::from_secs(number(value)?),
            "mappedFileSizeCommitLog" => self.files.log_bytes = number(value)?,
            // as in Java, a file holds whole units
            "mappedFileSizeConsumeQueue" => {
                self.files.queue_bytes = number::<u64>(value)?.div_ceil(20).saturating_mul(20);
            }
            "mapperFileSizeBatchConsumeQueue" => {
                self.files.batch_queue_bytes =
                    number::<u64>(value)?.div_ceil(46).saturating_mul(46);
            }
            "mappedFileSizeTimerLog" => self.files.timer_log_bytes = number(value)?,
            "maxHashSlotNum" => self.files.index_slots = number(value)?,
            "maxIndexNum" => self.files.index_units = number(value)?,
            "messageIndexEnable" => self.index_messages = switch(value)?,
            "enabledAppendPropCRC" => self.record_crc = switch(value)?,
            // asked for there, a server without it would be open to everybody
            "authenticationEnabled" => {
                let wanted = switch(value)?;
                self.access = wanted.then(|| self.access.take().unwrap_or_default());
            }
            "aclEnable" => only(value, "false", "accounts of 4.x are not served: false")?,
            "brokerId" => only(value, "0", "this broker is a master, whose id is 0")?,
            "brokerRole" => only(
                value,
                "ASYNC_MASTER",
                "this broker has no replicas: ASYNC_MASTER",
            )?,
            "storeType" => only(value, "default", "only the default store, of files")?,
            "configManagerVersion" => only(value, "V1", "only V1, settings in JSON files")?,
            "messageDelayLevel" => only(value, DELAY_LEVELS, "only Java's own levels")?,
            "enableLmq"
            | "timerRocksDBEnable"
            | "transRocksDBEnable"
            | "indexRocksDBEnable"
            | "popConsumerKVServiceEnable"
            | "rocksdbCQDoubleWriteEnable"
            | "enableConsumeQueueExt"
            | "timerWheelSnapshotFlush" => {
                only(value, "false", "this broker does not have it: false")?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, &'static str> {
    value.parse().map_err(|_| "not a number in range")
}

fn millis(value: &str) -> Result<Duration, &'static str> {
    number(value).map(Duration::from_millis)
}

fn switch(value: &str) -> Result<bool, &'static str> {
    value.parse().map_err(|_| "neither true nor false")
}

fn address(value: &str) -> Result<IpAddr, &'static str> {
    value.parse().map_err(|_| "not an IP address")
}

fn only(value: &str, one: &str, reason: &'static str) -> Result<(), &'static str> {
    if value == one { Ok(()) } else { Err(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_apaches_broker_is_taken_over() {
        let mut config = ServerConfig::default();
        let ignored = config
            .apply_broker_conf(
                "# a comment\n\
                 brokerName = old-name\n\
                 brokerName=broker-b\n\
                 brokerClusterName=C\n\
                 brokerId=0\n\
                 storePathRootDir=/data/store\n\
                 storePathCommitLog=/data/store/commitlog\n\
                 namesrvAddr=10.0.0.1:9876;10.0.0.2:9876\n\
                 brokerIP1=10.0.0.3\n\
                 flushDiskType=SYNC_FLUSH\n\
                 fileReservedTime=48\n\
                 deleteWhen=04;16\n\
                 mappedFileSizeCommitLog=65536\n\
                 mappedFileSizeConsumeQueue=1001\n\
                 maxHashSlotNum=100\n\
                 maxIndexNum=400\n\
                 messageIndexEnable=false\n\
                 enabledAppendPropCRC=true\n\
                 transactionTimeOut=2000\n\
                 haListenPort=10912\n",
            )
            .unwrap();
        assert_eq!(ignored, ["haListenPort"]);
        assert_eq!(config.broker_name, "broker-b");
        assert_eq!(config.cluster_name, "C");
        assert_eq!(config.data_dir, DataDir::Path("/data/store".into()));
        assert_eq!(config.name_servers, ["10.0.0.1:9876", "10.0.0.2:9876"]);
        assert_eq!(
            config.advertise,
            Some(Advertise::new("10.0.0.3", None).unwrap())
        );
        assert_eq!(config.role, Role::Broker);
        assert_eq!(config.flush, FlushMode::Sync);
        assert_eq!(config.retention.reserved, Duration::from_hours(48));
        assert_eq!(config.retention.hours, [4, 16]);
        assert_eq!(config.files.log_bytes, 65536);
        assert_eq!(config.files.queue_bytes, 1020, "whole units");
        assert_eq!(
            (config.files.index_slots, config.files.index_units),
            (100, 400)
        );
        assert!(!config.index_messages && config.record_crc);
        assert_eq!(config.transaction_timeout, Duration::from_secs(2));
        config.check().unwrap();
    }

    #[test]
    fn a_file_that_asks_for_users_is_not_served_to_everybody() {
        let mut config = ServerConfig::default();
        config
            .apply_broker_conf("authorizationEnabled=false\nauthenticationEnabled=true\n")
            .unwrap();
        assert!(!config.access.unwrap().permissions);
        let mut config = ServerConfig::default();
        config
            .apply_broker_conf("authenticationEnabled=true\nauthorizationEnabled=true\n")
            .unwrap();
        assert!(config.access.unwrap().permissions);
        let refused = ServerConfig::default().apply_broker_conf("aclEnable=true");
        assert!(matches!(refused, Err(ServerError::Config { .. })));
    }

    #[test]
    fn what_this_broker_is_not_is_refused_and_nothing_taken_over() {
        let mut config = ServerConfig::default();
        let text = "brokerName=other\nbrokerRole=SLAVE\nbrokerId=1\nmessageDelayLevel=1s\nstoreType=defaultRocksDB\n\
                    maxIndexNum=many\nstorePathRootDir=/a\nstorePathCommitLog=/b\nflushDiskType=SOMETIMES";
        let ServerError::Config { faults } = config.apply_broker_conf(text).unwrap_err() else {
            panic!("not a configuration error");
        };
        assert_eq!(faults.len(), 7, "{faults:#?}");
        assert_eq!(
            faults[0],
            "brokerRole=SLAVE: this broker has no replicas: ASYNC_MASTER"
        );
        assert_eq!(config.broker_name, "broker-a");
        assert_eq!(config.data_dir, DataDir::Temp);
    }
}
