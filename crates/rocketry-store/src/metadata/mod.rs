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
use crate::{FileSystem, Layout, StoreError};

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

    /// Writes every table that changed since it was written.
    ///
    /// # Errors
    /// The first file that could not be written; it is tried again at the next call.
    pub fn persist(&self) -> Result<(), StoreError> {
        self.topics.persist()?;
        self.groups.persist()?;
        self.consumer_offsets.persist()?;
        self.ordered_pops.persist()?;
        self.delay_offsets.persist()?;
        self.timer_metrics.persist()
    }

    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock())
    }
}
