//! Requests that arrive from the peer, and their answers.

use std::task::Waker;

use bytes::Bytes;
use rocketry_protocol::{RemotingCommand, ResponseCode, Serialization, TypedResponse, WriteHeader};

use crate::{connection::Connection, outbound::Batch};

/// Takes the requests that arrive on a connection. One handler serves any number of connections.
///
/// Its methods run on the connection's reading task: they must return quickly and never block. Work that takes time goes to
/// another task or thread, together with the [`Responder`].
pub trait Handler: Send + Sync + 'static {
    /// A request came. Requests of one connection come in the order in which the peer sent them.
    fn handle(&self, request: RemotingCommand, responder: Responder);

    /// All requests that one read of the socket brought, or as many as one connection may have handled in one go, have been given to
    /// [`Handler::handle`]: what gains from being done together may be done now. Also called when one of them made the handler panic.
    ///
    /// `more`: others of the same peer have arrived and come next. Answering now gives the peer something to do meanwhile.
    fn caught_up(&self, more: bool) {
        let _ = more;
    }

    /// Once per connection, before its first request.
    fn opened(&self, connection: &Connection) {
        let _ = connection;
    }

    /// That many responses came that no call waits for: late ones, or answers to nothing.
    fn unmatched(&self, responses: u64) {
        let _ = responses;
    }

    /// Once per connection, after it ended and everything that waited on it has failed; not if the runtime was dropped before.
    fn closed(&self, connection: &Connection) {
        let _ = connection;
    }
}

/// Answers every request with code 3, as a peer does that knows none. Java: `NettyRemotingAbstract.processRequestCommand`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unsupported;

impl Handler for Unsupported {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        responder.unsupported(&request);
    }
}

/// The right to answer one request, once. May be kept and used later, from any thread; never blocks.
///
/// It keeps the connection open. Dropping it leaves the request unanswered, and the peer waiting until its own deadline.
#[derive(Debug)]
pub struct Responder {
    connection: Connection,
    opaque: i32,
    serialization: Serialization,
    oneway: bool,
}

impl Responder {
    pub(crate) fn new(connection: Connection, request: &RemotingCommand) -> Self {
        connection.shared().took_request();
        Self {
            connection,
            opaque: request.opaque,
            serialization: request.serialization,
            oneway: request.is_oneway(),
        }
    }

    /// Queues `response`, tied to the request: opaque, response flag and the request's serialization are filled in.
    ///
    /// Nothing is written for a one-way request or on a connection that has ended. A response that cannot be encoded is replaced
    /// by an error response (code 1). A peer that lets responses pile up beyond
    /// [`ConnectionOptions::response_limit_bytes`](crate::ConnectionOptions::response_limit_bytes) loses its connection.
    pub fn respond(self, response: RemotingCommand) {
        self.respond_in_pieces(response, Vec::new());
    }

    /// As [`Responder::respond`] with a typed header and without a body: into the frame at once, for a peer that asked in JSON.
    pub fn respond_with<H: WriteHeader>(self, code: ResponseCode, header: H) {
        if self.oneway {
            return;
        }
        if self.serialization != Serialization::Json {
            return self.respond(RemotingCommand::response(code).with_header(&header));
        }
        let response = TypedResponse::new(code, header, self.opaque);
        let shared = self.connection.shared();
        let push = |batch: &mut Batch| batch.push(response);
        let writer = shared.respond_as((self.opaque, self.serialization), push);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// As [`Responder::respond`] with a body that lies in several places: it is written from there, in this order. The response's
    /// own body is used when there are no pieces.
    pub fn respond_in_pieces(self, response: RemotingCommand, pieces: Vec<Bytes>) {
        let writer = self.queue(response, pieces);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// As [`Responder::respond`] for many requests, of any connections: each connection's writer is woken once, after the last
    /// answer, and sends its answers in one go. For threads that finish work in batches.
    pub fn respond_all(answers: impl IntoIterator<Item = (Self, RemotingCommand)>) {
        let mut writers = WakeOnDrop(Vec::new());
        for (responder, response) in answers {
            writers.0.extend(responder.queue(response, Vec::new()));
        }
    }

    fn queue(self, mut response: RemotingCommand, pieces: Vec<Bytes>) -> Option<Waker> {
        if self.oneway {
            return None;
        }
        response.opaque = self.opaque;
        response.flag = (response.flag | RESPONSE) & !ONEWAY;
        response.serialization = self.serialization;
        self.connection.shared().respond(response, pieces)
    }

    /// Answers with code 3 and the remark that Java gives for a request code nobody handles.
    pub fn unsupported(self, request: &RemotingCommand) {
        if !self.oneway {
            let remark = format!(" request type {} not supported", request.code);
            self.respond(
                RemotingCommand::response(ResponseCode::REQUEST_CODE_NOT_SUPPORTED)
                    .with_remark(remark),
            );
        }
    }

    /// Whether the peer wants no answer.
    pub const fn is_oneway(&self) -> bool {
        self.oneway
    }

    /// The connection on which the request came.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.connection.shared().finished_request();
    }
}

/// A writer that was taken and not woken would never send again, so not even a panic of the caller's iterator may lose one.
struct WakeOnDrop(Vec<Waker>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

const RESPONSE: i32 = 1;
const ONEWAY: i32 = 2;
