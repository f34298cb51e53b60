//! How requests are checked.

use rocketry_protocol::acl::Credentials;

use super::FirstUser;

/// Makes a server ask every request for the signature of a user it knows, and check what that user may do.
///
/// Users and their rules are made over the wire (`rocketry user`, `rocketry acl`, Java's `mqadmin`) and kept in
/// `config/rocketry-access.json` of the data directory.
///
/// Java: `AuthConfig`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AccessOptions {
    /// The super user to begin with. Default: made up when there is none. Java: `initAuthenticationUser`.
    pub first_user: FirstUser,
    /// A super user as whom the brokers of the cluster come, made at the start unless there is a user of this name. Default: none.
    /// Java: `innerClientAuthenticationCredentials`.
    pub inner_user: Option<Credentials>,
    /// Whether what a user may do is checked as well; otherwise every user may do everything. Default: true.
    /// Java: `authorizationEnabled`, false.
    pub permissions: bool,
    /// Codes of requests that are served without a signature, whatever they ask for. Codes that manage users (3001 to 3010) cannot be
    /// among them. Default: none. Java: `authenticationWhitelist`.
    pub open_codes: Vec<i32>,
    /// Codes of requests that every user may send. Default: none. Java: `authorizationWhitelist`.
    pub unchecked_codes: Vec<i32>,
}

impl Default for AccessOptions {
    fn default() -> Self {
        Self {
            first_user: FirstUser::Generated,
            inner_user: None,
            permissions: true,
            open_codes: Vec::new(),
            unchecked_codes: Vec::new(),
        }
    }
}

impl AccessOptions {
    /// What cannot work, each as a text.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let managing = |code: &&i32| super::USER_CODES.contains(code);
        if let Some(code) = self.open_codes.iter().find(managing) {
            faults.push(format!(
                "access: code {code} manages users and cannot be open to everybody"
            ));
        }
        if let Some(code) = self.unchecked_codes.iter().find(managing) {
            faults.push(format!(
                "access: code {code} manages users and cannot be open to every user"
            ));
        }
        if let FirstUser::Named { name, secret } = &self.first_user
            && let Err(fault) = super::accounts::check_user(name, Some(secret))
        {
            faults.push(format!("access: the first user: {fault}"));
        }
        if let Some(inner) = &self.inner_user
            && let Err(fault) =
                super::accounts::check_user(&inner.access_key, Some(&inner.secret_key))
        {
            faults.push(format!("access: the user of the brokers: {fault}"));
        }
        faults
    }
}
