//! The log and the files of the consume queues as a recovery leaves them on disk.

use std::{collections::HashSet, io, path::PathBuf, sync::Arc};

use super::{LoadedQueue, Work, derive::Derived, name_of};
use crate::{
    StoreError, consume_queue::ConsumeQueue, dispatch::Dispatcher, queue_table::QueueTable,
};

impl Work<'_> {
    /// Wipes what lies behind the end of the log. After a clean stop with zeros there nothing is touched.
    pub(super) fn repair_log(&mut self, end: u64) -> Result<(), StoreError> {
        let fault = |(path, source): (PathBuf, io::Error)| StoreError::Io {
            what: "cut the commit log at",
            path,
            source,
        };
        for start in &self.log_files.empty {
            self.log.remove(*start).map_err(fault)?;
        }
        let starts = &self.log_files.starts;
        let has_later_files = starts.iter().any(|start| *start > end);
        let ended_in_garbage = !self.report.notes.is_empty();
        if !self.report.clean || has_later_files || ended_in_garbage {
            self.log.cut(end, starts).map_err(fault)?;
        }
        Ok(())
    }

    /// Makes the files of every queue agree with what was derived, touching only what differs. Returns the queues whose files may not be
    /// on disk.
    pub(super) fn settle(
        &mut self,
        dispatcher: &mut Dispatcher,
        table: &QueueTable,
        loaded: &[LoadedQueue],
        derived: &Derived,
    ) -> Result<Vec<Arc<ConsumeQueue>>, StoreError> {
        // queues without files have only units that wait
        let found: HashSet<*const ConsumeQueue> = loaded
            .iter()
            .map(|found| Arc::as_ptr(&found.queue))
            .collect();
        let mut dirty = table.take_dirty();
        dirty.retain(|queue| !found.contains(&Arc::as_ptr(queue)));
        let mut unsynced = derived.written.clone();
        let mut dropped_bytes = 0;
        for found in loaded {
            let files_end = if derived.whole.contains(&name_of(&found.queue)) {
                0
            } else {
                found.files_end()
            };
            let settled = found
                .remove_empty(&**self.fs)
                .and_then(|()| found.queue.units.settle(files_end, self.report.clean))
                .map_err(StoreError::io("repair", found.queue.units.dir()))?;
            dropped_bytes += settled.dropped_bytes;
            if settled.waiting {
                dirty.push(Arc::clone(&found.queue));
            }
            // a clean stop synced everything
            if settled.unsynced && !self.report.clean {
                unsynced.push(Arc::clone(&found.queue));
            }
        }
        table.set_dirty(dirty, dropped_bytes);
        let log_min = self.log_files.min();
        let queues = dispatcher.queues();
        for queue in &queues {
            queue
                .correct_min(log_min)
                .map_err(|error| StoreError::io("read", queue.units.dir())(error))?;
        }
        dispatcher.reload_next();
        tracing::info!(
            root = %self.layout.root().display(),
            clean = self.report.clean,
            log_end = self.report.log_end,
            scanned_from = self.report.scanned_from,
            records = self.report.records,
            queues = queues.len(),
            "store opened"
        );
        Ok(unsynced)
    }
}
