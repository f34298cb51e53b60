//! One frame as a value: `RemotingCommand`.

use bytes::{Bytes, BytesMut};

use crate::{
    DecodeError, EncodeError, Fields, Language, ReadHeader, Request, RequestCode, ResponseCode,
    WriteHeader,
};

/// How the header of a frame is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Serialization {
    /// JSON text: what every peer understands and the default of Java.
    #[default]
    Json,
    /// RocketMQ's binary header. Cannot carry codes above 32767, and turns empty strings into null.
    Binary,
}

/// One request or response. Java: `RemotingCommand`.
#[derive(Debug, Clone)]
pub struct RemotingCommand {
    /// [`RequestCode`] of a request, [`ResponseCode`] of a response.
    pub code: i32,
    /// The sender's language; `None` if the peer named one that is not known.
    pub language: Option<Language>,
    /// The sender's version, an ordinal of Java's `MQVersion.Version`.
    pub version: i32,
    /// Number that ties a response to its request, unique per sender and connection. The connection fills it in for requests.
    pub opaque: i32,
    /// Bit 0: response; bit 1: one-way.
    pub flag: i32,
    /// Human text, mostly on errors.
    pub remark: Option<String>,
    /// Header fields; `None` and empty differ on the wire.
    pub fields: Option<Fields>,
    /// Everything after the header. Empty and absent are the same thing.
    pub body: Bytes,
    /// How the header came, or is to be written.
    pub serialization: Serialization,
}

impl RemotingCommand {
    /// A request with typed header fields and without a body.
    pub fn request<R: Request>(request: &R) -> Self {
        let _ = request;
        todo!()
    }
    /// A request without header fields.
    pub fn bare_request(code: RequestCode) -> Self {
        let _ = code;
        todo!()
    }
    /// A response with `code`; [`RemotingCommand::answering`] ties it to its request.
    pub fn response(code: ResponseCode) -> Self {
        let _ = code;
        todo!()
    }
    /// Takes over opaque and serialisation from the request that this response answers.
    #[must_use]
    pub fn answering(self, request: &Self) -> Self {
        let _ = request;
        todo!()
    }
    /// Adds the fields of `header` (an empty map when it has none, as Java does for a header object without values).
    #[must_use]
    pub fn with_header<H: WriteHeader + ?Sized>(self, header: &H) -> Self {
        let _ = header;
        todo!()
    }
    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
    /// Sets the remark.
    #[must_use]
    pub fn with_remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }
    /// Marks the request as one-way: the peer must not answer.
    #[must_use]
    pub fn with_oneway(mut self) -> Self {
        self.flag |= 2;
        self
    }
    /// Whether bit 0 of the flag is set.
    pub const fn is_response(&self) -> bool {
        self.flag & 1 != 0
    }
    /// Whether bit 1 of the flag is set.
    pub const fn is_oneway(&self) -> bool {
        self.flag & 2 != 0
    }
    /// The code of a request.
    pub const fn request_code(&self) -> RequestCode {
        RequestCode(self.code)
    }
    /// The code of a response.
    pub const fn response_code(&self) -> ResponseCode {
        ResponseCode(self.code)
    }
    /// Reads the header fields as `H`, in place where `H` borrows.
    ///
    /// # Errors
    /// A missing or malformed field.
    pub fn header<'a, H: ReadHeader<'a>>(&'a self) -> Result<H, DecodeError> {
        H::read(&crate::FieldReader::new(self.fields.as_ref()))
    }
    /// The value of one header field.
    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields.as_ref()?.get(key)
    }
    /// Appends the whole frame, length words included.
    ///
    /// # Errors
    /// A header or frame beyond its limit; `out` is left as it was.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let _ = out;
        todo!()
    }
    /// Appends all of the frame but the body, whose length is counted: for writers that send the body from where it lies.
    ///
    /// # Errors
    /// As [`RemotingCommand::encode`].
    pub fn encode_head(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let _ = out;
        todo!()
    }
    /// Reads a frame as [`crate::frame::split`] returns it. The body shares the frame's memory.
    ///
    /// # Errors
    /// A header that does not parse; the connection should be closed, as Java does.
    pub fn decode(frame: Bytes) -> Result<Self, DecodeError> {
        let _ = frame;
        todo!()
    }
}
