//! How a store is laid out and flushed.

use std::time::Duration;

use crate::StoreError;

/// When messages become visible to readers, relative to their being on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushMode {
    /// Once written to the file; the caller syncs in the background. A crash of the process loses nothing, one of the machine what
    /// was not synced. Java: `ASYNC_FLUSH`.
    #[default]
    Async,
    /// Once synced: [`Writer::commit`](crate::Writer::commit) syncs before readers see anything. Java: `SYNC_FLUSH`.
    Sync,
}

/// Settings of a store. File sizes are those of a new directory: an existing directory keeps its own, which are recognised.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Length of a commit-log file in bytes. Default: 1 GiB (sparse). Bounds: 4 KiB to 2 GiB less one byte.
    /// Java: `mappedFileSizeCommitLog`.
    pub log_file_bytes: u64,
    /// Length of a consume-queue file in bytes. Default: 6,000,000 (sparse), which is 300,000 messages. Bounds: a multiple of 20 up
    /// to 2 GiB. Java: `mappedFileSizeConsumeQueue`.
    pub queue_file_bytes: u64,
    /// Length of a batch consume-queue file in bytes. Default: 13,800,000 (sparse). Bounds: a multiple of 46 up to 2 GiB.
    /// Java: `mapperFileSizeBatchConsumeQueue`.
    pub batch_queue_file_bytes: u64,
    /// Whether messages are indexed by key. Default: true. Java: `messageIndexEnable`.
    pub index: bool,
    /// Hash slots of an index file. Default: 5,000,000. Java: `maxHashSlotNum`.
    pub index_slots: u32,
    /// Units of an index file, the unused first one included. Default: 20,000,000. Java: `maxIndexNum`.
    pub index_units: u32,
    /// Bytes of index files that a start compares with their check sums, or a few more; what is left of them is compared while the store
    /// is open, a quarter of this with each write of the consume queues. Default: 32 MiB. 0: files are compared neither then nor later.
    /// Not in Java.
    pub index_check_bytes: u64,
    /// Bytes of log that the first start on a directory of another broker searches for queues that have no files; such queues are derived
    /// again. A longer log is not searched, and the start says so. Default: 4 GiB, some seconds. Not in Java.
    pub queue_search_bytes: u64,
    /// When messages become visible. Default: [`FlushMode::Async`].
    pub flush: FlushMode,
    /// Largest body in bytes. Default: 4 MiB. Java: `maxMessageSize`.
    pub max_message_bytes: usize,
    /// Whether every record ends with a check sum of itself, the property `__CRC32#`. Default: false. Java: `enabledAppendPropCRC`
    pub record_crc: bool,
    /// Time between two writes of consume-queue units that wait in memory, while those are of at most a thousand queues. Default: 1 s.
    /// Java: `flushIntervalConsumeQueue`.
    pub queue_write_interval: Duration,
    /// Time between two syncs of the consume queues, after which the checkpoint moves on: what a start after a kill has to read
    /// again is at most the log of that time. While more than a thousand queues have units to write, each time is the sixth one, or
    /// 512 MiB of log. Default: 10 s. Java: `flushConsumeQueueThoroughInterval`, 60 s.
    pub queue_sync_interval: Duration,
    /// Delay of each level, from level 1: gives the delivery time that the queues of `SCHEDULE_TOPIC_XXXX` hold.
    /// Default: Java's 18 levels, 1 s to 2 h. Java: `messageDelayLevel`.
    pub delay_levels: Vec<Duration>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            log_file_bytes: 1 << 30,
            queue_file_bytes: 6_000_000,
            batch_queue_file_bytes: 13_800_000,
            index: true,
            index_slots: 5_000_000,
            index_units: 20_000_000,
            index_check_bytes: 32 << 20,
            queue_search_bytes: 4 << 30,
            flush: FlushMode::Async,
            max_message_bytes: 4 << 20,
            record_crc: false,
            queue_write_interval: Duration::from_secs(1),
            queue_sync_interval: Duration::from_secs(10),
            delay_levels: [
                1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600,
                7200,
            ]
            .map(Duration::from_secs)
            .to_vec(),
        }
    }
}

impl StoreOptions {
    /// Checks all settings; reports every fault.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let faults = self.faults();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(StoreError::BadOptions { faults })
        }
    }

    /// Every setting outside of its bounds, with the bounds; empty for what [`Store::open`](crate::Store::open) takes.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !(4096..=i32::MAX as u64).contains(&self.log_file_bytes) {
            faults.push(format!(
                "log_file_bytes {} is not within 4096 to 2147483647",
                self.log_file_bytes
            ));
        }
        let units = [
            ("queue_file_bytes", self.queue_file_bytes, 20),
            ("batch_queue_file_bytes", self.batch_queue_file_bytes, 46),
        ];
        for (option, bytes, unit) in units {
            if bytes == 0 || !bytes.is_multiple_of(unit) || bytes > i32::MAX as u64 {
                faults.push(format!(
                    "{option} {bytes} is not a multiple of {unit} within {unit} to 2147483647"
                ));
            }
        }
        if self.index_slots == 0 {
            faults.push("index_slots 0: an index file needs at least 1".to_owned());
        }
        if self.index_units < 2 {
            faults.push(format!(
                "index_units {}: an index file needs at least 2",
                self.index_units
            ));
        }
        if self.max_message_bytes == 0 {
            faults.push("max_message_bytes 0: no message could be stored".to_owned());
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_reported_at_once() {
        let options = StoreOptions {
            log_file_bytes: 1,
            queue_file_bytes: 21,
            batch_queue_file_bytes: 0,
            index_slots: 0,
            index_units: 1,
            max_message_bytes: 0,
            ..StoreOptions::default()
        };
        let Err(error) = options.check() else {
            panic!("six faults are none");
        };
        let text = error.to_string();
        for option in [
            "log_file_bytes 1",
            "queue_file_bytes 21",
            "batch_queue_file_bytes 0",
            "index_slots 0",
            "index_units 1",
            "max_message_bytes 0",
        ] {
            assert!(text.contains(option), "{option} is not in {text}");
        }
        assert!(StoreOptions::default().check().is_ok());
    }
}
