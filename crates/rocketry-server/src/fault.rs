//! A request that is answered with an error: code, remark, and header fields where clients expect them.

use rocketry_protocol::{DecodeError, EncodeError, Fields, RemotingCommand, ResponseCode};

/// The answer to a request that was not carried out.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: ResponseCode,
    pub(crate) remark: String,
    /// Fields of the answer; `None` = no map at all.
    pub(crate) fields: Option<Fields>,
}

/// What a processor returns: the answer, or why there is none.
pub(crate) type Reply = Result<RemotingCommand, Fault>;

impl Fault {
    pub(crate) fn new(code: ResponseCode, remark: impl Into<String>) -> Self {
        Self {
            code,
            remark: remark.into(),
            fields: None,
        }
    }

    /// Code 1.
    pub(crate) fn system_error(remark: impl Into<String>) -> Self {
        Self::new(ResponseCode::SYSTEM_ERROR, remark)
    }

    /// Adds header fields.
    pub(crate) fn with_fields(mut self, fields: Fields) -> Self {
        self.fields = Some(fields);
        self
    }

    /// The answer.
    pub(crate) fn into_response(self) -> RemotingCommand {
        let mut response = RemotingCommand::response(self.code).with_remark(self.remark);
        response.fields = self.fields;
        response
    }
}

/// Java answers code 1 to a header or body it cannot read, naming the field where one is missing.
impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::system_error(match error {
            DecodeError::MissingField { field } => format!("the custom field <{field}> is null"),
            other => other.to_string(),
        })
    }
}

impl From<EncodeError> for Fault {
    fn from(error: EncodeError) -> Self {
        Self::system_error(error.to_string())
    }
}

/// The answer to a reply, whichever it is.
pub(crate) fn into_response(reply: Reply) -> RemotingCommand {
    reply.unwrap_or_else(Fault::into_response)
}
