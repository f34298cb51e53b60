//! From the records of one reading of the log to consume queues.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    sync::Arc,
};

use rocketry_protocol::{
    record::Record,
    topic::{SYSTEM_PREFIX, is_send_forbidden},
};

use super::{LoadedQueue, QueueName, Work, name_of};
use crate::{
    Metadata,
    consume_queue::ConsumeQueue,
    dispatch::{Dispatch, Dispatcher},
    queue_table::QueueTable,
    writer::is_directory_name,
};

/// How a queue is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Its units before a log offset are kept, the records from there on are dispatched as live ones are.
    Kept,
    /// From the first record of the log on. `begun` once a record of it was seen.
    Whole { begun: bool },
    /// As what [`Mode::Kept`] would keep does not fit the log: nothing more is done in this reading.
    Wrong,
    /// Its topic was removed: its messages stay in the log, its queues do not come back.
    Removed,
    /// Not looked at in this reading.
    Done,
}

/// Derives the consume queues.
#[derive(Debug)]
pub(super) struct Deriver<'a> {
    table: &'a Arc<QueueTable>,
    metadata: &'a Metadata,
    dispatcher: Dispatcher,
    /// By slot of the dispatcher; a queue that was not seen before has none yet.
    modes: Vec<Option<Mode>>,
    /// What a queue without files is derived as.
    unseen: Mode,
    known_topics: HashSet<String>,
    /// Queues that are derived as a whole.
    whole: BTreeSet<QueueName>,
    /// Log offset before which kept queues have their units.
    kept_before: u64,
    log_min: u64,
    /// Queues that were written to, each once.
    written: Vec<Arc<ConsumeQueue>>,
    /// The same, to find one among many.
    is_written: HashSet<*const ConsumeQueue>,
    scratch: Vec<u8>,
}

impl<'a> Deriver<'a> {
    pub(super) fn new(
        table: &'a Arc<QueueTable>,
        metadata: &'a Metadata,
        kept_before: u64,
        log_min: u64,
    ) -> Self {
        let dispatcher = Dispatcher::new(Arc::clone(table));
        let topics = metadata.topics.all();
        let known = topics.iter().map(|topic| topic.topic_name.clone());
        let mut deriver = Self {
            table,
            metadata,
            modes: vec![Some(Mode::Kept); dispatcher.slots().len()],
            dispatcher,
            unseen: Mode::Kept,
            known_topics: known.collect(),
            whole: BTreeSet::new(),
            kept_before,
            log_min,
            written: Vec::new(),
            is_written: HashSet::new(),
            scratch: Vec::new(),
        };
        if kept_before <= log_min {
            deriver.unseen = Mode::Whole { begun: false };
        }
        deriver
    }

    /// Where the log is to be read from.
    pub(super) const fn read_from(&self) -> u64 {
        match self.unseen {
            Mode::Whole { .. } => self.log_min,
            _ => self.kept_before,
        }
    }

    /// Log offset before which kept queues have their units.
    pub(super) const fn kept_before(&self) -> u64 {
        self.kept_before
    }

    /// Whether some queue is derived as a whole.
    pub(super) fn has_whole(&self) -> bool {
        !self.whole.is_empty()
    }

    pub(super) fn is_whole(&self, queue: &ConsumeQueue) -> bool {
        self.whole.contains(&name_of(queue))
    }

    /// Derives a queue as a whole: the log is read from its beginning, and what else has no files is derived as a whole as well.
    fn add_whole(&mut self, name: QueueName) {
        let slot = self.dispatcher.slot_of(&name.0, name.1);
        self.dispatcher.begin_at(slot, 0);
        self.set_mode(slot, Mode::Whole { begun: false });
        self.unseen = Mode::Whole { begun: false };
        self.whole.insert(name);
    }

    fn set_mode(&mut self, slot: usize, mode: Mode) {
        if self.modes.len() <= slot {
            self.modes.resize(slot + 1, None);
        }
        if let Some(place) = self.modes.get_mut(slot) {
            *place = Some(mode);
        }
    }

    /// The slot of a record's queue and how that is derived.
    fn slot_of(&mut self, record: &Record<'_>) -> (usize, Mode) {
        let slot = self.dispatcher.slot_of(record.topic, record.queue_id);
        if let Some(Some(mode)) = self.modes.get(slot) {
            return (slot, *mode);
        }
        let mode = if was_removed(record.topic, &self.known_topics) {
            Mode::Removed
        } else {
            self.unseen
        };
        self.set_mode(slot, mode);
        if let (Mode::Whole { .. }, Some(found)) = (mode, self.dispatcher.slot(slot)) {
            self.whole.insert(name_of(&found.queue));
        }
        (slot, mode)
    }

    /// Takes the next record of the log.
    pub(super) fn add(&mut self, record: &Record<'_>, mut dispatch: Dispatch) -> io::Result<()> {
        if !dispatch.in_queue || !is_directory_name(record.topic) {
            return Ok(());
        }
        let (slot, mode) = self.slot_of(record);
        let next = self.dispatcher.next(slot);
        let place = dispatch.unit.queue_offset;
        match mode {
            Mode::Kept if dispatch.unit.log_offset < self.kept_before => return Ok(()),
            // a removed topic whose last units went with the log
            Mode::Kept if next == 0 && was_removed(record.topic, &self.known_topics) => {
                return Ok(());
            }
            Mode::Kept if place == next => {}
            Mode::Kept => {
                self.set_mode(slot, Mode::Wrong);
                return Ok(());
            }
            Mode::Whole { begun } => {
                if !begun || (place == 0 && next > 0) {
                    self.set_mode(slot, Mode::Whole { begun: true });
                    // a queue that starts over is one of a topic that was removed and made again
                    self.begin_at(slot, place)?;
                }
                // where messages are missing in the log their places stay empty; where the log repeats a place, the message
                // is kept at the next one rather than lost
                self.dispatcher.fill_to(slot, place);
                dispatch.unit.queue_offset = place.max(self.dispatcher.next(slot));
            }
            Mode::Wrong | Mode::Removed | Mode::Done => return Ok(()),
        }
        self.dispatcher.publish(slot, std::iter::once(&dispatch));
        let next = self.dispatcher.after(slot, &dispatch);
        self.dispatcher.set_next(slot, next);
        Ok(())
    }

    /// Begins a queue anew, without the files that it was given in this reading.
    fn begin_at(&mut self, slot: usize, place: u64) -> io::Result<()> {
        if let Some(found) = self.dispatcher.slot(slot)
            && self.is_written.contains(&Arc::as_ptr(&found.queue))
        {
            found.queue.units.remove_files()?;
        }
        self.dispatcher.begin_at(slot, place);
        Ok(())
    }

    /// Whether so many units wait that they should be written.
    pub(super) fn is_large(&self) -> bool {
        self.table.waiting_is_large()
    }

    /// Writes the units that wait.
    pub(super) fn write(&mut self) -> io::Result<()> {
        for queue in self.table.take_dirty() {
            let (bytes, _) = queue.units.write_pending(&mut self.scratch)?;
            self.table.note_written(bytes);
            if self.is_written.insert(Arc::as_ptr(&queue)) {
                self.written.push(queue);
            }
        }
        Ok(())
    }

    /// The queues whose units do not fit the log, and those that the last stop left and that end earlier now although the log was
    /// dispatched. Topics that were removed are left out.
    pub(super) fn wrong(&self) -> BTreeSet<QueueName> {
        let slots = self.dispatcher.slots().iter().zip(&self.modes);
        let mut wrong: BTreeSet<QueueName> = slots
            .filter(|(_, mode)| **mode == Some(Mode::Wrong))
            .map(|(slot, _)| name_of(&slot.queue))
            .collect();
        let left = self.left_by_last_stop();
        wrong.extend(
            left.filter(|(name, end)| {
                let queue = self.table.get(&name.0, name.1);
                !self.whole.contains(name) && queue.map_or(0, |queue| queue.max()) < *end
            })
            .map(|(name, _)| name),
        );
        wrong
    }

    /// The queues that the last stop left with messages, and where they ended. Topics that were removed are left out.
    fn left_by_last_stop(&self) -> impl Iterator<Item = (QueueName, u64)> {
        let topics = self.metadata.queue_ends.found().iter();
        topics
            .filter(|(topic, _)| {
                is_directory_name(topic) && !was_removed(topic, &self.known_topics)
            })
            .flat_map(|(topic, ends)| {
                let ends = ends.iter().filter(|(_, range)| range.end > 0);
                ends.map(|(id, range)| ((Arc::from(topic.as_str()), *id), range.end))
            })
    }

    /// Prepares for another reading, in which only the queues `names` are derived, as a whole.
    pub(super) fn start_over(&mut self, names: &BTreeSet<QueueName>) -> io::Result<()> {
        for mode in &mut self.modes {
            *mode = Some(Mode::Done);
        }
        self.unseen = Mode::Done;
        for (topic, queue_id) in names {
            let slot = self.dispatcher.slot_of(topic, *queue_id);
            if let Some(found) = self.dispatcher.slot(slot) {
                found.queue.units.remove_files()?;
            }
            self.dispatcher.begin_at(slot, 0);
            self.set_mode(slot, Mode::Whole { begun: false });
        }
        self.whole.extend(names.iter().cloned());
        Ok(())
    }

    /// Gives queues whose messages were all removed from the log their numbering back. Returns the dispatcher, and the queues that were
    /// written to or derived as a whole.
    pub(super) fn finish(mut self) -> (Dispatcher, Derived) {
        for (topic, queue_id) in &self.whole {
            let slot = self.dispatcher.slot_of(topic, *queue_id);
            if self
                .dispatcher
                .slot(slot)
                .is_some_and(|slot| slot.queue.max() == 0)
                && let Some(end) = self.metadata.queue_ends.end(topic, *queue_id)
            {
                self.dispatcher.begin_at(slot, end);
            }
        }
        let derived = Derived {
            whole: self.whole,
            written: self.written,
        };
        (self.dispatcher, derived)
    }
}

/// What a recovery did to the queues.
#[derive(Debug)]
pub(super) struct Derived {
    /// Derived as a whole, their old files removed.
    pub(super) whole: BTreeSet<QueueName>,
    /// Written to, and not synced.
    pub(super) written: Vec<Arc<ConsumeQueue>>,
}

impl Work<'_> {
    /// Chooses the queues that are derived as a whole: those that are damaged, and those that the last stop left and that have no files.
    pub(super) fn choose_whole(
        &mut self,
        deriver: &mut Deriver<'_>,
        loaded: &[LoadedQueue],
        proven: bool,
    ) {
        let found: HashSet<QueueName> = loaded.iter().map(|found| name_of(&found.queue)).collect();
        let missing: Vec<QueueName> = deriver
            .left_by_last_stop()
            .map(|(name, _)| name)
            .filter(|name| !found.contains(name))
            .collect();
        for damaged in loaded.iter().filter(|found| found.is_damaged()) {
            let name = name_of(&damaged.queue);
            self.note_whole(&name, Some(damaged));
            deriver.add_whole(name);
        }
        for name in missing {
            if proven {
                self.note_whole(&name, None);
            }
            deriver.add_whole(name);
        }
    }

    /// Notes why a queue is derived as a whole, of which these files were `found`.
    pub(super) fn note_whole(&mut self, name: &QueueName, found: Option<&LoadedQueue>) {
        let (topic, queue_id) = name;
        let is_short = |found: &LoadedQueue| {
            let end = self.metadata.queue_ends.end(topic, *queue_id);
            end.is_some_and(|end| found.queue.max() < end)
        };
        let reason = match found {
            None => "its files are missing",
            Some(LoadedQueue {
                damage: Some(damage),
                ..
            }) => damage,
            Some(found) if is_short(found) => "units of the last stop are missing",
            Some(_) => "its numbering does not fit the commit log",
        };
        self.note(format!(
            "consume queue {topic}/{queue_id}: {reason}; derived from the commit log again"
        ));
    }
}

/// Whether a topic that has no queues was removed. Without any known topic the configuration is lost rather, and Java writes topics of
/// the system only when another changes.
fn was_removed(topic: &str, known: &HashSet<String>) -> bool {
    !known.is_empty()
        && !known.contains(topic)
        && !topic.starts_with(SYSTEM_PREFIX)
        && !is_send_forbidden(topic)
}
