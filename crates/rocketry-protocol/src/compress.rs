//! Body compression: zlib stream, LZ4 frame, Zstandard (wire.md 9.4).

use std::io::{Read, Write};

use flate2::{Decompress, FlushDecompress, Status};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

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
            Self::Lz4 => read_bounded("LZ4", FrameDecoder::new(Whole(body)), body.len(), max_bytes),
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

#[cfg(feature = "zstd")]
fn decompress_zstd(body: &[u8], max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    let decoder = zstd::stream::read::Decoder::with_buffer(body)
        .map_err(|error| malformed(format!("not a Zstandard frame: {error}")))?
        .single_frame();
    read_bounded("Zstandard", decoder, body.len(), max_bytes)
}

#[cfg(not(feature = "zstd"))]
fn decompress_zstd(_body: &[u8], _max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    Err(malformed("Zstandard needs the feature `zstd`".to_owned()))
}

/// A reader whose end is an error: the LZ4 decoder takes an end between two blocks for the end of the frame.
struct Whole<'a>(&'a [u8]);

impl Read for Whole<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() && !buf.is_empty() {
            return Err(std::io::Error::other("it ends early"));
        }
        self.0.read(buf)
    }
}

fn read_bounded(
    format: &str,
    decoder: impl Read,
    body_len: usize,
    max_bytes: usize,
) -> Result<Vec<u8>, DecodeError> {
    let limit = u64::try_from(max_bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut out = Vec::with_capacity(first_guess(body_len, max_bytes));
    decoder
        .take(limit)
        .read_to_end(&mut out)
        .map_err(|error| malformed(format!("not a whole {format} frame: {error}")))?;
    if out.len() > max_bytes {
        Err(too_large(max_bytes))
    } else {
        Ok(out)
    }
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
