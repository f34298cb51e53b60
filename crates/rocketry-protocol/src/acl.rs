//! Request signatures (wire.md 12.1).
use crate::RemotingCommand;
/// Access key and secret.
#[derive(Clone)]
pub struct Credentials {
    /// User name.
    pub access_key: String,
    /// Secret; never printed.
    pub secret_key: String,
    /// Temporary security token.
    pub security_token: Option<String>,
}
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}
/// Adds `AccessKey`, `SecurityToken` and `Signature` to the header fields. Must be the last change before the command is encoded.
pub fn sign(command: &mut RemotingCommand, credentials: &Credentials) {
    let _ = (command, credentials);
    todo!()
}
