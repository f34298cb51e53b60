//! Record after record from an offset on, each checked, until the log ends.

use std::{io, sync::Arc};

use rocketry_protocol::{
    hash::crc32,
    record::{MAGIC_BLANK, MAGIC_V1, MAGIC_V2, Record},
};

use super::{
    CommitLog,
    ahead::{PIECE_BYTES, Piece, ReadAhead},
};
use crate::number::{i32_at, signed, size};

/// Bytes that are read one piece after the other before a thread reads ahead: a short reading is over sooner without one.
const ALONE_BYTES: u64 = 8 << 20;

/// What lies at a log offset.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A valid record of `len` bytes.
    Record {
        /// The record.
        record: Record<'a>,
        /// Its bytes, TOTALSIZE.
        len: u32,
        /// 1 or 2: how long its topic length is.
        version: u8,
    },
    /// Nothing valid: the log ends here. All zeros, or the reason why the bytes are no record.
    End(Option<String>),
}

/// Reads records in log order. Checks more than Java: next to magic, lengths and body CRC also the record's own offset, topic, queue
/// id and property text, so that a record torn behind its body is seen as torn.
#[derive(Debug)]
pub(crate) struct Scanner {
    log: Arc<CommitLog>,
    /// End of the last existing file.
    files_end: u64,
    at: u64,
    piece: Piece,
    /// Reads what follows the piece.
    ahead: Option<ReadAhead>,
    /// Bytes that were read since nothing was read ahead.
    alone: u64,
    bytes_read: u64,
}

impl Scanner {
    pub(crate) fn new(log: &Arc<CommitLog>, files_end: u64, at: u64) -> Self {
        Self {
            log: Arc::clone(log),
            files_end,
            at,
            piece: Piece::default(),
            ahead: None,
            alone: 0,
            bytes_read: 0,
        }
    }

    /// Where the next record begins; after [`Step::End`] the end of the log.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Bytes read from the files so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next record, or the end.
    pub(crate) fn step(&mut self) -> io::Result<Step<'_>> {
        let (len, left, magic) = loop {
            if self.at >= self.files_end {
                return Ok(Step::End(None));
            }
            let file_end = self.log.file_start(self.at) + self.log.file_bytes();
            let left = size(file_end - self.at);
            if left < 8 {
                return Ok(Step::End(Some(format!("{left} bytes left in the file"))));
            }
            let head = self.fill(8, left)?;
            let (len, magic) = (
                i32_at(head, 0).unwrap_or_default(),
                i32_at(head, 4).unwrap_or_default(),
            );
            match magic {
                MAGIC_BLANK => self.at = file_end,
                MAGIC_V1 | MAGIC_V2 => break (len, left, magic),
                0 if len == 0 => return Ok(Step::End(None)),
                _ => return Ok(Step::End(Some(format!("magic word {magic:#010x}")))),
            }
        };
        let Some(len) = u32::try_from(len).ok().filter(|len| *len as usize <= left) else {
            return Ok(Step::End(Some(format!(
                "record of {len} bytes with {left} bytes left in the file"
            ))));
        };
        let at = self.at;
        let bytes = self.fill(len as usize, left)?;
        match check(bytes, at) {
            Ok(record) => {
                // the record borrows the buffer, not the position
                let version = if magic == MAGIC_V1 { 1 } else { 2 };
                Ok(Step::Record {
                    record,
                    len,
                    version,
                })
            }
            Err(reason) => Ok(Step::End(Some(reason))),
        }
    }

    /// Steps behind the record that [`Scanner::step`] returned.
    pub(crate) fn advance(&mut self, len: u32) {
        self.at += u64::from(len);
    }

    /// Goes on at another place.
    pub(crate) fn go_to(&mut self, at: u64) {
        self.at = at;
        self.ahead = None;
        self.alone = 0;
    }

    /// Reads on to a later end of the files. What was read before may lack what was written since.
    pub(crate) fn extend(&mut self, files_end: u64) {
        if files_end > self.files_end {
            self.files_end = files_end;
            self.piece = Piece::default();
            self.go_to(self.at);
        }
    }

    /// The `need` bytes at the position, when `left` are left in the file.
    fn fill(&mut self, need: usize, left: usize) -> io::Result<&[u8]> {
        if need > left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while self.piece.get(self.at, need).is_none() {
            let old_end = self.piece.end();
            if let Some(ahead) = &self.ahead {
                if ahead.replace(&mut self.piece, self.at) {
                    self.bytes_read += self.piece.end() - old_end;
                    continue;
                }
                self.ahead = None;
                self.alone = 0;
            }
            let len = need.max(PIECE_BYTES).min(left);
            self.piece.read(&self.log, self.at, len)?;
            self.bytes_read += len as u64;
            self.alone += len as u64;
            let end = self.piece.end();
            if self.alone >= ALONE_BYTES && end + ALONE_BYTES <= self.files_end {
                self.ahead = ReadAhead::start(&self.log, end, self.files_end);
            }
        }
        self.piece
            .get(self.at, need)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Parses and checks one whole record at log offset `at`.
pub(crate) fn check(bytes: &[u8], at: u64) -> Result<Record<'_>, String> {
    let (record, len) = Record::parse(bytes).map_err(|error| error.to_string())?;
    if len != bytes.len() {
        return Err(format!(
            "record fields take {len} bytes, its size says {}",
            bytes.len()
        ));
    }
    if record.physical_offset != signed(at) {
        return Err(format!(
            "record names offset {} as its own",
            record.physical_offset
        ));
    }
    if record.topic.is_empty() || record.topic.contains('\0') || record.queue_id < 0 {
        return Err(format!(
            "topic {:?}, queue {}",
            record.topic, record.queue_id
        ));
    }
    // lost pages read as zeros, and no property text ends with one
    if std::str::from_utf8(record.properties).is_err() || record.properties.last() == Some(&0) {
        return Err("properties are no text".to_owned());
    }
    if !record.body.is_empty() && crc32(record.body) != record.body_crc {
        return Err(format!(
            "body CRC {:#x}, stored {:#x}",
            crc32(record.body),
            record.body_crc
        ));
    }
    Ok(record)
}
