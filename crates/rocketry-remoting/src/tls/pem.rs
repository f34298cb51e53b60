//! Certificates and keys as users have them: PEM text, in files or in memory.

use std::{fmt, fs, path::PathBuf};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

/// Where PEM text comes from.
#[derive(Clone)]
pub(crate) enum Pem {
    File(PathBuf),
    Text(Vec<u8>),
}

/// The text may be a private key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Text(text) => write!(f, "<{} bytes of PEM>", text.len()),
        }
    }
}

impl Pem {
    /// How faults name it.
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text(_) => "the given PEM text".to_owned(),
        }
    }

    fn read(&self, what: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::File(path) => {
                fs::read(path).map_err(|error| format!("{what} {}: {error}", path.display()))
            }
            Self::Text(text) => Ok(text.clone()),
        }
    }

    /// All certificates, at least one.
    pub(crate) fn certificates(&self, what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
        let text = self.read(what)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match certificates {
            Ok(certificates) if certificates.is_empty() => Err(format!(
                "{what} {}: holds no certificate (-----BEGIN CERTIFICATE-----)",
                self.name()
            )),
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(format!("{what} {}: not PEM: {error}", self.name())),
        }
    }

    /// The first private key: PKCS#8, PKCS#1 (`RSA PRIVATE KEY`) or SEC1 (`EC PRIVATE KEY`).
    pub(crate) fn key(&self, what: &str) -> Result<PrivateKeyDer<'static>, String> {
        let text = self.read(what)?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let reason = if is_encrypted(&text) {
                "the key is encrypted: remove its password with `openssl pkey -in KEY -out PLAIN`"
                    .to_owned()
            } else {
                format!("holds no private key in PEM (PKCS#8, PKCS#1 or SEC1): {error}")
            };
            format!("{what} {}: {reason}", self.name())
        })
    }

    /// Certificates as what others are checked against.
    pub(crate) fn authorities(&self, what: &str) -> Result<Authorities, String> {
        let certificates = self.certificates(what)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("{what} {}: {error}", self.name()))?;
        }
        Ok(Authorities {
            roots,
            certificates,
        })
    }
}

/// Trusted certificates, for chains to end in and as they are.
pub(crate) struct Authorities {
    pub(crate) roots: RootCertStore,
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

/// As PKCS#8 and, in its headers, as OpenSSL's older forms say it.
fn is_encrypted(text: &[u8]) -> bool {
    ["ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| text.windows(mark.len()).any(|part| part == mark.as_bytes()))
}
