//! One file per kind of request. A processor is a function of the broker's (or name server's) handles and a request; it returns
//! the answer, or keeps the means to give it later. None of them blocks.

pub(crate) mod ack;
pub(crate) mod admin_access;
pub(crate) mod admin_broker;
pub(crate) mod admin_client;
pub(crate) mod admin_group;
pub(crate) mod admin_offset;
pub(crate) mod admin_stats;
pub(crate) mod admin_topic;
pub(crate) mod assignment;
pub(crate) mod end_transaction;
pub(crate) mod heartbeat;
pub(crate) mod name_server;
pub(crate) mod offset;
pub(crate) mod pop;
pub(crate) mod pull;
pub(crate) mod query;
pub(crate) mod recall;
pub(crate) mod reply;
pub(crate) mod send;
pub(crate) mod send_back;

use std::ops::Range;

use bytes::Bytes;
use rocketry_protocol::{Fields, RemotingCommand, ResponseCode, body, body::DataVersion};
use serde::Serialize;

use crate::fault::Fault;

/// Most entries of a page of topics or groups. Java: `splitMetadataSize`.
const PAGE: usize = 2000;

/// Code 0 without header fields.
fn ok() -> RemotingCommand {
    RemotingCommand::response(ResponseCode::SUCCESS)
}

/// Code 0 with an empty map of header fields, as Java answers where it has a header class without values.
fn ok_empty() -> RemotingCommand {
    let mut response = ok();
    response.fields = Some(Fields::default());
    response
}

/// Code 0 with a body.
fn ok_body(body: impl Into<Bytes>) -> RemotingCommand {
    ok().with_body(body)
}

/// The body of a request that cannot do without one.
fn body_of(request: &RemotingCommand) -> Result<&[u8], Fault> {
    if request.body.is_empty() {
        return Err(Fault::system_error("the request has no body"));
    }
    Ok(&request.body)
}

/// The body of a request to change settings: lines `key=value`, comments and blank lines between them.
fn settings(request: &RemotingCommand) -> Result<Vec<(&str, &str)>, Fault> {
    let text = std::str::from_utf8(body_of(request)?)
        .map_err(|_| Fault::system_error("the settings are not UTF-8"))?;
    let lines = text.lines().map(str::trim);
    Ok(lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect())
}

/// The answer to a change of what must not change.
fn fixed_setting() -> Fault {
    Fault::new(
        ResponseCode::NO_PERMISSION,
        "Can not update config in black list.",
    )
}

/// Filters other than by tag are switched off.
fn no_property_filter(expression_type: &str) -> Fault {
    Fault::system_error(format!(
        "The broker does not support consumer to filter message by {expression_type}"
    ))
}

/// A body as it goes over the wire.
fn encoded<T: Serialize>(value: &T) -> Result<Bytes, Fault> {
    Ok(body::encode(value)?)
}

/// Which of `total` sorted entries a listing returns: all when nothing is asked for, else the page from `seq` on, which starts over
/// when the table has changed since the page before. Java: `AdminBrokerProcessor.getAllTopicConfig`.
fn page(
    total: usize,
    seq: Option<i32>,
    version: Option<&str>,
    max: Option<i32>,
    current: &DataVersion,
) -> Range<usize> {
    if seq.is_none() && version.is_none() && max.is_none() {
        return 0..total;
    }
    let number = |n: i32| usize::try_from(n).unwrap_or(0);
    let is_current = version
        .and_then(|text| body::decode::<DataVersion>(text.as_bytes()).ok())
        .is_some_and(|version| version == *current);
    let from = seq
        .map_or(0, number)
        .min(total)
        .min(if is_current { total } else { 0 });
    let len = max.map_or(PAGE, number).min(PAGE);
    from..(from + len).min(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-070 for the pages.
    #[test]
    fn s070_pages_cover_everything_once() {
        let version = DataVersion {
            counter: 3,
            ..DataVersion::default()
        };
        let text = r#"{"counter":3,"stateVersion":0,"timestamp":0}"#;
        assert_eq!(page(5000, None, None, None, &version), 0..5000);
        assert_eq!(page(5000, Some(0), Some(""), Some(2000), &version), 0..2000);
        assert_eq!(
            page(5000, Some(2000), Some(text), Some(9999), &version),
            2000..4000
        );
        assert_eq!(
            page(5000, Some(4000), Some(text), Some(2000), &version),
            4000..5000
        );
        assert_eq!(
            page(5000, Some(5000), Some(text), Some(2000), &version),
            5000..5000
        );
        let outdated = r#"{"counter":2,"stateVersion":0,"timestamp":0}"#;
        assert_eq!(
            page(5000, Some(2000), Some(outdated), Some(10), &version),
            0..10
        );
        assert_eq!(page(5, Some(-1), None, Some(-1), &version), 0..0);
    }
}
