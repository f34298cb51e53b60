//! How one gets in: TLS, accounts and namespaces, in the options of every command.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Args, ValueEnum, parser::ValueSource};
use rocketry::{Connect, Credentials, TlsConfig};
use rocketry_server::{ClientAuth, TlsServerConfig};

use crate::{failure::Failure, tls_dev::DevCertificate};

/// Options of every command that connects; `serve` takes its certificate from here as well.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Access options")]
#[group(skip)]
#[expect(
    clippy::struct_field_names,
    reason = "fields have the names of their options"
)]
pub(crate) struct Access {
    /// Connect over TLS, and trust servers whose certificate an authority of this system has signed
    #[arg(long, global = true, hide_short_help = true)]
    tls: bool,
    /// PEM file of the authority to trust instead, or of the server's own certificate; implies --tls
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ROCKETRY_TLS_CA",
        hide_short_help = true
    )]
    tls_ca: Option<PathBuf>,
    /// PEM file of the certificate to show to servers that ask for one. For `serve`: of the server's certificate
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    tls_cert: Option<PathBuf>,
    /// PEM file of the key of --tls-cert, without a password
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    tls_key: Option<PathBuf>,
    /// The name that certificates of servers must be for. Default: the host that was connected to
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    tls_server_name: Option<String>,
    /// Connect over TLS and trust everybody: anybody on the way can read and change what is sent
    #[arg(long, global = true, hide_short_help = true)]
    tls_insecure: bool,
    /// User that requests are signed as
    #[arg(
        long,
        global = true,
        value_name = "USER",
        env = "ROCKETRY_ACCESS_KEY",
        hide_short_help = true
    )]
    access_key: Option<String>,
    /// The user's secret; better in the variable than here, where others on this machine can read it
    #[arg(
        long,
        global = true,
        value_name = "SECRET",
        env = "ROCKETRY_SECRET_KEY",
        hide_env_values = true,
        hide_short_help = true
    )]
    secret_key: Option<String>,
    /// Token that belongs to temporary credentials
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "ROCKETRY_SECURITY_TOKEN",
        hide_env_values = true,
        hide_short_help = true
    )]
    security_token: Option<String>,
    /// Put this namespace in front of topics and groups on the wire
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "ROCKETRY_NAMESPACE",
        hide_short_help = true
    )]
    namespace: Option<String>,
}

/// Secrets are not for logs.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("tls", &self.tls)
            .field("access_key", &self.access_key)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// Which connections `serve` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsMode {
    /// Plain and TLS connections on the same ports
    Permissive,
    /// TLS connections only
    Enforcing,
}

impl Access {
    /// A client that gets in like this.
    ///
    /// # Errors
    /// Options that do not go together.
    pub(crate) fn apply(&self, mut connect: Connect) -> Result<Connect, Failure> {
        let identity = self.identity()?;
        if let Some(tls) = self.client_tls(identity.is_some())? {
            connect = connect.tls(tls);
        }
        if let Some((user, secret)) = self.account()? {
            connect = connect.credentials(user, secret);
        }
        if let Some(token) = &self.security_token {
            connect = connect.security_token(token);
        }
        if let Some(namespace) = &self.namespace {
            connect = connect.namespace(namespace);
        }
        Ok(connect)
    }

    fn account(&self) -> Result<Option<(&str, &str)>, Failure> {
        match (&self.access_key, &self.secret_key) {
            (Some(user), Some(secret)) => Ok(Some((user, secret))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(alone("--access-key", "--secret-key")),
            (None, Some(_)) => Err(alone("--secret-key", "--access-key")),
        }
    }

    /// How a broker gets in at name servers elsewhere: over TLS if one of the options of clients says so, as the user of them.
    ///
    /// # Errors
    /// Options that do not go together.
    pub(crate) fn registration(&self) -> Result<(Option<TlsConfig>, Option<Credentials>), Failure> {
        let credentials = self.account()?.map(|(user, secret)| Credentials {
            access_key: user.to_owned(),
            secret_key: secret.to_owned(),
            security_token: self.security_token.clone(),
        });
        Ok((self.client_tls(false)?, credentials))
    }

    /// `None` for plain connections; a certificate of its own may be a reason for others.
    fn client_tls(&self, implied: bool) -> Result<Option<TlsConfig>, Failure> {
        let identity = self.identity()?;
        let is_on = implied
            || self.tls
            || self.tls_insecure
            || self.tls_ca.is_some()
            || self.tls_server_name.is_some();
        if !is_on {
            return Ok(None);
        }
        if self.tls_insecure && self.tls_ca.is_some() {
            return Err(Failure::usage(
                "--tls-insecure and --tls-ca exclude each other",
            ));
        }
        let mut tls = TlsConfig::new();
        if let Some(ca) = &self.tls_ca {
            tls = tls.ca_file(ca);
        }
        if let Some((certificate, key)) = identity {
            tls = tls.client_certificate_files(certificate, key);
        }
        if let Some(name) = &self.tls_server_name {
            tls = tls.server_name(name);
        }
        if self.tls_insecure {
            tls = tls.dangerous_accept_any_certificate();
        }
        Ok(Some(tls))
    }

    /// What `serve` secures its ports with. One that registers elsewhere may want TLS there alone.
    ///
    /// # Errors
    /// Options that do not go together.
    pub(crate) fn server_tls(
        &self,
        mode: Option<TlsMode>,
        client_ca: Option<&Path>,
        made_up: Option<&DevCertificate>,
        registers: bool,
    ) -> Result<Option<TlsServerConfig>, Failure> {
        let tls = match (self.identity()?, made_up) {
            (Some((certificate, key)), _) => TlsServerConfig::from_files(certificate, key),
            (None, Some(made_up)) => {
                TlsServerConfig::from_pem(made_up.certificate.clone(), made_up.key.clone())
            }
            (None, None) if (self.tls && !registers) || mode.is_some() || client_ca.is_some() => {
                return Err(
                    Failure::usage("a server over TLS needs a certificate").hint(
                        "give --tls-cert FILE and --tls-key FILE, or --tls-dev for development",
                    ),
                );
            }
            (None, None) => return Ok(None),
        };
        let mut tls = tls.mode(match mode {
            Some(TlsMode::Enforcing) => rocketry_server::TlsMode::Enforcing,
            Some(TlsMode::Permissive) | None => rocketry_server::TlsMode::Permissive,
        });
        if let Some(ca) = client_ca {
            tls = tls.client_ca_file(ca, ClientAuth::Required);
        }
        Ok(Some(tls))
    }

    fn identity(&self) -> Result<Option<(&PathBuf, &PathBuf)>, Failure> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(alone("--tls-cert", "--tls-key")),
            (None, Some(_)) => Err(alone("--tls-key", "--tls-cert")),
        }
    }
}

/// An option on the command line of `serve` that only clients have a use for. A variable is none: it may be there for them.
///
/// # Errors
/// The option, and what there is instead.
pub(crate) fn refuse_for_serve(serve: &ArgMatches) -> Result<(), Failure> {
    const OF_CLIENTS: [(&str, &str); 7] = [
        ("tls_ca", "--tls-ca"),
        ("tls_server_name", "--tls-server-name"),
        ("tls_insecure", "--tls-insecure"),
        ("access_key", "--access-key"),
        ("secret_key", "--secret-key"),
        ("security_token", "--security-token"),
        ("namespace", "--namespace"),
    ];
    // Who registers is a client, too; the file may say where.
    let registers = ["namesrv", "config"]
        .into_iter()
        .any(|id| serve.value_source(id).is_some());
    let given = OF_CLIENTS
        .into_iter()
        .filter(|(id, _)| !registers || *id == "namespace")
        .find(|(id, _)| serve.value_source(id) == Some(ValueSource::CommandLine));
    let Some((_, option)) = given else {
        return Ok(());
    };
    let failure = Failure::usage(format!("{option} is an option of clients, not of serve"));
    Err(if option.starts_with("--tls") {
        failure.hint("serve has --tls-cert, --tls-key, --tls-mode and --tls-client-ca; with --namesrv it registers over TLS")
    } else {
        failure.hint("serve has --auth and --init-user, and takes every namespace; with --namesrv it registers as a user")
    })
}

/// A secret as a file has it, without the end of its line.
///
/// # Errors
/// The file cannot be read, or has something else than one line.
pub(crate) fn secret_of_file(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::file("read the secret in", file, &error))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.contains('\n') {
        return Err(Failure::new(format!(
            "{} must have one line, the secret",
            file.display()
        )));
    }
    Ok(secret.to_owned())
}

fn alone(given: &str, missing: &str) -> Failure {
    Failure::usage(format!("{given} without {missing}"))
}
