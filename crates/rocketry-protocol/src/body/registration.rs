//! How a broker registers with a name server.

use serde::{Deserialize, Serialize};

use super::{
    DataVersion,
    static_topic::TopicQueueMappingInfo,
    topics::{TopicConfig, TopicConfigAndMappingSerializeWrapper},
};
use crate::{DecodeError, EncodeError, compress::Compression};

/// What a broker registers. Java: `RegisterBrokerBody`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBrokerBody {
    /// Filter servers; no longer used.
    pub filter_server_list: Vec<String>,
    /// The broker's topics.
    pub topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper,
}

/// Bytes that a compressed registration may grow to.
pub const MAX_REGISTRATION_BYTES: usize = 256 << 20;

impl RegisterBrokerBody {
    /// The body of a registration with `compressed=true`: a zlib stream over a form of its own, which leaves out the details of
    /// static topics and the mappings' version. `with_mappings`: for name servers of version 413 (4.9.5) and up.
    /// Java: `RegisterBrokerBody.encode`.
    ///
    /// # Errors
    /// A part of more than 2^31 - 1 bytes.
    pub fn encode_compressed(&self, with_mappings: bool) -> Result<Vec<u8>, EncodeError> {
        let wrapper = &self.topic_config_serialize_wrapper;
        let mut plain = Vec::new();
        push_part(&super::encode(&wrapper.data_version)?, &mut plain)?;
        push_len(wrapper.topic_config_table.len(), &mut plain)?;
        for config in wrapper.topic_config_table.values() {
            push_part(config.to_text().as_bytes(), &mut plain)?;
        }
        push_part(&super::encode(&self.filter_server_list)?, &mut plain)?;
        if with_mappings {
            push_len(wrapper.topic_queue_mapping_info_map.len(), &mut plain)?;
            for mapping in wrapper.topic_queue_mapping_info_map.values() {
                push_part(&super::encode(mapping)?, &mut plain)?;
            }
        }
        Compression::Zlib.compress(&plain, 9)
    }
    /// Reads the compressed form; mappings are read if they are there. Java: `RegisterBrokerBody.decode`.
    ///
    /// # Errors
    /// Not a zlib stream, lengths beyond the content, parts that are not what they should be.
    pub fn decode_compressed(bytes: &[u8]) -> Result<Self, DecodeError> {
        let plain = Compression::Zlib.decompress(
            bytes,
            MAX_REGISTRATION_BYTES.min(bytes.len().saturating_mul(1100)),
        )?;
        let mut parts = Parts { rest: &plain };
        let data_version: DataVersion = super::decode(parts.part()?)?;
        let mut body = Self::default();
        let wrapper = &mut body.topic_config_serialize_wrapper;
        wrapper.data_version = data_version;
        for _ in 0..parts.len()? {
            let config = TopicConfig::from_text(&String::from_utf8_lossy(parts.part()?))?;
            wrapper
                .topic_config_table
                .insert(config.topic_name.clone(), config);
        }
        body.filter_server_list = super::decode(parts.part()?)?;
        if !parts.rest.is_empty() {
            for _ in 0..parts.len()? {
                let mapping: TopicQueueMappingInfo = super::decode(parts.part()?)?;
                wrapper
                    .topic_queue_mapping_info_map
                    .insert(mapping.topic.clone(), mapping);
            }
        }
        Ok(body)
    }
}

fn push_len(len: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let limit = i32::MAX as usize;
    let wire = i32::try_from(len).map_err(|_| EncodeError::TooLong {
        what: "registration",
        bytes: len,
        limit,
    })?;
    out.extend_from_slice(&wire.to_be_bytes());
    Ok(())
}

fn push_part(part: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    push_len(part.len(), out)?;
    out.extend_from_slice(part);
    Ok(())
}

/// Parts of a registration, each after its length.
struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn len(&mut self) -> Result<usize, DecodeError> {
        let what = "registration";
        let have = self.rest.len() as u64;
        let (len, rest) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or(DecodeError::Truncated {
                what,
                need: 4,
                have,
            })?;
        self.rest = rest;
        let len = i32::from_be_bytes(*len);
        usize::try_from(len).map_err(|_| DecodeError::OutOfBounds {
            what,
            value: len.into(),
            min: 0,
            max: i32::MAX.into(),
        })
    }
    fn part(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.len()?;
        let have = self.rest.len() as u64;
        let truncated = DecodeError::Truncated {
            what: "registration",
            need: len as u64,
            have,
        };
        let (part, rest) = self.rest.split_at_checked(len).ok_or(truncated)?;
        self.rest = rest;
        Ok(part)
    }
}
