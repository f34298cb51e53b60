//! Finding messages by key: the key index, checked against the log.

use std::ops::ControlFlow;

use bytes::Bytes;
use rocketry_protocol::record::Record;

use crate::{ReadError, Reader, dispatch::Marks, index::hash_of, reader::record_at};

/// What a key is to be looked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// The unique id or one of the keys. Java: every index type but `T`.
    #[default]
    Key,
    /// The unique id only. Java: the request field `_UNIQUE_KEY_QUERY`.
    Unique,
    /// The tag. Java: index type `T`.
    Tag,
}

/// Which messages [`Reader::query_by_key`] is to find.
#[derive(Debug, Clone)]
pub struct KeyQuery<'a> {
    /// Topic under which the messages are stored.
    pub topic: &'a str,
    /// The key.
    pub key: &'a str,
    /// What the key is.
    pub kind: KeyKind,
    /// Messages at most; the newest are found.
    pub max_messages: usize,
    /// Bytes at most; the first message is returned whatever its size.
    pub max_bytes: usize,
    /// Earliest store time, ms.
    pub begin_ms: i64,
    /// Latest store time, ms.
    pub end_ms: i64,
}

/// What a [`KeyQuery`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryOutcome {
    /// The records, one behind the other in log order, as they are stored.
    pub messages: Bytes,
    /// Number of records.
    pub count: usize,
    /// Log offset of the newest message that is indexed, 0 without one. Java: `indexLastUpdatePhyoffset`.
    pub newest_log_offset: i64,
    /// Its store time, ms. Java: `indexLastUpdateTimestamp`.
    pub newest_store_ms: i64,
    /// [`Reader::unindexed_bytes`] at the time: messages in them were not looked at.
    pub unindexed_bytes: u64,
}

impl Reader {
    /// Bytes at the end of the log whose messages are not found by key at present, because the index could not be written. It catches up
    /// once it can. 0 ordinarily.
    pub fn unindexed_bytes(&self) -> u64 {
        let behind = self.shared.index_keys.lock().behind();
        behind.map_or(0, |indexed| self.shared.log.end().saturating_sub(indexed))
    }

    /// Finds messages by key, tag or unique id: of those stored within the times the newest, in log order. Includes messages whose
    /// keys wait to be written; finds nothing where messages are not indexed. Blocks for the disk, and for an index write in progress.
    ///
    /// # Errors
    /// The disk refused a read.
    ///
    /// Java: `DefaultMessageStore.queryMessage`. Differs from Java, which returns what has the same hash and whose times are of whole
    /// seconds: every message found has the key itself and was stored within the times.
    pub fn query_by_key(&self, query: &KeyQuery<'_>) -> Result<QueryOutcome, ReadError> {
        let guard = self.shared.index.read();
        let Some(index) = &*guard else {
            return Ok(QueryOutcome::default());
        };
        let hash = match query.kind {
            KeyKind::Key | KeyKind::Unique => hash_of(query.topic, &[query.key]),
            KeyKind::Tag => hash_of(query.topic, &["T", query.key]),
        };
        let (waiting, newest) = {
            let keys = self.shared.index_keys.lock();
            let same: Vec<i64> = keys
                .keys()
                .iter()
                .rev()
                .filter(|key| key.hash == hash)
                .map(|key| key.log_offset)
                .collect();
            let newest = keys.keys().last().map(|key| (key.log_offset, key.store_ms));
            (same, newest)
        };
        let (newest_log_offset, newest_store_ms) =
            newest.or_else(|| index.newest()).unwrap_or_default();
        let mut found = Found {
            reader: self,
            query,
            records: Vec::new(),
            bytes: 0,
            last: None,
        };
        let mut done = query.max_messages == 0 || query.begin_ms > query.end_ms;
        for log_offset in waiting {
            if done {
                break;
            }
            done = found.take(log_offset)?.is_break();
        }
        if !done {
            let times = query.begin_ms..=query.end_ms;
            index.query(hash, &times, |log_offset| found.take(log_offset))?;
        }
        Ok(QueryOutcome {
            count: found.records.len(),
            messages: found.in_log_order(),
            newest_log_offset,
            newest_store_ms,
            unindexed_bytes: self.unindexed_bytes(),
        })
    }
}

/// The messages found so far, newest first.
struct Found<'a> {
    reader: &'a Reader,
    query: &'a KeyQuery<'a>,
    records: Vec<Bytes>,
    bytes: usize,
    /// The log offset looked at last: a message whose key and unique id are the same is indexed twice.
    last: Option<i64>,
}

impl Found<'_> {
    /// Takes the message at a log offset if it is one of those wanted.
    fn take(&mut self, log_offset: i64) -> Result<ControlFlow<()>, ReadError> {
        if self.last.replace(log_offset) == Some(log_offset) {
            return Ok(ControlFlow::Continue(()));
        }
        let Some(at) = u64::try_from(log_offset).ok() else {
            return Ok(ControlFlow::Continue(()));
        };
        let Some(bytes) = record_at(&self.reader.shared, at)? else {
            return Ok(ControlFlow::Continue(()));
        };
        let wanted = Record::parse(&bytes).is_ok_and(|(record, _)| self.query.wants(&record));
        if !wanted {
            return Ok(ControlFlow::Continue(()));
        }
        if !self.records.is_empty() && self.bytes + bytes.len() > self.query.max_bytes {
            return Ok(ControlFlow::Break(()));
        }
        self.bytes += bytes.len();
        self.records.push(bytes);
        Ok(if self.records.len() >= self.query.max_messages {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    fn in_log_order(&self) -> Bytes {
        self.records
            .iter()
            .rev()
            .fold(
                bytes::BytesMut::with_capacity(self.bytes),
                |mut all, record| {
                    all.extend_from_slice(record);
                    all
                },
            )
            .freeze()
    }
}

impl KeyQuery<'_> {
    fn wants(&self, record: &Record<'_>) -> bool {
        if record.topic != self.topic || !(self.begin_ms..=self.end_ms).contains(&record.store_ms) {
            return false;
        }
        let marks = Marks::of(record.properties);
        let is_unique = marks.unique_key == Some(self.key);
        match self.kind {
            KeyKind::Unique => is_unique,
            KeyKind::Key => {
                is_unique
                    || marks
                        .keys
                        .is_some_and(|keys| keys.split(' ').any(|key| key == self.key))
            }
            KeyKind::Tag => marks.tags == Some(self.key),
        }
    }
}
