//! Frames that wait for the socket: callers append under a short lock, the writer takes everything at once.

use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use rocketry_protocol::{EncodeError, Outgoing, RemotingCommand};

/// Bodies from this size on are written from where they lie instead of being copied.
pub(crate) const LARGE_BODY_BYTES: usize = 16 * 1024;
/// The same for a piece of a body that comes in pieces: what lies in the page cache is not fresh in the processor's.
const LARGE_PIECE_BYTES: usize = 512;

/// What is set aside for a frame beside its body; a longer header takes more.
pub(crate) const USUAL_HEADER_BYTES: usize = 512;

/// Buffer space that is kept from one batch to the next.
const KEEP_BYTES: usize = 256 * 1024;

/// Frames in order, and what has to be given back once they are written.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// All bytes but large bodies.
    inline: BytesMut,
    chunks: Vec<Chunk>,
    chunk_bytes: usize,
    /// Bytes of the last batch in this place, for which room is made at once where there is none.
    usual_bytes: usize,
    written: Cursor,
    /// Permits for outbound bytes that the frames hold.
    pub(crate) room: usize,
    /// One-way requests among the frames.
    pub(crate) oneways: usize,
    /// Bytes of responses among the frames.
    pub(crate) response_bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    /// Where in `inline` the body belongs.
    at: usize,
    body: Bytes,
}

/// How far a batch is written.
#[derive(Debug, Default, Clone, Copy)]
struct Cursor {
    inline: usize,
    chunk: usize,
    in_chunk: usize,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.inline.len() + self.chunk_bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inline.is_empty()
    }

    /// Encodes `frame` at the end and returns its size.
    pub(crate) fn push(&mut self, mut frame: impl Outgoing) -> Result<usize, EncodeError> {
        let before = self.inline.len();
        let body = frame.body();
        if body.len() < LARGE_BODY_BYTES {
            let room = USUAL_HEADER_BYTES + body.len();
            let is_first = self.inline.capacity() == 0;
            let usual = if is_first { self.usual_bytes } else { 0 };
            self.inline.reserve(room.max(usual));
            frame.encode_head(&mut self.inline)?;
            self.inline.extend_from_slice(frame.body());
            return Ok(self.inline.len() - before);
        }
        frame.encode_head(&mut self.inline)?;
        let body = frame.take_body();
        let size = self.inline.len() - before + body.len();
        self.put_chunk(body);
        Ok(size)
    }

    /// [`Batch::push`] with a body that comes in pieces, and takes the place of the command's own.
    pub(crate) fn push_pieces(
        &mut self,
        command: &RemotingCommand,
        pieces: Vec<Bytes>,
    ) -> Result<usize, EncodeError> {
        let before = self.len();
        let body_bytes = pieces.iter().map(Bytes::len).sum();
        command.encode_head_for(body_bytes, &mut self.inline)?;
        for piece in pieces {
            if piece.len() < LARGE_PIECE_BYTES {
                self.inline.extend_from_slice(&piece);
            } else {
                self.put_chunk(piece);
            }
        }
        Ok(self.len() - before)
    }

    fn put_chunk(&mut self, body: Bytes) {
        self.chunk_bytes += body.len();
        self.chunks.push(Chunk {
            at: self.inline.len(),
            body,
        });
    }

    /// The next bytes to write, in order and at most `most` of them, into as many of `slices` as are needed; returns how many that
    /// were.
    pub(crate) fn unwritten<'a>(&'a self, slices: &mut [IoSlice<'a>], most: usize) -> usize {
        let Cursor {
            mut inline,
            chunk,
            mut in_chunk,
        } = self.written;
        let mut chunks = self.chunks.get(chunk..).unwrap_or_default().iter();
        let mut used = 0;
        let mut slots = slices.iter_mut();
        let mut left = most;
        let mut put = |bytes: &'a [u8]| {
            if bytes.is_empty() {
                return true;
            }
            let bytes = bytes.get(..left).unwrap_or(bytes);
            if bytes.is_empty() {
                return false;
            }
            let Some(slot) = slots.next() else {
                return false;
            };
            left -= bytes.len();
            *slot = IoSlice::new(bytes);
            used += 1;
            true
        };
        loop {
            let next = chunks.next();
            let end = next.map_or(self.inline.len(), |chunk| chunk.at);
            if !put(self.inline.get(inline..end).unwrap_or_default()) {
                return used;
            }
            inline = end;
            let Some(chunk) = next else { return used };
            if !put(chunk.body.get(in_chunk..).unwrap_or_default()) {
                return used;
            }
            in_chunk = 0;
        }
    }

    /// Marks `bytes` more as written.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        let at = &mut self.written;
        while bytes > 0 {
            let chunk = self.chunks.get(at.chunk);
            let inline_end = chunk.map_or(self.inline.len(), |chunk| chunk.at);
            let step = bytes.min(inline_end.saturating_sub(at.inline));
            at.inline += step;
            bytes -= step;
            let Some(chunk) = chunk else { return };
            let step = bytes.min(chunk.body.len() - at.in_chunk);
            at.in_chunk += step;
            bytes -= step;
            if at.inline == inline_end && at.in_chunk == chunk.body.len() {
                at.chunk += 1;
                at.in_chunk = 0;
            }
        }
    }

    /// Whether everything is written.
    pub(crate) fn is_written(&self) -> bool {
        self.written.inline == self.inline.len() && self.written.chunk == self.chunks.len()
    }

    /// Empties the batch for its next use; a buffer that grew large is given back.
    pub(crate) fn clear(&mut self) {
        let mut inline = std::mem::take(&mut self.inline);
        let mut chunks = std::mem::take(&mut self.chunks);
        let usual_bytes = inline.len().min(KEEP_BYTES);
        inline.clear();
        chunks.clear();
        *self = Self {
            usual_bytes,
            ..Self::default()
        };
        if inline.capacity() <= KEEP_BYTES {
            self.inline = inline;
        }
        if chunks.capacity() <= KEEP_BYTES / size_of::<Chunk>() {
            self.chunks = chunks;
        }
    }

    /// Whether memory is kept for frames.
    pub(crate) fn has_room(&self) -> bool {
        self.inline.capacity() > 0 || self.chunks.capacity() > 0
    }

    /// Gives the memory of an empty batch back.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = Self {
                usual_bytes: self.usual_bytes,
                ..Self::default()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rocketry_protocol::ResponseCode;

    use super::*;

    fn command(opaque: i32, body_bytes: usize) -> RemotingCommand {
        let body: Vec<u8> = (0..=250).cycle().take(body_bytes).collect();
        let mut command = RemotingCommand::response(ResponseCode::SUCCESS).with_body(body);
        command.opaque = opaque;
        command
    }

    proptest! {
        /// However little the socket takes at a time, the bytes are those of the frames in order.
        #[test]
        fn partial_writes_keep_every_byte(
            bodies in proptest::collection::vec(prop_oneof![0..64usize, LARGE_BODY_BYTES - 1..LARGE_BODY_BYTES + 2], 0..12),
            steps in proptest::collection::vec(1..20_000usize, 1..20),
            slots in 1..5usize,
            most in prop_oneof![1..100usize, 1..100_000usize],
        ) {
            let mut batch = Batch::default();
            let mut expected = BytesMut::new();
            for (opaque, body_bytes) in bodies.iter().enumerate() {
                let before = expected.len();
                command(i32::try_from(opaque).unwrap(), *body_bytes).encode(&mut expected).unwrap();
                let size = batch.push(command(i32::try_from(opaque).unwrap(), *body_bytes)).unwrap();
                prop_assert_eq!(size, expected.len() - before);
            }
            prop_assert_eq!(batch.len(), expected.len());
            let mut steps = steps.iter().cycle();
            let mut written = Vec::new();
            while !batch.is_written() {
                let mut slices = [IoSlice::new(&[]); 4];
                let used = batch.unwritten(&mut slices[..slots.min(4)], most);
                prop_assert!(used > 0);
                let offered: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
                prop_assert!(offered.len() <= most);
                let step = (*steps.next().unwrap()).min(offered.len());
                written.extend_from_slice(&offered[..step]);
                batch.advance(step);
            }
            prop_assert_eq!(written, expected.to_vec());
            batch.clear();
            prop_assert!(batch.is_empty() && batch.is_written());
            prop_assert_eq!(batch.chunk_bytes, 0);
        }
    }

    proptest! {
        /// A body in pieces makes the frame that it makes in one piece, whatever the command's own body is.
        #[test]
        fn pieces_are_one_body(sizes in proptest::collection::vec(prop_oneof![0..3usize, LARGE_PIECE_BYTES - 1..LARGE_PIECE_BYTES + 2], 0..9)) {
            let pieces: Vec<Bytes> = sizes.iter().map(|size| command(0, *size).body).collect();
            let mut whole = command(7, 0);
            whole.body = pieces.concat().into();
            let mut expected = BytesMut::new();
            whole.encode(&mut expected).unwrap();
            let mut batch = Batch::default();
            for _ in 0..2 {
                prop_assert_eq!(batch.push_pieces(&command(7, 5), pieces.clone()).unwrap(), expected.len());
            }
            prop_assert_eq!(batch.len(), 2 * expected.len());
            let mut written = Vec::new();
            while !batch.is_written() {
                let mut slices = [IoSlice::new(&[]); 3];
                let used = batch.unwritten(&mut slices, usize::MAX);
                let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
                written.extend_from_slice(&bytes);
                batch.advance(bytes.len());
            }
            prop_assert_eq!(written, [&expected[..], &expected[..]].concat());
        }
    }

    #[test]
    fn a_large_body_is_not_copied() {
        let mut batch = Batch::default();
        let large = command(1, LARGE_BODY_BYTES);
        let address = large.body.as_ptr();
        batch.push(large).unwrap();
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(batch.unwritten(&mut slices, usize::MAX), 2);
        assert_eq!(slices[1].as_ptr(), address);
    }

    #[test]
    fn a_buffer_that_grew_large_is_given_back() {
        let mut batch = Batch::default();
        for _ in 0..2 * KEEP_BYTES / LARGE_BODY_BYTES {
            batch.push(command(1, LARGE_BODY_BYTES - 1)).unwrap();
        }
        batch.clear();
        assert_eq!(batch.inline.capacity(), 0);
        batch.push(command(1, 100)).unwrap();
        let kept = batch.inline.capacity();
        batch.clear();
        assert_eq!(batch.inline.capacity(), kept);
    }
}
