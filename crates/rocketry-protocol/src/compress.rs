//! Body compression: zlib stream, LZ4 frame, Zstandard.

#[cfg(feature = "zstd")]
use std::io::Read;
use std::io::Write;

use flate2::{Decompress, FlushDecompress, Status};
use lz4_flex::{
    block::DecompressError,
    frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo},
};

use crate::{DecodeError, EncodeError};

/// A compression type of RocketMQ. Java: `CompressionType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// LZ4 frame format.
    Lz4,
    /// Zstandard; needs the feature `zstd`.
    Zstd,
    /// zlib stream: the default, and the only one that clients before 5.0 read.
    #[default]
    Zlib,
}

impl Compression {
    /// The bits 8-10 of a sys flag.
    pub const fn sys_flag_bits(self) -> i32 {
        match self {
            Self::Lz4 => 0x100,
            Self::Zstd => 0x200,
            Self::Zlib => 0x300,
        }
    }
    /// The type that a sys flag names; no bits mean zlib, which clients before 5.0 use without saying so.
    ///
    /// # Errors
    /// Bits that name no type.
    pub fn from_sys_flag(sys_flag: i32) -> Result<Self, DecodeError> {
        match sys_flag & crate::sys_flag::COMPRESSION_TYPE {
            0x100 => Ok(Self::Lz4),
            0x200 => Ok(Self::Zstd),
            0 | 0x300 => Ok(Self::Zlib),
            other => Err(malformed(format!(
                "type {} in the sys flag is not known",
                other >> 8
            ))),
        }
    }
    /// Compresses `body`. `level` is used by zlib (0..=9) and Zstandard (1..=22), clamped to their range; RocketMQ's default is 5.
    ///
    /// # Errors
    /// Zstandard without the feature.
    pub fn compress(self, body: &[u8], level: i32) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Zlib => compress_zlib(body, level.clamp(0, 9).unsigned_abs()),
            Self::Lz4 => compress_lz4(body),
            Self::Zstd => compress_zstd(body, level),
        }
    }
    /// Decompresses `body`, to at most `max_bytes`. What follows the compressed stream is ignored, as Java does.
    ///
    /// # Errors
    /// Data that is not of this format, ends early, or grows beyond `max_bytes`.
    pub fn decompress(self, body: &[u8], max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
        if body.is_empty() {
            return Err(malformed("there is nothing to decompress".to_owned()));
        }
        match self {
            Self::Zlib => decompress_zlib(body, max_bytes),
            Self::Lz4 => decompress_lz4(body, max_bytes),
            Self::Zstd => decompress_zstd(body, max_bytes),
        }
    }
}

fn compress_zlib(body: &[u8], level: u32) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = flate2::write::ZlibEncoder::new(
        Vec::with_capacity(body.len() / 2),
        flate2::Compression::new(level),
    );
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .map_err(|_| failed("zlib"))
}

/// The smallest block size that takes the whole body saves memory at both ends; Java always announces 4 MiB.
fn compress_lz4(body: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let block_size = match body.len() {
        0..=0x1_0000 => BlockSize::Max64KB,
        0x1_0001..=0x4_0000 => BlockSize::Max256KB,
        0x4_0001..=0x10_0000 => BlockSize::Max1MB,
        _ => BlockSize::Max4MB,
    };
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(block_size);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(body.len() / 2));
    encoder.write_all(body).map_err(|_| failed("LZ4"))?;
    encoder.finish().map_err(|_| failed("LZ4"))
}

#[cfg(feature = "zstd")]
fn compress_zstd(body: &[u8], level: i32) -> Result<Vec<u8>, EncodeError> {
    zstd::bulk::compress(body, level.clamp(1, 22)).map_err(|_| failed("Zstandard"))
}

#[cfg(not(feature = "zstd"))]
fn compress_zstd(_body: &[u8], _level: i32) -> Result<Vec<u8>, EncodeError> {
    Err(EncodeError::Inexpressible {
        what: "compressed body",
        reason: "Zstandard needs the feature `zstd`",
    })
}

/// Not flate2's reader: that one takes an early end of the input for the end of the stream.
fn decompress_zlib(body: &[u8], max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    let mut stream = Decompress::new(true);
    let mut out = Vec::with_capacity(first_guess(body.len(), max_bytes));
    loop {
        let taken = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        let rest = body.get(taken..).unwrap_or_default();
        let status = stream
            .decompress_vec(rest, &mut out, FlushDecompress::None)
            .map_err(|error| malformed(format!("not a zlib stream: {error}")))?;
        if out.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        if status == Status::StreamEnd {
            return Ok(out);
        }
        if out.len() < out.capacity() {
            return Err(malformed(format!(
                "the zlib stream ends early, after {} bytes of content",
                out.len()
            )));
        }
        let grown = out
            .capacity()
            .saturating_mul(2)
            .max(64)
            .min(max_bytes.saturating_add(1));
        out.reserve_exact(grown.saturating_sub(out.len()).max(1));
    }
}

/// Not lz4_flex's reader of frames: that one fills buffers of the size that the frame announces, 4 MiB in all that Java writes,
/// and takes an end between two blocks for the end of the frame. The frame's own check sums are passed over: a record has one.
fn decompress_lz4(body: &[u8], max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
    /// Blocks may refer to this much of what came before them.
    const WINDOW: usize = 64 << 10;
    /// No block grows by a larger factor.
    const MAX_RATIO: usize = 255;
    let mut frame = Frame { rest: body };
    if frame.take()? != MAGIC {
        return Err(malformed("not an LZ4 frame".to_owned()));
    }
    let [flags, block_descriptor] = frame.take()?;
    let flag = |bit: u8| flags & (1 << bit) != 0;
    if flags >> 6 != 1 || flag(0) {
        return Err(malformed(format!(
            "LZ4 frame with flags {flags:#04x}, which nobody uses"
        )));
    }
    let max_block_bytes = match block_descriptor >> 4 {
        size @ 4..=7 => 1usize << (2 * size + 8),
        other => {
            return Err(malformed(format!(
                "LZ4 frame with blocks of unknown size class {other}"
            )));
        }
    };
    if flag(3) {
        frame.take::<8>()?;
    }
    frame.take::<1>()?;
    let (independent, block_check_sums, content_check_sum) = (flag(5), flag(4), flag(2));

    // one more than allowed, to tell a body that fills the limit from one that grows beyond it
    let limit = max_bytes.saturating_add(1);
    let mut out = Vec::new();
    loop {
        let word = u32::from_be_bytes(frame.take()?).swap_bytes();
        if word == 0 {
            break;
        }
        let block = frame.take_slice((word & 0x7fff_ffff) as usize)?;
        if word >> 31 == 1 {
            out.extend_from_slice(block);
        } else {
            let start = out.len();
            let most = max_block_bytes
                .min(block.len().saturating_mul(MAX_RATIO))
                .min(limit - start);
            let mut room = most.min(first_guess(block.len(), most));
            let written = loop {
                out.resize(start + room, 0);
                let (before, into) = out.split_at_mut(start);
                let from = if independent {
                    start
                } else {
                    start.saturating_sub(WINDOW)
                };
                let dictionary = before.get(from..).unwrap_or_default();
                match lz4_flex::block::decompress_into_with_dict(block, into, dictionary) {
                    Ok(written) => break written,
                    Err(DecompressError::OutputTooSmall { .. }) if room < most => {
                        room = most.min(room.saturating_mul(8));
                    }
                    Err(DecompressError::OutputTooSmall { .. }) if room == limit - start => {
                        return Err(too_large(max_bytes));
                    }
                    Err(error) => return Err(malformed(format!("not an LZ4 block: {error}"))),
                }
            };
            out.truncate(start + written);
        }
        if out.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        if block_check_sums {
            frame.take::<4>()?;
        }
    }
    if content_check_sum {
        frame.take::<4>()?;
    }
    Ok(out)
}

/// What is left of an LZ4 frame.
struct Frame<'a> {
    rest: &'a [u8],
}

impl<'a> Frame<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.ends_early())?;
        self.rest = rest;
        Ok(*taken)
    }
    fn take_slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.ends_early())?;
        self.rest = rest;
        Ok(taken)
    }
    fn ends_early(&self) -> DecodeError {
        malformed(format!(
            "the LZ4 frame ends early, {} bytes before its next part",
            self.rest.len()
        ))
    }
}

#[cfg(feature = "zstd")]
fn decompress_zstd(body: &[u8], max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    let fault = |error: std::io::Error| malformed(format!("not a whole Zstandard frame: {error}"));
    let decoder = zstd::stream::read::Decoder::with_buffer(body)
        .map_err(fault)?
        .single_frame();
    let limit = u64::try_from(max_bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut out = Vec::with_capacity(first_guess(body.len(), max_bytes));
    decoder.take(limit).read_to_end(&mut out).map_err(fault)?;
    if out.len() > max_bytes {
        Err(too_large(max_bytes))
    } else {
        Ok(out)
    }
}

#[cfg(not(feature = "zstd"))]
fn decompress_zstd(_body: &[u8], _max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    Err(malformed("Zstandard needs the feature `zstd`".to_owned()))
}

/// Text shrinks to about a third; a hostile body gains nothing from the guess.
fn first_guess(body_len: usize, max_bytes: usize) -> usize {
    body_len.saturating_mul(3).min(max_bytes)
}

fn malformed(reason: String) -> DecodeError {
    DecodeError::Malformed {
        what: "compressed body",
        reason,
    }
}

fn too_large(max_bytes: usize) -> DecodeError {
    malformed(format!("it grows beyond the limit of {max_bytes} bytes"))
}

fn failed(format: &'static str) -> EncodeError {
    EncodeError::Inexpressible {
        what: "compressed body",
        reason: format,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "zstd")]
    const ALL: [Compression; 3] = [Compression::Zlib, Compression::Lz4, Compression::Zstd];
    #[cfg(not(feature = "zstd"))]
    const ALL: [Compression; 2] = [Compression::Zlib, Compression::Lz4];

    #[test]
    fn round_trips_at_every_size_class() {
        for compression in ALL {
            for size in [0, 1, 100, 70_000, 300_000, 1_500_000, 5_000_000] {
                let body: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
                let packed = compression.compress(&body, 5).unwrap();
                assert!(
                    compression.decompress(&packed, body.len()).unwrap() == body,
                    "{compression:?} {size}"
                );
            }
        }
    }

    #[test]
    fn lz4_frames_of_other_writers() {
        let body: Vec<u8> = (0..200_000u32).map(|i| (i % 1000 * i % 61) as u8).collect();
        for (mode, check_sums) in [
            (BlockMode::Linked, false),
            (BlockMode::Linked, true),
            (BlockMode::Independent, true),
        ] {
            let info = FrameInfo::new()
                .block_mode(mode)
                .block_size(BlockSize::Max64KB)
                .block_checksums(check_sums)
                .content_checksum(check_sums)
                .content_size(check_sums.then_some(body.len() as u64));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&body).unwrap();
            let packed = encoder.finish().unwrap();
            assert!(Compression::Lz4.decompress(&packed, body.len()).unwrap() == body);
        }
    }

    #[test]
    fn limit_and_early_end_are_errors() {
        for compression in ALL {
            let body = vec![7; 100_000];
            let packed = compression.compress(&body, 5).unwrap();
            let error = compression.decompress(&packed, body.len() - 1).unwrap_err();
            assert!(
                error.to_string().contains("limit of 99999"),
                "{compression:?}: {error}"
            );
            for end in 0..packed.len() {
                assert!(
                    compression.decompress(&packed[..end], body.len()).is_err(),
                    "{compression:?} cut at {end} of {}",
                    packed.len()
                );
            }
        }
    }
}
