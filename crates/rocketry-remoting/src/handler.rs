//! Requests that arrive from the peer, and their answers.

use rocketry_protocol::{RemotingCommand, ResponseCode, Serialization};

use crate::connection::Connection;

/// Takes the requests that arrive on a connection. One handler serves any number of connections.
///
/// Its methods run on the connection's reading task: they must return quickly and never block. Work that takes time goes to
/// another task or thread, together with the [`Responder`].
pub trait Handler: Send + Sync + 'static {
    /// A request came. Requests of one connection come in the order in which the peer sent them.
    fn handle(&self, request: RemotingCommand, responder: Responder);

    /// Once per connection, before its first request.
    fn opened(&self, connection: &Connection) {
        let _ = connection;
    }

    /// Once per connection, after it ended and everything that waited on it has failed.
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
    pub fn respond(self, mut response: RemotingCommand) {
        if self.oneway {
            return;
        }
        response.opaque = self.opaque;
        response.flag = (response.flag | RESPONSE) & !ONEWAY;
        response.serialization = self.serialization;
        self.connection.shared().respond(response);
    }

    /// Answers with code 3 and the remark that Java gives for a request code nobody handles.
    pub fn unsupported(self, request: &RemotingCommand) {
        if !self.oneway {
            let remark = format!(" request type {} not supported", request.code);
            self.respond(RemotingCommand::response(ResponseCode(3)).with_remark(remark));
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

const RESPONSE: i32 = 1;
const ONEWAY: i32 = 2;
