//! Messages by their place (33) and by key (12). Java: `QueryMessageProcessor`.

use rocketry_protocol::{RemotingCommand, header::ViewMessageRequest};
use rocketry_store::Reader;

use super::ok_body;
use crate::fault::{Fault, Reply};

/// Code 33: the record at a commit-log offset. Differs from Java: an offset that is not the start of a record is not answered with
/// whatever bytes lie there.
pub(crate) fn view(reader: &Reader, request: &RemotingCommand) -> Reply {
    let header: ViewMessageRequest<'_> = request.header()?;
    let record = reader
        .record_at(header.offset)
        .map_err(|error| Fault::system_error(error.to_string()))?;
    match record {
        Some(record) => Ok(ok_body(record)),
        None => Err(Fault::system_error(format!(
            "can not find message by the offset, {}",
            header.offset
        ))),
    }
}
