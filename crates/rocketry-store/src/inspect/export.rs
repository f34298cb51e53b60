//! Single records: all of them in order, or one by any of its names.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use rocketry_protocol::{
    DecodeError, MessageExt, Properties,
    id::parse_offset_msg_id,
    properties::name,
    record::Record,
    sys_flag::{COMPRESSED, INNER_BATCH, NEED_UNWRAP},
};

use super::Inspection;
use crate::{StoreError, commit_log::check_record, number::signed};

/// A record of the log.
#[derive(Debug)]
pub struct Stored<'a> {
    /// Its fields.
    pub record: Record<'a>,
    /// Its length in the log.
    pub bytes: u32,
    /// Version of its layout: 1, or 2 for long topics.
    pub version: u8,
}

impl Stored<'_> {
    /// Where it lies.
    pub const fn log_offset(&self) -> i64 {
        self.record.physical_offset
    }

    /// The message as a client sees it, its body decompressed. An inner batch stays one message, whose body holds the others.
    ///
    /// # Errors
    /// A body that does not decompress.
    pub fn message(&self) -> Result<MessageExt, DecodeError> {
        MessageExt::from_record(&self.record, &Arc::from(""))
    }

    /// The messages as consumers receive them: those of an inner batch, or the one, their bodies decompressed.
    ///
    /// # Errors
    /// A body that does not decompress, or an inner batch whose items do not decode.
    pub fn messages(&self) -> Result<Vec<MessageExt>, DecodeError> {
        self.message()?.expanded()
    }

    /// Whether the record or a message in it has this unique id.
    fn has_unique_id(&self, id: &str) -> bool {
        const INNER: i32 = INNER_BATCH | NEED_UNWRAP;
        let properties = Properties::parse_bytes(self.record.properties);
        properties.get(name::UNIQ_KEY) == Some(id)
            || (self.record.sys_flag & INNER == INNER
                && self.messages().is_ok_and(|messages| {
                    messages
                        .iter()
                        .any(|message| message.property(name::UNIQ_KEY) == Some(id))
                }))
    }

    /// [`Stored::message`] with the body as it is stored.
    ///
    /// # Errors
    /// None, as nothing is decompressed.
    pub fn as_stored(&self) -> Result<MessageExt, DecodeError> {
        let mut record = self.record.clone();
        record.sys_flag &= !COMPRESSED;
        MessageExt::from_record(&record, &Arc::from(""))
    }
}

impl Inspection {
    /// The record that `id` names: a log offset, an offset message id, a unique id, or `TOPIC/QUEUE/OFFSET`. A unique id is looked
    /// for in the whole log; the first with it is returned. `None` when there is none.
    ///
    /// # Errors
    /// The disk refused a read.
    pub fn find(&self, id: &str) -> Result<Option<Bytes>, StoreError> {
        if let Ok(log_offset) = id.parse::<u64>()
            && id.len() < 20
        {
            return self.record_at(log_offset);
        }
        if let Some((queue, offset)) = id.rsplit_once('/')
            && let Some((topic, queue_id)) = queue.rsplit_once('/')
            && let (Ok(queue_id), Ok(offset)) = (queue_id.parse::<i32>(), offset.parse::<u64>())
        {
            return self.in_queue(topic, queue_id, offset);
        }
        if let Ok((_, log_offset)) = parse_offset_msg_id(id)
            && let Ok(log_offset) = u64::try_from(log_offset)
            && let Some(found) = self.record_at(log_offset)?
        {
            return Ok(Some(found));
        }
        let mut found = None;
        self.walk::<StoreError>(0, |stored| {
            if stored.has_unique_id(id) {
                found = Some(stored.log_offset());
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        match found {
            Some(log_offset) => self.record_at(log_offset.cast_unsigned()),
            None => Ok(None),
        }
    }

    fn in_queue(
        &self,
        topic: &str,
        queue_id: i32,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let Some(found) = self
            .queues
            .iter()
            .find(|found| **found.queue.topic() == *topic && found.queue.queue_id() == queue_id)
        else {
            return Ok(None);
        };
        let unit = found
            .queue
            .unit(offset)
            .map_err(StoreError::io("read", found.queue.units.dir()))?;
        match unit.filter(|unit| !unit.is_pre_blank()) {
            Some(unit) => self.record_at(unit.log_offset),
            None => Ok(None),
        }
    }

    /// The valid record at a log offset.
    fn record_at(&self, at: u64) -> Result<Option<Bytes>, StoreError> {
        let end = self.log_files.end();
        if at < self.log_files.min() || at >= end {
            return Ok(None);
        }
        let fault = || StoreError::io("read", self.log.path(self.log.file_start(at)));
        let left = self.log.file_start(at) + self.log.file_bytes() - at;
        let mut len = [0; 4];
        if left < len.len() as u64 {
            return Ok(None);
        }
        self.log.read(&mut len, at).map_err(fault())?;
        let len = u32::from_be_bytes(len);
        if len < 8 || u64::from(len) > left {
            return Ok(None);
        }
        let mut bytes = vec![0; len as usize];
        self.log.read(&mut bytes, at).map_err(fault())?;
        let valid =
            check_record(&bytes, at).is_ok_and(|record| record.physical_offset == signed(at));
        Ok(valid.then(|| Bytes::from(bytes)))
    }
}
