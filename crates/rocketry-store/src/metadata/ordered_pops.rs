//! `consumerOrderInfo.json`: what groups that pop in order have taken and not acknowledged. Java: `QueueLevelConsumerManager`

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{SyncLog, file::ConfigFile};
use crate::{FileSystem, Layout, StoreError};

/// The last pop of each queue by each group that pops in order.
#[derive(Debug)]
pub struct OrderedPops {
    file: ConfigFile,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    pops: HashMap<QueueOfGroup, OrderedPop>,
    changes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct QueueOfGroup {
    topic: Box<str>,
    group: Box<str>,
    queue_id: i32,
}

/// What one pop took from a queue, and what became of it. Java: `QueueLevelConsumerManager.OrderInfo`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderedPop {
    /// The attempt that popped: it may read the same messages again.
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<String>,
    /// Which messages are acknowledged, a bit for each.
    #[serde(rename = "cm")]
    pub acked: i64,
    /// How long the messages are hidden, ms.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub invisible_ms: Option<i64>,
    /// When the queue was last popped from, ms since 1970.
    #[serde(rename = "l")]
    pub last_ms: i64,
    /// The offset of the first message, then the distance of each other from it.
    #[serde(rename = "o", skip_serializing_if = "Option::is_none")]
    pub offsets: Option<Vec<i64>>,
    /// How often messages were popped before, by offset; only those that were.
    #[serde(rename = "oc", skip_serializing_if = "Option::is_none")]
    pub counts: Option<BTreeMap<i64, i32>>,
    /// When messages are seen again, by offset, where that was changed, ms since 1970.
    #[serde(rename = "ot", skip_serializing_if = "Option::is_none")]
    pub visible_ms: Option<BTreeMap<i64, i64>>,
    /// When they were popped, ms since 1970.
    #[serde(rename = "popTime")]
    pub pop_ms: i64,
}

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Content {
    /// Entries of the table; written, never read.
    order_info_count: usize,
    ordered_consumption_level: String,
    /// `topic@group` -> queue -> pop
    table: BTreeMap<String, BTreeMap<i32, OrderedPop>>,
}

impl OrderedPops {
    pub(super) fn open(
        fs: &Arc<dyn FileSystem>,
        layout: &Layout,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let (file, found) =
            ConfigFile::open::<Content>(fs, &layout.config(), "consumerOrderInfo.json", notes)?;
        let mut pops = HashMap::new();
        for (key, queues) in found.unwrap_or_default().table {
            let Some((topic, group)) = key.split_once('@') else {
                notes.push(format!(
                    "config/consumerOrderInfo.json: {key:?} is no topic@group and was left out"
                ));
                continue;
            };
            for (queue_id, pop) in queues {
                pops.insert(key_of(topic, group, queue_id), pop);
            }
        }
        Ok(Self {
            file,
            table: Mutex::new(Table { pops, changes: 0 }),
        })
    }

    /// The last pop of a group from a queue, as `look` sees it.
    pub fn look<T>(
        &self,
        topic: &str,
        group: &str,
        queue_id: i32,
        look: impl FnOnce(Option<&OrderedPop>) -> T,
    ) -> T {
        look(self.table.lock().pops.get(&key_of(topic, group, queue_id)))
    }

    /// Changes the last pop of a group from a queue.
    pub fn change<T>(
        &self,
        topic: &str,
        group: &str,
        queue_id: i32,
        change: impl FnOnce(&mut Option<OrderedPop>) -> T,
    ) -> T {
        let key = key_of(topic, group, queue_id);
        let mut table = self.table.lock();
        let mut pop = table.pops.remove(&key);
        let before = pop.clone();
        let out = change(&mut pop);
        if pop != before {
            table.changes += 1;
        }
        if let Some(pop) = pop {
            table.pops.insert(key, pop);
        }
        out
    }

    /// Forgets those for which `keeps`, given topic, group and queue, is false.
    pub fn retain(&self, mut keeps: impl FnMut(&str, &str, i32, &OrderedPop) -> bool) {
        let mut table = self.table.lock();
        let before = table.pops.len();
        table
            .pops
            .retain(|key, pop| keeps(&key.topic, &key.group, key.queue_id, pop));
        if table.pops.len() != before {
            table.changes += 1;
        }
    }

    /// Writes the file if something changed.
    ///
    /// # Errors
    /// The file could not be written.
    pub(crate) fn persist_after(&self, sync_log: &SyncLog<'_>) -> Result<(), StoreError> {
        let changes = self.table.lock().changes;
        self.file.save_after(changes, || self.content(), sync_log)
    }

    fn content(&self) -> Content {
        let mut content = Content {
            ordered_consumption_level: "QUEUE".to_owned(),
            ..Content::default()
        };
        for (key, pop) in &self.table.lock().pops {
            content
                .table
                .entry(format!("{}@{}", key.topic, key.group))
                .or_default()
                .insert(key.queue_id, pop.clone());
        }
        content.order_info_count = content.table.len();
        content
    }
}

fn key_of(topic: &str, group: &str, queue_id: i32) -> QueueOfGroup {
    QueueOfGroup {
        topic: topic.into(),
        group: group.into(),
        queue_id,
    }
}
