//! How the bytes of a connection travel: over TCP, unless the application has a way of its own.

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin};

use tokio::io::{AsyncRead, AsyncWrite};

/// Opens the byte stream of a connection in place of TCP: a tunnel, a proxy, or a network that a test makes up.
///
/// ```
/// use std::net::SocketAddr;
/// use rocketry_remoting::{Dial, DialFuture, Dialed};
///
/// /// Takes every address to one gateway.
/// #[derive(Debug)]
/// struct Gateway(SocketAddr);
///
/// impl Dial for Gateway {
///     fn dial<'a>(&'a self, addr: &'a str) -> DialFuture<'a> {
///         Box::pin(async move {
///             let stream = tokio::net::TcpStream::connect(self.0).await?;
///             let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
///             // a real gateway would be told `addr` here
///             let _ = addr;
///             Ok(Dialed::new(stream, peer, local))
///         })
///     }
/// }
/// ```
pub trait Dial: fmt::Debug + Send + Sync {
    /// Opens a stream to `addr`, as the user or a route wrote it: mostly `host:port`.
    ///
    /// The future is dropped when the connect timeout has passed. TLS, if it is on, runs inside the stream.
    ///
    /// # Errors
    /// Why there is no stream, in the words of the error that the caller is to see.
    fn dial<'a>(&'a self, addr: &'a str) -> DialFuture<'a>;
}

/// What [`Dial::dial`] returns.
pub type DialFuture<'a> = Pin<Box<dyn Future<Output = io::Result<Dialed>> + Send + 'a>>;

/// An open stream and its two ends.
pub struct Dialed {
    pub(crate) stream: Box<dyn ByteStream>,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

impl Dialed {
    /// `peer` and `local` are for logs and [`ConnectionInfo`](crate::ConnectionInfo); nothing is sent to them.
    pub fn new<S>(stream: S, peer: SocketAddr, local: SocketAddr) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = Box::new(stream);
        Self {
            stream,
            peer,
            local,
        }
    }
}

impl fmt::Debug for Dialed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialed")
            .field("peer", &self.peer)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// Any stream that can be served.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}
