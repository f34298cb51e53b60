//! The length word: cutting a byte stream into frames.
//!
//! ```text
//! 0        4            8                 8+H                4+L
//! +--------+------------+-----------------+------------------+
//! | L: i32 | T:u8 H:u24 | header, H bytes | body, L-4-H bytes|
//! +--------+------------+-----------------+------------------+
//! ```
//!
//! What [`split`] returns begins at the second word; [`crate::RemotingCommand::decode`] reads it.

use bytes::{Buf, Bytes, BytesMut};

use crate::DecodeError;

/// Largest frame a peer may send, length word included. Java: `com.rocketmq.remoting.frameMaxLength`, 16 MiB.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of the length word, and of the word after it.
pub(crate) const WORD_BYTES: usize = 4;

/// Takes the next whole frame (without its length word) off the front of `buffer`; `None` when more bytes are needed.
///
/// A bad length is reported before the rest of the frame has arrived, and nothing is allocated for it. The frame shares
/// the buffer's memory. Java: `NettyDecoder`.
///
/// # Errors
/// [`DecodeError::OutOfBounds`] for a length below 4 or above `max_frame_bytes - 4`. The connection cannot go on.
pub fn split(buffer: &mut BytesMut, max_frame_bytes: usize) -> Result<Option<Bytes>, DecodeError> {
    let Some(word) = buffer.first_chunk::<WORD_BYTES>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*word);
    let max = max_frame_bytes.saturating_sub(WORD_BYTES);
    let bytes = usize::try_from(length)
        .ok()
        .filter(|bytes| (WORD_BYTES..=max).contains(bytes))
        .ok_or_else(|| DecodeError::OutOfBounds {
            what: "frame length",
            value: i64::from(length),
            min: 4,
            max: i64::try_from(max).unwrap_or(i64::MAX),
        })?;
    if buffer.len() < WORD_BYTES + bytes {
        return Ok(None);
    }
    let mut frame = buffer.split_to(WORD_BYTES + bytes).freeze();
    frame.advance(WORD_BYTES);
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_whole_frames_and_leaves_the_rest() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 4, 9][..]);
        let frame = split(&mut buffer, MAX_FRAME_BYTES).unwrap().unwrap();
        assert_eq!(frame, &[1, 2, 3, 4, 5][..]);
        assert!(split(&mut buffer, MAX_FRAME_BYTES).unwrap().is_none());
        assert_eq!(buffer, &[0, 0, 0, 4, 9][..]);
    }

    #[test]
    fn a_length_at_the_limit_waits_and_one_above_fails() {
        let mut buffer = BytesMut::from(&100_i32.to_be_bytes()[..]);
        assert!(split(&mut buffer, 104).unwrap().is_none());
        assert!(split(&mut buffer, 103).is_err());
        for length in [3, 0, -1, i32::MIN, i32::MAX] {
            let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
            assert!(split(&mut buffer, MAX_FRAME_BYTES).is_err(), "{length}");
        }
    }
}
