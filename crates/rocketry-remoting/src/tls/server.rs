//! The side that accepts: which connections are secured, and who may connect.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{HANDSHAKE_RECORD, TlsConfigError, TlsFailure, pem::Pem, provider};
use crate::{dial::Dialed, socket::Socket};

/// Which connections a port serves. A port without a [`TlsAcceptor`] serves plain ones only.
///
/// Java: `tls.server.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TlsMode {
    /// Plain and TLS connections, told apart by the first byte.
    #[default]
    Permissive,
    /// TLS connections; others are closed.
    Enforcing,
}

/// Whether clients show a certificate. Java: `tls.server.need.client.auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ClientAuth {
    /// A client that has none is served.
    Optional,
    /// A client that has none is refused.
    #[default]
    Required,
}

/// How a server secures the connections that it accepts.
#[derive(Debug, Clone)]
#[must_use = "nothing is secured until it is given to a listener"]
pub struct TlsServerConfig {
    certificate: Pem,
    key: Pem,
    clients: Option<(Pem, ClientAuth)>,
    mode: TlsMode,
    handshake_timeout: Duration,
}

impl TlsServerConfig {
    /// The server's certificate (the chain up to its authority) and its key, which must not be encrypted: PEM files, the key as PKCS#8,
    /// PKCS#1 or SEC1. Java: `tls.server.certPath`, `tls.server.keyPath`.
    pub fn from_files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::new(Pem::File(certificate.into()), Pem::File(key.into()))
    }

    /// As [`TlsServerConfig::from_files`], with the PEM texts themselves.
    pub fn from_pem(certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self::new(Pem::Text(certificate.into()), Pem::Text(key.into()))
    }

    const fn new(certificate: Pem, key: Pem) -> Self {
        Self {
            certificate,
            key,
            clients: None,
            mode: TlsMode::Permissive,
            handshake_timeout: Duration::from_secs(10),
        }
    }

    /// Default [`TlsMode::Permissive`].
    pub const fn mode(mut self, mode: TlsMode) -> Self {
        self.mode = mode;
        self
    }

    /// Asks clients for a certificate signed by one of those in this PEM file. Default: they are not asked. In
    /// [`TlsMode::Permissive`] a client can still connect without TLS. Java: `tls.server.trustCertPath`.
    pub fn client_ca_file(mut self, path: impl Into<PathBuf>, auth: ClientAuth) -> Self {
        self.clients = Some((Pem::File(path.into()), auth));
        self
    }

    /// As [`TlsServerConfig::client_ca_file`], with the PEM text itself.
    pub fn client_ca_pem(mut self, pem: impl Into<Vec<u8>>, auth: ClientAuth) -> Self {
        self.clients = Some((Pem::Text(pem.into()), auth));
        self
    }

    /// Whether nobody connects without a certificate that was signed by a known authority: [`TlsMode::Enforcing`], with
    /// [`ClientAuth::Required`].
    pub const fn requires_client_certificates(&self) -> bool {
        matches!(self.mode, TlsMode::Enforcing)
            && matches!(self.clients, Some((_, ClientAuth::Required)))
    }

    /// Longest time of a handshake, from the client's first byte on; [`TlsMode::Enforcing`] includes the wait for that byte. Default 10 s.
    pub const fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Reads all files and checks them. Blocks for as long as that takes.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn build(&self) -> Result<TlsAcceptor, TlsConfigError> {
        let mut faults = Vec::new();
        let provider = provider();
        let verifier: Option<Arc<dyn ClientCertVerifier>> =
            self.clients.as_ref().and_then(|(pem, auth)| {
                let roots = pem.authorities("client ca").map(|trusted| trusted.roots);
                let built = roots.and_then(|roots| {
                    let builder = WebPkiClientVerifier::builder_with_provider(
                        Arc::new(roots),
                        Arc::clone(&provider),
                    );
                    let builder = match auth {
                        ClientAuth::Required => builder,
                        ClientAuth::Optional => builder.allow_unauthenticated(),
                    };
                    builder
                        .build()
                        .map_err(|error| format!("client ca: {error}"))
                });
                built.map_err(|fault| faults.push(fault)).ok()
            });
        let chain = self.certificate.certificates("server certificate");
        let key = self.key.key("server key");
        if self.handshake_timeout.is_zero() {
            faults.push("handshake_timeout must not be zero".to_owned());
        }
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) if faults.is_empty() => (chain, key),
            (chain, key) => {
                faults.extend(chain.err());
                faults.extend(key.err());
                return Err(TlsConfigError::new(faults));
            }
        };
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsConfigError::of(error.to_string()))?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|error| TlsConfigError::of(format!("server certificate: {error}")))?;
        Ok(TlsAcceptor {
            acceptor: Arc::new(config).into(),
            mode: self.mode,
            handshake_timeout: self.handshake_timeout,
        })
    }
}

/// A checked [`TlsServerConfig`], for [`ListenerOptions::tls`](crate::ListenerOptions::tls). Clones share it.
#[derive(Clone)]
pub struct TlsAcceptor {
    acceptor: tokio_rustls::TlsAcceptor,
    mode: TlsMode,
    handshake_timeout: Duration,
}

impl TlsAcceptor {
    /// Which connections are served.
    pub const fn mode(&self) -> TlsMode {
        self.mode
    }

    /// Looks at the first byte and does what it asks for. A plain client may be silent for as long as an idle connection is kept, since
    /// it connects before it has something to say. Ends in time, whatever the peer does.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        idle_timeout: Option<Duration>,
        linger: Duration,
    ) -> io::Result<Socket> {
        let started = Instant::now();
        let patience = match self.mode {
            TlsMode::Permissive => idle_timeout.unwrap_or(Duration::MAX),
            TlsMode::Enforcing => self.handshake_timeout,
        };
        let mut first = [0];
        let peeked = timeout(patience, stream.peek(&mut first)).await;
        if peeked.map_err(|_| silent("no first byte", patience))?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first != [HANDSHAKE_RECORD] {
            return match self.mode {
                TlsMode::Permissive => Ok(Socket::Tcp(stream)),
                TlsMode::Enforcing => Err(io::Error::other("a plain connection to a TLS port")),
            };
        }
        let from = match self.mode {
            TlsMode::Permissive => Instant::now(),
            TlsMode::Enforcing => started,
        };
        let limit = self.handshake_timeout;
        let handshake = self.acceptor.accept(stream).into_fallible();
        let secured = timeout_at(from + limit, handshake).await;
        match secured.map_err(|_| silent("no TLS handshake", limit))? {
            Ok(stream) => {
                let socket = stream.get_ref().0;
                let (peer, local) = (socket.peer_addr()?, socket.local_addr()?);
                Ok(Socket::Other(Dialed::new(stream, peer, local)))
            }
            Err((error, stream)) => {
                let _ = timeout(linger, let_go(stream)).await;
                Err(io::Error::other(
                    TlsFailure::of_handshake(&error).1.as_ref(),
                ))
            }
        }
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor")
            .field("mode", &self.mode)
            .field("handshake_timeout", &self.handshake_timeout)
            .finish_non_exhaustive()
    }
}

/// Closes in a way that leaves the peer the alert, which says what it did wrong: a socket that is closed with unread bytes is reset.
async fn let_go(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut void = [0; 1024];
    while stream.read(&mut void).await? > 0 {}
    Ok(())
}

fn silent(what: &str, limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {limit:?}"))
}
