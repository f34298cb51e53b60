//! RocketMQ's remoting protocol and message formats: bytes to values and back.
//!
//! No I/O, no clock, no async runtime. Client, server and store share this crate, so that each format is written once:
//!
//! - [`frame`] cuts a byte stream into frames, [`RemotingCommand`] is one frame, [`Fields`] its header fields;
//! - [`header`] has one typed request and reply per operation, [`body`] the JSON bodies;
//! - [`record`] is the stored message, as it lies in the commit log and in pull replies; [`batch`] the client batch body;
//! - [`Message`] is a message to send, [`MessageExt`] one that was received.

pub mod acl;
pub mod address;
pub mod allocate;
pub mod batch;
pub mod body;
mod code;
mod command;
pub mod compress;
mod error;
pub mod fields;
pub mod frame;
pub mod hash;
pub mod header;
pub mod id;
mod md5;
mod message;
pub mod namespace;
pub mod pop;
pub mod properties;
pub mod record;
mod reply;
pub mod sys_flag;
pub mod topic;
pub mod trace;

pub use code::{Language, RequestCode, ResponseCode};
pub use command::{Outgoing, RemotingCommand, Serialization, TypedRequest, TypedResponse};
pub use error::{DecodeError, EncodeError};
pub use fields::{FieldReader, FieldWriter, Fields};
pub use header::{ReadHeader, Request, WriteHeader};
pub use message::{MAX_DECOMPRESSED_BYTES, Message, MessageExt, MessageQueue, Readable};
pub use properties::Properties;
pub use reply::{NotARequest, reply_topic};
pub use topic::{Group, NameError, NameFault, Topic};

/// The protocol version this crate speaks: the ordinal of `V5_5_0` in Java's `MQVersion.Version`.
pub const VERSION: i32 = 513;
