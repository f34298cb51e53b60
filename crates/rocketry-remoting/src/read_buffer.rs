//! What has arrived on a connection and is not a whole frame yet: nothing at all while the peer is silent.

use std::{
    future::Future as _,
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// Bytes that are read to the stack when nothing is buffered, so that a connection that waits needs no buffer, and one that says little one of
/// just that size. A usual request fits.
pub(crate) const FIRST_READ_BYTES: usize = 8 * 1024;

/// Largest buffer that a connection keeps while its peer is silent. Peers that send one small request after the other find it free again.
const KEEP_BYTES: usize = 2 * 1024;

/// How much is read at once into the buffer, at least and at most.
const MIN_READ_BYTES: usize = 8 * 1024;
const MAX_READ_BYTES: usize = 128 * 1024;

/// Most room that a partial frame gets ahead of its bytes.
const MAX_GROWTH_BYTES: usize = 1024 * 1024;

/// The bytes, and how many are read at once.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    /// Whole frames are split off in front.
    pub(crate) bytes: BytesMut,
    /// More when reads are full, less when they are nearly empty.
    read_bytes: usize,
    /// Whether the buffer may have more than [`KEEP_BYTES`].
    is_large: bool,
    /// Met behind bytes that had to be handled first.
    failed: Option<io::Error>,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self {
            bytes: BytesMut::new(),
            read_bytes: MIN_READ_BYTES,
            is_large: false,
            failed: None,
        }
    }
}

impl ReadBuffer {
    /// Appends what has arrived and returns how much that is, 0 at the end of the stream.
    pub(crate) fn poll_fill<R: AsyncRead>(
        &mut self,
        io: &mut Pin<&mut R>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if !self.bytes.is_empty() {
            return self.poll_more(io, cx);
        }
        let mut space = [MaybeUninit::uninit(); FIRST_READ_BYTES];
        let mut first = ReadBuf::uninit(&mut space);
        let polled = io.as_mut().poll_read(cx, &mut first);
        if std::mem::take(&mut self.is_large) {
            // frames that were split off have their parts of it for as long as they need them
            self.bytes = BytesMut::new();
        }
        ready!(polled)?;
        let first = first.filled();
        self.is_large = first.len() > KEEP_BYTES;
        if first.len() < FIRST_READ_BYTES {
            self.adapt(first.len(), usize::MAX);
            self.bytes.extend_from_slice(first);
            return Poll::Ready(Ok(first.len()));
        }
        // There is probably more, which is better handled together.
        self.bytes.reserve(FIRST_READ_BYTES + self.read_bytes);
        self.bytes.extend_from_slice(first);
        let more = match self.poll_more(io, cx) {
            Poll::Ready(Ok(more)) => more,
            Poll::Ready(Err(error)) => {
                self.failed = Some(error);
                0
            }
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(FIRST_READ_BYTES + more))
    }

    /// Reads into the buffer. A frame of which only the length is known gets no more room than bytes of it have arrived.
    fn poll_more<R: AsyncRead>(
        &mut self,
        io: &mut Pin<&mut R>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let wanted = self.read_bytes.max(self.bytes.len().min(MAX_GROWTH_BYTES));
        if self.bytes.capacity() - self.bytes.len() < wanted / 2 {
            self.bytes.reserve(wanted);
        }
        let room = self.bytes.capacity() - self.bytes.len();
        let bytes = ready!(pin!(io.read_buf(&mut self.bytes)).poll(cx))?;
        self.adapt(bytes, room);
        Poll::Ready(Ok(bytes))
    }

    fn adapt(&mut self, bytes: usize, room: usize) {
        if bytes == room {
            self.read_bytes = (self.read_bytes * 2).min(MAX_READ_BYTES);
        } else if bytes < self.read_bytes / 8 {
            self.read_bytes = (self.read_bytes / 2).max(MIN_READ_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, task::Waker};

    use super::*;

    /// Gives what it was given, piece by piece; `None` is the peer's silence.
    #[derive(Default)]
    struct Script(VecDeque<Option<io::Result<Vec<u8>>>>);

    impl AsyncRead for Script {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop_front() {
                None | Some(None) => Poll::Pending,
                Some(Some(Err(error))) => Poll::Ready(Err(error)),
                Some(Some(Ok(mut bytes))) => {
                    let rest = bytes.split_off(bytes.len().min(out.remaining()));
                    out.put_slice(&bytes);
                    if !rest.is_empty() {
                        self.0.push_front(Some(Ok(rest)));
                    }
                    Poll::Ready(Ok(()))
                }
            }
        }
    }

    fn fill(buffer: &mut ReadBuffer, script: &mut Script) -> Poll<io::Result<usize>> {
        let mut cx = Context::from_waker(Waker::noop());
        buffer.poll_fill(&mut Pin::new(script), &mut cx)
    }

    fn filled(buffer: &mut ReadBuffer, script: &mut Script) -> usize {
        match fill(buffer, script) {
            Poll::Ready(Ok(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    fn pieces(sizes: impl IntoIterator<Item = usize>) -> (Vec<u8>, Script) {
        let (mut all, mut script) = (Vec::new(), VecDeque::new());
        for size in sizes {
            let piece: Vec<u8> = (all.len()..all.len() + size)
                .map(|n| u8::try_from(n % 251).unwrap())
                .collect();
            all.extend_from_slice(&piece);
            script.push_back(Some(Ok(piece)));
        }
        (all, Script(script))
    }

    proptest::proptest! {
        /// However the bytes come and whenever some of them are taken, none is lost or out of order.
        #[test]
        fn every_byte_in_order(
            sizes in proptest::collection::vec(1..40_000usize, 0..20),
            keeps in proptest::collection::vec(proptest::bool::ANY, 1..5),
        ) {
            let (all, mut script) = pieces(sizes);
            let (mut buffer, mut got) = (ReadBuffer::default(), Vec::new());
            let mut keeps = keeps.iter().cycle();
            while let Poll::Ready(Ok(bytes)) = fill(&mut buffer, &mut script) {
                proptest::prop_assert!(bytes > 0);
                if !keeps.next().unwrap() {
                    got.extend_from_slice(&buffer.bytes.split());
                }
            }
            got.extend_from_slice(&buffer.bytes);
            proptest::prop_assert!(got == all);
        }
    }

    #[test]
    fn what_a_silent_peer_leaves_is_small() {
        let (_, mut script) = pieces([300_000]);
        let mut buffer = ReadBuffer::default();
        while fill(&mut buffer, &mut script).is_ready() {}
        assert_eq!(buffer.bytes.split().len(), 300_000);
        assert!(fill(&mut buffer, &mut script).is_pending());
        assert_eq!(buffer.bytes.capacity(), 0);
        assert!(!buffer.bytes.try_reclaim(1), "nothing is behind it either");
    }

    /// Requests of one size that are done one after the other need one buffer.
    #[test]
    fn small_requests_find_the_buffer_free() {
        let (_, mut script) = pieces([700; 10]);
        let mut buffer = ReadBuffer::default();
        let mut places = Vec::new();
        for _ in 0..10 {
            assert_eq!(filled(&mut buffer, &mut script), 700);
            places.push(buffer.bytes.split().as_ptr());
        }
        places.dedup();
        assert_eq!(places.len(), 1);
    }

    #[test]
    fn an_error_behind_bytes_comes_after_them() {
        let (_, mut script) = pieces([FIRST_READ_BYTES]);
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        script.0.push_back(Some(Err(reset())));
        script.0.push_back(Some(Ok(Vec::new())));
        let mut buffer = ReadBuffer::default();
        assert_eq!(filled(&mut buffer, &mut script), FIRST_READ_BYTES);
        let Poll::Ready(Err(error)) = fill(&mut buffer, &mut script) else {
            panic!("the error is gone");
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
