//! An index that could not be written falls behind, and catches up from the log once the disk takes writes again.

use std::io;

use crate::{
    commit_log::{CommitLog, Scanner, Step},
    dispatch::Marks,
    index::{Index, IndexFault, IndexKey, keys_of},
    shared::Shared,
};

/// Bytes of the log that one step reads at most: a step holds up the other work of the flusher.
const STEP_BYTES: u64 = if cfg!(test) { 4 << 20 } else { 256 << 20 };
/// With no more than this left to read, the last keys are read while new messages wait to become visible.
const LAST_BYTES: u64 = 1 << 20;
/// Keys that are written together.
const BATCH: usize = 256 * 1024;

/// One step: writes the keys of messages that the index lacks, in log order. At its end the index may still be behind, see
/// [`WaitingKeys::behind`](crate::index::WaitingKeys::behind). Returns the end time that the checkpoint may confirm.
///
/// Syncs the log as far as it reads: a key must not outlive its message.
pub(crate) fn catch_up(shared: &Shared, index: &mut Index, now_ms: i64) -> Result<i64, IndexFault> {
    index.open_newest()?;
    let (end, again) = index.end().unwrap_or((0, true));
    // further than the end where messages without keys were read
    let reached = shared.index_keys.lock().behind().unwrap_or(0);
    let from = end.max(reached).max(shared.log.min());
    let mut walk = Walk {
        log: &shared.log,
        scanner: Scanner::new(&shared.log, shared.log.synced(), from),
        skip: (!again).then_some(end),
    };
    let mut keys = Vec::new();
    // at least once: only a write tells that the disk takes writes again
    let confirmed_ms = loop {
        let newest = shared.newest.lock().log_offset;
        let turn_from = walk.scanner.position();
        walk.scanner
            .extend(shared.sync_log().map_err(io::Error::other)?);
        while keys.len() < BATCH
            && walk.scanner.bytes_read() < STEP_BYTES
            && walk.step(newest, &mut keys)?
        {}
        let confirmed_ms = index.write(&keys, now_ms)?;
        keys.clear();
        let position = walk.scanner.position();
        shared.index_keys.lock().fall_behind(position);
        if walk.scanner.bytes_read() >= STEP_BYTES {
            return Ok(confirmed_ms);
        }
        let newest = shared.newest.lock().log_offset;
        if newest.saturating_sub(position) <= LAST_BYTES || position == turn_from {
            break confirmed_ms;
        }
    };
    let mut waiting = shared.index_keys.lock();
    let newest = shared.newest.lock().log_offset;
    if newest.saturating_sub(walk.scanner.position()) <= 2 * LAST_BYTES {
        // not synced: these keys are written later
        walk.scanner.extend(shared.log.end());
        while walk.step(newest, &mut keys)? {}
        waiting.catch_up(keys);
        tracing::info!("the index has the keys of all messages again");
    }
    Ok(confirmed_ms)
}

/// A walk along the log that collects keys.
struct Walk<'a> {
    log: &'a CommitLog,
    scanner: Scanner,
    /// Log offset of a message whose keys are all in the index.
    skip: Option<u64>,
}

impl Walk<'_> {
    /// Takes the keys of the next message up to the one at `newest`, or skips what is damaged before that; false when there is neither.
    /// Expects that the scanner's end is behind `newest`.
    fn step(&mut self, newest: u64, keys: &mut Vec<IndexKey>) -> io::Result<bool> {
        let (record, len) = match self.scanner.step()? {
            Step::Record { record, len, .. } => (record, len),
            Step::End(reason) => {
                let at = self.scanner.position();
                if at >= newest {
                    return Ok(false);
                }
                // as a start does: at the next file, or at a record that is known
                let next = (self.log.file_start(at) + self.log.file_bytes()).min(newest);
                tracing::warn!(
                    "commit log: no valid record at offset {at} ({}); messages before {next} are not found by key",
                    reason.as_deref().unwrap_or("zeros")
                );
                self.scanner.go_to(next);
                return Ok(true);
            }
        };
        // the step skips fillers
        let at = record.physical_offset.cast_unsigned();
        if at > newest {
            return Ok(false);
        }
        if self.skip != Some(at) {
            keys_of(&record, at, &Marks::of(record.properties), keys);
        }
        self.scanner.advance(len);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::STEP_BYTES;
    use crate::{KeyQuery, NewMessage, Reader, Store, StoreOptions, Writer};

    const NOW_MS: i64 = 1_700_000_000_000;

    fn send(writer: &mut Writer, properties: &str, body: &[u8]) -> u64 {
        let host = std::net::SocketAddr::from(([127, 0, 0, 1], 10911));
        let message = NewMessage {
            topic: "T",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_ms: NOW_MS,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            properties: properties.as_bytes(),
            body,
        };
        let appended = writer.append(&message, NOW_MS).unwrap();
        writer.commit().unwrap();
        appended.log_offset.cast_unsigned()
    }

    fn is_found(reader: &Reader, key: &str) -> bool {
        let query = KeyQuery {
            topic: "T",
            key,
            kind: crate::KeyKind::Key,
            max_messages: 2,
            max_bytes: usize::MAX,
            begin_ms: 0,
            end_ms: i64::MAX,
        };
        reader.query_by_key(&query).unwrap().count == 1
    }

    fn options(log_file_bytes: u64) -> StoreOptions {
        StoreOptions {
            log_file_bytes,
            index_slots: 20,
            index_units: 50,
            ..StoreOptions::default()
        }
    }

    /// More than a step reads has no keys that tell in the index how far it came.
    #[test]
    fn messages_without_keys_are_read_in_steps() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, reader, _) = Store::open(dir.path(), options(16 << 20), NOW_MS).unwrap();
        let body = vec![b'x'; 1 << 20];
        for _ in 0..3 * (STEP_BYTES >> 20) {
            send(&mut writer, "", &body);
        }
        send(&mut writer, "KEYS\x01k\x02", b"body");
        writer.shared.index_keys.lock().fall_behind(0);
        let mut steps = 0;
        while reader.unindexed_bytes() > 0 {
            steps += 1;
            let before = reader.unindexed_bytes();
            writer.flush_tick(NOW_MS + 10_000 * steps).unwrap();
            assert!(reader.unindexed_bytes() < before, "step {steps}");
        }
        assert!(steps > 2, "{steps}");
        assert!(is_found(&reader, "k"));
    }

    /// The oldest file went while the index was behind what it held.
    #[test]
    fn the_first_message_of_a_log_that_lost_files_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, reader, _) = Store::open(dir.path(), options(4096), NOW_MS).unwrap();
        send(&mut writer, "KEYS\x01k0\x02", b"body");
        writer.flush_tick(NOW_MS + 10_000).unwrap();
        let mut n = 0;
        while n == 0 || send(&mut writer, &format!("KEYS\x01k{n}\x02"), b"body") < 4096 {
            n += 1;
        }
        let shared = &writer.shared;
        shared.index_keys.lock().fall_behind(0);
        shared.sync_log().unwrap();
        shared.log.retire(0).unwrap();
        writer.flush_tick(NOW_MS + 20_000).unwrap();
        assert_eq!(reader.unindexed_bytes(), 0);
        assert!(is_found(&reader, &format!("k{n}")));
    }
}
