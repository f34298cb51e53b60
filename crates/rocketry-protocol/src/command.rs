//! One frame as a value: `RemotingCommand`.

use bytes::{Bytes, BytesMut};

use crate::{
    DecodeError, EncodeError, FieldWriter, Fields, Language, ReadHeader, Request, RequestCode,
    ResponseCode, VERSION, WriteHeader,
    fields::{binary, json},
    frame::{MAX_FRAME_BYTES, WORD_BYTES},
};

/// Room that is set aside for the fields of a typed header: enough for a send without long properties.
const FIELDS_BYTES: usize = 256;
/// Largest header: its length has 24 bits on the wire.
const MAX_HEADER_BYTES: usize = 0xff_ffff;

/// How the header of a frame is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Serialization {
    /// JSON text: what every peer understands and the default of Java.
    #[default]
    Json,
    /// RocketMQ's binary header. Turns empty texts into null, and cannot carry codes above 32767: frames with such codes
    /// (all of POP) are written as JSON instead, which every reader accepts frame by frame.
    Binary,
}

/// One request or response. Java: `RemotingCommand`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotingCommand {
    /// [`RequestCode`] of a request, [`ResponseCode`] of a response.
    pub code: i32,
    /// The sender's language; `None` if the peer named one that is not known, and written as `OTHER`.
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
    pub fn request<R: Request + ?Sized>(request: &R) -> Self {
        Self::new(R::CODE.0, 0).with_header(request)
    }
    /// A request without header fields.
    pub fn bare_request(code: RequestCode) -> Self {
        Self::new(code.0, 0)
    }
    /// A response with `code`; [`RemotingCommand::answering`] ties it to its request.
    pub fn response(code: ResponseCode) -> Self {
        Self::new(code.0, 1)
    }
    fn new(code: i32, flag: i32) -> Self {
        Self {
            code,
            language: Some(Language::RUST),
            version: VERSION,
            opaque: 0,
            flag,
            remark: None,
            fields: None,
            body: Bytes::new(),
            serialization: Serialization::default(),
        }
    }
    /// Takes over opaque and serialisation from the request that this response answers.
    #[must_use]
    pub fn answering(mut self, request: &Self) -> Self {
        self.opaque = request.opaque;
        self.serialization = request.serialization;
        self
    }
    /// Adds the fields of `header` (an empty map when it has none, as Java does for a header object without values).
    #[must_use]
    pub fn with_header<H: WriteHeader + ?Sized>(mut self, header: &H) -> Self {
        let fields = self
            .fields
            .get_or_insert_with(|| Fields::with_capacity(FIELDS_BYTES));
        header.write(&mut FieldWriter::new(fields));
        self
    }
    /// Sets one more header field.
    #[must_use]
    pub fn with_field(mut self, key: &str, value: &str) -> Self {
        self.fields.get_or_insert_default().push(key, value);
        self
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
        self.flag |= ONEWAY;
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
    /// Appends the whole frame, length words included. Allocates nothing but what `out` grows by.
    ///
    /// # Errors
    /// A header or frame beyond its limit; `out` is left as it was.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.reserve(self.size_hint() + self.body.len());
        self.encode_head(out)?;
        out.extend_from_slice(&self.body);
        Ok(())
    }
    /// Appends all of the frame but the body, whose length is counted: for writers that send the body from where it lies.
    ///
    /// # Errors
    /// As [`RemotingCommand::encode`].
    pub fn encode_head(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode_head_for(self.body.len(), out)
    }
    /// [`RemotingCommand::encode_head`] for a body of `body_bytes` that is not the command's own.
    ///
    /// # Errors
    /// As [`RemotingCommand::encode`].
    pub fn encode_head_for(
        &self,
        body_bytes: usize,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        out.reserve(self.size_hint());
        let written = self.write_head(start, body_bytes, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn write_head(
        &self,
        start: usize,
        body_bytes: usize,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if let Some(fields) = &self.fields {
            fields.check_sizes()?;
        }
        out.extend_from_slice(&[0; 2 * WORD_BYTES]);
        let kind = match self.serialization {
            Serialization::Binary if binary::carries(self.code) => {
                binary::write(self, out)?;
                1
            }
            Serialization::Binary | Serialization::Json => {
                json::write(self, out);
                0
            }
        };
        put_lengths(start, kind, body_bytes, out)
    }

    /// About what the frame takes without its body, so that `out` grows once.
    fn size_hint(&self) -> usize {
        FIXED_BYTES
            + self.remark.as_ref().map_or(0, String::len)
            + self.fields.as_ref().map_or(0, Fields::encoded_len)
    }

    /// Reads a frame as [`crate::frame::split`] returns it. The body shares the frame's memory.
    ///
    /// # Errors
    /// A header that does not parse; the connection should be closed, as Java does.
    pub fn decode(frame: Bytes) -> Result<Self, DecodeError> {
        let Some((word, rest)) = frame.split_first_chunk::<WORD_BYTES>() else {
            return Err(DecodeError::Truncated {
                what: "header length",
                need: WORD_BYTES as u64,
                have: frame.len() as u64,
            });
        };
        let [kind, length @ ..] = *word;
        let [high, middle, low] = length.map(usize::from);
        let header_bytes = (high << 16) | (middle << 8) | low;
        let header = rest.get(..header_bytes).ok_or(DecodeError::Truncated {
            what: "header",
            need: header_bytes as u64,
            have: rest.len() as u64,
        })?;
        let mut command = match kind {
            0 => json::read(header)?,
            1 => binary::read(header)?,
            _ => {
                return Err(DecodeError::OutOfBounds {
                    what: "header serialisation",
                    value: i64::from(kind),
                    min: 0,
                    max: 1,
                });
            }
        };
        if rest.len() > header_bytes {
            command.body = frame.slice(WORD_BYTES + header_bytes..);
        }
        Ok(command)
    }
}

/// What a header takes without fields and remark.
const FIXED_BYTES: usize = 160;

/// Fills in the two words before a header that begins at `start`, once it is written.
fn put_lengths(
    start: usize,
    kind: u64,
    body_bytes: usize,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let header_start = start + 2 * WORD_BYTES;
    let header_bytes = out.len() - header_start;
    let header_word = u32::try_from(header_bytes)
        .ok()
        .filter(|_| header_bytes <= MAX_HEADER_BYTES)
        .ok_or_else(|| header_too_long(header_bytes))?;
    let frame_bytes = 2 * WORD_BYTES + header_bytes + body_bytes;
    let length = u32::try_from(frame_bytes - WORD_BYTES)
        .ok()
        .filter(|_| frame_bytes <= MAX_FRAME_BYTES)
        .ok_or(EncodeError::TooLong {
            what: "frame",
            bytes: frame_bytes,
            limit: MAX_FRAME_BYTES,
        })?;
    let words = (u64::from(length) << 32) | (kind << 24) | u64::from(header_word);
    if let Some(place) = out.get_mut(start..header_start) {
        place.copy_from_slice(&words.to_be_bytes());
    }
    Ok(())
}

/// What a connection can send.
pub trait Outgoing {
    /// What follows the header.
    fn body(&self) -> &Bytes;
    /// Takes the body out; the length that [`Outgoing::encode_head`] writes is lost with it.
    fn take_body(&mut self) -> Bytes;
    /// Ties the answer to this frame.
    fn set_opaque(&mut self, opaque: i32);
    /// See [`RemotingCommand::with_oneway`].
    fn set_oneway(&mut self);
    /// Appends all of the frame but the body, whose length is counted.
    ///
    /// # Errors
    /// A header or frame beyond its limit; `out` is left as it was.
    fn encode_head(&self, out: &mut BytesMut) -> Result<(), EncodeError>;
}

impl Outgoing for RemotingCommand {
    fn body(&self) -> &Bytes {
        &self.body
    }
    fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }
    fn set_opaque(&mut self, opaque: i32) {
        self.opaque = opaque;
    }
    fn set_oneway(&mut self) {
        self.flag |= ONEWAY;
    }
    fn encode_head(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        Self::encode_head(self, out)
    }
}

/// A request whose typed header goes straight into the frame, as JSON, without a map of fields in between: half of what the header of a
/// send costs otherwise. For requests that nobody adds fields to; the frame is that of [`TypedRequest::into_command`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedRequest<H> {
    code: RequestCode,
    header: H,
    language: Language,
    flag: i32,
    opaque: i32,
    body: Bytes,
}

impl<H: WriteHeader> TypedRequest<H> {
    /// A request without a body. A header that writes a key twice is not one that this type is for.
    pub fn new(code: RequestCode, header: H) -> Self {
        Self {
            code,
            header,
            language: Language::RUST,
            flag: 0,
            opaque: 0,
            body: Bytes::new(),
        }
    }
    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
    /// Sets the sender's language.
    #[must_use]
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }
    /// The same as a value whose fields can be read and added to.
    pub fn into_command(self) -> RemotingCommand {
        let mut command = RemotingCommand::new(self.code.0, self.flag)
            .with_header(&self.header)
            .with_body(self.body);
        command.language = Some(self.language);
        command.opaque = self.opaque;
        command
    }
}

impl<H: WriteHeader> Outgoing for TypedRequest<H> {
    fn body(&self) -> &Bytes {
        &self.body
    }
    fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }
    fn set_opaque(&mut self, opaque: i32) {
        self.opaque = opaque;
    }
    fn set_oneway(&mut self) {
        self.flag |= ONEWAY;
    }
    fn encode_head(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let common = (self.flag, self.language, self.opaque);
        encode_typed_head(self.code.0, &self.header, common, self.body.len(), out)
    }
}

/// A response without a body whose typed header goes straight into the frame, as JSON: the frame is that of a [`RemotingCommand`] with this
/// header. For peers that asked in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedResponse<H> {
    code: ResponseCode,
    header: H,
    opaque: i32,
    body: Bytes,
}

impl<H: WriteHeader> TypedResponse<H> {
    /// The answer to the request with this opaque. A header that writes a key twice is not one that this type is for.
    pub fn new(code: ResponseCode, header: H, opaque: i32) -> Self {
        Self {
            code,
            header,
            opaque,
            body: Bytes::new(),
        }
    }
}

impl<H: WriteHeader> Outgoing for TypedResponse<H> {
    fn body(&self) -> &Bytes {
        &self.body
    }
    fn take_body(&mut self) -> Bytes {
        Bytes::new()
    }
    fn set_opaque(&mut self, opaque: i32) {
        self.opaque = opaque;
    }
    /// Without effect: nobody answers a response.
    fn set_oneway(&mut self) {}
    fn encode_head(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let common = (RESPONSE, Language::RUST, self.opaque);
        encode_typed_head(self.code.0, &self.header, common, 0, out)
    }
}

fn encode_typed_head<H: WriteHeader>(
    code: i32,
    header: &H,
    (flag, language, opaque): (i32, Language, i32),
    body_bytes: usize,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.reserve(FIXED_BYTES + FIELDS_BYTES);
    out.extend_from_slice(&[0; 2 * WORD_BYTES]);
    json::write_typed(code, header, (flag, language, opaque), out);
    let written = put_lengths(start, 0, body_bytes, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// The bit of the flag that tells a response from a request.
const RESPONSE: i32 = 1;

/// The bit of the flag that says that nobody answers.
const ONEWAY: i32 = 2;

pub(crate) fn header_too_long(bytes: usize) -> EncodeError {
    EncodeError::TooLong {
        what: "header",
        bytes,
        limit: MAX_HEADER_BYTES,
    }
}
