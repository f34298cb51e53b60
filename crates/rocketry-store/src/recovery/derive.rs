//! From the records of one reading of the log to consume queues.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry},
    io,
    sync::Arc,
};

use rocketry_protocol::{
    record::{MIN_BYTES, Record},
    topic::{SYSTEM_PREFIX, is_send_forbidden},
};

use super::{LoadedQueue, QueueName, Work, name_of};
use crate::{
    Metadata,
    consume_queue::{ConsumeQueue, QueueKind},
    dispatch::{Dispatch, Dispatcher},
    queue_table::QueueTable,
    writer::is_directory_name,
};

/// How a queue is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Its units before a log offset are kept, the records from there on are dispatched as live ones are.
    Kept,
    /// From the first record of the log on. `last` is the log offset of the last one that was seen.
    Whole { last: Option<u64> },
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
    /// By the queue's number, see [`UnitFiles::owner`](crate::unit_files::UnitFiles::owner); one that was not seen before has none yet.
    modes: Vec<Option<Mode>>,
    /// What a queue without files is derived as.
    unseen: Mode,
    known_topics: HashSet<String>,
    /// Queues that are derived as a whole.
    whole: BTreeSet<QueueName>,
    /// Those of them that have no files although messages of theirs were dispatched, or the last stop left them.
    missing: BTreeSet<QueueName>,
    /// While the log is searched for them: the log offset of the first unit of each kept queue that was met, by its number.
    first_units: Option<HashMap<usize, u64>>,
    /// Topics of which the search found messages that are older than what kept queues of them begin with.
    remade: HashSet<Arc<str>>,
    /// Messages whose place cannot be what they say.
    misplaced: BTreeMap<QueueName, Misplaced>,
    /// Log offset before which kept queues have their units.
    kept_before: u64,
    /// Log offset before which every queue had its units.
    dispatched_before: u64,
    /// Log offset before which the messages of a queue without files are of a topic that was removed: their units would be on disk.
    gone_before: u64,
    log_min: u64,
    /// Queues that were written to, each once.
    written: Vec<Arc<ConsumeQueue>>,
    /// The same, to find one among many.
    is_written: HashSet<*const ConsumeQueue>,
    scratch: Vec<u8>,
}

/// Where [`Deriver::modes`] has a queue.
fn place_of(queue: &ConsumeQueue) -> usize {
    queue.units.owner() as usize
}

impl<'a> Deriver<'a> {
    pub(super) fn new(
        table: &'a Arc<QueueTable>,
        metadata: &'a Metadata,
        kept_before: u64,
        clean: bool,
        log_min: u64,
    ) -> Self {
        let dispatcher = Dispatcher::new(Arc::clone(table));
        let topics = metadata.topics.all();
        let known = topics.iter().map(|topic| topic.topic_name.clone());
        let queues = dispatcher.queues();
        let mut deriver = Self {
            table,
            metadata,
            modes: Vec::with_capacity(queues.len() + 1),
            dispatcher,
            unseen: Mode::Kept,
            known_topics: known.collect(),
            whole: BTreeSet::new(),
            missing: BTreeSet::new(),
            first_units: None,
            remade: HashSet::new(),
            misplaced: BTreeMap::new(),
            kept_before,
            // a clean stop leaves nothing undispatched
            dispatched_before: if clean { u64::MAX } else { kept_before },
            // the unit of the record at `kept_before` itself is known to be on disk as well; a clean stop says of all queues that they are
            gone_before: if clean && metadata.queue_ends.is_there() {
                u64::MAX
            } else {
                kept_before + 1
            },
            log_min,
            written: Vec::new(),
            is_written: HashSet::new(),
            scratch: Vec::new(),
        };
        for queue in &queues {
            deriver.set_mode(queue, Mode::Kept);
        }
        if kept_before <= log_min {
            deriver.unseen = Mode::Whole { last: None };
        }
        deriver
    }

    /// Has the whole log read, and derives the queues that have messages in it and no files.
    fn search(&mut self) {
        self.first_units.get_or_insert_default();
        self.unseen = Mode::Whole { last: None };
    }

    /// Has the whole log read for a queue that the last stop left and that has no files now.
    fn search_for(&mut self, name: QueueName) {
        self.add_whole(name.clone());
        self.search();
        self.missing.insert(name);
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
        let queue = self.dispatcher.queue_of(&name.0, name.1);
        self.dispatcher.begin_at(&queue, 0);
        self.set_mode(&queue, Mode::Whole { last: None });
        self.unseen = Mode::Whole { last: None };
        self.whole.insert(name);
    }

    fn mode(&self, queue: &ConsumeQueue) -> Option<Mode> {
        self.modes.get(place_of(queue)).copied().flatten()
    }

    fn set_mode(&mut self, queue: &ConsumeQueue, mode: Mode) {
        let place = place_of(queue);
        if self.modes.len() <= place {
            self.modes.resize(place + 1, None);
        }
        if let Some(known) = self.modes.get_mut(place) {
            *known = Some(mode);
        }
    }

    /// A record's queue and how that is derived.
    fn queue_of(&mut self, record: &Record<'_>) -> (Arc<ConsumeQueue>, Mode) {
        let queue = self.dispatcher.queue_of(record.topic, record.queue_id);
        if let Some(mode) = self.mode(&queue) {
            return (queue, mode);
        }
        let mode = if was_removed(record.topic, &self.known_topics) {
            Mode::Removed
        } else if self.unseen == Mode::Kept
            && record.physical_offset.cast_unsigned() < self.gone_before
        {
            // a later message may be one of a new queue
            return (queue, Mode::Removed);
        } else {
            self.unseen
        };
        self.set_mode(&queue, mode);
        if let Mode::Whole { .. } = mode {
            let name = name_of(&queue);
            if record.physical_offset.cast_unsigned() < self.dispatched_before {
                self.missing.insert(name.clone());
            }
            self.whole.insert(name);
        }
        (queue, mode)
    }

    /// Takes the next record of the log.
    pub(super) fn add(&mut self, record: &Record<'_>, mut dispatch: Dispatch) -> io::Result<()> {
        if !dispatch.in_queue || !is_directory_name(record.topic) {
            return Ok(());
        }
        let (queue, mode) = self.queue_of(record);
        let next = queue.next();
        match mode {
            Mode::Kept if dispatch.unit.log_offset < self.kept_before => {
                return self.look_for_earlier_life(&queue, dispatch.unit.log_offset);
            }
            // a removed topic whose last units went with the log
            Mode::Kept if next == 0 && was_removed(record.topic, &self.known_topics) => {
                return Ok(());
            }
            Mode::Kept if dispatch.unit.queue_offset == next => {}
            Mode::Kept => {
                self.set_mode(&queue, Mode::Wrong);
                return Ok(());
            }
            Mode::Whole { last } => {
                let at = dispatch.unit.log_offset;
                self.set_mode(&queue, Mode::Whole { last: Some(at) });
                let place = place_in(queue.kind, next, last, at, record.queue_offset);
                if place.is_none() {
                    let misplaced = self.misplaced.entry(name_of(&queue)).or_default();
                    misplaced.add(at, record.queue_offset);
                }
                let place = place.unwrap_or(next);
                if last.is_none() || (place == 0 && next > 0) {
                    // a queue that starts over is one of a topic that was removed and made again
                    self.begin_at(&queue, place)?;
                }
                // where messages are missing in the log their places stay empty; where the log repeats a place, the message
                // is kept at the next one rather than lost
                self.dispatcher.fill_to(&queue, place);
                dispatch.unit.queue_offset = place.max(queue.next());
            }
            Mode::Wrong | Mode::Removed | Mode::Done => return Ok(()),
        }
        self.dispatcher.publish(&queue, std::iter::once(&dispatch));
        queue.set_next(queue.after(&dispatch));
        Ok(())
    }

    /// While the log is searched: notes that a message of a queue that is kept lies before all that the queue has. It is of a topic that
    /// was removed, and made again later.
    fn look_for_earlier_life(&mut self, queue: &ConsumeQueue, at: u64) -> io::Result<()> {
        let Some(first_units) = &mut self.first_units else {
            return Ok(());
        };
        let first = match first_units.entry(place_of(queue)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                *unknown.insert(first_log_offset(queue)?.unwrap_or(self.kept_before))
            }
        };
        if at < first && !self.remade.contains(queue.topic()) {
            self.remade.insert(Arc::clone(queue.topic()));
        }
        Ok(())
    }

    /// After the log was searched: gives up the queues that were found only there, or in the table of a stop before another broker ran, and
    /// whose messages are all of an earlier life of their topic.
    pub(super) fn drop_earlier_lives(&mut self) -> io::Result<()> {
        if self.first_units.is_none() {
            return Ok(());
        }
        for name in self.missing.clone() {
            if !self.remade.contains(&name.0) {
                continue;
            }
            let queue = self.dispatcher.queue_of(&name.0, name.1);
            let Some(last) = queue.units.end().checked_sub(1) else {
                continue;
            };
            let last = queue.unit_at(last)?.map_or(0, |unit| unit.log_offset);
            let mut is_earlier = true;
            for other in self.table.of_topic(&name.0) {
                if !self.missing.contains(&name_of(&other)) {
                    is_earlier &= first_log_offset(&other)?.is_none_or(|first| last < first);
                }
            }
            if is_earlier {
                self.begin_at(&queue, 0)?;
                self.set_mode(&queue, Mode::Removed);
                self.missing.remove(&name);
                self.whole.remove(&name);
            }
        }
        Ok(())
    }

    /// Begins a queue anew, without the files that it was given in this reading.
    fn begin_at(&self, queue: &Arc<ConsumeQueue>, place: u64) -> io::Result<()> {
        if self.is_written.contains(&Arc::as_ptr(queue)) {
            queue.units.remove_files()?;
        }
        self.dispatcher.begin_at(queue, place);
        Ok(())
    }

    /// Whether so many units wait that they should be written.
    pub(super) fn is_large(&self) -> bool {
        self.table.many_wait()
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
        let mut wrong: BTreeSet<QueueName> = self
            .dispatcher
            .queues()
            .iter()
            .filter(|queue| self.mode(queue) == Some(Mode::Wrong))
            .map(|queue| name_of(queue))
            .collect();
        let left = self.left_by_last_stop();
        wrong.extend(
            left.filter(|(name, end)| {
                let queue = self.table.get(&name.0, name.1);
                let mode = queue.as_ref().and_then(|queue| self.mode(queue));
                let ends_at = queue.map_or(0, |queue| queue.max());
                !self.whole.contains(name) && mode != Some(Mode::Removed) && ends_at < *end
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
            let queue = self.dispatcher.queue_of(topic, *queue_id);
            queue.units.remove_files()?;
            self.dispatcher.begin_at(&queue, 0);
            self.set_mode(&queue, Mode::Whole { last: None });
        }
        self.whole.extend(names.iter().cloned());
        Ok(())
    }

    /// Gives queues whose messages were all removed from the log their numbering back. Returns the dispatcher, and the queues that were
    /// written to or derived as a whole.
    pub(super) fn finish(self) -> (Dispatcher, Derived) {
        for (topic, queue_id) in &self.whole {
            let queue = self.dispatcher.queue_of(topic, *queue_id);
            if queue.max() == 0
                && let Some(end) = self.metadata.queue_ends.end(topic, *queue_id)
            {
                self.dispatcher.begin_at(&queue, end);
            }
        }
        let derived = Derived {
            whole: self.whole,
            written: self.written,
        };
        (self.dispatcher, derived)
    }
}

/// Messages of a queue whose place cannot be what they say.
#[derive(Debug, Default)]
struct Misplaced {
    /// Log offset of the first of them, and its place.
    first: Option<(u64, i64)>,
    count: u64,
}

impl Misplaced {
    fn add(&mut self, at: u64, place: i64) {
        self.first.get_or_insert((at, place));
        self.count += 1;
    }
}

/// The place of a record that says `place`, at log offset `at`, where its queue's `next` would follow; `last` is the log offset of the
/// queue's record before it. `None` if the log has no room for so many messages in between: nothing else proves that the number is not
/// damaged, and as many places would be made.
fn place_in(kind: QueueKind, next: u64, last: Option<u64>, at: u64, place: i64) -> Option<u64> {
    let place = u64::try_from(place).ok()?;
    let records = (at - last.unwrap_or(0).min(at)) / MIN_BYTES as u64;
    let most = match kind {
        QueueKind::Plain => records,
        // a record of a batch queue has a 16-bit number of messages
        QueueKind::Batch => records.saturating_mul(i16::MAX.unsigned_abs().into()),
    };
    let expected = if last.is_some() { next } else { 0 };
    (place.saturating_sub(expected) <= most).then_some(place)
}

/// Where the first message of a queue is that has units.
fn first_log_offset(queue: &ConsumeQueue) -> io::Result<Option<u64>> {
    let first = queue.units.first();
    if first == queue.units.end() {
        return Ok(None);
    }
    Ok(queue.unit_at(first)?.map(|unit| unit.log_offset))
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
    /// Where nothing says what the last stop left, the log will, unless it is too long for that.
    pub(super) fn choose_whole(&mut self, deriver: &mut Deriver<'_>, loaded: &[LoadedQueue]) {
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
            deriver.search_for(name);
        }
        let proven_bytes = deriver.kept_before().saturating_sub(deriver.log_min);
        if self.metadata.queue_ends.is_there() || proven_bytes == 0 {
            return;
        }
        if proven_bytes <= self.options.queue_search_bytes {
            deriver.search();
        } else {
            self.note(format!(
                "consume queues: another broker left this directory, and its {} GiB of commit log were not searched for queues without files; `rocketry store check` does that, and `rocketry store repair` derives them",
                proven_bytes >> 30
            ));
        }
    }

    /// Notes the queues with messages whose place cannot be what they say.
    pub(super) fn note_misplaced(&mut self, deriver: &Deriver<'_>) {
        for ((topic, queue_id), Misplaced { first, count }) in &deriver.misplaced {
            let Some((at, place)) = first else { continue };
            self.note(format!(
                "consume queue {topic}/{queue_id}: the message at log offset {at} says that its place is {place}, for which the log has no room; it was given the next one{}",
                if *count > 1 { format!(", and so were {} others", count - 1) } else { String::new() }
            ));
        }
    }

    /// Notes the queues of which only the log told that they are missing.
    pub(super) fn note_missing(&mut self, deriver: &Deriver<'_>) {
        for name in &deriver.missing {
            self.note_whole(name, None);
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
