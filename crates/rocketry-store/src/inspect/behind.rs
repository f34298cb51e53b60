//! Whether the log goes on behind the place where it has no valid record.

use super::{Inspection, LogEnd, Usage};
use crate::{
    StoreError,
    consume_queue::{ConsumeQueue, Unit},
    index::IndexView,
};

/// What is known of the log behind the place where it has no valid record.
pub(super) enum Behind {
    /// Nothing: it ends there, or what follows was not promised to anybody.
    Nothing,
    /// There was more, as the text says: the log is damaged in the middle, and must not be cut there.
    More(String),
    /// Only the checkpoint names more, with this log offset, and everything else says that it is wrong.
    WrongCheckpoint(i64),
}

impl Inspection {
    /// Looks for signs of a log that goes on behind `end`: those by which a start refuses or reads on, and those that a repair would
    /// remove before a start could see them.
    pub(super) fn look_behind(&self, end: &LogEnd) -> Result<Behind, StoreError> {
        let log = &self.log;
        let at = end.log_offset.cast_unsigned();
        for start in self.log_files.starts.iter().filter(|start| **start > at) {
            // the end is read again after what follows it, which may just have been written
            if self.record_end(*start)?.is_some() && self.is_end(at)? {
                let name = log.path(*start);
                let name = name.file_name().unwrap_or_default().to_string_lossy();
                return Ok(Behind::More(format!("{name} begins with a valid record")));
            }
        }
        if matches!(self.usage, Usage::Live(_)) {
            return Ok(Behind::Nothing);
        }
        if let Some(checkpoint) = self.checkpoint
            && let Ok(named) = u64::try_from(checkpoint.queues_log_offset)
            && named > 0
        {
            let newest = self.newest_unit();
            if named >= at {
                let is_wrong = end.reason.is_none()
                    && self.metadata.queue_ends.are_met(&self.queues)
                    && newest.is_some_and(|(_, unit)| unit.log_end() == at)
                    && newest.map_or(Ok(None), |(_, unit)| self.record_end(unit.log_offset))?
                        == Some((at, checkpoint.queues_ms));
                return Ok(if is_wrong {
                    Behind::WrongCheckpoint(checkpoint.queues_log_offset)
                } else {
                    Behind::More(format!("the checkpoint names a message at {named}"))
                });
            }
            let names_the_last = self.record_end(named)?.is_some_and(|(end, _)| end == at);
            if names_the_last {
                return Ok(Behind::Nothing);
            }
        }
        // a crash may leave units and keys of messages that it took away
        if self.usage != Usage::Closed {
            return Ok(Behind::Nothing);
        }
        // while derived files are built it says how far the log reached
        if let Some(checkpoint) = self.checkpoint
            && !checkpoint.knows_queues()
            && checkpoint.confirm_offset > end.log_offset
        {
            return Ok(Behind::More(format!(
                "the checkpoint says that it reached {}",
                checkpoint.confirm_offset
            )));
        }
        if let Some((queue, unit)) = self.newest_unit()
            && unit.log_offset >= at
        {
            return Ok(Behind::More(format!(
                "queue {} of {} has a message at {}",
                queue.queue_id(),
                queue.topic(),
                unit.log_offset
            )));
        }
        let views = self.index.iter().flatten();
        let newest_key = views.filter_map(IndexView::range).map(|(_, _, last)| last);
        Ok(match newest_key.max() {
            Some(last) if last >= end.log_offset => {
                Behind::More(format!("the index has a key of a message at {last}"))
            }
            _ => Behind::Nothing,
        })
    }

    /// The unit of the newest message that a queue without visible damage has.
    fn newest_unit(&self) -> Option<(&ConsumeQueue, Unit)> {
        let queues = self.queues.iter();
        queues
            .filter(|found| found.damage.is_none())
            .filter_map(|found| Some((&*found.queue, found.last?)))
            .max_by_key(|(_, unit)| unit.log_offset)
    }
}
