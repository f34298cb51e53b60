//! The super user with whom everything begins.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use rocketry_protocol::body::access::UserInfo;

use super::{AccessOptions, accounts::Accounts, file};
use crate::fault::Fault;

/// The super user that a server starts with, so that somebody can make the others.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirstUser {
    /// Where no super user is enabled: `admin` (or `admin-2` and so on where that is taken), with a random secret that is written to a
    /// file in `config/` of the data directory; [`Server::first_user`](crate::Server::first_user) says which.
    Generated,
    /// This one, unless there is a user of this name already, who then stays as he is.
    Named {
        /// The name.
        name: String,
        /// The secret that its clients sign with.
        secret: String,
    },
}

/// Secrets are not for logs.
impl fmt::Debug for FirstUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generated => f.write_str("Generated"),
            Self::Named { name, .. } => f
                .debug_struct("Named")
                .field("name", name)
                .finish_non_exhaustive(),
        }
    }
}

/// A user that was made at this start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MadeUser {
    /// The name.
    pub name: String,
    /// Where the secret is that was made up for it.
    pub secret_file: Option<PathBuf>,
}

/// Makes the first user and that of the brokers, unless they are there. Java: `AuthenticationMetadataManagerImpl.initUser`.
///
/// # Errors
/// The file cannot be written, or nobody would be able to manage users.
pub(crate) fn add(
    accounts: &Accounts,
    options: &AccessOptions,
    data_dir: &Path,
) -> Result<Option<MadeUser>, String> {
    let first = &options.first_user;
    let inner = options.inner_user.as_ref();
    if let Some(inner) = inner.filter(|inner| accounts.find(&inner.access_key).is_none()) {
        create(accounts, &inner.access_key, &inner.secret_key)?;
    }
    let made = match first {
        FirstUser::Named { name, secret } if accounts.find(name).is_none() => {
            create(accounts, name, secret)?;
            Some(MadeUser {
                name: name.clone(),
                secret_file: None,
            })
        }
        FirstUser::Generated if !accounts.has_super_user() => {
            let name = free_name(accounts);
            let secret = random_secret().map_err(|error| format!("no random secret: {error}"))?;
            let path = data_dir
                .join("config")
                .join(format!("rocketry-{name}.secret"));
            // First: a user whose secret nobody has would be there for good.
            file::write_secret(&path, secret.as_bytes())
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
            create(accounts, &name, &secret)?;
            Some(MadeUser {
                name,
                secret_file: Some(path),
            })
        }
        FirstUser::Named { .. } | FirstUser::Generated => None,
    };
    if accounts.has_super_user() {
        return Ok(made);
    }
    Err(
        "no super user is enabled, and nobody could manage users: name another first user"
            .to_owned(),
    )
}

fn create(accounts: &Accounts, name: &str, secret: &str) -> Result<(), String> {
    let user = UserInfo {
        password: Some(secret.to_owned()),
        user_status: None,
        user_type: Some("Super".to_owned()),
        username: name.to_owned(),
    };
    accounts
        .create_user(user)
        .map_err(|fault: Fault| format!("user {name}: {}", fault.remark))
}

/// `admin`, or the first of `admin-2`, `admin-3`, ... that is free: there are fewer users than that.
fn free_name(accounts: &Accounts) -> String {
    let numbered = (2..).map(|number: u32| format!("admin-{number}"));
    std::iter::once("admin".to_owned())
        .chain(numbered)
        .find(|name| accounts.find(name).is_none())
        .unwrap_or_default()
}

/// 32 hexadecimal digits, which need no quotes anywhere.
fn random_secret() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
