//! An index that could not be written falls behind, and catches up from the log once the disk takes writes again.

use std::io;

use crate::{
    commit_log::{Scanner, Step},
    dispatch::Marks,
    index::{Index, IndexFault, IndexKey, keys_of},
    shared::Shared,
};

/// Bytes of the log that one step reads at most: a step holds up the other work of the flusher.
const STEP_BYTES: u64 = 256 << 20;
/// With no more than this left to read, the last keys are read while new messages wait to become visible.
const LAST_BYTES: u64 = 1 << 20;
/// Keys that are written together.
const BATCH: usize = 256 * 1024;

/// One step: writes the keys of messages that the index lacks, in log order. At its end the index may still be behind, see
/// [`WaitingKeys::behind`](crate::index::WaitingKeys::behind). Returns the end time that the checkpoint may confirm.
///
/// Expects that the log is synced: a key must not outlive its message.
pub(crate) fn catch_up(shared: &Shared, index: &mut Index, now_ms: i64) -> Result<i64, IndexFault> {
    index.open_newest()?;
    let (end, again) = index.end().unwrap_or((0, true));
    let from = end.max(shared.log.min());
    let mut walk = Walk {
        scanner: Scanner::new(&shared.log, shared.log.end(), from),
        skip: (!again).then_some(from),
    };
    let mut keys = Vec::new();
    let mut confirmed_ms = index.write(&[], now_ms)?;
    // only a write tells that the disk takes writes again
    let mut has_written = false;
    loop {
        let newest = shared.newest.lock().log_offset;
        let is_last = newest.saturating_sub(walk.scanner.position()) <= LAST_BYTES;
        if (is_last && has_written) || walk.scanner.bytes_read() >= STEP_BYTES {
            break;
        }
        while keys.len() < BATCH
            && walk.scanner.bytes_read() < STEP_BYTES
            && walk.step(newest, &mut keys)?
        {}
        confirmed_ms = index.write(&keys, now_ms)?;
        keys.clear();
        has_written = true;
        if let Some((end, _)) = index.end() {
            shared.index_keys.lock().fall_behind(end);
        }
    }
    if walk.scanner.bytes_read() >= STEP_BYTES {
        return Ok(confirmed_ms);
    }
    let mut waiting = shared.index_keys.lock();
    let newest = shared.newest.lock().log_offset;
    if newest.saturating_sub(walk.scanner.position()) <= 2 * LAST_BYTES {
        while walk.step(newest, &mut keys)? {}
        waiting.catch_up(keys);
        tracing::info!("the index has the keys of all messages again");
    }
    Ok(confirmed_ms)
}

/// A walk along the log that collects keys.
struct Walk {
    scanner: Scanner,
    /// Log offset of a message whose keys are all in the index.
    skip: Option<u64>,
}

impl Walk {
    /// Takes the keys of the next message up to the one at `newest`; false when there is none.
    fn step(&mut self, newest: u64, keys: &mut Vec<IndexKey>) -> io::Result<bool> {
        let Step::Record { record, len, .. } = self.scanner.step()? else {
            return Ok(false);
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
