//! `--tls-dev`: a certificate for development, from an authority that exists for one start.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::failure::Failure;

/// What was made up, as PEM texts.
pub(crate) struct DevCertificate {
    /// Of the authority: what clients trust.
    authority: String,
    /// Of the server, for the names it was made for.
    pub(crate) certificate: String,
    /// The server's key. The authority's is gone: nobody signs anything with it later.
    pub(crate) key: String,
}

impl DevCertificate {
    /// For loopback, `localhost` and the names that clients come to.
    ///
    /// # Errors
    /// A name that cannot be in a certificate.
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let mut all = ["localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .to_vec();
        for name in names {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        Self::sign(all)
            .map_err(|error| Failure::new(format!("no certificate for development: {error}")))
    }

    fn sign(names: Vec<String>) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let named = &mut params.distinguished_name;
        named.push(DnType::CommonName, "rocketry serve --tls-dev");
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self {
            authority,
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Puts the authority where clients on this machine find it; returns the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn publish(&self, data_dir: &Path) -> Result<PathBuf, Failure> {
        let file = data_dir.join("config").join("rocketry-dev-ca.pem");
        let write = || {
            if let Some(dir) = file.parent() {
                std::fs::create_dir_all(dir)?;
            }
            std::fs::write(&file, &self.authority)
        };
        write().map_err(|error| Failure::file("write", &file, &error))?;
        Ok(file)
    }
}
