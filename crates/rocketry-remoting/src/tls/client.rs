//! The side that connects: whom it trusts and who it says it is.

use std::{fmt, io, path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{TlsConfigError, pem::Authorities, pem::Pem, provider};
use crate::{dial::Dialed, socket::Socket};

/// How a client secures its connections. The default verifies the server's certificate against the system's authorities and the host
/// that was connected to.
///
/// Java accepts every certificate unless told otherwise (`tls.test.mode.enable`, `tls.client.authServer`) and never compares host names.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is secured until it is given to a client"]
pub struct TlsConfig {
    authorities: Vec<Pem>,
    identity: Option<(Pem, Pem)>,
    server_name: Option<String>,
    accept_any: bool,
}

impl TlsConfig {
    /// Verification against the system's authorities.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificates in this PEM file in place of the system's; may be repeated. A server's own, self-signed certificate may
    /// be among them. Java: `tls.client.trustCertPath`.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(Pem::File(path.into()));
        self
    }

    /// As [`TlsConfig::ca_file`], with the PEM text itself.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(Pem::Text(pem.into()));
        self
    }

    /// Shows this certificate (the chain up to its authority) to servers that ask for one, and proves it with the key, which must not be
    /// encrypted: PEM files, the key as PKCS#8, PKCS#1 or SEC1. Java: `tls.client.certPath`, `tls.client.keyPath`.
    pub fn client_certificate_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.identity = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// As [`TlsConfig::client_certificate_files`], with the PEM texts themselves.
    pub fn client_certificate_pem(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some((Pem::Text(certificate.into()), Pem::Text(key.into())));
        self
    }

    /// The name or address that every server's certificate must be for, whatever was connected to. Default: the host that was connected
    /// to, which for a broker is the address it registered.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Accepts every certificate, of whomever, for whatever name: what is sent is encrypted, but anybody on the way can read and change
    /// it. This is how Java clients behave by default; it is of use against Java servers with the certificate that they make up at
    /// each start (`tls.test.mode.enable`).
    pub fn dangerous_accept_any_certificate(mut self) -> Self {
        self.accept_any = true;
        self
    }

    /// Reads all files and checks them. Blocks for as long as that takes.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn build(&self) -> Result<TlsConnector, TlsConfigError> {
        let mut faults = Vec::new();
        let provider = provider();
        let verifier = self.verifier(&provider, &mut faults);
        let identity = self.identity.as_ref().map(|(certificate, key)| {
            (
                certificate.certificates("client certificate"),
                key.key("client key"),
            )
        });
        let name = self.server_name.as_ref().and_then(|name| {
            let parsed = ServerName::try_from(name.clone());
            if parsed.is_err() {
                faults.push(format!(
                    "server_name {name:?}: neither a host name nor an address"
                ));
            }
            parsed.ok()
        });
        let identity = match identity {
            None => None,
            Some((Ok(chain), Ok(key))) => Some((chain, key)),
            Some((chain, key)) => {
                faults.extend(chain.err());
                faults.extend(key.err());
                None
            }
        };
        let Some(verifier) = verifier.filter(|_| faults.is_empty()) else {
            return Err(TlsConfigError::new(faults));
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsConfigError::of(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| TlsConfigError::of(format!("client certificate: {error}")))?,
        };
        if self.accept_any {
            tracing::warn!(
                "certificates of servers are not verified: anybody on the way can read and change what is sent"
            );
        }
        Ok(TlsConnector {
            connector: Arc::new(config).into(),
            name,
        })
    }

    /// `None` if there is none, for the reasons added to `faults`.
    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
        faults: &mut Vec<String>,
    ) -> Option<Arc<dyn ServerCertVerifier>> {
        if self.accept_any {
            if !self.authorities.is_empty() {
                faults.push(
                    "ca_file and dangerous_accept_any_certificate exclude each other".to_owned(),
                );
            }
            return Some(Arc::new(AcceptAny(Arc::clone(provider))));
        }
        let mut roots = RootCertStore::empty();
        let mut pinned = Vec::new();
        if self.authorities.is_empty() {
            let native = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(native.certs);
            if roots.is_empty() {
                let errors: Vec<_> = native.errors.iter().map(ToString::to_string).collect();
                faults.push(format!(
                    "this system trusts no certificate authority, name one with ca_file: {}",
                    errors.join(", ")
                ));
            }
        }
        for authority in &self.authorities {
            match authority.authorities("ca") {
                Ok(Authorities {
                    roots: more,
                    certificates,
                }) => {
                    roots.extend(more.roots);
                    pinned.extend(certificates);
                }
                Err(fault) => faults.push(fault),
            }
        }
        if roots.is_empty() {
            return None;
        }
        match WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
        {
            Ok(chains) => Some(Arc::new(Verifier { chains, pinned })),
            Err(error) => {
                faults.push(format!("ca: {error}"));
                None
            }
        }
    }
}

/// A checked [`TlsConfig`], for any number of connections. Clones share it.
#[derive(Clone)]
pub struct TlsConnector {
    connector: tokio_rustls::TlsConnector,
    /// In place of the host connected to.
    name: Option<ServerName<'static>>,
}

impl TlsConnector {
    /// The handshake, with the server at `host`: a name, or an address without brackets.
    pub(crate) async fn connect(&self, host: &str, socket: Socket) -> io::Result<Socket> {
        let name = match &self.name {
            Some(name) => name.clone(),
            // no name is sent along with an address
            None => ServerName::try_from(host.to_owned())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
        };
        let (peer, local) = socket.addrs()?;
        let secured = match socket {
            Socket::Tcp(stream) => {
                let stream = self.connector.connect(name, stream).await?;
                Dialed::new(stream, peer, local)
            }
            Socket::Other(dialed) => {
                let stream = self.connector.connect(name, dialed.stream).await?;
                Dialed::new(stream, peer, local)
            }
        };
        Ok(Socket::Other(secured))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Checks chains as the web does, and accepts in addition a certificate that is itself among the trusted ones: self-signed
/// certificates mostly say that they are an authority's (`openssl req -x509`), which a server's must not.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // the dates have been looked at before the role, which is what this error is about
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.pinned.iter().any(|pinned| pinned == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Certificates of version 1, which Java servers show at times, cannot even be read here: the signature of the handshake is not looked at
/// either, which gives nothing away when any certificate will do.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
