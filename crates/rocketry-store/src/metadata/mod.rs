//! Topics, groups and offsets: the configuration files in Java's dialect.
//!
//! Tables live in memory; [`Metadata::persist`] and the tables' own `persist` write what changed. Files that this crate does not
//! know are never touched.

mod delay;
mod file;
mod groups;
mod index_sums;
mod offsets;
mod ordered_pops;
mod queue_ends;
mod timer_metrics;
mod topics;
mod unknown;

use std::sync::Arc;

use parking_lot::Mutex;

pub use self::{
    delay::DelayOffsets,
    file::ConfigFile,
    groups::Groups,
    offsets::ConsumerOffsets,
    ordered_pops::{OrderedPop, OrderedPops},
    timer_metrics::{TimerCount, TimerCounts, TimerMetrics},
    topics::Topics,
};
pub(crate) use self::{
    index_sums::{IndexState, IndexSum, IndexSums, IndexTable},
    queue_ends::{Ends, QueueEnds, Range},
};
use crate::{FileSystem, Layout, StoreError, WriteError};

/// Brings to disk what the log has; [`Flusher::sync_all_so_far`](crate::Flusher::sync_all_so_far) of an open store.
pub type SyncLog<'a> = dyn Fn() -> Result<(), WriteError> + 'a;

/// The tables of one store.
#[derive(Debug)]
pub struct Metadata {
    /// `topics.json`
    pub topics: Topics,
    /// `subscriptionGroup.json`
    pub groups: Groups,
    /// `consumerOffset.json`
    pub consumer_offsets: ConsumerOffsets,
    /// `consumerOrderInfo.json`
    pub ordered_pops: OrderedPops,
    /// `delayOffset.json`
    pub delay_offsets: DelayOffsets,
    /// `timermetrics`
    pub timer_metrics: TimerMetrics,
    pub(crate) queue_ends: QueueEnds,
    pub(crate) index_table: IndexTable,
    notes: Mutex<Vec<String>>,
}

impl Metadata {
    /// Reads the files. Damaged ones are replaced by their `.bak`, or by nothing, which is noted.
    pub(crate) fn open(fs: &Arc<dyn FileSystem>, layout: &Layout) -> Result<Self, StoreError> {
        let mut notes = Vec::new();
        Ok(Self {
            topics: Topics::open(fs, layout, &mut notes)?,
            groups: Groups::open(fs, layout, &mut notes)?,
            consumer_offsets: ConsumerOffsets::open(fs, layout, &mut notes)?,
            ordered_pops: OrderedPops::open(fs, layout, &mut notes)?,
            delay_offsets: DelayOffsets::open(fs, layout, &mut notes)?,
            timer_metrics: TimerMetrics::open(fs, layout, &mut notes)?,
            queue_ends: QueueEnds::open(fs, layout, &mut notes)?,
            index_table: IndexTable::open(fs, layout, &mut notes)?,
            notes: Mutex::new(notes),
        })
    }

    /// Writes every table that changed since it was written, for a caller that has the log on disk as far as the tables speak of it.
    ///
    /// # Errors
    /// As [`Metadata::persist_after`].
    pub fn persist(&self) -> Result<(), StoreError> {
        self.persist_after(&|| Ok(()))
    }

    /// Writes every table that changed since it was written, those of offsets as [`Metadata::persist_offsets`] does.
    ///
    /// # Errors
    /// The first file that could not be written, after all others were tried; it is tried again at the next call.
    pub fn persist_after(&self, sync_log: &SyncLog<'_>) -> Result<(), StoreError> {
        let tables = [
            self.topics.persist(),
            self.groups.persist(),
            self.persist_offsets(sync_log),
            self.timer_metrics.persist(),
        ];
        tables.into_iter().collect()
    }

    /// Writes the tables that say how far messages have been dealt with. Each is written as it was before `sync_log`, and only if that
    /// succeeds: were a file ahead of the log after a loss of power, messages that take the place of the lost ones would be passed by.
    ///
    /// # Errors
    /// As [`Metadata::persist_after`].
    pub fn persist_offsets(&self, sync_log: &SyncLog<'_>) -> Result<(), StoreError> {
        let tables = [
            self.consumer_offsets.persist_after(sync_log),
            self.ordered_pops.persist_after(sync_log),
            self.delay_offsets.persist_after(sync_log),
        ];
        tables.into_iter().collect()
    }

    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock())
    }
}
