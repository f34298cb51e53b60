//! Bits of a message's sys flag. Java: `MessageSysFlag`.
/// The body is compressed.
pub const COMPRESSED: i32 = 0x1;
/// Topic with several tags per message.
pub const MULTI_TAGS: i32 = 0x2;
/// Half message.
pub const TRANSACTION_PREPARED: i32 = 0x4;
/// Committed transaction message.
pub const TRANSACTION_COMMIT: i32 = 0x8;
/// Rolled-back transaction message; also the mask of the transaction bits.
pub const TRANSACTION_ROLLBACK: i32 = 0xC;
/// The born host is IPv6.
pub const BORN_HOST_V6: i32 = 0x10;
/// The store host is IPv6.
pub const STORE_HOST_V6: i32 = 0x20;
/// The body is an inner batch that readers split.
pub const NEED_UNWRAP: i32 = 0x40;
/// Batch to be stored as one record.
pub const INNER_BATCH: i32 = 0x80;
/// Mask of the compression type.
pub const COMPRESSION_TYPE: i32 = 0x700;
