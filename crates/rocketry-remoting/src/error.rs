//! What can go wrong between a request and its response.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use rocketry_protocol::{DecodeError, EncodeError};

#[cfg(feature = "tls")]
use crate::tls::TlsFailure;

/// A request that got no response. Cheap to move and to clone.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    addr: Arc<str>,
    elapsed: Duration,
    maybe_delivered: bool,
    /// The peer had sent nothing on this connection.
    unheard: bool,
    cause: Cause,
}

#[derive(Clone)]
enum Cause {
    None,
    Connect(Arc<ConnectFailure>),
    Closed(CloseReason),
    Encode(EncodeError),
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection could be opened: the name does not resolve, or no address of it accepted in time.
    Connect,
    /// The caller's deadline passed.
    Timeout(Stage),
    /// The connection ended, see [`Error::close_reason`].
    Closed,
    /// There was no time left to wait for one of the requests in flight to finish. Java: `RemotingTooMuchRequestException`.
    Overloaded,
    /// The request does not fit the wire format.
    Encode,
}

/// What a caller was waiting for when its deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The connection to be opened.
    Connect,
    /// One of the requests in flight to finish, since as many as allowed were under way.
    Permit,
    /// The peer to take bytes, since as many as allowed were queued.
    Write,
    /// The response.
    Response,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side closed it on purpose.
    #[error("closed by this side: {0}")]
    Local(Arc<str>),
    /// The last handle was dropped.
    #[error("closed by this side: no longer used")]
    Unused,
    /// The peer closed it.
    #[error("closed by the peer")]
    Peer,
    /// Reading or writing failed.
    #[error("{message}")]
    Io {
        /// The operating system's class of error.
        kind: io::ErrorKind,
        /// The operating system's text.
        message: Arc<str>,
    },
    /// The peer refused to go on with TLS: with TLS 1.3, it judges the certificate of a client only after the handshake.
    #[cfg(feature = "tls")]
    #[error("{1}")]
    Tls(TlsFailure, Arc<str>),
    /// The peer sent what is not a frame.
    #[error("the peer sent a malformed frame: {0}")]
    Malformed(DecodeError),
    /// Nothing was sent or received for the idle time.
    #[error("idle for {0:?}")]
    Idle(Duration),
    /// A call timed out and nothing had arrived since it was sent.
    #[error("silent: a call timed out and nothing arrived meanwhile")]
    Silent,
    /// The peer took no byte for the write timeout.
    #[error("the peer took no byte for {0:?}")]
    WriteTimeout(Duration),
    /// The peer does not read the responses to its own requests.
    #[error("the peer does not read: {bytes} bytes of responses wait, the limit is {limit}")]
    Backlog {
        /// Bytes that were waiting.
        bytes: usize,
        /// The limit they exceed.
        limit: usize,
    },
    /// The runtime was shut down or a request handler panicked.
    #[error("the connection's task ended abruptly")]
    Aborted,
}

impl CloseReason {
    pub(crate) fn io(error: &io::Error) -> Self {
        #[cfg(feature = "tls")]
        if let Some((failure, text)) = TlsFailure::of(error) {
            return Self::Tls(failure, text);
        }
        // What TLS calls an end without a farewell. Frames have lengths, so that nothing is cut unnoticed.
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Peer;
        }
        Self::Io {
            kind: error.kind(),
            message: error.to_string().into(),
        }
    }

    /// Whether what is queued is still written before the socket closes.
    pub(crate) const fn is_graceful(&self) -> bool {
        matches!(self, Self::Local(_) | Self::Unused | Self::Idle(_))
    }
}

/// Why no connection could be opened; shared by all who waited for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectFailure {
    #[error("{0:?} is not an address: {1}")]
    Address(String, &'static str),
    #[error("the name cannot be resolved: {0}")]
    Resolve(io::Error),
    #[error("the name has no address")]
    NoAddress,
    #[error("{}", list(.0))]
    Refused(Vec<(SocketAddr, io::Error)>),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Dial(io::Error),
    #[cfg(feature = "tls")]
    #[error("TLS: {1}")]
    Tls(TlsFailure, Arc<str>),
    #[cfg(feature = "tls")]
    #[error("the server accepted the connection, but not TLS within {0:?}")]
    TlsTimedOut(Duration),
    #[error("the connection was lost at once: {0}")]
    Lost(io::Error),
    #[error("the client is closed")]
    PoolClosed,
}

fn list(attempts: &[(SocketAddr, io::Error)]) -> String {
    match attempts {
        [(_, only)] => only.to_string(),
        many => {
            let texts: Vec<_> = many
                .iter()
                .map(|(addr, e)| format!("{addr}: {e}"))
                .collect();
            texts.join("; ")
        }
    }
}

impl Error {
    fn new(kind: ErrorKind, addr: Arc<str>, elapsed: Duration, cause: Cause) -> Self {
        Self(Box::new(Inner {
            kind,
            addr,
            elapsed,
            maybe_delivered: false,
            unheard: false,
            cause,
        }))
    }

    pub(crate) fn connect(addr: Arc<str>, elapsed: Duration, cause: Arc<ConnectFailure>) -> Self {
        Self::new(ErrorKind::Connect, addr, elapsed, Cause::Connect(cause))
    }

    pub(crate) fn timeout(stage: Stage, addr: Arc<str>, elapsed: Duration) -> Self {
        Self::new(ErrorKind::Timeout(stage), addr, elapsed, Cause::None)
    }

    pub(crate) fn closed(addr: Arc<str>, elapsed: Duration, reason: CloseReason) -> Self {
        Self::new(ErrorKind::Closed, addr, elapsed, Cause::Closed(reason))
    }

    pub(crate) fn overloaded(addr: Arc<str>) -> Self {
        Self::new(ErrorKind::Overloaded, addr, Duration::ZERO, Cause::None)
    }

    pub(crate) fn encode(addr: Arc<str>, elapsed: Duration, cause: EncodeError) -> Self {
        Self::new(ErrorKind::Encode, addr, elapsed, Cause::Encode(cause))
    }

    pub(crate) fn unheard_if(mut self, unheard: bool) -> Self {
        self.0.unheard = unheard;
        self
    }

    pub(crate) fn maybe_delivered_if(mut self, maybe: bool) -> Self {
        self.0.maybe_delivered = maybe;
        self
    }

    /// What failed.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The peer, as the caller named it.
    pub fn addr(&self) -> &str {
        &self.0.addr
    }

    /// Time from the call to the failure.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// Whether the peer may have received and executed the request. `false` is certain.
    pub fn maybe_delivered(&self) -> bool {
        self.0.maybe_delivered
    }

    /// Why the connection ended, for [`ErrorKind::Closed`].
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match &self.0.cause {
            Cause::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// What is wrong with TLS, if that is the cause.
    #[cfg(feature = "tls")]
    pub fn tls_failure(&self) -> Option<TlsFailure> {
        match &self.0.cause {
            Cause::Connect(failure) => match **failure {
                ConnectFailure::Tls(failure, _) => Some(failure),
                ConnectFailure::TlsTimedOut(_) => Some(TlsFailure::NotTls),
                _ => None,
            },
            Cause::Closed(CloseReason::Tls(failure, _)) => Some(*failure),
            _ => None,
        }
    }

    /// What a user could do about it, if TLS is or may be the cause: a peer that ended the connection without having sent anything, or
    /// that sent what is no frame, may want it.
    pub fn tls_hint(&self) -> Option<&'static str> {
        #[cfg(feature = "tls")]
        if let Some(failure) = self.tls_failure() {
            return Some(failure.hint());
        }
        match &self.0.cause {
            Cause::Closed(CloseReason::Malformed(_)) => Some(
                "what answers there does not speak the remoting protocol: check the address and port, and whether it wants TLS",
            ),
            Cause::Closed(CloseReason::Peer | CloseReason::Io { .. }) if self.0.unheard => Some(
                "the server ends connections before it has answered anything: if it wants TLS, switch it on, otherwise try again",
            ),
            _ => None,
        }
    }

    /// What a user could do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        if let Some(hint) = self.tls_hint() {
            return hint;
        }
        match (self.0.kind, &self.0.cause) {
            (ErrorKind::Connect, Cause::Connect(failure)) => match **failure {
                ConnectFailure::Address(..) => "write addresses as host:port",
                ConnectFailure::Resolve(_) | ConnectFailure::NoAddress => {
                    "check the host name and this machine's name resolution"
                }
                ConnectFailure::PoolClosed => "create a new client",
                _ => "check that the server runs and that this machine can reach the address",
            },
            (ErrorKind::Connect | ErrorKind::Timeout(Stage::Connect), _) => {
                "check that the server runs and that this machine can reach the address"
            }
            (ErrorKind::Timeout(Stage::Response), _) => {
                "the server is slow or gone; allow more time or try another one"
            }
            (ErrorKind::Timeout(Stage::Permit) | ErrorKind::Overloaded, _) => {
                "send less at once or allow more time: too many requests are in flight"
            }
            (ErrorKind::Timeout(Stage::Write), _) => {
                "send less at once or allow more time: the server does not take the bytes fast enough"
            }
            (ErrorKind::Closed, _) => "try again: the next request opens a new connection",
            (ErrorKind::Encode, _) => "make the message's properties shorter",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            kind,
            addr,
            elapsed,
            cause,
            ..
        } = &*self.0;
        let ms = elapsed.as_millis();
        match kind {
            ErrorKind::Connect => write!(f, "cannot connect to {addr} (after {ms} ms)")?,
            ErrorKind::Timeout(Stage::Connect) => {
                write!(f, "timed out after {ms} ms while connecting to {addr}")?;
            }
            ErrorKind::Timeout(Stage::Permit) => write!(
                f,
                "timed out after {ms} ms waiting for requests in flight to {addr} to finish"
            )?,
            ErrorKind::Timeout(Stage::Write) => {
                write!(
                    f,
                    "timed out after {ms} ms waiting for {addr} to take bytes"
                )?;
            }
            ErrorKind::Timeout(Stage::Response) => {
                write!(f, "no response from {addr} within {ms} ms")?;
            }
            ErrorKind::Closed => write!(f, "connection to {addr} ended after {ms} ms")?,
            ErrorKind::Overloaded => write!(
                f,
                "too many requests in flight to {addr}, and no time left to wait"
            )?,
            ErrorKind::Encode => write!(f, "request to {addr} cannot be encoded")?,
        }
        match cause {
            Cause::None => Ok(()),
            Cause::Connect(failure) => write!(f, ": {failure}"),
            Cause::Closed(reason) => write!(f, ": {reason}"),
            Cause::Encode(error) => write!(f, ": {error}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self}", self.0.kind)?;
        if self.0.maybe_delivered {
            f.write_str("; may have been delivered")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Error {}
