//! Body compression: zlib stream, LZ4 frame, Zstandard.
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
    /// The type that a sys flag names; no bits mean zlib.
    ///
    /// # Errors
    /// Bits that name no type.
    pub fn from_sys_flag(sys_flag: i32) -> Result<Self, DecodeError> {
        let _ = sys_flag;
        todo!()
    }
    /// Compresses `body`. `level` is used by zlib and Zstandard.
    ///
    /// # Errors
    /// Zstandard without the feature.
    pub fn compress(self, body: &[u8], level: i32) -> Result<Vec<u8>, EncodeError> {
        let _ = (body, level);
        todo!()
    }
    /// Decompresses `body`, to at most `max_bytes`.
    ///
    /// # Errors
    /// Data that is not of this format, ends early, or grows beyond `max_bytes`.
    pub fn decompress(self, body: &[u8], max_bytes: usize) -> Result<Vec<u8>, DecodeError> {
        let _ = (body, max_bytes);
        todo!()
    }
}
