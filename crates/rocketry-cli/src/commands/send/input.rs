//! Cuts a file, stdin or a body given on the command line into messages, in bounded memory.
//!
//! Reading may block for as long as a pipe is silent, so it runs on a thread of its own, and at most two chunks wait for the sender.

use std::{
    io::{self, BufRead, BufReader, Read},
    thread,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::args::InputFormat;

/// Longest line or raw input that is read at all. A message is at most 4 MiB; JSON escapes make up to six bytes of one.
const MAX_ITEM_BYTES: usize = 32 * 1024 * 1024;
/// Bytes that make a chunk worth handing over.
const CHUNK_BYTES: usize = 256 * 1024;

/// What one line, or the whole raw input, holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The bytes, without the line feed.
    Bytes(Bytes),
    /// More bytes than any message may have.
    TooLong(u64),
}

/// One message to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Number of the line, from 1.
    pub(super) line: u64,
    /// What it holds.
    pub(super) content: Content,
}

/// Several items, and how far the input was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Items in input order.
    pub(super) items: Vec<Item>,
    /// Lines without content that were left out so far.
    pub(super) empty: u64,
    /// Bytes read so far.
    pub(super) position: u64,
}

/// Reads `source` on a thread and hands over chunks; ends after the first error, or when the receiver is dropped.
///
/// # Errors
/// No thread could be started.
pub(super) fn start(
    source: impl Read + Send + 'static,
    format: InputFormat,
) -> io::Result<mpsc::Receiver<io::Result<Chunk>>> {
    let (chunks, receiver) = mpsc::channel(1);
    // Not joined: a read from a terminal cannot be interrupted, and the process may end while it waits.
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let mut input = Input::new(source, format, MAX_ITEM_BYTES);
            loop {
                let chunk = match input.chunk() {
                    Ok(None) => return,
                    Ok(Some(chunk)) => Ok(chunk),
                    Err(error) => Err(error),
                };
                let last = chunk.is_err();
                if chunks.blocking_send(chunk).is_err() || last {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

struct Input<R> {
    reader: BufReader<R>,
    format: InputFormat,
    max_bytes: usize,
    line: u64,
    empty: u64,
    position: u64,
    ended: bool,
}

impl<R: Read> Input<R> {
    fn new(source: R, format: InputFormat, max_bytes: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(64 * 1024, source),
            format,
            max_bytes,
            line: 0,
            empty: 0,
            position: 0,
            ended: false,
        }
    }

    /// The next items: at least one unless the input ends, then as many as are there without waiting, up to the size of a chunk.
    fn chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut items = Vec::new();
        let mut bytes = 0;
        while !self.ended {
            match self.item()? {
                Some(Content::Bytes(content)) if self.is_empty(&content) => self.empty += 1,
                Some(content) => {
                    if let Content::Bytes(content) = &content {
                        bytes += content.len();
                    }
                    items.push(Item {
                        line: self.line,
                        content,
                    });
                }
                None => self.ended = true,
            }
            let more_at_hand = self.reader.buffer().contains(&b'\n');
            if bytes >= CHUNK_BYTES || (!more_at_hand && !items.is_empty()) {
                break;
            }
        }
        if self.ended && items.is_empty() && self.line == 0 {
            return Ok(None);
        }
        if self.ended {
            // Reported once more, so that the last count of empty lines arrives.
            self.line = 0;
        }
        Ok(Some(Chunk {
            items,
            empty: self.empty,
            position: self.position,
        }))
    }

    fn is_empty(&self, content: &[u8]) -> bool {
        match self.format {
            InputFormat::Lines => content.is_empty(),
            InputFormat::Jsonl => content.trim_ascii().is_empty(),
            // An empty body is sent, and refused with its reason.
            InputFormat::Raw => false,
        }
    }

    fn item(&mut self) -> io::Result<Option<Content>> {
        match self.format {
            InputFormat::Raw if self.line == 0 => {
                self.line = 1;
                self.until(None).map(Some)
            }
            InputFormat::Raw => Ok(None),
            InputFormat::Lines | InputFormat::Jsonl => {
                if fill(&mut self.reader)?.is_empty() {
                    return Ok(None);
                }
                self.line += 1;
                self.until(Some(b'\n')).map(Some)
            }
        }
    }

    /// Reads up to `end` (consumed, not returned) or the end of the input.
    fn until(&mut self, end: Option<u8>) -> io::Result<Content> {
        let mut content = Vec::new();
        let mut total: u64 = 0;
        loop {
            let available = fill(&mut self.reader)?;
            let found = end.and_then(|end| available.iter().position(|byte| *byte == end));
            let piece = available
                .get(..found.unwrap_or(available.len()))
                .unwrap_or_default();
            total += piece.len() as u64;
            if content.len() + piece.len() <= self.max_bytes {
                content.extend_from_slice(piece);
            } else {
                content = Vec::new();
            }
            let ended = available.is_empty() || found.is_some();
            let used = piece.len() + usize::from(found.is_some());
            self.position += used as u64;
            self.reader.consume(used);
            if ended {
                break;
            }
        }
        if total > self.max_bytes as u64 {
            return Ok(Content::TooLong(total));
        }
        Ok(Content::Bytes(content.into()))
    }
}

/// `fill_buf` that goes on after a signal.
fn fill<R: Read>(reader: &mut BufReader<R>) -> io::Result<&[u8]> {
    loop {
        match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            // The borrow checker does not accept the slice of the match; it is still in the buffer.
            Ok(_) => return Ok(reader.buffer()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], format: InputFormat, max_bytes: usize) -> (Vec<Item>, u64, u64) {
        let mut input = Input::new(bytes, format, max_bytes);
        let mut items = Vec::new();
        let mut last = Chunk::default();
        while let Some(mut chunk) = input.chunk().unwrap() {
            items.append(&mut chunk.items);
            last = chunk;
        }
        (items, last.empty, last.position)
    }

    fn item(line: u64, content: &'static [u8]) -> Item {
        Item {
            line,
            content: Content::Bytes(Bytes::from_static(content)),
        }
    }

    #[test]
    fn lines_are_kept_byte_for_byte() {
        let (items, empty, position) = all(b"a\r\n\n\xff\xfe\n  \n\nlast", InputFormat::Lines, 100);
        assert_eq!(
            items,
            [
                item(1, b"a\r"),
                item(3, b"\xff\xfe"),
                item(4, b"  "),
                item(6, b"last")
            ]
        );
        assert_eq!((empty, position), (2, 15));
    }

    #[test]
    fn empty_lines_at_the_end_are_counted() {
        assert_eq!(
            all(b"a\n\n\n", InputFormat::Lines, 100),
            (vec![item(1, b"a")], 2, 4)
        );
        assert_eq!(all(b"\n", InputFormat::Lines, 100), (vec![], 1, 1));
        assert_eq!(all(b"", InputFormat::Lines, 100), (vec![], 0, 0));
    }

    #[test]
    fn blank_lines_of_json_are_no_messages() {
        assert_eq!(
            all(b"{}\n \t\n", InputFormat::Jsonl, 100),
            (vec![item(1, b"{}")], 1, 6)
        );
    }

    #[test]
    fn raw_is_one_message_even_when_empty() {
        assert_eq!(
            all(b"a\nb\n", InputFormat::Raw, 100),
            (vec![item(1, b"a\nb\n")], 0, 4)
        );
        assert_eq!(all(b"", InputFormat::Raw, 100), (vec![item(1, b"")], 0, 0));
    }

    #[test]
    fn a_line_beyond_all_limits_is_skipped_in_bounded_memory() {
        let (items, _, _) = all(b"1234567\n12345678\nx\n", InputFormat::Lines, 7);
        assert_eq!(
            items,
            [
                item(1, b"1234567"),
                Item {
                    line: 2,
                    content: Content::TooLong(8)
                },
                item(3, b"x")
            ]
        );
        let (items, _, _) = all(b"12345678", InputFormat::Raw, 7);
        assert_eq!(
            items,
            [Item {
                line: 1,
                content: Content::TooLong(8)
            }]
        );
    }

    /// Gives one byte per read, and counts how many were asked for.
    struct Dripping(&'static [u8], usize);

    impl Read for Dripping {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = usize::from(self.1 < self.0.len());
            buffer[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
            self.1 += n;
            Ok(n)
        }
    }

    #[test]
    fn a_complete_line_is_handed_over_before_the_next_read() {
        let mut input = Input::new(Dripping(b"one\ntwo\n", 0), InputFormat::Lines, 100);
        assert_eq!(input.chunk().unwrap().unwrap().items, [item(1, b"one")]);
        assert_eq!(input.reader.get_ref().1, 4);
    }

    #[tokio::test]
    async fn errors_end_the_input() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::IsADirectory.into())
            }
        }
        let mut chunks = start(Broken, InputFormat::Lines).unwrap();
        assert!(chunks.recv().await.unwrap().is_err());
        assert!(chunks.recv().await.is_none());
    }
}
