//! Options of `serve` about who may use it.

use std::path::PathBuf;

use clap::Args;

/// Who may do what.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Users")]
#[group(skip)]
pub(crate) struct ServeAccess {
    /// Ask every request for the signature of a user, and check what that user may do: see `rocketry user` and `rocketry acl`
    #[arg(long)]
    pub(crate) auth: bool,
    /// The super user to begin with, made if it does not exist; its secret comes from --init-secret-file or the variable
    /// ROCKETRY_INIT_SECRET [default: without any super user, `admin` with a random secret]
    #[arg(long, value_name = "NAME", requires = "auth")]
    pub(crate) init_user: Option<String>,
    /// File with the secret of --init-user
    #[arg(long, value_name = "FILE", requires = "init_user")]
    pub(crate) init_secret_file: Option<PathBuf>,
    /// Let every user do everything
    #[arg(long, requires = "auth")]
    pub(crate) no_permissions: bool,
    /// Request codes that are served without a signature, separated by commas
    #[arg(long, value_name = "CODES", value_delimiter = ',', requires = "auth")]
    pub(crate) open_codes: Vec<i32>,
    /// Request codes that every user may send, separated by commas
    #[arg(long, value_name = "CODES", value_delimiter = ',', requires = "auth")]
    pub(crate) unchecked_codes: Vec<i32>,
    /// Listen elsewhere than on this machine without asking who connects: everybody who reaches it can read, write and delete
    #[arg(long, conflicts_with = "auth")]
    pub(crate) allow_anonymous: bool,
}
