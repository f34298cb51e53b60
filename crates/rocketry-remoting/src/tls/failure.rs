//! What can go wrong with TLS, by what a user would do about it.

use std::{fmt, io, sync::Arc};

use rustls::{AlertDescription, CertificateError, Error};

/// Why a TLS connection did not come about, or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The peer closed, kept silent or answered with something else: the port does not speak TLS.
    NotTls,
    /// The server's certificate is not signed by a trusted authority, or is not a server's.
    UntrustedCertificate,
    /// The server's certificate is for another host name or address.
    WrongHostName,
    /// The server's certificate is not valid yet, or no longer.
    Expired,
    /// The server demands a certificate of the client and got none.
    ClientCertificateRequired,
    /// The server does not accept the certificate of the client.
    ClientCertificateRefused,
    /// Both sides share no version, cipher or signature algorithm, or one of them broke the rules.
    Handshake,
}

impl TlsFailure {
    /// The kind and the text of an error that came out of a TLS stream; `None` if TLS is not to blame.
    pub(crate) fn of(error: &io::Error) -> Option<(Self, Arc<str>)> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some((Self::classify(error), text(error).into()))
    }

    /// As [`TlsFailure::of`], while the handshake is under way: then an end of the stream is a failure of TLS as well.
    pub(crate) fn of_handshake(error: &io::Error) -> (Self, Arc<str>) {
        Self::of(error).unwrap_or_else(|| match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => (
                Self::NotTls,
                "the peer closed the connection during the TLS handshake".into(),
            ),
            _ => (Self::Handshake, error.to_string().into()),
        })
    }

    fn classify(error: &Error) -> Self {
        use CertificateError as Bad;
        match error {
            Error::InvalidCertificate(bad) => match bad {
                Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Self::WrongHostName,
                Bad::Expired
                | Bad::ExpiredContext { .. }
                | Bad::NotValidYet
                | Bad::NotValidYetContext { .. } => Self::Expired,
                _ => Self::UntrustedCertificate,
            },
            Error::AlertReceived(alert) => match *alert {
                AlertDescription::CertificateRequired => Self::ClientCertificateRequired,
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied => Self::ClientCertificateRefused,
                _ => Self::Handshake,
            },
            Error::NoCertificatesPresented => Self::ClientCertificateRequired,
            Error::InvalidMessage(_) => Self::NotTls,
            _ => Self::Handshake,
        }
    }

    /// What a user could do about it, in one sentence.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::NotTls => {
                "the port seems not to speak TLS: switch TLS off here, or on at the server (tls.server.mode of Apache RocketMQ)"
            }
            Self::UntrustedCertificate => {
                "name the certificate authority that signed the server's certificate (ca_file, --tls-ca), or the server's own certificate \
                 if it is self-signed"
            }
            Self::WrongHostName => {
                "connect by a name in the server's certificate, or name the one to expect (server_name, --tls-server-name): brokers are often \
                 reached by address while their certificates hold names"
            }
            Self::Expired => "renew the server's certificate, or correct this machine's clock",
            Self::ClientCertificateRequired => {
                "the server wants a certificate of the client: give one and its key (client_certificate_files, --tls-cert and --tls-key)"
            }
            Self::ClientCertificateRefused => {
                "the server does not trust this client's certificate: use one that its authority has signed"
            }
            Self::Handshake => "compare the TLS versions and ciphers of both sides",
        }
    }
}

fn text(error: &Error) -> String {
    match error {
        Error::InvalidMessage(_) => format!("what the peer sent is not TLS: {error}"),
        Error::AlertReceived(_) => format!("the peer ended TLS: {error}"),
        _ => error.to_string(),
    }
}

/// A TLS configuration that cannot work, with every fault that was found. Nothing falls back to plain connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfigError {
    faults: Vec<String>,
}

impl TlsConfigError {
    pub(crate) const fn new(faults: Vec<String>) -> Self {
        Self { faults }
    }

    pub(crate) fn of(fault: String) -> Self {
        Self {
            faults: vec![fault],
        }
    }

    /// One sentence each; at least one.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.faults.join("; "))
    }
}

impl std::error::Error for TlsConfigError {}
