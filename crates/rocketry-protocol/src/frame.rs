//! The length word and the header-length word: cutting a byte stream into frames.

use bytes::{Bytes, BytesMut};

use crate::DecodeError;

/// Largest frame a peer may send, length word included. Java: `com.rocketmq.remoting.frameMaxLength`, 16 MiB.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Takes the next whole frame (without its length word) off the front of `buffer`; `None` when more bytes are needed.
///
/// A bad length is reported before the rest of the frame has arrived, and nothing is allocated for it.
///
/// # Errors
/// [`DecodeError::OutOfBounds`] for a length below 4 or above `max_frame_bytes - 4`. The connection cannot go on.
pub fn split(buffer: &mut BytesMut, max_frame_bytes: usize) -> Result<Option<Bytes>, DecodeError> {
    let _ = (buffer, max_frame_bytes);
    todo!()
}
